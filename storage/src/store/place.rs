//! Where events stand in their rooms' order.
//!
//! A state event does not wait for the timeline events that its server had seen, and yet stands behind them. So its place
//! follows from those of them that are here: where one comes later, the event moves behind it. The place is a function of what
//! is here, never of what came first. What is not here is listed, so that nothing has to be looked for.

use std::collections::{BTreeMap, BTreeSet};

use rocketmesh_protocol::event::{Event, Lane, OrderKey};
use rocketmesh_protocol::id::{EventId, RoomId};

use super::{EventStore, StoredEvent, Verdict, scan_all};
use crate::backend::{Change, Scan};
use crate::error::StoreError;
use crate::layout;

/// The lamport time of an event that another one has sighted; none where that is no timeline event of the same room.
pub(crate) fn sighted_time(by: &Event, seen: &Event) -> Option<u64> {
    let counts = seen.header().lane == Lane::Timeline && seen.room() == by.room();
    counts.then(|| seen.header().lamport)
}

impl EventStore {
    /// Where an event stands in its room's order by what is here now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn place(&self, event: &Event) -> Result<OrderKey, StoreError> {
        self.place_with(event, &BTreeMap::new())
    }

    /// Whether anything of the room came after an event that is not here in this room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lacks_sighted(&self, room: &RoomId) -> Result<bool, StoreError> {
        let Some(number) = self.number(room) else { return Ok(false) };
        Ok(!self.backend.scan(&Scan::prefix(&layout::room_prefix(layout::SIGHTED, number), 1))?.is_empty())
    }

    fn place_with(&self, event: &Event, coming: &BTreeMap<EventId, &Event>) -> Result<OrderKey, StoreError> {
        let mut sighted: Option<u64> = None;
        for id in event.header().sightings() {
            let time = match coming.get(&id) {
                Some(seen) => sighted_time(event, seen),
                None => self.event(&id)?.and_then(|seen| sighted_time(event, &seen.event)),
            };
            sighted = sighted.max(time);
        }
        Ok(event.place(sighted))
    }

    /// What events that come change about the room's order.
    pub(super) fn put_places(
        &self,
        changes: &mut Vec<Change>,
        room: u32,
        events: &[StoredEvent],
    ) -> Result<(), StoreError> {
        let coming: BTreeMap<EventId, &Event> =
            events.iter().map(|stored| (stored.event.id(), &stored.event)).collect();
        let mut moved: BTreeSet<EventId> = BTreeSet::new();
        for StoredEvent { event, verdict } in events {
            if *verdict != Verdict::Rejected {
                let place = self.place_with(event, &coming)?;
                changes.push(Change::Set(layout::order_key(room, &place), Vec::new()));
                for id in event.header().sightings() {
                    // One of another room is never here, so that nothing depends on when that came.
                    let here = |seen: StoredEvent| seen.event.room() == event.room();
                    if !coming.contains_key(&id) && !self.event(&id)?.is_some_and(here) {
                        changes.push(Change::Set(layout::sighted_key(room, &id, &event.id()), Vec::new()));
                    }
                }
            }
            for (key, _) in scan_all(&*self.backend, &layout::sighted_prefix(room, &event.id()))? {
                if event.header().lane == Lane::Timeline {
                    moved.insert(layout::read_sighted_key(&key).ok_or_else(|| layout::damaged("a sighting"))?);
                }
                changes.push(Change::Remove(key));
            }
        }
        for id in moved {
            let Some(StoredEvent { event, .. }) = self.event(&id)? else { continue };
            let (before, after) = (self.place(&event)?, self.place_with(&event, &coming)?);
            if before != after {
                changes.push(Change::Remove(layout::order_key(room, &before)));
                changes.push(Change::Set(layout::order_key(room, &after), Vec::new()));
            }
        }
        Ok(())
    }
}
