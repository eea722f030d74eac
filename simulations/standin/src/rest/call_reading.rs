//! Everything that is only read.

use serde_json::{Value, json};

use crate::documents::{Message, Room};
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::rest::Caller;
use crate::rest::ask::{Ask, paged};
use crate::rest::call_rooms::find;
use crate::rest::call_users::shown;
use crate::rules::history::{HistoryAsk, SyncAsk};
use crate::state::State;
use crate::version::Version;

/// The size of a page of `chat.syncMessages`, unless another one is asked for.
const SYNC_PAGE: usize = 20;
/// The length of the history of a group or a direct room, unless another one is asked for; of a channel it is that of every
/// list.
const HISTORY: usize = 20;

/// Answers the calls of this file.
pub(super) fn get(state: &State, caller: &Caller, parts: &[&str], ask: &Ask) -> Option<Result<Value, Refusal>> {
    let uid = caller.uid.as_str();
    if let [name] = parts
        && let Some((kind, act)) = name.split_once('.')
    {
        let t = match kind {
            "channels" => Some("c"),
            "groups" => Some("p"),
            "im" | "dm" => Some("d"),
            _ => None,
        };
        if let Some(t) = t {
            return of_room(state, uid, t, act, ask);
        }
    }
    Some(match parts {
        ["me"] => state.users.get(uid).map(|user| shown(state, user, true)).ok_or(Refusal::LoggedOut),
        ["users.info"] => user_info(state, uid, ask),
        ["chat.getMessage"] => get_message(state, uid, ask),
        ["chat.syncMessages"] => sync(state, uid, ask),
        ["chat.getDeletedMessages"] => deleted(state, uid, ask),
        ["chat.getThreadMessages"] => thread(state, uid, ask),
        ["rooms.get"] => rooms(state, uid, ask),
        ["rooms.info"] => room_info(state, uid, ask),
        ["subscriptions.get"] => subscriptions(state, uid, ask),
        ["subscriptions.getOne"] => {
            let subscription = ask.parameter("roomId").and_then(|rid| state.subscription(rid, uid));
            Ok(json!({"subscription": subscription}))
        }
        ["settings", setting] => {
            if state.may(uid, Permission::ViewSettings, None) {
                Ok(json!({"_id": setting, "value": state.setting(setting)}))
            } else {
                Err(Refusal::Permission)
            }
        }
        // Every permission with its roles, which anybody may read who is logged in.
        ["permissions.listAll"] => {
            let named = Permission::NAMED.iter();
            let update: Vec<Value> = named.map(|(id, of)| json!({"_id": id, "roles": state.roles_of(*of)})).collect();
            Ok(json!({"update": update, "remove": []}))
        }
        // The stand-in has no emojis of its own.
        ["emoji-custom.list"] => Ok(json!({"emojis": {"update": [], "remove": []}})),
        _ => return None,
    })
}

fn of_room(state: &State, uid: &str, t: &str, act: &str, ask: &Ask) -> Option<Result<Value, Refusal>> {
    let key = match t {
        "c" => "channel",
        "p" => "group",
        _ => "room",
    };
    Some(match (act, t) {
        ("info", _) => readable(state, uid, t, ask).map(|room| json!({key: room})),
        ("history", _) => history(state, uid, t, ask),
        ("members", _) => members(state, uid, t, ask),
        ("messages", _) => messages(state, uid, t, ask),
        ("list.joined", "c") => Ok(joined(state, uid, t, "channels", ask)),
        ("list", "p") => Ok(joined(state, uid, t, "groups", ask)),
        ("list", "d") => Ok(joined(state, uid, t, "ims", ask)),
        ("list", "c") => {
            let channels = state.rooms.values().filter(|room| room.t == "c").map(|room| json!(room)).collect();
            Ok(paged(channels, "channels", ask.page(state, None)))
        }
        ("roles", _) => readable(state, uid, t, ask).map(|room| {
            let of_members = state.members(&room.id).into_iter().filter(|member| !member.roles.is_empty());
            let roles: Vec<Value> = of_members
                .map(|member| json!({"_id": member.id, "rid": member.rid, "u": member.u, "roles": member.roles}))
                .collect();
            json!({"roles": roles})
        }),
        _ => return None,
    })
}

/// The room that is meant, if the caller may read it.
fn readable(state: &State, uid: &str, t: &str, ask: &Ask) -> Result<Room, Refusal> {
    let room = find(state, ask, t, false)?;
    if !state.can_access(&room.id, uid) {
        // Private rooms are not even said to exist.
        let reason = "The required \"roomId\" or \"roomName\" param provided does not match any group";
        return Err(if t == "p" { Refusal::coded("error-room-not-found", reason) } else { Refusal::Forbidden });
    }
    Ok(room)
}

fn joined(state: &State, uid: &str, t: &str, key: &str, ask: &Ask) -> Value {
    let subscriptions = state.subscriptions_of(uid).into_iter().filter(|member| member.is_member() && member.t == t);
    let rooms = subscriptions.filter_map(|member| state.rooms.get(&member.rid)).map(|room| json!(room)).collect();
    paged(rooms, key, ask.page(state, None))
}

fn history(state: &State, uid: &str, t: &str, ask: &Ask) -> Result<Value, Refusal> {
    let room = readable(state, uid, t, ask)?;
    let on = |key: &str| ask.parameter(key) == Some("true");
    // Replies in threads: of a channel only if they are asked for, of groups and direct rooms unless they are refused.
    let threads =
        if t == "c" { on("showThreadMessages") } else { ask.parameter("showThreadMessages") != Some("false") };
    let (offset, count) = ask.page(state, (t != "c").then_some(HISTORY));
    let asked = HistoryAsk {
        latest: ask.moment("latest", "error-invalid-date")?,
        oldest: ask.moment("oldest", "error-invalid-date")?,
        inclusive: on("inclusive"),
        offset,
        count,
        threads,
    };
    Ok(json!({"messages": state.history(&room.id, &asked)}))
}

fn messages(state: &State, uid: &str, t: &str, ask: &Ask) -> Result<Value, Refusal> {
    let room = readable(state, uid, t, ask)?;
    let mut found: Vec<&Message> = state.messages(&room.id).filter(|message| !message.hidden).collect();
    found.reverse();
    found.sort_by_key(|message| std::cmp::Reverse(message.ts));
    Ok(paged(found.into_iter().map(|message| json!(message)).collect(), "messages", ask.page(state, None)))
}

fn members(state: &State, uid: &str, t: &str, ask: &Ask) -> Result<Value, Refusal> {
    let room = readable(state, uid, t, ask)?;
    let mut users: Vec<_> =
        state.members(&room.id).into_iter().filter_map(|member| state.users.get(&member.u.id)).collect();
    users.sort_by(|one, other| one.username.cmp(&other.username));
    let shown = users.into_iter().map(|user| {
        json!({"_id": user.id, "username": user.username, "name": user.name, "status": user.status,
            "statusText": user.status_text, "utcOffset": 0})
    });
    Ok(paged(shown.collect(), "members", ask.page(state, None)))
}

fn user_info(state: &State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let by_id = ask.parameter("userId").and_then(|uid| state.users.get(uid));
    let user = by_id.or_else(|| state.user_named(ask.parameter("username")?));
    let whole = state.may(uid, Permission::ViewFullOtherUserInfo, None);
    match user {
        Some(user) => Ok(json!({"user": shown(state, user, whole || user.id == uid)})),
        None => Err(Refusal::plain("User not found.")),
    }
}

/// One message. A hidden one is answered too, with `_hidden`; one that is gone or may not be read with 400 and no text.
fn get_message(state: &State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    ask.only_parameters(&["msgId"])?;
    let message = state.message(ask.needed_parameter("msgId")?).ok_or(Refusal::Silent)?;
    if !state.can_access(&message.rid, uid) {
        return Err(Refusal::Silent);
    }
    Ok(json!({"message": message}))
}

fn sync(state: &State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let pages = ["type", "next", "previous", "count"];
    if state.version < Version::V7_13 {
        ask.only_parameters(&["roomId", "lastUpdate"])?;
        ask.needed_parameter("lastUpdate")?;
    } else {
        let known: Vec<&str> = ["roomId", "lastUpdate", "fromTs"].into_iter().chain(pages).collect();
        ask.only_parameters(&known)?;
    }
    let rid = ask.needed_parameter("roomId")?;
    let text = |key: &str| ask.parameter(key).filter(|text| !text.is_empty()).map(str::to_owned);
    let asked = SyncAsk {
        last_update: ask.moment("lastUpdate", "error-lastUpdate-param-invalid")?,
        kind: text("type"),
        next: text("next"),
        previous: text("previous"),
        count: text("count").and_then(|count| count.parse().ok()).unwrap_or(SYNC_PAGE),
    };
    if asked.last_update.is_none() && asked.kind.is_none() {
        let reason = "The \"type\" or \"lastUpdate\" parameters must be provided";
        return Err(Refusal::coded("error-param-required", reason));
    }
    Ok(json!({"result": state.sync(uid, rid, &asked)?}))
}

fn deleted(state: &State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let rid = ask.needed_parameter("roomId")?;
    ask.needed_parameter("since")?;
    let since = ask.moment("since", "error-since-param-invalid")?.unwrap_or_default();
    if !state.can_access(rid, uid) {
        return Err(Refusal::Forbidden);
    }
    let gone = state.deleted_since(rid, since).into_iter().map(|gone| json!({"_id": gone.id})).collect();
    Ok(paged(gone, "messages", ask.page(state, None)))
}

fn thread(state: &State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let tmid = ask.needed_parameter("tmid")?;
    let parent = state.message(tmid).filter(|parent| state.can_access(&parent.rid, uid));
    let parent = parent.ok_or_else(|| Refusal::coded("error-invalid-message", "Invalid Message"))?;
    let replies =
        state.messages(&parent.rid).filter(|message| !message.hidden && message.tmid.as_deref() == Some(tmid));
    Ok(paged(replies.map(|message| json!(message)).collect(), "messages", ask.page(state, None)))
}

fn rooms(state: &State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let since = ask.moment("updatedSince", "error-updatedSince-param-invalid")?;
    let mine = state.subscriptions_of(uid).into_iter().filter(|member| member.is_member());
    let update: Vec<&Room> = mine
        .filter_map(|member| state.rooms.get(&member.rid))
        .filter(|room| since.is_none_or(|since| room.updated_at > since))
        .collect();
    Ok(json!({"update": update, "remove": []}))
}

fn room_info(state: &State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let t = ask.parameter("roomId").and_then(|rid| state.rooms.get(rid)).map_or("c", |room| room.t.as_str());
    let room = find(state, ask, t, false)?;
    if !state.can_access(&room.id, uid) {
        return Err(Refusal::plain("not-allowed"));
    }
    Ok(json!({"room": room}))
}

fn subscriptions(state: &State, uid: &str, ask: &Ask) -> Result<Value, Refusal> {
    let since = ask.moment("updatedSince", "error-roomId-param-invalid")?;
    let update: Vec<_> = state
        .subscriptions_of(uid)
        .into_iter()
        .filter(|member| member.is_member() && since.is_none_or(|since| member.updated_at > since))
        .collect();
    let gone = state.deleted_subscriptions.iter().filter(|gone| gone.uid.as_deref() == Some(uid));
    let remove: Vec<Value> = gone
        .filter(|gone| since.is_some_and(|since| gone.deleted_at > since))
        .map(|gone| json!({"_id": gone.id, "_deletedAt": gone.deleted_at}))
        .collect();
    Ok(json!({"update": update, "remove": remove}))
}
