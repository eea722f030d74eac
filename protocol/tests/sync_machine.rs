//! Whatever peers do, a server ends with everything that an honest one holds: it asks nobody for what another is bringing, and
//! never has more outstanding than it should.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use proptest::prelude::*;
use rocketmesh_protocol::event::Lane;
use rocketmesh_protocol::have::{Brief, HaveVector, LaneHave, Sections, Tag};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::sync::{
    Action, AntiEntropy, AskId, Claim, Comparison, Difference, Outcome, Path, Stretch, Tempo, difference,
};
use support::config;

/// The most questions at a time, those given up included, as the machine's own bounds say.
const MOST_OPEN: usize = 32;
/// Events in an answer at most.
const ANSWER: usize = 100;
/// After this long the network gives a question up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// By then everything is to be equal. A lost comparison is made up for by the next, a minute later.
const PATIENCE: Duration = Duration::from_secs(900);

/// What stands for an event: a place in a chain, on one side of its fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    origin: u8,
    lane: Lane,
    seq: u64,
    side: u8,
}

impl Fact {
    fn id(self) -> EventId {
        EventId::of_block(format!("{self:?}").as_bytes())
    }

    fn origin(self) -> Origin {
        Origin::from_bytes([self.origin; 32])
    }

    fn tag(self) -> Tag {
        Tag::of(self.origin().as_bytes())
    }

    /// Forks part at this place of a chain.
    const FORK: u64 = 7;

    fn parent(self) -> Option<Fact> {
        let seq = self.seq.checked_sub(1)?;
        Some(Fact { seq, side: if seq < Self::FORK { 0 } else { self.side }, ..self })
    }

    fn is_in(self, stretch: &Stretch) -> bool {
        (stretch.origin, stretch.lane) == (self.tag(), self.lane) && (stretch.from..=stretch.to).contains(&self.seq)
    }
}

/// What one server holds: facts whose parents it holds, and others that wait.
#[derive(Clone, Default)]
struct Store {
    facts: BTreeSet<Fact>,
    waiting: BTreeSet<Fact>,
}

impl Store {
    fn holding(facts: impl IntoIterator<Item = Fact>) -> Self {
        let mut store = Store::default();
        facts.into_iter().for_each(|fact| store.add(fact));
        store
    }

    fn add(&mut self, fact: Fact) {
        if !self.facts.contains(&fact) {
            self.waiting.insert(fact);
        }
        loop {
            let ready = |fact: &Fact| fact.parent().is_none_or(|parent| self.facts.contains(&parent));
            let free: Vec<Fact> = self.waiting.iter().copied().filter(ready).collect();
            if free.is_empty() {
                return;
            }
            for fact in free {
                self.waiting.remove(&fact);
                self.facts.insert(fact);
            }
        }
    }

    fn have(&self) -> HaveVector {
        let parents: BTreeSet<Fact> = self.facts.iter().filter_map(|fact| fact.parent()).collect();
        let mut lanes: BTreeMap<(Origin, Lane), Vec<(u64, EventId)>> = BTreeMap::new();
        for fact in self.facts.iter().filter(|fact| !parents.contains(fact)) {
            lanes.entry((fact.origin(), fact.lane)).or_default().push((fact.seq, fact.id()));
        }
        let mut have = HaveVector::new();
        for ((origin, lane), mut heads) in lanes {
            heads.sort();
            have.set_lane(origin, lane, LaneHave { lowest: 0, heads });
        }
        have
    }

    fn holds(&self, tag: Tag, lane: Lane, seq: u64, head: &Tag) -> bool {
        let place = |fact: &&Fact| (fact.tag(), fact.lane, fact.seq) == (tag, lane, seq);
        self.facts.iter().filter(place).any(|fact| Tag::of(fact.id().hash()) == *head)
    }

    fn differ(&self, theirs: &Brief) -> Difference {
        let holds = |origin: Origin, lane, seq, head: &Tag| self.holds(Tag::of(origin.as_bytes()), lane, seq, head);
        difference(theirs, &self.have(), Sections::ALL, holds)
    }
}

/// A chain of this length, and another side of it if it is forked.
fn chain(origin: u8, lane: Lane, len: u64, forked: bool) -> Vec<Fact> {
    let main = (0..len).map(|seq| Fact { origin, lane, seq, side: 0 });
    let other = (Fact::FORK..len.min(Fact::FORK + 5)).map(|seq| Fact { origin, lane, seq, side: 1 });
    main.chain(other.filter(|_| forked)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Compares, and leaves every other question open.
    Silent,
    /// Shows chains that nobody has, and brings nothing of them.
    Liar,
    /// Says that there is more, and brings one event at a time.
    Dripping,
    /// Answers that it is asked too often, every other time.
    Busy,
}

#[derive(Clone)]
struct Peer {
    store: Store,
    manner: Manner,
    path: Path,
    /// Gone from the first moment until the second.
    away: Option<(Duration, Duration)>,
    asked: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Compared(u8),
    Answered(AskId, u8, Vec<Stretch>),
    Pulled(AskId, u8),
    Unanswered(AskId),
    Lost(u8),
    Gone(u8),
    Back(u8),
}

/// The server that catches up, its peers, and the network between them.
struct Mesh {
    machine: AntiEntropy<u8>,
    own: Store,
    peers: Vec<Peer>,
    now: Duration,
    due: BinaryHeap<Reverse<(Duration, u64, Due)>>,
    count: u64,
    chance: u64,
    /// How many of a thousand answers are lost.
    loss: u64,
    /// Who is asked for what, since when.
    asked: BTreeMap<AskId, (u8, Duration, Vec<Stretch>)>,
    came: BTreeMap<Fact, usize>,
    by: BTreeMap<u8, usize>,
    wholes: usize,
    bring: Vec<(u8, Vec<Stretch>)>,
}

fn room() -> RoomId {
    RoomId::from_hash([5; 32])
}

impl Mesh {
    fn new(own: Store, peers: Vec<Peer>, chance: u64, loss: u64) -> Self {
        let mut mesh = Mesh {
            machine: AntiEntropy::new(Tempo::default()),
            own,
            peers,
            now: Duration::ZERO,
            due: BinaryHeap::new(),
            count: 0,
            chance: chance | 1,
            loss,
            asked: BTreeMap::new(),
            came: BTreeMap::new(),
            by: BTreeMap::new(),
            wholes: 0,
            bring: Vec::new(),
        };
        for at in 0..mesh.peers.len() as u8 {
            mesh.machine.connected(at, Duration::ZERO);
            if let Some((from, to)) = mesh.peers[usize::from(at)].away {
                mesh.at(from, Due::Gone(at));
                mesh.at(to, Due::Back(at));
            }
        }
        mesh
    }

    fn random(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }

    fn at(&mut self, at: Duration, due: Due) {
        self.count += 1;
        self.due.push(Reverse((at, self.count, due)));
    }

    /// Anything between five and two hundred milliseconds: answers overtake each other.
    fn soon(&mut self, due: Due) {
        let delay = Duration::from_millis(5 + self.random() % 195);
        self.at(self.now + delay, due);
    }

    fn is_away(&self, peer: u8) -> bool {
        self.peers[usize::from(peer)].away.is_some_and(|(from, to)| from <= self.now && self.now < to)
    }

    fn is_lost(&mut self, peer: u8) -> bool {
        self.is_away(peer) || self.random() % 1000 < self.loss
    }

    fn act(&mut self) {
        let chance = self.random();
        for action in self.machine.poll(self.now, chance) {
            match action {
                Action::Compare { peer, rooms } => {
                    if let Comparison::Rooms { rooms, .. } = rooms {
                        assert_eq!(rooms, BTreeSet::from([room()]));
                    }
                    match self.is_lost(peer) {
                        true => self.at(self.now + TIMEOUT, Due::Lost(peer)),
                        false => self.soon(Due::Compared(peer)),
                    }
                }
                Action::Bring { ask, peer, stretches, .. } => {
                    self.nobody_is_bringing(&stretches);
                    self.bring.push((peer, stretches.clone()));
                    self.asked.insert(ask, (peer, self.now, stretches.clone()));
                    match self.is_lost(peer) || self.peers[usize::from(peer)].manner == Manner::Silent {
                        true => self.at(self.now + TIMEOUT, Due::Unanswered(ask)),
                        false => self.soon(Due::Answered(ask, peer, stretches)),
                    }
                }
                Action::PullWhole { ask, peer, .. } => {
                    self.wholes += 1;
                    match self.is_lost(peer) || self.peers[usize::from(peer)].manner == Manner::Silent {
                        true => self.at(self.now + TIMEOUT, Due::Unanswered(ask)),
                        false => self.soon(Due::Pulled(ask, peer)),
                    }
                }
                Action::Review { room, claims } => {
                    let met = |claim: &Claim| self.own.holds(claim.origin, claim.lane, claim.seq, &claim.head);
                    let unmet = claims.iter().filter(|(_, claims)| !claims.iter().all(met)).map(|(peer, _)| *peer);
                    let unmet: Vec<u8> = unmet.collect();
                    self.machine.reviewed(room, &unmet, self.now);
                }
            }
        }
        assert!(self.machine.outstanding() <= MOST_OPEN, "{} questions", self.machine.outstanding());
    }

    /// No stretch is asked of two peers at a time, unless the first has left it open for long.
    fn nobody_is_bringing(&self, stretches: &[Stretch]) {
        let fresh = |begun: &Duration| self.now < *begun + Tempo::default().stall;
        for (_, begun, others) in self.asked.values().filter(|(_, begun, _)| fresh(begun)) {
            for (one, other) in stretches.iter().flat_map(|one| others.iter().map(move |other| (one, other))) {
                let apart =
                    (one.origin, one.lane) != (other.origin, other.lane) || one.to < other.from || other.to < one.from;
                assert!(apart, "{one:?} is asked for at {:?}, and {other:?} since {begun:?}", self.now);
            }
        }
    }

    fn take(&mut self, peer: u8, fact: Fact) {
        *self.came.entry(fact).or_default() += 1;
        *self.by.entry(peer).or_default() += 1;
        self.own.add(fact);
    }

    fn compare(&mut self, peer: u8) {
        let known = &self.peers[usize::from(peer)];
        let (path, mut have) = (known.path, known.store.have());
        if known.manner == Manner::Liar {
            // One chain that nobody has, and one that is shown longer than it is.
            for (origin, seq) in [(99, 70), (1, 1 << 40)] {
                let heads = vec![(seq, EventId::from_hash([peer; 32]))];
                have.set_lane(Origin::from_bytes([origin; 32]), Lane::Timeline, LaneHave { lowest: 0, heads });
            }
        }
        match have == self.own.have() {
            true => self.machine.alike(&peer, &room()),
            false => {
                let difference = self.own.differ(&Brief::of(&have).unwrap());
                self.machine.differs(peer, room(), path, Some(difference), false, self.now);
            }
        }
        self.machine.compared(&peer);
    }

    fn answer(&mut self, ask: AskId, peer: u8, stretches: &[Stretch]) {
        self.asked.remove(&ask);
        let known = &mut self.peers[usize::from(peer)];
        known.asked += 1;
        let asked = |fact: &Fact| stretches.iter().any(|stretch| fact.is_in(stretch));
        let mut facts: Vec<Fact> = known.store.facts.iter().copied().filter(asked).collect();
        facts.sort_by_key(|fact| (fact.seq, *fact));
        let most = match known.manner {
            Manner::Liar => 0,
            Manner::Dripping => 1,
            Manner::Busy if known.asked % 2 == 1 => return self.machine.answered(ask, Outcome::TooMany, self.now),
            _ => ANSWER,
        };
        let more = facts.len() > most;
        facts.truncate(most);
        let mut reached = BTreeMap::new();
        for fact in facts {
            reached.insert((fact.tag(), fact.lane), fact.seq);
            self.take(peer, fact);
        }
        let waiting = self.own.waiting.len();
        self.machine.answered(ask, Outcome::Brought { reached, waiting, more }, self.now);
    }

    fn step(&mut self) -> bool {
        self.act();
        let next = self.due.peek().map(|Reverse((at, _, _))| *at);
        let tick = self.machine.next_due(self.now);
        let Some(next) = next.into_iter().chain(tick).min() else { return false };
        self.now = next.max(self.now);
        while self.due.peek().is_some_and(|Reverse((at, _, _))| *at <= self.now) {
            let Some(Reverse((_, _, due))) = self.due.pop() else { break };
            match due {
                // A cut takes along what is on its way.
                Due::Compared(peer) if self.is_away(peer) => self.machine.compared(&peer),
                Due::Answered(ask, peer, _) | Due::Pulled(ask, peer) if self.is_away(peer) => {
                    self.asked.remove(&ask);
                    self.machine.answered(ask, Outcome::Failed, self.now);
                }
                Due::Compared(peer) => self.compare(peer),
                Due::Lost(peer) => self.machine.compared(&peer),
                Due::Answered(ask, peer, stretches) => self.answer(ask, peer, &stretches),
                Due::Pulled(ask, peer) => {
                    let facts: Vec<Fact> = match self.peers[usize::from(peer)].manner {
                        Manner::Liar => Vec::new(),
                        _ => self.peers[usize::from(peer)].store.facts.difference(&self.own.facts).copied().collect(),
                    };
                    facts.into_iter().for_each(|fact| self.take(peer, fact));
                    let outcome = Outcome::Brought { reached: BTreeMap::new(), waiting: 0, more: false };
                    self.machine.answered(ask, outcome, self.now);
                }
                Due::Unanswered(ask) => {
                    self.asked.remove(&ask);
                    self.machine.answered(ask, Outcome::Failed, self.now);
                }
                Due::Gone(peer) => {
                    self.machine.gone(&peer);
                    self.asked.retain(|_, (other, _, _)| *other != peer);
                }
                Due::Back(peer) => self.machine.connected(peer, self.now),
            }
        }
        true
    }

    fn run_until(&mut self, done: impl Fn(&Mesh) -> bool) {
        while !done(self) {
            assert!(self.step(), "nothing is due any more");
            assert!(self.now < PATIENCE, "not equal by then; {} wait", self.own.waiting.len());
        }
    }

    fn holds(&self, facts: &BTreeSet<Fact>) -> bool {
        facts.is_subset(&self.own.facts)
    }
}

fn peer(facts: impl IntoIterator<Item = Fact>, manner: Manner) -> Peer {
    Peer { store: Store::holding(facts), manner, path: Path::Direct, away: None, asked: 0 }
}

fn any_chains() -> impl Strategy<Value = Vec<Fact>> {
    let chain = |origin: u8, lane: Lane| {
        (0..120_u64, prop::bool::weighted(0.2)).prop_map(move |(len, forked)| chain(origin, lane, len, forked))
    };
    (1..=3_u8).map(|origin| (chain(origin, Lane::State), chain(origin, Lane::Timeline))).collect::<Vec<_>>().prop_map(
        |chains| chains.into_iter().flat_map(|(state, timeline)| [state, timeline].concat()).collect::<Vec<Fact>>(),
    )
}

fn any_manner() -> impl Strategy<Value = Manner> {
    prop::sample::select(vec![Manner::Honest, Manner::Silent, Manner::Liar, Manner::Dripping, Manner::Busy])
}

fn any_peer() -> impl Strategy<Value = (Manner, bool, Option<(u64, u64)>, u64)> {
    let away = prop::option::of((0..20_000_u64, 100..40_000_u64));
    (any_manner(), any::<bool>(), away, 0..120_u64)
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn with_one_honest_holder_nothing_is_missing_in_the_end(
        facts in any_chains(),
        held in 0..120_u64,
        others in prop::collection::vec(any_peer(), 0..5),
        relayed in any::<bool>(),
        (chance, loss) in (any::<u64>(), 0..200_u64),
    ) {
        let own = Store::holding(facts.iter().copied().filter(|fact| fact.seq < held));
        let everything: BTreeSet<Fact> = facts.iter().copied().collect();
        let mut honest = peer(facts.iter().copied(), Manner::Honest);
        honest.path = if relayed { Path::Relayed } else { Path::Direct };
        let mut peers = vec![honest];
        for (manner, relayed, away, part) in others {
            let mut other = peer(facts.iter().copied().filter(|fact| fact.seq < part), manner);
            other.path = if relayed { Path::Relayed } else { Path::Direct };
            other.away = away.map(|(from, len)| (Duration::from_millis(from), Duration::from_millis(from + len)));
            peers.push(other);
        }
        let mut mesh = Mesh::new(own, peers, chance, loss);
        mesh.run_until(|mesh| mesh.holds(&everything));
        prop_assert!(mesh.own.waiting.is_empty());
        prop_assert_eq!(mesh.own.facts, everything);
    }

    #[test]
    fn honest_holders_bring_each_event_once_and_without_whole_vectors(
        lens in prop::collection::vec(0..400_u64, 1..6),
        held in 0..100_u64,
        holders in 1..5_usize,
        chance in any::<u64>(),
    ) {
        let facts: Vec<Fact> =
            lens.iter().zip(1..).flat_map(|(len, origin)| chain(origin, Lane::Timeline, *len, false)).collect();
        let own = Store::holding(facts.iter().copied().filter(|fact| fact.seq < held));
        let missing = facts.iter().filter(|fact| fact.seq >= held).count();
        let peers = (0..holders).map(|_| peer(facts.iter().copied(), Manner::Honest)).collect();
        let mut mesh = Mesh::new(own, peers, chance, 0);
        let everything: BTreeSet<Fact> = facts.into_iter().collect();
        mesh.run_until(|mesh| mesh.holds(&everything));
        prop_assert_eq!(mesh.came.len(), missing);
        prop_assert!(mesh.came.values().all(|times| *times == 1));
        prop_assert_eq!(mesh.wholes, 0);
    }
}

#[test]
fn several_holders_bring_one_long_chain_together() {
    let facts = chain(1, Lane::Timeline, 3_000, false);
    let peers = (0..3).map(|_| peer(facts.iter().copied(), Manner::Honest)).collect();
    let mut mesh = Mesh::new(Store::default(), peers, 3, 0);
    let everything: BTreeSet<Fact> = facts.into_iter().collect();
    mesh.run_until(|mesh| mesh.holds(&everything));
    assert_eq!(mesh.by.len(), 3);
    assert!(mesh.by.values().all(|brought| *brought >= 300), "{:?}", mesh.by);
    assert_eq!(mesh.by.values().sum::<usize>(), 3_000);
}

#[test]
fn the_state_graph_comes_before_the_timeline() {
    let facts =
        [chain(1, Lane::State, 150, false), chain(2, Lane::State, 90, false), chain(1, Lane::Timeline, 300, false)];
    let facts: BTreeSet<Fact> = facts.concat().into_iter().collect();
    let mut mesh = Mesh::new(Store::default(), vec![peer(facts.iter().copied(), Manner::Honest)], 1, 0);
    mesh.run_until(|mesh| mesh.holds(&facts));
    let lanes: Vec<Lane> = mesh.bring.iter().flat_map(|(_, stretches)| stretches).map(|stretch| stretch.lane).collect();
    assert!(lanes.is_sorted() && lanes.first() == Some(&Lane::State) && lanes.last() == Some(&Lane::Timeline));
}

#[test]
fn whoever_is_reached_over_a_relay_is_asked_only_for_what_nobody_else_brings() {
    let facts: BTreeSet<Fact> = chain(1, Lane::Timeline, 500, false).into_iter().collect();
    let mut relayed = peer(facts.iter().copied(), Manner::Honest);
    relayed.path = Path::Relayed;
    let direct = peer(facts.iter().copied(), Manner::Honest);
    let mut mesh = Mesh::new(Store::default(), vec![relayed.clone(), direct], 1, 0);
    mesh.run_until(|mesh| mesh.holds(&facts));
    assert_eq!(mesh.by.keys().collect::<Vec<_>>(), [&1]);
    // Alone, or beside one that does not answer, it brings everything.
    let mut alone = Mesh::new(Store::default(), vec![relayed.clone()], 1, 0);
    alone.run_until(|mesh| mesh.holds(&facts));
    let silent = peer(facts.iter().copied(), Manner::Silent);
    let mut beside = Mesh::new(Store::default(), vec![relayed, silent], 1, 0);
    beside.run_until(|mesh| mesh.holds(&facts));
    assert!(beside.now < Duration::from_secs(9), "{:?}", beside.now);
}

#[test]
fn after_a_cut_nothing_is_asked_for_again_that_came() {
    let facts: BTreeSet<Fact> = chain(1, Lane::Timeline, 2_000, false).into_iter().collect();
    let mut holder = peer(facts.iter().copied(), Manner::Honest);
    holder.away = Some((Duration::from_millis(700), Duration::from_secs(5)));
    let mut mesh = Mesh::new(Store::default(), vec![holder], 1, 0);
    mesh.run_until(|mesh| mesh.now >= Duration::from_secs(4));
    let before = mesh.came.len();
    assert!(before > 0 && before < 2_000, "{before} came before the cut");
    mesh.run_until(|mesh| mesh.holds(&facts));
    assert!(mesh.came.values().all(|times| *times == 1));
}

#[test]
fn a_peer_that_leaves_a_question_open_is_taken_over_from_after_three_seconds() {
    let facts: BTreeSet<Fact> = chain(1, Lane::Timeline, 400, false).into_iter().collect();
    let silent = peer(facts.iter().copied(), Manner::Silent);
    let honest = peer(facts.iter().copied(), Manner::Honest);
    let mut mesh = Mesh::new(Store::default(), vec![silent, honest], 7, 0);
    mesh.run_until(|mesh| mesh.holds(&facts));
    assert!(mesh.now < Duration::from_secs(5), "{:?}", mesh.now);
}

#[test]
fn a_comparison_that_is_asked_back_tells_nobody_again() {
    let mut machine = AntiEntropy::new(Tempo::default());
    machine.connected(1_u8, Duration::ZERO);
    machine.poll(Duration::ZERO, 0);
    machine.compared(&1);
    let offers = Difference { offers: true, ..Difference::default() };
    machine.differs(1, room(), Path::Direct, Some(offers.clone()), true, Duration::ZERO);
    assert_eq!(machine.poll(Duration::ZERO, 0), Vec::new());
    machine.differs(1, room(), Path::Direct, Some(offers), false, Duration::ZERO);
    let told = machine.poll(Duration::ZERO, 0);
    assert!(matches!(&told[..], [Action::Bring { offers: true, stretches, .. }] if stretches.is_empty()), "{told:?}");
    machine.asked_by(1, room(), Duration::ZERO);
    assert_eq!(machine.poll(Duration::from_millis(499), 0), Vec::new());
    let back = machine.poll(Duration::from_millis(500), 0);
    let rooms = Comparison::Rooms { rooms: BTreeSet::from([room()]), back: true };
    assert_eq!(back, [Action::Compare { peer: 1, rooms }]);
}

/// What is missing of this many chains that only this peer knows.
fn made_up(peer: u8, chains: u64) -> Difference {
    let tag = |at: u64| Tag::from_bytes(((u64::from(peer) << 32) | at).to_be_bytes());
    let stretch = |at: u64| Stretch { origin: tag(at), lane: Lane::Timeline, from: 0, to: 9 };
    Difference { lacking: (0..chains).map(stretch).collect(), ..Difference::default() }
}

#[test]
fn what_peers_made_up_is_forgotten_when_they_are_gone() {
    let mut machine = AntiEntropy::new(Tempo::default());
    // More than is remembered at all.
    for peer in 0..20_u8 {
        machine.connected(peer, Duration::ZERO);
        machine.differs(peer, room(), Path::Direct, Some(made_up(peer, 20_000)), false, Duration::ZERO);
        machine.poll(Duration::ZERO, 0);
        machine.gone(&peer);
    }
    machine.connected(99, Duration::ZERO);
    machine.differs(99, room(), Path::Direct, Some(made_up(99, 20_000)), false, Duration::ZERO);
    let actions = machine.poll(Duration::ZERO, 0);
    assert!(actions.iter().any(|action| matches!(action, Action::Bring { peer: 99, .. })), "it is not asked");
}

#[test]
fn what_one_peer_makes_up_leaves_room_for_what_others_have() {
    let mut machine = AntiEntropy::new(Tempo::default());
    machine.connected(1_u8, Duration::ZERO);
    machine.connected(2, Duration::ZERO);
    let rooms = [[1; 32], [2; 32], [3; 32], [4; 32], [5; 32], [6; 32], [7; 32], [8; 32]].map(RoomId::from_hash);
    for room in rooms {
        machine.differs(1, room, Path::Direct, Some(made_up(1, 40_000)), false, Duration::ZERO);
    }
    assert!(machine.is_bringing(&rooms[0]), "more than its share is brought in parts");
    assert!(!machine.is_bringing(&rooms[1]), "its share is taken");
    let elsewhere = RoomId::from_hash([9; 32]);
    machine.differs(2, elsewhere, Path::Direct, Some(made_up(2, 30_000)), false, Duration::ZERO);
    assert!(machine.is_bringing(&elsewhere));
    // What it shows again is no more than it showed before.
    machine.differs(1, rooms[0], Path::Direct, Some(made_up(1, 40_000)), false, Duration::ZERO);
    assert!(machine.is_bringing(&rooms[0]));
}

#[test]
fn neither_a_chain_without_end_nor_refusals_without_end_keep_a_room_from_being_looked_at() {
    for busy in [false, true] {
        let mut machine = AntiEntropy::new(Tempo::default());
        let mut now = Duration::ZERO;
        machine.connected(1_u8, now);
        let endless = Stretch { origin: Tag::from_bytes([7; 8]), lane: Lane::Timeline, from: 0, to: 1 << 52 };
        let difference = Difference { lacking: vec![endless], ..Difference::default() };
        machine.differs(1, room(), Path::Direct, Some(difference), false, now);
        let mut asked = 0;
        while asked < 5_000 {
            let bring = machine.poll(now, 0).into_iter().find_map(|action| match action {
                Action::Bring { ask, stretches, .. } => Some((ask, stretches)),
                _ => None,
            });
            machine.compared(&1);
            let Some((ask, stretches)) = bring else { break };
            asked += 1;
            let reached = stretches.iter().map(|stretch| ((stretch.origin, stretch.lane), stretch.to)).collect();
            let outcome = if busy { Outcome::TooMany } else { Outcome::Brought { reached, waiting: 0, more: true } };
            machine.answered(ask, outcome, now);
            now += Tempo::default().too_many;
        }
        assert!(asked < 5_000, "it is asked for ever");
        assert!(!machine.is_bringing(&room()));
        // It may have told the truth.
        let later = machine.poll(now + Tempo::default().retry, 0);
        let compared = |action: &Action<u8>| matches!(action, Action::Compare { peer: 1, .. });
        assert!(later.iter().any(compared), "{later:?}");
    }
}

#[test]
fn one_peer_that_answers_nothing_in_many_rooms_leaves_places_for_others() {
    let mut machine = AntiEntropy::new(Tempo::default());
    machine.connected(1_u8, Duration::ZERO);
    machine.connected(2, Duration::ZERO);
    for at in 0..200 {
        let room = RoomId::from_hash([at; 32]);
        machine.differs(1, room, Path::Direct, Some(made_up(1, 1)), false, Duration::ZERO);
    }
    for step in 0..10 {
        machine.poll(Tempo::default().stall * step, 0);
    }
    assert!(machine.outstanding() < MOST_OPEN / 2, "{} questions", machine.outstanding());
    let now = Tempo::default().stall * 10;
    machine.differs(2, room(), Path::Direct, Some(made_up(2, 1)), false, now);
    let actions = machine.poll(now, 0);
    assert!(actions.iter().any(|action| matches!(action, Action::Bring { peer: 2, .. })), "{actions:?}");
}

fn compares(actions: &[Action<u8>]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Compare { .. }))
}

#[test]
fn a_comparison_without_an_answer_is_made_again_soon_and_ever_later() {
    let mut machine = AntiEntropy::new(Tempo::default());
    machine.connected(1_u8, Duration::ZERO);
    assert!(compares(&machine.poll(Duration::ZERO, 0)));
    let mut now = Duration::ZERO;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        machine.uncompared(1, Comparison::All, now);
        let due = machine.next_due(now).unwrap();
        assert!(!compares(&machine.poll(due - Duration::from_millis(1), 0)));
        assert!(compares(&machine.poll(due, 0)));
        pauses.push((due - now).as_secs());
        now = due;
    }
    assert_eq!(pauses[..5], [2, 4, 8, 16, 32]);
    assert!(pauses[5] <= Tempo::default().compare_every.as_secs());
    machine.compared(&1);
    machine.look(1, room(), now, false);
    assert!(compares(&machine.poll(now, 0)));
    let rooms = Comparison::Rooms { rooms: BTreeSet::from([room()]), back: false };
    machine.uncompared(1, rooms.clone(), now);
    now += Tempo::default().again;
    assert_eq!(
        machine.poll(now, 0),
        [Action::Compare { peer: 1, rooms }],
        "after an answer it begins with the shortest pause"
    );
}

#[test]
fn a_peer_that_comes_back_is_compared_with_at_once_and_asked_for_what_it_left_open() {
    let tempo = Tempo::default();
    let asks = |actions: &[Action<u8>]| actions.iter().any(|action| matches!(action, Action::Bring { peer: 1, .. }));
    // Before it came back the question was given up, or it is afterwards.
    for back in [tempo.stall + Duration::from_secs(1), Duration::from_secs(1)] {
        let mut machine = AntiEntropy::new(tempo);
        machine.connected(1_u8, Duration::ZERO);
        machine.poll(Duration::ZERO, 0);
        machine.uncompared(1, Comparison::All, Duration::ZERO);
        machine.differs(1, room(), Path::Direct, Some(made_up(1, 1)), false, Duration::ZERO);
        assert!(asks(&machine.poll(Duration::ZERO, 0)));
        if back > tempo.stall {
            machine.poll(tempo.stall, 0);
        }
        machine.connected(1, back);
        assert!(compares(&machine.poll(back, 0)), "at once, although the last comparison failed");
        machine.differs(1, room(), Path::Direct, Some(made_up(1, 1)), false, back);
        let later = back.max(tempo.stall);
        assert!(asks(&machine.poll(later, 0)), "although its answer to the first question is still to come");
        assert_eq!(machine.outstanding(), 1, "which is not waited for");
    }
}

#[test]
fn a_peer_that_comes_back_all_the_time_does_not_take_every_place_with_what_it_leaves_open() {
    let tempo = Tempo::default();
    let mut machine = AntiEntropy::new(tempo);
    machine.connected(1_u8, Duration::ZERO);
    let mut asked = 0;
    for step in 0..9 {
        let now = tempo.stall * step;
        machine.connected(1, now);
        for at in 0..200 {
            let room = RoomId::from_hash([at; 32]);
            machine.differs(1, room, Path::Direct, Some(made_up(1, 1)), false, now);
        }
        let actions = machine.poll(now, 0);
        asked += actions.iter().filter(|action| matches!(action, Action::Bring { .. })).count();
    }
    assert!(asked < MOST_OPEN, "{asked} questions in half a minute");
}
