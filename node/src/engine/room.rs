//! One room's task: everything that changes the room goes through it, in bursts that share one batch and one flush.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::gossipsub::MessageAcceptance;
use libp2p::identity::PeerId;
use rocketmesh_protocol::access::readable_at;
use rocketmesh_protocol::authority::{Refusal, RoomState};
use rocketmesh_protocol::event::{
    AuthorError, Content, Draft, Event, Lane, OrderKey, RoomVersion, UnverifiedEvent, author_after,
};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::limits::MERGE_ABOVE;
use rocketmesh_protocol::receipt::{Misplaced, Node, Receipt, RoomGraph, receive};
use rocketmesh_protocol::resolution::{Changes, Reconsider, Resolver};
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::{
    Batch, ChainStart, EventStore, HeldEvent, LogPosition, Participation, Snapshot, StoreError, StoredEvent, Verdict,
};
use tokio::sync::{mpsc, oneshot};

mod ahead;
mod erasure;

use super::graph::{Graph, Recent};
use super::held::Held;
use super::history::Gap;
use super::{Engine, add, direct, sync};
use crate::clock::random_16;
use crate::network::{Count, GossipToken};
use erasure::Bodies;

/// Commands that may wait for a room. Users wait for room in it; gossip does not, and is repaired by sync.
const COMMANDS: usize = 256;
/// The most commands that share one flush.
const BURST_COMMANDS: usize = 256;
/// The most events that share one flush.
const BURST_EVENTS: usize = 2048;
/// The most bytes that share one flush, but for one command that has more: what is lost with the power stays small.
const BURST_BYTES: usize = 512 * 1024;
/// How many state events come between two snapshots of a room's state.
const SNAPSHOT_EVERY: usize = 256;
/// How long a room may have too many tips before a server of a small room joins them.
const MERGE_DELAY: Duration = Duration::from_secs(5);
/// Events that are read at a time where verdicts are reconsidered, and where a state graph is read.
const REVIEWED: usize = 1024;

/// Why an event was not written. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The room's rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It breaks a limit.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// The node was restored or was away, and does not know yet what it has said in the room.
    #[error("the node is still fetching what it missed in this room; try again in a moment")]
    CatchingUp,
    /// The node holds nothing of the room.
    #[error("this node does not know the room {0}; join it first")]
    UnknownRoom(RoomId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

/// An event that is on disk.
#[derive(Clone, Debug)]
pub struct Written {
    /// The event.
    pub event: Event,
    /// Its position in the local log.
    pub position: LogPosition,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ingested {
    pub(crate) new: usize,
    pub(crate) refused: usize,
    /// Events of the room that wait for others now.
    pub(crate) waiting: usize,
}

/// Why events came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// They are said now, or are the newest that there are.
    AsNews,
    /// They were missing here: what of them waits is old, or about to be set free.
    AsHistory,
}

pub(super) enum RoomCommand {
    /// Verified events, from a peer or from this node itself.
    Ingest {
        events: Vec<Event>,
        from: Option<PeerId>,
        brought: Brought,
        token: Option<GossipToken>,
        done: Option<oneshot::Sender<Result<Ingested, Arc<StoreError>>>>,
    },
    /// Make an event, or take in one that this node has made.
    Author { what: Authored, done: oneshot::Sender<Result<Written, PostError>> },
    /// Take part from now on, or no longer.
    Participate(Participation),
    /// Take part no longer, unless a local user is in the room or is about to be.
    LetGo,
    /// The state at the tips, and how many events wait.
    State { done: oneshot::Sender<Option<(Arc<RoomState>, usize)>> },
    /// Whether a server that was in the room once may read each of these events.
    Readable { server: Origin, events: Vec<Event>, done: oneshot::Sender<Vec<bool>> },
    /// What events wait for.
    Wanted { done: oneshot::Sender<Vec<EventId>> },
    /// Messages that wait for what they stand on and may be shown all the same.
    Ahead { done: oneshot::Sender<Vec<Event>> },
    /// Drop the bodies of these events, which are older than this node keeps bodies of the room.
    Expire { events: Vec<EventId> },
    /// A repair has ended.
    Repaired,
    /// Time to join tips, if there are still too many.
    Merge,
}

pub(super) enum Authored {
    Draft(Draft),
    /// A create event, which has no place in any graph yet.
    Create(Event),
}

/// The way to a room's task.
#[derive(Clone)]
pub(super) struct RoomHandle(mpsc::Sender<RoomCommand>);

impl RoomHandle {
    /// Waits for room in the queue.
    pub(super) async fn send(&self, command: RoomCommand) -> Result<(), PostError> {
        self.0.send(command).await.map_err(|_| PostError::Closed)
    }

    /// Gives up if the queue is full.
    pub(super) fn offer(&self, command: RoomCommand) -> bool {
        self.0.try_send(command).is_ok()
    }

    pub(super) async fn author(&self, what: Authored) -> Result<Written, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Author { what, done }).await?;
        answer.await.map_err(|_| PostError::Closed)?
    }

    pub(super) async fn ingest(&self, events: Vec<Event>, from: Option<PeerId>) -> Result<Ingested, PostError> {
        self.ingest_as(Brought::AsNews, events, from).await
    }

    pub(super) async fn ingest_as(
        &self,
        brought: Brought,
        events: Vec<Event>,
        from: Option<PeerId>,
    ) -> Result<Ingested, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Ingest { events, from, brought, token: None, done: Some(done) }).await?;
        Ok(answer.await.map_err(|_| PostError::Closed)??)
    }

    pub(super) async fn wanted(&self) -> Result<Vec<EventId>, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Wanted { done }).await?;
        answer.await.map_err(|_| PostError::Closed)
    }

    /// Messages that came ahead of what they stand on and may be shown, in room order.
    pub(super) async fn ahead(&self) -> Result<Vec<Event>, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Ahead { done }).await?;
        answer.await.map_err(|_| PostError::Closed)
    }

    /// Whether a server that was in the room once may read each of these events.
    pub(super) async fn readable(&self, server: Origin, events: Vec<Event>) -> Result<Vec<bool>, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Readable { server, events, done }).await?;
        answer.await.map_err(|_| PostError::Closed)
    }

    pub(super) async fn state(&self) -> Result<Option<(Arc<RoomState>, usize)>, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::State { done }).await?;
        answer.await.map_err(|_| PostError::Closed)
    }
}

pub(super) fn spawn(engine: Engine, room: RoomId) -> RoomHandle {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let handle = RoomHandle(sender);
    tokio::spawn(run(engine, room, commands, handle.clone()));
    handle
}

/// What is owed to others once the burst is on disk.
#[derive(Default)]
struct Owed {
    ingested: Vec<(oneshot::Sender<Result<Ingested, Arc<StoreError>>>, Ingested)>,
    written: Vec<(oneshot::Sender<Result<Written, PostError>>, EventId)>,
    tokens: Vec<(GossipToken, MessageAcceptance)>,
    publish: Vec<Event>,
    hold: Vec<HeldEvent>,
    /// Of those, what is shown while it waits.
    ahead: Vec<EventId>,
    release: Vec<EventId>,
    repair_from: Option<PeerId>,
    /// Who brought a state event that waits in a room whose history is put off: until what it stands on is here, nothing newer
    /// is shown.
    compare_with: Option<PeerId>,
    /// Who asked for the state: it is told what is on disk.
    asked: Vec<oneshot::Sender<Option<(Arc<RoomState>, usize)>>>,
    /// Whether this node takes part from now on, or no longer.
    participation: bool,
}

/// What a burst brought, for those who are not told by gossip.
#[derive(Default)]
struct News {
    positions: BTreeMap<EventId, LogPosition>,
    /// Whether the state may be another one.
    state: bool,
    /// The servers whose users something was said about.
    about: BTreeSet<Origin>,
    /// Whether anything came from another server.
    received: bool,
}

struct RoomTask {
    engine: Engine,
    room: RoomId,
    handle: RoomHandle,
    outline: Outline,
    participation: Participation,
    resolver: Resolver,
    recent: RefCell<Recent>,
    held: Held,
    /// Decided in this burst and not yet written, by id; `fresh` has their order.
    undecided: BTreeMap<EventId, StoredEvent>,
    fresh: Vec<EventId>,
    fresh_bytes: usize,
    /// Written before, with another verdict than now.
    changed: BTreeMap<EventId, StoredEvent>,
    bodies: Bodies,
    /// Where the log says that a body arrived, in this burst.
    filled: Option<LogPosition>,
    repairing: bool,
    /// Whether a merge is due at some time.
    merging: bool,
    /// Whether memory and store have parted, so that the task has to end.
    lost: bool,
    /// How many state events the resolver had when a snapshot was last taken or read.
    snapshot_at: usize,
    /// The state that others were last told of.
    told_state: Option<RoomState>,
}

async fn run(engine: Engine, room: RoomId, mut commands: mpsc::Receiver<RoomCommand>, handle: RoomHandle) {
    let mut task = match RoomTask::load(engine.clone(), room, handle) {
        Ok(task) => task,
        Err(error) => {
            add(&engine.counters.store_errors, 1);
            tracing::error!(%room, %error, "a room cannot be read from the store");
            // Dropping the receiver answers everybody that waits.
            engine.forget_room(&room);
            return;
        }
    };
    let mut shutdown = engine.shutdown();
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = crate::network::shut_down(&mut shutdown) => None,
        };
        let Some(command) = command else { return };
        let mut owed = Owed::default();
        let mut result = task.handle(command, &mut owed);
        for _ in 1..BURST_COMMANDS {
            if result.is_err() || task.fresh.len() >= BURST_EVENTS || task.fresh_bytes >= BURST_BYTES {
                break;
            }
            let Ok(command) = commands.try_recv() else { break };
            result = task.handle(command, &mut owed);
        }
        task.settle(result, owed).await;
        if task.lost {
            // The next use reads the room anew. Dropping the receiver answers everybody that waits.
            engine.forget_room(&room);
            return;
        }
    }
}

impl RoomTask {
    fn load(engine: Engine, room: RoomId, handle: RoomHandle) -> Result<Self, StoreError> {
        let (outline, participation) = match engine.store.room(&room)? {
            Some(entry) => (entry.outline, entry.participation),
            None => (Outline::new(room, RoomVersion::DRAFT), Participation::Left),
        };
        let resolver = match resumed(&engine.store, &outline)? {
            Some(resolver) => resolver,
            None => state_graph(&engine.store, &outline)?,
        };
        let snapshot_at = resolver.len();
        let mut held = Held::default();
        for waiting in engine.store.held(&room)? {
            // Its record says nothing about where it came from, so that damage to it would pass for what a server said.
            let event = waiting.event.decode().and_then(UnverifiedEvent::verify);
            if let Some(event) = event.ok().filter(|event| event.id() == waiting.id) {
                held.insert(event, waiting.missing, None);
            }
        }
        let told_state = resolver.current().cloned();
        Ok(RoomTask {
            engine,
            room,
            handle,
            outline,
            participation,
            resolver,
            recent: RefCell::default(),
            held,
            undecided: BTreeMap::new(),
            fresh: Vec::new(),
            fresh_bytes: 0,
            changed: BTreeMap::new(),
            bodies: Bodies::default(),
            filled: None,
            repairing: false,
            merging: false,
            lost: false,
            snapshot_at,
            told_state,
        })
    }

    fn handle(&mut self, command: RoomCommand, owed: &mut Owed) -> Result<(), StoreError> {
        match command {
            RoomCommand::Ingest { events, from, brought, mut token, done } => {
                let mut ingested = Ingested::default();
                for event in events {
                    self.take_in(event, token.take(), (from, brought), owed, &mut ingested)?;
                }
                if ingested.refused > 0 {
                    self.blame(from, ingested.refused);
                }
                ingested.waiting = self.held.len();
                if let Some(done) = done {
                    owed.ingested.push((done, ingested));
                }
            }
            RoomCommand::Author { what, done } => match self.author(what) {
                Ok(event) => {
                    add(&self.engine.counters.authored, 1);
                    owed.written.push((done, event.id()));
                    owed.publish.push(event);
                }
                Err(PostError::Store(error)) => {
                    let _ = done.send(Err(PostError::Store(Arc::clone(&error))));
                    return Err(StoreError::Io(std::io::Error::other(error)));
                }
                Err(error) => {
                    let _ = done.send(Err(error));
                }
            },
            RoomCommand::Participate(participation) => {
                // Written with the rest of the burst: the outline counts events already that are not written yet.
                self.participation = participation;
                owed.participation = true;
            }
            RoomCommand::LetGo => {
                let own = self.engine.origin;
                let needed = self.resolver.current().is_some_and(|state| state.has_member(own));
                if !needed && self.participation == Participation::Joined {
                    self.participation = Participation::Left;
                    owed.participation = true;
                    // Here, and not by whoever decided it: nobody can have joined meanwhile.
                    self.engine.unfollow(self.room);
                }
            }
            RoomCommand::State { done } => owed.asked.push(done),
            RoomCommand::Readable { server, events, done } => {
                let mut readable = Vec::with_capacity(events.len());
                for event in &events {
                    self.reach(event)?;
                    let at = |before| readable_at(&before, event.header().lane, server);
                    let create = event.header().room.is_none();
                    readable.push(create || self.resolver.state_for(event).is_some_and(at));
                }
                let _ = done.send(readable);
            }
            RoomCommand::Wanted { done } => {
                let _ = done.send(self.held.wanted());
            }
            RoomCommand::Ahead { done } => {
                let _ = done.send(self.ahead()?);
            }
            RoomCommand::Expire { events } => self.expire(&events)?,
            RoomCommand::Repaired => self.repairing = false,
            RoomCommand::Merge => self.merge(owed),
        }
        Ok(())
    }

    /// Runs the receipt pipeline on an event, and on whatever it sets free.
    fn take_in(
        &mut self,
        event: Event,
        token: Option<GossipToken>,
        (from, brought): (Option<PeerId>, Brought),
        owed: &mut Owed,
        ingested: &mut Ingested,
    ) -> Result<(), StoreError> {
        let delivered = event.id();
        let mut work = vec![(event, token)];
        while let Some((event, token)) = work.pop() {
            let id = event.id();
            self.reach(&event)?;
            let graph = Graph { store: &self.engine.store, undecided: &self.undecided, recent: &self.recent };
            let receipt = receive(&event, &graph, self.outline.have(), &mut self.resolver)?;
            let counters = &self.engine.counters;
            let acceptance = match receipt {
                Receipt::Known => {
                    self.fill_body(&event)?;
                    MessageAcceptance::Ignore
                }
                Receipt::Held { missing } => {
                    add(&counters.held, 1);
                    let held = HeldEvent { id, missing: missing.clone(), event: WireEvent::of(&event) };
                    let gap = self.engine.gap(&self.room);
                    let outlined = gap == Some(Gap::PutOff) && event.header().lane == Lane::State;
                    let gap = gap.is_some();
                    // What is set free and waits again has been told of, and what is fetched of the past is no news.
                    let news = id == delivered && brought == Brought::AsNews;
                    let shown = gap && news && self.is_shown_ahead(&event)?;
                    if self.held.insert(event, missing, token) {
                        owed.hold.push(held);
                        owed.ahead.extend(shown.then_some(id));
                        owed.compare_with = owed.compare_with.or(from.filter(|_| outlined));
                    }
                    // What is below a gap comes from its beginning on, and not by asking for what is above it.
                    owed.repair_from = owed.repair_from.or(from).filter(|_| !gap);
                    continue;
                }
                Receipt::Dropped(misplaced) => {
                    add(&counters.dropped, 1);
                    tracing::debug!(room = %self.room, event = %id, reason = %misplaced, "dropped an event");
                    // Who brings what a held event waited for is not to blame for the held one.
                    ingested.refused += usize::from(id == delivered);
                    MessageAcceptance::Reject
                }
                Receipt::Rejected(refusal) => {
                    add(&counters.rejected, 1);
                    tracing::debug!(room = %self.room, event = %id, reason = %refusal, "rejected an event");
                    ingested.new += 1;
                    self.decide(event, Verdict::Rejected)?;
                    MessageAcceptance::Ignore
                }
                Receipt::Accepted { forks } => {
                    if forks {
                        tracing::warn!(room = %self.room, origin = %event.header().origin, event = %id,
                            "a server signed two events for one place of its chain");
                    }
                    add(&counters.accepted, 1);
                    ingested.new += 1;
                    self.decide(event, Verdict::Accepted)?;
                    MessageAcceptance::Accept
                }
            };
            owed.tokens.extend(token.map(|token| (token, acceptance)));
            for waiting in self.held.release(&id) {
                owed.release.push(waiting.event.id());
                work.push((waiting.event, waiting.token));
            }
        }
        Ok(())
    }

    fn decide(&mut self, event: Event, verdict: Verdict) -> Result<(), StoreError> {
        let id = event.id();
        self.outline.add(&event, verdict != Verdict::Rejected);
        self.recent.borrow_mut().insert(id, Node::of(&event));
        let changes = self.resolver.insert(&event);
        let verdict = if verdict == Verdict::Rejected { verdict } else { self.verdict(&event) };
        self.fresh.push(id);
        self.fresh_bytes += event.header_block().len() + event.body_block().map_or(0, <[u8]>::len);
        self.undecided.insert(id, StoredEvent { event, verdict });
        self.mind_bodies(&id)?;
        self.reconsider(&changes)
    }

    /// Reads the whole state graph where an event stands on what is older than the snapshot that the node began with.
    fn reach(&mut self, event: &Event) -> Result<(), StoreError> {
        if !self.resolver.is_partial() || self.resolver.can_judge(event) {
            return Ok(());
        }
        let graph = Graph { store: &self.engine.store, undecided: &self.undecided, recent: &self.recent };
        for id in &event.header().state_frontier {
            // What is not here is waited for, and what is of the wrong lane or room makes the event a misplaced one.
            if !graph.node(id)?.is_some_and(|node| node.lane == Lane::State && node.room == self.room) {
                return Ok(());
            }
        }
        let mut resolver = state_graph(&self.engine.store, &self.outline)?;
        for id in &self.fresh {
            if let Some(stored) = self.undecided.get(id) {
                resolver.insert(&stored.event);
            }
        }
        (self.resolver, self.snapshot_at) = (resolver, 0);
        Ok(())
    }

    /// Takes a snapshot of the state if many state events have come since the last one and there is a place for it.
    fn take_snapshot(&mut self) -> Result<(), StoreError> {
        if self.resolver.len() < self.snapshot_at + SNAPSHOT_EVERY {
            return Ok(());
        }
        let Some((cut, state)) = self.resolver.snapshot() else { return Ok(()) };
        let have = self.outline.have().lane_only(Lane::State);
        let snapshot = Snapshot { cut, have, pieces: state.to_pieces() };
        self.engine.store.put_snapshot(&self.room, &snapshot)?;
        self.snapshot_at = self.resolver.len();
        Ok(())
    }

    /// What an allowed event comes to by everything that is here now.
    fn verdict(&self, event: &Event) -> Verdict {
        let counts = match event.header().lane {
            Lane::State => !self.resolver.is_void(&event.id()),
            Lane::Timeline => self.resolver.shows(event),
        };
        if counts { Verdict::Accepted } else { Verdict::Withheld }
    }

    /// Looks again at what a state event may have changed the verdict of.
    fn reconsider(&mut self, changes: &Changes) -> Result<(), StoreError> {
        for id in &changes.state {
            self.review(id)?;
        }
        let everything: Vec<Reconsider> = match changes.everything {
            true => self.outline.origins().into_iter().map(|origin| Reconsider { origin, from_seq: 0 }).collect(),
            false => Vec::new(),
        };
        let timelines = if changes.everything { &everything } else { &changes.timelines };
        for timeline in timelines {
            let unwritten: Vec<EventId> = self
                .undecided
                .values()
                .filter(|stored| {
                    let header = stored.event.header();
                    header.origin == timeline.origin && header.lane == Lane::Timeline && header.seq >= timeline.from_seq
                })
                .map(|stored| stored.event.id())
                .collect();
            for id in unwritten {
                self.review(&id)?;
            }
            let mut start = ChainStart::At(timeline.from_seq);
            loop {
                let (origin, lane) = (timeline.origin, Lane::Timeline);
                let page = self.engine.store.chain_from(&self.room, origin, lane, start, REVIEWED)?;
                for (_, id) in &page {
                    self.review(id)?;
                }
                match page.last() {
                    Some((seq, id)) if page.len() == REVIEWED => start = ChainStart::After(*seq, *id),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    fn review(&mut self, id: &EventId) -> Result<(), StoreError> {
        let stored = self.stored(id)?;
        let Some(mut stored) = stored.filter(|stored| stored.verdict != Verdict::Rejected) else { return Ok(()) };
        self.reach(&stored.event)?;
        let verdict = self.verdict(&stored.event);
        if verdict != stored.verdict {
            stored.verdict = verdict;
            if let Some(stripped) = self.bodies.stripped.get_mut(id) {
                stripped.verdict = verdict;
            }
            match self.undecided.get_mut(id) {
                Some(unwritten) => *unwritten = stored.clone(),
                None => {
                    self.changed.insert(*id, stored.clone());
                }
            }
            self.mind_changed_verdict(&stored)?;
        }
        Ok(())
    }

    fn fill_body(&mut self, event: &Event) -> Result<(), StoreError> {
        if event.body_block().is_none() {
            return Ok(());
        }
        if let Some(unwritten) = self.undecided.get_mut(&event.id()) {
            let gone = self.bodies.marked.get(&event.id()).is_some_and(|marks| marks.gone());
            if !gone && unwritten.event.body_block().is_none() {
                unwritten.event = event.clone();
            }
            return Ok(());
        }
        match self.engine.store.event(&event.id())? {
            Some(stored) if stored.event.body_block().is_none() => {
                if self.bodies.marked.contains_key(&event.id()) || self.engine.store.marks(&event.id())?.gone() {
                    return Ok(());
                }
                let filled = StoredEvent { event: event.clone(), verdict: stored.verdict };
                self.filled = Some(self.engine.store.put_body(&filled)?);
                if let Some(changed) = self.changed.get_mut(&event.id()) {
                    changed.event = event.clone();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn author(&mut self, what: Authored) -> Result<Event, PostError> {
        let store = |error: StoreError| PostError::Store(Arc::new(error));
        let event = match what {
            Authored::Create(event) => event,
            Authored::Draft(_) if self.outline.have().is_empty() => return Err(PostError::UnknownRoom(self.room)),
            Authored::Draft(mut draft) => {
                let gap = self.engine.gap(&self.room).is_some();
                self.outline.sight(&mut draft);
                if gap {
                    self.sight_ahead(&mut draft)?;
                }
                let lane = if draft.state_key.is_some() { Lane::State } else { Lane::Timeline };
                let origin = self.engine.origin;
                let graph = Graph { store: &self.engine.store, undecided: &self.undecided, recent: &self.recent };
                let lamport = |id: &EventId| Ok(graph.node(id)?.map_or(0, |node| node.lamport));
                let placement = self.outline.placement(origin, lane, lamport).map_err(store)?;
                let after = if gap { self.sighted().map_err(store)? } else { Vec::new() };
                author_after(&self.engine.key, placement, draft, after)?
            }
        };
        self.reach(&event).map_err(store)?;
        let graph = Graph { store: &self.engine.store, undecided: &self.undecided, recent: &self.recent };
        match receive(&event, &graph, self.outline.have(), &mut self.resolver).map_err(store)? {
            Receipt::Accepted { .. } => {
                self.decide(event.clone(), Verdict::Accepted).map_err(store)?;
                Ok(event)
            }
            Receipt::Rejected(refusal) => Err(refusal.into()),
            Receipt::Dropped(Misplaced::Outsider) => Err(match (self.resolver.judge(&event), event.sender()) {
                (Some(Err(refusal)), _) => refusal,
                (_, Some(user)) => Refusal::NotAMember(user),
                (_, None) => Refusal::NoMember(event.header().origin),
            }
            .into()),
            other => {
                let reason = format!("the node's own event would be {other:?}");
                Err(store(StoreError::Damaged(reason)))
            }
        }
    }

    /// Writes the burst, flushes it, and then tells everybody.
    async fn settle(&mut self, result: Result<(), StoreError>, owed: Owed) {
        let written = match result {
            Ok(()) => self.write(&owed).await,
            Err(error) => Err(Arc::new(error)),
        };
        match written {
            Ok(news) => self.pay(owed, news).await,
            Err(error) => self.fail(owed, &error),
        }
    }

    /// Puts the burst on disk.
    async fn write(&mut self, owed: &Owed) -> Result<News, Arc<StoreError>> {
        let fresh = std::mem::take(&mut self.fresh);
        self.fresh_bytes = 0;
        let bodies = std::mem::take(&mut self.bodies);
        let ahead: Vec<EventId> = owed.ahead.iter().copied().filter(|id| self.held.contains(id)).collect();
        if let Some(position) = self.filled.take() {
            self.engine.committer.sync().await?;
            self.engine.mark_durable(position);
        }
        let held = !owed.hold.is_empty() || !owed.release.is_empty();
        if fresh.is_empty() && !held && bodies.is_empty() && !owed.participation {
            return Ok(News::default());
        }
        let mut undecided = std::mem::take(&mut self.undecided);
        let events: Vec<StoredEvent> = fresh.iter().filter_map(|id| undecided.remove(id)).collect();
        // Set free by one thing that it waited for, and waiting for another.
        let release: Vec<EventId> = owed.release.iter().copied().filter(|id| !self.held.contains(id)).collect();
        let changed: Vec<StoredEvent> = std::mem::take(&mut self.changed).into_values().collect();
        let marked: Vec<_> = bodies.marked.into_iter().collect();
        let stripped: Vec<StoredEvent> = bodies.stripped.into_values().collect();
        let batch = Batch {
            outline: &self.outline,
            participation: self.participation,
            events: &events,
            changed: &changed,
            hold: &owed.hold,
            release: &release,
            marked: &marked,
            stripped: &stripped,
            ahead: &ahead,
        };
        let last = self.engine.store.put(&batch).map_err(Arc::new)?;
        if bodies.wanted_again {
            sync::spread(self.engine.clone(), self.room);
        }
        if let Err(error) = self.take_snapshot() {
            // The room is no worse off without one.
            tracing::warn!(room = %self.room, %error, "a snapshot of the state was not written");
        }
        if events.is_empty() && stripped.is_empty() && ahead.is_empty() {
            return Ok(News::default());
        }
        self.engine.committer.sync().await?;
        add(&self.engine.counters.flushes, 1);
        self.engine.mark_durable(last);
        let first = last + 1 - (events.len() + changed.len() + stripped.len() + ahead.len()) as u64;
        Ok(News {
            positions: fresh.into_iter().zip(first..).collect(),
            state: events.iter().any(|stored| stored.event.header().lane == Lane::State),
            about: direct::servers_about(events.iter().map(|stored| &stored.event)),
            received: events.iter().any(|stored| owed.publish.iter().all(|own| own.id() != stored.event.id())),
        })
    }

    async fn pay(&mut self, owed: Owed, news: News) {
        let positions = &news.positions;
        if !positions.is_empty() {
            self.engine.followed.note_change(&self.room, self.resolver.current().filter(|_| news.state));
        }
        for (done, ingested) in owed.ingested {
            let _ = done.send(Ok(ingested));
        }
        let published: BTreeMap<EventId, Event> =
            owed.publish.iter().map(|event| (event.id(), event.clone())).collect();
        for (done, id) in owed.written {
            if let (Some(event), Some(position)) = (published.get(&id), positions.get(&id)) {
                let _ = done.send(Ok(Written { event: event.clone(), position: *position }));
            }
        }
        let mut unheard = false;
        if self.engine.followed.gossips(&self.room) {
            for event in &owed.publish {
                // The network's end is the node's; nothing is lost, since the event is on disk.
                unheard |= !self.engine.network.publish(event).await.unwrap_or(true);
            }
        } else if self.engine.follows(&self.room) {
            self.tell_members(&owed.publish, &news).await;
        }
        if news.state {
            self.tell_others(&news.about);
        }
        self.answer(owed.asked);
        for (token, acceptance) in owed.tokens {
            let _ = self.engine.network.validated(token, acceptance).await;
        }
        if unheard {
            sync::spread(self.engine.clone(), self.room);
        }
        self.mind_tips();
        self.mind_gap();
        if let Some(peer) = owed.compare_with {
            sync::look_soon(&self.engine, peer, self.room);
        }
        if let Some(peer) = owed.repair_from.filter(|_| !self.repairing && self.held.len() > 0) {
            self.repairing = true;
            sync::repair(self.engine.clone(), self.handle.clone(), self.room, peer);
        }
    }

    /// Brings what is not gossiped to the member servers.
    async fn tell_members(&mut self, own: &[Event], news: &News) {
        let Some(state) = self.resolver.current() else { return };
        if !own.is_empty() {
            direct::hand_over(&self.engine, self.room, state, own).await;
        }
        if news.state {
            let (engine, room) = (self.engine.clone(), self.room);
            self.engine.background(async move { engine.keep_company(room).await });
        }
        if news.received {
            direct::pass_on(&self.engine, self.room);
        }
    }

    /// Tells the servers that a change of the state concerns and that do not hear of it as members.
    fn tell_others(&mut self, about: &BTreeSet<Origin>) {
        let Some(after) = self.resolver.current().cloned() else { return };
        let before = self.told_state.replace(after.clone());
        if self.participation != Participation::Joined {
            return;
        }
        direct::mind_audience(&self.engine, self.room, before.as_ref(), &after, about);
        // Removed, and not by a word of one's own, which is to be handed over first.
        let own = self.engine.origin;
        let removed = before.is_some_and(|before| before.has_member(own)) && !after.has_member(own);
        if removed {
            let (engine, room) = (self.engine.clone(), self.room);
            self.engine.background(async move { engine.part(room).await });
        }
    }

    /// Tells whoever asked what the room is.
    fn answer(&self, asked: Vec<oneshot::Sender<Option<(Arc<RoomState>, usize)>>>) {
        if asked.is_empty() {
            return;
        }
        let state = self.resolver.current().cloned().map(|state| (Arc::new(state), self.held.len()));
        for asked in asked {
            let _ = asked.send(state.clone());
        }
    }

    /// The burst is lost: everybody is told so, and the room is read from the store again.
    fn fail(&mut self, owed: Owed, error: &Arc<StoreError>) {
        // A full disk is a state that passes, and the node's health shows it for as long as it lasts.
        if !matches!(**error, StoreError::Full { .. }) {
            add(&self.engine.counters.store_errors, 1);
        }
        tracing::warn!(room = %self.room, %error, "events were not written");
        for (done, _) in owed.ingested {
            let _ = done.send(Err(Arc::clone(error)));
        }
        for (done, _) in owed.written {
            let _ = done.send(Err(PostError::Store(Arc::clone(error))));
        }
        self.recent.get_mut().clear();
        self.undecided.clear();
        self.fresh.clear();
        self.fresh_bytes = 0;
        self.changed.clear();
        self.bodies = Bodies::default();
        match RoomTask::load(self.engine.clone(), self.room, self.handle.clone()) {
            Ok(loaded) => *self = RoomTask { repairing: self.repairing, merging: self.merging, ..loaded },
            Err(error) => {
                // With what it holds in memory it must not go on: part of that was never written.
                tracing::error!(room = %self.room, %error, "a room cannot be read from the store");
                self.lost = true;
                return;
            }
        }
        self.engine.followed.forget(&self.room);
        self.answer(owed.asked);
    }

    /// Whether a lane has more tips than it should have when things are quiet.
    fn is_frayed(&self, lane: Lane) -> bool {
        self.outline.tips(lane).len() > MERGE_ABOVE
    }

    /// Sees to it that too many tips are joined after a random while, unless somebody else does so before.
    fn mind_tips(&mut self) {
        let frayed = Lane::ALL.into_iter().any(|lane| self.is_frayed(lane));
        let servers = self.resolver.current().map_or(0, |state| state.servers().len());
        if !frayed || self.merging || self.participation != Participation::Joined {
            return;
        }
        self.merging = true;
        // The more servers there are, the longer the while, so that a few of them act and the others hear of it.
        let longest = MERGE_DELAY.as_millis() as u64 + 100 * servers as u64;
        let [a, b, ..] = random_16(&*self.engine.entropy);
        let delay = Duration::from_millis(u64::from(u16::from_be_bytes([a, b])) * longest / u64::from(u16::MAX));
        let (engine, room, handle) = (self.engine.clone(), self.room, self.handle.clone());
        self.engine.background(async move {
            tokio::time::sleep(delay).await;
            while let Err(error) = engine.find_own_chain(room).await {
                if matches!(error, PostError::Closed) {
                    return;
                }
                tokio::time::sleep(MERGE_DELAY).await;
            }
            let _ = handle.send(RoomCommand::Merge).await;
        });
    }

    fn merge(&mut self, owed: &mut Owed) {
        self.merging = false;
        for lane in Lane::ALL {
            if !self.is_frayed(lane) {
                continue;
            }
            let mut draft = self.engine.draft(None, &Content::Merge, None);
            if lane == Lane::Timeline {
                draft.state_key = None;
            }
            match self.author(Authored::Draft(draft)) {
                Ok(event) => {
                    add(&self.engine.counters.authored, 1);
                    owed.publish.push(event);
                }
                // A server without a member has nothing to join.
                Err(error) => tracing::debug!(room = %self.room, %error, "tips were not joined"),
            }
        }
    }

    fn blame(&self, from: Option<PeerId>, refused: usize) {
        let Some(peer) = from else { return };
        let network = self.engine.network.clone();
        self.engine.background(async move {
            let _ = network.count(peer, Count::EventsRefused(refused as u64)).await;
        });
    }
}

/// Everything that the store holds of a room's state graph.
fn state_graph(store: &EventStore, outline: &Outline) -> Result<Resolver, StoreError> {
    let mut resolver = Resolver::new();
    for event in state_events(store, outline, |_| 0)?.values() {
        resolver.insert(event);
    }
    Ok(resolver)
}

/// The resolver from the last snapshot on; none if there is no snapshot, or something that came later is older than it.
fn resumed(store: &EventStore, outline: &Outline) -> Result<Option<Resolver>, StoreError> {
    let Some(snapshot) = store.snapshot(&outline.room())? else { return Ok(None) };
    let Some(cut) = store.event(&snapshot.cut)?.map(|stored| stored.event) else { return Ok(None) };
    let Some(state) = RoomState::from_pieces(&snapshot.pieces) else { return Ok(None) };
    // With forks a number does not tell what was held.
    if snapshot.have.lanes().any(|(_, _, lane)| lane.forked()) {
        return Ok(None);
    }
    let mut resolver = Resolver::resume(&cut, state);
    let held = |origin| snapshot.have.lane(origin, Lane::State).map_or(0, |lane| lane.highest().0 + 1);
    let newer = state_events(store, outline, held)?;
    for event in newer.values() {
        if !resolver.can_judge(event) {
            return Ok(None);
        }
        resolver.insert(event);
    }
    // A branch beside what the snapshot held begins with a number that it held.
    let forked = outline.have().lanes().any(|(_, lane, held)| lane == Lane::State && held.forked());
    Ok(Some(resolver).filter(|_| !forked))
}

/// State events of a room in room order, of each server from some sequence number on.
fn state_events(
    store: &EventStore,
    outline: &Outline,
    from: impl Fn(Origin) -> u64,
) -> Result<BTreeMap<OrderKey, Event>, StoreError> {
    let mut events: BTreeMap<OrderKey, Event> = BTreeMap::new();
    for (origin, lane, _) in outline.have().lanes().filter(|(_, lane, _)| *lane == Lane::State) {
        let mut start = ChainStart::At(from(origin));
        loop {
            let page = store.chain_from(&outline.room(), origin, lane, start, REVIEWED)?;
            for (_, id) in &page {
                if let Some(stored) = store.event(id)? {
                    events.insert(stored.event.order(), stored.event);
                }
            }
            match page.last() {
                Some((seq, id)) if page.len() == REVIEWED => start = ChainStart::After(*seq, *id),
                _ => break,
            }
        }
    }
    Ok(events)
}

impl Engine {
    /// The room's task, started if need be.
    pub(super) fn room(&self, room: RoomId) -> RoomHandle {
        super::lock(&self.rooms).entry(room).or_insert_with(|| spawn(self.clone(), room)).clone()
    }

    /// Forgets a room's task, so that the next use starts it anew.
    pub(super) fn forget_room(&self, room: &RoomId) {
        super::lock(&self.rooms).remove(room);
    }

    pub(super) fn store(&self) -> &EventStore {
        &self.0.store
    }
}
