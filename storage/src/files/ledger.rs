//! How many bytes of files are here, in all and for each room, and which files are to go. Everything in it is in memory, and nobody
//! holds it while a disk works.
//!
//! A file is counted once, in full from the moment that it begins to come, for the room that it first came here for. Where that
//! room names it no longer, it is counted for another one that does.

use std::collections::{BTreeMap, BTreeSet};

use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_protocol::limits::MAX_FILE_BYTES;

use super::FileError;
use super::named::Step;

/// Files that were named and that nobody has asked about yet. With more of them, whoever asks is told to look for himself.
const MOST_FRESH: usize = 4096;

/// How many bytes of files a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Of one file.
    pub file: u64,
    /// Of all files of one room.
    pub room: u64,
    /// Of all files.
    pub server: u64,
}

impl FileLimits {
    /// As many as there is space for.
    pub const NONE: FileLimits = FileLimits { file: u64::MAX, room: u64::MAX, server: u64::MAX };
}

/// Files that messages name since somebody asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewlyNamed {
    /// The files, with the rooms.
    pub files: Vec<(RoomId, FileRef)>,
    /// Whether there were more, which are not in the list.
    pub more: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    all: u64,
    rooms: BTreeMap<u32, u64>,
    /// Files of which there are bytes that their records do not speak of any more, each with the number of the time at which that
    /// came about last. These bytes go once it is on disk.
    doomed: BTreeMap<FileId, u64>,
    dooms: u64,
    /// Doomed files of which it is on disk.
    gone: BTreeSet<FileId>,
    /// Files that a message is about to name, and how many messages.
    kept: BTreeMap<FileId, usize>,
    fresh: NewlyNamed,
}

impl Ledger {
    pub(crate) fn add(&mut self, room: u32, size: u64) {
        self.all = self.all.saturating_add(size);
        let of_room = self.rooms.entry(room).or_default();
        *of_room = of_room.saturating_add(size);
    }

    pub(crate) fn subtract(&mut self, room: u32, size: u64) {
        self.all = self.all.saturating_sub(size);
        if let Some(of_room) = self.rooms.get_mut(&room) {
            *of_room = of_room.saturating_sub(size);
        }
    }

    /// Bytes of all files.
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// Bytes of the files that are counted for a room.
    pub(crate) fn of_room(&self, room: u32) -> u64 {
        self.rooms.get(&room).copied().unwrap_or(0)
    }

    /// Whether a file of this size may come to a room, in place of so many bytes that are counted for it.
    pub(crate) fn admit(&self, limits: &FileLimits, room: u32, size: u64, instead: u64) -> Result<(), FileError> {
        let (of_room, all) = (self.of_room(room).saturating_sub(instead), self.all.saturating_sub(instead));
        let most = limits.file.min(MAX_FILE_BYTES);
        if size > most {
            return Err(FileError::TooLarge { limit: most });
        }
        if of_room.saturating_add(size) > limits.room {
            return Err(FileError::RoomQuota { used: of_room, limit: limits.room });
        }
        if all.saturating_add(size) > limits.server {
            return Err(FileError::ServerQuota { used: all, limit: limits.server });
        }
        Ok(())
    }

    /// Takes note of what a batch did, once it is written.
    pub(crate) fn settle(&mut self, room: RoomId, step: Step) {
        for (file, record) in step.gone {
            if let Some(record) = record {
                self.subtract(record.room, record.size);
            }
            self.doom(file);
        }
        for (from, to, size) in step.moved {
            self.subtract(from, size);
            self.add(to, size);
        }
        for file in step.fresh {
            if self.fresh.files.len() < MOST_FRESH {
                self.fresh.files.push((room, file));
            } else {
                self.fresh.more = true;
            }
        }
    }

    /// Something of the file is to go, once it is on disk that its record does not speak of that.
    pub(crate) fn doom(&mut self, file: FileId) {
        self.dooms += 1;
        self.doomed.insert(file, self.dooms);
    }

    /// Files of which something is to go; to be asked for before a flush.
    pub(crate) fn doomed(&self) -> Vec<(FileId, u64)> {
        self.doomed.iter().map(|(file, number)| (*file, *number)).collect()
    }

    pub(crate) fn is_doomed(&self, file: &FileId) -> bool {
        self.doomed.contains_key(file)
    }

    /// It is on disk that something of these files is to go. Not so for one of which more is to go since they were asked for.
    pub(crate) fn flushed(&mut self, doomed: &[(FileId, u64)]) {
        for (file, number) in doomed {
            if self.doomed.get(file) == Some(number) {
                self.doomed.remove(file);
                self.gone.insert(*file);
            }
        }
    }

    /// One of the files whose bytes may go now.
    pub(crate) fn take_gone(&mut self) -> Option<FileId> {
        self.gone.pop_first()
    }

    pub(crate) fn some_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// A message is about to name the file.
    pub(crate) fn keep(&mut self, file: FileId) {
        *self.kept.entry(file).or_default() += 1;
    }

    /// The message is written, or is not to be.
    pub(crate) fn release(&mut self, file: &FileId) {
        if let Some(count) = self.kept.get_mut(file) {
            *count -= 1;
            if *count == 0 {
                self.kept.remove(file);
            }
        }
    }

    pub(crate) fn is_kept(&self, file: &FileId) -> bool {
        self.kept.contains_key(file)
    }

    pub(crate) fn take_fresh(&mut self) -> NewlyNamed {
        std::mem::take(&mut self.fresh)
    }
}
