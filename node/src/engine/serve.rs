//! Answering other servers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::{Access, reads_from_join};
use rocketmesh_protocol::event::{Event, Lane, OrderKey, UnverifiedEvent};
use rocketmesh_protocol::have::{Brief, HaveVector, Sketch, short_digest};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::limits::{
    BROUGHT_EVENT_BUDGET, MAX_EVENTS_PER_RESPONSE, MAX_NUMBER, MAX_RECENT_EVENTS, MAX_ROOMS_SKETCHED,
    RESPONSE_EVENT_BUDGET,
};
use rocketmesh_protocol::sync::{ChainRange, Stretch, lacking, unknown_heads};
use rocketmesh_protocol::wire::{Refused, Request, Response, WireEvent};
use rocketmesh_storage::{Participation, StoreError, StoredEvent};
use tokio::time::Instant;

use super::{Engine, add, direct, ephemeral, files, lock, sync};
use crate::network::{Count, IncomingRequest, origin};

/// How many links of a chain are read at a time.
const PAGE: usize = 256;
/// Pages of the room's order that are looked through for the end of its timeline: state events stand there too.
const RECENT_PAGES: usize = 8;
/// Forks of one place that are sent with the stretch of a chain that they are in, at the end of what is read of it.
const FORKS: u64 = 8;
/// The most events that are looked at for a server that is not in the room any longer, and how many at a time. What it may read
/// and stands behind more than that which it may not, it does not get.
const MOST_PAST: usize = 4_096;
const PAST_PAGE: usize = 256;
/// The most ancestors that a fetch by id brings along; a larger gap is pulled instead.
const MAX_ANCESTORS: usize = 1024;

/// Has a request answered when its peer's turn comes. Where too many wait, one of those who ask most is refused instead; whoever is
/// refused asks again later, or somebody else.
pub(super) async fn take_in(engine: &Engine, incoming: IncomingRequest) {
    let refused = lock(&engine.turns).offer(incoming.peer, incoming);
    answer_next(engine);
    if let Some((peer, refused)) = refused {
        add(&engine.counters.requests_refused, 1);
        let _ = engine.network.count(peer, Count::RequestRefused).await;
        let _ = engine.network.respond(refused, &Response::Refused(Refused::TooMany)).await;
    }
}

/// Answers in the background whatever may be answered now.
fn answer_next(engine: &Engine) {
    loop {
        let next = lock(&engine.turns).take();
        let Some((peer, incoming)) = next else { return };
        let turn = Turn { engine: engine.clone(), peer };
        // The network's word that a peer is gone may have been dropped, and a request's time may be over before its turn comes.
        if !incoming.is_awaited() {
            continue;
        }
        engine.background(async move {
            let engine = turn.engine.clone();
            serve(engine.clone(), incoming).await;
            drop(turn);
            answer_next(&engine);
        });
    }
}

/// The right to have a request answered, given back when dropped, whatever became of the answer.
struct Turn {
    engine: Engine,
    peer: PeerId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.engine.turns).done(&self.peer);
    }
}

impl Engine {
    /// How many requests of others are being answered, and how many wait for their turn.
    pub(crate) fn requests_under_way(&self) -> (usize, usize) {
        let turns = lock(&self.turns);
        (turns.served(), turns.waiting())
    }
}

/// Answers one request.
async fn serve(engine: Engine, incoming: IncomingRequest) {
    let peer = incoming.peer;
    let response = if !engine.policy.may_federate(&peer) {
        let _ = engine.network.exclude(vec![(peer, true)]).await;
        Response::Refused(Refused::Policy)
    } else if !engine.policy.may_request(&peer, Instant::now()) {
        Response::Refused(Refused::TooMany)
    } else if let Request::File { room, file, range } = &incoming.request {
        files::answer(&engine, peer, *room, *file, *range).await
    } else {
        answer(&engine, peer, &incoming.request).await.unwrap_or_else(|error| {
            add(&engine.counters.store_errors, 1);
            tracing::warn!(%error, "a request cannot be answered");
            Response::Refused(Refused::Other)
        })
    };
    // What was read may be in the store and not yet on disk; nothing is told before it is.
    let response = match response {
        Response::Events { .. } | Response::Brought { .. } if engine.committer.sync().await.is_err() => {
            Response::Refused(Refused::Other)
        }
        response => response,
    };
    add(&engine.counters.served, 1);
    // Whoever asks may have what is missing here.
    let offered = match (&incoming.request, &response) {
        (Request::Bring { room, offers: true, .. }, Response::Brought { .. }) => engine.followed.named(room),
        (Request::Pull { room, have, state_only: false, .. }, Response::Events { .. })
            if engine.access(room, &peer).await == Access::Everything =>
        {
            let store = engine.store();
            let unknown = unknown_heads(have, |id| store.contains(id).unwrap_or(true));
            Some(*room).filter(|_| !unknown.is_empty())
        }
        _ => None,
    };
    if let Some(room) = offered {
        sync::asked_by(&engine, peer, room);
    }
    let _ = engine.network.respond(incoming, &response).await;
}

async fn answer(engine: &Engine, peer: PeerId, request: &Request) -> Result<Response, StoreError> {
    match request {
        Request::Compare { digests } => {
            let mut rooms = BTreeMap::new();
            for (place, (tag, theirs)) in (0_u64..).zip(digests) {
                let Some(room) = engine.followed.named(tag) else { continue };
                if engine.digest(&room).is_none_or(|ours| short_digest(&ours) == *theirs) {
                    continue;
                }
                let access = engine.access(&room, &peer).await;
                // A server that was removed and has not heard of it is told that there is something to come for.
                if access == Access::None && !engine.followed.gossips(&room) {
                    continue;
                }
                let sketch = match access {
                    Access::Everything => sketch(engine, &room, rooms.len() < MAX_ROOMS_SKETCHED)?,
                    _ => Sketch::Hidden,
                };
                rooms.insert(place, sketch);
            }
            Ok(Response::Compared { rooms })
        }
        Request::Entries { room, sections } => {
            let Some(room) = engine.followed.named(room) else { return Ok(Response::Refused(Refused::UnknownRoom)) };
            if let Err(refused) = entitled_to_all(engine, peer, &room).await {
                return Ok(Response::Refused(refused));
            }
            let Some(ours) = followed_have(engine, &room)? else { return Ok(Response::Refused(Refused::UnknownRoom)) };
            // Without a brief vector there is the whole one.
            let entries = Brief::of(&ours.within(*sections));
            Ok(entries.map_or(Response::Refused(Refused::Other), |entries| Response::Entries { entries }))
        }
        Request::Bring { room, stretches, .. } => {
            let Some(room) = engine.followed.named(room) else { return Ok(Response::Refused(Refused::UnknownRoom)) };
            if let Err(refused) = entitled_to_all(engine, peer, &room).await {
                return Ok(Response::Refused(refused));
            }
            let Some(ours) = followed_have(engine, &room)? else { return Ok(Response::Refused(Refused::UnknownRoom)) };
            let nothing = HaveVector::new();
            let merge = Merge::new(engine, room, &nothing, ranges(&ours, stretches))?;
            let (mut events, more) = merge.take(BROUGHT_EVENT_BUDGET)?;
            match veil(engine, room, peer, &mut events).await {
                Ok(()) => Ok(Response::Brought { events, more }),
                Err(refused) => Ok(Response::Refused(refused)),
            }
        }
        Request::Sections { room } => {
            let access = match entitled(engine, peer, room, false).await {
                Ok(access) => access,
                Err(refused) => return Ok(Response::Refused(refused)),
            };
            // Digests of what is there now would tell a server that was removed when something is said.
            match followed_have(engine, room)?.filter(|_| access == Access::Everything) {
                Some(ours) => Ok(Response::Sections { digests: Box::new(ours.section_digests()) }),
                None => Ok(Response::Refused(Refused::UnknownRoom)),
            }
        }
        Request::Pull { room, sections, state_only, have } => {
            let past = match entitled(engine, peer, room, *state_only).await {
                Ok(access) => access == Access::Past,
                Err(refused) => return Ok(Response::Refused(refused)),
            };
            let Some(ours) = followed_have(engine, room)? else { return Ok(Response::Refused(Refused::UnknownRoom)) };
            let (mut ours, have) = (ours.within(*sections), &have.within(*sections));
            if *state_only {
                ours = ours.lane_only(Lane::State);
            }
            let ranges = lacking(have, &ours, |id| engine.store().contains(id).unwrap_or(false));
            let ranges = ranges.into_iter().map(|range| (range, MAX_NUMBER)).collect();
            let merge = Merge::new(engine, *room, have, ranges)?;
            if past {
                let (found, more) = merge.outline(MOST_PAST)?;
                return past_events(engine, *room, peer, found, more).await;
            }
            let (mut events, mut more) = merge.take(RESPONSE_EVENT_BUDGET)?;
            // There is more than is here: nobody is to take the end of this for the end of the room.
            more |= !*state_only && engine.gap(room).is_some();
            match veil(engine, *room, peer, &mut events).await {
                Ok(()) => Ok(Response::Events { events, have: ours, more }),
                Err(refused) => Ok(Response::Refused(refused)),
            }
        }
        Request::Fetch { room, ids, have } => {
            let past = match entitled(engine, peer, room, false).await {
                Ok(access) => access == Access::Past,
                Err(refused) => return Ok(Response::Refused(refused)),
            };
            if followed_have(engine, room)?.is_none() {
                return Ok(Response::Refused(Refused::UnknownRoom));
            }
            let (found, mut more) = with_ancestors(engine, *room, ids, have)?;
            if past {
                let found = found.into_iter().map(|stored| stored.event.without_body()).collect();
                return past_events(engine, *room, peer, found, more).await;
            }
            let (mut events, cut) = within_budget(found.iter().map(|stored| Ok(WireEvent::of(&stored.event))))?;
            more |= cut;
            match veil(engine, *room, peer, &mut events).await {
                Ok(()) => Ok(Response::Events { events, have: HaveVector::new(), more }),
                Err(refused) => Ok(Response::Refused(refused)),
            }
        }
        Request::Recent { room, known } => {
            match entitled(engine, peer, room, false).await {
                Ok(Access::Everything) => {}
                Ok(_) => return Ok(Response::Refused(Refused::UnknownRoom)),
                Err(refused) => return Ok(Response::Refused(refused)),
            }
            if followed_have(engine, room)?.is_none() {
                return Ok(Response::Refused(Refused::UnknownRoom));
            }
            let mut events = recent(engine, room, known)?;
            match veil(engine, *room, peer, &mut events).await {
                Ok(()) => Ok(Response::Events { events, have: HaveVector::new(), more: false }),
                Err(refused) => Ok(Response::Refused(refused)),
            }
        }
        Request::Contacts { room } => match entitled_to_all(engine, peer, room).await {
            Ok(()) => Ok(sync::contacts(engine, peer, *room).await),
            Err(refused) => Ok(Response::Refused(refused)),
        },
        Request::Tell { room, events } => Ok(direct::take(engine, peer, *room, events.clone()).await),
        Request::Ephemeral { room, message } => {
            ephemeral::handed(engine, peer, *room, message).await;
            // The same whatever became of it: nobody learns from it who is in the room.
            Ok(Response::Differing { rooms: Vec::new() })
        }
        // What waits for a disk is answered elsewhere.
        Request::File { .. } => Ok(Response::Refused(Refused::Other)),
    }
}

/// The end of a room's timeline without what is known, the oldest first.
fn recent(engine: &Engine, room: &RoomId, known: &[EventId]) -> Result<Vec<WireEvent>, StoreError> {
    let known: BTreeSet<&EventId> = known.iter().collect();
    let mut events = Vec::new();
    let (mut seen, mut bytes) = (0, 0);
    let mut before = None;
    'pages: for _ in 0..RECENT_PAGES {
        let page = engine.store().order_before(room, before.as_ref(), PAGE)?;
        for key in &page {
            let stored = engine.store().event(&key.id)?.ok_or_else(|| missing(&key.id))?;
            if stored.event.header().lane != Lane::Timeline {
                continue;
            }
            seen += 1;
            if !known.contains(&key.id) {
                let event = WireEvent::of(&stored.event);
                bytes += event.len();
                if bytes > RESPONSE_EVENT_BUDGET && !events.is_empty() {
                    break 'pages;
                }
                events.push(event);
            }
            if seen == MAX_RECENT_EVENTS {
                break 'pages;
            }
        }
        before = page.last().copied();
        if page.len() < PAGE {
            break;
        }
    }
    events.reverse();
    Ok(events)
}

/// Takes what was said out of events of a member server that it may not read: in a room that is read from the join on, what was
/// said before. The headers stay, since what it reads stands on them.
pub(super) async fn veil(engine: &Engine, room: RoomId, peer: PeerId, events: &mut [WireEvent]) -> Result<(), Refused> {
    let state = engine.followed_state(&room).await.map_err(|_| Refused::Other)?;
    if !reads_from_join(&state) {
        return Ok(());
    }
    let server = origin(&peer).ok_or(Refused::UnknownRoom)?;
    for part in events.chunks_mut(PAST_PAGE) {
        let opened: Result<Vec<Event>, _> =
            part.iter().map(|event| event.decode().map(UnverifiedEvent::trust)).collect();
        let opened = opened.map_err(|_| Refused::Other)?;
        // In parts, so that the room goes on meanwhile.
        let readable = engine.room(room).readable(server, opened.clone()).await.map_err(|_| Refused::Other)?;
        for ((wire, event), readable) in part.iter_mut().zip(&opened).zip(readable) {
            if !readable && event.header().lane == Lane::Timeline {
                wire.body = None;
            }
        }
    }
    Ok(())
}

/// What the peer may read of the room, where that is what it asks for.
async fn entitled(engine: &Engine, peer: PeerId, room: &RoomId, state_only: bool) -> Result<Access, Refused> {
    match engine.access(room, &peer).await {
        Access::Everything => Ok(Access::Everything),
        Access::State if state_only => Ok(Access::State),
        Access::State => Err(Refused::Invited),
        Access::Past => Ok(Access::Past),
        Access::None if engine.followed.gossips(room) => Err(Refused::NotAdmitted),
        // Not even that there is such a room.
        Access::None => Err(Refused::UnknownRoom),
    }
}

/// Whether the peer may read all of the room.
async fn entitled_to_all(engine: &Engine, peer: PeerId, room: &RoomId) -> Result<(), Refused> {
    match entitled(engine, peer, room, false).await? {
        Access::Everything => Ok(()),
        _ => Err(Refused::UnknownRoom),
    }
}

/// The chains of which stretches are asked for, and where each stretch ends: of each chain the first that is named. Whoever named
/// one a thousand times would have each event of it read as often.
fn ranges(ours: &HaveVector, stretches: &[Stretch]) -> Vec<(ChainRange, u64)> {
    let known = sync::by_tag(ours);
    let mut named = BTreeSet::new();
    let of = |stretch: &Stretch| {
        let origins = known.get(&stretch.origin).into_iter().flatten();
        let range = |origin: &Origin| ChainRange { origin: *origin, lane: stretch.lane, from_seq: stretch.from };
        origins.map(|origin| (range(origin), stretch.to)).collect::<Vec<_>>()
    };
    stretches.iter().filter(|stretch| named.insert((stretch.origin, stretch.lane))).flat_map(of).collect()
}

/// Answers a server that was in the room once, of events in causal order: with those that it may read, and the headers of those
/// that they stand on, without which it could not take them in.
async fn past_events(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
    found: Vec<Event>,
    more: bool,
) -> Result<Response, StoreError> {
    let Some(server) = origin(&peer) else { return Ok(Response::Refused(Refused::UnknownRoom)) };
    let mut readable = Vec::with_capacity(found.len());
    for part in found.chunks(PAST_PAGE) {
        // In parts, so that the room goes on meanwhile.
        match engine.room(room).readable(server, part.to_vec()).await {
            Ok(part) => readable.extend(part),
            Err(_) => return Ok(Response::Refused(Refused::Other)),
        }
    }
    let mut needed: BTreeSet<EventId> = BTreeSet::new();
    let mut sent = vec![false; found.len()];
    for (at, event) in found.iter().enumerate().rev() {
        sent[at] = readable.get(at).copied().unwrap_or(false) || needed.contains(&event.id());
        if sent[at] {
            needed.extend(event.header().references().copied());
        }
    }
    let store = engine.store();
    let whole = found.into_iter().zip(readable).zip(sent).filter(|(_, sent)| *sent).map(|((event, readable), _)| {
        let stored = if readable { store.event(&event.id())? } else { None };
        Ok(WireEvent::of(stored.as_ref().map_or(&event, |stored| &stored.event)))
    });
    let (events, cut) = within_budget(whole)?;
    Ok(Response::Events { events, have: HaveVector::new(), more: cut || more })
}

/// Events until an answer is full, and whether that left any out.
fn within_budget(
    events: impl Iterator<Item = Result<WireEvent, StoreError>>,
) -> Result<(Vec<WireEvent>, bool), StoreError> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for event in events {
        let event = event?;
        bytes += event.len();
        if (bytes > RESPONSE_EVENT_BUDGET || taken.len() == MAX_EVENTS_PER_RESPONSE) && !taken.is_empty() {
            return Ok((taken, true));
        }
        taken.push(event);
    }
    Ok((taken, false))
}

/// What is told of a room to whoever may read all of it. A room that has not changed since somebody asked is not read again.
fn sketch(engine: &Engine, room: &RoomId, entries: bool) -> Result<Sketch, StoreError> {
    let Some((known, changed)) = engine.followed.sketch(room, entries) else { return Ok(Sketch::Hidden) };
    if let Some(known) = known {
        return Ok(known);
    }
    let Some(ours) = followed_have(engine, room)? else { return Ok(Sketch::Hidden) };
    let sketch = Sketch::of(&ours, entries);
    engine.followed.keep_sketch(room, changed, entries, &sketch);
    Ok(sketch)
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
    /// The last sequence number that is asked for.
    to: u64,
    links: VecDeque<(u64, EventId)>,
    exhausted: bool,
}

impl<'a> Merge<'a> {
    fn new(
        engine: &'a Engine,
        room: RoomId,
        theirs: &'a HaveVector,
        ranges: Vec<(ChainRange, u64)>,
    ) -> Result<Self, StoreError> {
        let chains = ranges
            .into_iter()
            .map(|(range, to)| Chain { range, to, links: VecDeque::new(), exhausted: false })
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
                if from_seq > chain.to {
                    return Ok(());
                }
                let page = (chain.to - from_seq).saturating_add(FORKS).min(PAGE as u64) as usize;
                let mut links = store.chain(&self.room, origin, lane, from_seq, page)?;
                chain.exhausted = links.len() < page;
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
                let (theirs, to) = (self.theirs.lane(origin, lane), chain.to);
                links.retain(|link| link.0 <= to && theirs.is_none_or(|theirs| !theirs.heads.contains(link)));
                chain.links = links.into();
                continue;
            };
            let stored = store.event(&id)?.ok_or_else(|| missing(&id))?;
            self.next.push(Reverse((stored.event.order(), at)));
            self.loaded.insert(id, stored);
            return Ok(());
        }
    }

    /// The next event in the room's order.
    fn next(&mut self) -> Result<Option<StoredEvent>, StoreError> {
        while let Some(Reverse((order, at))) = self.next.pop() {
            self.advance(at)?;
            if let Some(stored) = self.loaded.remove(&order.id) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// Takes events until this many bytes are spent, and tells whether any are left.
    fn take(mut self, budget: usize) -> Result<(Vec<WireEvent>, bool), StoreError> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(stored) = self.next()? {
            let event = WireEvent::of(&stored.event);
            bytes += event.len();
            if (bytes > budget || events.len() == MAX_EVENTS_PER_RESPONSE) && !events.is_empty() {
                return Ok((events, true));
            }
            events.push(event);
        }
        Ok((events, false))
    }

    /// Events without their bodies, up to a number of them, and whether there are more.
    fn outline(mut self, most: usize) -> Result<(Vec<Event>, bool), StoreError> {
        let mut events = Vec::new();
        while let Some(stored) = self.next()? {
            if events.len() == most {
                return Ok((events, true));
            }
            events.push(stored.event.without_body());
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
) -> Result<(Vec<StoredEvent>, bool), StoreError> {
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
    Ok((found.into_values().collect(), more))
}

fn missing(id: &EventId) -> StoreError {
    StoreError::Damaged(format!("event {id} is in an index and not in the store"))
}
