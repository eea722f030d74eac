//! What a run leaves behind: a folder of plain files that anybody can plot.
//!
//! | file | a row is |
//! |---|---|
//! | `run.json` | the whole run in short: [`About`] |
//! | `scenario.toml` | the scenario with every default filled in |
//! | `events.csv` | an event and how it spread: [`EventRow`] |
//! | `latency.csv` | how many deliveries took how long: [`LatencyRow`] |
//! | `traffic.csv` | bytes of one kind in one stretch of time: [`TrafficRow`] |
//! | `servers.csv` | a server at the end: [`ServerRow`] |
//! | `mesh.csv` | how many servers had how many peers in a room's mesh: [`MeshRow`] |
//! | `links.csv` | a connection at the end: [`LinkRow`] |
//! | `progress.csv` | the whole run at one moment: [`ProgressRow`] |
//! | `disturbances.csv` | something that went wrong, and how long it took to heal: [`DisturbanceRow`] |
//! | `invariants.csv` | an invariant: [`InvariantRow`] |
//!
//! Times are virtual and in seconds or milliseconds as their names say; they count from the end of the warm-up.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A run in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The scenario's name.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// What it is to show.
    pub about: String,
    /// `real` or `protocol`.
    pub layer: String,
    /// The seed.
    pub seed: u64,
    /// The commit that was built, or `unknown`.
    pub commit: String,
    /// The version of this tool.
    pub version: String,
    /// The compiler.
    pub rustc: String,
    /// The command that repeats the run.
    pub command: String,
    /// The hash over everything that happened.
    pub trace: String,
    /// How many servers.
    pub servers: usize,
    /// How many of them meant harm.
    pub hostile: usize,
    /// How many rooms.
    pub rooms: usize,
    /// Virtual seconds in all, warm-up and settling included.
    pub virtual_s: f64,
    /// Real seconds.
    pub wall_s: f64,
    /// Events that were said.
    pub events: u64,
    /// Deliveries that should have been: for each event one to every other honest server in its room.
    pub expected: u64,
    /// Deliveries that were made.
    pub delivered: u64,
    /// Of these, those that gossip brought a copy of, be it after a comparison had brought one.
    pub by_gossip: u64,
    /// Copies of an event that reached a server, on average, the first included; over deliveries by gossip.
    pub copies: f64,
    /// Half of all deliveries took no longer than this.
    pub p50_ms: f64,
    /// 99 of 100 took no longer than this.
    pub p99_ms: f64,
    /// The longest one.
    pub max_ms: f64,
    /// From the last disturbance's end until every honest server held the same; none if that never came.
    pub heal_s: Option<f64>,
    /// The most memory that the process took.
    pub peak_rss: u64,
    /// Whether everything held.
    pub passed: bool,
    /// What did not, in sentences.
    pub failures: Vec<String>,
}

/// An event and how it spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its number in the run.
    pub event: u32,
    /// The first digits of its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its room's number.
    pub room: u32,
    /// How many servers are in the room.
    pub room_servers: u32,
    /// The server that said it.
    pub origin: u32,
    /// That server's region.
    pub region: String,
    /// When its server had it on disk.
    pub said_ms: f64,
    /// Its size, header and body.
    pub bytes: u32,
    /// How many other honest servers should get it.
    pub expected: u32,
    /// How many got it by gossip.
    pub by_gossip: u32,
    /// How many got it by sync.
    pub by_sync: u32,
    /// Copies that arrived by gossip, in all.
    pub copies: u32,
    /// Half of the deliveries took no longer than this.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// How many deliveries took how long. Buckets grow by a tenth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LatencyRow {
    /// The room's size class: `2-10`, `11-100`, `101-1000` or `1001-`.
    pub room_size: String,
    /// The region that it was said in.
    pub from: String,
    /// The region that it came to.
    pub to: String,
    /// `gossip` or `sync`.
    pub way: String,
    /// The bucket's upper end, in microseconds.
    pub up_to_us: u64,
    /// How many.
    pub count: u64,
}

/// Bytes of one kind that all servers sent in one stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficRow {
    /// The end of the stretch.
    pub t_s: f64,
    /// `payload`, `gossip control`, `sync`, `discovery` or `connections`.
    pub kind: String,
    /// How many bytes.
    pub bytes: u64,
}

/// The kinds of traffic, in the order in which pictures show them.
pub const TRAFFIC: [&str; 5] = ["payload", "gossip control", "sync", "discovery", "connections"];

/// A server at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerRow {
    /// Its number.
    pub server: u32,
    /// Its region.
    pub region: String,
    /// Its kind of line.
    pub line: String,
    /// Whether nobody can dial it.
    pub nat: bool,
    /// What harm it means, as scenarios write it; empty for none.
    pub hostile: String,
    /// How many rooms it is in.
    pub rooms: u32,
    /// Connected servers.
    pub connections: u32,
    /// Peers in the mesh of a room, on average over its rooms.
    pub mesh_degree: f64,
    /// Events that it holds.
    pub events: u64,
    /// Bytes that it received.
    pub bytes_in: u64,
    /// Bytes that it sent.
    pub bytes_out: u64,
    /// Bytes of its store.
    pub store_bytes: u64,
    /// How often it was started again.
    pub restarts: u32,
}

/// How many servers had how many peers in a room's mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeshRow {
    /// When.
    pub t_s: f64,
    /// How many peers.
    pub degree: u32,
    /// How many servers, counted once for each of their rooms.
    pub servers: u32,
}

/// A connection at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRow {
    /// The server that dialled.
    pub from: u32,
    /// The other.
    pub to: u32,
}

/// The whole run at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgressRow {
    /// When.
    pub t_s: f64,
    /// Honest servers that run.
    pub up: u32,
    /// Events said so far.
    pub said: u64,
    /// Deliveries made so far.
    pub delivered: u64,
    /// Deliveries that are still to come.
    pub pending: u64,
    /// Pairs of an honest running server and a room of it that hold something else than most.
    pub apart: u32,
    /// Connections between servers.
    pub links: u32,
    /// Memory of the process.
    pub rss: u64,
    /// Real seconds since the start.
    pub wall_s: f64,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DisturbanceRow {
    /// What, in words.
    pub what: String,
    /// When it began.
    pub at_s: f64,
    /// When it was over.
    pub until_s: f64,
    /// From then until everything said before was everywhere; none if that never came.
    pub healed_s: Option<f64>,
}

/// An invariant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvariantRow {
    /// Its name.
    pub name: String,
    /// What it promises.
    pub promise: String,
    /// How often it was checked.
    pub checks: u64,
    /// How often it did not hold.
    pub violations: u64,
    /// The first time it did not hold: when, where, what.
    pub first: String,
}

/// Everything that a run leaves behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// `run.json`
    pub about: About,
    /// `scenario.toml`
    pub scenario: String,
    /// `events.csv`
    pub events: Vec<EventRow>,
    /// `latency.csv`
    pub latency: Vec<LatencyRow>,
    /// `traffic.csv`
    pub traffic: Vec<TrafficRow>,
    /// `servers.csv`
    pub servers: Vec<ServerRow>,
    /// `mesh.csv`
    pub mesh: Vec<MeshRow>,
    /// `links.csv`
    pub links: Vec<LinkRow>,
    /// `progress.csv`
    pub progress: Vec<ProgressRow>,
    /// `disturbances.csv`
    pub disturbances: Vec<DisturbanceRow>,
    /// `invariants.csv`
    pub invariants: Vec<InvariantRow>,
}

/// Why a record cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct RecordError {
    path: String,
    reason: String,
}

fn failed(path: &Path, error: impl std::fmt::Display) -> RecordError {
    RecordError { path: path.display().to_string(), reason: error.to_string() }
}

impl Record {
    /// Writes the folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`RecordError`] with the file.
    pub fn write(&self, folder: &Path) -> Result<(), RecordError> {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let about = serde_json::to_vec_pretty(&self.about).map_err(|error| failed(folder, error))?;
        for (name, bytes) in [("run.json", about.as_slice()), ("scenario.toml", self.scenario.as_bytes())] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|error| failed(&path, error))?;
        }
        write_rows(&folder.join("events.csv"), &self.events)?;
        write_rows(&folder.join("latency.csv"), &self.latency)?;
        write_rows(&folder.join("traffic.csv"), &self.traffic)?;
        write_rows(&folder.join("servers.csv"), &self.servers)?;
        write_rows(&folder.join("mesh.csv"), &self.mesh)?;
        write_rows(&folder.join("links.csv"), &self.links)?;
        write_rows(&folder.join("progress.csv"), &self.progress)?;
        write_rows(&folder.join("disturbances.csv"), &self.disturbances)?;
        write_rows(&folder.join("invariants.csv"), &self.invariants)
    }

    /// Reads a folder that [`Record::write`] wrote.
    ///
    /// # Errors
    /// [`RecordError`] with the file.
    pub fn read(folder: &Path) -> Result<Self, RecordError> {
        let text = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|error| failed(&path, error))
        };
        let about =
            serde_json::from_str(&text("run.json")?).map_err(|error| failed(&folder.join("run.json"), error))?;
        Ok(Record {
            about,
            scenario: text("scenario.toml")?,
            events: read_rows(&folder.join("events.csv"))?,
            latency: read_rows(&folder.join("latency.csv"))?,
            traffic: read_rows(&folder.join("traffic.csv"))?,
            servers: read_rows(&folder.join("servers.csv"))?,
            mesh: read_rows(&folder.join("mesh.csv"))?,
            links: read_rows(&folder.join("links.csv"))?,
            progress: read_rows(&folder.join("progress.csv"))?,
            disturbances: read_rows(&folder.join("disturbances.csv"))?,
            invariants: read_rows(&folder.join("invariants.csv"))?,
        })
    }
}

fn write_rows<T: Serialize>(path: &Path, rows: &[T]) -> Result<(), RecordError> {
    let mut writer = csv::Writer::from_path(path).map_err(|error| failed(path, error))?;
    for row in rows {
        writer.serialize(row).map_err(|error| failed(path, error))?;
    }
    writer.flush().map_err(|error| failed(path, error))
}

fn read_rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| failed(path, error))?;
    reader.deserialize().collect::<Result<_, _>>().map_err(|error| failed(path, error))
}
