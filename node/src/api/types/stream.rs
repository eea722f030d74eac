//! Live streams, and what is over in a moment.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::EventView;

/// Where a live stream begins.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct StreamQuery {
    /// Entries after this position; without it the stream begins at the end. `Last-Event-ID` does the same.
    pub after: Option<u64>,
    /// Whether what is over in a moment is told too: who types, who is there, how far somebody has read. It comes as events called
    /// `ephemeral`, which have no id and no position, are told once, and are left out where the reader is slow.
    pub ephemeral: Option<bool>,
}

/// One entry of a live stream; its position is the server-sent event's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamEntry {
    /// The position in the local log.
    pub position: u64,
    /// `accepted`, `rejected`, `withheld`, `restored`, `body_arrived`, `erased` or `ahead`: a message that came ahead of what it
    /// stands on, behind a gap, and comes once more when that is here. Whether what was accepted is old, its event's `late`
    /// says.
    pub change: String,
    /// The event.
    pub event: EventView,
}

/// Something that is over in a moment. It is in no log and no store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EphemeralView {
    /// The room.
    pub room: String,
    /// Whose it is.
    pub user: String,
    /// Whether they type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typing: Option<bool>,
    /// Whether they are there: `online`, `away`, `busy` or `offline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<String>,
    /// The event up to which they have read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// For how long it holds, in milliseconds.
    pub lasts_ms: u64,
}

/// What a user of this server does right now: exactly one of `typing`, `presence` and `read`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostEphemeral {
    /// The user's name on this server.
    pub user: String,
    /// Whether they type. Say it again every few seconds: it holds for 15.
    pub typing: Option<bool>,
    /// Whether they are there: `online`, `away`, `busy` or `offline`. It holds for ten minutes.
    pub presence: Option<String>,
    /// The event up to which they have read.
    pub read: Option<String>,
}
