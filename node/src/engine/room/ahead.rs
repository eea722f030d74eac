//! What came ahead of what it stands on, in a room whose older history is not here: shown while it waits, and named by what is
//! written meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use rocketmesh_protocol::event::{Draft, Event, Lane};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::limits::MAX_PARENTS;
use rocketmesh_protocol::room::{removal_target, set_seen};
use rocketmesh_storage::StoreError;

use super::{PostError, RoomTask};
use crate::engine::history::{Gap, MOST_AHEAD};

impl RoomTask {
    /// Whether a message that waits for others may be shown: by the state graph, which is here, it is allowed and not withheld.
    pub(super) fn is_shown_ahead(&mut self, event: &Event) -> Result<bool, StoreError> {
        if event.header().lane != Lane::Timeline {
            return Ok(false);
        }
        self.reach(event)?;
        Ok(matches!(self.resolver.judge(event), Some(Ok(_))) && self.resolver.shows(event))
    }

    /// Messages that wait and are shown, the oldest first.
    pub(super) fn ahead(&mut self) -> Result<Vec<Event>, StoreError> {
        let mut ahead = Vec::new();
        for event in self.held.events().cloned().collect::<Vec<_>>() {
            if self.is_shown_ahead(&event)? {
                ahead.push(event);
            }
        }
        ahead.sort_by_key(Event::order);
        Ok(ahead)
    }

    /// The newest of them that no other names: what an event that is written now comes after, and cannot stand on yet.
    pub(super) fn sighted(&mut self) -> Result<Vec<EventId>, StoreError> {
        let ahead = self.ahead()?;
        let named: BTreeSet<&EventId> = ahead.iter().flat_map(|event| event.header().references()).collect();
        let tips = ahead.iter().rev().map(Event::id).filter(|id| !named.contains(id));
        Ok(tips.take(MAX_PARENTS).collect())
    }

    /// Writes into a draft that takes authority away up to where its target's timeline was seen here: what is held of it ends far
    /// below that, and all that came since would be withheld.
    pub(super) fn sight_ahead(&mut self, draft: &mut Draft) -> Result<(), PostError> {
        let Some(target) = removal_target(draft).filter(|target| *target != self.engine.origin) else { return Ok(()) };
        let ahead = self.ahead().map_err(|error| PostError::Store(Arc::new(error)))?;
        let of_target = ahead.iter().filter(|event| event.header().origin == target);
        let newest = of_target.map(|event| (event.header().seq, event.id())).max();
        set_seen(draft, &[newest.ok_or(PostError::CatchingUp)?]);
        Ok(())
    }

    /// Has the history fetched that nobody asked for where too much waits for it: what comes next would find no room.
    pub(super) fn mind_gap(&self) {
        if self.held.len() < MOST_AHEAD || self.engine.gap(&self.room) != Some(Gap::PutOff) {
            return;
        }
        let (engine, room) = (self.engine.clone(), self.room);
        self.engine.background(async move {
            tracing::info!(%room, "too much waits for the older history of the room, which is fetched now");
            if let Err(error) = engine.request_history(room).await {
                tracing::warn!(%room, %error, "the older history of a room is not fetched");
            }
        });
    }
}
