//! Files that messages name.
//!
//! ```text
//!   messages that name files ──► want ──┐
//!   API: a file that is not here ───────┴──► fetch ── ranges ──► several holders at once ── verified ──► store
//!   other servers' requests ──► serve ──► slices
//!   API: uploads ──► receive ──► store
//! ```
//!
//! Nobody is trusted with a byte: each range proves itself against the file's id. What is here is whole, hashed once more, and on
//! disk before anybody sees it.

mod fetch;
mod held;
mod holders;
mod race;
mod serve;
pub(super) mod want;

pub use fetch::FetchError;
pub(crate) use fetch::{Progress, ended};
pub(super) use serve::answer;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::{EventId, FileId, RoomId};
use rocketmesh_storage::{EventStore, FileError, StoreError};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::{Engine, lock};

/// Files that are fetched at once, each with up to a dozen slices of a little more than a mebibyte in memory.
const FETCHES: usize = 4;
/// Pieces of an upload that are read at a time.
const PIECE: usize = 256 * 1024;
/// Messages of a room that are looked at for what they say of one file, and how many at a time.
const MESSAGES: usize = 1024;
const MESSAGES_PAGE: usize = 64;
/// Sizes of one file that messages of a room may say before the others count for nothing.
const SIZES: usize = 16;
/// Rooms in which one file is looked for at once.
const ROOMS: usize = 64;
/// How long servers that left a request unanswered are asked after all others, and how many such are remembered.
const SLOW_FOR: Duration = Duration::from_secs(600);
const MOST_SLOW: usize = 1024;
/// Holders of files that have lied about them and are not asked again. With more, the first are forgiven.
const MOST_SHUNNED: usize = 4096;

/// What is under way with files.
pub(super) struct FileWork {
    fetching: Mutex<BTreeMap<FileId, watch::Receiver<Progress>>>,
    slots: Semaphore,
    /// How many fetches wait for a slot.
    waiting: AtomicUsize,
    /// Whether a file is due that nobody asked for, and has to wait.
    pressed: AtomicBool,
    /// Servers that left a request unanswered, and until when they are asked after all others.
    slow: Mutex<BTreeMap<PeerId, Instant>>,
    /// Who sent what does not verify, of which file.
    shunned: Mutex<BTreeSet<(FileId, PeerId)>>,
    /// Why the last file could not be written.
    trouble: Mutex<Option<String>>,
    /// Told when files may be had that could not be had before.
    look_again: Notify,
    /// Whether files may be missing of which nobody was told.
    some_missing: AtomicBool,
    /// The largest file that is fetched without anybody asking for it, in bytes.
    fetch_up_to: u64,
}

/// Why a user's file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// By its own fault, or the store's.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its bytes stopped coming.
    #[error("the file did not come to its end: {0}; send it again")]
    Broken(io::Error),
    /// The store could not be flushed.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

impl FileWork {
    pub(super) fn new(fetch_up_to: u64) -> Self {
        FileWork {
            fetching: Mutex::default(),
            slots: Semaphore::new(FETCHES),
            waiting: AtomicUsize::new(0),
            pressed: AtomicBool::new(false),
            slow: Mutex::default(),
            shunned: Mutex::default(),
            trouble: Mutex::default(),
            look_again: Notify::new(),
            some_missing: AtomicBool::new(true),
            fetch_up_to,
        }
    }

    /// A file could not be written. A full disk and a broken store are known elsewhere.
    fn note_unwritten(&self, error: &FileError) {
        if let FileError::Store(error @ (StoreError::Io(_) | StoreError::NotWritable { .. })) = error {
            tracing::warn!(%error, "a file cannot be written");
            *lock(&self.trouble) = Some(error.to_string());
        }
    }

    /// What nobody had may be had from somebody now.
    pub(super) fn look_again(&self) {
        self.look_again.notify_one();
    }

    /// Files may be missing that nobody has asked for: one that was here is damaged, or a room is new.
    pub(in crate::engine) fn find_missing(&self) {
        self.some_missing.store(true, Ordering::Relaxed);
        self.look_again();
    }

    /// The peer left a request unanswered.
    fn note_slow(&self, peer: PeerId) {
        let mut slow = lock(&self.slow);
        let now = Instant::now();
        slow.retain(|_, until| *until > now);
        if slow.len() >= MOST_SLOW {
            slow.pop_first();
        }
        slow.insert(peer, now + SLOW_FOR);
    }

    fn is_slow(&self, peer: &PeerId) -> bool {
        lock(&self.slow).get(peer).is_some_and(|until| *until > Instant::now())
    }

    /// The peer sent what does not verify, and is not asked for the file again.
    fn shun(&self, file: FileId, peer: PeerId) {
        let mut shunned = lock(&self.shunned);
        if shunned.len() >= MOST_SHUNNED {
            shunned.pop_first();
        }
        shunned.insert((file, peer));
    }

    fn shuns(&self, file: FileId, peer: PeerId) -> bool {
        lock(&self.shunned).contains(&(file, peer))
    }
}

impl Engine {
    /// Takes in a file that a user brings to a room. When this returns it is on disk. `size` is what it is said to have.
    pub(crate) async fn receive_file(
        &self,
        room: RoomId,
        size: Option<u64>,
        content: impl Read + Send + 'static,
    ) -> Result<(FileId, u64), ReceiveError> {
        let (store, now) = (self.store().clone(), self.clock.now_ms());
        let received = tokio::task::spawn_blocking(move || receive(&store, room, size, content, now)).await;
        self.received(received.map_err(|_| ReceiveError::Closed)?).await
    }

    /// The same for a file whose bytes are all in memory already.
    pub(crate) async fn receive_bytes(&self, room: RoomId, bytes: Vec<u8>) -> Result<(FileId, u64), ReceiveError> {
        let (store, now) = (self.store().clone(), self.clock.now_ms());
        let said = bytes.len() as u64;
        let received = blocking(self, move || receive(&store, room, Some(said), bytes.as_slice(), now)).await;
        self.received(received.ok_or(ReceiveError::Closed)?).await
    }

    /// Returns once the file is on disk.
    async fn received(&self, received: Result<(FileId, u64), ReceiveError>) -> Result<(FileId, u64), ReceiveError> {
        if let Err(ReceiveError::File(error)) = &received {
            self.files.note_unwritten(error);
        }
        let received = received?;
        self.committer.sync().await?;
        Ok(received)
    }

    /// Why files cannot be written; none if they can, or nobody has tried. Tried again with each question, so that this goes by itself.
    pub(crate) fn files_trouble(&self) -> Option<String> {
        lock(&self.files.trouble).as_ref()?;
        let trouble = self.store().probe_files().err().map(|error| error.to_string());
        lock(&self.files.trouble).clone_from(&trouble);
        trouble
    }

    /// What messages of a room that are shown say of a file, with the messages: the first by id, and of those after it each that says
    /// another size, up to so many.
    pub(crate) fn file_refs(
        &self,
        room: &RoomId,
        file: &FileId,
        most: usize,
    ) -> Result<Vec<(EventId, FileRef)>, StoreError> {
        let mut refs: Vec<(EventId, FileRef)> = Vec::new();
        let mut after = None;
        for _ in 0..MESSAGES / MESSAGES_PAGE {
            let page = self.store().messages_with_file(room, file, after.as_ref(), MESSAGES_PAGE)?;
            for event in &page {
                let Some(stored) = self.store().event(event)? else { continue };
                let named = stored.event.files().unwrap_or_default().into_iter().find(|named| named.file == *file);
                if let Some(named) = named.filter(|named| refs.iter().all(|(_, other)| other.size != named.size)) {
                    refs.push((*event, named));
                }
                if refs.len() >= most {
                    return Ok(refs);
                }
            }
            match page.last().filter(|_| page.len() == MESSAGES_PAGE) {
                Some(last) => after = Some(*last),
                None => break,
            }
        }
        Ok(refs)
    }

    /// What the first message of a room by id that is shown says of a file, with the message.
    pub(crate) fn file_ref(&self, room: &RoomId, file: &FileId) -> Result<Option<(EventId, FileRef)>, StoreError> {
        Ok(self.file_refs(room, file, 1)?.into_iter().next())
    }

    /// The rooms that this node takes part in and in which a message that is shown names the file.
    fn rooms_with_file(&self, file: &FileId) -> Result<Vec<RoomId>, StoreError> {
        let mut rooms = self.store().rooms_with_file(file, ROOMS)?;
        rooms.retain(|room| self.follows(room));
        Ok(rooms)
    }
}

fn receive(
    store: &EventStore,
    room: RoomId,
    size: Option<u64>,
    mut content: impl Read,
    now_ms: u64,
) -> Result<(FileId, u64), ReceiveError> {
    let mut upload = store.receive_file(&room, size)?;
    let mut piece = vec![0; PIECE];
    loop {
        match content.read(&mut piece) {
            Ok(0) => return Ok(upload.finish(now_ms)?),
            Ok(len) => upload.write(&piece[..len])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ReceiveError::Broken(error)),
        }
    }
}

/// Runs what waits for a disk where it delays nobody. With a store in memory it runs at once, so that simulations stay the same.
async fn blocking<T: Send + 'static>(engine: &Engine, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if engine.store().sync_blocks() { tokio::task::spawn_blocking(work).await.ok() } else { Some(work()) }
}
