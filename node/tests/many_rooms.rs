//! A server in thousands of rooms.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use futures::{StreamExt, stream};
use rocketmesh_node::api::types::NodeStatus;
use support::{TestNode, converged, eventually};

const ROOMS: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_five_thousand_rooms_is_heard_in_each_of_them() {
    let a = TestNode::start("a.example.org", &[]).await;
    let create = |at: usize| {
        let a = &a;
        async move { a.create("alice", &format!("room {at}")).await.summary.id }
    };
    let rooms: Vec<String> = stream::iter(0..ROOMS).map(create).buffered(32).collect().await;
    let status: NodeStatus = a.get("/v1/node").await;
    assert_eq!(status.rooms, ROOMS as u64);
    // A new connection carries every subscription at once; the other side has to hear all of them.
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let heard = || async {
        let (_, peer) = a.raw("GET", &format!("/v1/peers/{}", b.id()), None).await;
        peer["received"]["gossip"].as_u64().unwrap()
    };
    for at in [0, 99, 100, 101, 2_500, ROOMS - 1] {
        b.join(&rooms[at], "bob").await;
        converged(&[&a, &b], &rooms[at]).await;
        // Gossip itself, and not repair, has to work beyond the hundredth topic.
        let before = heard().await;
        eventually(&format!("an event of room {at} comes by gossip"), || async {
            b.say(&rooms[at], "bob", "here").await;
            heard().await > before
        })
        .await;
        converged(&[&a, &b], &rooms[at]).await;
    }
}
