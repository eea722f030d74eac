//! A room as a file, out and in.

use std::io::Read;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::car::{self, CarError, CarReader, WireEvents};
use tokio::sync::mpsc;

use crate::api::error::ApiError;
use crate::api::transfer::{self, Incoming};
use crate::api::types::{ErrorBody, ImportedRoom};
use crate::api::{Api, rooms};
use crate::engine::Engine;
use crate::engine::import::Import;

/// Events of a file that go into a room at a time, and the bytes at which there are enough: each batch is one of the
/// store's, and what is lost with the power stays small.
const BATCH_EVENTS: usize = 512;
const BATCH_BYTES: usize = 512 * 1024;
/// Batches that may wait for the room.
const BATCHES: usize = 2;

/// Everything that is held of a room, as a CAR of version 1.
#[utoipa::path(get, path = "/v1/rooms/{room}/export", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, content_type = "application/vnd.ipld.car"), (status = "4XX", body = ErrorBody)))]
pub(super) async fn export(State(api): State<Api>, Path(room): Path<String>) -> Result<Response, ApiError> {
    let room: RoomId = room.parse()?;
    rooms::require(&api.engine, &room)?;
    let store = api.engine.store.clone();
    if !store.contains(&EventId::from(room))? {
        let message = format!("this node holds only a part of the room {room}; join it first");
        return Err(ApiError::missing("unknown_room", message));
    }
    let permit = transfer::permit(&api)?;
    Ok(transfer::answer(car::MEDIA_TYPE, "an export", move |out| {
        let _permit = permit;
        car::export(&store, room, out, |_| {}).map(drop)
    }))
}

/// Takes in what a CAR of version 1 holds of one room, as if another server had sent it. Whether this node takes part
/// in the room stays as it is. What came before a fault in the file is kept.
#[utoipa::path(post, path = "/v1/rooms/import", tag = "rooms",
    request_body(content = String, content_type = "application/vnd.ipld.car"),
    responses((status = 200, body = ImportedRoom), (status = "4XX", body = ErrorBody)))]
pub(super) async fn import(State(api): State<Api>, body: Body) -> Result<Json<ImportedRoom>, ApiError> {
    let _permit = match transfer::permit(&api) {
        Ok(permit) => permit,
        Err(refusal) => {
            transfer::discard(body).await;
            return Err(refusal);
        }
    };
    // A file may have any length: only requests that are read at once are bounded, and of this one what waits is.
    let (file, feeding) = transfer::incoming(body, api.engine.shutdown());
    let (sender, batches) = mpsc::channel(BATCHES);
    tokio::task::spawn_blocking(move || read(file, &sender));
    let (imported, ()) = tokio::join!(take_in(&api.engine, batches), feeding);
    Ok(Json(imported?))
}

type Batch = Result<Vec<WireEvent>, CarError>;

/// Reads a file to its end, to its first fault, or until nobody takes its events any more.
fn read(file: Incoming, batches: &mpsc::Sender<Batch>) {
    let read = CarReader::new(file).and_then(|file| {
        let mut events = file.events();
        loop {
            let batch = next_batch(&mut events)?;
            if batch.is_empty() || batches.blocking_send(Ok(batch)).is_err() {
                return Ok(());
            }
        }
    });
    if let Err(error) = read {
        let _ = batches.blocking_send(Err(error));
    }
}

/// The next events; none at the end.
fn next_batch<R: Read>(events: &mut WireEvents<R>) -> Batch {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
        let Some(event) = events.next().transpose()? else { break };
        bytes += event.len();
        batch.push(event);
    }
    Ok(batch)
}

async fn take_in(engine: &Engine, mut batches: mpsc::Receiver<Batch>) -> Result<ImportedRoom, ApiError> {
    let first = batches
        .recv()
        .await
        .unwrap_or(Ok(Vec::new()))
        .map_err(|error| ApiError::bad("malformed_car", format!("{error} (nothing was imported)")))?;
    let Some(event) = first.first() else {
        return Err(ApiError::bad("empty_car", "the file holds no event; export the room again"));
    };
    let mut import = Import::begin(engine, event)?;
    import.take(first).await?;
    while let Some(batch) = batches.recv().await {
        let batch = batch.map_err(|error| {
            let kept = format!("{} new events of room {} that came before are kept", import.new, import.room);
            ApiError::bad("malformed_car", format!("{error} ({kept})"))
        })?;
        import.take(batch).await?;
    }
    Ok(ImportedRoom {
        room: import.room.to_string(),
        events: import.events,
        new: import.new,
        refused: import.refused,
        waiting: import.waiting().await?,
        joined: engine.follows(&import.room),
    })
}
