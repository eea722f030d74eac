//! The rooms that this node takes part in, and what is asked of them so often that it is kept at hand.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::{Access, access, is_gossiped};
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Content, RoomType};
use rocketmesh_protocol::have::{Sketch, TAG_BYTES, Tag};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_storage::{Participation, StoreError};

use super::Engine;
use super::room::PostError;
use crate::network::{origin, peer_id};

/// How many member servers of a room without gossip to stay connected to, if there are as many.
const KEPT_CONNECTIONS: usize = 32;

/// The rooms that are followed.
///
/// What is kept of a room follows from its have-vector or its state. Of what the store holds of rooms only their tasks change
/// anything, so that they are the ones to call [`Followed::note_change`], after each flush of new events or of whether this
/// node takes part, and [`Followed::forget`], after a write that failed. Verdicts, bodies and what waits for other events are in no
/// have-vector.
#[derive(Debug, Default)]
pub(super) struct Followed(RwLock<Rooms>);

#[derive(Debug, Default)]
struct Rooms {
    kept: BTreeMap<RoomId, Kept>,
    /// Changes of all rooms since the start.
    changes: u64,
}

#[derive(Debug)]
struct Kept {
    gossiped: bool,
    /// The change with which the room became as it is. What was read before it is not kept after it.
    changed: u64,
    /// None where it has to be computed again.
    digest: Option<[u8; 32]>,
    /// What is told of the room in comparisons, with all entries and by sections; none until somebody asks. Each is small beside
    /// the state: 32 heads at most, or 512 bytes.
    entries: Option<Sketch>,
    sections: Option<Sketch>,
    /// None until somebody asks.
    state: Option<Arc<RoomState>>,
}

impl Kept {
    fn new(gossiped: bool, changed: u64) -> Self {
        Kept { gossiped, changed, digest: None, entries: None, sections: None, state: None }
    }

    /// The have-vector may be another one from now on.
    fn change(&mut self, changed: u64) {
        self.changed = changed;
        (self.digest, self.entries, self.sections) = (None, None, None);
    }
}

impl Followed {
    fn read(&self) -> RwLockReadGuard<'_, Rooms> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rooms> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room is followed from now on, or already.
    fn enter(&self, room: RoomId, gossiped: bool) {
        let mut rooms = self.write();
        rooms.changes += 1;
        let changed = rooms.changes;
        rooms.kept.entry(room).or_insert_with(|| Kept::new(gossiped, changed)).gossiped = gossiped;
    }

    fn leave(&self, room: &RoomId) {
        self.write().kept.remove(room);
    }

    fn change(&self, room: &RoomId, and: impl FnOnce(&mut Kept)) {
        let mut rooms = self.write();
        rooms.changes += 1;
        let changed = rooms.changes;
        if let Some(kept) = rooms.kept.get_mut(room) {
            kept.change(changed);
            and(kept);
        }
    }

    /// The room changed: what follows from its have-vector has to be computed again, and this is its state now, if that may have
    /// changed.
    pub(super) fn note_change(&self, room: &RoomId, state: Option<&RoomState>) {
        self.change(room, |kept| {
            if let Some(state) = state {
                kept.state = Some(Arc::new(state.clone()));
            }
        });
    }

    /// What is known of the room has to be asked for again.
    pub(super) fn forget(&self, room: &RoomId) {
        self.change(room, |kept| kept.state = None);
    }

    /// Something that is kept of a room, and the change with which the room became as it is, for whoever has to read it in the
    /// store. None for a room that is not followed.
    fn at_hand<T>(&self, room: &RoomId, what: impl FnOnce(&Kept) -> Option<T>) -> Option<(Option<T>, u64)> {
        let rooms = self.read();
        let kept = rooms.kept.get(room)?;
        Some((what(kept), kept.changed))
    }

    /// Keeps what was read of a room, unless the room has changed since: whoever wrote it meanwhile has said so already, and would
    /// not again.
    fn keep(&self, room: &RoomId, changed: u64, what: impl FnOnce(&mut Kept)) {
        if let Some(kept) = self.write().kept.get_mut(room).filter(|kept| kept.changed == changed) {
            what(kept);
        }
    }

    /// What is told of a room in comparisons, as [`Sketch::of`] makes it, as far as it is at hand; and what [`Followed::keep_sketch`]
    /// wants to know. None for a room that is not followed.
    pub(super) fn sketch(&self, room: &RoomId, entries: bool) -> Option<(Option<Sketch>, u64)> {
        self.at_hand(room, |kept| if entries { kept.entries.clone() } else { kept.sections.clone() })
    }

    /// Keeps what is told of a room in comparisons, made of what was read since the change that [`Followed::sketch`] named.
    pub(super) fn keep_sketch(&self, room: &RoomId, changed: u64, entries: bool, sketch: &Sketch) {
        self.keep(room, changed, |kept| {
            let place = if entries { &mut kept.entries } else { &mut kept.sections };
            *place = Some(sketch.clone());
        });
    }

    /// The state of a room as far as it is at hand.
    pub(super) fn state_at_hand(&self, room: &RoomId) -> Option<Arc<RoomState>> {
        self.read().kept.get(room)?.state.clone()
    }

    /// The room that is meant by a tag; none where two are.
    pub(super) fn named(&self, tag: &Tag) -> Option<RoomId> {
        let mut lowest = [0; 32];
        lowest[..TAG_BYTES].copy_from_slice(tag.as_bytes());
        let followed = self.read();
        let mut rooms = followed.kept.range(RoomId::from_hash(lowest)..).map(|(room, _)| *room);
        let room = rooms.next().filter(|room| Tag::of(room.hash()) == *tag)?;
        rooms.next().is_none_or(|other| Tag::of(other.hash()) != *tag).then_some(room)
    }

    /// Whether the room is gossiped; false for one that is not followed.
    pub(super) fn gossips(&self, room: &RoomId) -> bool {
        self.read().kept.get(room).is_some_and(|kept| kept.gossiped)
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
        self.followed.enter(room, gossiped);
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
        self.followed.leave(&room);
        let network = self.network.clone();
        self.background(async move {
            let _ = network.unfollow(room).await;
        });
    }

    /// Whether this node takes part in the room.
    pub(crate) fn follows(&self, room: &RoomId) -> bool {
        self.followed.read().kept.contains_key(room)
    }

    /// The rooms that this node takes part in.
    pub(crate) fn followed(&self) -> Vec<RoomId> {
        self.followed.read().kept.keys().copied().collect()
    }

    /// The digest of a room that this node follows.
    pub(crate) fn digest(&self, room: &RoomId) -> Option<[u8; 32]> {
        let (known, changed) = self.followed.at_hand(room, |kept| kept.digest)?;
        if known.is_some() {
            return known;
        }
        let digest = self.store().room(room).ok().flatten()?.outline.have().digest();
        self.followed.keep(room, changed, |kept| kept.digest = Some(digest));
        Some(digest)
    }

    /// The state of a room that this node follows, without asking the room's task where that is not needed.
    pub(super) async fn followed_state(&self, room: &RoomId) -> Result<Arc<RoomState>, PostError> {
        let known = self.followed.state_at_hand(room);
        if let Some(state) = known {
            return Ok(state);
        }
        let (state, _) = self.state(*room).await?;
        if let Some(kept) = self.followed.write().kept.get_mut(room) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rocketmesh_protocol::have::HaveVector;

    use super::*;

    const ROOM: RoomId = RoomId::from_hash([1; 32]);

    fn followed() -> Followed {
        let followed = Followed::default();
        followed.enter(ROOM, true);
        followed
    }

    /// Keeps all that is read of the room, as it was with this change.
    fn keep(followed: &Followed, changed: u64) {
        followed.keep(&ROOM, changed, |kept| kept.digest = Some([7; 32]));
        for entries in [true, false] {
            followed.keep_sketch(&ROOM, changed, entries, &Sketch::of(&HaveVector::new(), entries));
        }
    }

    fn changed(followed: &Followed) -> u64 {
        followed.sketch(&ROOM, true).unwrap().1
    }

    /// How much of it is at hand.
    fn kept(followed: &Followed) -> usize {
        let digest = followed.at_hand(&ROOM, |kept| kept.digest).unwrap().0;
        let sketches = [true, false].map(|entries| followed.sketch(&ROOM, entries).unwrap().0);
        usize::from(digest.is_some()) + sketches.iter().flatten().count()
    }

    #[test]
    fn what_was_read_of_a_quiet_room_stays_at_hand() {
        let followed = followed();
        assert_eq!(kept(&followed), 0);
        keep(&followed, changed(&followed));
        assert_eq!(kept(&followed), 3);
        let sketches = [true, false].map(|entries| followed.sketch(&ROOM, entries).unwrap().0.unwrap());
        assert!(matches!(sketches, [Sketch::Entries(_), Sketch::Sections(_)]), "each kind is kept for itself");
        followed.note_change(&RoomId::from_hash([2; 32]), None);
        followed.enter(ROOM, true);
        assert_eq!(kept(&followed), 3, "another room is another matter");
    }

    #[test]
    fn whatever_changes_a_room_drops_what_was_read_of_it_before() {
        type Change = fn(&Followed);
        let changes: [Change; 3] = [
            |followed| followed.note_change(&ROOM, None),
            |followed| followed.forget(&ROOM),
            |followed| {
                followed.leave(&ROOM);
                followed.enter(ROOM, true);
            },
        ];
        for change in changes {
            let followed = followed();
            let before = changed(&followed);
            keep(&followed, before);
            change(&followed);
            assert_eq!(kept(&followed), 0);
            // Whoever was reading meanwhile may have read what was there before.
            keep(&followed, before);
            assert_eq!(kept(&followed), 0);
            keep(&followed, changed(&followed));
            assert_eq!(kept(&followed), 3);
        }
    }

    #[test]
    fn nothing_is_kept_of_a_room_that_is_not_followed() {
        let followed = Followed::default();
        followed.keep_sketch(&ROOM, 0, true, &Sketch::Hidden);
        assert!(followed.sketch(&ROOM, true).is_none());
    }
}
