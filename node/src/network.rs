//! The network: peers and bytes, and no rule of any room.
//!
//! ```text
//!   engine, API ── Command ──► driver task ── libp2p swarm: TCP, QUIC, identify, ping, kad, mDNS, gossipsub, requests,
//!   engine      ◄── Event ────      │         relays, hole punching, AutoNAT, UPnP
//!                                   ├── peer table: who they are, how they were found, what they sent
//!                                   └── reach: am I reachable, and through whom
//! ```
//!
//! One task owns the swarm. It never waits for the engine: what the engine's bounded channel does not take is dropped, and
//! sync repairs it.

mod address;
mod behaviour;
mod bootstrap;
mod dial_back;
mod dial_failure;
mod driver;
mod framing;
mod handle;
mod misled;
mod pass_on;
mod peers;
pub mod private_key;
mod prober;
mod pulse;
mod punching;
mod quota;
mod serving;
mod short_frames;
pub mod transport;

pub use address::{AddressError, parse_peer_address};
pub use driver::NetworkError;
pub(crate) use driver::{NetworkParts, shut_down, spawn};
pub(crate) use handle::{Count, Event, GossipToken, IncomingRequest, NetworkHandle, RequestError};
pub use handle::{NetworkClosed, NetworkStatus, PathCounts};
pub use private_key::{PrivateKey, PrivateKeyError};
pub(crate) use quota::Quota;

use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use rocketmesh_protocol::identity::Origin;

use crate::tuning::Tuning;

/// Bounds of the network. Every one has its reason beside it; sizes of messages are the protocol's.
#[derive(Clone, Debug)]
pub struct NetworkLimits {
    /// Connections that others may hold open to this node. A server in a thousand rooms needs a few hundred peers.
    pub max_incoming: u32,
    /// Connections in all.
    pub max_connections: u32,
    /// Connections with one peer: one, a second while duplicates are pruned, two more for changing networks.
    pub max_per_peer: u32,
    /// Connections that are being set up; a handshake costs a signature.
    pub max_pending_incoming: u32,
    /// Requests that one peer may make in a second, averaged.
    pub requests_per_second: u32,
    /// Requests that one peer may make at once after a pause.
    pub request_burst: u32,
    /// How long an answer may take. A response of 4 MiB over a slow line takes its time.
    pub request_timeout: Duration,
    /// How long a peer may take to introduce itself before it is disconnected.
    pub introduction_timeout: Duration,
    /// Rooms that a peer may be subscribed to. Ten times what a busy server has.
    pub max_topics: usize,
    /// Disconnected peers that are remembered for people to look at.
    pub max_remembered_peers: usize,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        NetworkLimits {
            max_incoming: 400,
            max_connections: 800,
            max_per_peer: 4,
            max_pending_incoming: 64,
            requests_per_second: 50,
            request_burst: 200,
            request_timeout: Duration::from_secs(30),
            introduction_timeout: Duration::from_secs(10),
            max_topics: 50_000,
            max_remembered_peers: 1_000,
        }
    }
}

/// How the node takes part in the DHT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DhtMode {
    /// Server once it is known to be reachable: an external address is configured, or a peer connected to a
    /// listening address of its own accord. Client again once other servers find that they cannot dial it.
    #[default]
    Auto,
    /// Always answer.
    Server,
    /// Only ask.
    Client,
}

/// Whether a node relays for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayMode {
    /// Once it is known to be reachable.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl RelayMode {
    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            RelayMode::Auto => "auto",
            RelayMode::On => "on",
            RelayMode::Off => "off",
        }
    }
}

/// What a node relays for others. The defaults are far above those of libp2p (16 circuits, two minutes, 128 KiB), which let
/// nobody catch up, and far below what would hurt a small machine: 64 circuits that are used up at once are 4 GiB in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// When to relay.
    pub serve: RelayMode,
    /// Servers that may be reachable through this one at a time. Each keeps a connection open.
    pub max_reservations: u32,
    /// Relayed connections at a time. Each has two buffers and takes turns on the line.
    pub max_circuits: u32,
    /// Relayed connections at a time that one server may have opened: as many as symmetric NAT makes it need in a few rooms.
    pub max_circuits_per_peer: u32,
    /// Bytes of one relayed connection, both directions together: a history of 100,000 short messages.
    pub circuit_bytes: u64,
    /// How long one relayed connection may last. Its ends dial anew then.
    pub circuit_duration: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        RelayLimits {
            serve: RelayMode::Auto,
            max_reservations: 128,
            max_circuits: 64,
            max_circuits_per_peer: 8,
            circuit_bytes: 64 * 1024 * 1024,
            circuit_duration: Duration::from_secs(30 * 60),
        }
    }
}

/// What the network is told at the start.
#[derive(Clone, Debug, Default)]
pub struct NetworkConfig {
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Addresses at which others reach this node, as the administrator knows them.
    pub external: Vec<Multiaddr>,
    /// Peers to stay connected to.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether to look for servers on the local network.
    pub mdns: bool,
    /// How to take part in the DHT.
    pub dht: DhtMode,
    /// Whether to find out if others reach this node, and to use relays and punch holes where they do not.
    pub nat: bool,
    /// Whether to ask the router to forward ports.
    pub upnp: bool,
    /// What to relay for others.
    pub relay: RelayLimits,
    /// The key of a private mesh; none for the open one.
    pub private: Option<PrivateKey>,
    /// Addresses that a private mesh does not listen on, because its key does not protect them.
    pub unused_listen: Vec<Multiaddr>,
    /// Bounds.
    pub limits: NetworkLimits,
    /// What trades bytes for delay.
    pub tuning: Tuning,
}

impl NetworkConfig {
    /// Turns this into the configuration of a private mesh: over TCP only. QUIC addresses to listen on are left out, since
    /// they are among the defaults, and remembered for people to see; other QUIC addresses are a mistake.
    ///
    /// # Errors
    /// The key of the configuration and what is wrong with it.
    pub(crate) fn make_private(&mut self, key: PrivateKey) -> Result<(), (&'static str, String)> {
        let quic = |address: &Multiaddr| address::carrier_of(address) == "quic";
        for (name, addresses) in [("network.bootstrap", &self.bootstrap), ("network.external", &self.external)] {
            if let Some(address) = addresses.iter().find(|address| quic(address)) {
                let problem = format!("`{address}` is for QUIC, and a private mesh runs over TCP only; use /tcp/PORT");
                return Err((name, problem));
            }
        }
        let (unused, kept): (Vec<_>, Vec<_>) = self.listen.drain(..).partition(quic);
        if kept.is_empty() && !unused.is_empty() {
            let problem =
                "it has only addresses for QUIC, and a private mesh runs over TCP only; add /ip4/0.0.0.0/tcp/4848";
            return Err(("network.listen", problem.to_owned()));
        }
        self.listen = kept;
        self.unused_listen = unused;
        self.private = Some(key);
        Ok(())
    }
}

/// The PeerId of an origin.
pub(crate) fn peer_id(origin: &Origin) -> PeerId {
    PeerId::from_bytes(&origin.to_peer_id_bytes()).expect("an origin's bytes are a PeerId's by construction")
}

/// The origin of a PeerId; none for peers with another kind of key, which no server of the mesh has.
pub(crate) fn origin(peer: &PeerId) -> Option<Origin> {
    Origin::from_peer_id_bytes(&peer.to_bytes())
}
