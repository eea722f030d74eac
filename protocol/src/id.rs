//! Content ids: what an event, a body, a room and a file are called.
//!
//! All are CIDs (version 1, BLAKE3-256), so that any IPLD tool can follow an exported room: of DAG-CBOR for the first three, of raw
//! bytes for files. Only that form is an id here; a link of any other form is refused where an id belongs. Their text is the
//! CID's own: base32, beginning with `bafyr4i`, or for files with `bafkr4i`.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use multihash::Multihash;

use crate::codec::Value;

/// Multicodec `dag-cbor`.
const DAG_CBOR: u64 = 0x71;
/// Multicodec `raw`: bytes that mean what they like.
const RAW: u64 = 0x55;
/// Multicodec `blake3`.
const BLAKE3: u64 = 0x1e;

/// How long the text of every id is: a multibase letter and 36 bytes in base32.
const TEXT_LEN: usize = 59;

/// Why a text or a link is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is no CID at all.
    #[error("`{0}` is not an id: expected a CID such as bafyr4i…, or bafkr4i… for a file (59 characters)")]
    NotACid(String),
    /// A CID, but not of version 1 with BLAKE3-256 and the codec of what it is to name.
    #[error("`{0}` is a CID of another kind: expected version 1, blake3-256, and dag-cbor, or raw for a file")]
    WrongForm(String),
}

macro_rules! content_id {
    ($(#[$doc:meta])* $name:ident, $codec:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id of a block with these bytes.
            pub fn of_block(block: &[u8]) -> Self {
                $name(*blake3::hash(block).as_bytes())
            }

            /// The id with this BLAKE3-256 hash.
            pub const fn from_hash(hash: [u8; 32]) -> Self {
                $name(hash)
            }

            /// The BLAKE3-256 hash in the id.
            pub const fn hash(&self) -> &[u8; 32] {
                &self.0
            }

            /// The id as a CID.
            pub fn to_cid(self) -> Cid {
                let hash = Multihash::wrap(BLAKE3, &self.0).expect("32 bytes fit a multihash of 64");
                Cid::new_v1($codec, hash)
            }
        }

        impl TryFrom<&Cid> for $name {
            type Error = IdError;

            fn try_from(cid: &Cid) -> Result<Self, IdError> {
                let wrong = || IdError::WrongForm(cid.to_string());
                if cid.version() != cid::Version::V1 || cid.codec() != $codec || cid.hash().code() != BLAKE3 {
                    return Err(wrong());
                }
                cid.hash().digest().try_into().map($name).map_err(|_| wrong())
            }
        }

        impl From<$name> for Value {
            fn from(id: $name) -> Self {
                Value::Link(id.to_cid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.to_cid().fmt(formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Reads the text form. Only the base32 form that [`fmt::Display`] writes is accepted, so that one id has one text.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let shown = || text.chars().take(80).collect::<String>();
                // Decoding some bases takes quadratic time, so that the length is checked first.
                if text.len() != TEXT_LEN {
                    return Err(IdError::NotACid(shown()));
                }
                let cid = Cid::try_from(text).map_err(|_| IdError::NotACid(shown()))?;
                let id = Self::try_from(&cid)?;
                if id.to_string() == text { Ok(id) } else { Err(IdError::WrongForm(shown())) }
            }
        }
    };
}

content_id! {
    /// The id of an event: the CID of its header block, signature included.
    EventId, DAG_CBOR
}

content_id! {
    /// The id of a body block.
    BodyId, DAG_CBOR
}

content_id! {
    /// The id of a room: that of its create event.
    RoomId, DAG_CBOR
}

content_id! {
    /// The id of a file: the hash of all its bytes, which is the root of a tree over them. See [`crate::file`].
    FileId, RAW
}

impl From<EventId> for RoomId {
    /// The room that a create event with this id makes.
    fn from(id: EventId) -> Self {
        RoomId(id.0)
    }
}

impl From<RoomId> for EventId {
    /// The create event of a room.
    fn from(id: RoomId) -> Self {
        EventId(id.0)
    }
}
