//! Events: what a server signs, and how bytes become an event that can be trusted.
//!
//! ```text
//!  bytes ──decode──► UnverifiedEvent ──verify──► Event ──receipt──► accepted, held, rejected or dropped
//!            │                          │
//!         canonical? limits?         strict Ed25519
//!         body fits its id?
//! ```
//!
//! An event is a header block and, mostly, a body block. Its id is the CID of the header, so the body can be erased and the
//! graph still verifies.

mod author;
mod body;
mod content;
mod files;
mod header;

pub use author::{AuthorError, Draft, Placement, author, author_after};
pub use body::Body;
pub(crate) use content::seen_value;
pub use content::{
    Content, ContentError, History, JoinRule, Label, Membership, Role, RoomType, Seen, ServerRule, Switch, kind,
};
pub use files::{FileRef, FilesError};
pub use header::{AFTER, BodyRef, Header, Lane, RoomVersion};

use std::sync::Arc;

use crate::codec::{self, CodecError};
use crate::id::{BodyId, EventId, RoomId};
use crate::identity::UserId;
use crate::limits::{MAX_BODY_BYTES, MAX_HEADER_BYTES};

/// Stands before the header in what is signed, so that no signature made for anything else can pass for an event's.
pub const SIGNING_DOMAIN: &[u8] = b"rocketmesh event 0\n";

/// Why bytes are no event. Always the fault of whoever made or passed on the bytes; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The header block is longer than [`MAX_HEADER_BYTES`].
    #[error("the header has {0} bytes, more than {MAX_HEADER_BYTES}")]
    HeaderTooLarge(usize),
    /// The body block is longer than [`MAX_BODY_BYTES`].
    #[error("the body has {0} bytes, more than {MAX_BODY_BYTES}")]
    BodyTooLarge(usize),
    /// Header or body is not deterministic DAG-CBOR.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A field of the header is missing, of the wrong type, or beyond its limit.
    #[error("the header's {field} {problem}")]
    Header {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The body is not a map that starts with a salt of 16 bytes.
    #[error("the body is not a map with a salt of 16 bytes")]
    BodyShape,
    /// The body's hash or length is not the one that the header names, or the header names none.
    #[error("the body is not the one that the header names")]
    BodyMismatch,
    /// The signature is not the key's by the strict rules.
    #[error("the signature does not verify")]
    Signature,
}

/// An event whose bytes are sound and whose signature nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedEvent(Event);

impl UnverifiedEvent {
    /// Reads an event from its blocks. A missing body is no fault: headers travel without bodies.
    ///
    /// # Errors
    /// Every [`EventError`] but [`EventError::Signature`].
    pub fn decode(header_block: &[u8], body_block: Option<&[u8]>) -> Result<Self, EventError> {
        if header_block.len() > MAX_HEADER_BYTES {
            return Err(EventError::HeaderTooLarge(header_block.len()));
        }
        let (header, signature) = Header::decode(header_block)?;
        if let Some(block) = body_block {
            check_body(&header, block)?;
        }
        Ok(UnverifiedEvent(Event {
            id: EventId::of_block(header_block),
            header: Arc::new(header),
            signature,
            header_block: header_block.into(),
            body_block: body_block.map(Into::into),
        }))
    }

    /// The id that the event has if its signature verifies; the signature is part of what is hashed.
    pub fn id(&self) -> EventId {
        self.0.id
    }

    /// The room that the event belongs to.
    pub fn room(&self) -> RoomId {
        self.0.room()
    }

    /// The lane that the event is in.
    pub fn lane(&self) -> Lane {
        self.0.header.lane
    }

    /// Whether the header names a body that did not come along.
    pub fn lacks_body(&self) -> bool {
        self.0.header.body.is_some() && self.0.body_block.is_none()
    }

    /// How the header names its body; none if it names none.
    pub fn body_ref(&self) -> Option<BodyRef> {
        self.0.header.body
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`EventError::Signature`].
    pub fn verify(self) -> Result<Event, EventError> {
        let key = self.0.header.signing_key();
        if key.verifies(&header::signing_input(&self.0.header_block), &self.0.signature) {
            Ok(self.0)
        } else {
            Err(EventError::Signature)
        }
    }

    /// Takes the event as verified without checking: only for blocks that come back from this node's own store, which
    /// admitted nothing unverified.
    pub fn trust(self) -> Event {
        self.0
    }
}

/// A verified event. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    id: EventId,
    header: Arc<Header>,
    signature: [u8; 64],
    header_block: Arc<[u8]>,
    body_block: Option<Arc<[u8]>>,
}

impl Event {
    /// Decodes and verifies in one step.
    ///
    /// # Errors
    /// Every [`EventError`].
    pub fn open(header_block: &[u8], body_block: Option<&[u8]>) -> Result<Self, EventError> {
        UnverifiedEvent::decode(header_block, body_block)?.verify()
    }

    /// The CID of the header block.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The header, shared.
    pub(crate) fn shared_header(&self) -> Arc<Header> {
        Arc::clone(&self.header)
    }

    /// The signature over the domain and the header without it.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// The room that the event belongs to; a create event's room is its own id.
    pub fn room(&self) -> RoomId {
        self.header.room.unwrap_or_else(|| self.id.into())
    }

    /// The user that sent it; none for what a server does on its own, such as a merge.
    pub fn sender(&self) -> Option<UserId> {
        let localpart = self.header.sender.clone()?;
        Some(UserId { origin: self.header.origin, localpart })
    }

    /// The header's bytes, as signed and hashed.
    pub fn header_block(&self) -> &[u8] {
        &self.header_block
    }

    /// The body's bytes, if they are here.
    pub fn body_block(&self) -> Option<&[u8]> {
        self.body_block.as_deref()
    }

    /// The body, if it is here. It was checked when the event was decoded.
    pub fn body(&self) -> Option<Body> {
        Body::decode(self.body_block()?).ok()
    }

    /// What the event says, by its kind.
    ///
    /// # Errors
    /// [`ContentError`] where a known kind lacks what it needs. The receipt pipeline rejects such an event.
    pub fn content(&self) -> Result<Content, ContentError> {
        Content::of(&self.header)
    }

    /// Adds the body that arrived later.
    ///
    /// # Errors
    /// As [`UnverifiedEvent::decode`] for the body; the event is unchanged then.
    pub fn attach_body(&mut self, block: &[u8]) -> Result<(), EventError> {
        check_body(&self.header, block)?;
        self.body_block = Some(block.into());
        Ok(())
    }

    /// The event as it stays once its body is erased: the same event, with the same id and a signature that verifies.
    #[must_use]
    pub fn without_body(&self) -> Event {
        Event { body_block: None, ..self.clone() }
    }

    /// Whether this edit or redaction reaches `target`: it names it, and says truly who wrote it. Whether its sender may is
    /// judged with the event itself, which is why it has to say so.
    pub fn reaches(&self, target: &Event) -> bool {
        let (id, author) = match self.content() {
            Ok(Content::Edit { target, author } | Content::Redact { target, author }) => (target, author),
            _ => return false,
        };
        id == target.id && self.room() == target.room() && author.or_else(|| self.sender()) == target.sender()
    }

    /// Where the event stands among what it waits for and what waits for it: causes before effects, and the same on every
    /// server. It is the event's place in the room's order too, unless it names what it came after: see [`Event::place`].
    pub fn order(&self) -> OrderKey {
        self.place(None)
    }

    /// Where the event stands in the room's order, given the highest lamport time of those of its sightings that are here
    /// ([`Header::sightings`]): behind them. The same on every server with the same events, whichever came first.
    pub fn place(&self, sighted: Option<u64>) -> OrderKey {
        let lamport = self.header.lamport;
        let place = sighted.map_or(0, |sighted| sighted + 1).max(lamport);
        OrderKey { place, lamport, origin: self.header.origin, id: self.id }
    }
}

/// The room order for display: (place, lamport, origin, id). It decides nothing but that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// The lamport time, or one more than that of the last timeline event that the event came after without standing on it.
    pub place: u64,
    /// Lamport time.
    pub lamport: u64,
    /// The event's origin.
    pub origin: crate::identity::Origin,
    /// The event.
    pub id: EventId,
}

fn check_body(header: &Header, block: &[u8]) -> Result<(), EventError> {
    if block.len() > MAX_BODY_BYTES {
        return Err(EventError::BodyTooLarge(block.len()));
    }
    let named = header.body.as_ref().ok_or(EventError::BodyMismatch)?;
    if named.len != block.len() as u64 || named.id != BodyId::of_block(block) {
        return Err(EventError::BodyMismatch);
    }
    Body::decode(block).map(drop)
}

/// The one encoding of a value that is known to have one: what this crate builds from checked fields.
pub(crate) fn encode_own(value: &codec::Value) -> Vec<u8> {
    codec::encode(value).expect("checked fields stay within the codec's limits")
}
