//! What becomes of an event on a server: receipt, resolution, verdicts and the local log, as `node/src/engine/room.rs`
//! has it.

use std::sync::Arc;

use rocketmesh_protocol::event::{Content, Event, Lane, Membership};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::receipt::{Receipt, receive};
use rocketmesh_protocol::resolution::Changes;

use super::agenda::Action;
use super::archive::Graph;
use super::held::Via;
use super::local_log::{Entry, Told};
use super::minds::Minds;
use super::seat::{Owed, Room, Seat};
use super::world::World;
use crate::sabotage::Sabotage;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Events that were decided on.
    pub(super) new: usize,
    /// Whether any waits for something.
    pub(super) held: bool,
}

impl World {
    /// Runs the receipt pipeline on an event, and on whatever it sets free.
    pub(super) fn take_in(&mut self, at: u32, number: u32, via: Via) -> Taken {
        let mut taken = Taken::default();
        let mut work = vec![(number, via)];
        while let Some((number, via)) = work.pop() {
            let accepted = match self.decide(at, number) {
                Receipt::Known => continue,
                Receipt::Held { missing } => {
                    taken.held = true;
                    self.hold(at, number, &missing, via);
                    continue;
                }
                Receipt::Dropped(reason) => {
                    let (time, server) = (self.time(), self.server_of[at as usize]);
                    self.observer.trace(time, format_args!("dropped {server} {reason}"));
                    continue;
                }
                Receipt::Rejected(_) if self.sabotage == Some(Sabotage::AsksNoRules) => {
                    self.lawless.insert((self.seats[at as usize].room, number));
                    true
                }
                Receipt::Rejected(_) => false,
                Receipt::Accepted { .. } => true,
            };
            taken.new += 1;
            self.keep(at, number, accepted, false);
            let seat = &mut self.seats[at as usize];
            if accepted && via.gossip {
                let upto = seat.log.len() as u32;
                seat.owed.push_back(Owed { upto, number, except: via.from });
            }
            if let Some(held) = &mut seat.held {
                work.extend(held.release(number));
                if held.len() == 0 {
                    seat.held = None;
                }
            }
        }
        taken
    }

    fn decide(&mut self, at: u32, number: u32) -> Receipt {
        let seat = &self.seats[at as usize];
        let room = &mut self.rooms[seat.room as usize];
        let graph = Graph { archive: &room.archive, has: &seat.has };
        let event = &room.archive.get(number).event;
        let Ok(receipt) = receive(event, &graph, seat.outline.have(), room.minds.resolver(seat.mind));
        receipt
    }

    fn hold(&mut self, at: u32, number: u32, missing: &[EventId], via: Via) {
        let bounded = self.sabotage != Some(Sabotage::HoldsEverything);
        let seat = &mut self.seats[at as usize];
        let archive = &self.rooms[seat.room as usize].archive;
        let missing: Vec<u32> = missing.iter().filter_map(|id| archive.number(id)).collect();
        let bytes = archive.get(number).bytes;
        seat.held.get_or_insert_default().insert(number, bytes, missing, via, bounded);
    }

    /// Puts an event that was decided on into the server's room and log.
    pub(super) fn keep(&mut self, at: u32, number: u32, accepted: bool, own: bool) {
        let seat = &mut self.seats[at as usize];
        let room = &mut self.rooms[seat.room as usize];
        let stored = room.archive.get(number);
        let event = Arc::clone(&stored.event);
        note(seat, number, stored.print(), stored.bytes, &event, accepted);
        let changes = if event.header().lane == Lane::State {
            let origin = self.servers[seat.server as usize].origin;
            let deaf = self.sabotage == Some(Sabotage::IgnoresRemovals) && seat.server == 0;
            learn(seat, &mut room.minds, number, &event, deaf.then_some(origin))
        } else {
            Changes::default()
        };
        let lawless = self.lawless.contains(&(seat.room, number));
        let shown = accepted && (lawless || counts(seat, room, number));
        if accepted && !shown {
            seat.withheld.insert(number);
        }
        let told = match (own, accepted, shown) {
            (true, ..) => Told::Own,
            (_, false, _) => Told::Rejected,
            (_, _, true) => Told::Shown,
            (_, _, false) => Told::Withheld,
        };
        seat.log.push(Entry::new(told, number));
        self.reconsider(at, &changes);
    }

    /// Looks again at what a state event may have changed the verdict of.
    fn reconsider(&mut self, at: u32, changes: &Changes) {
        if changes.state.is_empty() && changes.timelines.is_empty() && !changes.everything {
            return;
        }
        let archive = &self.rooms[self.seats[at as usize].room as usize].archive;
        let mut again: Vec<u32> = changes.state.iter().filter_map(|id| archive.number(id)).collect();
        if changes.everything {
            again.extend(archive.timeline());
        } else {
            for stretch in &changes.timelines {
                again.extend(archive.chain(stretch.origin, Lane::Timeline, stretch.from_seq));
            }
        }
        for number in again {
            self.review(at, number);
        }
    }

    fn review(&mut self, at: u32, number: u32) {
        let seat = &mut self.seats[at as usize];
        let lawless = self.lawless.contains(&(seat.room, number));
        if !seat.has.contains(number) || seat.rejected.contains(number) || lawless {
            return;
        }
        let shown = counts(seat, &self.rooms[seat.room as usize], number);
        match (seat.withheld.contains(number), shown) {
            (true, true) => {
                seat.withheld.remove(number);
                seat.log.push(Entry::new(Told::Restored, number));
            }
            (false, false) => {
                seat.withheld.insert(number);
                seat.log.push(Entry::new(Told::Hidden, number));
            }
            _ => {}
        }
    }

    /// Sees to it that what is in the log gets to disk, and then to whoever waits for it.
    pub(super) fn settle(&mut self, at: u32) {
        let seat = &mut self.seats[at as usize];
        let upto = seat.log.len() as u32;
        if upto == seat.flushing {
            return;
        }
        seat.flushing = upto;
        let server = &self.servers[seat.server as usize];
        if server.flush == 0 {
            self.flushed(at, upto);
        } else {
            let life = server.life;
            self.agenda.push(self.now + server.flush, Action::Flush { seat: at, life, upto });
        }
    }

    /// The log is on disk up to here: tells everybody.
    pub(super) fn flushed(&mut self, at: u32, upto: u32) {
        let seat = &self.seats[at as usize];
        let honest = self.servers[seat.server as usize].is_honest();
        for place in seat.flushed..upto {
            let entry = self.seats[at as usize].log[place as usize];
            if honest {
                self.tell(at, entry);
            }
        }
        let seat = &mut self.seats[at as usize];
        seat.flushed = seat.flushed.max(upto);
        while let Some(owed) = self.seats[at as usize].owed.front().copied().filter(|owed| owed.upto <= upto) {
            self.seats[at as usize].owed.pop_front();
            self.publish(at, owed.number, owed.except);
        }
        self.mind_tips(at);
    }

    /// Tells whoever follows the log of one entry.
    pub(super) fn tell(&mut self, at: u32, entry: Entry) {
        let seat = &self.seats[at as usize];
        let (room, server) = (seat.room as usize, seat.server as usize);
        let event = &self.rooms[room].archive.get(entry.number()).event;
        let (time, id) = (self.time(), event.id());
        match entry.told() {
            Told::Own => {
                let event = Arc::clone(event);
                let probe = seat.probe == Some(entry.number());
                let number = self.observer.said(time, server, room, event);
                if probe {
                    self.observer.probe(time, number);
                    self.seats[at as usize].probe = None;
                    self.probes_due -= 1;
                }
            }
            Told::Shown => self.observer.arrived(time, server, &id, true),
            Told::Withheld | Told::Rejected => self.observer.arrived(time, server, &id, false),
            Told::Hidden => self.observer.hidden(time, server, &id),
            Told::Restored => self.observer.restored(time, server, &id),
        }
    }
}

/// Puts an event into what a seat has, and into its outline.
pub(super) fn note(seat: &mut Seat, number: u32, print: u64, bytes: u32, event: &Event, accepted: bool) {
    Arc::make_mut(&mut seat.outline).add(event, accepted);
    seat.has.insert(number);
    seat.print = seat.print.wrapping_add(print);
    seat.bytes += u64::from(bytes);
    if !accepted {
        seat.rejected.insert(number);
    }
}

/// Takes a state event into a seat's resolver. With `deaf_to_others` of its own server, a seat hears of no kick or ban
/// by another one: it goes on receiving like everybody, and makes something else of the room.
pub(super) fn learn(
    seat: &mut Seat,
    minds: &mut Minds,
    number: u32,
    event: &Event,
    deaf_to_others: Option<Origin>,
) -> Changes {
    let removes = || matches!(event.content(), Ok(Content::Member { change: Membership::Kick | Membership::Ban, .. }));
    let unheard = deaf_to_others.is_some_and(|own| event.header().origin != own) && removes();
    if unheard && seat.deaf.is_none() {
        seat.deaf = Some(Box::new(minds.get(seat.mind).clone()));
    }
    let (mind, changes) = minds.insert(seat.mind, number, event);
    seat.mind = mind;
    match &mut seat.deaf {
        Some(_) if unheard => Changes::default(),
        Some(deaf) => deaf.insert(event),
        None => changes,
    }
}

/// Whether an allowed event counts by everything that is here now.
fn counts(seat: &Seat, room: &Room, number: u32) -> bool {
    let event = &room.archive.get(number).event;
    let resolver = match &seat.deaf {
        Some(deaf) => &**deaf,
        None => room.minds.get(seat.mind),
    };
    match event.header().lane {
        Lane::State => !resolver.is_void(&event.id()),
        Lane::Timeline => resolver.shows(event),
    }
}
