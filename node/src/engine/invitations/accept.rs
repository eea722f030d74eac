//! Accepting and declining.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::event::{Content, Event, Lane, Membership, UnverifiedEvent, author};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Localpart;
use rocketmesh_protocol::preview::Preview;
use rocketmesh_protocol::wire::{Request, Response, WireEvent};
use rocketmesh_storage::Participation;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Engine, Invitation, holders, preview};
use crate::engine::room::{PostError, RoomCommand, Written};
use crate::engine::rooms::JoinError;
use crate::engine::rooms::let_down::{LetDown, Reason};
use crate::engine::rooms::patience::{self, Quiet};
use crate::engine::sync::{self, PullError};
use crate::engine::{history, lock};

/// How often is looked whether a join was taken.
const GLANCE: Duration = Duration::from_millis(50);
/// How long after a server did not take a join it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// A join that waits for the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepting {
    /// The localpart of the user who joins.
    pub(crate) user: String,
    /// The event's header block, in hexadecimal digits. A join has no body.
    join: String,
}

impl Accepting {
    fn event(&self) -> Option<Event> {
        let header = hex::decode(&self.join).ok()?;
        WireEvent { header, body: None }.decode().and_then(UnverifiedEvent::verify).ok()
    }
}

/// Goes on with what was done before the node stopped.
pub(in crate::engine) async fn resume(engine: &Engine) {
    let Ok(invitations) = engine.invitations() else { return };
    for (room, invitation) in invitations {
        if let Some(join) = invitation.accepting.and_then(|accepting| accepting.event()) {
            let _ = complete(engine, room, &join).await;
        }
    }
}

/// A peer is there: joins that wait for a server of their room are brought to it, if it is one.
pub(in crate::engine) async fn greet(engine: &Engine, peer: PeerId) {
    let Ok(invitations) = engine.invitations() else { return };
    for (room, invitation) in invitations {
        if let Some(accepting) = invitation.accepting.as_ref().filter(|_| invitation.peers().contains(&peer)) {
            let _ = bring(engine, room, peer, accepting).await;
        }
    }
}

/// Hands a join to a server of the room and fetches the room from it, after which nothing is waited for any more. Returns
/// whether it came to that.
async fn bring(engine: &Engine, room: RoomId, peer: PeerId, accepting: &Accepting) -> Result<bool, PullError> {
    let Some(_turn) = Turn::take(engine, room, peer) else { return Ok(false) };
    let Some(join) = accepting.event() else { return Ok(false) };
    let outcome = match hand_over(engine, room, peer, &join).await {
        Ok(()) => complete(engine, room, &join).await.map_err(PullError::from),
        Err(error) => Err(error),
    };
    outcome.inspect_err(|error| tracing::debug!(%room, %peer, %error, "a join still waits"))
}

/// As [`bring`], for as long as the room comes from the server. Returns whether it came to that, or how the server let the join
/// down.
async fn bring_while_it_comes(
    engine: &Engine,
    (room, peer): (RoomId, PeerId),
    accepting: &Accepting,
    one_holder: Duration,
    deadline: Instant,
) -> Result<Result<bool, Reason>, PostError> {
    let bringing = bring(engine, room, peer, accepting);
    tokio::pin!(bringing);
    let mut quiet = Quiet::begin(engine, room)?;
    loop {
        tokio::select! {
            brought = &mut bringing => return Ok(match brought {
                Ok(brought) => Ok(brought),
                Err(error) => Reason::of(&error).map_or(Ok(false), Err),
            }),
            () = tokio::time::sleep(patience::GLANCE) => {}
        }
        quiet.look()?;
        if quiet.lasts() >= one_holder || Instant::now() >= deadline {
            return Ok(Err(quiet.reason()));
        }
    }
}

async fn hand_over(engine: &Engine, room: RoomId, peer: PeerId, join: &Event) -> Result<(), PullError> {
    let events = vec![WireEvent::of(join)];
    match engine.network.request(peer, &Request::Tell { room, events }).await? {
        Response::Differing { .. } => history::begin_as_member(engine, room, peer).await,
        Response::Refused(refused) => Err(PullError::Refused(refused)),
        _ => Err(PullError::OffTopic),
    }
}

/// Takes part in a room once the join that was written for it is in it.
async fn complete(engine: &Engine, room: RoomId, join: &Event) -> Result<bool, PostError> {
    let here = engine.store().contains(&join.id()).map_err(|error| PostError::Store(Arc::new(error)))?;
    if !here {
        return Ok(false);
    }
    if engine.gap(&room).is_some() {
        engine.note_first_words(room, 1)?;
    }
    engine.take_part(room).await?;
    engine.forget_invitation(room).await?;
    Ok(true)
}

/// The right to bring a join to a peer, given back when dropped.
struct Turn<'a> {
    engine: &'a Engine,
    key: (PeerId, RoomId),
}

impl<'a> Turn<'a> {
    fn take(engine: &'a Engine, room: RoomId, peer: PeerId) -> Option<Self> {
        lock(&engine.invitations.bringing).insert((peer, room)).then(|| Turn { engine, key: (peer, room) })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.engine.invitations.bringing).remove(&self.key);
    }
}

impl Engine {
    /// Takes part in a room that is here and that a local user is in.
    pub(super) async fn take_part(&self, room: RoomId) -> Result<(), PostError> {
        let room_type = self.stored_type(&room).map_err(|error| PostError::Store(Arc::new(error)))?;
        self.room(room).send(RoomCommand::Participate(Participation::Joined)).await?;
        self.follow(room, room_type).await;
        // What was said meanwhile went to a server that did not follow the room yet.
        sync::spread(self.clone(), room);
        sync::meet(self.clone(), room);
        history::fill(self, room);
        Ok(())
    }

    /// The join that was written in answer to an invitation and waits.
    pub(in crate::engine) fn accepting(&self, room: &RoomId) -> Result<Option<Accepting>, PostError> {
        Ok(self.invitation(room)?.and_then(|invitation| invitation.accepting))
    }

    /// Writes a join on a room's state graph. It is on disk then, with the invitation, and waits for the room.
    pub(in crate::engine) async fn accept(
        &self,
        room: RoomId,
        user: Localpart,
        preview: &Preview,
        holder: PeerId,
    ) -> Result<Accepting, JoinError> {
        let _one = self.invitations.answering.lock().await;
        if let Some(accepting) = self.accepting(&room)? {
            return Ok(accepting);
        }
        let join = self.answer(room, &user, preview, Membership::Join)?;
        let state = preview.state().ok_or(PostError::UnknownRoom(room))?;
        let kept = self.invitation(&room).map_err(PostError::from)?;
        let accepting = Accepting { user: user.as_str().to_owned(), join: hex::encode(join.header_block()) };
        let invitation = Invitation {
            room_type: state.room_type().letter().to_owned(),
            name: kept.as_ref().and_then(|kept| kept.name.clone()),
            members: state.joined().count() as u64,
            holders: holders(state, holder),
            heard_ms: kept.as_ref().map_or_else(|| self.clock.now_ms(), |kept| kept.heard_ms),
            users: kept
                .map(|kept| kept.users)
                .unwrap_or_else(|| BTreeMap::from([(accepting.user.clone(), String::new())])),
            accepting: Some(accepting.clone()),
        };
        self.keep_invitation(room, &invitation).await?;
        Ok(accepting)
    }

    /// A user's answer to an invitation, signed and in its place.
    fn answer(
        &self,
        room: RoomId,
        user: &Localpart,
        preview: &Preview,
        change: Membership,
    ) -> Result<Event, PostError> {
        let state = preview.state().ok_or(PostError::UnknownRoom(room))?;
        let content = Content::Member { user: self.local(user.clone()), change, seen: Vec::new() };
        let draft = self.draft(Some(user.clone()), &content, None);
        let answer = author(&self.key, preview.placement(self.origin, self.own_state_head(&room)?), draft)?;
        // Asking the rules first keeps a refused answer to oneself.
        state.authorize(answer.header(), &content)?;
        Ok(answer)
    }

    /// The end of this server's state lane in a room, with its lamport time.
    fn own_state_head(&self, room: &RoomId) -> Result<Option<(u64, EventId, u64)>, PostError> {
        let store = |error| PostError::Store(Arc::new(error));
        let Some(entry) = self.store().room(room).map_err(store)? else { return Ok(None) };
        let Some((seq, id)) = entry.outline.head(self.origin, Lane::State) else { return Ok(None) };
        let stored = self.store().event(&id).map_err(store)?;
        Ok(stored.map(|stored| (seq, id, stored.event.header().lamport)))
    }

    /// Brings a join to the servers of its room until one has taken it and the room is here.
    pub(in crate::engine) async fn finish_accepting(
        &self,
        room: RoomId,
        accepting: &Accepting,
        wait: Duration,
        deadline: Instant,
    ) -> Result<Written, JoinError> {
        let join = accepting.event().ok_or(PostError::UnknownRoom(room))?;
        let mut asked: BTreeMap<PeerId, Instant> = BTreeMap::new();
        let mut let_down = LetDown::default();
        let mut searched = false;
        loop {
            let kept = self.invitation(&room).map_err(PostError::from)?;
            let Some(invitation) = kept.filter(|kept| kept.accepting.as_ref() == Some(accepting)) else {
                if self.store().contains(&join.id()).map_err(|error| PostError::Store(Arc::new(error)))? {
                    // Its place in the log is at most here: what follows it came after.
                    return Ok(Written { event: join, position: self.store().log_end() });
                }
                return Err(JoinError::GivenUp);
            };
            let now = Instant::now();
            if now >= deadline {
                let let_down = let_down.words(&self.names);
                return Err(JoinError::Waiting { waited_s: wait.as_secs(), let_down });
            }
            let holders: BTreeSet<PeerId> = invitation.peers();
            let mut ready = self.network.ready().await.map_err(|_| PostError::Closed)?;
            ready.retain(|peer| holders.contains(peer) && asked.get(peer).is_none_or(|again| *again <= now));
            ready.retain(|peer| !let_down.lied(peer));
            ready.sort_by_key(|peer| let_down.is_by(peer));
            let one_holder = patience::one_holder(wait);
            for peer in &ready {
                match bring_while_it_comes(self, (room, *peer), accepting, one_holder, deadline).await? {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(reason) => let_down.note(*peer, reason),
                }
                let now = Instant::now();
                asked.insert(*peer, now + AGAIN);
                if now >= deadline {
                    break;
                }
            }
            if ready.is_empty() && !searched {
                searched = true;
                let own = self.clone();
                self.background(async move {
                    if let Ok(mut found) = own.network.providers(room).await {
                        while found.recv().await.is_some() {}
                    }
                });
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Declines an invitation: the room's servers hear of it if one of them can be reached, and it is forgotten here in any
    /// case. A join of the user that waits is given up. Returns whether there was anything to decline.
    pub(crate) async fn decline(&self, room: RoomId, user: &Localpart) -> Result<bool, PostError> {
        let _one = self.invitations.answering.lock().await;
        let Some(mut invitation) = self.invitation(&room)? else { return Ok(false) };
        // What was joined and may have reached somebody is taken back on top of it, not beside it.
        let waiting = invitation.accepting.as_ref().and_then(Accepting::event);
        invitation.accepting.take_if(|accepting| accepting.user == user.as_str());
        let ready = self.network.ready().await.map_err(|_| PostError::Closed)?;
        let holders = invitation.peers();
        for peer in ready.into_iter().filter(|peer| holders.contains(peer)) {
            match self.say_no(room, peer, user, waiting.as_ref()).await {
                Ok(true) => break,
                outcome => {
                    tracing::debug!(%room, %peer, ?outcome, "a server did not hear that an invitation is declined")
                }
            }
        }
        invitation.users.remove(user.as_str());
        match invitation.users.is_empty() {
            true => self.forget_invitation(room).await?,
            false => self.keep_invitation(room, &invitation).await?,
        }
        Ok(true)
    }

    async fn say_no(
        &self,
        room: RoomId,
        peer: PeerId,
        user: &Localpart,
        waiting: Option<&Event>,
    ) -> Result<bool, PullError> {
        let mut preview = preview(self, room, peer).await?;
        preview.add(waiting.cloned()).map_err(|_| PullError::OffTopic)?;
        let no = self.answer(room, user, &preview, Membership::Leave)?;
        let events = waiting.into_iter().chain([&no]).map(WireEvent::of).collect();
        Ok(matches!(
            self.network.request(peer, &Request::Tell { room, events }).await?,
            Response::Differing { rooms } if rooms.is_empty()
        ))
    }
}
