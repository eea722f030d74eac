//! Whether and how others reach this node.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether and how others reach this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetView {
    /// `public` (others reach it), `private` (they do not, unless through a relay) or `unknown`.
    pub reachability: String,
    /// How the node knows, in sentences.
    pub reasons: Vec<String>,
    /// What to do, in sentences; empty where nothing has to be done.
    pub advice: Vec<String>,
    /// Addresses that may be this node's, and what is known of them.
    pub addresses: Vec<NetAddress>,
    /// The relays that hold a place for this node.
    pub relays: Vec<NetRelay>,
    /// Connected peers and how they are connected.
    pub peers: Vec<NetPeer>,
    /// What this node relays for others.
    pub serving: NetServing,
    /// How often holes were punched.
    pub punches: NetPunches,
    /// UPnP: `off`, `searching`, `mapped`, `no_mapping` (nothing that needs one, or the router refused), `no_gateway`, or
    /// `no_public_address` (the router itself is behind NAT).
    pub upnp: String,
    /// The private mesh; none in the open one.
    pub private: Option<NetPrivate>,
}

/// An address that may be this node's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetAddress {
    /// The address.
    pub address: String,
    /// Why it is looked at: `listening`, `configured`, `mapped` (by UPnP), `observed` (by peers).
    pub sources: Vec<String>,
    /// `confirmed` or `refuted` by servers that dialled it, or `untested`.
    pub state: String,
    /// Peers that name it as where they see this node.
    pub named_by: u64,
    /// Servers that dialled it with success.
    pub reached_by: u64,
    /// Servers that dialled it without.
    pub not_reached_by: u64,
}

/// A relay that holds a place for this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetRelay {
    /// The relay's id.
    pub peer: String,
    /// The address at which others reach this node through it.
    pub address: String,
    /// For how many seconds it has held the place.
    pub since_s: u64,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetPeer {
    /// The peer's id.
    pub id: String,
    /// What it calls itself; a claim.
    pub name: Option<String>,
    /// `direct`, `punched` (directly, through a hole in a NAT) or `relayed`.
    pub path: String,
    /// `tcp` or `quic`; of a relayed one, that of the way to the relay.
    pub transport: String,
    /// The relay (id) that the connection runs through.
    pub via: Option<String>,
    /// For how many seconds.
    pub since_s: u64,
}

/// What this node relays for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetServing {
    /// As configured: `auto`, `on` or `off`.
    pub mode: String,
    /// Whether it relays now.
    pub active: bool,
    /// Servers that are reachable through this one.
    pub reservations: u64,
    /// Relayed connections.
    pub circuits: u64,
    /// Relayed connections since the start.
    pub circuits_total: u64,
}

/// How often holes were punched since the start, as far as this node is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetPunches {
    /// Tries that came to an end.
    pub tried: u64,
    /// Those that made a direct connection.
    pub succeeded: u64,
}

/// The private mesh that a node belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetPrivate {
    /// The key's fingerprint: the same on every server of the mesh.
    pub fingerprint: String,
    /// Addresses of `network.listen` that are not used, since the key protects TCP only.
    pub unused_listen: Vec<String>,
}
