//! What every Rocketmesh server must agree on. Pure: no I/O, no clock, no randomness of its own.
//!
//! ```text
//!   what a user says ──► event::author ──► Event ──► wire::GossipFrame ──► other servers
//!                                            │
//!   bytes of a peer ──► event::Event::open ──┤
//!                                            ▼
//!                        receipt::receive: dropped, held, rejected or accepted
//!                           │            │
//!                 room::Outline      authority::RoomState
//!                 tips, have-vector  who may do what
//!                                        │
//!                            resolution::Resolver
//!                            what concurrent events come to
//!                           │
//!                 sync: what another server is missing, and who brings it
//! ```
//!
//! | module | the idea |
//! |---|---|
//! | [`codec`] | deterministic DAG-CBOR: one encoding per value |
//! | [`id`], [`identity`] | content ids; servers, users and their text forms |
//! | [`event`] | header and body blocks, signatures, kinds, the files that a message names |
//! | [`mod@file`] | ranges of files that prove themselves |
//! | [`have`] | what a server holds of a room, in a size that grows with servers |
//! | [`room`] | a room in outline: tips and have-vector, and where the next event goes |
//! | [`authority`] | the rules, and the state that they are judged at |
//! | [`resolution`] | what events come to that contradict each other |
//! | [`receipt`] | what becomes of an event, and why |
//! | [`sync`] | how servers that differ become equal |
//! | [`wire`] | messages between servers |
//! | [`limits`] | every bound |
//!
//! Time and randomness are arguments, maps are ordered, and whatever a peer sends ends in a typed error or a decided
//! consequence. The specification is `docs/protocol.md`; recorded vectors for other implementations are in `vectors/`.

pub mod access;
pub mod authority;
pub mod codec;
pub mod event;
pub mod file;
pub mod have;
pub mod id;
pub mod identity;
pub mod limits;
pub mod preview;
pub mod receipt;
pub mod resolution;
pub mod room;
pub mod sync;
pub mod wire;
