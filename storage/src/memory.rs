//! A store in memory, for simulations: no thread, no file, and a crash that loses exactly what was not flushed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backend::{Backend, Change, Entry, Scan};
use crate::error::StoreError;
use crate::files::{Blobs, MemoryBlobs};

/// The medium of an in-memory store. Clones share it, so that a simulated node can be restarted on what it left behind.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    contents: Arc<Mutex<Contents>>,
    blobs: MemoryBlobs,
    flush_takes: Duration,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What undoes every change since the last sync, oldest first.
    undo: Vec<Change>,
    /// What undoes the last sync.
    last_synced: Vec<Change>,
    /// Bytes that are said to be free.
    free: Option<u64>,
}

impl Contents {
    fn lose_unsynced(&mut self) {
        while let Some(change) = self.undo.pop() {
            match change {
                Change::Set(key, value) => self.entries.insert(key, value),
                Change::Remove(key) => self.entries.remove(&key),
            };
        }
    }
}

impl MemoryDisk {
    /// An empty medium.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same medium with a flush that takes this long: see [`crate::EventStore::sync_takes`].
    #[must_use]
    pub fn with_flush(self, takes: Duration) -> Self {
        MemoryDisk { flush_takes: takes, ..self }
    }

    /// Says from now on that so many bytes are free; none is no word about it, as at the beginning. What is written does not
    /// change it: it is for stores that keep a reserve, see [`crate::EventStore::with_reserve`].
    pub fn set_free(&self, bytes: Option<u64>) {
        self.lock().free = bytes;
    }

    /// How many bytes lie in each blob of a file and of what belongs to files, by their names in the store's directory.
    pub fn blob_sizes(&self) -> BTreeMap<String, u64> {
        self.blobs.sizes()
    }

    /// Loses what was not flushed, as a power failure does.
    pub fn lose_unsynced(&self) {
        self.lock().lose_unsynced();
        self.blobs.lose_unsynced();
    }

    /// The medium as a crash at this moment leaves it, apart from this one from now on: whoever still has this one open can
    /// change nothing there.
    #[must_use]
    pub fn after_crash(&self) -> Self {
        let mut contents = self.lock().clone();
        contents.lose_unsynced();
        self.apart(contents)
    }

    /// The medium as it would be if the last sync had never been, for tests of what notices that.
    #[doc(hidden)]
    #[must_use]
    pub fn before_last_sync(&self) -> Self {
        let mut contents = self.lock().clone();
        contents.lose_unsynced();
        contents.undo = std::mem::take(&mut contents.last_synced);
        contents.lose_unsynced();
        self.apart(contents)
    }

    fn apart(&self, contents: Contents) -> Self {
        let (contents, blobs) = (Arc::new(Mutex::new(contents)), self.blobs.copied());
        blobs.lose_unsynced();
        MemoryDisk { contents, blobs, flush_takes: self.flush_takes }
    }

    /// The bytes of files and what belongs to them, by their names in the store's directory, for tests.
    #[doc(hidden)]
    pub fn blob_contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.blobs.contents()
    }

    /// Sets or removes such bytes behind the store's back, for tests of what notices damage.
    #[doc(hidden)]
    pub fn damage_blob(&self, name: &str, bytes: Option<&[u8]>) {
        self.blobs.damage(name, bytes);
    }

    /// Every row as it is, for tests of what notices damage.
    #[doc(hidden)]
    pub fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.lock().entries.clone()
    }

    /// Sets or removes a row behind the store's back, as a failing medium does, for tests of what notices damage.
    #[doc(hidden)]
    pub fn damage(&self, key: &[u8], value: Option<&[u8]>) {
        let mut contents = self.lock();
        match value {
            Some(value) => contents.entries.insert(key.to_vec(), value.to_vec()),
            None => contents.entries.remove(key),
        };
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for MemoryDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().entries.get(key).cloned())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError> {
        let contents = self.lock();
        let range = contents.entries.range((scan.from.clone(), scan.to.clone()));
        let own = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(if scan.descending {
            range.rev().take(scan.limit).map(own).collect()
        } else {
            range.take(scan.limit).map(own).collect()
        })
    }

    fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut contents = self.lock();
        for change in changes {
            let (key, before) = match change.clone() {
                Change::Set(key, value) => (key.clone(), contents.entries.insert(key, value)),
                Change::Remove(key) => (key.clone(), contents.entries.remove(&key)),
            };
            contents.undo.push(match before {
                Some(value) => Change::Set(key, value),
                None => Change::Remove(key),
            });
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut contents = self.lock();
        contents.last_synced = std::mem::take(&mut contents.undo);
        Ok(())
    }

    fn sync_blocks(&self) -> bool {
        false
    }

    fn sync_takes(&self) -> Duration {
        self.flush_takes
    }

    fn free(&self) -> Option<u64> {
        self.lock().free
    }

    fn size(&self) -> Result<u64, StoreError> {
        Ok(self.lock().entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::new(self.blobs.clone())
    }
}
