//! Names and pictures: what local people have is said in their rooms, and what others say of themselves stands on their accounts here.
//!
//! One task looks at one person after the other, and makes the two sides agree where they do not. So looking twice does nothing, what
//! was missed is found by looking at everybody, after each new connection, and nothing has to be queued for long.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Content, FileRef, kind};
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_protocol::identity::{Localpart, UserId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Bridge, Stall};
use crate::engine::PostError;
use crate::engine::files::ended;
use crate::network::shut_down;
use crate::rocketchat::client::{ProfileChange, RestError, User};
use crate::rocketchat::mapping::Who;
use crate::rocketchat::mapping::profile::{MAX_PICTURE_BYTES, Profile, Stood, Taken, media_type};
use crate::rocketchat::mapping::shadow;
use crate::rocketchat::records::{Account, Changes, picture_key, stood_key};

/// Looks that may wait. With more, everybody is looked at a little later.
const WAITING: usize = 256;
/// How long after a look failed, or was left out, everybody is looked at; twice as long after each time that this failed as well, up to
/// the longest. A picture that nobody has would otherwise have everybody asked about for ever.
const AGAIN: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How long it is waited for more when a room is to be looked at. All rooms are read for each go, and often many are opened at once, with
/// the same people in them.
const GATHER: Duration = Duration::from_millis(250);
/// People that are looked at in one go.
const MOST_PEOPLE: usize = 2000;
/// How many usernames are tried for somebody who has another one now.
const ATTEMPTS: u32 = 5;
/// How long other servers are asked for a picture.
const FETCH: Duration = Duration::from_secs(20);

/// Whom to look at.
#[derive(Debug)]
pub(super) enum Look {
    /// Somebody, here or elsewhere.
    User(UserId),
    /// Whose account has this id.
    Account(String),
    /// Whose account has this name.
    Named(String),
    /// Everybody in a room, by its id in Rocket.Chat.
    Room(String),
    /// Everybody in every room.
    Everybody,
}

/// A federated room, as it was when it was asked who is to be looked at.
struct Known {
    id: RoomId,
    state: Arc<RoomState>,
    /// Whether it is written to: of a direct room that is several rooms of the mesh one is, and the others are only read.
    written: bool,
}

/// The way to the task. Never waits.
#[derive(Debug)]
pub(super) struct Looks {
    sender: mpsc::Sender<Look>,
    missed: AtomicBool,
}

impl Looks {
    pub(super) fn channel() -> (Self, mpsc::Receiver<Look>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Looks { sender, missed: AtomicBool::new(false) }, receiver)
    }

    pub(super) fn at(&self, look: Look) {
        if self.sender.try_send(look).is_err() {
            self.missed.store(true, Ordering::SeqCst);
        }
    }
}

impl Bridge {
    /// Looks at people until the bridge stops.
    pub(super) async fn keep_profiles(self, mut looks: mpsc::Receiver<Look>) {
        let mut stopped = self.stopped.subscribe();
        let mut again: Option<Instant> = None;
        let mut pause = AGAIN;
        loop {
            let due = again.unwrap_or_else(Instant::now);
            let look = tokio::select! {
                look = looks.recv() => match look {
                    Some(look) => look,
                    None => return,
                },
                () = sleep_until(due), if again.is_some() => {
                    again = None;
                    Look::Everybody
                }
                () = shut_down(&mut stopped) => return,
            };
            if matches!(look, Look::Room(_)) {
                tokio::select! {
                    () = sleep(GATHER) => {}
                    () = shut_down(&mut stopped) => return,
                }
            }
            let mut all = vec![look];
            while all.len() < WAITING
                && let Ok(more) = looks.try_recv()
            {
                all.push(more);
            }
            let everybody = all.iter().any(|look| matches!(look, Look::Everybody));
            let outcome = tokio::select! {
                outcome = self.look(all) => outcome,
                () = shut_down(&mut stopped) => return,
            };
            if let Err(stall) = &outcome {
                tracing::debug!(%stall, "a name or picture waits");
            }
            if everybody {
                pause = if outcome.is_ok() { AGAIN } else { (pause * 2).min(LONGEST) };
            }
            if self.looks.missed.swap(false, Ordering::SeqCst) {
                again = Some(again.map_or(Instant::now() + AGAIN, |at| at.min(Instant::now() + AGAIN)));
            } else if outcome.is_err() {
                again = again.or(Some(Instant::now() + pause));
            }
        }
    }

    /// Somebody may have to be looked at.
    pub(super) fn look_at_user(&self, user: &UserId) {
        self.looks.at(Look::User(user.clone()));
    }

    /// Somebody said how they are called. What local people say here was just looked at.
    pub(super) fn look_at_other(&self, user: UserId) {
        if user.origin != self.engine.origin {
            self.looks.at(Look::User(user));
        }
    }

    /// Looks at everybody who is meant, at each once.
    async fn look(&self, looks: Vec<Look>) -> Result<(), Stall> {
        let local = |who: Option<Who>| match who {
            Some(Who::Local(localpart)) => Some(self.engine.local(localpart)),
            _ => None,
        };
        // Read once they are asked for, so that they say what they are asked for about.
        let rooms = self.all_rooms().await?;
        let mut people: BTreeSet<UserId> = BTreeSet::new();
        let mut failed: Option<Stall> = None;
        for look in looks {
            match look {
                Look::User(user) => {
                    people.insert(user);
                }
                Look::Account(id) => people.extend(local(self.records.account(&id)?.map(|account| account.who()))),
                Look::Named(name) => {
                    people.extend(local(self.records.account_named(&name)?.map(|(_, account)| account.who())));
                }
                Look::Room(rid) => {
                    let Some(room) = self.records.room(&rid)?.and_then(|federated| federated.room()) else { continue };
                    match rooms.iter().find(|known| known.id == room) {
                        Some(known) => people.extend(known.state.joined().take(MOST_PEOPLE)),
                        None => failed = Some(PostError::UnknownRoom(room).into()),
                    }
                }
                Look::Everybody => {
                    for known in &rooms {
                        people.extend(known.state.joined().take(MOST_PEOPLE.saturating_sub(people.len())));
                    }
                }
            }
        }
        for user in people {
            let outcome = match user.origin == self.engine.origin {
                true => self.look_at_local(user.localpart, &rooms).await,
                false => self.look_at_remote(&user, &rooms).await,
            };
            match outcome {
                Ok(()) => {}
                // The same would stand in everybody's way.
                Err(Stall::Rest(error)) if error.is_passing() => return Err(error.into()),
                Err(stall) => failed = Some(stall),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Every federated room with its state. One whose state is not here is left out.
    async fn all_rooms(&self) -> Result<Vec<Known>, Stall> {
        let mut ids = Vec::new();
        for (_, federated) in self.records.rooms()? {
            ids.extend(federated.room().map(|room| (room, true)));
            ids.extend(federated.also().into_iter().map(|room| (room, false)));
        }
        let mut rooms = Vec::new();
        for (id, written) in ids {
            if let Ok((state, _)) = self.engine.state(id).await {
                rooms.push(Known { id, state, written });
            }
        }
        Ok(rooms)
    }

    /// What a user says of themselves in a room, and when they said it, for people to compare.
    fn profile_in(&self, state: &RoomState, user: &UserId) -> Result<Option<(u64, Profile)>, Stall> {
        let Some(event) = state.unknown_entry(kind::PROFILE, &user.to_string()) else { return Ok(None) };
        let Some(stored) = self.engine.store.event(&event)? else { return Ok(None) };
        let body = stored.event.body().filter(|_| stored.event.sender().as_ref() == Some(user));
        Ok(body.map(|body| (stored.event.header().time_ms, Profile::of_body(&body))))
    }

    /// Says in the rooms of a local person how they are called now, where that was not said.
    async fn look_at_local(&self, localpart: Localpart, rooms: &[Known]) -> Result<(), Stall> {
        let user = self.engine.local(localpart.clone());
        let Some(id) = self.records.local(&localpart)? else { return Ok(()) };
        let rooms: Vec<&Known> = rooms.iter().filter(|room| room.written && room.state.is_joined(&user)).collect();
        if rooms.is_empty() {
            return Ok(());
        }
        let Some(account) = self.client.user_by_id(&id).await? else { return Ok(()) };
        let (picture, mut bytes) = self.picture_of(&id, &account).await?;
        let wanted = Profile::of_account(&account, &localpart, picture);
        for Known { id: room, state, .. } in rooms {
            let room = *room;
            let said = self.profile_in(state, &user)?.map(|(_, profile)| profile);
            if said.as_ref() == Some(&wanted) || said.is_none() && wanted.is_plain() {
                continue;
            }
            if let Some(picture) = &wanted.picture {
                if bytes.is_none() {
                    bytes = self.download_picture(&account.username).await?;
                }
                // It changed in this moment, and will be looked at again.
                let Some(bytes) = bytes.clone().filter(|bytes| FileId::of_block(bytes) == picture.file) else {
                    return Ok(());
                };
                let size = Some(picture.size);
                let received = self.engine.receive_file(room, size, Cursor::new(bytes)).await;
                received.map_err(|error| Stall::Words(error.to_string()))?;
            }
            let fields = wanted.clone().into_fields().map_err(|error| Stall::Words(error.to_string()))?;
            let mut draft = self.engine.draft(Some(localpart.clone()), &Content::Unknown, Some(fields));
            draft.kind = kind::PROFILE.to_owned();
            draft.state_key = Some(user.to_string());
            match self.engine.post(room, draft).await {
                Ok(_) => {}
                Err(PostError::Refused(refusal)) => {
                    tracing::debug!(%room, %refusal, "how somebody is called was not said");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The picture of a local person, and its bytes where they had to be fetched. One that somebody chose: a server draws letters for
    /// the others.
    async fn picture_of(&self, id: &str, account: &User) -> Result<(Option<FileRef>, Option<Vec<u8>>), Stall> {
        let Some(etag) = account.avatar_etag.as_deref().filter(|etag| !etag.is_empty()) else {
            return Ok((None, None));
        };
        if let Some(taken) = self.records.picture(id)?.filter(|taken| taken.etag == etag) {
            return Ok((taken.named(), None));
        }
        let bytes = self.download_picture(&account.username).await?;
        let taken = Taken::of_bytes(etag, bytes.as_deref().unwrap_or_default());
        let mut changes = Changes::default();
        changes.set(picture_key(id), &taken);
        self.save(&changes).await?;
        Ok((taken.named(), bytes))
    }

    /// The bytes of a picture; none of one that is too large or not there.
    async fn download_picture(&self, username: &str) -> Result<Option<Vec<u8>>, Stall> {
        let mut download = match self.client.avatar(username, MAX_PICTURE_BYTES).await {
            Ok(download) => download,
            Err(error) if error.is_passing() => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let mut bytes = Vec::new();
        loop {
            match download.next().await {
                Ok(Some(part)) => bytes.extend(part),
                Ok(None) => return Ok(Some(bytes)),
                Err(RestError::TooLarge { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes the account that stands for somebody show what they say of themselves. Makes no account.
    async fn look_at_remote(&self, user: &UserId, rooms: &[Known]) -> Result<(), Stall> {
        let Some(id) = self.records.shadow(user)? else { return Ok(()) };
        let mut newest: Option<(u64, RoomId, Profile)> = None;
        for Known { id: room, state, .. } in rooms {
            if let Some((said_ms, profile)) = self.profile_in(state, user)? {
                // Rooms have no order among each other; a clock is good enough for what only people read.
                let later = newest.as_ref().is_none_or(|(before, other, _)| (*before, *other) < (said_ms, *room));
                newest = if later { Some((said_ms, *room, profile)) } else { newest };
            }
        }
        let Some((_, room, profile)) = newest else { return Ok(()) };
        let server = self.server_name(user);
        let stood = self.records.stood(user)?.unwrap_or_else(|| Stood {
            name: shadow::display(user, server.as_deref()),
            username: shadow::username(user, server.as_deref(), 0),
            picture: None,
        });
        self.show_names(&id, user, &profile, stood.clone()).await?;
        self.show_picture(&id, user, room, &profile).await
    }

    async fn show_names(&self, id: &str, user: &UserId, profile: &Profile, mut stood: Stood) -> Result<(), Stall> {
        let server = self.server_name(user);
        let name = profile.shown_name(user, server.as_deref());
        let username = profile.shown_username(user, server.as_deref(), 0);
        let renames = username != stood.username;
        if name == stood.name && !renames {
            return Ok(());
        }
        let tries = if renames { ATTEMPTS } else { 1 };
        for attempt in 0..tries {
            let called = renames.then(|| profile.shown_username(user, server.as_deref(), attempt));
            let change = ProfileChange { name: Some(name.clone()), username: called.clone(), status_text: None };
            match self.client.users_update(id, &change).await {
                Ok(_) => {}
                Err(error) if error.is_passing() || error.is_outcome_unknown() => return Err(error.into()),
                Err(error @ RestError::Forbidden { .. }) => {
                    tracing::warn!(%error, "people elsewhere keep the names that their accounts were made with");
                    return Ok(());
                }
                // The name is taken, as far as anybody can tell.
                Err(_) if attempt + 1 < tries => continue,
                Err(error) => {
                    tracing::warn!(%user, %error, "an account that stands for somebody keeps its name");
                    return Ok(());
                }
            }
            (stood.name, stood.username) = (name, username);
            let mut changes = Changes::default();
            changes.set(stood_key(user), &stood);
            // The server tells of the new name too, perhaps before this.
            let _one = self.meeting.lock().await;
            if let (Some(called), Some(before)) = (called, self.records.account(id)?) {
                changes.account(id, Some(&before), &Account { username: called, who: before.who.clone() });
            }
            return self.save(&changes).await;
        }
        Ok(())
    }

    async fn show_picture(&self, id: &str, user: &UserId, room: RoomId, profile: &Profile) -> Result<(), Stall> {
        let Some(named) = &profile.picture else { return Ok(()) };
        let file = named.file.to_string();
        let mut stood = self.records.stood(user)?.unwrap_or_else(|| {
            let server = self.server_name(user);
            let username = shadow::username(user, server.as_deref(), 0);
            Stood { name: shadow::display(user, server.as_deref()), username, picture: None }
        });
        if stood.picture.as_ref() == Some(&file) {
            return Ok(());
        }
        let bytes = self.picture(room, named).await?;
        // What is no picture is not asked for again.
        if let Some(mime) = media_type(&bytes) {
            match self.client.set_avatar(id, mime, bytes).await {
                Ok(()) => {}
                Err(error) if error.is_passing() || error.is_outcome_unknown() => return Err(error.into()),
                Err(error) => tracing::warn!(%user, %error, "a picture of somebody elsewhere is not shown"),
            }
        }
        stood.picture = Some(file);
        let mut changes = Changes::default();
        changes.set(stood_key(user), &stood);
        self.save(&changes).await
    }

    /// The bytes of a picture that a room names, fetched from other servers if they are not here.
    async fn picture(&self, room: RoomId, named: &FileRef) -> Result<Vec<u8>, Stall> {
        let words = |text: &str| Stall::Words(text.to_owned());
        let mut stored = self.engine.store.open_file(&named.file)?;
        if stored.is_none() {
            let progress = self.engine.fetch_file(room, named.file, MAX_PICTURE_BYTES);
            let progress = progress.map_err(|error| Stall::Words(error.to_string()))?;
            let outcome = timeout(FETCH, ended(progress)).await.map_err(|_| words("a picture has not come yet"))?;
            outcome.map_err(|error| Stall::Words(error.to_string()))?;
            stored = self.engine.store.open_file(&named.file)?;
        }
        let stored = stored.ok_or_else(|| words("a picture was taken back"))?;
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            stored.take(MAX_PICTURE_BYTES).read_to_end(&mut bytes).map(|_| bytes)
        });
        read.await.map_err(|error| Stall::Words(error.to_string()))?.map_err(|error| Stall::Words(error.to_string()))
    }
}
