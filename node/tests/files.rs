//! Files come to every server of a room, from whoever has them, are what their ids say, and go when they are taken back.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RANGE};
use rocketmesh_node::NodeBuilder;
use rocketmesh_node::api::types::{ErrorBody, FilePage, MessageFile, PeerView, Posted, RoomFile};
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Content, FileRef};
use rocketmesh_protocol::file::{FileRange, open_slice};
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use rocketmesh_storage::{Batch, EventStore, MemoryDisk, Participation};
use serde_json::{Value, json};
use support::attacker::{Answer, Attacker, honest, newcomer, own_room};
use support::{PATIENCE, TestNode, converged, eventually};

const MEBIBYTE: usize = 1024 * 1024;

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 251) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

async fn send(node: &TestNode, room: &str, query: &str, bytes: Vec<u8>) -> (StatusCode, Value) {
    let url = node.url(&format!("/v1/rooms/{room}/files?{query}"));
    let response = node.client.post(url).bearer_auth(node.node.api_token()).body(bytes).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn upload(node: &TestNode, room: &str, name: &str, bytes: &[u8]) -> MessageFile {
    let (status, answer) = send(node, room, &format!("name={name}&type=image/png"), bytes.to_vec()).await;
    assert!(status.is_success(), "{answer}");
    serde_json::from_value(answer).unwrap()
}

/// The status and the code of an upload that is refused.
async fn refused_upload(node: &TestNode, room: &str, query: &str, bytes: Vec<u8>) -> (u16, String) {
    let (status, answer) = send(node, room, query, bytes).await;
    let ErrorBody { error } = serde_json::from_value(answer).unwrap();
    assert!(error.message.len() > 10, "{error:?}");
    (status.as_u16(), error.code)
}

async fn post(node: &TestNode, room: &str, user: &str, files: &[&MessageFile]) -> String {
    let event = json!({"user": user, "text": "look", "files": files});
    let posted: Posted = node.post(&format!("/v1/rooms/{room}/events"), event).await;
    posted.event
}

async fn redact(node: &TestNode, room: &str, user: &str, event: &str) {
    let event = json!({"user": user, "kind": "redact", "target": event});
    let _: Posted = node.post(&format!("/v1/rooms/{room}/events"), event).await;
}

async fn get(
    node: &TestNode,
    room: &str,
    file: &str,
    wait: u64,
    range: Option<&str>,
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let url = node.url(&format!("/v1/rooms/{room}/files/{file}?wait={wait}"));
    let mut request = node.client.get(url).bearer_auth(node.node.api_token());
    if let Some(range) = range {
        request = request.header(RANGE, range);
    }
    let response = request.send().await.unwrap();
    (response.status(), response.headers().clone(), response.bytes().await.unwrap().to_vec())
}

/// The content of a file, from this node.
async fn download(node: &TestNode, room: &str, file: &str) -> Vec<u8> {
    let (status, _, bytes) = get(node, room, file, 60, None).await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&bytes));
    bytes
}

/// What the node says of a file of a room.
async fn file(node: &TestNode, room: &str, file: &str) -> Option<RoomFile> {
    let (status, page) = node.raw("GET", &format!("/v1/rooms/{room}/files"), None).await;
    if !status.is_success() {
        return None;
    }
    let page: FilePage = serde_json::from_value(page).unwrap();
    page.files.into_iter().find(|found| found.view.said.file == file)
}

async fn comes(node: &TestNode, room: &str, id: &str) {
    eventually("the file comes", || async { file(node, room, id).await.is_some_and(|file| file.view.state == "here") })
        .await;
}

/// How many ranges of files the node has sent to others.
async fn slices_served(node: &TestNode) -> u64 {
    let text = node.client.get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("rocketmesh_file_slices_served_total "));
    line.unwrap_or_else(|| panic!("{text}")).trim().parse().unwrap()
}

/// Fetches nothing that nobody asks for.
fn unasked(builder: NodeBuilder) -> NodeBuilder {
    builder.configure(|config| config.files.fetch_up_to_mib = 0)
}

/// Whether anything of the file lies in the node's directory.
fn lies_there(node: &TestNode, id: &str) -> bool {
    let folders = std::fs::read_dir(node.directory().join("store/files")).into_iter().flatten();
    let mut names = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    names.any(|name| name.unwrap().file_name().to_string_lossy().contains(id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_to_every_server_of_the_room_and_stays_when_its_authors_server_is_gone() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let bytes = content(2 * MEBIBYTE + 4321, 1);
    let sent = upload(&a, &room, "r%C3%A9sum%C3%A9.png", &bytes).await;
    assert_eq!(sent.file, FileId::of_block(&bytes).to_string());
    assert_eq!(
        (sent.size, sent.name.as_str(), sent.media_type.as_str()),
        (bytes.len() as u64, "résumé.png", "image/png")
    );
    assert_eq!(get(&a, &room, &sent.file, 0, None).await.0, StatusCode::NOT_FOUND, "nothing names it yet");
    let event = post(&a, &room, "alice", &[&sent]).await;

    comes(&b, &room, &sent.file).await;
    let listed = file(&b, &room, &sent.file).await.unwrap();
    assert_eq!((&listed.view.said, &listed.event, listed.view.here), (&sent, &event, sent.size));
    assert_eq!(listed.sender.as_deref(), Some("@alice:a.example.org"));
    let shown: Value = b.get(&format!("/v1/events/{event}")).await;
    assert_eq!((&shown["files"][0]["file"], &shown["files"][0]["state"]), (&json!(sent.file), &json!("here")));

    a.node.shutdown().await;
    let (status, headers, got) = get(&b, &room, &sent.file, 0, None).await;
    assert!(status == StatusCode::OK && got == bytes);
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("content-type"), header("x-content-type-options")),
        ("application/octet-stream".to_owned(), "nosniff".to_owned())
    );
    assert!(header("content-disposition").starts_with("attachment;"), "{headers:?}");
    assert_eq!((header("content-length"), header("etag")), (sent.size.to_string(), format!("\"{}\"", sent.file)));
    let (status, headers, part) = get(&b, &room, &sent.file, 0, Some("bytes=1048570-1048579")).await;
    assert_eq!((status, part.as_slice()), (StatusCode::PARTIAL_CONTENT, &bytes[1_048_570..1_048_580]));
    assert_eq!(headers["content-range"], format!("bytes 1048570-1048579/{}", bytes.len()));
    assert_eq!(get(&b, &room, &sent.file, 0, Some("bytes=9999999-")).await.0, StatusCode::RANGE_NOT_SATISFIABLE);

    let c = TestNode::start("c.example.org", &[b.address().await]).await;
    c.introduced(&b).await;
    c.join(&room, "carol").await;
    comes(&c, &room, &sent.file).await;
    assert_eq!(download(&c, &room, &sent.file).await, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redaction_takes_the_files_that_nothing_else_names_on_every_server() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let [shared, own] = [1, 2].map(|seed| content(5000, seed));
    let shared = upload(&a, &room, "shared.png", &shared).await;
    let own = upload(&a, &room, "own.png", &own).await;
    let both = post(&a, &room, "alice", &[&shared, &own]).await;
    let again = post(&a, &room, "alice", &[&shared]).await;
    for id in [&shared.file, &own.file] {
        comes(&b, &room, id).await;
    }

    redact(&a, &room, "alice", &both).await;
    for node in [&a, &b] {
        eventually("the file goes", || async {
            file(node, &room, &own.file).await.is_none() && !lies_there(node, &own.file)
        })
        .await;
        assert_eq!(get(node, &room, &own.file, 0, None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(download(node, &room, &shared.file).await.len(), 5000);
    }
    redact(&a, &room, "alice", &again).await;
    for node in [&a, &b] {
        eventually("the last message took it", || async { !lies_there(node, &shared.file) }).await;
        let page: FilePage = node.get(&format!("/v1/rooms/{room}/files")).await;
        assert!(page.files.is_empty() && page.bytes == 0, "{page:?}");
    }
    // Whoever comes later gets none of it.
    let c = TestNode::start("c.example.org", &[a.address().await]).await;
    c.introduced(&a).await;
    c.join(&room, "carol").await;
    converged(&[&a, &b, &c], &room).await;
    assert!(!lies_there(&c, &own.file) && file(&c, &room, &own.file).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_holders_send_ranges_of_one_file_at_once() {
    let a = TestNode::start("a.example.org", &[]).await;
    let hub = [a.address().await];
    let b = TestNode::start("b.example.org", &hub).await;
    let c = TestNode::start_with("c.example.org", &hub, unasked).await;
    b.introduced(&a).await;
    c.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    c.join(&room, "carol").await;
    c.connect(&b).await;
    let bytes = content(10 * MEBIBYTE, 3);
    let sent = upload(&a, &room, "film.png", &bytes).await;
    post(&a, &room, "alice", &[&sent]).await;
    comes(&b, &room, &sent.file).await;
    converged(&[&a, &b, &c], &room).await;
    assert_eq!(file(&c, &room, &sent.file).await.unwrap().view.state, "missing", "nobody has asked for it");
    let before = slices_served(&a).await;

    assert!(download(&c, &room, &sent.file).await == bytes);
    let (of_a, of_b) = (slices_served(&a).await - before, slices_served(&b).await);
    assert!(of_a > 0 && of_b > 0 && of_a + of_b >= 10, "a sent {of_a}, b sent {of_b}");
}

/// The keys of an honest server and of some liars with lower ones.
fn honest_and_liars(count: usize) -> (ServerKey, Vec<u8>) {
    let mut seeds: Vec<u8> = (1..=40).collect();
    seeds.sort_by_key(|seed| ServerKey::from_seed(&[*seed; 32]).origin());
    (ServerKey::from_seed(&[seeds[39]; 32]), seeds[..count].to_vec())
}

/// A node with a room in which these have a user too.
async fn with_members(key: ServerKey, seeds: &[u8]) -> (TestNode, String) {
    let a = TestNode::start_with("a.example.org", &[], |builder| builder.key(key)).await;
    let room = a.create("alice", "general").await.summary.id;
    let id: RoomId = room.parse().unwrap();
    for seed in seeds {
        let join = newcomer(&ServerKey::from_seed(&[*seed; 32]), id);
        assert_eq!(a.node.client().ingest(id, vec![WireEvent::of(&join)]).await.unwrap(), 1);
    }
    (a, room)
}

/// Answers requests for files in this way, and holds nothing else.
fn answering(mut files: impl FnMut(FileId, FileRange) -> Option<Vec<u8>> + Send + 'static) -> Answer {
    Box::new(move |request: &[u8]| match Request::decode(request) {
        Ok(Request::File { file, range, .. }) => files(file, range),
        Ok(Request::Compare { .. }) => Some(Response::Compared { rooms: BTreeMap::new() }.encode()),
        _ => Some(Response::Events { events: Vec::new(), have: HaveVector::new(), more: false }.encode()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn liars_among_the_holders_cost_their_ranges_and_are_not_asked_again() {
    let (key, seeds) = honest_and_liars(4);
    let (a, room) = with_members(key, &seeds).await;
    let bytes = content(3 * MEBIBYTE + 1, 4);
    let sent = upload(&a, &room, "a.png", &bytes).await;
    post(&a, &room, "alice", &[&sent]).await;
    let b = TestNode::start_with("b.example.org", &[a.address().await], unasked).await;
    b.introduced(&a).await;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;

    let size = sent.size;
    let asked: Arc<[AtomicUsize; 4]> = Arc::default();
    let mut running = Vec::new();
    for (at, seed) in seeds.iter().enumerate() {
        let mut liar = Attacker::connect_for(&b, *seed, Some(&honest()), 2 * PATIENCE).await;
        let count = Arc::clone(&asked);
        liar.answer = answering(move |_, range| {
            count[at].fetch_add(1, Ordering::Relaxed);
            match at {
                // Bytes that are not of the file.
                0 => Some(
                    Response::Slice { slice: [size.to_le_bytes().to_vec(), vec![7; range.size() as usize]].concat() }
                        .encode(),
                ),
                // Something that was not asked for.
                1 => Some(Response::Differing { rooms: Vec::new() }.encode()),
                // A file of another size.
                2 => Some(Response::Slice { slice: 77_u64.to_le_bytes().to_vec() }.encode()),
                // Nothing, ever.
                _ => None,
            }
        });
        running.push(liar.run());
    }
    let liar = |at: usize| ServerKey::from_seed(&[seeds[at]; 32]).origin();
    for at in 0..4 {
        let path = format!("/v1/peers/{}", liar(at));
        eventually("the liar is introduced", || async { b.raw("GET", &path, None).await.1["state"] == "introduced" })
            .await;
    }
    assert!(download(&b, &room, &sent.file).await == bytes);
    // Who of equals is asked first is drawn anew for each fetch.
    let counts: Vec<usize> = asked.iter().map(|asked| asked.load(Ordering::Relaxed)).collect();
    assert!(counts.iter().all(|count| *count <= 1) && counts.iter().sum::<usize>() > 0, "{counts:?}");
    for (at, count) in counts.iter().enumerate().take(3) {
        let seen: PeerView = b.get(&format!("/v1/peers/{}", liar(at))).await;
        assert!(seen.received.events_refused >= *count as u64, "liar {at}: {seen:?}");
    }
}

/// Holds a file, as a server does.
fn holding(bytes: &[u8]) -> EventStore {
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    let (outline, create) = own_room(&ServerKey::from_seed(&[99; 32]));
    store.put(&Batch::of(&outline, Participation::Joined)).unwrap();
    let mut upload = store.receive_file(&create.room(), None).unwrap();
    upload.write(bytes).unwrap();
    upload.finish(0).unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_was_cut_goes_on_after_a_restart_from_whoever_is_there() {
    let seed = 50;
    let (a, room) = with_members(ServerKey::from_seed(&[51; 32]), &[seed]).await;
    let bytes = content(12 * MEBIBYTE, 5);
    let sent = upload(&a, &room, "long.png", &bytes).await;
    post(&a, &room, "alice", &[&sent]).await;
    let b = TestNode::start_with("b.example.org", &[], unasked).await;
    b.connect(&a).await;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    let a = a.stop().await;

    // Nine of twelve ranges come, and then nothing.
    let store = holding(&bytes);
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    let mut holder = Attacker::connect_for(&b, seed, Some(&honest()), 2 * PATIENCE).await;
    holder.answer = answering(move |file, range| {
        let slice = store.file_slice(&file, range).unwrap().unwrap();
        (count.fetch_add(1, Ordering::Relaxed) < 9).then(|| Response::Slice { slice }.encode())
    });
    let running = holder.run();
    let introduced = format!("/v1/peers/{}", ServerKey::from_seed(&[seed; 32]).origin());
    eventually("the holder is introduced", || async {
        b.raw("GET", &introduced, None).await.1["state"] == "introduced"
    })
    .await;
    let (status, _, answer) = get(&b, &room, &sent.file, 1, None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let ErrorBody { error } = serde_json::from_slice(&answer).unwrap();
    assert_eq!(error.code, "file_on_its_way", "{error:?}");
    eventually("most of it is here", || async {
        let file = file(&b, &room, &sent.file).await.unwrap();
        file.view.state == "coming" && file.view.here >= 8 * MEBIBYTE as u64
    })
    .await;
    let b = b.stop().await;
    drop(running);

    let b = TestNode::start_in_with(b.path(), "b.example.org", &[], unasked).await;
    // Eight are written down at once; the ninth is if the fetch came to its end before the node did.
    let kept = file(&b, &room, &sent.file).await.unwrap().view.here / MEBIBYTE as u64;
    assert!(kept == 8 || kept == 9, "{kept}");
    let (status, _, answer) = get(&b, &room, &sent.file, 0, None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{}", String::from_utf8_lossy(&answer));
    let a =
        TestNode::start_in_with(a.path(), "a.example.org", &[], |builder| builder.key(ServerKey::from_seed(&[51; 32])))
            .await;
    b.connect(&a).await;
    assert!(download(&b, &room, &sent.file).await == bytes);
    assert_eq!(slices_served(&a).await, 12 - kept, "what had come does not come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_lies_about_a_size_keeps_nobody_from_the_file() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start("b.example.org", &[a.address().await]).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let bytes = content(MEBIBYTE + 9, 6);
    let sent = upload(&a, &room, "a.png", &bytes).await;
    let file_id: FileId = sent.file.parse().unwrap();
    for size in [5 * MEBIBYTE as u64, 17] {
        let lie = FileRef {
            file: file_id,
            size,
            name: "a.png".to_owned(),
            media_type: "image/png".to_owned(),
            dimensions: None,
        };
        let fields = FileRef::into_fields(&[lie], Map::new().with("text", "look")).unwrap();
        let client = a.node.client();
        let content = Content::Message { thread: None };
        client.post(room.parse().unwrap(), "alice".parse().unwrap(), &content, Some(fields)).await.unwrap();
    }
    comes(&b, &room, &sent.file).await;
    assert_eq!(file(&b, &room, &sent.file).await.unwrap().view.here, sent.size);
    assert!(download(&b, &room, &sent.file).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_only_where_the_room_that_is_asked_for_names_it() {
    let a = TestNode::start("a.example.org", &[]).await;
    let room = a.create("alice", "general").await.summary.id;
    let other = a.create("alice", "other").await.summary.id;
    let bytes = content(3000, 7);
    let [named, unnamed] = [bytes.clone(), content(3000, 8)];
    let named = upload(&a, &room, "a.png", &named).await;
    let unnamed = upload(&a, &room, "b.png", &unnamed).await;
    post(&a, &room, "alice", &[&named]).await;
    let mut peer = Attacker::connect(&a, 66, Some(&honest())).await;
    let range = FileRange::numbered(0, 3000).unwrap();
    let mut ask = async |room: &str, file: &MessageFile| {
        let request = Request::File { room: room.parse().unwrap(), file: file.file.parse().unwrap(), range };
        peer.ask(request.encode()).await.unwrap()
    };
    let Response::Slice { slice } = ask(&room, &named).await else { panic!("it is named there") };
    assert_eq!(open_slice(&named.file.parse().unwrap(), 3000, range, &slice).unwrap(), bytes);
    assert_eq!(ask(&other, &named).await, Response::Refused(Refused::NoFile));
    assert_eq!(ask(&room, &unnamed).await, Response::Refused(Refused::NoFile));
    let nowhere = RoomId::from_hash([9; 32]).to_string();
    assert_eq!(ask(&nowhere, &named).await, Response::Refused(Refused::UnknownRoom));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_unsound_is_refused_with_a_word_for_it() {
    let small = |builder: NodeBuilder| {
        builder.configure(|config| {
            config.files.max_file_mib = 1;
            config.files.room_quota_mib = 2;
            config.files.server_quota_mib = 3;
        })
    };
    let a = TestNode::start_with("a.example.org", &[], small).await;
    let room = a.create("alice", "general").await.summary.id;
    let other = a.create("alice", "other").await.summary.id;
    let refused = |status: u16, code: &str| (status, code.to_owned());
    let large = content(MEBIBYTE + 1, 1);
    assert_eq!(refused_upload(&a, &room, "name=a.png", large).await, refused(413, "file_too_large"));
    assert_eq!(refused_upload(&a, &room, "name=a.png", Vec::new()).await, refused(400, "file_empty"));
    assert_eq!(refused_upload(&a, &room, "name=..%2Fa.png", b"a".to_vec()).await, refused(400, "malformed_file"));
    assert_eq!(refused_upload(&a, &room, "name=a&type=text", b"a".to_vec()).await, refused(400, "malformed_file"));
    assert_eq!(refused_upload(&a, &room, "", b"a".to_vec()).await, refused(400, "malformed_query"));
    let nowhere = RoomId::from_hash([9; 32]).to_string();
    assert_eq!(refused_upload(&a, &nowhere, "name=a.png", b"a".to_vec()).await, refused(404, "unknown_room"));
    let first = upload(&a, &room, "1.png", &content(MEBIBYTE, 1)).await;
    upload(&a, &room, "2.png", &content(MEBIBYTE, 2)).await;
    let third = content(MEBIBYTE, 3);
    assert_eq!(refused_upload(&a, &room, "name=3.png", third.clone()).await, refused(507, "room_quota"));
    upload(&a, &other, "3.png", &third).await;
    assert_eq!(refused_upload(&a, &other, "name=4.png", b"a".to_vec()).await, refused(507, "server_quota"));

    let events = format!("/v1/rooms/{room}/events");
    let with = |files: Value| Some(json!({"user": "alice", "files": files}));
    let absent = MessageFile { file: FileId::of_block(b"absent").to_string(), ..first.clone() };
    for (files, status, code) in [
        (json!([absent]), 404, "unknown_file"),
        (json!([{"file": "nonsense", "size": 1, "name": "a", "type": "a/b"}]), 400, "malformed_id"),
        (json!([MessageFile { size: 7, ..first.clone() }]), 400, "wrong_size"),
        (json!([MessageFile { name: "a/b".to_owned(), ..first.clone() }]), 400, "malformed_file"),
        (json!([MessageFile { width: Some(7), ..first.clone() }]), 400, "malformed_file"),
        (json!([first, first]), 400, "malformed_file"),
    ] {
        assert_eq!(a.refused("POST", &events, with(files.clone())).await, refused(status, code), "{files}");
    }
    let edit = json!({"user": "alice", "kind": "edit", "text": "a", "target": room, "files": [first]});
    assert_eq!(a.refused("POST", &events, Some(edit)).await, refused(400, "unexpected_field"));
    // A message with files needs no text.
    let posted: Posted = a.post(&events, json!({"user": "alice", "files": [first]})).await;
    let shown: Value = a.get(&format!("/v1/events/{}", posted.event)).await;
    assert_eq!((&shown["body"]["text"], &shown["files"][0]["name"]), (&json!(""), &json!("1.png")));

    let path = format!("/v1/rooms/{room}/files");
    assert_eq!(a.refused("GET", &format!("{path}?limit=0"), None).await, refused(400, "malformed_query"));
    assert_eq!(a.refused("GET", &format!("{path}/nonsense"), None).await, refused(400, "malformed_id"));
    assert_eq!(a.refused("GET", &format!("{path}/{}", absent.file), None).await, refused(404, "unknown_file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_has_is_asked_for_again_when_somebody_comes() {
    let a = TestNode::start("a.example.org", &[]).await;
    let b = TestNode::start_with("b.example.org", &[a.address().await], unasked).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    let bytes = content(4000, 9);
    let sent = upload(&a, &room, "a.png", &bytes).await;
    post(&a, &room, "alice", &[&sent]).await;
    converged(&[&a, &b], &room).await;
    let (left_a, left_b) = (a.stop().await, b.stop().await);

    let b = TestNode::start_in(left_b.path(), "b.example.org", &[]).await;
    let wait = Duration::from_secs(10);
    let (status, _, answer) = tokio::time::timeout(wait, get(&b, &room, &sent.file, 30, None)).await.unwrap();
    let ErrorBody { error } = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, error.code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "no_holder"), "{error:?}");
    let a = TestNode::start_in(left_a.path(), "a.example.org", &[]).await;
    b.connect(&a).await;
    comes(&b, &room, &sent.file).await;
    assert_eq!(download(&b, &room, &sent.file).await, bytes);
}
