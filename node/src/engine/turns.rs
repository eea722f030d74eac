//! Whose request is answered next: each peer in turn, however much it asks.
//!
//! ```text
//!   offer ──► one queue for each peer ──► take: round robin, past peers that have as many answered as they may ──► done
//!     │
//!     └── no place left: the newest request of the longest queue gives way to whoever has fewer waiting
//! ```
//!
//! Nothing here reads a request or a clock, so that whether it is fair can be tested without a node.

use std::collections::{BTreeMap, VecDeque};

/// Requests that are answered at once. Each may read megabytes from the store, and makes an answer of up to 4 MiB.
const SERVED: usize = 8;
/// Those of one peer: as many as the machine of anti-entropy leaves open with one, and half of what there is, so that one peer
/// with slow questions never has it all.
const SERVED_OF_PEER: usize = 4;
/// Requests that wait for their turn. Each may hold 1 MiB.
const WAITING: usize = 128;

/// Requests of peers: those that wait, and how many are being answered.
#[derive(Debug)]
pub(super) struct Turns<P, T> {
    /// Peers of whom something waits or is being answered.
    peers: BTreeMap<P, OfPeer<T>>,
    /// Peers of whom something waits. Whose turn it is stands first; whoever had one stands last.
    order: VecDeque<P>,
    served: usize,
    waiting: usize,
}

#[derive(Debug)]
struct OfPeer<T> {
    served: usize,
    /// The oldest first.
    waiting: VecDeque<T>,
}

impl<P, T> Default for Turns<P, T> {
    fn default() -> Self {
        Turns { peers: BTreeMap::new(), order: VecDeque::new(), served: 0, waiting: 0 }
    }
}

impl<P: Copy + Ord, T> Turns<P, T> {
    /// How many requests are being answered.
    pub(super) fn served(&self) -> usize {
        self.served
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Has a request wait for its turn. Returns the one that there is no place for, with its peer: where all places are taken, the
    /// newest of the peer with most of them, or this one if its peer has as many. So whoever has fewer waiting than an equal share
    /// of the places always finds one, and one peer alone may have them all.
    #[must_use]
    pub(super) fn offer(&mut self, peer: P, request: T) -> Option<(P, T)> {
        let mut refused = None;
        if self.waiting >= WAITING {
            let (longest, most) = self.longest().unwrap_or((peer, 0));
            // Where the two would only change places, whoever was first stays: else they pushed each other out for ever.
            if self.waiting_of(&peer) + 1 >= most {
                return Some((peer, request));
            }
            refused = self.take_newest(longest);
        }
        let of_peer = self.peers.entry(peer).or_insert_with(|| OfPeer { served: 0, waiting: VecDeque::new() });
        if of_peer.waiting.is_empty() {
            self.order.push_back(peer);
        }
        of_peer.waiting.push_back(request);
        self.waiting += 1;
        refused
    }

    /// The request to be answered next; none where nothing may be now. [`Turns::done`] has to follow.
    pub(super) fn take(&mut self) -> Option<(P, T)> {
        if self.served >= SERVED {
            return None;
        }
        let may = |peer: &P| self.peers.get(peer).is_some_and(|of_peer| of_peer.served < SERVED_OF_PEER);
        // Who may not now keeps its place: it was first, and is to be so once it may.
        let at = self.order.iter().position(may)?;
        let peer = self.order.remove(at)?;
        let of_peer = self.peers.get_mut(&peer)?;
        let request = of_peer.waiting.pop_front()?;
        of_peer.served += 1;
        if !of_peer.waiting.is_empty() {
            self.order.push_back(peer);
        }
        self.served += 1;
        self.waiting -= 1;
        Some((peer, request))
    }

    /// A request of this peer that was taken is answered, or will not be.
    pub(super) fn done(&mut self, peer: &P) {
        let Some(of_peer) = self.peers.get_mut(peer).filter(|of_peer| of_peer.served > 0) else { return };
        of_peer.served -= 1;
        self.served -= 1;
        if of_peer.served == 0 && of_peer.waiting.is_empty() {
            self.peers.remove(peer);
        }
    }

    /// Drops what waits of a peer. What is being answered goes on until it is done.
    pub(super) fn forget(&mut self, peer: &P) {
        let Some(of_peer) = self.peers.get_mut(peer) else { return };
        self.waiting -= of_peer.waiting.len();
        of_peer.waiting.clear();
        if of_peer.served == 0 {
            self.peers.remove(peer);
        }
        self.order.retain(|other| other != peer);
    }

    fn waiting_of(&self, peer: &P) -> usize {
        self.peers.get(peer).map_or(0, |of_peer| of_peer.waiting.len())
    }

    /// The peer of whom most waits, and how much.
    fn longest(&self) -> Option<(P, usize)> {
        self.order.iter().map(|peer| (*peer, self.waiting_of(peer))).max_by_key(|(_, waiting)| *waiting)
    }

    /// Takes the newest of several requests of a peer out of its queue.
    fn take_newest(&mut self, peer: P) -> Option<(P, T)> {
        let newest = self.peers.get_mut(&peer)?.waiting.pop_back()?;
        self.waiting -= 1;
        Some((peer, newest))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// A peer that takes no part in the steps.
    const OTHER: u8 = 200;

    #[derive(Clone, Debug)]
    enum Step {
        Asks(u8),
        /// One of those that are being answered is.
        Answered(Index),
        Leaves(u8),
    }

    fn any_steps(peers: u8) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            16 => (0..peers).prop_map(Step::Asks),
            4 => any::<Index>().prop_map(Step::Answered),
            1 => (0..peers).prop_map(Step::Leaves),
        ];
        vec(step, 0..900)
    }

    /// Turns, and beside them what is to be in them.
    #[derive(Default)]
    struct Desk {
        turns: Turns<u8, u32>,
        under_way: Vec<u8>,
        waiting: BTreeMap<u8, VecDeque<u32>>,
        asked: u32,
        /// Whose turn it was, since the beginning.
        had: Vec<u8>,
    }

    impl Desk {
        /// Returns whether the request found a place.
        fn ask(&mut self, peer: u8) -> bool {
            let request = self.asked;
            self.asked += 1;
            self.waiting.entry(peer).or_default().push_back(request);
            let refused = self.turns.offer(peer, request);
            if let Some((of, newest)) = refused {
                assert_eq!(self.waiting.get_mut(&of).unwrap().pop_back(), Some(newest), "the newest gives way");
            }
            self.serve();
            refused != Some((peer, request))
        }

        fn serve(&mut self) {
            while let Some((peer, request)) = self.turns.take() {
                assert_eq!(self.waiting.get_mut(&peer).unwrap().pop_front(), Some(request), "the oldest has the turn");
                self.under_way.push(peer);
                self.had.push(peer);
            }
        }

        fn answer(&mut self, which: &Index) {
            if self.under_way.is_empty() {
                return;
            }
            let peer = self.under_way.swap_remove(which.index(self.under_way.len()));
            self.turns.done(&peer);
            self.serve();
        }

        fn leave(&mut self, peer: u8) {
            self.turns.forget(&peer);
            self.waiting.remove(&peer);
            self.serve();
        }

        fn play(&mut self, step: &Step) {
            match step {
                Step::Asks(peer) => {
                    self.ask(*peer);
                }
                Step::Answered(which) => self.answer(which),
                Step::Leaves(peer) => self.leave(*peer),
            }
        }

        fn waiting_of(&self, peer: u8) -> usize {
            self.waiting.get(&peer).map_or(0, VecDeque::len)
        }

        fn under_way_of(&self, peer: u8) -> usize {
            self.under_way.iter().filter(|other| **other == peer).count()
        }

        /// How many peers have something waiting.
        fn queues(&self) -> usize {
            self.waiting.values().filter(|queue| !queue.is_empty()).count()
        }

        fn check(&self) {
            let waiting: usize = self.waiting.values().map(VecDeque::len).sum();
            assert_eq!((self.turns.served(), self.turns.waiting()), (self.under_way.len(), waiting));
            assert!(self.under_way.len() <= SERVED && waiting <= WAITING, "{} and {waiting}", self.under_way.len());
            assert!(self.under_way.iter().all(|peer| self.under_way_of(*peer) <= SERVED_OF_PEER));
            let mut waits = self.waiting.iter().filter(|(_, queue)| !queue.is_empty());
            let all_busy = self.under_way.len() == SERVED;
            assert!(
                all_busy || waits.all(|(peer, _)| self.under_way_of(*peer) == SERVED_OF_PEER),
                "somebody waits who could have been served"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

        #[test]
        fn bounds_hold_nothing_is_lost_and_nobody_waits_without_need(steps in any_steps(12)) {
            let mut desk = Desk::default();
            for step in &steps {
                desk.play(step);
                desk.check();
            }
            while let Some(peer) = desk.under_way.pop() {
                desk.turns.done(&peer);
                desk.serve();
                desk.check();
            }
            prop_assert_eq!(desk.queues(), 0);
            prop_assert!(desk.turns.peers.is_empty() && desk.turns.order.is_empty(), "nothing is remembered of anybody");
        }

        #[test]
        fn whoever_has_less_than_an_equal_share_waiting_finds_a_place(steps in any_steps(12)) {
            let mut desk = Desk::default();
            for step in &steps {
                let Step::Asks(peer) = step else {
                    desk.play(step);
                    continue;
                };
                let before = desk.waiting_of(*peer);
                let queues = desk.queues() + usize::from(before == 0);
                let found = desk.ask(*peer);
                prop_assert!(found || before >= WAITING / queues, "refused with {} of {} waiting", before, queues);
            }
        }

        #[test]
        fn nobody_has_a_second_turn_before_whoever_waits_has_had_one(before in any_steps(6), after in any_steps(6)) {
            let mut desk = Desk::default();
            before.iter().for_each(|step| desk.play(step));
            prop_assert!(desk.ask(OTHER));
            let mut turns: BTreeMap<u8, usize> = BTreeMap::new();
            for step in &after {
                if desk.waiting_of(OTHER) == 0 {
                    break;
                }
                let had = desk.had.len();
                desk.play(step);
                for peer in desk.had[had..].iter().take_while(|peer| **peer != OTHER) {
                    let turns = turns.entry(*peer).or_default();
                    *turns += 1;
                    prop_assert_eq!(*turns, 1, "peer {} went twice", peer);
                }
            }
            let left = desk.under_way_of(OTHER) + desk.waiting_of(OTHER);
            prop_assert!(left == 1 || desk.had.contains(&OTHER), "what waits is not pushed out by others");
        }
    }

    #[test]
    fn one_peer_alone_may_have_every_place_and_gives_them_up_to_others() {
        let mut desk = Desk::default();
        for _ in 0..SERVED_OF_PEER + WAITING {
            assert!(desk.ask(1));
        }
        assert!(!desk.ask(1));
        assert_eq!((desk.turns.served(), desk.turns.waiting()), (SERVED_OF_PEER, WAITING));
        // There is a free turn for another one at once.
        assert!(desk.ask(2));
        assert_eq!((desk.under_way_of(2), desk.waiting_of(1)), (1, WAITING - 1));
        for _ in 0..SERVED_OF_PEER + WAITING {
            desk.ask(2);
        }
        assert_eq!((desk.waiting_of(1), desk.waiting_of(2)), (WAITING / 2, WAITING / 2));
    }

    #[test]
    fn whoever_leaves_loses_what_waits_and_what_is_being_answered_still_counts() {
        let mut desk = Desk::default();
        for _ in 0..SERVED_OF_PEER + 3 {
            desk.ask(1);
        }
        desk.leave(1);
        assert_eq!((desk.turns.served(), desk.turns.waiting()), (SERVED_OF_PEER, 0));
        // Coming back at once gives nobody more than its part.
        desk.ask(1);
        assert_eq!((desk.under_way_of(1), desk.waiting_of(1)), (SERVED_OF_PEER, 1));
        desk.check();
        desk.turns.done(&7);
        assert_eq!(desk.turns.served(), SERVED_OF_PEER, "who was not served cannot be done");
    }
}
