//! What anti-entropy wants done, and what it is told about it.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Lane;
use crate::have::Tag;
use crate::id::RoomId;
use crate::sync::{Claim, Stretch};

/// Names a question, so that its answer finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub(super) u64);

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// From one server to the other.
    Direct,
    /// Through a relay, while others who are reached directly may have the same.
    Relayed,
}

/// Which rooms to compare with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// All that the two share.
    All,
    /// These, as far as the two share them.
    Rooms {
        /// The rooms.
        rooms: BTreeSet<RoomId>,
        /// Whether the peer's own question is the reason: then it is not told again that something is missing there.
        back: bool,
    },
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<P> {
    /// Compare digests with a peer, say what differs by `AntiEntropy::differs`, and then that the comparison is over.
    Compare {
        /// The peer.
        peer: P,
        /// Which rooms.
        rooms: Comparison,
    },
    /// Ask a peer for stretches of chains, take in what comes, and say what became of it.
    Bring {
        /// The question.
        ask: AskId,
        /// The peer.
        peer: P,
        /// The room.
        room: RoomId,
        /// What to ask for; empty where there is only something to offer.
        stretches: Vec<Stretch>,
        /// Whether to say that the peer lacks something.
        offers: bool,
    },
    /// Compare whole vectors with a peer, take in whatever that brings, and say when it is over.
    PullWhole {
        /// The question.
        ask: AskId,
        /// The peer.
        peer: P,
        /// The room.
        room: RoomId,
    },
    /// Everything came that can be asked for: look which of these claims are held now, and say by `AntiEntropy::reviewed` whose
    /// are not.
    Review {
        /// The room.
        room: RoomId,
        /// Heads that peers showed.
        claims: BTreeMap<P, Vec<Claim>>,
    },
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer came, and what verified of it is taken in.
    Brought {
        /// The highest sequence number that came of each lane asked for.
        reached: BTreeMap<(Tag, Lane), u64>,
        /// Events of the room that wait for others now.
        waiting: usize,
        /// Whether the peer has more of what it was asked for.
        more: bool,
    },
    /// The peer was asked too often: it may be asked again in a while.
    TooMany,
    /// No answer, or none that is to be had from this peer.
    Failed,
}
