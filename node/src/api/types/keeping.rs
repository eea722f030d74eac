//! What is kept of a room: comparing it with other servers, for how long bodies stay, taking in a file of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::GapView;

/// What a comparison of a room with its other servers brought.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoomProof {
    /// The room.
    pub room: String,
    /// Events of it that this node holds.
    pub events: u64,
    /// The digest of what it holds.
    pub digest: String,
    /// Whether every member server that could be asked holds exactly the same.
    pub nothing_missing: bool,
    /// What is missing of the timeline, since the room was joined without it. While there is any, `nothing_missing` is false.
    #[serde(default)]
    pub gap: Option<GapView>,
    /// Bodies that are missing here and neither erased nor expired, up to 1,000.
    pub missing_bodies: u64,
    /// The room's other servers.
    pub servers: Vec<ServerProof>,
}

/// What one server of a room holds beside this one.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServerProof {
    /// The server's id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// `equal`, `differs`, `not_connected`, `not_held` (it does not hold the room, though it has a member there) or `silent`.
    pub state: String,
    /// Events that were fetched from it by this very comparison.
    pub fetched: u64,
    /// Events that it has and this node has not.
    pub missing_here: u64,
    /// Events that this node has and it has not.
    pub missing_there: u64,
    /// Why it did not answer.
    pub reason: Option<String>,
}

/// How long bodies of a room are kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Seconds; none is for ever.
    pub seconds: Option<u64>,
}

/// How long bodies of a room are kept, and what that meant for those that are here.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RetentionView {
    /// Seconds; none is for ever.
    pub seconds: Option<u64>,
    /// Bodies that were dropped for it by this very request.
    pub dropped: u64,
}

/// What was taken in of a room's file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportedRoom {
    /// The room.
    pub room: String,
    /// Events in the file.
    pub events: u64,
    /// Events that this node did not hold before, and does now, rejected ones included.
    pub new: u64,
    /// Events that no server may send: of another form than an event has, signed by somebody else, or out of place.
    pub refused: u64,
    /// Events of the room that wait for others: more than before the import if the file is not whole, or not in order.
    pub waiting: u64,
    /// Whether this node takes part in the room; importing does not change that.
    pub joined: bool,
}
