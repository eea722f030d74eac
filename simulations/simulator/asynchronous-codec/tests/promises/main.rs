//! What users of the real crate rely on, and what this one is there for.
//!
//! Only what the real crate has as well is used, so that `behaviour` can be run against that one too.
#![allow(clippy::unwrap_used, missing_docs)]

mod behaviour;
mod memory;
mod wire;
