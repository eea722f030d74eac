//! From what a Rocket.Chat server tells to what a room is told, and back. Pure: no network, no clock, no store.
//!
//! ```text
//!  message as streamed + what was seen of it before ── outgoing ──► what local people did
//!  event + what is known of the message it is about ── incoming ──► what to do in Rocket.Chat, and as whom
//! ```
//!
//! The two laws against echoes are kept here and nowhere else: nothing is ever said for somebody who is not a local user, and
//! nothing that a room says of its own server's users is done to their server again.

pub(crate) mod id;
pub(crate) mod incoming;
#[cfg(test)]
mod mock;
pub(crate) mod outgoing;
#[cfg(test)]
mod outgoing_tests;
pub(crate) mod profile;
pub(crate) mod seen;
pub(crate) mod shadow;
pub(crate) mod signals;
pub(crate) mod text;

use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::{Localpart, UserId};

/// Who somebody with an account on the Rocket.Chat server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A person of this server.
    Local(Localpart),
    /// The account that stands for somebody of another server.
    Shadow(UserId),
    /// The account through which the node acts, or an app's: nobody who says anything.
    Service,
}

/// What the mapping has to know of what was mapped before.
pub(crate) trait Known {
    /// Who the account with this id, or else with this username, is.
    fn who(&self, id: Option<&str>, username: &str) -> Who;
    /// What the user is called on this Rocket.Chat server; none if nobody stands for them here.
    fn username(&self, user: &UserId) -> Option<String>;
    /// The event that a message became, or came from.
    fn event(&self, message: &str) -> Option<EventId>;
    /// The message that stands for an event.
    fn message(&self, event: &EventId) -> Option<String>;
    /// Who said what an event says.
    fn author(&self, event: &EventId) -> Option<UserId>;
    /// A user of this server, as signed data knows them.
    fn local(&self, localpart: &Localpart) -> UserId;
    /// Where the Rocket.Chat server is, as its links begin: `https://chat.example.org`, without a slash at the end.
    fn url(&self) -> &str;
    /// The part of a link to a message that names the room: `channel/lunch`, `group/ID` or `direct/ID`.
    fn room_path(&self) -> &str;
}
