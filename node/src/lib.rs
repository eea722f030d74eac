//! The running node: the libp2p network, the room engine that drives the protocol, the API, the configuration.
//!
//! ```text
//!  libp2p swarm ── Event ──────►  room engine  ◄── requests ── HTTP API ◄── command line, people's programs
//!       ▲                         │   │    │
//!       └────── Command ──────────┘   │    └──► followers of the local log: API streams
//!                                     ▼
//!                             protocol (pure) + storage (sled)
//! ```
//!
//! The [`network`] knows peers and bytes and no rule of any room; the [`engine`] knows rules and no multiaddress. The node
//! is built from parts that it does not make ([`NodeBuilder`]): transport, store, clock and entropy. The daemon gives it
//! sockets, sled and the system's; a simulator gives it memory, memory and its seed's. Everything between tasks is a bounded
//! channel with a decided answer to "full": wait (own user), drop and let sync repair (a peer's gossip), or refuse (a peer's
//! request).

pub mod api;
pub mod client;
pub mod clock;
pub mod config;
pub mod engine;
pub mod identity;
pub mod network;
mod node;
pub mod rocketchat;
mod tuning;

pub use engine::rooms_with_gaps;
pub use node::{Node, NodeBuilder, StartError, address_file, open_store, store_directory, token_file};
pub use tuning::Tuning;
