//! Nodes that are killed while they fetch from each other lose nothing that was acknowledged, and end alike.
//!
//! Two processes of the very binary: one whose user talks, and one that follows. Time and again one of them is killed,
//! in the middle of whatever it does, and started again on what it left behind. Which one, and when, follows from a
//! seed.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use reqwest::Method;
use rocketmesh_node::api::types::RoomDetail;
use serde_json::json;
use support::{Api, Chance, GLANCE, PATIENCE, Server};
use tempfile::TempDir;

/// Kills, on every day and in the long version.
const KILLS: usize = 20;
const MANY_KILLS: usize = 1_000;
/// What there is to fetch at first, and what is said before and after each start.
const AT_FIRST: usize = 2_000;
const MORE: usize = 20;
/// A kill comes at some moment within this after a start: while the two connect, compare, fetch, or are done.
const LATEST_KILL: Duration = Duration::from_millis(1_500);
/// The seed of an earlier run.
const SEED: &str = "ROCKETMESH_KILL_SEED";

/// Whether the two hold the same room, and both users are in it.
async fn alike(talker: &Api, follower: &Api, room: &str) -> bool {
    let (Ok(one), Ok(other)) = (talker.room(room).await, follower.room(room).await) else { return false };
    one.summary.digest == other.summary.digest && one.summary.members == 2 && other.summary.members == 2
}

fn seed() -> u64 {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a seed is a number"));
    given.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_killed_while_they_sync_lose_nothing_acknowledged_and_end_alike() {
    let seed = seed();
    println!("{SEED}={seed} makes the same choices again");
    let mut chance = Chance(seed);
    let kills = if std::env::var_os("ROCKETMESH_SOAK").is_some() { MANY_KILLS } else { KILLS };
    let home = TempDir::new().unwrap();
    let mut talker = Server::new(home.path(), "oslo.example.org");
    let mut follower = Server::new(home.path(), "bergen.example.org");
    talker.start(None).await;
    let create = json!({"user": "alice", "name": "general"});
    let room = talker.api().ask::<RoomDetail>(Method::POST, "/v1/rooms", Some(create)).await.unwrap().summary.id;
    let mut acknowledged = talker.api().clone().say(room.clone(), AT_FIRST).await;
    assert_eq!(acknowledged.len(), AT_FIRST);

    for kill in 0..kills {
        if follower.running.is_none() {
            acknowledged.extend(talker.api().clone().say(room.clone(), MORE).await);
        }
        // At most one of them is down, and the other one's address is a new one after each start.
        follower.start(talker.address().await).await;
        talker.start(follower.address().await).await;
        let joining = match follower.api().sees_both(&room).await {
            true => None,
            false => Some(tokio::spawn(follower.api().clone().join(room.clone()))),
        };
        let saying = tokio::spawn(talker.api().clone().say(room.clone(), MORE));
        tokio::time::sleep(Duration::from_micros(chance.below(LATEST_KILL.as_micros() as u64))).await;
        let victim = if chance.below(2) == 0 { &mut talker } else { &mut follower };
        println!("kill {kill} hits {}", victim.name);
        victim.kill();
        acknowledged.extend(saying.await.unwrap());
        if let Some(joining) = joining {
            joining.abort();
        }
    }

    follower.start(talker.address().await).await;
    talker.start(follower.address().await).await;
    let begun = Instant::now();
    while !alike(talker.api(), follower.api(), &room).await {
        assert!(begun.elapsed() < PATIENCE, "in vain: the two hold the same room");
        if !follower.api().sees_both(&room).await {
            // What it brought is kept, whether or not it got to the end.
            let _ = follower.api().clone().join(room.clone()).await;
        }
        tokio::time::sleep(GLANCE).await;
    }
    let acknowledged: BTreeSet<String> = acknowledged.into_iter().collect();
    assert!(acknowledged.len() > AT_FIRST, "something was said between the kills");
    let logged = follower.api().logged_once(&room).await;
    for server in [&talker, &follower] {
        let held = server.api().events(&room).await;
        let lost: Vec<&String> = acknowledged.difference(&held).collect();
        assert!(lost.is_empty(), "{} has lost {lost:?}", server.name);
        assert_eq!(held, logged, "{}", server.name);
        assert_eq!(server.api().room(&room).await.unwrap().forks, [], "nobody went on from the middle of a chain");
    }
}
