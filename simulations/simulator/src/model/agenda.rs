//! What is to come, by time; at the same time in the order in which it was put down.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::letter::{Letter, What};

/// Virtual time since the start of the run, in microseconds.
pub(super) type Micros = u64;

/// A thousandth of a second.
pub(super) const MILLISECOND: Micros = 1_000;
/// A second.
pub(super) const SECOND: Micros = 1_000_000;

/// A stretch of time in microseconds.
pub(super) fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// What is to come. `life` is that of the server that it belongs to: what a server had in mind dies with it.
#[derive(Debug)]
pub(super) enum Action {
    /// A message reaches a server.
    Arrive(Letter),
    /// An answer leaves, since what is in it is on disk now.
    Post {
        /// The server that answers.
        from: u32,
        /// The server that asked.
        to: u32,
        /// The answering server's.
        life: u32,
        /// How large it is.
        bytes: u32,
        /// The answer.
        what: What,
    },
    /// A server's gossip looks after its meshes.
    Beat { server: u32, life: u32 },
    /// A seat's log is on disk up to some entry.
    Flush { seat: u32, life: u32, upto: u32 },
    /// The clock of a server's sync goes.
    Alarm { server: u32, life: u32 },
    /// A seat compares its room with one neighbour.
    Look { seat: u32, peer: u32, life: u32 },
    /// A seat looks after what waits in it.
    Repair { seat: u32, life: u32 },
    /// A call is answered, or not.
    Dial { seat: u32, peer: u32, life: u32 },
    /// A connection has stalled for too long.
    Break { seat: u32, peer: u32 },
    /// Time to join tips, if there are still too many.
    Merge { seat: u32, life: u32 },
    /// A server looks for what it has said in a room before.
    OwnChain { seat: u32, life: u32 },
    /// A server looks for a room that a user of it wants to come into.
    Obtain { seat: u32, life: u32 },
    /// A hostile server does its thing.
    Harm { seat: u32, round: u32 },
}

#[derive(Debug)]
struct Timed {
    at: Micros,
    order: u64,
    action: Action,
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Timed {}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timed {
    /// The earlier one is the greater one, since the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// The heap of everything that is to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Timed>,
    order: u64,
}

impl Agenda {
    /// Puts something down.
    pub(super) fn push(&mut self, at: Micros, action: Action) {
        self.order += 1;
        self.heap.push(Timed { at, order: self.order, action });
    }

    /// When the next thing comes.
    pub(super) fn next_at(&self) -> Option<Micros> {
        self.heap.peek().map(|timed| timed.at)
    }

    /// Takes the next thing out.
    pub(super) fn pop(&mut self) -> Option<Action> {
        self.heap.pop().map(|timed| timed.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_is_given_first_and_equals_stay_in_order() {
        let mut agenda = Agenda::default();
        for (at, server) in [(20, 0), (10, 1), (10, 2), (5, 3)] {
            agenda.push(at, Action::Beat { server, life: 0 });
        }
        let mut order = Vec::new();
        while let Some(Action::Beat { server, .. }) = agenda.pop() {
            order.push(server);
        }
        assert_eq!(order, [3, 1, 2, 0]);
    }
}
