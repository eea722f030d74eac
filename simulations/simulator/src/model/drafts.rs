//! Drafts of everything that is said and done.

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Body, Content, Draft, Label, Membership, Role, Switch};
use rocketmesh_protocol::identity::UserId;

use super::dice::Dice;
use crate::scenario::Act;

/// What correct clocks say when the run begins, in milliseconds since 1970.
pub(super) const BEGINNING_MS: u64 = 1_700_000_000_000;

/// A draft. `text` is the body's only field, if there is a body.
pub(super) fn draft(
    dice: &mut Dice,
    time_ms: u64,
    sender: Option<&UserId>,
    content: &Content,
    text: Option<(&str, &str)>,
) -> Draft {
    let (kind, state_key) = content.kind_and_key();
    Draft {
        sender: sender.map(|user| user.localpart.clone()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&dice.bytes()),
        body: text.map(|(field, text)| Body::new(dice.bytes(), Map::new().with(field, text))),
        time_ms,
    }
}

/// A user comes in.
pub(super) fn join(user: &UserId) -> Content {
    Content::Member { user: user.clone(), change: Membership::Join, seen: Vec::new() }
}

/// A user gets a role.
pub(super) fn role(user: &UserId, role: Role) -> Content {
    Content::Role { user: user.clone(), role, seen: Vec::new() }
}

/// What somebody does to somebody.
pub(crate) fn deed(act: Act, by: &UserId, whom: &UserId) -> Content {
    let member = |change| Content::Member { user: whom.clone(), change, seen: Vec::new() };
    let mute = |on| Content::Mute { user: whom.clone(), on, seen: Vec::new() };
    match act {
        Act::Ban => member(Membership::Ban),
        Act::Unban => member(Membership::Unban),
        Act::Kick => member(Membership::Kick),
        Act::Join => join(by),
        Act::Owner => role(whom, Role::Owner),
        Act::Moderator => role(whom, Role::Moderator),
        Act::Demote => role(whom, Role::Member),
        Act::Mute => mute(true),
        Act::Unmute => mute(false),
        Act::Topic => Content::Label(Label::Topic),
        Act::ReadOnly => Content::Switch { switch: Switch::ReadOnly, on: true },
        Act::Writable => Content::Switch { switch: Switch::ReadOnly, on: false },
    }
}
