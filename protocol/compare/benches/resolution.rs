//! Resolution beside Matrix's (`ruma-state-res`, the rules of its room version 12) on the same shapes: who did what, in which
//! branch, after what. Both sides authorise every event where it stands and resolve what the branches come to; then one more
//! event arrives that has seen as many branches as an event may name.
//!
//! What favours the other side: its auth chains, its conflicted subgraphs and its maps of the state after each branch are made
//! beforehand and cost nothing here, and the one more event is judged at its own state only, while ours is also worked into
//! the state of everything. Signatures and parsing are left out on both sides.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rocketmesh_protocol::event as ours;
use rocketmesh_protocol::event::{Content, Draft, Label, Lane, Membership, Placement, Role, RoomType, RoomVersion, author};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::{Origin, ServerKey, UserId};
use rocketmesh_protocol::resolution::Resolver;
use ruma_common::room_version_rules::{AuthorizationRules, StateResolutionV2Rules};
use js_int::UInt;
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_state_res::utils::event_id_set::EventIdSet;
use ruma_state_res::{Event, StateMap, auth_types_for_event, check_state_dependent_auth_rules};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

/// The most branches that one event names.
const NAMED: usize = 16;

#[derive(Clone, Copy)]
enum Op {
    /// The user joins.
    Join(usize),
    /// The first makes the second a moderator.
    Promote(usize, usize),
    /// The user sets the topic.
    Topic(usize),
    /// The first removes the second.
    Kick(usize, usize),
}

/// User 0 makes the room; each user has a server of their own.
struct Shape {
    name: &'static str,
    trunk: Vec<Op>,
    branches: Vec<Vec<Op>>,
}

fn shapes() -> Vec<Shape> {
    let members = |count: usize| (1..=count).map(Op::Join);
    let chain = members(20).chain((20..10_000).map(|at| if at % 3 == 0 { Op::Join(at % 20 + 1) } else { Op::Topic(0) }));
    // Branches set topics, take people in and throw people out; every moderator writes one branch.
    let branch = |moderator: usize, length: usize, first: usize, crowd: usize| -> Vec<Op> {
        (0..length)
            .map(|at| match at % 7 {
                2 => Op::Join(first + at),
                5 => Op::Kick(moderator, 1 + crowd + (moderator * 31 + at) % crowd),
                _ => Op::Topic(moderator),
            })
            .collect()
    };
    let forked = |name, branches: usize, length: usize| {
        let crowd = branches.max(length).max(50);
        let trunk = members(2 * crowd).chain((1..=branches).map(|who| Op::Promote(0, who))).collect();
        let branches = (1..=branches).map(|who| branch(who, length, 1_000 + who * 2_000, crowd)).collect();
        Shape { name, trunk, branches }
    };
    vec![
        Shape { name: "a chain of 10,000 state events", trunk: chain.collect(), branches: Vec::new() },
        Shape { name: "1,000 members", trunk: members(1_000).collect(), branches: Vec::new() },
        forked("100 branches of 20", 100, 20),
        forked("two branches of 1,000", 2, 1_000),
    ]
}

// --- ours ---

struct Ours {
    events: Vec<ours::Event>,
    more: ours::Event,
}

fn key(user: usize) -> ServerKey {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(user as u64 + 1).to_be_bytes());
    ServerKey::from_seed(&seed)
}

fn user(user: usize) -> UserId {
    UserId { origin: key(user).origin(), localpart: "user".parse().expect("a localpart") }
}

/// Where a branch has come to: its last event, and each server's last.
#[derive(Clone)]
struct Tip {
    tip: EventId,
    last: BTreeMap<Origin, (EventId, u64)>,
}

impl Ours {
    fn of(shape: &Shape) -> Self {
        let mut events = Vec::new();
        let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
        let create = author(&key(0), Placement::first(), draft(&content, 0)).expect("a create event");
        let mut trunk =
            Tip { tip: create.id(), last: BTreeMap::from([(key(0).origin(), (create.id(), 0))]) };
        let room = create.room();
        events.push(create);
        let mut write = |at: &mut Tip, op: Op, frontier: Vec<EventId>| {
            let (by, content) = match op {
                Op::Join(who) => (who, Content::Member { user: user(who), change: Membership::Join, seen: vec![] }),
                Op::Promote(by, whom) => (by, Content::Role { user: user(whom), role: Role::Moderator, seen: vec![] }),
                Op::Topic(by) => (by, Content::Label(Label::Topic)),
                Op::Kick(by, whom) => (by, Content::Member { user: user(whom), change: Membership::Kick, seen: vec![] }),
            };
            let key = key(by);
            let placement = Placement {
                room: Some(room),
                version: RoomVersion::DRAFT,
                self_parent: at.last.get(&key.origin()).copied(),
                parents: Vec::new(),
                state_frontier: frontier,
                lamport: 1,
            };
            let event = author(&key, placement, draft(&content, events.len() as u64)).expect("an event");
            assert_eq!(event.header().lane, Lane::State);
            at.tip = event.id();
            at.last.insert(key.origin(), (event.id(), event.header().seq));
            events.push(event.clone());
            event
        };
        for op in &shape.trunk {
            let frontier = vec![trunk.tip];
            write(&mut trunk, *op, frontier);
        }
        let mut tips = Vec::new();
        for branch in &shape.branches {
            let mut at = trunk.clone();
            for op in branch {
                let frontier = vec![at.tip];
                write(&mut at, *op, frontier);
            }
            tips.push(at.tip);
        }
        if tips.is_empty() {
            tips.push(trunk.tip);
        }
        tips.truncate(NAMED);
        let more = write(&mut trunk, Op::Topic(0), tips);
        events.pop();
        Ours { events, more }
    }

    fn resolve(&self) -> Resolver {
        let mut resolver = Resolver::new();
        for event in &self.events {
            resolver.insert(event);
        }
        resolver
    }
}

fn draft(content: &Content, number: u64) -> Draft {
    let (kind, state_key) = content.kind_and_key();
    let sender = Some("user".parse().expect("a localpart"));
    Draft { sender, kind: kind.to_owned(), state_key, content: content.to_map(&[7; 16]), body: None, time_ms: number }
}

// --- Matrix's ---

#[derive(Debug)]
struct Pdu {
    id: OwnedEventId,
    room: Option<OwnedRoomId>,
    sender: OwnedUserId,
    time: MilliSecondsSinceUnixEpoch,
    kind: TimelineEventType,
    content: Box<RawValue>,
    state_key: String,
    prev: Vec<OwnedEventId>,
    auth: Vec<OwnedEventId>,
}

impl Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.id
    }
    fn room_id(&self) -> Option<&ruma_common::RoomId> {
        self.room.as_deref()
    }
    fn sender(&self) -> &ruma_common::UserId {
        &self.sender
    }
    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.time
    }
    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }
    fn content(&self) -> &RawValue {
        &self.content
    }
    fn state_key(&self) -> Option<&str> {
        Some(&self.state_key)
    }
    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev.iter())
    }
    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth.iter())
    }
    fn redacts(&self) -> Option<&OwnedEventId> {
        None
    }
    fn rejected(&self) -> bool {
        false
    }
}

type Key = (StateEventType, String);

struct Matrix {
    events: HashMap<OwnedEventId, Arc<Pdu>>,
    trunk: Vec<Arc<Pdu>>,
    branches: Vec<Vec<Arc<Pdu>>>,
    trunk_state: StateMap<OwnedEventId>,
    maps: Vec<StateMap<OwnedEventId>>,
    chains: Vec<EventIdSet<OwnedEventId>>,
    subgraphs: [EventIdSet<OwnedEventId>; 2],
    more: Arc<Pdu>,
}

fn matrix_user(user: usize) -> OwnedUserId {
    format!("@user:server{user}.example.org").parse().expect("a user id")
}

impl Matrix {
    fn of(shape: &Shape) -> Self {
        let mut matrix = Matrix {
            events: HashMap::new(),
            trunk: Vec::new(),
            branches: Vec::new(),
            trunk_state: StateMap::new(),
            maps: Vec::new(),
            chains: Vec::new(),
            subgraphs: [EventIdSet::new(), EventIdSet::new()],
            more: Arc::new(pdu(0, 0, "m.room.topic", "", json!({}), &StateMap::new(), None)),
        };
        let mut state = StateMap::new();
        let mut last = None;
        let mut levels: BTreeMap<String, u64> = BTreeMap::new();
        let power = |levels: &BTreeMap<String, u64>| {
            json!({"users": levels, "users_default": 0, "state_default": 50, "events_default": 0, "kick": 50, "ban": 50})
        };
        let mut count = 0;
        let mut write = |by: usize, kind: &str, key: &str, content, state: &mut StateMap<OwnedEventId>, last: &mut Option<OwnedEventId>| {
            let event = Arc::new(pdu(count, by, kind, key, content, state, last.take()));
            count += 1;
            state.insert((StateEventType::from(kind), key.to_owned()), event.id.clone());
            *last = Some(event.id.clone());
            matrix.events.insert(event.id.clone(), Arc::clone(&event));
            event
        };
        let creator = matrix_user(0);
        let mut trunk = vec![
            write(0, "m.room.create", "", json!({"room_version": "12"}), &mut state, &mut last),
            write(0, "m.room.member", creator.as_str(), json!({"membership": "join"}), &mut state, &mut last),
            write(0, "m.room.power_levels", "", power(&levels), &mut state, &mut last),
            write(0, "m.room.join_rules", "", json!({"join_rule": "public"}), &mut state, &mut last),
        ];
        let mut run = |op: Op, state: &mut StateMap<OwnedEventId>, last: &mut Option<OwnedEventId>| match op {
            Op::Join(who) => {
                write(who, "m.room.member", matrix_user(who).as_str(), json!({"membership": "join"}), state, last)
            }
            Op::Promote(by, whom) => {
                levels.insert(matrix_user(whom).to_string(), 50);
                write(by, "m.room.power_levels", "", power(&levels), state, last)
            }
            Op::Topic(by) => write(by, "m.room.topic", "", json!({"topic": "a topic"}), state, last),
            Op::Kick(by, whom) => {
                write(by, "m.room.member", matrix_user(whom).as_str(), json!({"membership": "leave"}), state, last)
            }
        };
        for op in &shape.trunk {
            trunk.push(run(*op, &mut state, &mut last));
        }
        let mut branches = Vec::new();
        let mut maps = Vec::new();
        for branch in &shape.branches {
            let (mut state, mut last) = (state.clone(), last.clone());
            branches.push(branch.iter().map(|op| run(*op, &mut state, &mut last)).collect());
            maps.push(state);
        }
        if maps.is_empty() {
            maps.push(state.clone());
        }
        let more_state = &maps[0];
        let more = Arc::new(pdu(count, 0, "m.room.topic", "", json!({"topic": "more"}), more_state, None));
        (matrix.trunk, matrix.branches, matrix.trunk_state, matrix.more) = (trunk, branches, state, more);
        matrix.chains = maps.iter().map(|map| matrix.chain(map.values().cloned().collect())).collect();
        let named = maps.len().min(NAMED);
        matrix.subgraphs = [matrix.subgraph(&maps), matrix.subgraph(&maps[..named])];
        matrix.maps = maps;
        matrix
    }

    /// Everything that these events' auth events reach.
    fn chain(&self, from: Vec<OwnedEventId>) -> EventIdSet<OwnedEventId> {
        let mut waiting: Vec<OwnedEventId> = from.iter().flat_map(|id| self.events[id].auth.clone()).collect();
        let mut chain = HashSet::new();
        while let Some(id) = waiting.pop() {
            if chain.insert(id.clone()) {
                waiting.extend(self.events[&id].auth.clone());
            }
        }
        chain.into_iter().collect()
    }

    /// What lies between conflicted events in the graph of auth events.
    fn subgraph(&self, maps: &[StateMap<OwnedEventId>]) -> EventIdSet<OwnedEventId> {
        let mut values: HashMap<&Key, HashSet<&OwnedEventId>> = HashMap::new();
        for (key, id) in maps.iter().flatten() {
            values.entry(key).or_default().insert(id);
        }
        let conflicted: HashSet<OwnedEventId> =
            values.into_values().filter(|ids| ids.len() > 1).flatten().cloned().collect();
        let above: HashSet<OwnedEventId> = self.chain(conflicted.iter().cloned().collect()).iter().cloned().collect();
        let mut below: HashSet<OwnedEventId> = conflicted.clone();
        let mut all: Vec<&Arc<Pdu>> = self.events.values().collect();
        all.sort_by_key(|event| event.time);
        for event in all {
            if event.auth.iter().any(|id| below.contains(id)) {
                below.insert(event.id.clone());
            }
        }
        let between = below.into_iter().filter(|id| above.contains(id) || conflicted.contains(id));
        between.collect()
    }

    fn authorise(&self) {
        let mut state: StateMap<OwnedEventId> = StateMap::new();
        for event in &self.trunk {
            self.check(event, |key| state.get(key));
            state.insert((event.kind.to_string().into(), event.state_key.clone()), event.id.clone());
        }
        for branch in &self.branches {
            let mut own: StateMap<OwnedEventId> = StateMap::new();
            for event in branch {
                self.check(event, |key| own.get(key).or_else(|| self.trunk_state.get(key)));
                own.insert((event.kind.to_string().into(), event.state_key.clone()), event.id.clone());
            }
        }
    }

    fn check<'a>(&'a self, event: &Pdu, state: impl Fn(&Key) -> Option<&'a OwnedEventId>) {
        let fetch = |kind: &StateEventType, key: &str| {
            state(&(kind.clone(), key.to_owned())).and_then(|id| self.events.get(id)).cloned()
        };
        let checked = check_state_dependent_auth_rules(&AuthorizationRules::V12, event, fetch);
        assert!(checked.is_ok(), "{checked:?} {event:?}");
    }

    fn resolve(&self, count: usize, which: usize, chains: Vec<EventIdSet<OwnedEventId>>) -> StateMap<OwnedEventId> {
        ruma_state_res::resolve(
            &AuthorizationRules::V12,
            &StateResolutionV2Rules::V2_1,
            &self.maps[..count],
            chains,
            |id| self.events.get(id).cloned(),
            |_| Some(self.subgraphs[which].clone()),
        )
        .expect("a resolved state")
    }

    fn all_chains(&self, count: usize) -> Vec<EventIdSet<OwnedEventId>> {
        self.chains[..count].to_vec()
    }

    fn one_more(&self, chains: Vec<EventIdSet<OwnedEventId>>) -> StateMap<OwnedEventId> {
        let mut state = self.resolve(chains.len(), 1, chains);
        self.check(&self.more, |key| state.get(key));
        state.insert((StateEventType::RoomTopic, String::new()), self.more.id.clone());
        state
    }
}

fn pdu(
    number: u64,
    by: usize,
    kind: &str,
    key: &str,
    content: serde_json::Value,
    state: &StateMap<OwnedEventId>,
    prev: Option<OwnedEventId>,
) -> Pdu {
    let content = to_raw_value(&content).expect("JSON");
    let sender = matrix_user(by);
    let kind = TimelineEventType::from(kind);
    let types = auth_types_for_event(&kind, &sender, Some(key), &content, &AuthorizationRules::V12).expect("auth types");
    // In version 12 the create event is nobody's auth event: the room's id names it.
    let auth = types.iter().filter(|(kind, _)| *kind != StateEventType::RoomCreate).filter_map(|key| state.get(key).cloned());
    Pdu {
        id: format!("$event{number}").parse().expect("an event id"),
        room: (number > 0).then(|| "!event0".parse().expect("a room id")),
        sender,
        time: MilliSecondsSinceUnixEpoch(UInt::new(number).expect("a small number")),
        auth: auth.collect(),
        kind,
        content,
        state_key: key.to_owned(),
        prev: prev.into_iter().collect(),
    }
}

fn compare(criterion: &mut Criterion) {
    for shape in shapes() {
        let (ours, matrix) = (Ours::of(&shape), Matrix::of(&shape));
        let mut group = criterion.benchmark_group(shape.name);
        group.sample_size(10);
        group.bench_function("from scratch: rocketmesh", |bencher| bencher.iter(|| black_box(ours.resolve())));
        let count = matrix.maps.len();
        group.bench_function("from scratch: matrix", |bencher| {
            bencher.iter_batched(
                || matrix.all_chains(count),
                |chains| {
                    matrix.authorise();
                    black_box(matrix.resolve(count, 0, chains))
                },
                BatchSize::PerIteration,
            );
        });
        let mut resolved = ours.resolve();
        assert!(ours.events.iter().all(|event| resolved.judge(event).is_some_and(|judged| judged.is_ok())));
        group.bench_function("one more event: rocketmesh", |bencher| {
            bencher.iter_batched_ref(
                || resolved.clone(),
                |resolver| {
                    resolver.insert(&ours.more);
                    black_box(resolver.current().map(|state| state.room_type()))
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function("one more event: matrix", |bencher| {
            bencher.iter_batched(
                || matrix.all_chains(count.min(NAMED)),
                |chains| black_box(matrix.one_more(chains)),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, compare);
criterion_main!(benches);
