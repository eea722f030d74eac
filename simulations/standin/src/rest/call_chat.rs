//! `chat.*` and webhooks: what is done with messages.

use serde_json::{Value, json};

use crate::moment::Moment;
use crate::refusal::Refusal;
use crate::rest::Caller;
use crate::rest::ask::Ask;
use crate::rules::messages::Draft;
use crate::state::State;
use crate::version::Version;

/// What a server answers that has stored nothing because it knows the id: it trips over the message that is not there.
const STUMBLED: &str = "Cannot read properties of undefined (reading 'starred')";

/// Answers the calls of this file.
pub(super) fn post(state: &mut State, caller: &Caller, parts: &[&str], ask: &Ask) -> Option<Result<Value, Refusal>> {
    Some(match parts {
        ["chat.sendMessage"] => send(state, caller, ask),
        ["chat.postMessage"] => post_message(state, caller, ask),
        ["chat.update"] => update(state, caller, ask),
        ["chat.delete"] => delete(state, caller, ask),
        ["chat.react"] => react(state, caller, ask),
        _ => return None,
    })
}

fn send(state: &mut State, caller: &Caller, ask: &Ask) -> Result<Value, Refusal> {
    ask.only(&["message", "previewUrls"])?;
    let message = ask.body.get("message").filter(|message| message.is_object());
    let message = message.ok_or_else(|| Refusal::params("must have required property 'message'"))?;
    let draft = Draft::read(message);
    if draft.t.as_deref().is_some_and(|t| t != "e2e") {
        return Err(Refusal::plain("Cannot send system messages using 'chat.sendMessage'"));
    }
    state.unrestricted()?;
    let sent = state.send(&caller.uid, draft)?.ok_or_else(|| Refusal::plain(STUMBLED))?;
    Ok(json!({"message": sent}))
}

fn post_message(state: &mut State, caller: &Caller, ask: &Ask) -> Result<Value, Refusal> {
    let mut known = vec!["text", "alias", "emoji", "avatar", "attachments", "customFields"];
    let by_room = ask.body.get("roomId").is_some();
    known.push(if by_room { "roomId" } else { "channel" });
    // 7.0 knows a thread only together with `channel`, and no choice about links.
    if !by_room || state.version > Version::V7_0 {
        known.extend(["tmid", "parseUrls"]);
    }
    ask.only(&known)?;
    let target = ask.body.get(if by_room { "roomId" } else { "channel" }).cloned().unwrap_or_default();
    let targets: Vec<String> = match target {
        Value::String(target) => vec![target],
        Value::Array(targets) => targets.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => return Err(Refusal::params("must match exactly one schema in oneOf")),
    };
    if state.short_enough(ask.text("text").unwrap_or_default()).is_err() {
        return Err(Refusal::plain("error-message-size-exceeded"));
    }
    state.unrestricted()?;
    let mut first = None;
    for target in targets {
        let rid = find_target(state, &caller.uid, &target)?;
        state.can_send(&caller.uid, &rid)?;
        let draft = webhook_draft(&ask.body, &rid);
        let sent = state.store(&caller.uid, &rid, draft)?;
        first = first.or(sent.map(|message| (target, message)));
    }
    let (channel, message) = first.ok_or_else(|| Refusal::plain("unknown-error"))?;
    Ok(json!({"ts": Moment::now().0, "channel": channel, "message": message}))
}

/// A room by `#name`, `@username`, id or name. Whoever is not in a public channel joins it.
fn find_target(state: &mut State, uid: &str, target: &str) -> Result<String, Refusal> {
    if let Some(username) = target.strip_prefix('@') {
        let known = state.user_named(username).is_some();
        if !known {
            return Err(Refusal::coded("invalid-channel", ""));
        }
        return Ok(state.create_direct(uid, &[username.to_owned()], false)?.rid);
    }
    let name = target.strip_prefix('#').unwrap_or(target);
    let room = state.rooms.get(name).or_else(|| state.room_named(name));
    let rid = match room {
        Some(room) => room.id.clone(),
        None if state.users.contains_key(name) => {
            let username = state.users.get(name).map(|user| user.username.clone()).unwrap_or_default();
            return Ok(state.create_direct(uid, &[username], false)?.rid);
        }
        None => return Err(Refusal::coded("invalid-channel", "")),
    };
    let public = state.rooms.get(&rid).is_some_and(|room| room.t == "c");
    if public && state.member(&rid, uid).is_none() {
        state.join(uid, &rid)?;
    }
    Ok(rid)
}

fn webhook_draft(body: &Value, rid: &str) -> Draft {
    let text = |keys: &[&str]| {
        let found = keys.iter().find_map(|key| body.get(*key).and_then(Value::as_str));
        found.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    Draft {
        rid: Some(rid.to_owned()),
        msg: text(&["text", "msg"]).unwrap_or_default().trim().to_owned(),
        alias: text(&["username", "alias"]),
        avatar: text(&["icon_url", "avatar"]),
        emoji: text(&["icon_emoji", "emoji"]),
        groupable: Some(false),
        tmid: text(&["tmid"]),
        attachments: body.get("attachments").and_then(Value::as_array).cloned(),
        custom_fields: body.get("customFields").filter(|fields| fields.is_object()).cloned(),
        ..Draft::default()
    }
}

/// An incoming webhook speaks as its user. A restricted workspace does not stop it.
pub(super) fn webhook(state: &mut State, id: &str, token: &str, body: &Value) -> Result<(), Refusal> {
    let hook = state.webhooks.get(id).filter(|hook| hook.token == token).cloned();
    let hook = hook.ok_or_else(|| Refusal::plain("Invalid integration id or token provided."))?;
    let user = state.user_named(&hook.username).map(|user| user.id.clone());
    let uid = user.ok_or_else(|| Refusal::coded("error-invalid-user", "Invalid user"))?;
    let target = ["channel", "roomId"].into_iter().find_map(|key| body.get(key).and_then(Value::as_str));
    let rid = find_target(state, &uid, target.unwrap_or(&hook.channel))?;
    state.can_send(&uid, &rid)?;
    state.store(&uid, &rid, webhook_draft(body, &rid))?;
    Ok(())
}

/// The message that is meant must be in the room that is named.
fn in_room(state: &State, ask: &Ask) -> Result<String, Refusal> {
    let (id, rid) = (ask.needed("msgId")?, ask.needed("roomId")?);
    match state.message(id) {
        None => Err(Refusal::plain(format!("No message found with the id of \"{id}\"."))),
        Some(message) if message.rid != rid => {
            Err(Refusal::plain("The room id provided does not match where the message is from."))
        }
        Some(message) => Ok(message.id.clone()),
    }
}

fn update(state: &mut State, caller: &Caller, ask: &Ask) -> Result<Value, Refusal> {
    ask.only(&["roomId", "msgId", "text", "previewUrls", "customFields"])?;
    let text = ask.needed("text")?;
    let id = in_room(state, ask)?;
    state.unrestricted()?;
    let custom_fields = ask.body.get("customFields").filter(|fields| fields.is_object()).cloned();
    state.edit(&caller.uid, &id, text, custom_fields)?;
    Ok(json!({"message": state.message(&id)}))
}

fn delete(state: &mut State, caller: &Caller, ask: &Ask) -> Result<Value, Refusal> {
    ask.only(&["roomId", "msgId", "asUser"])?;
    let id = in_room(state, ask)?;
    let Some(message) = state.message(&id).cloned() else { return Err(Refusal::Silent) };
    state.delete(&caller.uid, &id)?;
    let deleted = json!({"_id": message.id, "rid": message.rid, "u": message.u});
    Ok(json!({"_id": message.id, "ts": state.now().0.to_string(), "message": deleted}))
}

fn react(state: &mut State, caller: &Caller, ask: &Ask) -> Result<Value, Refusal> {
    ask.only(&["emoji", "reaction", "messageId", "shouldReact"])?;
    let id = ask.needed("messageId")?;
    if state.message(id).is_none() {
        let reason = "The provided \"messageId\" does not match any existing message.";
        return Err(Refusal::coded("error-message-not-found", reason));
    }
    let emoji = ask.text("emoji").or(ask.text("reaction")).filter(|emoji| !emoji.is_empty());
    let missing = || Refusal::coded("error-emoji-param-not-provided", "The required \"emoji\" param is missing.");
    state.react(&caller.uid, id, emoji.ok_or_else(missing)?, ask.choice("shouldReact"))?;
    Ok(json!({}))
}
