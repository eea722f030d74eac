//! One connection: from the first frame to its end.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reqwest::Url;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message as Ws;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::frames::{self, Frame};
use super::pace::Pace;
use super::streams::{OF_ROOM, Streams};
use super::{ClosedReason, RealtimeEvent, RealtimeTuning, Watched, Watching, websocket_address};
use crate::rocketchat::client::Account;

/// The largest frame that is read: the largest message with the attachments that a server takes stays below. A larger one ends
/// the connection, and what was in it is found when catching up.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;
/// How long a frame may take to go out.
const SEND: Duration = Duration::from_secs(10);

/// How a connection ended.
pub(super) enum Ended {
    /// For this reason.
    Closed(ClosedReason),
    /// Nobody listens any more.
    Unwanted,
}

/// A connection that is logged in.
pub(super) struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    tuning: RealtimeTuning,
    heard: Instant,
    asked: bool,
    numbers: u64,
    /// The streams of rooms, and at which pace they are opened.
    streams: Streams,
    pace: Pace,
}

impl Session {
    /// Connects, and logs in.
    pub(super) async fn log_in(base: &Url, account: &Account, tuning: RealtimeTuning) -> Result<Self, ClosedReason> {
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_FRAME_BYTES)).max_frame_size(Some(MAX_FRAME_BYTES));
        let connected = connect_async_with_config(websocket_address(base)?, Some(config), true).await;
        let (socket, _) = connected.map_err(|error| ClosedReason::Unreachable(error.to_string()))?;
        let mut session = Session {
            socket,
            tuning,
            heard: Instant::now(),
            asked: false,
            numbers: 0,
            streams: Streams::default(),
            pace: Pace::new(tuning.subscriptions, tuning.window),
        };
        session.say(&frames::connect()).await?;
        session.wait_for(|frame| (frame.msg.as_deref() == Some("connected")).then_some(Ok(()))).await?;
        session.say(&frames::login("login", &account.token)).await?;
        session
            .wait_for(|frame| {
                let answers = frame.msg.as_deref() == Some("result") && is(frame, "login");
                answers.then(|| match &frame.error {
                    Some(error) if frames::is_limit(error) => Err(ClosedReason::RateLimited),
                    Some(_) => Err(ClosedReason::Unauthorized),
                    None => Ok(()),
                })
            })
            .await?;
        Ok(session)
    }

    /// Connects, logs in, and hears the messages of all rooms.
    pub(super) async fn open(base: &Url, account: &Account, tuning: RealtimeTuning) -> Result<Self, ClosedReason> {
        let mut session = Self::log_in(base, account, tuning).await?;
        let user = &account.user_id;
        for (id, stream, event) in [
            ("subscriptions", frames::NOTIFY_USER, format!("{user}/subscriptions-changed")),
            ("rooms", frames::NOTIFY_USER, format!("{user}/rooms-changed")),
            ("status", frames::NOTIFY_LOGGED, "user-status".to_owned()),
            ("names", frames::NOTIFY_LOGGED, "Users:NameChanged".to_owned()),
            ("deleted", frames::NOTIFY_LOGGED, "Users:Deleted".to_owned()),
            ("avatars", frames::NOTIFY_LOGGED, "updateAvatar".to_owned()),
            ("messages", frames::ROOM_MESSAGES, frames::MY_MESSAGES.to_owned()),
        ] {
            session.say(&frames::subscribe(id, stream, &event)).await?;
        }
        // What is told before this is caught up on.
        session
            .wait_for(|frame| match frame.msg.as_deref() {
                Some("ready") if frame.subs.iter().any(|id| id == "messages") => Some(Ok(())),
                Some("nosub") if is(frame, "messages") => Some(Err(match &frame.error {
                    Some(error) if frames::is_limit(error) => ClosedReason::RateLimited,
                    _ => ClosedReason::Malformed("it does not let its messages be listened to".to_owned()),
                })),
                _ => None,
            })
            .await?;
        Ok(session)
    }

    /// Listens until the connection ends.
    pub(super) async fn listen(&mut self, watched: &Watched, events: &mpsc::Sender<RealtimeEvent>) -> Ended {
        match self.hear(watched, events).await {
            Ok(()) => Ended::Unwanted,
            Err(reason) => Ended::Closed(reason),
        }
    }

    async fn hear(&mut self, watched: &Watched, events: &mpsc::Sender<RealtimeEvent>) -> Result<(), ClosedReason> {
        self.compare(watched.all()).await?;
        loop {
            let quiet = self.heard + if self.asked { self.tuning.silence * 2 } else { self.tuning.silence };
            let due = self.pace.next(Instant::now());
            tokio::select! {
                received = self.socket.next() => {
                    let Some(frame) = self.take(received).await? else { continue };
                    for event in self.told(frame) {
                        if let RealtimeEvent::Message { message, .. } = &event {
                            let at_ms = message.updated_at.ms();
                            watched.stir(&message.rid, at_ms);
                            self.streams.stir(&message.rid, at_ms);
                        }
                        match events.try_send(event) {
                            Ok(()) => {}
                            Err(TrySendError::Full(_)) => return Err(ClosedReason::Overrun),
                            Err(TrySendError::Closed(_)) => return Ok(()),
                        }
                    }
                }
                () = watched.changed.notified() => {
                    let news = watched.news().ok_or(ClosedReason::Overrun)?;
                    self.compare(news).await?;
                }
                () = sleep_until(due), if self.streams.waits() => self.subscribe_next().await?,
                () = sleep_until(quiet) => self.ask().await?,
            }
        }
    }

    /// Asks a silent server whether it is there.
    async fn ask(&mut self) -> Result<(), ClosedReason> {
        if self.asked {
            return Err(ClosedReason::Silence);
        }
        self.asked = true;
        self.say(&frames::ping()).await
    }

    /// Lets streams of these rooms be opened, and closes those of rooms that are watched no longer.
    async fn compare(&mut self, rooms: Vec<Watching>) -> Result<(), ClosedReason> {
        for (rid, awake) in rooms {
            for id in self.streams.set(&rid, awake) {
                self.say(&frames::unsubscribe(&id)).await?;
            }
        }
        Ok(())
    }

    async fn subscribe_next(&mut self) -> Result<(), ClosedReason> {
        self.numbers += 1;
        let id = format!("room-{}", self.numbers);
        let Some(stream) = self.streams.open_next(&id) else { return Ok(()) };
        let event = format!("{}/{}", stream.rid, OF_ROOM[stream.place]);
        let frame = frames::subscribe(&id, frames::NOTIFY_ROOM, &event);
        self.pace.count(Instant::now());
        self.say(&frame).await
    }

    /// What whoever listens is told of a frame. One frame may say of several subscriptions that they are open.
    fn told(&mut self, frame: Frame) -> Vec<RealtimeEvent> {
        if frame.msg.as_deref() == Some("ready") {
            let open = frame.subs.iter().filter_map(|id| self.streams.ready(id));
            return open.map(|(rid, whole)| RealtimeEvent::Watched { rid, whole }).collect();
        }
        self.understand(frame).into_iter().collect()
    }

    /// What a frame means to whoever listens.
    fn understand(&mut self, frame: Frame) -> Option<RealtimeEvent> {
        match frame.msg.as_deref()? {
            "changed" => frames::event(frame.collection.as_deref()?, frame.fields),
            "nosub" => {
                let stream = self.streams.ended(frame.id.as_ref()?.as_str()?)?;
                if frame.error.as_ref().is_some_and(frames::is_limit) {
                    // Somebody else's calls count too. A whole window later there is room again.
                    self.pace.exhaust(Instant::now());
                    self.streams.again(&stream);
                    return None;
                }
                // One word for a room is enough.
                let first = self.streams.refuse(&stream.rid);
                first.then_some(RealtimeEvent::WatchRefused { rid: stream.rid })
            }
            _ => None,
        }
    }

    /// Waits for the frame that is meant. Whoever calls this bounds the time.
    async fn wait_for(
        &mut self,
        mut meant: impl FnMut(&Frame) -> Option<Result<(), ClosedReason>>,
    ) -> Result<(), ClosedReason> {
        loop {
            let received = self.socket.next().await;
            let Some(frame) = self.take(received).await? else { continue };
            if frame.msg.as_deref() == Some("failed") {
                return Err(ClosedReason::Malformed("it speaks another version of DDP".to_owned()));
            }
            if let Some(outcome) = meant(&frame) {
                return outcome;
            }
        }
    }

    /// Reads a frame, and answers it if it only asks whether somebody is there.
    async fn take(
        &mut self,
        received: Option<Result<Ws, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<Option<Frame>, ClosedReason> {
        let text = match received {
            Some(Ok(Ws::Text(text))) => text,
            Some(Ok(Ws::Close(_))) | None => return Err(ClosedReason::ByServer),
            Some(Ok(_)) => {
                self.heard = Instant::now();
                return Ok(None);
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the websocket to Rocket.Chat broke");
                return Err(ClosedReason::ByServer);
            }
        };
        self.heard = Instant::now();
        self.asked = false;
        let Ok(frame) = serde_json::from_str::<Frame>(text.as_str()) else {
            tracing::debug!("a frame of Rocket.Chat is not understood");
            return Ok(None);
        };
        if frame.msg.as_deref() == Some("ping") {
            self.say(&frames::pong(frame.id.as_ref())).await?;
            return Ok(None);
        }
        Ok(Some(frame))
    }

    /// Tells a room what the account does, and waits for nothing.
    pub(super) async fn tell_activity(&mut self, rid: &str, username: &str, typing: bool) -> Result<(), ClosedReason> {
        self.numbers += 1;
        let id = format!("activity-{}", self.numbers);
        self.say(&frames::activity(&id, rid, username, typing)).await
    }

    /// Keeps the connection alive until the next frame, which is of no concern.
    pub(super) async fn idle(&mut self) -> Result<(), ClosedReason> {
        let received = self.socket.next().await;
        self.take(received).await.map(|_| ())
    }

    async fn say(&mut self, frame: &Value) -> Result<(), ClosedReason> {
        match timeout(SEND, self.socket.send(Ws::text(frame.to_string()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ClosedReason::ByServer),
            Err(_) => Err(ClosedReason::Silence),
        }
    }
}

/// Whether a frame is about this id.
fn is(frame: &Frame, id: &str) -> bool {
    frame.id.as_ref().and_then(Value::as_str) == Some(id)
}
