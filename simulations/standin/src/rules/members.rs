//! Who is in a room, and what they may do there.

use serde_json::json;

use crate::documents::{Room, User};
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::state::{Event, State};

fn not_allowed() -> Refusal {
    Refusal::coded("error-not-allowed", "Not allowed")
}

impl State {
    /// Joins a public channel.
    pub(crate) fn join(&mut self, uid: &str, rid: &str) -> Result<(), Refusal> {
        if !self.can_access(rid, uid) {
            return Err(not_allowed());
        }
        self.add_member(rid, uid, None)
    }

    /// Brings somebody into a channel or group.
    pub(crate) fn invite(&mut self, by: &str, rid: &str, uid: &str) -> Result<(), Refusal> {
        let room = self.rooms.get(rid).ok_or_else(|| Refusal::coded("error-invalid-room", "Invalid room"))?;
        let joined = self.member(rid, by).is_some();
        let anywhere = room.t == "c" && self.may(by, Permission::AddUserToAnyChannel, Some(rid));
        if !(anywhere || joined && self.may(by, Permission::AddUserToJoinedRoom, Some(rid))) {
            return Err(not_allowed());
        }
        self.add_member(rid, uid, Some(by))
    }

    /// Removes somebody from a room.
    pub(crate) fn kick(&mut self, by: &str, rid: &str, uid: &str) -> Result<(), Refusal> {
        let room = self.rooms.get(rid).ok_or_else(|| Refusal::coded("error-invalid-room", "Invalid room"))?;
        let anywhere = room.t == "c" && self.may(by, Permission::KickFromAnyChannel, Some(rid));
        if room.t == "d" || !(anywhere || self.may(by, Permission::RemoveUser, Some(rid))) {
            return Err(not_allowed());
        }
        self.remove_member(rid, uid, Some(by), "User is not in this room")
    }

    /// Leaves a room. The last owner may not, and nobody leaves a direct room of two.
    pub(crate) fn leave(&mut self, uid: &str, rid: &str) -> Result<(), Refusal> {
        let room = self.rooms.get(rid).ok_or_else(|| Refusal::coded("error-invalid-room", "Invalid room"))?;
        let allowed = match room.t.as_str() {
            "c" => self.may(uid, Permission::LeaveChannel, None),
            "p" => self.may(uid, Permission::LeaveGroup, None),
            _ => room.uids.len() > 2,
        };
        if !allowed {
            return Err(not_allowed());
        }
        self.remove_member(rid, uid, None, "You are not in this room")
    }

    /// Bans somebody: their subscription stays, and says so.
    pub(crate) fn ban(&mut self, by: &str, rid: &str, uid: &str) -> Result<(), Refusal> {
        let (by, user, mut room) = self.moderate(by, rid, uid, Permission::BanUser)?;
        let Some(mut subscription) = self.member(rid, uid).cloned() else {
            return Err(Refusal::coded("error-user-not-in-room", "User is not in this room"));
        };
        self.not_last_owner(rid, uid)?;
        subscription.roles.clear();
        subscription.status = Some("BANNED".to_owned());
        self.put_subscription(subscription, "removed");
        room.users_count = room.users_count.saturating_sub(1);
        self.put_room(room, "updated");
        if let Some(by) = self.author(&by.id) {
            self.system_message("user-banned", rid, &user.username, by, None);
        }
        Ok(())
    }

    /// Lifts a ban. Whoever was banned is not a member by that.
    pub(crate) fn unban(&mut self, by: &str, rid: &str, uid: &str) -> Result<(), Refusal> {
        let (by, user, _) = self.moderate(by, rid, uid, Permission::BanUser)?;
        match self.subscription(rid, uid) {
            None => return Err(Refusal::plain("error-invalid-subscription")),
            Some(subscription) if subscription.is_member() => return Err(Refusal::plain("error-user-not-banned")),
            Some(_) => {}
        }
        self.remove_subscription(rid, uid);
        if let Some(by) = self.author(&by.id) {
            self.system_message("user-unbanned", rid, &user.username, by, None);
        }
        Ok(())
    }

    /// Takes somebody's voice in a room, or gives it back. In a read-only room who has a voice is a list of its own.
    pub(crate) fn mute(&mut self, by: &str, rid: &str, uid: &str, mute: bool) -> Result<(), Refusal> {
        let (by, user, mut room) = self.moderate(by, rid, uid, Permission::MuteUser)?;
        if self.member(rid, uid).is_none() {
            return Err(Refusal::coded("error-user-not-in-room", "User is not in this room"));
        }
        room.muted.retain(|name| *name != user.username);
        room.unmuted.retain(|name| *name != user.username);
        match (mute, room.ro) {
            (true, false) => room.muted.push(user.username.clone()),
            (false, true) => room.unmuted.push(user.username.clone()),
            _ => {}
        }
        self.put_room(room, "updated");
        if let Some(by) = self.author(&by.id) {
            self.system_message(if mute { "user-muted" } else { "user-unmuted" }, rid, &user.username, by, None);
        }
        Ok(())
    }

    /// Gives or takes the role `owner`, `moderator` or `leader` in a room.
    pub(crate) fn set_role(
        &mut self,
        by: &str,
        rid: &str,
        uid: &str,
        role: &'static str,
        give: bool,
    ) -> Result<(), Refusal> {
        let permission = match role {
            "owner" => Permission::SetOwner,
            "moderator" => Permission::SetModerator,
            _ => Permission::SetLeader,
        };
        let (by, user, _) = self.moderate(by, rid, uid, permission)?;
        let Some(mut subscription) = self.member(rid, uid).cloned() else {
            return Err(Refusal::coded("error-user-not-in-room", "User is not in this room"));
        };
        let has = subscription.roles.iter().any(|other| other == role);
        if has == give {
            let code = match (role, give) {
                ("owner", true) => "error-user-already-owner",
                ("owner", false) => "error-user-not-owner",
                ("moderator", true) => "error-user-already-moderator",
                ("moderator", false) => "error-user-not-moderator",
                (_, true) => "error-user-already-leader",
                (_, false) => "error-user-not-leader",
            };
            let word = if give { "already" } else { "not" };
            return Err(Refusal::coded(code, format!("User is {word} a {role}")));
        }
        if give {
            subscription.roles.push(role.to_owned());
        } else {
            if role == "owner" && self.owners(rid) == 1 {
                let reason = "This is the last owner. Please set a new owner before removing this one.";
                return Err(Refusal::coded("error-remove-last-owner", reason));
            }
            subscription.roles.retain(|other| other != role);
        }
        self.put_subscription(subscription, "updated");
        let t = if give { "subscription-role-added" } else { "subscription-role-removed" };
        if let Some(by) = self.author(&by.id) {
            self.system_message(t, rid, &user.username, by, Some(role));
        }
        let change = json!({
            "type": if give { "added" } else { "removed" },
            "_id": role,
            "u": {"_id": user.id, "username": user.username, "name": user.name},
            "scope": rid,
        });
        self.tell(Event::Logged { name: "roles-change", args: vec![change] });
        Ok(())
    }

    /// Puts somebody into a room. Whoever is in it already stays, and nothing is told.
    pub(crate) fn add_member(&mut self, rid: &str, uid: &str, inviter: Option<&str>) -> Result<(), Refusal> {
        let Some(user) = self.author(uid) else {
            return Err(Refusal::coded("error-invalid-user", "Invalid user"));
        };
        match self.subscription(rid, uid) {
            Some(subscription) if subscription.is_member() => return Ok(()),
            Some(_) => return Err(Refusal::coded("error-user-is-banned", "User is banned from this room")),
            None => {}
        }
        let mut subscription = self.blank_subscription(rid, uid)?;
        subscription.alert = true;
        subscription.unread = 1;
        subscription.user_mentions = 1;
        self.put_subscription(subscription, "inserted");
        self.count_members(rid);
        let name = user.username.clone();
        match inviter.and_then(|inviter| self.author(inviter)) {
            Some(inviter) => self.system_message("au", rid, &name, inviter, None),
            None => self.system_message("uj", rid, &name, user, None),
        }
        Ok(())
    }

    fn remove_member(&mut self, rid: &str, uid: &str, by: Option<&str>, absent: &str) -> Result<(), Refusal> {
        if self.member(rid, uid).is_none() {
            return Err(Refusal::coded("error-user-not-in-room", absent));
        }
        self.not_last_owner(rid, uid)?;
        let Some(user) = self.author(uid) else {
            return Err(Refusal::coded("error-invalid-user", "Invalid user"));
        };
        let name = user.username.clone();
        match by.and_then(|by| self.author(by)) {
            Some(by) => self.system_message("ru", rid, &name, by, None),
            None => self.system_message("ul", rid, &name, user, None),
        }
        self.remove_subscription(rid, uid);
        if let Some(mut room) = self.rooms.get(rid).cloned().filter(|room| room.t == "d") {
            room.uids.retain(|other| other != uid);
            room.usernames.retain(|other| *other != name);
            self.put_room(room, "updated");
        }
        self.count_members(rid);
        Ok(())
    }

    /// Whoever moderates must have the permission; the room and the other must exist.
    fn moderate(&self, by: &str, rid: &str, uid: &str, permission: Permission) -> Result<(User, User, Room), Refusal> {
        let room = self.rooms.get(rid).ok_or_else(|| Refusal::coded("error-invalid-room", "Invalid room"))?;
        if !self.may(by, permission, Some(rid)) {
            return Err(not_allowed());
        }
        if room.t == "d" {
            return Err(Refusal::coded("error-invalid-room-type", "d is not a valid room type"));
        }
        let invalid = || Refusal::coded("error-invalid-user", "Invalid user");
        let by = self.users.get(by).ok_or_else(invalid)?;
        let user = self.users.get(uid).ok_or_else(invalid)?;
        Ok((by.clone(), user.clone(), room.clone()))
    }

    fn owners(&self, rid: &str) -> usize {
        self.members(rid).into_iter().filter(|member| member.roles.iter().any(|role| role == "owner")).count()
    }

    fn not_last_owner(&self, rid: &str, uid: &str) -> Result<(), Refusal> {
        let owns = self.member(rid, uid).is_some_and(|member| member.roles.iter().any(|role| role == "owner"));
        if owns && self.owners(rid) == 1 {
            let reason = "You are the last owner. Please set new owner before leaving the room.";
            return Err(Refusal::coded("error-you-are-last-owner", reason));
        }
        Ok(())
    }

    fn count_members(&mut self, rid: &str) {
        let count = self.members(rid).len() as u64;
        if let Some(mut room) = self.rooms.get(rid).cloned() {
            room.users_count = count;
            self.put_room(room, "updated");
        }
    }
}
