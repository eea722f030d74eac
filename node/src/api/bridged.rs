//! Rooms that stand in the mesh and in Rocket.Chat: list, open to other servers or enter, close again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::extract::Body;
use crate::api::types::ErrorBody;
use crate::rocketchat::bridge::{Bridge, FederateError, RoomStatus, Stall};

/// A room that stands in both.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FederatedRoom {
    /// Its id in Rocket.Chat.
    pub rid: String,
    /// Its name there.
    pub name: String,
    /// Rocket.Chat's letter of its kind: `c`, `p` or `d`.
    pub kind: String,
    /// Its id in the mesh.
    pub room: String,
    /// What stands in the way, in words; none if nothing does.
    pub problem: Option<String>,
    /// What waits to be told or done.
    pub waiting: u64,
}

/// Every room that stands in both.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FederatedRooms {
    /// The rooms.
    pub rooms: Vec<FederatedRoom>,
}

/// Which room to open to other servers, or to enter.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FederateRoom {
    /// The channel or group in Rocket.Chat, by name or id. Without one, a room of the mesh gets a new channel.
    #[serde(default)]
    pub channel: Option<String>,
    /// The room of the mesh that it is to be; without one, the channel becomes a new room.
    #[serde(default)]
    pub room: Option<String>,
    /// The Rocket.Chat user for whom this is done. A room that is entered needs one; one that is opened has its first owner otherwise.
    #[serde(default)]
    pub user: Option<String>,
}

/// Rooms that stand in the mesh and in Rocket.Chat.
#[utoipa::path(get, path = "/v1/rocketchat/rooms", tag = "rocketchat",
    responses((status = 200, body = FederatedRooms), (status = "4XX", body = ErrorBody)))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<FederatedRooms>, ApiError> {
    let rooms = bridge(&api)?.rooms()?.into_iter().map(view).collect();
    Ok(Json(FederatedRooms { rooms }))
}

/// Opens a room of Rocket.Chat to other servers, or enters a room of the mesh there.
#[utoipa::path(post, path = "/v1/rocketchat/rooms", tag = "rocketchat", request_body = FederateRoom,
    responses((status = 200, body = FederatedRoom), (status = "4XX", body = ErrorBody)))]
pub(super) async fn federate(
    State(api): State<Api>,
    Body(request): Body<FederateRoom>,
) -> Result<Json<FederatedRoom>, ApiError> {
    let bridge = bridge(&api)?;
    let user = request.user.as_deref();
    let status = match (&request.room, &request.channel) {
        (None, Some(channel)) => bridge.federate(channel, user).await?,
        (Some(room), channel) => {
            let user = user.ok_or_else(|| {
                ApiError::bad("missing_field", "`user` is missing: the Rocket.Chat user for whom the room is entered")
            })?;
            bridge.enter(room.parse()?, user, channel.as_deref()).await?
        }
        (None, None) => {
            return Err(ApiError::bad("missing_field", "`channel` or `room` is missing: what to open or enter"));
        }
    };
    Ok(Json(view(status)))
}

/// Closes a room of Rocket.Chat to other servers. What was said in it stays.
#[utoipa::path(delete, path = "/v1/rocketchat/rooms/{rid}", tag = "rocketchat", params(("rid" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(super) async fn unfederate(State(api): State<Api>, Path(rid): Path<String>) -> Result<StatusCode, ApiError> {
    bridge(&api)?.unfederate(&rid, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn bridge(api: &Api) -> Result<Bridge, ApiError> {
    let current = api.bridge.borrow().clone();
    current.ok_or_else(|| {
        let message = "no Rocket.Chat server is connected and reached; `rocketmesh rocketchat status` says why";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "rocketchat_not_reached", message)
    })
}

fn view(status: RoomStatus) -> FederatedRoom {
    FederatedRoom {
        rid: status.rid,
        name: status.federated.name,
        kind: status.federated.kind.letter().to_owned(),
        room: status.federated.room,
        problem: status.report.problem,
        waiting: status.report.waiting as u64,
    }
}

impl From<FederateError> for ApiError {
    fn from(error: FederateError) -> Self {
        let text = error.to_string();
        let conflict = |code| ApiError::new(StatusCode::CONFLICT, code, text.clone());
        let unavailable = |code| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, text.clone());
        match error {
            FederateError::NoRoom { .. } => ApiError::missing("no_such_room", text),
            FederateError::NotFederated(_) => ApiError::missing("not_federated", text),
            FederateError::Nobody(_) | FederateError::Whom(_) => ApiError::bad("unknown_user", text),
            FederateError::Already(_) => conflict("already_federated"),
            FederateError::Kind(_) | FederateError::KindDiffers(_) => conflict("room_kind"),
            FederateError::NotOwner => ApiError::new(StatusCode::FORBIDDEN, "not_owner", text),
            FederateError::Name { .. } => conflict("name_refused"),
            FederateError::Join(error) => error.into(),
            FederateError::Post(error) | FederateError::Stall(Stall::Post(error)) => error.into(),
            FederateError::Stall(Stall::Join(error)) => error.into(),
            FederateError::Stall(_) | FederateError::Rest(_) => unavailable("rocketchat_failed"),
            FederateError::Store(error) => error.into(),
        }
    }
}
