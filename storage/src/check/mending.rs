//! Corrections: in the store where it is repaired, and only in memory where it is not, so that whatever is looked at
//! next is looked at as if what came before were right.

use std::collections::BTreeMap;
use std::ops::Bound;

use rocketmesh_protocol::id::RoomId;

use super::{Mode, Stop};
use crate::backend::{Change, Entry, Scan};
use crate::error::StoreError;
use crate::store::EventStore;

/// How many records of up to 72 KiB are read at a time.
pub(super) const RECORDS: usize = 256;
/// How many short entries are read at a time.
pub(super) const ENTRIES: usize = 4096;

/// Bytes of corrections that a check keeps in memory, which is some 200,000 entries of an index.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Corrections, and bytes of them, that a repair writes as one batch.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 256 * 1024;

/// A store together with the corrections that are not in it.
pub(super) struct Mending<'a> {
    store: &'a EventStore,
    mode: Mode,
    /// What a key is to have; none if it is to go.
    corrections: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    /// Rooms whose records are among the corrections and were not in the store.
    rooms: Vec<(RoomId, u32)>,
}

impl<'a> Mending<'a> {
    pub(super) fn new(store: &'a EventStore, mode: Mode) -> Self {
        Mending { store, mode, corrections: BTreeMap::new(), bytes: 0, rooms: Vec::new() }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.corrections.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.store.backend().get(key),
        }
    }

    pub(super) fn contains(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(key)?.is_some())
    }

    pub(super) fn set(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Stop> {
        self.correct(key, Some(value))
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) -> Result<(), Stop> {
        self.correct(key, None)
    }

    /// The next record that is set is of this room, and new.
    pub(super) fn add_room(&mut self, room: RoomId, number: u32) {
        self.rooms.push((room, number));
    }

    /// The store as it is without the corrections.
    pub(super) fn store(&self) -> &'a EventStore {
        self.store
    }

    /// How far the local log may reach.
    pub(super) fn log_end(&self) -> u64 {
        self.store.log_end()
    }

    /// Puts everything that was repaired on disk.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        match self.mode {
            Mode::Check => Ok(()),
            Mode::Repair => {
                self.write()?;
                self.store.sync()
            }
        }
    }

    fn correct(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), Stop> {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.corrections.insert(key, value);
        match self.mode {
            Mode::Check if self.bytes > MOST_BYTES => Err(Stop::Enough),
            Mode::Repair if self.corrections.len() >= BATCH || self.bytes >= BATCH_BYTES => {
                self.write().map_err(Stop::from)
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let corrections = std::mem::take(&mut self.corrections);
        let changes: Vec<Change> = corrections
            .into_iter()
            .map(|(key, value)| match value {
                Some(value) => Change::Set(key, value),
                None => Change::Remove(key),
            })
            .collect();
        self.bytes = 0;
        self.store.rewrite(&changes, &std::mem::take(&mut self.rooms))
    }
}

/// A range of keys, read page by page.
pub(super) struct Pages {
    scan: Scan,
    done: bool,
}

impl Pages {
    /// Every key that begins with `prefix`.
    pub(super) fn below(prefix: &[u8], limit: usize) -> Self {
        Pages { scan: Scan::prefix(prefix, limit), done: false }
    }

    pub(super) fn between(from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, limit: usize) -> Self {
        Pages { scan: Scan { from, to, descending: false, limit }, done: false }
    }

    /// The next page, as the corrections leave it, which may be with nothing; none at the end.
    pub(super) fn read(&mut self, mending: &Mending<'_>) -> Result<Option<Vec<Entry>>, StoreError> {
        if self.done {
            return Ok(None);
        }
        let stored = mending.store.backend().scan(&self.scan)?;
        let last = stored.last().filter(|_| stored.len() == self.scan.limit).map(|(key, _)| key.clone());
        let to = last.clone().map_or_else(|| self.scan.to.clone(), Bound::Included);
        let mut page: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        for (key, value) in mending.corrections.range((self.scan.from.clone(), to)) {
            match value {
                Some(value) => page.insert(key.clone(), value.clone()),
                None => page.remove(key),
            };
        }
        match last {
            Some(last) => self.scan.from = Bound::Excluded(last),
            None => self.done = true,
        }
        Ok(Some(page.into_iter().collect()))
    }
}
