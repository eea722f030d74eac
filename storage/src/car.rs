//! One room as a file that any IPLD tool reads: a CAR of version 1.
//!
//! ```text
//!   header: {roots: [create event, tips of the state, tips of the timeline], version: 1}
//!   section, section, …         each: varint of the length, CID, block
//!           │
//!           └── a header block, its body block if that is here, the next header block, …
//! ```
//!
//! The form is [CARv1](https://ipld.io/specs/transport/car/carv1/). [`export`] writes everything that is held of a
//! room, rejected and withheld events included, in the order of the local log: each event comes behind everything that
//! it refers to. [`CarReader`] reads the blocks of such a file, and [`CarReader::events`] makes events of them. Neither
//! checks a signature or a rule: whoever takes the events in does, as if another server had sent them.
//!
//! Nothing in a file is trusted. Lengths are bounded before anything is allocated, and each block's hash is checked
//! before it is handed out. The form has no end mark; a file that was cut between two blocks is noticed by a root that
//! never comes.

mod container;
mod events;

pub use container::{Block, CarReader, CarWriter, MAX_ROOTS};
pub use events::WireEvents;

use std::collections::BTreeSet;
use std::io::{self, Write};

use rocketmesh_protocol::event::{EventError, Lane};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::room::Outline;

use crate::error::StoreError;
use crate::store::EventStore;

/// The media type of the form, registered with IANA.
pub const MEDIA_TYPE: &str = "application/vnd.ipld.car";

/// Entries of the local log that are read at a time.
const PAGE: usize = 1024;

/// Why a room cannot be written to a file or read from one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no room to export.
    #[error("nothing is held of the room {0}, or not its beginning; join it first")]
    UnknownRoom(RoomId),
    /// The file cannot be read or written, which is no fault of what is in it.
    #[error("the CAR file cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The file ends in the middle of something.
    #[error("the CAR file ends in the middle, after {0} bytes; copy it again, or export the room again")]
    Truncated(u64),
    /// The file ends between two blocks, before all of its roots have come.
    #[error(
        "{0} of the events that the CAR file names as its roots are not in it; copy it again, or export the room again"
    )]
    Incomplete(usize),
    /// A CAR of another version.
    #[error("a CAR file of version {0}, and this program reads version 1; convert it first")]
    Version(u64),
    /// The bytes are no CAR, or not one of a room.
    #[error("not a sound CAR file of a room: what begins at byte {at} {problem}; export the room again")]
    Malformed {
        /// Where it stands in the file.
        at: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A block whose id is of another kind than a room's blocks have.
    #[error(
        "the block at byte {at} of the CAR file has codec {codec:#x} and hash {hash:#x}, and a room's blocks have dag-cbor (0x71) and 32 bytes of blake3 (0x1e); import a file that holds nothing but a room"
    )]
    Foreign {
        /// Where it stands in the file.
        at: u64,
        /// The multicodec of its content.
        codec: u64,
        /// The multicodec of its hash.
        hash: u64,
    },
    /// A block that is not what its id says.
    #[error("the block at byte {at} of the CAR file was changed: its hash is another than its id says; copy it again")]
    WrongHash {
        /// Where it stands in the file.
        at: u64,
    },
    /// A block that looks like a header block and is none.
    #[error("the block at byte {at} of the CAR file is no event of a room: {source}")]
    NotAnEvent {
        /// Where it stands in the file.
        at: u64,
        /// What is wrong with it.
        source: EventError,
    },
    /// Events of more than one room.
    #[error("the CAR file holds events of several rooms, {first} and {other}; import a file for each room")]
    SeveralRooms {
        /// The room of the first event.
        first: RoomId,
        /// Another room.
        other: RoomId,
    },
}

/// What was written of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarSummary {
    /// Events: a header block each.
    pub events: u64,
    /// Bodies. An event whose body is missing, erased or expired has none.
    pub bodies: u64,
}

/// Writes all that is held of a room to `out`, while the store is in use: what comes meanwhile is left out. Memory is
/// bounded by the room's servers and tips. The whole local log is read, whatever the room's share of it. `progress` is
/// told how many events were written.
///
/// With more tips than [`MAX_ROOTS`] the first ones are named as roots. A rejected event is never a tip, so that some
/// events may be out of the roots' reach.
///
/// # Errors
/// [`CarError::UnknownRoom`], [`CarError::Store`] or [`CarError::Io`]; what was written until then is of no use.
pub fn export(
    store: &EventStore,
    room: RoomId,
    out: &mut dyn Write,
    mut progress: impl FnMut(u64),
) -> Result<CarSummary, CarError> {
    let create = EventId::from(room);
    let (Some(entry), true) = (store.room(&room)?, store.contains(&create)?) else {
        return Err(CarError::UnknownRoom(room));
    };
    // After the tips were read: whatever they stand on is in the log by now.
    let end = store.log_end();
    let mut car = CarWriter::begin(out, &roots(create, &entry.outline))?;
    let mut summary = CarSummary::default();
    let mut position = 0;
    while position < end {
        let entries = store.log_after(position, PAGE)?;
        let Some(last) = entries.last() else { break };
        position = last.position;
        let arrivals = entries.iter().filter(|entry| entry.room == room && entry.kind.is_arrival());
        for entry in arrivals.filter(|entry| entry.position <= end) {
            let Some(stored) = store.event(&entry.event)? else {
                return Err(StoreError::Damaged(format!("event {} of the log is missing", entry.event)).into());
            };
            car.block(stored.event.header_block())?;
            summary.events += 1;
            if let Some(body) = stored.event.body_block() {
                car.block(body)?;
                summary.bodies += 1;
            }
        }
        progress(summary.events);
    }
    out.flush()?;
    Ok(summary)
}

/// The create event, from which everything follows, and the tips, from which everything is reached.
fn roots(create: EventId, outline: &Outline) -> Vec<EventId> {
    let mut named = BTreeSet::new();
    let tips = Lane::ALL.into_iter().flat_map(|lane| outline.tips(lane).keys().copied());
    std::iter::once(create).chain(tips).filter(|id| named.insert(*id)).take(MAX_ROOTS).collect()
}
