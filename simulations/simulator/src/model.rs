//! The protocol layer: the protocol's own machines for thousands of servers, over modelled gossip and links.
//!
//! ```text
//!   Plan ──► found: rooms before the run
//!              │
//!   steps ──►  World: one heap of what is to come, in virtual microseconds
//!              │   lines    how long a message takes, and what a cut does to it
//!              │   company  who is connected to whom
//!              │   gossip   pushes, ids that are told, the mesh of a room
//!              │   sync     a server's catching up                          (rocketmesh-protocol's own)
//!              │   speak    what users say and do
//!              │   intake   receipt, resolution, the local log      (rocketmesh-protocol's own)
//!              │   faults   stops, crashes, cuts      harm   servers that mean it
//!              ▼
//!           Observer
//! ```
//!
//! What is the protocol's own: every event is made and signed by `event::author`, placed by `Outline`, decided on by
//! `receipt::receive` and resolved by `Resolver`, once for each server that gets it, in the order in which it gets it.
//! Whom to compare with, whom to ask for what, and whom to leave is the word of each server's own `sync::AntiEntropy`; what differs
//! is `sync::difference`'s, and in pulls of whole vectors `sync::lacking`'s and `sync::unknown_heads`'s. Questions and answers are
//! the node's, within its bounds and as long as on the wire.
//!
//! What is modelled, and how it differs from the real node:
//!
//! - Signatures are made once and are not verified again by each receiver: in one process a copy cannot be bent on its
//!   way. Garbage is dropped at the price of its bytes.
//! - Servers share what is the same: the events themselves, and the resolvers of servers that took in the same state
//!   events in the same order. A resolver is a function of that sequence, so that sharing changes nothing but the
//!   memory.
//! - Digests of whole rooms are a sum over the ids that a server holds. It is equal exactly where the digests of have-vectors
//!   are, since a have-vector and the set of events that it stands for determine each other; in the end the digests
//!   themselves are compared. Section digests and brief vectors are the protocol's.
//! - Whole vectors, in pulls, travel as the events that they stand for, and are as long as they would be.
//! - `lacking` and `unknown_heads` get have-vectors that hold only the lanes in which the two sides differ. The others
//!   give nothing, but for forks, of which the real node may send something twice.
//! - A connection of two servers in two rooms is one in records and for sync, and two for gossip.
//! - No server is reached over a relay, asks too often, or has a full disk. No event lacks its body, no room is private or read
//!   from the join on.
//! - Whoever comes into a room pulls all of it before the join. The real node brings the state graph, joins, and brings the
//!   timeline behind that.
//! - A lost packet costs the whole message a round trip and 200 ms. Gossip between two servers in one room stays in order, unless
//!   the scenario has messages overtaken; questions and answers are streams of their own, and overtake each other.
//! - A message that tells a server of ids that it has already is counted and not sent.
//! - Addresses are known: looking for servers of a room costs bytes and no time.
//! - A disk takes the same time for every flush, however many wait for it.

mod agenda;
mod answers;
mod archive;
mod company;
mod compare;
mod dice;
pub(crate) mod drafts;
mod faults;
mod found;
mod gossip;
mod harm;
mod held;
mod intake;
mod joins;
mod lawless;
mod lengths;
mod letter;
mod lies;
mod lines;
mod local_log;
mod marks;
mod minds;
mod questions;
mod repair;
mod seat;
mod settings;
mod sketches;
mod speak;
mod sync;
mod watch;
mod whole;
mod world;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use rocketmesh_protocol::event::AuthorError;
use rocketmesh_protocol::identity::NameError;

use crate::plan::Plan;
use crate::record::{About, Record};
use crate::sabotage::Sabotage;
use world::World;

/// What a run is told beside its plan.
#[derive(Debug, Default)]
pub struct Options {
    /// A deliberate bug; none but in tests.
    pub sabotage: Option<Sabotage>,
    /// Where the trace goes beside its hash.
    pub trace_file: Option<File>,
    /// What the caller knows of the build and the command. The rest is filled in.
    pub about: About,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Everything that it leaves behind.
    pub record: Record,
    /// How many actions the run consisted of: deliveries, heartbeats, flushes and so on.
    pub actions: u64,
}

/// Why a run could not begin. Nothing was run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The room has nobody in it.
    #[error("room `{0}` has no member; give it at least one server")]
    Empty(String),
    /// A member's name is no localpart.
    #[error("room `{room}`: {reason}")]
    Name {
        /// The room.
        room: String,
        /// What is wrong with the name.
        reason: NameError,
    },
    /// An event that was there before the run breaks a limit.
    #[error("room `{room}` cannot be made: {reason}")]
    Author {
        /// The room.
        room: String,
        /// Which limit.
        reason: AuthorError,
    },
    /// The room's rules refuse what was there before the run.
    #[error("room `{room}` cannot be made: {reason}")]
    Refused {
        /// The room.
        room: String,
        /// What its rules say.
        reason: String,
    },
}

/// Runs a plan in the protocol layer. `progress` is told the virtual time and the latest end, some hundred times.
///
/// One process and one thread; the same plan gives the same trace.
///
/// # Errors
/// [`ModelError`] before anything was run.
pub fn run(
    plan: Arc<Plan>,
    options: Options,
    progress: &mut dyn FnMut(Duration, Duration),
) -> Result<Outcome, ModelError> {
    let mut world = World::new(plan, options)?;
    world.run(progress);
    Ok(world.finish())
}
