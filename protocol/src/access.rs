//! Which server may read what of a room: a pure function of the room's state.
//!
//! | | the state graph | the timeline |
//! |---|---|---|
//! | channel | any server that may join | any server that may join |
//! | private group, direct room | servers with a member, or with somebody invited | servers with a member |
//!
//! In a private group or a direct room that was made so ([`History::Join`]) a server reads of the timeline what was said where it
//! was in the room by the event's own state: see [`reads_from_join`].
//!
//! A server that was in a room, and is not any longer, may read what was said while it was: [`Access::Past`]. One that is denied
//! counts as not in the room, whoever of it is joined.

use crate::authority::RoomState;
use crate::event::{History, JoinRule, Lane, Membership, RoomType, ServerRule};
use crate::identity::Origin;

/// What a server may read of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing, not even that there is such a room.
    None,
    /// Each event at whose own state the server might have read it: see [`readable_at`].
    Past,
    /// The state graph.
    State,
    /// Everything.
    Everything,
}

/// What a server may read of a room in this state.
pub fn access(state: &RoomState, server: Origin) -> Access {
    let standing = standing(state, server);
    let past = if standing.known { Access::Past } else { Access::None };
    if state.server_rule(server) == ServerRule::Deny {
        return past;
    }
    if state.has_member(server) {
        return Access::Everything;
    }
    match state.room_type() {
        RoomType::Channel if state.admits(server) && (state.join_rule() != JoinRule::Invite || standing.invited) => {
            Access::Everything
        }
        RoomType::Private | RoomType::Direct if standing.invited => Access::State,
        _ => past,
    }
}

/// Whether a member server of the room reads each event of the timeline only if it was in the room by the event's own state
/// ([`readable_at`]). It gets the headers of the others, on which what it reads stands, and none of what was said.
pub fn reads_from_join(state: &RoomState) -> bool {
    state.history() == History::Join && state.room_type() != RoomType::Channel
}

/// Whether a server that is not in a room any longer, or that reads it from its join, may read an event of it: `before` is the state that the event itself names,
/// so that what ended the server's time in the room is the last that it may read. The create event, which has no state before
/// it, is always readable then.
pub fn readable_at(before: &RoomState, lane: Lane, server: Origin) -> bool {
    let denied = before.server_rule(server) == ServerRule::Deny;
    !denied && (before.has_member(server) || lane == Lane::State && standing(before, server).invited)
}

/// Whether rooms of this type are gossiped. Anybody can listen to gossip, so that what is not for everybody goes from member
/// server to member server instead.
pub const fn is_gossiped(room_type: RoomType) -> bool {
    matches!(room_type, RoomType::Channel)
}

/// What became of a server's users in the room.
struct Standing {
    /// Whether somebody of it is invited.
    invited: bool,
    /// Whether the room has to do with anybody of it.
    known: bool,
}

fn standing(state: &RoomState, server: Origin) -> Standing {
    let mut standing = Standing { invited: false, known: false };
    for membership in state.memberships_of(server) {
        standing.known = true;
        standing.invited |= membership == Membership::Invite;
    }
    standing
}
