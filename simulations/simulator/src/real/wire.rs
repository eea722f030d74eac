//! One end of a simulated connection, as a stream of bytes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite, Future};
use tokio::time::{Instant, Sleep};

use super::internet::Internet;

/// Bytes that may be under way in one direction: a window such as TCP has.
const WINDOW: usize = 512 * 1024;

/// One direction.
pub(super) struct Pipe {
    pub(super) from: usize,
    pub(super) to: usize,
    chunks: VecDeque<Chunk>,
    under_way: usize,
    last: Option<Instant>,
    /// The writer has ended.
    ended: bool,
    /// The reader is gone, or the connection was reset.
    broken: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Chunk {
    /// When it is there; none while a cut keeps it.
    at: Option<Instant>,
    bytes: Vec<u8>,
    read: usize,
}

impl Pipe {
    pub(super) fn new(from: usize, to: usize) -> Self {
        Pipe {
            from,
            to,
            chunks: VecDeque::new(),
            under_way: 0,
            last: None,
            ended: false,
            broken: false,
            reset: false,
            reader: None,
            writer: None,
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.at.is_none())
    }

    pub(super) fn is_open(&self) -> bool {
        !self.ended && !self.broken
    }

    /// Breaks both ends. Returns who is to be told.
    pub(super) fn reset(&mut self) -> Vec<Waker> {
        (self.broken, self.reset) = (true, true);
        self.chunks.clear();
        [self.reader.take(), self.writer.take()].into_iter().flatten().collect()
    }

    /// Sends on what a cut kept. Returns who is to be told.
    pub(super) fn resume(
        &mut self,
        from: Instant,
        mut arrival: impl FnMut(usize, Instant) -> Instant,
    ) -> Option<Waker> {
        let mut last = self.last.unwrap_or(from).max(from);
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.at.is_none()) {
            last = arrival(chunk.bytes.len(), last);
            chunk.at = Some(last);
        }
        self.last = Some(last);
        self.reader.take()
    }
}

/// One end.
pub(super) struct Wire {
    internet: Internet,
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(internet: Internet, incoming: Arc<Mutex<Pipe>>, outgoing: Arc<Mutex<Pipe>>) -> Self {
        Wire { internet, incoming, outgoing, sleep: None }
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let mut pipe = lock(&wire.incoming);
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let now = Instant::now();
        let mut read = 0;
        while let Some(chunk) = pipe.chunks.front_mut().filter(|chunk| chunk.at.is_some_and(|at| at <= now)) {
            let part = (chunk.bytes.len() - chunk.read).min(buffer.len() - read);
            buffer[read..read + part].copy_from_slice(&chunk.bytes[chunk.read..chunk.read + part]);
            (read, chunk.read) = (read + part, chunk.read + part);
            if chunk.read < chunk.bytes.len() {
                break;
            }
            pipe.chunks.pop_front();
        }
        if read > 0 {
            pipe.under_way -= read;
            let writer = pipe.writer.take();
            drop(pipe);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Ok(read));
        }
        let next = match pipe.chunks.front() {
            None if pipe.ended => return Poll::Ready(Ok(0)),
            None => None,
            Some(chunk) => chunk.at,
        };
        pipe.reader = Some(context.waker().clone());
        drop(pipe);
        if let Some(next) = next {
            let sleep = wire.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if sleep.deadline() != next {
                sleep.as_mut().reset(next);
            }
            if sleep.as_mut().poll(context).is_ready() {
                // Due by now, or the timer is a millisecond off: look again.
                context.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.outgoing);
        if pipe.broken || pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pipe.under_way >= WINDOW {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let length = bytes.len().min(WINDOW);
        let (from, to) = (pipe.from, pipe.to);
        let not_before = pipe.last.unwrap_or_else(Instant::now);
        drop(pipe);
        let stalled = lock(&self.outgoing).is_stalled();
        let at = if stalled { None } else { self.internet.arrival(from, to, length, not_before) };
        let mut pipe = lock(&self.outgoing);
        pipe.chunks.push_back(Chunk { at, bytes: bytes[..length].to_vec(), read: 0 });
        pipe.under_way += length;
        pipe.last = at.or(pipe.last);
        let reader = pipe.reader.take();
        drop(pipe);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.outgoing);
        pipe.ended = true;
        let reader = pipe.reader.take();
        drop(pipe);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        {
            let mut outgoing = lock(&self.outgoing);
            outgoing.ended = true;
            wakers.extend(outgoing.reader.take());
        }
        {
            let mut incoming = lock(&self.incoming);
            incoming.broken = true;
            incoming.chunks.clear();
            wakers.extend(incoming.writer.take());
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}
