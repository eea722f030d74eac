//! Once faults stop, the mesh works.

use super::{Finding, Invariant};
use crate::observe::{Ledger, Observation};
use crate::plan::Plan;

/// What is said after the last fault reaches everybody before the run ends.
#[derive(Default)]
pub(super) struct Liveness {
    probes: Vec<u32>,
}

impl Invariant for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn promise(&self) -> &'static str {
        "what is said once every fault is over reaches every honest server of the room while the run settles"
    }

    fn observe(&mut self, observation: &Observation<'_>, ledger: &Ledger, plan: &Plan) -> Finding {
        match observation {
            Observation::Probe { event } => {
                self.probes.push(*event);
                Finding::Nothing
            }
            Observation::End { server, holds } => {
                let member = |room: usize| plan.rooms[room].members.iter().any(|member| member.server == *server);
                let due = self.probes.iter().map(|event| ledger.get(*event)).filter(|known| member(known.room));
                match due.filter(|known| !holds(&known.event.id())).count() {
                    0 => Finding::Holds,
                    missed => Finding::Broken(format!(
                        "server {server} never got {missed} of the events said after the last fault"
                    )),
                }
            }
            _ => Finding::Nothing,
        }
    }
}
