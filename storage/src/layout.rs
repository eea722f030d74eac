//! Where things stand in the ordered bytes. One tree holds every index, because only a batch within one tree is atomic.
//!
//! | prefix | key | value |
//! |---|---|---|
//! | `m` | room | number, version, participation, count, tips |
//! | `e` | event id | verdict, header block, body block |
//! | `o` | room number, place, lamport, origin, id | nothing: accepted and withheld events in room order |
//! | `d` | room number, sighted id, id | nothing: what events came after and is not here, by which their places will change |
//! | `c` | room number, origin, lane, seq, id | nothing: every chain |
//! | `h` | room number, origin, lane | lowest and heads: the have-vector |
//! | `w` | room number, id | what a held event waits for, and the event |
//! | `l` | position | the local log |
//! | `p` | room number, hash | a piece of a snapshot of the room's state |
//! | `n` | room number | the snapshot: where it was taken, what was held then, the hashes of its pieces |
//! | `x` | event id | what is noted of an event: body erased, body expired, came late |
//! | `b` | room number, id | nothing: events whose bodies are missing and wanted |
//! | `t` | room number, target, kind, hash of the claimed author, id | nothing: allowed edits and redactions by what they name |
//! | `f` | file id | what is here of a file |
//! | `g` | room number, file id, event id | the size: which files a room names, and which of its messages name each |
//! | `u` | file id, room number, event id | nothing: the same by files |
//! | `v` | file id, room number, event id | nothing: which withheld messages name a file |
//! | `s` | name | settings of the node |
//! | `r` | name | records of whoever stands beside the engine |
//!
//! Rooms have short numbers so that a long index does not repeat 32 bytes in each key. Integers in keys are big-endian, so
//! that their order is the keys'.

use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::{Lane, OrderKey, RoomVersion, UnverifiedEvent};
use rocketmesh_protocol::have::{HaveVector, LaneHave};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::room::Tips;
use rocketmesh_protocol::wire::WireEvent;

use crate::error::StoreError;
use crate::store::{HeldEvent, LogEntry, LogKind, Participation, StoredEvent, Verdict};

pub(crate) const ROOM: u8 = b'm';
pub(crate) const EVENT: u8 = b'e';
pub(crate) const ORDER: u8 = b'o';
pub(crate) const SIGHTED: u8 = b'd';
pub(crate) const CHAIN: u8 = b'c';
pub(crate) const HAVE: u8 = b'h';
pub(crate) const HELD: u8 = b'w';
pub(crate) const LOG: u8 = b'l';
pub(crate) const SETTING: u8 = b's';
pub(crate) const RECORD: u8 = b'r';
pub(crate) const PIECE: u8 = b'p';
pub(crate) const SNAPSHOT: u8 = b'n';
pub(crate) const MARKS: u8 = b'x';
pub(crate) const WANTED: u8 = b'b';
pub(crate) const ALTERATION: u8 = b't';
pub(crate) const FILE: u8 = b'f';
pub(crate) const NAMED: u8 = b'g';
pub(crate) const USED: u8 = b'u';
pub(crate) const HIDDEN: u8 = b'v';

/// What is kept of a room beside its events and its have-vector.
pub(crate) struct RoomRecord {
    pub(crate) number: u32,
    pub(crate) version: RoomVersion,
    pub(crate) participation: Participation,
    pub(crate) events: u64,
    pub(crate) timeline_tips: Tips,
    pub(crate) state_tips: Tips,
}

pub(crate) fn key(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(prefix);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

pub(crate) fn room_key(room: &RoomId) -> Vec<u8> {
    key(ROOM, &[room.hash()])
}

pub(crate) fn event_key(id: &EventId) -> Vec<u8> {
    key(EVENT, &[id.hash()])
}

/// What comes before a room's entries in an index.
pub(crate) fn room_prefix(prefix: u8, room: u32) -> Vec<u8> {
    key(prefix, &[&room.to_be_bytes()])
}

pub(crate) fn order_key(room: u32, order: &OrderKey) -> Vec<u8> {
    let numbers = [order.place.to_be_bytes(), order.lamport.to_be_bytes()].concat();
    key(ORDER, &[&room.to_be_bytes(), &numbers, order.origin.as_bytes(), order.id.hash()])
}

/// Where is listed that `by` came after `sighted`, which is not here.
pub(crate) fn sighted_key(room: u32, sighted: &EventId, by: &EventId) -> Vec<u8> {
    key(SIGHTED, &[&room.to_be_bytes(), sighted.hash(), by.hash()])
}

pub(crate) fn sighted_prefix(room: u32, sighted: &EventId) -> Vec<u8> {
    key(SIGHTED, &[&room.to_be_bytes(), sighted.hash()])
}

/// The event that came after another one.
pub(crate) fn read_sighted_key(key: &[u8]) -> Option<EventId> {
    Some(EventId::from_hash(array(key, 37)?))
}

pub(crate) fn lane_prefix(prefix: u8, room: u32, origin: Origin, lane: Lane) -> Vec<u8> {
    key(prefix, &[&room.to_be_bytes(), origin.as_bytes(), &[lane.number() as u8]])
}

pub(crate) fn chain_key(room: u32, origin: Origin, lane: Lane, seq: u64, id: Option<&EventId>) -> Vec<u8> {
    let mut key = lane_prefix(CHAIN, room, origin, lane);
    key.extend_from_slice(&seq.to_be_bytes());
    if let Some(id) = id {
        key.extend_from_slice(id.hash());
    }
    key
}

pub(crate) fn held_key(room: u32, id: &EventId) -> Vec<u8> {
    key(HELD, &[&room.to_be_bytes(), id.hash()])
}

pub(crate) fn wanted_key(room: u32, id: &EventId) -> Vec<u8> {
    key(WANTED, &[&room.to_be_bytes(), id.hash()])
}

pub(crate) fn log_key(position: u64) -> Vec<u8> {
    key(LOG, &[&position.to_be_bytes()])
}

pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} cannot be read"))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

pub(crate) fn read_order_key(key: &[u8]) -> Option<OrderKey> {
    Some(OrderKey {
        place: u64::from_be_bytes(array(key, 5)?),
        lamport: u64::from_be_bytes(array(key, 13)?),
        origin: Origin::from_bytes(array(key, 21)?),
        id: EventId::from_hash(array(key, 53)?),
    })
}

pub(crate) fn read_chain_key(key: &[u8]) -> Option<(u64, EventId)> {
    Some((u64::from_be_bytes(array(key, 38)?), EventId::from_hash(array(key, 46)?)))
}

pub(crate) fn read_lane_key(key: &[u8]) -> Option<(Origin, Lane)> {
    Some((Origin::from_bytes(array(key, 5)?), Lane::from_number(u64::from(*key.get(37)?))?))
}

/// `[verdict][header length, 4 bytes][header][body]`; a body of length 0 is a missing one, since none is empty.
pub(crate) fn write_event(header: &[u8], body: Option<&[u8]>, verdict: Verdict) -> Vec<u8> {
    let body = body.unwrap_or_default();
    let mut record = Vec::with_capacity(5 + header.len() + body.len());
    record.push(verdict.number());
    record.extend_from_slice(&(header.len() as u32).to_be_bytes());
    record.extend_from_slice(header);
    record.extend_from_slice(body);
    record
}

/// The verdict, the header block, and the body block if it is here.
pub(crate) fn split_event(record: &[u8]) -> Option<(Verdict, &[u8], Option<&[u8]>)> {
    let verdict = Verdict::from_number(u64::from(*record.first()?))?;
    let len = u32::from_be_bytes(array(record, 1)?) as usize;
    let (header, body) = record.get(5..)?.split_at_checked(len)?;
    Some((verdict, header, Some(body).filter(|body| !body.is_empty())))
}

pub(crate) fn read_event(id: &EventId, record: &[u8]) -> Result<StoredEvent, StoreError> {
    let (verdict, header, body) = split_event(record).ok_or_else(|| damaged(&format!("event {id}")))?;
    let event = UnverifiedEvent::decode(header, body)
        .map_err(|error| StoreError::Damaged(format!("event {id}: {error}")))?
        .trust();
    if event.id() != *id {
        return Err(StoreError::Damaged(format!("event {id} has the bytes of {}", event.id())));
    }
    Ok(StoredEvent { event, verdict })
}

pub(crate) fn write_log(entry: &LogEntry) -> Vec<u8> {
    let kind = match entry.kind {
        LogKind::Accepted => 0_u8,
        LogKind::Rejected => 1,
        LogKind::BodyArrived => 2,
        LogKind::Withheld => 3,
        LogKind::Restored => 4,
        LogKind::ArrivedWithheld => 5,
        LogKind::AcceptedLate => 6,
        LogKind::Erased => 7,
        LogKind::Ahead => 8,
    };
    [&[kind], entry.room.hash().as_slice(), entry.event.hash()].concat()
}

pub(crate) fn read_log(key: &[u8], record: &[u8]) -> Result<LogEntry, StoreError> {
    let read = || {
        let kind = match record.first()? {
            0 => LogKind::Accepted,
            1 => LogKind::Rejected,
            2 => LogKind::BodyArrived,
            3 => LogKind::Withheld,
            4 => LogKind::Restored,
            5 => LogKind::ArrivedWithheld,
            6 => LogKind::AcceptedLate,
            7 => LogKind::Erased,
            8 => LogKind::Ahead,
            _ => return None,
        };
        Some(LogEntry {
            position: u64::from_be_bytes(array(key, 1)?),
            kind,
            room: RoomId::from_hash(array(record, 1)?),
            event: EventId::from_hash(array(record, 33)?),
        })
    };
    read().ok_or_else(|| damaged("an entry of the log"))
}

fn encode(map: Map) -> Vec<u8> {
    codec::encode(&Value::Map(map)).expect("what the store builds is shallow and has small numbers")
}

fn id_value(id: &EventId) -> Value {
    id.hash().as_slice().into()
}

fn read_id(value: &Value) -> Option<EventId> {
    Some(EventId::from_hash(value.as_bytes()?.try_into().ok()?))
}

fn pairs_value<'a>(pairs: impl Iterator<Item = (&'a EventId, u64)>) -> Value {
    Value::List(pairs.map(|(id, number)| Value::List(vec![id_value(id), number.into()])).collect())
}

fn read_pairs<C: FromIterator<(EventId, u64)>>(value: &Value) -> Option<C> {
    let pair = |pair: &Value| match pair.as_list()? {
        [id, number] => Some((read_id(id)?, number.as_u64()?)),
        _ => None,
    };
    value.as_list()?.iter().map(pair).collect()
}

pub(crate) fn write_room(record: &RoomRecord) -> Vec<u8> {
    let tips = |tips: &Tips| pairs_value(tips.iter().map(|(id, lamport)| (id, *lamport)));
    encode(
        Map::new()
            .with("number", u64::from(record.number))
            .with("version", record.version.0)
            .with("joined", record.participation == Participation::Joined)
            .with("events", record.events)
            .with("timeline", tips(&record.timeline_tips))
            .with("state", tips(&record.state_tips)),
    )
}

pub(crate) fn read_room(record: &[u8]) -> Result<RoomRecord, StoreError> {
    let read = || {
        let value = codec::decode_own(record).ok()?;
        let map = value.as_map()?;
        let joined = map.get("joined")?.as_bool()?;
        Some(RoomRecord {
            number: u32::try_from(map.get("number")?.as_u64()?).ok()?,
            version: RoomVersion(map.get("version")?.as_u64()?),
            participation: if joined { Participation::Joined } else { Participation::Left },
            events: map.get("events")?.as_u64()?,
            timeline_tips: read_pairs(map.get("timeline")?)?,
            state_tips: read_pairs(map.get("state")?)?,
        })
    };
    read().ok_or_else(|| damaged("the record of a room"))
}

/// Where a snapshot was taken, what was held of the state then, and the hashes of its pieces.
pub(crate) type SnapshotRecord = (EventId, HaveVector, Vec<[u8; 32]>);

pub(crate) fn write_snapshot((cut, have, pieces): &SnapshotRecord) -> Vec<u8> {
    let pieces = pieces.iter().map(|hash| hash.as_slice().into()).collect();
    encode(Map::new().with("cut", id_value(cut)).with("have", have.encode()).with("pieces", Value::List(pieces)))
}

pub(crate) fn read_snapshot(record: &[u8]) -> Option<SnapshotRecord> {
    let value = codec::decode_own(record).ok()?;
    let map = value.as_map()?;
    let pieces = map.get("pieces")?.as_list()?.iter().map(|hash| hash.as_bytes()?.try_into().ok());
    let have = HaveVector::decode(map.get("have")?.as_bytes()?).ok()?;
    Some((read_id(map.get("cut")?)?, have, pieces.collect::<Option<_>>()?))
}

pub(crate) fn write_lane(have: &LaneHave) -> Vec<u8> {
    let heads = pairs_value(have.heads.iter().map(|(seq, id)| (id, *seq)));
    encode(Map::new().with("lowest", have.lowest).with("heads", heads))
}

pub(crate) fn read_lane(record: &[u8]) -> Result<LaneHave, StoreError> {
    let read = || {
        let value = codec::decode_own(record).ok()?;
        let map = value.as_map()?;
        let heads: Vec<(EventId, u64)> = read_pairs(map.get("heads")?)?;
        let heads = heads.into_iter().map(|(id, seq)| (seq, id)).collect();
        Some(LaneHave { lowest: map.get("lowest")?.as_u64()?, heads })
    };
    read().ok_or_else(|| damaged("an entry of a have-vector"))
}

pub(crate) fn write_held(held: &HeldEvent) -> Vec<u8> {
    encode(
        Map::new()
            .with("missing", Value::List(held.missing.iter().map(id_value).collect()))
            .with("header", held.event.header.as_slice())
            .with("body", held.event.body.as_deref()),
    )
}

pub(crate) fn read_held(key: &[u8], record: &[u8]) -> Result<HeldEvent, StoreError> {
    let read = || {
        let value = codec::decode_own(record).ok()?;
        let map = value.as_map()?;
        Some(HeldEvent {
            id: EventId::from_hash(array(key, 5)?),
            missing: map.get("missing")?.as_list()?.iter().map(read_id).collect::<Option<_>>()?,
            event: WireEvent {
                header: map.get("header")?.as_bytes()?.to_vec(),
                body: map.get("body")?.as_bytes().map(<[u8]>::to_vec),
            },
        })
    };
    read().ok_or_else(|| damaged("a held event"))
}
