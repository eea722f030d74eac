//! Who is connected, what they listen to, and what they are told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::state::{Event, State};

/// All messages of all rooms that somebody may read, as one event of `stream-room-messages`.
pub(crate) const MY_MESSAGES: &str = "__my_messages__";

/// A text for one connection, and when it is to be sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) due: Instant,
    pub(crate) text: String,
}

#[derive(Debug)]
struct Connection {
    uid: Option<String>,
    /// Stream and event of each subscription, by its id.
    subscriptions: BTreeMap<String, (String, String)>,
    /// Subscriptions that are not answered yet: id, stream and event.
    waiting: Vec<(String, String, String)>,
    frames: mpsc::Sender<Frame>,
    closing: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Connection>,
    delay: Duration,
    /// Whether subscriptions of what happens in a room wait.
    holds: bool,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<Open>,
}

impl Connections {
    fn held(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, and gives its number.
    pub(crate) fn open(&self, frames: mpsc::Sender<Frame>, closing: Arc<Notify>) -> u64 {
        let mut open = self.held();
        open.next += 1;
        let id = open.next;
        open.connections
            .insert(id, Connection { uid: None, subscriptions: BTreeMap::new(), waiting: Vec::new(), frames, closing });
        id
    }

    pub(crate) fn close(&self, id: u64) {
        self.held().connections.remove(&id);
    }

    /// Closes every connection, without a word.
    pub(crate) fn close_all(&self) {
        for connection in self.held().connections.values() {
            connection.closing.notify_one();
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.held().connections.len()
    }

    /// Holds back what is told from now on for so long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.held().delay = delay;
    }

    pub(crate) fn log_in(&self, id: u64, uid: Option<String>) {
        if let Some(connection) = self.held().connections.get_mut(&id) {
            connection.uid = uid;
        }
    }

    /// Adds a subscription. False if it waits, so that it is not to be answered yet.
    pub(crate) fn subscribe(&self, id: u64, subscription: String, stream: String, event: String) -> bool {
        let mut open = self.held();
        let waits = open.holds && stream == "stream-notify-room";
        if let Some(connection) = open.connections.get_mut(&id) {
            if waits {
                connection.waiting.push((subscription, stream, event));
            } else {
                connection.subscriptions.insert(subscription, (stream, event));
            }
        }
        !waits
    }

    /// Has subscriptions of what happens in a room wait from now on, or answers those that do.
    pub(crate) fn hold(&self, holds: bool) {
        let mut open = self.held();
        open.holds = holds;
        for connection in open.connections.values_mut().filter(|_| !holds) {
            for (id, stream, event) in std::mem::take(&mut connection.waiting) {
                let text = json!({"msg": "ready", "subs": [id]}).to_string();
                connection.subscriptions.insert(id, (stream, event));
                // Who reads so slowly is cut off by what is told next.
                let _ = connection.frames.try_send(Frame { due: Instant::now(), text });
            }
        }
    }

    pub(crate) fn unsubscribe(&self, id: u64, subscription: &str) {
        if let Some(connection) = self.held().connections.get_mut(&id) {
            connection.subscriptions.remove(subscription);
            connection.waiting.retain(|(id, _, _)| id != subscription);
        }
    }

    /// Tells events to whoever listens, in order.
    pub(crate) fn tell(&self, state: &State, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let mut open = self.held();
        let due = Instant::now() + open.delay;
        let mut slow = Vec::new();
        for event in events {
            for (id, connection) in &open.connections {
                for (stream, name, args) in connection.heard(state, event, *id) {
                    let fields = json!({"eventName": name, "args": args});
                    let text =
                        json!({"msg": "changed", "collection": stream, "id": "id", "fields": fields}).to_string();
                    if connection.frames.try_send(Frame { due, text }).is_err() {
                        slow.push(*id);
                    }
                }
                if let Event::LoggedOut { uid } = event
                    && connection.uid.as_deref() == Some(uid.as_str())
                {
                    connection.closing.notify_one();
                }
            }
        }
        for id in slow {
            if let Some(connection) = open.connections.remove(&id) {
                connection.closing.notify_one();
            }
        }
    }
}

impl Connection {
    /// What a connection is told of an event: once for each subscription that is meant.
    fn heard(&self, state: &State, event: &Event, id: u64) -> Vec<(&'static str, String, Vec<Value>)> {
        let listens = |stream: &str, name: &str| {
            self.subscriptions.values().filter(|(of, event)| of == stream && event == name).count()
        };
        let mut told = Vec::new();
        let mut tell = |stream: &'static str, name: String, args: &dyn Fn() -> Vec<Value>| {
            for _ in 0..listens(stream, &name) {
                told.push((stream, name.clone(), args()));
            }
        };
        let mine = |name: &str| self.uid.as_ref().map(|uid| format!("{uid}/{name}"));
        match event {
            Event::Message(message) => {
                tell("stream-room-messages", message.rid.clone(), &|| vec![json!(message)]);
                let uid = self.uid.as_deref().unwrap_or_default();
                if let Some(room) = state.rooms.get(&message.rid).filter(|room| state.can_access(&room.id, uid)) {
                    let participant = state.member(&room.id, uid).is_some();
                    let mut about = json!({"roomParticipant": participant, "roomType": room.t});
                    if let Some(name) = &room.name {
                        about["roomName"] = json!(name);
                    }
                    let args = || vec![json!(message), about.clone()];
                    tell("stream-room-messages", MY_MESSAGES.to_owned(), &args);
                }
            }
            Event::Room { rid, name, args, origin } if *origin != Some(id) => {
                tell("stream-notify-room", format!("{rid}/{name}"), &|| args.clone());
            }
            Event::Room { .. } | Event::LoggedOut { .. } => {}
            Event::Logged { name, args } => tell("stream-notify-logged", (*name).to_owned(), &|| args.clone()),
            Event::Subscription { action, subscription } if self.uid.as_ref() == Some(&subscription.u.id) => {
                if let Some(name) = mine("subscriptions-changed") {
                    tell("stream-notify-user", name, &|| vec![json!(action), json!(subscription)]);
                }
                let room = state.rooms.get(&subscription.rid).filter(|_| *action == "inserted");
                if let (Some(name), Some(room)) = (mine("rooms-changed"), room) {
                    tell("stream-notify-user", name, &|| vec![json!("inserted"), json!(room)]);
                }
            }
            Event::Subscription { .. } => {}
            Event::RoomChanged { action, room, former } => {
                let uid = self.uid.as_deref().unwrap_or_default();
                let concerned = state.member(&room.id, uid).is_some() || former.iter().any(|other| other == uid);
                if let Some(name) = mine("rooms-changed").filter(|_| concerned) {
                    tell("stream-notify-user", name, &|| vec![json!(action), json!(room)]);
                }
            }
        }
        told
    }
}
