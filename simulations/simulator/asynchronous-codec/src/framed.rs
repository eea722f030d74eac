//! Frames in both directions of one stream.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use futures_sink::Sink;

use crate::incoming::Incoming;
use crate::outgoing::Outgoing;
use crate::{Decoder, Encoder};

/// A stream that is written and read in frames.
#[derive(Debug)]
pub struct Framed<T, U> {
    io: T,
    codec: U,
    incoming: Incoming,
    outgoing: Outgoing,
}

/// What a [`Framed`] is made of, to go on with another codec.
#[non_exhaustive]
pub struct FramedParts<T, U> {
    /// The stream.
    pub io: T,
    /// Makes bytes of frames, and frames of bytes.
    pub codec: U,
    /// What was read and not decoded yet.
    pub read_buffer: BytesMut,
    /// What was encoded and not written yet.
    pub write_buffer: BytesMut,
}

impl<T, U> FramedParts<T, U> {
    /// The same with another codec.
    pub fn map_codec<V, F>(self, f: F) -> FramedParts<T, V>
    where
        F: FnOnce(U) -> V,
    {
        let FramedParts { io, codec, read_buffer, write_buffer } = self;
        FramedParts { io, codec: f(codec), read_buffer, write_buffer }
    }
}

impl<T, U> Framed<T, U>
where
    T: AsyncRead + AsyncWrite,
    U: Decoder + Encoder,
{
    /// Writes frames to this stream and reads frames from it.
    pub fn new(inner: T, codec: U) -> Self {
        let (read_buffer, write_buffer) = (BytesMut::new(), BytesMut::new());
        Framed::from_parts(FramedParts { io: inner, codec, read_buffer, write_buffer })
    }

    /// Goes on where [`Framed::into_parts`] stopped, with the high-water mark that a new one has.
    pub fn from_parts(parts: FramedParts<T, U>) -> Self {
        let FramedParts { io, codec, read_buffer, write_buffer } = parts;
        Framed { io, codec, incoming: Incoming::new(read_buffer), outgoing: Outgoing::new(write_buffer) }
    }

    /// Takes it apart; nothing is lost.
    pub fn into_parts(self) -> FramedParts<T, U> {
        let Framed { io, codec, incoming, outgoing } = self;
        FramedParts { io, codec, read_buffer: incoming.buffer, write_buffer: outgoing.buffer }
    }

    /// The stream. What was read and not decoded, and what was encoded and not written, is lost.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// The codec.
    pub fn codec(&self) -> &U {
        &self.codec
    }

    /// The codec, to be changed with care: half a frame may be in a buffer.
    pub fn codec_mut(&mut self) -> &mut U {
        &mut self.codec
    }

    /// What was read and not decoded yet.
    pub fn read_buffer(&self) -> &BytesMut {
        &self.incoming.buffer
    }

    /// With how many bytes waiting to be written no further frame is taken. 128 KiB unless set.
    pub fn send_high_water_mark(&self) -> usize {
        self.outgoing.high_water_mark
    }

    /// Sets with how many bytes waiting to be written no further frame is taken. Must be more than 0.
    pub fn set_send_high_water_mark(&mut self, hwm: usize) {
        self.outgoing.high_water_mark = hwm;
    }
}

// The codec is never pinned.
impl<T: Unpin, U> Unpin for Framed<T, U> {}

impl<T, U> Stream for Framed<T, U>
where
    T: AsyncRead + Unpin,
    U: Decoder,
{
    type Item = Result<U::Item, U::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.incoming.poll_next(&mut this.io, &mut this.codec, context)
    }
}

impl<T, U> Sink<U::Item<'_>> for Framed<T, U>
where
    T: AsyncWrite + Unpin,
    U: Encoder,
{
    type Error = U::Error;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        this.outgoing.poll_ready(&mut this.io, context).map_err(Into::into)
    }

    fn start_send(self: Pin<&mut Self>, item: U::Item<'_>) -> Result<(), Self::Error> {
        let this = self.get_mut();
        this.outgoing.encode(&mut this.codec, item)
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

impl<T, U> Deref for Framed<T, U> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.io
    }
}

impl<T, U> DerefMut for Framed<T, U> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.io
    }
}
