//! A full disk refuses by name, and harms nothing.

use super::{Finding, Invariant};
use crate::observe::{Ledger, Observation};
use crate::plan::Plan;

/// What a server did when a user wrote while its disk was nearly full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It refused because of that, says the same of its health, and shows what it has.
    Refused,
    /// It took what was written.
    Took,
    /// It refused for another reason, which names no full disk.
    Nameless,
    /// Its health has no word of it.
    Silent,
    /// It does not show what it has.
    Blind,
}

/// See the file's head.
pub(super) struct FullDisk;

impl Invariant for FullDisk {
    fn name(&self) -> &'static str {
        "full disk"
    }

    fn promise(&self) -> &'static str {
        "a server whose disk is nearly full takes nothing new, says why, and shows what it has"
    }

    fn observe(&mut self, observation: &Observation<'_>, _: &Ledger, _: &Plan) -> Finding {
        let Observation::FullDisk { server, trial } = observation else { return Finding::Nothing };
        let what = match trial {
            Trial::Refused => return Finding::Holds,
            Trial::Took => "takes messages",
            Trial::Nameless => "refuses messages and does not say that it is for that",
            Trial::Silent => "says nothing of it in its health",
            Trial::Blind => "does not show what it has",
        };
        Finding::Broken(format!("the disk of server {server} is nearly full, and it {what}"))
    }
}
