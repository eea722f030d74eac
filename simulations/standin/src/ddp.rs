//! DDP over a websocket, as Meteor speaks it: a task for each connection.
//!
//! ```text
//!  socket ──text──► session ──► rules, subscriptions ──► replies ──► socket
//!                                  connections ──frames──────────────► socket
//! ```
//!
//! A connection that says nothing is asked once whether it is there (`ping`), and closed when it stays silent.

pub(crate) mod connections;
mod session;

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::ddp::connections::Frame;
use crate::ddp::session::Session;
use crate::rest::gone;
use crate::server::Server;

/// The largest frame that is read.
const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// The most frames that wait for one connection. Who reads so slowly is cut off, and catches up when they come again.
const MAX_WAITING: usize = 8192;

/// Accepts a websocket.
pub(crate) async fn connect(Shared(server): Shared<Arc<Server>>, upgrade: WebSocketUpgrade) -> Response {
    if server.is_away() {
        return gone();
    }
    upgrade.max_message_size(MAX_FRAME_BYTES).on_upgrade(move |socket| serve(server, socket))
}

async fn serve(server: Arc<Server>, mut socket: WebSocket) {
    let (frames, mut outgoing) = mpsc::channel(MAX_WAITING);
    let closing = Arc::new(Notify::new());
    let id = server.connections.open(frames, Arc::clone(&closing));
    tokio::select! {
        () = talk(&server, &mut socket, &mut outgoing, id) => {}
        () = closing.notified() => {}
    }
    server.connections.close(id);
}

/// Talks until either side ends it.
async fn talk(server: &Server, socket: &mut WebSocket, outgoing: &mut mpsc::Receiver<Frame>, id: u64) {
    let silence = server.manner.silence;
    let mut session = Session::new(id);
    let mut late: VecDeque<Frame> = VecDeque::new();
    let mut heard = Instant::now();
    let mut asked = false;
    if send(socket, &json!({"server_id": "0"})).await.is_err() {
        return;
    }
    loop {
        let patience = if asked { silence * 2 } else { silence };
        let due = late.front().map(|frame| frame.due);
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => {
                    heard = Instant::now();
                    asked = false;
                    for reply in session.hear(server, text.as_str()) {
                        if send(socket, &reply).await.is_err() {
                            return;
                        }
                    }
                    if session.is_over() {
                        return;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            frame = outgoing.recv(), if late.len() < MAX_WAITING => match frame {
                Some(frame) => late.push_back(frame),
                None => return,
            },
            () = sleep_until(due.unwrap_or(heard)), if due.is_some() => {
                if let Some(frame) = late.pop_front()
                    && socket.send(Message::text(frame.text)).await.is_err()
                {
                    return;
                }
            }
            () = sleep_until(heard + patience) => {
                if asked || send(socket, &json!({"msg": "ping"})).await.is_err() {
                    let _ = socket.send(Message::Close(None)).await;
                    return;
                }
                asked = true;
            }
        }
    }
}

async fn send(socket: &mut WebSocket, frame: &Value) -> Result<(), axum::Error> {
    socket.send(Message::text(frame.to_string())).await
}
