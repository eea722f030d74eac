//! The relay's serving side, told of direct connections only.
//!
//! libp2p's relay tells every connection it knows of when it begins or ceases to serve, and the handlers of relayed ones, which
//! serve nobody, take that for a bug and panic. So it is not told of those.

use libp2p::identity::PeerId;
use libp2p::relay;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::{NetworkBehaviour, THandler};

use crate::network::RelayLimits;
use crate::network::pass_on::pass_on;

/// See the module.
pub(super) struct Serving(relay::Behaviour);

impl Serving {
    /// A relay that serves nobody yet.
    pub(super) fn new(own: PeerId, limits: &RelayLimits) -> Self {
        let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        let config = relay::Config {
            max_reservations: count(limits.max_reservations),
            max_circuits: count(limits.max_circuits),
            // The relay compares with "more than", before it counts the new one.
            max_circuits_per_peer: count(limits.max_circuits_per_peer).saturating_sub(1),
            max_circuit_bytes: limits.circuit_bytes,
            max_circuit_duration: limits.circuit_duration,
            ..relay::Config::default()
        };
        let mut relay = relay::Behaviour::new(own, config);
        relay.set_status(Some(relay::Status::Disable));
        Serving(relay)
    }

    /// Begins or ceases to serve. What is relayed goes on until it ends.
    pub(super) fn serve(&mut self, serve: bool) {
        self.0.set_status(Some(if serve { relay::Status::Enable } else { relay::Status::Disable }));
    }
}

impl NetworkBehaviour for Serving {
    type ConnectionHandler = THandler<relay::Behaviour>;
    type ToSwarm = relay::Event;

    pass_on!(0: inbound, outbound, events, poll);

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let relayed = match &event {
            FromSwarm::ConnectionEstablished(established) => established.endpoint.is_relayed(),
            FromSwarm::ConnectionClosed(closed) => closed.endpoint.is_relayed(),
            _ => false,
        };
        if !relayed {
            self.0.on_swarm_event(event);
        }
    }
}
