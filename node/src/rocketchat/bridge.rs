//! The bridge: rooms of the mesh and rooms of Rocket.Chat, kept the same.
//!
//! ```text
//!  realtime ──► dispatch ──► one queue a room ──► room task ──► room engine
//!                  │                                ▲   └─────► REST, as the shadow or the service account
//!                  └── direct rooms with the bot    └── feed: the local log, by position, each room's own part
//! ```
//!
//! One task for each federated room does everything in it, one thing after the other, in both directions: nothing that it knows of the
//! room can change under its hands. A queue that is full is no loss: the room is marked as behind, takes nothing more, and catches
//! up over REST as after a new connection. What stands in the way of one room delays no other.

mod attached;
mod catching_up;
mod company;
mod compare;
mod deletions;
mod direct;
mod ears;
mod ephemeral;
mod explain;
mod federate;
mod feed;
mod files;
mod finding;
mod health;
mod inward;
mod members;
mod messages;
mod opening;
mod outward;
mod people;
mod places;
mod privacy;
mod profiles;
mod queue;
mod restored;
mod room;
mod run;
mod settings;
mod unwelcome;
mod view;
mod webhook;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocketmesh_protocol::id::RoomId;
use rocketmesh_storage::StoreError;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::client::{Client, Message, Release, RestError, User};
use super::realtime::{Change, ClosedReason, RealtimeEvent, RealtimeHandle};
use super::records::{Changes, Federated, Records};
use super::status::{BridgedRoom, Counted, Notices, ProblemKind, QueueView};
use crate::engine::{Engine, JoinError, PostError};
use crate::network::shut_down;

use ephemeral::Sign;
use profiles::{Look, Looks};

pub(crate) use federate::FederateError;
pub(crate) use queue::{LetterError, dismiss as dismiss_letter, queue_view, retry as retry_letters};
pub(crate) use run::{Current, spawn};
pub(crate) use webhook::WebhookError;

/// What may wait for a room before it is behind and catches up instead.
const QUEUE: usize = 256;
/// How long a room rests after something failed for no reason that says how long.
const REST: Duration = Duration::from_secs(5);
/// How long after a full stop: a workspace that takes nothing, a token that is not accepted.
const LONG_REST: Duration = Duration::from_secs(30);
/// For how long everything that is heard has to be taken at once after events came too fast, until that is over.
const OVERRUN: Duration = Duration::from_secs(5);

/// What the bridge needs of the connector around it.
pub(crate) trait Host: Send + Sync + 'static {
    /// The token of an account that stands for somebody; none if there is none yet.
    fn token(&self, user_id: &str) -> Option<String>;
    /// Keeps such a token where secrets are kept; none to forget it.
    ///
    /// # Errors
    /// Why not, in words.
    fn keep_token(&self, user_id: &str, token: Option<&str>) -> Result<(), String>;
    /// The address of the incoming webhook of a room, if an administrator has given one.
    fn webhook(&self, rid: &str) -> Option<String>;
    /// Keeps such an address where secrets are kept; none to forget it.
    ///
    /// # Errors
    /// Why not, in words.
    fn keep_webhook(&self, rid: &str, address: Option<&str>) -> Result<(), String>;
    /// Of which release the server is.
    fn release(&self, release: Release);
    /// Something stands in the way of a room, or of all with none.
    fn trouble(&self, rid: Option<&str>, error: &RestError);
    /// Something is wrong.
    fn raise(&self, kind: ProblemKind, subject: Option<&str>, words: &str);
    /// Something is well again.
    fn clear(&self, kind: ProblemKind, subject: Option<&str>);
    /// Nothing stands in the way of a room any more, but for what is named.
    fn calm(&self, rid: &str, but: Option<ProblemKind>);
    /// What happens is heard as it happens, or it is not.
    fn hears(&self, hears: bool);
    /// Counts something.
    fn count(&self, what: Counted);
    /// How a room does.
    fn room(&self, room: BridgedRoom);
    /// A room is federated no longer.
    fn forget_room(&self, rid: &str);
    /// What waits, what could not be delivered, and what is wrong by that.
    fn queue(&self, queue: QueueView, notices: &Notices);
}

/// Why something waits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stall {
    /// Rocket.Chat did not do it.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// The room engine did not.
    #[error(transparent)]
    Post(#[from] PostError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// A room could not be entered yet.
    #[error(transparent)]
    Join(JoinError),
    /// Something else, in words: a secret that could not be kept, an address.
    #[error("{0}")]
    Words(String),
    /// The room is not there any more, or the service account is not in it.
    #[error("the room is gone in Rocket.Chat, or the service account is no longer in it")]
    Gone,
    /// The token of an account that stands for somebody is not accepted any more; it logs in once again.
    #[error("the token of {0} is not accepted any more; it logs in again")]
    Token(String),
    /// An account that stands for somebody cannot log in.
    #[error("{username} cannot log in: the account was deactivated, deleted, or has another password")]
    Shadow {
        /// The account.
        username: String,
    },
    /// The room has its share of what could not be delivered.
    #[error("more could not be delivered here than is kept of a room, so that the room waits")]
    Full,
    /// The workspace is restricted, and the room's webhook does not help.
    #[error("the workspace is restricted, and the room's webhook does not take it either: {0}")]
    Hook(RestError),
}

impl From<StoreError> for Stall {
    fn from(error: StoreError) -> Self {
        Stall::Store(Arc::new(error))
    }
}

impl Stall {
    /// How long to wait before the next attempt.
    fn rest(&self, now_ms: u64) -> Duration {
        match self {
            Stall::Rest(RestError::RateLimited { until_ms }) => {
                Duration::from_millis(until_ms.saturating_sub(now_ms)).clamp(Duration::from_millis(200), LONG_REST * 4)
            }
            Stall::Rest(RestError::Restricted | RestError::Unauthorized)
            | Stall::Hook(_)
            | Stall::Shadow { .. }
            | Stall::Gone
            | Stall::Full => LONG_REST,
            Stall::Post(PostError::CatchingUp) | Stall::Token(_) => Duration::from_secs(1),
            _ => REST,
        }
    }
}

/// What the bridge is made of.
pub(crate) struct BridgeParts {
    /// The room engine.
    pub(crate) engine: Engine,
    /// The server, as the service account.
    pub(crate) client: Client,
    /// The service account.
    pub(crate) service: User,
    /// The server's release.
    pub(crate) release: Release,
    /// The address under which people open it; none if that is the client's.
    pub(crate) site_url: Option<String>,
    /// What is heard of it.
    pub(crate) realtime: (RealtimeHandle, mpsc::Receiver<RealtimeEvent>),
    /// The connector.
    pub(crate) host: Arc<dyn Host>,
    /// When the store was first opened after a restore, in milliseconds since 1970; 0 if it was not restored.
    pub(crate) restored_ms: u64,
}

/// The bridge. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bridge(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    client: Client,
    service: User,
    /// The server's release, as it was last told.
    release: Mutex<Release>,
    /// The server's address without a slash at its end, as links begin.
    url: String,
    records: Records,
    host: Arc<dyn Host>,
    realtime: RealtimeHandle,
    rooms: Mutex<BTreeMap<String, RoomHandle>>,
    /// One account is met or made at a time: two tasks would make two for one user.
    meeting: tokio::sync::Mutex<()>,
    /// One room is federated at a time.
    federating: tokio::sync::Mutex<()>,
    /// One room is compared at a time.
    looking: tokio::sync::Mutex<()>,
    /// Connections as accounts that stand for somebody, for direct rooms of two.
    ears: ears::Ears,
    /// When the token of an account that stands for somebody was last refused, in milliseconds since 1970.
    refusals: Mutex<BTreeMap<String, u64>>,
    /// When such an account could last not log in, in milliseconds since 1970.
    barred: Mutex<BTreeMap<String, u64>>,
    /// When the service account was last not allowed to make an account, in milliseconds since 1970.
    unmade: Mutex<Option<u64>>,
    /// When the store was first opened after a restore, in milliseconds since 1970; 0 if it was not restored.
    restored_ms: u64,
    stopped: watch::Sender<bool>,
    /// What is over in a moment, and whose name or picture may have changed: both have a task beside those of the rooms.
    signs: mpsc::Sender<Sign>,
    looks: Looks,
    /// What the log says, for each room.
    feed: Arc<feed::Feed>,
    /// What waits has changed, and is shown soon.
    telling: Notify,
    /// The last questions that the bot was asked.
    asked: Mutex<VecDeque<String>>,
}

impl std::ops::Deref for Bridge {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What a room's task is told.
#[derive(Debug)]
enum Heard {
    /// A message, whole.
    Message(Box<Message>),
    /// Messages that are gone.
    Deleted(Vec<String>),
    /// Something may have been missed.
    CatchUp,
    /// Deletions are heard from here on: what was deleted before may have been missed.
    Unheard,
    /// A direct room that is another room of the mesh too.
    Also(RoomId),
}

/// How a room is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomReport {
    /// What stands in the way, in words.
    pub(crate) problem: Option<String>,
    /// What waits to be taken from Rocket.Chat, and to be told there.
    pub(crate) waiting: usize,
    /// What of it waits to be told there.
    pub(crate) undelivered: usize,
    /// When the oldest of that was made, in milliseconds since 1970.
    pub(crate) oldest_ms: Option<u64>,
    /// The account that cannot log in, if that is what stands in the way.
    pub(crate) barred: Option<String>,
}

#[derive(Clone)]
struct RoomHandle {
    sender: mpsc::Sender<Heard>,
    /// Whether something did not fit, so that nothing more is taken before the room has caught up.
    behind: Arc<AtomicBool>,
    /// Whether the room is gone in Rocket.Chat, or the service account is not in it.
    gone: Arc<AtomicBool>,
    /// Something may have been mended: what waits is tried again at once.
    again: Arc<Notify>,
    report: Arc<Mutex<RoomReport>>,
    /// Whether what is deleted is heard as it happens.
    hearing: Arc<deletions::Hearing>,
    /// Ends the task.
    end: watch::Sender<bool>,
    /// Whether it is read as an account that stands for somebody, which has a connection of its own.
    read_as_another: bool,
    /// The moment of the last message for which such a room was told to catch up, in milliseconds since 1970 by the server's clock.
    told_ms: Arc<AtomicU64>,
}

impl RoomHandle {
    fn offer(&self, heard: Heard) {
        if self.behind.load(Ordering::SeqCst) || self.sender.try_send(heard).is_err() {
            self.behind.store(true, Ordering::SeqCst);
        }
    }
}

/// A federated room, for people to see.
#[derive(Clone, Debug)]
pub(crate) struct RoomStatus {
    /// The room's id in Rocket.Chat.
    pub(crate) rid: String,
    /// What is recorded of it.
    pub(crate) federated: Federated,
    /// How it is doing.
    pub(crate) report: RoomReport,
}

/// Locks, also after a panic elsewhere: what is behind these locks is changed in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bridge {
    /// Begins to keep rooms the same. Each begins with what it missed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn start(parts: BridgeParts) -> Result<Self, StoreError> {
        let BridgeParts { engine, client, service, release, site_url, realtime: (realtime, events), host, restored_ms } =
            parts;
        let url = site_url.unwrap_or_else(|| client.address().as_str().trim_end_matches('/').to_owned());
        let (signs, heard_signs) = mpsc::channel(ephemeral::WAITING);
        let (looks, heard_looks) = Looks::channel();
        let records = Records::new(engine.store.clone());
        let rooms = records.rooms()?;
        let begins = feed::Feed::begins(rooms.iter().map(|(_, federated)| federated.log), *engine.durable().borrow());
        let bridge = Bridge(Arc::new(Shared {
            signs,
            looks,
            feed: Arc::new(feed::Feed::new(begins)),
            telling: Notify::new(),
            asked: Mutex::default(),
            records,
            engine,
            client,
            service,
            release: Mutex::new(release),
            url,
            host,
            realtime,
            rooms: Mutex::default(),
            meeting: tokio::sync::Mutex::default(),
            federating: tokio::sync::Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            ears: ears::Ears::default(),
            refusals: Mutex::default(),
            barred: Mutex::default(),
            unmade: Mutex::default(),
            restored_ms,
            stopped: watch::channel(false).0,
        }));
        for (rid, federated) in rooms {
            bridge.open(rid, federated);
        }
        bridge.engine.background(bridge.clone().feed_rooms());
        bridge.engine.background(bridge.clone().keep_telling());
        bridge.engine.background(bridge.clone().go_on_opening());
        let own = bridge.clone();
        bridge.engine.background(async move { own.dispatch(events).await });
        let own = bridge.clone();
        bridge.engine.background(async move { own.watch_invitations().await });
        bridge.engine.background(bridge.clone().pass_signs(heard_signs));
        bridge.engine.background(bridge.clone().keep_profiles(heard_looks));
        let own = bridge.clone();
        bridge.engine.background(async move { own.watch_directs().await });
        bridge.tell_queue();
        Ok(bridge)
    }

    /// Ends every task of the bridge.
    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
        self.ears.close_all();
        lock(&self.rooms).clear();
    }

    /// Every federated room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn rooms(&self) -> Result<Vec<RoomStatus>, StoreError> {
        let open = lock(&self.rooms);
        let status = |(rid, federated): (String, Federated)| {
            let report = open.get(&rid).map(|handle| lock(&handle.report).clone()).unwrap_or_default();
            RoomStatus { rid, federated, report }
        };
        Ok(self.records.rooms()?.into_iter().map(status).collect())
    }

    /// Begins to keep one room the same.
    fn open(&self, rid: String, federated: Federated) {
        if let Some(reader) = &federated.reader {
            self.listen_as(reader, &rid);
        } else if self.realtime.watch_room_since(&rid, federated.heard_ms).is_err() {
            tracing::warn!(%rid, "more rooms are federated than can be listened to; deletions here come every ten minutes");
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let handle = RoomHandle {
            sender,
            behind: Arc::default(),
            gone: Arc::default(),
            again: Arc::default(),
            report: Arc::default(),
            hearing: Arc::default(),
            end: watch::channel(false).0,
            read_as_another: federated.reader.is_some(),
            told_ms: Arc::default(),
        };
        let Some(task) = room::RoomTask::new(self.clone(), rid.clone(), federated, &handle) else {
            tracing::error!(%rid, "the record of a federated room cannot be read; federate it again");
            return;
        };
        let mut ends = [handle.end.subscribe(), self.stopped.subscribe()];
        self.looks.at(Look::Room(rid.clone()));
        lock(&self.rooms).insert(rid, handle);
        self.engine.background(async move {
            let [end, stopped] = &mut ends;
            tokio::select! {
                () = task.run(receiver) => {}
                () = shut_down(end) => {}
                () = shut_down(stopped) => {}
            }
        });
    }

    /// Keeps one room the same no longer.
    fn close(&self, rid: &str) {
        if let Some(handle) = lock(&self.rooms).remove(rid) {
            handle.end.send_replace(true);
        }
        self.realtime.unwatch_room(rid);
        self.ears.forget(rid);
    }

    async fn dispatch(&self, mut events: mpsc::Receiver<RealtimeEvent>) {
        let mut stopped = self.stopped.subscribe();
        let mut overrun_until = None;
        loop {
            let event = tokio::select! {
                biased;
                () = shut_down(&mut stopped) => None,
                event = events.recv() => event,
                () = sleep_until(overrun_until.unwrap_or_else(Instant::now)), if overrun_until.is_some() => {
                    overrun_until = None;
                    self.kept_up();
                    continue;
                }
            };
            let Some(event) = event else { return };
            if matches!(event, RealtimeEvent::Closed { reason: ClosedReason::Overrun }) {
                overrun_until = Some(Instant::now() + OVERRUN);
            }
            self.take(event).await;
        }
    }

    async fn take(&self, event: RealtimeEvent) {
        let to = |rid: &str, heard: Heard| {
            if let Some(handle) = lock(&self.rooms).get(rid) {
                handle.offer(heard);
            }
        };
        match event {
            RealtimeEvent::Connected => {
                self.host.count(Counted::Connection);
                self.host.hears(true);
                // It may have gone away to be upgraded.
                self.engine.background(self.clone().look_at_release());
                self.look_for_rooms().await;
                let rooms: Vec<RoomHandle> =
                    lock(&self.rooms).values().filter(|handle| !handle.read_as_another).cloned().collect();
                rooms.iter().for_each(|handle| handle.offer(Heard::CatchUp));
                self.looks.at(Look::Everybody);
                self.nudge();
            }
            RealtimeEvent::Message { message, room } => {
                let federated = lock(&self.rooms).contains_key(&message.rid);
                if federated {
                    to(&message.rid.clone(), Heard::Message(message));
                } else if room.kind == "d" && message.system().is_none() && message.u.id != self.service.id {
                    self.asked(*message);
                }
            }
            RealtimeEvent::MessageDeleted { rid, id } => to(&rid, Heard::Deleted(vec![id])),
            // Without a list the catching up finds out.
            RealtimeEvent::BulkDeleted { rid, ids } if ids.is_empty() => to(&rid, Heard::CatchUp),
            RealtimeEvent::BulkDeleted { rid, ids } => to(&rid, Heard::Deleted(ids)),
            RealtimeEvent::NameChanged { user_id, username, .. } => {
                if let Some(username) = username
                    && let Err(error) = self.renamed(&user_id, &username).await
                {
                    tracing::warn!(%error, "a new name was not recorded");
                }
                self.looks.at(Look::Account(user_id));
            }
            RealtimeEvent::AvatarChanged { username, .. } => self.looks.at(Look::Named(username)),
            // Dropped where there is too much of it.
            RealtimeEvent::UserActivity { rid, username, activities } => {
                let _ = self.signs.try_send(Sign::Activity { rid, username, activities });
            }
            RealtimeEvent::UserStatus { user_id, status, .. } => {
                let _ = self.signs.try_send(Sign::Status { user_id, status });
            }
            RealtimeEvent::RoomsChanged { change: Change::Removed, room } => {
                self.set_gone(&room.id, true);
            }
            RealtimeEvent::SubscriptionsChanged { change, subscription } => {
                // A ban keeps the subscription, and says so in it.
                self.set_gone(&subscription.rid, change == Change::Removed || subscription.status.is_some());
            }
            RealtimeEvent::Watched { rid, whole } => {
                self.hears_deletions(&rid, whole);
            }
            RealtimeEvent::WatchRefused { rid } => self.is_deaf(Some(&rid)),
            RealtimeEvent::Closed { reason } => {
                self.is_deaf(None);
                self.closed(&reason);
            }
            RealtimeEvent::RoomsChanged { .. } | RealtimeEvent::UserDeleted { .. } => {}
        }
    }

    /// The server's release, as it was last told.
    fn release(&self) -> Release {
        *lock(&self.release)
    }

    /// Asks of which release the server is. Without an answer it is what it was before.
    async fn look_at_release(self) {
        let Ok(release) = self.client.info().await else { return };
        // What another server is may have been told meanwhile.
        if *self.stopped.borrow() {
            return;
        }
        *lock(&self.release) = release;
        self.host.release(release);
    }

    /// Makes changes of records durable.
    async fn save(&self, changes: &Changes) -> Result<(), Stall> {
        Ok(self.engine.save_records(changes.list()).await?)
    }
}
