//! Servers, rooms, and seats: what one server holds of one room.

use std::collections::VecDeque;
use std::sync::Arc;

use rocketmesh_protocol::event::RoomVersion;
use rocketmesh_protocol::identity::{Origin, ServerKey, UserId};
use rocketmesh_protocol::resolution::Resolver;
use rocketmesh_protocol::room::Outline;

use super::agenda::Micros;
use super::archive::Archive;
use super::company::Neighbour;
use super::held::Held;
use super::local_log::Entry;
use super::marks::Marks;
use super::minds::Minds;
use super::repair::Repair;
use super::sketches::Sketches;
use super::speak::Word;
use super::sync::Syncing;
use crate::scenario::Harm;

/// The seat of nobody.
pub(super) const NOBODY: u32 = u32::MAX;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) key: ServerKey,
    pub(super) origin: Origin,
    pub(super) harm: Option<Harm>,
    pub(super) nat: bool,
    /// How long a flush takes.
    pub(super) flush: Micros,
    pub(super) skew_ms: i64,
    pub(super) up: bool,
    /// How often it has gone down: what was meant for an earlier life is void.
    pub(super) life: u32,
    /// Its seats, by room.
    pub(super) seats: Vec<u32>,
    /// Servers that it is connected to.
    pub(super) links: u32,
    /// What brings it what it lacks.
    pub(super) sync: Syncing,
    pub(super) restarts: u32,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Server {
    /// Whether it means well.
    pub(super) fn is_honest(&self) -> bool {
        self.harm.is_none()
    }

    /// Whether it passes nothing on and answers nothing.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.harm, Some(Harm::Withhold | Harm::Eclipse))
    }
}

/// What every server that was there before the run begins with.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) outline: Arc<Outline>,
    /// Kept for the whole run.
    pub(super) mind: u32,
    pub(super) has: Marks,
    pub(super) print: u64,
    pub(super) bytes: u64,
}

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) archive: Archive,
    pub(super) minds: Minds,
    pub(super) template: Template,
    /// Users by place in the plan.
    pub(super) users: Vec<UserId>,
    /// The seats that they speak from.
    pub(super) homes: Vec<u32>,
    /// Every seat once.
    pub(super) seats: Vec<u32>,
    /// How many of them take part.
    pub(super) joined: usize,
    /// How often a place in a chain was used twice.
    pub(super) forks: u64,
    /// What is worked out of have-vectors, for all servers that hold the same.
    pub(super) sketches: Sketches,
}

/// An event that is to be passed on once the log is flushed up to `upto`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    pub(super) upto: u32,
    pub(super) number: u32,
    /// Whoever sent it; nobody for an own event.
    pub(super) except: u32,
}

/// What one server holds of one room.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) room: u32,
    pub(super) server: u32,
    /// Whether it began with the room's past.
    pub(super) founding: bool,
    /// Whether it takes part.
    pub(super) joined: bool,
    /// Members who are to come in, or have.
    pub(super) joining: Vec<u32>,
    /// Shared until the first change.
    pub(super) outline: Arc<Outline>,
    pub(super) mind: u32,
    /// What it makes of the room instead, where a sabotage keeps it from hearing of removals.
    pub(super) deaf: Option<Box<Resolver>>,
    /// What it has, and what of that is rejected or withheld.
    pub(super) has: Marks,
    pub(super) rejected: Marks,
    pub(super) withheld: Marks,
    /// The sum over what it has.
    pub(super) print: u64,
    /// Bytes of what it has.
    pub(super) bytes: u64,
    pub(super) log: Vec<Entry>,
    /// How many entries a flush is under way for, and how many are on disk and told.
    pub(super) flushing: u32,
    pub(super) flushed: u32,
    pub(super) owed: VecDeque<Owed>,
    pub(super) held: Option<Box<Held>>,
    /// What is done about what waits.
    pub(super) repair: Option<Box<Repair>>,
    /// Whether it knows what it has said before, and since when it looks for that.
    pub(super) found_own: bool,
    pub(super) finding: Option<Micros>,
    /// What its users want to say meanwhile.
    pub(super) unsaid: Vec<(u32, Word)>,
    /// Whether a merge is due.
    pub(super) merging: bool,
    /// The event that everybody has to get in the end.
    pub(super) probe: Option<u32>,
    pub(super) company: Vec<Neighbour>,
    /// Events that it passed on, with the heartbeat.
    pub(super) recent: VecDeque<(u64, u32)>,
    /// Events that it has asked for by id, and until when nobody else is asked.
    pub(super) asked: Vec<(u32, Micros)>,
    /// What it had when it last looked whether the room comes in.
    pub(super) obtained: u64,
}

impl Seat {
    /// The seat of a server that was there before the run.
    pub(super) fn founding(room: u32, server: u32, template: &Template) -> Self {
        let outline = Arc::clone(&template.outline);
        let mut seat = Seat::bare(room, server, outline, template.mind);
        seat.founding = true;
        seat.joined = true;
        seat.found_own = true;
        seat.has = template.has.clone();
        seat.print = template.print;
        seat.bytes = template.bytes;
        seat
    }

    /// The seat of a server that has nothing of the room yet.
    pub(super) fn empty(room: u32, server: u32, archive: &Archive, mind: u32) -> Self {
        Seat::bare(room, server, empty_outline(archive), mind)
    }

    fn bare(room: u32, server: u32, outline: Arc<Outline>, mind: u32) -> Self {
        Seat {
            room,
            server,
            founding: false,
            joined: false,
            joining: Vec::new(),
            outline,
            mind,
            deaf: None,
            has: Marks::default(),
            rejected: Marks::default(),
            withheld: Marks::default(),
            print: 0,
            bytes: 0,
            log: Vec::new(),
            flushing: 0,
            flushed: 0,
            owed: VecDeque::new(),
            held: None,
            repair: None,
            found_own: false,
            finding: None,
            unsaid: Vec::new(),
            merging: false,
            probe: None,
            company: Vec::new(),
            recent: VecDeque::new(),
            asked: Vec::new(),
            obtained: 0,
        }
    }

    /// The place of a neighbour that it is connected to.
    pub(super) fn place_of(&self, peer: u32) -> Option<usize> {
        self.company.iter().position(|neighbour| neighbour.seat == peer && neighbour.up)
    }

    /// The neighbours that it is connected to.
    pub(super) fn connections(&self) -> Vec<u32> {
        self.company.iter().filter(|neighbour| neighbour.up).map(|neighbour| neighbour.seat).collect()
    }

    /// How many neighbours it is connected to.
    pub(super) fn connected(&self) -> usize {
        self.company.iter().filter(|neighbour| neighbour.up).count()
    }

    /// Whether it pushes to every neighbour, since there are no more than a mesh would have.
    pub(super) fn pushes_to_all(&self, degree: usize) -> bool {
        self.connected() <= degree
    }

    /// How many neighbours it pushes to.
    pub(super) fn pushes(&self, degree: usize) -> usize {
        match self.connected() {
            few if few <= degree => few,
            _ => self.company.iter().filter(|neighbour| neighbour.mesh).count(),
        }
    }

    /// Whether an event is here and decided on, or waits.
    pub(super) fn knows(&self, number: u32) -> bool {
        self.has.contains(number) || self.held.as_ref().is_some_and(|held| held.contains(number))
    }

    /// How many events wait.
    pub(super) fn waiting(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }
}

/// The outline of a room of which nothing is here.
pub(super) fn empty_outline(archive: &Archive) -> Arc<Outline> {
    Arc::new(Outline::new(archive.room(), RoomVersion::DRAFT))
}
