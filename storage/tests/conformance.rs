//! One suite that both stores pass: on disk and in memory.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::event::{Event, Lane};
use rocketmesh_protocol::have::LaneHave;
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::{
    Batch, EventStore, HeldEvent, LogKind, MemoryDisk, Participation, Snapshot, StoreError, StoredEvent, Verdict,
    backup,
};
use support::Room;
use tempfile::TempDir;

/// A medium on which a store can be opened again.
enum Medium {
    Disk(TempDir),
    Memory(MemoryDisk),
}

impl Medium {
    fn both() -> [Medium; 2] {
        [Medium::Disk(TempDir::new().unwrap()), Medium::Memory(MemoryDisk::new())]
    }

    fn open(&self) -> EventStore {
        match self {
            Medium::Disk(directory) => EventStore::open(directory.path(), 8 << 20).unwrap(),
            Medium::Memory(disk) => EventStore::in_memory(disk).unwrap(),
        }
    }
}

/// A room with a create event and `count` messages, put one by one.
fn filled(store: &EventStore, seed: u8, count: usize) -> (Room, Vec<Event>) {
    let mut room = Room::new(seed);
    let mut events = vec![room.create.clone()];
    room.put(store, &events);
    for at in 0..count {
        let event = room.message(&format!("message {at}"));
        room.put(store, std::slice::from_ref(&event));
        events.push(event);
    }
    (room, events)
}

#[test]
fn what_is_put_is_found_by_id_with_the_same_bytes() {
    for medium in Medium::both() {
        let store = medium.open();
        let (_, events) = filled(&store, 1, 20);
        for event in &events {
            let stored = store.event(&event.id()).unwrap().unwrap();
            assert_eq!(stored.verdict, Verdict::Accepted);
            assert_eq!(stored.event, *event);
            assert!(store.contains(&event.id()).unwrap());
        }
        let absent = EventId::from_hash([7; 32]);
        assert!(store.event(&absent).unwrap().is_none() && !store.contains(&absent).unwrap());
    }
}

#[test]
fn a_room_is_paged_in_causal_order_both_ways() {
    for medium in Medium::both() {
        let store = medium.open();
        let (room, events) = filled(&store, 1, 25);
        filled(&store, 2, 5);
        let id = room.create.room();
        let expected: Vec<_> = events.iter().map(Event::order).collect();
        let mut up = Vec::new();
        while let Some(page) = Some(store.order_after(&id, up.last(), 4).unwrap()).filter(|page| !page.is_empty()) {
            assert!(page.len() <= 4);
            up.extend(page);
        }
        assert_eq!(up, expected);
        let mut down = Vec::new();
        while let Some(page) = Some(store.order_before(&id, down.last(), 4).unwrap()).filter(|page| !page.is_empty()) {
            down.extend(page);
        }
        down.reverse();
        assert_eq!(down, expected);
    }
}

#[test]
fn a_chain_is_read_from_any_sequence_number() {
    for medium in Medium::both() {
        let store = medium.open();
        let (room, events) = filled(&store, 1, 10);
        let (id, origin) = (room.create.room(), room.key.origin());
        let chain = store.chain(&id, origin, Lane::Timeline, 4, 3).unwrap();
        let expected: Vec<_> = events[5..8].iter().map(|event| (event.header().seq, event.id())).collect();
        assert_eq!(chain, expected);
        assert_eq!(store.chain(&id, origin, Lane::State, 0, 9).unwrap(), [(0, room.create.id())]);
        assert!(store.chain(&id, origin, Lane::Timeline, 10, 9).unwrap().is_empty());
    }
}

#[test]
fn the_outline_comes_back_as_it_was_put() {
    for medium in Medium::both() {
        let store = medium.open();
        let (room, _) = filled(&store, 1, 10);
        let entry = store.room(&room.create.room()).unwrap().unwrap();
        assert_eq!(entry.outline, room.outline);
        assert_eq!(entry.outline.have().digest(), room.outline.have().digest());
        assert_eq!(entry.participation, Participation::Joined);
        assert_eq!(store.rooms().unwrap(), [(room.create.room(), Participation::Joined)]);
    }
}

#[test]
fn the_local_log_has_every_decision_at_a_position_without_gaps() {
    for medium in Medium::both() {
        let store = medium.open();
        assert_eq!(store.log_end(), 0);
        let (_, first) = filled(&store, 1, 5);
        let (_, second) = filled(&store, 2, 5);
        let log = store.log_after(0, 100).unwrap();
        let positions: Vec<_> = log.iter().map(|entry| entry.position).collect();
        assert_eq!(positions, (1..=12).collect::<Vec<_>>());
        let ids: Vec<_> = log.iter().map(|entry| entry.event).collect();
        assert_eq!(ids, first.iter().chain(&second).map(Event::id).collect::<Vec<_>>());
        assert_eq!(store.log_after(10, 1).unwrap()[0].position, 11);
        assert!(store.log_after(12, 9).unwrap().is_empty());
        assert_eq!(store.log_end(), 12);
    }
}

#[test]
fn a_rejected_event_is_kept_and_logged_and_stands_in_no_order() {
    for medium in Medium::both() {
        let store = medium.open();
        let (mut room, _) = filled(&store, 1, 0);
        let mut outline = room.outline.clone();
        let event = room.message("not allowed");
        outline.add(&event, false);
        let rejected = StoredEvent { event: event.clone(), verdict: Verdict::Rejected };
        let batch = Batch {
            outline: &outline,
            participation: Participation::Joined,
            events: &[rejected],
            changed: &[],
            hold: &[],
            release: &[],
            marked: &[],
            stripped: &[],
            ahead: &[],
        };
        store.put(&batch).unwrap();
        assert_eq!(store.event(&event.id()).unwrap().unwrap().verdict, Verdict::Rejected);
        assert_eq!(store.log_after(1, 9).unwrap()[0].kind, LogKind::Rejected);
        assert_eq!(store.order_after(&room.create.room(), None, 9).unwrap().len(), 1);
        assert_eq!(store.chain(&room.create.room(), room.key.origin(), Lane::Timeline, 0, 9).unwrap().len(), 1);
    }
}

#[test]
fn a_snapshot_takes_the_place_of_the_one_before_and_is_read_whole_or_not_at_all() {
    for medium in Medium::both() {
        let (room, first) = {
            let store = medium.open();
            let (room, _) = filled(&store, 1, 0);
            let id = room.create.room();
            assert_eq!(store.snapshot(&id).unwrap(), None);
            let piece = |text: &str| text.as_bytes().to_vec();
            let have = room.outline.have().clone();
            let first = Snapshot { cut: id.into(), have, pieces: vec![piece("root"), piece("same"), piece("old")] };
            store.put_snapshot(&id, &first).unwrap();
            assert_eq!(store.snapshot(&id).unwrap(), Some(first.clone()));
            let second = Snapshot { pieces: vec![piece("root"), piece("same"), piece("new")], ..first.clone() };
            store.put_snapshot(&id, &second).unwrap();
            store.sync().unwrap();
            (id, second)
        };
        assert_eq!(medium.open().snapshot(&room).unwrap(), Some(first));
    }
}

#[test]
fn held_events_stay_until_they_are_released() {
    for medium in Medium::both() {
        let store = medium.open();
        let (mut room, _) = filled(&store, 1, 0);
        let outline = room.outline.clone();
        let missing = room.message("missing");
        let waiting = room.message("waiting");
        let held = HeldEvent { id: waiting.id(), missing: vec![missing.id()], event: WireEvent::of(&waiting) };
        let change = |hold: &[HeldEvent], release: &[EventId]| {
            let batch = Batch {
                outline: &outline,
                participation: Participation::Joined,
                events: &[],
                changed: &[],
                hold,
                release,
                marked: &[],
                stripped: &[],
                ahead: &[],
            };
            store.put(&batch).unwrap();
        };
        change(std::slice::from_ref(&held), &[]);
        assert_eq!(store.held(&room.create.room()).unwrap(), [held]);
        change(&[], &[waiting.id()]);
        assert!(store.held(&room.create.room()).unwrap().is_empty());
        assert_eq!(store.log_end(), 1, "holding is no decision");
    }
}

#[test]
fn everything_is_there_after_opening_again() {
    for medium in Medium::both() {
        let (room, events, log) = {
            let store = medium.open();
            let (room, events) = filled(&store, 1, 30);
            store.put_setting("policy", Some(b"open")).unwrap();
            store.sync().unwrap();
            (room, events, store.log_after(0, 100).unwrap())
        };
        let store = medium.open();
        assert_eq!(store.room(&room.create.room()).unwrap().unwrap().outline, room.outline);
        assert_eq!(store.log_after(0, 100).unwrap(), log);
        assert_eq!(store.setting("policy").unwrap().unwrap(), b"open");
        let (other, _) = filled(&store, 2, 1);
        assert_eq!(store.log_end(), log.len() as u64 + 2, "positions go on");
        assert_eq!(store.rooms().unwrap().len(), 2);
        assert_eq!(store.order_after(&room.create.room(), None, 99).unwrap().len(), events.len());
        assert_eq!(store.order_after(&other.create.room(), None, 99).unwrap().len(), 2);
    }
}

#[test]
fn settings_are_set_listed_by_prefix_and_removed() {
    for medium in Medium::both() {
        let store = medium.open();
        for (name, value) in [("ban/b", "2"), ("ban/a", "1"), ("policy", "3")] {
            store.put_setting(name, Some(value.as_bytes())).unwrap();
        }
        let bans = store.settings("ban/").unwrap();
        assert_eq!(bans, [("ban/a".to_owned(), b"1".to_vec()), ("ban/b".to_owned(), b"2".to_vec())]);
        store.put_setting("ban/a", None).unwrap();
        assert_eq!(store.settings("ban/").unwrap().len(), 1);
        assert!(store.setting("ban/a").unwrap().is_none());
    }
}

#[test]
fn records_are_changed_together_and_survive_a_new_start() {
    for medium in Medium::both() {
        {
            let store = medium.open();
            let set = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
            store.put_records(&[set("rc/b", "2"), set("rc/a", "1"), set("other", "3")]).unwrap();
            store.put_records(&[set("rc/b", "4"), ("rc/a".to_owned(), None)]).unwrap();
            store.sync().unwrap();
        }
        let store = medium.open();
        assert_eq!(store.records("rc/").unwrap(), [("rc/b".to_owned(), b"4".to_vec())]);
        assert_eq!(store.record_of("other").unwrap().unwrap(), b"3");
        assert!(store.record_of("rc/a").unwrap().is_none());
        assert!(store.setting("other").unwrap().is_none(), "settings are apart");
    }
}

#[test]
fn a_backup_restores_the_same_rooms_log_settings_and_records() {
    for medium in Medium::both() {
        let store = medium.open();
        let (room, _) = filled(&store, 1, 40);
        let (other, _) = filled(&store, 2, 3);
        store.put_setting("policy", Some(b"open")).unwrap();
        let records = [("rc/a".to_owned(), Some(b"1".to_vec())), ("rc/b".to_owned(), Some(vec![0; 100_000]))];
        store.put_records(&records).unwrap();
        let mut stream = Vec::new();
        let written = backup::write(&store, &[9; 32], &mut stream).unwrap();
        assert_eq!((written.rooms, written.events), (2, 45));
        let fresh = EventStore::in_memory(&MemoryDisk::new()).unwrap();
        let (seed, restored) = backup::restore(&fresh, &mut stream.as_slice(), |_| {}).unwrap();
        assert_eq!((seed, restored), ([9; 32], written));
        for room in [&room, &other] {
            let entry = fresh.room(&room.create.room()).unwrap().unwrap();
            assert_eq!(entry.outline, room.outline);
        }
        assert_eq!(fresh.setting("policy").unwrap().unwrap(), b"open");
        for (name, value) in &records {
            assert_eq!(fresh.record_of(name).unwrap(), *value, "{name}");
        }
        assert!(fresh.record_of(backup::RESTORED).unwrap().is_some(), "positions are others now, and that is said");
        assert!(matches!(backup::restore(&fresh, &mut stream.as_slice(), |_| {}), Err(backup::BackupError::NotEmpty)));
        for cut in [stream.len() - 1, stream.len() / 2, 30, 3] {
            let fresh = EventStore::in_memory(&MemoryDisk::new()).unwrap();
            assert!(backup::restore(&fresh, &mut &stream[..cut], |_| {}).is_err(), "cut at {cut}");
        }
        let middle = stream.len() / 2;
        stream[middle] ^= 1;
        let fresh = EventStore::in_memory(&MemoryDisk::new()).unwrap();
        assert!(backup::restore(&fresh, &mut stream.as_slice(), |_| {}).is_err(), "a flipped bit");
    }
}

#[test]
fn a_crash_of_the_memory_store_loses_exactly_what_was_not_flushed() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let (mut room, _) = filled(&store, 1, 5);
    store.sync().unwrap();
    let kept = room.outline.clone();
    let lost = room.message("never flushed");
    room.put(&store, std::slice::from_ref(&lost));
    disk.lose_unsynced();
    let store = EventStore::in_memory(&disk).unwrap();
    assert_eq!(store.room(&room.create.room()).unwrap().unwrap().outline, kept);
    assert!(!store.contains(&lost.id()).unwrap());
    assert_eq!(store.log_end(), 6);
}

#[test]
fn a_store_in_memory_takes_nothing_while_its_disk_says_that_less_is_free_than_it_keeps_free() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap().with_reserve(100);
    assert!(store.check_space().is_ok(), "there is no telling");
    disk.set_free(Some(99));
    assert!(matches!(store.check_space(), Err(StoreError::Full { free: 99, reserve: 100 })));
    let after = EventStore::in_memory(&disk.after_crash()).unwrap().with_reserve(100);
    assert!(after.check_space().is_err(), "a crash frees nothing");
    disk.set_free(Some(100));
    assert!(store.check_space().is_ok());
}

#[test]
fn a_second_opening_of_the_same_directory_is_refused_and_harms_nothing() {
    let directory = TempDir::new().unwrap();
    let store = EventStore::open(directory.path(), 8 << 20).unwrap();
    let (room, _) = filled(&store, 1, 3);
    let second = EventStore::open(directory.path(), 8 << 20);
    assert!(matches!(second, Err(StoreError::Locked(_))), "{second:?}");
    assert_eq!(store.room(&room.create.room()).unwrap().unwrap().outline, room.outline);
}

#[test]
fn a_store_of_format_1_goes_on_as_one() {
    let directory = TempDir::new().unwrap();
    let marker = directory.path().join("FORMAT");
    std::fs::write(&marker, "1\n").unwrap();
    let (room, _) = filled(&EventStore::open(directory.path(), 8 << 20).unwrap(), 1, 3);
    let store = EventStore::open(directory.path(), 8 << 20).unwrap();
    assert_eq!(store.room(&room.create.room()).unwrap().unwrap().outline, room.outline);
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), "1\n");
}

#[test]
fn a_store_of_a_newer_format_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let (room, _) = filled(&EventStore::open(directory.path(), 8 << 20).unwrap(), 1, 3);
    let marker = directory.path().join("FORMAT");
    std::fs::write(&marker, "3\n").unwrap();
    let newer = EventStore::open(directory.path(), 8 << 20);
    assert!(matches!(newer, Err(StoreError::NewerFormat { found: 3, .. })), "{newer:?}");
    std::fs::write(&marker, "2\n").unwrap();
    let store = EventStore::open(directory.path(), 8 << 20).unwrap();
    assert_eq!(store.room(&room.create.room()).unwrap().unwrap().outline, room.outline);
}

#[test]
fn a_directory_that_cannot_be_made_is_a_clear_error() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    let refused = EventStore::open(&file.join("store"), 8 << 20);
    assert!(matches!(refused, Err(StoreError::NotWritable { .. })), "{refused:?}");
}

#[test]
fn a_room_with_very_many_tips_and_forks_does_not_make_the_store_unreadable() {
    for medium in Medium::both() {
        let room = Room::new(1);
        let many = || (0_u64..150_000).map(|at| (EventId::of_block(&at.to_be_bytes()), at));
        let mut have = room.outline.have().clone();
        let mut heads: Vec<(u64, EventId)> = many().map(|(id, _)| (1, id)).collect();
        heads.sort_unstable();
        have.set_lane(room.key.origin(), Lane::State, LaneHave { lowest: 0, heads });
        let outline = Outline::restore(
            room.create.room(),
            room.outline.version(),
            have,
            many().collect(),
            room.outline.tips(Lane::State).clone(),
            1,
        );
        {
            let store = medium.open();
            let created = StoredEvent { event: room.create.clone(), verdict: Verdict::Accepted };
            let batch = Batch {
                outline: &outline,
                participation: Participation::Joined,
                events: &[created],
                changed: &[],
                hold: &[],
                release: &[],
                marked: &[],
                stripped: &[],
                ahead: &[],
            };
            store.put(&batch).unwrap();
            store.sync().unwrap();
        }
        assert_eq!(medium.open().room(&room.create.room()).unwrap().unwrap().outline, outline);
    }
}
