//! Connections that may be dead: doubted where there is a reason, and replaced once they do not answer.
//!
//! ```text
//!   this node says something in a room ─┐
//!   a question stays open               ├─► a sign of life ──► comes: all is well
//!   no ping for long                    │   is asked for  └─► does not: another connection is made beside it, and once that
//!   the peer connects once more         │                      is there the silent one is closed, and rooms are compared
//!   the network has changed            ─┘
//! ```
//!
//! On a slow line a sign may come late. So silence alone closes nothing at first: it takes another connection, or three misses.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::gossipsub::IdentTopic;
use libp2p::identity::PeerId;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::ConnectionId;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::wire;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Driver;
use crate::network::behaviour::PING_EVERY;
use crate::network::handle::Event;
use crate::network::peers::{Connection, FoundBy, Peer};
use crate::network::pulse::Beat;

/// How long a sign of life may take, beside four times what the last ping took.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same where the peer has just connected in another way: it most likely knows why. A relay hands circuits to either connection of
/// whom it relays for, so that those fail until the dead one is closed.
const PATIENCE_BESIDE: Duration = Duration::from_secs(2);
/// The same where something large may be on its way, behind which the sign waits, and nothing says that the connection is dead.
const PATIENCE_BUSY: Duration = Duration::from_secs(8);
/// The most that a ping counts: what it took may have been a moment's.
const SLOWEST: Duration = Duration::from_secs(2);
/// A connection over which something came within this is not doubted.
const FRESH: Duration = Duration::from_secs(3);
/// The same where the peer has connected once more.
const FRESH_BESIDE: Duration = Duration::from_secs(1);
/// A connection without an answered ping for this long is doubted.
const OVERDUE: Duration = PING_EVERY.saturating_add(Duration::from_secs(4));
/// A connection that breaks and over which nothing came for this long was dead before.
const STALE: Duration = PING_EVERY.saturating_add(Duration::from_secs(1));
/// A question that is open for this long has its connection doubted.
const OPEN: Duration = Duration::from_secs(3);
/// How long after a sign was asked for in vain the next one is.
const AGAIN: Duration = Duration::from_secs(5);
/// How many signs in a row may be missing before a connection is closed that has none beside it.
const MOST_MISSES: u8 = 3;
/// The most peers that are doubted for one thing said. A busy room doubts others the next time.
const DOUBTED: usize = 32;
/// How long after the first miss a peer is dialled beside it, so that those that administrators named, relays among them, come first;
/// and how many a second, since all may be silent at once.
const LATER: Duration = Duration::from_secs(1);
const BESIDE: usize = 8;
/// How often the engine is told that one peer is there, at most: each time costs a comparison.
const WELCOME: Duration = Duration::from_secs(3);
/// How many peers the engine is told of again in a second: after a change of the network all may be there again at once.
const WELCOMED: usize = 32;

/// A question of the engine's that is open.
pub(in crate::network) struct Asked {
    pub(super) peer: PeerId,
    pub(super) at: Instant,
    pub(super) answer: oneshot::Sender<Result<Vec<u8>, String>>,
}

impl Driver {
    /// What is due about connections that may be dead.
    pub(super) fn tend_doubts(&mut self, now: Instant) {
        let rests = |known: &Peer| known.welcomed.is_none_or(|at| now.duration_since(at) >= WELCOME);
        let returned = self.peers.iter().filter(|(_, known)| known.returned && rests(known)).map(|(peer, _)| *peer);
        for peer in returned.take(WELCOMED).collect::<Vec<PeerId>>() {
            self.welcome(peer, now);
        }
        if !self.nat.on {
            return;
        }
        let open = self.requests.values().filter(|asked| now.duration_since(asked.at) >= OPEN).map(|asked| asked.peer);
        let mut doubted: BTreeSet<PeerId> = open.collect();
        let overdue =
            |open: &Connection| open.said || open.is_silent() || now.duration_since(open.alive_at()) >= OVERDUE;
        let silent = self.peers.iter().filter(|(_, known)| known.connections.values().any(overdue));
        doubted.extend(silent.map(|(peer, _)| *peer));
        for peer in doubted {
            self.doubt(peer, None, FRESH, PATIENCE, now);
        }
        self.dial_due_beside(now);
    }

    /// This node has said something in a room: whoever follows it should hear it, and does not over a connection that is dead.
    pub(super) fn doubt_listeners(&mut self, room: &RoomId, now: Instant) {
        if !self.nat.on {
            return;
        }
        let topic = IdentTopic::new(wire::topic(room)).hash();
        let all = self.swarm.behaviour().gossip.all_peers();
        let listening = all.filter(|(_, topics)| topics.contains(&&topic)).map(|(peer, _)| *peer);
        let listeners: Vec<PeerId> = listening.take(DOUBTED).collect();
        for peer in listeners {
            if let Some(known) = self.peers.get_mut(&peer) {
                // Also those over which something came just before: if nothing more comes they are doubted a moment later.
                known.connections.values_mut().for_each(|open| open.said = true);
            }
            self.doubt(peer, None, FRESH, PATIENCE, now);
        }
    }

    /// The network has changed: any connection may be dead.
    pub(super) fn doubt_all_of(&mut self, peer: PeerId, now: Instant) {
        self.doubt(peer, None, Duration::ZERO, PATIENCE, now);
    }

    /// A peer that has connections has one more: those before it may be dead. Silent ones are closed at once.
    pub(super) fn on_another_connection(&mut self, peer: PeerId, connection: ConnectionId, now: Instant) {
        if !self.nat.on {
            return;
        }
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.beside = None;
        let silent = known.connections.iter().filter(|(id, open)| **id != connection && open.is_silent());
        for silent in silent.map(|(id, _)| *id).collect::<Vec<ConnectionId>>() {
            self.bury(peer, silent);
        }
        self.doubt(peer, Some(connection), FRESH_BESIDE, PATIENCE_BESIDE, now);
    }

    /// A peer has introduced itself over a connection although others are older: it knows nothing of those, and may have been started
    /// anew. What was said to it over them is lost.
    pub(super) fn on_introduced_again(&mut self, peer: PeerId, connection: ConnectionId, now: Instant) {
        let Some(known) = self.peers.get_mut(&peer).filter(|known| known.ready()) else { return };
        let Some(since) = known.connections.get(&connection).map(|open| open.since) else { return };
        // Two that dial each other at the same moment introduce themselves over different ones.
        let older = |open: &Connection| since.saturating_duration_since(open.since) >= FRESH_BESIDE;
        if !known.connections.values().any(older) {
            return;
        }
        if self.nat.on {
            known.anew = Some(since);
            self.on_another_connection(peer, connection, now);
        }
        self.welcome(peer, now);
    }

    /// Asks for a sign of life over a peer's connections, but for one, those that are being asked, and those over which something
    /// came lately.
    fn doubt(&mut self, peer: PeerId, but: Option<ConnectionId>, fresh: Duration, patience: Duration, now: Instant) {
        let Some(pulse) = self.swarm.behaviour_mut().pulse.as_mut() else { return };
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let likely = fresh.is_zero() || known.anew.is_some();
        let patience = if known.asking > 0 && !likely { PATIENCE_BUSY } else { patience };
        let patience = patience + known.latency.unwrap_or_default().min(SLOWEST) * 4;
        let others = known.connections.iter_mut().filter(|(id, _)| Some(**id) != but);
        for (connection, open) in others.filter(|(_, open)| may_be_doubted(open, fresh, patience, now)) {
            open.doubted = Some(now);
            pulse.ask(peer, *connection, patience);
        }
    }

    /// A sign of life has come, or not in time.
    pub(super) fn on_beat(&mut self, beat: Beat) {
        let Beat { peer, connection, answered } = beat;
        let now = Instant::now();
        if answered {
            self.prove(&peer, connection, now);
            if self.nat.change.was_checked(&peer)
                && let Some(known) = self.peers.get_mut(&peer)
            {
                known.returned = true;
            }
            return;
        }
        let wanted = self.is_wanted(&peer);
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let named = is_named(known);
        let Some(open) = known.connections.get_mut(&connection) else { return };
        if open.proven >= open.doubted {
            return;
        }
        open.misses = open.misses.saturating_add(1);
        let misses = open.misses;
        tracing::debug!(%peer, misses, "no sign of life over a connection");
        if misses >= MOST_MISSES || is_replaced(known, connection) {
            return self.bury(peer, connection);
        }
        if wanted {
            known.beside.get_or_insert(if named { now } else { now + LATER });
        }
        if named {
            self.dial_due_beside(now);
        }
    }

    /// Something came over a connection.
    pub(super) fn prove(&mut self, peer: &PeerId, connection: ConnectionId, now: Instant) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let Some(open) = known.connections.get_mut(&connection) else { return };
        open.prove(now);
        // It has not forgotten what is older after all.
        let since = open.since;
        if known.anew.is_some_and(|anew| since < anew) {
            known.anew = None;
        }
    }

    /// Whether a peer is dialled again by itself.
    fn is_wanted(&self, peer: &PeerId) -> bool {
        let named = self.peers.get(peer).is_some_and(is_named);
        named || self.nat.relays.involves(peer) || self.nat.change.is_company(peer)
    }

    fn dial_due_beside(&mut self, now: Instant) {
        let due = |known: &Peer| known.beside.is_some_and(|at| at <= now);
        let mut peers: Vec<(bool, PeerId)> =
            self.peers.iter().filter(|(_, known)| due(known)).map(|(peer, known)| (!is_named(known), *peer)).collect();
        peers.sort_unstable();
        for (_, peer) in peers.into_iter().take(BESIDE) {
            let waits = self.waits_for_relay(&peer);
            let Some(known) = self.peers.get_mut(&peer) else { continue };
            known.beside = waits.then(|| now + LATER);
            let lost = !known.connections.is_empty() && known.connections.values().all(Connection::is_silent);
            if lost && !waits {
                tracing::debug!(%peer, "dialling a peer that does not answer beside its connection");
                self.dial_beside(peer);
            }
        }
    }

    /// Whether all connections with a peer lead through relays that are silent themselves: with those they will end.
    fn waits_for_relay(&self, peer: &PeerId) -> bool {
        let silent = |relay: PeerId| {
            let known = self.peers.get(&relay);
            known.is_some_and(|known| known.connections.values().all(Connection::is_silent))
        };
        let Some(known) = self.peers.get(peer).filter(|known| !known.connections.is_empty()) else { return false };
        known.connections.values().all(|open| open.is_relayed() && open.via.is_some_and(silent))
    }

    /// One of several connections with a peer has broken. If it was dead before, what was said over it is lost.
    pub(super) fn on_partly_lost(&mut self, peer: PeerId, last: &Connection, now: Instant) {
        let Some(known) = self.peers.get(&peer) else { return };
        let begins_anew = |anew: Instant| known.connections.values().all(|open| open.since >= anew);
        if !known.anew.is_some_and(begins_anew) {
            if self.nat.on && (last.is_silent() || now.duration_since(last.alive_at()) >= STALE) {
                self.welcome(peer, now);
            }
            return;
        }
        // gossipsub tells its rooms to a peer with the first connection only, and this one has forgotten what it was told.
        tracing::debug!(%peer, "a peer has begun anew: closing all connections with it, to begin anew as well");
        let open: Vec<ConnectionId> = known.connections.keys().copied().collect();
        for connection in open {
            self.on_closed(peer, connection, false);
            self.swarm.close_connection(connection);
        }
        self.on_lost(peer, last, now);
    }

    /// Tells the engine that a peer is there, or is again, so that rooms are compared with it. Not more often than it may be:
    /// whatever comes sooner is told later.
    pub(super) fn welcome(&mut self, peer: PeerId, now: Instant) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.returned = known.ready() && known.welcomed.is_some_and(|at| now.duration_since(at) < WELCOME);
        if known.returned || !known.ready() {
            return;
        }
        known.welcomed = Some(now);
        let name = known.name();
        self.tell(Event::PeerReady { peer, name });
    }

    /// The last connection with a peer has ended: nothing that it was asked is answered any more. libp2p says so only once it has
    /// closed the connection, which may take long if that is dead.
    pub(super) fn fail_requests(&mut self, peer: &PeerId) {
        let asked = self.requests.iter().filter(|(_, asked)| asked.peer == *peer);
        let lost: Vec<OutboundRequestId> = asked.map(|(request, _)| *request).collect();
        for request in lost {
            if let Some(asked) = self.requests.remove(&request) {
                let _ = asked.answer.send(Err("the connection broke".to_owned()));
            }
        }
    }
}

/// Whether administrators named a peer.
fn is_named(known: &Peer) -> bool {
    known.found_by.contains(&FoundBy::Bootstrap) || known.found_by.contains(&FoundBy::Command)
}

fn may_be_doubted(open: &Connection, fresh: Duration, patience: Duration, now: Instant) -> bool {
    let unanswered = open.doubted.filter(|at| *at >= open.alive_at());
    let rests = unanswered.is_none_or(|at| now.duration_since(at) >= AGAIN.max(patience));
    rests && now.duration_since(open.alive_at()) >= fresh
}

/// Whether a peer has a connection that is better than this one, which is silent: a newer one, or one over which something came since.
fn is_replaced(known: &Peer, silent: ConnectionId) -> bool {
    let Some(silent) = known.connections.get(&silent) else { return false };
    let better = |open: &Connection| !open.is_silent() && (open.since > silent.since || open.proven > silent.doubted);
    known.connections.values().any(better)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::core::ConnectedPoint;

    use super::*;
    use crate::network::NetworkLimits;
    use crate::network::peers::Peers;

    fn connection(since: Instant) -> Connection {
        let address: libp2p::Multiaddr = "/ip4/203.0.113.1/tcp/1".parse().unwrap();
        let endpoint = ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address };
        Connection::new(&endpoint, since)
    }

    #[test]
    fn a_connection_is_asked_for_a_sign_of_life_only_when_nothing_came_and_not_without_pause() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut open = connection(begin);
        let doubted = |open: &Connection, now| may_be_doubted(open, FRESH, PATIENCE, now);
        assert!(!doubted(&open, at(1)), "it is new");
        assert!(doubted(&open, at(3)));
        open.doubted = Some(at(4));
        assert!(!doubted(&open, at(7)), "it is being asked");
        assert!(doubted(&open, at(9)));
        open.prove(at(9));
        assert!(!doubted(&open, at(11)));
        assert!(doubted(&open, at(12)));
        assert!(may_be_doubted(&open, Duration::ZERO, PATIENCE, at(9)), "where the network has changed");
        open.doubted = Some(at(13));
        assert!(!may_be_doubted(&open, FRESH, PATIENCE_BUSY, at(20)), "a slow answer is waited for");
    }

    #[test]
    fn a_silent_connection_gives_way_to_a_newer_one_and_to_one_that_answers_and_to_no_other() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let [old, silent, new] = [0, 1, 2].map(ConnectionId::new_unchecked);
        let mut peers = Peers::new(NetworkLimits::default());
        let known = peers.entry(PeerId::random(), begin);
        known.connections.insert(silent, Connection { doubted: Some(at(20)), misses: 1, ..connection(at(10)) });
        assert!(!is_replaced(known, silent), "a slow line is better than none");
        known.connections.insert(old, Connection { proven: Some(at(15)), ..connection(begin) });
        assert!(!is_replaced(known, silent), "the other one may be dead as well");
        known.connections.insert(old, Connection { proven: Some(at(21)), ..connection(begin) });
        assert!(is_replaced(known, silent));
        known.connections.remove(&old);
        known.connections.insert(new, connection(at(22)));
        assert!(is_replaced(known, silent));
        known.connections.insert(new, Connection { misses: 1, ..connection(at(22)) });
        assert!(!is_replaced(known, silent));
    }
}
