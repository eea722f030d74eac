//! Events: pages of them, one of them, and posting one.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{FileView, GapView, MessageFile};

/// How to page through a room's events.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct EventQuery {
    /// Start just after (or, descending, just before) this event of the room.
    pub from: Option<String>,
    /// At most this many: 100 by default, 1,000 at most.
    pub limit: Option<usize>,
    /// `asc` (default) from the oldest, or `desc` from the newest.
    pub order: Option<String>,
    /// Whether events that are withheld are listed too, as moderators may want: those whose authority somebody took away
    /// at the same time.
    pub withheld: Option<bool>,
}

/// A page of a room's events, in room order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub events: Vec<EventView>,
    /// What to give as `from` for the next page; none at the end.
    pub next: Option<String>,
    /// What is missing between these events and those of `ahead`; none if nothing is.
    #[serde(default)]
    pub gap: Option<GapView>,
    /// Messages that came ahead of what they stand on, the oldest first, on the page at the newest end. They are signed and
    /// allowed, and may be missing something that they answer.
    #[serde(default)]
    pub ahead: Vec<EventView>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its id.
    pub id: String,
    /// Its room.
    pub room: String,
    /// The server that made it.
    pub origin: String,
    /// The user who sent it, as people read it; none for what a server does on its own.
    pub sender: Option<String>,
    /// The user who sent it, with the server's id.
    pub sender_id: Option<String>,
    /// The kind, such as `message`.
    pub kind: String,
    /// `state` or `timeline`.
    pub lane: String,
    /// The position in its server's chain.
    pub seq: u64,
    /// Which entry of the state it sets.
    pub state_key: Option<String>,
    /// Lamport time: one more than everything that it refers to.
    pub lamport: u64,
    /// The server's clock when it was made, in milliseconds since 1970; for people to read.
    pub time_ms: u64,
    /// The event before it in its chain.
    pub self_parent: Option<String>,
    /// Timeline tips that it names.
    pub parents: Vec<String>,
    /// State tips that it names.
    pub state_frontier: Vec<String>,
    /// What rules read, as DAG-JSON.
    #[schema(value_type = Object)]
    pub content: serde_json::Value,
    /// What people wrote, as DAG-JSON; null while missing.
    #[schema(value_type = Object)]
    pub body: serde_json::Value,
    /// `present`; `missing`: it has not come yet; `erased`: a redaction took it; `expired`: it is older than this node keeps
    /// bodies of the room; or `none` for events without one.
    pub body_state: String,
    /// Whether it came more than five minutes after its author's clock said that it was made: not for users to be told of as
    /// if it were new.
    #[serde(default)]
    pub late: bool,
    /// Whether it was allowed where it stands; a rejected one is kept for its descendants' sake.
    pub accepted: bool,
    /// Whether it is withheld: allowed, but somebody took the authority that it used away at the same time.
    pub withheld: bool,
    /// Of an edit or a redaction: whether somebody else than the author of its target made it, as moderators may.
    pub by_moderator: bool,
    /// Of an edit or a redaction: whether it reaches its target; none where that is not here, and for other kinds.
    pub reaches: Option<bool>,
    /// Bytes of the header block and of the body block.
    pub bytes: u64,
    /// The files that a message names.
    #[serde(default)]
    pub files: Vec<FileView>,
}

/// Posts an event. Which fields count depends on `kind`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostEvent {
    /// The local user who sends it, such as `alice`.
    pub user: String,
    /// `message` (default), `edit`, `redact`, `react`, `room.name`, `room.topic`, `room.description`,
    /// `room.announcement`, `room.role`, `room.member`, `room.mute`, `room.join_rule`, `room.read_only`,
    /// `room.announcement_only`, `room.archived`, `room.listed_only`, `room.server`, or a kind of one's own.
    pub kind: Option<String>,
    /// The text of a message or an edit, the name, the topic, or the reason of a redaction.
    pub text: Option<String>,
    /// The message that an edit, redaction or reaction is about.
    pub target: Option<String>,
    /// The message that began the thread that a message belongs to.
    pub thread: Option<String>,
    /// Files that a message names, at most 10, as the upload answered. A message with files needs no text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<MessageFile>,
    /// The emoji of a reaction, such as `:smile:`.
    pub emoji: Option<String>,
    /// Takes a reaction back.
    pub remove: Option<bool>,
    /// The user whose role or membership is set, or who is muted: `@bob:12D3KooW…`, `@bob:chat.example.org`, or `bob` for
    /// a local one.
    pub member: Option<String>,
    /// The role: `owner`, `moderator`, `leader` or `member`.
    pub role: Option<String>,
    /// For `room.member`: `invite`, `kick`, `ban` or `unban`.
    pub membership: Option<String>,
    /// For `room.mute` and the switches: whether it is on from now on.
    pub on: Option<bool>,
    /// For `room.join_rule`: `open`, `code` or `invite`; for `room.server`: `allow`, `deny` or `none`.
    pub rule: Option<String>,
    /// For `room.server`: the server's id, or the name by which it is known here.
    pub server: Option<String>,
    /// For a kind of one's own: the state key, which makes it state.
    pub state_key: Option<String>,
    /// For a kind of one's own: fields of the body.
    #[schema(value_type = Option<Object>)]
    pub body: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What was posted. When this is answered the event is on disk.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Posted {
    /// The event's id.
    pub event: String,
    /// The room's id.
    pub room: String,
    /// Its position in the local log.
    pub position: u64,
}
