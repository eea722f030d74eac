//! What a behaviour that stands around another one passes on as it is.

/// Implements methods of [`NetworkBehaviour`](libp2p::swarm::NetworkBehaviour) by those of a field: `inbound` and `outbound` for
/// connections that are established, `events` for what their handlers tell, `poll` for what the field wants done.
macro_rules! pass_on {
    ($field:tt: $($what:ident),+) => {
        $(crate::network::pass_on::pass_on!(@$what $field);)+
    };
    (@inbound $field:tt) => {
        fn handle_established_inbound_connection(
            &mut self,
            connection_id: libp2p::swarm::ConnectionId,
            peer: libp2p::PeerId,
            local_addr: &libp2p::Multiaddr,
            remote_addr: &libp2p::Multiaddr,
        ) -> Result<libp2p::swarm::THandler<Self>, libp2p::swarm::ConnectionDenied> {
            self.$field.handle_established_inbound_connection(connection_id, peer, local_addr, remote_addr)
        }
    };
    (@outbound $field:tt) => {
        fn handle_established_outbound_connection(
            &mut self,
            connection_id: libp2p::swarm::ConnectionId,
            peer: libp2p::PeerId,
            addr: &libp2p::Multiaddr,
            role_override: libp2p::core::Endpoint,
            port_use: libp2p::core::transport::PortUse,
        ) -> Result<libp2p::swarm::THandler<Self>, libp2p::swarm::ConnectionDenied> {
            self.$field.handle_established_outbound_connection(connection_id, peer, addr, role_override, port_use)
        }
    };
    (@events $field:tt) => {
        fn on_connection_handler_event(
            &mut self,
            peer_id: libp2p::PeerId,
            connection_id: libp2p::swarm::ConnectionId,
            event: libp2p::swarm::THandlerOutEvent<Self>,
        ) {
            self.$field.on_connection_handler_event(peer_id, connection_id, event);
        }
    };
    (@poll $field:tt) => {
        fn poll(
            &mut self,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<libp2p::swarm::ToSwarm<Self::ToSwarm, libp2p::swarm::THandlerInEvent<Self>>> {
            self.$field.poll(context)
        }
    };
}

pub(in crate::network) use pass_on;
