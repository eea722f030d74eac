//! What stands beside the events: indexes of bodies, held events, snapshots, and what belongs to nothing any more.

use std::collections::BTreeSet;
use std::ops::Bound;

use rocketmesh_protocol::event::UnverifiedEvent;
use rocketmesh_protocol::id::{EventId, RoomId};

use super::mending::{ENTRIES, Pages, RECORDS};
use super::rooms::Named;
use super::{Checker, FindingKind, Stop, id_at};
use crate::backend::{Entry, after_prefix};
use crate::error::StoreError;
use crate::layout;
use crate::store::{ALTERATION_PREFIX, Verdict, alteration_key};

/// Everything that is kept under the number of a room.
const BY_ROOM: [(u8, &str); 10] = [
    (layout::CHAIN, "entries of chains"),
    (layout::ORDER, "entries of an order"),
    (layout::SIGHTED, "sightings"),
    (layout::HAVE, "entries of a have-vector"),
    (layout::HELD, "held events"),
    (layout::PIECE, "pieces of a snapshot"),
    (layout::SNAPSHOT, "snapshots"),
    (layout::WANTED, "wanted bodies"),
    (layout::ALTERATION, "edits and redactions"),
    (layout::NAMED, "files that messages name"),
];
/// How many bytes a prefix and a room's number have.
const ROOM_PREFIX: usize = 5;
/// How many bytes an id has.
const ID: usize = 32;

impl Checker<'_> {
    pub(super) fn look_at_leftovers(&mut self) -> Result<(), Stop> {
        for (index, name) in BY_ROOM {
            self.look_for_orphans(index, name)?;
        }
        self.look_at_marks()?;
        for (room, number) in self.rooms.clone() {
            self.look_at_wanted(room, number)?;
            self.look_at_alterations(room, number)?;
            self.look_at_named_files(room, number)?;
            self.look_at_held(room, number)?;
            self.look_at_snapshot(room, number)?;
        }
        self.look_at_files()
    }

    /// Finds what is kept under numbers that no room has.
    fn look_for_orphans(&mut self, index: u8, name: &str) -> Result<(), Stop> {
        let known: BTreeSet<u32> = self.rooms.values().copied().collect();
        let mut from = Bound::Included(vec![index]);
        while let Some((key, _)) = self.first(from, after_prefix(&[index]))? {
            let number = key.get(1..ROOM_PREFIX).and_then(|number| number.try_into().ok()).map(u32::from_be_bytes);
            let Some(number) = number else {
                // It is too short for a number, so that keys of rooms begin with it.
                let alone = (Bound::Included(key.clone()), Bound::Included(key.clone()));
                self.remove_orphans(Pages::between(alone.0, alone.1, RECORDS), name)?;
                from = Bound::Excluded(key);
                continue;
            };
            if !known.contains(&number) {
                self.remove_orphans(Pages::below(&layout::room_prefix(index, number), RECORDS), name)?;
            }
            let Some(next) = number.checked_add(1) else { break };
            from = Bound::Included(layout::room_prefix(index, next));
        }
        Ok(())
    }

    fn first(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Result<Option<Entry>, StoreError> {
        let mut pages = Pages::between(from, to, 1);
        while let Some(page) = pages.read(&self.mending)? {
            if let Some(first) = page.into_iter().next() {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    fn remove_orphans(&mut self, mut pages: Pages, name: &str) -> Result<(), Stop> {
        // They may be of a room whose events are here and whose record is not.
        let removable = self.rootless.is_empty();
        let mut orphans = 0_u64;
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                orphans += 1;
                if removable {
                    self.mending.remove(key)?;
                }
            }
        }
        let what = format!("{name} of a room that is not here: {orphans}");
        if removable {
            self.note_derivable(FindingKind::Orphan, None, None, what);
        } else {
            self.note_irreplaceable(FindingKind::Orphan, None, None, what);
        }
        Ok(())
    }

    /// Finds notes about events that are not here.
    fn look_at_marks(&mut self) -> Result<(), Stop> {
        let mut pages = Pages::below(&[layout::MARKS], ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                let id = id_at(&key, 1);
                let stray = match id {
                    Some(id) => !self.lost.contains_key(&id) && !self.mending.contains(&layout::event_key(&id))?,
                    None => true,
                };
                if stray {
                    self.note_derivable(FindingKind::Orphan, None, id, "something is noted of it, and it is not here");
                    self.mending.remove(key)?;
                }
            }
        }
        Ok(())
    }

    fn look_at_wanted(&mut self, room: RoomId, number: u32) -> Result<(), Stop> {
        let mut pages = Pages::below(&layout::room_prefix(layout::WANTED, number), ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                let id = id_at(&key, ROOM_PREFIX);
                let belongs = match self.named_at(id)? {
                    Named::Sound(stored) => {
                        let counts = stored.event.room() == room && stored.verdict != Verdict::Rejected;
                        counts && self.wants_body(&stored.event)?
                    }
                    Named::Unclear => true,
                    Named::Absent => false,
                };
                if !belongs {
                    self.note_derivable(
                        FindingKind::BodyIndex,
                        Some(room),
                        id,
                        "its body is asked for, and not missing",
                    );
                    self.mending.remove(key)?;
                }
            }
        }
        Ok(())
    }

    fn look_at_alterations(&mut self, room: RoomId, number: u32) -> Result<(), Stop> {
        let mut pages = Pages::below(&layout::room_prefix(layout::ALTERATION, number), ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                let id = id_at(&key, ALTERATION_PREFIX);
                let belongs = match self.named_at(id)? {
                    Named::Sound(stored) => {
                        stored.event.room() == room && alteration_key(number, &stored).as_ref() == Some(&key)
                    }
                    Named::Unclear => true,
                    Named::Absent => false,
                };
                if !belongs {
                    let what = "it counts as an edit or a redaction of something, and is none of it";
                    self.note_derivable(FindingKind::BodyIndex, Some(room), id, what);
                    self.mending.remove(key)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn named_at(&self, id: Option<EventId>) -> Result<Named, StoreError> {
        id.map_or(Ok(Named::Absent), |id| self.named(&id))
    }

    fn look_at_held(&mut self, room: RoomId, number: u32) -> Result<(), Stop> {
        let mut pages = Pages::below(&layout::room_prefix(layout::HELD, number), RECORDS);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, record) in page {
                if let Some(fault) = self.fault_of_held(room, &key, &record)? {
                    let what = format!("it waits for others, and cannot be used: {fault}");
                    self.note_derivable(FindingKind::Held, Some(room), id_at(&key, ROOM_PREFIX), what);
                    self.mending.remove(key)?;
                }
            }
        }
        Ok(())
    }

    fn fault_of_held(&self, room: RoomId, key: &[u8], record: &[u8]) -> Result<Option<String>, StoreError> {
        let Ok(held) = layout::read_held(key, record) else { return Ok(Some("it cannot be read".to_owned())) };
        let event = match held.event.decode().and_then(UnverifiedEvent::verify) {
            Ok(event) => event,
            Err(error) => return Ok(Some(error.to_string())),
        };
        if event.id() != held.id || event.room() != room {
            return Ok(Some("it is another event than its key says".to_owned()));
        }
        let here = matches!(self.named(&event.id())?, Named::Sound(_));
        Ok(here.then(|| "it is here already".to_owned()))
    }

    fn look_at_snapshot(&mut self, room: RoomId, number: u32) -> Result<(), Stop> {
        let key = layout::room_prefix(layout::SNAPSHOT, number);
        let record = self.mending.get(&key)?;
        let (pieces, sound) = match &record {
            None => (BTreeSet::new(), true),
            Some(record) => match self.pieces(number, record)? {
                Some(pieces) => (pieces, true),
                None => (BTreeSet::new(), false),
            },
        };
        if !sound {
            let what = "its snapshot cannot be used; the node makes another one";
            self.note_derivable(FindingKind::Snapshot, Some(room), None, what);
            self.mending.remove(key)?;
        }
        let mut orphans = 0_u64;
        let mut pages = Pages::below(&layout::room_prefix(layout::PIECE, number), RECORDS);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                let hash: Option<[u8; ID]> = key.get(ROOM_PREFIX..).and_then(|hash| hash.try_into().ok());
                if hash.is_none_or(|hash| !pieces.contains(&hash)) {
                    orphans += 1;
                    self.mending.remove(key)?;
                }
            }
        }
        if sound && orphans > 0 {
            let what = format!("pieces that its snapshot does not name: {orphans}");
            self.note_derivable(FindingKind::Orphan, Some(room), None, what);
        }
        Ok(())
    }

    /// The pieces of a snapshot; none if it cannot be read whole, or was not taken behind an event that is here.
    fn pieces(&self, number: u32, record: &[u8]) -> Result<Option<BTreeSet<[u8; ID]>>, StoreError> {
        let Some((cut, _, hashes)) = layout::read_snapshot(record) else { return Ok(None) };
        if matches!(self.named(&cut)?, Named::Absent) {
            return Ok(None);
        }
        for hash in &hashes {
            let piece = self.mending.get(&layout::key(layout::PIECE, &[&number.to_be_bytes(), hash]))?;
            if piece.is_none_or(|piece| blake3::hash(&piece).as_bytes() != hash) {
                return Ok(None);
            }
        }
        Ok(Some(hashes.into_iter().collect()))
    }
}
