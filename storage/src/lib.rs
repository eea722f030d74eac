//! The event store of a Rocketmesh node.
//!
//! ```text
//!   room engine ── put(batch) ──► EventStore ── one atomic batch ──► sled (on disk) or a map (in memory)
//!               ── sync() ──────►            ── flush + fdatasync ─►
//!   API, sync   ◄── event, order, chain, have-vector, log, held ──
//! ```
//!
//! A batch is visible at once and durable after the next [`EventStore::sync`]; what is told to anybody waits for that. One
//! sync serves every batch written before it, so many events share the price of one flush. [`backup`] writes a whole store
//! while it is in use, and reads it back into an empty one; [`check`] looks through one that is not in use, and mends it.
//! [`car`] writes one room as any IPLD tool reads it. Files that messages name lie beside the events, and go with the last message
//! that names them.
//!
//! The layout is the same on both media ([`EventStore::open`] and [`EventStore::in_memory`]); `tests/conformance.rs` runs one
//! suite over both.

mod backend;
pub mod backup;
pub mod car;
pub mod check;
mod disk;
mod error;
mod files;
mod layout;
mod memory;
mod store;

pub use error::StoreError;
pub use files::{
    FileEntry, FileError, FileLimits, KeptFile, NamedFile, NewlyNamed, Part, StoredFile, UNNAMED_FOR_MS, Upload,
};
pub use memory::MemoryDisk;
pub use store::{
    Alteration, Batch, ChainStart, DEFAULT_CACHE_BYTES, EventStore, HeldEvent, LogEntry, LogKind, LogPosition, Marks,
    Participation, RecordChange, RoomEntry, Snapshot, StoredEvent, Verdict,
};
