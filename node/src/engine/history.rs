//! The timeline of a room that was joined by its state graph: what is not here of it, and how it comes.
//!
//! ```text
//!   join ──► state graph, verified ──► a moment's look at the timeline ──► the join is written, messages can be
//!                                            │
//!                                            ├── all of it came: no gap
//!                                            └── a gap ──► the newest messages, shown ahead of what they stand on
//!                                                     └──► the rest, from the oldest on: in the background, or once
//!                                                          somebody asks
//! ```
//!
//! Nothing is taken into the graph before all that it stands on is there. What is newer waits, on disk, and is shown as what
//! came ahead. A gap is open until what connected servers of the room have is here, and a restart does not close it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::is_gossiped;
use rocketmesh_protocol::event::{Content, Event, Lane};
use rocketmesh_protocol::have::{HaveVector, Sections};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::limits::{MAX_IDS_PER_REQUEST, MAX_RECENT_EVENTS};
use rocketmesh_protocol::sync::unknown_heads;
use rocketmesh_protocol::wire::{Request, WireEvent};
use rocketmesh_storage::{EventStore, StoreError};
use tokio::time::{Instant, timeout};

use super::room::{Brought, PostError};
use super::sync::{self, PullError};
use super::{Engine, add, lock};
use crate::config::HistoryMode;
use crate::network::{Count, origin};

/// Settings of rooms with a gap begin with this, followed by the room.
const SETTING: &str = "history/";
/// What such a setting says, and what it says once somebody asked for the rest.
const OPEN: &[u8] = b"open";
const REQUESTED: &[u8] = b"requested";

/// How long a join waits for the timeline, and then for its newest end. A room of a few thousand events is here by then.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How long one server may bring nothing before the next one is asked.
const NOTHING_BROUGHT: Duration = Duration::from_secs(5);
/// The pause between two rounds in which a gap is not closed; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// How many servers of a room that have nothing more close a gap for which something is known to be missing still: it may be
/// that nobody has it.
const WITNESSES: usize = 3;
/// How many rounds that bring nothing do so where there are fewer servers.
const FRUITLESS_ROUNDS: usize = 3;
/// The same where all servers that are connected have a gap themselves, some five minutes: whoever had the rest may be gone for
/// good, and those who are left have to go on.
const ROUNDS_WITHOUT_WITNESS: usize = 30;
/// Answers in a row that bring nothing new of a state graph before no more is asked for.
const FRUITLESS_ANSWERS: usize = 2;
/// Events that wait in a room, above which the rest is fetched though nobody asked: half of what may wait at all.
pub(super) const MOST_AHEAD: usize = 1024;

/// Why a part of a room's timeline is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// It is being fetched.
    Coming,
    /// It is fetched once somebody asks for it.
    PutOff,
}

/// The rooms with a gap.
#[derive(Debug)]
pub(super) struct Gaps {
    mode: HistoryMode,
    open: Mutex<BTreeMap<RoomId, Open>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    requested: bool,
    /// Whether a task sees to it.
    filling: bool,
    /// Whether that task is pulling right now.
    pulling: bool,
}

impl Gaps {
    pub(super) fn load(mode: HistoryMode, store: &EventStore) -> Result<Self, StoreError> {
        let read = |(name, value): (String, Vec<u8>)| {
            let room: RoomId = name.strip_prefix(SETTING)?.parse().ok()?;
            Some((room, Open { requested: value == REQUESTED, ..Open::default() }))
        };
        let open = store.settings(SETTING)?.into_iter().filter_map(read).collect();
        Ok(Gaps { mode, open: Mutex::new(open) })
    }
}

impl Engine {
    /// Whether a part of the room's timeline is not here, since the room was joined without it.
    pub(crate) fn gap(&self, room: &RoomId) -> Option<Gap> {
        let open = lock(&self.gaps.open).get(room).copied()?;
        let comes = open.requested || self.gaps.mode == HistoryMode::Background;
        Some(if comes { Gap::Coming } else { Gap::PutOff })
    }

    /// Has the rest of a room's timeline fetched, in the background. Returns whether there is anything to fetch.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn request_history(&self, room: RoomId) -> Result<bool, PostError> {
        if self.gap(&room).is_none() {
            return Ok(false);
        }
        self.save_setting(&setting(&room), Some(REQUESTED)).await?;
        if let Some(open) = lock(&self.gaps.open).get_mut(&room) {
            open.requested = true;
        }
        fill(self, room);
        Ok(true)
    }

    /// Messages of a room that came ahead of what they stand on and may be shown, the oldest first.
    pub(crate) async fn ahead(&self, room: RoomId) -> Result<Vec<Event>, PostError> {
        if self.gap(&room).is_none() { Ok(Vec::new()) } else { self.room(room).ahead().await }
    }

    /// Whether the timeline of a room with a gap is being pulled right now: what else brought it would bring it twice.
    pub(super) fn is_pulling_history(&self, room: &RoomId) -> bool {
        lock(&self.gaps.open).get(room).is_some_and(|open| open.pulling)
    }

    fn note_pulling_history(&self, room: &RoomId, pulling: bool) {
        if let Some(open) = lock(&self.gaps.open).get_mut(room) {
            open.pulling = pulling;
        }
    }

    /// Goes on with what is missing since before the node stopped.
    pub(super) fn fill_gaps(&self) {
        let rooms: Vec<RoomId> = lock(&self.gaps.open).keys().copied().collect();
        for room in rooms.into_iter().filter(|room| self.follows(room)) {
            fill(self, room);
        }
    }

    /// Notes that of this room the state graph comes first.
    async fn open_gap(&self, room: RoomId) -> Result<(), PostError> {
        if self.gap(&room).is_none() {
            // On disk before anything of the room is: a room that is here in part must not pass for a whole one.
            self.save_setting(&setting(&room), Some(OPEN)).await?;
            lock(&self.gaps.open).entry(room).or_default();
        }
        Ok(())
    }

    async fn close_gap(&self, room: RoomId) {
        match self.save_setting(&setting(&room), None).await {
            Ok(()) => {
                lock(&self.gaps.open).remove(&room);
                tracing::info!(%room, "the room's whole timeline is here");
            }
            Err(error) => tracing::warn!(%room, %error, "that a room's timeline is whole was not noted"),
        }
    }
}

/// The rooms in a store of whose timelines a part is not here, since they were joined without it.
///
/// # Errors
/// [`StoreError`].
pub fn rooms_with_gaps(store: &EventStore) -> Result<Vec<RoomId>, StoreError> {
    let room = |(name, _): (String, Vec<u8>)| name.strip_prefix(SETTING)?.parse::<RoomId>().ok();
    Ok(store.settings(SETTING)?.into_iter().filter_map(room).collect())
}

fn setting(room: &RoomId) -> String {
    format!("{SETTING}{room}")
}

/// Fetches what it takes to join a room of which nothing or only a part is here: the state graph. Of a room that is not for
/// everybody, members are handed all, and the invited are told that they are.
pub(super) async fn begin(engine: &Engine, room: RoomId, peer: PeerId) -> Result<(), PullError> {
    match state_graph(engine, room, peer, false).await? {
        Shown::Whole => Ok(()),
        Shown::InPart => Err(PullError::Withheld),
        Shown::NotForEverybody => sync::pull(engine, room, peer, Sections::ALL).await,
    }
}

/// As [`begin`], for a member of a room that is not for everybody.
pub(super) async fn begin_as_member(engine: &Engine, room: RoomId, peer: PeerId) -> Result<(), PullError> {
    let here = engine.store().contains(&EventId::from(room)).map_err(|error| PostError::Store(Arc::new(error)))?;
    if here && engine.gap(&room).is_none() {
        return sync::pull(engine, room, peer, Sections::ALL).await;
    }
    state_graph(engine, room, peer, true).await?;
    first_look(engine, room, peer).await;
    Ok(())
}

/// What a peer showed of a room's state graph.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// All of it, as far as the peer says.
    Whole,
    /// Less than its have-vector names.
    InPart,
    /// Nothing was taken in, since the room is not for everybody.
    NotForEverybody,
}

/// Pulls a room's state graph from a peer until the peer has nothing more of it. One that sends what is unsound is left at once; what
/// was sound of it is kept. Without `member`, nothing is taken in of a room that is not for everybody.
async fn state_graph(engine: &Engine, room: RoomId, peer: PeerId, member: bool) -> Result<Shown, PullError> {
    engine.store().check_space().map_err(|error| PostError::Store(Arc::new(error)))?;
    let mut known = engine.gap(&room).is_some();
    let mut fruitless = 0;
    // Whether the peer has shown that it has anything of the room.
    let mut holds = false;
    loop {
        let have = sync::have(engine, room)?.lane_only(Lane::State);
        let (events, theirs, more) = ask_for_state(engine, room, peer, have).await?;
        if !known {
            let Some(gossiped) = for_everybody(&events, room) else {
                let _ = engine.network.count(peer, Count::EventsRefused(events.len().max(1) as u64)).await;
                return Err(if events.is_empty() { PullError::Empty } else { PullError::Unsound });
            };
            if !gossiped && !member {
                return Ok(Shown::NotForEverybody);
            }
            engine.open_gap(room).await?;
            known = true;
        }
        holds |= has_beginning(&events, room);
        let new = deliver_state(engine, room, peer, events).await?;
        // A peer that says that there is more and sends nothing new has nothing to say.
        fruitless = if new == 0 { fruitless + 1 } else { 0 };
        if more {
            if fruitless < FRUITLESS_ANSWERS {
                continue;
            }
            return Err(PullError::NothingNew);
        }
        if !holds && !names_beginning(engine, room, &theirs)? && !shows_beginning(engine, room, peer).await? {
            return Err(PullError::Empty);
        }
        holds = true;
        let store = engine.store();
        let mut heads = unknown_heads(&theirs, |id| store.contains(id).unwrap_or(true));
        heads.truncate(MAX_IDS_PER_REQUEST);
        if heads.is_empty() {
            return Ok(Shown::Whole);
        }
        if fruitless >= FRUITLESS_ANSWERS {
            return Ok(Shown::InPart);
        }
        let fetched = sync::fetch_all(engine, room, peer, heads).await?;
        if fetched.unsound > 0 {
            return Err(PullError::Unsound);
        }
        if fetched.new == 0 {
            return Ok(Shown::InPart);
        }
    }
}

/// Asks for what a have-vector lacks of the state graph. Returns events, the peer's own vector, and whether there is more.
async fn ask_for_state(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
    have: HaveVector,
) -> Result<(Vec<WireEvent>, HaveVector, bool), PullError> {
    let request = Request::Pull { room, sections: Sections::ALL, state_only: true, have };
    let (mut events, theirs, more) = sync::ask(engine, peer, &request).await?;
    // What nobody asked for is passed over; what is no event is left to whoever counts such.
    events.retain(|event| !event.decode().is_ok_and(|event| event.lane() != Lane::State));
    Ok((events, theirs.lane_only(Lane::State), more))
}

/// Takes in a part of the state graph. Returns how many of its events were new.
async fn deliver_state(
    engine: &Engine,
    room: RoomId,
    peer: PeerId,
    events: Vec<WireEvent>,
) -> Result<usize, PullError> {
    let delivered = sync::deliver(engine, room, peer, events, Brought::AsHistory).await?;
    add(&engine.counters.pulled, delivered.new);
    if delivered.unsound > 0 { Err(PullError::Unsound) } else { Ok(delivered.new) }
}

fn has_beginning(events: &[WireEvent], room: RoomId) -> bool {
    events.iter().any(|event| EventId::of_block(&event.header) == EventId::from(room))
}

/// Whether a have-vector names the chain that begins with the room.
fn names_beginning(engine: &Engine, room: RoomId, theirs: &HaveVector) -> Result<bool, PullError> {
    let create = engine.store().event(&EventId::from(room)).map_err(|error| PostError::Store(Arc::new(error)))?;
    Ok(create.is_some_and(|create| theirs.lane(create.event.header().origin, Lane::State).is_some()))
}

/// Whether a peer that has nothing new and names nothing has the room all the same: a server that was in the room once is not
/// told what there is now, and gets its beginning whenever it asks from there.
async fn shows_beginning(engine: &Engine, room: RoomId, peer: PeerId) -> Result<bool, PullError> {
    let (events, ..) = ask_for_state(engine, room, peer, HaveVector::new()).await?;
    let shows = has_beginning(&events, room);
    deliver_state(engine, room, peer, events).await?;
    Ok(shows)
}

/// Whether the room that begins with one of these events is for everybody; none if its beginning is not among them.
fn for_everybody(events: &[WireEvent], room: RoomId) -> Option<bool> {
    let create =
        events.iter().filter_map(|event| event.decode().ok()).find(|event| event.id() == EventId::from(room))?;
    match create.verify().ok()?.content().ok()? {
        Content::Create { room_type, .. } => Some(is_gossiped(room_type)),
        _ => None,
    }
}

/// What a join waits for, for a moment: a small room is here whole then, and of a large one the newest end.
pub(super) async fn first_look(engine: &Engine, room: RoomId, holder: PeerId) {
    if engine.gap(&room) == Some(Gap::Coming) {
        let pulled = timeout(FIRST_LOOK, sync::pull_from_witness(engine, room, holder)).await;
        if matches!(pulled, Ok(Ok(true))) && is_connected(engine, room).await {
            engine.close_gap(room).await;
        }
    }
    if engine.gap(&room).is_some() {
        let outcome = timeout(FIRST_LOOK, newest(engine, room, holder)).await;
        tracing::debug!(%room, %holder, ?outcome, "the room is joined before all of its timeline is here");
    }
}

/// What is fetched of a room whose history is put off: the state graph and the newest end of the timeline.
pub(super) async fn outline(engine: &Engine, room: RoomId, peer: PeerId) -> Result<(), PullError> {
    state_graph(engine, room, peer, true).await?;
    newest(engine, room, peer).await
}

/// Asks for the newest end of the timeline.
async fn newest(engine: &Engine, room: RoomId, peer: PeerId) -> Result<(), PullError> {
    let mut known: Vec<EventId> = engine.room(room).ahead().await?.iter().map(Event::id).collect();
    // The newest stand last, and are what the peer would send.
    let known = known.split_off(known.len().saturating_sub(MAX_IDS_PER_REQUEST));
    let (mut events, ..) = sync::ask(engine, peer, &Request::Recent { room, known }).await?;
    events.truncate(MAX_RECENT_EVENTS);
    let new = sync::deliver(engine, room, peer, events, Brought::AsNews).await?.new;
    add(&engine.counters.pulled, new);
    Ok(())
}

/// Finds out, before this node's first word in a room since its start, whether a peer knows more of what it has said there.
pub(super) async fn find_own(engine: &Engine, room: RoomId, peer: PeerId) -> Result<(), PullError> {
    if engine.gap(&room).is_none() {
        return sync::pull(engine, room, peer, Sections::ALL).await;
    }
    state_graph(engine, room, peer, true).await?;
    let sections = Sections::of(&engine.origin);
    let have = sync::have(engine, room)?.within(sections);
    let request = Request::Pull { room, sections, state_only: false, have };
    let (_, theirs, _) = sync::ask(engine, peer, &request).await?;
    let own = theirs.lane(engine.origin, Lane::Timeline);
    let store = engine.store();
    let here = |id: &EventId| store.contains(id).unwrap_or(false);
    if own.is_none_or(|lane| lane.heads.iter().all(|(_, head)| here(head))) {
        return Ok(());
    }
    // Going on beside what it has said would fork its chain, and that stands on what others said.
    engine.request_history(room).await?;
    sync::pull(engine, room, peer, Sections::ALL).await
}

/// Sees to it, in the background, that what is missing of a room's timeline comes, unless a task does already.
pub(super) fn fill(engine: &Engine, room: RoomId) {
    match lock(&engine.gaps.open).get_mut(&room) {
        Some(open) if !open.filling => open.filling = true,
        _ => return,
    }
    let own = engine.clone();
    engine.background(async move {
        loop {
            let put_off = fill_now(&own, room).await == Filled::PutOff;
            let mut gaps = lock(&own.gaps.open);
            let Some(open) = gaps.get_mut(&room) else { return };
            // Somebody may have asked for the rest meanwhile.
            if !(put_off && open.requested) {
                open.filling = false;
                return;
            }
        }
    });
}

/// What came of seeing to a gap.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// The newest end is here, and nobody asked for more.
    PutOff,
    /// There is nothing more to do.
    Done,
}

async fn fill_now(engine: &Engine, room: RoomId) -> Filled {
    let mut pause = FIRST_PAUSE;
    let mut fruitless = 0;
    let mut without_witness = 0;
    while engine.follows(&room)
        && let Some(gap) = engine.gap(&room)
    {
        if gap == Gap::Coming {
            leave_to_others(engine, room).await;
        }
        let Ok(peers) = members(engine, room).await else { return Filled::Done };
        let before = engine.held_events(&room).unwrap_or(0);
        let (mut ended, mut parts) = (0, 0);
        for peer in peers {
            if gap == Gap::PutOff {
                // Whoever wants more asks for it.
                if matches!(timeout(NOTHING_BROUGHT, outline(engine, room, peer)).await, Ok(Ok(()))) {
                    return Filled::PutOff;
                }
                continue;
            }
            match pull_to_the_end(engine, room, peer).await {
                End::OfRoom => ended += 1,
                End::OfPart => parts += 1,
                End::Early => {}
            }
            if ended == WITNESSES || ended > 0 && is_connected(engine, room).await {
                break;
            }
        }
        if gap == Gap::Coming && ended + parts > 0 {
            let new = engine.held_events(&room).unwrap_or(0) > before;
            fruitless = if new { 0 } else { fruitless + usize::from(ended > 0) };
            without_witness = if new || ended > 0 { 0 } else { without_witness + 1 };
            let nobody_has_it = !new && (ended >= WITNESSES || fruitless >= FRUITLESS_ROUNDS);
            let lost = without_witness >= ROUNDS_WITHOUT_WITNESS;
            if nobody_has_it || lost || ended > 0 && is_connected(engine, room).await {
                engine.close_gap(room).await;
                // What others have beside that was left alone meanwhile.
                sync::spread(engine.clone(), room);
                return Filled::Done;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
    Filled::Done
}

/// Waits while comparisons have the room brought, for as long as that brings something and no longer than one pull may take.
async fn leave_to_others(engine: &Engine, room: RoomId) {
    let end = Instant::now() + sync::LONGEST_PULL;
    let mut before = engine.held_events(&room).unwrap_or(0);
    while sync::is_bringing(engine, &room) && Instant::now() < end {
        tokio::time::sleep(FIRST_PAUSE).await;
        let now = engine.held_events(&room).unwrap_or(0);
        if now == before {
            return;
        }
        before = now;
    }
}

/// The connected servers of a room.
async fn members(engine: &Engine, room: RoomId) -> Result<Vec<PeerId>, PostError> {
    let (state, _) = engine.state(room).await?;
    let mut ready = engine.network.ready().await.map_err(|_| PostError::Closed)?;
    ready.retain(|peer| origin(peer).is_some_and(|origin| state.has_member(origin)));
    Ok(ready)
}

/// How a pull of a gap's rest ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server has nothing more, and no gap as far as it knows.
    OfRoom,
    /// The server has nothing more, and a gap itself.
    OfPart,
    /// The server brought nothing for too long, or refused, or had too much for one pull.
    Early,
}

/// Pulls a room from a peer for as long as it brings something, and no longer than one pull may take.
async fn pull_to_the_end(engine: &Engine, room: RoomId, peer: PeerId) -> End {
    engine.note_pulling_history(&room, true);
    let ended = pull_while_it_brings(engine, room, peer).await;
    engine.note_pulling_history(&room, false);
    ended
}

async fn pull_while_it_brings(engine: &Engine, room: RoomId, peer: PeerId) -> End {
    let pull = sync::pull_from_witness(engine, room, peer);
    tokio::pin!(pull);
    let end = Instant::now() + sync::LONGEST_PULL;
    let mut before = engine.held_events(&room).unwrap_or(0);
    loop {
        tokio::select! {
            outcome = &mut pull => return match outcome {
                Ok(true) => End::OfRoom,
                Ok(false) => End::OfPart,
                Err(error) => {
                    tracing::debug!(%room, %peer, %error, "a server did not bring the whole timeline");
                    End::Early
                }
            },
            () = tokio::time::sleep(NOTHING_BROUGHT) => {
                let now = engine.held_events(&room).unwrap_or(0);
                if now == before || Instant::now() >= end {
                    return End::Early;
                }
                before = now;
            }
        }
    }
}

/// Whether nothing that is here points to anything of the timeline that is not.
async fn is_connected(engine: &Engine, room: RoomId) -> bool {
    let waiting = engine.state(room).await.map_or(1, |(_, waiting)| waiting);
    waiting == 0 && !engine.store().lacks_sighted(&room).unwrap_or(true)
}
