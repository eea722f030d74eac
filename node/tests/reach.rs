//! Servers that nobody can dial: found out, reached through relays, and kept out of private meshes.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;

use rocketmesh_node::NodeBuilder;
use rocketmesh_node::api::types::{NetView, PeerView};
use rocketmesh_node::clock::SystemEntropy;
use rocketmesh_node::network::{RelayMode, private_key, transport};
use rocketmesh_protocol::identity::ServerKey;
use serde_json::json;
use support::{TestNode, builder, converged, eventually};
use tempfile::TempDir;

const HOP: &str = "/libp2p/circuit/relay/0.2.0/hop";

/// A server that listens nowhere, so that nobody can dial it.
async fn hidden(name: &str, bootstrap: &[String]) -> TestNode {
    TestNode::start_with(name, bootstrap, |builder| builder.configure(|config| config.network.listen.clear())).await
}

async fn net(node: &TestNode) -> NetView {
    node.get("/v1/net").await
}

/// Waits until a server holds places at this many relays, and returns what it shows then.
async fn reserved(node: &TestNode, relays: usize) -> NetView {
    eventually("a relay holds a place", || async { net(node).await.relays.len() == relays }).await;
    net(node).await
}

/// Connects to a server through a relay.
async fn connect_through(node: &TestNode, relay: &TestNode, to: &TestNode) {
    let address = format!("{}/p2p-circuit/p2p/{}", relay.address().await, to.id());
    let _: PeerView = node.post("/v1/peers/connect", json!({"address": address})).await;
    node.introduced(to).await;
    to.introduced(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_can_dial_is_reached_through_a_relay_that_it_finds_by_itself() {
    let relay = TestNode::start("relay.example.org", &[]).await;
    let bootstrap = [relay.address().await];
    let a = hidden("a.example.org", &bootstrap).await;
    let b = hidden("b.example.org", &bootstrap).await;
    let held = reserved(&a, 1).await;
    assert_eq!(held.relays[0].peer, relay.id());
    assert_ne!(held.reachability, "public");
    let shown = net(&relay).await;
    assert_eq!(shown.reachability, "public", "{shown:?}");
    assert!(shown.serving.active && shown.serving.reservations > 0, "{shown:?}");
    assert!(
        shown.reasons.iter().any(|reason| reason.contains("own accord") || reason.contains("reached")),
        "{shown:?}"
    );

    let address = json!({"address": held.relays[0].address});
    let _: PeerView = b.post("/v1/peers/connect", address).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    a.say(&room, "alice", "from behind a wall").await;
    b.say(&room, "bob", "from behind another").await;
    converged(&[&a, &b], &room).await;
    assert_eq!(b.texts(&room).await.len(), 2);
    for (node, other) in [(&a, &b), (&b, &a)] {
        let shown = net(node).await;
        let peer = shown.peers.iter().find(|peer| peer.id == other.id()).unwrap();
        assert_eq!((peer.path.as_str(), peer.transport.as_str()), ("relayed", "tcp"), "{shown:?}");
        assert_eq!(peer.via, Some(relay.id()));
    }
    let (_, metrics) = relay.raw("GET", "/metrics", None).await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("rocketmesh_relay_circuits 1"), "{metrics}");
    assert!(metrics.contains("rocketmesh_reachability 2"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_nobody_has_come_through_is_tested_by_another_server() {
    let relay = TestNode::start("relay.example.org", &[]).await;
    let never = |builder: NodeBuilder| builder.configure(|config| config.network.relay.serve = RelayMode::Off);
    let tester = TestNode::start_with("tester.example.org", &[], never).await;
    let a = hidden("a.example.org", &[relay.address().await, tester.address().await]).await;
    reserved(&a, 1).await;
    a.introduced(&tester).await;
    eventually("the tester comes through the relay", || async { net(&relay).await.serving.circuits_total > 0 }).await;
    eventually("and leaves again", || async { net(&relay).await.serving.circuits == 0 }).await;
    let shown = net(&a).await;
    assert_eq!(shown.relays[0].peer, relay.id(), "and the relay keeps its place: {shown:?}");
    assert_eq!(shown.punches.tried, 0, "no hole is punched for a test: {shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_at_a_relay_comes_back_when_the_relay_was_started_again() {
    let relay = TestNode::start("relay.example.org", &[]).await;
    let address = relay.address().await;
    let listen = address.split("/p2p/").next().unwrap().to_owned();
    let a = hidden("a.example.org", std::slice::from_ref(&address)).await;
    reserved(&a, 1).await;
    let left = relay.stop().await;
    reserved(&a, 0).await;
    let again = |builder: NodeBuilder| builder.configure(|config| config.network.listen = vec![listen]);
    let relay = TestNode::start_in_with(left.path(), "relay.example.org", &[], again).await;
    assert_eq!(reserved(&a, 1).await.relays[0].peer, relay.id());
    let b = hidden("b.example.org", &[address]).await;
    b.introduced(&relay).await;
    connect_through(&b, &relay, &a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_dies_another_one_takes_its_place() {
    let mut relays = Vec::new();
    for name in ["r1.example.org", "r2.example.org", "r3.example.org"] {
        relays.push(TestNode::start(name, &[]).await);
    }
    let mut bootstrap = Vec::new();
    for relay in &relays {
        bootstrap.push(relay.address().await);
    }
    let a = hidden("a.example.org", &bootstrap).await;
    let held = reserved(&a, 2).await;
    let dies = relays.iter().position(|relay| relay.id() == held.relays[0].peer).unwrap();
    let dead = relays.remove(dies);
    let dead_id = dead.id();
    dead.stop().await;
    eventually("two other relays hold places", || async {
        let relays = net(&a).await.relays;
        relays.len() == 2 && relays.iter().all(|relay| relay.peer != dead_id)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_relay_is_no_relay_for_anybody() {
    let never = |builder: NodeBuilder| builder.configure(|config| config.network.relay.serve = RelayMode::Off);
    let server = TestNode::start_with("r.example.org", &[], never).await;
    let bootstrap = [server.address().await];
    let a = hidden("a.example.org", &bootstrap).await;
    let b = hidden("b.example.org", &bootstrap).await;
    eventually("others reach the server", || async { net(&server).await.reachability == "public" }).await;
    let shown = net(&server).await;
    assert!(!shown.serving.active && shown.serving.reservations == 0, "{shown:?}");
    assert!(net(&a).await.relays.is_empty());
    let peer: PeerView = a.get(&format!("/v1/peers/{}", server.id())).await;
    assert!(!peer.protocols.iter().any(|protocol| protocol == HOP), "{peer:?}");
    let address = format!("{}/p2p-circuit/p2p/{}", server.address().await, a.id());
    let refused = b.refused("POST", "/v1/peers/connect", Some(json!({"address": address}))).await;
    assert_eq!(refused, (502, "unreachable".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_reached_any_more_stops_to_serve_the_dht_and_relays_nothing() {
    let external = "/ip4/127.0.0.1/tcp/9";
    let claims = |builder: NodeBuilder| {
        builder.configure(|config| {
            config.network.listen.clear();
            config.network.external = vec![external.to_owned()];
        })
    };
    let server = TestNode::start("server.example.org", &[]).await;
    let bootstrap = [server.address().await];
    let a = TestNode::start_with("a.example.org", &bootstrap, claims).await;
    eventually("the tests refute what the configuration says", || async {
        let shown = net(&a).await;
        let (_, status) = a.raw("GET", "/v1/node", None).await;
        shown.reachability == "private" && !shown.serving.active && status["dht_mode"] == "client"
    })
    .await;
    let shown = net(&a).await;
    assert!(shown.advice.iter().any(|advice| advice.contains("network.external")), "{shown:?}");
    assert!(shown.addresses.iter().any(|address| address.state == "refuted"), "{shown:?}");
}

/// A builder of a server in a private mesh.
fn with_key(key: &Path) -> impl FnOnce(NodeBuilder) -> NodeBuilder {
    let key = key.display().to_string();
    |builder| builder.configure(|config| config.network.private_key_file = key)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_private_mesh_only_the_right_key_gets_as_far_as_a_handshake() {
    let keys = TempDir::new().unwrap();
    let (right, wrong) = (keys.path().join("right.key"), keys.path().join("wrong.key"));
    private_key::create(&right, &SystemEntropy).unwrap();
    private_key::create(&wrong, &SystemEntropy).unwrap();
    let a = TestNode::start_with("a.example.org", &[], with_key(&right)).await;
    let bootstrap = [a.address().await];
    let b = TestNode::start_with("b.example.org", &bootstrap, with_key(&right)).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    a.say(&room, "alice", "among us").await;
    converged(&[&a, &b], &room).await;
    let fingerprint = private_key::read(&right).unwrap().fingerprint();
    assert_eq!(net(&b).await.private.unwrap().fingerprint, fingerprint);

    let stranger = TestNode::start_with("c.example.org", &[], with_key(&wrong)).await;
    let outsider = TestNode::start("d.example.org", &[]).await;
    let address = || Some(json!({"address": bootstrap[0]}));
    let (by_stranger, by_outsider) = tokio::join!(
        stranger.refused("POST", "/v1/peers/connect", address()),
        outsider.refused("POST", "/v1/peers/connect", address()),
    );
    assert_eq!((by_stranger.1.as_str(), by_outsider.1.as_str()), ("unreachable", "unreachable"));
    assert_eq!(net(&a).await.peers.len(), 1, "nobody else is connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_knows_nothing_of_the_key_is_no_private_mesh() {
    let directory = TempDir::new().unwrap();
    let key = directory.path().join("mesh.key");
    private_key::create(&key, &SystemEntropy).unwrap();
    let own = ServerKey::from_seed(&[7; 32]);
    let transport = transport::memory(&own).unwrap();
    let nodes = TempDir::new().unwrap();
    let started =
        with_key(&key)(builder(nodes.path(), "a.example.org", &[])).key(own).transport(transport).start().await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("network.private_key_file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_relay_a_private_mesh_works_as_well() {
    let keys = TempDir::new().unwrap();
    let key = keys.path().join("mesh.key");
    private_key::create(&key, &SystemEntropy).unwrap();
    let relay = TestNode::start_with("relay.example.org", &[], with_key(&key)).await;
    let bootstrap = [relay.address().await];
    let private_and_hidden = || {
        let with_key = with_key(&key);
        |builder: NodeBuilder| with_key(builder).configure(|config| config.network.listen.clear())
    };
    let a = TestNode::start_with("a.example.org", &bootstrap, private_and_hidden()).await;
    let b = TestNode::start_with("b.example.org", &bootstrap, private_and_hidden()).await;
    reserved(&a, 1).await;
    b.introduced(&relay).await;
    connect_through(&b, &relay, &a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_mesh_says_which_addresses_it_does_not_use_and_refuses_what_can_only_be_a_mistake() {
    let directory = TempDir::new().unwrap();
    let key = directory.path().join("mesh.key");
    private_key::create(&key, &SystemEntropy).unwrap();
    let quic = "/ip4/127.0.0.1/udp/0/quic-v1";
    let both = |builder: NodeBuilder| builder.configure(|config| config.network.listen.push(quic.to_owned()));
    let a = TestNode::start_with("a.example.org", &[], |builder| with_key(&key)(both(builder))).await;
    assert_eq!(net(&a).await.private.unwrap().unused_listen, [quic]);
    assert!(a.node.addresses().await.iter().all(|address| !address.to_string().contains("quic")));
    let address = format!("{}/p2p/{}", "/ip4/127.0.0.1/udp/4848/quic-v1", a.id());
    let refused = a.raw("POST", "/v1/peers/connect", Some(json!({"address": address}))).await.1;
    assert!(refused["error"]["message"].as_str().unwrap().contains("TCP only"), "{refused}");

    type Change = fn(&mut rocketmesh_node::config::Config);
    let mistakes: [(Change, &str); 3] = [
        (|config| config.network.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()], "network.listen"),
        (
            |config| config.network.bootstrap = vec![format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{PEER}")],
            "network.bootstrap",
        ),
        (|config| config.network.private_key_file = "/nowhere".to_owned(), "network.private_key_file"),
    ];
    for (change, named) in mistakes {
        let nodes = TempDir::new().unwrap();
        let started = with_key(&key)(builder(nodes.path(), "m.example.org", &[])).configure(change).start().await;
        let error = started.err().unwrap().to_string();
        assert!(error.contains(named), "{error}");
    }
}

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
