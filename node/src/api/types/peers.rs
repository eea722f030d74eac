//! Peers: who they are, and which servers may do what with this one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Peers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerList {
    /// Connected peers first, then known ones.
    pub peers: Vec<PeerView>,
}

/// One peer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// The peer's id.
    pub id: String,
    /// What it calls itself; a claim.
    pub name: Option<String>,
    /// `introduced`, `connected` (the first exchange is still to come), `incompatible` (no version in common),
    /// `excluded` (by policy), `banned` or `disconnected`.
    pub state: String,
    /// How it was found: `mdns`, `bootstrap`, `dht`, `command` or `inbound`.
    pub found_by: Vec<String>,
    /// Open connections.
    pub connections: Vec<ConnectionView>,
    /// How the best of them runs: `direct`, `punched` (directly, through a hole in a NAT) or `relayed`; none without one.
    pub path: Option<String>,
    /// Addresses at which it may be reached.
    pub addresses: Vec<String>,
    /// Protocols that it speaks, by identify.
    pub protocols: Vec<String>,
    /// Its software.
    pub agent: Option<String>,
    /// Wire versions that it speaks.
    pub wire_versions: Vec<u64>,
    /// Room versions that it speaks.
    pub room_versions: Vec<String>,
    /// The last round trip in milliseconds.
    pub latency_ms: Option<f64>,
    /// Rooms that both sides are in.
    pub shared_rooms: Vec<String>,
    /// What it sent and how much of that was refused.
    pub received: PeerCounters,
    /// Why it is banned.
    pub ban_reason: Option<String>,
}

/// What a peer sent since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerCounters {
    /// Gossip messages.
    pub gossip: u64,
    /// Gossip messages refused as malformed, wrongly signed or of a foreign room.
    pub gossip_refused: u64,
    /// Requests.
    pub requests: u64,
    /// Requests refused by a quota, by policy or as malformed.
    pub requests_refused: u64,
    /// Events in answers to what this node asked.
    pub events: u64,
    /// Of these, malformed, wrongly signed or not asked for.
    pub events_refused: u64,
}

/// One connection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectionView {
    /// The other side's address.
    pub address: String,
    /// `tcp`, `quic`, `memory` or `relayed`.
    pub transport: String,
    /// Who opened it: `outbound` or `inbound`.
    pub direction: String,
    /// How it runs: `direct`, `punched` or `relayed`.
    pub path: String,
    /// The relay (id) that it runs through.
    pub via: Option<String>,
}

/// Asks the node to connect.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectRequest {
    /// `/ip4/…/tcp/…/p2p/…`, `/dns4/…` or `/dnsaddr/…`.
    pub address: String,
}

/// Bans a peer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BanRequest {
    /// Why, for other administrators to read.
    pub reason: Option<String>,
}

/// Which servers may do what with this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Which servers may exchange events with this one.
    pub federate: Audience,
    /// Which servers' users may invite users of this one.
    pub invite: Audience,
    /// Which servers' users may open direct rooms with users of this one.
    pub direct: Audience,
    /// Servers (ids) that `listed` means; `known` includes them.
    pub listed: Vec<String>,
    /// The most requests that one server may make in a minute; 0 is no limit of its own.
    pub requests_per_minute: u64,
    /// The most new events that one server may bring in a minute by gossip; 0 is no limit of its own. What is over comes
    /// later, by sync.
    pub events_per_minute: u64,
}

/// A group of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Every server that is not banned.
    Open,
    /// Listed servers, and those that this node was told to connect to.
    Known,
    /// Listed servers.
    Listed,
}
