//! A room in outline: what a server must keep at hand to place new events and to compare with others.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Draft, Event, Lane, Membership, Placement, RoomVersion, kind, seen_value};
use crate::have::{HaveVector, LaneHave};
use crate::id::{EventId, RoomId};
use crate::identity::{Origin, UserId};
use crate::limits::MAX_PARENTS;

/// Keeps the choice among too many tips apart from every other hash.
const TIP_CHOICE_DOMAIN: &str = "rocketmesh 0 choice of tips";

/// The outline of a room. Grows with the room's servers and tips, never with its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    room: RoomId,
    version: RoomVersion,
    have: HaveVector,
    timeline_tips: Tips,
    state_tips: Tips,
    events: u64,
}

/// Events that no other refers to yet, with their lamport times.
pub type Tips = BTreeMap<EventId, u64>;

impl Outline {
    /// The outline of a room of which nothing is held.
    pub fn new(room: RoomId, version: RoomVersion) -> Self {
        Outline::restore(room, version, HaveVector::new(), Tips::new(), Tips::new(), 0)
    }

    /// The outline with parts read back from a store.
    pub fn restore(
        room: RoomId,
        version: RoomVersion,
        have: HaveVector,
        timeline_tips: Tips,
        state_tips: Tips,
        events: u64,
    ) -> Self {
        Outline { room, version, have, timeline_tips, state_tips, events }
    }

    /// The room.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// The room's version.
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// What is held of the room.
    pub fn have(&self) -> &HaveVector {
        &self.have
    }

    /// The tips of a lane's graph.
    pub fn tips(&self, lane: Lane) -> &Tips {
        match lane {
            Lane::State => &self.state_tips,
            Lane::Timeline => &self.timeline_tips,
        }
    }

    /// How many events are held, rejected ones included.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The servers of which an event is held.
    pub fn origins(&self) -> BTreeSet<Origin> {
        self.have.lanes().map(|(origin, _, _)| origin).collect()
    }

    /// Takes in an event that the receipt pipeline decided on. Rejected events count as held, and never become a tip.
    pub fn add(&mut self, event: &Event, accepted: bool) {
        self.have.add(event);
        self.events += 1;
        if !accepted {
            return;
        }
        let header = event.header();
        let (tips, covered) = match header.lane {
            Lane::State => (&mut self.state_tips, &header.state_frontier),
            Lane::Timeline => (&mut self.timeline_tips, &header.parents),
        };
        for id in covered {
            tips.remove(id);
        }
        if let Some(parent) = header.self_parent {
            tips.remove(&parent);
        }
        tips.insert(event.id(), header.lamport);
    }

    /// The end of a server's chain, where its next event continues.
    pub fn head(&self, origin: Origin, lane: Lane) -> Option<(u64, EventId)> {
        self.have.lane(origin, lane).map(LaneHave::highest)
    }

    /// Writes into a draft that takes authority away how much of its target's timeline is held here: what comes after that
    /// is concurrent with it. Other drafts stay as they are.
    pub fn sight(&self, draft: &mut Draft) {
        let target = removal_target(draft).and_then(|origin| self.have.lane(origin, Lane::Timeline));
        if let Some(lane) = target {
            set_seen(draft, &lane.heads);
        }
    }

    /// Where the next event of `origin` in `lane` goes. `lamport` tells the lamport time of an event that is held, which is
    /// asked of the server's own heads only.
    ///
    /// # Errors
    /// Whatever `lamport` fails with.
    pub fn placement<E>(
        &self,
        origin: Origin,
        lane: Lane,
        lamport: impl Fn(&EventId) -> Result<u64, E>,
    ) -> Result<Placement, E> {
        let head = self.head(origin, lane);
        let parents = choose(&self.timeline_tips, origin, None);
        // With more tips than an event may name, the own state head keeps the own users' memberships in sight.
        let state_frontier = choose(&self.state_tips, origin, self.head(origin, Lane::State).map(|(_, id)| id));
        // A state event stands on the state graph alone, so that it can be judged without the timeline.
        let causes: &[EventId] = if lane == Lane::State { &[] } else { &parents };
        let mut highest = 0;
        for id in causes.iter().chain(&state_frontier).chain(head.iter().map(|(_, id)| id)) {
            let known = self.timeline_tips.get(id).or_else(|| self.state_tips.get(id));
            highest = highest.max(known.map_or_else(|| lamport(id), |known| Ok(*known))?);
        }
        Ok(Placement {
            room: Some(self.room),
            version: self.version,
            self_parent: head.map(|(seq, id)| (id, seq)),
            parents,
            state_frontier,
            lamport: highest + 1,
        })
    }
}

/// The server from which a draft takes authority away, or to one of whose users it gives some; none for other drafts.
pub fn removal_target(draft: &Draft) -> Option<Origin> {
    let key = draft.state_key.as_deref()?;
    let user = || key.parse::<UserId>().ok().map(|user| user.origin);
    match draft.kind.as_str() {
        kind::MEMBER => user().filter(|_| {
            let word = draft.content.as_ref().and_then(|content| content.get("membership")?.as_text());
            word.and_then(Membership::from_word).is_some_and(|change| change >= Membership::Kick)
        }),
        kind::ROLE | kind::MUTE => user(),
        kind::SERVER => key.parse().ok(),
        _ => None,
    }
}

/// Writes into such a draft up to where its maker has seen the timeline of that server: these ascending heads. With more forks
/// than may be named the highest ones count.
pub fn set_seen(draft: &mut Draft, heads: &[(u64, EventId)]) {
    let named = &heads[heads.len().saturating_sub(MAX_PARENTS)..];
    draft.content.get_or_insert_default().insert("seen", seen_value(&named.to_vec()));
}

/// At most [`MAX_PARENTS`] tips. With more, each server picks its own by hash, so that different servers join different ones;
/// `always` is named in any case then.
fn choose(tips: &Tips, origin: Origin, always: Option<EventId>) -> Vec<EventId> {
    let mut chosen: Vec<EventId> = tips.keys().copied().collect();
    if chosen.len() <= MAX_PARENTS {
        return chosen;
    }
    chosen.retain(|id| Some(*id) != always);
    chosen.sort_by_cached_key(|id| blake3::derive_key(TIP_CHOICE_DOMAIN, &[*origin.as_bytes(), *id.hash()].concat()));
    chosen.truncate(MAX_PARENTS - usize::from(always.is_some()));
    chosen.extend(always);
    chosen
}
