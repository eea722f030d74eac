//! Scenarios: what a researcher writes in TOML, read strictly and checked before anything runs.
//!
//! Every field has its default, its unit and its range here; `docs/simulation.md` shows them by example. Times are virtual.

mod check;
mod faults;
mod files;
mod mesh;
mod network;
mod people;
mod span;

pub use faults::{Churn, ClockSkew, Crash, Harm, Hostile, Partition, SlowDisk};
pub use files::{Files, FullDisk, MAX_FILE, SentFiles};
pub use mesh::Mesh;
pub use network::{Bandwidth, Link, Network};
pub use people::{Act, Deed, Joining, Members, Room, Talk};
pub use span::Span;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most servers of one run.
pub const MAX_SERVERS: usize = 100_000;
/// The longest run, in virtual time.
pub const MAX_DURATION: Duration = Duration::from_secs(400 * 24 * 3600);

/// Why a scenario cannot be run. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// There is no such file and no such scenario in the library.
    #[error("there is no scenario `{0}`: give a file, or one of the names that `rocketmesh-sim list` shows")]
    Unknown(String),
    /// The file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Not TOML, or a key or value that no scenario has.
    #[error("{name} is no scenario: {reason}")]
    Malformed {
        /// The scenario.
        name: String,
        /// Where and why.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as written in the file.
        field: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
}

/// Which layer runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The real node: swarms, handshakes, gossipsub, Kademlia, the room engine.
    #[default]
    Real,
    /// The protocol alone: events, rules, resolution and sync over modelled gossip.
    Protocol,
}

/// A whole scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One line for people.
    pub title: String,
    /// What it is to show.
    #[serde(default)]
    pub about: String,
    /// Which layer runs it.
    #[serde(default)]
    pub layer: Layer,
    /// How many servers, hostile ones included.
    pub servers: usize,
    /// How long people talk and things go wrong, from the moment the mesh has formed.
    pub duration: Span,
    /// How long the mesh may form before that.
    #[serde(default = "Span::half_minute")]
    pub warm_up: Span,
    /// How long the servers may take afterwards, with every fault over, until all hold the same.
    #[serde(default = "Span::two_minutes")]
    pub settle: Span,
    /// Where servers are and how they are connected.
    #[serde(default)]
    pub network: Network,
    /// Parameters of the node that are under study. What is not given is the node's own default.
    #[serde(default)]
    pub mesh: Mesh,
    /// How servers keep files. Real layer only.
    #[serde(default)]
    pub files: Files,
    /// Rooms.
    #[serde(default, rename = "room")]
    pub rooms: Vec<Room>,
    /// Who speaks when.
    #[serde(default, rename = "talk")]
    pub talks: Vec<Talk>,
    /// Single deeds of moderation at given times.
    #[serde(default, rename = "deed")]
    pub deeds: Vec<Deed>,
    /// Servers that come and go.
    #[serde(default)]
    pub churn: Vec<Churn>,
    /// Networks that are cut.
    #[serde(default, rename = "partition")]
    pub partitions: Vec<Partition>,
    /// Servers that die without a word and start again on what they had flushed.
    #[serde(default, rename = "crash")]
    pub crashes: Vec<Crash>,
    /// Disks that take their time.
    #[serde(default)]
    pub slow_disk: Vec<SlowDisk>,
    /// Disks that are nearly full for a while. Real layer only.
    #[serde(default)]
    pub full_disk: Vec<FullDisk>,
    /// Clocks that are wrong.
    #[serde(default)]
    pub clock_skew: Vec<ClockSkew>,
    /// Servers that mean harm.
    #[serde(default)]
    pub hostile: Vec<Hostile>,
    /// What must hold at the end, beside the invariants.
    #[serde(default)]
    pub expect: Expect,
}

/// What must hold at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// The least share of deliveries that gossip alone makes: those it brought a copy of, first or not. 0 to 1.
    pub by_gossip: Option<f64>,
    /// The most copies of an event that a server may get on average.
    pub copies: Option<f64>,
    /// The longest that half of all deliveries may take.
    pub p50: Option<Span>,
    /// The longest that 99 of 100 may take.
    pub p99: Option<Span>,
    /// The longest that it may take until all hold the same after the last disturbance.
    pub heal: Option<Span>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// [`ScenarioError::Malformed`] with the line, [`ScenarioError::Invalid`] with the field.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Scenario = toml::from_str(text)
            .map_err(|error| ScenarioError::Malformed { name: name.to_owned(), reason: error.to_string() })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Reads a scenario from a file.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|error| ScenarioError::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Scenario::parse(&path.display().to_string(), &text)
    }

    /// The scenario with the node's own numbers where it names none, so that a record stays true when defaults change.
    pub fn effective(&self) -> Self {
        Scenario { mesh: self.mesh.effective(), ..self.clone() }
    }

    /// The scenario as TOML, with everything that was left to defaults.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// Sets one field by its dotted path, such as `mesh.degree` or `room.0.servers`, to a TOML value.
    ///
    /// # Errors
    /// [`ScenarioError`] where the path leads nowhere or the value does not fit.
    pub fn set(&self, path: &str, value: &str) -> Result<Self, ScenarioError> {
        let invalid = |reason: String| ScenarioError::Invalid { field: path.to_owned(), reason };
        let mut root: toml::Value = toml::from_str(&self.to_toml()).map_err(|error| invalid(error.to_string()))?;
        // A bare word is a string: `30s` need not be quoted in a shell.
        let parsed: toml::Table = toml::from_str(&format!("value = {value}"))
            .or_else(|_| toml::from_str(&format!("value = {}", toml::Value::String(value.to_owned()))))
            .map_err(|error| invalid(error.to_string()))?;
        let Some(value) = parsed.get("value").cloned() else { return Err(invalid("no value".to_owned())) };
        let mut parts = path.split('.').peekable();
        let mut at = &mut root;
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            at = match at {
                toml::Value::Table(table) if last => {
                    table.insert(part.to_owned(), value);
                    break;
                }
                toml::Value::Table(table) => {
                    table.get_mut(part).ok_or_else(|| invalid(format!("there is no `{part}` in the scenario")))?
                }
                toml::Value::Array(list) => {
                    let place = part.parse().ok().and_then(|place: usize| list.get_mut(place));
                    place.ok_or_else(|| invalid(format!("`{part}` is no place in the list")))?
                }
                _ => return Err(invalid(format!("`{part}` is below a single value"))),
            };
        }
        let text = toml::to_string(&root).map_err(|error| invalid(error.to_string()))?;
        // Nobody has seen this text, so that its lines and columns would lead nowhere.
        let scenario: Scenario = toml::from_str(&text).map_err(|error| invalid(error.message().to_owned()))?;
        scenario.check()?;
        Ok(scenario)
    }
}
