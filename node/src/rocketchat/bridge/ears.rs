//! Connections as accounts that stand for somebody: direct rooms of two are told to nobody but those in them.
//!
//! A connection for each such account would be too many. So the accounts in whose direct rooms something was said last have one, and the
//! others are asked in turn ([`direct`](super::direct)). Whoever is written to gets a connection, and the one that was silent longest
//! loses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::ephemeral::Sign;
use super::{Bridge, Heard, lock};
use crate::network::shut_down;
use crate::rocketchat::client::Account;
use crate::rocketchat::realtime::{ClosedReason, Realtime, RealtimeEvent, RealtimeHandle, RealtimeTuning};

/// The most connections of this kind.
const MAX_EARS: usize = 32;
/// A connection that was of use within this time is not given to another account.
const KEPT: Duration = Duration::from_secs(60);

/// The connections, by the account.
#[derive(Default)]
pub(super) struct Ears(Mutex<BTreeMap<String, Ear>>);

struct Ear {
    handle: RealtimeHandle,
    /// The direct rooms that are read through it.
    rooms: BTreeSet<String>,
    used: Instant,
    /// Ends it; so does dropping it.
    _end: watch::Sender<bool>,
}

impl Ears {
    pub(super) fn close_all(&self) {
        lock(&self.0).clear();
    }

    /// A room is read no longer.
    pub(super) fn forget(&self, rid: &str) {
        lock(&self.0).retain(|_, ear| {
            if ear.rooms.remove(rid) {
                ear.handle.unwatch_room(rid);
            }
            !ear.rooms.is_empty()
        });
    }

    /// The rooms that are read as an account.
    fn rooms_of(&self, id: &str) -> BTreeSet<String> {
        lock(&self.0).get(id).map(|ear| ear.rooms.clone()).unwrap_or_default()
    }

    fn reads(&self, id: &str, rid: &str) -> bool {
        lock(&self.0).get_mut(id).is_some_and(|ear| {
            let reads = ear.rooms.contains(rid);
            if reads {
                ear.used = Instant::now();
            }
            reads
        })
    }
}

impl Bridge {
    /// Listens to a direct room as the account that stands for one of the two, if there is a connection to spare.
    pub(super) fn listen_as(&self, id: &str, rid: &str) {
        let mut ears = lock(&self.ears.0);
        if let Some(ear) = ears.get_mut(id) {
            ear.used = Instant::now();
            if ear.rooms.insert(rid.to_owned()) && ear.handle.watch_room(rid).is_err() {
                tracing::debug!(%rid, "deletions in this direct room are found when catching up");
            }
            return;
        }
        // Without a token it is asked in turn, once it is logged in.
        let Some(token) = self.host.token(id) else { return };
        if ears.len() >= MAX_EARS {
            let oldest = ears.iter().min_by_key(|(_, ear)| ear.used).map(|(id, ear)| (id.clone(), ear.used));
            match oldest {
                Some((oldest, used)) if used.elapsed() >= KEPT => drop(ears.remove(&oldest)),
                _ => return,
            }
        }
        let account = Account { user_id: id.to_owned(), token };
        let (handle, events) = Realtime::connect(self.client.address(), &account, RealtimeTuning::default());
        if handle.watch_room(rid).is_err() {
            tracing::debug!(%rid, "deletions in this direct room are found when catching up");
        }
        let (end, ended) = watch::channel(false);
        let rooms = BTreeSet::from([rid.to_owned()]);
        ears.insert(id.to_owned(), Ear { handle, rooms, used: Instant::now(), _end: end });
        let (own, id) = (self.clone(), id.to_owned());
        self.engine.background(async move { own.hear_as(id, events, ended).await });
    }

    async fn hear_as(&self, id: String, mut events: mpsc::Receiver<RealtimeEvent>, mut ended: watch::Receiver<bool>) {
        let mut stopped = self.stopped.subscribe();
        // The rooms whose deletions this connection hears.
        let mut heard: BTreeMap<String, u64> = BTreeMap::new();
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = shut_down(&mut ended) => None,
                () = shut_down(&mut stopped) => None,
            };
            match event {
                None => break,
                Some(RealtimeEvent::Watched { rid, whole }) if self.ears.reads(&id, &rid) => {
                    heard.extend(self.hears_deletions(&rid, whole).map(|number| (rid, number)));
                }
                Some(event) => {
                    if matches!(event, RealtimeEvent::Closed { .. }) {
                        self.is_deaf_to(&mut heard);
                    }
                    self.heard_as(&id, event).await;
                }
            }
        }
        self.is_deaf_to(&mut heard);
    }

    async fn heard_as(&self, id: &str, event: RealtimeEvent) {
        let to = |rid: &str, heard: Heard| {
            if self.ears.reads(id, rid)
                && let Some(handle) = lock(&self.rooms).get(rid)
            {
                handle.offer(heard);
            }
        };
        match event {
            RealtimeEvent::Connected => {
                for rid in self.ears.rooms_of(id) {
                    to(&rid, Heard::CatchUp);
                }
            }
            // Everything else that the account hears the service account hears too.
            RealtimeEvent::Message { message, room } if room.kind == "d" => {
                if self.ears.reads(id, &message.rid) {
                    to(&message.rid.clone(), Heard::Message(message));
                } else if message.system().is_none()
                    && let Err(error) = self.look_as(id, Some(message.ts)).await
                {
                    tracing::debug!(%error, "a new direct room is looked at later");
                }
            }
            RealtimeEvent::MessageDeleted { rid, id: message } => to(&rid, Heard::Deleted(vec![message])),
            RealtimeEvent::BulkDeleted { rid, ids } if ids.is_empty() => to(&rid, Heard::CatchUp),
            RealtimeEvent::BulkDeleted { rid, ids } => to(&rid, Heard::Deleted(ids)),
            // Dropped where there is too much of it.
            RealtimeEvent::UserActivity { rid, username, activities } if self.ears.reads(id, &rid) => {
                let _ = self.signs.try_send(Sign::Activity { rid, username, activities });
            }
            // With a new token there will be a new connection.
            RealtimeEvent::Closed { reason: ClosedReason::Unauthorized } => drop(lock(&self.ears.0).remove(id)),
            _ => {}
        }
    }
}
