//! AutoNAT v2, the asking side: whether another server can dial an address of this node.
//!
//! The server that is asked opens a connection to the address from a port that it has not used before, so that no hole in a
//! NAT helps it, and hands over a number on it. libp2p's own client asks one server, once for all time; here the driver
//! chooses whom to ask and when, so that no single server's word counts and a lost port mapping is noticed.
//!
//! A number counts only on a connection that the asked server itself opened after it was asked, over the transport of the address
//! in question, or through the relay in it: elsewhere it would prove that the server is connected, and nothing about the address.
//! A place at a relay is tested in the same way.

mod handler;
mod message;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::identity::PeerId;
use libp2p::swarm::behaviour::{ConnectionClosed, FromSwarm, ListenFailure};
use libp2p::swarm::{ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, ToSwarm};
use libp2p::{Multiaddr, StreamProtocol};

use crate::network::address::{carrier_of, is_relayed, relay_of};
use handler::{Ask, FromHandler, Handler};

const DIAL_REQUEST: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");
const DIAL_BACK: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-back");

/// Questions under way at a time. Each may cost 100 kB, which the asked server demands against being misused.
const QUESTIONS: usize = 8;

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The number arrived: the server has dialled the address.
    Reached,
    /// The server could not.
    Unreached,
    /// The server would not, or the question got lost. This says nothing about the address.
    Unanswered,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) server: PeerId,
    pub(super) address: Multiaddr,
    pub(super) outcome: Outcome,
}

struct Question {
    server: PeerId,
    connection: ConnectionId,
    address: Multiaddr,
    /// Whether its number has come by another connection.
    came: bool,
}

/// Asks other servers to dial this node.
#[derive(Default)]
pub(super) struct Prober {
    servers: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    questions: BTreeMap<u64, Question>,
    /// The numbers that may come over each connection that a server opened while it was being asked.
    expected: BTreeMap<ConnectionId, BTreeSet<u64>>,
    actions: VecDeque<ToSwarm<Answer, Ask>>,
    waker: Option<Waker>,
}

impl Prober {
    /// The connected servers that can be asked.
    pub(super) fn servers(&self) -> impl Iterator<Item = &PeerId> {
        self.servers.keys()
    }

    /// Asks a server to dial an address. `number` is what it has to hand over, and must not be guessable. False if it
    /// cannot be asked now.
    pub(super) fn ask(&mut self, server: PeerId, address: Multiaddr, number: u64) -> bool {
        let connection = self.servers.get(&server).and_then(|connections| connections.first()).copied();
        let Some(connection) = connection.filter(|_| self.questions.len() < QUESTIONS) else { return false };
        let question = Question { server, connection, address: address.clone(), came: false };
        if self.questions.insert(number, question).is_some() {
            return false;
        }
        self.act(ToSwarm::NotifyHandler {
            peer_id: server,
            handler: NotifyHandler::One(connection),
            event: Ask { number, address },
        });
        true
    }

    fn act(&mut self, action: ToSwarm<Answer, Ask>) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn answered(&mut self, number: u64, outcome: Outcome) {
        let Some(question) = self.questions.remove(&number) else { return };
        // A server that claims what did not happen is not believed, nor one that denies what did.
        let outcome = match (outcome, question.came) {
            (Outcome::Reached, false) | (Outcome::Unreached, true) => Outcome::Unanswered,
            (outcome, _) => outcome,
        };
        let Question { server, address, .. } = question;
        self.act(ToSwarm::GenerateEvent(Answer { server, address, outcome }));
    }

    /// The numbers of questions to a peer that may be what a connection is made for, which it has just opened to this address.
    fn made_for(&self, peer: &PeerId, local: &Multiaddr) -> BTreeSet<u64> {
        let same_way = |address: &Multiaddr| match is_relayed(address) {
            true => relay_of(address).is_some() && relay_of(address) == relay_of(local),
            false => !is_relayed(local) && carrier_of(address) == carrier_of(local),
        };
        let made_for = self.questions.iter().filter(|(_, asked)| asked.server == *peer && same_way(&asked.address));
        made_for.map(|(number, _)| *number).collect()
    }

    fn forget(&mut self, peer: &PeerId, connection: ConnectionId) {
        if let Some(connections) = self.servers.get_mut(peer) {
            connections.remove(&connection);
            if connections.is_empty() {
                self.servers.remove(peer);
            }
        }
    }
}

impl NetworkBehaviour for Prober {
    type ConnectionHandler = Handler;
    type ToSwarm = Answer;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        let expected = self.made_for(&peer, local_addr);
        let hears = !expected.is_empty();
        if hears {
            self.expected.insert(connection, expected);
        }
        Ok(Handler::new(hears, !is_relayed(local_addr)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        addr: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(false, !is_relayed(addr)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // One that was refused after all was never there.
        if let FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) = event {
            self.expected.remove(&connection_id);
        }
        if let FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) = event {
            self.forget(&peer_id, connection_id);
            self.expected.remove(&connection_id);
            let on_it =
                |(number, question): (&u64, &Question)| (question.connection == connection_id).then_some(*number);
            let lost: Vec<u64> = self.questions.iter().filter_map(on_it).collect();
            for number in lost {
                self.answered(number, Outcome::Unanswered);
            }
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: FromHandler) {
        match event {
            FromHandler::Offers(true) => drop(self.servers.entry(peer).or_default().insert(connection)),
            FromHandler::Offers(false) => self.forget(&peer, connection),
            FromHandler::Came(number) => {
                let expected = self.expected.get(&connection).is_some_and(|numbers| numbers.contains(&number));
                if let Some(question) = self.questions.get_mut(&number).filter(|_| expected) {
                    question.came = true;
                }
            }
            FromHandler::Answered { number, outcome } => self.answered(number, outcome),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Answer, Ask>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WAN: &str = "/ip4/198.51.100.1/tcp/4848";
    const LAN: &str = "/ip4/192.168.1.7/tcp/4848";
    const NUMBER: u64 = 0x0123_4567_89ab_cdef;

    /// A prober with a question to a server, which says that it dialled the address.
    struct Asked {
        prober: Prober,
        server: PeerId,
        connections: usize,
    }

    impl Asked {
        fn connection(&mut self) -> ConnectionId {
            self.connections += 1;
            ConnectionId::new_unchecked(self.connections)
        }

        fn about(address: &str) -> Self {
            let mut asked = Asked { prober: Prober::default(), server: PeerId::random(), connections: 0 };
            let (server, open) = (asked.server, asked.connection());
            asked.prober.on_connection_handler_event(server, open, FromHandler::Offers(true));
            assert!(asked.prober.ask(server, address.parse().unwrap(), NUMBER));
            asked
        }

        /// A connection that a peer opens to a local address.
        fn opened(&mut self, peer: PeerId, local: &str) -> ConnectionId {
            let connection = self.connection();
            let remote = "/ip4/203.0.113.7/tcp/40000".parse().unwrap();
            let local = local.parse().unwrap();
            self.prober.handle_established_inbound_connection(connection, peer, &local, &remote).unwrap();
            connection
        }

        /// What the test comes to once the number has come over a connection.
        fn outcome(mut self, peer: PeerId, connection: ConnectionId, number: u64) -> Outcome {
            self.prober.on_connection_handler_event(peer, connection, FromHandler::Came(number));
            let (server, said) = (self.server, FromHandler::Answered { number: NUMBER, outcome: Outcome::Reached });
            self.prober.on_connection_handler_event(server, ConnectionId::new_unchecked(1), said);
            let answer = self.prober.actions.iter().find_map(|action| match action {
                ToSwarm::GenerateEvent(answer) => Some(answer.outcome),
                _ => None,
            });
            answer.unwrap()
        }
    }

    #[test]
    fn a_number_counts_on_a_connection_that_the_asked_server_opens_after_the_question() {
        let mut asked = Asked::about(WAN);
        let (server, opened) = (asked.server, asked.opened(asked.server, LAN));
        assert_eq!(asked.outcome(server, opened, NUMBER), Outcome::Reached);
    }

    #[test]
    fn a_number_from_somebody_else_over_another_transport_or_an_old_connection_is_worth_nothing() {
        let mut asked = Asked::about(WAN);
        let other = PeerId::random();
        let opened = asked.opened(other, LAN);
        assert_eq!(asked.outcome(other, opened, NUMBER), Outcome::Unanswered, "from another peer");

        let mut asked = Asked::about(WAN);
        let (server, opened) = (asked.server, asked.opened(asked.server, "/ip4/192.168.1.7/udp/4848/quic-v1"));
        assert_eq!(asked.outcome(server, opened, NUMBER), Outcome::Unanswered, "over another transport");

        let mut asked = Asked { prober: Prober::default(), server: PeerId::random(), connections: 0 };
        let (server, open) = (asked.server, asked.connection());
        asked.prober.on_connection_handler_event(server, open, FromHandler::Offers(true));
        let early = asked.opened(server, LAN);
        assert!(asked.prober.ask(server, WAN.parse().unwrap(), NUMBER));
        assert_eq!(asked.outcome(server, early, NUMBER), Outcome::Unanswered, "over a connection from before");

        let mut asked = Asked::about(WAN);
        let (server, opened) = (asked.server, asked.opened(asked.server, LAN));
        assert_eq!(asked.outcome(server, opened, NUMBER + 1), Outcome::Unanswered, "another number");

        let mut asked = Asked::about(WAN);
        let relayed = format!("/ip4/203.0.113.1/tcp/1/p2p/{}/p2p-circuit", PeerId::random());
        let (server, opened) = (asked.server, asked.opened(asked.server, &relayed));
        assert_eq!(asked.outcome(server, opened, NUMBER), Outcome::Unanswered, "through a relay");
    }

    #[test]
    fn a_place_at_a_relay_is_proven_through_that_relay_only() {
        let [relay, other] = [PeerId::random(), PeerId::random()];
        let at = |relay: PeerId| format!("/ip4/203.0.113.1/tcp/1/p2p/{relay}/p2p-circuit");
        for (through, outcome) in
            [(at(relay), Outcome::Reached), (at(other), Outcome::Unanswered), (LAN.to_owned(), Outcome::Unanswered)]
        {
            let mut asked = Asked::about(&at(relay));
            let (server, opened) = (asked.server, asked.opened(asked.server, &through));
            assert_eq!(asked.outcome(server, opened, NUMBER), outcome, "{through}");
        }
    }

    #[test]
    fn what_is_expected_is_forgotten_with_the_connection_and_bounded_by_the_questions() {
        let mut asked = Asked::about(WAN);
        let stranger = PeerId::random();
        for _ in 0..100 {
            asked.opened(stranger, LAN);
        }
        assert!(asked.prober.expected.is_empty(), "who is not asked is not listened to");
        asked.opened(asked.server, LAN);
        assert_eq!(asked.prober.expected.len(), 1);
    }
}
