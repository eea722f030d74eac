//! The rooms that this node takes part in, and what is asked of them so often that it is kept at hand.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::{Access, access, is_gossiped};
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Content, RoomType};
use rocketmesh_protocol::have::{TAG_BYTES, Tag};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_storage::{Participation, StoreError};

use super::Engine;
use super::room::PostError;
use crate::network::{origin, peer_id};

/// How many member servers of a room without gossip to stay connected to, if there are as many.
const KEPT_CONNECTIONS: usize = 32;

/// The rooms that are followed.
#[derive(Debug, Default)]
pub(super) struct Followed(RwLock<BTreeMap<RoomId, Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    gossiped: bool,
    /// None where it has to be computed again.
    digest: Option<[u8; 32]>,
    /// None until somebody asks.
    state: Option<Arc<RoomState>>,
}

impl Followed {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<RoomId, Kept>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<RoomId, Kept>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room changed: its digest has to be computed again, and this is its state now, if that may have changed.
    pub(super) fn note_change(&self, room: &RoomId, state: Option<&RoomState>) {
        if let Some(kept) = self.write().get_mut(room) {
            kept.digest = None;
            if let Some(state) = state {
                kept.state = Some(Arc::new(state.clone()));
            }
        }
    }

    /// What is known of the room has to be asked for again.
    pub(super) fn forget(&self, room: &RoomId) {
        if let Some(kept) = self.write().get_mut(room) {
            (kept.digest, kept.state) = (None, None);
        }
    }

    /// The state of a room as far as it is at hand.
    pub(super) fn state_at_hand(&self, room: &RoomId) -> Option<Arc<RoomState>> {
        self.read().get(room)?.state.clone()
    }

    /// The room that is meant by a tag; none where two are.
    pub(super) fn named(&self, tag: &Tag) -> Option<RoomId> {
        let mut lowest = [0; 32];
        lowest[..TAG_BYTES].copy_from_slice(tag.as_bytes());
        let followed = self.read();
        let mut rooms = followed.range(RoomId::from_hash(lowest)..).map(|(room, _)| *room);
        let room = rooms.next().filter(|room| Tag::of(room.hash()) == *tag)?;
        rooms.next().is_none_or(|other| Tag::of(other.hash()) != *tag).then_some(room)
    }

    /// Whether the room is gossiped; false for one that is not followed.
    pub(super) fn gossips(&self, room: &RoomId) -> bool {
        self.read().get(room).is_some_and(|kept| kept.gossiped)
    }
}

impl Engine {
    /// Follows what the store says this node takes part in.
    pub(super) async fn follow_stored_rooms(&self) -> Result<(), StoreError> {
        for (room, participation) in self.store().rooms()? {
            if participation == Participation::Joined {
                self.follow(room, self.stored_type(&room)?).await;
            }
        }
        Ok(())
    }

    /// The room's type as its create event says; none while that is not here.
    pub(super) fn stored_type(&self, room: &RoomId) -> Result<Option<RoomType>, StoreError> {
        let create = self.store().event(&EventId::from(*room))?;
        Ok(create.and_then(|stored| match stored.event.content() {
            Ok(Content::Create { room_type, .. }) => Some(room_type),
            _ => None,
        }))
    }

    /// Follows a room. One whose type is not known yet is treated as private.
    pub(super) async fn follow(&self, room: RoomId, room_type: Option<RoomType>) {
        let gossiped = room_type.is_some_and(is_gossiped);
        {
            let mut followed = self.followed.write();
            followed.entry(room).or_insert(Kept { gossiped, digest: None, state: None }).gossiped = gossiped;
        }
        // Fails only while the node shuts down.
        let _ = self.network.follow(room, gossiped).await;
        // What came of it before named files already.
        self.files.find_missing();
        if !gossiped {
            let own = self.clone();
            self.background(async move { own.keep_company(room).await });
        }
    }

    /// Names the servers that a room without gossip needs, some of them if there are many: others than other servers name, so
    /// that not all are connected with the same ones.
    pub(super) async fn keep_company(&self, room: RoomId) {
        let Ok(state) = self.followed_state(&room).await else { return };
        let mut others: Vec<Origin> = state.servers().into_iter().filter(|origin| *origin != self.origin).collect();
        let pair = |origin: &Origin| {
            let (low, high) = if self.origin < *origin { (self.origin, *origin) } else { (*origin, self.origin) };
            *blake3::hash(&[*low.as_bytes(), *high.as_bytes()].concat()).as_bytes()
        };
        others.sort_by_cached_key(pair);
        let company = others.iter().take(KEPT_CONNECTIONS).map(peer_id).collect();
        let _ = self.network.keep(room, company).await;
    }

    /// The opposite of [`Engine::follow`]. The network hears of it a moment later.
    pub(super) fn unfollow(&self, room: RoomId) {
        self.followed.write().remove(&room);
        let network = self.network.clone();
        self.background(async move {
            let _ = network.unfollow(room).await;
        });
    }

    /// Whether this node takes part in the room.
    pub(crate) fn follows(&self, room: &RoomId) -> bool {
        self.followed.read().contains_key(room)
    }

    /// The rooms that this node takes part in.
    pub(crate) fn followed(&self) -> Vec<RoomId> {
        self.followed.read().keys().copied().collect()
    }

    /// The digest of a room that this node follows.
    pub(crate) fn digest(&self, room: &RoomId) -> Option<[u8; 32]> {
        let known = self.followed.read().get(room)?.digest;
        if known.is_some() {
            return known;
        }
        let digest = self.store().room(room).ok().flatten()?.outline.have().digest();
        // An event that was written meanwhile makes this stale; the task that wrote it resets it after the write.
        if let Some(kept) = self.followed.write().get_mut(room) {
            kept.digest = Some(digest);
        }
        Some(digest)
    }

    /// The state of a room that this node follows, without asking the room's task where that is not needed.
    pub(super) async fn followed_state(&self, room: &RoomId) -> Result<Arc<RoomState>, PostError> {
        let known = self.followed.read().get(room).and_then(|kept| kept.state.clone());
        if let Some(state) = known {
            return Ok(state);
        }
        let (state, _) = self.state(*room).await?;
        if let Some(kept) = self.followed.write().get_mut(room) {
            // The task may have noted a later one meanwhile.
            kept.state.get_or_insert_with(|| Arc::clone(&state));
        }
        Ok(state)
    }

    /// What a peer may read of a room that this node follows, by the state that this node knows.
    pub(super) async fn access(&self, room: &RoomId, peer: &PeerId) -> Access {
        let Some(server) = origin(peer).filter(|_| self.follows(room)) else { return Access::None };
        match self.followed_state(room).await {
            Ok(state) => access(&state, server),
            Err(_) => Access::None,
        }
    }

    /// Of these rooms those that this node may speak of with the peer, and those in which there is an invitation for it.
    pub(super) async fn shared_with(&self, peer: &PeerId, rooms: Vec<RoomId>) -> (Vec<RoomId>, Vec<RoomId>) {
        let (mut shared, mut invited) = (Vec::new(), Vec::new());
        for room in rooms {
            // Whoever listens to gossip knows of the room already.
            if self.followed.gossips(&room) {
                shared.push(room);
                continue;
            }
            match self.access(&room, peer).await {
                Access::Everything => shared.push(room),
                Access::State => invited.push(room),
                Access::Past | Access::None => {}
            }
        }
        (shared, invited)
    }
}
