//! A loss of power at any moment takes no file that a sync confirmed, brings none back, and leaves none that is half there.
//!
//! As `power_loss.rs`, with files that users bring, that come from other servers, and that are taken back.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/power.rs"]
mod power;
mod support;

use std::path::Path;
use std::slice;

use power::{cut, open, stores};
use rocketmesh_protocol::event::{Event, FileRef};
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::id::FileId;
use rocketmesh_storage::EventStore;
use rocketmesh_storage::check::{Mode, check_content};
use rocketmesh_storage_power::{Disk, Random};
use support::Room;
use support::files::{MEBIBYTE, NOW, flush, named, put_erased, range_of, read, say};
use tempfile::TempDir;

const STORES: u64 = 2;
const STORES_SOAK: u64 = 40;
/// A store is cut so often. The next one begins small again.
const CUTS: usize = 15;
/// The most calls to the disk between two cuts. A small file makes some twenty, a large one thousands.
const CALLS: usize = 300;
/// One file in so many has more than one range.
const LARGE: usize = 12;

#[test]
fn power_cuts_at_any_moment_take_no_file_that_a_sync_confirmed() {
    let mut confirmed_in_all = 0;
    for seed in 0..stores(STORES, STORES_SOAK) {
        let directory = TempDir::new().unwrap();
        let disk = Disk::watch(directory.path()).unwrap();
        let mut writer = Writer::start(disk.path(), seed);
        for number in 0..CUTS {
            let (image, (confirmed, gone)) = cut(&disk, &mut writer, CALLS);
            // What was taken back in the turn that was cut may be there or not.
            let kept: Vec<_> = confirmed.into_iter().filter(|(file, _)| !writer.gone.contains(file)).collect();
            println!("store {seed}, cut {number}: {} files confirmed, {} taken back", kept.len(), gone.len());
            confirmed_in_all += kept.len();
            look_at(image.path(), &kept, &gone);
        }
    }
    assert!(confirmed_in_all > CUTS, "too little was written to be lost: {confirmed_in_all}");
}

type Content = (FileId, Vec<u8>);

/// Brings files, fetches them and takes them back, and keeps account of what has to survive.
struct Writer {
    store: EventStore,
    room: Room,
    random: Random,
    /// Files that a message names and that are here.
    live: Vec<(FileRef, Vec<u8>, Event)>,
    /// Those of them that a sync confirmed.
    confirmed: Vec<Content>,
    /// Files that were taken back.
    gone: Vec<FileId>,
    confirmed_gone: Vec<FileId>,
}

impl Writer {
    fn start(directory: &Path, seed: u64) -> Self {
        let store = open(directory);
        let room = Room::new(1);
        room.put(&store, slice::from_ref(&room.create));
        store.sync().unwrap();
        let random = Random::new(seed);
        Writer {
            store,
            room,
            random,
            live: Vec::new(),
            confirmed: Vec::new(),
            gone: Vec::new(),
            confirmed_gone: Vec::new(),
        }
    }

    fn content(&mut self) -> Vec<u8> {
        let len = match self.random.below(LARGE) {
            0 => MEBIBYTE + 1 + self.random.below(5_000),
            // No two of them are alike.
            _ => 16 + self.random.below(8_000),
        };
        (0..len).map(|_| self.random.below(256) as u8).collect()
    }

    fn bring(&mut self) {
        let bytes = self.content();
        let mut upload = self.store.receive_file(&self.room.create.room(), Some(bytes.len() as u64)).unwrap();
        for piece in bytes.chunks(100_000) {
            upload.write(piece).unwrap();
        }
        let (file, size) = upload.finish(NOW).unwrap();
        let file = named(file, size);
        let event = say(&self.store, &mut self.room, slice::from_ref(&file));
        self.live.push((file, bytes, event));
    }

    fn fetch(&mut self) {
        let bytes = self.content();
        let file = named(FileId::of_block(&bytes), bytes.len() as u64);
        let event = say(&self.store, &mut self.room, slice::from_ref(&file));
        let part = self.store.fetch_file(&self.room.create.room(), &file.file, file.size, NOW).unwrap();
        let mut part = part.expect("it is not here");
        for number in (0..FileRange::count(file.size)).rev() {
            part.put(number, range_of(&bytes, number)).unwrap();
            part.save().unwrap();
        }
        part.finish().unwrap();
        self.live.push((file, bytes, event));
    }

    fn take_back(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let at = self.random.below(self.live.len());
        let (file, _, event) = self.live.swap_remove(at);
        self.gone.push(file.file);
        put_erased(&self.store, &self.room, &event);
    }

    fn sync(&mut self) {
        flush(&self.store);
        self.confirmed = self.live.iter().map(|(file, bytes, _)| (file.file, bytes.clone())).collect();
        self.confirmed_gone.clone_from(&self.gone);
    }
}

impl power::Writer for Writer {
    /// Files that are here, and those that were taken back.
    type Confirmed = (Vec<Content>, Vec<FileId>);

    fn confirmed(&self) -> Self::Confirmed {
        (self.confirmed.clone(), self.confirmed_gone.clone())
    }

    fn turn(&mut self) {
        match self.random.below(12) {
            0..=3 => self.bring(),
            4..=6 => self.fetch(),
            7 => self.take_back(),
            _ => self.sync(),
        }
    }

    fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// Looks in a store for the files that were confirmed, and for those that must not be there.
fn look_at(directory: &Path, kept: &[Content], gone: &[FileId]) {
    let store = open(directory);
    let whole = check_content(&store, Mode::Check, |_, _| {}).unwrap();
    assert_eq!(whole.found, 0, "what is said to be whole is whole: {whole:#?}");
    for swept in [false, true] {
        for (file, bytes) in kept {
            assert!(read(&store, file).as_ref() == Some(bytes), "{file} was confirmed (swept: {swept})");
            let range = FileRange::numbered(0, bytes.len() as u64).unwrap();
            assert!(store.file_slice(file, range).unwrap().is_some(), "{file} cannot be sent");
        }
        for file in gone {
            assert_eq!(store.file(file).unwrap(), None, "{file} was taken back");
        }
        store.sweep_files(NOW).unwrap();
        flush(&store);
    }
    for file in gone {
        let lies_there = walk(&directory.join("files"), &file.to_string());
        assert!(!lies_there, "the bytes of {file} are still there");
    }
}

/// Whether something below a directory has this in its name.
fn walk(directory: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.map(|entry| entry.unwrap()).any(|entry| {
        let here = entry.file_name().to_string_lossy().contains(name);
        here || entry.file_type().unwrap().is_dir() && walk(&entry.path(), name)
    })
}
