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
    RoomVersion, ServerRule, Switch, author, kind,
};
use rocketmesh_protocol::id::{BodyId, EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, ServerKey};
use rocketmesh_protocol::limits::{MAX_HEADER_BYTES, MAX_LOCALPART_BYTES, MAX_NAME_BYTES, MAX_NUMBER, MAX_PARENTS};
use support::room::{self, TestRoom};
use support::values::{any_damage, damaged, small_map};
use support::{Server, block_of, config, field, fields_of, localpart, sign_fields, signing_input};

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
