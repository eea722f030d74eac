//! The receipt pipeline: what is decided depends on the events alone, never on how they came.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rocketmesh_protocol::event::{Content, Event, Label, Lane, Placement, Role, RoomType, author, author_after};
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::limits::MAX_PARENTS;
use rocketmesh_protocol::receipt::{Misplaced, Receipt};
use support::room::{self, Step, TestRoom, World, any_steps, join, message, rename, shuffled};
use support::verdicts::{ACCEPTED, FORKED, assert_dropped, assert_refused, beside, placed, three, unknown_state};
use support::{Server, config, field, fields_of, sign_fields};

/// A world of three to five servers and what they did in it.
fn any_world() -> impl Strategy<Value = (usize, Vec<Step>)> {
    (3..=5_usize).prop_flat_map(|servers| (Just(servers), any_steps(servers, true)))
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn any_order_of_arrival_ends_the_same((servers, steps) in any_world(), choices in vec(any::<Index>(), 1..200)) {
        let world = World::after(servers, &steps);
        let whole = world.everything();
        let expected = whole.outcome();
        prop_assert!(expected.held.is_empty());

        let mut other = TestRoom::empty(whole.outline.room());
        let events = [whole.in_order(), world.outsiders].concat();
        for event in shuffled(events, &choices) {
            other.receive(&event);
        }
        prop_assert_eq!(other.outcome(), expected);
    }

    #[test]
    fn what_every_server_held_meanwhile_makes_no_difference((servers, steps) in any_world()) {
        let mut world = World::after(servers, &steps);
        let expected = world.everything().outcome();
        let everything = world.everything().in_order();
        for copy in &mut world.copies {
            for event in &everything {
                copy.receive(event);
            }
            prop_assert_eq!(&copy.outcome(), &expected);
        }
    }

    #[test]
    fn the_state_graph_alone_comes_to_the_state_and_the_rest_to_everything(
        (servers, steps) in any_world(),
        choices in vec(any::<Index>(), 1..200),
    ) {
        let whole = World::after(servers, &steps).everything();
        let (state, timeline): (Vec<Event>, Vec<Event>) =
            whole.in_order().into_iter().partition(|event| event.header().lane == Lane::State);
        let mut other = TestRoom::empty(whole.outline.room());
        for event in shuffled(state, &choices) {
            other.receive(&event);
        }
        prop_assert!(other.held().is_empty(), "no state event waits for the timeline");
        prop_assert_eq!(other.state(), whole.state());
        prop_assert_eq!(other.outline.tips(Lane::State), whole.outline.tips(Lane::State));
        for event in shuffled(timeline, &choices) {
            other.receive(&event);
        }
        prop_assert_eq!(other.outcome(), whole.outcome());
    }

    #[test]
    fn what_a_server_says_that_has_the_state_alone_is_accepted_by_all(
        (servers, steps) in any_world(),
        choices in vec(any::<Index>(), 1..200),
    ) {
        let mut world = World::after(servers, &steps);
        let mut whole = world.everything();
        let newcomer = Server::new(77, "newcomer");
        let mut behind = TestRoom::empty(whole.outline.room());
        for event in whole.in_order().into_iter().filter(|event| event.header().lane == Lane::State) {
            behind.receive(&event);
        }
        let joined = behind.write(&newcomer, join(&newcomer));
        let said: Vec<Event> = ["one", "two"].map(|text| behind.say(&newcomer, text)).into();
        for event in std::iter::once(&joined).chain(&said) {
            prop_assert_eq!(whole.receive(event), ACCEPTED);
            for copy in &mut world.copies {
                copy.receive(event);
            }
        }
        // The rest reaches the newcomer, and its words reach everybody, in any order.
        for event in shuffled(whole.in_order(), &choices) {
            behind.receive(&event);
        }
        prop_assert_eq!(behind.outcome(), whole.outcome());
        for copy in &mut world.copies {
            for event in whole.in_order() {
                copy.receive(&event);
            }
            prop_assert_eq!(&copy.outcome(), &whole.outcome());
        }
    }

    #[test]
    fn a_held_event_names_exactly_what_is_missing(
        (servers, steps) in any_world(),
        choices in vec(any::<Index>(), 1..200),
    ) {
        let whole = World::after(servers, &steps).everything();
        let mut other = TestRoom::empty(whole.outline.room());
        for event in shuffled(whole.in_order(), &choices) {
            let expected = other.missing_for(&event);
            match other.decide(&event) {
                Receipt::Held { missing } => {
                    prop_assert!(!missing.is_empty());
                    prop_assert_eq!(missing.len(), expected.len(), "nothing is named twice");
                    prop_assert_eq!(missing.into_iter().collect::<BTreeSet<_>>(), expected);
                }
                receipt => prop_assert!(expected.is_empty(), "{receipt:?}"),
            }
        }
    }

    #[test]
    fn what_was_decided_on_is_known_and_changes_nothing((servers, steps) in any_world()) {
        let mut whole = World::after(servers, &steps).everything();
        let expected = whole.outcome();
        let count = whole.outline.events();
        for event in whole.in_order() {
            prop_assert_eq!(whole.receive(&event), Receipt::Known);
        }
        prop_assert_eq!(whole.outline.events(), count);
        prop_assert_eq!(whole.outcome(), expected);
    }

    #[test]
    fn tips_are_the_accepted_events_that_no_accepted_event_names((servers, steps) in any_world()) {
        let whole = World::after(servers, &steps).everything();
        let accepted = whole.accepted();
        for lane in Lane::ALL {
            let events: Vec<Event> = whole
                .in_order()
                .into_iter()
                .filter(|event| event.header().lane == lane && accepted.contains(&event.id()))
                .collect();
            let mut tips: BTreeSet<EventId> = events.iter().map(Event::id).collect();
            for header in events.iter().map(Event::header) {
                let covered = if lane == Lane::State { &header.state_frontier } else { &header.parents };
                for id in covered {
                    tips.remove(id);
                }
            }
            prop_assert_eq!(whole.outline.tips(lane).keys().copied().collect::<BTreeSet<_>>(), tips);
        }
    }

    #[test]
    fn heads_are_the_ends_of_every_servers_chains((servers, steps) in any_world()) {
        let whole = World::after(servers, &steps).everything();
        for (origin, lane, have) in whole.outline.have().lanes() {
            let chain: Vec<Event> = whole
                .in_order()
                .into_iter()
                .filter(|event| event.header().origin == origin && event.header().lane == lane)
                .collect();
            let continued: BTreeSet<EventId> = chain.iter().filter_map(|event| event.header().self_parent).collect();
            let ends: BTreeSet<(u64, EventId)> = chain
                .iter()
                .filter(|event| !continued.contains(&event.id()))
                .map(|event| (event.header().seq, event.id()))
                .collect();
            prop_assert_eq!(have.heads.iter().copied().collect::<BTreeSet<_>>(), ends);
            prop_assert_eq!(have.lowest, 0);
        }
    }

    #[test]
    fn nobody_has_a_role_that_nobody_gave((servers, steps) in any_world()) {
        let mut world = World::after(servers, &steps);
        let whole = world.everything();
        let state = whole.state();
        let creator = &world.servers[0].user;
        for server in &world.servers {
            let given = whole.in_order().into_iter().any(|event| {
                whole.accepted().contains(&event.id())
                    && event.content() == Ok(Content::Role { user: server.user.clone(), role: Role::Owner, seen: Vec::new() })
            });
            prop_assert!(state.role(&server.user) < Role::Owner || given || server.user == *creator);
            let joined = whole.in_order().into_iter().any(|event| {
                whole.accepted().contains(&event.id()) && event.header().origin == server.key.origin()
            });
            prop_assert!(!state.is_joined(&server.user) || joined);
        }
        // Every server that holds a part of the room has an owner who made it.
        for copy in &mut world.copies {
            let state = copy.state();
            prop_assert_eq!(state.creator(), creator);
        }
    }
}

#[test]
fn an_event_with_another_lamport_time_is_dropped() {
    let (servers, mut room) = three();
    room.say(&servers[0], "first");
    for event in [
        placed(&room, &servers[0], |placement| placement.lamport += 1),
        placed(&room, &servers[0], |placement| placement.lamport -= 1),
        placed(&room, &servers[0], |placement| placement.lamport = 0),
        placed(&room, &servers[1], |placement| placement.lamport += 1000),
    ] {
        assert_dropped(&mut room, &event, Misplaced::Lamport);
    }
}

#[test]
fn an_event_that_does_not_continue_its_chain_is_dropped() {
    let (servers, mut room) = three();
    let first = room.say(&servers[0], "first");
    room.say(&servers[0], "second");
    let others = room.say(&servers[1], "another's");
    let (_, head) = room.outline.head(servers[0].key.origin(), Lane::Timeline).unwrap();
    let (seq, join) = room.outline.head(servers[1].key.origin(), Lane::State).unwrap();
    for event in [
        placed(&room, &servers[0], |placement| placement.self_parent = Some((head, 2))),
        placed(&room, &servers[0], |placement| placement.self_parent = Some((head, 0))),
        placed(&room, &servers[0], |placement| placement.self_parent = Some((first.id(), 1))),
        placed(&room, &servers[0], |placement| placement.self_parent = Some((others.id(), others.header().seq))),
        placed(&room, &servers[1], |placement| placement.self_parent = Some((join, seq))),
    ] {
        assert_dropped(&mut room, &event, Misplaced::Chain);
    }
}

#[test]
fn an_event_that_refers_to_the_wrong_lane_is_dropped() {
    let (servers, mut room) = three();
    let said = room.say(&servers[0], "first");
    let create = room.in_order()[0].id();
    let event = placed(&room, &servers[1], |placement| placement.parents.push(create));
    assert_dropped(&mut room, &event, Misplaced::WrongLane);
    let event = placed(&room, &servers[1], |placement| placement.state_frontier.push(said.id()));
    assert_dropped(&mut room, &event, Misplaced::WrongLane);
}

#[test]
fn an_event_that_refers_to_another_room_is_dropped() {
    let (servers, mut room) = three();
    let mut elsewhere = TestRoom::beginning_with(&room::create(&servers[0], RoomType::Channel, [8; 16]));
    let said = elsewhere.say(&servers[0], "elsewhere");
    let create = elsewhere.in_order()[0].clone();
    room.know(&said);
    room.know(&create);
    for event in [
        placed(&room, &servers[1], |placement| placement.parents.push(said.id())),
        placed(&room, &servers[1], |placement| placement.state_frontier.push(create.id())),
        placed(&room, &servers[1], |placement| placement.state_frontier = vec![create.id()]),
        placed(&room, &servers[0], |placement| placement.self_parent = Some((said.id(), 0))),
        placed(&room, &servers[0], |placement| placement.room = Some(elsewhere.outline.room())),
    ] {
        assert_dropped(&mut room, &event, Misplaced::ForeignRoom);
    }
}

#[test]
fn a_misplaced_event_is_dropped_as_soon_as_that_is_clear() {
    let (servers, mut room) = three();
    let create = room.in_order()[0].id();
    let event = placed(&room, &servers[1], |placement| {
        placement.parents = vec![create, EventId::from_hash([0xee; 32])];
    });
    assert_dropped(&mut room, &event, Misplaced::WrongLane);
}

#[test]
fn a_state_event_stands_behind_what_its_server_had_seen_and_does_not_wait_for_it() {
    let (servers, mut room) = three();
    let mut behind = TestRoom::empty(room.outline.room());
    for event in room.in_order() {
        behind.receive(&event);
    }
    let said: Vec<Event> = (0..20).map(|number| room.say(&servers[1], &format!("message {number}"))).collect();
    let named = room.write(&servers[0], rename(&servers[0], "later"));
    let after = room.say(&servers[2], "after the name");
    assert!(named.header().lamport < said[0].header().lamport + 2, "its time covers the state graph alone");
    assert_eq!(behind.receive(&named), ACCEPTED);
    assert_eq!(behind.in_room_order().last(), Some(&named.id()), "it stands where the state graph has it");
    assert!(matches!(behind.receive(&after), Receipt::Held { .. }));
    for event in &said {
        behind.receive(event);
    }
    let order = room.in_room_order();
    assert_eq!(&order[order.len() - 3..], [said[19].id(), named.id(), after.id()]);
    assert_eq!(behind.outcome(), room.outcome());
}

#[test]
fn parents_of_a_state_event_that_nobody_has_or_that_are_no_timeline_events_change_nothing() {
    let (servers, mut room) = three();
    let create = room.in_order()[0].id();
    room.say(&servers[0], "first");
    for parents in [vec![EventId::from_hash([0xee; 32])], vec![create]] {
        let placement = Placement { parents, ..room.placement(&servers[0], Lane::State) };
        let lamport = placement.lamport;
        let event = author(&servers[0].key, placement, rename(&servers[0], "a name")).unwrap();
        assert_eq!(room.receive(&event), ACCEPTED);
        assert_eq!(event.header().lamport, lamport);
        assert_eq!(room.state().label(Label::Name), Some(event.id()));
    }
}

#[test]
fn a_message_of_a_server_that_lacks_the_timeline_stands_behind_what_it_names_as_seen() {
    let (servers, mut room) = three();
    let mut behind = TestRoom::empty(room.outline.room());
    for event in room.in_order() {
        behind.receive(&event);
    }
    let said: Vec<Event> = (0..20).map(|number| room.say(&servers[1], &format!("message {number}"))).collect();
    let last = said[19].id();
    let placement = behind.placement(&servers[2], Lane::Timeline);
    let unseen = EventId::from_hash([0xee; 32]);
    let answer =
        author_after(&servers[2].key, placement, message(&servers[2], "an answer"), vec![last, unseen]).unwrap();
    assert_eq!(answer.header().sightings().len(), 2);
    assert_eq!(behind.receive(&answer), ACCEPTED);
    assert_eq!(room.receive(&answer), ACCEPTED);
    let order = room.in_room_order();
    assert_eq!(&order[order.len() - 2..], [last, answer.id()]);
    for event in &said {
        behind.receive(event);
    }
    assert_eq!(behind.outcome(), room.outcome());
}

#[test]
fn a_held_event_is_decided_on_once_what_it_waits_for_is_here() {
    let (servers, mut room) = three();
    let mut ahead = TestRoom::beginning_with(&room.in_order()[0]);
    for event in room.in_order() {
        ahead.receive(&event);
    }
    let first = ahead.say(&servers[1], "first");
    let second = ahead.say(&servers[2], "second");
    let third = ahead.say(&servers[1], "third");
    assert_eq!(room.receive(&third), Receipt::Held { missing: vec![first.id(), second.id()] });
    assert_eq!(room.receive(&second), Receipt::Held { missing: vec![first.id()] });
    assert_eq!(room.held(), BTreeSet::from([second.id(), third.id()]));
    assert_eq!(room.receive(&first), ACCEPTED);
    assert!(room.held().is_empty());
    assert_eq!(room.outcome(), ahead.outcome());
}

#[test]
fn both_sides_of_a_fork_are_kept_and_both_heads_shown() {
    let (servers, mut room) = three();
    room.say(&servers[1], "before");
    let one = room.author(&servers[1], message(&servers[1], "one side"));
    let other = room.author(&servers[1], message(&servers[1], "the other side"));
    assert_eq!(room.receive(&one), ACCEPTED);
    assert_eq!(room.receive(&other), FORKED);

    let have = room.outline.have().lane(servers[1].key.origin(), Lane::Timeline).unwrap().clone();
    assert!(have.forked());
    let heads: BTreeSet<EventId> = have.heads.iter().map(|(_, id)| *id).collect();
    assert_eq!(heads, BTreeSet::from([one.id(), other.id()]));
    assert_eq!(have.highest().0, 1);

    // Both sides go on: neither is a fork again, and what joins them for readers is an event of somebody else.
    let next: Vec<Event> = heads
        .into_iter()
        .map(|head| {
            placed(&room, &servers[1], |placement| {
                placement.self_parent = Some((head, 1));
                placement.parents = vec![head];
            })
        })
        .collect();
    for event in &next {
        assert_eq!(room.receive(event), ACCEPTED);
    }
    assert_eq!(room.outline.have().lane(servers[1].key.origin(), Lane::Timeline).unwrap().heads.len(), 2);
    let joined = room.say(&servers[0], "I have read both");
    assert_eq!(joined.header().parents.len(), 2);
    assert_eq!(room.outline.tips(Lane::Timeline).len(), 1);
}

#[test]
fn a_fork_at_a_chains_very_beginning_is_seen_too() {
    let (servers, mut room) = three();
    let one = room.author(&servers[2], message(&servers[2], "one side"));
    let other = room.author(&servers[2], message(&servers[2], "the other side"));
    assert_eq!((one.header().seq, other.header().seq), (0, 0));
    assert_eq!(room.receive(&one), ACCEPTED);
    assert_eq!(room.receive(&other), FORKED);
    assert!(room.outline.have().lane(servers[2].key.origin(), Lane::Timeline).unwrap().forked());
}

#[test]
fn a_fork_far_behind_the_head_is_seen_too() {
    let (servers, mut room) = three();
    let place = room.placement(&servers[1], Lane::Timeline);
    for number in 0..5 {
        room.say(&servers[1], &format!("message {number}"));
    }
    let late = author(&servers[1].key, place, message(&servers[1], "as if first")).unwrap();
    assert_eq!(room.receive(&late), FORKED);
    let heads = room.outline.have().lane(servers[1].key.origin(), Lane::Timeline).unwrap().heads.clone();
    assert_eq!(heads.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [0, 4]);
}

#[test]
fn a_rejected_event_never_becomes_a_tip_and_its_innocent_descendants_are_accepted() {
    let (servers, mut room) = three();
    let before = room.outline.tips(Lane::State).clone();
    let name = room.author(&servers[1], rename(&servers[1], "mine now"));
    assert_refused(&mut room, &name, "not_moderator");
    assert_eq!(room.outline.tips(Lane::State), &before, "its tips stay as well: nothing covers them");
    assert_eq!(room.outline.events(), 4, "its header is kept");

    let topic = room.author(&servers[1], unknown_state(&servers[1]));
    assert_eq!(topic.header().self_parent, Some(name.id()));
    assert_eq!(room.receive(&topic), ACCEPTED);
    assert_eq!(room.outline.tips(Lane::State).keys().copied().collect::<Vec<_>>(), [topic.id()]);
    assert_eq!(room.state().label(Label::Name), None);
    assert_eq!(room.state().unknown_entries().map(|(.., event)| event).collect::<Vec<_>>(), [topic.id()]);

    // A message under a rejected one, by somebody who had no way of knowing. Zoe is on Bob's server and not joined.
    let zoe = Server { user: beside(&servers[1], "zoe"), ..servers[1].clone() };
    let shout = room.author(&zoe, message(&zoe, "buy this"));
    assert_refused(&mut room, &shout, "not_a_member");
    let answer = placed(&room, &servers[2], |placement| {
        placement.parents.push(shout.id());
        placement.lamport = placement.lamport.max(shout.header().lamport + 1);
    });
    assert_eq!(room.receive(&answer), ACCEPTED);
    assert_eq!(room.outline.tips(Lane::Timeline).keys().copied().collect::<Vec<_>>(), [answer.id()]);
}

#[test]
fn an_event_that_names_rejected_state_is_judged_by_what_that_stood_on() {
    let (servers, mut room) = three();
    let name = room.author(&servers[1], rename(&servers[1], "mine now"));
    assert_refused(&mut room, &name, "not_moderator");
    let event = placed(&room, &servers[1], |placement| {
        placement.state_frontier = vec![name.id()];
        placement.lamport = name.header().lamport + 1;
    });
    assert_eq!(room.receive(&event), ACCEPTED);
    assert_eq!(room.state().label(Label::Name), None);
}

#[test]
fn a_room_with_many_tips_goes_on_and_joins_them() {
    let mut servers = Server::five();
    servers.extend((6..40).map(|seed| Server::new(seed, "somebody")));
    let mut room = TestRoom::of(&servers);
    let at_once: Vec<Event> = servers.iter().map(|server| room.author(server, message(server, "at once"))).collect();
    for event in &at_once {
        assert_eq!(room.receive(event), ACCEPTED);
    }
    assert_eq!(room.outline.tips(Lane::Timeline).len(), servers.len());
    for round in 0..4 {
        for server in &servers {
            let event = room.say(server, &format!("round {round}"));
            assert!(event.header().parents.len() <= MAX_PARENTS);
        }
    }
    assert!(room.outline.tips(Lane::Timeline).len() <= MAX_PARENTS);
}

#[test]
fn a_server_cannot_take_other_servers_state_out_of_the_tips() {
    let (servers, mut room) = three();
    // Bob covers everybody's state with a topic, Carol's join among it. Then he continues his chain from the topic, and
    // names as the state that he saw nothing but his own join.
    let bob = &servers[1];
    let (_, bobs_join) = room.outline.head(bob.key.origin(), Lane::State).unwrap();
    let topic = room.write(bob, unknown_state(bob));
    let placement = Placement { state_frontier: vec![bobs_join], ..room.placement(bob, Lane::State) };
    let forgetful = author(&bob.key, placement, unknown_state(bob)).unwrap();
    assert_eq!(forgetful.header().self_parent, Some(topic.id()));
    let receipt = room.receive(&forgetful);
    assert!(room.state().is_joined(&servers[2].user), "nobody has removed Carol: {receipt:?}");
}

#[test]
fn nobody_writes_into_another_servers_chain() {
    let (servers, mut room) = three();
    let alice = &servers[0];
    let mallory = Server::new(66, "mallory");
    room.say(alice, "good morning");
    let before = room.outline.have().clone();

    // Alice's next message, signed with Mallory's key and saying so.
    let mut fields = fields_of(&room.author(alice, message(alice, "send me money")));
    fields[field::KEY] = mallory.key.origin().as_bytes().as_slice().into();
    let receipt = Event::open(&sign_fields(&mallory.key, &fields), None).map(|forged| room.receive(&forged));
    assert!(!matches!(receipt, Ok(Receipt::Accepted { .. })), "{receipt:?}");
    assert_eq!(lanes_of(&room, alice.key.origin()), lanes_of_vector(&before, alice.key.origin()), "{receipt:?}");
}

fn lanes_of(room: &TestRoom, origin: Origin) -> Vec<(Lane, Vec<(u64, EventId)>)> {
    lanes_of_vector(room.outline.have(), origin)
}

fn lanes_of_vector(have: &HaveVector, origin: Origin) -> Vec<(Lane, Vec<(u64, EventId)>)> {
    have.lanes().filter(|(other, ..)| *other == origin).map(|(_, lane, have)| (lane, have.heads.clone())).collect()
}
