//! Real nodes: processes of the `rocketmesh` binary, each in a directory of its own.

use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Method;
use rocketmesh_node::api::types::{
    ConnectRequest, CreateRoom, ErrorBody, JoinRoom, NodeStatus, PeerView, PostEvent, Posted, RoomDetail, StreamEntry,
};
use rocketmesh_node::{address_file, token_file};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::Failure;

/// How long a node may take to start or to answer before something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// A running node. Ends with this value.
pub struct Process {
    /// What the server calls itself.
    pub name: String,
    child: Child,
    api: Api,
    started_in: Duration,
}

/// A way to a node's API. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Process {
    /// Starts a node on loopback in `directory`, and returns once its API answers.
    ///
    /// # Errors
    /// With the end of the node's own output if it does not start.
    pub async fn start(binary: &Path, directory: &Path, name: &str, bootstrap: &[String]) -> Result<Self, Failure> {
        Self::start_with(binary, directory, name, bootstrap, &[]).await
    }

    /// As [`Process::start`], with variables of the environment, such as `ROCKETMESH_ROOMS__HISTORY`.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub async fn start_with(
        binary: &Path,
        directory: &Path,
        name: &str,
        bootstrap: &[String],
        variables: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        fs::create_dir_all(directory)?;
        let _ = fs::remove_file(address_file(directory));
        let log = directory.join("node.log");
        let output = File::create(&log)?;
        let level = std::env::var("DEMO_NODE_LOG").unwrap_or_else(|_| "warn".to_owned());
        let mut command = Command::new(binary);
        command.args(["run", "--no-mdns", "--log", &level, "--api-listen", "127.0.0.1:0", "--name", name]);
        command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]);
        command.arg("--data-dir").arg(directory).envs(variables.iter().copied());
        if !bootstrap.is_empty() {
            command.arg("--bootstrap").args(bootstrap);
        }
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let begun = Instant::now();
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
        let mut process = Process { name: name.to_owned(), child, api: Api::unset(), started_in: Duration::ZERO };
        loop {
            if let Some(status) = process.child.try_wait()? {
                let output = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("{name} did not start ({status}): {output}").into());
            }
            if let Some(api) = Api::of(directory)
                && api.get::<NodeStatus>("/v1/node").await.is_ok()
            {
                process.api = api;
                process.started_in = begun.elapsed();
                return Ok(process);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{name} does not answer; see {}", log.display()).into());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// The node's API.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// How long it took from starting the process to the first answer.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The addresses that others take as bootstrap addresses.
    ///
    /// # Errors
    /// If the node does not answer.
    pub async fn addresses(&self) -> Result<Vec<String>, Failure> {
        Ok(self.api.get::<NodeStatus>("/v1/node").await?.addresses)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process is this value's own child, so its id cannot have become anybody else's.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Api {
    fn unset() -> Self {
        Api { base: String::new(), token: String::new(), client: reqwest::Client::new() }
    }

    /// The API of the node that runs, or last ran, on a data directory; none if none has served one there yet.
    pub fn of(directory: &Path) -> Option<Self> {
        let read = |path: PathBuf| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let address = read(address_file(directory))?;
        let token = read(token_file(directory))?;
        Some(Api { base: format!("http://{address}"), token, client: reqwest::Client::new() })
    }

    /// Asks the API.
    ///
    /// # Errors
    /// With the API's own sentence if it refuses.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(method, url).bearer_auth(&self.token).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        if response.status().is_success() {
            return Ok(response.json().await?);
        }
        let error: ErrorBody = response.json().await?;
        Err(error.error.message.into())
    }

    /// Reads something.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// Makes a room.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn create(&self, user: &str, name: &str) -> Result<RoomDetail, Failure> {
        let room = CreateRoom {
            user: user.to_owned(),
            name: name.to_owned(),
            topic: None,
            room_type: None,
            with: Vec::new(),
            history: None,
        };
        self.ask(Method::POST, "/v1/rooms", Some(&room)).await
    }

    /// Lets a local user join a room.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn join(&self, room: &str, user: &str) -> Result<RoomDetail, Failure> {
        let join = JoinRoom { room: room.to_owned(), user: user.to_owned(), wait_s: None };
        self.ask(Method::POST, "/v1/rooms/join", Some(&join)).await
    }

    /// Says something.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn say(&self, room: &str, user: &str, text: &str) -> Result<Posted, Failure> {
        let post = PostEvent { user: user.to_owned(), text: Some(text.to_owned()), ..PostEvent::default() };
        self.ask(Method::POST, &format!("/v1/rooms/{room}/events"), Some(&post)).await
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn connect(&self, address: &str) -> Result<PeerView, Failure> {
        let connect = ConnectRequest { address: address.to_owned() };
        self.ask(Method::POST, "/v1/peers/connect", Some(&connect)).await
    }

    /// A room.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn room(&self, room: &str) -> Result<RoomDetail, Failure> {
        self.get(&format!("/v1/rooms/{room}")).await
    }

    /// Bytes that the node has sent to other servers so far, before encryption.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn sent(&self) -> Result<u64, Failure> {
        self.carried("Outbound").await
    }

    /// Bytes that the node has received from other servers so far, before encryption.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn received(&self) -> Result<u64, Failure> {
        self.carried("Inbound").await
    }

    /// Requests of other servers that the node has answered so far.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn served(&self) -> Result<u64, Failure> {
        let text = self.metrics().await?;
        let count = text.lines().find_map(|line| line.strip_prefix("rocketmesh_requests_served_total "));
        Ok(count.ok_or("the node does not say how many requests it answered")?.trim().parse()?)
    }

    async fn metrics(&self) -> Result<String, Failure> {
        Ok(self.client.get(format!("{}/metrics", self.base)).send().await?.error_for_status()?.text().await?)
    }

    async fn carried(&self, direction: &str) -> Result<u64, Failure> {
        let text = self.metrics().await?;
        let bandwidth = text.lines().filter(|line| line.starts_with("libp2p_bandwidth_bytes_total"));
        let counts = bandwidth.filter(|line| line.contains(direction)).filter_map(|line| line.rsplit(' ').next());
        Ok(counts.map(str::parse::<u64>).sum::<Result<u64, _>>()?)
    }

    /// Waits until the server sees every member, which is when gossip has had time to form its mesh.
    ///
    /// # Errors
    /// If that does not happen.
    pub async fn sees_members(&self, room: &str, members: u64) -> Result<(), Failure> {
        until("every server sees every member", || async { Ok(self.room(room).await?.summary.members >= members) })
            .await
    }

    /// Follows a room live. Each entry comes with the moment at which it arrived.
    ///
    /// # Errors
    /// If the node does not answer.
    pub async fn follow(&self, room: &str) -> Result<mpsc::Receiver<(Instant, StreamEntry)>, Failure> {
        let url = format!("{}/v1/rooms/{room}/stream", self.base);
        let response = self.client.get(url).bearer_auth(&self.token).send().await?.error_for_status()?;
        let (sender, receiver) = mpsc::channel(65_536);
        tokio::spawn(async move {
            let mut chunks = response.bytes_stream();
            let mut rest = Vec::new();
            while let Some(Ok(chunk)) = chunks.next().await {
                let arrived = Instant::now();
                rest.extend_from_slice(&chunk);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let Some(data) = line.strip_prefix(b"data:") else { continue };
                    let Ok(entry) = serde_json::from_slice(data) else { continue };
                    if sender.send((arrived, entry)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(receiver)
    }
}

/// Waits for a condition.
///
/// # Errors
/// The condition's own, or that it did not come true.
pub async fn until<F: Future<Output = Result<bool, Failure>>>(
    what: &str,
    condition: impl FnMut() -> F,
) -> Result<(), Failure> {
    until_within(PATIENCE, what, condition).await
}

/// As [`until`], for what takes its time.
///
/// # Errors
/// As [`until`].
pub async fn until_within<F: Future<Output = Result<bool, Failure>>>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Result<(), Failure> {
    let begun = Instant::now();
    while !condition().await? {
        if begun.elapsed() > patience {
            return Err(format!("in vain: {what}").into());
        }
        tokio::time::sleep(GLANCE).await;
    }
    Ok(())
}

/// Starts three servers that know each other, and a room with one user of each in it: `user0`, `user1`, `user2` by default.
///
/// # Errors
/// If one does not start or does not find the others.
pub async fn three(binary: &Path, directory: &Path, users: [&str; 3]) -> Result<(Vec<Process>, String), Failure> {
    let names = ["oslo.example.org", "bergen.example.org", "cusco.example.org"];
    let mut servers = vec![Process::start(binary, &directory.join("0"), names[0], &[]).await?];
    let bootstrap = servers[0].addresses().await?;
    for (at, name) in names.iter().enumerate().skip(1) {
        servers.push(Process::start(binary, &directory.join(at.to_string()), name, &bootstrap).await?);
    }
    for server in &servers[1..] {
        until("the servers find each other", || async {
            Ok(server.api().get::<NodeStatus>("/v1/node").await?.peers > 0)
        })
        .await?;
    }
    let room = servers[0].api().create(users[0], "general").await?.summary.id;
    for (server, user) in servers.iter().zip(users).skip(1) {
        server.api().join(&room, user).await?;
    }
    for server in &servers {
        server.api().sees_members(&room, 3).await?;
    }
    Ok((servers, room))
}
