//! What it costs two servers to find out that nothing is missing, or that a few events are: beside the bounds that the project
//! sets itself.
//!
//! Both nodes run in this process, over real sockets, and compare far more often than a node does that nobody hurries; so what is
//! measured is over before anything else is said. Events that gossip did not bring are handed to one of the two as if a third server
//! had answered with them.

use std::path::Path;
use std::time::Duration;

use rocketmesh_node::{Node, NodeBuilder, Tuning};
use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::WireEvent;
use serde::Serialize;

use super::{introduced, key, size};
use crate::Failure;
use crate::prepared::{Filling, PreparedRoom};
use crate::process::{Api, until};

/// The events that are missing.
const MISSING: [usize; 2] = [1, 10];
/// Servers in the room beside the two, what they have said before, and how often each number of events is measured: the median
/// counts, since a ping or a question of the DHT may fall into a round.
const OTHERS: u8 = 8;
const SAID: usize = 100;
const ROUNDS: usize = 5;
/// A bound for what is received: so much more than the missing events, and so many bytes for each server in the room.
const MORE: f64 = 1.1;
const PER_SERVER: u64 = 64;
/// A bound for finding out that nothing is missing, in bytes for a room and peer.
const NOTHING: u64 = 200;
/// How often the two compare while events are missing, and while none are.
const PATIENTLY: Duration = Duration::from_secs(1);
const EAGERLY: Duration = Duration::from_millis(250);
/// Comparisons after which two servers that met have nothing left to tell each other, and those that are measured.
const SETTLED: u64 = 24;
const MEASURED: u64 = 40;

/// How a server came to a few events that it missed.
#[derive(Clone, Debug, Serialize)]
pub struct Few {
    /// Events that were missing.
    pub events: usize,
    /// Servers in the room.
    pub servers: usize,
    /// Bytes that it received until it had them: the median.
    pub received: u64,
    /// The bytes of the events' blocks.
    pub least: u64,
    /// What is not to be exceeded.
    pub bound: u64,
}

impl Few {
    /// The names of [`Few::row`]'s columns.
    pub const HEADER: [&'static str; 5] = ["missed", "servers in the room", "bytes received", "least", "bound"];

    /// The row of a table for people.
    pub fn row(&self) -> [String; 5] {
        let Few { events, servers, received, least, bound } = self;
        [*events as u64, *servers as u64, *received, *least, *bound].map(|number| number.to_string())
    }
}

/// What it cost to find out that nothing is missing.
#[derive(Clone, Debug, Serialize)]
pub struct Alike {
    /// Rooms that both are in.
    pub rooms: usize,
    /// Comparisons that were counted, of either side.
    pub comparisons: u64,
    /// Bytes that both sent meanwhile, whatever for.
    pub bytes: u64,
    /// Of these for one comparison of one room.
    pub each: f64,
    /// What is not to be exceeded.
    pub bound: u64,
}

impl Alike {
    /// The names of [`Alike::row`]'s columns.
    pub const HEADER: [&'static str; 4] =
        ["rooms in common", "comparisons", "bytes for each, room and peer, nothing missing", "bound"];

    /// The row of a table for people.
    pub fn row(&self) -> [String; 4] {
        [
            self.rooms.to_string(),
            self.comparisons.to_string(),
            format!("{:.1}", self.each),
            format!("less than {}", self.bound),
        ]
    }
}

/// Lets a server miss a few events of a room with ten servers.
///
/// # Errors
/// If a node does not start, or does not come to the events.
pub async fn few(texts: &[String]) -> Result<Vec<Few>, Failure> {
    eprintln!("Letting a server miss a few events of a room with {} servers.", OTHERS + 2);
    let directory = tempfile::tempdir()?;
    let (mut room, create) = PreparedRoom::begin(key(1))?;
    let mut beginning = vec![create, room.join(&key(2), "bob")?];
    let others: Vec<ServerKey> = (0..OTHERS).map(|server| key(100 + server)).collect();
    for other in &others {
        beginning.push(room.join(other, "carol")?);
    }
    let mut speakers = others.iter().cycle();
    let mut next = |room: &mut PreparedRoom, text: &str| -> Result<Event, Failure> {
        let speaker = speakers.next().ok_or("nobody is in the room")?;
        room.say_as(speaker, "carol", text)
    };
    let mut texts = texts.iter().map(String::as_str).cycle();
    for text in texts.by_ref().take(SAID) {
        beginning.push(next(&mut room, text)?);
    }
    let pair = Pair::start(directory.path(), PATIENTLY, |filling| {
        for event in &beginning {
            filling.put(room.outline(), event.clone())?;
        }
        filling.flush(room.outline())
    })
    .await?;
    let mut all = Vec::new();
    for events in MISSING {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let mut missing = Vec::new();
            for text in texts.by_ref().take(events) {
                missing.push(next(&mut room, text)?);
            }
            let least: u64 = missing.iter().map(size).sum();
            let digest = room.outline().have().digest();
            rounds.push((pair.repaired(&missing, digest).await?, least));
        }
        rounds.sort_unstable();
        let (received, least) = rounds[ROUNDS / 2];
        let servers = usize::from(OTHERS) + 2;
        let bound = (least as f64 * MORE) as u64 + PER_SERVER * servers as u64;
        all.push(Few { events, servers, received, least, bound });
    }
    pair.stop().await;
    Ok(all)
}

/// Lets two servers that have the same rooms compare them again and again.
///
/// # Errors
/// If a node does not start, or the two do not compare.
pub async fn alike(rooms: usize) -> Result<Alike, Failure> {
    eprintln!("Comparing {rooms} rooms in which nothing is missing.");
    let directory = tempfile::tempdir()?;
    let mut prepared = Vec::new();
    for number in 0..rooms {
        let (mut room, create) = PreparedRoom::named(key(1), &format!("room {number}"))?;
        let events = [create, room.join(&key(2), "bob")?];
        prepared.push((room, events));
    }
    let pair = Pair::start(directory.path(), EAGERLY, |filling| {
        for (room, events) in &prepared {
            for event in events {
                filling.put(room.outline(), event.clone())?;
            }
            filling.flush(room.outline())?;
        }
        Ok(())
    })
    .await?;
    pair.compares(SETTLED).await?;
    let (bytes, served) = (pair.sent().await?, pair.served().await?);
    pair.compares(MEASURED).await?;
    let (bytes, comparisons) = (pair.sent().await? - bytes, pair.served().await? - served);
    pair.stop().await;
    let each = bytes as f64 / comparisons as f64 / rooms as f64;
    Ok(Alike { rooms, comparisons, bytes, each, bound: NOTHING })
}

/// Two connected nodes.
struct Pair {
    full: (Node, Api),
    behind: (Node, Api),
}

impl Pair {
    /// Fills the stores of both alike, starts them and connects them.
    async fn start(
        directory: &Path,
        compare_every: Duration,
        fill: impl Fn(&mut Filling) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for (seed, name) in [(1, "full.example.org"), (2, "behind.example.org")] {
            let directory = directory.join(name);
            let mut filling = Filling::open(&directory, Some(&key(seed)))?;
            fill(&mut filling)?;
            filling.close()?;
            nodes.push(start(&directory, name, compare_every).await?);
        }
        let [full, behind] = <[(Node, Api); 2]>::try_from(nodes).map_err(|_| "two nodes were to be started")?;
        let address = full.0.addresses().await.first().ok_or("the node listens nowhere")?.to_string();
        behind.1.connect(&address).await?;
        introduced(&behind.1).await?;
        introduced(&full.1).await?;
        Ok(Pair { full, behind })
    }

    /// Hands events to one of the two, and gives how many bytes the other one received until it had them.
    /// `digest` is the room's with them.
    async fn repaired(&self, events: &[Event], digest: [u8; 32]) -> Result<u64, Failure> {
        let room = events.first().ok_or("no events were to be missed")?.room();
        self.compares(4).await?;
        let before = self.behind.1.received().await?;
        let new = self.full.0.ingest(room, events.iter().map(WireEvent::of).collect()).await?;
        if new != events.len() {
            return Err(format!("{new} of {} events were taken in", events.len()).into());
        }
        let behind = self.behind.0.client();
        until("the missing events come", || async { Ok(behind.digest(&room) == Some(digest)) }).await?;
        Ok(self.behind.1.received().await? - before)
    }

    /// Waits until so many more comparisons are answered, of either side.
    async fn compares(&self, times: u64) -> Result<(), Failure> {
        let before = self.served().await?;
        until("the two compare", || async { Ok(self.served().await? >= before + times) }).await
    }

    async fn served(&self) -> Result<u64, Failure> {
        Ok(self.full.1.served().await? + self.behind.1.served().await?)
    }

    async fn sent(&self) -> Result<u64, Failure> {
        Ok(self.full.1.sent().await? + self.behind.1.sent().await?)
    }

    async fn stop(self) {
        self.behind.0.shutdown().await;
        self.full.0.shutdown().await;
    }
}

async fn start(directory: &Path, name: &str, compare_every: Duration) -> Result<(Node, Api), Failure> {
    // Most servers of the room do not run: nobody is to look for them in the DHT meanwhile.
    let tuning = Tuning { compare_every, company: 2, ..Tuning::default() };
    let node = NodeBuilder::in_directory(directory)
        .configure(|config| {
            config.name = name.to_owned();
            config.network.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
            config.network.mdns = false;
            config.network.upnp = false;
            config.api.listen = "127.0.0.1:0".to_owned();
        })
        .tuning(tuning)
        .start()
        .await?;
    let api = Api::of(directory).ok_or("the node does not say where its API is")?;
    Ok((node, api))
}
