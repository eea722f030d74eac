//! Catching up: each server has the protocol's own machine, and does what it says over modelled links, as
//! `node/src/engine/sync.rs` does over real ones.
//!
//! ```text
//!   who is connected ──► AntiEntropy ──► compare (compare.rs)    bring (here)    pull whole (whole.rs)      repair.rs
//!                           ▲                        └─────────────────── questions ───────────────────┘
//!                           └── what became of them ◄── answers (answers.rs), or none in time
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmesh_protocol::event::Lane;
use rocketmesh_protocol::have::{Sections, Tag};
use rocketmesh_protocol::sync::{Action as Due, AntiEntropy, AskId, Comparison, Outcome, Tempo};

use super::agenda::{Action, MILLISECOND, Micros, SECOND, micros};
use super::compare::Differing;
use super::held::Via;
use super::lengths;
use super::letter::{FRAME, Letter, What, traffic};
use super::questions::{Answer, Answered, Ask, Asked, BROKEN};
use super::seat::NOBODY;
use super::whole::Pull;
use super::world::World;
use crate::sabotage::Sabotage;

/// After how long a question is given up, as in `node/src/network.rs`.
const REQUEST_TIMEOUT: Micros = 30 * SECOND;
/// The shortest pause of a machine's clock, as in `node/src/engine/sync.rs`.
const TICK: Micros = 5 * MILLISECOND;
const NEVER: Micros = Micros::MAX;

/// The most questions of a machine that are open, those given up included: the protocol's own bound.
pub(super) const MOST_OPEN: u64 = 32;

/// A server's machine, and what it waits for.
#[derive(Debug)]
pub(super) struct Syncing {
    pub(super) machine: AntiEntropy<u32>,
    /// Questions without an answer, in the order in which they were asked and are given up.
    open: BTreeMap<u32, Open>,
    next: u32,
    /// When the machine's clock goes next.
    alarm: Micros,
}

#[derive(Debug)]
struct Open {
    peer: u32,
    until: Micros,
    what: Pending,
}

/// What an answer is waited for.
#[derive(Debug)]
pub(super) enum Pending {
    /// Which of these rooms differ.
    Compare { rooms: Vec<u32>, wanted: Comparison },
    /// How one of them does, and the others are to be looked at after it.
    Entries { room: u32, sections: Sections, back: bool, rest: Differing },
    /// Stretches of chains.
    Bring { room: u32, ask: AskId },
    /// A part of a pull by whole vectors.
    Pull(Pull),
    /// Events by id that others wait for.
    ById { room: u32 },
}

/// What became of events that another server brought.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// Those that were not here before.
    pub(super) new: usize,
    /// Whether any waits for something.
    held: bool,
    /// The highest sequence number of each lane that came.
    reached: BTreeMap<(Tag, Lane), u64>,
}

impl Syncing {
    /// The machine of a server that is connected to nobody.
    pub(super) fn new(compare_every: Micros) -> Self {
        let tempo = Tempo { compare_every: Duration::from_micros(compare_every), ..Tempo::default() };
        Syncing { machine: AntiEntropy::new(tempo), open: BTreeMap::new(), next: 0, alarm: NEVER }
    }

    /// The server goes down. An answer that is still on its way is to none of the questions that it asks later.
    pub(super) fn forget(&mut self, compare_every: Micros) {
        let next = self.next;
        *self = Syncing { next, ..Syncing::new(compare_every) };
    }

    /// Whether a room is being pulled from a server.
    pub(super) fn is_pulling(&self, peer: u32, room: u32) -> bool {
        let pulls = |what: &Pending| matches!(what, Pending::Pull(pull) if pull.room == room);
        self.open.values().any(|open| open.peer == peer && pulls(&open.what))
    }
}

impl World {
    /// Whether repairs are left out.
    pub(super) fn never_compares(&self) -> bool {
        self.sabotage == Some(Sabotage::NeverCompares)
    }

    /// Tells a server's machine something, and does what it says.
    pub(super) fn feed(&mut self, server: u32, input: impl FnOnce(&mut AntiEntropy<u32>, Duration)) {
        if !self.servers[server as usize].up {
            return;
        }
        let (now, chance) = (self.time(), self.dice.number());
        let machine = &mut self.servers[server as usize].sync.machine;
        input(machine, now);
        for due in machine.poll(now, chance) {
            self.act(server, due);
        }
        self.wind(server);
    }

    fn act(&mut self, server: u32, due: Due<u32>) {
        match due {
            Due::Compare { peer, rooms } => self.compare(server, peer, rooms),
            Due::Bring { ask, peer, room, stretches, offers } => {
                let Some(room) = self.number_of(&room) else { return };
                let time = self.time();
                self.observer.trace(time, format_args!("bring {server} {peer} {room} {}", stretches.len()));
                self.ask(server, peer, Asked::Bring { room, stretches, offers }, Pending::Bring { room, ask });
            }
            Due::PullWhole { ask, peer, room } => {
                let Some(room) = self.number_of(&room) else { return };
                self.pull_for(server, peer, room, ask);
            }
            Due::Review { room, claims } => {
                let unmet = self.unmet(server, &room, &claims);
                self.feed(server, |machine, now| machine.reviewed(room, &unmet, now));
            }
        }
    }

    /// Sets a machine's clock.
    fn wind(&mut self, server: u32) {
        let now = self.time();
        let this = &mut self.servers[server as usize];
        // Up to the next whole microsecond.
        let due = this.sync.machine.next_due(now).map(|due| micros(due) + 1);
        let given_up = this.sync.open.first_key_value().map(|(_, open)| open.until);
        let Some(at) = due.into_iter().chain(given_up).min() else { return };
        let at = at.max(self.now + TICK);
        if at < this.sync.alarm {
            this.sync.alarm = at;
            let life = this.life;
            self.agenda.push(at, Action::Alarm { server, life });
        }
    }

    /// A machine's clock goes.
    pub(super) fn alarm(&mut self, server: u32) {
        let sync = &mut self.servers[server as usize].sync;
        if sync.alarm != self.now {
            // It was set to an earlier time since.
            return;
        }
        sync.alarm = NEVER;
        while let Some(late) = self.servers[server as usize].sync.open.first_entry() {
            if late.get().until > self.now {
                break;
            }
            let Open { peer, what, .. } = late.remove();
            self.unanswered(server, peer, what);
        }
        self.feed(server, |_, _| {});
    }

    /// Two servers are connected, one of them being `server`.
    pub(super) fn meet(&mut self, server: u32, peer: u32) {
        if !self.never_compares() {
            self.feed(server, |machine, now| machine.connected(peer, now));
        }
    }

    /// They are connected no more.
    pub(super) fn part_with(&mut self, server: u32, peer: u32) {
        if !self.servers[server as usize].up {
            return;
        }
        self.feed(server, |machine, _| machine.gone(&peer));
        let open = &self.servers[server as usize].sync.open;
        let lost: Vec<u32> = open.iter().filter(|(_, open)| open.peer == peer).map(|(number, _)| *number).collect();
        for number in lost {
            if let Some(open) = self.servers[server as usize].sync.open.remove(&number) {
                self.unanswered(server, peer, open.what);
            }
        }
    }

    /// Compares a room with one neighbour, if they are connected.
    pub(super) fn look(&mut self, at: u32, peer: u32) {
        let seat = &self.seats[at as usize];
        if self.never_compares() || seat.place_of(peer).is_none() {
            return;
        }
        let (server, peer) = (seat.server, self.server_of[peer as usize]);
        let room = self.rooms[seat.room as usize].archive.room();
        self.feed(server, |machine, now| machine.look(peer, room, now, false));
    }

    /// Compares a room with every neighbour.
    pub(super) fn spread(&mut self, at: u32) {
        for peer in self.seats[at as usize].connections() {
            self.look(at, peer);
        }
    }

    /// Asks another server.
    pub(super) fn ask(&mut self, server: u32, peer: u32, what: Asked, pending: Pending) {
        let bytes = self.question_length(server, &what);
        let until = self.now + REQUEST_TIMEOUT;
        let sync = &mut self.servers[server as usize].sync;
        let number = sync.next;
        sync.next = number.wrapping_add(1);
        sync.open.insert(number, Open { peer, until, what: pending });
        self.dispatch(server, peer, bytes, What::Ask(Box::new(Ask { number, what })));
        self.wind(server);
    }

    fn question_length(&mut self, server: u32, what: &Asked) -> u32 {
        let (room, have) = match what {
            Asked::Compare(rooms) => (rooms.first().map_or(0, |(room, _)| *room), None),
            Asked::Entries { room, .. } | Asked::Bring { room, .. } => (*room, None),
            Asked::Pull { room, .. } | Asked::Fetch { room, .. } => (*room, self.vector_length(server, *room)),
        };
        let id = self.rooms[room as usize].archive.room();
        FRAME + lengths::asked(what, id, have.unwrap_or(0)) as u32
    }

    /// Sends a question or an answer, if the two servers are connected. They are about no single seat.
    pub(super) fn dispatch(&mut self, from: u32, to: u32, bytes: u32, what: What) {
        if !self.are_connected(from, to) {
            return;
        }
        let (sender, receiver) = (&self.servers[from as usize], &self.servers[to as usize]);
        let (Some(own), Some(theirs)) = (sender.seats.first(), receiver.seats.first()) else { return };
        let letter = Letter { from: *own, to: *theirs, life: receiver.life, bytes, whole: false, what };
        self.observer.sent(traffic::SYNC, u64::from(bytes));
        self.servers[from as usize].bytes_out += u64::from(bytes);
        let there = self.lines.depart(self.now, from, to, bytes);
        self.put_on_its_way(there, letter);
    }

    /// An answer is there. One that comes too late, or twice, is to nothing.
    pub(super) fn answered(&mut self, from: u32, to: u32, answer: Answer) {
        let Some(open) = self.servers[to as usize].sync.open.remove(&answer.number) else { return };
        match (open.what, answer.what) {
            (Pending::Compare { rooms, wanted }, Answered::Compared(sketches)) => {
                let back = matches!(wanted, Comparison::Rooms { back: true, .. });
                self.compared(to, from, &rooms, back, sketches);
            }
            (Pending::Entries { room, sections, back, rest }, Answered::Entries(entries)) => {
                // More than was asked for would look like something that is missing here.
                let difference = self.differ(to, room, &entries.within(sections), sections);
                self.differs(to, from, room, difference, back);
                self.weigh(to, from, back, rest);
            }
            (Pending::Bring { room, ask }, Answered::Brought { events, more }) => {
                self.brought(to, from, (room, ask), &events, more);
            }
            (Pending::Pull(pull), Answered::Events { events, has, more }) => {
                self.came(to, from, pull, &events, has.as_ref(), more);
            }
            (Pending::ById { room }, Answered::Events { events, .. }) => self.fetched(to, from, room, &events),
            (what, _) => self.unanswered(to, from, what),
        }
    }

    /// A question will have no answer.
    fn unanswered(&mut self, server: u32, peer: u32, what: Pending) {
        match what {
            Pending::Entries { room, back, rest, .. } if self.are_connected(server, peer) => {
                self.differs(server, peer, room, None, back);
                self.weigh(server, peer, back, rest);
            }
            Pending::Entries { .. } => self.feed(server, |machine, _| machine.compared(&peer)),
            Pending::Compare { wanted, .. } => {
                self.feed(server, |machine, now| machine.uncompared(peer, wanted, now));
            }
            Pending::Bring { ask, .. } => {
                self.feed(server, |machine, now| machine.answered(ask, Outcome::Failed, now));
            }
            Pending::Pull(pull) => self.pull_over(server, &pull),
            Pending::ById { room } => self.unfetched(server, peer, room),
        }
    }

    fn brought(&mut self, server: u32, peer: u32, (room, ask): (u32, AskId), events: &[u32], more: bool) {
        let Some(at) = self.seat_in(server, room) else { return };
        let mut delivered = self.deliver(at, peer, events);
        let reached = std::mem::take(&mut delivered.reached);
        let outcome = Outcome::Brought { reached, waiting: self.seats[at as usize].waiting(), more };
        self.feed(server, |machine, now| machine.answered(ask, outcome, now));
        self.mind_held(at, peer, &delivered);
    }

    /// Takes in what another server sent.
    pub(super) fn deliver(&mut self, at: u32, peer: u32, events: &[u32]) -> Delivered {
        let mut delivered = Delivered::default();
        let room = self.seats[at as usize].room;
        let from = self.seat_in(peer, room).unwrap_or(NOBODY);
        for number in events.iter().filter(|number| **number != BROKEN) {
            let node = self.rooms[room as usize].archive.get(*number).node;
            let reached = delivered.reached.entry((Tag::of(node.origin.as_bytes()), node.lane)).or_default();
            *reached = node.seq.max(*reached);
            let taken = self.take_in(at, *number, Via { from, gossip: false });
            delivered.new += taken.new;
            delivered.held |= taken.held;
        }
        self.settle(at);
        delivered
    }

    /// Sees to it that what waits is fetched.
    pub(super) fn mind_held(&mut self, at: u32, peer: u32, delivered: &Delivered) {
        if delivered.held {
            self.repair(at, peer);
        }
    }
}
