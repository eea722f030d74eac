//! What the ordered bytes say of files: what is here of each, and which messages name it.

use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::id::{EventId, FileId};
use rocketmesh_protocol::limits::MAX_FILE_BYTES;

use crate::error::StoreError;
use crate::layout;

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
    pub(crate) fn encode(&self) -> Vec<u8> {
        let map = Map::new()
            .with("size", self.size)
            .with("room", u64::from(self.room))
            .with("since", self.since_ms)
            .with("have", self.have.as_ref().map(|have| have.0.as_slice()));
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
            Some(FileRecord {
                size,
                room: u32::try_from(map.get("room")?.as_u64()?).ok()?,
                since_ms: map.get("since")?.as_u64()?,
                have,
            })
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

/// The file, the room's number and the event of such a place.
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
            let record = FileRecord { size, room: 7, since_ms: 1_700_000_000_000, have };
            let read = FileRecord::decode(&record.encode());
            assert_eq!(read.ok(), Some(record));
        }
        for damaged in [&b""[..], b"?", &[0xa0]] {
            assert!(FileRecord::decode(damaged).is_err());
        }
    }
}
