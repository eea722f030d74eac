//! What local people did in Rocket.Chat, as the room is told it.
//!
//! A new message, an edit, a reaction, a reply's count and a link's preview all come as the whole message again. What is new is what
//! differs from what was seen of it before. **Whatever changed, nothing is said for anybody who is not a local user**: one account
//! that stands for somebody elsewhere and is spoken for would send its words back to where they came from, as somebody else's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rocketmesh_protocol::event::{Label, Membership, Role, Switch};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::{Localpart, UserId};

use super::seen::{Seen, hash};
use super::text::{self, Text};
use super::{Known, Who};
use crate::rocketchat::client::{Author, FileInfo, Message, SystemKind};

/// Something that a local user did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    /// Who.
    pub(crate) sender: Localpart,
    /// What.
    pub(crate) what: What,
    /// When, by the server's clock, in milliseconds since 1970.
    pub(crate) at_ms: u64,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// Said something, or sent files; a reply perhaps so that it stands in the room too.
    Message { text: Text, thread: Option<EventId>, in_room: bool, files: Vec<FileInfo> },
    /// Changed a message's text.
    Edit { target: EventId, text: Text },
    /// Took a message down.
    Redact { target: EventId },
    /// Reacted, or took that back.
    React { target: EventId, emoji: String, remove: bool },
    /// Changed who is in the room.
    Member { user: UserId, change: Membership },
    /// Gave somebody a role, or took it. Rocket.Chat has several at once for one person; a room has the highest.
    Role { user: UserId, role: Role, given: bool },
    /// Took somebody's voice, or gave it back.
    Mute { user: UserId, on: bool },
    /// Turned a switch of the room.
    Switch { switch: Switch, on: bool },
    /// Changed a text of the room.
    Label { label: Label, text: String },
}

/// What a message comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct News {
    /// What is to be said, in order.
    pub(crate) said: Vec<Said>,
    /// What is to be remembered of the message once all of it is said; none to remember nothing.
    pub(crate) seen: Option<Seen>,
    /// Whether it was taken down by somebody whom the server does not name.
    pub(crate) taken_down: bool,
}

/// What is new about a message.
pub(crate) fn message(message: &Message, before: Option<&Seen>, known: &impl Known) -> News {
    let gone = message.hidden || message.system() == Some(SystemKind::Deleted);
    match (message.system(), before) {
        _ if gone => taken_down(message, before, known),
        // A document that is older than the last one says nothing that is not known.
        (_, Some(before)) if message.updated_at.ms() < before.updated_ms || before.gone || before.refused => {
            News::default()
        }
        (Some(kind), None) => system(message, kind, known),
        (Some(_), Some(_)) => News::default(),
        (None, None) => first(message, known),
        (None, Some(before)) => again(message, before, known),
    }
}

/// What stands in a message: its text, what stands beside a file, or both. Whoever sends a file and quotes something has both.
pub(crate) fn words(message: &Message) -> Cow<'_, str> {
    match caption(message).filter(|caption| !caption.is_empty()) {
        Some(caption) if message.msg.is_empty() => Cow::Borrowed(caption),
        Some(caption) => Cow::Owned(format!("{}\n{caption}", message.msg)),
        None => Cow::Borrowed(&message.msg),
    }
}

/// What an edit has to say so that a message has these words: of a message with a caption the server changes that alone.
pub(crate) fn edited<'a>(message: &Message, words: &'a str) -> &'a str {
    match caption(message) {
        Some(_) if !message.msg.is_empty() => {
            words.strip_prefix(message.msg.as_str()).map_or(words, |rest| rest.strip_prefix('\n').unwrap_or(rest))
        }
        _ => words,
    }
}

fn caption(message: &Message) -> Option<&str> {
    let caption = message.attachments.first()?.description.as_deref()?;
    (!message.sent_files().is_empty()).then_some(caption)
}

fn first(message: &Message, known: &impl Known) -> News {
    // Whatever another server's user says here came from there.
    let Some(sender) = local(&message.u, known) else { return News::default() };
    let what = What::Message {
        text: text::outgoing(&words(message), known),
        thread: message.tmid.as_deref().and_then(|thread| known.event(thread)),
        in_room: message.tshow == Some(true),
        files: message.sent_files().into_iter().cloned().collect(),
    };
    // Reactions come with the second look, when the message has an event that they can be about.
    let seen = Seen {
        text: hash(&words(message)),
        edited_ms: message.edited_at.map_or(0, |at| at.ms()),
        updated_ms: 0,
        ..Seen::default()
    };
    News { said: vec![Said { sender, what, at_ms: message.ts.ms() }], seen: Some(seen), taken_down: false }
}

fn again(message: &Message, before: &Seen, known: &impl Known) -> News {
    let mut seen = Seen { updated_ms: message.updated_at.ms(), ..before.clone() };
    let mut said = Vec::new();
    let Some(target) = before.event() else { return News { said, seen: Some(seen), taken_down: false } };
    let edited_ms = message.edited_at.map_or(0, |at| at.ms());
    // Two edits in one millisecond have one time: what never stood there is the later one.
    let at_once = edited_ms > 0 && edited_ms == before.edited_ms && !before.said(&words(message));
    if edited_ms > before.edited_ms || at_once {
        seen.edited_ms = edited_ms;
        let editor = message.edited_by.as_ref().unwrap_or(&message.u);
        let news = !before.says(&words(message));
        if let Some(sender) = local(editor, known).filter(|_| news) {
            let text = text::outgoing(&words(message), known);
            said.push(Said { sender, what: What::Edit { target, text }, at_ms: edited_ms });
        }
        seen.note_text(&words(message));
    }
    let at_ms = message.updated_at.ms();
    for (emoji, username, sender, remove) in reactions(message, before, known) {
        seen.note_reaction(&emoji, &username, !remove);
        said.push(Said { sender, what: What::React { target, emoji, remove }, at_ms });
    }
    News { said, seen: Some(seen), taken_down: false }
}

/// What local people changed about the reactions. Those of others are what the node made them, whatever an older document says.
fn reactions(message: &Message, before: &Seen, known: &impl Known) -> Vec<(String, String, Localpart, bool)> {
    let now: BTreeMap<&String, BTreeSet<&String>> =
        message.reactions.iter().map(|(emoji, reaction)| (emoji, reaction.usernames.iter().collect())).collect();
    let mut changes = Vec::new();
    for (emoji, people) in &before.reactions {
        for username in people.iter().filter(|name| now.get(emoji).is_none_or(|now| !now.contains(name))) {
            if let Who::Local(sender) = known.who(None, username) {
                changes.push((emoji.clone(), username.clone(), sender, true));
            }
        }
    }
    for (emoji, people) in now {
        for username in people.into_iter().filter(|name| !before.has_reaction(emoji, name)) {
            if let Who::Local(sender) = known.who(None, username) {
                changes.push((emoji.clone(), username.clone(), sender, false));
            }
        }
    }
    changes
}

/// A message whose place is kept, which says who emptied it.
fn taken_down(message: &Message, before: Option<&Seen>, known: &impl Known) -> News {
    let Some(before) = before.filter(|before| !before.gone) else { return News::default() };
    let Some(by) = &message.edited_by else { return deleted(before, known, message.updated_at.ms()) };
    let seen = Some(Seen { gone: true, updated_ms: message.updated_at.ms(), ..before.clone() });
    let target = before.event();
    let what = target.and_then(|target| Some((local(by, known)?, What::Redact { target })));
    let said = what.map(|(sender, what)| Said { sender, what, at_ms: message.updated_at.ms() });
    News { taken_down: false, said: said.into_iter().collect(), seen }
}

/// A message that is no longer there. The server says of which, and not who took it: its author may always, and is taken to have done
/// it; of another server's message it was somebody else, whom the caller looks for.
pub(crate) fn deleted(before: &Seen, known: &impl Known, at_ms: u64) -> News {
    if before.gone {
        return News::default();
    }
    let seen = Some(Seen { gone: true, ..before.clone() });
    let Some(target) = before.event() else { return News { seen, ..News::default() } };
    let author = known.author(&target).filter(|author| known.local(&author.localpart) == *author);
    let said = author.filter(|_| !before.inserted).map(|author| Said {
        sender: author.localpart,
        what: What::Redact { target },
        at_ms,
    });
    News { taken_down: said.is_none(), said: said.into_iter().collect(), seen }
}

/// What a room tells of itself.
fn system(message: &Message, kind: SystemKind, known: &impl Known) -> News {
    let by = local(&message.u, known);
    let about = || match known.who(None, message.msg.trim_start_matches('@')) {
        Who::Local(localpart) => Some(known.local(&localpart)),
        Who::Shadow(user) => Some(user),
        Who::Service => None,
    };
    let is_local = |user: &UserId| known.local(&user.localpart) == *user;
    let own = |change| by.clone().map(|sender| (sender.clone(), What::Member { user: known.local(&sender), change }));
    let done = |what: What| by.clone().map(|sender| (sender, what));
    let to = |change: Membership| about().and_then(|user| done(What::Member { user, change }));
    let label = |label| done(What::Label { label, text: message.msg.clone() });
    let switch = |switch, on| done(What::Switch { switch, on });
    let role = |given: bool| {
        let role = match message.role.as_deref()? {
            "owner" => Role::Owner,
            "moderator" => Role::Moderator,
            "leader" => Role::Leader,
            _ => return None,
        };
        done(What::Role { user: about()?, role, given })
    };
    let mute = |on| about().and_then(|user| done(What::Mute { user, on }));
    let done: Vec<(Localpart, What)> = match kind {
        SystemKind::Joined => own(Membership::Join).into_iter().collect(),
        SystemKind::Left => own(Membership::Leave).into_iter().collect(),
        SystemKind::Added => {
            // Somebody of this server is in at once; somebody elsewhere is asked.
            let by_shadow = matches!(known.who(Some(&message.u.id), &message.u.username), Who::Shadow(_));
            let joins = about().filter(|user| is_local(user) && !by_shadow).map(|user| {
                let sender = user.localpart.clone();
                (sender, What::Member { user, change: Membership::Join })
            });
            to(Membership::Invite).into_iter().chain(joins).collect()
        }
        SystemKind::Removed => to(Membership::Kick).into_iter().collect(),
        SystemKind::Banned => to(Membership::Ban).into_iter().collect(),
        SystemKind::Unbanned => to(Membership::Unban).into_iter().collect(),
        SystemKind::Renamed => label(Label::Name).into_iter().collect(),
        SystemKind::Topic => label(Label::Topic).into_iter().collect(),
        SystemKind::Description => label(Label::Description).into_iter().collect(),
        SystemKind::Announcement => label(Label::Announcement).into_iter().collect(),
        SystemKind::RoleAdded => role(true).into_iter().collect(),
        SystemKind::RoleRemoved => role(false).into_iter().collect(),
        SystemKind::Muted => mute(true).into_iter().collect(),
        SystemKind::Unmuted => mute(false).into_iter().collect(),
        SystemKind::ReadOnly => switch(Switch::ReadOnly, true).into_iter().collect(),
        SystemKind::Writable => switch(Switch::ReadOnly, false).into_iter().collect(),
        SystemKind::Archived => switch(Switch::Archived, true).into_iter().collect(),
        SystemKind::Unarchived => switch(Switch::Archived, false).into_iter().collect(),
        SystemKind::Privacy | SystemKind::Deleted | SystemKind::Encrypted | SystemKind::Other => Vec::new(),
    };
    let at_ms = message.ts.ms();
    let said: Vec<Said> = done.into_iter().map(|(sender, what)| Said { sender, what, at_ms }).collect();
    let seen = (!said.is_empty()).then(|| Seen { updated_ms: message.updated_at.ms(), ..Seen::default() });
    News { said, seen, taken_down: false }
}

/// The local user that an account is, if it is one: the second law against echoes.
fn local(author: &Author, known: &impl Known) -> Option<Localpart> {
    match known.who(Some(&author.id), &author.username) {
        Who::Local(localpart) => Some(localpart),
        Who::Shadow(_) | Who::Service => None,
    }
}
