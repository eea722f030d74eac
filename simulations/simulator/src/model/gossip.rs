//! Gossip, as gossipsub does it: pushes along a mesh, and ids for whoever is outside of it.
//!
//! What a server says itself goes to every neighbour, as with gossipsub's flood publishing; what it passes on goes to
//! its mesh. A server with no more neighbours than a mesh has members pushes to all of them.

use std::sync::Arc;

use super::agenda::{Action, Micros, SECOND};
use super::held::Via;
use super::letter::{FRAME, Letter, What, traffic};
use super::seat::NOBODY;
use super::world::World;

/// How many heartbeats an id is told for, and how many the event itself can be asked for: gossipsub's default, and the
/// node's `history_length`.
const TOLD_FOR: u64 = 3;
const KEPT_FOR: u64 = 10;
/// How long nobody else is asked for an event that somebody was asked for: gossipsub's `iwant_followup_time`.
const PROMISED_FOR: Micros = 3 * SECOND;
/// Bytes of an id in a list, and of a message without one.
const ID_BYTES: u32 = 34;
/// Pieces of garbage after which a server wants nothing more of another.
const JUNK_BORNE: u32 = 16;

impl World {
    /// The number of a heartbeat, the same for all servers.
    fn heartbeat(&self) -> u64 {
        self.now / self.settings.heartbeat
    }

    /// Sends a message to a neighbour; messages to one neighbour stay in order, unless the scenario has them overtaken.
    pub(super) fn send(&mut self, at: u32, place: usize, bytes: u32, kind: usize, what: What) {
        let neighbour = &mut self.seats[at as usize].company[place];
        let peer = neighbour.seat;
        let (from, receiver) = (self.server_of[at as usize], self.server_of[peer as usize]);
        self.observer.sent(kind, u64::from(bytes));
        self.servers[from as usize].bytes_out += u64::from(bytes);
        let there = self.lines.depart(self.now, from, receiver, bytes).max(neighbour.last + 1);
        neighbour.last = there;
        let life = self.servers[receiver as usize].life;
        let letter = Letter { from: at, to: peer, life, bytes, whole: false, what };
        self.put_on_its_way(there, letter);
    }

    /// Puts a message down for when it is there: later, and once more, if the network is such.
    pub(super) fn put_on_its_way(&mut self, there: Micros, letter: Letter) {
        let late = self.lines.straggles();
        if let Some(after) = self.lines.repeats() {
            self.agenda.push(there + late + after, Action::Arrive(letter.clone()));
        }
        self.agenda.push(there + late, Action::Arrive(letter));
    }

    /// Counts a message that would tell nothing, without sending it.
    pub(super) fn count(&mut self, from: u32, to: u32, bytes: u32, kind: usize) {
        self.observer.sent(kind, u64::from(bytes));
        self.servers[from as usize].bytes_out += u64::from(bytes);
        self.servers[to as usize].bytes_in += u64::from(bytes);
        self.lines.occupy(self.now, from, bytes);
    }

    /// Passes an event on, or says it for the first time if it is nobody's.
    pub(super) fn publish(&mut self, at: u32, number: u32, except: u32) {
        let heartbeat = self.heartbeat();
        let seat = &mut self.seats[at as usize];
        seat.recent.push_back((heartbeat, number));
        if self.servers[seat.server as usize].is_silent() {
            return;
        }
        let all = except == NOBODY || seat.pushes_to_all(self.settings.degree);
        let bytes = self.rooms[seat.room as usize].archive.get(number).bytes + FRAME;
        for place in 0..self.seats[at as usize].company.len() {
            let other = &self.seats[at as usize].company[place];
            let due = other.up && (all || other.mesh) && other.seat != except;
            if due && self.seats[other.seat as usize].joined {
                self.send(at, place, bytes, traffic::PAYLOAD, What::Event(number));
            }
        }
    }

    /// A copy of an event is there.
    pub(super) fn heard(&mut self, from: u32, to: u32, number: u32) {
        let seat = &self.seats[to as usize];
        let server = seat.server as usize;
        if self.servers[server].is_honest() {
            let id = self.rooms[seat.room as usize].archive.get(number).event.id();
            let time = self.time();
            self.observer.heard(time, server, &id);
        }
        let seat = &self.seats[to as usize];
        if !seat.joined || seat.knows(number) {
            return;
        }
        let taken = self.take_in(to, number, Via { from, gossip: true });
        self.settle(to);
        if taken.held {
            let sender = self.server_of[from as usize];
            self.repair(to, sender);
        }
    }

    /// Bytes that are no event are there: dropped, and whoever goes on sending them is left.
    pub(super) fn junk(&mut self, from: u32, to: u32) {
        let count = self.junk.entry((to, from)).or_default();
        *count += 1;
        if *count == JUNK_BORNE {
            let time = self.time();
            let (sender, receiver) = (self.server_of[from as usize], self.server_of[to as usize]);
            self.observer.trace(time, format_args!("excluded {sender} by {receiver}"));
            self.excluded.insert((to, from));
            if let Some(neighbour) = self.seats[to as usize].company.iter_mut().find(|other| other.seat == from) {
                neighbour.ours = false;
            }
            self.disconnect(to, from);
            self.choose_company(to, SECOND);
        }
    }

    /// A server's heartbeat.
    pub(super) fn beat(&mut self, server: u32, life: u32) {
        for place in 0..self.servers[server as usize].seats.len() {
            let at = self.servers[server as usize].seats[place];
            if self.seats[at as usize].joined {
                self.tend_mesh(at);
                self.tell_ids(at);
            }
        }
        self.agenda.push(self.now + self.settings.heartbeat, Action::Beat { server, life });
    }

    /// Takes neighbours into the mesh, or lets some go.
    fn tend_mesh(&mut self, at: u32) {
        let (degree, low, high) = (self.settings.degree, self.settings.low, self.settings.high);
        let seat = &self.seats[at as usize];
        if seat.pushes_to_all(degree) {
            return;
        }
        let mesh = seat.company.iter().filter(|other| other.mesh).count();
        let outbound = seat.company.iter().filter(|other| other.mesh && other.ours).count();
        if mesh > high {
            self.thin_mesh(at, mesh - degree, outbound);
        } else if mesh < low || outbound < degree / 2 {
            self.fill_mesh(at, mesh, outbound);
        }
    }

    /// Lets some go, but keeps those that this server has chosen where they are few.
    fn thin_mesh(&mut self, at: u32, surplus: usize, mut outbound: usize) {
        let company = &self.seats[at as usize].company;
        let mut places: Vec<usize> = (0..company.len()).filter(|place| company[*place].mesh).collect();
        self.dice.shuffle(&mut places);
        let mut left = surplus;
        for place in places {
            let ours = self.seats[at as usize].company[place].ours;
            if left == 0 {
                return;
            }
            if ours && outbound <= self.settings.degree / 2 {
                continue;
            }
            outbound -= usize::from(ours);
            left -= 1;
            self.let_go(at, place);
        }
    }

    fn let_go(&mut self, at: u32, place: usize) {
        let neighbour = &mut self.seats[at as usize].company[place];
        neighbour.mesh = false;
        neighbour.backoff = self.now + self.settings.backoff;
        self.send(at, place, FRAME, traffic::CONTROL, What::Prune);
    }

    /// Takes more in, at least half of them such as this server has chosen, as long as there are any.
    fn fill_mesh(&mut self, at: u32, mut mesh: usize, mut outbound: usize) {
        let (degree, low, high) = (self.settings.degree, self.settings.low, self.settings.high);
        let (mut chosen, mut callers): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for (place, other) in self.seats[at as usize].company.iter().enumerate() {
            if other.up && !other.mesh && other.backoff <= self.now && self.seats[other.seat as usize].joined {
                if other.ours { chosen.push(place) } else { callers.push(place) }
            }
        }
        self.dice.shuffle(&mut chosen);
        self.dice.shuffle(&mut callers);
        let mut taken = Vec::new();
        let full = if mesh < low { degree } else { mesh };
        while mesh < full {
            let callers_may = mesh - outbound < degree.div_ceil(2) && self.dice.chance(0.5);
            let place = match (chosen.is_empty(), callers.is_empty()) {
                (true, true) => break,
                (false, true) => chosen.pop(),
                (true, false) => callers.pop(),
                (false, false) if callers_may => callers.pop(),
                (false, false) => chosen.pop(),
            };
            let Some(place) = place else { break };
            mesh += 1;
            outbound += usize::from(self.seats[at as usize].company[place].ours);
            taken.push(place);
        }
        while outbound < degree / 2 && mesh < high {
            let Some(place) = chosen.pop() else { break };
            mesh += 1;
            outbound += 1;
            taken.push(place);
        }
        for place in taken {
            self.seats[at as usize].company[place].mesh = true;
            self.send(at, place, FRAME, traffic::CONTROL, What::Graft);
        }
    }

    /// A neighbour asks to be taken into the mesh. No more than half of a full mesh may be such as have called
    /// themselves: otherwise whoever crowds around a server would be all that it hears.
    pub(super) fn grafted(&mut self, from: u32, to: u32) {
        let seat = &self.seats[to as usize];
        let Some(place) = seat.place_of(from) else { return };
        let other = &seat.company[place];
        if other.mesh {
            return;
        }
        let callers = seat.company.iter().filter(|other| other.mesh && !other.ours).count();
        let mesh = seat.company.iter().filter(|other| other.mesh).count();
        let high = self.settings.high;
        let fits = other.ours || mesh < high && callers < (high / 2).max(1);
        if seat.joined && other.backoff <= self.now && (fits || seat.pushes_to_all(self.settings.degree)) {
            self.seats[to as usize].company[place].mesh = true;
        } else {
            self.let_go(to, place);
        }
    }

    /// A neighbour has let this server go.
    pub(super) fn pruned(&mut self, from: u32, to: u32) {
        let until = self.now + self.settings.backoff;
        let seat = &mut self.seats[to as usize];
        if let Some(place) = seat.place_of(from) {
            seat.company[place].mesh = false;
            seat.company[place].backoff = until;
        }
    }

    /// Tells some neighbours outside the mesh what was passed on lately.
    fn tell_ids(&mut self, at: u32) {
        let heartbeat = self.heartbeat();
        let seat = &mut self.seats[at as usize];
        while seat.recent.front().is_some_and(|(then, _)| then + KEPT_FOR <= heartbeat) {
            seat.recent.pop_front();
        }
        let recent = seat.recent.iter().filter(|(then, _)| then + TOLD_FOR > heartbeat);
        let ids: Vec<u32> = recent.map(|(_, number)| *number).collect();
        let from = seat.server;
        if ids.is_empty() || seat.pushes_to_all(self.settings.degree) || self.servers[from as usize].is_silent() {
            return;
        }
        let company = &self.seats[at as usize].company;
        let outside = |place: &usize| {
            let other = &company[*place];
            other.up && !other.mesh && self.seats[other.seat as usize].joined
        };
        let mut places: Vec<usize> = (0..company.len()).filter(outside).collect();
        self.dice.shuffle(&mut places);
        places.truncate(self.settings.lazy);
        let bytes = FRAME + ID_BYTES * ids.len() as u32;
        let ids = Arc::new(ids);
        for place in places {
            let peer = self.seats[at as usize].company[place].seat;
            let other = &self.seats[peer as usize];
            let to = other.server;
            // Whoever has them all now has them all when the message is there.
            if ids.iter().all(|number| other.has.contains(*number)) {
                self.count(from, to, bytes, traffic::CONTROL);
            } else {
                self.send(at, place, bytes, traffic::CONTROL, What::Have(Arc::clone(&ids)));
            }
        }
    }

    /// A neighbour tells what it has; what is missing is asked for, of one neighbour at a time.
    pub(super) fn told_ids(&mut self, from: u32, to: u32, ids: &[u32]) {
        let now = self.now;
        let seat = &mut self.seats[to as usize];
        let Some(place) = seat.place_of(from).filter(|_| seat.joined) else { return };
        seat.asked.retain(|(_, until)| *until > now);
        let unknown = |number: &u32| !seat.knows(*number) && seat.asked.iter().all(|(asked, _)| asked != number);
        let wanted: Vec<u32> = ids.iter().copied().filter(unknown).collect();
        if wanted.is_empty() {
            return;
        }
        seat.asked.extend(wanted.iter().map(|number| (*number, now + PROMISED_FOR)));
        let bytes = FRAME + ID_BYTES * wanted.len() as u32;
        self.send(to, place, bytes, traffic::CONTROL, What::Want(Arc::new(wanted)));
    }

    /// A neighbour asks for events by id.
    pub(super) fn asked_for(&mut self, from: u32, to: u32, ids: &[u32]) {
        let seat = &self.seats[to as usize];
        if self.servers[seat.server as usize].is_silent() {
            return;
        }
        let kept = |number: &u32| seat.recent.iter().any(|(_, recent)| recent == number);
        let answered: Vec<u32> = ids.iter().copied().filter(kept).collect();
        let Some(place) = seat.place_of(from) else { return };
        for number in answered {
            let room = self.seats[to as usize].room as usize;
            let bytes = self.rooms[room].archive.get(number).bytes + FRAME;
            self.send(to, place, bytes, traffic::PAYLOAD, What::Event(number));
        }
    }
}
