//! Gossip: one event in a frame, or one ephemeral message, on a topic whose name alone tells nobody which room it is.

use crate::event::{Event, UnverifiedEvent};
use crate::id::RoomId;
use crate::limits::MAX_GOSSIP_BYTES;
use crate::wire::{UnverifiedEphemeral, WireError, WireEvent, ephemeral};

const TOPIC_DOMAIN: &str = "rocketmesh 0 gossip topic";
const GARBAGE_DOMAIN: &str = "rocketmesh 0 id of a gossip message that holds no event";

/// The topic on which a room's events travel: a hash, so that watching subscriptions does not reveal which room it is.
pub fn topic(room: &RoomId) -> String {
    multibase::Base::Base64Url.encode(blake3::derive_key(TOPIC_DOMAIN, room.hash()))
}

/// A gossip message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipFrame(UnverifiedEvent);

impl GossipFrame {
    /// The frame of an event.
    pub fn encode(event: &Event) -> Vec<u8> {
        crate::event::encode_own(&WireEvent::of(event).to_value())
    }

    /// Reads a frame and the event in it.
    ///
    /// # Errors
    /// [`WireError`]; the sender should be blamed.
    pub fn decode(bytes: &[u8]) -> Result<UnverifiedEvent, WireError> {
        if bytes.len() > MAX_GOSSIP_BYTES {
            return Err(WireError::TooLarge(bytes.len(), MAX_GOSSIP_BYTES));
        }
        let wire = WireEvent::from_value(&crate::codec::decode(bytes)?)?;
        Ok(wire.decode()?)
    }
}

/// The message id by which gossip drops duplicates: the event's id. What holds no sound event, or one
/// without its body, gets an id of its own, so that nobody can use up an event's id with a broken copy of it. So does every
/// ephemeral message.
pub fn gossip_message_id(bytes: &[u8]) -> [u8; 32] {
    if UnverifiedEphemeral::is_meant(bytes) {
        return ephemeral::message_id(bytes);
    }
    match GossipFrame::decode(bytes) {
        Ok(event) if !event.lacks_body() => *event.id().hash(),
        _ => blake3::derive_key(GARBAGE_DOMAIN, bytes),
    }
}
