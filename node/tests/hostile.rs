//! Peers that do what no honest server does: none of it ends the process, grows without bound, or changes a room.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::atomic::Ordering;

use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::request_response::{self, Message};
use libp2p::swarm::SwarmEvent;
use rocketmesh_node::api::types::{Audience, NodeStatus, PeerView, Policy, RoomList};
use rocketmesh_protocol::event::{Event, Placement};
use rocketmesh_protocol::have::{HaveVector, Sections};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::{GossipFrame, Hello, Refused, Request, Response, WireEvent};
use serde_json::json;
use support::attacker::{Attacker, BehaviourEvent, honest, message_at, newcomer, own_room};
use support::{LOGGED_ERRORS, TestNode, eventually};

fn chatter(key: &ServerKey, room: RoomId, frontier: EventId, text: &str) -> Event {
    let placement = Placement {
        room: Some(room),
        version: rocketmesh_protocol::event::RoomVersion::DRAFT,
        self_parent: None,
        parents: Vec::new(),
        state_frontier: vec![frontier],
        lamport: 1,
    };
    message_at(key, placement, "mallory", text)
}

/// What the node shows of the attacker.
async fn view(node: &TestNode, seed: u8) -> PeerView {
    node.get(&format!("/v1/peers/{}", ServerKey::from_seed(&[seed; 32]).origin())).await
}

/// Hostile input is for counters and verdicts: nothing of it may reach the log as an error, let alone fill a disk.
fn quiet_log() {
    assert_eq!(LOGGED_ERRORS.load(Ordering::Relaxed), 0, "errors were logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_that_is_garbage_or_forged_or_foreign_is_refused_and_counted_and_changes_nothing() {
    let node = TestNode::start("a.example.org", &[]).await;
    let room = node.create("alice", "general").await.summary.id;
    let before = node.room(&room).await.summary;
    let mut attacker = Attacker::connect(&node, 66, Some(&honest())).await;
    let topic = attacker.follow(&room).await;
    let id: RoomId = room.parse().unwrap();
    let outsider = chatter(&attacker.key, id, id.into(), "let me in");
    let (_, foreign) = own_room(&attacker.key);
    let mut forged = GossipFrame::encode(&chatter(&attacker.key, id, id.into(), "forged"));
    // The last bytes of a frame are its body; the signature ends just before.
    let body = chatter(&attacker.key, id, id.into(), "forged").body_block().unwrap().len();
    let at = forged.len() - body - 5;
    forged[at] ^= 1;
    let mut trailing = GossipFrame::encode(&chatter(&attacker.key, id, id.into(), "trailing"));
    trailing.push(0);
    let bare = WireEvent { body: None, ..WireEvent::of(&chatter(&attacker.key, id, id.into(), "without body")) };
    let bare = bare.decode().unwrap().trust();
    let messages = [
        b"garbage".to_vec(),
        vec![0xff; 100_000],
        GossipFrame::encode(&foreign),
        GossipFrame::encode(&outsider),
        GossipFrame::encode(&bare),
        forged,
        trailing,
    ];
    let sent = messages.len() as u64;
    for message in messages {
        attacker.swarm.behaviour_mut().gossip.publish(topic.clone(), message).unwrap();
    }
    attacker
        .while_waiting(eventually("all are counted and all but the outsider's are refused at the door", || async {
            let received = view(&node, 66).await.received;
            received.gossip == sent && received.gossip_refused == sent - 1 && received.events_refused == 1
        }))
        .await;
    assert_eq!(node.room(&room).await.summary, before);
    node.say(&room, "alice", "unmoved").await;
    quiet_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_garbage_oversize_or_without_end_are_refused_and_others_are_still_answered() {
    let node = TestNode::start("a.example.org", &[]).await;
    let room = node.create("alice", "general").await.summary.id;
    let mut attacker = Attacker::connect(&node, 66, Some(&honest())).await;
    assert_eq!(attacker.ask(b"garbage".to_vec()).await, Some(Response::Refused(Refused::Other)));
    assert_eq!(attacker.ask(Vec::new()).await, Some(Response::Refused(Refused::Other)));
    assert_eq!(attacker.ask(vec![0; 2 << 20]).await, None, "nothing that long is read");
    let unknown = Request::Pull {
        room: RoomId::from_hash([9; 32]),
        sections: Sections::ALL,
        state_only: false,
        have: HaveVector::new(),
    };
    assert_eq!(attacker.ask(unknown.encode()).await, Some(Response::Refused(Refused::UnknownRoom)));
    let known = Request::Pull {
        room: room.parse().unwrap(),
        sections: Sections::ALL,
        state_only: false,
        have: HaveVector::new(),
    };
    assert!(matches!(attacker.ask(known.encode()).await, Some(Response::Events { .. })));
    let mut refused = false;
    for _ in 0..2_000 {
        if attacker.ask(unknown.encode()).await == Some(Response::Refused(Refused::TooMany)) {
            refused = true;
            break;
        }
    }
    assert!(refused, "a peer that asks without end is told to stop");
    assert!(view(&node, 66).await.received.requests_refused > 0);
    let other = TestNode::start("b.example.org", &[node.address().await]).await;
    other.introduced(&node).await;
    attacker
        .while_waiting(async {
            other.join(&room, "bob").await;
        })
        .await;
    quiet_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_not_introduced_gets_no_answer_and_one_that_says_nothing_is_disconnected() {
    let node = TestNode::start("a.example.org", &[]).await;
    let room = node.create("alice", "general").await.summary.id;
    let mut silent = Attacker::connect(&node, 67, None).await;
    let request = Request::Pull {
        room: room.parse().unwrap(),
        sections: Sections::ALL,
        state_only: false,
        have: HaveVector::new(),
    };
    assert_eq!(silent.ask(request.encode()).await, Some(Response::Refused(Refused::NotIntroduced)));
    silent.until(|event| matches!(event, SwarmEvent::ConnectionClosed { .. })).await;
    assert_eq!(view(&node, 67).await.state, "disconnected");
    quiet_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_no_version_in_common_is_shown_as_such_and_left_alone() {
    let node = TestNode::start("a.example.org", &[]).await;
    let room = node.create("alice", "general").await.summary.id;
    let tomorrow = Hello { wire_versions: vec![8, 9], agent: "rocketmesh/9.0".to_owned(), ..honest() };
    let mut peer = Attacker::connect(&node, 68, Some(&tomorrow)).await;
    peer.while_waiting(eventually("it is shown", || async { view(&node, 68).await.state == "incompatible" })).await;
    assert_eq!(view(&node, 68).await.wire_versions, [8, 9]);
    let request = Request::Pull {
        room: room.parse().unwrap(),
        sections: Sections::ALL,
        state_only: false,
        have: HaveVector::new(),
    };
    assert_eq!(peer.ask(request.encode()).await, Some(Response::Refused(Refused::NotIntroduced)));
    quiet_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_garbage_or_not_what_was_asked_bring_nothing_into_the_store() {
    let node = TestNode::start("a.example.org", &[]).await;
    let mut attacker = Attacker::connect(&node, 66, Some(&honest())).await;
    let (outline, create) = own_room(&attacker.key);
    let wanted = RoomId::from_hash([5; 32]).to_string();
    let foreign = |more: bool| {
        let mut stripped = WireEvent::of(&create);
        stripped.body = None;
        let events = vec![WireEvent::of(&create), stripped, WireEvent { header: vec![0x93], body: None }];
        Response::Events { events, have: outline.have().clone(), more }.encode()
    };
    let answers = [
        b"garbage".to_vec(),
        Vec::new(),
        Response::Differing { rooms: vec![create.room()] }.encode(),
        foreign(false),
        foreign(true),
        vec![0x80; 5 << 20],
    ];
    for answer in answers {
        attacker.always_answer(answer);
        let join = json!({"room": wanted, "user": "alice", "wait_s": 1});
        let mut refused = None;
        attacker
            .while_waiting(async {
                refused = Some(node.refused("POST", "/v1/rooms/join", Some(join)).await);
            })
            .await;
        assert_eq!(refused.unwrap(), (404, "unknown_room".to_owned()));
    }
    assert!(view(&node, 66).await.received.events_refused >= 6);
    let status: NodeStatus = node.get("/v1/node").await;
    assert_eq!(status.log_position, 0, "nothing was taken in");
    let rooms: RoomList = node.get("/v1/rooms").await;
    assert!(rooms.rooms.is_empty());
    quiet_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_opens_connections_without_end_holds_a_few() {
    let node = TestNode::start("a.example.org", &[]).await;
    let mut attackers = Vec::new();
    let address: Multiaddr = node.address().await.parse().unwrap();
    let mut first = Attacker::connect(&node, 66, Some(&honest())).await;
    for _ in 0..30 {
        let opts = libp2p::swarm::dial_opts::DialOpts::peer_id(first.victim)
            .addresses(vec![address.clone()])
            .condition(libp2p::swarm::dial_opts::PeerCondition::Always)
            .build();
        first.swarm.dial(opts).unwrap();
    }
    // An honest server gets in meanwhile.
    first
        .while_waiting(async {
            let other = TestNode::start("b.example.org", &[node.address().await]).await;
            other.introduced(&node).await;
            attackers.push(other);
        })
        .await;
    let connections = view(&node, 66).await.connections.len();
    assert!((1..=4).contains(&connections), "{connections}");
    quiet_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_is_cut_off_and_stays_out_until_the_ban_is_lifted() {
    let node = TestNode::start("a.example.org", &[]).await;
    let other = TestNode::start("b.example.org", &[node.address().await]).await;
    other.introduced(&node).await;
    let path = format!("/v1/peers/{}/ban", other.id());
    let (status, _) = node.raw("PUT", &path, Some(json!({"reason": "spam"}))).await;
    assert_eq!(status, 204);
    let view = || async { node.get::<PeerView>(&format!("/v1/peers/{}", other.id())).await };
    eventually("the banned peer is gone", || async { view().await.connections.is_empty() }).await;
    assert_eq!((view().await.state.as_str(), view().await.ban_reason.as_deref()), ("banned", Some("spam")));
    let left = node.stop().await;
    let node = TestNode::start_in(left.path(), "a.example.org", &[]).await;
    let path = format!("/v1/peers/{}", other.id());
    let banned: PeerView = node.get(&path).await;
    assert_eq!(banned.state, "banned", "a ban outlives a restart");
    assert_eq!(node.raw("DELETE", &format!("{path}/ban"), None).await.0, 204);
    node.connect(&other).await;
    quiet_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_keeps_servers_out_that_are_not_listed() {
    let node = TestNode::start("a.example.org", &[]).await;
    let room = node.create("alice", "general").await.summary.id;
    let mut policy: Policy = node.get("/v1/policy").await;
    policy.federate = Audience::Listed;
    let put = |policy: &Policy| node.raw("PUT", "/v1/policy", Some(serde_json::to_value(policy).unwrap()));
    assert_eq!(put(&policy).await.0, 200);
    let mut stranger = Attacker::connect(&node, 66, Some(&honest())).await;
    let request = Request::Pull {
        room: room.parse().unwrap(),
        sections: Sections::ALL,
        state_only: false,
        have: HaveVector::new(),
    }
    .encode();
    assert_eq!(stranger.ask(request.clone()).await, Some(Response::Refused(Refused::Policy)));
    assert_eq!(view(&node, 66).await.state, "excluded");
    policy.listed.push(stranger.key.origin().to_string());
    assert_eq!(put(&policy).await.0, 200);
    assert!(matches!(stranger.ask(request).await, Some(Response::Events { .. })));
    quiet_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_that_comes_before_the_introduction_is_taken_once_that_is_made() {
    let node = TestNode::start("early", &[]).await;
    let room = node.create("alice", "general").await.summary.id;
    let mut peer = Attacker::connect(&node, 61, None).await;
    let topic = peer.follow(&room).await;
    let join = newcomer(&peer.key, room.parse().unwrap());
    peer.swarm.behaviour_mut().gossip.publish(topic, GossipFrame::encode(&join)).unwrap();
    let path = format!("/v1/peers/{}", peer.key.origin());
    let arrived = eventually("the gossip arrives", || async {
        let (status, view) = node.raw("GET", &path, None).await;
        status.is_success() && view["received"]["gossip"] == 1
    });
    peer.while_waiting(arrived).await;
    assert_eq!(node.room(&room).await.summary.members, 1, "nobody has introduced themselves yet");
    let victim = peer.victim;
    peer.swarm.behaviour_mut().hello.send_request(&victim, honest().encode());
    // It answers no comparison with anything that can be read, so that only gossip can have brought the event.
    let taken = eventually("the event is taken", || async { node.room(&room).await.summary.members == 2 });
    peer.while_waiting(taken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_introduction_that_broke_off_is_made_again() {
    let node = TestNode::start("again", &[]).await;
    let mut peer = Attacker::connect(&node, 62, None).await;
    let mut asked = 0;
    while asked < 2 {
        let event = tokio::time::timeout(support::PATIENCE, peer.swarm.select_next_some()).await.unwrap();
        let SwarmEvent::Behaviour(BehaviourEvent::Hello(request_response::Event::Message {
            message: Message::Request { channel, .. },
            ..
        })) = event
        else {
            continue;
        };
        asked += 1;
        if asked == 2 {
            peer.swarm.behaviour_mut().hello.send_response(channel, honest().encode()).unwrap();
        }
        // The first one is dropped, as when the connection that carries it is closed as a duplicate.
    }
    let path = format!("/v1/peers/{}", peer.key.origin());
    let introduced = eventually("the peers know each other", || async {
        node.raw("GET", &path, None).await.1["state"] == "introduced"
    });
    peer.while_waiting(introduced).await;
}
