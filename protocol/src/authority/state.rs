//! A room's state where some event stands: for each entry the events that set it and that none of them supersedes.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::keys::{Keys, keyed_by};
use super::{Purpose, Rank, Refusal, Used};
use crate::event::{
    Content, Event, Header, History, JoinRule, Label, Membership, Role, RoomType, RoomVersion, Seen, ServerRule, Switch,
};
use crate::id::EventId;
use crate::identity::{Origin, UserId};

/// What of a room's state an event sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub(super) slot: Slot,
    pub(super) origin: Option<Origin>,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Member,
    Role,
    Muted,
    Server,
    JoinRule,
    Switch(Switch),
    Label(Label),
    Unknown,
}

impl Entry {
    const fn single(slot: Slot) -> Self {
        Entry { slot, origin: None, text: String::new() }
    }

    fn user(slot: Slot, user: &UserId) -> Self {
        Entry { slot, origin: Some(user.origin), text: user.localpart.as_str().to_owned() }
    }

    fn server(origin: Origin) -> Self {
        Entry { slot: Slot::Server, origin: Some(origin), text: String::new() }
    }

    pub(super) fn unknown(kind: &str, key: &str) -> Self {
        Entry { slot: Slot::Unknown, origin: None, text: format!("{kind}\0{key}") }
    }

    /// The server whose users the entry is about, where it is about some.
    pub(crate) fn about_server(&self) -> Option<Origin> {
        self.origin
    }

    /// Whether what anybody may say depends on the entry.
    pub(crate) fn is_about_everybody(&self) -> bool {
        matches!(self.slot, Slot::Switch(_))
    }

    /// The user that the entry is about, for memberships, roles and mutes.
    pub fn about_user(&self) -> Option<UserId> {
        match self.slot {
            Slot::Member | Slot::Role | Slot::Muted => {
                Some(UserId { origin: self.origin?, localpart: self.text.parse().ok()? })
            }
            _ => None,
        }
    }
}

/// What an event sets an entry to. Texts stay in the event's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A membership.
    Member(Membership),
    /// A role.
    Role(Role),
    /// A mute, or a switch.
    On(bool),
    /// What holds for a server.
    Server(ServerRule),
    /// Who may join.
    JoinRule(JoinRule),
    /// Whatever the event says.
    Said,
    /// Whatever the event says, under a key of which there may be many. The entry counts for this server, which added the key; see
    /// [`KeyBounds`](super::KeyBounds).
    Keyed {
        /// The server.
        by: Origin,
    },
}

/// An event that sets an entry.
#[derive(Clone, Debug)]
pub struct Setter {
    /// The event.
    pub event: EventId,
    /// To what.
    pub value: Value,
    /// What decides among concurrent ones, the greatest first: the higher rank's word stays; among equals a removal does;
    /// the rest only has to be the same everywhere.
    pub(super) standing: (Rank, bool, Origin),
    /// The event's place in whatever resolves: no part of what it means.
    pub(crate) at: u32,
}

impl PartialEq for Setter {
    fn eq(&self, other: &Self) -> bool {
        (self.event, self.value) == (other.event, other.value)
    }
}

impl Eq for Setter {}

/// What an allowed event does to the state, by what it found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// What it sets.
    pub sets: Vec<(Entry, Value)>,
    /// What authority it takes away.
    pub removal: Option<Removal>,
    /// What authority it used.
    pub used: Used,
}

/// Authority that an event takes away: from then on, and from what is concurrent with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Of a user, all that needs a rank above `leaves`.
    User {
        /// Whose.
        user: UserId,
        /// The rank that they keep.
        leaves: Rank,
        /// Only what is said.
        speech: bool,
        /// Joining too.
        joining: bool,
        /// What the maker had seen of the user's server.
        seen: Seen,
    },
    /// Of a whole server.
    Server {
        /// Whose.
        origin: Origin,
        /// What the maker had seen of it.
        seen: Seen,
    },
    /// Of everybody who came in without an invitation.
    OpenJoins,
}

impl Removal {
    /// Whether it takes the authority that an event with this header used.
    pub fn takes(&self, header: &Header, used: &Used) -> bool {
        match self {
            Removal::User { user, leaves, speech, joining, .. } => {
                let own = header.origin == user.origin && header.sender.as_ref() == Some(&user.localpart);
                own && match used.purpose {
                    Purpose::Leave => false,
                    Purpose::Join { .. } => *joining,
                    Purpose::Speech => used.needs > *leaves,
                    Purpose::Other => used.needs > *leaves && !speech,
                }
            }
            Removal::Server { origin, .. } => header.origin == *origin && used.purpose != Purpose::Leave,
            Removal::OpenJoins => used.purpose == Purpose::Join { open: true },
        }
    }

    /// The server whose events it can take, and what its maker had seen of them; none where it can be anybody's.
    pub fn target(&self) -> Option<(Origin, &Seen)> {
        match self {
            Removal::User { user, seen, .. } => Some((user.origin, seen)),
            Removal::Server { origin, seen } => Some((*origin, seen)),
            Removal::OpenJoins => None,
        }
    }
}

/// A room's state. Cheap to clone: clones share what they have in common.
#[derive(Clone, Debug)]
pub struct RoomState {
    root: Arc<Root>,
    entries: RedBlackTreeMapSync<Entry, Vec<Setter>>,
    /// Follows from the entries.
    pub(super) keys: Keys,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) version: RoomVersion,
    pub(super) create: EventId,
    pub(super) creator: UserId,
    pub(super) room_type: RoomType,
    pub(super) with: Vec<UserId>,
    pub(super) history: History,
}

impl PartialEq for RoomState {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root && self.entries == other.entries
    }
}

impl Eq for RoomState {}

impl RoomState {
    /// The state that a create event makes.
    ///
    /// # Errors
    /// [`Refusal`] where the event cannot begin a room.
    pub fn created(event: &Event) -> Result<Self, Refusal> {
        let Content::Create { room_type, with } = event.content()? else { return Err(Refusal::Create) };
        let creator = event.sender().ok_or(Refusal::Sender)?;
        let version = event.header().version;
        if version != RoomVersion::DRAFT {
            return Err(Refusal::Version { event: version, room: RoomVersion::DRAFT });
        }
        if event.header().room.is_some() || with.contains(&creator) {
            return Err(Refusal::Create);
        }
        let setter =
            |value| Setter { event: event.id(), value, standing: (Rank::Creator, false, event.header().origin), at: 0 };
        let mut entries = RedBlackTreeMapSync::new_sync();
        for user in &with {
            entries.insert_mut(Entry::user(Slot::Member, user), vec![setter(Value::Member(Membership::Invite))]);
        }
        entries.insert_mut(Entry::user(Slot::Member, &creator), vec![setter(Value::Member(Membership::Join))]);
        let history = History::of(event.header());
        let root = Root { version, create: event.id(), creator, room_type, with, history };
        Ok(RoomState { root: Arc::new(root), entries, keys: Keys::default() })
    }

    pub(super) fn of_parts(root: Arc<Root>, entries: RedBlackTreeMapSync<Entry, Vec<Setter>>) -> Self {
        let keys = Keys::counted(&entries);
        RoomState { root, entries, keys }
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The room's version.
    pub fn version(&self) -> RoomVersion {
        self.root.version
    }

    /// The user who made the room.
    pub fn creator(&self) -> &UserId {
        &self.root.creator
    }

    /// The create event.
    pub fn create_event(&self) -> EventId {
        self.root.create
    }

    /// The room's type.
    pub fn room_type(&self) -> RoomType {
        self.root.room_type
    }

    /// From when on the timeline is for the servers in the room, where it is not a channel.
    pub fn history(&self) -> History {
        self.root.history
    }

    /// What sets the entry, the one that counts first.
    pub(super) fn setters(&self, entry: &Entry) -> &[Setter] {
        self.entries.get(entry).map(Vec::as_slice).unwrap_or_default()
    }

    fn value(&self, entry: &Entry) -> Option<Value> {
        Some(self.setters(entry).first()?.value)
    }

    fn setter(&self, entry: &Entry) -> Option<EventId> {
        Some(self.setters(entry).first()?.event)
    }

    /// What became of the user here; none for one who never was.
    pub fn membership(&self, user: &UserId) -> Option<Membership> {
        match self.value(&Entry::user(Slot::Member, user)) {
            // Whom a direct room is with may come back to it.
            Some(Value::Member(Membership::Leave)) if self.root.with.contains(user) => Some(Membership::Invite),
            Some(Value::Member(membership)) => Some(membership),
            _ => None,
        }
    }

    /// The event that made the user's membership what it is.
    pub fn membership_event(&self, user: &UserId) -> Option<EventId> {
        self.setter(&Entry::user(Slot::Member, user))
    }

    /// Whether the user is joined.
    pub fn is_joined(&self, user: &UserId) -> bool {
        self.membership(user) == Some(Membership::Join)
    }

    fn members(&self, of: Option<Origin>) -> impl Iterator<Item = (UserId, Membership)> {
        let from = Entry { slot: Slot::Member, origin: of, text: String::new() };
        let within = self.entries.range((Bound::Included(from), Bound::Unbounded));
        within
            .take_while(move |(entry, _)| entry.slot == Slot::Member && (of.is_none() || entry.origin == of))
            .filter_map(|(entry, setters)| match setters.first()?.value {
                Value::Member(membership) => Some((entry.about_user()?, membership)),
                _ => None,
            })
    }

    /// The joined users, ascending.
    pub fn joined(&self) -> impl Iterator<Item = UserId> {
        self.members(None).filter(|(_, membership)| *membership == Membership::Join).map(|(user, _)| user)
    }

    /// The joined users of one server, ascending.
    pub fn joined_of(&self, origin: Origin) -> impl Iterator<Item = UserId> {
        self.members(Some(origin)).filter(|(_, membership)| *membership == Membership::Join).map(|(user, _)| user)
    }

    /// Everybody who has or had to do with the room and is not joined, ascending.
    pub fn others(&self) -> impl Iterator<Item = (UserId, Membership)> {
        self.members(None).filter(|(_, membership)| *membership != Membership::Join)
    }

    /// What became of each user of the server with whom the room has to do, joined or not.
    pub fn memberships_of(&self, origin: Origin) -> impl Iterator<Item = Membership> {
        self.members(Some(origin)).filter_map(|(user, _)| self.membership(&user))
    }

    /// Whether the server has a joined user.
    pub fn has_member(&self, origin: Origin) -> bool {
        self.joined_of(origin).next().is_some()
    }

    /// The servers with a joined user.
    pub fn servers(&self) -> BTreeSet<Origin> {
        self.joined().map(|user| user.origin).collect()
    }

    /// The user's role, whether or not they are joined.
    pub fn role(&self, user: &UserId) -> Role {
        match self.value(&Entry::user(Slot::Role, user)) {
            Some(Value::Role(role)) => role,
            _ if *user == self.root.creator => Role::Owner,
            _ => Role::Member,
        }
    }

    /// The event that gave the user their role.
    pub fn role_event(&self, user: &UserId) -> Option<EventId> {
        self.setter(&Entry::user(Slot::Role, user))
    }

    /// The events that count for the user's membership and role here, by id and by place.
    pub(crate) fn grounds(&self, user: &UserId) -> Vec<(EventId, u32)> {
        let setter = |slot| self.entries.get(&Entry::user(slot, user)).and_then(|setters| setters.first());
        let both = [setter(Slot::Member), setter(Slot::Role)];
        both.into_iter().flatten().map(|setter| (setter.event, setter.at)).collect()
    }

    /// The rank that the user has, or would have once joined.
    pub fn standing(&self, user: &UserId) -> Rank {
        let role = self.role(user);
        if *user == self.root.creator && role == Role::Owner { Rank::Creator } else { Rank::of(role) }
    }

    /// The user's rank.
    pub fn rank(&self, user: &UserId) -> Rank {
        if self.is_joined(user) { self.standing(user) } else { Rank::Outsider }
    }

    /// Whether the user is muted.
    pub fn is_muted(&self, user: &UserId) -> bool {
        self.value(&Entry::user(Slot::Muted, user)) == Some(Value::On(true))
    }

    /// What holds for a server.
    pub fn server_rule(&self, origin: Origin) -> ServerRule {
        match self.value(&Entry::server(origin)) {
            Some(Value::Server(rule)) => rule,
            _ => ServerRule::None,
        }
    }

    /// What holds for servers, where anything does.
    pub fn server_rules(&self) -> impl Iterator<Item = (Origin, ServerRule)> {
        let from = Entry { slot: Slot::Server, origin: None, text: String::new() };
        let within = self.entries.range((Bound::Included(from), Bound::Unbounded));
        within.take_while(|(entry, _)| entry.slot == Slot::Server).filter_map(|(entry, setters)| {
            match setters.first()?.value {
                Value::Server(rule) if rule != ServerRule::None => Some((entry.origin?, rule)),
                _ => None,
            }
        })
    }

    /// Whether users of the server may come in.
    pub fn admits(&self, origin: Origin) -> bool {
        match self.server_rule(origin) {
            ServerRule::Deny => false,
            ServerRule::Allow => true,
            ServerRule::None => !self.switch(Switch::ListedOnly) || origin == self.root.creator.origin,
        }
    }

    /// Who may join.
    pub fn join_rule(&self) -> JoinRule {
        match self.value(&Entry::single(Slot::JoinRule)) {
            Some(Value::JoinRule(rule)) => rule,
            _ if self.root.room_type == RoomType::Channel => JoinRule::Open,
            _ => JoinRule::Invite,
        }
    }

    /// Whether the switch is on.
    pub fn switch(&self, switch: Switch) -> bool {
        self.value(&Entry::single(Slot::Switch(switch))) == Some(Value::On(true))
    }

    /// The event that turned a switch to what it is; none while nobody has turned it.
    pub fn switch_event(&self, switch: Switch) -> Option<EventId> {
        self.setter(&Entry::single(Slot::Switch(switch)))
    }

    /// The event that set a label; none while nobody has, where the create event's body may have the name.
    pub fn label(&self, label: Label) -> Option<EventId> {
        self.setter(&Entry::single(Slot::Label(label)))
    }

    /// The event that set the state of this kind and key, where the kind is one that this version does not know.
    pub fn unknown_entry(&self, kind: &str, state_key: &str) -> Option<EventId> {
        self.setter(&Entry::unknown(kind, state_key))
    }

    /// State of kinds that this version does not know: kind, state key and the event that set it.
    pub fn unknown_entries(&self) -> impl Iterator<Item = (&str, &str, EventId)> {
        let unknown = self.entries.iter().filter(|(entry, _)| entry.slot == Slot::Unknown);
        unknown.filter_map(|(entry, setters)| {
            let (kind, key) = entry.text.split_once('\0')?;
            Some((kind, key, setters.first()?.event))
        })
    }

    /// Every entry with its setters, the one that counts first.
    pub fn entries(&self) -> impl Iterator<Item = (&Entry, &[Setter])> {
        self.entries.iter().map(|(entry, setters)| (entry, setters.as_slice()))
    }

    /// One hash for the whole state: which event counts for which entry.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("rocketmesh 0 state digest");
        hasher.update(self.root.create.hash());
        for (_, setters) in &self.entries {
            if let Some(first) = setters.first() {
                hasher.update(first.event.hash());
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// What an event that is allowed here, with this authority, does.
    pub fn act(&self, header: &Header, content: &Content, used: Used) -> Act {
        let mut removal = None;
        let takes = |user: &UserId, leaves, speech, joining, seen: &Seen| {
            Some(Removal::User { user: user.clone(), leaves, speech, joining, seen: seen.clone() })
        };
        let sets = match content {
            Content::Member { user, change, seen } => {
                let mut sets = vec![(Entry::user(Slot::Member, user), Value::Member(*change))];
                let out = matches!(change, Membership::Leave | Membership::Kick | Membership::Ban);
                // Whoever comes back comes back as a member; only the creator's ownership survives.
                if out && self.standing(user) != Rank::Creator && self.role(user) != Role::Member {
                    sets.push((Entry::user(Slot::Role, user), Value::Role(Role::Member)));
                }
                let comes_in = *change == Membership::Join && !self.is_joined(user);
                if comes_in && self.standing(user) != Rank::Creator && self.role(user) != Role::Member {
                    sets.push((Entry::user(Slot::Role, user), Value::Role(Role::Member)));
                }
                match change {
                    Membership::Kick => removal = takes(user, Rank::Outsider, false, false, seen),
                    Membership::Ban => removal = takes(user, Rank::Outsider, false, true, seen),
                    _ => {}
                }
                sets
            }
            Content::Role { user, role, seen } => {
                let by_oneself = header.origin == user.origin && header.sender.as_ref() == Some(&user.localpart);
                let leaves = Rank::of(*role);
                if leaves < self.standing(user) && !by_oneself {
                    removal = takes(user, leaves, false, false, seen);
                }
                vec![(Entry::user(Slot::Role, user), Value::Role(*role))]
            }
            Content::Mute { user, on, seen } => {
                if *on {
                    removal = takes(user, Rank::Outsider, true, false, seen);
                }
                vec![(Entry::user(Slot::Muted, user), Value::On(*on))]
            }
            Content::Server { origin, rule, seen } => {
                if *rule == ServerRule::Deny {
                    removal = Some(Removal::Server { origin: *origin, seen: seen.clone() });
                }
                vec![(Entry::server(*origin), Value::Server(*rule))]
            }
            Content::JoinRule { rule } => {
                if *rule > JoinRule::Open && self.join_rule() == JoinRule::Open {
                    removal = Some(Removal::OpenJoins);
                }
                vec![(Entry::single(Slot::JoinRule), Value::JoinRule(*rule))]
            }
            Content::Switch { switch, on } => vec![(Entry::single(Slot::Switch(*switch)), Value::On(*on))],
            Content::Label(label) => vec![(Entry::single(Slot::Label(*label)), Value::Said)],
            Content::Unknown => match &header.state_key {
                Some(key) => {
                    let entry = Entry::unknown(&header.kind, key);
                    let by = self.key_owner(&entry).unwrap_or(header.origin);
                    vec![(entry, Value::Keyed { by })]
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        };
        Act { sets, removal, used }
    }

    /// Whether an event with this content leaves anybody with less than they have here. A removal that does not gives
    /// something, whatever it was where it was made.
    pub(crate) fn lowers(&self, content: &Content) -> bool {
        match content {
            Content::Member { user, change: Membership::Ban, .. } => self.membership(user) != Some(Membership::Ban),
            Content::Member { user, .. } => {
                matches!(self.membership(user), Some(Membership::Join | Membership::Invite))
            }
            Content::Role { user, role, .. } => Rank::of(*role) < self.standing(user),
            Content::Mute { user, on, .. } => *on && !self.is_muted(user),
            Content::Server { origin, rule, .. } => {
                *rule == ServerRule::Deny && self.server_rule(*origin) != ServerRule::Deny
            }
            Content::JoinRule { rule } => *rule > self.join_rule(),
            _ => false,
        }
    }

    /// Sets what `act` sets. `in_past` tells of two events, by place, whether the first is in the second's past.
    pub(crate) fn apply(
        &mut self,
        event: EventId,
        at: u32,
        origin: Origin,
        act: &Act,
        in_past: impl Fn(u32, u32) -> bool,
    ) {
        for (entry, value) in &act.sets {
            // What anybody may do gains nothing by the rank of who does it: a ban is not outweighed by a return.
            let weight = if act.used.needs <= Rank::Member { act.used.needs } else { act.used.rank };
            let standing = (weight, act.removal.is_some(), origin);
            let mut setters: Vec<Setter> = self.entries.get(entry).cloned().unwrap_or_default();
            if setters.iter().any(|other| other.at == at || in_past(at, other.at)) {
                continue;
            }
            let counted_for = keyed_by(&setters);
            setters.retain(|other| !in_past(other.at, at));
            setters.push(Setter { event, value: *value, standing, at });
            setters.sort_by_key(|setter| std::cmp::Reverse((setter.standing, setter.event)));
            self.keys.count(entry, counted_for, keyed_by(&setters));
            self.entries.insert_mut(entry.clone(), setters);
        }
    }
}
