//! Two servers find out from have-vectors what either lacks, and hold the same once they have sent it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rocketmesh_protocol::event::{Event, Lane};
use rocketmesh_protocol::have::{Brief, BriefLane, HaveVector, LaneHave, Sections, Tag};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::sync::{ChainRange, Stretch, difference, lacking, unknown_heads};
use support::config;
use support::room::{TestRoom, World, any_steps, some_events};

/// One side of a sync: a copy of the room that holds a part of it.
fn part_of(whole: &TestRoom, events: &[Event], chosen: &[Index]) -> TestRoom {
    let mut part = TestRoom::beginning_with(&events[0]);
    let ids = chosen.iter().map(|at| events[at.index(events.len())].id());
    for event in whole.with_ancestors(ids) {
        part.receive(&event);
    }
    part
}

/// What `from` sends for these ranges.
fn sent(from: &TestRoom, ranges: &[ChainRange]) -> Vec<Event> {
    let within = |event: &Event| {
        let header = event.header();
        ranges
            .iter()
            .any(|range| (range.origin, range.lane) == (header.origin, header.lane) && header.seq >= range.from_seq)
    };
    from.in_order().into_iter().filter(within).collect()
}

/// What `to` gets from `from`, knowing nothing of it but the have-vector: first ranges, then what is still unknown.
fn sync(from: &TestRoom, to: &mut TestRoom) {
    let theirs = to.outline.have().clone();
    for event in sent(from, &lacking(&theirs, from.outline.have(), |id| from.holds(id))) {
        to.receive(&event);
    }
    let unknown = unknown_heads(from.outline.have(), |id| to.holds(id));
    for event in from.with_ancestors(unknown) {
        to.receive(&event);
    }
}

proptest! {
    #![proptest_config(config(192))]

    #[test]
    fn two_servers_with_parts_of_a_room_become_equal(
        steps in any_steps(4, true),
        left in vec(any::<Index>(), 0..4),
        right in vec(any::<Index>(), 0..4),
    ) {
        let whole = World::after(4, &steps).everything();
        let events = whole.in_order();
        let mut left = part_of(&whole, &events, &left);
        let mut right = part_of(&whole, &events, &right);
        let union: BTreeSet<EventId> = left.events().keys().chain(right.events().keys()).copied().collect();
        sync(&left, &mut right);
        sync(&right, &mut left);
        for side in [&mut left, &mut right] {
            prop_assert_eq!(side.events().keys().copied().collect::<BTreeSet<_>>(), union.clone());
            prop_assert!(side.held().is_empty());
        }
        prop_assert_eq!(left.outcome(), right.outcome());
        prop_assert!(lacking(left.outline.have(), right.outline.have(), |_| true).is_empty());
    }

    #[test]
    fn two_servers_that_ask_at_once_become_equal(
        steps in any_steps(4, true),
        left in vec(any::<Index>(), 0..4),
        right in vec(any::<Index>(), 0..4),
    ) {
        let whole = World::after(4, &steps).everything();
        let events = whole.in_order();
        let mut left = part_of(&whole, &events, &left);
        let mut right = part_of(&whole, &events, &right);
        let before = (left.outline.have().clone(), right.outline.have().clone());
        let to_right = sent(&left, &lacking(&before.1, &before.0, |id| left.holds(id)));
        let to_left = sent(&right, &lacking(&before.0, &before.1, |id| right.holds(id)));
        let to_left = [to_left, right.with_ancestors(unknown_heads(&before.1, |id| left.holds(id)))].concat();
        let to_right = [to_right, left.with_ancestors(unknown_heads(&before.0, |id| right.holds(id)))].concat();
        for event in &to_left {
            left.receive(event);
        }
        for event in &to_right {
            right.receive(event);
        }
        prop_assert_eq!(left.outcome(), right.outcome());
    }

    #[test]
    fn without_forks_ranges_alone_are_enough_and_nothing_is_sent_twice(
        steps in any_steps(4, false),
        left in vec(any::<Index>(), 0..4),
        right in vec(any::<Index>(), 0..4),
    ) {
        let whole = World::after(4, &steps).everything();
        let events = whole.in_order();
        let mut left = part_of(&whole, &events, &left);
        let mut right = part_of(&whole, &events, &right);
        let theirs = right.outline.have().clone();
        for event in sent(&left, &lacking(&theirs, left.outline.have(), |id| left.holds(id))) {
            prop_assert!(!right.holds(&event.id()), "sent though it was there: {:?}", event.id());
            right.receive(&event);
        }
        prop_assert!(unknown_heads(left.outline.have(), |id| right.holds(id)).is_empty());
        prop_assert!(right.held().is_empty());
        for event in sent(&right, &lacking(left.outline.have(), right.outline.have(), |id| right.holds(id))) {
            prop_assert!(!left.holds(&event.id()), "sent though it was there: {:?}", event.id());
            left.receive(&event);
        }
        prop_assert_eq!(left.outcome(), right.outcome());
    }
}

#[test]
fn a_newcomer_asks_for_everything_and_a_member_for_nothing() {
    let events = some_events();
    let mut room = TestRoom::beginning_with(&events[0]);
    for event in &events {
        room.receive(event);
    }
    let have = room.outline.have();
    assert!(lacking(have, have, |id| room.holds(id)).is_empty());
    let all = lacking(&HaveVector::new(), have, |id| room.holds(id));
    assert_eq!(all.len(), have.lanes().count());
    assert!(all.iter().all(|range| range.from_seq == 0));
    assert_eq!(sent(&room, &all).len(), events.len());
}

#[test]
fn a_vector_in_brief_tells_what_is_missing_and_who_lacks_something() {
    let origin = Origin::from_bytes([1; 32]);
    let head = |seq: u64, id: u8| (seq, EventId::from_hash([id; 32]));
    let vector = |heads: Vec<(u64, EventId)>| {
        let mut have = HaveVector::new();
        have.set_lane(origin, Lane::Timeline, LaneHave { lowest: 0, heads });
        have
    };
    let stretch = |from: u64, to: u64| Stretch { origin: Tag::of(origin.as_bytes()), lane: Lane::Timeline, from, to };
    // What of the other side's heads is held here, and what follows from it.
    let cases = [
        ("the same", vec![head(5, 1)], vec![head(5, 1)], true, None, false),
        ("they go on", vec![head(5, 1)], vec![head(9, 2)], false, Some(stretch(6, 9)), false),
        ("we go on", vec![head(9, 2)], vec![head(5, 1)], true, None, true),
        ("forks of each other", vec![head(5, 1)], vec![head(5, 2)], false, Some(stretch(5, 5)), true),
        (
            "we hold one side of a fork",
            vec![head(5, 1)],
            vec![head(4, 9), head(7, 2)],
            false,
            Some(stretch(4, 7)),
            true,
        ),
    ];
    for (name, ours, theirs, held, lacking, offers) in cases {
        let (ours, theirs) = (vector(ours), Brief::of(&vector(theirs)).unwrap());
        let told = difference(&theirs, &ours, Sections::ALL, |_, _, _, _| held);
        assert_eq!(told.lacking, Vec::from_iter(lacking), "{name}");
        assert_eq!((told.offers, told.unclear), (offers, false), "{name}");
        assert_eq!(told.claims.is_empty(), lacking.is_none(), "{name}");
    }
    let unknown =
        difference(&Brief::of(&vector(vec![head(5, 1)])).unwrap(), &HaveVector::new(), Sections::ALL, |_, _, _, _| {
            false
        });
    assert_eq!((unknown.lacking, unknown.offers), (vec![stretch(0, 5)], false));
    let nothing = difference(&Brief::default(), &vector(vec![head(5, 1)]), Sections::ALL, |_, _, _, _| true);
    assert_eq!((nothing.lacking, nothing.offers), (Vec::new(), true));

    // Servers that begin alike have no vector in brief, and whoever knows them both finds out from whole ones.
    let mut alike = vector(vec![head(5, 1)]);
    let mut twin = [1; 32];
    twin[31] = 2;
    alike.set_lane(Origin::from_bytes(twin), Lane::State, LaneHave { lowest: 0, heads: vec![head(0, 3)] });
    assert_eq!(Brief::of(&alike), None);
    let theirs = Brief::of(&vector(vec![head(5, 1)])).unwrap();
    assert!(difference(&theirs, &alike, Sections::ALL, |_, _, _, _| true).unclear);
    let mut within = Brief::default();
    within.set_lane(
        Tag::of(origin.as_bytes()),
        Lane::State,
        BriefLane { lowest: 1, heads: vec![(2, Tag::of(&[3; 32]))] },
    );
    assert_eq!(within.within(Sections::from_bits(0b10)), within, "the section that its first byte names");
    assert!(within.within(Sections::from_bits(0b1)).is_empty());
}
