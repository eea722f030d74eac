//! The event store: what a node keeps, by every order in which it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rocketmesh_protocol::event::Lane;
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::room::Outline;

use crate::backend::{Backend, Change, Scan};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::files::{FileLimits, Files, Naming};
use crate::layout::{self, RoomRecord};
use crate::memory::MemoryDisk;

mod bodies;
mod kinds;
mod orders;
mod place;
mod records;
mod settings;
mod snapshots;

pub(crate) use bodies::{ALTERATION_PREFIX, alteration_key};
pub use bodies::{Alteration, Marks};
pub use kinds::{
    Batch, ChainStart, HeldEvent, LogEntry, LogKind, LogPosition, Participation, RoomEntry, Snapshot, StoredEvent,
    Verdict,
};
pub(crate) use place::sighted_time;
pub use records::RecordChange;

/// What the store on disk may keep in memory, unless the caller says otherwise.
pub const DEFAULT_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How many entries one internal scan reads.
const PAGE: usize = 4096;

/// The event store. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct EventStore {
    backend: Arc<dyn Backend>,
    /// One writer at a time, so that log positions become visible in order.
    writer: Arc<Mutex<Writer>>,
    numbers: Arc<RwLock<BTreeMap<RoomId, u32>>>,
    /// Set once a flush failed. The system may have dropped what it could not write, so that a later success would prove
    /// nothing: only opening the store anew tells what is there.
    broken: Arc<AtomicBool>,
    /// How far the log reached when that was last noted beside the store.
    noted_end: Arc<AtomicU64>,
    /// Bytes of the medium that are to stay free.
    reserve: u64,
    files: Arc<Files>,
    pub(crate) limits: FileLimits,
}

struct Writer {
    next_position: LogPosition,
    next_room: u32,
}

impl std::fmt::Debug for EventStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("EventStore")
    }
}

impl EventStore {
    /// Opens or creates the store in the directory `path`.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::NewerFormat`], [`StoreError::NotWritable`], [`StoreError::Damaged`],
    /// [`StoreError::Io`].
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        Self::on(Arc::new(Disk::open(path, cache_bytes)?))
    }

    /// Opens the store on a medium in memory.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the medium holds something else.
    pub fn in_memory(disk: &MemoryDisk) -> Result<Self, StoreError> {
        Self::on(Arc::new(disk.clone()))
    }

    fn on(backend: Arc<dyn Backend>) -> Result<Self, StoreError> {
        let mut numbers = BTreeMap::new();
        for (key, value) in scan_all(&*backend, &[layout::ROOM])? {
            let room = key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(|| layout::damaged("a room's id"))?;
            numbers.insert(RoomId::from_hash(room), layout::read_room(&value)?.number);
        }
        let last = Scan { descending: true, ..Scan::prefix(&[layout::LOG], 1) };
        let next_position = match backend.scan(&last)?.first() {
            Some((key, value)) => layout::read_log(key, value)?.position + 1,
            None => 1,
        };
        let noted = backend.noted_end()?.unwrap_or(0);
        if noted >= next_position {
            let end = next_position - 1;
            return Err(StoreError::Damaged(format!("its log ended at {noted} before, and ends at {end} now")));
        }
        let next_room = numbers.values().max().map_or(0, |number| number + 1);
        let files = Arc::new(Files::load(&*backend)?);
        Ok(EventStore {
            backend,
            writer: Arc::new(Mutex::new(Writer { next_position, next_room })),
            numbers: Arc::new(RwLock::new(numbers)),
            broken: Arc::default(),
            noted_end: Arc::new(AtomicU64::new(noted)),
            reserve: 0,
            files,
            limits: FileLimits::NONE,
        })
    }

    /// Writes a batch whole or not at all, also across a crash. Readers see it at once; it is durable after the next
    /// [`EventStore::sync`]. Returns the last position in the local log.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub fn put(&self, batch: &Batch<'_>) -> Result<LogPosition, StoreError> {
        self.check()?;
        // What takes bodies away is how space comes back.
        if !batch.events.is_empty() || !batch.hold.is_empty() {
            self.check_space()?;
        }
        let room = batch.outline.room();
        let mut writer = self.lock_writer();
        let known = self.number(&room);
        let number = known.unwrap_or(writer.next_room);
        let mut position = writer.next_position;
        let mut changes = Vec::with_capacity(batch.events.len() * 4 + batch.hold.len() + batch.release.len() + 4);
        let late: BTreeSet<EventId> = batch.marked.iter().filter(|(_, marks)| marks.late).map(|(id, _)| *id).collect();
        for stored in batch.events {
            put_event(&mut changes, number, stored);
            let late = late.contains(&stored.event.id());
            let kind = match stored.verdict {
                Verdict::Accepted if late => LogKind::AcceptedLate,
                Verdict::Accepted => LogKind::Accepted,
                Verdict::Rejected => LogKind::Rejected,
                Verdict::Withheld => LogKind::ArrivedWithheld,
            };
            put_log(&mut changes, LogEntry { position, kind, room, event: stored.event.id() });
            position += 1;
        }
        self.put_places(&mut changes, number, batch.events)?;
        for stored in batch.changed {
            changes.push(event_change(stored));
            let kind = if stored.verdict == Verdict::Accepted { LogKind::Restored } else { LogKind::Withheld };
            put_log(&mut changes, LogEntry { position, kind, room, event: stored.event.id() });
            position += 1;
        }
        Self::put_bodies(&mut changes, number, batch.events, batch.marked, batch.stripped);
        for stored in batch.stripped {
            put_log(&mut changes, LogEntry { position, kind: LogKind::Erased, room, event: stored.event.id() });
            position += 1;
        }
        for id in batch.ahead {
            put_log(&mut changes, LogEntry { position, kind: LogKind::Ahead, room, event: *id });
            position += 1;
        }
        let mut lanes: Vec<(Origin, Lane)> =
            batch.events.iter().map(|stored| (stored.event.header().origin, stored.event.header().lane)).collect();
        lanes.sort_unstable();
        lanes.dedup();
        for (origin, lane) in lanes {
            if let Some(have) = batch.outline.have().lane(origin, lane) {
                let key = layout::lane_prefix(layout::HAVE, number, origin, lane);
                changes.push(Change::Set(key, layout::write_lane(have)));
            }
        }
        for held in batch.hold {
            changes.push(Change::Set(layout::held_key(number, &held.id), layout::write_held(held)));
        }
        for id in batch.release {
            changes.push(Change::Remove(layout::held_key(number, id)));
        }
        let record = RoomRecord {
            number,
            version: batch.outline.version(),
            participation: batch.participation,
            events: batch.outline.events(),
            timeline_tips: batch.outline.tips(Lane::Timeline).clone(),
            state_tips: batch.outline.tips(Lane::State).clone(),
        };
        changes.push(Change::Set(layout::key(layout::ROOM, &[room.hash()]), layout::write_room(&record)));
        self.apply_naming(room, number, Naming::of(self, batch)?, changes)?;
        writer.next_position = position;
        if known.is_none() {
            writer.next_room += 1;
            self.numbers.write().unwrap_or_else(PoisonError::into_inner).insert(room, number);
        }
        Ok(position - 1)
    }

    /// Adds a body to an event that came without. The body must be the one that the header names.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub fn put_body(&self, stored: &StoredEvent) -> Result<LogPosition, StoreError> {
        self.check()?;
        self.check_space()?;
        let mut writer = self.lock_writer();
        let entry = LogEntry {
            position: writer.next_position,
            kind: LogKind::BodyArrived,
            room: stored.event.room(),
            event: stored.event.id(),
        };
        let mut changes = vec![event_change(stored)];
        put_log(&mut changes, entry);
        match self.number(&entry.room) {
            Some(number) => {
                let wanted = layout::key(layout::WANTED, &[&number.to_be_bytes(), entry.event.hash()]);
                changes.push(Change::Remove(wanted));
                self.apply_naming(entry.room, number, Naming::of_body(stored), changes)?;
            }
            None => self.backend.apply(&changes)?,
        }
        writer.next_position += 1;
        Ok(entry.position)
    }

    /// Returns once everything written before survives a loss of power. May block for as long as the disk takes.
    ///
    /// # Errors
    /// [`StoreError::Io`]; then nothing written since the last success counts as accepted, and the store takes nothing more
    /// until it is opened anew.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.check()?;
        let (end, doomed) = (self.log_end(), self.files.lock().doomed());
        self.backend.sync().inspect_err(|_| self.broken.store(true, Ordering::SeqCst))?;
        let noted = self.noted_end.load(Ordering::Relaxed);
        if end > noted {
            self.backend.note_end(end)?;
            self.noted_end.store(end, Ordering::Relaxed);
        }
        self.files.lock().flushed(&doomed);
        Ok(())
    }

    /// The store as one that takes no event once fewer bytes than that are free on its disk. A disk that fills up in the
    /// middle of a write leaves a store that cannot even be read until it is opened anew.
    #[must_use]
    pub fn with_reserve(self, bytes: u64) -> Self {
        EventStore { reserve: bytes, ..self }
    }

    /// Whether there is space for more events.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub fn check_space(&self) -> Result<(), StoreError> {
        match self.backend.free() {
            Some(free) if free < self.reserve => Err(StoreError::Full { free, reserve: self.reserve }),
            _ => Ok(()),
        }
    }

    /// Whether the store may be written to.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.backend.damage() {
            Some(what) => Err(StoreError::Damaged(what)),
            None if self.broken.load(Ordering::SeqCst) => Err(StoreError::Broken),
            None => Ok(()),
        }
    }

    /// What was found to be damaged since the store was opened. Nothing is written any more then, and what can be read is
    /// still there to read.
    pub fn damage(&self) -> Option<String> {
        self.backend.damage()
    }

    /// Whether [`EventStore::sync`] waits for a device, so that an asynchronous caller must move it to a thread.
    pub fn sync_blocks(&self) -> bool {
        self.backend.sync_blocks()
    }

    /// How long an asynchronous caller waits before a sync that does not block: what a disk in a simulation takes for it.
    pub fn sync_takes(&self) -> std::time::Duration {
        self.backend.sync_takes()
    }

    /// An event by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn event(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        match self.backend.get(&layout::key(layout::EVENT, &[id.hash()]))? {
            Some(record) => layout::read_event(id, &record).map(Some),
            None => Ok(None),
        }
    }

    /// Whether the event is here, accepted or rejected.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn contains(&self, id: &EventId) -> Result<bool, StoreError> {
        Ok(self.backend.get(&layout::key(layout::EVENT, &[id.hash()]))?.is_some())
    }

    /// Every room, ascending by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rooms(&self) -> Result<Vec<(RoomId, Participation)>, StoreError> {
        let rooms: Vec<RoomId> = self.numbers.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        rooms
            .into_iter()
            .filter_map(|room| match self.record(&room) {
                Ok(record) => record.map(|record| Ok((room, record.participation))),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    /// A room's outline and participation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn room(&self, room: &RoomId) -> Result<Option<RoomEntry>, StoreError> {
        let Some(record) = self.record(room)? else { return Ok(None) };
        let mut have = HaveVector::new();
        for (key, value) in scan_all(&*self.backend, &layout::key(layout::HAVE, &[&record.number.to_be_bytes()]))? {
            let (origin, lane) = layout::read_lane_key(&key).ok_or_else(|| layout::damaged("a have-vector's key"))?;
            have.set_lane(origin, lane, layout::read_lane(&value)?);
        }
        let RoomRecord { version, participation, events, timeline_tips, state_tips, .. } = record;
        let outline = Outline::restore(*room, version, have, timeline_tips, state_tips, events);
        Ok(Some(RoomEntry { outline, participation }))
    }

    /// Events of a room that wait for others, ascending by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn held(&self, room: &RoomId) -> Result<Vec<HeldEvent>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(Vec::new()) };
        scan_all(&*self.backend, &layout::key(layout::HELD, &[&number.to_be_bytes()]))?
            .iter()
            .map(|(key, value)| layout::read_held(key, value))
            .collect()
    }

    /// An event of a room that waits for others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn held_event(&self, room: &RoomId, id: &EventId) -> Result<Option<HeldEvent>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(None) };
        let key = layout::held_key(number, id);
        self.backend.get(&key)?.map(|record| layout::read_held(&key, &record)).transpose()
    }

    /// The last position in the local log; 0 if it is empty.
    pub fn log_end(&self) -> LogPosition {
        self.lock_writer().next_position - 1
    }

    /// Bytes that the store takes on its medium, but for files.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn size(&self) -> Result<u64, StoreError> {
        self.backend.size()
    }

    /// Whether no clone of this handle is left, so that dropping it closes the store.
    pub fn is_last_handle(&self) -> bool {
        Arc::strong_count(&self.backend) == 1
    }

    fn record(&self, room: &RoomId) -> Result<Option<RoomRecord>, StoreError> {
        match self.backend.get(&layout::key(layout::ROOM, &[room.hash()]))? {
            Some(record) => layout::read_room(&record).map(Some),
            None => Ok(None),
        }
    }

    fn number(&self, room: &RoomId) -> Option<u32> {
        self.numbers.read().unwrap_or_else(PoisonError::into_inner).get(room).copied()
    }

    /// The medium: for files, and for a check of every row on it.
    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// The node's own number of a room.
    pub(crate) fn room_number(&self, room: &RoomId) -> Option<u32> {
        self.number(room)
    }

    /// The node's own number of each room.
    pub(crate) fn room_numbers(&self) -> BTreeMap<RoomId, u32> {
        self.numbers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes rows that a check derived again, as one batch, and takes note of the rooms whose records are among them.
    pub(crate) fn rewrite(&self, changes: &[Change], rooms: &[(RoomId, u32)]) -> Result<(), StoreError> {
        self.check()?;
        let mut writer = self.lock_writer();
        self.backend.apply(changes)?;
        for (room, number) in rooms {
            writer.next_room = writer.next_room.max(number.saturating_add(1));
            self.numbers.write().unwrap_or_else(PoisonError::into_inner).insert(*room, *number);
        }
        Ok(())
    }

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        // A panic while the lock was held left the store unchanged or changed whole; the numbers only move after that.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event_change(stored: &StoredEvent) -> Change {
    let event = &stored.event;
    let record = layout::write_event(event.header_block(), event.body_block(), stored.verdict);
    Change::Set(layout::key(layout::EVENT, &[event.id().hash()]), record)
}

fn put_event(changes: &mut Vec<Change>, room: u32, stored: &StoredEvent) {
    let event = &stored.event;
    let header = event.header();
    changes.push(event_change(stored));
    let chain = layout::chain_key(room, header.origin, header.lane, header.seq, Some(&event.id()));
    changes.push(Change::Set(chain, Vec::new()));
}

fn put_log(changes: &mut Vec<Change>, entry: LogEntry) {
    changes.push(Change::Set(layout::log_key(entry.position), layout::write_log(&entry)));
}

/// Everything below a prefix, read in pages.
fn scan_all(backend: &dyn Backend, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    let mut scan = Scan::prefix(prefix, PAGE);
    let mut all = Vec::new();
    loop {
        let page = backend.scan(&scan)?;
        let full = page.len() == PAGE;
        if let Some((last, _)) = page.last() {
            scan.from = Bound::Excluded(last.clone());
        }
        all.extend(page);
        if !full {
            return Ok(all);
        }
    }
}
