//! Which rooms and messages a file is here for, and what becomes of it when these change or the power goes.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::id::FileId;
use rocketmesh_storage::check::{FindingKind, Mode, check};
use rocketmesh_storage::{
    Batch, EventStore, FileError, FileLimits, Marks, MemoryDisk, Participation, StoredEvent, UNNAMED_FOR_MS, Verdict,
};
use support::Room;
use support::files::{
    MEBIBYTE, Medium, NOW, content, erase, flush, kinds, named, range_of, read, room, say, sound, upload,
};

/// Gives a message another verdict, as concurrent removals do.
fn judge(store: &EventStore, room: &Room, event: &Event, verdict: Verdict) {
    let changed = [StoredEvent { event: event.clone(), verdict }];
    store.put(&Batch { changed: &changed, ..Batch::of(&room.outline, Participation::Joined) }).unwrap();
    flush(store);
}

#[test]
fn a_withheld_message_names_nothing_and_keeps_its_files_for_a_day_in_case_it_is_shown_again() {
    for medium in Medium::both() {
        let store = medium.open();
        let mut room = room(&store, 1);
        let id = room.create.room();
        let file = upload(&store, &room, &content(3000, 1)).unwrap();
        let event = say(&store, &mut room, std::slice::from_ref(&file));
        judge(&store, &room, &event, Verdict::Withheld);
        assert!(!store.names_file(&id, &file.file).unwrap());
        assert!(store.files_of_room(&id, None, 9).unwrap().is_empty());
        // Long after it came, the day begins with the sweep that finds it so.
        let later = NOW + 9 * UNNAMED_FOR_MS;
        assert_eq!(store.sweep_files(later).unwrap(), 0);
        assert_eq!(store.sweep_files(later + UNNAMED_FOR_MS).unwrap(), 0);
        judge(&store, &room, &event, Verdict::Accepted);
        assert!(store.names_file(&id, &file.file).unwrap());
        assert_eq!(store.sweep_files(later + 2 * UNNAMED_FOR_MS).unwrap(), 0);
        assert_eq!(read(&store, &file.file), Some(content(3000, 1)));

        judge(&store, &room, &event, Verdict::Withheld);
        assert_eq!(store.sweep_files(later + 3 * UNNAMED_FOR_MS).unwrap(), 0, "a new day begins");
        assert_eq!(store.sweep_files(later + 4 * UNNAMED_FOR_MS + 1).unwrap(), 1);
        flush(&store);
        assert_eq!((read(&store, &file.file), store.file_bytes(None)), (None, 0));
        assert_eq!(medium.blobs(), Vec::<String>::new());
        assert_eq!(check(&store, Mode::Check, |_, _| {}).unwrap().found, 0);
    }
}

#[test]
fn withheld_and_erased_messages_hide_no_file_that_another_one_names() {
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    let mut room = room(&store, 1);
    let id = room.create.room();
    let file = named(FileId::of_block(b"named often"), 11);
    for number in 0..40 {
        let event = say(&store, &mut room, std::slice::from_ref(&file));
        if number % 2 == 0 {
            judge(&store, &room, &event, Verdict::Withheld);
        } else {
            erase(&store, &room, &event);
        }
    }
    assert!(!store.names_file(&id, &file.file).unwrap());
    let shown = say(&store, &mut room, std::slice::from_ref(&file));
    assert_eq!(store.messages_with_file(&id, &file.file, None, 1).unwrap(), [shown.id()]);
    assert!(store.messages_with_file(&id, &file.file, Some(&shown.id()), 1).unwrap().is_empty());
    assert_eq!(store.files_of_room(&id, None, 9).unwrap().len(), 1);
}

#[test]
fn a_withheld_message_that_is_redacted_lets_go_of_its_files() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut room = room(&store, 1);
    let file = upload(&store, &room, &content(3000, 1)).unwrap();
    let event = say(&store, &mut room, std::slice::from_ref(&file));
    judge(&store, &room, &event, Verdict::Withheld);
    let stripped = [StoredEvent { event: event.without_body(), verdict: Verdict::Withheld }];
    let marked = [(event.id(), Marks { erased: true, ..Marks::default() })];
    let batch = Batch::of(&room.outline, Participation::Joined);
    store.put(&Batch { stripped: &stripped, marked: &marked, ..batch }).unwrap();
    flush(&store);
    assert_eq!((store.file(&file.file).unwrap(), store.file_bytes(None)), (None, 0));
    assert!(disk.blob_contents().is_empty());
    assert!(!disk.rows().keys().any(|key| matches!(key[0], b'u' | b'v' | b'g')));
}

#[test]
fn a_check_finds_withheld_messages_that_are_not_listed_with_their_files() {
    let (disk, _) = sound();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut other = room(&store, 3);
    let file = named(FileId::of_block(b"withheld"), 8);
    let event = say(&store, &mut other, &[file]);
    judge(&store, &other, &event, Verdict::Withheld);
    let key = disk.rows().into_keys().find(|key| key[0] == b'v').unwrap();
    let stray = [&key[..37], &[7; 32]].concat();
    for (key, value) in [(&key, None), (&stray, Some(&[][..]))] {
        disk.damage(key, value);
        let report = check(&store, Mode::Check, |_, _| {}).unwrap();
        assert_eq!(kinds(&report), [FindingKind::FileIndex], "{report:#?}");
        assert!(check(&store, Mode::Repair, |_, _| {}).unwrap().is_sound());
        assert_eq!(check(&store, Mode::Check, |_, _| {}).unwrap().found, 0);
    }
}

#[test]
fn sizes_that_nobody_proved_take_nothing_of_a_quota() {
    let limits = FileLimits { file: 5000, room: 8000, server: 12_000 };
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap().with_file_limits(limits);
    let mut room = room(&store, 1);
    let id = room.create.room();
    let mut open = Vec::new();
    for seed in 0..9 {
        let claimed = named(FileId::from_hash([seed; 32]), 5000);
        say(&store, &mut room, std::slice::from_ref(&claimed));
        open.push(store.fetch_file(&id, &claimed.file, claimed.size, NOW).unwrap().unwrap());
    }
    assert_eq!(store.file_bytes(None), 0);
    let file = upload(&store, &room, &content(5000, 1)).unwrap();
    // What is proven then is not taken beyond the quota.
    let refused = open[0].put(0, &content(5000, 2)).unwrap_err();
    assert!(matches!(refused, FileError::RoomQuota { used: 5000, limit: 8000 }), "{refused}");
    assert_eq!((store.file_bytes(None), read(&store, &file.file).is_some()), (5000, true));
}

#[test]
fn a_file_is_held_by_the_rooms_that_brought_it_and_by_no_others_that_name_it() {
    for medium in Medium::both() {
        let store = medium.open();
        let (mut one, mut other) = (room(&store, 1), room(&store, 2));
        let (one_id, other_id) = (one.create.room(), other.create.room());
        let file = upload(&store, &one, &content(3000, 1)).unwrap();
        let first = say(&store, &mut one, std::slice::from_ref(&file));
        say(&store, &mut other, std::slice::from_ref(&file));
        let holds = |store: &EventStore, room| store.holds_file(room, &file.file).unwrap();
        assert_eq!((holds(&store, &one_id), holds(&store, &other_id)), (true, false));
        assert_eq!(store.rooms_with_file(&file.file, 9).unwrap().len(), 2);
        assert_eq!(store.rooms_with_file(&file.file, 1).unwrap().len(), 1);
        // A server of the other room sent some of it, or a user brings it there.
        assert!(store.hold_file(&other_id, &file.file).unwrap());
        flush(&store);
        drop(store);
        let store = medium.open();
        assert!(holds(&store, &one_id) && holds(&store, &other_id));
        erase(&store, &one, &first);
        assert!(holds(&store, &other_id) && read(&store, &file.file).is_some());
        assert_eq!(store.file_bytes(Some(&other_id)), 3000);

        let nowhere = Room::new(3).create.room();
        assert!(!store.hold_file(&nowhere, &file.file).unwrap());
        assert!(!store.hold_file(&one_id, &file.file).unwrap(), "that room names it no longer");
        upload(&store, &one, &content(3000, 1)).unwrap();
        assert!(holds(&store, &one_id) && holds(&store, &other_id));
    }
}

#[test]
fn a_file_that_came_is_held_by_the_rooms_whose_servers_sent_it() {
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    let (mut one, mut other) = (room(&store, 1), room(&store, 2));
    let (one_id, other_id) = (one.create.room(), other.create.room());
    let bytes = content(2 * MEBIBYTE, 1);
    let file = named(FileId::of_block(&bytes), bytes.len() as u64);
    say(&store, &mut one, std::slice::from_ref(&file));
    say(&store, &mut other, std::slice::from_ref(&file));
    let mut part = store.fetch_file(&one_id, &file.file, file.size, NOW).unwrap().unwrap();
    part.came_by(&other_id);
    part.put(1, range_of(&bytes, 1)).unwrap();
    part.put(0, range_of(&bytes, 0)).unwrap();
    assert!(!store.holds_file(&other_id, &file.file).unwrap(), "it is not whole");
    part.finish().unwrap();
    assert!(store.holds_file(&other_id, &file.file).unwrap());
    assert!(!store.holds_file(&one_id, &file.file).unwrap());
}

#[test]
fn a_file_that_a_message_is_about_to_name_stays_while_the_last_other_one_goes() {
    for medium in Medium::both() {
        let store = medium.open();
        let mut room = room(&store, 1);
        let id = room.create.room();
        let file = upload(&store, &room, &content(3000, 1)).unwrap();
        let first = say(&store, &mut room, std::slice::from_ref(&file));
        let kept = store.keep_file(&id, &file.file).unwrap().unwrap();
        assert_eq!(kept.size(), 3000);
        erase(&store, &room, &first);
        assert_eq!(store.sweep_files(NOW + 2 * UNNAMED_FOR_MS).unwrap(), 0);
        let second = say(&store, &mut room, std::slice::from_ref(&file));
        drop(kept);
        flush(&store);
        assert_eq!(read(&store, &file.file), Some(content(3000, 1)));
        erase(&store, &room, &second);
        assert_eq!((read(&store, &file.file), medium.blobs()), (None, Vec::new()));
        // One that no message named after all goes with a sweep.
        let file = upload(&store, &room, &content(3000, 2)).unwrap();
        let third = say(&store, &mut room, std::slice::from_ref(&file));
        let kept = store.keep_file(&id, &file.file).unwrap().unwrap();
        erase(&store, &room, &third);
        drop(kept);
        assert_eq!(store.sweep_files(NOW + UNNAMED_FOR_MS + 1).unwrap(), 1);
        assert!(store.keep_file(&id, &file.file).unwrap().is_none());
    }
}

#[test]
fn a_record_that_cannot_be_read_is_in_nobodys_way() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut room = room(&store, 1);
    let bytes = content(3000, 1);
    let file = upload(&store, &room, &bytes).unwrap();
    let event = say(&store, &mut room, std::slice::from_ref(&file));
    let key = disk.rows().into_keys().find(|key| key[0] == b'f').unwrap();
    disk.damage(&key, Some(b"?"));
    assert_eq!(store.file(&file.file).unwrap(), None);
    // The file comes again.
    let mut part = store.fetch_file(&room.create.room(), &file.file, file.size, NOW).unwrap().unwrap();
    part.put(0, &bytes).unwrap();
    part.finish().unwrap();
    assert_eq!(read(&store, &file.file), Some(bytes));
    // And a redaction takes it, readable or not.
    disk.damage(&key, Some(b"?"));
    erase(&store, &room, &event);
    assert!(!disk.rows().contains_key(&key) && disk.blob_contents().is_empty());
}

#[test]
fn an_upload_that_ends_early_or_goes_on_is_refused() {
    for medium in Medium::both() {
        let store = medium.open();
        let room = room(&store, 1);
        let id = room.create.room();
        let mut short = store.receive_file(&id, Some(5000)).unwrap();
        short.write(&content(4999, 1)).unwrap();
        let refused = short.finish(NOW).unwrap_err();
        assert!(matches!(refused, FileError::OtherLength { said: 5000, came: 4999 }), "{refused}");
        let mut long = store.receive_file(&id, Some(5000)).unwrap();
        assert!(matches!(long.write(&content(5001, 1)), Err(FileError::OtherLength { .. })));
        drop(long);
        assert_eq!((medium.blobs(), store.file_bytes(None)), (Vec::new(), 0));
    }
}

#[test]
fn a_loss_of_power_takes_what_was_not_flushed_of_a_file_in_memory_too() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut room = room(&store, 1);
    let id = room.create.room();
    let bytes = content(3 * MEBIBYTE, 5);
    let file = named(FileId::of_block(&bytes), bytes.len() as u64);
    say(&store, &mut room, std::slice::from_ref(&file));
    let mut half = store.receive_file(&id, None).unwrap();
    half.write(&bytes).unwrap();
    let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
    part.put(2, range_of(&bytes, 2)).unwrap();
    part.save().unwrap();
    store.sync().unwrap();
    part.put(0, range_of(&bytes, 0)).unwrap();
    let crashed = disk.after_crash();
    let (before, after) = (disk.blob_contents(), crashed.blob_contents());
    let name = |names: &std::collections::BTreeMap<String, Vec<u8>>| {
        names.keys().find(|name| name.ends_with(".part")).unwrap().clone()
    };
    assert_eq!(after.len(), 1, "an upload without a name is gone");
    assert!(before[&name(&before)][..MEBIBYTE] == bytes[..MEBIBYTE]);
    assert!(after[&name(&after)][..MEBIBYTE].iter().all(|byte| *byte == 0));
    let store = EventStore::in_memory(&crashed).unwrap();
    let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
    assert_eq!(part.missing(), [0, 1]);
    for number in [0, 1] {
        part.put(number, range_of(&bytes, number)).unwrap();
    }
    part.finish().unwrap();
    store.sync().unwrap();
    let store = EventStore::in_memory(&crashed.after_crash()).unwrap();
    assert_eq!(read(&store, &file.file), Some(bytes));
}

#[test]
fn bytes_that_are_taken_back_a_second_time_wait_for_a_second_flush() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut room = room(&store, 1);
    let file = upload(&store, &room, &content(3000, 1)).unwrap();
    let event = say(&store, &mut room, std::slice::from_ref(&file));
    // The upload has something to go, which this flush makes certain; what is taken back after it waits.
    store.sync().unwrap();
    let stripped = [StoredEvent { event: event.without_body(), verdict: Verdict::Accepted }];
    let batch = Batch::of(&room.outline, Participation::Joined);
    store.put(&Batch { stripped: &stripped, ..batch }).unwrap();
    store.remove_gone_files().unwrap();
    assert!(!store.has_gone_files());
    let crashed = EventStore::in_memory(&disk.after_crash()).unwrap();
    assert_eq!(read(&crashed, &file.file), Some(content(3000, 1)));
    flush(&store);
    assert!(disk.blob_contents().is_empty());
}
