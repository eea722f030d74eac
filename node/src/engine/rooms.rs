//! Making, joining and leaving rooms.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Body, Content, Draft, Membership, Placement, RoomType, author};
use rocketmesh_protocol::have::Sections;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, UserId};
use rocketmesh_storage::{Participation, StoreError};
use tokio::time::Instant;

use super::Engine;
use super::room::{Authored, PostError, RoomCommand, Written};
use super::sync::{self, PullError};
use crate::clock::random_16;

/// How long one server that is asked for a room may bring nothing before the next is asked.
const NEXT_HOLDER: Duration = Duration::from_secs(5);
/// How long after a server did not hand over a room it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How long the first word in a room waits for somebody who knows what this server has said before, and how often it looks.
const OWN_CHAIN_WAIT: Duration = Duration::from_secs(3);
const OWN_CHAIN_GLANCE: Duration = Duration::from_millis(50);
/// How long it waits for servers that are connected, and for how long after the start it is refused then.
const OWN_CHAIN_PATIENCE: Duration = Duration::from_secs(10);
const OWN_CHAIN_STALLED: Duration = Duration::from_secs(120);

/// Why a room cannot be joined. Nothing changed, but that what was already received of the room is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Nobody who is reachable has the room.
    #[error(
        "no server with the room was found in {waited_s} s: {asked} connected servers do not have it, the DHT named {named}; connect to a server that has it (`rocketmesh connect ADDRESS`) and try again"
    )]
    NotFound {
        /// How long was looked for one.
        waited_s: u64,
        /// How many connected servers were asked.
        asked: usize,
        /// How many servers the DHT named.
        named: usize,
    },
    /// A part of the room is here, and kept.
    #[error("{events} events of the room came in {waited_s} s, and there are more; join again to go on from there")]
    Unfinished {
        /// How long was waited.
        waited_s: u64,
        /// Events of the room that are here.
        events: u64,
    },
    /// The join itself was not allowed or not written.
    #[error(transparent)]
    Post(#[from] PostError),
}

/// Refuses types of rooms that this node would not keep from others' eyes yet: what is in them must not be gossiped.
fn supported(room_type: RoomType) -> Result<(), PostError> {
    if room_type == RoomType::Channel { Ok(()) } else { Err(PostError::Unsupported(room_type)) }
}

impl Engine {
    /// Follows what the store says this node takes part in.
    pub(super) async fn follow_stored_rooms(&self) -> Result<(), StoreError> {
        for (room, participation) in self.store().rooms()? {
            if participation == Participation::Joined {
                self.follow(room).await;
            }
        }
        Ok(())
    }

    async fn follow(&self, room: RoomId) {
        self.followed.write().unwrap_or_else(PoisonError::into_inner).insert(room, None);
        // Fails only while the node shuts down.
        let _ = self.network.follow(room).await;
    }

    async fn unfollow(&self, room: RoomId) {
        self.followed.write().unwrap_or_else(PoisonError::into_inner).remove(&room);
        let _ = self.network.unfollow(room).await;
    }

    /// Whether this node takes part in the room.
    pub(crate) fn follows(&self, room: &RoomId) -> bool {
        self.followed.read().unwrap_or_else(PoisonError::into_inner).contains_key(room)
    }

    /// The rooms that this node takes part in.
    pub(crate) fn followed(&self) -> Vec<RoomId> {
        self.followed.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// A local user of this server.
    pub(crate) fn local(&self, localpart: Localpart) -> UserId {
        UserId { origin: self.origin, localpart }
    }

    /// Makes a draft at this moment.
    pub(crate) fn draft(&self, sender: Option<Localpart>, content: &Content, fields: Option<Map>) -> Draft {
        let (kind, state_key) = content.kind_and_key();
        Draft {
            sender,
            kind: kind.to_owned(),
            state_key,
            content: content.to_map(&random_16(&*self.entropy)),
            body: fields.map(|fields| Body::new(random_16(&*self.entropy), fields)),
            time_ms: self.clock.now_ms(),
        }
    }

    /// Makes a room, owned by `user`.
    pub(crate) async fn create_room(
        &self,
        user: Localpart,
        room_type: RoomType,
        name: &str,
        topic: Option<&str>,
    ) -> Result<Written, PostError> {
        supported(room_type)?;
        let mut fields = Map::new().with("name", name);
        if let Some(topic) = topic {
            fields.insert("topic", topic);
        }
        let draft = self.draft(Some(user), &Content::Create { room_type, with: Vec::new() }, Some(fields));
        let event = author(&self.key, Placement::first(), draft)?;
        // Asking the rules first keeps a refused room out of the store.
        RoomState::created(&event)?;
        let room = self.room(event.room());
        self.follow(event.room()).await;
        room.send(RoomCommand::Participate(Participation::Joined)).await?;
        room.author(Authored::Create(event)).await
    }

    /// Writes an event into a room.
    pub(crate) async fn post(&self, room: RoomId, draft: Draft) -> Result<Written, PostError> {
        if !self.holds(&room)? {
            return Err(PostError::UnknownRoom(room));
        }
        self.find_own_chain(room).await?;
        self.room(room).author(Authored::Draft(draft)).await
    }

    /// Before the first word in a room since the start: asks other servers for what this one has said there. A node that was
    /// restored from a backup cannot know that it is one, and would fork its own chain.
    pub(super) async fn find_own_chain(&self, room: RoomId) -> Result<(), PostError> {
        if super::lock(&self.found_own).contains(&room) {
            return Ok(());
        }
        let (state, _) = self.state(room).await?;
        let others: Vec<PeerId> =
            state.servers().iter().filter(|origin| **origin != self.origin).map(crate::network::peer_id).collect();
        let begun = Instant::now();
        while !others.is_empty() {
            let ready = self.network.ready().await.map_err(|_| PostError::Closed)?;
            let members: Vec<PeerId> = ready.into_iter().filter(|peer| others.contains(peer)).collect();
            if members.is_empty() {
                // With nobody to ask there is nothing to wait for: whoever comes later brings what is missing.
                if begun.elapsed() > OWN_CHAIN_WAIT {
                    break;
                }
                tokio::time::sleep(OWN_CHAIN_GLANCE).await;
                continue;
            }
            let left = OWN_CHAIN_PATIENCE.saturating_sub(begun.elapsed());
            if left.is_zero() {
                // Going on from a chain's middle would fork it. Others may only stall, though, and not for ever.
                if self.started.elapsed() < OWN_CHAIN_STALLED {
                    return Err(PostError::CatchingUp);
                }
                break;
            }
            for peer in members {
                match tokio::time::timeout(left, sync::pull(self, room, peer, Sections::ALL)).await {
                    Ok(Ok(())) => {
                        super::lock(&self.found_own).insert(room);
                        return Ok(());
                    }
                    outcome => {
                        tracing::debug!(%room, %peer, ?outcome, "a server did not say what it holds of this one")
                    }
                }
            }
            tokio::time::sleep(OWN_CHAIN_GLANCE).await;
        }
        super::lock(&self.found_own).insert(room);
        Ok(())
    }

    /// The state of a room that this node holds something of, and how many events wait in it.
    pub(crate) async fn state(&self, room: RoomId) -> Result<(Arc<RoomState>, usize), PostError> {
        if !self.holds(&room)? {
            return Err(PostError::UnknownRoom(room));
        }
        self.room(room).state().await?.ok_or(PostError::UnknownRoom(room))
    }

    fn holds(&self, room: &RoomId) -> Result<bool, PostError> {
        self.store().contains(&EventId::from(*room)).map_err(|error| PostError::Store(Arc::new(error)))
    }

    /// Joins a room: fetches it from any server that has it, then writes the join.
    pub(crate) async fn join(&self, room: RoomId, user: Localpart, wait: Duration) -> Result<Written, JoinError> {
        if self.follows(&room) {
            self.find_own_chain(room).await?;
        } else {
            self.obtain(room, wait).await?;
        }
        supported(self.state(room).await?.0.room_type())?;
        let task = self.room(room);
        task.send(RoomCommand::Participate(Participation::Joined)).await?;
        self.follow(room).await;
        let change = Content::Member { user: self.local(user.clone()), change: Membership::Join, seen: Vec::new() };
        let draft = self.draft(Some(user), &change, None);
        let joined = task.author(Authored::Draft(draft)).await;
        if joined.is_err() && !self.has_local_member(room).await {
            self.stop_following(room).await?;
        }
        let written = joined?;
        // Gossip has no mesh for the room yet; a comparison tells everybody who is connected.
        sync::spread(self.clone(), room);
        sync::meet(self.clone(), room);
        Ok(written)
    }

    /// Leaves a room, and stops following it once no local user is left in it.
    pub(crate) async fn leave(&self, room: RoomId, user: Localpart) -> Result<Written, PostError> {
        let change = Content::Member { user: self.local(user.clone()), change: Membership::Leave, seen: Vec::new() };
        let draft = self.draft(Some(user), &change, None);
        let written = self.post(room, draft).await?;
        if !self.has_local_member(room).await {
            // What the mesh for the room may not have carried is handed over before the door closes.
            sync::spread_now(self, room).await;
            self.stop_following(room).await?;
        }
        Ok(written)
    }

    async fn stop_following(&self, room: RoomId) -> Result<(), PostError> {
        self.unfollow(room).await;
        self.room(room).send(RoomCommand::Participate(Participation::Left)).await
    }

    async fn has_local_member(&self, room: RoomId) -> bool {
        self.state(room).await.is_ok_and(|(state, _)| state.has_member(self.origin))
    }

    /// Fetches a room from one server. Returns whether the room is here, whole as far as that server has it, and whether the
    /// server brought anything; one that stalls keeps what it brought, and the next one goes on from there.
    async fn obtain_from(&self, room: RoomId, peer: PeerId) -> Result<(bool, bool), JoinError> {
        let before = self.held_events(&room)?;
        let whole = match tokio::time::timeout(NEXT_HOLDER, sync::pull(self, room, peer, Sections::ALL)).await {
            Ok(Ok(())) => self.holds(&room)?,
            Ok(Err(PullError::Post(error))) => return Err(error.into()),
            outcome => {
                tracing::debug!(%room, %peer, ?outcome, "a server did not hand over the room");
                false
            }
        };
        Ok((whole, self.held_events(&room)? > before))
    }

    fn held_events(&self, room: &RoomId) -> Result<u64, PostError> {
        let entry = self.store().room(room).map_err(|error| PostError::Store(Arc::new(error)))?;
        Ok(entry.map_or(0, |entry| entry.outline.events()))
    }

    /// Fetches a room: asks every connected server, and whoever the DHT names, until one hands it over.
    async fn obtain(&self, room: RoomId, wait: Duration) -> Result<(), JoinError> {
        let deadline = Instant::now() + wait;
        let closed = |_| PostError::Closed;
        // Whoever is connected is asked first; the DHT takes seconds.
        let mut providers: Option<tokio::sync::mpsc::Receiver<PeerId>> = None;
        // By peer: from when on it may be asked again. A holder may be busy, or start anew, while somebody joins.
        let mut asked: BTreeMap<PeerId, Instant> = BTreeMap::new();
        let mut named = 0;
        loop {
            let now = Instant::now();
            let mut candidates: Vec<PeerId> = self.network.ready().await.map_err(closed)?;
            candidates
                .retain(|peer| asked.get(peer).is_none_or(|again| *again <= now) && self.policy.may_federate(peer));
            let mut brought = false;
            for peer in candidates {
                let (whole, some) = self.obtain_from(room, peer).await?;
                if whole {
                    return Ok(());
                }
                // Whoever brings something goes on once the others had their turn.
                asked.insert(peer, Instant::now() + if some { Duration::ZERO } else { ASK_AGAIN });
                brought |= some;
                if Instant::now() >= deadline {
                    break;
                }
            }
            let now = Instant::now();
            let events = self.held_events(&room)?;
            if now >= deadline && events > 0 {
                return Err(JoinError::Unfinished { waited_s: wait.as_secs(), events });
            }
            if now >= deadline {
                return Err(JoinError::NotFound { waited_s: wait.as_secs(), asked: asked.len(), named });
            }
            // Whoever brings something is asked on at once; a look into the DHT all the same.
            let pause = if brought { now } else { (now + Duration::from_secs(1)).min(deadline) };
            let found = match &mut providers {
                Some(search) => tokio::time::timeout_at(pause, search.recv()).await,
                None => Ok(None),
            };
            match found {
                Ok(Some(_)) => named += 1,
                // A DHT that was still empty may know more by now.
                Ok(None) => {
                    if providers.replace(self.network.providers(room).await.map_err(closed)?).is_some() {
                        tokio::time::sleep_until(pause).await;
                    }
                }
                Err(_) => {}
            }
        }
    }
}
