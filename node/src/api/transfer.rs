//! Long transfers: what blocking code writes becomes the body of an answer, and the body of a request becomes what
//! blocking code reads. Either way a bounded number of pieces waits, and the faster side for the slower.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::api::Api;
use crate::api::error::ApiError;

/// Bytes of an answer that are handed over at a time, and how many pieces of either direction may wait.
const PIECE: usize = 256 * 1024;
const PIECES: usize = 8;
/// How long a client may send nothing in the middle of a body.
const SILENCE: Duration = Duration::from_secs(120);
/// What is taken and thrown away of a body that nobody wants, at most.
const DISCARDED: usize = 4 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(5);

/// The right to carry a room in or out, for as long as the permit is kept.
pub(super) fn permit(api: &Api) -> Result<OwnedSemaphorePermit, ApiError> {
    api.transfers.clone().try_acquire_owned().map_err(|_| {
        let message = format!("there are {} exports and imports under way; wait for one to end", super::MAX_TRANSFERS);
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_transfers", message)
    })
}

/// Answers with what `write` writes, while it writes. `what` is the name of it for the log.
pub(super) fn answer<E: Display>(
    content_type: &'static str,
    what: &'static str,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E> + Send + 'static,
) -> Response {
    let (sender, receiver) = mpsc::channel::<io::Result<Vec<u8>>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut outgoing = Outgoing { sender, piece: Vec::with_capacity(PIECE) };
        let written = write(&mut outgoing).map_err(|error| error.to_string());
        if let Err(error) = written.and_then(|()| outgoing.flush().map_err(|error| error.to_string())) {
            tracing::warn!(%error, "{what} ended early");
            // Ends the stream in the middle, so that the client cannot take it for a whole one.
            let _ = outgoing.sender.blocking_send(Err(io::Error::other(format!("{what} ended early"))));
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    ([(CONTENT_TYPE, content_type)], Body::from_stream(stream)).into_response()
}

/// Writes into a bounded channel and waits for the client.
struct Outgoing {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// What blocking code reads of a request's body, and what has to be awaited meanwhile for it to come.
///
/// If the reader is dropped before the end, the rest of the body is taken and thrown away: a client that still sends
/// does not hear why it need not.
pub(super) fn incoming(body: Body, shutdown: watch::Receiver<bool>) -> (Incoming, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (Incoming { receiver, piece: Bytes::new() }, feed(body, sender, shutdown))
}

/// Takes the body of a request that is refused, within bounds, and throws it away. A connection that is closed on a client that
/// still sends may take the refusal with it, and a client that keeps the connection would send its next request into the closing.
pub(super) async fn discard(body: Body) {
    let mut stream = body.into_data_stream();
    let taking = async {
        let mut taken = 0;
        while let Some(Ok(piece)) = stream.next().await {
            taken += piece.len();
            if taken > DISCARDED {
                return;
            }
        }
    };
    // A client that is slower loses its connection.
    let _ = tokio::time::timeout(DISCARDING, taking).await;
}

async fn feed(body: Body, pieces: mpsc::Sender<io::Result<Bytes>>, mut shutdown: watch::Receiver<bool>) {
    let mut stream = body.into_data_stream();
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(SILENCE, stream.next()) => next,
            () = crate::network::shut_down(&mut shutdown) => {
                let _ = pieces.send(Err(io::Error::other("the node is shutting down"))).await;
                return;
            }
        };
        let piece = match next {
            Ok(Some(Ok(piece))) => Ok(piece),
            Ok(None) => return,
            Ok(Some(Err(error))) => Err(io::Error::other(format!("the request broke off: {error}"))),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        };
        let broken = piece.is_err();
        // Fails where nobody reads any more.
        let _ = pieces.send(piece).await;
        if broken {
            return;
        }
    }
}

/// Reads a request's body, for blocking code.
pub(super) struct Incoming {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let len = buffer.len().min(self.piece.len());
        buffer[..len].copy_from_slice(&self.piece.split_to(len));
        Ok(len)
    }
}
