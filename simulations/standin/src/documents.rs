//! The documents that a Rocket.Chat server keeps, with the fields that matter to somebody who talks to it.
//!
//! Field names are Rocket.Chat's own. Serialized, a document is what goes over DDP; [`rest`](crate::moment::rest) turns its
//! dates into those of REST.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::moment::Moment;

/// Who wrote something, as it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Author {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

/// A token that somebody acts with. Only its hash is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    pub(crate) hashed: String,
    /// The name of a personal access token; a login has none.
    pub(crate) name: Option<String>,
    /// When a login ends. A personal access token never does.
    pub(crate) expires: Option<Moment>,
    pub(crate) bypass_two_factor: bool,
}

/// Somebody with an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) verified: bool,
    /// SHA-256 of the password, in hexadecimal.
    pub(crate) password: String,
    pub(crate) roles: Vec<String>,
    pub(crate) active: bool,
    pub(crate) status: String,
    pub(crate) status_text: String,
    pub(crate) created_at: Moment,
    #[serde(rename = "_updatedAt")]
    pub(crate) updated_at: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) avatar: Option<Avatar>,
    pub(crate) tokens: Vec<Token>,
}

/// A picture of somebody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Avatar {
    pub(crate) etag: String,
    pub(crate) mime: String,
}

/// Who reacted with one emoji.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reaction {
    pub(crate) usernames: Vec<String>,
}

/// A message, or what a room tells of itself (then it has a `t`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) rid: String,
    pub(crate) msg: String,
    pub(crate) ts: Moment,
    pub(crate) u: Author,
    #[serde(rename = "_updatedAt")]
    pub(crate) updated_at: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) t: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) groupable: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alias: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) avatar: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) emoji: Option<String>,
    #[serde(default)]
    pub(crate) urls: Vec<Value>,
    #[serde(default)]
    pub(crate) mentions: Vec<Value>,
    #[serde(default)]
    pub(crate) channels: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reactions: Option<BTreeMap<String, Reaction>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tmid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tshow: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tcount: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tlm: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replies: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attachments: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) custom_fields: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited_at: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited_by: Option<Author>,
    /// Deleted or superseded while history is kept.
    #[serde(default, rename = "_hidden", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden: bool,
    /// Of a superseded text: the message that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
}

/// A channel (`c`), a private group (`p`) or a direct room (`d`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Room {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) t: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fname: Option<String>,
    pub(crate) ts: Moment,
    #[serde(rename = "_updatedAt")]
    pub(crate) updated_at: Moment,
    pub(crate) msgs: u64,
    pub(crate) users_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) u: Option<Author>,
    #[serde(default)]
    pub(crate) ro: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) react_when_read_only: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) archived: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) announcement: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) custom_fields: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) muted: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unmuted: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) usernames: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) uids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_message: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lm: Option<Moment>,
}

/// That somebody is in a room, and how far they have read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subscription {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) rid: String,
    pub(crate) t: String,
    pub(crate) u: Author,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fname: Option<String>,
    pub(crate) ts: Moment,
    #[serde(rename = "_updatedAt")]
    pub(crate) updated_at: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ls: Option<Moment>,
    pub(crate) open: bool,
    pub(crate) alert: bool,
    pub(crate) unread: u64,
    pub(crate) user_mentions: u64,
    pub(crate) group_mentions: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<String>,
    /// `BANNED` for somebody who was banned: the document stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
}

impl Subscription {
    /// Whether this is membership, and not the record of a ban.
    pub(crate) fn is_member(&self) -> bool {
        self.status.is_none()
    }
}

/// A file that was uploaded. Its bytes stand apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Upload {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) mime: String,
    pub(crate) size: u64,
    pub(crate) rid: String,
    pub(crate) user_id: String,
    pub(crate) uploaded_at: Moment,
    /// Until it is confirmed, when it would be thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Moment>,
    #[serde(default, rename = "_hidden", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden: bool,
}

/// What was deleted, for lists of deletions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deleted {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) rid: String,
    /// Whose subscription it was, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    #[serde(rename = "_deletedAt")]
    pub(crate) deleted_at: Moment,
}

/// An incoming webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Webhook {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) token: String,
    /// Who speaks through it.
    pub(crate) username: String,
    /// Where it speaks unless a request says otherwise: `#name` or `@username`.
    pub(crate) channel: String,
}
