//! A state event stands behind what its server had seen, whichever of the two comes first.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::slice;

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Body, Content, Draft, Event, Lane, author, author_after};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::check::{Mode, check};
use rocketmesh_storage::{Batch, EventStore, HeldEvent, LogKind, MemoryDisk, Participation};
use support::Room;

/// A state event where the room is now.
fn state(room: &mut Room) -> Event {
    let (kind, state_key) = Content::Merge.kind_and_key();
    let draft = Draft { sender: None, kind: kind.to_owned(), state_key, content: None, body: None, time_ms: 7 };
    let lamport = |_: &EventId| Ok::<u64, ()>(0);
    let placement = room.outline.placement(room.key.origin(), Lane::State, lamport).unwrap();
    let event = author(&room.key, placement, draft).unwrap();
    room.outline.add(&event, true);
    event
}

/// A message that names this event as one that it came after.
fn message_after(room: &Room, seen: EventId) -> Event {
    let body = Some(Body::new([2; 16], Map::new().with("text", "an answer")));
    let sender = Some("alice".parse().unwrap());
    let draft = Draft { sender, kind: "message".to_owned(), state_key: None, content: None, body, time_ms: 7 };
    let lamport = |_: &EventId| Ok::<u64, ()>(0);
    let placement = room.outline.placement(room.key.origin(), Lane::Timeline, lamport).unwrap();
    author_after(&room.key, placement, draft, vec![seen]).unwrap()
}

fn order(store: &EventStore, room: &Room) -> Vec<EventId> {
    store.order_after(&room.create.room(), None, 99).unwrap().into_iter().map(|key| key.id).collect()
}

#[test]
fn the_order_is_the_same_whichever_came_first_and_the_doctor_finds_nothing_wrong_with_it() {
    for state_first in [true, false] {
        let disk = MemoryDisk::new();
        let store = EventStore::in_memory(&disk).unwrap();
        let mut room = Room::new(1);
        room.put(&store, slice::from_ref(&room.create));
        let said: Vec<Event> = (0..5).map(|number| room.message(&format!("message {number}"))).collect();
        let merge = state(&mut room);
        assert!(merge.header().lamport < said[4].header().lamport && merge.header().parents == [said[4].id()]);
        if state_first {
            room.put(&store, slice::from_ref(&merge));
            assert_eq!(order(&store, &room), [room.create.id(), merge.id()]);
            assert!(store.lacks_sighted(&room.create.room()).unwrap());
            room.put(&store, &said);
        } else {
            room.put(&store, &said);
            room.put(&store, slice::from_ref(&merge));
        }
        let expected: Vec<EventId> = [&room.create].into_iter().chain(&said).chain([&merge]).map(Event::id).collect();
        assert_eq!(order(&store, &room), expected);
        assert_eq!(store.place(&merge).unwrap().place, said[4].header().lamport + 1);
        assert!(!store.lacks_sighted(&room.create.room()).unwrap());
        store.sync().unwrap();
        let report = check(&store, Mode::Check, |_, _| {}).unwrap();
        assert_eq!(report.found, 0, "{report:#?}");
    }
}

#[test]
fn a_store_whose_state_is_ahead_of_its_timeline_is_sound() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut room = Room::new(1);
    room.put(&store, slice::from_ref(&room.create));
    room.message("never put");
    let merges: Vec<Event> = (0..3).map(|_| state(&mut room)).collect();
    // What is not here is no tip.
    let mut outline = rocketmesh_protocol::room::Outline::new(room.create.room(), room.create.header().version);
    for event in [&room.create].into_iter().chain(&merges) {
        outline.add(event, true);
    }
    room.outline = outline;
    room.put(&store, &merges);
    store.sync().unwrap();
    let report = check(&store, Mode::Check, |_, _| {}).unwrap();
    assert_eq!(report.found, 0, "{report:#?}");
}

#[test]
fn whether_something_is_missing_that_events_came_after_does_not_depend_on_what_came_first() {
    for of_another_room in [false, true] {
        for seen_first in [true, false] {
            let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
            let (mut room, other) = (Room::new(1), Room::new(2));
            room.put(&store, slice::from_ref(&room.create));
            let seen = if of_another_room { other.create.clone() } else { state(&mut room) };
            let message = message_after(&room, seen.id());
            let seen_in = if of_another_room { &other } else { &room };
            if seen_first {
                seen_in.put(&store, slice::from_ref(&seen));
                room.put(&store, slice::from_ref(&message));
            } else {
                room.put(&store, slice::from_ref(&message));
                assert!(store.lacks_sighted(&room.create.room()).unwrap());
                seen_in.put(&store, slice::from_ref(&seen));
            }
            assert_eq!(store.lacks_sighted(&room.create.room()).unwrap(), of_another_room);
        }
    }
}

#[test]
fn a_room_whose_record_is_made_anew_still_knows_that_something_is_missing() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut room = Room::new(1);
    room.put(&store, slice::from_ref(&room.create));
    room.message("never put");
    let merge = state(&mut room);
    room.put(&store, slice::from_ref(&merge));
    store.sync().unwrap();
    drop(store);
    let id = room.create.room();
    disk.damage(&[b"m".as_slice(), id.hash()].concat(), None);
    let store = EventStore::in_memory(&disk).unwrap();
    check(&store, Mode::Repair, |_, _| {}).unwrap();
    assert!(store.lacks_sighted(&id).unwrap());
}

#[test]
fn what_came_ahead_is_logged_and_is_no_arrival() {
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    let mut room = Room::new(1);
    room.put(&store, slice::from_ref(&room.create));
    let outline = room.outline.clone();
    let missing = room.message("missing");
    let waiting = room.message("waiting");
    let hold = [HeldEvent { id: waiting.id(), missing: vec![missing.id()], event: WireEvent::of(&waiting) }];
    let ahead = [waiting.id()];
    let last = store.put(&Batch { hold: &hold, ahead: &ahead, ..Batch::of(&outline, Participation::Joined) }).unwrap();
    let log = store.log_after(last - 1, 9).unwrap();
    assert_eq!((log[0].kind, log[0].event, log[0].kind.is_arrival()), (LogKind::Ahead, waiting.id(), false));
    let id = room.create.room();
    assert_eq!(store.held_event(&id, &waiting.id()).unwrap().as_ref(), Some(&hold[0]));
    assert_eq!(store.held_event(&id, &missing.id()).unwrap(), None);
}
