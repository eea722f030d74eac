//! What the tests share: a stand-in, and somebody who listens over DDP.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::VecDeque;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rocketmesh_standin::{Options, Standin, Version};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Nothing here takes this long unless it is broken; it only keeps a failing test from hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub async fn start() -> Standin {
    Standin::start(Options::default()).await.unwrap()
}

pub async fn start_like(version: Version) -> Standin {
    Standin::start(Options { version, ..Options::default() }).await.unwrap()
}

/// A connection over DDP.
pub struct Listener {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    heard: VecDeque<Value>,
    /// Whether it answers the server's pings.
    pub answers: bool,
}

impl Listener {
    /// Connects, without logging in.
    pub async fn connect(standin: &Standin) -> Self {
        let url = format!("ws://{}/websocket", standin.address());
        let (socket, _) = connect_async(url).await.unwrap();
        let mut listener = Listener { socket, next: 0, heard: VecDeque::new(), answers: true };
        listener.say(json!({"msg": "connect", "version": "1", "support": ["1", "pre2", "pre1"]})).await;
        listener.until("connected", |frame| frame["msg"] == "connected").await;
        listener
    }

    /// Connects and logs in by token.
    pub async fn log_in(standin: &Standin, token: &str) -> Self {
        let mut listener = Listener::connect(standin).await;
        let result = listener.call("login", json!([{"resume": token}])).await;
        assert!(result["error"].is_null(), "{result}");
        listener
    }

    pub async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Calls a method, and gives its `result` frame.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next.to_string();
        self.say(json!({"msg": "method", "method": method, "id": id, "params": params})).await;
        self.until("a result", |frame| frame["msg"] == "result" && frame["id"] == id.as_str()).await
    }

    /// Subscribes to an event of a stream, and gives `ready` or `nosub`.
    pub async fn listen(&mut self, stream: &str, event: &str) -> Value {
        self.next += 1;
        let id = format!("s{}", self.next);
        let params = json!([event, {"useCollection": false, "args": []}]);
        self.say(json!({"msg": "sub", "id": id, "name": stream, "params": params})).await;
        let meant = |frame: &Value| frame["subs"][0] == id.as_str() || frame["id"] == id.as_str();
        self.until("an answer to a subscription", |frame| {
            ["ready", "nosub"].iter().any(|msg| frame["msg"] == *msg) && meant(frame)
        })
        .await
    }

    pub async fn listen_to_messages(&mut self) {
        let answer = self.listen("stream-room-messages", "__my_messages__").await;
        assert_eq!(answer["msg"], "ready", "{answer}");
    }

    /// Waits for a message that is told, and gives its arguments.
    pub async fn message(&mut self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let meant =
            |frame: &Value| frame["fields"]["eventName"] == "__my_messages__" && condition(&frame["fields"]["args"][0]);
        let frame = self.until(what, meant).await;
        frame["fields"]["args"].clone()
    }

    /// Waits for an event of a stream, and gives its arguments.
    pub async fn event(&mut self, stream: &str, event: &str) -> Value {
        let meant = |frame: &Value| frame["collection"] == stream && frame["fields"]["eventName"] == event;
        let frame = self.until(event, meant).await;
        frame["fields"]["args"].clone()
    }

    /// Waits for a frame. What comes before it stays to be waited for.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.heard.iter().position(&condition) {
                return self.heard.remove(at).unwrap();
            }
            let frame = timeout(PATIENCE, self.hear()).await;
            let frame = frame.unwrap_or_else(|_| panic!("in vain: {what}; heard {:?}", self.heard));
            let frame = frame.unwrap_or_else(|| panic!("closed before {what}; heard {:?}", self.heard));
            self.heard.push_back(frame);
        }
    }

    /// Whether nothing like it was heard so far. It says something only after an event was waited for that would have come
    /// later: what streams tell comes in order.
    pub fn heard_nothing(&self, condition: impl Fn(&Value) -> bool) -> bool {
        !self.heard.iter().any(condition)
    }

    /// Waits until the server closes the connection.
    pub async fn closed(&mut self) {
        timeout(PATIENCE, async { while self.hear().await.is_some() {} }).await.unwrap();
    }

    async fn hear(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(text.as_str()).unwrap();
                    if frame["msg"] == "ping" && self.answers {
                        self.say(json!({"msg": "pong"})).await;
                    }
                    return Some(frame);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }
}
