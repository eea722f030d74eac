//! The state graph of a room, read from the store: whole, or from the last snapshot on.

use std::collections::BTreeMap;

use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Event, Lane, OrderKey};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::receipt::RoomGraph;
use rocketmesh_protocol::resolution::Resolver;
use rocketmesh_protocol::room::Outline;
use rocketmesh_storage::{ChainStart, EventStore, Snapshot, StoreError};

use super::{REVIEWED, RoomTask};
use crate::engine::graph::Graph;

/// How many state events come between two snapshots of a room's state.
const SNAPSHOT_EVERY: usize = 256;

impl RoomTask {
    /// Reads the whole state graph where an event stands on what is older than the snapshot that the node began with.
    pub(super) fn reach(&mut self, event: &Event) -> Result<(), StoreError> {
        if !self.resolver.is_partial() || self.resolver.can_judge(event) {
            return Ok(());
        }
        let graph = Graph { store: &self.engine.store, undecided: &self.undecided, recent: &self.recent };
        for id in &event.header().state_frontier {
            // What is not here is waited for, and what is of the wrong lane or room makes the event a misplaced one.
            if !graph.node(id)?.is_some_and(|node| node.lane == Lane::State && node.room == self.room) {
                return Ok(());
            }
        }
        let mut resolver = state_graph(&self.engine.store, &self.outline)?;
        for id in &self.fresh {
            if let Some(stored) = self.undecided.get(id) {
                resolver.insert(&stored.event);
            }
        }
        (self.resolver, self.snapshot_at) = (resolver, 0);
        Ok(())
    }

    /// Takes a snapshot of the state if many state events have come since the last one and there is a place for it.
    pub(super) fn take_snapshot(&mut self) -> Result<(), StoreError> {
        if self.resolver.len() < self.snapshot_at + SNAPSHOT_EVERY {
            return Ok(());
        }
        let Some((cut, state)) = self.resolver.snapshot() else { return Ok(()) };
        let have = self.outline.have().lane_only(Lane::State);
        let snapshot = Snapshot { cut, have, pieces: state.to_pieces() };
        self.engine.store.put_snapshot(&self.room, &snapshot)?;
        self.snapshot_at = self.resolver.len();
        Ok(())
    }
}

/// Everything that the store holds of a room's state graph.
pub(super) fn state_graph(store: &EventStore, outline: &Outline) -> Result<Resolver, StoreError> {
    let mut resolver = Resolver::new();
    for event in state_events(store, outline, |_| 0)?.values() {
        resolver.insert(event);
    }
    Ok(resolver)
}

/// The resolver from the last snapshot on; none if there is no snapshot, or something that came later is older than it.
pub(super) fn resumed(store: &EventStore, outline: &Outline) -> Result<Option<Resolver>, StoreError> {
    let Some(snapshot) = store.snapshot(&outline.room())? else { return Ok(None) };
    let Some(cut) = store.event(&snapshot.cut)?.map(|stored| stored.event) else { return Ok(None) };
    let Some(state) = RoomState::from_pieces(&snapshot.pieces) else { return Ok(None) };
    // With forks a number does not tell what was held.
    if snapshot.have.lanes().any(|(_, _, lane)| lane.forked()) {
        return Ok(None);
    }
    let mut resolver = Resolver::resume(&cut, state);
    let held = |origin| snapshot.have.lane(origin, Lane::State).map_or(0, |lane| lane.highest().0 + 1);
    let newer = state_events(store, outline, held)?;
    for event in newer.values() {
        if !resolver.can_judge(event) {
            return Ok(None);
        }
        resolver.insert(event);
    }
    // A branch beside what the snapshot held begins with a number that it held.
    let forked = outline.have().lanes().any(|(_, lane, held)| lane == Lane::State && held.forked());
    Ok(Some(resolver).filter(|_| !forked))
}

/// State events of a room in room order, of each server from some sequence number on.
fn state_events(
    store: &EventStore,
    outline: &Outline,
    from: impl Fn(Origin) -> u64,
) -> Result<BTreeMap<OrderKey, Event>, StoreError> {
    let mut events: BTreeMap<OrderKey, Event> = BTreeMap::new();
    for (origin, lane, _) in outline.have().lanes().filter(|(_, lane, _)| *lane == Lane::State) {
        let mut start = ChainStart::At(from(origin));
        loop {
            let page = store.chain_from(&outline.room(), origin, lane, start, REVIEWED)?;
            for (_, id) in &page {
                if let Some(stored) = store.event(id)? {
                    events.insert(stored.event.order(), stored.event);
                }
            }
            match page.last() {
                Some((seq, id)) if page.len() == REVIEWED => start = ChainStart::After(*seq, *id),
                _ => break,
            }
        }
    }
    Ok(events)
}
