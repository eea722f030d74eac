//! Repair: what gossip dropped, what was said while this node was away, what it does not know yet.
//!
//! On every new connection and about once a minute two servers compare the digests of their rooms. Where one differs, each
//! pulls what it lacks: in causal order, bounded by bytes, until nothing is left; then the heads of forks by id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::Access;
use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::have::{HaveVector, Sections};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::limits::{MAX_IDS_PER_REQUEST, MAX_ROOMS_PER_REQUEST};
use rocketmesh_protocol::sync::unknown_heads;
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use tokio::time::Instant;

use super::history::{self, Gap};
use super::room::{PostError, RoomCommand, RoomHandle};
use super::{Engine, add, direct, intake, invitations, lock};
use crate::network::{Count, RequestError, peer_id};

/// Rooms for which company is looked for at a time, and how many rooms are looked at for it.
const SEARCHES: usize = 8;
const LOOKED_AT: usize = 256;
/// The pause before company is looked for again; it doubles up to the last.
const FIRST_SEARCH: Duration = Duration::from_secs(5);
const LAST_SEARCH: Duration = Duration::from_secs(80);
/// How many bytes of an answer go into a room at a time.
const PART_BYTES: usize = 512 * 1024;
/// Bodies that a peer is asked for at first, and how many times for more in one go.
const FIRST_BODIES: usize = 64;
const BODY_PAGES: usize = 256;
/// Peers and rooms of which is known how far they were asked.
const MOST_ASKED: usize = 4096;
/// Rounds of one pull that brought nothing new before it is given up.
const FRUITLESS_ROUNDS: usize = 2;
/// How long an event may wait for what it stands on before that is asked for.
const OVERTAKING: Duration = Duration::from_millis(300);
/// How long a peer that brings a room may bring nothing before another one does, and how often that is looked at.
const NOTHING_BROUGHT: Duration = Duration::from_secs(3);
const LEAD_GLANCE: Duration = Duration::from_millis(100);
/// How long a pull from a peer behind a relay waits, while another one in the room is connected directly and may bring the same.
const DETOUR: Duration = Duration::from_secs(2);
/// How long to wait before asking again a peer that was asked too often.
const TOO_MANY_PAUSE: Duration = Duration::from_secs(2);

/// Why a pull ended early. What was received until then is kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the peer refused: {}", .0.word())]
    Refused(Refused),
    #[error("the peer answered something else than was asked")]
    OffTopic,
    #[error("another pull of the room from this peer is under way")]
    UnderWay,
    #[error(transparent)]
    Post(#[from] PostError),
}

/// Compares every room with every connected server, for as long as the node runs.
pub(super) async fn run(engine: Engine) {
    let mut shutdown = engine.shutdown();
    loop {
        tokio::select! {
            () = tokio::time::sleep(engine.tuning.compare_every) => {}
            () = crate::network::shut_down(&mut shutdown) => return,
        }
        let Ok(peers) = engine.network.ready().await else { return };
        for peer in peers {
            let own = engine.clone();
            // Side by side: a peer that does not answer delays no other.
            engine.background(async move {
                invitations::greet(&own, peer).await;
                compare(&own, peer, own.followed()).await;
            });
        }
        for room in engine.followed() {
            if !engine.has_local_member(room).await {
                engine.part(room).await;
            }
        }
    }
}

/// Looks for company in rooms that have too little of it, for as long as the node runs. A room that stays lonely is looked
/// after more and more seldom; one that has just become so, soon.
pub(super) async fn keep_company(engine: Engine) {
    let mut shutdown = engine.shutdown();
    let mut pauses: BTreeMap<RoomId, (Duration, Instant)> = BTreeMap::new();
    let mut next = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(FIRST_SEARCH) => {}
            () = crate::network::shut_down(&mut shutdown) => return,
        }
        let rooms = engine.followed();
        pauses.retain(|room, _| rooms.contains(room));
        let now = Instant::now();
        let Ok(ready) = engine.network.ready().await else { return };
        let mut searches = 0;
        // Goes on where the last round stopped, so that rooms that stay lonely do not keep the others waiting.
        for _ in 0..rooms.len().min(LOOKED_AT) {
            if searches == SEARCHES {
                break;
            }
            next = (next + 1) % rooms.len();
            let room = rooms[next];
            if pauses.get(&room).is_some_and(|(_, until)| now < *until) {
                continue;
            }
            if !lonely_among(&engine, room, &ready).await {
                pauses.remove(&room);
                continue;
            }
            searches += 1;
            let pause = pauses.get(&room).map_or(FIRST_SEARCH, |(pause, _)| (*pause * 2).min(LAST_SEARCH));
            pauses.insert(room, (pause, now + pause));
            meet(engine.clone(), room);
        }
    }
}

/// Whether the room has servers that this node could be connected to, and is connected to too few.
async fn lonely(engine: &Engine, room: RoomId) -> bool {
    let Ok(ready) = engine.network.ready().await else { return false };
    lonely_among(engine, room, &ready).await
}

async fn lonely_among(engine: &Engine, room: RoomId, ready: &[PeerId]) -> bool {
    let Ok((state, _)) = engine.state(room).await else { return false };
    // Not counting those that everybody is told to connect to: their meshes are full, and somebody with no other company
    // would stand outside of all.
    let others: BTreeSet<PeerId> = state
        .servers()
        .iter()
        .filter(|origin| **origin != engine.origin)
        .map(peer_id)
        .filter(|peer| !engine.bootstrap.contains(peer))
        .collect();
    let connected = ready.iter().filter(|peer| others.contains(peer)).count();
    // Without gossip nobody passes events on: as many as may be are to be handed them.
    let enough = if engine.followed.gossips(&room) { engine.tuning.company / 2 } else { engine.tuning.company };
    connected < others.len().min(enough)
}

/// Looks for a room's servers in the DHT and connects to them.
pub(super) fn meet(engine: Engine, room: RoomId) {
    engine.clone().background(async move {
        if !lonely(&engine, room).await {
            return;
        }
        let Ok(mut found) = engine.network.providers(room).await else { return };
        while found.recv().await.is_some() {
            if !lonely(&engine, room).await {
                return;
            }
        }
    });
}

/// Tells a peer the digests of rooms, and pulls those that it holds differently.
pub(super) async fn compare(engine: &Engine, peer: PeerId, rooms: Vec<RoomId>) {
    if !engine.policy.may_federate(&peer) {
        return;
    }
    let (rooms, invited) = engine.shared_with(&peer, rooms).await;
    for room in invited {
        direct::notify(engine, room, peer);
    }
    for rooms in rooms.chunks(MAX_ROOMS_PER_REQUEST) {
        let digests: BTreeMap<_, _> = rooms.iter().filter_map(|room| Some((*room, engine.digest(room)?))).collect();
        if digests.is_empty() {
            continue;
        }
        match engine.network.request(peer, &Request::Compare { digests: digests.clone() }).await {
            Ok(Response::Differing { rooms: differing }) => {
                let differing: BTreeSet<RoomId> =
                    differing.into_iter().filter(|room| digests.contains_key(room)).collect();
                for room in &differing {
                    reconcile(engine.clone(), *room, peer);
                }
                for room in digests.into_keys() {
                    fetch_bodies(engine, room, peer).await;
                }
            }
            outcome => {
                tracing::debug!(%peer, ?outcome, "a comparison brought no answer");
                return;
            }
        }
    }
}

/// Makes this server known to a member server of a private room that does not know it as a member: whoever took its join in may
/// be gone.
pub(super) async fn introduce(engine: &Engine, peer: PeerId) {
    let private: Vec<RoomId> = engine.followed().into_iter().filter(|room| !engine.followed.gossips(room)).collect();
    for room in private {
        if engine.access(&room, &peer).await != Access::Everything {
            continue;
        }
        let known = engine.network.request(peer, &Request::Sections { room }).await;
        if matches!(known, Ok(Response::Refused(Refused::UnknownRoom | Refused::Invited))) {
            let _ = engine.network.request(peer, &Request::Tell { room, events: Vec::new() }).await;
        }
    }
}

/// Compares one room with every connected server in it: for events that gossip reached nobody with.
pub(super) fn spread(engine: Engine, room: RoomId) {
    engine.clone().background(async move { spread_now(&engine, room).await });
}

/// As [`spread`], and waits for the answers.
pub(super) async fn spread_now(engine: &Engine, room: RoomId) {
    let Ok((state, _)) = engine.state(room).await else { return };
    let servers: Vec<PeerId> = state.servers().iter().map(peer_id).collect();
    let Ok(ready) = engine.network.ready().await else { return };
    let compared =
        ready.into_iter().filter(|peer| servers.contains(peer)).map(|peer| compare(engine, peer, vec![room]));
    futures::future::join_all(compared).await;
}

/// Finds out, in the background, in which sections of the have-vector a room differs, and pulls what is missing here. The
/// peer sees from the pull what is missing there.
///
/// One peer at a time for each room: several would bring the same, and events of a part of the servers alone would have to wait
/// for the others'. Whoever comes after finds out what is left. A peer that brings nothing keeps nobody waiting for long.
fn reconcile(engine: Engine, room: RoomId, peer: PeerId) {
    engine.clone().background(async move {
        if engine.network.is_detour(peer, room).await.unwrap_or(false) {
            tokio::time::sleep(DETOUR).await;
        }
        let _lead = Lead::take(&engine, room, peer).await;
        let Ok(ours) = have(&engine, room) else { return };
        let sections = match engine.network.request(peer, &Request::Sections { room }).await {
            Ok(Response::Sections { digests }) => Sections::differing(&ours.section_digests(), &digests),
            outcome => {
                tracing::debug!(%room, %peer, ?outcome, "a peer did not tell the sections of its have-vector");
                Sections::ALL
            }
        };
        // No section differs any more where what was under way has arrived; or where two of them have one digest.
        if sections.is_empty() && !differs_still(&engine, room, peer).await {
            return;
        }
        let sections = if sections.is_empty() { Sections::ALL } else { sections };
        if let Err(error) = pull(&engine, room, peer, sections).await {
            tracing::debug!(%room, %peer, %error, "a pull ended early");
        }
    });
}

async fn differs_still(engine: &Engine, room: RoomId, peer: PeerId) -> bool {
    let Some(digest) = engine.digest(&room) else { return false };
    let digests = BTreeMap::from([(room, digest)]);
    matches!(
        engine.network.request(peer, &Request::Compare { digests }).await,
        Ok(Response::Differing { rooms }) if rooms == [room]
    )
}

/// Pulls in the background, when the room's turn comes.
pub(super) fn spawn_pull(engine: Engine, room: RoomId, peer: PeerId, sections: Sections) {
    engine.clone().background(async move {
        let _lead = Lead::take(&engine, room, peer).await;
        if let Err(error) = pull(&engine, room, peer, sections).await {
            tracing::debug!(%room, %peer, %error, "a pull ended early");
        }
    });
}

/// Fetches what events of a room wait for, first by id from the peer that sent them, then by comparing everything. Not at
/// once: what comes by gossip over several servers overtakes itself all the time.
pub(super) fn repair(engine: Engine, task: RoomHandle, room: RoomId, peer: PeerId) {
    engine.clone().background(async move {
        tokio::time::sleep(OVERTAKING).await;
        let wanted = task.wanted().await.unwrap_or_default();
        if wanted.is_empty() {
            let _ = task.send(RoomCommand::Repaired).await;
            return;
        }
        let by_id = wanted.len() <= MAX_IDS_PER_REQUEST && fetch(&engine, room, peer, wanted).await.is_ok();
        let still_missing = !by_id || task.state().await.ok().flatten().is_none_or(|(_, held)| held > 0);
        if still_missing {
            let _ = pull(&engine, room, peer, Sections::ALL).await;
        }
        let _ = task.send(RoomCommand::Repaired).await;
    });
}

/// Pulls a room from a peer until the peer has nothing more. One pull for a room and peer at a time.
pub(super) async fn pull(engine: &Engine, room: RoomId, peer: PeerId, sections: Sections) -> Result<(), PullError> {
    if engine.gap(&room) == Some(Gap::PutOff) {
        return history::outline(engine, room, peer).await;
    }
    engine.store().check_space().map_err(|error| PostError::Store(std::sync::Arc::new(error)))?;
    let _turn = Turn::take(engine, room, peer).ok_or(PullError::UnderWay)?;
    let _permit = engine.pulls.acquire().await.map_err(|_| PostError::Closed)?;
    let mut fruitless = 0;
    loop {
        let have = have(engine, room)?.within(sections);
        let (events, theirs, more) =
            ask(engine, peer, &Request::Pull { room, sections, state_only: false, have }).await?;
        let received = events.len();
        let new = deliver(engine, room, peer, events).await?;
        add(&engine.counters.pulled, new);
        if let Some((leader, brought)) = lock(&engine.leading).get_mut(&room)
            && *leader == peer
            && new > 0
        {
            *brought = Instant::now();
        }
        if more {
            // A peer that says that there is more and sends nothing new has nothing to say.
            fruitless = if new == 0 { fruitless + 1 } else { 0 };
            if fruitless < FRUITLESS_ROUNDS {
                continue;
            }
            return Err(PullError::OffTopic);
        }
        let store = engine.store();
        let mut heads = unknown_heads(&theirs, |id| store.contains(id).unwrap_or(true));
        heads.truncate(MAX_IDS_PER_REQUEST);
        if !heads.is_empty() {
            let fetched = fetch(engine, room, peer, heads).await?;
            if fetched > 0 || received > 0 && new > 0 {
                fruitless += 1;
                if fruitless < FRUITLESS_ROUNDS {
                    continue;
                }
            }
        }
        return Ok(());
    }
}

/// Asks a peer for bodies that are missing here: a few each time, going round all of them, so that those that everybody has
/// dropped keep no others from being asked for; and more as long as it brings some.
async fn fetch_bodies(engine: &Engine, room: RoomId, peer: PeerId) {
    let mut page = FIRST_BODIES;
    for _ in 0..BODY_PAGES {
        let after = lock(&engine.asked_bodies).get(&(peer, room)).copied();
        let Ok(wanted) = engine.store().wanted_bodies(&room, after.as_ref(), page) else { return };
        {
            let mut asked = lock(&engine.asked_bodies);
            match wanted.last().filter(|_| wanted.len() == page) {
                Some(last) => {
                    if asked.len() >= MOST_ASKED {
                        asked.clear();
                    }
                    asked.insert((peer, room), *last);
                }
                None => drop(asked.remove(&(peer, room))),
            }
        }
        if wanted.is_empty() {
            return;
        }
        let asked_for = wanted.len();
        if let Err(error) = fetch(engine, room, peer, wanted.clone()).await {
            tracing::debug!(%room, %peer, %error, "a peer sent no bodies");
            return;
        }
        let filled = |id: &EventId| {
            let stored = engine.store().event(id).ok().flatten();
            stored.is_some_and(|stored| stored.event.body_block().is_some())
        };
        if asked_for < page || !wanted.iter().any(filled) {
            return;
        }
        page = MAX_IDS_PER_REQUEST;
    }
}

/// Fetches events by id, with their ancestors. Returns how many were new.
pub(super) async fn fetch(engine: &Engine, room: RoomId, peer: PeerId, ids: Vec<EventId>) -> Result<usize, PullError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let have = have(engine, room)?;
    let (events, _, _) = ask(engine, peer, &Request::Fetch { room, ids, have }).await?;
    deliver(engine, room, peer, events).await
}

pub(super) async fn ask(
    engine: &Engine,
    peer: PeerId,
    request: &Request,
) -> Result<(Vec<WireEvent>, HaveVector, bool), PullError> {
    let mut response = engine.network.request(peer, request).await;
    if matches!(response, Ok(Response::Refused(Refused::TooMany))) {
        tokio::time::sleep(TOO_MANY_PAUSE).await;
        response = engine.network.request(peer, request).await;
    }
    match response {
        Ok(Response::Events { events, have, more }) => Ok((events, have, more)),
        Ok(Response::Refused(refused)) => Err(PullError::Refused(refused)),
        Ok(Response::Differing { .. } | Response::Sections { .. } | Response::Slice { .. }) => {
            let _ = engine.network.count(peer, Count::EventsRefused(1)).await;
            Err(PullError::OffTopic)
        }
        Err(error) => {
            if matches!(error, RequestError::Malformed(_)) {
                let _ = engine.network.count(peer, Count::EventsRefused(1)).await;
            }
            Err(error.into())
        }
    }
}

/// Verifies what a peer answered and hands it to the room. Returns how many events were new.
pub(super) async fn deliver(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
    events: Vec<WireEvent>,
) -> Result<usize, PullError> {
    let _ = engine.network.count(peer, Count::Events(events.len() as u64)).await;
    let (events, refused): (Vec<Event>, usize) = intake::open_all(engine, room, events).await;
    if refused > 0 {
        let _ = engine.network.count(peer, Count::EventsRefused(refused as u64)).await;
    }
    let mut new = 0;
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        // In parts: each is one batch of the store, and a batch is whole or not at all.
        let mut bytes = 0;
        let mut part = Vec::new();
        while let Some(event) = events.next_if(|_| bytes < PART_BYTES) {
            bytes += event.header_block().len() + event.body_block().map_or(0, <[u8]>::len);
            part.push(event);
        }
        new += engine.room(room).ingest(part, Some(peer)).await?.new;
    }
    Ok(new)
}

pub(super) fn have(engine: &Engine, room: RoomId) -> Result<HaveVector, PullError> {
    let entry = engine.store().room(&room).map_err(|error| PostError::Store(std::sync::Arc::new(error)))?;
    Ok(entry.map(|entry| entry.outline.have().clone()).unwrap_or_default())
}

/// The right to pull a room from a peer, given back when dropped.
struct Turn<'a> {
    engine: &'a Engine,
    key: (PeerId, RoomId),
}

impl<'a> Turn<'a> {
    fn take(engine: &'a Engine, room: RoomId, peer: PeerId) -> Option<Self> {
        // Made only where the turn is free: dropping one gives the turn back.
        lock(&engine.pulling).insert((peer, room)).then(|| Turn { engine, key: (peer, room) })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.engine.pulling).remove(&self.key);
    }
}

/// The lead in catching up with a room, given back when dropped.
struct Lead<'a> {
    engine: &'a Engine,
    room: RoomId,
    peer: PeerId,
}

impl<'a> Lead<'a> {
    /// Waits until no other peer is bringing the room, or the one that should has brought nothing for a while.
    async fn take(engine: &'a Engine, room: RoomId, peer: PeerId) -> Self {
        loop {
            let now = Instant::now();
            {
                let mut leading = lock(&engine.leading);
                if leading.get(&room).is_none_or(|(_, brought)| now.duration_since(*brought) >= NOTHING_BROUGHT) {
                    leading.insert(room, (peer, now));
                    return Lead { engine, room, peer };
                }
            }
            tokio::time::sleep(LEAD_GLANCE).await;
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut leading = lock(&self.engine.leading);
        if leading.get(&self.room).is_some_and(|(leader, _)| *leader == self.peer) {
            leading.remove(&self.room);
        }
    }
}
