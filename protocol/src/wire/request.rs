//! Requests and responses about rooms.

use std::collections::BTreeMap;

use crate::codec::{self, Map, Value};
use crate::event::{Event, EventError, UnverifiedEvent, encode_own};
use crate::file::FileRange;
use crate::have::{
    Brief, HaveVector, SECTION_DIGEST_BYTES, SECTIONS, SectionDigests, Sections, ShortDigest, Sketch, Tag,
};
use crate::id::{EventId, FileId, RoomId};
use crate::limits::{
    MAX_EPHEMERAL_BYTES, MAX_EVENTS_PER_RESPONSE, MAX_EVENTS_PER_TELL, MAX_IDS_PER_REQUEST, MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES, MAX_ROOMS_PER_REQUEST, MAX_SLICE_BYTES,
};
use crate::sync::Stretch;
use crate::wire::contacts::{self, Contact};
use crate::wire::{WireError, brief, shape};

/// A question to another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Which of these rooms, with the digests of my have-vectors, do you hold differently?
    Compare {
        /// Rooms and the digests of the asking side.
        digests: BTreeMap<Tag, ShortDigest>,
    },
    /// Send me the entries of these sections of your have-vector, in brief.
    Entries {
        /// The room.
        room: Tag,
        /// The sections.
        sections: Sections,
    },
    /// Send me these stretches of chains.
    Bring {
        /// The room.
        room: Tag,
        /// The stretches; at most [`crate::limits::MAX_STRETCHES_PER_REQUEST`].
        stretches: Vec<Stretch>,
        /// Whether the answering side lacks something that the asking side has, and should ask for it.
        offers: bool,
    },
    /// In which sections does your have-vector of this room differ from mine? The answer lets the asking side find out.
    Sections {
        /// The room.
        room: RoomId,
    },
    /// Send me what I lack of this room.
    Pull {
        /// The room.
        room: RoomId,
        /// Only what is in these sections of the have-vector.
        sections: Sections,
        /// Only the state graph, which is all that a server may read to whose user there is an invitation.
        state_only: bool,
        /// What the asking side holds in these sections.
        have: HaveVector,
    },
    /// Send me these events, and their ancestors down to what I hold.
    Fetch {
        /// The room.
        room: RoomId,
        /// The events.
        ids: Vec<EventId>,
        /// What the asking side holds.
        have: HaveVector,
    },
    /// Send me the end of this room's timeline: the last
    /// [`MAX_RECENT_EVENTS`](crate::limits::MAX_RECENT_EVENTS), whatever they stand on. For a server that has
    /// the state graph and is to show something before it has the rest.
    Recent {
        /// The room.
        room: RoomId,
        /// What the asking side has of them already.
        known: Vec<EventId>,
    },
    /// Here is what was just said in a room that is not gossiped. Without events: there is something for you in this room, such
    /// as an invitation; come and read it.
    Tell {
        /// The room.
        room: RoomId,
        /// Events, in causal order; at most [`MAX_EVENTS_PER_TELL`].
        events: Vec<WireEvent>,
    },
    /// An ephemeral message of the asking server in a room that is not gossiped.
    Ephemeral {
        /// The room.
        room: RoomId,
        /// The message, at most [`MAX_EPHEMERAL_BYTES`].
        message: Vec<u8>,
    },
    /// Which other servers of this room are you connected with, and where are they? For a server that has too little company in
    /// it.
    Contacts {
        /// The room.
        room: RoomId,
    },
    /// Send me this range of a file that the room names.
    File {
        /// The room.
        room: RoomId,
        /// The file.
        file: FileId,
        /// The range.
        range: FileRange,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To [`Request::Compare`]: the rooms that both sides hold, differently, by their places in the question. Rooms of which the
    /// answering side holds nothing are left out.
    Compared {
        /// The rooms, and what the answering side holds of each.
        rooms: BTreeMap<u64, Sketch>,
    },
    /// To [`Request::Entries`].
    Entries {
        /// The sections asked for.
        entries: Brief,
    },
    /// To [`Request::Bring`].
    Brought {
        /// In causal order.
        events: Vec<WireEvent>,
        /// Whether there are more in the stretches asked for.
        more: bool,
    },
    /// To [`Request::Tell`]: the room, if the answering side does not hold yet all that it was told of; nothing
    /// once it does, on disk. To [`Request::Ephemeral`]: nothing, whatever became of it.
    Differing {
        /// The rooms.
        rooms: Vec<RoomId>,
    },
    /// To [`Request::Sections`].
    Sections {
        /// The digests of all sections of the answering side's have-vector.
        digests: Box<SectionDigests>,
    },
    /// To [`Request::Pull`], [`Request::Fetch`] and [`Request::Recent`].
    Events {
        /// In causal order.
        events: Vec<WireEvent>,
        /// What the answering side holds in the sections asked for; nothing in answer to a fetch.
        have: HaveVector,
        /// Whether there is more to ask for.
        more: bool,
    },
    /// To [`Request::Contacts`].
    Contacts {
        /// Some of them, drawn by lot; at most [`MAX_CONTACTS`](crate::limits::MAX_CONTACTS).
        contacts: Vec<Contact>,
    },
    /// To [`Request::File`].
    Slice {
        /// What [`crate::file::open_slice`] takes the range out of.
        slice: Vec<u8>,
    },
    /// The request was not answered.
    Refused(Refused),
}

/// Why a request was not answered. Unknown reasons read as [`Refused::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The answering side is not in the room, or the room is private and the asking side has no business in it.
    UnknownRoom,
    /// The room is a channel that does not admit the asking server.
    NotAdmitted,
    /// A user of the asking server is invited: it may read the state graph, and nothing else yet.
    Invited,
    /// Asked too often; try later.
    TooMany,
    /// The answering side's policy excludes the asking server.
    Policy,
    /// No wire version in common, or the first exchange is still to come.
    NotIntroduced,
    /// The answering side does not have the file, or the room does not name it there.
    NoFile,
    /// Something failed on the answering side, or a reason that this version does not know.
    Other,
}

impl Refused {
    const WORDS: [(Refused, &'static str); 8] = [
        (Refused::UnknownRoom, "unknown-room"),
        (Refused::NotAdmitted, "not-admitted"),
        (Refused::Invited, "invited"),
        (Refused::TooMany, "too-many"),
        (Refused::Policy, "policy"),
        (Refused::NotIntroduced, "not-introduced"),
        (Refused::NoFile, "no-file"),
        (Refused::Other, "other"),
    ];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        Self::WORDS.into_iter().find(|(refused, _)| *refused == self).map_or("other", |(_, word)| word)
    }

    fn from_word(word: &str) -> Self {
        Self::WORDS.into_iter().find(|(_, known)| *known == word).map_or(Refused::Other, |(refused, _)| refused)
    }
}

/// An event as it travels: its header block, and its body block where the sender has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireEvent {
    /// The header block.
    pub header: Vec<u8>,
    /// The body block.
    pub body: Option<Vec<u8>>,
}

impl WireEvent {
    /// The blocks of an event.
    pub fn of(event: &Event) -> Self {
        WireEvent { header: event.header_block().to_vec(), body: event.body_block().map(<[u8]>::to_vec) }
    }

    /// Reads the event.
    ///
    /// # Errors
    /// As [`UnverifiedEvent::decode`].
    pub fn decode(&self) -> Result<UnverifiedEvent, EventError> {
        UnverifiedEvent::decode(&self.header, self.body.as_deref())
    }

    /// How many bytes the blocks take.
    pub fn len(&self) -> usize {
        self.header.len() + self.body.as_ref().map_or(0, Vec::len)
    }

    /// Whether there is nothing in it; never so for an event.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn to_value(&self) -> Value {
        Value::List(vec![self.header.as_slice().into(), self.body.as_deref().into()])
    }

    pub(super) fn from_value(value: &Value) -> Result<Self, WireError> {
        match value.as_list() {
            Some([Value::Bytes(header), Value::Bytes(body)]) => {
                Ok(WireEvent { header: header.clone(), body: Some(body.clone()) })
            }
            Some([Value::Bytes(header), Value::Null]) => Ok(WireEvent { header: header.clone(), body: None }),
            _ => Err(shape("event", "not a header block and a body block")),
        }
    }
}

impl Request {
    /// The request's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        if let Some(list) = brief::request_value(self) {
            return encode_own(&list);
        }
        let map = match self {
            // Said above.
            Request::Compare { .. } | Request::Entries { .. } | Request::Bring { .. } => Map::new(),
            Request::Sections { room } => Map::new().with("ask", "sections").with("room", hash(room.hash())),
            Request::Pull { room, sections, state_only, have } => {
                let mut map = Map::new().with("ask", "pull").with("room", hash(room.hash()));
                if *state_only {
                    map.insert("state", true);
                }
                let map = map.with("have", have.to_value());
                match *sections {
                    Sections::ALL => map,
                    some => map.with("sections", some.bits().to_be_bytes().as_slice()),
                }
            }
            Request::Fetch { room, ids, have } => Map::new()
                .with("ask", "fetch")
                .with("room", hash(room.hash()))
                .with("ids", Value::List(ids.iter().map(|id| hash(id.hash())).collect()))
                .with("have", have.to_value()),
            Request::Recent { room, known } => Map::new()
                .with("ask", "recent")
                .with("room", hash(room.hash()))
                .with("ids", Value::List(known.iter().map(|id| hash(id.hash())).collect())),
            Request::Tell { room, events } => Map::new()
                .with("ask", "tell")
                .with("room", hash(room.hash()))
                .with("events", Value::List(events.iter().map(WireEvent::to_value).collect())),
            Request::Ephemeral { room, message } => {
                Map::new().with("ask", "ephemeral").with("room", hash(room.hash())).with("message", message.as_slice())
            }
            Request::Contacts { room } => Map::new().with("ask", "contacts").with("room", hash(room.hash())),
            Request::File { room, file, range } => Map::new()
                .with("ask", "file")
                .with("room", hash(room.hash()))
                .with("file", hash(file.hash()))
                .with("from", range.from())
                .with("len", range.size()),
        };
        encode_own(&Value::Map(map))
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(WireError::TooLarge(bytes.len(), MAX_REQUEST_BYTES));
        }
        let value = codec::decode(bytes)?;
        if let Some(list) = value.as_list() {
            return brief::read_request(list);
        }
        let map = value.as_map().ok_or(shape("request", "no map"))?;
        let room = || map.get("room").and_then(read_hash).map(RoomId::from_hash).ok_or(shape("request", "no room"));
        let have = || HaveVector::from_value(map.get("have").unwrap_or(&Value::Null)).map_err(WireError::from);
        match map.get("ask").and_then(Value::as_text) {
            Some("sections") => Ok(Request::Sections { room: room()? }),
            Some("pull") => {
                let sections = match map.get("sections") {
                    None => Sections::ALL,
                    Some(bits) => read_sections(bits).ok_or(shape("request", "sections are no eight bytes, or all"))?,
                };
                let state_only = match map.get("state") {
                    None => false,
                    // There is one way to say that everything is wanted: no word about it.
                    Some(word) => word.as_bool().filter(|only| *only).ok_or(shape("request", "state is not `true`"))?,
                };
                Ok(Request::Pull { room: room()?, sections, state_only, have: have()? })
            }
            Some("fetch") => {
                Ok(Request::Fetch { room: room()?, ids: read_ids(map, "ids", MAX_IDS_PER_REQUEST)?, have: have()? })
            }
            Some("recent") => Ok(Request::Recent { room: room()?, known: read_ids(map, "ids", MAX_IDS_PER_REQUEST)? }),
            Some("tell") => {
                let events = bounded(map, "events", MAX_EVENTS_PER_TELL)?;
                let events = events.iter().map(WireEvent::from_value).collect::<Result<_, _>>()?;
                Ok(Request::Tell { room: room()?, events })
            }
            Some("ephemeral") => {
                let message = map.get("message").and_then(Value::as_bytes);
                let message = message.filter(|message| message.len() <= MAX_EPHEMERAL_BYTES);
                let message = message.ok_or(shape("request", "a message is no bytes, or too many"))?;
                Ok(Request::Ephemeral { room: room()?, message: message.to_vec() })
            }
            Some("contacts") => Ok(Request::Contacts { room: room()? }),
            Some("file") => {
                let file = map.get("file").and_then(read_hash).ok_or(shape("request", "no file"))?;
                let range = read_range(map).ok_or(shape("request", "no range that may be asked for"))?;
                Ok(Request::File { room: room()?, file: FileId::from_hash(file), range })
            }
            _ => Err(shape("request", "asks nothing that is known here")),
        }
    }
}

impl Response {
    /// The response's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        if let Some(list) = brief::response_value(self) {
            return encode_own(&list);
        }
        let map = match self {
            // Said above.
            Response::Compared { .. } | Response::Entries { .. } | Response::Brought { .. } => Map::new(),
            Response::Differing { rooms } => {
                Map::new().with("rooms", Value::List(rooms.iter().map(|room| hash(room.hash())).collect()))
            }
            Response::Sections { digests } => Map::new().with("sections", digests_value(digests)),
            Response::Events { events, have, more } => Map::new()
                .with("events", Value::List(events.iter().map(WireEvent::to_value).collect()))
                .with("have", have.to_value())
                .with("more", *more),
            Response::Contacts { contacts } => Map::new().with("contacts", contacts::value(contacts)),
            Response::Slice { slice } => Map::new().with("slice", slice.as_slice()),
            Response::Refused(refused) => Map::new().with("refused", refused.word()),
        };
        encode_own(&Value::Map(map))
    }

    /// Reads a response.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_RESPONSE_BYTES {
            return Err(WireError::TooLarge(bytes.len(), MAX_RESPONSE_BYTES));
        }
        let value = codec::decode(bytes)?;
        if let Some(list) = value.as_list() {
            return brief::read_response(list);
        }
        let map = value.as_map().ok_or(shape("response", "no map"))?;
        if let Some(word) = map.get("refused").and_then(Value::as_text) {
            return Ok(Response::Refused(Refused::from_word(word)));
        }
        if map.get("rooms").is_some() {
            let rooms = read_ids(map, "rooms", MAX_ROOMS_PER_REQUEST)?;
            return Ok(Response::Differing { rooms: rooms.into_iter().map(RoomId::from).collect() });
        }
        if let Some(sections) = map.get("sections") {
            let digests = read_digests(sections).ok_or(shape("response", "the digests of sections are cut"))?;
            return Ok(Response::Sections { digests: Box::new(digests) });
        }
        if let Some(value) = map.get("contacts") {
            return Ok(Response::Contacts { contacts: contacts::read(value)? });
        }
        if let Some(slice) = map.get("slice") {
            let slice = slice.as_bytes().filter(|slice| slice.len() <= MAX_SLICE_BYTES);
            let slice = slice.ok_or(shape("response", "a slice is no bytes, or too many"))?;
            return Ok(Response::Slice { slice: slice.to_vec() });
        }
        let events = bounded(map, "events", MAX_EVENTS_PER_RESPONSE)?;
        Ok(Response::Events {
            events: events.iter().map(WireEvent::from_value).collect::<Result<_, _>>()?,
            have: HaveVector::from_value(map.get("have").unwrap_or(&Value::Null))?,
            more: map
                .get("more")
                .and_then(Value::as_bool)
                .ok_or(shape("response", "no word on whether there is more"))?,
        })
    }
}

fn hash(hash: &[u8; 32]) -> Value {
    hash.as_slice().into()
}

fn read_hash(value: &Value) -> Option<[u8; 32]> {
    value.as_bytes()?.try_into().ok()
}

fn read_range(map: &Map) -> Option<FileRange> {
    FileRange::new(map.get("from")?.as_u64()?, map.get("len")?.as_u64()?)
}

fn read_sections(value: &Value) -> Option<Sections> {
    let bits = Sections::from_bits(u64::from_be_bytes(value.as_bytes()?.try_into().ok()?));
    // All of them have an encoding already: no word about sections.
    Some(bits).filter(|bits| *bits != Sections::ALL)
}

pub(super) fn digests_value(digests: &SectionDigests) -> Value {
    digests.concat().into()
}

pub(super) fn read_digests(value: &Value) -> Option<SectionDigests> {
    let bytes = value.as_bytes().filter(|bytes| bytes.len() == SECTIONS * SECTION_DIGEST_BYTES)?;
    let mut digests = [[0; SECTION_DIGEST_BYTES]; SECTIONS];
    for (digest, bytes) in digests.iter_mut().zip(bytes.chunks_exact(SECTION_DIGEST_BYTES)) {
        digest.copy_from_slice(bytes);
    }
    Some(digests)
}

fn bounded<'a>(map: &'a Map, key: &str, most: usize) -> Result<&'a [Value], WireError> {
    map.get(key)
        .and_then(Value::as_list)
        .filter(|list| list.len() <= most)
        .ok_or(shape("message", "a list is missing or too long"))
}

fn read_ids(map: &Map, key: &str, most: usize) -> Result<Vec<EventId>, WireError> {
    let ids: Option<Vec<_>> = bounded(map, key, most)?.iter().map(read_hash).collect();
    Ok(ids
        .ok_or(shape("message", "a list holds something else than ids"))?
        .into_iter()
        .map(EventId::from_hash)
        .collect())
}
