//! What it takes a server to catch up with what it missed, and to join a room with many members: two processes on
//! loopback.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use rocketmesh_node::api::types::{JoinRoom, PeerList, RoomDetail};
use rocketmesh_protocol::identity::ServerKey;

use crate::Failure;
use crate::measure::{mib, ms, peak_resident};
use crate::prepared::{Filling, PreparedRoom};
use crate::process::{Process, until, until_within};

/// Events that a server misses.
const GAPS: [usize; 3] = [1_000, 10_000, 100_000];
/// Members of the rooms that are joined, and over how many servers they are spread.
const MEMBERS: [usize; 3] = [100, 1_000, 10_000];
const SERVERS: u8 = 10;
/// Past this, whatever is measured does not end.
const LONGEST: Duration = Duration::from_secs(900);

/// What was measured, and the value.
pub type Row = [String; 2];

/// Measures gaps and joins of all sizes. `texts` is what is said, again and again.
///
/// # Errors
/// If a node does not start, or does not end with everything.
pub async fn catch_up(binary: &Path, texts: &[String]) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for gap in GAPS {
        rows.extend(close_gap(binary, texts, gap).await?);
    }
    for members in MEMBERS {
        rows.push(join_crowd(binary, members).await?);
    }
    Ok(rows)
}

fn key(seed: u8) -> ServerKey {
    ServerKey::from_seed(&[seed; 32])
}

/// A member server comes back that was away while the other one wrote this many events.
async fn close_gap(binary: &Path, texts: &[String], gap: usize) -> Result<[Row; 3], Failure> {
    eprintln!("Letting a server miss {gap} events.");
    let directory = tempfile::tempdir()?;
    let [full, behind] = ["full", "behind"].map(|name| directory.path().join(name));
    let (mut room, create) = PreparedRoom::begin(key(1))?;
    let mut ahead = Filling::open(&full, Some(&key(1)))?;
    let mut late = Filling::open(&behind, Some(&key(2)))?;
    ahead.put(room.outline(), create.clone())?;
    late.put(room.outline(), create)?;
    let join = room.join(&key(2), "bob")?;
    ahead.put(room.outline(), join.clone())?;
    late.put(room.outline(), join)?;
    late.finish(room.outline())?;
    let mut least = 0;
    for text in texts.iter().cycle().take(gap) {
        let event = room.say(text)?;
        least += event.header_block().len() + event.body_block().map_or(0, <[u8]>::len);
        ahead.put(room.outline(), event)?;
    }
    ahead.finish(room.outline())?;

    let id = room.id().to_string();
    let holder = Process::start(binary, &full, "full.example.org", &[]).await?;
    let follower = Process::start(binary, &behind, "behind.example.org", &[]).await?;
    let whole = holder.api().room(&id).await?.summary;
    if whole.events != gap as u64 + 2 {
        return Err(format!("the node holds {} events and not the {gap} that are to be missed", whole.events).into());
    }
    let address = address(&holder).await?;
    let before = follower.api().received().await?;
    let begun = Instant::now();
    follower.api().connect(&address).await?;
    until_within(LONGEST, "the server catches up", || async {
        Ok(follower.api().room(&id).await?.summary.digest == whole.digest)
    })
    .await?;
    let took = begun.elapsed();
    let received = follower.api().received().await? - before;
    Ok([
        [
            format!("catching up with {gap} events, from the connection on"),
            format!("{:.0} events a second ({})", gap as f64 / took.as_secs_f64(), ms(took)),
        ],
        [
            "bytes received for that, beside the events' own".into(),
            format!("{received} for {least} ({:.2} times)", received as f64 / least as f64),
        ],
        [
            "peak memory of the server that catches up".into(),
            peak_resident(follower.pid()).map_or_else(|| "-".to_owned(), mib),
        ],
    ])
}

/// A server joins a room with this many members, that it knows nothing of, from another one.
async fn join_crowd(binary: &Path, members: usize) -> Result<Row, Failure> {
    eprintln!("Joining a room with {members} members.");
    let directory = tempfile::tempdir()?;
    let [full, new] = ["full", "new"].map(|name| directory.path().join(name));
    let (mut room, create) = PreparedRoom::begin(key(1))?;
    let mut filling = Filling::open(&full, Some(&key(1)))?;
    filling.put(room.outline(), create)?;
    let servers: Vec<ServerKey> = (0..SERVERS).map(|server| key(100 + server)).collect();
    for (member, server) in (1..members).zip(servers.iter().cycle()) {
        let join = room.join(server, &format!("user{member}"))?;
        filling.put(room.outline(), join)?;
    }
    filling.finish(room.outline())?;

    let id = room.id().to_string();
    let holder = Process::start(binary, &full, "full.example.org", &[]).await?;
    let joiner = Process::start(binary, &new, "new.example.org", &[]).await?;
    if holder.api().room(&id).await?.summary.members != members as u64 {
        return Err(format!("the room has not the {members} members that it should have").into());
    }
    joiner.api().connect(&address(&holder).await?).await?;
    until("the two introduce themselves", || async {
        let peers = joiner.api().get::<PeerList>("/v1/peers").await?.peers;
        Ok(peers.iter().any(|peer| peer.state == "introduced"))
    })
    .await?;
    let begun = Instant::now();
    let mut tries = 1;
    let join = JoinRoom { room: id, user: "bob".to_owned(), wait_s: Some(1) };
    // A holder that takes its time is given up by one join, and what it brought is kept for the next.
    while let Err(failure) = joiner.api().ask::<RoomDetail>(Method::POST, "/v1/rooms/join", Some(&join)).await {
        if begun.elapsed() > LONGEST {
            return Err(failure);
        }
        tries += 1;
    }
    let took = ms(begun.elapsed());
    Ok([
        format!("joining a room with {members} members on {} servers, to the written join", usize::from(SERVERS) + 1),
        if tries == 1 { took } else { format!("{took}, in {tries} tries") },
    ])
}

async fn address(server: &Process) -> Result<String, Failure> {
    let addresses = server.addresses().await?;
    Ok(addresses.into_iter().find(|address| address.contains("/tcp/")).ok_or("the node listens on no TCP port")?)
}
