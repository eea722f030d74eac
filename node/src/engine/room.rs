//! One room's task: everything that changes the room goes through it, in bursts that share one batch and one flush.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use libp2p::gossipsub::MessageAcceptance;
use libp2p::identity::PeerId;
use rocketmesh_protocol::access::readable_at;
use rocketmesh_protocol::authority::{Refusal, RoomState};
use rocketmesh_protocol::event::{Event, Lane, RoomVersion, UnverifiedEvent, author_after};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::receipt::{Misplaced, Receipt, RoomGraph, receive};
use rocketmesh_protocol::resolution::Resolver;
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::{EventStore, HeldEvent, LogPosition, Participation, StoreError, StoredEvent, Verdict};
use tokio::sync::mpsc;

mod ahead;
mod command;
mod erasure;
mod settle;
mod state;
mod tips;
mod verdicts;

use super::graph::{Graph, Recent};
use super::held::Held;
use super::history::Gap;
use super::{Engine, add};
use crate::network::{Count, GossipToken};
pub(crate) use command::Ingested;
pub(super) use command::{Authored, Brought, RoomCommand, RoomHandle};
pub use command::{PostError, Written};
use erasure::Bodies;
use settle::Owed;
use state::{resumed, state_graph};

/// Commands that may wait for a room. Users wait for room in it; gossip does not, and is repaired by sync.
const COMMANDS: usize = 256;
/// The most commands that share one flush.
const BURST_COMMANDS: usize = 256;
/// The most events that share one flush.
const BURST_EVENTS: usize = 2048;
/// The most bytes that share one flush, but for one command that has more: what is lost with the power stays small.
const BURST_BYTES: usize = 512 * 1024;
/// Events that are read at a time where verdicts are reconsidered, and where a state graph is read.
const REVIEWED: usize = 1024;

pub(super) fn spawn(engine: Engine, room: RoomId) -> RoomHandle {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let handle = RoomHandle(sender);
    tokio::spawn(run(engine, room, commands, handle.clone()));
    handle
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

    fn blame(&self, from: Option<PeerId>, refused: usize) {
        let Some(peer) = from else { return };
        let network = self.engine.network.clone();
        self.engine.background(async move {
            let _ = network.count(peer, Count::EventsRefused(refused as u64)).await;
        });
    }
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
