//! What a room of three makes of an event, and events that it does not take.

use rocketmesh_protocol::authority::Refusal;
use rocketmesh_protocol::event::{Draft, Event, Lane, Placement, author};
use rocketmesh_protocol::identity::UserId;
use rocketmesh_protocol::receipt::{Misplaced, Receipt};

use super::room::{TestRoom, message};
use super::{Server, localpart};

pub const ACCEPTED: Receipt = Receipt::Accepted { forks: false };
pub const FORKED: Receipt = Receipt::Accepted { forks: true };

/// Alice's room, joined by Bob and Carol.
pub fn three() -> (Vec<Server>, TestRoom) {
    let servers: Vec<Server> = Server::five().into_iter().take(3).collect();
    let room = TestRoom::of(&servers);
    (servers, room)
}

/// A message of `server` whose place was changed before it was signed.
pub fn placed(room: &TestRoom, server: &Server, change: impl FnOnce(&mut Placement)) -> Event {
    let mut placement = room.placement(server, Lane::Timeline);
    change(&mut placement);
    author(&server.key, placement, message(server, "somewhere else")).unwrap()
}

#[track_caller]
pub fn assert_dropped(room: &mut TestRoom, event: &Event, why: Misplaced) {
    let before = room.outcome();
    assert_eq!(room.receive(event), Receipt::Dropped(why));
    assert_eq!(room.outcome(), before, "a dropped event leaves nothing behind");
}

#[track_caller]
pub fn assert_refused(room: &mut TestRoom, event: &Event, code: &str) -> Refusal {
    match room.receive(event) {
        Receipt::Rejected(refusal) => {
            assert_eq!(refusal.code(), code);
            refusal
        }
        other => panic!("{other:?}, where {code} was expected"),
    }
}

/// State that any member may set.
pub fn unknown_state(server: &Server) -> Draft {
    Draft { kind: "org.example.unknown".to_owned(), state_key: Some(String::new()), ..message(server, "") }
}

/// Another user of the same server.
pub fn beside(server: &Server, name: &str) -> UserId {
    UserId { origin: server.key.origin(), localpart: localpart(name) }
}
