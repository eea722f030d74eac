//! Too many tips: a server of the room joins them after a while.

use std::time::Duration;

use rocketmesh_protocol::event::{Content, Lane};
use rocketmesh_protocol::limits::MERGE_ABOVE;
use rocketmesh_storage::Participation;

use super::settle::Owed;
use super::{Authored, PostError, RoomCommand, RoomTask};
use crate::clock::random_16;
use crate::engine::add;

/// How long a room may have too many tips before a server of a small room joins them.
const MERGE_DELAY: Duration = Duration::from_secs(5);

impl RoomTask {
    /// Whether a lane has more tips than it should have when things are quiet.
    fn is_frayed(&self, lane: Lane) -> bool {
        self.outline.tips(lane).len() > MERGE_ABOVE
    }

    /// Sees to it that too many tips are joined after a random while, unless somebody else does so before.
    pub(super) fn mind_tips(&mut self) {
        let frayed = Lane::ALL.into_iter().any(|lane| self.is_frayed(lane));
        let servers = self.resolver.current().map_or(0, |state| state.servers().len());
        if !frayed || self.merging || self.participation != Participation::Joined {
            return;
        }
        self.merging = true;
        // The more servers there are, the longer the while, so that a few of them act and the others hear of it.
        let longest = MERGE_DELAY.as_millis() as u64 + 100 * servers as u64;
        let [a, b, ..] = random_16(&*self.engine.entropy);
        let delay = Duration::from_millis(u64::from(u16::from_be_bytes([a, b])) * longest / u64::from(u16::MAX));
        let (engine, room, handle) = (self.engine.clone(), self.room, self.handle.clone());
        self.engine.background(async move {
            tokio::time::sleep(delay).await;
            while let Err(error) = engine.find_own_chain(room).await {
                if matches!(error, PostError::Closed) {
                    return;
                }
                tokio::time::sleep(MERGE_DELAY).await;
            }
            let _ = handle.send(RoomCommand::Merge).await;
        });
    }

    pub(super) fn merge(&mut self, owed: &mut Owed) {
        self.merging = false;
        for lane in Lane::ALL {
            if !self.is_frayed(lane) {
                continue;
            }
            let mut draft = self.engine.draft(None, &Content::Merge, None);
            if lane == Lane::Timeline {
                draft.state_key = None;
            }
            match self.author(Authored::Draft(draft)) {
                Ok(event) => {
                    add(&self.engine.counters.authored, 1);
                    owed.publish.push(event);
                }
                // A server without a member has nothing to join.
                Err(error) => tracing::debug!(room = %self.room, %error, "tips were not joined"),
            }
        }
    }
}
