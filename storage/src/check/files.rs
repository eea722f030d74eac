//! Files: whether they are listed under the messages that name them, and whether they are on disk as it is noted.
//!
//! What is in them is looked at apart, by [`check_content`]: reading all of it takes as long as the disk takes.

use std::io;

use rocketmesh_protocol::id::{FileId, RoomId};

use super::mending::{ENTRIES, Pages};
use super::rooms::Named;
use super::{Checker, Finding, FindingKind, Mode, Report, Stop};
use crate::error::StoreError;
use crate::files::{
    FileRecord, Of, files_of, hidden_key, named_key, read_file_key, read_named_key, read_used_key, used_key,
    used_prefix,
};
use crate::layout;
use crate::store::{EventStore, StoredEvent, Verdict};

impl Checker<'_> {
    /// Sees to it that an event's files are listed.
    pub(super) fn look_at_own_files(&mut self, number: u32, stored: &StoredEvent) -> Result<(), Stop> {
        let (event, id) = (&stored.event, stored.event.id());
        for file in files_of(stored) {
            if stored.verdict != Verdict::Accepted {
                let what = "it is withheld and names a file, and is not listed with it";
                self.ensure(hidden_key(&file.file, number, &id), FindingKind::FileIndex, event, what)?;
                continue;
            }
            let listed = named_key(number, &file.file, &id);
            let size = file.size.to_be_bytes();
            if self.mending.get(&listed)?.as_deref() != Some(size.as_slice()) {
                let what = "it names a file, and is not listed with it";
                self.note_derivable(FindingKind::FileIndex, Some(event.room()), Some(id), what);
                self.mending.set(listed, size.to_vec())?;
            }
            let used = used_key(&file.file, number, &id);
            self.ensure(used, FindingKind::FileIndex, event, "it names a file, and the file is not listed as named")?;
        }
        Ok(())
    }

    /// Removes from a room's list of files what no message of it names.
    pub(super) fn look_at_named_files(&mut self, room: RoomId, number: u32) -> Result<(), Stop> {
        let mut pages = Pages::below(&layout::room_prefix(layout::NAMED, number), ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                let named = read_named_key(&key);
                let belongs = match self.named_at(named.map(|(_, event)| event))? {
                    Named::Sound(stored) => {
                        let file = named.map(|(file, _)| file);
                        let shown = stored.event.room() == room && stored.verdict == Verdict::Accepted;
                        shown && files_of(&stored).iter().any(|other| Some(other.file) == file)
                    }
                    Named::Unclear => true,
                    Named::Absent => false,
                };
                if !belongs {
                    let what = "it is listed with a file that it does not name";
                    self.note_derivable(FindingKind::FileIndex, Some(room), named.map(|(_, event)| event), what);
                    self.mending.remove(key)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at the list of what names each file, at what is noted of files, and at whether it is so.
    pub(super) fn look_at_files(&mut self) -> Result<(), Stop> {
        let mut pages = Pages::below(&[layout::USED], ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                let listed = match read_used_key(&key) {
                    Some((file, number, event)) => self.mending.contains(&named_key(number, &file, &event))?,
                    None => false,
                };
                if !listed {
                    let what = "a file is listed as named by what does not name it";
                    self.note_derivable(FindingKind::FileIndex, None, None, what);
                    self.mending.remove(key)?;
                }
            }
        }
        self.look_at_hidden_files()?;
        let mut pages = Pages::below(&[layout::FILE], ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, record) in page {
                let file = read_file_key(&key);
                if let Some(fault) = self.fault_of_file(file, &record)? {
                    self.note_derivable(FindingKind::File, None, None, fault);
                    if let Some(file) = file.filter(|_| self.mode == Mode::Repair) {
                        // Its content stays: if it is sound, and still named, the node takes it in again by its hash.
                        for of in Of::ALL.into_iter().filter(|of| *of != Of::Whole) {
                            let blobs = self.mending.store().files().blobs();
                            blobs.remove(&of.name(&file)).map_err(StoreError::from)?;
                        }
                    }
                    self.mending.remove(key)?;
                }
            }
        }
        self.look_for_stray_files()
    }

    /// Looks at the list of withheld messages that name files.
    fn look_at_hidden_files(&mut self) -> Result<(), Stop> {
        let mut pages = Pages::below(&[layout::HIDDEN], ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, _) in page {
                let listed = read_used_key(&key);
                let belongs = match self.named_at(listed.map(|(.., event)| event))? {
                    Named::Sound(stored) => {
                        let number = self.rooms.get(&stored.event.room()).copied();
                        let withheld = stored.verdict == Verdict::Withheld && number == listed.map(|(_, room, _)| room);
                        let named = files_of(&stored);
                        withheld && named.iter().any(|other| Some(other.file) == listed.map(|(file, ..)| file))
                    }
                    Named::Unclear => true,
                    Named::Absent => false,
                };
                if !belongs {
                    let what = "a file is listed as named by a withheld message that does not name it";
                    self.note_derivable(FindingKind::FileIndex, None, None, what);
                    self.mending.remove(key)?;
                }
            }
        }
        Ok(())
    }

    fn fault_of_file(&mut self, file: Option<FileId>, record: &[u8]) -> Result<Option<String>, StoreError> {
        let (Some(file), Ok(record)) = (file, FileRecord::decode(record)) else {
            return Ok(Some("the record of a file cannot be read".to_owned()));
        };
        if record.have.is_some() {
            return Ok(None);
        }
        self.report.files += 1;
        let sound = self.mending.store().is_laid_out(&file, record.size)?;
        Ok((!sound)
            .then(|| format!("file {file} is not on disk as its record says; it is fetched again once that is gone")))
    }

    /// Whether a message names a file, by the lists as they are with what was mended and is not written yet.
    fn is_named_file(&self, file: &FileId) -> Result<bool, StoreError> {
        let mut pages = Pages::below(&used_prefix(file, None), ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            if !page.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds bytes of files of which nothing is noted.
    fn look_for_stray_files(&mut self) -> Result<(), Stop> {
        let store = self.mending.store();
        let mut stray = Vec::new();
        for (file, of, name) in store.stray_blobs()? {
            // The bytes of what a message names: the node finds out by its hash whether they are whole, and takes them in.
            if of != Of::Whole || !self.is_named_file(&file)? {
                stray.push(name);
            }
        }
        if stray.is_empty() {
            return Ok(());
        }
        if self.mode == Mode::Repair {
            for name in &stray {
                store.files().blobs().remove(name).map_err(StoreError::from)?;
            }
        }
        let what = format!("files in the store's directory of which nothing is noted: {}", stray.len());
        self.note_derivable(FindingKind::Orphan, None, None, what);
        Ok(())
    }
}

/// Hashes every whole file, and with [`Mode::Repair`] forgets those that are not what their ids say, so that the node fetches them
/// again. Nobody else may write to the store meanwhile. `progress` is told how many bytes were read, of how many.
///
/// # Errors
/// [`StoreError`] if the store cannot be read or written.
pub fn check_content(store: &EventStore, mode: Mode, mut progress: impl FnMut(u64, u64)) -> Result<Report, StoreError> {
    let files = store.whole_files()?;
    let of: u64 = files.iter().map(|(_, record)| record.size).sum();
    let mut report = Report::default();
    let mut read = 0;
    for (file, record) in files {
        let size = record.size;
        let sound = match store.open_whole(&file, size)? {
            Some(content) => hash(content, |bytes| progress(read + bytes, of))? == *file.hash(),
            None => false,
        };
        read += size;
        report.hashed += 1;
        if !sound {
            let repaired = mode == Mode::Repair;
            if repaired {
                store.forget_file(&file, &record)?;
            }
            let what = format!("file {file} is not what its id says");
            let (kind, derivable) = (FindingKind::File, true);
            report.add(Finding { kind, room: None, event: None, what, repaired, derivable });
        }
    }
    if mode == Mode::Repair {
        store.sync()?;
        store.remove_gone_files()?;
    }
    progress(read, read);
    Ok(report)
}

/// The hash of what is read; `read` is told how many bytes were.
fn hash(mut content: impl io::Read, mut read: impl FnMut(u64)) -> Result<[u8; 32], StoreError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1024 * 1024];
    let mut bytes = 0;
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(*hasher.finalize().as_bytes()),
            len => {
                hasher.update(&buffer[..len]);
                bytes += len as u64;
                read(bytes);
            }
        }
    }
}
