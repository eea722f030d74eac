//! The live stream: the local log as server-sent events, from any position, with nothing left out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use rocketmesh_protocol::event::UnverifiedEvent;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_storage::{LogEntry, LogKind, LogPosition, StoredEvent, Verdict};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use crate::api::error::ApiError;
use crate::api::extract::QueryOf;
use crate::api::types::{EphemeralView, ErrorBody, StreamEntry, StreamQuery};
use crate::api::{Api, ephemeral, rooms, view};
use crate::engine::Engine;
use crate::engine::ephemeral::Live;

/// Entries of the log that are read at a time.
const PAGE: usize = 256;

/// Everything that happens in a room, live.
#[utoipa::path(get, path = "/v1/rooms/{room}/stream", tag = "events", params(("room" = String, Path), StreamQuery),
    responses((status = 200, body = StreamEntry, content_type = "text/event-stream"), (status = "4XX", body = ErrorBody)))]
pub(super) async fn room(
    State(api): State<Api>,
    Path(room): Path<String>,
    QueryOf(query): QueryOf<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let room: RoomId = room.parse()?;
    rooms::require(&api.engine, &room)?;
    follow(&api, Some(room), &query, &headers)
}

/// Everything that happens in all rooms, live.
#[utoipa::path(get, path = "/v1/stream", tag = "events", params(StreamQuery),
    responses((status = 200, body = StreamEntry, content_type = "text/event-stream")))]
pub(super) async fn all(
    State(api): State<Api>,
    QueryOf(query): QueryOf<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    follow(&api, None, &query, &headers)
}

struct Follower {
    engine: Engine,
    room: Option<RoomId>,
    position: LogPosition,
    durable: watch::Receiver<LogPosition>,
    shutdown: watch::Receiver<bool>,
    ready: VecDeque<StreamEntry>,
    /// What is over in a moment, where that is wanted.
    live: Option<broadcast::Receiver<Live>>,
    _permit: OwnedSemaphorePermit,
}

/// What a stream tells.
enum Told {
    Entry(Box<StreamEntry>),
    Ephemeral(EphemeralView),
}

fn follow(
    api: &Api,
    room: Option<RoomId>,
    query: &StreamQuery,
    headers: &HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, ApiError> {
    let permit = api.streams.clone().try_acquire_owned().map_err(|_| {
        let message = format!("there are {} live streams already; close one first", super::MAX_STREAMS);
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", message)
    })?;
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let durable = api.engine.durable();
    let end = *durable.borrow();
    let follower = Follower {
        position: resumed.or(query.after).unwrap_or(end),
        engine: api.engine.clone(),
        room,
        durable,
        shutdown: api.engine.shutdown(),
        ready: VecDeque::new(),
        live: query.ephemeral.unwrap_or(false).then(|| api.engine.live()),
        _permit: permit,
    };
    let stream = futures::stream::unfold(follower, |mut follower| async {
        let event = match follower.next().await? {
            Told::Entry(entry) => Event::default().id(entry.position.to_string()).event("change").json_data(&entry),
            // Without an id: whoever resumes does so by the last entry.
            Told::Ephemeral(signal) => Event::default().event("ephemeral").json_data(&signal),
        };
        // The types of the API always have a JSON form.
        Some((Ok(event.unwrap_or_default()), follower))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// The next signal; never one where none are wanted. What came too fast is left out.
async fn next_live(live: &mut Option<broadcast::Receiver<Live>>) -> Live {
    let Some(live) = live else { return pending().await };
    loop {
        match live.recv().await {
            Ok(live) => return live,
            Err(RecvError::Lagged(_)) => {}
            // Only when the node shuts down, which the stream hears of by itself.
            Err(RecvError::Closed) => return pending().await,
        }
    }
}

impl Follower {
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Told::Entry(Box::new(entry)));
            }
            // Only what is durable is told to anybody.
            let durable = *self.durable.borrow_and_update();
            if self.position < durable {
                self.read(durable)?;
                continue;
            }
            tokio::select! {
                changed = self.durable.changed() => changed.ok()?,
                live = next_live(&mut self.live) => {
                    if self.room.is_none_or(|room| room == live.room) {
                        return Some(Told::Ephemeral(ephemeral::view(&live, &self.engine)));
                    }
                }
                () = crate::network::shut_down(&mut self.shutdown) => return None,
            }
        }
    }

    fn read(&mut self, durable: LogPosition) -> Option<()> {
        let store = &self.engine.store;
        let entries = store.log_after(self.position, PAGE).ok()?;
        if entries.is_empty() {
            self.position = durable;
        }
        for entry in entries {
            if entry.position > durable {
                break;
            }
            self.position = entry.position;
            if self.room.is_some_and(|room| room != entry.room) {
                continue;
            }
            let stored = match store.event(&entry.event).ok()? {
                None if entry.kind == LogKind::Ahead => ahead(&self.engine, &entry),
                stored => stored,
            };
            if let Some(stored) = stored {
                self.ready.push_back(StreamEntry {
                    position: entry.position,
                    change: view::change(entry.kind).to_owned(),
                    event: view::event(&stored, &self.engine).ok()?,
                });
            }
        }
        Some(())
    }
}

/// A message that waits for what it stands on; none where it does not any more.
fn ahead(engine: &Engine, entry: &LogEntry) -> Option<StoredEvent> {
    let held = engine.store.held_event(&entry.room, &entry.event).ok()??;
    let event = held.event.decode().and_then(UnverifiedEvent::verify).ok()?;
    Some(StoredEvent { event, verdict: Verdict::Accepted })
}
