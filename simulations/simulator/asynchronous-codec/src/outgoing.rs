//! From frames to a stream.

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_io::AsyncWrite;
use futures_sink::Sink;

use crate::{Encoder, give_back_if_empty};

/// With so many bytes waiting no further frame is taken, unless somebody sets another mark; as in the real crate.
const SEND_HIGH_WATER_MARK: usize = 128 * 1024;

/// What was encoded and not written yet.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) buffer: BytesMut,
    pub(crate) high_water_mark: usize,
}

impl Outgoing {
    pub(crate) fn new(buffer: BytesMut) -> Self {
        Outgoing { buffer, high_water_mark: SEND_HIGH_WATER_MARK }
    }

    /// Ready once fewer bytes wait than the mark says. Writes nothing before.
    pub(crate) fn poll_ready<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.buffer.len() >= self.high_water_mark {
            ready!(self.poll_write(io, context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Adds a frame. Writes nothing.
    pub(crate) fn encode<E: Encoder>(&mut self, encoder: &mut E, frame: E::Item<'_>) -> Result<(), E::Error> {
        let encoded = encoder.encode(frame, &mut self.buffer);
        // A refused frame may have made room and left it unused.
        give_back_if_empty(&mut self.buffer);
        encoded
    }

    /// Ready once the stream has everything, and has flushed it.
    pub(crate) fn poll_flush<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            ready!(self.poll_write(io, context))?;
        }
        Pin::new(io).poll_flush(context)
    }

    /// Ready once everything is flushed and the stream closed.
    pub(crate) fn poll_close<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(io, context))?;
        Pin::new(io).poll_close(context)
    }

    /// Offers everything that waits to the stream, once.
    fn poll_write<T: AsyncWrite + Unpin>(&mut self, io: &mut T, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let taken = ready!(Pin::new(io).poll_write(context, &self.buffer))?;
        if taken == 0 {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the stream takes no more bytes");
            return Poll::Ready(Err(error));
        }
        self.buffer.advance(taken);
        give_back_if_empty(&mut self.buffer);
        Poll::Ready(Ok(()))
    }
}

/// Frames for a stream that is only written.
#[derive(Debug)]
pub struct FramedWrite<T, E> {
    io: T,
    encoder: E,
    outgoing: Outgoing,
}

impl<T, E> FramedWrite<T, E>
where
    T: AsyncWrite,
    E: Encoder,
{
    /// Writes frames to this stream.
    pub fn new(inner: T, encoder: E) -> Self {
        FramedWrite { io: inner, encoder, outgoing: Outgoing::new(BytesMut::new()) }
    }

    /// With how many bytes waiting to be written no further frame is taken. 128 KiB unless set.
    pub fn send_high_water_mark(&self) -> usize {
        self.outgoing.high_water_mark
    }

    /// Sets with how many bytes waiting to be written no further frame is taken. Must be more than 0.
    pub fn set_send_high_water_mark(&mut self, hwm: usize) {
        self.outgoing.high_water_mark = hwm;
    }

    /// The stream. What was encoded and not written is lost.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// The encoder.
    pub fn encoder(&self) -> &E {
        &self.encoder
    }

    /// The encoder, to be changed with care: half a frame may be in the buffer.
    pub fn encoder_mut(&mut self) -> &mut E {
        &mut self.encoder
    }
}

// The encoder is never pinned.
impl<T: Unpin, E> Unpin for FramedWrite<T, E> {}

impl<T, E> Sink<E::Item<'_>> for FramedWrite<T, E>
where
    T: AsyncWrite + Unpin,
    E: Encoder,
{
    type Error = E::Error;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        this.outgoing.poll_ready(&mut this.io, context).map_err(Into::into)
    }

    fn start_send(self: Pin<&mut Self>, item: E::Item<'_>) -> Result<(), Self::Error> {
        let this = self.get_mut();
        this.outgoing.encode(&mut this.encoder, item)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        this.outgoing.poll_flush(&mut this.io, context).map_err(Into::into)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        this.outgoing.poll_close(&mut this.io, context).map_err(Into::into)
    }
}

impl<T, E> Deref for FramedWrite<T, E> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.io
    }
}

impl<T, E> DerefMut for FramedWrite<T, E> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.io
    }
}
