//! What is not for everybody is readable for those whom the room says, from the moment it says so.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::access::{Access, access, is_gossiped, readable_at, reads_from_join};
use rocketmesh_protocol::event::{
    Content, Draft, Event, History, JoinRule, Lane, Membership, Placement, RoomType, ServerRule, Switch, author,
};
use rocketmesh_protocol::identity::UserId;
use support::Server;
use support::room::{NONCE, TestRoom, body, draft, join, membership, message};

fn made(maker: &Server, room_type: RoomType, with: Vec<UserId>) -> TestRoom {
    let content = Content::Create { room_type, with };
    let create =
        Draft { content: content.to_map(&NONCE), ..draft(Some(&maker.user), &content, Some(body("name", "general"))) };
    TestRoom::beginning_with(&author(&maker.key, Placement::first(), create).unwrap())
}

fn change(by: &Server, whom: &Server, change: Membership) -> Draft {
    draft(Some(&by.user), &Content::Member { user: whom.user.clone(), change, seen: Vec::new() }, None)
}

fn of(room: &TestRoom, server: &Server) -> Access {
    access(&room.state(), server.key.origin())
}

fn read_by(room: &TestRoom, server: &Server, event: &Event) -> bool {
    let before = room.resolver.clone().state_for(event).unwrap();
    readable_at(&before, event.header().lane, server.key.origin())
}

#[test]
fn a_private_room_is_there_for_its_members_and_in_outline_for_the_invited() {
    let [alice, bob, carol, ..] = &Server::five()[..] else { panic!() };
    let mut room = made(alice, RoomType::Private, Vec::new());
    assert_eq!(of(&room, alice), Access::Everything);
    assert_eq!(of(&room, bob), Access::None);
    room.write(alice, change(alice, bob, Membership::Invite));
    assert_eq!(of(&room, bob), Access::State);
    assert_eq!(of(&room, carol), Access::None);
    room.write(bob, join(bob));
    assert_eq!(of(&room, bob), Access::Everything);
    room.write(bob, membership(bob, Membership::Leave));
    assert_eq!(of(&room, bob), Access::Past);
    room.write(alice, change(alice, bob, Membership::Invite));
    assert_eq!(of(&room, bob), Access::State);
}

#[test]
fn who_declines_keeps_what_the_invitation_showed() {
    let [alice, bob, ..] = &Server::five()[..] else { panic!() };
    let mut room = made(alice, RoomType::Private, Vec::new());
    let invite = room.write(alice, change(alice, bob, Membership::Invite));
    let decline = room.write(bob, membership(bob, Membership::Leave));
    let after = room.say(alice, "to myself");
    assert_eq!(of(&room, bob), Access::Past);
    assert!(!read_by(&room, bob, &invite) && read_by(&room, bob, &decline) && !read_by(&room, bob, &after));
}

#[test]
fn a_server_that_was_removed_reads_up_to_its_removal_and_what_was_said_without_knowing_of_it() {
    let [alice, bob, carol, ..] = &Server::five()[..] else { panic!() };
    let mut room = made(alice, RoomType::Private, Vec::new());
    let alone = room.say(alice, "nobody else is here");
    for whom in [bob, carol] {
        room.write(alice, change(alice, whom, Membership::Invite));
        room.write(whom, join(whom));
    }
    let together = room.say(carol, "all three");
    let unaware = room.author(carol, message(carol, "bob is still here for me"));
    let kick = room.write(alice, change(alice, bob, Membership::Kick));
    room.receive(&unaware);
    let without = room.say(alice, "without bob");
    assert_eq!(of(&room, bob), Access::Past);
    assert!(!read_by(&room, bob, &alone), "before it came it was not there");
    assert!(read_by(&room, bob, &together) && read_by(&room, bob, &unaware) && read_by(&room, bob, &kick));
    assert!(!read_by(&room, bob, &without));
    assert_eq!(without.header().lane, Lane::Timeline);
}

#[test]
fn a_direct_room_is_there_for_those_it_is_with_who_may_always_come_back() {
    let [alice, bob, carol, ..] = &Server::five()[..] else { panic!() };
    let mut room = made(alice, RoomType::Direct, vec![bob.user.clone()]);
    assert_eq!((of(&room, bob), of(&room, carol)), (Access::State, Access::None));
    room.write(bob, join(bob));
    assert_eq!(of(&room, bob), Access::Everything);
    room.write(bob, membership(bob, Membership::Leave));
    assert_eq!(of(&room, bob), Access::State);
}

#[test]
fn a_channel_is_there_for_every_server_that_may_join() {
    let [alice, bob, carol, ..] = &Server::five()[..] else { panic!() };
    let mut room = made(alice, RoomType::Channel, Vec::new());
    assert_eq!(of(&room, bob), Access::Everything);
    let set = |room: &mut TestRoom, content: &Content| {
        room.write(alice, draft(Some(&alice.user), content, None));
    };
    set(&mut room, &Content::JoinRule { rule: JoinRule::Invite });
    assert_eq!(of(&room, bob), Access::None);
    room.write(alice, change(alice, bob, Membership::Invite));
    assert_eq!((of(&room, bob), of(&room, carol)), (Access::Everything, Access::None));
    room.write(bob, join(bob));
    set(&mut room, &Content::JoinRule { rule: JoinRule::Code });
    assert_eq!(of(&room, carol), Access::Everything, "whoever has the code may join");
    set(&mut room, &Content::Switch { switch: Switch::ListedOnly, on: true });
    assert_eq!(of(&room, carol), Access::None);
    set(&mut room, &Content::Server { origin: carol.key.origin(), rule: ServerRule::Allow, seen: Vec::new() });
    assert_eq!(of(&room, carol), Access::Everything);
    set(&mut room, &Content::Server { origin: carol.key.origin(), rule: ServerRule::Deny, seen: Vec::new() });
    assert_eq!(of(&room, carol), Access::None);
    set(&mut room, &Content::Server { origin: bob.key.origin(), rule: ServerRule::Deny, seen: Vec::new() });
    assert_eq!(of(&room, bob), Access::Past, "whoever of it is joined");
}

#[test]
fn a_denied_server_reads_up_to_where_it_was_denied() {
    let [alice, bob, ..] = &Server::five()[..] else { panic!() };
    let mut room = made(alice, RoomType::Private, Vec::new());
    room.write(alice, change(alice, bob, Membership::Invite));
    room.write(bob, join(bob));
    let before = room.say(alice, "for both");
    let deny = Content::Server { origin: bob.key.origin(), rule: ServerRule::Deny, seen: Vec::new() };
    let deny = room.write(alice, draft(Some(&alice.user), &deny, None));
    let after = room.say(alice, "without bob");
    assert_eq!(of(&room, bob), Access::Past);
    assert!(read_by(&room, bob, &before) && read_by(&room, bob, &deny) && !read_by(&room, bob, &after));
}

#[test]
fn only_channels_are_gossiped() {
    assert!(is_gossiped(RoomType::Channel) && !is_gossiped(RoomType::Private) && !is_gossiped(RoomType::Direct));
}

#[test]
fn in_a_room_that_is_read_from_the_join_on_nobody_reads_what_was_said_before() {
    let [alice, bob, ..] = &Server::five()[..] else { panic!() };
    let with_history = |room_type, history: &str| {
        let content = Content::Create { room_type, with: Vec::new() };
        let map = content.to_map(&NONCE).unwrap().with(History::KEY, history);
        let create = Draft { content: Some(map), ..draft(Some(&alice.user), &content, Some(body("name", "general"))) };
        author(&alice.key, Placement::first(), create).unwrap()
    };
    let mut room = TestRoom::beginning_with(&with_history(RoomType::Private, "join"));
    assert!(reads_from_join(&room.state()));
    let before = room.say(alice, "before bob");
    room.write(alice, change(alice, bob, Membership::Invite));
    room.write(bob, join(bob));
    let after = room.say(alice, "with bob");
    assert_eq!(of(&room, bob), Access::Everything);
    assert!(!read_by(&room, bob, &before) && read_by(&room, bob, &after));
    assert!(read_by(&room, alice, &before));
    let pieces = room.state().to_pieces();
    assert_eq!(rocketmesh_protocol::authority::RoomState::from_pieces(&pieces), Some(room.state()));

    assert!(!reads_from_join(&TestRoom::beginning_with(&with_history(RoomType::Private, "start")).state()));
    assert!(!reads_from_join(&made(alice, RoomType::Private, Vec::new()).state()));
    for (room_type, history) in [(RoomType::Channel, "join"), (RoomType::Private, "never")] {
        assert!(rocketmesh_protocol::authority::RoomState::created(&with_history(room_type, history)).is_err());
    }
}
