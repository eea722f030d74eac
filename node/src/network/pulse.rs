//! Whether a connection is alive, asked when there is reason to doubt it.
//!
//! Pings find out in their own time, half a minute over TCP, and asking more often all the time would cost every connection bytes for
//! the sake of the few that die. So it is asked when something makes it likely: see the driver.
//!
//! To be asked is to be offered a stream with the name of this protocol. Nothing is said in it. Whoever answers at all is alive, also
//! one that does not know the name.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::identity::PeerId;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, NetworkBehaviour, NotifyHandler,
    StreamUpgradeError, SubstreamProtocol, ToSwarm,
};
use libp2p::{Multiaddr, StreamProtocol};

const PULSE: StreamProtocol = StreamProtocol::new("/rocketmesh/pulse/0");

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) peer: PeerId,
    pub(super) connection: ConnectionId,
    /// Whether the other end answered in time.
    pub(super) answered: bool,
}

/// Asks for signs of life.
#[derive(Default)]
pub(super) struct Pulse {
    /// At most one for each connection, as its handler asks one question at a time.
    actions: VecDeque<ToSwarm<Beat, Duration>>,
    waker: Option<Waker>,
}

impl Pulse {
    /// Asks for a sign of life over a connection, which may take this long. Nothing comes of it if one is asked for already, or the
    /// connection ends.
    pub(super) fn ask(&mut self, peer: PeerId, connection: ConnectionId, patience: Duration) {
        let handler = NotifyHandler::One(connection);
        self.actions.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event: patience });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Pulse {
    type ConnectionHandler = Handler;
    type ToSwarm = Beat;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, answered: bool) {
        self.actions.push_back(ToSwarm::GenerateEvent(Beat { peer, connection, answered }));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Beat, Duration>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// One connection's part.
#[derive(Default)]
pub(in crate::network) struct Handler {
    wanted: Option<Duration>,
    asking: bool,
    told: Option<bool>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Duration;
    type ToBehaviour = bool;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>> {
        SubstreamProtocol::new(ReadyUpgrade::new(PULSE), ())
    }

    fn on_behaviour_event(&mut self, patience: Duration) {
        if !self.asking {
            self.wanted = Some(patience);
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), bool>> {
        if let Some(answered) = self.told.take() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(answered));
        }
        if let Some(patience) = self.wanted.take() {
            self.asking = true;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PULSE), ()).with_timeout(patience);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, ReadyUpgrade<StreamProtocol>, ReadyUpgrade<StreamProtocol>>,
    ) {
        let answered = match event {
            ConnectionEvent::FullyNegotiatedOutbound(_) => true,
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => is_answer(&error),
            _ => return,
        };
        if std::mem::take(&mut self.asking) {
            self.told = Some(answered);
        }
    }
}

/// Whether what kept a stream from being opened came from the other end.
fn is_answer(error: &StreamUpgradeError<Infallible>) -> bool {
    matches!(error, StreamUpgradeError::NegotiationFailed)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn whoever_does_not_know_the_protocol_is_alive_and_whoever_says_nothing_may_not_be() {
        assert!(is_answer(&StreamUpgradeError::NegotiationFailed));
        assert!(!is_answer(&StreamUpgradeError::Timeout));
        assert!(!is_answer(&StreamUpgradeError::Io(io::ErrorKind::BrokenPipe.into())));
    }

    #[test]
    fn one_question_is_under_way_on_a_connection_at_a_time() {
        let mut handler = Handler::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut asks = |handler: &mut Handler| {
            matches!(handler.poll(&mut context), Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { .. }))
        };
        for _ in 0..2 {
            handler.on_behaviour_event(Duration::from_secs(3));
        }
        assert!(asks(&mut handler));
        handler.on_behaviour_event(Duration::from_secs(3));
        assert!(!asks(&mut handler));
        let error = StreamUpgradeError::Timeout;
        handler.on_connection_event(ConnectionEvent::DialUpgradeError(DialUpgradeError { info: (), error }));
        let told = handler.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(told, Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(false))), "{told:?}");
        handler.on_behaviour_event(Duration::from_secs(3));
        assert!(asks(&mut handler));
    }
}
