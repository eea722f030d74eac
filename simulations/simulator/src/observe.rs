//! What both layers tell of a run while it goes on, and what becomes of it: the trace, the record, the invariants.
//!
//! ```text
//!   layer ── said, heard, shown, hidden, down, up, sent, measured, holding ──► Observer ──► trace hash
//!                                                                                │   └─────► invariants
//!                                                                                └─────────► Record
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::id::EventId;

use crate::cities;
use crate::invariants::{self, FileSight, Invariants, Trial};
use crate::plan::Plan;
use crate::record::{
    DisturbanceRow, EventRow, LatencyRow, LinkRow, MeshRow, ProgressRow, Record, ServerRow, TRAFFIC, TrafficRow,
};

/// How an event came to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Its own server made it.
    Own,
    /// Gossip brought it first.
    Gossip,
    /// Sync did.
    Sync,
}

/// What happened, as invariants see it. Servers and events go by their numbers.
#[allow(missing_docs)]
#[derive(Clone, Copy)]
pub enum Observation<'a> {
    /// A server has told its user that this event is accepted.
    Acknowledged { server: usize, event: u32 },
    /// An entry of a server's local log shows an event.
    Shown { server: usize, event: u32 },
    /// An entry of a server's local log takes an event from view.
    Hidden { server: usize, event: u32 },
    /// A server runs again; `holds` tells whether an event is in its store.
    Up { server: usize, holds: &'a dyn Fn(&EventId) -> bool },
    /// Something that must stay bounded.
    Measured { server: usize, what: &'static str, value: u64, bound: u64 },
    /// What a server holds of a room at a moment at which all servers are looked at.
    Holding(Holding<'a>),
    /// An event said after everything went right again; every honest member must get it.
    Probe { event: u32 },
    /// The run ends, and every honest server is up; `holds` tells whether an event is in the server's store.
    End { server: usize, holds: &'a dyn Fn(&EventId) -> bool },
    /// What is seen of a file on a server.
    File(FileSight),
    /// A message was taken back; whether its words are gone from a server in the end.
    TakenBack { server: usize, event: &'a EventId, gone: bool },
    /// Somebody wrote while a server's disk was nearly full.
    FullDisk { server: usize, trial: Trial },
}

/// What a server holds of a room.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    /// The server.
    pub server: usize,
    /// The room.
    pub room: usize,
    /// The digest of the have-vector: equal ones mean equal sets of events.
    pub digest: [u8; 32],
    /// The room's state; looked at in the end, and before that on a few servers in turn, since it costs.
    pub state: Option<&'a RoomState>,
    /// The events that are shown, in room order; as with the state.
    pub shown: Option<&'a [EventId]>,
    /// Whether this is the end.
    pub last: bool,
}

/// An event that the run knows of.
#[derive(Clone, Debug)]
pub struct Known {
    /// The event.
    pub event: Arc<Event>,
    /// Its room's number.
    pub room: usize,
    /// The server that made it.
    pub origin: usize,
    /// When it was acknowledged; none for what was there before the run, and for what hostile servers send.
    pub said: Option<Duration>,
}

/// All events of a run by number and by id.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    events: Vec<Known>,
    places: BTreeMap<EventId, u32>,
}

impl Ledger {
    /// The event of a number.
    pub fn get(&self, event: u32) -> &Known {
        &self.events[event as usize]
    }

    /// The number of an event.
    pub fn number(&self, id: &EventId) -> Option<u32> {
        self.places.get(id).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// All of them with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Known)> {
        self.events.iter().enumerate().map(|(number, known)| (number as u32, known))
    }

    fn add(&mut self, known: Known) -> u32 {
        let number = self.events.len() as u32;
        self.places.insert(known.event.id(), number);
        self.events.push(known);
        number
    }
}

/// How one event spread.
#[derive(Clone, Debug, Default)]
struct Spread {
    /// By server: whether it was shown, or rejected, there.
    has: Bits,
    /// By server: whether gossip brought it.
    heard: Bits,
    /// By server: whether sync delivered it, and gossip has not brought it yet.
    synced: Bits,
    /// The how manieth event it was that was said; 0 for one that was not.
    order: u64,
    copies: u32,
    by_gossip: u32,
    by_sync: u32,
    /// Delays of deliveries in microseconds.
    delays: Vec<u64>,
}

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Adds a number; false if it was in already.
    pub fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1_u64 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// Takes a number out.
    pub fn remove(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word &= !(1_u64 << (number % 64));
        }
    }

    /// Whether a number is in.
    pub fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many are in.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

struct Disturbance {
    what: String,
    at: Duration,
    until: Duration,
    /// Events said before its end that honest servers still lack; none once counted out.
    open: Option<usize>,
    /// The last delivery of such an event after its end.
    last: Option<Duration>,
    healed: Option<Duration>,
}

/// Takes in what happens. Times are since the start of the run, the warm-up included.
pub struct Observer {
    plan: Arc<Plan>,
    ledger: Ledger,
    spreads: Vec<Spread>,
    trace: blake3::Hasher,
    trace_file: Option<std::io::BufWriter<std::fs::File>>,
    invariants: Invariants,
    latency: BTreeMap<(&'static str, usize, usize, Way, u64), u64>,
    traffic: [u64; TRAFFIC.len()],
    record: Record,
    /// Deliveries made, and those that were due at some time.
    delivered: u64,
    expected: u64,
    by_gossip: u64,
    said: u64,
    all_delays: Vec<u64>,
    disturbances: Vec<Disturbance>,
    /// By room: honest member servers.
    audience: Vec<Vec<usize>>,
    in_audience: Vec<Bits>,
    /// By room and server, for those that come in during the run: with the how manieth event that was said they are in. Times would
    /// not do: several come in within one microsecond.
    late: BTreeMap<(usize, usize), Option<u64>>,
    down: Bits,
    peak_rss: u64,
}

impl Observer {
    /// An observer of a plan.
    pub fn new(plan: Arc<Plan>) -> Self {
        let audience: Vec<Vec<usize>> = plan
            .rooms
            .iter()
            .map(|room| {
                let mut servers: Vec<usize> = room.members.iter().map(|member| member.server).collect();
                servers.sort_unstable();
                servers.dedup();
                servers.retain(|server| plan.servers[*server].hostile.is_none());
                servers
            })
            .collect();
        let in_audience = audience
            .iter()
            .map(|servers| {
                let mut bits = Bits::default();
                for server in servers {
                    bits.insert(*server);
                }
                bits
            })
            .collect();
        let late = plan.rooms.iter().enumerate().flat_map(|(number, room)| {
            let early: Vec<usize> = room.members[..room.present].iter().map(|member| member.server).collect();
            let late = room.members[room.present..].iter().map(|member| member.server);
            let counts = |server: usize| plan.servers[server].hostile.is_none();
            let late = late.filter(move |server| !early.contains(server) && counts(*server));
            late.map(move |server| ((number, server), None))
        });
        Observer {
            late: late.collect(),
            invariants: invariants::all(&plan),
            ledger: Ledger::default(),
            spreads: Vec::new(),
            trace: blake3::Hasher::new_derive_key("rocketmesh-sim trace"),
            trace_file: None,
            latency: BTreeMap::new(),
            traffic: [0; TRAFFIC.len()],
            record: Record::default(),
            delivered: 0,
            expected: 0,
            by_gossip: 0,
            said: 0,
            all_delays: Vec::new(),
            disturbances: Vec::new(),
            audience,
            in_audience,
            down: Bits::default(),
            peak_rss: 0,
            plan,
        }
    }

    /// Writes the trace to a file too.
    pub fn trace_to(&mut self, file: std::fs::File) {
        self.trace_file = Some(std::io::BufWriter::new(file));
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Every event that the run knows of.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Adds a line to the trace. Lines of one run with one seed are the same in every process.
    pub fn trace(&mut self, now: Duration, line: std::fmt::Arguments<'_>) {
        let line = format!("{} {line}\n", now.as_micros());
        self.trace.update(line.as_bytes());
        if let Some(file) = &mut self.trace_file {
            // A trace that cannot be written is worth a warning and not the run.
            if file.write_all(line.as_bytes()).is_err() {
                let _ = writeln!(std::io::stderr(), "the trace file cannot be written; the run goes on without it");
                self.trace_file = None;
            }
        }
    }

    /// Registers an event that was there before the run, or that a hostile server made.
    pub fn register(&mut self, event: Arc<Event>, room: usize, origin: usize) -> u32 {
        if let Some(number) = self.ledger.number(&event.id()) {
            return number;
        }
        self.spreads.push(Spread::default());
        self.ledger.add(Known { event, room, origin, said: None })
    }

    /// A server has acknowledged an event to its user, or has written one of its own accord. Once for each event.
    pub fn said(&mut self, now: Duration, server: usize, room: usize, event: Arc<Event>) -> u32 {
        let id = event.id();
        let known = self.ledger.number(&id);
        // Its log and its answer to the user both tell of it.
        if let Some(number) = known.filter(|number| self.ledger.get(*number).said.is_some()) {
            return number;
        }
        self.trace(now, format_args!("said {server} {id}"));
        let number = match known {
            Some(number) => {
                self.ledger.events[number as usize].said = Some(now);
                number
            }
            None => {
                self.spreads.push(Spread::default());
                self.ledger.add(Known { event, room, origin: server, said: Some(now) })
            }
        };
        self.said += 1;
        // What a server says first in a room is that it comes in.
        if let Some(since) = self.late.get_mut(&(room, server)) {
            since.get_or_insert(self.said);
        }
        self.spreads[number as usize].order = self.said;
        let outside = self.late.range((room, 0)..(room + 1, 0)).filter(|(_, since)| since.is_none()).count();
        self.expected += (self.audience[room].len() as u64).saturating_sub(1 + outside as u64);
        if self.spreads[number as usize].has.insert(server) {
            self.check(now, &Observation::Shown { server, event: number });
        }
        self.check(now, &Observation::Acknowledged { server, event: number });
        number
    }

    /// A copy of an event came to a server by gossip.
    pub fn heard(&mut self, now: Duration, server: usize, id: &EventId) {
        self.trace(now, format_args!("heard {server} {id}"));
        let Some(number) = self.ledger.number(id) else { return };
        let spread = &mut self.spreads[number as usize];
        spread.copies += 1;
        spread.heard.insert(server);
        if spread.synced.contains(server) {
            // A comparison was faster; gossip would have brought it all the same.
            spread.synced.remove(server);
            self.by_gossip += 1;
        }
    }

    /// A server's local log says that an event is there: `shown`, or arrived withheld or rejected.
    pub fn arrived(&mut self, now: Duration, server: usize, id: &EventId, shown: bool) {
        self.trace(now, format_args!("arrived {server} {id} {shown}"));
        let Some(number) = self.ledger.number(id) else { return };
        let known = &self.ledger.events[number as usize];
        let (room, origin, said) = (known.room, known.origin, known.said);
        let spread = &mut self.spreads[number as usize];
        let new = spread.has.insert(server);
        if new && origin != server && self.in_audience[room].contains(server) {
            let way = if spread.heard.contains(server) { Way::Gossip } else { Way::Sync };
            match way {
                Way::Gossip => spread.by_gossip += 1,
                _ => spread.by_sync += 1,
            }
            let order = spread.order;
            let inside = self.late.get(&(room, server)).is_none_or(|since| since.is_some_and(|since| since <= order));
            if let Some(said) = said.filter(|_| inside) {
                let delay = now.saturating_sub(said).as_micros() as u64;
                spread.delays.push(delay);
                self.all_delays.push(delay);
                self.delivered += 1;
                match way {
                    Way::Gossip => self.by_gossip += 1,
                    _ => drop(spread.synced.insert(server)),
                }
                let regions = (self.plan.servers[origin].region, self.plan.servers[server].region);
                let size = size_class(self.audience[room].len());
                *self.latency.entry((size, regions.0, regions.1, way, bucket(delay))).or_default() += 1;
            }
            let mut counted_out = false;
            let healing = |it: &&mut Disturbance| it.healed.is_none() && said.is_some_and(|said| said <= it.until);
            for disturbance in self.disturbances.iter_mut().filter(healing) {
                disturbance.last = (now > disturbance.until).then_some(now);
                if let Some(open) = &mut disturbance.open {
                    *open = open.saturating_sub(1);
                    counted_out |= *open == 0;
                }
            }
            if counted_out {
                self.close_disturbances();
            }
        }
        // The maker's own log entry of what it acknowledged was told of by `said`.
        if shown && (new || origin != server) {
            self.check(now, &Observation::Shown { server, event: number });
        }
    }

    /// A server's local log takes an event from view.
    pub fn hidden(&mut self, now: Duration, server: usize, id: &EventId) {
        self.trace(now, format_args!("hidden {server} {id}"));
        if let Some(event) = self.ledger.number(id) {
            self.check(now, &Observation::Hidden { server, event });
        }
    }

    /// A server's local log shows an event again.
    pub fn restored(&mut self, now: Duration, server: usize, id: &EventId) {
        self.trace(now, format_args!("restored {server} {id}"));
        if let Some(event) = self.ledger.number(id) {
            self.check(now, &Observation::Shown { server, event });
        }
    }

    /// A server is gone, in good order or not.
    pub fn down(&mut self, now: Duration, server: usize) {
        self.trace(now, format_args!("down {server}"));
        self.down.insert(server);
    }

    /// A server runs again.
    pub fn up(&mut self, now: Duration, server: usize, holds: &dyn Fn(&EventId) -> bool) {
        self.trace(now, format_args!("up {server}"));
        self.down.remove(server);
        self.check(now, &Observation::Up { server, holds });
    }

    /// Bytes of a kind were sent: its place in [`TRAFFIC`].
    pub fn sent(&mut self, kind: usize, bytes: u64) {
        self.traffic[kind] += bytes;
    }

    /// Something that must stay bounded.
    pub fn measured(&mut self, now: Duration, server: usize, what: &'static str, value: u64, bound: u64) {
        self.check(now, &Observation::Measured { server, what, value, bound });
    }

    /// What honest servers hold of a room, all at one moment.
    pub fn holding(&mut self, now: Duration, holding: Holding<'_>) {
        self.check(now, &Observation::Holding(holding));
    }

    /// An event that every honest member must get, said after everything went right again.
    pub fn probe(&mut self, now: Duration, event: u32) {
        self.check(now, &Observation::Probe { event });
    }

    /// Something is seen of files or disks, of which nothing but invariants is told.
    pub fn saw(&mut self, now: Duration, observation: &Observation<'_>) {
        self.check(now, observation);
    }

    /// The run ends for a server.
    pub fn end(&mut self, now: Duration, server: usize, holds: &dyn Fn(&EventId) -> bool) {
        self.check(now, &Observation::End { server, holds });
    }

    /// Something goes wrong from now until then.
    pub fn disturbed(&mut self, what: String, at: Duration, until: Duration) {
        self.disturbances.push(Disturbance { what, at, until, open: None, last: None, healed: None });
    }

    /// How many deliveries are due and not made, of events said up to `until`.
    pub fn missing(&self, until: Duration) -> usize {
        let due = |(number, known): (u32, &Known)| {
            known.said.filter(|said| *said <= until)?;
            let spread = &self.spreads[number as usize];
            let audience = &self.audience[known.room];
            let members = audience.iter().filter(|server| !spread.has.contains(**server)).count();
            Some(members)
        };
        self.ledger.iter().filter_map(due).sum()
    }

    /// Counts, once a disturbance is over, what is still to be healed.
    fn open_disturbances(&mut self, now: Duration) {
        for at in 0..self.disturbances.len() {
            let until = self.disturbances[at].until;
            if self.disturbances[at].open.is_none() && now >= until {
                self.disturbances[at].open = Some(0);
            }
        }
        self.close_disturbances();
    }

    /// Looks whether what is counted out is healed: an event may become due, or a server a member, after the count.
    fn close_disturbances(&mut self) {
        for at in 0..self.disturbances.len() {
            let Disturbance { until, open: Some(0), last, healed: None, .. } = self.disturbances[at] else { continue };
            let open = self.missing(until);
            self.disturbances[at].open = Some(open);
            self.disturbances[at].healed = (open == 0).then_some(last.unwrap_or(until));
        }
    }

    /// One moment of the whole run: how many honest copies of rooms differ from most, how many connections there are.
    pub fn progress(&mut self, now: Duration, wall: Duration, apart: u32, links: u32, rss: u64) {
        self.open_disturbances(now);
        self.peak_rss = self.peak_rss.max(rss);
        let t_s = self.relative(now);
        let up = self.plan.honest().filter(|server| !self.down.contains(*server)).count() as u32;
        self.record.progress.push(ProgressRow {
            t_s,
            up,
            said: self.said,
            delivered: self.delivered,
            pending: self.expected.saturating_sub(self.delivered),
            apart,
            links,
            rss,
            wall_s: wall.as_secs_f64(),
        });
        for (kind, bytes) in TRAFFIC.iter().zip(std::mem::take(&mut self.traffic)) {
            self.record.traffic.push(TrafficRow { t_s, kind: (*kind).to_owned(), bytes });
        }
    }

    /// How many peers servers have in the meshes of their rooms.
    pub fn mesh(&mut self, now: Duration, degrees: impl Iterator<Item = usize>) {
        let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
        for degree in degrees {
            *counts.entry(degree).or_default() += 1;
        }
        let t_s = self.relative(now);
        self.record.mesh.extend(counts.into_iter().map(|(degree, servers)| MeshRow {
            t_s,
            degree: degree as u32,
            servers,
        }));
    }

    /// Seconds since the end of the warm-up.
    pub fn relative(&self, now: Duration) -> f64 {
        now.as_secs_f64() - self.plan.scenario.warm_up.0.as_secs_f64()
    }

    /// Whether every invariant has held so far.
    pub fn holds(&self) -> bool {
        self.invariants.hold()
    }

    fn check(&mut self, now: Duration, observation: &Observation<'_>) {
        self.invariants.observe(now, observation, &self.ledger, &self.plan);
    }

    /// Closes the books. What the caller knows of the build and the process is in `about` already.
    pub fn finish(
        mut self,
        now: Duration,
        about: crate::record::About,
        servers: Vec<ServerRow>,
        links: Vec<LinkRow>,
    ) -> Record {
        self.open_disturbances(now);
        self.invariants.end(now, &self.ledger, &self.plan);
        let warm_up = self.plan.scenario.warm_up.0;
        let ms = |moment: Duration| (moment.as_secs_f64() - warm_up.as_secs_f64()) * 1_000.0;
        for (number, known) in self.ledger.iter() {
            let Some(said) = known.said else { continue };
            let spread = &mut self.spreads[number as usize];
            spread.delays.sort_unstable();
            let header = known.event.header();
            self.record.events.push(EventRow {
                event: number,
                id: known.event.id().to_string().chars().rev().take(10).collect::<Vec<_>>().into_iter().rev().collect(),
                kind: header.kind.clone(),
                room: known.room as u32,
                room_servers: self.audience[known.room].len() as u32,
                origin: known.origin as u32,
                region: cities::name(self.plan.servers[known.origin].region).to_owned(),
                said_ms: ms(said),
                bytes: (known.event.header_block().len() + known.event.body_block().map_or(0, <[u8]>::len)) as u32,
                expected: (self.audience[known.room].len() as u32).saturating_sub(1),
                by_gossip: spread.by_gossip,
                by_sync: spread.by_sync,
                copies: spread.copies,
                p50_ms: quantile(&spread.delays, 0.5),
                p99_ms: quantile(&spread.delays, 0.99),
                max_ms: quantile(&spread.delays, 1.0),
            });
        }
        for ((size, from, to, way, up_to_us), count) in std::mem::take(&mut self.latency) {
            self.record.latency.push(LatencyRow {
                room_size: size.to_owned(),
                from: cities::name(from).to_owned(),
                to: cities::name(to).to_owned(),
                way: if way == Way::Gossip { "gossip" } else { "sync" }.to_owned(),
                up_to_us,
                count,
            });
        }
        for disturbance in &self.disturbances {
            self.record.disturbances.push(DisturbanceRow {
                what: disturbance.what.clone(),
                at_s: self.relative(disturbance.at),
                until_s: self.relative(disturbance.until),
                healed_s: disturbance.healed.map(|healed| healed.saturating_sub(disturbance.until).as_secs_f64()),
            });
        }
        self.record.invariants = self.invariants.rows(&self.plan);
        self.record.servers = servers;
        self.record.links = links;
        self.record.scenario = self.plan.scenario.effective().to_toml();
        if let Some(mut file) = self.trace_file.take() {
            drop(file.flush());
        }
        self.record.about = self.summary(now, about);
        self.record
    }

    fn summary(&mut self, now: Duration, about: crate::record::About) -> crate::record::About {
        self.all_delays.sort_unstable();
        let (copies, heard) = self
            .ledger
            .iter()
            .filter(|(_, known)| known.said.is_some())
            .map(|(number, _)| &self.spreads[number as usize])
            .fold((0, 0), |(copies, heard), spread| {
                (copies + u64::from(spread.copies), heard + spread.heard.count() as u64)
            });
        let mut heals = self.record.disturbances.iter().map(|disturbance| disturbance.healed_s);
        let heal_s = heals.try_fold(0.0, |longest: f64, healed| Some(longest.max(healed?)));
        let scenario = &self.plan.scenario;
        let mut about = crate::record::About {
            title: scenario.title.clone(),
            about: scenario.about.clone(),
            seed: self.plan.seed,
            trace: self.trace.finalize().to_hex().to_string(),
            servers: self.plan.servers.len(),
            hostile: self.plan.servers.len() - self.plan.honest().count(),
            rooms: self.plan.rooms.len(),
            virtual_s: now.as_secs_f64(),
            events: self.said,
            expected: self.expected,
            delivered: self.delivered,
            by_gossip: self.by_gossip,
            copies: if heard == 0 { 0.0 } else { copies as f64 / heard as f64 },
            p50_ms: quantile(&self.all_delays, 0.5),
            p99_ms: quantile(&self.all_delays, 0.99),
            max_ms: quantile(&self.all_delays, 1.0),
            heal_s: heal_s.filter(|_| !self.disturbances.is_empty()),
            peak_rss: self.peak_rss,
            ..about
        };
        about.failures = failures(scenario, &about, &self.record);
        about.passed = about.failures.is_empty();
        about
    }
}

/// What did not hold, in sentences.
fn failures(scenario: &crate::scenario::Scenario, about: &crate::record::About, record: &Record) -> Vec<String> {
    let mut failures: Vec<String> = record
        .invariants
        .iter()
        .filter(|row| row.violations > 0)
        .map(|row| format!("{}: {} ({} times)", row.name, row.first, row.violations))
        .collect();
    let expect = &scenario.expect;
    let share = if about.expected == 0 { 1.0 } else { about.by_gossip as f64 / about.expected as f64 };
    let ms = |span: crate::scenario::Span| span.0.as_secs_f64() * 1_000.0;
    let mut demand = |held: bool, sentence: String| failures.extend((!held).then_some(sentence));
    if let Some(least) = expect.by_gossip {
        demand(share >= least, format!("gossip alone made {share:.6} of all deliveries; expected at least {least}"));
    }
    if let Some(most) = expect.copies {
        demand(
            about.copies <= most,
            format!("{:.2} copies of an event came on average; expected at most {most}", about.copies),
        );
    }
    if let Some(most) = expect.p50 {
        demand(
            about.p50_ms <= ms(most),
            format!("half of the deliveries took up to {:.1} ms; expected {most}", about.p50_ms),
        );
    }
    if let Some(most) = expect.p99 {
        demand(
            about.p99_ms <= ms(most),
            format!("99 of 100 deliveries took up to {:.1} ms; expected {most}", about.p99_ms),
        );
    }
    if let Some(most) = expect.heal {
        let healed = about.heal_s.is_some_and(|healed| healed <= most.0.as_secs_f64());
        let took = about.heal_s.map_or("longer than the run".to_owned(), |healed| format!("{healed:.1} s"));
        demand(healed, format!("healing took {took}; expected at most {most}"));
    }
    failures
}

/// The size classes of rooms in records.
fn size_class(servers: usize) -> &'static str {
    match servers {
        0..=10 => "2-10",
        11..=100 => "11-100",
        101..=1000 => "101-1000",
        _ => "1001-",
    }
}

/// The upper end of the bucket of a delay: buckets grow by a tenth.
fn bucket(micros: u64) -> u64 {
    let exponent = (micros.max(1) as f64).ln() / 1.1_f64.ln();
    1.1_f64.powf(exponent.ceil()).ceil() as u64
}

/// A quantile of sorted microseconds, in milliseconds; 0 for none.
fn quantile(sorted: &[u64], share: f64) -> f64 {
    let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(at).map_or(0.0, |micros| *micros as f64 / 1_000.0)
}
