//! Recorded vectors: what every version of this protocol, in any language, must write and read in exactly these bytes.
//!
//! `vectors/README.md` explains the file, and how to record it anew together with the seeds of the fuzzers.
#![allow(clippy::unwrap_used, missing_docs)]
// Tests read and record files of the tree; the protocol itself does neither.
#![allow(clippy::disallowed_methods)]

#[path = "support/fuzz_checks.rs"]
mod checks;
#[path = "vectors/in_json.rs"]
mod in_json;
#[path = "vectors/messages.rs"]
mod messages;
#[path = "vectors/read.rs"]
mod read;
#[path = "vectors/record.rs"]
mod record;
mod support;
#[path = "vectors/write.rs"]
mod write;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use in_json::{encoded, from_json, list, map_from_json, optional, text, to_json, unhex, unhex_32, written};
use messages::{files, gossip_messages, have_vectors, hellos, requests, responses};
use read::{
    fields_from_json, have_from_json, hello_from_json, key_of, open, range_from_json, request_from_json,
    response_from_json,
};
use record::{record_room, refused_events, values};
use rocketmesh_protocol::codec::{self, Value};
use rocketmesh_protocol::event::{Event, RoomVersion, SIGNING_DOMAIN};
use rocketmesh_protocol::file::open_slice;
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{BodyId, FileId, RoomId};
use rocketmesh_protocol::identity::{Origin, ServerKey, UserId};
use rocketmesh_protocol::wire::{GossipFrame, Hello, Request, Response, WIRE_VERSION, gossip_message_id, topic};
use serde_json::{Value as Json, json};
use support::refused::{OUTSIDE_PROFILE, SECOND_ENCODINGS};
use support::room::TestRoom;
use write::{
    body_json, event_json, have_json, header_json, hello_json, reason, request_json, response_json, server_json,
    verdict,
};

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
