//! History from a file: taken in as if another server had sent it, and nothing of it is trusted.

use rocketmesh_protocol::authority::{Refusal, RoomState};
use rocketmesh_protocol::event::{EventError, UnverifiedEvent};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::StoreError;

use super::Engine;
use super::room::PostError;

/// Why nothing of a file was taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// Its first event is none, or nobody's.
    #[error("the first event of the file is not sound ({0}), so that nothing was imported; export the room again")]
    Unsound(#[from] EventError),
    /// Its first event cannot begin a room.
    #[error("the file's first event cannot begin a room ({0}), so that nothing was imported")]
    NoRoom(#[from] Refusal),
    /// It goes on with a room of which nothing is held.
    #[error(
        "the file does not begin with the create event of the room {0}, which this node does not know, so that nothing was imported; import a whole export of the room first, or join it"
    )]
    NoBeginning(RoomId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An import that is under way. Whether this node takes part in the room stays as it is.
pub(crate) struct Import {
    engine: Engine,
    pub(crate) room: RoomId,
    /// Events that were read.
    pub(crate) events: u64,
    /// Events that were not held before, and are now.
    pub(crate) new: u64,
    /// Events that no server may send.
    pub(crate) refused: u64,
}

impl Import {
    /// Begins an import by the first event of a file. Asking first keeps out of the store what is no room.
    pub(crate) fn begin(engine: &Engine, first: &WireEvent) -> Result<Self, ImportError> {
        let event = first.decode().and_then(UnverifiedEvent::verify)?;
        let room = event.room();
        if !engine.store().contains(&EventId::from(room))? {
            if event.header().room.is_some() {
                return Err(ImportError::NoBeginning(room));
            }
            RoomState::created(&event)?;
        }
        Ok(Import { engine: engine.clone(), room, events: 0, new: 0, refused: 0 })
    }

    /// Takes in events that came next in the file. When this returns they are on disk.
    pub(crate) async fn take(&mut self, events: Vec<WireEvent>) -> Result<(), PostError> {
        self.events += events.len() as u64;
        let ingested = self.engine.ingest_wire(self.room, events).await?;
        self.new += ingested.new as u64;
        self.refused += ingested.refused as u64;
        Ok(())
    }

    /// How many events of the room wait for others, of this file or from elsewhere.
    pub(crate) async fn waiting(&self) -> Result<u64, PostError> {
        Ok(self.engine.state(self.room).await?.1 as u64)
    }
}
