//! Rooms: making, joining and leaving them, and what they are like.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Makes a room.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreateRoom {
    /// The local user who makes it and owns it, such as `alice`.
    pub user: String,
    /// Its name; a direct room may have none.
    #[serde(default)]
    pub name: String,
    /// Its topic.
    pub topic: Option<String>,
    /// Rocket.Chat's letter of its type: `c` (channel) by default, `p` (private group) or `d` (direct room).
    #[serde(rename = "type")]
    pub room_type: Option<String>,
    /// Whom a direct room is with, at most 16: `bob`, `@bob:chat.example.org` or `@bob:12D3KooW...`.
    #[serde(default)]
    pub with: Vec<String>,
    /// From when on servers that come later read what is said in a private group or a direct room: from the `start` (the
    /// default), or from their `join`.
    #[serde(default)]
    pub history: Option<String>,
}

/// Joins a room.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JoinRoom {
    /// The room's id.
    pub room: String,
    /// The local user who joins.
    pub user: String,
    /// How long to look for a server in the room, in seconds; 30 by default, 600 at most.
    pub wait_s: Option<u64>,
}

/// Leaves a room.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LeaveRoom {
    /// The local user who leaves. The node stops following the room when its last user has left.
    pub user: String,
}

/// Rooms.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoomList {
    /// Ascending by id.
    pub rooms: Vec<RoomSummary>,
}

/// A room in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomSummary {
    /// The room's id.
    pub id: String,
    /// Its name, if that is known here.
    pub name: Option<String>,
    /// Rocket.Chat's letter of its type.
    #[serde(rename = "type")]
    pub room_type: String,
    /// Whether this node takes part.
    pub joined: bool,
    /// Joined users.
    pub members: u64,
    /// Servers with a joined user.
    pub servers: u64,
    /// Events held, rejected ones included.
    pub events: u64,
    /// The hash of the have-vector: two servers with the same digest hold the same room.
    pub digest: String,
    /// The hash of the resolved state: two servers that hold the same room agree about it.
    pub state_digest: String,
}

/// A room in full.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoomDetail {
    /// The room in short.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// Its topic.
    pub topic: Option<String>,
    /// Its version.
    pub version: String,
    /// The user who made it.
    pub creator: String,
    /// The timeline's tips.
    pub timeline_tips: Vec<String>,
    /// The state graph's tips.
    pub state_tips: Vec<String>,
    /// What is held, by server and lane.
    pub have: Vec<HaveView>,
    /// Events that wait for others.
    pub held: u64,
    /// What is missing of the timeline, since the room was joined without it; none if nothing is.
    #[serde(default)]
    pub gap: Option<GapView>,
    /// Servers in the room and whether they are connected.
    pub servers_in_room: Vec<RoomServer>,
    /// What the room is like for those in it, and for those who want in.
    pub settings: RoomSettings,
    /// Servers that signed two events for one place of their chain, with the ends of the branches as the evidence.
    pub forks: Vec<ForkView>,
}

/// A part of a room's timeline that is not here: everything between what is listed and the messages that came ahead of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GapView {
    /// `coming` while it is being fetched, or `put_off` until somebody asks for it.
    pub state: String,
    /// Messages that came ahead of what they stand on and are shown.
    pub ahead: u64,
    /// What that means, in words.
    pub message: String,
}

/// What came of asking for a room's older history.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// The room.
    pub room: String,
    /// What is missing still; none if nothing is.
    pub gap: Option<GapView>,
}

/// What a room's owners have set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomSettings {
    /// Who may join: `open`, `code` or `invite`.
    pub join_rule: String,
    /// Only owners and moderators may write.
    pub read_only: bool,
    /// Only owners, moderators and leaders may begin threads.
    pub announcement_only: bool,
    /// Nobody may write or join.
    pub archived: bool,
    /// Only servers that are allowed may join.
    pub listed_only: bool,
    /// Servers for which something is set: `allow` or `deny`.
    pub servers: Vec<ServerRuleView>,
    /// The description.
    pub description: Option<String>,
    /// The announcement.
    pub announcement: Option<String>,
}

/// What a room says about a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerRuleView {
    /// The server's id.
    pub id: String,
    /// `allow` or `deny`.
    pub rule: String,
}

/// A server that signed two events for one place of its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForkView {
    /// The server's id.
    pub id: String,
    /// What it calls itself, if that is known.
    pub name: Option<String>,
    /// `state` or `timeline`.
    pub lane: String,
    /// The ends of its branches.
    pub heads: Vec<HeadView>,
}

/// What is held of one lane of one server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HaveView {
    /// The server's id.
    pub origin: String,
    /// `state` or `timeline`.
    pub lane: String,
    /// The lowest sequence number held.
    pub lowest: u64,
    /// The ends of the chain; several where the server forked.
    pub heads: Vec<HeadView>,
}

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeadView {
    /// Its sequence number.
    pub seq: u64,
    /// The event.
    pub id: String,
}

/// A server in a room.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoomServer {
    /// The server's id.
    pub id: String,
    /// What it calls itself, if that is known.
    pub name: Option<String>,
    /// Whether it is connected to this node, or is this node.
    pub connected: bool,
    /// Its joined users in the room.
    pub members: u64,
}

/// Members of a room.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberList {
    /// Ascending by user id.
    pub members: Vec<MemberView>,
}

/// A member.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// The user with the server's id: `@alice:12D3KooW…`.
    pub user: String,
    /// The user as people read it: `@alice:chat.example.org` where the server's name is known.
    pub display: String,
    /// `owner`, `moderator`, `leader` or `member`.
    pub role: String,
    /// `join`, or for those who are not in the room `invite`, `leave`, `kick`, `ban` or `unban`.
    pub membership: String,
    /// Whether the user is muted.
    pub muted: bool,
}
