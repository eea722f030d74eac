//! Who may do what in a room: the rules of version `0-draft`.
//!
//! Whether an event is allowed is a pure function of the room's state where the event stands: see [`RoomState::authorize`].
//! `docs/rules.md` says the same as a table, and a test holds the two together. What concurrent events make of each other is
//! [`crate::resolution`]'s.

mod keys;
mod pieces;
mod state;

pub use keys::{KeyBounds, KeyClass};
pub use state::{Act, Entry, Removal, RoomState, Setter, Value};

use crate::event::{
    Content, ContentError, Header, JoinRule, Membership, Role, RoomType, RoomVersion, ServerRule, Switch, kind,
};
use crate::identity::{Origin, UserId};

/// What a user's word weighs in a room. Only the higher rank's removal takes a lower one's authority to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Not joined.
    Outsider,
    /// Joined; leaders too.
    Member,
    /// Moderators.
    Moderator,
    /// Owners.
    Owner,
    /// Whoever made the room, until they give it up themselves: nobody else can end it.
    Creator,
}

impl Rank {
    /// The rank that comes with a role.
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Member | Role::Leader => Rank::Member,
            Role::Moderator => Rank::Moderator,
            Role::Owner => Rank::Owner,
        }
    }
}

/// Why an event is not allowed. What becomes of it then, [`crate::receipt`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The content of a known kind cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Made under another version's rules.
    #[error("the event follows room version {event}, the room has {room}")]
    Version {
        /// The event's.
        event: RoomVersion,
        /// The room's.
        room: RoomVersion,
    },
    /// A room of this type does not have what the event is about.
    #[error("a room of type `{}` does not have this", .0.letter())]
    RoomType(RoomType),
    /// A second create event, or an event that only a create event can be.
    #[error("a room has one create event and begins with it")]
    Create,
    /// The sender is not joined.
    #[error("{0} is not a member of the room; join it first")]
    NotAMember(UserId),
    /// The server has no joined member.
    #[error("server {0} has no member in the room")]
    NoMember(Origin),
    /// A user acts for another one.
    #[error("only {0} can do this")]
    NotOneself(UserId),
    /// What one does to others is done to oneself.
    #[error("this cannot be done to oneself")]
    Oneself,
    /// What only a higher rank may do.
    #[error("only {} may do this", rank_name(*.0))]
    Needs(Rank),
    /// The target's rank is above the sender's, or is the creator.
    #[error("{0} ranks too high in the room for this")]
    Outranked(UserId),
    /// The target is not in the membership that this is about.
    #[error("{user} is {is}, so this has no object")]
    Membership {
        /// The target.
        user: UserId,
        /// What the target is.
        is: &'static str,
    },
    /// The user is banned.
    #[error("{0} is banned from the room; a moderator can lift that")]
    Banned(UserId),
    /// The room is by invitation, or by code.
    #[error("the room is entered by invitation; ask a member for one")]
    NotInvited,
    /// The room does not admit the server.
    #[error("the room does not admit server {0}")]
    ServerRefused(Origin),
    /// The sender is muted.
    #[error("{0} is muted in the room; a moderator can lift that")]
    Muted(UserId),
    /// Only owners and moderators may speak, or begin a thread.
    #[error(
        "the room is for announcements; only owners, moderators and leaders may write, others may answer in threads"
    )]
    AnnouncementOnly,
    /// Only owners and moderators may speak.
    #[error("the room is read-only; only owners and moderators may write")]
    ReadOnly,
    /// The room is archived.
    #[error("the room is archived; an owner can open it again")]
    Archived,
    /// The event would add an entry, and as many count for its server as may.
    #[error(
        "a server adds at most {most} {class} to a room, and {origin} has; those that are there can still be changed"
    )]
    TooManyKeys {
        /// The server.
        origin: Origin,
        /// What is counted.
        class: KeyClass,
        /// The bound.
        most: u32,
    },
    /// A kind that needs a sender has none, or the other way round.
    #[error("the event's sender does not fit its kind")]
    Sender,
}

const fn rank_name(rank: Rank) -> &'static str {
    match rank {
        Rank::Outsider => "anybody",
        Rank::Member => "members",
        Rank::Moderator => "owners and moderators of the room",
        Rank::Owner => "an owner of the room",
        Rank::Creator => "whoever made the room",
    }
}

impl Refusal {
    /// A stable word for APIs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::Content(_) => "malformed_content",
            Refusal::Version { .. } => "room_version_mismatch",
            Refusal::RoomType(_) => "room_type_unsupported",
            Refusal::Create => "second_create",
            Refusal::NotAMember(_) => "not_a_member",
            Refusal::NoMember(_) => "server_not_in_room",
            Refusal::NotOneself(_) => "not_oneself",
            Refusal::Oneself => "oneself",
            Refusal::Needs(Rank::Owner) => "not_owner",
            Refusal::Needs(_) => "not_moderator",
            Refusal::Outranked(_) => "outranked",
            Refusal::Membership { .. } => "membership_mismatch",
            Refusal::Banned(_) => "banned",
            Refusal::NotInvited => "not_invited",
            Refusal::ServerRefused(_) => "server_refused",
            Refusal::Muted(_) => "muted",
            Refusal::AnnouncementOnly => "announcement_only",
            Refusal::ReadOnly => "read_only",
            Refusal::Archived => "archived",
            Refusal::TooManyKeys { .. } => "too_many_keys",
            Refusal::Sender => "sender_mismatch",
        }
    }
}

/// The authority that an allowed event used: what a removal has to take for the event to be void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The sender's rank; that of a server on its own is a member's.
    pub rank: Rank,
    /// The least rank with which the event would have been allowed.
    pub needs: Rank,
    /// What for.
    pub purpose: Purpose,
}

/// What authority was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Joining; `open` where no invitation was needed.
    Join {
        /// Whether the room's being open was what let the user in.
        open: bool,
    },
    /// Leaving, which nobody can forbid.
    Leave,
    /// Saying something.
    Speech,
    /// Anything else.
    Other,
}

impl RoomState {
    /// Whether an event with this header and content is allowed at this state, and what authority that takes.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn authorize(&self, header: &Header, content: &Content) -> Result<Used, Refusal> {
        if header.version != self.version() {
            return Err(Refusal::Version { event: header.version, room: self.version() });
        }
        let origin = header.origin;
        let leaves = matches!(content, Content::Member { change: Membership::Leave, .. });
        if self.server_rule(origin) == ServerRule::Deny && !leaves {
            return Err(Refusal::ServerRefused(origin));
        }
        let Some(localpart) = header.sender.clone() else { return self.authorize_server(origin, content) };
        let sender = UserId { origin, localpart };
        let rank = self.rank(&sender);
        let used = |needs, purpose| Ok(Used { rank, needs, purpose });
        let at_least = |needs| if rank < needs { Err(Refusal::Needs(needs)) } else { Ok(()) };
        match content {
            Content::Create { .. } => return Err(Refusal::Create),
            Content::Merge => return Err(Refusal::Sender),
            Content::Member { user, change: Membership::Join, .. } => return self.authorize_join(&sender, rank, user),
            Content::Member { user, change: Membership::Leave, .. } => {
                return match self.membership(user) {
                    _ if *user != sender => Err(Refusal::NotOneself(user.clone())),
                    Some(Membership::Join | Membership::Invite) => used(Rank::Outsider, Purpose::Leave),
                    _ => Err(Refusal::NotAMember(sender)),
                };
            }
            _ if rank == Rank::Outsider => return Err(Refusal::NotAMember(sender)),
            _ => {}
        }
        match content {
            Content::Member { user, change, .. } => {
                let needs = self.authorize_member(&sender, rank, user, *change)?;
                used(needs, Purpose::Other)
            }
            Content::Role { user, role, .. } => used(self.authorize_role(&sender, rank, user, *role)?, Purpose::Other),
            Content::Mute { user, .. } => {
                self.no_direct()?;
                at_least(Rank::Moderator)?;
                self.may_act_on(&sender, rank, user)?;
                if !self.is_joined(user) {
                    return Err(self.wrong_membership(user));
                }
                used(Rank::Moderator, Purpose::Other)
            }
            Content::Label(_) => {
                let needs = if self.room_type() == RoomType::Direct { Rank::Member } else { Rank::Moderator };
                at_least(needs)?;
                used(needs, Purpose::Other)
            }
            Content::JoinRule { .. } => {
                if self.room_type() != RoomType::Channel {
                    return Err(Refusal::RoomType(self.room_type()));
                }
                at_least(Rank::Owner)?;
                used(Rank::Owner, Purpose::Other)
            }
            Content::Switch { .. } => {
                self.no_direct()?;
                at_least(Rank::Owner)?;
                used(Rank::Owner, Purpose::Other)
            }
            Content::Server { origin: target, rule, .. } => {
                self.no_direct()?;
                at_least(Rank::Owner)?;
                if *target == sender.origin {
                    return Err(Refusal::Oneself);
                }
                let above = |user: &UserId| *user == *self.creator() || self.rank(user) > rank;
                if *rule == ServerRule::Deny {
                    let outranks = self.joined_of(*target).find(above);
                    let creators = (*target == self.creator().origin).then(|| self.creator().clone());
                    if let Some(user) = creators.or(outranks) {
                        return Err(Refusal::Outranked(user));
                    }
                }
                used(Rank::Owner, Purpose::Other)
            }
            Content::Message { thread } => self.authorize_speech(&sender, rank, Some(thread.is_some())),
            Content::React { .. } => self.authorize_speech(&sender, rank, None),
            Content::Edit { author, .. } => {
                let used = self.authorize_speech(&sender, rank, None)?;
                let needs = used.needs.max(altering(author.as_ref(), &sender));
                at_least(needs)?;
                Ok(Used { needs, ..used })
            }
            // Taking one's own words down always works.
            Content::Redact { author, .. } => {
                let needs = altering(author.as_ref(), &sender);
                at_least(needs)?;
                used(needs, Purpose::Other)
            }
            Content::Unknown => {
                if header.state_key.is_none() {
                    return self.authorize_speech(&sender, rank, None);
                }
                // How somebody is called, and what they look like, nobody else says.
                let key = header.state_key.as_deref().unwrap_or_default();
                if header.kind == kind::PROFILE && key != sender.to_string() {
                    return Err(Refusal::NotOneself(key.parse().unwrap_or_else(|_| sender.clone())));
                }
                self.admit_key(origin, &Entry::unknown(&header.kind, key))?;
                used(Rank::Member, Purpose::Other)
            }
            Content::Create { .. } | Content::Merge => Err(Refusal::Create),
        }
    }

    /// What a server may do on its own.
    fn authorize_server(&self, origin: Origin, content: &Content) -> Result<Used, Refusal> {
        let used = Used { rank: Rank::Member, needs: Rank::Member, purpose: Purpose::Other };
        match content {
            Content::Merge if self.has_member(origin) => Ok(used),
            Content::Member { user, change: Membership::Invite, .. } if self.has_member(origin) => {
                // The code itself is never in the graph: a member server has checked it.
                if self.room_type() != RoomType::Channel || self.join_rule() != JoinRule::Code {
                    return Err(Refusal::Sender);
                }
                self.invitable(user)?;
                Ok(used)
            }
            Content::Merge | Content::Member { change: Membership::Invite, .. } => Err(Refusal::NoMember(origin)),
            _ => Err(Refusal::Sender),
        }
    }

    fn authorize_join(&self, sender: &UserId, rank: Rank, user: &UserId) -> Result<Used, Refusal> {
        if user != sender {
            return Err(Refusal::NotOneself(user.clone()));
        }
        let membership = self.membership(user);
        if membership == Some(Membership::Ban) {
            return Err(Refusal::Banned(user.clone()));
        }
        let inside = membership == Some(Membership::Join);
        if self.switch(Switch::Archived) && !inside {
            return Err(Refusal::Archived);
        }
        if !inside && !self.admits(user.origin) {
            return Err(Refusal::ServerRefused(user.origin));
        }
        let open = self.room_type() == RoomType::Channel && self.join_rule() == JoinRule::Open;
        let invited = inside || membership == Some(Membership::Invite);
        if !open && !invited {
            return Err(Refusal::NotInvited);
        }
        Ok(Used { rank, needs: Rank::Outsider, purpose: Purpose::Join { open: !invited } })
    }

    fn authorize_member(
        &self,
        sender: &UserId,
        rank: Rank,
        user: &UserId,
        change: Membership,
    ) -> Result<Rank, Refusal> {
        self.no_direct()?;
        let channel = self.room_type() == RoomType::Channel;
        let needs = if change == Membership::Invite && channel { Rank::Member } else { Rank::Moderator };
        if rank < needs {
            return Err(Refusal::Needs(needs));
        }
        match change {
            Membership::Invite => self.invitable(user)?,
            Membership::Unban if self.membership(user) == Some(Membership::Ban) => {}
            Membership::Unban => return Err(self.wrong_membership(user)),
            Membership::Kick if !matches!(self.membership(user), Some(Membership::Join | Membership::Invite)) => {
                return Err(self.wrong_membership(user));
            }
            Membership::Ban if self.membership(user) == Some(Membership::Ban) => {
                return Err(Refusal::Banned(user.clone()));
            }
            _ => self.may_act_on(sender, rank, user)?,
        }
        Ok(needs)
    }

    fn authorize_role(&self, sender: &UserId, rank: Rank, user: &UserId, role: Role) -> Result<Rank, Refusal> {
        self.no_direct()?;
        if !self.is_joined(user) {
            return Err(self.wrong_membership(user));
        }
        let new = Rank::of(role);
        let held = self.rank(user);
        if user == sender {
            // Giving up what one has is one's own affair, and the only way in which the creator's ownership ends.
            return if role < self.role(user) { Ok(Rank::Member) } else { Err(Refusal::Oneself) };
        }
        if held == Rank::Creator || held > rank {
            return Err(Refusal::Outranked(user.clone()));
        }
        // Moderators take roles away, down to member, and name leaders; owners give any.
        let needs = if new >= Rank::Moderator { Rank::Owner } else { held.max(Rank::Moderator) };
        if rank < needs { Err(Refusal::Needs(needs)) } else { Ok(needs) }
    }

    /// Saying something; `threaded` for messages.
    fn authorize_speech(&self, sender: &UserId, rank: Rank, threaded: Option<bool>) -> Result<Used, Refusal> {
        if self.switch(Switch::Archived) {
            return Err(Refusal::Archived);
        }
        if self.is_muted(sender) {
            return Err(Refusal::Muted(sender.clone()));
        }
        let mut needs = Rank::Member;
        if self.switch(Switch::ReadOnly) {
            needs = Rank::Moderator;
            if rank < needs {
                return Err(Refusal::ReadOnly);
            }
        }
        if self.switch(Switch::AnnouncementOnly) && threaded == Some(false) && self.role(sender) != Role::Leader {
            needs = Rank::Moderator;
            if rank < needs {
                return Err(Refusal::AnnouncementOnly);
            }
        }
        Ok(Used { rank, needs, purpose: Purpose::Speech })
    }

    /// Whether somebody can be invited.
    fn invitable(&self, user: &UserId) -> Result<(), Refusal> {
        match self.membership(user) {
            Some(Membership::Ban) => return Err(Refusal::Banned(user.clone())),
            Some(Membership::Join | Membership::Invite) => return Err(self.wrong_membership(user)),
            _ => {}
        }
        if self.switch(Switch::Archived) {
            return Err(Refusal::Archived);
        }
        if self.server_rule(user.origin) == ServerRule::Deny || !self.admits(user.origin) {
            return Err(Refusal::ServerRefused(user.origin));
        }
        Ok(())
    }

    /// Whether `sender` ranks high enough to remove `user`: equals may.
    fn may_act_on(&self, sender: &UserId, rank: Rank, user: &UserId) -> Result<(), Refusal> {
        if user == sender {
            return Err(Refusal::Oneself);
        }
        let standing = self.standing(user);
        if standing == Rank::Creator || standing > rank { Err(Refusal::Outranked(user.clone())) } else { Ok(()) }
    }

    fn no_direct(&self) -> Result<(), Refusal> {
        match self.room_type() {
            RoomType::Direct => Err(Refusal::RoomType(RoomType::Direct)),
            _ => Ok(()),
        }
    }

    fn wrong_membership(&self, user: &UserId) -> Refusal {
        let is = match self.membership(user) {
            None => "not in the room",
            Some(Membership::Join) => "a member already",
            Some(Membership::Invite) => "invited already",
            Some(Membership::Ban) => "banned",
            Some(Membership::Leave | Membership::Kick | Membership::Unban) => "not in the room any more",
        };
        Refusal::Membership { user: user.clone(), is }
    }
}

/// The rank that it takes to change what `author` wrote; one's own without an author.
fn altering(author: Option<&UserId>, sender: &UserId) -> Rank {
    if author.is_none_or(|author| author == sender) { Rank::Member } else { Rank::Moderator }
}
