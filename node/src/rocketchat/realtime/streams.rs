//! Which streams of rooms a connection has, and which it opens next.
//!
//! Rocket.Chat lets few be opened at a time, so that with many rooms the order is what people notice. Rooms in which something was said
//! while the node listened come first, with all their streams; then the others, by when something last happened in them, the streams
//! that keep rooms the same before the one that shows who types.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::Awake;

/// The streams of a watched room. What keeps the rooms the same comes first.
pub(super) const OF_ROOM: [&str; 3] = ["deleteMessage", "deleteMessageBulk", "user-activity"];
/// So many of them tell of deletions.
const OF_DELETIONS: usize = 2;

/// A stream of a watched room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// Its place in [`OF_ROOM`].
    pub(super) place: usize,
    /// The room.
    pub(super) rid: String,
}

/// Where a stream stands among those that are to be opened.
type Turn = (bool, usize, Reverse<u64>, String);

/// A room that is watched.
#[derive(Debug, Default)]
struct Room {
    awake: Awake,
    /// The subscriptions that are open, by the stream's place.
    open: BTreeMap<usize, String>,
    /// The places of those of deletions that the server has said to be open.
    ready: BTreeSet<usize>,
    /// Whether this connection may not listen to it. It is asked for again when it is watched anew, or by the next connection.
    refused: bool,
}

/// The streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    rooms: BTreeMap<String, Room>,
    pending: BTreeSet<Turn>,
    /// The open ones by the id of their subscription.
    open: BTreeMap<String, Stream>,
}

fn turn(awake: Awake, place: usize, rid: &str) -> Turn {
    (!awake.spoken, place, Reverse(awake.at_ms), rid.to_owned())
}

impl Streams {
    /// A room is watched, or, with none, is so no longer. The subscriptions to be ended.
    pub(super) fn set(&mut self, rid: &str, watched: Option<Awake>) -> Vec<String> {
        match watched {
            None => self.forget(rid),
            Some(awake) => {
                if let Entry::Vacant(vacant) = self.rooms.entry(rid.to_owned()) {
                    vacant.insert(Room { awake, ..Room::default() });
                    self.pending.extend((0..OF_ROOM.len()).map(|place| turn(awake, place, rid)));
                }
                Vec::new()
            }
        }
    }

    fn forget(&mut self, rid: &str) -> Vec<String> {
        let Some(room) = self.rooms.remove(rid) else { return Vec::new() };
        self.unqueue(room.awake, rid);
        room.open.into_values().inspect(|id| drop(self.open.remove(id))).collect()
    }

    fn unqueue(&mut self, awake: Awake, rid: &str) -> Vec<usize> {
        (0..OF_ROOM.len()).filter(|place| self.pending.remove(&turn(awake, *place, rid))).collect()
    }

    /// Something was said in a room: what of it is not open yet moves to the front.
    pub(super) fn stir(&mut self, rid: &str, at_ms: u64) {
        let Some(room) = self.rooms.get_mut(rid) else { return };
        let before = room.awake;
        room.awake = before.stirred(at_ms);
        let now = room.awake;
        let waited = self.unqueue(before, rid);
        self.pending.extend(waited.into_iter().map(|place| turn(now, place, rid)));
    }

    /// Whether one is to be opened.
    pub(super) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The next one to be opened, with the subscription's id from here on.
    pub(super) fn open_next(&mut self, id: &str) -> Option<Stream> {
        let (_, place, _, rid) = self.pending.pop_first()?;
        let stream = Stream { place, rid };
        if let Some(room) = self.rooms.get_mut(&stream.rid) {
            room.open.insert(place, id.to_owned());
        }
        self.open.insert(id.to_owned(), stream.clone());
        Some(stream)
    }

    /// The server ended a subscription, or did not begin it. The stream, if it was one.
    pub(super) fn ended(&mut self, id: &str) -> Option<Stream> {
        let stream = self.open.remove(id)?;
        if let Some(room) = self.rooms.get_mut(&stream.rid) {
            room.open.remove(&stream.place);
            room.ready.remove(&stream.place);
        }
        Some(stream)
    }

    /// The server says that a subscription is open. If deletions are heard by that: in which room, and whether all of them are.
    pub(super) fn ready(&mut self, id: &str) -> Option<(String, bool)> {
        let stream = self.open.get(id).filter(|stream| stream.place < OF_DELETIONS)?;
        let room = self.rooms.get_mut(&stream.rid).filter(|room| !room.refused)?;
        room.ready.insert(stream.place);
        Some((stream.rid.clone(), room.ready.len() == OF_DELETIONS))
    }

    /// A stream is to be opened again.
    pub(super) fn again(&mut self, stream: &Stream) {
        if let Some(room) = self.rooms.get(&stream.rid) {
            self.pending.insert(turn(room.awake, stream.place, &stream.rid));
        }
    }

    /// This connection may not listen to a room. Whether that is news.
    pub(super) fn refuse(&mut self, rid: &str) -> bool {
        let Some(room) = self.rooms.get_mut(rid) else { return false };
        let first = !std::mem::replace(&mut room.refused, true);
        let awake = room.awake;
        self.unqueue(awake, rid);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(at_ms: u64) -> Option<Awake> {
        Some(Awake { at_ms, spoken: false })
    }

    /// Opens all that wait, in their order: each by its place and its room.
    fn opened(streams: &mut Streams) -> Vec<(usize, String)> {
        let ids = (0..).map(|number: u32| number.to_string());
        ids.map_while(|id| streams.open_next(&id)).map(|stream| (stream.place, stream.rid)).collect()
    }

    #[test]
    fn what_keeps_rooms_the_same_comes_first_and_rooms_in_which_something_happened_last() {
        let mut streams = Streams::default();
        for (rid, at_ms) in [("old", 1), ("new", 9), ("between", 5)] {
            assert!(streams.set(rid, quiet(at_ms)).is_empty());
        }
        let order: Vec<String> =
            opened(&mut streams).into_iter().map(|(place, rid)| format!("{place} {rid}")).collect();
        assert_eq!(order[..6], ["0 new", "0 between", "0 old", "1 new", "1 between", "1 old"]);
        assert_eq!(order.len(), 9);
    }

    #[test]
    fn a_room_in_which_something_is_said_moves_to_the_front_with_all_that_it_lacks() {
        let mut streams = Streams::default();
        for (rid, at_ms) in [("one", 9), ("two", 5), ("three", 1)] {
            streams.set(rid, quiet(at_ms));
        }
        assert_eq!(streams.open_next("a").map(|stream| stream.rid), Some("one".to_owned()));
        streams.stir("three", 20);
        streams.stir("one", 10);
        streams.stir("unknown", 30);
        let order = opened(&mut streams);
        let first: Vec<(usize, &str)> = order[..5].iter().map(|(place, rid)| (*place, rid.as_str())).collect();
        assert_eq!(first, [(0, "three"), (1, "three"), (1, "one"), (2, "three"), (2, "one")]);
        assert_eq!(order.len(), 8);
    }

    #[test]
    fn a_room_that_is_watched_no_longer_is_ended_and_asked_for_anew_when_it_is_again() {
        let mut streams = Streams::default();
        streams.set("room", quiet(1));
        streams.open_next("a");
        streams.open_next("b");
        assert_eq!(streams.set("room", None), ["a", "b"]);
        assert!(!streams.waits() && streams.ended("a").is_none());
        assert!(streams.set("room", None).is_empty());
        streams.set("room", quiet(1));
        assert_eq!(opened(&mut streams).len(), OF_ROOM.len());
    }

    #[test]
    fn deletions_of_a_room_are_heard_once_both_of_their_streams_are_open_and_only_while_they_are() {
        let mut streams = Streams::default();
        streams.set("room", quiet(1));
        for id in ["one", "many", "typing"] {
            streams.open_next(id);
        }
        assert_eq!(streams.ready("unknown"), None);
        assert_eq!(streams.ready("many"), Some(("room".to_owned(), false)));
        assert_eq!(streams.ready("one"), Some(("room".to_owned(), true)));
        assert_eq!(streams.ready("typing"), None);
        if let Some(stream) = streams.ended("one") {
            streams.again(&stream);
        }
        assert_eq!(streams.ready("many"), Some(("room".to_owned(), false)));
        streams.open_next("again");
        assert_eq!(streams.ready("again"), Some(("room".to_owned(), true)));
        streams.refuse("room");
        assert_eq!(streams.ready("again"), None);
    }

    #[test]
    fn a_refused_room_is_said_once_to_be_so_and_a_stream_that_came_too_soon_is_opened_later() {
        let mut streams = Streams::default();
        streams.set("closed", quiet(2));
        streams.set("busy", quiet(1));
        streams.open_next("a");
        let stream = streams.ended("a").filter(|stream| stream.rid == "closed");
        assert!(stream.is_some_and(|stream| streams.refuse(&stream.rid)) && !streams.refuse("closed"));
        streams.set("closed", quiet(3));
        streams.open_next("b");
        if let Some(stream) = streams.ended("b") {
            streams.again(&stream);
        }
        assert_eq!(opened(&mut streams), [(0, "busy".to_owned()), (1, "busy".to_owned()), (2, "busy".to_owned())]);
    }
}
