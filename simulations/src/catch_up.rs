//! What it takes a server to catch up with what it missed, and to join large rooms, over loopback.
//!
//! | module | what is measured |
//! |---|---|
//! | [`gap`] | a server that was away catches up with thousands of events, from one server |
//! | [`holders`] | the same from three servers at once |
//! | [`join`] | a server joins a room with many members, or with many events |
//! | [`little`] | what it costs to find out that nothing is missing, or a few events |
//!
//! Bytes are what passes through a node's connections, before encryption: the node's own counters say so. All that two nodes have
//! to say to each other is in them, gossip, comparisons and pings included.

use std::path::Path;
use std::time::Duration;

use rocketmesh_node::api::types::PeerList;
use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::identity::ServerKey;
use serde::Serialize;

use crate::Failure;
use crate::process::{Api, Process, until};

pub mod gap;
pub mod holders;
pub mod join;
pub mod little;

/// Events that a server misses.
const GAPS: [usize; 3] = [1_000, 10_000, 100_000];
/// Members of the rooms that are joined for their members' sake.
const MEMBERS: [usize; 3] = [100, 1_000, 10_000];
/// Events of the room that is joined for its events' sake.
const EVENTS: usize = 100_000;
/// From so many events on, a measurement is one of the long ones.
const LONG: usize = 100_000;
/// Federated rooms of the comparisons in which nothing is missing.
const ALIKE: [usize; 2] = [1, 100];
/// Past this, whatever is measured does not end.
const LONGEST: Duration = Duration::from_secs(900);

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct CatchUp {
    /// Catching up from one server.
    pub gaps: Vec<gap::Gap>,
    /// Catching up from three.
    pub holders: holders::Holders,
    /// Joins.
    pub joins: Vec<join::Join>,
    /// Small gaps.
    pub few: Vec<little::Few>,
    /// Comparisons in which nothing was missing.
    pub alike: Vec<little::Alike>,
}

/// Measures all of it. `texts` is what is said, again and again. `short` leaves out what has a hundred thousand events, which
/// takes most of the time.
///
/// # Errors
/// If a node does not start, or does not end with everything.
pub async fn catch_up(binary: &Path, texts: &[String], short: bool) -> Result<CatchUp, Failure> {
    let few = little::few(texts).await?;
    let mut alike = Vec::new();
    for rooms in ALIKE {
        alike.push(little::alike(rooms).await?);
    }
    let mut gaps = Vec::new();
    for events in GAPS.into_iter().filter(|events| !short || *events < LONG) {
        gaps.push(gap::close(binary, texts, events).await?);
    }
    let holders = holders::one_and_three(binary, texts).await?;
    let mut joins = Vec::new();
    for members in MEMBERS {
        joins.push(join::crowd(binary, texts, members).await?);
    }
    if !short {
        joins.extend(join::archive(binary, texts, EVENTS).await?);
    }
    Ok(CatchUp { gaps, holders, joins, few, alike })
}

fn key(seed: u8) -> ServerKey {
    ServerKey::from_seed(&[seed; 32])
}

/// The bytes of an event's blocks: whoever misses it cannot do with fewer.
fn size(event: &Event) -> u64 {
    (event.header_block().len() + event.body_block().map_or(0, <[u8]>::len)) as u64
}

/// An address of a server over TCP.
async fn address(server: &Process) -> Result<String, Failure> {
    let addresses = server.addresses().await?;
    Ok(addresses.into_iter().find(|address| address.contains("/tcp/")).ok_or("the node listens on no TCP port")?)
}

/// Waits until a server is connected with another one, and both know who they are.
async fn introduced(api: &Api) -> Result<(), Failure> {
    until("the two introduce themselves", || async {
        let peers = api.get::<PeerList>("/v1/peers").await?.peers;
        Ok(peers.iter().any(|peer| peer.state == "introduced"))
    })
    .await
}
