//! AutoNAT v2, the answering side: dials addresses of other nodes that want to know whether they can be reached.
//!
//! libp2p's server dials whatever it is asked to dial. Around it stands what keeps it from being used to look into the network
//! where this node stands: only addresses with a number and a port that reach at least as far as the asker's own connection
//! are dialled, or the asker's own place at a relay with such an address. They are a bounded number at a time, and the connections
//! made for it are closed again, also where libp2p's server has given up on them. That one listens only to those who dialled it;
//! this one listens on connections that it opened as well, so that a server that everybody dials and that dials nobody learns
//! something too.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::autonat::v2::server;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::identity::PeerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, FromSwarm};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, DialError, NetworkBehaviour, THandler, THandlerInEvent, ToSwarm,
};

use tokio::time::Instant;

use crate::network::address::{Scope, relay_of, scope};
use crate::network::pass_on::pass_on;

/// Dials for others at a time, and for one of them. Each holds a socket for some seconds.
const DIALS: usize = 16;
const DIALS_FOR_ONE: usize = 2;
/// How long a dial that is not made is kept from libp2p's server: longer than whoever asked for it waits. Told at once, it would
/// answer that the address was dialled in vain, which counts as evidence.
const SILENCE: Duration = Duration::from_secs(12);
/// How long a connection that came of such a dial may last: longer than libp2p's server waits for what it was made for, of whose
/// giving up nobody is told.
const LASTS: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Default)]
pub(super) struct DialBack {
    inner: server::Behaviour,
    /// Where direct connections of peers come from.
    stands: BTreeMap<PeerId, BTreeMap<ConnectionId, Scope>>,
    /// Dials that a peer asked for, until they succeed or fail.
    dialling: BTreeMap<ConnectionId, PeerId>,
    /// Connections that came of them.
    open: BTreeMap<ConnectionId, (PeerId, Instant)>,
    done: VecDeque<(PeerId, ConnectionId)>,
    /// Dials that were not made, and since when.
    unmade: VecDeque<(ConnectionId, Instant)>,
}

impl DialBack {
    fn may_dial(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        let farthest = self.stands.get(peer).and_then(|connections| connections.values().max());
        let far_enough = farthest.is_some_and(|farthest| scope(address) >= *farthest);
        far_enough && (is_plain(address) || is_at_relay(peer, address))
    }

    /// Closes what a dial came to and that nobody uses any more.
    fn close_old(&mut self, now: Instant) {
        let old = self.open.extract_if(.., |_, (_, since)| now.duration_since(*since) >= LASTS);
        self.done.extend(old.map(|(connection, (peer, _))| (peer, connection)));
    }
}

/// Whether an address is a number and a port: names would be looked up here, and a relay would be made to work.
fn is_plain(address: &Multiaddr) -> bool {
    let mut parts = address.iter().filter(|part| !matches!(part, Protocol::P2p(_)));
    let number = matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Tcp(_)), None, None) => number,
        (Some(Protocol::Udp(_)), Some(Protocol::QuicV1), None) => number,
        _ => false,
    }
}

/// Whether an address leads to the peer through one relay, whose own address is a number and a port, and to nobody else.
fn is_at_relay(peer: &PeerId, address: &Multiaddr) -> bool {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let Some(at) = parts.iter().position(|part| *part == Protocol::P2pCircuit) else { return false };
    let way: Multiaddr = parts[..at].iter().cloned().collect();
    let to_peer = parts[at + 1..].iter().all(|part| *part == Protocol::P2p(*peer));
    to_peer && is_plain(&way) && relay_of(address).is_some_and(|relay| relay != *peer)
}

impl NetworkBehaviour for DialBack {
    type ConnectionHandler = THandler<server::Behaviour>;
    type ToSwarm = server::Event;

    pass_on!(inner: inbound, events);

    fn handle_pending_outbound_connection(
        &mut self,
        connection_id: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let Some(peer) = self.dialling.get(&connection_id) else { return Ok(Vec::new()) };
        let of_one = self.dialling.values().filter(|asking| *asking == peer).count();
        let refused = if self.dialling.len() > DIALS || of_one > DIALS_FOR_ONE {
            "too many others want to know whether they can be reached"
        } else if addresses.iter().any(|address| !self.may_dial(peer, address)) {
            "the address does not reach as far as who asks for it to be dialled"
        } else {
            return Ok(Vec::new());
        };
        self.unmade.push_back((connection_id, Instant::now()));
        Err(ConnectionDenied::new(refused))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection_id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.dialling.remove(&connection_id).is_some() {
            self.open.insert(connection_id, (peer, Instant::now()));
            return self.inner.handle_established_outbound_connection(
                connection_id,
                peer,
                addr,
                role_override,
                port_use,
            );
        }
        let mut remote = addr.clone();
        if matches!(remote.iter().last(), Some(Protocol::P2p(_))) {
            remote.pop();
        }
        self.inner.handle_established_inbound_connection(connection_id, peer, addr, &remote)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. })
                if !endpoint.is_relayed() =>
            {
                let stands = scope(endpoint.get_remote_address());
                self.stands.entry(*peer_id).or_default().insert(*connection_id, stands);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.open.remove(connection_id);
                if let Some(connections) = self.stands.get_mut(peer_id) {
                    connections.remove(connection_id);
                    if connections.is_empty() {
                        self.stands.remove(peer_id);
                    }
                }
            }
            FromSwarm::DialFailure(DialFailure { connection_id, error, .. }) => {
                let asked_for = self.dialling.remove(connection_id).is_some();
                self.open.remove(connection_id);
                // Another bound of this node kept it from dialling: that says nothing about the address either.
                let denied = matches!(error, DialError::Denied { .. });
                if asked_for && denied && self.unmade.iter().all(|(unmade, _)| unmade != connection_id) {
                    self.unmade.push_back((*connection_id, Instant::now()));
                }
                if self.unmade.iter().any(|(unmade, _)| unmade == connection_id) {
                    return;
                }
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<server::Event, THandlerInEvent<Self>>> {
        self.close_old(Instant::now());
        if let Some((peer_id, connection)) = self.done.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) });
        }
        while let Some((connection_id, _)) = self.unmade.pop_front_if(|(_, since)| since.elapsed() >= SILENCE) {
            let failure = DialFailure { peer_id: None, error: &DialError::Aborted, connection_id };
            self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
        }
        let action = self.inner.poll(context);
        match &action {
            Poll::Ready(ToSwarm::Dial { opts }) => {
                if let Some(peer) = opts.get_peer_id() {
                    self.dialling.insert(opts.connection_id(), peer);
                }
            }
            Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                let made = self.open.extract_if(.., |_, (peer, _)| *peer == event.client);
                self.done.extend(made.map(|(connection, (peer, _))| (peer, connection)));
            }
            _ => {}
        }
        action
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What dials for a peer with one connection, which comes from so far.
    fn standing(peer: PeerId, from: Scope) -> DialBack {
        let connections = BTreeMap::from([(ConnectionId::new_unchecked(1), from)]);
        DialBack { stands: BTreeMap::from([(peer, connections)]), ..DialBack::default() }
    }

    #[test]
    fn nobody_is_dialled_nearer_than_where_the_asker_stands() {
        let peer = PeerId::random();
        let may = |dial_back: &DialBack, address: &str| dial_back.may_dial(&peer, &address.parse().unwrap());
        assert!(!may(&DialBack::default(), "/ip4/198.51.100.1/tcp/1"), "who is not connected asks for nothing");
        let dial_back = standing(peer, Scope::Global);
        for good in [
            "/ip4/198.51.100.1/tcp/1",
            "/ip6/2001:db8::1/udp/1/quic-v1",
            &format!("/ip4/198.51.100.1/tcp/1/p2p/{peer}"),
        ] {
            assert!(may(&dial_back, good), "{good}");
        }
        let relayed = format!("/ip4/198.51.100.1/tcp/1/p2p/{peer}/p2p-circuit");
        for bad in [
            "/ip4/192.168.1.1/tcp/22",
            "/ip4/127.0.0.1/tcp/4849",
            "/ip6/::1/tcp/1",
            "/ip6/::ffff:127.0.0.1/udp/1/quic-v1",
            "/ip6/::ffff:192.168.1.1/tcp/22",
            "/ip4/224.0.0.251/udp/5353/quic-v1",
            "/dns4/router.lan/tcp/80",
            &relayed,
        ] {
            assert!(!may(&dial_back, bad), "{bad}");
        }
        let neighbour = standing(peer, Scope::Loopback);
        assert!(may(&neighbour, "/ip4/127.0.0.1/tcp/1"), "neighbours on one machine may ask for it");
    }

    #[test]
    fn a_place_at_a_relay_is_dialled_only_for_who_has_it_and_through_one_plain_relay() {
        let [peer, relay, other] = [PeerId::random(), PeerId::random(), PeerId::random()];
        let dial_back = standing(peer, Scope::Global);
        let may = |address: String| dial_back.may_dial(&peer, &address.parse().unwrap());
        let at = |relay: PeerId| format!("/ip4/198.51.100.1/udp/1/quic-v1/p2p/{relay}/p2p-circuit");
        assert!(may(at(relay)) && may(format!("{}/p2p/{peer}", at(relay))));
        assert!(!may(at(peer)), "who asks is no relay");
        assert!(!may(format!("{}/p2p/{other}", at(relay))), "nobody else is dialled");
        assert!(!may(format!("{}/p2p/{peer}/p2p-circuit/p2p/{peer}", at(relay))), "nor relays in a row");
        assert!(!may("/ip4/198.51.100.1/tcp/1/p2p-circuit".to_owned()), "nor one that is not named");
        assert!(!may(format!("/dns4/relay.example/tcp/1/p2p/{relay}/p2p-circuit")), "nor names looked up");
        assert!(!may(format!("/ip4/192.168.1.1/tcp/1/p2p/{relay}/p2p-circuit")), "nor what is nearer than who asks");
    }

    #[test]
    fn a_connection_whose_dial_back_came_to_nothing_is_closed() {
        let peer = PeerId::random();
        let connection = ConnectionId::new_unchecked(7);
        let mut dial_back = DialBack::default();
        dial_back.open.insert(connection, (peer, Instant::now()));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(dial_back.poll(&mut context).is_pending(), "it has just been made");
        dial_back.close_old(Instant::now() + LASTS);
        let closed = dial_back.poll(&mut context);
        assert!(
            matches!(
                closed,
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(one) })
                    if peer_id == peer && one == connection
            ),
            "it is closed"
        );
        assert!(dial_back.open.is_empty());
    }
}
