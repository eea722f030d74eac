//! Coming into a room through the network: first the room, then the join.

use super::agenda::{Action, Micros, SECOND};
use super::speak::Word;
use super::world::World;

/// How long one server may take to hand over the room before the next is asked. The node
/// gives it longer while it brings nothing, see `node/src/engine/rooms/patience.rs`.
const NEXT_HOLDER: Micros = 5 * SECOND;
/// How often whoever is connected to nobody looks again.
const GLANCE: Micros = SECOND;

impl World {
    /// A member wants to come in.
    pub(super) fn join(&mut self, room: usize, member: usize) {
        let at = self.rooms[room].homes[member];
        let seat = &mut self.seats[at as usize];
        seat.joining.push(member as u32);
        if seat.joined {
            self.speak(room, member, Word::Join);
        } else if seat.joining.len() == 1 && self.servers[seat.server as usize].up {
            self.begin_to_obtain(at);
        }
    }

    /// Looks for servers of the room.
    pub(super) fn begin_to_obtain(&mut self, at: u32) {
        self.choose_company(at, 0);
        let life = self.servers[self.server_of[at as usize] as usize].life;
        self.agenda.push(self.now + GLANCE, Action::Obtain { seat: at, life });
    }

    /// Asks a server for the room, unless one is handing it over.
    pub(super) fn obtain(&mut self, at: u32) {
        let seat = &mut self.seats[at as usize];
        if seat.joined {
            return;
        }
        let comes_in = seat.obtained != seat.print;
        seat.obtained = seat.print;
        let connected = seat.connections();
        let life = self.servers[seat.server as usize].life;
        let pause = match self.dice.pick(&connected) {
            None => GLANCE,
            Some(peer) => {
                if !comes_in {
                    self.pull(at, peer);
                }
                NEXT_HOLDER
            }
        };
        self.choose_company(at, 0);
        self.agenda.push(self.now + pause, Action::Obtain { seat: at, life });
    }

    /// Goes in, once the room is here.
    pub(super) fn obtained(&mut self, at: u32) {
        let seat = &mut self.seats[at as usize];
        // The create event is every archive's first.
        if seat.joined || seat.joining.is_empty() || !seat.has.contains(0) {
            return;
        }
        seat.joined = true;
        seat.found_own = true;
        let (room, server, members) = (seat.room, seat.server, seat.joining.clone());
        self.rooms[room as usize].joined += 1;
        let time = self.time();
        self.observer.trace(time, format_args!("enter {server} {room}"));
        for member in members {
            self.write(at, member, &Word::Join);
        }
        // Gossip has no mesh for the room yet; a comparison tells everybody who is connected.
        self.spread(at);
    }
}
