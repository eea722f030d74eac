//! Two Rocket.Chat servers, a node beside each: who types and who is there, what people are called and what they look like.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::future::Future;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reqwest::StatusCode;
use rocketmesh_node::api::types::{EventPage, NodeStatus};
use rocketmesh_node::api::{FederatedRoom, FederatedRooms};
use rocketmesh_standin::{Account, Options, Person, Standin};
use serde_json::{Value, json};
use support::{PATIENCE, TestNode, converged, eventually};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const ROOMS: &str = "/v1/rocketchat/rooms";
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\nnot much of a picture, but its first bytes say that it is one";

/// A Rocket.Chat server and the node beside it.
struct Side {
    standin: Standin,
    node: TestNode,
}

impl Side {
    async fn start(name: &str) -> Self {
        let standin = Standin::start(Options::default()).await.unwrap();
        let service = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let node = TestNode::start(name, &[]).await;
        let body = json!({"url": standin.url(), "token": service.token, "user_id": service.user_id});
        let (code, answer) = node.raw("PUT", "/v1/rocketchat", Some(body)).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
        eventually("the bridge begins", || async { node.raw("GET", ROOMS, None).await.0 == StatusCode::OK }).await;
        Side { standin, node }
    }

    async fn federate(&self, body: Value) -> FederatedRoom {
        self.node.post(ROOMS, body).await
    }

    fn person(&self, name: &str) -> (Account, Person) {
        let account = self.standin.add_account(name, &["user"]).unwrap();
        let person = self.standin.person(&account);
        (account, person)
    }
}

/// Alice's channel on one server, which Bob has entered on the other. Both have said something, so that each has an account on the
/// other's server.
struct Lunch {
    a: Side,
    b: Side,
    alice: (Account, Person),
    bob: (Account, Person),
    /// The channel on each, and in the mesh.
    at_a: String,
    at_b: String,
    room: String,
}

impl Lunch {
    async fn open() -> Self {
        let (a, b) = tokio::join!(Side::start("a.example"), Side::start("b.example"));
        a.node.connect(&b.node).await;
        let (alice, bob) = (a.person("alice"), b.person("bob"));
        let at_a = alice.1.create_channel("lunch", &["bridge"]).await.unwrap();
        let opened = a.federate(json!({"channel": "lunch"})).await;
        let entered = b.federate(json!({"room": opened.room, "user": "bob"})).await;
        assert_eq!(b.node.get::<FederatedRooms>(ROOMS).await.rooms.len(), 1);
        let lunch = Lunch { a, b, alice, bob, at_a, at_b: entered.rid, room: opened.room };
        lunch.alice.1.say(&lunch.at_a, "Hello").await.unwrap();
        heard(&lunch.bob.1, &lunch.at_b, "Hello").await;
        lunch.bob.1.say(&lunch.at_b, "Hi").await.unwrap();
        heard(&lunch.alice.1, &lunch.at_a, "Hi").await;
        lunch
    }

    /// What is kept of the room by both nodes, in digests and in positions of their logs.
    async fn kept(&self) -> [(String, u64); 2] {
        let mut kept = [(String::new(), 0), (String::new(), 0)];
        for (kept, side) in kept.iter_mut().zip([&self.a, &self.b]) {
            let digest = side.node.room(&self.room).await.summary.digest;
            *kept = (digest, side.node.get::<NodeStatus>("/v1/node").await.log_position);
        }
        kept
    }

    async fn close(self) {
        self.a.node.node.shutdown().await;
        self.b.node.node.shutdown().await;
    }
}

async fn heard(person: &Person, rid: &str, text: &str) {
    person.until(rid, text, PATIENCE, |seen| seen.iter().any(|one| one.msg == text)).await.unwrap();
}

/// Waits for what a question to a server answers.
async fn becomes<F: Future<Output = String>>(wanted: &str, mut ask: impl FnMut() -> F) {
    let wait = async {
        loop {
            let is = ask().await;
            if is == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in vain: {wanted}");
}

/// Something of an account, as somebody of the server is shown it.
async fn shown(person: &Person, username: &str, what: &str) -> String {
    let answer = person.get::<Value>("users.info", &[("username", username)]).await;
    answer.map_or_else(|_| String::new(), |answer| answer["user"][what].as_str().unwrap_or_default().to_owned())
}

/// A client's websocket: somebody looks at a room, and types in it.
struct Screen {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    username: String,
    rid: String,
    /// Whoever was seen to type, in order.
    typists: Vec<String>,
}

impl Screen {
    async fn open(side: &Side, account: &Account, rid: &str) -> Self {
        let url = side.standin.url().replacen("http", "ws", 1);
        let (socket, _) = connect_async(format!("{url}/websocket")).await.unwrap();
        let (username, rid) = (account.username.clone(), rid.to_owned());
        let mut screen = Screen { socket, username, rid: rid.clone(), typists: Vec::new() };
        screen.send(json!({"msg": "connect", "version": "1", "support": ["1"]})).await;
        screen.until("msg", "connected").await;
        let login = json!([{"resume": account.token}]);
        screen.send(json!({"msg": "method", "method": "login", "id": "1", "params": login})).await;
        screen.until("msg", "result").await;
        let params = json!([format!("{rid}/user-activity"), {"useCollection": false, "args": []}]);
        screen.send(json!({"msg": "sub", "id": "2", "name": "stream-notify-room", "params": params})).await;
        screen.until("msg", "ready").await;
        screen
    }

    async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            let frame = self.socket.next().await.unwrap().unwrap();
            if let Message::Text(text) = frame {
                return serde_json::from_str(text.as_str()).unwrap();
            }
        }
    }

    async fn until(&mut self, key: &str, value: &str) {
        while self.next().await[key] != value {}
    }

    async fn types(&mut self, on: bool) {
        let activities: &[&str] = if on { &["user-typing"] } else { &[] };
        let params = json!([format!("{}/user-activity", self.rid), self.username, activities, {}]);
        self.send(json!({"msg": "method", "method": "stream-notify-room", "id": "3", "params": params})).await;
    }

    /// Waits until somebody is seen to type, or no longer to.
    async fn sees(&mut self, username: &str, typing: bool) {
        loop {
            let frame = self.next().await;
            let args = &frame["fields"]["args"];
            let Some(who) = args[0].as_str() else { continue };
            self.typists.push(who.to_owned());
            if who == username && args[1].as_array().is_some_and(|doing| doing.is_empty() != typing) {
                return;
            }
        }
    }
}

#[tokio::test]
async fn typing_is_seen_on_the_other_server_and_nothing_of_it_is_kept() {
    let lunch = Lunch::open().await;
    converged(&[&lunch.a.node, &lunch.b.node], &lunch.room).await;
    let before = lunch.kept().await;
    let mut alices = Screen::open(&lunch.a, &lunch.alice.0, &lunch.at_a).await;
    let mut bobs = Screen::open(&lunch.b, &lunch.bob.0, &lunch.at_b).await;
    let mut bobs_other = Screen::open(&lunch.b, &lunch.bob.0, &lunch.at_b).await;

    // Clients say it again every few seconds; the first may come before everybody listens.
    let seen = async {
        loop {
            bobs.types(true).await;
            if tokio::time::timeout(Duration::from_secs(1), alices.sees("bob.b.example", true)).await.is_ok() {
                return;
            }
            bobs.types(false).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("nobody sees Bob type");
    bobs.types(false).await;
    tokio::time::timeout(PATIENCE, alices.sees("bob.b.example", false)).await.expect("Bob types for ever");

    // Whatever came back to where it was said would have come before this.
    bobs.types(true).await;
    bobs.types(false).await;
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, bobs_other.sees("bob", false)).await.unwrap();
    }
    assert!(bobs_other.typists.iter().all(|who| who == "bob"), "{:?}", bobs_other.typists);
    assert!(alices.typists.iter().all(|who| who == "bob.b.example"), "{:?}", alices.typists);
    // Alice is seen to type as well.
    let seen = async {
        loop {
            alices.types(true).await;
            if tokio::time::timeout(Duration::from_secs(1), bobs.sees("alice.a.example", true)).await.is_ok() {
                return;
            }
            alices.types(false).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("nobody sees Alice type");
    assert_eq!(lunch.kept().await, before);
    lunch.close().await;
}

#[tokio::test]
async fn how_far_somebody_elsewhere_has_read_is_marked_here_and_kept_nowhere_else() {
    let lunch = Lunch::open().await;
    converged(&[&lunch.a.node, &lunch.b.node], &lunch.room).await;
    let before = lunch.kept().await;
    let page: EventPage = lunch.b.node.get(&format!("/v1/rooms/{}/events?limit=1000", lunch.room)).await;
    let last = page.events.iter().rfind(|event| event.kind == "message").unwrap().id.clone();
    let marked = |side: &Side, rid: &str| {
        let requests = side.standin.requests();
        requests.iter().any(|asked| asked.path == "subscriptions.read" && asked.body["rid"] == rid)
    };
    // A mark may be lost, as any sign; whoever reads on says it again.
    eventually("the last message is marked as read", || async {
        let mark = json!({"user": "bob", "read": last});
        lunch.b.node.raw("POST", &format!("/v1/rooms/{}/ephemeral", lunch.room), Some(mark)).await;
        marked(&lunch.a, &lunch.at_a)
    })
    .await;
    assert!(!marked(&lunch.b, &lunch.at_b), "where Bob reads it is his own to say");
    assert_eq!(lunch.kept().await, before);
    lunch.close().await;
}

#[tokio::test]
async fn whether_somebody_is_there_is_seen_on_the_other_server() {
    let lunch = Lunch::open().await;
    converged(&[&lunch.a.node, &lunch.b.node], &lunch.room).await;
    let before = lunch.kept().await;
    let (alice, bob) = (&lunch.alice.1, &lunch.bob.1);
    for status in ["busy", "away", "offline"] {
        let _: Value = bob.post("users.setStatus", json!({"status": status})).await.unwrap();
        becomes(status, || shown(alice, "bob.b.example", "status")).await;
        assert_eq!(shown(bob, "bob", "status").await, status, "it stays as Bob said it");
    }
    let _: Value = alice.post("users.setStatus", json!({"status": "busy"})).await.unwrap();
    becomes("busy", || shown(bob, "alice.a.example", "status")).await;
    assert_eq!(lunch.kept().await, before);
    lunch.close().await;
}

#[tokio::test]
async fn names_pictures_and_new_usernames_go_along_once() {
    let lunch = Lunch::open().await;
    let (alice, bob) = (&lunch.alice.1, &lunch.bob.1);
    assert_eq!(shown(alice, "bob.b.example", "name").await, "bob (b.example)");
    let _: Value = bob.post("users.updateOwnBasicInfo", json!({"data": {"name": "Bob Builder"}})).await.unwrap();
    becomes("Bob Builder (b.example)", || shown(alice, "bob.b.example", "name")).await;

    bob.set_avatar("image/png", PICTURE).await.unwrap();
    eventually("the picture is shown", || async {
        alice.download("/avatar/bob.b.example").await.is_ok_and(|picture| picture == PICTURE)
    })
    .await;

    let _: Value = bob.post("users.updateOwnBasicInfo", json!({"data": {"username": "robert"}})).await.unwrap();
    becomes("Bob Builder (b.example)", || shown(alice, "robert.b.example", "name")).await;
    assert_eq!(shown(alice, "bob.b.example", "name").await, "", "nobody is called as Bob was");
    // Whoever renamed is the same user: what they say comes from the same account, and a mention reaches them.
    bob.say(&lunch.at_b, "It is me").await.unwrap();
    heard(alice, &lunch.at_a, "It is me").await;
    alice.say(&lunch.at_a, "Hi @robert.b.example").await.unwrap();
    heard(bob, &lunch.at_b, "Hi @robert").await;

    // It was said by Bob's server alone, once for each change.
    converged(&[&lunch.a.node, &lunch.b.node], &lunch.room).await;
    let page: EventPage = lunch.a.node.get(&format!("/v1/rooms/{}/events?limit=1000", lunch.room)).await;
    let profiles: Vec<_> = page.events.iter().filter(|event| event.kind == "profile").collect();
    assert_eq!(profiles.len(), 3, "{profiles:?}");
    assert!(profiles.iter().all(|event| event.sender.as_deref() == Some("@bob:b.example")), "{profiles:?}");
    lunch.close().await;
}
