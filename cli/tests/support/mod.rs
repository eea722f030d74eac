//! Real processes of the very binary, asked through their API.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use reqwest::Method;
use rocketmesh_node::api::types::{EventPage, NodeStatus, PeerList, Posted, RoomDetail, StreamEntry};
use rocketmesh_node::{address_file, token_file};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_rocketmesh");
/// Nothing here takes this long unless it is broken; it only keeps a failing test from hanging. Longer than the minute
/// after which two servers compare what they hold in any case.
pub const PATIENCE: Duration = Duration::from_secs(240);
pub const GLANCE: Duration = Duration::from_millis(10);

/// Things that are said at a time.
const AT_ONCE: usize = 32;

/// A process that does not outlive this value, also where a test fails.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // The process is this value's own child, so its id cannot have become anybody else's.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on this machine, running or not.
pub struct Server {
    pub name: &'static str,
    pub directory: PathBuf,
    /// No file of it may grow beyond this many bytes, as on a disk that fills up.
    pub largest_file: Option<u64>,
    pub running: Option<(Process, Api)>,
}

impl Server {
    pub fn new(home: &Path, name: &'static str) -> Self {
        Server { name, directory: home.join(name), largest_file: None, running: None }
    }

    /// Starts the node, unless it runs, and returns once its API answers.
    pub async fn start(&mut self, bootstrap: Option<String>) {
        if self.running.is_some() {
            return;
        }
        fs::create_dir_all(&self.directory).unwrap();
        // The one before did not get to remove it.
        let _ = fs::remove_file(address_file(&self.directory));
        let log = self.directory.join("output");
        let output = fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = match self.largest_file {
            None => Command::new(BINARY),
            Some(bytes) => {
                // The shell counts in blocks of 512 bytes. Without the signal the write itself fails, as on a full disk.
                let mut shell = Command::new("sh");
                let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", bytes / 512);
                shell.arg("-c").arg(script).arg(BINARY);
                shell
            }
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROCKETMESH_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(&self.directory);
        command.args(["run", "--no-mdns", "--log", "warn", "--name", self.name]);
        command.args(["--api-listen", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        command.args(bootstrap.iter().flat_map(|address| ["--bootstrap", address.as_str()]));
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut process = Process(command.spawn().unwrap());
        let begun = Instant::now();
        loop {
            if let Some(status) = process.0.try_wait().unwrap() {
                let said = fs::read_to_string(&log).unwrap_or_default();
                panic!("{} did not start ({status}): {said}", self.name);
            }
            if let Some(api) = Api::of(&self.directory)
                && api.get::<NodeStatus>("/v1/node").await.is_ok()
            {
                self.running = Some((process, api));
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain: {} answers", self.name);
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// What a command on the stopped server's directory comes to: how it exits, and its words.
    pub fn command(&self, command: &str) -> (Option<i32>, String) {
        let output = Command::new(BINARY).arg("--data-dir").arg(&self.directory).arg(command).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    pub fn kill(&mut self) {
        self.running = None;
    }

    pub fn api(&self) -> &Api {
        &self.running.as_ref().expect("only a server that runs is asked").1
    }

    /// The address at which others reach it, if it runs.
    pub async fn address(&self) -> Option<String> {
        let (_, api) = self.running.as_ref()?;
        Some(api.get::<NodeStatus>("/v1/node").await.unwrap().addresses.remove(0))
    }
}

/// A way to a node's API. Whoever is asked may be killed before it answers, which is no fault.
#[derive(Clone)]
pub struct Api {
    pub base: String,
    pub token: String,
    pub client: reqwest::Client,
}

impl Api {
    pub fn of(directory: &Path) -> Option<Self> {
        let read = |path: PathBuf| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let base = format!("http://{}", read(address_file(directory))?);
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Some(Api { base, token: read(token_file(directory))?, client })
    }

    pub async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Value>) -> Result<T, String> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if status.is_success() {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            Err(format!("{status}: {text}"))
        }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn room(&self, room: &str) -> Result<RoomDetail, String> {
        self.get(&format!("/v1/rooms/{room}")).await
    }

    /// Whether the follower's user is seen in the room.
    pub async fn sees_both(&self, room: &str) -> bool {
        self.room(room).await.is_ok_and(|room| room.summary.members == 2)
    }

    /// Says things, several at a time, and returns the events that were acknowledged.
    pub async fn say(self, room: String, count: usize) -> Vec<String> {
        let say = |number: usize| {
            let (api, room) = (&self, &room);
            async move {
                let event = json!({"user": "alice", "text": format!("Something worth keeping, {number}")});
                api.ask::<Posted>(Method::POST, &format!("/v1/rooms/{room}/events"), Some(event)).await
            }
        };
        let answers: Vec<Result<Posted, String>> =
            stream::iter(0..count).map(say).buffer_unordered(AT_ONCE).collect().await;
        answers.into_iter().filter_map(|answer| Some(answer.ok()?.event)).collect()
    }

    /// Joins the room once somebody is there to fetch it from.
    pub async fn join(self, room: String) -> Result<(), String> {
        loop {
            let peers = self.get::<PeerList>("/v1/peers").await?.peers;
            if peers.iter().any(|peer| peer.state == "introduced") {
                break;
            }
            tokio::time::sleep(GLANCE).await;
        }
        let join = json!({"room": room, "user": "bob", "wait_s": 1});
        self.ask::<RoomDetail>(Method::POST, "/v1/rooms/join", Some(join)).await.map(drop)
    }

    /// The ids of the room's events.
    pub async fn events(&self, room: &str) -> BTreeSet<String> {
        let mut events = BTreeSet::new();
        let mut from = String::new();
        loop {
            let path = format!("/v1/rooms/{room}/events?limit=1000&withheld=true{from}");
            let page = self.get::<EventPage>(&path).await.unwrap();
            events.extend(page.events.into_iter().map(|event| event.id));
            match page.next {
                Some(next) => from = format!("&from={next}"),
                None => return events,
            }
        }
    }

    /// The room's events in the node's local log, where none of them may arrive twice.
    pub async fn logged_once(&self, room: &str) -> BTreeSet<String> {
        let end = self.get::<NodeStatus>("/v1/node").await.unwrap().log_position;
        let url = format!("{}/v1/rooms/{room}/stream?after=0", self.base);
        let response = self.client.get(url).bearer_auth(&self.token).send().await.unwrap();
        let mut chunks = response.bytes_stream();
        let mut rest = Vec::new();
        let mut events = BTreeSet::new();
        loop {
            rest.extend_from_slice(&chunks.next().await.expect("the stream goes on while the node runs").unwrap());
            while let Some(line_end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=line_end).collect();
                let Some(entry) = line.strip_prefix(b"data:") else { continue };
                let entry: StreamEntry = serde_json::from_slice(entry).unwrap();
                if matches!(entry.change.as_str(), "accepted" | "rejected") {
                    assert!(events.insert(entry.event.id.clone()), "{} is in the log twice", entry.event.id);
                }
                if entry.position >= end {
                    return events;
                }
            }
        }
    }
}

/// SplitMix64: numbers that follow from a seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}
