//! Who is connected to whom: neighbours that a server has chosen for a room, those that have chosen it, and what
//! becomes of them when one goes away.

use super::agenda::{Action, MILLISECOND, Micros, SECOND};
use super::letter::traffic;
use super::world::World;

/// The most servers that one is connected to: the node's own limit.
pub(super) const MAX_LINKS: u32 = 800;

/// Rooms with up to this many seats are searched whole for somebody to dial.
const SEARCHED: usize = 64;
/// Calls in a row that fail before somebody else is chosen beside.
const FAILURES: u8 = 3;
/// The longest pause before a call is tried again.
const LONGEST_PAUSE: Micros = 60 * SECOND;
/// How long after a connection was made rooms are compared again: until gossip's mesh has taken the peer in, what is
/// passed on may pass it by.
const MESH_FORMS: Micros = 2 * SECOND;
/// Bytes of a handshake, of identify and of the first exchange, both ways.
const HANDSHAKE: u64 = 4_000;
/// Bytes of a search for a server of a room.
const SEARCH: u64 = 8_000;

/// A server of a room that another one knows or is connected to.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) seat: u32,
    /// Whether this side has chosen it. Nobody else can have done that.
    pub(super) ours: bool,
    /// Whether they are connected.
    pub(super) up: bool,
    /// Whether it is in this side's mesh.
    pub(super) mesh: bool,
    /// Whether a call is under way or due.
    pub(super) dialling: bool,
    /// Calls in a row that failed.
    pub(super) tries: u8,
    /// When the last message to it is there: the next one is not sooner.
    pub(super) last: Micros,
    /// Until when neither side asks the other into its mesh.
    pub(super) backoff: Micros,
}

impl Neighbour {
    fn new(seat: u32) -> Self {
        Neighbour { seat, ours: false, up: false, mesh: false, dialling: false, tries: 0, last: 0, backoff: 0 }
    }
}

impl World {
    /// With how many servers of its room a seat wants to be connected by its own choice.
    pub(super) fn wants(&self, at: u32) -> usize {
        let seat = &self.seats[at as usize];
        let others = self.rooms[seat.room as usize].joined.saturating_sub(usize::from(seat.joined));
        // Whoever it does not choose may choose it.
        if others <= self.settings.company { others } else { self.settings.company.div_ceil(2) }
    }

    /// Chooses servers of the room until the seat has as many as it wants, and calls them some time within `within`.
    pub(super) fn choose_company(&mut self, at: u32, within: Micros) {
        let chosen = self.seats[at as usize].company.iter().filter(|neighbour| neighbour.ours).count();
        self.choose(at, self.wants(at).saturating_sub(chosen), within);
    }

    /// Chooses up to `count` servers more.
    pub(super) fn choose(&mut self, at: u32, count: usize, within: Micros) {
        let room = self.seats[at as usize].room as usize;
        let pool = self.rooms[room].seats.len();
        if count == 0 || pool < 2 {
            return;
        }
        self.observer.sent(traffic::DISCOVERY, SEARCH);
        let tries: Vec<u32> = if pool <= SEARCHED.max(4 * count) {
            let mut all = self.rooms[room].seats.clone();
            self.dice.shuffle(&mut all);
            all
        } else {
            (0..20 * (count + 1)).map(|_| self.rooms[room].seats[self.dice.below(pool)]).collect()
        };
        let mut left = count;
        for peer in tries {
            if left == 0 {
                return;
            }
            if self.may_dial(at, peer) {
                self.begin(at, peer, within);
                left -= 1;
            }
        }
    }

    /// Whether it makes sense to call the other, as far as one can know.
    fn may_dial(&self, at: u32, peer: u32) -> bool {
        let (own, other) = (&self.seats[at as usize], &self.seats[peer as usize]);
        let both_hidden = self.servers[own.server as usize].nat && self.servers[other.server as usize].nat;
        at != peer
            && other.joined
            && !both_hidden
            && !self.excluded.contains(&(at, peer))
            && own.company.iter().all(|neighbour| neighbour.seat != peer)
    }

    /// Takes a server into a seat's company and calls it.
    pub(super) fn begin(&mut self, at: u32, peer: u32, within: Micros) {
        let neighbour = self.neighbour(at, peer);
        neighbour.ours = true;
        if !neighbour.up && !neighbour.dialling {
            neighbour.dialling = true;
            let pause = self.dice.within(within);
            self.call(at, peer, pause);
        }
    }

    /// Calls: two round trips after the pause it is known what came of it.
    fn call(&mut self, at: u32, peer: u32, pause: Micros) {
        let (from, to) = (self.seats[at as usize].server, self.seats[peer as usize].server);
        let takes = 4 * self.lines.way(from, to);
        let life = self.servers[from as usize].life;
        self.agenda.push(self.now + pause + takes, Action::Dial { seat: at, peer, life });
    }

    /// A call is answered, or not.
    pub(super) fn dialled(&mut self, at: u32, peer: u32) {
        let Some(neighbour) = self.seats[at as usize].company.iter_mut().find(|neighbour| neighbour.seat == peer)
        else {
            return;
        };
        neighbour.dialling = false;
        if neighbour.up || !neighbour.ours {
            return;
        }
        if self.answers(at, peer) {
            self.connect(at, peer);
        } else {
            self.call_again(at, peer);
        }
    }

    fn answers(&self, at: u32, peer: u32) -> bool {
        let (own, other) = (&self.seats[at as usize], &self.seats[peer as usize]);
        let (from, to) = (&self.servers[own.server as usize], &self.servers[other.server as usize]);
        let room_for_one =
            self.pairs.contains_key(&pair(own.server, other.server)) || from.links < MAX_LINKS && to.links < MAX_LINKS;
        to.up
            && other.joined
            && room_for_one
            && self.lines.cut_between(own.server, other.server).is_none()
            && !self.excluded.contains(&(peer, at))
    }

    fn call_again(&mut self, at: u32, peer: u32) {
        let pause = {
            let neighbour = self.neighbour(at, peer);
            neighbour.tries = neighbour.tries.saturating_add(1);
            neighbour.dialling = true;
            (SECOND << neighbour.tries.min(6)).min(LONGEST_PAUSE)
        };
        let tries = self.neighbour(at, peer).tries;
        let pause = pause / 2 + self.dice.within(pause);
        self.call(at, peer, pause);
        // Whoever stays away is replaced, and called again from time to time: it may be half of the network that is
        // away.
        let chosen = self.seats[at as usize].company.iter().filter(|neighbour| neighbour.ours).count();
        if tries == FAILURES && chosen < 3 * self.wants(at) + 3 {
            self.choose(at, 1, SECOND);
        }
    }

    fn neighbour(&mut self, at: u32, peer: u32) -> &mut Neighbour {
        let company = &mut self.seats[at as usize].company;
        let place = match company.iter().position(|neighbour| neighbour.seat == peer) {
            Some(place) => place,
            None => {
                company.push(Neighbour::new(peer));
                company.len() - 1
            }
        };
        &mut company[place]
    }

    /// Two servers are connected from now on; `at` has called.
    fn connect(&mut self, at: u32, peer: u32) {
        let now = self.now;
        for (one, other) in [(at, peer), (peer, at)] {
            let neighbour = self.neighbour(one, other);
            neighbour.up = true;
            neighbour.tries = 0;
            neighbour.last = now;
        }
        let (from, to) = (self.seats[at as usize].server, self.seats[peer as usize].server);
        let room = self.seats[at as usize].room;
        let rooms = self.pairs.entry(pair(from, to)).or_default();
        *rooms += 1;
        let first = *rooms == 1;
        if first {
            self.servers[from as usize].links += 1;
            self.servers[to as usize].links += 1;
            self.observer.sent(traffic::CONNECTIONS, HANDSHAKE);
        }
        let time = self.time();
        self.observer.trace(time, format_args!("connect {from} {to} {room}"));
        for (one, other) in [(at, peer), (peer, at)] {
            let (server, another) = (self.server_of[one as usize], self.server_of[other as usize]);
            if first {
                self.meet(server, another);
            } else {
                self.look(one, other);
            }
            let life = self.servers[server as usize].life;
            self.agenda.push(self.now + MESH_FORMS, Action::Look { seat: one, peer: other, life });
        }
        self.let_go_of_one(at, peer);
    }

    /// Closes a connection that was chosen as a replacement, once there are more than wanted.
    fn let_go_of_one(&mut self, at: u32, kept: u32) {
        let wants = self.wants(at);
        let seat = &self.seats[at as usize];
        let own = seat.company.iter().filter(|neighbour| neighbour.ours && neighbour.up);
        if own.clone().count() <= wants + 2 {
            return;
        }
        let spare = own.filter(|other| !other.mesh && other.seat != kept).map(|other| other.seat).next_back();
        let Some(spare) = spare else {
            return;
        };
        self.neighbour(at, spare).ours = false;
        self.disconnect(at, spare);
    }

    /// Two servers are connected no more in this room.
    pub(super) fn disconnect(&mut self, at: u32, peer: u32) {
        if self.seats[at as usize].place_of(peer).is_none() {
            return;
        }
        let (from, to) = (self.seats[at as usize].server, self.seats[peer as usize].server);
        let room = self.seats[at as usize].room;
        let time = self.time();
        self.observer.trace(time, format_args!("disconnect {from} {to} {room}"));
        self.part(at, peer);
        self.part(peer, at);
        let key = pair(from, to);
        if let Some(rooms) = self.pairs.get_mut(&key) {
            *rooms -= 1;
            if *rooms == 0 {
                self.pairs.remove(&key);
                self.servers[from as usize].links -= 1;
                self.servers[to as usize].links -= 1;
                self.part_with(from, to);
                self.part_with(to, from);
            }
        }
    }

    /// Whether two servers are connected, in whichever rooms.
    pub(super) fn are_connected(&self, one: u32, other: u32) -> bool {
        self.pairs.contains_key(&pair(one, other))
    }

    /// One side's half of it.
    fn part(&mut self, at: u32, peer: u32) {
        let seat = &mut self.seats[at as usize];
        let Some(place) = seat.company.iter().position(|neighbour| neighbour.seat == peer) else { return };
        let neighbour = &mut seat.company[place];
        neighbour.up = false;
        neighbour.mesh = false;
        if !neighbour.ours {
            seat.company.remove(place);
            return;
        }
        // Whoever goes down itself calls nobody.
        if self.servers[seat.server as usize].up && !neighbour.dialling {
            neighbour.dialling = true;
            let pause = SECOND + self.dice.within(2 * SECOND);
            self.call(at, peer, pause);
        }
    }

    /// A server is gone: nobody is connected to it any more.
    pub(super) fn part_from_all(&mut self, server: u32) {
        for at in self.servers[server as usize].seats.clone() {
            for peer in self.seats[at as usize].connections() {
                self.disconnect(at, peer);
            }
            for neighbour in &mut self.seats[at as usize].company {
                neighbour.dialling = false;
                neighbour.tries = 0;
                neighbour.backoff = 0;
            }
        }
    }

    /// A server is back: it calls whom it had chosen.
    pub(super) fn call_all(&mut self, at: u32) {
        let chosen: Vec<u32> =
            self.seats[at as usize].company.iter().filter(|other| other.ours).map(|other| other.seat).collect();
        for peer in chosen {
            self.begin(at, peer, 500 * MILLISECOND);
        }
        self.choose_company(at, 500 * MILLISECOND);
    }
}

/// Two servers, whichever comes first.
fn pair(one: u32, other: u32) -> (u32, u32) {
    (one.min(other), one.max(other))
}
