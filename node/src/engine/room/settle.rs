//! The end of a burst: it is written, flushed, and then everybody is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use libp2p::gossipsub::MessageAcceptance;
use libp2p::identity::PeerId;
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Event, Lane};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_storage::{Batch, HeldEvent, LogPosition, Participation, StoreError, StoredEvent};
use tokio::sync::oneshot;

use super::erasure::Bodies;
use super::{Ingested, PostError, RoomTask, Written};
use crate::engine::{add, direct, sync};
use crate::network::GossipToken;

/// What is owed to others once the burst is on disk.
#[derive(Default)]
pub(super) struct Owed {
    pub(super) ingested: Vec<(oneshot::Sender<Result<Ingested, Arc<StoreError>>>, Ingested)>,
    pub(super) written: Vec<(oneshot::Sender<Result<Written, PostError>>, EventId)>,
    pub(super) tokens: Vec<(GossipToken, MessageAcceptance)>,
    pub(super) publish: Vec<Event>,
    pub(super) hold: Vec<HeldEvent>,
    /// Of those, what is shown while it waits.
    pub(super) ahead: Vec<EventId>,
    pub(super) release: Vec<EventId>,
    pub(super) repair_from: Option<PeerId>,
    /// Who brought a state event that waits in a room whose history is put off: until what it stands on is here, nothing newer
    /// is shown.
    pub(super) compare_with: Option<PeerId>,
    /// Who asked for the state: it is told what is on disk.
    pub(super) asked: Vec<oneshot::Sender<Option<(Arc<RoomState>, usize)>>>,
    /// Whether this node takes part from now on, or no longer.
    pub(super) participation: bool,
}

/// What a burst brought, for those who are not told by gossip.
#[derive(Default)]
pub(super) struct News {
    pub(super) positions: BTreeMap<EventId, LogPosition>,
    /// Whether the state may be another one.
    pub(super) state: bool,
    /// The servers whose users something was said about.
    pub(super) about: BTreeSet<Origin>,
    /// Whether anything came from another server.
    pub(super) received: bool,
}

impl RoomTask {
    /// Writes the burst, flushes it, and then tells everybody.
    pub(super) async fn settle(&mut self, result: Result<(), StoreError>, owed: Owed) {
        let written = match result {
            Ok(()) => self.write(&owed).await,
            Err(error) => Err(Arc::new(error)),
        };
        match written {
            Ok(news) => self.pay(owed, news).await,
            Err(error) => self.fail(owed, &error),
        }
    }

    /// Puts the burst on disk.
    async fn write(&mut self, owed: &Owed) -> Result<News, Arc<StoreError>> {
        let fresh = std::mem::take(&mut self.fresh);
        self.fresh_bytes = 0;
        let bodies = std::mem::take(&mut self.bodies);
        let ahead: Vec<EventId> = owed.ahead.iter().copied().filter(|id| self.held.contains(id)).collect();
        if let Some(position) = self.filled.take() {
            self.engine.committer.sync().await?;
            self.engine.mark_durable(position);
        }
        let held = !owed.hold.is_empty() || !owed.release.is_empty();
        if fresh.is_empty() && !held && bodies.is_empty() && !owed.participation {
            return Ok(News::default());
        }
        let mut undecided = std::mem::take(&mut self.undecided);
        let events: Vec<StoredEvent> = fresh.iter().filter_map(|id| undecided.remove(id)).collect();
        // Set free by one thing that it waited for, and waiting for another.
        let release: Vec<EventId> = owed.release.iter().copied().filter(|id| !self.held.contains(id)).collect();
        let changed: Vec<StoredEvent> = std::mem::take(&mut self.changed).into_values().collect();
        let marked: Vec<_> = bodies.marked.into_iter().collect();
        let stripped: Vec<StoredEvent> = bodies.stripped.into_values().collect();
        let batch = Batch {
            outline: &self.outline,
            participation: self.participation,
            events: &events,
            changed: &changed,
            hold: &owed.hold,
            release: &release,
            marked: &marked,
            stripped: &stripped,
            ahead: &ahead,
        };
        let last = self.engine.store.put(&batch).map_err(Arc::new)?;
        if bodies.wanted_again {
            sync::spread(self.engine.clone(), self.room);
        }
        if let Err(error) = self.take_snapshot() {
            // The room is no worse off without one.
            tracing::warn!(room = %self.room, %error, "a snapshot of the state was not written");
        }
        if events.is_empty() && stripped.is_empty() && ahead.is_empty() {
            return Ok(News::default());
        }
        self.engine.committer.sync().await?;
        add(&self.engine.counters.flushes, 1);
        self.engine.mark_durable(last);
        let first = last + 1 - (events.len() + changed.len() + stripped.len() + ahead.len()) as u64;
        Ok(News {
            positions: fresh.into_iter().zip(first..).collect(),
            state: events.iter().any(|stored| stored.event.header().lane == Lane::State),
            about: direct::servers_about(events.iter().map(|stored| &stored.event)),
            received: events.iter().any(|stored| owed.publish.iter().all(|own| own.id() != stored.event.id())),
        })
    }

    async fn pay(&mut self, owed: Owed, news: News) {
        let positions = &news.positions;
        // What others are told of a room depends on whether this node takes part in it.
        if !positions.is_empty() || owed.participation {
            self.engine.followed.note_change(&self.room, self.resolver.current().filter(|_| news.state));
        }
        for (done, ingested) in owed.ingested {
            let _ = done.send(Ok(ingested));
        }
        let published: BTreeMap<EventId, Event> =
            owed.publish.iter().map(|event| (event.id(), event.clone())).collect();
        for (done, id) in owed.written {
            if let (Some(event), Some(position)) = (published.get(&id), positions.get(&id)) {
                let _ = done.send(Ok(Written { event: event.clone(), position: *position }));
            }
        }
        let mut unheard = false;
        if self.engine.followed.gossips(&self.room) {
            for event in &owed.publish {
                // The network's end is the node's; nothing is lost, since the event is on disk.
                unheard |= !self.engine.network.publish(event).await.unwrap_or(true);
            }
        } else if self.engine.follows(&self.room) {
            self.tell_members(&owed.publish, &news).await;
        }
        if news.state {
            self.tell_others(&news.about);
        }
        self.answer(owed.asked);
        for (token, acceptance) in owed.tokens {
            let _ = self.engine.network.validated(token, acceptance).await;
        }
        if unheard {
            sync::spread(self.engine.clone(), self.room);
        }
        self.mind_tips();
        self.mind_gap();
        if let Some(peer) = owed.compare_with {
            sync::look_soon(&self.engine, peer, self.room);
        }
        if let Some(peer) = owed.repair_from.filter(|_| !self.repairing && self.held.len() > 0) {
            self.repairing = true;
            sync::repair(self.engine.clone(), self.handle.clone(), self.room, peer);
        }
    }

    /// Brings what is not gossiped to the member servers.
    async fn tell_members(&mut self, own: &[Event], news: &News) {
        let Some(state) = self.resolver.current() else { return };
        if !own.is_empty() {
            direct::hand_over(&self.engine, self.room, state, own).await;
        }
        if news.state {
            let (engine, room) = (self.engine.clone(), self.room);
            self.engine.background(async move { engine.keep_company(room).await });
        }
        if news.received {
            direct::pass_on(&self.engine, self.room);
        }
    }

    /// Tells the servers that a change of the state concerns and that do not hear of it as members.
    fn tell_others(&mut self, about: &BTreeSet<Origin>) {
        let Some(after) = self.resolver.current().cloned() else { return };
        let before = self.told_state.replace(after.clone());
        if self.participation != Participation::Joined {
            return;
        }
        direct::mind_audience(&self.engine, self.room, before.as_ref(), &after, about);
        // Removed, and not by a word of one's own, which is to be handed over first.
        let own = self.engine.origin;
        let removed = before.is_some_and(|before| before.has_member(own)) && !after.has_member(own);
        if removed {
            let (engine, room) = (self.engine.clone(), self.room);
            self.engine.background(async move { engine.part(room).await });
        }
    }

    /// Tells whoever asked what the room is.
    fn answer(&self, asked: Vec<oneshot::Sender<Option<(Arc<RoomState>, usize)>>>) {
        if asked.is_empty() {
            return;
        }
        let state = self.resolver.current().cloned().map(|state| (Arc::new(state), self.held.len()));
        for asked in asked {
            let _ = asked.send(state.clone());
        }
    }

    /// The burst is lost: everybody is told so, and the room is read from the store again.
    fn fail(&mut self, owed: Owed, error: &Arc<StoreError>) {
        // A full disk is a state that passes, and the node's health shows it for as long as it lasts.
        if !matches!(**error, StoreError::Full { .. }) {
            add(&self.engine.counters.store_errors, 1);
        }
        tracing::warn!(room = %self.room, %error, "events were not written");
        // They may be in the store all the same, where it was the flush that failed.
        self.engine.followed.forget(&self.room);
        for (done, _) in owed.ingested {
            let _ = done.send(Err(Arc::clone(error)));
        }
        for (done, _) in owed.written {
            let _ = done.send(Err(PostError::Store(Arc::clone(error))));
        }
        self.recent.get_mut().clear();
        self.undecided.clear();
        self.fresh.clear();
        self.fresh_bytes = 0;
        self.changed.clear();
        self.bodies = Bodies::default();
        match RoomTask::load(self.engine.clone(), self.room, self.handle.clone()) {
            Ok(loaded) => *self = RoomTask { repairing: self.repairing, merging: self.merging, ..loaded },
            Err(error) => {
                // With what it holds in memory it must not go on: part of that was never written.
                tracing::error!(room = %self.room, %error, "a room cannot be read from the store");
                self.lost = true;
                return;
            }
        }
        self.answer(owed.asked);
    }
}
