//! Scenarios: what a researcher writes in TOML, read strictly and checked before anything runs.
//!
//! Every field has its default, its unit and its range here; `docs/simulation.md` shows them by example. Times are virtual.

mod files;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rocketmesh_node::Tuning;
use serde::{Deserialize, Serialize};

pub use files::{Files, FullDisk, MAX_FILE, SentFiles};

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

/// Where servers are and how they are connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Cities of the latency table that servers are spread over in turn; `["lan"]` is one room with 0.5 ms.
    pub regions: Vec<String>,
    /// How much a packet's way varies: up to this fraction of the latency is added at random. 0 to 10.
    pub jitter: f64,
    /// The probability that a packet is lost. TCP sends it again after a round trip and more, in order. 0 to 0.5.
    pub loss: f64,
    /// Kinds of lines and how many servers have them. The rest has 100 Mbit/s both ways.
    pub bandwidth: Vec<Bandwidth>,
    /// The share of servers that nobody can dial. 0 to 0.95.
    pub nat: f64,
    /// How many servers are known: each server is told the addresses of three of them. They are never behind NAT and never
    /// hostile.
    pub bootstraps: usize,
}

/// One kind of line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// A name for reports.
    pub name: String,
    /// The share of servers that have it. 0 to 1.
    pub share: f64,
    /// To the server, in kbit/s.
    pub down_kbps: u64,
    /// From the server, in kbit/s.
    pub up_kbps: u64,
}

/// Parameters under study; none is the node's default. The protocol layer leaves out what says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mesh {
    /// Peers of a room that get every event at once.
    pub degree: Option<usize>,
    /// Fewest and most of them before a heartbeat mends it.
    pub degree_low: Option<usize>,
    /// See `degree_low`.
    pub degree_high: Option<usize>,
    /// Peers that are told ids in a heartbeat, so that they can ask for what they missed.
    pub lazy: Option<usize>,
    /// Whether an event of one's own goes to every peer of the room. Real layer only.
    pub flood_own: Option<bool>,
    /// Whether servers tell their mesh which events they have, so that fewer copies travel. Real layer only.
    pub decline_copies: Option<bool>,
    /// The pause between heartbeats.
    pub heartbeat: Option<Span>,
    /// How long two peers leave each other out of a mesh after one of them did so. Real layer only.
    pub prune_backoff: Option<Span>,
    /// How often rooms are compared with every connected server.
    pub compare_every: Option<Span>,
    /// With how many servers of each room to be connected.
    pub company: Option<usize>,
    /// The most connections that are kept without need. Real layer only.
    pub spare_connections: Option<usize>,
}

impl Mesh {
    /// The node's numbers, with what the scenario changes of them. Bounds of the mesh follow its degree where only that is
    /// given.
    pub fn tuning(&self) -> Tuning {
        let own = Tuning::default();
        let degree = self.degree.unwrap_or(own.mesh_degree).max(1);
        let (low, high) = match self.degree {
            Some(degree) => ((degree * 3).div_ceil(4), degree * 2),
            None => (own.mesh_low, own.mesh_high),
        };
        Tuning {
            mesh_degree: degree,
            mesh_low: self.degree_low.unwrap_or(low).clamp(1, degree),
            mesh_high: self.degree_high.unwrap_or(high).max(degree),
            gossip_lazy: self.lazy.unwrap_or(own.gossip_lazy),
            flood_own: self.flood_own.unwrap_or(own.flood_own),
            decline_copies: self.decline_copies.unwrap_or(own.decline_copies),
            heartbeat: self.heartbeat.map_or(own.heartbeat, |span| span.0),
            prune_backoff: self.prune_backoff.map_or(own.prune_backoff, |span| span.0),
            compare_every: self.compare_every.map_or(own.compare_every, |span| span.0),
            company: self.company.unwrap_or(own.company),
            spare_connections: self.spare_connections.unwrap_or(own.spare_connections),
        }
    }
}

/// A room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// A name that talks refer to.
    pub name: String,
    /// How many rooms of this kind there are; with more than one, `NAME-0`, `NAME-1` and so on.
    #[serde(default = "one")]
    pub count: usize,
    /// How many servers take part in each: chosen at random, or all.
    #[serde(default, skip_serializing_if = "Members::is_all")]
    pub servers: Members,
    /// When they come in.
    #[serde(default)]
    pub joined: Joining,
    /// How many of the first servers' users are moderators.
    #[serde(default)]
    pub moderators: usize,
    /// How many more are owners beside the creator.
    #[serde(default)]
    pub owners: usize,
}

/// How many servers take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Members {
    /// All of them.
    #[default]
    All,
    /// This many.
    Some(usize),
}

impl Members {
    fn is_all(&self) -> bool {
        *self == Members::All
    }
}

/// When servers come into a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "when", rename_all = "kebab-case")]
pub enum Joining {
    /// Long ago: everybody begins with the room's past in their store.
    #[default]
    Before,
    /// Half of the members begin with the room; the others come in at this time, spread over a while, each through the
    /// network.
    Crowd {
        /// When the first comes.
        at: Span,
        /// Within how long all come.
        within: Span,
        /// The share that comes then. 0 to 1.
        share: f64,
    },
}

/// Who speaks when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Talk {
    /// In which rooms, by the name they have above.
    pub room: String,
    /// Messages a second in each such room, at random times by random members. 0 with `chat`.
    #[serde(default)]
    pub rate: f64,
    /// A real conversation in its stead, as an IRC log: nicks are users spread over the room's servers.
    #[serde(default)]
    pub chat: Option<String>,
    /// How many times as fast as the log's minutes the conversation goes. Only with `chat`.
    #[serde(default = "one_times")]
    pub speed: f64,
    /// From when on.
    #[serde(default)]
    pub from: Span,
    /// Until when; none is to the end.
    #[serde(default)]
    pub until: Option<Span>,
    /// The text's length in bytes; real texts vary around it. Not with `chat`.
    #[serde(default = "eighty")]
    pub bytes: usize,
    /// Only servers of these regions speak; none is all.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Files that messages name; none without this. Not with `chat`; real layer only.
    #[serde(default)]
    pub files: Option<SentFiles>,
}

/// One deed of moderation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deed {
    /// In which room.
    pub room: String,
    /// When.
    pub at: Span,
    /// Which member does it: 0 is the creator, then in the room's order of members.
    pub by: usize,
    /// What.
    pub act: Act,
    /// To whom; none for what concerns the room.
    #[serde(default)]
    pub whom: Option<usize>,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Ban.
    Ban,
    /// Lift a ban.
    Unban,
    /// Kick.
    Kick,
    /// Come in again.
    Join,
    /// Make an owner.
    Owner,
    /// Make a moderator.
    Moderator,
    /// Take every role.
    Demote,
    /// Mute.
    Mute,
    /// Unmute.
    Unmute,
    /// Set the topic.
    Topic,
    /// Only owners and moderators may write from now on.
    ReadOnly,
    /// Everybody may again.
    Writable,
}

/// Servers that come and go by shutting down and starting again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// The share of servers that take part. 0 to 1.
    pub share: f64,
    /// From when on.
    #[serde(default)]
    pub from: Span,
    /// Until when; none is to the end.
    #[serde(default)]
    pub until: Option<Span>,
    /// How long one stays, on average.
    pub stay: Span,
    /// How long it is away, on average.
    pub away: Span,
}

/// A cut between parts of the network. What crosses it stalls, and breaks after a while as TCP does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// When it begins.
    pub at: Span,
    /// When it is over.
    pub until: Span,
    /// The share of servers on the one side, chosen at random; or, below, regions. 0 to 1.
    #[serde(default)]
    pub share: f64,
    /// These regions are on the one side.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Members of the first room by number that are on the one side, after those above.
    #[serde(default)]
    pub members: Vec<usize>,
}

/// A crash: the process is gone, and what it had not flushed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// When.
    pub at: Span,
    /// The share of servers. 0 to 1.
    pub share: f64,
    /// After how long it starts again.
    pub after: Span,
}

/// A disk that takes its time with every flush.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowDisk {
    /// The share of servers. 0 to 1.
    pub share: f64,
    /// How long each flush takes.
    pub flush: Span,
}

/// A clock that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSkew {
    /// The share of servers. 0 to 1.
    pub share: f64,
    /// By how much at most, ahead or behind.
    pub most: Span,
}

/// Servers that mean harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hostile {
    /// The share of servers. 0 to 0.5.
    pub share: f64,
    /// What they do.
    pub what: Harm,
}

/// What hostile servers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// Sends as many valid messages as it can.
    Flood,
    /// Signs several events for one place of its chain and tells different servers different ones.
    Fork,
    /// Writes as if it had never seen what took its authority.
    BackDate,
    /// Takes everything, passes nothing on, and answers nothing.
    Withhold,
    /// Sends bytes that are no events, and events with broken signatures.
    Garbage,
    /// Crowds around one server with many identities that pass nothing on to it.
    Eclipse,
}

impl Harm {
    /// The word in scenarios and records.
    pub const fn word(self) -> &'static str {
        match self {
            Harm::Flood => "flood",
            Harm::Fork => "fork",
            Harm::BackDate => "back-date",
            Harm::Withhold => "withhold",
            Harm::Garbage => "garbage",
            Harm::Eclipse => "eclipse",
        }
    }
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

impl Default for Network {
    fn default() -> Self {
        Network {
            regions: vec!["lan".to_owned()],
            jitter: 0.1,
            loss: 0.0,
            bandwidth: Vec::new(),
            nat: 0.0,
            bootstraps: 3,
        }
    }
}

/// A stretch of virtual time, written as `250ms`, `10s`, `5m`, `2h` or `30d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    fn half_minute() -> Self {
        Span(Duration::from_secs(30))
    }

    fn two_minutes() -> Self {
        Span(Duration::from_secs(120))
    }
}

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = || format!("`{text}` is no time; expected a number and ms, s, m, h or d, such as 30s or 5m");
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
        let ms = number.checked_mul(*ms).filter(|ms| u128::from(*ms) <= MAX_DURATION.as_millis());
        Ok(Span(Duration::from_millis(ms.ok_or_else(|| format!("`{text}` is longer than any run may be"))?)))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        let (name, unit) = UNITS.iter().rev().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit)).unwrap_or(&UNITS[1]);
        write!(formatter, "{}{name}", ms / unit)
    }
}

const fn one() -> usize {
    1
}

const fn eighty() -> usize {
    80
}

const fn one_times() -> f64 {
    1.0
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
        Scenario::parse(path, &text)
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let fail = |field: &str, reason: String| Err(ScenarioError::Invalid { field: field.to_owned(), reason });
        let within = |field: &str, value: f64, most: f64| match (0.0..=most).contains(&value) {
            true => Ok(()),
            false => Err(ScenarioError::Invalid {
                field: field.to_owned(),
                reason: format!("{value} is not between 0 and {most}"),
            }),
        };
        if self.servers < 2 || self.servers > MAX_SERVERS {
            return fail("servers", format!("{} is not between 2 and {MAX_SERVERS}", self.servers));
        }
        let network = &self.network;
        within("network.jitter", network.jitter, 10.0)?;
        within("network.loss", network.loss, 0.5)?;
        within("network.nat", network.nat, 0.95)?;
        if network.bootstraps == 0 || network.bootstraps > self.servers {
            return fail(
                "network.bootstraps",
                "at least one server, and no more than there are, can be known".to_owned(),
            );
        }
        let cut = self.partitions.iter().flat_map(|cut| &cut.regions);
        let speaking = self.talks.iter().flat_map(|talk| &talk.regions);
        for region in network.regions.iter().chain(cut).chain(speaking) {
            if crate::cities::index(region).is_none() {
                let known = crate::cities::names().join(", ");
                return fail("regions", format!("`{region}` is not in the latency table; it has lan, {known}"));
            }
        }
        if network.regions.is_empty() {
            return fail("network.regions", "name at least one region".to_owned());
        }
        within("network.bandwidth", network.bandwidth.iter().map(|line| line.share).sum(), 1.0)?;
        if network.bandwidth.iter().any(|line| line.down_kbps == 0 || line.up_kbps == 0) {
            return fail("network.bandwidth", "a line carries at least 1 kbit/s".to_owned());
        }
        let rooms: Vec<&str> = self.rooms.iter().map(|room| room.name.as_str()).collect();
        for room in &self.rooms {
            if let Members::Some(servers) = room.servers
                && (servers == 0 || servers > self.servers)
            {
                return fail("room.servers", format!("{servers} is not between 1 and {}", self.servers));
            }
            if let Joining::Crowd { share, .. } = room.joined {
                within("room.joined.share", share, 1.0)?;
            }
        }
        let named = self.talks.iter().map(|talk| &talk.room).chain(self.deeds.iter().map(|deed| &deed.room));
        for room in named {
            if !rooms.contains(&room.as_str()) {
                return fail("talk.room", format!("there is no room `{room}`; there are: {}", rooms.join(", ")));
            }
        }
        for talk in &self.talks {
            within("talk.rate", talk.rate, 100_000.0)?;
            if talk.chat.is_none() && talk.rate == 0.0 {
                return fail("talk", "give a rate or a chat".to_owned());
            }
            if talk.bytes > 36_000 {
                return fail("talk.bytes", "at most 36000, since texts vary up to 1.75 times that".to_owned());
            }
        }
        for (field, share, most) in self.shares() {
            within(field, share, most)?;
        }
        self.check_files()?;
        within("hostile", self.hostile.iter().map(|hostile| hostile.share).sum(), 0.5)
    }

    fn shares(&self) -> Vec<(&'static str, f64, f64)> {
        let churn = self.churn.iter().map(|churn| ("churn.share", churn.share, 1.0));
        let crashes = self.crashes.iter().map(|crash| ("crash.share", crash.share, 1.0));
        let slow = self.slow_disk.iter().map(|slow| ("slow_disk.share", slow.share, 1.0));
        let skew = self.clock_skew.iter().map(|skew| ("clock_skew.share", skew.share, 1.0));
        let cuts = self.partitions.iter().map(|cut| ("partition.share", cut.share, 1.0));
        churn.chain(crashes).chain(slow).chain(skew).chain(cuts).collect()
    }
}
