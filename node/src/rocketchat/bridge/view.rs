//! The records, as the mapping asks them, for one room.

use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, UserId};

use super::Bridge;
use crate::rocketchat::client::RoomKind;
use crate::rocketchat::mapping::{Known, Who};
use crate::rocketchat::records::Federated;

/// What is known for one room. A store that fails is as one that holds nothing: what was not found is not said, and the next write
/// says that the store is broken.
pub(super) struct View {
    bridge: Bridge,
    rooms: Vec<RoomId>,
    path: String,
}

impl View {
    pub(super) fn new(bridge: Bridge, room: RoomId, rid: &str, federated: &Federated) -> Self {
        let path = match federated.kind {
            RoomKind::Channel => format!("channel/{}", federated.name),
            RoomKind::Group => format!("group/{}", federated.name),
            RoomKind::Direct => format!("direct/{rid}"),
        };
        let rooms = std::iter::once(room).chain(federated.also()).collect();
        View { bridge, rooms, path }
    }

    /// Whether the user is one of this server.
    pub(super) fn is_local(&self, user: &UserId) -> bool {
        user.origin == self.bridge.engine.origin
    }
}

impl Known for View {
    fn who(&self, id: Option<&str>, username: &str) -> Who {
        let records = &self.bridge.records;
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            return records.account(id).ok().flatten().map_or(Who::Service, |account| account.who());
        }
        records.account_named(username).ok().flatten().map_or(Who::Service, |(_, account)| account.who())
    }

    fn username(&self, user: &UserId) -> Option<String> {
        let records = &self.bridge.records;
        let id = if self.is_local(user) { records.local(&user.localpart) } else { records.shadow(user) };
        records.account(&id.ok()??).ok()?.map(|account| account.username)
    }

    fn event(&self, message: &str) -> Option<EventId> {
        let event = self.bridge.records.seen(message).ok()??.event()?;
        self.is_here(&event).then_some(event)
    }

    fn message(&self, event: &EventId) -> Option<String> {
        // A thread of another room would take the message there.
        let shown = self.bridge.records.shown(event).ok()?.filter(|shown| !shown.message.is_empty())?;
        let gone = self.bridge.records.seen(&shown.message).ok()?.is_none_or(|seen| seen.gone);
        (self.is_here(event) && !gone).then_some(shown.message)
    }

    fn author(&self, event: &EventId) -> Option<UserId> {
        self.bridge.engine.store.event(event).ok()??.event.sender()
    }

    fn local(&self, localpart: &Localpart) -> UserId {
        self.bridge.engine.local(localpart.clone())
    }

    fn url(&self) -> &str {
        &self.bridge.url
    }

    fn room_path(&self) -> &str {
        &self.path
    }
}

impl View {
    fn is_here(&self, event: &EventId) -> bool {
        self.bridge
            .engine
            .store
            .event(event)
            .is_ok_and(|stored| stored.is_some_and(|stored| self.rooms.contains(&stored.event.room())))
    }
}
