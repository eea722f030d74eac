//! What the room says, done in Rocket.Chat.
//!
//! An entry of the log says what to look at, and not what to do: what is to stand there is worked out from all that is known now, and
//! done where it does not stand there yet. So doing it twice does nothing, and a crash anywhere is mended by doing it again.
//!
//! Each thing has a module of its own: [`messages`](super::messages) and their [files](super::attached), [people](super::members),
//! [texts and switches](super::settings) of the room.

use rocketmesh_protocol::codec::Value;
use rocketmesh_protocol::event::{Content, Event, kind};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;
use rocketmesh_storage::{Alteration, LogKind, Verdict};

use super::Stall;
use super::outward::IN_ROOM;
use super::room::RoomTask;
use crate::rocketchat::client::RestError;
use crate::rocketchat::mapping::incoming::Wanted;
use crate::rocketchat::mapping::text::Text;
use crate::rocketchat::status::Counted;

impl RoomTask {
    /// Takes one entry of the log.
    pub(super) async fn take(&mut self, kind: LogKind, id: EventId) -> Result<(), Stall> {
        let Some(stored) = self.bridge.engine.store.event(&id)? else { return Ok(()) };
        if stored.event.header().state_key.is_some() {
            // What both sides have now is noted, so that a later difference tells which one changed.
            self.look_soon();
        }
        match stored.event.content() {
            Ok(Content::Message { .. }) => self.settle_message(id, Some(kind)).await,
            Ok(Content::Edit { target, .. } | Content::Redact { target, .. }) => {
                self.settle_message(target, None).await
            }
            Ok(Content::React { target, remove }) => {
                let on = remove == (stored.verdict != Verdict::Accepted);
                self.settle_reaction(&stored.event, target, on).await
            }
            Ok(Content::Member { user, .. }) => {
                // In a room that they have just entered nobody knows yet how they are called.
                self.bridge.look_at_user(&user);
                self.settle_member(&user).await
            }
            Ok(Content::Role { user, .. }) => self.settle_role(&user).await,
            Ok(Content::Mute { user, .. }) => self.settle_mute(&user).await,
            Ok(Content::Switch { switch, .. }) => self.settle_switch(switch).await,
            Ok(Content::Label(label)) => self.settle_label(label).await,
            Ok(Content::Unknown) => {
                if let Some(user) = stored.event.sender().filter(|_| stored.event.header().kind == kind::PROFILE) {
                    self.bridge.look_at_other(user);
                }
                Ok(())
            }
            Ok(Content::Create { .. } | Content::Server { .. } | Content::JoinRule { .. } | Content::Merge)
            | Err(_) => Ok(()),
        }
    }

    /// A message as the room has it now.
    pub(super) fn wanted(&self, id: &EventId, old: bool) -> Result<Option<(Wanted, UserId)>, Stall> {
        let store = &self.bridge.engine.store;
        let Some(stored) = store.event(id)?.filter(|stored| self.reads(&stored.event.room())) else { return Ok(None) };
        let event = stored.event;
        let (Some(author), Ok(Content::Message { thread })) = (event.sender(), event.content()) else {
            return Ok(None);
        };
        let accepted = |id: &EventId| -> Result<Option<Event>, Stall> {
            let stored = store.event(id)?.filter(|stored| stored.verdict == Verdict::Accepted);
            Ok(stored.map(|stored| stored.event).filter(|alteration| alteration.reaches(&event)))
        };
        let mut taken_down = store.marks(id)?.erased || stored.verdict != Verdict::Accepted;
        let room = event.room();
        for redaction in store.alterations(&room, id, Alteration::Redaction, &author)? {
            taken_down |= accepted(&redaction)?.is_some();
        }
        if taken_down {
            return Ok(Some((Wanted::Hidden, author)));
        }
        let Some(body) = event.body() else { return Ok(Some((Wanted::Awaited, author))) };
        let mut last: Option<Event> = None;
        for edit in store.alterations(&room, id, Alteration::Edit, &author)? {
            if let Some(edit) = accepted(&edit)?.filter(|edit| edit.body().is_some()) {
                // The same on every server: the last in the room's order.
                if last.as_ref().is_none_or(|last| edit.order() > last.order()) {
                    last = Some(edit);
                }
            }
        }
        let words = last.and_then(|edit| edit.body()).as_ref().map_or_else(|| Text::of_body(&body), Text::of_body);
        let files = event.files().unwrap_or_default();
        let in_room = body.fields().get(IN_ROOM).and_then(Value::as_bool).unwrap_or(false);
        let said_ms = event.header().time_ms;
        Ok(Some((Wanted::Shown { text: words, files, thread, in_room, said_ms, old }, author)))
    }

    /// Whether the room has taken a message down.
    pub(super) fn is_taken_down(&self, id: &EventId) -> Result<bool, Stall> {
        Ok(matches!(self.wanted(id, false)?, Some((Wanted::Hidden, _))))
    }

    /// What became of a call: true if it is done, and an error where it is to be tried again. What cannot be done is a dead letter.
    pub(super) async fn done(&self, of: &str, result: Result<(), RestError>) -> Result<bool, Stall> {
        match result {
            Ok(()) => {
                self.bridge.host.count(Counted::Delivered);
                Ok(true)
            }
            // What is not there any more needs no taking away.
            Err(RestError::NotFound { .. }) => Ok(true),
            Err(error) if error.is_passing() => Err(error.into()),
            Err(error) if error.is_so_already() => Ok(true),
            Err(error) => {
                self.bury_error(of, &error).await?;
                Ok(false)
            }
        }
    }
}
