//! Whoever writes to a disk until its power is cut, and what the disk may hold then.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::path::Path;
use std::thread;
use std::time::Duration;

use rocketmesh_storage::{EventStore, StoreError};
use rocketmesh_storage_power::{Disk, Random};
use tempfile::TempDir;

/// Writes, and keeps account of what has to survive.
pub trait Writer {
    /// What a sync has confirmed.
    type Confirmed;

    fn confirmed(&self) -> Self::Confirmed;
    fn turn(&mut self);
    fn random(&mut self) -> &mut Random;
}

/// How many stores are written to: every day, and where `make soak` asks for more.
pub fn stores(every_day: u64, soak: u64) -> u64 {
    if std::env::var_os("ROCKETMESH_SOAK").is_some() { soak } else { every_day }
}

/// Lets somebody write until the power is cut, at one of the next calls to the disk. Gives what the disk may hold then, and what had
/// been confirmed before the turn in which it was cut.
pub fn cut<W: Writer>(disk: &Disk, writer: &mut W, calls: usize) -> (TempDir, W::Confirmed) {
    disk.cut_after(1 + writer.random().below(calls));
    let (remains, confirmed) = loop {
        let confirmed = writer.confirmed();
        writer.turn();
        if let Some(remains) = disk.remains() {
            break (remains, confirmed);
        }
    };
    let image = TempDir::new().unwrap();
    remains.write_to(image.path(), writer.random()).unwrap();
    (image, confirmed)
}

/// Opens a store. The threads of sled can hold its file for a moment longer than the handle that was dropped.
pub fn open(directory: &Path) -> EventStore {
    let mut patience = 0..200;
    loop {
        match EventStore::open(directory, 8 << 20) {
            Err(StoreError::Io(_)) if patience.next().is_some() => thread::sleep(Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
}
