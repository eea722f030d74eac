//! Whole nodes find each other, talk, and end with the same room.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use serde_json::json;
use support::{TestNode, converged, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_on_one_server_reaches_every_server_in_the_room() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    let c = TestNode::start("c.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    c.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    c.join(&room, "carol").await;
    for turn in 0..10 {
        a.say(&room, "alice", &format!("a{turn}")).await;
        b.say(&room, "bob", &format!("b{turn}")).await;
        c.say(&room, "carol", &format!("c{turn}")).await;
    }
    converged(&[&a, &b, &c], &room).await;
    let texts = a.texts(&room).await;
    assert_eq!(texts.len(), 30);
    assert_eq!(b.texts(&room).await, texts);
    assert_eq!(c.texts(&room).await, texts);
    let members: serde_json::Value = c.get(&format!("/v1/rooms/{room}/members")).await;
    let display: Vec<_> = members["members"].as_array().unwrap().iter().map(|m| m["display"].clone()).collect();
    assert!(display.contains(&json!("@alice:a.example.org")), "{display:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_stopped_while_others_talked_ends_with_exactly_what_they_have() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    b.say(&room, "bob", "before").await;
    converged(&[&a, &b], &room).await;
    let id = b.id();
    let left = b.stop().await;
    for turn in 0..300 {
        a.say(&room, "alice", &format!("while you were away {turn}")).await;
    }
    let b = TestNode::start_in(left.path(), "b.example.org", &[a.address().await]).await;
    assert_eq!(b.id(), id, "the identity is the key file's");
    converged(&[&a, &b], &room).await;
    assert_eq!(b.texts(&room).await, a.texts(&room).await);
    assert_eq!(b.texts(&room).await.len(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_id_and_one_bootstrap_address_are_enough_to_join_a_room_that_the_bootstrap_is_not_in() {
    let hub = TestNode::start("hub.example.org", &[]).await;
    let a = TestNode::start("a.example.org", &[hub.address().await]).await;
    a.introduced(&hub).await;
    let room = a.create("alice", "hidden").await.summary.id;
    a.say(&room, "alice", "find me").await;
    let b = TestNode::start("b.example.org", &[hub.address().await]).await;
    b.introduced(&hub).await;
    let joined = b.join(&room, "bob").await;
    assert_eq!(joined.summary.name.as_deref(), Some("hidden"));
    let peer: serde_json::Value = b.get(&format!("/v1/peers/{}", a.id())).await;
    assert_eq!(peer["found_by"], json!(["dht"]));
    converged(&[&a, &b], &room).await;
    assert_eq!(b.texts(&room).await, ["find me"]);
    assert_eq!(hub.raw("GET", &format!("/v1/rooms/{room}"), None).await.0, 404, "the hub is no part of the room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_joins_through_any_holder_when_the_creator_is_gone() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    a.say(&room, "alice", "last words").await;
    converged(&[&a, &b], &room).await;
    a.stop().await;
    let c = TestNode::start("c.example.org", &[b.address().await]).await;
    c.introduced(&b).await;
    c.join(&room, "carol").await;
    c.say(&room, "carol", "hello").await;
    converged(&[&b, &c], &room).await;
    assert_eq!(b.texts(&room).await, ["last words", "hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_halves_that_talked_apart_agree_once_they_meet() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    let left = b.stop().await;
    let b = TestNode::start_in(left.path(), "b.example.org", &[]).await;
    for turn in 0..40 {
        a.say(&room, "alice", &format!("a{turn}")).await;
        b.say(&room, "bob", &format!("b{turn}")).await;
    }
    assert_ne!(a.room(&room).await.summary.digest, b.room(&room).await.summary.digest);
    a.connect(&b).await;
    converged(&[&a, &b], &room).await;
    assert_eq!(a.texts(&room).await, b.texts(&room).await);
    assert_eq!(a.texts(&room).await.len(), 80);
    a.say(&room, "alice", "together").await;
    converged(&[&a, &b], &room).await;
    assert_eq!(a.room(&room).await.timeline_tips.len(), 1, "one event joins the tips of both halves");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_local_user_has_left_the_room_is_no_longer_followed() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    b.join(&room, "betty").await;
    let leave = |user: &str| json!({"user": user});
    let _: serde_json::Value = b.post(&format!("/v1/rooms/{room}/leave"), leave("bob")).await;
    assert!(b.room(&room).await.summary.joined);
    let _: serde_json::Value = b.post(&format!("/v1/rooms/{room}/leave"), leave("betty")).await;
    eventually("the room is let go once the other server knows", || async { !b.room(&room).await.summary.joined })
        .await;
    eventually("the creator sees nobody but herself", || async { a.room(&room).await.summary.members == 1 }).await;
    a.say(&room, "alice", "alone").await;
    assert_eq!(
        b.refused("POST", &format!("/v1/rooms/{room}/events"), Some(json!({"user": "bob", "text": "hi"}))).await,
        (403, "not_a_member".to_owned())
    );
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    assert_eq!(b.texts(&room).await, ["alone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_that_nobody_heard_is_brought_to_the_room_later() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    let kept = b.stop().await;
    let b = TestNode::start_in(kept.path(), "b.example.org", &[]).await;
    let _: serde_json::Value = b.post(&format!("/v1/rooms/{room}/leave"), json!({"user": "bob"})).await;
    assert!(b.room(&room).await.summary.joined, "nobody else knows of it yet");
    a.connect(&b).await;
    eventually("the creator sees nobody but herself", || async { a.room(&room).await.summary.members == 1 }).await;
    eventually("the room is let go", || async { !b.room(&room).await.summary.joined }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_resumes_by_position_and_misses_nothing() {
    use futures::StreamExt;
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    for turn in 0..20 {
        a.say(&room, "alice", &format!("m{turn}")).await;
    }
    let mut seen = Vec::new();
    let mut position = 0_u64;
    // Three streams, each broken off after some entries and resumed where it was.
    for take in [5, 1, 14] {
        let url = a.url(&format!("/v1/rooms/{room}/stream?after={position}"));
        let response = a.client.get(url).bearer_auth(a.node.api_token()).send().await.unwrap();
        let mut text = String::new();
        let mut chunks = response.bytes_stream();
        let mut entries = Vec::new();
        while entries.len() < take {
            text.push_str(std::str::from_utf8(&chunks.next().await.unwrap().unwrap()).unwrap());
            entries = text
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .filter_map(|data| serde_json::from_str::<serde_json::Value>(data.trim()).ok())
                .take(take)
                .collect();
        }
        position = entries.last().unwrap()["position"].as_u64().unwrap();
        seen.extend(entries.into_iter().map(|entry| entry["position"].as_u64().unwrap()));
    }
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_node_restores_to_the_same_server_and_rooms() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    for turn in 0..50 {
        a.say(&room, "alice", &format!("m{turn}")).await;
    }
    let response = a.client.post(a.url("/v1/backup")).bearer_auth(a.node.api_token()).send().await.unwrap();
    let backup = response.bytes().await.unwrap();
    let (id, digest) = (a.id(), a.room(&room).await.summary.digest);
    a.stop().await;
    let directory = tempfile::TempDir::new().unwrap();
    {
        let store = rocketmesh_node::open_store(directory.path(), 8).unwrap();
        let (seed, summary) = rocketmesh_storage::backup::restore(&store, &mut &backup[..], |_| {}).unwrap();
        assert_eq!((summary.rooms, summary.events), (1, 51));
        let key = rocketmesh_protocol::identity::ServerKey::from_seed(&seed);
        rocketmesh_node::identity::save(directory.path(), &key).unwrap();
    }
    let a = TestNode::start_in(directory.path(), "a.example.org", &[]).await;
    assert_eq!((a.id(), a.room(&room).await.summary.digest), (id, digest));
    a.say(&room, "alice", "back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restored_from_an_old_backup_goes_on_from_what_others_have_of_it() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    b.say(&room, "bob", "before the backup").await;
    let path = b.url("/v1/backup");
    let backup = b.client.post(path).bearer_auth(b.node.api_token()).send().await.unwrap().bytes().await.unwrap();
    for turn in 0..5 {
        b.say(&room, "bob", &format!("after the backup {turn}")).await;
    }
    converged(&[&a, &b], &room).await;
    b.stop().await;

    let restored = tempfile::TempDir::new().unwrap();
    let store = rocketmesh_node::open_store(restored.path(), 8).unwrap();
    let (seed, _) = rocketmesh_storage::backup::restore(&store, &mut &backup[..], |_| {}).unwrap();
    drop(store);
    let key = rocketmesh_protocol::identity::ServerKey::from_seed(&seed);
    rocketmesh_node::identity::save(restored.path(), &key).unwrap();
    let b = TestNode::start_in(restored.path(), "b.example.org", &[a.address().await]).await;
    // The first thing that happens after the start is somebody writing.
    b.say(&room, "bob", "where was I?").await;
    converged(&[&a, &b], &room).await;
    for node in [&a, &b] {
        assert_eq!(node.room(&room).await.forks, [], "the server did not fork its chain");
        assert_eq!(node.texts(&room).await.len(), 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_kinds_are_kept_and_passed_on() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let poll = json!({"user": "bob", "kind": "org.example.poll", "state_key": "lunch", "body": {"options": ["soup", 2, null]}});
    let posted: serde_json::Value = b.post(&format!("/v1/rooms/{room}/events"), poll).await;
    let id = posted["event"].as_str().unwrap();
    converged(&[&a, &b], &room).await;
    let event: serde_json::Value = a.get(&format!("/v1/events/{id}")).await;
    assert_eq!(event["body"], json!({"options": ["soup", 2, null]}));
    assert_eq!((event["lane"].as_str(), event["state_key"].as_str()), (Some("state"), Some("lunch")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moderators_edit_is_shown_as_such_and_a_members_is_refused() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    for user in ["bob", "carol"] {
        a.join(&room, user).await;
    }
    let message = a.say(&room, "bob", "teh text").await.event;
    let path = format!("/v1/rooms/{room}/events");
    let edit = |user: &str| json!({"user": user, "kind": "edit", "target": message, "text": "the text"});
    let by_carol = a.refused("POST", &path, Some(edit("carol"))).await;
    assert_eq!(by_carol, (403, "not_moderator".to_owned()));
    for (user, by_moderator) in [("bob", false), ("alice", true)] {
        let posted: serde_json::Value = a.post(&path, edit(user)).await;
        let event: serde_json::Value = a.get(&format!("/v1/events/{}", posted["event"].as_str().unwrap())).await;
        assert_eq!((&event["by_moderator"], &event["reaches"]), (&json!(by_moderator), &json!(true)), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_and_moderators_rename_and_owners_give_roles() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let path = format!("/v1/rooms/{room}/events");
    let rename = |user: &str| json!({"user": user, "kind": "room.name", "text": format!("{user}'s")});
    assert_eq!(b.refused("POST", &path, Some(rename("bob"))).await, (403, "not_moderator".to_owned()));
    converged(&[&a, &b], &room).await;
    let role = json!({"user": "alice", "kind": "room.role", "member": "@bob:b.example.org", "role": "owner"});
    let _: serde_json::Value = a.post(&path, role).await;
    converged(&[&a, &b], &room).await;
    let _: serde_json::Value = b.post(&path, rename("bob")).await;
    converged(&[&a, &b], &room).await;
    assert_eq!(a.room(&room).await.summary.name.as_deref(), Some("bob's"));
}
