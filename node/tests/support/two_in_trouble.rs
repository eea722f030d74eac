//! Two stand-ins for Rocket.Chat with a node beside each, and a channel that is one room on both.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rocketmesh_node::api::FederatedRoom;
use rocketmesh_node::rocketchat::status::{ConnectorProblem, ProblemKind, RocketChatQueue, RocketChatStatus};
use rocketmesh_standin::{Account, HeldMessage, HeldRoom, Options, Person, Standin, Version};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, TestNode};

pub const ROOMS: &str = "/v1/rocketchat/rooms";
pub const QUEUE: &str = "/v1/rocketchat/queue";
const GLANCE: Duration = Duration::from_millis(20);

/// A Rocket.Chat server and the node beside it.
pub struct Side {
    pub standin: Standin,
    pub service: Account,
    pub directory: TempDir,
    pub name: &'static str,
    node: Option<TestNode>,
}

impl Side {
    pub async fn start(name: &'static str, version: Version) -> Self {
        let standin = Standin::start(Options { version, ..Options::default() }).await.unwrap();
        let service = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let directory = TempDir::new().unwrap();
        let mut side = Side { standin, service, directory, name, node: None };
        side.begin().await;
        let token = side.service.token.clone();
        side.connect(&token).await;
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
        let path: &Path = self.directory.path();
        self.node = Some(TestNode::start_in(path, self.name, &[]).await);
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

    pub async fn status(&self) -> RocketChatStatus {
        self.node().get("/v1/rocketchat").await
    }

    pub async fn queue(&self) -> RocketChatQueue {
        self.node().get(QUEUE).await
    }

    /// Looks whether everything is as it must be, after which what waits is tried again.
    pub async fn check(&self) {
        let (code, report) = self.node().raw("POST", "/v1/rocketchat/check", None).await;
        assert_eq!((code, report["passed"].as_bool()), (StatusCode::OK, Some(true)), "{report}");
    }

    /// Waits until a room holds what fulfils a condition, and has what waits tried again all the time.
    pub async fn holds_when_asked(&self, rid: &str, what: &str, condition: impl Fn(&HeldRoom) -> bool) {
        let begun = Instant::now();
        while !condition(&self.held(rid)) {
            assert!(begun.elapsed() < PATIENCE, "{}: {what} does not come: {:?}", self.name, self.held(rid));
            self.check().await;
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub async fn problem(&self, kind: ProblemKind) -> Option<ConnectorProblem> {
        self.status().await.problems.into_iter().find(|problem| problem.code == kind)
    }

    /// Waits until something is wrong, and sees that it is named wherever people look, with what to do.
    pub async fn suffers(&self, kind: ProblemKind) -> ConnectorProblem {
        let begun = Instant::now();
        let problem = loop {
            if let Some(problem) = self.problem(kind).await {
                break problem;
            }
            assert!(begun.elapsed() < PATIENCE, "{}: {} is not told", self.name, kind.code());
            tokio::time::sleep(GLANCE).await;
        };
        assert!(problem.message.len() > 5 && problem.advice == kind.advice(), "{problem:?}");
        problem
    }

    /// The same, in the health and in the metrics.
    pub async fn is_told_everywhere(&self, kind: ProblemKind) {
        let (_, health) = self.node().raw("GET", "/v1/health", None).await;
        let code = format!("rocketchat_{}", kind.code());
        let told = health["problems"].as_array().unwrap().iter().find(|problem| problem["code"] == code.as_str());
        assert!(told.is_some(), "{code} is not in {health}");
        let line = format!("rocketmesh_rocketchat_problems{{kind=\"{}\"}} ", kind.code());
        let metrics = self.metrics().await;
        let number = metrics.lines().find_map(|told| told.strip_prefix(&line)).map(str::to_owned);
        assert!(number.is_some_and(|number| number != "0"), "{line} is not in {metrics}");
    }

    /// Waits until something is no longer wrong.
    pub async fn recovers(&self, kind: ProblemKind) {
        let begun = Instant::now();
        while let Some(problem) = self.problem(kind).await {
            assert!(begun.elapsed() < PATIENCE, "{}: it does not end: {problem:?}", self.name);
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub async fn metrics(&self) -> String {
        let url = self.node().url("/metrics");
        self.node().client.get(url).send().await.unwrap().text().await.unwrap()
    }

    pub fn held(&self, rid: &str) -> HeldRoom {
        self.standin.dump().into_iter().find(|room| room.id == rid).unwrap()
    }

    /// What people said, without what the room tells of itself.
    pub fn said(&self, rid: &str) -> Vec<HeldMessage> {
        self.held(rid).messages.into_iter().filter(|message| message.kind.is_none()).collect()
    }

    /// How often something was said, with or without the time at which it was.
    pub fn times(&self, rid: &str, text: &str) -> usize {
        self.said(rid).iter().filter(|message| message.text.ends_with(text)).count()
    }

    /// Waits until a room holds what fulfils a condition.
    pub async fn holds(&self, rid: &str, what: &str, condition: impl Fn(&HeldRoom) -> bool) -> HeldRoom {
        let begun = Instant::now();
        loop {
            let room = self.held(rid);
            if condition(&room) {
                return room;
            }
            assert!(begun.elapsed() < PATIENCE, "{}: {what} does not come: {room:?}", self.name);
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until something was said, with or without the time at which it was, and gives the message's id.
    pub async fn hears(&self, rid: &str, text: &str) -> String {
        let said = |room: &HeldRoom| room.messages.iter().any(|message| message.text.ends_with(text));
        let room = self.holds(rid, text, said).await;
        room.messages.into_iter().find(|message| message.text.ends_with(text)).unwrap().id
    }
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
}

impl Lunch {
    pub async fn open() -> Self {
        Self::open_like(Version::default()).await
    }

    pub async fn open_like(version: Version) -> Self {
        let (a, b) = tokio::join!(Side::start("a.example", version), Side::start("b.example", version));
        a.node().connect(b.node()).await;
        let (alice, bob) = (a.standin.add_person("alice").unwrap(), b.standin.add_person("bob").unwrap());
        let at_a = alice.create_channel("lunch", &["bridge"]).await.unwrap();
        let opened = a.federate(json!({"channel": "lunch"})).await;
        let entered = b.federate(json!({"room": opened.room, "user": "bob"})).await;
        let lunch = Lunch { a, b, alice, bob, at_a, at_b: entered.rid };
        // Both directions work from here on.
        lunch.bob.say(&lunch.at_b, "hello from b").await.unwrap();
        lunch.a.hears(&lunch.at_a, "hello from b").await;
        lunch.alice.say(&lunch.at_a, "hello from a").await.unwrap();
        lunch.b.hears(&lunch.at_b, "hello from a").await;
        lunch
    }

    /// Starts the first node again and waits until it is connected to the other.
    pub async fn begin_a(&mut self) {
        self.a.begin().await;
        self.a.node().connect(self.b.node()).await;
    }

    /// Each of these was said once on both sides, and nothing else was but what both said first and say now.
    pub async fn once(&self, texts: &[&str]) {
        self.once_beside(texts, 0).await;
    }

    /// The same, beside so many messages that have no text.
    pub async fn once_beside(&self, texts: &[&str], files: usize) {
        self.alice.say(&self.at_a, "last of a").await.unwrap();
        self.b.hears(&self.at_b, "last of a").await;
        self.bob.say(&self.at_b, "last of b").await.unwrap();
        self.a.hears(&self.at_a, "last of b").await;
        for (side, rid) in [(&self.a, &self.at_a), (&self.b, &self.at_b)] {
            for text in texts {
                assert_eq!(side.times(rid, text), 1, "{}: {text}: {:?}", side.name, side.said(rid));
            }
            assert_eq!(side.said(rid).len(), texts.len() + files + 4, "{}: {:?}", side.name, side.said(rid));
        }
    }

    pub async fn close(mut self) {
        self.a.end().await;
        self.b.end().await;
    }
}
