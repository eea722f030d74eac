//! When the network changes, or the machine slept: what was known may be wrong, and connections may be dead without a word.
//!
//! Everybody is asked for a sign of life, those that give none or were lost are dialled again, and what was decided about reachability
//! is decided anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::time::Instant;

use super::Driver;
use crate::network::peers::Connection;

/// How much more the clock may have gone on than the time that the process saw: as long as connections over QUIC last without a word.
/// More means that the machine slept. A clock that is set by more costs a look at every connection.
const SLEPT: Duration = Duration::from_secs(10);
/// As much time between two ticks means that the process was stopped, and others may have given it up.
const STOPPED: Duration = Duration::from_secs(10);
/// How long changes are gathered: an interface that comes up has several addresses.
const GATHER: Duration = Duration::from_secs(1);
/// How long after the start addresses that appear are no change.
const SETTLING: Duration = Duration::from_secs(10);
/// The first pause before a lost peer is dialled again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a lost peer is dialled again before it is left to the search for company.
const GIVEN_UP: Duration = Duration::from_secs(60 * 60);
/// The most lost peers that are dialled again.
const LOST: usize = 64;
/// A direct connection that was made again and is closed again within this is not wanted by the other side, which closes what it does
/// not need within seconds. Later than that it was lost once more.
const UNWANTED: Duration = Duration::from_secs(30);
/// How often it is looked at which peers are company.
const LOOK: Duration = Duration::from_secs(5);

struct Lost {
    since: Instant,
    next: Instant,
    pause: Duration,
}

/// What is going on.
pub(in crate::network) struct Change {
    started: Instant,
    ticked: Instant,
    wall_ms: u64,
    /// When to act on a change that was noticed.
    due: Option<Instant>,
    /// Peers that were asked for a sign of life for the last change, and have given none.
    checks: BTreeSet<PeerId>,
    lost: BTreeMap<PeerId, Lost>,
    /// When lost peers came back.
    found: BTreeMap<PeerId, Instant>,
    /// Peers that share rooms with this node and that it would miss.
    company: Vec<PeerId>,
    looked: Instant,
}

impl Change {
    pub(super) fn new(now: Instant, wall_ms: u64) -> Self {
        Change {
            started: now,
            ticked: now,
            wall_ms,
            due: None,
            checks: BTreeSet::new(),
            lost: BTreeMap::new(),
            found: BTreeMap::new(),
            company: Vec::new(),
            looked: now,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Something has changed. Acted on once it has settled.
    fn notice(&mut self, now: Instant) {
        self.due.get_or_insert(now + GATHER);
    }

    /// Whether this process stood still since it was last asked: the clock went on by more than the process saw, as on a machine that
    /// slept, or the process saw more pass than there is between two ticks, as one that was stopped. Sets both.
    fn stood_still(&mut self, now: Instant, wall_ms: u64) -> bool {
        let seen = now.duration_since(self.ticked);
        let passed = Duration::from_millis(wall_ms.saturating_sub(self.wall_ms));
        (self.ticked, self.wall_ms) = (now, wall_ms);
        seen >= STOPPED || passed > seen + SLEPT
    }

    /// Whether a peer was asked for a sign of life for a change, and this is the first that it gives.
    pub(super) fn was_checked(&mut self, peer: &PeerId) -> bool {
        self.checks.remove(peer)
    }

    /// Whether this node would miss a peer.
    pub(super) fn is_company(&self, peer: &PeerId) -> bool {
        self.company.contains(peer)
    }
}

impl Driver {
    pub(super) fn notice_sleep(&mut self, now: Instant) {
        if self.nat.change.stood_still(now, self.clock.now_ms()) {
            tracing::info!("this node has stood still while time went on: looking at every connection anew");
            self.nat.change.notice(now);
        }
    }

    /// An address of this machine has appeared or gone.
    pub(super) fn notice_address(&mut self, address: &Multiaddr, now: Instant) {
        if self.nat.on && now.duration_since(self.nat.change.started) >= SETTLING {
            tracing::info!(%address, "an address of this machine has changed: looking at every connection anew");
            self.nat.change.notice(now);
        }
    }

    /// Every connection is gone at once: most likely the way to the others is.
    pub(super) fn notice_solitude(&mut self, now: Instant) {
        let alone = self.peers.iter().all(|(_, peer)| peer.connections.is_empty());
        if self.nat.on && alone && now.duration_since(self.nat.change.started) >= SETTLING {
            tracing::info!("the last connection has broken: looking at everything anew");
            self.nat.change.notice(now);
        }
    }

    pub(super) fn on_change(&mut self, now: Instant) {
        self.nat.change.due = None;
        self.nat.reach.changed(now);
        self.nat.relays.forgive();
        self.nat.sightings.forget();
        self.nat.misled.forget();
        self.nat.walked = None;
        self.nat.punches.changed(now);
        self.bootstrap.hurry(now);
        for nearby in self.nearby.values_mut() {
            nearby.hurry(now);
        }
        for lost in self.nat.change.lost.values_mut() {
            *lost = Lost { next: now, pause: FIRST_PAUSE, ..*lost };
        }
        self.restart_upnp(now);
        self.advertise();
        self.addresses_changed();
        self.check_peers(now);
    }

    /// Asks every peer for a sign of life. What was missed meanwhile is looked for once it comes.
    fn check_peers(&mut self, now: Instant) {
        let ready: BTreeSet<PeerId> = self.peers.iter().filter(|(_, peer)| peer.ready()).map(|(id, _)| *id).collect();
        for peer in &ready {
            self.doubt_all_of(*peer, now);
        }
        self.nat.change.checks = ready;
    }

    /// The last connection with a peer has ended, and not because this node closed it.
    pub(super) fn on_lost(&mut self, peer: PeerId, last: &Connection, now: Instant) {
        if !self.nat.on || !self.nat.change.is_company(&peer) {
            return;
        }
        let found = self.nat.change.found.get(&peer);
        let unwanted = !last.is_relayed() && found.is_some_and(|at| now.duration_since(*at) < UNWANTED);
        if !unwanted {
            self.nat.change.remember_lost(peer, now);
        }
    }

    /// Dials lost peers that are due.
    pub(super) fn find_again(&mut self, now: Instant) {
        if now.duration_since(self.nat.change.looked) >= LOOK {
            self.nat.change.looked = now;
            self.nat.change.company = self.company();
            self.nat.change.found.retain(|_, at| now.duration_since(*at) < UNWANTED);
        }
        let back = |peer: &&PeerId| self.peers.get(peer).is_some_and(|known| !known.connections.is_empty());
        let back: Vec<PeerId> = self.nat.change.lost.keys().filter(back).copied().collect();
        for peer in back {
            self.nat.change.lost.remove(&peer);
            self.nat.change.found.insert(peer, now);
        }
        let mut due = Vec::new();
        self.nat.change.lost.retain(|peer, lost| {
            if lost.next <= now {
                due.push(*peer);
                lost.next = now + lost.pause;
                lost.pause = (lost.pause * 2).min(LONGEST_PAUSE);
            }
            now.duration_since(lost.since) < GIVEN_UP
        });
        for peer in due {
            self.dial_known(peer);
        }
    }

    /// Dials a peer that is not connected at the addresses that are known of it. True if a dial has begun.
    pub(super) fn dial_known(&mut self, peer: PeerId) -> bool {
        if self.peers.get(&peer).is_some_and(|known| known.ban.is_some() || !known.connections.is_empty()) {
            return false;
        }
        let dial =
            DialOpts::peer_id(peer).addresses(self.dialled_addresses(&peer)).extend_addresses_through_behaviour();
        // Refused when a dial is under way, which is what is wanted. What libp2p still takes for a connection may be dead.
        self.swarm.dial(dial.condition(PeerCondition::NotDialing).build()).is_ok()
    }

    /// Dials a peer that is connected once more.
    pub(super) fn dial_beside(&mut self, peer: PeerId) {
        let dial = DialOpts::peer_id(peer).addresses(self.dialled_addresses(&peer));
        let _ = self.swarm.dial(dial.condition(PeerCondition::NotDialing).build());
    }
}

impl Change {
    fn remember_lost(&mut self, peer: PeerId, now: Instant) {
        if self.lost.len() < LOST || self.lost.contains_key(&peer) {
            self.lost.insert(peer, Lost { since: now, next: now + FIRST_PAUSE, pause: FIRST_PAUSE });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_on_while_the_process_stood_still_is_a_sleep_and_a_set_back_is_none() {
        let begin = Instant::now();
        let mut change = Change::new(begin, 1_000_000);
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!change.stood_still(at(1), 1_001_000));
        assert!(!change.stood_still(at(2), 1_010_000), "a clock that is set by seconds is none");
        assert!(change.stood_still(at(3), 1_025_000));
        assert!(!change.stood_still(at(4), 1_026_000), "it is told once");
        assert!(!change.stood_still(at(5), 5_000), "nor one that is set back");
        assert!(
            !change.stood_still(at(12), 12_000),
            "a busy machine ticks late and sees as much time pass as the clock does"
        );
    }

    #[test]
    fn a_process_that_was_stopped_for_long_and_goes_on_looks_at_its_connections() {
        let begin = Instant::now();
        let mut change = Change::new(begin, 1_000_000);
        assert!(!change.stood_still(begin + Duration::from_secs(9), 1_009_000));
        assert!(
            change.stood_still(begin + Duration::from_secs(27), 1_027_000),
            "its clocks agree that much time has passed"
        );
        assert!(!change.stood_still(begin + Duration::from_secs(28), 1_028_000));
    }

    #[test]
    fn several_changes_at_once_are_one() {
        let now = Instant::now();
        let mut change = Change::new(now, 0);
        change.notice(now);
        change.notice(now + GATHER / 2);
        assert!(!change.is_due(now + GATHER / 2));
        assert!(change.is_due(now + GATHER));
    }
}
