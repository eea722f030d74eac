//! Memory and queues stay bounded.

use super::{Finding, Invariant};
use crate::observe::{Ledger, Observation};
use crate::plan::Plan;

/// What is measured stays within its bound at any time.
pub(super) struct Bounds;

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn promise(&self) -> &'static str {
        "what waits, what is connected and what is remembered stays within its bounds on every server"
    }

    fn observe(&mut self, observation: &Observation<'_>, _: &Ledger, _: &Plan) -> Finding {
        match observation {
            Observation::Measured { server, what, value, bound } if value > bound => {
                Finding::Broken(format!("server {server} has {value} {what}, and {bound} is the bound"))
            }
            Observation::Measured { .. } => Finding::Holds,
            _ => Finding::Nothing,
        }
    }
}
