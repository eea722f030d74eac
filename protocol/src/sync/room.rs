//! What is missing of one room, and who brings what of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::Lane;
use crate::have::Tag;
use crate::limits::MAX_STRETCHES_PER_REQUEST;
use crate::sync::chain::Chain;
use crate::sync::{Claim, Difference, Path, Stretch};

/// How many events a peer is asked for at first. It doubles with each answer, so that a slow peer holds little back, and others
/// who have the same come into play.
const FIRST_PART: u64 = 64;
/// How many events are asked for at a time at most, of all peers together. What one part brings may have to wait for another:
/// twice as many find room in `node/`'s waiting room.
pub(super) const LARGEST_PART: u64 = 1024;
/// With more events than this waiting for others, nothing more is asked ahead of what they may wait for.
pub(super) const MOST_WAITING: usize = 1024;

/// Parts that one peer brings of a room before it is looked what came of it: a million events, mostly. Whoever shows chains
/// without end would else keep the room from ever being looked at, and whole vectors from being compared.
const MOST_PARTS: u32 = 1024;
/// How often in a row a peer may say that it is asked too often before it is left to a later comparison, for the same reason.
const MOST_REFUSALS: u32 = 16;

/// A peer that has something of the room that is missing here.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: Path,
    /// Since when it is known to have something.
    pub(super) since: Duration,
    pub(super) claims: Vec<Claim>,
    /// How many events it is asked for next.
    part: u64,
    /// How many parts it brought.
    parts: u32,
    /// How often in a row it said that it is asked too often.
    refusals: u32,
    /// It leaves a question open.
    pub(super) stalled: bool,
}

/// What is missing, by lanes. What is asked each time the machine is, is counted as it changes: nothing goes through all of it.
#[derive(Clone, Debug)]
struct Chains<P> {
    lanes: BTreeMap<(Tag, Lane), Chain<P>>,
    /// How much of each lane a peer can still be asked for. A made-up chain is as long as a number goes.
    left: BTreeMap<(P, Lane), u128>,
    /// How many chains a peer was the first to show.
    shown: BTreeMap<P, usize>,
}

impl<P: Copy + Ord> Chains<P> {
    fn new() -> Self {
        Chains { lanes: BTreeMap::new(), left: BTreeMap::new(), shown: BTreeMap::new() }
    }

    fn clear(&mut self) {
        *self = Chains::new();
    }

    fn left(&self, peer: &P, lane: Lane) -> u128 {
        self.left.get(&(*peer, lane)).copied().unwrap_or(0)
    }

    fn offer(&mut self, peer: P, stretch: &Stretch) {
        let key = (stretch.origin, stretch.lane);
        let shown = &mut self.shown;
        self.lanes.entry(key).or_insert_with(|| {
            *shown.entry(peer).or_default() += 1;
            Chain::new(stretch.from)
        });
        self.change(key, |chain| chain.offer(peer, stretch.from, stretch.to));
    }

    /// A peer has nothing more of any chain but these.
    fn withdraw_but(&mut self, peer: &P, offered: &BTreeSet<(Tag, Lane)>) {
        for (key, chain) in self.lanes.iter_mut().filter(|(key, _)| !offered.contains(key)) {
            changing(&mut self.left, key.1, chain, |chain| chain.withdraw(peer));
        }
    }

    /// Changes a chain, if it is known.
    fn change(&mut self, key: (Tag, Lane), how: impl FnOnce(&mut Chain<P>)) {
        if let Some(chain) = self.lanes.get_mut(&key) {
            changing(&mut self.left, key.1, chain, how);
        }
    }
}

/// Changes a chain of a lane, and counts what that leaves of it.
fn changing<P: Copy + Ord, R>(
    left: &mut BTreeMap<(P, Lane), u128>,
    lane: Lane,
    chain: &mut Chain<P>,
    how: impl FnOnce(&mut Chain<P>) -> R,
) -> R {
    for peer in chain.peers() {
        let counted = left.entry((*peer, lane)).or_default();
        *counted = counted.saturating_sub(u128::from(chain.left(peer)));
    }
    let outcome = how(chain);
    for peer in chain.peers() {
        *left.entry((*peer, lane)).or_default() += u128::from(chain.left(peer));
    }
    outcome
}

#[derive(Clone, Debug)]
pub(super) struct Room<P> {
    pub(super) sources: BTreeMap<P, Source>,
    chains: Chains<P>,
    /// Peers with whom whole vectors are to be compared.
    pub(super) wholes: BTreeSet<P>,
    /// Peers that lack something, and are to hear of it.
    pub(super) offers: BTreeSet<P>,
    /// Peers whose claims were unmet after everything came.
    pub(super) unmet: BTreeSet<P>,
    /// Events that wait for others.
    pub(super) waiting: usize,
    /// Somebody looks which claims are met.
    pub(super) reviewing: bool,
}

impl<P: Copy + Ord> Room<P> {
    pub(super) fn new() -> Self {
        Room {
            sources: BTreeMap::new(),
            chains: Chains::new(),
            wholes: BTreeSet::new(),
            offers: BTreeSet::new(),
            unmet: BTreeSet::new(),
            waiting: 0,
            reviewing: false,
        }
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_idle(&self) -> bool {
        self.sources.is_empty()
            && self.chains.lanes.is_empty()
            && self.wholes.is_empty()
            && self.offers.is_empty()
            && self.unmet.is_empty()
    }

    /// How much is remembered of what peers said.
    pub(super) fn size(&self) -> usize {
        self.chains.lanes.len() + self.sources.values().map(|source| source.claims.len()).sum::<usize>()
    }

    /// How much of that a peer is the reason for.
    pub(super) fn size_of(&self, peer: &P) -> usize {
        self.chains.shown.get(peer).copied().unwrap_or(0) + self.claims_of(peer)
    }

    /// How many heads a peer showed when it was compared with last: those that it shows next replace them.
    pub(super) fn claims_of(&self, peer: &P) -> usize {
        self.sources.get(peer).map_or(0, |source| source.claims.len())
    }

    /// Leaves of a difference no more than adds this much to what is remembered.
    pub(super) fn fit(&self, difference: &mut Difference, mut free: usize) {
        difference.lacking.retain(|stretch| {
            let known = self.chains.lanes.contains_key(&(stretch.origin, stretch.lane));
            let fits = known || free > 0;
            free -= usize::from(!known && fits);
            fits
        });
        difference.claims.truncate(free);
    }

    /// A peer has this.
    pub(super) fn add(&mut self, peer: P, path: Path, difference: Difference, now: Duration) {
        let offered: BTreeSet<(Tag, Lane)> = difference.lacking.iter().map(|it| (it.origin, it.lane)).collect();
        self.chains.withdraw_but(&peer, &offered);
        for stretch in &difference.lacking {
            self.chains.offer(peer, stretch);
        }
        let known = self.sources.get(&peer).map(|source| (source.part, source.parts, source.refusals));
        let (part, parts, refusals) = known.unwrap_or((FIRST_PART, 0, 0));
        let claims = difference.claims;
        self.sources.insert(peer, Source { path, since: now, claims, part, parts, refusals, stalled: false });
    }

    /// A peer is not to be asked any more.
    pub(super) fn remove(&mut self, peer: &P) {
        self.sources.remove(peer);
        self.chains.withdraw_but(peer, &BTreeSet::new());
        self.chains.left.retain(|(other, _), _| other != peer);
    }

    /// Forgets what is missing, once it was seen what came of it.
    pub(super) fn clear(&mut self) {
        self.sources.clear();
        self.chains.clear();
    }

    /// How much of a lane a peer can still be asked for.
    pub(super) fn left(&self, peer: &P, lane: Lane) -> u128 {
        self.chains.left(peer, lane)
    }

    /// Whether anybody can be asked for anything.
    pub(super) fn is_exhausted(&self) -> bool {
        self.sources.keys().all(|peer| Lane::ALL.into_iter().all(|lane| self.left(peer, lane) == 0))
    }

    /// Whether a peer that is connected directly, and answers, can be asked for anything.
    pub(super) fn has_direct(&self) -> bool {
        self.sources.iter().any(|(peer, source)| {
            source.path == Path::Direct
                && !source.stalled
                && Lane::ALL.into_iter().any(|lane| self.left(peer, lane) > 0)
        })
    }

    /// Takes the next part of what a peer can be asked for: a slice through all of a lane's chains, each by as much as it is
    /// long, so that what comes waits for little that comes later. The state graph first, unless so many events wait already
    /// that their timeline parents are more urgent.
    pub(super) fn take(&mut self, peer: P) -> Vec<Stretch> {
        let lanes = match self.waiting < MOST_WAITING {
            true => [Lane::State, Lane::Timeline],
            false => [Lane::Timeline, Lane::State],
        };
        let sharing = self.sources.values().filter(|source| !source.stalled).count().max(1) as u64;
        let part = self.sources.get(&peer).map_or(FIRST_PART, |source| source.part);
        let part = part.min((LARGEST_PART / sharing).max(FIRST_PART));
        for lane in lanes {
            // What was asked for before comes before whatever else there is.
            let returned = self.take_by(lane, part, |chain, left| chain.take_returned(&peer, left));
            if !returned.is_empty() {
                return returned;
            }
        }
        let Some(lane) = lanes.into_iter().find(|lane| self.left(&peer, *lane) > 0) else { return Vec::new() };
        let total = self.left(&peer, lane).max(1);
        self.take_by(lane, part, |chain, left| {
            let share = u128::from(chain.left(&peer)) * u128::from(part) / total;
            chain.take_next(&peer, (share as u64).clamp(1, left))
        })
    }

    fn take_by(
        &mut self,
        lane: Lane,
        part: u64,
        mut take: impl FnMut(&mut Chain<P>, u64) -> Option<(u64, u64)>,
    ) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut left = part;
        let Chains { lanes, left: counted, .. } = &mut self.chains;
        for ((origin, its), chain) in lanes {
            if left == 0 || stretches.len() == MAX_STRETCHES_PER_REQUEST {
                break;
            }
            if *its != lane {
                continue;
            }
            if let Some((from, to)) = changing(counted, lane, chain, |chain| take(chain, left)) {
                let stretch = Stretch { origin: *origin, lane, from, to };
                left = left.saturating_sub(stretch.count());
                stretches.push(stretch);
            }
        }
        stretches
    }

    /// A peer will not bring this, or not yet.
    pub(super) fn give_back(&mut self, stretches: &[Stretch]) {
        for stretch in stretches {
            self.chains.change((stretch.origin, stretch.lane), |chain| chain.give_back(stretch.from, stretch.to));
        }
    }

    /// A peer answered. `given_up` says that others may have been asked the same meanwhile.
    pub(super) fn settle(
        &mut self,
        peer: P,
        stretches: &[Stretch],
        reached: &BTreeMap<(Tag, Lane), u64>,
        more: bool,
        given_up: bool,
    ) {
        let mut came = false;
        for stretch in stretches {
            let key = (stretch.origin, stretch.lane);
            let reached = reached.get(&key).filter(|seq| **seq >= stretch.from).map(|seq| (*seq).min(stretch.to));
            came |= reached.is_some();
            self.chains.change(key, |chain| {
                if let Some(reached) = reached {
                    chain.came(stretch.from, reached);
                }
                let from = reached.map_or(stretch.from, |reached| reached + 1);
                if from > stretch.to {
                    return;
                }
                if !more {
                    // It does not have what it showed, or keeps it to itself.
                    chain.withdraw(&peer);
                }
                if !given_up {
                    chain.give_back(from, stretch.to);
                }
            });
        }
        if more && !came {
            // Whoever has more and brings nothing has nothing.
            return self.remove(&peer);
        }
        if let Some(source) = self.sources.get_mut(&peer) {
            source.stalled = false;
            source.part = (source.part * 2).min(LARGEST_PART);
            source.parts += 1;
            source.refusals = 0;
        }
    }

    /// A peer said that it is asked too often.
    pub(super) fn refuse(&mut self, peer: &P) {
        if let Some(source) = self.sources.get_mut(peer) {
            source.stalled = false;
            source.refusals += 1;
        }
    }

    /// Lets a peer go that has had its turn, until it is compared with again. Returns whether it did.
    pub(super) fn let_go(&mut self, peer: &P) -> bool {
        let over = |source: &Source| source.parts >= MOST_PARTS || source.refusals >= MOST_REFUSALS;
        let over = self.sources.get(peer).is_some_and(over);
        if over {
            self.remove(peer);
        }
        over
    }
}
