//! From the protocol's types to what the API shows.

use rocketmesh_protocol::codec::{Map, Value as Dag};
use rocketmesh_protocol::event::{Content, Event, FileRef, Lane};
use rocketmesh_storage::{LogKind, StoreError, StoredEvent, Verdict};
use serde_json::{Value, json};

use crate::api::types::{EventView, FileView, MessageFile};
use crate::engine::Engine;

/// An event.
///
/// # Errors
/// If the store fails.
pub(super) fn event(stored: &StoredEvent, engine: &Engine) -> Result<EventView, StoreError> {
    let names = &engine.names;
    let event = &stored.event;
    let (by_moderator, reaches) = alteration(event, engine)?;
    let marks = engine.store.marks(&event.id())?;
    let header = event.header();
    let sender = event.sender();
    let body = event.body();
    let ids = |ids: &[rocketmesh_protocol::id::EventId]| ids.iter().map(ToString::to_string).collect();
    Ok(EventView {
        by_moderator,
        reaches,
        id: event.id().to_string(),
        room: event.room().to_string(),
        origin: header.origin.to_string(),
        sender: sender.as_ref().map(|user| names.display(user)),
        sender_id: sender.map(|user| user.to_string()),
        kind: header.kind.clone(),
        lane: lane(header.lane).to_owned(),
        seq: header.seq,
        state_key: header.state_key.clone(),
        lamport: header.lamport,
        time_ms: header.time_ms,
        self_parent: header.self_parent.map(|id| id.to_string()),
        parents: ids(&header.parents),
        state_frontier: ids(&header.state_frontier),
        content: header.content.as_ref().map_or(Value::Null, dag_json_map),
        body_state: match (&header.body, &body) {
            (None, _) => "none",
            (Some(_), Some(_)) => "present",
            (Some(_), None) if marks.erased => "erased",
            (Some(_), None) if marks.expired => "expired",
            (Some(_), None) => "missing",
        }
        .to_owned(),
        late: marks.late,
        body: body.map_or(Value::Null, |body| dag_json_map(body.fields())),
        accepted: stored.verdict != Verdict::Rejected,
        withheld: stored.verdict == Verdict::Withheld,
        bytes: (event.header_block().len() + event.body_block().map_or(0, <[u8]>::len)) as u64,
        files: event.files().unwrap_or_default().iter().map(|named| file(named, engine)).collect::<Result<_, _>>()?,
    })
}

/// A file that a message names.
///
/// # Errors
/// If the store fails.
pub(super) fn file(named: &FileRef, engine: &Engine) -> Result<FileView, StoreError> {
    let entry = engine.store.file(&named.file)?;
    let here = entry.map_or(0, |entry| entry.here);
    let state = match entry {
        Some(entry) if entry.whole => "here",
        Some(_) => "coming",
        None => "missing",
    };
    Ok(FileView { said: said(named), state: state.to_owned(), here })
}

/// What a message says of a file.
pub(super) fn said(named: &FileRef) -> MessageFile {
    MessageFile {
        file: named.file.to_string(),
        size: named.size,
        name: named.name.clone(),
        media_type: named.media_type.clone(),
        width: named.dimensions.map(|(width, _)| width),
        height: named.dimensions.map(|(_, height)| height),
    }
}

/// Of an edit or a redaction: whether it is a moderator's of somebody else's message, and whether it reaches its target,
/// where that is here.
fn alteration(event: &Event, engine: &Engine) -> Result<(bool, Option<bool>), StoreError> {
    let (target, author) = match event.content() {
        Ok(Content::Edit { target, author } | Content::Redact { target, author }) => (target, author),
        _ => return Ok((false, None)),
    };
    let by_moderator = author.is_some() && author != event.sender();
    let target = engine.store.event(&target)?;
    Ok((by_moderator, target.map(|target| event.reaches(&target.event))))
}

/// A lane's word.
pub(super) const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::State => "state",
        Lane::Timeline => "timeline",
    }
}

/// The word for what an entry of the log says.
pub(super) const fn change(kind: LogKind) -> &'static str {
    match kind {
        LogKind::Accepted | LogKind::AcceptedLate => "accepted",
        LogKind::Rejected => "rejected",
        LogKind::ArrivedWithheld | LogKind::Withheld => "withheld",
        LogKind::Restored => "restored",
        LogKind::BodyArrived => "body_arrived",
        LogKind::Erased => "erased",
        LogKind::Ahead => "ahead",
    }
}

fn dag_json_map(map: &Map) -> Value {
    Value::Object(map.iter().map(|(key, value)| (key.to_owned(), dag_json(value))).collect())
}

/// A value as DAG-JSON: links as `{"/": "bafy…"}`, bytes as `{"/": {"bytes": "…"}}` in base64 without padding.
fn dag_json(value: &Dag) -> Value {
    match value {
        Dag::Null => Value::Null,
        Dag::Bool(truth) => Value::Bool(*truth),
        Dag::Int(number) => match (u64::try_from(*number), i64::try_from(*number)) {
            (Ok(number), _) => json!(number),
            (_, Ok(number)) => json!(number),
            _ => json!(number.to_string()),
        },
        Dag::Bytes(bytes) => json!({"/": {"bytes": multibase::Base::Base64.encode(bytes)}}),
        Dag::Text(text) => Value::String(text.clone()),
        Dag::List(list) => Value::Array(list.iter().map(dag_json).collect()),
        Dag::Map(map) => dag_json_map(map),
        Dag::Link(cid) => json!({"/": cid.to_string()}),
    }
}

/// A value from JSON: what a client may put into a body of its own kind.
///
/// # Errors
/// The reason, for numbers with a fraction or beyond 64 bits.
pub(super) fn from_json(value: &Value) -> Result<Dag, String> {
    Ok(match value {
        Value::Null => Dag::Null,
        Value::Bool(truth) => Dag::Bool(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Dag::Int(number.into()),
            (_, Some(number)) => Dag::Int(number.into()),
            _ => return Err(format!("{number} is not a whole number of 64 bits; write it as text")),
        },
        Value::String(text) => Dag::Text(text.clone()),
        Value::Array(list) => Dag::List(list.iter().map(from_json).collect::<Result<_, _>>()?),
        Value::Object(object) => {
            let mut map = Map::new();
            for (key, value) in object {
                map.insert(key, from_json(value)?);
            }
            Dag::Map(map)
        }
    })
}
