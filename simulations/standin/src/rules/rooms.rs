//! Rooms: created, archived, deleted.

use crate::documents::{Room, Subscription};
use crate::id;
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::rules::mentions::is_name;
use crate::state::State;

/// A channel or group that somebody wants to have.
#[derive(Debug, Default)]
pub(crate) struct NewRoom {
    pub(crate) name: String,
    pub(crate) members: Vec<String>,
    pub(crate) read_only: bool,
    pub(crate) exclude_self: bool,
}

/// A direct room as it is answered.
#[derive(Debug)]
pub(crate) struct DirectRoom {
    pub(crate) rid: String,
    pub(crate) usernames: Vec<String>,
}

impl State {
    /// Creates a channel (`c`) or a private group (`p`). Members that do not exist are left out without a word, and no
    /// message tells of the first members.
    pub(crate) fn create_room(&mut self, uid: &str, t: &'static str, new: NewRoom) -> Result<Room, Refusal> {
        let permission = if t == "c" { Permission::CreateChannel } else { Permission::CreateGroup };
        if !self.may(uid, permission, None) {
            return Err(Refusal::Forbidden);
        }
        self.free_room_name(&new.name)?;
        let mut room = self.blank_room(id::id(), t);
        let creator = self.author(uid).ok_or_else(|| Refusal::coded("error-invalid-user", "Invalid user"))?;
        room.name = Some(new.name.clone());
        room.fname = Some(new.name);
        room.u = Some(creator);
        room.ro = new.read_only;
        let mut members: Vec<String> = if new.exclude_self { Vec::new() } else { vec![uid.to_owned()] };
        for username in &new.members {
            if let Some(user) = self.user_named(username)
                && !members.contains(&user.id)
            {
                members.push(user.id.clone());
            }
        }
        room.users_count = members.len() as u64;
        let rid = room.id.clone();
        self.put_room(room, "inserted");
        for member in members {
            let mut subscription = self.blank_subscription(&rid, &member)?;
            if member == uid {
                subscription.roles = vec!["owner".to_owned()];
            }
            self.put_subscription(subscription, "inserted");
        }
        self.rooms.get(&rid).cloned().ok_or_else(|| Refusal::plain("error-invalid-room"))
    }

    /// Opens the direct room of somebody with others. Names that do not exist are left out without a word: with nobody left,
    /// it is the room of somebody with themselves.
    pub(crate) fn create_direct(
        &mut self,
        uid: &str,
        usernames: &[String],
        exclude_self: bool,
    ) -> Result<DirectRoom, Refusal> {
        let invalid = || Refusal::coded("error-invalid-user", "Invalid user");
        if !self.may(uid, Permission::CreateDirect, None) {
            return Err(Refusal::coded("error-not-allowed", "Not allowed"));
        }
        let me = self.users.get(uid).ok_or_else(invalid)?;
        let mut people = if exclude_self { Vec::new() } else { vec![me] };
        for username in usernames {
            let found = self.user_named(username.trim().trim_start_matches('@'));
            if let Some(user) = found
                && !people.iter().any(|other| other.id == user.id)
            {
                people.push(user);
            }
        }
        let most = self.setting("DirectMesssage_maxUsers").as_u64().unwrap_or(1);
        if people.len() as u64 > most {
            let reason = format!("You cannot add more than {most} users, including yourself to a direct message");
            return Err(Refusal::coded("error-direct-message-max-user-exceeded", reason));
        }
        if people.is_empty() {
            return Err(invalid());
        }
        people.sort_by(|one, other| one.name.cmp(&other.name));
        let names: Vec<String> = people.iter().map(|user| user.username.clone()).collect();
        let mut uids: Vec<String> = people.iter().map(|user| user.id.clone()).collect();
        uids.sort();
        // The id of a room of two says who is in it.
        let known = match uids.len() {
            2 => self.rooms.get(&uids.concat()),
            _ => self.rooms.values().find(|room| room.t == "d" && room.uids == uids),
        };
        let rid = match known {
            Some(room) => room.id.clone(),
            None => {
                let rid = if uids.len() == 2 { uids.concat() } else { id::id() };
                let mut room = self.blank_room(rid.clone(), "d");
                room.usernames.clone_from(&names);
                room.uids.clone_from(&uids);
                room.users_count = uids.len() as u64;
                self.put_room(room, "inserted");
                rid
            }
        };
        for member in &uids {
            let present = self.subscription(&rid, member).cloned();
            let action = if present.is_some() { "updated" } else { "inserted" };
            if present.as_ref().is_some_and(|subscription| member != uid || subscription.open) {
                continue;
            }
            let mut subscription = match present {
                Some(present) => present,
                None => self.blank_subscription(&rid, member)?,
            };
            // Whoever is written to sees the room once something is said in it.
            subscription.open = member == uid || uids.len() > 2;
            self.put_subscription(subscription, action);
        }
        Ok(DirectRoom { rid, usernames: names })
    }

    /// A subscription of somebody who was not in the room before.
    pub(crate) fn blank_subscription(&self, rid: &str, uid: &str) -> Result<Subscription, Refusal> {
        let room = self.rooms.get(rid).ok_or_else(|| Refusal::coded("error-invalid-room", "Invalid room"))?;
        let mut u = self.author(uid).ok_or_else(|| Refusal::coded("error-invalid-user", "Invalid user"))?;
        let (mut name, mut fname) = (room.name.clone(), room.fname.clone().or_else(|| room.name.clone()));
        if room.t == "d" {
            let others: Vec<_> = room.uids.iter().filter(|other| *other != uid || room.uids.len() == 1).collect();
            let others: Vec<_> = others.into_iter().filter_map(|other| self.users.get(other)).collect();
            name = Some(others.iter().map(|user| user.username.as_str()).collect::<Vec<_>>().join(", "));
            fname = Some(others.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", "));
        }
        u.name = None;
        let now = self.now();
        Ok(Subscription {
            id: id::id(),
            rid: rid.to_owned(),
            t: room.t.clone(),
            u,
            name,
            fname,
            ts: now,
            updated_at: now,
            ls: Some(now),
            open: true,
            alert: false,
            unread: 0,
            user_mentions: 0,
            group_mentions: 0,
            roles: Vec::new(),
            status: None,
        })
    }

    /// Closes a room for its clients, or opens it again.
    pub(crate) fn archive(&mut self, uid: &str, rid: &str, archived: bool) -> Result<(), Refusal> {
        let permission = if archived { Permission::ArchiveRoom } else { Permission::UnarchiveRoom };
        if !self.may(uid, permission, Some(rid)) {
            return Err(Refusal::coded("error-not-authorized", "Not authorized"));
        }
        let mut room =
            self.rooms.get(rid).cloned().ok_or_else(|| Refusal::coded("error-invalid-room", "Invalid room"))?;
        room.archived = archived;
        self.put_room(room, "updated");
        if let Some(by) = self.author(uid) {
            self.system_message(if archived { "room-archived" } else { "room-unarchived" }, rid, "", by, None);
        }
        Ok(())
    }

    /// Deletes a room with everything in it.
    pub(crate) fn delete_room(&mut self, uid: &str, rid: &str) -> Result<(), Refusal> {
        let t = self.rooms.get(rid).map(|room| room.t.clone());
        let t = t.ok_or_else(|| Refusal::coded("error-invalid-room", "Invalid room"))?;
        let permission = if t == "p" { Permission::DeleteGroup } else { Permission::DeleteChannel };
        if !self.may(uid, permission, Some(rid)) {
            return Err(Refusal::coded("error-not-allowed", "Not allowed"));
        }
        self.remove_room(rid);
        Ok(())
    }

    /// Refuses a name that a room has, or that no room may have.
    pub(crate) fn free_room_name(&self, name: &str) -> Result<(), Refusal> {
        if name.is_empty() || !name.chars().all(is_name) {
            let reason = format!("{name} is not a valid room name");
            return Err(Refusal::coded("error-invalid-room-name", reason));
        }
        match self.room_named(name) {
            Some(room) if room.archived => {
                let reason = format!("There's an archived channel with name {name}");
                Err(Refusal::coded("error-archived-duplicate-name", reason))
            }
            Some(_) => {
                let reason = format!("A channel with name '{name}' exists");
                Err(Refusal::coded("error-duplicate-channel-name", reason))
            }
            None => Ok(()),
        }
    }
}
