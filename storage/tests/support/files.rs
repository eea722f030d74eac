//! Files in a store, on disk and in memory, and messages that name them.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::fs;
use std::io::Read;
use std::path::Path;

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Event, FileRef};
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::id::FileId;
use rocketmesh_protocol::limits::FILE_RANGE_BYTES;
use rocketmesh_storage::check::{FindingKind, Report};
use rocketmesh_storage::{Batch, EventStore, FileError, Marks, MemoryDisk, Participation, StoredEvent, Verdict};
use tempfile::TempDir;

use super::Room;

pub const MEBIBYTE: usize = FILE_RANGE_BYTES as usize;
pub const NOW: u64 = 1_700_000_000_000;

/// A medium on which a store can be opened again.
pub enum Medium {
    Disk(TempDir),
    Memory(MemoryDisk),
}

impl Medium {
    pub fn both() -> [Medium; 2] {
        [Medium::Disk(TempDir::new().unwrap()), Medium::Memory(MemoryDisk::new())]
    }

    pub fn open(&self) -> EventStore {
        match self {
            Medium::Disk(directory) => EventStore::open(directory.path(), 8 << 20).unwrap(),
            Medium::Memory(disk) => EventStore::in_memory(disk).unwrap(),
        }
    }

    /// The names of what lies there of files.
    pub fn blobs(&self) -> Vec<String> {
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

    pub fn read(&self, name: &str) -> Vec<u8> {
        match self {
            Medium::Memory(disk) => disk.blob_contents()[name].clone(),
            Medium::Disk(directory) => fs::read(blob_path(directory.path(), name)).unwrap(),
        }
    }

    /// Changes or removes something behind the store's back.
    pub fn damage(&self, name: &str, bytes: Option<&[u8]>) {
        match (self, bytes) {
            (Medium::Memory(disk), bytes) => disk.damage_blob(name, bytes),
            (Medium::Disk(directory), Some(bytes)) => fs::write(blob_path(directory.path(), name), bytes).unwrap(),
            (Medium::Disk(directory), None) => fs::remove_file(blob_path(directory.path(), name)).unwrap(),
        }
    }

    /// The one name with this ending.
    pub fn name(&self, ending: &str) -> String {
        let names: Vec<String> = self.blobs().into_iter().filter(|name| name.ends_with(ending)).collect();
        let [name] = &names[..] else { panic!("{names:?}") };
        name.clone()
    }
}

pub fn blob_path(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join("files").join(name)
}

pub fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 251) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

pub fn upload(store: &EventStore, room: &Room, bytes: &[u8]) -> Result<FileRef, FileError> {
    let mut upload = store.receive_file(&room.create.room(), None)?;
    for piece in bytes.chunks(100_000) {
        upload.write(piece)?;
    }
    let (file, size) = upload.finish(NOW)?;
    Ok(named(file, size))
}

pub fn named(file: FileId, size: u64) -> FileRef {
    FileRef {
        file,
        size,
        name: "a.bin".to_owned(),
        media_type: "application/octet-stream".to_owned(),
        dimensions: None,
    }
}

pub fn room(store: &EventStore, seed: u8) -> Room {
    let room = Room::new(seed);
    room.put(store, std::slice::from_ref(&room.create));
    room
}

/// A message with these files, in the store from now on.
pub fn say(store: &EventStore, room: &mut Room, files: &[FileRef]) -> Event {
    let event = room.message_with(FileRef::into_fields(files, Map::new().with("text", "look")).unwrap());
    room.put(store, std::slice::from_ref(&event));
    event
}

/// Takes a message's body, as a redaction does.
pub fn erase(store: &EventStore, room: &Room, event: &Event) {
    put_erased(store, room, event);
    flush(store);
}

/// The same, and it is not certain yet.
pub fn put_erased(store: &EventStore, room: &Room, event: &Event) {
    let stripped = [StoredEvent { event: event.without_body(), verdict: Verdict::Accepted }];
    let marked = [(event.id(), Marks { erased: true, ..Marks::default() })];
    let batch = Batch::of(&room.outline, Participation::Joined);
    store.put(&Batch { stripped: &stripped, marked: &marked, ..batch }).unwrap();
}

/// Makes everything certain, and has the bytes go that may go then.
pub fn flush(store: &EventStore) {
    store.sync().unwrap();
    store.remove_gone_files().unwrap();
}

pub fn read(store: &EventStore, file: &FileId) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open_file(file).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

pub fn range_of(bytes: &[u8], number: u64) -> &[u8] {
    let range = FileRange::numbered(number, bytes.len() as u64).unwrap();
    &bytes[range.from() as usize..range.end() as usize]
}

pub fn kinds(report: &Report) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

/// A store with a file that two rooms name and one that nobody does.
pub fn sound() -> (MemoryDisk, FileRef) {
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
