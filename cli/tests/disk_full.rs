//! A node whose disk fills up says so, and loses nothing that it acknowledged.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;

use reqwest::Method;
use rocketmesh_node::api::types::{Health, Posted, RoomDetail};
use serde_json::json;
use support::{Chance, Server};
use tempfile::TempDir;

/// How large the store's file may become, and how large the texts are that fill it.
const LARGEST_FILE: u64 = 24 * 1024 * 1024;
const TEXT: usize = 32 * 1024;
/// Texts that fit into no such file.
const TOO_MANY: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_store_cannot_grow_refuses_and_says_so_and_has_everything_once_it_can() {
    let home = TempDir::new().unwrap();
    let mut server = Server::new(home.path(), "oslo.example.org");
    server.largest_file = Some(LARGEST_FILE);
    server.start(None).await;
    let create = json!({"user": "alice", "name": "general"});
    let room = server.api().ask::<RoomDetail>(Method::POST, "/v1/rooms", Some(create)).await.unwrap().summary.id;
    let path = format!("/v1/rooms/{room}/events");
    let mut acknowledged = BTreeSet::new();
    let mut refusal = None;
    // Texts that no compression makes small.
    let mut noise = Chance(1);
    for _ in 0..TOO_MANY {
        let text: String = (0..TEXT / 16).map(|_| format!("{:016x}", noise.draw())).collect();
        match server.api().ask::<Posted>(Method::POST, &path, Some(json!({"user": "alice", "text": text}))).await {
            Ok(posted) => {
                acknowledged.insert(posted.event);
            }
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    let refusal = refusal.expect("the file cannot hold all of it");
    assert!(refusal.starts_with("503") && refusal.contains("store_failed"), "{refusal}");
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());

    let health = server.api().get::<Health>("/v1/health").await.unwrap();
    assert!(health.problems.iter().any(|problem| problem.code == "store_failed"), "{health:?}");

    server.kill();
    server.largest_file = None;
    server.start(None).await;
    let held = server.api().events(&room).await;
    let lost: Vec<&String> = acknowledged.difference(&held).collect();
    assert!(lost.is_empty(), "lost {lost:?}");
    let again = json!({"user": "alice", "text": "There is space again"});
    server.api().ask::<Posted>(Method::POST, &path, Some(again)).await.unwrap();
    let health = server.api().get::<Health>("/v1/health").await.unwrap();
    assert_eq!(health.status, "ok", "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_too_little_space_shows_what_it_has_and_goes_on_by_itself_with_more() {
    let home = TempDir::new().unwrap();
    let mut server = Server::new(home.path(), "oslo.example.org");
    server.start(None).await;
    let create = json!({"user": "alice", "name": "general"});
    let room = server.api().ask::<RoomDetail>(Method::POST, "/v1/rooms", Some(create)).await.unwrap().summary.id;
    let path = format!("/v1/rooms/{room}/events");
    let said = |text: &str| Some(json!({"user": "alice", "text": text}));
    let posted = server.api().ask::<Posted>(Method::POST, &path, said("There is space")).await.unwrap();
    server.kill();

    // More than any disk has, in MiB.
    let config = server.directory.join("rocketmesh.toml");
    std::fs::write(&config, "[store]\nreserve_mib = 1000000000000\n").unwrap();
    server.start(None).await;
    let refusal = server.api().ask::<Posted>(Method::POST, &path, said("There is none")).await.unwrap_err();
    assert!(refusal.starts_with("507") && refusal.contains("store_full"), "{refusal}");
    assert!(server.api().events(&room).await.contains(&posted.event), "what is there is shown");
    let health = server.api().get::<Health>("/v1/health").await.unwrap();
    assert!(health.problems.iter().any(|problem| problem.code == "store_full"), "{health:?}");
    server.kill();

    std::fs::remove_file(&config).unwrap();
    server.start(None).await;
    server.api().ask::<Posted>(Method::POST, &path, said("There is space again")).await.unwrap();
    let health = server.api().get::<Health>("/v1/health").await.unwrap();
    assert_eq!(health.status, "ok", "{health:?}");
}
