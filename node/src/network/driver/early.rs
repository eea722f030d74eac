//! Gossip of peers that have not introduced themselves yet.
//!
//! Gossipsub starts with the connection and takes no second copy of a message, so that what came before the introduction and
//! was passed over would be missing until the next comparison. It waits for the introduction instead, within bounds.

use std::collections::VecDeque;

use libp2p::identity::PeerId;
use rocketmesh_protocol::id::RoomId;

use crate::network::handle::GossipToken;

/// The most messages that wait, and the most of one peer: what a busy room says while a connection is set up.
const MESSAGES: usize = 512;
const MESSAGES_OF_PEER: usize = 64;
/// The most bytes that wait.
const BYTES: usize = 4 * 1024 * 1024;

/// A message that waits.
pub(in crate::network) struct Early {
    pub(in crate::network) room: RoomId,
    pub(in crate::network) bytes: Vec<u8>,
    pub(in crate::network) token: GossipToken,
}

/// Messages that wait, the oldest first.
#[derive(Default)]
pub(in crate::network) struct EarlyGossip {
    waiting: VecDeque<(PeerId, Early)>,
    bytes: usize,
}

impl EarlyGossip {
    /// Keeps a message. Gives it back where there is no room for it.
    #[must_use]
    pub(in crate::network) fn keep(&mut self, peer: PeerId, early: Early) -> Option<Early> {
        let of_peer = self.waiting.iter().filter(|(other, _)| *other == peer).count();
        let full = self.waiting.len() >= MESSAGES || self.bytes + early.bytes.len() > BYTES;
        if full || of_peer >= MESSAGES_OF_PEER {
            return Some(early);
        }
        self.bytes += early.bytes.len();
        self.waiting.push_back((peer, early));
        None
    }

    /// Takes out what waits of a peer.
    pub(in crate::network) fn take(&mut self, peer: &PeerId) -> Vec<Early> {
        let (taken, left) = std::mem::take(&mut self.waiting).into_iter().partition(|(other, _)| other == peer);
        self.waiting = left;
        let taken: VecDeque<(PeerId, Early)> = taken;
        let taken: Vec<Early> = taken.into_iter().map(|(_, early)| early).collect();
        self.bytes -= taken.iter().map(|early| early.bytes.len()).sum::<usize>();
        taken
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn early(peer: PeerId, bytes: usize) -> Early {
        let token = GossipToken { id: libp2p::gossipsub::MessageId::from("x"), peer };
        Early { room: RoomId::from_hash([1; 32]), bytes: vec![0; bytes], token }
    }

    #[test]
    fn what_waits_is_bounded_for_each_peer_and_in_all_and_comes_out_whole() {
        let mut gossip = EarlyGossip::default();
        let [one, other] = [PeerId::random(), PeerId::random()];
        for _ in 0..MESSAGES_OF_PEER {
            assert!(gossip.keep(one, early(one, 10)).is_none());
        }
        assert!(gossip.keep(one, early(one, 10)).is_some());
        assert!(gossip.keep(other, early(other, BYTES)).is_some());
        assert!(gossip.keep(other, early(other, 1000)).is_none());
        assert_eq!(gossip.take(&one).len(), MESSAGES_OF_PEER);
        assert!(gossip.take(&one).is_empty());
        assert_eq!((gossip.take(&other).len(), gossip.bytes), (1, 0));
    }
}
