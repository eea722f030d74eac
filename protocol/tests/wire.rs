//! What servers say to each other is read as it was said, and refused whole where it is broken.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::{Event, EventError, Lane, RoomVersion};
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::have::{
    Brief, HaveError, HaveVector, LaneHave, SHORT_DIGEST_BYTES, Sections, ShortDigest, Sketch, TAG_BYTES, Tag,
};
use rocketmesh_protocol::id::{EventId, FileId, RoomId};
use rocketmesh_protocol::identity::{Origin, ServerName};
use rocketmesh_protocol::limits::{
    FILE_RANGE_BYTES, MAX_ADDRESS_BYTES, MAX_ADDRESSES_PER_CONTACT, MAX_CONTACTS, MAX_EVENTS_PER_RESPONSE,
    MAX_EVENTS_PER_TELL, MAX_FILE_BYTES, MAX_GOSSIP_BYTES, MAX_IDS_PER_REQUEST, MAX_NUMBER, MAX_ORIGINS,
    MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, MAX_ROOMS_PER_REQUEST, MAX_SLICE_BYTES, MAX_STRETCHES_PER_REQUEST,
};
use rocketmesh_protocol::sync::Stretch;
use rocketmesh_protocol::wire::{
    Contact, GossipFrame, Hello, Refused, Request, Response, WireError, WireEvent, common_version, gossip_message_id,
    topic,
};
use support::config;
use support::room::{World, any_steps, some_events};
use support::values::{any_damage, damaged, small_map};

const REFUSALS: [Refused; 8] = [
    Refused::UnknownRoom,
    Refused::NotAdmitted,
    Refused::Invited,
    Refused::TooMany,
    Refused::Policy,
    Refused::NotIntroduced,
    Refused::NoFile,
    Refused::Other,
];

/// What a hello says by itself; `ext` holds everything else.
const HELLO_KEYS: [&str; 4] = ["wire", "rooms", "name", "agent"];

fn any_id() -> impl Strategy<Value = EventId> {
    any::<[u8; 32]>().prop_map(EventId::from_hash)
}

fn any_room() -> impl Strategy<Value = RoomId> {
    any::<[u8; 32]>().prop_map(RoomId::from_hash)
}

fn any_lane_have() -> impl Strategy<Value = LaneHave> {
    (btree_set((0..=MAX_NUMBER, any_id()), 1..4), any::<Index>()).prop_map(|(heads, below)| {
        let heads: Vec<(u64, EventId)> = heads.into_iter().collect();
        let first = heads[0].0;
        LaneHave { lowest: below.index(usize::try_from(first).unwrap() + 1) as u64, heads }
    })
}

fn any_have() -> impl Strategy<Value = HaveVector> {
    let lane = select(Lane::ALL.to_vec());
    let key = (any::<[u8; 32]>().prop_map(Origin::from_bytes), lane);
    btree_map(key, any_lane_have(), 0..6).prop_map(|lanes| {
        let mut vector = HaveVector::new();
        for ((origin, lane), have) in lanes {
            vector.set_lane(origin, lane, have);
        }
        vector
    })
}

fn any_versions() -> impl Strategy<Value = Vec<u64>> {
    btree_set(prop_oneof![0..10_u64, any::<u64>()], 0..8).prop_map(|versions| versions.into_iter().collect())
}

fn any_hello() -> impl Strategy<Value = Hello> {
    let name = select(vec!["chat.example.org", "localhost:3000", "a"]);
    let name = name.prop_map(|name| name.parse::<ServerName>().unwrap());
    (any_versions(), any_versions(), option::of(name), "[ -~é]{0,60}", small_map()).prop_map(
        |(wire_versions, room_versions, name, agent, mut ext)| {
            for key in HELLO_KEYS {
                ext.remove(key);
            }
            let room_versions = room_versions.into_iter().map(RoomVersion).collect();
            Hello { wire_versions, room_versions, name, agent, ext }
        },
    )
}

fn any_range() -> impl Strategy<Value = FileRange> {
    (0..MAX_FILE_BYTES / 1024, 1..=FILE_RANGE_BYTES).prop_map(|(chunk, len)| {
        let from = chunk * 1024;
        FileRange::new(from, len.min(MAX_FILE_BYTES - from)).unwrap()
    })
}

fn any_tag() -> impl Strategy<Value = Tag> {
    any::<[u8; TAG_BYTES]>().prop_map(Tag::from_bytes)
}

fn any_stretch() -> impl Strategy<Value = Stretch> {
    (any_tag(), select(Lane::ALL.to_vec()), 0..=MAX_NUMBER, any::<Index>()).prop_map(|(origin, lane, to, below)| {
        let from = below.index(usize::try_from(to).unwrap() + 1) as u64;
        Stretch { origin, lane, from, to }
    })
}

fn any_brief() -> impl Strategy<Value = Brief> {
    any_have().prop_filter_map("heads that begin alike", |have| Brief::of(&have))
}

fn any_sketch() -> impl Strategy<Value = Sketch> {
    (any_have(), 0..3_u8).prop_map(|(have, form)| match form {
        0 => Sketch::Hidden,
        form => Sketch::of(&have, form == 1),
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        btree_map(any_tag(), any::<ShortDigest>(), 0..8).prop_map(|digests| Request::Compare { digests }),
        (any_tag(), any::<u64>())
            .prop_map(|(room, bits)| Request::Entries { room, sections: Sections::from_bits(bits) }),
        (any_tag(), vec(any_stretch(), 0..6), any::<bool>()).prop_map(|(room, stretches, offers)| Request::Bring {
            room,
            stretches,
            offers
        }),
        any_room().prop_map(|room| Request::Sections { room }),
        (any_room(), option::of(any::<u64>()), any::<bool>(), any_have()).prop_map(|(room, bits, state_only, have)| {
            let sections = bits.map_or(Sections::ALL, Sections::from_bits);
            Request::Pull { room, sections, state_only, have }
        }),
        (any_room(), vec(any_id(), 0..8), any_have()).prop_map(|(room, ids, have)| Request::Fetch { room, ids, have }),
        (any_room(), vec(any_id(), 0..8)).prop_map(|(room, known)| Request::Recent { room, known }),
        (any_room(), vec(any_wire_event(), 0..6)).prop_map(|(room, events)| Request::Tell { room, events }),
        (any_room(), vec(any::<u8>(), 0..80)).prop_map(|(room, message)| Request::Ephemeral { room, message }),
        any_room().prop_map(|room| Request::Contacts { room }),
        (any_room(), any::<[u8; 32]>().prop_map(FileId::from_hash), any_range())
            .prop_map(|(room, file, range)| Request::File { room, file, range }),
    ]
}

/// Blocks as they may stand in a response: nothing looks into them before the response is read.
fn any_wire_event() -> impl Strategy<Value = WireEvent> {
    (vec(any::<u8>(), 0..80), option::of(vec(any::<u8>(), 0..80))).prop_map(|(header, body)| WireEvent { header, body })
}

fn any_response() -> impl Strategy<Value = Response> {
    prop_oneof![
        vec(any_room(), 0..8).prop_map(|rooms| Response::Differing { rooms }),
        btree_map(0..MAX_ROOMS_PER_REQUEST as u64, any_sketch(), 0..4).prop_map(|rooms| Response::Compared { rooms }),
        any_brief().prop_map(|entries| Response::Entries { entries }),
        (vec(any_wire_event(), 0..6), any::<bool>()).prop_map(|(events, more)| Response::Brought { events, more }),
        any_have().prop_map(|have| Response::Sections { digests: Box::new(have.section_digests()) }),
        (vec(any_wire_event(), 0..6), any_have(), any::<bool>()).prop_map(|(events, have, more)| Response::Events {
            events,
            have,
            more
        }),
        vec(any_contact(), 0..6).prop_map(|contacts| Response::Contacts { contacts }),
        vec(any::<u8>(), 0..80).prop_map(|slice| Response::Slice { slice }),
        select(REFUSALS.to_vec()).prop_map(Response::Refused),
    ]
}

fn any_contact() -> impl Strategy<Value = Contact> {
    let addresses = vec(vec(any::<u8>(), 0..=MAX_ADDRESS_BYTES), 0..=MAX_ADDRESSES_PER_CONTACT);
    (any::<[u8; 32]>().prop_map(Origin::from_bytes), addresses)
        .prop_map(|(server, addresses)| Contact { server, addresses })
}

/// The events of a small room.
fn any_events() -> impl Strategy<Value = Vec<Event>> {
    any_steps(3, true).prop_map(|steps| World::after(3, &steps).everything().in_order())
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn a_hello_is_read_as_it_was_said_with_what_is_unknown_in_it(hello in any_hello()) {
        let bytes = hello.encode();
        let read = Hello::decode(&bytes).unwrap();
        prop_assert_eq!(&read, &hello);
        prop_assert_eq!(read.encode(), bytes);
    }

    #[test]
    fn a_request_is_read_as_it_was_asked(request in any_request()) {
        prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn a_response_is_read_as_it_was_given(response in any_response()) {
        prop_assert_eq!(Response::decode(&response.encode()), Ok(response));
    }

    #[test]
    fn a_have_vector_is_read_as_it_was_written_and_its_digest_stands_for_it(have in any_have(), other in any_have()) {
        let bytes = have.encode();
        let read = HaveVector::decode(&bytes).unwrap();
        prop_assert_eq!(&read, &have);
        prop_assert_eq!(read.digest(), have.digest());
        prop_assert_eq!(other.digest() == have.digest(), other == have);
    }

    #[test]
    fn every_event_travels_in_a_frame_and_in_a_response(events in any_events()) {
        for event in &events {
            let frame = GossipFrame::encode(event);
            let read = GossipFrame::decode(&frame).unwrap().verify();
            prop_assert_eq!(read.as_ref(), Ok(event));
            prop_assert_eq!(gossip_message_id(&frame), *event.id().hash());
        }
        let response = Response::Events {
            events: events.iter().map(WireEvent::of).collect(),
            have: HaveVector::new(),
            more: false,
        };
        let Ok(Response::Events { events: read, .. }) = Response::decode(&response.encode()) else {
            panic!("a response is read back");
        };
        let read: Result<Vec<Event>, EventError> = read.iter().map(|event| event.decode()?.verify()).collect();
        prop_assert_eq!(read, Ok(events));
    }

    #[test]
    fn a_broken_copy_of_an_event_has_another_message_id(
        events in any_events(),
        at in any::<Index>(),
        damages in vec(any_damage(), 1..3),
    ) {
        let event = &events[at.index(events.len())];
        let frame = GossipFrame::encode(event);
        let copy = damaged(frame.clone(), &damages);
        prop_assert_eq!(&gossip_message_id(&copy) == event.id().hash(), copy == frame);
    }

    #[test]
    fn garbage_stops_nobody(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Hello::decode(&bytes);
        let _ = Request::decode(&bytes);
        let _ = Response::decode(&bytes);
        let _ = HaveVector::decode(&bytes);
        prop_assert!(GossipFrame::decode(&bytes).is_err());
        gossip_message_id(&bytes);
    }

    #[test]
    fn a_damaged_message_is_refused_or_another_sound_message(
        hello in any_hello(),
        request in any_request(),
        response in any_response(),
        have in any_have(),
        damages in vec(any_damage(), 1..3),
    ) {
        if let Ok(read) = Hello::decode(&damaged(hello.encode(), &damages)) {
            prop_assert_eq!(Hello::decode(&read.encode()), Ok(read));
        }
        if let Ok(read) = Request::decode(&damaged(request.encode(), &damages)) {
            prop_assert_eq!(Request::decode(&read.encode()), Ok(read));
        }
        if let Ok(read) = Response::decode(&damaged(response.encode(), &damages)) {
            prop_assert_eq!(Response::decode(&read.encode()), Ok(read));
        }
        let bytes = damaged(have.encode(), &damages);
        if let Ok(read) = HaveVector::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn a_message_cut_short_is_refused(request in any_request(), response in any_response(), hello in any_hello()) {
        let messages = [("request", request.encode()), ("response", response.encode()), ("hello", hello.encode())];
        for (name, bytes) in messages {
            for len in 0..bytes.len() {
                let cut = &bytes[..len];
                let read = match name {
                    "request" => Request::decode(cut).is_ok(),
                    "response" => Response::decode(cut).is_ok(),
                    _ => Hello::decode(cut).is_ok(),
                };
                prop_assert!(!read, "{} bytes of a {}", len, name);
            }
        }
    }

    #[test]
    fn the_version_in_common_is_the_highest_that_both_speak(ours in any_hello(), theirs in any_hello()) {
        let both: BTreeSet<u64> =
            ours.wire_versions.iter().filter(|version| theirs.wire_versions.contains(version)).copied().collect();
        prop_assert_eq!(common_version(&ours, &theirs), both.last().copied());
        prop_assert_eq!(common_version(&theirs, &ours), both.last().copied());
    }
}

#[test]
fn a_copy_without_its_body_does_not_use_up_the_events_id() {
    for event in some_events().iter().filter(|event| event.body_block().is_some()) {
        let bare = Event::open(event.header_block(), None).unwrap();
        let frame = GossipFrame::encode(&bare);
        assert!(GossipFrame::decode(&frame).unwrap().lacks_body());
        assert_ne!(&gossip_message_id(&frame), event.id().hash());
    }
}

#[test]
fn a_copy_with_another_body_or_signature_does_not_use_up_the_events_id() {
    let events = some_events();
    let [.., one, other] = &events[..] else { panic!("there are messages") };
    let frame = |header: &[u8], body: &[u8]| codec::encode(&Value::List(vec![header.into(), body.into()])).unwrap();
    let whole = frame(one.header_block(), one.body_block().unwrap());
    assert_eq!(whole, GossipFrame::encode(one));
    assert_eq!(&gossip_message_id(&whole), one.id().hash());

    let swapped = frame(one.header_block(), other.body_block().unwrap());
    assert_ne!(&gossip_message_id(&swapped), one.id().hash());
    assert_eq!(GossipFrame::decode(&swapped), Err(WireError::Event(EventError::BodyMismatch)));

    let mut header = one.header_block().to_vec();
    *header.last_mut().unwrap() ^= 1;
    let resigned = frame(&header, one.body_block().unwrap());
    assert_ne!(&gossip_message_id(&resigned), one.id().hash());
    assert_eq!(GossipFrame::decode(&resigned).unwrap().verify(), Err(EventError::Signature));
}

#[test]
fn a_frame_is_two_blocks_and_nothing_else() {
    let events = some_events();
    let header = || Value::from(events[0].header_block());
    let body = || Value::from(events[0].body_block().unwrap());
    for (name, value) in [
        ("nothing", Value::List(Vec::new())),
        ("a header alone", Value::List(vec![header()])),
        ("three blocks", Value::List(vec![header(), body(), Value::Null])),
        ("the other way round", Value::List(vec![body(), header()])),
        ("a text for a body", Value::List(vec![header(), "body".into()])),
        ("no header", Value::List(vec![Value::Null, body()])),
        ("a map", Map::new().with("header", header()).into()),
        ("bytes", header()),
    ] {
        let bytes = codec::encode(&value).unwrap();
        assert!(GossipFrame::decode(&bytes).is_err(), "{name}");
    }
}

#[test]
fn what_is_too_large_is_refused_by_its_size_alone() {
    let zeros = |len: usize| vec![0_u8; len];
    assert_eq!(
        Request::decode(&zeros(MAX_REQUEST_BYTES + 1)),
        Err(WireError::TooLarge(MAX_REQUEST_BYTES + 1, MAX_REQUEST_BYTES))
    );
    assert_eq!(
        Response::decode(&zeros(MAX_RESPONSE_BYTES + 1)),
        Err(WireError::TooLarge(MAX_RESPONSE_BYTES + 1, MAX_RESPONSE_BYTES))
    );
    assert_eq!(
        GossipFrame::decode(&zeros(MAX_GOSSIP_BYTES + 1)),
        Err(WireError::TooLarge(MAX_GOSSIP_BYTES + 1, MAX_GOSSIP_BYTES))
    );
    assert_eq!(Hello::decode(&zeros(16 * 1024 + 1)), Err(WireError::TooLarge(16 * 1024 + 1, 16 * 1024)));
    for len in [MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, MAX_GOSSIP_BYTES, 16 * 1024] {
        assert!(!matches!(Response::decode(&zeros(len)), Ok(_) | Err(WireError::TooLarge(..))));
    }
}

/// Lists as long as they may be are read, and longer ones refused.
#[test]
fn lists_end_at_their_limits() {
    let id = |number: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&(number as u64).to_be_bytes());
        EventId::from_hash(hash)
    };
    let room = RoomId::from_hash([1; 32]);
    let compare = |count: usize| {
        let tag = |number: usize| Tag::of(id(number).hash());
        let digests = (0..count).map(|number| (tag(number), [0; SHORT_DIGEST_BYTES])).collect();
        Request::decode(&Request::Compare { digests }.encode()).is_ok()
    };
    assert!(compare(MAX_ROOMS_PER_REQUEST) && !compare(MAX_ROOMS_PER_REQUEST + 1));
    let fetch = |count: usize| {
        let request = Request::Fetch { room, ids: (0..count).map(id).collect(), have: HaveVector::new() };
        Request::decode(&request.encode()).is_ok()
    };
    assert!(fetch(MAX_IDS_PER_REQUEST) && !fetch(MAX_IDS_PER_REQUEST + 1));
    let tell = |count: usize| {
        let events = vec![WireEvent { header: Vec::new(), body: None }; count];
        Request::decode(&Request::Tell { room, events }.encode()).is_ok()
    };
    assert!(tell(MAX_EVENTS_PER_TELL) && !tell(MAX_EVENTS_PER_TELL + 1));
    let differing = |count: usize| {
        let response = Response::Differing { rooms: (0..count).map(|number| id(number).into()).collect() };
        Response::decode(&response.encode()).is_ok()
    };
    assert!(differing(MAX_ROOMS_PER_REQUEST) && !differing(MAX_ROOMS_PER_REQUEST + 1));
    let events = |count: usize| {
        let events = vec![WireEvent { header: Vec::new(), body: None }; count];
        Response::decode(&Response::Events { events, have: HaveVector::new(), more: false }.encode()).is_ok()
    };
    assert!(events(MAX_EVENTS_PER_RESPONSE) && !events(MAX_EVENTS_PER_RESPONSE + 1));
    let slice = |len: usize| Response::decode(&Response::Slice { slice: vec![0; len] }.encode()).is_ok();
    assert!(slice(MAX_SLICE_BYTES) && !slice(MAX_SLICE_BYTES + 1));
    let contacts = |count: usize, addresses: usize, bytes: usize| {
        let contact = Contact { server: Origin::from_bytes([7; 32]), addresses: vec![vec![0; bytes]; addresses] };
        Response::decode(&Response::Contacts { contacts: vec![contact; count] }.encode()).is_ok()
    };
    let [most, addresses, bytes] = [MAX_CONTACTS, MAX_ADDRESSES_PER_CONTACT, MAX_ADDRESS_BYTES];
    assert!(contacts(most, addresses, bytes) && !contacts(most + 1, 0, 0));
    assert!(!contacts(1, addresses + 1, 0) && !contacts(1, 1, bytes + 1));
    let vector = |lanes: usize| {
        let mut vector = HaveVector::new();
        for number in 0..lanes {
            let origin = Origin::from_bytes(*id(number).hash());
            vector.set_lane(origin, Lane::State, LaneHave { lowest: 0, heads: vec![(0, id(number))] });
        }
        HaveVector::decode(&vector.encode()).is_ok()
    };
    assert!(vector(2 * MAX_ORIGINS) && !vector(2 * MAX_ORIGINS + 1));
}

#[test]
fn a_have_vector_of_five_thousand_servers_fits_a_request() {
    let mut have = HaveVector::new();
    for number in 0..5000_u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        for lane in Lane::ALL {
            let heads = vec![(MAX_NUMBER, EventId::from_hash([9; 32]))];
            have.set_lane(Origin::from_bytes(key), lane, LaneHave { lowest: MAX_NUMBER, heads });
        }
    }
    let request = Request::Pull { room: RoomId::from_hash([1; 32]), sections: Sections::ALL, state_only: false, have };
    assert!(request.encode().len() <= MAX_REQUEST_BYTES);
    assert_eq!(Request::decode(&request.encode()), Ok(request));
}

#[test]
fn a_have_vector_out_of_order_or_shape_is_refused() {
    let head = |seq: i128, id: u8| Value::List(vec![Value::Int(seq), vec![id; 32].into()]);
    let entry = |origin: u8, lane: u64, lowest: u64, heads: Vec<Value>| {
        Value::List(vec![vec![origin; 32].into(), lane.into(), lowest.into(), heads.into()])
    };
    let read = |entries: Vec<Value>| HaveVector::decode(&codec::encode(&Value::List(entries)).unwrap());
    let sound = || entry(1, 0, 3, vec![head(5, 1), head(5, 2), head(7, 1)]);
    assert!(read(vec![sound(), entry(1, 1, 0, vec![head(0, 1)]), entry(2, 0, 0, vec![head(0, 1)])]).is_ok());
    let largest = i128::from(MAX_NUMBER);
    let short = Value::from(vec![1_u8; 31]);
    assert!(read(vec![entry(1, 0, MAX_NUMBER, vec![head(largest, 1)])]).is_ok());

    let refused = [
        ("twice the same lane", vec![sound(), sound()]),
        ("lanes out of order", vec![entry(1, 1, 0, vec![head(0, 1)]), sound()]),
        ("origins out of order", vec![entry(2, 0, 0, vec![head(0, 1)]), sound()]),
        ("a third lane", vec![entry(1, 2, 0, vec![head(0, 1)])]),
        ("no heads", vec![entry(1, 0, 0, Vec::new())]),
        ("heads out of order", vec![entry(1, 0, 0, vec![head(7, 1), head(5, 1)])]),
        ("heads of one place out of order", vec![entry(1, 0, 0, vec![head(5, 2), head(5, 1)])]),
        ("twice the same head", vec![entry(1, 0, 0, vec![head(5, 1), head(5, 1)])]),
        ("a lowest above a head", vec![entry(1, 0, 6, vec![head(5, 1), head(7, 1)])]),
        ("a head beyond 2^53", vec![entry(1, 0, 0, vec![head(largest + 1, 1)])]),
        ("a head below zero", vec![entry(1, 0, 0, vec![head(-1, 1)])]),
        ("a short origin", vec![Value::List(vec![short, 0_u64.into(), 0_u64.into(), vec![head(0, 1)].into()])]),
        ("three parts", vec![Value::List(vec![vec![1_u8; 32].into(), 0_u64.into(), 0_u64.into()])]),
        ("no entry", vec![Value::Null]),
    ];
    for (name, entries) in refused {
        assert!(matches!(read(entries), Err(HaveError::Shape(_))), "{name}");
    }
    let map = codec::encode(&Map::new().into()).unwrap();
    assert_eq!(HaveVector::decode(&map), Err(HaveError::Shape("no list")));
    assert!(matches!(HaveVector::decode(&[0x80, 0x00]), Err(HaveError::Codec(_))));
}

#[test]
fn unknown_refusals_read_as_other_and_known_ones_as_themselves() {
    for refused in REFUSALS {
        let bytes = codec::encode(&Map::new().with("refused", refused.word()).into()).unwrap();
        assert_eq!(Response::decode(&bytes), Ok(Response::Refused(refused)));
    }
    let bytes = codec::encode(&Map::new().with("refused", "full moon").into()).unwrap();
    assert_eq!(Response::decode(&bytes), Ok(Response::Refused(Refused::Other)));
}

#[test]
fn a_request_that_asks_something_unknown_is_refused_and_what_is_new_in_a_known_one_is_passed_over() {
    let room = || Value::from(vec![1_u8; 32]);
    let pull = || Map::new().with("ask", "pull").with("room", room()).with("have", Value::List(Vec::new()));
    let read = |map: Map| Request::decode(&codec::encode(&map.into()).unwrap());
    let expected = Request::Pull {
        room: RoomId::from_hash([1; 32]),
        sections: Sections::ALL,
        state_only: false,
        have: HaveVector::new(),
    };
    assert_eq!(read(pull()), Ok(expected.clone()));
    assert_eq!(read(pull().with("limit", 100_u64)), Ok(expected));
    for (name, map) in [
        ("nothing asked", Map::new()),
        ("something unknown", pull().with("ask", "sing")),
        ("no text", pull().with("ask", 1_u64)),
        ("no room", pull().with("room", Value::Null)),
        ("a short room", pull().with("room", vec![1_u8; 31])),
        ("no vector", pull().with("have", Value::Null)),
        ("no ids", pull().with("ask", "fetch")),
        ("a short id", pull().with("ask", "fetch").with("ids", Value::List(vec![vec![1_u8; 31].into()]))),
        ("no file", pull().with("ask", "file").with("from", 0_u64).with("len", 1_u64)),
        ("no range", pull().with("ask", "file").with("file", room())),
        ("a range out of step", pull().with("ask", "file").with("file", room()).with("from", 1_u64).with("len", 1_u64)),
        ("an empty range", pull().with("ask", "file").with("file", room()).with("from", 0_u64).with("len", 0_u64)),
        (
            "too large a range",
            pull().with("ask", "file").with("file", room()).with("from", 0_u64).with("len", FILE_RANGE_BYTES + 1),
        ),
    ] {
        assert!(read(map).is_err(), "{name}");
    }
}

#[test]
fn a_brief_message_out_of_order_or_shape_is_refused_and_what_stands_behind_it_is_passed_over() {
    let tag = |byte: u8| Value::from(vec![byte; TAG_BYTES]);
    let number = |number: u64| Value::from(number);
    let pair = |byte: u8| [vec![byte; TAG_BYTES], vec![7; SHORT_DIGEST_BYTES]].concat();
    let stretch = |from: u64, beyond: u64| Value::List(vec![tag(1), number(1), number(from), number(beyond)]);
    let request = |list: Vec<Value>| Request::decode(&codec::encode(&Value::List(list)).unwrap());
    let bring = |stretches: Vec<Value>| vec![number(2), tag(1), Value::List(stretches)];

    let compared = request(vec![number(0), [pair(1), pair(2)].concat().into(), number(9)]).unwrap();
    let Request::Compare { digests } = compared else { panic!("{compared:?}") };
    assert_eq!(digests.into_keys().collect::<Vec<_>>(), [1, 2].map(|byte| Tag::from_bytes([byte; TAG_BYTES])));
    let last = request(bring(vec![stretch(MAX_NUMBER, 0)])).unwrap();
    let expected = Stretch { origin: Tag::from_bytes([1; 8]), lane: Lane::Timeline, from: MAX_NUMBER, to: MAX_NUMBER };
    let room = Tag::from_bytes([1; TAG_BYTES]);
    assert_eq!(last, Request::Bring { room, stretches: vec![expected], offers: false });
    let refused = [
        ("nothing", Vec::new()),
        ("an unknown number", vec![number(77), tag(1)]),
        ("no number", vec![tag(1)]),
        ("a cut pair", vec![number(0), pair(1)[1..].to_vec().into()]),
        ("rooms out of order", vec![number(0), [pair(2), pair(1)].concat().into()]),
        ("a room twice", vec![number(0), [pair(1), pair(1)].concat().into()]),
        ("no sections", vec![number(1), tag(1)]),
        ("a long tag", vec![number(1), vec![1_u8; TAG_BYTES + 1].into(), number(1)]),
        ("no stretches", vec![number(2), tag(1)]),
        ("a stretch beyond 2^53", bring(vec![stretch(MAX_NUMBER, 1)])),
        ("a stretch without an end", bring(vec![Value::List(vec![tag(1), number(1), number(0)])])),
        ("too many stretches", bring(vec![stretch(0, 0); MAX_STRETCHES_PER_REQUEST + 1])),
    ];
    for (name, list) in refused {
        assert!(request(list).is_err(), "{name}");
    }

    let response = |list: Vec<Value>| Response::decode(&codec::encode(&Value::List(list)).unwrap());
    let room = |place: u64, sketch: Value| Value::List(vec![number(place), sketch]);
    let rooms = |rooms: Vec<Value>| response(vec![number(0), Value::List(rooms)]);
    assert!(rooms(vec![room(0, Value::Null), room(3, Value::List(Vec::new()))]).is_ok());
    let lane = |list: Vec<Value>| Value::List(list);
    let entries = |entries: Vec<Value>| response(vec![number(1), Value::List(entries)]);
    let entry = |byte: u8, state: Value, timeline: Value| Value::List(vec![tag(byte), state, timeline]);
    let sound = || lane(vec![number(3), number(5), tag(1), number(5), tag(2), number(7), tag(1)]);
    assert!(entries(vec![entry(1, sound(), sound()), entry(2, Value::Null, sound())]).is_ok());
    for (name, read) in [
        ("places out of order", rooms(vec![room(1, Value::Null), room(0, Value::Null)])),
        ("a place beyond every question", rooms(vec![room(MAX_ROOMS_PER_REQUEST as u64, Value::Null)])),
        ("digests of sections cut", rooms(vec![room(0, vec![0_u8; 511].into())])),
        ("servers out of order", entries(vec![entry(2, sound(), sound()), entry(1, sound(), sound())])),
        ("an entry about nothing", entries(vec![entry(1, Value::Null, Value::Null)])),
        ("a lane without heads", entries(vec![entry(1, lane(vec![number(0)]), Value::Null)])),
        ("half a head", entries(vec![entry(1, lane(vec![number(0), number(1)]), Value::Null)])),
        ("a lowest above a head", entries(vec![entry(1, lane(vec![number(2), number(1), tag(1)]), Value::Null)])),
        ("no events", response(vec![number(2), Value::Null])),
    ] {
        assert!(read.is_err(), "{name}");
    }
}

#[test]
fn a_hello_is_refused_where_it_is_unsound_and_its_name_is_only_a_claim() {
    let sound = || {
        Map::new()
            .with("wire", Value::List(vec![0_u64.into(), 7_u64.into()]))
            .with("rooms", Value::List(vec![0_u64.into()]))
            .with("name", "chat.example.org")
            .with("agent", "test/1")
            .with("new", true)
    };
    let read = |map: Map| Hello::decode(&codec::encode(&map.into()).unwrap());
    let hello = read(sound()).unwrap();
    assert_eq!(hello.ext, Map::new().with("new", true));
    assert_eq!(hello.wire_versions, [0, 7]);
    assert_eq!(read(sound().with("name", Value::Null)).unwrap().name, None);
    let versions = |count: u64| Value::List((0..count).map(Value::from).collect());
    assert!(read(sound().with("wire", versions(64))).is_ok());
    assert!(read(sound().with("agent", "x".repeat(128))).is_ok());
    for (name, map) in [
        ("too many versions", sound().with("wire", versions(65))),
        ("versions out of order", sound().with("wire", Value::List(vec![7_u64.into(), 0_u64.into()]))),
        ("a version twice", sound().with("rooms", Value::List(vec![0_u64.into(), 0_u64.into()]))),
        ("a version below zero", sound().with("rooms", Value::List(vec![Value::Int(-1)]))),
        ("no versions", sound().with("wire", Value::Null)),
        ("a long agent", sound().with("agent", "x".repeat(129))),
        ("an agent that writes on the screen", sound().with("agent", "\u{1b}[2J")),
        ("an agent of two lines", sound().with("agent", "a\nb")),
        ("no agent", sound().with("agent", Value::Null)),
        ("a number for a name", sound().with("name", 1_u64)),
    ] {
        assert!(read(map).is_err(), "{name}");
    }
    for key in HELLO_KEYS {
        let mut map = sound();
        map.remove(key);
        assert!(read(map).is_err(), "without {key}");
    }
    let known = Hello::of_this_build(Some("chat.example.org".parse().unwrap()));
    assert_eq!(Hello::decode(&known.encode()), Ok(known));
}

#[test]
fn a_topic_tells_nothing_of_its_room_and_is_the_same_everywhere() {
    let room = RoomId::from_hash([5; 32]);
    assert_eq!(topic(&room), topic(&RoomId::from_hash([5; 32])));
    assert_ne!(topic(&room), topic(&RoomId::from_hash([6; 32])));
    assert_eq!(topic(&room).len(), 43);
    assert!(topic(&room).bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
}
