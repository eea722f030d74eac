//! The room's graph as the receipt pipeline sees it: what is in the store, and what is decided but not yet written.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::receipt::{Node, RoomGraph};
use rocketmesh_storage::{EventStore, StoreError, StoredEvent};

/// Nodes kept in memory for each room in use. New events refer to recent ones; each costs about 150 bytes.
const RECENT: usize = 4096;

/// A view of one room.
pub(super) struct Graph<'a> {
    pub(super) store: &'a EventStore,
    pub(super) undecided: &'a BTreeMap<EventId, StoredEvent>,
    pub(super) recent: &'a RefCell<Recent>,
}

/// Nodes of recent events, the oldest dropped first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    nodes: BTreeMap<EventId, Node>,
    order: VecDeque<EventId>,
}

impl Recent {
    pub(super) fn insert(&mut self, id: EventId, node: Node) {
        if self.nodes.insert(id, node).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.nodes.remove(&oldest);
        }
    }

    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.order.clear();
    }
}

impl RoomGraph for Graph<'_> {
    type Error = StoreError;

    fn node(&self, id: &EventId) -> Result<Option<Node>, StoreError> {
        if let Some(node) = self.recent.borrow().nodes.get(id) {
            return Ok(Some(*node));
        }
        if let Some(stored) = self.undecided.get(id) {
            return Ok(Some(Node::of(&stored.event)));
        }
        let Some(stored) = self.store.event(id)? else { return Ok(None) };
        let node = Node::of(&stored.event);
        self.recent.borrow_mut().insert(*id, node);
        Ok(Some(node))
    }
}
