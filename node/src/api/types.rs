//! What the API says and is told, as JSON. The command line and the OpenAPI document use these very types.

mod events;
mod files;
mod invitations;
mod keeping;
mod net;
mod node;
mod peers;
mod rooms;
mod stream;

pub use events::{EventPage, EventQuery, EventView, PostEvent, Posted};
pub use files::{DownloadQuery, FilePage, FileQuery, FileView, MessageFile, RoomFile, UploadQuery};
pub use invitations::{DeclineInvitation, InvitationList, InvitationView, InvitedUser};
pub use keeping::{ImportedRoom, Retention, RetentionView, RoomProof, ServerProof};
pub use net::{NetAddress, NetPeer, NetPrivate, NetPunches, NetRelay, NetServing, NetView};
pub use node::{BootstrapView, ConfigEntry, ConfigView, ErrorBody, ErrorDetail, Health, NodeStatus, Problem};
pub use peers::{Audience, BanRequest, ConnectRequest, ConnectionView, PeerCounters, PeerList, PeerView, Policy};
pub use rooms::{
    CreateRoom, ForkView, GapView, HaveView, HeadView, HistoryView, JoinRoom, LeaveRoom, MemberList, MemberView,
    RoomDetail, RoomList, RoomServer, RoomSettings, RoomSummary, ServerRuleView,
};
pub use stream::{EphemeralView, PostEphemeral, StreamEntry, StreamQuery};
