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
}
