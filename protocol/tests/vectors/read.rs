//! How the file is read. Nothing here makes use of what recording has in memory: only of the file.

use cid::Cid;
use rocketmesh_protocol::codec::Value;
use rocketmesh_protocol::event::{Event, EventError, Lane, RoomVersion};
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::have::{Brief, BriefLane, HaveVector, LaneHave, Sections, Sketch, Tag};
use rocketmesh_protocol::id::{EventId, FileId, RoomId};
use rocketmesh_protocol::identity::{Origin, ServerKey, ServerName};
use rocketmesh_protocol::sync::Stretch;
use rocketmesh_protocol::wire::{Contact, Hello, Refused, Request, Response, WireEvent};
use serde_json::Value as Json;

use super::in_json::{from_json, list, map_from_json, optional, text, unhex, unhex_32};

pub(crate) fn key_of(file: &Json, name: &Json) -> ServerKey {
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
pub(crate) fn fields_from_json(header: &Json) -> Vec<Value> {
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

pub(crate) fn open(entry: &Json) -> Result<Event, EventError> {
    Event::open(&unhex(&entry["header_block"]), optional(&entry["body_block"], unhex).as_deref())
}

pub(crate) fn have_from_json(json: &Json) -> HaveVector {
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

pub(crate) fn range_from_json(entry: &Json) -> FileRange {
    FileRange::new(entry["from"].as_u64().unwrap(), entry["len"].as_u64().unwrap()).unwrap()
}

pub(crate) fn request_from_json(entry: &Json) -> Request {
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

pub(crate) fn response_from_json(entry: &Json) -> Response {
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

pub(crate) fn hello_from_json(entry: &Json) -> Hello {
    Hello {
        wire_versions: list(&entry["wire"], |version| version.as_u64().unwrap()),
        room_versions: list(&entry["rooms"], |version| RoomVersion(version.as_u64().unwrap())),
        name: optional(&entry["server_name"], |name| text(name).parse::<ServerName>().unwrap()),
        agent: text(&entry["agent"]).to_owned(),
        ext: map_from_json(&entry["ext"]),
    }
}
