//! The rows: what is done to the laboratory, and what is measured after it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rocketmesh_node::api::types::PeerList;

use crate::Failure;
use crate::lab::aims::FLOWS_WITHIN;
use crate::lab::meeting::{Meeting, all_as_expected, meet};
use crate::lab::orders::{change_addresses, heal, plug, plug_in, power_off, remembered, split, unplug};
use crate::lab::paths::Connection;
use crate::lab::report::{Pair, Pass, Report, Row, RowReport};
use crate::lab::stage::{GLANCE, Stage};
use crate::lab::talk::Talk;
use crate::lab::topology::{Half, pairs};

/// The node that makes the room: one that nobody reaches without a NAT in between.
const OWNER: &str = "office-a";
/// The relay that is killed.
const KILLED: &str = "relay1";
/// The hosts whose routers are rebooted. A router that keeps ports gives its host the same mapping again as soon as it says
/// something; the symmetric one gives another.
const REBOOTED: [&str; 2] = ["office-a", "sym-a"];
/// How long a router takes to reboot.
const REBOOT: Duration = Duration::from_secs(5);
/// The host that gets other addresses.
const MOVED: &str = "office-b";
/// How long the network is split: long enough that connections over QUIC end.
const SPLIT: Duration = Duration::from_secs(30);
/// The host whose interface goes down, and for how long: connections over QUIC end in that time.
const UNPLUGGED: &str = "lan-2";
const UNPLUGGED_FOR: Duration = Duration::from_secs(11);
/// The host whose node sleeps, and for how long: longer than connections over QUIC bear, and two pings.
const SLEEPER: &str = "lan-1";
const SLEEP: Duration = Duration::from_secs(18);
/// How long after a row's messages the pairs may take to be connected as they ought to be before that is written down.
const SETTLE: Duration = Duration::from_secs(15);
/// The two hosts of one LAN.
const NEIGHBOURS: [&str; 2] = ["lan-1", "lan-2"];

/// Starts the nodes of a laboratory that stands, and measures row by row. What was measured before something failed is in the
/// report.
///
/// # Errors
/// If a tool or a node fails. What does not arrive is no error but in the report.
pub async fn measure(stage: &mut Stage, rows: &[Row], report: &mut Report) -> Result<(), Failure> {
    let transports = stage.transports();
    eprintln!("Starting {} nodes over {}.", stage.nodes().len(), transports.word());
    stage.start().await?;
    eprintln!("Row: {}", Row::Meeting.words());
    let (row, found_by_mdns) = meeting(stage).await?;
    let mut pass = Pass { transports, found_by_mdns, rows: vec![row] };
    let mut outcome = Ok(());
    for row in rows.iter().filter(|row| **row != Row::Meeting) {
        eprintln!("Row: {}", row.words());
        match disturb(stage, *row).await {
            Ok(measured) => pass.rows.push(measured),
            Err(failure) => {
                outcome = Err(format!("{}: {failure}", row.words()).into());
                break;
            }
        }
    }
    report.passes.push(pass);
    outcome
}

/// Lets the nodes meet, makes the room, and lets everybody talk. Returns also whether the neighbours found each other by mDNS.
async fn meeting(stage: &mut Stage) -> Result<(RowReport, bool), Failure> {
    let meeting = meet(stage).await;
    let connections = stage.connections().await;
    eprintln!("  making a room, and letting everybody join");
    let owner = stage.place(OWNER)?;
    stage.gather(owner).await?;
    let mut talk = Talk::default();
    let all: Vec<usize> = (0..stage.nodes().len()).collect();
    talk.speak(stage, &all, Row::Meeting.words()).await?;
    talk.listen(stage, Instant::now() + FLOWS_WITHIN, |_, _| true).await;
    let mut measured = Measured::new(Row::Meeting, talk);
    measured.connections = connections;
    measured.meeting = Some(meeting);
    Ok((measured.report(stage).await, found_by_mdns(stage).await?))
}

async fn found_by_mdns(stage: &Stage) -> Result<bool, Failure> {
    let [one, other] = NEIGHBOURS;
    let (one, other) = (&stage.nodes()[stage.place(one)?], &stage.nodes()[stage.place(other)?]);
    let found = |peers: PeerList, id: &str| {
        peers.peers.iter().any(|peer| peer.id == id && peer.found_by.iter().any(|how| how == "mdns"))
    };
    Ok(found(one.peers().await?, &other.id) || found(other.peers().await?, &one.id))
}

/// Disturbs the laboratory and measures how it recovers.
async fn disturb(stage: &mut Stage, row: Row) -> Result<RowReport, Failure> {
    match row {
        Row::Meeting => everybody_talks(stage, row).await,
        Row::RelayKilled => relay_killed(stage).await,
        Row::RouterRebooted => router_rebooted(stage).await,
        Row::AddressChanged => address_changed(stage).await,
        Row::NetworkSplit => network_split(stage).await,
        Row::InterfaceLost => interface_lost(stage).await,
        Row::Asleep => asleep(stage).await,
    }
}

async fn relay_killed(stage: &mut Stage) -> Result<RowReport, Failure> {
    let killed = stage.place(KILLED)?;
    stage.kill(killed);
    eprintln!("  {KILLED} is dead");
    let others: Vec<usize> = (0..stage.nodes().len()).filter(|at| *at != killed).collect();
    let mut talk = Talk::default();
    talk.speak(stage, &others, Row::RelayKilled.words()).await?;
    talk.listen(stage, Instant::now() + FLOWS_WITHIN, |_, _| true).await;
    let without = settle(stage).await;
    stage.start_one(killed).await?;
    eprintln!("  {KILLED} is back");
    let back = Instant::now();
    talk.speak(stage, &[killed], "coming back").await?;
    talk.listen(stage, back + FLOWS_WITHIN, |_, _| true).await;
    let mut measured = Measured::new(Row::RelayKilled, talk);
    measured.possible = Box::new(move |from, to| (from == killed || to == killed).then_some(back));
    // How the others are connected without the relay is what counts; how it is connected itself shows when it is back.
    measured.connections = settle(stage).await;
    measured.connections.retain(|(a, b), _| *a == killed || *b == killed);
    measured.connections.extend(without.into_iter().filter(|((a, b), _)| *a != killed && *b != killed));
    Ok(measured.report(stage).await)
}

async fn router_rebooted(stage: &mut Stage) -> Result<RowReport, Failure> {
    let mut sites = Vec::new();
    for name in REBOOTED {
        let site = stage.nodes()[stage.place(name)?].host.site;
        let flows = stage.ask(&remembered(stage.names(), site))?;
        eprintln!("  the router of {name} goes down; it remembers {} flows", flows.trim());
        stage.carry_out(|names| power_off(names, site))?;
        sites.push((name, site));
    }
    tokio::time::sleep(REBOOT).await;
    for (name, site) in sites {
        stage.carry_out(|names| plug_in(names, site))?;
        let flows = stage.ask(&remembered(stage.names(), site))?;
        eprintln!("  the router of {name} is up again; it remembers {} flows", flows.trim());
    }
    everybody_talks(stage, Row::RouterRebooted).await
}

async fn address_changed(stage: &mut Stage) -> Result<RowReport, Failure> {
    let host = stage.nodes()[stage.place(MOVED)?].host;
    stage.carry_out(|names| change_addresses(names, host.site))?;
    eprintln!("  {MOVED} was at {} and is at {} on its LAN", host.address(), host.moved_address());
    everybody_talks(stage, Row::AddressChanged).await
}

async fn network_split(stage: &mut Stage) -> Result<RowReport, Failure> {
    let halves: Vec<Half> = stage.nodes().iter().map(|node| node.host.site().half).collect();
    let all: Vec<usize> = (0..halves.len()).collect();
    let cut = Instant::now();
    stage.carry_out(split)?;
    eprintln!("  the network is split for {} s", SPLIT.as_secs());
    let mut talk = Talk::default();
    talk.speak(stage, &all, "the split").await?;
    talk.listen(stage, cut + SPLIT, |from, to| halves[from] == halves[to]).await;
    tokio::time::sleep_until((cut + SPLIT).into()).await;
    // One last look at what may not have come.
    talk.listen(stage, Instant::now(), |from, to| halves[from] != halves[to]).await;
    if let Some((from, to)) = pairs(all.len())
        .find(|(a, b)| halves[*a] != halves[*b] && (talk.any_arrived(*a, *b) || talk.any_arrived(*b, *a)))
    {
        let (from, to) = (stage.nodes()[from].host.name, stage.nodes()[to].host.name);
        return Err(format!("the split does not split: messages passed between {from} and {to}").into());
    }
    stage.carry_out(heal)?;
    let healed = Instant::now();
    eprintln!("  the network is healed");
    talk.speak(stage, &all, "the healing").await?;
    talk.listen(stage, healed + FLOWS_WITHIN, |_, _| true).await;
    let mut measured = Measured::new(Row::NetworkSplit, talk);
    measured.possible = Box::new(move |from, to| (halves[from] != halves[to]).then_some(healed));
    measured.connections = settle(stage).await;
    Ok(measured.report(stage).await)
}

async fn interface_lost(stage: &mut Stage) -> Result<RowReport, Failure> {
    let lost = stage.place(UNPLUGGED)?;
    let host = stage.nodes()[lost].host;
    stage.carry_out(|names| unplug(names, &host))?;
    eprintln!("  the interface of {UNPLUGGED} is down for {} s", UNPLUGGED_FOR.as_secs());
    let all: Vec<usize> = (0..stage.nodes().len()).collect();
    let talk = talk_without(stage, lost, &all, "a lost interface", UNPLUGGED_FOR).await?;
    stage.carry_out(|names| plug(names, &host))?;
    eprintln!("  the interface is up again");
    back_again(stage, Row::InterfaceLost, talk, lost).await
}

async fn asleep(stage: &mut Stage) -> Result<RowReport, Failure> {
    let asleep = stage.place(SLEEPER)?;
    stage.nodes()[asleep].sleep(true)?;
    eprintln!("  {SLEEPER} sleeps for {} s", SLEEP.as_secs());
    let others: Vec<usize> = (0..stage.nodes().len()).filter(|at| *at != asleep).collect();
    let talk = talk_without(stage, asleep, &others, "somebody asleep", SLEEP).await;
    // Awake again, whatever happened to the others.
    stage.nodes()[asleep].sleep(false)?;
    eprintln!("  {SLEEPER} is awake");
    back_again(stage, Row::Asleep, talk?, asleep).await
}

/// Lets the others talk for a while with each other. What is said to and by the one who is away is listened to later.
async fn talk_without(
    stage: &Stage,
    away: usize,
    speakers: &[usize],
    about: &str,
    length: Duration,
) -> Result<Talk, Failure> {
    let until = Instant::now() + length;
    let mut talk = Talk::default();
    talk.speak(stage, speakers, about).await?;
    talk.listen(stage, until, |from, to| from != away && to != away).await;
    tokio::time::sleep_until(until.into()).await;
    Ok(talk)
}

/// Everybody says something now that one is back, and all have to get everything.
async fn back_again(stage: &Stage, row: Row, mut talk: Talk, away: usize) -> Result<RowReport, Failure> {
    let back = Instant::now();
    let all: Vec<usize> = (0..stage.nodes().len()).collect();
    talk.speak(stage, &all, row.words()).await?;
    talk.listen(stage, back + FLOWS_WITHIN, |_, _| true).await;
    let mut measured = Measured::new(row, talk);
    measured.possible = Box::new(move |from, to| (from == away || to == away).then_some(back));
    measured.connections = settle(stage).await;
    Ok(measured.report(stage).await)
}

/// Everybody says something now that the disturbance is over, and everybody listens.
async fn everybody_talks(stage: &Stage, row: Row) -> Result<RowReport, Failure> {
    let mut talk = Talk::default();
    let all: Vec<usize> = (0..stage.nodes().len()).collect();
    let begun = Instant::now();
    talk.speak(stage, &all, row.words()).await?;
    talk.listen(stage, begun + FLOWS_WITHIN, |_, _| true).await;
    let mut measured = Measured::new(row, talk);
    measured.connections = settle(stage).await;
    Ok(measured.report(stage).await)
}

/// Gives the pairs a while to be connected as they ought to be, and says how they are.
async fn settle(stage: &Stage) -> BTreeMap<(usize, usize), Connection> {
    let until = Instant::now() + SETTLE;
    loop {
        let connections = stage.connections().await;
        if all_as_expected(stage, &connections) || Instant::now() > until {
            return connections;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// What a row's report is made of.
struct Measured {
    row: Row,
    talk: Talk,
    connections: BTreeMap<(usize, usize), Connection>,
    meeting: Option<Meeting>,
    /// From when on something could get from one node to another, if not from when it was said.
    possible: Box<dyn Fn(usize, usize) -> Option<Instant>>,
}

impl Measured {
    fn new(row: Row, talk: Talk) -> Self {
        Measured { row, talk, connections: BTreeMap::new(), meeting: None, possible: Box::new(|_, _| None) }
    }

    async fn report(self, stage: &Stage) -> RowReport {
        let nodes = stage.nodes();
        let seconds = |took: Option<Duration>| took.map(|took| took.as_secs_f64());
        let took = |from, to| seconds(self.talk.took(from, to, (self.possible)(from, to)));
        let pair = |places: (usize, usize)| {
            let connection = self.connections.get(&places).copied();
            let meeting = self.meeting.as_ref();
            Pair {
                hosts: [nodes[places.0].host.name, nodes[places.1].host.name],
                places,
                connection,
                connected_s: seconds(connection.and_then(|connection| meeting?.took(places, connection))),
                there_s: took(places.0, places.1),
                back_s: took(places.1, places.0),
            }
        };
        let report = RowReport {
            row: self.row,
            pairs: pairs(nodes.len()).map(pair).collect(),
            missing: self.talk.missing(nodes.len()),
            agreed: stage.agree().await,
        };
        let slowest = report.pairs.iter().filter_map(Pair::flowed_s).fold(0.0, f64::max);
        eprintln!("  all that arrived was there within {slowest:.1} s; {} events are missing", report.missing);
        report
    }
}
