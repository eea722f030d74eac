//! A stand-in for `asynchronous-codec` whose buffers take memory only while there is something in them.
//!
//! ```text
//!            encode            write
//!   frame ──────────► buffer ──────────► stream
//!   frame ◄────────── buffer ◄────────── stream
//!            decode             read
//! ```
//!
//! The real crate makes both buffers with the stream, 8 KiB each, and keeps them as long as the stream. A simulation holds
//! many thousand streams in one process, of which nearly all are idle. So a buffer here is made when bytes come, and given back
//! when the last of them has gone. Everything else is as in the real crate: what is written and read at once, when a sender has
//! to wait, in which order decoder and stream are asked, what is an error.
//!
//! It has what libp2p's crates use: no ready-made codecs, and parts only of [`Framed`].

mod framed;
mod incoming;
mod outgoing;

use std::io;

pub use bytes::{Bytes, BytesMut};

pub use framed::{Framed, FramedParts};
pub use incoming::FramedRead;
pub use outgoing::FramedWrite;

/// Makes bytes of frames.
pub trait Encoder {
    /// A frame to be encoded, which may be borrowed.
    type Item<'a>;
    /// Why a frame was not encoded, or its bytes not written.
    type Error: From<io::Error>;

    /// Appends the bytes of a frame to those that wait to be written.
    fn encode(&mut self, item: Self::Item<'_>, dst: &mut BytesMut) -> Result<(), Self::Error>;
}

/// Makes frames of bytes.
pub trait Decoder {
    /// A decoded frame.
    type Item;
    /// Why bytes are no frame, or were not read.
    type Error: From<io::Error>;

    /// Takes a frame from the front of what was read, or nothing as long as it is not all there.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, Self::Error>;

    /// The same after the stream has ended, for protocols in which the end completes a frame.
    ///
    /// Only asked while there are bytes left.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Self::Item>, Self::Error> {
        self.decode(src)
    }
}

/// Gives the memory of a buffer back that has nothing in it.
fn give_back_if_empty(buffer: &mut BytesMut) {
    // Whatever its capacity: after the last frame was split off that is 0, and the buffer still shares the frame's memory.
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
}
