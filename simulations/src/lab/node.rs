//! A node in its namespace. It is asked as an administrator would ask it, by the command line from inside: the API listens on
//! the namespace's loopback, and no other way leads in.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rocketmesh_node::address_file;
use rocketmesh_node::api::types::{ErrorBody, EventPage, NodeStatus, PeerList, Posted, RoomDetail};
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::lab::paths::Sight;
use crate::lab::topology::Host;

/// The local user who does everything on every node.
pub const USER: &str = "lab";
/// How long a node may take to start.
const START: Duration = Duration::from_secs(60);
/// How long a question may take: they are answered from memory.
const ANSWER: Duration = Duration::from_secs(15);
/// How long connecting may take, a dial through a relay included.
const CONNECT: Duration = Duration::from_secs(30);
/// How long to look for a server in the room, in seconds, and how much longer the answer may take.
const JOIN_S: &str = "60";
const JOIN: Duration = Duration::from_secs(90);
/// How often a node that starts is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// The newest events of the room that are looked at: more than are written in a row.
const NEWEST: &str = "200";

/// A node, which may be down. Ends with this value.
#[derive(Debug)]
pub struct Node {
    /// Its host.
    pub host: Host,
    /// Its peer id; empty before it was up for the first time.
    pub id: String,
    /// When it was up for the last time it started.
    pub since: Instant,
    namespace: String,
    binary: PathBuf,
    directory: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

/// What a node is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Where to listen.
    pub listen: Vec<String>,
    /// Whom to connect to.
    pub bootstrap: Vec<String>,
    /// Where others reach it, if it is told that.
    pub external: Vec<String>,
    /// The key of a private mesh, if it is in one.
    pub private_key: Option<PathBuf>,
    /// What to log.
    pub level: String,
}

impl Node {
    /// A node that has not been started, with its data below `data` and its log below `logs`.
    pub fn new(host: Host, namespace: String, binary: &Path, data: &Path, logs: &Path) -> Self {
        Node {
            host,
            id: String::new(),
            since: Instant::now(),
            namespace,
            binary: binary.to_owned(),
            directory: data.join(host.name),
            log: logs.join(format!("{}.log", host.name)),
            process: None,
        }
    }

    /// Whether it was started and not killed.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// How to call the command line for it.
    pub fn command_line(&self) -> String {
        let Node { namespace, binary, directory, .. } = self;
        format!("ip netns exec {namespace} {} --data-dir {}", binary.display(), directory.display())
    }

    /// Starts it and returns once it answers.
    ///
    /// # Errors
    /// With the end of its log if it does not start.
    pub async fn start(&mut self, told: &Told) -> Result<(), Failure> {
        fs::create_dir_all(&self.directory)?;
        let _ = fs::remove_file(address_file(&self.directory));
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = self.command(&["run", "--log", &told.level, "--api-listen", "127.0.0.1:0"]);
        command.args(["--name", &format!("{}.example", self.host.name), "--listen"]).args(&told.listen);
        if !told.bootstrap.is_empty() {
            command.arg("--bootstrap").args(&told.bootstrap);
        }
        if !told.external.is_empty() {
            command.env("ROCKETMESH_NETWORK__EXTERNAL", told.external.join(","));
        }
        if let Some(key) = &told.private_key {
            command.env("ROCKETMESH_NETWORK__PRIVATE_KEY_FILE", key);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn().map_err(|error| format!("cannot start `ip`: {error}"))?);
        let begun = Instant::now();
        loop {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            if ended.is_some() || begun.elapsed() > START {
                self.kill();
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let last = log.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>();
                return Err(format!("{} did not start: {}", self.host.name, last.join("\n")).into());
            }
            // Without the file the command line would only say that there is no node.
            if address_file(&self.directory).exists()
                && let Ok(status) = self.status().await
            {
                self.id = status.id;
                self.since = Instant::now();
                return Ok(());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Kills it without a warning.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The process is this value's own child, so its id cannot have become anybody else's.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops its process where it is, as a machine does that goes to sleep, or lets it go on.
    ///
    /// # Errors
    /// If it is down, or cannot be told.
    pub fn sleep(&self, sleeps: bool) -> Result<(), Failure> {
        let name = self.host.name;
        let Some(process) = &self.process else { return Err(format!("{name} is down").into()) };
        // The process is this value's own child, so its id cannot have become anybody else's.
        let order = format!("kill -{} {}", if sleeps { "STOP" } else { "CONT" }, process.id());
        let status = Command::new("sh").args(["-c", &order]).stdin(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("`{order}` failed for {name}").into()) }
    }

    /// The node in short.
    ///
    /// # Errors
    /// What the command line said.
    pub async fn status(&self) -> Result<NodeStatus, Failure> {
        parse(&self.ask(&["status"], ANSWER).await?)
    }

    /// How it is connected; none if it is down or does not say.
    pub async fn sight(&self) -> Option<Sight> {
        if !self.is_up() {
            return None;
        }
        match self.ask(&["net"], ANSWER).await {
            Ok(net) => Sight::of_net(&net),
            Err(_) => Sight::of_peers(&self.ask(&["peers"], ANSWER).await.ok()?),
        }
    }

    /// The peers that it knows.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn peers(&self) -> Result<PeerList, Failure> {
        parse(&self.ask(&["peers"], ANSWER).await?)
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn connect(&self, address: &str) -> Result<(), Failure> {
        self.ask(&["connect", address], CONNECT).await.map(drop)
    }

    /// Makes a room and returns its id.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn create(&self, name: &str) -> Result<String, Failure> {
        let room: RoomDetail = parse(&self.ask(&["rooms", "create", name, "--user", USER], ANSWER).await?)?;
        Ok(room.summary.id)
    }

    /// Joins a room.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn join(&self, room: &str) -> Result<(), Failure> {
        self.ask(&["rooms", "join", room, "--user", USER, "--wait", JOIN_S], JOIN).await.map(drop)
    }

    /// What it holds of a room.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn room(&self, room: &str) -> Result<RoomDetail, Failure> {
        parse(&self.ask(&["rooms", "show", room], ANSWER).await?)
    }

    /// Says something and returns the event.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn say(&self, room: &str, text: &str) -> Result<String, Failure> {
        let posted: Posted = parse(&self.ask(&["send", room, "--user", USER, text], ANSWER).await?)?;
        Ok(posted.event)
    }

    /// The newest messages of a room that it holds with their text.
    ///
    /// # Errors
    /// As [`Node::status`].
    pub async fn messages(&self, room: &str) -> Result<BTreeSet<String>, Failure> {
        let listed = self.ask(&["events", "list", room, "--newest", "--limit", NEWEST], ANSWER).await?;
        let page: EventPage = parse(&listed)?;
        let whole = page.events.into_iter().filter(|event| {
            event.kind == "message" && event.accepted && !event.withheld && event.body_state == "present"
        });
        Ok(whole.map(|event| event.id).collect())
    }

    /// Asks by the command line. Returns what it printed as JSON.
    async fn ask(&self, words: &[&str], patience: Duration) -> Result<String, Failure> {
        let mut command = self.command(&["--json"]);
        command.args(words).stdin(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let asked = || format!("{}: {}", self.host.name, words.join(" "));
        let Ok(output) = tokio::time::timeout(patience, command.output()).await else {
            return Err(format!("{}: no answer within {} s", asked(), patience.as_secs()).into());
        };
        let output = output?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let told = serde_json::from_str::<ErrorBody>(said.trim()).map(|body| body.error.message);
        Err(format!("{}: {}", asked(), told.unwrap_or_else(|_| said.trim().to_owned())).into())
    }

    /// The binary, called from inside the namespace.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(&self.binary).args(words);
        command.arg("--data-dir").arg(&self.directory);
        // What is set for somebody's own node is not meant for these.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        // Not interrupted together with the laboratory, which ends them itself.
        command.process_group(0);
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn is_setting(variable: &OsStr) -> bool {
    variable.to_string_lossy().starts_with("ROCKETMESH_")
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| format!("the node's answer has an unknown form: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::topology::hosts;

    fn node(binary: &str) -> Node {
        let host = hosts()[0];
        Node::new(host, "rmlab-1-relay1".to_owned(), Path::new(binary), Path::new("/data"), Path::new("/logs"))
    }

    #[test]
    fn a_node_is_called_from_inside_its_namespace() {
        let command = node("/bin/rocketmesh").command(&["--json", "net"]);
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let expected = "netns exec rmlab-1-relay1 /bin/rocketmesh --json net --data-dir /data/relay1";
        assert_eq!((command.get_program(), words.join(" ").as_str()), (OsStr::new("ip"), expected));
    }

    #[test]
    fn settings_of_ones_own_node_are_told_from_other_variables() {
        assert!(is_setting(OsStr::new("ROCKETMESH_API")) && !is_setting(OsStr::new("PATH")));
    }

    #[test]
    fn a_node_that_was_never_started_is_down() {
        let mut node = node("/bin/rocketmesh");
        node.kill();
        assert!(node.sleep(true).is_err());
        assert!(!node.is_up() && node.command_line().ends_with("--data-dir /data/relay1"));
    }
}
