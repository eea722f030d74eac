//! What the rest of the node says to the network and hears from it.

use libp2p::gossipsub::MessageId;
use libp2p::identity::PeerId;
use libp2p::request_response::ResponseChannel;
use libp2p::{Multiaddr, gossipsub::MessageAcceptance};
use rocketmesh_protocol::event::Event as RoomEvent;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::ServerName;
use rocketmesh_protocol::limits::MAX_CONTACTS;
use rocketmesh_protocol::wire::{Contact, GossipFrame, Request, Response, WireError};
use tokio::sync::{mpsc, oneshot};

use crate::api::types::{BootstrapView, NetView, PeerView};

/// How many commands may wait for the network. They are small, and whoever sends one can wait.
const COMMANDS: usize = 1024;

/// The network's task has ended, which it does only when the node shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is shutting down")]
pub struct NetworkClosed;

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RequestError {
    /// No connection, no answer in time, or the connection broke.
    #[error("the peer did not answer: {0}")]
    Unanswered(String),
    /// The answer cannot be read.
    #[error("the peer answered with {0}")]
    Malformed(#[from] WireError),
    /// The node is shutting down.
    #[error(transparent)]
    Closed(#[from] NetworkClosed),
}

/// What the network tells the engine.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer has introduced itself and speaks a version that this node speaks.
    PeerReady { peer: PeerId, name: Option<ServerName> },
    /// The last connection with a peer has ended: nobody waits for what it asked.
    PeerGone { peer: PeerId },
    /// A peer subscribed to the topic of a room that this node follows, or sent gossip for it that nobody had time for: the
    /// two should compare.
    PeerFollows { peer: PeerId, room: RoomId },
    /// A gossip message for a room that this node follows.
    Gossip { peer: PeerId, room: RoomId, bytes: Vec<u8>, token: GossipToken },
    /// A request.
    Request(IncomingRequest),
}

/// Names a gossip message whose validation is still to be reported.
#[derive(Debug, Clone)]
pub(crate) struct GossipToken {
    pub(super) id: MessageId,
    pub(super) peer: PeerId,
}

/// A request that is to be answered.
#[derive(Debug)]
pub(crate) struct IncomingRequest {
    pub(crate) peer: PeerId,
    pub(crate) request: Request,
    pub(super) channel: ResponseChannel<Vec<u8>>,
}

impl IncomingRequest {
    /// Whether the answer can still reach the peer: not once its time is over, or the connection that it came by.
    pub(crate) fn is_awaited(&self) -> bool {
        self.channel.is_open()
    }
}

/// What is counted of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    GossipRefused,
    Events(u64),
    EventsRefused(u64),
    RequestRefused,
}

#[derive(Debug)]
pub(super) enum Command {
    Follow { room: RoomId, gossiped: bool },
    Announce(RoomId),
    Keep { room: RoomId, peers: Vec<PeerId> },
    Unfollow(RoomId),
    Publish { room: RoomId, frame: Vec<u8>, reached: oneshot::Sender<bool> },
    Validated { token: GossipToken, acceptance: MessageAcceptance },
    Request { peer: PeerId, request: Vec<u8>, answer: oneshot::Sender<Result<Vec<u8>, String>> },
    Respond { channel: ResponseChannel<Vec<u8>>, response: Vec<u8> },
    Providers { room: RoomId, found: mpsc::Sender<PeerId> },
    Contacts { asker: PeerId, peers: Vec<PeerId>, answer: oneshot::Sender<Vec<Contact>> },
    Acquaint { by: PeerId, contacts: Vec<Contact>, found: mpsc::Sender<PeerId> },
    Ready { answer: oneshot::Sender<Vec<PeerId>> },
    Mesh { answer: oneshot::Sender<Vec<(RoomId, Vec<PeerId>)>> },
    Connect { address: Multiaddr, answer: oneshot::Sender<Result<PeerId, String>> },
    Ban { peer: PeerId, banned: bool, reason: Option<String> },
    Exclude { peers: Vec<(PeerId, bool)> },
    Count { peer: PeerId, count: Count },
    Peers { answer: oneshot::Sender<Vec<PeerView>> },
    Status { answer: oneshot::Sender<NetworkStatus> },
    Net { answer: oneshot::Sender<NetView> },
    Detour { peer: PeerId, room: RoomId, answer: oneshot::Sender<bool> },
}

/// How many peers are connected how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// From one server to the other.
    pub direct: usize,
    /// Directly, through a hole in a NAT.
    pub punched: usize,
    /// Through a relay.
    pub relayed: usize,
}

/// The network in short.
#[derive(Debug, Clone, Default)]
pub struct NetworkStatus {
    /// Addresses with this node's id, those that reach farther than this machine first.
    pub addresses: Vec<Multiaddr>,
    /// Configured bootstrap addresses.
    pub bootstrap: Vec<BootstrapView>,
    /// Connected peers.
    pub connected: usize,
    /// Peers that have introduced themselves.
    pub introduced: usize,
    /// Whether this node serves the DHT.
    pub dht_server: bool,
    /// Peers in the DHT's routing table.
    pub dht_peers: usize,
    /// Rooms followed.
    pub topics: usize,
    /// Whether others reach this node: `public`, `private` or `unknown`; empty where nobody asks.
    pub reachability: &'static str,
    /// How peers are connected.
    pub paths: PathCounts,
    /// Relays that hold a place for this node.
    pub relays_held: usize,
    /// Servers that are reachable through this one.
    pub reservations_served: usize,
    /// Connections that run through this node, now and since the start.
    pub circuits_served: usize,
    /// See `circuits_served`.
    pub circuits_served_total: u64,
    /// Holes that were tried to punch since the start, as far as this side is told.
    pub punches_tried: u64,
    /// Those that made a direct connection.
    pub punches_succeeded: u64,
}

/// A way to the network's task. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct NetworkHandle {
    commands: mpsc::Sender<Command>,
}

impl NetworkHandle {
    pub(super) fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        (NetworkHandle { commands }, receiver)
    }

    async fn send(&self, command: Command) -> Result<(), NetworkClosed> {
        self.commands.send(command).await.map_err(|_| NetworkClosed)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NetworkClosed> {
        let (answer, waiting) = oneshot::channel();
        self.send(command(answer)).await?;
        waiting.await.map_err(|_| NetworkClosed)
    }

    /// Receives a room's gossip, unless it is one that is not gossiped.
    pub(crate) async fn follow(&self, room: RoomId, gossiped: bool) -> Result<(), NetworkClosed> {
        self.send(Command::Follow { room, gossiped }).await
    }

    /// Says in the DHT that this node is in a room that it follows.
    pub(crate) async fn announce(&self, room: RoomId) -> Result<(), NetworkClosed> {
        self.send(Command::Announce(room)).await
    }

    /// Stays connected to these peers for the sake of a room that is not gossiped, in place of those named before.
    pub(crate) async fn keep(&self, room: RoomId, peers: Vec<PeerId>) -> Result<(), NetworkClosed> {
        self.send(Command::Keep { room, peers }).await
    }

    /// The opposite of [`NetworkHandle::follow`].
    pub(crate) async fn unfollow(&self, room: RoomId) -> Result<(), NetworkClosed> {
        self.send(Command::Unfollow(room)).await
    }

    /// Gossips an event of this node. Tells whether it was handed to any peer.
    pub(crate) async fn publish(&self, event: &RoomEvent) -> Result<bool, NetworkClosed> {
        let frame = GossipFrame::encode(event);
        self.ask(|reached| Command::Publish { room: event.room(), frame, reached }).await
    }

    /// Gossips an ephemeral message of this node. Whether it reaches anybody is of no concern.
    pub(crate) async fn publish_ephemeral(&self, room: RoomId, message: Vec<u8>) -> Result<(), NetworkClosed> {
        let (reached, _) = oneshot::channel();
        self.send(Command::Publish { room, frame: message, reached }).await
    }

    /// Reports what became of a gossip message, so that it is passed on, forgotten, or blamed on its sender.
    pub(crate) async fn validated(
        &self,
        token: GossipToken,
        acceptance: MessageAcceptance,
    ) -> Result<(), NetworkClosed> {
        self.send(Command::Validated { token, acceptance }).await
    }

    /// Asks a peer.
    pub(crate) async fn request(&self, peer: PeerId, request: &Request) -> Result<Response, RequestError> {
        let request = request.encode();
        let answer = self.ask(|answer| Command::Request { peer, request, answer }).await?;
        Ok(Response::decode(&answer.map_err(RequestError::Unanswered)?)?)
    }

    /// Answers a request.
    pub(crate) async fn respond(&self, request: IncomingRequest, response: &Response) -> Result<(), NetworkClosed> {
        self.send(Command::Respond { channel: request.channel, response: response.encode() }).await
    }

    /// Looks for servers in a room by the DHT, and connects to those that are found. Each is sent once it is connected; the
    /// channel closes when the search is over.
    pub(crate) async fn providers(&self, room: RoomId) -> Result<mpsc::Receiver<PeerId>, NetworkClosed> {
        let (found, receiver) = mpsc::channel(64);
        self.send(Command::Providers { room, found }).await?;
        Ok(receiver)
    }

    /// Where those of these peers are that this node is connected with, as far as it is of use to the one that asks.
    pub(crate) async fn contacts(&self, asker: PeerId, peers: Vec<PeerId>) -> Result<Vec<Contact>, NetworkClosed> {
        self.ask(|answer| Command::Contacts { asker, peers, answer }).await
    }

    /// Connects to servers that a peer has told of. Each is sent once it is connected; the channel closes when all dials are
    /// over.
    pub(crate) async fn acquaint(
        &self,
        by: PeerId,
        contacts: Vec<Contact>,
    ) -> Result<mpsc::Receiver<PeerId>, NetworkClosed> {
        let (found, receiver) = mpsc::channel(MAX_CONTACTS);
        self.send(Command::Acquaint { by, contacts, found }).await?;
        Ok(receiver)
    }

    /// The peers that have introduced themselves and are neither incompatible nor excluded: those with a direct connection
    /// before those behind a relay.
    pub(crate) async fn ready(&self) -> Result<Vec<PeerId>, NetworkClosed> {
        self.ask(|answer| Command::Ready { answer }).await
    }

    /// The peers in the gossip mesh of each room that is followed.
    pub(crate) async fn mesh(&self) -> Result<Vec<(RoomId, Vec<PeerId>)>, NetworkClosed> {
        self.ask(|answer| Command::Mesh { answer }).await
    }

    /// Connects to an address and stays so.
    pub(crate) async fn connect(&self, address: Multiaddr) -> Result<Result<PeerId, String>, NetworkClosed> {
        self.ask(|answer| Command::Connect { address, answer }).await
    }

    /// Bans or unbans a peer.
    pub(crate) async fn ban(&self, peer: PeerId, banned: bool, reason: Option<String>) -> Result<(), NetworkClosed> {
        self.send(Command::Ban { peer, banned, reason }).await
    }

    /// Marks peers as excluded by policy, or not.
    pub(crate) async fn exclude(&self, peers: Vec<(PeerId, bool)>) -> Result<(), NetworkClosed> {
        self.send(Command::Exclude { peers }).await
    }

    /// Counts what a peer did.
    pub(crate) async fn count(&self, peer: PeerId, count: Count) -> Result<(), NetworkClosed> {
        self.send(Command::Count { peer, count }).await
    }

    /// Everybody who is known.
    pub(crate) async fn peers(&self) -> Result<Vec<PeerView>, NetworkClosed> {
        self.ask(|answer| Command::Peers { answer }).await
    }

    /// Whether others reach this node, and how it is connected with whom.
    pub(crate) async fn net(&self) -> Result<NetView, NetworkClosed> {
        self.ask(|answer| Command::Net { answer }).await
    }

    /// Whether a peer is reached through a relay only while another one that follows the room is connected directly: what
    /// both have is better asked of the other.
    pub(crate) async fn is_detour(&self, peer: PeerId, room: RoomId) -> Result<bool, NetworkClosed> {
        self.ask(|answer| Command::Detour { peer, room, answer }).await
    }

    /// The network in short.
    pub(crate) async fn status(&self) -> Result<NetworkStatus, NetworkClosed> {
        self.ask(|answer| Command::Status { answer }).await
    }
}
