//! Files that messages name.
//!
//! ```text
//!   API ── receive_file ──► Upload ──► a temporary blob ──────────────────────┐ flushed, then renamed, then
//!   peers ── fetch_file ──► Part ──► a blob with holes, ranges noted ── hash ─┴─► a whole file, in the record
//!   put: messages name files, or lose their bodies ──► the file that nothing names any more goes with the next flush
//! ```
//!
//! The bytes lie beside the ordered bytes, as ordinary files on disk. What is here of each file, and which messages name it, stands in
//! the ordered bytes, and is written in the same batch as the messages. A file that has a record is whole and on disk, or the
//! record says which ranges of it are. The other way round a loss of power can leave a file without a record, which a sweep
//! takes in or removes.
//!
//! Three locks, taken in this order: *names* while blobs get or lose names, for as long as a disk takes for that; *records* while
//! something is read and written in the ordered bytes as one step; the *ledger*, in memory. Whoever writes messages waits for the
//! last two only.

mod blobs;
mod disk;
mod incoming;
mod ledger;
mod memory;
mod named;
mod record;

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bao::encode::{SliceExtractor, outboard_size};
use rocketmesh_protocol::file::{FileRange, open_slice};
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_protocol::limits::MAX_SLICE_BYTES;

use crate::backend::{Backend, Change, Scan};
use crate::error::StoreError;
use crate::layout;
use crate::store::EventStore;
use blobs::{Blob, NEW, Temporary};
use ledger::Ledger;

pub(crate) use blobs::{Blobs, Of};
pub(crate) use disk::DiskBlobs;
pub use incoming::{Part, Upload};
pub use ledger::{FileLimits, NewlyNamed};
pub(crate) use memory::MemoryBlobs;
pub use named::NamedFile;
pub(crate) use named::{Naming, files_of};
pub(crate) use record::{
    FileRecord, file_key, hidden_key, named_key, read_file_key, read_named_key, read_used_key, used_key, used_prefix,
};

/// How long a file stays that somebody brought here and that no message names yet.
pub const UNNAMED_FOR_MS: u64 = 24 * 60 * 60 * 1000;

/// Records that are read at a time.
const PAGE: usize = 256;

/// Why a file is not taken. Nothing changed, but that what came of a file before is kept where it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The store failed, or is full.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is larger than files may be here.
    #[error("the file is larger than the {} MiB that a file may have here (files.max_file_mib)", mebibytes(*.limit))]
    TooLarge {
        /// The most bytes.
        limit: u64,
    },
    /// The room has no space left for it.
    #[error(
        "the files of this room take {} of the {} MiB that they may take here (files.room_quota_mib); take messages with files \
         back, or raise it",
        mebibytes(*.used), mebibytes(*.limit)
    )]
    RoomQuota {
        /// Bytes of the room's files.
        used: u64,
        /// The most bytes.
        limit: u64,
    },
    /// The server has no space left for it.
    #[error(
        "the files on this server take {} of the {} MiB that they may take (files.server_quota_mib); take messages with files \
         back, or raise it",
        mebibytes(*.used), mebibytes(*.limit)
    )]
    ServerQuota {
        /// Bytes of all files.
        used: u64,
        /// The most bytes.
        limit: u64,
    },
    /// It has no bytes.
    #[error("the file is empty; send one that has something in it")]
    Empty,
    /// Nothing is held of the room.
    #[error("this node does not know the room {0}; join it first")]
    UnknownRoom(RoomId),
    /// No message that is here names it, or none any more.
    #[error("no message of this room names the file, or none any more")]
    NotNamed,
    /// Its bytes ended before they should, or went on.
    #[error("{came} bytes of the file came, and it was said to have {said}; send it again")]
    OtherLength {
        /// How many were to come.
        said: u64,
        /// How many came.
        came: u64,
    },
    /// Its size is not proven yet: the range at its end has to come first.
    #[error("the range at the file's end proves its size, and has to come first")]
    Unproven,
    /// Its size is another than the message says, so that it cannot be fetched by that.
    #[error("the message says another size than the file has; whoever sent it has to send the file again")]
    OtherSize,
    /// What came of it is not what it should be. It has to be fetched from its beginning.
    #[error("what came of the file was damaged on this server's disk, and is fetched again")]
    Damaged,
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        FileError::Store(StoreError::Io(error))
    }
}

const fn mebibytes(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}

/// What is here of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its size in bytes; of a file that is not whole, what a message says.
    pub size: u64,
    /// How many of them are here and verified.
    pub here: u64,
    /// Whether it is whole.
    pub whole: bool,
}

/// A file that stays, for as long as this is kept, also if the last message that names it goes: until one that is being written
/// names it.
#[derive(Debug)]
pub struct KeptFile {
    store: EventStore,
    file: FileId,
    size: u64,
}

impl KeptFile {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        self.store.files().lock().release(&self.file);
    }
}

/// A whole file, to be read.
#[derive(Debug)]
pub struct StoredFile {
    size: u64,
    content: Box<dyn Blob>,
}

impl StoredFile {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Read for StoredFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(buffer)
    }
}

impl Seek for StoredFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.content.seek(to)
    }
}

/// What every handle of a store shares about files.
pub(crate) struct Files {
    blobs: Arc<dyn Blobs>,
    names: Mutex<()>,
    records: Mutex<()>,
    ledger: Mutex<Ledger>,
    next: AtomicU64,
}

impl Files {
    /// Counts what is here, and removes what never got a name.
    pub(crate) fn load(backend: &dyn Backend) -> Result<Self, StoreError> {
        let blobs = backend.blobs();
        for name in blobs.names(NEW)? {
            blobs.remove(&format!("{NEW}/{name}"))?;
        }
        let mut ledger = Ledger::default();
        each_record(backend, |_, record| {
            ledger.add(record.room, record.size);
            Ok(())
        })?;
        Ok(Files {
            blobs,
            names: Mutex::default(),
            records: Mutex::default(),
            ledger: Mutex::new(ledger),
            next: AtomicU64::new(0),
        })
    }

    /// Held by whoever gives names to blobs or takes them away.
    pub(crate) fn names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held by whoever reads a record and writes another for it.
    pub(crate) fn records(&self) -> MutexGuard<'_, ()> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        // A panic while it was held left a count that is off until the store is opened again.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn blobs(&self) -> &dyn Blobs {
        &*self.blobs
    }

    fn temporary(&self, ending: &str) -> Temporary {
        Temporary::new(Arc::clone(&self.blobs), self.next.fetch_add(1, Ordering::Relaxed), ending)
    }
}

/// Every record that can be read, page by page.
fn each_record(
    backend: &dyn Backend,
    mut take: impl FnMut(FileId, FileRecord) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut scan = Scan::prefix(&[layout::FILE], PAGE);
    loop {
        let page = backend.scan(&scan)?;
        for (key, record) in &page {
            // What cannot be read is for a check to find.
            if let (Some(file), Ok(record)) = (read_file_key(key), FileRecord::decode(record)) {
                take(file, record)?;
            }
        }
        match page.into_iter().next_back() {
            Some((last, _)) => scan.from = std::ops::Bound::Excluded(last),
            None => return Ok(()),
        }
    }
}

fn len(blob: &mut dyn Blob) -> io::Result<u64> {
    let len = blob.seek(SeekFrom::End(0))?;
    blob.seek(SeekFrom::Start(0))?;
    Ok(len)
}

impl EventStore {
    /// The store as one that takes no more than this of files.
    #[must_use]
    pub fn with_file_limits(mut self, limits: FileLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The largest file that is taken, in bytes.
    pub fn file_limit(&self) -> u64 {
        self.limits.file
    }

    /// What is here of a file; nothing if it never came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn file(&self, file: &FileId) -> Result<Option<FileEntry>, StoreError> {
        Ok(self.file_record(file)?.map(|record| FileEntry {
            size: record.size,
            here: record.have.as_ref().map_or(record.size, |have| have.bytes(record.size)),
            whole: record.have.is_none(),
        }))
    }

    /// Whether files can be written at all: a small one is, and is removed.
    ///
    /// # Errors
    /// [`StoreError::Io`], with the place.
    pub fn probe_files(&self) -> Result<(), StoreError> {
        let name = self.files().temporary(".probe");
        Ok(self.files().blobs().create(name.name()).map(drop)?)
    }

    /// Bytes that files take, in all or counted for a room. One that is still coming counts in full.
    pub fn file_bytes(&self, room: Option<&RoomId>) -> u64 {
        let ledger = self.files().lock();
        match room {
            None => ledger.all(),
            Some(room) => self.room_number(room).map_or(0, |number| ledger.of_room(number)),
        }
    }

    /// Files that messages name since this was asked last. What was named before the store was opened is not among them.
    pub fn newly_named(&self) -> NewlyNamed {
        self.files().lock().take_fresh()
    }

    /// Keeps a whole file for a message of the room that a user of this server is about to write, and holds it by that room from now
    /// on; none if it is not here. Asks nobody whether the user may know the file: whoever calls this answers for that.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep_file(&self, room: &RoomId, file: &FileId) -> Result<Option<KeptFile>, StoreError> {
        self.check()?;
        let Some(number) = self.room_number(room) else { return Ok(None) };
        let _records = self.files().records();
        let Some(mut record) = self.file_record(file)?.filter(|record| record.have.is_none()) else { return Ok(None) };
        if record.held_by(number) {
            self.backend().apply(&[Change::Set(file_key(file), record.encode())])?;
        }
        self.files().lock().keep(*file);
        Ok(Some(KeptFile { store: self.clone(), file: *file, size: record.size }))
    }

    /// Holds a whole file by this room too, because a server of the room sent some of it. Durable with the next
    /// [`EventStore::sync`]. Returns whether the file is here and the room names it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn hold_file(&self, room: &RoomId, file: &FileId) -> Result<bool, StoreError> {
        self.check()?;
        let Some(number) = self.room_number(room) else { return Ok(false) };
        let _records = self.files().records();
        let Some(mut record) = self.file_record(file)?.filter(|record| record.have.is_none()) else { return Ok(false) };
        if !self.is_named(file, Some(number))? {
            return Ok(false);
        }
        if record.held_by(number) {
            self.backend().apply(&[Change::Set(file_key(file), record.encode())])?;
        }
        Ok(true)
    }

    /// A whole file; none if it is not here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open_file(&self, file: &FileId) -> Result<Option<StoredFile>, StoreError> {
        let Some(record) = self.file_record(file)?.filter(|record| record.have.is_none()) else { return Ok(None) };
        let content = self.open_whole(file, record.size)?;
        if content.is_none() {
            self.forget_file(file, &record)?;
        }
        Ok(content)
    }

    /// The record of a whole file; none if it is not here.
    pub(crate) fn whole_record(&self, file: &FileId) -> Result<Option<FileRecord>, StoreError> {
        Ok(self.file_record(file)?.filter(|record| record.have.is_none()))
    }

    /// The file as it lies on the medium, if it has this size.
    pub(crate) fn open_whole(&self, file: &FileId, size: u64) -> Result<Option<StoredFile>, StoreError> {
        let Some(mut content) = self.files().blobs().open(&Of::Whole.name(file))? else { return Ok(None) };
        let fits = len(&mut *content)? == size;
        Ok(fits.then_some(StoredFile { size, content }))
    }

    /// Whether a whole file and the hashes inside its tree lie on the medium in the right sizes.
    pub(crate) fn is_laid_out(&self, file: &FileId, size: u64) -> Result<bool, StoreError> {
        Ok(self.open_whole(file, size)?.is_some() && self.sound_outboard(file, size)?.is_some())
    }

    /// Every file that is whole by its record.
    pub(crate) fn whole_files(&self) -> Result<Vec<(FileId, FileRecord)>, StoreError> {
        let mut whole = Vec::new();
        each_record(self.backend(), |file, record| {
            if record.have.is_none() {
                whole.push((file, record));
            }
            Ok(())
        })?;
        Ok(whole)
    }

    /// A range of a whole file with what proves it, for [`open_slice`]; none if the file is not here. Of a range that goes beyond
    /// the file's end it is the last chunk, from whose slice the other side learns the size.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the file is not what its id says: then it is here no longer, so that it can be fetched again.
    pub fn file_slice(&self, file: &FileId, range: FileRange) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(record) = self.whole_record(file)? else { return Ok(None) };
        let Some(StoredFile { size, content }) = self.open_whole(file, record.size)? else {
            self.forget_file(file, &record)?;
            return Ok(None);
        };
        let range = Some(range).filter(|range| range.end() <= size).or_else(|| FileRange::last_chunk(size));
        let Some(range) = range else { return Ok(None) };
        let Some(outboard) = self.sound_outboard(file, size)? else { return Err(self.damaged_file(file, &record)) };
        let (content, outboard) = (BufReader::new(content), BufReader::new(outboard));
        let extractor = SliceExtractor::new_outboard(content, outboard, range.from(), range.size());
        let mut slice = Vec::new();
        match extractor.take(MAX_SLICE_BYTES as u64).read_to_end(&mut slice) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(self.damaged_file(file, &record)),
            Err(error) => return Err(error.into()),
        }
        // Whoever is sent a slice that does not verify takes the sender for a liar.
        match open_slice(file, size, range, &slice) {
            Ok(_) => Ok(Some(slice)),
            Err(_) => Err(self.damaged_file(file, &record)),
        }
    }

    /// Forgets a file that is not what it should be, and says so.
    fn damaged_file(&self, file: &FileId, seen: &FileRecord) -> StoreError {
        match self.forget_file(file, seen) {
            Ok(()) => StoreError::Damaged(format!("file {file} is not what its id says, and has to be fetched again")),
            Err(error) => error,
        }
    }

    /// The hashes inside a file's tree, if they are of a file of this size.
    fn sound_outboard(&self, file: &FileId, size: u64) -> Result<Option<Box<dyn Blob>>, StoreError> {
        let Some(mut outboard) = self.files().blobs().open(&Of::Outboard.name(file))? else { return Ok(None) };
        let expected = len(&mut *outboard)? as u128 == outboard_size(size);
        let mut head = [0; 8];
        if !expected {
            return Ok(None);
        }
        outboard.read_exact(&mut head)?;
        outboard.seek(SeekFrom::Start(0))?;
        Ok(Some(outboard).filter(|_| u64::from_le_bytes(head) == size))
    }

    /// Takes a file that was not on disk, or not sound, while it had this record, for one that is not here. One that has come anew
    /// since then has another record, and stays.
    pub(crate) fn forget_file(&self, file: &FileId, seen: &FileRecord) -> Result<(), StoreError> {
        self.check()?;
        let _records = self.files().records();
        if let Some(record) = self.whole_record(file)?.filter(|record| record.since_ms == seen.since_ms) {
            self.backend().apply(&[Change::Remove(file_key(file))])?;
            let mut ledger = self.files().lock();
            ledger.subtract(record.room, record.size);
            ledger.doom(*file);
        }
        Ok(())
    }

    /// The record of a file. One that cannot be read is none: the file comes anew, and a check says so.
    pub(crate) fn file_record(&self, file: &FileId) -> Result<Option<FileRecord>, StoreError> {
        Ok(self.backend().get(&file_key(file))?.and_then(|record| FileRecord::decode(&record).ok()))
    }

    /// Whether bytes lie there that [`EventStore::remove_gone_files`] would remove.
    pub fn has_gone_files(&self) -> bool {
        self.files().lock().some_gone()
    }

    /// Removes the bytes of files that nothing named before the last flush. Apart from the flush, so that nobody who waits for that
    /// waits for this. What cannot be removed now is found by the next sweep.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_gone_files(&self) -> Result<(), StoreError> {
        loop {
            // Let go of after each, so that a file that comes waits for one removal and not for all.
            let _names = self.files().names();
            let Some(file) = self.files().lock().take_gone() else { return Ok(()) };
            let Some(record) = self.settled_record(&file)? else { continue };
            for of in Of::ALL.into_iter().filter(|of| !speaks_of(record.as_ref(), *of)) {
                self.files().blobs().remove(&of.name(&file))?;
            }
        }
    }

    /// The record of a file, if there is any; nothing where it is not on disk yet that something of the file is to go. Whoever
    /// removes blobs by this holds the names since before.
    fn settled_record(&self, file: &FileId) -> Result<Option<Option<FileRecord>>, StoreError> {
        let _records = self.files().records();
        if self.files().lock().is_doomed(file) { Ok(None) } else { self.file_record(file).map(Some) }
    }

    /// Lets go of files that were brought here more than [`UNNAMED_FOR_MS`] ago and that no message names, and of those that for as
    /// long only withheld messages have named. What lies there without a record is taken in if a message names it and it is what
    /// its id says, and else removed. Returns how many files went.
    ///
    /// # Errors
    /// [`StoreError`]; what went until then is gone.
    pub fn sweep_files(&self, now_ms: u64) -> Result<u64, StoreError> {
        self.check()?;
        let mut looked_at = Vec::new();
        each_record(self.backend(), |file, record| {
            if self.fate(&file, &record, now_ms)? != Fate::Stays {
                looked_at.push(file);
            }
            Ok(())
        })?;
        let mut swept = 0;
        for file in looked_at {
            let _records = self.files().records();
            // Somebody may have named it meanwhile.
            let Some(record) = self.file_record(&file)? else { continue };
            match self.fate(&file, &record, now_ms)? {
                Fate::Stays => {}
                Fate::Noted(hidden_ms) => {
                    let record = FileRecord { hidden_ms, ..record };
                    self.backend().apply(&[Change::Set(file_key(&file), record.encode())])?;
                }
                Fate::Goes => {
                    self.backend().apply(&[Change::Remove(file_key(&file))])?;
                    let mut ledger = self.files().lock();
                    ledger.subtract(record.room, record.size);
                    ledger.doom(file);
                    swept += 1;
                }
            }
        }
        for (file, of, name) in self.stray_blobs()? {
            if of == Of::Whole && self.adopt_file(&file, now_ms)? {
                continue;
            }
            let _names = self.files().names();
            // What was doomed goes once that is on disk.
            if self.settled_record(&file)?.is_some_and(|record| !speaks_of(record.as_ref(), of)) {
                self.files().blobs().remove(&name)?;
            }
        }
        Ok(swept)
    }

    /// What a sweep makes of a file.
    fn fate(&self, file: &FileId, record: &FileRecord, now_ms: u64) -> Result<Fate, StoreError> {
        let long_ago = |since_ms: u64| now_ms.saturating_sub(since_ms) > UNNAMED_FOR_MS;
        if self.is_named(file, None)? {
            return Ok(if record.hidden_ms.is_some() { Fate::Noted(None) } else { Fate::Stays });
        }
        if self.files().lock().is_kept(file) {
            return Ok(Fate::Stays);
        }
        Ok(match record.hidden_ms {
            Some(since_ms) if long_ago(since_ms) => Fate::Goes,
            Some(_) if self.is_named_hidden(file)? => Fate::Stays,
            None if self.is_named_hidden(file)? => Fate::Noted(Some(now_ms)),
            _ if record.have.is_some() || long_ago(record.since_ms) => Fate::Goes,
            _ => Fate::Stays,
        })
    }

    /// Blobs that no record speaks of.
    pub(crate) fn stray_blobs(&self) -> Result<Vec<(FileId, Of, String)>, StoreError> {
        let blobs = self.files().blobs();
        let mut stray = Vec::new();
        for folder in blobs.folders()?.into_iter().filter(|folder| folder != NEW) {
            for name in blobs.names(&folder)? {
                if let Some((file, of)) = Of::of_name(&name)
                    && !speaks_of(self.file_record(&file)?.as_ref(), of)
                {
                    stray.push((file, of, format!("{folder}/{name}")));
                }
            }
        }
        Ok(stray)
    }
}

/// What a sweep makes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// It is noted since when only withheld messages name it, or that others do.
    Noted(Option<u64>),
    Goes,
}

/// Whether a file's record says that this blob of it is here.
fn speaks_of(record: Option<&FileRecord>, of: Of) -> bool {
    record.is_some_and(|record| record.have.is_some() == (of == Of::Part))
}
