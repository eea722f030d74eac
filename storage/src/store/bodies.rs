//! Which bodies are gone for good, which are still wanted, and what alters what.
//!
//! A body can be missing (it never came: wanted), erased (a redaction took it) or expired (this node keeps none so old). All
//! three leave the event itself in the graph, which verifies without it.

use std::collections::BTreeSet;
use std::ops::Bound;

use rocketmesh_protocol::event::{Content, Event};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::UserId;

use super::{EventStore, StoredEvent, Verdict, event_change};
use crate::backend::{Change, Entry, Scan};
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

/// Whether an alteration takes its target's body or replaces its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// A redaction.
    Redaction,
    /// An edit.
    Edit,
}

/// What an edit or a redaction is about, what it is, and the user of whom it says that they wrote its target. Only one that
/// says so truly reaches it, and only its author and moderators may say so: nobody else's can crowd these out.
fn altered(event: &Event) -> Option<(EventId, Alteration, UserId)> {
    let (target, what, author) = match event.content() {
        Ok(Content::Edit { target, author }) => (target, Alteration::Edit, author),
        Ok(Content::Redact { target, author }) => (target, Alteration::Redaction, author),
        _ => return None,
    };
    Some((target, what, author.or_else(|| event.sender())?))
}

/// How many bytes of a listed alteration's key stand before its id.
pub(crate) const ALTERATION_PREFIX: usize = 1 + 4 + 32 + 1 + 16;

/// Where an edit or a redaction is listed. What was not allowed alters nothing and is not.
pub(crate) fn alteration_key(room: u32, stored: &StoredEvent) -> Option<Vec<u8>> {
    let (target, what, author) = altered(&stored.event).filter(|_| stored.verdict != Verdict::Rejected)?;
    let mut key = alteration_prefix(room, &target, what, &author);
    key.extend_from_slice(stored.event.id().hash());
    Some(key)
}

/// Where alterations of one kind by one claimed author are listed.
fn alteration_prefix(room: u32, target: &EventId, what: Alteration, author: &UserId) -> Vec<u8> {
    let kind = match what {
        Alteration::Redaction => [0],
        Alteration::Edit => [1],
    };
    let author = blake3::hash(author.to_string().as_bytes());
    layout::key(layout::ALTERATION, &[&room.to_be_bytes(), target.hash(), &kind, &author.as_bytes()[..16]])
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

    /// Allowed edits or redactions in the room that name this event and `author` as who wrote it, ascending by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn alterations(
        &self,
        room: &RoomId,
        target: &EventId,
        what: Alteration,
        author: &UserId,
    ) -> Result<Vec<EventId>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(Vec::new()) };
        let prefix = alteration_prefix(number, target, what, author);
        let keys = super::scan_all(&*self.backend, &prefix)?;
        ids_behind(&keys, prefix.len())
    }

    /// Events of the room whose bodies are missing and wanted, ascending by id, from just after `after`: at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn wanted_bodies(
        &self,
        room: &RoomId,
        after: Option<&EventId>,
        limit: usize,
    ) -> Result<Vec<EventId>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(Vec::new()) };
        let prefix = layout::key(layout::WANTED, &[&number.to_be_bytes()]);
        let mut scan = Scan::prefix(&prefix, limit);
        if let Some(after) = after {
            scan.from = Bound::Excluded([prefix.as_slice(), after.hash()].concat());
        }
        ids_behind(&self.backend.scan(&scan)?, prefix.len())
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
            changes.extend(alteration_key(room, stored).map(|key| Change::Set(key, Vec::new())));
            // Nobody is to see the text of what was not allowed.
            if stored.verdict != Verdict::Rejected && event.header().body.is_some() && event.body_block().is_none() {
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

fn ids_behind(entries: &[Entry], at: usize) -> Result<Vec<EventId>, StoreError> {
    let id = |key: &[u8]| Some(EventId::from_hash(key.get(at..)?.try_into().ok()?));
    entries.iter().map(|(key, _)| id(key).ok_or_else(|| layout::damaged("an index of bodies"))).collect()
}
