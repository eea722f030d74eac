//! Events that wait for others, with the node's own bounds, and which of them each arrival sets free.

use std::collections::{BTreeMap, BTreeSet};

use super::marks::Marks;

/// The most events that wait in one room, as in `node/src/engine/held.rs`.
pub(super) const MAX_EVENTS: usize = 2048;
/// The most bytes that wait in one room, as there.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Who brought an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Via {
    /// The neighbour's seat.
    pub(super) from: u32,
    /// Whether it came by gossip, so that it is passed on once it is accepted.
    pub(super) gossip: bool,
}

#[derive(Debug)]
struct Waiting {
    missing: Vec<u32>,
    bytes: u32,
    via: Via,
}

/// What waits in one room on one server.
#[derive(Debug, Default)]
pub(super) struct Held {
    events: BTreeMap<u32, Waiting>,
    /// By what they wait for.
    waiting_for: BTreeMap<u32, BTreeSet<u32>>,
    bytes: u64,
}

impl Held {
    /// Keeps an event, unless it waits already or, if there are bounds, there is no room for it.
    pub(super) fn insert(&mut self, number: u32, bytes: u32, missing: Vec<u32>, via: Via, bounded: bool) {
        let full = self.events.len() >= MAX_EVENTS || self.bytes + u64::from(bytes) > MAX_BYTES;
        if bounded && full || self.events.contains_key(&number) {
            return;
        }
        for other in &missing {
            self.waiting_for.entry(*other).or_default().insert(number);
        }
        self.bytes += u64::from(bytes);
        self.events.insert(number, Waiting { missing, bytes, via });
    }

    /// Takes out what waited for `arrived`. It may wait for something else still; the pipeline decides anew.
    pub(super) fn release(&mut self, arrived: u32) -> Vec<(u32, Via)> {
        let waiters = self.waiting_for.remove(&arrived).unwrap_or_default();
        waiters.iter().filter_map(|number| Some((*number, self.remove(*number)?))).collect()
    }

    fn remove(&mut self, number: u32) -> Option<Via> {
        let waiting = self.events.remove(&number)?;
        self.bytes -= u64::from(waiting.bytes);
        for missing in &waiting.missing {
            if let Some(waiters) = self.waiting_for.get_mut(missing) {
                waiters.remove(&number);
                if waiters.is_empty() {
                    self.waiting_for.remove(missing);
                }
            }
        }
        Some(waiting.via)
    }

    /// Whether the event waits.
    pub(super) fn contains(&self, number: u32) -> bool {
        self.events.contains_key(&number)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// What is waited for, is not here and does not itself wait: what has to be fetched.
    pub(super) fn wanted(&self, has: &Marks) -> Vec<u32> {
        let missing = self.waiting_for.keys().copied();
        missing.filter(|number| !self.events.contains_key(number) && !has.contains(*number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIA: Via = Via { from: 0, gossip: true };

    #[test]
    fn an_arrival_sets_free_what_waited_for_it_and_no_more_than_the_bound_waits() {
        let mut held = Held::default();
        held.insert(5, 100, vec![3, 4], VIA, true);
        held.insert(6, 100, vec![5], VIA, true);
        assert_eq!(held.wanted(&Marks::default()), [3, 4]);
        let free: Vec<u32> = held.release(3).into_iter().map(|(number, _)| number).collect();
        assert_eq!(free, [5]);
        assert_eq!(held.len(), 1);
        (10..10_000).for_each(|number| held.insert(number, 1, vec![2], VIA, true));
        assert_eq!(held.len(), MAX_EVENTS);
        held.insert(20_000, 1, vec![2], VIA, false);
        assert_eq!(held.len(), MAX_EVENTS + 1);
    }
}
