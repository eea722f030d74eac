//! AutoNAT v2, the asking side: whether another server can dial an address of this node.
//!
//! The server that is asked opens a connection to the address from a port that it has not used before, so that no hole in a
//! NAT helps it, and hands over a number on it. libp2p's own client asks one server, once for all time; here the driver
//! chooses whom to ask and when, so that no single server's word counts and a lost port mapping is noticed.

mod handler;
mod message;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::identity::PeerId;
use libp2p::swarm::behaviour::{ConnectionClosed, FromSwarm};
use libp2p::swarm::{ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, ToSwarm};
use libp2p::{Multiaddr, StreamProtocol};

use crate::network::address::is_relayed;
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
        _: ConnectionId,
        _: PeerId,
        local_addr: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        // A number that comes through a relay proves nothing about an address of this node.
        Ok(Handler::new(!is_relayed(local_addr), !is_relayed(local_addr)))
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
        if let FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) = event {
            self.forget(&peer_id, connection_id);
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
                // Servers may dial back under another key, so that only the number counts.
                if let Some(question) = self.questions.get_mut(&number) {
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
