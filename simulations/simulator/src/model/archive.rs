//! The events of one room, once for all servers; a server has numbers of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use rocketmesh_protocol::event::{Event, Lane};
use rocketmesh_protocol::have::{HaveVector, LaneHave, TAG_BYTES, Tag};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::receipt::{Node, RoomGraph};

use super::marks::Marks;

/// An event and what is asked of it all the time.
#[derive(Debug)]
pub(super) struct Stored {
    /// The event.
    pub(super) event: Arc<Event>,
    /// Its place.
    pub(super) node: Node,
    /// The server that made it.
    pub(super) maker: u32,
    /// Header and body.
    pub(super) bytes: u32,
}

impl Stored {
    /// The event's share of the sum by which copies of rooms are compared.
    pub(super) fn print(&self) -> u64 {
        let id = self.event.id();
        id.hash().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// A server's chain in one lane: sequence numbers and events, ascending.
#[derive(Debug, Default)]
struct Chain {
    links: Vec<(u64, u32)>,
    /// Whether some number is there twice.
    forked: bool,
}

/// All events that anybody made in a room. Some of them nobody has any more: a crash took them before they were told.
#[derive(Debug)]
pub(super) struct Archive {
    room: RoomId,
    events: Vec<Stored>,
    /// Looked up and never iterated, so that the order of its entries reaches nothing.
    numbers: HashMap<EventId, u32, BuildHasherDefault<IdHasher>>,
    chains: BTreeMap<(Origin, Lane), Chain>,
}

impl Archive {
    /// The archive of a room of which there is nothing yet.
    pub(super) fn new(room: RoomId) -> Self {
        Archive { room, events: Vec::new(), numbers: HashMap::default(), chains: BTreeMap::new() }
    }

    /// The room.
    pub(super) fn room(&self) -> RoomId {
        self.room
    }

    /// Adds an event and gives its number. The create event comes first.
    pub(super) fn add(&mut self, event: Arc<Event>, maker: u32) -> u32 {
        if let Some(known) = self.number(&event.id()) {
            return known;
        }
        let number = self.events.len() as u32;
        let node = Node::of(&event);
        let bytes = (event.header_block().len() + event.body_block().map_or(0, <[u8]>::len)) as u32;
        self.numbers.insert(event.id(), number);
        let chain = self.chains.entry((node.origin, node.lane)).or_default();
        let place = chain.links.partition_point(|(seq, _)| *seq <= node.seq);
        chain.forked |= place > 0 && chain.links[place - 1].0 == node.seq;
        chain.links.insert(place, (node.seq, number));
        self.events.push(Stored { event, node, maker, bytes });
        number
    }

    /// The event of a number.
    pub(super) fn get(&self, number: u32) -> &Stored {
        &self.events[number as usize]
    }

    /// The number of an event.
    pub(super) fn number(&self, id: &EventId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.events.len() as u32
    }

    /// All of them, in the order in which they were made.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.events.iter()
    }

    /// The lamport time of an event that is here.
    pub(super) fn lamport(&self, id: &EventId) -> u64 {
        self.number(id).map_or(0, |number| self.get(number).node.lamport)
    }

    /// A chain from some sequence number on.
    pub(super) fn chain(&self, origin: Origin, lane: Lane, from_seq: u64) -> impl Iterator<Item = u32> {
        self.links_from(origin, lane, from_seq).iter().map(|(_, number)| *number)
    }

    /// A part of a chain, both ends within it.
    pub(super) fn stretch(&self, origin: Origin, lane: Lane, from: u64, to: u64) -> impl Iterator<Item = u32> {
        let links = self.links_from(origin, lane, from);
        let within = links.partition_point(|(seq, _)| *seq <= to);
        links[..within].iter().map(|(_, number)| *number)
    }

    fn links_from(&self, origin: Origin, lane: Lane, from: u64) -> &[(u64, u32)] {
        let links = self.chains.get(&(origin, lane)).map(|chain| chain.links.as_slice()).unwrap_or_default();
        &links[links.partition_point(|(seq, _)| *seq < from)..]
    }

    /// The servers of a tag of which there is anything.
    pub(super) fn origins_of(&self, tag: Tag) -> BTreeSet<Origin> {
        let (mut first, mut last) = ([0; 32], [u8::MAX; 32]);
        first[..TAG_BYTES].copy_from_slice(tag.as_bytes());
        last[..TAG_BYTES].copy_from_slice(tag.as_bytes());
        let (first, last) = (Origin::from_bytes(first), Origin::from_bytes(last));
        let chains = self.chains.range((first, Lane::State)..=(last, Lane::Timeline));
        chains.map(|((origin, _), _)| *origin).collect()
    }

    /// Whether a server that has these events has one of this place whose id begins with the tag.
    pub(super) fn holds(&self, has: &Marks, origin: Origin, lane: Lane, seq: u64, head: &Tag) -> bool {
        let is_meant = |number: &u32| Tag::of(self.get(*number).event.id().hash()) == *head;
        self.stretch(origin, lane, seq, seq).any(|number| has.contains(number) && is_meant(&number))
    }

    /// Everything of the timeline, server by server.
    pub(super) fn timeline(&self) -> impl Iterator<Item = u32> {
        let chains = self.chains.iter().filter(|((_, lane), _)| *lane == Lane::Timeline);
        chains.flat_map(|(_, chain)| &chain.links).map(|(_, number)| *number)
    }

    /// The lanes in which one server has something that another has not.
    pub(super) fn lanes_beyond(&self, ours: &Marks, theirs: &Marks) -> BTreeSet<(Origin, Lane)> {
        let lane = |number| {
            let node = &self.get(number).node;
            (node.origin, node.lane)
        };
        ours.beyond(theirs).map(lane).collect()
    }

    /// The have-vector of a server that has these events, as far as these lanes go.
    pub(super) fn vector(&self, has: &Marks, lanes: &BTreeSet<(Origin, Lane)>) -> HaveVector {
        let mut vector = HaveVector::new();
        for (origin, lane) in lanes {
            if let Some(have) = self.chains.get(&(*origin, *lane)).and_then(|chain| self.lane_have(chain, has)) {
                vector.set_lane(*origin, *lane, have);
            }
        }
        vector
    }

    fn lane_have(&self, chain: &Chain, has: &Marks) -> Option<LaneHave> {
        let held = || chain.links.iter().copied().filter(move |(_, number)| has.contains(*number));
        let head = |(seq, number): (u64, u32)| (seq, self.get(number).event.id());
        let (lowest, _) = held().next()?;
        if !chain.forked {
            return Some(LaneHave { lowest, heads: vec![head(held().next_back()?)] });
        }
        let parents: BTreeSet<EventId> =
            held().filter_map(|(_, number)| self.get(number).event.header().self_parent).collect();
        let mut heads: Vec<(u64, EventId)> = held().map(head).filter(|(_, id)| !parents.contains(id)).collect();
        heads.sort_unstable();
        Some(LaneHave { lowest, heads })
    }
}

/// The room's graph as the receipt pipeline of one server sees it.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    /// Everything that there is.
    pub(super) archive: &'a Archive,
    /// What of it the server has.
    pub(super) has: &'a Marks,
}

impl RoomGraph for Graph<'_> {
    type Error = Infallible;

    fn node(&self, id: &EventId) -> Result<Option<Node>, Infallible> {
        let number = self.archive.number(id).filter(|number| self.has.contains(*number));
        Ok(number.map(|number| self.archive.get(number).node))
    }
}

/// Ids are hashes already.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
