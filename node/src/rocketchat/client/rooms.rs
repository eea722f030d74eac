//! `channels.*`, `groups.*`, `im.*`, `rooms.*`, `subscriptions.*`: rooms and who is in them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::types::lenient;
use super::{Changes, Client, MemberRoles, Moment, PAGE, RestError, Room, RoomKind, Subscription, User};

/// The most members that are read of a room.
const MAX_MEMBERS: usize = 100_000;

/// A room to be made.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewRoom {
    /// Its name: letters, digits, `-`, `_`, `.` unless the server allows more.
    pub(crate) name: String,
    /// Usernames of those who are in it from the beginning. The caller always is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) members: Vec<String>,
}

/// The roles that members have in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomRole {
    /// `owner`
    Owner,
    /// `moderator`
    Moderator,
    /// `leader`
    Leader,
}

/// What is to change in a room. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomSettings {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room_name: Option<String>,
    /// The topic; empty takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room_topic: Option<String>,
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room_description: Option<String>,
    /// The announcement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room_announcement: Option<String>,
    /// Whether only some may speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_only: Option<bool>,
    /// Rocket.Chat's letter of the kind: `c` or `p`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room_type: Option<String>,
}

#[derive(Deserialize)]
struct Done {}

/// Each kind of room has its own word for a room.
#[derive(Deserialize)]
struct OneRoom {
    #[serde(alias = "channel", alias = "group")]
    room: Room,
}

#[derive(Deserialize)]
struct OneSubscription {
    #[serde(default)]
    subscription: Option<Subscription>,
}

#[derive(Deserialize)]
struct Members {
    #[serde(default, deserialize_with = "lenient")]
    members: Vec<User>,
    #[serde(default)]
    total: u64,
}

#[derive(Deserialize)]
struct Roles {
    #[serde(default, deserialize_with = "lenient")]
    roles: Vec<MemberRoles>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
struct Changed<T> {
    #[serde(default = "Vec::new", deserialize_with = "lenient")]
    update: Vec<T>,
    #[serde(default, deserialize_with = "lenient")]
    remove: Vec<Gone>,
}

#[derive(Deserialize)]
struct Gone {
    #[serde(rename = "_id")]
    id: String,
}

/// The call of a kind of room. Direct rooms have few of them.
fn call(kind: RoomKind, channel: &'static str, group: &'static str, direct: &'static str) -> &'static str {
    match kind {
        RoomKind::Channel => channel,
        RoomKind::Group => group,
        RoomKind::Direct => direct,
    }
}

impl Client {
    /// Makes a room; a direct one has no name. The server's name is not trusted: read it from the answer.
    ///
    /// # Errors
    /// [`RestError`]. A name that is taken is refused with `error-duplicate-channel-name`.
    pub(crate) async fn create_room(&self, kind: RoomKind, new: &NewRoom) -> Result<Room, RestError> {
        let action = match kind {
            RoomKind::Channel => "channels.create",
            RoomKind::Group => "groups.create",
            RoomKind::Direct => return self.create_direct(&new.members).await,
        };
        let answer: OneRoom = self.post(action, &json!(new)).await?;
        Ok(answer.room)
    }

    /// Opens the direct room of the account with others. **Compare the answer's usernames**: an unknown name is left out, and
    /// without any known one it is the room with oneself.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn create_direct(&self, usernames: &[String]) -> Result<Room, RestError> {
        let body = match usernames {
            [one] => json!({"username": one}),
            several => json!({"usernames": several.join(",")}),
        };
        let answer: OneRoom = self.post("im.create", &body).await?;
        Ok(answer.room)
    }

    /// Brings somebody into a channel or group.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn invite(&self, kind: RoomKind, rid: &str, user_id: &str) -> Result<(), RestError> {
        let action = call(kind, "channels.invite", "groups.invite", "groups.invite");
        self.of_member(action, rid, user_id).await
    }

    /// Puts somebody out of a channel or group.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn kick(&self, kind: RoomKind, rid: &str, user_id: &str) -> Result<(), RestError> {
        let action = call(kind, "channels.kick", "groups.kick", "groups.kick");
        self.of_member(action, rid, user_id).await
    }

    /// Joins a public channel.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn join(&self, rid: &str) -> Result<(), RestError> {
        let Done {} = self.post("channels.join", &json!({"roomId": rid})).await?;
        Ok(())
    }

    /// Leaves a room. The last owner of one is not let go.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn leave(&self, kind: RoomKind, rid: &str) -> Result<(), RestError> {
        let action = call(kind, "channels.leave", "groups.leave", "im.leave");
        let Done {} = self.post(action, &json!({"roomId": rid})).await?;
        Ok(())
    }

    /// Silences somebody in a room.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn mute(&self, rid: &str, user_id: &str) -> Result<(), RestError> {
        self.of_member("rooms.muteUser", rid, user_id).await
    }

    /// Lets somebody speak again.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn unmute(&self, rid: &str, user_id: &str) -> Result<(), RestError> {
        self.of_member("rooms.unmuteUser", rid, user_id).await
    }

    /// Bans somebody. Before 8.8 there are no bans ([`Release::has_bans`](super::Release::has_bans)): kick instead.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn ban(&self, rid: &str, user_id: &str) -> Result<(), RestError> {
        self.of_member("rooms.banUser", rid, user_id).await
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn unban(&self, rid: &str, user_id: &str) -> Result<(), RestError> {
        self.of_member("rooms.unbanUser", rid, user_id).await
    }

    /// Gives somebody a role in a channel or group, or takes it.
    ///
    /// # Errors
    /// [`RestError`]. A role that somebody has already is refused.
    pub(crate) async fn set_role(
        &self,
        kind: RoomKind,
        rid: &str,
        user_id: &str,
        role: RoomRole,
        give: bool,
    ) -> Result<(), RestError> {
        let group = kind != RoomKind::Channel;
        let action = match (role, give, group) {
            (RoomRole::Owner, true, false) => "channels.addOwner",
            (RoomRole::Owner, true, true) => "groups.addOwner",
            (RoomRole::Owner, false, false) => "channels.removeOwner",
            (RoomRole::Owner, false, true) => "groups.removeOwner",
            (RoomRole::Moderator, true, false) => "channels.addModerator",
            (RoomRole::Moderator, true, true) => "groups.addModerator",
            (RoomRole::Moderator, false, false) => "channels.removeModerator",
            (RoomRole::Moderator, false, true) => "groups.removeModerator",
            (RoomRole::Leader, true, false) => "channels.addLeader",
            (RoomRole::Leader, true, true) => "groups.addLeader",
            (RoomRole::Leader, false, false) => "channels.removeLeader",
            (RoomRole::Leader, false, true) => "groups.removeLeader",
        };
        self.of_member(action, rid, user_id).await
    }

    /// Changes name, topic and the like. What is as it was is neither stored nor told.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn save_room_settings(&self, rid: &str, settings: &RoomSettings) -> Result<(), RestError> {
        let mut body = match json!(settings) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        body.insert("rid".to_owned(), json!(rid));
        let Done {} = self.post("rooms.saveRoomSettings", &Value::Object(body)).await?;
        Ok(())
    }

    /// Archives a channel or group, or takes it out of the archive.
    ///
    /// # Errors
    /// [`RestError`]. One that is as it should be already is refused.
    pub(crate) async fn archive(&self, kind: RoomKind, rid: &str, archive: bool) -> Result<(), RestError> {
        let action = match archive {
            true => call(kind, "channels.archive", "groups.archive", "groups.archive"),
            false => call(kind, "channels.unarchive", "groups.unarchive", "groups.unarchive"),
        };
        let Done {} = self.post(action, &json!({"roomId": rid})).await?;
        Ok(())
    }

    /// Everybody who is in a room, page by page.
    ///
    /// # Errors
    /// [`RestError`]; [`RestError::TooLarge`] for a room with more than 100 000 members.
    pub(crate) async fn members(&self, kind: RoomKind, rid: &str) -> Result<Vec<User>, RestError> {
        let action = call(kind, "channels.members", "groups.members", "im.members");
        let count = PAGE.to_string();
        let mut members = Vec::new();
        loop {
            let offset = members.len().to_string();
            let query = [("roomId", rid), ("offset", offset.as_str()), ("count", count.as_str())];
            let page: Members = self.get(action, &query).await?;
            let last = page.members.is_empty();
            members.extend(page.members);
            if last || members.len() as u64 >= page.total {
                return Ok(members);
            }
            if members.len() >= MAX_MEMBERS {
                return Err(RestError::TooLarge { action, limit: MAX_MEMBERS as u64 });
            }
        }
    }

    /// Who has which role in a channel or group. Members without one are not in it; direct rooms have no roles.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn roles(&self, kind: RoomKind, rid: &str) -> Result<Vec<MemberRoles>, RestError> {
        let action = match kind {
            RoomKind::Channel => "channels.roles",
            RoomKind::Group => "groups.roles",
            RoomKind::Direct => return Ok(Vec::new()),
        };
        let answer: Roles = self.get(action, &[("roomId", rid)]).await?;
        Ok(answer.roles)
    }

    /// Reads a room.
    ///
    /// # Errors
    /// [`RestError`]. Of a private room that the account is not in the server says that there is none, or that it is not
    /// allowed.
    pub(crate) async fn room_info(&self, rid: &str) -> Result<Room, RestError> {
        let answer: OneRoom = self.get("rooms.info", &[("roomId", rid)]).await?;
        Ok(answer.room)
    }

    /// Reads a channel or group by its name.
    ///
    /// # Errors
    /// [`RestError`]. Of a group that the account is not in the server says that there is none.
    pub(crate) async fn room_named(&self, kind: RoomKind, name: &str) -> Result<Room, RestError> {
        let action = call(kind, "channels.info", "groups.info", "groups.info");
        let answer: OneRoom = self.get(action, &[("roomName", name)]).await?;
        Ok(answer.room)
    }

    /// The account's own subscription of a room; none if it is not in it.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn subscription(&self, rid: &str) -> Result<Option<Subscription>, RestError> {
        let answer: OneSubscription = self.get("subscriptions.getOne", &[("roomId", rid)]).await?;
        Ok(answer.subscription)
    }

    /// The account's rooms that changed after a moment; all without one. Removed rooms are not listed: see
    /// [`Client::subscriptions_get`].
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn rooms_get(&self, since: Option<Moment>) -> Result<Changes<Room>, RestError> {
        self.changes("rooms.get", since).await
    }

    /// The account's subscriptions that changed after a moment, and those that ended; all without one.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn subscriptions_get(&self, since: Option<Moment>) -> Result<Changes<Subscription>, RestError> {
        self.changes("subscriptions.get", since).await
    }

    async fn changes<T: DeserializeOwned>(
        &self,
        action: &'static str,
        since: Option<Moment>,
    ) -> Result<Changes<T>, RestError> {
        let since = since.map(|since| since.to_string());
        let query: Vec<_> = since.as_deref().map(|since| ("updatedSince", since)).into_iter().collect();
        let changed: Changed<T> = self.get(action, &query).await?;
        Ok(Changes { updated: changed.update, removed: changed.remove.into_iter().map(|gone| gone.id).collect() })
    }

    async fn of_member(&self, action: &'static str, rid: &str, user_id: &str) -> Result<(), RestError> {
        let Done {} = self.post(action, &json!({"roomId": rid, "userId": user_id})).await?;
        Ok(())
    }
}
