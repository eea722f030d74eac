//! The Rocket.Chat server that this node joins to the mesh: connect, look, check, disconnect.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::extract::Body;
use crate::api::types::ErrorBody;
use crate::rocketchat::check::{CheckReport, ConnectRocketChat, RocketChatConnection};
use crate::rocketchat::connector::ConnectError;
use crate::rocketchat::status::RocketChatStatus;

/// How the connector does.
#[utoipa::path(get, path = "/v1/rocketchat", tag = "rocketchat", responses((status = 200, body = RocketChatStatus)))]
pub(super) async fn show(State(api): State<Api>) -> Json<RocketChatStatus> {
    Json(api.connector.status())
}

/// Looks whether everything is as it must be at a Rocket.Chat server, and if so connects it. One that was connected before is
/// let go then. If a step failed, nothing changes.
#[utoipa::path(put, path = "/v1/rocketchat", tag = "rocketchat", request_body = ConnectRocketChat,
    responses((status = 200, body = RocketChatConnection), (status = "4XX", body = ErrorBody)))]
pub(super) async fn connect(
    State(api): State<Api>,
    Body(request): Body<ConnectRocketChat>,
) -> Result<Json<RocketChatConnection>, ApiError> {
    let report = api.connector.connect(&request.url, &request.token, request.user_id.as_deref()).await?;
    Ok(Json(RocketChatConnection { connected: report.passed, report }))
}

/// Looks whether everything is as it must be at the server that is connected. Changes nothing there. If it is, what waits for something
/// to be mended is tried again at once.
#[utoipa::path(post, path = "/v1/rocketchat/check", tag = "rocketchat",
    responses((status = 200, body = CheckReport), (status = "4XX", body = ErrorBody)))]
pub(super) async fn check(State(api): State<Api>) -> Result<Json<CheckReport>, ApiError> {
    let report = api.connector.check().await?;
    if report.passed
        && let Some(bridge) = api.bridge.borrow().as_ref()
    {
        bridge.nudge();
    }
    Ok(Json(report))
}

/// Has nothing more to do with the server that is connected, and forgets the service account's token.
#[utoipa::path(delete, path = "/v1/rocketchat", tag = "rocketchat",
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(super) async fn disconnect(State(api): State<Api>) -> Result<StatusCode, ApiError> {
    api.connector.disconnect().await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ConnectError> for ApiError {
    fn from(error: ConnectError) -> Self {
        let text = error.to_string();
        match error {
            ConnectError::Address(_) => ApiError::bad("malformed_address", text),
            ConnectError::Token => ApiError::bad("malformed_token", text),
            ConnectError::Vault(_) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "secrets_unreadable", text),
            ConnectError::Unconfigured => ApiError::missing("no_rocketchat", text),
            ConnectError::Busy => ApiError::new(StatusCode::CONFLICT, "busy", text),
        }
    }
}
