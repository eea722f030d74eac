//! Two Rocket.Chat servers with a node beside each, and a room on both.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rocketmesh_node::api::{FederatedRoom, FederatedRooms};
use rocketmesh_standin::{Account, HeldMessage, HeldRoom, Options, Person, Recorded, Standin, Version, Wish};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, TestNode, eventually};

pub const ROOMS: &str = "/v1/rocketchat/rooms";
pub const GLANCE: Duration = Duration::from_millis(20);

/// A Rocket.Chat server and the node beside it.
pub struct Side {
    pub standin: Standin,
    pub service: Account,
    pub name: &'static str,
    pub directory: TempDir,
    node: Option<TestNode>,
}

impl Side {
    pub async fn start(name: &'static str) -> Self {
        Self::start_like(name, Version::default()).await
    }

    /// With a server that is like this one.
    pub async fn start_like(name: &'static str, version: Version) -> Self {
        let standin = Standin::start(Options { version, ..Options::default() }).await.unwrap();
        let service = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let mut side = Side { standin, service, name, directory: TempDir::new().unwrap(), node: None };
        side.begin().await;
        side.connect(&side.service.token).await;
        side
    }

    /// Connects the node to the server with a token of the service account.
    pub async fn connect(&self, token: &str) {
        let body = json!({"url": self.standin.url(), "token": token, "user_id": self.service.user_id});
        let (code, answer) = self.node().raw("PUT", "/v1/rocketchat", Some(body)).await;
        assert_eq!((code, answer["connected"].as_bool()), (StatusCode::OK, Some(true)), "{answer}");
        self.bridged().await;
    }

    pub async fn begin(&mut self) {
        self.node = Some(TestNode::start_in(self.directory.path(), self.name, &[]).await);
    }

    /// Ends the node, as a restart of its machine does.
    pub async fn end(&mut self) {
        self.node.take().unwrap().node.shutdown().await;
    }

    pub fn node(&self) -> &TestNode {
        self.node.as_ref().unwrap()
    }

    /// Waits until the bridge runs.
    pub async fn bridged(&self) {
        let begun = Instant::now();
        while self.node().raw("GET", ROOMS, None).await.0 != StatusCode::OK {
            assert!(begun.elapsed() < PATIENCE, "the bridge does not begin");
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub async fn federate(&self, body: Value) -> FederatedRoom {
        let (code, answer) = self.node().raw("POST", ROOMS, Some(body)).await;
        assert_eq!(code, StatusCode::OK, "{answer}");
        serde_json::from_value(answer).unwrap()
    }

    pub async fn rooms(&self) -> Vec<FederatedRoom> {
        self.node().get::<FederatedRooms>(ROOMS).await.rooms
    }

    /// What was given up, as the status tells it.
    pub async fn dead_letters(&self) -> u64 {
        let (_, status) = self.node().raw("GET", "/v1/rocketchat", None).await;
        status["queue"]["undeliverable"].as_u64().unwrap_or_default()
    }

    /// Somebody with these roles in the workspace.
    pub fn person(&self, name: &str, roles: &[&str]) -> Person {
        self.standin.person(&self.standin.add_account(name, roles).unwrap())
    }

    /// The service account, acting by itself as a program of the administrator's would.
    pub fn machine(&self) -> Person {
        self.standin.person(&self.service)
    }

    /// The id of an account.
    pub async fn account(&self, username: &str) -> String {
        let found: Value = self.machine().get("users.info", &[("username", username)]).await.unwrap();
        found["user"]["_id"].as_str().unwrap().to_owned()
    }

    pub fn held(&self, rid: &str) -> HeldRoom {
        self.standin.dump().into_iter().find(|room| room.id == rid).unwrap()
    }

    /// What people said, without what the room tells of itself.
    pub fn said(&self, rid: &str) -> Vec<HeldMessage> {
        self.held(rid).messages.into_iter().filter(|message| message.kind.is_none()).collect()
    }

    /// Waits until a room holds what fulfils a condition.
    pub async fn holds(&self, rid: &str, what: &str, condition: impl Fn(&HeldRoom) -> bool) -> HeldRoom {
        let begun = Instant::now();
        loop {
            let room = self.held(rid);
            if condition(&room) {
                return room;
            }
            assert!(begun.elapsed() < PATIENCE, "{}: {what} does not come: {room:#?}", self.name);
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until something was said in a room, with or without the time at which it was, and gives the message's id.
    pub async fn hears(&self, rid: &str, text: &str) -> String {
        let room = self.holds(rid, text, |room| room.messages.iter().any(|message| says(message, text))).await;
        room.messages.into_iter().find(|message| says(message, text)).unwrap().id
    }

    /// How often something was said, with or without the time at which it was.
    pub fn times(&self, rid: &str, text: &str) -> usize {
        self.said(rid).iter().filter(|message| says(message, text)).count()
    }

    /// Waits until a room that fulfils a condition is there.
    pub async fn finds(&self, what: &str, condition: impl Fn(&HeldRoom) -> bool) -> HeldRoom {
        let begun = Instant::now();
        loop {
            let rooms = self.standin.dump();
            if let Some(room) = rooms.iter().find(|room| condition(room)) {
                return room.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{}: {what} does not come: {rooms:#?}", self.name);
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until the service account tells somebody what holds a text, in their direct room.
    pub async fn told(&self, person: &Person, text: &str) {
        let both = |room: &HeldRoom| {
            room.kind == "d"
                && room.members.len() == 2
                && room.members.contains_key("bridge")
                && room.members.contains_key(&person.username)
        };
        let says = |room: &HeldRoom| {
            room.messages.iter().any(|message| message.who == "bridge" && message.text.contains(text))
        };
        self.finds(text, |room| both(room) && says(room)).await;
    }

    /// Waits until somebody is in a room with exactly these roles.
    pub async fn has_roles(&self, rid: &str, username: &str, roles: &[&str]) {
        let what = format!("{username} with {roles:?}");
        self.holds(rid, &what, |room| room.members.get(username).is_some_and(|has| has == roles)).await;
    }

    /// Waits until somebody is in a room, or out of it.
    pub async fn has_member(&self, rid: &str, username: &str, inside: bool) {
        let what = format!("{username} {}", if inside { "in the room" } else { "out of it" });
        self.holds(rid, &what, |room| room.members.contains_key(username) == inside).await;
    }

    /// How often a call was made about a room.
    pub fn calls(&self, call: &str, rid: &str) -> usize {
        let is_it = |asked: &Recorded| {
            asked.path.ends_with(call) && (asked.query["roomId"] == rid || asked.body["roomId"] == rid)
        };
        self.standin.requests().iter().filter(|asked| is_it(asked)).count()
    }

    /// How often the node asked for rooms that changed.
    pub fn asked_for_directs(&self) -> usize {
        self.standin.requests().iter().filter(|asked| asked.path.ends_with("rooms.get")).count()
    }

    /// Has the node compare the whole room, and waits until it has.
    pub async fn compared(&self, rid: &str) {
        // When it is compared a second time, what was found the first time is on disk.
        for _ in 0..2 {
            let (begun, before) = (Instant::now(), self.calls(".members", rid));
            self.standin.wish(Wish::DropWebsockets).unwrap();
            while self.calls(".members", rid) == before {
                assert!(begun.elapsed() < PATIENCE, "the room is not compared");
                tokio::time::sleep(GLANCE).await;
            }
        }
    }
}

/// Whether a message says this. What comes late says first when it was said.
fn says(message: &HeldMessage, text: &str) -> bool {
    message.text == text || message.text.strip_suffix(text).is_some_and(|before| before.ends_with(" UTC_\n"))
}

/// Keeps nodes apart, or lets them together again.
pub async fn cut(pairs: &[(&TestNode, &TestNode)], apart: bool) {
    for (one, other) in pairs.iter().flat_map(|(one, other)| [(one, other), (other, one)]) {
        let (method, body) = if apart { ("PUT", Some(json!({}))) } else { ("DELETE", None) };
        let (status, answer) = one.raw(method, &format!("/v1/peers/{}/ban", other.id()), body).await;
        assert!(status.is_success(), "{answer}");
    }
    for (one, other) in pairs.iter().filter(|_| apart) {
        let path = format!("/v1/peers/{}", other.id());
        eventually("the nodes are apart", || async {
            let (status, peer) = one.raw("GET", &path, None).await;
            !status.is_success() || peer["state"] != "introduced"
        })
        .await;
    }
}

/// Gives somebody a role in a room, or takes it.
pub async fn set_role(by: &Person, rid: &str, user: &str, call: &str) {
    let _: Value = by.post(call, json!({"roomId": rid, "userId": user})).await.unwrap();
}

/// Alice's channel on one server, which Bob has entered on the other.
pub struct Lunch {
    pub a: Side,
    pub b: Side,
    pub alice: Person,
    pub bob: Person,
    /// The channel on each.
    pub at_a: String,
    pub at_b: String,
    /// The room.
    pub room: String,
}

impl Lunch {
    pub async fn open() -> Self {
        // Alice is an administrator: only those open what was archived.
        Self::open_like(Version::default(), &["user", "admin"]).await
    }

    /// With servers that are like this one, and Alice in these roles.
    pub async fn open_like(version: Version, roles: &[&str]) -> Self {
        let (a, b) = tokio::join!(Side::start_like("a.example", version), Side::start_like("b.example", version));
        // Both administrators name the other's server, so that direct rooms are let in.
        a.node().connect(b.node()).await;
        b.node().connect(a.node()).await;
        let (alice, bob) = (a.person("alice", roles), b.person("bob", &["user"]));
        let at_a = alice.create_channel("lunch", &["bridge"]).await.unwrap();
        let opened = a.federate(json!({"channel": "lunch"})).await;
        let entered = b.federate(json!({"room": opened.room, "user": "bob"})).await;
        let lunch = Lunch { a, b, alice, bob, at_a, at_b: entered.rid, room: opened.room };
        lunch.a.has_member(&lunch.at_a, "bob.b.example", true).await;
        lunch.b.has_member(&lunch.at_b, "alice.a.example", true).await;
        lunch
    }

    /// Bob's account on Alice's server.
    pub async fn bob_at_a(&self) -> String {
        self.a.account("bob.b.example").await
    }

    /// Alice's account on Bob's server.
    pub async fn alice_at_b(&self) -> String {
        self.b.account("alice.a.example").await
    }

    /// Both sides have heard of everything that was done before.
    pub async fn settled(&self, word: &str) {
        let (of_a, of_b) = (format!("{word} at a"), format!("{word} at b"));
        self.alice.say(&self.at_a, &of_a).await.unwrap();
        self.b.hears(&self.at_b, &of_a).await;
        self.bob.say(&self.at_b, &of_b).await.unwrap();
        self.a.hears(&self.at_a, &of_b).await;
    }

    /// Keeps the two nodes apart, or lets them together again.
    pub async fn apart(&self, apart: bool) {
        cut(&[(self.a.node(), self.b.node())], apart).await;
        if !apart {
            self.a.node().connect(self.b.node()).await;
        }
    }

    /// Nothing was given up on either side.
    pub async fn nothing_lost(&self) {
        assert_eq!((self.a.dead_letters().await, self.b.dead_letters().await), (0, 0), "dead letters");
    }

    pub async fn close(mut self) {
        self.a.end().await;
        self.b.end().await;
    }
}
