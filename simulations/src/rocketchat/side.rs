//! One side: a Rocket.Chat server, the node beside it, and its administrator at the command line.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rocketmesh_node::api::types::NodeStatus;
use rocketmesh_node::api::{FederatedRoom, FederatedRooms};
use rocketmesh_standin::Person;
use serde_json::json;
use tokio::process::Command;

use super::standin::{SERVICE, StandinProcess, StandinSettings};
use crate::Failure;
use crate::process::{Api, Process, until};

/// How long a command of the administrator's may take.
const COMMAND: Duration = Duration::from_secs(60);
const ROOMS: &str = "/v1/rocketchat/rooms";

/// What both sides are made from.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The `rocketmesh` binary.
    pub rocketmesh: PathBuf,
    /// The `rocketmesh-standin` binary.
    pub standin: PathBuf,
    /// Where what the nodes ask of the stand-ins is written down, if anywhere.
    pub record: Option<PathBuf>,
}

/// A Rocket.Chat server and the node beside it. Both end with this value.
pub struct Side {
    /// What the server calls itself in the mesh.
    pub name: String,
    /// The Rocket.Chat server.
    pub chat: StandinProcess,
    node: Process,
    rocketmesh: PathBuf,
    directory: PathBuf,
}

impl Side {
    /// Starts both in a directory. They do not know of each other yet.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start(
        binaries: &Binaries,
        directory: &Path,
        (name, like): (&str, &str),
        people: &[&str],
        bootstrap: &[String],
    ) -> Result<Self, Failure> {
        let chat = StandinProcess::start(StandinSettings {
            binary: binaries.standin.clone(),
            directory: directory.join("chat"),
            like: like.to_owned(),
            people: people.iter().map(|person| (*person).to_owned()).collect(),
            record: binaries.record.clone(),
        })
        .await?;
        let node = Process::start(&binaries.rocketmesh, &directory.join("node"), name, bootstrap).await?;
        let (rocketmesh, directory) = (binaries.rocketmesh.clone(), directory.to_owned());
        Ok(Side { name: name.to_owned(), chat, node, rocketmesh, directory })
    }

    /// The node.
    pub fn node(&self) -> &Process {
        &self.node
    }

    /// The node's API.
    pub fn api(&self) -> &Api {
        self.node.api()
    }

    /// The node's data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("node")
    }

    /// Somebody with an account on this side's Rocket.Chat.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn person(&self, username: &str) -> Result<Person, Failure> {
        self.chat.person(username)
    }

    /// Runs a command of `rocketmesh` for this side's node, as its administrator does, and gives what it printed.
    ///
    /// # Errors
    /// With what it said if it fails.
    pub async fn administrator(&self, args: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new(&self.rocketmesh);
        command.arg("--data-dir").arg(self.data()).args(args).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(COMMAND, command.output()).await;
        let output = output.map_err(|_| format!("`rocketmesh {}` does not end", args.join(" ")))??;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(printed);
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(format!("`rocketmesh {}` failed: {printed}{why}", args.join(" ")).into())
    }

    /// Connects the node with the Rocket.Chat server, by the administrator's command, with the service account's token in a file.
    /// Gives what the command printed, once rooms can be opened.
    ///
    /// # Errors
    /// If something is not as it must be.
    pub async fn connect(&self) -> Result<String, Failure> {
        let file = self.directory.join("service.token");
        let mut open = OpenOptions::new();
        let mut token = open.create(true).truncate(true).write(true).mode(0o600).open(&file)?;
        token.write_all(self.chat.account(SERVICE)?.token.as_bytes())?;
        let path = file.to_str().ok_or("the folder for temporary files has a name that is no text")?;
        let args = ["rocketchat", "connect", self.chat.url(), "--service-token-file", path];
        let printed = self.administrator(&args).await?;
        until("the node is ready for rooms", || async { Ok(self.rooms().await.is_ok()) }).await?;
        Ok(printed)
    }

    /// The rooms that are open to other servers.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn rooms(&self) -> Result<Vec<FederatedRoom>, Failure> {
        Ok(self.api().get::<FederatedRooms>(ROOMS).await?.rooms)
    }

    /// Opens a channel to other servers.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn federate(&self, channel: &str) -> Result<FederatedRoom, Failure> {
        self.api().ask(reqwest::Method::POST, ROOMS, Some(&json!({"channel": channel}))).await
    }

    /// Enters a room of another server, in a new channel, for somebody of this one.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn enter(&self, room: &str, user: &str) -> Result<FederatedRoom, Failure> {
        self.api().ask(reqwest::Method::POST, ROOMS, Some(&json!({"room": room, "user": user}))).await
    }

    /// Waits until the node is connected with another one.
    ///
    /// # Errors
    /// If that does not happen.
    pub async fn meets(&self) -> Result<(), Failure> {
        until("the nodes find each other", || async { Ok(self.api().get::<NodeStatus>("/v1/node").await?.peers > 0) })
            .await
    }
}
