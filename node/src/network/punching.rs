//! Hole punching: libp2p's DCUtR with addresses that this node has chosen.
//!
//! libp2p offers whatever a single peer says that it sees, so that a liar could have others dial whom it likes. Here only what
//! the driver names is offered. And where a connection through a relay is made for nothing but a test of that relay, no hole is
//! punched beside it.

use std::collections::BTreeSet;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::identity::PeerId;
use libp2p::swarm::behaviour::{DialFailure, FromSwarm, NewExternalAddrCandidate};
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::{ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, ToSwarm, dummy};
use libp2p::{Multiaddr, dcutr};

use crate::network::address::is_relayed;
use crate::network::pass_on::pass_on;

/// The most addresses of a peer that are dialled to punch a hole: libp2p offers no more. A message has space for hundreds, which
/// would make this node send packets to as many machines, three times, for whoever comes through a relay.
const OFFERED: usize = 20;

/// See the module.
pub(super) struct Punching {
    inner: dcutr::Behaviour,
    /// Peers that were asked to test a relay of this node, and have not answered yet.
    testing: BTreeSet<PeerId>,
    /// Dials to punch holes that are about to begin.
    dialling: BTreeSet<ConnectionId>,
}

impl Punching {
    pub(super) fn new(own: PeerId) -> Self {
        Punching { inner: dcutr::Behaviour::new(own), testing: BTreeSet::new(), dialling: BTreeSet::new() }
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

    pass_on!(inner: outbound, events);

    fn handle_pending_outbound_connection(
        &mut self,
        connection_id: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.dialling.remove(&connection_id) && addresses.len() > OFFERED {
            return Err(ConnectionDenied::new("more addresses to punch a hole at than any server has"));
        }
        Ok(Vec::new())
    }

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
        if let FromSwarm::DialFailure(DialFailure { connection_id, .. }) = &event {
            self.dialling.remove(connection_id);
        }
        // What identify makes of single peers' words.
        if !matches!(event, FromSwarm::NewExternalAddrCandidate(_)) {
            self.inner.on_swarm_event(event);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<dcutr::Event, THandlerInEvent<Self>>> {
        let action = self.inner.poll(context);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &action {
            self.dialling.insert(opts.connection_id());
        }
        action
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nobody_has_this_node_dial_more_addresses_than_a_server_has() {
        let mut punching = Punching::new(PeerId::random());
        let addresses: Vec<Multiaddr> =
            (0..=OFFERED).map(|port| format!("/ip4/192.0.2.1/tcp/{}", port + 1).parse().unwrap()).collect();
        let mut dialled = |number: usize, addresses: &[Multiaddr], to_punch: bool| {
            let connection = ConnectionId::new_unchecked(number);
            if to_punch {
                punching.dialling.insert(connection);
            }
            punching.handle_pending_outbound_connection(connection, None, addresses, Endpoint::Dialer).is_ok()
        };
        assert!(dialled(1, &addresses[1..], true) && !dialled(2, &addresses, true));
        assert!(dialled(3, &addresses, false), "what else is dialled is bounded elsewhere");
        assert!(punching.dialling.is_empty());
    }
}
