//! Who gets a file, and what a lie about one comes to: an upload that was cut, a size that nothing has, a hash without the file.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use futures::stream;
use reqwest::{Body, StatusCode};
use rocketmesh_node::api::types::{ErrorBody, FilePage, MessageFile, Posted};
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Content, FileRef};
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use serde_json::{Value, json};
use support::attacker::{Attacker, honest, newcomer};
use support::{PATIENCE, TestNode, converged, eventually};

const MEBIBYTE: usize = 1024 * 1024;
/// The pause between two questions: far fewer than a peer may ask.
const GLANCE: Duration = Duration::from_millis(100);

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 251) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

/// Sends a file, with the length that is to be said of it if it comes in chunks.
async fn send(node: &TestNode, room: &str, body: Body, said: Option<usize>) -> (StatusCode, Value) {
    let url = node.url(&format!("/v1/rooms/{room}/files?name=a.png&type=image/png"));
    let mut request = node.client.post(url).bearer_auth(node.node.api_token()).body(body);
    if let Some(said) = said {
        request = request.header("upload-length", said);
    }
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn in_chunks(bytes: &[u8]) -> Body {
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(1000).map(|piece| Ok(piece.to_vec())).collect();
    Body::wrap_stream(stream::iter(pieces))
}

async fn upload(node: &TestNode, room: &str, bytes: &[u8]) -> MessageFile {
    let (status, answer) = send(node, room, Body::from(bytes.to_vec()), None).await;
    assert!(status.is_success(), "{answer}");
    serde_json::from_value(answer).unwrap()
}

async fn post(node: &TestNode, room: &str, file: &MessageFile) {
    let event = json!({"user": "alice", "text": "look", "files": [file]});
    let _: Posted = node.post(&format!("/v1/rooms/{room}/events"), event).await;
}

/// Names a file in a room as whoever knows no more than its hash can.
async fn name(node: &TestNode, room: &str, file: &MessageFile) {
    let named = FileRef {
        file: file.file.parse().unwrap(),
        size: file.size,
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        dimensions: None,
    };
    let fields = FileRef::into_fields(&[named], Map::new().with("text", "look")).unwrap();
    let content = Content::Message { thread: None };
    let client = node.node.client();
    client.post(room.parse().unwrap(), "alice".parse().unwrap(), &content, Some(fields)).await.unwrap();
}

/// How many of the files that the room names the node has.
async fn count_here(node: &TestNode, room: &str) -> usize {
    let page: FilePage = node.get(&format!("/v1/rooms/{room}/files")).await;
    page.files.iter().filter(|found| found.view.state == "here").count()
}

async fn here(node: &TestNode, room: &str) -> bool {
    count_here(node, room).await > 0
}

/// What a server of the room is answered that asks for the file's beginning.
async fn ask(peer: &mut Attacker, room: &str, file: &MessageFile) -> Response {
    let range = FileRange::numbered(0, file.size).unwrap();
    let request = Request::File { room: room.parse().unwrap(), file: file.file.parse().unwrap(), range };
    peer.ask(request.encode()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_a_hash_and_names_it_in_another_room_does_not_get_the_file() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let other = a.create("alice", "other").await.summary.id;
    let bytes = content(3000, 1);
    let file = upload(&a, &room, &bytes).await;
    post(&a, &room, &file).await;
    name(&a, &other, &file).await;
    let mut peer = Attacker::connect(&a, 66, Some(&honest())).await;
    assert!(matches!(ask(&mut peer, &room, &file).await, Response::Slice { .. }));
    assert_eq!(ask(&mut peer, &other, &file).await, Response::Refused(Refused::NoFile), "a hash is no right");
    // Whoever brings the file there has it.
    upload(&a, &other, &bytes).await;
    assert!(matches!(ask(&mut peer, &other, &file).await, Response::Slice { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_two_rooms_is_sent_on_in_both_and_stays_in_one_when_the_other_takes_it_back() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    let other = a.create("alice", "other").await.summary.id;
    for room in [&room, &other] {
        b.join(room, "bob").await;
    }
    let bytes = content(3000, 2);
    let file = upload(&a, &room, &bytes).await;
    let event = json!({"user": "alice", "text": "look", "files": [file]});
    let first: Posted = a.post(&format!("/v1/rooms/{room}/events"), event).await;
    eventually("the file comes", || async { here(&b, &room).await }).await;
    post(&a, &other, &file).await;
    converged(&[&a, &b], &other).await;
    // It is there already: what comes is the proof that a server of that room has it.
    let mut peer = Attacker::connect(&b, 66, Some(&honest())).await;
    let sends = async {
        while !matches!(ask(&mut peer, &other, &file).await, Response::Slice { .. }) {
            tokio::time::sleep(GLANCE).await;
        }
    };
    tokio::time::timeout(PATIENCE, sends).await.expect("it is held by the other room in the end");

    let redact = json!({"user": "alice", "kind": "redact", "target": first.event});
    let _: Posted = a.post(&format!("/v1/rooms/{room}/events"), redact).await;
    converged(&[&a, &b], &room).await;
    eventually("the first room takes it back", || async { !here(&b, &room).await }).await;
    assert!(here(&b, &other).await);
    assert!(matches!(ask(&mut peer, &other, &file).await, Response::Slice { .. }));
    assert_eq!(ask(&mut peer, &room, &file).await, Response::Refused(Refused::NoFile));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_does_not_come_to_its_end_is_no_file() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let bytes = content(5000, 3);
    let code = |answer: Value| serde_json::from_value::<ErrorBody>(answer).unwrap().error.code;
    let (status, answer) = send(&a, &room, in_chunks(&bytes), None).await;
    assert_eq!((status, code(answer)), (StatusCode::LENGTH_REQUIRED, "length_required".to_owned()));
    for said in [4999, 5001] {
        let (status, answer) = send(&a, &room, in_chunks(&bytes), Some(said)).await;
        assert_eq!((status, code(answer)), (StatusCode::BAD_REQUEST, "file_broken".to_owned()), "{said}");
    }
    let (status, answer) = send(&a, &room, Body::from(bytes.clone()), Some(7)).await;
    assert_eq!((status, code(answer)), (StatusCode::BAD_REQUEST, "malformed_length".to_owned()));

    // A connection that is cut in the middle.
    let url = reqwest::Url::parse(&a.url("/")).unwrap();
    let address = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let head = format!(
        "POST /v1/rooms/{room}/files?name=a.png HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-length: 5000\r\n\r\n",
        a.node.api_token()
    );
    let part = bytes[..4000].to_vec();
    let answered = tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(&part).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // Whether anything is answered to such a request is up to the HTTP library.
        let _ = connection.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let answered = answered.await.unwrap();
    assert!(!answered.starts_with("HTTP/1.1 2"), "{answered}");
    let page: FilePage = a.get(&format!("/v1/rooms/{room}/files")).await;
    assert_eq!(page.bytes, 0, "nothing of it counts");

    let (status, answer) = send(&a, &room, in_chunks(&bytes), Some(5000)).await;
    assert!(status.is_success(), "{answer}");
    let sent: MessageFile = serde_json::from_value(answer).unwrap();
    assert_eq!(sent.file, FileId::of_block(&bytes).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_no_file_has_ends_no_fetch() {
    let seeds = [50, 51];
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let id: RoomId = room.parse().unwrap();
    for seed in seeds {
        let join = newcomer(&ServerKey::from_seed(&[seed; 32]), id);
        assert_eq!(a.node.client().ingest(id, vec![WireEvent::of(&join)]).await.unwrap(), 1);
    }
    let b = TestNode::start_with("b.example.org", &[a.address().await], |builder| {
        builder.configure(|config| config.files.fetch_up_to_mib = 0)
    })
    .await;
    b.introduced(&a).await;
    b.join(&room, "bob").await;
    let bytes = content(3000, 4);
    let file = upload(&a, &room, &bytes).await;
    post(&a, &room, &file).await;
    converged(&[&a, &b], &room).await;
    a.node.shutdown().await;

    let mut running = Vec::new();
    for (seed, size) in seeds.into_iter().zip([0, u64::MAX]) {
        let mut liar = Attacker::connect_for(&b, seed, Some(&honest()), 2 * PATIENCE).await;
        liar.answer = Box::new(move |request: &[u8]| match Request::decode(request) {
            Ok(Request::File { .. }) => Some(Response::Slice { slice: size.to_le_bytes().to_vec() }.encode()),
            Ok(Request::Compare { .. }) => Some(Response::Differing { rooms: Vec::new() }.encode()),
            _ => Some(Response::Events { events: Vec::new(), have: HaveVector::new(), more: false }.encode()),
        });
        running.push(liar.run());
        let path = format!("/v1/peers/{}", ServerKey::from_seed(&[seed; 32]).origin());
        eventually("the liar is introduced", || async { b.raw("GET", &path, None).await.1["state"] == "introduced" })
            .await;
    }
    let url = format!("/v1/rooms/{room}/files/{}?wait=60", file.file);
    let (status, answer) = b.raw("GET", &url, None).await;
    // Neither that the file is empty nor that it is too large: nobody could send it.
    assert_eq!((status.as_u16(), answer["error"]["code"].as_str()), (503, Some("no_holder")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_has_every_file_although_a_holder_went_while_they_came() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let contents: Vec<Vec<u8>> =
        [(1, 5), (1024, 6), (MEBIBYTE + 1, 7), (5 * MEBIBYTE, 8)].map(|(len, seed)| content(len, seed)).into();
    let mut files = Vec::new();
    for bytes in &contents {
        let file = upload(&a, &room, bytes).await;
        post(&a, &room, &file).await;
        files.push(file);
    }
    let hub = [a.address().await, b.address().await];
    eventually("the second server has all", || async { count_here(&b, &room).await == files.len() }).await;
    let (c, d) = tokio::join!(TestNode::start("c.example.org", &hub), TestNode::start("d.example.org", &hub));
    for node in [&c, &d] {
        node.introduced(&a).await;
        node.introduced(&b).await;
        node.join(&room, "carol").await;
    }
    // Whatever has come by now: the author's server goes.
    a.node.shutdown().await;
    for node in [&b, &c, &d] {
        eventually("all have come", || async { count_here(node, &room).await == files.len() }).await;
        for (file, bytes) in files.iter().zip(&contents) {
            let url = node.url(&format!("/v1/rooms/{room}/files/{}", file.file));
            let response = node.client.get(url).bearer_auth(node.node.api_token()).send().await.unwrap();
            assert!(response.bytes().await.unwrap() == bytes.as_slice(), "{}", file.file);
        }
    }
}
