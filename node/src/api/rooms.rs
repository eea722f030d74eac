//! Rooms: create, join, leave, list, show, members.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{History, Label, Lane, Membership, RoomType, Switch};
use rocketmesh_protocol::have::LaneHave;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Origin, UserId};
use rocketmesh_storage::{Participation, RoomEntry};

use crate::api::error::ApiError;
use crate::api::extract::Body;
use crate::api::types::{
    CreateRoom, ErrorBody, ForkView, HaveView, HeadView, JoinRoom, LeaveRoom, MemberList, MemberView, Posted,
    RoomDetail, RoomList, RoomServer, RoomSettings, RoomSummary, ServerRuleView,
};
use crate::api::{Api, history, view};
use crate::engine::{Engine, Written};
use crate::network::origin;

/// How long a join looks for a holder when the request does not say, and the longest it may ask for.
const JOIN_WAIT_S: u64 = 30;
const MAX_JOIN_WAIT_S: u64 = 600;
/// The longest name of a room in bytes.
const MAX_ROOM_NAME_BYTES: usize = 255;

/// Every room that this node holds something of.
#[utoipa::path(get, path = "/v1/rooms", tag = "rooms", responses((status = 200, body = RoomList)))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<RoomList>, ApiError> {
    let mut rooms = Vec::new();
    for (room, _) in api.engine.store.rooms()? {
        if let Some((summary, ..)) = summarize(&api.engine, room).await? {
            rooms.push(summary);
        }
    }
    Ok(Json(RoomList { rooms }))
}

/// One room.
#[utoipa::path(get, path = "/v1/rooms/{room}", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = RoomDetail), (status = "4XX", body = ErrorBody)))]
pub(super) async fn show(State(api): State<Api>, Path(room): Path<String>) -> Result<Json<RoomDetail>, ApiError> {
    Ok(Json(detail(&api.engine, room.parse()?).await?))
}

/// Makes a room.
#[utoipa::path(post, path = "/v1/rooms", tag = "rooms", request_body = CreateRoom,
    responses((status = 200, body = RoomDetail), (status = "4XX", body = ErrorBody)))]
pub(super) async fn create(
    State(api): State<Api>,
    Body(request): Body<CreateRoom>,
) -> Result<Json<RoomDetail>, ApiError> {
    let user = request.user.parse()?;
    let letter = request.room_type.as_deref().unwrap_or("c");
    let room_type = RoomType::from_letter(letter)
        .ok_or_else(|| ApiError::bad("malformed_room_type", format!("`{letter}` is no type of room: use c, p or d")))?;
    if request.name.is_empty() && room_type != RoomType::Direct || request.name.len() > MAX_ROOM_NAME_BYTES {
        let message = format!("the room's name must have 1 to {MAX_ROOM_NAME_BYTES} bytes");
        return Err(ApiError::bad("malformed_room_name", message));
    }
    if request.with.is_empty() == (room_type == RoomType::Direct) {
        let message = "a direct room is `with` one user or more, and no other room is";
        return Err(ApiError::bad("malformed_with", message));
    }
    let mut with = Vec::new();
    for other in &request.with {
        with.push(api.engine.names.resolve(other)?);
    }
    with.sort();
    with.dedup();
    let word = request.history.as_deref().unwrap_or(History::Start.word());
    let history = History::from_word(word).filter(|history| {
        // Whoever may join a channel may read it.
        *history == History::Start || room_type != RoomType::Channel
    });
    let history = history.ok_or_else(|| {
        let message = "`history` is start or join, and start in a channel: servers that may join it may read it";
        ApiError::bad("malformed_history", message)
    })?;
    let written = api.engine.create_room(user, room_type, with, history, &request.name, request.topic.as_deref());
    let written = written.await?;
    Ok(Json(detail(&api.engine, written.event.room()).await?))
}

/// Joins a room through any server that has it.
#[utoipa::path(post, path = "/v1/rooms/join", tag = "rooms", request_body = JoinRoom,
    responses((status = 200, body = RoomDetail), (status = "4XX", body = ErrorBody)))]
pub(super) async fn join(State(api): State<Api>, Body(request): Body<JoinRoom>) -> Result<Json<RoomDetail>, ApiError> {
    let room: RoomId = request.room.parse()?;
    let wait = request.wait_s.unwrap_or(JOIN_WAIT_S).min(MAX_JOIN_WAIT_S);
    api.engine.join(room, request.user.parse()?, Duration::from_secs(wait)).await?;
    Ok(Json(detail(&api.engine, room).await?))
}

/// Leaves a room.
#[utoipa::path(post, path = "/v1/rooms/{room}/leave", tag = "rooms", params(("room" = String, Path)),
    request_body = LeaveRoom, responses((status = 200, body = Posted), (status = "4XX", body = ErrorBody)))]
pub(super) async fn leave(
    State(api): State<Api>,
    Path(room): Path<String>,
    Body(request): Body<LeaveRoom>,
) -> Result<Json<Posted>, ApiError> {
    let written = api.engine.leave(room.parse()?, request.user.parse()?).await?;
    Ok(Json(posted(&written)))
}

/// A room's joined users, then those who were, are banned or are invited.
#[utoipa::path(get, path = "/v1/rooms/{room}/members", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = MemberList), (status = "4XX", body = ErrorBody)))]
pub(super) async fn members(State(api): State<Api>, Path(room): Path<String>) -> Result<Json<MemberList>, ApiError> {
    let (state, _) = api.engine.state(room.parse()?).await?;
    let member = |(user, membership): (UserId, Membership)| MemberView {
        user: user.to_string(),
        display: api.engine.names.display(&user),
        role: state.role(&user).word().to_owned(),
        muted: state.is_muted(&user),
        membership: membership.word().to_owned(),
    };
    Ok(Json(MemberList {
        members: state.joined().map(|user| (user, Membership::Join)).chain(state.others()).map(member).collect(),
    }))
}

pub(super) fn posted(written: &Written) -> Posted {
    Posted { event: written.event.id().to_string(), room: written.event.room().to_string(), position: written.position }
}

/// Refuses a room of which nothing is held.
pub(super) fn require(engine: &Engine, room: &RoomId) -> Result<RoomEntry, ApiError> {
    engine.store.room(room)?.ok_or_else(|| {
        ApiError::missing("unknown_room", format!("this node does not know the room {room}; join it first"))
    })
}

type Summarized = (RoomSummary, RoomEntry, std::sync::Arc<RoomState>, usize);

async fn summarize(engine: &Engine, room: RoomId) -> Result<Option<Summarized>, ApiError> {
    let Some(entry) = engine.store.room(&room)? else { return Ok(None) };
    // What was begun to be fetched and has no create event yet is no room for anybody to see.
    let Ok((state, held)) = engine.state(room).await else { return Ok(None) };
    let name = state.label(Label::Name).unwrap_or_else(|| state.create_event());
    let summary = RoomSummary {
        id: room.to_string(),
        name: text_of(engine, &name, "name")?,
        room_type: state.room_type().letter().to_owned(),
        joined: entry.participation == Participation::Joined,
        members: state.joined().count() as u64,
        servers: state.servers().len() as u64,
        events: entry.outline.events(),
        digest: hex::encode(entry.outline.have().digest()),
        state_digest: hex::encode(state.digest()),
    };
    Ok(Some((summary, entry, state, held)))
}

pub(super) fn text_of(engine: &Engine, event: &EventId, field: &str) -> Result<Option<String>, ApiError> {
    let body = engine.store.event(event)?.and_then(|stored| stored.event.body());
    Ok(body.and_then(|body| body.text(field).map(str::to_owned)))
}

async fn detail(engine: &Engine, room: RoomId) -> Result<RoomDetail, ApiError> {
    require(engine, &room)?;
    let (summary, entry, state, held) = summarize(engine, room).await?.ok_or_else(|| {
        ApiError::missing("unknown_room", format!("this node holds only a part of the room {room}; join it first"))
    })?;
    let connected: Vec<Origin> = engine.network.ready().await?.iter().filter_map(origin).collect();
    let mut members: BTreeMap<Origin, u64> = BTreeMap::new();
    for user in state.joined() {
        *members.entry(user.origin).or_default() += 1;
    }
    let servers_in_room = members
        .into_iter()
        .map(|(origin, members)| RoomServer {
            id: origin.to_string(),
            name: engine.names.name(&origin).map(|name| name.to_string()),
            connected: origin == engine.origin || connected.contains(&origin),
            members,
        })
        .collect();
    let topic = state.label(Label::Topic).unwrap_or_else(|| state.create_event());
    let tips = |lane| entry.outline.tips(lane).keys().map(ToString::to_string).collect();
    let heads = |have: &LaneHave| -> Vec<HeadView> {
        have.heads.iter().map(|(seq, id)| HeadView { seq: *seq, id: id.to_string() }).collect()
    };
    let have = entry.outline.have().lanes().map(|(origin, lane, have)| HaveView {
        origin: origin.to_string(),
        lane: view::lane(lane).to_owned(),
        lowest: have.lowest,
        heads: heads(have),
    });
    let forked = entry.outline.have().lanes().filter(|(_, _, have)| have.forked());
    let forks = forked.map(|(origin, lane, have)| ForkView {
        id: origin.to_string(),
        name: engine.names.name(&origin).map(|name| name.to_string()),
        lane: view::lane(lane).to_owned(),
        heads: heads(have),
    });
    let label = |label: Label, field: &str| match state.label(label) {
        Some(event) => text_of(engine, &event, field),
        None => Ok(None),
    };
    let settings = RoomSettings {
        join_rule: state.join_rule().word().to_owned(),
        read_only: state.switch(Switch::ReadOnly),
        announcement_only: state.switch(Switch::AnnouncementOnly),
        archived: state.switch(Switch::Archived),
        listed_only: state.switch(Switch::ListedOnly),
        servers: state
            .server_rules()
            .map(|(origin, rule)| ServerRuleView { id: origin.to_string(), rule: rule.word().to_owned() })
            .collect(),
        description: label(Label::Description, "description")?,
        announcement: label(Label::Announcement, "announcement")?,
    };
    Ok(RoomDetail {
        topic: text_of(engine, &topic, "topic")?,
        version: state.version().to_string(),
        creator: engine.names.display(state.creator()),
        timeline_tips: tips(Lane::Timeline),
        state_tips: tips(Lane::State),
        have: have.collect(),
        held: held as u64,
        gap: history::gap(engine, room).await?,
        servers_in_room,
        settings,
        forks: forks.collect(),
        summary,
    })
}
