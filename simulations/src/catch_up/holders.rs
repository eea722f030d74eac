//! A server catches up from three servers at once, beside the same from one of them.
//!
//! On one machine all of them share its cores, and the server that catches up verifies and writes as much in either case: what
//! several holders are good for where lines are slow, this does not show.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde::Serialize;

use super::{LONGEST, address, key};
use crate::Failure;
use crate::measure::{percentile, took};
use crate::prepared::{Filling, PreparedRoom};
use crate::process::{Process, until_within};
use crate::progress::progress;

/// Events that are missed.
const MISSED: usize = 10_000;
/// The keys of the servers that have everything; the first one's user owns the room.
const HOLDERS: [u8; 3] = [1, 3, 4];
/// The key of the server that catches up.
const FOLLOWER: u8 = 2;
/// How often each is measured, in turn; the median counts.
const ROUNDS: usize = 3;

/// How long it took from one and from three.
#[derive(Clone, Debug, Serialize)]
pub struct Holders {
    /// Events that were missed.
    pub events: usize,
    /// How often each was measured.
    pub rounds: usize,
    /// The median from one server, in seconds.
    pub one_s: f64,
    /// The median from three servers, in seconds.
    pub three_s: f64,
    /// How many times faster three were.
    pub ratio: f64,
}

impl Holders {
    /// The names of [`Holders::row`]'s columns.
    pub const HEADER: [&'static str; 4] = ["missed", "from one server", "from three at once", "ratio"];

    /// The row of a table for people.
    pub fn row(&self) -> [String; 4] {
        let time = |seconds| took(Duration::from_secs_f64(seconds));
        [format!("{} events", self.events), time(self.one_s), time(self.three_s), format!("{:.2}", self.ratio)]
    }
}

/// Lets a server catch up from one server and from three, in turn.
///
/// # Errors
/// If a node does not start, or does not end with everything.
pub async fn one_and_three(binary: &Path, texts: &[String]) -> Result<Holders, Failure> {
    eprintln!("Catching up with {MISSED} events from one server and from three, {ROUNDS} times each.");
    let directory = tempfile::tempdir()?;
    let full = HOLDERS.map(|holder| directory.path().join(format!("full{holder}")));
    let (mut room, create) = PreparedRoom::begin(key(HOLDERS[0]))?;
    let mut beginning = vec![create];
    for (seed, user) in [(FOLLOWER, "bob"), (HOLDERS[1], "carol"), (HOLDERS[2], "dave")] {
        beginning.push(room.join(&key(seed), user)?);
    }
    let small = room.outline().clone();
    let mut fillings = Vec::new();
    for (holder, path) in HOLDERS.into_iter().zip(&full) {
        let mut filling = Filling::open(path, Some(&key(holder)))?;
        for event in &beginning {
            filling.put(&small, event.clone())?;
        }
        fillings.push(filling);
    }
    for text in texts.iter().cycle().take(MISSED) {
        let event = room.say(text)?;
        for filling in &mut fillings {
            filling.put(room.outline(), event.clone())?;
        }
    }
    for filling in fillings {
        filling.finish(room.outline())?;
    }

    let id = room.id().to_string();
    let bar = progress(2 * ROUNDS as u64, "rounds");
    let (mut one, mut three) = (Vec::new(), Vec::new());
    for round in 0..2 * ROUNDS {
        // In the same directory it would have everything, the second time.
        let behind = directory.path().join(format!("behind{round}"));
        let mut filling = Filling::open(&behind, Some(&key(FOLLOWER)))?;
        for event in &beginning {
            filling.put(&small, event.clone())?;
        }
        filling.finish(&small)?;
        if round % 2 == 0 {
            one.push(catch_up_from(binary, &full[..1], &behind, &id).await?);
        } else {
            three.push(catch_up_from(binary, &full, &behind, &id).await?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let [one_s, three_s] = [&mut one, &mut three].map(|times| percentile(times, 50.0).as_secs_f64());
    Ok(Holders { events: MISSED, rounds: ROUNDS, one_s, three_s, ratio: one_s / three_s })
}

/// How long it takes from the first connection until everything is on disk. The holders are started for it: those of the round
/// before know each other by now, and who is connected with one would be told of the others.
async fn catch_up_from(binary: &Path, full: &[PathBuf], behind: &Path, room: &str) -> Result<Duration, Failure> {
    let mut addresses = Vec::new();
    let mut holders = Vec::new();
    for (at, path) in full.iter().enumerate() {
        let holder = Process::start(binary, path, &format!("full{at}.example.org"), &[]).await?;
        addresses.push(address(&holder).await?);
        holders.push(holder);
    }
    let digest = holders.first().ok_or("nobody has the room")?.api().room(room).await?.summary.digest;
    let follower = Process::start(binary, behind, "behind.example.org", &[]).await?;
    let begun = Instant::now();
    try_join_all(addresses.iter().map(|address| follower.api().connect(address))).await?;
    until_within(LONGEST, "the server catches up", || async {
        Ok(follower.api().room(room).await?.summary.digest == digest)
    })
    .await?;
    Ok(begun.elapsed())
}
