//! The resolver against its definition, and against the laws that people rely on, in generated rooms.
//!
//! Servers write with partial knowledge; some of them back-date, fork and use authority that they never had or have no more.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::Resolver;
use crate::authority::{Act, KeyBounds, Rank, RoomState};
use crate::codec::Map;
use crate::event::{
    Body, Content, Draft, Event, JoinRule, Label, Lane, Membership, Placement, Role, RoomType, RoomVersion, Seen,
    ServerRule, Switch, author, kind,
};
use crate::id::EventId;
use crate::identity::{Origin, ServerKey, UserId};

mod keys;

/// The bounds of every room here: so low that rooms come to them.
const BOUNDS: KeyBounds = KeyBounds { unknown: 2, profiles: 1 };

/// How many times as many rooms the soak test makes.
const SOAK: u32 = 50;

fn config(cases: u32) -> ProptestConfig {
    let times = if std::env::var_os("ROCKETMESH_SOAK").is_some() { SOAK } else { 1 };
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases * times) }
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Join,
    Leave,
    Member(Membership),
    Role(Role),
    Mute(bool),
    Server(ServerRule),
    JoinRule(JoinRule),
    Switch(Switch, bool),
    Topic,
    /// Sets the entry of this number, of a kind that nobody knows.
    Key(u8),
    Profile,
    Merge,
    Say,
}

/// What a server does: `by` and `whom` are reduced to how many servers there are.
#[derive(Clone, Debug)]
enum Step {
    Write {
        by: usize,
        whom: usize,
        deed: Deed,
    },
    /// As if it had never seen what came later; where it has written since, a fork.
    Backdate {
        by: usize,
        whom: usize,
        deed: Deed,
        to: Index,
    },
    Gossip {
        from: usize,
        to: usize,
    },
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let role = prop_oneof![1 => Just(Role::Member), 1 => Just(Role::Leader), 1 => Just(Role::Moderator), 2 => Just(Role::Owner)];
    let rule = prop_oneof![1 => Just(ServerRule::None), 1 => Just(ServerRule::Allow), 2 => Just(ServerRule::Deny)];
    let join = prop_oneof![Just(JoinRule::Open), Just(JoinRule::Code), Just(JoinRule::Invite)];
    let switch = prop::sample::select(Switch::ALL.to_vec());
    prop_oneof![
        6 => Just(Deed::Join),
        1 => Just(Deed::Leave),
        2 => Just(Deed::Member(Membership::Invite)),
        2 => Just(Deed::Member(Membership::Kick)),
        3 => Just(Deed::Member(Membership::Ban)),
        1 => Just(Deed::Member(Membership::Unban)),
        8 => role.prop_map(Deed::Role),
        2 => any::<bool>().prop_map(Deed::Mute),
        2 => rule.prop_map(Deed::Server),
        1 => join.prop_map(Deed::JoinRule),
        4 => (switch, any::<bool>()).prop_map(|(switch, on)| Deed::Switch(switch, on)),
        2 => Just(Deed::Topic),
        3 => (0_u8..4).prop_map(Deed::Key),
        1 => Just(Deed::Profile),
        1 => Just(Deed::Merge),
        5 => Just(Deed::Say),
    ]
}

fn any_steps(servers: usize, steps: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    steps_of(any_deed().boxed(), servers, steps)
}

fn steps_of(
    deed: BoxedStrategy<Deed>,
    servers: usize,
    steps: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<Step>> {
    let who = move || 0..servers;
    let step = prop_oneof![
        8 => (who(), who(), deed.clone()).prop_map(|(by, whom, deed)| Step::Write { by, whom, deed }),
        1 => (who(), who(), deed, any::<Index>()).prop_map(|(by, whom, deed, to)| Step::Backdate { by, whom, deed, to }),
        8 => (who(), who()).prop_map(|(from, to)| Step::Gossip { from, to }),
    ];
    vec(step, steps)
}

/// Everything that was ever signed in one room, in an order in which causes come first.
#[derive(Clone)]
struct World {
    events: Vec<Event>,
    places: BTreeMap<EventId, usize>,
    /// For each event, all state events that it reaches.
    pasts: Vec<BTreeSet<u32>>,
    creator: UserId,
}

/// What one server holds, in the order in which it came.
#[derive(Clone, Default)]
struct Copy {
    holds: Vec<usize>,
}

impl World {
    fn after(servers: usize, steps: &[Step]) -> Self {
        let keys: Vec<ServerKey> = (0..servers).map(|at| ServerKey::from_seed(&[at as u8 + 1; 32])).collect();
        let users: Vec<UserId> =
            keys.iter().map(|key| UserId { origin: key.origin(), localpart: "user".parse().unwrap() }).collect();
        let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
        let create = author(&keys[0], Placement::first(), draft(Some(&users[0]), &content, 0)).unwrap();
        let mut world =
            World { events: Vec::new(), places: BTreeMap::new(), pasts: Vec::new(), creator: users[0].clone() };
        world.add(create);
        let mut copies = vec![Copy { holds: vec![0] }; servers];
        // Most of what follows needs members, and some of it moderators.
        for at in 1..servers {
            let whole = copies[0].clone();
            copies[at] = whole;
            world.write(&mut copies[at], &keys[at], &users[at], &users[at], Deed::Join, None);
            copies[0] = copies[at].clone();
            if at % 4 == 1 {
                world.write(&mut copies[0], &keys[0], &users[0], &users[at], Deed::Role(Role::Owner), None);
            } else if at % 4 == 2 {
                world.write(&mut copies[0], &keys[0], &users[0], &users[at], Deed::Role(Role::Moderator), None);
            }
        }
        for step in steps {
            match step {
                Step::Write { by, whom, deed } => {
                    world.write(&mut copies[*by], &keys[*by], &users[*by], &users[*whom], *deed, None);
                }
                Step::Backdate { by, whom, deed, to } => {
                    let known = 1 + to.index(copies[*by].holds.len());
                    world.write(&mut copies[*by], &keys[*by], &users[*by], &users[*whom], *deed, Some(known));
                }
                Step::Gossip { from, to } => {
                    let have: BTreeSet<usize> = copies[*to].holds.iter().copied().collect();
                    let new: Vec<usize> = copies[*from].holds.iter().copied().filter(|at| !have.contains(at)).collect();
                    copies[*to].holds.extend(new);
                }
            }
        }
        world
    }

    fn add(&mut self, event: Event) -> usize {
        let at = self.events.len();
        let mut past = BTreeSet::new();
        let header = event.header();
        let chain = header.self_parent.iter().filter(|_| header.lane == Lane::State);
        for id in chain.chain(&header.state_frontier) {
            let behind = self.places[id];
            past.insert(behind as u32);
            past.extend(&self.pasts[behind]);
        }
        self.places.insert(event.id(), at);
        self.pasts.push(past);
        self.events.push(event);
        at
    }

    fn write(
        &mut self,
        copy: &mut Copy,
        key: &ServerKey,
        user: &UserId,
        whom: &UserId,
        deed: Deed,
        known: Option<usize>,
    ) {
        let holds = &copy.holds[..known.unwrap_or(copy.holds.len())];
        let of = |origin, lane| {
            let mine = holds.iter().map(|at| &self.events[*at]);
            mine.filter(move |event| event.header().origin == origin && event.header().lane == lane)
                .max_by_key(|event| (event.header().seq, event.id()))
                .map(|event| (event.id(), event.header().seq))
        };
        let seen: Seen = of(whom.origin, Lane::Timeline).map(|(id, seq)| (seq, id)).into_iter().collect();
        let whom = whom.clone();
        let (sender, content) = match deed {
            Deed::Join => (Some(user), Content::Member { user: user.clone(), change: Membership::Join, seen: vec![] }),
            Deed::Leave => {
                (Some(user), Content::Member { user: user.clone(), change: Membership::Leave, seen: vec![] })
            }
            Deed::Member(change) => (Some(user), Content::Member { user: whom, change, seen }),
            Deed::Role(role) => (Some(user), Content::Role { user: whom, role, seen }),
            Deed::Mute(on) => (Some(user), Content::Mute { user: whom, on, seen }),
            Deed::Server(rule) => (Some(user), Content::Server { origin: whom.origin, rule, seen }),
            Deed::JoinRule(rule) => (Some(user), Content::JoinRule { rule }),
            Deed::Switch(switch, on) => (Some(user), Content::Switch { switch, on }),
            // What of an unknown kind is said, it says by its kind and key.
            Deed::Topic | Deed::Key(_) | Deed::Profile => (Some(user), Content::Label(Label::Topic)),
            Deed::Merge => (None, Content::Merge),
            Deed::Say => (Some(user), Content::Message { thread: None }),
        };
        let mut draft = draft(sender, &content, self.events.len() as u64);
        match deed {
            Deed::Key(number) => keys::name(&mut draft, "org.example.note", number.to_string()),
            Deed::Profile => keys::name(&mut draft, kind::PROFILE, user.to_string()),
            _ => {}
        }
        let lane = if draft.state_key.is_some() { Lane::State } else { Lane::Timeline };
        let state = holds.iter().copied().filter(|at| self.events[*at].header().lane == Lane::State);
        let covered: BTreeSet<u32> = state.clone().flat_map(|at| self.pasts[at].iter().copied()).collect();
        let mut tips: Vec<EventId> =
            state.filter(|at| !covered.contains(&(*at as u32))).map(|at| self.events[at].id()).collect();
        tips.sort_unstable();
        tips.truncate(16);
        let placement = Placement {
            room: Some(self.events[0].room()),
            version: RoomVersion::DRAFT,
            self_parent: of(key.origin(), lane),
            parents: Vec::new(),
            state_frontier: tips,
            // Nothing here reads it.
            lamport: 1,
        };
        let event = author(key, placement, draft).unwrap();
        if !self.places.contains_key(&event.id()) {
            let at = self.add(event);
            copy.holds.push(at);
        }
    }

    fn state_events(&self) -> Vec<u32> {
        (0..self.events.len() as u32).filter(|at| self.events[*at as usize].header().lane == Lane::State).collect()
    }

    /// An order in which causes come first, by these choices.
    fn order(&self, choices: &[Index]) -> Vec<u32> {
        let mut waiting = self.state_events();
        let mut placed: BTreeSet<u32> = BTreeSet::new();
        let mut order = Vec::new();
        let mut choices = choices.iter().cycle();
        while !waiting.is_empty() {
            let ready: Vec<usize> =
                (0..waiting.len()).filter(|at| self.pasts[waiting[*at] as usize].is_subset(&placed)).collect();
            let next = waiting.remove(ready[choices.next().unwrap().index(ready.len())]);
            placed.insert(next);
            order.push(next);
        }
        order
    }

    fn resolver(&self, order: &[u32]) -> Resolver {
        let mut resolver = Resolver::with_key_bounds(BOUNDS);
        for at in order {
            resolver.insert(&self.events[*at as usize]);
        }
        resolver
    }

    fn shown(&self, resolver: &Resolver) -> BTreeSet<EventId> {
        let timeline = self.events.iter().filter(|event| event.header().lane == Lane::Timeline);
        timeline.filter(|event| resolver.shows(event)).map(Event::id).collect()
    }
}

fn draft(sender: Option<&UserId>, content: &Content, number: u64) -> Draft {
    let (kind, state_key) = content.kind_and_key();
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&number.to_be_bytes());
    Draft {
        sender: sender.map(|user| user.localpart.clone()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&[7; 16]),
        body: (*content != Content::Merge).then(|| Body::new(salt, Map::new())),
        time_ms: number,
    }
}

/// The definition, word by word, with no thought of speed.
struct Definition<'a> {
    world: &'a World,
    acts: BTreeMap<u32, Option<Act>>,
    adders: BTreeMap<u32, Origin>,
    known: BTreeMap<BTreeSet<u32>, Resolved>,
}

#[derive(Clone)]
struct Resolved {
    state: RoomState,
    void: BTreeSet<u32>,
    effective: BTreeSet<u32>,
}

impl<'a> Definition<'a> {
    fn new(world: &'a World) -> Self {
        Definition { world, acts: BTreeMap::new(), adders: BTreeMap::new(), known: BTreeMap::new() }
    }

    fn act(&mut self, at: u32) -> Option<Act> {
        if at == 0 {
            return None;
        }
        if let Some(act) = self.acts.get(&at) {
            return act.clone();
        }
        let state = self.resolve(&self.world.pasts[at as usize].clone()).state;
        let event = &self.world.events[at as usize];
        let content = event.content().unwrap();
        let used = self.authorize(&state, at);
        let act = used.map(|used| state.act(event.header(), &content, used));
        self.acts.insert(at, act.clone());
        act
    }

    fn in_past(&self, a: u32, b: u32) -> bool {
        self.world.pasts[b as usize].contains(&a)
    }

    /// `state(P, V)`
    fn state(&mut self, of: &BTreeSet<u32>, void: &BTreeSet<u32>) -> RoomState {
        let mut state = RoomState::created(&self.world.events[0]).unwrap().with_key_bounds(keys::NONE);
        for at in of.difference(void) {
            if let Some(act) = self.act(*at) {
                let event = &self.world.events[*at as usize];
                let pasts = &self.world.pasts;
                state.apply(event.id(), *at, event.header().origin, &act, |a, b| pasts[b as usize].contains(&a));
            }
        }
        state
    }

    fn concurrent(&self, a: u32, b: u32) -> bool {
        a != b && !self.in_past(a, b) && !self.in_past(b, a)
    }

    /// Whether the removal takes what the event used, and the two are concurrent.
    fn takes(&mut self, removal: u32, at: u32) -> bool {
        let (Some(taking), Some(act)) = (self.act(removal).and_then(|act| act.removal), self.act(at)) else {
            return false;
        };
        self.concurrent(removal, at) && taking.takes(self.world.events[at as usize].header(), &act.used)
    }

    /// The event and all that it rests on.
    fn grounds(&mut self, at: u32) -> BTreeSet<u32> {
        let mut all = BTreeSet::from([at]);
        let event = &self.world.events[at as usize];
        if let Some(sender) = event.sender().filter(|_| at != 0) {
            let state = self.resolve(&self.world.pasts[at as usize].clone()).state;
            for (ground, _) in state.grounds(&sender) {
                all.extend(self.grounds(self.world.places[&ground] as u32));
            }
        }
        all
    }

    fn void(&mut self, all: &BTreeSet<u32>, effective: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut void = BTreeSet::new();
        for at in all {
            let Some(act) = self.act(*at) else { continue };
            let event = &self.world.events[*at as usize];
            let content = event.content().unwrap();
            let state = self.state(&self.world.pasts[*at as usize].clone(), &void);
            let is_void = if act.removal.is_some() && !effective.contains(at) {
                true
            } else if act.removal.is_some() && state.lowers(&content) {
                false
            } else {
                effective.iter().any(|removal| self.takes(*removal, *at)) || self.authorize(&state, *at).is_none()
            };
            if is_void {
                void.insert(*at);
            }
        }
        void
    }

    fn resolve(&mut self, all: &BTreeSet<u32>) -> Resolved {
        if let Some(known) = self.known.get(all) {
            return known.clone();
        }
        let mut effective = BTreeSet::new();
        for rank in [Rank::Creator, Rank::Owner, Rank::Moderator, Rank::Member, Rank::Outsider] {
            let higher: Vec<u32> = effective.iter().copied().collect();
            for at in all {
                if !self.act(*at).is_some_and(|act| act.removal.is_some() && act.used.rank == rank) {
                    continue;
                }
                let grounds = self.grounds(*at);
                let removed = higher
                    .iter()
                    .any(|by| self.concurrent(*by, *at) && grounds.iter().any(|ground| self.takes(*by, *ground)));
                if !removed {
                    effective.insert(*at);
                }
            }
        }
        let void = self.void(all, &effective);
        let resolved = Resolved { state: self.state(all, &void), void, effective };
        self.known.insert(all.clone(), resolved.clone());
        resolved
    }
}

fn flags(world: &World, resolver: &Resolver, pick: impl Fn(&super::Node) -> bool) -> BTreeSet<u32> {
    let picked = resolver.nodes.iter().filter(|node| pick(node));
    picked.map(|node| world.places[&node.id] as u32).collect()
}

fn allowed(node: &super::Node) -> bool {
    node.act.is_some()
}

proptest! {
    #![proptest_config(config(600))]

    /// The incremental answer is the definition's, at the end and at every event on the way.
    #[test]
    fn the_resolver_computes_what_is_defined(
        steps in any_steps(5, 4..26),
        choices in vec(any::<Index>(), 8),
    ) {
        let world = World::after(5, &steps);
        let resolver = world.resolver(&world.order(&choices));
        let mut definition = Definition::new(&world);
        let all: BTreeSet<u32> = world.state_events().into_iter().collect();
        let resolved = definition.resolve(&all);
        for at in &all {
            let node = resolver.nodes.iter().find(|node| node.id == world.events[*at as usize].id()).unwrap();
            if *at != 0 {
                prop_assert_eq!(&node.act, &definition.act(*at), "event {}", at);
            }
        }
        prop_assert_eq!(flags(&world, &resolver, |node| node.void), resolved.void);
        prop_assert_eq!(flags(&world, &resolver, |node| node.effective), resolved.effective);
        prop_assert_eq!(resolver.current().unwrap(), &resolved.state);
    }
}

proptest! {
    #![proptest_config(config(1_400))]

    /// Any two orders of arrival give the same state, the same tips, the same shown events.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (servers, steps) in (2_usize..50).prop_flat_map(|servers| (Just(servers), any_steps(servers, 10..70))),
        one in vec(any::<Index>(), 16),
        other in vec(any::<Index>(), 16),
    ) {
        let world = World::after(servers, &steps);
        let [one, other] = [one, other].map(|choices| world.resolver(&world.order(&choices)));
        prop_assert_eq!(one.current(), other.current());
        prop_assert_eq!(one.current().unwrap().digest(), other.current().unwrap().digest());
        prop_assert_eq!(one.tips().collect::<BTreeSet<_>>(), other.tips().collect::<BTreeSet<_>>());
        prop_assert_eq!(flags(&world, &one, |node| node.void), flags(&world, &other, |node| node.void));
        prop_assert_eq!(flags(&world, &one, |node| node.effective), flags(&world, &other, |node| node.effective));
        prop_assert_eq!(world.shown(&one), world.shown(&other));
        laws(&world, &one)?;
    }
}

proptest! {
    #![proptest_config(config(300))]

    /// What an event that arrives changes is what it sets, or what a removal takes: no state is ever reset.
    #[test]
    fn nothing_disappears_without_an_event_that_removes_it(
        (servers, steps) in (2_usize..12).prop_flat_map(|servers| (Just(servers), any_steps(servers, 10..50))),
        choices in vec(any::<Index>(), 16),
    ) {
        let world = World::after(servers, &steps);
        let mut resolver = Resolver::with_key_bounds(BOUNDS);
        for at in world.order(&choices) {
            let event = &world.events[at as usize];
            let before = resolver.clone();
            let shown = world.timeline_of_known(&before);
            let changed = resolver.insert(event);
            let Some(old) = before.current() else { continue };
            let new = resolver.current().unwrap();
            let flipped: Vec<EventId> = before.nodes.iter().map(|node| node.id).filter(|id| before.is_void(id) != resolver.is_void(id)).collect();
            prop_assert_eq!(&changed.state, &flipped);
            let removes = resolver.nodes.last().unwrap().act.as_ref().is_some_and(|act| act.removal.is_some());
            for (entry, setters) in old.entries() {
                let now = new.entries().find(|(other, _)| *other == entry).map(|(_, setters)| setters).unwrap_or_default();
                for setter in setters.iter().filter(|setter| !now.contains(setter)) {
                    let place = resolver.places[&setter.event];
                    let superseded = now.iter().any(|by| resolver.in_past(place, resolver.places[&by.event]));
                    prop_assert!(superseded || resolver.is_void(&setter.event), "{entry:?} lost {setter:?}");
                    prop_assert!(superseded || removes, "only a removal takes what was said before");
                }
            }
            // Whoever keeps a view of the timeline is told where to look.
            for event in shown {
                if before.shows(event) != resolver.shows(event) {
                    let header = event.header();
                    let told = changed.everything || changed.timelines.iter().any(|it| it.origin == header.origin && it.from_seq <= header.seq);
                    prop_assert!(told, "{changed:?} misses {:?} {}", header.origin, header.seq);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(config(400))]

    /// A snapshot and what came after it are as good as everything, or say that they are not enough.
    #[test]
    fn whoever_goes_on_from_a_snapshot_comes_to_the_same(
        (servers, steps) in (2_usize..12).prop_flat_map(|servers| (Just(servers), any_steps(servers, 0..40))),
        choices in vec(any::<Index>(), 16),
        place in any::<Index>(),
    ) {
        let world = World::after(servers, &steps);
        let order = world.order(&choices);
        let at = place.index(order.len());
        let mut whole = world.resolver(&order[..=at]);
        let Some((cut, state)) = whole.snapshot() else { return Ok(()) };
        let pieces = state.to_pieces();
        let read = RoomState::from_pieces(&pieces).unwrap().with_key_bounds(BOUNDS);
        prop_assert_eq!(&read, state);
        prop_assert_eq!(read.to_pieces(), pieces);
        let mut resumed = Resolver::resume(&world.events[world.places[&cut]], read);
        for next in &order[at + 1..] {
            let event = &world.events[*next as usize];
            if !resumed.can_judge(event) {
                return Ok(());
            }
            prop_assert_eq!(resumed.insert(event), whole.insert(event));
            prop_assert_eq!(resumed.current(), whole.current());
            prop_assert_eq!(resumed.is_void(&event.id()), whole.is_void(&event.id()));
        }
        for event in world.events.iter().filter(|event| event.header().lane == Lane::Timeline) {
            prop_assert!(!resumed.can_judge(event) || resumed.shows(event) == whole.shows(event));
        }
    }
}

/// Every room of a creator, two owners and three events that give or take authority, each written with any knowledge of the
/// others: the definition is well founded (it ends), has no circle (whoever wins, somebody wins the same everywhere), and is
/// what the resolver computes in the first and in the last order. A tenth of them, unless asked for all.
#[test]
fn every_small_room_is_what_is_defined() {
    const SERVERS: usize = 3;
    let deeds = [Deed::Member(Membership::Ban), Deed::Role(Role::Member), Deed::Role(Role::Owner)];
    let mut moves = Vec::new();
    for by in 0..SERVERS {
        for whom in (0..SERVERS).filter(|whom| *whom != by) {
            moves.extend(deeds.iter().map(|deed| (by, whom, *deed)));
        }
    }
    let (trunk, keys, users) = World::of_owners(SERVERS);
    let base: Vec<usize> = (0..trunk.events.len()).collect();
    let stride = if std::env::var_os("ROCKETMESH_SOAK").is_some() { 1 } else { 10 };
    let rooms = moves.len().pow(3) * 8;
    for number in (0..rooms).step_by(stride) {
        let mut world = trunk.clone();
        // The number's digits: three moves, and what the second and the third had seen of those before.
        let mut rest = number;
        let mut digit = |below: usize| {
            let digit = rest % below;
            rest /= below;
            digit
        };
        let chosen = [digit(moves.len()), digit(moves.len()), digit(moves.len())];
        let seen = [0, digit(2), digit(4)];
        for (at, mask) in seen.into_iter().enumerate() {
            let mut holds: BTreeSet<usize> = base.iter().copied().collect();
            for before in (0..at).filter(|before| mask & (1 << before) != 0) {
                let event = base.len() + before;
                if event < world.events.len() {
                    holds.insert(event);
                    holds.extend(world.pasts[event].iter().map(|past| *past as usize));
                }
            }
            let (by, whom, deed) = moves[chosen[at]];
            let mut copy = Copy { holds: holds.into_iter().collect() };
            world.write(&mut copy, &keys[by], &users[by], &users[whom], deed, None);
        }
        let all: BTreeSet<u32> = world.state_events().into_iter().collect();
        let resolved = Definition::new(&world).resolve(&all);
        for order in [world.state_events(), world.latest_first()] {
            let resolver = world.resolver(&order);
            assert_eq!(flags(&world, &resolver, |node| node.void), resolved.void, "room {number}");
            assert_eq!(flags(&world, &resolver, |node| node.effective), resolved.effective, "room {number}");
            assert_eq!(resolver.current().unwrap(), &resolved.state, "room {number}");
        }
        assert_eq!(resolved.state.standing(&world.creator), Rank::Creator, "room {number}");
    }
}

impl World {
    /// A room of a creator and owners.
    fn of_owners(servers: usize) -> (Self, Vec<ServerKey>, Vec<UserId>) {
        let keys: Vec<ServerKey> = (0..servers).map(|at| ServerKey::from_seed(&[at as u8 + 1; 32])).collect();
        let users: Vec<UserId> =
            keys.iter().map(|key| UserId { origin: key.origin(), localpart: "user".parse().unwrap() }).collect();
        let mut world = World::after(servers, &[]);
        let mut copy = Copy { holds: (0..world.events.len()).collect() };
        for user in &users[1..] {
            world.write(&mut copy, &keys[0], &users[0], user, Deed::Role(Role::Owner), None);
        }
        (world, keys, users)
    }

    /// The order in which what was written last comes as early as its causes let it.
    fn latest_first(&self) -> Vec<u32> {
        let mut waiting: BTreeSet<u32> = self.state_events().into_iter().collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let ready = waiting.iter().rev().find(|at| self.pasts[**at as usize].is_disjoint(&waiting));
            let next = *ready.unwrap();
            waiting.remove(&next);
            order.push(next);
        }
        order
    }

    /// Timeline events whose state is known to the resolver.
    fn timeline_of_known(&self, resolver: &Resolver) -> Vec<&Event> {
        let timeline = self.events.iter().filter(|event| event.header().lane == Lane::Timeline);
        timeline.filter(|event| event.header().state_frontier.iter().all(|id| resolver.contains(id))).collect()
    }
}

fn laws(world: &World, resolver: &Resolver) -> Result<(), TestCaseError> {
    let state = resolver.current().unwrap();
    // The creator's ownership ends by the creator's own hand or not at all.
    let gave_up = resolver.nodes.iter().any(|node| {
        let about = matches!(&node.content, Content::Role { user, .. } if *user == world.creator);
        about && node.header.origin == world.creator.origin
    });
    prop_assert!(gave_up || state.standing(&world.creator) == Rank::Creator);
    // Authority comes by grants from the creator, and rests on nothing void.
    for user in state.joined().filter(|user| state.rank(user) >= Rank::Moderator) {
        prop_assert!(granted(world, resolver, state, &user), "{user} has no grant");
    }
    // A removal that counts takes every concurrent use of what it takes.
    for removal in resolver.nodes.iter().filter(|node| node.effective) {
        let from = resolver.places[&removal.id];
        for node in resolver.nodes.iter().filter(|node| allowed(node)) {
            let at = resolver.places[&node.id];
            prop_assert!(!resolver.takes(from, at) || node.void || node.effective, "a taken event counts");
            if node.effective && resolver.takes(from, at) {
                let ranks = [removal, node].map(|node| node.act.as_ref().unwrap().used.rank);
                prop_assert!(ranks[0] <= ranks[1], "a higher rank's removal counts against a lower one's");
            }
        }
    }
    Ok(())
}

/// Whether the user's rank goes back to the creator by grants that count.
fn granted(world: &World, resolver: &Resolver, state: &RoomState, user: &UserId) -> bool {
    if *user == world.creator {
        return true;
    }
    let Some(grant) = state.role_event(user) else { return false };
    let node = resolver.at(resolver.places[&grant]);
    if node.void || node.act.as_ref().is_none_or(|act| act.used.rank < Rank::Owner) {
        return false;
    }
    let there = resolver.settled(&node.refs);
    if node.act.as_ref().is_some_and(|act| act.removal.is_some()) && there.lowers(&node.content) {
        // What is left of a role was given with the role.
        return there.standing(user) > state.standing(user) && granted(world, resolver, &there, user);
    }
    let giver = UserId { origin: node.header.origin, localpart: node.header.sender.clone().unwrap() };
    granted(world, resolver, &there, &giver)
}
