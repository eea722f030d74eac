//! The configuration: defaults, then a file, then `ROCKETMESH_*`, then flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use figment::error::Kind;
use figment::providers::{Data, Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Metadata, Profile, Provider};
use libp2p::Multiaddr;
use rocketmesh_protocol::identity::ServerName;
use rocketmesh_storage::FileLimits;
use serde::{Deserialize, Deserializer, Serialize};

use crate::api::types::ConfigEntry;
use crate::network::{
    AddressError, DhtMode, NetworkConfig, NetworkLimits, PrivateKeyError, RelayLimits, RelayMode, parse_peer_address,
    private_key,
};

/// Environment variables of the tools around the node, which are no keys of the configuration.
const OTHER_VARIABLES: [&str; 6] = ["API", "CONFIG", "TOKEN_FILE", "RECORD_VECTORS", "SOAK", "ROCKETCHAT_TOKEN"];

/// The file that is read from the data directory when no other is named.
pub const CONFIG_FILE: &str = "rocketmesh.toml";

const MEBIBYTE: u64 = 1024 * 1024;
/// A day; what should last longer should be direct.
const MOST_CIRCUIT_MINUTES: u32 = 24 * 60;

/// The default port, on TCP and on UDP for QUIC.
pub const DEFAULT_PORT: u16 = 4848;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the key, the token and the store are.
    pub data_dir: PathBuf,
    /// What this server calls itself, such as `chat.example.org`; empty for nothing.
    pub name: String,
    /// The mesh.
    pub network: NetworkSection,
    /// The API.
    pub api: ApiSection,
    /// The store.
    pub store: StoreSection,
    /// Files that messages name.
    pub files: FilesSection,
    /// Rooms.
    pub rooms: RoomsSection,
    /// The log.
    pub log: LogSection,
}

/// The mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// Addresses to listen on.
    #[serde(deserialize_with = "list")]
    pub listen: Vec<String>,
    /// Addresses at which others reach this node, where it cannot see that itself.
    #[serde(deserialize_with = "list")]
    pub external: Vec<String>,
    /// Peers to stay connected to: `/ip4/…/tcp/…/p2p/…`, `/dns4/…`, `/dnsaddr/…`.
    #[serde(deserialize_with = "list")]
    pub bootstrap: Vec<String>,
    /// Whether to look for servers on the local network.
    pub mdns: bool,
    /// `auto`, `server` or `client`.
    pub dht: DhtMode,
    /// The most connections in all; 16 or more.
    pub max_connections: u32,
    /// Whether to find out if others reach this node, and to use relays and punch holes where they do not.
    pub nat: bool,
    /// Whether to ask the router to forward the listening ports to this node (UPnP).
    pub upnp: bool,
    /// The file with the key of a private mesh; empty for the open one. Relative to where the node is started.
    pub private_key_file: String,
    /// What this node relays for others.
    pub relay: RelaySection,
}

/// What a node relays for servers that others cannot reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelaySection {
    /// `auto` (once this node is known to be reachable), `on` or `off`.
    pub serve: RelayMode,
    /// Servers that may be reachable through this one at a time.
    pub max_reservations: u32,
    /// Relayed connections at a time.
    pub max_circuits: u32,
    /// Relayed connections at a time that one server may have opened.
    pub max_circuits_per_peer: u32,
    /// What one relayed connection may carry, both directions together, in MiB.
    pub circuit_mib: u64,
    /// How long one relayed connection may last, in minutes; 1 to 1440.
    pub circuit_minutes: u32,
}

impl Default for RelaySection {
    fn default() -> Self {
        let limits = RelayLimits::default();
        RelaySection {
            serve: limits.serve,
            max_reservations: limits.max_reservations,
            max_circuits: limits.max_circuits,
            max_circuits_per_peer: limits.max_circuits_per_peer,
            circuit_mib: limits.circuit_bytes / MEBIBYTE,
            circuit_minutes: u32::try_from(limits.circuit_duration.as_secs() / 60).unwrap_or(u32::MAX),
        }
    }
}

/// The API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiSection {
    /// Host and port of the API and the metrics.
    pub listen: String,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    /// What the store may keep in memory, in MiB; 8 or more.
    pub cache_mib: u64,
    /// What is to stay free on the store's disk, in MiB. With less, nothing new is accepted, and what is there is still shown.
    pub reserve_mib: u64,
}

/// Files that messages name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesSection {
    /// The largest file that is taken, from users and from other servers, in MiB; 1 or more.
    pub max_file_mib: u64,
    /// What the files of one room may take, in MiB.
    pub room_quota_mib: u64,
    /// What all files may take, in MiB.
    pub server_quota_mib: u64,
    /// The largest file that is fetched from other servers without a user asking for it, in MiB; 0 for none.
    pub fetch_up_to_mib: u64,
}

impl FilesSection {
    /// What the store is told.
    pub(crate) fn limits(&self) -> FileLimits {
        let bytes = |mebibytes: u64| mebibytes.saturating_mul(MEBIBYTE);
        FileLimits {
            file: bytes(self.max_file_mib),
            room: bytes(self.room_quota_mib),
            server: bytes(self.server_quota_mib),
        }
    }

    /// The largest file that is fetched without anybody asking for it, in bytes.
    pub(crate) fn fetch_up_to(&self) -> u64 {
        self.fetch_up_to_mib.saturating_mul(MEBIBYTE)
    }
}

/// Rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomsSection {
    /// When the older history of a room is fetched that was joined without it: `background` or `request`.
    pub history: HistoryMode,
}

/// When the older history of a room is fetched that was joined without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryMode {
    /// At once, piece by piece, while the room is in use.
    #[default]
    Background,
    /// Once somebody asks for it.
    Request,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// `error`, `warn`, `info`, `debug` or `trace`, or directives such as `rocketmesh_node=debug`.
    pub level: String,
}

impl Config {
    /// The configuration of a node that was told nothing.
    pub fn defaults(data_dir: PathBuf) -> Self {
        let port = DEFAULT_PORT;
        Config {
            data_dir,
            name: String::new(),
            network: NetworkSection {
                listen: vec![format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip4/0.0.0.0/udp/{port}/quic-v1")],
                external: Vec::new(),
                bootstrap: Vec::new(),
                mdns: true,
                dht: DhtMode::Auto,
                max_connections: NetworkLimits::default().max_connections,
                nat: true,
                upnp: true,
                private_key_file: String::new(),
                relay: RelaySection::default(),
            },
            api: ApiSection { listen: format!("127.0.0.1:{}", port + 1) },
            store: StoreSection { cache_mib: 64, reserve_mib: 64 },
            files: FilesSection {
                max_file_mib: 1024,
                room_quota_mib: 10 * 1024,
                server_quota_mib: 50 * 1024,
                fetch_up_to_mib: 100,
            },
            rooms: RoomsSection { history: HistoryMode::default() },
            log: LogSection { level: "info".to_owned() },
        }
    }

    /// What the network is told. Reads the file with a private mesh's key, if one is named.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an address that cannot be read or does not suit a private mesh, and for a key that cannot be
    /// read.
    pub fn network(&self) -> Result<NetworkConfig, ConfigError> {
        let plain = |key: &str, text: &String| {
            text.parse::<Multiaddr>().map_err(|error| {
                let problem = format!("`{text}` is not an address ({error}); expected /ip4/0.0.0.0/tcp/{DEFAULT_PORT}");
                ConfigError::Value { key: key.to_owned(), problem }
            })
        };
        let all = |key: &str, texts: &[String]| texts.iter().map(|text| plain(key, text)).collect::<Result<_, _>>();
        let bootstrap = self.network.bootstrap.iter().map(|text| {
            parse_peer_address(text).map_err(|error: AddressError| ConfigError::Value {
                key: "network.bootstrap".to_owned(),
                problem: error.to_string(),
            })
        });
        let max_connections = self.network.max_connections;
        let relay = &self.network.relay;
        let mut config = NetworkConfig {
            listen: all("network.listen", &self.network.listen)?,
            external: all("network.external", &self.network.external)?,
            bootstrap: bootstrap.collect::<Result<_, _>>()?,
            mdns: self.network.mdns,
            nat: self.network.nat,
            upnp: self.network.upnp,
            relay: RelayLimits {
                serve: relay.serve,
                max_reservations: relay.max_reservations,
                max_circuits: relay.max_circuits,
                max_circuits_per_peer: relay.max_circuits_per_peer,
                circuit_bytes: relay.circuit_mib.saturating_mul(MEBIBYTE),
                circuit_duration: std::time::Duration::from_secs(u64::from(relay.circuit_minutes) * 60),
            },
            private: None,
            unused_listen: Vec::new(),
            dht: self.network.dht,
            limits: NetworkLimits {
                max_connections,
                max_incoming: (max_connections / 2).max(8),
                ..NetworkLimits::default()
            },
            tuning: crate::Tuning::default(),
        };
        if !self.network.private_key_file.is_empty() {
            let key = private_key::read(Path::new(&self.network.private_key_file));
            let key = key.map_err(|error: PrivateKeyError| ConfigError::Value {
                key: "network.private_key_file".to_owned(),
                problem: error.to_string(),
            })?;
            config.make_private(key).map_err(|(key, problem)| ConfigError::Value { key: key.to_owned(), problem })?;
        }
        Ok(config)
    }

    /// The server's name, if it has one.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn server_name(&self) -> Result<Option<ServerName>, ConfigError> {
        if self.name.is_empty() {
            return Ok(None);
        }
        let name = self.name.parse().map_err(|error: rocketmesh_protocol::identity::NameError| ConfigError::Value {
            key: "name".to_owned(),
            problem: error.to_string(),
        })?;
        Ok(Some(name))
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.network()?;
        self.server_name()?;
        let least = |key: &str, value: u64, least: u64| {
            if value < least {
                let problem = format!("{value} is too small; the least is {least}");
                return Err(ConfigError::Value { key: key.to_owned(), problem });
            }
            Ok(())
        };
        least("network.max_connections", u64::from(self.network.max_connections), 16)?;
        least("files.max_file_mib", self.files.max_file_mib, 1)?;
        let relay = &self.network.relay;
        for (key, value) in [
            ("network.relay.max_reservations", u64::from(relay.max_reservations)),
            ("network.relay.max_circuits", u64::from(relay.max_circuits)),
            ("network.relay.max_circuits_per_peer", u64::from(relay.max_circuits_per_peer)),
            ("network.relay.circuit_mib", relay.circuit_mib),
            ("network.relay.circuit_minutes", u64::from(relay.circuit_minutes)),
        ] {
            least(key, value, 1)?;
        }
        if relay.circuit_minutes > MOST_CIRCUIT_MINUTES {
            let problem = format!("{} is too much; the most is {MOST_CIRCUIT_MINUTES}", relay.circuit_minutes);
            return Err(ConfigError::Value { key: "network.relay.circuit_minutes".to_owned(), problem });
        }
        least("store.cache_mib", self.store.cache_mib, 8)
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key that does not exist.
    #[error("{origin} sets `{key}`, which is no key of the configuration; did you mean `{nearest}`?")]
    UnknownKey {
        /// The key.
        key: String,
        /// The file or variable that sets it.
        origin: String,
        /// The most similar key there is.
        nearest: String,
    },
    /// A value of the wrong type or out of bounds.
    #[error("the configuration's `{key}` cannot be used: {problem}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// The file is not there or no TOML.
    #[error("the configuration cannot be read: {0}")]
    File(String),
}

/// The configuration with where each value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// One entry for each key.
    pub entries: Vec<ConfigEntry>,
}

/// What the command line sets, by dotted key.
#[derive(Clone, Debug, Default)]
pub struct Overrides(BTreeMap<String, Value>);

impl Overrides {
    /// Sets a key.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }
}

impl Provider for Overrides {
    fn metadata(&self) -> Metadata {
        Metadata::named("command line")
    }

    fn data(&self) -> Result<figment::value::Map<Profile, Dict>, figment::Error> {
        let mut root = Dict::new();
        for (key, value) in &self.0 {
            match key.split_once('.') {
                None => {
                    root.insert(key.clone(), value.clone());
                }
                Some((section, key)) => {
                    let empty = || Value::from(Dict::new());
                    if let Value::Dict(_, section) = root.entry(section.to_owned()).or_insert_with(empty) {
                        section.insert(key.to_owned(), value.clone());
                    }
                }
            }
        }
        Ok(figment::value::Map::from([(Profile::Default, root)]))
    }
}

/// `$XDG_DATA_HOME/rocketmesh`, else `~/.local/share/rocketmesh`, else `rocketmesh-data` here.
pub fn default_data_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from("rocketmesh-data"), |base| base.join("rocketmesh"))
}

/// Reads the configuration. `file` must exist where it is given; else [`CONFIG_FILE`] of the data directory is read if it is
/// there.
///
/// # Errors
/// [`ConfigError`], which names the key and what would be right.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let defaults = Config::defaults(default_data_dir());
    let environment = || Env::prefixed("ROCKETMESH_").ignore(&OTHER_VARIABLES).split("__");
    let early = Figment::from(Serialized::defaults(&defaults)).merge(environment()).merge(overrides.clone());
    let implied = early.extract_inner::<PathBuf>("data_dir").unwrap_or_default().join(CONFIG_FILE);
    let mut figment = Figment::from(Serialized::defaults(&defaults));
    match file {
        Some(file) => figment = figment.merge(toml(file)?),
        None if implied.exists() => figment = figment.merge(toml(&implied)?),
        None => {}
    }
    let figment = figment.merge(environment()).merge(overrides.clone());
    let known = flatten(&Figment::from(Serialized::defaults(&defaults)))?;
    for key in flatten(&figment)?.keys().filter(|key| !known.contains_key(*key)) {
        let section = known.keys().any(|known| known.starts_with(&format!("{key}.")));
        if !section {
            return Err(ConfigError::UnknownKey {
                key: key.clone(),
                origin: source(&figment, key),
                nearest: nearest(key, known.keys()),
            });
        }
    }
    let config: Config = figment.extract().map_err(from_figment)?;
    config.check()?;
    let entries = flatten(&figment)?
        .into_iter()
        .map(|(key, value)| ConfigEntry { source: source(&figment, &key), value: show(&value), key })
        .collect();
    Ok(Loaded { config, entries })
}

/// A file that can be read and is TOML. What is wrong with one that is not is said with its name.
fn toml(file: &Path) -> Result<Data<Toml>, ConfigError> {
    let failed = |why: String| ConfigError::File(format!("{}: {why}", file.display()));
    fs::read_to_string(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ConfigError::File(format!("{} does not exist", file.display())),
        io::ErrorKind::PermissionDenied => failed(format!("{error}; let the node's user read it")),
        _ => failed(error.to_string()),
    })?;
    let toml = Toml::file_exact(file);
    toml.data().map_err(|error| failed(one_line(&error.to_string())))?;
    Ok(toml)
}

/// What the TOML library says of a file, without its drawing of the place: line and column are in the first line.
fn one_line(text: &str) -> String {
    let drawn = |line: &str| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !drawn(line));
    lines.collect::<Vec<_>>().join("; ")
}

fn from_figment(error: figment::Error) -> ConfigError {
    let key = error.path.join(".");
    if key.is_empty() {
        return ConfigError::File(one_line(&error.to_string()));
    }
    let origin = error.metadata.as_ref().map(describe).unwrap_or_default();
    let problem = match &error.kind {
        Kind::UnknownVariant(given, known) => format!("`{given}` is none of {}", known.join(", ")),
        kind => kind.to_string(),
    };
    ConfigError::Value { key, problem: format!("{problem} (set by {origin})") }
}

fn flatten(figment: &Figment) -> Result<BTreeMap<String, Value>, ConfigError> {
    let data = figment.data().map_err(|error| ConfigError::File(one_line(&error.to_string())))?;
    let mut flat = BTreeMap::new();
    for dict in data.into_values() {
        flatten_into(&mut flat, "", dict);
    }
    Ok(flat)
}

fn flatten_into(flat: &mut BTreeMap<String, Value>, prefix: &str, section: Dict) {
    for (key, value) in section {
        let key = format!("{prefix}{key}");
        match value {
            Value::Dict(_, section) => flatten_into(flat, &format!("{key}."), section),
            value => drop(flat.insert(key, value)),
        }
    }
}

fn source(figment: &Figment, key: &str) -> String {
    figment.find_metadata(key).map(describe).unwrap_or_default()
}

fn describe(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("environment") => "the environment (ROCKETMESH_…)".to_owned(),
        _ if metadata.name == "command line" => "command line".to_owned(),
        _ => "default".to_owned(),
    }
}

fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .max_by(|a, b| {
            let likeness = |known: &str| {
                // A key without its section, or in the wrong one, is as common as a misspelt one.
                strsim::jaro_winkler(key, known).max(strsim::jaro_winkler(&last(key), &last(known)) * 0.99)
            };
            likeness(a).total_cmp(&likeness(b))
        })
        .cloned()
        .unwrap_or_default()
}

fn show(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A list, or a text with commas: what an environment variable is good at.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::List(list) => list,
        Either::Text(text) => {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_one_line_with_its_place() {
        let said = "TOML parse error at line 12, column 8\n   |\n12 | name = | x\n   |        ^\ninvalid string\nexpected `\"`\n";
        assert_eq!(one_line(said), "TOML parse error at line 12, column 8; invalid string; expected `\"`");
        assert_eq!(one_line("Is a directory (os error 21)\n"), "Is a directory (os error 21)");
    }
}
