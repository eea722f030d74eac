//! Peers to stay connected to: tried again with back-off for as long as they cannot be reached, and shown as such.

use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use libp2p::swarm::ConnectionId;
use tokio::time::Instant;

use crate::api::types::BootstrapView;
use crate::network::address::peer_of;

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause. A server that comes back is found within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a connection must have lasted for its end to be an accident. A server of which everybody knows the address cannot stay
/// connected with everybody: it lets those go first that came last and find others.
const BRIEF: Duration = Duration::from_secs(60);
/// The first pause after a server has let this node go, which has other company by then; it doubles up to the longest.
const FIRST_ABSENCE: Duration = Duration::from_secs(15);
const LONGEST_ABSENCE: Duration = Duration::from_secs(10 * 60);

/// The bootstrap addresses of a node.
#[derive(Debug, Default)]
pub(super) struct Bootstrap(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    address: Multiaddr,
    /// The peer in the address, or for `/dnsaddr` the one that was found there.
    peer: Option<PeerId>,
    state: State,
    failures: u64,
    /// Connections in a row that were there and ended soon.
    brief: u32,
    last_error: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Connected(Instant),
    Dialling(ConnectionId),
    Waiting(Instant),
}

impl Bootstrap {
    /// Addresses that are due at once.
    pub(super) fn new(addresses: Vec<Multiaddr>, now: Instant) -> Self {
        let mut bootstrap = Bootstrap::default();
        for address in addresses {
            bootstrap.add(address, now);
        }
        bootstrap
    }

    /// Adds an address unless it is there.
    pub(super) fn add(&mut self, address: Multiaddr, now: Instant) {
        if self.0.iter().all(|entry| entry.address != address) {
            let peer = peer_of(&address);
            self.0.push(Entry { address, peer, state: State::Waiting(now), failures: 0, brief: 0, last_error: None });
        }
    }

    /// Addresses that are to be dialled now.
    pub(super) fn due(&self, now: Instant) -> Vec<Multiaddr> {
        let due = |entry: &&Entry| matches!(entry.state, State::Waiting(until) if until <= now);
        self.0.iter().filter(due).map(|entry| entry.address.clone()).collect()
    }

    /// An address is being dialled.
    pub(super) fn dialling(&mut self, address: &Multiaddr, connection: ConnectionId) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.address == *address) {
            entry.state = State::Dialling(connection);
        }
    }

    /// Whether a connection is being made to one of the addresses.
    pub(super) fn is_dialling(&self, connection: ConnectionId) -> bool {
        self.0.iter().any(|entry| entry.state == State::Dialling(connection))
    }

    /// A connection is there.
    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId, now: Instant) {
        for entry in &mut self.0 {
            let dialled = entry.state == State::Dialling(connection);
            if dialled || entry.peer == Some(peer) {
                entry.peer = Some(peer);
                if !matches!(entry.state, State::Connected(_)) {
                    entry.state = State::Connected(now);
                }
                entry.failures = 0;
                entry.last_error = None;
            }
        }
    }

    /// A dial failed.
    pub(super) fn failed(&mut self, connection: ConnectionId, error: &str, now: Instant) {
        for entry in self.0.iter_mut().filter(|entry| entry.state == State::Dialling(connection)) {
            entry.fail(error, now);
        }
    }

    /// An address cannot even be dialled.
    pub(super) fn refused(&mut self, address: &Multiaddr, error: &str, now: Instant) {
        for entry in self.0.iter_mut().filter(|entry| entry.address == *address) {
            entry.fail(error, now);
        }
    }

    /// The last connection with a peer closed; `alone` if there is no other.
    pub(super) fn lost(&mut self, peer: &PeerId, alone: bool, now: Instant) {
        for entry in self.0.iter_mut().filter(|entry| entry.peer.as_ref() == Some(peer)) {
            let State::Connected(since) = entry.state else { continue };
            entry.brief = if now.duration_since(since) < BRIEF { entry.brief + 1 } else { 0 };
            entry.state = State::Waiting(now + pause_after(entry.brief, alone));
        }
    }

    /// Whatever is waited for is due at once: the network has changed.
    pub(super) fn hurry(&mut self, now: Instant) {
        for entry in &mut self.0 {
            if let State::Waiting(until) = &mut entry.state {
                *until = now;
                entry.failures = entry.failures.min(1);
            }
        }
    }

    /// For people and programs to look at.
    pub(super) fn view(&self, now: Instant) -> Vec<BootstrapView> {
        let view = |entry: &Entry| BootstrapView {
            address: entry.address.to_string(),
            state: match entry.state {
                State::Connected(_) => "connected",
                _ if entry.failures > 0 => "unreachable",
                _ if entry.brief > 0 => "let go",
                _ => "connecting",
            }
            .to_owned(),
            failures: entry.failures,
            next_try_s: match entry.state {
                State::Waiting(until) => Some(until.saturating_duration_since(now).as_secs()),
                _ => None,
            },
            last_error: entry.last_error.clone(),
        };
        self.0.iter().map(view).collect()
    }
}

impl Entry {
    fn fail(&mut self, error: &str, now: Instant) {
        let doublings = u32::try_from(self.failures.min(10)).unwrap_or(10);
        self.failures += 1;
        self.last_error = Some(error.to_owned());
        self.state = State::Waiting(now + (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE));
    }
}

/// How long to wait after a connection that ended as the last of so many brief ones.
fn pause_after(brief: u32, alone: bool) -> Duration {
    let Some(doublings) = brief.checked_sub(1) else { return FIRST_PAUSE };
    let (first, longest) = if alone { (FIRST_PAUSE, LONGEST_PAUSE) } else { (FIRST_ABSENCE, LONGEST_ABSENCE) };
    (first * 2_u32.pow(doublings.min(10))).min(longest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unreachable_address_is_tried_again_ever_more_rarely_and_shown_as_such() {
        let mut now = Instant::now();
        let address: Multiaddr =
            "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        let mut bootstrap = Bootstrap::new(vec![address.clone()], now);
        let mut pauses = Vec::new();
        for attempt in 0..9 {
            assert_eq!(bootstrap.due(now), std::slice::from_ref(&address));
            let connection = ConnectionId::new_unchecked(attempt);
            bootstrap.dialling(&address, connection);
            assert!(bootstrap.due(now).is_empty(), "one dial at a time");
            bootstrap.failed(connection, "refused", now);
            let view = bootstrap.view(now).remove(0);
            assert_eq!((view.state.as_str(), view.failures), ("unreachable", attempt as u64 + 1));
            pauses.push(view.next_try_s.unwrap());
            now += Duration::from_secs(view.next_try_s.unwrap());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30]);

        let connection = ConnectionId::new_unchecked(99);
        let peer = peer_of(&address).unwrap();
        bootstrap.dialling(&address, connection);
        bootstrap.connected(connection, peer, now);
        assert_eq!(bootstrap.view(now)[0].state, "connected");
        now += BRIEF;
        bootstrap.lost(&peer, false, now);
        assert_eq!(bootstrap.due(now + FIRST_PAUSE), std::slice::from_ref(&address));
        assert!(bootstrap.due(now).is_empty());
        bootstrap.hurry(now);
        assert_eq!(bootstrap.due(now), [address]);
    }

    #[test]
    fn a_server_that_lets_this_node_go_is_left_alone_for_ever_longer_unless_there_is_no_other() {
        let pauses = |alone: bool| {
            let mut now = Instant::now();
            let address: Multiaddr =
                "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
            let peer = peer_of(&address).unwrap();
            let mut bootstrap = Bootstrap::new(vec![address.clone()], now);
            let mut pauses = Vec::new();
            for attempt in 0..8 {
                let connection = ConnectionId::new_unchecked(attempt);
                bootstrap.dialling(&address, connection);
                bootstrap.connected(connection, peer, now);
                now += Duration::from_secs(5);
                bootstrap.lost(&peer, alone, now);
                let view = bootstrap.view(now).remove(0);
                assert_eq!(view.state, "let go");
                pauses.push(view.next_try_s.unwrap());
                now += Duration::from_secs(view.next_try_s.unwrap());
            }
            bootstrap.dialling(&address, ConnectionId::new_unchecked(9));
            bootstrap.connected(ConnectionId::new_unchecked(9), peer, now);
            now += BRIEF;
            bootstrap.lost(&peer, alone, now);
            assert_eq!(bootstrap.view(now)[0].next_try_s, Some(FIRST_PAUSE.as_secs()), "what lasted ended by accident");
            pauses
        };
        assert_eq!(pauses(false), [15, 30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(pauses(true), [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
