//! Servers that were away, or are told nonsense, end with everything that was said, once, and with nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use rocketmesh_node::api::types::PeerView;
use rocketmesh_node::{NodeBuilder, Tuning};
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Content, Event, Lane, Placement, RoomVersion};
use rocketmesh_protocol::have::{Brief, HaveVector, LaneHave, SECTION_DIGEST_BYTES, SECTIONS, Sketch};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use rocketmesh_storage::{EventStore, MemoryDisk, Verdict};
use serde_json::{Value, json};
use support::attacker::{Answer, Attacker, honest, message_at, newcomer, next_message, own_room};
use support::{PATIENCE, TestNode, converged, converged_within, eventually};
use tempfile::TempDir;

/// Events of the gaps that are closed; the long one takes too long for every day.
const GAPS: [usize; 3] = [1, 10, 1_000];
const LONG_GAP: usize = 100_000;
/// How long the long gap may take on a slow machine.
const LONG_PATIENCE: Duration = Duration::from_secs(600);
/// Things that one user says at a time.
const AT_ONCE: usize = 64;
/// Entries of the log that are read at a time.
const PAGE: usize = 1_000;

fn id(room: &str) -> RoomId {
    room.parse().unwrap()
}

/// Compares so often that no test waits for the next time.
fn eager(builder: NodeBuilder) -> NodeBuilder {
    builder.tuning(Tuning { compare_every: Duration::from_millis(500), ..Tuning::default() })
}

/// Lets a user say many things, several at a time, and returns the events.
async fn write(node: &TestNode, room: &str, user: &str, count: usize) -> Vec<EventId> {
    let client = node.node.client();
    let say = |number: usize| {
        let client = &client;
        async move {
            let fields = Map::new().with("text", format!("{user} {number}"));
            let user = user.parse().unwrap();
            let said = client.post(id(room), user, &Content::Message { thread: None }, Some(fields)).await;
            said.unwrap().event.id()
        }
    };
    stream::iter(0..count).map(say).buffer_unordered(AT_ONCE).collect().await
}

/// The events of a room in a node's local log, where none of them may arrive twice.
fn logged_once(node: &TestNode, room: &str) -> BTreeSet<EventId> {
    let client = node.node.client();
    let mut events = BTreeSet::new();
    let mut position = 0;
    loop {
        let page = client.log_after(position, PAGE).unwrap();
        let Some(last) = page.last() else { return events };
        position = last.position;
        for entry in page.iter().filter(|entry| entry.room == id(room) && entry.kind.is_arrival()) {
            assert!(events.insert(entry.event), "{} is in the log twice", entry.event);
        }
    }
}

fn holds(node: &TestNode, event: &EventId) -> bool {
    node.node.client().event(event).unwrap().is_some()
}

/// The same event with a broken signature.
fn tampered(event: &Event) -> WireEvent {
    let mut wire = WireEvent::of(event);
    // A header block ends with the signature.
    *wire.header.last_mut().unwrap() ^= 1;
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn however_much_was_said_while_a_server_was_away_it_ends_with_each_event_once() {
    let long = std::env::var_os("ROCKETMESH_SOAK").map(|_| LONG_GAP);
    for gap in GAPS.into_iter().chain(long) {
        let a = TestNode::start("a.example.org", &[]).await;
        let b = TestNode::start("b.example.org", &[a.address().await]).await;
        b.introduced(&a).await;
        let room = a.create("alice", "general").await.summary.id;
        b.join(&room, "bob").await;
        converged(&[&a, &b], &room).await;
        a.say(&room, "alice", "Bob is still here").await;
        converged(&[&a, &b], &room).await;
        let left = b.stop().await;
        let said = write(&a, &room, "alice", gap).await;
        let b = TestNode::start_in(left.path(), "b.example.org", &[a.address().await]).await;
        converged_within(LONG_PATIENCE, &[&a, &b], &room).await;
        let logged = logged_once(&b, &room);
        assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), gap);
        assert!(said.iter().all(|event| logged.contains(event)), "{gap} events");
        assert_eq!(logged, logged_once(&a, &room), "{gap} events");
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_rules_do_not_allow_keeps_nothing_back_that_was_said_around_it() {
    let key = ServerKey::from_seed(&[41; 32]);
    let a = TestNode::start_with("a.example.org", &[], |builder| builder.key(key.clone())).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    let mut said = vec![a.say(&room, "alice", "before").await.event.parse::<EventId>().unwrap()];
    converged(&[&a, &b], &room).await;
    let left = b.stop().await;

    said.extend(write(&a, &room, "alice", 50).await);
    let outline = a.node.client().outline(&id(&room)).unwrap().unwrap();
    let refused = next_message(&key, &outline, "nobody", "I never joined");
    assert_eq!(a.node.client().ingest(id(&room), vec![WireEvent::of(&refused)]).await.unwrap(), 1);
    said.extend(write(&a, &room, "alice", 50).await);
    let next = a.node.client().event(&said[51]).unwrap().unwrap();
    assert!(next.event.header().lamport > refused.header().lamport, "what comes after it stands on it");

    let b = TestNode::start_in(left.path(), "b.example.org", &[a.address().await]).await;
    converged(&[&a, &b], &room).await;
    let logged = logged_once(&b, &room);
    assert!(said.iter().all(|event| logged.contains(event)));
    assert_eq!(logged, logged_once(&a, &room));
    for node in [&a, &b] {
        let stored = node.node.client().event(&refused.id()).unwrap().unwrap();
        assert_eq!(stored.verdict, Verdict::Rejected);
        let shown = node.node.client().shown(&id(&room)).unwrap();
        assert!(!shown.contains(&refused.id()), "it is kept, and not shown");
        assert!(said.iter().all(|event| shown.contains(event)));
        assert_eq!(node.texts(&room).await.len(), said.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_event_in_the_middle_of_an_answer_keeps_nothing_back_that_comes_around_it() {
    let node = TestNode::start("a.example.org", &[]).await;
    let mut holder = Attacker::connect(&node, 66, Some(&honest())).await;
    let (mut outline, create) = own_room(&holder.key);
    let mut events = vec![WireEvent::of(&create)];
    let forged = tampered(&next_message(&holder.key, &outline, "mallory", "forged"));
    let mut texts = Vec::new();
    for number in 0..100 {
        let text = format!("sound {number}");
        let event = next_message(&holder.key, &outline, "mallory", &text);
        outline.add(&event, true);
        events.push(WireEvent::of(&event));
        texts.push(text);
        if number == 50 {
            events.push(forged.clone());
        }
    }
    holder.always_answer(Response::Events { events, have: outline.have().clone(), more: false }.encode());
    let room = create.room().to_string();
    let joining = async {
        node.join(&room, "bob").await;
    };
    holder.while_waiting(joining).await;
    assert_eq!(node.texts(&room).await, texts);
    assert!(!holds(&node, &forged.decode().unwrap().id()));
    let seen: PeerView = node.get(&format!("/v1/peers/{}", holder.key.origin())).await;
    assert!(seen.received.events_refused >= 1, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_twice_and_in_any_order_make_the_same_room_and_are_logged_once() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    tokio::join!(write(&a, &room, "alice", 100), write(&b, &room, "bob", 100));
    for number in 0..20 {
        let topic = json!({"user": "alice", "kind": "room.topic", "text": format!("topic {number}")});
        let _: Value = a.post(&format!("/v1/rooms/{room}/events"), topic).await;
    }
    let digest = converged(&[&a, &b], &room).await;
    let everything = logged_once(&a, &room);
    let wire = |event: &EventId| WireEvent::of(&a.node.client().event(event).unwrap().unwrap().event);
    let once: Vec<WireEvent> = everything.iter().map(wire).collect();
    for seed in 0..4_u64 {
        let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
        let c = TestNode::start_with("c.example.org", &[], |builder| builder.store(store)).await;
        let client = c.node.client();
        let mut order: Vec<usize> = (0..2 * once.len()).collect();
        order.sort_by_cached_key(|at| *blake3::hash(format!("{seed} {at}").as_bytes()).as_bytes());
        let twice: Vec<WireEvent> = order.iter().map(|at| once[at % once.len()].clone()).collect();
        let mut new = 0;
        // One by one, and in parts that leave ever more to the room itself.
        for part in twice.chunks(1 + 40 * seed as usize) {
            new += client.ingest(id(&room), part.to_vec()).await.unwrap();
        }
        assert_eq!(new, once.len(), "order {seed}");
        assert_eq!(client.ingest(id(&room), once.clone()).await.unwrap(), 0, "order {seed}");
        let view = client.room(id(&room)).await.unwrap();
        assert_eq!(view.held, 0, "order {seed}");
        assert_eq!(hex::encode(view.digest), digest, "order {seed}");
        assert_eq!(logged_once(&c, &room), everything, "order {seed}");
        assert_eq!(client.shown(&id(&room)).unwrap(), a.node.client().shown(&id(&room)).unwrap(), "order {seed}");
    }
}

/// A server that is about to join a room, an honest one in it, and one in it that lies.
struct Company {
    honest: TestNode,
    joiner: TestNode,
    liar: Attacker,
    room: String,
    create: Event,
    /// How the liar joined.
    join: Event,
}

impl Company {
    async fn gather() -> Self {
        // The joiner asks in the order of ids, and has to come to the liar first.
        let origin = |seed: &u8| ServerKey::from_seed(&[*seed; 32]).origin();
        let first = (1..=40_u8).min_by_key(origin).unwrap();
        let last = (1..=40_u8).max_by_key(origin).unwrap();
        let key = ServerKey::from_seed(&[last; 32]);
        let honest_one = TestNode::start_with("a.example.org", &[], |builder| eager(builder).key(key)).await;
        let room = honest_one.create("alice", "general").await.summary.id;
        write(&honest_one, &room, "alice", 200).await;
        let client = honest_one.node.client();
        let create = client.event(&id(&room).into()).unwrap().unwrap().event;
        let join = newcomer(&ServerKey::from_seed(&[first; 32]), id(&room));
        assert_eq!(client.ingest(id(&room), vec![WireEvent::of(&join)]).await.unwrap(), 1);
        let joiner = TestNode::start_with("b.example.org", &[honest_one.address().await], eager).await;
        joiner.introduced(&honest_one).await;
        let liar = Attacker::connect_for(&joiner, first, Some(&honest()), 2 * PATIENCE).await;
        Company { honest: honest_one, joiner, liar, room, create, join }
    }

    /// The joiner joins, beside this liar, and ends with what the honest one has and with nothing that does not verify.
    async fn ends_well(self, answer: Answer, told: impl Fn() -> bool) {
        let Company { honest, joiner, mut liar, room, .. } = self;
        liar.answer = answer;
        let lies = liar.run();
        joiner.join(&room, "bob").await;
        let later = honest.say(&room, "alice", "welcome").await.event.parse::<EventId>().unwrap();
        let everything = logged_once(&honest, &room);
        assert!(everything.contains(&later));
        eventually("the joiner has everything beside the liar", || async {
            everything.iter().all(|event| holds(&joiner, event))
        })
        .await;
        eventually("the liar has told every lie", || async { told() }).await;
        drop(lies);
        converged(&[&honest, &joiner], &room).await;
        let logged = logged_once(&joiner, &room);
        assert_eq!(logged, logged_once(&honest, &room));
        for event in &logged {
            let stored = joiner.node.client().event(event).unwrap().unwrap().event;
            let opened = Event::open(stored.header_block(), stored.body_block()).unwrap();
            assert_eq!((opened.id(), opened.room()), (*event, id(&room)));
        }
        assert_eq!(joiner.texts(&room).await, honest.texts(&room).await);
    }
}

/// Leads whoever compares rooms on to ask for more, and there answers this. A sketch that hides everything leads to a pull.
fn luring(lure: Sketch, mut pulled: impl FnMut() -> Vec<u8> + Send + 'static) -> Answer {
    Box::new(move |request: &[u8]| {
        Some(match Request::decode(request) {
            Ok(Request::Compare { digests }) => {
                let places = 0..digests.len() as u64;
                Response::Compared { rooms: places.map(|place| (place, lure.clone())).collect() }.encode()
            }
            Ok(Request::Sections { .. }) => {
                Response::Sections { digests: Box::new([[7; SECTION_DIGEST_BYTES]; SECTIONS]) }.encode()
            }
            _ => pulled(),
        })
    })
}

/// A have-vector with a head that nobody has.
fn pretended(key: &ServerKey) -> HaveVector {
    let mut have = HaveVector::new();
    let heads = vec![(9_999, EventId::from_hash([9; 32]))];
    have.set_lane(key.origin(), Lane::Timeline, LaneHave { lowest: 0, heads });
    have
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_answers_garbage_keeps_nothing_from_whoever_joins_beside_an_honest_one() {
    let company = Company::gather().await;
    let room = id(&company.room);
    let (_, foreign) = own_room(&company.liar.key);
    let forged =
        |events: Vec<WireEvent>| Response::Events { events, have: pretended(&company.liar.key), more: false }.encode();
    let nothing = Response::Events { events: Vec::new(), have: HaveVector::new(), more: false };
    let answers = [
        b"garbage".to_vec(),
        Vec::new(),
        Response::Differing { rooms: vec![room] }.encode(),
        Response::Refused(Refused::UnknownRoom).encode(),
        nothing.encode(),
        forged(Vec::new()),
        forged(vec![WireEvent::of(&foreign), WireEvent { header: vec![0x93], body: None }]),
        forged(vec![tampered(&company.join), tampered(&company.create)]),
        vec![0x80; 5 << 20],
    ];
    let told = Arc::new(AtomicUsize::new(0));
    let (turn, lies) = (Arc::clone(&told), answers.len());
    let answer = luring(Sketch::Hidden, move || answers[turn.fetch_add(1, Ordering::Relaxed) % answers.len()].clone());
    company.ends_well(answer, || told.load(Ordering::Relaxed) >= 2 * lies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_shows_what_nobody_has_keeps_nothing_from_whoever_joins() {
    let company = Company::gather().await;
    // A chain of its own, and one of the honest server's that is much longer than it is.
    let mut shown = pretended(&company.liar.key);
    let heads = vec![(1 << 40, EventId::from_hash([8; 32]))];
    shown.set_lane(company.create.header().origin, Lane::Timeline, LaneHave { lowest: 0, heads });
    let lure = Sketch::Entries(Brief::of(&shown).unwrap());
    let answers = [
        Response::Brought { events: Vec::new(), more: false }.encode(),
        Response::Brought { events: Vec::new(), more: true }.encode(),
        Response::Brought { events: vec![tampered(&company.join)], more: true }.encode(),
        Response::Brought { events: vec![WireEvent::of(&company.create); 3], more: true }.encode(),
        Response::Refused(Refused::TooMany).encode(),
        Response::Refused(Refused::Other).encode(),
        b"garbage".to_vec(),
    ];
    let told = Arc::new(AtomicUsize::new(0));
    let (turn, lies) = (Arc::clone(&told), answers.len());
    let answer = luring(lure, move || answers[turn.fetch_add(1, Ordering::Relaxed) % answers.len()].clone());
    company.ends_well(answer, || told.load(Ordering::Relaxed) >= lies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_always_has_more_and_sends_nothing_keeps_nothing_from_whoever_joins() {
    let company = Company::gather().await;
    let forged = tampered(&company.join);
    let answer = Response::Events { events: vec![forged], have: pretended(&company.liar.key), more: true }.encode();
    let told = Arc::new(AtomicUsize::new(0));
    let turn = Arc::clone(&told);
    let answer = luring(Sketch::Hidden, move || {
        turn.fetch_add(1, Ordering::Relaxed);
        answer.clone()
    });
    company.ends_well(answer, || told.load(Ordering::Relaxed) >= 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_has_one_more_event_for_ever_keeps_nothing_from_whoever_joins() {
    let company = Company::gather().await;
    let (key, room) = (company.liar.key.clone(), id(&company.room));
    let (create, join) = (WireEvent::of(&company.create), WireEvent::of(&company.join));
    let frontier = company.join.id();
    let mut last: Option<Event> = None;
    let told = Arc::new(AtomicUsize::new(0));
    let turn = Arc::clone(&told);
    let answer = luring(Sketch::Hidden, move || {
        // Each one is sound: nothing but their number is wrong with them.
        let placement = Placement {
            room: Some(room),
            version: RoomVersion::DRAFT,
            self_parent: last.as_ref().map(|event| (event.id(), event.header().seq)),
            parents: Vec::new(),
            state_frontier: vec![frontier],
            lamport: last.as_ref().map_or(2, |event| event.header().lamport + 1),
        };
        let event = message_at(&key, placement, "mallory", "and another thing");
        let events = vec![create.clone(), join.clone(), WireEvent::of(&event)];
        last = Some(event);
        turn.fetch_add(1, Ordering::Relaxed);
        Response::Events { events, have: pretended(&key), more: true }.encode()
    });
    company.ends_well(answer, || told.load(Ordering::Relaxed) >= 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_never_answers_keeps_nothing_from_whoever_joins_beside_an_honest_one() {
    let asked = Arc::new(AtomicUsize::new(0));
    let turn = Arc::clone(&asked);
    let answer: Answer = Box::new(move |_: &[u8]| {
        turn.fetch_add(1, Ordering::Relaxed);
        None
    });
    Company::gather().await.ends_well(answer, || asked.load(Ordering::Relaxed) > 0).await;
}

/// Talks until it is told that this is enough, and returns how much was said: something in any case.
async fn talk(node: &TestNode, room: &str, user: &str, enough: &AtomicBool) -> usize {
    let mut said = 0;
    while said < 20 || !enough.load(Ordering::Relaxed) {
        node.say(room, user, &format!("{user} goes on, {said}")).await;
        said += 1;
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_catches_up_while_the_others_go_on_talking() {
    let directory = TempDir::new().unwrap();
    let a = TestNode::start_with("a.example.org", &[], eager).await;
    let hub = [a.address().await];
    let b = TestNode::start_in_with(directory.path(), "b.example.org", &hub, eager).await;
    let c = TestNode::start_with("c.example.org", &hub, eager).await;
    b.introduced(&a).await;
    c.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    c.join(&room, "carol").await;
    c.say(&room, "carol", "I am here").await;
    a.say(&room, "alice", "everybody is here").await;
    converged(&[&a, &b, &c], &room).await;
    b.stop().await;
    let missed = write(&a, &room, "alice", 1_000).await;

    let caught_up = AtomicBool::new(false);
    let catch_up = async {
        let b = TestNode::start_in_with(directory.path(), "b.example.org", &hub, eager).await;
        eventually("the gap is closed", || async { missed.iter().all(|event| holds(&b, event)) }).await;
        caught_up.store(true, Ordering::Relaxed);
        b
    };
    let (b, alice, carol) =
        tokio::join!(catch_up, talk(&a, &room, "alice", &caught_up), talk(&c, &room, "carol", &caught_up));
    converged(&[&a, &b, &c], &room).await;
    let texts = a.texts(&room).await;
    assert_eq!(texts.len(), 2 + 1_000 + alice + carol);
    let everything = logged_once(&a, &room);
    for node in [&b, &c] {
        assert_eq!(node.texts(&room).await, texts);
        assert_eq!(logged_once(node, &room), everything);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_servers_have_is_brought_by_all_of_them_together_and_once() {
    let a = TestNode::start("a.example.org", &[]).await;
    let others = [
        TestNode::start("b.example.org", &[a.address().await]).await,
        TestNode::start("c.example.org", &[a.address().await]).await,
    ];
    let room = a.create("alice", "general").await.summary.id;
    for (other, user) in others.iter().zip(["bob", "carol"]) {
        other.join(&room, user).await;
    }
    let directory = TempDir::new().unwrap();
    let away = TestNode::start_in(directory.path(), "d.example.org", &[a.address().await]).await;
    away.join(&room, "dave").await;
    converged(&[&a, &others[0], &others[1], &away], &room).await;
    away.stop().await;
    let missed = 3_000_u64;
    write(&a, &room, "alice", missed as usize).await;
    converged(&[&a, &others[0], &others[1]], &room).await;
    let mut addresses = vec![a.address().await];
    for other in &others {
        addresses.push(other.address().await);
    }
    let back = TestNode::start_in(directory.path(), "d.example.org", &addresses).await;
    converged(&[&a, &back], &room).await;
    let peers: rocketmesh_node::api::types::PeerList = back.get("/v1/peers").await;
    let brought: Vec<u64> = peers.peers.iter().map(|peer| peer.received.events).collect();
    assert_eq!(peers.peers.iter().filter(|peer| peer.state == "introduced").count(), 3);
    assert!(brought.iter().all(|events| *events > 0), "each brings a part: {brought:?}");
    let came: u64 = brought.iter().sum();
    assert!(came * 100 <= missed * 115, "{came} events came for {missed} that were missing: {brought:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_never_run_at_the_same_time_hear_each_other_through_a_third() {
    let b = TestNode::start("b.example.org", &[]).await;
    let hub = [b.address().await];
    let room = b.create("bob", "general").await.summary.id;
    let places = [("a.example.org", "alice"), ("c.example.org", "carol")].map(|it| (TempDir::new().unwrap(), it));
    let mut said: BTreeSet<EventId> = BTreeSet::new();
    for turn in 0..3 {
        for (directory, (name, user)) in &places {
            let node = TestNode::start_in_with(directory.path(), name, &hub, eager).await;
            node.introduced(&b).await;
            if turn == 0 {
                node.join(&room, user).await;
            }
            converged(&[&b, &node], &room).await;
            let shown: BTreeSet<EventId> = node.node.client().shown(&id(&room)).unwrap().into_iter().collect();
            assert!(said.is_subset(&shown), "{user} has heard everything that was said meanwhile");
            said.extend(write(&node, &room, user, 20).await);
            converged(&[&b, &node], &room).await;
            assert_eq!(logged_once(&node, &room), logged_once(&b, &room));
            node.stop().await;
        }
    }
    assert_eq!(said.len(), 3 * 2 * 20);
}
