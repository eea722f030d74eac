//! A room in memory, as one server holds it, and a world of servers that each hold their own copy.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rocketmesh_protocol::authority::{Refusal, RoomState};
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{
    Body, Content, Draft, Event, Label, Lane, Membership, Placement, Role, RoomType, RoomVersion, author,
};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::UserId;
use rocketmesh_protocol::limits::{NONCE_BYTES, SALT_BYTES};
use rocketmesh_protocol::receipt::{self, Misplaced, Node, Receipt, RoomGraph};
use rocketmesh_protocol::resolution::Resolver;
use rocketmesh_protocol::room::Outline;

use super::Server;

/// The nonce of every room made here, unless a test asks for another.
pub const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

/// The clock of every test: it says the same time always, since nothing may depend on it.
pub const TIME_MS: u64 = 1_700_000_000_000;

/// A body with one text field and a salt that follows from it.
pub fn body(field: &str, text: &str) -> Body {
    let hash = blake3::hash(text.as_bytes());
    let mut salt = [0; SALT_BYTES];
    salt.copy_from_slice(&hash.as_bytes()[..SALT_BYTES]);
    Body::new(salt, Map::new().with(field, text))
}

/// What `sender` says with `content`.
pub fn draft(sender: Option<&UserId>, content: &Content, body: Option<Body>) -> Draft {
    let (kind, state_key) = content.kind_and_key();
    Draft {
        sender: sender.map(|user| user.localpart.clone()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&NONCE),
        body,
        time_ms: TIME_MS,
    }
}

/// A message.
pub fn message(server: &Server, text: &str) -> Draft {
    draft(Some(&server.user), &Content::Message { thread: None }, Some(body("text", text)))
}

/// The server's user joins.
pub fn join(server: &Server) -> Draft {
    membership(server, Membership::Join)
}

/// The server's user joins or leaves.
pub fn membership(server: &Server, change: Membership) -> Draft {
    draft(Some(&server.user), &Content::Member { user: server.user.clone(), change, seen: Vec::new() }, None)
}

/// The server's user gives another one a role.
pub fn role(server: &Server, user: &UserId, role: Role) -> Draft {
    draft(Some(&server.user), &Content::Role { user: user.clone(), role, seen: Vec::new() }, None)
}

/// The server's user names the room.
pub fn rename(server: &Server, name: &str) -> Draft {
    draft(Some(&server.user), &Content::Label(Label::Name), Some(body("name", name)))
}

/// The create event of a room.
pub fn create(server: &Server, room_type: RoomType, nonce: [u8; NONCE_BYTES]) -> Event {
    let content = Content::Create { room_type, with: Vec::new() };
    let draft =
        Draft { content: content.to_map(&nonce), ..draft(Some(&server.user), &content, Some(body("name", "general"))) };
    author(&server.key, Placement::first(), draft).unwrap()
}

/// The events of one server's memory.
#[derive(Default)]
pub struct Graph {
    nodes: BTreeMap<EventId, Node>,
    accepted: BTreeMap<EventId, Event>,
}

impl RoomGraph for Graph {
    type Error = Infallible;

    fn node(&self, id: &EventId) -> Result<Option<Node>, Infallible> {
        Ok(self.nodes.get(id).copied())
    }
}

/// A room as one server holds it.
pub struct TestRoom {
    pub outline: Outline,
    graph: Graph,
    pub resolver: Resolver,
    events: BTreeMap<EventId, Event>,
    rejected: BTreeMap<EventId, Refusal>,
    held: BTreeMap<EventId, Event>,
}

impl TestRoom {
    /// The room of which nothing is held.
    pub fn empty(room: RoomId) -> Self {
        TestRoom {
            outline: Outline::new(room, RoomVersion::DRAFT),
            graph: Graph::default(),
            resolver: Resolver::new(),
            events: BTreeMap::new(),
            rejected: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// The room that begins with this event.
    pub fn beginning_with(create: &Event) -> Self {
        let mut room = TestRoom::empty(create.room());
        assert_eq!(room.receive(create), Receipt::Accepted { forks: false });
        room
    }

    /// A channel made by this server.
    pub fn made_by(server: &Server) -> Self {
        TestRoom::beginning_with(&create(server, RoomType::Channel, NONCE))
    }

    /// A channel made by the first of these servers, which the others have joined.
    pub fn of(servers: &[Server]) -> Self {
        let mut room = TestRoom::made_by(&servers[0]);
        for server in &servers[1..] {
            room.write(server, join(server));
        }
        room
    }

    /// Decides on an event, and then on those held that it lets in.
    pub fn receive(&mut self, event: &Event) -> Receipt {
        let receipt = self.decide(event);
        if matches!(receipt, Receipt::Accepted { .. } | Receipt::Rejected(_)) {
            self.retry();
        }
        receipt
    }

    /// Decides on an event alone.
    pub fn decide(&mut self, event: &Event) -> Receipt {
        let Ok(receipt) = receipt::receive(event, &self.graph, self.outline.have(), &mut self.resolver);
        let id = event.id();
        match &receipt {
            Receipt::Known => {}
            Receipt::Held { .. } => {
                self.held.insert(id, event.clone());
            }
            Receipt::Dropped(_) => {
                self.held.remove(&id);
            }
            Receipt::Rejected(refusal) => {
                self.rejected.insert(id, refusal.clone());
                self.keep(event, false);
            }
            Receipt::Accepted { .. } => {
                self.graph.accepted.insert(id, event.clone());
                self.keep(event, true);
            }
        }
        receipt
    }

    fn keep(&mut self, event: &Event, accepted: bool) {
        self.held.remove(&event.id());
        self.graph.nodes.insert(event.id(), Node::of(event));
        self.events.insert(event.id(), event.clone());
        self.outline.add(event, accepted);
        self.resolver.insert(event);
    }

    fn retry(&mut self) {
        loop {
            let waiting: Vec<Event> = self.held.values().cloned().collect();
            let before = waiting.len();
            for event in &waiting {
                self.decide(event);
            }
            if self.held.len() == before {
                return;
            }
        }
    }

    /// Tells the graph of an event without taking it into the room: for events of other rooms.
    pub fn know(&mut self, event: &Event) {
        self.graph.nodes.insert(event.id(), Node::of(event));
    }

    /// Where the server's next event in this lane goes.
    pub fn placement(&self, server: &Server, lane: Lane) -> Placement {
        let lamport = |id: &EventId| Ok::<u64, Infallible>(self.graph.nodes[id].lamport);
        let Ok(placement) = self.outline.placement(server.key.origin(), lane, lamport);
        placement
    }

    /// Signs a draft at the place where it belongs, without receiving it.
    pub fn author(&self, server: &Server, draft: Draft) -> Event {
        let lane = if draft.state_key.is_some() { Lane::State } else { Lane::Timeline };
        author(&server.key, self.placement(server, lane), draft).unwrap()
    }

    /// Signs a draft and receives it; it has to be accepted.
    pub fn write(&mut self, server: &Server, draft: Draft) -> Event {
        let event = self.author(server, draft);
        let receipt = self.receive(&event);
        assert!(matches!(receipt, Receipt::Accepted { .. }), "{receipt:?}");
        event
    }

    /// Writes a message.
    pub fn say(&mut self, server: &Server, text: &str) -> Event {
        self.write(server, message(server, text))
    }

    /// Every event that was decided on, by id.
    pub fn events(&self) -> &BTreeMap<EventId, Event> {
        &self.events
    }

    /// Every event that was decided on, causes before effects.
    pub fn in_order(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.events.values().cloned().collect();
        events.sort_by_key(Event::order);
        events
    }

    /// Every accepted event as the room shows them.
    pub fn in_room_order(&self) -> Vec<EventId> {
        let sighted = |event: &Event| {
            let seen = event.header().sightings().into_iter().filter_map(|id| self.graph.nodes.get(&id).copied());
            seen.filter(|node| node.lane == Lane::Timeline && node.room == event.room()).map(|node| node.lamport).max()
        };
        let mut places: Vec<_> = self.graph.accepted.values().map(|event| event.place(sighted(event))).collect();
        places.sort_unstable();
        places.into_iter().map(|place| place.id).collect()
    }

    /// Whether the event was decided on.
    pub fn holds(&self, id: &EventId) -> bool {
        self.events.contains_key(id)
    }

    pub fn accepted(&self) -> BTreeSet<EventId> {
        self.graph.accepted.keys().copied().collect()
    }

    pub fn rejected(&self) -> &BTreeMap<EventId, Refusal> {
        &self.rejected
    }

    /// Events that wait for others.
    pub fn held(&self) -> BTreeSet<EventId> {
        self.held.keys().copied().collect()
    }

    /// What of the events that this one refers to is not here.
    pub fn missing_for(&self, event: &Event) -> BTreeSet<EventId> {
        event.header().references().filter(|id| !self.holds(id)).copied().collect()
    }

    /// The room's state.
    pub fn state(&self) -> RoomState {
        self.resolver.current().unwrap().clone()
    }

    /// Everything that two servers with the same events must agree on.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            accepted: self.accepted(),
            rejected: self.rejected.clone(),
            held: self.held(),
            have_digest: self.outline.have().digest(),
            state_tips: self.outline.tips(Lane::State).clone(),
            timeline_tips: self.outline.tips(Lane::Timeline).clone(),
            state: self.state(),
            order: self.in_order().iter().map(Event::id).collect(),
            shown: self.in_room_order(),
        }
    }

    /// The events of `ids` and all their causes, causes first.
    pub fn with_ancestors(&self, ids: impl IntoIterator<Item = EventId>) -> Vec<Event> {
        let mut found = BTreeMap::new();
        let mut waiting: Vec<EventId> = ids.into_iter().collect();
        while let Some(id) = waiting.pop() {
            let event = &self.events[&id];
            if found.insert(event.order(), event.clone()).is_none() {
                waiting.extend(event.header().references());
            }
        }
        found.into_values().collect()
    }
}

/// See [`TestRoom::outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub accepted: BTreeSet<EventId>,
    pub rejected: BTreeMap<EventId, Refusal>,
    pub held: BTreeSet<EventId>,
    pub have_digest: [u8; 32],
    pub state_tips: BTreeMap<EventId, u64>,
    pub timeline_tips: BTreeMap<EventId, u64>,
    pub state: RoomState,
    pub order: Vec<EventId>,
    pub shown: Vec<EventId>,
}

/// What a server does in a generated world. Servers are named by an index that is reduced to how many there are.
#[derive(Clone, Debug)]
pub enum Step {
    Say(usize),
    Join(usize),
    Leave(usize),
    /// Allowed to owners only; most servers have none.
    Rename(usize),
    /// The first gives the second a role, whether or not it may.
    Promote(usize, usize, Role),
    /// A state event of a server on its own.
    Merge(usize),
    /// A create event in a room that has one.
    SecondCreate(usize),
    /// A kind that this version does not know, as state or as a message.
    Unknown(usize, bool),
    /// Two messages for one place in the chain.
    Fork(usize),
    /// Everything that the first holds reaches the second.
    Gossip(usize, usize),
}

/// Steps of `servers` servers; without forks if `forks` is false.
pub fn any_steps(servers: usize, forks: bool) -> impl Strategy<Value = Vec<Step>> {
    let who = move || 0..servers;
    let fork = who().prop_map(move |server| if forks { Step::Fork(server) } else { Step::Say(server) });
    let given = prop_oneof![Just(Role::Member), Just(Role::Moderator), Just(Role::Owner)];
    let step = prop_oneof![
        6 => who().prop_map(Step::Say),
        4 => who().prop_map(Step::Join),
        1 => who().prop_map(Step::Leave),
        2 => who().prop_map(Step::Rename),
        2 => (who(), who(), given).prop_map(|(by, whom, role)| Step::Promote(by, whom, role)),
        1 => who().prop_map(Step::Merge),
        1 => who().prop_map(Step::SecondCreate),
        1 => (who(), any::<bool>()).prop_map(|(server, state)| Step::Unknown(server, state)),
        1 => fork,
        6 => (who(), who()).prop_map(|(from, to)| Step::Gossip(from, to)),
    ];
    vec(step, 8..40)
}

/// Servers that each hold their own copy of one room, and nothing but that.
pub struct World {
    pub servers: Vec<Server>,
    pub copies: Vec<TestRoom>,
    /// What servers wrote that were not in the room, so that nobody keeps it.
    pub outsiders: Vec<Event>,
}

impl World {
    /// A world of `count` servers, of which the first has made the room, after `steps`.
    pub fn after(count: usize, steps: &[Step]) -> Self {
        let servers: Vec<Server> = Server::five().into_iter().take(count).collect();
        let create = create(&servers[0], RoomType::Channel, NONCE);
        let copies = servers.iter().map(|_| TestRoom::beginning_with(&create)).collect();
        let mut world = World { servers, copies, outsiders: Vec::new() };
        for (number, step) in steps.iter().enumerate() {
            world.take(number, step);
        }
        world
    }

    fn take(&mut self, number: usize, step: &Step) {
        let text = format!("step {number}");
        match *step {
            Step::Say(by) => self.write(by, |server| message(server, &text)),
            Step::Join(by) => self.write(by, join),
            Step::Leave(by) => self.write(by, |server| membership(server, Membership::Leave)),
            Step::Rename(by) => self.write(by, |server| rename(server, &text)),
            Step::Promote(by, whom, given) => {
                let user = self.servers[whom].user.clone();
                self.write(by, |server| role(server, &user, given));
            }
            Step::Merge(by) => self.write(by, |_| draft(None, &Content::Merge, None)),
            Step::SecondCreate(by) => self.write(by, |server| {
                draft(Some(&server.user), &Content::Create { room_type: RoomType::Channel, with: Vec::new() }, None)
            }),
            Step::Unknown(by, state) => self.write(by, |server| Draft {
                kind: "org.example.unknown".to_owned(),
                state_key: state.then(|| "some key".to_owned()),
                ..message(server, &text)
            }),
            Step::Fork(by) => {
                let server = &self.servers[by];
                let twins = ["one", "two"].map(|side| {
                    let twin = message(server, &format!("{text}, side {side}"));
                    self.copies[by].author(server, twin)
                });
                for twin in &twins {
                    self.copies[by].receive(twin);
                }
            }
            Step::Gossip(from, to) => {
                for event in self.copies[from].in_order() {
                    self.copies[to].receive(&event);
                }
            }
        }
    }

    /// A server does not ask here whether it may: what is not allowed is refused by itself as by everybody.
    fn write(&mut self, by: usize, draft: impl FnOnce(&Server) -> Draft) {
        let event = self.copies[by].author(&self.servers[by], draft(&self.servers[by]));
        match self.copies[by].receive(&event) {
            Receipt::Accepted { .. } | Receipt::Rejected(_) => {}
            Receipt::Dropped(Misplaced::Outsider) => self.outsiders.push(event),
            other => panic!("{other:?}"),
        }
    }

    /// A copy that holds every event that any server made, received causes first.
    pub fn everything(&self) -> TestRoom {
        let mut whole = TestRoom::empty(self.copies[0].outline.room());
        let all: BTreeMap<_, _> = self.copies.iter().flat_map(TestRoom::in_order).map(|e| (e.order(), e)).collect();
        for event in all.values() {
            whole.receive(event);
        }
        whole
    }
}

/// `items` in the order that `choices` picks; for any choices some order, and every order for some choices.
pub fn shuffled<T>(mut items: Vec<T>, choices: &[Index]) -> Vec<T> {
    for (last, choice) in (1..items.len()).rev().zip(choices.iter().cycle()) {
        items.swap(last, choice.index(last + 1));
    }
    items
}

/// Alice's room with a few messages of three servers.
pub fn some_events() -> Vec<Event> {
    let servers: Vec<Server> = Server::five().into_iter().take(3).collect();
    let mut room = TestRoom::of(&servers);
    for server in &servers {
        room.say(server, &format!("hello from {}", server.user));
    }
    room.in_order()
}

/// A message as it stands in rooms all day: two parents, one state tip, a body.
pub fn typical() -> (Server, Event) {
    let servers = Server::five();
    let mut room = TestRoom::of(&servers[..3]);
    let head = room.say(&servers[0], "good morning");
    let first = room.author(&servers[1], message(&servers[1], "good morning to you too"));
    let second = room.author(&servers[2], message(&servers[2], "is it?"));
    room.receive(&first);
    room.receive(&second);
    let event = room.say(&servers[0], "well, here it is");
    assert_eq!(event.header().self_parent, Some(head.id()));
    assert_eq!(event.header().parents.len(), 2);
    (servers[0].clone(), event)
}
