//! A whole store as one stream, written while the store is in use and read back into an empty one.
//!
//! The stream is a line of magic and then records, each four bytes of length (big-endian) and a DAG-CBOR map. Events come in
//! the order of the local log up to its end when the backup began, so that what is written meanwhile is left out whole. The
//! last record holds a BLAKE3 hash of everything before it: a backup that was cut off does not restore.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::room::Outline;

use crate::error::StoreError;
use crate::store::{Batch, EventStore, LogKind, Marks, Participation, StoredEvent, Verdict};

const MAGIC: &[u8] = b"rocketmesh backup 1\n";
/// No record is longer: an event has at most 128 KiB, and what stands beside the engine may keep more of one thing.
const MAX_RECORD: usize = 1024 * 1024;
/// What is around the value of a record of whoever stands beside the engine.
const AROUND: usize = 4 * 1024;
/// A record that a restored store holds: how many entries its log had then. Positions that were remembered before mean other entries.
pub const RESTORED: &str = "restored";
const PAGE: usize = 1024;

/// Why a backup cannot be written or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream failed, or ended early.
    #[error("the backup cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The stream is no backup, or not the one that was written.
    #[error("not a sound backup: {0}")]
    Malformed(&'static str),
    /// The store to restore into holds something.
    #[error("the store to restore into is not empty; choose an empty data directory")]
    NotEmpty,
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rooms.
    pub rooms: u64,
    /// Events.
    pub events: u64,
}

/// Writes the store to `out`. `identity` is the node's secret seed, which makes the backup as secret as the key file.
///
/// # Errors
/// [`BackupError::Store`] or [`BackupError::Io`]; what was written until then does not restore.
pub fn write(store: &EventStore, identity: &[u8; 32], out: &mut dyn Write) -> Result<Summary, BackupError> {
    // Before the log's end: what they know of events is in the backup too, and what they do not know is found out again.
    let records = store.records("")?;
    let end = store.log_end();
    let mut out = Hashing { inner: out, hasher: blake3::Hasher::new() };
    let mut summary = Summary::default();
    out.write_all(MAGIC)?;
    out.record(Map::new().with("identity", identity.as_slice()))?;
    for (room, participation) in store.rooms()? {
        let joined = participation == Participation::Joined;
        out.record(Map::new().with("room", room.hash().as_slice()).with("joined", joined))?;
        summary.rooms += 1;
    }
    for (name, value) in store.settings("")? {
        out.record(Map::new().with("setting", name).with("value", value))?;
    }
    for (name, value) in records {
        // One that is too long is left out: whoever keeps it can do without.
        if name != RESTORED && name.len() + value.len() + AROUND <= MAX_RECORD {
            out.record(Map::new().with("record", name).with("value", value))?;
        }
    }
    // Verdicts as they were at the end: later ones may rest on what is not in the backup.
    let mut verdicts: BTreeMap<EventId, Verdict> = BTreeMap::new();
    let mut position = 0;
    while position < end {
        let entries = store.log_after(position, PAGE)?;
        let Some(last) = entries.last() else { break };
        position = last.position;
        for entry in entries.iter().filter(|entry| entry.position <= end) {
            match entry.kind {
                LogKind::Withheld => verdicts.insert(entry.event, Verdict::Withheld),
                LogKind::Restored => verdicts.insert(entry.event, Verdict::Accepted),
                _ => None,
            };
        }
    }
    let mut position = 0;
    while position < end {
        let entries = store.log_after(position, PAGE)?;
        let Some(last) = entries.last() else { break };
        position = last.position;
        for entry in entries.iter().filter(|entry| entry.position <= end && entry.kind.is_arrival()) {
            let Some(StoredEvent { event, .. }) = store.event(&entry.event)? else {
                return Err(StoreError::Damaged(format!("event {} of the log is missing", entry.event)).into());
            };
            let arrived = match entry.kind {
                LogKind::Rejected => Verdict::Rejected,
                LogKind::ArrivedWithheld => Verdict::Withheld,
                _ => Verdict::Accepted,
            };
            let verdict = verdicts.get(&entry.event).copied().unwrap_or(arrived);
            let record = Map::new().with("header", event.header_block()).with("verdict", u64::from(verdict.number()));
            let marks = store.marks(&entry.event)?;
            let record = match marks.bits() {
                0 => record,
                bits => record.with("marks", u64::from(bits)),
            };
            // A body may have gone since the event was read.
            out.record(record.with("body", event.body_block().filter(|_| !marks.gone())))?;
            summary.events += 1;
        }
    }
    let hash = *out.hasher.finalize().as_bytes();
    out.record(Map::new().with("events", summary.events).with("hash", hash.as_slice()))?;
    out.inner.flush()?;
    Ok(summary)
}

/// Reads a backup into an empty store and returns the node's secret seed. Every signature is checked again. `progress` is
/// told how many events are in.
///
/// # Errors
/// [`BackupError`]; the store then holds a part and is to be thrown away.
pub fn restore(
    store: &EventStore,
    input: &mut dyn Read,
    mut progress: impl FnMut(u64),
) -> Result<([u8; 32], Summary), BackupError> {
    if store.log_end() != 0 {
        return Err(BackupError::NotEmpty);
    }
    let mut input = Records { inner: input, hasher: blake3::Hasher::new() };
    input.magic()?;
    let mut identity = None;
    let mut participation: BTreeMap<RoomId, Participation> = BTreeMap::new();
    let mut pending: BTreeMap<RoomId, Pending> = BTreeMap::new();
    let mut summary = Summary::default();
    loop {
        let before = *input.hasher.finalize().as_bytes();
        let map = input.record()?;
        if let Some(hash) = map.get("hash") {
            let complete = map.get("events").and_then(Value::as_u64) == Some(summary.events);
            if hash.as_bytes() != Some(&before) || !complete {
                return Err(BackupError::Malformed("its hash does not fit"));
            }
            break;
        } else if let Some(seed) = map.get("identity") {
            identity = Some(read_array(seed).ok_or(BackupError::Malformed("its identity is no key"))?);
        } else if let Some(room) = map.get("room") {
            let room = RoomId::from_hash(read_array(room).ok_or(BackupError::Malformed("a room without an id"))?);
            let joined = map.get("joined").and_then(Value::as_bool) == Some(true);
            participation.insert(room, if joined { Participation::Joined } else { Participation::Left });
            summary.rooms += 1;
        } else if let (Some(name), Some(value)) = (map.get("setting"), map.get("value")) {
            let (Some(name), Some(value)) = (name.as_text(), value.as_bytes()) else {
                return Err(BackupError::Malformed("a malformed setting"));
            };
            store.put_setting(name, Some(value))?;
        } else if let (Some(name), Some(value)) = (map.get("record"), map.get("value")) {
            let (Some(name), Some(value)) = (name.as_text(), value.as_bytes()) else {
                return Err(BackupError::Malformed("a malformed record"));
            };
            store.put_records(&[(name.to_owned(), Some(value.to_vec()))])?;
        } else {
            let stored = read_stored(&map)?;
            let room = stored.event.room();
            let version = stored.event.header().version;
            let part = pending.entry(room).or_insert_with(|| Pending {
                outline: Outline::new(room, version),
                events: Vec::new(),
                marked: Vec::new(),
            });
            part.outline.add(&stored.event, stored.verdict != Verdict::Rejected);
            if let Some(bits) = map.get("marks").and_then(Value::as_u64) {
                part.marked.push((stored.event.id(), Marks::from_bits(bits as u8)));
            }
            part.events.push(stored);
            summary.events += 1;
            if summary.events.is_multiple_of(PAGE as u64) {
                for part in pending.values_mut().filter(|part| !part.events.is_empty()) {
                    flush(store, part, &participation)?;
                }
                progress(summary.events);
            }
        }
    }
    for part in pending.values_mut() {
        flush(store, part, &participation)?;
    }
    store.put_records(&[(RESTORED.to_owned(), Some(store.log_end().to_be_bytes().to_vec()))])?;
    store.sync()?;
    progress(summary.events);
    Ok((identity.ok_or(BackupError::Malformed("it holds no identity"))?, summary))
}

/// What was read of a room and is not written yet.
struct Pending {
    outline: Outline,
    events: Vec<StoredEvent>,
    marked: Vec<(EventId, Marks)>,
}

fn flush(
    store: &EventStore,
    part: &mut Pending,
    participation: &BTreeMap<RoomId, Participation>,
) -> Result<(), BackupError> {
    let participation = participation.get(&part.outline.room()).copied().unwrap_or(Participation::Left);
    store.put(&Batch { events: &part.events, marked: &part.marked, ..Batch::of(&part.outline, participation) })?;
    part.events.clear();
    part.marked.clear();
    Ok(())
}

fn read_stored(map: &Map) -> Result<StoredEvent, BackupError> {
    let header = map.get("header").and_then(Value::as_bytes);
    let verdict = map.get("verdict").and_then(Value::as_u64).and_then(Verdict::from_number);
    let (Some(header), Some(verdict)) = (header, verdict) else {
        return Err(BackupError::Malformed("an unknown record"));
    };
    let event = Event::open(header, map.get("body").and_then(Value::as_bytes))
        .map_err(|_| BackupError::Malformed("an event that does not verify"))?;
    Ok(StoredEvent { event, verdict })
}

fn read_array(value: &Value) -> Option<[u8; 32]> {
    value.as_bytes()?.try_into().ok()
}

struct Hashing<'a> {
    inner: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Hashing<'_> {
    fn record(&mut self, map: Map) -> Result<(), BackupError> {
        let bytes = codec::encode(&Value::Map(map)).map_err(|_| BackupError::Malformed("a record has no encoding"))?;
        self.write_all(&(bytes.len() as u32).to_be_bytes())?;
        self.write_all(&bytes)?;
        Ok(())
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Records<'a> {
    inner: &'a mut dyn Read,
    hasher: blake3::Hasher,
}

impl Records<'_> {
    fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.inner.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn magic(&mut self) -> Result<(), BackupError> {
        match self.take(MAGIC.len()) {
            Ok(magic) if magic == MAGIC => Ok(()),
            _ => Err(BackupError::Malformed("it does not begin like one")),
        }
    }

    fn record(&mut self) -> Result<Map, BackupError> {
        let head: [u8; 4] =
            self.take(4)?.try_into().map_err(|_| BackupError::Malformed("a record without a length"))?;
        let len = u32::from_be_bytes(head) as usize;
        if len > MAX_RECORD {
            return Err(BackupError::Malformed("a record that is too long"));
        }
        match codec::decode(&self.take(len)?) {
            Ok(Value::Map(map)) => Ok(map),
            _ => Err(BackupError::Malformed("a record that is no map")),
        }
    }
}
