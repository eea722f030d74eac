//! Where peers see this node, as far as several agree: what hole punching is tried at.
//!
//! Beside the ports that are listened on it may be one that a NAT has made of them, so that this is kept apart from what may be
//! advertised. Whoever is told to punch a hole dials all of it: what a single peer names would have others dial whom it likes.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use tokio::time::Instant;

use super::observed::{Block, Voices, agree, are_alike, voices_needed};

/// The most addresses that are kept, the most peers whose word about one is, and the most that are agreed on: libp2p offers
/// twenty, and nobody has more ways in than this.
const ADDRESSES: usize = 32;
const VOICES: usize = 32;
const AGREED: usize = 8;
/// How long a peer's word counts. It says it again every five minutes.
const WORD: Duration = Duration::from_secs(15 * 60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sightings(BTreeMap<Multiaddr, Voices>);

impl Sightings {
    /// A peer sees this node at these addresses, which are all of one kind. It no longer does where it saw it before.
    pub(super) fn see(&mut self, addresses: &[Multiaddr], peer: PeerId, from: Block, now: Instant) {
        for (address, voices) in &mut self.0 {
            if addresses.iter().any(|seen| are_alike(seen, address)) {
                voices.remove(&peer);
            }
            voices.retain(|_, (_, at)| now.duration_since(*at) < WORD);
        }
        self.0.retain(|_, voices| !voices.is_empty());
        for address in addresses {
            if self.0.len() >= ADDRESSES && !self.0.contains_key(address) {
                self.make_room();
            }
            let voices = self.0.entry(address.clone()).or_default();
            if voices.len() < VOICES {
                voices.insert(peer, (from, now));
            }
        }
    }

    /// Forgets what the fewest name.
    fn make_room(&mut self) {
        let goes = self.0.iter().min_by_key(|(_, voices)| voices.len()).map(|(address, _)| address.clone());
        if let Some(goes) = goes {
            self.0.remove(&goes);
        }
    }

    /// What enough peers agree on, of those that say anything about addresses of the same kind.
    pub(super) fn agreed(&self) -> Vec<Multiaddr> {
        let agreed = self.0.iter().filter(|(address, voices)| {
            let all = self.0.iter().filter(|(other, _)| are_alike(other, address)).map(|(_, voices)| voices);
            agree(voices, voices_needed(all))
        });
        agreed.map(|(address, _)| address.clone()).take(AGREED).collect()
    }

    /// The network has changed.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    const OURS: &str = "/ip4/198.51.100.1/udp/40000/quic-v1";
    const VICTIM: &str = "/ip4/192.0.2.66/udp/53/quic-v1";

    #[test]
    fn what_one_names_is_not_offered_where_others_see_something_else() {
        let now = Instant::now();
        let mut sightings = Sightings::default();
        let liar = PeerId::random();
        sightings.see(&[address(VICTIM)], liar, Block::V4([1, 1, 1]), now);
        for number in 2..=3 {
            sightings.see(&[address(OURS)], PeerId::random(), Block::V4([number; 3]), now);
        }
        assert_eq!(sightings.agreed(), [address(OURS)]);
        for number in 0..100_u16 {
            let made_up = format!("/ip4/192.0.2.66/udp/{number}/quic-v1");
            sightings.see(&[address(&made_up)], liar, Block::V4([1, 1, 1]), now);
        }
        assert_eq!(sightings.agreed(), [address(OURS)]);
        assert_eq!(sightings.0.len(), 2, "a peer's newest word is its only one");
    }

    #[test]
    fn a_nat_with_a_port_for_every_destination_leaves_nothing_to_agree_on() {
        let now = Instant::now();
        let mut sightings = Sightings::default();
        for number in 1..=4_u8 {
            let seen = format!("/ip4/198.51.100.1/udp/4000{number}/quic-v1");
            sightings.see(&[address(&seen)], PeerId::random(), Block::V4([number; 3]), now);
        }
        assert!(sightings.agreed().is_empty());
    }

    #[test]
    fn neighbours_are_one_voice_where_there_are_others_and_old_words_lapse() {
        let now = Instant::now();
        let mut sightings = Sightings::default();
        for _ in 0..3 {
            sightings.see(&[address(VICTIM)], PeerId::random(), Block::V4([1, 1, 1]), now);
        }
        let honest = PeerId::random();
        sightings.see(&[address(OURS)], honest, Block::V4([2, 2, 2]), now);
        assert!(sightings.agreed().is_empty());
        sightings.see(&[address(OURS)], honest, Block::V4([2, 2, 2]), now + WORD);
        assert_eq!(sightings.agreed(), [address(OURS)], "the others have said nothing for long");
    }

    #[test]
    fn a_neighbour_sees_the_local_address_and_has_nothing_to_say_about_the_other_one() {
        let now = Instant::now();
        let mut sightings = Sightings::default();
        sightings.see(&[address("/ip4/192.168.1.7/udp/4848/quic-v1")], PeerId::random(), Block::V4([192, 168, 1]), now);
        sightings.see(&[address(OURS)], PeerId::random(), Block::V4([2, 2, 2]), now);
        assert!(sightings.agreed().contains(&address(OURS)));
    }

    #[test]
    fn what_strangers_can_fill_is_bounded() {
        let now = Instant::now();
        let mut sightings = Sightings::default();
        for number in 0..=255_u8 {
            let made_up = format!("/ip4/192.0.2.{number}/udp/1/quic-v1");
            sightings.see(&[address(&made_up)], PeerId::random(), Block::V4([number; 3]), now);
        }
        assert_eq!(sightings.0.len(), ADDRESSES);
    }
}
