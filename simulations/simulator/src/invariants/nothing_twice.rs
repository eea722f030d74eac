//! Nothing is shown twice.

use super::{Finding, Invariant};
use crate::observe::{Bits, Ledger, Observation};
use crate::plan::Plan;

/// A server's local log shows an event once, and again only after it took it from view.
pub(super) struct NothingTwice {
    /// By event: the servers that show it.
    shown: Vec<Bits>,
    servers: usize,
    hidden: std::collections::BTreeSet<(usize, u32)>,
}

impl NothingTwice {
    pub(super) fn new(plan: &Plan) -> Self {
        NothingTwice { shown: Vec::new(), servers: plan.servers.len(), hidden: Default::default() }
    }
}

impl Invariant for NothingTwice {
    fn name(&self) -> &'static str {
        "nothing twice"
    }

    fn promise(&self) -> &'static str {
        "no server shows an event twice, unless it took it from view between"
    }

    fn observe(&mut self, observation: &Observation<'_>, _: &Ledger, _: &Plan) -> Finding {
        match *observation {
            Observation::Shown { server, event } if server < self.servers => {
                if self.shown.len() <= event as usize {
                    self.shown.resize_with(event as usize + 1, Bits::default);
                }
                let new = self.shown[event as usize].insert(server);
                if new || self.hidden.remove(&(server, event)) {
                    Finding::Holds
                } else {
                    Finding::Broken(format!("server {server} shows event {event} a second time"))
                }
            }
            Observation::Hidden { server, event } => {
                self.hidden.insert((server, event));
                Finding::Nothing
            }
            _ => Finding::Nothing,
        }
    }
}
