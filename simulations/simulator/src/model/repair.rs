//! What is missing where, and what an answer carries: the protocol's own words on it, within the protocol's own bounds.

use std::collections::{BTreeSet, VecDeque};

use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::limits::{MAX_EVENTS_PER_RESPONSE, MAX_IDS_PER_REQUEST, RESPONSE_EVENT_BUDGET};
use rocketmesh_protocol::sync::{lacking, unknown_heads};

use super::archive::Archive;
use super::marks::Marks;
use super::seat::Seat;

/// The most ancestors that a fetch by id brings along, as in `node/src/engine/serve.rs`.
const MAX_ANCESTORS: usize = 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Whatever the asking side lacks.
    Pull,
    /// Heads that it saw and did not get, by id.
    Heads,
    /// What held events wait for, by id.
    Repair,
}

/// A question.
#[derive(Debug)]
pub(super) struct Ask {
    /// What is asked for.
    pub(super) why: Why,
    /// By id; empty for a pull.
    pub(super) wanted: Vec<u32>,
    /// What the asking side has.
    pub(super) has: Marks,
    /// Rounds of this pull that brought nothing new.
    pub(super) fruitless: u8,
    /// Whether the round before brought something.
    pub(super) brought: bool,
}

impl Ask {
    /// Asks for whatever is lacking.
    pub(super) fn pull(fruitless: u8) -> Self {
        Ask { why: Why::Pull, wanted: Vec::new(), has: Marks::default(), fruitless, brought: false }
    }

    /// Asks for events by id.
    pub(super) fn fetch(why: Why, wanted: Vec<u32>, fruitless: u8, brought: bool) -> Self {
        Ask { why, wanted, has: Marks::default(), fruitless, brought }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// To what.
    pub(super) why: Why,
    /// In causal order.
    pub(super) events: Vec<u32>,
    /// What the answering side has.
    pub(super) has: Marks,
    /// Whether there is more to ask for.
    pub(super) more: bool,
    /// As in the question.
    pub(super) fruitless: u8,
    /// As in the question.
    pub(super) brought: bool,
}

/// What a seat answers.
pub(super) fn answer(ask: &Ask, seat: &Seat, archive: &Archive) -> Answer {
    let (mut events, cut_short) = match ask.why {
        Why::Pull => (lacked(&ask.has, seat, archive), false),
        Why::Heads | Why::Repair => with_ancestors(&ask.wanted, &ask.has, seat, archive),
    };
    events.sort_by_cached_key(|number| archive.get(*number).event.order());
    let fits = within_budget(&events, archive);
    let more = cut_short || fits < events.len();
    events.truncate(fits);
    let Ask { why, fruitless, brought, .. } = *ask;
    Answer { why, events, has: seat.has.clone(), more, fruitless, brought }
}

/// What a seat has and the asking side lacks, by [`lacking`] over the lanes in which they differ.
fn lacked(theirs: &Marks, seat: &Seat, archive: &Archive) -> Vec<u32> {
    let lanes = archive.lanes_beyond(&seat.has, theirs);
    if lanes.is_empty() {
        return Vec::new();
    }
    let mut ours = HaveVector::new();
    for (origin, lane) in &lanes {
        if let Some(have) = seat.outline.have().lane(*origin, *lane) {
            ours.set_lane(*origin, *lane, have.clone());
        }
    }
    let their_vector = archive.vector(theirs, &lanes);
    let holds = |id: &EventId| archive.number(id).is_some_and(|number| seat.has.contains(number));
    let mut events = Vec::new();
    for range in lacking(&their_vector, &ours, holds) {
        let heads = their_vector.lane(range.origin, range.lane).map(|lane| lane.heads.as_slice()).unwrap_or_default();
        let known = |number: u32| {
            let id = archive.get(number).event.id();
            heads.iter().any(|(_, head)| *head == id)
        };
        let chain = archive.chain(range.origin, range.lane, range.from_seq);
        events.extend(chain.filter(|number| seat.has.contains(*number) && !known(*number)));
    }
    events
}

/// These events and, as far as they fit, the ancestors that the other side lacks.
fn with_ancestors(wanted: &[u32], theirs: &Marks, seat: &Seat, archive: &Archive) -> (Vec<u32>, bool) {
    let mut seen: BTreeSet<u32> = wanted.iter().copied().collect();
    let mut queue: VecDeque<(u32, bool)> = wanted.iter().map(|number| (*number, true)).collect();
    let mut found = Vec::new();
    while let Some((number, asked)) = queue.pop_front() {
        if !seat.has.contains(number) || !asked && theirs.contains(number) {
            continue;
        }
        if found.len() >= wanted.len() + MAX_ANCESTORS {
            return (found, true);
        }
        let references = archive.get(number).event.header().references();
        let unseen = references.filter_map(|id| archive.number(id)).filter(|number| seen.insert(*number));
        queue.extend(unseen.map(|number| (number, false)));
        found.push(number);
    }
    (found, false)
}

/// How many of these events one answer carries.
fn within_budget(events: &[u32], archive: &Archive) -> usize {
    let mut bytes = 0;
    let over = events.iter().position(|number| {
        bytes += archive.get(*number).bytes as usize;
        bytes > RESPONSE_EVENT_BUDGET
    });
    // One event of any size fits.
    let least = usize::from(!events.is_empty());
    over.unwrap_or(events.len()).max(least).min(MAX_EVENTS_PER_RESPONSE)
}

/// What an answering side has that is still unknown here once its answers are exhausted, by [`unknown_heads`].
pub(super) fn unknown(theirs: &Marks, seat: &Seat, archive: &Archive) -> Vec<u32> {
    let lanes = archive.lanes_beyond(theirs, &seat.has);
    if lanes.is_empty() {
        return Vec::new();
    }
    let vector = archive.vector(theirs, &lanes);
    let holds = |id: &EventId| archive.number(id).is_some_and(|number| seat.has.contains(number));
    let mut heads: Vec<u32> = unknown_heads(&vector, holds).iter().filter_map(|head| archive.number(head)).collect();
    heads.truncate(MAX_IDS_PER_REQUEST);
    heads
}
