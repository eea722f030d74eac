//! Which messages name which files, kept in the same batch as the messages.
//!
//! A message names files for as long as its body is here and it was not rejected. The file that nothing names any more goes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::{EventId, FileId, RoomId};

use super::record::{
    FileRecord, file_key, named_key, named_prefix, read_named_key, read_size, read_used_key, used_key, used_prefix,
};
use crate::backend::{Change, Scan, after_prefix};
use crate::error::StoreError;
use crate::layout;
use crate::store::{Batch, EventStore, StoredEvent, Verdict};

/// A file that a room names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The file.
    pub file: FileId,
    /// The first of the messages that name it, by id.
    pub event: EventId,
    /// The size that this message says.
    pub size: u64,
}

/// What a batch changes about which files are named.
#[derive(Debug, Default)]
pub(crate) struct Naming {
    added: Vec<(FileId, EventId, u64)>,
    removed: Vec<(FileId, EventId)>,
    /// Files of messages that are shown from now on.
    shown: Vec<FileRef>,
}

/// What follows from it for the files.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Files that nothing names any more.
    pub(crate) gone: Vec<(FileId, FileRecord)>,
    /// Files that are counted for another room from now on: from which, to which, their sizes.
    pub(crate) moved: Vec<(u32, u32, u64)>,
    pub(crate) shown: Vec<FileRef>,
}

/// The files that a message in the store names: none where it was rejected, or its list of them cannot be read.
pub(crate) fn files_of(stored: &StoredEvent) -> Vec<FileRef> {
    if stored.verdict == Verdict::Rejected { Vec::new() } else { stored.event.files().unwrap_or_default() }
}

impl Naming {
    /// What this batch changes.
    pub(crate) fn of(store: &EventStore, batch: &Batch<'_>) -> Result<Self, StoreError> {
        let mut naming = Naming::default();
        for stored in batch.events {
            naming.add(stored);
        }
        for stored in batch.changed.iter().filter(|stored| stored.verdict == Verdict::Accepted) {
            naming.shown.extend(files_of(stored));
        }
        for stored in batch.stripped {
            let id = stored.event.id();
            // As it still is, with the body that it is about to lose.
            let Some(before) = store.event(&id)? else { continue };
            naming.removed.extend(files_of(&before).into_iter().map(|file| (file.file, id)));
        }
        Ok(naming)
    }

    /// What a body changes that came later than its event.
    pub(crate) fn of_body(stored: &StoredEvent) -> Self {
        let mut naming = Naming::default();
        naming.add(stored);
        naming
    }

    fn add(&mut self, stored: &StoredEvent) {
        let id = stored.event.id();
        for file in files_of(stored) {
            self.added.push((file.file, id, file.size));
            if stored.verdict == Verdict::Accepted {
                self.shown.push(file);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.shown.is_empty()
    }
}

impl EventStore {
    /// Applies a batch of a room together with what it changes about which files are named.
    pub(crate) fn apply_naming(
        &self,
        room: RoomId,
        number: u32,
        naming: Naming,
        mut changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        if naming.is_empty() {
            return self.backend().apply(&changes);
        }
        let mut ledger = self.files().lock();
        let step = self.step(number, naming, &mut changes)?;
        self.backend().apply(&changes)?;
        ledger.settle(room, step);
        Ok(())
    }

    fn step(&self, number: u32, naming: Naming, changes: &mut Vec<Change>) -> Result<Step, StoreError> {
        let mut step = Step { shown: naming.shown, ..Step::default() };
        for (file, event, size) in &naming.added {
            changes.push(Change::Set(named_key(number, file, event), size.to_be_bytes().to_vec()));
            changes.push(Change::Set(used_key(file, number, event), Vec::new()));
        }
        let mut removed: BTreeMap<FileId, BTreeSet<EventId>> = BTreeMap::new();
        for (file, event) in naming.removed {
            changes.push(Change::Remove(named_key(number, &file, &event)));
            changes.push(Change::Remove(used_key(&file, number, &event)));
            removed.entry(file).or_default().insert(event);
        }
        let added: BTreeSet<FileId> = naming.added.iter().map(|(file, ..)| *file).collect();
        for (file, events) in removed.into_iter().filter(|(file, _)| !added.contains(file)) {
            let Some(mut record) = self.file_record(&file)? else { continue };
            let prefix = |room: Option<u32>| used_prefix(&file, room);
            let stays = |(room, event): &(u32, EventId)| *room != number || !events.contains(event);
            // One more than go: if there is any other, it is among them.
            let others = self.users(&prefix(None), events.len() + 1)?;
            let Some((other, _)) = others.into_iter().find(stays) else {
                changes.push(Change::Remove(file_key(&file)));
                step.gone.push((file, record));
                continue;
            };
            let in_room = self.users(&prefix(Some(number)), events.len() + 1)?;
            if record.room == number && !in_room.iter().any(stays) {
                step.moved.push((number, other, record.size));
                record.room = other;
                changes.push(Change::Set(file_key(&file), record.encode()));
            }
        }
        Ok(step)
    }

    /// The rooms and messages that stand below a prefix of [`layout::USED`].
    fn users(&self, prefix: &[u8], limit: usize) -> Result<Vec<(u32, EventId)>, StoreError> {
        let entries = self.backend().scan(&Scan::prefix(prefix, limit))?;
        let user = |(key, _): &(Vec<u8>, Vec<u8>)| read_used_key(key).map(|(_, room, event)| (room, event));
        entries.iter().map(user).collect::<Option<_>>().ok_or_else(|| layout::damaged("who names a file"))
    }

    /// The first room that names the file.
    pub(crate) fn first_room(&self, file: &FileId) -> Result<Option<u32>, StoreError> {
        Ok(self.users(&used_prefix(file, None), 1)?.first().map(|(room, _)| *room))
    }

    /// Whether anything names the file.
    pub(crate) fn is_named(&self, file: &FileId, room: Option<u32>) -> Result<bool, StoreError> {
        Ok(!self.users(&used_prefix(file, room), 1)?.is_empty())
    }

    /// Whether a message of the room names the file, and its body is here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn names_file(&self, room: &RoomId, file: &FileId) -> Result<bool, StoreError> {
        match self.room_number(room) {
            Some(number) => self.is_named(file, Some(number)),
            None => Ok(false),
        }
    }

    /// The messages of a room that name a file, ascending by id: at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn messages_with_file(&self, room: &RoomId, file: &FileId, limit: usize) -> Result<Vec<EventId>, StoreError> {
        let Some(number) = self.room_number(room) else { return Ok(Vec::new()) };
        let users = self.users(&used_prefix(file, Some(number)), limit)?;
        Ok(users.into_iter().map(|(_, event)| event).collect())
    }

    /// The files that a room names, each once, ascending by id, from just after `after`: at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn files_of_room(
        &self,
        room: &RoomId,
        after: Option<&FileId>,
        limit: usize,
    ) -> Result<Vec<NamedFile>, StoreError> {
        let Some(number) = self.room_number(room) else { return Ok(Vec::new()) };
        let behind = |file: &FileId| match after_prefix(&named_prefix(number, file)) {
            // What is just behind a prefix is where the next file may begin.
            Bound::Excluded(end) => Bound::Included(end),
            other => other,
        };
        let mut scan = Scan::prefix(&layout::room_prefix(layout::NAMED, number), 1);
        if let Some(after) = after {
            scan.from = behind(after);
        }
        let mut files = Vec::new();
        while files.len() < limit && !is_empty(&scan) {
            // A file that a million messages name is one step, too.
            let Some((key, value)) = self.backend().scan(&scan)?.into_iter().next() else { break };
            let named = read_named_key(&key).zip(read_size(&value));
            let ((file, event), size) = named.ok_or_else(|| layout::damaged("the files of a room"))?;
            files.push(NamedFile { file, event, size });
            scan.from = behind(&file);
        }
        Ok(files)
    }
}

fn is_empty(scan: &Scan) -> bool {
    matches!((&scan.from, &scan.to), (Bound::Included(from), Bound::Excluded(to)) if from >= to)
}
