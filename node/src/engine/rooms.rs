//! Making, joining and leaving rooms.

pub(super) mod let_down;
mod obtain;
pub(super) mod patience;

use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::is_gossiped;
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Body, Content, Draft, Event, History, Lane, Membership, Placement, RoomType, author};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, UserId};
use rocketmesh_protocol::limits::MAX_EVENTS_PER_TELL;
use rocketmesh_protocol::wire::{Request, Response, WireEvent};
use rocketmesh_storage::{Participation, StoreError};
use tokio::time::Instant;

use super::Engine;
use super::history;
use super::room::{Authored, PostError, RoomCommand, Written};
use super::serve;
use super::sync;
use crate::clock::random_16;
use crate::network::origin;
use obtain::{Obtained, Search};

/// How often, and at what pauses, a room is handed over whose last local user has left, before that is left to the rounds.
const HAND_OVER_TRIES: usize = 20;
const HAND_OVER_PAUSE: Duration = Duration::from_millis(300);

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
        "no server with the room was found in {waited_s} s: {asked} connected servers were asked, the DHT named {named}{let_down}; connect to a server that has it (`rocketmesh connect ADDRESS`) and try again"
    )]
    NotFound {
        /// How long was looked for one.
        waited_s: u64,
        /// How many connected servers were asked.
        asked: usize,
        /// How many servers the DHT named.
        named: usize,
        /// What each server did that let the join down, in words, each behind a semicolon; empty if none did. At most eight are
        /// named, each with a reason of at most some hundred bytes.
        let_down: String,
    },
    /// A part of the room is here, and kept.
    #[error(
        "{events} events of the room came in {waited_s} s, and there are more{let_down}; join again to go on from there"
    )]
    Unfinished {
        /// How long was waited.
        waited_s: u64,
        /// Events of the room that are here.
        events: u64,
        /// As in [`JoinError::NotFound`].
        let_down: String,
    },
    /// The room is a channel, and does not admit this server.
    #[error(
        "the room does not admit this server, says {0}: it is entered by invitation, or for listed servers only; ask one of its owners"
    )]
    NotAdmitted(PeerId),
    /// The join of somebody who was invited is written, and no server of the room has taken it yet.
    #[error(
        "the join is written and waits for a server of the room to be reached ({waited_s} s so far{let_down}); it goes on by itself"
    )]
    Waiting {
        /// How long was waited.
        waited_s: u64,
        /// As in [`JoinError::NotFound`].
        let_down: String,
    },
    /// The invitation was declined while the join waited.
    #[error("the invitation was declined meanwhile")]
    GivenUp,
    /// The join itself was not allowed or not written.
    #[error(transparent)]
    Post(#[from] PostError),
}

impl Engine {
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

    /// Makes a room, owned by `user`. A direct room is `with` others, who are invited by it.
    pub(crate) async fn create_room(
        &self,
        user: Localpart,
        room_type: RoomType,
        with: Vec<UserId>,
        history: History,
        name: &str,
        topic: Option<&str>,
    ) -> Result<Written, PostError> {
        let event = self.first_event(user, room_type, with, history, name, topic)?;
        self.create_from(event, room_type).await
    }

    /// The first event of a room that is not made yet: whoever makes it can note before which room it will be.
    pub(crate) fn first_event(
        &self,
        user: Localpart,
        room_type: RoomType,
        with: Vec<UserId>,
        history: History,
        name: &str,
        topic: Option<&str>,
    ) -> Result<Event, PostError> {
        let mut fields = Map::new().with("name", name);
        if let Some(topic) = topic {
            fields.insert("topic", topic);
        }
        let mut draft = self.draft(Some(user), &Content::Create { room_type, with }, Some(fields));
        if history != History::Start {
            draft.content.get_or_insert_default().insert(History::KEY, history.word());
        }
        let event = author(&self.key, Placement::first(), draft)?;
        // Asking the rules first keeps a refused room out of the store.
        RoomState::created(&event)?;
        Ok(event)
    }

    /// Makes a room of its first event.
    pub(crate) async fn create_from(&self, event: Event, room_type: RoomType) -> Result<Written, PostError> {
        let room = self.room(event.room());
        self.follow(event.room(), Some(room_type)).await;
        // Fails only while the node shuts down.
        let _ = self.network.announce(event.room()).await;
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
    pub(crate) async fn find_own_chain(&self, room: RoomId) -> Result<(), PostError> {
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
                match tokio::time::timeout(left, history::find_own(self, room, peer)).await {
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

    /// Joins a room: fetches its state graph from any server that has it, then writes the join; the timeline follows. Of a room
    /// that the user is only invited to,
    /// the state graph is read first, the join is written on that, and the rest is fetched as a member.
    pub(crate) async fn join(&self, room: RoomId, user: Localpart, wait: Duration) -> Result<Written, JoinError> {
        let deadline = Instant::now() + wait;
        if let Some(accepting) = self.accepting(&room)? {
            let written = self.finish_accepting(room, &accepting, wait, deadline).await?;
            if accepting.user == user.as_str() {
                return Ok(written);
            }
        }
        let known_type = self.stored_type(&room).map_err(|error| PostError::Store(Arc::new(error)))?;
        let outside = known_type.is_none_or(|known| !is_gossiped(known)) && !self.has_local_member(room).await;
        let mut search = None;
        if self.follows(&room) && !outside {
            self.find_own_chain(room).await?;
        } else {
            let begun = Search::begin(self, room, wait).await?;
            match search.insert(begun).obtain().await? {
                Obtained::Invitation { preview, holder } => {
                    let accepting = self.accept(room, user, &preview, holder).await?;
                    return self.finish_accepting(room, &accepting, wait, deadline).await;
                }
                Obtained::Whole { holder } => self.look_at_timeline(room, holder).await?,
            }
        }
        let mut joined = self.write_join(room, &user).await;
        let refused = matches!(joined, Err(PostError::Refused(_)));
        if let Some(search) = search.as_mut().filter(|_| refused)
            && search.look_further().await?
        {
            joined = self.write_join(room, &user).await;
        }
        if joined.is_err() {
            self.room(room).send(RoomCommand::LetGo).await?;
        }
        let written = joined?;
        self.forget_invitation(room).await?;
        // Gossip has no mesh for the room yet; a comparison tells everybody who is connected.
        sync::spread(self.clone(), room);
        sync::meet(self.clone(), room);
        history::fill(self, room);
        Ok(written)
    }

    /// Writes a join into a room whose state graph is here, and takes part in it, which whoever calls takes back where this fails.
    async fn write_join(&self, room: RoomId, user: &Localpart) -> Result<Written, PostError> {
        let room_type = self.state(room).await?.0.room_type();
        let task = self.room(room);
        let take_part = || task.send(RoomCommand::Participate(Participation::Joined));
        take_part().await?;
        if !self.follows(&room) {
            self.follow(room, Some(room_type)).await;
        }
        let change = Content::Member { user: self.local(user.clone()), change: Membership::Join, seen: Vec::new() };
        let draft = self.draft(Some(user.clone()), &change, None);
        let written = task.author(Authored::Draft(draft)).await?;
        // The room may have been let go between the two, for the sake of somebody who left.
        take_part().await?;
        if !self.follows(&room) {
            self.follow(room, Some(room_type)).await;
        }
        Ok(written)
    }

    /// Takes a first look at the timeline of a room whose state graph is here, before the join is written.
    async fn look_at_timeline(&self, room: RoomId, holder: PeerId) -> Result<(), PostError> {
        if self.gap(&room).is_none() {
            return Ok(());
        }
        history::first_look(self, room, holder).await;
        self.note_first_words(room, 0)
    }

    /// Whoever says anything in a room has joined it before. So where the state graph shows no more of this server than these
    /// many events, which it has just written, there is nothing of its own to go on from.
    pub(super) fn note_first_words(&self, room: RoomId, written: u64) -> Result<(), PostError> {
        let entry = self.store().room(&room).map_err(|error| PostError::Store(Arc::new(error)))?;
        let own = entry.as_ref().and_then(|entry| entry.outline.have().lane(self.origin, Lane::State));
        let shown = own.map_or(0, |lane| if lane.forked() { u64::MAX } else { lane.highest().0 + 1 });
        if shown == written {
            super::lock(&self.found_own).insert(room);
        }
        Ok(())
    }

    /// Leaves a room, and stops following it once no local user is left in it and another server knows.
    pub(crate) async fn leave(&self, room: RoomId, user: Localpart) -> Result<Written, PostError> {
        let change = Content::Member { user: self.local(user.clone()), change: Membership::Leave, seen: Vec::new() };
        let draft = self.draft(Some(user), &change, None);
        let written = self.post(room, draft).await?;
        let own = self.clone();
        self.background(async move {
            for _ in 0..HAND_OVER_TRIES {
                own.part(room).await;
                if !own.follows(&room) || own.has_local_member(room).await {
                    return;
                }
                tokio::time::sleep(HAND_OVER_PAUSE).await;
            }
        });
        Ok(written)
    }

    /// Lets a room go in which no local user is left, once another server has this server's last words in it; until then it is
    /// followed, and the words are handed to whoever is there.
    pub(super) async fn part(&self, room: RoomId) {
        let Ok((state, _)) = self.state(room).await else { return };
        if state.has_member(self.origin) || !self.follows(&room) {
            return;
        }
        // Whoever was thrown out may be back once all is known that was said at the same time. Of a channel this server hears that
        // for as long as it listens; of a private room it is told.
        let mut own = state.memberships_of(self.origin);
        if self.followed.gossips(&room) && own.any(|membership| membership != Membership::Leave) {
            return;
        }
        let Ok(words) = self.last_words(&room) else { return };
        let Ok(ready) = self.network.ready().await else { return };
        let alone = state.servers().is_empty();
        let mut heard = alone || words.is_empty();
        for peer in ready.into_iter().filter(|peer| origin(peer).is_some_and(|origin| state.has_member(origin))) {
            if heard {
                break;
            }
            // The last word may be older than the peer's join.
            let mut events = words.clone();
            if serve::veil(self, room, peer, &mut events).await.is_err() {
                continue;
            }
            let tell = Request::Tell { room, events };
            heard = matches!(self.network.request(peer, &tell).await, Ok(Response::Differing { rooms }) if rooms.is_empty());
        }
        if heard {
            let _ = self.room(room).send(RoomCommand::LetGo).await;
        }
    }

    /// The ends of this server's chains in a room.
    fn last_words(&self, room: &RoomId) -> Result<Vec<WireEvent>, StoreError> {
        let Some(entry) = self.store().room(room)? else { return Ok(Vec::new()) };
        let heads = Lane::ALL.into_iter().filter_map(|lane| entry.outline.have().lane(self.origin, lane));
        let mut words = Vec::new();
        for (_, id) in heads.flat_map(|have| &have.heads).take(MAX_EVENTS_PER_TELL) {
            words.extend(self.store().event(id)?.map(|stored| WireEvent::of(&stored.event)));
        }
        Ok(words)
    }

    /// Whether a local user is in the room, as far as this server knows.
    pub(super) async fn has_local_member(&self, room: RoomId) -> bool {
        let state = match self.follows(&room) {
            true => self.followed_state(&room).await,
            false => self.state(room).await.map(|(state, _)| state),
        };
        state.is_ok_and(|state| state.has_member(self.origin))
    }

    pub(super) fn held_events(&self, room: &RoomId) -> Result<u64, PostError> {
        let entry = self.store().room(room).map_err(|error| PostError::Store(Arc::new(error)))?;
        Ok(entry.map_or(0, |entry| entry.outline.events()))
    }
}
