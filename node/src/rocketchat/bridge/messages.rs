//! Messages of people elsewhere, and what became of those of people here: inserted, edited, taken away, reacted to.

use rocketmesh_protocol::event::{Event, FileRef};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;
use rocketmesh_storage::LogKind;

use super::Stall;
use super::attached::Attached;
use super::people::Speaker;
use super::room::RoomTask;
use crate::rocketchat::client::{Client, Outgoing, RestError, SystemKind};
use crate::rocketchat::mapping::id::message_id;
use crate::rocketchat::mapping::incoming::{self, ToDo, Wanted};
use crate::rocketchat::mapping::seen::Seen;
use crate::rocketchat::mapping::{Known, outgoing, shadow};
use crate::rocketchat::records::{Changes, Hooking, Shown, event_key, message_key};
use crate::rocketchat::status::Counted;

impl RoomTask {
    /// Sees to it that a message stands there as the room has it. Only its own arrival inserts it: an edit of what was never shown
    /// here shows nothing.
    pub(super) async fn settle_message(&mut self, id: EventId, arrival: Option<LogKind>) -> Result<(), Stall> {
        let mut shown = self.bridge.records.shown(&id)?;
        let old = match &shown {
            Some(shown) => shown.old,
            None => arrival == Some(LogKind::AcceptedLate),
        };
        let Some((wanted, author)) = self.wanted(&id, old)? else { return Ok(()) };
        let message = shown.as_ref().map(|shown| shown.message.clone()).unwrap_or_default();
        let seen = if message.is_empty() { None } else { self.bridge.records.seen(&message)? };
        match incoming::message(&wanted, seen.as_ref(), &self.view) {
            ToDo::Nothing => match (wanted, shown.take()) {
                // Its text stands there; some of its files may not yet.
                (Wanted::Shown { files, thread, .. }, Some(mut shown))
                    if arrival.is_some() && seen.as_ref().is_some_and(|seen| seen.inserted && !seen.gone) =>
                {
                    let thread = thread.and_then(|thread| self.view.message(&thread));
                    let mut attached = Attached { files: &files, thread: thread.as_deref(), text: None };
                    self.insert_files(id, &author, &mut shown, &mut attached).await
                }
                // Somebody took the message away here, and its other files have to follow.
                (Wanted::Hidden, Some(shown))
                    if seen.as_ref().is_some_and(|seen| seen.gone)
                        && shown.parts.iter().any(|part| part.message.is_some()) =>
                {
                    self.take_down(id, &author, shown, (message, seen.unwrap_or_default())).await
                }
                _ => Ok(()),
            },
            ToDo::Insert { text, thread, in_room, files } if arrival.is_some() => {
                let mut shown = shown.take().unwrap_or_default();
                shown.old = old;
                self.insert(id, &author, &mut shown, (text, thread, in_room, files)).await
            }
            ToDo::Insert { .. } => Ok(()),
            ToDo::Edit { text } => {
                let mut seen = seen.unwrap_or_default();
                let client = self.hand(&author, seen.inserted && !seen.hooked).await?;
                let has_files = matches!(&wanted, Wanted::Shown { files, .. } if !files.is_empty());
                let words = match has_files {
                    true => self.words_of_edit(&author, &message, seen.inserted, &text).await?,
                    false => text.clone(),
                };
                let edited = match client.update_message(&self.rid, &message, &words).await {
                    // Whoever may not speak here any more may not edit either; the node's own account may.
                    Err(error) if seen.inserted && error.is_of_the_account() => {
                        self.bridge.client.update_message(&self.rid, &message, &words).await
                    }
                    edited => self.bridge.heed(&client, edited)?,
                };
                let edited_at = edited.as_ref().ok().copied().flatten();
                let edited = self.unless_gone(&message, edited.map(drop)).await?;
                if !self.done(&message, edited).await? {
                    // What stands there is what stood there: another try changes it.
                    return Ok(());
                }
                if seen.inserted {
                    // With whose it is, so that it is no news when it is heard.
                    seen.note_text(&words);
                }
                seen.note_text(&text);
                // What somebody here wrote at the same moment and was overwritten by this is not told: it stands nowhere any more.
                seen.edited_ms = seen.edited_ms.max(edited_at.map_or(0, |at| at.ms()));
                let mut changes = Changes::default();
                changes.set(message_key(&message), &seen);
                self.record(changes).await
            }
            ToDo::Delete => {
                let shown = shown.take().unwrap_or_default();
                self.take_down(id, &author, shown, (message, seen.unwrap_or_default())).await
            }
        }
    }

    /// What an edit of a message with files has to say so that it has this text.
    async fn words_of_edit(&self, author: &UserId, message: &str, inserted: bool, text: &str) -> Result<String, Stall> {
        let Some(there) = self.read_message(message).await? else { return Ok(text.to_owned()) };
        if !inserted {
            return Ok(outgoing::edited(&there, text).to_owned());
        }
        let nameless = there.u.id == self.bridge.service.id && there.alias.is_none() && !there.sent_files().is_empty();
        let name = nameless.then(|| self.shown_name(author));
        Ok(shadow::signed(name.as_deref(), text))
    }

    /// Takes a message away, with all its files. One that cannot be taken away stays, and is a dead letter.
    async fn take_down(
        &mut self,
        id: EventId,
        author: &UserId,
        mut shown: Shown,
        (message, mut seen): (String, Seen),
    ) -> Result<(), Stall> {
        let mut changes = Changes::default();
        // One of the files may be the message.
        let parts = shown.parts.iter().filter_map(|part| part.message.clone()).filter(|part| *part != message);
        // The message goes last: once that is gone nobody looks for its files.
        let all: Vec<String> = parts.chain((!seen.gone).then(|| message.clone())).collect();
        for one in all {
            if !self.take_away(author, seen.inserted && !seen.hooked, &one).await? {
                return Ok(());
            }
            let part = self.bridge.records.seen(&one)?.unwrap_or_default();
            changes.set(message_key(&one), &Seen { gone: true, ..part });
        }
        seen.gone = true;
        changes.set(message_key(&message), &seen);
        shown.showing += 1;
        shown.parts.clear();
        // Shown again it is another message, which no webhook has said.
        shown.hook = Hooking::No;
        changes.set(event_key(&id), &shown);
        self.record(changes).await
    }

    /// Deletes a message as whoever said it, or else as the service account. What is not there any more is deleted.
    /// False if that cannot be, which is a dead letter.
    async fn take_away(&self, author: &UserId, inserted: bool, id: &str) -> Result<bool, Stall> {
        let client = self.hand(author, inserted).await?;
        let deleted = client.delete_message(&self.rid, id).await;
        let mut deleted = self.bridge.heed(&client, deleted)?;
        let refused = |deleted: &Result<(), RestError>| deleted.as_ref().is_err_and(RestError::is_of_the_account);
        if inserted && refused(&deleted) {
            deleted = self.bridge.client.delete_message(&self.rid, id).await;
        }
        if refused(&deleted) {
            let there = self.read_message(id).await?;
            if there.is_none_or(|there| there.hidden || there.system() == Some(SystemKind::Deleted)) {
                return Ok(true);
            }
        }
        let deleted = self.unless_gone(id, deleted).await?;
        self.done(id, deleted).await
    }

    /// Whose hand changes a message: the account's that said it, or the service account's.
    async fn hand(&self, author: &UserId, inserted: bool) -> Result<Client, Stall> {
        if !inserted {
            return Ok(self.bridge.client.clone());
        }
        match self.bridge.speaker(author).await {
            Ok(speaker) => Ok(speaker.client),
            // An account that cannot log in says nothing any more; what it said can be changed all the same.
            Err(Stall::Shadow { .. }) => Ok(self.bridge.client.clone()),
            Err(stall) => Err(stall),
        }
    }

    async fn insert(
        &mut self,
        event: EventId,
        author: &UserId,
        shown: &mut Shown,
        (text, thread, in_room, files): (String, Option<String>, bool, Vec<FileRef>),
    ) -> Result<(), Stall> {
        let speaker = self.bridge.speaker(author).await?;
        self.let_in(author).await?;
        let mut attached = Attached { files: &files, thread: thread.as_deref(), text: None };
        if text.is_empty() && !files.is_empty() || self.was_hooked(event, shown, &text).await? {
            return self.insert_files(event, author, shown, &mut attached).await;
        }
        let mut placed = false;
        // Of a file that the service account sends no alias says whose it is: there the text is a message of its own.
        if speaker.alias.is_none() && !files.is_empty() {
            attached.text = Some(&text);
            let inserted = self.insert_files(event, author, shown, &mut attached).await;
            let said = attached.text.take().is_none();
            match inserted {
                Ok(()) if said => {
                    self.is_open_again();
                    return Ok(());
                }
                // No file takes the text along: it is said by itself.
                Ok(()) => placed = true,
                // A webhook says it where there is one.
                Err(Stall::Rest(RestError::Restricted)) if !said => {}
                Err(stall) => return Err(stall),
            }
        }
        let id = message_id(&event, shown.showing);
        let message = Outgoing {
            id: id.clone(),
            rid: self.rid.clone(),
            msg: text.clone(),
            tmid: thread.clone(),
            tshow: in_room,
            alias: speaker.alias.clone(),
            avatar: speaker.alias.is_some().then(|| speaker.picture.clone()),
            ..Outgoing::default()
        };
        match self.send(&speaker, &message).await {
            Err(Stall::Rest(RestError::Restricted)) => {
                let name = self.shown_name(author);
                self.hook(event, shown, (&text, &name, &speaker.username)).await?;
            }
            Ok(true) => {
                self.bridge.host.count(Counted::Delivered);
                self.is_open_again();
                let mut changes = Changes::default();
                shown.message = id;
                changes.set(message_key(&shown.message), &Seen::inserted(&event, &text));
                changes.set(event_key(&event), &*shown);
                self.record(changes).await?;
            }
            Ok(false) => {}
            Err(stall) => return Err(stall),
        }
        match placed {
            true => Ok(()),
            false => self.insert_files(event, author, shown, &mut attached).await,
        }
    }

    /// Inserts a message. False if that cannot be; then it is a dead letter.
    async fn send(&self, speaker: &Speaker, message: &Outgoing) -> Result<bool, Stall> {
        let sent = speaker.client.send_message(message).await;
        let error = match self.bridge.heed(&speaker.client, sent)? {
            Ok(_) => return Ok(true),
            Err(error) if error.is_passing() && !error.is_outcome_unknown() => return Err(error.into()),
            Err(error) => error,
        };
        // An id that is there already is refused: it was inserted by a call whose answer was lost.
        if self.read_message(&message.id).await?.is_some_and(|there| !there.hidden) {
            return Ok(true);
        }
        if error.is_passing() {
            return Err(error.into());
        }
        // What was said before somebody was muted, or a room closed, may come after it. It is said under their name then.
        if let Some(alias) = speaker.substitute.clone().filter(|_| error.is_of_the_account()) {
            let avatar = Some(speaker.picture.clone());
            let message = Outgoing { alias: Some(alias), avatar, ..message.clone() };
            match self.bridge.client.send_message(&message).await {
                Ok(_) => return Ok(true),
                Err(error) if error.is_passing() => return Err(error.into()),
                Err(_) => {}
            }
        }
        self.still_here().await?;
        self.bury_error(&message.id, &error).await?;
        Ok(false)
    }

    /// Whether a reaction stands there.
    async fn reacts(&self, message: &str, emoji: &str, username: &String) -> Result<bool, Stall> {
        let bare = |emoji: &str| emoji.trim_matches(':').to_owned();
        let Some(there) = self.read_message(message).await? else { return Ok(false) };
        Ok(there.reactions.iter().any(|(one, by)| bare(one) == bare(emoji) && by.usernames.contains(username)))
    }

    pub(super) async fn settle_reaction(&mut self, event: &Event, target: EventId, on: bool) -> Result<(), Stall> {
        let Some(user) = event.sender().filter(|user| !self.view.is_local(user)) else { return Ok(()) };
        let Some(emoji) = event.body().and_then(|body| body.text("emoji").map(str::to_owned)) else { return Ok(()) };
        let Some(message) = self.view.message(&target) else { return Ok(()) };
        let Some(mut seen) = self.bridge.records.seen(&message)? else { return Ok(()) };
        let speaker = self.bridge.speaker(&user).await?;
        // The service account reacts for nobody: several people would be one. What is taken back is noted too: once there is an account,
        // both are looked at again, in order.
        if let Some(name) = &speaker.alias {
            let reason = format!(
                "there is no account for {name} here, and none can be made; `rocketmesh rocketchat check` says why"
            );
            return self.bury_without_account(&event.id().to_string(), reason).await;
        }
        if seen.has_reaction(&emoji, &speaker.username) == on {
            return Ok(());
        }
        self.let_in(&user).await?;
        // Taking back a reaction that is not there adds it.
        let reacted = match on || self.reacts(&message, &emoji, &speaker.username).await? {
            true => speaker.client.react(&message, &emoji, on).await,
            false => Ok(()),
        };
        let reacted = self.bridge.heed(&speaker.client, reacted)?;
        if self.done(&event.id().to_string(), reacted).await? {
            seen.note_reaction(&emoji, &speaker.username, on);
            let mut changes = Changes::default();
            changes.set(message_key(&message), &seen);
            self.record(changes).await?;
        }
        Ok(())
    }
}
