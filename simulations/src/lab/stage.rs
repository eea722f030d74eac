//! A laboratory that stands: its namespaces, its nodes, the room that all of them are in.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rocketmesh_node::api::types::RoomDetail;
use rocketmesh_node::clock::SystemEntropy;
use rocketmesh_node::network::private_key;

use crate::Failure;
use crate::lab::addresses::{Relay, Transports, bootstrap, circuits, listen};
use crate::lab::ground::{self, Ground};
use crate::lab::node::{Node, Told};
use crate::lab::orders::{Names, Order, build};
use crate::lab::paths::{Connection, Sight, connections};
use crate::lab::topology::{Host, hosts};

/// How often conditions are looked at. A look is a call of the command line for each node, which takes some 5 ms.
pub const GLANCE: Duration = Duration::from_millis(400);
/// How long the nodes may take to be of one mind after the last event arrived everywhere.
const AGREE: Duration = Duration::from_secs(10);
/// How long members may take to see each other.
const MEMBERS: Duration = Duration::from_secs(60);

/// What a run was asked for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The binary of the nodes.
    pub binary: PathBuf,
    /// What they use.
    pub transports: Transports,
    /// What they log.
    pub level: String,
    /// Where their logs are kept; with the data, and gone with it, otherwise.
    pub logs: Option<PathBuf>,
}

/// A laboratory. The order of the fields is the order in which it is taken down.
#[derive(Debug)]
pub struct Stage {
    nodes: Vec<Node>,
    ground: Ground,
    setup: Setup,
    room: String,
    /// The key of all nodes, in a private mesh.
    private_key: Option<PathBuf>,
    _directory: tempfile::TempDir,
}

impl Stage {
    /// Builds the internet; nothing runs in it yet.
    ///
    /// # Errors
    /// What a tool said. Nothing is left behind.
    pub fn build(setup: Setup) -> Result<Self, Failure> {
        let directory = ground::directory()?;
        let logs = setup.logs.clone().unwrap_or_else(|| directory.path().join("logs"));
        fs::create_dir_all(&logs).map_err(|error| format!("cannot make {}: {error}", logs.display()))?;
        let mut private_key = None;
        if setup.transports == Transports::Private {
            let path = directory.path().join("mesh.key");
            private_key::create(&path, &SystemEntropy)?;
            private_key = Some(path);
        }
        let mut ground = Ground::new();
        ground.carry_out(&build(ground.names()))?;
        let node = |host: Host| {
            let namespace = ground.names().namespace(host.name);
            Node::new(host, namespace, &setup.binary, directory.path(), &logs)
        };
        let nodes = hosts().into_iter().map(node).collect();
        Ok(Stage { nodes, ground, setup, room: String::new(), private_key, _directory: directory })
    }

    /// Every node, in the order of [`hosts`].
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What the nodes use.
    pub fn transports(&self) -> Transports {
        self.setup.transports
    }

    /// The room's id.
    pub fn room(&self) -> &str {
        &self.room
    }

    /// How the namespaces are called.
    pub fn names(&self) -> &Names {
        self.ground.names()
    }

    /// The place of a host among the nodes.
    ///
    /// # Errors
    /// If no host has the name.
    pub fn place(&self, name: &str) -> Result<usize, Failure> {
        let place = self.nodes.iter().position(|node| node.host.name == name);
        place.ok_or_else(|| format!("no host is called {name}").into())
    }

    /// Changes the internet.
    ///
    /// # Errors
    /// What a tool said.
    pub fn carry_out(&mut self, orders: impl FnOnce(&Names) -> Vec<Order>) -> Result<(), Failure> {
        let orders = orders(self.ground.names());
        self.ground.carry_out(&orders)
    }

    /// What an order prints.
    ///
    /// # Errors
    /// What a tool said.
    pub fn ask(&self, order: &Order) -> Result<String, Failure> {
        self.ground.ask(order)
    }

    /// Starts every node: the relays first, then the rest at once.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start(&mut self) -> Result<(), Failure> {
        let relays = self.nodes.iter().filter(|node| node.host.is_relay()).count();
        for at in 0..relays {
            self.start_one(at).await?;
        }
        let told: Vec<Told> = self.nodes.iter().map(|node| self.told(node)).collect();
        let starts = self.nodes.iter_mut().zip(&told).skip(relays).map(|(node, told)| node.start(told));
        join_all(starts).await.into_iter().collect()
    }

    /// Starts one node, with the relays for bootstrap addresses that were up before.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_one(&mut self, at: usize) -> Result<(), Failure> {
        let told = self.told(&self.nodes[at]);
        self.nodes[at].start(&told).await
    }

    /// Kills a node without a warning.
    pub fn kill(&mut self, at: usize) {
        self.nodes[at].kill();
    }

    fn told(&self, node: &Node) -> Told {
        let host = &node.host;
        let listen = listen(host, self.setup.transports);
        let others = self.relays().into_iter().filter(|(relay, _)| relay.name != host.name);
        let bootstrap = others.flat_map(|relay| bootstrap(host, self.setup.transports, &relay)).collect();
        // One relay is told its addresses by whoever runs it, the other one has to find out.
        let external = if host.is_relay() && host.site == 0 { listen.clone() } else { Vec::new() };
        let private_key = self.private_key.clone();
        Told { listen, bootstrap, external, private_key, level: self.setup.level.clone() }
    }

    /// The relays that have been up.
    fn relays(&self) -> Vec<Relay> {
        let relays = self.nodes.iter().filter(|node| node.host.is_relay() && !node.id.is_empty());
        relays.map(|node| (node.host, node.id.clone())).collect()
    }

    /// What each node says of its network; none for one that is down.
    pub async fn sights(&self) -> Vec<Option<Sight>> {
        join_all(self.nodes.iter().map(Node::sight)).await
    }

    /// How the pairs are connected.
    pub async fn connections(&self) -> BTreeMap<(usize, usize), Connection> {
        let sights = self.sights().await;
        connections(&self.ids(), &sights)
    }

    /// Every node's id.
    pub fn ids(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.id.clone()).collect()
    }

    /// Tells a node of another one that is behind a NAT, as people do: by its address, which leads through a relay.
    ///
    /// # Errors
    /// Why it could not connect, through whichever relay.
    pub async fn introduce(&self, to: usize, other: usize) -> Result<(), Failure> {
        let (node, other) = (&self.nodes[to], &self.nodes[other]);
        let through = other.sight().await.unwrap_or_default().relays;
        let (used, unused): (Vec<Relay>, Vec<Relay>) =
            self.relays().into_iter().partition(|(_, id)| through.contains(id));
        let ways = |relays: &[Relay]| circuits(&node.host, self.setup.transports, relays, &other.id);
        let said = other.status().await.map(|status| status.addresses).unwrap_or_default();
        let said = said.into_iter().filter(|address| address.contains("/p2p-circuit"));
        let mut why = Failure::from("it has no address that leads through a relay");
        for address in ways(&used).into_iter().chain(said.take(2)).chain(ways(&unused)) {
            match node.connect(&address).await {
                Ok(()) => return Ok(()),
                Err(failure) => why = failure,
            }
        }
        Err(why)
    }

    /// Makes the room on one node and lets all others join.
    ///
    /// # Errors
    /// If one cannot join.
    pub async fn gather(&mut self, owner: usize) -> Result<(), Failure> {
        let room = self.nodes[owner].create("lab").await?;
        let others = self.nodes.iter().enumerate().filter(|(at, _)| *at != owner);
        let joined = join_all(others.map(|(_, node)| node.join(&room))).await;
        joined.into_iter().collect::<Result<(), Failure>>()?;
        self.room = room;
        let everybody = self.nodes.len() as u64;
        let until = Instant::now() + MEMBERS;
        loop {
            let rooms = join_all(self.nodes.iter().map(|node| node.room(&self.room))).await;
            let sees =
                |room: &Result<RoomDetail, Failure>| room.as_ref().is_ok_and(|room| room.summary.members >= everybody);
            if rooms.iter().all(sees) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err("not every server sees every member of the room".into());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Whether all nodes come to hold the same room: the same events, and nothing missing.
    pub async fn agree(&self) -> bool {
        let until = Instant::now() + AGREE;
        loop {
            let up = self.nodes.iter().filter(|node| node.is_up());
            let rooms = join_all(up.map(|node| node.room(&self.room))).await;
            let digests: Result<Vec<String>, Failure> =
                rooms.into_iter().map(|room| Ok::<_, Failure>(room?.summary.digest)).collect();
            if digests.is_ok_and(|digests| digests.windows(2).all(|pair| pair[0] == pair[1])) {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}
