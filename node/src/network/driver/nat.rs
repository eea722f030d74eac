//! Whether others reach this node: gathers the evidence, asks servers to dial, and does what follows from the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::identity::PeerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{FromSwarm, NewListenAddr};
use libp2p::swarm::{ConnectionId, NetworkBehaviour};
use libp2p::{Multiaddr, dcutr, kad, upnp};
use tokio::time::Instant;

use super::Driver;
use super::change::Change;
use super::observed::{as_seen, block, candidates, reaches};
use super::punch::Punches;
use super::reach::{Reach, Server, Source, Verdict};
use super::relays::Relays;
use super::sightings::Sightings;
use crate::clock::Entropy;
use crate::network::address::{Scope, is_relayed, relay_of, scope};
use crate::network::misled::Misled;
use crate::network::peers::{Connection, Path};
use crate::network::prober::Answer;
use crate::network::{DhtMode, NetworkConfig};

/// How often what is told in the DHT may follow changed addresses. Each room costs a look-up.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(60);
/// How often open connections count again as proof that somebody came.
const COUNT_GUESTS: Duration = Duration::from_secs(60);
/// How often a router that says that it forwards a port, and does not, is asked again. One that was started anew has forgotten.
const MAP_AGAIN: Duration = Duration::from_secs(10 * 60);
/// The most addresses through one relay that others are told. A relay names them itself.
const THROUGH_RELAY: usize = 4;
/// The most addresses of a peer that are dialled at once.
const DIALLED: usize = 16;
/// How long after a relayed connection a direct one is likely to come of a punched hole.
const PUNCHING: Duration = Duration::from_secs(60);

/// What the driver knows and does about NAT. Does nothing at all unless it is on.
pub(in crate::network) struct Nat {
    pub(super) on: bool,
    pub(super) reach: Reach,
    pub(super) verdict: Verdict,
    /// Since when the verdict is what it is.
    pub(super) since: Instant,
    pub(super) relays: Relays,
    pub(super) punches: Punches,
    pub(super) sightings: Sightings,
    pub(super) misled: Misled,
    pub(super) change: Change,
    /// Servers that hold a place at this relay.
    pub(super) clients: BTreeSet<PeerId>,
    /// Connections through this relay, now and since the start.
    pub(super) circuits: usize,
    pub(super) circuits_total: u64,
    /// Whether this node relays now.
    pub(super) serves: bool,
    /// Addresses that the router forwards, and the word for how that fares.
    pub(super) mapped: BTreeSet<Multiaddr>,
    pub(super) upnp: &'static str,
    upnp_started: Instant,
    /// Addresses that are listened on, with their listeners, for UPnP to be told again.
    listeners: BTreeMap<Multiaddr, ListenerId>,
    /// Whether addresses changed since peers were told, and since the DHT was.
    untold: bool,
    unannounced: bool,
    announced: Instant,
    guests_counted: Instant,
    /// When relays were last looked for in the DHT, and how often the pause until the next time was doubled.
    pub(super) walked: Option<(Instant, u32)>,
}

impl Nat {
    /// `misled` is what the transport does not dial.
    pub(super) fn new(config: &NetworkConfig, misled: Misled, now: Instant, wall_ms: u64) -> Self {
        Nat {
            on: config.nat,
            reach: Reach::default(),
            verdict: Verdict::Unknown,
            since: now,
            relays: Relays::default(),
            punches: Punches::default(),
            sightings: Sightings::default(),
            misled,
            change: Change::new(now, wall_ms),
            clients: BTreeSet::new(),
            circuits: 0,
            circuits_total: 0,
            serves: false,
            mapped: BTreeSet::new(),
            upnp: if config.nat && config.upnp { "searching" } else { "off" },
            upnp_started: now,
            listeners: BTreeMap::new(),
            untold: false,
            unannounced: false,
            announced: now,
            guests_counted: now,
            walked: None,
        }
    }
}

impl Driver {
    /// What is due about NAT.
    pub(super) fn tend_nat(&mut self, now: Instant) {
        if !self.nat.on {
            return;
        }
        self.notice_sleep(now);
        if self.nat.change.is_due(now) {
            self.on_change(now);
        }
        self.weigh(now);
        self.tend_relays(now);
        self.punch_again(now);
        self.find_again(now);
        self.tell_addresses(now);
    }

    /// Brings the evidence up to date, has servers test, and draws the conclusions.
    fn weigh(&mut self, now: Instant) {
        let listening = self.swarm.listeners().filter(|address| !is_relayed(address));
        let mut own: BTreeSet<(Source, Multiaddr)> =
            listening.map(|address| (Source::Listening, address.clone())).collect();
        own.extend(self.config.external.iter().map(|address| (Source::Configured, address.clone())));
        own.extend(self.nat.mapped.iter().map(|address| (Source::Mapped, address.clone())));
        self.nat.reach.own(&own, now);
        let farthest = self.peers.iter().flat_map(|(_, peer)| peer.direct()).map(stands).max();
        self.nat.reach.stands(farthest, now);
        if now.duration_since(self.nat.guests_counted) >= COUNT_GUESTS {
            self.nat.guests_counted = now;
            self.count_guests(now);
        }
        let servers = self.servers();
        let entropy = Arc::clone(&self.entropy);
        for (server, address) in self.nat.reach.due(&servers, &mut || random(&*entropy), now) {
            if !self.ask_to_dial(server, &address) {
                self.nat.reach.not_asked(&address);
            }
        }
        self.test_relays(&servers, now);
        self.conclude(now);
    }

    /// Asks a server to dial an address. False if it cannot be asked now.
    pub(super) fn ask_to_dial(&mut self, server: PeerId, address: &Multiaddr) -> bool {
        let number = random(&*self.entropy);
        let prober = self.swarm.behaviour_mut().prober.as_mut();
        prober.is_some_and(|prober| prober.ask(server, address.clone(), number))
    }

    /// Connected servers that can be asked to dial.
    fn servers(&self) -> Vec<Server> {
        let Some(prober) = self.swarm.behaviour().prober.as_ref() else { return Vec::new() };
        let server = |peer: &PeerId| {
            let farthest = self.peers.get(peer)?.direct().max_by_key(|open| stands(open))?;
            Some(Server { peer: *peer, address: farthest.address.clone(), stands: stands(farthest) })
        };
        prober.servers().filter_map(server).collect()
    }

    /// A connection that somebody opened long ago proves for as long as it lasts that they could.
    fn count_guests(&mut self, now: Instant) {
        let reach = &mut self.nat.reach;
        for (peer, known) in self.peers.iter() {
            let came = known.direct().filter(|open| !open.outbound && open.path == Path::Direct);
            if let Some(from) = came.map(stands).max() {
                reach.came(*peer, from, now);
            }
        }
    }

    fn conclude(&mut self, now: Instant) {
        let verdict = self.nat.reach.verdict(now);
        if verdict != self.nat.verdict {
            self.nat.verdict = verdict;
            self.nat.since = now;
            tracing::info!(reachability = verdict.word(), "whether others reach this node has changed");
        }
        self.decide_dht();
        self.decide_serving();
        let in_vain = self.nat.mapped.iter().any(|address| self.nat.reach.is_refuted(address));
        if in_vain && now.duration_since(self.nat.upnp_started) >= MAP_AGAIN {
            tracing::info!("what the router said to forward does not arrive: asking it again");
            self.restart_upnp(now);
        }
        self.advertise();
    }

    /// Serves the DHT as long as nothing says that others do not reach this node. See decision 8.
    pub(super) fn decide_dht(&mut self) {
        if self.config.dht != DhtMode::Auto {
            return;
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        let serve = match self.nat.verdict {
            Verdict::Public => true,
            Verdict::Private => false,
            Verdict::Unknown => kad.mode() == kad::Mode::Server || self.nat.reach.was_reached(),
        };
        let mode = if serve { kad::Mode::Server } else { kad::Mode::Client };
        if kad.mode() != mode {
            kad.set_mode(Some(mode));
        }
    }

    /// Somebody opened a direct connection by themselves.
    pub(super) fn on_guest(&mut self, peer: PeerId, remote: &Multiaddr, now: Instant) {
        self.nat.reach.came(peer, scope(remote), now);
        self.decide_dht();
    }

    /// Whether a direct connection that came in is one of a punched hole.
    pub(super) fn comes_of_punching(&self, peer: &PeerId, now: Instant) -> bool {
        let recent = |open: &Connection| open.is_relayed() && now.duration_since(open.since) < PUNCHING;
        self.nat.on && self.peers.get(peer).is_some_and(|known| known.connections.values().any(recent))
    }

    /// A peer says where it sees this node.
    pub(super) fn on_observed(&mut self, peer: PeerId, connection: ConnectionId, observed: &Multiaddr, now: Instant) {
        let listening: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let Some(open) = known.connections.get_mut(&connection).filter(|open| !open.is_relayed()) else { return };
        open.seen = Some(scope(observed));
        let (from, stands) = (block(&open.address), stands(open));
        let outbound = open.outbound;
        let named = candidates(observed, &listening);
        for address in named.iter().filter(|address| scope(address) >= stands) {
            self.nat.reach.named(address, peer, from, now);
        }
        // A NAT that does not keep ports but gives every destination the same one can be punched at the port that was seen.
        let seen = as_seen(observed).filter(|seen| outbound && !named.contains(seen));
        let sighted: Vec<Multiaddr> =
            named.into_iter().chain(seen).filter(|address| scope(address) >= stands).collect();
        self.nat.sightings.see(&sighted, peer, from, now);
        if let Some(punching) = self.swarm.behaviour_mut().punching.as_mut() {
            for address in self.nat.sightings.agreed() {
                punching.offer(&address);
            }
        }
    }

    pub(super) fn on_answer(&mut self, answer: &Answer) {
        let Answer { server, address, outcome } = answer;
        tracing::debug!(%server, %address, ?outcome, "a server was asked to dial this node");
        if is_relayed(address) {
            return self.on_relay_tested(*server, address);
        }
        self.nat.reach.tested(address, *server, *outcome, Instant::now());
    }

    pub(super) fn on_upnp(&mut self, event: upnp::Event) {
        match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => {
                tracing::info!(address = %external_addr, "the router forwards a port to this node");
                self.nat.mapped.insert(external_addr);
                self.nat.upnp = "mapped";
            }
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => {
                tracing::info!(address = %external_addr, "the router no longer forwards a port to this node");
                self.nat.mapped.remove(&external_addr);
                if self.nat.mapped.is_empty() {
                    self.nat.upnp = "no_mapping";
                }
            }
            upnp::Event::GatewayNotFound => self.nat.upnp = "no_gateway",
            upnp::Event::NonRoutableGateway => self.nat.upnp = "no_public_address",
        }
    }

    /// An address is listened on, or no longer.
    pub(super) fn note_listening(&mut self, address: &Multiaddr, listener: Option<ListenerId>) {
        match listener {
            Some(listener) => drop(self.nat.listeners.insert(address.clone(), listener)),
            None => drop(self.nat.listeners.remove(address)),
        }
    }

    /// Looks for a router that forwards ports anew: the one that was found, or was not, may be another one now.
    pub(super) fn restart_upnp(&mut self, now: Instant) {
        if self.nat.upnp == "off" {
            return;
        }
        // It has no part in any connection, so that it can be replaced.
        self.swarm.behaviour_mut().upnp = Some(upnp::tokio::Behaviour::default()).into();
        self.nat.mapped.clear();
        self.nat.upnp = "searching";
        self.nat.upnp_started = now;
        for (address, listener) in self.nat.listeners.clone() {
            let listening = FromSwarm::NewListenAddr(NewListenAddr { listener_id: listener, addr: &address });
            self.swarm.behaviour_mut().upnp.on_swarm_event(listening);
        }
    }

    /// What others are told beside what is listened on, and what of that they are not: see `advertise`.
    pub(super) fn adjust(&self, told: Vec<Multiaddr>) -> BTreeSet<Multiaddr> {
        let reach = &self.nat.reach;
        let configured = self.config.external.iter().cloned();
        let mut all: BTreeSet<Multiaddr> = told.into_iter().chain(configured).collect();
        all.retain(|address| !reach.is_refuted(address));
        all.extend(reach.proven(Instant::now()));
        for (relay, held) in self.nat.relays.holding() {
            let near =
                |address: &&Multiaddr| relay_of(address) == Some(*relay) && scope(address) >= scope(&held.address);
            let mut through: Vec<Multiaddr> = self.swarm.listeners().filter(near).cloned().collect();
            through.sort_unstable();
            through.truncate(THROUGH_RELAY);
            all.extend(through);
        }
        far_enough(all, reach.farthest())
    }

    /// Addresses have changed: peers are told at the next tick, the DHT within a minute.
    pub(super) fn addresses_changed(&mut self) {
        self.nat.untold = true;
        self.nat.unannounced = true;
    }

    fn tell_addresses(&mut self, now: Instant) {
        if std::mem::take(&mut self.nat.untold) {
            let connected = self.peers.iter().filter(|(_, peer)| !peer.connections.is_empty());
            let connected: Vec<PeerId> = connected.map(|(id, _)| *id).collect();
            self.swarm.behaviour_mut().identify.push(connected);
        }
        if self.nat.unannounced && now.duration_since(self.nat.announced) >= ANNOUNCE_AGAIN {
            self.nat.unannounced = false;
            self.nat.announced = now;
            for room in self.topics.values().chain(self.kept.keys()) {
                if !self.to_provide.contains(room) {
                    self.to_provide.push_back(*room);
                }
            }
        }
    }

    pub(super) fn on_dcutr(&mut self, event: &dcutr::Event) {
        let dcutr::Event { remote_peer_id: peer, result } = event;
        self.nat.punches.ended(result.is_ok());
        match result {
            Ok(connection) => {
                tracing::info!(%peer, "punched a hole: the connection is direct now");
                if let Some(open) = self.peers.get_mut(peer).and_then(|known| known.connections.get_mut(connection)) {
                    open.path = Path::Punched;
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "no hole could be punched; the relayed connection goes on"),
        }
    }

    /// Tries again to punch holes to peers that this node reached through a relay, or to reach them directly by now.
    fn punch_again(&mut self, now: Instant) {
        let relayed: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.ready() && peer.direct().next().is_none())
            .filter(|(_, peer)| peer.connections.values().any(|open| open.outbound))
            .map(|(id, _)| *id)
            .collect();
        for peer in self.nat.punches.due(&relayed, now) {
            tracing::debug!(%peer, "trying again for a direct connection");
            self.dial_beside(peer);
        }
    }

    /// Addresses of a peer to dial at once, direct ones first.
    pub(super) fn dialled_addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(known) = self.peers.get(peer) else { return Vec::new() };
        let open = known.connections.values().filter(|open| open.outbound).map(|open| &open.address);
        let mut addresses: Vec<Multiaddr> = known.addresses.iter().chain(open).map(without_peer).collect();
        addresses.sort_by_cached_key(|address| (is_relayed(address), address.clone()));
        addresses.dedup();
        // Half of the room is for relays, if there are that many addresses.
        let relays = addresses.iter().filter(|address| is_relayed(address)).count();
        let direct = addresses.len() - relays;
        let surplus = (direct + relays).saturating_sub(DIALLED);
        let dropped = surplus.min(direct.saturating_sub(DIALLED / 2));
        addresses.drain(direct - dropped..direct);
        addresses.truncate(DIALLED);
        addresses
    }
}

/// Leaves out addresses that do not reach where the farthest peer stands, if there are others that do: every local network has
/// the same ones, so that they would lead whoever reads them elsewhere to a neighbour, or to itself. Who is near finds this node by
/// mDNS, which goes its own way.
fn far_enough(mut addresses: BTreeSet<Multiaddr>, farthest: Option<Scope>) -> BTreeSet<Multiaddr> {
    let reaches = |address: &Multiaddr| farthest.is_none_or(|farthest| scope(address) >= farthest);
    if addresses.iter().any(reaches) {
        addresses.retain(reaches);
    }
    addresses
}

pub(super) fn random(entropy: &dyn Entropy) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A direct address without the peer at its end, so that the same one is not dialled twice.
fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if !is_relayed(&address) && matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// Where a connection's other end stands.
pub(super) fn stands(open: &Connection) -> Scope {
    reaches(&open.address, open.seen)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(addresses: &[&str], farthest: Option<Scope>) -> Vec<String> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        far_enough(addresses, farthest).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_of_the_local_network_are_told_only_where_there_are_none_that_reach_farther() {
        const LAN: &str = "/ip4/192.168.1.7/tcp/4848";
        const WAN: &str = "/ip4/198.51.100.1/tcp/4848";
        let relayed = format!("/ip4/203.0.113.2/tcp/4848/p2p/{}/p2p-circuit", PeerId::random());
        let everywhere = Some(Scope::Global);
        assert_eq!(kept(&[LAN, WAN], everywhere), [WAN]);
        assert_eq!(kept(&[LAN, &relayed], everywhere), [relayed.as_str()]);
        assert_eq!(kept(&[LAN], everywhere), [LAN], "better than nothing");
        assert_eq!(kept(&[LAN, WAN], Some(Scope::Private)).len(), 2, "where all are near, both are of use");
        assert_eq!(kept(&[LAN, WAN], None).len(), 2);
    }
}
