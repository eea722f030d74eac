//! Answering other servers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

use rocketmesh_protocol::event::OrderKey;
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::limits::{MAX_EVENTS_PER_RESPONSE, RESPONSE_EVENT_BUDGET};
use rocketmesh_protocol::sync::{ChainRange, lacking, unknown_heads};
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use rocketmesh_storage::{Participation, StoreError, StoredEvent};
use tokio::time::Instant;

use super::{Engine, add, files, sync};
use crate::network::IncomingRequest;

/// How many links of a chain are read at a time.
const PAGE: usize = 256;
/// How long after an answer the asking side is asked for what is missing here.
const ASK_BACK: Duration = Duration::from_millis(500);
/// The most ancestors that a fetch by id brings along; a larger gap is pulled instead.
const MAX_ANCESTORS: usize = 1024;

/// Answers one request.
pub(super) async fn serve(engine: Engine, incoming: IncomingRequest) {
    let peer = incoming.peer;
    let response = if !engine.policy.may_federate(&peer) {
        let _ = engine.network.exclude(vec![(peer, true)]).await;
        Response::Refused(Refused::Policy)
    } else if !engine.policy.may_request(&peer, Instant::now()) {
        Response::Refused(Refused::TooMany)
    } else if let Request::File { room, file, range } = &incoming.request {
        files::answer(&engine, peer, *room, *file, *range).await
    } else {
        answer(&engine, &incoming.request).unwrap_or_else(|error| {
            add(&engine.counters.store_errors, 1);
            tracing::warn!(%error, "a request cannot be answered");
            Response::Refused(Refused::Other)
        })
    };
    // What was read may be in the store and not yet on disk; nothing is told before it is.
    let response = match response {
        Response::Events { .. } if engine.committer.sync().await.is_err() => Response::Refused(Refused::Other),
        response => response,
    };
    add(&engine.counters.served, 1);
    if let Request::Pull { room, sections, have } = &incoming.request
        && matches!(response, Response::Events { .. })
    {
        // Whoever asks may have what is missing here.
        let store = engine.store();
        if !unknown_heads(have, |id| store.contains(id).unwrap_or(true)).is_empty() {
            // Not at once: two servers that refuse each other's events would ask each other without pause.
            let (own, room, sections) = (engine.clone(), *room, *sections);
            engine.background(async move {
                tokio::time::sleep(ASK_BACK).await;
                sync::spawn_pull(own, room, peer, sections);
            });
        }
    }
    let _ = engine.network.respond(incoming, &response).await;
}

fn answer(engine: &Engine, request: &Request) -> Result<Response, StoreError> {
    match request {
        Request::Compare { digests } => {
            let differs =
                |(room, theirs): (&RoomId, &[u8; 32])| engine.digest(room).filter(|ours| ours != theirs).map(|_| *room);
            Ok(Response::Differing { rooms: digests.iter().filter_map(differs).collect() })
        }
        Request::Sections { room } => match followed_have(engine, room)? {
            Some(ours) => Ok(Response::Sections { digests: Box::new(ours.section_digests()) }),
            None => Ok(Response::Refused(Refused::UnknownRoom)),
        },
        Request::Pull { room, sections, have } => {
            let Some(ours) = followed_have(engine, room)? else { return Ok(Response::Refused(Refused::UnknownRoom)) };
            let (ours, have) = (ours.within(*sections), &have.within(*sections));
            let ranges = lacking(have, &ours, |id| engine.store().contains(id).unwrap_or(false));
            let (events, more) = Merge::new(engine, *room, have, ranges)?.take()?;
            Ok(Response::Events { events, have: ours, more })
        }
        Request::Fetch { room, ids, have } => {
            if followed_have(engine, room)?.is_none() {
                return Ok(Response::Refused(Refused::UnknownRoom));
            }
            let (events, more) = with_ancestors(engine, *room, ids, have)?;
            Ok(Response::Events { events, have: HaveVector::new(), more })
        }
        // What waits for a disk is answered elsewhere.
        Request::File { .. } => Ok(Response::Refused(Refused::Other)),
    }
}

fn followed_have(engine: &Engine, room: &RoomId) -> Result<Option<HaveVector>, StoreError> {
    let entry = engine.store().room(room)?.filter(|entry| entry.participation == Participation::Joined);
    Ok(entry.map(|entry| entry.outline.have().clone()))
}

/// Chains merged into the room's order, so that whoever receives them never has to hold an event for long.
struct Merge<'a> {
    engine: &'a Engine,
    room: RoomId,
    theirs: &'a HaveVector,
    chains: Vec<Chain>,
    next: BinaryHeap<Reverse<(OrderKey, usize)>>,
    loaded: BTreeMap<EventId, StoredEvent>,
}

struct Chain {
    range: ChainRange,
    links: VecDeque<(u64, EventId)>,
    exhausted: bool,
}

impl<'a> Merge<'a> {
    fn new(
        engine: &'a Engine,
        room: RoomId,
        theirs: &'a HaveVector,
        ranges: Vec<ChainRange>,
    ) -> Result<Self, StoreError> {
        let chains = ranges
            .into_iter()
            .map(|range| Chain { range, links: VecDeque::new(), exhausted: false })
            .collect::<Vec<_>>();
        let mut merge = Merge { engine, room, theirs, chains, next: BinaryHeap::new(), loaded: BTreeMap::new() };
        for chain in 0..merge.chains.len() {
            merge.advance(chain)?;
        }
        Ok(merge)
    }

    /// Puts the chain's next event into the race.
    fn advance(&mut self, at: usize) -> Result<(), StoreError> {
        let store = self.engine.store();
        loop {
            let chain = &mut self.chains[at];
            let Some((_, id)) = chain.links.pop_front() else {
                if chain.exhausted {
                    return Ok(());
                }
                let ChainRange { origin, lane, from_seq } = chain.range;
                let mut links = store.chain(&self.room, origin, lane, from_seq, PAGE)?;
                chain.exhausted = links.len() < PAGE;
                if !chain.exhausted {
                    // The last sequence number may go on on the next page, where it is read whole.
                    let last = links[links.len() - 1].0;
                    if links[0].0 < last {
                        links.retain(|(seq, _)| *seq < last);
                        chain.range.from_seq = last;
                    } else {
                        // Hundreds of forks of one place: enough of them for one answer.
                        chain.range.from_seq = last + 1;
                    }
                }
                let theirs = self.theirs.lane(origin, lane);
                links.retain(|link| theirs.is_none_or(|theirs| !theirs.heads.contains(link)));
                chain.links = links.into();
                continue;
            };
            let stored = store.event(&id)?.ok_or_else(|| missing(&id))?;
            self.next.push(Reverse((stored.event.order(), at)));
            self.loaded.insert(id, stored);
            return Ok(());
        }
    }

    /// Takes events until the budget is spent, and tells whether any are left.
    fn take(mut self) -> Result<(Vec<WireEvent>, bool), StoreError> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(Reverse((order, at))) = self.next.pop() {
            let Some(stored) = self.loaded.remove(&order.id) else { continue };
            let event = WireEvent::of(&stored.event);
            bytes += event.len();
            if (bytes > RESPONSE_EVENT_BUDGET || events.len() == MAX_EVENTS_PER_RESPONSE) && !events.is_empty() {
                return Ok((events, true));
            }
            events.push(event);
            self.advance(at)?;
        }
        Ok((events, false))
    }
}

/// The events themselves and, as far as they fit, the ancestors that the other side lacks.
fn with_ancestors(
    engine: &Engine,
    room: RoomId,
    ids: &[EventId],
    theirs: &HaveVector,
) -> Result<(Vec<WireEvent>, bool), StoreError> {
    let store = engine.store();
    let has = |stored: &StoredEvent| {
        let header = stored.event.header();
        theirs
            .lane(header.origin, header.lane)
            .is_some_and(|lane| !lane.forked() && lane.lowest <= header.seq && header.seq <= lane.highest().0)
    };
    let mut found: BTreeMap<OrderKey, StoredEvent> = BTreeMap::new();
    let mut seen: BTreeSet<EventId> = ids.iter().copied().collect();
    let mut queue: VecDeque<(EventId, bool)> = ids.iter().map(|id| (*id, true)).collect();
    let mut more = false;
    while let Some((id, asked)) = queue.pop_front() {
        let Some(stored) = store.event(&id)? else { continue };
        if stored.event.room() != room || !asked && has(&stored) {
            continue;
        }
        if found.len() >= ids.len() + MAX_ANCESTORS {
            more = true;
            break;
        }
        queue.extend(stored.event.header().references().filter(|id| seen.insert(**id)).map(|id| (*id, false)));
        found.insert(stored.event.order(), stored);
    }
    let mut events = Vec::new();
    let mut bytes = 0;
    for stored in found.into_values() {
        let event = WireEvent::of(&stored.event);
        bytes += event.len();
        if (bytes > RESPONSE_EVENT_BUDGET || events.len() == MAX_EVENTS_PER_RESPONSE) && !events.is_empty() {
            more = true;
            break;
        }
        events.push(event);
    }
    Ok((events, more))
}

fn missing(id: &EventId) -> StoreError {
    StoreError::Damaged(format!("event {id} is in an index and not in the store"))
}

impl Engine {
    /// The digest of a room that this node follows.
    pub(crate) fn digest(&self, room: &RoomId) -> Option<[u8; 32]> {
        let known = *self.followed.read().unwrap_or_else(PoisonError::into_inner).get(room)?;
        if known.is_some() {
            return known;
        }
        let digest = self.store().room(room).ok().flatten()?.outline.have().digest();
        // An event that was written meanwhile makes this stale; the task that wrote it resets it after the write.
        if let Some(cached) = self.followed.write().unwrap_or_else(PoisonError::into_inner).get_mut(room) {
            *cached = Some(digest);
        }
        Some(digest)
    }
}
