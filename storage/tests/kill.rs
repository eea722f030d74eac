//! Killing the process at any moment loses nothing that was acknowledged.
//!
//! The test starts itself as a child that writes and acknowledges on its standard output, kills it at a random moment, and
//! looks for everything that was acknowledged. Every child goes on with the store that the one before left behind.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rocketmesh_protocol::id::EventId;
use rocketmesh_storage::EventStore;
use support::Room;
use tempfile::TempDir;

const CHILD: &str = "ROCKETMESH_KILL_TEST_DIRECTORY";
const ROUNDS: usize = 100;

fn open(directory: &Path) -> EventStore {
    EventStore::open(directory, 8 << 20).unwrap()
}

/// Writes events in batches of changing size, some of them large, and acknowledges each batch after its flush.
fn write_until_killed(directory: &Path) {
    let store = open(directory);
    let mut room = Room::new(1);
    match store.room(&room.create.room()).unwrap() {
        Some(entry) => room.outline = entry.outline,
        None => {
            room.put(&store, std::slice::from_ref(&room.create));
        }
    }
    let mut out = std::io::stdout().lock();
    for turn in 0_usize.. {
        let size = if turn % 50 == 49 { 60_000 } else { 40 };
        let events: Vec<_> = (0..=turn % 7).map(|_| room.message(&"x".repeat(size))).collect();
        room.put(&store, &events);
        store.sync().unwrap();
        for event in &events {
            writeln!(out, "{}", event.id()).unwrap();
        }
        out.flush().unwrap();
    }
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return write_until_killed(Path::new(&directory));
    }
    let directory = TempDir::new().unwrap();
    let mut acknowledged: Vec<EventId> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_hundred_kills_lose_nothing_that_was_acknowledged", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The kill falls wherever the child happens to be after this many acknowledgements; no two rounds are alike.
        let enough = 1 + round * 7 % 60;
        let mut seen = 0;
        while seen < enough {
            let line = lines.next().expect("the child writes until it is killed").unwrap();
            if let Ok(id) = line.parse::<EventId>() {
                acknowledged.push(id);
                seen += 1;
            }
        }
        child.kill().unwrap();
        // What was still in the pipe was acknowledged too.
        acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| line.parse::<EventId>().ok()));
        child.wait().unwrap();

        let store = open(directory.path());
        let recent = acknowledged.len().saturating_sub(if round + 1 == ROUNDS { acknowledged.len() } else { 200 });
        for id in &acknowledged[recent..] {
            assert!(store.event(id).unwrap().is_some(), "round {round}: {id} was acknowledged and is lost");
        }
        let room = Room::new(1).create.room();
        let outline = store.room(&room).unwrap().unwrap().outline;
        let order = store.order_after(&room, None, 1_000_000).unwrap().len() as u64;
        assert_eq!(outline.events(), order, "round {round}: a batch is in the store whole or not at all");
        assert_eq!(store.log_end(), order);
    }
    assert!(acknowledged.len() > ROUNDS, "{}", acknowledged.len());
}
