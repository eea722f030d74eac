//! Invitations: list, decline. Joining the room accepts.

use axum::Json;
use axum::extract::{Path, State};
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Label, Membership};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::{Localpart, UserId};

use crate::api::error::ApiError;
use crate::api::extract::Body;
use crate::api::types::{DeclineInvitation, ErrorBody, InvitationList, InvitationView, InvitedUser};
use crate::api::{Api, rooms};
use crate::engine::Engine;
use crate::engine::invitations::{Invitation, MOST_HOLDERS};

/// Rooms that users of this server are invited to.
#[utoipa::path(get, path = "/v1/invitations", tag = "rooms", responses((status = 200, body = InvitationList)))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<InvitationList>, ApiError> {
    let engine = &api.engine;
    let mut invitations: Vec<InvitationView> =
        engine.invitations()?.into_iter().map(|(room, kept)| view(engine, room, kept)).collect();
    // A room that the server is in already needs no word from others.
    for room in engine.followed() {
        let Ok((state, _)) = engine.state(room).await else { continue };
        invitations.extend(of_followed(engine, room, &state)?);
    }
    invitations.sort_by(|a, b| a.room.cmp(&b.room));
    invitations.dedup_by(|b, a| a.room == b.room);
    Ok(Json(InvitationList { invitations }))
}

/// Declines an invitation. The room's servers hear of it if one of them can be reached.
#[utoipa::path(post, path = "/v1/invitations/{room}/decline", tag = "rooms", params(("room" = String, Path)),
    request_body = DeclineInvitation, responses((status = 200, body = InvitationList), (status = "4XX", body = ErrorBody)))]
pub(super) async fn decline(
    State(api): State<Api>,
    Path(room): Path<String>,
    Body(request): Body<DeclineInvitation>,
) -> Result<Json<InvitationList>, ApiError> {
    let room: RoomId = room.parse()?;
    let user = request.user.parse::<Localpart>()?;
    if !api.engine.decline(room, &user).await? {
        if !api.engine.follows(&room) {
            let message =
                format!("there is no invitation to {room}; `rocketmesh rooms invitations` lists those there are");
            return Err(ApiError::missing("unknown_invitation", message));
        }
        api.engine.leave(room, request.user.parse()?).await?;
    }
    list(State(api)).await
}

fn view(engine: &Engine, room: RoomId, kept: Invitation) -> InvitationView {
    let by = |by: String| by.parse().ok().map(|by: UserId| engine.names.display(&by));
    InvitationView {
        room: room.to_string(),
        room_type: kept.room_type,
        name: kept.name.filter(|name| !name.is_empty()),
        users: kept.users.into_iter().map(|(user, inviter)| InvitedUser { user, by: by(inviter) }).collect(),
        members: kept.members,
        servers: kept.holders,
        heard_ms: kept.heard_ms,
        joining: kept.accepting.is_some(),
    }
}

fn of_followed(engine: &Engine, room: RoomId, state: &RoomState) -> Result<Option<InvitationView>, ApiError> {
    let mut users = Vec::new();
    let invited = |(user, now): &(UserId, Membership)| user.origin == engine.origin && *now == Membership::Invite;
    for (user, _) in state.others().filter(invited) {
        let invite = state.membership_event(&user).map(|event| engine.store.event(&event)).transpose()?.flatten();
        let by = invite.and_then(|stored| stored.event.sender()).map(|by| engine.names.display(&by));
        users.push(InvitedUser { user: user.localpart.as_str().to_owned(), by });
    }
    if users.is_empty() {
        return Ok(None);
    }
    let name = state.label(Label::Name).unwrap_or_else(|| state.create_event());
    Ok(Some(InvitationView {
        room: room.to_string(),
        room_type: state.room_type().letter().to_owned(),
        name: rooms::text_of(engine, &name, "name")?.filter(|name| !name.is_empty()),
        users,
        members: state.joined().count() as u64,
        servers: state.servers().iter().take(MOST_HOLDERS).map(ToString::to_string).collect(),
        heard_ms: 0,
        joining: false,
    }))
}
