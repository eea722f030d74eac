//! What changed in Rocket.Chat since the last change that was handled, and a little before it.
//!
//! Releases from 7.13.9 on tell it in pages, oldest first, so that however much it is, it is taken piece by piece and what was taken is
//! not asked for again. Older ones tell all of it in one answer; where that is too large, the history is read in steps.

use super::Stall;
use super::room::RoomTask;
use crate::rocketchat::client::{Message, Moment, Release, RestError};
use crate::rocketchat::records::Federated;

/// Messages of a step where an absence was too long for one answer.
const HISTORY: usize = 100;
/// How long before the last change that was handled is asked for, in milliseconds. Changes are not always told in the order of their
/// times: after a crash an older one may be missing behind a newer one. What is known already says nothing.
pub(super) const OVERLAP_MS: u64 = 5_000;
/// The messages of a page, and the most that one page is made to hold where that many changed in one millisecond.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1600;
/// The first release that knows pages, as far as a release's two numbers tell: its patches before 7.13.9 refuse them.
const PAGED: Release = Release { major: 7, minor: 13 };

impl RoomTask {
    /// Takes what changed since a little before the last change that was handled.
    pub(super) async fn catch_up(&mut self) -> Result<(), Stall> {
        self.may_miss_deletions();
        let Federated { heard_ms, since_ms, .. } = self.federated;
        // Of what was before the room was opened nothing is asked for.
        let from_ms = heard_ms.saturating_sub(OVERLAP_MS).max(since_ms.min(heard_ms));
        let last = Moment(i64::try_from(from_ms).unwrap_or(i64::MAX));
        let whole = match self.bridge.release() >= PAGED {
            true => !self.take_pages(last).await?,
            false => true,
        };
        if whole {
            self.take_whole(last).await?;
        }
        // What was taken away is asked for last: it may have been changed before.
        self.take_deleted().await?;
        self.reread().await
    }

    /// Takes what changed, page by page. False if the server knows no pages, or one of them does not say from where to go on.
    async fn take_pages(&mut self, last: Moment) -> Result<bool, Stall> {
        // A cursor is exclusive, and without one nothing is told.
        let (mut cursor, mut count) = (Moment(last.before(1).0.max(1)), PAGE);
        loop {
            let client = self.reader().await?;
            let asked = client.sync_page(&self.rid, cursor, count).await;
            let page = match self.bridge.heed(&client, asked)? {
                Ok(page) => page,
                Err(RestError::Refused { .. }) if self.bridge.release() == PAGED => return Ok(false),
                // Fewer at a time fit into an answer.
                Err(RestError::TooLarge { .. }) if count > 1 => {
                    count /= 4;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for message in &page.messages {
                self.hear(message).await?;
            }
            if page.sent < count {
                return Ok(true);
            }
            let Some(newest) = page.newest_change else { return Ok(false) };
            // Several may have changed in the millisecond at which the page ends, and the cursor is exclusive: it is asked for again.
            let next = newest.before(1);
            if next > cursor {
                cursor = next;
            } else if count < LARGEST_PAGE {
                count *= 4;
            } else if newest > cursor {
                cursor = newest;
            } else {
                return Ok(false);
            }
        }
    }

    /// Takes what changed, in one answer, or by the history where that is too large.
    async fn take_whole(&mut self, last: Moment) -> Result<(), Stall> {
        let client = self.reader().await?;
        let all = client.sync_messages(&self.rid, last.before(1)).await;
        let mut updated = match self.bridge.heed(&client, all)? {
            Ok(changes) => changes.updated,
            Err(RestError::TooLarge { .. }) => self.long_absence(last).await?,
            Err(error) => return Err(error.into()),
        };
        updated.sort_by_key(|message| message.updated_at);
        for message in updated {
            self.hear(&message).await?;
        }
        Ok(())
    }

    /// Everything since a moment, where that is more than one answer holds.
    async fn long_absence(&self, since: Moment) -> Result<Vec<Message>, Stall> {
        let mut all: Vec<Message> = Vec::new();
        let mut latest = None;
        loop {
            let bounds = (Some(since.before(1)), latest);
            let page = self.read_history(bounds, HISTORY).await?;
            let (full, oldest) = (page.sent >= HISTORY, page.oldest);
            all.extend(page.messages);
            // Bounds are exclusive, and several messages may share a millisecond: one more is asked for, and known ones say nothing.
            let next = oldest.map(|oldest| Moment(oldest.0 + 1));
            if !full || next.is_none() || next == latest {
                return Ok(all);
            }
            latest = next;
        }
    }

    /// Takes the message under which another one stands, if it is not known yet: a reply changes it, so that it comes after the reply
    /// where changes are told in their order.
    pub(super) async fn hear_parent(&mut self, message: &Message) -> Result<(), Stall> {
        let Some(parent) = message.tmid.as_deref().filter(|parent| *parent != message.id) else { return Ok(()) };
        if self.bridge.records.seen(parent)?.is_some() || self.bridge.records.seen(&message.id)?.is_some() {
            return Ok(());
        }
        match self.read_message(parent).await? {
            // How far the room was followed does not move: what changed before it may not be known yet.
            Some(parent) if parent.rid == self.rid && !parent.hidden => self.learn(&parent).await,
            _ => Ok(()),
        }
    }
}
