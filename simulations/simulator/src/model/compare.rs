//! Comparing digests with another server, and finding out what is missing in rooms that differ, as
//! `node/src/engine/sync/compare.rs` does.

use std::collections::{BTreeMap, VecDeque};

use rocketmesh_protocol::event::Lane;
use rocketmesh_protocol::have::{Brief, Sections, Sketch, Tag};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::limits::MAX_ROOMS_PER_REQUEST;
use rocketmesh_protocol::sync::{Claim, Comparison, Difference, Path, difference};

use super::questions::Asked;
use super::sync::Pending;
use super::world::World;

/// Rooms that differ and are still to be looked at.
pub(super) type Differing = VecDeque<(u32, Sketch)>;

impl World {
    /// Tells another server the digests of rooms.
    pub(super) fn compare(&mut self, server: u32, peer: u32, wanted: Comparison) {
        let rooms: Vec<u32> = match &wanted {
            Comparison::All => {
                let seats = &self.servers[server as usize].seats;
                seats.iter().map(|at| self.seats[*at as usize].room).collect()
            }
            Comparison::Rooms { rooms, .. } => rooms.iter().filter_map(|room| self.number_of(room)).collect(),
        };
        let shared: Vec<(u32, u64)> = rooms
            .into_iter()
            .filter(|room| self.joined_seat(peer, *room).is_some())
            .filter_map(|room| Some((room, self.seats[self.joined_seat(server, room)? as usize].print)))
            .take(MAX_ROOMS_PER_REQUEST)
            .collect();
        if shared.is_empty() {
            self.servers[server as usize].sync.machine.compared(&peer);
            return;
        }
        let rooms = shared.iter().map(|(room, _)| *room).collect();
        self.ask(server, peer, Asked::Compare(shared), Pending::Compare { rooms, wanted });
    }

    /// The answer is there.
    pub(super) fn compared(
        &mut self,
        server: u32,
        peer: u32,
        rooms: &[u32],
        back: bool,
        mut sketches: BTreeMap<u64, Sketch>,
    ) {
        let mut differing = Differing::new();
        let mut alike: Vec<RoomId> = Vec::new();
        for (place, room) in (0_u64..).zip(rooms) {
            match sketches.remove(&place) {
                Some(sketch) => differing.push_back((*room, sketch)),
                None => alike.push(self.rooms[*room as usize].archive.room()),
            }
        }
        let over = differing.is_empty();
        self.feed(server, |machine, _| {
            alike.iter().for_each(|room| machine.alike(&peer, room));
            if over {
                machine.compared(&peer);
            }
        });
        if !over {
            self.weigh(server, peer, back, differing);
        }
    }

    /// Finds out how rooms differ, as far as that takes no further question.
    pub(super) fn weigh(&mut self, server: u32, peer: u32, back: bool, mut rest: Differing) {
        while let Some((room, sketch)) = rest.pop_front() {
            let difference = match sketch {
                Sketch::Hidden => None,
                Sketch::Entries(theirs) => self.differ(server, room, &theirs, Sections::ALL),
                Sketch::Sections(theirs) => {
                    let Some(at) = self.seat_in(server, room) else { continue };
                    let seat = &self.seats[at as usize];
                    let ours = self.rooms[room as usize].sketches.digests(seat.print, seat.outline.have());
                    let sections = Sections::differing(&ours, &theirs);
                    if !sections.is_empty() {
                        let asked = Asked::Entries { room, sections };
                        self.ask(server, peer, asked, Pending::Entries { room, sections, back, rest });
                        return;
                    }
                    // What was under way has arrived.
                    Some(Difference::default())
                }
            };
            self.differs(server, peer, room, difference, back);
        }
        self.feed(server, |machine, _| machine.compared(&peer));
    }

    /// Tells the machine how a room differs; none where that cannot be told.
    pub(super) fn differs(&mut self, server: u32, peer: u32, room: u32, difference: Option<Difference>, back: bool) {
        let id = self.rooms[room as usize].archive.room();
        self.feed(server, |machine, now| machine.differs(peer, id, Path::Direct, difference, back, now));
    }

    /// How another server's vector differs from a server's own.
    pub(super) fn differ(&self, server: u32, room: u32, theirs: &Brief, sections: Sections) -> Option<Difference> {
        let seat = &self.seats[self.seat_in(server, room)? as usize];
        let archive = &self.rooms[room as usize].archive;
        let is_held =
            |origin: Origin, lane: Lane, seq: u64, head: &Tag| archive.holds(&seat.has, origin, lane, seq, head);
        Some(difference(theirs, seat.outline.have(), sections, is_held))
    }

    /// Of servers that showed heads those that showed some that are not held here.
    pub(super) fn unmet(&self, server: u32, room: &RoomId, claims: &BTreeMap<u32, Vec<Claim>>) -> Vec<u32> {
        let Some(number) = self.number_of(room) else { return Vec::new() };
        let Some(at) = self.seat_in(server, number) else { return Vec::new() };
        let (seat, archive) = (&self.seats[at as usize], &self.rooms[number as usize].archive);
        let is_met = |claim: &Claim| {
            let mut origins = archive.origins_of(claim.origin).into_iter();
            origins.any(|origin| archive.holds(&seat.has, origin, claim.lane, claim.seq, &claim.head))
        };
        claims.iter().filter(|(_, claims)| !claims.iter().all(is_met)).map(|(peer, _)| *peer).collect()
    }
}
