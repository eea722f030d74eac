//! Rooms that users of this server are invited to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Rooms that users of this server are invited to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InvitationList {
    /// Ascending by room.
    pub invitations: Vec<InvitationView>,
}

/// A room that users of this server are invited to. Joining the room accepts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InvitationView {
    /// The room's id.
    pub room: String,
    /// Rocket.Chat's letter of its type.
    #[serde(rename = "type")]
    pub room_type: String,
    /// Its name.
    pub name: Option<String>,
    /// Who is invited.
    pub users: Vec<InvitedUser>,
    /// Joined users.
    pub members: u64,
    /// Servers of the room, by id; at most 64.
    pub servers: Vec<String>,
    /// When this server heard of it, in milliseconds since 1970; 0 for a room that it is in.
    pub heard_ms: u64,
    /// Whether a join was written and waits for a server of the room.
    pub joining: bool,
}

/// A local user who is invited.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InvitedUser {
    /// The user, such as `bob`.
    pub user: String,
    /// Who invited.
    pub by: Option<String>,
}

/// Declines an invitation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeclineInvitation {
    /// The local user who declines.
    pub user: String,
}
