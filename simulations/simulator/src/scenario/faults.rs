//! What goes wrong, and who means it.

use serde::{Deserialize, Serialize};

use super::Span;

/// Servers that come and go by shutting down and starting again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// The share of servers that take part. 0 to 1.
    pub share: f64,
    /// From when on.
    #[serde(default)]
    pub from: Span,
    /// Until when; none is to the end.
    #[serde(default)]
    pub until: Option<Span>,
    /// How long one stays, on average.
    pub stay: Span,
    /// How long it is away, on average.
    pub away: Span,
}

/// A cut between parts of the network. What crosses it stalls, and breaks after a while as TCP does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// When it begins.
    pub at: Span,
    /// When it is over.
    pub until: Span,
    /// The share of servers on the one side, chosen at random; or, below, regions. 0 to 1.
    #[serde(default)]
    pub share: f64,
    /// These regions are on the one side.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Members of the first room by number that are on the one side, after those above.
    #[serde(default)]
    pub members: Vec<usize>,
}

/// A crash: the process is gone, and what it had not flushed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// When.
    pub at: Span,
    /// The share of servers. 0 to 1.
    pub share: f64,
    /// After how long it starts again.
    pub after: Span,
}

/// A disk that takes its time with every flush.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowDisk {
    /// The share of servers. 0 to 1.
    pub share: f64,
    /// How long each flush takes.
    pub flush: Span,
}

/// A clock that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSkew {
    /// The share of servers. 0 to 1.
    pub share: f64,
    /// By how much at most, ahead or behind.
    pub most: Span,
}

/// Servers that mean harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hostile {
    /// The share of servers. 0 to 0.5.
    pub share: f64,
    /// What they do.
    pub what: Harm,
}

/// What hostile servers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// Sends as many valid messages as it can.
    Flood,
    /// Signs several events for one place of its chain and tells different servers different ones.
    Fork,
    /// Writes as if it had never seen what took its authority.
    BackDate,
    /// Takes everything, passes nothing on, and answers nothing.
    Withhold,
    /// Sends bytes that are no events, and events with broken signatures.
    Garbage,
    /// Crowds around one server with many identities that pass nothing on to it.
    Eclipse,
    /// Shows more than there is to whoever compares with it, and brings nothing. Protocol layer only.
    Lie,
    /// Breaks an event in the middle of whatever it brings. Protocol layer only.
    Spoil,
}

impl Harm {
    /// The word in scenarios and records.
    pub const fn word(self) -> &'static str {
        match self {
            Harm::Flood => "flood",
            Harm::Fork => "fork",
            Harm::BackDate => "back-date",
            Harm::Withhold => "withhold",
            Harm::Garbage => "garbage",
            Harm::Eclipse => "eclipse",
            Harm::Lie => "lie",
            Harm::Spoil => "spoil",
        }
    }
}
