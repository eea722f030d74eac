//! Private groups and direct rooms: whoever is meant has everything in the end, and nobody else learns that there is anything.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libp2p::gossipsub;
use libp2p::swarm::SwarmEvent;
use rocketmesh_node::api::types::{InvitationList, InvitationView, Posted, RoomDetail};
use rocketmesh_protocol::event::{Content, Draft, Event, Lane, Placement, RoomType, author};
use rocketmesh_protocol::have::{HaveVector, SHORT_DIGEST_BYTES, Sections, Tag};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::{ServerKey, UserId};
use rocketmesh_protocol::sync::Stretch;
use rocketmesh_protocol::wire::{GossipFrame, Refused, Request, Response, WireEvent};
use serde_json::json;
use support::attacker::{Answer, Attacker, BehaviourEvent, honest, own_room};
use support::{TestNode, converged, eventually};

async fn open(name: &str, bootstrap: &[String]) -> TestNode {
    let node = TestNode::start(name, bootstrap).await;
    welcome_everybody(&node).await;
    node
}

async fn welcome_everybody(node: &TestNode) {
    let policy = json!({"federate": "open", "invite": "open", "direct": "open", "listed": [],
        "requests_per_minute": 0, "events_per_minute": 0});
    assert_eq!(node.raw("PUT", "/v1/policy", Some(policy)).await.0, 200);
}

async fn group(node: &TestNode, user: &str, name: &str) -> String {
    let room: RoomDetail = node.post("/v1/rooms", json!({"user": user, "name": name, "type": "p"})).await;
    room.summary.id
}

async fn member(node: &TestNode, room: &str, by: &str, whom: &str, change: &str) -> Posted {
    let event = json!({"user": by, "kind": "room.member", "member": whom, "membership": change});
    node.post(&format!("/v1/rooms/{room}/events"), event).await
}

async fn invitation(node: &TestNode, room: &str) -> Option<InvitationView> {
    let list: InvitationList = node.get("/v1/invitations").await;
    list.invitations.into_iter().find(|invitation| invitation.room == room)
}

async fn invited(node: &TestNode, room: &str) -> InvitationView {
    eventually("the invitation comes", || async { invitation(node, room).await.is_some() }).await;
    invitation(node, room).await.unwrap()
}

async fn hears(node: &TestNode, room: &str, text: &str) {
    eventually("the text arrives", || async { node.texts(room).await.contains(&text.to_owned()) }).await;
}

fn at(user: &str, node: &TestNode) -> String {
    format!("@{user}:{}", node.id())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_user_is_asked_comes_in_and_has_everything_and_nobody_else_learns_of_the_room() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    let c = open("c.example.org", &[a.address().await]).await;
    for other in [&b, &c] {
        a.introduced(other).await;
    }
    let room = group(&a, "alice", "secret").await;
    a.say(&room, "alice", "to myself").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    let shown = invited(&b, &room).await;
    assert_eq!((shown.name.as_deref(), shown.room_type.as_str(), shown.members), (Some("secret"), "p", 1));
    let user = &shown.users[0];
    assert_eq!((user.user.as_str(), user.by.as_deref()), ("bob", Some("@alice:a.example.org")));
    let before = b.refused("GET", &format!("/v1/rooms/{room}"), None).await;
    assert_eq!(before.1, "unknown_room", "an invitation is no room yet");

    let joined = b.join(&room, "bob").await;
    assert_eq!((joined.summary.members, joined.summary.joined), (2, true));
    assert_eq!(b.texts(&room).await, ["to myself"]);
    assert!(invitation(&b, &room).await.is_none());
    b.say(&room, "bob", "hello alice").await;
    hears(&a, &room, "hello alice").await;
    a.say(&room, "alice", "hello bob").await;
    hears(&b, &room, "hello bob").await;
    converged(&[&a, &b], &room).await;

    let id: RoomId = room.parse().unwrap();
    let mut spy = Attacker::connect(&a, 61, Some(&honest())).await;
    let pull = |state_only| Request::Pull { room: id, sections: Sections::ALL, state_only, have: HaveVector::new() };
    let unknown = Some(Response::Refused(Refused::UnknownRoom));
    for request in [pull(false), pull(true), Request::Sections { room: id }] {
        assert_eq!(spy.ask(request.encode()).await, unknown);
    }
    let fetch = Request::Fetch { room: id, ids: vec![id.into()], have: HaveVector::new() };
    assert_eq!(spy.ask(fetch.encode()).await, unknown);
    // Nor does it find out by telling: the answer is that of a server which has never heard of the room.
    let c_spy = &mut Attacker::connect(&c, 61, Some(&honest())).await;
    for events in [Vec::new(), vec![WireEvent::of(&own_room(&spy.key).1)]] {
        let tell = Request::Tell { room: id, events }.encode();
        assert_eq!(spy.ask(tell.clone()).await, c_spy.ask(tell).await);
    }
    let tag = Tag::of(id.hash());
    let compare = Request::Compare { digests: BTreeMap::from([(tag, [0; SHORT_DIGEST_BYTES])]) };
    assert_eq!(spy.ask(compare.encode()).await, Some(Response::Compared { rooms: BTreeMap::new() }));
    let entries = Request::Entries { room: tag, sections: Sections::ALL };
    assert_eq!(spy.ask(entries.encode()).await, unknown);
    let stretch = Stretch { origin: Tag::of(a.node.origin().as_bytes()), lane: Lane::State, from: 0, to: 9 };
    let bring = Request::Bring { room: tag, stretches: vec![stretch], offers: true };
    assert_eq!(spy.ask(bring.encode()).await, unknown);
    let of_c = c.refused("POST", "/v1/rooms/join", Some(json!({"room": room, "user": "carol", "wait_s": 1}))).await;
    assert_eq!(of_c, (404, "unknown_room".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_private_room_are_not_gossiped() {
    let a = open("a.example.org", &[]).await;
    let room = group(&a, "alice", "secret").await;
    let channel = a.create("alice", "open").await.summary.id;
    let mut spy = Attacker::connect(&a, 62, Some(&honest())).await;
    // Once it is known that the node follows the channel, it would be known that it follows the other one too.
    spy.follow(&channel).await;
    let topic = gossipsub::IdentTopic::new(rocketmesh_protocol::wire::topic(&room.parse().unwrap()));
    let followed = |spy: &Attacker| {
        let gossip = &spy.swarm.behaviour().gossip;
        gossip.all_peers().any(|(_, topics)| topics.contains(&&topic.hash()))
    };
    assert!(!followed(&spy));
    // Whoever listens where the room's gossip would be hears nothing, while the channel's is heard.
    spy.swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
    spy.ask(Request::Compare { digests: BTreeMap::new() }.encode()).await.unwrap();
    a.say(&room, "alice", "psst").await;
    let aloud = a.say(&channel, "alice", "aloud").await;
    let mut heard = Vec::new();
    spy.until(|event| {
        let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. })) = event else {
            return false;
        };
        heard.push((message.topic.clone(), GossipFrame::decode(&message.data).unwrap().id().to_string()));
        heard.iter().any(|(_, event)| *event == aloud.event)
    })
    .await;
    assert!(heard.iter().all(|(heard, _)| *heard != topic.hash()), "{heard:?}");
    assert!(!followed(&spy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_room_opens_by_invitation_and_whoever_left_it_may_come_back() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    let request = json!({"user": "alice", "type": "d", "with": [at("bob", &b)]});
    let room = a.post::<RoomDetail>("/v1/rooms", request).await.summary.id;
    a.say(&room, "alice", "are you there?").await;
    assert_eq!(invited(&b, &room).await.room_type, "d");
    b.join(&room, "bob").await;
    assert_eq!(b.texts(&room).await, ["are you there?"]);
    b.say(&room, "bob", "yes").await;
    hears(&a, &room, "yes").await;
    let _: Posted = b.post(&format!("/v1/rooms/{room}/leave"), json!({"user": "bob"})).await;
    eventually("bob has left on both sides", || async {
        let (here, there) = (a.room(&room).await.summary, b.room(&room).await.summary);
        here.members == 1 && !there.joined
    })
    .await;
    a.say(&room, "alice", "come back").await;
    b.join(&room, "bob").await;
    assert_eq!(b.texts(&room).await, ["are you there?", "yes", "come back"]);
    converged(&[&a, &b], &room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_and_what_was_said_reach_a_server_that_never_meets_their_author() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    let c = open("c.example.org", &[]).await;
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    b.join(&room, "bob").await;
    member(&a, &room, "alice", &at("carol", &c), "invite").await;
    a.say(&room, "alice", "carol is to read this").await;
    hears(&b, &room, "carol is to read this").await;
    a.stop().await;
    b.connect(&c).await;
    let shown = invited(&c, &room).await;
    assert_eq!(shown.users[0].user, "carol");
    c.join(&room, "carol").await;
    hears(&c, &room, "carol is to read this").await;
    c.say(&room, "carol", "I do").await;
    hears(&b, &room, "I do").await;
    converged(&[&b, &c], &room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_says_reaches_those_that_it_is_not_connected_to() {
    let b = open("b.example.org", &[]).await;
    let a = open("a.example.org", &[b.address().await]).await;
    let c = open("c.example.org", &[b.address().await]).await;
    for other in [&a, &c] {
        b.introduced(other).await;
    }
    let room = group(&b, "bob", "three").await;
    for (user, node) in [("alice", &a), ("carol", &c)] {
        member(&b, &room, "bob", &at(user, node), "invite").await;
        invited(node, &room).await;
        node.join(&room, user).await;
    }
    a.say(&room, "alice", "from one end").await;
    c.say(&room, "carol", "from the other").await;
    hears(&c, &room, "from one end").await;
    hears(&a, &room, "from the other").await;
    converged(&[&a, &b, &c], &room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_hears_of_it_keeps_what_it_had_and_gets_nothing_more() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    b.join(&room, "bob").await;
    a.say(&room, "alice", "for both").await;
    hears(&b, &room, "for both").await;
    member(&a, &room, "alice", &at("bob", &b), "kick").await;
    eventually("the server knows that it is out", || async {
        let there = b.room(&room).await.summary;
        !there.joined && there.members == 1
    })
    .await;
    a.say(&room, "alice", "without bob").await;
    let again = json!({"room": room, "user": "bob", "wait_s": 1});
    assert_eq!(b.refused("POST", "/v1/rooms/join", Some(again)).await.1, "not_invited");
    assert_eq!(b.texts(&room).await, ["for both"]);
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    b.join(&room, "bob").await;
    assert_eq!(b.texts(&room).await, ["for both", "without bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_when_it_was_removed_hears_of_it_when_it_is_back() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    b.join(&room, "bob").await;
    let bob = at("bob", &b);
    let kept = b.stop().await;
    a.say(&room, "alice", "while bob is away").await;
    member(&a, &room, "alice", &bob, "kick").await;
    a.say(&room, "alice", "without bob").await;
    let b = TestNode::start_in(kept.path(), "b.example.org", &[a.address().await]).await;
    eventually("the server knows that it is out", || async { !b.room(&room).await.summary.joined }).await;
    assert_eq!(b.texts(&room).await, ["while bob is away"], "up to its removal, and no further");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_outlives_a_time_in_which_nobody_has_the_room() {
    let directory = tempfile::TempDir::new().unwrap();
    let a = TestNode::start_in(directory.path(), "a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    a.stop().await;
    let request = json!({"room": room, "user": "bob", "wait_s": 1});
    assert_eq!(b.refused("POST", "/v1/rooms/join", Some(request)).await.0, 404);
    assert!(invitation(&b, &room).await.is_some());
    let a = TestNode::start_in(directory.path(), "a.example.org", &[]).await;
    b.connect(&a).await;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
}

/// Answers as a server does that has a room of which there is only this event. While it is closed it takes no join.
fn holder(create: &Event, open: bool) -> Answer {
    let mut room = vec![WireEvent::of(create)];
    Box::new(move |request| {
        let events =
            |room: &[WireEvent]| Response::Events { events: room.to_vec(), have: HaveVector::new(), more: false };
        let response = match Request::decode(request).unwrap() {
            Request::Pull { state_only: true, .. } => events(&room),
            Request::Pull { .. } if room.len() > 1 => events(&room),
            Request::Pull { .. } => Response::Refused(Refused::Invited),
            Request::Tell { events, .. } if open => {
                room.extend(events);
                Response::Differing { rooms: Vec::new() }
            }
            Request::Compare { .. } => Response::Compared { rooms: BTreeMap::new() },
            _ => Response::Refused(Refused::Other),
        };
        Some(response.encode())
    })
}

fn direct_room(key: &ServerKey, with: UserId) -> Event {
    let content = Content::Create { room_type: RoomType::Direct, with: vec![with] };
    let (kind, state_key) = content.kind_and_key();
    let draft = Draft {
        sender: Some("mallory".parse().unwrap()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&[1; 16]),
        body: None,
        time_ms: 0,
    };
    author(key, Placement::first(), draft).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_no_server_took_waits_on_disk_and_goes_on_by_itself_after_a_restart() {
    let b = open("b.example.org", &[]).await;
    let mut other = Attacker::connect(&b, 63, Some(&honest())).await;
    let create = direct_room(&other.key, UserId { origin: b.node.origin(), localpart: "bob".parse().unwrap() });
    let room = create.room().to_string();
    other.answer = holder(&create, false);
    let told = other.ask(Request::Tell { room: create.room(), events: Vec::new() }.encode()).await;
    assert_eq!(told, Some(Response::Differing { rooms: vec![create.room()] }), "it looks before it says that it knows");
    other
        .while_waiting(async {
            assert_eq!(invited(&b, &room).await.users[0].user, "bob");
        })
        .await;
    let told = other.ask(Request::Tell { room: create.room(), events: Vec::new() }.encode()).await;
    assert_eq!(told, Some(Response::Differing { rooms: Vec::new() }));
    let request = json!({"room": room, "user": "bob", "wait_s": 1});
    other
        .while_waiting(async {
            let refused = b.refused("POST", "/v1/rooms/join", Some(request)).await;
            assert_eq!(refused, (503, "join_waiting".to_owned()));
        })
        .await;
    assert!(invitation(&b, &room).await.unwrap().joining);
    drop(other);
    let kept = b.stop().await;
    let b = TestNode::start_in(kept.path(), "b.example.org", &[]).await;
    assert!(invitation(&b, &room).await.unwrap().joining);
    let mut other = Attacker::connect(&b, 63, Some(&honest())).await;
    other.answer = holder(&create, true);
    let _other = other.run();
    eventually("bob is in", || async { invitation(&b, &room).await.is_none() }).await;
    let room = b.room(&room).await;
    assert_eq!((room.summary.members, room.held), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_can_be_declined_and_the_room_hears_of_it() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    let rest: InvitationList = b.post(&format!("/v1/invitations/{room}/decline"), json!({"user": "bob"})).await;
    assert!(rest.invitations.is_empty());
    eventually("alice's server knows", || async {
        let members: serde_json::Value = a.get(&format!("/v1/rooms/{room}/members")).await;
        members["members"].as_array().unwrap().iter().any(|member| member["membership"] == "leave")
    })
    .await;
    let unknown = b.refused("POST", &format!("/v1/invitations/{room}/decline"), Some(json!({"user": "bob"}))).await;
    assert_eq!(unknown, (404, "unknown_invitation".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_is_withdrawn_is_not_listed_any_longer() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    member(&a, &room, "alice", &at("bob", &b), "kick").await;
    eventually("it is gone", || async { invitation(&b, &room).await.is_none() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_left_comes_back_by_a_new_invitation_also_when_the_others_went_on_talking() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    a.introduced(&b).await;
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    b.join(&room, "bob").await;
    let _: Posted = b.post(&format!("/v1/rooms/{room}/leave"), json!({"user": "bob"})).await;
    for text in ["one", "two", "three"] {
        a.say(&room, "alice", text).await;
    }
    eventually("the room is let go", || async { !b.room(&room).await.summary.joined }).await;
    eventually("alice is alone", || async { a.room(&room).await.summary.members == 1 }).await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    b.join(&room, "bob").await;
    assert_eq!(b.texts(&room).await, ["one", "two", "three"]);
    converged(&[&a, &b], &room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_takes_its_removal_in_although_it_stands_on_what_it_may_not_read() {
    let a = open("a.example.org", &[]).await;
    let b = open("b.example.org", &[a.address().await]).await;
    let c = open("c.example.org", &[a.address().await]).await;
    for other in [&b, &c] {
        a.introduced(other).await;
    }
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("carol", &c), "invite").await;
    invited(&c, &room).await;
    c.join(&room, "carol").await;
    converged(&[&a, &c], &room).await;
    // Carol's server does not know of bob: what she says now names no state with him in it.
    let kept = c.stop().await;
    let c = TestNode::start_in(kept.path(), "c.example.org", &[]).await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    invited(&b, &room).await;
    b.join(&room, "bob").await;
    let bob = at("bob", &b);
    let away = b.stop().await;
    c.say(&room, "carol", "who is bob?").await;
    a.connect(&c).await;
    converged(&[&a, &c], &room).await;
    member(&a, &room, "alice", &bob, "kick").await;
    let b = TestNode::start_in(away.path(), "b.example.org", &[a.address().await]).await;
    eventually("the server knows that it is out", || async { !b.room(&room).await.summary.joined }).await;
    let shown = b.raw("GET", &format!("/v1/rooms/{room}/events"), None).await.1.to_string();
    assert!(shown.contains("\"kick\"") && !shown.contains("who is bob?"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_invitations_the_policy_refuses_are_not_listed() {
    // Direct rooms only from servers that it was told to connect to, as by default.
    let b = TestNode::start("b.example.org", &[]).await;
    let a = open("a.example.org", &[b.address().await]).await;
    a.introduced(&b).await;
    let request = json!({"user": "alice", "type": "d", "with": [at("bob", &b)]});
    let direct = a.post::<RoomDetail>("/v1/rooms", request).await.summary.id;
    let room = group(&a, "alice", "secret").await;
    member(&a, &room, "alice", &at("bob", &b), "invite").await;
    // The one that was told of later is listed, and the other one is not.
    invited(&b, &room).await;
    assert!(invitation(&b, &direct).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_rooms_that_do_not_exist_and_rooms_without_an_invitation_leave_nothing_behind() {
    let b = open("b.example.org", &[]).await;
    let mut liar = Attacker::connect(&b, 64, Some(&honest())).await;
    let (_, create) = own_room(&liar.key);
    let events = vec![WireEvent::of(&create)];
    let answer = Response::Events { events: events.clone(), have: HaveVector::new(), more: false };
    liar.always_answer(answer.encode());
    for room in [create.room(), RoomId::from_hash([7; 32])] {
        for events in [Vec::new(), events.clone()] {
            let told = liar.ask(Request::Tell { room, events }.encode()).await;
            assert!(matches!(told, Some(Response::Differing { .. } | Response::Refused(_))), "{told:?}");
        }
    }
    // One that always has more, and never anything new.
    let endless = Response::Events { events: Vec::new(), have: HaveVector::new(), more: true };
    liar.always_answer(endless.encode());
    let told = liar.ask(Request::Tell { room: create.room(), events: Vec::new() }.encode()).await;
    assert_eq!(told, Some(Response::Differing { rooms: vec![create.room()] }));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let bytes = endless.encode();
    liar.answer = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Some(bytes.clone())
    });
    liar.ask(Request::Tell { room: RoomId::from_hash([8; 32]), events: Vec::new() }.encode()).await;
    liar.while_waiting(eventually("the last one is looked at", || async { asked.load(Ordering::Relaxed) > 0 })).await;
    let list: InvitationList = b.get("/v1/invitations").await;
    assert!(list.invitations.is_empty());
    let rooms: serde_json::Value = b.get("/v1/rooms").await;
    assert_eq!(rooms["rooms"], json!([]));
}
