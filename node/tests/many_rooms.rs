//! A server in thousands of rooms.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_node::api::types::NodeStatus;
use serde_json::json;
use support::{TestNode, converged, eventually};

const ROOMS: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_in_five_thousand_rooms_hear_each_other_in_every_one() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[]).await;
    let mut rooms = Vec::with_capacity(ROOMS);
    for at in 0..ROOMS {
        rooms.push(a.create("alice", &format!("room {at}")).await.summary.id);
    }
    b.connect(&a).await;
    for room in &rooms {
        b.join(room, "bob").await;
    }
    // A new connection carries every subscription in one message; gossip has to hear all of them.
    let left = b.stop().await;
    let b = TestNode::start_in(left.path(), "b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let status: NodeStatus = b.get("/v1/node").await;
    assert_eq!(status.rooms, ROOMS as u64);
    for at in [0, 99, 100, 101, 2_500, ROOMS - 1] {
        b.say(&rooms[at], "bob", "here").await;
        converged(&[&a, &b], &rooms[at]).await;
        assert_eq!(a.texts(&rooms[at]).await, ["here"]);
    }
    let gossip = || async {
        let (_, peer) = a.raw("GET", &format!("/v1/peers/{}", b.id()), None).await;
        peer["received"]["gossip"].as_u64().unwrap()
    };
    let before = gossip().await;
    b.say(&rooms[ROOMS - 1], "bob", "by gossip").await;
    eventually("the last room's event comes by gossip", || async { gossip().await > before }).await;
    assert_eq!(a.refused("POST", "/v1/rooms/join", Some(json!({"room": "x", "user": "y"}))).await.0, 400);
}
