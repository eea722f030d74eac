//! Whom to ask for a file, and for how much of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::id::{FileId, RoomId};
use tokio::time::Instant;

use crate::clock::random_16;
use crate::engine::Engine;
use crate::network::peer_id;

/// Ranges that one holder is asked for at once. One that has brought nothing yet gets a single one, since it may only stall; and so
/// does one whose last range took longer than this, which is less than 256 KiB a second.
const PER_HOLDER: usize = 4;
const QUICK: Duration = Duration::from_secs(4);
/// How long a holder rests that was asked too often.
const REST: Duration = Duration::from_secs(2);
/// How often a holder may rest before it is asked no more.
const RESTS: u32 = 5;
/// How often it is looked for servers that have come meanwhile.
const GLANCE: Duration = Duration::from_secs(2);

/// Servers that may have a file.
pub(super) struct Holders {
    /// Rooms that name it. A holder may have it by any of them.
    rooms: Vec<RoomId>,
    file: FileId,
    /// Makes another order of equals in each fetch: who has a low id, which costs nothing to find, is not asked first for that.
    salt: [u8; 16],
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
    /// Rooms by which it may be asked.
    rooms: VecDeque<RoomId>,
    /// Rooms by which it does not have the file.
    not_by: BTreeSet<RoomId>,
    /// Whether its last range took long.
    lagging: bool,
    /// Whether it left a request unanswered lately.
    slow: bool,
    rank: u64,
}

impl Holders {
    pub(super) fn of(engine: &Engine, rooms: Vec<RoomId>, file: FileId) -> Self {
        Holders { rooms, file, salt: random_16(&*engine.entropy), known: BTreeMap::new(), looked: None }
    }

    /// Looks, now and then, which servers of the room are connected.
    pub(super) async fn look(&mut self, engine: &Engine) {
        let now = Instant::now();
        if self.looked.is_some_and(|looked| now < looked + GLANCE) {
            return;
        }
        self.looked = Some(now);
        let Ok(ready) = engine.network.ready().await else { return };
        for room in self.rooms.clone() {
            let Ok((state, _)) = engine.state(room).await else { continue };
            let members: BTreeSet<PeerId> =
                state.servers().iter().filter(|origin| **origin != engine.origin).map(peer_id).collect();
            for peer in ready.iter().filter(|peer| members.contains(*peer)) {
                if engine.policy.may_federate(peer) && !engine.files.shuns(self.file, *peer) {
                    let rank = rank(&self.salt, peer);
                    let new = || Holder { rank, slow: engine.files.is_slow(peer), ..Holder::default() };
                    self.known.entry(*peer).or_insert_with(new).may_have(room);
                }
            }
        }
    }

    /// Takes a holder that has time for one more range and is none of `others`: one that answers before one that lately did not, the
    /// one with the least to do, and of equals one that has brought something.
    pub(super) fn take(&mut self, others: &BTreeSet<PeerId>, now: Instant) -> Option<PeerId> {
        let free = self.known.iter_mut().filter(|(peer, holder)| {
            let rested = holder.rests_until.is_none_or(|until| until <= now);
            let most = if holder.brought > 0 && !holder.lagging { PER_HOLDER } else { 1 };
            !holder.out && rested && holder.busy < most && !others.contains(*peer)
        });
        let (peer, holder) =
            free.min_by_key(|(_, holder)| (holder.slow, holder.busy, holder.brought == 0, holder.rank))?;
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

    /// The room by which the holder is to be asked.
    pub(super) fn room(&self, peer: &PeerId) -> Option<RoomId> {
        self.known.get(peer)?.rooms.front().copied()
    }

    /// How long the holder took for a range.
    pub(super) fn took(&mut self, peer: &PeerId, time: Duration) {
        if let Some(holder) = self.known.get_mut(peer) {
            holder.lagging = time > QUICK;
        }
    }

    /// The holder does not have the file by this room. It is asked by another one that it is in, or for nothing more.
    pub(super) fn not_by(&mut self, peer: &PeerId, room: &RoomId) {
        if let Some(holder) = self.known.get_mut(peer) {
            holder.not_by.insert(*room);
            holder.rooms.retain(|other| other != room);
            holder.out |= holder.rooms.is_empty();
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

impl Holder {
    fn may_have(&mut self, room: RoomId) {
        if !self.rooms.contains(&room) && !self.not_by.contains(&room) {
            self.rooms.push_back(room);
        }
    }
}

fn rank(salt: &[u8; 16], peer: &PeerId) -> u64 {
    let hash = blake3::hash(&[&salt[..], &peer.to_bytes()].concat());
    hash.as_bytes().first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    fn holders(count: u8) -> (Holders, Vec<PeerId>) {
        let (rooms, file) = (vec![RoomId::from_hash([1; 32])], FileId::from_hash([2; 32]));
        let mut holders = Holders { rooms, file, salt: [0; 16], known: BTreeMap::new(), looked: None };
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

    #[test]
    fn whoever_lags_gets_one_range_at_a_time_and_whoever_was_silent_comes_last() {
        let (mut holders, peers) = holders(2);
        let (nobody, now) = (BTreeSet::new(), Instant::now());
        holders.known.get_mut(&peers[0]).expect("it is known").slow = true;
        assert_eq!(holders.take(&nobody, now), Some(peers[1]));
        assert_eq!(holders.take(&nobody, now), Some(peers[0]));
        for peer in &peers {
            holders.answered(peer, true);
            holders.took(peer, QUICK * 2);
        }
        let taken: Vec<PeerId> = (0..99).filter_map(|_| holders.take(&nobody, now)).collect();
        assert_eq!(taken, [peers[1], peers[0]]);
        holders.answered(&peers[1], true);
        holders.took(&peers[1], QUICK);
        let taken: Vec<PeerId> = (0..99).filter_map(|_| holders.take(&nobody, now)).collect();
        assert_eq!(taken, [peers[1]; PER_HOLDER]);
    }

    #[test]
    fn a_holder_is_asked_by_each_room_that_it_shares_before_it_is_left_out() {
        let (mut holders, peers) = holders(1);
        let [one, other] = [1, 2].map(|seed| RoomId::from_hash([seed; 32]));
        let holder = holders.known.get_mut(&peers[0]).expect("it is known");
        holder.may_have(one);
        holder.may_have(other);
        assert_eq!(holders.room(&peers[0]), Some(one));
        holders.not_by(&peers[0], &one);
        // A second answer of the same kind says nothing of the other room.
        holders.not_by(&peers[0], &one);
        holders.known.get_mut(&peers[0]).expect("it is known").may_have(one);
        assert_eq!(holders.room(&peers[0]), Some(other));
        assert_eq!(holders.take(&BTreeSet::new(), Instant::now()), Some(peers[0]));
        holders.answered(&peers[0], false);
        holders.not_by(&peers[0], &other);
        assert_eq!(holders.take(&BTreeSet::new(), Instant::now()), None);
    }
}
