//! What is taken back is gone everywhere, what is too old is gone here, and the room still verifies.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use rocketmesh_node::api::types::{EventView, RoomProof, StreamEntry};
use rocketmesh_node::clock::{Clock, SystemClock};
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Body, Content, Draft, Event, Membership, Placement, Role, RoomVersion, author};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::{ServerKey, UserId};
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::Verdict;
use serde_json::{Value, json};
use support::attacker::own_room;
use support::{TestNode, converged, eventually};

const DAY_MS: u64 = 86_400_000;

/// The system's clock, some time ahead.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms() + self.0.load(Ordering::Relaxed)
    }
}

async fn act(node: &TestNode, room: &str, event: Value) -> String {
    let posted: Value = node.post(&format!("/v1/rooms/{room}/events"), event).await;
    posted["event"].as_str().unwrap().to_owned()
}

async fn event(node: &TestNode, id: &str) -> EventView {
    node.get(&format!("/v1/events/{id}")).await
}

async fn body_state(node: &TestNode, id: &str) -> String {
    let (status, event) = node.raw("GET", &format!("/v1/events/{id}"), None).await;
    if status.is_success() { event["body_state"].as_str().unwrap().to_owned() } else { "unknown".to_owned() }
}

async fn all_are(nodes: &[&TestNode], id: &str, state: &str) {
    eventually(&format!("the body of {id} is {state}"), || async {
        for node in nodes {
            if body_state(node, id).await != state {
                return false;
            }
        }
        true
    })
    .await;
}

async fn proof(node: &TestNode, room: &str) -> RoomProof {
    node.post(&format!("/v1/rooms/{room}/verify"), json!({})).await
}

/// Keeps two servers apart, or lets them together again.
async fn apart(one: &TestNode, other: &TestNode, apart: bool) {
    for (node, other) in [(one, other), (other, one)] {
        let method = if apart { "PUT" } else { "DELETE" };
        let (status, answer) =
            node.raw(method, &format!("/v1/peers/{}/ban", other.id()), apart.then(|| json!({}))).await;
        assert!(status.is_success(), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redaction_takes_the_text_and_its_edits_on_every_server_and_for_whoever_comes_later() {
    let a = TestNode::start("a.example.org", &[]).await;
    let hub = [a.address().await];
    let b = TestNode::start("b.example.org", &hub).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let said = a.say(&room, "alice", "a secret").await.event;
    let edit = act(&a, &room, json!({"user": "alice", "kind": "edit", "target": said, "text": "another secret"})).await;
    let other = a.say(&room, "alice", "no secret").await.event;
    converged(&[&a, &b], &room).await;
    assert_eq!(body_state(&b, &edit).await, "present");

    act(&a, &room, json!({"user": "alice", "kind": "redact", "target": said})).await;
    for id in [&said, &edit] {
        all_are(&[&a, &b], id, "erased").await;
    }
    assert_eq!(event(&b, &said).await.body, Value::Null);
    assert_eq!(body_state(&b, &other).await, "present");

    // Neither text nor its edit comes with the room, and nothing is missing for it.
    let c = TestNode::start("c.example.org", &hub).await;
    c.introduced(&a).await;
    c.join(&room, "carol").await;
    let digest = converged(&[&a, &b, &c], &room).await;
    for id in [&said, &edit] {
        all_are(&[&c], id, "erased").await;
    }
    let proof = proof(&c, &room).await;
    assert!(proof.nothing_missing && proof.missing_bodies == 0 && proof.digest == digest, "{proof:?}");
    let raw = std::fs::read_dir(c.directory().join("store")).unwrap().filter_map(Result::ok);
    for file in raw.filter(|file| file.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        let found = bytes.windows(b"a secret".len()).any(|window| window == b"a secret");
        assert!(!found, "{} holds what was taken back before", file.path().display());
    }
    for node in [a, b, c] {
        node.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_comes_after_the_redaction_brings_no_text_back() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    let member = format!("@bob:{}", b.id());
    act(&a, &room, json!({"user": "alice", "kind": "room.role", "member": member, "role": "moderator"})).await;
    let said = a.say(&room, "alice", "a secret").await.event;
    converged(&[&a, &b], &room).await;

    apart(&a, &b, true).await;
    act(&a, &room, json!({"user": "alice", "kind": "redact", "target": said})).await;
    let edit =
        act(&b, &room, json!({"user": "bob", "kind": "edit", "target": said, "text": "the secret is out"})).await;
    apart(&a, &b, false).await;
    b.connect(&a).await;

    converged(&[&a, &b], &room).await;
    for id in [&said, &edit] {
        all_are(&[&a, &b], id, "erased").await;
    }
    assert!(proof(&a, &room).await.nothing_missing);
    for node in [a, b] {
        node.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_comes_back_where_its_redaction_turns_out_not_to_count() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "mallory").await;
    converged(&[&a, &b], &room).await;
    let member = format!("@mallory:{}", b.id());
    act(&a, &room, json!({"user": "alice", "kind": "room.role", "member": member, "role": "moderator"})).await;
    let said = a.say(&room, "alice", "what happened").await.event;
    converged(&[&a, &b], &room).await;

    apart(&a, &b, true).await;
    act(&a, &room, json!({"user": "alice", "kind": "room.role", "member": member, "role": "member"})).await;
    act(&b, &room, json!({"user": "mallory", "kind": "redact", "target": said})).await;
    all_are(&[&b], &said, "erased").await;
    apart(&a, &b, false).await;
    b.connect(&a).await;

    converged(&[&a, &b], &room).await;
    all_are(&[&a, &b], &said, "present").await;
    assert_eq!(event(&b, &said).await.body["text"], "what happened");
    for node in [a, b] {
        node.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_a_server_keeps_is_gone_there_and_only_there() {
    let clock = Arc::new(Ahead::default());
    let shared: Arc<dyn Clock> = clock.clone();
    let a = TestNode::start_with("a.example.org", &[], |builder| builder.clock(shared)).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let old = a.say(&room, "alice", "long ago").await.event;
    let topic = act(&a, &room, json!({"user": "alice", "kind": "room.topic", "text": "history"})).await;
    clock.0.store(40 * DAY_MS, Ordering::Relaxed);
    let new = a.say(&room, "alice", "today").await.event;
    converged(&[&a, &b], &room).await;

    let path = format!("/v1/rooms/{room}/retention");
    let (status, view) = a.raw("PUT", &path, Some(json!({"seconds": 30 * 86_400}))).await;
    assert!(status.is_success() && view["dropped"] == 1, "{view}");
    assert_eq!(body_state(&a, &old).await, "expired");
    for (node, id) in [(&a, &topic), (&a, &new), (&b, &old)] {
        assert_eq!(body_state(node, id).await, "present", "{id}");
    }
    // The comparison brings nothing back, and finds nothing missing.
    let proof = proof(&a, &room).await;
    assert!(proof.nothing_missing && proof.missing_bodies == 0, "{proof:?}");
    assert_eq!(body_state(&a, &old).await, "expired");

    // Whoever joins through the server that dropped it gets it from the one that did not.
    let c = TestNode::start("c.example.org", &[a.address().await]).await;
    c.introduced(&a).await;
    c.join(&room, "carol").await;
    c.connect(&b).await;
    all_are(&[&c], &old, "present").await;
    for node in [a, b, c] {
        node.node.shutdown().await;
    }
}

/// What the stream of a room says from its beginning up to this event: ids of accepted events, and whether each came late.
async fn told_up_to(node: &TestNode, room: &str, last: &str) -> Vec<(String, bool)> {
    let url = node.url(&format!("/v1/rooms/{room}/stream?after=0"));
    let response = node.client.get(url).bearer_auth(node.node.api_token()).send().await.unwrap();
    let (mut chunks, mut text) = (response.bytes_stream(), String::new());
    loop {
        text.push_str(&String::from_utf8_lossy(&chunks.next().await.unwrap().unwrap()));
        // A line that has not come to its end cannot be read yet.
        let entries = text.lines().filter_map(|line| line.strip_prefix("data:"));
        let entries = entries.filter_map(|data| serde_json::from_str::<StreamEntry>(data.trim()).ok());
        let accepted = entries.filter(|entry| entry.change == "accepted");
        let told: Vec<(String, bool)> = accepted.map(|entry| (entry.event.id, entry.event.late)).collect();
        if told.iter().any(|(id, _)| id == last) {
            return told;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_for_a_month_misses_nothing_and_knows_what_is_old() {
    let a = TestNode::start("a.example.org", &[]).await;
    let hub = [a.address().await];
    let b = TestNode::start("b.example.org", &hub).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    let kept = b.stop().await;
    let mut missed = Vec::new();
    for turn in 0..5 {
        missed.push(a.say(&room, "alice", &format!("you were away, {turn}")).await.event);
    }

    let clock = Arc::new(Ahead(AtomicU64::new(30 * DAY_MS)));
    let shared: Arc<dyn Clock> = clock.clone();
    let b = TestNode::start_in_with(kept.path(), "b.example.org", &hub, |builder| builder.clock(shared)).await;
    b.introduced(&a).await;
    converged(&[&a, &b], &room).await;
    for missed in &missed {
        assert!(event(&b, missed).await.late, "it was said a month ago");
    }
    let fresh = b.say(&room, "bob", "I am back").await.event;
    assert!(!event(&b, &fresh).await.late);
    // Whoever follows the stream can tell too, so that nobody is flooded with what is old.
    let told = told_up_to(&b, &room, &fresh).await;
    for missed in &missed {
        assert_eq!(told.iter().filter(|(id, late)| id == missed && *late).count(), 1, "once, and as late");
    }
    assert!(told.contains(&(fresh, false)));
    assert!(proof(&b, &room).await.nothing_missing);
    for node in [a, b] {
        node.node.shutdown().await;
    }
}

/// An event of a server's user that stands on these state events and on nothing that was said.
fn standing_on(
    key: &ServerKey,
    user: &str,
    content: &Content,
    text: Option<&str>,
    room: RoomId,
    on: &[&Event],
) -> Event {
    let (kind, state_key) = content.kind_and_key();
    let draft = Draft {
        sender: Some(user.parse().unwrap()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&[2; 16]),
        body: text.map(|text| Body::new([1; 16], Map::new().with("text", text))),
        time_ms: 0,
    };
    let own = on.iter().find(|event| event.header().origin == key.origin() && draft.state_key.is_some());
    let placement = Placement {
        room: Some(room),
        version: RoomVersion::DRAFT,
        self_parent: own.map(|event| (event.id(), event.header().seq)),
        parents: Vec::new(),
        state_frontier: on.iter().map(|event| event.id()).collect(),
        lamport: on.iter().map(|event| event.header().lamport).max().unwrap() + 1,
    };
    author(key, placement, draft).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_its_edit_and_its_redaction_come_to_the_same_in_any_order() {
    let node = TestNode::start("a.example.org", &[]).await;
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (number, order) in orders.into_iter().enumerate() {
        for together in [true, false] {
            let seed = |part: u8| ServerKey::from_seed(&[part * 20 + 2 * number as u8 + u8::from(together); 32]);
            let (writer, editor, remover) = (seed(3), seed(4), seed(5));
            let (_, create) = own_room(&writer);
            let room = create.room();
            let owner = UserId { origin: writer.origin(), localpart: "mallory".parse().unwrap() };
            let mut state = vec![create];
            for (key, user) in [(&editor, "eve"), (&remover, "rob")] {
                let member = UserId { origin: key.origin(), localpart: user.parse().unwrap() };
                let join = Content::Member { user: member.clone(), change: Membership::Join, seen: Vec::new() };
                let join = standing_on(key, user, &join, None, room, &[state.last().unwrap()]);
                let role = Content::Role { user: member, role: Role::Moderator, seen: Vec::new() };
                // The writer's chain of state goes on from its last event.
                let last = state.iter().rfind(|event| event.header().origin == writer.origin()).unwrap().clone();
                let role = standing_on(&writer, "mallory", &role, None, room, &[&last, &join]);
                state.extend([join, role]);
            }
            let tip = state.last().unwrap().clone();
            let said =
                standing_on(&writer, "mallory", &Content::Message { thread: None }, Some("a secret"), room, &[&tip]);
            let edit = Content::Edit { target: said.id(), author: Some(owner.clone()) };
            let edit = standing_on(&editor, "eve", &edit, Some("the secret"), room, &[&tip]);
            let redaction = Content::Redact { target: said.id(), author: Some(owner) };
            let redaction = standing_on(&remover, "rob", &redaction, None, room, &[&tip]);

            let client = node.node.client();
            let all = state.len();
            assert_eq!(client.ingest(room, state.iter().map(WireEvent::of).collect()).await.unwrap(), all);
            let events = [&said, &edit, &redaction];
            let wire: Vec<WireEvent> = order.iter().map(|at| WireEvent::of(events[*at])).collect();
            let parts: Vec<Vec<WireEvent>> =
                if together { vec![wire] } else { wire.into_iter().map(|event| vec![event]).collect() };
            for part in parts {
                let expected = part.len();
                assert_eq!(client.ingest(room, part).await.unwrap(), expected);
            }
            for event in events {
                let stored = client.event(&event.id()).unwrap().unwrap();
                assert_eq!(stored.verdict, Verdict::Accepted, "{order:?}");
                assert!(stored.event.body_block().is_none(), "{order:?}, together: {together}");
            }
        }
    }
    node.node.shutdown().await;
}
