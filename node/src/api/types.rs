//! What the API says and is told, as JSON. The command line and the OpenAPI document use these very types.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What every refused request answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// Why a request was refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// A stable word for programs, such as `unknown_room`.
    pub code: String,
    /// A sentence for people that says what to do.
    pub message: String,
}

/// Whether the node is well.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or `degraded` when `problems` has something to say.
    pub status: String,
    /// What is wrong and what to do about it.
    pub problems: Vec<Problem>,
}

/// Something that an administrator should know.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people that says what to do.
    pub message: String,
}

/// The node in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// The server's id (PeerId).
    pub id: String,
    /// The server's name, if it has one.
    pub name: Option<String>,
    /// The build's version.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Where others can reach this node, in the form that they paste as a bootstrap address.
    pub addresses: Vec<String>,
    /// Configured bootstrap addresses and how they fare.
    pub bootstrap: Vec<BootstrapView>,
    /// Whether this node serves the DHT (`server`) or only asks it (`client`).
    pub dht_mode: String,
    /// Peers in the DHT's routing table.
    pub dht_peers: u64,
    /// Connected peers.
    pub peers: u64,
    /// Rooms that this node takes part in.
    pub rooms: u64,
    /// The last position in the local log.
    pub log_position: u64,
    /// Bytes that the store takes on disk, but for files.
    pub store_bytes: u64,
    /// Bytes of files that messages name. One that is still coming counts in full.
    #[serde(default)]
    pub files_bytes: u64,
    /// Health in short: `ok` or `degraded`.
    pub health: String,
}

/// A configured bootstrap address.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BootstrapView {
    /// The address as configured.
    pub address: String,
    /// `connected`, `connecting` or `unreachable`.
    pub state: String,
    /// How often it was tried without success since the last one.
    pub failures: u64,
    /// Seconds until the next try; none while connected.
    pub next_try_s: Option<u64>,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// Peers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerList {
    /// Connected peers first, then known ones.
    pub peers: Vec<PeerView>,
}

/// One peer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// The peer's id.
    pub id: String,
    /// What it calls itself; a claim.
    pub name: Option<String>,
    /// `introduced`, `connected` (the first exchange is still to come), `incompatible` (no version in common),
    /// `excluded` (by policy), `banned` or `disconnected`.
    pub state: String,
    /// How it was found: `mdns`, `bootstrap`, `dht`, `command` or `inbound`.
    pub found_by: Vec<String>,
    /// Open connections.
    pub connections: Vec<ConnectionView>,
    /// How the best of them runs: `direct`, `punched` (directly, through a hole in a NAT) or `relayed`; none without one.
    pub path: Option<String>,
    /// Addresses at which it may be reached.
    pub addresses: Vec<String>,
    /// Protocols that it speaks, by identify.
    pub protocols: Vec<String>,
    /// Its software.
    pub agent: Option<String>,
    /// Wire versions that it speaks.
    pub wire_versions: Vec<u64>,
    /// Room versions that it speaks.
    pub room_versions: Vec<String>,
    /// The last round trip in milliseconds.
    pub latency_ms: Option<f64>,
    /// Rooms that both sides are in.
    pub shared_rooms: Vec<String>,
    /// What it sent and how much of that was refused.
    pub received: PeerCounters,
    /// Why it is banned.
    pub ban_reason: Option<String>,
}

/// What a peer sent since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerCounters {
    /// Gossip messages.
    pub gossip: u64,
    /// Gossip messages refused as malformed, wrongly signed or of a foreign room.
    pub gossip_refused: u64,
    /// Requests.
    pub requests: u64,
    /// Requests refused by a quota, by policy or as malformed.
    pub requests_refused: u64,
    /// Events in answers to what this node asked.
    pub events: u64,
    /// Of these, malformed, wrongly signed or not asked for.
    pub events_refused: u64,
}

/// One connection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectionView {
    /// The other side's address.
    pub address: String,
    /// `tcp`, `quic`, `memory` or `relayed`.
    pub transport: String,
    /// Who opened it: `outbound` or `inbound`.
    pub direction: String,
    /// How it runs: `direct`, `punched` or `relayed`.
    pub path: String,
    /// The relay (id) that it runs through.
    pub via: Option<String>,
}

/// Whether and how others reach this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetView {
    /// `public` (others reach it), `private` (they do not, unless through a relay) or `unknown`.
    pub reachability: String,
    /// How the node knows, in sentences.
    pub reasons: Vec<String>,
    /// What to do, in sentences; empty where nothing has to be done.
    pub advice: Vec<String>,
    /// Addresses that may be this node's, and what is known of them.
    pub addresses: Vec<NetAddress>,
    /// The relays that hold a place for this node.
    pub relays: Vec<NetRelay>,
    /// Connected peers and how they are connected.
    pub peers: Vec<NetPeer>,
    /// What this node relays for others.
    pub serving: NetServing,
    /// How often holes were punched.
    pub punches: NetPunches,
    /// UPnP: `off`, `searching`, `mapped`, `no_mapping` (nothing that needs one, or the router refused), `no_gateway`, or
    /// `no_public_address` (the router itself is behind NAT).
    pub upnp: String,
    /// The private mesh; none in the open one.
    pub private: Option<NetPrivate>,
}

/// An address that may be this node's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetAddress {
    /// The address.
    pub address: String,
    /// Why it is looked at: `listening`, `configured`, `mapped` (by UPnP), `observed` (by peers).
    pub sources: Vec<String>,
    /// `confirmed` or `refuted` by servers that dialled it, or `untested`.
    pub state: String,
    /// Peers that name it as where they see this node.
    pub named_by: u64,
    /// Servers that dialled it with success.
    pub reached_by: u64,
    /// Servers that dialled it without.
    pub not_reached_by: u64,
}

/// A relay that holds a place for this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetRelay {
    /// The relay's id.
    pub peer: String,
    /// The address at which others reach this node through it.
    pub address: String,
    /// For how many seconds it has held the place.
    pub since_s: u64,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetPeer {
    /// The peer's id.
    pub id: String,
    /// What it calls itself; a claim.
    pub name: Option<String>,
    /// `direct`, `punched` (directly, through a hole in a NAT) or `relayed`.
    pub path: String,
    /// `tcp` or `quic`; of a relayed one, that of the way to the relay.
    pub transport: String,
    /// The relay (id) that the connection runs through.
    pub via: Option<String>,
    /// For how many seconds.
    pub since_s: u64,
}

/// What this node relays for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetServing {
    /// As configured: `auto`, `on` or `off`.
    pub mode: String,
    /// Whether it relays now.
    pub active: bool,
    /// Servers that are reachable through this one.
    pub reservations: u64,
    /// Relayed connections.
    pub circuits: u64,
    /// Relayed connections since the start.
    pub circuits_total: u64,
}

/// How often holes were punched since the start, as far as this node is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetPunches {
    /// Tries that came to an end.
    pub tried: u64,
    /// Those that made a direct connection.
    pub succeeded: u64,
}

/// The private mesh that a node belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetPrivate {
    /// The key's fingerprint: the same on every server of the mesh.
    pub fingerprint: String,
    /// Addresses of `network.listen` that are not used, since the key protects TCP only.
    pub unused_listen: Vec<String>,
}

/// Asks the node to connect.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectRequest {
    /// `/ip4/…/tcp/…/p2p/…`, `/dns4/…` or `/dnsaddr/…`.
    pub address: String,
}

/// Bans a peer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BanRequest {
    /// Why, for other administrators to read.
    pub reason: Option<String>,
}

/// Which servers may do what with this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Which servers may exchange events with this one.
    pub federate: Audience,
    /// Which servers' users may invite users of this one.
    pub invite: Audience,
    /// Which servers' users may open direct rooms with users of this one.
    pub direct: Audience,
    /// Servers (ids) that `listed` means; `known` includes them.
    pub listed: Vec<String>,
    /// The most requests that one server may make in a minute; 0 is no limit of its own.
    pub requests_per_minute: u64,
    /// The most new events that one server may bring in a minute by gossip; 0 is no limit of its own. What is over comes
    /// later, by sync.
    pub events_per_minute: u64,
}

/// A group of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Every server that is not banned.
    Open,
    /// Listed servers, and those that this node was told to connect to.
    Known,
    /// Listed servers.
    Listed,
}

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

/// A file as a message names it. What an upload answers, and what a message is posted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageFile {
    /// Its id, the hash of its content: `bafkr4i…`.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it is called.
    pub name: String,
    /// Its media type, such as `image/png`.
    #[serde(rename = "type")]
    pub media_type: String,
    /// The width of a picture or film in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Its height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

/// A file that a message names, and what is here of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// What the message says.
    #[serde(flatten)]
    pub said: MessageFile,
    /// `here`; `coming`: some of it is; or `missing`.
    pub state: String,
    /// How many bytes of it are here and verified.
    pub here: u64,
}

/// A file of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomFile {
    /// The file.
    #[serde(flatten)]
    pub view: FileView,
    /// A message that names it.
    pub event: String,
    /// Who sent that, as people read it.
    pub sender: Option<String>,
    /// When, by the sender's server, in milliseconds since 1970.
    pub time_ms: u64,
}

/// A page of a room's files, ascending by id.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FilePage {
    /// The files that messages which are shown name.
    pub files: Vec<RoomFile>,
    /// What to give as `from` for the next page; none at the end.
    pub next: Option<String>,
    /// Bytes that count for this room.
    pub bytes: u64,
}

/// How to page through a room's files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct FileQuery {
    /// Start just after this file.
    pub from: Option<String>,
    /// At most this many: 100 by default, 1,000 at most.
    pub limit: Option<usize>,
}

/// What an uploaded file is called.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct UploadQuery {
    /// Its name: 1 to 255 bytes without slashes.
    pub name: String,
    /// Its media type; `application/octet-stream` by default.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
}

/// How to ask for a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct DownloadQuery {
    /// How long to wait for a file that other servers have, in seconds; 30 by default, 600 at most.
    pub wait: Option<u64>,
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

/// Where a live stream begins.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct StreamQuery {
    /// Entries after this position; without it the stream begins at the end. `Last-Event-ID` does the same.
    pub after: Option<u64>,
    /// Whether what is over in a moment is told too: who types, who is there, how far somebody has read. It comes as events called
    /// `ephemeral`, which have no id and no position, are told once, and are left out where the reader is slow.
    pub ephemeral: Option<bool>,
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

/// The effective configuration.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfigView {
    /// One entry for each key.
    pub entries: Vec<ConfigEntry>,
}

/// One key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigEntry {
    /// The key, such as `api.listen`.
    pub key: String,
    /// Its value, as TOML.
    pub value: String,
    /// Where it comes from: `default`, the file's path, the environment variable, or `command line`.
    pub source: String,
}
