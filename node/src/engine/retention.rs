//! How long this node keeps the bodies of a room: the administrator's choice, for this node alone.
//!
//! What is too old loses its body and stays in the graph. Age is counted from the time that the event's author wrote into it;
//! an event that claims to be of the future stays until then.

use std::sync::Arc;
use std::time::Duration;

use rocketmesh_protocol::event::Lane;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_storage::StoreError;

use super::Engine;
use super::room::{PostError, RoomCommand};

/// How often rooms are looked through.
const EVERY: Duration = Duration::from_secs(3600);
/// Events that are read, and bodies that are dropped, at a time.
const PAGE: usize = 512;
/// Where the store keeps the choice, by room.
const RETENTION: &str = "retention/";

impl Engine {
    /// For how many seconds bodies of the room are kept; none is for ever.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) fn retention(&self, room: &RoomId) -> Result<Option<u64>, StoreError> {
        let setting = self.store().setting(&format!("{RETENTION}{room}"))?;
        Ok(setting.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
    }

    /// Sets for how many seconds bodies of the room are kept, from now on and for what is here already. Returns how many
    /// bodies were dropped for it.
    ///
    /// # Errors
    /// If the store fails, or the node shuts down.
    pub(crate) async fn set_retention(&self, room: RoomId, seconds: Option<u64>) -> Result<u64, PostError> {
        let bytes = seconds.map(u64::to_be_bytes);
        self.save_setting(&format!("{RETENTION}{room}"), bytes.as_ref().map(<[u8; 8]>::as_slice)).await?;
        self.expire(room).await
    }

    async fn expire(&self, room: RoomId) -> Result<u64, PostError> {
        let store = |error: StoreError| PostError::Store(Arc::new(error));
        let Some(seconds) = self.retention(&room).map_err(store)? else { return Ok(0) };
        let oldest = self.clock.now_ms().saturating_sub(seconds.saturating_mul(1000));
        let mut dropped = 0;
        let mut after = None;
        loop {
            let page = self.store().order_after(&room, after.as_ref(), PAGE).map_err(store)?;
            let Some(last) = page.last().copied() else { return Ok(dropped) };
            let mut events: Vec<EventId> = Vec::new();
            for key in &page {
                let Some(stored) = self.store().event(&key.id).map_err(store)? else { continue };
                let header = stored.event.header();
                let old = header.lane == Lane::Timeline && header.body.is_some() && header.time_ms < oldest;
                if old && !self.store().marks(&key.id).map_err(store)?.gone() {
                    events.push(key.id);
                }
            }
            if !events.is_empty() {
                dropped += events.len() as u64;
                self.room(room).expire(events).await?;
            }
            after = Some(last);
            tokio::task::yield_now().await;
        }
    }
}

/// Drops what is too old, for as long as the node runs.
pub(super) async fn run(engine: Engine) {
    let mut shutdown = engine.shutdown();
    loop {
        for room in engine.store().rooms().unwrap_or_default().into_iter().map(|(room, _)| room) {
            if let Err(error) = engine.expire(room).await {
                tracing::warn!(%room, %error, "old bodies were not dropped");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = crate::network::shut_down(&mut shutdown) => return,
        }
    }
}

impl super::room::RoomHandle {
    /// Drops bodies, and waits until that is on disk.
    async fn expire(&self, events: Vec<EventId>) -> Result<(), PostError> {
        self.send(RoomCommand::Expire { events }).await?;
        // Whatever comes next in the queue is answered after the burst that this is in.
        self.ingest(Vec::new(), None).await.map(drop)
    }
}
