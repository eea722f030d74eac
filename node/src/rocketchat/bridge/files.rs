//! Files between Rocket.Chat and the store, piece by piece: neither side has to hold a whole one in memory.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::FileId;
use rocketmesh_storage::FileError;
use tokio::sync::mpsc;

use super::room::RoomTask;
use super::{Bridge, Stall};
use crate::engine::files::{FetchError, ReceiveError, ended};
use crate::rocketchat::client::{Download, FileInfo, RestError, UploadBody};

/// Pieces that wait between the two sides.
const PIECES: usize = 8;
/// Bytes of a piece that is read from the store.
const PIECE: usize = 256 * 1024;
/// How long other servers are asked for a file before its message is shown without it.
const FETCH: Duration = Duration::from_secs(60);
/// How long a file is asked for again that no connected server has, and how often: the one that has it may just start anew.
const NO_HOLDER: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What a file is called that has no name which every server allows.
const NAMELESS: &str = "file";

/// Why a file of a message does not go along.
pub(super) enum Left {
    /// For good, with the reason.
    Behind(String),
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

impl Bridge {
    /// A file of a message, to be uploaded: fetched from other servers if it is not here.
    pub(super) async fn content(
        &self,
        room: rocketmesh_protocol::id::RoomId,
        named: &FileRef,
    ) -> Result<UploadBody, Left> {
        let store = |error: rocketmesh_storage::StoreError| Left::Waiting(error.into());
        let mut stored = self.engine.store.open_file(&named.file).map_err(store)?;
        if stored.is_none() {
            let begun = tokio::time::Instant::now();
            let deadline = begun + FETCH;
            loop {
                let progress = self.engine.fetch_file(room, named.file, u64::MAX);
                let progress = progress.map_err(|error| Left::Behind(error.to_string()))?;
                match tokio::time::timeout_at(deadline, ended(progress)).await {
                    // It goes on behind others.
                    Ok(Err(FetchError::GaveWay)) => {}
                    Ok(Err(FetchError::NoHolder { .. })) if begun.elapsed() < NO_HOLDER => {
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                    Ok(outcome) => break outcome.map_err(|error| Left::Behind(error.to_string()))?,
                    Err(_) => return Err(Left::Behind("no server sent the file in time".to_owned())),
                }
            }
            stored = self.engine.store.open_file(&named.file).map_err(store)?;
        }
        let Some(mut stored) = stored else { return Err(Left::Behind("the file was taken back".to_owned())) };
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
        Ok(UploadBody::Stream(reqwest::Body::wrap_stream(stream), size))
    }
}
