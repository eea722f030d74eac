//! Making events: from what a user wants to say to signed blocks.

use crate::codec::{CodecError, Map, Value};
use crate::event::{AFTER, Body, BodyRef, Event, EventError, Header, Lane, RoomVersion, UnverifiedEvent};
use crate::id::{EventId, RoomId};
use crate::identity::{Localpart, ServerKey};
use crate::limits::{MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_PARENTS};

/// Why an event cannot be made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// What people wrote is longer than a body may be.
    #[error("the text takes {0} bytes, more than {MAX_BODY_BYTES}; send larger content as a file")]
    BodyTooLarge(usize),
    /// The header came out longer than [`MAX_HEADER_BYTES`], or a field is beyond its limit.
    #[error("the event cannot be written: {0}")]
    Header(#[from] EventError),
    /// A value has no encoding.
    #[error("the event cannot be written: {0}")]
    Codec(#[from] CodecError),
}

/// What an event is to say, before it has a place in the room's graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The user who says it; none for what a server does on its own.
    pub sender: Option<Localpart>,
    /// The kind's name.
    pub kind: String,
    /// The state key; present for state.
    pub state_key: Option<String>,
    /// What rules read.
    pub content: Option<Map>,
    /// What people wrote.
    pub body: Option<Body>,
    /// The server's clock, in milliseconds since 1970.
    pub time_ms: u64,
}

/// An event's place in the room's graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The room; none for a create event.
    pub room: Option<RoomId>,
    /// The room's version.
    pub version: RoomVersion,
    /// The last event of this server's lane, with its sequence number.
    pub self_parent: Option<(EventId, u64)>,
    /// Timeline tips to name, in any order. A state event comes after them and does not wait for them.
    pub parents: Vec<EventId>,
    /// State tips to name, in any order.
    pub state_frontier: Vec<EventId>,
    /// One more than the highest lamport time among all of them, but for a state event's parents; 0 for a create event.
    pub lamport: u64,
}

impl Placement {
    /// The place of a create event.
    pub fn first() -> Self {
        Placement {
            room: None,
            version: RoomVersion::DRAFT,
            self_parent: None,
            parents: Vec::new(),
            state_frontier: Vec::new(),
            lamport: 0,
        }
    }
}

/// Signs `draft` at `placement` with `key`.
///
/// # Errors
/// [`AuthorError`] where the result would break a limit; every event returned decodes and verifies.
pub fn author(key: &ServerKey, placement: Placement, draft: Draft) -> Result<Event, AuthorError> {
    author_after(key, placement, draft, Vec::new())
}

/// As [`author`], for a server that has seen timeline events which it cannot stand on yet, since it lacks what they stand on:
/// a timeline event names them as [`AFTER`], a state event among its parents. Both in any order, at most [`MAX_PARENTS`] of
/// each.
///
/// # Errors
/// As [`author`].
pub fn author_after(
    key: &ServerKey,
    mut placement: Placement,
    draft: Draft,
    after: Vec<EventId>,
) -> Result<Event, AuthorError> {
    let body_block = draft.body.as_ref().map(Body::encode).transpose()?;
    if let Some(block) = body_block.as_ref().filter(|block| block.len() > MAX_BODY_BYTES) {
        return Err(AuthorError::BodyTooLarge(block.len()));
    }
    let ascending = |mut ids: Vec<EventId>| {
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let mut ext = Map::new();
    let state = draft.state_key.is_some();
    if state {
        placement.parents.extend(after);
    } else if !after.is_empty() {
        let links = ascending(after).into_iter().take(MAX_PARENTS).map(Value::from).collect();
        ext.insert(AFTER, Value::List(links));
    }
    let mut parents = ascending(placement.parents);
    if state {
        parents.truncate(MAX_PARENTS);
    }
    let header = Header {
        version: placement.version,
        room: placement.room,
        origin: key.origin(),
        key: None,
        lane: if state { Lane::State } else { Lane::Timeline },
        seq: placement.self_parent.map_or(0, |(_, seq)| seq + 1),
        self_parent: placement.self_parent.map(|(id, _)| id),
        parents,
        state_frontier: ascending(placement.state_frontier),
        lamport: placement.lamport,
        time_ms: draft.time_ms,
        sender: draft.sender,
        kind: draft.kind,
        state_key: draft.state_key,
        content: draft.content,
        body: body_block
            .as_ref()
            .map(|block| BodyRef { id: crate::id::BodyId::of_block(block), len: block.len() as u64 }),
        ext,
    };
    let header_block = header.encode_signed(|message| key.sign(message))?;
    if header_block.len() > MAX_HEADER_BYTES {
        return Err(EventError::HeaderTooLarge(header_block.len()).into());
    }
    // Reading it back costs a few microseconds and proves that every other server can read it too.
    Ok(UnverifiedEvent::decode(&header_block, body_block.as_deref())?.trust())
}
