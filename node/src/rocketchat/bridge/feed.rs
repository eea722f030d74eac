//! What the node's log says, read once for all rooms, so that an entry costs its own room something and no other.
//!
//! ```text
//!   the log ──► feed ──┬──► what waits for room 1 ──► its task, which is woken for it
//!                      └──► what waits for room 2
//! ```
//!
//! Nothing here is durable, and nothing here is the only place where something stands: a room's task records how far it took the log, as
//! it did when each read the log by itself. What does not fit is dropped here, and the room's task then reads the log itself from its own
//! position, until it is where the feed is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocketmesh_protocol::id::RoomId;
use rocketmesh_storage::{EventStore, LogEntry, LogPosition, StoreError};
use tokio::sync::{Notify, watch};

use super::{Bridge, lock};
use crate::network::shut_down;

/// Entries of the log that are read at a time.
const PAGE: usize = 512;
/// What may wait for one room, some 10 KiB. A room that is stopped for longer reads the log.
const MOST: usize = 128;
/// How far the log may go on without anything of a room before the room's position is recorded.
pub(super) const UNRECORDED: LogPosition = 4096;
/// With many rooms it may go on further, so that for an entry no more than an eighth of a position is recorded.
const FOR_A_ROOM: LogPosition = 8;
/// How far behind the log's end the feed begins at the most. A room that is farther behind, because it is stopped, reads the log itself: it
/// keeps no other waiting.
const FARTHEST: LogPosition = 65_536;
/// How long after the store failed it is read again.
const PAUSE: Duration = Duration::from_secs(1);

/// What a room's task finds when it looks for what the log says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This entry, which stays until it is handled.
    Entry(LogEntry),
    /// Nothing more up to here.
    UpTo(LogPosition),
    /// The feed does not know: the log does.
    Read,
}

/// The feed of a bridge.
#[derive(Debug)]
pub(super) struct Feed {
    held: Mutex<Held>,
    /// Moves when the feed does, and when it drops something.
    moved: watch::Sender<LogPosition>,
}

#[derive(Debug, Default)]
struct Held {
    /// Up to where the log was given out.
    read: LogPosition,
    /// Where every room was last told how far that is.
    told: LogPosition,
    tasks: BTreeMap<u64, Waiting>,
    /// Whose a room is.
    owners: BTreeMap<RoomId, u64>,
    /// The number of the last task.
    last: u64,
}

/// What waits for the task of a room.
#[derive(Debug)]
struct Waiting {
    /// In the order of the log.
    entries: VecDeque<LogEntry>,
    /// If everything of the room between here and where the feed is waits here, that is so; none if the task reads the log itself.
    since: Option<LogPosition>,
    wake: Arc<Notify>,
}

impl Feed {
    /// A feed that begins behind `read`.
    pub(super) fn new(read: LogPosition) -> Self {
        let held = Held { read, told: read, ..Held::default() };
        Feed { held: Mutex::new(held), moved: watch::channel(read).0 }
    }

    /// Where a feed of rooms begins that were followed up to these positions, in a log that ends at `end`.
    pub(super) fn begins(positions: impl Iterator<Item = LogPosition>, end: LogPosition) -> LogPosition {
        positions.filter(|position| end.saturating_sub(*position) <= FARTHEST).min().unwrap_or(end).min(end)
    }

    /// A place for the task of a room that was followed up to `handled`, and that is each of these rooms of the mesh.
    pub(super) fn place(self: &Arc<Self>, rooms: &[RoomId], handled: LogPosition) -> Place {
        let wake = Arc::new(Notify::new());
        let mut held = lock(&self.held);
        held.last += 1;
        let number = held.last;
        let since = (handled >= held.read).then_some(handled);
        held.tasks.insert(number, Waiting { entries: VecDeque::new(), since, wake: Arc::clone(&wake) });
        held.owners.extend(rooms.iter().map(|room| (*room, number)));
        Place { feed: Arc::clone(self), number, wake }
    }

    /// Gives out what the log says up to `durable`, a page of it. Whether there is more.
    fn read_on(&self, store: &EventStore, durable: LogPosition) -> Result<bool, StoreError> {
        let from = lock(&self.held).read;
        if from >= durable {
            return Ok(false);
        }
        let mut entries = store.log_after(from, PAGE)?;
        entries.retain(|entry| entry.position <= durable);
        let Some(last) = entries.last().map(|entry| entry.position) else { return Ok(false) };
        self.give_out(&entries, last);
        Ok(last < durable)
    }

    /// Gives out entries, after which the feed is at `read`.
    fn give_out(&self, entries: &[LogEntry], read: LogPosition) {
        {
            let mut guard = lock(&self.held);
            let held = &mut *guard;
            let mut woken = BTreeSet::new();
            for entry in entries {
                let Some(number) = held.owners.get(&entry.room) else { continue };
                let Some(waiting) = held.tasks.get_mut(number) else { continue };
                woken.insert(*number);
                match waiting.since {
                    Some(since) if entry.position <= since => {}
                    Some(_) if waiting.entries.len() < MOST => waiting.entries.push_back(*entry),
                    _ => waiting.drop_all(),
                }
            }
            held.read = held.read.max(read);
            let rooms = held.tasks.len() as LogPosition;
            if held.read - held.told > UNRECORDED.max(rooms * FOR_A_ROOM) {
                held.told = held.read;
                woken.extend(held.tasks.keys());
            }
            for number in woken {
                if let Some(waiting) = held.tasks.get(&number) {
                    waiting.wake.notify_one();
                }
            }
        }
        self.moved.send_replace(read);
    }

    /// Leaves every room to read the log itself.
    fn give_up(&self) {
        for waiting in lock(&self.held).tasks.values_mut() {
            waiting.drop_all();
            waiting.wake.notify_one();
        }
        self.moved.send_modify(|_| {});
    }
}

impl Waiting {
    fn drop_all(&mut self) {
        self.entries.clear();
        self.since = None;
    }
}

/// The place of one room's task. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Place {
    feed: Arc<Feed>,
    number: u64,
    wake: Arc<Notify>,
}

impl Place {
    /// What wakes the task.
    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// What comes behind `handled`.
    pub(super) fn next(&self, handled: LogPosition) -> Next {
        let mut guard = lock(&self.feed.held);
        let held = &mut *guard;
        let read = held.read;
        let Some(waiting) = held.tasks.get_mut(&self.number) else { return Next::Read };
        if waiting.since.is_none() {
            if handled < read {
                return Next::Read;
            }
            waiting.since = Some(handled);
        }
        while waiting.entries.front().is_some_and(|entry| entry.position <= handled) {
            waiting.entries.pop_front();
        }
        waiting.entries.front().map_or(Next::UpTo(read.max(handled)), |entry| Next::Entry(*entry))
    }

    /// Everything that waits behind `handled`, up to where the feed is; none if the feed does not know.
    pub(super) fn waiting(&self, handled: LogPosition) -> Option<Vec<LogEntry>> {
        let held = lock(&self.feed.held);
        let waiting = held.tasks.get(&self.number).filter(|waiting| waiting.since.is_some())?;
        Some(waiting.entries.iter().filter(|entry| entry.position > handled).copied().collect())
    }

    /// Up to where the log was given out.
    pub(super) fn read(&self) -> LogPosition {
        lock(&self.feed.held).read
    }

    /// Waits until the feed has come to `end`, or does not know what is behind the room's position.
    pub(super) async fn reached(&self, end: LogPosition) {
        let mut moved = self.feed.moved.subscribe();
        // The other end lives as long as the feed.
        let _ = moved.wait_for(|_| self.is_there(end)).await;
    }

    fn is_there(&self, end: LogPosition) -> bool {
        let held = lock(&self.feed.held);
        held.read >= end || held.tasks.get(&self.number).is_none_or(|waiting| waiting.since.is_none())
    }

    /// The room is these rooms of the mesh from here on: what the log says of a new one behind the room's position is read from it.
    pub(super) fn change(&self, rooms: &[RoomId]) {
        let mut guard = lock(&self.feed.held);
        let held = &mut *guard;
        held.owners.retain(|_, number| *number != self.number);
        held.owners.extend(rooms.iter().map(|room| (*room, self.number)));
        if let Some(waiting) = held.tasks.get_mut(&self.number) {
            waiting.drop_all();
            waiting.wake.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guard = lock(&self.feed.held);
        let held = &mut *guard;
        held.tasks.remove(&self.number);
        // A room that was opened again has another task by now.
        held.owners.retain(|_, number| *number != self.number);
    }
}

impl Bridge {
    /// Gives out what the log says, until the bridge stops.
    pub(super) async fn feed_rooms(self) {
        let mut durable = self.engine.durable();
        let mut stopped = self.stopped.subscribe();
        loop {
            let end = *durable.borrow_and_update();
            match self.feed.read_on(&self.engine.store, end) {
                Ok(true) => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the log cannot be read; each room tries by itself");
                    self.feed.give_up();
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => continue,
                        () = shut_down(&mut stopped) => return,
                    }
                }
            }
            tokio::select! {
                changed = durable.changed() => if changed.is_err() { return },
                () = shut_down(&mut stopped) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rocketmesh_protocol::id::EventId;
    use rocketmesh_storage::LogKind;

    use super::*;

    fn room(number: u8) -> RoomId {
        RoomId::from_hash([number; 32])
    }

    fn entry(position: LogPosition, of: u8) -> LogEntry {
        LogEntry { position, kind: LogKind::Accepted, room: room(of), event: EventId::from_hash([9; 32]) }
    }

    /// What a task takes, up to where there is nothing more, and up to where that is; none if it has to read the log.
    fn taken(place: &Place, handled: &mut LogPosition) -> Option<(Vec<LogPosition>, LogPosition)> {
        let mut positions = Vec::new();
        loop {
            match place.next(*handled) {
                Next::Entry(entry) => {
                    positions.push(entry.position);
                    *handled = entry.position;
                }
                Next::UpTo(position) => {
                    *handled = position;
                    return Some((positions, position));
                }
                Next::Read => return None,
            }
        }
    }

    /// Whether something has woken the task.
    fn is_woken(place: &Place) -> bool {
        let wake = place.wake();
        let mut notified = std::pin::pin!(wake.notified());
        notified.as_mut().enable()
    }

    #[test]
    fn an_entry_wakes_its_own_room_and_no_other_and_each_takes_its_own_in_order() {
        let feed = Arc::new(Feed::new(10));
        let (one, other) = (feed.place(&[room(1)], 10), feed.place(&[room(2)], 12));
        feed.give_out(&[entry(11, 1), entry(12, 7), entry(13, 1)], 14);
        assert!(is_woken(&one) && !is_woken(&other));
        let (mut of_one, mut of_other) = (10, 12);
        assert_eq!(taken(&one, &mut of_one), Some((vec![11, 13], 14)));
        assert_eq!(taken(&other, &mut of_other), Some((vec![], 14)));
        feed.give_out(&[entry(15, 2)], 15);
        assert!(!is_woken(&one) && is_woken(&other));
        assert_eq!(taken(&other, &mut of_other), Some((vec![15], 15)));
    }

    #[test]
    fn what_is_not_handled_yet_stays_and_what_a_room_handled_before_is_not_given_to_it() {
        let feed = Arc::new(Feed::new(0));
        let place = feed.place(&[room(1)], 5);
        feed.give_out(&[entry(3, 1), entry(6, 1), entry(8, 1)], 8);
        assert_eq!(place.next(5), Next::Entry(entry(6, 1)));
        assert_eq!(place.next(5), Next::Entry(entry(6, 1)), "it failed");
        assert_eq!(place.waiting(6), Some(vec![entry(8, 1)]));
        assert_eq!(place.next(6), Next::Entry(entry(8, 1)));
    }

    #[test]
    fn a_room_that_is_stopped_loses_nothing_it_reads_the_log_until_it_is_where_the_feed_is() {
        let feed = Arc::new(Feed::new(0));
        let place = feed.place(&[room(1)], 0);
        let most = MOST as LogPosition;
        let entries: Vec<LogEntry> = (1..=most + 1).map(|position| entry(position, 1)).collect();
        feed.give_out(&entries, most + 1);
        assert_eq!((place.next(0), place.waiting(0)), (Next::Read, None));
        assert_eq!(place.next(most), Next::Read, "one is missing still");
        assert_eq!(place.next(most + 1), Next::UpTo(most + 1));
        feed.give_out(&[entry(most + 2, 1)], most + 2);
        assert_eq!(place.next(most + 1), Next::Entry(entry(most + 2, 1)));
    }

    #[test]
    fn a_room_that_is_opened_behind_the_feed_reads_the_log_first_and_is_woken_meanwhile() {
        let feed = Arc::new(Feed::new(20));
        let place = feed.place(&[room(1)], 18);
        assert_eq!(place.next(18), Next::Read);
        feed.give_out(&[entry(21, 1)], 21);
        assert!(is_woken(&place));
        assert_eq!(place.next(20), Next::Read);
        assert_eq!(place.next(21), Next::UpTo(21));
    }

    #[test]
    fn what_the_log_says_of_a_further_room_behind_the_rooms_position_is_read_from_it() {
        let feed = Arc::new(Feed::new(0));
        let place = feed.place(&[room(1)], 0);
        feed.give_out(&[entry(1, 2)], 1);
        place.change(&[room(1), room(2)]);
        assert_eq!(place.next(0), Next::Read);
        assert_eq!(place.next(1), Next::UpTo(1));
        feed.give_out(&[entry(2, 2)], 2);
        assert_eq!(place.next(1), Next::Entry(entry(2, 2)));
    }

    #[test]
    fn a_room_in_which_nothing_happens_is_told_now_and_then_how_far_the_log_is() {
        let feed = Arc::new(Feed::new(0));
        let place = feed.place(&[room(1)], 0);
        feed.give_out(&[], UNRECORDED);
        assert!(!is_woken(&place));
        feed.give_out(&[], UNRECORDED + 1);
        assert!(is_woken(&place));
        assert_eq!(place.next(0), Next::UpTo(UNRECORDED + 1));
    }

    #[test]
    fn a_room_that_is_opened_again_is_not_taken_from_its_new_task_by_the_end_of_the_old_one() {
        let feed = Arc::new(Feed::new(0));
        let (old, new) = (feed.place(&[room(1)], 0), feed.place(&[room(1)], 0));
        drop(old);
        feed.give_out(&[entry(1, 1)], 1);
        assert_eq!(new.next(0), Next::Entry(entry(1, 1)));
    }

    #[test]
    fn a_room_that_is_very_far_behind_keeps_no_other_waiting() {
        assert_eq!(Feed::begins([90, 70].into_iter(), 100), 70);
        assert_eq!(Feed::begins([3, FARTHEST * 2 - 9].into_iter(), FARTHEST * 2), FARTHEST * 2 - 9);
        assert_eq!(Feed::begins(std::iter::empty(), 7), 7);
        assert_eq!(Feed::begins([200].into_iter(), 100), 100, "not beyond the log");
    }

    #[tokio::test]
    async fn whoever_waits_for_the_feed_goes_on_when_it_is_there_or_gives_up() {
        let feed = Arc::new(Feed::new(0));
        let place = feed.place(&[room(1)], 0);
        let waits = tokio::spawn(async move {
            place.reached(5).await;
            place
        });
        feed.give_out(&[], 5);
        let place = waits.await.expect("it goes on");
        let waits = tokio::spawn(async move {
            place.reached(50).await;
            place
        });
        feed.give_up();
        assert_eq!(waits.await.expect("it goes on").next(4), Next::Read);
    }
}
