//! What changes a message that is there: edits, reactions, deletions, link previews.

use serde_json::{Value, json};

use crate::documents::{Author, Message};
use crate::id;
use crate::moment::Moment;
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::state::{Event, State};

const MINUTE_MS: i64 = 60_000;

/// Which messages of a room are to be taken away at once.
#[derive(Debug)]
pub(crate) struct Cleaning {
    pub(crate) rid: String,
    pub(crate) oldest: Moment,
    pub(crate) latest: Moment,
    pub(crate) inclusive: bool,
    /// By their usernames; nobody is everybody.
    pub(crate) users: Vec<String>,
    /// `0` is no limit.
    pub(crate) limit: usize,
}

impl State {
    /// Edits a message. The same text again changes and tells nothing; of a file the text is the first attachment's
    /// description.
    pub(crate) fn edit(
        &mut self,
        uid: &str,
        msg_id: &str,
        text: &str,
        custom_fields: Option<Value>,
    ) -> Result<(), Refusal> {
        let Some(original) = self.message(msg_id).cloned() else { return Ok(()) };
        if described(&original).unwrap_or(&original.msg) == text {
            return Ok(());
        }
        let may_edit_any = self.may(uid, Permission::EditMessage, Some(&original.rid));
        if !(may_edit_any || self.is_on("Message_AllowEditing") && original.u.id == uid) {
            return Err(Refusal::coded("error-action-not-allowed", "Message editing not allowed"));
        }
        let minutes = self.setting("Message_AllowEditing_BlockEditInMinutes").as_i64().unwrap_or(0);
        let age = (self.now().0 - original.ts.0) / MINUTE_MS;
        if minutes != 0 && age >= minutes && !self.may(uid, Permission::BypassTimeLimit, None) {
            return Err(Refusal::coded("error-message-editing-blocked", "Message editing is blocked"));
        }
        self.can_send(uid, &original.rid)?;
        if custom_fields.is_some() && !self.is_on("Message_CustomFields_Enabled") {
            return Err(Refusal::plain("Custom fields not enabled"));
        }
        let editor = self.author(uid).ok_or_else(|| Refusal::coded("error-invalid-user", "Invalid user"))?;
        let mut message = original.clone();
        let caption = message.attachments.as_mut().and_then(|attachments| attachments.first_mut());
        match caption.and_then(|attachment| attachment.get_mut("description")) {
            Some(caption) => *caption = json!(text),
            None => text.clone_into(&mut message.msg),
        }
        message.custom_fields = custom_fields.or(message.custom_fields);
        self.refer(&mut message, uid)?;
        if self.is_on("Message_KeepHistory") {
            self.keep_former(&original, &editor);
        }
        message.edited_at = Some(self.now());
        message.edited_by = Some(Author { name: None, ..editor });
        self.put_message(message.clone());
        self.refresh_last(&message);
        Ok(())
    }

    /// Puts a reaction to a message or takes it away; without `should`, whichever was not.
    ///
    /// To take one away from a message that has no reaction at all **adds** it: the server compares `undefined` with
    /// `false`. From a message with other reactions nothing is taken and nothing is told.
    pub(crate) fn react(&mut self, uid: &str, msg_id: &str, emoji: &str, should: Option<bool>) -> Result<(), Refusal> {
        let name = emoji.replace(':', "");
        let known = !name.is_empty() && !name.contains(char::is_whitespace) && !self.refused_emojis.contains(&name);
        if !known {
            return Err(Refusal::coded("error-not-allowed", "Invalid emoji provided."));
        }
        let emoji = format!(":{name}:");
        let user = self.author(uid).ok_or_else(|| Refusal::coded("error-invalid-user", "Invalid user"))?;
        let Some(mut message) = self.message(msg_id).cloned() else {
            return Err(Refusal::coded("error-not-allowed", "Not allowed"));
        };
        let reacted = message
            .reactions
            .as_ref()
            .map(|reactions| reactions.get(&emoji).is_some_and(|reaction| reaction.usernames.contains(&user.username)));
        let has = reacted.unwrap_or(false);
        let should = should.unwrap_or(!has);
        if reacted == Some(should) {
            return Ok(());
        }
        let rid = message.rid.clone();
        let room = self.rooms.get(&rid).ok_or_else(|| Refusal::coded("error-not-allowed", "Not allowed"))?;
        if !self.can_access(&rid, uid) {
            return Err(Refusal::coded("not-authorized", "Not Authorized"));
        }
        if room.muted.contains(&user.username) {
            return Err(Refusal::Coded {
                code: "error-not-allowed",
                reason: "You have been muted and cannot speak in this room".to_owned(),
                details: Some(json!({"rid": rid})),
            });
        }
        let unmuted = room.unmuted.contains(&user.username);
        let closed = room.ro && !room.react_when_read_only && !unmuted;
        if closed && !self.may(uid, Permission::PostReadonly, Some(&rid)) {
            return Err(Refusal::plain("You can't send messages because the room is readonly."));
        }
        let mut reactions = message.reactions.take().unwrap_or_default();
        let reaction = reactions.entry(emoji.clone()).or_default();
        if has {
            reaction.usernames.retain(|name| *name != user.username);
            if reaction.usernames.is_empty() {
                reactions.remove(&emoji);
            }
        } else {
            reaction.usernames.push(user.username);
        }
        message.reactions = Some(reactions).filter(|reactions| !reactions.is_empty());
        self.put_message(message.clone());
        self.refresh_last(&message);
        Ok(())
    }

    /// Deletes a message, in one of four ways: taken away; with history kept, hidden; with deletions shown or with replies,
    /// emptied and marked `rm`.
    pub(crate) fn delete(&mut self, uid: &str, msg_id: &str) -> Result<(), Refusal> {
        let not_allowed = || Refusal::coded("error-action-not-allowed", "Not allowed");
        let message = self.message(msg_id).cloned().ok_or_else(not_allowed)?;
        if !self.can_delete(uid, &message)? {
            return Err(not_allowed());
        }
        let by = self.author(uid).ok_or_else(not_allowed)?;
        let has_replies = message.tcount.unwrap_or(0) > 0;
        let keeps = self.is_on("Message_KeepHistory") || has_replies;
        let shows = self.is_on("Message_ShowDeletedStatus") || has_replies;
        if let Some(mut parent) = message.tmid.as_deref().and_then(|tmid| self.message(tmid)).cloned() {
            parent.tcount = parent.tcount.map(|count| count.saturating_sub(1));
            self.put_message(parent);
        }
        let files = message.files.iter().flatten().filter_map(|file| file["_id"].as_str().map(str::to_owned));
        for file in files.collect::<Vec<_>>() {
            match self.uploads.get(&file).cloned() {
                Some(mut upload) if keeps => {
                    upload.hidden = true;
                    self.put_upload(upload);
                }
                _ => self.remove_upload(&file),
            }
        }
        let rid = message.rid.clone();
        match (shows, keeps) {
            (true, keeps) => {
                if keeps {
                    self.keep_former(&message, &by);
                }
                self.put_message(self.emptied(message.clone(), by));
            }
            (false, true) => {
                let mut hidden = message.clone();
                hidden.hidden = true;
                self.put_message(hidden);
            }
            (false, false) => self.remove_message(&message.id),
        }
        if !shows {
            let args = vec![json!({"_id": message.id})];
            self.tell(Event::Room { rid: rid.clone(), name: "deleteMessage", args, origin: None });
        }
        self.count_out_of_room(&rid, &message.id);
        Ok(())
    }

    /// Takes all messages of a room away that were sent between two moments, of these people or of all. With a limit it takes so many, and
    /// tells which; without one it tells only of what kind they were.
    pub(crate) fn clean(&mut self, uid: &str, ask: &Cleaning) -> Result<usize, Refusal> {
        let rid = ask.rid.as_str();
        if !self.rooms.contains_key(rid) {
            return Err(Refusal::coded("error-invalid-room", "Invalid room"));
        }
        if !self.may(uid, Permission::CleanHistory, Some(rid)) {
            return Err(Refusal::coded("error-not-allowed", "Not allowed"));
        }
        let within = |message: &&Message| match ask.inclusive {
            true => message.ts >= ask.oldest && message.ts <= ask.latest,
            false => message.ts > ask.oldest && message.ts < ask.latest,
        };
        let meant = |message: &&Message| ask.users.is_empty() || ask.users.contains(&message.u.username);
        let most = if ask.limit == 0 { usize::MAX } else { ask.limit };
        let found = self.messages(rid).filter(within).filter(meant).take(most);
        let ids: Vec<String> = found.map(|message| message.id.clone()).collect();
        for id in &ids {
            self.remove_message(id);
        }
        if !ids.is_empty() {
            let mut told = json!({
                "rid": rid, "excludePinned": false, "ignoreDiscussion": true, "users": ask.users,
                "ts": {"$gte": ask.oldest, "$lte": ask.latest},
            });
            if ask.limit > 0 {
                told["ids"] = json!(ids);
            }
            let (rid, args) = (rid.to_owned(), vec![told]);
            self.tell(Event::Room { rid, name: "deleteMessageBulk", args, origin: None });
        }
        Ok(ids.len())
    }

    /// What a fetched link looks like arrives a while after the message, and tells it anew, whole.
    pub(crate) fn preview(&mut self, msg_id: &str) -> bool {
        let Some(mut message) = self.message(msg_id).cloned().filter(|message| !message.urls.is_empty()) else {
            return false;
        };
        for url in &mut message.urls {
            url["meta"] = json!({"pageTitle": "A page"});
        }
        self.put_message(message);
        true
    }

    fn can_delete(&self, uid: &str, message: &Message) -> Result<bool, Refusal> {
        let rid = Some(message.rid.as_str());
        if self.may(uid, Permission::ForceDeleteMessage, rid) {
            return Ok(true);
        }
        let own = message.u.id == uid && self.may(uid, Permission::DeleteOwnMessage, rid);
        if !self.is_on("Message_AllowDeleting") || !(own || self.may(uid, Permission::DeleteMessage, rid)) {
            return Ok(false);
        }
        let minutes = self.setting("Message_AllowDeleting_BlockDeleteInMinutes").as_i64().unwrap_or(0);
        if minutes != 0 && !self.may(uid, Permission::BypassTimeLimit, None) {
            let age = (self.now().0 - message.ts.0 + MINUTE_MS / 2) / MINUTE_MS;
            return Ok(age <= minutes);
        }
        let room = self.rooms.get(&message.rid).ok_or_else(|| Refusal::plain("error-invalid-room"))?;
        let unmuted = room.unmuted.contains(&message.u.username);
        if room.ro && !unmuted && !self.may(uid, Permission::PostReadonly, rid) {
            return Err(Refusal::plain("You can't delete messages because the room is readonly."));
        }
        Ok(true)
    }

    /// A message as it stands where it was: without everything that was in it, of the type `rm`.
    fn emptied(&self, mut message: Message, by: Author) -> Message {
        message.msg = String::new();
        message.t = Some("rm".to_owned());
        message.urls = Vec::new();
        message.mentions = Vec::new();
        message.attachments = Some(Vec::new());
        message.reactions = None;
        message.file = None;
        message.files = None;
        message.edited_at = Some(self.now());
        message.edited_by = Some(Author { name: None, ..by });
        message
    }

    /// Keeps what a message was, hidden, under an id of its own.
    fn keep_former(&mut self, message: &Message, by: &Author) {
        let mut former = message.clone();
        former.id = id::id();
        former.parent = Some(message.id.clone());
        former.hidden = true;
        former.edited_at = Some(self.now());
        former.edited_by = Some(Author { name: None, ..by.clone() });
        self.put_message(former);
    }

    /// A room carries its newest message with it.
    fn refresh_last(&mut self, message: &Message) {
        let last = self.rooms.get(&message.rid).and_then(|room| room.last_message.as_ref());
        if last.and_then(|last| last["_id"].as_str()) != Some(message.id.as_str()) {
            return;
        }
        let Some(mut room) = self.rooms.get(&message.rid).cloned() else { return };
        room.last_message = self.message(&message.id).and_then(|message| serde_json::to_value(message).ok());
        self.put_room(room, "updated");
    }

    fn count_out_of_room(&mut self, rid: &str, msg_id: &str) {
        let Some(mut room) = self.rooms.get(rid).cloned() else { return };
        room.msgs = room.msgs.saturating_sub(1);
        if room.last_message.as_ref().is_some_and(|last| last["_id"] == msg_id) {
            let newest = self.messages(rid).filter(|message| !message.hidden && message.t.is_none()).last();
            room.last_message = newest.and_then(|message| serde_json::to_value(message).ok());
        }
        self.put_room(room, "updated");
    }
}

/// A file's caption.
fn described(message: &Message) -> Option<&str> {
    message.attachments.as_ref()?.first()?.get("description")?.as_str()
}
