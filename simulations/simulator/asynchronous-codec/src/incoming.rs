//! From a stream to frames.

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_core::Stream;
use futures_io::AsyncRead;

use crate::{Decoder, give_back_if_empty};

/// The most that is read at once, in bytes; as much as in the real crate.
const READ_AT_ONCE: usize = 8 * 1024;

/// What was read and not decoded yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) buffer: BytesMut,
}

impl Incoming {
    pub(crate) fn new(buffer: BytesMut) -> Self {
        Incoming { buffer }
    }

    /// The next frame; nothing once the stream has ended. May be asked again after an error, and then goes on with what is left.
    pub(crate) fn poll_next<T, D>(
        &mut self,
        io: &mut T,
        decoder: &mut D,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<D::Item, D::Error>>>
    where
        T: AsyncRead + Unpin,
        D: Decoder,
    {
        if let Some(frame) = self.decode(decoder)? {
            return Poll::Ready(Some(Ok(frame)));
        }
        // On the stack, so that a stream that has nothing to read takes no memory while it waits.
        let mut piece = [0; READ_AT_ONCE];
        loop {
            let length = ready!(Pin::new(&mut *io).poll_read(context, &mut piece))?;
            self.buffer.extend_from_slice(&piece[..length]);
            if let Some(frame) = self.decode(decoder)? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if length == 0 {
                return Poll::Ready(self.decode_end(decoder).transpose());
            }
        }
    }

    fn decode<D: Decoder>(&mut self, decoder: &mut D) -> Result<Option<D::Item>, D::Error> {
        let frame = decoder.decode(&mut self.buffer);
        give_back_if_empty(&mut self.buffer);
        frame
    }

    /// What the rest is, now that no more will come.
    fn decode_end<D: Decoder>(&mut self, decoder: &mut D) -> Result<Option<D::Item>, D::Error> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let frame = decoder.decode_eof(&mut self.buffer);
        give_back_if_empty(&mut self.buffer);
        let frame = frame?;
        if frame.is_none() && !self.buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended within a frame").into());
        }
        Ok(frame)
    }
}

/// The frames of a stream that is only read.
#[derive(Debug)]
pub struct FramedRead<T, D> {
    io: T,
    decoder: D,
    incoming: Incoming,
}

impl<T, D> FramedRead<T, D>
where
    T: AsyncRead,
    D: Decoder,
{
    /// Reads frames from this stream.
    pub fn new(inner: T, decoder: D) -> Self {
        FramedRead { io: inner, decoder, incoming: Incoming::new(BytesMut::new()) }
    }

    /// The stream. What was read and not decoded is lost.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// The decoder.
    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    /// The decoder, to be changed with care: half a frame may be in the buffer.
    pub fn decoder_mut(&mut self) -> &mut D {
        &mut self.decoder
    }

    /// What was read and not decoded yet.
    pub fn read_buffer(&self) -> &BytesMut {
        &self.incoming.buffer
    }
}

// The decoder is never pinned.
impl<T: Unpin, D> Unpin for FramedRead<T, D> {}

impl<T, D> Stream for FramedRead<T, D>
where
    T: AsyncRead + Unpin,
    D: Decoder,
{
    type Item = Result<D::Item, D::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.incoming.poll_next(&mut this.io, &mut this.decoder, context)
    }
}

impl<T, D> Deref for FramedRead<T, D> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.io
    }
}

impl<T, D> DerefMut for FramedRead<T, D> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.io
    }
}
