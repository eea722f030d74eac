//! The receipt pipeline: what becomes of a verified event, and why.
//!
//! 1. Well-formed, canonical, within limits, signed: see [`crate::event`]. Else dropped, and the peer is to blame.
//! 2. What it refers to and is known continues its chain and stands in the right room and lane. Else **dropped**: every
//!    honest server drops it, so no honest event refers to it.
//! 3. Everything that it refers to is known. Else **held**, bounded, until it is; and its lamport time is one more than the
//!    highest, else dropped. A state event refers to state events only: what it came after in the timeline is its server's
//!    word, and no ground for anything (`docs/decisions/0025`).
//! 4. It is allowed at the state that it names. Else **rejected**: kept so that descendants can be judged, never shown,
//!    never a tip; or dropped, where its server is not even in the room at that state.
//! 5. **Accepted.** Where another event has its place in its chain, both are kept and the fork is reported.

use crate::authority::{Refusal, RoomState};
use crate::event::{Event, Lane};
use crate::have::HaveVector;
use crate::id::{EventId, RoomId};
use crate::identity::Origin;
use crate::limits::MAX_NUMBER;
use crate::resolution::Resolver;

/// What an event's place depends on, of another event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The room.
    pub room: RoomId,
    /// The origin.
    pub origin: Origin,
    /// The lane.
    pub lane: Lane,
    /// The position in the lane.
    pub seq: u64,
    /// The lamport time.
    pub lamport: u64,
}

impl Node {
    /// The node of an event.
    pub fn of(event: &Event) -> Self {
        let header = event.header();
        Node { room: event.room(), origin: header.origin, lane: header.lane, seq: header.seq, lamport: header.lamport }
    }
}

/// The events that were decided on before.
pub trait RoomGraph {
    /// Why reading can fail; never the event's fault.
    type Error;

    /// The event's node, if it was accepted or rejected before; none if it is unknown, held or dropped.
    ///
    /// # Errors
    /// Whatever keeps the graph from being read.
    fn node(&self, id: &EventId) -> Result<Option<Node>, Self::Error>;
}

/// Why an event is dropped though its signature verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misplaced {
    /// It refers to an event of another room.
    #[error("refers to an event of another room")]
    ForeignRoom,
    /// Its self parent is not the event before it in its chain.
    #[error("does not continue its server's chain")]
    Chain,
    /// A parent that is no timeline event, or a state tip that is no state event.
    #[error("refers to an event of the wrong lane")]
    WrongLane,
    /// Its server has no member in the room at the state that it names, so that no honest server would have made it.
    #[error("comes from a server that is not in the room")]
    Outsider,
    /// Its lamport time is not one more than the highest that it refers to, or beyond 2^53.
    #[error("has the wrong lamport time")]
    Lamport,
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// It was decided on before; nothing to do.
    Known,
    /// It waits for these.
    Held {
        /// What it refers to and nobody here knows.
        missing: Vec<EventId>,
    },
    /// It has no place in the graph.
    Dropped(Misplaced),
    /// It is in the graph, and not allowed.
    Rejected(Refusal),
    /// It is in the graph.
    Accepted {
        /// Whether its server signed another event for the same place.
        forks: bool,
    },
}

/// Decides on a verified event.
///
/// # Errors
/// Whatever `graph` fails with; nothing was decided then.
pub fn receive<G: RoomGraph>(
    event: &Event,
    graph: &G,
    have: &HaveVector,
    resolver: &mut Resolver,
) -> Result<Receipt, G::Error> {
    if graph.node(&event.id())?.is_some() {
        return Ok(Receipt::Known);
    }
    let header = event.header();
    if header.room.is_none() {
        return Ok(match RoomState::created(event) {
            Ok(_) => Receipt::Accepted { forks: false },
            Err(refusal) => Receipt::Rejected(refusal),
        });
    }
    let mut missing = Vec::new();
    let mut highest = 0;
    let mut misplaced = None;
    for (id, role) in roles(event) {
        let Some(node) = graph.node(id)? else {
            if !missing.contains(id) {
                missing.push(*id);
            }
            continue;
        };
        highest = highest.max(node.lamport);
        misplaced = misplaced.or(check_reference(event, &node, role));
    }
    if let Some(misplaced) = misplaced {
        return Ok(Receipt::Dropped(misplaced));
    }
    if !missing.is_empty() {
        return Ok(Receipt::Held { missing });
    }
    if header.lamport != highest + 1 || header.lamport > MAX_NUMBER {
        return Ok(Receipt::Dropped(Misplaced::Lamport));
    }
    let Some(judged) = resolver.judge(event) else {
        // It stands on what is in the graph and never became state, which no honest server's event does.
        return Ok(Receipt::Dropped(Misplaced::Outsider));
    };
    Ok(match judged {
        Ok(_) => Receipt::Accepted { forks: forks(event, have) },
        // Keeping these would let anybody at all fill everybody's store and have-vectors.
        Err(_) if !resolver.state_for(event).is_some_and(|state| state.has_member(header.origin)) => {
            Receipt::Dropped(Misplaced::Outsider)
        }
        Err(refusal) => Receipt::Rejected(refusal),
    })
}

/// How an event refers to another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reference {
    Chain,
    Parent,
    Frontier,
}

fn roles(event: &Event) -> impl Iterator<Item = (&EventId, Reference)> {
    let header = event.header();
    let chain = header.self_parent.iter().map(|id| (id, Reference::Chain));
    let parents = header.timeline_causes().iter().map(|id| (id, Reference::Parent));
    chain.chain(parents).chain(header.state_frontier.iter().map(|id| (id, Reference::Frontier)))
}

fn check_reference(event: &Event, node: &Node, reference: Reference) -> Option<Misplaced> {
    let header = event.header();
    if node.room != event.room() {
        return Some(Misplaced::ForeignRoom);
    }
    match reference {
        Reference::Chain => {
            let continues = node.origin == header.origin && node.lane == header.lane && node.seq + 1 == header.seq;
            (!continues).then_some(Misplaced::Chain)
        }
        Reference::Parent => (node.lane != Lane::Timeline).then_some(Misplaced::WrongLane),
        Reference::Frontier => (node.lane != Lane::State).then_some(Misplaced::WrongLane),
    }
}

/// Whether the event takes a place in its chain that another one holds: its self parent, or for a first event nothing, is
/// not where the chain ends.
fn forks(event: &Event, have: &HaveVector) -> bool {
    let header = event.header();
    match (have.lane(header.origin, header.lane), header.self_parent) {
        (None, _) => false,
        (Some(lane), Some(parent)) => !lane.heads.iter().any(|(_, head)| *head == parent),
        (Some(_), None) => true,
    }
}
