//! Pulling from one server whatever it has, by whole vectors, as `node/src/engine/sync/pull.rs` does: for joins, for the own chain
//! after a start, and where the machine knows nothing better.

use std::collections::BTreeMap;

use rocketmesh_protocol::sync::{AskId, Outcome};

use super::agenda::{Micros, SECOND};
use super::answers::unknown;
use super::marks::Marks;
use super::questions::Asked;
use super::sync::Pending;
use super::world::World;

/// Rounds of one pull that brought nothing new before it is given up.
const FRUITLESS_ROUNDS: u8 = 2;
/// How long a pull in the background may go on, whatever it brings.
const LONGEST_PULL: Micros = 120 * SECOND;

/// A pull that is under way.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) room: u32,
    stage: Stage,
    /// The machine's question, if it is for one.
    question: Option<AskId>,
    /// Whether it is for what waits.
    repairs: bool,
    begun: Micros,
    /// Rounds that brought nothing new.
    fruitless: u8,
    /// Whether the round before brought something.
    brought: bool,
}

/// What a pull has asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Whatever is lacking.
    Rest,
    /// Heads that were shown and did not come, by id.
    Heads,
}

impl World {
    /// Pulls a room from the server of another seat, unless that is under way.
    pub(super) fn pull(&mut self, at: u32, peer: u32) {
        let (server, peer) = (self.server_of[at as usize], self.server_of[peer as usize]);
        let pull = self.new_pull(self.seats[at as usize].room);
        self.begin_pull(server, peer, pull);
    }

    /// Pulls a room for what waits in it.
    pub(super) fn pull_to_repair(&mut self, server: u32, peer: u32, room: u32) {
        let pull = Pull { repairs: true, ..self.new_pull(room) };
        self.begin_pull(server, peer, pull);
    }

    /// Pulls a room for a question of the machine.
    pub(super) fn pull_for(&mut self, server: u32, peer: u32, room: u32, ask: AskId) {
        let pull = Pull { question: Some(ask), ..self.new_pull(room) };
        self.begin_pull(server, peer, pull);
    }

    fn new_pull(&self, room: u32) -> Pull {
        let begun = self.now;
        Pull { room, stage: Stage::Rest, question: None, repairs: false, begun, fruitless: 0, brought: false }
    }

    fn begin_pull(&mut self, server: u32, peer: u32, pull: Pull) {
        if self.servers[server as usize].sync.is_pulling(peer, pull.room) {
            self.pull_over(server, &pull);
        } else {
            self.go_on(server, peer, pull, Vec::new());
        }
    }

    fn go_on(&mut self, server: u32, peer: u32, pull: Pull, wanted: Vec<u32>) {
        let room = pull.room;
        let Some(at) = self.seat_in(server, room) else { return };
        let has = self.seats[at as usize].has.clone();
        let what = match pull.stage {
            Stage::Rest => Asked::Pull { room, has },
            Stage::Heads => Asked::Fetch { room, wanted, has },
        };
        let time = self.time();
        self.observer.trace(time, format_args!("pull {server} {peer} {room}"));
        self.ask(server, peer, what, Pending::Pull(pull));
    }

    /// A part of a pull is there: takes it in, and asks for what is still missing.
    pub(super) fn came(
        &mut self,
        server: u32,
        peer: u32,
        mut pull: Pull,
        events: &[u32],
        has: Option<&Marks>,
        more: bool,
    ) {
        let Some(at) = self.seat_in(server, pull.room) else { return };
        let delivered = self.deliver(at, peer, events);
        let new = delivered.new;
        if let Some(ask) = pull.question.filter(|_| new > 0) {
            self.feed(server, |machine, now| machine.heard(ask, now));
        }
        let next = self.next_stage(at, &mut pull, (events.len(), new), has, more);
        let bounded = pull.question.is_some() || pull.repairs;
        let in_time = !bounded || self.now < pull.begun + LONGEST_PULL;
        match next.filter(|_| in_time) {
            Some(wanted) => self.go_on(server, peer, pull, wanted),
            None => {
                self.pull_over(server, &pull);
                // What others pull for ends early, or begins in the middle.
                if !bounded && self.seats[at as usize].finding.is_some() {
                    self.own_chain_found(at);
                }
                self.obtained(at);
            }
        }
        self.mind_held(at, peer, &delivered);
    }

    /// What a pull asks for next, by id where it names any; none if it is over.
    fn next_stage(
        &self,
        at: u32,
        pull: &mut Pull,
        (received, new): (usize, usize),
        has: Option<&Marks>,
        more: bool,
    ) -> Option<Vec<u32>> {
        let seat = &self.seats[at as usize];
        match pull.stage {
            Stage::Rest => {
                if more {
                    // A peer that says that there is more and sends nothing new has nothing to say.
                    pull.fruitless = if new == 0 { pull.fruitless + 1 } else { 0 };
                    if received > 0 && pull.fruitless < FRUITLESS_ROUNDS {
                        return Some(Vec::new());
                    }
                }
                let heads = unknown(has?, seat, &self.rooms[seat.room as usize].archive);
                pull.stage = Stage::Heads;
                pull.brought = new > 0;
                (!heads.is_empty()).then_some(heads)
            }
            Stage::Heads => {
                pull.stage = Stage::Rest;
                pull.fruitless += 1;
                let fruitful = new > 0 || pull.brought;
                (fruitful && pull.fruitless < FRUITLESS_ROUNDS).then(Vec::new)
            }
        }
    }

    /// A pull is over, whatever it brought.
    pub(super) fn pull_over(&mut self, server: u32, pull: &Pull) {
        if let Some(ask) = pull.question {
            let outcome = Outcome::Brought { reached: BTreeMap::new(), waiting: 0, more: false };
            self.feed(server, |machine, now| machine.answered(ask, outcome, now));
        }
        if let Some(at) = self.seat_in(server, pull.room).filter(|_| pull.repairs) {
            self.seats[at as usize].repair = None;
        }
    }
}
