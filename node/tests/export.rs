//! A room goes from one server to another as a file, and the file is trusted no more than another server is.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use reqwest::StatusCode;
use rocketmesh_node::api::types::{ErrorBody, EventPage, ImportedRoom};
use rocketmesh_storage::car::{CarReader, CarWriter};
use serde_json::{Value, json};
use support::{TestNode, converged};

async fn export(node: &TestNode, room: &str) -> Vec<u8> {
    let request = node.client.get(node.url(&format!("/v1/rooms/{room}/export"))).bearer_auth(node.node.api_token());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/vnd.ipld.car");
    response.bytes().await.unwrap().to_vec()
}

async fn send(node: &TestNode, file: Vec<u8>) -> (StatusCode, Value) {
    let request = node.client.post(node.url("/v1/rooms/import")).bearer_auth(node.node.api_token());
    let response = request.body(file).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn import(node: &TestNode, file: Vec<u8>) -> ImportedRoom {
    let (status, answer) = send(node, file).await;
    assert!(status.is_success(), "{answer}");
    serde_json::from_value(answer).unwrap()
}

/// The status and the code of an import that is refused, and the sentence for people.
async fn refused(node: &TestNode, file: Vec<u8>) -> (u16, String, String) {
    let (status, answer) = send(node, file).await;
    let ErrorBody { error } = serde_json::from_value(answer).unwrap();
    (status.as_u16(), error.code, error.message)
}

async fn events(node: &TestNode, room: &str) -> Vec<(String, Value)> {
    let page: EventPage = node.get(&format!("/v1/rooms/{room}/events?limit=1000")).await;
    page.events.into_iter().map(|event| (event.id, event.body)).collect()
}

async fn knows_no_room(node: &TestNode) {
    let (status, rooms) = node.raw("GET", "/v1/rooms", None).await;
    assert!(status.is_success() && rooms["rooms"].as_array().unwrap().is_empty(), "{rooms}");
}

/// The blocks of a file, in order.
fn blocks(file: &[u8]) -> Vec<Vec<u8>> {
    CarReader::new(file).unwrap().map(|block| block.unwrap().bytes).collect()
}

/// A file of these blocks, that names no roots.
fn of_blocks(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = CarWriter::begin(&mut file, &[]).unwrap();
    for block in blocks {
        writer.block(block).unwrap();
    }
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_never_connected_shows_a_room_that_it_imported() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    // Large enough for several batches.
    for at in 0..20 {
        a.say(&room, "alice", &format!("{at} {}", "x".repeat(60_000))).await;
    }
    b.say(&room, "bob", "an answer").await;
    let slip = a.say(&room, "alice", "a slip").await.event;
    let _: Value =
        a.post(&format!("/v1/rooms/{room}/events"), json!({"user": "alice", "kind": "redact", "target": slip})).await;
    let digest = converged(&[&a, &b], &room).await;
    let file = export(&a, &room).await;
    assert!(!file.windows(6).any(|window| window == b"a slip"), "what was taken back is not in the file");

    let c = TestNode::start("c.example.org", &[]).await;
    let imported = import(&c, file.clone()).await;
    let held = a.room(&room).await.summary;
    assert_eq!((imported.room.as_str(), imported.joined), (room.as_str(), false));
    assert_eq!((imported.events, imported.new), (held.events, held.events));
    assert_eq!((imported.refused, imported.waiting), (0, 0));
    let here = c.room(&room).await.summary;
    assert!(!here.joined, "importing is not joining");
    assert_eq!((here.digest, here.state_digest), (digest, held.state_digest));
    assert_eq!(events(&c, &room).await, events(&a, &room).await);

    let again = import(&c, file).await;
    assert_eq!((again.events, again.new, again.refused), (held.events, 0, 0), "twice is once");
    let back = import(&b, export(&c, &room).await).await;
    assert_eq!((back.new, back.joined), (0, true));

    // What came from the file is where the room goes on once the server joins.
    c.connect(&a).await;
    c.join(&room, "carol").await;
    c.say(&room, "carol", "I have read it all").await;
    converged(&[&a, &b, &c], &room).await;
    for node in [a, b, c] {
        node.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_brings_what_a_server_in_the_room_had_missed() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let early = export(&a, &room).await;
    a.say(&room, "alice", "later").await;
    let late = export(&a, &room).await;
    let b = TestNode::start("b.example.org", &[]).await;
    assert_eq!(import(&b, early).await.new, 1);
    assert_eq!(import(&b, late.clone()).await.new, 1);
    assert_eq!(b.texts(&room).await, ["later"]);
    assert_eq!(b.room(&room).await.summary.digest, a.room(&room).await.summary.digest);

    // Without the beginning a file only goes on with what is held.
    let rest = of_blocks(&blocks(&late)[2..]);
    let c = TestNode::start("c.example.org", &[]).await;
    assert_eq!(refused(&c, rest.clone()).await.1, "no_create_event");
    knows_no_room(&c).await;
    assert_eq!(import(&b, rest).await.new, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_imported_from_a_file_that_does_not_begin_soundly() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    a.say(&room, "alice", "Hello").await;
    let file = export(&a, &room).await;
    let b = TestNode::start("b.example.org", &[]).await;

    let mut forged = blocks(&file);
    *forged[0].last_mut().unwrap() ^= 1;
    let mut changed = file.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (wrong, code) in [
        (Vec::new(), "malformed_car"),
        (b"this is no such file".to_vec(), "malformed_car"),
        (of_blocks(&[]), "empty_car"),
        (of_blocks(&forged), "malformed_car"),
        (of_blocks(&[b"\x63abc".to_vec()]), "malformed_car"),
        (changed, "malformed_car"),
        (file[..file.len() - 1].to_vec(), "malformed_car"),
        // More than the connection holds: the answer must come through all the same.
        ([b"no file".to_vec(), vec![0; 32 * 1024 * 1024]].concat(), "malformed_car"),
    ] {
        let len = wrong.len();
        let (status, answered, message) = refused(&b, wrong).await;
        assert_eq!((status, answered.as_str()), (400, code), "{len} bytes: {message}");
        assert!(message.len() > 10, "{message}");
        knows_no_room(&b).await;
    }
    assert_eq!(a.refused("GET", "/v1/rooms/nonsense/export", None).await, (400, "malformed_id".to_owned()));
    let unknown = format!("/v1/rooms/{room}/export");
    assert_eq!(b.refused("GET", &unknown, None).await, (404, "unknown_room".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_events_of_a_file_are_refused_and_another_room_ends_it() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let other = a.create("alice", "other").await.summary.id;
    a.say(&room, "alice", "Hello").await;
    let sound = blocks(&export(&a, &room).await);
    let b = TestNode::start("b.example.org", &[]).await;

    // The signature is the last thing in a header.
    let mut forged = sound.clone();
    let header = forged.len() - 2;
    *forged[header].last_mut().unwrap() ^= 1;
    let imported = import(&b, of_blocks(&forged)).await;
    assert_eq!((imported.events, imported.new, imported.refused), (2, 1, 1));

    let both = [sound, blocks(&export(&a, &other).await)].concat();
    let (status, code, message) = refused(&b, of_blocks(&both)).await;
    assert_eq!((status, code.as_str()), (400, "malformed_car"));
    assert!(message.contains(&room) && message.contains(&other), "{message}");
    let (_, rooms) = b.raw("GET", "/v1/rooms", None).await;
    assert!(rooms["rooms"].as_array().unwrap().iter().all(|summary| summary["id"] == room.as_str()), "{rooms}");
}
