//! Hole punching: libp2p's DCUtR with addresses that this node has chosen.
//!
//! libp2p offers whatever a single peer says that it sees, so that a liar could have others dial whom it likes. Here only what
//! the driver names is offered. And where a connection through a relay is made for nothing but a test of that relay, no hole is
//! punched beside it.

use std::collections::BTreeSet;

use libp2p::identity::PeerId;
use libp2p::swarm::behaviour::{FromSwarm, NewExternalAddrCandidate};
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::{ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, dummy};
use libp2p::{Multiaddr, dcutr};

use crate::network::address::is_relayed;
use crate::network::pass_on::pass_on;

/// See the module.
pub(super) struct Punching {
    inner: dcutr::Behaviour,
    /// Peers that were asked to test a relay of this node, and have not answered yet.
    testing: BTreeSet<PeerId>,
}

impl Punching {
    pub(super) fn new(own: PeerId) -> Self {
        Punching { inner: dcutr::Behaviour::new(own), testing: BTreeSet::new() }
    }

    /// An address at which others are to try to reach this node. libp2p keeps the last twenty.
    pub(super) fn offer(&mut self, address: &Multiaddr) {
        let candidate = NewExternalAddrCandidate { addr: address };
        self.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
    }

    /// Whether a peer that comes through a relay does so to test it.
    pub(super) fn tests(&mut self, peer: PeerId, tests: bool) {
        if tests {
            self.testing.insert(peer);
        } else {
            self.testing.remove(&peer);
        }
    }
}

impl NetworkBehaviour for Punching {
    type ConnectionHandler = THandler<dcutr::Behaviour>;
    type ToSwarm = dcutr::Event;

    pass_on!(inner: outbound, events, poll);

    fn handle_established_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_relayed(local_addr) && self.testing.contains(&peer) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_inbound_connection(connection_id, peer, local_addr, remote_addr)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // What identify makes of single peers' words.
        if !matches!(event, FromSwarm::NewExternalAddrCandidate(_)) {
            self.inner.on_swarm_event(event);
        }
    }
}
