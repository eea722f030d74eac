//! Who types and who is there, both ways: shown while it is so, and dropped wherever it would have to wait.
//!
//! One task for all rooms, beside those that keep rooms the same. Nothing here is recorded, nothing is tried again, and nothing is
//! said for an account that is not a local person. Accounts are not made for the sake of a sign, and a room that is behind shows none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rocketmesh_protocol::event::Content;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, Origin, UserId};
use rocketmesh_protocol::wire::{Presence, Signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::{Bridge, lock};
use crate::engine::ephemeral::Live;
use crate::network::{Quota, shut_down};
use crate::rocketchat::client::{Account as Login, Client, RestError};
use crate::rocketchat::mapping::Who;
use crate::rocketchat::mapping::signals::{Typists, types};
use crate::rocketchat::realtime::{RealtimeTuning, Typing};

/// What may wait to be told to rooms.
pub(super) const WAITING: usize = 64;
/// Local people and accounts that stand for somebody of whom is remembered whether they are there. More are not told of.
const MOST_PRESENT: usize = 1024;
/// Rooms in which somebody's presence is said: enough of them to reach every server that shares one, up to so many.
const MOST_ROOMS: usize = 16;
/// How often it is looked whose presence is to be said again or is over, how many at a time, and how often it is said again.
const LOOK: Duration = Duration::from_secs(2);
const AT_A_TIME: usize = 8;
const AGAIN: Duration = Duration::from_secs(4 * 60);
/// Calls for the sake of signs, a second and at once, and how long one may take.
const CALLS: (f64, f64) = (2.0, 20.0);
const CALL: Duration = Duration::from_secs(3);
/// The last events of a room among which the last message is looked for.
const LAST: usize = 20;

/// What is heard of Rocket.Chat.
#[derive(Debug)]
pub(super) enum Sign {
    /// What somebody does in a room.
    Activity {
        /// The room.
        rid: String,
        /// Who, by username.
        username: String,
        /// What.
        activities: Vec<String>,
    },
    /// Somebody comes or goes.
    Status {
        /// Who, by the account's id.
        user_id: String,
        /// `online`, `away`, `busy`, `offline`.
        status: &'static str,
    },
}

impl Bridge {
    /// Passes signs on, both ways, until the bridge stops.
    pub(super) async fn pass_signs(self, mut signs: mpsc::Receiver<Sign>) {
        let mut live = self.engine.live();
        let mut stopped = self.stopped.subscribe();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut passing = Passing {
            typing: Typing::start(self.client.address(), RealtimeTuning::default()),
            bridge: self,
            typists: Typists::default(),
            present: BTreeMap::new(),
            shown: BTreeMap::new(),
            calls: Quota::new(CALLS.0, CALLS.1, Instant::now()),
            logging_in: Arc::new(Semaphore::new(1)),
        };
        loop {
            tokio::select! {
                sign = signs.recv() => match sign {
                    Some(sign) => passing.tell(sign).await,
                    None => return,
                },
                next = live.recv() => match next {
                    Ok(live) => passing.show(&live).await,
                    // What came too fast is old already.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = look.tick() => passing.look_after().await,
                () = shut_down(&mut stopped) => return,
            }
        }
    }
}

/// What the task knows.
struct Passing {
    bridge: Bridge,
    typing: Typing,
    /// What was told of who types here.
    typists: Typists,
    /// Local people who are there, and when that was last said.
    present: BTreeMap<Localpart, (Presence, Instant)>,
    /// What the accounts that stand for somebody show, and until when that holds.
    shown: BTreeMap<UserId, (Presence, Instant)>,
    calls: Quota,
    /// One account logs in at a time.
    logging_in: Arc<Semaphore>,
}

impl Passing {
    /// Tells a room what a local person does.
    async fn tell(&mut self, sign: Sign) {
        let records = &self.bridge.records;
        match sign {
            Sign::Activity { rid, username, activities } => {
                let account = records.account_named(&username).ok().flatten();
                let Some(Who::Local(user)) = account.map(|(_, account)| account.who()) else { return };
                let Some(room) = self.room(&rid) else { return };
                let on = types(&activities);
                if self.typists.is_news(&rid, user.as_str(), on, Instant::now())
                    && let Err(error) = self.bridge.engine.signal(room, user, Signal::Typing(on)).await
                {
                    tracing::debug!(%rid, %error, "that somebody types was not told");
                }
            }
            Sign::Status { user_id, status } => {
                let account = records.account(&user_id).ok().flatten();
                let Some(Who::Local(user)) = account.map(|account| account.who()) else { return };
                let Some(presence) = Presence::from_word(status) else { return };
                let before = self.present.get(&user).map(|(before, _)| *before);
                if before == Some(presence) || before.is_none() && self.present.len() >= MOST_PRESENT {
                    return;
                }
                self.say_presence(user, presence).await;
            }
        }
    }

    fn room(&self, rid: &str) -> Option<RoomId> {
        self.bridge.records.room(rid).ok()??.room()
    }

    /// Says whether somebody is there, in as few rooms as reach every server that shares one with them.
    async fn say_presence(&mut self, user: Localpart, presence: Presence) {
        // Whoever is gone is not said again to be so.
        if presence == Presence::Offline {
            self.present.remove(&user);
        } else {
            self.present.insert(user.clone(), (presence, Instant::now()));
        }
        let engine = &self.bridge.engine;
        let id = engine.local(user.clone());
        let mut reached: Vec<Origin> = vec![engine.origin];
        let rooms = self.bridge.records.rooms().unwrap_or_default();
        let mut told = 0;
        for room in rooms.into_iter().filter_map(|(_, federated)| federated.room()) {
            let Ok((state, _)) = engine.state(room).await else { continue };
            let servers = state.servers();
            if !state.is_joined(&id) || servers.iter().all(|server| reached.contains(server)) {
                continue;
            }
            match engine.signal(room, user.clone(), Signal::Presence(presence)).await {
                Ok(()) => reached.extend(servers),
                Err(error) => tracing::debug!(%room, %error, "whether somebody is there was not told"),
            }
            told += 1;
            if told == MOST_ROOMS {
                return;
            }
        }
    }

    /// Shows what somebody elsewhere does.
    async fn show(&mut self, live: &Live) {
        let (engine, now) = (&self.bridge.engine, Instant::now());
        if live.user.origin == engine.origin {
            return;
        }
        match live.signal {
            Signal::Typing(on) if on && live.until <= now => {}
            Signal::Typing(on) => {
                let Some(rid) = self.room_to_show(&live.room) else { return };
                let Some((login, username)) = self.shadow(&live.user, Some(&rid)) else { return };
                self.typing.show(&login, &username, &rid, on);
            }
            Signal::Presence(presence) => self.show_presence(&live.user, presence, live.until).await,
            Signal::Read(event) => self.show_read(live, event).await,
        }
    }

    /// The room there, unless it is behind: what is to stand there goes before.
    fn room_to_show(&self, room: &RoomId) -> Option<String> {
        let rid = self.bridge.records.rid(room).ok()??;
        let handle = lock(&self.bridge.rooms).get(&rid).cloned()?;
        let waits = handle.behind.load(Ordering::SeqCst) || lock(&handle.report).problem.is_some();
        (!waits).then_some(rid)
    }

    /// Whether an account that stands for somebody is in a room. As whom a direct room is read is always in it.
    fn is_in(&self, rid: &str, user_id: &str) -> bool {
        let records = &self.bridge.records;
        let reads = || records.room(rid).ok().flatten().is_some_and(|room| room.reader.as_deref() == Some(user_id));
        records.is_inside(rid, user_id).unwrap_or(false) || reads()
    }

    /// The account that stands for somebody, with its token, if there is one and it is in the room. One without a token logs in, for
    /// the next time.
    fn shadow(&self, user: &UserId, rid: Option<&str>) -> Option<(Login, String)> {
        let records = &self.bridge.records;
        let user_id = records.shadow(user).ok()??;
        let username = records.account(&user_id).ok()??.username;
        if rid.is_some_and(|rid| !self.is_in(rid, &user_id)) {
            return None;
        }
        if let Some(token) = self.bridge.host.token(&user_id) {
            return Some((Login { user_id, token }, username));
        }
        if let Ok(permit) = Arc::clone(&self.logging_in).try_acquire_owned() {
            let (bridge, user) = (self.bridge.clone(), user.clone());
            self.bridge.engine.background(async move {
                if let Err(error) = bridge.log_in(&user, &user_id, &username).await {
                    tracing::debug!(%error, "an account that stands for somebody did not log in");
                }
                drop(permit);
            });
        }
        None
    }

    async fn show_presence(&mut self, user: &UserId, presence: Presence, until: Instant) {
        let before = self.shown.get_mut(user);
        if before.is_none() && presence == Presence::Offline {
            return;
        }
        if let Some(before) = before
            && before.0 == presence
        {
            before.1 = until;
            return;
        }
        let Some((login, _)) = self.shadow(user, None) else { return };
        if self.shown.len() >= MOST_PRESENT && !self.shown.contains_key(user) {
            return;
        }
        if self.call(&login, |client| async move { client.set_status(presence.word()).await }).await {
            if presence == Presence::Offline {
                self.shown.remove(user);
            } else {
                self.shown.insert(user.clone(), (presence, until));
            }
        }
    }

    /// Marks a room as read, for somebody who has read it to its last message: Rocket.Chat knows no mark further up.
    async fn show_read(&mut self, live: &Live, event: EventId) {
        let Some(rid) = self.room_to_show(&live.room) else { return };
        if !self.is_last(&live.room, &event) {
            return;
        }
        let Some((login, _)) = self.shadow(&live.user, Some(&rid)) else { return };
        self.call(&login, |client| async move { client.mark_read(&rid).await }).await;
    }

    /// Whether there is no message behind an event.
    fn is_last(&self, room: &RoomId, event: &EventId) -> bool {
        let store = &self.bridge.engine.store;
        for key in store.order_before(room, None, LAST).unwrap_or_default() {
            if key.id == *event {
                return true;
            }
            let stored = store.event(&key.id).ok().flatten();
            if stored.is_none_or(|stored| matches!(stored.event.content(), Ok(Content::Message { .. }))) {
                return false;
            }
        }
        false
    }

    /// Makes a call as an account, if there were not too many. Tells whether it was done.
    async fn call<F>(&mut self, login: &Login, call: impl FnOnce(Client) -> F) -> bool
    where
        F: Future<Output = Result<(), RestError>>,
    {
        if !self.calls.take(Instant::now()) {
            return false;
        }
        match timeout(CALL, call(self.bridge.client.as_account(login))).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a sign is not shown");
                false
            }
            Err(_) => false,
        }
    }

    /// Says again who is there, and shows as gone of whom nothing is heard any more.
    async fn look_after(&mut self) {
        let now = Instant::now();
        let due = self.present.iter().filter(|(_, (_, said))| now.saturating_duration_since(*said) >= AGAIN);
        let due: Vec<(Localpart, Presence)> =
            due.take(AT_A_TIME).map(|(user, (presence, _))| (user.clone(), *presence)).collect();
        for (user, presence) in due {
            self.say_presence(user, presence).await;
        }
        let over = self.shown.iter().filter(|(_, (_, until))| *until <= now);
        let over: Vec<UserId> = over.take(AT_A_TIME).map(|(user, _)| user.clone()).collect();
        for user in over {
            self.show_presence(&user, Presence::Offline, now).await;
        }
    }
}
