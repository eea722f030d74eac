//! What is recorded of messages: one of each kind, and of each shape.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use bao::encode::SliceExtractor;
use rocketmesh_protocol::codec::{Map, Value};
use rocketmesh_protocol::event::{Event, Lane, RoomVersion};
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::have::{Brief, HaveVector, LaneHave, Sections, Sketch, Tag, short_digest};
use rocketmesh_protocol::id::{EventId, FileId};
use rocketmesh_protocol::identity::{Origin, ServerName};
use rocketmesh_protocol::limits::MAX_NUMBER;
use rocketmesh_protocol::sync::Stretch;
use rocketmesh_protocol::wire::{Contact, GossipFrame, Hello, Refused, Request, Response, WIRE_VERSION, WireEvent};
use serde_json::{Value as Json, json};

use super::in_json::encoded;
use super::record::{Recorder, every_value};

pub(crate) fn have_vectors(recorder: &Recorder) -> Vec<(&'static str, HaveVector)> {
    let mut by_hand = HaveVector::new();
    let head = |seq: u64, byte: u8| (seq, EventId::from_hash([byte; 32]));
    let origin = |byte: u8| Origin::from_bytes([byte; 32]);
    by_hand.set_lane(
        origin(2),
        Lane::Timeline,
        LaneHave { lowest: 7, heads: vec![head(9, 2), head(9, 3), head(300, 1)] },
    );
    by_hand.set_lane(origin(2), Lane::State, LaneHave { lowest: 0, heads: vec![head(0, 4)] });
    by_hand.set_lane(origin(1), Lane::Timeline, LaneHave { lowest: MAX_NUMBER, heads: vec![head(MAX_NUMBER, 5)] });
    vec![
        ("nothing", HaveVector::new()),
        ("the recorded room", recorder.room.outline.have().clone()),
        ("made by hand", by_hand),
    ]
}

pub(crate) fn requests(recorder: &Recorder) -> Vec<(&'static str, Request)> {
    let room = recorder.room.outline.room();
    let have = recorder.room.outline.have().clone();
    let ids = vec![recorder.event("message").id(), recorder.event("merge").id()];
    let sections = Sections::from_bits(0x0123_4567_89ab_cdef);
    let tag = Tag::of(room.hash());
    let digests = BTreeMap::from([(tag, short_digest(&have.digest())), (Tag::of(&[0x11; 32]), [0x22; 16])]);
    let stretch = |byte: u8, lane: Lane, from: u64, to: u64| Stretch { origin: Tag::of(&[byte; 32]), lane, from, to };
    let stretches = vec![stretch(1, Lane::State, 0, 0), stretch(2, Lane::Timeline, 7, 1030)];
    vec![
        ("compare", Request::Compare { digests }),
        ("compare nothing", Request::Compare { digests: BTreeMap::new() }),
        ("entries", Request::Entries { room: tag, sections }),
        ("bring", Request::Bring { room: tag, stretches, offers: false }),
        ("bring nothing, and offer", Request::Bring { room: tag, stretches: Vec::new(), offers: true }),
        ("sections", Request::Sections { room }),
        (
            "pull with nothing",
            Request::Pull { room, sections: Sections::ALL, state_only: false, have: HaveVector::new() },
        ),
        ("pull with something", Request::Pull { room, sections: Sections::ALL, state_only: false, have: have.clone() }),
        ("pull some sections", Request::Pull { room, sections, state_only: false, have: have.within(sections) }),
        ("pull the state", Request::Pull { room, sections: Sections::ALL, state_only: true, have: HaveVector::new() }),
        ("contacts", Request::Contacts { room }),
        ("recent", Request::Recent { room, known: ids.clone() }),
        ("recent, knowing nothing", Request::Recent { room, known: Vec::new() }),
        ("fetch", Request::Fetch { room, ids, have }),
        ("tell", Request::Tell { room, events: vec![WireEvent::of(recorder.event("message"))] }),
        ("tell nothing", Request::Tell { room, events: Vec::new() }),
        (
            "file",
            Request::File {
                room,
                file: FileId::of_block(&file_bytes(5000)),
                range: FileRange::new(1024, 3976).unwrap(),
            },
        ),
    ]
}

/// The content of a file: what no two chunks have in common.
fn file_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Files of one chunk and of several, and what is sent of them.
pub(crate) fn files() -> Vec<Json> {
    let slice = |content: &[u8], range: FileRange| {
        let (outboard, _) = bao::encode::outboard(content);
        let (content, outboard) = (Cursor::new(content), Cursor::new(outboard));
        let mut extractor = SliceExtractor::new_outboard(content, outboard, range.from(), range.size());
        let mut slice = Vec::new();
        extractor.read_to_end(&mut slice).unwrap();
        json!({ "from": range.from(), "len": range.size(), "slice": hex::encode(slice) })
    };
    let file = |name: &str, len: usize, ranges: &[(u64, u64)]| {
        let content = file_bytes(len);
        let ranges = ranges.iter().map(|(from, len)| slice(&content, FileRange::new(*from, *len).unwrap()));
        json!({
            "name": name,
            "id": FileId::of_block(&content).to_string(),
            "content": hex::encode(&content),
            "slices": ranges.collect::<Vec<_>>(),
        })
    };
    vec![
        file("one byte", 1, &[(0, 1)]),
        file("one chunk", 1024, &[(0, 1024), (0, 1)]),
        file("five chunks", 5000, &[(0, 5000), (1024, 1024), (2048, 2000), (4096, 904)]),
    ]
}

pub(crate) fn responses(recorder: &Recorder) -> Vec<(&'static str, Response)> {
    let events = ["create", "bob joins"].map(|name| WireEvent::of(recorder.event(name))).to_vec();
    let have = recorder.room.outline.have().clone();
    let entries = Brief::of(&have).unwrap();
    let sketches = BTreeMap::from([
        (0, Sketch::Hidden),
        (3, Sketch::of(&have, false)),
        (300, Sketch::Entries(Brief::of(&have.within(Sections::from_bits(1))).unwrap())),
    ]);
    vec![
        ("no room is held differently", Response::Compared { rooms: BTreeMap::new() }),
        ("three rooms are held differently", Response::Compared { rooms: sketches }),
        ("entries", Response::Entries { entries }),
        ("brought, and more to come", Response::Brought { events: events.clone(), more: true }),
        ("brought nothing", Response::Brought { events: Vec::new(), more: false }),
        ("no room differs", Response::Differing { rooms: Vec::new() }),
        ("one room differs", Response::Differing { rooms: vec![recorder.room.outline.room()] }),
        ("sections", Response::Sections { digests: Box::new(have.section_digests()) }),
        ("two events and more to come", Response::Events { events, have, more: true }),
        ("no events", Response::Events { events: Vec::new(), have: HaveVector::new(), more: false }),
        ("no contacts", Response::Contacts { contacts: Vec::new() }),
        (
            "a contact",
            Response::Contacts {
                contacts: vec![Contact {
                    server: Origin::from_bytes([7; 32]),
                    // /ip4/192.0.2.7/tcp/4848
                    addresses: vec![vec![0x04, 192, 0, 2, 7, 0x06, 0x12, 0xf0]],
                }],
            },
        ),
        ("slice", Response::Slice { slice: [&3_u64.to_le_bytes()[..], b"abc"].concat() }),
        ("unknown room", Response::Refused(Refused::UnknownRoom)),
        ("not admitted", Response::Refused(Refused::NotAdmitted)),
        ("invited", Response::Refused(Refused::Invited)),
        ("too many", Response::Refused(Refused::TooMany)),
        ("policy", Response::Refused(Refused::Policy)),
        ("not introduced", Response::Refused(Refused::NotIntroduced)),
        ("no file", Response::Refused(Refused::NoFile)),
        ("other", Response::Refused(Refused::Other)),
    ]
}

pub(crate) fn hellos() -> Vec<(&'static str, Hello)> {
    let hello = |name: Option<&str>, ext: Map| Hello {
        wire_versions: vec![WIRE_VERSION],
        room_versions: vec![RoomVersion::DRAFT],
        name: name.map(|name| name.parse::<ServerName>().unwrap()),
        agent: "rocketmesh/0.1.0".to_owned(),
        ext,
    };
    let later = Hello {
        wire_versions: vec![0, 1, 7],
        ..hello(Some("chat.example.org:8443"), every_value(EventId::from_hash([6; 32])))
    };
    vec![
        ("a server without a name", hello(None, Map::new())),
        ("a server with a name", hello(Some("chat.example.org"), Map::new())),
        ("a server of a later version", later),
    ]
}

/// Gossip messages: each event in its frame, and copies that must not go by its id.
pub(crate) fn gossip_messages(recorder: &Recorder) -> Vec<(String, Option<&'static str>, Vec<u8>)> {
    let event = recorder.event("message");
    let frame = GossipFrame::encode(event);
    let bare = GossipFrame::encode(&Event::open(event.header_block(), None).unwrap());
    let other_body = recorder.event("answer of bob").body_block().unwrap();
    let swapped = encoded(&Value::List(vec![event.header_block().into(), other_body.into()]));
    let whole = ["create", "message", "merge"]
        .map(|name| (name.to_owned(), Some(name), GossipFrame::encode(recorder.event(name))));
    let broken = [
        ("message without its body", bare),
        ("message with another body", swapped),
        ("message with a byte behind it", [&frame[..], &[0]].concat()),
        ("no bytes", Vec::new()),
    ];
    whole.into_iter().chain(broken.map(|(name, bytes)| (name.to_owned(), None, bytes))).collect()
}
