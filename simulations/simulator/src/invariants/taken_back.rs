//! What was taken back is gone.

use super::{Finding, Invariant};
use crate::observe::{Ledger, Observation};
use crate::plan::Plan;

/// The words of a message whose redaction was acknowledged are on no honest server's disk in the end. Its files are the affair of
/// another invariant.
pub(super) struct TakenBack;

impl Invariant for TakenBack {
    fn name(&self) -> &'static str {
        "taken back"
    }

    fn promise(&self) -> &'static str {
        "the words of a message that was taken back are on no honest server in the end"
    }

    fn observe(&mut self, observation: &Observation<'_>, _: &Ledger, _: &Plan) -> Finding {
        match observation {
            Observation::TakenBack { gone: true, .. } => Finding::Holds,
            Observation::TakenBack { server, event, .. } => {
                Finding::Broken(format!("server {server} keeps the words of {event}, which was taken back"))
            }
            _ => Finding::Nothing,
        }
    }
}
