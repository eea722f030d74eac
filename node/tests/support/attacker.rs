//! A peer with a key of its own that speaks the protocols and keeps to nothing.

use std::future::Future;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Message, ProtocolSupport, ResponseChannel};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, swarm};
use prometheus_client::registry::Registry;
use rocketmesh_node::network::transport;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{
    Body, Content, Draft, Event, Lane, Membership, Placement, RoomType, RoomVersion, author,
};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{ServerKey, UserId};
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::wire::{HELLO_PROTOCOL, Hello, Response, SYNC_PROTOCOL, topic};
use tokio::task::JoinHandle;

use super::{PATIENCE, TestNode};

/// How long a request may take, either way, unless a test says otherwise.
const REQUEST: Duration = Duration::from_secs(5);

/// What is answered to the bytes of a request; for none there is no answer, ever.
pub type Answer = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

pub struct Attacker {
    pub key: ServerKey,
    pub swarm: Swarm<Behaviour>,
    pub victim: PeerId,
    /// What it answers to requests.
    pub answer: Answer,
    /// Requests without an answer. Dropping one would tell the other side that none is to come.
    unanswered: Vec<ResponseChannel<Vec<u8>>>,
}

/// An attacker that goes on beside the test. Ends with this value.
pub struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub hello: request_response::Behaviour<Raw>,
    pub sync: request_response::Behaviour<Raw>,
    pub gossip: gossipsub::Behaviour,
}

impl Attacker {
    /// Connects, and with a hello introduces itself.
    pub async fn connect(victim: &TestNode, seed: u8, hello: Option<&Hello>) -> Self {
        Self::connect_for(victim, seed, hello, REQUEST).await
    }

    /// As [`Attacker::connect`], with another time that requests may take.
    pub async fn connect_for(victim: &TestNode, seed: u8, hello: Option<&Hello>, request: Duration) -> Self {
        let key = ServerKey::from_seed(&[seed; 32]);
        let requests = |name: &'static str| {
            request_response::Behaviour::with_codec(
                Raw,
                [(StreamProtocol::new(name), ProtocolSupport::Full)],
                request_response::Config::default().with_request_timeout(request),
            )
        };
        let gossip = gossipsub::ConfigBuilder::default()
            .validation_mode(ValidationMode::Anonymous)
            .max_transmit_size(1 << 20)
            .message_id_fn(|message| gossipsub::MessageId::from(blake3::hash(&message.data).as_bytes().as_slice()))
            .build()
            .unwrap();
        let behaviour = Behaviour {
            hello: requests(HELLO_PROTOCOL),
            sync: requests(SYNC_PROTOCOL),
            gossip: gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, gossip).unwrap(),
        };
        let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(60));
        let keypair = transport::keypair(&key);
        let mut swarm = Swarm::new(
            transport::sockets(&key, &mut Registry::default()).unwrap(),
            behaviour,
            keypair.public().to_peer_id(),
            config,
        );
        let address: Multiaddr = victim.address().await.parse().unwrap();
        let Some(Protocol::P2p(peer)) = address.iter().last() else { panic!("{address}") };
        swarm.dial(address).unwrap();
        let answer: Answer = Box::new(|_: &[u8]| Some(Vec::new()));
        let mut attacker = Attacker { key, swarm, victim: peer, answer, unanswered: Vec::new() };
        attacker.until(|event| matches!(event, SwarmEvent::ConnectionEstablished { .. })).await;
        if let Some(hello) = hello {
            attacker.swarm.behaviour_mut().hello.send_request(&peer, hello.encode());
            attacker
                .until(|event| {
                    matches!(
                        event,
                        SwarmEvent::Behaviour(BehaviourEvent::Hello(request_response::Event::Message {
                            message: Message::Response { .. },
                            ..
                        }))
                    )
                })
                .await;
        }
        attacker
    }

    /// Answers every request with these bytes.
    pub fn always_answer(&mut self, bytes: Vec<u8>) {
        self.answer = Box::new(move |_: &[u8]| Some(bytes.clone()));
    }

    /// Runs until something happens, and meanwhile answers every request as was prepared.
    pub async fn until(&mut self, mut done: impl FnMut(&SwarmEvent<BehaviourEvent>) -> bool) {
        let wait = async {
            loop {
                let event = self.swarm.select_next_some().await;
                let finished = done(&event);
                self.react(event);
                if finished {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the node does not react");
    }

    /// Runs for as long as the condition takes to come true.
    pub async fn while_waiting(&mut self, condition: impl Future<Output = ()>) {
        tokio::select! {
            () = condition => {}
            () = self.until(|_| false) => {}
        }
    }

    /// Runs beside the test.
    pub fn run(self) -> Running {
        Running(tokio::spawn(self.run_for_ever()))
    }

    async fn run_for_ever(mut self) {
        loop {
            let event = self.swarm.select_next_some().await;
            self.react(event);
        }
    }

    fn react(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let SwarmEvent::Behaviour(BehaviourEvent::Sync(request_response::Event::Message {
            message: Message::Request { request, channel, .. },
            ..
        })) = event
        else {
            return;
        };
        match (self.answer)(&request) {
            Some(answer) => {
                // The other side may have given up.
                let _ = self.swarm.behaviour_mut().sync.send_response(channel, answer);
            }
            None => self.unanswered.push(channel),
        }
    }

    /// Sends a request as it is, and returns the answer or none if it failed.
    pub async fn ask(&mut self, request: Vec<u8>) -> Option<Response> {
        let victim = self.victim;
        let sent = self.swarm.behaviour_mut().sync.send_request(&victim, request);
        let mut answer = None;
        self.until(|event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Sync(request_response::Event::Message {
                message: Message::Response { request_id, response },
                ..
            })) if *request_id == sent => {
                answer = Response::decode(response).ok();
                true
            }
            SwarmEvent::Behaviour(BehaviourEvent::Sync(request_response::Event::OutboundFailure {
                request_id,
                ..
            })) => *request_id == sent,
            _ => false,
        })
        .await;
        answer
    }

    pub async fn follow(&mut self, room: &str) -> IdentTopic {
        let topic = IdentTopic::new(topic(&room.parse::<RoomId>().unwrap()));
        self.swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
        let follows = |swarm: &Swarm<Behaviour>| {
            swarm.behaviour().gossip.all_peers().any(|(_, topics)| topics.contains(&&topic.hash()))
        };
        // The node's subscription may have come before this one's.
        while !follows(&self.swarm) {
            self.until(|event| matches!(event, SwarmEvent::Behaviour(BehaviourEvent::Gossip(_)))).await;
        }
        topic
    }
}

pub fn honest() -> Hello {
    Hello::of_this_build(None)
}

/// A room of the attacker's own.
pub fn own_room(key: &ServerKey) -> (Outline, Event) {
    let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
    let (kind, state_key) = content.kind_and_key();
    let draft = Draft {
        sender: Some("mallory".parse().unwrap()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&[1; 16]),
        body: Some(Body::new([1; 16], Map::new().with("name", "trap"))),
        time_ms: 0,
    };
    let create = author(key, Placement::first(), draft).unwrap();
    let mut outline = Outline::new(create.room(), create.header().version);
    outline.add(&create, true);
    (outline, create)
}

/// Joins a room of which only the create event is there.
pub fn newcomer(key: &ServerKey, create: RoomId) -> Event {
    let placement = Placement {
        room: Some(create),
        version: RoomVersion::DRAFT,
        self_parent: None,
        parents: Vec::new(),
        state_frontier: vec![create.into()],
        lamport: 1,
    };
    joining(key, placement)
}

/// Joins a room at this place of it.
pub fn joining(key: &ServerKey, placement: Placement) -> Event {
    let user = UserId { origin: key.origin(), localpart: "mallory".parse().unwrap() };
    let content = Content::Member { user, change: Membership::Join, seen: Vec::new() };
    let (kind, state_key) = content.kind_and_key();
    let draft = Draft {
        sender: Some("mallory".parse().unwrap()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&[2; 16]),
        body: None,
        time_ms: 0,
    };
    author(key, placement, draft).unwrap()
}

/// What a user says next on a server that holds this much of a room. The last event of the server must not be a
/// rejected one.
pub fn next_message(key: &ServerKey, outline: &Outline, user: &str, text: &str) -> Event {
    // Asked of what is no tip, and therefore older than one.
    let lamport = |_: &EventId| Ok::<u64, std::convert::Infallible>(0);
    let Ok(placement) = outline.placement(key.origin(), Lane::Timeline, lamport);
    message_at(key, placement, user, text)
}

/// What a user says at this place of a room.
pub fn message_at(key: &ServerKey, placement: Placement, user: &str, text: &str) -> Event {
    let draft = Draft {
        sender: Some(user.parse().unwrap()),
        kind: "message".to_owned(),
        state_key: None,
        content: None,
        body: Some(Body::new([1; 16], Map::new().with("text", text))),
        time_ms: 0,
    };
    author(key, placement, draft).unwrap()
}

/// Sends bytes as they are.
#[derive(Clone, Default)]
pub struct Raw;

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: futures::AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> std::io::Result<Vec<u8>> {
        read(io).await
    }

    async fn read_response<T: futures::AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> std::io::Result<Vec<u8>> {
        read(io).await
    }

    async fn write_request<T: futures::AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()> {
        write(io, &bytes).await
    }

    async fn write_response<T: futures::AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()> {
        write(io, &bytes).await
    }
}

async fn read(io: &mut (impl futures::AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 4];
    io.read_exact(&mut head).await?;
    let mut bytes = vec![0; u32::from_be_bytes(head) as usize];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write(io: &mut (impl futures::AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    io.write_all(&(bytes.len() as u32).to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.close().await
}
