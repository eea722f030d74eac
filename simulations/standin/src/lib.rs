//! A small server that speaks as Rocket.Chat does, so that tests and the demo need none.
//!
//! It keeps its documents in memory (and in a journal, if it is given a directory), and answers what the connector and the
//! people of a test ask: REST under `/api/v1`, DDP at `/websocket`, files, avatars, incoming webhooks. It invents no
//! behaviour: what it does, also where that is awkward, comes from Rocket.Chat's published types, documents and sources;
//! `docs/standin.md` says where each rule is from. What it does not know it answers as Rocket.Chat answers an unknown call.
//!
//! ```text
//!  people, connector ──REST──► rest ──► rules ──► state ──► journal
//!                    ──DDP───► ddp  ──────┘         └─────► streams ──► listeners
//!  tests ─────────────────────► control (faults, clock, dump)
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | `rules` | what a call does, without any form around it |
//! | `state`, `documents`, `journal` | what the server knows and keeps |
//! | `rest`, `ddp` | the two forms |
//! | [`Wish`] | what tests may ask beside: a full stop, a lost answer, a frozen clock |
//! | [`Person`] | somebody in a test, who uses the REST API as a client does |
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rocketmesh_standin::{Options, Standin};
//!
//! let standin = Standin::start(Options::default()).await?;
//! let alice = standin.add_person("alice")?;
//! let room = alice.create_channel("lunch", &[]).await?;
//! alice.say(&room, "Who is hungry?").await?;
//! # Ok(())
//! # }
//! ```

mod control;
mod ddp;
mod documents;
mod dump;
mod faults;
mod id;
mod journal;
mod limits;
mod moment;
mod permissions;
mod person;
mod recorder;
mod refusal;
mod rest;
mod rules;
mod server;
mod state;
mod version;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use crate::control::{Account, Wish, WishError};
pub use crate::dump::{HeldFile, HeldMessage, HeldRoom};
pub use crate::faults::{Fault, Wrong};
pub use crate::id::sha256;
pub use crate::moment::Moment;
pub use crate::person::{Control, Person, PersonError, Seen};
pub use crate::server::Recorded;
pub use crate::version::{UnknownVersion, Version};

use crate::recorder::Recorder;
use crate::server::{Manner, Server};

/// The silence after which a real server asks whether somebody is there; after twice as much it closes.
const SILENCE: Duration = Duration::from_secs(15);
/// How long an end waits for answers that are under way. One that a test lets hang is not waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The variable that names the file to which what programs ask is appended.
pub const RECORD_VARIABLE: &str = "ROCKETMESH_RECORD_REQUESTS";

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which Rocket.Chat it is like.
    pub version: Version,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it keeps what it knows. In memory without it.
    pub data: Option<PathBuf>,
    /// Whether calls are limited as on a real server. Off unless asked for: all tests come from one address.
    pub limited: bool,
    /// The silence after which a connection is asked whether it is there, 15 seconds on a real server. After twice as much it
    /// is closed.
    pub silence: Duration,
    /// Whether wishes are granted over HTTP, at `/_standin`.
    pub control: bool,
    /// The file to which what programs ask is appended, one request a line, for `make contract`. By default the one that the
    /// variable [`RECORD_VARIABLE`] names, so that tests can be recorded as they are.
    pub record: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            version: Version::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: None,
            limited: false,
            silence: SILENCE,
            control: false,
            record: std::env::var_os(RECORD_VARIABLE).map(PathBuf::from),
        }
    }
}

/// Why a stand-in does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory cannot be used.
    #[error("the directory of the stand-in cannot be used: {0}")]
    Data(#[source] io::Error),
    /// The address cannot be listened on.
    #[error("the stand-in cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The file for what programs ask cannot be written.
    #[error("what is asked of the stand-in cannot be written to {path}: {1}", path = .0.display())]
    Record(PathBuf, #[source] io::Error),
}

/// A running stand-in. It ends with this value.
#[derive(Debug)]
pub struct Standin {
    server: Arc<Server>,
    address: SocketAddr,
    down: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Standin {
    /// Starts a stand-in in this process.
    ///
    /// # Errors
    /// If its directory or its address cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let manner = Manner { version: options.version, silence: options.silence, control: options.control };
        let recorder = match options.record {
            Some(path) => Some(Recorder::open(&path).map_err(|error| StartError::Record(path, error))?),
            None => None,
        };
        let server = Server::open(manner, options.data.as_deref(), options.limited, recorder);
        let server = server.map_err(StartError::Data)?;
        let server = Arc::new(server);
        let listen = |error| StartError::Listen(options.listen, error);
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // Small answers must not wait for the other side's delayed acknowledgement.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let service = rest::router(Arc::clone(&server)).into_make_service_with_connect_info::<SocketAddr>();
        let (down, mut told) = watch::channel(false);
        let ended = async move {
            // Without a sender there is nobody left who could want it.
            let _ = told.wait_for(|down| *down).await;
        };
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(ended).await {
                tracing::error!(%error, "the stand-in ended");
            }
        });
        Ok(Standin { server, address, down, task })
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Grants a wish, and gives its answer.
    ///
    /// # Errors
    /// If it cannot be granted: a name that is taken, somebody who does not exist.
    pub fn wish(&self, wish: Wish) -> Result<Value, WishError> {
        control::grant(&self.server, wish)
    }

    /// Makes an account.
    ///
    /// # Errors
    /// If the name is taken or is none.
    pub fn add_account(&self, username: &str, roles: &[&str]) -> Result<Account, WishError> {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let account = self.wish(Wish::AddUser { username: username.to_owned(), roles })?;
        serde_json::from_value(account).map_err(|error| WishError::from(error.to_string()))
    }

    /// Makes an account of an ordinary person, who then acts by REST.
    ///
    /// # Errors
    /// If the name is taken or is none.
    pub fn add_person(&self, username: &str) -> Result<Person, WishError> {
        Ok(self.person(&self.add_account(username, &["user"])?))
    }

    /// Whoever has an account, acting by REST.
    pub fn person(&self, account: &Account) -> Person {
        Person::new(&self.url(), account)
    }

    /// What it holds.
    pub fn dump(&self) -> Vec<HeldRoom> {
        self.server.read(dump::dump)
    }

    /// What was asked of it over REST.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.recorded()
    }

    /// Ends it: nothing listens any more, and every connection is closed. What it kept in a directory can be started again.
    pub async fn stop(mut self) {
        self.end();
        if timeout(LAST_ANSWERS, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }

    fn end(&self) {
        self.down.send_replace(true);
        self.server.connections.close_all();
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.end();
    }
}
