//! Whole nodes over real sockets, asked through their real API.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use rocketmesh_node::api::types::*;
use rocketmesh_node::config::Config;
use rocketmesh_node::{Node, NodeBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::{MakeWriter, TestWriter};

pub mod attacker;

/// Nothing here takes this long unless it is broken; it only keeps a failing test from hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct TestNode {
    pub node: Node,
    pub client: reqwest::Client,
    base: String,
    name: String,
    directory: Directory,
}

enum Directory {
    Own(TempDir),
    Kept(PathBuf),
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Directory::Own(directory) => directory.path(),
            Directory::Kept(path) => path,
        }
    }
}

pub fn quiet(config: &mut Config) {
    config.network.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config.network.mdns = false;
    config.network.upnp = false;
    config.api.listen = "127.0.0.1:0".to_owned();
    config.store.cache_mib = 8;
}

/// Logs what `RUST_LOG` asks for, errors at least, and counts errors. Once.
pub fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(CountsErrors).try_init();
}

/// Lines at error level that nodes and libraries of this process have logged.
pub static LOGGED_ERRORS: AtomicU64 = AtomicU64::new(0);

struct CountsErrors;

impl<'a> MakeWriter<'a> for CountsErrors {
    type Writer = TestWriter;

    fn make_writer(&'a self) -> TestWriter {
        TestWriter::default()
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> TestWriter {
        if *meta.level() == Level::ERROR {
            LOGGED_ERRORS.fetch_add(1, Ordering::Relaxed);
        }
        self.make_writer()
    }
}

pub fn builder(directory: &Path, name: &str, bootstrap: &[String]) -> NodeBuilder {
    log();
    NodeBuilder::in_directory(directory).configure(|config| {
        quiet(config);
        config.name = name.to_owned();
        config.network.bootstrap = bootstrap.to_vec();
    })
}

impl TestNode {
    /// A node called `name`, connected to `bootstrap`.
    pub async fn start(name: &str, bootstrap: &[String]) -> Self {
        Self::start_with(name, bootstrap, |builder| builder).await
    }

    pub async fn start_with(name: &str, bootstrap: &[String], change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let directory = TempDir::new().unwrap();
        let node = change(builder(directory.path(), name, bootstrap)).start().await.unwrap();
        Self::around(node, name, Directory::Own(directory))
    }

    /// A node on a directory that outlives it.
    pub async fn start_in(directory: &Path, name: &str, bootstrap: &[String]) -> Self {
        Self::start_in_with(directory, name, bootstrap, |builder| builder).await
    }

    pub async fn start_in_with(
        directory: &Path,
        name: &str,
        bootstrap: &[String],
        change: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Self {
        let node = change(builder(directory, name, bootstrap)).start().await.unwrap();
        Self::around(node, name, Directory::Kept(directory.to_owned()))
    }

    fn around(node: Node, name: &str, directory: Directory) -> Self {
        let base = format!("http://{}", node.api_address().unwrap());
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        TestNode { node, client, base, name: name.to_owned(), directory }
    }

    pub fn id(&self) -> String {
        self.node.origin().to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub async fn address(&self) -> String {
        self.node.addresses().await[0].to_string()
    }

    /// Sends a request and returns status and body.
    pub async fn raw(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let method = method.parse().unwrap();
        let mut request = self.client.request(method, self.url(path)).bearer_auth(self.node.api_token());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn expect<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<Value>) -> T {
        let (status, body) = self.raw(method, path, body).await;
        assert!(status.is_success(), "{} {method} {path}: {status} {body}", self.name);
        serde_json::from_value(body).unwrap()
    }

    /// The status and the code of a request that is refused.
    pub async fn refused(&self, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let (status, body) = self.raw(method, path, body).await;
        assert!(!status.is_success(), "{method} {path} was not refused: {body}");
        let error: ErrorBody = serde_json::from_value(body).unwrap();
        assert!(error.error.message.len() > 10, "an error says what to do: {error:?}");
        (status.as_u16(), error.error.code)
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.expect("GET", path, None).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: impl Serialize) -> T {
        self.expect("POST", path, Some(serde_json::to_value(body).unwrap())).await
    }

    pub async fn create(&self, user: &str, name: &str) -> RoomDetail {
        self.post("/v1/rooms", json!({"user": user, "name": name})).await
    }

    pub async fn join(&self, room: &str, user: &str) -> RoomDetail {
        self.post("/v1/rooms/join", json!({"room": room, "user": user})).await
    }

    pub async fn say(&self, room: &str, user: &str, text: &str) -> Posted {
        self.post(&format!("/v1/rooms/{room}/events"), json!({"user": user, "text": text})).await
    }

    pub async fn room(&self, room: &str) -> RoomDetail {
        self.get(&format!("/v1/rooms/{room}")).await
    }

    /// The texts of the room's messages, in room order.
    pub async fn texts(&self, room: &str) -> Vec<String> {
        let mut texts = Vec::new();
        let mut from = String::new();
        loop {
            let page: EventPage = self.get(&format!("/v1/rooms/{room}/events?limit=1000{from}")).await;
            let messages = page.events.iter().filter(|event| event.kind == "message");
            texts.extend(messages.map(|event| event.body["text"].as_str().unwrap().to_owned()));
            match page.next {
                Some(next) => from = format!("&from={next}"),
                None => return texts,
            }
        }
    }

    pub async fn connect(&self, other: &TestNode) {
        let _: PeerView = self.post("/v1/peers/connect", json!({"address": other.address().await})).await;
        self.introduced(other).await;
        other.introduced(self).await;
    }

    /// Waits until the two have introduced themselves.
    pub async fn introduced(&self, other: &TestNode) {
        let path = format!("/v1/peers/{}", other.id());
        eventually("the peers introduce themselves", || async {
            let (status, peer) = self.raw("GET", &path, None).await;
            status.is_success() && peer["state"] == "introduced"
        })
        .await;
    }

    /// Stops the node and keeps its directory.
    pub async fn stop(self) -> Directory2 {
        self.node.shutdown().await;
        Directory2(self.directory)
    }
}

/// What a stopped node leaves behind.
pub struct Directory2(Directory);

impl Directory2 {
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Waits until all hold the same room, and returns the digest.
pub async fn converged(nodes: &[&TestNode], room: &str) -> String {
    converged_within(PATIENCE, nodes, room).await
}

/// As [`converged`], for what takes longer than anything else.
pub async fn converged_within(patience: Duration, nodes: &[&TestNode], room: &str) -> String {
    eventually_within(patience, "the servers hold the same room", || async {
        let mut digests = Vec::new();
        for node in nodes {
            digests.push(node.room(room).await.summary.digest);
        }
        digests.windows(2).all(|pair| pair[0] == pair[1])
    })
    .await;
    nodes[0].room(room).await.summary.digest
}

/// Waits for a condition, never for a time.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl FnMut() -> F) {
    eventually_within(PATIENCE, what, condition).await;
}

/// As [`eventually`], for what takes longer than anything else.
pub async fn eventually_within<F: Future<Output = bool>>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(patience, wait).await.is_ok(), "in vain: {what}");
}
