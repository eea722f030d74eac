//! The run itself: servers are started, the plan's steps are taken, and everybody is looked at from time to time.

mod disks;
mod files;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use rocketmesh_node::Tuning;
use rocketmesh_node::client::Client;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::Content;
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::internet::Internet;
use super::past::{self, Past, localpart};
use super::server::Server;
use super::stage::Stage;
use super::{Options, RealError, harm};
use crate::cities;
use crate::model::drafts;
use crate::observe::{Holding, Observer};
use crate::plan::{Do, Plan};
use crate::random::Random;
use crate::record::{LinkRow, Record, ServerRow};
use crate::sabotage::Sabotage;
use crate::scenario::Scenario;
use files::FileBook;

/// How often a server that finds no holder of a room tries again, and how long one try may take.
const JOIN_AGAIN: Duration = Duration::from_secs(5);
const JOIN_WAIT: Duration = Duration::from_secs(20);
/// How many looks at everybody a run takes, and the shortest time between two.
const LOOKS: u32 = 120;
const SHORTEST_LOOK: Duration = Duration::from_secs(1);
/// Copies of rooms that are looked at whole at each look, others each time: it costs to list what is shown.
const LOOKED_SEATS: usize = 6;
/// What a node holds back at most in one room, see the engine's `held.rs`.
const HELD: u64 = 2048;
/// What a node is connected to at most.
const CONNECTIONS: u64 = 800;

/// A run of real nodes.
pub(super) struct World<'a> {
    plan: Arc<Plan>,
    stage: Arc<Stage>,
    internet: Internet,
    servers: Vec<Server>,
    bootstrap: Vec<Multiaddr>,
    tuning: Tuning,
    sabotage: Option<Sabotage>,
    closing: BTreeMap<usize, JoinHandle<()>>,
    look_every: Duration,
    next_look: Duration,
    looks: usize,
    started: Duration,
    book: Arc<FileBook>,
    /// By server: what those do that mean harm.
    harms: BTreeMap<usize, JoinHandle<()>>,
    /// The place of the next step about files and disks.
    next_file_step: usize,
    /// Servers whose disks are nearly full, and how many bytes they had then.
    full: BTreeMap<usize, u64>,
    progress: &'a mut (dyn FnMut(Duration, Duration) + Send),
}

/// The node's numbers, with what the scenario and a deliberate bug change of them.
fn tuning(scenario: &Scenario, sabotage: Option<Sabotage>) -> Tuning {
    let tuning = scenario.mesh.tuning();
    match sabotage {
        Some(Sabotage::NeverCompares) => Tuning { compare_every: Duration::from_secs(1 << 30), ..tuning },
        _ => tuning,
    }
}

impl<'a> World<'a> {
    pub(super) fn new(
        plan: Arc<Plan>,
        options: &mut Options,
        progress: &'a mut (dyn FnMut(Duration, Duration) + Send),
    ) -> Result<Self, RealError> {
        let started = crate::virtual_time::real_now();
        let keys = past::keys(&plan);
        let pasts: Vec<Past> =
            (0..plan.rooms.len()).map(|room| Past::of(&plan, room, &keys)).collect::<Result<_, _>>()?;
        let mut observer = Observer::new(Arc::clone(&plan));
        if let Some(file) = options.trace_file.take() {
            observer.trace_to(file);
        }
        for (number, past) in pasts.iter().enumerate() {
            for event in &past.events {
                let origin = keys.iter().position(|key| key.origin() == event.header().origin).unwrap_or(0);
                observer.register(Arc::clone(event), number, origin);
            }
        }
        let stage = Arc::new(Stage::new(observer, pasts.iter().map(|past| past.room).collect()));
        let servers: Vec<Server> =
            keys.into_iter().enumerate().map(|(number, key)| Server::new(&stage, number, key)).collect();
        for (past, room) in pasts.iter().zip(&plan.rooms) {
            let mut homes: Vec<usize> = room.members[..room.present].iter().map(|member| member.server).collect();
            homes.sort_unstable();
            homes.dedup();
            for home in homes {
                past.put(&servers[home].store()?)?;
            }
        }
        for server in &servers {
            server.skip_past()?;
        }
        let known = servers.iter().filter(|server| plan.servers[server.number].bootstrap);
        let scenario = &plan.scenario;
        let whole = scenario.warm_up.0 + scenario.duration.0 + scenario.settle.0;
        Ok(World {
            bootstrap: known.map(Server::multiaddr).collect(),
            internet: Internet::new(Arc::clone(&plan)),
            tuning: tuning(scenario, options.sabotage),
            sabotage: options.sabotage,
            closing: BTreeMap::new(),
            look_every: (whole / LOOKS).max(SHORTEST_LOOK),
            next_look: Duration::ZERO,
            looks: 0,
            started,
            book: Arc::new(FileBook::of(&plan)),
            harms: BTreeMap::new(),
            next_file_step: 0,
            full: BTreeMap::new(),
            stage,
            servers,
            plan,
            progress,
        })
    }

    /// Runs everything and closes the books.
    pub(super) async fn run(mut self, about: crate::record::About) -> Result<Record, RealError> {
        let scenario = self.plan.scenario.clone();
        self.disturbances();
        self.start_all(scenario.warm_up.0).await?;
        self.pass(scenario.warm_up.0).await;
        (0..self.servers.len()).for_each(|server| self.begin_harm(server));
        let plan = Arc::clone(&self.plan);
        for step in plan.steps.iter().filter(|step| step.at <= scenario.duration.0) {
            self.take_file_steps(step.at).await;
            self.pass(scenario.warm_up.0 + step.at).await;
            self.take(&step.what).await?;
        }
        self.take_file_steps(scenario.duration.0).await;
        let end = scenario.warm_up.0 + scenario.duration.0;
        self.pass(end).await;
        self.restore().await?;
        self.pass(end + Duration::from_secs(1)).await;
        self.probe().await;
        self.settle(end + scenario.settle.0).await;
        self.finish(about).await
    }

    /// Lets virtual time pass until then.
    async fn pass(&mut self, until: Duration) {
        loop {
            let next = until.min(self.next_look);
            tokio::time::sleep_until(self.stage.moment(next)).await;
            if self.next_look <= self.stage.now() {
                self.look().await;
                self.next_look += self.look_every;
            }
            if until <= self.stage.now() {
                return;
            }
        }
    }

    /// Starts the known servers first and the others spread over two thirds of the warm-up: a mesh does not begin in one
    /// moment.
    async fn start_all(&mut self, warm_up: Duration) -> Result<(), RealError> {
        let mut random = Random::new(self.plan.seed, "starting");
        let mut starts: Vec<(Duration, usize)> = (0..self.servers.len())
            .map(|server| match self.plan.servers[server].bootstrap {
                true => (Duration::ZERO, server),
                false => (warm_up.mul_f64(0.66 * random.fraction()), server),
            })
            .collect();
        starts.sort_unstable();
        for (at, server) in starts {
            self.pass(at).await;
            self.start(server).await?;
        }
        Ok(())
    }

    async fn start(&mut self, number: usize) -> Result<(), RealError> {
        let server = &mut self.servers[number];
        server.start(&self.stage, &self.internet, &self.bootstrap, self.tuning, self.sabotage).await?;
        self.stage.runs(number, server.client());
        Ok(())
    }

    /// Lets a server that means harm begin with it.
    fn begin_harm(&mut self, server: usize) {
        if let Some(harm) = harm::begin(&self.plan, &self.stage, &self.servers, server) {
            self.harms.insert(server, harm);
        }
    }

    /// A server is about to go.
    fn goes(&mut self, server: usize) {
        self.hush(server);
        self.stage.runs(server, None);
        if let Some(harm) = self.harms.remove(&server) {
            harm.abort();
        }
    }

    async fn take(&mut self, what: &Do) -> Result<(), RealError> {
        match what {
            Do::Say { room, member, text } => drop(self.say(*room, *member, Arc::clone(text), false)),
            Do::Deed { room, by, act, whom } => {
                let user = |member: usize| self.user(*room, member);
                let (by_user, whom) = (user(*by)?, user(whom.unwrap_or(*by))?);
                let content = drafts::deed(*act, &by_user, &whom);
                let text = content.kind_and_key().1.filter(|_| *act == crate::scenario::Act::Topic);
                let text = text.map(|_| ("topic".to_owned(), format!("a topic of {}", by_user.localpart)));
                drop(self.post(*room, *by, content, text, false));
            }
            Do::Join { room, member } => self.join(*room, *member)?,
            Do::Stop(server) => {
                self.goes(*server);
                if let Some(closing) = self.servers[*server].stop(&self.internet) {
                    self.closing.insert(*server, closing);
                    self.stage.observe(|observer, now| observer.down(now, *server));
                }
            }
            Do::Crash(server) => {
                self.goes(*server);
                if let Some(closing) = self.servers[*server].crash(&self.internet, self.sabotage) {
                    self.closing.insert(*server, closing);
                    self.stage.observe(|observer, now| observer.down(now, *server));
                }
            }
            Do::Start(server) => {
                if self.start_again(*server).await? {
                    self.begin_harm(*server);
                }
            }
            Do::Cut { number, side } => self.internet.cut(*number, Arc::clone(side)),
            Do::Mend { number } => self.internet.mend(*number),
        }
        Ok(())
    }

    /// False if it runs already.
    async fn start_again(&mut self, server: usize) -> Result<bool, RealError> {
        if self.servers[server].client().is_some() {
            return Ok(false);
        }
        if let Some(closing) = self.closing.remove(&server) {
            // A shutdown takes a moment; a panic in it is the node's own affair and shows in what it left.
            let _ = closing.await;
        }
        let store = self.servers[server].store()?;
        self.start(server).await?;
        let holds = |id: &EventId| store.contains(id).unwrap_or(false);
        self.stage.observe(|observer, now| observer.up(now, server, &holds));
        self.ask_again(server);
        Ok(true)
    }

    fn user(&self, room: usize, member: usize) -> Result<UserId, RealError> {
        let member = &self.plan.rooms[room].members[member];
        Ok(UserId { origin: self.servers[member.server].key.origin(), localpart: localpart(&member.user)? })
    }

    fn say(&self, room: usize, member: usize, text: Arc<str>, probe: bool) -> Option<JoinHandle<()>> {
        let text = Some(("text".to_owned(), text.to_string()));
        self.post(room, member, Content::Message { thread: None }, text, probe)
    }

    /// Lets a user write something, in the background. A server that is down says nothing.
    fn post(
        &self,
        room: usize,
        member: usize,
        content: Content,
        text: Option<(String, String)>,
        probe: bool,
    ) -> Option<JoinHandle<()>> {
        let user = &self.plan.rooms[room].members[member];
        let (server, id) = (user.server, self.stage.rooms[room]);
        let (client, user) = (self.servers[server].client()?, localpart(&user.user).ok()?);
        let (stage, alive) = (Arc::clone(&self.stage), self.servers[server].alive());
        Some(tokio::spawn(async move {
            let fields = text.map(|(field, text)| Map::new().with(field.as_str(), text.as_str()));
            match client.post(id, user, &content, fields).await {
                _ if !alive.load(std::sync::atomic::Ordering::Relaxed) => {}
                Ok(written) if stage.plan.servers[server].hostile.is_none() => {
                    stage.observe(|observer, now| {
                        let event = observer.said(now, server, room, Arc::new(written.event));
                        if probe {
                            observer.probe(now, event);
                        }
                    });
                }
                Ok(_) => {}
                Err(error) => stage.observe(|observer, now| {
                    observer.trace(now, format_args!("refused {server} {room} {error}"));
                }),
            }
        }))
    }

    /// Lets a server come into a room, trying again until it is in.
    fn join(&self, room: usize, member: usize) -> Result<(), RealError> {
        let member = &self.plan.rooms[room].members[member];
        let (server, id, user) = (member.server, self.stage.rooms[room], localpart(&member.user)?);
        let Some(client) = self.servers[server].client() else { return Ok(()) };
        let stage = Arc::clone(&self.stage);
        tokio::spawn(async move {
            loop {
                match client.join(id, user.clone(), JOIN_WAIT).await {
                    Ok(_) => return,
                    Err(error) => {
                        stage.observe(|observer, now| observer.trace(now, format_args!("no way in {server} {error}")));
                    }
                }
                tokio::time::sleep(JOIN_AGAIN).await;
            }
        });
        Ok(())
    }

    /// Tells of what will go wrong, for the record.
    fn disturbances(&mut self) {
        let plan = Arc::clone(&self.plan);
        let warm_up = plan.scenario.warm_up.0;
        let end = plan.scenario.duration.0;
        let mut found: Vec<(String, Duration, Duration)> = Vec::new();
        for (number, cut) in plan.scenario.partitions.iter().enumerate().filter(|(_, cut)| cut.at.0 < end) {
            found.push((format!("cut {number}"), cut.at.0, cut.until.0.min(end)));
        }
        for crash in plan.scenario.crashes.iter().filter(|crash| crash.at.0 < end) {
            let share = (crash.share * 100.0).round();
            found.push((format!("{share} % of servers crash"), crash.at.0, (crash.at.0 + crash.after.0).min(end)));
        }
        for full in plan.scenario.full_disk.iter().filter(|full| full.at.0 < end) {
            let count = full.servers(plan.servers.len());
            found.push((format!("{count} disks are nearly full"), full.at.0, full.until.0.min(end)));
        }
        let stops = plan.steps.iter().filter(|step| matches!(step.what, Do::Stop(_))).map(|step| step.at);
        let starts = plan.steps.iter().filter(|step| matches!(step.what, Do::Start(_))).map(|step| step.at);
        if let (Some(first), Some(last)) = (stops.min(), starts.max()) {
            found.push(("servers come and go".to_owned(), first, last));
        }
        self.stage.observe(|observer, _| {
            for (what, at, until) in found {
                observer.disturbed(what, warm_up + at, warm_up + until);
            }
        });
    }

    /// Ends every fault.
    async fn restore(&mut self) -> Result<(), RealError> {
        for number in 0..self.plan.scenario.partitions.len() {
            self.internet.mend(number);
        }
        for server in 0..self.servers.len() {
            self.clear(server);
            self.start_again(server).await?;
        }
        Ok(())
    }

    /// Lets somebody who may speak say one more thing in every room.
    async fn probe(&mut self) {
        let mut probes = Vec::new();
        for room in 0..self.plan.rooms.len() {
            let honest = |place: &usize| {
                let member = &self.plan.rooms[room].members[*place];
                self.plan.servers[member.server].hostile.is_none()
            };
            if let Some(member) = (0..self.plan.rooms[room].present).find(honest) {
                probes.extend(self.say(room, member, "Is everybody back?".into(), true));
            }
        }
        // A probe that nobody has said yet would be missed by nobody.
        for probe in probes {
            let _ = probe.await;
        }
    }

    /// Waits until every honest server holds the same, or time is up.
    async fn settle(&mut self, until: Duration) {
        loop {
            let now = self.stage.now();
            let missing = self.stage.observe(|observer, now| observer.missing(now));
            if now >= until || (missing == 0 && self.apart() == 0 && self.files_are_settled()) {
                return;
            }
            self.pass((now + SHORTEST_LOOK).min(until)).await;
        }
    }

    /// Honest running servers with their rooms.
    fn seats(&self) -> Vec<(usize, usize, Client)> {
        let mut seats = Vec::new();
        for (number, room) in self.plan.rooms.iter().enumerate() {
            let mut homes: Vec<usize> = room.members.iter().map(|member| member.server).collect();
            homes.sort_unstable();
            homes.dedup();
            for home in homes.into_iter().filter(|home| self.plan.servers[*home].hostile.is_none()) {
                seats.extend(self.servers[home].client().map(|client| (number, home, client)));
            }
        }
        seats
    }

    /// How many copies of rooms differ from what most hold.
    fn apart(&self) -> u32 {
        let mut rooms: BTreeMap<usize, BTreeMap<Option<[u8; 32]>, u32>> = BTreeMap::new();
        for (room, _, client) in self.seats() {
            *rooms.entry(room).or_default().entry(client.digest(&self.stage.rooms[room])).or_default() += 1;
        }
        let others = |digests: BTreeMap<_, u32>| digests.values().sum::<u32>() - digests.values().max().unwrap_or(&0);
        rooms.into_values().map(others).sum()
    }

    async fn look(&mut self) {
        self.look_at_files();
        let scenario = &self.plan.scenario;
        let end = scenario.warm_up.0 + scenario.duration.0 + scenario.settle.0;
        let apart = self.apart();
        let mut degrees = Vec::new();
        for (number, server) in self.servers.iter().enumerate() {
            let Some(client) = server.client().filter(|_| self.plan.servers[number].hostile.is_none()) else {
                continue;
            };
            degrees.extend(client.mesh().await.into_iter().map(|(_, peers)| peers.len()));
            let connected = client.network().await.connected as u64;
            self.stage.observe(|observer, now| observer.measured(now, number, "connections", connected, CONNECTIONS));
        }
        for (room, number, client) in self.seats() {
            if let Ok(held) = client.held(self.stage.rooms[room]).await {
                self.stage
                    .observe(|observer, now| observer.measured(now, number, "events that wait", held as u64, HELD));
            }
        }
        self.look_at_some().await;
        let links = self.internet.links().len() as u32;
        let wall = crate::virtual_time::real_now().saturating_sub(self.started);
        let packets = self.internet.packets();
        self.stage.observe(|observer, now| {
            observer.trace(now, format_args!("packets {packets}"));
            observer.mesh(now, degrees.into_iter());
            observer.progress(now, wall, apart, links, resident());
        });
        (self.progress)(self.stage.now(), end);
    }

    /// Looks at a few copies of rooms, at others each time: whoever holds the same has to make the same of it at any time.
    async fn look_at_some(&mut self) {
        let seats = self.seats();
        let turn = self.looks * LOOKED_SEATS;
        self.looks += 1;
        // Neighbours in the list are of one room.
        for place in 0..LOOKED_SEATS.min(seats.len()) {
            let (room, server, client) = &seats[(turn + place) % seats.len()];
            self.look_at_room(*room, *server, client, false).await;
        }
    }

    /// Looks at what a server holds of a room, unless something comes in while it is looked at. Whether it was looked at.
    async fn look_at_room(&self, room: usize, server: usize, client: &Client, last: bool) -> bool {
        let id = self.stage.rooms[room];
        let before = client.digest(&id);
        let (Ok(view), Ok(shown)) = (client.room(id).await, client.shown(&id)) else { return false };
        let digest = view.digest;
        if [before, client.digest(&id)] != [Some(digest); 2] {
            return false;
        }
        let (state, shown) = (Some(&*view.state), Some(shown.as_slice()));
        let holding = Holding { server, room, digest, state, shown, last };
        self.stage.observe(|observer, now| observer.holding(now, holding));
        true
    }

    async fn finish(mut self, about: crate::record::About) -> Result<Record, RealError> {
        self.look().await;
        for (room, server, client) in self.seats() {
            if !self.look_at_room(room, server, &client, true).await {
                self.stage.observe(|observer, now| {
                    observer.measured(now, server, "rooms that cannot be read", 1, 0);
                });
            }
        }
        self.end_files();
        let links: Vec<LinkRow> =
            self.internet.links().into_iter().map(|(from, to)| LinkRow { from: from as u32, to: to as u32 }).collect();
        let rows = self.rows().await;
        for server in self.plan.honest() {
            let store = self.servers[server].store()?;
            let holds = |id: &EventId| store.contains(id).unwrap_or(false);
            self.stage.observe(|observer, now| observer.end(now, server, &holds));
        }
        let now = self.stage.now();
        let wall = crate::virtual_time::real_now().saturating_sub(self.started);
        let about = crate::record::About { wall_s: wall.as_secs_f64(), ..about };
        let observer = self.stage.close().ok_or_else(|| RealError::Past("the run was closed before".to_owned()))?;
        Ok(observer.finish(now, about, rows, links))
    }

    async fn rows(&self) -> Vec<ServerRow> {
        let (sent, received) = (self.internet.sent(), self.stage.received());
        let mut rows = Vec::new();
        for (number, server) in self.servers.iter().enumerate() {
            let plan = &self.plan.servers[number];
            let mut row = ServerRow {
                server: number as u32,
                region: cities::name(plan.region).to_owned(),
                line: plan.line.clone(),
                nat: plan.nat,
                hostile: plan.hostile.map_or_else(String::new, |harm| harm.word().to_owned()),
                bytes_in: received[number],
                bytes_out: sent[number],
                restarts: server.restarts,
                ..ServerRow::default()
            };
            if let Some(client) = server.client() {
                let mesh = client.mesh().await;
                row.rooms = mesh.len() as u32;
                row.mesh_degree =
                    mesh.iter().map(|(_, peers)| peers.len()).sum::<usize>() as f64 / mesh.len().max(1) as f64;
                row.connections = client.network().await.connected as u32;
                row.store_bytes = client.store_bytes().unwrap_or(0);
                for (room, _) in mesh {
                    row.events += client.room(room).await.map_or(0, |view| view.events);
                }
            }
            rows.push(row);
        }
        rows
    }
}

/// Memory of this process in bytes; 0 where the system does not tell.
pub(super) fn resident() -> u64 {
    rocketmesh_simulations::measure::resident(std::process::id()).unwrap_or(0)
}

/// A moment of a run, for what is done in the background.
pub(super) fn moment(stage: &Stage, after_warm_up: Duration) -> Instant {
    stage.moment(stage.plan.scenario.warm_up.0 + after_warm_up)
}
