//! Thousands of Rocketmesh servers on one machine, in virtual time, twice the same.
//!
//! ```text
//!   scenario (TOML) ── seed ──► plan ──► real: nodes, swarms, room engines ──┐
//!                                  └───► model: the protocol's machines alone ├──► observe ──► record (CSV, JSON)
//!                                                                            ┘       │           └──► report (HTML)
//!                                                                                    └──► invariants, trace hash
//! ```
//!
//! | module | the idea |
//! |---|---|
//! | [`scenario`] | what a researcher writes |
//! | [`library`] | the scenarios that ship with the tool |
//! | [`plan`] | what a scenario comes to with one seed |
//! | [`real`] | the real node in virtual time |
//! | [`model`] | the protocol alone, for more servers |
//! | [`observe`] | what happened: trace, record, invariants |
//! | [`invariants`] | what must hold, one file each |
//! | [`record`] | what a run leaves behind |
//! | [`report`] | pictures of it |
//! | [`ways`] | what a packet meets between two regions |
//! | [`virtual_time`] | the system's clock and random numbers, interposed |
//!
//! `docs/simulation.md` takes a researcher from a clone to a picture.

pub mod cities;
pub mod invariants;
pub mod library;
pub mod model;
pub mod observe;
pub mod plan;
pub mod random;
pub mod real;
pub mod record;
pub mod report;
#[doc(hidden)]
pub mod sabotage;
pub mod scenario;
pub mod virtual_time;
pub mod ways;
