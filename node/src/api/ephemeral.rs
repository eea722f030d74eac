//! What is over in a moment: told by users of this server, and shown in live streams.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Localpart;
use rocketmesh_protocol::wire::{Presence, Signal};
use tokio::time::Instant;

use crate::api::error::ApiError;
use crate::api::extract::Body;
use crate::api::types::{EphemeralView, ErrorBody, PostEphemeral};
use crate::api::{Api, rooms};
use crate::engine::Engine;
use crate::engine::ephemeral::Live;

/// Tells the other servers of a room what a user does right now: that they type, whether they are there, how far they have read.
/// Nothing of it is stored, and whether it reaches anybody is not told.
#[utoipa::path(post, path = "/v1/rooms/{room}/ephemeral", tag = "events", params(("room" = String, Path)),
    request_body = PostEphemeral, responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(super) async fn post(
    State(api): State<Api>,
    Path(room): Path<String>,
    Body(post): Body<PostEphemeral>,
) -> Result<StatusCode, ApiError> {
    let room: RoomId = room.parse()?;
    rooms::require(&api.engine, &room)?;
    let user: Localpart = post.user.parse()?;
    let signal =
        match (post.typing, post.presence.as_deref(), post.read.as_deref()) {
            (Some(on), None, None) => Signal::Typing(on),
            (None, Some(word), None) => Signal::Presence(Presence::from_word(word).ok_or_else(|| {
                ApiError::bad("malformed_field", "`presence` is not one of online, away, busy, offline")
            })?),
            (None, None, Some(event)) => Signal::Read(event.parse::<EventId>()?),
            _ => return Err(ApiError::bad("missing_field", "give exactly one of `typing`, `presence` and `read`")),
        };
    api.engine.signal(room, user, signal).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A signal as the API shows it.
pub(super) fn view(live: &Live, engine: &Engine) -> EphemeralView {
    let mut view = EphemeralView {
        room: live.room.to_string(),
        user: engine.names.display(&live.user),
        typing: None,
        presence: None,
        read: None,
        lasts_ms: live.until.saturating_duration_since(Instant::now()).as_millis() as u64,
    };
    match live.signal {
        Signal::Typing(on) => view.typing = Some(on),
        Signal::Presence(presence) => view.presence = Some(presence.word().to_owned()),
        Signal::Read(event) => view.read = Some(event.to_string()),
    }
    view
}
