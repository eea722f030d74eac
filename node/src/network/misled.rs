//! Addresses of local networks at which somebody else was found than who was looked for.
//!
//! Every local network has the same addresses. One that a server far away has in its own leads to a neighbour here, or to this
//! node itself, and the wrong identity ends the whole dial, the addresses that are right included. So what led astray is not
//! dialled again, wherever it may come from: the peer table, the DHT, or a peer's wish to punch a hole.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use libp2p::core::transport::{DialOpts, ListenerId, TransportEvent};
use libp2p::identity::PeerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport, TransportError};

use crate::network::address::{Scope, is_relayed, peer_of, scope};
use crate::network::transport::NodeTransport;

/// The most that is remembered, and of one peer: it names its addresses itself.
const REMEMBERED: usize = 256;
const OF_PEER: usize = 8;

/// What led astray, by who was looked for. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Misled(Arc<Mutex<BTreeSet<(PeerId, Multiaddr)>>>);

impl Misled {
    fn all(&self) -> MutexGuard<'_, BTreeSet<(PeerId, Multiaddr)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer was not at an address. False if nothing follows from it: the address is none of a local network, is known to lead
    /// astray, or there is no room for it.
    pub(super) fn note(&self, peer: PeerId, address: &Multiaddr) -> bool {
        if is_relayed(address) || scope(address) == Scope::Global {
            return false;
        }
        let mut all = self.all();
        let of_peer = all.iter().filter(|(other, _)| *other == peer).count();
        all.len() < REMEMBERED && of_peer < OF_PEER && all.insert((peer, bare(address)))
    }

    /// Whether an address that names its peer leads to somebody else.
    pub(super) fn knows(&self, address: &Multiaddr) -> bool {
        peer_of(address).is_some_and(|peer| self.all().contains(&(peer, bare(address))))
    }

    /// Somebody named the address for the peer at its end: it is dialled again, since another machine may have it by now.
    pub(super) fn forgive(&self, address: &Multiaddr) {
        if let Some(peer) = peer_of(address) {
            self.all().remove(&(peer, bare(address)));
        }
    }

    /// On another network everything leads elsewhere.
    pub(super) fn forget(&self) {
        self.all().clear();
    }

    /// A transport that does not dial what is known to lead astray.
    pub(super) fn guard(&self, transport: NodeTransport) -> NodeTransport {
        Guarded { inner: transport, misled: self.clone() }.boxed()
    }
}

/// An address without the peer at its end.
fn bare(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

struct Guarded {
    inner: NodeTransport,
    misled: Misled,
}

impl Transport for Guarded {
    type Output = <NodeTransport as Transport>::Output;
    type Error = <NodeTransport as Transport>::Error;
    type ListenerUpgrade = <NodeTransport as Transport>::ListenerUpgrade;
    type Dial = <NodeTransport as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, how: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        if self.misled.knows(&address) {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.inner.dial(address, how)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use rocketmesh_protocol::identity::ServerKey;

    use super::*;
    use crate::network::transport::memory;

    #[test]
    fn what_led_to_somebody_else_is_known_for_that_peer_only_until_the_network_changes() {
        let misled = Misled::default();
        let [peer, other] = [PeerId::random(), PeerId::random()];
        let at = |peer: PeerId| format!("/ip4/192.168.1.10/tcp/4848/p2p/{peer}").parse::<Multiaddr>().unwrap();
        assert!(misled.note(peer, &at(peer)));
        assert!(!misled.note(peer, &bare(&at(peer))), "the same once more is nothing new");
        assert!(misled.knows(&at(peer)) && !misled.knows(&at(other)));
        misled.forgive(&at(other));
        assert!(misled.knows(&at(peer)));
        misled.forgive(&at(peer));
        assert!(!misled.knows(&at(peer)) && misled.note(peer, &at(peer)), "it may lead astray once more");
        misled.forget();
        assert!(!misled.knows(&at(peer)));
    }

    #[test]
    fn what_leads_astray_is_not_dialled_and_everything_else_is() {
        let key = ServerKey::from_seed(&[1; 32]);
        let misled = Misled::default();
        let mut guarded = misled.guard(memory(&key).unwrap());
        let [peer, other] = [PeerId::random(), PeerId::random()];
        let mut refused = |peer: PeerId| {
            let address: Multiaddr = format!("/memory/4848/p2p/{peer}").parse().unwrap();
            let how = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
            matches!(guarded.dial(address, how), Err(TransportError::MultiaddrNotSupported(_)))
        };
        assert!(!refused(peer));
        assert!(misled.note(peer, &"/memory/4848".parse().unwrap()));
        assert!(refused(peer) && !refused(other));
        misled.forget();
        assert!(!refused(peer));
    }

    #[test]
    fn addresses_of_the_internet_and_relayed_ones_are_never_given_up() {
        let misled = Misled::default();
        let peer = PeerId::random();
        let relayed = format!("/ip4/192.168.1.1/tcp/1/p2p/{peer}/p2p-circuit/p2p/{peer}");
        for address in ["/ip4/198.51.100.1/tcp/4848", &relayed] {
            assert!(!misled.note(peer, &address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_one_peer_can_have_remembered_is_bounded() {
        let misled = Misled::default();
        let peer = PeerId::random();
        let noted = (0..100).filter(|port| misled.note(peer, &format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()));
        assert_eq!(noted.count(), OF_PEER);
    }
}
