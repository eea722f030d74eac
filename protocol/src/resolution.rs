//! What a room's state is when events contradict each other: a function of the set of events alone.
//!
//! The definition, for a causally closed set `S` of state events (`docs/decisions/0009` has the reasons):
//!
//! - `past(e)` is everything that `e` reaches through its chain and its state frontier. `e` is **allowed** if the rules
//!   allow it at `resolve(past(e))`; its **rank** is its sender's there, and so is what it sets and what authority it takes
//!   away. These depend on `past(e)` only and never change. What is not allowed sets nothing.
//! - An event **rests on** the events that count at `resolve(past(e))` for its sender's membership and role, and on what
//!   those rest on.
//! - `state(P, V)`: each entry is set by the events of `P` that are allowed, not in `V`, and not in the past of another
//!   such event for the same entry; where several remain, the one of the greatest (weight, removal, origin, id) counts.
//! - A removal is **effective** if it is allowed, and no effective removal of a strictly higher rank, concurrent with it,
//!   takes the authority that it used or that something used which it rests on. Equals who remove each other both do.
//! - `void`: the allowed removals that are not effective, and of all other allowed events, as of removals that lower nothing
//!   at `state(past(e), void)`, those that the rules do not allow there, or from which an effective removal concurrent with
//!   them takes the authority that they used.
//! - `resolve(S) = state(S, void)`.
//!
//! Ranks rise in the one recursion and pasts shrink in the other, so that nothing is defined by itself. Nothing depends on
//! an order of replay, and an event that is void stops superseding what it had superseded: no state is lost to it.
//!
//! [`Resolver`] computes this incrementally. A **cut** is an event that has everything known in its past. What lies behind
//! a cut cannot be concurrent with what comes after it, so that work is bounded by what came since the last cut that a new
//! event has in its past.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::authority::{Act, KeyBounds, Refusal, RoomState};
use crate::event::{Content, Event, Header, Lane};
use crate::id::EventId;
use crate::identity::Origin;

#[cfg(test)]
mod model;

/// How many states at frontiers of several events are remembered. A miss costs a merge.
const REMEMBERED: usize = 128;

/// A stretch of a server's timeline whose events have to be looked at again: see [`Resolver::shows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reconsider {
    /// The server.
    pub origin: Origin,
    /// From this sequence number on.
    pub from_seq: u64,
}

/// What a new state event changes beside the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Timelines whose events may have to be shown or withheld anew.
    pub timelines: Vec<Reconsider>,
    /// State events that were here before and count now, or count no more: see [`Resolver::is_void`].
    pub state: Vec<EventId>,
    /// Whether it may be any timeline, since a setting of the whole room counts now or counts no more.
    pub everything: bool,
}

/// All state events of one room, and what follows from them.
///
/// Memory: about a kilobyte for an event, and what its state does not share with others'.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    nodes: Vec<Node>,
    places: BTreeMap<EventId, u32>,
    /// Events that had everything known in their past when they came, ascending; each is in the past of all that follows.
    cuts: Vec<u32>,
    /// Allowed events that no other has in its past.
    tips: BTreeSet<u32>,
    /// The last event of each chain.
    heads: Vec<u32>,
    current: Option<RoomState>,
    /// Whether anything above the last cut takes or loses authority in a conflict.
    contested: bool,
    /// Whether the first node stands for everything before it.
    resumed: bool,
    /// Allowed removals by the server whose events they take, ascending; none for those that take anybody's.
    removals: BTreeMap<Option<Origin>, Vec<u32>>,
    /// Allowed events by server, ascending.
    by_origin: BTreeMap<Origin, Vec<u32>>,
    remembered: BTreeMap<Vec<u32>, RoomState>,
    key_bounds: KeyBounds,
}

#[derive(Clone, Debug)]
struct Node {
    id: EventId,
    header: Arc<Header>,
    content: Content,
    /// Events right behind it, without those that others of them have in their past.
    refs: Vec<u32>,
    /// What its sender's membership and role rest on.
    rests: Vec<u32>,
    /// None if it is not allowed.
    act: Option<Act>,
    /// Its place: a chain is a server's events without forks.
    chain: u32,
    position: u32,
    /// The cut that was the last one when it came. Everything up to there is in its past.
    base: u32,
    /// What else is: the highest position in each chain, ascending by chain.
    past: Arc<[(u32, u32)]>,
    /// `resolve(past + itself)`.
    view: RoomState,
    /// `state(past + itself, void)`, where that differs.
    settled: Option<RoomState>,
    void: bool,
    effective: bool,
    /// Whether it takes or loses authority in a conflict.
    hit: bool,
}

/// What a set of events comes to.
struct Evaluation {
    states: BTreeMap<u32, RoomState>,
    void: BTreeSet<u32>,
    effective: BTreeSet<u32>,
}

impl Resolver {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing yet, of a room with other bounds on keys than its version has: for tests of what happens at a bound.
    pub fn with_key_bounds(key_bounds: KeyBounds) -> Self {
        Resolver { key_bounds, ..Resolver::default() }
    }

    /// Goes on from a state that [`Resolver::snapshot`] gave for `cut`. What is older than the cut is not here; an event that
    /// stands on nothing else finds no state then.
    pub fn resume(cut: &Event, state: RoomState) -> Self {
        let mut resolver = Resolver { resumed: true, ..Resolver::default() };
        let content = cut.content().unwrap_or(Content::Unknown);
        resolver.begin(cut, content, state);
        resolver
    }

    /// An event with everything known in its past, and the state there: all that it takes to go on from here. None while the
    /// room has several tips.
    pub fn snapshot(&self) -> Option<(EventId, &RoomState)> {
        let tip = self.tips.first().filter(|_| self.tips.len() == 1)?;
        (self.cuts.last() == Some(tip)).then(|| (self.at(*tip).id, &self.at(*tip).view))
    }

    /// Whether the resolver began with a snapshot, and so lacks what is older.
    pub fn is_partial(&self) -> bool {
        self.resumed
    }

    /// Whether the resolver has what it takes to judge an event whose references are all held.
    pub fn can_judge(&self, event: &Event) -> bool {
        event.header().room.is_none() || self.refs(event).is_some()
    }

    /// Whether the state event is here.
    pub fn contains(&self, id: &EventId) -> bool {
        self.places.contains_key(id)
    }

    /// How many state events are here.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing here.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The state that all events together come to; none before the create event.
    pub fn current(&self) -> Option<&RoomState> {
        self.current.as_ref()
    }

    /// Allowed state events that no other has in its past.
    pub fn tips(&self) -> impl Iterator<Item = EventId> {
        self.tips.iter().filter_map(|at| Some(self.node(*at)?.id))
    }

    /// Whether an allowed state event counts for nothing, since concurrent removals took what it rests on.
    pub fn is_void(&self, id: &EventId) -> bool {
        self.places.get(id).and_then(|at| self.node(*at)).is_some_and(|node| node.void)
    }

    /// The state at which an event of either lane is judged: what its chain and its frontier come to. None where one of
    /// them is not here.
    pub fn state_for(&mut self, event: &Event) -> Option<RoomState> {
        let refs = self.refs(event)?;
        self.view(&refs)
    }

    /// Whether an event is allowed where it stands. None where its state is not here.
    pub fn judge(&mut self, event: &Event) -> Option<Result<Act, Refusal>> {
        if event.header().room.is_none() {
            return Some(RoomState::created(event).map(|_| first_act()));
        }
        let state = self.state_for(event)?;
        let content = match event.content() {
            Ok(content) => content,
            Err(error) => return Some(Err(error.into())),
        };
        let used = state.authorize(event.header(), &content);
        Some(used.map(|used| state.act(event.header(), &content, used)))
    }

    /// Takes in a state event whose chain and frontier are here; anything else changes nothing.
    pub fn insert(&mut self, event: &Event) -> Changes {
        if event.header().lane != Lane::State || self.contains(&event.id()) {
            return Changes::default();
        }
        let read = event.content();
        if event.header().room.is_none() {
            if let Ok(state) = RoomState::created(event)
                && self.nodes.is_empty()
            {
                self.begin(event, read.unwrap_or(Content::Unknown), state.with_key_bounds(self.key_bounds));
            }
            return Changes::default();
        }
        let Some(refs) = self.refs(event) else { return Changes::default() };
        let Some(before) = self.view(&refs) else { return Changes::default() };
        let header = event.shared_header();
        let act = read
            .as_ref()
            .ok()
            .and_then(|content| before.authorize(&header, content).ok().map(|used| before.act(&header, content, used)));
        let content = read.unwrap_or(Content::Unknown);
        let before_cuts = self.cuts.len();
        while self.cuts.len() > 1 && self.cuts.last().is_some_and(|cut| refs.iter().all(|at| at < cut)) {
            self.cuts.pop();
        }
        if self.cuts.len() < before_cuts {
            self.contested = self.nodes[self.base() as usize + 1..].iter().any(|node| node.hit);
        }
        let rests = match event.sender().filter(|_| act.is_some()) {
            Some(sender) => before.grounds(&sender).into_iter().map(|(_, at)| at).collect(),
            None => Vec::new(),
        };
        let at = self.nodes.len() as u32;
        let (chain, position) = self.chain(event, at);
        let past = self.past(&refs);
        let node = Node {
            id: event.id(),
            header,
            content,
            refs,
            rests,
            act,
            chain,
            position,
            base: self.base(),
            past,
            view: before,
            settled: None,
            void: false,
            effective: false,
            hit: false,
        };
        self.places.insert(node.id, at);
        self.nodes.push(node);
        self.settle(at)
    }

    fn begin(&mut self, event: &Event, content: Content, state: RoomState) {
        self.places.insert(event.id(), 0);
        self.heads.push(0);
        self.nodes.push(Node {
            id: event.id(),
            header: event.shared_header(),
            content,
            refs: Vec::new(),
            rests: Vec::new(),
            act: Some(first_act()),
            chain: 0,
            position: 0,
            base: 0,
            past: Arc::default(),
            view: state.clone(),
            settled: None,
            void: false,
            effective: false,
            hit: false,
        });
        self.cuts.push(0);
        self.tips.insert(0);
        self.current = Some(state);
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }

    /// A node that is known to be there.
    fn at(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn base(&self) -> u32 {
        self.cuts.last().copied().unwrap_or(0)
    }

    /// What stands right behind an event, without what others of it have in their past; none where some is not here.
    fn refs(&self, event: &Event) -> Option<Vec<u32>> {
        let header = event.header();
        let chain = header.self_parent.iter().filter(|_| header.lane == Lane::State);
        let mut all = BTreeSet::new();
        for id in chain.chain(&header.state_frontier) {
            match self.places.get(id) {
                Some(at) => {
                    all.insert(*at);
                }
                // Older than where this began, and so in the past of whatever else is named.
                None if self.resumed => {}
                None => return None,
            }
        }
        if all.is_empty() { None } else { Some(self.reduce(all)) }
    }

    fn reduce(&self, all: BTreeSet<u32>) -> Vec<u32> {
        let covered = |at: u32| all.range(at + 1..).any(|other| self.in_past(at, *other));
        all.iter().copied().filter(|at| !covered(*at)).collect()
    }

    /// Whether `a` is in the past of `b`.
    fn in_past(&self, a: u32, b: u32) -> bool {
        if a >= b {
            return false;
        }
        let (old, new) = (self.at(a), self.at(b));
        if a <= new.base {
            return true;
        }
        let found = new.past.binary_search_by_key(&old.chain, |(chain, _)| *chain);
        found.is_ok_and(|found| new.past[found].1 >= old.position)
    }

    fn concurrent(&self, a: u32, b: u32) -> bool {
        a != b && !self.in_past(a, b) && !self.in_past(b, a)
    }

    fn chain(&mut self, event: &Event, at: u32) -> (u32, u32) {
        let parent = event.header().self_parent.and_then(|id| self.places.get(&id).copied());
        if let Some(parent) = parent {
            let (chain, position) = (self.at(parent).chain, self.at(parent).position);
            if self.heads[chain as usize] == parent {
                self.heads[chain as usize] = at;
                return (chain, position + 1);
            }
        }
        self.heads.push(at);
        (self.heads.len() as u32 - 1, 0)
    }

    /// What is in the past of events above the last cut.
    fn past(&self, refs: &[u32]) -> Arc<[(u32, u32)]> {
        let base = self.base();
        if let [only] = refs
            && (*only == base || self.at(*only).base == base)
        {
            // The common case: what the one before saw, and that one.
            let node = self.at(*only);
            if *only == base {
                return Arc::default();
            }
            return match node.past.binary_search_by_key(&node.chain, |(chain, _)| *chain) {
                Ok(found) => {
                    let mut past: Arc<[(u32, u32)]> = Arc::from(&*node.past);
                    if let Some(past) = Arc::get_mut(&mut past) {
                        past[found].1 = node.position;
                    }
                    past
                }
                Err(place) => {
                    let (low, high) = node.past.split_at(place);
                    low.iter().chain([&(node.chain, node.position)]).chain(high).copied().collect()
                }
            };
        }
        let mut past: BTreeMap<u32, u32> = BTreeMap::new();
        let mut see = |chain: u32, position: u32| {
            let highest = past.entry(chain).or_insert(position);
            *highest = position.max(*highest);
        };
        let mut waiting: Vec<u32> = refs.to_vec();
        while let Some(at) = waiting.pop() {
            if at <= base {
                continue;
            }
            let node = self.at(at);
            see(node.chain, node.position);
            node.past.iter().for_each(|(chain, position)| see(*chain, *position));
            // A cut that is none any more stands for everything up to it.
            waiting.push(node.base);
        }
        past.into_iter().collect()
    }

    /// `resolve` of everything up to these events, which are not in each other's past.
    fn view(&mut self, refs: &[u32]) -> Option<RoomState> {
        if let [only] = refs {
            return Some(self.node(*only)?.view.clone());
        }
        if refs.iter().eq(&self.tips) {
            // Nothing that counts is left out.
            return self.current.clone();
        }
        if let Some(known) = self.remembered.get(refs) {
            return Some(known.clone());
        }
        let lowest = *refs.first()?;
        // Cuts that were given up since only widen the stretch, which changes nothing but the work.
        let base = self.cuts.iter().rev().copied().find(|cut| *cut <= lowest).unwrap_or(0);
        let up_to = refs.last().map_or(0, |last| last + 1);
        let members: Vec<u32> =
            (base + 1..up_to).filter(|at| refs.iter().any(|top| top == at || self.in_past(*at, *top))).collect();
        let state = if members.iter().any(|at| self.at(*at).hit) {
            let evaluation = self.evaluate(base, &members);
            self.merge(base, refs, |at| evaluation.states.get(&at), |at| evaluation.void.contains(&at))
        } else {
            self.merge(base, refs, |at| self.node(at).map(|node| &node.view), |_| false)
        };
        if self.remembered.len() >= REMEMBERED {
            self.remembered.pop_first();
        }
        self.remembered.insert(refs.to_vec(), state.clone());
        Some(state)
    }

    /// The state up to these events, given the states after each. Events up to `base` count as set.
    fn merge<'a>(
        &'a self,
        base: u32,
        refs: &[u32],
        state: impl Fn(u32) -> Option<&'a RoomState>,
        void: impl Fn(u32) -> bool,
    ) -> RoomState {
        let last = refs.last().copied().unwrap_or(base);
        let mut merged =
            if last <= base { &self.at(base).view } else { state(last).unwrap_or(&self.at(last).view) }.clone();
        if refs.len() < 2 {
            return merged;
        }
        let from = self.at(last).base.max(base) + 1;
        for at in from..last {
            let others = refs.iter().any(|top| *top == at || self.in_past(at, *top));
            if others && !self.in_past(at, last) && !void(at) {
                self.set(&mut merged, at);
            }
        }
        merged
    }

    fn set(&self, state: &mut RoomState, at: u32) {
        let node = self.at(at);
        if let Some(act) = &node.act {
            state.apply(node.id, at, node.header.origin, act, |a, b| self.in_past(a, b));
        }
    }

    /// Whether the removal at `removal` takes the authority that the event at `at` used, and the two are concurrent.
    fn takes(&self, removal: u32, at: u32) -> bool {
        let (Some(act), node) = (&self.at(removal).act, self.at(at)) else { return false };
        let (Some(removal_act), Some(used)) = (&act.removal, &node.act) else { return false };
        removal_act.takes(&node.header, &used.used) && self.concurrent(removal, at)
    }

    /// Decides on the event that came last.
    fn settle(&mut self, at: u32) -> Changes {
        let Some(act) = self.at(at).act.clone() else {
            // Somebody may name it all the same.
            self.nodes[at as usize].settled = Some(self.settled(&self.at(at).refs));
            return Changes::default();
        };
        let mut view = self.at(at).view.clone();
        self.set(&mut view, at);
        self.nodes[at as usize].view = view;
        if let Some(removal) = &act.removal {
            self.nodes[at as usize].effective = true;
            let target = removal.target().map(|(origin, _)| origin);
            self.removals.entry(target).or_default().push(at);
        }
        self.by_origin.entry(self.at(at).header.origin).or_default().push(at);
        // Not only what it names: between it and a tip there may be an event that was not allowed.
        let mut tips = std::mem::take(&mut self.tips);
        tips.retain(|tip| !self.in_past(*tip, at));
        tips.insert(at);
        self.tips = tips;
        let own = Changes {
            timelines: act.removal.as_ref().and_then(reconsider).into_iter().collect(),
            ..Changes::default()
        };
        if self.tips.len() == 1 {
            self.cuts.push(at);
            self.contested = false;
            self.current = Some(self.at(at).view.clone());
            return own;
        }
        let base = self.base();
        let before = self.contested;
        let hits = self.conflicts(at, &act, base);
        let hit = !hits.is_empty();
        for other in &hits {
            self.nodes[*other as usize].hit = true;
        }
        self.nodes[at as usize].hit = hit;
        self.contested |= hit;
        if !hit && !before {
            self.advance(at);
            return own;
        }
        if act.removal.is_none() {
            // It is in nobody's past and takes nothing from anybody: only itself is to be decided on.
            let taken = hits.iter().any(|removal| self.at(*removal).effective);
            self.settle_quietly(at, taken);
            return Changes::default();
        }
        let mut changes = self.settle_all(base, at);
        changes.timelines.extend(own.timelines);
        changes.timelines.sort_unstable();
        changes.timelines.dedup();
        changes
    }

    /// The events above `base` from which the one at `at` takes authority, or which take it from that one.
    fn conflicts(&self, at: u32, act: &Act, base: u32) -> Vec<u32> {
        fn above(list: Option<&Vec<u32>>, base: u32) -> &[u32] {
            list.map_or(&[], |list| &list[list.partition_point(|at| *at <= base)..])
        }
        let against = [Some(self.at(at).header.origin), None].map(|target| above(self.removals.get(&target), base));
        let mut found: Vec<u32> = against.concat().into_iter().filter(|other| self.takes(*other, at)).collect();
        if let Some(removal) = &act.removal {
            let everybody: Vec<u32>;
            let targets = match removal.target() {
                Some((origin, _)) => above(self.by_origin.get(&origin), base),
                None => {
                    everybody = (base + 1..at).collect();
                    &everybody
                }
            };
            found.extend(targets.iter().filter(|other| self.takes(at, **other)));
        }
        found
    }

    /// Adds an event that is not void to the current state.
    fn advance(&mut self, at: u32) {
        if let Some(mut current) = self.current.take() {
            self.set(&mut current, at);
            self.current = Some(current);
        }
    }

    /// Decides on an event that is no removal, where other things are void or this one is taken.
    fn settle_quietly(&mut self, at: u32, taken: bool) {
        let node = self.at(at);
        let mut state = self.settled(&node.refs);
        let void = taken || state.authorize(&node.header, &node.content).is_err();
        if !void {
            self.set(&mut state, at);
            self.advance(at);
        }
        let node = &mut self.nodes[at as usize];
        (node.settled, node.void) = (Some(state), void);
    }

    /// Decides on everything above `base` anew.
    fn settle_all(&mut self, base: u32, last: u32) -> Changes {
        let members: Vec<u32> = (base + 1..=last).collect();
        let mut evaluation = self.evaluate(base, &members);
        let mut changes = Changes::default();
        for at in members {
            let node = &mut self.nodes[at as usize];
            let (void, effective) = (evaluation.void.contains(&at), evaluation.effective.contains(&at));
            if let Some(act) = &node.act {
                if effective != node.effective {
                    changes.timelines.extend(act.removal.as_ref().and_then(reconsider));
                }
                // What came last was never counted before.
                if void != node.void && at != last {
                    let origins = act.sets.iter().filter_map(|(entry, _)| entry.about_server());
                    changes.timelines.extend(origins.map(|origin| Reconsider { origin, from_seq: 0 }));
                    changes.everything |= act.sets.iter().any(|(entry, _)| entry.is_about_everybody());
                    changes.state.push(node.id);
                }
            }
            (node.void, node.effective) = (void, effective);
            node.settled = evaluation.states.remove(&at);
        }
        let tips: Vec<u32> = self.tips.iter().copied().collect();
        self.current = Some(self.settled(&tips));
        changes
    }

    /// The state up to these events by what is void among all.
    fn settled(&self, refs: &[u32]) -> RoomState {
        let base = self.base();
        let state = |at: u32| self.node(at).map(|node| node.settled.as_ref().unwrap_or(&node.view));
        if let [only] = refs {
            return state(*only).unwrap_or(&self.at(0).view).clone();
        }
        let lowest = refs.first().copied().unwrap_or(0);
        let from = self.cuts.iter().rev().copied().find(|cut| *cut <= lowest).unwrap_or(0).min(base);
        self.merge(from, refs, state, |at| self.at(at).void)
    }

    /// What `members`, which are everything above `base` in the past of some events and those events, come to.
    fn evaluate(&self, base: u32, members: &[u32]) -> Evaluation {
        let removal = |at: &u32| self.at(*at).act.as_ref().filter(|act| act.removal.is_some()).map(|act| act.used.rank);
        let mut by_rank: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for at in members {
            if let Some(rank) = removal(at) {
                by_rank.entry(rank).or_default().push(*at);
            }
        }
        let mut effective: Vec<u32> = Vec::new();
        for removals in by_rank.into_values().rev() {
            let higher = effective.clone();
            effective.extend(removals.into_iter().filter(|at| !self.is_removed(*at, &higher)));
        }
        let (states, void) = self.pass(base, members, &effective);
        Evaluation { states, void, effective: effective.into_iter().collect() }
    }

    /// Whether one of these removals, concurrent with the removal at `at`, takes what that or what it rests on used.
    fn is_removed(&self, at: u32, by: &[u32]) -> bool {
        let by: Vec<u32> = by.iter().copied().filter(|other| self.concurrent(*other, at)).collect();
        let mut seen = BTreeSet::from([at]);
        let mut waiting = vec![at];
        while let Some(ground) = waiting.pop().filter(|_| !by.is_empty()) {
            if by.iter().any(|other| self.takes(*other, ground)) {
                return true;
            }
            // What is older than what these removals have in their past cannot be taken by them; the rest is looked at once.
            waiting.extend(self.at(ground).rests.iter().copied().filter(|at| seen.insert(*at)));
        }
        false
    }

    /// The events that are void given these effective removals, and the states after each event.
    fn pass(&self, base: u32, members: &[u32], effective: &[u32]) -> (BTreeMap<u32, RoomState>, BTreeSet<u32>) {
        let mut states: BTreeMap<u32, RoomState> = BTreeMap::new();
        let mut void = BTreeSet::new();
        for at in members {
            let node = self.at(*at);
            let mut state = self.merge(base, &node.refs, |at| states.get(&at), |at| void.contains(&at));
            if node.act.is_some() {
                let removes = node.act.as_ref().is_some_and(|act| act.removal.is_some());
                let loses = || {
                    effective.iter().any(|removal| self.takes(*removal, *at))
                        || state.authorize(&node.header, &node.content).is_err()
                };
                let is_void =
                    removes && !effective.contains(at) || !(removes && state.lowers(&node.content)) && loses();
                if is_void {
                    void.insert(*at);
                } else {
                    self.set(&mut state, *at);
                }
            }
            states.insert(*at, state);
        }
        (states, void)
    }

    /// Whether an accepted event of the timeline is shown: not if an effective removal that is concurrent with it takes the
    /// authority that it used, nor if it rests only on what is void. May change when state events come in; see
    /// [`Resolver::insert`].
    pub fn shows(&self, event: &Event) -> bool {
        let header = event.header();
        let Some(refs) = self.refs(event) else { return true };
        let Ok(content) = event.content() else { return false };
        let Ok(used) = self.settled(&refs).authorize(header, &content) else { return false };
        let against = self.removals.get(&Some(header.origin)).map(Vec::as_slice).unwrap_or_default();
        !against.iter().any(|at| {
            let node = self.at(*at);
            let Some(removal) = node.act.as_ref().and_then(|act| act.removal.as_ref()).filter(|_| node.effective)
            else {
                return false;
            };
            let known = refs.iter().any(|top| top == at || self.in_past(*at, *top));
            let seen = removal.target().is_some_and(|(_, seen)| seen.iter().any(|(seq, _)| header.seq <= *seq));
            !known && !seen && removal.takes(header, &used)
        })
    }
}

fn reconsider(removal: &crate::authority::Removal) -> Option<Reconsider> {
    let (origin, seen) = removal.target()?;
    Some(Reconsider { origin, from_seq: seen.iter().map(|(seq, _)| seq + 1).max().unwrap_or(0) })
}

/// What the event does that everything begins with: the state has it already.
fn first_act() -> Act {
    use crate::authority::{Purpose, Rank, Used};
    let used = Used { rank: Rank::Creator, needs: Rank::Outsider, purpose: Purpose::Other };
    Act { sets: Vec::new(), removal: None, used }
}
