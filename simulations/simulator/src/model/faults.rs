//! Servers that stop, die and start again, and networks that are cut.

use std::sync::Arc;

use rocketmesh_protocol::id::EventId;

use super::agenda::{Action, Micros};
use super::intake::{learn, note};
use super::lines::PATIENCE;
use super::local_log::Told;
use super::marks::Marks;
use super::seat::empty_outline;
use super::world::{World, holds};
use crate::sabotage::Sabotage;

impl World {
    /// A server shuts down in good order: what it has is on disk, and told, before it goes.
    pub(super) fn stop(&mut self, server: u32) {
        if !self.servers[server as usize].up {
            return;
        }
        for at in self.servers[server as usize].seats.clone() {
            let upto = self.seats[at as usize].log.len() as u32;
            self.seats[at as usize].flushing = upto;
            self.flushed(at, upto);
        }
        self.go_down(server);
    }

    /// A server dies, and what it had not flushed is gone.
    pub(super) fn crash(&mut self, server: u32) {
        if !self.servers[server as usize].up {
            return;
        }
        self.go_down(server);
        for at in self.servers[server as usize].seats.clone() {
            let seat = &mut self.seats[at as usize];
            seat.held = None;
            if seat.flushed as usize != seat.log.len() {
                self.read_again(at);
            }
        }
    }

    fn go_down(&mut self, server: u32) {
        self.servers[server as usize].up = false;
        self.servers[server as usize].life += 1;
        self.part_from_all(server);
        self.servers[server as usize].sync.forget(self.settings.compare_every);
        for at in self.servers[server as usize].seats.clone() {
            let seat = &mut self.seats[at as usize];
            seat.owed.clear();
            seat.recent.clear();
            seat.asked.clear();
            seat.unsaid.clear();
            seat.repair = None;
            seat.finding = None;
            seat.found_own = false;
            seat.merging = false;
            if seat.probe.take().is_some() {
                // Nothing goes down any more once probes are said; a probe that was lost all the same is not waited
                // for.
                self.probes_due -= 1;
            }
        }
        let time = self.time();
        self.observer.down(time, server as usize);
    }

    /// Reads a room from what is on disk.
    fn read_again(&mut self, at: u32) {
        let seat = &mut self.seats[at as usize];
        let room = &mut self.rooms[seat.room as usize];
        seat.log.truncate(seat.flushed as usize);
        seat.flushing = seat.flushed;
        let before = seat.mind;
        if seat.founding {
            let template = &room.template;
            seat.outline = Arc::clone(&template.outline);
            seat.has = template.has.clone();
            (seat.print, seat.bytes, seat.mind) = (template.print, template.bytes, template.mind);
            room.minds.enter(seat.mind);
        } else {
            seat.outline = empty_outline(&room.archive);
            (seat.print, seat.bytes, seat.mind) = (0, 0, room.minds.enter_empty());
            seat.has = Marks::default();
        }
        room.minds.leave(before);
        seat.rejected = Marks::default();
        seat.withheld = Marks::default();
        seat.deaf = None;
        let own = self.servers[seat.server as usize].origin;
        let deaf = (self.sabotage == Some(Sabotage::IgnoresRemovals) && seat.server == 0).then_some(own);
        let mut spoke = false;
        for entry in seat.log.clone() {
            let number = entry.number();
            let told = entry.told();
            match told {
                Told::Hidden => seat.withheld.insert(number),
                Told::Restored => seat.withheld.remove(number),
                Told::Own | Told::Shown | Told::Withheld | Told::Rejected => {
                    spoke |= told == Told::Own;
                    let stored = room.archive.get(number);
                    let event = Arc::clone(&stored.event);
                    note(seat, number, stored.print(), stored.bytes, &event, told != Told::Rejected);
                    learn(seat, &mut room.minds, number, &event, deaf);
                    if told == Told::Withheld {
                        seat.withheld.insert(number);
                    }
                }
            }
        }
        if !seat.founding && seat.joined && !spoke {
            // The join itself is lost.
            seat.joined = false;
            room.joined -= 1;
        }
    }

    /// A server starts again on what it has on disk.
    pub(super) fn start(&mut self, server: u32) {
        let this = &mut self.servers[server as usize];
        if this.up {
            return;
        }
        this.up = true;
        this.restarts += 1;
        let mine = this.seats.clone();
        let time = self.time();
        let (servers, seats, rooms) = (&self.servers, &self.seats, &self.rooms);
        let holds = |id: &EventId| holds(servers, seats, rooms, server, id);
        self.observer.up(time, server as usize, &holds);
        if self.sabotage == Some(Sabotage::ForgetsPosition) && self.servers[server as usize].is_honest() {
            for at in &mine {
                for entry in self.seats[*at as usize].log.clone() {
                    self.tell(*at, entry);
                }
            }
        }
        self.wake(server);
        for at in mine {
            let seat = &self.seats[at as usize];
            if seat.joined {
                self.call_all(at);
            } else if !seat.joining.is_empty() {
                self.call_all(at);
                self.begin_to_obtain(at);
            }
        }
    }

    /// Sets a server's heartbeat going. Its sync begins with its first connection.
    pub(super) fn wake(&mut self, server: u32) {
        let life = self.servers[server as usize].life;
        let first = self.dice.within(self.settings.heartbeat);
        self.agenda.push(self.now + first, Action::Beat { server, life });
    }

    /// The network is cut: connections across it stall, and break if it is not mended in time.
    pub(super) fn cut(&mut self, number: usize, side: &Arc<Vec<bool>>, until: Micros) {
        let time = self.time();
        self.observer.trace(time, format_args!("cut {number}"));
        self.lines.cut(number, Arc::clone(side), self.now, until);
        if until.saturating_sub(self.now) <= PATIENCE {
            return;
        }
        for (at, seat) in self.seats.iter().enumerate() {
            for other in seat.company.iter().filter(|other| other.up && other.seat > at as u32) {
                let there = self.server_of[other.seat as usize];
                if side[seat.server as usize] != side[there as usize] {
                    self.agenda.push(self.now + PATIENCE, Action::Break { seat: at as u32, peer: other.seat });
                }
            }
        }
    }

    /// A connection has stalled for too long, if it still does.
    pub(super) fn give_up(&mut self, at: u32, peer: u32) {
        let (from, to) = (self.server_of[at as usize], self.server_of[peer as usize]);
        if self.lines.cut_between(from, to).is_some() {
            self.disconnect(at, peer);
        }
    }

    /// A cut is over.
    pub(super) fn mend(&mut self, number: usize) {
        let time = self.time();
        self.observer.trace(time, format_args!("mend {number}"));
        self.lines.mend(number);
    }
}
