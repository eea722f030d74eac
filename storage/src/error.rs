//! What can go wrong with a store, and whether anything changed.

use std::path::PathBuf;

/// Why the store cannot be opened, read or written. After any of them nothing was half done: a batch is in the store whole
/// or not at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{0} is in use by another process; stop that node first, or choose another data directory")]
    Locked(PathBuf),
    /// A newer build wrote the store.
    #[error("{path} has store format {found}, this build reads up to {supported}; install a newer rocketmesh")]
    NewerFormat {
        /// The store's directory.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest that this build reads.
        supported: u64,
    },
    /// The directory cannot be written.
    #[error("{path} cannot be written ({source}); check the owner and the mode of the directory")]
    NotWritable {
        /// The store's directory.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// What is stored is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A flush failed before.
    #[error(
        "an earlier flush to disk failed, so that nothing more is accepted; look at the disk and start the node again"
    )]
    Broken,
    /// The disk is nearly full. What is there can still be read, and writing goes on by itself once there is space.
    #[error(
        "the disk is nearly full: {} MiB are free, and {} MiB are kept free (store.reserve_mib); free some space",
        .free / (1024 * 1024),
        .reserve / (1024 * 1024)
    )]
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes that are to stay free.
        reserve: u64,
    },
    /// Reading or writing failed.
    #[error("the store cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
}
