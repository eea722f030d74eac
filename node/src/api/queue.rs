//! What waits for Rocket.Chat, and what it refused: list, try again, dismiss; and the way round a restricted workspace.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::bridged::bridge;
use crate::api::error::ApiError;
use crate::api::extract::Body;
use crate::api::types::ErrorBody;
use crate::rocketchat::bridge::{self, LetterError, Stall, WebhookError};
use crate::rocketchat::status::RocketChatQueue;

/// How many of those that were not taken are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetriedLetters {
    /// So many. What becomes of them is seen in the queue.
    pub retried: u64,
}

/// The incoming webhook of a room.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomWebhook {
    /// Its address, which is secret: who knows it can speak in the room.
    pub url: String,
}

/// Everything that waits for Rocket.Chat and everything that was not taken, also while no server is reached.
#[utoipa::path(get, path = "/v1/rocketchat/queue", tag = "rocketchat",
    responses((status = 200, body = RocketChatQueue), (status = "4XX", body = ErrorBody)))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<RocketChatQueue>, ApiError> {
    let current = api.bridge.borrow().clone();
    Ok(Json(bridge::queue_view(&api.engine, current.as_ref())?))
}

/// Tries everything again that was not taken and can be tried again.
#[utoipa::path(post, path = "/v1/rocketchat/queue/retry", tag = "rocketchat",
    responses((status = 200, body = RetriedLetters), (status = "4XX", body = ErrorBody)))]
pub(super) async fn retry_all(State(api): State<Api>) -> Result<Json<RetriedLetters>, ApiError> {
    let retried = bridge::retry_letters(&api.engine, None).await? as u64;
    changed(&api);
    Ok(Json(RetriedLetters { retried }))
}

/// Tries one thing again that was not taken.
#[utoipa::path(post, path = "/v1/rocketchat/queue/{id}/retry", tag = "rocketchat", params(("id" = String, Path)),
    responses((status = 200, body = RetriedLetters), (status = "4XX", body = ErrorBody)))]
pub(super) async fn retry(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<RetriedLetters>, ApiError> {
    let retried = bridge::retry_letters(&api.engine, Some(&id)).await? as u64;
    changed(&api);
    Ok(Json(RetriedLetters { retried }))
}

/// Forgets something that was not taken.
#[utoipa::path(delete, path = "/v1/rocketchat/queue/{id}", tag = "rocketchat", params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(super) async fn dismiss(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    bridge::dismiss_letter(&api.engine, &id).await?;
    changed(&api);
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a room the incoming webhook by which people elsewhere speak while the workspace takes no messages. It says a line in the room
/// first, to see whether it works and where it speaks.
#[utoipa::path(put, path = "/v1/rocketchat/rooms/{rid}/webhook", tag = "rocketchat", params(("rid" = String, Path)),
    request_body = RoomWebhook, responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(super) async fn set_webhook(
    State(api): State<Api>,
    Path(rid): Path<String>,
    Body(request): Body<RoomWebhook>,
) -> Result<StatusCode, ApiError> {
    bridge(&api)?.set_webhook(&rid, Some(&request.url)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets a room's incoming webhook.
#[utoipa::path(delete, path = "/v1/rocketchat/rooms/{rid}/webhook", tag = "rocketchat", params(("rid" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(super) async fn forget_webhook(State(api): State<Api>, Path(rid): Path<String>) -> Result<StatusCode, ApiError> {
    bridge(&api)?.set_webhook(&rid, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What waits is looked at again, and shown anew.
fn changed(api: &Api) {
    if let Some(bridge) = api.bridge.borrow().as_ref() {
        bridge.tell_queue();
        bridge.nudge();
    }
}

impl From<LetterError> for ApiError {
    fn from(error: LetterError) -> Self {
        let text = error.to_string();
        match error {
            LetterError::Unknown(_) => ApiError::missing("unknown_letter", text),
            LetterError::NotAgain(_) => ApiError::new(StatusCode::CONFLICT, "not_again", text),
            LetterError::Store(error) => error.into(),
        }
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        let text = error.to_string();
        match error {
            WebhookError::Room(error) => error.into(),
            WebhookError::Address(_) => ApiError::bad("malformed_address", text),
            WebhookError::Refused(_) => ApiError::new(StatusCode::CONFLICT, "webhook_refused", text),
            WebhookError::Elsewhere => ApiError::new(StatusCode::CONFLICT, "webhook_elsewhere", text),
            WebhookError::Person(_) => ApiError::new(StatusCode::CONFLICT, "webhook_person", text),
            WebhookError::Vault(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "secrets_unreadable", text),
            WebhookError::Stall(Stall::Store(error)) => error.into(),
            WebhookError::Stall(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "rocketchat_failed", text),
        }
    }
}
