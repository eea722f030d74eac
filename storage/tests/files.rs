//! Files: taken in whole or range by range, and gone with the last message that names them. On disk and in memory.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::io::Read;
use std::path::Path;

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Event, FileRef};
use rocketmesh_protocol::file::{FileRange, SliceError, open_slice};
use rocketmesh_protocol::id::FileId;
use rocketmesh_protocol::limits::FILE_RANGE_BYTES;
use rocketmesh_storage::check::{FindingKind, Mode, Report, check, check_content};
use rocketmesh_storage::{
    Batch, EventStore, FileError, FileLimits, Marks, MemoryDisk, Participation, StoreError, StoredEvent,
    UNNAMED_FOR_MS, Verdict, backup,
};
use support::Room;
use tempfile::TempDir;

const MEBIBYTE: usize = FILE_RANGE_BYTES as usize;
const NOW: u64 = 1_700_000_000_000;

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

    /// The names of what lies there of files.
    fn blobs(&self) -> Vec<String> {
        match self {
            Medium::Memory(disk) => disk.blob_contents().into_keys().collect(),
            Medium::Disk(directory) => {
                let mut names = Vec::new();
                let root = directory.path().join("files");
                for folder in fs::read_dir(&root).into_iter().flatten().map(|folder| folder.unwrap().path()) {
                    for file in fs::read_dir(folder).unwrap() {
                        names.push(file.unwrap().path().strip_prefix(&root).unwrap().display().to_string());
                    }
                }
                names.sort();
                names
            }
        }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        match self {
            Medium::Memory(disk) => disk.blob_contents()[name].clone(),
            Medium::Disk(directory) => fs::read(blob_path(directory.path(), name)).unwrap(),
        }
    }

    /// Changes or removes something behind the store's back.
    fn damage(&self, name: &str, bytes: Option<&[u8]>) {
        match (self, bytes) {
            (Medium::Memory(disk), bytes) => disk.damage_blob(name, bytes),
            (Medium::Disk(directory), Some(bytes)) => fs::write(blob_path(directory.path(), name), bytes).unwrap(),
            (Medium::Disk(directory), None) => fs::remove_file(blob_path(directory.path(), name)).unwrap(),
        }
    }

    /// The one name with this ending.
    fn name(&self, ending: &str) -> String {
        let names: Vec<String> = self.blobs().into_iter().filter(|name| name.ends_with(ending)).collect();
        let [name] = &names[..] else { panic!("{names:?}") };
        name.clone()
    }
}

fn blob_path(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join("files").join(name)
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 251) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

fn upload(store: &EventStore, room: &Room, bytes: &[u8]) -> Result<FileRef, FileError> {
    let mut upload = store.receive_file(&room.create.room(), None)?;
    for piece in bytes.chunks(100_000) {
        upload.write(piece)?;
    }
    let (file, size) = upload.finish(NOW)?;
    Ok(named(file, size))
}

fn named(file: FileId, size: u64) -> FileRef {
    FileRef {
        file,
        size,
        name: "a.bin".to_owned(),
        media_type: "application/octet-stream".to_owned(),
        dimensions: None,
    }
}

fn room(store: &EventStore, seed: u8) -> Room {
    let room = Room::new(seed);
    room.put(store, std::slice::from_ref(&room.create));
    room
}

/// A message with these files, in the store from now on.
fn say(store: &EventStore, room: &mut Room, files: &[FileRef]) -> Event {
    let event = room.message_with(FileRef::into_fields(files, Map::new().with("text", "look")).unwrap());
    room.put(store, std::slice::from_ref(&event));
    event
}

/// Takes a message's body, as a redaction does.
fn erase(store: &EventStore, room: &Room, event: &Event) {
    let stripped = [StoredEvent { event: event.without_body(), verdict: Verdict::Accepted }];
    let marked = [(event.id(), Marks { erased: true, ..Marks::default() })];
    let batch = Batch::of(&room.outline, Participation::Joined);
    store.put(&Batch { stripped: &stripped, marked: &marked, ..batch }).unwrap();
    flush(store);
}

/// Makes everything certain, and has the bytes go that may go then.
fn flush(store: &EventStore) {
    store.sync().unwrap();
    store.remove_gone_files().unwrap();
}

fn read(store: &EventStore, file: &FileId) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open_file(file).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

fn range_of(bytes: &[u8], number: u64) -> &[u8] {
    let range = FileRange::numbered(number, bytes.len() as u64).unwrap();
    &bytes[range.from() as usize..range.end() as usize]
}

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

fn kinds(report: &Report) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

/// A store with a file that two rooms name and one that nobody does.
fn sound() -> (MemoryDisk, FileRef) {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let (mut one, mut other) = (room(&store, 1), room(&store, 2));
    let file = upload(&store, &one, &content(5000, 1)).unwrap();
    upload(&store, &one, &content(10, 2)).unwrap();
    say(&store, &mut one, std::slice::from_ref(&file));
    say(&store, &mut other, std::slice::from_ref(&file));
    flush(&store);
    (disk, file)
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
