//! Nothing acknowledged is ever lost.

use std::collections::BTreeMap;

use super::{Finding, Invariant};
use crate::observe::{Ledger, Observation};
use crate::plan::Plan;

/// What a server told its user is on its disk whenever it starts again, and in the end on every member server's.
#[derive(Default)]
pub(super) struct NothingLost {
    /// By server: what it acknowledged.
    acknowledged: BTreeMap<usize, Vec<u32>>,
}

impl Invariant for NothingLost {
    fn name(&self) -> &'static str {
        "nothing lost"
    }

    fn promise(&self) -> &'static str {
        "what a server acknowledged is on its disk after every restart, and in the end on every honest server of the room"
    }

    fn observe(&mut self, observation: &Observation<'_>, ledger: &Ledger, plan: &Plan) -> Finding {
        match observation {
            Observation::Acknowledged { server, event } => {
                self.acknowledged.entry(*server).or_default().push(*event);
                Finding::Nothing
            }
            Observation::Up { server, holds } => {
                let own = self.acknowledged.get(server).map(Vec::as_slice).unwrap_or_default();
                let lost = own.iter().filter(|event| !holds(&ledger.get(**event).event.id())).count();
                match lost {
                    0 => Finding::Holds,
                    lost => Finding::Broken(format!(
                        "server {server} came back without {lost} events that it had acknowledged"
                    )),
                }
            }
            Observation::End { server, holds } => {
                let rooms = &plan.rooms;
                let of_member = |room: usize| rooms[room].members.iter().any(|member| member.server == *server);
                let memberships: Vec<bool> = (0..rooms.len()).map(of_member).collect();
                let due = ledger.iter().filter(|(_, known)| known.said.is_some() && memberships[known.room]);
                let lost: Vec<u32> =
                    due.filter(|(_, known)| !holds(&known.event.id())).map(|(number, _)| number).collect();
                match lost.first() {
                    None => Finding::Holds,
                    Some(first) => Finding::Broken(format!(
                        "server {server} lacks {} acknowledged events, the first of them number {first} of server {}",
                        lost.len(),
                        ledger.get(*first).origin
                    )),
                }
            }
            _ => Finding::Nothing,
        }
    }
}
