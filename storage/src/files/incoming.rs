//! Files that are coming: whole from a user of this server, or range by range from other servers.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bao::encode::Encoder;
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::id::{FileId, RoomId};

use super::blobs::{Blob, OUTBOARD, Of, Temporary};
use super::record::{FileRecord, Ranges, file_key};
use super::{FileError, len};
use crate::backend::Change;
use crate::error::StoreError;
use crate::store::EventStore;

/// Ranges that come between two flushes of a file. What a loss of power takes comes again.
const SAVE_EVERY: u64 = 8;

/// A file that a user brings. Its id is known at its end; until then it is nobody's, and dropping this forgets it.
#[derive(Debug)]
pub struct Upload {
    store: EventStore,
    room: u32,
    /// How many bytes it is said to have.
    said: Option<u64>,
    size: u64,
    content: Box<dyn Blob>,
    tree: Encoder<Box<dyn Blob>>,
    names: (Temporary, Temporary),
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`FileError`]; then the file cannot be finished.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if let Some(said) = self.said.filter(|said| size > *said) {
            return Err(FileError::OtherLength { said, came: size });
        }
        self.store.admit(self.room, size)?;
        self.store.check_space()?;
        self.content.write_all(bytes)?;
        self.tree.write_all(bytes)?;
        self.size = size;
        Ok(())
    }

    /// The file's end. It is here from now on, and durable after the next [`EventStore::sync`]; without a message that names it
    /// it goes after [`UNNAMED_FOR_MS`](super::UNNAMED_FOR_MS). Returns its id and its size.
    ///
    /// # Errors
    /// [`FileError`]; then the file is forgotten.
    pub fn finish(self, now_ms: u64) -> Result<(FileId, u64), FileError> {
        let Upload { store, room, said, size, mut content, mut tree, names } = self;
        if let Some(said) = said.filter(|said| *said != size) {
            return Err(FileError::OtherLength { said, came: size });
        }
        if size == 0 {
            return Err(FileError::Empty);
        }
        let file = FileId::from_hash(*tree.finalize()?.as_bytes());
        content.sync()?;
        tree.into_inner().sync()?;
        store.check()?;
        let files = store.files();
        let _names = files.names();
        let reserved = {
            let _records = files.records();
            let new = store.file_record(&file)?.is_none();
            let mut ledger = files.lock();
            if new {
                // Others may have come meanwhile.
                ledger.admit(&store.limits, room, size, 0)?;
                ledger.add(room, size);
            }
            new
        };
        let renamed = files
            .blobs()
            .rename(names.1.name(), &Of::Outboard.name(&file))
            .and_then(|()| files.blobs().rename(names.0.name(), &Of::Whole.name(&file)))
            .map_err(FileError::from);
        let noted = renamed.and_then(|()| store.note_whole(&file, room, size, now_ms));
        if reserved {
            files.lock().subtract(room, size);
        }
        noted.map(|()| (file, size))
    }
}

/// A file of which ranges are coming. What has come is kept when this is dropped. Until the range at its end has come nothing of it
/// is noted or counted: that range is what proves the size.
#[derive(Debug)]
pub struct Part {
    store: EventStore,
    file: FileId,
    /// The room that asks for it.
    room: u32,
    size: u64,
    have: Ranges,
    here: u64,
    unsaved: u64,
    /// Rooms whose servers sent some of it.
    by: BTreeSet<u32>,
    since_ms: u64,
    /// None until its size is proven.
    blob: Option<Box<dyn Blob>>,
}

impl Part {
    /// The numbers of the ranges that are still to come, ascending; see [`FileRange::numbered`].
    pub fn missing(&self) -> Vec<u64> {
        (0..FileRange::count(self.size)).filter(|number| !self.have.contains(*number)).collect()
    }

    /// How many bytes have come.
    pub fn here(&self) -> u64 {
        self.here
    }

    /// Whether its size is proven: the range at its end has come.
    pub fn is_proven(&self) -> bool {
        self.blob.is_some()
    }

    /// A server of this room has sent the range that is put next, so that the file is held by that room. Where nobody says so
    /// it is held by the room that asks for it.
    pub fn came_by(&mut self, room: &RoomId) {
        self.by.extend(self.store.room_number(room));
    }

    /// Takes the bytes of a range, which the caller has verified. The first is the range at the file's end.
    ///
    /// # Errors
    /// [`FileError::Unproven`] for another than that; one of the quotas' for that, if there is no space for the file;
    /// [`FileError::NotNamed`] if nothing names the file any more, or it came whole by another way; or
    /// [`FileError::Store`].
    pub fn put(&mut self, number: u64, bytes: &[u8]) -> Result<(), FileError> {
        let range = FileRange::numbered(number, self.size).filter(|range| range.size() == bytes.len() as u64);
        let range = range.ok_or(FileError::OtherSize)?;
        self.store.check_space()?;
        if self.blob.is_none() {
            if range.end() != self.size {
                return Err(FileError::Unproven);
            }
            self.blob = Some(self.begin()?);
        }
        let Some(blob) = &mut self.blob else { return Err(FileError::Unproven) };
        blob.seek(SeekFrom::Start(range.from()))?;
        blob.write_all(bytes)?;
        if !self.have.contains(number) {
            self.here += range.size();
        }
        self.have.insert(number);
        self.unsaved += 1;
        if self.unsaved >= SAVE_EVERY { self.save() } else { Ok(()) }
    }

    /// The size is proven: notes and counts the file, in place of what was noted of it before.
    fn begin(&self) -> Result<Box<dyn Blob>, FileError> {
        self.store.check()?;
        let files = self.store.files();
        let _names = files.names();
        if self.store.whole_record(&self.file)?.is_some() {
            return Err(FileError::NotNamed);
        }
        let blob = files.blobs().create(&Of::Part.name(&self.file))?;
        let _records = files.records();
        let before = self.store.file_record(&self.file)?;
        let named_here = self.store.is_named(&self.file, Some(self.room))?;
        let asks = if named_here { Some(self.room) } else { self.store.first_room(&self.file)? };
        let asks = asks.ok_or(FileError::NotNamed)?;
        let (room, instead) = before.map_or((asks, 0), |before| (before.room, before.size));
        {
            let mut ledger = files.lock();
            ledger.admit(&self.store.limits, room, self.size, instead)?;
            ledger.subtract(room, instead);
            ledger.add(room, self.size);
        }
        let (have, by) = (Some(self.have.clone()), BTreeSet::new());
        let mut record = FileRecord { size: self.size, room, since_ms: self.since_ms, have, by, hidden_ms: None };
        self.hold(&mut record, asks);
        let noted = self.store.backend().apply(&[Change::Set(file_key(&self.file), record.encode())]);
        if let Err(error) = noted {
            let mut ledger = files.lock();
            ledger.subtract(room, self.size);
            ledger.add(room, instead);
            return Err(error.into());
        }
        Ok(blob)
    }

    /// Notes by which rooms the file is held.
    fn hold(&self, record: &mut FileRecord, otherwise: u32) {
        for room in &self.by {
            record.held_by(*room);
        }
        if record.by.is_empty() {
            record.held_by(otherwise);
        }
    }

    /// Flushes what has come, and notes that it has. Nothing of a file whose size is not proven.
    ///
    /// # Errors
    /// As [`Part::put`].
    pub fn save(&mut self) -> Result<(), FileError> {
        let Some(blob) = &mut self.blob else { return Ok(()) };
        // Bytes before the note: a loss of power may take the note alone.
        blob.sync()?;
        self.note(Some(self.have.clone()))?;
        self.unsaved = 0;
        Ok(())
    }

    /// Hashes the file once more, all of it as it lies on the disk, and gives it its name. It is durable after the next
    /// [`EventStore::sync`].
    ///
    /// # Errors
    /// [`FileError::Damaged`], then nothing of it is here; [`FileError::NotNamed`]; [`FileError::Unproven`];
    /// [`FileError::Store`].
    pub fn finish(mut self) -> Result<(), FileError> {
        let Some(mut blob) = self.blob.take() else { return Err(FileError::Unproven) };
        blob.sync()?;
        let files = self.store.files();
        let name = files.temporary(OUTBOARD);
        let mut tree = Encoder::new_outboard(files.blobs().create(name.name())?);
        blob.seek(SeekFrom::Start(0))?;
        io::copy(&mut Read::by_ref(&mut blob).take(self.size), &mut tree)?;
        if tree.finalize()?.as_bytes() != self.file.hash() {
            self.note(Some(Ranges::none_of(self.size)))?;
            return Err(FileError::Damaged);
        }
        tree.into_inner().sync()?;
        self.store.check()?;
        let _names = files.names();
        self.record()?;
        files.blobs().rename(name.name(), &Of::Outboard.name(&self.file))?;
        files.blobs().rename(&Of::Part.name(&self.file), &Of::Whole.name(&self.file))?;
        let noted = self.note(None);
        if noted.is_err() {
            // It was taken back in this moment, so that no record speaks of its bytes.
            files.lock().doom(self.file);
        }
        noted
    }

    fn note(&self, have: Option<Ranges>) -> Result<(), FileError> {
        self.store.check()?;
        let _records = self.store.files().records();
        let mut record = self.record()?;
        let room = record.room;
        self.hold(&mut record, room);
        record.have = have;
        self.store.backend().apply(&[Change::Set(file_key(&self.file), record.encode())])?;
        Ok(())
    }

    /// The file's record, while it is still coming.
    fn record(&self) -> Result<FileRecord, FileError> {
        let record = self.store.file_record(&self.file)?;
        record.filter(|record| record.have.is_some() && record.size == self.size).ok_or(FileError::NotNamed)
    }
}

impl EventStore {
    /// Takes in a file that a user of this server brings to a room. `size` is what it has to have, if anything is said of that: one
    /// that ends earlier was cut off.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn receive_file(&self, room: &RoomId, size: Option<u64>) -> Result<Upload, FileError> {
        self.check()?;
        self.check_space()?;
        let number = self.room_number(room).ok_or(FileError::UnknownRoom(*room))?;
        self.admit(number, size.unwrap_or(1))?;
        let files = self.files();
        let names = (files.temporary(""), files.temporary(OUTBOARD));
        let content = files.blobs().create(names.0.name())?;
        let tree = Encoder::new_outboard(files.blobs().create(names.1.name())?);
        Ok(Upload { store: self.clone(), room: number, said: size, size: 0, content, tree, names })
    }

    /// Begins to take in a file that the room names, or goes on with what has come of it; none if it is here. One [`Part`] of a
    /// file at a time. The size may be a lie: nothing is counted before the range at the end has proven it.
    ///
    /// # Errors
    /// [`FileError`]: also where there is no space for a file of this size.
    pub fn fetch_file(&self, room: &RoomId, file: &FileId, size: u64, now_ms: u64) -> Result<Option<Part>, FileError> {
        self.check()?;
        self.check_space()?;
        let number = self.room_number(room).ok_or(FileError::UnknownRoom(*room))?;
        if size == 0 {
            return Err(FileError::Empty);
        }
        if !self.is_named(file, Some(number))? {
            return Err(FileError::NotNamed);
        }
        let before = self.file_record(file)?;
        let part = |have: Ranges, blob: Option<Box<dyn Blob>>| {
            let here = have.bytes(size);
            let (store, by) = (self.clone(), BTreeSet::new());
            Part { store, file: *file, room: number, size, have, here, unsaved: 0, by, since_ms: now_ms, blob }
        };
        match &before {
            Some(FileRecord { have: None, size: held, .. }) if *held == size => return Ok(None),
            Some(FileRecord { have: None, .. }) => return Err(FileError::OtherSize),
            Some(FileRecord { have: Some(have), size: held, .. })
                if have.contains(FileRange::count(*held).saturating_sub(1)) =>
            {
                if *held != size {
                    return Err(FileError::OtherSize);
                }
                if let Some(mut blob) = self.files().blobs().open(&Of::Part.name(file))?
                    && len(&mut *blob)? <= size
                {
                    return Ok(Some(part(have.clone(), Some(blob))));
                }
            }
            _ => {}
        }
        let (counted_for, instead) = before.map_or((number, 0), |before| (before.room, before.size));
        self.files().lock().admit(&self.limits, counted_for, size, instead)?;
        Ok(Some(part(Ranges::none_of(size), None)))
    }

    /// Notes that a file is whole, whose blobs have their names.
    fn note_whole(&self, file: &FileId, room: u32, size: u64, now_ms: u64) -> Result<(), FileError> {
        let files = self.files();
        let _records = files.records();
        let before = self.file_record(file)?;
        let mut record = FileRecord { size, room, since_ms: now_ms, have: None, by: BTreeSet::new(), hidden_ms: None };
        if let Some(before) = &before {
            (record.room, record.by) = (before.room, before.by.clone());
            // Whoever found the bytes unsound that were here until now can tell by this that others are here.
            record.since_ms = now_ms.max(before.since_ms.saturating_add(1));
        }
        record.held_by(room);
        self.backend().apply(&[Change::Set(file_key(file), record.encode())])?;
        let mut ledger = files.lock();
        if let Some(before) = before {
            ledger.subtract(before.room, before.size);
        }
        ledger.add(record.room, size);
        // What had come of it from others is of no use any more.
        ledger.doom(*file);
        Ok(())
    }

    /// Takes a file that lies on the medium without a record for one that is here, if it is what its id says and a message names
    /// it. Returns whether that is so.
    pub(crate) fn adopt_file(&self, file: &FileId, now_ms: u64) -> Result<bool, StoreError> {
        let Some(room) = self.first_room(file)? else { return Ok(false) };
        let files = self.files();
        let Some(mut content) = files.blobs().open(&Of::Whole.name(file))? else { return Ok(false) };
        let name = files.temporary(OUTBOARD);
        let mut tree = Encoder::new_outboard(files.blobs().create(name.name())?);
        let size = io::copy(&mut content, &mut tree)?;
        if size == 0 || tree.finalize()?.as_bytes() != file.hash() {
            return Ok(false);
        }
        content.sync()?;
        tree.into_inner().sync()?;
        let _names = files.names();
        if self.whole_record(file)?.is_some() || !self.is_named(file, Some(room))? {
            return Ok(false);
        }
        files.blobs().rename(name.name(), &Of::Outboard.name(file))?;
        let _records = files.records();
        let before = self.file_record(file)?;
        // By which rooms it came is not known any more; all that name it are asked again, but for the one that it counts for.
        let record =
            FileRecord { size, room, since_ms: now_ms, have: None, by: BTreeSet::from([room]), hidden_ms: None };
        self.backend().apply(&[Change::Set(file_key(file), record.encode())])?;
        let mut ledger = files.lock();
        // Somebody may have begun to fetch it, or have fetched it and not come to say so.
        if let Some(part) = before {
            ledger.subtract(part.room, part.size);
        }
        ledger.add(room, size);
        ledger.doom(*file);
        Ok(true)
    }

    /// Whether a file of this size may come to a room.
    fn admit(&self, room: u32, size: u64) -> Result<(), FileError> {
        self.files().lock().admit(&self.limits, room, size, 0)
    }
}
