//! What a server holds, in a form that can be compared: with what it held before, or with what another server holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::documents::Message;
use crate::id::sha256;
use crate::state::State;

/// A file of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldFile {
    /// Its name.
    pub name: String,
    /// Its type, such as `image/png`.
    pub mime: String,
    /// The SHA-256 of its bytes, in hexadecimal; nothing when they are gone.
    pub sha256: Option<String>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldMessage {
    /// Its id, which is this server's own.
    pub id: String,
    /// Who wrote it.
    pub who: String,
    /// What it says.
    pub text: String,
    /// When it came here, in milliseconds since 1970.
    pub ts: i64,
    /// The type of what a room tells of itself, and `rm` for what was taken away in place.
    pub kind: Option<String>,
    /// The message that it replies to, by its id.
    pub thread: Option<String>,
    /// Who edited it last.
    pub edited_by: Option<String>,
    /// Who reacted with what, sorted.
    pub reactions: BTreeMap<String, Vec<String>>,
    /// Its files.
    pub files: Vec<HeldFile>,
    /// What stands with its files.
    pub captions: Vec<String>,
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRoom {
    /// Its id, which is this server's own.
    pub id: String,
    /// Its name; the names of who is in it for a direct room.
    pub name: String,
    /// `c`, `p` or `d`.
    pub kind: String,
    /// What it is about.
    pub topic: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What stands above it.
    #[serde(default)]
    pub announcement: String,
    /// Whether only some may write.
    pub read_only: bool,
    /// Whether it is archived.
    pub archived: bool,
    /// Who is in it, with their roles there.
    pub members: BTreeMap<String, Vec<String>>,
    /// Who was banned from it.
    pub banned: Vec<String>,
    /// Who may not write in it.
    pub muted: Vec<String>,
    /// What was said, in the order of its time. What is hidden or gone is left out.
    pub messages: Vec<HeldMessage>,
}

impl HeldRoom {
    /// Who said what, without what the room tells of itself and what was taken away: what two servers have to agree on.
    pub fn said(&self) -> Vec<(&str, &str)> {
        let said = self.messages.iter().filter(|message| message.kind.is_none());
        said.map(|message| (message.who.as_str(), message.text.as_str())).collect()
    }
}

/// Everything, by the names of the rooms.
pub(crate) fn dump(state: &State) -> Vec<HeldRoom> {
    let mut rooms: Vec<HeldRoom> = state.rooms.keys().filter_map(|rid| room(state, rid)).collect();
    rooms.sort_by(|one, other| one.name.cmp(&other.name));
    rooms
}

fn room(state: &State, rid: &str) -> Option<HeldRoom> {
    let room = state.rooms.get(rid)?;
    let members = state.members(rid).into_iter();
    let members = members.map(|member| (member.u.username.clone(), member.roles.clone())).collect();
    let banned =
        state.users.values().filter(|user| state.subscription(rid, &user.id).is_some_and(|of| !of.is_member()));
    let mut messages: Vec<HeldMessage> =
        state.messages(rid).filter(|message| !message.hidden).map(|message| held(state, message)).collect();
    messages.sort_by_key(|message| message.ts);
    let mut direct = room.usernames.clone();
    direct.sort();
    Some(HeldRoom {
        id: room.id.clone(),
        name: room.name.clone().unwrap_or_else(|| direct.join(", ")),
        kind: room.t.clone(),
        topic: room.topic.clone().unwrap_or_default(),
        description: room.description.clone().unwrap_or_default(),
        announcement: room.announcement.clone().unwrap_or_default(),
        read_only: room.ro,
        archived: room.archived,
        members,
        banned: banned.map(|user| user.username.clone()).collect(),
        muted: room.muted.clone(),
        messages,
    })
}

fn held(state: &State, message: &Message) -> HeldMessage {
    let reactions = message.reactions.iter().flatten().map(|(emoji, reaction)| {
        let mut usernames = reaction.usernames.clone();
        usernames.sort();
        (emoji.clone(), usernames)
    });
    let files = message.files.iter().flatten().map(|file| {
        let text = |key: &str| file[key].as_str().unwrap_or_default().to_owned();
        let bytes = state.uploads.get(&text("_id")).and_then(|upload| state.file(&upload.id));
        HeldFile { name: text("name"), mime: text("type"), sha256: bytes.map(|bytes| sha256(&bytes)) }
    });
    let captions =
        message.attachments.iter().flatten().filter_map(|attachment| {
            attachment.get("description").and_then(|caption| caption.as_str()).map(str::to_owned)
        });
    HeldMessage {
        id: message.id.clone(),
        who: message.u.username.clone(),
        text: message.msg.clone(),
        ts: message.ts.0,
        kind: message.t.clone(),
        thread: message.tmid.clone(),
        edited_by: message.edited_by.as_ref().map(|author| author.username.clone()),
        reactions: reactions.collect(),
        files: files.collect(),
        captions: captions.collect(),
    }
}
