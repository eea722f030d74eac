//! The node itself: why it refused, whether it is well, how it is configured.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What every refused request answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// Why a request was refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// A stable word for programs, such as `unknown_room`.
    pub code: String,
    /// A sentence for people that says what to do.
    pub message: String,
}

/// Whether the node is well.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or `degraded` when `problems` has something to say.
    pub status: String,
    /// What is wrong and what to do about it.
    pub problems: Vec<Problem>,
}

/// Something that an administrator should know.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people that says what to do.
    pub message: String,
}

/// The node in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// The server's id (PeerId).
    pub id: String,
    /// The server's name, if it has one.
    pub name: Option<String>,
    /// The build's version.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Where others can reach this node, in the form that they paste as a bootstrap address.
    pub addresses: Vec<String>,
    /// Configured bootstrap addresses and how they fare.
    pub bootstrap: Vec<BootstrapView>,
    /// Whether this node serves the DHT (`server`) or only asks it (`client`).
    pub dht_mode: String,
    /// Peers in the DHT's routing table.
    pub dht_peers: u64,
    /// Connected peers.
    pub peers: u64,
    /// Rooms that this node takes part in.
    pub rooms: u64,
    /// The last position in the local log.
    pub log_position: u64,
    /// Bytes that the store takes on disk, but for files.
    pub store_bytes: u64,
    /// Bytes of files that messages name. One that is still coming counts in full.
    #[serde(default)]
    pub files_bytes: u64,
    /// Health in short: `ok` or `degraded`.
    pub health: String,
}

/// A configured bootstrap address.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BootstrapView {
    /// The address as configured.
    pub address: String,
    /// `connected`, `connecting`, `unreachable`, or `let go`: it closed the connection soon after it was made, as servers do that
    /// many know, and is asked again later.
    pub state: String,
    /// How often it was tried without success since the last one.
    pub failures: u64,
    /// Seconds until the next try; none while connected.
    pub next_try_s: Option<u64>,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// The effective configuration.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfigView {
    /// One entry for each key.
    pub entries: Vec<ConfigEntry>,
}

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigEntry {
    /// The key, such as `api.listen`.
    pub key: String,
    /// Its value, as TOML.
    pub value: String,
    /// Where it comes from: `default`, the file's path, the environment variable, or `command line`.
    pub source: String,
}
