//! What is over in a moment: who types, who is there, how far somebody has read. Signed, short-lived, and never an event: it has
//! no parents and no id, nothing stands on it, and nobody stores it.
//!
//! On a room's gossip topic it travels beside events. An event's frame is a list, this one a map, so that neither is ever taken
//! for the other; and its signature is over a domain of its own, so that neither signature serves for the other.

use crate::codec::{self, CodecError, Map, Value};
use crate::event::encode_own;
use crate::id::{EventId, RoomId};
use crate::identity::{Localpart, Origin, ServerKey, UserId};
use crate::limits::{MAX_CLOCK_SKEW_MS, MAX_EPHEMERAL_BYTES, MAX_NUMBER, MAX_PRESENCE_MS, MAX_READ_MS, MAX_TYPING_MS};

/// What a signature over ephemeral traffic begins with.
pub const EPHEMERAL_DOMAIN: &[u8] = b"rocketmesh ephemeral 0\n";

const MESSAGE_ID_DOMAIN: &str = "rocketmesh 0 id of an ephemeral message";
/// How many entries the map has: eight, one of which says what its kind has to say.
const ENTRIES: usize = 8;
/// CBOR's major type of maps, in the upper three bits of a first byte.
const MAP: u8 = 5;

/// Why bytes are no ephemeral message, or one cannot be made. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EphemeralError {
    /// More bytes than such a message may have.
    #[error("an ephemeral message of {0} bytes, more than {MAX_EPHEMERAL_BYTES}")]
    TooLarge(usize),
    /// Not deterministic DAG-CBOR.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A field is missing, of another type, or beyond its bound; or there is one too many.
    #[error("an ephemeral message's {0} is missing, unsound or one too many")]
    Shape(&'static str),
    /// Of a kind, or with a status, that this version does not know. Nobody's fault.
    #[error("an ephemeral message of a kind that is not known here")]
    Unknown,
    /// Not signed by the server that it names.
    #[error("an ephemeral message whose signature is not its server's")]
    Signature,
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// They are.
    Online,
    /// They are, and have done nothing for a while.
    Away,
    /// They are, and do not want to be disturbed.
    Busy,
    /// They are not.
    Offline,
}

impl Presence {
    const ALL: [Presence; 4] = [Presence::Online, Presence::Away, Presence::Busy, Presence::Offline];

    /// The word, which is Rocket.Chat's too.
    pub const fn word(self) -> &'static str {
        match self {
            Presence::Online => "online",
            Presence::Away => "away",
            Presence::Busy => "busy",
            Presence::Offline => "offline",
        }
    }

    /// What a word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Presence::ALL.into_iter().find(|presence| presence.word() == word)
    }
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The user types in the room, or no longer does.
    Typing(bool),
    /// Whether the user is there. Said in a room, and true of the user everywhere.
    Presence(Presence),
    /// The user has read the room up to this event.
    Read(EventId),
}

/// The kinds of signals. Of each kind only the last one of a user in a room counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignalKind {
    /// [`Signal::Typing`]
    Typing,
    /// [`Signal::Presence`]
    Presence,
    /// [`Signal::Read`]
    Read,
}

impl SignalKind {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            SignalKind::Typing => "typing",
            SignalKind::Presence => "presence",
            SignalKind::Read => "read",
        }
    }

    /// How long such a signal may claim to hold, in milliseconds.
    pub const fn longest_ms(self) -> u64 {
        match self {
            SignalKind::Typing => MAX_TYPING_MS,
            SignalKind::Presence => MAX_PRESENCE_MS,
            SignalKind::Read => MAX_READ_MS,
        }
    }
}

impl Signal {
    /// Its kind.
    pub const fn kind(&self) -> SignalKind {
        match self {
            Signal::Typing(_) => SignalKind::Typing,
            Signal::Presence(_) => SignalKind::Presence,
            Signal::Read(_) => SignalKind::Read,
        }
    }
}

/// A signal of a user in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ephemeral {
    /// The room.
    pub room: RoomId,
    /// Whose signal it is; their server signs it.
    pub user: UserId,
    /// What it says.
    pub signal: Signal,
    /// When it was said by the clock of the user's server, in milliseconds since 1970, 1 to [`MAX_NUMBER`]. A server never signs
    /// two of one kind, room and user with one time: it is their sequence number, and whatever is not newer is old.
    pub at_ms: u64,
    /// How long it holds, in milliseconds: 1 to the bound of its kind ([`SignalKind::longest_ms`]).
    pub lasts_ms: u64,
}

impl Ephemeral {
    /// The message, signed by `key`, which is the key of the user's server.
    ///
    /// # Errors
    /// [`EphemeralError::Shape`] for times out of bounds and for another server's user.
    pub fn encode_signed(&self, key: &ServerKey) -> Result<Vec<u8>, EphemeralError> {
        if self.user.origin != key.origin() {
            return Err(EphemeralError::Shape("origin"));
        }
        self.check()?;
        let map = self.to_map();
        let signature = key.sign(&signing_input(&map));
        Ok(encode_own(&Value::Map(map.with("signature", signature.as_slice()))))
    }

    /// Whether it may hold at `now_ms` by a clock that differs from the sender's by at most [`MAX_CLOCK_SKEW_MS`].
    pub fn is_current(&self, now_ms: u64) -> bool {
        let begun = self.at_ms <= now_ms.saturating_add(MAX_CLOCK_SKEW_MS);
        begun && self.at_ms.saturating_add(self.lasts_ms).saturating_add(MAX_CLOCK_SKEW_MS) >= now_ms
    }

    fn check(&self) -> Result<(), EphemeralError> {
        if !(1..=MAX_NUMBER).contains(&self.at_ms) {
            return Err(EphemeralError::Shape("at"));
        }
        if !(1..=self.signal.kind().longest_ms()).contains(&self.lasts_ms) {
            return Err(EphemeralError::Shape("for"));
        }
        Ok(())
    }

    fn to_map(&self) -> Map {
        let map = Map::new()
            .with("ephemeral", self.signal.kind().word())
            .with("room", self.room.hash().as_slice())
            .with("origin", self.user.origin.as_bytes().as_slice())
            .with("user", self.user.localpart.as_str())
            .with("at", self.at_ms)
            .with("for", self.lasts_ms);
        match &self.signal {
            Signal::Typing(on) => map.with("on", *on),
            Signal::Presence(presence) => map.with("status", presence.word()),
            Signal::Read(event) => map.with("event", event.hash().as_slice()),
        }
    }
}

/// A message whose signature is still to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedEphemeral {
    claim: Ephemeral,
    signature: [u8; 64],
}

impl UnverifiedEphemeral {
    /// Whether bytes are meant as an ephemeral message, sound or not: a map, which no frame of an event is.
    pub fn is_meant(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|first| first >> 5 == MAP)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`EphemeralError`]; the fault of whoever sent it, unless it is [`EphemeralError::Unknown`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EphemeralError> {
        use EphemeralError::Shape;
        if bytes.len() > MAX_EPHEMERAL_BYTES {
            return Err(EphemeralError::TooLarge(bytes.len()));
        }
        let value = codec::decode(bytes)?;
        let map = value.as_map().ok_or(Shape("map"))?;
        let hash = |key: &'static str| -> Result<[u8; 32], EphemeralError> {
            map.get(key).and_then(Value::as_bytes).and_then(|bytes| bytes.try_into().ok()).ok_or(Shape(key))
        };
        let number = |key: &'static str| map.get(key).and_then(Value::as_u64).ok_or(Shape(key));
        let word = map.get("ephemeral").and_then(Value::as_text).ok_or(Shape("kind"))?;
        let signature: Option<[u8; 64]> =
            map.get("signature").and_then(Value::as_bytes).and_then(|bytes| bytes.try_into().ok());
        let signature = signature.ok_or(Shape("signature"))?;
        let localpart = map.get("user").and_then(Value::as_text).and_then(|text| text.parse::<Localpart>().ok());
        let user = UserId { origin: Origin::from_bytes(hash("origin")?), localpart: localpart.ok_or(Shape("user"))? };
        let signal = match word {
            "typing" => Signal::Typing(map.get("on").and_then(Value::as_bool).ok_or(Shape("on"))?),
            "presence" => {
                let status = map.get("status").and_then(Value::as_text).ok_or(Shape("status"))?;
                Signal::Presence(Presence::from_word(status).ok_or(EphemeralError::Unknown)?)
            }
            "read" => Signal::Read(EventId::from_hash(hash("event")?)),
            _ => return Err(EphemeralError::Unknown),
        };
        if map.len() != ENTRIES {
            return Err(Shape("field"));
        }
        let (room, at_ms, lasts_ms) = (RoomId::from_hash(hash("room")?), number("at")?, number("for")?);
        let claim = Ephemeral { room, user, signal, at_ms, lasts_ms };
        claim.check()?;
        Ok(UnverifiedEphemeral { claim, signature })
    }

    /// What it claims to be.
    pub fn claim(&self) -> &Ephemeral {
        &self.claim
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`EphemeralError::Signature`].
    pub fn verify(self) -> Result<Ephemeral, EphemeralError> {
        // There is one encoding of what was read, so that writing it again gives what was signed.
        if !self.claim.user.origin.verifies(&signing_input(&self.claim.to_map()), &self.signature) {
            return Err(EphemeralError::Signature);
        }
        Ok(self.claim)
    }
}

/// The message id by which gossip drops copies: a hash of all bytes.
pub(super) fn message_id(bytes: &[u8]) -> [u8; 32] {
    blake3::derive_key(MESSAGE_ID_DOMAIN, bytes)
}

/// What the signature is over: the domain, and the map without the signature.
fn signing_input(map: &Map) -> Vec<u8> {
    [EPHEMERAL_DOMAIN, &encode_own(&Value::Map(map.clone()))].concat()
}
