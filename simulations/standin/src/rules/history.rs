//! Reading what was said: histories, catching up, deletions.

use serde_json::{Value, json};

use crate::documents::{Deleted, Message};
use crate::moment::Moment;
use crate::refusal::Refusal;
use crate::state::State;

/// What `chat.syncMessages` is asked.
#[derive(Debug, Default)]
pub(crate) struct SyncAsk {
    pub(crate) last_update: Option<Moment>,
    pub(crate) kind: Option<String>,
    pub(crate) next: Option<String>,
    pub(crate) previous: Option<String>,
    pub(crate) count: usize,
}

/// What a history is asked.
#[derive(Debug)]
pub(crate) struct HistoryAsk {
    pub(crate) latest: Option<Moment>,
    pub(crate) oldest: Option<Moment>,
    pub(crate) inclusive: bool,
    pub(crate) offset: usize,
    /// `0` is everything.
    pub(crate) count: usize,
    /// Whether replies in threads are part of it that are not shown in the room too.
    pub(crate) threads: bool,
}

impl State {
    /// `chat.syncMessages`: what was changed, and what was deleted.
    pub(crate) fn sync(&self, uid: &str, rid: &str, ask: &SyncAsk) -> Result<Value, Refusal> {
        if !self.can_access(rid, uid) {
            return Err(Refusal::coded("error-not-allowed", "Not allowed"));
        }
        let paged = ask.next.is_some() || ask.previous.is_some();
        if let Some(kind) = ask.kind.as_deref().filter(|kind| !["UPDATED", "DELETED"].contains(kind)) {
            let reason = format!("The \"type\" parameter must be either \"UPDATED\" or \"DELETED\", not {kind}");
            return Err(Refusal::coded("error-type-param-not-supported", reason));
        }
        if paged && ask.kind.is_none() {
            let reason = "The \"type\" parameter is required when using the \"next\" or \"previous\" parameters";
            return Err(Refusal::coded("error-type-param-required", reason));
        }
        if ask.next.is_some() && ask.previous.is_some() {
            let reason = "You cannot provide both \"next\" and \"previous\" parameters";
            return Err(Refusal::coded("error-cursor-conflict", reason));
        }
        if paged && ask.last_update.is_some() {
            let reason = "The attributes \"next\", \"previous\" and \"lastUpdate\" cannot be used together";
            return Err(Refusal::coded("error-cursor-and-lastUpdate-conflict", reason));
        }
        match (ask.last_update, paged) {
            (Some(since), _) => Ok(self.sync_since(rid, since)),
            (None, true) => self.sync_page(rid, ask),
            // Without a cursor the server reads the history, and answers nothing of it.
            (None, false) => Ok(json!({"updated": [], "deleted": []})),
        }
    }

    /// Everything after a moment, exclusive, newest first.
    fn sync_since(&self, rid: &str, since: Moment) -> Value {
        let mut updated: Vec<_> = self.visible(rid).filter(|message| message.updated_at > since).collect();
        updated.sort_by(|one, other| other.ts.cmp(&one.ts));
        let mut deleted: Vec<_> = self.deleted(rid).filter(|gone| gone.deleted_at > since).map(trashed).collect();
        deleted.reverse();
        json!({"updated": updated, "deleted": deleted})
    }

    /// One page before or after a cursor, which is a number of milliseconds and exclusive: of two documents in one
    /// millisecond at the end of a page, the second is never seen.
    fn sync_page(&self, rid: &str, ask: &SyncAsk) -> Result<Value, Refusal> {
        let cursor = ask.next.as_deref().or(ask.previous.as_deref()).unwrap_or_default();
        let digits: String = cursor.trim().chars().take_while(char::is_ascii_digit).collect();
        let cursor = digits.parse::<i64>().map_err(|_| Refusal::plain("Invalid Date"))?;
        let forward = ask.next.is_some();
        let wants_updates = ask.kind.as_deref() == Some("UPDATED");
        let mut found: Vec<(i64, Value)> = if wants_updates {
            let of = |message: &Message| (message.updated_at.0, serde_json::to_value(message).unwrap_or_default());
            self.visible(rid).map(of).collect()
        } else {
            self.deleted(rid).map(|gone| (gone.deleted_at.0, trashed(gone))).collect()
        };
        found.retain(|(at, _)| if forward { *at > cursor } else { *at < cursor });
        found.sort_by_key(|(at, _)| if forward { *at } else { -*at });
        let more = found.len() > ask.count;
        found.truncate(ask.count);
        let at = |found: Option<&(i64, Value)>| found.map(|(at, _)| at.to_string());
        let (next, previous) = match (found.is_empty(), forward) {
            (true, _) => (None, None),
            (false, true) => (at(found.last()).filter(|_| more), at(found.first())),
            (false, false) => (at(found.first()), at(found.last()).filter(|_| more)),
        };
        let documents: Vec<Value> = found.into_iter().map(|(_, document)| document).collect();
        let (updated, deleted) = if wants_updates { (documents, Vec::new()) } else { (Vec::new(), documents) };
        Ok(json!({"updated": updated, "deleted": deleted, "cursor": {"next": next, "previous": previous}}))
    }

    /// A history, newest first.
    pub(crate) fn history(&self, rid: &str, ask: &HistoryAsk) -> Vec<&Message> {
        let latest = ask.latest.unwrap_or_else(|| self.now());
        let mut found: Vec<_> = self
            .visible(rid)
            .filter(|message| if ask.inclusive { message.ts <= latest } else { message.ts < latest })
            .filter(|message| {
                ask.oldest.is_none_or(|oldest| if ask.inclusive { message.ts >= oldest } else { message.ts > oldest })
            })
            .filter(|message| ask.threads || message.tmid.is_none() || message.tshow == Some(true))
            .collect();
        // What came last in one millisecond stands first.
        found.reverse();
        found.sort_by(|one, other| other.ts.cmp(&one.ts));
        let count = if ask.count == 0 { usize::MAX } else { ask.count };
        found.into_iter().skip(ask.offset).take(count).collect()
    }

    /// What was deleted in a room after a moment. What is only hidden stands here as little as what is marked `rm`.
    pub(crate) fn deleted_since(&self, rid: &str, since: Moment) -> Vec<&Deleted> {
        self.deleted(rid).filter(|gone| gone.deleted_at > since).collect()
    }

    fn visible(&self, rid: &str) -> impl Iterator<Item = &Message> {
        self.messages(rid).filter(|message| !message.hidden)
    }

    fn deleted<'a>(&'a self, rid: &str) -> impl Iterator<Item = &'a Deleted> + use<'a> {
        let rid = rid.to_owned();
        self.deleted_messages.iter().filter(move |gone| gone.rid == rid)
    }
}

/// What is left of a message that was deleted.
fn trashed(gone: &Deleted) -> Value {
    json!({"_id": gone.id, "_deletedAt": gone.deleted_at})
}
