//! A buffer without anything in it has no memory.

use asynchronous_codec::{Framed, FramedRead};

use crate::behaviour::refuses;
use crate::wire::{Arrival, BROKEN, Lengths, ToTheEnd, Wire, encoded, flush, next, next_frame, ready, start};

/// The memory of both buffers, in bytes: reading, writing.
fn held(framed: Framed<Wire, Lengths>) -> (usize, usize) {
    let parts = framed.into_parts();
    (parts.read_buffer.capacity(), parts.write_buffer.capacity())
}

#[test]
fn a_new_stream_has_none() {
    assert_eq!(held(Framed::new(Wire::new([]), Lengths)), (0, 0));
    assert_eq!(FramedRead::new(Wire::new([]), Lengths).read_buffer().capacity(), 0);
}

#[test]
fn a_stream_that_waits_has_none() {
    let mut framed = Framed::new(Wire::new([Arrival::Wait]), Lengths);
    assert!(next(&mut framed).is_pending());
    assert_eq!(held(framed), (0, 0));
}

#[test]
fn what_was_flushed_leaves_none() {
    let mut framed = Framed::new(Wire::new([]), Lengths);
    start(&mut framed, &[1; 10_000]);
    assert!(flush(&mut framed).is_ready());
    assert_eq!(held(framed), (0, 0));
}

#[test]
fn what_was_written_to_make_room_leaves_none() {
    let mut framed = Framed::new(Wire::new([]), Lengths);
    framed.set_send_high_water_mark(1);
    start(&mut framed, &[1; 10_000]);
    assert!(ready(&mut framed).is_ready());
    assert_eq!(held(framed), (0, 0));
}

#[test]
fn a_refused_frame_leaves_none() {
    let mut framed = Framed::new(Wire::new([]), Lengths);
    assert!(refuses(&mut framed));
    assert_eq!(held(framed), (0, 0));
}

#[test]
fn a_decoded_frame_shares_its_memory_with_nobody() {
    let mut framed = Framed::new(Wire::carrying(&encoded(&[b"one", b"two"])), Lengths);
    let one = next_frame(&mut framed);
    assert!(!one.is_unique(), "the other frame is still in the buffer");
    let two = next_frame(&mut framed);
    drop(one);
    assert!(two.is_unique());
    assert_eq!(held(framed), (0, 0));
}

#[test]
fn a_frame_that_the_end_completed_shares_its_memory_with_nobody() {
    let mut reader = FramedRead::new(Wire::carrying(b"all of it"), ToTheEnd::default());
    assert!(next_frame(&mut reader).is_unique());
    assert_eq!(reader.read_buffer().capacity(), 0);
}

#[test]
fn bytes_that_are_no_frame_leave_none() {
    let mut framed = Framed::new(Wire::carrying(&BROKEN), Lengths);
    assert!(next(&mut framed).is_ready());
    assert_eq!(held(framed), (0, 0));
}
