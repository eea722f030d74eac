//! What was deleted in Rocket.Chat: heard where the room's streams are open, and asked for where it may have been missed.
//!
//! Deletions are told room by room, and few such streams may be opened at a time: after a new connection the last of many rooms hear messages
//! for minutes before they hear deletions, and rooms beyond a bound hear none at all. So how far deletions are known is recorded by itself
//! ([`Federated::gone_ms`](crate::rocketchat::records::Federated::gone_ms)). It goes on with the messages only while both streams of the room
//! are known to be open. Whatever was deleted since is asked for once they are, when the room catches up, and now and then where
//! they never are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::catching_up::OVERLAP_MS;
use super::room::RoomTask;
use super::{Bridge, Heard, Stall, lock};
use crate::rocketchat::client::Moment;
use crate::rocketchat::records::Changes;

/// A room whose deletions are not heard is asked for them when it is compared, but not again within this time.
const UNHEARD: Duration = Duration::from_secs(5 * 60);

/// Whether the deletions of a room are heard as they happen: by the number of the time for which that is so, which is never used again.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    last: AtomicU64,
    /// 0 if they are not.
    now: AtomicU64,
}

impl Hearing {
    /// They are heard from here on. The number of that.
    fn begin(&self) -> u64 {
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        self.now.store(number, Ordering::SeqCst);
        number
    }

    fn end(&self) {
        self.now.store(0, Ordering::SeqCst);
    }

    /// They are not heard any more as they were under this number.
    fn end_of(&self, number: u64) {
        let _ = self.now.compare_exchange(number, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }
}

/// How far a room's task knows what was deleted.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The number of the time since the beginning of which nothing is missing; 0 if there is none.
    since: u64,
    /// When it was last asked for.
    asked: Option<Instant>,
}

impl Bridge {
    /// Single deletions of a room are heard from here on; `whole`: those of many at once too. The number of that, if so.
    pub(super) fn hears_deletions(&self, rid: &str, whole: bool) -> Option<u64> {
        let handle = lock(&self.rooms).get(rid).cloned()?;
        // Before it is asked for what was missed: nothing may fall between the two.
        let number = whole.then(|| handle.hearing.begin());
        handle.offer(Heard::Unheard);
        number
    }

    /// Deletions of a room are not heard any more; with none, of every room that the service account listens to.
    pub(super) fn is_deaf(&self, rid: Option<&str>) {
        let rooms = lock(&self.rooms);
        let meant = rooms.iter().filter(|(own, _)| rid.is_none_or(|rid| rid == own.as_str()));
        meant.filter(|(_, handle)| !handle.read_as_another).for_each(|(_, handle)| handle.hearing.end());
    }

    /// The same, of rooms that another account listens to, each under the number that it had.
    pub(super) fn is_deaf_to(&self, heard: &mut BTreeMap<String, u64>) {
        let rooms = lock(&self.rooms);
        for (rid, number) in std::mem::take(heard) {
            if let Some(handle) = rooms.get(&rid) {
                handle.hearing.end_of(number);
            }
        }
    }
}

impl RoomTask {
    /// Whether nothing that is deleted is missed.
    pub(super) fn misses_no_deletion(&self) -> bool {
        self.known.since > 0 && self.known.since == self.hearing.now()
    }

    /// What is heard now may come behind a deletion that was not: it is asked for before that is so again.
    pub(super) fn may_miss_deletions(&mut self) {
        self.known.since = 0;
    }

    /// A message was handled. What was deleted before it is known too, if deletions are heard.
    pub(super) fn note_heard(&mut self) {
        if self.misses_no_deletion() {
            self.federated.gone_ms = self.federated.heard_ms;
        }
    }

    /// Takes what was deleted since that was last known.
    pub(super) async fn take_deleted(&mut self) -> Result<(), Stall> {
        // Both are older than the answer: what is deleted after it is heard, or asked for again.
        let (number, heard_ms) = (self.hearing.now(), self.federated.heard_ms);
        let gone_ms = self.federated.gone_ms;
        // Of what was before the room was opened nothing is asked for.
        let from_ms = gone_ms.saturating_sub(OVERLAP_MS).max(self.federated.since_ms.min(gone_ms));
        let since = Moment(i64::try_from(from_ms).unwrap_or(i64::MAX)).before(1);
        let client = self.reader().await?;
        let deleted = client.deleted_messages(&self.rid, since).await;
        for id in self.bridge.heed(&client, deleted)?? {
            self.gone(&id).await?;
        }
        self.known = Known { since: number, asked: Some(Instant::now()) };
        if heard_ms > gone_ms {
            self.federated.gone_ms = heard_ms;
            self.record(Changes::default()).await?;
        }
        Ok(())
    }

    /// Takes what was deleted, where that is not heard and was not asked for lately.
    pub(super) async fn ask_if_unheard(&mut self) -> Result<(), Stall> {
        if self.misses_no_deletion() || self.known.asked.is_some_and(|at| at.elapsed() < UNHEARD) {
            return Ok(());
        }
        self.take_deleted().await
    }
}

#[cfg(test)]
mod tests {
    use super::Hearing;

    #[test]
    fn the_end_of_an_earlier_connection_does_not_end_what_a_later_one_hears() {
        let hearing = Hearing::default();
        assert_eq!(hearing.now(), 0);
        let (first, second) = (hearing.begin(), hearing.begin());
        hearing.end_of(first);
        assert_eq!(hearing.now(), second);
        hearing.end_of(second);
        assert_eq!(hearing.now(), 0);
        assert!(hearing.begin() > second);
        hearing.end();
        assert_eq!(hearing.now(), 0);
    }
}
