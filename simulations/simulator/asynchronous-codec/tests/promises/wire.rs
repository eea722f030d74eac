//! A stream that a test plays, and codecs for it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use asynchronous_codec::{Bytes, BytesMut, Decoder, Encoder};
use bytes::Buf;
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use futures_sink::Sink;

/// What reading meets.
pub(crate) enum Arrival {
    Bytes(Vec<u8>),
    /// Nothing yet.
    Wait,
    Failure,
}

/// What was asked of the stream, beside reading.
#[derive(Debug, PartialEq)]
pub(crate) enum Call {
    /// With so many bytes offered.
    Write(usize),
    Flush,
    Close,
}

/// A stream in the hands of a test. After all arrivals it has ended.
pub(crate) struct Wire {
    pub(crate) arrivals: VecDeque<Arrival>,
    /// How often it was read.
    pub(crate) reads: usize,
    /// How many bytes it takes at once.
    pub(crate) at_once: usize,
    /// How many bytes it takes before it lets writers wait.
    pub(crate) room: usize,
    pub(crate) written: Vec<u8>,
    pub(crate) calls: Vec<Call>,
    /// The next write fails.
    pub(crate) fails: bool,
}

impl Wire {
    /// With something to read, which takes whatever is written.
    pub(crate) fn new(arrivals: impl IntoIterator<Item = Arrival>) -> Self {
        Wire {
            arrivals: arrivals.into_iter().collect(),
            reads: 0,
            at_once: usize::MAX,
            room: usize::MAX,
            written: Vec::new(),
            calls: Vec::new(),
            fails: false,
        }
    }

    /// With exactly this to read.
    pub(crate) fn carrying(bytes: &[u8]) -> Self {
        Wire::new([Arrival::Bytes(bytes.to_vec())])
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.reads += 1;
        match self.arrivals.pop_front() {
            None => Poll::Ready(Ok(0)),
            Some(Arrival::Wait) => Poll::Pending,
            Some(Arrival::Failure) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Arrival::Bytes(mut bytes)) => {
                assert!(!bytes.is_empty(), "an empty piece would be the end");
                let length = bytes.len().min(into.len());
                into[..length].copy_from_slice(&bytes[..length]);
                if length < bytes.len() {
                    self.arrivals.push_front(Arrival::Bytes(bytes.split_off(length)));
                }
                Poll::Ready(Ok(length))
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.calls.push(Call::Write(bytes.len()));
        if std::mem::take(&mut self.fails) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.room == 0 {
            return Poll::Pending;
        }
        let taken = bytes.len().min(self.at_once).min(self.room);
        self.room -= taken;
        self.written.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.calls.push(Call::Flush);
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.calls.push(Call::Close);
        Poll::Ready(Ok(()))
    }
}

/// A length that is no length.
pub(crate) const BROKEN: [u8; 2] = [0xff, 0xff];

/// Frames behind their length in two bytes.
#[derive(Debug)]
pub(crate) struct Lengths;

impl Encoder for Lengths {
    type Item<'a> = &'a [u8];
    type Error = io::Error;

    fn encode(&mut self, frame: &[u8], into: &mut BytesMut) -> io::Result<()> {
        into.reserve(2 + frame.len());
        let length = u16::try_from(frame.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        into.extend_from_slice(&length.to_be_bytes());
        into.extend_from_slice(frame);
        Ok(())
    }
}

impl Decoder for Lengths {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Bytes>> {
        if from.len() < 2 {
            return Ok(None);
        }
        if from[..2] == BROKEN {
            from.advance(2);
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = usize::from(u16::from_be_bytes([from[0], from[1]]));
        if from.len() - 2 < length {
            return Ok(None);
        }
        from.advance(2);
        Ok(Some(from.split_to(length).freeze()))
    }
}

/// One frame, which the end of the stream completes.
#[derive(Default)]
pub(crate) struct ToTheEnd {
    /// How often it was asked after the end.
    pub(crate) asked_at_end: usize,
}

impl Decoder for ToTheEnd {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, _: &mut BytesMut) -> io::Result<Option<Bytes>> {
        Ok(None)
    }

    fn decode_eof(&mut self, from: &mut BytesMut) -> io::Result<Option<Bytes>> {
        self.asked_at_end += 1;
        Ok(Some(from.split().freeze()))
    }
}

/// These frames as they are on the wire.
pub(crate) fn encoded(frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for frame in frames {
        Lengths.encode(frame, &mut bytes).unwrap();
    }
    bytes.to_vec()
}

pub(crate) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Looks once for a frame.
pub(crate) fn next<S: Stream + Unpin>(frames: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(frames).poll_next(&mut context())
}

/// A frame that has to be there.
pub(crate) fn next_frame<S: Stream<Item = io::Result<Bytes>> + Unpin>(frames: &mut S) -> Bytes {
    match next(frames) {
        Poll::Ready(Some(Ok(frame))) => frame,
        other => panic!("no frame: {other:?}"),
    }
}

/// All frames up to the end, and how often there was nothing yet.
pub(crate) fn all<S: Stream<Item = io::Result<Bytes>> + Unpin>(frames: &mut S) -> (Vec<Bytes>, usize) {
    let (mut found, mut waited) = (Vec::new(), 0);
    loop {
        match next(frames) {
            Poll::Ready(Some(frame)) => found.push(frame.unwrap()),
            Poll::Ready(None) => return (found, waited),
            Poll::Pending => waited += 1,
        }
    }
}

pub(crate) fn ready<'a, S: Sink<&'a [u8], Error = io::Error> + Unpin>(frames: &mut S) -> Poll<io::Result<()>> {
    Pin::new(frames).poll_ready(&mut context())
}

pub(crate) fn flush<'a, S: Sink<&'a [u8], Error = io::Error> + Unpin>(frames: &mut S) -> Poll<io::Result<()>> {
    Pin::new(frames).poll_flush(&mut context())
}

pub(crate) fn close<'a, S: Sink<&'a [u8], Error = io::Error> + Unpin>(frames: &mut S) -> Poll<io::Result<()>> {
    Pin::new(frames).poll_close(&mut context())
}

/// Hands a frame over that the sink is ready for.
pub(crate) fn start<'a, S: Sink<&'a [u8], Error = io::Error> + Unpin>(frames: &mut S, frame: &'a [u8]) {
    assert!(ready(frames).is_ready());
    Pin::new(frames).start_send(frame).unwrap();
}

/// The kind of an error that has to be there.
pub(crate) fn kind<T>(outcome: Poll<io::Result<T>>) -> io::ErrorKind {
    match outcome {
        Poll::Ready(Err(error)) => error.kind(),
        Poll::Ready(Ok(_)) => panic!("no error"),
        Poll::Pending => panic!("nothing yet"),
    }
}

/// The same of a frame.
pub(crate) fn frame_kind(outcome: Poll<Option<io::Result<Bytes>>>) -> io::ErrorKind {
    kind(outcome.map(|frame| frame.unwrap()))
}
