//! Pulling from one peer whatever it has, by whole vectors; what waits for others; and bodies that are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::event::{Event, Header, Lane};
use rocketmesh_protocol::have::{HaveVector, Sections, Tag};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::limits::MAX_IDS_PER_REQUEST;
use rocketmesh_protocol::sync::{AskId, unknown_heads};
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use tokio::time::{Instant, timeout};

use super::feed;
use crate::engine::history::{self, Gap};
use crate::engine::room::{Brought, PostError, RoomCommand, RoomHandle};
use crate::engine::{Engine, add, intake, lock};
use crate::network::{Count, RequestError, peer_id};

/// How many bytes of an answer go into a room at a time.
const PART_BYTES: usize = 512 * 1024;
/// Bodies that a peer is asked for at first, and how many times for more in one go.
const FIRST_BODIES: usize = 64;
const BODY_PAGES: usize = 256;
/// Peers and rooms of which is known how far they were asked.
const MOST_ASKED: usize = 4096;
/// Rounds of one pull that brought nothing new before it is given up.
const FRUITLESS_ROUNDS: usize = 2;
/// How long one pull in the background may go on, whatever it brings: there are few places for pulls, and a member that writes one
/// event for each answer would keep one for ever. What is left comes by the next.
pub(in crate::engine) const LONGEST_PULL: Duration = Duration::from_secs(120);
/// How long an event may wait for what it stands on before that is asked for.
const OVERTAKING: Duration = Duration::from_millis(300);
/// How long what waits is left to those who are bringing the room: while they bring something, and at all. After a cut questions stand
/// open for a while that nobody will answer.
const NOTHING_BROUGHT: Duration = Duration::from_millis(1500);
const LONGEST_BRINGING: Duration = Duration::from_secs(30);
/// How long a peer may take to bring what is asked for by id before another one is asked, and how many are. If none brings it in time
/// a pull takes the time that it needs.
const BY_ID: Duration = Duration::from_secs(4);
const ASKED_BY_ID: usize = 3;
/// How long to wait before asking again a peer that was asked too often.
pub(super) const TOO_MANY_PAUSE: Duration = Duration::from_secs(2);

/// Why a pull ended early. What was received until then is kept.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum PullError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the peer refused: {}", .0.word())]
    Refused(Refused),
    #[error("the peer answered something else than was asked")]
    OffTopic,
    #[error("the peer sent events that are not signed by whom they name, or are not of the room")]
    Unsound,
    #[error("the peer shows nothing of the room")]
    Empty,
    #[error("the peer names more of the room's state than it sends")]
    Withheld,
    #[error("the peer says that there is more, and sends nothing new")]
    NothingNew,
    #[error("another pull of the room from this peer is under way")]
    UnderWay,
    #[error(transparent)]
    Post(#[from] PostError),
}

/// Fetches what events of a room wait for, first by id from the peer that sent them, then by comparing everything. Not at
/// once: what comes by gossip over several servers overtakes itself all the time.
pub(in crate::engine) fn repair(engine: Engine, task: RoomHandle, room: RoomId, peer: PeerId) {
    engine.clone().background(async move {
        let begun = Instant::now();
        let (mut here, mut grew) = (engine.held_events(&room).unwrap_or(0), begun);
        loop {
            tokio::time::sleep(OVERTAKING).await;
            // What one peer brings may stand on what another one is bringing, as long as they bring something.
            let now = engine.held_events(&room).unwrap_or(0);
            if now != here {
                (here, grew) = (now, Instant::now());
            }
            let bringing = super::is_bringing(&engine, &room);
            if !bringing || grew.elapsed() >= NOTHING_BROUGHT || begun.elapsed() >= LONGEST_BRINGING {
                break;
            }
        }
        let wanted = task.wanted().await.unwrap_or_default();
        if wanted.is_empty() {
            let _ = task.send(RoomCommand::Repaired).await;
            return;
        }
        let answered = fetch_from_some(&engine, &task, room, peer).await;
        if task.state().await.ok().flatten().is_none_or(|(_, held)| held > 0) {
            let peer = answered.unwrap_or(peer);
            let _ = timeout(LONGEST_PULL, pull(&engine, room, peer, Sections::ALL)).await;
        }
        let _ = task.send(RoomCommand::Repaired).await;
    });
}

/// Asks for what a room waits for by id: whoever sent what waits, and where that one does not answer in time or does not have it either,
/// others of the room. One that is not there any more would else keep the room from being repaired until its connection ends. Returns
/// who answered first.
async fn fetch_from_some(engine: &Engine, task: &RoomHandle, room: RoomId, peer: PeerId) -> Option<PeerId> {
    let mut answered = None;
    let mut peers = vec![peer];
    for at in 0..ASKED_BY_ID {
        let wanted = task.wanted().await.unwrap_or_default();
        if wanted.is_empty() || wanted.len() > MAX_IDS_PER_REQUEST {
            break;
        }
        if at == 1 {
            peers.extend(others_of(engine, room, peer).await);
        }
        let Some(asked) = peers.get(at).copied() else { break };
        if let Ok(Ok(_)) = timeout(BY_ID, fetch(engine, room, asked, wanted)).await {
            answered = answered.or(Some(asked));
        }
    }
    answered
}

/// Connected servers of a room but for one, those with a direct connection first.
async fn others_of(engine: &Engine, room: RoomId, but: PeerId) -> Vec<PeerId> {
    let Ok((state, _)) = engine.state(room).await else { return Vec::new() };
    let servers: BTreeSet<PeerId> = state.servers().iter().map(peer_id).collect();
    let ready = engine.network.ready().await.unwrap_or_default();
    ready.into_iter().filter(|peer| *peer != but && servers.contains(peer)).collect()
}

/// Pulls a room from a peer until the peer has nothing more. One pull for a room and peer at a time.
pub(in crate::engine) async fn pull(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
    sections: Sections,
) -> Result<(), PullError> {
    pull_for(engine, room, peer, sections, None).await.map(|_| ())
}

/// As [`pull`], of all sections. Returns whether the peer has the whole room, as far as it knows: not where its own timeline has a
/// gap.
pub(in crate::engine) async fn pull_from_witness(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
) -> Result<bool, PullError> {
    pull_for(engine, room, peer, Sections::ALL, None).await
}

/// As [`pull_from_witness`], of some sections, for a question of the machine, which hears that something comes.
pub(super) async fn pull_for(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
    sections: Sections,
    question: Option<AskId>,
) -> Result<bool, PullError> {
    // Of a room whose history is on its way already, the machine has the rest brought.
    let comes = question.is_some() && engine.is_pulling_history(&room);
    if comes || engine.gap(&room) == Some(Gap::PutOff) {
        return history::outline(engine, room, peer).await.map(|()| false);
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
        let new = deliver(engine, room, peer, events, Brought::AsHistory).await?.new;
        add(&engine.counters.pulled, new);
        if let Some(question) = question.filter(|_| new > 0) {
            feed(engine, |machine, now| machine.heard(question, now));
        }
        if more {
            // A peer that says that there is more and sends nothing new has a gap itself, or nothing to say.
            fruitless = if new == 0 { fruitless + 1 } else { 0 };
            if received > 0 && fruitless < FRUITLESS_ROUNDS {
                continue;
            }
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
        return Ok(!more);
    }
}

/// Asks a peer for bodies that are missing here: a few each time, going round all of them, so that those that everybody has
/// dropped keep no others from being asked for; and more as long as it brings some.
pub(super) async fn fetch_bodies(engine: &Engine, room: RoomId, peer: PeerId) {
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
async fn fetch(engine: &Engine, room: RoomId, peer: PeerId, ids: Vec<EventId>) -> Result<usize, PullError> {
    Ok(fetch_all(engine, room, peer, ids).await?.new)
}

/// As [`fetch`]. Returns what became of them.
pub(in crate::engine) async fn fetch_all(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
    ids: Vec<EventId>,
) -> Result<Delivered, PullError> {
    if ids.is_empty() {
        return Ok(Delivered::default());
    }
    let have = have(engine, room)?;
    let (events, _, _) = ask(engine, peer, &Request::Fetch { room, ids, have }).await?;
    deliver(engine, room, peer, events, Brought::AsHistory).await
}

pub(in crate::engine) async fn ask(
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
        other => Err(off_topic(engine, peer, other).await),
    }
}

/// Counts against a peer that it answered something else than was asked, if it did.
pub(super) async fn off_topic(engine: &Engine, peer: PeerId, answer: Result<Response, RequestError>) -> PullError {
    if matches!(answer, Ok(_) | Err(RequestError::Malformed(_))) {
        let _ = engine.network.count(peer, Count::EventsRefused(1)).await;
    }
    match answer {
        Ok(_) => PullError::OffTopic,
        Err(error) => error.into(),
    }
}

/// What became of events that a peer sent.
#[derive(Debug, Default)]
pub(in crate::engine) struct Delivered {
    /// Those that were not here before.
    pub(in crate::engine) new: usize,
    /// Those that are no events of the room, or not signed by whom they name. Nothing of them is kept.
    pub(in crate::engine) unsound: usize,
    /// Events of the room that wait for others now.
    pub(super) waiting: usize,
    /// The highest sequence number of each lane that came.
    pub(super) reached: BTreeMap<(Tag, Lane), u64>,
}

impl Delivered {
    fn reach(&mut self, header: &Header) {
        let reached = self.reached.entry((Tag::of(header.origin.as_bytes()), header.lane)).or_default();
        *reached = header.seq.max(*reached);
    }
}

/// Verifies what a peer answered and hands it to the room.
pub(in crate::engine) async fn deliver(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
    events: Vec<WireEvent>,
    brought: Brought,
) -> Result<Delivered, PullError> {
    let _ = engine.network.count(peer, Count::Events(events.len() as u64)).await;
    let mut delivered = Delivered::default();
    for id in events.iter().map(|event| EventId::of_block(&event.header)) {
        // What is here already is not verified again, and has come all the same.
        if engine.store().contains(&id).unwrap_or(false)
            && let Ok(Some(stored)) = engine.store().event(&id)
            && stored.event.room() == room
        {
            delivered.reach(stored.event.header());
        }
    }
    let (events, refused): (Vec<Event>, usize) = intake::open_all(engine, room, events).await;
    if refused > 0 {
        let _ = engine.network.count(peer, Count::EventsRefused(refused as u64)).await;
        delivered.unsound = refused;
    }
    let mut events = events.into_iter().peekable();
    // Once at least: how many events wait is to be known also where nothing came.
    loop {
        // In parts: each is one batch of the store, and a batch is whole or not at all.
        let mut bytes = 0;
        let mut part = Vec::new();
        while let Some(event) = events.next_if(|_| bytes < PART_BYTES) {
            bytes += event.header_block().len() + event.body_block().map_or(0, <[u8]>::len);
            delivered.reach(event.header());
            part.push(event);
        }
        let ingested = engine.room(room).ingest_as(brought, part, Some(peer)).await?;
        delivered.new += ingested.new;
        delivered.waiting = ingested.waiting;
        if events.peek().is_none() {
            return Ok(delivered);
        }
    }
}

pub(in crate::engine) fn have(engine: &Engine, room: RoomId) -> Result<HaveVector, PullError> {
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
