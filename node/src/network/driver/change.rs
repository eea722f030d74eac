//! When the network changes, or the machine slept: what was known may be wrong, and connections may be dead without a word.
//!
//! Everybody is asked for a sign of life and dropped without one within ten seconds, those that were lost are dialled again, and
//! what was decided about reachability is decided anew.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use libp2p::request_response::{OutboundFailure, OutboundRequestId};
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::time::Instant;

use super::Driver;
use crate::network::handle::Event;
use crate::network::peers::Connection;

/// How much more the clock may have gone on than the time that the process saw. More means that the machine slept.
const SLEPT: Duration = Duration::from_secs(30);
/// How long changes are gathered: an interface that comes up has several addresses.
const GATHER: Duration = Duration::from_secs(2);
/// How long after the start addresses that appear are no change.
const SETTLING: Duration = Duration::from_secs(10);
/// The first pause before a lost peer is dialled again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a lost peer is dialled again before it is left to the search for company.
const GIVEN_UP: Duration = Duration::from_secs(60 * 60);
/// The most lost peers that are dialled again.
const LOST: usize = 64;
/// A direct connection that was made again and is closed again within this is not wanted by the other side.
const UNWANTED: Duration = Duration::from_secs(2 * 60);
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
    /// Signs of life that were asked for.
    checks: BTreeMap<OutboundRequestId, PeerId>,
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
            checks: BTreeMap::new(),
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

    /// Whether the clock went on by more than the process saw. Sets both.
    fn slept(&mut self, now: Instant, wall_ms: u64) -> bool {
        let seen = now.duration_since(self.ticked);
        let passed = Duration::from_millis(wall_ms.saturating_sub(self.wall_ms));
        (self.ticked, self.wall_ms) = (now, wall_ms);
        passed > seen + SLEPT
    }
}

impl Driver {
    pub(super) fn notice_sleep(&mut self, now: Instant) {
        if self.nat.change.slept(now, self.clock.now_ms()) {
            tracing::info!("the clock has gone on while this node did not: looking at every connection anew");
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
        self.check_peers();
    }

    /// Asks every peer for a sign of life: the introduction once more, which is small and answered at once.
    fn check_peers(&mut self) {
        let ready: Vec<PeerId> = self.peers.iter().filter(|(_, peer)| peer.ready()).map(|(id, _)| *id).collect();
        for peer in ready {
            let request = self.swarm.behaviour_mut().hello.send_request(&peer, self.hello.encode());
            self.nat.change.checks.insert(request, peer);
        }
    }

    /// A sign of life came. What was missed meanwhile is looked for at once.
    pub(super) fn on_sign_of_life(&mut self, request: OutboundRequestId) {
        let Some(peer) = self.nat.change.checks.remove(&request) else { return };
        if let Some(known) = self.peers.get(&peer).filter(|known| known.ready()) {
            let name = known.name();
            self.tell(Event::PeerReady { peer, name });
        }
    }

    /// No sign of life came.
    pub(super) fn on_silence(&mut self, request: OutboundRequestId, failure: &OutboundFailure) {
        let Some(peer) = self.nat.change.checks.remove(&request) else { return };
        if matches!(failure, OutboundFailure::Timeout) {
            tracing::debug!(%peer, "no sign of life since the network changed: closing the connection");
            let open = self.peers.get(&peer).map(|known| known.connections.keys().copied().collect());
            let open: Vec<ConnectionId> = open.unwrap_or_default();
            for connection in open {
                self.bury(peer, connection);
            }
        }
    }

    /// The last connection with a peer has ended, and not because this node closed it.
    pub(super) fn on_lost(&mut self, peer: PeerId, last: &Connection, now: Instant) {
        if !self.nat.on || !self.nat.change.company.contains(&peer) {
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
        assert!(!change.slept(at(1), 1_001_000));
        assert!(!change.slept(at(2), 1_020_000), "a clock that is set by seconds is none");
        assert!(change.slept(at(3), 1_320_000));
        assert!(!change.slept(at(4), 1_321_000), "it is told once");
        assert!(!change.slept(at(5), 5_000), "nor one that is set back");
        assert!(!change.slept(at(600), 600_000), "a busy machine sees as much time pass as the clock does");
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
