//! What the ordered bytes say of files: what is here of each, and which messages name it.

use std::collections::BTreeSet;

use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::id::{EventId, FileId};
use rocketmesh_protocol::limits::MAX_FILE_BYTES;

use crate::error::StoreError;
use crate::layout;

/// Rooms by which one file is held, at most: in a room beyond them this server sends it to nobody, and others of the room do.
const MOST_ROOMS: usize = 256;

/// Which ranges of a file have come, by their numbers: bits, the lowest of the first byte first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<u8>);

/// What is here of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRecord {
    /// Its size in bytes; of a file that is not whole, what a message says.
    pub(crate) size: u64,
    /// The number of the room that it is counted for.
    pub(crate) room: u32,
    /// Since when it is here, by the node's clock in milliseconds.
    pub(crate) since_ms: u64,
    /// What has come of it; none if it is whole.
    pub(crate) have: Option<Ranges>,
    /// The numbers of the rooms by which it is held: a user brought it there, or a server of the room sent some of it.
    pub(crate) by: BTreeSet<u32>,
    /// When it was found that only withheld messages name it.
    pub(crate) hidden_ms: Option<u64>,
}

impl Ranges {
    /// None of the ranges of a file of this size.
    pub(crate) fn none_of(size: u64) -> Self {
        Ranges(vec![0; FileRange::count(size).div_ceil(8) as usize])
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let byte = usize::try_from(number / 8).ok().and_then(|at| self.0.get(at));
        byte.is_some_and(|byte| byte & (1 << (number % 8)) != 0)
    }

    pub(crate) fn insert(&mut self, number: u64) {
        let byte = usize::try_from(number / 8).ok().and_then(|at| self.0.get_mut(at));
        if let Some(byte) = byte {
            *byte |= 1 << (number % 8);
        }
    }

    /// How many bytes of a file of this size have come.
    pub(crate) fn bytes(&self, size: u64) -> u64 {
        let have = (0..FileRange::count(size)).filter(|number| self.contains(*number));
        have.filter_map(|number| FileRange::numbered(number, size)).map(|range| range.size()).sum()
    }
}

impl FileRecord {
    /// Notes that the file is held by a room. Returns whether that is new.
    pub(crate) fn held_by(&mut self, room: u32) -> bool {
        self.by.len() < MOST_ROOMS && self.by.insert(room)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let map = Map::new()
            .with("size", self.size)
            .with("room", u64::from(self.room))
            .with("since", self.since_ms)
            .with("have", self.have.as_ref().map(|have| have.0.as_slice()))
            .with("by", Value::List(self.by.iter().map(|room| Value::from(u64::from(*room))).collect()))
            .with("hidden", self.hidden_ms);
        codec::encode(&Value::Map(map)).expect("what the store builds is shallow and has small numbers")
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, StoreError> {
        let read = || {
            let value = codec::decode_own(record).ok()?;
            let map = value.as_map()?;
            let size = map.get("size")?.as_u64().filter(|size| (1..=MAX_FILE_BYTES).contains(size))?;
            let have = match map.get("have")? {
                Value::Null => None,
                have => Some(Ranges(have.as_bytes()?.to_vec())),
            };
            if have.as_ref().is_some_and(|have| have.0.len() != Ranges::none_of(size).0.len()) {
                return None;
            }
            let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
            let room = number(map.get("room")?)?;
            let by = match map.get("by") {
                Some(by) => by.as_list()?.iter().map(number).collect::<Option<_>>()?,
                // As builds wrote it that kept no account of that.
                None => BTreeSet::from([room]),
            };
            let hidden_ms = match map.get("hidden") {
                None | Some(Value::Null) => None,
                Some(since) => Some(since.as_u64()?),
            };
            Some(FileRecord { size, room, since_ms: map.get("since")?.as_u64()?, have, by, hidden_ms })
        };
        read().ok_or_else(|| layout::damaged("the record of a file"))
    }
}

pub(crate) fn file_key(file: &FileId) -> Vec<u8> {
    layout::key(layout::FILE, &[file.hash()])
}

/// Before everything that is listed of a file in a room.
pub(crate) fn named_prefix(room: u32, file: &FileId) -> Vec<u8> {
    layout::key(layout::NAMED, &[&room.to_be_bytes(), file.hash()])
}

/// Where a room's list of files has that a message names one; the value is the size that it says.
pub(crate) fn named_key(room: u32, file: &FileId, event: &EventId) -> Vec<u8> {
    layout::key(layout::NAMED, &[&room.to_be_bytes(), file.hash(), event.hash()])
}

/// The file and the event of such a place.
pub(crate) fn read_named_key(key: &[u8]) -> Option<(FileId, EventId)> {
    let file = key.get(5..37)?.try_into().ok()?;
    let event = key.get(37..)?.try_into().ok()?;
    Some((FileId::from_hash(file), EventId::from_hash(event)))
}

pub(crate) fn read_size(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// Before everything that names a file, in any room or in one.
pub(crate) fn used_prefix(file: &FileId, room: Option<u32>) -> Vec<u8> {
    match room {
        Some(room) => layout::key(layout::USED, &[file.hash(), &room.to_be_bytes()]),
        None => layout::key(layout::USED, &[file.hash()]),
    }
}

/// Where it stands that a message of a room names a file.
pub(crate) fn used_key(file: &FileId, room: u32, event: &EventId) -> Vec<u8> {
    layout::key(layout::USED, &[file.hash(), &room.to_be_bytes(), event.hash()])
}

/// Before every withheld message that names a file.
pub(crate) fn hidden_prefix(file: &FileId, room: Option<u32>) -> Vec<u8> {
    in_hidden(used_prefix(file, room))
}

/// Where it stands that a withheld message of a room names a file.
pub(crate) fn hidden_key(file: &FileId, room: u32, event: &EventId) -> Vec<u8> {
    in_hidden(used_key(file, room, event))
}

/// The same place in the list of withheld messages.
fn in_hidden(mut key: Vec<u8>) -> Vec<u8> {
    key[0] = layout::HIDDEN;
    key
}

/// The file, the room's number and the event of a place in either list.
pub(crate) fn read_used_key(key: &[u8]) -> Option<(FileId, u32, EventId)> {
    let file = key.get(1..33)?.try_into().ok()?;
    let room = key.get(33..37)?.try_into().ok()?;
    let event = key.get(37..)?.try_into().ok()?;
    Some((FileId::from_hash(file), u32::from_be_bytes(room), EventId::from_hash(event)))
}

/// The file whose record stands at this key.
pub(crate) fn read_file_key(key: &[u8]) -> Option<FileId> {
    Some(FileId::from_hash(key.get(1..)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use rocketmesh_protocol::limits::FILE_RANGE_BYTES;

    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let size = 20 * FILE_RANGE_BYTES + 5;
        let mut have = Ranges::none_of(size);
        assert_eq!(have.bytes(size), 0);
        for number in [0, 7, 8, 20] {
            have.insert(number);
        }
        // Beyond the end there is nothing to have.
        have.insert(24);
        have.insert(u64::MAX);
        assert!(have.contains(20) && !have.contains(19) && !have.contains(u64::MAX));
        assert_eq!(have.bytes(size), 3 * FILE_RANGE_BYTES + 5);
        for have in [Some(have), None] {
            let (by, hidden_ms) = (BTreeSet::from([0, 7, u32::MAX]), have.is_some().then_some(1_700_000_000_001));
            let record = FileRecord { size, room: 7, since_ms: 1_700_000_000_000, have, by, hidden_ms };
            let read = FileRecord::decode(&record.encode());
            assert_eq!(read.ok(), Some(record));
        }
        for damaged in [&b""[..], b"?", &[0xa0]] {
            assert!(FileRecord::decode(damaged).is_err());
        }
    }
}
