//! Frames of DDP: what is said, and what is made of what is heard.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Change, RealtimeEvent, RoomMeta, text};
use crate::rocketchat::client::Message;

/// All messages of the rooms that the account may read.
pub(super) const MY_MESSAGES: &str = "__my_messages__";
/// The stream of messages.
pub(super) const ROOM_MESSAGES: &str = "stream-room-messages";
/// What happens in one room beside messages.
pub(super) const NOTIFY_ROOM: &str = "stream-notify-room";
/// What concerns the account itself.
pub(super) const NOTIFY_USER: &str = "stream-notify-user";
/// What concerns everybody who is logged in.
pub(super) const NOTIFY_LOGGED: &str = "stream-notify-logged";

/// The most ids that are taken of one bulk deletion; beyond, they are looked for among those known.
const MAX_BULK: usize = 10_000;

/// A frame that the server sends.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Frame {
    /// What kind of frame; a greeting has none.
    pub(super) msg: Option<String>,
    /// Of an answer: to what. Of a ping: what to echo.
    pub(super) id: Option<Value>,
    /// Of an error.
    pub(super) error: Option<Value>,
    /// Of a change: the stream.
    pub(super) collection: Option<String>,
    /// Of a change: what.
    pub(super) fields: Fields,
    /// Of `ready`: the subscriptions that are.
    pub(super) subs: Vec<String>,
}

/// What happened on a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Fields {
    /// Which event of it.
    pub(super) event_name: String,
    /// With what.
    pub(super) args: Vec<Value>,
}

/// The first frame.
pub(super) fn connect() -> Value {
    json!({"msg": "connect", "version": "1", "support": ["1", "pre2", "pre1"]})
}

/// Logs in by a token.
pub(super) fn login(id: &str, token: &str) -> Value {
    json!({"msg": "method", "method": "login", "id": id, "params": [{"resume": token}]})
}

/// Listens to an event of a stream.
pub(super) fn subscribe(id: &str, stream: &str, event: &str) -> Value {
    json!({"msg": "sub", "id": id, "name": stream, "params": [event, {"useCollection": false, "args": []}]})
}

/// Listens no longer.
pub(super) fn unsubscribe(id: &str) -> Value {
    json!({"msg": "unsub", "id": id})
}

/// Tells a room what somebody does.
pub(super) fn activity(id: &str, rid: &str, username: &str, typing: bool) -> Value {
    let activities: &[&str] = if typing { &["user-typing"] } else { &[] };
    let params = json!([format!("{rid}/user-activity"), username, activities, {}]);
    json!({"msg": "method", "method": NOTIFY_ROOM, "id": id, "params": params})
}

/// Asks whether the server is there.
pub(super) fn ping() -> Value {
    json!({"msg": "ping"})
}

/// Answers the same question.
pub(super) fn pong(id: Option<&Value>) -> Value {
    match id {
        Some(id) => json!({"msg": "pong", "id": id}),
        None => json!({"msg": "pong"}),
    }
}

/// Whether an error says that there were too many calls.
pub(super) fn is_limit(error: &Value) -> bool {
    let code = |name: &str| error.get(name).and_then(Value::as_str);
    [code("error"), code("errorType")].into_iter().flatten().any(|code| code.contains("too-many-requests"))
}

/// What a change means. `None` for what is of no concern or not understood.
pub(super) fn event(stream: &str, fields: Fields) -> Option<RealtimeEvent> {
    let Fields { event_name, mut args } = fields;
    let mut take = |at: usize| args.get_mut(at).map(Value::take).unwrap_or_default();
    match stream {
        ROOM_MESSAGES if event_name == MY_MESSAGES => {
            let (message, about) = (take(0), take(1));
            // Public rooms are told to everybody who may read them.
            if about.get("roomParticipant").and_then(Value::as_bool) != Some(true) {
                return None;
            }
            let room = RoomMeta {
                kind: about.get("roomType").map(text).unwrap_or_default(),
                name: about.get("roomName").and_then(Value::as_str).map(str::to_owned),
            };
            let message: Box<Message> = read(message)?;
            let sound = !message.id.is_empty() && !message.rid.is_empty() && !message.hidden && !message.imported;
            sound.then_some(RealtimeEvent::Message { message, room })
        }
        NOTIFY_ROOM => {
            let (rid, what) = event_name.rsplit_once('/')?;
            of_room(rid.to_owned(), what, take(0), take(1))
        }
        NOTIFY_USER => {
            let change = match take(0).as_str()? {
                "inserted" => Change::Inserted,
                "updated" | "changed" => Change::Updated,
                "removed" => Change::Removed,
                _ => return None,
            };
            match event_name.rsplit_once('/')?.1 {
                "subscriptions-changed" => {
                    Some(RealtimeEvent::SubscriptionsChanged { change, subscription: read(take(1))? })
                }
                "rooms-changed" => Some(RealtimeEvent::RoomsChanged { change, room: read(take(1))? }),
                _ => None,
            }
        }
        NOTIFY_LOGGED => of_everybody(&event_name, &take(0)),
        _ => None,
    }
}

fn of_room(rid: String, what: &str, first: Value, second: Value) -> Option<RealtimeEvent> {
    match what {
        "deleteMessage" => {
            let id = first.get("_id")?.as_str()?.to_owned();
            Some(RealtimeEvent::MessageDeleted { rid, id })
        }
        "deleteMessageBulk" => {
            let ids = first.get("ids").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let ids = match ids.len() {
                0..=MAX_BULK => ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect(),
                _ => Vec::new(),
            };
            Some(RealtimeEvent::BulkDeleted { rid, ids })
        }
        "user-activity" => {
            let username = first.as_str()?.to_owned();
            let activities = second.as_array().map(Vec::as_slice).unwrap_or_default();
            let activities = activities.iter().take(8).filter_map(|one| one.as_str().map(str::to_owned)).collect();
            Some(RealtimeEvent::UserActivity { rid, username, activities })
        }
        _ => None,
    }
}

fn of_everybody(what: &str, about: &Value) -> Option<RealtimeEvent> {
    let told = |name: &str| about.get(name).and_then(Value::as_str).map(str::to_owned);
    match what {
        // A list: id, username, status as a number, text, name, roles.
        "user-status" => {
            let status = match about.get(2)?.as_u64()? {
                0 => "offline",
                1 => "online",
                2 => "away",
                3 => "busy",
                _ => return None,
            };
            let said = about.get(3).and_then(Value::as_str).filter(|said| !said.is_empty()).map(str::to_owned);
            let username = about.get(1).map(text).unwrap_or_default();
            Some(RealtimeEvent::UserStatus { user_id: text(about.get(0)?), username, status, text: said })
        }
        "Users:NameChanged" => {
            Some(RealtimeEvent::NameChanged { user_id: told("_id")?, name: told("name"), username: told("username") })
        }
        "Users:Deleted" => Some(RealtimeEvent::UserDeleted { user_id: told("userId")? }),
        "updateAvatar" => Some(RealtimeEvent::AvatarChanged { username: told("username")?, etag: told("etag") }),
        _ => None,
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Option<Box<T>> {
    let read = serde_json::from_value(value).ok().map(Box::new);
    if read.is_none() {
        // Without the error's text, which may quote what people wrote.
        tracing::warn!("something that Rocket.Chat told is not understood, and left out");
    }
    read
}
