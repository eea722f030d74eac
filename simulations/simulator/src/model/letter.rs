//! Messages between two servers.

use std::sync::Arc;

use super::questions::{Answer, Ask};

/// Bytes of a message that are not its content: topic, framing, encryption, packets.
pub(super) const FRAME: u32 = 150;

/// The places of kinds of traffic in [`crate::record::TRAFFIC`].
pub(super) mod traffic {
    /// Events by gossip.
    pub(in crate::model) const PAYLOAD: usize = 0;
    /// Gossip about gossip.
    pub(in crate::model) const CONTROL: usize = 1;
    /// Comparisons, pulls and repairs.
    pub(in crate::model) const SYNC: usize = 2;
    /// Looking for servers.
    pub(in crate::model) const DISCOVERY: usize = 3;
    /// Making connections.
    pub(in crate::model) const CONNECTIONS: usize = 4;
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// The seat that sent it; of what is about no single room, any seat of the server.
    pub(super) from: u32,
    /// The seat that it goes to, likewise.
    pub(super) to: u32,
    /// The receiver's life: whoever starts again is not at the other end of an old connection.
    pub(super) life: u32,
    /// Its size on the line.
    pub(super) bytes: u32,
    /// Whether it has waited for its turn on the receiver's line.
    pub(super) whole: bool,
    /// What it says.
    pub(super) what: What,
}

/// What a message says. Events go by their number in the room's archive.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A copy of an event by gossip.
    Event(u32),
    /// Bytes that are no event.
    Junk,
    /// Take me into your mesh.
    Graft,
    /// You are not in my mesh.
    Prune,
    /// I have these.
    Have(Arc<Vec<u32>>),
    /// Send me these.
    Want(Arc<Vec<u32>>),
    /// A question of catching up.
    Ask(Box<Ask>),
    /// The answer to one.
    Answer(Box<Answer>),
}
