//! Invitations: rooms that a user of this server may come to and this server is not in yet.
//!
//! ```text
//!   a member server ── tell: there is something for you ──► look: pull the state graph ──► kept, listed
//!   a user accepts  ──► a join, written on the state graph and kept with the invitation, on disk
//!                   ──► handed to a member server, which takes it in ──► pull the room as a member, the join with it
//! ```
//!
//! Whatever breaks between two of these steps, the next round or the next connection with a server of the room goes on.

mod accept;
mod look;

pub(super) use accept::{greet, resume};
pub(super) use look::{is_unwelcome, notice, preview};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use libp2p::identity::PeerId;
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_storage::StoreError;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Engine;
use super::room::PostError;
use crate::network::{origin, peer_id};
use accept::Accepting;

/// Settings of invitations begin with this, followed by the room.
const SETTING: &str = "invitation/";
/// The most servers of a room that are remembered for an invitation.
pub(crate) const MOST_HOLDERS: usize = 64;

/// A room that users of this server are invited to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// Rocket.Chat's letter of the room's type.
    pub(crate) room_type: String,
    /// The room's name, as the state graph tells it.
    pub(crate) name: Option<String>,
    /// The users, and who invited each.
    pub(crate) users: BTreeMap<String, String>,
    /// How many users are joined.
    pub(crate) members: u64,
    /// Servers of the room.
    pub(crate) holders: Vec<String>,
    /// When this server heard of it, in milliseconds since 1970.
    pub(crate) heard_ms: u64,
    /// The join that was written on it.
    pub(crate) accepting: Option<Accepting>,
}

impl Invitation {
    /// The servers of the room, as peers.
    pub(super) fn peers(&self) -> BTreeSet<PeerId> {
        let holders = self.holders.iter().filter_map(|holder| holder.parse::<Origin>().ok());
        holders.map(|holder| peer_id(&holder)).collect()
    }
}

/// What is under way.
#[derive(Debug)]
pub(super) struct Invitations {
    /// Rooms whose state graph is to be read, by the peer that said there is something.
    looking: Mutex<BTreeMap<PeerId, BTreeSet<RoomId>>>,
    looks: Semaphore,
    /// Direct rooms that users of a peer began with users of this server, and that the policy keeps out.
    unwelcome: Mutex<BTreeSet<(PeerId, RoomId)>>,
    /// Joins that are on their way to a peer.
    bringing: Mutex<BTreeSet<(PeerId, RoomId)>>,
    /// One answer to an invitation at a time: two would be two events for one place of the chain.
    answering: tokio::sync::Mutex<()>,
}

impl Default for Invitations {
    fn default() -> Self {
        Invitations {
            looking: Mutex::default(),
            looks: Semaphore::new(look::LOOKS),
            unwelcome: Mutex::default(),
            bringing: Mutex::default(),
            answering: tokio::sync::Mutex::default(),
        }
    }
}

fn setting(room: &RoomId) -> String {
    format!("{SETTING}{room}")
}

/// Whoever showed the room, then others of its servers.
fn holders(state: &RoomState, peer: PeerId) -> Vec<String> {
    let others = state.servers().into_iter().filter(|server| peer_id(server) != peer).map(|server| server.to_string());
    origin(&peer).map(|first| first.to_string()).into_iter().chain(others).take(MOST_HOLDERS).collect()
}

impl Engine {
    /// The invitation to a room.
    pub(super) fn invitation(&self, room: &RoomId) -> Result<Option<Invitation>, Arc<StoreError>> {
        let record = self.store().setting(&setting(room))?;
        Ok(record.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// Every invitation that is kept.
    pub(crate) fn invitations(&self) -> Result<Vec<(RoomId, Invitation)>, Arc<StoreError>> {
        let read = |(name, json): (String, Vec<u8>)| {
            Some((name[SETTING.len()..].parse().ok()?, serde_json::from_slice(&json).ok()?))
        };
        Ok(self.store().settings(SETTING)?.into_iter().filter_map(read).collect())
    }

    async fn keep_invitation(&self, room: RoomId, invitation: &Invitation) -> Result<(), PostError> {
        let json = serde_json::to_vec(invitation).unwrap_or_default();
        Ok(self.save_setting(&setting(&room), Some(&json)).await?)
    }

    pub(super) async fn forget_invitation(&self, room: RoomId) -> Result<(), PostError> {
        if self.invitation(&room)?.is_some() {
            self.save_setting(&setting(&room), None).await?;
        }
        Ok(())
    }
}
