//! Relays from both sides: being reached through others, and letting others be reached through this node.

use std::sync::Arc;
use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::identity::PeerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, relay};
use tokio::time::Instant;

use super::Driver;
use super::nat::{random, stands};
use super::reach::{Server, Verdict};
use super::relays::Offer;
use crate::network::RelayMode;
use crate::network::address::{is_relayed, relay_of, scope};
use crate::network::peers::{FoundBy, Peer};

/// The first pause before more relays are looked for while there are too few. It doubles as often as said: in a mesh with a
/// single relay there is no second one to be found.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
const DOUBLINGS: u32 = 4;
/// Servers that said earlier that they relay and are dialled at a time, while there are too few.
const DIALLED: usize = 4;
/// How long a node must have been reachable before it gives up its places at relays.
const SURE: Duration = Duration::from_secs(5 * 60);

fn offers_to_relay(peer: &Peer) -> bool {
    let name = relay::HOP_PROTOCOL_NAME;
    let hop: &str = name.as_ref();
    peer.ban.is_none() && peer.protocols.iter().any(|protocol| protocol == hop)
}

/// Whether an address begins with a number, so that nobody has to look up a name.
fn is_numbered(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)))
}

impl Driver {
    /// Holds places at relays while others do not reach this node.
    pub(super) fn tend_relays(&mut self, now: Instant) {
        if self.nat.verdict == Verdict::Public {
            if now.duration_since(self.nat.since) >= SURE {
                self.leave_relays();
            }
            return;
        }
        if !self.nat.reach.wants_relays(now) {
            return;
        }
        let offers = self.offers();
        if let Some(useless) = self.nat.relays.give_up(&offers, now) {
            tracing::info!(relay = %useless, "nobody came through this relay who was asked to: taking another one");
            let _ = self.swarm.disconnect_peer_id(useless);
        }
        if !self.nat.relays.lacks(now) {
            return;
        }
        for offer in self.nat.relays.choose(&offers, now) {
            let through = offer.address.clone().with(Protocol::P2pCircuit);
            match self.swarm.listen_on(through) {
                Ok(listener) => {
                    tracing::debug!(relay = %offer.peer, address = %offer.address, "asking a relay for a place");
                    self.nat.relays.asked(&offer, listener, now);
                }
                Err(error) => {
                    tracing::debug!(relay = %offer.peer, %error, "a relay cannot be asked");
                    self.nat.relays.refused(offer.peer, now);
                }
            }
        }
        if self.nat.relays.lacks(now) {
            self.look_for_relays(now);
        }
    }

    /// Asks one of these servers to come to this node through a relay that holds a place for it, if one has to be tested.
    pub(super) fn test_relays(&mut self, servers: &[Server], now: Instant) {
        let servers: Vec<PeerId> = servers.iter().map(|server| server.peer).collect();
        let entropy = Arc::clone(&self.entropy);
        let test = self.nat.relays.test(&servers, &mut || random(&*entropy), now);
        let Some((relay, server)) = test else { return };
        let held = self.nat.relays.holding().find(|(held, _)| **held == relay);
        let Some(address) = held.map(|(_, held)| held.address.clone()) else { return };
        // A relay that was dialled by its name has told its numbers since.
        let numbered =
            self.swarm.listeners().filter(|address| relay_of(address) == Some(relay) && is_numbered(address));
        let farthest = numbered.max_by_key(|address| scope(address)).cloned();
        let address = farthest.unwrap_or_else(|| address.with(Protocol::P2pCircuit));
        if self.ask_to_dial(server, &address)
            && let Some(punching) = self.swarm.behaviour_mut().punching.as_mut()
        {
            punching.tests(server, true);
        }
    }

    /// A server has come through a relay as it was asked to, or could not.
    pub(super) fn on_relay_tested(&mut self, server: PeerId, address: &Multiaddr) {
        if let Some(punching) = self.swarm.behaviour_mut().punching.as_mut() {
            punching.tests(server, false);
        }
        if let Some(relay) = relay_of(address) {
            self.nat.relays.tested(&relay, server);
        }
    }

    /// Connected servers that offer to relay. What they said of themselves has come by now, and with it at which address they
    /// see this node, without which no hole can be punched later.
    fn offers(&self) -> Vec<Offer> {
        let offer = |(id, peer): (&PeerId, &Peer)| {
            // One that does not answer is asked once it is connected anew.
            let open = peer.direct().filter(|open| !open.is_silent());
            let open = open.min_by_key(|open| (!open.outbound, open.since))?;
            // Whoever dialled this node did so from a port of no meaning; where to dial them they say.
            let said = || {
                let usable = |address: &&Multiaddr| !is_relayed(address) && scope(address) >= stands(open);
                peer.addresses.iter().find(usable)
            };
            let address = if open.outbound { &open.address } else { said()? };
            let configured = peer.found_by.contains(&FoundBy::Bootstrap) || peer.found_by.contains(&FoundBy::Command);
            let address = address.clone().with_p2p(*id).ok()?;
            offers_to_relay(peer).then_some(Offer { peer: *id, address, configured, since: open.since })
        };
        self.peers.iter().filter_map(offer).collect()
    }

    /// Dials servers that were seen to relay, and asks the DHT for a place in it at random, to meet others.
    fn look_for_relays(&mut self, now: Instant) {
        let (last, walks) = self.nat.walked.unwrap_or((now, 0));
        if self.nat.walked.is_some() && now.duration_since(last) < LOOK_AGAIN * 2_u32.pow(walks) {
            return;
        }
        let doubled = if self.nat.walked.is_some() { walks + 1 } else { 0 };
        self.nat.walked = Some((now, doubled.min(DOUBLINGS)));
        let away = self.peers.iter().filter(|(_, peer)| peer.connections.is_empty() && offers_to_relay(peer));
        let away: Vec<PeerId> = away.map(|(id, _)| *id).take(DIALLED).collect();
        for peer in away {
            self.dial_known(peer);
        }
        if self.dht_joined {
            self.swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
        }
    }

    /// Gives up places at relays. libp2p does not bear its listeners to be closed while a renewal is under way, so that the
    /// connections go instead; those that are wanted come back by themselves.
    fn leave_relays(&mut self) {
        let holding: Vec<PeerId> = self.nat.relays.holding().map(|(relay, _)| *relay).collect();
        for relay in holding {
            tracing::info!(%relay, "others reach this node directly; giving up the place at a relay");
            let _ = self.swarm.disconnect_peer_id(relay);
        }
    }

    pub(super) fn on_relay(&mut self, event: &relay::client::Event) {
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id: relay, .. } = event
            && self.nat.relays.accepted(relay, Instant::now())
        {
            tracing::info!(%relay, "a relay holds a place for this node");
            self.advertise();
            self.addresses_changed();
        }
    }

    /// A listener closed. True if it was one through a relay.
    pub(super) fn on_listener_closed(&mut self, listener: ListenerId, reason: Option<&std::io::Error>) -> bool {
        let Some((relay, was_held)) = self.nat.relays.closed(listener, Instant::now()) else { return false };
        if was_held {
            tracing::info!(%relay, ?reason, "a place at a relay is gone");
        } else {
            tracing::debug!(%relay, ?reason, "a relay has no place for this node");
        }
        // Another one is asked at the next tick, and the DHT for more if nobody is there to be asked.
        self.nat.walked = None;
        self.advertise();
        self.addresses_changed();
        true
    }

    /// Relays for others if that is wanted and others reach this node.
    pub(super) fn decide_serving(&mut self) {
        let serves = match self.config.relay.serve {
            RelayMode::Auto => self.nat.verdict == Verdict::Public,
            RelayMode::On => true,
            RelayMode::Off => false,
        };
        if serves == self.nat.serves {
            return;
        }
        if let Some(serving) = self.swarm.behaviour_mut().serving.as_mut() {
            serving.serve(serves);
            self.nat.serves = serves;
            tracing::info!(serves, "whether this node relays for others has changed");
        }
    }

    pub(super) fn on_serving(&mut self, event: &relay::Event) {
        match event {
            relay::Event::ReservationReqAccepted { src_peer_id: client, .. } => {
                // Of one that was still connected through another relay when its place ended nothing more is told.
                let swarm = &self.swarm;
                self.nat.clients.retain(|client| swarm.is_connected(client));
                self.nat.clients.insert(*client);
            }
            relay::Event::ReservationTimedOut { src_peer_id: client } => {
                self.nat.clients.remove(client);
            }
            // Told of every connection that ends, of which there may be others.
            relay::Event::ReservationClosed { src_peer_id: client } if !self.swarm.is_connected(client) => {
                self.nat.clients.remove(client);
            }
            relay::Event::CircuitReqAccepted { src_peer_id: from, dst_peer_id: to } => {
                tracing::debug!(%from, %to, "relaying a connection");
                self.nat.circuits += 1;
                self.nat.circuits_total += 1;
            }
            relay::Event::CircuitClosed { src_peer_id: from, dst_peer_id: to, error } => {
                tracing::debug!(%from, %to, ?error, "a relayed connection has ended");
                self.nat.circuits = self.nat.circuits.saturating_sub(1);
            }
            _ => {}
        }
    }
}
