//! How fast one Rocket.Chat server has what was said on another: with one, some, and many federated rooms.
//!
//! Both stand-ins stamp a message when they stream it, with the clock of the one machine they run on; so the time from one stream to
//! the other is the difference of two stamps, to the millisecond. Everything else is a process of its own, as in the demo.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use rocketmesh_standin::Person;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::side::{Binaries, Side};
use super::standin::SERVICE;
use crate::Failure;
use crate::measure::{mib, percentile, resident};
use crate::process::until_within;
use crate::progress::progress;

/// The rate of the latency figure in messages a second, and how many are sent at it.
const STEADY_RATE: usize = 20;
const STEADY: usize = 600;
/// Messages that are sent as fast as they are taken, and how many of them are under way at once.
const FLOOD: usize = 2_000;
const IN_FLIGHT: usize = 32;
/// Rooms that are opened at once. A node opens one after the other; so it does while the other node enters the one before.
const OPENED_AT_ONCE: usize = 4;
/// The release that both stand-ins are like.
const LIKE: &str = "8.8";
/// Past this, whatever is waited for does not come.
const LONGEST: Duration = Duration::from_secs(900);
/// Past this, a room does not open. Three others are opened meanwhile.
const LONGEST_OPENING: Duration = Duration::from_secs(240);
/// How often it is looked whether all has arrived. The stamps do not depend on it; but a look takes the stand-in a while where there
/// are many rooms, and the time of looking is to be a small part of all.
const GLANCE: Duration = Duration::from_millis(250);
const OF_LOOKING: u32 = 10;

/// What was measured with so many federated rooms.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// How many rooms are federated.
    pub rooms: usize,
    /// How many of them were opened for this measurement, on both sides.
    pub opened: usize,
    /// How long that took, in seconds.
    pub opened_in_s: f64,
    /// The rate of the latency figures, in messages a second.
    pub steady_rate: usize,
    /// From one server's stream to the other's, in milliseconds: half of the messages took no longer.
    pub p50_ms: u64,
    /// The same for 99 of 100.
    pub p99_ms: u64,
    /// How many messages that was.
    pub samples: usize,
    /// Messages a second that arrived when they were sent as fast as the first server took them.
    pub per_second: f64,
    /// How many messages that was.
    pub flood: usize,
    /// Resident memory of both nodes at the end, in bytes.
    pub memory: [u64; 2],
}

impl Measured {
    /// The names of [`Measured::row`]'s columns.
    pub const HEADER: [&'static str; 6] =
        ["federated rooms", "opened on both sides", "p50", "p99", "messages a second", "memory of the nodes"];

    /// The row of a table for people.
    pub fn row(&self) -> [String; 6] {
        [
            self.rooms.to_string(),
            format!("{} in {:.1} s", self.opened, self.opened_in_s),
            format!("{} ms", self.p50_ms),
            format!("{} ms", self.p99_ms),
            format!("{:.0}", self.per_second),
            self.memory.map(mib).join(", "),
        ]
    }
}

/// Measures with each number of rooms, smallest first: the rooms of one measurement are in the next one too.
///
/// # Errors
/// If something does not start, or a message does not arrive.
pub async fn measure(binaries: &Binaries, counts: &[usize], texts: &[String]) -> Result<Vec<Measured>, Failure> {
    let directory = tempfile::tempdir()?;
    let begin = |name: &str| directory.path().join(name);
    let here = Side::start(binaries, &begin("here"), ("here.example", LIKE), &["alice"], &[]).await?;
    let bootstrap = here.node().addresses().await?;
    let there = Side::start(binaries, &begin("there"), ("there.example", LIKE), &["bob"], &bootstrap).await?;
    there.meets().await?;
    here.connect().await?;
    there.connect().await?;
    let mut pair = Pair { alice: here.person("alice")?, here, there, rooms: Vec::new() };
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    let mut all = Vec::new();
    for count in counts {
        all.push(pair.measure(count.max(1), texts).await?);
    }
    Ok(all)
}

/// Two sides, and the rooms that stand on both.
struct Pair {
    here: Side,
    there: Side,
    alice: Person,
    /// The rooms' ids in Alice's Rocket.Chat.
    rooms: Vec<String>,
}

impl Pair {
    async fn measure(&mut self, count: usize, texts: &[String]) -> Result<Measured, Failure> {
        let opened = count.saturating_sub(self.rooms.len());
        let begun = Instant::now();
        self.open(count).await?;
        let opened_in = begun.elapsed();

        // Once in every room, so that whoever speaks is in it on the other side too.
        eprintln!("Saying something in each of {count} rooms.");
        let warm = format!("w{count}.");
        self.send(&warm, count, None, texts).await?;
        self.arrived(&warm, count).await?;

        eprintln!("Sending {STEADY_RATE} messages a second, {STEADY} in all.");
        let steady = format!("s{count}.");
        self.send(&steady, STEADY, Some(STEADY_RATE), texts).await?;
        let (sent, came) = self.arrived(&steady, STEADY).await?;
        let delay = |(word, came): (&String, &i64)| {
            let took = came - sent.get(word).copied().unwrap_or(*came);
            Duration::from_millis(u64::try_from(took).unwrap_or(0))
        };
        let mut delays: Vec<Duration> = came.iter().map(delay).collect();

        eprintln!("Sending {FLOOD} messages as fast as they are taken.");
        let flood = format!("f{count}.");
        self.send(&flood, FLOOD, None, texts).await?;
        let (sent, came) = self.arrived(&flood, FLOOD).await?;
        let (first, last) = (sent.values().min().copied(), came.values().max().copied());
        let took = last.zip(first).map_or(0, |(last, first)| last - first).max(1);

        Ok(Measured {
            rooms: count,
            opened,
            opened_in_s: opened_in.as_secs_f64(),
            steady_rate: STEADY_RATE,
            p50_ms: whole_ms(percentile(&mut delays, 50.0)),
            p99_ms: whole_ms(percentile(&mut delays, 99.0)),
            samples: delays.len(),
            per_second: FLOOD as f64 * 1000.0 / took as f64,
            flood: FLOOD,
            memory: [resident(self.here.node().pid())?, resident(self.there.node().pid())?],
        })
    }

    /// Opens rooms on both sides until there are so many.
    async fn open(&mut self, count: usize) -> Result<(), Failure> {
        let more = self.rooms.len()..count;
        eprintln!("Opening {} rooms on both sides.", more.len());
        let bar = progress(more.len() as u64, "rooms");
        let (alice, here, there, shown) = (&self.alice, &self.here, &self.there, &bar);
        let opening = stream::iter(more).map(|at| async move {
            let name = format!("room-{at}");
            let opening = async {
                let rid = alice.create_channel(&name, &[SERVICE]).await?;
                let federated = here.federate(&name).await?;
                there.enter(&federated.room, "bob").await?;
                Ok::<_, Failure>(rid)
            };
            // However many there are: each one ends, or all do.
            let opened = tokio::time::timeout(LONGEST_OPENING, opening).await;
            let rid = opened.map_err(|_| format!("opening #{name} does not end"))??;
            shown.inc(1);
            Ok::<_, Failure>(rid)
        });
        let opened = opening.buffered(OPENED_AT_ONCE).try_collect::<Vec<String>>().await;
        bar.finish_and_clear();
        self.rooms.extend(opened?);
        Ok(())
    }

    /// Lets Alice say so many things, one room after the other, each with a word of its own that begins with a tag.
    async fn send(&self, tag: &str, count: usize, rate: Option<usize>, texts: &[String]) -> Result<(), Failure> {
        let limit = Arc::new(Semaphore::new(IN_FLIGHT));
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for at in 0..count {
            if let Some(rate) = rate {
                let due = begun + Duration::from_secs_f64(at as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
            }
            let permit = Arc::clone(&limit).acquire_owned().await?;
            let (alice, room) = (self.alice.clone(), self.rooms[at % self.rooms.len()].clone());
            let text = texts.get(at % texts.len().max(1)).map_or("", String::as_str);
            let words = format!("{tag}{at} {text}");
            tasks.push(tokio::spawn(async move {
                let said = alice.say(&room, &words).await;
                drop(permit);
                said
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    }

    /// Waits until everything with a tag is on the other side, and gives when each word was streamed on both.
    async fn arrived(&self, tag: &str, count: usize) -> Result<(Stamps, Stamps), Failure> {
        let what = format!("{count} messages arrive");
        let bar = progress(count as u64, "messages are on the other side");
        until_within(LONGEST, &what, || async {
            let begun = Instant::now();
            let arrived = stamps(&self.there, tag).await?.len();
            bar.set_position(arrived as u64);
            if arrived < count {
                tokio::time::sleep(GLANCE.max(begun.elapsed() * OF_LOOKING)).await;
            }
            Ok(arrived >= count)
        })
        .await?;
        bar.finish_and_clear();
        Ok((stamps(&self.here, tag).await?, stamps(&self.there, tag).await?))
    }
}

/// When a message was streamed, in milliseconds since 1970, by its own word.
type Stamps = BTreeMap<String, i64>;

async fn stamps(side: &Side, tag: &str) -> Result<Stamps, Failure> {
    let rooms = side.chat.control().dump().await?;
    let said = rooms.into_iter().flat_map(|room| room.messages).filter(|message| message.kind.is_none());
    let word = |text: &str| text.split_whitespace().find(|word| word.starts_with(tag)).map(str::to_owned);
    Ok(said.filter_map(|message| Some((word(&message.text)?, message.ts))).collect())
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
