//! What a room's events come to: its chains and its have-vector, its order and its tips, its count.
//!
//! An index that names an event of which nothing else has ever heard is wrong. One that names an event which was here
//! is right, and the event is lost.

use std::collections::BTreeSet;

use rocketmesh_protocol::event::{Event, Lane, OrderKey, RoomVersion};
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::room::{Outline, Tips};

use super::mending::{ENTRIES, Pages, RECORDS};
use super::{Checker, FindingKind, NamedBy, Stop};
use crate::error::StoreError;
use crate::layout::{self, RoomRecord};
use crate::store::{StoredEvent, Verdict, sighted_time};

/// What an index names.
pub(super) enum Named {
    /// An event that is here and sound.
    Sound(StoredEvent),
    /// An event that is damaged or lost, of which the index may be all that is left.
    Unclear,
    /// Nothing that is here.
    Absent,
}

/// The place in a chain that is looked at.
#[derive(Default)]
struct Place {
    lane: Option<(Origin, Lane)>,
    seq: u64,
    /// The events of this place, ascending; several where the server forked.
    here: Vec<EventId>,
    /// Those of the place before.
    before: Vec<EventId>,
}

impl Checker<'_> {
    /// Holds the indexes, the have-vector, the tips and the count of every room against its events.
    pub(super) fn look_at_rooms(&mut self) -> Result<(), Stop> {
        for (room, number) in self.rooms.clone() {
            let Some(record) = self.mending.get(&layout::room_key(&room))? else { continue };
            let record = layout::read_room(&record)?;
            let (have, events) = self.read_chains(room, number)?;
            let order = self.read_order(room, number, record.version)?;
            // What is derived with an event missing is wrong, though better than a record that was only just made.
            if !self.wounded.contains(&room) || self.renewed.contains(&room) {
                self.hold_have_vector(room, number, &have)?;
                self.hold_record(room, record, events, &order)?;
            } else {
                self.read_have_vector(room, number)?;
            }
        }
        Ok(())
    }

    /// What an index's entry for this event means.
    pub(super) fn named(&self, id: &EventId) -> Result<Named, StoreError> {
        if self.damaged.contains(id) || self.lost.contains_key(id) {
            return Ok(Named::Unclear);
        }
        Ok(match self.mending.get(&layout::event_key(id))? {
            None => Named::Absent,
            Some(record) => layout::read_event(id, &record).map_or(Named::Unclear, Named::Sound),
        })
    }

    /// Reads a room's chains, without what does not belong there. Returns the have-vector and the number of events.
    fn read_chains(&mut self, room: RoomId, number: u32) -> Result<(HaveVector, u64), Stop> {
        let mut have = HaveVector::new();
        let mut events = 0;
        let mut place = Place::default();
        let mut pages = Pages::below(&layout::room_prefix(layout::CHAIN, number), ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                self.step();
                let (Some((origin, lane)), Some((seq, id))) =
                    (layout::read_lane_key(&key), layout::read_chain_key(&key))
                else {
                    self.note_derivable(FindingKind::ChainIndex, Some(room), None, "an entry that is none");
                    self.mending.remove(key)?;
                    continue;
                };
                let mut named = self.named(&id)?;
                if matches!(named, Named::Absent)
                    && self.stored_lane(number, origin, lane)?.is_some_and(|held| held.heads.contains(&(seq, id)))
                {
                    self.lose(id, Some(room), NamedBy::Chain)?;
                    named = Named::Unclear;
                }
                let stored = match named {
                    Named::Sound(stored) if self.chain_key(&stored).as_ref() == Some(&key) => Some(stored),
                    Named::Unclear => {
                        self.wounded.insert(room);
                        None
                    }
                    _ => {
                        let what = "its chain names it, and it does not belong there";
                        self.note_derivable(FindingKind::ChainIndex, Some(room), Some(id), what);
                        self.mending.remove(key)?;
                        continue;
                    }
                };
                events += 1;
                place.enter((origin, lane), seq);
                if let Some(StoredEvent { event, .. }) = stored {
                    if event.header().references().any(|id| self.damaged.contains(id)) {
                        self.wounded.insert(room);
                    }
                    if let Some(parent) = event.header().self_parent
                        && place.before.binary_search(&parent).is_err()
                        && matches!(self.named(&parent)?, Named::Sound(_))
                    {
                        let what = format!("it follows {parent}, which is not the event before it");
                        self.note_irreplaceable(FindingKind::Sequence, Some(room), Some(id), what);
                    }
                    have.add(&event);
                }
                place.here.push(id);
            }
        }
        Ok((have, events))
    }

    /// Where an event belongs in its chain; nowhere if its room has no record.
    fn chain_key(&self, stored: &StoredEvent) -> Option<Vec<u8>> {
        let (event, header) = (&stored.event, stored.event.header());
        let number = *self.rooms.get(&event.room())?;
        Some(layout::chain_key(number, header.origin, header.lane, header.seq, Some(&event.id())))
    }

    /// Reads a room's order, without what does not belong there. Returns an outline with the tips; what else is in it
    /// leaves the rejected events out.
    fn read_order(&mut self, room: RoomId, number: u32, version: RoomVersion) -> Result<Outline, Stop> {
        let mut outline = Outline::new(room, version);
        let mut pages = Pages::below(&layout::room_prefix(layout::ORDER, number), ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                self.step();
                let id = layout::read_order_key(&key).map(|order| order.id);
                let named = match id {
                    Some(id) => self.named(&id)?,
                    None => Named::Absent,
                };
                let belongs = match &named {
                    Named::Sound(stored) => self.stands_at(stored, &key)?,
                    _ => false,
                };
                match named {
                    Named::Sound(stored) if belongs => outline.add(&stored.event, true),
                    Named::Unclear => {
                        self.wounded.insert(room);
                    }
                    _ => {
                        let what = "the room's order names it, and it does not belong there";
                        self.note_derivable(FindingKind::OrderIndex, Some(room), id, what);
                        self.mending.remove(key)?;
                    }
                }
            }
        }
        Ok(outline)
    }

    /// Whether this is the event's entry in its room's order. Nobody can tell where what it came after is damaged or lost.
    fn stands_at(&self, stored: &StoredEvent, key: &[u8]) -> Result<bool, StoreError> {
        let Some(number) = self.rooms.get(&stored.event.room()) else { return Ok(false) };
        if stored.verdict == Verdict::Rejected || !key.starts_with(&layout::room_prefix(layout::ORDER, *number)) {
            return Ok(false);
        }
        Ok(self.place(&stored.event)?.is_none_or(|place| layout::order_key(*number, &place) == key))
    }

    /// Where an event stands in its room's order; none where what it came after is damaged or lost: what never came is listed.
    pub(super) fn place(&self, event: &Event) -> Result<Option<OrderKey>, StoreError> {
        let room = event.room();
        let number = self.rooms.get(&room).copied().filter(|_| !self.renewed.contains(&room));
        let mut sighted: Option<u64> = None;
        for id in event.header().sightings() {
            match (self.named(&id)?, number) {
                (Named::Sound(seen), _) => sighted = sighted.max(sighted_time(event, &seen.event)),
                (Named::Unclear, _) => return Ok(None),
                (Named::Absent, Some(number)) => {
                    if !self.mending.contains(&layout::sighted_key(number, &id, &event.id()))? {
                        return Ok(None);
                    }
                }
                (Named::Absent, None) => {}
            }
        }
        Ok(Some(event.place(sighted)))
    }

    /// Of the tips of a lane that came out of reading the room's order, those that nothing covers: an event that moved back
    /// behind what it came after may stand behind one that covers it.
    fn uncovered(&self, number: u32, lane: Lane, tips: &Tips) -> Result<Tips, StoreError> {
        let mut uncovered = tips.clone();
        let mut pages = Pages::below(&layout::room_prefix(layout::ORDER, number), ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                let Some(order) = layout::read_order_key(&key) else { continue };
                let Named::Sound(stored) = self.named(&order.id)? else { continue };
                let header = stored.event.header();
                if header.lane == lane {
                    let others = if lane == Lane::State { &header.state_frontier } else { &header.parents };
                    for id in others.iter().chain(&header.self_parent) {
                        uncovered.remove(id);
                    }
                }
            }
        }
        Ok(uncovered)
    }

    fn hold_have_vector(&mut self, room: RoomId, number: u32, have: &HaveVector) -> Result<(), Stop> {
        let mut seen = BTreeSet::new();
        let mut pages = Pages::below(&layout::room_prefix(layout::HAVE, number), RECORDS);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, record) in page {
                let lane = layout::read_lane_key(&key)
                    .filter(|(origin, lane)| layout::lane_prefix(layout::HAVE, number, *origin, *lane) == key);
                let Some((origin, lane)) = lane else {
                    self.note_derivable(FindingKind::HaveVector, Some(room), None, "an entry that is none");
                    self.mending.remove(key)?;
                    continue;
                };
                seen.insert((origin, lane));
                let Some(held) = have.lane(origin, lane) else {
                    let what = format!("it says that something is held of {origin}, of which nothing is");
                    self.note_derivable(FindingKind::HaveVector, Some(room), None, what);
                    self.mending.remove(key)?;
                    continue;
                };
                if layout::read_lane(&record).ok().as_ref() != Some(held) {
                    let what = format!("it says something else of {origin} than what is held");
                    self.note_derivable(FindingKind::HaveVector, Some(room), None, what);
                    self.mending.set(key, layout::write_lane(held))?;
                }
            }
        }
        for (origin, lane, held) in have.lanes().filter(|(origin, lane, _)| !seen.contains(&(*origin, *lane))) {
            let what = format!("it says nothing of {origin}, of which something is held");
            self.note_derivable(FindingKind::HaveVector, Some(room), None, what);
            let key = layout::lane_prefix(layout::HAVE, number, origin, lane);
            self.mending.set(key, layout::write_lane(held))?;
        }
        Ok(())
    }

    /// Sees whether a have-vector can be read that cannot be held against anything.
    fn read_have_vector(&mut self, room: RoomId, number: u32) -> Result<(), Stop> {
        let mut pages = Pages::below(&layout::room_prefix(layout::HAVE, number), RECORDS);
        while let Some(page) = pages.read(&self.mending)? {
            for (_, record) in page {
                if layout::read_lane(&record).is_err() {
                    let what = "an entry cannot be read, nor be derived while an event is missing";
                    self.note_irreplaceable(FindingKind::HaveVector, Some(room), None, what);
                }
            }
        }
        Ok(())
    }

    fn hold_record(&mut self, room: RoomId, mut record: RoomRecord, events: u64, order: &Outline) -> Result<(), Stop> {
        let mut sound = true;
        if record.events != events {
            let what = format!("its record counts {} events, and {events} are here", record.events);
            self.note_derivable(FindingKind::Count, Some(room), None, what);
            record.events = events;
            sound = false;
        }
        let tips =
            [(Lane::State, "state", &mut record.state_tips), (Lane::Timeline, "timeline", &mut record.timeline_tips)];
        let number = record.number;
        for (lane, name, stored) in tips {
            let found = order.tips(lane);
            if *stored == *found {
                continue;
            }
            let tips = &self.uncovered(number, lane, found)?;
            if *stored != *tips {
                let what = format!("its record has {} tips of its {name}, and there are {}", stored.len(), tips.len());
                let what = if stored.len() == tips.len() { format!("the tips of its {name} are others") } else { what };
                self.note_derivable(FindingKind::Tips, Some(room), None, what);
                stored.clone_from(tips);
                sound = false;
            }
        }
        if sound { Ok(()) } else { self.mending.set(layout::room_key(&room), layout::write_room(&record)) }
    }
}

impl Place {
    fn enter(&mut self, lane: (Origin, Lane), seq: u64) {
        let same_lane = self.lane == Some(lane);
        if same_lane && seq == self.seq.saturating_add(1) {
            self.before = std::mem::take(&mut self.here);
        } else if !same_lane || seq != self.seq {
            self.before.clear();
            self.here.clear();
        }
        (self.lane, self.seq) = (Some(lane), seq);
    }
}
