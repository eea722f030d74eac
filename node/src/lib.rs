#![doc = "placeholder"]
pub mod api;
pub mod clock;
pub mod config;
pub mod engine;
pub mod identity;
pub mod network;
mod node;
pub use node::{Node, NodeBuilder, StartError, address_file, open_store, store_directory, token_file};
