//! One federated room's task.
//!
//! What is done when it starts, and after each new connection:
//!
//! ```text
//!   own events of the log ──► records      what was said before a crash is known to have been said
//!   the log, from its position ──► Rocket.Chat
//!   Rocket.Chat, from a few seconds before the last change handled ──► the room
//!   the queue ──► the room
//! ```
//!
//! What of the log is this room's is given to it by the [feed](super::feed): what happens in one room wakes no other.
//!
//! A thing is handled, then recorded together with the position behind it. What fails for a while stays at the head and is tried
//! again; what cannot succeed becomes a dead letter, with its reason, and the next one follows.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rocketmesh_protocol::event::{Content, Event, Label, Switch};
use rocketmesh_protocol::id::{EventId, FileId, RoomId};
use rocketmesh_protocol::identity::UserId;
use rocketmesh_storage::{LogEntry, LogKind, LogPosition};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::compare::Looking;
use super::deletions::{Hearing, Known};
use super::feed::{Next, Place, UNRECORDED};
use super::queue::tells;
use super::view::View;
use super::{Bridge, Heard, RoomHandle, RoomReport, Stall, lock};
use crate::network::shut_down;
use crate::rocketchat::client::{Message, RoomKind, SystemKind};
use crate::rocketchat::mapping::outgoing;
use crate::rocketchat::mapping::seen::Seen;
use crate::rocketchat::records::{Changes, Federated, anchor_key, message_key, room_key};
use crate::rocketchat::status::{BridgedRoom, BridgedRoomState, Counted, ProblemKind};

/// What was said less than this before a room was entered, in milliseconds, says no time.
const JUST_NOW_MS: u64 = 60_000;
/// Entries of the log that are read at a time.
const PAGE: usize = 512;
/// What is taken out of the queue while the room waits.
const PENDING: usize = 1024;
/// Messages, and people elsewhere, that are shown of a room that was just entered. Older ones stay where they were said: each would
/// be shown as said now. Further people get an account when they say something.
const LAST_MESSAGES: usize = 50;
const MOST_PEOPLE: usize = 100;

pub(super) struct RoomTask {
    pub(super) bridge: Bridge,
    pub(super) rid: String,
    pub(super) room: RoomId,
    pub(super) federated: Federated,
    pub(super) view: View,
    /// Further rooms of the mesh that this one is: see [`Federated::also`].
    pub(super) also: Vec<RoomId>,
    pub(super) looking: Looking,
    /// Whether what is deleted is heard, and how far it is known.
    pub(super) hearing: Arc<Hearing>,
    pub(super) known: Known,
    recorded: LogPosition,
    /// Where the room's part of the log is found.
    pub(super) feed: Place,
    pending: VecDeque<Heard>,
    behind: Arc<AtomicBool>,
    /// Whether the room is gone in Rocket.Chat, or the service account is not in it.
    pub(super) is_gone: Arc<AtomicBool>,
    pub(super) again: Arc<Notify>,
    report: Arc<Mutex<RoomReport>>,
    /// The event of the log that is being looked at.
    pub(super) handling: Option<EventId>,
    /// Whether something stays in Rocket.Chat otherwise than the room has it, since this was last set back: whoever is told what became
    /// of what they did is told the truth.
    pub(super) unsettled: AtomicBool,
    /// Letters of this room that failed since they were last looked through.
    pub(super) failed: Mutex<BTreeSet<String>>,
    /// Whether something may have been mended, so that letters are worth another try.
    pub(super) mended: bool,
    /// Whether letters are tried again now.
    pub(super) trying: bool,
    /// Files that are on their way and whose coming wakes the room.
    pub(super) expected: Arc<Mutex<BTreeSet<FileId>>>,
    /// Whether the room's webhook speaks, because the workspace is restricted.
    pub(super) hooking: bool,
    /// When letters are tried again by themselves.
    pub(super) try_at: Option<Instant>,
    /// Whether it is known what this server has said in the room, after a restore.
    pub(super) found_own: bool,
    /// The last event that was handled, and whether that is recorded.
    anchor: Option<EventId>,
    anchored: bool,
}

impl RoomTask {
    /// The task of a room; none if its record names no room.
    pub(super) fn new(bridge: Bridge, rid: String, mut federated: Federated, handle: &RoomHandle) -> Option<Self> {
        let room = federated.room()?;
        if federated.gone_ms == 0 {
            federated.gone_ms = federated.heard_ms;
        }
        let also = federated.also();
        let rooms: Vec<RoomId> = std::iter::once(room).chain(also.iter().copied()).collect();
        Some(RoomTask {
            feed: bridge.feed.place(&rooms, federated.log),
            view: View::new(bridge.clone(), room, &rid, &federated),
            bridge,
            rid,
            room,
            recorded: federated.log,
            also,
            looking: Looking::new(),
            hearing: Arc::clone(&handle.hearing),
            known: Known::default(),
            federated,
            pending: VecDeque::from([Heard::CatchUp]),
            behind: Arc::clone(&handle.behind),
            is_gone: Arc::clone(&handle.gone),
            again: Arc::clone(&handle.again),
            report: Arc::clone(&handle.report),
            handling: None,
            unsettled: AtomicBool::default(),
            failed: Mutex::default(),
            mended: true,
            trying: false,
            expected: Arc::default(),
            hooking: false,
            try_at: None,
            found_own: false,
            anchor: None,
            anchored: true,
        })
    }

    pub(super) async fn run(mut self, mut heard: mpsc::Receiver<Heard>) {
        let fed = self.feed.wake();
        let mut shutdown = self.bridge.engine.shutdown();
        let again = Arc::clone(&self.again);
        let mut recovered = false;
        let mut rest_until: Option<Instant> = None;
        loop {
            if rest_until.is_none_or(|until| until <= Instant::now()) {
                let outcome = match recovered {
                    true => Ok(()),
                    false => self.recover().await,
                };
                recovered |= outcome.is_ok();
                let outcome = match outcome {
                    Ok(()) => self.step().await,
                    failed => failed,
                };
                let outcome = match outcome {
                    Ok(()) => self.look_if_due().await,
                    failed => failed,
                };
                rest_until = self.judge(outcome);
            }
            let look_at = self.looking.at;
            let resting = async move {
                match rest_until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let try_at = self.try_at;
            let trying = async move {
                match try_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                next = heard.recv(), if self.pending.len() < PENDING => match next {
                    Some(next) => self.put_behind(next),
                    None => return,
                },
                () = fed.notified(), if rest_until.is_none() => {}
                () = resting => rest_until = None,
                () = tokio::time::sleep_until(look_at), if rest_until.is_none() => {}
                () = trying, if rest_until.is_none() => self.mended = true,
                () = again.notified() => {
                    self.mended = true;
                    rest_until = None;
                }
                () = shut_down(&mut shutdown) => return,
            }
        }
    }

    /// Lets something wait. What is asked for already is not asked for again: while a room waits it may be told many times to catch up.
    fn put_behind(&mut self, next: Heard) {
        let is_asked = |waiting: &Heard| match (waiting, &next) {
            (Heard::CatchUp, Heard::CatchUp) | (Heard::Unheard, Heard::Unheard) => true,
            (Heard::Also(one), Heard::Also(other)) => one == other,
            _ => false,
        };
        if !self.pending.iter().any(is_asked) {
            self.pending.push_back(next);
        }
    }

    /// Both directions as far as they go. What stops one does not stop the other.
    async fn step(&mut self) -> Result<(), Stall> {
        if self.is_gone.load(Ordering::SeqCst) {
            return Err(Stall::Gone);
        }
        self.find_own().await?;
        if self.federated.fresh {
            self.backfill().await?;
        }
        let inward = self.follow().await;
        let outward = self.listen().await;
        // What was just said is in the log by now.
        let after = if inward.is_ok() { self.follow().await } else { Ok(()) };
        inward.and(outward).and(after)?;
        self.try_letters().await
    }

    /// Says how the room does, and until when it rests.
    fn judge(&self, outcome: Result<(), Stall>) -> Option<Instant> {
        let stall = outcome.err();
        let (undelivered, oldest_ms) = if stall.is_some() { self.undelivered() } else { (0, None) };
        let words = stall.as_ref().map(ToString::to_string);
        let changed = {
            let mut report = lock(&self.report);
            let changed = report.problem != words;
            report.problem = words;
            report.barred = match &stall {
                Some(Stall::Shadow { username }) => Some(username.clone()),
                _ => None,
            };
            report.waiting = self.pending.len() + undelivered;
            (report.undelivered, report.oldest_ms) = (undelivered, oldest_ms);
            changed
        };
        let state = match &stall {
            None => BridgedRoomState::Live,
            Some(Stall::Gone) => BridgedRoomState::Gone,
            Some(_) => BridgedRoomState::Blocked,
        };
        self.bridge.host.room(BridgedRoom {
            room: self.federated.room.clone(),
            rid: self.rid.clone(),
            name: Some(self.federated.name.clone()),
            state,
            waiting: undelivered as u64,
            caught_up_ms: self.federated.heard_ms,
        });
        if changed || stall.is_some() {
            self.bridge.tell_queue_soon();
        }
        let kind = stall.as_ref().and_then(Stall::kind);
        if changed {
            self.bridge.host.calm(&self.rid, kind);
        }
        let stall = stall?;
        self.bridge.host.count(Counted::Retry);
        if changed {
            tracing::warn!(rid = %self.rid, problem = %stall, "a federated room waits");
        }
        // An account that cannot log in is told with what waits, which also tells that it can again.
        if let Some(kind) = kind.filter(|kind| *kind != ProblemKind::ShadowTokenRefused) {
            self.bridge.host.raise(kind, Some(&self.rid), &stall.to_string());
        }
        Some(Instant::now() + stall.rest(self.bridge.engine.clock.now_ms()))
    }

    /// How much of this room waits to be delivered to Rocket.Chat, as far as the feed or one page of the log tells, and when the oldest
    /// of it was made.
    fn undelivered(&self) -> (usize, Option<u64>) {
        let store = &self.bridge.engine.store;
        let entries = self.feed.waiting(self.federated.log);
        let entries = entries.unwrap_or_else(|| store.log_after(self.federated.log, PAGE).unwrap_or_default());
        let mut waiting = entries.iter().filter(|entry| self.reads(&entry.room) && tells(entry.kind)).peekable();
        let oldest = waiting.peek().and_then(|entry| store.event(&entry.event).ok().flatten());
        (waiting.count(), oldest.map(|stored| stored.event.header().time_ms))
    }

    /// Takes what the log says of this room, in order.
    pub(super) async fn follow(&mut self) -> Result<(), Stall> {
        loop {
            match self.feed.next(self.federated.log) {
                Next::Entry(entry) => self.take_entry(entry).await?,
                Next::UpTo(position) => return self.followed(position).await,
                Next::Read => self.read_log().await?,
            }
        }
    }

    /// Takes an entry of the log, and records that it was taken.
    async fn take_entry(&mut self, entry: LogEntry) -> Result<(), Stall> {
        if entry.kind.is_arrival() {
            self.remember_own(entry.event).await?;
        }
        if tells(entry.kind) {
            self.take_or_keep(entry.kind, entry.event).await?;
        }
        if entry.kind.is_arrival() {
            (self.anchor, self.anchored) = (Some(entry.event), false);
        }
        self.federated.log = entry.position;
        self.record(Changes::default()).await
    }

    /// The log says nothing more of this room up to here.
    async fn followed(&mut self, position: LogPosition) -> Result<(), Stall> {
        self.federated.log = self.federated.log.max(position);
        match self.federated.log - self.recorded > UNRECORDED {
            true => self.record(Changes::default()).await,
            false => Ok(()),
        }
    }

    /// Takes a page of the log itself, where the feed does not know.
    async fn read_log(&mut self) -> Result<(), Stall> {
        // Asked first: whatever is given out is durable.
        let fed = self.feed.read();
        let durable = *self.bridge.engine.durable().borrow();
        let mut entries = self.bridge.engine.store.log_after(self.federated.log, PAGE)?;
        entries.retain(|entry| entry.position <= durable);
        let last = entries.last().map_or(fed, |entry| entry.position);
        let rooms = self.rooms();
        for entry in entries.into_iter().filter(|entry| rooms.contains(&entry.room)) {
            self.take_entry(entry).await?;
        }
        self.followed(last).await?;
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Takes what was heard, in order.
    async fn listen(&mut self) -> Result<(), Stall> {
        loop {
            // What did not fit is found by catching up, and so is what is still in the queue.
            if self.behind.swap(false, Ordering::SeqCst) {
                self.pending.retain(|heard| matches!(heard, Heard::Also(..)));
                self.pending.push_back(Heard::CatchUp);
            }
            // The front stays until it is done: what fails is tried again.
            match self.pending.front() {
                None => return Ok(()),
                Some(Heard::CatchUp) => {
                    self.catch_up().await?;
                    self.look_now();
                    // The server may be another one than before: what it refused it may take now.
                    self.mended = true;
                }
                Some(Heard::Unheard) => {
                    if !self.misses_no_deletion() {
                        self.take_deleted().await?;
                    }
                }
                Some(Heard::Also(room)) => {
                    let room = *room;
                    self.take_room(room).await?;
                }
                Some(Heard::Message(message)) => {
                    let message = message.clone();
                    self.hear(&message).await?;
                }
                Some(Heard::Deleted(ids)) => {
                    for id in ids.clone() {
                        self.gone(&id).await?;
                    }
                }
            }
            self.pending.pop_front();
        }
    }

    /// Looks at the last messages that the node knows: a server that keeps history lists no deletion.
    pub(super) async fn reread(&mut self) -> Result<(), Stall> {
        const LOOKED_AT: usize = 20;
        let events = self.bridge.engine.store.order_before(&self.room, None, LOOKED_AT * 4)?;
        let mut looked = 0;
        for key in events {
            let Some(shown) = self.bridge.records.shown(&key.id)?.filter(|shown| !shown.message.is_empty()) else {
                continue;
            };
            let Some(seen) = self.bridge.records.seen(&shown.message)?.filter(|seen| !seen.gone) else { continue };
            if looked == LOOKED_AT {
                break;
            }
            looked += 1;
            match self.read_message(&shown.message).await? {
                Some(message) if message.hidden => self.hear(&message).await?,
                Some(_) => {}
                None if seen.inserted || seen.event.is_some() => self.gone(&shown.message).await?,
                None => {}
            }
        }
        Ok(())
    }

    /// Takes a message as it is now, and notes how far the room was followed.
    pub(super) async fn hear(&mut self, message: &Message) -> Result<(), Stall> {
        let heard_ms = self.federated.heard_ms.max(message.updated_at.ms());
        if message.rid == self.rid {
            self.hear_parent(message).await?;
        }
        self.learn(message).await?;
        if heard_ms > self.federated.heard_ms {
            self.federated.heard_ms = heard_ms;
            self.note_heard();
            self.record(Changes::default()).await?;
        }
        Ok(())
    }

    /// Takes a message as it is now.
    pub(super) async fn learn(&mut self, message: &Message) -> Result<(), Stall> {
        let before = self.bridge.records.seen(&message.id)?;
        // What was said before the room was federated stays where it is.
        let old = before.is_none() && message.ts.ms() < self.federated.since_ms;
        if message.rid == self.rid && !message.imported && !old && !self.is_hooked(message).await? {
            self.meet_all(message).await?;
            if message.system() == Some(SystemKind::Privacy) && before.is_none() {
                self.settle_kind(Some(&message.u)).await?;
                // It is heard again when catching up, and nobody is told twice.
                let mut changes = Changes::default();
                changes.set(message_key(&message.id), &Seen { updated_ms: message.updated_at.ms(), ..Seen::default() });
                self.record(changes).await?;
            }
            // The second look tells the reactions of a message that was new.
            for _ in 0..2 {
                let before = self.bridge.records.seen(&message.id)?;
                let news = outgoing::message(message, before.as_ref(), &self.view);
                if news.said.is_empty() && before.as_ref().is_some_and(|before| before.inserted) {
                    self.bridge.host.count(Counted::Echo);
                }
                if news.said.is_empty() && news.seen == before {
                    break;
                }
                self.tell(&message.id, news).await?;
            }
        }
        Ok(())
    }

    /// Takes that a message is no longer there.
    pub(super) async fn gone(&mut self, id: &str) -> Result<(), Stall> {
        let Some(before) = self.bridge.records.seen(id)? else { return Ok(()) };
        let now_ms = self.bridge.engine.clock.now_ms();
        let news = outgoing::deleted(&before, &self.view, now_ms);
        self.tell(id, news).await
    }

    /// Sees to it that whoever a message names is known.
    async fn meet_all(&self, message: &Message) -> Result<(), Stall> {
        self.bridge.meet(Some(&message.u.id), &message.u.username).await?;
        if let Some(editor) = &message.edited_by {
            self.bridge.meet(Some(&editor.id), &editor.username).await?;
        }
        for mention in message.mentions.iter().filter(|mention| !matches!(mention.username.as_str(), "all" | "here")) {
            self.bridge.meet(Some(&mention.id), &mention.username).await?;
        }
        for username in message.reactions.values().flat_map(|reaction| &reaction.usernames) {
            self.bridge.meet(None, username).await?;
        }
        if message.system().is_some() {
            self.bridge.meet(None, message.msg.trim_start_matches('@')).await?;
        }
        Ok(())
    }

    /// Makes changes durable, with how far this room was followed.
    pub(super) async fn record(&mut self, mut changes: Changes) -> Result<(), Stall> {
        changes.set(room_key(&self.rid), &self.federated);
        if let Some(anchor) = self.anchor.filter(|_| !self.anchored) {
            changes.set(anchor_key(&self.rid), &anchor.to_string());
        }
        self.bridge.save(&changes).await?;
        self.anchored = true;
        self.recorded = self.federated.log;
        Ok(())
    }

    /// The room has another name in Rocket.Chat, by which links go.
    pub(super) async fn rename(&mut self, name: String) -> Result<(), Stall> {
        self.federated.name = name;
        self.view = View::new(self.bridge.clone(), self.room, &self.rid, &self.federated);
        self.record(Changes::default()).await
    }

    /// Shows a room that was just entered: its texts and switches, the people in it, and what was said last.
    pub(super) async fn backfill(&mut self) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        for label in [Label::Topic, Label::Description, Label::Announcement] {
            self.settle_label(label).await?;
        }
        for switch in [Switch::ReadOnly, Switch::Archived] {
            self.settle_switch(switch).await?;
        }
        let elsewhere = state.joined().filter(|user| user.origin != self.bridge.engine.origin);
        let people: Vec<UserId> = elsewhere.take(MOST_PEOPLE).collect();
        for user in people {
            self.settle_member(&user).await?;
        }
        // Twice as many events as messages: edits, reactions and people coming and going stand between them.
        let mut last = Vec::new();
        for room in self.rooms() {
            last.extend(self.bridge.engine.store.order_before(&room, None, LAST_MESSAGES * 2)?);
        }
        last.reverse();
        let now_ms = self.bridge.engine.clock.now_ms();
        for key in last {
            let Some(stored) = self.bridge.engine.store.event(&key.id)? else { continue };
            if matches!(stored.event.content(), Ok(Content::Message { .. })) {
                // A direct room begins with what was said in it just now, and so may another.
                let fresh = now_ms.saturating_sub(stored.event.header().time_ms) < JUST_NOW_MS;
                let direct = self.federated.kind == RoomKind::Direct;
                let kind = if direct || fresh { LogKind::Accepted } else { LogKind::AcceptedLate };
                self.take_or_keep(kind, key.id).await?;
            }
        }
        self.federated.fresh = false;
        self.record(Changes::default()).await
    }

    /// Records of what this server said and a crash kept from being recorded: events name the message that they came from.
    async fn recover(&mut self) -> Result<(), Stall> {
        self.find_anchor()?;
        let end = *self.bridge.engine.durable().borrow();
        self.feed.reached(end).await;
        if let Some(entries) = self.feed.waiting(self.federated.log) {
            return self.recover_those(entries).await;
        }
        let store = self.bridge.engine.store.clone();
        let mut after = self.federated.log;
        loop {
            let entries = store.log_after(after, PAGE)?;
            let Some(last) = entries.last().map(|entry| entry.position) else { return Ok(()) };
            after = last;
            self.recover_those(entries).await?;
        }
    }

    async fn recover_those(&mut self, entries: Vec<LogEntry>) -> Result<(), Stall> {
        let rooms = self.rooms();
        for entry in entries.into_iter().filter(|entry| rooms.contains(&entry.room) && entry.kind.is_arrival()) {
            let Some(stored) = self.bridge.engine.store.event(&entry.event)? else { continue };
            if stored.event.header().origin == self.bridge.engine.origin {
                self.recover_one(&stored.event).await?;
            }
        }
        Ok(())
    }

    /// The last event that was handled, where that was not recorded: the room was just federated, or by an earlier release.
    fn find_anchor(&mut self) -> Result<(), Stall> {
        if self.anchor.is_some() || self.bridge.records.anchor(&self.rid)?.is_some() {
            return Ok(());
        }
        let store = self.bridge.engine.store.clone();
        let mut after = 0;
        while after < self.federated.log {
            let entries = store.log_after(after, PAGE)?;
            let Some(last) = entries.last().map(|entry| entry.position) else { break };
            after = last;
            let (room, until) = (self.room, self.federated.log);
            let own = |entry: &&LogEntry| entry.room == room && entry.position <= until && entry.kind.is_arrival();
            if let Some(entry) = entries.iter().rfind(own) {
                (self.anchor, self.anchored) = (Some(entry.event), false);
            }
        }
        Ok(())
    }

    pub(super) async fn recover_one(&mut self, event: &Event) -> Result<(), Stall> {
        let Some((id, at_ms)) = super::outward::source(event) else { return Ok(()) };
        let Ok(content) = event.content() else { return Ok(()) };
        let before = self.bridge.records.seen(&id)?;
        let mut seen = before.clone().unwrap_or_default();
        let mut changes = Changes::default();
        match content {
            Content::Message { .. } if before.is_none() => self.note_message(&id, event, &mut changes),
            Content::Edit { .. } if seen.edited_ms < at_ms => {
                seen.edited_ms = at_ms;
                seen.text = self.text_hash(event);
                changes.set(message_key(&id), &seen);
            }
            Content::Redact { .. } if before.is_some() && !seen.gone => {
                seen.gone = true;
                changes.set(message_key(&id), &seen);
            }
            Content::React { remove, .. } if before.is_some() => {
                let emoji = event.body().and_then(|body| body.text("emoji").map(str::to_owned));
                let username =
                    event.sender().and_then(|user| crate::rocketchat::mapping::Known::username(&self.view, &user));
                if let (Some(emoji), Some(username)) = (emoji, username) {
                    seen.note_reaction(&emoji, &username, !remove);
                    changes.set(message_key(&id), &seen);
                }
            }
            _ => {}
        }
        if changes.is_empty() { Ok(()) } else { self.bridge.save(&changes).await }
    }
}
