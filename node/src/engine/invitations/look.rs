//! Looking at what a peer says it has for this server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Event, Label, Membership, RoomType};
use rocketmesh_protocol::have::Sections;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Origin, UserId};
use rocketmesh_protocol::preview::Preview;
use rocketmesh_protocol::wire::Request;

use rocketmesh_storage::StoreError;

use super::{Engine, Invitation, holders};
use crate::engine::room::PostError;
use crate::engine::sync::{self, PullError};
use crate::engine::{intake, lock};
use crate::network::{Count, peer_id};

/// The most invitations that are kept, and of them those by users of one server. What is more is not listed until some are accepted
/// or declined.
const MOST: usize = 4096;
const MOST_OF_SERVER: usize = 256;
/// The most users of this server that are listed for one room.
const MOST_USERS: usize = 64;
/// Peers whose state graphs are read at the same time because they said so, each of up to 64 MiB, one at a time for each peer.
pub(super) const LOOKS: usize = 4;
/// Peers that wait for that, and rooms of one of them. What is more is said again within a minute.
const MOST_PEERS: usize = 256;
const WAITING: usize = 64;
/// How long reading one may take.
const LOOK: Duration = Duration::from_secs(60);
/// Direct rooms that are kept out and of which that is remembered. Beyond, all are forgotten, and looked at again.
const MOST_UNWELCOME: usize = 4096;
/// Bytes of a room's name that are kept.
const NAME_BYTES: usize = 255;

/// Looks, in the background, at what a peer says it has for this server. It is told nothing by this that it does not know: what
/// is asked of it is the state graph, from its beginning.
pub(in crate::engine) fn notice(engine: &Engine, peer: PeerId, room: RoomId) {
    {
        let mut looking = lock(&engine.invitations.looking);
        if let Some(rooms) = looking.get_mut(&peer) {
            if rooms.len() < WAITING {
                rooms.insert(room);
            }
            return;
        }
        if looking.len() >= MOST_PEERS {
            return;
        }
        looking.insert(peer, BTreeSet::from([room]));
    }
    let own = engine.clone();
    let mut looks = Looks { engine: engine.clone(), peer, over: false };
    engine.background(async move {
        let Ok(_turn) = own.invitations.looks.acquire().await else { return };
        while let Some(room) = looks.next() {
            match tokio::time::timeout(LOOK, look(&own, peer, room)).await {
                Ok(Ok(())) => {}
                outcome => tracing::debug!(%room, %peer, ?outcome, "what a peer has for this server is of no use"),
            }
        }
    });
}

/// The looks at what a peer has, however they end.
struct Looks {
    engine: Engine,
    peer: PeerId,
    over: bool,
}

impl Looks {
    /// The room that is looked at next. A word that comes while a room is looked at has it looked at once more: what is read by then
    /// may be older than the word.
    fn next(&mut self) -> Option<RoomId> {
        let mut looking = lock(&self.engine.invitations.looking);
        let next = looking.get_mut(&self.peer).and_then(BTreeSet::pop_first);
        if next.is_none() {
            // With the same lock: a word that comes from now on begins anew.
            looking.remove(&self.peer);
            self.over = true;
        }
        next
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        if !self.over {
            lock(&self.engine.invitations.looking).remove(&self.peer);
        }
    }
}

async fn look(engine: &Engine, peer: PeerId, room: RoomId) -> Result<(), PullError> {
    let preview = preview(engine, room, peer).await?;
    let state = preview.state().ok_or(PullError::OffTopic)?;
    if engine.has_local_member(room).await {
        // A room that this server is in: the peer has become a member without this server's knowledge.
        let events: Vec<Event> = preview.events().cloned().collect();
        engine.room(room).ingest(events, None).await?;
        return Ok(());
    }
    if state.has_member(engine.origin) && engine.stored_type(&room).map_err(store)?.is_some() {
        // A removal that turned out not to count.
        sync::pull(engine, room, peer, Sections::ALL).await?;
        if engine.has_local_member(room).await {
            engine.take_part(room).await?;
        }
        return Ok(());
    }
    let _one = engine.invitations.answering.lock().await;
    let kept = engine.invitation(&room).map_err(PostError::Store)?;
    if kept.as_ref().is_some_and(|kept| kept.accepting.is_some()) {
        return Ok(());
    }
    let invited: BTreeMap<String, String> = welcome(engine, &preview, state);
    if invited.is_empty() {
        // It was, and is not any longer; or whose users invite is not wanted.
        note_unwelcome(engine, peer, room, (&preview, state));
        engine.forget_invitation(room).await?;
        return Ok(());
    }
    if kept.is_none() && !has_space(engine, &invited)? {
        tracing::warn!(%room, "an invitation is not kept: there are too many; accept or decline some");
        return Ok(());
    }
    let invitation = Invitation {
        room_type: state.room_type().letter().to_owned(),
        name: name(&preview, state),
        users: invited,
        members: state.joined().count() as u64,
        holders: holders(state, peer),
        heard_ms: kept.map_or_else(|| engine.clock.now_ms(), |kept| kept.heard_ms),
        accepting: None,
    };
    tracing::info!(%room, users = invitation.users.len(), "an invitation came");
    engine.keep_invitation(room, &invitation).await?;
    Ok(())
}

fn store(error: StoreError) -> PostError {
    PostError::Store(Arc::new(error))
}

/// Users of this server who are invited, and by whom, where this server's policy has nothing against it. Whoever brings the word
/// may only pass it on: what counts is whose users invite. Whoever left a direct room may come back to it, and is not asked to.
fn welcome(engine: &Engine, preview: &Preview, state: &RoomState) -> BTreeMap<String, String> {
    let direct = state.room_type() == RoomType::Direct;
    let allowed = |inviter: &UserId| {
        let by = peer_id(&inviter.origin);
        let policy = &engine.policy;
        policy.may_federate(&by) && if direct { policy.may_open_direct(&by) } else { policy.may_invite(&by) }
    };
    let own = |(user, now): &(UserId, Membership)| user.origin == engine.origin && *now == Membership::Invite;
    let by = |(user, _): (UserId, Membership)| {
        let inviter = preview.inviter(&user).filter(allowed)?;
        Some((user.localpart.as_str().to_owned(), inviter.to_string()))
    };
    state.others().filter(own).filter_map(by).take(MOST_USERS).collect()
}

/// Remembers that a user of the peer began a direct room with one of this server's and is kept out by the policy.
fn note_unwelcome(engine: &Engine, peer: PeerId, room: RoomId, (preview, state): (&Preview, &RoomState)) {
    if state.room_type() != RoomType::Direct || engine.policy.may_open_direct(&peer) {
        return;
    }
    let own = |(user, now): &(UserId, Membership)| user.origin == engine.origin && *now == Membership::Invite;
    let by_peer = |user: &UserId| preview.inviter(user).is_some_and(|inviter| peer_id(&inviter.origin) == peer);
    if state.others().filter(own).any(|(user, _)| by_peer(&user)) {
        let mut unwelcome = lock(&engine.invitations.unwelcome);
        if unwelcome.len() >= MOST_UNWELCOME {
            unwelcome.clear();
        }
        unwelcome.insert((peer, room));
    }
}

/// Whether a peer is to hear that its users begin no direct rooms here. It learns of it nothing but that: it has shown the room itself,
/// and whether there is anybody of that name was not looked at.
pub(in crate::engine) fn is_unwelcome(engine: &Engine, peer: &PeerId, room: RoomId) -> bool {
    lock(&engine.invitations.unwelcome).contains(&(*peer, room)) && !engine.policy.may_open_direct(peer)
}

fn has_space(engine: &Engine, invited: &BTreeMap<String, String>) -> Result<bool, PostError> {
    let server = |by: &String| by.parse::<UserId>().ok().map(|by| by.origin);
    let inviting: Option<Origin> = invited.values().next().and_then(server);
    let kept = engine.invitations()?;
    let of_server = kept.iter().filter(|(_, kept)| kept.users.values().next().and_then(server) == inviting).count();
    Ok(kept.len() < MOST && of_server < MOST_OF_SERVER)
}

fn name(preview: &Preview, state: &RoomState) -> Option<String> {
    let text = |id: EventId| {
        let body = preview.event(&id)?.body()?;
        let name = body.text("name")?;
        let end = name.floor_char_boundary(NAME_BYTES);
        Some(name[..end].to_owned())
    };
    state.label(Label::Name).and_then(text).or_else(|| text(state.create_event()))
}

/// Reads a room's state graph from one server.
pub(in crate::engine) async fn preview(engine: &Engine, room: RoomId, peer: PeerId) -> Result<Preview, PullError> {
    let mut preview = Preview::new(room);
    loop {
        let have = preview.have().clone();
        let request = Request::Pull { room, sections: Sections::ALL, state_only: true, have };
        let (events, _, more) = sync::ask(engine, peer, &request).await?;
        let (events, unsound) = intake::verify_all(engine, room, events).await;
        if unsound > 0 {
            let _ = engine.network.count(peer, Count::EventsRefused(unsound as u64)).await;
            return Err(PullError::Unsound);
        }
        let new;
        (preview, new) = add(engine, preview, events).await?;
        if !more {
            return Ok(preview);
        }
        if new == 0 {
            return Err(PullError::NothingNew);
        }
    }
}

/// Takes events into a preview, away from what must not wait: a state graph that was made for it takes long to resolve.
async fn add(engine: &Engine, mut preview: Preview, events: Vec<Event>) -> Result<(Preview, usize), PullError> {
    let work = move || {
        let new = preview.add(events).map_err(|_| PullError::OffTopic)?;
        Ok((preview, new))
    };
    match engine.store().sync_blocks() {
        true => tokio::task::spawn_blocking(work).await.map_err(|_| PullError::OffTopic)?,
        // A simulation has one thread.
        false => work(),
    }
}
