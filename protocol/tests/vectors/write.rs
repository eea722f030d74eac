//! How what is recorded is written in JSON.

use rocketmesh_protocol::codec::{self, Value};
use rocketmesh_protocol::event::{Body, EventError, Header, Lane};
use rocketmesh_protocol::have::{Brief, BriefLane, HaveVector, LaneHave, Sections, Sketch, Tag};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::{Localpart, Origin, ServerName};
use rocketmesh_protocol::receipt::{Misplaced, Receipt};
use rocketmesh_protocol::sync::Stretch;
use rocketmesh_protocol::wire::{Contact, Hello, Request, Response, WireEvent};
use serde_json::{Value as Json, json};

use super::in_json::{map_to_json, texts};
use super::record::Recorded;
use crate::support::{Server, fields_of, signing_input};

pub(crate) fn header_json(header: &Header) -> Json {
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

pub(crate) fn body_json(block: &[u8]) -> Json {
    let value = codec::decode(block).unwrap();
    let salt = value.as_map().unwrap().get("salt").and_then(Value::as_bytes).unwrap();
    json!({ "salt": hex::encode(salt), "fields": map_to_json(Body::decode(block).unwrap().fields()) })
}

pub(crate) fn verdict(receipt: &Receipt) -> String {
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
pub(crate) fn reason(error: &EventError) -> String {
    match error {
        EventError::Codec(_) => "encoding".to_owned(),
        EventError::Header { field, .. } => format!("header: {field}"),
        EventError::BodyShape => "body: shape".to_owned(),
        EventError::BodyMismatch => "body: not the one named".to_owned(),
        EventError::Signature => "signature".to_owned(),
        other => panic!("no vector fails by {other}"),
    }
}

pub(crate) fn event_json(recorded: &Recorded, servers: &[Server]) -> Json {
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

pub(crate) fn server_json(server: &Server) -> Json {
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

pub(crate) fn have_json(have: &HaveVector) -> Json {
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

pub(crate) fn request_json(request: &Request) -> Json {
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

pub(crate) fn response_json(response: &Response) -> Json {
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

pub(crate) fn hello_json(hello: &Hello) -> Json {
    json!({
        "wire": hello.wire_versions,
        "rooms": hello.room_versions.iter().map(|version| version.0).collect::<Vec<_>>(),
        "server_name": hello.name.as_ref().map(ServerName::as_str),
        "agent": hello.agent,
        "ext": map_to_json(&hello.ext),
    })
}
