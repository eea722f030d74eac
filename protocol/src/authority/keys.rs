//! How many keys of state a server may add to a room.
//!
//! State of kinds that this version does not know, and profiles, have as many entries as there are keys, and whoever joins a room
//! carries them all. Each entry counts for the server that added its key. Whoever sets it later leaves it counting there: else
//! two servers could make room for more by setting each other's entries. For whom an entry counts follows from the past of the
//! event that set it ([`Value::Keyed`]), so that it is the same everywhere.
//!
//! The numbers are kept with the state and follow from its entries. Branches that know nothing of each other can together come
//! to more than the bound; what they added stays, and nothing is added while a server is not below its bound. See
//! `docs/decisions/0029`.

use std::fmt;

use rpds::RedBlackTreeMapSync;

use super::state::{Entry, Setter, Slot};
use super::{Refusal, RoomState, Value};
use crate::event::kind;
use crate::identity::Origin;
use crate::limits::{MAX_PROFILES, MAX_UNKNOWN_KEYS};

/// What entries are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyClass {
    /// Those of kinds that this version does not know.
    Unknown,
    /// Those of [`kind::PROFILE`], which are the server's own users'.
    Profile,
}

impl fmt::Display for KeyClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            KeyClass::Unknown => "entries of unknown kinds",
            KeyClass::Profile => "profiles",
        })
    }
}

/// How many entries may count for one server in a room. Part of the room version: servers that judge by different bounds come to
/// different rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBounds {
    /// Of [`KeyClass::Unknown`].
    pub unknown: u32,
    /// Of [`KeyClass::Profile`].
    pub profiles: u32,
}

impl KeyBounds {
    /// Those of room version `0-draft`.
    pub const DRAFT: KeyBounds = KeyBounds { unknown: MAX_UNKNOWN_KEYS, profiles: MAX_PROFILES };

    /// The bound on one class.
    pub const fn most(self, class: KeyClass) -> u32 {
        match class {
            KeyClass::Unknown => self.unknown,
            KeyClass::Profile => self.profiles,
        }
    }
}

impl Default for KeyBounds {
    fn default() -> Self {
        KeyBounds::DRAFT
    }
}

/// How many entries of a state count for each server. Cheap to clone, as the state is.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    bounds: KeyBounds,
    /// Without zeros.
    held: RedBlackTreeMapSync<(Origin, KeyClass), u32>,
}

impl Keys {
    /// Those of a state that was read, which tells no numbers.
    pub(super) fn counted(entries: &RedBlackTreeMapSync<Entry, Vec<Setter>>) -> Self {
        let mut keys = Keys::default();
        for (entry, setters) in entries {
            keys.count(entry, None, keyed_by(setters));
        }
        keys
    }

    /// The entry counts for `to` now, where it counted for `from`.
    pub(super) fn count(&mut self, entry: &Entry, from: Option<Origin>, to: Option<Origin>) {
        if from == to {
            return;
        }
        let Some(class) = class(entry) else { return };
        if let Some(origin) = from {
            match self.held(origin, class) {
                0 | 1 => {
                    self.held.remove_mut(&(origin, class));
                }
                held => self.held.insert_mut((origin, class), held - 1),
            }
        }
        if let Some(origin) = to {
            let held = self.held(origin, class);
            self.held.insert_mut((origin, class), held.saturating_add(1));
        }
    }

    fn held(&self, origin: Origin, class: KeyClass) -> u32 {
        self.held.get(&(origin, class)).copied().unwrap_or(0)
    }
}

/// The server that an entry with these setters counts for, where it is one that is counted.
pub(super) fn keyed_by(setters: &[Setter]) -> Option<Origin> {
    match setters.first()?.value {
        Value::Keyed { by } => Some(by),
        _ => None,
    }
}

/// With what the entry is counted. A kind may contain whatever separates it from its key; a profile's key, which is a user, may not.
fn class(entry: &Entry) -> Option<KeyClass> {
    if entry.slot != Slot::Unknown {
        return None;
    }
    match entry.text.split_once('\0') {
        Some((kind::PROFILE, user)) if !user.contains('\0') => Some(KeyClass::Profile),
        _ => Some(KeyClass::Unknown),
    }
}

impl RoomState {
    /// The same state under other bounds than those of its version: for tests of what happens at a bound.
    #[must_use]
    pub fn with_key_bounds(mut self, bounds: KeyBounds) -> Self {
        self.keys.bounds = bounds;
        self
    }

    /// How many entries count for the server: those whose keys it added.
    pub fn keys_of(&self, origin: Origin, class: KeyClass) -> u32 {
        self.keys.held(origin, class)
    }

    /// The server that the entry counts for; none where there is no such entry.
    pub(super) fn key_owner(&self, entry: &Entry) -> Option<Origin> {
        keyed_by(self.setters(entry))
    }

    /// Whether an event of the server may set the entry: always, if it is there.
    pub(super) fn admit_key(&self, origin: Origin, entry: &Entry) -> Result<(), Refusal> {
        let Some(class) = class(entry).filter(|_| self.key_owner(entry).is_none()) else { return Ok(()) };
        let most = self.keys.bounds.most(class);
        if self.keys.held(origin, class) < most { Ok(()) } else { Err(Refusal::TooManyKeys { origin, class, most }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Act, Purpose, Rank, Used};
    use crate::event::{Content, Draft, Placement, RoomType, author};
    use crate::id::EventId;
    use crate::identity::{ServerKey, UserId};

    fn origin(seed: u8) -> Origin {
        ServerKey::from_seed(&[seed; 32]).origin()
    }

    fn room() -> RoomState {
        let key = ServerKey::from_seed(&[1; 32]);
        let user = UserId { origin: key.origin(), localpart: "alice".parse().expect("a name") };
        let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
        let (kind, state_key) = content.kind_and_key();
        let draft = Draft {
            sender: Some(user.localpart),
            kind: kind.to_owned(),
            state_key,
            content: content.to_map(&[7; 16]),
            body: None,
            time_ms: 0,
        };
        RoomState::created(&author(&key, Placement::first(), draft).expect("an event")).expect("a room")
    }

    /// The server adds entries of the kind, under these numbers.
    fn add(state: &mut RoomState, kind: &str, origin: Origin, numbers: std::ops::RangeInclusive<u32>) {
        let used = Used { rank: Rank::Member, needs: Rank::Member, purpose: Purpose::Other };
        for number in numbers {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_be_bytes());
            let entry = Entry::unknown(kind, &number.to_string());
            let act = Act { sets: vec![(entry, Value::Keyed { by: origin })], removal: None, used: used.clone() };
            state.apply(EventId::from_hash(hash), number, origin, &act, |_, _| false);
        }
    }

    #[test]
    fn a_server_adds_as_many_entries_as_the_room_version_says_and_no_more() {
        let (one, other) = (origin(1), origin(2));
        for (named, class, most) in
            [("org.example.note", KeyClass::Unknown, 4_096), (kind::PROFILE, KeyClass::Profile, 65_536)]
        {
            let mut state = room();
            let more = Entry::unknown(named, "one more");
            add(&mut state, named, one, 1..=most - 1);
            assert_eq!(state.admit_key(one, &more), Ok(()));
            add(&mut state, named, one, most..=most);
            assert_eq!(state.keys_of(one, class), most);
            assert_eq!(state.admit_key(one, &more), Err(Refusal::TooManyKeys { origin: one, class, most }));
            assert_eq!(state.admit_key(one, &Entry::unknown(named, "1")), Ok(()), "what is there can be changed");
            assert_eq!(state.admit_key(other, &more), Ok(()), "another server has a number of its own");
            let read = RoomState::from_pieces(&state.to_pieces()).expect("pieces");
            assert_eq!(read.keys_of(one, class), most);
            assert_eq!(read.admit_key(one, &more), Err(Refusal::TooManyKeys { origin: one, class, most }));
        }
    }

    #[test]
    fn an_entry_that_comes_to_count_for_another_server_counts_for_one_only() {
        let (one, other) = (origin(1), origin(2));
        let mut state = room();
        add(&mut state, "org.example.note", one, 1..=3);
        let entry = Entry::unknown("org.example.note", "2");
        state.keys.count(&entry, Some(one), Some(other));
        assert_eq!([one, other].map(|origin| state.keys_of(origin, KeyClass::Unknown)), [2, 1]);
        state.keys.count(&entry, Some(other), None);
        assert_eq!([one, other].map(|origin| state.keys_of(origin, KeyClass::Unknown)), [2, 0]);
        assert_eq!(state.keys_of(one, KeyClass::Profile), 0);
    }

    #[test]
    fn a_state_of_which_nobody_knows_for_whom_it_counts_is_not_read() {
        let mut state = room();
        let used = Used { rank: Rank::Member, needs: Rank::Member, purpose: Purpose::Other };
        let act = Act { sets: vec![(Entry::unknown("org.example.note", ""), Value::Said)], removal: None, used };
        state.apply(EventId::from_hash([9; 32]), 1, origin(1), &act, |_, _| false);
        assert_eq!(RoomState::from_pieces(&state.to_pieces()), None);
    }

    #[test]
    fn a_kind_that_begins_like_a_profiles_is_no_profile() {
        let class_of = |named: &str, key: &str| class(&Entry::unknown(named, key));
        assert_eq!(class_of(kind::PROFILE, "@alice:somewhere"), Some(KeyClass::Profile));
        for named in ["profile\0@alice:somewhere", "profile\0", "profile.", "org.example.profile"] {
            assert_eq!(class_of(named, ""), Some(KeyClass::Unknown), "{named:?}");
        }
    }
}
