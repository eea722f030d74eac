//! Finding peers and keeping connections in order: bootstrap, mDNS, the DHT, duplicates.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::identity::PeerId;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, GetClosestPeersOk, GetProvidersOk, QueryId, QueryResult};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, StreamProtocol, identify, mdns};
use rocketmesh_protocol::wire;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::nat::stands;
use super::{Driver, provider_key};
use crate::network::DhtMode;
use crate::network::address::{Scope, is_relayed, peer_of, relay_of, scope};
use crate::network::dial_failure::dial_failure;
use crate::network::peers::{Connection, FoundBy, Path, Peer};

/// How many rooms are announced in the DHT at the same time. Each costs a lookup; thousands of rooms take turns.
const ANNOUNCEMENTS: usize = 8;

/// The most servers of the local network that are remembered to be dialled again.
const NEARBY: usize = 256;
/// The first pause between two dials of a server of the local network; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a second connection with a peer is left alone.
const DUPLICATE_AGE: Duration = Duration::from_secs(5);
/// The same for a second one through a relay, over which both sides may be punching a hole.
const PUNCHING_AGE: Duration = Duration::from_secs(45);

/// How many servers of a room one search dials. The DHT names those whose ids are nearest to the room's, to everybody the same
/// ones; whoever wants more company searches again.
const SOUGHT: usize = 16;

/// The most addresses of one server that the DHT keeps before those go that it no longer names, and how long each of them may be, in
/// bytes. An answer names ten servers and may have 16 KiB; whoever named more of itself would leave others without any answer in
/// which it stands.
const IN_DHT: usize = 12;
const LONGEST_IN_DHT: usize = 80;

/// A search for servers of a room in the DHT.
pub(in crate::network) struct Search {
    found: mpsc::Sender<PeerId>,
    /// Decides who is dialled, so that not everybody dials the same.
    salt: [u8; 16],
    chosen: BTreeSet<PeerId>,
}

impl Search {
    pub(super) fn new(found: mpsc::Sender<PeerId>, salt: [u8; 16]) -> Self {
        Search { found, salt, chosen: BTreeSet::new() }
    }

    /// Of those that an answer names, the ones to be dialled.
    fn choose(&mut self, named: impl IntoIterator<Item = PeerId>) -> Vec<PeerId> {
        let lot = |peer: &PeerId| *blake3::hash(&[&self.salt[..], &peer.to_bytes()].concat()).as_bytes();
        let mut named: Vec<PeerId> = named.into_iter().filter(|peer| !self.chosen.contains(peer)).collect();
        named.sort_by_cached_key(lot);
        named.truncate(SOUGHT.saturating_sub(self.chosen.len()));
        self.chosen.extend(&named);
        named
    }
}

/// A server that mDNS has found.
pub(in crate::network) struct Nearby {
    address: Multiaddr,
    next: Instant,
    pause: Duration,
}

impl Nearby {
    /// Is dialled at the next tick.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next = now;
        self.pause = FIRST_PAUSE;
    }
}

impl Driver {
    /// Dials an address that people named, whoever may be known there.
    pub(super) fn dial_address(&mut self, address: Multiaddr) -> Result<ConnectionId, String> {
        self.nat.misled.forgive(&address);
        let opts = match peer_of(&address) {
            Some(peer) => DialOpts::peer_id(peer).addresses(vec![address]).condition(PeerCondition::Always).build(),
            None => DialOpts::from(address),
        };
        let connection = opts.connection_id();
        self.swarm.dial(opts).map(|()| connection).map_err(|error| dial_failure(&error))
    }

    /// A dial has failed. Where it met somebody else at an address of the local network, it is made again without that: the others
    /// may lead to the right one. Addresses that people named are left as they are. True if it is made again.
    pub(super) fn dial_around(&mut self, peer: Option<PeerId>, connection: ConnectionId, error: &DialError) -> bool {
        let (Some(peer), DialError::WrongPeerId { address, .. }) = (peer, error) else { return false };
        let named = self.connects.contains_key(&connection) || self.bootstrap.is_dialling(connection);
        if !self.nat.on || named || !self.nat.misled.note(peer, address) {
            return false;
        }
        tracing::debug!(%peer, %address, "somebody else is at this address: dialling without it");
        self.dial_known(peer)
    }

    pub(super) fn dial_bootstrap(&mut self, address: &Multiaddr, now: Instant) {
        if let Some(peer) = peer_of(address) {
            let known = self.peers.entry(peer, now);
            known.found_by.insert(FoundBy::Bootstrap);
            if peer == *self.swarm.local_peer_id() {
                return self.bootstrap.refused(address, "this is the node's own address", now);
            }
            if let Some(connection) = known.connections.keys().next().copied() {
                return self.bootstrap.connected(connection, peer, now);
            }
        }
        match self.dial_address(address.clone()) {
            Ok(connection) => self.bootstrap.dialling(address, connection),
            Err(error) => self.bootstrap.refused(address, &error, now),
        }
    }

    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        let now = Instant::now();
        match event {
            mdns::Event::Discovered(found) => {
                for (peer, address) in found {
                    if peer == *self.swarm.local_peer_id() {
                        continue;
                    }
                    let known = self.peers.entry(peer, now);
                    known.found_by.insert(FoundBy::Mdns);
                    known.note_address(address.clone());
                    if self.nearby.len() < NEARBY || self.nearby.contains_key(&peer) {
                        self.nearby.insert(peer, Nearby { address, next: now, pause: FIRST_PAUSE });
                    }
                }
                self.dial_nearby(now);
            }
            mdns::Event::Expired(gone) => {
                for (peer, _) in gone {
                    self.nearby.remove(&peer);
                }
            }
        }
    }

    /// Dials servers of the local network that are not connected, again and again with growing pauses: mDNS names a server
    /// once, and two that dial each other at the same moment both fail, since TCP makes one connection of the two.
    pub(super) fn dial_nearby(&mut self, now: Instant) {
        let own = *self.swarm.local_peer_id();
        for (peer, nearby) in self.nearby.iter_mut().filter(|(_, nearby)| nearby.next <= now) {
            let known = self.peers.get(peer);
            if known.is_some_and(|known| known.ban.is_some() || !known.connections.is_empty()) {
                nearby.pause = FIRST_PAUSE;
                nearby.next = now + FIRST_PAUSE;
                continue;
            }
            // Refused when a dial is under way or the peer is connected by now: both are what is wanted.
            let _ = self.swarm.dial(DialOpts::peer_id(*peer).addresses(vec![nearby.address.clone()]).build());
            // One of the two waits longer, so that they do not meet halfway every time.
            nearby.next = now + nearby.pause * if own < *peer { 1 } else { 3 };
            nearby.pause = (nearby.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Learns a peer's addresses from what it says of itself. Into the DHT go only peers of this mesh's DHT, and only
    /// addresses that reach as far as the connection over which they were learned.
    pub(super) fn on_identify(&mut self, peer: PeerId, connection: ConnectionId, info: &identify::Info) {
        let now = Instant::now();
        self.peers.entry(peer, now).note_claims(&info.agent_version, info.protocols.iter().map(ToString::to_string));
        if self.nat.on {
            self.on_observed(peer, connection, &info.observed_addr, now);
        }
        let known = self.peers.entry(peer, now);
        let reach = known.connections.values().map(stands).max();
        let reach = reach.unwrap_or(Scope::Global);
        let usable: Vec<Multiaddr> =
            info.listen_addrs.iter().filter(|address| scope(address) >= reach).take(16).cloned().collect();
        known.forget_relays();
        known.make_room_for(&usable);
        for address in &usable {
            known.note_address(address.clone());
        }
        if !info.protocols.contains(&StreamProtocol::new(wire::DHT_PROTOCOL)) {
            known.in_dht = false;
            return;
        }
        known.in_dht = true;
        let kad = &mut self.swarm.behaviour_mut().kad;
        note_in_dht(kad, peer, usable);
        // kad bootstraps by itself, half a second after it has come to know somebody.
        self.dht_joined = true;
        self.provide_more();
    }

    /// Announces the addresses that are listened on, as the DHT's provider records and peers show them. Loopback is among them
    /// only where there is nothing else: elsewhere it would lead every reader to itself. To these come addresses that others
    /// have proven, and those through relays; what others have refuted is left out.
    pub(super) fn advertise(&mut self) {
        let listening: Vec<Multiaddr> =
            self.swarm.listeners().filter(|address| !is_relayed(address)).cloned().collect();
        let widest = listening.iter().map(scope).max();
        let (told, kept): (Vec<_>, Vec<_>) = listening
            .into_iter()
            .partition(|address| scope(address) > Scope::Loopback || widest == Some(Scope::Loopback));
        if !self.nat.on {
            for address in told {
                self.swarm.add_external_address(address);
            }
            for address in kept {
                self.swarm.remove_external_address(&address);
            }
            return;
        }
        let wanted = self.adjust(told);
        let given: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        let mut changed = false;
        for address in wanted.iter().filter(|address| !given.contains(address)) {
            self.swarm.add_external_address(address.clone());
            changed = true;
        }
        // libp2p's own address through a relay may be none of the relay's list, and goes with the relay.
        let through = |relay: PeerId| self.nat.relays.involves(&relay);
        let keeps = |address: &&Multiaddr| wanted.contains(address) || relay_of(address).is_some_and(through);
        let stale: Vec<Multiaddr> = given.iter().filter(|address| !keeps(address)).cloned().collect();
        for address in stale {
            self.swarm.remove_external_address(&address);
            changed = true;
        }
        if changed {
            self.addresses_changed();
        }
    }

    /// A connection that a peer opened of its own accord proves that the address it came to can be reached, at least from
    /// where that peer stands. It makes this node serve the DHT until something else is proven; a listening address alone
    /// proves nothing.
    pub(super) fn on_inbound(&mut self, peer: PeerId, open: &Connection) {
        if open.path != Path::Direct {
            return;
        }
        if self.nat.on {
            return self.on_guest(peer, &open.address, open.since);
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        if self.config.dht == DhtMode::Auto && kad.mode() == kad::Mode::Client {
            kad.set_mode(Some(kad::Mode::Server));
        }
    }

    /// Announces rooms whose turn it is. Announcing to nobody would be forgotten, so it waits for a first DHT peer.
    pub(super) fn provide_more(&mut self) {
        if !self.dht_joined {
            return;
        }
        while self.providing.len() < ANNOUNCEMENTS {
            let Some(room) = self.to_provide.pop_front() else { break };
            match self.swarm.behaviour_mut().kad.start_providing(provider_key(&room)) {
                Ok(query) => self.providing.push(query),
                Err(error) => tracing::warn!(%room, %error, "a room cannot be announced in the DHT"),
            }
        }
    }

    pub(super) fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                // Of a bootstrap the first look-up is wanted, for oneself: it makes this node known to its neighbours in the DHT
                // and those to it. The others, one for each bucket, ask and dial most of a mesh of a thousand, for a table
                // that fills by itself.
                if matches!(result, QueryResult::Bootstrap(_))
                    && let Some(mut rest) = self.swarm.behaviour_mut().kad.query_mut(&id)
                {
                    rest.finish();
                }
                self.on_query(id, result);
                if step.last {
                    self.providing.retain(|query| *query != id);
                    self.searches.remove(&id);
                    self.lookups.remove(&id);
                    self.provide_more();
                }
            }
            // kad has checked that the provider is the peer that says so; the store bounds how many there are.
            kad::Event::InboundRequest { request: kad::InboundRequest::AddProvider { record: Some(record) } } => {
                use libp2p::kad::store::RecordStore;
                if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().add_provider(record) {
                    tracing::debug!(%error, "a provider of a room is not remembered");
                }
            }
            kad::Event::ModeChanged { new_mode } => tracing::info!(mode = %new_mode, "the DHT mode changed"),
            _ => {}
        }
    }

    fn on_query(&mut self, id: QueryId, result: QueryResult) {
        match result {
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) => {
                let Some(search) = self.searches.get_mut(&id) else { return };
                let (found, chosen) = (search.found.clone(), search.choose(providers));
                for peer in chosen {
                    self.await_provider(peer, found.clone());
                }
            }
            QueryResult::GetClosestPeers(Ok(GetClosestPeersOk { peers, .. })) => {
                let Some(wanted) = self.lookups.get(&id).copied() else { return };
                if let Some(found) = peers.into_iter().find(|peer| peer.peer_id == wanted) {
                    let _ = self.swarm.dial(DialOpts::peer_id(wanted).addresses(found.addrs).build());
                }
            }
            _ => {}
        }
    }

    fn await_provider(&mut self, peer: PeerId, found: mpsc::Sender<PeerId>) {
        let dialled = self.await_peer(peer, FoundBy::Dht, Vec::new(), found);
        // A dial that is under way already is no reason to look for addresses: each look-up asks dozens of servers.
        let unknown = matches!(dialled, Err(DialError::NoAddresses));
        if unknown && !self.lookups.values().any(|sought| *sought == peer) {
            let query = self.swarm.behaviour_mut().kad.get_closest_peers(peer);
            self.lookups.insert(query, peer);
        }
    }

    /// Connects to a peer, at addresses that were told of it and those that are known; it is sent once it has introduced itself.
    pub(super) fn await_peer(
        &mut self,
        peer: PeerId,
        by: FoundBy,
        told: Vec<Multiaddr>,
        found: mpsc::Sender<PeerId>,
    ) -> Result<(), DialError> {
        if peer == *self.swarm.local_peer_id() {
            return Ok(());
        }
        let known = self.peers.entry(peer, Instant::now());
        known.found_by.insert(by);
        if known.ready() {
            let _ = found.try_send(peer);
            return Ok(());
        }
        let connected = !known.connections.is_empty();
        let mut addresses = self.dialled_addresses(&peer);
        let new: Vec<Multiaddr> = told.into_iter().filter(|address| !addresses.contains(address)).collect();
        addresses.extend(new);
        self.awaited.push((peer, found));
        if connected {
            return Ok(());
        }
        self.swarm.dial(DialOpts::peer_id(peer).addresses(addresses).extend_addresses_through_behaviour().build())
    }

    /// Two servers that find each other at the same moment hold two connections. The one with the lower id closes all but
    /// one, so that they never close different ones, and not before what began on one of them has had time to end. Which of
    /// them lead through a relay both sides know, and those go as soon as there is a direct one.
    pub(super) fn prune_duplicates(&mut self, now: Instant) {
        let own = *self.swarm.local_peer_id();
        let several = self.peers.iter().filter(|(_, known)| known.connections.len() > 1);
        let careful = self.nat.on;
        let surplus: Vec<ConnectionId> =
            several.flat_map(|(peer, known)| surplus(known, own < *peer, careful, now)).collect();
        for connection in surplus {
            self.swarm.close_connection(connection);
        }
    }
}

/// Gives the DHT the addresses that a server names of itself. kad keeps whatever it is given for as long as it knows the server, so
/// that what this one no longer names goes as soon as it is too much.
fn note_in_dht(kad: &mut kad::Behaviour<MemoryStore>, peer: PeerId, said: Vec<Multiaddr>) {
    let fits = |address: &Multiaddr| !is_relayed(address) && address.len() <= LONGEST_IN_DHT;
    let said = said.into_iter().filter(fits).filter_map(|address| address.with_p2p(peer).ok());
    let said: Vec<Multiaddr> = said.take(IN_DHT).collect();
    if said.is_empty() {
        return;
    }
    for address in &said {
        kad.add_address(&peer, address.clone());
    }
    let kept = in_dht(kad, peer);
    if kept.len() > IN_DHT {
        for address in kept.iter().filter(|address| !said.contains(address)) {
            kad.remove_address(&peer, address);
        }
    }
}

/// The addresses of a server that the DHT keeps.
fn in_dht(kad: &mut kad::Behaviour<MemoryStore>, peer: PeerId) -> Vec<Multiaddr> {
    let mut kept = Vec::new();
    if let Some(bucket) = kad.kbucket(peer) {
        for entry in bucket.iter() {
            if *entry.node.key.preimage() == peer {
                kept.extend(entry.node.value.iter().cloned());
            }
        }
    }
    kept
}

/// The connections with a peer that are to be closed. `careful` where connections may be dead without a word: then one only
/// goes for another that has answered since the first one began.
fn surplus(known: &Peer, lower: bool, careful: bool, now: Instant) -> Vec<ConnectionId> {
    let age = |open: &Connection| now.duration_since(open.since);
    let replaces = |kept: &Connection, open: &Connection| {
        age(kept) >= DUPLICATE_AGE && (!careful || kept.proven.is_some_and(|at| at > open.since))
    };
    let (relayed, direct): (Vec<_>, Vec<_>) = known.connections.iter().partition(|(_, open)| open.is_relayed());
    let mut surplus: Vec<ConnectionId> = Vec::new();
    for (id, open) in &relayed {
        if direct.iter().any(|(_, better)| replaces(better, open)) {
            surplus.push(**id);
        }
    }
    let (alike, old_enough) = if direct.is_empty() { (&relayed, PUNCHING_AGE) } else { (&direct, DUPLICATE_AGE) };
    let keep = alike.iter().find(|(_, open)| open.outbound).or(alike.first());
    let Some((keep, kept)) = keep.filter(|_| lower) else { return surplus };
    for (id, open) in alike.iter().filter(|(id, _)| id != keep) {
        if age(open) >= old_enough && replaces(kept, open) {
            surplus.push(**id);
        }
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_names_ever_other_addresses_fills_no_answers_of_the_dht() {
        let [own, peer] = [PeerId::random(), PeerId::random()];
        let mut kad = kad::Behaviour::new(own, MemoryStore::new(own));
        let address = |text: String| text.parse::<Multiaddr>().expect("an address");
        let mut last: Vec<Multiaddr> = Vec::new();
        for round in 0..50 {
            last = (0..16).map(|port| address(format!("/ip4/203.0.113.{round}/tcp/{}", 1 + port))).collect();
            note_in_dht(&mut kad, peer, last.clone());
        }
        let kept = in_dht(&mut kad, peer);
        assert_eq!(kept.len(), IN_DHT);
        let named = |address: &Multiaddr| last.iter().any(|said| said.clone().with_p2p(peer).as_ref() == Ok(address));
        assert!(kept.iter().all(named), "those that it named last");
        let long = address(format!("/dns4/{}.example/tcp/1", "a".repeat(200)));
        note_in_dht(&mut kad, peer, vec![long]);
        assert_eq!(in_dht(&mut kad, peer), kept);
    }

    #[test]
    fn a_search_dials_a_bounded_number_of_servers_and_not_everybody_the_same() {
        let named: Vec<PeerId> = (0..40).map(|_| PeerId::random()).collect();
        let (found, _kept) = mpsc::channel(1);
        let mut one = Search::new(found.clone(), [1; 16]);
        let first = one.choose(named[..10].iter().copied());
        assert_eq!(first.len(), 10);
        assert_eq!(one.choose(named.iter().copied()).len(), SOUGHT - 10);
        assert_eq!(one.choose(named.iter().copied()), []);
        let chosen = |salt| Search::new(found.clone(), [salt; 16]).choose(named.iter().copied());
        assert_ne!(chosen(1), chosen(2));
        assert_eq!(chosen(1), chosen(1));
    }
}
