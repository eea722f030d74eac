//! Who is in the room in Rocket.Chat, with which role, and with a voice or without.

use std::sync::atomic::Ordering;

use rocketmesh_protocol::event::{Membership, Role};
use rocketmesh_protocol::identity::UserId;

use super::Stall;
use super::room::RoomTask;
use crate::rocketchat::client::{RestError, RoomKind, RoomRole};
use crate::rocketchat::mapping::Known;
use crate::rocketchat::mapping::incoming::{self, Deed};
use crate::rocketchat::records::{Changes, inside_key};

impl RoomTask {
    /// The account's id of somebody, if there is one. `make` makes one for somebody elsewhere.
    pub(super) async fn account_of(&self, user: &UserId, make: bool) -> Result<Option<String>, Stall> {
        if self.view.is_local(user) {
            return Ok(self.bridge.records.local(&user.localpart)?);
        }
        match make {
            true => Ok(self.bridge.shadow(user).await?.map(|(id, _)| id)),
            false => Ok(self.bridge.records.shadow(user)?),
        }
    }

    /// Sees to it that the account that stands for somebody is in the room.
    pub(super) async fn let_in(&mut self, user: &UserId) -> Result<(), Stall> {
        if self.view.is_local(user) || self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let Some(id) = self.account_of(user, true).await? else { return Ok(()) };
        match self.bridge.records.inside_as(&self.rid, &id)? {
            Some(true) => return Ok(()),
            // It was not let in, which is in the queue; only there it is tried again.
            Some(false) if !self.trying => return Ok(()),
            _ => {}
        }
        match self.bring_in(user, &id).await? {
            Some(true) => {
                self.note_inside(&id, true).await?;
                self.settle_standing(user).await
            }
            // Nobody comes into an archived room; it is tried again when the room is compared.
            None => Ok(()),
            Some(false) => {
                let mut changes = Changes::default();
                changes.set(inside_key(&self.rid, &id), &false);
                self.record(changes).await
            }
        }
    }

    pub(super) async fn note_inside(&mut self, id: &str, inside: bool) -> Result<(), Stall> {
        if !inside {
            return self.note_outside(id).await;
        }
        let mut changes = Changes::default();
        changes.set(inside_key(&self.rid, id), &true);
        self.record(changes).await
    }

    async fn note_outside(&mut self, id: &str) -> Result<(), Stall> {
        let mut changes = Changes::default();
        changes.remove(inside_key(&self.rid, id));
        self.record(changes).await
    }

    /// Sees to it that somebody is in the room or out of it.
    pub(super) async fn settle_member(&mut self, user: &UserId) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let now = state.membership(user);
        let own = self.view.is_local(user);
        if own && now == Some(Membership::Join) {
            return self.take_back(user).await;
        }
        if own && now == Some(Membership::Invite) {
            return self.tell_invited(user, &state).await;
        }
        let Some(deed) = incoming::membership(user, now, &self.view) else { return Ok(()) };
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let Some(id) = self.account_of(user, matches!(deed, Deed::Enter(_))).await? else { return Ok(()) };
        let (client, kind) = (self.bridge.client.clone(), self.federated.kind);
        let inside = match own {
            // Whoever left here by themselves is out already.
            true => matches!(deed, Deed::Kick(_) | Deed::Ban(_)) && self.is_in_rocket_chat(&id).await?,
            false => self.bridge.records.is_inside(&self.rid, &id)?,
        };
        let done = match deed {
            Deed::Enter(_) => return self.let_in(user).await,
            Deed::Ban(_) | Deed::Kick(_) if inside => return self.put_out(user, &id).await,
            Deed::Unban(_) if self.bridge.release().has_bans() => match client.unban(&self.rid, &id).await {
                // They were never banned here, or are not any more.
                Err(RestError::Refused { .. }) => Ok(()),
                lifted => lifted,
            },
            Deed::Leave(_) if inside && !own => {
                let speaker = self.bridge.speaker(user).await?;
                match speaker.alias {
                    None => match speaker.client.leave(kind, &self.rid).await {
                        Err(error) if error.is_of_the_account() => return self.put_out(user, &id).await,
                        left => self.bridge.heed(&speaker.client, left)?,
                    },
                    Some(_) => return self.put_out(user, &id).await,
                }
            }
            _ => return Ok(()),
        };
        self.done(&user.to_string(), done).await?;
        self.note_outside(&id).await
    }

    pub(super) async fn is_in_rocket_chat(&self, id: &str) -> Result<bool, Stall> {
        let members = self.bridge.client.members(self.federated.kind, &self.rid).await?;
        Ok(members.iter().any(|member| member.id == id))
    }

    /// A local user is in the room again whom somebody put out here against the room's rules.
    pub(super) async fn take_back(&mut self, user: &UserId) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let Some(id) = self.account_of(user, false).await? else { return Ok(()) };
        if self.is_in_rocket_chat(&id).await? {
            return Ok(());
        }
        if self.bring_in(user, &id).await? == Some(true) {
            self.settle_standing(user).await?;
        }
        Ok(())
    }

    pub(super) async fn settle_role(&mut self, user: &UserId) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let Some(id) = self.account_of(user, false).await?.filter(|_| state.is_joined(user)) else {
            self.unsettled.store(true, Ordering::SeqCst);
            return Ok(());
        };
        let roles = self.bridge.client.roles(self.federated.kind, &self.rid).await?;
        let owners = roles.iter().filter(|entry| entry.roles.iter().any(|role| role == "owner")).count();
        let has: Vec<String> =
            roles.into_iter().find(|entry| entry.u.id == id).map(|entry| entry.roles).unwrap_or_default();
        let wanted = match state.role(user) {
            Role::Owner => Some(RoomRole::Owner),
            Role::Moderator => Some(RoomRole::Moderator),
            Role::Leader => Some(RoomRole::Leader),
            Role::Member => None,
        };
        for (role, word) in
            [(RoomRole::Owner, "owner"), (RoomRole::Moderator, "moderator"), (RoomRole::Leader, "leader")]
        {
            let (is, to_be) = (has.iter().any(|has| has == word), wanted == Some(role));
            if is != to_be {
                // Rocket.Chat keeps the last owner of a room. The service account is one then.
                if role == RoomRole::Owner && is && owners == 1 {
                    self.take_ownership().await?;
                }
                let set = self.bridge.client.set_role(self.federated.kind, &self.rid, &id, role, to_be).await;
                self.done(&user.to_string(), set).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn settle_mute(&mut self, user: &UserId) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let Some(id) = self.account_of(user, false).await? else { return Ok(()) };
        let Some(username) = self.view.username(user) else { return Ok(()) };
        let room = self.bridge.client.room_info(&self.rid).await?;
        // In a read-only room there is a list of those who may speak instead.
        let muted = match room.ro {
            true => !room.unmuted.contains(&username),
            false => room.muted.contains(&username),
        };
        if room.ro && !state.is_muted(user) {
            self.unsettled.store(true, Ordering::SeqCst);
            return Ok(());
        }
        let done = match (state.is_muted(user), muted) {
            (true, false) => self.bridge.client.mute(&self.rid, &id).await,
            (false, true) => self.bridge.client.unmute(&self.rid, &id).await,
            _ => return Ok(()),
        };
        self.done(&user.to_string(), done).await.map(drop)
    }
}
