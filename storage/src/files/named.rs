//! Which messages name which files, kept in the same batch as the messages.
//!
//! A message names files for as long as it is shown and its body is here. A withheld one may be shown again, so that its files are
//! listed apart: they are kept for a while, and that is all. The file that nothing names any more goes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::{EventId, FileId, RoomId};

use super::record::{
    FileRecord, file_key, hidden_key, hidden_prefix, named_key, named_prefix, read_named_key, read_size, read_used_key,
    used_key, used_prefix,
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
    /// Files that messages name from now on, with the sizes that they say.
    shown: Vec<(FileId, EventId, u64)>,
    /// Files that only withheld messages may come to name.
    hidden: Vec<(FileId, EventId)>,
    /// Files of messages that lose their bodies.
    removed: Vec<(FileId, EventId)>,
    /// Files of messages that are shown from now on.
    fresh: Vec<FileRef>,
}

/// What follows from it for the files.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Files that nothing names any more.
    /// With their records, where these can be read.
    pub(crate) gone: Vec<(FileId, Option<FileRecord>)>,
    /// Files that are counted for another room from now on: from which, to which, their sizes.
    pub(crate) moved: Vec<(u32, u32, u64)>,
    pub(crate) fresh: Vec<FileRef>,
}

/// The files that a message in the store names: none where it was rejected, or its list of them cannot be read.
pub(crate) fn files_of(stored: &StoredEvent) -> Vec<FileRef> {
    if stored.verdict == Verdict::Rejected { Vec::new() } else { stored.event.files().unwrap_or_default() }
}

impl Naming {
    /// What this batch changes.
    pub(crate) fn of(store: &EventStore, batch: &Batch<'_>) -> Result<Self, StoreError> {
        let mut naming = Naming::default();
        let stripped: BTreeSet<EventId> = batch.stripped.iter().map(|stored| stored.event.id()).collect();
        let changed = batch.changed.iter().filter(|stored| !stripped.contains(&stored.event.id()));
        for stored in batch.events.iter().chain(changed) {
            naming.add(stored);
        }
        for id in stripped {
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
            if stored.verdict == Verdict::Accepted {
                self.shown.push((file.file, id, file.size));
                self.fresh.push(file);
            } else {
                self.hidden.push((file.file, id));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.shown.is_empty() && self.hidden.is_empty() && self.removed.is_empty()
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
        let _records = self.files().records();
        let step = self.step(number, naming, &mut changes)?;
        self.backend().apply(&changes)?;
        self.files().lock().settle(room, step);
        Ok(())
    }

    fn step(&self, number: u32, naming: Naming, changes: &mut Vec<Change>) -> Result<Step, StoreError> {
        let mut step = Step { fresh: naming.fresh, ..Step::default() };
        let mut removed: BTreeMap<FileId, BTreeSet<EventId>> = BTreeMap::new();
        for (file, event) in naming.removed {
            changes.push(Change::Remove(named_key(number, &file, &event)));
            changes.push(Change::Remove(used_key(&file, number, &event)));
            changes.push(Change::Remove(hidden_key(&file, number, &event)));
            removed.entry(file).or_default().insert(event);
        }
        for (file, event) in &naming.hidden {
            changes.push(Change::Remove(named_key(number, file, event)));
            changes.push(Change::Remove(used_key(file, number, event)));
            changes.push(Change::Set(hidden_key(file, number, event), Vec::new()));
        }
        for (file, event, size) in &naming.shown {
            changes.push(Change::Remove(hidden_key(file, number, event)));
            changes.push(Change::Set(named_key(number, file, event), size.to_be_bytes().to_vec()));
            changes.push(Change::Set(used_key(file, number, event), Vec::new()));
        }
        let shown = naming.shown.iter().map(|(file, ..)| *file);
        let added: BTreeSet<FileId> = shown.chain(naming.hidden.iter().map(|(file, _)| *file)).collect();
        for (file, events) in removed.into_iter().filter(|(file, _)| !added.contains(file)) {
            let Some(stored) = self.backend().get(&file_key(&file))? else { continue };
            let stays = |(room, event): &(u32, EventId)| *room != number || !events.contains(event);
            // One more than go: if there is any other, it is among them.
            let other = |room: Option<u32>| -> Result<Option<u32>, StoreError> {
                for prefix in [used_prefix(&file, room), hidden_prefix(&file, room)] {
                    if let Some((room, _)) = self.users(&prefix, events.len() + 1)?.into_iter().find(stays) {
                        return Ok(Some(room));
                    }
                }
                Ok(None)
            };
            let (other_room, stays_here) = (other(None)?, other(Some(number))?.is_some());
            match (FileRecord::decode(&stored), other_room) {
                // A message is about to name it; if it does not after all, a sweep finds the file.
                (Ok(_), None) if self.files().lock().is_kept(&file) => {}
                (Ok(record), None) => {
                    changes.push(Change::Remove(file_key(&file)));
                    step.gone.push((file, Some(record)));
                }
                // What cannot be read is of no use, and must not be in the way of a redaction.
                (Err(_), None) => {
                    changes.push(Change::Remove(file_key(&file)));
                    step.gone.push((file, None));
                }
                (Ok(mut record), Some(other)) if record.room == number && !stays_here => {
                    step.moved.push((number, other, record.size));
                    record.room = other;
                    changes.push(Change::Set(file_key(&file), record.encode()));
                }
                _ => {}
            }
        }
        Ok(step)
    }

    /// The rooms and messages that stand below a prefix of [`layout::USED`] or [`layout::HIDDEN`].
    fn users(&self, prefix: &[u8], limit: usize) -> Result<Vec<(u32, EventId)>, StoreError> {
        let entries = self.backend().scan(&Scan::prefix(prefix, limit))?;
        let user = |(key, _): &(Vec<u8>, Vec<u8>)| read_used_key(key).map(|(_, room, event)| (room, event));
        entries.iter().map(user).collect::<Option<_>>().ok_or_else(|| layout::damaged("who names a file"))
    }

    /// The first room that names the file.
    pub(crate) fn first_room(&self, file: &FileId) -> Result<Option<u32>, StoreError> {
        Ok(self.users(&used_prefix(file, None), 1)?.first().map(|(room, _)| *room))
    }

    /// Whether a message that is shown names the file.
    pub(crate) fn is_named(&self, file: &FileId, room: Option<u32>) -> Result<bool, StoreError> {
        Ok(!self.users(&used_prefix(file, room), 1)?.is_empty())
    }

    /// Whether a withheld message names the file, in any room.
    pub(crate) fn is_named_hidden(&self, file: &FileId) -> Result<bool, StoreError> {
        Ok(!self.users(&hidden_prefix(file, None), 1)?.is_empty())
    }

    /// Whether a message of the room that is shown names the file, and its body is here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn names_file(&self, room: &RoomId, file: &FileId) -> Result<bool, StoreError> {
        match self.room_number(room) {
            Some(number) => self.is_named(file, Some(number)),
            None => Ok(false),
        }
    }

    /// The rooms in which messages that are shown name a file: at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rooms_with_file(&self, file: &FileId, limit: usize) -> Result<Vec<RoomId>, StoreError> {
        let mut scan = Scan::prefix(&used_prefix(file, None), 1);
        let mut numbers = BTreeSet::new();
        while numbers.len() < limit && !is_empty(&scan) {
            // A room in which a million messages name it is one step, too.
            let Some((key, _)) = self.backend().scan(&scan)?.into_iter().next() else { break };
            let (_, number, _) = read_used_key(&key).ok_or_else(|| layout::damaged("who names a file"))?;
            numbers.insert(number);
            scan.from = behind(&used_prefix(file, Some(number)));
        }
        let rooms = self.room_numbers();
        Ok(rooms.into_iter().filter(|(_, number)| numbers.contains(number)).map(|(room, _)| room).collect())
    }

    /// Whether a whole file is here by this room: a user brought it there, or a server of the room sent some of it. In rooms by
    /// which it is not here it is sent to nobody, so that knowing a hash is no right to the file.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn holds_file(&self, room: &RoomId, file: &FileId) -> Result<bool, StoreError> {
        let Some(number) = self.room_number(room) else { return Ok(false) };
        let record = self.file_record(file)?.filter(|record| record.have.is_none());
        Ok(record.is_some_and(|record| record.by.contains(&number)))
    }

    /// The messages of a room that are shown and name a file, ascending by id, from just after `after`: at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn messages_with_file(
        &self,
        room: &RoomId,
        file: &FileId,
        after: Option<&EventId>,
        limit: usize,
    ) -> Result<Vec<EventId>, StoreError> {
        let Some(number) = self.room_number(room) else { return Ok(Vec::new()) };
        let mut scan = Scan::prefix(&used_prefix(file, Some(number)), limit);
        if let Some(after) = after {
            scan.from = Bound::Excluded(used_key(file, number, after));
        }
        let event = |(key, _): &(Vec<u8>, Vec<u8>)| read_used_key(key).map(|(_, _, event)| event);
        let events = self.backend().scan(&scan)?.iter().map(event).collect::<Option<_>>();
        events.ok_or_else(|| layout::damaged("who names a file"))
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
        let mut scan = Scan::prefix(&layout::room_prefix(layout::NAMED, number), 1);
        if let Some(after) = after {
            scan.from = behind(&named_prefix(number, after));
        }
        let mut files = Vec::new();
        while files.len() < limit && !is_empty(&scan) {
            // A file that a million messages name is one step, too.
            let Some((key, value)) = self.backend().scan(&scan)?.into_iter().next() else { break };
            let named = read_named_key(&key).zip(read_size(&value));
            let ((file, event), size) = named.ok_or_else(|| layout::damaged("the files of a room"))?;
            files.push(NamedFile { file, event, size });
            scan.from = behind(&named_prefix(number, &file));
        }
        Ok(files)
    }
}

/// Where what stands behind a prefix may begin.
fn behind(prefix: &[u8]) -> Bound<Vec<u8>> {
    match after_prefix(prefix) {
        Bound::Excluded(end) => Bound::Included(end),
        other => other,
    }
}

fn is_empty(scan: &Scan) -> bool {
    matches!((&scan.from, &scan.to), (Bound::Included(from), Bound::Excluded(to)) if from >= to)
}
