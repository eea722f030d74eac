//! Who is where: people are brought into a room and put out of it, and put back where the room has them.
//!
//! Rocket.Chat has its own mind in three things. It bans nobody who is not in the room, and lets nobody in who is banned: a ban is lifted
//! first. It keeps the last owner of a room: the service account becomes one then. And of an archived room it lets nobody come or go: what
//! could not be done then is made up for when the room is compared after it was opened again.

use std::sync::atomic::Ordering;

use rocketmesh_protocol::authority::{Refusal, RoomState};
use rocketmesh_protocol::event::{Membership, Role};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::{Localpart, UserId};

use super::Stall;
use super::room::RoomTask;
use crate::rocketchat::client::{Client, Message, Moment, Page, RestError, RoomKind, RoomRole};

const LAST_OWNER: &str = "error-you-are-last-owner";
const ARCHIVED: &str = "error-room-archived";

impl RoomTask {
    /// Brings an account into the room. False if that cannot be for good, which is a dead letter; none if it cannot be now, since
    /// the room is archived.
    pub(super) async fn bring_in(&self, user: &UserId, id: &str) -> Result<Option<bool>, Stall> {
        let client = &self.bridge.client;
        let mut invited = client.invite(self.federated.kind, &self.rid, id).await;
        if invited.as_ref().is_err_and(RestError::is_of_the_account) && self.bridge.release().has_bans() {
            // With which word a banned person is refused is not known for every release.
            match client.unban(&self.rid, id).await {
                Ok(()) => invited = client.invite(self.federated.kind, &self.rid, id).await,
                Err(error) if error.is_passing() => return Err(error.into()),
                Err(_) => {}
            }
        }
        if matches!(invited, Err(RestError::NotFound { .. })) {
            self.still_here().await?;
        }
        self.unless_archived(user, invited).await
    }

    /// Puts somebody out of the room: for good where they are banned and the server can do that.
    pub(super) async fn put_out(&mut self, user: &UserId, id: &str) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let ban = state.membership(user) == Some(Membership::Ban) && self.bridge.release().has_bans();
        let mut out = self.out(id, ban).await;
        if out.as_ref().is_err_and(|error| error.says(LAST_OWNER)) {
            self.take_ownership().await?;
            out = self.out(id, ban).await;
        }
        if self.unless_archived(user, out).await? == Some(true) {
            self.note_inside(id, false).await?;
        }
        Ok(())
    }

    async fn out(&self, id: &str, ban: bool) -> Result<(), RestError> {
        match ban {
            true => self.bridge.client.ban(&self.rid, id).await,
            false => self.bridge.client.kick(self.federated.kind, &self.rid, id).await,
        }
    }

    async fn unless_archived(&self, user: &UserId, done: Result<(), RestError>) -> Result<Option<bool>, Stall> {
        match done {
            Err(error) if error.says(ARCHIVED) => {
                self.unsettled.store(true, Ordering::SeqCst);
                Ok(None)
            }
            done => self.done(&user.to_string(), done).await.map(Some),
        }
    }

    /// Makes the service account an owner of the room, if it is none.
    pub(super) async fn take_ownership(&self) -> Result<(), Stall> {
        let (kind, service) = (self.federated.kind, &self.bridge.service.id);
        let made = self.bridge.client.set_role(kind, &self.rid, service, RoomRole::Owner, true).await;
        self.done(service, made).await.map(drop)
    }

    /// Puts somebody back where the room has them, after somebody here put them elsewhere.
    pub(super) async fn put_back(&mut self, user: &UserId, change: Membership) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let Some(id) = self.account_of(user, false).await? else { return Ok(()) };
        let settled = self.put_where_they_belong(user, &id, change).await?;
        if !settled {
            self.unsettled.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// False if they stay where they were put here, though the room has them elsewhere.
    async fn put_where_they_belong(&mut self, user: &UserId, id: &str, change: Membership) -> Result<bool, Stall> {
        if !self.view.is_local(user) {
            // Where they are now is what was done here.
            self.note_inside(id, matches!(change, Membership::Join | Membership::Invite)).await?;
        }
        let (state, _) = self.bridge.engine.state(self.room).await?;
        match state.membership(user) {
            Some(Membership::Join) if self.view.is_local(user) => self.take_back(user).await?,
            Some(Membership::Join) => self.let_in(user).await?,
            // Their invitation stands. Whoever was put out here comes in again when they accept it.
            Some(Membership::Invite) if !self.view.is_local(user) => return Ok(false),
            _ if self.is_in_rocket_chat(id).await? => self.put_out(user, id).await?,
            // Rocket.Chat bans nobody who is not in the room. Should they come in, they are put out.
            Some(Membership::Ban) if change == Membership::Unban => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    /// Gives somebody who has just come in what they have in the room: a role, or no voice.
    pub(super) async fn settle_standing(&mut self, user: &UserId) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        if !state.is_joined(user) {
            return Ok(());
        }
        if state.role(user) != Role::Member {
            self.settle_role(user).await?;
        }
        if state.is_muted(user) {
            self.settle_mute(user).await?;
        }
        Ok(())
    }

    /// Tells a person of this server that somebody invites them into a room that is here already.
    pub(super) async fn tell_invited(&self, user: &UserId, state: &RoomState) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        // They may be here without having been met.
        self.bridge.meet(None, user.localpart.as_str()).await?;
        let setter = state.membership_event(user);
        let event = setter.map(|event| self.bridge.engine.store.event(&event)).transpose()?.flatten();
        let by = event.and_then(|stored| stored.event.sender());
        if by.as_ref().is_none_or(|by| self.view.is_local(by)) {
            return Ok(());
        }
        let by = by.map(|by| self.bridge.engine.names.display(&by)).unwrap_or_default();
        let words = format!("{by} invites you to {}. Write `join {}` to take part.", self.place(), self.room);
        self.bridge.explain(&user.localpart, &words).await;
        Ok(())
    }

    /// What a role that was given or taken here makes of the one that somebody has in the room; none if nothing.
    pub(super) async fn role_now(
        &self,
        state: &RoomState,
        user: &UserId,
        role: Role,
        given: bool,
    ) -> Result<Option<Role>, Stall> {
        let held = state.role(user);
        if given {
            return Ok((role > held).then_some(role));
        }
        if role != held {
            return Ok(None);
        }
        let Some(id) = self.account_of(user, false).await? else { return Ok(Some(Role::Member)) };
        let roles = self.bridge.client.roles(self.federated.kind, &self.rid).await?;
        let left = roles.iter().find(|entry| entry.u.id == id).map_or(Role::Member, |entry| highest(&entry.roles));
        Ok((left != held).then_some(left))
    }

    /// Whether a person of this server is in the room in Rocket.Chat.
    pub(super) async fn is_here(&self, user: &Localpart) -> Result<bool, Stall> {
        match self.bridge.records.local(user)? {
            Some(id) if self.federated.kind != RoomKind::Direct => self.is_in_rocket_chat(&id).await,
            // A direct room is heard of through those in it alone.
            known => Ok(known.is_some()),
        }
    }

    /// As whom the room is read: a direct room of two as the account that stands for the other, any other as the service account.
    pub(super) async fn reader(&self) -> Result<Client, Stall> {
        match &self.federated.reader {
            Some(id) => self.bridge.as_shadow(id).await,
            None => Ok(self.bridge.client.clone()),
        }
    }

    /// A message, as the room is read; none if there is none.
    pub(super) async fn read_message(&self, id: &str) -> Result<Option<Message>, Stall> {
        let reader = self.reader().await?;
        let read = reader.get_message(id).await;
        Ok(self.bridge.heed(&reader, read)??)
    }

    /// The last messages of the room between two moments, as the room is read.
    pub(super) async fn read_history(
        &self,
        bounds: (Option<Moment>, Option<Moment>),
        count: usize,
    ) -> Result<Page, Stall> {
        let reader = self.reader().await?;
        let read = reader.history(self.federated.kind, &self.rid, bounds, count).await;
        Ok(self.bridge.heed(&reader, read)??)
    }

    /// The rooms of the mesh that this one is; the first is the one that is written to.
    pub(super) fn rooms(&self) -> Vec<RoomId> {
        std::iter::once(self.room).chain(self.also.iter().copied()).collect()
    }

    /// Whether this is a room that this one is.
    pub(super) fn reads(&self, room: &RoomId) -> bool {
        *room == self.room || self.also.contains(room)
    }

    /// What people call this room.
    pub(super) fn place(&self) -> String {
        match self.federated.kind {
            RoomKind::Direct => format!("your direct room with {}", self.federated.name),
            _ => format!("#{}", self.federated.name),
        }
    }

    /// A refusal in words, with people's names as they are written.
    pub(super) fn words(&self, refusal: &Refusal) -> String {
        let text = refusal.to_string();
        match refusal {
            Refusal::NotAMember(user)
            | Refusal::NotOneself(user)
            | Refusal::Outranked(user)
            | Refusal::Banned(user)
            | Refusal::Muted(user)
            | Refusal::Membership { user, .. } => {
                text.replace(&user.to_string(), &self.bridge.engine.names.display(user))
            }
            _ => text,
        }
    }
}

/// Of the roles that Rocket.Chat gives somebody in a room, the one that a room has.
pub(super) fn highest(roles: &[String]) -> Role {
    let role = |word: &String| match word.as_str() {
        "owner" => Role::Owner,
        "moderator" => Role::Moderator,
        "leader" => Role::Leader,
        _ => Role::Member,
    };
    roles.iter().map(role).max().unwrap_or(Role::Member)
}
