//! Ids of messages that are made from ids of events, so that inserting one twice inserts it once.
//!
//! Rocket.Chat makes ids of 17 characters from an alphabet of 55, which is Meteor's: letters and digits that are not taken for one
//! another. A derived id is the first 16 bytes of a BLAKE3 hash in that alphabet, which is 98 bits of it. Nobody meets the same
//! one twice by chance; and whoever could make two events with one derived id would have to search through 2^49 of them.

use rocketmesh_protocol::id::EventId;

/// The characters of an id.
pub(crate) const ALPHABET: &[u8; 55] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
/// How many characters an id has.
pub(crate) const LENGTH: usize = 17;

/// Keeps these hashes apart from all others.
const DOMAIN: &str = "rocketmesh 2026 rocketchat message id";

/// The id of the message that stands for an event. `showing` counts how often it was taken away before: an id that was used and
/// deleted may still be hidden on the server, and would then not come back.
pub(crate) fn message_id(event: &EventId, showing: u32) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    hasher.update(event.hash());
    hasher.update(&showing.to_be_bytes());
    let hash = hasher.finalize();
    let mut number = hash.as_bytes()[..16].iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let base = ALPHABET.len() as u128;
    let mut id = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        id.push(char::from(ALPHABET[(number % base) as usize]));
        number /= base;
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_derived_id_looks_like_one_of_the_servers_own_and_is_always_the_same() {
        let event = EventId::from_hash([7; 32]);
        let id = message_id(&event, 0);
        assert_eq!(id.len(), LENGTH);
        assert!(id.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(id, message_id(&event, 0));
    }

    #[test]
    fn no_two_events_and_no_two_showings_share_an_id() {
        let mut seen = BTreeSet::new();
        for number in 0..2_000_u32 {
            let event = EventId::of_block(&number.to_be_bytes());
            for showing in 0..3 {
                assert!(seen.insert(message_id(&event, showing)));
            }
        }
    }
}
