//! Connecting a Rocket.Chat server through the API: what is checked, what is kept, what is told.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use reqwest::StatusCode;
use rocketmesh_node::rocketchat::check::RocketChatConnection;
use rocketmesh_node::rocketchat::status::{ConnectorState, ProblemKind, RocketChatStatus};
use rocketmesh_standin::{Account, Options, Standin};
use serde_json::{Value, json};
use support::TestNode;
use tempfile::TempDir;

const PATH: &str = "/v1/rocketchat";

async fn standin() -> (Standin, Account) {
    let standin = Standin::start(Options::default()).await.unwrap();
    let bridge = standin.add_account("bridge", &["admin", "bot"]).unwrap();
    (standin, bridge)
}

async fn status(node: &TestNode) -> RocketChatStatus {
    let (code, body) = node.raw("GET", PATH, None).await;
    assert_eq!(code, StatusCode::OK);
    serde_json::from_value(body).unwrap()
}

async fn connect(node: &TestNode, body: Value) -> RocketChatConnection {
    let (code, body) = node.raw("PUT", PATH, Some(body)).await;
    assert_eq!(code, StatusCode::OK, "{body}");
    serde_json::from_value(body).unwrap()
}

#[tokio::test]
async fn a_server_is_connected_in_one_request_and_still_so_after_a_restart() {
    let (standin, bridge) = standin().await;
    let directory = TempDir::new().unwrap();
    let node = TestNode::start_in(directory.path(), "a.example", &[]).await;
    assert_eq!(status(&node).await.state, ConnectorState::Unconfigured);
    let made = connect(&node, json!({"url": standin.url(), "token": bridge.token})).await;
    assert!(made.connected, "{:?}", made.report);
    let file = directory.path().join("rocketchat.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    for _ in 0..2 {
        let told = status(&node).await;
        assert_ne!(told.state, ConnectorState::Unconfigured);
        assert_eq!(told.account.as_deref(), Some("bridge"));
        assert!(!serde_json::to_string(&told).unwrap().contains(&bridge.token));
    }
    let (code, report) = node.raw("POST", "/v1/rocketchat/check", None).await;
    assert_eq!((code, report["passed"].as_bool()), (StatusCode::OK, Some(true)));
    node.node.shutdown().await;

    let node = TestNode::start_in(directory.path(), "a.example", &[]).await;
    assert_eq!(status(&node).await.url, Some(format!("{}/", standin.url())));
    let (code, _) = node.raw("DELETE", PATH, None).await;
    assert_eq!(code, StatusCode::NO_CONTENT);
    assert_eq!(status(&node).await.state, ConnectorState::Unconfigured);
    assert!(!file.exists());
    node.node.shutdown().await;
}

#[tokio::test]
async fn what_does_not_pass_is_not_connected_and_keeps_nothing() {
    let (standin, _) = standin().await;
    let plain = standin.add_account("plain", &["user"]).unwrap();
    let node = TestNode::start("a.example", &[]).await;
    let made = connect(&node, json!({"url": standin.url(), "token": plain.token, "user_id": plain.user_id})).await;
    assert!(!made.connected);
    assert!(!made.report.passed);
    assert_eq!(status(&node).await.state, ConnectorState::Unconfigured);
    assert!(!node.directory().join("rocketchat.json").exists());
    let (code, body) = node.raw("POST", "/v1/rocketchat/check", None).await;
    assert_eq!((code, body["error"]["code"].as_str()), (StatusCode::NOT_FOUND, Some("no_rocketchat")));
    for (body, code) in [
        (json!({"url": "chat.example.org", "token": "t"}), "malformed_address"),
        (json!({"url": standin.url(), "token": " "}), "malformed_token"),
        (json!({"url": standin.url()}), "malformed_body"),
    ] {
        let (_, answer) = node.raw("PUT", PATH, Some(body)).await;
        assert_eq!(answer["error"]["code"], code);
    }
    node.node.shutdown().await;
}

#[tokio::test]
async fn secrets_that_others_may_read_are_a_named_problem_and_the_mesh_goes_on() {
    let (standin, bridge) = standin().await;
    let directory = TempDir::new().unwrap();
    let node = TestNode::start_in(directory.path(), "a.example", &[]).await;
    assert!(connect(&node, json!({"url": standin.url(), "token": bridge.token})).await.connected);
    node.node.shutdown().await;
    let file = directory.path().join("rocketchat.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();

    let node = TestNode::start_in(directory.path(), "a.example", &[]).await;
    let told = status(&node).await;
    assert_eq!(told.state, ConnectorState::Blocked);
    assert_eq!(told.problems[0].code, ProblemKind::SecretsUnreadable);
    let (_, health) = node.raw("GET", "/v1/health", None).await;
    assert!(health["problems"].as_array().unwrap().iter().any(|one| one["code"] == "rocketchat_secrets_unreadable"));
    let metrics = node.client.get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("rocketmesh_rocketchat_state 4"), "{metrics}");
    assert!(connect(&node, json!({"url": standin.url(), "token": bridge.token})).await.connected);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    node.node.shutdown().await;
}
