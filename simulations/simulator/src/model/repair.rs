//! Fetching what held events wait for, as `node/src/engine/sync/pull.rs` does: a moment later, since what comes over several
//! servers overtakes itself all the time; by id from whoever sent them and then from others; and by a pull if none brings it.

use rocketmesh_protocol::limits::MAX_IDS_PER_REQUEST;

use super::agenda::{Action, MILLISECOND, Micros, SECOND};
use super::questions::Asked;
use super::sync::Pending;
use super::world::World;

/// How long an event may wait for what it stands on before that is asked for.
const OVERTAKING: Micros = 300 * MILLISECOND;
/// How long what waits is left to those who are bringing the room: while they bring something, and at all.
const NOTHING_BROUGHT: Micros = 1_500 * MILLISECOND;
const LONGEST_BRINGING: Micros = 30 * SECOND;
/// How long a server may take to bring what is asked for by id before another one is asked, and how many are.
const BY_ID: Micros = 4 * SECOND;
const ASKED_BY_ID: usize = 3;

/// What is done about what waits in a room.
#[derive(Clone, Debug)]
pub(super) struct Repair {
    /// The server that sent what waits.
    peer: u32,
    begun: Micros,
    /// How many events waited when that last changed, and since when.
    here: usize,
    grew: Micros,
    /// When it goes on by itself; none while it waits for a pull.
    due: Option<Micros>,
    /// Servers that were asked by id, and the first of them that answered.
    asked: Vec<u32>,
    answered: Option<u32>,
}

impl World {
    /// Has what waits in a room looked after, a moment later.
    pub(super) fn repair(&mut self, at: u32, peer: u32) {
        let (now, never) = (self.now, self.never_compares());
        let seat = &mut self.seats[at as usize];
        let here = seat.waiting();
        if never || seat.repair.is_some() || here == 0 {
            return;
        }
        let (asked, answered) = (Vec::new(), None);
        let repair = Repair { peer, begun: now, here, grew: now, due: None, asked, answered };
        seat.repair = Some(Box::new(repair));
        self.go_on_after(at, OVERTAKING);
    }

    /// A repair goes on after a pause, if nothing else moves it before.
    fn go_on_after(&mut self, at: u32, pause: Micros) {
        let due = self.now + pause;
        let seat = &mut self.seats[at as usize];
        if let Some(repair) = &mut seat.repair {
            repair.due = Some(due);
            let life = self.servers[seat.server as usize].life;
            self.agenda.push(due, Action::Repair { seat: at, life });
        }
    }

    /// A repair's pause is over.
    pub(super) fn repair_due(&mut self, at: u32) {
        let now = self.now;
        let seat = &mut self.seats[at as usize];
        let waiting = seat.waiting();
        let Some(repair) = seat.repair.as_mut().filter(|repair| repair.due == Some(now)) else { return };
        if waiting != repair.here {
            (repair.here, repair.grew) = (waiting, now);
        }
        let room = self.rooms[seat.room as usize].archive.room();
        let machine = &self.servers[seat.server as usize].sync.machine;
        let in_time = now - repair.grew < NOTHING_BROUGHT && now - repair.begun < LONGEST_BRINGING;
        if repair.asked.is_empty() && in_time && machine.is_bringing(&room) {
            self.go_on_after(at, OVERTAKING);
        } else {
            self.fetch_next(at);
        }
    }

    /// Asks the next server for what is waited for, by id as long as that helps.
    fn fetch_next(&mut self, at: u32) {
        let seat = &self.seats[at as usize];
        let (server, room) = (seat.server, seat.room);
        let Some(repair) = &seat.repair else { return };
        let wanted = seat.held.as_ref().map(|held| held.wanted(&seat.has)).unwrap_or_default();
        let connected: Vec<u32> = seat.connections().iter().map(|other| self.server_of[*other as usize]).collect();
        let by_id = wanted.len() <= MAX_IDS_PER_REQUEST && repair.asked.len() < ASKED_BY_ID;
        let first = repair.answered.unwrap_or(repair.peer);
        let unasked: Vec<u32> = connected.iter().copied().filter(|other| !repair.asked.contains(other)).collect();
        let by_id = by_id && !unasked.is_empty();
        let from = if by_id { &unasked } else { &connected };
        let peer = if from.contains(&first) { Some(first) } else { self.dice.pick(from) };
        let Some(peer) = peer.filter(|_| !wanted.is_empty()) else {
            self.seats[at as usize].repair = None;
            return;
        };
        let seat = &mut self.seats[at as usize];
        let has = seat.has.clone();
        if let Some(repair) = &mut seat.repair {
            repair.due = None;
            repair.asked.push(peer);
        }
        if by_id {
            self.go_on_after(at, BY_ID);
            self.ask(server, peer, Asked::Fetch { room, wanted, has }, Pending::ById { room });
        } else {
            self.pull_to_repair(server, peer, room);
        }
    }

    /// A server has brought what it has of what was asked for by id.
    pub(super) fn fetched(&mut self, server: u32, peer: u32, room: u32, events: &[u32]) {
        let Some(at) = self.seat_in(server, room) else { return };
        let delivered = self.deliver(at, peer, events);
        if let Some(repair) = &mut self.seats[at as usize].repair {
            repair.answered = repair.answered.or(Some(peer));
        }
        self.unfetched(server, peer, room);
        self.mind_held(at, peer, &delivered);
    }

    /// A server brings nothing more by id: the next one is asked, unless that was done already.
    pub(super) fn unfetched(&mut self, server: u32, peer: u32, room: u32) {
        let Some(at) = self.seat_in(server, room) else { return };
        let awaited = |repair: &Repair| repair.due.is_some() && repair.asked.last() == Some(&peer);
        if self.seats[at as usize].repair.as_deref().is_some_and(awaited) {
            self.fetch_next(at);
        }
    }
}
