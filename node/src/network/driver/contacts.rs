//! Servers that others tell of: who is connected here, and dialling whom a peer has named.

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use libp2p::swarm::DialError;
use rocketmesh_protocol::limits::{MAX_ADDRESS_BYTES, MAX_ADDRESSES_PER_CONTACT};
use rocketmesh_protocol::wire::Contact;
use tokio::sync::mpsc;

use super::Driver;
use super::nat::stands;
use crate::network::address::{Scope, peer_of, scope};
use crate::network::peers::{FoundBy, Peer};
use crate::network::{origin, peer_id};

impl Driver {
    /// Where peers are, for another one. Those are left out that are not connected or have no address that reaches the one that
    /// asks: whoever is told of a neighbour's address in a local network that it does not stand in would dial a stranger.
    pub(super) fn contacts(&self, asker: &PeerId, peers: Vec<PeerId>) -> Vec<Contact> {
        let reach = self.peers.get(asker).map_or(Scope::Global, farthest);
        let contact = |peer: PeerId| {
            let ready = self.peers.get(&peer).is_some_and(Peer::ready);
            let server = origin(&peer).filter(|_| ready && peer != *asker)?;
            let addresses = self.dialled_addresses(&peer);
            let told = addresses.iter().filter(|address| reaches(address, reach)).map(Multiaddr::to_vec);
            let told: Vec<Vec<u8>> =
                told.filter(|bytes| bytes.len() <= MAX_ADDRESS_BYTES).take(MAX_ADDRESSES_PER_CONTACT).collect();
            Some(Contact { server, addresses: told }).filter(|contact| !contact.addresses.is_empty())
        };
        peers.into_iter().filter_map(contact).collect()
    }

    /// Dials servers that a peer has told of, at addresses that reach at least as far as that peer stands.
    pub(super) fn acquaint(&mut self, by: &PeerId, contacts: Vec<Contact>, found: &mpsc::Sender<PeerId>) {
        let reach = self.peers.get(by).map_or(Scope::Global, farthest);
        for contact in contacts {
            let peer = peer_id(&contact.server);
            let known = self.peers.get(&peer);
            if known.is_some_and(|known| known.ban.is_some() || known.excluded) {
                continue;
            }
            let told: Vec<Multiaddr> = contact
                .addresses
                .into_iter()
                .filter_map(|bytes| Multiaddr::try_from(bytes).ok())
                .filter(|address| peer_of(address).is_none_or(|named| named == peer) && reaches(address, reach))
                .collect();
            if told.is_empty() {
                continue;
            }
            match self.await_peer(peer, FoundBy::Contact, told, found.clone()) {
                // It is being dialled already.
                Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
                Err(error) => {
                    tracing::debug!(%peer, %error, "a server that a peer has told of is not dialled");
                    self.awaited.retain(|(awaited, by)| *awaited != peer || !by.same_channel(found));
                }
            }
        }
    }
}

/// Where a peer stands, seen from here: what reaches it from farther away reaches everybody between.
fn farthest(peer: &Peer) -> Scope {
    peer.connections.values().map(stands).max().unwrap_or(Scope::Global)
}

/// Whether an address reaches so far. One through a relay does what the relay's does.
fn reaches(address: &Multiaddr, reach: Scope) -> bool {
    scope(address) >= reach
}
