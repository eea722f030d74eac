//! Blobs in memory, for simulations and tests. A simulated loss of power takes from each what was written since it was last
//! flushed, and those that have no name yet.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blobs::{Blob, Blobs, NEW};

/// The most bytes in one blob, and blobs on one medium: a simulated disk is for few small files.
const MAX_BLOB_BYTES: u64 = 64 * 1024 * 1024;
const MAX_BLOBS: usize = 4096;

type Bytes = Arc<Mutex<Content>>;

/// What is in a blob, and what undoes every write since it was flushed, oldest first.
#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    undo: Vec<Undo>,
}

/// What undoes one write: how long the blob was before it, and what stood in its place.
#[derive(Clone, Debug)]
struct Undo {
    len: usize,
    at: usize,
    bytes: Vec<u8>,
}

impl Content {
    fn write(&mut self, at: usize, new: &[u8]) {
        let (len, end) = (self.bytes.len(), at + new.len());
        self.undo.push(Undo { len, at, bytes: self.bytes[at.min(len)..end.min(len)].to_vec() });
        if len < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(new);
    }

    fn lose_unsynced(&mut self) {
        while let Some(Undo { len, at, bytes }) = self.undo.pop() {
            self.bytes.truncate(len);
            let at = at.min(len);
            self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
}

/// Clones share the blobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryBlobs(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl MemoryBlobs {
    /// The blobs as they are now, apart from these from now on.
    pub(crate) fn copied(&self) -> Self {
        let copy = |(name, bytes): (&String, &Bytes)| (name.clone(), Arc::new(Mutex::new(lock(bytes).clone())));
        MemoryBlobs(Arc::new(Mutex::new(lock(&self.0).iter().map(copy).collect())))
    }

    /// Loses what was not flushed, as a power failure does.
    pub(crate) fn lose_unsynced(&self) {
        let mut blobs = lock(&self.0);
        blobs.retain(|name, _| !name.starts_with(NEW));
        for content in blobs.values() {
            lock(content).lose_unsynced();
        }
    }

    /// How many bytes are in each blob.
    pub(crate) fn sizes(&self) -> BTreeMap<String, u64> {
        lock(&self.0).iter().map(|(name, content)| (name.clone(), lock(content).bytes.len() as u64)).collect()
    }

    /// Every blob, for tests of what becomes of them.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.0).iter().map(|(name, content)| (name.clone(), lock(content).bytes.clone())).collect()
    }

    /// Sets or removes a blob behind the store's back, for tests of what notices that.
    pub(crate) fn damage(&self, name: &str, bytes: Option<&[u8]>) {
        let content = |bytes: &[u8]| Content { bytes: bytes.to_vec(), undo: Vec::new() };
        match bytes {
            Some(bytes) => lock(&self.0).insert(name.to_owned(), Arc::new(Mutex::new(content(bytes)))),
            None => lock(&self.0).remove(name),
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct MemoryBlob {
    bytes: Bytes,
    position: u64,
}

impl Blob for MemoryBlob {
    fn sync(&mut self) -> io::Result<()> {
        lock(&self.bytes).undo.clear();
        Ok(())
    }
}

impl Read for MemoryBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let content = lock(&self.bytes);
        let bytes = &content.bytes;
        let from = usize::try_from(self.position).unwrap_or(usize::MAX).min(bytes.len());
        let len = buffer.len().min(bytes.len() - from);
        buffer[..len].copy_from_slice(&bytes[from..from + len]);
        self.position += len as u64;
        Ok(len)
    }
}

impl Write for MemoryBlob {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let end = self.position.saturating_add(buffer.len() as u64);
        if end > MAX_BLOB_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        lock(&self.bytes).write(self.position as usize, buffer);
        self.position = end;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for MemoryBlob {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = lock(&self.bytes).bytes.len() as u64;
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Blobs for MemoryBlobs {
    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>> {
        let bytes = Bytes::default();
        let mut blobs = lock(&self.0);
        if blobs.len() >= MAX_BLOBS && !blobs.contains_key(name) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        blobs.insert(name.to_owned(), Arc::clone(&bytes));
        Ok(Box::new(MemoryBlob { bytes, position: 0 }))
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Blob>>> {
        let bytes = lock(&self.0).get(name).cloned();
        Ok(bytes.map(|bytes| Box::new(MemoryBlob { bytes, position: 0 }) as Box<dyn Blob>))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut blobs = lock(&self.0);
        let bytes = blobs.remove(from).ok_or(io::ErrorKind::NotFound)?;
        blobs.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.0).remove(name);
        Ok(())
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        let folders: BTreeSet<String> =
            lock(&self.0).keys().filter_map(|name| name.split_once('/')).map(|(folder, _)| folder.to_owned()).collect();
        Ok(folders.into_iter().collect())
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let in_folder = |name: &String| Some(name.strip_prefix(folder)?.strip_prefix('/')?.to_owned());
        Ok(lock(&self.0).keys().filter_map(in_folder).collect())
    }
}
