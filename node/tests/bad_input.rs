//! What people and programs get wrong ends in a clear error, and nothing is lost.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;

use rocketmesh_node::config::{self, ConfigError, Overrides};
use rocketmesh_node::{NodeBuilder, StartError};
use rocketmesh_storage::StoreError;
use serde_json::json;
use support::{TestNode, builder};
use tempfile::TempDir;

async fn refused_start(builder: NodeBuilder) -> StartError {
    match builder.start().await {
        Ok(_) => panic!("the node started"),
        Err(error) => error,
    }
}

fn load(toml: &str) -> Result<config::Loaded, ConfigError> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("rocketmesh.toml");
    std::fs::write(&file, toml).unwrap();
    config::load(Some(&file), &Overrides::default())
}

#[test]
fn an_unknown_configuration_key_is_named_with_the_nearest_valid_one() {
    for (toml, wrong, right) in [
        ("[network]\nbootsrap = []", "network.bootsrap", "network.bootstrap"),
        ("nmae = \"x\"", "nmae", "name"),
        ("[api]\nlissten = \"127.0.0.1:1\"", "api.lissten", "api.listen"),
        ("mdns = false", "mdns", "network.mdns"),
        ("[sotre]\ncache_mib = 9", "sotre.cache_mib", "store.cache_mib"),
    ] {
        match load(toml) {
            Err(ConfigError::UnknownKey { key, nearest, origin }) => {
                assert_eq!((key.as_str(), nearest.as_str()), (wrong, right));
                assert!(origin.ends_with("rocketmesh.toml"), "{origin}");
            }
            other => panic!("{toml}: {other:?}"),
        }
    }
}

#[test]
fn a_configuration_value_of_the_wrong_type_or_out_of_bounds_is_named() {
    for (toml, key) in [
        ("[network]\nmdns = \"perhaps\"", "network.mdns"),
        ("[store]\ncache_mib = 1", "store.cache_mib"),
        ("[network]\nmax_connections = 2", "network.max_connections"),
        ("[network]\nbootstrap = [\"192.0.2.7:4848\"]", "network.bootstrap"),
        ("[network]\nbootstrap = [\"/ip4/192.0.2.7/tcp/4848\"]", "network.bootstrap"),
        ("[network]\nlisten = [\"everywhere\"]", "network.listen"),
        ("name = \"Not A Name\"", "name"),
    ] {
        match load(toml) {
            Err(ConfigError::Value { key: named, problem }) => {
                assert_eq!(named, key);
                assert!(problem.len() > 10, "{problem}");
            }
            other => panic!("{toml}: {other:?}"),
        }
    }
    assert!(matches!(load("name = "), Err(ConfigError::File(_))));
    let absent = config::load(Some(Path::new("/nowhere/rocketmesh.toml")), &Overrides::default());
    assert!(matches!(absent, Err(ConfigError::File(_))));
}

#[test]
fn the_command_line_outranks_the_file_and_each_value_tells_where_it_came_from() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("rocketmesh.toml");
    std::fs::write(&file, "name = \"file.example.org\"\n[store]\ncache_mib = 99\n").unwrap();
    let mut overrides = Overrides::default();
    overrides.set("name", "line.example.org");
    let loaded = config::load(Some(&file), &overrides).unwrap();
    assert_eq!((loaded.config.name.as_str(), loaded.config.store.cache_mib), ("line.example.org", 99));
    let source = |key: &str| loaded.entries.iter().find(|entry| entry.key == key).unwrap().source.clone();
    assert_eq!(source("name"), "command line");
    assert!(source("store.cache_mib").ends_with("rocketmesh.toml"));
    assert_eq!(source("network.mdns"), "default");
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error_for_the_mesh_and_for_the_api() {
    let directory = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mesh = builder(directory.path(), "", &[])
        .configure(|config| config.network.listen = vec![format!("/ip4/127.0.0.1/tcp/{port}")]);
    let error = refused_start(mesh).await.to_string();
    assert!(error.contains("in use") && error.contains(&port.to_string()), "{error}");
    let api = builder(directory.path(), "", &[]).configure(|config| config.api.listen = format!("127.0.0.1:{port}"));
    let error = refused_start(api).await;
    assert!(matches!(error, StartError::Api { .. }), "{error}");
}

#[tokio::test]
async fn a_second_node_does_not_share_the_first_ones_port() {
    let first = TestNode::start("a.example.org", &[]).await;
    let address = first.address().await;
    let (listen, _) = address.split_once("/p2p/").unwrap();
    let directory = TempDir::new().unwrap();
    let second = builder(directory.path(), "", &[]).configure(|config| config.network.listen = vec![listen.to_owned()]);
    let error = refused_start(second).await;
    assert!(error.to_string().contains("in use") && error.to_string().contains(listen), "{error}");
}

#[tokio::test]
async fn a_locked_or_newer_or_unwritable_data_directory_is_a_clear_error() {
    let node = TestNode::start("a.example.org", &[]).await;
    let second = refused_start(builder(node.directory(), "", &[])).await;
    assert!(matches!(second, StartError::Store(StoreError::Locked(_))), "{second}");
    let room = node.create("alice", "general").await.summary.id;
    let left = node.stop().await;

    let marker = left.path().join("store/FORMAT");
    std::fs::write(&marker, "7\n").unwrap();
    let newer = refused_start(builder(left.path(), "", &[])).await;
    assert!(matches!(newer, StartError::Store(StoreError::NewerFormat { found: 7, .. })), "{newer}");
    std::fs::write(&marker, "2\n").unwrap();
    let node = TestNode::start_in(left.path(), "a.example.org", &[]).await;
    assert_eq!(node.room(&room).await.summary.events, 1, "nothing was lost");

    // Not even root makes a directory there.
    let unwritable = refused_start(builder(Path::new("/sys/rocketmesh"), "", &[])).await;
    assert!(matches!(unwritable, StartError::Store(StoreError::NotWritable { .. })), "{unwritable}");
}

#[tokio::test]
async fn a_damaged_key_file_is_a_clear_error_and_never_a_new_identity() {
    let node = TestNode::start("a.example.org", &[]).await;
    let id = node.id();
    let left = node.stop().await;
    let file = left.path().join("identity.key");
    let sound = std::fs::read_to_string(&file).unwrap();
    let flipped = sound.replacen("seed ", "seed 0", 1);
    let mut digit = sound.clone().into_bytes();
    let at = sound.find("seed ").unwrap() + 5;
    digit[at] = if digit[at] == b'0' { b'1' } else { b'0' };
    for damaged in ["", "garbage", &sound[..20], &flipped, std::str::from_utf8(&digit).unwrap()] {
        std::fs::write(&file, damaged).unwrap();
        let error = refused_start(builder(left.path(), "", &[])).await;
        assert!(matches!(error, StartError::Identity(_)), "{damaged:?}: {error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), damaged, "left as it was");
    }
    std::fs::write(&file, &sound).unwrap();
    assert_eq!(TestNode::start_in(left.path(), "a.example.org", &[]).await.id(), id);
}

#[tokio::test]
async fn secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let node = TestNode::start("a.example.org", &[]).await;
    for file in ["identity.key", "api.token"] {
        let mode = std::fs::metadata(node.directory().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn requests_without_the_right_token_are_refused() {
    let node = TestNode::start("a.example.org", &[]).await;
    for (method, path) in [
        ("GET", "/v1/node"),
        ("GET", "/v1/rooms"),
        ("POST", "/v1/rooms"),
        ("POST", "/v1/backup"),
        ("PUT", "/v1/policy"),
        ("GET", "/v1/stream"),
    ] {
        for token in [None, Some("wrong"), Some("")] {
            let mut request = node.client.request(method.parse().unwrap(), node.url(path));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            assert_eq!(request.send().await.unwrap().status(), 401, "{method} {path} {token:?}");
        }
    }
    for open in ["/v1/health", "/v1/openapi.json", "/metrics"] {
        assert_eq!(node.client.get(node.url(open)).send().await.unwrap().status(), 200, "{open}");
    }
}

#[tokio::test]
async fn malformed_requests_have_stable_codes_and_say_what_to_do() {
    let node = TestNode::start("a.example.org", &[]).await;
    let room = node.create("alice", "general").await.summary.id;
    let unknown = "bafyr4ihq2k6zmezkypfjtiswkpcjh7ozbsae3gr4hdmt2ut6bx7bky7bkq";
    let events = format!("/v1/rooms/{room}/events");
    let large = "x".repeat(70_000);
    let cases = [
        ("GET", "/v1/rooms/nonsense", None, 400, "malformed_id"),
        ("GET", "/v1/events/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", None, 400, "malformed_id"),
        ("GET", "/v1/peers/nobody", None, 400, "malformed_name"),
        ("GET", &format!("/v1/rooms/{unknown}"), None, 404, "unknown_room"),
        ("GET", &format!("/v1/events/{unknown}"), None, 404, "unknown_event"),
        ("GET", "/v1/peers/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN", None, 404, "unknown_peer"),
        ("GET", &format!("{events}?limit=0"), None, 400, "malformed_query"),
        ("GET", &format!("{events}?limit=many"), None, 400, "malformed_query"),
        ("GET", &format!("{events}?order=sideways"), None, 400, "malformed_query"),
        ("GET", &format!("{events}?from={unknown}"), None, 404, "unknown_event"),
        ("POST", &events, Some(json!({"user": "alice"})), 400, "missing_field"),
        ("POST", &events, Some(json!({"user": "al ice", "text": "x"})), 400, "malformed_name"),
        ("POST", &events, Some(json!({"user": "bob", "text": "x"})), 403, "not_a_member"),
        ("POST", &events, Some(json!({"user": "alice", "txet": "x"})), 422, "malformed_body"),
        ("POST", &events, Some(json!({"user": "alice", "text": large})), 413, "text_too_large"),
        ("POST", &events, Some(json!({"user": "alice", "kind": "room.create"})), 400, "reserved_kind"),
        ("POST", &events, Some(json!({"user": "alice", "kind": "x.y", "body": {"n": 0.5}})), 400, "malformed_body"),
        ("POST", &events, Some(json!({"user": "alice", "kind": "edit", "text": "x"})), 400, "missing_field"),
        (
            "POST",
            &format!("/v1/rooms/{unknown}/events"),
            Some(json!({"user": "alice", "text": "x"})),
            404,
            "unknown_room",
        ),
        ("POST", "/v1/rooms", Some(json!({"user": "alice", "name": ""})), 400, "malformed_room_name"),
        ("POST", "/v1/rooms", Some(json!({"user": "alice", "name": "d", "type": "d"})), 400, "malformed_with"),
        ("POST", "/v1/rooms", Some(json!({"user": "alice", "name": "p", "with": ["bob"]})), 400, "malformed_with"),
        ("POST", "/v1/rooms", Some(json!({"user": "alice", "type": "d", "with": ["alice"]})), 403, "second_create"),
        (
            "POST",
            &format!("/v1/invitations/{unknown}/decline"),
            Some(json!({"user": "alice"})),
            404,
            "unknown_invitation",
        ),
        ("POST", "/v1/rooms/join", Some(json!({"room": unknown, "user": "alice", "wait_s": 0})), 404, "unknown_room"),
        ("POST", "/v1/peers/connect", Some(json!({"address": "example.org"})), 400, "malformed_address"),
        ("PUT", "/v1/policy", Some(json!({"federate": "everybody"})), 422, "malformed_body"),
        ("DELETE", "/v1/node", None, 405, "wrong_method"),
        ("GET", "/v2/node", None, 404, "unknown_path"),
    ];
    for (method, path, body, status, code) in cases {
        let refused = node.refused(method, path, body.clone()).await;
        assert_eq!(refused, (status, code.to_owned()), "{method} {path} {body:?}");
    }
    let huge = json!({"user": "alice", "text": "x".repeat(1_000_000)});
    assert_eq!(node.refused("POST", &events, Some(huge)).await, (413, "body_too_large".to_owned()));
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let deep = json!({"user": "alice", "kind": "x.y", "body": {"deep": deep}});
    assert_eq!(node.refused("POST", &events, Some(deep)).await, (400, "malformed_event".to_owned()));
    assert_eq!(node.room(&room).await.summary.events, 1, "nothing of it left a trace");
    node.say(&room, "alice", "still here").await;
}

#[tokio::test]
async fn an_unreachable_bootstrap_address_is_shown_as_such_and_tried_again() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{closed}/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN");
    let node = TestNode::start("a.example.org", std::slice::from_ref(&address)).await;
    support::eventually("it is tried more than once", || async {
        let status: rocketmesh_node::api::types::NodeStatus = node.get("/v1/node").await;
        let entry = &status.bootstrap[0];
        entry.state == "unreachable" && entry.failures >= 2 && entry.last_error.is_some() && status.health == "degraded"
    })
    .await;
}
