//! What the swarm reports.

use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::identity::PeerId;
use libp2p::request_response::{self, Message};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{identify, ping};
use rocketmesh_protocol::wire::{Hello, Refused, Request, Response, UnverifiedEphemeral, common_version};
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::early::Early;
use super::{Driver, PASSED_OVER};
use crate::network::address::is_relayed;
use crate::network::behaviour::BehaviourEvent;
use crate::network::dial_failure::dial_failure;
use crate::network::handle::{Event, GossipToken, IncomingRequest};
use crate::network::peers::{Connection, FoundBy, Introduction, Path};

impl Driver {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.on_closed(peer_id, connection_id, cause.is_some());
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                let again = self.dial_around(peer_id, connection_id, &error);
                let error = dial_failure(&error);
                tracing::debug!(peer = ?peer_id, error, "a dial failed");
                self.bootstrap.failed(connection_id, &error, Instant::now());
                if let Some(answer) = self.connects.remove(&connection_id) {
                    let _ = answer.send(Err(error));
                }
                if let Some(peer) = peer_id.filter(|peer| !again && !self.swarm.is_connected(peer)) {
                    self.awaited.retain(|(awaited, _)| *awaited != peer);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } if is_relayed(&address) => {
                tracing::debug!(%address, "reachable through a relay");
                self.advertise();
            }
            SwarmEvent::NewListenAddr { address, listener_id } => {
                tracing::info!(%address, "listening");
                self.note_listening(&address, Some(listener_id));
                self.notice_address(&address, Instant::now());
                self.advertise();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.note_listening(&address, None);
                if !is_relayed(&address) {
                    self.notice_address(&address, Instant::now());
                }
                self.swarm.remove_external_address(&address);
                self.advertise();
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                let known = self.on_listener_closed(listener_id, reason.as_ref().err());
                if !known {
                    tracing::warn!(?addresses, ?reason, "a listening address was lost");
                }
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Hello(event) => self.on_hello(event),
            BehaviourEvent::Sync(event) => self.on_sync(event),
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, connection_id, info }) => {
                self.on_identify(peer_id, connection_id, &info);
            }
            BehaviourEvent::Ping(ping) => self.on_ping(ping),
            BehaviourEvent::Upnp(event) => self.on_upnp(event),
            BehaviourEvent::Relays(event) => self.on_relay(&event),
            BehaviourEvent::Serving(event) => self.on_serving(&event),
            BehaviourEvent::Punching(event) => self.on_dcutr(&event),
            BehaviourEvent::Prober(answer) => self.on_answer(&answer),
            BehaviourEvent::Pulse(beat) => self.on_beat(beat),
            _ => {}
        }
    }

    fn on_ping(&mut self, ping: ping::Event) {
        match ping.result {
            Ok(latency) => {
                if let Some(peer) = self.peers.get_mut(&ping.peer) {
                    peer.latency = Some(latency);
                }
                self.prove(&ping.peer, ping.connection, Instant::now());
            }
            // A peer without ping is alive all the same.
            Err(ping::Failure::Unsupported) => {}
            Err(error) if self.nat.on => {
                tracing::debug!(peer = %ping.peer, %error, "closing a connection that is dead");
                self.bury(ping.peer, ping.connection);
            }
            Err(_) => {}
        }
    }

    /// Closes a connection that is dead. It counts as ended at once: closing it properly may take as long as the system goes on
    /// sending what nobody acknowledges.
    pub(super) fn bury(&mut self, peer: PeerId, connection: ConnectionId) {
        self.on_closed(peer, connection, true);
        self.swarm.close_connection(connection);
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let mut open = Connection::new(endpoint, now);
        if !open.outbound && open.path == Path::Direct && self.comes_of_punching(&peer, now) {
            open.path = Path::Punched;
        }
        let known = self.peers.entry(peer, now);
        let outbound = open.outbound;
        if outbound {
            known.note_address(open.address.clone());
        } else if known.found_by.is_empty() {
            known.found_by.insert(FoundBy::Inbound);
        }
        let first = known.connections.is_empty();
        known.connections.insert(connection, open.clone());
        if first {
            known.introduction = Introduction::Pending;
            known.welcomed = None;
            self.unintroduced.insert(peer, now + self.config.limits.introduction_timeout);
            self.introduce(peer);
        } else {
            self.on_another_connection(peer, connection, now);
        }
        if outbound {
            self.bootstrap.connected(connection, peer, Instant::now());
        } else {
            self.on_inbound(peer, &open);
            if let Some(relay) = open.via {
                self.nat.relays.came(&relay, now);
            }
        }
        if let Some(answer) = self.connects.remove(&connection) {
            self.peers.entry(peer, now).found_by.insert(FoundBy::Command);
            let _ = answer.send(Ok(peer));
        }
    }

    /// A connection has ended; `broken` if not because this node closed it.
    pub(super) fn on_closed(&mut self, peer: PeerId, connection: ConnectionId, broken: bool) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let closed = known.connections.remove(&connection);
        if known.connections.is_empty() {
            known.in_dht = false;
            (known.anew, known.beside) = (None, None);
            self.fail_requests(&peer);
            self.tell(Event::PeerGone { peer });
            self.unintroduced.remove(&peer);
            self.awaited.retain(|(awaited, _)| *awaited != peer);
            let alone = self.peers.iter().all(|(_, known)| !known.ready());
            self.bootstrap.lost(&peer, alone, Instant::now());
            if let Some(last) = closed.filter(|_| broken) {
                self.on_lost(peer, &last, Instant::now());
                self.notice_solitude(Instant::now());
            }
            for early in self.early.take(&peer) {
                self.hand_over(peer, early, false);
            }
        } else if let Some(lost) = closed.filter(|_| broken) {
            self.on_partly_lost(peer, &lost, Instant::now());
        }
    }

    fn introduce(&mut self, peer: PeerId) {
        let request = self.swarm.behaviour_mut().hello.send_request(&peer, self.hello.encode());
        self.hellos.insert(request, peer);
    }

    /// An introduction goes down with the connection that it was made over, which may have been one of two. It is made
    /// again at the next tick, not at once: a peer that refuses every one must not be asked without pause.
    pub(super) fn introduce_again(&mut self) {
        let own = self.hellos.values().copied().collect::<std::collections::BTreeSet<PeerId>>();
        let again: Vec<PeerId> = self.unintroduced.keys().filter(|peer| !own.contains(peer)).copied().collect();
        for peer in again {
            self.introduce(peer);
        }
    }

    fn on_hello(&mut self, event: request_response::Event<Vec<u8>, Vec<u8>>) {
        match event {
            request_response::Event::Message {
                peer,
                message: Message::Request { request, channel, .. },
                connection_id,
            } => {
                let _ = self.swarm.behaviour_mut().hello.send_response(channel, self.hello.encode());
                self.introduced(peer, &request);
                self.on_introduced_again(peer, connection_id, Instant::now());
            }
            request_response::Event::Message { peer, message: Message::Response { request_id, response }, .. } => {
                self.hellos.remove(&request_id);
                self.introduced(peer, &response);
            }
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                self.hellos.remove(&request_id);
                let pending = self.peers.get(&peer).is_some_and(|known| known.introduction == Introduction::Pending);
                if pending && matches!(error, request_response::OutboundFailure::UnsupportedProtocols) {
                    self.mark(peer, Introduction::Incompatible(None));
                }
            }
            _ => {}
        }
    }

    fn introduced(&mut self, peer: PeerId, hello: &[u8]) {
        let introduction = match Hello::decode(hello) {
            Ok(theirs) if common_version(&self.hello, &theirs).is_some() => Introduction::Done(theirs),
            Ok(theirs) => {
                tracing::info!(%peer, agent = theirs.agent, versions = ?theirs.wire_versions, "a peer speaks no version that this node speaks");
                Introduction::Incompatible(Some(theirs))
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "a peer introduced itself with something else");
                Introduction::Incompatible(None)
            }
        };
        self.mark(peer, introduction);
    }

    fn mark(&mut self, peer: PeerId, introduction: Introduction) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let was_ready = known.ready();
        known.introduction = introduction;
        let is_ready = known.ready();
        self.unintroduced.remove(&peer);
        for early in self.early.take(&peer) {
            self.hand_over(peer, early, is_ready);
        }
        if is_ready && !was_ready {
            self.welcome(peer, Instant::now());
            for (_, found) in self.awaited.extract_if(.., |(awaited, _)| *awaited == peer) {
                let _ = found.try_send(peer);
            }
        } else if !is_ready {
            self.awaited.retain(|(awaited, _)| *awaited != peer);
        }
    }

    fn on_sync(&mut self, event: request_response::Event<Vec<u8>, Vec<u8>>) {
        if let request_response::Event::Message { peer, connection_id, .. } = &event {
            self.prove(peer, *connection_id, Instant::now());
        }
        match &event {
            request_response::Event::Message { message: Message::Request { .. }, peer, .. } => {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.asking += 1;
                }
            }
            request_response::Event::Message { message: Message::Response { .. }, peer, .. }
            | request_response::Event::OutboundFailure { peer, .. }
            | request_response::Event::InboundFailure { peer, .. }
            | request_response::Event::ResponseSent { peer, .. } => {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.note_answered(Instant::now());
                }
            }
        }
        match event {
            request_response::Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                if let Err((channel, refused)) = self.on_request(peer, &request, channel) {
                    if let Some(known) = self.peers.get_mut(&peer) {
                        known.counters.requests_refused += 1;
                    }
                    let response = Response::Refused(refused).encode();
                    let _ = self.swarm.behaviour_mut().sync.send_response(channel, response);
                }
            }
            request_response::Event::Message { message: Message::Response { request_id, response }, .. } => {
                if let Some(asked) = self.requests.remove(&request_id) {
                    let _ = asked.answer.send(Ok(response));
                }
            }
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                if let Some(asked) = self.requests.remove(&request_id) {
                    let _ = asked.answer.send(Err(error.to_string()));
                }
            }
            _ => {}
        }
    }

    #[allow(clippy::type_complexity)]
    fn on_request(
        &mut self,
        peer: PeerId,
        request: &[u8],
        channel: request_response::ResponseChannel<Vec<u8>>,
    ) -> Result<(), (request_response::ResponseChannel<Vec<u8>>, Refused)> {
        let Some(known) = self.peers.get_mut(&peer) else { return Err((channel, Refused::NotIntroduced)) };
        known.counters.requests += 1;
        if !known.may_request(Instant::now()) {
            return Err((channel, Refused::TooMany));
        }
        if known.excluded {
            return Err((channel, Refused::Policy));
        }
        if !known.ready() {
            return Err((channel, Refused::NotIntroduced));
        }
        let request = match Request::decode(request) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(%peer, %error, "a peer sent a malformed request");
                return Err((channel, Refused::Other));
            }
        };
        match self.engine.try_send(Event::Request(IncomingRequest { peer, request, channel })) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(Event::Request(refused)) | TrySendError::Closed(Event::Request(refused))) => {
                Err((refused.channel, Refused::TooMany))
            }
            Err(_) => Ok(()),
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source: peer, message_id: id, message } => {
                let token = GossipToken { id, peer };
                let Some(known) = self.peers.get_mut(&peer) else { return self.ignore(&token) };
                known.counters.gossip += 1;
                let (ready, pending) = (known.ready(), known.introduction == Introduction::Pending);
                let Some(room) = self.topics.get(&message.topic).copied() else { return self.ignore(&token) };
                let early = Early { room, bytes: message.data, token };
                if !pending {
                    self.hand_over(peer, early, ready);
                } else if let Some(early) = self.early.keep(peer, early) {
                    self.hand_over(peer, early, false);
                }
            }
            gossipsub::Event::Subscribed { peer_id: peer, topic } => {
                if let Some(room) = self.topics.get(&topic).copied()
                    && self.peers.get(&peer).is_some_and(|known| known.ready())
                {
                    self.tell(Event::PeerFollows { peer, room });
                }
            }
            _ => {}
        }
    }

    /// Hands gossip of a peer that is ready to the engine, and passes over what it has no time for.
    fn hand_over(&mut self, peer: PeerId, early: Early, ready: bool) {
        let Early { room, bytes, token } = early;
        // What is over in a moment leaves half of the room to events, and is not asked for again.
        if UnverifiedEphemeral::is_meant(&bytes) && self.engine.capacity() * 2 < self.engine.max_capacity() {
            return self.ignore(&token);
        }
        if ready && self.engine.try_send(Event::Gossip { peer, room, bytes, token: token.clone() }).is_ok() {
            return;
        }
        if ready && self.passed_over.len() < PASSED_OVER {
            self.passed_over.insert((peer, room));
        }
        self.ignore(&token);
    }

    fn ignore(&mut self, token: &GossipToken) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&token.id, &token.peer, MessageAcceptance::Ignore);
    }

    /// Tells the engine, unless it is busy: whatever this would have set off is set off again within a minute.
    pub(super) fn tell(&mut self, event: Event) {
        if self.engine.try_send(event).is_err() {
            tracing::debug!("the engine is busy; an event of the network is left to the next comparison");
        }
    }
}
