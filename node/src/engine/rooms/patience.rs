//! How long one server is listened to that is asked for a room: as long as new events of it come, whatever it answers.

use std::time::Duration;

use rocketmesh_protocol::id::RoomId;
use tokio::time::Instant;

use super::let_down::Reason;
use crate::engine::Engine;
use crate::engine::room::PostError;

/// How long a server may bring nothing new before the next one is asked, and how long it has its turn while it brings something.
const ONE_HOLDER: Duration = Duration::from_secs(10);
/// How many servers that bring nothing have their turn in one join, however short that is.
const TURNS: u32 = 3;
/// The shortest turn. What a server of the room answers on a good line is here by then.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
/// How long a server may take to show the first events where nobody else is left to ask: one answer has up to 4 MiB, and the line
/// may be slow.
pub(super) const SHOWN: Duration = Duration::from_secs(30);
/// How often is looked whether something came.
pub(in crate::engine) const GLANCE: Duration = Duration::from_millis(200);

/// How long one server may bring nothing new in a join that takes `wait` at most.
pub(in crate::engine) fn one_holder(wait: Duration) -> Duration {
    ONE_HOLDER.min(wait / TURNS).max(SHORTEST)
}

/// What one server has brought of a room since it was asked, and for how long it has brought nothing.
pub(in crate::engine) struct Quiet<'a> {
    engine: &'a Engine,
    room: RoomId,
    begun: Instant,
    /// Events of the room that were here when it was asked, and at the last look.
    before: u64,
    here: u64,
    grew: Instant,
}

impl<'a> Quiet<'a> {
    pub(in crate::engine) fn begin(engine: &'a Engine, room: RoomId) -> Result<Self, PostError> {
        let (begun, here) = (Instant::now(), engine.held_events(&room)?);
        Ok(Quiet { engine, room, begun, before: here, here, grew: begun })
    }

    /// Whether verified events came since the last look. What waits for others does not count: anybody can sign such without end.
    pub(in crate::engine) fn look(&mut self) -> Result<bool, PostError> {
        let here = self.engine.held_events(&self.room)?;
        let came = here > self.here;
        if came {
            (self.here, self.grew) = (here, Instant::now());
        }
        Ok(came)
    }

    /// How long nothing has come.
    pub(in crate::engine) fn lasts(&self) -> Duration {
        self.grew.elapsed()
    }

    /// How long ago the server was asked.
    pub(super) fn asked_for(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether anything has come.
    pub(super) fn brought(&self) -> bool {
        self.here > self.before
    }

    /// What is to be said of the server.
    pub(in crate::engine) fn reason(&self) -> Reason {
        Reason::Silent { waited: self.lasts(), brought: self.brought() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_have_their_turn_in_a_short_join_too() {
        let of = |seconds| one_holder(Duration::from_secs(seconds));
        assert_eq!((of(600), of(30)), (ONE_HOLDER, ONE_HOLDER));
        assert_eq!((of(6), of(0)), (Duration::from_secs(2), SHORTEST));
    }
}
