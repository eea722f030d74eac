//! The connector: an unmodified Rocket.Chat server in the mesh.
//!
//! ```text
//!                 ┌─────────── realtime (DDP over a websocket): what happens, as it happens
//!  Rocket.Chat ◄──┤                                │ RealtimeEvent, bounded
//!                 └─── client (REST) ◄── bridge ◄──┘
//!                                          │  ▲
//!                                  drafts  ▼  │ the local log
//!                                       room engine
//!
//!  vault (0600): tokens        check: is everything as it must be?        status: what people are told
//! ```
//!
//! `client` and `realtime` know Rocket.Chat and nothing of rooms in the mesh; the bridge knows both. `connector` holds what is
//! configured, and lets the API change it while the node runs. Everything that can go wrong for more than a moment has a name
//! and says what to do: [`status::ProblemKind`].

pub(crate) mod bridge;
pub mod check;
#[allow(dead_code, reason = "the whole of Rocket.Chat's contract, also where the bridge has no use for it")]
pub(crate) mod client;
pub(crate) mod commands;
pub(crate) mod connector;
pub(crate) mod mapping;
#[allow(dead_code, reason = "the whole of what Rocket.Chat tells, also where the bridge has no use for it")]
pub(crate) mod realtime;
pub(crate) mod records;
pub mod status;
pub(crate) mod vault;
