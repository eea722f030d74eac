//! The same as with the real crate.

use std::io::{self, ErrorKind};
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::Poll;

use asynchronous_codec::{Bytes, BytesMut, Decoder, Encoder, Framed, FramedParts, FramedRead, FramedWrite};
use futures_sink::Sink;

use crate::wire::{
    Arrival, BROKEN, Call, Lengths, ToTheEnd, Wire, all, close, encoded, flush, frame_kind, kind, next, next_frame,
    ready, start,
};

const FRAMES: [&[u8]; 4] = [b"", b"a", b"hello", &[7; 300]];

#[test]
fn what_is_written_is_read_wherever_the_bytes_are_cut() {
    let mut writer = Framed::new(Wire::new([]), Lengths);
    for frame in FRAMES {
        start(&mut writer, frame);
    }
    assert!(flush(&mut writer).is_ready());
    let bytes = writer.into_inner().written;
    assert_eq!(bytes, encoded(&FRAMES));

    for cut in 1..bytes.len() {
        let (front, back) = bytes.split_at(cut);
        let arrivals = || [Arrival::Bytes(front.to_vec()), Arrival::Wait, Arrival::Bytes(back.to_vec())];
        let mut both = Framed::new(Wire::new(arrivals()), Lengths);
        assert_eq!(all(&mut both), (FRAMES.map(Bytes::from_static).to_vec(), 1), "cut at {cut}");
        let mut reader = FramedRead::new(Wire::new(arrivals()), Lengths);
        assert_eq!(all(&mut reader), (FRAMES.map(Bytes::from_static).to_vec(), 1), "cut at {cut}");
    }
}

#[test]
fn what_is_written_byte_by_byte_is_read_byte_by_byte() {
    let mut wire = Wire::new([]);
    wire.at_once = 1;
    let mut writer = FramedWrite::new(wire, Lengths);
    for frame in FRAMES {
        start(&mut writer, frame);
    }
    assert!(flush(&mut writer).is_ready());
    let wire = writer.into_inner();
    assert_eq!(wire.calls.len(), wire.written.len() + 1, "a write for each byte, and the flush");

    let mut reader = Framed::new(Wire::new(wire.written.into_iter().map(|byte| Arrival::Bytes(vec![byte]))), Lengths);
    assert_eq!(all(&mut reader).0, FRAMES);
}

#[test]
fn a_long_frame_is_read_in_pieces_of_8_kib() {
    let long = [5; 40_000];
    let mut reader = Framed::new(Wire::carrying(&encoded(&[&long, b"next"])), Lengths);
    assert_eq!(next_frame(&mut reader), &long[..]);
    assert_eq!(reader.reads, 5);
    assert_eq!(next_frame(&mut reader), "next");
}

#[test]
fn frames_that_are_there_come_before_the_stream_is_read_again() {
    let mut reader = Framed::new(Wire::carrying(&encoded(&FRAMES)), Lengths);
    for frame in FRAMES {
        assert_eq!(next_frame(&mut reader), frame);
    }
    assert_eq!(reader.reads, 1);
    assert!(matches!(next(&mut reader), Poll::Ready(None)));
    assert_eq!(reader.reads, 2);
    assert!(matches!(next(&mut reader), Poll::Ready(None)), "and it stays so");
}

#[test]
fn nothing_is_written_before_the_flush_and_then_all_at_once() {
    let mut writer = Framed::new(Wire::new([]), Lengths);
    for frame in FRAMES {
        start(&mut writer, frame);
    }
    assert_eq!(writer.calls, []);
    assert!(flush(&mut writer).is_ready());
    assert_eq!(writer.calls, [Call::Write(encoded(&FRAMES).len()), Call::Flush]);
    assert!(flush(&mut writer).is_ready());
    assert_eq!(writer.calls[2..], [Call::Flush], "a flush of nothing flushes the stream");
}

#[test]
fn closing_writes_flushes_and_closes() {
    let mut writer = FramedWrite::new(Wire::new([]), Lengths);
    start(&mut writer, b"bye");
    assert!(close(&mut writer).is_ready());
    assert_eq!(writer.calls, [Call::Write(5), Call::Flush, Call::Close]);
}

#[test]
fn a_sender_waits_at_the_high_water_mark_until_the_stream_takes_bytes() {
    let mut wire = Wire::new([]);
    wire.room = 0;
    let mut writer = Framed::new(wire, Lengths);
    writer.set_send_high_water_mark(10);
    start(&mut writer, b"12345");
    start(&mut writer, b"6");
    assert_eq!(writer.calls, [], "ten bytes, counted before the frame was taken");

    assert!(ready(&mut writer).is_pending());
    assert!(ready(&mut writer).is_pending());
    writer.room = 1;
    assert!(ready(&mut writer).is_ready(), "nine bytes");
    assert_eq!(writer.calls, [Call::Write(10), Call::Write(10), Call::Write(10)]);

    start(&mut writer, b"7");
    assert!(flush(&mut writer).is_pending());
    writer.room = usize::MAX;
    assert!(flush(&mut writer).is_ready());
    assert_eq!(writer.written, encoded(&[b"12345", b"6", b"7"]));
}

#[test]
fn the_high_water_mark_is_128_kib_unless_set() {
    let mut wire = Wire::new([]);
    wire.room = 0;
    let mut writer = FramedWrite::new(wire, Lengths);
    assert_eq!(writer.send_high_water_mark(), 128 * 1024);
    let frame = [1; 32 * 1024 - 2];
    for _ in 0..4 {
        start(&mut writer, &frame);
    }
    assert!(ready(&mut writer).is_pending());
    writer.set_send_high_water_mark(128 * 1024 + 1);
    assert!(ready(&mut writer).is_ready());
}

#[test]
fn a_stream_that_takes_nothing_is_an_unexpected_end() {
    let mut wire = Wire::new([]);
    wire.at_once = 0;
    let mut writer = Framed::new(wire, Lengths);
    start(&mut writer, b"hello");
    assert_eq!(kind(flush(&mut writer)), ErrorKind::UnexpectedEof);
    writer.set_send_high_water_mark(1);
    assert_eq!(kind(ready(&mut writer)), ErrorKind::UnexpectedEof);
}

#[test]
fn a_failed_write_loses_nothing() {
    let mut wire = Wire::new([]);
    wire.fails = true;
    let mut writer = Framed::new(wire, Lengths);
    start(&mut writer, b"hello");
    assert_eq!(kind(flush(&mut writer)), ErrorKind::BrokenPipe);
    assert!(close(&mut writer).is_ready());
    assert_eq!(writer.written, encoded(&[b"hello"]));
}

#[test]
fn a_refused_frame_leaves_the_others() {
    let mut writer = Framed::new(Wire::new([]), Lengths);
    start(&mut writer, b"one");
    assert!(refuses(&mut writer));
    start(&mut writer, b"two");
    assert!(flush(&mut writer).is_ready());
    assert_eq!(writer.written, encoded(&[b"one", b"two"]));
}

/// A frame that is too long is an error.
pub(crate) fn refuses(writer: &mut Framed<Wire, Lengths>) -> bool {
    let sent = Pin::new(writer).start_send(&[0; 70_000]);
    sent.is_err_and(|error| error.kind() == ErrorKind::InvalidInput)
}

#[test]
fn an_error_of_the_decoder_is_handed_on_and_the_decoder_asked_again() {
    let bytes = [&encoded(&[b"one"])[..], &BROKEN, &encoded(&[b"two"])].concat();
    let mut reader = Framed::new(Wire::carrying(&bytes), Lengths);
    assert_eq!(next_frame(&mut reader), "one");
    assert_eq!(frame_kind(next(&mut reader)), ErrorKind::InvalidData);
    assert_eq!(next_frame(&mut reader), "two", "whether an error is the end is for the user to say");
    assert_eq!(reader.reads, 1);
    assert!(matches!(next(&mut reader), Poll::Ready(None)));
}

#[test]
fn a_failed_read_loses_nothing() {
    let [front, back] =
        [&encoded(&[b"hello"])[..3], &encoded(&[b"hello"])[3..]].map(|piece| Arrival::Bytes(piece.to_vec()));
    let mut reader = Framed::new(Wire::new([front, Arrival::Failure, back]), Lengths);
    assert_eq!(frame_kind(next(&mut reader)), ErrorKind::ConnectionReset);
    assert_eq!(next_frame(&mut reader), "hello");
}

#[test]
fn an_end_within_a_frame_is_an_error_each_time_one_asks() {
    let mut reader = FramedRead::new(Wire::carrying(&encoded(&[b"hello"])[..6]), Lengths);
    assert_eq!(frame_kind(next(&mut reader)), ErrorKind::UnexpectedEof);
    assert_eq!(frame_kind(next(&mut reader)), ErrorKind::UnexpectedEof);
    assert_eq!(reader.read_buffer().len(), 6);
}

#[test]
fn the_end_completes_a_frame_for_a_decoder_that_says_so() {
    let pieces = [b"to", b"th"].map(|piece| Arrival::Bytes(piece.to_vec()));
    let mut reader = FramedRead::new(Wire::new(pieces), ToTheEnd::default());
    assert_eq!(next_frame(&mut reader), "toth");
    assert!(matches!(next(&mut reader), Poll::Ready(None)));
    assert_eq!(reader.decoder().asked_at_end, 1, "not asked without bytes");
}

#[test]
fn another_codec_goes_on_with_what_is_in_the_buffers() {
    let bytes = encoded(&[b"one", b"two"]);
    let mut framed = Framed::new(Wire::carrying(&bytes), Lengths);
    assert_eq!(next_frame(&mut framed), "one");
    start(&mut framed, b"three");
    framed.set_send_high_water_mark(1);

    let parts = framed.into_parts().map_codec(Reversed);
    let FramedParts { ref read_buffer, ref write_buffer, .. } = parts;
    assert_eq!((&read_buffer[..], &write_buffer[..]), (&encoded(&[b"two"])[..], &encoded(&[b"three"])[..]));

    let mut framed = Framed::from_parts(parts);
    assert_eq!(framed.send_high_water_mark(), 128 * 1024);
    assert_eq!(next_frame(&mut framed), "owt");
    start(&mut framed, b"four");
    assert!(flush(&mut framed).is_ready());
    assert!(framed.codec_mut().encode(b"beside", &mut BytesMut::new()).is_ok());
    assert_eq!(framed.into_inner().written, encoded(&[b"three", b"ruof"]));
}

/// Frames whose bytes are in the other order.
struct Reversed(Lengths);

impl Encoder for Reversed {
    type Item<'a> = &'a [u8];
    type Error = io::Error;

    fn encode(&mut self, frame: &[u8], into: &mut BytesMut) -> io::Result<()> {
        self.0.encode(&frame.iter().rev().copied().collect::<Vec<_>>(), into)
    }
}

impl Decoder for Reversed {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Bytes>> {
        Ok(self.0.decode(from)?.map(|frame| frame.iter().rev().copied().collect()))
    }
}

#[test]
fn a_codec_may_be_of_any_type_and_a_stream_may_be_moved_between_threads() {
    fn free<T: Unpin + Send + Sync>() {}
    free::<Framed<Wire, PhantomPinned>>();
    free::<FramedRead<Wire, PhantomPinned>>();
    free::<FramedWrite<Wire, PhantomPinned>>();
}
