//! Invitations: rooms that a user of this server may come to and this server is not in yet.
//!
//! ```text
//!   a member server ── tell: there is something for you ──► take_notice ── pull the state graph ──► kept, listed
//!   a user accepts  ──► join, written on the state graph and on disk, as one of the room's held events
//!                   ──► handed to a member server, which takes it in ──► pull the room as a member ──► the join is accepted
//! ```
//!
//! Whatever breaks between two of these steps, the next connection with a server of the room goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Content, Label, Lane, Membership, RoomType, author};
use rocketmesh_protocol::have::Sections;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, Origin, UserId};
use rocketmesh_protocol::preview::Preview;
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use rocketmesh_storage::{Participation, StoreError};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::room::{PostError, RoomCommand, Written};
use super::rooms::JoinError;
use super::sync::{self, PullError};
use super::{Engine, intake, lock};
use crate::network::{origin, peer_id};

/// Settings of invitations begin with this, followed by the room.
const SETTING: &str = "invitation/";
/// The most invitations that are kept. What is more is refused until some are accepted or declined.
const MOST: usize = 4096;
/// The most invitations of one server that are looked at at the same time, all servers together.
const LOOKED_AT: usize = 16;
/// The most servers of a room that are remembered for an invitation.
const MOST_HOLDERS: usize = 64;
/// Bytes of a room's name that are kept.
const NAME_BYTES: usize = 255;
/// How often is looked whether a join was taken.
const GLANCE: Duration = Duration::from_millis(50);
/// How long after a server did not take a join it is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one server of the room is given to take a join and hand over the room.
const ONE_HOLDER: Duration = Duration::from_secs(30);

/// A room that users of this server are invited to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// Rocket.Chat's letter of the room's type.
    pub(crate) room_type: String,
    /// The room's name, as the inviting server tells it.
    pub(crate) name: Option<String>,
    /// The users, and who invited each.
    pub(crate) users: BTreeMap<String, String>,
    /// How many users are joined.
    pub(crate) members: u64,
    /// Servers of the room.
    pub(crate) holders: Vec<String>,
    /// When this server heard of it, in milliseconds since 1970.
    pub(crate) heard_ms: u64,
    /// The join that was written on it.
    pub(crate) accepting: Option<Accepting>,
}

/// A join that waits for the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepting {
    /// The event's hash.
    join: [u8; 32],
    /// The localpart of the user who joins.
    user: String,
}

/// What is being looked at.
#[derive(Debug, Default)]
pub(super) struct Invitations {
    looking: Mutex<BTreeSet<RoomId>>,
    /// Joins that are on their way to a peer.
    bringing: Mutex<BTreeSet<(PeerId, RoomId)>>,
}

fn setting(room: &RoomId) -> String {
    format!("{SETTING}{room}")
}

/// Answers a peer that says there is something for this server in a room that it does not follow.
pub(super) async fn take_notice(engine: &Engine, peer: PeerId, room: RoomId) -> Response {
    {
        let mut looking = lock(&engine.invitations.looking);
        if looking.len() >= LOOKED_AT || !looking.insert(room) {
            return Response::Refused(Refused::TooMany);
        }
    }
    let looked = look(engine, peer, room).await;
    lock(&engine.invitations.looking).remove(&room);
    match looked {
        Ok(()) => Response::Differing { rooms: Vec::new() },
        Err(PullError::Refused(Refused::Policy)) => Response::Refused(Refused::Policy),
        Err(error) => {
            tracing::debug!(%room, %peer, %error, "what a peer has for this server is no invitation");
            Response::Differing { rooms: vec![room] }
        }
    }
}

/// Reads the state graph of a room and keeps, or takes back, the invitation that it says.
async fn look(engine: &Engine, peer: PeerId, room: RoomId) -> Result<(), PullError> {
    let preview = preview(engine, room, peer).await?;
    let Some(state) = preview.state() else { return Err(PullError::OffTopic) };
    let direct = state.room_type() == RoomType::Direct;
    // Whoever brings the word may only pass it on: what counts is whose users invite.
    let welcome = |user: &UserId| {
        preview.inviter(user).map(|inviter| peer_id(&inviter.origin)).is_some_and(|by| {
            engine.policy.may_federate(&by)
                && if direct { engine.policy.may_open_direct(&by) } else { engine.policy.may_invite(&by) }
        })
    };
    let (invited, unwelcome): (Vec<UserId>, Vec<UserId>) = invited(state, engine.origin).into_iter().partition(welcome);
    if invited.is_empty() && !unwelcome.is_empty() {
        return Err(PullError::Refused(Refused::Policy));
    }
    let kept = engine.invitation(&room).map_err(PostError::Store)?;
    if kept.as_ref().is_some_and(|kept| kept.accepting.is_some()) {
        return Ok(());
    }
    if invited.is_empty() {
        // It was, and is not any longer.
        engine.forget_invitation(room).await?;
        return Ok(());
    }
    let known = engine.invitations().map_err(PostError::Store)?;
    if kept.is_none() && known.len() >= MOST {
        tracing::warn!(%room, "an invitation was not kept: there are too many; accept or decline some");
        return Err(PullError::Refused(Refused::TooMany));
    }
    let text = |id: EventId| {
        let body = preview.event(&id)?.body()?;
        let name = body.text("name")?;
        Some(
            name.chars()
                .scan(0, |bytes, letter| {
                    *bytes += letter.len_utf8();
                    (*bytes <= NAME_BYTES).then_some(letter)
                })
                .collect::<String>(),
        )
    };
    let by = |user: &UserId| preview.inviter(user).map(|inviter| inviter.to_string()).unwrap_or_default();
    let invitation = Invitation {
        room_type: state.room_type().letter().to_owned(),
        name: state.label(Label::Name).and_then(text).or_else(|| text(state.create_event())),
        users: invited.iter().map(|user| (user.localpart.as_str().to_owned(), by(user))).collect(),
        members: state.joined().count() as u64,
        holders: holders(state, peer),
        heard_ms: kept.map_or_else(|| engine.clock.now_ms(), |kept| kept.heard_ms),
        accepting: None,
    };
    tracing::info!(%room, users = ?invitation.users, "an invitation came");
    engine.keep_invitation(room, &invitation).await?;
    Ok(())
}

/// Users of this server who are invited. Whoever left a direct room may come back to it, and is not asked to.
fn invited(state: &RoomState, own: Origin) -> Vec<UserId> {
    let invited = state.others().filter(|(user, membership)| user.origin == own && *membership == Membership::Invite);
    invited.map(|(user, _)| user).collect()
}

/// Whoever showed the room, then others of its servers.
fn holders(state: &RoomState, peer: PeerId) -> Vec<String> {
    let others = state.servers().into_iter().filter(|server| peer_id(server) != peer).map(|server| server.to_string());
    origin(&peer).map(|first| first.to_string()).into_iter().chain(others).take(MOST_HOLDERS).collect()
}

/// Reads a room's state graph from one server.
pub(super) async fn preview(engine: &Engine, room: RoomId, peer: PeerId) -> Result<Preview, PullError> {
    let mut preview = Preview::new(room);
    loop {
        let have = preview.have().clone();
        let request = Request::Pull { room, sections: Sections::ALL, state_only: true, have };
        let (events, _, more) = sync::ask(engine, peer, &request).await?;
        let (events, _) = intake::verify_all(engine, room, events).await;
        let new = preview.add(events).map_err(|_| PullError::OffTopic)?;
        if !more {
            return Ok(preview);
        }
        if new == 0 {
            return Err(PullError::OffTopic);
        }
    }
}

/// A peer is there: joins that wait for a server of their room are brought to it.
pub(super) async fn greet(engine: &Engine, peer: PeerId) {
    let Ok(invitations) = engine.invitations() else { return };
    for (room, invitation) in invitations {
        if let Some(accepting) = invitation.accepting {
            bring(engine, room, peer, &accepting).await;
        }
    }
}

/// Hands a join to a server of the room and fetches the room from it, after which nothing is waited for any more. Returns whether
/// it came to that.
async fn bring(engine: &Engine, room: RoomId, peer: PeerId, accepting: &Accepting) -> bool {
    let Some(_turn) = Turn::take(engine, room, peer) else { return false };
    match bring_once(engine, room, peer, accepting).await {
        Ok(()) if engine.store().contains(&accepting.id()).unwrap_or(false) => {
            engine.forget_invitation(room).await.is_ok()
        }
        outcome => {
            tracing::debug!(%room, %peer, ?outcome, "a join still waits for its room");
            false
        }
    }
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

async fn bring_once(engine: &Engine, room: RoomId, peer: PeerId, accepting: &Accepting) -> Result<(), PullError> {
    let store = |error| PostError::Store(Arc::new(error));
    let waits = engine.store().held(&room).map_err(store)?.into_iter().find(|held| held.id == accepting.id());
    let join = match waits {
        Some(held) => Some(held.event),
        // A server that was in the room before may have all that its join stands on.
        None => engine.store().event(&accepting.id()).map_err(store)?.map(|stored| WireEvent::of(&stored.event)),
    };
    let events = join.into_iter().collect();
    match engine.network.request(peer, &Request::Tell { room, events }).await? {
        Response::Differing { .. } => sync::pull(engine, room, peer, Sections::ALL).await,
        Response::Refused(refused) => Err(PullError::Refused(refused)),
        _ => Err(PullError::OffTopic),
    }
}

impl Accepting {
    fn id(&self) -> EventId {
        EventId::from_hash(self.join)
    }
}

impl Engine {
    /// The invitation to a room.
    pub(super) fn invitation(&self, room: &RoomId) -> Result<Option<Invitation>, Arc<StoreError>> {
        let record = self.store().setting(&setting(room))?;
        Ok(record.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// Every invitation that is kept.
    pub(crate) fn invitations(&self) -> Result<Vec<(RoomId, Invitation)>, Arc<StoreError>> {
        let read = |(name, json): (String, Vec<u8>)| {
            Some((name[SETTING.len()..].parse().ok()?, serde_json::from_slice(&json).ok()?))
        };
        Ok(self.store().settings(SETTING)?.into_iter().filter_map(read).collect())
    }

    async fn keep_invitation(&self, room: RoomId, invitation: &Invitation) -> Result<(), PostError> {
        let json = serde_json::to_vec(invitation).unwrap_or_default();
        Ok(self.save_setting(&setting(&room), Some(&json)).await?)
    }

    pub(super) async fn forget_invitation(&self, room: RoomId) -> Result<(), PostError> {
        if self.invitation(&room)?.is_some() {
            self.save_setting(&setting(&room), None).await?;
        }
        Ok(())
    }

    /// The join that was written in answer to an invitation and waits.
    pub(super) fn accepting(&self, room: &RoomId) -> Result<Option<Accepting>, PostError> {
        Ok(self.invitation(room)?.and_then(|invitation| invitation.accepting))
    }

    /// Writes a join on a room's state graph. It is on disk then, and waits for the room.
    pub(super) async fn accept(
        &self,
        room: RoomId,
        user: Localpart,
        preview: Preview,
        holder: PeerId,
    ) -> Result<Accepting, JoinError> {
        let state = preview.state().cloned().ok_or(PostError::UnknownRoom(room))?;
        let own = self.own_state_head(&room)?;
        let change = Content::Member { user: self.local(user.clone()), change: Membership::Join, seen: Vec::new() };
        let draft = self.draft(Some(user.clone()), &change, None);
        let join = author(&self.key, preview.placement(self.origin, own), draft).map_err(PostError::from)?;
        // Asking the rules first keeps a refused join out of the store.
        state.authorize(join.header(), &change).map_err(PostError::from)?;
        let accepting = Accepting { join: *join.id().hash(), user: user.as_str().to_owned() };
        let mut invitation = self.invitation(&room).map_err(PostError::from)?.unwrap_or_else(|| Invitation {
            room_type: state.room_type().letter().to_owned(),
            name: None,
            users: BTreeMap::new(),
            members: state.joined().count() as u64,
            holders: Vec::new(),
            heard_ms: self.clock.now_ms(),
            accepting: None,
        });
        invitation.holders = holders(&state, holder);
        invitation.accepting = Some(accepting.clone());
        let task = self.room(room);
        task.send(RoomCommand::Participate(Participation::Joined)).await?;
        self.follow(room, Some(state.room_type())).await;
        task.ingest(vec![join], None).await?;
        self.keep_invitation(room, &invitation).await?;
        Ok(accepting)
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
    pub(super) async fn finish_accepting(
        &self,
        room: RoomId,
        accepting: Accepting,
        wait: Duration,
        deadline: Instant,
    ) -> Result<Written, JoinError> {
        let id = accepting.id();
        let mut asked: BTreeMap<PeerId, Instant> = BTreeMap::new();
        let mut met = false;
        loop {
            if self.accepting(&room)?.is_none() {
                let stored = self.store().event(&id).map_err(|error| PostError::Store(Arc::new(error)))?;
                let event = stored.ok_or(PostError::UnknownRoom(room))?.event;
                sync::spread(self.clone(), room);
                sync::meet(self.clone(), room);
                // Its place in the log is at most here: what follows it came after.
                return Ok(Written { event, position: self.store().log_end() });
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(JoinError::Waiting { waited_s: wait.as_secs() });
            }
            let holders: BTreeSet<PeerId> = self
                .invitation(&room)
                .map_err(PostError::from)?
                .into_iter()
                .flat_map(|invitation| invitation.holders)
                .filter_map(|holder| holder.parse().ok())
                .map(|holder: Origin| peer_id(&holder))
                .collect();
            let mut ready = self.network.ready().await.map_err(|_| PostError::Closed)?;
            ready.retain(|peer| holders.contains(peer) && asked.get(peer).is_none_or(|again| *again <= now));
            for peer in &ready {
                let left = ONE_HOLDER.min(deadline.saturating_duration_since(Instant::now()));
                if tokio::time::timeout(left, bring(self, room, *peer, &accepting)).await == Ok(true) {
                    break;
                }
                asked.insert(*peer, Instant::now() + AGAIN);
            }
            if ready.is_empty() && !met {
                met = true;
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
    /// case. A join that waits is given up. Returns whether there was anything to decline.
    pub(crate) async fn decline(&self, room: RoomId, user: Localpart) -> Result<bool, PostError> {
        let Some(mut invitation) = self.invitation(&room)? else { return Ok(false) };
        if invitation.accepting.take_if(|accepting| accepting.user == user.as_str()).is_some() {
            self.stop_following(room).await?;
        }
        let ready = self.network.ready().await.map_err(|_| PostError::Closed)?;
        let holders: Vec<Origin> = invitation.holders.iter().filter_map(|holder| holder.parse().ok()).collect();
        for peer in ready.into_iter().filter(|peer| holders.iter().any(|holder| peer_id(holder) == *peer)) {
            match self.say_no(room, peer, &user).await {
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

    async fn say_no(&self, room: RoomId, peer: PeerId, user: &Localpart) -> Result<bool, PullError> {
        let preview = preview(self, room, peer).await?;
        let change = Content::Member { user: self.local(user.clone()), change: Membership::Leave, seen: Vec::new() };
        let draft = self.draft(Some(user.clone()), &change, None);
        let own = self.own_state_head(&room)?;
        let no = author(&self.key, preview.placement(self.origin, own), draft).map_err(PostError::from)?;
        let events = vec![WireEvent::of(&no)];
        Ok(matches!(
            self.network.request(peer, &Request::Tell { room, events }).await?,
            Response::Differing { rooms } if rooms.is_empty()
        ))
    }
}
