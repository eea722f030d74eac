//! How long questions and answers are: the lengths of their wire forms.
//!
//! What is short is encoded for it. Events, digests and whole vectors, which are long, are added up; a test holds the sums to what
//! the encoder writes.

use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::have::{HaveVector, SHORT_DIGEST_BYTES, Sections, TAG_BYTES, Tag};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::wire::{Refused, Request, Response};

use super::questions::{Answered, Asked};

/// An empty list, or an empty vector.
const EMPTY: usize = 1;
/// A hash of 32 bytes.
const HASH: usize = 34;

/// How many bytes stand in front of that many bytes, or elements of a list.
fn head(count: usize) -> usize {
    match count {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

fn block(len: usize) -> usize {
    head(len) + len
}

/// An event in an answer.
pub(super) fn event(event: &Event) -> usize {
    // A list of two.
    1 + block(event.header_block().len()) + event.body_block().map_or(1, |body| block(body.len()))
}

/// A question about a room whose whole vector, where it goes along, is that long.
pub(super) fn asked(what: &Asked, room: RoomId, have: usize) -> usize {
    let tag = Tag::of(room.hash());
    match what {
        // A list of two, and the number of the question.
        Asked::Compare(rooms) => 2 + block(rooms.len() * (TAG_BYTES + SHORT_DIGEST_BYTES)),
        Asked::Entries { sections, .. } => Request::Entries { room: tag, sections: *sections }.encode().len(),
        Asked::Bring { stretches, offers, .. } => {
            Request::Bring { room: tag, stretches: stretches.clone(), offers: *offers }.encode().len()
        }
        Asked::Pull { .. } => {
            let pull =
                Request::Pull { room, sections: Sections::ALL, state_only: false, have: HaveVector::new() }.encode();
            pull.len() - EMPTY + have
        }
        Asked::Fetch { wanted, .. } => {
            let fetch = Request::Fetch { room, ids: Vec::new(), have: HaveVector::new() }.encode();
            fetch.len() - 2 * EMPTY + head(wanted.len()) + HASH * wanted.len() + have
        }
    }
}

/// An answer with so many events of so many bytes in all, and a whole vector that long where one goes along.
pub(super) fn answered(what: &Answered, (count, bytes): (usize, usize), have: Option<usize>) -> usize {
    let events = head(count) + bytes;
    match what {
        // Mostly nothing differs: a list of two, a number, and a list of none.
        Answered::Compared(rooms) if rooms.is_empty() => 2 + EMPTY,
        Answered::Compared(rooms) => Response::Compared { rooms: rooms.clone() }.encode().len(),
        Answered::Entries(entries) => Response::Entries { entries: entries.clone() }.encode().len(),
        Answered::Brought { more, .. } => {
            Response::Brought { events: Vec::new(), more: *more }.encode().len() - EMPTY + events
        }
        Answered::Events { more, .. } => {
            let nothing = Response::Events { events: Vec::new(), have: HaveVector::new(), more: *more }.encode();
            nothing.len() - 2 * EMPTY + events + have.unwrap_or(EMPTY)
        }
        Answered::Refused => Response::Refused(Refused::UnknownRoom).encode().len(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use rocketmesh_protocol::event::{Body, Content, Draft, Placement, RoomType, author};
    use rocketmesh_protocol::have::ShortDigest;
    use rocketmesh_protocol::id::EventId;
    use rocketmesh_protocol::identity::ServerKey;
    use rocketmesh_protocol::wire::WireEvent;

    use super::super::marks::Marks;
    use super::*;

    /// An event with a text of that length, or without.
    fn made(text: Option<usize>) -> Event {
        let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
        let (kind, state_key) = content.kind_and_key();
        let text = text.map(|len| "x".repeat(len));
        let body =
            text.map(|text| Body::new([7; 16], rocketmesh_protocol::codec::Map::new().with("text", text.as_str())));
        let draft = Draft {
            sender: Some("maker".parse().unwrap()),
            kind: kind.to_owned(),
            state_key,
            content: content.to_map(&[9; 16]),
            body,
            time_ms: 1,
        };
        author(&ServerKey::from_seed(&[3; 32]), Placement::first(), draft).unwrap()
    }

    #[test]
    fn what_is_added_up_is_as_long_as_what_is_encoded() {
        let room = RoomId::from_hash([5; 32]);
        let events: Vec<Event> = [None, Some(1), Some(300), Some(60_000)].into_iter().map(made).collect();
        let mut have = HaveVector::new();
        have.add(&events[0]);
        let vector = have.encode().len();
        for count in [0, 1, 3, 23, 24, 255, 256, 300] {
            let digests: BTreeMap<Tag, ShortDigest> =
                (0..count).map(|at| (Tag::from_bytes((at as u64).to_be_bytes()), [1; SHORT_DIGEST_BYTES])).collect();
            let rooms = (0..count as u32).map(|room| (room, 0)).collect();
            let compare = asked(&Asked::Compare(rooms), room, 0);
            assert_eq!(compare, Request::Compare { digests }.encode().len(), "{count} rooms");

            let ids = vec![EventId::from_hash([8; 32]); count];
            let wanted = vec![0; count];
            let fetch = asked(&Asked::Fetch { room: 0, wanted, has: Marks::default() }, room, vector);
            assert_eq!(fetch, Request::Fetch { room, ids, have: have.clone() }.encode().len(), "{count} ids");

            let sent: Vec<&Event> = events.iter().cycle().take(count).collect();
            let wire: Vec<WireEvent> = sent.iter().map(|event| WireEvent::of(event)).collect();
            let sum: (usize, usize) = (count, sent.iter().map(|it| event(it)).sum());
            for more in [false, true] {
                let brought = answered(&Answered::Brought { events: Vec::new(), more }, sum, None);
                let encoded = Response::Brought { events: wire.clone(), more }.encode();
                assert_eq!(brought, encoded.len(), "{count} events");
                let pulled = Answered::Events { events: Vec::new(), has: None, more };
                let encoded = Response::Events { events: wire.clone(), have: have.clone(), more }.encode();
                assert_eq!(answered(&pulled, sum, Some(vector)), encoded.len(), "{count} events");
            }
        }
        let pull = asked(&Asked::Pull { room: 0, has: Marks::default() }, room, vector);
        let request = Request::Pull { room, sections: Sections::ALL, state_only: false, have };
        assert_eq!(pull, request.encode().len());
        let nothing = Response::Compared { rooms: BTreeMap::new() }.encode();
        assert_eq!(answered(&Answered::Compared(BTreeMap::new()), (0, 0), None), nothing.len());
    }
}
