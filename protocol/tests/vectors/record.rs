//! What is recorded of events: a room that says everything once, blocks that are no events, and values.

use cid::Cid;
use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::{
    Content, Draft, Event, Label, Lane, Placement, Role, RoomVersion, author, author_after,
};
use rocketmesh_protocol::id::{BodyId, EventId, RoomId};
use rocketmesh_protocol::identity::{ServerKey, UserId};
use rocketmesh_protocol::limits::{MAX_NUMBER, MAX_PARENTS};

use super::in_json::encoded;
use super::write::verdict;
use crate::support::room::{TestRoom, body, draft, join, message, rename, role};
use crate::support::{Server, block_of, field, fields_of, localpart, sign_fields, sign_raw, with_order_added};

/// An event with its name, and what became of it in the recorded room.
pub(crate) struct Recorded {
    pub(crate) name: &'static str,
    pub(crate) server: usize,
    pub(crate) event: Event,
    pub(crate) verdict: Option<String>,
}

/// A room that says everything once.
pub(crate) struct Recorder {
    pub(crate) servers: Vec<Server>,
    pub(crate) room: TestRoom,
    pub(crate) events: Vec<Recorded>,
}

impl Recorder {
    fn take(&mut self, name: &'static str, server: usize, event: Event) -> EventId {
        let verdict = Some(verdict(&self.room.receive(&event)));
        let id = event.id();
        self.events.push(Recorded { name, server, event, verdict });
        id
    }

    fn write(&mut self, name: &'static str, server: usize, draft: Draft) -> EventId {
        let event = self.room.author(&self.servers[server], draft);
        self.take(name, server, event)
    }

    pub(crate) fn event(&self, name: &str) -> &Event {
        &self.events.iter().find(|recorded| recorded.name == name).unwrap().event
    }
}

/// One of each kind of value, so that unknown content shows how each is written.
pub(crate) fn every_value(link: EventId) -> Map {
    let list = vec![Value::Int(-1), Value::Int(23), Value::Int(24), Value::Int(256), true.into(), Value::Null];
    Map::new()
        .with("b", "Größe, 大きさ, 📏")
        .with("aa", list)
        .with("a", vec![0_u8, 1, 255])
        .with("link", link)
        .with("", Map::new().with("inner", Map::new()))
        .with("most", Value::Int((1 << 64) - 1))
        .with("least", Value::Int(-(1 << 64)))
}

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const DAVE: usize = 3;

pub(crate) fn record_room() -> Recorder {
    let servers: Vec<Server> = Server::five().into_iter().take(4).collect();
    let users: Vec<UserId> = servers.iter().map(|server| server.user.clone()).collect();
    let room = TestRoom::made_by(&servers[ALICE]);
    let create = room.in_order().remove(0);
    let events = vec![Recorded { name: "create", server: ALICE, event: create, verdict: Some("accepted".to_owned()) }];
    let mut recorder = Recorder { servers: servers.clone(), room, events };
    let say = |server: usize, text: &str| message(&servers[server], text);
    let of = |server: usize, content: &Content, text: Option<(&str, &str)>| {
        draft(Some(&users[server]), content, text.map(|(field, text)| body(field, text)))
    };

    recorder.write("bob joins", BOB, join(&servers[BOB]));
    recorder.write("carol joins", CAROL, join(&servers[CAROL]));
    recorder.write("name", ALICE, rename(&servers[ALICE], "general"));
    recorder.write("role", ALICE, role(&servers[ALICE], &users[BOB], Role::Moderator));
    recorder.write("topic", BOB, of(BOB, &Content::Label(Label::Topic), Some(("topic", "everything else"))));
    let first = recorder.write("message", ALICE, say(ALICE, "hello, world"));

    let answers = [
        ("answer of bob", BOB, say(BOB, "Grüße aus Köln 👋")),
        ("answer in a thread", CAROL, of(CAROL, &Content::Message { thread: Some(first) }, Some(("text", "hi!")))),
    ];
    let answers = answers.map(|(name, by, draft)| (name, by, recorder.room.author(&servers[by], draft)));
    for (name, by, event) in answers {
        recorder.take(name, by, event);
    }
    recorder.write("message with two parents", ALICE, say(ALICE, "you are both here"));
    recorder.write(
        "edit",
        ALICE,
        of(ALICE, &Content::Edit { target: first, author: None }, Some(("text", "hello, worlds"))),
    );
    recorder.write("reaction", BOB, of(BOB, &Content::React { target: first, remove: false }, Some(("emoji", ":+1:"))));
    recorder.write("reaction taken back", BOB, of(BOB, &Content::React { target: first, remove: true }, None));
    let redaction = Content::Redact { target: first, author: Some(users[ALICE].clone()) };
    recorder.write("redaction of another's message by a member", CAROL, of(CAROL, &redaction, None));
    recorder.write("redaction by a moderator", BOB, of(BOB, &redaction, Some(("reason", "spam"))));

    let unknown = Draft {
        kind: "org.example.state".to_owned(),
        state_key: Some("some key".to_owned()),
        content: Some(every_value(first)),
        ..say(CAROL, "unknown state")
    };
    let at_once = [
        ("topic at the same time", BOB, of(BOB, &Content::Label(Label::Topic), Some(("topic", "nothing else")))),
        ("unknown state", CAROL, unknown),
    ];
    let at_once = at_once.map(|(name, by, draft)| (name, by, recorder.room.author(&servers[by], draft)));
    for (name, by, event) in at_once {
        recorder.take(name, by, event);
    }
    recorder.write("merge", CAROL, draft(None, &Content::Merge, None));

    let unknown = Draft { kind: "org.example.kind".to_owned(), content: None, body: None, ..say(BOB, "") };
    recorder.write("unknown kind without content and body", BOB, unknown.clone());
    let known = recorder.room.author(&servers[BOB], Draft { body: Some(body("text", "new")), ..unknown });
    let mut fields = fields_of(&known);
    fields[field::EXT] = every_value(first).into();
    let event = Event::open(&sign_fields(&servers[BOB].key, &fields), known.body_block()).unwrap();
    recorder.take("fields of a later version", BOB, event);

    let sides = ["one side of a fork", "the other side of a fork"];
    let sides = sides.map(|side| (side, recorder.room.author(&servers[CAROL], say(CAROL, side))));
    for (name, event) in sides {
        recorder.take(name, CAROL, event);
    }
    recorder.write("owner made by a moderator", BOB, role(&servers[BOB], &users[CAROL], Role::Owner));
    recorder.write(
        "topic after a rejected role",
        BOB,
        of(BOB, &Content::Label(Label::Topic), Some(("topic", "still here"))),
    );
    recorder.write(
        "role without its word",
        ALICE,
        Draft { content: None, ..role(&servers[ALICE], &users[BOB], Role::Owner) },
    );
    recorder.write("message of an outsider", DAVE, say(DAVE, "let me in"));
    let late = Placement { lamport: 1, ..recorder.room.placement(&servers[ALICE], Lane::Timeline) };
    recorder.take("message out of time", ALICE, author(&servers[ALICE].key, late, say(ALICE, "too early")).unwrap());
    let place = recorder.room.placement(&servers[BOB], Lane::Timeline);
    let unknown = EventId::from_hash([0xee; 32]);
    let said = say(BOB, "I have seen more than I stand on");
    let sighting = author_after(&servers[BOB].key, place, said, vec![first, unknown]);
    recorder.take("message that names a sighting", BOB, sighting.unwrap());
    recorder.write("last message", ALICE, say(ALICE, "good night"));

    let event = largest_event(&servers[DAVE], recorder.room.outline.room());
    recorder.events.push(Recorded { name: "largest numbers and most tips", server: DAVE, event, verdict: None });
    recorder
}

/// An event that stands in no room and reaches every limit.
fn largest_event(server: &Server, room: RoomId) -> Event {
    let ids = |first: u8| (first..).take(MAX_PARENTS).map(|number| EventId::from_hash([number; 32])).collect();
    let placement = Placement {
        room: Some(room),
        version: RoomVersion(MAX_NUMBER),
        self_parent: Some((EventId::from_hash([0xff; 32]), MAX_NUMBER - 1)),
        parents: ids(0x10),
        state_frontier: ids(0x80),
        lamport: MAX_NUMBER,
    };
    let draft = Draft {
        sender: Some(localpart(&"s".repeat(190))),
        kind: "k".repeat(255),
        state_key: Some("ß".repeat(127)),
        time_ms: MAX_NUMBER,
        ..message(server, "")
    };
    author(&server.key, placement, draft).unwrap()
}

/// Signed by its server all the same: only the field is wrong.
fn bent(key: &ServerKey, event: &Event, at: usize, value: Value) -> Vec<u8> {
    let mut fields = fields_of(event);
    fields[at] = value;
    sign_fields(key, &fields)
}

pub(crate) fn refused_events(recorder: &Recorder) -> Vec<(&'static str, Vec<u8>, Option<Vec<u8>>)> {
    let key = &recorder.servers[ALICE].key;
    let event = recorder.event("message with two parents");
    let header = event.header_block().to_vec();
    let fields = fields_of(event);
    let body_block = event.body_block().unwrap().to_vec();
    let tips = |count: u8| Value::List((0..count).map(|number| EventId::from_hash([number; 32]).into()).collect());
    let parents: Vec<Value> = fields[field::PARENTS].as_list().unwrap().iter().rev().cloned().collect();
    let foreign = Cid::new_v1(0x55, multihash::Multihash::wrap(0x12, &[1; 32]).unwrap());
    let beyond = || Value::from(MAX_NUMBER + 1);
    let long = |bytes: usize| Value::from("x".repeat(bytes));

    let bends = [
        ("a version beyond 2^53", field::VERSION, beyond()),
        ("no room, and not a room's first event", field::ROOM, Value::Null),
        ("a room that is a CID of another kind", field::ROOM, foreign.into()),
        ("an origin of 31 bytes", field::ORIGIN, vec![1_u8; 31].into()),
        ("a key, which has no rules yet", field::KEY, key.origin().as_bytes().as_slice().into()),
        ("the state lane without a state key", field::LANE, Value::Int(0)),
        ("a third lane", field::LANE, Value::Int(2)),
        ("a place beyond 2^53", field::SEQ, beyond()),
        ("a first event with a self parent", field::SEQ, Value::Int(0)),
        ("a later event without a self parent", field::SELF_PARENT, Value::Null),
        ("seventeen parents", field::PARENTS, tips(17)),
        ("parents in descending order", field::PARENTS, Value::List(parents)),
        ("no parents list", field::PARENTS, Value::Null),
        ("an empty state frontier", field::STATE_FRONTIER, tips(0)),
        ("seventeen state tips", field::STATE_FRONTIER, tips(17)),
        ("a lamport time beyond 2^53", field::LAMPORT, beyond()),
        ("a time below zero", field::TIME_MS, Value::Int(-1)),
        ("a sender with a colon", field::SENDER, "a:b".into()),
        ("a sender of 191 bytes", field::SENDER, long(191)),
        ("an empty kind", field::KIND, "".into()),
        ("a kind of 256 bytes", field::KIND, long(256)),
        ("a state key in the timeline lane", field::STATE_KEY, "".into()),
        ("a list as content", field::CONTENT, tips(1)),
        ("a body's length without its id", field::BODY_CID, Value::Null),
        ("a body's id without its length", field::BODY_LEN, Value::Null),
        ("a body of 65537 bytes", field::BODY_LEN, Value::Int(65_537)),
        ("no ext", field::EXT, Value::Null),
    ];
    let mut refused: Vec<(&'static str, Vec<u8>, Option<Vec<u8>>)> =
        bends.into_iter().map(|(name, at, value)| (name, bent(key, event, at, value), None)).collect();

    let unsigned = encoded(&Value::List(fields.clone()));
    let version_in_two_bytes = [&[0x92, 0x18, 0x00][..], &unsigned[2..]].concat();
    let mut flipped = *event.signature();
    flipped[63] ^= 1;
    let mut weak = fields.clone();
    weak[field::ORIGIN] = [&[1_u8][..], &[0; 31]].concat().into();
    let good_for_all = [&[1_u8][..], &[0; 63]].concat();
    let malleable = with_order_added(event.signature());
    let sign = |message: &[u8]| key.sign(message);
    let other_body = body("text", "another text").encode().unwrap();
    let no_salt = encoded(&Map::new().with("text", "no salt").into());
    let mut names_no_salt = fields.clone();
    names_no_salt[field::BODY_CID] = BodyId::of_block(&no_salt).into();
    names_no_salt[field::BODY_LEN] = (no_salt.len() as u64).into();
    let twenty = [&fields[..], &[Value::Null]].concat();
    let domains = [
        ("signed without a domain", Vec::new()),
        ("signed under another domain", b"rocketmesh event 1\n".to_vec()),
        ("signed with a longer domain", b"rocketmesh event 0\n\n".to_vec()),
    ];
    for (name, domain) in domains {
        refused.push((name, block_of(&fields, &sign(&[domain, unsigned.clone()].concat())), None));
    }
    refused.extend([
        ("a flipped bit in the signature", block_of(&fields, &flipped), None),
        ("the group's order added to the signature's scalar", block_of(&fields, &malleable), None),
        ("signed by another server", sign_fields(&recorder.servers[BOB].key, &fields), None),
        ("signed over the whole block", block_of(&fields, &sign(&header)), None),
        ("a key of small order with its signature for everything", block_of(&weak, &good_for_all), None),
        ("a signature of 63 bytes", block_of(&fields, &flipped[1..]), None),
        ("the version in two bytes", sign_raw(key, &version_in_two_bytes), None),
        ("a byte behind the block", [&header[..], &[0]].concat(), None),
        ("a block without its last byte", header[..header.len() - 1].to_vec(), None),
        ("eighteen elements", sign_fields(key, &fields[..17]), None),
        ("twenty elements", sign_fields(key, &twenty), None),
        ("a map", encoded(&Map::new().with("header", fields.clone()).into()), None),
        ("no bytes", Vec::new(), None),
        ("another body", header.clone(), Some(other_body)),
        ("a body with a byte behind it", header.clone(), Some([&body_block[..], &[0]].concat())),
        ("a body for a header that names none", recorder.event("merge").header_block().to_vec(), Some(body_block)),
        ("a body without salt", sign_fields(key, &names_no_salt), Some(no_salt)),
    ]);
    refused
}

pub(crate) fn values(link: EventId) -> Vec<(String, Value)> {
    let numbers: [i128; 17] = [
        0,
        1,
        23,
        24,
        255,
        256,
        65_535,
        65_536,
        (1 << 32) - 1,
        1 << 32,
        (1 << 53) - 1,
        (1 << 64) - 1,
        -1,
        -24,
        -25,
        -(1 << 32) - 1,
        -(1 << 64),
    ];
    let mut values: Vec<(String, Value)> =
        numbers.into_iter().map(|number| (format!("the integer {number}"), Value::Int(number))).collect();
    let sha2 = multihash::Multihash::wrap(0x12, &[2; 32]).unwrap();
    let deepest = (0..codec::MAX_DEPTH).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    for (name, value) in [
        ("null", Value::Null),
        ("true", true.into()),
        ("false", false.into()),
        ("no bytes", Value::Bytes(Vec::new())),
        ("24 bytes", vec![7_u8; 24].into()),
        ("256 bytes", vec![7_u8; 256].into()),
        ("no text", "".into()),
        ("text", "Grüße 👋".into()),
        ("an empty list", Value::List(Vec::new())),
        ("an empty map", Map::new().into()),
        ("a map in its order", Map::new().with("b", 1_u64).with("aa", 2_u64).with("a", 3_u64).into()),
        ("an id of this protocol", link.into()),
        ("a link of version 1 with SHA-256", Cid::new_v1(0x55, sha2).into()),
        ("a link of version 0", Cid::new_v0(sha2).unwrap().into()),
        ("lists as deep as they may be", deepest),
        ("everything", every_value(link).into()),
    ] {
        values.push((name.to_owned(), value));
    }
    values
}
