//! Rocket.Chat's documents, as far as the bridge needs them.
//!
//! Lenient: unknown fields are ignored, absent ones have a default, and one odd part of a list is left out rather than making
//! the whole unreadable. How large a document can be is bounded by what carries it: an answer or a frame.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::moment::Moment;

/// The most elements that are taken of one list in a message: attachments, files, mentions.
const MAX_PARTS: usize = 256;

/// Somebody as whom calls are made: the service account, or a shadow. Its token is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Rocket.Chat's id of the user.
    pub(crate) user_id: String,
    /// A token of theirs.
    pub(crate) token: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("user_id", &self.user_id).field("token", &"…").finish()
    }
}

/// The release of a server: major and minor. Patches change nothing that the bridge does, but for paged sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    /// Before the first dot.
    pub(crate) major: u32,
    /// After it.
    pub(crate) minor: u32,
}

impl Release {
    /// Reads `8.0`, `8.0.1`, `8.1.0-rc.3`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.split('-').next()?.parse().ok()?;
        Some(Release { major, minor })
    }

    /// Whether the server knows `rooms.banUser`.
    pub(crate) fn has_bans(self) -> bool {
        self >= Release { major: 8, minor: 8 }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The kinds of room that federate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum RoomKind {
    /// A public channel.
    #[serde(rename = "c")]
    Channel,
    /// A private group.
    #[serde(rename = "p")]
    Group,
    /// A direct room.
    #[serde(rename = "d")]
    Direct,
}

impl RoomKind {
    /// Rocket.Chat's letter.
    pub(crate) const fn letter(self) -> &'static str {
        match self {
            RoomKind::Channel => "c",
            RoomKind::Group => "p",
            RoomKind::Direct => "d",
        }
    }

    /// The kind of Rocket.Chat's letter; `None` for livechat and others that do not federate.
    pub(crate) fn of(letter: &str) -> Option<Self> {
        match letter {
            "c" => Some(RoomKind::Channel),
            "p" => Some(RoomKind::Group),
            "d" => Some(RoomKind::Direct),
            _ => None,
        }
    }
}

/// Who wrote something, owns a room, is mentioned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Author {
    /// Their id.
    #[serde(rename = "_id", deserialize_with = "or_default")]
    pub(crate) id: String,
    /// Their username.
    #[serde(deserialize_with = "or_default")]
    pub(crate) username: String,
    /// Their name.
    pub(crate) name: Option<String>,
}

/// Who reacted with one emoji.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Reaction {
    /// By username.
    #[serde(deserialize_with = "or_default")]
    pub(crate) usernames: Vec<String>,
}

/// A mention, as the server found it in the text. `all` and `here` are mentions too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Mention {
    /// The user's id.
    #[serde(rename = "_id", deserialize_with = "or_default")]
    pub(crate) id: String,
    /// Their username, without `@`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) username: String,
}

/// A file of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct FileInfo {
    /// Its id, for [`Client::download`](super::Client::download).
    #[serde(rename = "_id", deserialize_with = "or_default")]
    pub(crate) id: String,
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    /// Its media type.
    #[serde(rename = "type")]
    pub(crate) mime: Option<String>,
    /// Its size in bytes, as the server says.
    pub(crate) size: Option<u64>,
    /// `thumb` for a preview that the server made.
    #[serde(rename = "typeGroup")]
    pub(crate) type_group: Option<String>,
}

impl FileInfo {
    /// Whether this is a preview that the server made, and not what somebody sent.
    pub(crate) fn is_preview(&self) -> bool {
        self.type_group.as_deref() == Some("thumb")
    }
}

/// An attachment: a quote, a file's caption, a card of an integration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Attachment {
    /// `file` for one that stands for a file.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// The title; of a file its name.
    pub(crate) title: Option<String>,
    /// Where the title leads; of a file its path on the server.
    pub(crate) title_link: Option<String>,
    /// The text; of a quote what is quoted.
    pub(crate) text: Option<String>,
    /// Of the first attachment of a file: its caption.
    pub(crate) description: Option<String>,
    /// Of a quote: the quoted message's address.
    pub(crate) message_link: Option<String>,
    /// Of a quote: who is quoted.
    pub(crate) author_name: Option<String>,
    /// Of an image: its path.
    pub(crate) image_url: Option<String>,
    /// Of a sound: its path.
    pub(crate) audio_url: Option<String>,
    /// Of a film: its path.
    pub(crate) video_url: Option<String>,
}

/// A message, or what a room tells of itself (then it has a `t`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Message {
    /// Its id.
    #[serde(rename = "_id", deserialize_with = "or_default")]
    pub(crate) id: String,
    /// Its room.
    #[serde(deserialize_with = "or_default")]
    pub(crate) rid: String,
    /// Its text. Of a system message the subject: the name of who was added, the new topic.
    #[serde(deserialize_with = "or_default")]
    pub(crate) msg: String,
    /// When it was sent.
    pub(crate) ts: Moment,
    /// Who wrote it.
    #[serde(deserialize_with = "or_default")]
    pub(crate) u: Author,
    /// When it last changed: the cursor of catching up.
    #[serde(rename = "_updatedAt")]
    pub(crate) updated_at: Moment,
    /// What kind of system message it is. See [`Message::system`].
    pub(crate) t: Option<String>,
    /// Of a role that was given or taken: which.
    pub(crate) role: Option<String>,
    /// The name that is shown instead of the author's.
    pub(crate) alias: Option<String>,
    /// The address of the picture that is shown instead of the author's.
    pub(crate) avatar: Option<String>,
    /// The message under which it stands.
    pub(crate) tmid: Option<String>,
    /// Whether a reply is shown in the room too.
    pub(crate) tshow: Option<bool>,
    /// When it was edited last.
    pub(crate) edited_at: Option<Moment>,
    /// By whom.
    pub(crate) edited_by: Option<Author>,
    /// By emoji, with colons.
    #[serde(deserialize_with = "lenient_map")]
    pub(crate) reactions: BTreeMap<String, Reaction>,
    /// Whom it mentions.
    #[serde(deserialize_with = "parts")]
    pub(crate) mentions: Vec<Mention>,
    /// Its attachments.
    #[serde(deserialize_with = "parts")]
    pub(crate) attachments: Vec<Attachment>,
    /// Its first file. See [`Message::sent_files`].
    #[serde(deserialize_with = "lenient_one")]
    pub(crate) file: Option<FileInfo>,
    /// All its files, with previews.
    #[serde(deserialize_with = "parts")]
    pub(crate) files: Vec<FileInfo>,
    /// What programs keep with it.
    pub(crate) custom_fields: Option<Value>,
    /// Deleted or superseded, while the server keeps history.
    #[serde(rename = "_hidden", deserialize_with = "or_default")]
    pub(crate) hidden: bool,
    /// Brought in from elsewhere by an import.
    #[serde(deserialize_with = "or_default")]
    pub(crate) imported: bool,
}

impl Message {
    /// What kind of system message it is; `None` for one that somebody wrote.
    pub(crate) fn system(&self) -> Option<SystemKind> {
        self.t.as_deref().filter(|t| !t.is_empty()).map(SystemKind::of)
    }

    /// The files that somebody sent, without the server's previews.
    pub(crate) fn sent_files(&self) -> Vec<&FileInfo> {
        let all = if self.files.is_empty() { self.file.as_slice() } else { self.files.as_slice() };
        all.iter().filter(|file| !file.id.is_empty() && !file.is_preview()).collect()
    }
}

/// What a room tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SystemKind {
    /// The author joined (`uj`), also through an invitation link or a team.
    Joined,
    /// The author left (`ul`, `ult`).
    Left,
    /// `msg` was added by the author (`au`).
    Added,
    /// `msg` was removed by the author (`ru`).
    Removed,
    /// `msg` was banned by the author.
    Banned,
    /// `msg` is no longer banned.
    Unbanned,
    /// The room's name became `msg` (`r`).
    Renamed,
    /// The topic became `msg`.
    Topic,
    /// The description became `msg`.
    Description,
    /// The announcement became `msg`.
    Announcement,
    /// Public became private, or the other way round.
    Privacy,
    /// `role` was given to `msg`.
    RoleAdded,
    /// `role` was taken from `msg`.
    RoleRemoved,
    /// `msg` may not speak.
    Muted,
    /// `msg` may speak again.
    Unmuted,
    /// Only some may speak.
    ReadOnly,
    /// Everybody may.
    Writable,
    /// The room was archived.
    Archived,
    /// It was taken out of the archive.
    Unarchived,
    /// A message that was deleted, and whose place is kept (`rm`).
    Deleted,
    /// An encrypted message, which nobody but its clients can read.
    Encrypted,
    /// Another one.
    Other,
}

impl SystemKind {
    fn of(t: &str) -> Self {
        match t {
            "uj" | "ujt" | "ut" => SystemKind::Joined,
            "ul" | "ult" => SystemKind::Left,
            "au" | "added-user-to-team" => SystemKind::Added,
            "ru" | "removed-user-from-team" => SystemKind::Removed,
            "user-banned" => SystemKind::Banned,
            "user-unbanned" => SystemKind::Unbanned,
            "r" => SystemKind::Renamed,
            "room_changed_topic" => SystemKind::Topic,
            "room_changed_description" => SystemKind::Description,
            "room_changed_announcement" => SystemKind::Announcement,
            "room_changed_privacy" => SystemKind::Privacy,
            "subscription-role-added" => SystemKind::RoleAdded,
            "subscription-role-removed" => SystemKind::RoleRemoved,
            "user-muted" => SystemKind::Muted,
            "user-unmuted" => SystemKind::Unmuted,
            "room-set-read-only" => SystemKind::ReadOnly,
            "room-removed-read-only" => SystemKind::Writable,
            "room-archived" => SystemKind::Archived,
            "room-unarchived" => SystemKind::Unarchived,
            "rm" => SystemKind::Deleted,
            "e2e" => SystemKind::Encrypted,
            _ => SystemKind::Other,
        }
    }
}

/// A room.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Room {
    /// Its id.
    #[serde(rename = "_id", deserialize_with = "or_default")]
    pub(crate) id: String,
    /// Rocket.Chat's letter for its kind. See [`Room::kind`].
    #[serde(deserialize_with = "or_default")]
    pub(crate) t: String,
    /// Its name; direct rooms have none.
    pub(crate) name: Option<String>,
    /// Its name as it is shown, where that differs.
    pub(crate) fname: Option<String>,
    /// Its topic.
    pub(crate) topic: Option<String>,
    /// Its description.
    pub(crate) description: Option<String>,
    /// Its announcement.
    pub(crate) announcement: Option<String>,
    /// Whether only some may speak.
    #[serde(deserialize_with = "or_default")]
    pub(crate) ro: bool,
    /// Whether it is archived.
    #[serde(deserialize_with = "or_default")]
    pub(crate) archived: bool,
    /// Whether its messages are encrypted by its clients.
    #[serde(deserialize_with = "or_default")]
    pub(crate) encrypted: bool,
    /// The usernames of those who may not speak.
    #[serde(deserialize_with = "or_default")]
    pub(crate) muted: Vec<String>,
    /// In a read-only room, the usernames of those who may.
    #[serde(deserialize_with = "or_default")]
    pub(crate) unmuted: Vec<String>,
    /// Of a direct room: who is in it, by username.
    #[serde(deserialize_with = "or_default")]
    pub(crate) usernames: Vec<String>,
    /// Of a direct room: who is in it, by id.
    #[serde(deserialize_with = "or_default")]
    pub(crate) uids: Vec<String>,
    /// Who made it.
    pub(crate) u: Option<Author>,
    /// When it last changed.
    #[serde(rename = "_updatedAt")]
    pub(crate) updated_at: Moment,
    /// When its last message came.
    pub(crate) lm: Option<Moment>,
    /// How many are in it.
    pub(crate) users_count: Option<u64>,
    /// Of a discussion: the room that it belongs to.
    pub(crate) prid: Option<String>,
    /// The team that it belongs to.
    pub(crate) team_id: Option<String>,
    /// What programs keep with it.
    pub(crate) custom_fields: Option<Value>,
}

impl Room {
    /// Its kind, if it is one that federates.
    pub(crate) fn kind(&self) -> Option<RoomKind> {
        RoomKind::of(&self.t)
    }
}

/// That somebody is in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Subscription {
    /// Its id, by which its end is told.
    #[serde(rename = "_id", deserialize_with = "or_default")]
    pub(crate) id: String,
    /// The room.
    #[serde(deserialize_with = "or_default")]
    pub(crate) rid: String,
    /// Rocket.Chat's letter for the kind of room.
    #[serde(deserialize_with = "or_default")]
    pub(crate) t: String,
    /// Who.
    #[serde(deserialize_with = "or_default")]
    pub(crate) u: Author,
    /// The room's name, as it is shown to them.
    pub(crate) name: Option<String>,
    /// Their roles in the room: `owner`, `moderator`, `leader`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) roles: Vec<String>,
    /// `BANNED`, `INVITED`; membership has none.
    pub(crate) status: Option<String>,
    /// When it last changed.
    #[serde(rename = "_updatedAt")]
    pub(crate) updated_at: Moment,
}

/// Somebody with an account. What is not the caller's to see is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct User {
    /// Their id.
    #[serde(rename = "_id", deserialize_with = "or_default")]
    pub(crate) id: String,
    /// Their username.
    #[serde(deserialize_with = "or_default")]
    pub(crate) username: String,
    /// Their name.
    pub(crate) name: Option<String>,
    /// Their roles in the workspace.
    #[serde(deserialize_with = "or_default")]
    pub(crate) roles: Vec<String>,
    /// `user`, `bot`, `app`.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// Whether they may log in.
    pub(crate) active: Option<bool>,
    /// `online`, `away`, `busy`, `offline`.
    pub(crate) status: Option<String>,
    /// What they say beside it.
    pub(crate) status_text: Option<String>,
    /// Changes with their picture; absent without one.
    #[serde(rename = "avatarETag")]
    pub(crate) avatar_etag: Option<String>,
}

/// The roles of a member in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct MemberRoles {
    /// Who.
    #[serde(deserialize_with = "or_default")]
    pub(crate) u: Author,
    /// `owner`, `moderator`, `leader`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) roles: Vec<String>,
}

/// Who may do something: a permission and its roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct PermissionRoles {
    /// The permission, such as `create-user`.
    #[serde(rename = "_id", deserialize_with = "or_default")]
    pub(crate) id: String,
    /// The roles that have it.
    #[serde(deserialize_with = "or_default")]
    pub(crate) roles: Vec<String>,
}

/// Documents that changed since a moment, and those that are gone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Changes<T> {
    /// New or changed.
    pub(crate) updated: Vec<T>,
    /// Ids of what is gone. Rocket.Chat's list of removed rooms is always empty.
    pub(crate) removed: Vec<String>,
}

/// `null` and absence alike are the default.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The elements of a list that can be read; none of what is no list. How many there are is bounded by the answer's size.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(items) => items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect(),
        _ => Vec::new(),
    })
}

/// Messages as they were sent, in one answer of several. Whether more follows, and from where, is told by all that were sent and not by
/// those that can be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Page {
    /// Those that can be read.
    pub(crate) messages: Vec<Message>,
    /// How many were sent.
    pub(crate) sent: usize,
    /// The last change of one of them; none if none has a date.
    pub(crate) newest_change: Option<Moment>,
    /// When the oldest of them was said; none if none has a date.
    pub(crate) oldest: Option<Moment>,
}

impl<'de> Deserialize<'de> for Page {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Value::Array(sent) = Value::deserialize(deserializer)? else { return Ok(Page::default()) };
        let newest_change = sent.iter().filter_map(|document| Moment::of(document.get("_updatedAt")?)).max();
        let oldest = sent.iter().filter_map(|document| Moment::of(document.get("ts")?)).min();
        let number = sent.len();
        let messages = sent.into_iter().filter_map(|document| serde_json::from_value(document).ok()).collect();
        Ok(Page { messages, sent: number, newest_change, oldest })
    }
}

/// The same of a list within a message, which no person makes long.
fn parts<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut parts = lenient(deserializer)?;
    parts.truncate(MAX_PARTS);
    Ok(parts)
}

fn lenient_one<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

fn lenient_map<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(fields) => {
            let read = |(key, value)| Some((key, serde_json::from_value(value).ok()?));
            fields.into_iter().take(MAX_PARTS).filter_map(read).collect()
        }
        _ => BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Account, Message, Moment, Page, Release, SystemKind};

    #[test]
    fn one_odd_part_does_not_make_a_message_unreadable() {
        let message: Message = serde_json::from_value(json!({
            "_id": "m", "rid": "r", "msg": null, "ts": {"$date": 5}, "u": {"_id": "a", "username": "alice", "name": null},
            "_updatedAt": "1970-01-01T00:00:00.006Z", "t": "", "urls": 7, "mentions": [3, {"_id": "b", "username": "bob"}],
            "attachments": [{"title": 9}, {"text": "quoted", "message_link": "http://x/?msg=1"}], "file": 4,
            "reactions": {":ok:": {"usernames": ["bob"]}, ":odd:": 1}, "unknown": {"x": 1}
        }))
        .expect("a lenient reading");
        assert_eq!((message.ts, message.updated_at), (Moment(5), Moment(6)));
        assert_eq!(message.mentions.len(), 1);
        assert_eq!(message.attachments.len(), 1);
        assert_eq!(message.reactions.len(), 1);
        assert_eq!(message.system(), None);
        assert!(message.sent_files().is_empty());
    }

    #[test]
    fn what_cannot_be_read_of_a_page_counts_as_sent() {
        let page: Page = serde_json::from_value(json!([
            {"_id": "m", "ts": "1970-01-01T00:00:00.005Z", "_updatedAt": "1970-01-01T00:00:00.006Z"},
            {"_id": 7, "u": 3, "ts": "1970-01-01T00:00:00.003Z", "_updatedAt": "1970-01-01T00:00:00.009Z"},
            {"_id": 8, "u": 3, "ts": null, "_updatedAt": "long ago"},
            "nonsense",
        ]))
        .expect("a lenient reading");
        assert_eq!((page.messages.len(), page.sent), (1, 4));
        assert_eq!((page.newest_change, page.oldest), (Some(Moment(9)), Some(Moment(3))));
        assert_eq!(serde_json::from_value::<Page>(json!(null)).expect("no page").sent, 0);
    }

    #[test]
    fn previews_are_no_files_that_somebody_sent() {
        let message: Message = serde_json::from_value(json!({
            "_id": "m", "file": {"_id": "f", "name": "a.png"},
            "files": [{"_id": "f", "name": "a.png"}, {"_id": "t", "name": "thumb-a.png", "typeGroup": "thumb"}, {"_id": "g"}]
        }))
        .expect("a lenient reading");
        let ids: Vec<&str> = message.sent_files().iter().map(|file| file.id.as_str()).collect();
        assert_eq!(ids, ["f", "g"]);
    }

    #[test]
    fn system_messages_have_a_kind_and_unknown_ones_too() {
        let kind = |t: &str| Message { t: Some(t.to_owned()), ..Message::default() }.system();
        assert_eq!(kind("uj"), Some(SystemKind::Joined));
        assert_eq!(kind("rm"), Some(SystemKind::Deleted));
        assert_eq!(kind("something-new"), Some(SystemKind::Other));
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        let read = |text| Release::parse(text).expect("a release");
        assert!(read("7.13.9") > read("7.9.0"));
        assert!(read("8.8.0-rc.1").has_bans());
        assert!(!read("8.7").has_bans());
        assert_eq!(Release::parse("nonsense"), None);
    }

    #[test]
    fn tokens_are_not_shown() {
        let account = Account { user_id: "u".to_owned(), token: "secret".to_owned() };
        assert!(!format!("{account:?}").contains("secret"));
    }
}
