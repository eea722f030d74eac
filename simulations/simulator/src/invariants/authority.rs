//! Nobody has a role without a chain of grants from the creator.

use std::collections::BTreeSet;

use rocketmesh_protocol::authority::{Rank, RoomState};
use rocketmesh_protocol::event::{Content, Membership, Role};
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
        "whoever is an owner or moderator, and whoever threw somebody out, has a chain of grants that goes back to the \
         room's creator"
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
        for (user, _) in state.others().filter(|(_, is)| matches!(is, Membership::Kick | Membership::Ban)) {
            let allowed = state.membership_event(&user).is_some_and(|event| may_remove(&event, state, ledger));
            if !allowed {
                return Finding::Broken(format!(
                    "on server {server}, {user} was thrown out of room {room} by somebody without a rank"
                ));
            }
        }
        Finding::Holds
    }
}

/// Whether the sender of a kick or ban was at least a moderator by a grant in its past.
fn may_remove(removal: &EventId, state: &RoomState, ledger: &Ledger) -> bool {
    let Some(number) = ledger.number(removal) else { return false };
    let Some(sender) = ledger.get(number).event.sender() else { return false };
    was(&sender, Role::Moderator, removal, state, ledger)
}

/// Whether the event gives the user at least `least`, or what they hold, and its sender could.
fn is_granted(grant: &EventId, to: &UserId, least: Option<Role>, state: &RoomState, ledger: &Ledger) -> bool {
    let Some(number) = ledger.number(grant) else { return false };
    let event = &ledger.get(number).event;
    let Ok(Content::Role { user, role, .. }) = event.content() else { return false };
    let Some(giver) = event.sender().filter(|_| user == *to && least.is_none_or(|least| role >= least)) else {
        return false;
    };
    was(&giver, Role::Owner, grant, state, ledger)
}

/// Whether the user had at least this role by one of the events that this one had in its past.
fn was(who: &UserId, least: Role, then: &EventId, state: &RoomState, ledger: &Ledger) -> bool {
    if *who == *state.creator() {
        return true;
    }
    let mut seen = BTreeSet::from([*then]);
    let mut waiting = vec![*then];
    while let Some(at) = waiting.pop() {
        let Some(number) = ledger.number(&at) else { continue };
        let behind = &ledger.get(number).event;
        let gives = matches!(behind.content(), Ok(Content::Role { user, role, .. }) if user == *who && role >= least);
        if gives && at != *then && is_granted(&at, who, Some(least), state, ledger) {
            return true;
        }
        let header = behind.header();
        waiting.extend(header.state_frontier.iter().chain(&header.self_parent).filter(|id| seen.insert(**id)));
    }
    false
}
