//! Files of messages, uploaded and confirmed. Each is a message of its own in Rocket.Chat.

use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;

use super::Stall;
use super::files::Left;
use super::people::Speaker;
use super::room::RoomTask;
use crate::rocketchat::client::Message;
use crate::rocketchat::mapping::seen::Seen;
use crate::rocketchat::records::{Changes, Shown, ShownFile, event_key, message_key};
use crate::rocketchat::status::Counted;

/// Messages that are looked through for a file whose confirmation was not answered.
const LOOKED_THROUGH: usize = 50;

impl RoomTask {
    /// Inserts those files of a message that do not stand there yet.
    pub(super) async fn insert_files(
        &mut self,
        event: EventId,
        author: &UserId,
        shown: &mut Shown,
        (files, thread): (&[FileRef], Option<&str>),
    ) -> Result<(), Stall> {
        let stands = |at: usize| shown.parts.get(at).is_some_and(|part| part.message.is_some());
        if (0..files.len()).all(stands) {
            return Ok(());
        }
        let speaker = self.bridge.speaker(author).await?;
        for (at, file) in files.iter().enumerate() {
            self.insert_file(event, &speaker, shown, (at, file, thread)).await?;
        }
        Ok(())
    }

    /// Inserts one file of a message, which is a message of its own. The server chooses the ids: each is recorded before the next step.
    async fn insert_file(
        &mut self,
        event: EventId,
        speaker: &Speaker,
        shown: &mut Shown,
        (at, file, thread): (usize, &FileRef, Option<&str>),
    ) -> Result<(), Stall> {
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
            return self.note_file(event, shown, (at, message)).await;
        }
        if shown.parts[at].upload.is_empty() {
            again = false;
            // Of two rooms that are one here, each has files of its own.
            let content = match self.bridge.content(self.room_of_event(&event)?, file).await {
                Ok(content) => content,
                Err(Left::Waiting(stall)) => return Err(stall),
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
        let message = match there {
            Some(message) => message,
            None => {
                let confirmed = speaker.client.confirm_upload(&self.rid, &upload, None, thread).await;
                match self.bridge.heed(&speaker.client, confirmed)? {
                    Ok(message) => message.id,
                    Err(error) if error.is_passing() => return Err(error.into()),
                    Err(error) => {
                        self.still_here().await?;
                        return self.bury(&event.to_string(), &format!("{}: {error}", file.name)).await;
                    }
                }
            }
        };
        self.note_file(event, shown, (at, message)).await
    }

    /// Records as which message a file stands there.
    async fn note_file(
        &mut self,
        event: EventId,
        shown: &mut Shown,
        (at, message): (usize, String),
    ) -> Result<(), Stall> {
        self.bridge.host.count(Counted::Delivered);
        let mut changes = Changes::default();
        shown.parts[at].message = Some(message.clone());
        if shown.message.is_empty() {
            shown.message.clone_from(&message);
        }
        changes.set(message_key(&message), &Seen::inserted(&event, ""));
        changes.set(event_key(&event), &*shown);
        self.record(changes).await
    }

    /// The message of an upload, if it was confirmed.
    async fn confirmed(&self, upload: &str) -> Result<Option<String>, Stall> {
        let last = self.read_history((None, None), LOOKED_THROUGH).await?;
        let of_it = |message: &Message| message.sent_files().iter().any(|file| file.id == upload);
        Ok(last.into_iter().find(of_it).map(|message| message.id))
    }
}
