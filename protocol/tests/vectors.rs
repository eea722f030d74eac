//! Recorded vectors: what every version of this protocol, in any language, must write and read in exactly these bytes.
//!
//! `vectors/README.md` explains the file, and how to record it anew together with the seeds of the fuzzers.
#![allow(clippy::unwrap_used, missing_docs)]
// Tests read and record files of the tree; the protocol itself does neither.
#![allow(clippy::disallowed_methods)]

#[path = "support/fuzz_checks.rs"]
mod checks;
mod support;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bao::encode::SliceExtractor;
use cid::Cid;
use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::{
    Body, Content, Draft, Event, EventError, Header, Label, Lane, Placement, Role, RoomVersion, SIGNING_DOMAIN, author,
    author_after,
};
use rocketmesh_protocol::file::{FileRange, open_slice};
use rocketmesh_protocol::have::{Brief, BriefLane, HaveVector, LaneHave, Sections, Sketch, Tag, short_digest};
use rocketmesh_protocol::id::{BodyId, EventId, FileId, RoomId};
use rocketmesh_protocol::identity::{Localpart, Origin, ServerKey, ServerName, UserId};
use rocketmesh_protocol::limits::{MAX_NUMBER, MAX_PARENTS};
use rocketmesh_protocol::receipt::{Misplaced, Receipt};
use rocketmesh_protocol::sync::Stretch;
use rocketmesh_protocol::wire::{
    Contact, GossipFrame, Hello, Refused, Request, Response, WIRE_VERSION, WireEvent, gossip_message_id, topic,
};
use serde_json::{Value as Json, json};
use support::refused::{OUTSIDE_PROFILE, SECOND_ENCODINGS};
use support::room::{TestRoom, body, draft, join, message, rename, role};
use support::{Server, block_of, field, fields_of, localpart, sign_fields, sign_raw, signing_input, with_order_added};

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn vectors_path() -> PathBuf {
    tree().join("vectors/events.json")
}

fn seed_path(target: &str, name: &str) -> PathBuf {
    let slug: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    tree().join("fuzz/corpus").join(target).join(slug)
}

/// The file in the tree, after recording it if that is what was asked for.
static FILE: LazyLock<String> = LazyLock::new(|| {
    if std::env::var("ROCKETMESH_RECORD_VECTORS").is_ok_and(|word| word == "1") {
        std::fs::write(vectors_path(), written(&recorded())).unwrap();
        for (target, name, bytes) in seeds(&recorded()) {
            let path = seed_path(target, &name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    std::fs::read_to_string(vectors_path()).expect("vectors/events.json, recorded as vectors/README.md says")
});

fn file() -> Json {
    serde_json::from_str(&FILE).unwrap()
}

/// The text of the file: keys in order whatever features serde_json was built with.
fn written(json: &Json) -> String {
    fn in_order(json: &Json) -> Json {
        match json {
            Json::Array(list) => list.iter().map(in_order).collect(),
            Json::Object(map) => {
                let entries: BTreeMap<&String, Json> = map.iter().map(|(key, value)| (key, in_order(value))).collect();
                Json::Object(entries.into_iter().map(|(key, value)| (key.clone(), value)).collect())
            }
            other => other.clone(),
        }
    }
    serde_json::to_string_pretty(&in_order(json)).unwrap() + "\n"
}

// Values in JSON: what JSON lacks stands in an object with one key that begins with a dollar sign.

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) if number.unsigned_abs() <= u128::from(MAX_NUMBER) => json!(i64::try_from(*number).unwrap()),
        Value::Int(number) => json!({ "$int": number.to_string() }),
        Value::Bytes(bytes) => json!({ "$bytes": hex::encode(bytes) }),
        Value::Text(text) => json!(text),
        Value::List(list) => list.iter().map(to_json).collect(),
        Value::Map(map) => map_to_json(map),
        Value::Link(cid) => json!({ "$link": cid.to_string() }),
    }
}

fn map_to_json(map: &Map) -> Json {
    Json::Object(map.iter().map(|(key, value)| (key.to_owned(), to_json(value))).collect())
}

fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => Value::Int(number.as_i64().unwrap().into()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(from_json).collect()),
        Json::Object(map) => match map.iter().next() {
            Some((key, number)) if key == "$int" => Value::Int(text(number).parse().unwrap()),
            Some((key, bytes)) if key == "$bytes" => Value::Bytes(unhex(bytes)),
            Some((key, link)) if key == "$link" => Value::Link(Cid::try_from(text(link)).unwrap()),
            _ => Value::Map(map_from_json(json)),
        },
    }
}

fn map_from_json(json: &Json) -> Map {
    let entries = json.as_object().unwrap().iter();
    entries.fold(Map::new(), |map, (key, value)| map.with(key, from_json(value)))
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_else(|| panic!("a text, not {json}"))
}

fn unhex(json: &Json) -> Vec<u8> {
    hex::decode(text(json)).unwrap()
}

fn unhex_32(json: &Json) -> [u8; 32] {
    unhex(json).try_into().unwrap()
}

fn optional<T>(json: &Json, read: impl FnOnce(&Json) -> T) -> Option<T> {
    (!json.is_null()).then(|| read(json))
}

fn list<T>(json: &Json, read: impl FnMut(&Json) -> T) -> Vec<T> {
    json.as_array().unwrap_or_else(|| panic!("a list, not {json}")).iter().map(read).collect()
}

fn encoded(value: &Value) -> Vec<u8> {
    codec::encode(value).unwrap()
}

fn texts(ids: &[EventId]) -> Vec<String> {
    ids.iter().map(EventId::to_string).collect()
}

// Recording.

fn header_json(header: &Header) -> Json {
    json!({
        "version": header.version.0,
        "room": header.room.map(|id| id.to_string()),
        "origin": hex::encode(header.origin.as_bytes()),
        "key": header.key.map(|key| hex::encode(key.as_bytes())),
        "lane": header.lane.number(),
        "seq": header.seq,
        "self_parent": header.self_parent.map(|id| id.to_string()),
        "parents": texts(&header.parents),
        "state_frontier": texts(&header.state_frontier),
        "lamport": header.lamport,
        "time_ms": header.time_ms,
        "sender": header.sender.as_ref().map(Localpart::as_str),
        "kind": header.kind,
        "state_key": header.state_key,
        "content": header.content.as_ref().map(map_to_json),
        "body_cid": header.body.map(|body| body.id.to_string()),
        "body_len": header.body.map(|body| body.len),
        "ext": map_to_json(&header.ext),
    })
}

fn body_json(block: &[u8]) -> Json {
    let value = codec::decode(block).unwrap();
    let salt = value.as_map().unwrap().get("salt").and_then(Value::as_bytes).unwrap();
    json!({ "salt": hex::encode(salt), "fields": map_to_json(Body::decode(block).unwrap().fields()) })
}

fn verdict(receipt: &Receipt) -> String {
    match receipt {
        Receipt::Accepted { forks: false } => "accepted".to_owned(),
        Receipt::Accepted { forks: true } => "accepted, and a fork".to_owned(),
        Receipt::Rejected(refusal) => format!("rejected: {}", refusal.code()),
        Receipt::Dropped(Misplaced::Outsider) => "dropped: outsider".to_owned(),
        Receipt::Dropped(Misplaced::Lamport) => "dropped: lamport".to_owned(),
        Receipt::Dropped(Misplaced::Chain) => "dropped: chain".to_owned(),
        Receipt::Dropped(Misplaced::WrongLane) => "dropped: lane".to_owned(),
        other => panic!("no vector is {other:?}"),
    }
}

/// What an implementation may call the reason for which bytes are no event.
fn reason(error: &EventError) -> String {
    match error {
        EventError::Codec(_) => "encoding".to_owned(),
        EventError::Header { field, .. } => format!("header: {field}"),
        EventError::BodyShape => "body: shape".to_owned(),
        EventError::BodyMismatch => "body: not the one named".to_owned(),
        EventError::Signature => "signature".to_owned(),
        other => panic!("no vector fails by {other}"),
    }
}

/// An event with its name, and what became of it in the recorded room.
struct Recorded {
    name: &'static str,
    server: usize,
    event: Event,
    verdict: Option<String>,
}

/// A room that says everything once.
struct Recorder {
    servers: Vec<Server>,
    room: TestRoom,
    events: Vec<Recorded>,
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

    fn event(&self, name: &str) -> &Event {
        &self.events.iter().find(|recorded| recorded.name == name).unwrap().event
    }
}

/// One of each kind of value, so that unknown content shows how each is written.
fn every_value(link: EventId) -> Map {
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

fn record_room() -> Recorder {
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

fn event_json(recorded: &Recorded, servers: &[Server]) -> Json {
    let event = &recorded.event;
    json!({
        "name": recorded.name,
        "server": servers[recorded.server].user.localpart.as_str(),
        "id": event.id().to_string(),
        "header": header_json(event.header()),
        "body": event.body_block().map(body_json),
        "header_block": hex::encode(event.header_block()),
        "body_block": event.body_block().map(hex::encode),
        "signing_input": hex::encode(signing_input(&fields_of(event))),
        "signature": hex::encode(event.signature()),
        "verdict": recorded.verdict,
    })
}

fn server_json(server: &Server) -> Json {
    let origin = server.key.origin();
    json!({
        "name": server.user.localpart.as_str(),
        "seed": hex::encode(server.key.seed()),
        "public_key": hex::encode(origin.as_bytes()),
        "peer_id": hex::encode(origin.to_peer_id_bytes()),
        "origin": origin.to_string(),
        "user": server.user.to_string(),
    })
}

/// Signed by its server all the same: only the field is wrong.
fn bent(key: &ServerKey, event: &Event, at: usize, value: Value) -> Vec<u8> {
    let mut fields = fields_of(event);
    fields[at] = value;
    sign_fields(key, &fields)
}

fn refused_events(recorder: &Recorder) -> Vec<(&'static str, Vec<u8>, Option<Vec<u8>>)> {
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

fn values(link: EventId) -> Vec<(String, Value)> {
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

fn have_vectors(recorder: &Recorder) -> Vec<(&'static str, HaveVector)> {
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

fn have_json(have: &HaveVector) -> Json {
    let entry = |(origin, lane, have): (Origin, Lane, &LaneHave)| {
        let heads: Vec<Json> = have.heads.iter().map(|(seq, id)| json!({ "seq": seq, "id": id.to_string() })).collect();
        json!({
            "origin": hex::encode(origin.as_bytes()),
            "lane": lane.number(),
            "lowest": have.lowest,
            "heads": heads,
        })
    };
    have.lanes().map(entry).collect()
}

fn requests(recorder: &Recorder) -> Vec<(&'static str, Request)> {
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

fn request_json(request: &Request) -> Json {
    match request {
        Request::Compare { digests } => {
            let digests: Vec<Json> = digests
                .iter()
                .map(|(room, digest)| json!({ "room": tag_json(room), "digest": hex::encode(digest) }))
                .collect();
            json!({ "ask": "compare", "digests": digests })
        }
        Request::Entries { room, sections } => {
            let sections = hex::encode(sections.bits().to_be_bytes());
            json!({ "ask": "entries", "room": tag_json(room), "sections": sections })
        }
        Request::Bring { room, stretches, offers } => {
            let stretch = |stretch: &Stretch| {
                let Stretch { origin, lane, from, to } = stretch;
                json!({ "origin": tag_json(origin), "lane": lane.number(), "from": from, "to": to })
            };
            let stretches: Vec<Json> = stretches.iter().map(stretch).collect();
            json!({ "ask": "bring", "room": tag_json(room), "stretches": stretches, "offers": offers })
        }
        Request::Sections { room } => json!({ "ask": "sections", "room": room.to_string() }),
        Request::Pull { room, sections, state_only, have } => {
            let mut asked = json!({ "ask": "pull", "room": room.to_string(), "have": have_json(have) });
            if *sections != Sections::ALL {
                asked["sections"] = json!(hex::encode(sections.bits().to_be_bytes()));
            }
            if *state_only {
                asked["state"] = json!(true);
            }
            asked
        }
        Request::Fetch { room, ids, have } => {
            json!({ "ask": "fetch", "room": room.to_string(), "ids": texts(ids), "have": have_json(have) })
        }
        Request::Recent { room, known } => {
            json!({ "ask": "recent", "room": room.to_string(), "ids": texts(known) })
        }
        Request::Contacts { room } => json!({ "ask": "contacts", "room": room.to_string() }),
        Request::Tell { room, events } => {
            let events: Vec<Json> = events.iter().map(wire_event_json).collect();
            json!({ "ask": "tell", "room": room.to_string(), "events": events })
        }
        Request::Ephemeral { room, message } => {
            json!({ "ask": "ephemeral", "room": room.to_string(), "message": hex::encode(message) })
        }
        Request::File { room, file, range } => {
            let (room, file) = (room.to_string(), file.to_string());
            json!({ "ask": "file", "room": room, "file": file, "from": range.from(), "len": range.size() })
        }
    }
}

fn tag_json(tag: &Tag) -> Json {
    json!(hex::encode(tag.as_bytes()))
}

fn brief_json(brief: &Brief) -> Json {
    let entry = |(origin, lane, have): (Tag, Lane, &BriefLane)| {
        let head = |(seq, head): &(u64, Tag)| json!({ "seq": seq, "head": tag_json(head) });
        let heads: Vec<Json> = have.heads.iter().map(head).collect();
        json!({ "origin": tag_json(&origin), "lane": lane.number(), "lowest": have.lowest, "heads": heads })
    };
    brief.lanes().map(entry).collect()
}

fn sketch_json(sketch: &Sketch) -> Json {
    match sketch {
        Sketch::Hidden => Json::Null,
        Sketch::Sections(digests) => json!({ "sections": digests.iter().map(hex::encode).collect::<Vec<_>>() }),
        Sketch::Entries(entries) => json!({ "entries": brief_json(entries) }),
    }
}

/// The content of a file: what no two chunks have in common.
fn file_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Files of one chunk and of several, and what is sent of them.
fn files() -> Vec<Json> {
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

fn responses(recorder: &Recorder) -> Vec<(&'static str, Response)> {
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

fn response_json(response: &Response) -> Json {
    match response {
        Response::Compared { rooms } => {
            let room = |(place, sketch): (&u64, &Sketch)| json!({ "place": place, "sketch": sketch_json(sketch) });
            json!({ "compared": rooms.iter().map(room).collect::<Vec<_>>() })
        }
        Response::Entries { entries } => json!({ "entries": brief_json(entries) }),
        Response::Brought { events, more } => {
            let events: Vec<Json> = events.iter().map(wire_event_json).collect();
            json!({ "brought": events, "more": more })
        }
        Response::Differing { rooms } => {
            json!({ "rooms": rooms.iter().map(RoomId::to_string).collect::<Vec<_>>() })
        }
        Response::Sections { digests } => {
            json!({ "sections": digests.iter().map(hex::encode).collect::<Vec<_>>() })
        }
        Response::Events { events, have, more } => {
            let events: Vec<Json> = events.iter().map(wire_event_json).collect();
            json!({ "events": events, "have": have_json(have), "more": more })
        }
        Response::Contacts { contacts } => {
            let contact = |contact: &Contact| {
                let addresses: Vec<String> = contact.addresses.iter().map(hex::encode).collect();
                json!([contact.server.to_string(), addresses])
            };
            json!({ "contacts": contacts.iter().map(contact).collect::<Vec<Json>>() })
        }
        Response::Slice { slice } => json!({ "slice": hex::encode(slice) }),
        Response::Refused(refused) => json!({ "refused": refused.word() }),
    }
}

fn wire_event_json(event: &WireEvent) -> Json {
    let body = event.body.as_ref().map(hex::encode);
    json!({ "header_block": hex::encode(&event.header), "body_block": body })
}

fn hellos() -> Vec<(&'static str, Hello)> {
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

fn hello_json(hello: &Hello) -> Json {
    json!({
        "wire": hello.wire_versions,
        "rooms": hello.room_versions.iter().map(|version| version.0).collect::<Vec<_>>(),
        "server_name": hello.name.as_ref().map(ServerName::as_str),
        "agent": hello.agent,
        "ext": map_to_json(&hello.ext),
    })
}

/// Gossip messages: each event in its frame, and copies that must not go by its id.
fn gossip_messages(recorder: &Recorder) -> Vec<(String, Option<&'static str>, Vec<u8>)> {
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

fn recorded() -> Json {
    let recorder = record_room();
    let with = |mut json: Json, name: &str, bytes: &[u8]| {
        json["name"] = json!(name);
        json["bytes"] = json!(hex::encode(bytes));
        json
    };
    let refused_event = |(name, header, body): (&str, Vec<u8>, Option<Vec<u8>>)| {
        let error = Event::open(&header, body.as_deref()).expect_err(name);
        json!({
            "name": name,
            "reason": reason(&error),
            "header_block": hex::encode(header),
            "body_block": body.map(hex::encode),
        })
    };
    let refused_value = |(name, bytes): &(&str, &str)| json!({ "name": name, "bytes": bytes });
    let value = |(name, value): (String, Value)| {
        let bytes = hex::encode(encoded(&value));
        json!({ "name": name, "value": to_json(&value), "bytes": bytes })
    };
    let have = |(name, have): (&str, HaveVector)| {
        json!({
            "name": name,
            "entries": have_json(&have),
            "bytes": hex::encode(have.encode()),
            "digest": hex::encode(have.digest()),
        })
    };
    let gossip = |(name, event, bytes): (String, Option<&str>, Vec<u8>)| {
        json!({
            "name": name,
            "event": event,
            "bytes": hex::encode(&bytes),
            "message_id": hex::encode(gossip_message_id(&bytes)),
        })
    };
    let room = recorder.room.outline.room();
    let topics = [room, RoomId::from_hash([0; 32])];
    let topics = topics.map(|room| json!({ "room": room.to_string(), "topic": topic(&room) }));
    let requests = requests(&recorder).into_iter().map(|(name, request)| {
        let bytes = request.encode();
        with(request_json(&request), name, &bytes)
    });
    let responses = responses(&recorder).into_iter().map(|(name, response)| {
        let bytes = response.encode();
        with(response_json(&response), name, &bytes)
    });
    let hellos = hellos().into_iter().map(|(name, hello)| with(hello_json(&hello), name, &hello.encode()));
    json!({
        "room_version": RoomVersion::DRAFT.0,
        "wire_version": WIRE_VERSION,
        "signing_domain": String::from_utf8(SIGNING_DOMAIN.to_vec()).unwrap(),
        "servers": Json::from_iter(recorder.servers.iter().map(server_json)),
        "events": Json::from_iter(recorder.events.iter().map(|event| event_json(event, &recorder.servers))),
        "refused_events": Json::from_iter(refused_events(&recorder).into_iter().map(refused_event)),
        "values": Json::from_iter(values(recorder.event("message").id()).into_iter().map(value)),
        "refused_values": Json::from_iter(SECOND_ENCODINGS.iter().chain(OUTSIDE_PROFILE).map(refused_value)),
        "have_vectors": Json::from_iter(have_vectors(&recorder).into_iter().map(have)),
        "requests": Json::from_iter(requests),
        "responses": Json::from_iter(responses),
        "hellos": Json::from_iter(hellos),
        "gossip_messages": Json::from_iter(gossip_messages(&recorder).into_iter().map(gossip)),
        "topics": topics,
        "files": files(),
    })
}

/// Inputs to begin fuzzing with: what is valid, and some of what is not. (target, name, bytes)
fn seeds(file: &Json) -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let named = |section: &str, field: &str| -> Vec<(String, Vec<u8>)> {
        list(&file[section], |entry| (text(&entry["name"]).to_owned(), unhex(&entry[field])))
    };
    for (name, bytes) in named("values", "bytes") {
        seeds.push(("codec", format!("value {name}"), bytes));
    }
    // Every seventh is enough: a fuzzer finds the others from these.
    for (name, bytes) in named("refused_values", "bytes").into_iter().step_by(7) {
        seeds.push(("codec", format!("refused {name}"), bytes));
    }
    for (section, prefix) in [("events", "event"), ("refused_events", "refused")] {
        for entry in list(&file[section], Json::clone) {
            let name = format!("{prefix} {}", text(&entry["name"]));
            let body = optional(&entry["body_block"], unhex);
            seeds.push(("event", name.clone(), checks::event_input(&unhex(&entry["header_block"]), body.as_deref())));
            if let Some(body) = body {
                seeds.push(("body", name, body));
            }
        }
    }
    for (section, target) in [
        ("have_vectors", "have"),
        ("hellos", "hello"),
        ("requests", "request"),
        ("responses", "response"),
        ("gossip_messages", "gossip"),
    ] {
        for (name, bytes) in named(section, "bytes") {
            let cut = bytes[..bytes.len().saturating_sub(1)].to_vec();
            seeds.push((target, format!("cut {name}"), cut));
            seeds.push((target, name, bytes));
        }
    }
    for (number, server) in list(&file["servers"], Json::clone).into_iter().enumerate() {
        let id = &file["events"][number]["id"];
        for (what, name) in [("origin", &server["origin"]), ("user", &server["user"]), ("id", id)] {
            seeds.push(("names", format!("{what} {number}"), text(name).as_bytes().to_vec()));
        }
    }
    let others = ["alice", "chat.example.org:8080", "@alice:chat.example.org", "@:a", "a..b", "/ipfs/bafyr4i", "中文 "];
    for name in others {
        seeds.push(("names", format!("text {}", hex::encode(name)), name.as_bytes().to_vec()));
    }
    seeds
}

// Verifying. Nothing below makes use of what the recording above has in memory: only of the file.

fn key_of(file: &Json, name: &Json) -> ServerKey {
    let servers = file["servers"].as_array().unwrap();
    let server = servers.iter().find(|server| server["name"] == *name).unwrap();
    ServerKey::from_seed(&unhex_32(&server["seed"]))
}

fn link_from_json(json: &Json) -> Value {
    optional(json, |id| Value::Link(Cid::try_from(text(id)).unwrap())).unwrap_or(Value::Null)
}

fn bytes_from_json(json: &Json) -> Value {
    optional(json, |bytes| Value::Bytes(unhex(bytes))).unwrap_or(Value::Null)
}

/// The eighteen fields as the specification puts them into a list.
fn fields_from_json(header: &Json) -> Vec<Value> {
    vec![
        from_json(&header["version"]),
        link_from_json(&header["room"]),
        bytes_from_json(&header["origin"]),
        bytes_from_json(&header["key"]),
        from_json(&header["lane"]),
        from_json(&header["seq"]),
        link_from_json(&header["self_parent"]),
        Value::List(list(&header["parents"], link_from_json)),
        Value::List(list(&header["state_frontier"], link_from_json)),
        from_json(&header["lamport"]),
        from_json(&header["time_ms"]),
        from_json(&header["sender"]),
        from_json(&header["kind"]),
        from_json(&header["state_key"]),
        from_json(&header["content"]),
        link_from_json(&header["body_cid"]),
        from_json(&header["body_len"]),
        from_json(&header["ext"]),
    ]
}

fn open(entry: &Json) -> Result<Event, EventError> {
    Event::open(&unhex(&entry["header_block"]), optional(&entry["body_block"], unhex).as_deref())
}

fn verify_event(file: &Json, entry: &Json) {
    let name = &entry["name"];
    let key = key_of(file, &entry["server"]);
    let header_block = unhex(&entry["header_block"]);
    let signature = unhex(&entry["signature"]);
    let input = unhex(&entry["signing_input"]);
    let fields = fields_from_json(&entry["header"]);
    let domain = text(&file["signing_domain"]).as_bytes();
    assert_eq!(input, [domain, &encoded(&Value::List(fields.clone()))].concat(), "{name}");
    assert_eq!(key.sign(&input)[..], signature, "{name}");
    assert!(key.origin().verifies(&input, &signature.clone().try_into().unwrap()), "{name}");
    let all = fields.into_iter().chain([Value::Bytes(signature.clone())]).collect();
    assert_eq!(encoded(&Value::List(all)), header_block, "{name}");

    let event = open(entry).unwrap();
    assert_eq!(event.id().to_string(), text(&entry["id"]), "{name}");
    assert_eq!(header_json(event.header()), entry["header"], "{name}");
    assert_eq!(event.signature()[..], signature, "{name}");
    assert_eq!(event.header().origin, key.origin(), "{name}");

    let Some(body_block) = optional(&entry["body_block"], unhex) else {
        assert!(entry["body"].is_null() && entry["header"]["body_cid"].is_null(), "{name}");
        return;
    };
    let body = map_from_json(&entry["body"]["fields"]).with("salt", unhex(&entry["body"]["salt"]));
    assert_eq!(encoded(&body.into()), body_block, "{name}");
    assert_eq!(body_json(&body_block), entry["body"], "{name}");
    assert_eq!(BodyId::of_block(&body_block).to_string(), text(&entry["header"]["body_cid"]), "{name}");
    assert_eq!(body_block.len() as u64, entry["header"]["body_len"], "{name}");
}

fn have_from_json(json: &Json) -> HaveVector {
    let mut vector = HaveVector::new();
    for entry in json.as_array().unwrap() {
        let heads = list(&entry["heads"], |head| {
            (head["seq"].as_u64().unwrap(), text(&head["id"]).parse::<EventId>().unwrap())
        });
        let lane = Lane::from_number(entry["lane"].as_u64().unwrap()).unwrap();
        let have = LaneHave { lowest: entry["lowest"].as_u64().unwrap(), heads };
        vector.set_lane(Origin::from_bytes(unhex_32(&entry["origin"])), lane, have);
    }
    vector
}

fn range_from_json(entry: &Json) -> FileRange {
    FileRange::new(entry["from"].as_u64().unwrap(), entry["len"].as_u64().unwrap()).unwrap()
}

fn request_from_json(entry: &Json) -> Request {
    let room = || text(&entry["room"]).parse::<RoomId>().unwrap();
    match text(&entry["ask"]) {
        "compare" => {
            let pair = |pair: &Json| (tag_from_json(&pair["room"]), unhex(&pair["digest"]).try_into().unwrap());
            Request::Compare { digests: list(&entry["digests"], pair).into_iter().collect() }
        }
        "entries" => {
            let bits = u64::from_be_bytes(unhex(&entry["sections"]).try_into().unwrap());
            Request::Entries { room: tag_from_json(&entry["room"]), sections: Sections::from_bits(bits) }
        }
        "bring" => {
            let stretch = |stretch: &Json| Stretch {
                origin: tag_from_json(&stretch["origin"]),
                lane: Lane::from_number(stretch["lane"].as_u64().unwrap()).unwrap(),
                from: stretch["from"].as_u64().unwrap(),
                to: stretch["to"].as_u64().unwrap(),
            };
            let (stretches, offers) = (list(&entry["stretches"], stretch), entry["offers"].as_bool().unwrap());
            Request::Bring { room: tag_from_json(&entry["room"]), stretches, offers }
        }
        "sections" => Request::Sections { room: room() },
        "pull" => {
            let bits = |sections: &Json| u64::from_be_bytes(unhex(sections).try_into().unwrap());
            let sections = optional(&entry["sections"], bits).map_or(Sections::ALL, Sections::from_bits);
            let state_only = entry.get("state").is_some();
            Request::Pull { room: room(), sections, state_only, have: have_from_json(&entry["have"]) }
        }
        "fetch" => {
            let ids = list(&entry["ids"], |id| text(id).parse::<EventId>().unwrap());
            Request::Fetch { room: room(), ids, have: have_from_json(&entry["have"]) }
        }
        "recent" => {
            Request::Recent { room: room(), known: list(&entry["ids"], |id| text(id).parse::<EventId>().unwrap()) }
        }
        "contacts" => Request::Contacts { room: room() },
        "tell" => Request::Tell { room: room(), events: list(&entry["events"], wire_event_from_json) },
        "ephemeral" => Request::Ephemeral { room: room(), message: unhex(&entry["message"]) },
        "file" => Request::File {
            room: room(),
            file: text(&entry["file"]).parse::<FileId>().unwrap(),
            range: range_from_json(entry),
        },
        other => panic!("a request that asks {other}"),
    }
}

fn tag_from_json(json: &Json) -> Tag {
    Tag::from_bytes(unhex(json).try_into().unwrap())
}

fn brief_from_json(json: &Json) -> Brief {
    let mut brief = Brief::default();
    for entry in json.as_array().unwrap() {
        let heads = list(&entry["heads"], |head| (head["seq"].as_u64().unwrap(), tag_from_json(&head["head"])));
        let lane = Lane::from_number(entry["lane"].as_u64().unwrap()).unwrap();
        let have = BriefLane { lowest: entry["lowest"].as_u64().unwrap(), heads };
        brief.set_lane(tag_from_json(&entry["origin"]), lane, have);
    }
    brief
}

fn sketch_from_json(json: &Json) -> Sketch {
    if let Some(sections) = json.get("sections") {
        let digests: Vec<[u8; 8]> = list(sections, |digest| unhex(digest).try_into().unwrap());
        return Sketch::Sections(Box::new(digests.try_into().unwrap()));
    }
    json.get("entries").map_or(Sketch::Hidden, |entries| Sketch::Entries(brief_from_json(entries)))
}

fn response_from_json(entry: &Json) -> Response {
    if let Some(rooms) = entry.get("compared") {
        let room = |room: &Json| (room["place"].as_u64().unwrap(), sketch_from_json(&room["sketch"]));
        return Response::Compared { rooms: list(rooms, room).into_iter().collect() };
    }
    if let Some(entries) = entry.get("entries") {
        return Response::Entries { entries: brief_from_json(entries) };
    }
    if let Some(brought) = entry.get("brought") {
        let events = list(brought, wire_event_from_json);
        return Response::Brought { events, more: entry["more"].as_bool().unwrap() };
    }
    if let Some(rooms) = entry.get("rooms") {
        return Response::Differing { rooms: list(rooms, |room| text(room).parse::<RoomId>().unwrap()) };
    }
    if let Some(sections) = entry.get("sections") {
        let digests: Vec<[u8; 8]> = list(sections, |digest| unhex(digest).try_into().unwrap());
        return Response::Sections { digests: Box::new(digests.try_into().unwrap()) };
    }
    if let Some(contacts) = entry.get("contacts") {
        let contact = |entry: &Json| Contact {
            server: text(&entry[0]).parse::<Origin>().unwrap(),
            addresses: list(&entry[1], unhex),
        };
        return Response::Contacts { contacts: list(contacts, contact) };
    }
    if let Some(slice) = entry.get("slice") {
        return Response::Slice { slice: unhex(slice) };
    }
    if let Some(word) = entry.get("refused") {
        let all = [
            Refused::UnknownRoom,
            Refused::NotAdmitted,
            Refused::Invited,
            Refused::TooMany,
            Refused::Policy,
            Refused::NotIntroduced,
            Refused::NoFile,
            Refused::Other,
        ];
        return Response::Refused(all.into_iter().find(|refused| refused.word() == text(word)).unwrap());
    }
    Response::Events {
        events: list(&entry["events"], wire_event_from_json),
        have: have_from_json(&entry["have"]),
        more: entry["more"].as_bool().unwrap(),
    }
}

fn wire_event_from_json(entry: &Json) -> WireEvent {
    WireEvent { header: unhex(&entry["header_block"]), body: optional(&entry["body_block"], unhex) }
}

fn hello_from_json(entry: &Json) -> Hello {
    Hello {
        wire_versions: list(&entry["wire"], |version| version.as_u64().unwrap()),
        room_versions: list(&entry["rooms"], |version| RoomVersion(version.as_u64().unwrap())),
        name: optional(&entry["server_name"], |name| text(name).parse::<ServerName>().unwrap()),
        agent: text(&entry["agent"]).to_owned(),
        ext: map_from_json(&entry["ext"]),
    }
}

#[test]
fn vectors_still_verify() {
    let file = file();
    let events = file["events"].as_array().unwrap();
    assert!(events.len() > 20, "the file says something");
    for entry in events {
        verify_event(&file, entry);
    }
}

#[test]
fn the_file_is_what_this_version_would_record() {
    let now = written(&recorded());
    let first = FILE.lines().zip(now.lines()).enumerate().find(|(_, (file, now))| file != now);
    assert!(*FILE == now, "the first difference (line from 0, the file, now): {first:?}");
}

#[test]
fn the_fuzzers_seeds_are_what_this_version_would_record() {
    for (target, name, bytes) in seeds(&file()) {
        let path = seed_path(target, &name);
        let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(kept, bytes, "{}", path.display());
    }
}

#[test]
fn recorded_servers_are_who_their_seeds_say() {
    for server in file()["servers"].as_array().unwrap() {
        let key = ServerKey::from_seed(&unhex_32(&server["seed"]));
        let origin: Origin = text(&server["origin"]).parse().unwrap();
        assert_eq!(key.origin(), origin);
        assert_eq!(origin.as_bytes(), &unhex_32(&server["public_key"]));
        assert_eq!(origin.to_peer_id_bytes()[..], unhex(&server["peer_id"]));
        let user: UserId = text(&server["user"]).parse().unwrap();
        assert_eq!((user.origin, user.localpart.as_str()), (origin, text(&server["name"])));
    }
}

#[test]
fn recorded_verdicts_are_reached_again() {
    let file = file();
    let events = file["events"].as_array().unwrap();
    let mut room = TestRoom::empty(open(&events[0]).unwrap().room());
    for entry in events.iter().filter(|entry| !entry["verdict"].is_null()) {
        assert_eq!(verdict(&room.receive(&open(entry).unwrap())), text(&entry["verdict"]), "{}", entry["name"]);
    }
    let haves = file["have_vectors"].as_array().unwrap();
    let have = haves.iter().find(|have| have["name"] == "the recorded room").unwrap();
    assert_eq!(&have_from_json(&have["entries"]), room.outline.have());
}

#[test]
fn recorded_blocks_that_are_no_events_are_refused_for_their_reasons() {
    for entry in file()["refused_events"].as_array().unwrap() {
        let error = open(entry).expect_err(text(&entry["name"]));
        assert_eq!(reason(&error), text(&entry["reason"]), "{}: {error}", entry["name"]);
    }
}

#[test]
fn recorded_values_have_their_recorded_encodings_and_no_others() {
    let file = file();
    for entry in file["values"].as_array().unwrap() {
        let value = from_json(&entry["value"]);
        assert_eq!(encoded(&value), unhex(&entry["bytes"]), "{}", entry["name"]);
        assert_eq!(codec::decode(&unhex(&entry["bytes"])), Ok(value), "{}", entry["name"]);
    }
    for entry in file["refused_values"].as_array().unwrap() {
        assert!(codec::decode(&unhex(&entry["bytes"])).is_err(), "{}", entry["name"]);
    }
}

#[test]
fn recorded_have_vectors_are_read_written_and_digested() {
    for entry in file()["have_vectors"].as_array().unwrap() {
        let have = have_from_json(&entry["entries"]);
        assert_eq!(have.encode(), unhex(&entry["bytes"]), "{}", entry["name"]);
        assert_eq!(have.digest(), unhex_32(&entry["digest"]), "{}", entry["name"]);
        assert_eq!(HaveVector::decode(&unhex(&entry["bytes"])), Ok(have), "{}", entry["name"]);
    }
}

#[test]
fn recorded_messages_are_read_and_written() {
    let file = file();
    for entry in file["requests"].as_array().unwrap() {
        let (request, bytes) = (request_from_json(entry), unhex(&entry["bytes"]));
        assert_eq!(request.encode(), bytes, "{}", entry["name"]);
        assert_eq!(Request::decode(&bytes), Ok(request), "{}", entry["name"]);
    }
    for entry in file["responses"].as_array().unwrap() {
        let (response, bytes) = (response_from_json(entry), unhex(&entry["bytes"]));
        assert_eq!(response.encode(), bytes, "{}", entry["name"]);
        assert_eq!(Response::decode(&bytes), Ok(response), "{}", entry["name"]);
    }
    for entry in file["hellos"].as_array().unwrap() {
        let (hello, bytes) = (hello_from_json(entry), unhex(&entry["bytes"]));
        assert_eq!(hello.encode(), bytes, "{}", entry["name"]);
        assert_eq!(Hello::decode(&bytes), Ok(hello), "{}", entry["name"]);
    }
}

#[test]
fn recorded_slices_prove_their_ranges_of_recorded_files() {
    for entry in file()["files"].as_array().unwrap() {
        let content = unhex(&entry["content"]);
        let id: FileId = text(&entry["id"]).parse().unwrap();
        assert_eq!(FileId::of_block(&content), id, "{}", entry["name"]);
        for part in entry["slices"].as_array().unwrap() {
            let range = range_from_json(part);
            let expected = content[range.from() as usize..range.end() as usize].to_vec();
            let opened = open_slice(&id, content.len() as u64, range, &unhex(&part["slice"]));
            assert_eq!(opened, Ok(expected), "{}", entry["name"]);
        }
    }
}

#[test]
fn recorded_gossip_goes_by_its_recorded_ids() {
    let file = file();
    let events = file["events"].as_array().unwrap();
    for entry in file["gossip_messages"].as_array().unwrap() {
        let bytes = unhex(&entry["bytes"]);
        assert_eq!(gossip_message_id(&bytes), unhex_32(&entry["message_id"]), "{}", entry["name"]);
        let Some(event) = events.iter().find(|event| event["name"] == entry["event"]) else {
            assert!(entry["event"].is_null(), "{}", entry["name"]);
            continue;
        };
        let event = open(event).unwrap();
        assert_eq!(GossipFrame::decode(&bytes).unwrap().verify(), Ok(event.clone()), "{}", entry["name"]);
        assert_eq!(GossipFrame::encode(&event), bytes, "{}", entry["name"]);
        assert_eq!(&unhex_32(&entry["message_id"]), event.id().hash(), "{}", entry["name"]);
    }
}

#[test]
fn recorded_topics_are_their_rooms() {
    for entry in file()["topics"].as_array().unwrap() {
        let room: RoomId = text(&entry["room"]).parse().unwrap();
        assert_eq!(topic(&room), text(&entry["topic"]));
    }
}

#[test]
fn another_implementation_reads_every_recorded_block() {
    use ipld_core::ipld::Ipld;
    let file = file();
    for entry in file["events"].as_array().unwrap() {
        for block in [Some(unhex(&entry["header_block"])), optional(&entry["body_block"], unhex)].into_iter().flatten()
        {
            let ipld: Ipld = serde_ipld_dagcbor::from_slice(&block).unwrap();
            assert_eq!(serde_ipld_dagcbor::to_vec(&ipld).unwrap(), block, "{}", entry["name"]);
        }
    }
}
