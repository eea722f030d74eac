//! The header block: a list of eighteen fields and the signature.

use crate::codec::{self, Map, Value};
use crate::event::{EventError, SIGNING_DOMAIN};
use crate::id::{BodyId, EventId, RoomId};
use crate::identity::{Localpart, Origin};
use crate::limits::{MAX_BODY_BYTES, MAX_NAME_BYTES, MAX_NUMBER, MAX_PARENTS};

/// Fields before the signature.
const FIELDS: usize = 18;
/// The first byte of a list with [`FIELDS`] elements.
const UNSIGNED_LIST: u8 = 0x80 + FIELDS as u8;
/// How many bytes the signature takes at the end of a header block: a two-byte head and 64.
const SIGNATURE_TAIL: usize = 66;

/// The version of a room's rules, and of the events in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomVersion(pub u64);

impl RoomVersion {
    /// `0-draft`: nothing stays compatible until version 1 freezes.
    pub const DRAFT: RoomVersion = RoomVersion(0);
}

impl std::fmt::Display for RoomVersion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => formatter.write_str("0-draft"),
            version => write!(formatter, "{version}"),
        }
    }
}

/// Which of a server's two chains in a room an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Events with a state key: membership, roles, names.
    State,
    /// All others: messages and what is done to them.
    Timeline,
}

impl Lane {
    /// Both lanes, state first.
    pub const ALL: [Lane; 2] = [Lane::State, Lane::Timeline];

    /// The lane's number in bytes.
    pub const fn number(self) -> u64 {
        match self {
            Lane::State => 0,
            Lane::Timeline => 1,
        }
    }

    /// The lane with this number.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Lane::State),
            1 => Some(Lane::Timeline),
            _ => None,
        }
    }
}

/// The key of `ext` under which a timeline event names what its server saw and could not stand on yet.
pub const AFTER: &str = "after";

/// How a header names its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyRef {
    /// The body block's id.
    pub id: BodyId,
    /// Its length in bytes, at most [`MAX_BODY_BYTES`].
    pub len: u64,
}

/// What is signed. Rules read this and nothing else; it is never erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The room version whose rules the event follows.
    pub version: RoomVersion,
    /// The room; none in a create event, whose id is the room's.
    pub room: Option<RoomId>,
    /// The server that made the event.
    pub origin: Origin,
    /// The key that signed, once an origin has rotated its key. Refused while it is set in
    /// `0-draft`, which has no rules for it.
    pub key: Option<Origin>,
    /// The chain that the event continues.
    pub lane: Lane,
    /// Its position in that chain: one more than that of `self_parent`, or 0.
    pub seq: u64,
    /// The event before it in its chain.
    pub self_parent: Option<EventId>,
    /// Timeline tips that its server knew; strictly ascending, at most [`MAX_PARENTS`]. A state event does not wait for them.
    pub parents: Vec<EventId>,
    /// State tips that its server knew; strictly ascending, at most [`MAX_PARENTS`].
    pub state_frontier: Vec<EventId>,
    /// One more than the highest of everything that the event waits for: see [`Header::references`].
    pub lamport: u64,
    /// When it was made by the server's clock, in milliseconds since 1970, for people to read.
    pub time_ms: u64,
    /// The user who sent it; none for what a server does on its own.
    pub sender: Option<Localpart>,
    /// What kind of event it is; unknown kinds are kept and passed on.
    pub kind: String,
    /// Which entry of the room's state it sets; present exactly in the state lane.
    pub state_key: Option<String>,
    /// What rules read.
    pub content: Option<Map>,
    /// What people wrote.
    pub body: Option<BodyRef>,
    /// Fields that this version does not know, kept as they are.
    pub ext: Map,
}

impl Header {
    /// The key that has to have signed; in `0-draft` the origin's first, always.
    pub fn signing_key(&self) -> Origin {
        self.key.unwrap_or(self.origin)
    }

    /// Every event that this one waits for: the one before it in its chain, what it saw of the state, and, in the timeline
    /// lane, what it saw of the timeline. A state event stands on the state graph alone.
    pub fn references(&self) -> impl Iterator<Item = &EventId> {
        self.self_parent.iter().chain(self.timeline_causes()).chain(&self.state_frontier)
    }

    /// The timeline events that this one waits for: its parents, unless it is a state event.
    pub fn timeline_causes(&self) -> &[EventId] {
        match self.lane {
            Lane::State => &[],
            Lane::Timeline => &self.parents,
        }
    }

    /// Timeline events that its server says it had seen, at most [`MAX_PARENTS`], and that it does not wait for: the parents
    /// of a state event, and what a server that lacks a part of the timeline names in `ext` as [`AFTER`]. They move it back in
    /// the room's order, where they are here, and decide nothing else. A list that is not strictly ascending links counts as
    /// none.
    pub fn sightings(&self) -> Vec<EventId> {
        if self.lane == Lane::State {
            return self.parents.clone();
        }
        let Some(list) = self.ext.get(AFTER).and_then(Value::as_list).filter(|list| list.len() <= MAX_PARENTS) else {
            return Vec::new();
        };
        let ids: Option<Vec<EventId>> = list.iter().map(link).collect();
        ids.filter(|ids| ids.is_sorted_by(|a, b| a < b)).unwrap_or_default()
    }

    /// The block that `sign` completes. `sign` receives what has to be signed.
    pub(crate) fn encode_signed(&self, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Result<Vec<u8>, codec::CodecError> {
        let unsigned = codec::encode(&Value::List(self.to_fields()))?;
        let signature = sign(&[SIGNING_DOMAIN, &unsigned].concat());
        let mut block = Vec::with_capacity(unsigned.len() + SIGNATURE_TAIL);
        block.push(UNSIGNED_LIST + 1);
        block.extend_from_slice(&unsigned[1..]);
        block.extend_from_slice(&[0x58, 0x40]);
        block.extend_from_slice(&signature);
        Ok(block)
    }

    fn to_fields(&self) -> Vec<Value> {
        let ids = |ids: &[EventId]| Value::List(ids.iter().map(|id| (*id).into()).collect());
        vec![
            self.version.0.into(),
            self.room.into(),
            self.origin.as_bytes().as_slice().into(),
            self.key.map(|key| key.as_bytes().to_vec()).into(),
            self.lane.number().into(),
            self.seq.into(),
            self.self_parent.into(),
            ids(&self.parents),
            ids(&self.state_frontier),
            self.lamport.into(),
            self.time_ms.into(),
            self.sender.as_ref().map(Localpart::as_str).into(),
            self.kind.as_str().into(),
            self.state_key.as_deref().into(),
            self.content.clone().into(),
            self.body.map(|body| body.id).into(),
            self.body.map(|body| body.len).into(),
            self.ext.clone().into(),
        ]
    }

    /// Reads a header block and its signature, which is not checked here.
    pub(crate) fn decode(block: &[u8]) -> Result<(Header, [u8; 64]), EventError> {
        let Value::List(fields) = codec::decode(block)? else {
            return Err(problem("block", "is no list"));
        };
        if fields.len() != FIELDS + 1 {
            return Err(problem("block", "has not nineteen fields"));
        }
        let mut fields = Fields(fields.into_iter());
        let header = Header {
            version: RoomVersion(fields.number("version")?),
            room: fields.optional("room", link)?,
            origin: fields.required("origin", origin)?,
            key: fields.optional("key", origin)?,
            lane: fields.required("lane", |value| value.as_u64().and_then(Lane::from_number))?,
            seq: fields.number("seq")?,
            self_parent: fields.optional("self_parent", link)?,
            parents: fields.ids("parents")?,
            state_frontier: fields.ids("state_frontier")?,
            lamport: fields.number("lamport")?,
            time_ms: fields.number("time_ms")?,
            sender: fields.optional("sender", |value| value.as_text()?.parse().ok())?,
            kind: fields
                .required("kind", name)
                .and_then(|kind| if kind.is_empty() { Err(problem("kind", "is empty")) } else { Ok(kind) })?,
            state_key: fields.optional("state_key", name)?,
            content: fields.optional("content", |value| value.as_map().cloned())?,
            body: {
                let id = fields.optional("body_cid", link)?;
                let len =
                    fields.optional("body_len", |value| value.as_u64().filter(|len| *len <= MAX_BODY_BYTES as u64))?;
                match (id, len) {
                    (Some(id), Some(len)) => Some(BodyRef { id, len }),
                    (None, None) => None,
                    _ => return Err(problem("body_cid", "and body_len do not stand together")),
                }
            },
            ext: fields.required("ext", |value| value.as_map().cloned())?,
        };
        let signature = fields.required("signature", |value| value.as_bytes()?.try_into().ok())?;
        header.check_shape()?;
        Ok((header, signature))
    }

    /// What must hold between the fields, whatever else is known.
    pub(crate) fn check_shape(&self) -> Result<(), EventError> {
        if (self.lane == Lane::State) != self.state_key.is_some() {
            return Err(problem("lane", "does not fit its state_key"));
        }
        if (self.seq == 0) != self.self_parent.is_none() {
            return Err(problem("seq", "does not fit its self_parent"));
        }
        // Until rotation has rules, only an origin's first key speaks for it: anything else would let anybody append to
        // anybody's chain.
        if self.key.is_some() {
            return Err(problem("key", "is set, and key rotation has no rules in this version"));
        }
        if self.room.is_none() {
            let first = self.seq == 0 && self.lamport == 0 && self.parents.is_empty() && self.state_frontier.is_empty();
            if !first || self.lane != Lane::State {
                return Err(problem("room", "is missing in an event that is not a room's first"));
            }
        } else if self.state_frontier.is_empty() {
            return Err(problem("state_frontier", "is empty"));
        }
        Ok(())
    }
}

/// What the signature is over: the domain, and the header as a list without the signature.
pub(super) fn signing_input(block: &[u8]) -> Vec<u8> {
    let fields = block.get(1..block.len().saturating_sub(SIGNATURE_TAIL)).unwrap_or_default();
    [SIGNING_DOMAIN, &[UNSIGNED_LIST], fields].concat()
}

fn problem(field: &'static str, problem: &'static str) -> EventError {
    EventError::Header { field, problem }
}

fn link<T: for<'a> TryFrom<&'a cid::Cid>>(value: &Value) -> Option<T> {
    T::try_from(value.as_link()?).ok()
}

fn origin(value: &Value) -> Option<Origin> {
    value.as_bytes()?.try_into().ok().map(Origin::from_bytes)
}

fn name(value: &Value) -> Option<String> {
    value.as_text().filter(|text| text.len() <= MAX_NAME_BYTES).map(str::to_owned)
}

/// The fields still to be read, in order.
struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    fn required<T>(&mut self, field: &'static str, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, EventError> {
        let value = self.0.next().ok_or_else(|| problem(field, "is missing"))?;
        read(&value).ok_or_else(|| problem(field, "has the wrong type or is beyond its limit"))
    }

    fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, EventError> {
        self.required(field, |value| if *value == Value::Null { Some(None) } else { read(value).map(Some) })
    }

    fn number(&mut self, field: &'static str) -> Result<u64, EventError> {
        self.required(field, |value| value.as_u64().filter(|number| *number <= MAX_NUMBER))
    }

    fn ids(&mut self, field: &'static str) -> Result<Vec<EventId>, EventError> {
        let ids: Vec<EventId> = self.required(field, |value| value.as_list()?.iter().map(link).collect())?;
        if ids.len() > MAX_PARENTS {
            return Err(problem(field, "has more than sixteen entries"));
        }
        if !ids.is_sorted_by(|a, b| a < b) {
            return Err(problem(field, "is not strictly ascending"));
        }
        Ok(ids)
    }
}
