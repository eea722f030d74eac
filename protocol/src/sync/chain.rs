//! What is missing of one lane of one server, who offers it, and what of it was asked for.

use std::collections::BTreeMap;

/// Stretches of a chain that were asked for and did not come. More than that many peers do not fail at once; what is forgotten
/// the next comparison finds.
const MOST_RETURNED: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Chain<P> {
    /// The lowest sequence number that nobody was asked for yet.
    next: u64,
    /// By peer: the first and the last that it has.
    offers: BTreeMap<P, (u64, u64)>,
    /// Asked for once, and to be asked for again.
    returned: Vec<(u64, u64)>,
}

impl<P: Copy + Ord> Chain<P> {
    pub(super) fn new(from: u64) -> Self {
        Chain { next: from, offers: BTreeMap::new(), returned: Vec::new() }
    }

    /// A peer has this of the chain. What was asked for already is not asked for again for its sake.
    pub(super) fn offer(&mut self, peer: P, from: u64, to: u64) {
        self.offers.insert(peer, (from, to));
    }

    /// A peer has nothing more of the chain, or is gone. What it did not bring is remembered: it may come back.
    pub(super) fn withdraw(&mut self, peer: &P) {
        self.offers.remove(peer);
    }

    /// Who has any of it.
    pub(super) fn peers(&self) -> impl Iterator<Item = &P> {
        self.offers.keys()
    }

    /// How many sequence numbers a peer can still be asked for.
    pub(super) fn left(&self, peer: &P) -> u64 {
        let Some((first, last)) = self.offers.get(peer) else { return 0 };
        let overlap = |(from, to): &(u64, u64)| count((*from).max(*first), (*to).min(*last));
        let returned = self.returned.iter().map(overlap).fold(0, u64::saturating_add);
        returned.saturating_add(count(self.next.max(*first), *last))
    }

    /// Takes up to `most` of what was given back and the peer has.
    pub(super) fn take_returned(&mut self, peer: &P, most: u64) -> Option<(u64, u64)> {
        let (first, last) = *self.offers.get(peer)?;
        let meets = |(from, to): &(u64, u64)| *from <= last && first <= *to;
        let at = self.returned.iter().position(meets)?;
        let (from, to) = self.returned.remove(at);
        let begin = from.max(first);
        let end = to.min(last).min(begin.saturating_add(most.saturating_sub(1)));
        if end < to {
            self.returned.insert(at, (end + 1, to));
        }
        if from < begin {
            self.returned.insert(at, (from, begin - 1));
        }
        Some((begin, end))
    }

    /// Takes up to `most` of what nobody was asked for and the peer has.
    pub(super) fn take_next(&mut self, peer: &P, most: u64) -> Option<(u64, u64)> {
        let (first, last) = *self.offers.get(peer)?;
        let begin = self.next.max(first);
        if most == 0 || begin > last {
            return None;
        }
        if begin > self.next {
            // Only others have what comes before.
            self.give_back(self.next, begin - 1);
        }
        let end = last.min(begin.saturating_add(most - 1));
        self.next = end + 1;
        Some((begin, end))
    }

    /// What a peer was asked for is to be asked for again.
    pub(super) fn give_back(&mut self, from: u64, to: u64) {
        if self.returned.len() < MOST_RETURNED {
            let at = self.returned.partition_point(|(other, _)| *other < from);
            self.returned.insert(at, (from, to));
        }
    }

    /// What was given back has come after all.
    pub(super) fn came(&mut self, from: u64, to: u64) {
        let mut left = Vec::with_capacity(self.returned.len());
        for (first, last) in self.returned.drain(..) {
            if last < from || to < first {
                left.push((first, last));
                continue;
            }
            if first < from {
                left.push((first, from - 1));
            }
            if to < last {
                left.push((to + 1, last));
            }
        }
        left.truncate(MOST_RETURNED);
        self.returned = left;
    }
}

fn count(from: u64, to: u64) -> u64 {
    if from > to { 0 } else { (to - from).saturating_add(1) }
}
