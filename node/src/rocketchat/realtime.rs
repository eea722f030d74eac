//! What happens at Rocket.Chat, as it happens: DDP over a websocket, as the service account.
//!
//! ```text
//!  watch_room ──► Watched ──┐
//!                           ▼
//!              run: connect ─► log in ─► subscribe, paced ─► hear ──RealtimeEvent──► bridge (bounded)
//!                ▲                                             │
//!                └────────── wait, longer each time ◄── closed ┘
//! ```
//!
//! Connections end, and what happens meanwhile is not told again. So every connection is announced, when it hears messages:
//! [`RealtimeEvent::Connected`] means *from here on nothing is missing, before it something may be*, and the bridge catches up
//! over REST. That makes the answer to a full channel simple too: the connection is closed, and the next one begins with a
//! `Connected`, once there is room for it.

mod frames;
mod pace;
mod session;
mod streams;
mod typing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use crate::rocketchat::client::{Account, Message, Room, Subscription};

use self::session::{Ended, Session};
pub(crate) use self::typing::Typing;

/// The most events that wait for the bridge.
pub(crate) const MAX_WAITING: usize = 1024;
/// The most rooms that are watched. At the pace that Rocket.Chat allows, their streams take two hours to open; what is
/// deleted until then is asked for when they are.
pub(crate) const MAX_WATCHED: usize = 2048;
/// The most rooms of which it is noted that they are watched, or no longer, before the connection looks. With more it begins anew.
const MAX_CHANGED: usize = 2 * MAX_WATCHED;
/// How long the whole way to a connection that hears may take, before its first room.
const CONNECT: Duration = Duration::from_secs(30);

/// What differs between the daemon and tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealtimeTuning {
    /// The pause before the second attempt; each further one waits twice as long.
    pub(crate) first_wait: Duration,
    /// The longest pause.
    pub(crate) longest_wait: Duration,
    /// After so much silence the server is asked whether it is there, and after as much again it is not. A real one closes
    /// after about thirty seconds of silence itself.
    pub(crate) silence: Duration,
    /// So many subscriptions of one stream …
    pub(crate) subscriptions: usize,
    /// … in so much time. Rocket.Chat allows 40 in 40 s.
    pub(crate) window: Duration,
}

impl Default for RealtimeTuning {
    fn default() -> Self {
        RealtimeTuning {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            silence: Duration::from_secs(20),
            subscriptions: 36,
            window: Duration::from_secs(41),
        }
    }
}

/// What a message comes with: in which kind of room it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoomMeta {
    /// Rocket.Chat's letter for the kind of room.
    pub(crate) kind: String,
    /// The room's name, if it has one.
    pub(crate) name: Option<String>,
}

/// A change of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new.
    Inserted,
    /// It is different.
    Updated,
    /// It is gone, or the account may no longer see it.
    Removed,
}

/// What is heard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RealtimeEvent {
    /// A new connection hears messages from here on: catch up.
    Connected,
    /// A message in a room of the service account: new, edited, reacted to, replied to, or with a preview. Always whole.
    Message {
        /// The message.
        message: Box<Message>,
        /// Its room.
        room: RoomMeta,
    },
    /// A message is gone.
    MessageDeleted {
        /// The room.
        rid: String,
        /// The message.
        id: String,
    },
    /// Many messages are gone, by an administrator's clearing. When `ids` is empty, re-read those known to be in the room.
    BulkDeleted {
        /// The room.
        rid: String,
        /// The messages, if the server says which.
        ids: Vec<String>,
    },
    /// What somebody does in a room: `user-typing`, `user-recording`, `user-uploading`; with none they stopped.
    UserActivity {
        /// The room.
        rid: String,
        /// Who, by username (by name where the server shows real names).
        username: String,
        /// What.
        activities: Vec<String>,
    },
    /// The service account entered, left or changed its role in a room.
    SubscriptionsChanged {
        /// How.
        change: Change,
        /// As it is or was. When it is gone perhaps only its ids.
        subscription: Box<Subscription>,
    },
    /// A room of the service account changed.
    RoomsChanged {
        /// How.
        change: Change,
        /// As it is or was.
        room: Box<Room>,
    },
    /// Somebody comes or goes.
    UserStatus {
        /// Who.
        user_id: String,
        /// Their username.
        username: String,
        /// `online`, `away`, `busy`, `offline`.
        status: &'static str,
        /// What they say beside it.
        text: Option<String>,
    },
    /// Somebody has another name.
    NameChanged {
        /// Who.
        user_id: String,
        /// Their name.
        name: Option<String>,
        /// Their username.
        username: Option<String>,
    },
    /// An account is gone.
    UserDeleted {
        /// Whose.
        user_id: String,
    },
    /// Somebody has another picture, or none.
    AvatarChanged {
        /// Who, by username.
        username: String,
        /// Which picture, if any.
        etag: Option<String>,
    },
    /// Single deletions in a room are heard from here on; what was deleted before may have been missed.
    Watched {
        /// The room.
        rid: String,
        /// Whether deletions of many messages at once are heard too.
        whole: bool,
    },
    /// A stream of a watched room could not be opened: the account is not in the room, or it is gone.
    WatchRefused {
        /// The room.
        rid: String,
    },
    /// The connection ended. Another one is tried for, seldom where the token is not accepted: then only a new token helps.
    Closed {
        /// Why.
        reason: ClosedReason,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClosedReason {
    /// None came about.
    #[error("no connection comes about: {0}")]
    Unreachable(String),
    /// The server ended it.
    #[error("Rocket.Chat closed the connection")]
    ByServer,
    /// The server was silent for too long.
    #[error("Rocket.Chat was silent for too long")]
    Silence,
    /// The token is not accepted. Another attempt comes after the longest pause.
    #[error("Rocket.Chat does not accept the token")]
    Unauthorized,
    /// The server limits how often it may be asked.
    #[error("Rocket.Chat limits how often it is asked")]
    RateLimited,
    /// The bridge did not keep up.
    #[error("events came faster than they could be handled")]
    Overrun,
    /// What the server says is not understood.
    #[error("what Rocket.Chat says is not understood: {0}")]
    Malformed(String),
}

/// What the bridge asks of the connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RealtimeHandle {
    watched: Arc<Watched>,
}

/// When something last happened in a watched room: what says how soon its streams are opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Awake {
    /// When that was, in milliseconds since 1970 by the server's clock; 0 if it is not known.
    pub(crate) at_ms: u64,
    /// Whether it was heard, and is not only known from before.
    pub(crate) spoken: bool,
}

impl Awake {
    fn stirred(self, at_ms: u64) -> Self {
        Awake { at_ms: self.at_ms.max(at_ms), spoken: true }
    }
}

/// The rooms that are watched, now and after every reconnect.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    rooms: Mutex<Rooms>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Rooms {
    watched: BTreeMap<String, Awake>,
    /// Those that are watched, or no longer, since the connection last looked.
    changed: BTreeSet<String>,
}

/// A room, and since when it was quiet if it is watched.
type Watching = (String, Option<Awake>);

impl Watched {
    fn held(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, rooms: &mut Rooms, rid: &str) {
        // One more says that there are too many.
        if rooms.changed.len() <= MAX_CHANGED {
            rooms.changed.insert(rid.to_owned());
        }
        self.changed.notify_one();
    }

    /// Every room, for a connection that begins.
    fn all(&self) -> Vec<Watching> {
        let mut rooms = self.held();
        rooms.changed.clear();
        rooms.watched.iter().map(|(rid, awake)| (rid.clone(), Some(*awake))).collect()
    }

    /// What changed since the connection last looked; none if that is more than is noted.
    fn news(&self) -> Option<Vec<Watching>> {
        let mut rooms = self.held();
        let changed = std::mem::take(&mut rooms.changed);
        let news = |rid: String| {
            let awake = rooms.watched.get(&rid).copied();
            (rid, awake)
        };
        (changed.len() <= MAX_CHANGED).then(|| changed.into_iter().map(news).collect())
    }

    /// Something was said in a room.
    fn stir(&self, rid: &str, at_ms: u64) {
        if let Some(awake) = self.held().watched.get_mut(rid) {
            *awake = awake.stirred(at_ms);
        }
    }
}

/// There are more rooms than are watched at once. Deletions in this one are asked for now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no more than {MAX_WATCHED} rooms are watched at once")]
pub(crate) struct TooManyRooms;

impl RealtimeHandle {
    /// Listens to what `__my_messages__` does not tell of a room: deletions, and who types. Takes effect at the pace that
    /// Rocket.Chat allows, also after reconnects. Watching twice is watching once.
    ///
    /// # Errors
    /// [`TooManyRooms`].
    pub(crate) fn watch_room(&self, rid: &str) -> Result<(), TooManyRooms> {
        self.watch_room_since(rid, 0)
    }

    /// The same, of a room in which something last happened at `at_ms`, in milliseconds since 1970: the later that was, the sooner it
    /// is listened to. One in which something is said meanwhile comes before all in which nothing is.
    ///
    /// # Errors
    /// [`TooManyRooms`].
    pub(crate) fn watch_room_since(&self, rid: &str, at_ms: u64) -> Result<(), TooManyRooms> {
        let mut rooms = self.watched.held();
        if rooms.watched.contains_key(rid) {
            return Ok(());
        }
        if rooms.watched.len() >= MAX_WATCHED {
            return Err(TooManyRooms);
        }
        rooms.watched.insert(rid.to_owned(), Awake { at_ms, spoken: false });
        self.watched.change(&mut rooms, rid);
        Ok(())
    }

    /// No longer listens to a room.
    pub(crate) fn unwatch_room(&self, rid: &str) {
        let mut rooms = self.watched.held();
        if rooms.watched.remove(rid).is_some() {
            self.watched.change(&mut rooms, rid);
        }
    }

    /// The rooms that are watched.
    pub(crate) fn watched(&self) -> BTreeSet<String> {
        self.watched.held().watched.keys().cloned().collect()
    }
}

/// The realtime half.
#[derive(Debug)]
pub(crate) struct Realtime;

impl Realtime {
    /// Connects to the server whose address (as [`server_address`](super::client::server_address) reads it) is `base`, as
    /// `account`, and stays so until the receiver is dropped.
    pub(crate) fn connect(
        base: &Url,
        account: &Account,
        tuning: RealtimeTuning,
    ) -> (RealtimeHandle, mpsc::Receiver<RealtimeEvent>) {
        let (events, heard) = mpsc::channel(MAX_WAITING);
        let watched = Arc::new(Watched::default());
        let runner =
            Runner { base: base.clone(), account: account.clone(), watched: Arc::clone(&watched), events, tuning };
        tokio::spawn(runner.run());
        (RealtimeHandle { watched }, heard)
    }
}

/// The task behind a handle.
struct Runner {
    base: Url,
    account: Account,
    watched: Arc<Watched>,
    events: mpsc::Sender<RealtimeEvent>,
    tuning: RealtimeTuning,
}

impl Runner {
    async fn run(self) {
        let mut wait = self.tuning.first_wait;
        loop {
            let (ended, heard) = tokio::select! {
                outcome = self.one_connection() => outcome,
                () = self.events.closed() => return,
            };
            let Ended::Closed(reason) = ended else { return };
            tracing::info!(%reason, "the connection to Rocket.Chat ended");
            // A connection that heard something was a good one.
            if heard {
                wait = self.tuning.first_wait;
            }
            let pause = match reason {
                ClosedReason::Unauthorized | ClosedReason::RateLimited => self.tuning.longest_wait,
                _ => wait,
            };
            // Waits for room: what does not fit is not lost but caught up on.
            if self.events.send(RealtimeEvent::Closed { reason }).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.events.closed() => return,
            }
            wait = (wait * 2).min(self.tuning.longest_wait);
        }
    }

    /// Connects and listens until it ends: how it ended, and whether it came as far as to hear messages.
    async fn one_connection(&self) -> (Ended, bool) {
        let opened = timeout(CONNECT, Session::open(&self.base, &self.account, self.tuning)).await;
        let mut session = match opened {
            Ok(Ok(session)) => session,
            Ok(Err(reason)) => return (Ended::Closed(reason), false),
            Err(_) => return (Ended::Closed(ClosedReason::Unreachable("no answer in time".to_owned())), false),
        };
        if self.events.send(RealtimeEvent::Connected).await.is_err() {
            return (Ended::Unwanted, true);
        }
        (session.listen(&self.watched, &self.events).await, true)
    }
}

/// Opens a connection as far as it hears messages, and closes it again.
///
/// # Errors
/// Why it does not come that far.
pub(crate) async fn try_streams(base: &Url, account: &Account, tuning: RealtimeTuning) -> Result<(), ClosedReason> {
    Session::open(base, account, tuning).await.map(drop)
}

/// The websocket of a server.
fn websocket_address(base: &Url) -> Result<String, ClosedReason> {
    let odd = || ClosedReason::Unreachable("the address is none of a web server".to_owned());
    let mut url = base.join("websocket").map_err(|_| odd())?;
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| odd())?;
    Ok(url.into())
}

/// A text of a value.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
