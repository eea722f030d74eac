//! Whom to ask for a file, and for how much of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::id::{FileId, RoomId};
use tokio::time::Instant;

use crate::engine::Engine;
use crate::network::peer_id;

/// Ranges that one holder is asked for at once. One that has brought nothing yet gets a single one, since it may only stall.
const PER_HOLDER: usize = 4;
/// How long a holder rests that was asked too often.
const REST: Duration = Duration::from_secs(2);
/// How often a holder may rest before it is asked no more.
const RESTS: u32 = 5;
/// How often it is looked for servers that have come meanwhile.
const GLANCE: Duration = Duration::from_secs(2);

/// Servers that may have a file.
pub(super) struct Holders {
    room: RoomId,
    file: FileId,
    known: BTreeMap<PeerId, Holder>,
    looked: Option<Instant>,
}

#[derive(Debug, Default)]
struct Holder {
    /// Ranges that it was asked for and has not answered.
    busy: usize,
    /// Ranges that it has brought.
    brought: u64,
    /// Whether it is asked no more.
    out: bool,
    rests: u32,
    rests_until: Option<Instant>,
}

impl Holders {
    pub(super) fn of(room: RoomId, file: FileId) -> Self {
        Holders { room, file, known: BTreeMap::new(), looked: None }
    }

    /// Looks, now and then, which servers of the room are connected.
    pub(super) async fn look(&mut self, engine: &Engine) {
        let now = Instant::now();
        if self.looked.is_some_and(|looked| now < looked + GLANCE) {
            return;
        }
        self.looked = Some(now);
        let Ok((state, _)) = engine.state(self.room).await else { return };
        let Ok(ready) = engine.network.ready().await else { return };
        let members: BTreeSet<PeerId> =
            state.servers().iter().filter(|origin| **origin != engine.origin).map(peer_id).collect();
        for peer in ready.into_iter().filter(|peer| members.contains(peer)) {
            if engine.policy.may_federate(&peer) && !engine.files.shuns(self.file, peer) {
                self.known.entry(peer).or_default();
            }
        }
    }

    /// Takes a holder that has time for one more range and is none of `others`: the one with the least to do, and of equals one
    /// that has brought something.
    pub(super) fn take(&mut self, others: &BTreeSet<PeerId>, now: Instant) -> Option<PeerId> {
        let free = self.known.iter_mut().filter(|(peer, holder)| {
            let rested = holder.rests_until.is_none_or(|until| until <= now);
            let most = if holder.brought > 0 { PER_HOLDER } else { 1 };
            !holder.out && rested && holder.busy < most && !others.contains(*peer)
        });
        let (peer, holder) = free.min_by_key(|(_, holder)| (holder.busy, holder.brought == 0))?;
        holder.busy += 1;
        Some(*peer)
    }

    /// Until when whoever may be asked later rests; none if there is nobody.
    pub(super) fn rested(&self) -> Option<Instant> {
        let waiting = self.known.values().filter(|holder| !holder.out);
        waiting.filter_map(|holder| holder.rests_until).min()
    }

    /// The holder has answered.
    pub(super) fn answered(&mut self, peer: &PeerId, brought: bool) {
        if let Some(holder) = self.known.get_mut(peer) {
            holder.busy = holder.busy.saturating_sub(1);
            holder.brought += u64::from(brought);
        }
    }

    /// The holder is asked for nothing more of this file.
    pub(super) fn leave_out(&mut self, peer: &PeerId) {
        if let Some(holder) = self.known.get_mut(peer) {
            holder.out = true;
        }
    }

    /// The holder was asked too often.
    pub(super) fn rest(&mut self, peer: &PeerId, now: Instant) {
        if let Some(holder) = self.known.get_mut(peer) {
            holder.rests += 1;
            holder.out |= holder.rests > RESTS;
            holder.rests_until = Some(now + REST);
        }
    }

    /// How many were found.
    pub(super) fn found(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    fn holders(count: u8) -> (Holders, Vec<PeerId>) {
        let mut holders = Holders::of(RoomId::from_hash([1; 32]), FileId::from_hash([2; 32]));
        let peer =
            |seed: u8| Keypair::ed25519_from_bytes([seed; 32]).expect("32 bytes are a key").public().to_peer_id();
        let peers: Vec<PeerId> = (1..=count).map(peer).collect();
        for peer in &peers {
            holders.known.insert(*peer, Holder::default());
        }
        (holders, peers)
    }

    #[test]
    fn work_is_spread_and_grows_with_what_a_holder_has_brought() {
        let (mut holders, peers) = holders(3);
        let (nobody, now) = (BTreeSet::new(), Instant::now());
        let first: BTreeSet<PeerId> = (0..99).filter_map(|_| holders.take(&nobody, now)).collect();
        assert_eq!(first, peers.iter().copied().collect(), "each is tried with one range");
        holders.answered(&peers[1], true);
        let then: Vec<PeerId> = (0..99).filter_map(|_| holders.take(&nobody, now)).collect();
        assert_eq!(then, vec![peers[1]; PER_HOLDER]);
    }

    #[test]
    fn whoever_brought_something_is_preferred_and_whoever_is_left_out_is_not_asked() {
        let (mut holders, peers) = holders(3);
        let (nobody, now) = (BTreeSet::new(), Instant::now());
        let best = *peers.iter().max().expect("there are three");
        holders.answered(&best, true);
        assert_eq!(holders.take(&nobody, now), Some(best));
        holders.answered(&best, false);
        holders.leave_out(&best);
        let taken: Vec<PeerId> = (0..99).filter_map(|_| holders.take(&nobody, now)).collect();
        assert!(!taken.contains(&best) && taken.len() == 2);
        let everybody: BTreeSet<PeerId> = peers.iter().copied().collect();
        holders.answered(&taken[0], true);
        assert_eq!(holders.take(&everybody, now), None, "nobody is asked twice for one thing");
    }

    #[test]
    fn whoever_is_asked_too_often_rests_and_in_the_end_is_left_alone() {
        let (mut holders, peers) = holders(1);
        let (nobody, mut now) = (BTreeSet::new(), Instant::now());
        for _ in 0..RESTS {
            assert_eq!(holders.take(&nobody, now), Some(peers[0]));
            holders.answered(&peers[0], false);
            holders.rest(&peers[0], now);
            assert_eq!(holders.take(&nobody, now), None);
            now = holders.rested().expect("it rests");
        }
        holders.rest(&peers[0], now);
        assert_eq!((holders.rested(), holders.take(&nobody, now + REST)), (None, None));
    }
}
