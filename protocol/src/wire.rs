//! What servers say to each other: gossip frames, ephemeral messages, requests and responses, and the first exchange.
//!
//! Every message is deterministic DAG-CBOR, decoded as strictly as an event. Every protocol name carries a version; the
//! first exchange ([`Hello`]) tells which versions each side speaks and has its own name, which never changes.

mod brief;
mod contacts;
mod ephemeral;
mod gossip;
mod hello;
mod request;

pub use contacts::Contact;
pub use ephemeral::{EPHEMERAL_DOMAIN, Ephemeral, EphemeralError, Presence, Signal, SignalKind, UnverifiedEphemeral};
pub use gossip::{GossipFrame, gossip_message_id, topic};
pub use hello::{Hello, common_version};
pub use request::{Refused, Request, Response, WireEvent};

use crate::codec::CodecError;
use crate::event::EventError;
use crate::have::HaveError;

/// The version of requests, responses and gossip frames that this build speaks.
pub const WIRE_VERSION: u64 = 0;

/// The first exchange. It must be understood by every version for ever, so its name does not move with [`WIRE_VERSION`].
pub const HELLO_PROTOCOL: &str = "/rocketmesh/hello/1";
/// Requests and responses about rooms.
pub const SYNC_PROTOCOL: &str = "/rocketmesh/sync/0";
/// Gossip of room events is gossipsub under its own names, `/meshsub/1.1.0` and later, which carry its version; ours is in
/// the names of topics. libp2p speaks gossipsub 1.2, which spares copies, under no other name.
pub const GOSSIPSUB: &str = "/meshsub/";
/// The distributed hash table.
pub const DHT_PROTOCOL: &str = "/rocketmesh/kad/0";
/// What identify announces as the protocol family.
pub const IDENTIFY_PROTOCOL: &str = "/rocketmesh/0";

/// Why bytes are no message. The fault of whoever sent them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not deterministic DAG-CBOR.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A have-vector inside is malformed.
    #[error(transparent)]
    Have(#[from] HaveError),
    /// An event inside is malformed.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Not of the message's shape.
    #[error("not a {message}: {problem}")]
    Shape {
        /// What was expected.
        message: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// Larger than the message may be.
    #[error("a message of {0} bytes, more than the limit of {1}")]
    TooLarge(usize, usize),
}

fn shape(message: &'static str, problem: &'static str) -> WireError {
    WireError::Shape { message, problem }
}
