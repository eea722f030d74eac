//! Who the peers are: how they were found, what they say of themselves, what they sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::identity::PeerId;
use libp2p::swarm::ConnectionId;
use rocketmesh_protocol::identity::ServerName;
use rocketmesh_protocol::wire::Hello;
use tokio::time::Instant;

use crate::api::types::{ConnectionView, PeerCounters, PeerView};
use crate::network::NetworkLimits;
use crate::network::address::{Scope, carrier_of, is_relayed, relay_of};
use crate::network::handle::Count;
use crate::network::quota::Quota;

/// The most addresses and protocols that are kept of one peer: both are its own claims.
const MAX_CLAIMS: usize = 64;

/// How a peer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FoundBy {
    Bootstrap,
    Command,
    Contact,
    Dht,
    Inbound,
    Mdns,
}

impl FoundBy {
    const fn word(self) -> &'static str {
        match self {
            FoundBy::Bootstrap => "bootstrap",
            FoundBy::Command => "command",
            FoundBy::Contact => "contact",
            FoundBy::Dht => "dht",
            FoundBy::Inbound => "inbound",
            FoundBy::Mdns => "mdns",
        }
    }
}

/// How far the first exchange has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Introduction {
    /// Not yet.
    Pending,
    /// Done; a version in common.
    Done(Hello),
    /// Done, or impossible; nothing in common.
    Incompatible(Option<Hello>),
}

/// How a connection runs, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Path {
    /// From one server to the other.
    Direct,
    /// Directly, through a hole that both sides punched into their routers.
    Punched,
    /// Through a relay.
    Relayed,
}

impl Path {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Path::Direct => "direct",
            Path::Punched => "punched",
            Path::Relayed => "relayed",
        }
    }
}

/// One open connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) address: Multiaddr,
    pub(super) outbound: bool,
    pub(super) since: Instant,
    pub(super) path: Path,
    /// The relay that it runs through, if that is known.
    pub(super) via: Option<PeerId>,
    /// The transport, of a relayed one that of the way to the relay.
    pub(super) carrier: &'static str,
    /// How far away the other side sees this node.
    pub(super) seen: Option<Scope>,
    /// When it was last proven to be alive.
    pub(super) proven: Option<Instant>,
    /// When a sign of life was asked for last, and how many in a row did not come in time.
    pub(super) doubted: Option<Instant>,
    pub(super) misses: u8,
    /// Whether something was said to the other end, and nothing came since.
    pub(super) said: bool,
}

impl Connection {
    pub(super) fn new(endpoint: &ConnectedPoint, now: Instant) -> Self {
        // What comes in through a relay names the relay on this side only.
        let way = match endpoint {
            ConnectedPoint::Dialer { address, .. } => address,
            ConnectedPoint::Listener { local_addr, .. } => local_addr,
        };
        Connection {
            address: endpoint.get_remote_address().clone(),
            outbound: endpoint.is_dialer(),
            since: now,
            path: if is_relayed(way) { Path::Relayed } else { Path::Direct },
            via: relay_of(way),
            carrier: carrier_of(way),
            seen: None,
            proven: None,
            doubted: None,
            misses: 0,
            said: false,
        }
    }

    /// Something came over it.
    pub(super) fn prove(&mut self, now: Instant) {
        self.proven = Some(now);
        (self.misses, self.said) = (0, false);
    }

    /// When it was last known to be alive.
    pub(super) fn alive_at(&self) -> Instant {
        self.proven.unwrap_or(self.since)
    }

    /// The other end did not answer when it was last asked, and nothing came since.
    pub(super) fn is_silent(&self) -> bool {
        self.misses > 0
    }

    pub(super) fn is_relayed(&self) -> bool {
        self.path == Path::Relayed
    }
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) found_by: BTreeSet<FoundBy>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) addresses: BTreeSet<Multiaddr>,
    pub(super) protocols: Vec<String>,
    pub(super) agent: Option<String>,
    pub(super) introduction: Introduction,
    pub(super) latency: Option<Duration>,
    pub(super) counters: PeerCounters,
    pub(super) excluded: bool,
    /// Whether it serves this mesh's DHT.
    pub(super) in_dht: bool,
    /// The reason, when banned.
    pub(super) ban: Option<String>,
    requests: Quota,
    seen: Instant,
    /// Questions under way, in either direction, and when the last one ended.
    pub(super) asking: u32,
    pub(super) asked: Option<Instant>,
    /// When the engine was last told that it is there, and whether it is to be told again.
    pub(super) welcomed: Option<Instant>,
    pub(super) returned: bool,
    /// Since when the connection is there over which it introduced itself although it had others: it has forgotten those.
    pub(super) anew: Option<Instant>,
    /// When to dial it beside a connection that does not answer.
    pub(super) beside: Option<Instant>,
}

impl Peer {
    fn new(limits: &NetworkLimits, now: Instant) -> Self {
        Peer {
            found_by: BTreeSet::new(),
            connections: BTreeMap::new(),
            addresses: BTreeSet::new(),
            protocols: Vec::new(),
            agent: None,
            introduction: Introduction::Pending,
            latency: None,
            counters: PeerCounters::default(),
            excluded: false,
            in_dht: false,
            ban: None,
            requests: Quota::new(f64::from(limits.requests_per_second), f64::from(limits.request_burst), now),
            seen: now,
            asking: 0,
            asked: None,
            welcomed: None,
            returned: false,
            anew: None,
            beside: None,
        }
    }

    /// A question to it, or of its, has ended in whatever way.
    pub(super) fn note_answered(&mut self, now: Instant) {
        self.asking = self.asking.saturating_sub(1);
        self.asked = Some(now);
    }

    /// Whether the engine may deal with it.
    pub(super) fn ready(&self) -> bool {
        matches!(self.introduction, Introduction::Done(_))
            && !self.connections.is_empty()
            && !self.excluded
            && self.ban.is_none()
    }

    /// What it calls itself.
    pub(super) fn name(&self) -> Option<ServerName> {
        match &self.introduction {
            Introduction::Done(hello) | Introduction::Incompatible(Some(hello)) => hello.name.clone(),
            _ => None,
        }
    }

    /// Whether a request of it may be answered now.
    pub(super) fn may_request(&mut self, now: Instant) -> bool {
        self.requests.take(now)
    }

    /// The best connection, of equal ones the oldest.
    pub(super) fn best(&self) -> Option<&Connection> {
        self.connections.values().min_by_key(|open| (open.path, open.since))
    }

    /// Its connections that run through no relay.
    pub(super) fn direct(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().filter(|open| !open.is_relayed())
    }

    /// Forgets addresses that led through relays: the peer has just said through which ones it is reached now.
    pub(super) fn forget_relays(&mut self) {
        self.addresses.retain(|address| !is_relayed(address));
    }

    /// Makes room for the addresses that it names now, if need be by forgetting all others.
    pub(super) fn make_room_for(&mut self, said: &[Multiaddr]) {
        let new = said.iter().filter(|address| !self.addresses.contains(*address)).count();
        if self.addresses.len() + new > MAX_CLAIMS {
            self.addresses.retain(|address| said.contains(address));
        }
    }

    /// Notes an address, if there is room for one.
    pub(super) fn note_address(&mut self, address: Multiaddr) {
        if self.addresses.len() < MAX_CLAIMS {
            self.addresses.insert(address);
        }
    }

    /// Notes what identify says, cut to what is worth keeping.
    pub(super) fn note_claims(&mut self, agent: &str, protocols: impl Iterator<Item = String>) {
        self.agent = Some(agent.chars().filter(|c| !c.is_control()).take(128).collect());
        self.protocols = protocols.take(MAX_CLAIMS).collect();
        self.protocols.sort_unstable();
    }

    pub(super) fn count(&mut self, count: Count) {
        match count {
            Count::GossipRefused => self.counters.gossip_refused += 1,
            Count::Events(events) => self.counters.events += events,
            Count::EventsRefused(events) => self.counters.events_refused += events,
            Count::RequestRefused => self.counters.requests_refused += 1,
        }
    }

    fn state(&self) -> &'static str {
        match (&self.ban, &self.introduction) {
            (Some(_), _) => "banned",
            _ if self.connections.is_empty() => "disconnected",
            _ if self.excluded => "excluded",
            (None, Introduction::Done(_)) => "introduced",
            (None, Introduction::Incompatible(_)) => "incompatible",
            (None, Introduction::Pending) => "connected",
        }
    }

    fn view(&self, id: &PeerId) -> PeerView {
        let hello = match &self.introduction {
            Introduction::Done(hello) | Introduction::Incompatible(Some(hello)) => Some(hello),
            _ => None,
        };
        PeerView {
            id: id.to_string(),
            name: hello.and_then(|hello| hello.name.as_ref()).map(ToString::to_string),
            state: self.state().to_owned(),
            found_by: self.found_by.iter().map(|found| found.word().to_owned()).collect(),
            connections: self
                .connections
                .values()
                .map(|connection| ConnectionView {
                    address: connection.address.to_string(),
                    transport: if connection.is_relayed() { "relayed" } else { connection.carrier }.to_owned(),
                    direction: if connection.outbound { "outbound" } else { "inbound" }.to_owned(),
                    path: connection.path.word().to_owned(),
                    via: connection.via.map(|relay| relay.to_string()),
                })
                .collect(),
            path: self.best().map(|best| best.path.word().to_owned()),
            addresses: self.addresses.iter().map(ToString::to_string).collect(),
            protocols: self.protocols.clone(),
            agent: self.agent.clone(),
            wire_versions: hello.map(|hello| hello.wire_versions.clone()).unwrap_or_default(),
            room_versions: hello
                .map(|hello| hello.room_versions.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            latency_ms: self.latency.map(|latency| latency.as_secs_f64() * 1000.0),
            shared_rooms: Vec::new(),
            received: self.counters.clone(),
            ban_reason: self.ban.clone(),
        }
    }
}

/// Every peer that is known.
#[derive(Debug)]
pub(super) struct Peers {
    known: BTreeMap<PeerId, Peer>,
    limits: NetworkLimits,
}

impl Peers {
    pub(super) fn new(limits: NetworkLimits) -> Self {
        Peers { known: BTreeMap::new(), limits }
    }

    /// The peer, remembered from now on.
    pub(super) fn entry(&mut self, peer: PeerId, now: Instant) -> &mut Peer {
        if !self.known.contains_key(&peer) {
            self.forget_one();
        }
        let limits = &self.limits;
        let entry = self.known.entry(peer).or_insert_with(|| Peer::new(limits, now));
        entry.seen = now;
        entry
    }

    /// The peer, if it is known.
    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Peer> {
        self.known.get_mut(peer)
    }

    /// The peer, if it is known.
    pub(super) fn get(&self, peer: &PeerId) -> Option<&Peer> {
        self.known.get(peer)
    }

    /// Everybody.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.known.iter()
    }

    /// Connected ones first, then by id.
    pub(super) fn views(&self) -> Vec<PeerView> {
        let mut peers: Vec<_> = self.known.iter().collect();
        peers.sort_by_key(|(id, peer)| (peer.connections.is_empty(), **id));
        peers.into_iter().map(|(id, peer)| peer.view(id)).collect()
    }

    /// Makes room: of the disconnected and unbanned ones the one seen longest ago goes.
    fn forget_one(&mut self) {
        let idle = || self.known.iter().filter(|(_, peer)| peer.connections.is_empty() && peer.ban.is_none());
        if idle().count() < self.limits.max_remembered_peers {
            return;
        }
        let oldest = idle().min_by_key(|(_, peer)| peer.seen).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.known.remove(&oldest);
        }
    }
}
