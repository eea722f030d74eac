//! One connection's part in asking to be dialled: it carries questions, or the number that comes back.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::Multiaddr;
use libp2p::StreamProtocol;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound, ProtocolsChange};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use tokio::time::timeout;

use super::{DIAL_BACK, DIAL_REQUEST, Outcome, message};

/// How long a server may take to answer. Dialling what drops packets takes some eight seconds, sending it what it demands
/// first some more on a slow line.
const ANSWER: Duration = Duration::from_secs(15);
/// How long the number may take once the connection for it is there.
const HEARING: Duration = Duration::from_secs(5);
/// Questions that may wait on one connection.
const WAITING: usize = 4;

/// A question for the server at the other end.
#[derive(Debug)]
pub(in crate::network) struct Ask {
    pub(super) number: u64,
    pub(super) address: Multiaddr,
}

/// What a connection tells.
#[derive(Debug)]
pub(in crate::network) enum FromHandler {
    /// Whether the other end can be asked.
    Offers(bool),
    /// A number came over this connection.
    Came(u64),
    /// What became of a question.
    Answered { number: u64, outcome: Outcome },
}

/// See the module.
pub(in crate::network) struct Handler {
    /// Whether a number may come here.
    hears: bool,
    /// Whether questions may be asked here.
    asks: bool,
    waiting: VecDeque<Ask>,
    opening: Option<Ask>,
    asking: Option<BoxFuture<'static, (u64, Outcome)>>,
    hearing: Option<BoxFuture<'static, Option<u64>>>,
    told: VecDeque<FromHandler>,
}

impl Handler {
    pub(super) fn new(hears: bool, asks: bool) -> Self {
        Handler {
            hears,
            asks,
            waiting: VecDeque::new(),
            opening: None,
            asking: None,
            hearing: None,
            told: VecDeque::new(),
        }
    }

    fn unanswered(&mut self, ask: &Ask) {
        self.told.push_back(FromHandler::Answered { number: ask.number, outcome: Outcome::Unanswered });
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Ask;
    type ToBehaviour = FromHandler;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>> {
        SubstreamProtocol::new(ReadyUpgrade::new(DIAL_BACK), ())
    }

    fn on_behaviour_event(&mut self, ask: Ask) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(ask);
        } else {
            self.unanswered(&ask);
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), FromHandler>> {
        if let Some(told) = self.told.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(told));
        }
        if let Some(asking) = &mut self.asking
            && let Poll::Ready((number, outcome)) = asking.poll_unpin(context)
        {
            self.asking = None;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Answered { number, outcome }));
        }
        if let Some(hearing) = &mut self.hearing
            && let Poll::Ready(heard) = hearing.poll_unpin(context)
        {
            self.hearing = None;
            if let Some(number) = heard {
                return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(FromHandler::Came(number)));
            }
        }
        if self.opening.is_none()
            && self.asking.is_none()
            && let Some(ask) = self.waiting.pop_front()
        {
            self.opening = Some(ask);
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(DIAL_REQUEST), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, ReadyUpgrade<StreamProtocol>, ReadyUpgrade<StreamProtocol>>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. })
                if self.hears && self.hearing.is_none() =>
            {
                let hearing = async move { timeout(HEARING, message::hear(stream)).await.ok()?.ok() };
                self.hearing = Some(hearing.boxed());
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, .. }) => {
                if let Some(Ask { number, address }) = self.opening.take() {
                    let asking = async move {
                        let outcome = match timeout(ANSWER, message::ask(stream, &address, number)).await {
                            Ok(answer) => answer.unwrap_or(Outcome::Unanswered),
                            // Other servers give up without a word while they still dial what drops packets.
                            Err(_) => Outcome::Unreached,
                        };
                        (number, outcome)
                    };
                    self.asking = Some(asking.boxed());
                }
            }
            ConnectionEvent::DialUpgradeError(_) => {
                if let Some(ask) = self.opening.take() {
                    self.unanswered(&ask);
                }
            }
            ConnectionEvent::RemoteProtocolsChange(change) if self.asks => {
                let (offers, mut changed) = match change {
                    ProtocolsChange::Added(added) => (true, added.collect::<Vec<_>>()),
                    ProtocolsChange::Removed(removed) => (false, removed.collect()),
                };
                changed.retain(|protocol| **protocol == DIAL_REQUEST);
                if !changed.is_empty() {
                    self.told.push_back(FromHandler::Offers(offers));
                }
            }
            _ => {}
        }
    }
}
