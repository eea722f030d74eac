//! Files: taken in whole or range by range, and gone with the last message that names them. On disk and in memory.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::file::{FileRange, SliceError, open_slice};
use rocketmesh_protocol::id::FileId;
use rocketmesh_protocol::limits::FILE_RANGE_BYTES;
use rocketmesh_storage::check::{FindingKind, Mode, check, check_content};
use rocketmesh_storage::{
    Batch, EventStore, FileError, FileLimits, MemoryDisk, Participation, StoreError, StoredEvent, UNNAMED_FOR_MS,
    Verdict, backup,
};
use support::Room;
use support::files::{
    MEBIBYTE, Medium, NOW, content, erase, flush, kinds, named, range_of, read, room, say, sound, upload,
};
use tempfile::TempDir;

#[test]
fn an_uploaded_file_goes_by_its_hash_and_is_sent_in_ranges_that_verify() {
    for medium in Medium::both() {
        for bytes in [content(1, 1), content(1024, 2), content(2 * MEBIBYTE + 77, 3)] {
            let store = medium.open();
            let room = room(&store, 1);
            let file = upload(&store, &room, &bytes).unwrap();
            flush(&store);
            drop(store);
            let store = medium.open();
            assert_eq!((file.file, file.size), (FileId::of_block(&bytes), bytes.len() as u64));
            assert_eq!(read(&store, &file.file), Some(bytes.clone()));
            let entry = store.file(&file.file).unwrap().unwrap();
            assert!(entry.whole && entry.here == file.size && entry.size == file.size);
            for number in 0..FileRange::count(file.size) {
                let range = FileRange::numbered(number, file.size).unwrap();
                let slice = store.file_slice(&file.file, range).unwrap().unwrap();
                assert_eq!(open_slice(&file.file, file.size, range, &slice).unwrap(), range_of(&bytes, number));
            }
            // Whoever was told of a larger file learns how large it is.
            let beyond = FileRange::new(4 << 20, 1).unwrap();
            let slice = store.file_slice(&file.file, beyond).unwrap().unwrap();
            assert_eq!(open_slice(&file.file, 5 << 20, beyond, &slice), Err(SliceError::OtherSize(file.size)));
            assert_eq!(store.file_slice(&FileId::of_block(b"absent"), FileRange::new(0, 1).unwrap()).unwrap(), None);
        }
    }
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    for medium in Medium::both() {
        let store = medium.open();
        let room = room(&store, 1);
        let mut given_up = store.receive_file(&room.create.room(), None).unwrap();
        given_up.write(&content(5000, 1)).unwrap();
        drop(given_up);
        assert!(matches!(upload(&store, &room, b""), Err(FileError::Empty)));
        assert_eq!(medium.blobs(), Vec::<String>::new());
        // Nor does one that a crash cut off, once the store is opened again.
        std::mem::forget(store.receive_file(&room.create.room(), None).unwrap());
        assert_eq!((medium.blobs().len(), store.file_bytes(None)), (2, 0));
        if let Medium::Memory(disk) = &medium {
            drop(EventStore::in_memory(disk).unwrap());
            assert_eq!(medium.blobs(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_file_that_no_message_names_goes_after_a_day_and_a_named_one_stays() {
    for medium in Medium::both() {
        let store = medium.open();
        let mut room = room(&store, 1);
        let [kept, lost] = [1, 2].map(|seed| upload(&store, &room, &content(3000, seed)).unwrap());
        say(&store, &mut room, std::slice::from_ref(&kept));
        assert_eq!(store.sweep_files(NOW + UNNAMED_FOR_MS).unwrap(), 0);
        assert_eq!(store.sweep_files(NOW - UNNAMED_FOR_MS).unwrap(), 0, "a clock that goes back sweeps nothing");
        assert_eq!(store.file_bytes(None), 6000);
        assert_eq!(store.sweep_files(NOW + UNNAMED_FOR_MS + 1).unwrap(), 1);
        flush(&store);
        assert_eq!((read(&store, &kept.file).is_some(), read(&store, &lost.file)), (true, None));
        assert_eq!((store.file_bytes(None), medium.blobs().len()), (3000, 2));
    }
}

#[test]
fn a_file_goes_with_the_last_message_that_names_it() {
    for medium in Medium::both() {
        let store = medium.open();
        let (mut one, mut other) = (room(&store, 1), room(&store, 2));
        let [shared, own] = [1, 2].map(|seed| upload(&store, &one, &content(3000, seed)).unwrap());
        let first = say(&store, &mut one, &[shared.clone(), own.clone()]);
        let again = say(&store, &mut one, std::slice::from_ref(&shared));
        let elsewhere = say(&store, &mut other, std::slice::from_ref(&shared));
        let (one_id, other_id) = (one.create.room(), other.create.room());
        assert_eq!((store.file_bytes(Some(&one_id)), store.file_bytes(Some(&other_id))), (6000, 0));
        flush(&store);

        erase(&store, &one, &first);
        assert_eq!((read(&store, &own.file), store.file(&own.file).unwrap()), (None, None));
        assert!(!medium.blobs().iter().any(|name| name.contains(&own.file.to_string())), "its bytes are gone too");
        assert!(read(&store, &shared.file).is_some() && store.names_file(&one_id, &shared.file).unwrap());

        erase(&store, &one, &again);
        assert!(!store.names_file(&one_id, &shared.file).unwrap());
        assert!(read(&store, &shared.file).is_some(), "another room names it");
        assert_eq!((store.file_bytes(Some(&one_id)), store.file_bytes(Some(&other_id))), (0, 3000));
        drop(store);
        let store = medium.open();
        assert_eq!((store.file_bytes(Some(&one_id)), store.file_bytes(Some(&other_id))), (0, 3000));

        erase(&store, &other, &elsewhere);
        assert_eq!((store.file(&shared.file).unwrap(), store.file_bytes(None)), (None, 0));
        assert_eq!(medium.blobs(), Vec::<String>::new());
    }
}

#[test]
fn bytes_go_only_once_it_is_on_disk_that_nothing_names_them() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut room = room(&store, 1);
    let file = upload(&store, &room, &content(3000, 1)).unwrap();
    let event = say(&store, &mut room, std::slice::from_ref(&file));
    flush(&store);
    let stripped = [StoredEvent { event: event.without_body(), verdict: Verdict::Accepted }];
    let batch = Batch::of(&room.outline, Participation::Joined);
    store.put(&Batch { stripped: &stripped, ..batch }).unwrap();
    let crashed = EventStore::in_memory(&disk.after_crash()).unwrap();
    assert!(crashed.names_file(&room.create.room(), &file.file).unwrap());
    assert_eq!(read(&crashed, &file.file), Some(content(3000, 1)), "what is still named is still there");
    flush(&store);
    let crashed = EventStore::in_memory(&disk.after_crash()).unwrap();
    assert_eq!((crashed.file(&file.file).unwrap(), disk.blob_contents().len()), (None, 0));
}

#[test]
fn a_file_that_comes_again_while_its_bytes_are_going_stays() {
    for medium in Medium::both() {
        let store = medium.open();
        let mut room = room(&store, 1);
        let file = upload(&store, &room, &content(3000, 1)).unwrap();
        let event = say(&store, &mut room, std::slice::from_ref(&file));
        let stripped = [StoredEvent { event: event.without_body(), verdict: Verdict::Accepted }];
        let batch = Batch::of(&room.outline, Participation::Joined);
        store.put(&Batch { stripped: &stripped, ..batch }).unwrap();
        upload(&store, &room, &content(3000, 1)).unwrap();
        flush(&store);
        assert_eq!(read(&store, &file.file), Some(content(3000, 1)));
        assert_eq!((store.file_bytes(None), medium.blobs().len()), (3000, 2));
    }
}

#[test]
fn ranges_come_in_any_order_and_a_cut_loses_none_that_was_noted() {
    for medium in Medium::both() {
        let bytes = content(3 * MEBIBYTE + 5, 7);
        let file = named(FileId::of_block(&bytes), bytes.len() as u64);
        let (id, message) = {
            let store = medium.open();
            let mut room = room(&store, 1);
            let id = room.create.room();
            let not_yet = store.fetch_file(&id, &file.file, file.size, NOW);
            assert!(matches!(not_yet, Err(FileError::NotNamed)));
            let message = say(&store, &mut room, std::slice::from_ref(&file));
            let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
            assert_eq!(part.missing(), [0, 1, 2, 3]);
            for number in [3, 1] {
                part.put(number, range_of(&bytes, number)).unwrap();
            }
            assert!(part.put(0, b"too short").is_err() && part.put(9, b"beyond").is_err());
            part.save().unwrap();
            flush(&store);
            (id, message)
        };
        let store = medium.open();
        let entry = store.file(&file.file).unwrap().unwrap();
        assert_eq!((entry.whole, entry.here, entry.size), (false, MEBIBYTE as u64 + 5, file.size));
        assert!(store.open_file(&file.file).unwrap().is_none(), "nobody sees a part");
        let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
        assert_eq!((part.missing(), part.here()), (vec![0, 2], MEBIBYTE as u64 + 5));
        for number in [2, 0] {
            part.put(number, range_of(&bytes, number)).unwrap();
        }
        part.finish().unwrap();
        flush(&store);
        assert_eq!(read(&store, &file.file), Some(bytes.clone()));
        assert!(store.fetch_file(&id, &file.file, file.size, NOW).unwrap().is_none(), "it is here");
        assert!(matches!(store.fetch_file(&id, &file.file, 7, NOW), Err(FileError::OtherSize)));
        assert_eq!(medium.blobs().len(), 2, "{:?}", medium.blobs());
        let files = store.files_of_room(&id, None, 9).unwrap();
        assert_eq!((files.len(), files[0].file, files[0].event), (1, file.file, message.id()));
    }
}

#[test]
fn a_part_that_was_damaged_on_disk_is_noticed_before_anybody_sees_it() {
    for medium in Medium::both() {
        let bytes = content(2 * MEBIBYTE, 9);
        let file = named(FileId::of_block(&bytes), bytes.len() as u64);
        let store = medium.open();
        let mut room = room(&store, 1);
        let id = room.create.room();
        say(&store, &mut room, std::slice::from_ref(&file));
        let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
        part.put(1, range_of(&bytes, 1)).unwrap();
        part.save().unwrap();
        drop(part);
        let name = medium.name(".part");
        let mut damaged = medium.read(&name);
        damaged[MEBIBYTE + 1000] ^= 1;
        medium.damage(&name, Some(&damaged));
        let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
        assert_eq!(part.missing(), [0]);
        part.put(0, range_of(&bytes, 0)).unwrap();
        assert!(matches!(part.finish(), Err(FileError::Damaged)));
        assert_eq!(read(&store, &file.file), None);

        // It comes again, from its beginning; and one that is not there at all does so too.
        let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
        assert_eq!(part.missing(), [0, 1]);
        part.put(1, range_of(&bytes, 1)).unwrap();
        part.save().unwrap();
        drop(part);
        medium.damage(&name, None);
        let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
        assert_eq!(part.missing(), [0, 1]);
        for number in [1, 0] {
            part.put(number, range_of(&bytes, number)).unwrap();
        }
        part.finish().unwrap();
        assert_eq!(read(&store, &file.file), Some(bytes));
    }
}

#[test]
fn what_is_taken_back_while_it_comes_does_not_come() {
    for medium in Medium::both() {
        let bytes = content(2 * MEBIBYTE, 4);
        let file = named(FileId::of_block(&bytes), bytes.len() as u64);
        let store = medium.open();
        let mut room = room(&store, 1);
        let event = say(&store, &mut room, std::slice::from_ref(&file));
        let mut part = store.fetch_file(&room.create.room(), &file.file, file.size, NOW).unwrap().unwrap();
        part.put(1, range_of(&bytes, 1)).unwrap();
        erase(&store, &room, &event);
        part.put(0, range_of(&bytes, 0)).unwrap();
        assert!(matches!(part.save(), Err(FileError::NotNamed)));
        assert!(matches!(part.finish(), Err(FileError::NotNamed)));
        assert_eq!((store.file(&file.file).unwrap(), store.file_bytes(None)), (None, 0));
        flush(&store);
        assert_eq!(medium.blobs(), Vec::<String>::new());
    }
}

#[test]
fn a_message_that_lies_about_a_size_keeps_nobody_from_the_file() {
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    let mut room = room(&store, 1);
    let id = room.create.room();
    let bytes = content(MEBIBYTE + 9, 5);
    let file = named(FileId::of_block(&bytes), bytes.len() as u64);
    let lie = FileRef { size: 5 * FILE_RANGE_BYTES, ..file.clone() };
    say(&store, &mut room, std::slice::from_ref(&lie));
    say(&store, &mut room, std::slice::from_ref(&file));
    let mut part = store.fetch_file(&id, &lie.file, lie.size, NOW).unwrap().unwrap();
    // No range at the end has proven that size, so that nothing is noted, or counted, by it.
    assert!(!part.is_proven() && matches!(part.put(0, range_of(&bytes, 0)), Err(FileError::Unproven)));
    part.save().unwrap();
    assert!(matches!(part.finish(), Err(FileError::Unproven)));
    assert_eq!((store.file(&file.file).unwrap(), store.file_bytes(None)), (None, 0));
    let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
    assert_eq!((part.missing(), store.file_bytes(None)), (vec![0, 1], 0));
    part.put(1, range_of(&bytes, 1)).unwrap();
    assert!(part.is_proven());
    part.save().unwrap();
    drop(part);
    assert_eq!(store.file_bytes(None), file.size);
    assert!(matches!(store.fetch_file(&id, &lie.file, lie.size, NOW), Err(FileError::OtherSize)));
    let mut part = store.fetch_file(&id, &file.file, file.size, NOW).unwrap().unwrap();
    part.put(0, range_of(&bytes, 0)).unwrap();
    part.finish().unwrap();
    assert_eq!(read(&store, &file.file), Some(bytes));
}

#[test]
fn an_upload_ends_what_was_coming_from_others() {
    for medium in Medium::both() {
        let bytes = content(2 * MEBIBYTE, 4);
        let file = named(FileId::of_block(&bytes), bytes.len() as u64);
        let store = medium.open();
        let mut room = room(&store, 1);
        say(&store, &mut room, std::slice::from_ref(&file));
        let mut part = store.fetch_file(&room.create.room(), &file.file, file.size, NOW).unwrap().unwrap();
        part.put(1, range_of(&bytes, 1)).unwrap();
        upload(&store, &room, &bytes).unwrap();
        assert!(matches!(part.save(), Err(FileError::NotNamed)));
        flush(&store);
        assert_eq!(read(&store, &file.file), Some(bytes));
        assert_eq!((store.file_bytes(None), medium.blobs().len()), (file.size, 2));
    }
}

#[test]
fn a_rejected_message_names_nothing_and_a_late_body_does() {
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    let mut room = room(&store, 1);
    let id = room.create.room();
    let [rejected, withheld, late] = [1, 2, 3].map(|seed| named(FileId::of_block(&[seed]), 1));
    let with = |room: &mut Room, file: &FileRef| {
        room.message_with(FileRef::into_fields(std::slice::from_ref(file), Map::new()).unwrap())
    };
    for (file, verdict) in [(&rejected, Verdict::Rejected), (&withheld, Verdict::Withheld)] {
        let events = [StoredEvent { event: with(&mut room, file), verdict }];
        store.put(&Batch { events: &events, ..Batch::of(&room.outline, Participation::Joined) }).unwrap();
    }
    let event = with(&mut room, &late);
    room.put(&store, &[event.without_body()]);
    let names = |file: &FileRef| store.names_file(&id, &file.file).unwrap();
    assert_eq!((names(&rejected), names(&withheld), names(&late)), (false, false, false));
    assert!(store.newly_named().files.is_empty(), "nothing of it is shown");
    store.put_body(&StoredEvent { event: event.clone(), verdict: Verdict::Accepted }).unwrap();
    assert!(names(&late));
    assert_eq!(store.messages_with_file(&id, &late.file, None, 9).unwrap(), [event.id()]);
    let newly = store.newly_named();
    assert_eq!((newly.files, newly.more), (vec![(id, late)], false));
    assert!(store.newly_named().files.is_empty(), "it is told once");
}

#[test]
fn the_files_of_a_room_are_paged_each_once() {
    for medium in Medium::both() {
        let store = medium.open();
        let (mut one, mut other) = (room(&store, 1), room(&store, 2));
        let mut files: Vec<FileRef> = (1..=20_u8).map(|seed| named(FileId::from_hash([seed * 12; 32]), 1)).collect();
        files.push(named(FileId::from_hash([0xff; 32]), 1));
        for file in &files {
            for _ in 0..3 {
                say(&store, &mut one, std::slice::from_ref(file));
            }
        }
        say(&store, &mut other, &files[..1]);
        let id = one.create.room();
        let mut paged = Vec::new();
        loop {
            let page = store.files_of_room(&id, paged.last(), 4).unwrap();
            if page.is_empty() {
                break;
            }
            paged.extend(page.into_iter().map(|named| named.file));
        }
        assert_eq!(paged, files.iter().map(|file| file.file).collect::<Vec<_>>());
        assert_eq!(store.messages_with_file(&id, &files[0].file, None, 99).unwrap().len(), 3);
        assert_eq!(store.files_of_room(&other.create.room(), None, 9).unwrap().len(), 1);
    }
}

#[test]
fn files_stay_within_the_quotas_of_a_file_a_room_and_the_server() {
    for medium in Medium::both() {
        let limits = FileLimits { file: 5000, room: 8000, server: 12_000 };
        let store = medium.open().with_file_limits(limits);
        let (mut one, mut other) = (room(&store, 1), room(&store, 2));
        let id = one.create.room();
        assert!(matches!(upload(&store, &one, &content(5001, 1)), Err(FileError::TooLarge { limit: 5000 })));
        assert!(matches!(store.receive_file(&id, Some(5001)), Err(FileError::TooLarge { .. })));
        let first = upload(&store, &one, &content(5000, 1)).unwrap();
        let over = upload(&store, &one, &content(3001, 2)).unwrap_err();
        assert!(matches!(over, FileError::RoomQuota { used: 5000, limit: 8000 }), "{over}");
        assert!(over.to_string().contains("files.room_quota_mib"));
        upload(&store, &one, &content(3000, 2)).unwrap();
        let remote = named(FileId::of_block(b"remote"), 4001);
        say(&store, &mut other, std::slice::from_ref(&remote));
        let over = store.fetch_file(&other.create.room(), &remote.file, remote.size, NOW).unwrap_err();
        assert!(matches!(over, FileError::ServerQuota { used: 8000, limit: 12_000 }), "{over}");
        let event = say(&store, &mut one, std::slice::from_ref(&first));
        erase(&store, &one, &event);
        assert_eq!(store.file_bytes(Some(&id)), 3000);
        let mut part = store.fetch_file(&other.create.room(), &remote.file, remote.size, NOW).unwrap().unwrap();
        assert_eq!(store.file_bytes(None), 3000, "nobody has proven that there is such a file");
        part.put(0, &[0; 4001]).unwrap();
        assert_eq!(store.file_bytes(None), 7001, "what is coming counts in full");
        let nowhere = Room::new(3).create.room();
        assert!(matches!(store.receive_file(&nowhere, None), Err(FileError::UnknownRoom(_))));
    }
}

#[test]
fn no_file_is_taken_on_a_disk_that_is_nearly_full() {
    let directory = TempDir::new().unwrap();
    let store = EventStore::open(directory.path(), 8 << 20).unwrap();
    let room = room(&store, 1);
    let store = store.with_reserve(u64::MAX);
    let full = upload(&store, &room, b"bytes").unwrap_err();
    assert!(cfg!(not(unix)) || matches!(full, FileError::Store(StoreError::Full { .. })), "{full}");
}

#[test]
fn a_restored_backup_names_its_files_which_are_fetched_again() {
    let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    let mut room = room(&store, 1);
    let file = upload(&store, &room, &content(3000, 1)).unwrap();
    say(&store, &mut room, std::slice::from_ref(&file));
    let mut stream = Vec::new();
    backup::write(&store, &[9; 32], &mut stream).unwrap();
    let restored = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    backup::restore(&restored, &mut stream.as_slice(), |_| {}).unwrap();
    let id = room.create.room();
    assert!(restored.names_file(&id, &file.file).unwrap() && restored.file(&file.file).unwrap().is_none());
    assert!(restored.fetch_file(&id, &file.file, file.size, NOW).unwrap().is_some());
}

#[test]
fn a_file_that_rots_is_noticed_where_it_is_sent_and_can_come_again() {
    for medium in Medium::both() {
        for ending in ["", ".obao"] {
            let store = medium.open();
            let mut room = room(&store, 1);
            let bytes = content(5000, 1);
            let file = upload(&store, &room, &bytes).unwrap();
            say(&store, &mut room, std::slice::from_ref(&file));
            let name = medium.name(&format!("{}{ending}", file.file));
            let mut damaged = medium.read(&name);
            damaged[1500 % 200] ^= 1;
            medium.damage(&name, Some(&damaged));
            let range = FileRange::numbered(0, file.size).unwrap();
            assert!(matches!(store.file_slice(&file.file, range), Err(StoreError::Damaged(_))), "{ending}");
            assert_eq!((store.file(&file.file).unwrap(), store.file_bytes(None)), (None, 0));
            flush(&store);
            assert_eq!(medium.blobs(), Vec::<String>::new());
            let mut part = store.fetch_file(&room.create.room(), &file.file, file.size, NOW).unwrap().unwrap();
            part.put(0, &bytes).unwrap();
            part.finish().unwrap();
            assert!(store.file_slice(&file.file, range).unwrap().is_some());
            drop(store);
            match &medium {
                Medium::Disk(directory) => fs::remove_dir_all(directory.path().join("files")).unwrap(),
                Medium::Memory(disk) => {
                    disk.blob_contents().into_keys().for_each(|name| disk.damage_blob(&name, None));
                }
            }
            let store = medium.open();
            assert!(store.open_file(&file.file).unwrap().is_none(), "what is not there is not here");
            assert_eq!(store.file_bytes(None), 0);
        }
    }
}

#[test]
fn bytes_without_a_record_are_taken_in_where_they_are_named_and_true_and_else_removed() {
    let disk = MemoryDisk::new();
    let bytes = [1, 2, 3].map(|seed| content(5000, seed));
    let (files, id) = {
        let store = EventStore::in_memory(&disk).unwrap();
        let mut room = room(&store, 1);
        let files = bytes.each_ref().map(|bytes| upload(&store, &room, bytes).unwrap());
        say(&store, &mut room, &files[..2]);
        flush(&store);
        (files, room.create.room())
    };
    // As after a restore, with the bytes copied beside it, one of them damaged.
    for key in disk.rows().into_keys().filter(|key| key[0] == b'f') {
        disk.damage(&key, None);
    }
    for name in disk.blob_contents().into_keys() {
        if name.ends_with(".obao") {
            disk.damage_blob(&name, None);
        } else if name.ends_with(&files[1].file.to_string()) {
            disk.damage_blob(&name, Some(&bytes[0]));
        }
    }
    let store = EventStore::in_memory(&disk).unwrap();
    store.sweep_files(NOW).unwrap();
    assert_eq!(read(&store, &files[0].file), Some(bytes[0].clone()));
    assert_eq!((read(&store, &files[1].file), read(&store, &files[2].file)), (None, None));
    assert_eq!((store.file_bytes(Some(&id)), disk.blob_contents().len()), (5000, 2));
    assert!(store.file_slice(&files[0].file, FileRange::new(0, 1).unwrap()).unwrap().is_some());
}

#[test]
fn a_check_finds_what_is_wrong_with_files_and_a_repair_leaves_nothing_of_it() {
    let keys = |disk: &MemoryDisk, prefix: u8| -> Vec<Vec<u8>> {
        disk.rows().into_keys().filter(|key| key[0] == prefix).collect()
    };
    let blob = |disk: &MemoryDisk, file: &FileRef, ending: &str| -> String {
        let mut names = disk.blob_contents().into_keys();
        names.rfind(|name| name.ends_with(&format!("{}{ending}", file.file))).unwrap()
    };
    let (disk, _) = sound();
    let report = check(&EventStore::in_memory(&disk).unwrap(), Mode::Repair, |_, _| {}).unwrap();
    assert_eq!((report.found, report.files), (0, 2), "{report:#?}");

    let cases: [(&str, FindingKind, &dyn Fn(&MemoryDisk, &FileRef)); 10] = [
        ("a message that is not listed with its file", FindingKind::FileIndex, &|disk, _| {
            disk.damage(&keys(disk, b'g')[0], None);
        }),
        ("a wrong size", FindingKind::FileIndex, &|disk, _| disk.damage(&keys(disk, b'g')[0], Some(&[0; 8]))),
        ("a file that is not listed as named", FindingKind::FileIndex, &|disk, _| {
            disk.damage(&keys(disk, b'u')[0], None);
        }),
        ("a file that nothing names", FindingKind::FileIndex, &|disk, _| {
            let mut key = keys(disk, b'u')[0].clone();
            key.truncate(37);
            key.extend([7; 32]);
            disk.damage(&key, Some(&[]));
        }),
        ("a listing that is none", FindingKind::FileIndex, &|disk, _| disk.damage(b"u?", Some(&[]))),
        ("a record that cannot be read", FindingKind::File, &|disk, _| {
            disk.damage(&[b"f".as_slice(), &[7; 32]].concat(), Some(b"?"));
        }),
        ("a file without its bytes", FindingKind::File, &|disk, file| disk.damage_blob(&blob(disk, file, ""), None)),
        ("a file that was cut", FindingKind::File, &|disk, file| {
            disk.damage_blob(&blob(disk, file, ""), Some(&[0; 4999]));
        }),
        ("a file without its tree", FindingKind::File, &|disk, file| {
            disk.damage_blob(&blob(disk, file, ".obao"), None);
        }),
        ("bytes of which nothing is noted", FindingKind::Orphan, &|disk, _| {
            disk.damage_blob(&format!("xy/{}.part", FileId::from_hash([9; 32])), Some(b"left"));
        }),
    ];
    for (name, kind, damage) in cases {
        let (disk, file) = sound();
        damage(&disk, &file);
        let (rows, blobs) = (disk.rows(), disk.blob_contents());
        let open = || EventStore::in_memory(&disk).unwrap();
        let report = check(&open(), Mode::Check, |_, _| {}).unwrap();
        assert_eq!(kinds(&report), [kind], "{name}: {report:#?}");
        assert!(disk.rows() == rows && disk.blob_contents() == blobs, "{name}: a check changes nothing");
        let report = check(&open(), Mode::Repair, |_, _| {}).unwrap();
        assert!(report.is_sound() && kinds(&report) == [kind], "{name}: {report:#?}");
        let report = check(&open(), Mode::Check, |_, _| {}).unwrap();
        assert_eq!(report.found, 0, "{name}: {report:#?}");
        assert!(open().names_file(&open().rooms().unwrap()[0].0, &file.file).unwrap(), "{name}");
    }
}

#[test]
fn the_content_of_files_is_checked_where_that_is_asked_for() {
    let (disk, file) = sound();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut heard = Vec::new();
    let report = check_content(&store, Mode::Check, |read, of| heard.push((read, of))).unwrap();
    assert_eq!((report.found, report.hashed), (0, 2));
    assert!(heard.is_sorted() && heard.last() == Some(&(5010, 5010)), "{heard:?}");
    let name = disk.blob_contents().into_keys().find(|name| name.ends_with(&file.file.to_string())).unwrap();
    let mut rotten = disk.blob_contents()[&name].clone();
    rotten[4000] ^= 1;
    disk.damage_blob(&name, Some(&rotten));
    assert_eq!(check(&store, Mode::Check, |_, _| {}).unwrap().found, 0, "its size is right");
    let found = check_content(&store, Mode::Check, |_, _| {}).unwrap();
    assert_eq!((kinds(&found), found.repaired), (vec![FindingKind::File], 0));
    let mut both = check(&store, Mode::Repair, |_, _| {}).unwrap();
    both.absorb(check_content(&store, Mode::Repair, |_, _| {}).unwrap());
    assert!(both.is_sound() && both.found == 1 && both.hashed == 2, "{both:#?}");
    assert_eq!(
        (store.file(&file.file).unwrap(), check_content(&store, Mode::Check, |_, _| {}).unwrap().hashed),
        (None, 1)
    );
    assert_eq!(check(&store, Mode::Check, |_, _| {}).unwrap().found, 0);
}
