//! The network: peers and bytes, and no rule of any room.
//!
//! ```text
//!   engine, API ── Command ──► driver task ── libp2p swarm: TCP, QUIC, identify, ping, kad, mDNS, gossipsub, requests
//!   engine      ◄── Event ────            └── peer table: who they are, how they were found, what they sent
//! ```
//!
//! One task owns the swarm. It never waits for the engine: what the engine's bounded channel does not take is dropped, and
//! sync repairs it.

mod address;
mod behaviour;
mod bootstrap;
mod driver;
mod framing;
mod handle;
mod peers;
mod quota;
pub mod transport;

pub use address::{AddressError, parse_peer_address};
pub use driver::NetworkError;
pub(crate) use driver::{NetworkParts, shut_down, spawn};
pub(crate) use handle::{Count, Event, GossipToken, IncomingRequest, NetworkHandle, RequestError};
pub use handle::{NetworkClosed, NetworkStatus};
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
    /// listening address of its own accord.
    #[default]
    Auto,
    /// Always answer.
    Server,
    /// Only ask.
    Client,
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
    /// Bounds.
    pub limits: NetworkLimits,
    /// What trades bytes for delay.
    pub tuning: Tuning,
}

/// The PeerId of an origin.
pub(crate) fn peer_id(origin: &Origin) -> PeerId {
    PeerId::from_bytes(&origin.to_peer_id_bytes()).expect("an origin's bytes are a PeerId's by construction")
}

/// The origin of a PeerId; none for peers with another kind of key, which no server of the mesh has.
pub(crate) fn origin(peer: &PeerId) -> Option<Origin> {
    Origin::from_peer_id_bytes(&peer.to_bytes())
}
