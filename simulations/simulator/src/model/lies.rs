//! What a holder shows that lies: one chain longer than it is, and one that nobody has. Nobody can tell before it is asked for them.

use rocketmesh_protocol::event::Lane;
use rocketmesh_protocol::have::{HaveVector, LaneHave};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::Origin;

/// How many events the liar makes up of each.
const MADE_UP: u64 = 1_000;

/// What the liar shows of a room, beside what it has.
pub(super) fn boast(have: &HaveVector, server: u32) -> HaveVector {
    let made_up = |what: &str| EventId::of_block(format!("{what} that server {server} makes up").as_bytes());
    let mut shown = have.clone();
    if let Some((origin, lane, held)) = have.lanes().find(|(_, lane, _)| *lane == Lane::Timeline) {
        let heads = vec![(held.highest().0 + MADE_UP, made_up("an end"))];
        shown.set_lane(origin, lane, LaneHave { lowest: held.lowest, heads });
    }
    let nobody = Origin::from_bytes(*made_up("a server").hash());
    let heads = vec![(MADE_UP, made_up("another end"))];
    shown.set_lane(nobody, Lane::Timeline, LaneHave { lowest: 0, heads });
    shown
}
