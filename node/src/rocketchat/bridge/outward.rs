//! What local people did, told to the room; and undone in Rocket.Chat where the room's rules refuse it.
//!
//! Each event names in its header the message that it came from. The event is written first, and recorded after: a crash between the
//! two is mended from the log, where the event itself says what it was made from.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rocketmesh_protocol::authority::{Refusal, RoomState};
use rocketmesh_protocol::codec::{Map, Value};
use rocketmesh_protocol::event::{Content, Event, FileRef, Label, Membership, Role, Switch};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, Origin, UserId};

use super::Stall;
use super::federate::renamed;
use super::files::Left;
use super::room::RoomTask;
use crate::engine::{JoinError, PostError, Written};
use crate::rocketchat::client::{FileInfo, RoomKind};
use crate::rocketchat::mapping::Known;
use crate::rocketchat::mapping::outgoing::{News, Said, What};
use crate::rocketchat::mapping::seen::{Seen, hash};
use crate::rocketchat::mapping::text::{self, Text};
use crate::rocketchat::records::{Changes, Shown, event_key, inside_key, message_key};
use crate::rocketchat::status::Counted;

/// Where a header says what an event was made from.
const SOURCE: &str = "rc";
/// The body's field of a reply that stands in the room too.
pub(super) const IN_ROOM: &str = "in_room";
/// How long a join may look for a server of the room.
const JOIN: Duration = Duration::from_secs(20);

/// The message that an event of this server was made from, and the time of the change, in milliseconds since 1970.
pub(super) fn source(event: &Event) -> Option<(String, u64)> {
    let source = event.header().content.as_ref()?.get(SOURCE)?.as_map()?;
    Some((source.get("id")?.as_text()?.to_owned(), source.get("at").and_then(Value::as_u64).unwrap_or(0)))
}

/// What became of something that somebody did.
pub(super) enum Outcome {
    /// This event was written.
    Written(Box<Event>),
    /// It is so already.
    Already,
    /// The room does not allow it, for this reason.
    Refused(String),
}

impl RoomTask {
    /// Tells what is new about a message, and records that it was told.
    pub(super) async fn tell(&mut self, id: &str, news: News) -> Result<(), Stall> {
        let News { said, seen: after, taken_down } = news;
        let (mut refused, mut edit_refused) = (false, false);
        let mut uninvited: Option<(Said, String)> = None;
        for said in said {
            // Whoever could not be invited may still come in by themselves, where that takes no invitation.
            let refused_invitation = uninvited.take();
            match self.say(id, &said, refused_invitation.is_none()).await? {
                // Each by itself: what comes after it may have to wait.
                Outcome::Written(event) => {
                    self.note(id, &said, &event, after.as_ref()).await?;
                    self.bridge.host.count(Counted::Taken);
                }
                Outcome::Already => self.note_place(&said.what).await?,
                Outcome::Refused(reason) if invites_own(&said, self.bridge.engine.origin) => {
                    uninvited = Some((said, reason));
                }
                Outcome::Refused(reason) => {
                    let (said, reason) = refused_invitation.unwrap_or((said, reason));
                    refused |= matches!(said.what, What::Message { .. } | What::Redact { .. });
                    edit_refused |= matches!(said.what, What::Edit { .. });
                    self.undo(id, &said, &reason, after.as_ref()).await?;
                }
            }
        }
        if let Some((said, reason)) = uninvited {
            self.undo(id, &said, &reason, after.as_ref()).await?;
        }
        let Some(mut after) = after else { return Ok(()) };
        // What was noted on the way, the event above all, stays.
        let noted = self.bridge.records.seen(id)?.unwrap_or_default();
        after.event = after.event.or(noted.event);
        after.gone |= noted.gone;
        if edit_refused {
            after.text = noted.text;
        }
        after.refused |= noted.refused || refused;
        // Before it is recorded as gone: once it is, nobody would say so any more.
        if taken_down
            && let Some(target) = after.event()
            && !self.redact_for_all(id, target).await?
        {
            // Taking something down on one's own server always works, and goes no further.
            after.refused = true;
        }
        let mut changes = Changes::default();
        changes.set(message_key(id), &after);
        self.record(changes).await
    }

    /// Notes what was just written, before anything else is.
    pub(super) async fn note(
        &mut self,
        id: &str,
        said: &Said,
        event: &Event,
        after: Option<&Seen>,
    ) -> Result<(), Stall> {
        let mut changes = Changes::default();
        let mut seen = self.bridge.records.seen(id)?.unwrap_or_default();
        match &said.what {
            What::Message { .. } => {
                seen = after.cloned().unwrap_or_default();
                seen.event = Some(event.id().to_string());
                changes.set(event_key(&event.id()), &Shown { message: id.to_owned(), ..Shown::default() });
            }
            What::Edit { .. } => {
                if let Some(after) = after {
                    (seen.text, seen.edited_ms) = (after.text.clone(), after.edited_ms);
                    seen.former.clone_from(&after.former);
                }
            }
            What::React { emoji, remove, .. } => {
                if let Some(username) = self.view.username(&self.bridge.engine.local(said.sender.clone())) {
                    seen.note_reaction(emoji, &username, !remove);
                }
            }
            What::Redact { .. } => seen.gone = true,
            // Whoever was put in or out here is so already.
            What::Member { user, change } => {
                if let Some(account) = self.bridge.records.shadow(user)? {
                    match change {
                        Membership::Invite => changes.set(inside_key(&self.rid, &account), &true),
                        _ => changes.remove(inside_key(&self.rid, &account)),
                    }
                }
                return self.record(changes).await;
            }
            What::Switch { switch: Switch::Archived, on: false } => {
                // What an archive keeps from being done is made up for.
                self.look_soon();
                return Ok(());
            }
            what => {
                if let Some(name) = renamed(what) {
                    self.rename(name.to_owned()).await?;
                }
                return Ok(());
            }
        }
        changes.set(message_key(id), &seen);
        self.record(changes).await
    }

    /// Records of a message that was said before a crash.
    pub(super) fn note_message(&self, id: &str, event: &Event, changes: &mut Changes) {
        let seen = Seen { event: Some(event.id().to_string()), text: self.text_hash(event), ..Seen::default() };
        changes.set(message_key(id), &seen);
        changes.set(event_key(&event.id()), &Shown { message: id.to_owned(), ..Shown::default() });
    }

    /// The hash of an event's text as it stands here.
    pub(super) fn text_hash(&self, event: &Event) -> String {
        let text = event.body().map(|body| Text::of_body(&body)).unwrap_or_default();
        hash(&text::incoming(&text, &self.view))
    }

    /// Whoever is in the room already is there for whoever puts them in.
    async fn note_place(&mut self, what: &What) -> Result<(), Stall> {
        let What::Member { user, change } = what else { return Ok(()) };
        if let Some(account) = self.bridge.records.shadow(user)? {
            self.note_inside(&account, *change == Membership::Invite).await?;
        }
        Ok(())
    }

    /// Says it in the room. `vouched`: somebody of this server may invite them, if that is what it takes.
    pub(super) async fn say(&mut self, id: &str, said: &Said, vouched: bool) -> Result<Outcome, Stall> {
        let engine = self.bridge.engine.clone();
        let user = engine.local(said.sender.clone());
        let (state, _) = engine.state(self.room).await?;
        if self.is_so(&state, &said.what)? {
            return Ok(Outcome::Already);
        }
        let role = match &said.what {
            What::Role { user, role, given } => match self.role_now(&state, user, *role, *given).await? {
                Some(role) => role,
                None => return Ok(Outcome::Already),
            },
            _ => Role::Member,
        };
        if let What::Member { user: about, change } = &said.what
            && *about == user
        {
            match change {
                Membership::Join => return self.join(said.sender.clone(), vouched).await,
                Membership::Leave => return self.outcome(engine.leave(self.room, said.sender.clone()).await),
                _ => {}
            }
        }
        if !state.is_joined(&user) {
            // Speaking in a public channel is joining it; an administrator who changes something from outside does not.
            let joins = matches!(said.what, What::Message { .. } | What::React { .. });
            if !joins && !self.is_here(&said.sender).await? {
                return Ok(Outcome::Refused(self.words(&Refusal::NotAMember(user))));
            }
            if let Outcome::Refused(reason) = self.join(said.sender.clone(), vouched).await? {
                return Ok(Outcome::Refused(reason));
            }
        }
        let author = |target: &EventId| self.view.author(target).filter(|author| *author != user);
        let (content, fields) = match &said.what {
            What::Message { text, thread, in_room, files } => {
                let mut fields = text.clone().into_fields();
                if *in_room {
                    fields.insert(IN_ROOM, true);
                }
                if !files.is_empty() {
                    fields = match self.bring_all(id, files, fields).await? {
                        Ok(fields) => fields,
                        Err(reason) => return Ok(Outcome::Refused(reason)),
                    };
                }
                // Of two direct rooms that are one here, each has threads of its own.
                let thread = match thread {
                    Some(thread) if self.room_of_event(thread)? == self.room => Some(*thread),
                    _ => None,
                };
                (Content::Message { thread }, Some(fields))
            }
            What::Edit { target, text } => {
                (Content::Edit { target: *target, author: author(target) }, Some(text.clone().into_fields()))
            }
            What::Redact { target } => (Content::Redact { target: *target, author: author(target) }, Some(Map::new())),
            What::React { target, emoji, remove } => {
                let fields = Map::new().with("emoji", emoji.as_str());
                (Content::React { target: *target, remove: *remove }, Some(fields))
            }
            What::Member { user, change } => {
                (Content::Member { user: user.clone(), change: *change, seen: Vec::new() }, None)
            }
            What::Role { user, .. } => (Content::Role { user: user.clone(), role, seen: Vec::new() }, None),
            What::Mute { user, on } => (Content::Mute { user: user.clone(), on: *on, seen: Vec::new() }, None),
            What::Switch { switch, on } => (Content::Switch { switch: *switch, on: *on }, None),
            What::Label { label, text } => {
                (Content::Label(*label), Some(Map::new().with(field(*label), text.as_str())))
            }
        };
        let mut draft = engine.draft(Some(said.sender.clone()), &content, fields);
        let made_from = Map::new().with("id", id).with("at", said.at_ms);
        draft.content = Some(draft.content.unwrap_or_default().with(SOURCE, Value::Map(made_from)));
        // People read when it was said, not when it was told; no clock is believed that is ahead of this one.
        draft.time_ms = draft.time_ms.min(if said.at_ms == 0 { u64::MAX } else { said.at_ms });
        self.outcome(engine.post(self.room_of(&said.what)?, draft).await)
    }

    /// The room in which something is said: where what it is about was said.
    fn room_of(&self, what: &What) -> Result<RoomId, Stall> {
        match what {
            What::Edit { target, .. } | What::Redact { target } | What::React { target, .. } => {
                self.room_of_event(target)
            }
            _ => Ok(self.room),
        }
    }

    pub(super) fn room_of_event(&self, event: &EventId) -> Result<RoomId, Stall> {
        let stored = self.bridge.engine.store.event(event)?;
        Ok(stored.map_or(self.room, |stored| stored.event.room()))
    }

    /// Whether the room is so already: because it was told before a crash, or by somebody else.
    fn is_so(&self, state: &RoomState, what: &What) -> Result<bool, Stall> {
        Ok(match what {
            What::Member { user, change } => {
                let now = state.membership(user);
                match change {
                    Membership::Join => state.is_joined(user),
                    Membership::Invite => matches!(now, Some(Membership::Join | Membership::Invite)),
                    Membership::Leave | Membership::Kick => !matches!(now, Some(Membership::Join | Membership::Invite)),
                    Membership::Ban => now == Some(Membership::Ban),
                    Membership::Unban => now != Some(Membership::Ban),
                }
            }
            What::Role { user, role, given } => *given && state.role(user) == *role,
            What::Mute { user, on } => state.is_muted(user) == *on,
            What::Switch { switch, on } => state.switch(*switch) == *on,
            What::Label { label, text } => self.label(state, *label)?.as_deref() == Some(text.as_str()),
            // What the room took down, and was deleted here by a call whose answer was lost, is heard as deleted: by nobody here.
            What::Redact { target } => self.is_taken_down(target)?,
            What::Message { .. } | What::Edit { .. } | What::React { .. } => false,
        })
    }

    /// A text of the room.
    pub(super) fn label(&self, state: &RoomState, label: Label) -> Result<Option<String>, Stall> {
        // What nobody has set since is what the room began with.
        let event = state.label(label).unwrap_or_else(|| state.create_event());
        let body = self.bridge.engine.store.event(&event)?.and_then(|stored| stored.event.body());
        Ok(body.and_then(|body| body.text(field(label)).map(str::to_owned)))
    }

    /// Somebody of this server joins; where that takes an invitation, somebody of this server who is in the room invites them.
    async fn join(&mut self, user: Localpart, vouched: bool) -> Result<Outcome, Stall> {
        let engine = self.bridge.engine.clone();
        let first = self.joined(engine.join(self.room, user.clone(), JOIN).await)?;
        if !vouched || !matches!(first, Outcome::Refused(_)) {
            return Ok(first);
        }
        let (state, _) = engine.state(self.room).await?;
        let about = engine.local(user.clone());
        for inviter in state.joined_of(engine.origin) {
            let content = Content::Member { user: about.clone(), change: Membership::Invite, seen: Vec::new() };
            let draft = engine.draft(Some(inviter.localpart), &content, None);
            if let Outcome::Written(_) = self.outcome(engine.post(self.room, draft).await)? {
                return self.joined(engine.join(self.room, user, JOIN).await);
            }
        }
        Ok(first)
    }

    fn joined(&self, outcome: Result<Written, JoinError>) -> Result<Outcome, Stall> {
        match outcome {
            Ok(written) => Ok(Outcome::Written(Box::new(written.event))),
            Err(JoinError::Post(error)) => self.outcome(Err(error)),
            Err(error @ (JoinError::NotAdmitted(_) | JoinError::GivenUp)) => Ok(Outcome::Refused(error.to_string())),
            Err(error) => Err(Stall::Join(error)),
        }
    }

    fn outcome(&self, written: Result<Written, PostError>) -> Result<Outcome, Stall> {
        match written {
            Ok(written) => Ok(Outcome::Written(Box::new(written.event))),
            Err(PostError::Refused(refusal)) => Ok(Outcome::Refused(self.words(&refusal))),
            Err(PostError::Author(error)) => Ok(Outcome::Refused(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in the files of a message. One that cannot be had goes missing with a word, and not the message with it.
    async fn bring_all(&self, id: &str, files: &[FileInfo], fields: Map) -> Result<Result<Map, String>, Stall> {
        let mut brought: Vec<FileRef> = Vec::new();
        for sent in files {
            match self.bring(sent).await {
                Ok(file) if brought.iter().any(|known| known.file == file.file) => {}
                Ok(file) => brought.push(file),
                Err(Left::Waiting(stall)) => return Err(stall),
                Err(Left::Behind(reason) | Left::Away(reason)) => {
                    self.bury(id, &format!("the file {}: {reason}", sent.name)).await?
                }
            }
        }
        Ok(FileRef::into_fields(&brought, fields).map_err(|error| error.to_string()))
    }

    /// A message of somebody elsewhere was taken down here, and the server does not say by whom. Whoever of this server may take it
    /// down in the room has done so, as far as anybody can tell. False if nobody may.
    async fn redact_for_all(&mut self, id: &str, target: EventId) -> Result<bool, Stall> {
        let engine = self.bridge.engine.clone();
        let (state, _) = engine.state(self.room).await?;
        let mut able: Vec<UserId> = state.joined_of(engine.origin).collect();
        able.sort_by_key(|user| std::cmp::Reverse(state.rank(user)));
        let Some(first) = able.first() else { return Ok(false) };
        let at_ms = engine.clock.now_ms();
        let said = Said { sender: first.localpart.clone(), what: What::Redact { target }, at_ms };
        Ok(!matches!(self.say(id, &said, true).await?, Outcome::Refused(_)))
    }

    /// Takes back in Rocket.Chat what the room refused, and says why to whoever did it.
    pub(super) async fn undo(
        &mut self,
        id: &str,
        said: &Said,
        reason: &str,
        after: Option<&Seen>,
    ) -> Result<(), Stall> {
        // In a direct room nothing but messages is put back.
        let is_message = matches!(said.what, What::Message { .. } | What::Edit { .. });
        self.unsettled.store(self.federated.kind == RoomKind::Direct && !is_message, Ordering::SeqCst);
        match &said.what {
            What::Message { .. } => {
                // Recorded once it is done: what is recorded is not looked at again.
                let deleted = self.bridge.client.delete_message(&self.rid, id).await;
                let deleted = self.unless_gone(id, deleted).await?;
                self.done(id, deleted).await?;
                let seen = Seen { gone: true, refused: true, ..after.cloned().unwrap_or_default() };
                let mut changes = Changes::default();
                changes.set(message_key(id), &seen);
                self.record(changes).await?;
            }
            What::Edit { target, .. } => self.unedit(id, *target, after).await?,
            What::Redact { .. } | What::React { .. } => {}
            What::Member { user, change } => self.put_back(user, *change).await?,
            What::Role { user, .. } => self.settle_role(user).await?,
            What::Mute { user, .. } => self.settle_mute(user).await?,
            What::Switch { switch, .. } => self.settle_switch(*switch).await?,
            What::Label { label, .. } => self.reset_label(*label).await?,
        }
        let undone = !self.unsettled.load(Ordering::SeqCst);
        let words = format!("{} in {}: {reason}.", outcome_words(&said.what, undone), self.place());
        self.bridge.explain(&said.sender, &words).await;
        Ok(())
    }

    /// Puts back the words of before an edit that was refused.
    async fn unedit(&mut self, id: &str, target: EventId, after: Option<&Seen>) -> Result<(), Stall> {
        let Some(after) = after else { return self.settle_message(target, None).await };
        let before = self.bridge.records.seen(id)?.unwrap_or_default();
        // A text that nobody can have written stands there until the words are back: the look at the message finds that it is to be
        // otherwise, and should that not come to its end the edit is news once more.
        let unfinished =
            Seen { text: String::new(), edited_ms: before.edited_ms, updated_ms: before.updated_ms, ..after.clone() };
        let mut changes = Changes::default();
        changes.set(message_key(id), &unfinished);
        self.record(changes).await?;
        self.settle_message(target, None).await?;
        if self.bridge.records.seen(id)?.is_some_and(|seen| seen.text.is_empty()) {
            // It cannot be put back, and stays as it is.
            self.unsettled.store(true, Ordering::SeqCst);
            let mut changes = Changes::default();
            changes.set(message_key(id), after);
            self.record(changes).await?;
        }
        Ok(())
    }
}

/// The body's field of a label.
pub(super) const fn field(label: Label) -> &'static str {
    match label {
        Label::Name => "name",
        Label::Topic => "topic",
        Label::Description => "description",
        Label::Announcement => "announcement",
    }
}

/// What became of something that the room refused, as it is told to whoever did it.
const fn outcome_words(what: &What, undone: bool) -> &'static str {
    match (what, undone) {
        (What::Redact { .. }, _) => "The message is gone on this server only",
        (What::React { .. }, _) => "Your reaction is seen on this server only",
        (What::Message { .. }, true) => "Your message was taken back",
        (What::Message { .. }, false) => "Your message is seen on this server only",
        (What::Edit { .. }, true) => "Your edit was taken back",
        (What::Edit { .. }, false) => "Your edit is seen on this server only",
        (What::Member { change: Membership::Unban, .. }, false) => "The ban is lifted on this server only",
        (_, true) => "That was undone",
        (_, false) => "That could not be undone and holds on this server only",
    }
}

/// Whether somebody of this server is invited, who then joins by themselves.
fn invites_own(said: &Said, origin: Origin) -> bool {
    matches!(&said.what, What::Member { user, change: Membership::Invite } if user.origin == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_that_something_was_undone_which_was_not() {
        let all = [
            What::Message { text: Text::default(), thread: None, in_room: false, files: Vec::new() },
            What::Switch { switch: Switch::Archived, on: true },
            What::Label { label: Label::Topic, text: String::new() },
        ];
        for what in all {
            let (undone, stays) = (outcome_words(&what, true), outcome_words(&what, false));
            assert!(undone.contains("was undone") || undone.contains("taken back"), "{undone}");
            assert!(stays.ends_with("on this server only"), "{stays}");
        }
    }
}
