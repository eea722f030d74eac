//! Files that are coming: whole from a user of this server, or range by range from other servers.

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
        let Upload { store, room, size, mut content, mut tree, names } = self;
        if size == 0 {
            return Err(FileError::Empty);
        }
        let file = FileId::from_hash(*tree.finalize()?.as_bytes());
        content.sync()?;
        tree.into_inner().sync()?;
        store.check()?;
        let mut ledger = store.files().lock();
        let before = store.file_record(&file)?;
        if before.is_none() {
            // Others may have come meanwhile.
            ledger.admit(&store.limits, room, size, 0)?;
        }
        store.files().blobs().rename(names.1.name(), &Of::Outboard.name(&file))?;
        store.files().blobs().rename(names.0.name(), &Of::Whole.name(&file))?;
        let counted_for = before.as_ref().map_or(room, |before| before.room);
        let record = FileRecord { size, room: counted_for, since_ms: now_ms, have: None };
        store.backend().apply(&[Change::Set(file_key(&file), record.encode())])?;
        if let Some(before) = before {
            ledger.subtract(before.room, before.size);
        }
        ledger.add(counted_for, size);
        // What had come of it from others is of no use any more.
        ledger.doom(file, true);
        Ok((file, size))
    }
}

/// A file of which ranges are coming. What has come is kept when this is dropped.
#[derive(Debug)]
pub struct Part {
    store: EventStore,
    file: FileId,
    size: u64,
    have: Ranges,
    here: u64,
    unsaved: u64,
    blob: Box<dyn Blob>,
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

    /// Takes the bytes of a range, which the caller has verified.
    ///
    /// # Errors
    /// [`FileError::NotNamed`] if nothing names the file any more, or it came whole by another way; or
    /// [`FileError::Store`].
    pub fn put(&mut self, number: u64, bytes: &[u8]) -> Result<(), FileError> {
        let range = FileRange::numbered(number, self.size).filter(|range| range.size() == bytes.len() as u64);
        let range = range.ok_or(FileError::OtherSize)?;
        self.store.check_space()?;
        self.blob.seek(SeekFrom::Start(range.from()))?;
        self.blob.write_all(bytes)?;
        if !self.have.contains(number) {
            self.here += range.size();
        }
        self.have.insert(number);
        self.unsaved += 1;
        if self.unsaved >= SAVE_EVERY { self.save() } else { Ok(()) }
    }

    /// Flushes what has come, and notes that it has.
    ///
    /// # Errors
    /// As [`Part::put`].
    pub fn save(&mut self) -> Result<(), FileError> {
        // Bytes before the note: a loss of power may take the note alone.
        self.blob.sync()?;
        self.note(Some(self.have.clone()))?;
        self.unsaved = 0;
        Ok(())
    }

    /// Hashes the file once more, all of it as it lies on the disk, and gives it its name. It is durable after the next
    /// [`EventStore::sync`].
    ///
    /// # Errors
    /// [`FileError::Damaged`], then nothing of it is here; [`FileError::NotNamed`]; [`FileError::Store`].
    pub fn finish(mut self) -> Result<(), FileError> {
        self.blob.sync()?;
        let files = self.store.files();
        let name = files.temporary(OUTBOARD);
        let mut tree = Encoder::new_outboard(files.blobs().create(name.name())?);
        self.blob.seek(SeekFrom::Start(0))?;
        io::copy(&mut Read::by_ref(&mut self.blob).take(self.size), &mut tree)?;
        if tree.finalize()?.as_bytes() != self.file.hash() {
            self.note(Some(Ranges::none_of(self.size)))?;
            return Err(FileError::Damaged);
        }
        tree.into_inner().sync()?;
        let _ledger = files.lock();
        let record = self.record()?;
        files.blobs().rename(name.name(), &Of::Outboard.name(&self.file))?;
        files.blobs().rename(&Of::Part.name(&self.file), &Of::Whole.name(&self.file))?;
        let record = FileRecord { have: None, ..record };
        self.store.backend().apply(&[Change::Set(file_key(&self.file), record.encode())])?;
        Ok(())
    }

    fn note(&self, have: Option<Ranges>) -> Result<(), FileError> {
        self.store.check()?;
        let _ledger = self.store.files().lock();
        let record = FileRecord { have, ..self.record()? };
        self.store.backend().apply(&[Change::Set(file_key(&self.file), record.encode())])?;
        Ok(())
    }

    /// The file's record, while it is still coming. The ledger is held meanwhile.
    fn record(&self) -> Result<FileRecord, FileError> {
        let record = self.store.file_record(&self.file)?;
        record.filter(|record| record.have.is_some() && record.size == self.size).ok_or(FileError::NotNamed)
    }
}

impl EventStore {
    /// Takes in a file that a user of this server brings to a room. `size` is what it is said to have, if anything is.
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
        Ok(Upload { store: self.clone(), room: number, size: 0, content, tree, names })
    }

    /// Begins to take in a file that the room names, or goes on with what has come of it; none if it is here. One [`Part`] of a
    /// file at a time.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn fetch_file(&self, room: &RoomId, file: &FileId, size: u64, now_ms: u64) -> Result<Option<Part>, FileError> {
        self.check()?;
        self.check_space()?;
        let number = self.room_number(room).ok_or(FileError::UnknownRoom(*room))?;
        if size == 0 {
            return Err(FileError::Empty);
        }
        let mut ledger = self.files().lock();
        if !self.is_named(file, Some(number))? {
            return Err(FileError::NotNamed);
        }
        let name = Of::Part.name(file);
        let part = |have: Ranges, blob: Box<dyn Blob>| {
            let here = have.bytes(size);
            Part { store: self.clone(), file: *file, size, have, here, unsaved: 0, blob }
        };
        let before = self.file_record(file)?;
        match &before {
            Some(FileRecord { have: None, size: held, .. }) if *held == size => return Ok(None),
            Some(FileRecord { have: None, .. }) => return Err(FileError::OtherSize),
            Some(FileRecord { have: Some(have), size: held, .. }) if *held == size => {
                if let Some(mut blob) = self.files().blobs().open(&name)?
                    && len(&mut *blob)? <= size
                {
                    return Ok(Some(part(have.clone(), blob)));
                }
            }
            // The range at the end proves the size.
            Some(FileRecord { have: Some(have), size: held, .. })
                if have.contains(FileRange::count(*held).saturating_sub(1)) =>
            {
                return Err(FileError::OtherSize);
            }
            _ => {}
        }
        let (counted_for, instead) = before.map_or((number, 0), |before| (before.room, before.size));
        ledger.admit(&self.limits, counted_for, size, instead)?;
        let blob = self.files().blobs().create(&name)?;
        let have = Ranges::none_of(size);
        let record = FileRecord { size, room: counted_for, since_ms: now_ms, have: Some(have.clone()) };
        self.backend().apply(&[Change::Set(file_key(file), record.encode())])?;
        ledger.subtract(counted_for, instead);
        ledger.add(counted_for, size);
        Ok(Some(part(have, blob)))
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
        let mut ledger = files.lock();
        let before = self.file_record(file).ok().flatten();
        if before.as_ref().is_some_and(|before| before.have.is_none()) || !self.is_named(file, Some(room))? {
            return Ok(false);
        }
        files.blobs().rename(name.name(), &Of::Outboard.name(file))?;
        let record = FileRecord { size, room, since_ms: now_ms, have: None };
        self.backend().apply(&[Change::Set(file_key(file), record.encode())])?;
        // Somebody may have begun to fetch it, or have fetched it and not come to say so.
        if let Some(part) = before {
            ledger.subtract(part.room, part.size);
        }
        ledger.add(room, size);
        ledger.doom(*file, false);
        Ok(true)
    }

    /// Whether a file of this size may come to a room.
    fn admit(&self, room: u32, size: u64) -> Result<(), FileError> {
        self.files().lock().admit(&self.limits, room, size, 0)
    }
}
