//! A store that is damaged under a running node: a state that is named, with everything shown that can still be read.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use reqwest::Method;
use rocketmesh_node::api::types::{EventView, Health, NodeStatus, Posted, RoomDetail};
use serde_json::json;
use support::{Chance, Server};
use tempfile::TempDir;

/// Texts that together are several times what the node keeps in memory.
const TEXT: usize = 32 * 1024;
const TEXTS: usize = 1_200;

/// A node that holds more than it keeps in memory, its room, and the texts that it acknowledged.
async fn filled(home: &Path) -> (Server, String, Vec<String>) {
    let mut server = Server::new(home, "oslo.example.org");
    fs::create_dir_all(&server.directory).unwrap();
    fs::write(server.directory.join("rocketmesh.toml"), "[store]\ncache_mib = 8\n").unwrap();
    server.start(None).await;
    let create = json!({"user": "alice", "name": "general"});
    let room = server.api().ask::<RoomDetail>(Method::POST, "/v1/rooms", Some(create)).await.unwrap().summary.id;
    let mut noise = Chance(1);
    let mut acknowledged = Vec::new();
    for _ in 0..TEXTS {
        let text: String = (0..TEXT / 16).map(|_| format!("{:016x}", noise.draw())).collect();
        let said = json!({"user": "alice", "text": text});
        let posted = server.api().ask::<Posted>(Method::POST, &format!("/v1/rooms/{room}/events"), Some(said)).await;
        acknowledged.push(posted.unwrap().event);
    }
    (server, room, acknowledged)
}

fn store_file(server: &Server) -> PathBuf {
    server.directory.join("store").join("sled").join("db")
}

/// Asks for every event. Returns how many are shown; those that are not have to say why.
async fn shown(server: &Server, events: &[String]) -> usize {
    let mut shown = 0;
    for event in events {
        match server.api().get::<EventView>(&format!("/v1/events/{event}")).await {
            Ok(_) => shown += 1,
            Err(error) => assert!(error.starts_with("503") && error.contains("store_damaged"), "{error}"),
        }
    }
    shown
}

/// The node says that its store is damaged, takes nothing new, and answers.
async fn says_so(server: &Server, room: &str) {
    let health = server.api().get::<Health>("/v1/health").await.unwrap();
    assert!(health.problems.iter().any(|problem| problem.code == "store_damaged"), "{health:?}");
    let said = json!({"user": "alice", "text": "Is this kept?"});
    let answer = server.api().ask::<Posted>(Method::POST, &format!("/v1/rooms/{room}/events"), Some(said)).await;
    assert!(answer.is_err_and(|error| error.contains("store_damaged")));
    server.api().get::<NodeStatus>("/v1/node").await.unwrap();
}

/// Nothing is built on what is left.
fn cannot_be_opened(server: &mut Server) {
    server.kill();
    for command in ["doctor", "run"] {
        let (code, said) = server.command(command);
        assert_ne!(code, Some(0), "{said}");
        assert!(said.contains("the store is damaged") && said.contains("restore"), "{command}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_broken_part_is_named_and_refused_without_ending_the_node() {
    let home = TempDir::new().unwrap();
    let (mut server, room, acknowledged) = filled(home.path()).await;
    let file = store_file(&server);
    let length = fs::metadata(&file).unwrap().len();
    let mut open = fs::File::options().write(true).open(&file).unwrap();
    // A third of the file, in its middle, is something else now.
    open.seek(SeekFrom::Start(length / 3)).unwrap();
    open.write_all(&vec![0xa5; usize::try_from(length / 3).unwrap()]).unwrap();
    open.sync_all().unwrap();
    let shown = shown(&server, &acknowledged).await;
    // How much is left depends on whether a page is among them through which others are found: it may be nothing.
    assert!(shown < acknowledged.len(), "the damage was not even met");
    says_so(&server, &room).await;
    cannot_be_opened(&mut server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_cut_off_is_named_and_refused_without_ending_the_node() {
    let home = TempDir::new().unwrap();
    let (mut server, room, acknowledged) = filled(home.path()).await;
    let file = store_file(&server);
    let length = fs::metadata(&file).unwrap().len();
    fs::File::options().write(true).open(&file).unwrap().set_len(length / 2).unwrap();
    let shown = shown(&server, &acknowledged).await;
    assert!(shown < acknowledged.len(), "the damage was not even met");
    says_so(&server, &room).await;
    cannot_be_opened(&mut server);
}
