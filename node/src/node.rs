//! The node as a whole: built from parts, started, shut down.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use prometheus_client::registry::Registry;
use rocketmesh_protocol::identity::{Origin, ServerKey};
use rocketmesh_protocol::wire::Hello;
use rocketmesh_storage::{EventStore, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::{self, ApiParts};
use crate::client::Client;
use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::config::{Config, ConfigError, Loaded};
use crate::engine::policy::PolicyBook;
use crate::engine::{Engine, EngineParts};
use crate::identity::{self, IdentityError};
use crate::network::transport::{self, NodeTransport};
use crate::network::{self, NetworkConfig, NetworkError, NetworkParts};
use crate::rocketchat::bridge;
use crate::rocketchat::connector::Connector;
use crate::rocketchat::status::Board;
use crate::tuning::Tuning;

const STORE_DIRECTORY: &str = "store";
const TOKEN_FILE: &str = "api.token";
const ADDRESS_FILE: &str = "api.address";

/// How long a shutdown waits for connections of the API to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why a node does not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key file.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The address of the API is in use or malformed.
    #[error("the API cannot listen on {listen} ({reason}); choose another address with --api-listen or api.listen")]
    Api {
        /// The address.
        listen: String,
        /// Why.
        reason: String,
    },
    /// A file in the data directory cannot be written.
    #[error("{path} cannot be written ({reason}); check the owner and the mode of the data directory")]
    DataDirectory {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Builds a node. What is not given is the system's: sockets, a store on disk, the clock, the entropy.
pub struct NodeBuilder {
    loaded: Loaded,
    key: Option<ServerKey>,
    transport: Option<NodeTransport>,
    store: Option<EventStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    hello: Option<Hello>,
    api: bool,
    tuning: Tuning,
}

impl NodeBuilder {
    /// A node of this configuration.
    pub fn new(loaded: Loaded) -> Self {
        NodeBuilder {
            loaded,
            key: None,
            transport: None,
            store: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            hello: None,
            api: true,
            tuning: Tuning::default(),
        }
    }

    /// A node of the default configuration in this directory, for tests and simulations.
    pub fn in_directory(data_dir: &Path) -> Self {
        NodeBuilder::new(Loaded { config: Config::defaults(data_dir.to_owned()), entries: Vec::new() })
    }

    /// Changes the configuration.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.loaded.config);
        self
    }

    /// Uses this key and no key file.
    #[must_use]
    pub fn key(mut self, key: ServerKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Uses this transport. It takes the place of sockets with the key of a private mesh, so that a node that is to have both does
    /// not start.
    #[must_use]
    pub fn transport(mut self, transport: NodeTransport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Uses this store.
    #[must_use]
    pub fn store(mut self, store: EventStore) -> Self {
        self.store = Some(store);
        self
    }

    /// Uses this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Uses this entropy.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Introduces itself with this, for tests of other versions.
    #[must_use]
    pub fn hello(mut self, hello: Hello) -> Self {
        self.hello = Some(hello);
        self
    }

    /// Spreads and repairs by these numbers.
    #[must_use]
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// Serves no API.
    #[must_use]
    pub fn without_api(mut self) -> Self {
        self.api = false;
        self
    }

    /// Starts the node.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(self) -> Result<Node, StartError> {
        let started = Instant::now();
        let config = &self.loaded.config;
        let data_dir = config.data_dir.clone();
        let network_config = NetworkConfig { tuning: self.tuning, ..config.network()? };
        let name = config.server_name()?;
        // The store first: its lock keeps a second process from the key file and the token too.
        let store = match self.store {
            Some(store) => store,
            None => {
                let reserve = config.store.reserve_mib.saturating_mul(1024 * 1024);
                open_store(&data_dir, config.store.cache_mib)?.with_reserve(reserve)
            }
        };
        let store = store.with_file_limits(config.files.limits());
        let key = match self.key {
            Some(key) => key,
            None => identity::load_or_create(&data_dir, &*self.entropy)?,
        };
        let listener = match self.api {
            true => Some(bind(&config.api.listen).await?),
            false => None,
        };
        let mut registry = Registry::default();
        let transport = match self.transport {
            // The key would have to be in it, and nobody could tell whether it is.
            Some(_) if network_config.private.is_some() => {
                let refused = "network.private_key_file is set, and the transport that the node is given does not use it; \
                               leave out one of them";
                return Err(NetworkError::Setup(refused.to_owned()).into());
            }
            Some(transport) => transport,
            None => {
                if let Some(address) = transport::in_use(&network_config.listen) {
                    return Err(NetworkError::AddressInUse(address.clone()).into());
                }
                match &network_config.private {
                    Some(private) => transport::private_sockets(&key, private, &mut registry),
                    None => transport::sockets(&key, &mut registry),
                }
                .map_err(|error| NetworkError::Setup(error.to_string()))?
            }
        };
        let policy = PolicyBook::load(&store)?;
        let (shutdown, down) = watch::channel(false);
        let hello = self.hello.unwrap_or_else(|| Hello::of_this_build(name.clone()));
        let mut bootstrap = BTreeSet::new();
        for address in &network_config.bootstrap {
            if let Some(libp2p::multiaddr::Protocol::P2p(peer)) = address.iter().last() {
                policy.note_known(peer);
                bootstrap.insert(peer);
            }
        }
        let (network, events) = network::spawn(NetworkParts {
            keypair: transport::keypair(&key),
            transport,
            config: network_config,
            hello,
            banned: PolicyBook::bans(&store)?,
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            shutdown: down.clone(),
        })
        .await?;
        let engine = Engine::start(
            EngineParts {
                key: key.clone(),
                store,
                network: network.clone(),
                clock: self.clock,
                entropy: Arc::clone(&self.entropy),
                policy,
                name: name.clone(),
                tuning: self.tuning,
                bootstrap,
                fetch_up_to: config.files.fetch_up_to(),
                history: config.rooms.history,
                shutdown: down.clone(),
            },
            events,
        )
        .await?;
        let connector = Connector::open(&data_dir, Board::new(&mut registry));
        let bridge = bridge::spawn(&engine, &connector);
        let mut node = Node { origin: key.origin(), engine, api: None, token: String::new(), server: None, shutdown };
        if let Some(listener) = listener {
            let address = listener.local_addr().map_err(|error| api_error(&config.api.listen, &error))?;
            node.token = load_token(&data_dir, &*self.entropy)?;
            publish_address(&data_dir, address)?;
            let parts = ApiParts {
                engine: node.engine.clone(),
                name,
                config: self.loaded.entries.clone(),
                token: node.token.clone(),
                started,
                registry,
                connector,
                bridge,
            };
            node.api = Some(address);
            node.server = Some(tokio::spawn(api::serve(listener, parts, down)));
        }
        Ok(node)
    }
}

/// A running node.
pub struct Node {
    origin: Origin,
    engine: Engine,
    api: Option<SocketAddr>,
    token: String,
    server: Option<JoinHandle<()>>,
    shutdown: watch::Sender<bool>,
}

impl Node {
    /// The server's id.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Where others can reach this node, as bootstrap addresses.
    pub async fn addresses(&self) -> Vec<Multiaddr> {
        self.engine.network.status().await.map(|status| status.addresses).unwrap_or_default()
    }

    /// Where the API listens.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api
    }

    /// The API's bearer token.
    pub fn api_token(&self) -> &str {
        &self.token
    }

    /// What users can do on this node, from within the process.
    pub fn client(&self) -> Client {
        Client::new(self.engine.clone())
    }

    /// Hands wire bytes to a room as an answer of a peer would, and returns once what is sound is durable: the whole way
    /// of an event through the node but for the socket. For benchmarks and simulations. Returns how many were new.
    ///
    /// # Errors
    /// If the store fails or the node shuts down.
    pub async fn ingest(
        &self,
        room: rocketmesh_protocol::id::RoomId,
        events: Vec<rocketmesh_protocol::wire::WireEvent>,
    ) -> Result<usize, crate::engine::PostError> {
        Ok(self.engine.ingest_wire(room, events).await?.new)
    }

    /// Stops the node. What was acknowledged is on disk already.
    pub async fn shutdown(self) {
        let _ = self.shutdown.send(true);
        if let Some(server) = self.server {
            let _ = tokio::time::timeout(FAREWELL, server).await;
        }
        // The tasks end by themselves; the last one to end closes the store.
        let Node { engine, .. } = self;
        engine.close().await;
    }
}

/// Where the store is in a data directory.
pub fn store_directory(data_dir: &Path) -> PathBuf {
    data_dir.join(STORE_DIRECTORY)
}

/// The API's token file in a data directory.
pub fn token_file(data_dir: &Path) -> PathBuf {
    data_dir.join(TOKEN_FILE)
}

/// The file in a data directory in which a running node says where its API listens.
pub fn address_file(data_dir: &Path) -> PathBuf {
    data_dir.join(ADDRESS_FILE)
}

/// Opens the store of a data directory.
///
/// # Errors
/// [`StoreError`].
pub fn open_store(data_dir: &Path, cache_mib: u64) -> Result<EventStore, StoreError> {
    EventStore::open(&store_directory(data_dir), cache_mib * 1024 * 1024)
}

fn api_error(listen: &str, error: &std::io::Error) -> StartError {
    StartError::Api { listen: listen.to_owned(), reason: error.to_string() }
}

async fn bind(listen: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(listen).await.map_err(|error| api_error(listen, &error))
}

fn load_token(data_dir: &Path, entropy: &dyn Entropy) -> Result<String, StartError> {
    let path = token_file(data_dir);
    let failed = |error: std::io::Error| StartError::DataDirectory { path: path.clone(), reason: error.to_string() };
    match std::fs::read_to_string(&path) {
        Ok(token) if token.trim().len() >= 32 => Ok(token.trim().to_owned()),
        Ok(_) => Err(failed(std::io::Error::other("it holds no token; remove it to have a new one made"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            entropy.fill(&mut bytes);
            let token = hex::encode(bytes);
            identity::write_secret(&path, format!("{token}\n").as_bytes()).map_err(failed)?;
            Ok(token)
        }
        Err(error) => Err(failed(error)),
    }
}

fn publish_address(data_dir: &Path, address: SocketAddr) -> Result<(), StartError> {
    let path = address_file(data_dir);
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&fresh, &path))
        .map_err(|error| StartError::DataDirectory { path, reason: error.to_string() })
}
