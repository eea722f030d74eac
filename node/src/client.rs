//! What users can do on a node, from within the process: for simulations, and for whatever else stands beside the engine.
//!
//! Nothing here is more than the API offers; it comes without sockets, tokens and JSON.

mod files;

use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Content, Lane};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, UserId};
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::{LogEntry, LogPosition, StoreError, StoredEvent, Verdict};
use tokio::sync::watch;

use crate::engine::{Engine, JoinError, PostError, Written};
use crate::network::NetworkStatus;

/// How many events of a room are read at a time.
const PAGE: usize = 1024;

/// What a node holds of a room.
#[derive(Clone, Debug)]
pub struct RoomView {
    /// The digest of the have-vector: equal ones mean equal sets of events.
    pub digest: [u8; 32],
    /// The resolved state.
    pub state: Arc<RoomState>,
    /// Events that wait for others.
    pub held: usize,
    /// Tips of both lanes.
    pub tips: usize,
    /// Events held.
    pub events: u64,
}

/// A way to use a node. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    engine: Engine,
}

impl Client {
    pub(crate) fn new(engine: Engine) -> Self {
        Client { engine }
    }

    /// Joins a room through any server that has it, which may take up to `wait` to find.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn join(&self, room: RoomId, user: Localpart, wait: Duration) -> Result<Written, JoinError> {
        self.engine.join(room, user, wait).await
    }

    /// Connects to an address and stays so.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn connect(&self, address: Multiaddr) -> Result<PeerId, String> {
        self.engine.network.connect(address).await.map_err(|error| error.to_string())?
    }

    /// Writes an event. When this returns it is on disk.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn post(
        &self,
        room: RoomId,
        user: Localpart,
        content: &Content,
        fields: Option<Map>,
    ) -> Result<Written, PostError> {
        let draft = self.engine.draft(Some(user), content, fields);
        self.engine.post(room, draft).await
    }

    /// The local user of this name.
    pub fn local(&self, localpart: Localpart) -> UserId {
        self.engine.local(localpart)
    }

    /// The durable end of the local log, as it moves.
    pub fn durable(&self) -> watch::Receiver<LogPosition> {
        self.engine.durable()
    }

    /// Entries of the local log after a position, of which those up to [`Client::durable`] are on disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log_after(&self, position: LogPosition, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.engine.store.log_after(position, limit)
    }

    /// An event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn event(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
        self.engine.store.event(id)
    }

    /// The digest of a room that the node takes part in.
    pub fn digest(&self, room: &RoomId) -> Option<[u8; 32]> {
        self.engine.digest(room)
    }

    /// What the node holds of a room.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn room(&self, room: RoomId) -> Result<RoomView, PostError> {
        let (state, held) = self.engine.state(room).await?;
        let entry = self.engine.store.room(&room).map_err(Arc::new)?.ok_or(PostError::UnknownRoom(room))?;
        let outline = &entry.outline;
        Ok(RoomView {
            digest: outline.have().digest(),
            state,
            held,
            tips: Lane::ALL.iter().map(|lane| outline.tips(*lane).len()).sum(),
            events: outline.events(),
        })
    }

    /// How many events wait for others in a room.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn held(&self, room: RoomId) -> Result<usize, PostError> {
        Ok(self.engine.state(room).await?.1)
    }

    /// What the node holds of a room in outline; none if nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn outline(&self, room: &RoomId) -> Result<Option<Outline>, StoreError> {
        Ok(self.engine.store.room(room)?.map(|entry| entry.outline))
    }

    /// Hands wire bytes to a room as an answer of a peer would. Returns how many events were new.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn ingest(&self, room: RoomId, events: Vec<WireEvent>) -> Result<usize, PostError> {
        Ok(self.engine.ingest_wire(room, events).await?.new)
    }

    /// The events of a room that are shown, in room order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn shown(&self, room: &RoomId) -> Result<Vec<EventId>, StoreError> {
        let store = &self.engine.store;
        let mut shown = Vec::new();
        let mut after = None;
        loop {
            let page = store.order_after(room, after.as_ref(), PAGE)?;
            for key in &page {
                if store.event(&key.id)?.is_some_and(|stored| stored.verdict == Verdict::Accepted) {
                    shown.push(key.id);
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(*last),
                _ => return Ok(shown),
            }
        }
    }

    /// The peers that have introduced themselves.
    pub async fn ready(&self) -> Vec<PeerId> {
        self.engine.network.ready().await.unwrap_or_default()
    }

    /// The peers in the gossip mesh of each room that the node follows.
    pub async fn mesh(&self) -> Vec<(RoomId, Vec<PeerId>)> {
        self.engine.network.mesh().await.unwrap_or_default()
    }

    /// The network in short.
    pub async fn network(&self) -> NetworkStatus {
        self.engine.network.status().await.unwrap_or_default()
    }

    /// Bytes of the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn store_bytes(&self) -> Result<u64, StoreError> {
        self.engine.store.size()
    }
}
