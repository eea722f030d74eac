//! The room engine: drives the pure protocol, and is the only writer of the store.
//!
//! ```text
//!   network ── Event ──► intake ── verified events ──► room task ── one atomic batch ──► store
//!   API ───── create, join, post ────────────────────►  (one per room)  then flush, then:
//!                                                          ├── reply to the user
//!                                                          ├── gossip, or pass gossip on
//!                                                          └── move the durable end of the local log
//!   sync: compare digests on every new connection and once a minute; bring what is missing; fetch by id
//!   serve: answer the same questions of others, each server in its turn
//!   ephemeral: who types, who is there; beside all this, and never in the store
//!   files: fetch what messages name, range by range, and send it to others
//! ```
//!
//! One room, one owner: each room's state is written by its own task, so a slow or hostile room delays no other. An event is
//! on disk before it is gossiped, before the API says that it was accepted, and before anybody who follows the log sees it.

mod commit;
mod direct;
pub(crate) mod ephemeral;
pub(crate) mod files;
mod followed;
mod graph;
mod held;
pub(crate) mod history;
pub(crate) mod import;
mod intake;
pub(crate) mod invitations;
pub(crate) mod names;
pub mod policy;
mod retention;
mod room;
mod rooms;
mod serve;
mod sync;
mod turns;
pub(crate) mod verify;

pub use files::{FetchError, ReceiveError};
pub use history::rooms_with_gaps;
pub use room::{PostError, Written};
pub use rooms::JoinError;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::identity::PeerId;
use prometheus_client::metrics::counter::Counter;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Origin, ServerKey, ServerName};
use rocketmesh_storage::{EventStore, LogPosition};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::clock::{Clock, Entropy};
use crate::config::HistoryMode;
use crate::network::{Event, IncomingRequest, NetworkHandle};
use crate::tuning::Tuning;
use commit::Committer;
use direct::Outbox;
use ephemeral::Signals;
use files::FileWork;
use followed::Followed;
use history::Gaps;
use invitations::Invitations;
use names::NameBook;
use policy::PolicyBook;
use room::{Ingested, RoomHandle};
use sync::Syncing;
use turns::Turns;

/// Pulls of whole vectors that may be under way at once: each holds one response of up to 4 MiB.
const PULLS: usize = 8;

/// How long a shutdown waits for the engine's tasks.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(5);

/// The engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine(Arc<Shared>);

/// What the engine is made of.
pub(crate) struct EngineParts {
    pub(crate) key: ServerKey,
    pub(crate) store: EventStore,
    pub(crate) network: NetworkHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) policy: PolicyBook,
    pub(crate) name: Option<ServerName>,
    pub(crate) tuning: Tuning,
    pub(crate) bootstrap: BTreeSet<PeerId>,
    /// The largest file that is fetched without anybody asking for it, in bytes.
    pub(crate) fetch_up_to: u64,
    /// When the older history of rooms is fetched that are joined without it.
    pub(crate) history: HistoryMode,
    pub(crate) shutdown: watch::Receiver<bool>,
}

pub(crate) struct Shared {
    pub(crate) key: ServerKey,
    pub(crate) origin: Origin,
    pub(crate) store: EventStore,
    pub(crate) network: NetworkHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) policy: PolicyBook,
    pub(crate) names: NameBook,
    pub(crate) counters: Counters,
    pub(crate) tuning: Tuning,
    /// Whom the configuration says to stay connected to.
    pub(crate) bootstrap: BTreeSet<PeerId>,
    committer: Committer,
    rooms: Mutex<BTreeMap<RoomId, RoomHandle>>,
    followed: Followed,
    gaps: Gaps,
    outbox: Outbox,
    signals: Signals,
    invitations: Invitations,
    /// Everything up to this position survives a loss of power.
    durable: watch::Sender<LogPosition>,
    pulling: Mutex<BTreeSet<(PeerId, RoomId)>>,
    syncing: Syncing,
    /// The last of the missing bodies of a room that a peer was asked for.
    asked_bodies: Mutex<BTreeMap<(PeerId, RoomId), EventId>>,
    /// When the engine began.
    started: Instant,
    /// Rooms in which this node has asked since its start for what it said there before.
    found_own: Mutex<BTreeSet<RoomId>>,
    pulls: Semaphore,
    /// Requests of others.
    turns: Mutex<Turns<PeerId, IncomingRequest>>,
    files: FileWork,
    shutdown: watch::Receiver<bool>,
}

/// What the engine counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) rejected: Counter,
    pub(crate) held: Counter,
    pub(crate) dropped: Counter,
    pub(crate) authored: Counter,
    pub(crate) flushes: Counter,
    pub(crate) pulled: Counter,
    pub(crate) served: Counter,
    pub(crate) requests_refused: Counter,
    pub(crate) slices_served: Counter,
    pub(crate) slices_received: Counter,
    pub(crate) slices_refused: Counter,
    pub(crate) store_errors: Counter,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Counter, count: usize) {
    counter.inc_by(count as u64);
}

/// Locks, also after a panic elsewhere: what is behind these locks is changed in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::ops::Deref for Engine {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Engine {
    /// Spawns the engine's tasks and follows the rooms that this node takes part in.
    pub(crate) async fn start(
        parts: EngineParts,
        events: mpsc::Receiver<Event>,
    ) -> Result<Self, rocketmesh_storage::StoreError> {
        let EngineParts { key, store, network, clock, entropy, policy, name, .. } = parts;
        let EngineParts { tuning, bootstrap, fetch_up_to, history, shutdown, .. } = parts;
        let gaps = Gaps::load(history, &store)?;
        let engine = Engine(Arc::new(Shared {
            origin: key.origin(),
            names: NameBook::new(key.origin(), name),
            tuning,
            bootstrap,
            committer: Committer::spawn(store.clone()),
            durable: watch::channel(store.log_end()).0,
            key,
            store,
            network,
            clock,
            entropy,
            policy,
            counters: Counters::default(),
            rooms: Mutex::default(),
            followed: Followed::default(),
            gaps,
            outbox: Outbox::default(),
            signals: Signals::default(),
            invitations: Invitations::default(),
            pulling: Mutex::default(),
            syncing: Syncing::new(tuning.compare_every),
            asked_bodies: Mutex::default(),
            started: Instant::now(),
            found_own: Mutex::default(),
            pulls: Semaphore::new(PULLS),
            turns: Mutex::default(),
            files: FileWork::new(fetch_up_to),
            shutdown,
        }));
        engine.follow_stored_rooms().await?;
        invitations::resume(&engine).await;
        engine.fill_gaps();
        tokio::spawn(intake::run(engine.clone(), events));
        tokio::spawn(sync::run(engine.clone()));
        tokio::spawn(sync::keep_company(engine.clone()));
        tokio::spawn(retention::run(engine.clone()));
        tokio::spawn(files::want::run(engine.clone()));
        Ok(engine)
    }

    /// Runs a task in the background until it is done or the node shuts down, so that no task keeps the store open.
    pub(crate) fn background(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut shutdown = self.shutdown();
        tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                () = crate::network::shut_down(&mut shutdown) => {}
            }
        });
    }

    /// The durable end of the local log, as it moves.
    pub(crate) fn durable(&self) -> watch::Receiver<LogPosition> {
        self.durable.subscribe()
    }

    /// Takes in wire bytes as an answer of a peer would bring them, and waits until they are durable.
    pub(crate) async fn ingest_wire(
        &self,
        room: RoomId,
        events: Vec<rocketmesh_protocol::wire::WireEvent>,
    ) -> Result<Ingested, PostError> {
        let (events, unsound) = intake::open_all(self, room, events).await;
        let ingested = self.room(room).ingest(events, None).await?;
        Ok(Ingested { refused: ingested.refused + unsound, ..ingested })
    }

    /// Waits, for a moment, until every task has let go of the store, and closes it.
    pub(crate) async fn close(self) {
        let pause = || tokio::time::sleep(std::time::Duration::from_millis(2));
        let deadline = tokio::time::Instant::now() + CLOSING;
        let store = self.store.clone();
        lock(&self.rooms).clear();
        let last = std::sync::Arc::downgrade(&self.0);
        drop(self);
        while (last.strong_count() > 0 || !store.is_last_handle()) && tokio::time::Instant::now() < deadline {
            pause().await;
        }
        // Closing sled takes a flush.
        if store.sync_blocks() {
            let _ = tokio::task::spawn_blocking(move || drop(store)).await;
        }
    }

    pub(crate) fn shutdown(&self) -> watch::Receiver<bool> {
        self.shutdown.clone()
    }
}

impl Shared {
    fn mark_durable(&self, position: LogPosition) {
        self.durable.send_if_modified(|durable| {
            let moved = position > *durable;
            *durable = position.max(*durable);
            moved
        });
    }

    /// Writes a setting and flushes it.
    pub(crate) async fn save_setting(
        &self,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<(), Arc<rocketmesh_storage::StoreError>> {
        self.store.put_setting(name, value).map_err(Arc::new)?;
        self.committer.sync().await
    }

    /// Changes records of whoever stands beside the engine, together, and flushes them.
    pub(crate) async fn save_records(
        &self,
        changes: &[rocketmesh_storage::RecordChange],
    ) -> Result<(), Arc<rocketmesh_storage::StoreError>> {
        if changes.is_empty() {
            return Ok(());
        }
        self.store.put_records(changes).map_err(Arc::new)?;
        self.committer.sync().await
    }
}
