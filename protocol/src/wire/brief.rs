//! The messages of catching up, which are said so often that their names would cost more than what they say: lists that begin
//! with a number. What stands behind the elements named here is passed over.
//!
//! | request | answer |
//! |---|---|
//! | `[0, tags and digests of rooms]` | `[0, [[place, sketch], …]]` |
//! | `[1, room, sections]` | `[1, entries]` |
//! | `[2, room, stretches, true if the asking side holds more]` | `[2, events, true if there is more]` |

use std::collections::BTreeMap;

use crate::codec::Value;
use crate::event::Lane;
use crate::have::{Brief, SHORT_DIGEST_BYTES, Sections, ShortDigest, Sketch, TAG_BYTES, Tag};
use crate::limits::{MAX_EVENTS_PER_RESPONSE, MAX_NUMBER, MAX_ROOMS_PER_REQUEST, MAX_STRETCHES_PER_REQUEST};
use crate::sync::Stretch;
use crate::wire::request::{digests_value, read_digests};
use crate::wire::{Request, Response, WireError, WireEvent, shape};

/// Comparing rooms.
const COMPARE: u64 = 0;
/// The entries of sections.
const ENTRIES: u64 = 1;
/// Stretches of chains.
const BRING: u64 = 2;

const PAIR_BYTES: usize = TAG_BYTES + SHORT_DIGEST_BYTES;

/// The list of a request; none for one that is a map.
pub(super) fn request_value(request: &Request) -> Option<Value> {
    Some(Value::List(match request {
        Request::Compare { digests } => {
            let pairs = digests.iter().flat_map(|(tag, digest)| tag.as_bytes().iter().chain(digest).copied());
            vec![COMPARE.into(), pairs.collect::<Vec<u8>>().into()]
        }
        Request::Entries { room, sections } => vec![ENTRIES.into(), room.to_value(), sections.bits().into()],
        Request::Bring { room, stretches, offers } => {
            let stretches = stretches.iter().map(stretch_value).collect();
            let mut list = vec![BRING.into(), room.to_value(), Value::List(stretches)];
            if *offers {
                list.push(true.into());
            }
            list
        }
        _ => return None,
    }))
}

/// The list of a response; none for one that is a map.
pub(super) fn response_value(response: &Response) -> Option<Value> {
    Some(Value::List(match response {
        Response::Compared { rooms } => {
            let room = |(place, sketch): (&u64, &Sketch)| Value::List(vec![(*place).into(), sketch_value(sketch)]);
            vec![COMPARE.into(), Value::List(rooms.iter().map(room).collect())]
        }
        Response::Entries { entries } => vec![ENTRIES.into(), entries.to_value()],
        Response::Brought { events, more } => {
            let mut list = vec![BRING.into(), Value::List(events.iter().map(WireEvent::to_value).collect())];
            if *more {
                list.push(true.into());
            }
            list
        }
        _ => return None,
    }))
}

pub(super) fn read_request(list: &[Value]) -> Result<Request, WireError> {
    let malformed = || shape("request", "a list of another form than its number says");
    match (list.first().and_then(Value::as_u64), list.get(1..).unwrap_or_default()) {
        (Some(COMPARE), [pairs, ..]) => Ok(Request::Compare { digests: read_pairs(pairs).ok_or_else(malformed)? }),
        (Some(ENTRIES), [room, sections, ..]) => {
            let room = Tag::from_value(room).ok_or_else(malformed)?;
            let sections = Sections::from_bits(sections.as_u64().ok_or_else(malformed)?);
            Ok(Request::Entries { room, sections })
        }
        (Some(BRING), [room, stretches, rest @ ..]) => {
            let room = Tag::from_value(room).ok_or_else(malformed)?;
            let stretches = stretches.as_list().filter(|list| list.len() <= MAX_STRETCHES_PER_REQUEST);
            let stretches: Option<Vec<Stretch>> = stretches.ok_or_else(malformed)?.iter().map(read_stretch).collect();
            let offers = rest.first() == Some(&Value::Bool(true));
            Ok(Request::Bring { room, stretches: stretches.ok_or_else(malformed)?, offers })
        }
        _ => Err(malformed()),
    }
}

pub(super) fn read_response(list: &[Value]) -> Result<Response, WireError> {
    let malformed = || shape("response", "a list of another form than its number says");
    match (list.first().and_then(Value::as_u64), list.get(1..).unwrap_or_default()) {
        (Some(COMPARE), [rooms, ..]) => {
            let list = rooms.as_list().filter(|list| list.len() <= MAX_ROOMS_PER_REQUEST).ok_or_else(malformed)?;
            let mut rooms = BTreeMap::new();
            for room in list {
                let Some([place, sketch]) = room.as_list() else { return Err(malformed()) };
                let place = place.as_u64().filter(|place| *place < MAX_ROOMS_PER_REQUEST as u64);
                let place = place.ok_or_else(malformed)?;
                if rooms.last_key_value().is_some_and(|(last, _)| *last >= place) {
                    return Err(malformed());
                }
                rooms.insert(place, read_sketch(sketch)?);
            }
            Ok(Response::Compared { rooms })
        }
        (Some(ENTRIES), [entries, ..]) => Ok(Response::Entries { entries: Brief::from_value(entries)? }),
        (Some(BRING), [events, rest @ ..]) => {
            let events = events.as_list().filter(|list| list.len() <= MAX_EVENTS_PER_RESPONSE);
            let events = events.ok_or_else(malformed)?.iter().map(WireEvent::from_value).collect::<Result<_, _>>()?;
            Ok(Response::Brought { events, more: rest.first() == Some(&Value::Bool(true)) })
        }
        _ => Err(malformed()),
    }
}

fn read_pairs(value: &Value) -> Option<BTreeMap<Tag, ShortDigest>> {
    let bytes = value.as_bytes()?;
    if bytes.len() % PAIR_BYTES != 0 || bytes.len() / PAIR_BYTES > MAX_ROOMS_PER_REQUEST {
        return None;
    }
    let mut pairs = BTreeMap::new();
    for pair in bytes.chunks_exact(PAIR_BYTES) {
        let (tag, digest) = pair.split_first_chunk::<TAG_BYTES>()?;
        let tag = Tag::from_bytes(*tag);
        if pairs.last_key_value().is_some_and(|(last, _)| *last >= tag) {
            return None;
        }
        pairs.insert(tag, ShortDigest::try_from(digest).ok()?);
    }
    Some(pairs)
}

/// The last sequence number is told by its distance from the first, which is mostly shorter.
fn stretch_value(stretch: &Stretch) -> Value {
    let Stretch { origin, lane, from, to } = *stretch;
    Value::List(vec![origin.to_value(), lane.number().into(), from.into(), to.saturating_sub(from).into()])
}

fn read_stretch(value: &Value) -> Option<Stretch> {
    let [origin, lane, from, beyond] = value.as_list()? else { return None };
    let from = from.as_u64()?;
    let to = from.checked_add(beyond.as_u64()?).filter(|to| *to <= MAX_NUMBER)?;
    Some(Stretch { origin: Tag::from_value(origin)?, lane: Lane::from_number(lane.as_u64()?)?, from, to })
}

fn sketch_value(sketch: &Sketch) -> Value {
    match sketch {
        Sketch::Hidden => Value::Null,
        Sketch::Sections(digests) => digests_value(digests),
        Sketch::Entries(entries) => entries.to_value(),
    }
}

fn read_sketch(value: &Value) -> Result<Sketch, WireError> {
    Ok(match value {
        Value::Null => Sketch::Hidden,
        Value::Bytes(_) => {
            let digests = read_digests(value).ok_or(shape("response", "the digests of sections are cut"))?;
            Sketch::Sections(Box::new(digests))
        }
        entries => Sketch::Entries(Brief::from_value(entries)?),
    })
}
