//! Blobs in memory, for simulations and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blobs::{Blob, Blobs};

/// The most bytes in one blob, and blobs on one medium: a simulated disk is for few small files.
const MAX_BLOB_BYTES: u64 = 64 * 1024 * 1024;
const MAX_BLOBS: usize = 4096;

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Clones share the blobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryBlobs(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl MemoryBlobs {
    /// The blobs as they are now, apart from these from now on.
    pub(crate) fn copied(&self) -> Self {
        let copy = |(name, bytes): (&String, &Bytes)| (name.clone(), Arc::new(Mutex::new(lock(bytes).clone())));
        MemoryBlobs(Arc::new(Mutex::new(lock(&self.0).iter().map(copy).collect())))
    }

    /// Every blob, for tests of what becomes of them.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.0).iter().map(|(name, bytes)| (name.clone(), lock(bytes).clone())).collect()
    }

    /// Sets or removes a blob behind the store's back, for tests of what notices that.
    pub(crate) fn damage(&self, name: &str, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => lock(&self.0).insert(name.to_owned(), Arc::new(Mutex::new(bytes.to_vec()))),
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
        Ok(())
    }
}

impl Read for MemoryBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = lock(&self.bytes);
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
        let (from, end) = (self.position as usize, end as usize);
        let mut bytes = lock(&self.bytes);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[from..end].copy_from_slice(buffer);
        self.position = end as u64;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for MemoryBlob {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = lock(&self.bytes).len() as u64;
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
