//! Whoever joins writes as soon as it has the verified state graph, from whoever has it; the timeline follows, and until it is here
//! everybody is told so.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rocketmesh_node::api::types::{EventPage, HistoryView, InvitationList, Posted, RoomDetail, RoomProof};
use rocketmesh_node::config::HistoryMode;
use rocketmesh_node::{NodeBuilder, Tuning};
use rocketmesh_protocol::event::{Event, Lane, RoomVersion};
use rocketmesh_protocol::have::{HaveVector, Sections, Tag};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::limits::MAX_RECENT_EVENTS;
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::sync::Stretch;
use rocketmesh_protocol::wire::{Request, Response, WireEvent};
use serde_json::{Value, json};
use support::attacker::{Answer, Attacker, honest, joining};
use support::{PATIENCE, TestNode, converged, eventually};

fn id(room: &str) -> RoomId {
    room.parse().unwrap()
}

/// Compares so often that no test waits for the next time.
fn eager(builder: NodeBuilder) -> NodeBuilder {
    builder.tuning(Tuning { compare_every: Duration::from_millis(500), ..Tuning::default() })
}

/// Leaves older history alone until somebody asks for it.
fn by_request(builder: NodeBuilder) -> NodeBuilder {
    eager(builder).configure(|config| config.rooms.history = HistoryMode::Request)
}

async fn welcome_everybody(node: &TestNode) {
    let policy = json!({"federate": "open", "invite": "open", "direct": "open", "listed": [],
        "requests_per_minute": 0, "events_per_minute": 0});
    assert_eq!(node.raw("PUT", "/v1/policy", Some(policy)).await.0, 200);
}

/// Every event that a node has accepted in a room, causes first.
fn events_of(node: &TestNode, room: &str) -> Vec<Event> {
    let client = node.node.client();
    let log = client.log_after(0, 10_000).unwrap();
    let arrived = log.iter().filter(|entry| entry.room == id(room) && entry.kind.is_arrival());
    arrived.map(|entry| client.event(&entry.event).unwrap().unwrap().event).collect()
}

async fn page(node: &TestNode, room: &str) -> EventPage {
    node.get(&format!("/v1/rooms/{room}/events?order=desc&limit=100")).await
}

/// The texts of the messages that came ahead of a gap.
async fn ahead(node: &TestNode, room: &str) -> Vec<String> {
    let ahead = page(node, room).await.ahead;
    ahead.iter().filter_map(|event| event.body["text"].as_str().map(str::to_owned)).collect()
}

async fn whole(node: &TestNode, room: &str) {
    eventually("the gap is closed", || async { node.room(room).await.gap.is_none() }).await;
}

async fn hears(node: &TestNode, room: &str, text: &str) {
    eventually("the text arrives", || async { node.texts(room).await.contains(&text.to_owned()) }).await;
}

/// Answers with the state graph and with nothing else, ever.
fn withholding(events: &[Event]) -> Answer {
    let state = events.iter().filter(|event| event.header().lane == Lane::State).map(WireEvent::of).collect();
    let answer = Response::Events { events: state, have: HaveVector::new(), more: false }.encode();
    Box::new(move |request: &[u8]| match Request::decode(request) {
        Ok(Request::Pull { state_only: true, .. }) => Some(answer.clone()),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_writes_while_its_holder_withholds_the_timeline_and_ends_with_everything() {
    let a = TestNode::start_with("a.example.org", &[], eager).await;
    let room = a.create("alice", "general").await.summary.id;
    for number in 0..30 {
        a.say(&room, "alice", &format!("before {number}")).await;
    }
    let topic = json!({"user": "alice", "kind": "room.topic", "text": "after thirty messages"});
    let _: Value = a.post(&format!("/v1/rooms/{room}/events"), topic).await;
    let b = TestNode::start_with("b.example.org", &[], eager).await;
    let mut holder = Attacker::connect_for(&b, 66, Some(&honest()), 2 * PATIENCE).await;
    holder.answer = withholding(&events_of(&a, &room));
    let holder = holder.run();

    let joined = b.join(&room, "bob").await;
    assert_eq!(joined.gap.as_ref().map(|gap| gap.state.as_str()), Some("coming"));
    assert_eq!(joined.topic.as_deref(), Some("after thirty messages"), "the state is all here");
    let said = b.say(&room, "bob", "I am here already").await;
    let listed = page(&b, &room).await;
    assert!(listed.gap.is_some() && listed.events.iter().any(|event| event.id == said.event));
    assert_eq!(b.texts(&room).await, ["I am here already"]);
    let proof: RoomProof = b.post(&format!("/v1/rooms/{room}/verify"), json!({})).await;
    assert!(!proof.nothing_missing && proof.gap.is_some(), "{proof:?}");

    b.connect(&a).await;
    hears(&a, &room, "I am here already").await;
    hears(&b, &room, "before 29").await;
    converged(&[&a, &b], &room).await;
    whole(&b, &room).await;
    let texts = a.texts(&room).await;
    assert_eq!(texts.len(), 31);
    assert_eq!(b.texts(&room).await, texts, "both show one order");
    assert_eq!(a.room(&room).await.summary.state_digest, b.room(&room).await.summary.state_digest);
    let proof: RoomProof = b.post(&format!("/v1/rooms/{room}/verify"), json!({})).await;
    assert!(proof.gap.is_none(), "{proof:?}");
    drop(holder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_whose_creator_is_down_is_joined_through_whoever_has_it() {
    let a = TestNode::start_with("a.example.org", &[], eager).await;
    let c = TestNode::start_with("c.example.org", &[a.address().await], eager).await;
    c.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    a.say(&room, "alice", "good night").await;
    c.join(&room, "carol").await;
    converged(&[&a, &c], &room).await;
    // Whoever has a gap itself closes nobody else's.
    whole(&c, &room).await;
    a.stop().await;
    let b = TestNode::start_with("b.example.org", &[c.address().await], eager).await;
    b.introduced(&c).await;
    b.join(&room, "bob").await;
    b.say(&room, "bob", "is anybody there?").await;
    hears(&c, &room, "is anybody there?").await;
    whole(&b, &room).await;
    converged(&[&b, &c], &room).await;
    assert_eq!(b.texts(&room).await, ["good night", "is anybody there?"]);
}

/// Joins beside an honest server and one that is asked first and answers this to the pulls of the state graph and of everything.
async fn joins_beside(answer: impl FnOnce(Vec<Event>) -> Answer) {
    // Whoever joins asks in the order of ids, and has to come to the other one first.
    let origin = |seed: &u8| ServerKey::from_seed(&[*seed; 32]).origin();
    let first = (1..=40_u8).min_by_key(origin).unwrap();
    let key = ServerKey::from_seed(&[(1..=40_u8).max_by_key(origin).unwrap(); 32]);
    let a = TestNode::start_with("a.example.org", &[], |builder| eager(builder).key(key)).await;
    let room = a.create("alice", "general").await.summary.id;
    for number in 0..40 {
        a.say(&room, "alice", &format!("before {number}")).await;
    }
    for name in ["one name", "another name"] {
        let named = json!({"user": "alice", "kind": "room.name", "text": name});
        let _: Value = a.post(&format!("/v1/rooms/{room}/events"), named).await;
    }
    let b = TestNode::start_with("b.example.org", &[a.address().await], eager).await;
    b.introduced(&a).await;
    let mut other = Attacker::connect_for(&b, first, Some(&honest()), 2 * PATIENCE).await;
    other.answer = answer(events_of(&a, &room));
    let other = other.run();
    b.join(&room, "bob").await;
    b.say(&room, "bob", "made it").await;
    hears(&a, &room, "made it").await;
    converged(&[&a, &b], &room).await;
    whole(&b, &room).await;
    let texts = a.texts(&room).await;
    assert_eq!(texts.len(), 41);
    assert_eq!(b.texts(&room).await, texts);
    assert_eq!(b.room(&room).await.summary.name.as_deref(), Some("another name"));
    drop(other);
}

fn some(events: &[Event], more: bool) -> Option<Vec<u8>> {
    let events = events.iter().map(WireEvent::of).collect();
    Some(Response::Events { events, have: HaveVector::new(), more }.encode())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_vanishes_in_the_middle_of_the_state_graph_is_left_for_another() {
    joins_beside(|events| {
        let asked = AtomicUsize::new(0);
        let state: Vec<Event> = events.into_iter().filter(|event| event.header().lane == Lane::State).collect();
        Box::new(move |request: &[u8]| match Request::decode(request) {
            Ok(Request::Pull { state_only: true, .. }) if asked.fetch_add(1, Ordering::Relaxed) == 0 => {
                some(&state[..2], true)
            }
            _ => None,
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_vanishes_in_the_middle_of_the_timeline_is_left_for_another() {
    joins_beside(|events| {
        let asked = AtomicUsize::new(0);
        let (state, timeline): (Vec<Event>, Vec<Event>) =
            events.into_iter().partition(|event| event.header().lane == Lane::State);
        Box::new(move |request: &[u8]| match Request::decode(request) {
            Ok(Request::Pull { state_only: true, .. }) => some(&state, false),
            Ok(Request::Pull { .. }) if asked.fetch_add(1, Ordering::Relaxed) == 0 => some(&timeline[..10], true),
            _ => None,
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_says_that_there_is_no_timeline_and_forges_its_end_keeps_nothing_from_a_newcomer() {
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    joins_beside(move |events| {
        let state: Vec<Event> = events.iter().filter(|event| event.header().lane == Lane::State).cloned().collect();
        let mut forged: Vec<WireEvent> = events.iter().map(WireEvent::of).collect();
        for event in &mut forged {
            // A header block ends with the signature.
            *event.header.last_mut().unwrap() ^= 1;
        }
        Box::new(move |request: &[u8]| {
            counted.fetch_add(1, Ordering::Relaxed);
            match Request::decode(request) {
                Ok(Request::Pull { state_only: true, .. }) => some(&state[..state.len() - 1], false),
                Ok(Request::Recent { .. }) => {
                    let events = forged.clone();
                    Some(Response::Events { events, have: HaveVector::new(), more: false }.encode())
                }
                _ => some(&[], false),
            }
        })
    })
    .await;
    assert!(told.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_is_put_off_comes_when_it_is_asked_for_and_the_newest_messages_are_shown_ahead_of_it() {
    let a = TestNode::start_with("a.example.org", &[], eager).await;
    let room = a.create("alice", "general").await.summary.id;
    let before = MAX_RECENT_EVENTS + 50;
    for number in 0..before {
        a.say(&room, "alice", &format!("before {number}")).await;
    }
    let b = TestNode::start_with("b.example.org", &[a.address().await], by_request).await;
    b.introduced(&a).await;
    let joined = b.join(&room, "bob").await;
    let gap = joined.gap.unwrap();
    assert_eq!((gap.state.as_str(), gap.ahead as usize), ("put_off", MAX_RECENT_EVENTS));
    assert!(b.texts(&room).await.is_empty(), "what stands on what is not here is no part of the room yet");
    let shown = ahead(&b, &room).await;
    assert_eq!(shown.first(), Some(&format!("before {}", before - MAX_RECENT_EVENTS)));
    assert_eq!(shown.last(), Some(&format!("before {}", before - 1)));

    b.say(&room, "bob", "an answer").await;
    hears(&a, &room, "an answer").await;
    assert_eq!(
        a.texts(&room).await.last().map(String::as_str),
        Some("an answer"),
        "it stands behind what bob had seen"
    );
    a.say(&room, "alice", "and on it goes").await;
    eventually("what is said now is shown too", || async {
        ahead(&b, &room).await.contains(&"and on it goes".to_owned())
    })
    .await;
    assert!(b.room(&room).await.summary.events < 20, "comparing does not fetch what nobody asked for");

    let asked: HistoryView = b.post(&format!("/v1/rooms/{room}/history"), json!({})).await;
    assert!(asked.gap.is_none_or(|gap| gap.state == "coming"));
    whole(&b, &room).await;
    converged(&[&a, &b], &room).await;
    assert!(ahead(&b, &room).await.is_empty());
    assert_eq!(b.texts(&room).await, a.texts(&room).await);
    assert_eq!(a.texts(&room).await.len(), before + 2);
    let again: HistoryView = b.post(&format!("/v1/rooms/{room}/history"), json!({})).await;
    assert!(again.gap.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_timeline_has_a_gap_says_that_there_is_more_than_it_has() {
    let a = TestNode::start_with("a.example.org", &[], eager).await;
    let room = a.create("alice", "general").await.summary.id;
    for number in 0..3 {
        a.say(&room, "alice", &format!("before {number}")).await;
    }
    let b = TestNode::start_with("b.example.org", &[a.address().await], by_request).await;
    b.introduced(&a).await;
    b.join(&room, "bob").await;
    assert!(b.room(&room).await.gap.is_some());
    for (node, has_gap) in [(&a, false), (&b, true)] {
        let mut asking = Attacker::connect(node, 66, Some(&honest())).await;
        asking.answer = Box::new(|_: &[u8]| None);
        for state_only in [false, true] {
            let (sections, have) = (Sections::ALL, HaveVector::new());
            let pull = Request::Pull { room: id(&room), sections, state_only, have };
            match asking.ask(pull.encode()).await {
                Some(Response::Events { more, .. }) => assert_eq!(more, has_gap && !state_only),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_read_from_the_join_on_keeps_what_was_said_before_from_servers_that_come_later() {
    for (history, reads) in [("join", false), ("start", true)] {
        let a = TestNode::start_with("a.example.org", &[], eager).await;
        welcome_everybody(&a).await;
        let b = TestNode::start_with("b.example.org", &[a.address().await], eager).await;
        welcome_everybody(&b).await;
        a.introduced(&b).await;
        let request = json!({"user": "alice", "name": "secret", "type": "p", "history": history});
        let room = a.post::<RoomDetail>("/v1/rooms", request).await.summary.id;
        a.say(&room, "alice", "before bob").await;
        let whom = format!("@bob:{}", b.id());
        let invite = json!({"user": "alice", "kind": "room.member", "member": whom, "membership": "invite"});
        let _: Posted = a.post(&format!("/v1/rooms/{room}/events"), invite).await;
        eventually("the invitation comes", || async {
            let list: InvitationList = b.get("/v1/invitations").await;
            list.invitations.iter().any(|invitation| invitation.room == room)
        })
        .await;
        b.join(&room, "bob").await;
        eventually("alice knows that bob is in", || async { a.room(&room).await.summary.members == 2 }).await;
        a.say(&room, "alice", "with bob").await;
        let shown = || async {
            let page: EventPage = b.get(&format!("/v1/rooms/{room}/events?limit=100")).await;
            let messages = page.events.into_iter().filter(|event| event.kind == "message");
            messages.map(|event| event.body["text"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        eventually("what is said now arrives", || async { shown().await.contains(&Some("with bob".to_owned())) }).await;
        converged(&[&a, &b], &room).await;
        // Missing bodies are asked for in each comparison: one more of them changes nothing.
        let _: RoomProof = b.post(&format!("/v1/rooms/{room}/verify"), json!({})).await;
        let expected = [reads.then(|| "before bob".to_owned()), Some("with bob".to_owned())];
        assert_eq!(shown().await, expected, "{history}");
    }
    let a = TestNode::start("a.example.org", &[]).await;
    let channel = json!({"user": "alice", "name": "open", "type": "c", "history": "join"});
    assert_eq!(a.refused("POST", "/v1/rooms", Some(channel)).await.1, "malformed_history");
}

#[tokio::test(flavor = "multi_thread")]
async fn stretches_of_a_room_that_is_read_from_the_join_on_come_without_what_was_said_before() {
    let a = TestNode::start_with("a.example.org", &[], eager).await;
    let request = json!({"user": "alice", "name": "secret", "type": "p", "history": "join"});
    let room = a.post::<RoomDetail>("/v1/rooms", request).await.summary.id;
    a.say(&room, "alice", "before mallory").await;
    let mut mallory = Attacker::connect(&a, 66, Some(&honest())).await;
    mallory.answer = Box::new(|_: &[u8]| None);
    let whom = format!("@mallory:{}", mallory.key.origin());
    let invite = json!({"user": "alice", "kind": "room.member", "member": whom, "membership": "invite"});
    let _: Posted = a.post(&format!("/v1/rooms/{room}/events"), invite).await;
    let events = events_of(&a, &room);
    let mut outline = Outline::new(id(&room), RoomVersion::DRAFT);
    events.iter().for_each(|event| outline.add(event, true));
    // Asked of what is no tip, and therefore older than one.
    let lamport = |_: &EventId| Ok::<u64, std::convert::Infallible>(0);
    let Ok(placement) = outline.placement(mallory.key.origin(), Lane::State, lamport);
    let join = WireEvent::of(&joining(&mallory.key, placement));
    mallory.ask(Request::Tell { room: id(&room), events: vec![join] }.encode()).await;
    mallory.while_waiting(eventually("mallory is in", || async { a.room(&room).await.summary.members == 2 })).await;
    a.say(&room, "alice", "with mallory").await;
    let origin = Tag::of(events[0].header().origin.as_bytes());
    let stretch = Stretch { origin, lane: Lane::Timeline, from: 0, to: 10 };
    let tag = Tag::of(id(&room).hash());
    // However often it names a stretch, it gets it once.
    let bring = Request::Bring { room: tag, stretches: vec![stretch; 3], offers: false };
    let events = match mallory.ask(bring.encode()).await {
        Some(Response::Brought { events, more: false }) => events,
        other => panic!("{other:?}"),
    };
    let bodies: Vec<bool> = events.iter().map(|event| event.body.is_some()).collect();
    assert_eq!(bodies, [false, true]);
}
