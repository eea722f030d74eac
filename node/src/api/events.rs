//! Events: page, show, post.

use axum::Json;
use axum::extract::{Path, State};
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{
    Body as EventBody, Content, Draft, JoinRule, Label, Membership, OrderKey, Role, ServerRule, Switch, kind,
};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Localpart;
use rocketmesh_storage::{KeptFile, StoredEvent, Verdict};

use crate::api::error::ApiError;
use crate::api::extract::{Body, QueryOf};
use crate::api::types::{ErrorBody, EventPage, EventQuery, EventView, PostEvent, Posted};
use crate::api::{Api, files, history, rooms, view};
use crate::clock::random_16;
use crate::engine::Engine;

/// Events of a page when the query does not say, and the most it may ask for.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// A page of a room's events, in room order.
#[utoipa::path(get, path = "/v1/rooms/{room}/events", tag = "events", params(("room" = String, Path), EventQuery),
    responses((status = 200, body = EventPage), (status = "4XX", body = ErrorBody)))]
pub(super) async fn list(
    State(api): State<Api>,
    Path(room): Path<String>,
    QueryOf(query): QueryOf<EventQuery>,
) -> Result<Json<EventPage>, ApiError> {
    let room: RoomId = room.parse()?;
    let store = &api.engine.store;
    rooms::require(&api.engine, &room)?;
    let from = match &query.from {
        Some(id) => Some(position(&api.engine, room, id)?),
        None => None,
    };
    let withheld = query.withheld.unwrap_or(false);
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::bad("malformed_query", format!("limit must be from 1 to {MAX_PAGE}")));
    }
    let order = match query.order.as_deref() {
        None | Some("asc") => store.order_after(&room, from.as_ref(), limit)?,
        Some("desc") => store.order_before(&room, from.as_ref(), limit)?,
        Some(_) => return Err(ApiError::bad("malformed_query", "order must be asc or desc")),
    };
    let events: Vec<EventView> = order
        .iter()
        .filter_map(|key| store.event(&key.id).transpose())
        .filter(|stored| withheld || !matches!(stored, Ok(stored) if stored.verdict == Verdict::Withheld))
        .map(|stored| Ok::<_, ApiError>(view::event(&stored?, &api.engine)?))
        .collect::<Result<_, _>>()?;
    let next = (order.len() == limit).then(|| order[limit - 1].id.to_string());
    let newest_end = if query.order.as_deref() == Some("desc") { from.is_none() } else { next.is_none() };
    let gap = history::gap(&api.engine, room).await?;
    let ahead = if newest_end { history::ahead(&api.engine, room).await? } else { Vec::new() };
    Ok(Json(EventPage { events, next, gap, ahead }))
}

fn position(engine: &Engine, room: RoomId, id: &str) -> Result<OrderKey, ApiError> {
    let id: EventId = id.parse()?;
    match engine.store.event(&id)? {
        Some(stored) if stored.event.room() == room => Ok(engine.store.place(&stored.event)?),
        _ => Err(unknown_event(&id)),
    }
}

fn unknown_event(id: &EventId) -> ApiError {
    ApiError::missing("unknown_event", format!("this node does not hold event {id}"))
}

/// One event.
#[utoipa::path(get, path = "/v1/events/{event}", tag = "events", params(("event" = String, Path)),
    responses((status = 200, body = EventView), (status = "4XX", body = ErrorBody)))]
pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<EventView>, ApiError> {
    let id: EventId = id.parse()?;
    let stored: Option<StoredEvent> = api.engine.store.event(&id)?;
    let stored = stored.ok_or_else(|| unknown_event(&id))?;
    Ok(Json(view::event(&stored, &api.engine)?))
}

/// Writes an event. When this is answered the event is on disk.
#[utoipa::path(post, path = "/v1/rooms/{room}/events", tag = "events", params(("room" = String, Path)),
    request_body = PostEvent, responses((status = 200, body = Posted), (status = "4XX", body = ErrorBody)))]
pub(super) async fn post(
    State(api): State<Api>,
    Path(room): Path<String>,
    Body(post): Body<PostEvent>,
) -> Result<Json<Posted>, ApiError> {
    let room: RoomId = room.parse()?;
    let (draft, kept) = draft(&api.engine, &room, post)?;
    let written = api.engine.post(room, draft).await;
    // The message names its files now, or never will.
    drop(kept);
    let written = written?;
    Ok(Json(rooms::posted(&written)))
}

/// The event that a request asks for, and the files that it names, which stay for as long as these are kept.
fn draft(engine: &Engine, room: &RoomId, post: PostEvent) -> Result<(Draft, Vec<KeptFile>), ApiError> {
    let user: Localpart = post.user.parse()?;
    let text = |field: &str| match &post.text {
        Some(text) => Ok(Map::new().with(field, text.as_str())),
        None => Err(ApiError::bad("missing_field", "`text` is missing")),
    };
    let target = || match &post.target {
        Some(target) => Ok(target.parse::<EventId>()?),
        None => Err(ApiError::bad("missing_field", "`target` is missing: the id of the message that this is about")),
    };
    let member = || match post.member.as_deref() {
        Some(member) => Ok::<_, ApiError>(engine.names.resolve(member)?),
        None => Err(ApiError::bad("missing_field", "`member` is missing: the user that this is about")),
    };
    let on = || post.on.ok_or_else(|| ApiError::bad("missing_field", "`on` is missing: true or false"));
    // Who wrote the target, unless that is the sender: it takes a moderator to change that.
    let author = || {
        let written = engine.store.event(&target()?)?.and_then(|stored| stored.event.sender());
        Ok::<_, ApiError>(written.filter(|author| *author != engine.local(user.clone())))
    };
    let kind = post.kind.as_deref().unwrap_or(kind::MESSAGE);
    if !post.files.is_empty() && kind != kind::MESSAGE {
        return Err(ApiError::bad("unexpected_field", "only a message has `files`"));
    }
    let mut kept = Vec::new();
    let (content, fields) = match kind {
        kind::MESSAGE => {
            let thread = post.thread.as_deref().map(str::parse).transpose()?;
            let fields =
                if post.files.is_empty() || post.text.is_some() { text("text")? } else { Map::new().with("text", "") };
            let (fields, files) = files::into_fields(engine, room, &post.files, fields)?;
            kept = files;
            (Content::Message { thread }, fields)
        }
        kind::EDIT => (Content::Edit { target: target()?, author: author()? }, text("text")?),
        kind::REDACT => {
            let reason = post.text.as_deref().map_or_else(Map::new, |reason| Map::new().with("reason", reason));
            (Content::Redact { target: target()?, author: author()? }, reason)
        }
        kind::REACT => {
            let emoji = post.emoji.as_deref();
            let emoji = emoji.ok_or_else(|| ApiError::bad("missing_field", "`emoji` is missing, such as :smile:"))?;
            let content = Content::React { target: target()?, remove: post.remove.unwrap_or(false) };
            (content, Map::new().with("emoji", emoji))
        }
        kind::NAME => (Content::Label(Label::Name), text("name")?),
        kind::TOPIC => (Content::Label(Label::Topic), text("topic")?),
        kind::DESCRIPTION => (Content::Label(Label::Description), text("description")?),
        kind::ANNOUNCEMENT => (Content::Label(Label::Announcement), text("announcement")?),
        kind::MEMBER => {
            let change = post.membership.as_deref().and_then(Membership::from_word);
            let change = change.filter(|change| !matches!(change, Membership::Join | Membership::Leave));
            let change = change.ok_or_else(|| {
                ApiError::bad("missing_field", "`membership` is missing or not one of invite, kick, ban, unban")
            })?;
            (Content::Member { user: member()?, change, seen: Vec::new() }, Map::new())
        }
        kind::MUTE => (Content::Mute { user: member()?, on: on()?, seen: Vec::new() }, Map::new()),
        kind::JOIN_RULE => {
            let rule = post.rule.as_deref().and_then(JoinRule::from_word);
            let rule = rule
                .ok_or_else(|| ApiError::bad("missing_field", "`rule` is missing or not one of open, code, invite"))?;
            (Content::JoinRule { rule }, Map::new())
        }
        kind::SERVER => {
            let rule = post.rule.as_deref().and_then(ServerRule::from_word);
            let rule = rule
                .ok_or_else(|| ApiError::bad("missing_field", "`rule` is missing or not one of allow, deny, none"))?;
            let server = post.server.as_deref();
            let server = server.ok_or_else(|| ApiError::bad("missing_field", "`server` is missing"))?;
            let origin = engine.names.resolve(&format!("@any:{server}"))?.origin;
            (Content::Server { origin, rule, seen: Vec::new() }, Map::new())
        }
        kind::ROLE => {
            let role = post.role.as_deref().and_then(Role::from_word);
            let role = role.ok_or_else(|| {
                ApiError::bad("missing_field", "`role` is missing or not one of member, leader, moderator, owner")
            })?;
            (Content::Role { user: member()?, role, seen: Vec::new() }, Map::new())
        }
        switch if Switch::ALL.iter().any(|known| known.kind() == switch) => {
            let switch = Switch::ALL.into_iter().find(|known| known.kind() == switch).unwrap_or(Switch::ReadOnly);
            (Content::Switch { switch, on: on()? }, Map::new())
        }
        _ => return Ok((own_kind(engine, user, kind, &post)?, kept)),
    };
    let fields = Some(fields).filter(|fields| !fields.is_empty());
    Ok((engine.draft(Some(user), &content, fields), kept))
}

fn own_kind(engine: &Engine, user: Localpart, kind: &str, post: &PostEvent) -> Result<Draft, ApiError> {
    if kind.starts_with("room.") {
        return Err(ApiError::bad(
            "reserved_kind",
            format!("`{kind}` cannot be posted: kinds that begin with `room.` are the protocol's own"),
        ));
    }
    let mut fields = Map::new();
    for (key, value) in post.body.iter().flatten() {
        fields.insert(key, view::from_json(value).map_err(|problem| ApiError::bad("malformed_body", problem))?);
    }
    if let Some(text) = &post.text {
        fields.insert("text", text.as_str());
    }
    let mut draft = engine.draft(Some(user), &Content::Unknown, None);
    draft.kind = kind.to_owned();
    draft.state_key.clone_from(&post.state_key);
    draft.body = Some(EventBody::new(random_16(&*engine.entropy), fields));
    Ok(draft)
}
