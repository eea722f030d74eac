//! Files of messages, uploaded and confirmed.
//!
//! Rocket.Chat makes a message of one file and one text. So the first file of a message takes its text along, and each further one is a
//! message of its own. The server chooses the ids: each is recorded before the next step, and nothing is confirmed twice.

use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;

use super::Stall;
use super::files::Left;
use super::people::Speaker;
use super::room::RoomTask;
use crate::rocketchat::client::{Message, RestError};
use crate::rocketchat::mapping::outgoing::words;
use crate::rocketchat::mapping::seen::Seen;
use crate::rocketchat::mapping::shadow::{signed, unsigned};
use crate::rocketchat::records::{Changes, Shown, ShownFile, event_key, message_key};
use crate::rocketchat::status::Counted;

/// Messages that are looked through for a file whose confirmation was not answered.
const LOOKED_THROUGH: usize = 50;
/// What the server says of an upload that it no longer has: one that nobody confirms it keeps for a day.
const THROWN_AWAY: &str = "invalid-file";

/// What of a message is to be placed beside what stands there.
pub(super) struct Attached<'a> {
    /// Its files, in order.
    pub(super) files: &'a [FileRef],
    /// The message under which they stand.
    pub(super) thread: Option<&'a str>,
    /// The text that a file is to take along; none once one has.
    pub(super) text: Option<&'a str>,
}

impl RoomTask {
    /// Inserts those files of a message that do not stand there yet. What cannot be had or is refused is a dead letter.
    pub(super) async fn insert_files(
        &mut self,
        event: EventId,
        author: &UserId,
        shown: &mut Shown,
        attached: &mut Attached<'_>,
    ) -> Result<(), Stall> {
        let files = attached.files;
        let stands = |at: usize| shown.parts.get(at).is_some_and(|part| part.message.is_some());
        if (0..files.len()).all(stands) {
            return Ok(());
        }
        let speaker = self.bridge.speaker(author).await?;
        for at in 0..files.len() {
            self.insert_file(event, &speaker, shown, (at, &mut *attached)).await?;
        }
        Ok(())
    }

    async fn insert_file(
        &mut self,
        event: EventId,
        speaker: &Speaker,
        shown: &mut Shown,
        (at, attached): (usize, &mut Attached<'_>),
    ) -> Result<(), Stall> {
        let files = attached.files;
        let Some(file) = files.get(at) else { return Ok(()) };
        if shown.parts.len() <= at {
            shown.parts.resize(at + 1, ShownFile::default());
        }
        if shown.parts[at].message.is_some() {
            return Ok(());
        }
        let mut again = true;
        if shown.parts[at].upload.is_empty()
            && let Some((upload, message)) = self.stood_before_restore(event, speaker, file).await?
        {
            shown.parts[at].upload = upload;
            let text = unsigned(speaker.alias.as_deref(), &words(&message)).to_owned();
            return self.note_file(event, shown, (at, attached), (message.id, &text)).await;
        }
        if shown.parts[at].upload.is_empty() {
            again = false;
            // Of two rooms that are one here, each has files of its own.
            let content = match self.content(self.room_of_event(&event)?, file).await {
                Ok(content) => content,
                Err(Left::Waiting(stall)) => return Err(stall),
                Err(Left::Away(reason)) => {
                    return self.await_file(&event.to_string(), &format!("{}: {reason}", file.name)).await;
                }
                Err(Left::Behind(reason)) => {
                    return self.bury(&event.to_string(), &format!("{}: {reason}", file.name)).await;
                }
            };
            let uploaded = speaker.client.upload(&self.rid, &file.name, &file.media_type, content).await;
            match self.bridge.heed(&speaker.client, uploaded)? {
                Ok(uploaded) => shown.parts[at].upload = uploaded.id,
                Err(error) if error.is_passing() => return Err(error.into()),
                Err(error) => {
                    self.still_here().await?;
                    return self.bury(&event.to_string(), &format!("{}: {error}", file.name)).await;
                }
            }
            let mut changes = Changes::default();
            changes.set(event_key(&event), &*shown);
            self.record(changes).await?;
        }
        let upload = shown.parts[at].upload.clone();
        // Confirming twice makes two messages.
        let there = if again { self.confirmed(&upload).await? } else { None };
        if let Some(message) = there {
            let text = unsigned(speaker.alias.as_deref(), &words(&message)).to_owned();
            return self.note_file(event, shown, (at, attached), (message.id, &text)).await;
        }
        match self.confirm(speaker, &upload, attached).await? {
            Ok((message, text)) => self.note_file(event, shown, (at, attached), (message.id, text)).await,
            Err(error) if again && error.says(THROWN_AWAY) => {
                shown.parts[at] = ShownFile::default();
                let mut changes = Changes::default();
                changes.set(event_key(&event), &*shown);
                self.record(changes).await?;
                Err(Stall::Words(format!("{} was not taken in time and is uploaded once more", file.name)))
            }
            Err(error) => {
                self.still_here().await?;
                self.bury(&event.to_string(), &format!("{}: {error}", file.name)).await
            }
        }
    }

    /// Makes the message of an upload, and says which text it took along: none where the server does not take that one.
    async fn confirm<'a>(
        &self,
        speaker: &Speaker,
        upload: &str,
        attached: &Attached<'a>,
    ) -> Result<Result<(Message, &'a str), RestError>, Stall> {
        let (text, thread) = (attached.text.unwrap_or_default(), attached.thread);
        let name = speaker.alias.as_deref();
        match self.confirm_saying(speaker, upload, &signed(name, text), thread).await? {
            // It may be the text that is refused, which is then said by itself.
            Err(error) if !text.is_empty() && error.is_of_the_account() && !error.says(THROWN_AWAY) => {
                let confirmed = self.confirm_saying(speaker, upload, &signed(name, ""), thread).await?;
                Ok(confirmed.map(|message| (message, "")))
            }
            confirmed => Ok(confirmed.map(|message| (message, text))),
        }
    }

    async fn confirm_saying(
        &self,
        speaker: &Speaker,
        upload: &str,
        text: &str,
        thread: Option<&str>,
    ) -> Result<Result<Message, RestError>, Stall> {
        let confirmed = speaker.client.confirm_upload(&self.rid, upload, text, thread).await;
        match self.bridge.heed(&speaker.client, confirmed)? {
            Err(error) if error.is_passing() => Err(error.into()),
            confirmed => Ok(confirmed),
        }
    }

    /// Records as which message a file stands there, and with which text.
    async fn note_file(
        &mut self,
        event: EventId,
        shown: &mut Shown,
        (at, attached): (usize, &mut Attached<'_>),
        (message, text): (String, &str),
    ) -> Result<(), Stall> {
        self.bridge.host.count(Counted::Delivered);
        let mut changes = Changes::default();
        shown.parts[at].message = Some(message.clone());
        if shown.message.is_empty() {
            shown.message.clone_from(&message);
        }
        changes.set(message_key(&message), &Seen::inserted(&event, text));
        changes.set(event_key(&event), &*shown);
        self.record(changes).await?;
        if !text.is_empty() {
            attached.text = None;
        }
        Ok(())
    }

    /// The message of an upload, if it was confirmed.
    async fn confirmed(&self, upload: &str) -> Result<Option<Message>, Stall> {
        let last = self.read_history((None, None), LOOKED_THROUGH).await?;
        Ok(last.messages.into_iter().find(|message| message.sent_files().iter().any(|file| file.id == upload)))
    }
}
