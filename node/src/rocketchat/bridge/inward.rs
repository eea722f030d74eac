//! What the room says, done in Rocket.Chat.
//!
//! An entry of the log says what to look at, and not what to do: what is to stand there is worked out from all that is known now, and
//! done where it does not stand there yet. So doing it twice does nothing, and a crash anywhere is mended by doing it again.

use rocketmesh_protocol::event::{Content, Event, FileRef, Label, Membership, Role, Switch, kind};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;
use rocketmesh_storage::{Alteration, LogKind, Verdict};

use super::Stall;
use super::federate::{is_called, slug};
use super::files::Left;
use super::people::Speaker;
use super::room::RoomTask;
use crate::rocketchat::client::{Client, Outgoing, RestError, RoomKind, RoomRole, RoomSettings, SystemKind};
use crate::rocketchat::mapping::Known;
use crate::rocketchat::mapping::id::message_id;
use crate::rocketchat::mapping::incoming::{self, Deed, ToDo, Wanted};
use crate::rocketchat::mapping::seen::Seen;
use crate::rocketchat::mapping::text::Text;
use crate::rocketchat::records::{Changes, Hooking, Shown, ShownFile, event_key, inside_key, message_key};
use crate::rocketchat::status::Counted;

/// Messages that are looked through for a file whose confirmation was not answered.
const LOOKED_THROUGH: usize = 50;

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
    fn wanted(&self, id: &EventId, old: bool) -> Result<Option<(Wanted, UserId)>, Stall> {
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
        let said_ms = event.header().time_ms;
        Ok(Some((Wanted::Shown { text: words, files, thread, said_ms, old }, author)))
    }

    /// Whether the room has taken a message down.
    pub(super) fn is_taken_down(&self, id: &EventId) -> Result<bool, Stall> {
        Ok(matches!(self.wanted(id, false)?, Some((Wanted::Hidden, _))))
    }

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
            // Its text stands there; some of its files may not yet.
            ToDo::Nothing => match (wanted, shown.take()) {
                (Wanted::Shown { files, thread, .. }, Some(mut shown))
                    if arrival.is_some() && seen.as_ref().is_some_and(|seen| seen.inserted && !seen.gone) =>
                {
                    let thread = thread.and_then(|thread| self.view.message(&thread));
                    self.insert_files(id, &author, &mut shown, (files.as_slice(), thread.as_deref())).await
                }
                _ => Ok(()),
            },
            ToDo::Insert { text, thread, files } if arrival.is_some() => {
                let mut shown = shown.take().unwrap_or_default();
                shown.old = old;
                self.insert(id, &author, &mut shown, (text, thread, files)).await
            }
            ToDo::Insert { .. } => Ok(()),
            ToDo::Edit { text } => {
                let mut seen = seen.unwrap_or_default();
                let client = self.hand(&author, seen.inserted && !seen.hooked).await?;
                let edited = match client.update_message(&self.rid, &message, &text).await {
                    // Whoever may not speak here any more may not edit either; the node's own account may.
                    Err(error) if seen.inserted && error.is_of_the_account() => {
                        self.bridge.client.update_message(&self.rid, &message, &text).await
                    }
                    edited => self.bridge.heed(&client, edited)?,
                };
                let edited = self.unless_gone(&message, edited).await?;
                if !self.done(&message, edited).await? {
                    // What stands there is what stood there: another try changes it.
                    return Ok(());
                }
                seen.note_text(&text);
                let mut changes = Changes::default();
                changes.set(message_key(&message), &seen);
                self.record(changes).await
            }
            ToDo::Delete => {
                let mut seen = seen.unwrap_or_default();
                let mut shown = shown.take().unwrap_or_default();
                let mut changes = Changes::default();
                // The first file of a message without words is the message.
                let parts = shown.parts.iter().filter_map(|part| part.message.clone()).filter(|part| *part != message);
                // The message goes last: once that is gone nobody looks for its files.
                let all: Vec<String> = parts.chain(std::iter::once(message.clone())).collect();
                for one in all {
                    if !self.take_away(&author, seen.inserted && !seen.hooked, &one).await? {
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
        }
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
        (text, thread, files): (String, Option<String>, Vec<FileRef>),
    ) -> Result<(), Stall> {
        let speaker = self.bridge.speaker(author).await?;
        self.let_in(author).await?;
        if !text.is_empty() || files.is_empty() {
            let id = message_id(&event, shown.showing);
            let message = Outgoing {
                id: id.clone(),
                rid: self.rid.clone(),
                msg: text.clone(),
                tmid: thread.clone(),
                alias: speaker.alias.clone(),
                ..Outgoing::default()
            };
            if self.was_hooked(event, shown, &text).await? {
                return self.insert_files(event, author, shown, (files.as_slice(), thread.as_deref())).await;
            }
            let sent = match self.send(&speaker, &message).await {
                Err(Stall::Rest(RestError::Restricted)) => {
                    let name = self.shown_name(author);
                    self.hook(event, shown, (&text, &name, &speaker.username)).await?;
                    return self.insert_files(event, author, shown, (files.as_slice(), thread.as_deref())).await;
                }
                sent => sent?,
            };
            if sent {
                self.bridge.host.count(Counted::Delivered);
                self.is_open_again();
                let mut changes = Changes::default();
                shown.message = id;
                changes.set(message_key(&shown.message), &Seen::inserted(&event, &text));
                changes.set(event_key(&event), &*shown);
                self.record(changes).await?;
            }
        }
        self.insert_files(event, author, shown, (files.as_slice(), thread.as_deref())).await
    }

    /// Inserts those files of a message that do not stand there yet.
    async fn insert_files(
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
            let message = Outgoing { alias: Some(alias), ..message.clone() };
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
        let of_it =
            |message: &crate::rocketchat::client::Message| message.sent_files().iter().any(|file| file.id == upload);
        Ok(last.into_iter().find(of_it).map(|message| message.id))
    }

    async fn settle_reaction(&mut self, event: &Event, target: EventId, on: bool) -> Result<(), Stall> {
        let Some(user) = event.sender().filter(|user| !self.view.is_local(user)) else { return Ok(()) };
        let Some(emoji) = event.body().and_then(|body| body.text("emoji").map(str::to_owned)) else { return Ok(()) };
        let Some(message) = self.view.message(&target) else { return Ok(()) };
        let Some(mut seen) = self.bridge.records.seen(&message)? else { return Ok(()) };
        let speaker = self.bridge.speaker(&user).await?;
        // The service account reacts for nobody: several people would be one.
        if speaker.alias.is_some() || seen.has_reaction(&emoji, &speaker.username) == on {
            return Ok(());
        }
        self.let_in(&user).await?;
        let reacted = speaker.client.react(&message, &emoji, on).await;
        let reacted = self.bridge.heed(&speaker.client, reacted)?;
        if self.done(&event.id().to_string(), reacted).await? {
            seen.note_reaction(&emoji, &speaker.username, on);
            let mut changes = Changes::default();
            changes.set(message_key(&message), &seen);
            self.record(changes).await?;
        }
        Ok(())
    }

    /// The account's id of somebody, if there is one. `make` makes one for somebody elsewhere.
    pub(super) async fn account_of(&self, user: &UserId, make: bool) -> Result<Option<String>, Stall> {
        if self.view.is_local(user) {
            return Ok(self.bridge.records.local(&user.localpart)?);
        }
        match make {
            true => Ok(self.bridge.shadow(user).await?.map(|(id, _)| id)),
            false => Ok(self.bridge.records.shadow(user)?),
        }
    }

    /// Sees to it that the account that stands for somebody is in the room.
    pub(super) async fn let_in(&mut self, user: &UserId) -> Result<(), Stall> {
        if self.view.is_local(user) || self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let Some(id) = self.account_of(user, true).await? else { return Ok(()) };
        match self.bridge.records.inside_as(&self.rid, &id)? {
            Some(true) => return Ok(()),
            // It was not let in, which is in the queue; only there it is tried again.
            Some(false) if !self.trying => return Ok(()),
            _ => {}
        }
        match self.bring_in(user, &id).await? {
            Some(true) => {
                self.note_inside(&id, true).await?;
                self.settle_standing(user).await
            }
            // Nobody comes into an archived room; it is tried again when the room is compared.
            None => Ok(()),
            Some(false) => {
                let mut changes = Changes::default();
                changes.set(inside_key(&self.rid, &id), &false);
                self.record(changes).await
            }
        }
    }

    pub(super) async fn note_inside(&mut self, id: &str, inside: bool) -> Result<(), Stall> {
        if !inside {
            return self.note_outside(id).await;
        }
        let mut changes = Changes::default();
        changes.set(inside_key(&self.rid, id), &true);
        self.record(changes).await
    }

    async fn note_outside(&mut self, id: &str) -> Result<(), Stall> {
        let mut changes = Changes::default();
        changes.remove(inside_key(&self.rid, id));
        self.record(changes).await
    }

    /// Sees to it that somebody is in the room or out of it.
    pub(super) async fn settle_member(&mut self, user: &UserId) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let now = state.membership(user);
        let own = self.view.is_local(user);
        if own && now == Some(Membership::Join) {
            return self.take_back(user).await;
        }
        if own && now == Some(Membership::Invite) {
            return self.tell_invited(user, &state).await;
        }
        let Some(deed) = incoming::membership(user, now, &self.view) else { return Ok(()) };
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let Some(id) = self.account_of(user, matches!(deed, Deed::Enter(_))).await? else { return Ok(()) };
        let (client, kind) = (self.bridge.client.clone(), self.federated.kind);
        let inside = match own {
            // Whoever left here by themselves is out already.
            true => matches!(deed, Deed::Kick(_) | Deed::Ban(_)) && self.is_in_rocket_chat(&id).await?,
            false => self.bridge.records.is_inside(&self.rid, &id)?,
        };
        let done = match deed {
            Deed::Enter(_) => return self.let_in(user).await,
            Deed::Ban(_) | Deed::Kick(_) if inside => return self.put_out(user, &id).await,
            Deed::Unban(_) if self.bridge.release.has_bans() => match client.unban(&self.rid, &id).await {
                // They were never banned here, or are not any more.
                Err(RestError::Refused { .. }) => Ok(()),
                lifted => lifted,
            },
            Deed::Leave(_) if inside && !own => {
                let speaker = self.bridge.speaker(user).await?;
                match speaker.alias {
                    None => match speaker.client.leave(kind, &self.rid).await {
                        Err(error) if error.is_of_the_account() => return self.put_out(user, &id).await,
                        left => self.bridge.heed(&speaker.client, left)?,
                    },
                    Some(_) => return self.put_out(user, &id).await,
                }
            }
            _ => return Ok(()),
        };
        self.done(&user.to_string(), done).await?;
        self.note_outside(&id).await
    }

    pub(super) async fn is_in_rocket_chat(&self, id: &str) -> Result<bool, Stall> {
        let members = self.bridge.client.members(self.federated.kind, &self.rid).await?;
        Ok(members.iter().any(|member| member.id == id))
    }

    /// A local user is in the room again whom somebody put out here against the room's rules.
    pub(super) async fn take_back(&mut self, user: &UserId) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let Some(id) = self.account_of(user, false).await? else { return Ok(()) };
        if self.is_in_rocket_chat(&id).await? {
            return Ok(());
        }
        if self.bring_in(user, &id).await? == Some(true) {
            self.settle_standing(user).await?;
        }
        Ok(())
    }

    pub(super) async fn settle_role(&mut self, user: &UserId) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let Some(id) = self.account_of(user, false).await?.filter(|_| state.is_joined(user)) else { return Ok(()) };
        let roles = self.bridge.client.roles(self.federated.kind, &self.rid).await?;
        let owners = roles.iter().filter(|entry| entry.roles.iter().any(|role| role == "owner")).count();
        let has: Vec<String> =
            roles.into_iter().find(|entry| entry.u.id == id).map(|entry| entry.roles).unwrap_or_default();
        let wanted = match state.role(user) {
            Role::Owner => Some(RoomRole::Owner),
            Role::Moderator => Some(RoomRole::Moderator),
            Role::Leader => Some(RoomRole::Leader),
            Role::Member => None,
        };
        for (role, word) in
            [(RoomRole::Owner, "owner"), (RoomRole::Moderator, "moderator"), (RoomRole::Leader, "leader")]
        {
            let (is, to_be) = (has.iter().any(|has| has == word), wanted == Some(role));
            if is != to_be {
                // Rocket.Chat keeps the last owner of a room. The service account is one then.
                if role == RoomRole::Owner && is && owners == 1 {
                    self.take_ownership().await?;
                }
                let set = self.bridge.client.set_role(self.federated.kind, &self.rid, &id, role, to_be).await;
                self.done(&user.to_string(), set).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn settle_mute(&mut self, user: &UserId) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let Some(id) = self.account_of(user, false).await? else { return Ok(()) };
        let Some(username) = self.view.username(user) else { return Ok(()) };
        let room = self.bridge.client.room_info(&self.rid).await?;
        // In a read-only room there is a list of those who may speak instead.
        let muted = match room.ro {
            true => !room.unmuted.contains(&username),
            false => room.muted.contains(&username),
        };
        if room.ro && !state.is_muted(user) {
            return Ok(());
        }
        let done = match (state.is_muted(user), muted) {
            (true, false) => self.bridge.client.mute(&self.rid, &id).await,
            (false, true) => self.bridge.client.unmute(&self.rid, &id).await,
            _ => return Ok(()),
        };
        self.done(&user.to_string(), done).await.map(drop)
    }

    pub(super) async fn settle_switch(&mut self, switch: Switch) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let room = self.bridge.client.room_info(&self.rid).await?;
        let on = state.switch(switch);
        let done = match switch {
            Switch::ReadOnly if room.ro != on => {
                let settings = RoomSettings { read_only: Some(on), ..RoomSettings::default() };
                self.bridge.client.save_room_settings(&self.rid, &settings).await
            }
            Switch::Archived if room.archived != on => {
                self.bridge.client.archive(self.federated.kind, &self.rid, on).await
            }
            // Rocket.Chat has nothing of the kind, and the room's rules hold for what is said all the same.
            _ => return Ok(()),
        };
        self.done_for(state.switch_event(switch), switch.kind(), done).await?;
        if switch == Switch::Archived && !on {
            self.look_soon();
        }
        Ok(())
    }

    /// Sees to it that a text of the room is as the room has it. What the room never had stays as it is here.
    pub(super) async fn settle_label(&mut self, label: Label) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        match self.label(&state, label)? {
            Some(text) => self.set_label(label, text, state.label(label)).await,
            None => Ok(()),
        }
    }

    /// The same, where what the room never had is to be empty here.
    pub(super) async fn reset_label(&mut self, label: Label) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        match self.label(&state, label)? {
            Some(text) => self.set_label(label, text, state.label(label)).await,
            // The body with the first name was erased: it stays what it is.
            None if label == Label::Name => Ok(()),
            None => self.set_label(label, String::new(), None).await,
        }
    }

    /// `set_by`: the event by which the room has it.
    async fn set_label(&mut self, label: Label, text: String, set_by: Option<EventId>) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let room = self.bridge.client.room_info(&self.rid).await?;
        let (now, settings) = match label {
            Label::Name => {
                if room.name.as_deref().is_some_and(|name| is_called(name, &text)) {
                    return Ok(());
                }
                let text = slug(&text);
                let settings = RoomSettings { room_name: Some(text.clone()), ..RoomSettings::default() };
                (room.fname.or(room.name), settings)
            }
            Label::Topic => (room.topic, RoomSettings { room_topic: Some(text.clone()), ..RoomSettings::default() }),
            Label::Description => {
                (room.description, RoomSettings { room_description: Some(text.clone()), ..RoomSettings::default() })
            }
            Label::Announcement => {
                (room.announcement, RoomSettings { room_announcement: Some(text.clone()), ..RoomSettings::default() })
            }
        };
        if now.unwrap_or_default() == text {
            return Ok(());
        }
        let saved = self.bridge.client.save_room_settings(&self.rid, &settings).await;
        if self.done_for(set_by, label.kind(), saved).await?
            && let Some(name) = settings.room_name
        {
            self.rename(name).await?;
        }
        Ok(())
    }

    /// The same as [`done`](Self::done), of a setting. Where no event is being looked at, as when the whole room is compared, it is the one
    /// by which the room has the setting: so what is refused is one letter, whoever finds it, and can be tried again.
    async fn done_for(
        &mut self,
        set_by: Option<EventId>,
        of: &str,
        result: Result<(), RestError>,
    ) -> Result<bool, Stall> {
        let before = self.handling;
        self.handling = before.or(set_by);
        let done = self.done(of, result).await;
        self.handling = before;
        done
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
