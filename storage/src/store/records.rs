//! Records of whoever stands beside the engine, such as the connector to a chat server: names and bytes that this crate does not
//! read, changed together or not at all.

use super::{EventStore, scan_all};
use crate::backend::Change;
use crate::error::StoreError;
use crate::layout;

/// A record's name, and what it is from now on; none to remove it.
pub type RecordChange = (String, Option<Vec<u8>>);

impl EventStore {
    /// A record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn record_of(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.backend.get(&layout::key(layout::RECORD, &[name.as_bytes()]))
    }

    /// Changes records as one step, also across a crash; of two changes of one name the later counts. Durable after the next
    /// [`EventStore::sync`].
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub fn put_records(&self, changes: &[RecordChange]) -> Result<(), StoreError> {
        self.check()?;
        if changes.is_empty() {
            return Ok(());
        }
        let change = |(name, value): &RecordChange| {
            let key = layout::key(layout::RECORD, &[name.as_bytes()]);
            match value {
                Some(value) => Change::Set(key, value.clone()),
                None => Change::Remove(key),
            }
        };
        self.backend.apply(&changes.iter().map(change).collect::<Vec<_>>())
    }

    /// Every record whose name begins with `prefix`, ascending by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        scan_all(&*self.backend, &layout::key(layout::RECORD, &[prefix.as_bytes()]))?
            .into_iter()
            .map(|(key, value)| {
                let name = String::from_utf8(key[1..].to_vec()).map_err(|_| layout::damaged("a record's name"))?;
                Ok((name, value))
            })
            .collect()
    }
}
