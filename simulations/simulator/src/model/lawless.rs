//! A room's state as servers would have it that ask no rules. Only a sabotage needs it.

use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::codec::{self, Value};
use rocketmesh_protocol::event::{Content, Event};

/// The places of memberships and roles among what a state is about, and among values, in the pieces of a state.
const MEMBER: u64 = 0;
const ROLE: u64 = 1;
/// The weight of a member's word.
const MEMBER_RANK: u64 = 1;

/// The state with roles and memberships set by events that the rules refuse.
pub(super) fn forged<'a>(state: &RoomState, refused: impl Iterator<Item = &'a Event>) -> RoomState {
    let mut pieces = state.to_pieces();
    // What comes later stands in place of what came before.
    pieces.extend(refused.filter_map(piece));
    RoomState::from_pieces(&pieces).unwrap_or_else(|| state.clone())
}

fn piece(event: &Event) -> Option<Vec<u8>> {
    let (kind, user, word) = match event.content().ok()? {
        Content::Role { user, role, .. } => (ROLE, user, role.word()),
        Content::Member { user, change, .. } => (MEMBER, user, change.word()),
        _ => return None,
    };
    let origin = |origin: rocketmesh_protocol::identity::Origin| Value::from(origin.as_bytes().as_slice());
    let key = Value::List(vec![
        Value::from(kind),
        Value::from(""),
        origin(user.origin),
        Value::from(user.localpart.as_str()),
    ]);
    let setter = Value::List(vec![
        Value::from(event.id().hash().as_slice()),
        Value::from(kind),
        Value::from(word),
        Value::from(MEMBER_RANK),
        Value::from(false),
        origin(event.header().origin),
    ]);
    let bucket = Value::List(vec![Value::List(vec![key, Value::List(vec![setter])])]);
    codec::encode(&bucket).ok()
}
