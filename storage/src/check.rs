//! A whole store looked through: whether every event is readable and signed, and whether everything that was derived
//! from the events still fits them.
//!
//! ```text
//!   the log ──► every event ──► chains, have-vectors ──► room order, tips, count ──► held events, snapshots, files, orphans
//! ```
//!
//! The events are what a store is about; indexes, have-vectors, tips and counts follow from them and can be written
//! anew. A check makes the same corrections as a repair, but in memory only, so that a missing index entry is one
//! finding and not a wrong have-vector and a wrong tip as well.
//!
//! Memory grows with the damage and with the servers of a room, never with its events: events are read in pages, and
//! the log is read once for every 262,144 of its entries so that only about that many arrivals are in memory at a time.

mod events;
mod files;
mod leftovers;
mod log;
mod mending;
mod report;
mod rooms;

use std::collections::{BTreeMap, BTreeSet};

use rocketmesh_protocol::id::{EventId, RoomId};

use crate::error::StoreError;
use crate::layout;
use crate::store::EventStore;
use mending::Mending;

pub use files::check_content;
pub use report::{Finding, FindingKind, MAX_FINDINGS, Report};

/// Damaged and missing events that are remembered, about a hundred bytes each. With more, the store is beyond repair.
const MOST_LOST: usize = 100_000;
/// How often a check reads an event: by itself, in its chain, and in the room's order.
const READINGS: u64 = 3;
/// How many events are read between two words about the progress.
const PROGRESS_EVERY: u64 = 64;

/// What to do about what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Report it, and change nothing.
    Check,
    /// Report it, and write anew what follows from the events.
    Repair,
}

/// Looks through a whole store, and with [`Mode::Repair`] mends what follows from the events. Nobody else may write to
/// the store meanwhile. `progress` is told how many events were read, of about how many; each is read three times.
///
/// Mended are the chains, the room order, the indexes of bodies and of edits and redactions, have-vectors, tips,
/// counts, and a room's record, which is written anew as one of a room that was left. Held events and snapshots that
/// cannot be used are removed, since sync and the node bring them again, and so are orphans. A damaged body is removed
/// and from then on wanted, so that the node asks other servers for it. A file that is not there as its record says counts as
/// not here, so that it is fetched again; what is in files, [`check_content`] looks at. A repair that is cut off leaves
/// nothing worse than it was, and another one goes on.
///
/// **A damaged or missing event stays as it is**, and so do its room's have-vector, tips and count; of the room only
/// the indexes are mended. Sync fetches an event only where the have-vector ends before it, and takes in only what is
/// not here. To have one event fetched again, everything that stands on it would have to go, in every server's chain.
/// That would take along sound events which perhaps nobody else has, among them the node's own, whose places in its
/// chain it would then sign a second time. And each of them would stand in the local log once more, so that a backup
/// would count it twice.
///
/// **The log** is history and follows from nothing, so that it stays as it is too.
///
/// # Errors
/// [`StoreError`] if the store cannot be read or written. What was mended until then is in the store whole.
pub fn check(store: &EventStore, mode: Mode, mut progress: impl FnMut(u64, u64)) -> Result<Report, StoreError> {
    let mut checker = Checker::new(store, mode, &mut progress)?;
    match checker.run() {
        Ok(()) => {}
        Err(Stop::Enough) => checker.report.unfinished = true,
        Err(Stop::Store(error)) => return Err(error),
    }
    checker.name_what_is_lost();
    checker.mending.finish()?;
    (checker.progress)(checker.read, checker.read);
    Ok(checker.report)
}

/// Why a check goes no further.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too much is wrong")]
    Enough,
}

struct Checker<'a> {
    mode: Mode,
    mending: Mending<'a>,
    report: Report,
    /// The rooms and their numbers, those with a new record included.
    rooms: BTreeMap<RoomId, u32>,
    /// Rooms whose records are written anew, with everything that follows.
    renewed: BTreeSet<RoomId>,
    /// Rooms of which there are events and no record that could be written anew.
    rootless: BTreeSet<RoomId>,
    /// Events whose records are there and cannot be relied on.
    damaged: BTreeSet<EventId>,
    /// Events that should be there and are not.
    lost: BTreeMap<EventId, Lost>,
    /// Rooms of which an event is damaged or lost.
    wounded: BTreeSet<RoomId>,
    progress: &'a mut dyn FnMut(u64, u64),
    read: u64,
    expected: u64,
}

struct Lost {
    room: Option<RoomId>,
    named_by: NamedBy,
}

#[derive(Clone, Copy)]
enum NamedBy {
    Event(EventId),
    Log,
    Chain,
}

impl<'a> Checker<'a> {
    fn new(store: &'a EventStore, mode: Mode, progress: &'a mut dyn FnMut(u64, u64)) -> Result<Self, StoreError> {
        let mending = Mending::new(store, mode);
        let rooms = store.room_numbers();
        let mut events: u64 = 0;
        for room in rooms.keys() {
            if let Some(record) = mending.get(&layout::room_key(room))? {
                events = events.saturating_add(layout::read_room(&record)?.events);
            }
        }
        Ok(Checker {
            mode,
            mending,
            report: Report { rooms: rooms.len() as u64, ..Report::default() },
            rooms,
            renewed: BTreeSet::new(),
            rootless: BTreeSet::new(),
            damaged: BTreeSet::new(),
            lost: BTreeMap::new(),
            wounded: BTreeSet::new(),
            progress,
            read: 0,
            expected: events.saturating_mul(READINGS),
        })
    }

    fn run(&mut self) -> Result<(), Stop> {
        let numbers: BTreeSet<u32> = self.rooms.values().copied().collect();
        if numbers.len() < self.rooms.len() {
            let what = "two rooms have one number, so that their indexes are mixed";
            self.note_irreplaceable(FindingKind::Room, None, None, what);
            return Err(Stop::Enough);
        }
        self.look_at_events()?;
        self.look_at_rooms()?;
        self.look_at_leftovers()
    }

    /// Takes note of something that repair mends.
    fn note_derivable(
        &mut self,
        kind: FindingKind,
        room: Option<RoomId>,
        event: Option<EventId>,
        what: impl Into<String>,
    ) {
        // That the record is new says it all.
        if room.is_none_or(|room| !self.renewed.contains(&room)) {
            let repaired = self.mode == Mode::Repair;
            self.report.add(Finding { kind, room, event, what: what.into(), repaired, derivable: true });
        }
    }

    /// Takes note of something that nobody can mend with nothing but the store.
    fn note_irreplaceable(
        &mut self,
        kind: FindingKind,
        room: Option<RoomId>,
        event: Option<EventId>,
        what: impl Into<String>,
    ) {
        self.report.add(Finding { kind, room, event, what: what.into(), repaired: false, derivable: false });
    }

    /// Remembers an event whose record cannot be relied on.
    fn damage(&mut self, id: EventId, room: Option<RoomId>) -> Result<(), Stop> {
        self.damaged.insert(id);
        self.wounded.extend(room);
        self.bound()
    }

    /// Remembers an event that is not there. It is reported once, whoever names it.
    fn lose(&mut self, id: EventId, room: Option<RoomId>, named_by: NamedBy) -> Result<(), Stop> {
        self.wounded.extend(room);
        let lost = self.lost.entry(id).or_insert(Lost { room, named_by });
        if matches!(lost.named_by, NamedBy::Event(_)) {
            lost.named_by = named_by;
        }
        self.bound()
    }

    fn bound(&self) -> Result<(), Stop> {
        if self.damaged.len() + self.lost.len() > MOST_LOST { Err(Stop::Enough) } else { Ok(()) }
    }

    fn name_what_is_lost(&mut self) {
        for (id, lost) in std::mem::take(&mut self.lost) {
            let (kind, what) = match lost.named_by {
                NamedBy::Event(by) => {
                    (FindingKind::MissingParent, format!("event {by} refers to it, and it is not here"))
                }
                NamedBy::Log => (FindingKind::MissingEvent, "the log says that it came, and it is not here".to_owned()),
                NamedBy::Chain => {
                    (FindingKind::MissingEvent, "its server's chain names it, and it is not here".to_owned())
                }
            };
            self.note_irreplaceable(kind, lost.room, Some(id), what);
        }
    }

    fn step(&mut self) {
        self.read += 1;
        if self.read.is_multiple_of(PROGRESS_EVERY) {
            (self.progress)(self.read, self.expected.max(self.read));
        }
    }
}

/// The id that a key has from byte `at` to its end.
fn id_at(key: &[u8], at: usize) -> Option<EventId> {
    Some(EventId::from_hash(key.get(at..)?.try_into().ok()?))
}
