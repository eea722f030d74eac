//! The bound on keys, as it is said: every entry is looked at, and traced to the event that added its key.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{BOUNDS, Deed, Definition, World, allowed, config, flags, steps_of};
use crate::authority::{KeyBounds, KeyClass, RoomState, Used};
use crate::event::{Content, Draft, Membership, Role, kind};
use crate::identity::Origin;

/// No bounds: the definition has its own.
pub(super) const NONE: KeyBounds = KeyBounds { unknown: u32::MAX, profiles: u32::MAX };

/// Makes of a draft one of this kind and key.
pub(super) fn name(draft: &mut Draft, kind: &str, key: String) {
    (draft.kind, draft.state_key) = (kind.to_owned(), Some(key));
}

impl Definition<'_> {
    /// What authority the event uses at a state; none if the rules do not allow it there.
    pub(super) fn authorize(&mut self, state: &RoomState, at: u32) -> Option<Used> {
        let event = &self.world.events[at as usize];
        let (header, content) = (event.header(), event.content().unwrap());
        let used = state.authorize(header, &content).ok()?;
        let Some(key) = header.state_key.as_deref().filter(|_| content == Content::Unknown) else { return Some(used) };
        let class = if header.kind == kind::PROFILE { KeyClass::Profile } else { KeyClass::Unknown };
        let is_there = state.unknown_entry(&header.kind, key).is_some();
        (is_there || self.keys_of(state, header.origin, class) < BOUNDS.most(class)).then_some(used)
    }

    /// How many entries of a state count for the server.
    fn keys_of(&mut self, state: &RoomState, origin: Origin, class: KeyClass) -> u32 {
        let profiles = class == KeyClass::Profile;
        let entries = state.unknown_entries().filter(|(named, ..)| (*named == kind::PROFILE) == profiles);
        let places: Vec<u32> = entries.map(|(.., event)| self.world.places[&event] as u32).collect();
        places.into_iter().filter(|at| self.adder(*at) == origin).count() as u32
    }

    /// The server that added the key of the entry that this event sets.
    fn adder(&mut self, at: u32) -> Origin {
        if let Some(known) = self.adders.get(&at) {
            return *known;
        }
        let header = self.world.events[at as usize].header();
        let there = self.resolve(&self.world.pasts[at as usize].clone()).state;
        let before = there.unknown_entry(&header.kind, header.state_key.as_deref().unwrap_or_default());
        let adder = match before {
            Some(before) => self.adder(self.world.places[&before] as u32),
            None => header.origin,
        };
        self.adders.insert(at, adder);
        adder
    }
}

/// Whether the numbers that a state keeps are those of its entries.
fn is_counted(definition: &mut Definition<'_>, state: &RoomState) -> Result<(), TestCaseError> {
    let origins: BTreeSet<Origin> = definition.world.events.iter().map(|event| event.header().origin).collect();
    for origin in origins {
        for class in [KeyClass::Unknown, KeyClass::Profile] {
            prop_assert_eq!(state.keys_of(origin, class), definition.keys_of(state, origin, class));
        }
    }
    Ok(())
}

/// What servers do that set many entries, and lose the authority to.
fn any_deed() -> BoxedStrategy<Deed> {
    prop_oneof![
        12 => (0_u8..6).prop_map(Deed::Key),
        2 => Just(Deed::Profile),
        3 => Just(Deed::Join),
        2 => Just(Deed::Member(Membership::Ban)),
        1 => Just(Deed::Member(Membership::Kick)),
        2 => Just(Deed::Member(Membership::Unban)),
        1 => Just(Deed::Role(Role::Owner)),
        1 => Just(Deed::Role(Role::Member)),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(config(600))]

    /// With forks, with what is withheld and what comes back: every state's numbers are those of its entries, and what is one too
    /// many is what the definition says, in any order.
    #[test]
    fn what_counts_for_a_server_is_what_is_there_and_bounds_what_it_adds(
        steps in steps_of(any_deed(), 4, 6..36),
        one in vec(any::<Index>(), 8),
        other in vec(any::<Index>(), 8),
    ) {
        let world = World::after(4, &steps);
        let mut definition = Definition::new(&world);
        let all: BTreeSet<u32> = world.state_events().into_iter().collect();
        let resolved = definition.resolve(&all);
        for choices in [one, other] {
            let resolver = world.resolver(&world.order(&choices));
            for node in resolver.nodes.iter().skip(1) {
                let at = world.places[&node.id] as u32;
                prop_assert_eq!(allowed(node), definition.act(at).is_some(), "event {}", at);
                for state in std::iter::once(&node.view).chain(&node.settled) {
                    is_counted(&mut definition, state)?;
                }
            }
            prop_assert_eq!(flags(&world, &resolver, |node| node.void), resolved.void.clone());
            let current = resolver.current().unwrap();
            prop_assert_eq!(current, &resolved.state);
            is_counted(&mut definition, current)?;
            is_counted(&mut definition, &RoomState::from_pieces(&current.to_pieces()).unwrap())?;
        }
    }
}
