//! A server joins a room that it knows nothing of, from another one: when its user can write, when the newest messages are here,
//! and when the whole history is.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use rocketmesh_node::api::types::{HistoryView, JoinRoom, RoomDetail};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::limits::MAX_RECENT_EVENTS;
use serde::Serialize;

use super::{LONGEST, address, introduced, key, size};
use crate::Failure;
use crate::measure::{mib, peak_resident, took};
use crate::prepared::{Filling, PreparedRoom};
use crate::process::{Process, until_within};
use crate::progress::progress;

/// Over how many servers beside the owner's the members are spread.
const SERVERS: u8 = 10;
/// Messages of a room that is joined for its members' sake: more than what is fetched as the newest.
const TALK: usize = MAX_RECENT_EVENTS + 44;
/// Members of a room that is joined for its events' sake.
const FEW: usize = 10;
/// How long the node may take for a join, in seconds.
const WAIT_S: u64 = 60;
/// How often it is looked what is here. Each look takes the node a moment.
const GLANCE: Duration = Duration::from_millis(20);
/// When the older history comes, in the words of the configuration.
const BACKGROUND: &str = "background";
const REQUEST: &str = "request";

/// How a join went.
#[derive(Clone, Debug, Serialize)]
pub struct Join {
    /// The room's members, before the join.
    pub members: usize,
    /// Over how many servers they are spread.
    pub servers: usize,
    /// The room's events, before the join.
    pub events: usize,
    /// When the older history is fetched: `background` or `request`.
    pub history: &'static str,
    /// From the command to the written join, in seconds.
    pub joined_s: f64,
    /// From the command until the newcomer's first message is on disk, in seconds.
    pub wrote_s: f64,
    /// From the command until the newest messages are shown, in seconds; looked at from that message on.
    pub newest_s: f64,
    /// How many those are.
    pub newest: usize,
    /// Until the node knows that it has everything, in seconds: from the command on, or by request from the request on.
    pub whole_s: f64,
    /// Bytes that the newcomer received for all of it.
    pub received: u64,
    /// The bytes of the events' blocks.
    pub least: u64,
    /// The most memory that the newcomer had resident, in bytes; none where the system does not tell.
    pub joiner_memory: Option<u64>,
    /// The same of the server that it joined from, which is that of its start too.
    pub holder_memory: Option<u64>,
}

impl Join {
    /// The names of [`Join::row`]'s columns.
    pub const HEADER: [&'static str; 6] =
        ["joined", "can write", "newest here", "all here", "bytes received, least", "peak memory, holder's"];

    /// The row of a table for people.
    pub fn row(&self) -> [String; 6] {
        let time = |seconds| took(Duration::from_secs_f64(seconds));
        let memory = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), mib);
        let room =
            if self.members > FEW { format!("{} members", self.members) } else { format!("{} events", self.events) };
        [
            if self.history == REQUEST { format!("{room}, by request") } else { room },
            time(self.wrote_s),
            time(self.newest_s),
            time(self.whole_s),
            format!("{}, {} ({:.2})", self.received, self.least, self.received as f64 / self.least as f64),
            format!("{}, {}", memory(self.joiner_memory), memory(self.holder_memory)),
        ]
    }
}

/// Joins a room with so many members, of whom one has said a few hundred things.
///
/// # Errors
/// If a node does not start, the join is refused, or the history does not come.
pub async fn crowd(binary: &Path, texts: &[String], members: usize) -> Result<Join, Failure> {
    eprintln!("Joining a room with {members} members.");
    let directory = tempfile::tempdir()?;
    let room = Room::prepare(&directory.path().join("full"), texts, members, TALK)?;
    let holder = room.open(binary, &directory.path().join("full")).await?;
    room.join(binary, &directory.path().join("new"), &holder, BACKGROUND).await
}

/// Joins a room with few members and so many events, once with the history in the background and once with it by request.
///
/// # Errors
/// As [`crowd`].
pub async fn archive(binary: &Path, texts: &[String], events: usize) -> Result<[Join; 2], Failure> {
    eprintln!("Joining a room with {events} events, twice.");
    let directory = tempfile::tempdir()?;
    let full = directory.path().join("full");
    let room = Room::prepare(&full, texts, FEW, events.saturating_sub(FEW))?;
    let holder = room.open(binary, &full).await?;
    let at_once = room.join(binary, &directory.path().join("new"), &holder, BACKGROUND).await?;
    drop(holder);
    // Started anew, so that its memory is that of this join. What the first newcomer wrote is a few events more.
    let holder = Process::start(binary, &full, "full.example.org", &[]).await?;
    let asked_for = room.join(binary, &directory.path().join("later"), &holder, REQUEST).await?;
    Ok([at_once, asked_for])
}

/// A room in the data directory of the server that has it.
struct Room {
    id: String,
    members: usize,
    messages: usize,
    least: u64,
}

impl Room {
    fn prepare(full: &Path, texts: &[String], members: usize, messages: usize) -> Result<Self, Failure> {
        let (mut room, create) = PreparedRoom::begin(key(1))?;
        let mut filling = Filling::open(full, Some(&key(1)))?;
        let bar = progress((members + messages) as u64, "events");
        let mut least = size(&create);
        filling.put(room.outline(), create)?;
        let servers: Vec<ServerKey> = (0..SERVERS).map(|server| key(100 + server)).collect();
        for (member, server) in (1..members).zip(servers.iter().cycle()) {
            let join = room.join(server, &format!("user{member}"))?;
            least += size(&join);
            filling.put(room.outline(), join)?;
            bar.inc(1);
        }
        for text in texts.iter().cycle().take(messages) {
            let event = room.say(text)?;
            least += size(&event);
            filling.put(room.outline(), event)?;
            bar.inc(1);
        }
        filling.finish(room.outline())?;
        bar.finish_and_clear();
        Ok(Room { id: room.id().to_string(), members, messages, least })
    }

    /// Starts the server that has the room.
    async fn open(&self, binary: &Path, full: &Path) -> Result<Process, Failure> {
        let holder = Process::start(binary, full, "full.example.org", &[]).await?;
        let held = holder.api().room(&self.id).await?.summary;
        if (held.members, held.events) != (self.members as u64, (self.members + self.messages) as u64) {
            return Err("the node does not hold the room as it was prepared".into());
        }
        Ok(holder)
    }

    async fn join(
        &self,
        binary: &Path,
        directory: &Path,
        holder: &Process,
        history: &'static str,
    ) -> Result<Join, Failure> {
        let variables = [("ROCKETMESH_ROOMS__HISTORY", history)];
        let joiner = Process::start_with(binary, directory, "new.example.org", &[], &variables).await?;
        let api = joiner.api();
        api.connect(&address(holder).await?).await?;
        introduced(api).await?;
        let before = api.received().await?;
        let newest = MAX_RECENT_EVENTS.min(self.messages);

        let mut begun = Instant::now();
        let request = JoinRoom { room: self.id.clone(), user: "bob".to_owned(), wait_s: Some(WAIT_S) };
        api.ask::<RoomDetail>(Method::POST, "/v1/rooms/join", Some(&request)).await?;
        let joined_s = begun.elapsed().as_secs_f64();
        api.say(&self.id, "bob", "I am here").await?;
        let wrote_s = begun.elapsed().as_secs_f64();
        until_within(LONGEST, "the newest messages come", || async {
            let here = api.room(&self.id).await?.gap.is_none_or(|gap| gap.ahead >= newest as u64);
            if !here {
                tokio::time::sleep(GLANCE).await;
            }
            Ok(here)
        })
        .await?;
        let newest_s = begun.elapsed().as_secs_f64();

        if history == REQUEST {
            begun = Instant::now();
            api.ask::<HistoryView>(Method::POST, &format!("/v1/rooms/{}/history", self.id), None::<&()>).await?;
        }
        let bar = progress((self.members + self.messages) as u64, "events are here");
        until_within(LONGEST, "the whole history comes", || async {
            let here = api.room(&self.id).await?;
            bar.set_position(here.summary.events);
            if here.gap.is_none() && here.summary.digest == holder.api().room(&self.id).await?.summary.digest {
                return Ok(true);
            }
            tokio::time::sleep(GLANCE).await;
            Ok(false)
        })
        .await?;
        let whole_s = begun.elapsed().as_secs_f64();
        bar.finish_and_clear();
        Ok(Join {
            members: self.members,
            servers: usize::from(SERVERS) + 1,
            events: self.members + self.messages,
            history,
            joined_s,
            wrote_s,
            newest_s,
            newest,
            whole_s,
            received: api.received().await? - before,
            least: self.least,
            joiner_memory: peak_resident(joiner.pid()),
            holder_memory: peak_resident(holder.pid()),
        })
    }
}
