//! What is not for everybody goes straight to the servers that it is for: events of private groups and direct rooms, and the
//! word that there is something for a server in a room.
//!
//! A server that says something hands it to every member server that it is connected to. Whoever gets it compares the room
//! with the others a moment later, so that it also reaches those that its author is not connected to. Whatever neither
//! brings, the comparison on every new connection and once a minute does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::{Access, access};
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Content, Event, Lane, Membership, RoomType};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::limits::{MAX_EVENTS_PER_TELL, TELL_EVENT_BUDGET};
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use tokio::time::Instant;

use super::{Engine, intake, invitations, lock, sync};
use crate::network::{Count, origin, peer_id};

/// Events that may wait for one peer in one room. What is more is left to the comparison.
const WAITING: usize = 1024;
/// How long after news of a room the others in it are asked whether they have it too.
const PASS_ON: Duration = Duration::from_secs(1);
/// Peers and rooms of which is remembered that the peer knows there is something for it, or that it does not let it in.
const MOST_NOTICED: usize = 16_384;
/// How long after a peer heard of a direct room it is asked once more: by then it has looked at who invites whom.
const LOOKED: Duration = Duration::from_secs(2);

/// What is on its way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Events that wait until the peer has answered those before. An entry stands for a task that sends them.
    queues: Mutex<BTreeMap<(PeerId, RoomId), VecDeque<WireEvent>>>,
    /// Rooms that are about to be compared with everybody in them.
    passing_on: Mutex<BTreeSet<RoomId>>,
    /// Who has heard that there is something for it in a room.
    noticed: Mutex<BTreeSet<(PeerId, RoomId)>>,
    /// Direct rooms that a server does not let in.
    unwelcome: Mutex<BTreeSet<(RoomId, Origin)>>,
}

/// Hands events of a room that is not gossiped to every member server that is connected.
pub(super) async fn hand_over(engine: &Engine, room: RoomId, state: &RoomState, events: &[Event]) {
    let Ok(ready) = engine.network.ready().await else { return };
    let events: Vec<WireEvent> = events.iter().map(WireEvent::of).collect();
    let reads = |peer: &PeerId| origin(peer).is_some_and(|origin| access(state, origin) == Access::Everything);
    for peer in ready.into_iter().filter(reads) {
        tell(engine, room, peer, &events);
    }
}

/// Hands events to one peer, after those that are on their way to it already.
pub(super) fn tell(engine: &Engine, room: RoomId, peer: PeerId, events: &[WireEvent]) {
    let mut queues = lock(&engine.outbox.queues);
    if let Some(queue) = queues.get_mut(&(peer, room)) {
        let space = WAITING.saturating_sub(queue.len());
        queue.extend(events.iter().take(space).cloned());
        return;
    }
    queues.insert((peer, room), events.iter().take(WAITING).cloned().collect());
    drop(queues);
    let own = engine.clone();
    engine.background(async move {
        while let Some(events) = next_part(&own, room, peer) {
            match own.network.request(peer, &Request::Tell { room, events }).await {
                Ok(Response::Differing { .. }) => {}
                outcome => {
                    tracing::debug!(%room, %peer, ?outcome, "a peer did not take events");
                    lock(&own.outbox.queues).remove(&(peer, room));
                    return pass_on(&own, room);
                }
            }
        }
    });
}

/// What goes into the next request; none, and no queue any more, where nothing is left.
fn next_part(engine: &Engine, room: RoomId, peer: PeerId) -> Option<Vec<WireEvent>> {
    let mut queues = lock(&engine.outbox.queues);
    let queue = queues.get_mut(&(peer, room))?;
    let mut bytes = 0;
    let mut part = Vec::new();
    while let Some(event) = queue.front() {
        bytes += event.len();
        if part.len() == MAX_EVENTS_PER_TELL || bytes > TELL_EVENT_BUDGET && !part.is_empty() {
            break;
        }
        part.extend(queue.pop_front());
    }
    if part.is_empty() {
        queues.remove(&(peer, room));
        return None;
    }
    Some(part)
}

/// Compares a room with everybody in it, a moment from now. However often this is called meanwhile, it is done once.
pub(super) fn pass_on(engine: &Engine, room: RoomId) {
    if !lock(&engine.outbox.passing_on).insert(room) {
        return;
    }
    let own = engine.clone();
    engine.background(async move {
        tokio::time::sleep(PASS_ON).await;
        lock(&own.outbox.passing_on).remove(&room);
        sync::spread_now(&own, room).await;
    });
}

/// Sees to it that those hear of a change of the room's state whom it concerns and who do not hear of it by gossip or as
/// members: of these servers the ones with somebody invited, or not any longer, and the ones whose last member is gone.
pub(super) fn mind_audience(
    engine: &Engine,
    room: RoomId,
    before: Option<&RoomState>,
    after: &RoomState,
    servers: &BTreeSet<Origin>,
) {
    let gossiped = engine.followed.gossips(&room);
    for origin in servers.iter().filter(|origin| **origin != engine.origin) {
        let (then, now) = (before.map_or(0, |before| invited(before, *origin)), invited(after, *origin));
        let was_member = before.is_some_and(|before| before.has_member(*origin));
        let out = was_member && !after.has_member(*origin);
        // Gossip tells members of a channel; and whoever was only invited nothing.
        if out && !gossiped || !after.has_member(*origin) && !out && then != now {
            let peer = peer_id(origin);
            lock(&engine.outbox.noticed).remove(&(peer, room));
            notify(engine, room, peer);
        }
    }
}

/// The servers whose users a burst of events says something about.
pub(super) fn servers_about<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeSet<Origin> {
    let mut servers = BTreeSet::new();
    for event in events.filter(|event| event.header().lane == Lane::State) {
        match event.content() {
            Ok(Content::Member { user, .. }) => {
                servers.insert(user.origin);
            }
            Ok(Content::Create { with, .. }) => servers.extend(with.iter().map(|user| user.origin)),
            _ => {}
        }
    }
    servers
}

/// How many of a server's users are invited.
fn invited(state: &RoomState, origin: Origin) -> usize {
    state.memberships_of(origin).filter(|now| *now == Membership::Invite).count()
}

/// Tells a peer that there is something for it in a room, unless it has heard. One that is not connected hears of it on the
/// next connection.
pub(super) fn notify(engine: &Engine, room: RoomId, peer: PeerId) {
    if lock(&engine.outbox.noticed).contains(&(peer, room)) {
        return;
    }
    let own = engine.clone();
    engine.background(async move {
        let request = Request::Tell { room, events: Vec::new() };
        let mut outcome = own.network.request(peer, &request).await;
        let looks = matches!(&outcome, Ok(Response::Differing { rooms }) if !rooms.is_empty());
        let direct = matches!(own.stored_type(&room), Ok(Some(RoomType::Direct)));
        if looks && direct {
            tokio::time::sleep(LOOKED).await;
            outcome = own.network.request(peer, &request).await;
        }
        match outcome {
            // It lists the room as one that it is to come to already, or knows what there is to know.
            Ok(Response::Differing { rooms }) if rooms.is_empty() => note(&own, peer, room),
            // Its administrator may think otherwise one day: it is told again like anybody who has not heard.
            Ok(Response::Refused(Refused::Policy)) if direct => note_unwelcome(&own, peer, room),
            outcome => tracing::debug!(%room, %peer, ?outcome, "a peer did not hear of what is for it"),
        }
    });
}

fn note(engine: &Engine, peer: PeerId, room: RoomId) {
    if let Some(origin) = origin(&peer) {
        lock(&engine.outbox.unwelcome).remove(&(room, origin));
    }
    let mut noticed = lock(&engine.outbox.noticed);
    if noticed.len() >= MOST_NOTICED {
        // Whoever is told once more answers as it did.
        noticed.clear();
    }
    noticed.insert((peer, room));
}

fn note_unwelcome(engine: &Engine, peer: PeerId, room: RoomId) {
    let Some(origin) = origin(&peer) else { return };
    let mut unwelcome = lock(&engine.outbox.unwelcome);
    if unwelcome.len() >= MOST_NOTICED {
        unwelcome.clear();
    }
    unwelcome.insert((room, origin));
}

impl Engine {
    /// Direct rooms that a server said it does not let in from this one, each with that server. Some may be let in by now.
    pub(crate) fn unwelcome(&self) -> Vec<(RoomId, Origin)> {
        lock(&self.outbox.unwelcome).iter().copied().collect()
    }
}

/// Answers a peer that hands over events, or says that there is something for this server.
///
/// Whoever this server does not know to be in a private room learns nothing from the answer, not even whether this server is: what
/// it says is then only a reason to look at the state graph that it shows.
pub(super) async fn take(engine: &Engine, peer: PeerId, room: RoomId, events: Vec<WireEvent>) -> Response {
    let later = Response::Differing { rooms: vec![room] };
    let access = engine.access(&room, &peer).await;
    if access == Access::None || !engine.has_local_member(room).await {
        invitations::notice(engine, peer, room);
        if events.is_empty() && invitations::is_unwelcome(engine, &peer, room) {
            return Response::Refused(Refused::Policy);
        }
        // A server that listed the invitation has heard what there was to hear.
        let listed = events.is_empty() && engine.invitation(&room).is_ok_and(|kept| kept.is_some());
        if !engine.follows(&room) || access == Access::None {
            return if listed { Response::Differing { rooms: Vec::new() } } else { later };
        }
    }
    let member = access == Access::Everything;
    if events.is_empty() {
        if member {
            sync::pull_whole(engine, peer, room);
        }
        return Response::Differing { rooms: Vec::new() };
    }
    let now = Instant::now();
    let told = events.len();
    let events: Vec<WireEvent> = events.into_iter().take_while(|_| engine.policy.may_bring_event(&peer, now)).collect();
    let whole = events.len() == told;
    let ids: Option<Vec<_>> = events
        .iter()
        .map(|event| event.decode().ok().filter(|event| event.room() == room).map(|event| event.id()))
        .collect();
    let _ = engine.network.count(peer, Count::Events(events.len() as u64)).await;
    let (events, refused) = intake::open_all(engine, room, events).await;
    if refused > 0 {
        let _ = engine.network.count(peer, Count::EventsRefused(refused as u64)).await;
    }
    // What is missing is asked of members only: the question says what is here.
    match engine.room(room).ingest(events, Some(peer).filter(|_| member)).await {
        Ok(_) => {
            let here = |ids: Vec<EventId>| ids.iter().all(|id| engine.store().contains(id).unwrap_or(false));
            if whole && ids.is_some_and(here) { Response::Differing { rooms: Vec::new() } } else { later }
        }
        Err(error) => {
            tracing::debug!(%room, %peer, %error, "events that a peer handed over were not written");
            Response::Refused(Refused::Other)
        }
    }
}
