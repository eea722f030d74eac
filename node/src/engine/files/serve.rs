//! Sending ranges of files to other servers.

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::Access;
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_protocol::wire::{Refused, Response};
use rocketmesh_storage::StoreError;

use super::blocking;
use crate::engine::{Engine, add};

/// Answers a request for a range of a file.
pub(in crate::engine) async fn answer(
    engine: &Engine,
    peer: PeerId,
    room: RoomId,
    file: FileId,
    range: FileRange,
) -> Response {
    // Whoever may read the timeline may have what it names.
    if engine.access(&room, &peer).await != Access::Everything {
        return Response::Refused(Refused::UnknownRoom);
    }
    let store = engine.store().clone();
    // The id alone opens nothing: a room's servers get what the room names and what came here by that room. Where it came by
    // another one, whoever names it may know no more of it than its hash, and hears what it would hear if it were not here.
    let slice = blocking(engine, move || {
        if store.names_file(&room, &file)? && store.holds_file(&room, &file)? {
            store.file_slice(&file, range)
        } else {
            Ok(None)
        }
    });
    match slice.await {
        Some(Ok(Some(slice))) => {
            add(&engine.counters.slices_served, 1);
            Response::Slice { slice }
        }
        Some(Ok(None)) => Response::Refused(Refused::NoFile),
        Some(Err(StoreError::Damaged(what))) => {
            tracing::warn!(%room, what, "a file on this server's disk is damaged; it is fetched again");
            engine.files.find_missing();
            Response::Refused(Refused::NoFile)
        }
        Some(Err(error)) => {
            add(&engine.counters.store_errors, 1);
            tracing::warn!(%error, "a request for a file cannot be answered");
            Response::Refused(Refused::Other)
        }
        None => Response::Refused(Refused::Other),
    }
}
