//! Files between Rocket.Chat and the store, piece by piece: neither side has to hold a whole one in memory.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_storage::{FileError, StoredFile};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::room::RoomTask;
use super::{Stall, lock};
use crate::engine::files::{FetchError, Progress, ReceiveError, ended};
use crate::rocketchat::client::{Download, FileInfo, RestError, UploadBody};

/// Pieces that wait between the two sides.
const PIECES: usize = 8;
/// Bytes of a piece that is read from the store.
const PIECE: usize = 256 * 1024;
/// How long a room waits for a file before its message is shown without it. It follows when it came.
const FETCH: Duration = Duration::from_secs(10);
/// How often a file is asked for again meanwhile that no connected server has: the one that has it may just start anew.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Why a file is not there that comes.
const ON_ITS_WAY: &str = "it is on its way";
/// What a file is called that has no name which every server allows.
const NAMELESS: &str = "file";

/// Why a file of a message does not go along.
pub(super) enum Left {
    /// For good, with the reason.
    Behind(String),
    /// Until it came, with the reason.
    Away(String),
    /// For now.
    Waiting(Stall),
}

impl From<RestError> for Left {
    fn from(error: RestError) -> Self {
        if error.is_passing() { Left::Waiting(error.into()) } else { Left::Behind(error.to_string()) }
    }
}

impl RoomTask {
    /// Takes a file of a message in. When this returns it is on disk.
    pub(super) async fn bring(&self, sent: &FileInfo) -> Result<FileRef, Left> {
        let limit = self.bridge.engine.store.file_limit();
        let reader = self.reader().await.map_err(Left::Waiting)?;
        let asked = reader.download(&sent.id, &sent.name, limit).await;
        let download = self.bridge.heed(&reader, asked).map_err(Left::Waiting)??;
        let (sender, receiver) = mpsc::channel(PIECES);
        let content = Pieces { receiver, piece: Vec::new(), at: 0, over: false };
        let receiving = self.bridge.engine.receive_file(self.room, None, content);
        let (received, fed) = tokio::join!(receiving, feed(download, sender));
        fed?;
        let (file, size) = received.map_err(|error| match error {
            ReceiveError::Closed => Left::Waiting(crate::engine::PostError::Closed.into()),
            // A full disk is no fault of the file: its message waits, as those without files do.
            ReceiveError::Store(error) => Left::Waiting(Stall::Store(error)),
            ReceiveError::File(FileError::Store(error)) => Left::Waiting(Stall::Store(Arc::new(error))),
            error => Left::Behind(error.to_string()),
        })?;
        Ok(named(file, size, sent))
    }
}

/// The reference to a file, with a name and a type that every server takes.
fn named(file: FileId, size: u64, sent: &FileInfo) -> FileRef {
    let plain = |c: &char| !c.is_control() && !matches!(c, '/' | '\\');
    let mut name: String = sent.name.chars().filter(plain).collect();
    while name.len() > rocketmesh_protocol::limits::MAX_NAME_BYTES {
        name.pop();
    }
    let media_type = sent.mime.clone().unwrap_or_default();
    let mut named = FileRef { file, size, name, media_type, dimensions: None };
    let sound = |named: &FileRef| {
        FileRef::into_fields(std::slice::from_ref(named), rocketmesh_protocol::codec::Map::new()).is_ok()
    };
    if !sound(&named) {
        named.media_type = "application/octet-stream".to_owned();
    }
    if !sound(&named) {
        named.name = NAMELESS.to_owned();
    }
    named
}

async fn feed(mut download: Download, pieces: mpsc::Sender<io::Result<Vec<u8>>>) -> Result<(), RestError> {
    loop {
        match download.next().await {
            Ok(Some(piece)) if piece.is_empty() => {}
            Ok(Some(piece)) => {
                // Fails where nobody reads any more: the store says why.
                if pieces.send(Ok(piece)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => {
                let _ = pieces.send(Ok(Vec::new())).await;
                return Ok(());
            }
            Err(error) => {
                let _ = pieces.send(Err(io::Error::other(error.to_string()))).await;
                return Err(error);
            }
        }
    }
}

/// A download, for blocking code. An empty piece is its end; an end without one is none.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    over: bool,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.over {
            let next = self.receiver.blocking_recv().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
            self.over = next.is_empty();
            (self.piece, self.at) = (next, 0);
        }
        let len = out.len().min(self.piece.len() - self.at);
        out[..len].copy_from_slice(&self.piece[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

impl From<FetchError> for Left {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::NoHolder { .. } => Left::Away("no connected server of the room has it now".to_owned()),
            FetchError::GaveWay | FetchError::Busy => Left::Away(ON_ITS_WAY.to_owned()),
            FetchError::Closed => Left::Waiting(crate::engine::PostError::Closed.into()),
            FetchError::NotNamed => Left::Behind("the file was taken back".to_owned()),
            FetchError::File(error) => match &*error {
                // A full disk is no fault of the file.
                FileError::Store(_) => Left::Waiting(Stall::Words(error.to_string())),
                _ => Left::Behind(error.to_string()),
            },
        }
    }
}

impl RoomTask {
    /// A file of a message, to be uploaded: fetched from other servers if it is not here.
    pub(super) async fn content(&self, room: RoomId, named: &FileRef) -> Result<UploadBody, Left> {
        let opened = || self.bridge.engine.store.open_file(&named.file).map_err(|error| Left::Waiting(error.into()));
        let mut stored = opened()?;
        if stored.is_none() {
            self.fetch(room, named.file).await?;
            stored = opened()?;
        }
        let stored = stored.ok_or_else(|| Left::Behind("the file was taken back".to_owned()))?;
        Ok(streamed(stored))
    }

    /// Fetches a file, if that takes no longer than the room can wait: what is tried again has been waited for, and waits no more.
    async fn fetch(&self, room: RoomId, file: FileId) -> Result<(), Left> {
        let deadline = Instant::now() + if self.trying { Duration::ZERO } else { FETCH };
        loop {
            let progress = self.bridge.engine.fetch_file(room, file, u64::MAX)?;
            match timeout_at(deadline, ended(progress.clone())).await {
                Ok(Err(FetchError::GaveWay | FetchError::NoHolder { .. })) if Instant::now() + ASK_AGAIN < deadline => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Ok(outcome) => return Ok(outcome?),
                Err(_) => {
                    self.tell_of(file, progress);
                    return Err(Left::Away(ON_ITS_WAY.to_owned()));
                }
            }
        }
    }

    /// Wakes the room when a file came that is on its way: it does not have to wait for the next try.
    fn tell_of(&self, file: FileId, progress: watch::Receiver<Progress>) {
        if !lock(&self.expected).insert(file) {
            return;
        }
        let (expected, again) = (Arc::clone(&self.expected), Arc::clone(&self.again));
        self.bridge.engine.background(async move {
            let came = ended(progress).await.is_ok();
            lock(&expected).remove(&file);
            // One that did not come is asked for again with the next try, not at once.
            if came {
                again.notify_one();
            }
        });
    }
}

/// A file of the store, piece by piece.
fn streamed(mut stored: StoredFile) -> UploadBody {
    let size = stored.size();
    let (sender, receiver) = mpsc::channel::<io::Result<Vec<u8>>>(PIECES);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = stored.read(&mut piece).map(|len| {
                piece.truncate(len);
                piece
            });
            let last = read.as_ref().map_or(true, Vec::is_empty);
            // Fails where nobody reads any more.
            if matches!(&read, Ok(piece) if piece.is_empty()) || sender.blocking_send(read).is_err() || last {
                return;
            }
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    UploadBody::Stream(reqwest::Body::wrap_stream(stream), size)
}
