//! Which signals are new, and whether there were too many. Pure: the moment is an argument, and nothing is kept for long.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::{Origin, UserId};
use rocketmesh_protocol::limits::MAX_CLOCK_SKEW_MS;
use rocketmesh_protocol::wire::{Ephemeral, Signal, SignalKind};
use tokio::time::Instant;

use crate::network::Quota;

/// The most signals that are remembered, each some 200 bytes. With more, new ones are dropped until some are over.
const MOST: usize = 8192;
/// The most of one server's users: one with many users must not silence everybody else.
const MOST_OF_SERVER: usize = MOST / 2;
/// The most users, servers and peers whose signals are counted. Beyond it all of a kind are forgotten, which forgives.
const MOST_COUNTED: usize = 4096;
/// Signals a second and at once: of a user, in all rooms; of a server's users; and what a peer may bring, of whomever it is.
const OF_USER: (f64, f64) = (2.0, 40.0);
const OF_SERVER: (f64, f64) = (20.0, 200.0);
const OF_PEER: (f64, f64) = (50.0, 400.0);

/// Of each room, user and kind only the last signal counts.
pub(super) type Key = (RoomId, UserId, SignalKind);

/// The key of a signal.
pub(super) fn key(said: &Ephemeral) -> Key {
    (said.room, said.user.clone(), said.signal.kind())
}

#[derive(Debug)]
struct Entry {
    /// The last one's time by its sender's clock, which is its sequence number.
    at_ms: u64,
    /// Until when a copy of it could pass for new.
    remembered: Instant,
    /// Until when somebody types.
    typing: Option<Instant>,
    /// Whether somebody waits for the end of that.
    watched: bool,
}

/// What becomes of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is new. Its end is waited for already, or it has none that anybody has to be told of.
    Shown,
    /// It is new, and its end is to be waited for.
    ShownAndWatched,
    /// It is not newer than the last one.
    Old,
    /// There are too many.
    TooMany,
}

/// What a look at the end of a signal comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was renewed.
    Later(Instant),
    /// It is over, and nobody has said so.
    Now,
    /// It was said already.
    Told,
}

/// The ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Key, Entry>,
    users: BTreeMap<UserId, Quota>,
    servers: BTreeMap<Origin, Quota>,
    peers: BTreeMap<PeerId, Quota>,
}

impl Ledger {
    /// Whether a peer may bring one more.
    pub(super) fn may_bring(&mut self, peer: PeerId, now: Instant) -> bool {
        take(&mut self.peers, peer, OF_PEER, now)
    }

    /// Whether a signal is newer than the last of its kind, user and room.
    pub(super) fn is_new(&self, said: &Ephemeral) -> bool {
        self.entries.get(&key(said)).is_none_or(|entry| entry.at_ms < said.at_ms)
    }

    /// A time for this server's next signal: its clock's, and later than that of the last one.
    pub(super) fn next_at(&self, key: &Key, now_ms: u64) -> u64 {
        self.entries.get(key).map_or(now_ms, |entry| now_ms.max(entry.at_ms + 1))
    }

    /// Takes a signal whose signature was checked.
    pub(super) fn admit(&mut self, said: &Ephemeral, now: Instant) -> Admission {
        if !self.is_new(said) {
            return Admission::Old;
        }
        let allowed = take(&mut self.users, said.user.clone(), OF_USER, now)
            && take(&mut self.servers, said.user.origin, OF_SERVER, now);
        let key = key(said);
        if !allowed || !self.has_room_for(&key, now) {
            return Admission::TooMany;
        }
        let lasts = Duration::from_millis(said.lasts_ms);
        let typing = (said.signal == Signal::Typing(true)).then_some(now + lasts);
        let last = self.entries.get(&key);
        let before = last.is_some_and(|entry| entry.watched);
        let watched = before || typing.is_some();
        // By this clock a copy passes for new until then, at the latest; and one of an earlier signal that was to hold for longer,
        // until what was remembered of that.
        let remembered = now + lasts + Duration::from_millis(2 * MAX_CLOCK_SKEW_MS);
        let remembered = last.map_or(remembered, |entry| remembered.max(entry.remembered));
        self.entries.insert(key, Entry { at_ms: said.at_ms, remembered, typing, watched });
        if watched && !before { Admission::ShownAndWatched } else { Admission::Shown }
    }

    /// Looks whether somebody still types, for whoever waits for the end.
    pub(super) fn end(&mut self, key: &Key, now: Instant) -> End {
        let Some(entry) = self.entries.get_mut(key) else { return End::Told };
        match entry.typing {
            Some(until) if until > now => End::Later(until),
            until => {
                (entry.typing, entry.watched) = (None, false);
                if until.is_some() { End::Now } else { End::Told }
            }
        }
    }

    fn has_room_for(&mut self, key: &Key, now: Instant) -> bool {
        if self.entries.len() < MOST_OF_SERVER || self.entries.contains_key(key) {
            return true;
        }
        self.entries.retain(|_, entry| entry.remembered > now || entry.watched);
        let (_, user, _) = key;
        let of_server = self.entries.keys().filter(|(_, other, _)| other.origin == user.origin).count();
        self.entries.len() < MOST && of_server < MOST_OF_SERVER
    }
}

fn take<K: Ord>(quotas: &mut BTreeMap<K, Quota>, whose: K, (per_second, burst): (f64, f64), now: Instant) -> bool {
    if quotas.len() >= MOST_COUNTED && !quotas.contains_key(&whose) {
        quotas.clear();
    }
    quotas.entry(whose).or_insert_with(|| Quota::new(per_second, burst, now)).take(now)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn typing(user: u32, at_ms: u64, on: bool) -> Ephemeral {
        let localpart = format!("user{user}").parse().unwrap();
        let user = UserId { origin: Origin::from_bytes([1; 32]), localpart };
        let room = RoomId::from_hash([7; 32]);
        Ephemeral { room, user, signal: Signal::Typing(on), at_ms, lasts_ms: 15_000 }
    }

    #[test]
    fn only_what_is_newer_counts() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        assert_eq!(ledger.admit(&typing(1, 10, true), now), Admission::ShownAndWatched);
        assert_eq!(ledger.admit(&typing(1, 10, false), now), Admission::Old);
        assert_eq!(ledger.admit(&typing(1, 9, false), now), Admission::Old);
        assert_eq!(ledger.admit(&typing(1, 11, true), now), Admission::Shown);
        assert_eq!(ledger.next_at(&key(&typing(1, 0, true)), 5), 12);
        assert_eq!(ledger.next_at(&key(&typing(2, 0, true)), 5), 5);
    }

    #[test]
    fn typing_ends_by_itself_and_is_told_once() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let on = typing(1, 10, true);
        ledger.admit(&on, now);
        let until = now + Duration::from_millis(15_000);
        assert_eq!(ledger.end(&key(&on), now), End::Later(until));
        assert_eq!(ledger.end(&key(&on), until), End::Now);
        assert_eq!(ledger.end(&key(&on), until), End::Told);
        assert_eq!(
            ledger.admit(&typing(1, 11, true), until),
            Admission::ShownAndWatched,
            "the next one is watched anew"
        );
        ledger.admit(&typing(1, 12, false), until);
        assert_eq!(ledger.end(&key(&on), until), End::Told, "somebody who stopped has said so");
    }

    #[test]
    fn a_flood_of_one_user_and_of_one_server_is_cut_off_and_what_is_remembered_is_bounded() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let shown = |admission: Admission| matches!(admission, Admission::Shown | Admission::ShownAndWatched);
        let of_one = (0..200_u64).filter(|at| shown(ledger.admit(&typing(1, 10 + *at, true), now))).count();
        assert_eq!(of_one, 40);
        let of_all = (0..1000_u32).filter(|user| shown(ledger.admit(&typing(10 + *user, 1, true), now))).count();
        assert_eq!(of_all, 160, "a server's users share what is left");
        for user in 0..20_000_u32 {
            ledger.admit(&typing(5000 + user, 1, true), now + Duration::from_secs(u64::from(user)));
        }
        assert!(ledger.entries.len() <= MOST && ledger.users.len() <= MOST_COUNTED);
    }

    #[test]
    fn a_server_with_many_users_leaves_room_for_those_of_others() {
        let (mut ledger, begun) = (Ledger::default(), Instant::now());
        let present = |server: u8, user: usize| {
            let signal = Signal::Presence(rocketmesh_protocol::wire::Presence::Online);
            let mut said = Ephemeral { signal, lasts_ms: 600_000, ..typing(0, 1, true) };
            said.user =
                UserId { origin: Origin::from_bytes([server; 32]), localpart: format!("user{user}").parse().unwrap() };
            said
        };
        // As many as a server may say, so that none of it lapses meanwhile.
        let mut now = begun;
        for user in 0..MOST_OF_SERVER + 100 {
            now = begun + Duration::from_millis(60 * user as u64);
            let admission = ledger.admit(&present(1, user), now);
            assert_eq!(admission == Admission::Shown, user < MOST_OF_SERVER, "{user}");
        }
        assert_eq!(ledger.admit(&present(2, 1), now), Admission::Shown);
    }

    #[test]
    fn a_shorter_signal_does_not_let_a_longer_one_be_told_again() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let long = Ephemeral { lasts_ms: 600_000, ..typing(1, 10, true) };
        ledger.admit(&long, now);
        ledger.admit(&Ephemeral { lasts_ms: 1, ..typing(1, 11, true) }, now);
        let entry = ledger.entries.get(&key(&long)).unwrap();
        assert_eq!(entry.remembered, now + Duration::from_millis(600_000 + 2 * MAX_CLOCK_SKEW_MS));
    }
}
