//! A store on disk, on sled. Nothing outside this file names sled.
//!
//! sled's own flush calls `sync_file_range` on Linux, which survives a killed process and not a lost power supply. So
//! [`Backend::sync`] adds the `fdatasync` of sled's file, and of the files that sled makes for very large pages. What sled
//! leaves open beside that is closed here too, each found by `tests/power_loss.rs`: a configuration that is never flushed,
//! snapshots that were being written, and a log of more than two segments of which the device may have kept the end and
//! lost the middle.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::backend::{Backend, Change, Entry, Scan};
use crate::error::StoreError;
use crate::files::{Blobs, DiskBlobs};

/// The format that this build writes, and the newest that it reads. In format 1 sled's segments had [`OLD_SEGMENT`] bytes.
pub(crate) const FORMAT: u64 = 2;

/// The size of sled's segments. A page above a quarter of it becomes a file of its own, whose name and content a loss of
/// power can part from the log; with this size no page of events is as large.
const SEGMENT: usize = 4 * 1024 * 1024;
const OLD_SEGMENT: usize = 512 * 1024;
/// How much is written between two flushes at most. sled trusts a segment that is there to mean that those before it are,
/// so that what is not flushed has to stay well within two.
const MOST_UNSYNCED: usize = SEGMENT / 4;

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "lock";
const SLED_DIRECTORY: &str = "sled";
/// How long sled may take to let go of its lock after it was closed, and how often that is tried.
const LETTING_GO: Duration = Duration::from_secs(5);
const LOCK_GLANCE: Duration = Duration::from_millis(20);

/// Says how far the local log reached once. sled takes a file that was cut off for one that is not written yet.
const END_FILE: &str = "END";
const FILES_DIRECTORY: &str = "files";

pub(crate) struct Disk {
    tree: sled::Db,
    /// sled's file once more, only to flush it.
    file: File,
    blobs: PathBuf,
    synced_blobs: Mutex<BTreeSet<OsString>>,
    /// Held for reading while sled may write, so that a file that is seen while it is held for writing is whole. Reading
    /// may split a page, and so write.
    writing: RwLock<()>,
    unsynced: AtomicUsize,
    directory: PathBuf,
    /// The first damage that was met.
    damage: OnceLock<String>,
    end: PathBuf,
    end_file: Mutex<File>,
    files: PathBuf,
    /// Held for as long as the store is open.
    _lock: File,
}

impl Disk {
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let segment = if check_format(path)? == 1 { OLD_SEGMENT } else { SEGMENT };
        let directory = path.join(SLED_DIRECTORY);
        settle(&directory)?;
        let config =
            sled::Config::new().path(&directory).cache_capacity(cache_bytes).flush_every_ms(None).segment_size(segment);
        // sled panics on some kinds of damage instead of naming them.
        let open = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()));
        let senseless = |_| StoreError::Damaged("sled cannot make sense of its file".to_owned());
        let begun = Instant::now();
        let tree = loop {
            match open().map_err(senseless)? {
                // This process has the store for itself, by its own lock. A life of it that has just ended may still be letting
                // go of sled's, which happens in threads of sled's own.
                Err(error) if is_locked(&error) && begun.elapsed() < LETTING_GO => std::thread::sleep(LOCK_GLANCE),
                opened => break opened.map_err(from_sled)?,
            }
        };
        let file = File::open(directory.join("db"))?;
        let blobs = directory.join("blobs");
        let disk = Disk {
            tree,
            file,
            blobs,
            synced_blobs: Mutex::default(),
            writing: RwLock::default(),
            unsynced: AtomicUsize::new(0),
            directory: directory.clone(),
            damage: OnceLock::new(),
            end_file: Mutex::new(
                OpenOptions::new().create(true).truncate(false).write(true).open(path.join(END_FILE))?,
            ),
            end: path.join(END_FILE),
            files: path.join(FILES_DIRECTORY),
            _lock: lock,
        };
        File::open(directory.join("conf"))?.sync_all()?;
        disk.sync()?;
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        for made in [Some(directory.as_path()), Some(path), above].into_iter().flatten() {
            File::open(made)?.sync_all()?;
        }
        Ok(disk)
    }

    /// What sled says, with damage kept in mind: writing on top of it could spread it.
    fn fault(&self, error: sled::Error) -> StoreError {
        let error = from_sled(error);
        if let StoreError::Damaged(what) = &error {
            self.damage.get_or_init(|| what.clone());
        }
        error
    }

    fn sync_new_blobs(&self) -> io::Result<()> {
        let mut synced = self.synced_blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = self.writing.write().unwrap_or_else(PoisonError::into_inner);
        let entries = match fs::read_dir(&self.blobs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let present: BTreeSet<OsString> = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        drop(whole);
        let mut any = false;
        for name in present.difference(&synced) {
            match File::open(self.blobs.join(name)) {
                Ok(file) => file.sync_all()?,
                // sled's cleaning removed it in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            any = true;
        }
        if any {
            File::open(&self.blobs)?.sync_all()?;
        }
        *synced = present;
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let not_writable = |source| StoreError::NotWritable { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(not_writable)?;
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_FILE)).map_err(not_writable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Reads the format marker, or writes it into a new store. It is a file of its own so that a store of a later format is
/// never opened, and so never changed.
fn check_format(path: &Path) -> Result<u64, StoreError> {
    let marker = path.join(FORMAT_FILE);
    match fs::read_to_string(&marker) {
        Ok(text) => match text.trim().parse::<u64>() {
            Ok(found @ 1..=FORMAT) => Ok(found),
            Ok(found) if found > FORMAT => {
                Err(StoreError::NewerFormat { path: path.to_owned(), found, supported: FORMAT })
            }
            _ => Err(StoreError::Damaged(format!("{} holds no format number that there ever was", marker.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if path.join(SLED_DIRECTORY).exists() {
                return Err(StoreError::Damaged(format!("{} is missing beside a store", marker.display())));
            }
            let fresh = path.join("FORMAT.new");
            let mut file = File::create(&fresh)?;
            writeln!(file, "{FORMAT}")?;
            file.sync_all()?;
            fs::rename(&fresh, &marker)?;
            File::open(path)?.sync_all()?;
            Ok(FORMAT)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes what a former life of the store left behind certain, before sled builds on it: a snapshot that was being written is
/// no snapshot, and files of large pages that were never flushed are flushed now.
fn settle(directory: &Path) -> io::Result<()> {
    let entries = |folder: &Path| match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    for path in entries(directory)? {
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    let blobs = directory.join("blobs");
    let all = entries(&blobs)?;
    for path in &all {
        File::open(path)?.sync_all()?;
    }
    if !all.is_empty() {
        File::open(&blobs)?.sync_all()?;
    }
    Ok(())
}

/// sled tells a lock that is taken from other errors by its words only.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

fn from_sled(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            StoreError::Damaged("its file is shorter than it was".to_owned())
        }
        sled::Error::Io(error) => StoreError::Io(error),
        sled::Error::Corruption { at, .. } => StoreError::Damaged(format!("sled finds a page broken at {at:?}")),
        other => StoreError::Damaged(other.to_string()),
    }
}

impl Backend for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let _writing = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        Ok(self.tree.get(key).map_err(|error| self.fault(error))?.map(|value| value.to_vec()))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        let _writing = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        let range = self.tree.range((scan.from.clone(), scan.to.clone()));
        let own = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            entry.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(|error| self.fault(error))
        };
        if scan.descending {
            range.rev().take(scan.limit).map(own).collect()
        } else {
            range.take(scan.limit).map(own).collect()
        }
    }

    fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                Change::Set(key, value) => batch.insert(key.as_slice(), value.as_slice()),
                Change::Remove(key) => batch.remove(key.as_slice()),
            }
        }
        let size = |change: &Change| match change {
            Change::Set(key, value) => key.len() + value.len(),
            Change::Remove(key) => key.len(),
        };
        let bytes: usize = changes.iter().map(size).sum();
        if self.unsynced.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_UNSYNCED {
            self.sync()?;
            self.unsynced.fetch_add(bytes, Ordering::Relaxed);
        }
        let _writing = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        self.tree.apply_batch(batch).map_err(|error| self.fault(error))
    }

    fn sync(&self) -> Result<(), StoreError> {
        // What is written meanwhile may be covered or not, and counts again either way.
        self.unsynced.store(0, Ordering::Relaxed);
        self.tree.flush().map_err(|error| self.fault(error))?;
        self.sync_new_blobs()?;
        self.file.sync_data()?;
        Ok(())
    }

    fn sync_blocks(&self) -> bool {
        true
    }

    #[cfg(unix)]
    fn free(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(&self.directory).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn noted_end(&self) -> Result<Option<u64>, StoreError> {
        match fs::read_to_string(&self.end) {
            Ok(text) => {
                Ok(text.split_once(' ').filter(|(one, two)| *one == two.trim()).and_then(|(one, _)| one.parse().ok()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn note_end(&self, end: u64) -> Result<(), StoreError> {
        let mut file = self.end_file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(0))?;
        // Always as long, and so within one sector: an overwrite that breaks off leaves two numbers that differ. Not flushed:
        // after a loss of power an older one stands there, which is as true.
        Ok(file.write_all(format!("{end:020} {end:020}\n").as_bytes())?)
    }

    fn damage(&self) -> Option<String> {
        self.damage.get().cloned()
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.tree.size_on_disk().map_err(from_sled)
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::new(DiskBlobs::in_directory(self.files.clone()))
    }
}
