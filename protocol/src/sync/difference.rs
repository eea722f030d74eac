//! What two servers lack of each other, as far as a have-vector in brief tells.

use std::collections::BTreeMap;

use crate::event::Lane;
use crate::have::{Brief, BriefLane, HaveVector, LaneHave, Sections, Tag};
use crate::identity::Origin;

/// A part of one chain, both ends within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    /// The server whose chain it is.
    pub origin: Tag,
    /// The lane.
    pub lane: Lane,
    /// The first sequence number.
    pub from: u64,
    /// The last one, not below the first.
    pub to: u64,
}

impl Stretch {
    /// How many sequence numbers there are in it.
    pub fn count(&self) -> u64 {
        (self.to - self.from).saturating_add(1)
    }
}

/// A head that the other side shows and that is not held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The server whose chain it ends.
    pub origin: Tag,
    /// The lane.
    pub lane: Lane,
    /// Its sequence number.
    pub seq: u64,
    /// The head.
    pub head: Tag,
}

/// How another server's vector differs from the one here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What is to be asked for, at most one stretch of each lane.
    pub lacking: Vec<Stretch>,
    /// The heads that are missing here.
    pub claims: Vec<Claim>,
    /// Whether the other side lacks something that is here. Where its chains go on beyond those here that cannot be told, and is
    /// not said.
    pub offers: bool,
    /// Whether two servers that are known here have one tag, so that only whole vectors tell.
    pub unclear: bool,
}

impl Difference {
    /// Whether the two sides hold the same, as far as this tells.
    pub fn is_none(&self) -> bool {
        self.lacking.is_empty() && !self.offers && !self.unclear
    }
}

/// How a vector in brief, of these sections, differs from the one here. `holds` tells whether an event of this lane and
/// sequence number that begins with the tag is held here.
///
/// Where a chain is not forked its stretch is exact, unless the two sides are forks of each other: then the first event of the
/// stretch has a self parent that is not held, which leads to the rest. Where a chain is forked the stretch begins at the lowest
/// head that either side shows, so that something may come twice.
pub fn difference(
    theirs: &Brief,
    ours: &HaveVector,
    sections: Sections,
    holds: impl Fn(Origin, Lane, u64, &Tag) -> bool,
) -> Difference {
    let mut difference = Difference::default();
    // Those whose tags are not their own alone are none.
    let mut known: BTreeMap<Tag, Option<Origin>> = BTreeMap::new();
    for (origin, lane, _) in ours.lanes().filter(|(origin, _, _)| sections.contain(origin)) {
        let tag = Tag::of(origin.as_bytes());
        let entry = known.entry(tag).or_insert(Some(origin));
        if *entry != Some(origin) {
            *entry = None;
        }
        difference.offers |= theirs.lane(tag, lane).is_none();
    }
    for (tag, lane, their_lane) in theirs.lanes() {
        let origin = match known.get(&tag) {
            Some(None) => {
                difference.unclear = true;
                continue;
            }
            Some(Some(origin)) => Some(*origin),
            None => None,
        };
        let our_lane = origin.and_then(|origin| ours.lane(origin, lane));
        let is_held = |head: &&(u64, Tag)| origin.is_some_and(|origin| holds(origin, lane, head.0, &head.1));
        let unknown: Vec<(u64, Tag)> = their_lane.heads.iter().filter(|head| !is_held(head)).copied().collect();
        let Some((highest, _)) = unknown.last().copied() else {
            difference.offers |= our_lane.is_some_and(|ours| !same_heads(their_lane, ours));
            continue;
        };
        let (from, offers) = our_lane.map_or((their_lane.lowest, false), |ours| begin(their_lane, ours, highest));
        difference.offers |= offers;
        difference.lacking.push(Stretch { origin: tag, lane, from: from.min(highest), to: highest });
        difference.claims.extend(unknown.iter().map(|(seq, head)| Claim { origin: tag, lane, seq: *seq, head: *head }));
    }
    difference
}

fn same_heads(theirs: &BriefLane, ours: &LaneHave) -> bool {
    let same =
        |((seq, head), (own, id)): (&(u64, Tag), &(u64, crate::id::EventId))| seq == own && *head == Tag::of(id.hash());
    theirs.heads.len() == ours.heads.len() && theirs.heads.iter().zip(&ours.heads).all(same)
}

/// Where to begin in a lane whose highest unknown head is this one, and whether the other side lacks something of it for
/// certain.
fn begin(theirs: &BriefLane, ours: &LaneHave, highest: u64) -> (u64, bool) {
    let (end, _) = ours.highest();
    if !ours.forked() && theirs.heads.len() == 1 && highest > end {
        return ((end + 1).max(theirs.lowest), false);
    }
    let heads = theirs.heads.iter().map(|(seq, _)| *seq).chain(ours.heads.iter().map(|(seq, _)| *seq));
    (heads.min().unwrap_or(highest).max(theirs.lowest), true)
}
