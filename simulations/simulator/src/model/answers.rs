//! What a server answers, as `node/src/engine/serve.rs` does: the protocol's own words on what is missing where, within the
//! protocol's own bounds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rocketmesh_protocol::have::{Brief, HaveVector, Sections, Sketch};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::limits::{
    BROUGHT_EVENT_BUDGET, MAX_EVENTS_PER_RESPONSE, MAX_IDS_PER_REQUEST, MAX_ROOMS_SKETCHED, RESPONSE_EVENT_BUDGET,
};
use rocketmesh_protocol::sync::{Stretch, lacking, unknown_heads};

use super::agenda::Action;
use super::archive::Archive;
use super::lengths;
use super::letter::{FRAME, What};
use super::lies::boast;
use super::marks::Marks;
use super::questions::{Answer, Answered, Ask, Asked, BROKEN};
use super::seat::Seat;
use super::world::World;
use crate::scenario::Harm;

/// The most ancestors that a fetch by id brings along, as in `node/src/engine/serve.rs`.
const MAX_ANCESTORS: usize = 1024;

impl World {
    /// Another server asks. What an answer carries is on disk before it leaves.
    pub(super) fn asked(&mut self, from: u32, to: u32, ask: &Ask) {
        let server = &self.servers[to as usize];
        if server.is_silent() {
            return;
        }
        let (harm, life, flush) = (server.harm, server.life, server.flush);
        let mut what = match harm {
            Some(Harm::Lie) => self.lie(to, ask),
            _ => self.answer(to, &ask.what),
        };
        let bytes = self.answer_length(to, &ask.what, &what);
        match &mut what {
            Answered::Brought { events, .. } | Answered::Events { events, .. } if harm == Some(Harm::Spoil) => {
                let middle = events.len() / 2;
                if let Some(event) = events.get_mut(middle) {
                    *event = BROKEN;
                }
            }
            _ => {}
        }
        if let Some(room) = self.offered(to, &ask.what, &what) {
            let id = self.rooms[room as usize].archive.room();
            self.feed(to, |machine, now| machine.asked_by(from, id, now));
        }
        let carries = matches!(what, Answered::Brought { .. } | Answered::Events { .. });
        let what = What::Answer(Box::new(Answer { number: ask.number, what }));
        if carries && flush > 0 {
            self.agenda.push(self.now + flush, Action::Post { from: to, to: from, life, bytes, what });
        } else {
            self.dispatch(to, from, bytes, what);
        }
    }

    /// The room in which the asking side has something that is missing here.
    fn offered(&self, server: u32, asked: &Asked, answered: &Answered) -> Option<u32> {
        match (asked, answered) {
            (Asked::Bring { room, offers: true, .. }, Answered::Brought { .. }) => Some(*room),
            (Asked::Pull { room, has }, Answered::Events { .. }) => {
                let seat = &self.seats[self.joined_seat(server, *room)? as usize];
                (!unknown(has, seat, &self.rooms[*room as usize].archive).is_empty()).then_some(*room)
            }
            _ => None,
        }
    }

    fn answer(&mut self, server: u32, asked: &Asked) -> Answered {
        match asked {
            Asked::Compare(rooms) => {
                let mut differing = BTreeMap::new();
                for (place, (room, print)) in (0_u64..).zip(rooms) {
                    let Some(at) = self.joined_seat(server, *room) else { continue };
                    let seat = &self.seats[at as usize];
                    if seat.print != *print {
                        let sketches = &mut self.rooms[*room as usize].sketches;
                        let entries = differing.len() < MAX_ROOMS_SKETCHED;
                        differing.insert(place, sketches.sketch(seat.print, seat.outline.have(), entries));
                    }
                }
                Answered::Compared(differing)
            }
            Asked::Entries { room, sections } => {
                let Some(at) = self.joined_seat(server, *room) else { return Answered::Refused };
                entries(self.seats[at as usize].outline.have(), *sections)
            }
            Asked::Bring { room, stretches, .. } => {
                let Some(at) = self.joined_seat(server, *room) else { return Answered::Refused };
                let archive = &self.rooms[*room as usize].archive;
                let found = stretched(stretches, &self.seats[at as usize], archive);
                let (events, more) = in_order(found, BROUGHT_EVENT_BUDGET, archive);
                Answered::Brought { events, more }
            }
            Asked::Pull { room, has } => {
                let Some(at) = self.joined_seat(server, *room) else { return Answered::Refused };
                let (seat, archive) = (&self.seats[at as usize], &self.rooms[*room as usize].archive);
                let (events, more) = in_order(lacked(has, seat, archive), RESPONSE_EVENT_BUDGET, archive);
                Answered::Events { events, has: Some(seat.has.clone()), more }
            }
            Asked::Fetch { room, wanted, has } => {
                let Some(at) = self.joined_seat(server, *room) else { return Answered::Refused };
                let (seat, archive) = (&self.seats[at as usize], &self.rooms[*room as usize].archive);
                let (found, cut) = with_ancestors(wanted, has, seat, archive);
                let (events, more) = in_order(found, RESPONSE_EVENT_BUDGET, archive);
                Answered::Events { events, has: None, more: cut || more }
            }
        }
    }

    /// What a liar answers: it shows more than there is, and brings nothing. Every other time it says that there is more.
    fn lie(&self, server: u32, ask: &Ask) -> Answered {
        let more = ask.number % 2 == 1;
        match &ask.what {
            Asked::Compare(rooms) => {
                let sketch = |(place, (room, _)): (u64, &(u32, u64))| {
                    let seat = &self.seats[self.joined_seat(server, *room)? as usize];
                    Some((place, Sketch::of(&boast(seat.outline.have(), server), true)))
                };
                Answered::Compared((0_u64..).zip(rooms).filter_map(sketch).collect())
            }
            Asked::Entries { room, sections } => {
                let Some(at) = self.joined_seat(server, *room) else { return Answered::Refused };
                entries(&boast(self.seats[at as usize].outline.have(), server), *sections)
            }
            Asked::Bring { .. } => Answered::Brought { events: Vec::new(), more },
            Asked::Pull { room, .. } | Asked::Fetch { room, .. } => {
                let Some(at) = self.joined_seat(server, *room) else { return Answered::Refused };
                let has = matches!(ask.what, Asked::Pull { .. }).then(|| self.seats[at as usize].has.clone());
                Answered::Events { events: Vec::new(), has, more }
            }
        }
    }

    /// How long an answer is.
    fn answer_length(&mut self, server: u32, asked: &Asked, answered: &Answered) -> u32 {
        let (events, has) = match answered {
            Answered::Brought { events, .. } => (events.as_slice(), false),
            Answered::Events { events, has, .. } => (events.as_slice(), has.is_some()),
            _ => (<&[u32]>::default(), false),
        };
        let room = match asked {
            Asked::Bring { room, .. } | Asked::Pull { room, .. } | Asked::Fetch { room, .. } => *room,
            Asked::Compare(_) | Asked::Entries { .. } => {
                return FRAME + lengths::answered(answered, (0, 0), None) as u32;
            }
        };
        let have = has.then(|| self.vector_length(server, room)).flatten();
        let archive = &self.rooms[room as usize].archive;
        let bytes: usize = events.iter().map(|number| lengths::event(&archive.get(*number).event)).sum();
        FRAME + lengths::answered(answered, (events.len(), bytes), have) as u32
    }

    /// How long a server's whole vector of a room is.
    pub(super) fn vector_length(&mut self, server: u32, room: u32) -> Option<usize> {
        let seat = &self.seats[self.seat_in(server, room)? as usize];
        Some(self.rooms[room as usize].sketches.length(seat.print, seat.outline.have()))
    }
}

fn entries(have: &HaveVector, sections: Sections) -> Answered {
    // Without a brief vector there is the whole one.
    Brief::of(&have.within(sections)).map_or(Answered::Refused, Answered::Entries)
}

/// What a seat has of stretches of chains: of each chain the first that is named.
fn stretched(stretches: &[Stretch], seat: &Seat, archive: &Archive) -> Vec<u32> {
    let mut named = BTreeSet::new();
    let mut found = Vec::new();
    for stretch in stretches {
        if !named.insert((stretch.origin, stretch.lane)) {
            continue;
        }
        for origin in archive.origins_of(stretch.origin) {
            let chain = archive.stretch(origin, stretch.lane, stretch.from, stretch.to);
            found.extend(chain.filter(|number| seat.has.contains(*number)));
        }
    }
    found
}

/// What a seat has and the asking side lacks, by [`lacking`] over the lanes in which they differ.
fn lacked(theirs: &Marks, seat: &Seat, archive: &Archive) -> Vec<u32> {
    let lanes = archive.lanes_beyond(&seat.has, theirs);
    if lanes.is_empty() {
        return Vec::new();
    }
    let mut ours = HaveVector::new();
    for (origin, lane) in &lanes {
        if let Some(have) = seat.outline.have().lane(*origin, *lane) {
            ours.set_lane(*origin, *lane, have.clone());
        }
    }
    let their_vector = archive.vector(theirs, &lanes);
    let holds = |id: &EventId| archive.number(id).is_some_and(|number| seat.has.contains(number));
    let mut events = Vec::new();
    for range in lacking(&their_vector, &ours, holds) {
        let heads = their_vector.lane(range.origin, range.lane).map(|lane| lane.heads.as_slice()).unwrap_or_default();
        let known = |number: u32| {
            let id = archive.get(number).event.id();
            heads.iter().any(|(_, head)| *head == id)
        };
        let chain = archive.chain(range.origin, range.lane, range.from_seq);
        events.extend(chain.filter(|number| seat.has.contains(*number) && !known(*number)));
    }
    events
}

/// These events and, as far as they fit, the ancestors that the other side lacks.
fn with_ancestors(wanted: &[u32], theirs: &Marks, seat: &Seat, archive: &Archive) -> (Vec<u32>, bool) {
    let mut seen: BTreeSet<u32> = wanted.iter().copied().collect();
    let mut queue: VecDeque<(u32, bool)> = wanted.iter().map(|number| (*number, true)).collect();
    let mut found = Vec::new();
    while let Some((number, asked)) = queue.pop_front() {
        if !seat.has.contains(number) || !asked && theirs.contains(number) {
            continue;
        }
        if found.len() >= wanted.len() + MAX_ANCESTORS {
            return (found, true);
        }
        let references = archive.get(number).event.header().references();
        let unseen = references.filter_map(|id| archive.number(id)).filter(|number| seen.insert(*number));
        queue.extend(unseen.map(|number| (number, false)));
        found.push(number);
    }
    (found, false)
}

/// Events in causal order as far as they fit into an answer, and whether any are left out.
fn in_order(mut events: Vec<u32>, budget: usize, archive: &Archive) -> (Vec<u32>, bool) {
    events.sort_by_cached_key(|number| archive.get(*number).event.order());
    let mut bytes = 0;
    let over = events.iter().position(|number| {
        bytes += archive.get(*number).bytes as usize;
        bytes > budget
    });
    // One event of any size fits.
    let least = usize::from(!events.is_empty());
    let fits = over.unwrap_or(events.len()).max(least).min(MAX_EVENTS_PER_RESPONSE);
    let more = fits < events.len();
    events.truncate(fits);
    (events, more)
}

/// What an answering side has that is still unknown here once its answers are exhausted, by [`unknown_heads`].
pub(super) fn unknown(theirs: &Marks, seat: &Seat, archive: &Archive) -> Vec<u32> {
    let lanes = archive.lanes_beyond(theirs, &seat.has);
    if lanes.is_empty() {
        return Vec::new();
    }
    let vector = archive.vector(theirs, &lanes);
    let holds = |id: &EventId| archive.number(id).is_some_and(|number| seat.has.contains(number));
    let mut heads: Vec<u32> = unknown_heads(&vector, holds).iter().filter_map(|head| archive.number(head)).collect();
    heads.truncate(MAX_IDS_PER_REQUEST);
    heads
}
