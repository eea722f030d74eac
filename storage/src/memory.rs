//! A store in memory, for simulations: no thread, no file, and a crash that loses exactly what was not flushed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{Backend, Change, Entry, Scan};
use crate::error::StoreError;

/// The medium of an in-memory store. Clones share it, so that a simulated node can be restarted on what it left behind.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What undoes every change since the last sync, oldest first.
    undo: Vec<Change>,
}

impl MemoryDisk {
    /// An empty medium.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what was not flushed, as a power failure does.
    pub fn lose_unsynced(&self) {
        let mut contents = self.lock();
        while let Some(change) = contents.undo.pop() {
            match change {
                Change::Set(key, value) => contents.entries.insert(key, value),
                Change::Remove(key) => contents.entries.remove(&key),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.lock().undo.clear();
        Ok(())
    }

    fn sync_blocks(&self) -> bool {
        false
    }

    fn size(&self) -> Result<u64, StoreError> {
        Ok(self.lock().entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}
