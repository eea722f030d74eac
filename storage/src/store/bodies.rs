//! Which bodies are gone for good, which are still wanted, and what alters what.
//!
//! A body can be missing (it never came: wanted), erased (a redaction took it) or expired (this node keeps none so old). All
//! three leave the event itself in the graph, which verifies without it.

use std::collections::BTreeSet;

use rocketmesh_protocol::event::{Content, Event};
use rocketmesh_protocol::id::{EventId, RoomId};

use super::{EventStore, StoredEvent, event_change};
use crate::backend::{Change, Scan};
use crate::error::StoreError;
use crate::layout;

/// What is noted of an event beside its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// A redaction took the body.
    pub erased: bool,
    /// The body is older than this node keeps bodies of the room.
    pub expired: bool,
    /// The event came long after it was said.
    pub late: bool,
}

impl Marks {
    /// Whether the body is gone and is not to be asked for.
    pub const fn gone(self) -> bool {
        self.erased || self.expired
    }

    /// The marks as bits: 1 erased, 2 expired, 4 late.
    pub(crate) const fn bits(self) -> u8 {
        self.erased as u8 | (self.expired as u8) << 1 | (self.late as u8) << 2
    }

    /// The marks of these bits.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Marks { erased: bits & 1 != 0, expired: bits & 2 != 0, late: bits & 4 != 0 }
    }
}

/// The event that an edit or a redaction is about.
pub(crate) fn altered(event: &Event) -> Option<EventId> {
    match event.content() {
        Ok(Content::Edit { target, .. } | Content::Redact { target, .. }) => Some(target),
        _ => None,
    }
}

impl EventStore {
    /// What is noted of an event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn marks(&self, id: &EventId) -> Result<Marks, StoreError> {
        let bits = self.backend.get(&layout::key(layout::MARKS, &[id.hash()]))?;
        Ok(bits.and_then(|bits| bits.first().copied()).map_or(Marks::default(), Marks::from_bits))
    }

    /// Edits and redactions in the room that name this event, whether they reach it or not, ascending by id: at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn alterations(&self, room: &RoomId, target: &EventId, limit: usize) -> Result<Vec<EventId>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(Vec::new()) };
        let prefix = layout::key(layout::ALTERATION, &[&number.to_be_bytes(), target.hash()]);
        self.ids_behind(&Scan::prefix(&prefix, limit), prefix.len())
    }

    /// Events of the room whose bodies are missing and wanted, ascending by id: at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn wanted_bodies(&self, room: &RoomId, limit: usize) -> Result<Vec<EventId>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(Vec::new()) };
        let prefix = layout::key(layout::WANTED, &[&number.to_be_bytes()]);
        self.ids_behind(&Scan::prefix(&prefix, limit), prefix.len())
    }

    fn ids_behind(&self, scan: &Scan, at: usize) -> Result<Vec<EventId>, StoreError> {
        let entries = self.backend.scan(scan)?;
        let id = |key: &[u8]| Some(EventId::from_hash(key.get(at..)?.try_into().ok()?));
        entries.iter().map(|(key, _)| id(key).ok_or_else(|| layout::damaged("an index of bodies"))).collect()
    }

    /// What a batch changes about bodies.
    pub(super) fn put_bodies(
        changes: &mut Vec<Change>,
        room: u32,
        events: &[StoredEvent],
        marked: &[(EventId, Marks)],
        stripped: &[StoredEvent],
    ) {
        let wanted = |id: &EventId| layout::key(layout::WANTED, &[&room.to_be_bytes(), id.hash()]);
        for stored in events {
            let event = &stored.event;
            if let Some(target) = altered(event) {
                let key = layout::key(layout::ALTERATION, &[&room.to_be_bytes(), target.hash(), event.id().hash()]);
                changes.push(Change::Set(key, Vec::new()));
            }
            if event.header().body.is_some() && event.body_block().is_none() {
                changes.push(Change::Set(wanted(&event.id()), Vec::new()));
            }
        }
        changes.extend(stripped.iter().map(event_change));
        let fresh: BTreeSet<EventId> = events.iter().map(|stored| stored.event.id()).collect();
        for (id, marks) in marked {
            let key = layout::key(layout::MARKS, &[id.hash()]);
            changes.push(match marks.bits() {
                0 => Change::Remove(key),
                bits => Change::Set(key, vec![bits]),
            });
            if marks.gone() {
                changes.push(Change::Remove(wanted(id)));
            } else if !fresh.contains(id) {
                // What took the body does not count any more: others may still have it.
                changes.push(Change::Set(wanted(id), Vec::new()));
            }
        }
    }
}
