//! Servers that hold the same events hold the same room, and in the end all hold the same.

use std::collections::BTreeMap;

use rocketmesh_protocol::id::EventId;

use super::{Finding, Invariant};
use crate::observe::{Ledger, Observation};
use crate::plan::Plan;

/// What a server makes of a room: the state's digest and a hash over what it shows, in order.
type Made = ([u8; 32], [u8; 32]);

/// One room.
#[derive(Default)]
struct Ends {
    /// By digest of the have-vector: the first server seen with it, and what it makes of the room.
    made: BTreeMap<[u8; 32], (usize, Made)>,
    /// The first server looked at in the end.
    first: Option<(usize, [u8; 32])>,
}

/// See the file's head.
#[derive(Default)]
pub(super) struct Convergence {
    rooms: BTreeMap<usize, Ends>,
}

fn hash(shown: &[EventId]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for id in shown {
        hasher.update(id.hash());
    }
    *hasher.finalize().as_bytes()
}

impl Invariant for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn promise(&self) -> &'static str {
        "servers with the same events have the same state and show the same, and in the end all have the same events"
    }

    fn observe(&mut self, observation: &Observation<'_>, _: &Ledger, _: &Plan) -> Finding {
        let Observation::Holding(holding) = observation else { return Finding::Nothing };
        let (Some(state), Some(shown)) = (holding.state, holding.shown) else { return Finding::Nothing };
        let made = (state.digest(), hash(shown));
        let room = self.rooms.entry(holding.room).or_default();
        let (server, number) = (holding.server, holding.room);
        let (other, theirs) = *room.made.entry(holding.digest).or_insert((server, made));
        if theirs.0 != made.0 {
            return Finding::Broken(format!(
                "servers {other} and {server} hold the same of room {number} and disagree about its state"
            ));
        }
        if theirs.1 != made.1 {
            return Finding::Broken(format!(
                "servers {other} and {server} hold the same of room {number} and show different things"
            ));
        }
        if !holding.last {
            return Finding::Holds;
        }
        let (first, digest) = *room.first.get_or_insert((server, holding.digest));
        if digest != holding.digest {
            return Finding::Broken(format!(
                "servers {first} and {server} hold different events of room {number} in the end"
            ));
        }
        Finding::Holds
    }
}
