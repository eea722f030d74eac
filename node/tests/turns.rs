//! Servers that ask much: others are answered all the same, and what nobody waits for costs nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use rocketmesh_node::api::types::PeerView;
use rocketmesh_protocol::have::{HaveVector, SHORT_DIGEST_BYTES, Sections, Sketch, Tag};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::wire::{Request, Response};
use rocketmesh_storage::{EventStore, MemoryDisk};
use support::attacker::{Attacker, Running, honest};
use support::{PATIENCE, TestNode, eventually};

/// How long the disk takes to flush, which answers with events wait for.
const FLUSH: Duration = Duration::from_secs(1);
/// As many requests as the node takes by one connection.
const AT_ONCE: u64 = 64;

const SERVED: &str = "rocketmesh_requests_served_total";
const WAITING: &str = "rocketmesh_requests_waiting";
const REFUSED: &str = "rocketmesh_requests_refused_total";

/// A node that takes its time to answer whoever asks for events, and a channel of it.
async fn slow_node() -> (TestNode, RoomId) {
    let store = EventStore::in_memory(&MemoryDisk::new().with_flush(FLUSH)).unwrap();
    let node = TestNode::start_with("a.example.org", &[], |builder| builder.store(store)).await;
    let room = node.create("alice", "general").await.summary.id.parse().unwrap();
    (node, room)
}

async fn metric(node: &TestNode, name: &str) -> u64 {
    let (_, text) = node.raw("GET", "/metrics", None).await;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.as_str().unwrap().lines().find_map(value).unwrap()
}

/// A server that asks for events as often as it can, and reads what comes.
async fn flood(node: &TestNode, seed: u8, room: RoomId) -> Running {
    let mut attacker = Attacker::connect_for(node, seed, Some(&honest()), PATIENCE).await;
    let everything = Request::Pull { room, sections: Sections::ALL, state_only: false, have: HaveVector::new() };
    let victim = attacker.victim;
    for _ in 0..AT_ONCE {
        attacker.swarm.behaviour_mut().sync.send_request(&victim, everything.encode());
    }
    attacker.run()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_ask_without_end_are_refused_and_keep_no_other_from_being_answered() {
    let (node, room) = slow_node().await;
    let mut other = Attacker::connect_for(&node, 60, Some(&honest()), PATIENCE).await;
    let mut floods = Vec::new();
    for seed in 61..64 {
        floods.push(flood(&node, seed, room).await);
    }
    other.while_waiting(eventually("more is asked than may wait", || async { metric(&node, REFUSED).await > 0 })).await;
    let answer = other.ask(Request::Sections { room }.encode()).await;
    assert!(matches!(answer, Some(Response::Sections { .. })), "{answer:?}");
    assert!(metric(&node, WAITING).await > 0, "it had to wait until all that came before was answered");
    let own: PeerView = node.get(&format!("/v1/peers/{}", other.key.origin())).await;
    assert_eq!(own.received.requests_refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_server_that_is_gone_are_not_answered() {
    let (node, room) = slow_node().await;
    let flooding = flood(&node, 61, room).await;
    eventually("its requests wait", || async { metric(&node, WAITING).await > 0 }).await;
    drop(flooding);
    eventually("they do not wait any more", || async { metric(&node, WAITING).await == 0 }).await;
    let served = metric(&node, SERVED).await;
    assert!(served < AT_ONCE / 2, "{served} were answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn comparisons_of_a_quiet_room_read_nothing_in_the_store_and_show_what_is_new() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let node = TestNode::start_with("a.example.org", &[], |builder| builder.store(store)).await;
    let room = node.create("alice", "general").await.summary.id;
    let id: RoomId = room.parse().unwrap();
    let mut other = Attacker::connect(&node, 60, Some(&honest())).await;
    let digests = BTreeMap::from([(Tag::of(id.hash()), [0; SHORT_DIGEST_BYTES])]);
    let compare = Request::Compare { digests }.encode();
    let first = other.ask(compare.clone()).await.unwrap();
    let Response::Compared { rooms } = &first else { panic!("{first:?}") };
    assert!(matches!(rooms.get(&0), Some(Sketch::Entries(_))), "{first:?}");
    let rows = disk.rows();
    for key in rows.keys() {
        disk.damage(key, None);
    }
    assert_eq!(other.ask(compare.clone()).await.as_ref(), Some(&first), "the store has nothing to read now");
    for (key, value) in &rows {
        disk.damage(key, Some(value.as_slice()));
    }
    node.say(&room, "alice", "something new").await;
    let second = other.ask(compare).await.unwrap();
    assert!(matches!(&second, Response::Compared { rooms } if rooms.contains_key(&0)), "{second:?}");
    assert_ne!(second, first);
}
