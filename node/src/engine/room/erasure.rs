//! What becomes of bodies: taken by redactions, given back when those do not count any more, dropped when they are too old.
//!
//! A redaction that is shown takes the body of what it reaches, and of every edit that reaches the same. It does so whichever
//! came first, so that every server ends with the same bodies. Where the redaction is withheld later, the bodies are wanted
//! again, from whoever heard of both in the other order.

use std::collections::BTreeMap;

use rocketmesh_protocol::event::{Content, Event, Lane};
use rocketmesh_protocol::id::EventId;
use rocketmesh_storage::{Alteration, Marks, StoreError, StoredEvent, Verdict};

use super::RoomTask;

/// How long after it was said an event counts as late, in milliseconds. For people: it decides nothing but a mark.
const LATE_AFTER_MS: u64 = 5 * 60 * 1000;

/// What a burst changes about bodies.
#[derive(Default)]
pub(super) struct Bodies {
    /// What is noted of events from now on.
    pub(super) marked: BTreeMap<EventId, Marks>,
    /// Events that were written before and lose their bodies.
    pub(super) stripped: BTreeMap<EventId, StoredEvent>,
    /// Edits and redactions of this burst, by what they name.
    altering: BTreeMap<EventId, Vec<EventId>>,
    /// Whether bodies are wanted again that were gone.
    pub(super) wanted_again: bool,
}

impl Bodies {
    pub(super) fn is_empty(&self) -> bool {
        self.marked.is_empty() && self.stripped.is_empty()
    }
}

impl RoomTask {
    /// Sees to the bodies that an event which was just decided on is about: its own, and others' if it takes them.
    pub(super) fn mind_bodies(&mut self, id: &EventId) -> Result<(), StoreError> {
        let Some(stored) = self.undecided.get(id).cloned() else { return Ok(()) };
        let event = &stored.event;
        if self.engine.clock.now_ms().saturating_sub(event.header().time_ms) > LATE_AFTER_MS {
            self.bodies.marked.entry(*id).or_default().late = true;
        }
        if let Some(target) = target(event) {
            self.bodies.altering.entry(target).or_default().push(*id);
        }
        if self.is_reached(event)? {
            // Its edits came before it, and nobody could tell then that they reach it.
            for id in self.with_edits(event)? {
                self.strip(&id, |marks| marks.erased = true)?;
            }
        } else if self.edits_what_is_redacted(event)? {
            self.strip(id, |marks| marks.erased = true)?;
        }
        if stored.verdict == Verdict::Accepted { self.take_bodies(event) } else { Ok(()) }
    }

    /// Sees to the bodies that an event took, or did not, before its verdict changed.
    pub(super) fn mind_changed_verdict(&mut self, stored: &StoredEvent) -> Result<(), StoreError> {
        match stored.verdict {
            Verdict::Accepted => self.take_bodies(&stored.event),
            _ => self.give_back_bodies(&stored.event),
        }
    }

    /// Drops the bodies of events that are older than this node keeps bodies of the room.
    pub(super) fn expire(&mut self, ids: &[EventId]) -> Result<(), StoreError> {
        for id in ids {
            // Names and topics stay for as long as they may be the room's.
            if self.stored(id)?.is_some_and(|stored| stored.event.header().lane == Lane::Timeline) {
                self.strip(id, |marks| marks.expired = true)?;
            }
        }
        Ok(())
    }

    /// What this burst has made of an event, or else what is in the store.
    pub(super) fn stored(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        let here = self.undecided.get(id).or_else(|| self.changed.get(id)).or_else(|| self.bodies.stripped.get(id));
        match here {
            Some(stored) => Ok(Some(stored.clone())),
            None => self.engine.store.event(id),
        }
    }

    fn take_bodies(&mut self, redaction: &Event) -> Result<(), StoreError> {
        let Some(message) = self.reached(redaction)? else { return Ok(()) };
        // What comes after a redaction is erased as it comes.
        if self.marks(&message.id())?.erased {
            return Ok(());
        }
        for id in self.with_edits(&message)? {
            self.strip(&id, |marks| marks.erased = true)?;
        }
        Ok(())
    }

    fn give_back_bodies(&mut self, redaction: &Event) -> Result<(), StoreError> {
        let Some(message) = self.reached(redaction)? else { return Ok(()) };
        if self.is_reached(&message)? {
            return Ok(());
        }
        for id in self.with_edits(&message)? {
            let Some(stored) = self.stored(&id)? else { continue };
            let mut marks = self.marks(&id)?;
            if !marks.erased || self.is_reached(&stored.event)? {
                continue;
            }
            marks.erased = false;
            if self.bodies.stripped.remove(&id).is_some() {
                // The store still has the body.
                self.bodies.marked.remove(&id);
                if let (Some(changed), Some(whole)) = (self.changed.get_mut(&id), self.engine.store.event(&id)?) {
                    changed.event = whole.event;
                }
                continue;
            }
            self.bodies.marked.insert(id, marks);
            self.bodies.wanted_again |= !marks.gone();
        }
        Ok(())
    }

    /// The message that a redaction reaches, where it is here. None for other events.
    fn reached(&self, redaction: &Event) -> Result<Option<Event>, StoreError> {
        let Ok(Content::Redact { target, .. }) = redaction.content() else { return Ok(None) };
        let message = self.stored(&target)?.map(|stored| stored.event);
        Ok(message.filter(|message| redaction.reaches(message)))
    }

    /// A message and the edits that reach it.
    fn with_edits(&self, message: &Event) -> Result<Vec<EventId>, StoreError> {
        let mut ids = self.alterations(message, Alteration::Edit)?;
        ids.push(message.id());
        Ok(ids)
    }

    fn edits_what_is_redacted(&self, event: &Event) -> Result<bool, StoreError> {
        let Some(target) = target(event).filter(|_| is_edit(event)) else { return Ok(false) };
        match self.stored(&target)?.filter(|message| event.reaches(&message.event)) {
            Some(message) => self.is_reached(&message.event),
            None => Ok(false),
        }
    }

    /// Whether a redaction that counts reaches the event.
    fn is_reached(&self, event: &Event) -> Result<bool, StoreError> {
        for id in self.alterations(event, Alteration::Redaction)? {
            if self.stored(&id)?.is_some_and(|stored| stored.verdict == Verdict::Accepted) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Edits or redactions that reach the event, whether they count or not.
    fn alterations(&self, event: &Event, what: Alteration) -> Result<Vec<EventId>, StoreError> {
        let Some(author) = event.sender() else { return Ok(Vec::new()) };
        let mut found = self.engine.store.alterations(&self.room, &event.id(), what, &author)?;
        for id in self.bodies.altering.get(&event.id()).into_iter().flatten() {
            let here = self.undecided.get(id).filter(|stored| stored.verdict != Verdict::Rejected);
            let fits = |stored: &StoredEvent| {
                is_edit(&stored.event) == (what == Alteration::Edit) && stored.event.reaches(event)
            };
            found.extend(here.filter(|stored| fits(stored)).map(|_| *id));
        }
        Ok(found)
    }

    fn marks(&self, id: &EventId) -> Result<Marks, StoreError> {
        match self.bodies.marked.get(id) {
            Some(marks) => Ok(*marks),
            None => self.engine.store.marks(id),
        }
    }

    fn strip(&mut self, id: &EventId, note: impl FnOnce(&mut Marks)) -> Result<(), StoreError> {
        let Some(stored) = self.stored(id)?.filter(|stored| stored.event.header().body.is_some()) else {
            return Ok(());
        };
        let before = self.marks(id)?;
        let mut marks = before;
        note(&mut marks);
        if marks == before && stored.event.body_block().is_none() {
            return Ok(());
        }
        self.bodies.marked.insert(*id, marks);
        let bare = StoredEvent { event: stored.event.without_body(), verdict: stored.verdict };
        match self.undecided.get_mut(id) {
            Some(unwritten) => *unwritten = bare,
            None => {
                if let Some(changed) = self.changed.get_mut(id) {
                    *changed = bare.clone();
                }
                self.bodies.stripped.insert(*id, bare);
            }
        }
        Ok(())
    }
}

fn is_edit(event: &Event) -> bool {
    matches!(event.content(), Ok(Content::Edit { .. }))
}

fn target(event: &Event) -> Option<EventId> {
    match event.content() {
        Ok(Content::Edit { target, .. } | Content::Redact { target, .. }) => Some(target),
        _ => None,
    }
}
