//! Anti-entropy: how servers that differ become equal.
//!
//! ```text
//!   two vectors ──► difference: what is missing on either side     (in brief; bytes in proportion to the servers)
//!               └─► lacking, unknown_heads: the same from whole vectors
//!
//!   who is there, what they have, what they answered ──► AntiEntropy ──► whom to compare with, whom to ask for what
//!                                                  (time and chance are arguments)
//! ```
//!
//! [`AntiEntropy`] knows neither events nor a store: it deals in stretches of chains. Whoever drives it says what is missing by
//! [`difference()`], asks what it says, and says what became of that.

mod action;
mod ask;
mod chain;
mod difference;
mod lacking;
mod machine;
mod plan;
mod room;
mod tempo;

pub use action::{Action, AskId, Comparison, Outcome, Path};
pub use difference::{Claim, Difference, Stretch, difference};
pub use lacking::{ChainRange, lacking, unknown_heads};
pub use machine::AntiEntropy;
pub use tempo::Tempo;
