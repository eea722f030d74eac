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
mod holders;
mod race;
mod serve;
pub(super) mod want;

pub(crate) use fetch::{FetchError, Progress, ended};
pub(super) use serve::answer;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use libp2p::identity::PeerId;
use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::{EventId, FileId, RoomId};
use rocketmesh_storage::{EventStore, FileError, StoreError, Verdict};
use tokio::sync::{Notify, Semaphore, watch};

use super::{Engine, lock};

/// Files that are fetched at once, each with up to a dozen slices of a little more than a mebibyte in memory.
const FETCHES: usize = 4;
/// Pieces of an upload that are read at a time.
const PIECE: usize = 256 * 1024;
/// Messages that are looked at for what they say of one file.
const MESSAGES: usize = 16;
/// Holders of files that have lied about them and are not asked again. With more, the first are forgiven.
const MOST_SHUNNED: usize = 4096;

/// What is under way with files.
pub(super) struct FileWork {
    fetching: Mutex<BTreeMap<FileId, watch::Receiver<Progress>>>,
    slots: Semaphore,
    /// Who sent what does not verify, of which file.
    shunned: Mutex<BTreeSet<(FileId, PeerId)>>,
    /// Told when files may be had that could not be had before.
    look_again: Notify,
    /// Whether files may be missing of which nobody was told.
    some_missing: AtomicBool,
    /// The largest file that is fetched without anybody asking for it, in bytes.
    fetch_up_to: u64,
}

/// Why a user's file was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
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
            shunned: Mutex::default(),
            look_again: Notify::new(),
            some_missing: AtomicBool::new(true),
            fetch_up_to,
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
        let received = received.map_err(|_| ReceiveError::Closed)??;
        self.committer.sync().await?;
        Ok(received)
    }

    /// What the messages of a room that are shown say of a file, with the messages: a few of them.
    pub(crate) fn file_refs(&self, room: &RoomId, file: &FileId) -> Result<Vec<(EventId, FileRef)>, StoreError> {
        let mut refs = Vec::new();
        for event in self.store().messages_with_file(room, file, MESSAGES)? {
            let Some(stored) = self.store().event(&event)? else { continue };
            if stored.verdict == Verdict::Accepted {
                let named = stored.event.files().unwrap_or_default();
                refs.extend(named.into_iter().find(|named| named.file == *file).map(|named| (event, named)));
            }
        }
        Ok(refs)
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
