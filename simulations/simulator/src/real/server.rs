//! One simulated server: a real node on a simulated network and disk, started, stopped, crashed and started again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libp2p::Multiaddr;
use libp2p::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::multiaddr::Protocol;
use rocketmesh_node::client::Client;
use rocketmesh_node::network::transport;
use rocketmesh_node::{Node, NodeBuilder, Tuning};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_storage::{EventStore, LogKind, MemoryDisk};
use tokio::task::JoinHandle;

use super::RealError;
use super::internet::{Internet, PORT, address};
use super::meter::Meter;
use super::stage::{SimClock, SimEntropy, Stage};
use super::transport::{SimTransport, multiaddr};
use crate::random::Random;
use crate::sabotage::Sabotage;

/// How many known servers each server is told of.
const TOLD: usize = 3;
/// Entries of the local log that are read at a time.
const PAGE: usize = 512;
/// What servers keep free on their disks, in bytes: the default of nodes on real ones.
pub(super) const RESERVE: u64 = 64 * 1024 * 1024;

/// A server.
pub(super) struct Server {
    pub(super) number: usize,
    pub(super) key: ServerKey,
    disk: MemoryDisk,
    node: Option<Node>,
    follower: Option<JoinHandle<()>>,
    /// How far its local log was followed.
    position: Arc<AtomicU64>,
    pub(super) restarts: u32,
    /// Whether the process of this life still runs: what it says after its end, it says to nobody.
    alive: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn new(stage: &Stage, number: usize, key: ServerKey) -> Self {
        let disk = MemoryDisk::new().with_flush(stage.plan.servers[number].flush);
        Server {
            number,
            key,
            disk,
            node: None,
            follower: None,
            position: Arc::default(),
            restarts: 0,
            alive: Arc::default(),
        }
    }

    /// The store, while the node does not run.
    pub(super) fn store(&self) -> Result<EventStore, RealError> {
        Ok(EventStore::in_memory(&self.disk)?)
    }

    /// What the store lies on.
    pub(super) fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// Follows the log from its present end on: what is there is known.
    pub(super) fn skip_past(&self) -> Result<(), RealError> {
        self.position.store(self.store()?.log_end(), Ordering::Relaxed);
        Ok(())
    }

    /// A way to use the node; none while it does not run.
    pub(super) fn client(&self) -> Option<Client> {
        self.node.as_ref().map(Node::client)
    }

    /// Whether the present life of the server goes on, from now on.
    pub(super) fn alive(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.alive)
    }

    /// The address that others dial.
    pub(super) fn multiaddr(&self) -> Multiaddr {
        let peer = transport::keypair(&self.key).public().to_peer_id();
        multiaddr(address(self.number), PORT).with(Protocol::P2p(peer))
    }

    /// Starts the node.
    pub(super) async fn start(
        &mut self,
        stage: &Arc<Stage>,
        internet: &Internet,
        bootstrap: &[Multiaddr],
        tuning: Tuning,
        sabotage: Option<Sabotage>,
    ) -> Result<(), RealError> {
        let number = self.number;
        let own = self.multiaddr();
        // An administrator gives a few addresses, however many there are.
        let known: Vec<String> = bootstrap.iter().filter(|address| **address != own).map(ToString::to_string).collect();
        let bootstrap = Random::new(stage.plan.seed, &format!("what server {number} is told")).choose(&known, TOLD);
        let metered = Arc::clone(stage);
        let transport = transport::secured(&self.key, SimTransport::new(internet.clone(), number))
            .map_err(|error| RealError::Past(error.to_string()))?
            .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(Meter::new(muxer, metered, number))))
            .boxed();
        let files = stage.plan.scenario.files.clone();
        let reserve = if sabotage == Some(Sabotage::FillsDisks) { 0 } else { RESERVE };
        let node = NodeBuilder::in_directory(Path::new("nowhere"))
            .configure(|config| {
                config.name = format!("s{number}.example");
                config.network.listen = vec![multiaddr(address(number), PORT).to_string()];
                config.network.bootstrap = bootstrap;
                config.network.mdns = false;
                // Who is behind NAT here cannot be dialled, and nobody relays: the routers for that are in the laboratory. Asking
                // and testing would cost every server of every run.
                config.network.nat = false;
                let own = &mut config.files;
                own.server_quota_mib = files.server_quota_mib.unwrap_or(own.server_quota_mib);
                own.fetch_up_to_mib = files.fetch_up_to_mib.unwrap_or(own.fetch_up_to_mib);
            })
            .key(self.key.clone())
            .transport(transport)
            .store(self.store()?.with_reserve(reserve))
            .clock(Arc::new(SimClock::of(stage, number)))
            .entropy(Arc::new(SimEntropy::of(&stage.plan, number, self.restarts)))
            .tuning(tuning)
            .without_api()
            .start()
            .await?;
        if sabotage == Some(Sabotage::ForgetsPosition) && self.restarts > 0 {
            self.position.store(0, Ordering::Relaxed);
        }
        let (stage, position) = (Arc::clone(stage), Arc::clone(&self.position));
        self.follower = Some(tokio::spawn(follow(stage, node.client(), number, node.origin(), position)));
        self.node = Some(node);
        self.alive = Arc::new(AtomicBool::new(true));
        Ok(())
    }

    /// Shuts the node down in good order, in the background.
    pub(super) fn stop(&mut self, internet: &Internet) -> Option<JoinHandle<()>> {
        let (node, internet, number) = (self.node.take()?, internet.clone(), self.number);
        let follower = self.follower.take();
        self.restarts += 1;
        Some(tokio::spawn(async move {
            node.shutdown().await;
            internet.unplug(number);
            if let Some(follower) = follower {
                follower.abort();
            }
        }))
    }

    /// Ends the node as a crash does: nothing that it does from now on reaches its disk or anybody.
    pub(super) fn crash(&mut self, internet: &Internet, sabotage: Option<Sabotage>) -> Option<JoinHandle<()>> {
        let node = self.node.take()?;
        self.alive.store(false, Ordering::Relaxed);
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
        self.restarts += 1;
        self.disk = match sabotage {
            Some(Sabotage::AcknowledgesUnflushed) => self.disk.before_last_sync(),
            _ => self.disk.after_crash(),
        };
        internet.unplug(self.number);
        Some(tokio::spawn(node.shutdown()))
    }
}

/// Tells of everything that a server's local log says.
async fn follow(
    stage: Arc<Stage>,
    client: Client,
    server: usize,
    origin: rocketmesh_protocol::identity::Origin,
    position: Arc<AtomicU64>,
) {
    let mut durable = client.durable();
    loop {
        let end = *durable.borrow_and_update();
        loop {
            let from = position.load(Ordering::Relaxed);
            let Ok(entries) = client.log_after(from, PAGE) else { return };
            let mut told = from;
            for entry in entries.iter().filter(|entry| entry.position <= end) {
                tell(&stage, &client, server, origin, entry.kind, entry.room, &entry.event);
                told = entry.position;
            }
            position.store(told, Ordering::Relaxed);
            if told == from {
                break;
            }
        }
        if durable.changed().await.is_err() {
            return;
        }
    }
}

fn tell(
    stage: &Stage,
    client: &Client,
    server: usize,
    origin: rocketmesh_protocol::identity::Origin,
    kind: LogKind,
    room: RoomId,
    id: &EventId,
) {
    let Some(number) = stage.rooms.iter().position(|known| *known == room) else { return };
    let known = stage.observe(|observer, _| observer.ledger().number(id).is_some());
    if !known {
        let Ok(Some(stored)) = client.event(id) else { return };
        let event = Arc::new(stored.event);
        let own = event.header().origin == origin && stage.plan.servers[server].hostile.is_none();
        stage.observe(|observer, now| {
            if own && matches!(kind, LogKind::Accepted | LogKind::AcceptedLate) {
                observer.said(now, server, number, event);
            } else {
                // Whoever made it has not told of it: a hostile server, or one that crashed after it had sent it.
                observer.register(event, number, server);
            }
        });
    }
    stage.observe(|observer, now| match kind {
        LogKind::Accepted | LogKind::AcceptedLate => observer.arrived(now, server, id, true),
        LogKind::Rejected | LogKind::ArrivedWithheld => observer.arrived(now, server, id, false),
        LogKind::Withheld => observer.hidden(now, server, id),
        LogKind::Restored => observer.restored(now, server, id),
        LogKind::BodyArrived | LogKind::Erased | LogKind::Ahead => {}
    });
}
