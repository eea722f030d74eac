//! What an administrator is owed about a room: a comparison with its other servers, and how long bodies are kept.

use axum::Json;
use axum::extract::{Path, State};
use rocketmesh_protocol::id::RoomId;

use crate::api::error::ApiError;
use crate::api::extract::Body;
use crate::api::types::{ErrorBody, Retention, RetentionView, RoomProof, ServerProof};
use crate::api::{Api, history, rooms};
use crate::engine::verify::{Compared, verify};

/// Missing bodies that are counted.
const COUNTED: usize = 1000;

/// Compares the room with every connected member server, and fetches what is missing here.
#[utoipa::path(post, path = "/v1/rooms/{room}/verify", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = RoomProof), (status = "4XX", body = ErrorBody)))]
pub(super) async fn verify_room(State(api): State<Api>, Path(room): Path<String>) -> Result<Json<RoomProof>, ApiError> {
    let room: RoomId = room.parse()?;
    let engine = &api.engine;
    rooms::require(engine, &room)?;
    let compared = verify(engine, room).await?;
    let servers: Vec<ServerProof> = compared
        .into_iter()
        .map(|(origin, compared)| {
            let proof = ServerProof {
                id: origin.to_string(),
                name: engine.names.name(&origin).map(|name| name.to_string()),
                state: String::new(),
                fetched: 0,
                missing_here: 0,
                missing_there: 0,
                reason: None,
            };
            match compared {
                Compared::Equal => ServerProof { state: "equal".to_owned(), ..proof },
                Compared::EqualNow { fetched } => ServerProof { state: "equal".to_owned(), fetched, ..proof },
                Compared::Differs { missing_here, missing_there } => {
                    ServerProof { state: "differs".to_owned(), missing_here, missing_there, ..proof }
                }
                Compared::NotConnected => ServerProof { state: "not_connected".to_owned(), ..proof },
                Compared::NotHeld => ServerProof { state: "not_held".to_owned(), ..proof },
                Compared::Silent { reason } => {
                    ServerProof { state: "silent".to_owned(), reason: Some(reason), ..proof }
                }
            }
        })
        .collect();
    // After the comparison, which may have brought something.
    let entry = rooms::require(engine, &room)?;
    let missing_bodies = engine.store.wanted_bodies(&room, None, COUNTED)?.len() as u64;
    let gap = history::gap(engine, room).await?;
    let asked = servers.iter().filter(|server| server.state != "not_connected");
    Ok(Json(RoomProof {
        room: room.to_string(),
        events: entry.outline.events(),
        digest: hex::encode(entry.outline.have().digest()),
        nothing_missing: gap.is_none()
            && asked.clone().count() > 0
            && asked.clone().all(|server| server.state == "equal"),
        gap,
        missing_bodies,
        servers,
    }))
}

/// How long bodies of the room are kept here.
#[utoipa::path(get, path = "/v1/rooms/{room}/retention", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = RetentionView), (status = "4XX", body = ErrorBody)))]
pub(super) async fn retention(
    State(api): State<Api>,
    Path(room): Path<String>,
) -> Result<Json<RetentionView>, ApiError> {
    let room: RoomId = room.parse()?;
    rooms::require(&api.engine, &room)?;
    Ok(Json(RetentionView { seconds: api.engine.retention(&room)?, dropped: 0 }))
}

/// Sets how long bodies of the room are kept here, and drops those that are older.
#[utoipa::path(put, path = "/v1/rooms/{room}/retention", tag = "rooms", params(("room" = String, Path)),
    request_body = Retention, responses((status = 200, body = RetentionView), (status = "4XX", body = ErrorBody)))]
pub(super) async fn set_retention(
    State(api): State<Api>,
    Path(room): Path<String>,
    Body(retention): Body<Retention>,
) -> Result<Json<RetentionView>, ApiError> {
    let room: RoomId = room.parse()?;
    rooms::require(&api.engine, &room)?;
    let dropped = api.engine.set_retention(room, retention.seconds).await?;
    Ok(Json(RetentionView { seconds: retention.seconds, dropped }))
}
