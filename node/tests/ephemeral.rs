//! Who types and who is there reaches whoever looks, ends by itself, and leaves nothing behind on any disk.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use futures::StreamExt;
use rocketmesh_node::api::types::{NodeStatus, RoomDetail, RoomSummary};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::UserId;
use rocketmesh_protocol::wire::{Ephemeral, Signal};
use serde_json::{Value, json};
use support::attacker::{Attacker, honest};
use support::{PATIENCE, TestNode, converged, eventually};
use tokio::sync::mpsc;

/// After how long something is said again that nobody was told: half a second is the pace at which one user may signal.
const AGAIN: Duration = Duration::from_millis(600);

/// What a live stream tells, as it comes.
struct Watch(mpsc::Receiver<(String, Value)>);

impl Watch {
    async fn of(node: &TestNode, query: &str) -> Self {
        let url = node.url(&format!("/v1/stream{query}"));
        // Without the client's own limit of time: the stream has no end.
        let request = reqwest::Client::new().get(url).bearer_auth(node.node.api_token());
        let mut chunks = request.send().await.unwrap().bytes_stream();
        let (sender, told) = mpsc::channel(64);
        tokio::spawn(async move {
            let (mut text, mut event) = (String::new(), String::new());
            while let Some(Ok(chunk)) = chunks.next().await {
                text.push_str(&String::from_utf8_lossy(&chunk));
                while let Some(end) = text.find('\n') {
                    let line: String = text.drain(..=end).collect();
                    if let Some(name) = line.trim().strip_prefix("event:") {
                        event = name.trim().to_owned();
                    } else if let Some(data) = line.trim().strip_prefix("data:") {
                        let data = serde_json::from_str(data.trim()).unwrap();
                        if sender.send((event.clone(), data)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Watch(told)
    }

    async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(PATIENCE, self.0.recv()).await.expect("the stream tells nothing").unwrap()
    }

    /// Waits until what somebody does is told.
    async fn tells(&mut self, key: &str, value: Value) -> Value {
        loop {
            let (event, told) = self.next().await;
            if event == "ephemeral" && told[key] == value {
                return told;
            }
        }
    }
}

async fn signal(node: &TestNode, room: &str, what: Value) -> u16 {
    node.raw("POST", &format!("/v1/rooms/{room}/ephemeral"), Some(what)).await.0.as_u16()
}

/// Says it until the other side is told: gossip's mesh takes a moment to form, and nothing is said twice for anybody.
async fn until_told(node: &TestNode, room: &str, what: Value, watch: &mut Watch, key: &str, value: Value) -> Value {
    loop {
        assert_eq!(signal(node, room, what.clone()).await, 204);
        if let Ok(told) = tokio::time::timeout(AGAIN, watch.tells(key, value.clone())).await {
            return told;
        }
    }
}

/// What is kept of a room, and of everything.
async fn kept(node: &TestNode, room: &str) -> (RoomSummary, u64) {
    (node.room(room).await.summary, node.get::<NodeStatus>("/v1/node").await.log_position)
}

async fn pair() -> (TestNode, TestNode) {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_presence_and_read_marks_reach_a_channels_servers_and_change_nothing() {
    let (a, b) = pair().await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let said = a.say(&room, "alice", "Hello").await;
    converged(&[&a, &b], &room).await;
    let before = (kept(&a, &room).await, kept(&b, &room).await);
    let mut watch = Watch::of(&b, "?ephemeral=true").await;
    let mut plain = Watch::of(&b, "").await;

    let told = until_told(&a, &room, json!({"user": "alice", "typing": true}), &mut watch, "typing", json!(true)).await;
    assert_eq!((told["user"].as_str(), told["room"].as_str()), (Some("@alice:a.example.org"), Some(room.as_str())));
    assert_eq!(signal(&a, &room, json!({"user": "alice", "typing": false})).await, 204);
    watch.tells("typing", json!(false)).await;
    assert_eq!(signal(&a, &room, json!({"user": "alice", "presence": "away"})).await, 204);
    watch.tells("presence", json!("away")).await;
    assert_eq!(signal(&a, &room, json!({"user": "alice", "read": said.event})).await, 204);
    watch.tells("read", json!(said.event)).await;

    assert_eq!((kept(&a, &room).await, kept(&b, &room).await), before);
    // Who did not ask for it is told of events alone.
    a.say(&room, "alice", "the first that is kept").await;
    assert_eq!(plain.next().await.0, "change");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_private_group_typing_goes_to_its_members() {
    let (a, b) = pair().await;
    let created: RoomDetail = a.post("/v1/rooms", json!({"user": "alice", "name": "secret", "type": "p"})).await;
    let room = created.summary.id;
    let bob = format!("@bob:{}", b.id());
    let invite = json!({"user": "alice", "kind": "room.member", "member": bob, "membership": "invite"});
    let _: Value = a.post(&format!("/v1/rooms/{room}/events"), invite).await;
    eventually("the invitation comes", || async {
        let list: Value = b.get("/v1/invitations").await;
        list["invitations"].as_array().is_some_and(|list| !list.is_empty())
    })
    .await;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    let before = (kept(&a, &room).await, kept(&b, &room).await);
    let mut watch = Watch::of(&b, "?ephemeral=true").await;
    until_told(&a, &room, json!({"user": "alice", "typing": true}), &mut watch, "typing", json!(true)).await;
    assert_eq!((kept(&a, &room).await, kept(&b, &room).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn outsiders_and_floods_are_refused_and_say_what_to_do() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let path = format!("/v1/rooms/{room}/ephemeral");
    let refused = |what: Value| a.refused("POST", &path, Some(what));
    assert_eq!(refused(json!({"user": "mallory", "typing": true})).await, (403, "not_a_member".to_owned()));
    assert_eq!(refused(json!({"user": "alice"})).await, (400, "missing_field".to_owned()));
    assert_eq!(refused(json!({"user": "alice", "presence": "asleep"})).await, (400, "malformed_field".to_owned()));
    let before = kept(&a, &room).await;
    let mut cut_off = 0;
    for _ in 0..200 {
        cut_off += u32::from(signal(&a, &room, json!({"user": "alice", "typing": true})).await == 429);
    }
    assert!(cut_off > 100, "{cut_off} of 200 were refused");
    assert_eq!(kept(&a, &room).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_types_for_others_is_counted_and_shows_nothing() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let id: RoomId = room.parse().unwrap();
    let before = kept(&a, &room).await;
    let mut watch = Watch::of(&a, "?ephemeral=true").await;
    let mut attacker = Attacker::connect(&a, 66, Some(&honest())).await;
    let topic = attacker.follow(&room).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let user = UserId { origin: attacker.key.origin(), localpart: "mallory".parse().unwrap() };
    let said = Ephemeral { room: id, user, signal: Signal::Typing(true), at_ms: now, lasts_ms: 15_000 };
    let outsider = said.encode_signed(&attacker.key).unwrap();
    let foreign = Ephemeral { room: RoomId::from_hash([9; 32]), ..said.clone() }.encode_signed(&attacker.key).unwrap();
    let mut broken = Ephemeral { at_ms: now + 1, ..said }.encode_signed(&attacker.key).unwrap();
    broken.push(0);
    let garbage = vec![0xa8; 2000];
    for message in [outsider, foreign, broken, garbage] {
        attacker.swarm.behaviour_mut().gossip.publish(topic.clone(), message).unwrap();
    }
    let view = format!("/v1/peers/{}", attacker.key.origin());
    attacker
        .while_waiting(eventually("what is unsound is counted, and an outsider is only ignored", || async {
            let peer: Value = a.get(&view).await;
            peer["received"]["gossip"] == 4 && peer["received"]["gossip_refused"] == 3
        }))
        .await;
    // What alice does is the first that anybody is told.
    assert_eq!(signal(&a, &room, json!({"user": "alice", "typing": true})).await, 204);
    assert_eq!(watch.next().await.1["user"], "@alice:a.example.org");
    assert_eq!(kept(&a, &room).await, before);
}
