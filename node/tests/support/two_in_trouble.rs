//! Two Rocket.Chat servers with a node beside each, as in `two_servers`, where something is wrong with one of them: what is told of
//! it, and what is said in the end.

#[path = "two_servers.rs"]
mod sides;

use std::time::Instant;

use reqwest::StatusCode;
use rocketmesh_node::rocketchat::status::{ConnectorProblem, ProblemKind, RocketChatQueue, RocketChatStatus};
use rocketmesh_standin::{HeldRoom, Person, Version};
use sides::GLANCE;
#[allow(unused_imports, reason = "not every test asks for rooms by itself")]
pub use sides::{ROOMS, Side};

use crate::support::PATIENCE;

pub const QUEUE: &str = "/v1/rocketchat/queue";

impl Side {
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
}

/// Alice's channel on one server, which Bob has entered on the other, and in which both have said hello.
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
        let opened = sides::Lunch::open_like(version, &["user"]).await;
        let sides::Lunch { a, b, alice, bob, at_a, at_b, .. } = opened;
        let lunch = Lunch { a, b, alice, bob, at_a, at_b };
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
