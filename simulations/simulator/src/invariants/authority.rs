//! Nobody has a role without a chain of grants from the creator.

use std::collections::BTreeSet;

use rocketmesh_protocol::authority::{Rank, RoomState};
use rocketmesh_protocol::event::{Content, Role};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;

use super::{Finding, Invariant};
use crate::observe::{Holding, Ledger, Observation};
use crate::plan::Plan;

/// Looks at the grants themselves and uses none of the protocol's own rules for it.
pub(super) struct Authority;

impl Invariant for Authority {
    fn name(&self) -> &'static str {
        "authority by grant"
    }

    fn promise(&self) -> &'static str {
        "whoever is an owner or moderator has a chain of grants that goes back to the room's creator"
    }

    fn observe(&mut self, observation: &Observation<'_>, ledger: &Ledger, _: &Plan) -> Finding {
        let Observation::Holding(Holding { server, room, state: Some(state), .. }) = observation else {
            return Finding::Nothing;
        };
        for user in state.joined().filter(|user| state.rank(user) >= Rank::Moderator) {
            if user == *state.creator() {
                continue;
            }
            let granted = state.role_event(&user).is_some_and(|grant| is_granted(&grant, &user, None, state, ledger));
            if !granted {
                return Finding::Broken(format!(
                    "on server {server}, {user} has a role in room {room} that nobody could give"
                ));
            }
        }
        Finding::Holds
    }
}

/// Whether the event gives the user at least `least`, or what they hold, and its sender could.
fn is_granted(grant: &EventId, to: &UserId, least: Option<Role>, state: &RoomState, ledger: &Ledger) -> bool {
    let Some(number) = ledger.number(grant) else { return false };
    let event = &ledger.get(number).event;
    let Ok(Content::Role { user, role, .. }) = event.content() else { return false };
    let Some(giver) = event.sender().filter(|_| user == *to && least.is_none_or(|least| role >= least)) else {
        return false;
    };
    if giver == *state.creator() {
        return true;
    }
    // An owner's grant: one of the events that it had in its past made its sender an owner.
    let mut seen = BTreeSet::from([*grant]);
    let mut waiting = vec![*grant];
    while let Some(at) = waiting.pop() {
        let Some(number) = ledger.number(&at) else { continue };
        let behind = &ledger.get(number).event;
        let makes_owner = matches!(
            behind.content(),
            Ok(Content::Role { user, role: Role::Owner, .. }) if user == giver
        );
        if makes_owner && at != *grant && is_granted(&at, &giver, Some(Role::Owner), state, ledger) {
            return true;
        }
        let header = behind.header();
        waiting.extend(header.state_frontier.iter().chain(&header.self_parent).filter(|id| seen.insert(**id)));
    }
    false
}
