//! What an event says, by its kind: the part that rules read.

use crate::codec::{Map, Value};
use crate::event::Header;
use crate::id::EventId;
use crate::identity::UserId;
use crate::limits::NONCE_BYTES;

/// The kinds that this version knows, as they stand in headers.
pub mod kind {
    /// Makes a room.
    pub const CREATE: &str = "room.create";
    /// A user joins or leaves; state, keyed by the user.
    pub const MEMBER: &str = "room.member";
    /// Gives a user a role; state, keyed by the user.
    pub const ROLE: &str = "room.role";
    /// Names the room; state.
    pub const NAME: &str = "room.name";
    /// Sets the room's topic; state.
    pub const TOPIC: &str = "room.topic";
    /// Joins state tips; state, by a server on its own, without a body.
    pub const MERGE: &str = "room.merge";
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

/// What a member event does. Invite, kick and ban come with the full rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinLeave {
    /// The user joins.
    Join,
    /// The user leaves.
    Leave,
}

impl JoinLeave {
    /// The word in content.
    pub const fn word(self) -> &'static str {
        match self {
            JoinLeave::Join => "join",
            JoinLeave::Leave => "leave",
        }
    }
}

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
    },
    /// [`kind::MEMBER`]
    Member {
        /// Whose membership changes.
        user: UserId,
        /// How.
        change: JoinLeave,
    },
    /// [`kind::ROLE`]
    Role {
        /// Whose role changes.
        user: UserId,
        /// To what.
        role: Role,
    },
    /// [`kind::NAME`]; the name is in the body.
    Name,
    /// [`kind::TOPIC`]; the topic is in the body.
    Topic,
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
    },
    /// [`kind::REDACT`]; a reason may be in the body.
    Redact {
        /// The message.
        target: EventId,
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
    pub(crate) fn of(header: &Header) -> Result<Self, ContentError> {
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
                Ok(Content::Create { room_type })
            }
            kind::MEMBER => {
                let word = read.content.get("membership").and_then(Value::as_text);
                let change = [JoinLeave::Join, JoinLeave::Leave].into_iter().find(|change| Some(change.word()) == word);
                Ok(Content::Member { user: read.user()?, change: read.need(change, "a membership: join or leave")? })
            }
            kind::ROLE => {
                let role = read.content.get("role").and_then(Value::as_text).and_then(Role::from_word);
                Ok(Content::Role {
                    user: read.user()?,
                    role: read.need(role, "a role: member, leader, moderator or owner")?,
                })
            }
            kind::NAME => read.single_state().map(|()| Content::Name),
            kind::TOPIC => read.single_state().map(|()| Content::Topic),
            kind::MERGE => {
                read.single_state()?;
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
            kind::EDIT => read.target().map(|target| Content::Edit { target }),
            kind::REDACT => read.target().map(|target| Content::Redact { target }),
            kind::REACT => {
                let remove = match read.content.get("remove") {
                    None => false,
                    Some(value) => read.need(value.as_bool(), "a remove that is true or false")?,
                };
                Ok(Content::React { target: read.target()?, remove })
            }
            _ => Ok(Content::Unknown),
        }
    }

    /// The map that stands for this content in a header; none where the kind alone says everything. `nonce` is used by
    /// create events only.
    pub fn to_map(&self, nonce: &[u8; NONCE_BYTES]) -> Option<Map> {
        match self {
            Content::Create { room_type } => {
                Some(Map::new().with("type", room_type.letter()).with("nonce", nonce.as_slice()))
            }
            Content::Member { change, .. } => Some(Map::new().with("membership", change.word())),
            Content::Role { role, .. } => Some(Map::new().with("role", role.word())),
            Content::Message { thread } => thread.map(|thread| Map::new().with("thread", thread)),
            Content::Edit { target } | Content::Redact { target } => Some(Map::new().with("target", *target)),
            Content::React { target, remove } => {
                let map = Map::new().with("target", *target);
                Some(if *remove { map.with("remove", true) } else { map })
            }
            Content::Name | Content::Topic | Content::Merge | Content::Unknown => None,
        }
    }

    /// The kind's name and the state key; the key is none for what goes into the timeline.
    pub fn kind_and_key(&self) -> (&'static str, Option<String>) {
        let single = Some(String::new());
        match self {
            Content::Create { .. } => (kind::CREATE, single),
            Content::Member { user, .. } => (kind::MEMBER, Some(user.to_string())),
            Content::Role { user, .. } => (kind::ROLE, Some(user.to_string())),
            Content::Name => (kind::NAME, single),
            Content::Topic => (kind::TOPIC, single),
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

    fn user(&self) -> Result<UserId, ContentError> {
        self.need(self.state_key.and_then(|key| key.parse().ok()), "a user as its state key")
    }

    fn link(&self, key: &str, needs: &'static str) -> Result<EventId, ContentError> {
        let link = self.content.get(key).and_then(Value::as_link);
        self.need(link.and_then(|cid| EventId::try_from(cid).ok()), needs)
    }

    fn target(&self) -> Result<EventId, ContentError> {
        self.timeline()?;
        self.link("target", "a target that is a message's id")
    }
}
