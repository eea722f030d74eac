//! Anti-entropy as a machine: what happens goes in, what is to be done comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::RoomId;
use crate::sync::ask::{Ask, Wanted};
use crate::sync::plan::MOST_COMPARISONS;
use crate::sync::room::Room;
use crate::sync::{AskId, Comparison, Difference, Outcome, Path, Tempo};

/// Peers that are looked after. More connections than a server has.
const MOST_PEERS: usize = 4096;
/// Rooms in which something is missing, at a time. What more there is the next comparison finds.
const MOST_ROOMS: usize = 4096;
/// Peers who bring one room, at a time.
const MOST_SOURCES: usize = 16;
/// What is remembered of what peers say they have, over all rooms: some 64 bytes each.
const MOST_REMEMBERED: usize = 262_144;
/// What of that one peer may be the reason for: what the first ones make up leaves room for others. A longer difference is brought
/// in parts, each found by another comparison.
const MOST_OF_PEER: usize = MOST_REMEMBERED / 8;
/// Comparisons of single rooms that wait for their time.
const MOST_LOOKS: usize = 16_384;

/// How long after what a peer left open was not waited for, because it came back, that may be so again. One that comes back all the
/// time would else take every place with questions that it leaves open.
const FORGIVEN: Duration = Duration::from_secs(30);

/// A peer that is connected.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// When it was connected last.
    since: Duration,
    /// When it last came back, and what it had left open was not waited for any more.
    forgiven: Option<Duration>,
    /// When all rooms are to be compared with it next.
    pub(super) compare_at: Duration,
    /// Comparisons with it that are under way.
    pub(super) comparing: usize,
    /// Comparisons in a row that brought no answer, and questions in a row that brought nothing.
    unanswered: u32,
    failures: u32,
    /// Until when it is not asked for anything.
    pub(super) paused_until: Duration,
}

/// A comparison of one room that waits for its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) at: Duration,
    pub(super) back: bool,
}

/// What one server does so that it ends with everything that the others hold: a pure machine. Times count from any moment that
/// stays the same; `P` names peers.
///
/// Everything outstanding is bounded by the constants of this module and of `plan`. What does not fit is forgotten, which costs
/// no more than another comparison.
#[derive(Clone, Debug)]
pub struct AntiEntropy<P> {
    pub(super) tempo: Tempo,
    pub(super) peers: BTreeMap<P, Peer>,
    pub(super) rooms: BTreeMap<RoomId, Room<P>>,
    pub(super) asks: BTreeMap<AskId, Ask<P>>,
    pub(super) looks: BTreeMap<(P, RoomId), Look>,
    pub(super) next_ask: u64,
    /// The last room that had its turn.
    pub(super) turn: Option<RoomId>,
}

impl<P: Copy + Ord> AntiEntropy<P> {
    /// The machine of a server that knows nobody yet.
    pub fn new(tempo: Tempo) -> Self {
        AntiEntropy {
            tempo,
            peers: BTreeMap::new(),
            rooms: BTreeMap::new(),
            asks: BTreeMap::new(),
            looks: BTreeMap::new(),
            next_ask: 0,
            turn: None,
        }
    }

    /// A peer is connected, or connected anew: all rooms are compared with it at once, whatever failed before, and about once a
    /// minute from now on. Questions that it left open are not waited for: they may have gone down with an older connection.
    pub fn connected(&mut self, peer: P, now: Duration) {
        if self.peers.len() >= MOST_PEERS && !self.peers.contains_key(&peer) {
            return;
        }
        let known = self.peers.get(&peer);
        // Comparisons that hang keep no new one from being made.
        let comparing = known.map_or(0, |known| known.comparing.min(MOST_COMPARISONS - 1));
        let lately = known.and_then(|known| known.forgiven).filter(|at| now < at.saturating_add(FORGIVEN));
        let forgiven = lately.or(known.map(|_| now));
        if lately.is_none() {
            self.asks.retain(|_, ask| ask.peer != peer || !ask.given_up);
        }
        let (unanswered, failures) = (0, 0);
        let known = Peer { since: now, forgiven, compare_at: now, comparing, unanswered, failures, paused_until: now };
        self.peers.insert(peer, known);
    }

    /// Whether a peer came back after this moment, so that what was open is not waited for.
    pub(super) fn came_back(&self, peer: &P, moment: Duration) -> bool {
        self.peers.get(peer).and_then(|known| known.forgiven).is_some_and(|at| at > moment)
    }

    /// A peer is not connected any longer. Others are asked for what it was to bring.
    pub fn gone(&mut self, peer: &P) {
        self.peers.remove(peer);
        self.looks.retain(|(other, _), _| other != peer);
        let asks: Vec<AskId> = self.asks.iter().filter(|(_, ask)| ask.peer == *peer).map(|(id, _)| *id).collect();
        for id in asks {
            self.answered(id, Outcome::Failed, Duration::ZERO);
        }
        for room in self.rooms.values_mut() {
            room.remove(peer);
            room.wholes.remove(peer);
            room.offers.remove(peer);
            room.unmet.remove(peer);
        }
        self.tidy();
    }

    /// The peers that are connected are these; all others are gone, but for those that were connected so lately that the list may
    /// be older.
    pub fn present(&mut self, peers: &[P], now: Duration) {
        let settled = |known: &Peer| known.since.saturating_add(self.tempo.stall) <= now;
        let absent = self.peers.iter().filter(|(peer, known)| settled(known) && !peers.contains(peer));
        let gone: Vec<P> = absent.map(|(peer, _)| *peer).collect();
        for peer in &gone {
            self.gone(peer);
        }
        for peer in peers {
            if !self.peers.contains_key(peer) {
                self.connected(*peer, now);
            }
        }
    }

    /// One room is to be compared with a peer, at this moment: it was said to have something, or something may have passed it by.
    /// `back` says that it was the peer's own question that named something missing here.
    pub fn look(&mut self, peer: P, room: RoomId, at: Duration, back: bool) {
        if !self.peers.contains_key(&peer) || self.looks.len() >= MOST_LOOKS {
            return;
        }
        let look = self.looks.entry((peer, room)).or_insert(Look { at, back });
        look.at = look.at.min(at);
        look.back &= back;
    }

    /// As [`AntiEntropy::look`] after an answer to a peer who holds something that is missing here: after a pause.
    pub fn asked_by(&mut self, peer: P, room: RoomId, now: Duration) {
        let at = now.saturating_add(self.tempo.ask_back);
        self.look(peer, room, at, true);
    }

    /// A comparison found a room to differ. `difference` is none where only whole vectors can tell how.
    pub fn differs(
        &mut self,
        peer: P,
        room: RoomId,
        path: Path,
        mut difference: Option<Difference>,
        back: bool,
        now: Duration,
    ) {
        let known = self.rooms.contains_key(&room);
        if !self.peers.contains_key(&peer) || !known && self.rooms.len() >= MOST_ROOMS && !self.make_space() {
            return;
        }
        if let Some(difference) = difference.as_mut().filter(|difference| !difference.lacking.is_empty()) {
            self.fit(&peer, &room, difference);
            if difference.lacking.is_empty() {
                return;
            }
        }
        let here = self.rooms.entry(room).or_insert_with(Room::new);
        let mut again = false;
        match difference {
            Some(difference) if difference.is_none() => {
                // What differed may have come meanwhile. Where it differs still, nothing tells how.
                here.remove(&peer);
                if here.unmet.remove(&peer) {
                    here.wholes.insert(peer);
                } else if !back {
                    again = here.unmet.insert(peer);
                }
            }
            Some(difference) if !difference.unclear => {
                if difference.offers && !back {
                    here.offers.insert(peer);
                }
                if difference.lacking.is_empty() {
                    here.remove(&peer);
                    here.unmet.remove(&peer);
                } else if here.sources.contains_key(&peer) || here.sources.len() < MOST_SOURCES {
                    here.add(peer, path, difference, now);
                }
            }
            // Whoever asks back leaves whole vectors to the one who asked first.
            _ if back => {}
            _ => {
                here.wholes.insert(peer);
            }
        }
        if again {
            self.look(peer, room, now.saturating_add(self.tempo.look_again), false);
        }
        self.tidy();
    }

    /// Leaves of a difference what there is room for beside all that is remembered.
    fn fit(&self, peer: &P, room: &RoomId, difference: &mut Difference) {
        let here = self.rooms.get(room);
        let replaced = here.map_or(0, |here| here.claims_of(peer));
        let all: usize = self.rooms.values().map(Room::size).sum();
        let of_peer: usize = self.rooms.values().map(|room| room.size_of(peer)).sum();
        let free = |most: usize, taken: usize| most.saturating_sub(taken.saturating_sub(replaced));
        let free = free(MOST_REMEMBERED, all).min(free(MOST_OF_PEER, of_peer));
        match here {
            Some(here) => here.fit(difference, free),
            None => Room::<P>::new().fit(difference, free),
        }
    }

    /// A comparison found a room not to differ, or not to be held by the peer.
    pub fn alike(&mut self, peer: &P, room: &RoomId) {
        if let Some(here) = self.rooms.get_mut(room) {
            here.remove(peer);
            here.unmet.remove(peer);
            here.offers.remove(peer);
        }
    }

    /// A peer is to be pulled from whole, as it said itself that there is something.
    pub fn pull_whole(&mut self, peer: P, room: RoomId, now: Duration) {
        self.differs(peer, room, Path::Direct, None, false, now);
    }

    /// A comparison with a peer is over.
    pub fn compared(&mut self, peer: &P) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.comparing = peer.comparing.saturating_sub(1);
            peer.unanswered = 0;
        }
    }

    /// A comparison with a peer is over and brought no answer. It is made again soon, and ever later if that brings none either.
    pub fn uncompared(&mut self, peer: P, rooms: Comparison, now: Duration) {
        let (again, longest) = (self.tempo.again, self.tempo.compare_every);
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.comparing = known.comparing.saturating_sub(1);
        let at = now.saturating_add(doubled(again, known.unanswered, longest));
        known.unanswered = known.unanswered.saturating_add(1);
        match rooms {
            Comparison::All => known.compare_at = known.compare_at.min(at),
            Comparison::Rooms { rooms, back } => rooms.into_iter().for_each(|room| self.look(peer, room, at, back)),
        }
    }

    /// A part of the answer to a question has come, and more is on its way.
    pub fn heard(&mut self, ask: AskId, now: Duration) {
        if let Some(ask) = self.asks.get_mut(&ask) {
            ask.heard = now;
        }
    }

    /// What became of a question.
    pub fn answered(&mut self, ask: AskId, outcome: Outcome, now: Duration) {
        let Some(Ask { peer, room, wanted, given_up, .. }) = self.asks.remove(&ask) else { return };
        let too_many = outcome == Outcome::TooMany;
        if too_many && let Some(known) = self.peers.get_mut(&peer) {
            known.paused_until = now.saturating_add(self.tempo.too_many);
        }
        let Wanted::Stretches(stretches) = wanted else { return self.tidy() };
        if let Some(known) = self.peers.get_mut(&peer) {
            let failures = known.failures;
            match outcome {
                Outcome::Brought { .. } => known.failures = 0,
                Outcome::Failed => known.failures = known.failures.saturating_add(1),
                Outcome::TooMany => {}
            }
            if outcome == Outcome::Failed {
                let pause = doubled(self.tempo.again, failures, self.tempo.retry);
                self.look(peer, room, now.saturating_add(pause), false);
            }
        }
        if let Some(here) = self.rooms.get_mut(&room) {
            match outcome {
                Outcome::Brought { reached, waiting, more } => {
                    here.waiting = waiting;
                    here.settle(peer, &stretches, &reached, more, given_up);
                }
                Outcome::TooMany | Outcome::Failed => {
                    if !given_up {
                        here.give_back(&stretches);
                    }
                    if too_many {
                        here.refuse(&peer);
                    } else {
                        here.remove(&peer);
                    }
                }
            }
            if here.let_go(&peer) {
                self.look(peer, room, now.saturating_add(self.tempo.retry), false);
            }
        }
        self.tidy();
    }

    /// Somebody looked which claims are met. Peers whose claims are not are compared with once more, a moment later; and if that
    /// does not help either, by whole vectors.
    pub fn reviewed(&mut self, room: RoomId, unmet: &[P], now: Duration) {
        let busy = self.under_way(room).any(|ask| !ask.is_whole());
        let Some(here) = self.rooms.get_mut(&room) else { return };
        here.reviewing = false;
        if busy || !here.is_exhausted() {
            // Somebody else has more meanwhile: there will be another look.
            return;
        }
        here.clear();
        let mut again = Vec::new();
        for peer in unmet.iter().filter(|peer| self.peers.contains_key(peer)) {
            if here.unmet.remove(peer) {
                here.wholes.insert(*peer);
            } else {
                here.unmet.insert(*peer);
                again.push(*peer);
            }
        }
        let at = now.saturating_add(self.tempo.look_again);
        for peer in again {
            self.look(peer, room, at, false);
        }
        self.tidy();
    }

    /// Whether something of the room is on its way, or about to be asked for.
    pub fn is_bringing(&self, room: &RoomId) -> bool {
        self.asks.values().any(|ask| ask.room == *room && !ask.given_up)
            || self.rooms.get(room).is_some_and(|room| !room.is_exhausted())
    }

    /// The questions that are under way.
    pub fn outstanding(&self) -> usize {
        self.asks.len()
    }

    pub(super) fn tidy(&mut self) {
        let asked: BTreeSet<RoomId> = self.asks.values().map(|ask| ask.room).collect();
        // Without anybody to ask nobody looks what came either: what peers that are gone made up would be remembered for ever.
        for (id, room) in &mut self.rooms {
            if room.sources.is_empty() && !asked.contains(id) {
                room.clear();
            }
        }
        self.rooms.retain(|_, room| !room.is_idle());
    }

    /// Forgets a room that nobody brings.
    fn make_space(&mut self) -> bool {
        let idle = self.rooms.iter().find(|(_, room)| room.sources.is_empty()).map(|(room, _)| *room);
        idle.is_some_and(|idle| self.rooms.remove(&idle).is_some())
    }
}

/// A pause that was doubled this often, up to the longest.
fn doubled(pause: Duration, times: u32, longest: Duration) -> Duration {
    pause.saturating_mul(1 << times.min(16)).min(longest)
}
