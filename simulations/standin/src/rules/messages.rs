//! Sending: `chat.sendMessage`, `chat.postMessage`, and what a room tells of itself.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::documents::{Author, Message};
use crate::moment::Moment;
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::rules::mentions;
use crate::state::State;

/// A client's own time of a message may be wrong by this much, and is replaced when it is wrong by a sixth of it.
const MAX_CLOCK_ERROR_MS: i64 = 60_000;
const TOLERATED_CLOCK_ERROR_MS: i64 = 10_000;

/// A message that somebody wants to send.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) id: Option<String>,
    pub(crate) rid: Option<String>,
    pub(crate) msg: String,
    pub(crate) t: Option<String>,
    pub(crate) ts: Option<Moment>,
    pub(crate) tmid: Option<String>,
    pub(crate) tshow: bool,
    pub(crate) alias: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) emoji: Option<String>,
    pub(crate) groupable: Option<bool>,
    pub(crate) attachments: Option<Vec<Value>>,
    pub(crate) files: Option<Vec<Value>>,
    pub(crate) custom_fields: Option<Value>,
}

impl Draft {
    /// The message of `chat.sendMessage`, or of the DDP method `sendMessage`.
    pub(crate) fn read(message: &Value) -> Self {
        let text = |key: &str| message.get(key).and_then(Value::as_str).map(str::to_owned);
        Draft {
            id: text("_id"),
            rid: text("rid"),
            msg: text("msg").unwrap_or_default(),
            t: text("t"),
            ts: message.get("ts").and_then(Moment::from_value),
            tmid: text("tmid"),
            tshow: message.get("tshow").and_then(Value::as_bool).unwrap_or(false),
            alias: text("alias"),
            avatar: text("avatar"),
            emoji: text("emoji"),
            groupable: message.get("groupable").and_then(Value::as_bool),
            attachments: message.get("attachments").and_then(Value::as_array).cloned(),
            files: None,
            custom_fields: message.get("customFields").filter(|fields| fields.is_object()).cloned(),
        }
    }
}

impl State {
    /// Refuses where the workspace may not send.
    pub(crate) fn unrestricted(&self) -> Result<(), Refusal> {
        if self.restricted { Err(Refusal::plain("restricted-workspace")) } else { Ok(()) }
    }

    /// Sends a message as a client does. A message whose id is known already is not stored: then there is nothing to give
    /// back.
    pub(crate) fn send(&mut self, uid: &str, mut draft: Draft) -> Result<Option<Message>, Refusal> {
        if draft.tshow && draft.tmid.is_none() {
            return Err(Refusal::params("tshow provided but missing tmid"));
        }
        if draft.tmid.is_some() && !self.is_on("Threads_enabled") {
            return Err(Refusal::coded("error-not-allowed", "not-allowed"));
        }
        if let Some(ts) = draft.ts {
            let difference = (ts.0 - self.now().0).abs();
            if difference > MAX_CLOCK_ERROR_MS {
                return Err(Refusal::coded("error-message-ts-out-of-sync", "Message timestamp is out of sync"));
            }
            if difference > TOLERATED_CLOCK_ERROR_MS {
                draft.ts = None;
            }
        }
        self.short_enough(&draft.msg)?;
        // There are no threads in threads, and a reply stands in the room of its parent, whatever room was named.
        if let Some(parent) = draft.tmid.as_deref().and_then(|tmid| self.message(tmid)) {
            let (tmid, rid) = (parent.tmid.clone().unwrap_or_else(|| parent.id.clone()), parent.rid.clone());
            draft.tmid = Some(tmid);
            draft.rid = Some(rid);
        }
        let Some(rid) = draft.rid.clone().filter(|rid| !rid.is_empty()) else {
            return Err(Refusal::plain("The 'rid' property on the message object is missing."));
        };
        self.can_send(uid, &rid)?;
        self.store(uid, &rid, draft)
    }

    /// Sends a message into a room that was already checked.
    pub(crate) fn store(&mut self, uid: &str, rid: &str, draft: Draft) -> Result<Option<Message>, Refusal> {
        let author = self.author(uid).ok_or_else(|| Refusal::coded("error-invalid-user", "Invalid user"))?;
        let impersonates = draft.alias.is_some() || draft.avatar.is_some();
        if impersonates && !self.may(uid, Permission::MessageImpersonate, Some(rid)) {
            return Err(Refusal::plain("Not enough permission"));
        }
        if draft.custom_fields.is_some() && !self.is_on("Message_CustomFields_Enabled") {
            return Err(Refusal::plain("Custom fields not enabled"));
        }
        let mut message = self.blank_message(rid, author, draft.msg);
        message.ts = draft.ts.unwrap_or(message.ts);
        message.id = draft.id.unwrap_or(message.id);
        message.tmid = draft.tmid;
        message.tshow = draft.tshow.then_some(true);
        message.alias = draft.alias;
        message.avatar = draft.avatar;
        message.emoji = draft.emoji;
        message.groupable = draft.groupable;
        message.attachments = draft.attachments;
        message.file = draft.files.as_ref().and_then(|files| files.first().cloned());
        message.files = draft.files;
        message.custom_fields = draft.custom_fields;
        self.refer(&mut message, uid)?;
        if self.message(&message.id).is_some() {
            return Ok(None);
        }
        self.put_message(message.clone());
        self.after_send(&message);
        Ok(self.message(&message.id).cloned())
    }

    /// Fills in what a text refers to. A call to everybody by somebody who may not call is refused whole.
    pub(crate) fn refer(&self, message: &mut Message, uid: &str) -> Result<(), Refusal> {
        let found = mentions::find(self, &message.msg);
        let calls = [(found.all, "all", Permission::MentionAll), (found.here, "here", Permission::MentionHere)];
        for (calls, name, permission) in calls {
            if calls && !self.may(uid, permission, Some(&message.rid)) {
                let reason = format!("Notify {name} in this room not allowed");
                return Err(Refusal::coded("error-action-not-allowed", reason));
            }
        }
        message.mentions = found.mentions;
        message.channels = found.channels;
        message.urls = found.urls;
        Ok(())
    }

    /// Refuses a text that is longer than the server allows. Length is in UTF-16 units, as in JavaScript.
    pub(crate) fn short_enough(&self, text: &str) -> Result<(), Refusal> {
        let allowed = self.setting("Message_MaxAllowedSize").as_u64().unwrap_or(0);
        if text.encode_utf16().count() as u64 > allowed {
            return Err(Refusal::coded("error-message-size-exceeded", "Message size exceeds Message_MaxAllowedSize"));
        }
        Ok(())
    }

    /// Refuses where somebody may not write in a room. That a room is archived is not looked at: the server leaves that to
    /// its clients.
    pub(crate) fn can_send(&self, uid: &str, rid: &str) -> Result<(), Refusal> {
        let room = self.rooms.get(rid).ok_or_else(|| Refusal::plain("error-invalid-room"))?;
        if !self.can_access(rid, uid) {
            return Err(Refusal::plain("error-not-allowed"));
        }
        let username = self.users.get(uid).map_or("", |user| user.username.as_str());
        let unmuted = room.unmuted.iter().any(|name| name == username);
        if room.ro && !unmuted && !self.may(uid, Permission::PostReadonly, Some(rid)) {
            return Err(Refusal::plain("You can't send messages because the room is readonly."));
        }
        if room.muted.iter().any(|name| name == username) {
            return Err(Refusal::plain("You_have_been_muted"));
        }
        Ok(())
    }

    /// What a room tells of itself: somebody joined, the topic is another one.
    pub(crate) fn system_message(&mut self, t: &str, rid: &str, text: &str, by: Author, role: Option<&str>) {
        let mut message = self.blank_message(rid, Author { name: None, ..by }, text.to_owned());
        message.t = Some(t.to_owned());
        message.role = role.map(str::to_owned);
        message.groupable = Some(false);
        self.put_message(message.clone());
        self.count_in_room(&message);
    }

    fn after_send(&mut self, message: &Message) {
        if let Some(parent) = message.tmid.as_deref().and_then(|tmid| self.message(tmid)).cloned() {
            self.count_reply(parent, message);
        }
        self.count_in_room(message);
        self.alert(message);
    }

    /// A reply changes its parent, which is told anew, whole.
    fn count_reply(&mut self, mut parent: Message, reply: &Message) {
        let mut followers: Vec<String> = parent.replies.take().unwrap_or_default();
        for follower in [&parent.u.id, &reply.u.id] {
            if !followers.contains(follower) {
                followers.push(follower.clone());
            }
        }
        parent.replies = Some(followers);
        parent.tcount = Some(parent.tcount.unwrap_or(0) + 1);
        parent.tlm = Some(reply.ts);
        self.put_message(parent);
    }

    fn count_in_room(&mut self, message: &Message) {
        let Some(mut room) = self.rooms.get(&message.rid).cloned() else { return };
        room.msgs += 1;
        room.lm = Some(message.ts);
        if message.t.is_none() {
            room.last_message = serde_json::to_value(self.message(&message.id).unwrap_or(message)).ok();
        }
        self.put_room(room, "updated");
    }

    /// Raises what the others of a room see as unread: always in a direct room, elsewhere only what mentions them.
    fn alert(&mut self, message: &Message) {
        let named: BTreeSet<String> =
            message.mentions.iter().filter_map(|mention| mention["_id"].as_str().map(str::to_owned)).collect();
        let everybody = named.contains("all") || named.contains("here");
        let others: Vec<_> =
            self.members(&message.rid).into_iter().filter(|member| member.u.id != message.u.id).cloned().collect();
        for mut member in others {
            member.alert = true;
            member.open = true;
            let mentioned = named.contains(&member.u.id);
            if mentioned || everybody || member.t == "d" {
                member.unread += 1;
            }
            member.user_mentions += u64::from(mentioned);
            member.group_mentions += u64::from(everybody);
            self.put_subscription(member, "updated");
        }
    }
}
