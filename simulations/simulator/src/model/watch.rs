//! What is looked at from time to time, and in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmesh_protocol::event::Lane;
use rocketmesh_protocol::id::EventId;

use super::company::MAX_LINKS;
use super::held::MAX_EVENTS;
use super::lawless::forged;
use super::seat::Seat;
use super::sync::MOST_OPEN;
use super::world::{World, holds};
use crate::cities;
use crate::observe::Holding;
use crate::plan::{Do, ServerPlan, Step};
use crate::record::{LinkRow, ServerRow};
use crate::scenario::Harm;

/// Rooms and copies of each that are looked at whole from time to time: a state costs to work out, and what is shown to list.
const LOOKED_ROOMS: usize = 2;
const LOOKED_SEATS: usize = 3;
/// Tips beyond those that servers and forks explain: what a server may have before it hears that they are joined.
const SPARE_TIPS: u64 = 16;

impl World {
    /// One moment of the whole run.
    pub(super) fn tick(&mut self) {
        let time = self.time();
        let rss = rocketmesh_simulations::measure::resident(std::process::id()).unwrap_or(0);
        let (wall, apart, links) = (self.started.elapsed(), self.apart(), self.pairs.len() as u32);
        self.observer.progress(time, wall, apart, links, rss);
        let (servers, degree) = (&self.servers, self.settings.degree);
        let runs = |seat: &&Seat| seat.joined && servers[seat.server as usize].up;
        self.observer.mesh(time, self.seats.iter().filter(runs).map(|seat| seat.pushes(degree)));
        for (server, this) in self.servers.iter().enumerate() {
            if !this.is_honest() || !this.up {
                continue;
            }
            self.observer.measured(time, server, "neighbours", u64::from(this.links), u64::from(MAX_LINKS));
            let open = this.sync.machine.outstanding() as u64;
            self.observer.measured(time, server, "open questions", open, MOST_OPEN);
            for at in &this.seats {
                let seat = &self.seats[*at as usize];
                let room = &self.rooms[seat.room as usize];
                let tips = Lane::ALL.into_iter().map(|lane| seat.outline.tips(lane).len()).max().unwrap_or(0);
                let bound = room.seats.len() as u64 + room.forks + SPARE_TIPS;
                self.observer.measured(time, server, "tips", tips as u64, bound);
                self.observer.measured(time, server, "held events", seat.waiting() as u64, MAX_EVENTS as u64);
            }
        }
        self.look_at_some(time);
    }

    /// Looks at a few copies of a few rooms, at others each time: whoever holds the same has to make the same of it at any time.
    fn look_at_some(&mut self, time: Duration) {
        let look = self.looks;
        self.looks += 1;
        let rooms = self.rooms.len();
        for room in (0..LOOKED_ROOMS.min(rooms)).map(|place| (look * LOOKED_ROOMS + place) % rooms) {
            let seats: Vec<u32> = self.rooms[room].seats.clone();
            let turn = look * LOOKED_SEATS;
            let some = (0..LOOKED_SEATS.min(seats.len())).map(|place| seats[(turn + place) % seats.len()]);
            let runs =
                |at: &u32| self.seats[*at as usize].joined && self.servers[self.server_of[*at as usize] as usize].up;
            let some: Vec<u32> = some.filter(runs).collect();
            self.look_at_room(time, room, &some, false);
        }
    }

    /// The seats of honest servers that run and take part.
    fn honest_seats(&self, room: usize) -> impl Iterator<Item = &Seat> {
        let seats = self.rooms[room].seats.iter().map(move |at| &self.seats[*at as usize]);
        seats.filter(move |seat| {
            let server = &self.servers[seat.server as usize];
            seat.joined && server.is_honest() && server.up
        })
    }

    /// How many copies of rooms differ from most.
    fn apart(&self) -> u32 {
        let mut apart = 0;
        for room in 0..self.rooms.len() {
            let mut prints: Vec<u64> = self.honest_seats(room).map(|seat| seat.print).collect();
            prints.sort_unstable();
            let most = prints.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap_or(0);
            apart += prints.len() - most;
        }
        apart as u32
    }

    /// Whether every honest server has the same of every room of it, on disk and told, the probes among it.
    pub(super) fn is_settled(&self) -> bool {
        let one_room = |room: usize| {
            let all = self.rooms[room].seats.iter();
            let honest = all.filter(|at| self.servers[self.server_of[**at as usize] as usize].is_honest()).count();
            let mut prints = BTreeSet::new();
            let mut settled = 0;
            for seat in self.honest_seats(room).filter(|seat| seat.flushed as usize == seat.log.len()) {
                prints.insert(seat.print);
                settled += 1;
            }
            settled == honest && prints.len() <= 1
        };
        self.probes_due == 0 && (0..self.rooms.len()).all(one_room)
    }

    /// Looks at everything once more.
    pub(super) fn look_at_the_end(&mut self) {
        let time = self.time();
        for room in 0..self.rooms.len() {
            let seats = self.rooms[room].seats.clone();
            self.look_at_room(time, room, &seats, true);
        }
        let (servers, seats, rooms) = (&self.servers, &self.seats, &self.rooms);
        for (server, this) in servers.iter().enumerate() {
            if this.is_honest() {
                let holds = |id: &EventId| holds(servers, seats, rooms, server as u32, id);
                self.observer.end(time, server, &holds);
            }
        }
    }

    fn look_at_room(&mut self, time: Duration, number: usize, seats: &[u32], last: bool) {
        let room = &self.rooms[number];
        let archive = &room.archive;
        let mut in_order: Vec<u32> = (0..archive.len()).collect();
        in_order.sort_by_cached_key(|event| archive.get(*event).event.order());
        for at in seats {
            let seat = &self.seats[*at as usize];
            if !self.servers[seat.server as usize].is_honest() {
                continue;
            }
            let is_shown = |event: &&u32| {
                seat.has.contains(**event) && !seat.rejected.contains(**event) && !seat.withheld.contains(**event)
            };
            let shown: Vec<EventId> =
                in_order.iter().filter(is_shown).map(|event| archive.get(*event).event.id()).collect();
            let resolver = match &seat.deaf {
                Some(deaf) => &**deaf,
                None => room.minds.get(seat.mind),
            };
            let lawless: Vec<u32> = self
                .lawless
                .iter()
                .filter(|(of, event)| *of as usize == number && seat.has.contains(*event))
                .map(|(_, event)| *event)
                .collect();
            let state = resolver.current().map(|state| match lawless.is_empty() {
                true => state.clone(),
                false => forged(state, lawless.iter().map(|event| &*archive.get(*event).event)),
            });
            let holding = Holding {
                server: seat.server as usize,
                room: number,
                digest: seat.outline.have().digest(),
                state: state.as_ref(),
                shown: Some(&shown),
                last,
            };
            self.observer.holding(time, holding);
        }
    }

    /// Every server in the end.
    pub(super) fn server_rows(&self) -> Vec<ServerRow> {
        let row = |(number, plan): (usize, &ServerPlan)| {
            let server = &self.servers[number];
            let seats = || server.seats.iter().map(move |at| &self.seats[*at as usize]);
            let pushes: usize = seats().map(|seat| seat.pushes(self.settings.degree)).sum();
            ServerRow {
                server: number as u32,
                region: cities::name(plan.region).to_owned(),
                line: plan.line.clone(),
                nat: plan.nat,
                hostile: plan.hostile.map_or("", Harm::word).to_owned(),
                rooms: server.seats.len() as u32,
                connections: server.links,
                mesh_degree: pushes as f64 / server.seats.len().max(1) as f64,
                events: seats().map(|seat| seat.has.count()).sum(),
                bytes_in: server.bytes_in,
                bytes_out: server.bytes_out,
                store_bytes: seats().map(|seat| seat.bytes).sum(),
                restarts: server.restarts,
            }
        };
        self.plan.servers.iter().enumerate().map(row).collect()
    }

    /// Every connection in the end, once for each pair of servers.
    pub(super) fn link_rows(&self) -> Vec<LinkRow> {
        let mut known: BTreeSet<(u32, u32)> = BTreeSet::new();
        let mut rows = Vec::new();
        for seat in &self.seats {
            for other in seat.company.iter().filter(|other| other.up && other.ours) {
                let (from, to) = (seat.server, self.server_of[other.seat as usize]);
                if known.insert((from.min(to), from.max(to))) {
                    rows.push(LinkRow { from, to });
                }
            }
        }
        rows
    }

    /// Tells of everything that will go wrong, so that it can be seen how long it takes to heal.
    pub(super) fn announce_disturbances(&mut self) {
        let (scenario, lasts) = (&self.plan.scenario, self.plan.duration());
        let mut told: Vec<(String, Duration, Duration)> = Vec::new();
        for (number, cut) in scenario.partitions.iter().enumerate() {
            told.push((format!("partition {}", number + 1), cut.at.0, cut.until.0.min(lasts)));
        }
        for (number, crash) in scenario.crashes.iter().enumerate() {
            let back = (crash.at.0 + crash.after.0).min(lasts);
            told.push((format!("crash {}", number + 1), crash.at.0, back));
        }
        let stops = |step: &&Step| matches!(step.what, Do::Stop(_));
        let starts = |step: &&Step| matches!(step.what, Do::Start(_));
        let first = self.plan.steps.iter().find(stops).map(|step| step.at);
        let last = self.plan.steps.iter().rfind(starts).map(|step| step.at);
        if let (Some(first), Some(last)) = (first, last) {
            told.push(("churn".to_owned(), first, last));
        }
        let warm_up = scenario.warm_up.0;
        for (what, at, until) in told.into_iter().filter(|(_, at, until)| at <= until) {
            self.observer.disturbed(what, warm_up + at, warm_up + until);
        }
    }
}
