//! What an event says, by its kind: the part that rules read.

use crate::codec::{Map, Value};
use crate::event::Header;
use crate::id::EventId;
use crate::identity::{Origin, UserId};
use crate::limits::{MAX_DIRECT, MAX_PARENTS, NONCE_BYTES};

/// The kinds that this version knows, as they stand in headers.
pub mod kind {
    /// Makes a room.
    pub const CREATE: &str = "room.create";
    /// A user's membership changes; state, keyed by the user.
    pub const MEMBER: &str = "room.member";
    /// Gives a user a role, or takes one away; state, keyed by the user.
    pub const ROLE: &str = "room.role";
    /// Mutes or unmutes a user; state, keyed by the user.
    pub const MUTE: &str = "room.mute";
    /// Names the room; state.
    pub const NAME: &str = "room.name";
    /// Sets the room's topic; state.
    pub const TOPIC: &str = "room.topic";
    /// Describes the room; state.
    pub const DESCRIPTION: &str = "room.description";
    /// What is pinned above the room; state.
    pub const ANNOUNCEMENT: &str = "room.announcement";
    /// Who may join; state.
    pub const JOIN_RULE: &str = "room.join_rule";
    /// Only owners and moderators may speak; state.
    pub const READ_ONLY: &str = "room.read_only";
    /// Only owners, moderators and leaders may begin threads; state.
    pub const ANNOUNCEMENT_ONLY: &str = "room.announcement_only";
    /// Nobody may speak or join; state.
    pub const ARCHIVED: &str = "room.archived";
    /// Lets a server in or keeps it out; state, keyed by the server.
    pub const SERVER: &str = "room.server";
    /// Only servers that are let in may join; state.
    pub const LISTED_ONLY: &str = "room.listed_only";
    /// Joins tips of the lane that it is in; by a server on its own, without a body.
    pub const MERGE: &str = "room.merge";
    /// How a user is called and what they look like; state, keyed by the user, who alone may set it. Rules count it, and read nothing else of it:
    /// as [`Content::Unknown`](super::Content::Unknown) it is what no version has to know.
    pub const PROFILE: &str = "profile";
    /// A message.
    pub const MESSAGE: &str = "message";
    /// Replaces a message's text.
    pub const EDIT: &str = "edit";
    /// Takes a message back.
    pub const REDACT: &str = "redact";
    /// Adds or takes back a reaction.
    pub const REACT: &str = "react";
}

/// Why a known kind's content cannot be read. Such an event is not allowed; what becomes of it then,
/// [`crate::receipt`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} event needs {needs}")]
pub struct ContentError {
    /// The kind.
    pub kind: String,
    /// What is missing or wrong.
    pub needs: &'static str,
}

/// Rocket.Chat's types of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomType {
    /// `c`: anybody may find and join it.
    Channel,
    /// `p`: by invitation.
    Private,
    /// `d`: between its users.
    Direct,
}

impl RoomType {
    /// The letter that Rocket.Chat uses.
    pub const fn letter(self) -> &'static str {
        match self {
            RoomType::Channel => "c",
            RoomType::Private => "p",
            RoomType::Direct => "d",
        }
    }

    /// The type with this letter.
    pub fn from_letter(letter: &str) -> Option<Self> {
        [RoomType::Channel, RoomType::Private, RoomType::Direct].into_iter().find(|kind| kind.letter() == letter)
    }
}

/// From when on the timeline of a private group or a direct room is for the servers in it: `history` in the create event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// From the start.
    Start,
    /// From when somebody of the server joined.
    Join,
}

impl History {
    /// The key in the content of a create event.
    pub const KEY: &'static str = "history";

    /// The word in content.
    pub const fn word(self) -> &'static str {
        match self {
            History::Start => "start",
            History::Join => "join",
        }
    }

    /// The history of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [History::Start, History::Join].into_iter().find(|history| history.word() == word)
    }

    /// What a create event says; from the start, if it says nothing that can be read.
    pub(crate) fn of(create: &Header) -> Self {
        let word = create.content.as_ref().and_then(|content| content.get(History::KEY)?.as_text());
        word.and_then(History::from_word).unwrap_or(History::Start)
    }
}

/// What a member event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    /// The user joins, or accepts an invitation.
    Join,
    /// The user leaves, or declines an invitation.
    Leave,
    /// Somebody invites the user; or the user's server does, having checked a join code.
    Invite,
    /// Somebody removes the user, who may come back.
    Kick,
    /// Somebody removes the user and keeps them out.
    Ban,
    /// Somebody lifts the user's ban.
    Unban,
}

impl Membership {
    const ALL: [Membership; 6] =
        [Membership::Join, Membership::Leave, Membership::Invite, Membership::Kick, Membership::Ban, Membership::Unban];

    /// The word in content.
    pub const fn word(self) -> &'static str {
        match self {
            Membership::Join => "join",
            Membership::Leave => "leave",
            Membership::Invite => "invite",
            Membership::Kick => "kick",
            Membership::Ban => "ban",
            Membership::Unban => "unban",
        }
    }

    /// The membership of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Membership::ALL.into_iter().find(|membership| membership.word() == word)
    }
}

/// Who may join a channel. Stricter rules compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JoinRule {
    /// Anybody whose server may.
    Open,
    /// Whoever gave the join code to a member server, which then invites.
    Code,
    /// The invited.
    Invite,
}

impl JoinRule {
    /// The word in content.
    pub const fn word(self) -> &'static str {
        match self {
            JoinRule::Open => "open",
            JoinRule::Code => "code",
            JoinRule::Invite => "invite",
        }
    }

    /// The rule of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [JoinRule::Open, JoinRule::Code, JoinRule::Invite].into_iter().find(|rule| rule.word() == word)
    }
}

/// What a room says about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerRule {
    /// Nothing.
    None,
    /// It may join although the room is for listed servers only.
    Allow,
    /// It has no business here.
    Deny,
}

impl ServerRule {
    /// The word in content.
    pub const fn word(self) -> &'static str {
        match self {
            ServerRule::None => "none",
            ServerRule::Allow => "allow",
            ServerRule::Deny => "deny",
        }
    }

    /// The rule of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [ServerRule::None, ServerRule::Allow, ServerRule::Deny].into_iter().find(|rule| rule.word() == word)
    }
}

/// A switch of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Switch {
    /// [`kind::READ_ONLY`]
    ReadOnly,
    /// [`kind::ANNOUNCEMENT_ONLY`]
    AnnouncementOnly,
    /// [`kind::ARCHIVED`]
    Archived,
    /// [`kind::LISTED_ONLY`]
    ListedOnly,
}

impl Switch {
    /// Every switch.
    pub const ALL: [Switch; 4] = [Switch::ReadOnly, Switch::AnnouncementOnly, Switch::Archived, Switch::ListedOnly];

    /// The kind of the event that sets it.
    pub const fn kind(self) -> &'static str {
        match self {
            Switch::ReadOnly => kind::READ_ONLY,
            Switch::AnnouncementOnly => kind::ANNOUNCEMENT_ONLY,
            Switch::Archived => kind::ARCHIVED,
            Switch::ListedOnly => kind::LISTED_ONLY,
        }
    }
}

/// A text of a room, which is in the body of the event that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// [`kind::NAME`]
    Name,
    /// [`kind::TOPIC`]
    Topic,
    /// [`kind::DESCRIPTION`]
    Description,
    /// [`kind::ANNOUNCEMENT`]
    Announcement,
}

impl Label {
    /// Every label.
    pub const ALL: [Label; 4] = [Label::Name, Label::Topic, Label::Description, Label::Announcement];

    /// The kind of the event that sets it.
    pub const fn kind(self) -> &'static str {
        match self {
            Label::Name => kind::NAME,
            Label::Topic => kind::TOPIC,
            Label::Description => kind::DESCRIPTION,
            Label::Announcement => kind::ANNOUNCEMENT,
        }
    }
}

/// How far into the timeline of the server that it is about the maker of a removal had seen: the heads of that server's
/// chain, ascending, at most [`MAX_PARENTS`]. What comes after them is concurrent with the removal.
pub type Seen = Vec<(u64, EventId)>;

/// A user's role in a room. Higher ranks compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing special.
    Member,
    /// Leads a discussion; no authority.
    Leader,
    /// Keeps order.
    Moderator,
    /// May do everything.
    Owner,
}

impl Role {
    const ALL: [Role; 4] = [Role::Member, Role::Leader, Role::Moderator, Role::Owner];

    /// The word in content.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::Leader => "leader",
            Role::Moderator => "moderator",
            Role::Owner => "owner",
        }
    }

    /// The role of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// An event's content, typed. Keys that a kind does not know are ignored here and kept in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// [`kind::CREATE`]
    Create {
        /// The room's type.
        room_type: RoomType,
        /// Whom a direct room is with; empty in others.
        with: Vec<UserId>,
    },
    /// [`kind::MEMBER`]
    Member {
        /// Whose membership changes.
        user: UserId,
        /// How.
        change: Membership,
        /// What a kick or ban had seen.
        seen: Seen,
    },
    /// [`kind::ROLE`]
    Role {
        /// Whose role changes.
        user: UserId,
        /// To what.
        role: Role,
        /// What a demotion had seen.
        seen: Seen,
    },
    /// [`kind::MUTE`]
    Mute {
        /// Who is muted.
        user: UserId,
        /// Whether they are, from now on.
        on: bool,
        /// What it had seen.
        seen: Seen,
    },
    /// [`kind::SERVER`]
    Server {
        /// The server.
        origin: Origin,
        /// What holds for it from now on.
        rule: ServerRule,
        /// What a denial had seen.
        seen: Seen,
    },
    /// [`kind::JOIN_RULE`]
    JoinRule {
        /// Who may join from now on.
        rule: JoinRule,
    },
    /// [`kind::READ_ONLY`] and other switches.
    Switch {
        /// Which.
        switch: Switch,
        /// Whether it is on from now on.
        on: bool,
    },
    /// [`kind::NAME`] and other labels; the text is in the body.
    Label(Label),
    /// [`kind::MERGE`]
    Merge,
    /// [`kind::MESSAGE`]; the text is in the body.
    Message {
        /// The message that began the thread.
        thread: Option<EventId>,
    },
    /// [`kind::EDIT`]; the new text is in the body.
    Edit {
        /// The message.
        target: EventId,
        /// Who wrote it, where that is somebody else than the sender.
        author: Option<UserId>,
    },
    /// [`kind::REDACT`]; a reason may be in the body.
    Redact {
        /// The message.
        target: EventId,
        /// Who wrote it, where that is somebody else than the sender.
        author: Option<UserId>,
    },
    /// [`kind::REACT`]; the emoji is in the body.
    React {
        /// The message.
        target: EventId,
        /// Whether the reaction is taken back.
        remove: bool,
    },
    /// A kind that this version does not know. It never affects authority.
    Unknown,
}

impl Content {
    /// Reads the content that `header` carries.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn of(header: &Header) -> Result<Self, ContentError> {
        let empty = Map::new();
        let read = Reader {
            kind: &header.kind,
            state_key: header.state_key.as_deref(),
            content: header.content.as_ref().unwrap_or(&empty),
        };
        match header.kind.as_str() {
            kind::CREATE => {
                read.single_state()?;
                let nonce = read.content.get("nonce").and_then(Value::as_bytes);
                read.need(nonce.filter(|nonce| nonce.len() == NONCE_BYTES), "a nonce of 16 bytes")?;
                let letter = read.content.get("type").and_then(Value::as_text);
                let room_type = read.need(letter.and_then(RoomType::from_letter), "a type: c, p or d")?;
                read.history(room_type)?;
                Ok(Content::Create { room_type, with: read.with(room_type)? })
            }
            kind::MEMBER => {
                let word = read.content.get("membership").and_then(Value::as_text);
                let change = word.and_then(Membership::from_word);
                Ok(Content::Member {
                    user: read.user()?,
                    change: read.need(change, "a membership: join, leave, invite, kick, ban or unban")?,
                    seen: read.seen()?,
                })
            }
            kind::ROLE => {
                let role = read.content.get("role").and_then(Value::as_text).and_then(Role::from_word);
                let role = read.need(role, "a role: member, leader, moderator or owner")?;
                Ok(Content::Role { user: read.user()?, role, seen: read.seen()? })
            }
            kind::MUTE => Ok(Content::Mute { user: read.user()?, on: read.on()?, seen: read.seen()? }),
            kind::SERVER => {
                let origin = read.state_key.and_then(|key| key.parse().ok());
                let rule = read.content.get("rule").and_then(Value::as_text).and_then(ServerRule::from_word);
                Ok(Content::Server {
                    origin: read.need(origin, "a server's id as its state key")?,
                    rule: read.need(rule, "a rule: allow, deny or none")?,
                    seen: read.seen()?,
                })
            }
            kind::JOIN_RULE => {
                read.single_state()?;
                let rule = read.content.get("rule").and_then(Value::as_text).and_then(JoinRule::from_word);
                Ok(Content::JoinRule { rule: read.need(rule, "a rule: open, code or invite")? })
            }
            kind::MERGE => {
                // In either lane: it joins the tips of the one that it is in.
                read.need(matches!(read.state_key, None | Some("")).then_some(()), "no state key or an empty one")?;
                read.need(header.body.is_none().then_some(Content::Merge), "no body")
            }
            kind::MESSAGE => {
                read.timeline()?;
                let thread = match read.content.get("thread") {
                    None => None,
                    Some(_) => Some(read.link("thread", "a thread that is a message's id")?),
                };
                Ok(Content::Message { thread })
            }
            kind::EDIT => Ok(Content::Edit { target: read.target()?, author: read.author()? }),
            kind::REDACT => Ok(Content::Redact { target: read.target()?, author: read.author()? }),
            kind::REACT => {
                let remove = match read.content.get("remove") {
                    None => false,
                    Some(value) => read.need(value.as_bool(), "a remove that is true or false")?,
                };
                Ok(Content::React { target: read.target()?, remove })
            }
            other => {
                if let Some(label) = Label::ALL.into_iter().find(|label| label.kind() == other) {
                    return read.single_state().map(|()| Content::Label(label));
                }
                if let Some(switch) = Switch::ALL.into_iter().find(|switch| switch.kind() == other) {
                    read.single_state()?;
                    return Ok(Content::Switch { switch, on: read.on()? });
                }
                Ok(Content::Unknown)
            }
        }
    }

    /// The map that stands for this content in a header; none where the kind alone says everything. `nonce` is used by
    /// create events only.
    pub fn to_map(&self, nonce: &[u8; NONCE_BYTES]) -> Option<Map> {
        let sighted = |map: Map, seen: &Seen| if seen.is_empty() { map } else { map.with("seen", seen_value(seen)) };
        match self {
            Content::Create { room_type, with } => {
                let map = Map::new().with("type", room_type.letter()).with("nonce", nonce.as_slice());
                let users = with.iter().map(|user| user.to_string().as_str().into()).collect();
                Some(if with.is_empty() { map } else { map.with("with", Value::List(users)) })
            }
            Content::Member { change, seen, .. } => Some(sighted(Map::new().with("membership", change.word()), seen)),
            Content::Role { role, seen, .. } => Some(sighted(Map::new().with("role", role.word()), seen)),
            Content::Mute { on, seen, .. } => Some(sighted(Map::new().with("on", *on), seen)),
            Content::Server { rule, seen, .. } => Some(sighted(Map::new().with("rule", rule.word()), seen)),
            Content::JoinRule { rule } => Some(Map::new().with("rule", rule.word())),
            Content::Switch { on, .. } => Some(Map::new().with("on", *on)),
            Content::Message { thread } => thread.map(|thread| Map::new().with("thread", thread)),
            Content::Edit { target, author } | Content::Redact { target, author } => {
                let map = Map::new().with("target", *target);
                Some(match author {
                    Some(author) => map.with("author", author.to_string()),
                    None => map,
                })
            }
            Content::React { target, remove } => {
                let map = Map::new().with("target", *target);
                Some(if *remove { map.with("remove", true) } else { map })
            }
            Content::Label(_) | Content::Merge | Content::Unknown => None,
        }
    }

    /// The kind's name and the state key; the key is none for what goes into the timeline.
    pub fn kind_and_key(&self) -> (&'static str, Option<String>) {
        let single = Some(String::new());
        match self {
            Content::Create { .. } => (kind::CREATE, single),
            Content::Member { user, .. } => (kind::MEMBER, Some(user.to_string())),
            Content::Role { user, .. } => (kind::ROLE, Some(user.to_string())),
            Content::Mute { user, .. } => (kind::MUTE, Some(user.to_string())),
            Content::Server { origin, .. } => (kind::SERVER, Some(origin.to_string())),
            Content::JoinRule { .. } => (kind::JOIN_RULE, single),
            Content::Switch { switch, .. } => (switch.kind(), single),
            Content::Label(label) => (label.kind(), single),
            Content::Merge => (kind::MERGE, single),
            Content::Message { .. } => (kind::MESSAGE, None),
            Content::Edit { .. } => (kind::EDIT, None),
            Content::Redact { .. } => (kind::REDACT, None),
            Content::React { .. } => (kind::REACT, None),
            Content::Unknown => ("unknown", None),
        }
    }
}

/// Reads one header's content and says what is missing.
struct Reader<'a> {
    kind: &'a str,
    state_key: Option<&'a str>,
    content: &'a Map,
}

impl Reader<'_> {
    fn need<T>(&self, found: Option<T>, needs: &'static str) -> Result<T, ContentError> {
        found.ok_or_else(|| ContentError { kind: self.kind.to_owned(), needs })
    }

    fn single_state(&self) -> Result<(), ContentError> {
        self.need((self.state_key == Some("")).then_some(()), "an empty state key")
    }

    fn timeline(&self) -> Result<(), ContentError> {
        self.need(self.state_key.is_none().then_some(()), "no state key")
    }

    fn on(&self) -> Result<bool, ContentError> {
        self.need(self.content.get("on").and_then(Value::as_bool), "an on that is true or false")
    }

    fn seen(&self) -> Result<Seen, ContentError> {
        let Some(value) = self.content.get("seen") else { return Ok(Seen::new()) };
        let head = |value: &Value| match value.as_list()? {
            [seq, id] => Some((seq.as_u64()?, EventId::try_from(id.as_link()?).ok()?)),
            _ => None,
        };
        let heads = value.as_list().and_then(|heads| heads.iter().map(head).collect::<Option<Seen>>());
        let sound = |heads: &Seen| (1..=MAX_PARENTS).contains(&heads.len()) && heads.is_sorted_by(|a, b| a < b);
        self.need(heads.filter(sound), "a seen that is 1 to 16 ascending pairs of number and id")
    }

    fn history(&self, room_type: RoomType) -> Result<(), ContentError> {
        let Some(value) = self.content.get(History::KEY) else { return Ok(()) };
        let known = value.as_text().and_then(History::from_word).filter(|_| room_type != RoomType::Channel);
        self.need(known.is_some().then_some(()), "a history, if any, that is start or join, and none in a channel")
    }

    fn with(&self, room_type: RoomType) -> Result<Vec<UserId>, ContentError> {
        let value = self.content.get("with");
        if room_type != RoomType::Direct {
            return self.need(value.is_none().then(Vec::new), "no users that it is with");
        }
        let user = |value: &Value| value.as_text()?.parse().ok();
        let users =
            value.and_then(Value::as_list).and_then(|users| users.iter().map(user).collect::<Option<Vec<UserId>>>());
        let sound = |users: &Vec<UserId>| (1..=MAX_DIRECT).contains(&users.len()) && users.is_sorted_by(|a, b| a < b);
        self.need(users.filter(sound), "the users that it is with: 1 to 16, ascending")
    }

    fn user(&self) -> Result<UserId, ContentError> {
        self.need(self.state_key.and_then(|key| key.parse().ok()), "a user as its state key")
    }

    fn link(&self, key: &str, needs: &'static str) -> Result<EventId, ContentError> {
        let link = self.content.get(key).and_then(Value::as_link);
        self.need(link.and_then(|cid| EventId::try_from(cid).ok()), needs)
    }

    fn author(&self) -> Result<Option<UserId>, ContentError> {
        match self.content.get("author") {
            None => Ok(None),
            Some(value) => {
                let author = value.as_text().and_then(|text| text.parse().ok());
                self.need(author, "an author that is a user").map(Some)
            }
        }
    }

    fn target(&self) -> Result<EventId, ContentError> {
        self.timeline()?;
        self.link("target", "a target that is a message's id")
    }
}

pub(crate) fn seen_value(seen: &Seen) -> Value {
    Value::List(seen.iter().map(|(seq, id)| Value::List(vec![(*seq).into(), (*id).into()])).collect())
}
