//! What could not be delivered: kept with its reason while what came after it goes on, tried again, or dismissed.
//!
//! | what stands in the way | what waits |
//! |---|---|
//! | the server, the network, the token, a limit, the room, no room for more letters | everything of the room, in the log, in order |
//! | one person's account; edits and files of a restricted workspace whose room has a webhook | these, as letters that wait |
//! | a file that no connected server has yet | the file, as a letter that waits |
//! | a missing permission, a text that is too long, an emoji that is not there | these, as letters |
//!
//! A letter names an event, and trying again looks at that event as if it had just come: what is to stand there is worked out from all
//! that is known, so that it is made once, however often it is tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rocketmesh_protocol::event::Content;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_storage::{LogKind, LogPosition, StoreError};
use tokio::time::Instant;

use super::room::RoomTask;
use super::{Bridge, Host, RoomReport, Stall, lock};
use crate::engine::Engine;
use crate::network::shut_down;
use crate::rocketchat::client::RestError;
use crate::rocketchat::records::{Changes, DeadLetter as Letter, Federated, MOST_LETTERS, Records, letter_key};
use crate::rocketchat::status::{
    Counted, DeadLetter, MAX_SHOWN, Notices, ProblemKind, QueueView, RocketChatQueue, WaitingRoom,
};

/// The word of what was refused for good.
const REFUSED: &str = "refused";
/// How often letters are tried again by themselves that wait for something to be mended.
const AGAIN: Duration = Duration::from_secs(60);
/// How long it is until what waits is shown again, where rooms ask for it one after the other.
const TOLD: Duration = Duration::from_millis(100);
/// Entries of the log that are read at a time, and at most.
const PAGE: usize = 1024;
const MOST_ENTRIES: usize = 100_000;

/// Why nothing is done about a letter. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LetterError {
    /// There is none.
    #[error("nothing in the queue is called {0}; `rocketmesh rocketchat queue` lists what there is")]
    Unknown(String),
    /// It is there to be read only.
    #[error("{0} cannot be tried again, because what it is about went on without it; read the reason, and dismiss it")]
    NotAgain(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

impl From<StoreError> for LetterError {
    fn from(error: StoreError) -> Self {
        LetterError::Store(Arc::new(error))
    }
}

/// Says that a letter is to be tried again, or all that can be. How many these are.
///
/// # Errors
/// [`LetterError`].
pub(crate) async fn retry(engine: &Engine, id: Option<&str>) -> Result<usize, LetterError> {
    let records = Records::new(engine.store.clone());
    let letters = match id {
        Some(id) => {
            let letter = records.letter(id)?.ok_or_else(|| LetterError::Unknown(id.to_owned()))?;
            if letter.event.is_none() {
                return Err(LetterError::NotAgain(id.to_owned()));
            }
            vec![(id.to_owned(), letter)]
        }
        None => records.letters()?.into_iter().filter(|(_, letter)| letter.event.is_some()).collect(),
    };
    let mut changes = Changes::default();
    for (id, letter) in &letters {
        changes.set(letter_key(id), &Letter { again: true, ..letter.clone() });
    }
    engine.save_records(changes.list()).await?;
    Ok(letters.len())
}

/// Forgets a letter: whoever asks for this has dealt with it.
///
/// # Errors
/// [`LetterError`].
pub(crate) async fn dismiss(engine: &Engine, id: &str) -> Result<(), LetterError> {
    let records = Records::new(engine.store.clone());
    if records.letter(id)?.is_none() {
        return Err(LetterError::Unknown(id.to_owned()));
    }
    let mut changes = Changes::default();
    changes.remove(letter_key(id));
    Ok(engine.save_records(changes.list()).await?)
}

/// Everything that waits, and everything that was not taken; also while no server is connected.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn queue_view(engine: &Engine, bridge: Option<&Bridge>) -> Result<RocketChatQueue, StoreError> {
    let records = Records::new(engine.store.clone());
    let why = |rid: &str| bridge.and_then(|bridge| lock(&lock(&bridge.rooms).get(rid)?.report).problem.clone());
    let mut rooms = waiting(engine, &records)?;
    for room in &mut rooms {
        room.why = match bridge {
            Some(_) => why(&room.rid),
            None => Some("no Rocket.Chat server is connected and reached".to_owned()),
        };
    }
    rooms.retain(|room| room.waiting > 0 || bridge.is_some() && room.why.is_some());
    let letters = records.letters()?.into_iter().map(|(id, letter)| shown(id, letter)).collect();
    Ok(RocketChatQueue { rooms, letters })
}

/// How much of each federated room waits in the log.
fn waiting(engine: &Engine, records: &Records) -> Result<Vec<WaitingRoom>, StoreError> {
    let mut rooms: Vec<(WaitingRoom, LogPosition)> = Vec::new();
    // A direct room may be several in the mesh.
    let mut places: BTreeMap<RoomId, usize> = BTreeMap::new();
    for (rid, federated) in records.rooms()? {
        let Some(room) = federated.room() else { continue };
        places.extend(std::iter::once(room).chain(federated.also()).map(|room| (room, rooms.len())));
        let Federated { room: id, name, log, .. } = federated;
        rooms.push((WaitingRoom { rid, room: id, name, ..WaitingRoom::default() }, log));
    }
    let Some(mut after) = rooms.iter().map(|(_, log)| *log).min() else { return Ok(Vec::new()) };
    let mut left = MOST_ENTRIES;
    while left > 0 {
        let entries = engine.store.log_after(after, PAGE.min(left))?;
        let Some(last) = entries.last().map(|entry| entry.position) else { break };
        after = last;
        left -= entries.len();
        for entry in entries.into_iter().filter(|entry| tells(entry.kind)) {
            let Some((room, log)) = places.get(&entry.room).and_then(|place| rooms.get_mut(*place)) else { continue };
            if entry.position <= *log {
                continue;
            }
            room.waiting += 1;
            if room.oldest_ms.is_none() {
                room.oldest_ms = engine.store.event(&entry.event)?.map(|stored| stored.event.header().time_ms);
            }
        }
    }
    Ok(rooms.into_iter().map(|(room, _)| room).collect())
}

/// Whether an entry of the log is one that something may have to be done for.
pub(super) fn tells(kind: LogKind) -> bool {
    !matches!(kind, LogKind::Rejected | LogKind::ArrivedWithheld | LogKind::Ahead)
}

fn shown(id: String, letter: Letter) -> DeadLetter {
    DeadLetter {
        id,
        can_retry: letter.event.is_some(),
        event: letter.of,
        room: letter.rid,
        what: if letter.what.is_empty() { "change".to_owned() } else { letter.what },
        code: if letter.code.is_empty() { REFUSED.to_owned() } else { letter.code },
        reason: letter.reason,
        since_ms: letter.at_ms,
        tries: letter.tries,
    }
}

/// Shows how rooms do that no bridge keeps the same, because its server is not reached.
pub(super) fn tell_unbridged(engine: &Engine, host: &dyn Host) {
    let records = Records::new(engine.store.clone());
    let reports = waiting(engine, &records).map(|rooms| {
        let report = |room: WaitingRoom| RoomReport {
            undelivered: usize::try_from(room.waiting).unwrap_or(usize::MAX),
            oldest_ms: room.oldest_ms,
            ..RoomReport::default()
        };
        rooms.into_iter().map(report).collect::<Vec<_>>()
    });
    match reports {
        Ok(reports) => tell(&records, &reports, host),
        Err(error) => tracing::warn!(%error, "what waits cannot be read"),
    }
}

/// What is wrong by letters, and by accounts that cannot log in and as which whole rooms are read.
fn notices(letters: &[(String, Letter)], reports: &[RoomReport]) -> Notices {
    let mut notices = Notices::new();
    for (_, letter) in letters {
        let known = [
            ProblemKind::ShadowTokenRefused,
            ProblemKind::RestrictedWorkspace,
            ProblemKind::PermissionMissing,
            ProblemKind::FileAway,
        ];
        let kind = known.into_iter().find(|kind| kind.code() == letter.code).unwrap_or(ProblemKind::Undeliverable);
        let about = letter.about.clone().filter(|_| kind == ProblemKind::ShadowTokenRefused);
        notices.insert((kind, about), letter.reason.clone());
    }
    for report in reports {
        if let (Some(username), Some(problem)) = (&report.barred, &report.problem) {
            notices.insert((ProblemKind::ShadowTokenRefused, Some(username.clone())), problem.clone());
        }
    }
    notices
}

fn tell(records: &Records, reports: &[RoomReport], host: &dyn Host) {
    let letters = match records.letters() {
        Ok(letters) => letters,
        Err(error) => return tracing::warn!(%error, "what could not be delivered cannot be read"),
    };
    let notices = notices(&letters, reports);
    let (waits, refused): (Vec<_>, Vec<_>) = letters.into_iter().partition(|(_, letter)| letter.is_waiting());
    let in_log: usize = reports.iter().map(|report| report.undelivered).sum();
    let oldest = reports.iter().filter_map(|report| report.oldest_ms);
    let oldest_ms = oldest.chain(waits.iter().map(|(_, letter)| letter.at_ms)).min();
    let queue = QueueView {
        waiting: (in_log + waits.len()) as u64,
        oldest_ms,
        undeliverable: refused.len() as u64,
        latest_undeliverable: refused.into_iter().rev().take(MAX_SHOWN).map(|(id, letter)| shown(id, letter)).collect(),
    };
    host.queue(queue, &notices);
}

impl Bridge {
    /// Shows what waits in all rooms, and what could not be delivered.
    pub(crate) fn tell_queue(&self) {
        let handles: Vec<_> = lock(&self.rooms).values().cloned().collect();
        let reports: Vec<RoomReport> = handles.iter().map(|handle| lock(&handle.report).clone()).collect();
        tell(&self.records, &reports, &*self.host);
    }

    /// Does so in a moment, once for all rooms that ask for it meanwhile: when a server is away, all of them do.
    pub(super) fn tell_queue_soon(&self) {
        self.telling.notify_one();
    }

    /// Does what [`Bridge::tell_queue_soon`] asks for, until the bridge stops.
    pub(super) async fn keep_telling(self) {
        let mut stopped = self.stopped.subscribe();
        loop {
            tokio::select! {
                () = self.telling.notified() => {}
                () = shut_down(&mut stopped) => return,
            }
            self.tell_queue();
            tokio::select! {
                () = tokio::time::sleep(TOLD) => {}
                () = shut_down(&mut stopped) => return,
            }
        }
    }
}

impl RoomTask {
    /// Takes an entry of the log, or keeps it as a letter if it alone cannot be done.
    pub(super) async fn take_or_keep(&mut self, kind: LogKind, event: EventId) -> Result<(), Stall> {
        self.handling = Some(event);
        let taken = self.take(kind, event).await;
        let kept = match taken {
            Err(stall) => self.keep(stall).await,
            Ok(()) => Ok(()),
        };
        self.handling = None;
        kept
    }

    async fn keep(&mut self, stall: Stall) -> Result<(), Stall> {
        let of = self.handling.map(|event| event.to_string()).unwrap_or_default();
        match &stall {
            Stall::Shadow { username } => {
                let code = ProblemKind::ShadowTokenRefused.code();
                self.put_letter(&of, stall.to_string(), code, Some(username.clone())).await
            }
            // Where there is a webhook people go on talking; what it cannot say must not hold that up.
            Stall::Rest(error @ RestError::Restricted) if self.bridge.host.webhook(&self.rid).is_some() => {
                self.put_letter(&of, error.to_string(), ProblemKind::RestrictedWorkspace.code(), None).await
            }
            Stall::Rest(error) if !error.is_passing() && !error.is_outcome_unknown() => {
                self.still_here().await?;
                self.bury_error(&of, error).await
            }
            _ => Err(stall),
        }
    }

    /// Whether the room is there and the service account in it: where it is not, nothing else is wrong with what fails.
    pub(super) async fn still_here(&self) -> Result<(), Stall> {
        if self.is_gone.load(Ordering::SeqCst) {
            return Err(Stall::Gone);
        }
        let reader = self.reader().await?;
        let read = reader.room_info(&self.rid).await;
        match self.bridge.heed(&reader, read)? {
            Ok(_) => Ok(()),
            Err(RestError::NotFound { .. } | RestError::Forbidden { .. } | RestError::Refused { .. }) => {
                Err(Stall::Gone)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What became of a change of a message. One that is not there any more needs none, however its absence is told: it was deleted by
    /// a call whose outcome a crash kept from being recorded, or by somebody here.
    pub(super) async fn unless_gone(
        &self,
        message: &str,
        outcome: Result<(), RestError>,
    ) -> Result<Result<(), RestError>, Stall> {
        if !matches!(outcome, Err(RestError::Refused { .. })) {
            return Ok(outcome);
        }
        let there = self.read_message(message).await?;
        Ok(if there.is_none_or(|there| there.hidden) { Ok(()) } else { outcome })
    }

    /// Notes what cannot be delivered, and why.
    pub(super) async fn bury(&self, of: &str, reason: &str) -> Result<(), Stall> {
        self.put_letter(of, reason.to_owned(), REFUSED, None).await
    }

    /// Notes a file that is not here yet. What it belongs to is shown without it.
    pub(super) async fn await_file(&self, of: &str, reason: &str) -> Result<(), Stall> {
        self.put_letter(of, reason.to_owned(), ProblemKind::FileAway.code(), None).await
    }

    /// Notes what Rocket.Chat did not take.
    pub(super) async fn bury_error(&self, of: &str, error: &RestError) -> Result<(), Stall> {
        let code = match error {
            RestError::Forbidden { .. } => ProblemKind::PermissionMissing.code(),
            _ => REFUSED,
        };
        self.put_letter(of, error.to_string(), code, None).await
    }

    /// Notes what takes an account of its own, where none may be made. It is tried again, and done once one may be. Where many such
    /// things are noted already further ones are only counted: an administrator may want it so for good, and the room has to go on.
    pub(super) async fn bury_without_account(&self, of: &str, reason: String) -> Result<(), Stall> {
        if !self.trying && self.bridge.records.letters()?.len() >= MOST_LETTERS / 2 {
            tracing::warn!(rid = %self.rid, %of, %reason, "something cannot be delivered");
            self.bridge.host.count(Counted::Refused);
            return Ok(());
        }
        self.put_letter(of, reason, ProblemKind::PermissionMissing.code(), None).await
    }

    async fn put_letter(&self, of: &str, reason: String, code: &str, about: Option<String>) -> Result<(), Stall> {
        let event = self.handling.map(|event| event.to_string());
        // One letter for an event, whatever of it fails: trying again looks at all of it.
        let of = event.as_deref().unwrap_or(of);
        tracing::warn!(rid = %self.rid, %of, %reason, "something cannot be delivered");
        let stored = match &self.handling {
            Some(event) => self.bridge.engine.store.event(event)?,
            None => None,
        };
        let what = stored.and_then(|stored| Some(stored.event.content().ok()?.kind_and_key().0));
        let letter = Letter {
            rid: self.rid.clone(),
            of: of.to_owned(),
            reason,
            at_ms: self.bridge.engine.clock.now_ms(),
            event,
            what: what.unwrap_or_default().to_owned(),
            code: code.to_owned(),
            about,
            log: self.federated.log,
            again: false,
            tries: 0,
        };
        let mut changes = Changes::default();
        if !self.bridge.records.add_letter(&letter, &mut changes)? {
            return Err(Stall::Full);
        }
        self.bridge.save(&changes).await?;
        self.unsettled.store(true, Ordering::SeqCst);
        // What names no event cannot be tried again.
        if letter.event.is_some() {
            lock(&self.failed).insert(letter.id());
        }
        self.bridge.host.count(Counted::Refused);
        self.bridge.tell_queue();
        Ok(())
    }

    /// Tries letters again that somebody wants tried again, and those that wait for something that may have been mended.
    pub(super) async fn try_letters(&mut self) -> Result<(), Stall> {
        // Where much happens the room is awake for another reason when it is time.
        self.mended |= self.try_at.is_some_and(|at| at <= Instant::now());
        if self.mended {
            let own = |(_, letter): &(String, Letter)| letter.rid == self.rid && (letter.again || letter.may_pass());
            let letters: Vec<_> = self.bridge.records.letters()?.into_iter().filter(own).collect();
            for (id, letter) in letters {
                self.try_letter(&id, &letter).await?;
            }
            self.mended = false;
            let left = self.bridge.records.letters()?.into_iter();
            let left = left.filter(|(_, letter)| letter.rid == self.rid && letter.may_pass()).map(|(id, _)| id);
            *lock(&self.failed) = left.collect();
            self.bridge.tell_queue();
        }
        let waits = !lock(&self.failed).is_empty();
        if !waits {
            self.try_at = None;
        } else if self.try_at.is_none_or(|at| at <= Instant::now()) {
            self.try_at = Some(Instant::now() + AGAIN);
        }
        Ok(())
    }

    async fn try_letter(&mut self, id: &str, letter: &Letter) -> Result<(), Stall> {
        let event = letter.event.as_deref().and_then(|event| event.parse::<EventId>().ok());
        let Some(event) = event else { return Ok(()) };
        lock(&self.failed).remove(id);
        self.bridge.host.count(Counted::Retry);
        self.trying = true;
        // It comes late by now, and says when it was said.
        let tried = self.take_or_keep(LogKind::AcceptedLate, event).await;
        self.trying = false;
        tried?;
        let failed_again = lock(&self.failed).contains(id);
        let mut changes = Changes::default();
        match self.bridge.records.letter(id)?.filter(|_| failed_again) {
            Some(kept) => changes.set(letter_key(id), &Letter { again: false, tries: kept.tries + 1, ..kept }),
            None => changes.remove(letter_key(id)),
        }
        self.bridge.save(&changes).await?;
        if failed_again { Ok(()) } else { self.react_again(event, letter.log).await }
    }

    /// Reactions to a message that did not stand there when they came.
    async fn react_again(&mut self, target: EventId, log: LogPosition) -> Result<(), Stall> {
        let (store, mut after) = (self.bridge.engine.store.clone(), log);
        while after < self.federated.log {
            let entries = store.log_after(after, PAGE)?;
            let Some(last) = entries.last().map(|entry| entry.position) else { return Ok(()) };
            after = last;
            let (rooms, until) = (self.rooms(), self.federated.log);
            for entry in entries.into_iter().filter(|entry| rooms.contains(&entry.room) && entry.position <= until) {
                let Some(stored) = store.event(&entry.event)?.filter(|_| tells(entry.kind)) else { continue };
                if matches!(stored.event.content(), Ok(Content::React { target: of, .. }) if of == target) {
                    self.take_or_keep(entry.kind, entry.event).await?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_keeps_a_whole_room_waiting_is_told_as_long_as_it_does() {
        let problem = Some("bob.there cannot log in".to_owned());
        let waits = RoomReport { barred: Some("bob.there".to_owned()), problem, ..RoomReport::default() };
        let about = (ProblemKind::ShadowTokenRefused, Some("bob.there".to_owned()));
        let told = notices(&[], &[RoomReport::default(), waits]);
        assert_eq!(told.get(&about).map(String::as_str), Some("bob.there cannot log in"));
        assert!(notices(&[], &[RoomReport::default()]).is_empty());
    }
}
