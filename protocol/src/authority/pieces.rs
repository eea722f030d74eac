//! A room's state as pieces of bytes that a store can keep: states that have most in common have most pieces in common.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::state::{Entry, Root, Setter, Slot};
use super::{Rank, RoomState, Value};
use crate::codec::{self, Value as Dag};
use crate::event::{History, JoinRule, Label, Membership, Role, RoomType, RoomVersion, ServerRule, Switch, encode_own};
use crate::id::EventId;
use crate::identity::Origin;

/// Into how many pieces the entries are divided, by their hash. A change rewrites one of them.
const PIECES: usize = 64;

const RANKS: [Rank; 5] = [Rank::Outsider, Rank::Member, Rank::Moderator, Rank::Owner, Rank::Creator];

impl RoomState {
    /// The state's pieces. The same state has the same ones everywhere.
    pub fn to_pieces(&self) -> Vec<Vec<u8>> {
        let mut buckets: Vec<Vec<Dag>> = vec![Vec::new(); PIECES];
        for (entry, setters) in self.entries() {
            let key = Dag::List(entry_key(entry));
            let hash = blake3::hash(&encode_own(&key));
            let setters = setters.iter().map(setter_value).collect();
            buckets[usize::from(hash.as_bytes()[0]) % PIECES].push(Dag::List(vec![key, Dag::List(setters)]));
        }
        let root = self.root();
        let with = root.with.iter().map(|user| user.to_string().as_str().into()).collect();
        let root = Dag::List(vec![
            root.version.0.into(),
            root.create.hash().as_slice().into(),
            root.creator.to_string().as_str().into(),
            root.room_type.letter().into(),
            Dag::List(with),
            root.history.word().into(),
        ]);
        let full = buckets.into_iter().filter(|bucket| !bucket.is_empty()).map(Dag::List);
        std::iter::once(root).chain(full).map(|piece| encode_own(&piece)).collect()
    }

    /// The state of these pieces; none if they are not all there or not what [`RoomState::to_pieces`] makes.
    pub fn from_pieces(pieces: &[Vec<u8>]) -> Option<Self> {
        let mut values = pieces.iter().map(|piece| codec::decode_own(piece).ok());
        let root = values.next()??;
        let [version, create, creator, room_type, with, history] = root.as_list()? else { return None };
        let root = Root {
            version: RoomVersion(version.as_u64()?),
            create: read_id(create)?,
            creator: creator.as_text()?.parse().ok()?,
            room_type: RoomType::from_letter(room_type.as_text()?)?,
            with: with.as_list()?.iter().map(|user| user.as_text()?.parse().ok()).collect::<Option<_>>()?,
            history: History::from_word(history.as_text()?)?,
        };
        let mut entries = RedBlackTreeMapSync::new_sync();
        for bucket in values {
            for pair in bucket?.as_list()? {
                let [key, setters] = pair.as_list()? else { return None };
                let setters = setters.as_list()?.iter().map(read_setter).collect::<Option<Vec<_>>>()?;
                let entry = read_key(key)?;
                // Earlier builds did not say for whom an entry counts, which events are judged by.
                let counted = |setter: &Setter| matches!(setter.value, Value::Keyed { .. });
                if setters.iter().any(|setter| counted(setter) != (entry.slot == Slot::Unknown)) {
                    return None;
                }
                entries.insert_mut(entry, setters);
            }
        }
        Some(RoomState::of_parts(Arc::new(root), entries))
    }
}

fn entry_key(entry: &Entry) -> Vec<Dag> {
    let (slot, detail) = match entry.slot {
        Slot::Member => (0, ""),
        Slot::Role => (1, ""),
        Slot::Muted => (2, ""),
        Slot::Server => (3, ""),
        Slot::JoinRule => (4, ""),
        Slot::Switch(switch) => (5, switch.kind()),
        Slot::Label(label) => (6, label.kind()),
        Slot::Unknown => (7, ""),
    };
    let origin = entry.origin.map(|origin| Dag::from(origin.as_bytes().as_slice()));
    vec![Dag::from(slot), detail.into(), origin.into(), entry.text.as_str().into()]
}

fn read_key(key: &Dag) -> Option<Entry> {
    let [slot, detail, origin, text] = key.as_list()? else { return None };
    let detail = detail.as_text()?;
    let slot = match slot.as_u64()? {
        0 => Slot::Member,
        1 => Slot::Role,
        2 => Slot::Muted,
        3 => Slot::Server,
        4 => Slot::JoinRule,
        5 => Slot::Switch(Switch::ALL.into_iter().find(|switch| switch.kind() == detail)?),
        6 => Slot::Label(Label::ALL.into_iter().find(|label| label.kind() == detail)?),
        7 => Slot::Unknown,
        _ => return None,
    };
    let origin = match origin {
        Dag::Null => None,
        origin => Some(read_origin(origin)?),
    };
    Some(Entry { slot, origin, text: text.as_text()?.to_owned() })
}

fn setter_value(setter: &Setter) -> Dag {
    let (kind, value) = match setter.value {
        Value::Member(membership) => (0, Dag::from(membership.word())),
        Value::Role(role) => (1, role.word().into()),
        Value::On(true) => (2, "on".into()),
        Value::On(false) => (2, "off".into()),
        Value::Server(rule) => (3, rule.word().into()),
        Value::JoinRule(rule) => (4, rule.word().into()),
        Value::Said => (5, "".into()),
        Value::Keyed { by } => (6, by.as_bytes().as_slice().into()),
    };
    let (rank, removal, origin) = setter.standing;
    let rank = RANKS.iter().position(|known| *known == rank).unwrap_or_default() as u64;
    Dag::List(vec![
        setter.event.hash().as_slice().into(),
        Dag::from(kind),
        value,
        rank.into(),
        removal.into(),
        origin.as_bytes().as_slice().into(),
    ])
}

fn read_setter(setter: &Dag) -> Option<Setter> {
    let [event, kind, value, rank, removal, origin] = setter.as_list()? else { return None };
    let word = value.as_text();
    let value = match kind.as_u64()? {
        0 => Value::Member(Membership::from_word(word?)?),
        1 => Value::Role(Role::from_word(word?)?),
        2 => Value::On(word? == "on"),
        3 => Value::Server(ServerRule::from_word(word?)?),
        4 => Value::JoinRule(JoinRule::from_word(word?)?),
        5 => Value::Said,
        6 => Value::Keyed { by: read_origin(value)? },
        _ => return None,
    };
    let rank = *RANKS.get(usize::try_from(rank.as_u64()?).ok()?)?;
    let standing = (rank, removal.as_bool()?, read_origin(origin)?);
    Some(Setter { event: read_id(event)?, value, standing, at: 0 })
}

fn read_id(value: &Dag) -> Option<EventId> {
    Some(EventId::from_hash(value.as_bytes()?.try_into().ok()?))
}

fn read_origin(value: &Dag) -> Option<Origin> {
    Some(Origin::from_bytes(value.as_bytes()?.try_into().ok()?))
}
