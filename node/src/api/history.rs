//! What of a room's timeline is not here, and having it fetched.

use axum::Json;
use axum::extract::{Path, State};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_storage::{StoredEvent, Verdict};

use crate::api::error::ApiError;
use crate::api::types::{ErrorBody, EventView, GapView, HistoryView};
use crate::api::{Api, rooms, view};
use crate::engine::Engine;
use crate::engine::history::Gap;

/// Has the older history of a room fetched, in the background.
#[utoipa::path(post, path = "/v1/rooms/{room}/history", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = HistoryView), (status = "4XX", body = ErrorBody)))]
pub(super) async fn fetch(State(api): State<Api>, Path(room): Path<String>) -> Result<Json<HistoryView>, ApiError> {
    let room: RoomId = room.parse()?;
    rooms::require(&api.engine, &room)?;
    api.engine.request_history(room).await?;
    Ok(Json(HistoryView { room: room.to_string(), gap: gap(&api.engine, room).await? }))
}

/// The gap in a room, if there is one.
pub(super) async fn gap(engine: &Engine, room: RoomId) -> Result<Option<GapView>, ApiError> {
    let Some(gap) = engine.gap(&room) else { return Ok(None) };
    let ahead = engine.ahead(room).await?.len() as u64;
    let (state, message) = match gap {
        Gap::Coming => ("coming", "older messages of this room are not all here yet; they are being fetched"),
        Gap::PutOff => (
            "put_off",
            "older messages of this room are not all here; `rocketmesh rooms history ROOM` has them fetched",
        ),
    };
    Ok(Some(GapView { state: state.to_owned(), ahead, message: message.to_owned() }))
}

/// The messages that came ahead of what they stand on, the oldest first.
pub(super) async fn ahead(engine: &Engine, room: RoomId) -> Result<Vec<EventView>, ApiError> {
    let mut events = Vec::new();
    for event in engine.ahead(room).await? {
        events.push(view::event(&StoredEvent { event, verdict: Verdict::Accepted }, engine)?);
    }
    Ok(events)
}
