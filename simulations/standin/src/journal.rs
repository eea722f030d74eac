//! What a server keeps over its end: every changed document as a line of a file, and the bytes of files beside it.
//!
//! A real server has a database. Here a line is written, with one call to the system, before a call is answered; so whoever
//! ends the process with SIGKILL finds everything again that was answered. It is not synced to the disk: a loss of power
//! is not what tests do to a stand-in.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::documents::{Deleted, Message, Room, Subscription, Upload, User, Webhook};

/// One changed document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "is")]
pub(crate) enum Change {
    User(Box<User>),
    UserGone(String),
    Room(Box<Room>),
    RoomGone(String),
    Subscription(Box<Subscription>),
    SubscriptionGone { rid: String, uid: String },
    Message(Box<Message>),
    MessageGone(String),
    DeletedMessage(Deleted),
    DeletedSubscription(Deleted),
    Upload(Box<Upload>),
    UploadGone(String),
    Setting { id: String, value: Value },
    Webhook(Webhook),
}

/// The file of changes, and what is not written yet.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    file: File,
    pending: Vec<u8>,
}

impl Journal {
    /// Opens the journal of a directory, which is made if it is missing, and gives back what stands in it. A last line that
    /// was cut off by the end of the process was never answered: it is dropped.
    pub(crate) fn open(directory: &Path) -> io::Result<(Self, Vec<Change>)> {
        fs::create_dir_all(directory.join("files"))?;
        let path = directory.join("journal.jsonl");
        let text = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut changes = Vec::new();
        let mut whole = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if !line.ends_with(b"\n") {
                break;
            }
            let change = serde_json::from_slice(line)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))?;
            changes.push(change);
            whole += line.len();
        }
        let file = File::options().create(true).append(true).open(&path)?;
        file.set_len(whole as u64)?;
        Ok((Journal { directory: directory.to_owned(), file, pending: Vec::new() }, changes))
    }

    /// Notes a change, to be written by [`commit`](Self::commit).
    pub(crate) fn note(&mut self, change: &Change) {
        match serde_json::to_vec(change) {
            Ok(line) => {
                self.pending.extend_from_slice(&line);
                self.pending.push(b'\n');
            }
            Err(error) => tracing::error!(%error, "a document cannot be written"),
        }
    }

    /// Writes what was noted.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Keeps the bytes of a file.
    pub(crate) fn keep(&self, id: &str, bytes: &[u8]) -> io::Result<()> {
        fs::write(self.directory.join("files").join(id), bytes)
    }

    /// The bytes of a file that was kept.
    pub(crate) fn kept(&self, id: &str) -> io::Result<Vec<u8>> {
        fs::read(self.directory.join("files").join(id))
    }
}
