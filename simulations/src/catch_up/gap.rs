//! A member server comes back that was away while another one's user wrote many events.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{LONGEST, address, key, size};
use crate::Failure;
use crate::measure::{mib, peak_resident, took};
use crate::prepared::{Filling, PreparedRoom};
use crate::process::{Process, until_within};
use crate::progress::progress;

/// How one server caught up.
#[derive(Clone, Debug, Serialize)]
pub struct Gap {
    /// Events that it had missed.
    pub events: usize,
    /// From the connection to the last event on disk, in seconds.
    pub took_s: f64,
    /// Events in each of these seconds.
    pub per_second: f64,
    /// Bytes that it received for that.
    pub received: u64,
    /// The bytes of the events' blocks.
    pub least: u64,
    /// The most memory that it had resident, in bytes; none where the system does not tell.
    pub peak_memory: Option<u64>,
}

impl Gap {
    /// The names of [`Gap::row`]'s columns.
    pub const HEADER: [&'static str; 5] = ["missed", "events/s", "time", "bytes received, least", "peak memory"];

    /// The row of a table for people.
    pub fn row(&self) -> [String; 5] {
        [
            format!("{} events", self.events),
            format!("{:.0}", self.per_second),
            took(Duration::from_secs_f64(self.took_s)),
            format!("{}, {} ({:.2})", self.received, self.least, self.received as f64 / self.least as f64),
            self.peak_memory.map_or_else(|| "-".to_owned(), mib),
        ]
    }
}

/// Lets a server miss so many events, and catch up with them.
///
/// # Errors
/// If a node does not start, or does not end with everything.
pub async fn close(binary: &Path, texts: &[String], events: usize) -> Result<Gap, Failure> {
    eprintln!("Letting a server miss {events} events.");
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
    let bar = progress(events as u64, "events");
    for text in texts.iter().cycle().take(events) {
        let event = room.say(text)?;
        least += size(&event);
        ahead.put(room.outline(), event)?;
        bar.inc(1);
    }
    ahead.finish(room.outline())?;
    bar.finish_and_clear();

    let id = room.id().to_string();
    let holder = Process::start(binary, &full, "full.example.org", &[]).await?;
    let follower = Process::start(binary, &behind, "behind.example.org", &[]).await?;
    let whole = holder.api().room(&id).await?.summary;
    if whole.events != events as u64 + 2 {
        return Err(format!("the node holds {} events and not the {events} that are to be missed", whole.events).into());
    }
    let address = address(&holder).await?;
    let before = follower.api().received().await?;
    let bar = progress(whole.events, "events are here");
    let begun = Instant::now();
    follower.api().connect(&address).await?;
    until_within(LONGEST, "the server catches up", || async {
        let here = follower.api().room(&id).await?.summary;
        bar.set_position(here.events);
        Ok(here.digest == whole.digest)
    })
    .await?;
    let took_s = begun.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(Gap {
        events,
        took_s,
        per_second: events as f64 / took_s,
        received: follower.api().received().await? - before,
        least,
        peak_memory: peak_resident(follower.pid()),
    })
}
