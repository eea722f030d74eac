//! What an event promises: everybody reads what its author meant, in the bytes that were signed, and nothing else is an
//! event.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;

use ipld_core::ipld::Ipld;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::{
    AuthorError, Body, Content, Draft, Event, EventError, JoinRule, Label, Lane, Membership, Placement, Role, RoomType,
    RoomVersion, ServerRule, Switch, UnverifiedEvent, author, kind,
};
use rocketmesh_protocol::id::{BodyId, EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, Origin, ServerKey};
use rocketmesh_protocol::limits::{
    MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_LOCALPART_BYTES, MAX_NAME_BYTES, MAX_NUMBER, MAX_PARENTS,
};
use support::room::{self, TestRoom};
use support::values::{any_damage, damaged, small_map};
use support::{
    Server, block_of, config, field, fields_of, localpart, sign_fields, sign_raw, signing_input, with_order_added,
};

const KNOWN_KINDS: [&str; 10] = [
    kind::CREATE,
    kind::MEMBER,
    kind::ROLE,
    kind::NAME,
    kind::TOPIC,
    kind::MERGE,
    kind::MESSAGE,
    kind::EDIT,
    kind::REDACT,
    kind::REACT,
];

fn any_key() -> impl Strategy<Value = ServerKey> {
    any::<[u8; 32]>().prop_map(|seed| ServerKey::from_seed(&seed))
}

fn any_id() -> impl Strategy<Value = EventId> {
    any::<[u8; 32]>().prop_map(EventId::from_hash)
}

fn any_ids(least: usize) -> impl Strategy<Value = Vec<EventId>> {
    btree_set(any_id(), least..=MAX_PARENTS).prop_map(|ids| ids.into_iter().collect())
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..100_u64, 0..=MAX_NUMBER, Just(MAX_NUMBER)]
}

fn any_localpart() -> impl Strategy<Value = Localpart> {
    "[a-zA-Z0-9._é中-]{1,40}".prop_map(|text| localpart(&text))
}

/// Names of up to 255 bytes, of any characters.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z.]{0,20}",
        vec(any::<char>(), 0..=MAX_NAME_BYTES / 4).prop_map(|chars| chars.into_iter().collect::<String>()),
        Just("n".repeat(MAX_NAME_BYTES)),
    ]
}

fn any_kind() -> impl Strategy<Value = String> {
    prop_oneof![
        select(KNOWN_KINDS.to_vec()).prop_map(str::to_owned),
        any_name().prop_map(|name| if name.is_empty() { "some kind".to_owned() } else { name }),
    ]
}

fn any_body() -> impl Strategy<Value = Body> {
    (any::<[u8; 16]>(), small_map()).prop_map(|(salt, fields)| Body::new(salt, fields))
}

fn any_draft() -> impl Strategy<Value = Draft> {
    (
        option::of(any_localpart()),
        any_kind(),
        option::of(any_name()),
        option::of(small_map()),
        option::of(any_body()),
        any_number(),
    )
        .prop_map(|(sender, kind, state_key, content, body, time_ms)| Draft {
            sender,
            kind,
            state_key,
            content,
            body,
            time_ms,
        })
}

/// A place in a room that has begun.
fn any_placement() -> impl Strategy<Value = Placement> {
    let before = option::of((any_id(), 0..MAX_NUMBER));
    (any::<[u8; 32]>(), before, any_ids(0), any_ids(1), any_number()).prop_map(
        |(room, self_parent, parents, state_frontier, lamport)| Placement {
            room: Some(RoomId::from_hash(room)),
            version: RoomVersion::DRAFT,
            self_parent,
            parents,
            state_frontier,
            lamport,
        },
    )
}

/// Any event that can be made, a room's first among them.
fn any_event() -> impl Strategy<Value = (ServerKey, Placement, Draft)> {
    let later = (any_key(), any_placement(), any_draft());
    let first = (any_key(), any_name(), any_draft())
        .prop_map(|(key, state_key, draft)| (key, Placement::first(), Draft { state_key: Some(state_key), ..draft }));
    prop_oneof![4 => later, 1 => first]
}

/// The event, or nothing where an unlucky draft came out longer than a header may be.
fn made((key, placement, draft): (ServerKey, Placement, Draft)) -> Option<Event> {
    match author(&key, placement, draft) {
        Ok(event) => Some(event),
        Err(AuthorError::Header(EventError::HeaderTooLarge(_))) => None,
        Err(other) => panic!("{other}"),
    }
}

/// A message as it stands in rooms all day: two parents, one state tip, a body.
fn typical() -> (Server, Event) {
    let servers = Server::five();
    let mut room = TestRoom::of(&servers[..3]);
    let head = room.say(&servers[0], "good morning");
    let first = room.author(&servers[1], room::message(&servers[1], "good morning to you too"));
    let second = room.author(&servers[2], room::message(&servers[2], "is it?"));
    room.receive(&first);
    room.receive(&second);
    let event = room.say(&servers[0], "well, here it is");
    assert_eq!(event.header().self_parent, Some(head.id()));
    assert_eq!(event.header().parents.len(), 2);
    (servers[0].clone(), event)
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn what_its_author_meant_is_what_everybody_reads(parts in any_event()) {
        let (key, placement, draft) = parts.clone();
        let Some(event) = made(parts) else { return Ok(()) };
        let opened = Event::open(event.header_block(), event.body_block()).unwrap();
        prop_assert_eq!(&opened, &event);

        let header = opened.header();
        prop_assert_eq!(header.version, placement.version);
        prop_assert_eq!(header.room, placement.room);
        prop_assert_eq!(header.origin, key.origin());
        prop_assert_eq!(header.key, None);
        prop_assert_eq!(header.lane == Lane::State, draft.state_key.is_some());
        prop_assert_eq!(header.seq, placement.self_parent.map_or(0, |(_, seq)| seq + 1));
        prop_assert_eq!(header.self_parent, placement.self_parent.map(|(id, _)| id));
        prop_assert_eq!(&header.parents, &placement.parents);
        prop_assert_eq!(&header.state_frontier, &placement.state_frontier);
        prop_assert_eq!(header.lamport, placement.lamport);
        prop_assert_eq!(header.time_ms, draft.time_ms);
        prop_assert_eq!(&header.sender, &draft.sender);
        prop_assert_eq!(&header.kind, &draft.kind);
        prop_assert_eq!(&header.state_key, &draft.state_key);
        prop_assert_eq!(&header.content, &draft.content);
        prop_assert_eq!(&header.ext, &Map::new());
        prop_assert_eq!(opened.body(), draft.body.clone());
        prop_assert_eq!(header.body.map(|body| body.id), event.body_block().map(BodyId::of_block));
        prop_assert_eq!(opened.id(), EventId::of_block(event.header_block()));
        prop_assert_eq!(opened.room(), placement.room.unwrap_or(opened.id().into()));
        prop_assert_eq!(opened.sender().map(|user| user.origin), draft.sender.map(|_| key.origin()));
    }

    #[test]
    fn the_order_in_which_tips_are_given_makes_no_difference((key, placement, draft) in any_event()) {
        let mut twice = placement.clone();
        twice.parents.reverse();
        twice.parents.extend_from_slice(&placement.parents);
        twice.state_frontier.reverse();
        let one = author(&key, placement, draft.clone());
        prop_assert_eq!(one, author(&key, twice, draft));
    }

    #[test]
    fn a_header_is_an_event_without_its_body_and_takes_it_later(parts in any_event()) {
        let Some(event) = made(parts) else { return Ok(()) };
        let mut bare = Event::open(event.header_block(), None).unwrap();
        prop_assert_eq!(bare.id(), event.id());
        prop_assert_eq!(bare.body(), None);
        match event.body_block() {
            Some(block) => {
                bare.attach_body(block).unwrap();
                prop_assert_eq!(bare, event);
            }
            None => {
                let block = Body::new([0; 16], Map::new()).encode().unwrap();
                prop_assert_eq!(bare.attach_body(&block), Err(EventError::BodyMismatch));
                prop_assert_eq!(bare, event);
            }
        }
    }

    #[test]
    fn one_bit_makes_it_no_event(parts in any_event(), at in any::<Index>(), bit in 0..8_u8) {
        let Some(event) = made(parts) else { return Ok(()) };
        let flip = |block: &[u8]| {
            let mut block = block.to_vec();
            let at = at.index(block.len());
            block[at] ^= 1_u8 << bit;
            block
        };
        prop_assert!(Event::open(&flip(event.header_block()), event.body_block()).is_err());
        if let Some(body) = event.body_block() {
            prop_assert_eq!(Event::open(event.header_block(), Some(&flip(body))), Err(EventError::BodyMismatch));
        }
    }

    #[test]
    fn damage_makes_it_no_event_and_stops_nobody(
        parts in any_event(),
        header in vec(any_damage(), 0..3),
        body in vec(any_damage(), 0..3),
    ) {
        let Some(event) = made(parts) else { return Ok(()) };
        let header = damaged(event.header_block().to_vec(), &header);
        let body = event.body_block().map(|block| damaged(block.to_vec(), &body));
        let whole = header == event.header_block() && body.as_deref() == event.body_block();
        prop_assert_eq!(Event::open(&header, body.as_deref()).is_ok(), whole);
    }

    #[test]
    fn garbage_is_no_event(header in vec(any::<u8>(), 0..200), body in option::of(vec(any::<u8>(), 0..50))) {
        prop_assert!(Event::open(&header, body.as_deref()).is_err());
        if let Some(body) = body
            && let Ok(read) = Body::decode(&body)
        {
            prop_assert_eq!(read.encode(), Ok(body));
        }
    }

    #[test]
    fn what_is_unknown_is_kept_byte_for_byte(
        (key, placement, draft) in any_event(),
        ext in small_map(),
        name in "[a-z]{1,10}",
    ) {
        let kind = format!("org.example.{name}");
        let Some(event) = made((key.clone(), placement, Draft { kind: kind.clone(), ..draft })) else { return Ok(()) };
        let mut fields = fields_of(&event);
        fields[field::EXT] = ext.clone().into();
        let block = sign_fields(&key, &fields);
        if block.len() > MAX_HEADER_BYTES {
            return Ok(());
        }
        let opened = Event::open(&block, event.body_block()).unwrap();
        prop_assert_eq!(opened.header_block(), &block[..]);
        prop_assert_eq!(&opened.header().ext, &ext);
        prop_assert_eq!(&opened.header().kind, &kind);
        prop_assert_eq!(opened.content(), Ok(Content::Unknown));
        prop_assert_eq!(fields_of(&opened), fields);
    }

    #[test]
    fn a_body_comes_back_and_never_carries_a_second_salt(salt in any::<[u8; 16]>(), fields in small_map()) {
        let body = Body::new(salt, fields.clone().with("salt", "pepper"));
        let mut without_salt = fields;
        without_salt.remove("salt");
        let block = body.encode().unwrap();
        let read = Body::decode(&block).unwrap();
        prop_assert_eq!(&read, &body);
        prop_assert_eq!(read.fields(), &without_salt);
        let value = codec::decode(&block).unwrap();
        prop_assert_eq!(value.as_map().unwrap().get("salt").unwrap().as_bytes(), Some(&salt[..]));
    }

    #[test]
    fn another_implementation_reads_every_block_and_writes_it_back(parts in any_event()) {
        let Some(event) = made(parts) else { return Ok(()) };
        for block in [Some(event.header_block()), event.body_block()].into_iter().flatten() {
            let ipld: Ipld = serde_ipld_dagcbor::from_slice(block).unwrap();
            prop_assert_eq!(&serde_ipld_dagcbor::to_vec(&ipld).unwrap()[..], block);
        }
    }

    #[test]
    fn a_signature_is_over_the_domain_and_the_header_without_it(parts in any_event()) {
        let (key, ..) = parts.clone();
        let Some(event) = made(parts) else { return Ok(()) };
        let message = signing_input(&fields_of(&event));
        prop_assert_eq!(event.signature(), &key.sign(&message));
        prop_assert!(key.origin().verifies(&message, event.signature()));
        prop_assert_eq!(block_of(&fields_of(&event), event.signature()), event.header_block());
    }

    #[test]
    fn content_says_what_its_map_said(target in any_id(), remove in any::<bool>(), thread in option::of(any_id())) {
        let server = Server::new(1, "alice");
        let user = server.user.clone();
        let contents = [
            Content::Create { room_type: RoomType::Channel, with: Vec::new() },
            Content::Create { room_type: RoomType::Private, with: Vec::new() },
            Content::Create { room_type: RoomType::Direct, with: vec![Server::new(2, "bob").user] },
            Content::Member { user: user.clone(), change: Membership::Ban, seen: vec![(7, target)] },
            Content::Mute { user: user.clone(), on: true, seen: vec![(0, target), (7, target)] },
            Content::Server { origin: user.origin, rule: ServerRule::Deny, seen: vec![(7, target)] },
            Content::JoinRule { rule: JoinRule::Code },
            Content::Switch { switch: Switch::Archived, on: true },
            Content::Member { user: user.clone(), change: Membership::Join, seen: Vec::new() },
            Content::Member { user: user.clone(), change: Membership::Leave, seen: Vec::new() },
            Content::Role { user: user.clone(), role: Role::Member, seen: Vec::new() },
            Content::Role { user: user.clone(), role: Role::Leader, seen: Vec::new() },
            Content::Role { user: user.clone(), role: Role::Moderator, seen: Vec::new() },
            Content::Role { user: user.clone(), role: Role::Owner, seen: Vec::new() },
            Content::Label(Label::Name),
            Content::Label(Label::Topic),
            Content::Merge,
            Content::Message { thread },
            Content::Edit { target, author: None },
            Content::Edit { target, author: Some(Server::new(2, "bob").user) },
            Content::Redact { target, author: None },
            Content::Redact { target, author: Some(Server::new(2, "bob").user) },
            Content::React { target, remove },
        ];
        let room = TestRoom::made_by(&server);
        for content in contents {
            let event = room.author(&server, room::draft(Some(&user), &content, None));
            prop_assert_eq!(event.content(), Ok(content));
        }
    }
}

#[test]
fn no_bit_of_a_message_can_be_flipped() {
    let (_, event) = typical();
    let body = event.body_block().unwrap();
    for at in 0..event.header_block().len() {
        for bit in 0..8 {
            let mut header = event.header_block().to_vec();
            header[at] ^= 1_u8 << bit;
            assert!(Event::open(&header, Some(body)).is_err(), "bit {bit} of byte {at} of the header");
            if let Ok(unverified) = UnverifiedEvent::decode(&header, None) {
                assert_ne!(unverified.id(), event.id(), "bit {bit} of byte {at} of the header");
            }
        }
    }
    for at in 0..body.len() {
        for bit in 0..8 {
            let mut body = body.to_vec();
            body[at] ^= 1_u8 << bit;
            let opened = Event::open(event.header_block(), Some(&body));
            assert_eq!(opened, Err(EventError::BodyMismatch), "bit {bit} of byte {at} of the body");
        }
    }
}

#[test]
fn a_block_cut_short_or_drawn_out_is_no_event() {
    let (_, event) = typical();
    let block = event.header_block();
    for len in 0..block.len() {
        assert!(Event::open(&block[..len], event.body_block()).is_err(), "{len} bytes");
    }
    for byte in 0..=u8::MAX {
        assert!(Event::open(&[block, &[byte]].concat(), event.body_block()).is_err(), "with {byte} behind it");
    }
}

/// The error of a typical message in which one field is another value, signed by its server all the same.
fn bent(changes: &[(usize, Value)]) -> EventError {
    let (server, event) = typical();
    let mut fields = fields_of(&event);
    for (at, value) in changes {
        fields[*at] = value.clone();
    }
    Event::open(&sign_fields(&server.key, &fields), None).unwrap_err()
}

/// Which field the error blames.
fn blamed(error: &EventError) -> &'static str {
    match error {
        EventError::Header { field, .. } => field,
        other => panic!("no field's fault: {other}"),
    }
}

fn ids(count: u8) -> Vec<Value> {
    (0..count).map(|number| EventId::from_hash([number; 32]).into()).collect()
}

#[test]
fn a_field_of_the_wrong_type_or_beyond_its_limit_is_blamed() {
    let too_big = || Value::Int(i128::from(MAX_NUMBER) + 1);
    let long = |bytes: usize| Value::from("x".repeat(bytes));
    // A link of a form that no id has: raw bytes, SHA-256.
    let foreign = || {
        let cid = cid::Cid::new_v1(0x55, multihash::Multihash::<64>::wrap(0x12, &[1; 32]).unwrap());
        Value::Link(cid)
    };
    let cases: Vec<(&str, usize, Vec<Value>)> = vec![
        ("version", field::VERSION, vec![Value::Null, Value::Int(-1), "0".into(), too_big()]),
        ("room", field::ROOM, vec![Value::Null, foreign(), vec![0_u8; 32].into(), "general".into()]),
        ("origin", field::ORIGIN, vec![Value::Null, vec![0_u8; 31].into(), vec![0_u8; 33].into(), "alice".into()]),
        // Even a sound key is refused until rotation has rules: it would let anybody append to anybody's chain.
        ("key", field::KEY, vec![vec![0_u8; 31].into(), "alice".into(), Value::Int(0), vec![1_u8; 32].into()]),
        ("lane", field::LANE, vec![Value::Null, Value::Int(0), Value::Int(2), Value::Int(-1), true.into()]),
        ("seq", field::SEQ, vec![Value::Null, Value::Int(0), Value::Int(-1), too_big(), "1".into()]),
        ("self_parent", field::SELF_PARENT, vec![foreign(), vec![0_u8; 32].into(), ids(1).into()]),
        ("parents", field::PARENTS, vec![Value::Null, foreign(), vec![foreign()].into(), vec![Value::Null].into()]),
        ("state_frontier", field::STATE_FRONTIER, vec![Value::Null, vec![foreign()].into(), Value::List(Vec::new())]),
        ("lamport", field::LAMPORT, vec![Value::Null, Value::Int(-1), too_big()]),
        ("time_ms", field::TIME_MS, vec![Value::Null, Value::Int(-1), too_big()]),
        ("sender", field::SENDER, vec!["".into(), "a b".into(), "@a".into(), "a:b".into(), "a/b".into(), "a\n".into()]),
        ("sender", field::SENDER, vec![long(MAX_LOCALPART_BYTES + 1), Value::Int(1), vec![b'a'].into()]),
        ("kind", field::KIND, vec![Value::Null, "".into(), long(MAX_NAME_BYTES + 1), vec![b'a'].into()]),
        ("state_key", field::STATE_KEY, vec![long(MAX_NAME_BYTES + 1), Value::Int(0), vec![b'a'].into()]),
        ("lane", field::STATE_KEY, vec!["".into(), "name".into()]),
        ("content", field::CONTENT, vec!["text".into(), ids(1).into(), Value::Int(0)]),
        ("body_cid", field::BODY_CID, vec![Value::Null, foreign(), "body".into()]),
        ("body_cid", field::BODY_LEN, vec![Value::Null]),
        ("body_len", field::BODY_LEN, vec![Value::Int(MAX_BODY_BYTES as i128 + 1), Value::Int(-1), "1".into()]),
        ("ext", field::EXT, vec![Value::Null, ids(1).into(), "ext".into()]),
    ];
    for (name, at, values) in cases {
        for value in values {
            assert_eq!(blamed(&bent(&[(at, value.clone())])), name, "{value:?}");
        }
    }
}

#[test]
fn fields_that_contradict_each_other_are_blamed() {
    let none = || Value::List(Vec::new());
    let first = [
        (field::ROOM, Value::Null),
        (field::LANE, Value::Int(0)),
        (field::SEQ, Value::Int(0)),
        (field::SELF_PARENT, Value::Null),
        (field::PARENTS, none()),
        (field::STATE_FRONTIER, none()),
        (field::LAMPORT, Value::Int(0)),
        (field::STATE_KEY, "".into()),
    ];
    let (server, event) = typical();
    let mut fields = fields_of(&event);
    for (at, value) in &first {
        fields[*at] = value.clone();
    }
    // A room may begin like this, whatever the kind says; whether it is allowed is not the header's business.
    assert!(Event::open(&sign_fields(&server.key, &fields), None).is_ok());
    for (name, at, value) in [
        ("seq", field::SEQ, Value::Int(1)),
        ("seq", field::SELF_PARENT, ids(1).remove(0)),
        ("room", field::PARENTS, ids(1).into()),
        ("room", field::STATE_FRONTIER, ids(1).into()),
        ("room", field::LAMPORT, Value::Int(1)),
        ("lane", field::LANE, Value::Int(1)),
        ("lane", field::STATE_KEY, Value::Null),
        ("state_frontier", field::ROOM, ids(1).remove(0)),
    ] {
        let mut fields = fields.clone();
        fields[at] = value.clone();
        let error = Event::open(&sign_fields(&server.key, &fields), None).unwrap_err();
        assert_eq!(blamed(&error), name, "{value:?}");
    }
    let in_the_timeline = [(field::LANE, Value::Int(1)), (field::STATE_KEY, Value::Null)];
    let error = bent(&[&first[..], &in_the_timeline].concat());
    assert_eq!(blamed(&error), "room", "a room cannot begin with a message");
    assert_eq!(blamed(&bent(&[(field::SELF_PARENT, Value::Null)])), "seq");
}

#[test]
fn tips_are_at_most_sixteen_and_strictly_ascending() {
    let (server, event) = typical();
    for (name, at) in [("parents", field::PARENTS), ("state_frontier", field::STATE_FRONTIER)] {
        let most = ids(MAX_PARENTS as u8);
        let mut fields = fields_of(&event);
        fields[at] = most.clone().into();
        assert!(Event::open(&sign_fields(&server.key, &fields), None).is_ok(), "sixteen {name}");

        let mut swapped = most.clone();
        swapped.swap(3, 4);
        let mut twice = most.clone();
        twice[4] = twice[3].clone();
        for (problem, list) in [("too many", ids(17)), ("out of order", swapped), ("twice the same", twice)] {
            assert_eq!(blamed(&bent(&[(at, list.into())])), name, "{problem}");
        }
    }
}

#[test]
fn what_is_just_within_its_limit_is_read() {
    let (server, event) = typical();
    let most = || Value::from(MAX_NUMBER);
    let long = |bytes: usize| Value::from("x".repeat(bytes));
    for (at, value) in [
        (field::VERSION, most()),
        (field::SEQ, most()),
        (field::LAMPORT, most()),
        (field::TIME_MS, most()),
        (field::SENDER, long(MAX_LOCALPART_BYTES)),
        (field::SENDER, Value::Null),
        (field::KIND, long(MAX_NAME_BYTES)),
        (field::CONTENT, Map::new().into()),
        (field::BODY_LEN, Value::from(MAX_BODY_BYTES as u64)),
    ] {
        let mut fields = fields_of(&event);
        fields[at] = value.clone();
        let opened = Event::open(&sign_fields(&server.key, &fields), None);
        assert!(opened.is_ok(), "{value:?}: {opened:?}");
    }
}

#[test]
fn a_block_that_is_no_list_of_nineteen_is_no_event() {
    let (server, event) = typical();
    let fields = fields_of(&event);
    let short = sign_fields(&server.key, &fields[..17]);
    let long = sign_fields(&server.key, &[&fields[..], &[Value::Null]].concat());
    let map = codec::encode(&Map::new().with("header", fields.clone()).into()).unwrap();
    let null = codec::encode(&Value::Null).unwrap();
    for (name, block) in [("eighteen", short), ("twenty", long), ("a map", map), ("null", null)] {
        assert_eq!(blamed(&Event::open(&block, None).unwrap_err()), "block", "{name}");
    }
    for signature in [&[0; 63][..], &[0; 65], &[]] {
        let error = Event::open(&block_of(&fields, signature), None).unwrap_err();
        assert_eq!(blamed(&error), "signature", "{} bytes", signature.len());
    }
}

#[test]
fn a_header_takes_8_kib_and_no_byte_more() {
    let (server, event) = typical();
    let block = |padding: usize| {
        let mut fields = fields_of(&event);
        fields[field::EXT] = Map::new().with("padding", vec![0_u8; padding]).into();
        sign_fields(&server.key, &fields)
    };
    // The head of the padding takes three bytes for every length that comes up here.
    let fits = MAX_HEADER_BYTES - (block(1000).len() - 1000);
    assert_eq!(block(fits).len(), MAX_HEADER_BYTES);
    assert!(Event::open(&block(fits), event.body_block()).is_ok());
    let error = Event::open(&block(fits + 1), event.body_block()).unwrap_err();
    assert_eq!(error, EventError::HeaderTooLarge(MAX_HEADER_BYTES + 1));

    let room = TestRoom::made_by(&server);
    let draft = Draft {
        content: Some(Map::new().with("padding", vec![0_u8; MAX_HEADER_BYTES])),
        ..room::message(&server, "too much")
    };
    let error = author(&server.key, room.placement(&server, Lane::Timeline), draft).unwrap_err();
    assert!(matches!(error, AuthorError::Header(EventError::HeaderTooLarge(_))), "{error}");
}

#[test]
fn a_body_takes_64_kib_and_no_byte_more() {
    let server = Server::new(1, "alice");
    let room = TestRoom::made_by(&server);
    let saying = |text_bytes: usize| {
        let draft = room::message(&server, &"x".repeat(text_bytes));
        author(&server.key, room.placement(&server, Lane::Timeline), draft)
    };
    // The head of the text takes three bytes for every length that comes up here.
    let fits = MAX_BODY_BYTES - (saying(1000).unwrap().body_block().unwrap().len() - 1000);
    let event = saying(fits).unwrap();
    assert_eq!(event.body_block().unwrap().len(), MAX_BODY_BYTES);
    assert_eq!(Event::open(event.header_block(), event.body_block()), Ok(event.clone()));
    assert_eq!(saying(fits + 1), Err(AuthorError::BodyTooLarge(MAX_BODY_BYTES + 1)));

    let more = vec![0; MAX_BODY_BYTES + 1];
    let error = Event::open(event.header_block(), Some(&more)).unwrap_err();
    assert_eq!(error, EventError::BodyTooLarge(MAX_BODY_BYTES + 1));
}

#[test]
fn a_body_that_is_no_map_with_a_salt_is_refused() {
    let (server, event) = typical();
    let salt = || Value::from(vec![0_u8; 16]);
    let blocks = [
        ("a list", Value::List(vec![salt()])),
        ("null", Value::Null),
        ("no salt", Map::new().with("text", "hello").into()),
        ("a short salt", Map::new().with("salt", vec![0_u8; 15]).into()),
        ("a long salt", Map::new().with("salt", vec![0_u8; 17]).into()),
        ("a text for a salt", Map::new().with("salt", "x".repeat(16)).into()),
    ];
    for (name, value) in blocks {
        let block = codec::encode(&value).unwrap();
        let mut fields = fields_of(&event);
        fields[field::BODY_CID] = BodyId::of_block(&block).into();
        fields[field::BODY_LEN] = (block.len() as u64).into();
        let error = Event::open(&sign_fields(&server.key, &fields), Some(&block)).unwrap_err();
        assert_eq!(error, EventError::BodyShape, "{name}");
        assert_eq!(Body::decode(&block), Err(EventError::BodyShape), "{name}");
    }
}

#[test]
fn a_body_under_a_wrong_name_or_length_is_refused() {
    let (server, event) = typical();
    let body = event.body_block().unwrap();
    let mut fields = fields_of(&event);
    fields[field::BODY_LEN] = (body.len() as u64 + 1).into();
    let block = sign_fields(&server.key, &fields);
    assert_eq!(Event::open(&block, Some(body)), Err(EventError::BodyMismatch));

    let other = Body::new([1; 16], Map::new().with("text", "another")).encode().unwrap();
    assert_eq!(Event::open(event.header_block(), Some(&other)), Err(EventError::BodyMismatch));

    fields[field::BODY_CID] = Value::Null;
    fields[field::BODY_LEN] = Value::Null;
    let block = sign_fields(&server.key, &fields);
    assert_eq!(Event::open(&block, Some(body)), Err(EventError::BodyMismatch));
}

#[test]
fn a_second_encoding_of_a_header_is_refused_though_it_is_signed() {
    let (server, event) = typical();
    let unsigned = codec::encode(&Value::List(fields_of(&event))).unwrap();
    assert_eq!(sign_raw(&server.key, &unsigned), event.header_block());

    // Version 0, the first field, in two bytes instead of one.
    assert_eq!(unsigned[1], 0);
    let longer = [&[0x92, 0x18, 0x00][..], &unsigned[2..]].concat();
    assert!(matches!(Event::open(&sign_raw(&server.key, &longer), None), Err(EventError::Codec(_))));
}

#[test]
fn a_header_signed_for_anything_else_is_no_event() {
    let (server, event) = typical();
    let fields = fields_of(&event);
    let unsigned = codec::encode(&Value::List(fields.clone())).unwrap();
    let domains: [&[u8]; 5] =
        [b"", b"rocketmesh event 1\n", b"rocketmesh event 0", b"rocketmesh record 0\n", b"rocketmesh event 0\n\n"];
    for domain in domains {
        let block = block_of(&fields, &server.key.sign(&[domain, &unsigned].concat()));
        assert_eq!(Event::open(&block, None), Err(EventError::Signature), "{}", domain.escape_ascii());
    }
    let whole = server.key.sign(event.header_block());
    assert_eq!(Event::open(&block_of(&fields, &whole), None), Err(EventError::Signature));
}

#[test]
fn nobody_signs_for_another_server() {
    let (_, event) = typical();
    let mallory = Server::new(66, "mallory");
    let block = sign_fields(&mallory.key, &fields_of(&event));
    assert_eq!(Event::open(&block, event.body_block()), Err(EventError::Signature));
}

#[test]
fn a_signature_has_one_form() {
    let (server, event) = typical();
    let fields = fields_of(&event);
    let message = signing_input(&fields);
    let other = with_order_added(event.signature());
    assert_ne!(&other, event.signature());
    assert!(server.key.origin().verifies(&message, event.signature()));
    assert!(!server.key.origin().verifies(&message, &other));
    assert_eq!(Event::open(&block_of(&fields, &other), None), Err(EventError::Signature));

    for bit in 0..512 {
        let mut other = *event.signature();
        other[bit / 8] ^= 1_u8 << (bit % 8);
        assert!(!server.key.origin().verifies(&message, &other), "bit {bit}");
    }
}

/// Encodings of points of small order, canonical and not. By laxer rules such a key signs messages that nobody signed.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn point(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

#[test]
fn a_key_of_small_order_signs_nothing() {
    let (_, event) = typical();
    for key in SMALL_ORDER {
        let origin = Origin::from_bytes(point(key));
        for r in SMALL_ORDER {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&point(r));
            for message in 0..16_u8 {
                assert!(!origin.verifies(&[message], &signature), "key {key}, R {r}, message {message}");
            }
            let mut fields = fields_of(&event);
            fields[field::ORIGIN] = origin.as_bytes().as_slice().into();
            let opened = Event::open(&block_of(&fields, &signature), None);
            assert_eq!(opened, Err(EventError::Signature), "key {key}, R {r}");
        }
    }
}

#[test]
fn an_honest_key_has_no_signature_with_a_point_of_small_order() {
    let (server, event) = typical();
    let message = signing_input(&fields_of(&event));
    for r in SMALL_ORDER {
        let mut signature = *event.signature();
        signature[..32].copy_from_slice(&point(r));
        assert!(!server.key.origin().verifies(&message, &signature), "{r}");
        signature[32..].fill(0);
        assert!(!server.key.origin().verifies(&message, &signature), "{r} and nothing");
    }
}

#[test]
fn the_published_test_vectors_of_rfc_8032_hold() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            concat!(
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            concat!(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ),
    ];
    for (seed, public, message, signature) in vectors {
        let key = ServerKey::from_seed(&point(seed));
        let message = hex::decode(message).unwrap();
        assert_eq!(hex::encode(key.origin().as_bytes()), public);
        assert_eq!(hex::encode(key.sign(&message)), signature);
        assert!(key.origin().verifies(&message, &hex::decode(signature).unwrap().try_into().unwrap()));
    }
}

#[test]
fn known_kinds_say_what_they_lack() {
    let server = Server::new(1, "alice");
    let room = TestRoom::made_by(&server);
    let target = room.in_order()[0].id();
    let user = || Some(server.user.to_string());
    let empty = || Some(String::new());
    let cases: Vec<(&str, Option<String>, Map)> = vec![
        (kind::CREATE, empty(), Map::new().with("type", "c")),
        (kind::CREATE, empty(), Map::new().with("type", "c").with("nonce", vec![0_u8; 15])),
        (kind::CREATE, empty(), Map::new().with("type", "x").with("nonce", vec![0_u8; 16])),
        (kind::CREATE, user(), Map::new().with("type", "c").with("nonce", vec![0_u8; 16])),
        (kind::CREATE, None, Map::new().with("type", "c").with("nonce", vec![0_u8; 16])),
        (kind::MEMBER, user(), Map::new()),
        (kind::MEMBER, user(), Map::new().with("membership", "banned")),
        (kind::MEMBER, empty(), Map::new().with("membership", "join")),
        (kind::MEMBER, None, Map::new().with("membership", "join")),
        (kind::MEMBER, Some("@alice:example.org".to_owned()), Map::new().with("membership", "join")),
        (kind::ROLE, user(), Map::new().with("role", "king")),
        (kind::ROLE, empty(), Map::new().with("role", "owner")),
        (kind::NAME, None, Map::new()),
        (kind::NAME, user(), Map::new()),
        (kind::TOPIC, None, Map::new()),
        (kind::MERGE, empty(), Map::new()),
        (kind::MESSAGE, empty(), Map::new()),
        (kind::MESSAGE, None, Map::new().with("thread", "the first")),
        (kind::EDIT, None, Map::new()),
        (kind::EDIT, empty(), Map::new().with("target", target)),
        (kind::REDACT, None, Map::new().with("target", target.to_string())),
        (kind::REACT, None, Map::new().with("remove", true)),
        (kind::REACT, None, Map::new().with("target", target).with("remove", "yes")),
    ];
    for (kind, state_key, content) in cases {
        let name = format!("{kind} {state_key:?} {content:?}");
        let draft = Draft { kind: kind.to_owned(), state_key, content: Some(content), ..room::message(&server, "") };
        let error = room.author(&server, draft).content().unwrap_err();
        assert_eq!(error.kind, kind, "{name}");
    }
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    assert_eq!(KNOWN_KINDS.into_iter().collect::<BTreeSet<_>>().len(), KNOWN_KINDS.len());
}

#[test]
fn the_longest_user_is_a_state_key() {
    let server = Server::new(1, &"x".repeat(MAX_LOCALPART_BYTES));
    let user = server.user.clone();
    let room = TestRoom::made_by(&server);
    let event = room.author(&server, room::join(&server));
    assert_eq!(event.header().state_key, Some(user.to_string()));
    assert_eq!(event.sender(), Some(user));
}

#[test]
fn what_has_no_encoding_is_an_authors_error() {
    let server = Server::new(1, "alice");
    let room = TestRoom::made_by(&server);
    let deep = (0..40).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    for fields in [Map::new().with("text", deep), Map::new().with("number", Value::Int(i128::MAX))] {
        for draft in [
            Draft { body: Some(Body::new([0; 16], fields.clone())), ..room::message(&server, "") },
            Draft { content: Some(fields), ..room::message(&server, "") },
        ] {
            let made = author(&server.key, room.placement(&server, Lane::Timeline), draft);
            assert!(matches!(made, Err(AuthorError::Codec(_))), "{made:?}");
        }
    }
}
