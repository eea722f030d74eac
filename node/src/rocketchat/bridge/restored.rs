//! A store that was restored from a backup: older than what Rocket.Chat holds, and with other positions in its log.
//!
//! - **Positions** are found anew by the last event of each room that was handled.
//! - **What others said since** comes again and is inserted under the ids that it has there already: nothing is inserted twice. Files
//!   have ids that the server chose, so that they are looked for by account, name and size.
//! - **What people of this server said since** is known to other servers, and says which message it came from. It is fetched from them
//!   before anything is taken from Rocket.Chat. If none of them can be reached, it is told again.

use std::collections::BTreeMap;

use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::EventId;
use rocketmesh_storage::backup::RESTORED;

use super::Stall;
use super::people::Speaker;
use super::room::RoomTask;
use crate::engine::{Engine, PostError};
use crate::rocketchat::client::{Message, Moment};
use crate::rocketchat::records::{Changes, Federated, Records, agreed_key, restored_key, room_key};

/// Entries of the log that are read at a time.
const PAGE: usize = 1024;
/// Messages of a step, and steps, in which a file is looked for.
const HISTORY: usize = 100;
const STEPS: usize = 20;
/// How far the clocks of servers may differ.
const CLOCKS_MS: u64 = 60_000;

/// Finds the places of rooms in a log that was restored, once. When the store was restored, in milliseconds since 1970; 0 if it was not.
///
/// # Errors
/// [`Stall`] if the store fails.
pub(super) async fn find_places(engine: &Engine) -> Result<u64, Stall> {
    let records = Records::new(engine.store.clone());
    let Some(end) = engine.store.record_of(RESTORED)? else { return Ok(records.restored_ms()?.unwrap_or(0)) };
    let end = end.try_into().map_or(0, u64::from_be_bytes);
    let mut changes = Changes::default();
    let mut anchors: BTreeMap<EventId, (String, Federated)> = BTreeMap::new();
    for (rid, federated) in records.rooms()? {
        // What both had at the time of the backup says nothing of which side changed since: the room's value counts.
        changes.remove(agreed_key(&rid));
        match records.anchor(&rid)? {
            Some(anchor) => drop(anchors.insert(anchor, (rid, federated))),
            // What is in the backup was there when it was made: nothing of it is news.
            None => changes.set(room_key(&rid), &Federated { log: end, ..federated }),
        }
    }
    let mut after = 0;
    while after < end && !anchors.is_empty() {
        let entries = engine.store.log_after(after, PAGE)?;
        let Some(last) = entries.last().map(|entry| entry.position) else { break };
        after = last;
        for entry in entries {
            if let Some((rid, federated)) = anchors.remove(&entry.event) {
                changes.set(room_key(&rid), &Federated { log: entry.position, ..federated });
            }
        }
    }
    for (rid, federated) in anchors.into_values() {
        changes.set(room_key(&rid), &Federated { log: end, ..federated });
    }
    let now_ms = engine.clock.now_ms();
    changes.set(restored_key(), &now_ms);
    changes.remove(RESTORED.to_owned());
    engine.save_records(changes.list()).await?;
    tracing::info!("the store was restored from a backup; rooms in Rocket.Chat go on where the backup ends");
    Ok(now_ms)
}

impl RoomTask {
    /// In a restored store: fetches what this server has said since the backup, so that none of it is told again.
    pub(super) async fn find_own(&mut self) -> Result<(), Stall> {
        if self.bridge.restored_ms == 0 || self.found_own {
            return Ok(());
        }
        let engine = self.bridge.engine.clone();
        for room in self.rooms() {
            engine.find_own_chain(room).await?;
        }
        let end = engine.store.log_end();
        let mut durable = engine.durable();
        durable.wait_for(|at| *at >= end).await.map_err(|_| PostError::Closed)?;
        self.feed.reached(end).await;
        self.found_own = true;
        self.follow().await
    }

    /// In a restored store: notes which message an event of this server came from, before it is looked at as one of somebody else's.
    pub(super) async fn remember_own(&mut self, event: EventId) -> Result<(), Stall> {
        if self.bridge.restored_ms == 0 {
            return Ok(());
        }
        let Some(stored) = self.bridge.engine.store.event(&event)? else { return Ok(()) };
        let header = stored.event.header();
        if header.origin == self.bridge.engine.origin && header.time_ms <= self.bridge.restored_ms {
            self.recover_one(&stored.event).await?;
        }
        Ok(())
    }

    /// In a restored store: the upload and the message as which a file of an event stands there already.
    pub(super) async fn stood_before_restore(
        &self,
        event: EventId,
        speaker: &Speaker,
        file: &FileRef,
    ) -> Result<Option<(String, Message)>, Stall> {
        let said_ms = self.bridge.engine.store.event(&event)?.map_or(0, |stored| stored.event.header().time_ms);
        if said_ms > self.bridge.restored_ms || self.bridge.restored_ms == 0 {
            return Ok(None);
        }
        let from = Moment(i64::try_from(said_ms.saturating_sub(CLOCKS_MS)).unwrap_or(0));
        let mut latest = None;
        for _ in 0..STEPS {
            let bounds = (Some(from), latest);
            let page = self.read_history(bounds, HISTORY).await?;
            let (full, oldest) = (page.sent >= HISTORY, page.oldest);
            for message in page.messages.iter().filter(|message| message.u.username == speaker.username) {
                let files = message.sent_files();
                let same = files.iter().find(|sent| sent.name == file.name && sent.size == Some(file.size));
                if let Some(sent) = same
                    && self.bridge.records.seen(&message.id)?.is_none()
                {
                    return Ok(Some((sent.id.clone(), message.clone())));
                }
            }
            let next = oldest.map(|oldest| Moment(oldest.0 + 1));
            if !full || next == latest {
                break;
            }
            latest = next;
        }
        Ok(None)
    }
}
