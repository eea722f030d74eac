//! `channels.*`, `groups.*`, `im.*`, `rooms.*`, `subscriptions.*`: what is done with rooms.

use serde_json::{Value, json};

use crate::documents::Room;
use crate::moment::Moment;
use crate::refusal::Refusal;
use crate::rest::Caller;
use crate::rest::ask::Ask;
use crate::rules::changes::Cleaning;
use crate::rules::rooms::NewRoom;
use crate::rules::uploads::path;
use crate::state::{Event, State};
use crate::version::Version;

/// Answers the calls of this file.
pub(super) fn post(state: &mut State, caller: &Caller, parts: &[&str], ask: &Ask) -> Option<Result<Value, Refusal>> {
    let uid = caller.uid.as_str();
    if let [name] = parts
        && let Some((kind, act)) = name.split_once('.')
    {
        let known = match kind {
            "channels" => of_room(state, uid, "c", act, ask),
            "groups" => of_room(state, uid, "p", act, ask),
            "im" | "dm" => of_direct(state, uid, act, ask),
            _ => None,
        };
        if known.is_some() {
            return known;
        }
    }
    Some(match parts {
        ["rooms.media", rid] => take(state, uid, rid, ask),
        ["rooms.mediaConfirm", rid, file] => confirm(state, uid, rid, file, ask),
        ["rooms.saveRoomSettings"] => save_settings(state, uid, ask),
        ["rooms.muteUser"] => moderate(state, ask).and_then(|(rid, user)| state.mute(uid, &rid, &user, true)).map(done),
        ["rooms.unmuteUser"] => {
            moderate(state, ask).and_then(|(rid, user)| state.mute(uid, &rid, &user, false)).map(done)
        }
        ["rooms.banUser"] if state.version >= Version::V8_8 => {
            moderate(state, ask).and_then(|(rid, user)| state.ban(uid, &rid, &user)).map(done)
        }
        ["rooms.unbanUser"] if state.version >= Version::V8_8 => {
            moderate(state, ask).and_then(|(rid, user)| state.unban(uid, &rid, &user)).map(done)
        }
        ["rooms.changeArchivationState"] => change_archivation(state, uid, ask),
        ["rooms.cleanHistory"] => clean(state, uid, ask),
        ["rooms.leave"] => any_room(state, ask).and_then(|room| state.leave(uid, &room.id)).map(done),
        ["rooms.delete"] => ask.needed("roomId").and_then(|rid| state.delete_room(uid, rid)).map(done),
        ["subscriptions.read"] => read(state, uid, ask),
        _ => return None,
    })
}

fn done((): ()) -> Value {
    json!({})
}

/// `channels.*` (`c`) and `groups.*` (`p`).
fn of_room(state: &mut State, uid: &str, t: &'static str, act: &str, ask: &Ask) -> Option<Result<Value, Refusal>> {
    let key = if t == "c" { "channel" } else { "group" };
    let shown = |state: &State, rid: &str| json!({key: state.rooms.get(rid)});
    // Of a group these two tell nothing.
    let left = |state: &State, rid: &str| if t == "c" { shown(state, rid) } else { json!({}) };
    let find = |state: &State| find(state, ask, t, true);
    let role = |act: &str| {
        let (give, role) = match act.strip_prefix("add") {
            Some(role) => (true, role),
            None => (false, act.strip_prefix("remove")?),
        };
        let role = ["owner", "moderator", "leader"].into_iter().find(|known| role.to_lowercase() == *known)?;
        Some((role, give))
    };
    if let Some((role, give)) = role(act) {
        let outcome = find(state)
            .and_then(|room| Ok((room.id, user_of(state, ask)?)))
            .and_then(|(rid, user)| state.set_role(uid, &rid, &user, role, give));
        return Some(outcome.map(done));
    }
    Some(match act {
        "create" => {
            let new = NewRoom {
                name: ask.text("name").unwrap_or_default().to_owned(),
                members: ask.texts("members"),
                read_only: ask.choice("readOnly").unwrap_or(false),
                exclude_self: ask.choice("excludeSelf").unwrap_or(false),
            };
            if new.name.is_empty() {
                Err(Refusal::plain("Body param \"name\" is required"))
            } else {
                state.create_room(uid, t, new).map(|room| shown(state, &room.id))
            }
        }
        "join" if t == "c" => find(state).and_then(|room| {
            state.join(uid, &room.id)?;
            Ok(shown(state, &room.id))
        }),
        "invite" => find(state).and_then(|room| {
            let mut users = ask.texts("userIds");
            if users.is_empty() {
                users.push(user_of(state, ask)?);
            }
            for user in users {
                state.invite(uid, &room.id, &user)?;
            }
            Ok(shown(state, &room.id))
        }),
        "kick" => find(state).and_then(|room| {
            let user = user_of(state, ask)?;
            state.kick(uid, &room.id, &user)?;
            Ok(left(state, &room.id))
        }),
        "leave" => find(state).and_then(|room| {
            state.leave(uid, &room.id)?;
            Ok(left(state, &room.id))
        }),
        "archive" => find(state).and_then(|room| state.archive(uid, &room.id, true)).map(done),
        "unarchive" => find_also_archived(state, ask, t).and_then(|room| {
            let name = room.name.as_deref().unwrap_or_default();
            if !room.archived {
                return Err(Refusal::plain(format!("The channel, {name}, is not archived")));
            }
            state.archive(uid, &room.id, false).map(done)
        }),
        "setTopic" => setting(state, uid, t, ask, "topic", "roomTopic"),
        "setDescription" => setting(state, uid, t, ask, "description", "roomDescription"),
        "setAnnouncement" => setting(state, uid, t, ask, "announcement", "roomAnnouncement"),
        "setReadOnly" => setting(state, uid, t, ask, "readOnly", "readOnly"),
        "rename" => find(state).and_then(|room| {
            let name = ask.needed("name")?;
            save(state, uid, &room.id, "roomName", json!(name))?;
            Ok(shown(state, &room.id))
        }),
        "delete" => find_also_archived(state, ask, t).and_then(|room| state.delete_room(uid, &room.id)).map(done),
        _ => return None,
    })
}

/// `im.*`, also written `dm.*`.
fn of_direct(state: &mut State, uid: &str, act: &str, ask: &Ask) -> Option<Result<Value, Refusal>> {
    Some(match act {
        "create" => create_direct(state, uid, ask),
        "leave" => find(state, ask, "d", false).and_then(|room| state.leave(uid, &room.id)).map(done),
        "setTopic" => setting(state, uid, "d", ask, "topic", "roomTopic"),
        _ => return None,
    })
}

fn create_direct(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    ask.only(&["username", "usernames", "excludeSelf"])?;
    let usernames: Vec<String> = match (ask.text("username"), ask.text("usernames")) {
        (Some(one), _) => vec![one.to_owned()],
        (None, Some(several)) => several.split(',').map(str::to_owned).collect(),
        (None, None) => return Err(Refusal::params("must match exactly one schema in oneOf")),
    };
    let room = state.create_direct(uid, &usernames, ask.choice("excludeSelf").unwrap_or(false))?;
    Ok(json!({"room": {"t": "d", "_id": room.rid, "rid": room.rid, "usernames": room.usernames}}))
}

/// The room that is meant by `roomId` or `roomName`.
pub(super) fn find(state: &State, ask: &Ask, t: &str, unarchived: bool) -> Result<Room, Refusal> {
    let given = |key: &str| ask.text(key).or_else(|| ask.parameter(key));
    let room = match (given("roomId"), given("roomName")) {
        (Some(rid), _) => state.rooms.get(rid),
        (None, Some(name)) => state.room_named(name),
        (None, None) => {
            let reason = "The parameter \"roomId\" or \"roomName\" is required";
            return Err(Refusal::coded("error-roomid-param-not-provided", reason));
        }
    };
    let kind = match t {
        "c" => "channel",
        "p" => "group",
        _ => "direct message",
    };
    let Some(room) = room.filter(|room| room.t == t) else {
        let reason = format!("The required \"roomId\" or \"roomName\" param provided does not match any {kind}");
        return Err(Refusal::coded("error-room-not-found", reason));
    };
    if unarchived && room.archived {
        let name = room.name.as_deref().unwrap_or_default();
        let kind = if t == "p" { "private group" } else { kind };
        return Err(Refusal::coded("error-room-archived", format!("The {kind}, {name}, is archived")));
    }
    Ok(room.clone())
}

fn find_also_archived(state: &State, ask: &Ask, t: &str) -> Result<Room, Refusal> {
    find(state, ask, t, false)
}

fn any_room(state: &State, ask: &Ask) -> Result<Room, Refusal> {
    let t = ask.text("roomId").and_then(|rid| state.rooms.get(rid)).map_or("c", |room| room.t.as_str());
    find(state, ask, t, true)
}

/// The user that is meant by `userId`, `username` or `user`.
fn user_of(state: &State, ask: &Ask) -> Result<String, Refusal> {
    let by_id = ask.text("userId").and_then(|uid| state.users.get(uid));
    let name = ask.text("username").or(ask.text("user"));
    let user = by_id.or_else(|| state.user_named(name?));
    let reason = "The required \"userId\" or \"username\" param provided does not match any users";
    user.map(|user| user.id.clone()).ok_or_else(|| Refusal::coded("error-invalid-user", reason))
}

/// Room and user of a call that moderates.
fn moderate(state: &State, ask: &Ask) -> Result<(String, String), Refusal> {
    ask.only(&["roomId", "userId", "username"])?;
    let rid = ask.needed("roomId")?.to_owned();
    Ok((rid, user_of(state, ask)?))
}

fn setting(state: &mut State, uid: &str, t: &str, ask: &Ask, key: &str, setting: &str) -> Result<Value, Refusal> {
    let room = find(state, ask, t, t != "d")?;
    let value = ask.body.get(key).cloned().unwrap_or_default();
    save(state, uid, &room.id, setting, value.clone())?;
    Ok(json!({key: value}))
}

fn save(state: &mut State, uid: &str, rid: &str, key: &str, value: Value) -> Result<(), Refusal> {
    let settings = std::iter::once((key.to_owned(), value)).collect();
    state.save_room_settings(uid, rid, &settings)
}

fn save_settings(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let rid = ask.needed("rid")?;
    let mut settings = ask.body.as_object().cloned().unwrap_or_default();
    settings.remove("rid");
    state.save_room_settings(uid, rid, &settings)?;
    Ok(json!({"rid": rid}))
}

fn change_archivation(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let rid = ask.needed("rid")?;
    state.archive(uid, rid, ask.text("action") != Some("unarchive"))?;
    Ok(json!({}))
}

fn clean(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let moment = |key: &str| {
        let moment = ask.body.get(key).and_then(Moment::from_value);
        moment.ok_or_else(|| Refusal::params(format!("must have required property '{key}'")))
    };
    let cleaning = Cleaning {
        rid: ask.needed("roomId")?.to_owned(),
        oldest: moment("oldest")?,
        latest: moment("latest")?,
        inclusive: ask.choice("inclusive").unwrap_or(false),
        users: ask.texts("users"),
        limit: ask.body.get("limit").and_then(Value::as_u64).and_then(|limit| limit.try_into().ok()).unwrap_or(0),
    };
    let count = state.clean(uid, &cleaning)?;
    Ok(json!({"_id": cleaning.rid, "count": count}))
}

fn take(state: &mut State, uid: &str, rid: &str, ask: &Ask) -> Result<Value, Refusal> {
    if !state.can_access(rid, uid) {
        return Err(Refusal::Forbidden);
    }
    let file = ask.file.clone().filter(|file| file.field == "file");
    let file = file.ok_or_else(|| Refusal::coded("invalid-field", ""))?;
    if file.bytes.len() as u64 > state.setting("FileUpload_MaxFileSize").as_u64().unwrap_or(u64::MAX) {
        return Err(Refusal::TooLarge);
    }
    let upload = state.take_file(uid, rid, file.name, file.mime, file.bytes)?;
    Ok(json!({"file": {"_id": upload.id, "url": path(&upload)}}))
}

fn confirm(state: &mut State, uid: &str, rid: &str, file: &str, ask: &Ask) -> Result<Value, Refusal> {
    if !state.can_access(rid, uid) {
        return Err(Refusal::Forbidden);
    }
    let said = if ask.body.is_object() { ask.body.clone() } else { json!({}) };
    let message = state.confirm_file(uid, rid, file, &said)?;
    Ok(json!({"message": message}))
}

fn read(state: &mut State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let rid = ask.text("rid").or(ask.text("roomId")).unwrap_or_default().to_owned();
    let Some(mut subscription) = state.member(&rid, uid).cloned() else {
        return Err(Refusal::coded("error-invalid-subscription", "Invalid subscription"));
    };
    let now = state.now();
    subscription.ls = Some(now);
    subscription.alert = false;
    subscription.open = true;
    subscription.unread = 0;
    subscription.user_mentions = 0;
    subscription.group_mentions = 0;
    state.put_subscription(subscription, "updated");
    let args = vec![json!({"until": now})];
    state.tell(Event::Room { rid, name: "messagesRead", args, origin: None });
    Ok(json!({}))
}
