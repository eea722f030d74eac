//! How the pairs meet: who is told of whom, when they were connected, and when without a relay.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::Failure;
use crate::lab::aims::DIRECT_WITHIN;
use crate::lab::paths::{Connection, Sight, connections};
use crate::lab::report::is_as_expected;
use crate::lab::stage::{GLANCE, Stage};
use crate::lab::topology::pairs;

/// How long servers behind a NAT may take to find a relay. Without one they cannot be reached, and the run goes on to show it.
const RELAYS: Duration = Duration::from_secs(30);
/// The pause between two introductions. All at once would measure this machine rather than the nodes.
const PAUSE: Duration = Duration::from_millis(150);
/// How long an introduction may take.
const INTRODUCTION: Duration = Duration::from_secs(25);
/// For how long after the time that an aim allows it is seen how a pair comes to be connected.
const GRACE: Duration = Duration::from_secs(5);

type Places = (usize, usize);

/// When the pairs met and how they came to be connected.
#[derive(Clone, Debug, Default)]
pub struct Meeting {
    /// When one heard of the other, or when they were first seen to be connected, if that was earlier.
    met: BTreeMap<Places, Instant>,
    /// When they were first seen to be connected, in whatever way.
    connected: BTreeMap<Places, Instant>,
    /// When they were first seen to be connected without a relay.
    direct: BTreeMap<Places, Instant>,
}

impl Meeting {
    /// One of two is told of the other.
    fn introduced(&mut self, places: Places, at: Instant) {
        let met = self.met.entry(places).or_insert(at);
        *met = (*met).min(at);
    }

    fn see(&mut self, connections: &BTreeMap<Places, Connection>, at: Instant) {
        for (places, connection) in connections {
            self.introduced(*places, at);
            self.connected.entry(*places).or_insert(at);
            if connection.way.is_direct() {
                self.direct.entry(*places).or_insert(at);
            }
        }
    }

    /// How long two took from when they met until they were connected in this way.
    pub fn took(&self, places: Places, connection: Connection) -> Option<Duration> {
        let reached = if connection.way.is_direct() { &self.direct } else { &self.connected };
        Some(reached.get(&places)?.saturating_duration_since(*self.met.get(&places)?))
    }
}

/// Lets the nodes find relays, tells every pair that has not met of each other, and watches how they come to be connected.
/// Hosts of one site are not told: they have to find each other.
pub async fn meet(stage: &Stage) -> Meeting {
    let mut meeting = Meeting::default();
    find_relays(stage, &mut meeting).await;
    let begun = Instant::now();
    let connected = &meeting.connected;
    let strangers: Vec<Places> = pairs(stage.nodes().len())
        .filter(|places| !connected.contains_key(places))
        .filter(|(a, b)| stage.nodes()[*a].host.site != stage.nodes()[*b].host.site)
        .collect();
    let due = |at: usize| PAUSE * u32::try_from(at).unwrap_or(u32::MAX);
    for (at, places) in strangers.iter().enumerate() {
        meeting.introduced(*places, begun + due(at));
    }
    eprintln!("  telling {} pairs of each other", strangers.len());
    let introductions = join_all(strangers.iter().enumerate().map(|(at, places)| introduce(stage, *places, due(at))));
    let until = begun + due(strangers.len()) + DIRECT_WITHIN + GRACE;
    tokio::join!(introductions, watch(stage, &mut meeting, until));
    meeting
}

/// Waits until every server behind a NAT has a relay.
async fn find_relays(stage: &Stage, meeting: &mut Meeting) {
    let until = Instant::now() + RELAYS;
    loop {
        let sights = stage.sights().await;
        meeting.see(&connections(&stage.ids(), &sights), Instant::now());
        let nodes = stage.nodes().iter().enumerate();
        let lonely = nodes.filter(|(at, node)| !node.host.is_relay() && !has_relay(sights[*at].as_ref()));
        let without: Vec<&str> = lonely.map(|(_, node)| node.host.name).collect();
        if without.is_empty() {
            return;
        }
        if Instant::now() > until {
            eprintln!("  without a relay after {} s: {}", RELAYS.as_secs(), without.join(", "));
            return;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn has_relay(sight: Option<&Sight>) -> bool {
    sight.is_some_and(|sight| !sight.relays.is_empty())
}

async fn introduce(stage: &Stage, (a, b): Places, due: Duration) {
    tokio::time::sleep(due).await;
    let outcome = match tokio::time::timeout(INTRODUCTION, stage.introduce(a, b)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::from(format!("no answer within {} s", INTRODUCTION.as_secs()))),
    };
    if let Err(failure) = outcome {
        let (a, b) = (stage.nodes()[a].host.name, stage.nodes()[b].host.name);
        eprintln!("  {a} could not be told of {b}: {failure}");
    }
}

/// Watches until every pair is connected as it ought to be, or until a moment.
async fn watch(stage: &Stage, meeting: &mut Meeting, until: Instant) {
    loop {
        let connections = stage.connections().await;
        meeting.see(&connections, Instant::now());
        if all_as_expected(stage, &connections) || Instant::now() > until {
            return;
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Whether every pair of nodes that are up is connected as it ought to be.
pub fn all_as_expected(stage: &Stage, connections: &BTreeMap<Places, Connection>) -> bool {
    let nodes = stage.nodes();
    pairs(nodes.len()).filter(|(a, b)| nodes[*a].is_up() && nodes[*b].is_up()).all(|places| {
        let (a, b) = (&nodes[places.0].host, &nodes[places.1].host);
        is_as_expected(a, b, connections.get(&places).copied())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::paths::Way;

    fn seen(way: Way) -> BTreeMap<Places, Connection> {
        BTreeMap::from([((0, 1), Connection { way, transport: None })])
    }

    #[test]
    fn a_pair_that_was_relayed_first_took_until_it_was_direct() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut meeting = Meeting::default();
        meeting.introduced((0, 1), at(1));
        meeting.see(&seen(Way::Relayed), at(2));
        meeting.see(&seen(Way::Punched), at(5));
        meeting.see(&seen(Way::Punched), at(9));
        let took = |way| meeting.took((0, 1), Connection { way, transport: None });
        assert_eq!(took(Way::Punched), Some(Duration::from_secs(4)));
        assert_eq!(took(Way::Relayed), Some(Duration::from_secs(1)));
        assert_eq!(meeting.took((0, 2), Connection { way: Way::Direct, transport: None }), None);
    }

    #[test]
    fn a_pair_that_found_each_other_before_it_was_told_met_then() {
        let begun = Instant::now();
        let mut meeting = Meeting::default();
        meeting.introduced((0, 1), begun + Duration::from_secs(9));
        meeting.see(&seen(Way::Direct), begun);
        assert_eq!(meeting.took((0, 1), Connection { way: Way::Direct, transport: None }), Some(Duration::ZERO));
    }
}
