//! What servers have in their stores when the run begins: rooms that were made and joined long ago.

use std::sync::Arc;

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{
    Body, Content, Draft, Event, Lane, Membership, Placement, Role, RoomType, RoomVersion, author,
};
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, ServerKey, UserId};
use rocketmesh_protocol::resolution::Resolver;
use rocketmesh_protocol::room::Outline;
use rocketmesh_storage::{Batch, EventStore, Participation, Snapshot, StoredEvent, Verdict};

use super::RealError;
use crate::plan::{Plan, RoomPlan};
use crate::random::Random;

/// A room's past.
pub(super) struct Past {
    pub(super) room: RoomId,
    pub(super) events: Vec<Arc<Event>>,
    outline: Outline,
    resolver: Resolver,
    random: Random,
}

/// The keys of a plan's servers, which follow from the seed.
pub(super) fn keys(plan: &Plan) -> Vec<ServerKey> {
    let mut random = Random::new(plan.seed, "server keys");
    let mut key = |_| {
        let mut seed = [0; 32];
        random.fill(&mut seed);
        ServerKey::from_seed(&seed)
    };
    (0..plan.servers.len()).map(&mut key).collect()
}

/// A name as a user's.
pub(super) fn localpart(user: &str) -> Result<Localpart, RealError> {
    user.parse().map_err(|error| RealError::Past(format!("`{user}` is no user: {error}")))
}

impl Past {
    /// Makes the room and lets everybody in who was there before.
    pub(super) fn of(plan: &Plan, number: usize, keys: &[ServerKey]) -> Result<Self, RealError> {
        let room = &plan.rooms[number];
        let mut random = Random::new(plan.seed, &format!("past of room {number}"));
        let maker = &room.members[0];
        let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
        let draft = draft(&mut random, Some(localpart(&maker.user)?), &content, Some(("name", &room.name)));
        let create = author(&keys[maker.server], Placement::first(), draft).map_err(failed)?;
        let mut past = Past {
            room: create.room(),
            events: Vec::new(),
            outline: Outline::new(create.room(), RoomVersion::DRAFT),
            resolver: Resolver::new(),
            random,
        };
        past.take(create);
        past.fill(room, keys)?;
        Ok(past)
    }

    fn fill(&mut self, room: &RoomPlan, keys: &[ServerKey]) -> Result<(), RealError> {
        for member in &room.members[1..room.present] {
            let user = UserId { origin: keys[member.server].origin(), localpart: localpart(&member.user)? };
            let join = Content::Member { user, change: Membership::Join, seen: Vec::new() };
            self.write(&keys[member.server], localpart(&member.user)?, &join)?;
        }
        let maker = &room.members[0];
        for member in room.members[1..room.present].iter().filter(|member| member.owner || member.moderator) {
            let user = UserId { origin: keys[member.server].origin(), localpart: localpart(&member.user)? };
            let role = if member.owner { Role::Owner } else { Role::Moderator };
            let content = Content::Role { user, role, seen: Vec::new() };
            self.write(&keys[maker.server], localpart(&maker.user)?, &content)?;
        }
        Ok(())
    }

    fn write(&mut self, key: &ServerKey, sender: Localpart, content: &Content) -> Result<(), RealError> {
        let draft = draft(&mut self.random, Some(sender), content, None);
        let lamports = |id: &EventId| {
            let event = self.events.iter().rev().find(|event| event.id() == *id);
            Ok::<_, RealError>(event.map_or(0, |event| event.header().lamport))
        };
        let placement = self.outline.placement(key.origin(), Lane::State, lamports)?;
        let event = author(key, placement, draft).map_err(failed)?;
        match self.resolver.judge(&event) {
            Some(Ok(_)) => {
                self.take(event);
                Ok(())
            }
            other => Err(RealError::Past(format!("the rules refuse {content:?}: {other:?}"))),
        }
    }

    fn take(&mut self, event: Event) {
        self.outline.add(&event, true);
        self.resolver.insert(&event);
        self.events.push(Arc::new(event));
    }

    /// Writes the past into a store.
    pub(super) fn put(&self, store: &EventStore) -> Result<(), RealError> {
        let stored = |event: &Arc<Event>| StoredEvent { event: Event::clone(event), verdict: Verdict::Accepted };
        let events: Vec<StoredEvent> = self.events.iter().map(stored).collect();
        let batch = Batch {
            outline: &self.outline,
            participation: Participation::Joined,
            events: &events,
            changed: &[],
            hold: &[],
            release: &[],
            marked: &[],
            stripped: &[],
            ahead: &[],
        };
        store.put(&batch)?;
        if let Some((cut, state)) = self.resolver.snapshot() {
            let mut have = HaveVector::new();
            for (origin, lane, held) in self.outline.have().lanes().filter(|(_, lane, _)| *lane == Lane::State) {
                have.set_lane(origin, lane, held.clone());
            }
            store.put_snapshot(&self.room, &Snapshot { cut, have, pieces: state.to_pieces() })?;
        }
        Ok(store.sync()?)
    }
}

/// A draft with random bytes of its own.
pub(super) fn draft(
    random: &mut Random,
    sender: Option<Localpart>,
    content: &Content,
    text: Option<(&str, &str)>,
) -> Draft {
    let (kind, state_key) = content.kind_and_key();
    let mut salts = [[0; 16]; 2];
    salts.iter_mut().for_each(|salt| random.fill(salt));
    Draft {
        sender,
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&salts[0]),
        body: text.map(|(field, text)| Body::new(salts[1], Map::new().with(field, text))),
        time_ms: 1_779_000_000_000,
    }
}

fn failed(error: impl std::fmt::Display) -> RealError {
    RealError::Past(error.to_string())
}
