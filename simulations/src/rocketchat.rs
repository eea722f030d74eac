//! Rocket.Chat servers, nodes beside them, and people who talk: what `make demo` shows, and what it takes.
//!
//! ```text
//!  people ──REST──► rocketmesh-standin ◄──REST, DDP──► rocketmesh run ◄──mesh──► rocketmesh run ◄──► rocketmesh-standin ◄── people
//! ```
//!
//! Everything between the people is a process of its own. The stand-ins are not Rocket.Chat; `docs/standin.md` says what they are.

pub mod columns;
pub mod measure;
pub mod show;
pub mod side;
pub mod standin;
pub mod steps;
