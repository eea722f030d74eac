//! Entering a room of another server, and closing one to other servers again. How one is opened: [`opening`](super::opening).

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmesh_protocol::event::{Content, Label, Membership, RoomType};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::{Localpart, UserId};
use rocketmesh_storage::StoreError;

use super::company::called;
use super::{Bridge, RoomReport, RoomStatus, Stall};
use crate::engine::{JoinError, PostError};
use crate::network::shut_down;
use crate::rocketchat::client::{NewRoom, RestError, Room, RoomKind};
use crate::rocketchat::mapping::Who;
use crate::rocketchat::mapping::outgoing::What;
use crate::rocketchat::records::{Changes, Federated, agreed_key, anchor_key, inside_key, of_key, room_key};

/// How long a join may look for a server of the room.
const JOIN: Duration = Duration::from_secs(30);
/// How often it is looked for invitations of people of this server.
const LOOK: Duration = Duration::from_secs(2);
/// Names that are tried for a new channel.
const ATTEMPTS: u32 = 20;
/// The longest name of a new channel.
const LONGEST_NAME: usize = 60;
/// Invitations that were told and are remembered, so that nobody is told twice.
const TOLD: &str = "rc/told/";

/// Why a room is not opened, entered or closed. Nothing was changed unless that is said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FederateError {
    /// There is no such room, or the service account is not in it.
    #[error("there is no room {room} that I am in; invite @{service} to it first")]
    NoRoom {
        /// The room as it was named.
        room: String,
        /// The service account.
        service: String,
    },
    /// It is open already.
    #[error("#{0} is open to other servers already")]
    Already(String),
    /// It is not open.
    #[error("#{0} is not open to other servers")]
    NotFederated(String),
    /// Rooms of this kind are not federated.
    #[error("this is {0}, which cannot be opened to other servers")]
    Kind(&'static str),
    /// The channel is public and the room private, or the other way round.
    #[error("the channel here is {0} and the room is not; leave the channel out, and the room gets one of its own")]
    KindDiffers(&'static str),
    /// It needs somebody of this server who is in it.
    #[error("there is nobody called {0} in this room; name one of its owners")]
    Nobody(String),
    /// Only some may do this.
    #[error("only an owner of the room or an administrator may do this")]
    NotOwner,
    /// Who is meant cannot be told.
    #[error("{0}")]
    Whom(String),
    /// No name for a new channel is free, or the server takes none.
    #[error("Rocket.Chat takes no channel called {name}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// The server's word.
        reason: String,
    },
    /// The room could not be entered.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The room does not allow it.
    #[error(transparent)]
    Post(#[from] PostError),
    /// Something failed on the way.
    #[error(transparent)]
    Stall(#[from] Stall),
    /// Rocket.Chat did not do it.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Bridge {
    /// Takes part in a room of the mesh, for somebody of this server: in the channel of this name or id, or in a new one.
    ///
    /// # Errors
    /// [`FederateError`].
    pub(crate) async fn enter(
        &self,
        id: RoomId,
        username: &str,
        channel: Option<&str>,
    ) -> Result<RoomStatus, FederateError> {
        let _one = self.federating.lock().await;
        let user = self.person(username).await?;
        if let Some(rid) = self.records.rid(&id)? {
            return self.enter_again(id, &rid, user, username).await;
        }
        let existing = match channel {
            Some(channel) => {
                let (room, kind) = self.open_to_federate(channel).await?;
                let (_, is_owner) = self.owner(&room, kind, Some(username)).await?;
                if !is_owner {
                    return Err(FederateError::NotOwner);
                }
                // Before anything is joined: whoever leaves a private room again needs another invitation.
                if self.known_kind(&id).await?.is_some_and(|known| known != kind) {
                    return Err(FederateError::KindDiffers(publicity(kind)));
                }
                Some((room, kind))
            }
            None => None,
        };
        let about = self.engine.local(user.clone());
        let was_in = self.engine.state(id).await.is_ok_and(|(state, _)| state.is_joined(&about));
        // Whoever is in it already came in before there was a room here.
        let joined = match was_in {
            true => None,
            false => Some(self.engine.join(id, user.clone(), JOIN).await?),
        };
        let (state, _) = self.engine.state(id).await?;
        if let Some((_, kind)) = existing.as_ref().filter(|(_, kind)| *kind != kind_of(state.room_type())) {
            // What is said in a private room is not for everybody in a channel, and the other way round.
            if !was_in {
                self.engine.leave(id, user).await?;
            }
            return Err(FederateError::KindDiffers(publicity(*kind)));
        }
        let label = state.label(Label::Name).unwrap_or_else(|| state.create_event());
        let body = self.engine.store.event(&label)?.and_then(|stored| stored.event.body());
        let name = body.and_then(|body| body.text("name").map(str::to_owned)).unwrap_or_default();
        let kind = kind_of(state.room_type());
        let others = self.company_in(&state, &about);
        let (room, reader) = match existing {
            Some((room, _)) => (room, None),
            None if kind == RoomKind::Direct => {
                let (room, reader) = self.make_direct(username, &others).await?;
                (room, Some(reader))
            }
            None => (self.make(kind, &name, username).await?, None),
        };
        if let Some(here) = self.records.room(&room.id)? {
            return self.join_directs(&room.id, here, id).await;
        }
        let (now_ms, called) = match &reader {
            Some(_) => (self.remembered_ms(), called(&others)),
            None => (room.updated_at.ms(), name_of(&room)),
        };
        let federated = Federated {
            room: id.to_string(),
            kind,
            name: called,
            log: *self.engine.durable().borrow(),
            heard_ms: now_ms,
            gone_ms: now_ms,
            since_ms: now_ms,
            fresh: true,
            reader,
            also: Vec::new(),
        };
        let mut changes = Changes::default();
        if let Some(joined) = joined {
            changes.set(anchor_key(&room.id), &joined.event.id().to_string());
        }
        self.keep(&room.id, federated, changes).await
    }

    /// The kind of a room that is held here, or to which somebody of this server is invited.
    async fn known_kind(&self, id: &RoomId) -> Result<Option<RoomKind>, FederateError> {
        if let Ok((state, _)) = self.engine.state(*id).await {
            return Ok(Some(kind_of(state.room_type())));
        }
        let invitations = self.engine.invitations().map_err(Stall::from)?;
        let invited = invitations.into_iter().find(|(room, _)| room == id);
        Ok(invited.and_then(|(_, invitation)| RoomKind::of(&invitation.room_type)))
    }

    /// Somebody more of this server enters a room that is here already.
    async fn enter_again(
        &self,
        id: RoomId,
        rid: &str,
        user: Localpart,
        username: &str,
    ) -> Result<RoomStatus, FederateError> {
        let federated = self.records.room(rid)?.ok_or_else(|| FederateError::NotFederated(rid.to_owned()))?;
        self.engine.join(id, user, JOIN).await?;
        if federated.kind != RoomKind::Direct
            && let Some((account, _)) = self.records.account_named(username)?
        {
            let invited = self.client.invite(federated.kind, rid, &account).await;
            // Whoever is in it already is refused.
            if let Err(error) = invited.as_ref()
                && error.is_passing()
            {
                invited?;
            }
        }
        Ok(self.status_of(rid, federated))
    }

    /// Opens a direct room with somebody elsewhere, or finds the one that there is.
    pub(super) async fn direct(
        &self,
        user: &Localpart,
        username: &str,
        with: UserId,
    ) -> Result<RoomStatus, FederateError> {
        if with.origin == self.engine.origin {
            return Err(FederateError::Whom(format!("{} is on this server; write to them directly", with.localpart)));
        }
        let _one = self.federating.lock().await;
        let (room, reader) = self.make_direct(username, std::slice::from_ref(&with)).await?;
        if let Some(federated) = self.records.room(&room.id)? {
            return Ok(self.status_of(&room.id, federated));
        }
        let begun = self.begin_direct(user.clone(), std::slice::from_ref(&with)).await?;
        let now_ms = self.remembered_ms();
        let federated = Federated {
            room: begun.room.to_string(),
            kind: RoomKind::Direct,
            name: with.localpart.to_string(),
            log: begun.log,
            heard_ms: now_ms,
            gone_ms: now_ms,
            since_ms: now_ms,
            fresh: begun.found,
            reader: Some(reader),
            also: Vec::new(),
        };
        self.keep(&room.id, federated, begun.noted(&room.id)).await
    }

    /// Closes a room to other servers: people of this server leave it there, and those of others leave it here. What was said stays.
    ///
    /// # Errors
    /// [`FederateError`].
    pub(crate) async fn unfederate(&self, room: &str, by: Option<&str>) -> Result<(), FederateError> {
        let _one = self.federating.lock().await;
        let (rid, federated) = self.federated_named(room)?;
        if let Some(by) = by {
            let in_it = self.client.room_info(&rid).await?;
            if !self.owner(&in_it, federated.kind, Some(by)).await?.1 {
                return Err(FederateError::NotOwner);
            }
        }
        // The record goes last: what is interrupted is done again.
        self.close(&rid);
        for id in federated.room().into_iter().chain(federated.also()) {
            let Ok((state, _)) = self.engine.state(id).await else { continue };
            let own: Vec<UserId> = state.joined_of(self.engine.origin).collect();
            for user in own {
                if let Err(error) = self.engine.leave(id, user.localpart.clone()).await {
                    tracing::warn!(%user, %error, "somebody has not left a room that is closed to other servers");
                }
            }
        }
        let mut changes = Changes::default();
        for account in self.records.inside(&rid)? {
            if let Err(error) = self.client.kick(federated.kind, &rid, &account).await {
                tracing::warn!(%rid, %error, "an account that stands for somebody has not left");
            }
            changes.remove(inside_key(&rid, &account));
        }
        changes.remove(room_key(&rid));
        changes.remove(agreed_key(&rid));
        changes.remove(anchor_key(&rid));
        for id in federated.room().into_iter().chain(federated.also()) {
            changes.remove(of_key(&id));
        }
        Self::note_closed(&rid, &federated, &mut changes);
        self.save(&changes).await?;
        self.host.forget_room(&rid);
        self.tell_queue();
        Ok(())
    }

    /// Whoever of this server a room is opened for, and whether they may do that.
    pub(super) async fn owner(
        &self,
        room: &Room,
        kind: RoomKind,
        username: Option<&str>,
    ) -> Result<(Localpart, bool), FederateError> {
        let roles = self.client.roles(kind, &room.id).await?;
        let is_owner =
            |name: &str| roles.iter().any(|entry| entry.u.username == name && entry.roles.iter().any(|r| r == "owner"));
        if let Some(username) = username {
            let user = self.person(username).await?;
            let admin =
                self.client.user_by_name(username).await?.is_some_and(|user| user.roles.iter().any(|r| r == "admin"));
            return Ok((user, admin || is_owner(username)));
        }
        for entry in roles.iter().filter(|entry| is_owner(&entry.u.username)) {
            if let Ok(user) = self.person(&entry.u.username).await {
                return Ok((user, true));
            }
        }
        // A room whose owners are gone is opened by whoever is in it.
        for member in self.client.members(kind, &room.id).await? {
            if let Ok(user) = self.person(&member.username).await {
                return Ok((user, true));
            }
        }
        Err(FederateError::Nobody("of this server".to_owned()))
    }

    /// A person of this server, by username.
    async fn person(&self, username: &str) -> Result<Localpart, FederateError> {
        let username = username.trim_start_matches('@');
        self.meet(None, username).await?;
        let account = self.records.account_named(username)?;
        match account.map(|(_, account)| account.who()) {
            Some(Who::Local(localpart)) => Ok(localpart),
            _ => Err(FederateError::Nobody(username.to_owned())),
        }
    }

    /// Makes a channel or group here with somebody of this server.
    async fn make(&self, kind: RoomKind, name: &str, username: &str) -> Result<Room, FederateError> {
        let plain = slug(name);
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            let name = if attempt == 1 { plain.clone() } else { format!("{plain}-{attempt}") };
            let new = NewRoom { name, members: vec![username.to_owned()] };
            match self.client.create_room(kind, &new).await {
                Ok(room) => return Ok(room),
                Err(error @ RestError::Refused { .. }) => last = error.to_string(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(FederateError::Name { name: plain, reason: last })
    }

    /// Records a room, with what belongs to it, and begins to keep it the same.
    pub(super) async fn keep(
        &self,
        rid: &str,
        federated: Federated,
        mut changes: Changes,
    ) -> Result<RoomStatus, FederateError> {
        changes.set(room_key(rid), &federated);
        if let Some(room) = federated.room() {
            changes.set(of_key(&room), &rid);
        }
        self.save(&changes).await?;
        self.open(rid.to_owned(), federated.clone());
        Ok(self.status_of(rid, federated))
    }

    pub(super) fn status_of(&self, rid: &str, federated: Federated) -> RoomStatus {
        RoomStatus { rid: rid.to_owned(), federated, report: RoomReport::default() }
    }

    /// Everybody of this server who is in a room joins it in the mesh too.
    pub(super) async fn bring_members(
        &self,
        rid: &str,
        kind: RoomKind,
        id: RoomId,
        owner: Localpart,
    ) -> Result<(), FederateError> {
        for member in self.client.members(kind, rid).await? {
            let Ok(user) = self.person(&member.username).await else { continue };
            let (state, _) = self.engine.state(id).await?;
            let about = self.engine.local(user.clone());
            if state.is_joined(&about) {
                continue;
            }
            if kind == RoomKind::Group {
                let content = Content::Member { user: about, change: Membership::Invite, seen: Vec::new() };
                self.engine.post(id, self.engine.draft(Some(owner.clone()), &content, None)).await?;
            }
            self.engine.join(id, user, JOIN).await?;
        }
        Ok(())
    }

    /// Tells people of this server of rooms that they are invited to. A direct room begins by itself, as it does in Rocket.Chat.
    pub(super) async fn watch_invitations(&self) {
        let mut stopped = self.stopped.subscribe();
        loop {
            if let Err(error) = self.look_at_invitations().await {
                tracing::debug!(%error, "an invitation could not be told yet");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = shut_down(&mut stopped) => return,
            }
        }
    }

    async fn look_at_invitations(&self) -> Result<(), FederateError> {
        let mut open: BTreeSet<(RoomId, String)> = BTreeSet::new();
        let invitations = self.engine.invitations().map_err(Stall::from)?;
        for (room, invitation) in invitations {
            for (user, by) in &invitation.users {
                let Ok(localpart) = user.parse::<Localpart>() else { continue };
                open.insert((room, user.clone()));
                let told = format!("{TOLD}{room}/{user}");
                if self.engine.store.record_of(&told)?.is_some() {
                    continue;
                }
                // Nobody of that name has been met yet: they may be here all the same.
                if self.records.local(&localpart)?.is_none() {
                    self.meet(None, localpart.as_str()).await?;
                }
                let Some(id) = self.records.local(&localpart)? else { continue };
                let Some(account) = self.records.account(&id)? else { continue };
                let mut changes = Changes::default();
                if invitation.room_type == RoomType::Direct.letter() {
                    let entering = self.note_entering(&room, user).await?;
                    changes.remove(entering);
                    // One that cannot begin keeps no other from being told.
                    if let Err(error) = self.enter(room, &account.username, None).await {
                        tracing::debug!(%room, %error, "a direct room does not begin yet");
                        continue;
                    }
                } else {
                    let name = invitation.name.as_deref().unwrap_or("a room");
                    let by = by.parse::<UserId>().map_or_else(|_| by.clone(), |by| self.engine.names.display(&by));
                    let words = format!("{by} invites you to {name}. Write `join {room}` to take part.");
                    self.explain(&localpart, &words).await;
                }
                changes.set(told, &true);
                self.save(&changes).await?;
            }
        }
        self.go_on_entering(&open).await?;
        self.forget_told(&open).await
    }

    /// An invitation that is over may come again, and is told again then.
    async fn forget_told(&self, open: &BTreeSet<(RoomId, String)>) -> Result<(), FederateError> {
        let mut changes = Changes::default();
        for (name, _) in self.engine.store.records(TOLD)? {
            let of = name[TOLD.len()..].split_once('/');
            let of = of.and_then(|(room, user)| Some((room.parse().ok()?, user.to_owned())));
            if of.is_none_or(|of| !open.contains(&of)) {
                changes.remove(name);
            }
        }
        Ok(self.save(&changes).await?)
    }
}

/// What a change of a room's name in the mesh is called here, so that both sides know it by one word.
pub(super) fn renamed(what: &What) -> Option<&str> {
    match what {
        What::Label { label: Label::Name, text } => Some(text),
        _ => None,
    }
}

/// The kind of Rocket.Chat's room that a room is.
pub(super) fn kind_of(room_type: RoomType) -> RoomKind {
    match room_type {
        RoomType::Channel => RoomKind::Channel,
        RoomType::Private => RoomKind::Group,
        RoomType::Direct => RoomKind::Direct,
    }
}

const fn publicity(kind: RoomKind) -> &'static str {
    match kind {
        RoomKind::Channel => "public",
        RoomKind::Group | RoomKind::Direct => "private",
    }
}

/// The kind of room that a kind of Rocket.Chat's room becomes.
pub(super) fn room_type(kind: RoomKind) -> RoomType {
    match kind {
        RoomKind::Channel => RoomType::Channel,
        RoomKind::Group => RoomType::Private,
        RoomKind::Direct => RoomType::Direct,
    }
}

/// What a room is called.
pub(super) fn name_of(room: &Room) -> String {
    room.name.clone().or_else(|| room.fname.clone()).unwrap_or_default()
}

/// Whether a channel of this name is one that is called so in the mesh, as far as Rocket.Chat can write that.
pub(super) fn is_called(name: &str, called: &str) -> bool {
    let plain = slug(called);
    let number = name.strip_prefix(&plain).and_then(|rest| rest.strip_prefix('-'));
    let numbered = number.is_some_and(|number| number.parse::<u32>().is_ok_and(|number| number <= ATTEMPTS));
    name == called || name == plain || numbered
}

/// A name as Rocket.Chat allows it for channels.
pub(super) fn slug(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let plain: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).take(LONGEST_NAME).collect();
    let plain = plain.trim_matches(['.', '-', '_']);
    if plain.is_empty() { "federated".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn a_rooms_name_becomes_one_that_rocket_chat_takes() {
        assert_eq!(slug("Lunch & more"), "Lunch---more");
        assert_eq!(slug("昼食"), "federated");
        assert_eq!(slug("..-"), "federated");
    }
}
