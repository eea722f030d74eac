//! A room in outline: what a server must keep at hand to place new events and to compare with others.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Event, Lane, Placement, RoomVersion};
use crate::have::{HaveVector, LaneHave};
use crate::id::{EventId, RoomId};
use crate::identity::Origin;
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
        for id in covered.iter().chain(&header.self_parent) {
            tips.remove(id);
        }
        tips.insert(event.id(), header.lamport);
    }

    /// The end of a server's chain, where its next event continues.
    pub fn head(&self, origin: Origin, lane: Lane) -> Option<(u64, EventId)> {
        self.have.lane(origin, lane).map(LaneHave::highest)
    }

    /// Where the next event of `origin` in `lane` goes. `head_lamport` is the lamport time of [`Outline::head`], 0 if there
    /// is none: with many tips no chosen one need refer to the head.
    pub fn placement(&self, origin: Origin, lane: Lane, head_lamport: u64) -> Placement {
        let head = self.head(origin, lane);
        let parents = choose(&self.timeline_tips, head);
        let state_frontier = choose(&self.state_tips, head);
        let named = parents.iter().chain(&state_frontier).map(|(_, lamport)| *lamport);
        let highest = named.chain([head_lamport]).max().unwrap_or(0);
        let ids = |tips: Vec<(EventId, u64)>| tips.into_iter().map(|(id, _)| id).collect();
        Placement {
            room: Some(self.room),
            version: self.version,
            self_parent: head.map(|(seq, id)| (id, seq)),
            parents: ids(parents),
            state_frontier: ids(state_frontier),
            lamport: highest + 1,
        }
    }
}

/// At most [`MAX_PARENTS`] tips. With more, each writer picks its own by hash, so that writers join different ones.
fn choose(tips: &Tips, head: Option<(u64, EventId)>) -> Vec<(EventId, u64)> {
    let mut chosen: Vec<(EventId, u64)> = tips.iter().map(|(id, lamport)| (*id, *lamport)).collect();
    if chosen.len() > MAX_PARENTS {
        let own = head.map_or([0; 32], |(_, id)| *id.hash());
        // The own head stays named: dropping it would let the event forget what its own chain knew.
        chosen.sort_by_cached_key(|(id, _)| {
            (Some(*id) != head.map(|(_, own)| own), blake3::derive_key(TIP_CHOICE_DOMAIN, &[own, *id.hash()].concat()))
        });
        chosen.truncate(MAX_PARENTS);
    }
    chosen
}
