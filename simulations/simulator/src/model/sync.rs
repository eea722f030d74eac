//! Comparisons, pulls and repairs between neighbours, as `node/src/engine/sync.rs` runs them.

use rocketmesh_protocol::limits::MAX_IDS_PER_REQUEST;

use super::agenda::{Action, Micros, SECOND};
use super::held::Via;
use super::letter::{FRAME, What, traffic};
use super::repair::{self, Answer, Ask, Why};
use super::world::World;
use crate::sabotage::Sabotage;

/// After which time a pull that brought no answer is forgotten.
const PULL_PATIENCE: Micros = 30 * SECOND;
/// Rounds of one pull that brought nothing new before it is given up.
const FRUITLESS_ROUNDS: u8 = 2;
/// Bytes of a room and its digest, of a lane of a have-vector, and of an id.
const DIGEST_BYTES: u32 = 68;
const LANE_BYTES: u32 = 80;
const ID_BYTES: u32 = 34;

impl World {
    /// Whether repairs are left out.
    fn never_compares(&self) -> bool {
        self.sabotage == Some(Sabotage::NeverCompares)
    }

    /// Compares a room with every neighbour.
    pub(super) fn compare_all(&mut self, at: u32) {
        for place in 0..self.seats[at as usize].company.len() {
            self.compare(at, place);
        }
    }

    /// Compares a room with one neighbour, if they are connected.
    pub(super) fn compare_with(&mut self, at: u32, peer: u32) {
        if let Some(place) = self.seats[at as usize].place_of(peer) {
            self.compare(at, place);
        }
    }

    fn compare(&mut self, at: u32, place: usize) {
        let seat = &self.seats[at as usize];
        if seat.joined && seat.company[place].up && !self.never_compares() {
            let print = seat.print;
            self.send(at, place, FRAME + DIGEST_BYTES, traffic::SYNC, What::Compare(print));
        }
    }

    /// A neighbour tells the sum over what it has.
    pub(super) fn compared(&mut self, from: u32, to: u32, print: u64) {
        let seat = &self.seats[to as usize];
        if !seat.joined || self.servers[seat.server as usize].is_silent() {
            return;
        }
        let Some(place) = seat.place_of(from) else { return };
        if seat.print == print {
            let (answering, asking) = (self.server_of[to as usize], self.server_of[from as usize]);
            self.count(answering, asking, FRAME, traffic::SYNC);
            return;
        }
        self.send(to, place, FRAME + DIGEST_BYTES, traffic::SYNC, What::Differs);
        // What differs may be missing here as well as there.
        self.pull(to, from);
    }

    /// Pulls a room from a neighbour, unless that is under way.
    pub(super) fn pull(&mut self, at: u32, peer: u32) {
        let seat = &self.seats[at as usize];
        if seat.place_of(peer).is_some_and(|place| seat.company[place].pulling <= self.now) {
            self.ask(at, peer, Ask::pull(0));
        }
    }

    fn ask(&mut self, at: u32, peer: u32, mut ask: Ask) {
        let until = self.now + PULL_PATIENCE;
        let seat = &mut self.seats[at as usize];
        let Some(place) = seat.place_of(peer) else { return };
        seat.company[place].pulling = until;
        ask.has = seat.has.clone();
        let bytes = FRAME + LANE_BYTES * seat.lanes() + ID_BYTES * ask.wanted.len() as u32;
        self.send(at, place, bytes, traffic::SYNC, What::Ask(Box::new(ask)));
    }

    /// A neighbour asks. What the answer carries is on disk before it leaves.
    pub(super) fn asked(&mut self, from: u32, to: u32, ask: &Ask) {
        let seat = &self.seats[to as usize];
        let server = &self.servers[seat.server as usize];
        if !seat.joined || server.is_silent() {
            return;
        }
        let archive = &self.rooms[seat.room as usize].archive;
        let answer = repair::answer(ask, seat, archive);
        let carried: u32 = answer.events.iter().map(|number| archive.get(*number).bytes + 8).sum();
        let bytes = FRAME + LANE_BYTES * seat.lanes() + carried;
        let what = What::Answer(Box::new(answer));
        let (life, flush) = (server.life, server.flush);
        if flush == 0 {
            self.post(to, from, bytes, what);
        } else {
            self.agenda.push(self.now + flush, Action::Post { from: to, to: from, life, bytes, what });
        }
    }

    /// An answer leaves.
    pub(super) fn post(&mut self, at: u32, peer: u32, bytes: u32, what: What) {
        if let Some(place) = self.seats[at as usize].place_of(peer) {
            self.send(at, place, bytes, traffic::SYNC, what);
        }
    }

    /// An answer is there: takes it in, and asks for what is still missing.
    pub(super) fn answered(&mut self, from: u32, to: u32, answer: &Answer) {
        let (mut new, mut held) = (0, false);
        for number in &answer.events {
            let taken = self.take_in(to, *number, Via { from, gossip: false });
            new += taken.new;
            held |= taken.held;
        }
        self.settle(to);
        let seat = &mut self.seats[to as usize];
        if answer.why == Why::Repair {
            seat.repairing = 0;
        }
        let seat = &self.seats[to as usize];
        let fruitless = answer.fruitless + 1;
        let next = match answer.why {
            Why::Pull if answer.more => {
                // A peer that says that there is more and sends nothing new has nothing to say.
                let fruitless = if new == 0 { fruitless } else { 0 };
                (fruitless < FRUITLESS_ROUNDS).then(|| Ask::pull(fruitless))
            }
            Why::Pull => {
                let heads = repair::unknown(&answer.has, seat, &self.rooms[seat.room as usize].archive);
                (!heads.is_empty()).then(|| Ask::fetch(Why::Heads, heads, answer.fruitless, new > 0))
            }
            Why::Heads => (fruitless < FRUITLESS_ROUNDS && (new > 0 || answer.brought)).then(|| Ask::pull(fruitless)),
            Why::Repair => (seat.waiting() > 0).then(|| Ask::pull(0)),
        };
        match next {
            Some(ask) => self.ask(to, from, ask),
            None => self.pulled(to, from),
        }
        if held {
            self.repair(to, from);
        }
    }

    /// A pull has come to its end.
    fn pulled(&mut self, at: u32, peer: u32) {
        let seat = &mut self.seats[at as usize];
        seat.repairing = 0;
        if let Some(place) = seat.place_of(peer) {
            seat.company[place].pulling = 0;
        }
        if seat.finding.is_some() {
            self.own_chain_found(at);
        }
        self.obtained(at);
    }

    /// Fetches what held events wait for, first by id from whoever sent them, then by comparing everything.
    pub(super) fn repair(&mut self, at: u32, peer: u32) {
        let seat = &mut self.seats[at as usize];
        if self.sabotage == Some(Sabotage::NeverCompares) || seat.repairing > self.now {
            return;
        }
        let Some(held) = &seat.held else { return };
        let wanted = held.wanted(&seat.has);
        if wanted.is_empty() {
            return;
        }
        let connected: Vec<u32> = seat.company.iter().filter(|other| other.up).map(|other| other.seat).collect();
        let peer = if connected.contains(&peer) { Some(peer) } else { self.dice.pick(&connected) };
        let Some(peer) = peer else { return };
        seat.repairing = self.now + PULL_PATIENCE;
        if wanted.len() <= MAX_IDS_PER_REQUEST {
            self.ask(at, peer, Ask::fetch(Why::Repair, wanted, 0, false));
        } else {
            self.pull(at, peer);
        }
    }
}
