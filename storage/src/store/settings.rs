//! Settings of the node, by name.

use super::{EventStore, scan_all};
use crate::backend::Change;
use crate::error::StoreError;
use crate::layout;

impl EventStore {
    /// A setting of the node.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.backend.get(&layout::key(layout::SETTING, &[name.as_bytes()]))
    }

    /// Sets or, with none, removes a setting of the node. Durable after the next [`EventStore::sync`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_setting(&self, name: &str, value: Option<&[u8]>) -> Result<(), StoreError> {
        self.check()?;
        let key = layout::key(layout::SETTING, &[name.as_bytes()]);
        self.backend.apply(&[match value {
            Some(value) => Change::Set(key, value.to_vec()),
            None => Change::Remove(key),
        }])
    }

    /// Every setting whose name begins with `prefix`, ascending by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn settings(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        scan_all(&*self.backend, &layout::key(layout::SETTING, &[prefix.as_bytes()]))?
            .into_iter()
            .map(|(key, value)| {
                let name = String::from_utf8(key[1..].to_vec()).map_err(|_| layout::damaged("a setting's name"))?;
                Ok((name, value))
            })
            .collect()
    }
}
