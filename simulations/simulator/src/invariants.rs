//! What must hold in every run, whatever goes wrong. One file each, and each is proven by a bug that it catches.

mod authority;
mod bounds;
mod convergence;
mod files;
mod full_disk;
mod liveness;
mod nothing_lost;
mod nothing_twice;
mod taken_back;

use std::time::Duration;

use crate::observe::{Ledger, Observation};
use crate::plan::Plan;
use crate::record::InvariantRow;

pub use files::{End, Fate, FileSight, Seen};
pub use full_disk::Trial;

/// How an observation bears on an invariant.
pub enum Finding {
    /// Not at all.
    Nothing,
    /// It holds.
    Holds,
    /// It does not: where, and what is wrong.
    Broken(String),
}

/// One invariant.
pub trait Invariant: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// What it promises, in a sentence.
    fn promise(&self) -> &'static str;

    /// Looks at what happened.
    fn observe(&mut self, observation: &Observation<'_>, ledger: &Ledger, plan: &Plan) -> Finding;

    /// Looks at everything once more in the end. Returns what is wrong.
    fn end(&mut self, ledger: &Ledger, plan: &Plan) -> Vec<Finding> {
        let _ = (ledger, plan);
        Vec::new()
    }
}

struct Watched {
    invariant: Box<dyn Invariant>,
    checks: u64,
    violations: u64,
    first: Option<(Duration, String)>,
}

/// All of them.
pub struct Invariants(Vec<Watched>);

/// All invariants, for a plan.
pub fn all(plan: &Plan) -> Invariants {
    let mut invariants: Vec<Box<dyn Invariant>> = vec![
        Box::new(convergence::Convergence::default()),
        Box::new(nothing_lost::NothingLost::default()),
        Box::new(nothing_twice::NothingTwice::new(plan)),
        Box::new(authority::Authority),
        Box::new(bounds::Bounds),
        Box::new(liveness::Liveness::default()),
    ];
    // Where nothing happens to files and disks there is nothing to say of them.
    if !plan.files.steps.is_empty() {
        invariants.push(Box::new(files::Files));
        invariants.push(Box::new(taken_back::TakenBack));
        invariants.push(Box::new(full_disk::FullDisk));
    }
    let watched = |invariant| Watched { invariant, checks: 0, violations: 0, first: None };
    Invariants(invariants.into_iter().map(watched).collect())
}

impl Invariants {
    /// Shows all of them what happened.
    pub fn observe(&mut self, now: Duration, observation: &Observation<'_>, ledger: &Ledger, plan: &Plan) {
        for watched in &mut self.0 {
            let finding = watched.invariant.observe(observation, ledger, plan);
            watched.note(now, finding);
        }
    }

    /// Lets all of them look at everything once more.
    pub fn end(&mut self, now: Duration, ledger: &Ledger, plan: &Plan) {
        for watched in &mut self.0 {
            for finding in watched.invariant.end(ledger, plan) {
                watched.note(now, finding);
            }
        }
    }

    /// Whether all have held so far.
    pub fn hold(&self) -> bool {
        self.0.iter().all(|watched| watched.violations == 0)
    }

    /// What came of them.
    pub fn rows(&self, plan: &Plan) -> Vec<InvariantRow> {
        let row = |watched: &Watched| InvariantRow {
            name: watched.invariant.name().to_owned(),
            promise: watched.invariant.promise().to_owned(),
            checks: watched.checks,
            violations: watched.violations,
            first: watched.first.as_ref().map_or_else(String::new, |(at, what)| {
                format!("at {:.3} s, {what}", at.as_secs_f64() - plan.scenario.warm_up.0.as_secs_f64())
            }),
        };
        self.0.iter().map(row).collect()
    }
}

impl Watched {
    fn note(&mut self, now: Duration, finding: Finding) {
        match finding {
            Finding::Nothing => {}
            Finding::Holds => self.checks += 1,
            Finding::Broken(what) => {
                self.checks += 1;
                self.violations += 1;
                self.first.get_or_insert((now, what));
            }
        }
    }
}
