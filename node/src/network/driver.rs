//! The task that owns the swarm: commands in, events out, and a tick for what is due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::gossipsub::{IdentTopic, TopicHash};
use libp2p::identity::{Keypair, PeerId};
use libp2p::kad::{self, QueryId};
use libp2p::multiaddr::Protocol;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, Swarm, TransportError, relay, swarm};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::wire::{self, Hello, UnverifiedEphemeral};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::clock::{Clock, Entropy, random_16};
use crate::network::address::{carrier_of, is_relayed, peer_of, scope};
use crate::network::behaviour::Behaviour;
use crate::network::bootstrap::Bootstrap;
use crate::network::handle::{Command, Event, NetworkHandle, NetworkStatus, PathCounts};
use crate::network::misled::Misled;
use crate::network::peers::{FoundBy, Path, Peer, Peers};
use crate::network::transport::{self, NodeTransport};
use crate::network::{DhtMode, NetworkConfig};

mod change;
mod contacts;
mod discovery;
mod doubt;
mod early;
mod events;
mod nat;
mod observed;
mod punch;
mod reach;
mod relaying;
mod relays;
mod sightings;
mod spare;
mod view;

/// How many events may wait for the engine. Beyond it gossip is ignored and requests are refused; sync repairs both.
const EVENTS: usize = 2048;
/// How often due work is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long to wait for the system to name the addresses that are listened on.
const LISTEN_WAIT: Duration = Duration::from_secs(5);
/// The most rooms and peers that are remembered as passed over within a tick; the rest waits for the next comparison.
pub(super) const PASSED_OVER: usize = 1024;
/// Connections without traffic and without a shared room are closed after this.
const IDLE: Duration = Duration::from_secs(120);

/// What the network is made of.
pub(crate) struct NetworkParts {
    pub(crate) keypair: Keypair,
    pub(crate) transport: NodeTransport,
    pub(crate) config: NetworkConfig,
    pub(crate) hello: Hello,
    /// Banned peers and the reasons.
    pub(crate) banned: Vec<(PeerId, String)>,
    /// Tells when the machine has slept.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// Why the network cannot start. Nothing listens then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// An address to listen on is in use.
    #[error(
        "{0} is in use: another program, or another node, listens there; choose another address with --listen or network.listen"
    )]
    AddressInUse(Multiaddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({reason}); name an address of this machine with --listen or network.listen")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// Why.
        reason: String,
    },
    /// A part of libp2p refuses its configuration.
    #[error("the network cannot be set up: {0}")]
    Setup(String),
}

pub(super) struct Driver {
    pub(super) swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    pub(super) engine: mpsc::Sender<Event>,
    pub(super) config: NetworkConfig,
    pub(super) hello: Hello,
    pub(super) peers: Peers,
    pub(super) bootstrap: Bootstrap,
    /// Peers that have not introduced themselves yet, and until when they may take their time.
    pub(super) unintroduced: BTreeMap<PeerId, Instant>,
    pub(super) topics: HashMap<TopicHash, RoomId>,
    /// Peers that rooms without gossip need.
    pub(super) kept: BTreeMap<RoomId, Vec<PeerId>>,
    pub(super) hellos: HashMap<OutboundRequestId, PeerId>,
    pub(super) requests: HashMap<OutboundRequestId, doubt::Asked>,
    pub(super) connects: HashMap<ConnectionId, oneshot::Sender<Result<PeerId, String>>>,
    pub(super) to_provide: VecDeque<RoomId>,
    pub(super) providing: Vec<QueryId>,
    pub(super) searches: HashMap<QueryId, discovery::Search>,
    /// Look-ups of a provider's addresses.
    pub(super) lookups: HashMap<QueryId, PeerId>,
    /// Rooms that are announced in the DHT, or are to be.
    announced: HashSet<RoomId>,
    /// Who wants to know once a peer is ready.
    pub(super) awaited: Vec<(PeerId, mpsc::Sender<PeerId>)>,
    /// Rooms of which the engine was too busy to take gossip, and from whom it came.
    pub(super) passed_over: BTreeSet<(PeerId, RoomId)>,
    /// Gossip of peers that have not introduced themselves yet.
    pub(super) early: early::EarlyGossip,
    /// Servers of the local network.
    pub(super) nearby: BTreeMap<PeerId, discovery::Nearby>,
    pub(super) dht_joined: bool,
    /// Whether and how others reach this node.
    pub(super) nat: nat::Nat,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    shutdown: watch::Receiver<bool>,
}

/// Starts to listen and spawns the network's task.
pub(crate) async fn spawn(parts: NetworkParts) -> Result<(NetworkHandle, mpsc::Receiver<Event>), NetworkError> {
    let NetworkParts { keypair, transport, config, hello, banned, clock, entropy, shutdown } = parts;
    let own = keypair.public().to_peer_id();
    let mut swarm_config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE);
    let misled = Misled::default();
    let (transport, relays) = if config.nat {
        // Direct addresses get a head start before those through relays.
        swarm_config = swarm_config.with_smart_dial();
        let (relayed, relays) = relay::client::new(own);
        let joined = transport::with_relays(&keypair, relayed, transport);
        let joined = joined.map_err(|error| NetworkError::Setup(error.to_string()))?;
        (misled.guard(joined), Some(relays))
    } else {
        (transport, None)
    };
    let behaviour = Behaviour::new(&keypair, &config, &hello.agent, relays).map_err(NetworkError::Setup)?;
    let mut swarm = Swarm::new(transport, behaviour, own, swarm_config);
    if let Some(private) = &config.private {
        let fingerprint = private.fingerprint();
        tracing::info!(fingerprint, "this is a private mesh, over TCP only: its key does not protect QUIC");
        for address in &config.unused_listen {
            tracing::warn!(%address, "not listening here: a private mesh runs over TCP only");
        }
    }
    let mut waiting = Vec::new();
    for address in &config.listen {
        waiting.push(swarm.listen_on(address.clone()).map_err(|error| listen_error(address, error))?);
    }
    for address in &config.external {
        swarm.add_external_address(address.clone());
        if config.dht == DhtMode::Auto {
            swarm.behaviour_mut().kad.set_mode(Some(kad::Mode::Server));
        }
    }
    let (handle, commands) = NetworkHandle::channel();
    let (engine, events) = mpsc::channel(EVENTS);
    let now = Instant::now();
    let nat = nat::Nat::new(&config, misled, now, clock.now_ms());
    let mut driver = Driver {
        bootstrap: Bootstrap::new(config.bootstrap.clone(), now),
        peers: Peers::new(config.limits.clone()),
        swarm,
        commands,
        engine,
        config,
        hello,
        unintroduced: BTreeMap::new(),
        topics: HashMap::new(),
        kept: BTreeMap::new(),
        hellos: HashMap::new(),
        requests: HashMap::new(),
        connects: HashMap::new(),
        to_provide: VecDeque::new(),
        providing: Vec::new(),
        searches: HashMap::new(),
        lookups: HashMap::new(),
        announced: HashSet::new(),
        awaited: Vec::new(),
        passed_over: BTreeSet::new(),
        early: early::EarlyGossip::default(),
        nearby: BTreeMap::new(),
        dht_joined: false,
        nat,
        clock,
        entropy,
        shutdown,
    };
    for (peer, reason) in banned {
        driver.ban(peer, true, Some(reason));
    }
    let deadline = now + LISTEN_WAIT;
    while !waiting.is_empty() {
        let Ok(event) = tokio::time::timeout_at(deadline, driver.swarm.select_next_some()).await else { break };
        if let swarm::SwarmEvent::NewListenAddr { listener_id, .. } = &event {
            waiting.retain(|listener| listener != listener_id);
        }
        driver.on_swarm(event);
    }
    tokio::spawn(driver.run());
    Ok((handle, events))
}

fn listen_error(address: &Multiaddr, error: TransportError<std::io::Error>) -> NetworkError {
    match error {
        TransportError::Other(error) if in_use(&error) => NetworkError::AddressInUse(address.clone()),
        TransportError::Other(error) => NetworkError::Listen { address: address.clone(), reason: error.to_string() },
        TransportError::MultiaddrNotSupported(_) => NetworkError::Listen {
            address: address.clone(),
            reason: "not an address to listen on; expected /ip4/0.0.0.0/tcp/4848 or /ip4/0.0.0.0/udp/4848/quic-v1"
                .to_owned(),
        },
    }
}

/// The kind of an error is lost on its way through the transports, which wrap it; its text is not.
fn in_use(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrInUse || format!("{error:?}").contains("AddrInUse")
}

impl Driver {
    async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                _ = tick.tick() => self.on_tick(),
                () = shut_down(&mut shutdown) => break,
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Follow { room, gossiped: true } => {
                self.kept.remove(&room);
                self.follow(room);
            }
            Command::Follow { gossiped: false, .. } => {}
            Command::Announce(room) => self.provide(room),
            Command::Keep { room, peers } => {
                self.kept.insert(room, peers);
            }
            Command::Unfollow(room) => self.unfollow(room),
            Command::Publish { room, frame, reached } => {
                let topic = IdentTopic::new(wire::topic(&room));
                let lasts = !UnverifiedEphemeral::is_meant(&frame);
                let published = self.swarm.behaviour_mut().gossip.publish(topic, frame);
                if let Err(error) = &published {
                    tracing::debug!(%room, %error, "an event was not gossiped; sync will carry it");
                }
                let _ = reached.send(published.is_ok());
                if lasts {
                    self.doubt_listeners(&room, Instant::now());
                }
            }
            Command::Validated { token, acceptance } => {
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&token.id, &token.peer, acceptance);
            }
            Command::Request { peer, request, answer } => {
                if let Some(known) = self.peers.get_mut(&peer).filter(|known| known.ready()) {
                    known.asking += 1;
                    let id = self.swarm.behaviour_mut().sync.send_request(&peer, request);
                    self.requests.insert(id, doubt::Asked { peer, at: Instant::now(), answer });
                } else {
                    let _ = answer.send(Err("not connected".to_owned()));
                }
            }
            Command::Respond { channel, response } => {
                // The peer may have gone; nobody is left to be told then.
                let _ = self.swarm.behaviour_mut().sync.send_response(channel, response);
            }
            Command::Providers { room, found } => {
                let query = self.swarm.behaviour_mut().kad.get_providers(provider_key(&room));
                self.searches.insert(query, discovery::Search::new(found, random_16(&*self.entropy)));
            }
            Command::Contacts { asker, peers, answer } => {
                let _ = answer.send(self.contacts(&asker, peers));
            }
            Command::Acquaint { by, contacts, found } => self.acquaint(&by, contacts, &found),
            Command::Ready { answer } => {
                let ready = self.peers.iter().filter(|(_, peer)| peer.ready());
                let mut ready: Vec<(Option<Path>, PeerId)> =
                    ready.map(|(id, peer)| (peer.best().map(|best| best.path), *id)).collect();
                ready.sort_unstable();
                let _ = answer.send(ready.into_iter().map(|(_, id)| id).collect());
            }
            Command::Mesh { answer } => {
                let gossip = &self.swarm.behaviour().gossip;
                let mesh = |(topic, room): (&TopicHash, &RoomId)| (*room, gossip.mesh_peers(topic).copied().collect());
                let _ = answer.send(self.topics.iter().map(mesh).collect());
            }
            Command::Connect { address, answer } => self.connect(address, answer),
            Command::Ban { peer, banned, reason } => self.ban(peer, banned, reason),
            Command::Exclude { peers } => {
                for (id, excluded) in peers {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.excluded = excluded;
                    }
                }
            }
            Command::Count { peer, count } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.count(count);
                }
            }
            Command::Peers { answer } => {
                let _ = answer.send(self.peers.views());
            }
            Command::Status { answer } => {
                let _ = answer.send(self.status());
            }
            Command::Net { answer } => {
                let _ = answer.send(self.net(Instant::now()));
            }
            Command::Detour { peer, room, answer } => {
                let _ = answer.send(self.is_detour(&peer, &room));
            }
        }
    }

    /// Whether a peer is reached through a relay only, and another one that follows the room is not.
    fn is_detour(&self, peer: &PeerId, room: &RoomId) -> bool {
        let relayed = |peer: &Peer| peer.best().is_some_and(|best| best.is_relayed());
        if !self.peers.get(peer).is_some_and(relayed) {
            return false;
        }
        let topic = IdentTopic::new(wire::topic(room)).hash();
        let mut others = self.swarm.behaviour().gossip.all_peers();
        others.any(|(other, topics)| {
            topics.contains(&&topic) && self.peers.get(other).is_some_and(|known| known.ready() && !relayed(known))
        })
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        for address in self.bootstrap.due(now) {
            self.dial_bootstrap(&address, now);
        }
        let silent: Vec<PeerId> =
            self.unintroduced.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect();
        for peer in silent {
            tracing::debug!(%peer, "disconnecting a peer that did not introduce itself");
            self.unintroduced.remove(&peer);
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        self.introduce_again();
        for (peer, room) in std::mem::take(&mut self.passed_over) {
            self.tell(Event::PeerFollows { peer, room });
        }
        self.dial_nearby(now);
        self.tend_nat(now);
        self.tend_doubts(now);
        self.prune_duplicates(now);
        self.prune_spare(now);
        self.provide_more();
        self.awaited.retain(|(_, found)| !found.is_closed());
    }

    fn follow(&mut self, room: RoomId) {
        let topic = IdentTopic::new(wire::topic(&room));
        match self.swarm.behaviour_mut().gossip.subscribe(&topic) {
            Ok(true) => {
                self.topics.insert(topic.hash(), room);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%room, %error, "a room's gossip cannot be followed; sync will carry it"),
        }
    }

    fn provide(&mut self, room: RoomId) {
        if !self.announced.insert(room) {
            return;
        }
        self.to_provide.push_back(room);
        self.provide_more();
    }

    fn unfollow(&mut self, room: RoomId) {
        let topic = IdentTopic::new(wire::topic(&room));
        self.topics.remove(&topic.hash());
        self.kept.remove(&room);
        self.announced.remove(&room);
        self.to_provide.retain(|waiting| *waiting != room);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.gossip.unsubscribe(&topic);
        behaviour.kad.stop_providing(&provider_key(&room));
    }

    fn connect(&mut self, address: Multiaddr, answer: oneshot::Sender<Result<PeerId, String>>) {
        if self.config.private.is_some() && carrier_of(&address) == "quic" {
            let refused = "this is a private mesh, which runs over TCP only; use the server's /tcp/ address";
            let _ = answer.send(Err(refused.to_owned()));
            return;
        }
        if let Some(peer) = peer_of(&address) {
            let now = Instant::now();
            let known = self.peers.entry(peer, now);
            known.found_by.insert(FoundBy::Command);
            if !known.connections.is_empty() {
                let _ = answer.send(Ok(peer));
                return;
            }
        }
        match self.dial_address(address) {
            Ok(connection) => {
                self.connects.insert(connection, answer);
            }
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
    }

    pub(super) fn ban(&mut self, peer: PeerId, banned: bool, reason: Option<String>) {
        let entry = self.peers.entry(peer, Instant::now());
        entry.ban = banned.then(|| reason.unwrap_or_default());
        if banned {
            self.swarm.behaviour_mut().blocked.block_peer(peer);
            self.swarm.behaviour_mut().gossip.blacklist_peer(&peer);
            let _ = self.swarm.disconnect_peer_id(peer);
        } else {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
            self.swarm.behaviour_mut().gossip.remove_blacklisted_peer(&peer);
        }
    }

    fn status(&self) -> NetworkStatus {
        let id = *self.swarm.local_peer_id();
        let external: Vec<&Multiaddr> = self.swarm.external_addresses().collect();
        let listening = self.swarm.listeners().filter(|address| !external.contains(address));
        let mut addresses: Vec<Multiaddr> =
            external.iter().copied().chain(listening).map(|a| with_peer(a, id)).collect();
        // What reaches farthest stands first, and before what leads through a relay.
        addresses.sort_by_cached_key(|address| (Reverse(scope(address)), is_relayed(address), address.clone()));
        addresses.dedup();
        let mut paths = PathCounts::default();
        for best in self.peers.iter().filter_map(|(_, peer)| peer.best()) {
            match best.path {
                Path::Direct => paths.direct += 1,
                Path::Punched => paths.punched += 1,
                Path::Relayed => paths.relayed += 1,
            }
        }
        let nat = &self.nat;
        NetworkStatus {
            reachability: if nat.on { nat.verdict.word() } else { "" },
            paths,
            relays_held: nat.relays.holding().count(),
            reservations_served: nat.clients.len(),
            circuits_served: nat.circuits,
            circuits_served_total: nat.circuits_total,
            punches_tried: nat.punches.tried,
            punches_succeeded: nat.punches.succeeded,
            addresses,
            bootstrap: self.bootstrap.view(Instant::now()),
            connected: self.peers.iter().filter(|(_, peer)| !peer.connections.is_empty()).count(),
            introduced: self.peers.iter().filter(|(_, peer)| peer.ready()).count(),
            dht_server: self.swarm.behaviour().kad.mode() == kad::Mode::Server,
            dht_peers: self.dht_peers(),
            topics: self.topics.len(),
        }
    }

    fn dht_peers(&self) -> usize {
        // kad shows its buckets only to whoever could change them.
        self.peers.iter().filter(|(_, peer)| peer.in_dht).count()
    }
}

/// Returns when the node shuts down.
pub(crate) async fn shut_down(shutdown: &mut watch::Receiver<bool>) {
    // A builder that is gone without a word has no use for the network either.
    let _ = shutdown.wait_for(|down| *down).await;
}

fn with_peer(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    match peer_of(address) {
        Some(_) => address.clone(),
        None => address.clone().with(Protocol::P2p(peer)),
    }
}

/// Where a room's servers are to be found in the DHT: a hash, as for its topic.
pub(super) fn provider_key(room: &RoomId) -> kad::RecordKey {
    kad::RecordKey::new(&wire::topic(room))
}
