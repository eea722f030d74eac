//! Servers that contradict each other while they are apart hold the same room once they meet.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::event::{Content, Draft, Event, Lane, Membership, Placement, RoomType, RoomVersion, author};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{ServerKey, UserId};
use rocketmesh_protocol::room::Outline;
use rocketmesh_storage::{Batch, EventStore, MemoryDisk, Participation, StoredEvent, Verdict};
use serde_json::{Value, json};
use support::{TestNode, converged, eventually};

/// Messages that each half writes while they are apart.
const EACH: usize = 1_000;

async fn act(node: &TestNode, room: &str, event: Value) -> String {
    let posted: Value = node.post(&format!("/v1/rooms/{room}/events"), event).await;
    posted["event"].as_str().unwrap().to_owned()
}

/// Cuts or restores every connection between the two halves.
async fn cut(left: &[&TestNode], right: &[&TestNode], apart: bool) {
    for (one, others) in [(left, right), (right, left)] {
        for (node, other) in one.iter().flat_map(|node| others.iter().map(move |other| (node, other))) {
            let method = if apart { "PUT" } else { "DELETE" };
            let body = apart.then(|| json!({}));
            let (status, answer) = node.raw(method, &format!("/v1/peers/{}/ban", other.id()), body).await;
            assert!(status.is_success(), "{answer}");
        }
    }
}

/// The ids of a room's events, in room order.
async fn listed(node: &TestNode, room: &str, withheld: bool) -> Vec<String> {
    let mut ids = Vec::new();
    let mut from = String::new();
    loop {
        let page: Value = node.get(&format!("/v1/rooms/{room}/events?limit=1000&withheld={withheld}{from}")).await;
        ids.extend(page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => return ids,
        }
    }
}

async fn write_many(nodes: &[(&TestNode, &str)], room: &str) {
    let each = nodes.iter().enumerate().map(|(at, (node, user))| async move {
        for number in (at..EACH).step_by(nodes.len()) {
            node.say(room, user, &format!("{user} {number}")).await;
        }
    });
    futures::future::join_all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_halves_of_six_servers_agree_after_a_ban_that_raced_a_promotion() {
    let a = TestNode::start("a.example.org", &[]).await;
    let hub = [a.address().await];
    let mut others = Vec::new();
    for name in ["b.example.org", "c.example.org", "d.example.org", "e.example.org", "f.example.org"] {
        let node = TestNode::start(name, &hub).await;
        node.introduced(&a).await;
        others.push(node);
    }
    let [b, c, d, e, f] = &others[..] else { unreachable!() };
    let all = [&a, b, c, d, e, f];
    e.connect(d).await;
    f.connect(d).await;
    let room = a.create("alice", "general").await.summary.id;
    for (node, user) in [(b, "bob"), (c, "carol"), (d, "dave"), (e, "erin"), (f, "frank")] {
        node.join(&room, user).await;
    }
    eventually("the owner sees everybody", || async { a.room(&room).await.summary.members == 6 }).await;
    let erin = format!("@erin:{}", e.id());
    let dave = format!("@dave:{}", d.id());
    let frank = format!("@frank:{}", f.id());
    act(&a, &room, json!({"user": "alice", "kind": "room.role", "member": erin, "role": "owner"})).await;
    let before = d.say(&room, "dave", "before anything went wrong").await.event;
    converged(&all, &room).await;

    cut(&[&a, b, c], &[d, e, f], true).await;
    for node in all {
        eventually("the halves are apart", || async {
            let (_, peers) = node.raw("GET", "/v1/peers", None).await;
            let connected = peers["peers"].as_array().unwrap().iter().filter(|peer| peer["state"] == "introduced");
            connected.count() <= 2
        })
        .await;
    }
    // One half bans Dave; the other makes him a moderator, who writes, and throws Frank out.
    act(&a, &room, json!({"user": "alice", "kind": "room.member", "membership": "ban", "member": dave})).await;
    act(e, &room, json!({"user": "erin", "kind": "room.role", "member": dave, "role": "moderator"})).await;
    eventually("the promotion arrives", || async {
        let (_, members) = d.raw("GET", &format!("/v1/rooms/{room}/members"), None).await;
        members["members"].as_array().unwrap().iter().any(|it| it["user"] == dave && it["role"] == "moderator")
    })
    .await;
    let frank_says = f.say(&room, "frank", "one last thing").await.event;
    act(d, &room, json!({"user": "dave", "kind": "room.member", "membership": "kick", "member": frank})).await;
    let (left, right) = ([(&a, "alice"), (b, "bob"), (c, "carol")], [(d, "dave"), (e, "erin")]);
    tokio::join!(write_many(&left, &room), write_many(&right, &room));
    converged(&[&a, b, c], &room).await;
    converged(&[d, e, f], &room).await;
    assert!(listed(d, &room, false).await.len() > EACH, "in his half Dave is heard");

    cut(&[&a, b, c], &[d, e, f], false).await;
    a.connect(d).await;
    a.connect(e).await;
    b.connect(f).await;
    converged(&all, &room).await;
    let shown = listed(&a, &room, false).await;
    let everything = listed(&a, &room, true).await;
    let detail = a.room(&room).await;
    assert_eq!(everything.len() - shown.len(), EACH / 2 + 1, "Dave's messages and his kick are withheld");
    assert!(shown.contains(&before), "what Alice had seen when she banned him stays");
    assert!(shown.contains(&frank_says), "whom Dave threw out is still there");
    let (_, members) = a.raw("GET", &format!("/v1/rooms/{room}/members"), None).await;
    for node in &all[1..] {
        assert_eq!(node.room(&room).await.summary.state_digest, detail.summary.state_digest);
        assert_eq!(listed(node, &room, false).await, shown);
        assert_eq!(listed(node, &room, true).await, everything);
        let (_, theirs) = node.raw("GET", &format!("/v1/rooms/{room}/members"), None).await;
        let standing = |members: &Value| -> Vec<Value> {
            let members = members["members"].as_array().unwrap();
            members.iter().map(|it| json!([it["user"], it["role"], it["membership"]])).collect()
        };
        assert_eq!(standing(&theirs), standing(&members));
    }
    assert_eq!(detail.summary.members, 5, "Dave is out, Frank is in");
    assert_eq!(
        d.refused("POST", &format!("/v1/rooms/{room}/events"), Some(json!({"user": "dave", "text": "?"}))).await.0,
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_from_a_snapshot_holds_the_same_room() {
    let directory = tempfile::TempDir::new().unwrap();
    let a = TestNode::start_in(directory.path(), "a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let early = a.say(&room, "alice", "before anything").await.event;
    for number in 0..300 {
        act(&a, &room, json!({"user": "alice", "kind": "room.topic", "text": format!("topic {number}")})).await;
    }
    act(&a, &room, json!({"user": "alice", "kind": "room.read_only", "on": true})).await;
    let before = a.room(&room).await;
    let left = a.stop().await;
    {
        let store = rocketmesh_node::open_store(left.path(), 8).unwrap();
        let snapshot = store.snapshot(&room.parse().unwrap()).unwrap().expect("a snapshot was taken");
        assert!(snapshot.cut.to_string() != room, "it is not the room's beginning");
    }
    let a = TestNode::start_in(left.path(), "a.example.org", &[]).await;
    let after = a.room(&room).await;
    assert_eq!(after.summary, before.summary);
    assert_eq!((after.topic, after.settings), (before.topic, before.settings));
    // Somebody who has nothing yet brings the node back to what is older than the snapshot.
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    assert_eq!(b.room(&room).await.summary.state_digest, a.room(&room).await.summary.state_digest);
    let refused =
        b.refused("POST", &format!("/v1/rooms/{room}/events"), Some(json!({"user": "bob", "text": "?"}))).await;
    assert_eq!(refused, (403, "read_only".to_owned()));
    act(&a, &room, json!({"user": "alice", "kind": "redact", "target": early})).await;
    converged(&[&a, &b], &room).await;
}

/// A room that twelve servers have made and joined, and this one too, in a store; all of them have said something at once.
fn frayed(key: &ServerKey) -> (EventStore, RoomId) {
    let others: Vec<ServerKey> = (1..=12).map(|seed| ServerKey::from_seed(&[seed; 32])).collect();
    let draft = |content: &Content, number: u64| {
        let (kind, state_key) = content.kind_and_key();
        Draft {
            sender: Some("somebody".parse().unwrap()),
            kind: kind.to_owned(),
            state_key,
            content: content.to_map(&[3; 16]),
            body: None,
            time_ms: number,
        }
    };
    let create = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
    let create = author(&others[0], Placement::first(), draft(&create, 0)).unwrap();
    let mut outline = Outline::new(create.room(), RoomVersion::DRAFT);
    let mut events = Vec::new();
    let mut lamports = std::collections::BTreeMap::new();
    let mut take = |outline: &mut Outline, event: Event| {
        outline.add(&event, true);
        lamports.insert(event.id(), event.header().lamport);
        events.push(StoredEvent { event, verdict: Verdict::Accepted });
    };
    take(&mut outline, create);
    let write = |outline: &Outline, by: &ServerKey, content: &Content| {
        let lane = if content.kind_and_key().1.is_some() { Lane::State } else { Lane::Timeline };
        let lamport = |_: &EventId| Ok::<u64, std::convert::Infallible>(0);
        let Ok(placement) = outline.placement(by.origin(), lane, lamport);
        author(by, placement, draft(content, 1)).unwrap()
    };
    for by in others[1..].iter().chain([key]) {
        let user = UserId { origin: by.origin(), localpart: "somebody".parse().unwrap() };
        let join = Content::Member { user, change: Membership::Join, seen: Vec::new() };
        let join = write(&outline, by, &join);
        take(&mut outline, join);
    }
    let said: Vec<Event> = others.iter().map(|by| write(&outline, by, &Content::Message { thread: None })).collect();
    said.into_iter().for_each(|event| take(&mut outline, event));
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    let participation = Participation::Joined;
    store.put(&Batch { events: &events, ..Batch::of(&outline, participation) }).unwrap();
    (store, outline.room())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_many_left_frayed_is_joined_by_a_server_that_says_nothing() {
    let key = ServerKey::from_seed(&[99; 32]);
    let (store, room) = frayed(&key);
    let node = TestNode::start_with("a.example.org", &[], |builder| builder.key(key).store(store)).await;
    let room = room.to_string();
    assert_eq!(node.room(&room).await.timeline_tips.len(), 12);
    eventually("somebody joins the tips", || async { node.room(&room).await.timeline_tips.len() == 1 }).await;
    let page: Value = node.get(&format!("/v1/rooms/{room}/events?order=desc&limit=1")).await;
    assert_eq!(page["events"][0]["kind"], "room.merge");
    assert_eq!(page["events"][0]["sender"], Value::Null);
}
