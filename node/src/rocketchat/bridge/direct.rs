//! Direct rooms between people of this server and people elsewhere: of two, or of a few.
//!
//! Whoever writes to the account that stands for somebody writes to that person, without asking anybody first. Rocket.Chat tells of a direct
//! room only to those in it, so it is read as such an account. The accounts are asked in turn whether something was said to them, a few calls
//! a second however many accounts there are; those in whose rooms something was said last are listened to ([`ears`](super::ears)).
//!
//! Both may open a room at the same moment, each on their own server. Then it is one room in each Rocket.Chat and two in the mesh: both are
//! read, and the one with the lower id is written to, of those that nobody has left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rocketmesh_protocol::event::{Content, History, Membership, RoomType};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, UserId};
use rocketmesh_storage::{LogPosition, Participation};
use tokio::time::Instant;

use super::company::{Company, called};
use super::room::RoomTask;
use super::view::View;
use super::{Bridge, FederateError, Heard, RoomHandle, RoomStatus, Stall, lock};
use crate::network::shut_down;
use crate::rocketchat::client::{Client, Moment, Room, RoomKind};
use crate::rocketchat::records::{Changes, Federated, Standing, anchor_key, closed_key, of_key};

/// The time between two accounts that are asked.
const PACE: Duration = Duration::from_millis(250);
/// The shortest time after which the same account is asked again.
const TURN: Duration = Duration::from_secs(2);
/// Logins are limited for everybody at one address: ten a minute.
const LOGIN_PAUSE: Duration = Duration::from_secs(12);
/// How long to leave a server alone that does not answer.
const PAUSE: Duration = Duration::from_secs(5);
/// What was said longer ago in a direct room that is met for the first time stays where it is, in milliseconds: a week.
const REMEMBERED_MS: u64 = 7 * 86_400_000;
/// Direct rooms that people of this server are about to enter.
const ENTERING: &str = "rc/entering/";
/// The most rooms of the mesh that one direct room is.
const MOST_ROOMS: usize = 4;
/// How long it may take until a second room is read, and how often that is looked at.
const JOINED: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(50);

/// A direct room that begins in the mesh.
pub(super) struct Begun {
    pub(super) room: RoomId,
    /// The log behind which it goes on.
    pub(super) log: LogPosition,
    /// Whether it was there already, so that what was said in it is to be shown.
    pub(super) found: bool,
}

impl Begun {
    /// The last event of it that was handled, to be recorded with the room; not known of one that was there already.
    pub(super) fn noted(&self, rid: &str) -> Changes {
        let mut changes = Changes::default();
        if !self.found {
            changes.set(anchor_key(rid), &EventId::from(self.room).to_string());
        }
        changes
    }
}

impl Bridge {
    /// Asks the accounts that stand for somebody, one after the other, whether something was said to them.
    pub(super) async fn watch_directs(&self) {
        let mut stopped = self.stopped.subscribe();
        let mut turn: VecDeque<String> = VecDeque::new();
        let mut heard: BTreeMap<String, Moment> = BTreeMap::new();
        let mut login: Option<Instant> = None;
        let mut begun = Instant::now();
        let mut pause = PACE;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shut_down(&mut stopped) => return,
            }
            pause = PACE;
            let Some(id) = turn.pop_front() else {
                if let Err(error) = self.tell_unwelcome().await {
                    tracing::debug!(%error, "people are told later which direct rooms are not taken");
                }
                pause = TURN.saturating_sub(begun.elapsed()).max(PACE);
                let shadows = self.records.shadows().unwrap_or_default();
                {
                    let known: BTreeSet<&String> = shadows.iter().collect();
                    heard.retain(|id, _| known.contains(id));
                }
                turn = shadows.into();
                begun = Instant::now() + pause;
                continue;
            };
            if self.host.token(&id).is_none() {
                if login.is_some_and(|last| last.elapsed() < LOGIN_PAUSE) {
                    continue;
                }
                login = Some(Instant::now());
            }
            match self.look_as(&id, heard.get(&id).copied()).await {
                Ok(Some(latest)) => drop(heard.insert(id, latest)),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%id, %error, "direct rooms are looked at later");
                    pause = match &error {
                        Stall::Rest(error) if error.is_passing() => PAUSE,
                        _ => PACE,
                    };
                }
            }
        }
    }

    /// Looks which direct rooms of an account changed since a moment. The moment of the last change.
    pub(super) async fn look_as(&self, id: &str, since: Option<Moment>) -> Result<Option<Moment>, Stall> {
        let client = self.as_shadow(id).await?;
        let changed = client.rooms_get(since.map(|since| since.before(1))).await;
        let changed = self.heed(&client, changed)??.updated;
        let mut latest = since;
        for room in changed {
            latest = latest.max(Some(room.updated_at));
            if room.kind() == Some(RoomKind::Direct) {
                self.notice(id, &room).await?;
            }
        }
        Ok(latest)
    }

    /// Takes a direct room of an account that stands for somebody.
    async fn notice(&self, id: &str, room: &Room) -> Result<(), Stall> {
        // Nobody has said anything: it was only opened.
        let Some(last) = room.lm else { return Ok(()) };
        if let Some(federated) = self.records.room(&room.id)? {
            // Once for each message: one that is gone by now is never heard.
            let is_news = |handle: &RoomHandle| handle.told_ms.fetch_max(last.ms(), Ordering::SeqCst) < last.ms();
            if federated.reader.as_deref() == Some(id)
                && last.ms() > federated.heard_ms
                && lock(&self.rooms).get(&room.id).is_some_and(is_news)
            {
                self.listen_as(id, &room.id);
                if let Some(handle) = lock(&self.rooms).get(&room.id) {
                    handle.offer(Heard::CatchUp);
                }
            }
            return Ok(());
        }
        match self.open_direct(id, room, last).await {
            Ok(()) => Ok(()),
            Err(FederateError::Stall(stall)) => Err(stall),
            Err(FederateError::Rest(error)) => Err(error.into()),
            Err(error) => {
                tracing::debug!(rid = %room.id, %error, "a direct room does not reach anybody");
                Ok(())
            }
        }
    }

    /// Somebody of this server has written to accounts that stand for people: the room begins in the mesh too.
    async fn open_direct(&self, id: &str, room: &Room, last: Moment) -> Result<(), FederateError> {
        let closed_ms = self.records.closed(&room.id)?.unwrap_or_default();
        if last.ms() <= closed_ms {
            return Ok(());
        }
        let Some(Company { own, elsewhere }) = self.company_of(room).await? else { return Ok(()) };
        let Some((user, others)) = own.split_first().filter(|_| !elsewhere.is_empty()) else { return Ok(()) };
        let mut with: Vec<UserId> = others.iter().map(|other| self.engine.local(other.clone())).collect();
        with.extend(elsewhere);
        with.sort();
        let _one = self.federating.lock().await;
        if self.records.room(&room.id)?.is_some() {
            return Ok(());
        }
        let begun = self.begin_direct(user.clone(), &with).await?;
        let since_ms = self.remembered_ms().max(closed_ms.saturating_add(1));
        let federated = Federated {
            room: begun.room.to_string(),
            kind: RoomKind::Direct,
            name: called(&with),
            log: begun.log,
            heard_ms: since_ms,
            gone_ms: since_ms,
            since_ms,
            fresh: begun.found,
            reader: Some(id.to_owned()),
            also: Vec::new(),
        };
        self.keep(&room.id, federated, begun.noted(&room.id)).await.map(drop)
    }

    /// Begins a direct room in the mesh, or takes the one that was begun before and is not kept. One direct room is begun at a time.
    /// `with`: ascending.
    pub(super) async fn begin_direct(&self, user: Localpart, with: &[UserId]) -> Result<Begun, FederateError> {
        if let Some(room) = self.unkept_direct(&self.engine.local(user.clone()), with).await? {
            return Ok(Begun { room, log: *self.engine.durable().borrow(), found: true });
        }
        let written = self.engine.create_room(user, RoomType::Direct, with.to_vec(), History::Start, "", None).await?;
        Ok(Begun { room: written.event.room(), log: written.position, found: false })
    }

    /// The direct room with somebody that this user has made and that no room here is recorded as: a crash came between the two. One that
    /// somebody has left is none.
    async fn unkept_direct(&self, user: &UserId, with: &[UserId]) -> Result<Option<RoomId>, FederateError> {
        for (room, participation) in self.engine.store.rooms()? {
            if participation != Participation::Joined || self.records.rid(&room)?.is_some() {
                continue;
            }
            // With whom it is stands in its first event.
            let Some(stored) = self.engine.store.event(&EventId::from(room))? else { continue };
            let is_theirs = match stored.event.content() {
                Ok(Content::Create { room_type: RoomType::Direct, with: others }) => {
                    stored.event.sender().as_ref() == Some(user) && others == with
                }
                _ => false,
            };
            if !is_theirs {
                continue;
            }
            let Ok((state, _)) = self.engine.state(room).await else { continue };
            let nobody_left = state.others().all(|(_, membership)| membership == Membership::Invite);
            if nobody_left && state.is_joined(user) {
                return Ok(Some(room));
            }
        }
        Ok(None)
    }

    /// From when on a direct room that is met for the first time counts, in milliseconds since 1970.
    pub(super) fn remembered_ms(&self) -> u64 {
        self.engine.clock.now_ms().saturating_sub(REMEMBERED_MS)
    }

    /// Rocket.Chat, as an account that stands for somebody.
    pub(super) async fn as_shadow(&self, id: &str) -> Result<Client, Stall> {
        let account = self.records.account(id)?;
        let refused = || Stall::Words(format!("the account {id}, which stands for somebody, cannot be logged in"));
        let Some(account) = account else { return Err(refused()) };
        let Standing::Shadow(user) = &account.who else { return Err(refused()) };
        let user: UserId = user.parse().map_err(|_| refused())?;
        self.log_in(&user, id, &account.username).await
    }

    /// Notes that somebody of this server enters a direct room: the invitation goes with the join, and the room may have to wait for
    /// Rocket.Chat after that. The record's name, to be removed once it is here.
    pub(super) async fn note_entering(&self, room: &RoomId, user: &str) -> Result<String, FederateError> {
        let name = format!("{ENTERING}{room}/{user}");
        if self.engine.store.record_of(&name)?.is_none() {
            let mut changes = Changes::default();
            changes.set(name.clone(), &true);
            self.save(&changes).await?;
        }
        Ok(name)
    }

    /// Goes on with direct rooms that somebody of this server has joined and that are not here yet. `open`: invitations that stand, which
    /// are seen to by themselves.
    pub(super) async fn go_on_entering(&self, open: &BTreeSet<(RoomId, String)>) -> Result<(), FederateError> {
        let mut changes = Changes::default();
        for (name, _) in self.engine.store.records(ENTERING)? {
            let of = name[ENTERING.len()..].split_once('/');
            let of = of.and_then(|(room, user)| Some((room.parse::<RoomId>().ok()?, user.parse::<Localpart>().ok()?)));
            let Some((room, user)) = of else {
                changes.remove(name);
                continue;
            };
            if open.contains(&(room, user.to_string())) {
                continue;
            }
            let id = self.records.local(&user)?;
            let account = id.map(|id| self.records.account(&id)).transpose()?.flatten();
            let about = self.engine.local(user.clone());
            let is_in = self.engine.state(room).await.is_ok_and(|(state, _)| state.is_joined(&about));
            if let Some(account) = account.filter(|_| is_in)
                && self.records.rid(&room)?.is_none()
                && let Err(error) = self.enter(room, &account.username, None).await
            {
                tracing::debug!(%room, %error, "a direct room that was joined is not here yet");
                // What the server refuses for good, such as a room of too many, is not asked of it for ever.
                match error {
                    FederateError::Rest(error) if !error.is_passing() && !error.is_outcome_unknown() => {
                        let words = format!("You are invited to a direct room that cannot be opened here: {error}.");
                        self.explain(&user, &words).await;
                    }
                    _ => continue,
                }
            }
            changes.remove(name);
        }
        if changes.is_empty() { Ok(()) } else { Ok(self.save(&changes).await?) }
    }

    /// A direct room that is here already turns out to be another room of the mesh too.
    pub(super) async fn join_directs(
        &self,
        rid: &str,
        federated: Federated,
        id: RoomId,
    ) -> Result<RoomStatus, FederateError> {
        let handle = lock(&self.rooms).get(rid).cloned();
        let handle = handle.ok_or_else(|| FederateError::NotFederated(rid.to_owned()))?;
        let gone = |_| Stall::Words("the direct room is being closed".to_owned());
        let begun = Instant::now();
        // A room that waits may take nothing for long, and nothing else is opened meanwhile.
        let waits = |_| Stall::Words("the direct room that is here waits; it is tried again".to_owned());
        tokio::time::timeout(JOINED, handle.sender.send(Heard::Also(id))).await.map_err(waits)?.map_err(gone)?;
        while self.records.rid(&id)?.is_none() {
            if begun.elapsed() > JOINED {
                return Err(Stall::Words("the direct room that is here waits; it is tried again".to_owned()).into());
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(self.status_of(rid, self.records.room(rid)?.unwrap_or(federated)))
    }

    /// Notes that a direct room was closed on purpose: it begins again with the next word.
    pub(super) fn note_closed(rid: &str, federated: &Federated, changes: &mut Changes) {
        if federated.kind == RoomKind::Direct {
            changes.set(closed_key(rid), &federated.heard_ms);
        }
    }
}

impl RoomTask {
    /// This direct room is another room of the mesh too.
    pub(super) async fn take_room(&mut self, room: RoomId) -> Result<(), Stall> {
        let mut changes = Changes::default();
        changes.set(of_key(&room), &self.rid);
        if !self.reads(&room) {
            let mut ranked = Vec::new();
            for room in self.rooms().into_iter().chain([room]) {
                ranked.push((self.was_left(room).await?, room));
            }
            // The same on both servers: the lowest of those that nobody has left.
            ranked.sort_unstable();
            ranked.truncate(MOST_ROOMS);
            let mut rooms: Vec<RoomId> = ranked.into_iter().map(|(_, room)| room).collect();
            self.room = rooms.remove(0);
            self.federated.room = self.room.to_string();
            self.federated.also = rooms.iter().map(ToString::to_string).collect();
            self.also = rooms;
            self.feed.change(&self.rooms());
            // What was said in the one that was not read yet is shown.
            self.federated.fresh = true;
            self.view = View::new(self.bridge.clone(), self.room, &self.rid, &self.federated);
        }
        self.record(changes).await?;
        if self.federated.fresh { self.backfill().await } else { Ok(()) }
    }

    /// Whether somebody has left a direct room, so that what is said in it does not reach them.
    async fn was_left(&self, room: RoomId) -> Result<bool, Stall> {
        let (state, _) = self.bridge.engine.state(room).await?;
        let left = state.others().any(|(_, membership)| membership == Membership::Leave);
        Ok(left)
    }
}
