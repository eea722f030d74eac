//! What the mapping's tests know of accounts and messages.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::{Localpart, Origin, UserId};

use super::{Known, Who};

/// Accounts and messages of a test. Events are named by numbers.
pub(super) struct Mock {
    who: BTreeMap<String, Who>,
    messages: BTreeMap<String, EventId>,
    authors: BTreeMap<EventId, UserId>,
}

pub(super) const HERE: Origin = Origin::from_bytes([1; 32]);
pub(super) const THERE: Origin = Origin::from_bytes([2; 32]);

impl Mock {
    pub(super) fn new() -> Self {
        let who = [("bridge".to_owned(), Who::Service)].into();
        Mock { who, messages: BTreeMap::new(), authors: BTreeMap::new() }
    }

    /// A person of this server. Their account's id is their name with `id-` before it.
    pub(super) fn local(&mut self, name: &str) {
        self.who.insert(name.to_owned(), Who::Local(name.parse().unwrap()));
    }

    /// An account that stands for somebody of the other server.
    pub(super) fn shadow(&mut self, name: &str, username: &str) {
        self.who.insert(username.to_owned(), Who::Shadow(self.remote(name)));
    }

    pub(super) fn link(&mut self, event: u8, message: &str) {
        self.messages.insert(message.to_owned(), self.event_of(event));
    }

    pub(super) fn wrote(&mut self, event: u8, user: &UserId) {
        self.authors.insert(self.event_of(event), user.clone());
    }

    pub(super) fn user(&self, name: &str) -> UserId {
        UserId { origin: HERE, localpart: name.parse().unwrap() }
    }

    pub(super) fn remote(&self, name: &str) -> UserId {
        UserId { origin: THERE, localpart: name.parse().unwrap() }
    }

    pub(super) fn event_of(&self, event: u8) -> EventId {
        EventId::from_hash([event; 32])
    }
}

impl Known for Mock {
    fn who(&self, id: Option<&str>, username: &str) -> Who {
        let by_id = id.and_then(|id| self.who.get(id.strip_prefix("id-")?));
        by_id.or_else(|| self.who.get(username)).cloned().unwrap_or(Who::Service)
    }

    fn username(&self, user: &UserId) -> Option<String> {
        if user.origin == HERE {
            return Some(user.localpart.as_str().to_owned());
        }
        self.who.iter().find(|(_, who)| **who == Who::Shadow(user.clone())).map(|(name, _)| name.clone())
    }

    fn event(&self, message: &str) -> Option<EventId> {
        self.messages.get(message).copied()
    }

    fn message(&self, event: &EventId) -> Option<String> {
        self.messages.iter().find(|(_, known)| *known == event).map(|(message, _)| message.clone())
    }

    fn author(&self, event: &EventId) -> Option<UserId> {
        self.authors.get(event).cloned()
    }

    fn local(&self, localpart: &Localpart) -> UserId {
        UserId { origin: HERE, localpart: localpart.clone() }
    }

    fn url(&self) -> &str {
        "http://chat.test"
    }

    fn room_path(&self) -> &str {
        "channel/lunch"
    }
}
