//! Ordered bytes on some medium: all that the event store asks of sled or of memory.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::error::StoreError;
use crate::files::Blobs;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Sets a key.
    Set(Vec<u8>, Vec<u8>),
    /// Removes a key.
    Remove(Vec<u8>),
}

/// A range of keys and the direction to read it in.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) from: Bound<Vec<u8>>,
    pub(crate) to: Bound<Vec<u8>>,
    pub(crate) descending: bool,
    pub(crate) limit: usize,
}

impl Scan {
    /// Every key that begins with `prefix`, ascending.
    pub(crate) fn prefix(prefix: &[u8], limit: usize) -> Self {
        Scan { from: Bound::Included(prefix.to_vec()), to: after_prefix(prefix), descending: false, limit }
    }
}

/// The bound just after every key that begins with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// A medium. Implementations pass the same conformance suite.
pub(crate) trait Backend: Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Entries of a range, at most `scan.limit`.
    fn scan(&self, scan: &Scan) -> Result<Vec<Entry>, StoreError>;

    /// Applies all changes or none, also across a crash. Visible at once, durable after the next [`Backend::sync`].
    fn apply(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// Returns once everything applied before survives a loss of power.
    fn sync(&self) -> Result<(), StoreError>;

    /// Whether [`Backend::sync`] waits for a device.
    fn sync_blocks(&self) -> bool;

    /// How long a sync that does not block is to take all the same.
    fn sync_takes(&self) -> Duration {
        Duration::ZERO
    }

    /// Bytes that are free on the medium; none where there is no telling.
    fn free(&self) -> Option<u64> {
        None
    }

    /// The end of the local log that was noted last: what is there now has to reach as far.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn noted_end(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Notes how far the local log reaches on the medium, beside the store.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn note_end(&self, _end: u64) -> Result<(), StoreError> {
        Ok(())
    }

    /// What was found to be damaged since the store was opened; none as long as nothing was.
    fn damage(&self) -> Option<String> {
        None
    }

    /// Bytes taken on the medium, but for blobs.
    fn size(&self) -> Result<u64, StoreError>;

    /// Where the bytes of files lie.
    fn blobs(&self) -> Arc<dyn Blobs>;
}
