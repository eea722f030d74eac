//! How many keys of state a server may add to a room, and what becomes of one more.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::authority::{KeyBounds, KeyClass, Refusal, RoomState};
use rocketmesh_protocol::event::{Content, Draft, Event, Lane, Membership, RoomType, kind};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::limits::MAX_UNKNOWN_KEYS;
use rocketmesh_protocol::receipt::Receipt;
use rocketmesh_protocol::resolution::Resolver;
use support::Server;
use support::room::{self, NONCE, TestRoom, draft, join, message};
use support::verdicts::{assert_refused, beside};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

/// So low that a test can come to them.
const BOUNDS: KeyBounds = KeyBounds { unknown: 2, profiles: 2 };

/// The room of which nothing is held, under low bounds.
fn empty(room: RoomId) -> TestRoom {
    let mut room = TestRoom::empty(room);
    room.resolver = Resolver::with_key_bounds(BOUNDS);
    room
}

/// Alice's room under low bounds, joined by Bob and Carol.
fn three() -> (Vec<Server>, TestRoom) {
    let servers: Vec<Server> = Server::five().into_iter().take(3).collect();
    let create = room::create(&servers[ALICE], RoomType::Channel, NONCE);
    let mut room = empty(create.room());
    accept(&mut room, &create);
    for server in &servers[1..] {
        room.write(server, join(server));
    }
    (servers, room)
}

/// As another server holds it.
fn copy(room: &TestRoom) -> TestRoom {
    let mut copy = empty(room.outline.room());
    for event in room.in_order() {
        copy.receive(&event);
    }
    copy
}

#[track_caller]
fn accept(room: &mut TestRoom, event: &Event) {
    let receipt = room.receive(event);
    assert!(matches!(receipt, Receipt::Accepted { .. }), "{receipt:?}");
}

/// State of a kind that nobody here knows.
fn note(server: &Server, key: &str) -> Draft {
    Draft { kind: "org.example.note".to_owned(), state_key: Some(key.to_owned()), ..message(server, key) }
}

fn profile(server: &Server) -> Draft {
    Draft { kind: kind::PROFILE.to_owned(), state_key: Some(server.user.to_string()), ..message(server, "") }
}

/// What somebody does to a member.
fn moderate(by: &Server, whom: &Server, change: Membership) -> Draft {
    draft(Some(&by.user), &Content::Member { user: whom.user.clone(), change, seen: Vec::new() }, None)
}

/// How many entries of unknown kinds count for the server.
fn notes_of(room: &TestRoom, server: &Server) -> u32 {
    room.state().keys_of(server.key.origin(), KeyClass::Unknown)
}

#[track_caller]
fn assert_too_many(room: &mut TestRoom, server: &Server, draft: Draft) -> Event {
    let event = room.author(server, draft);
    assert_refused(room, &event, "too_many_keys");
    event
}

#[test]
fn one_entry_too_many_is_rejected_and_stays_in_the_graph() {
    let servers = Server::five();
    let (alice, bob) = (&servers[ALICE], &servers[BOB]);
    let mut room = TestRoom::of(&servers[..2]);
    for number in 0..MAX_UNKNOWN_KEYS {
        room.write(bob, note(bob, &number.to_string()));
    }
    let before = room.state();
    let more = room.author(bob, note(bob, "one more"));
    let refusal = assert_refused(&mut room, &more, "too_many_keys");
    let (origin, class) = (bob.key.origin(), KeyClass::Unknown);
    assert_eq!(refusal, Refusal::TooManyKeys { origin, class, most: MAX_UNKNOWN_KEYS });
    assert!(room.holds(&more.id()) && !room.outline.tips(Lane::State).contains_key(&more.id()));
    assert_eq!(room.state(), before);

    let changed = room.write(bob, note(bob, "0"));
    assert_eq!(changed.header().self_parent, Some(more.id()), "the chain goes on behind what was rejected");
    assert_eq!(room.state().unknown_entry("org.example.note", "0"), Some(changed.id()));
    room.write(alice, note(alice, "one more"));
    assert_eq!(room.state().unknown_entries().count() as u32, MAX_UNKNOWN_KEYS + 1);
}

#[test]
fn what_is_there_can_be_set_anew_by_any_member_at_the_bound() {
    let (servers, mut room) = three();
    let (bob, carol) = (&servers[BOB], &servers[CAROL]);
    for (server, keys) in [(bob, ["a", "b"]), (carol, ["c", "d"])] {
        for key in keys {
            room.write(server, note(server, key));
        }
    }
    for key in ["a", "b", "c", "d"] {
        let event = room.write(bob, note(bob, key));
        assert_eq!(room.state().unknown_entry("org.example.note", key), Some(event.id()));
    }
    assert_eq!([bob, carol].map(|server| notes_of(&room, server)), [2, 2]);
    assert_too_many(&mut room, bob, note(bob, "e"));
    assert_eq!(room.state().unknown_entries().count(), 4);
}

#[test]
fn servers_make_no_room_for_each_other_by_setting_each_others_entries() {
    let (servers, mut room) = three();
    let (bob, carol) = (&servers[BOB], &servers[CAROL]);
    for key in ["a", "b"] {
        room.write(bob, note(bob, key));
        room.write(carol, note(carol, key));
    }
    assert_eq!([bob, carol].map(|server| notes_of(&room, server)), [2, 0]);
    assert_too_many(&mut room, bob, note(bob, "c"));
    for key in ["c", "d"] {
        room.write(carol, note(carol, key));
    }
    assert_too_many(&mut room, carol, note(carol, "e"));
    assert_eq!(room.state().unknown_entries().count(), 4);
}

#[test]
fn profiles_of_a_servers_users_are_counted_apart_from_other_state() {
    let (servers, mut room) = three();
    let bob = &servers[BOB];
    let [yan, zoe] = ["yan", "zoe"].map(|name| Server { user: beside(bob, name), ..bob.clone() });
    for user in [&yan, &zoe] {
        room.write(user, join(user));
    }
    for key in ["a", "b"] {
        room.write(bob, note(bob, key));
    }
    for user in [bob, &yan] {
        room.write(user, profile(user));
    }
    assert_too_many(&mut room, &zoe, profile(&zoe));
    assert_eq!(room.state().keys_of(bob.key.origin(), KeyClass::Profile), 2);
    let changed = room.write(&yan, profile(&yan));
    assert_eq!(room.state().unknown_entry(kind::PROFILE, &yan.user.to_string()), Some(changed.id()));
    room.write(&servers[CAROL], profile(&servers[CAROL]));
}

#[test]
fn branches_may_exceed_the_bound_together_and_nothing_is_added_then() {
    let (servers, mut left) = three();
    let bob = &servers[BOB];
    let mut right = copy(&left);
    let ours = ["a", "b"].map(|key| left.write(bob, note(bob, key)));
    let theirs = ["c", "d"].map(|key| right.write(bob, note(bob, key)));
    // Each is judged where it stands, whatever is here already.
    theirs.iter().for_each(|event| accept(&mut left, event));
    ours.iter().for_each(|event| accept(&mut right, event));
    assert_eq!(left.outcome(), right.outcome());
    assert_eq!(notes_of(&left, bob), 4);

    let more = assert_too_many(&mut left, bob, note(bob, "e"));
    let changed = left.write(bob, note(bob, "c"));
    assert_eq!(left.state().unknown_entry("org.example.note", "c"), Some(changed.id()));
    assert_eq!(notes_of(&left, bob), 4);
    let mut late = empty(left.outline.room());
    for event in left.in_order().iter().rev() {
        late.receive(event);
    }
    assert_eq!(late.outcome(), left.outcome(), "heard backwards it is the same");
    assert_eq!(late.rejected()[&more.id()].code(), "too_many_keys");
}

#[test]
fn an_entry_that_two_servers_add_at_once_counts_for_one_of_them_everywhere() {
    let (servers, mut left) = three();
    let (bob, carol) = (&servers[BOB], &servers[CAROL]);
    let mut right = copy(&left);
    let by_bob = left.write(bob, note(bob, "a"));
    let by_carol = right.write(carol, note(carol, "a"));
    accept(&mut left, &by_carol);
    accept(&mut right, &by_bob);
    assert_eq!(left.outcome(), right.outcome());
    let counts = left.state().unknown_entry("org.example.note", "a");
    let expected = if counts == Some(by_bob.id()) { [1, 0] } else { [0, 1] };
    assert_eq!([bob, carol].map(|server| notes_of(&left, server)), expected);
    assert_eq!([bob, carol].map(|server| notes_of(&right, server)), expected);
}

#[test]
fn what_is_withheld_counts_for_nobody() {
    let (servers, mut left) = three();
    let (alice, bob) = (&servers[ALICE], &servers[BOB]);
    let mut right = copy(&left);
    let ban = left.write(alice, moderate(alice, bob, Membership::Ban));
    let taken = ["a", "b"].map(|key| right.write(bob, note(bob, key)));
    assert_eq!(notes_of(&right, bob), 2);
    taken.iter().for_each(|event| accept(&mut left, event));
    accept(&mut right, &ban);
    assert_eq!(left.outcome(), right.outcome());
    assert!(taken.iter().all(|event| left.resolver.is_void(&event.id())));
    assert_eq!(notes_of(&left, bob), 0);

    left.write(alice, moderate(alice, bob, Membership::Unban));
    left.write(bob, join(bob));
    for key in ["c", "d"] {
        left.write(bob, note(bob, key));
    }
    assert_too_many(&mut left, bob, note(bob, "a"));
    assert_eq!(notes_of(&left, bob), 2);
}

#[test]
fn whoever_goes_on_from_a_snapshot_counts_the_same() {
    let (servers, mut room) = three();
    let (bob, carol) = (&servers[BOB], &servers[CAROL]);
    for key in ["a", "b"] {
        room.write(bob, note(bob, key));
    }
    let last = room.write(carol, note(carol, "a"));
    let (cut, state) = room.resolver.snapshot().unwrap();
    assert_eq!(cut, last.id());
    let read = RoomState::from_pieces(&state.to_pieces()).unwrap().with_key_bounds(BOUNDS);
    let mut resumed = Resolver::resume(&last, read);
    for (key, refused) in [("a", false), ("c", true)] {
        let event = room.author(bob, note(bob, key));
        let judged = resumed.judge(&event).unwrap();
        assert_eq!(judged.is_err(), refused, "{key}: {judged:?}");
        assert_eq!(judged, room.resolver.judge(&event).unwrap());
    }
}
