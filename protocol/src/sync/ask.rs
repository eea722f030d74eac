//! A question that is under way.

use std::time::Duration;

use crate::id::RoomId;
use crate::sync::Stretch;

/// What a peer was asked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Stretches(Vec<Stretch>),
    Whole,
}

#[derive(Clone, Debug)]
pub(super) struct Ask<P> {
    pub(super) peer: P,
    pub(super) room: RoomId,
    pub(super) wanted: Wanted,
    pub(super) begun: Duration,
    /// When the peer last brought something of it.
    pub(super) heard: Duration,
    /// Whether others may be asked the same meanwhile.
    pub(super) given_up: bool,
}

impl<P> Ask<P> {
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.wanted, Wanted::Whole)
    }
}
