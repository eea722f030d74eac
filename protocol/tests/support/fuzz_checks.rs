//! What holds for every input of every decoder, whoever made it: fuzzed from `fuzz/`, and tested over its corpus.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use rocketmesh_protocol::codec::{self, Map};
use rocketmesh_protocol::event::{Body, Event, EventError, FileRef, UnverifiedEvent};
use rocketmesh_protocol::file::{FileRange, SliceError, open_slice};
use rocketmesh_protocol::have::{Brief, HaveVector, Sections};
use rocketmesh_protocol::id::{BodyId, EventId, FileId, RoomId};
use rocketmesh_protocol::identity::{Localpart, Origin, ServerName, UserAddress, UserId};
use rocketmesh_protocol::limits::{FILE_RANGE_BYTES, MAX_FILE_BYTES, MAX_SLICE_BYTES};
use rocketmesh_protocol::sync;
use rocketmesh_protocol::wire::{
    GossipFrame, Hello, Request, Response, UnverifiedEphemeral, common_version, gossip_message_id,
};

/// The check of each target, by the target's name.
pub const CHECKS: [(&str, fn(&[u8])); 11] = [
    ("codec", codec),
    ("event", event),
    ("body", body),
    ("have", have),
    ("hello", hello),
    ("request", request),
    ("response", response),
    ("gossip", gossip),
    ("ephemeral", ephemeral),
    ("names", names),
    ("slice", slice),
];

/// What is read is the one encoding of what it means.
pub fn codec(bytes: &[u8]) {
    if let Ok(value) = codec::decode(bytes) {
        assert_eq!(codec::encode(&value).as_deref(), Ok(bytes));
    }
}

/// An input for [`event`]: the header's length in two bytes, the header, and the body if anything is left.
pub fn event_input(header: &[u8], body: Option<&[u8]>) -> Vec<u8> {
    let len = u16::try_from(header.len()).unwrap();
    [&len.to_be_bytes()[..], header, body.unwrap_or_default()].concat()
}

/// A header that is read is kept as it is, and everything in it can be asked for.
pub fn event(bytes: &[u8]) {
    let Some((len, blocks)) = bytes.split_first_chunk() else { return };
    let (header, body) = blocks.split_at(blocks.len().min(usize::from(u16::from_be_bytes(*len))));
    let body = (!body.is_empty()).then_some(body);
    let Ok(unverified) = UnverifiedEvent::decode(header, body) else { return };
    assert_eq!(unverified.id(), EventId::of_block(header));
    let verified = unverified.clone().verify();
    assert!(matches!(verified, Ok(_) | Err(EventError::Signature)), "{verified:?}");
    inspect(&unverified.trust(), header, body);
}

fn inspect(event: &Event, header: &[u8], body: Option<&[u8]>) {
    assert_eq!((event.header_block(), event.body_block()), (header, body));
    assert_eq!(event.header_block().last_chunk::<64>(), Some(event.signature()));
    assert_eq!(event.room(), event.header().room.unwrap_or(event.id().into()));
    assert_eq!(event.body().is_some(), body.is_some());
    assert_eq!(event.order().id, event.id());
    assert_eq!(event.sender().is_some(), event.header().sender.is_some());
    assert!(event.header().references().count() <= 33);
    assert!(event.header().sightings().len() <= 16);
    drop(event.content());
    if let Some(user) = event.sender() {
        assert_eq!(user.to_string().parse::<UserId>(), Ok(user));
    }
    let mut have = HaveVector::new();
    have.add(event);
    assert_eq!(HaveVector::decode(&have.encode()), Ok(have));
}

/// A body that is read is written back as it was, and the files that it names can be named again.
pub fn body(bytes: &[u8]) {
    if let Ok(body) = Body::decode(bytes) {
        assert_eq!(body.encode().as_deref(), Ok(bytes));
        assert_eq!(body.fields().get("salt"), None);
        if let Ok(files) = FileRef::of_body(&body) {
            let fields = FileRef::into_fields(&files, Map::new()).unwrap();
            assert_eq!(FileRef::of_body(&Body::new([1; 16], fields)), Ok(files));
        }
    }
}

/// A have-vector that is read is written back as it was, and whoever holds the same lacks nothing.
pub fn have(bytes: &[u8]) {
    let Ok(have) = HaveVector::decode(bytes) else { return };
    assert_eq!(have.encode(), bytes);
    for (_, _, lane) in have.lanes() {
        assert!(lane.lowest <= lane.highest().0);
        assert_eq!(lane.forked(), lane.heads.len() > 1);
    }
    assert!(sync::lacking(&have, &have, |_| true).is_empty());
    assert!(sync::unknown_heads(&have, |_| true).is_empty());
    let nothing = HaveVector::new();
    assert!(sync::lacking(&have, &nothing, |_| false).is_empty());
    assert_eq!(sync::lacking(&nothing, &have, |_| true).len(), have.lanes().count());
    assert_eq!(have.digest() == nothing.digest(), have.is_empty());
    if let Some(brief) = Brief::of(&have) {
        assert!(sync::difference(&brief, &have, Sections::ALL, |_, _, _, _| true).is_none());
        let all = sync::difference(&brief, &nothing, Sections::ALL, |_, _, _, _| false);
        assert_eq!(all.lacking.len(), have.lanes().count());
        assert!(all.lacking.iter().all(|stretch| stretch.from <= stretch.to));
    }
}

/// What is understood of a message means the same after it was written by this version.
fn stable<T: PartialEq + Debug, E: PartialEq + Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let read = decode(bytes).ok()?;
    let reread = decode(&encode(&read));
    assert_eq!(reread.as_ref(), Ok(&read));
    Some(read)
}

pub fn hello(bytes: &[u8]) {
    if let Some(hello) = stable(bytes, Hello::decode, Hello::encode) {
        let ours = Hello::of_this_build(None);
        assert_eq!(common_version(&ours, &hello), common_version(&hello, &ours));
        assert_eq!(common_version(&hello, &hello), hello.wire_versions.last().copied());
    }
}

pub fn request(bytes: &[u8]) {
    stable(bytes, Request::decode, Request::encode);
}

pub fn response(bytes: &[u8]) {
    let Some(Response::Events { events, .. } | Response::Brought { events, .. }) =
        stable(bytes, Response::decode, Response::encode)
    else {
        return;
    };
    for event in &events {
        if let Ok(unverified) = event.decode() {
            inspect(&unverified.trust(), &event.header, event.body.as_deref());
        }
    }
}

/// An input for [`slice`]: a file's id, the size that it is said to have, where a range of it begins and how long it is, and the
/// slice.
pub fn slice_input(file: &FileId, size: u64, from: u64, len: u64, slice: &[u8]) -> Vec<u8> {
    [file.hash().as_slice(), &size.to_le_bytes(), &from.to_le_bytes(), &len.to_le_bytes(), slice].concat()
}

/// A range lies within what files may have, and what a slice proves is as long as its range and begins with the size that was said.
/// All of a file in one slice is the file.
pub fn slice(bytes: &[u8]) {
    let Some((file, rest)) = bytes.split_first_chunk::<32>() else { return };
    let Some((size, rest)) = rest.split_first_chunk::<8>() else { return };
    let Some((from, rest)) = rest.split_first_chunk::<8>() else { return };
    let Some((len, slice)) = rest.split_first_chunk::<8>() else { return };
    let (file, size) = (FileId::from_hash(*file), u64::from_le_bytes(*size));
    if let Some(last) = FileRange::last_chunk(size) {
        assert_eq!(last.end(), size);
    }
    let numbers = FileRange::count(size);
    if let Some(last) = FileRange::numbered(numbers.saturating_sub(1), size) {
        assert_eq!(last.end(), size);
        assert_eq!(FileRange::numbered(numbers, size), None);
    }
    let Some(range) = FileRange::new(u64::from_le_bytes(*from), u64::from_le_bytes(*len)) else { return };
    assert!((1..=FILE_RANGE_BYTES).contains(&range.size()) && range.end() <= MAX_FILE_BYTES);
    match open_slice(&file, size, range, slice) {
        Ok(content) => {
            assert!(content.len() as u64 == range.size() && range.end() <= size && slice.len() <= MAX_SLICE_BYTES);
            assert!(slice.starts_with(&size.to_le_bytes()));
            assert!(range.size() < size || FileId::of_block(&content) == file);
        }
        Err(SliceError::OtherSize(other)) => {
            assert!(other != size && slice.starts_with(&other.to_le_bytes()));
        }
        Err(_) => {}
    }
}

/// A frame that is read is the one frame of its event, and goes by the event's id unless it leaves the body behind.
pub fn gossip(bytes: &[u8]) {
    let id = gossip_message_id(bytes);
    let Ok(unverified) = GossipFrame::decode(bytes) else { return };
    let event_id = unverified.id();
    assert_eq!(id == *event_id.hash(), !unverified.lacks_body());
    assert_eq!(GossipFrame::encode(&unverified.trust()), bytes);
}

/// An ephemeral message that is read is no frame of an event, its claim is within bounds, and its signature holds or does not.
pub fn ephemeral(bytes: &[u8]) {
    let Ok(message) = UnverifiedEphemeral::decode(bytes) else { return };
    assert!(UnverifiedEphemeral::is_meant(bytes) && GossipFrame::decode(bytes).is_err());
    let claim = message.claim().clone();
    assert!(claim.lasts_ms <= claim.signal.kind().longest_ms());
    if let Ok(verified) = message.verify() {
        assert_eq!(verified, claim);
    }
}

fn text_is_kept<T: FromStr + Display>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
    }
}

/// Nothing has two texts.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    text_is_kept::<EventId>(text);
    text_is_kept::<BodyId>(text);
    text_is_kept::<RoomId>(text);
    text_is_kept::<FileId>(text);
    text_is_kept::<Origin>(text);
    text_is_kept::<Localpart>(text);
    text_is_kept::<UserId>(text);
    text_is_kept::<ServerName>(text);
    text_is_kept::<UserAddress>(text);
}
