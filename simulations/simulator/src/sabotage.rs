//! Deliberate bugs, by which tests prove that each invariant catches what it is for. Nothing but tests sets one.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Server 0 never hears of bans and kicks of others, though it counts them as held: breaks convergence.
    IgnoresRemovals,
    /// Every server acknowledges before it flushes: breaks "nothing lost" when one crashes.
    AcknowledgesUnflushed,
    /// A server that comes back goes through its log from the beginning again: breaks "nothing twice".
    ForgetsPosition,
    /// Servers take events in without asking the rules: breaks "authority by grant" when a member makes itself owner.
    AsksNoRules,
    /// What waits for missing events waits without bound: breaks "bounded".
    HoldsEverything,
    /// Servers never compare rooms: breaks liveness after a cut.
    NeverCompares,
    /// Server 0 changes a byte of each file before anybody looks at it: breaks "files". Real layer only.
    SpoilsFiles,
    /// Servers say that a message was taken back and do nothing: breaks "taken back" and "files". Real layer only.
    ForgetsRedactions,
    /// Servers keep nothing of their disks free: breaks "full disk". Real layer only.
    FillsDisks,
}
