//! What an event says, in one line for people.

use indicatif::HumanBytes;
use rocketmesh_node::api::types::EventView;
use rocketmesh_protocol::event::kind;
use serde_json::Value;

use crate::text::{clean, clock, short_id, short_user};

/// `HH:MM:SS @alice:server text`, safe to print.
pub(crate) fn line(event: &EventView) -> String {
    format!("{} {} {}", clock(event.time_ms), sender(event), describe(event))
}

/// Who sent it: a user, or the server itself where it acts on its own. Safe to print.
pub(crate) fn sender(event: &EventView) -> String {
    let sender = event.sender.as_deref().map_or_else(|| short_id(&event.origin), short_user);
    clean(&sender).into_owned()
}

/// What it says: a message's text as it is, everything else after an asterisk. Safe to print.
pub(crate) fn describe(event: &EventView) -> String {
    let said = match event.kind.as_str() {
        kind::MESSAGE => message(event),
        _ => format!("* {}", act(event)),
    };
    let said = clean(&said);
    match (event.accepted, event.withheld, event.reaches) {
        (false, ..) => format!("[rejected] {said}"),
        (_, true, _) => format!("[withheld] {said}"),
        (.., Some(false)) => format!("[without effect] {said}"),
        _ => said.into_owned(),
    }
}

fn message(event: &EventView) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(link(event, "thread").map(|thread| format!("[thread {}]", short_id(thread))));
    parts.extend(Some(body(event, "text").to_owned()).filter(|text| !text.is_empty() || event.files.is_empty()));
    parts.extend(event.files.iter().map(|file| format!("[file {}, {}]", file.said.name, HumanBytes(file.said.size))));
    parts.join(" ")
}

fn act(event: &EventView) -> String {
    let target = link(event, "target").map_or_else(|| "something".to_owned(), short_id);
    match event.kind.as_str() {
        kind::EDIT if event.by_moderator => format!("edits {target} as a moderator: {}", body(event, "text")),
        kind::EDIT => format!("edits {target}: {}", body(event, "text")),
        kind::REDACT => match optional(event, "reason") {
            Some(reason) => format!("takes back {target}: {reason}"),
            None => format!("takes back {target}"),
        },
        kind::REACT if event.content.get("remove").and_then(Value::as_bool) == Some(true) => {
            format!("takes {} back from {target}", body(event, "emoji"))
        }
        kind::REACT => format!("reacts with {} to {target}", body(event, "emoji")),
        kind::CREATE => match optional(event, "name") {
            Some(name) => format!("makes the room {name}"),
            None => "makes the room".to_owned(),
        },
        kind::NAME => format!("names the room {}", body(event, "name")),
        kind::TOPIC => format!("sets the topic: {}", body(event, "topic")),
        kind::MEMBER => match content(event, "membership") {
            Some("join") => format!("joins{}", on_behalf(event)),
            Some("leave") => format!("leaves{}", on_behalf(event)),
            Some("invite") => format!("invites {}", whom(event)),
            Some("kick") => format!("removes {}", whom(event)),
            Some("ban") => format!("bans {}", whom(event)),
            Some("unban") => format!("lifts the ban of {}", whom(event)),
            other => format!("sets the membership {}{}", other.unwrap_or("?"), on_behalf(event)),
        },
        kind::ROLE => {
            format!("makes {} {}", whom(event), content(event, "role").unwrap_or("?"))
        }
        kind::MUTE if is_on(event) => format!("mutes {}", whom(event)),
        kind::MUTE => format!("lets {} write again", whom(event)),
        kind::DESCRIPTION => format!("describes the room: {}", body(event, "description")),
        kind::ANNOUNCEMENT => format!("announces: {}", body(event, "announcement")),
        kind::JOIN_RULE => format!("sets who may join: {}", content(event, "rule").unwrap_or("?")),
        kind::SERVER => {
            let server = event.state_key.as_deref().map_or_else(|| "a server".to_owned(), short_id);
            format!("sets for {server}: {}", content(event, "rule").unwrap_or("?"))
        }
        kind::READ_ONLY | kind::ANNOUNCEMENT_ONLY | kind::ARCHIVED | kind::LISTED_ONLY => {
            let switch = event.kind.trim_start_matches("room.").replace('_', "-");
            format!("turns {switch} {}", if is_on(event) { "on" } else { "off" })
        }
        kind::MERGE => format!("joins the tips of the {}", event.lane),
        other => match optional(event, "text") {
            Some(text) => format!("{other}: {text}"),
            None => other.to_owned(),
        },
    }
}

/// Whom an event is about that is about a user.
fn whom(event: &EventView) -> String {
    event.state_key.as_deref().map_or_else(|| "somebody".to_owned(), short_user)
}

fn is_on(event: &EventView) -> bool {
    event.content.get("on").and_then(Value::as_bool) == Some(true)
}

/// Whom a member event is about, where that is not its sender.
fn on_behalf(event: &EventView) -> String {
    match &event.state_key {
        Some(user) if event.sender_id.as_ref() != Some(user) => format!(" ({})", short_user(user)),
        _ => String::new(),
    }
}

fn body<'a>(event: &'a EventView, field: &str) -> &'a str {
    let stand_in = match event.body_state.as_str() {
        "missing" => "(not here yet)",
        "erased" => "(taken back)",
        "expired" => "(older than this node keeps)",
        _ => "(nothing)",
    };
    optional(event, field).unwrap_or(stand_in)
}

fn optional<'a>(event: &'a EventView, field: &str) -> Option<&'a str> {
    event.body.get(field)?.as_str()
}

fn content<'a>(event: &'a EventView, field: &str) -> Option<&'a str> {
    event.content.get(field)?.as_str()
}

/// The id that a link in the content points to; DAG-JSON writes a link as `{"/": "bafy…"}`.
fn link<'a>(event: &'a EventView, field: &str) -> Option<&'a str> {
    event.content.get(field)?.get("/")?.as_str()
}

/// An event for tests, called `id`, with everything else as plain as it can be.
#[cfg(test)]
pub(crate) fn example(id: &str, kind: &str) -> EventView {
    EventView {
        id: id.to_owned(),
        room: "room".to_owned(),
        origin: "origin".to_owned(),
        sender: Some("@alice:a.example.org".to_owned()),
        sender_id: Some("@alice:origin".to_owned()),
        kind: kind.to_owned(),
        lane: "timeline".to_owned(),
        seq: 0,
        state_key: None,
        lamport: 0,
        time_ms: 1_700_000_000_000,
        self_parent: None,
        parents: Vec::new(),
        state_frontier: Vec::new(),
        content: Value::Null,
        body: Value::Null,
        body_state: "none".to_owned(),
        late: false,
        accepted: true,
        withheld: false,
        by_moderator: false,
        reaches: None,
        bytes: 200,
        files: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use rocketmesh_node::api::types::{FileView, MessageFile};
    use serde_json::json;

    use super::*;

    fn event(kind: &str, content: Value, body: Value) -> EventView {
        let body_state = "present".to_owned();
        EventView { content, body, body_state, ..example("e", kind) }
    }

    #[test]
    fn a_message_is_a_time_a_sender_and_a_text() {
        let event = event("message", Value::Null, json!({"text": "Hello"}));
        assert_eq!(line(&event), "22:13:20 @alice:a.example.org Hello");
    }

    #[test]
    fn a_message_names_its_files_behind_its_text() {
        let said = MessageFile {
            file: "bafkr4i".to_owned(),
            size: 2048,
            name: "a\u{1b}.png".to_owned(),
            media_type: "image/png".to_owned(),
            width: None,
            height: None,
        };
        let mut event = event("message", Value::Null, json!({"text": "look"}));
        event.files = vec![FileView { said, state: "here".to_owned(), here: 2048 }];
        assert_eq!(describe(&event), "look [file a␛.png, 2.00 KiB]");
        event.body = json!({"text": ""});
        assert_eq!(describe(&event), "[file a␛.png, 2.00 KiB]");
    }

    #[test]
    fn a_message_cannot_forge_a_second_line_or_move_the_cursor() {
        let mut forged = event("message", Value::Null, json!({"text": "x\n22:13:21 @bob:b yes\u{1b}[1A"}));
        forged.sender = Some("@al\nice:a".to_owned());
        assert!(!line(&forged).contains(|c: char| c.is_control()), "{}", line(&forged));
    }

    #[test]
    fn what_is_no_message_says_what_it_does() {
        let target = json!({"target": {"/": "bafyr4iaaaaaaaaaaaaaaaaaaa"}});
        let react = event("react", target.clone(), json!({"emoji": ":rocket:"}));
        assert_eq!(describe(&react), "* reacts with :rocket: to bafyr4i…aaaaaaa");
        assert_eq!(describe(&event("redact", target, Value::Null)), "* takes back bafyr4i…aaaaaaa");
        let mut join = event("room.member", json!({"membership": "join"}), Value::Null);
        join.state_key = Some("@alice:origin".to_owned());
        assert_eq!(describe(&join), "* joins");
        join.state_key = Some("@bob:origin".to_owned());
        assert_eq!(describe(&join), "* joins (@bob:origin)");
        assert_eq!(describe(&event("org.example.poll", json!(1), json!([]))), "* org.example.poll");
    }

    #[test]
    fn what_is_rejected_or_still_missing_is_said_to_be_so() {
        let mut event = event("message", Value::Null, Value::Null);
        event.body_state = "missing".to_owned();
        event.accepted = false;
        assert_eq!(describe(&event), "[rejected] (not here yet)");
    }
}
