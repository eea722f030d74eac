//! Which chains to read so that another server ends with everything held here, from its whole have-vector.

use crate::event::Lane;
use crate::have::{HaveVector, LaneHave};
use crate::id::EventId;
use crate::identity::Origin;

/// A stretch of one lane that the other side lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainRange {
    /// The origin.
    pub origin: Origin,
    /// The lane.
    pub lane: Lane,
    /// The first sequence number to send; to be sent up to the end of the chain.
    pub from_seq: u64,
}

/// What a server that has `theirs` lacks of `ours`. `holds` tells whether an event is held here.
///
/// Where a chain is not forked the ranges are exact. Where one is, they begin at the lowest place where the two sides may
/// differ, so that nothing is missed and something may be sent twice.
pub fn lacking(theirs: &HaveVector, ours: &HaveVector, holds: impl Fn(&EventId) -> bool) -> Vec<ChainRange> {
    ours.lanes()
        .filter_map(|(origin, lane, our_lane)| {
            let from_seq = match theirs.lane(origin, lane) {
                None => our_lane.lowest,
                Some(their_lane) => first_difference(their_lane, our_lane, &holds)?,
            };
            Some(ChainRange { origin, lane, from_seq })
        })
        .collect()
}

fn first_difference(theirs: &LaneHave, ours: &LaneHave, holds: impl Fn(&EventId) -> bool) -> Option<u64> {
    let unknown_to_them: Vec<u64> =
        ours.heads.iter().filter(|head| !theirs.heads.contains(head)).map(|(seq, _)| *seq).collect();
    let highest_missing = *unknown_to_them.iter().max()?;
    let shared = theirs.heads.iter().filter(|(_, head)| holds(head)).map(|(seq, _)| *seq);
    match (shared.min(), ours.forked() || theirs.heads.len() > 1) {
        // Their chain ends inside ours.
        (Some(seq), false) => Some(seq + 1),
        // Their chain ends where nobody here has been: ours is a part of theirs, unless the two are forks of each other;
        // then the head that they will fetch by id brings its ancestors along.
        (None, false) if theirs.highest().0 > highest_missing => None,
        // Forks: begin at the lowest head either side shows.
        _ => {
            let lowest = theirs.heads.iter().chain(&ours.heads).map(|(seq, _)| *seq).min()?;
            Some(lowest.min(ours.highest().0).max(ours.lowest))
        }
    }
}

/// The heads in `theirs` that are not held here: what is still to be fetched by id once ranges are exhausted.
pub fn unknown_heads(theirs: &HaveVector, holds: impl Fn(&EventId) -> bool) -> Vec<EventId> {
    theirs.lanes().flat_map(|(_, _, lane)| &lane.heads).map(|(_, head)| *head).filter(|head| !holds(head)).collect()
}
