//! Who may do what in a room, by the draft's authority.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Content, Draft, Label, Membership, Placement, Role, RoomType, RoomVersion, author};
use rocketmesh_protocol::receipt::Misplaced;
use support::Server;
use support::room::{self, TestRoom, join, membership, message, rename, role};
use support::verdicts::{FORKED, assert_dropped, assert_refused, beside, placed, three};

#[test]
fn only_owners_and_moderators_name_the_room() {
    let (servers, mut room) = three();
    let by_alice = room.write(&servers[0], rename(&servers[0], "lobby"));
    assert_eq!(room.state().label(Label::Name), Some(by_alice.id()));

    let by_bob = room.author(&servers[1], rename(&servers[1], "bob's"));
    assert_refused(&mut room, &by_bob, "not_moderator");
    assert_eq!(room.state().label(Label::Name), Some(by_alice.id()));

    for less in [Role::Leader, Role::Member] {
        room.write(&servers[0], role(&servers[0], &servers[1].user, less));
        let again = room.author(&servers[1], rename(&servers[1], "bob's"));
        assert_refused(&mut room, &again, "not_moderator");
    }
    room.write(&servers[0], role(&servers[0], &servers[1].user, Role::Moderator));
    let by_bob = room.write(&servers[1], rename(&servers[1], "ours"));
    assert_eq!(room.state().label(Label::Name), Some(by_bob.id()));
}

#[test]
fn only_an_owner_gives_roles_and_nobody_takes_the_creators() {
    let (servers, mut room) = three();
    let to_himself = room.author(&servers[1], role(&servers[1], &servers[1].user, Role::Owner));
    assert_refused(&mut room, &to_himself, "oneself");

    room.write(&servers[0], role(&servers[0], &servers[1].user, Role::Owner));
    let coup = room.author(&servers[1], role(&servers[1], &servers[0].user, Role::Member));
    assert_refused(&mut room, &coup, "outranked");
    assert_eq!(room.state().role(&servers[0].user), Role::Owner);

    room.write(&servers[0], role(&servers[0], &servers[1].user, Role::Member));
    let again = room.author(&servers[1], rename(&servers[1], "bob's"));
    assert_refused(&mut room, &again, "not_moderator");
    room.write(&servers[0], role(&servers[0], &servers[0].user, Role::Member));
    assert_eq!(room.state().role(&servers[0].user), Role::Member, "the creator may step back");
}

#[test]
fn a_role_ends_with_the_membership() {
    let (servers, mut room) = three();
    room.write(&servers[0], role(&servers[0], &servers[1].user, Role::Owner));
    room.write(&servers[1], membership(&servers[1], Membership::Leave));
    let outside = room.author(&servers[1], rename(&servers[1], "bob's"));
    assert_dropped(&mut room, &outside, Misplaced::Outsider);
    room.write(&servers[1], join(&servers[1]));
    assert_eq!(room.state().role(&servers[1].user), Role::Member);
}

/// What a user may try who is not joined, and must not.
fn attempts(user: &Server) -> Vec<Draft> {
    vec![
        message(user, "hello?"),
        membership(user, Membership::Leave),
        room::draft(Some(&user.user), &Content::Label(Label::Topic), None),
        role(user, &user.user, Role::Owner),
        Draft { kind: "org.example.unknown".to_owned(), ..message(user, "") },
        Draft { kind: "org.example.unknown".to_owned(), state_key: Some(String::new()), ..message(user, "") },
    ]
}

#[test]
fn a_server_that_is_not_in_the_room_writes_nothing_but_a_join() {
    let servers = Server::five();
    let mut room = TestRoom::made_by(&servers[0]);
    let bob = &servers[1];
    let merge = room::draft(None, &Content::Merge, None);
    for draft in attempts(bob).into_iter().chain([merge.clone()]) {
        let event = room.author(bob, draft);
        assert_dropped(&mut room, &event, Misplaced::Outsider);
    }
    room.write(bob, join(bob));
    room.say(bob, "hello!");
    room.write(bob, merge);
    room.write(bob, membership(bob, Membership::Leave));
    let event = room.author(bob, message(bob, "one more thing"));
    assert_dropped(&mut room, &event, Misplaced::Outsider);
}

#[test]
fn a_user_who_is_not_joined_writes_nothing_but_a_join_though_the_server_is_in_the_room() {
    let (servers, mut room) = three();
    let zoe = Server { user: beside(&servers[1], "zoe"), ..servers[1].clone() };
    for draft in attempts(&zoe) {
        let event = room.author(&zoe, draft);
        assert_refused(&mut room, &event, "not_a_member");
    }
    room.write(&zoe, join(&zoe));
    room.say(&zoe, "me too");
    assert_eq!(room.state().joined().count(), 4);
    assert_eq!(room.state().servers().len(), 3);
}

#[test]
fn nobody_joins_or_leaves_for_another() {
    let (servers, mut room) = three();
    let by_bob = |draft: Draft| Draft { sender: Some(servers[1].user.localpart.clone()), ..draft };
    let zoe = Server { user: beside(&servers[1], "zoe"), ..servers[1].clone() };
    for draft in [membership(&servers[2], Membership::Leave), join(&servers[2]), join(&zoe)] {
        let event = room.author(&servers[1], by_bob(draft));
        assert_refused(&mut room, &event, "not_oneself");
    }
    assert!(room.state().is_joined(&servers[2].user));
    assert!(!room.state().is_joined(&zoe.user));
}

#[test]
fn a_message_needs_a_sender_and_a_merge_has_none() {
    let (servers, mut room) = three();
    for draft in [
        Draft { sender: None, ..message(&servers[1], "nobody said this") },
        Draft { sender: None, ..join(&servers[1]) },
        room::draft(Some(&servers[1].user), &Content::Merge, None),
    ] {
        let event = room.author(&servers[1], draft);
        assert_refused(&mut room, &event, "sender_mismatch");
    }
}

#[test]
fn a_room_has_one_create_event() {
    let (servers, mut room) = three();
    for server in &servers[..2] {
        let second =
            room::draft(Some(&server.user), &Content::Create { room_type: RoomType::Channel, with: Vec::new() }, None);
        let event = room.author(server, second);
        assert_refused(&mut room, &event, "second_create");
    }
    assert_eq!(room.state().creator(), &servers[0].user);
}

#[test]
fn a_room_begins_with_a_create_event_and_nothing_else() {
    let alice = Server::new(1, "alice");
    for (code, draft) in [
        ("second_create", join(&alice)),
        ("second_create", rename(&alice, "a room without a beginning")),
        ("malformed_content", Draft { content: None, ..room::draft(Some(&alice.user), &channel(), None) }),
        ("sender_mismatch", room::draft(None, &channel(), None)),
    ] {
        let event = author(&alice.key, Placement::first(), draft).unwrap();
        assert_refused(&mut TestRoom::empty(event.room()), &event, code);
    }
    let placement = Placement { version: RoomVersion(1), ..Placement::first() };
    let event = author(&alice.key, placement, room::draft(Some(&alice.user), &channel(), None)).unwrap();
    assert_refused(&mut TestRoom::empty(event.room()), &event, "room_version_mismatch");
}

fn channel() -> Content {
    Content::Create { room_type: RoomType::Channel, with: Vec::new() }
}

#[test]
fn an_event_of_another_room_version_is_rejected() {
    let (servers, mut room) = three();
    let event = placed(&room, &servers[1], |placement| placement.version = RoomVersion(1));
    assert_refused(&mut room, &event, "room_version_mismatch");
}

#[test]
fn unknown_state_is_kept_and_gives_no_authority() {
    let (servers, mut room) = three();
    let draft = Draft {
        kind: "room.power".to_owned(),
        state_key: Some(servers[1].user.to_string()),
        content: Some(Map::new().with("role", "owner").with("membership", "join")),
        ..message(&servers[1], "I am the owner")
    };
    let event = room.write(&servers[1], draft);
    let state = room.state();
    let entries: Vec<_> = state.unknown_entries().collect();
    assert_eq!(entries, [("room.power", servers[1].user.to_string().as_str(), event.id())]);
    assert_eq!(state.role(&servers[1].user), Role::Member);
    let name = room.author(&servers[1], rename(&servers[1], "mine"));
    assert_refused(&mut room, &name, "not_moderator");
}

#[test]
fn what_is_allowed_is_judged_at_the_state_that_the_event_names() {
    let (servers, mut room) = three();
    let mut behind = TestRoom::beginning_with(&room.in_order()[0]);
    for event in room.in_order() {
        behind.receive(&event);
    }
    // Bob writes before he hears that Alice has made him owner, and names the room when he has.
    let early = behind.author(&servers[1], rename(&servers[1], "too early"));
    let grant = room.write(&servers[0], role(&servers[0], &servers[1].user, Role::Owner));
    assert_refused(&mut room, &early, "not_moderator");
    behind.receive(&grant);
    let late = behind.author(&servers[1], rename(&servers[1], "in time"));
    assert!(late.header().state_frontier.contains(&grant.id()));
    assert_eq!(room.receive(&late), FORKED, "the early one holds the place, though it was rejected");
    assert_eq!(room.state().label(Label::Name), Some(late.id()));
}
