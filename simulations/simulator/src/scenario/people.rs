//! Rooms, who comes into them, and what is said and done there.

use serde::{Deserialize, Serialize};

use super::{SentFiles, Span};

/// A room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// A name that talks refer to.
    pub name: String,
    /// How many rooms of this kind there are; with more than one, `NAME-0`, `NAME-1` and so on.
    #[serde(default = "one")]
    pub count: usize,
    /// How many servers take part in each: chosen at random, or all.
    #[serde(default, skip_serializing_if = "Members::is_all")]
    pub servers: Members,
    /// When they come in.
    #[serde(default)]
    pub joined: Joining,
    /// How many of the first servers' users are moderators.
    #[serde(default)]
    pub moderators: usize,
    /// How many more are owners beside the creator.
    #[serde(default)]
    pub owners: usize,
}

/// How many servers take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Members {
    /// All of them.
    #[default]
    All,
    /// This many.
    Some(usize),
}

impl Members {
    fn is_all(&self) -> bool {
        *self == Members::All
    }
}

/// When servers come into a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "when", rename_all = "kebab-case")]
pub enum Joining {
    /// Long ago: everybody begins with the room's past in their store.
    #[default]
    Before,
    /// Half of the members begin with the room; the others come in at this time, spread over a while, each through the
    /// network.
    Crowd {
        /// When the first comes.
        at: Span,
        /// Within how long all come.
        within: Span,
        /// The share that comes then. 0 to 1.
        share: f64,
    },
}

/// Who speaks when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Talk {
    /// In which rooms, by the name they have above.
    pub room: String,
    /// Messages a second in each such room, at random times by random members. 0 with `chat`.
    #[serde(default)]
    pub rate: f64,
    /// A real conversation in its stead, as an IRC log: nicks are users spread over the room's servers.
    #[serde(default)]
    pub chat: Option<String>,
    /// How many times as fast as the log's minutes the conversation goes. Only with `chat`.
    #[serde(default = "one_times")]
    pub speed: f64,
    /// From when on.
    #[serde(default)]
    pub from: Span,
    /// Until when; none is to the end.
    #[serde(default)]
    pub until: Option<Span>,
    /// The text's length in bytes; real texts vary around it. Not with `chat`.
    #[serde(default = "eighty")]
    pub bytes: usize,
    /// Only servers of these regions speak; none is all.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Files that messages name; none without this. Not with `chat`; real layer only.
    #[serde(default)]
    pub files: Option<SentFiles>,
}

/// One deed of moderation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deed {
    /// In which room.
    pub room: String,
    /// When.
    pub at: Span,
    /// Which member does it: 0 is the creator, then in the room's order of members.
    pub by: usize,
    /// What.
    pub act: Act,
    /// To whom; none for what concerns the room.
    #[serde(default)]
    pub whom: Option<usize>,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Ban.
    Ban,
    /// Lift a ban.
    Unban,
    /// Kick.
    Kick,
    /// Come in again.
    Join,
    /// Make an owner.
    Owner,
    /// Make a moderator.
    Moderator,
    /// Take every role.
    Demote,
    /// Mute.
    Mute,
    /// Unmute.
    Unmute,
    /// Set the topic.
    Topic,
    /// Only owners and moderators may write from now on.
    ReadOnly,
    /// Everybody may again.
    Writable,
}

const fn one() -> usize {
    1
}

const fn eighty() -> usize {
    80
}

const fn one_times() -> f64 {
    1.0
}
