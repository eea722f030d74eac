//! A plan: what a scenario comes to with one seed. Both layers run the same plan.
//!
//! Everything random about a run that is not the servers' own is decided here, from the seed, before anything starts. Times
//! count from the end of the warm-up.

mod files;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rocketmesh_simulations::chat::Chat;

use crate::cities;
use crate::random::Random;
use crate::scenario::{Act, Harm, Joining, Members, Scenario, ScenarioError, Span};

pub use files::{FileDo, FileMessage, FilePlan, FileStep};

/// What carries a line without a class: 100 Mbit/s, in bytes a second.
const FAST: u64 = 12_500_000;

/// A run in numbers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The scenario.
    pub scenario: Scenario,
    /// Servers by number.
    pub servers: Vec<ServerPlan>,
    /// Rooms by number.
    pub rooms: Vec<RoomPlan>,
    /// What happens, by time.
    pub steps: Vec<Step>,
    /// What happens to files and disks, which the real layer alone takes.
    pub files: FilePlan,
}

/// One server.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// The number of its region: see [`cities::name`].
    pub region: usize,
    /// What its kind of line is called.
    pub line: String,
    /// To the server, bytes a second.
    pub down: u64,
    /// From the server, bytes a second.
    pub up: u64,
    /// Whether nobody can dial it.
    pub nat: bool,
    /// Whether everybody knows its address from the start.
    pub bootstrap: bool,
    /// What harm it means, if any.
    pub hostile: Option<Harm>,
    /// How long a flush of its disk takes.
    pub flush: Duration,
    /// How far its clock is ahead, in milliseconds; behind, if below zero.
    pub skew_ms: i64,
}

/// One room.
#[derive(Clone, Debug)]
pub struct RoomPlan {
    /// Its name.
    pub name: String,
    /// The place of its kind in the scenario.
    pub kind: usize,
    /// Who takes part; the first is the creator.
    pub members: Vec<Member>,
    /// How many of them begin with the room; the others come in by [`Do::Join`].
    pub present: usize,
}

/// One user in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user's server.
    pub server: usize,
    /// The localpart.
    pub user: String,
    /// Whether they are an owner from the start.
    pub owner: bool,
    /// Whether they are a moderator from the start.
    pub moderator: bool,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: Duration,
    /// What.
    pub what: Do,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Do {
    /// A member says something.
    Say {
        /// In which room.
        room: usize,
        /// Which member, by place in [`RoomPlan::members`].
        member: usize,
        /// What.
        text: Arc<str>,
    },
    /// A member does something to another, or to the room.
    Deed {
        /// In which room.
        room: usize,
        /// Which member.
        by: usize,
        /// What.
        act: Act,
        /// To whom.
        whom: Option<usize>,
    },
    /// A member comes in through the network.
    Join {
        /// Into which room.
        room: usize,
        /// Which member.
        member: usize,
    },
    /// A server shuts down in good order.
    Stop(usize),
    /// A server dies, and loses what it had not flushed.
    Crash(usize),
    /// A server starts again on what it has on disk.
    Start(usize),
    /// The network is cut: servers for which this holds from the others.
    Cut {
        /// Which cut.
        number: usize,
        /// The servers on the one side.
        side: Arc<Vec<bool>>,
    },
    /// A cut is over.
    Mend {
        /// Which cut.
        number: usize,
    },
}

impl Plan {
    /// Decides on everything. `beside` is where files that the scenario names are looked for.
    ///
    /// # Errors
    /// [`ScenarioError`] if a file cannot be read, or a member or region that something names does not exist.
    pub fn new(scenario: &Scenario, seed: u64, beside: &Path) -> Result<Self, ScenarioError> {
        let servers = servers(scenario, seed);
        let mut rooms = rooms(scenario, seed, &servers);
        let (mut steps, mut files) = (Vec::new(), FilePlan::default());
        talks(scenario, seed, beside, &servers, &mut rooms, &mut steps, &mut files)?;
        joins(scenario, seed, &rooms, &mut steps);
        deeds(scenario, &rooms, &mut steps)?;
        faults(scenario, seed, &servers, &rooms, &mut steps)?;
        // Stable: what is planned for one moment stays in the order in which it was planned.
        steps.sort_by_key(|step| step.at);
        files::finish(&mut files, scenario, seed);
        Ok(Plan { seed, scenario: scenario.clone(), servers, rooms, steps, files })
    }

    /// How long talk and faults last.
    pub fn duration(&self) -> Duration {
        self.scenario.duration.0
    }

    /// The last moment at which something goes wrong or is mended; none if nothing does.
    pub fn last_fault(&self) -> Option<Duration> {
        let fault = |step: &&Step| !matches!(step.what, Do::Say { .. } | Do::Deed { .. } | Do::Join { .. });
        self.steps.iter().filter(fault).map(|step| step.at).max()
    }

    /// The numbers of honest servers.
    pub fn honest(&self) -> impl Iterator<Item = usize> {
        self.servers.iter().enumerate().filter(|(_, server)| server.hostile.is_none()).map(|(at, _)| at)
    }
}

fn servers(scenario: &Scenario, seed: u64) -> Vec<ServerPlan> {
    let mut random = Random::new(seed, "servers");
    let network = &scenario.network;
    let regions: Vec<usize> = network.regions.iter().filter_map(|region| cities::index(region)).collect();
    let mut servers: Vec<ServerPlan> = (0..scenario.servers)
        .map(|at| ServerPlan {
            region: regions.get(at % regions.len().max(1)).copied().unwrap_or(0),
            line: "fast".to_owned(),
            down: FAST,
            up: FAST,
            nat: false,
            bootstrap: at < network.bootstraps,
            hostile: None,
            flush: Duration::ZERO,
            skew_ms: 0,
        })
        .collect();
    let all: Vec<usize> = (0..servers.len()).collect();
    let total = servers.len() as f64;
    let count = |share: f64| (total * share).round() as usize;
    let lines: usize = network.bandwidth.iter().map(|line| count(line.share)).sum();
    let mut chosen = random.choose(&all, lines).into_iter();
    for line in &network.bandwidth {
        for at in chosen.by_ref().take(count(line.share)) {
            let server = &mut servers[at];
            (server.line, server.down, server.up) = (line.name.clone(), line.down_kbps * 125, line.up_kbps * 125);
        }
    }
    // Whoever is known to all can be reached and means well.
    let others: Vec<usize> = all.iter().copied().filter(|at| *at >= network.bootstraps).collect();
    for at in random.choose(&others, count(network.nat)) {
        servers[at].nat = true;
    }
    let hostile: usize = scenario.hostile.iter().map(|hostile| count(hostile.share)).sum();
    let mut chosen = random.choose(&others, hostile).into_iter();
    for hostile in &scenario.hostile {
        for at in chosen.by_ref().take(count(hostile.share)) {
            servers[at].hostile = Some(hostile.what);
        }
    }
    for slow in &scenario.slow_disk {
        for at in random.choose(&all, count(slow.share)) {
            servers[at].flush = slow.flush.0;
        }
    }
    for skew in &scenario.clock_skew {
        for at in random.choose(&all, count(skew.share)) {
            let most = skew.most.0.as_millis() as f64;
            servers[at].skew_ms = ((random.fraction() * 2.0 - 1.0) * most) as i64;
        }
    }
    servers
}

fn rooms(scenario: &Scenario, seed: u64, servers: &[ServerPlan]) -> Vec<RoomPlan> {
    let mut random = Random::new(seed, "rooms");
    let all: Vec<usize> = (0..servers.len()).collect();
    let mut rooms = Vec::new();
    for (kind, room) in scenario.rooms.iter().enumerate() {
        for number in 0..room.count {
            let mut members = match room.servers {
                Members::All => all.clone(),
                Members::Some(count) => random.choose(&all, count),
            };
            // Whoever makes and runs the room means well.
            members.sort_by_key(|at| servers[*at].hostile.is_some());
            let name = if room.count == 1 { room.name.clone() } else { format!("{}-{number}", room.name) };
            let member = |(place, server): (usize, usize)| Member {
                server,
                user: "user".to_owned(),
                owner: (1..=room.owners).contains(&place),
                moderator: (1 + room.owners..=room.owners + room.moderators).contains(&place),
            };
            let present = match room.joined {
                Joining::Before => members.len(),
                Joining::Crowd { share, .. } => {
                    let late = (members.len() as f64 * share).round() as usize;
                    (members.len() - late).max(1)
                }
            };
            let members = members.into_iter().enumerate().map(member).collect();
            rooms.push(RoomPlan { name, kind, members, present });
        }
    }
    rooms
}

fn of_kind(scenario: &Scenario, rooms: &[RoomPlan], name: &str) -> Vec<usize> {
    let kind = scenario.rooms.iter().position(|room| room.name == name);
    (0..rooms.len()).filter(|at| Some(rooms[*at].kind) == kind).collect()
}

fn end(until: Option<Span>, scenario: &Scenario) -> Duration {
    until.map_or(scenario.duration.0, |until| until.0.min(scenario.duration.0))
}

fn talks(
    scenario: &Scenario,
    seed: u64,
    beside: &Path,
    servers: &[ServerPlan],
    rooms: &mut [RoomPlan],
    steps: &mut Vec<Step>,
    files: &mut FilePlan,
) -> Result<(), ScenarioError> {
    for (number, talk) in scenario.talks.iter().enumerate() {
        let until = end(talk.until, scenario);
        let regions: Vec<usize> = talk.regions.iter().filter_map(|region| cities::index(region)).collect();
        for room in of_kind(scenario, rooms, &talk.room) {
            let mut random = Random::new(seed, &format!("talk {number} in room {room}"));
            if let Some(chat) = &talk.chat {
                replay(chat, talk.speed, talk.from.0, until, beside, room, servers, rooms, steps)?;
                continue;
            }
            let speakers: Vec<usize> = (0..rooms[room].present)
                .filter(|member| {
                    let server = &servers[rooms[room].members[*member].server];
                    server.hostile.is_none() && (regions.is_empty() || regions.contains(&server.region))
                })
                .collect();
            if speakers.is_empty() {
                return Err(ScenarioError::Invalid {
                    field: "talk.regions".to_owned(),
                    reason: format!("nobody of these regions is in {}", rooms[room].name),
                });
            }
            let mean = Duration::from_secs_f64(1.0 / talk.rate);
            let askers = files::askers(&rooms[room], servers);
            let mut sender = files::Sender::of(talk, seed, number, room, &askers);
            let mut at = talk.from.0 + random.wait(mean);
            while at < until {
                let member = speakers[random.below(speakers.len())];
                let length = (talk.bytes as f64 * (0.25 + 1.5 * random.fraction())) as usize;
                let text: Arc<str> = words(&mut random, length).into();
                if !sender.as_mut().is_some_and(|sender| sender.takes(files, at, until, member, &text)) {
                    steps.push(Step { at, what: Do::Say { room, member, text } });
                }
                at += random.wait(mean);
            }
        }
    }
    Ok(())
}

/// Words that nobody said, of about this length.
fn words(random: &mut Random, length: usize) -> String {
    let mut text = String::with_capacity(length + 8);
    while text.len() < length {
        for _ in 0..2 + random.below(7) {
            text.push(char::from(b'a' + random.below(26) as u8));
        }
        text.push(' ');
    }
    text.truncate(length.max(1));
    text
}

/// Half an hour of a real channel; where it comes from and its licence stand in the file.
const UBUNTU: &str = include_str!("../data/ubuntu-irc.txt");

#[allow(clippy::too_many_arguments)]
fn replay(
    file: &str,
    speed: f64,
    from: Duration,
    until: Duration,
    beside: &Path,
    room: usize,
    servers: &[ServerPlan],
    rooms: &mut [RoomPlan],
    steps: &mut Vec<Step>,
) -> Result<(), ScenarioError> {
    let unreadable = |reason: String| ScenarioError::Unreadable { path: file.to_owned(), reason };
    let chat = match file {
        "built-in" => Chat::built_in(),
        "ubuntu" => Chat::parse(UBUNTU),
        file => Chat::read(&beside.join(file)).map_err(|error| unreadable(error.to_string()))?,
    };
    let honest = |member: &&Member| servers[member.server].hostile.is_none();
    let homes: Vec<usize> =
        rooms[room].members[..rooms[room].present].iter().filter(honest).map(|member| member.server).collect();
    if homes.is_empty() {
        return Err(ScenarioError::Invalid {
            field: "talk.room".into(),
            reason: format!("`{}` has no honest server on which the people of the log could be", rooms[room].name),
        });
    }
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (at, nick) in chat.nicks().into_iter().enumerate() {
        let user = match nick.parse::<rocketmesh_protocol::identity::Localpart>() {
            Ok(user) => user.as_str().to_owned(),
            Err(_) => format!("guest{at}"),
        };
        let member = Member { server: homes[at % homes.len()], user, owner: false, moderator: false };
        let plan = &mut rooms[room];
        plan.members.insert(plan.present, member);
        places.insert(nick.to_owned(), plan.present);
        plan.present += 1;
    }
    // The log tells minutes; lines of one minute are spread over it.
    let mut minutes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, line) in chat.lines.iter().enumerate() {
        minutes.entry(line.minute).or_default().push(at);
    }
    let first = minutes.keys().next().copied().unwrap_or(0);
    for (minute, lines) in minutes {
        for (place, line) in lines.iter().enumerate() {
            let into = (minute - first) as f64 + place as f64 / lines.len() as f64;
            let at = from + Duration::from_secs_f64(into * 60.0 / speed.max(0.001));
            if at >= until {
                return Ok(());
            }
            let line = &chat.lines[*line];
            let member = places.get(&line.nick).copied().unwrap_or(0);
            steps.push(Step { at, what: Do::Say { room, member, text: line.text.as_str().into() } });
        }
    }
    Ok(())
}

fn joins(scenario: &Scenario, seed: u64, rooms: &[RoomPlan], steps: &mut Vec<Step>) {
    let mut random = Random::new(seed, "joins");
    for (number, room) in rooms.iter().enumerate() {
        let Joining::Crowd { at, within, .. } = scenario.rooms[room.kind].joined else { continue };
        for member in room.present..room.members.len() {
            let at = at.0 + within.0.mul_f64(random.fraction());
            steps.push(Step { at, what: Do::Join { room: number, member } });
        }
    }
}

fn deeds(scenario: &Scenario, rooms: &[RoomPlan], steps: &mut Vec<Step>) -> Result<(), ScenarioError> {
    for deed in &scenario.deeds {
        for room in of_kind(scenario, rooms, &deed.room) {
            let members = rooms[room].members.len();
            if let Some(member) = [Some(deed.by), deed.whom].into_iter().flatten().find(|member| *member >= members) {
                return Err(ScenarioError::Invalid {
                    field: "deed".to_owned(),
                    reason: format!("there is no member {member} in {}; it has {members}", rooms[room].name),
                });
            }
            let what = Do::Deed { room, by: deed.by, act: deed.act, whom: deed.whom };
            steps.push(Step { at: deed.at.0, what });
        }
    }
    Ok(())
}

fn faults(
    scenario: &Scenario,
    seed: u64,
    servers: &[ServerPlan],
    rooms: &[RoomPlan],
    steps: &mut Vec<Step>,
) -> Result<(), ScenarioError> {
    let mut random = Random::new(seed, "faults");
    let all: Vec<usize> = (0..servers.len()).collect();
    let count = |share: f64| (servers.len() as f64 * share).round() as usize;
    for churn in &scenario.churn {
        let until = end(churn.until, scenario);
        for server in random.choose(&all, count(churn.share)) {
            let mut at = churn.from.0 + random.wait(churn.stay.0);
            while at < until {
                steps.push(Step { at, what: Do::Stop(server) });
                // A moment at least: a process takes one to end.
                at = (at + random.wait(churn.away.0).max(Duration::from_secs(1))).min(until);
                steps.push(Step { at, what: Do::Start(server) });
                at += random.wait(churn.stay.0).max(Duration::from_secs(1));
            }
        }
    }
    for crash in &scenario.crashes {
        for server in random.choose(&all, count(crash.share)) {
            steps.push(Step { at: crash.at.0, what: Do::Crash(server) });
            let back = (crash.at.0 + crash.after.0).min(scenario.duration.0);
            steps.push(Step { at: back, what: Do::Start(server) });
        }
    }
    for (number, cut) in scenario.partitions.iter().enumerate() {
        let regions: Vec<usize> = cut.regions.iter().filter_map(|region| cities::index(region)).collect();
        let mut side: Vec<bool> = servers.iter().map(|server| regions.contains(&server.region)).collect();
        for server in random.choose(&all, count(cut.share)) {
            side[server] = true;
        }
        for member in &cut.members {
            let member = rooms.first().and_then(|room| room.members.get(*member));
            let member = member.ok_or_else(|| ScenarioError::Invalid {
                field: "partition.members".to_owned(),
                reason: "the first room has fewer members".to_owned(),
            })?;
            side[member.server] = true;
        }
        if cut.at.0 >= scenario.duration.0 {
            continue;
        }
        steps.push(Step { at: cut.at.0, what: Do::Cut { number, side: Arc::new(side) } });
        steps.push(Step { at: cut.until.0.min(scenario.duration.0), what: Do::Mend { number } });
    }
    Ok(())
}
