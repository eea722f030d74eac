//! What waits for Rocket.Chat and what it refused, as people and programs are told it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ProblemKind;

/// What is wrong by what could not be delivered: the kind, and what it is about, with what happened.
pub(crate) type Notices = BTreeMap<(ProblemKind, Option<String>), String>;

/// Whether a problem is one that what could not be delivered tells, and that is over when it does not.
pub(crate) fn is_noticed(kind: ProblemKind, subject: Option<&str>) -> bool {
    match kind {
        ProblemKind::ShadowTokenRefused => true,
        ProblemKind::Undeliverable
        | ProblemKind::FileAway
        | ProblemKind::PermissionMissing
        | ProblemKind::RestrictedWorkspace => subject.is_none(),
        _ => false,
    }
}

/// What waits for Rocket.Chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Changes that wait to be delivered, with those that wait for something to be mended.
    pub waiting: u64,
    /// When the oldest of them was made, in milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// Changes that were refused for good.
    pub undeliverable: u64,
    /// The latest of these.
    pub latest_undeliverable: Vec<DeadLetter>,
}

/// A change that Rocket.Chat refused for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// What names it, for `rocketmesh rocketchat queue retry` and `dismiss`.
    pub id: String,
    /// The event or the message.
    pub event: String,
    /// The room.
    pub room: String,
    /// What it was to do, such as `message` or `react`.
    pub what: String,
    /// The word of what stands in the way: `refused`, or that of a problem.
    pub code: String,
    /// Why it was refused.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub since_ms: u64,
    /// How often it was tried again.
    pub tries: u32,
    /// Whether it can be tried again. What cannot is there to be read.
    pub can_retry: bool,
}

/// What waits in one room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingRoom {
    /// Its id in Rocket.Chat.
    pub rid: String,
    /// Its id in the mesh.
    pub room: String,
    /// Its name in Rocket.Chat.
    pub name: String,
    /// Changes that wait to be delivered, as far as they were counted: at most 100,000 entries of the local log are looked at.
    pub waiting: u64,
    /// When the oldest of them was made, in milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// What stands in the way, in words; none if nothing does.
    pub why: Option<String>,
}

/// Everything that waits, and everything that was not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RocketChatQueue {
    /// Rooms in which something waits.
    pub rooms: Vec<WaitingRoom>,
    /// What was not taken while what came after it went on, oldest first. At most 100 of a room are kept; beyond,
    /// it waits. Of all rooms at most 1000 are; beyond, the oldest of the room with the most gives way.
    pub letters: Vec<DeadLetter>,
}
