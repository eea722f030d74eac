//! A join goes on with the next server where one stalls, lies, shows nothing or vanishes, and keeps nothing of what did not verify;
//! where nobody brings the room it says what each did.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rocketmesh_node::api::types::{NodeStatus, RoomDetail, RoomList};
use rocketmesh_node::{NodeBuilder, Tuning};
use rocketmesh_protocol::event::{Event, Lane};
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::{Hello, Request, Response, WireEvent};
use serde_json::{Value, json};
use support::attacker::{Answer, Attacker, Running, honest, own_room};
use support::{PATIENCE, TestNode, converged, eventually};

/// How long a join may take here, in seconds. A server that brings nothing has a third of it.
const WAIT_S: u64 = 15;

/// Compares so often that no test waits for the next time.
fn eager(builder: NodeBuilder) -> NodeBuilder {
    builder.tuning(Tuning { compare_every: Duration::from_millis(500), ..Tuning::default() })
}

/// Every state event that a node has accepted in a room, causes first.
fn state_of(node: &TestNode, room: &str) -> Vec<Event> {
    let client = node.node.client();
    let room: RoomId = room.parse().unwrap();
    let log = client.log_after(0, 10_000).unwrap();
    let arrived = log.iter().filter(|entry| entry.room == room && entry.kind.is_arrival());
    let events = arrived.map(|entry| client.event(&entry.event).unwrap().unwrap().event);
    events.filter(|event| event.header().lane == Lane::State).collect()
}

fn answer(events: Vec<WireEvent>, more: bool) -> Option<Vec<u8>> {
    Some(Response::Events { events, have: HaveVector::new(), more }.encode())
}

fn wire(events: &[Event]) -> Vec<WireEvent> {
    events.iter().map(WireEvent::of).collect()
}

/// The event with another signature than its server's.
fn forged(event: &Event) -> WireEvent {
    let mut forged = WireEvent::of(event);
    // A header block ends with the signature.
    *forged.header.last_mut().unwrap() ^= 1;
    forged
}

/// Answers questions for the state graph, each by its number, and nothing else, ever. Counts them.
fn counting(asked: &Arc<AtomicUsize>, mut answer: impl FnMut(usize) -> Option<Vec<u8>> + Send + 'static) -> Answer {
    let asked = Arc::clone(asked);
    Box::new(move |request: &[u8]| match Request::decode(request) {
        Ok(Request::Pull { state_only: true, .. }) => answer(asked.fetch_add(1, Ordering::Relaxed)),
        _ => None,
    })
}

/// A newcomer beside an honest holder of a room and another server that is asked first.
struct Beside {
    honest: TestNode,
    newcomer: TestNode,
    room: String,
    /// The other server, while it runs.
    other: Option<Running>,
    /// The room's state graph before the join.
    state: Vec<Event>,
}

/// Whoever joins asks those of whom it knows nothing in the order of ids. Returns who is asked first and who last.
fn first_and_last() -> (u8, u8) {
    let origin = |seed: &u8| ServerKey::from_seed(&[*seed; 32]).origin();
    ((1..=40_u8).min_by_key(origin).unwrap(), (1..=40_u8).max_by_key(origin).unwrap())
}

impl Beside {
    /// The other server answers by what this makes of the room's state graph.
    async fn start(answer: impl FnOnce(&[Event]) -> Answer) -> Self {
        let (first, last) = first_and_last();
        let key = ServerKey::from_seed(&[last; 32]);
        let honest_node = TestNode::start_with("a.example.org", &[], |builder| eager(builder).key(key)).await;
        let room = honest_node.create("alice", "general").await.summary.id;
        honest_node.say(&room, "alice", "before bob").await;
        for rule in ["invite", "open"] {
            let ruled = json!({"user": "alice", "kind": "room.join_rule", "rule": rule});
            let _: Value = honest_node.post(&format!("/v1/rooms/{room}/events"), ruled).await;
        }
        let state = state_of(&honest_node, &room);
        assert_eq!(state.len(), 3, "the room, and its two rules");
        let newcomer = TestNode::start_with("b.example.org", &[honest_node.address().await], eager).await;
        newcomer.introduced(&honest_node).await;
        let mut other = Attacker::connect_for(&newcomer, first, Some(&honest()), 2 * PATIENCE).await;
        other.answer = answer(&state);
        Beside { honest: honest_node, newcomer, room, other: Some(other.run()), state }
    }

    async fn join(&self) -> RoomDetail {
        self.newcomer.post("/v1/rooms/join", json!({"room": self.room, "user": "bob", "wait_s": WAIT_S})).await
    }

    /// The newcomer is in, can write, and has in the end what the honest server has, and nothing beside it.
    async fn is_in(&self) {
        self.newcomer.say(&self.room, "bob", "made it").await;
        eventually("the honest server hears it", || async {
            self.honest.texts(&self.room).await.contains(&"made it".to_owned())
        })
        .await;
        converged(&[&self.honest, &self.newcomer], &self.room).await;
        eventually("the gap is closed", || async { self.newcomer.room(&self.room).await.gap.is_none() }).await;
        assert_eq!(self.newcomer.texts(&self.room).await, ["before bob", "made it"]);
        let state_digest = |room: RoomDetail| room.summary.state_digest;
        assert_eq!(
            state_digest(self.newcomer.room(&self.room).await),
            state_digest(self.honest.room(&self.room).await)
        );
    }

    fn keeps(&self, id: &EventId) -> bool {
        self.newcomer.node.client().event(id).unwrap().is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_holder_that_never_answers_is_passed_over() {
    let asked = Arc::new(AtomicUsize::new(0));
    let beside = Beside::start(|_| counting(&asked, |_| None)).await;
    beside.join().await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it was asked first, and not again beside somebody who answers");
    beside.is_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_holder_that_forges_is_left_at_once_for_good_and_nothing_forged_is_kept() {
    let asked = Arc::new(AtomicUsize::new(0));
    let beside = Beside::start(|state| {
        let mut events = wire(&state[..2]);
        events.push(forged(&state[2]));
        counting(&asked, move |_| answer(events.clone(), true))
    })
    .await;
    beside.join().await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it is not asked again");
    beside.is_in().await;
    assert!(!beside.keeps(&EventId::of_block(&forged(&beside.state[2]).header)));
    assert!(beside.keeps(&beside.state[2].id()), "the event itself came from the other one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_holder_that_sends_events_of_another_room_is_left_at_once_and_they_are_not_kept() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (_, foreign) = own_room(&ServerKey::from_seed(&[66; 32]));
    let beside = Beside::start(|state| {
        let mut events = wire(state);
        events.push(WireEvent::of(&foreign));
        counting(&asked, move |_| answer(events.clone(), false))
    })
    .await;
    beside.join().await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it is not asked again");
    beside.is_in().await;
    assert!(!beside.keeps(&foreign.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_holder_that_shows_an_empty_room_is_left_at_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let beside = Beside::start(|_| counting(&asked, |_| answer(Vec::new(), false))).await;
    beside.join().await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it is not asked again");
    beside.is_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_holder_that_says_for_ever_that_there_is_more_is_left_for_another() {
    let asked = Arc::new(AtomicUsize::new(0));
    let beside = Beside::start(|state| {
        let events = wire(&state[..2]);
        counting(&asked, move |_| answer(events.clone(), true))
    })
    .await;
    beside.join().await;
    assert_eq!(asked.load(Ordering::Relaxed), 3, "twice nothing new is enough");
    beside.is_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_holder_that_vanishes_in_the_middle_is_left_at_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut beside = Beside::start(|state| {
        let events = wire(&state[..2]);
        counting(&asked, move |number| if number == 0 { answer(events.clone(), true) } else { None })
    })
    .await;
    let other = beside.other.take();
    let vanishing = async {
        eventually("it is asked to go on", || async { asked.load(Ordering::Relaxed) == 2 }).await;
        drop(other);
    };
    tokio::join!(beside.join(), vanishing);
    beside.is_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_holder_that_leaves_out_what_allows_the_join_does_not_keep_a_newcomer_out() {
    let asked = Arc::new(AtomicUsize::new(0));
    let beside = Beside::start(|state| {
        // By this the room is entered by invitation only.
        let events = wire(&state[..2]);
        counting(&asked, move |_| answer(events.clone(), false))
    })
    .await;
    beside.join().await;
    assert!(asked.load(Ordering::Relaxed) > 0, "it was asked first");
    beside.is_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_everybody_lets_down_says_what_each_did_and_keeps_nothing() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let forged: Vec<WireEvent> = state_of(&a, &room).iter().map(forged).collect();
    let b = TestNode::start("b.example.org", &[]).await;
    let [stalled, forging, empty] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let answers = [
        ("stalls.example", counting(&stalled, |_| None)),
        ("forges.example", counting(&forging, move |_| answer(forged.clone(), false))),
        ("empty.example", counting(&empty, |_| answer(Vec::new(), false))),
    ];
    let mut running = Vec::new();
    for (seed, (name, answer)) in (61..).zip(answers) {
        let hello = Hello { name: Some(name.parse().unwrap()), ..honest() };
        let mut other = Attacker::connect_for(&b, seed, Some(&hello), 2 * PATIENCE).await;
        other.answer = answer;
        running.push(other.run());
    }
    // Long enough for whoever is asked again to be.
    let join = json!({"room": room, "user": "bob", "wait_s": 6});
    let (status, body) = b.raw("POST", "/v1/rooms/join", Some(join)).await;
    assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (404, Some("unknown_room")), "{body}");
    let message = body["error"]["message"].as_str().unwrap();
    for told in [
        "stalls.example did not answer within",
        "forges.example sent events that are not signed by whom they name",
        "empty.example says that it has the room and shows nothing of it",
    ] {
        assert!(message.contains(told), "{told} is not in: {message}");
    }
    assert!(message.len() < 1_000, "{message}");
    assert!(stalled.load(Ordering::Relaxed) >= 1);
    for liar in [forging, empty] {
        assert_eq!(liar.load(Ordering::Relaxed), 1, "who lied is not asked again");
    }
    let status: NodeStatus = b.get("/v1/node").await;
    assert_eq!(status.log_position, 0, "nothing was taken in");
    let rooms: RoomList = b.get("/v1/rooms").await;
    assert!(rooms.rooms.is_empty());
}
