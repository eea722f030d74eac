//! A loss of power at any moment loses nothing that a sync confirmed, whatever the disk made of the rest.
//!
//! The store works on a disk that takes note of what is certain on it and what is not (`storage/power`). The power is
//! cut between any two of the store's calls, also while it is opened again. What the disk may then hold is opened as a
//! store of its own.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/power.rs"]
mod power;
mod support;

use std::fs::{self, File};
use std::panic;
use std::path::Path;
use std::slice;
use std::thread;

use power::{cut, open, stores};
use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::id::EventId;
use rocketmesh_storage::{EventStore, MemoryDisk};
use rocketmesh_storage_power::{Disk, Random};
use support::Room;
use tempfile::TempDir;

const STORES: u64 = 3;
const STORES_SOAK: u64 = 50;
/// A store is cut so often. The next one begins small again, and small ones are quick to look through.
const CUTS: usize = 20;
/// The most calls to the disk between two cuts. A batch alone makes one or none, a sync some.
const CALLS: usize = 40;

#[test]
fn power_cuts_at_any_moment_lose_nothing_that_a_sync_confirmed() {
    let mut blobs = 0;
    for seed in 0..stores(STORES, STORES_SOAK) {
        let directory = TempDir::new().unwrap();
        let disk = Disk::watch(directory.path()).unwrap();
        let mut writer = Writer::start(disk.path(), seed);
        for number in 0..CUTS {
            let (image, confirmed) = cut(&disk, &mut writer, CALLS);
            println!("store {seed}, cut {number}: {confirmed} events confirmed of {} written", writer.written.len());
            check(image.path(), &writer, confirmed);
        }
        blobs += fs::read_dir(disk.path().join("sled/blobs")).unwrap().count();
    }
    assert_eq!(blobs, 0, "a page became a file of its own, of which a loss of power can take the name or the content");
}

/// That the test above can fail: the same cuts, and nobody who syncs after sled.
#[test]
fn what_only_sled_flushed_is_lost_in_some_cut() {
    let directory = TempDir::new().unwrap();
    let disk = Disk::watch(directory.path()).unwrap();
    let open = |path: &Path| sled::Config::new().path(path.join("sled")).flush_every_ms(None).open();
    let tree = open(disk.path()).unwrap();
    tree.flush().unwrap();
    // As the store does on opening, so that what is lost is lost by sled's flushes alone.
    for made in ["sled/db", "sled/conf", "sled", ""] {
        File::open(disk.path().join(made)).unwrap().sync_all().unwrap();
    }
    let mut writer = OnlySled { tree, random: Random::new(1), flushed: 0 };
    let lost = (0..CUTS).any(|_| {
        let (image, confirmed) = cut(&disk, &mut writer, CALLS);
        // sled panics over some of what it may find.
        let whole = panic::catch_unwind(|| {
            let tree = open(image.path()).unwrap();
            (0..confirmed).all(|key| tree.contains_key(key.to_be_bytes()).unwrap())
        });
        !whole.unwrap_or(false)
    });
    assert!(lost, "the simulated disk keeps what nobody made it keep");
}

/// Writes to a tree of sled's, and takes its flushes for syncs.
struct OnlySled {
    tree: sled::Db,
    random: Random,
    flushed: u64,
}

impl power::Writer for OnlySled {
    type Confirmed = u64;

    fn confirmed(&self) -> u64 {
        self.flushed
    }

    fn turn(&mut self) {
        self.tree.insert(self.flushed.to_be_bytes(), vec![7_u8; 1_000]).unwrap();
        self.tree.flush().unwrap();
        self.flushed += 1;
    }

    fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// Writes to two rooms, and keeps account of what has to survive.
struct Writer<'a> {
    directory: &'a Path,
    store: EventStore,
    rooms: [Room; 2],
    random: Random,
    /// In the order of the local log, whose positions begin at 1.
    written: Vec<EventId>,
    /// How many of them a sync confirmed.
    confirmed: usize,
}

impl<'a> Writer<'a> {
    fn start(directory: &'a Path, seed: u64) -> Self {
        let store = open(directory);
        let rooms = [Room::new(1), Room::new(2)];
        for room in &rooms {
            room.put(&store, slice::from_ref(&room.create));
        }
        store.sync().unwrap();
        let written: Vec<_> = rooms.iter().map(|room| room.create.id()).collect();
        let confirmed = written.len();
        Writer { directory, store, rooms, random: Random::new(seed), written, confirmed }
    }

    fn put(&mut self) {
        let room = self.random.below(2);
        let events = self.messages(room);
        self.rooms[room].put(&self.store, &events);
        self.written.extend(events.iter().map(Event::id));
    }

    /// Syncs while another thread writes a batch, which this sync does not confirm, and reads it: both can split pages.
    fn sync(&mut self) {
        let before = self.written.len();
        let events = self.messages(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                self.rooms[0].put(&self.store, &events);
                assert!(events.iter().all(|event| self.store.contains(&event.id()).unwrap()));
            });
            self.store.sync().unwrap();
        });
        self.confirmed = before;
        self.written.extend(events.iter().map(Event::id));
    }

    /// sled then recovers, and replaces its snapshot.
    fn reopen(&mut self) {
        // The directory is locked while a handle is left, so that something else has to be in its place for a moment.
        self.store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
        self.store = open(self.directory);
    }

    /// A batch for a room. Some have long bodies, so that sled's pages grow large and its segments change.
    fn messages(&mut self, room: usize) -> Vec<Event> {
        let longest = if self.random.below(4) == 0 { 60_000 } else { 400 };
        (0..=self.random.below(6))
            .map(|_| {
                let length = 1 + self.random.below(longest);
                self.rooms[room].message(&"x".repeat(length))
            })
            .collect()
    }
}

impl power::Writer for Writer<'_> {
    /// How many events.
    type Confirmed = usize;

    fn confirmed(&self) -> usize {
        self.confirmed
    }

    fn turn(&mut self) {
        match self.random.below(24) {
            0 => self.reopen(),
            1..=9 => self.sync(),
            _ => self.put(),
        }
    }

    fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// Looks in a store for everything that was confirmed, then writes to it and opens it once more.
fn check(directory: &Path, writer: &Writer<'_>, confirmed: usize) {
    let store = open(directory);
    let log = store.log_after(0, usize::MAX).unwrap();
    assert!(log.len() >= confirmed, "of {confirmed} confirmed events {} are left", log.len());
    for ((entry, id), position) in log.iter().zip(&writer.written).zip(1..) {
        assert_eq!((entry.position, entry.event), (position, *id), "the log has neither gaps nor another order");
        assert!(store.event(id).unwrap().is_some(), "event {position} is in the log and nowhere else");
    }
    let [mut room, other] = [Room::new(1), Room::new(2)];
    for room in [&room, &other] {
        let id = room.create.room();
        let events = store.room(&id).unwrap().unwrap().outline.events();
        assert_eq!(events, store.order_after(&id, None, usize::MAX).unwrap().len() as u64, "a batch is there or not");
    }
    room.outline = store.room(&room.create.room()).unwrap().unwrap().outline;
    let event = room.message("after the power came back");
    let position = room.put(&store, slice::from_ref(&event));
    assert_eq!(position, log.len() as u64 + 1);
    store.sync().unwrap();
    drop(store);
    let store = open(directory);
    assert_eq!(store.log_end(), position);
    assert!(store.event(&event.id()).unwrap().is_some());
}
