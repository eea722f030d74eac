//! What one connection says, and what it is answered.

use serde_json::{Value, json};

use crate::ddp::connections::MY_MESSAGES;
use crate::id;
use crate::limits::{DDP_CONNECTION, DDP_METHOD, DDP_STREAM, DDP_USER};
use crate::refusal::Refusal;
use crate::rules::messages::Draft;
use crate::server::Server;
use crate::state::{Event, State};

/// The version of DDP that is spoken.
const VERSION: &str = "1";

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    connected: bool,
    over: bool,
    uid: Option<String>,
}

impl Session {
    pub(super) fn new(id: u64) -> Self {
        Session { id, connected: false, over: false, uid: None }
    }

    /// Whether the connection is to be closed.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Answers a frame.
    pub(super) fn hear(&mut self, server: &Server, text: &str) -> Vec<Value> {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            return vec![json!({"msg": "error", "reason": "Parse error"})];
        };
        let text = |key: &str| frame.get(key).and_then(Value::as_str);
        match text("msg") {
            Some("ping") => match frame.get("id") {
                Some(id) => vec![json!({"msg": "pong", "id": id})],
                None => vec![json!({"msg": "pong"})],
            },
            Some("pong") => Vec::new(),
            Some("connect") if text("version") == Some(VERSION) => {
                self.connected = true;
                vec![json!({"msg": "connected", "session": id::id()})]
            }
            Some("connect") => {
                self.over = true;
                vec![json!({"msg": "failed", "version": VERSION})]
            }
            _ if !self.connected => {
                vec![json!({"msg": "error", "reason": "Must connect first", "offendingMessage": frame})]
            }
            Some("sub") => self.subscribe(server, &frame).into_iter().collect(),
            Some("unsub") => {
                let id = text("id").unwrap_or_default();
                server.connections.unsubscribe(self.id, id);
                vec![json!({"msg": "nosub", "id": id})]
            }
            Some("method") => self.method(server, &frame),
            _ => vec![json!({"msg": "error", "reason": "Unknown message type", "offendingMessage": frame})],
        }
    }

    /// The answer to a subscription; none while it waits.
    fn subscribe(&self, server: &Server, frame: &Value) -> Option<Value> {
        let text = |key: &str| frame.get(key).and_then(Value::as_str).unwrap_or_default();
        let (id, name) = (text("id"), text("name"));
        let event = frame["params"][0].as_str().unwrap_or_default();
        let allowed = self.count(server, name).and_then(|()| server.read(|state| self.may_listen(state, name, event)));
        match allowed {
            Ok(()) => {
                let (sub, name, event) = (id.to_owned(), name.to_owned(), event.to_owned());
                let answered = server.connections.subscribe(self.id, sub, name, event);
                answered.then(|| json!({"msg": "ready", "subs": [id]}))
            }
            Err(refusal) => Some(json!({"msg": "nosub", "id": id, "error": refusal.ddp()})),
        }
    }

    /// Whether an event may be listened to, as it is when the subscription is made. Who leaves a room afterwards goes on
    /// hearing its `stream-notify-room`.
    fn may_listen(&self, state: &State, stream: &str, event: &str) -> Result<(), Refusal> {
        if event.is_empty() {
            return Err(Refusal::coded("invalid-event-name", ""));
        }
        let uid = self.uid.as_deref();
        let room = event.split('/').next().unwrap_or_default();
        let may = match stream {
            "stream-room-messages" => event == MY_MESSAGES || uid.is_some_and(|uid| state.can_access(event, uid)),
            "stream-notify-room" => uid.is_some_and(|uid| state.member(room, uid).is_some()),
            "stream-notify-user" => uid == Some(room),
            "stream-notify-logged" | "stream-roles" | "stream-user-presence" => uid.is_some(),
            "stream-notify-all" => true,
            _ => return Err(Refusal::Unknown),
        };
        if may { Ok(()) } else { Err(Refusal::coded("not-allowed", "")) }
    }

    fn method(&mut self, server: &Server, frame: &Value) -> Vec<Value> {
        let id = frame.get("id").cloned().unwrap_or_default();
        let name = frame.get("method").and_then(Value::as_str).unwrap_or_default();
        let none = Vec::new();
        let params = frame.get("params").and_then(Value::as_array).unwrap_or(&none);
        let mut replies = Vec::new();
        let outcome = self.count(server, name).and_then(|()| match name {
            "login" => self.log_in(server, params.first().unwrap_or(&Value::Null), &mut replies),
            "logout" => {
                self.uid = None;
                server.connections.log_in(self.id, None);
                Ok(None)
            }
            "sendMessage" => self.send(server, params.first().unwrap_or(&Value::Null)),
            "stream-notify-room" => self.notify_room(server, params),
            _ => Err(Refusal::Unknown),
        });
        replies.push(match outcome {
            Ok(Some(result)) => json!({"msg": "result", "id": id, "result": result}),
            Ok(None) => json!({"msg": "result", "id": id}),
            Err(refusal) => json!({"msg": "result", "id": id, "error": refusal.ddp()}),
        });
        replies.push(json!({"msg": "updated", "methods": [id]}));
        replies
    }

    /// Logs in by token or password. A personal access token has no end, which comes over the wire as a date that is none:
    /// `{"$date": null}`.
    fn log_in(&mut self, server: &Server, with: &Value, replies: &mut Vec<Value>) -> Result<Option<Value>, Refusal> {
        let (uid, token, expires, kind) = server.act(|state| {
            if let Some(token) = with["resume"].as_str() {
                let (user, held) = state.holder(token, None).ok_or(Refusal::LoggedOut)?;
                return Ok((user.id.clone(), token.to_owned(), held.expires, "resume"));
            }
            let user = &with["user"];
            let login = user["username"].as_str().or(user["email"].as_str()).unwrap_or_default();
            let password = &with["password"];
            let digest = match (password.as_str(), password["digest"].as_str()) {
                (Some(password), _) => id::sha256(password.as_bytes()),
                (None, digest) => digest.unwrap_or_default().to_owned(),
            };
            let uid = state.by_password(login, &digest)?.id.clone();
            let (token, expires) = state.log_in(&uid);
            Ok((uid, token, Some(expires), "password"))
        })?;
        self.uid = Some(uid.clone());
        server.connections.log_in(self.id, Some(uid.clone()));
        let fields = server.read(|state| {
            state.users.get(&uid).map(|user| {
                let emails = json!([{"address": user.email, "verified": user.verified}]);
                json!({"username": user.username, "name": user.name, "emails": emails, "roles": user.roles})
            })
        });
        replies.push(json!({"msg": "added", "collection": "users", "id": uid, "fields": fields}));
        let expires = expires.map(|expires| expires.0);
        Ok(Some(json!({"id": uid, "token": token, "tokenExpires": {"$date": expires}, "type": kind})))
    }

    /// The method `sendMessage`. Of refusals it tells two; after any other it answers as if nothing had been asked.
    fn send(&self, server: &Server, message: &Value) -> Result<Option<Value>, Refusal> {
        let uid = self.uid.clone().ok_or_else(|| Refusal::coded("error-invalid-user", "Invalid user"))?;
        let sent = server.act(|state| {
            state.unrestricted()?;
            state.send(&uid, Draft::read(message))
        });
        match sent {
            Ok(message) => Ok(message.map(|message| json!(message))),
            Err(Refusal::Plain(text)) if text == "restricted-workspace" => {
                Err(Refusal::coded("restricted-workspace", ""))
            }
            Err(Refusal::Plain(text)) if text == "error-not-allowed" => Err(Refusal::coded("error-not-allowed", "")),
            Err(Refusal::Coded { code: "error-not-allowed", reason, details }) => {
                Err(Refusal::Coded { code: "error-not-allowed", reason, details })
            }
            Err(_) => Ok(None),
        }
    }

    /// What clients tell each other through the server: that somebody types. Nobody asks whether they are in the room; only
    /// the name must be their own.
    fn notify_room(&self, server: &Server, params: &[Value]) -> Result<Option<Value>, Refusal> {
        let event = params.first().and_then(Value::as_str).unwrap_or_default();
        let Some((rid, "user-activity")) = event.split_once('/') else { return Ok(None) };
        let rid = rid.to_owned();
        server.act(|state| {
            let own = self.uid.as_ref().and_then(|uid| state.users.get(uid)).map(|user| user.username.as_str());
            if own.is_some() && own == params.get(1).and_then(Value::as_str) {
                let args = params.iter().skip(1).cloned().collect();
                state.tell(Event::Room { rid, name: "user-activity", args, origin: Some(self.id) });
            }
            Ok(None)
        })
    }

    /// Counts a method or a subscription under every limit that it falls under.
    fn count(&self, server: &Server, name: &str) -> Result<(), Refusal> {
        let each = if name.starts_with("stream-") { DDP_STREAM } else { DDP_METHOD };
        let mut counts = vec![
            server.count("ddp/connection", DDP_CONNECTION, &self.id.to_string()),
            server.count(&format!("ddp/method/{}", each.calls), each, &format!("{}/{name}", self.id)),
        ];
        if let Some(uid) = &self.uid {
            counts.push(server.count("ddp/user", DDP_USER, uid));
        }
        match counts.into_iter().flatten().find(|count| !count.allowed) {
            Some(count) => Err(Refusal::TooMany { ms: count.reset_ms }),
            None => Ok(()),
        }
    }
}
