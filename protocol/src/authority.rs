//! Who may do what in a room: the rules of version `0-draft`.
//!
//! Whether an event is allowed is a pure function of the room's state at the state frontier that the event itself names.
//! The draft's rules are few: channels only, a server writes for its joined members only, the owner names the room. The full
//! rules take this module's place; nothing outside it knows a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::{Content, ContentError, Event, JoinLeave, Lane, OrderKey, Role, RoomType, RoomVersion};
use crate::id::EventId;
use crate::identity::{Origin, UserId};

/// How many resolved states a [`StateCache`] keeps. Events in flight name few different frontiers; a miss costs a replay.
const CACHED_STATES: usize = 64;

/// Why an event is not allowed. What becomes of it then, [`crate::receipt`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The content of a known kind cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Made under another version's rules.
    #[error("the event follows room version {event}, the room has {room}")]
    Version {
        /// The event's.
        event: RoomVersion,
        /// The room's.
        room: RoomVersion,
    },
    /// Private groups and direct rooms have no rules yet.
    #[error("rooms of type `{}` are not supported yet; create a channel", .0.letter())]
    RoomType(RoomType),
    /// A second create event, or an event that only a create event can be.
    #[error("a room has one create event and begins with it")]
    Create,
    /// The sender is not joined.
    #[error("{0} is not a member of the room; join it first")]
    NotAMember(UserId),
    /// The server has no joined member.
    #[error("server {0} has no member in the room")]
    NoMember(Origin),
    /// A user acts for another one.
    #[error("only {0} can do this")]
    NotOneself(UserId),
    /// What only an owner may do.
    #[error("only an owner of the room may do this")]
    NotOwner,
    /// A kind that needs a sender has none, or the other way round.
    #[error("the event's sender does not fit its kind")]
    Sender,
}

impl Refusal {
    /// A stable word for APIs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::Content(_) => "malformed_content",
            Refusal::Version { .. } => "room_version_mismatch",
            Refusal::RoomType(_) => "room_type_unsupported",
            Refusal::Create => "second_create",
            Refusal::NotAMember(_) => "not_a_member",
            Refusal::NoMember(_) => "server_not_in_room",
            Refusal::NotOneself(_) => "not_oneself",
            Refusal::NotOwner => "not_owner",
            Refusal::Sender => "sender_mismatch",
        }
    }
}

/// A room's state at some frontier: for each entry the event that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomState {
    version: RoomVersion,
    create: EventId,
    creator: UserId,
    room_type: RoomType,
    members: BTreeMap<UserId, (JoinLeave, EventId)>,
    roles: BTreeMap<UserId, (Role, EventId)>,
    name: Option<EventId>,
    topic: Option<EventId>,
    unknown: BTreeMap<(String, String), EventId>,
}

impl RoomState {
    /// The state that a create event makes.
    ///
    /// # Errors
    /// [`Refusal`] where the event cannot begin a room.
    pub fn created(event: &Event) -> Result<Self, Refusal> {
        let Content::Create { room_type } = event.content()? else { return Err(Refusal::Create) };
        let creator = event.sender().ok_or(Refusal::Sender)?;
        check_form(event.header().version, event)?;
        if event.header().room.is_some() {
            return Err(Refusal::Create);
        }
        if room_type != RoomType::Channel {
            return Err(Refusal::RoomType(room_type));
        }
        Ok(RoomState {
            version: event.header().version,
            create: event.id(),
            creator: creator.clone(),
            room_type,
            members: BTreeMap::from([(creator.clone(), (JoinLeave::Join, event.id()))]),
            roles: BTreeMap::from([(creator, (Role::Owner, event.id()))]),
            name: None,
            topic: None,
            unknown: BTreeMap::new(),
        })
    }

    /// The room's version.
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// The user who made the room.
    pub fn creator(&self) -> &UserId {
        &self.creator
    }

    /// The create event.
    pub fn create_event(&self) -> EventId {
        self.create
    }

    /// The room's type.
    pub fn room_type(&self) -> RoomType {
        self.room_type
    }

    /// The joined users, ascending.
    pub fn joined(&self) -> impl Iterator<Item = &UserId> {
        self.members.iter().filter(|(_, (change, _))| *change == JoinLeave::Join).map(|(user, _)| user)
    }

    /// Whether the user is joined.
    pub fn is_joined(&self, user: &UserId) -> bool {
        self.members.get(user).is_some_and(|(change, _)| *change == JoinLeave::Join)
    }

    /// Whether the server has a joined user.
    pub fn has_member(&self, origin: Origin) -> bool {
        self.joined().any(|user| user.origin == origin)
    }

    /// The servers with a joined user.
    pub fn servers(&self) -> BTreeSet<Origin> {
        self.joined().map(|user| user.origin).collect()
    }

    /// The user's role.
    pub fn role(&self, user: &UserId) -> Role {
        self.roles.get(user).map_or(Role::Member, |(role, _)| *role)
    }

    /// The event that named the room; none while its create event's body names it.
    pub fn name_event(&self) -> Option<EventId> {
        self.name
    }

    /// The event that set the topic.
    pub fn topic_event(&self) -> Option<EventId> {
        self.topic
    }

    /// State of kinds that this version does not know: (kind, state key) and the event that set it.
    pub fn unknown_entries(&self) -> impl Iterator<Item = (&(String, String), &EventId)> {
        self.unknown.iter()
    }

    /// Whether `event` is allowed at this state.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn authorize(&self, event: &Event) -> Result<(), Refusal> {
        check_form(self.version, event)?;
        let content = event.content()?;
        let origin = event.header().origin;
        if content == Content::Merge {
            return match event.sender() {
                Some(_) => Err(Refusal::Sender),
                None if self.has_member(origin) => Ok(()),
                None => Err(Refusal::NoMember(origin)),
            };
        }
        let sender = event.sender().ok_or(Refusal::Sender)?;
        if let Content::Member { user, change } = content {
            return match change {
                _ if user != sender => Err(Refusal::NotOneself(user)),
                JoinLeave::Leave if !self.is_joined(&user) => Err(Refusal::NotAMember(user)),
                JoinLeave::Join | JoinLeave::Leave => Ok(()),
            };
        }
        if !self.is_joined(&sender) {
            return Err(Refusal::NotAMember(sender));
        }
        match content {
            Content::Create { .. } => Err(Refusal::Create),
            Content::Name | Content::Role { .. } if self.role(&sender) != Role::Owner => Err(Refusal::NotOwner),
            _ => Ok(()),
        }
    }

    /// Sets what an allowed state event says.
    fn apply(&mut self, event: &Event) {
        let Ok(content) = event.content() else { return };
        match content {
            Content::Member { user, change } => {
                if change == JoinLeave::Leave && user != self.creator {
                    self.roles.remove(&user);
                }
                self.members.insert(user, (change, event.id()));
            }
            // The creator's ownership cannot be removed by others.
            Content::Role { user, role } if user != self.creator || event.sender().as_ref() == Some(&user) => {
                self.roles.insert(user, (role, event.id()));
            }
            Content::Name => self.name = Some(event.id()),
            Content::Topic => self.topic = Some(event.id()),
            Content::Unknown => {
                let key = event.header().state_key.clone().unwrap_or_default();
                self.unknown.insert((event.header().kind.clone(), key), event.id());
            }
            _ => {}
        }
    }
}

/// What holds for every event of a room, whatever its kind.
fn check_form(version: RoomVersion, event: &Event) -> Result<(), Refusal> {
    let header = event.header();
    if header.version != version || version != RoomVersion::DRAFT {
        return Err(Refusal::Version { event: header.version, room: version });
    }
    Ok(())
}

/// Where state events come from.
pub trait StateGraph {
    /// Why reading can fail; never the event's fault.
    type Error;

    /// A state event that was accepted; none for a rejected or unknown one.
    ///
    /// # Errors
    /// Whatever keeps the graph from being read.
    fn accepted_state(&self, id: &EventId) -> Result<Option<Event>, Self::Error>;
}

/// Resolved states by frontier. A cache only: dropping it changes no answer.
#[derive(Debug, Default)]
pub struct StateCache {
    states: BTreeMap<Vec<EventId>, (u64, Arc<RoomState>)>,
    clock: u64,
}

impl StateCache {
    /// The state at `frontier`: the replay of everything in its causal past, in room order. None where the past does not
    /// begin with a create event.
    ///
    /// # Errors
    /// Whatever `graph` fails with.
    pub fn at<G: StateGraph>(&mut self, frontier: &[EventId], graph: &G) -> Result<Option<Arc<RoomState>>, G::Error> {
        let mut frontier = frontier.to_vec();
        let wanted = frontier.clone();
        // A run of single-tip frontiers is a chain: walk it back to a state that is known, and replay only the run.
        let mut run = Vec::new();
        let mut state = loop {
            if let Some(state) = self.cached(&frontier) {
                break Some(state);
            }
            let [only] = frontier.as_slice() else { break replay(&frontier, graph)?.map(Arc::new) };
            let Some(event) = graph.accepted_state(only)? else { break None };
            if event.header().room.is_none() {
                break RoomState::created(&event).ok().map(Arc::new);
            }
            frontier.clone_from(&event.header().state_frontier);
            run.push(event);
        };
        if let Some(state) = state.as_mut().filter(|_| !run.is_empty()) {
            let state = Arc::make_mut(state);
            for event in run.iter().rev() {
                if state.authorize(event).is_ok() {
                    state.apply(event);
                }
            }
        }
        if let Some(state) = &state {
            self.remember(wanted, Arc::clone(state));
        }
        Ok(state)
    }

    fn cached(&mut self, frontier: &[EventId]) -> Option<Arc<RoomState>> {
        self.clock += 1;
        let (used, state) = self.states.get_mut(frontier)?;
        *used = self.clock;
        Some(Arc::clone(state))
    }

    fn remember(&mut self, frontier: Vec<EventId>, state: Arc<RoomState>) {
        self.clock += 1;
        self.states.insert(frontier, (self.clock, state));
        if self.states.len() > CACHED_STATES {
            let oldest = self.states.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            self.states.remove(&oldest.unwrap_or_default());
        }
    }
}

/// Replays the whole causal past of `frontier`.
fn replay<G: StateGraph>(frontier: &[EventId], graph: &G) -> Result<Option<RoomState>, G::Error> {
    let mut past: BTreeMap<OrderKey, Event> = BTreeMap::new();
    let mut seen: BTreeSet<EventId> = frontier.iter().copied().collect();
    let mut waiting: Vec<EventId> = frontier.to_vec();
    while let Some(id) = waiting.pop() {
        let Some(event) = graph.accepted_state(&id)? else { continue };
        debug_assert_eq!(event.header().lane, Lane::State);
        waiting.extend(event.header().state_frontier.iter().filter(|id| seen.insert(**id)));
        past.insert(event.order(), event);
    }
    let mut events = past.into_values();
    let Some(Ok(mut state)) = events.next().map(|first| RoomState::created(&first)) else { return Ok(None) };
    for event in events {
        if state.authorize(&event).is_ok() {
            state.apply(&event);
        }
    }
    Ok(Some(state))
}
