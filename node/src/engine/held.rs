//! Events that wait for others, bounded, and which of them each arrival sets free.

use std::collections::{BTreeMap, BTreeSet};

use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::id::EventId;

use crate::network::GossipToken;

/// The most events that wait in one room. More than a catch-up delivers out of order; a flood of orphans costs this much.
const MAX_EVENTS: usize = 2048;
/// The most bytes that wait in one room.
const MAX_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Held {
    events: BTreeMap<EventId, Waiting>,
    /// By what they wait for.
    waiting_for: BTreeMap<EventId, BTreeSet<EventId>>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) event: Event,
    pub(super) missing: Vec<EventId>,
    /// The gossip message that brought it, to be passed on once it is accepted.
    pub(super) token: Option<GossipToken>,
}

fn size(event: &Event) -> usize {
    event.header_block().len() + event.body_block().map_or(0, <[u8]>::len)
}

impl Held {
    /// Keeps an event. False when there is no room for it, or it waits already.
    pub(super) fn insert(&mut self, event: Event, missing: Vec<EventId>, token: Option<GossipToken>) -> bool {
        let bytes = size(&event);
        let full = self.events.len() >= MAX_EVENTS || self.bytes + bytes > MAX_BYTES;
        if full || self.events.contains_key(&event.id()) {
            return false;
        }
        for id in &missing {
            self.waiting_for.entry(*id).or_default().insert(event.id());
        }
        self.bytes += bytes;
        self.events.insert(event.id(), Waiting { event, missing, token });
        true
    }

    /// Takes out what waited for `arrived`. It may wait for something else still; the pipeline decides anew.
    pub(super) fn release(&mut self, arrived: &EventId) -> Vec<Waiting> {
        let ids = self.waiting_for.remove(arrived).unwrap_or_default();
        ids.iter().filter_map(|id| self.remove(id)).collect()
    }

    fn remove(&mut self, id: &EventId) -> Option<Waiting> {
        let waiting = self.events.remove(id)?;
        self.bytes -= size(&waiting.event);
        for missing in &waiting.missing {
            if let Some(waiters) = self.waiting_for.get_mut(missing) {
                waiters.remove(id);
                if waiters.is_empty() {
                    self.waiting_for.remove(missing);
                }
            }
        }
        Some(waiting)
    }

    /// Whether the event waits.
    pub(super) fn contains(&self, id: &EventId) -> bool {
        self.events.contains_key(id)
    }

    /// Those that wait.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values().map(|waiting| &waiting.event)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// What is waited for and does not itself wait: what has to be fetched.
    pub(super) fn wanted(&self) -> Vec<EventId> {
        self.waiting_for.keys().filter(|id| !self.events.contains_key(id)).copied().collect()
    }
}
