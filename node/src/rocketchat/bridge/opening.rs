//! A channel or group that is being opened to other servers: noted before the room of the mesh is made, so that a crash leaves none that
//! nobody knows.
//!
//! | a crash comes | after it |
//! |---|---|
//! | before the note is on disk | nothing happened |
//! | before the room is | the note goes: nothing was opened |
//! | before the room is recorded | the note says which room it is, and opening goes on |
//!
//! The room's id is that of its first event, which is made before it is written.

use rocketmesh_protocol::event::History;
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::Localpart;
use rocketmesh_storage::StoreError;

use super::compare::first_agreed;
use super::federate::{name_of, room_type};
use super::{Bridge, FederateError, RoomStatus, Stall};
use crate::rocketchat::client::{Room, RoomKind};
use crate::rocketchat::records::{Changes, Federated, Opening, agreed_key, anchor_key, opening_key};

impl Bridge {
    /// Opens a room of this server to others, as one that `owner` has made; without one, as its first local owner's. `room` is its id,
    /// or the name of a channel or group.
    ///
    /// # Errors
    /// [`FederateError`].
    pub(crate) async fn federate(&self, room: &str, owner: Option<&str>) -> Result<RoomStatus, FederateError> {
        let _one = self.federating.lock().await;
        let (room, kind) = self.open_to_federate(room).await?;
        let (owner, is_owner) = self.owner(&room, kind, owner).await?;
        if !is_owner {
            return Err(FederateError::NotOwner);
        }
        // One that was begun before and could not be recorded.
        if let Some(opening) = self.records.opening(&room.id)?
            && self.is_made(&opening)?
        {
            return self.finish_opening(&room.id, opening).await;
        }
        let opening = self.make_room(&room, kind, owner).await?;
        self.finish_opening(&room.id, opening).await
    }

    /// Makes the room of the mesh that a room of this server becomes, noted before.
    async fn make_room(&self, room: &Room, kind: RoomKind, owner: Localpart) -> Result<Opening, FederateError> {
        let name = name_of(room);
        let topic = room.topic.as_deref().filter(|topic| !topic.is_empty());
        let (engine, of) = (&self.engine, room_type(kind));
        let first = engine.first_event(owner.clone(), of, Vec::new(), History::Start, &name, topic)?;
        // By the server's clock, and everything after it.
        let now_ms = room.updated_at.ms().max(room.lm.map_or(0, |last| last.ms()));
        let federated = Federated {
            room: first.room().to_string(),
            kind,
            name,
            log: *engine.durable().borrow(),
            heard_ms: now_ms,
            gone_ms: now_ms,
            since_ms: now_ms.saturating_add(1),
            fresh: false,
            reader: None,
            also: Vec::new(),
        };
        let mut opening = Opening { owner: owner.to_string(), topic: topic.map(str::to_owned), federated };
        let mut changes = Changes::default();
        changes.set(opening_key(&room.id), &opening);
        self.save(&changes).await?;
        match engine.create_from(first, of).await {
            Ok(written) => {
                opening.federated.log = written.position;
                Ok(opening)
            }
            Err(error) => {
                if !self.is_made(&opening)? {
                    self.forget_opening(&room.id).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Records the room and begins to keep it the same.
    async fn finish_opening(&self, rid: &str, opening: Opening) -> Result<RoomStatus, FederateError> {
        let Opening { owner, topic, federated } = opening;
        let (Some(id), Ok(owner)) = (federated.room(), owner.parse::<Localpart>()) else {
            self.forget_opening(rid).await?;
            return Err(Stall::Words("what was noted of its opening cannot be read; open it again".to_owned()).into());
        };
        let kind = federated.kind;
        let mut changes = Changes::default();
        // What else stands in the channel than what the room was made with is told when the two are compared.
        changes.set(agreed_key(rid), &first_agreed(&federated.name, topic.as_deref()));
        changes.set(anchor_key(rid), &EventId::from(id).to_string());
        changes.remove(opening_key(rid));
        let status = self.keep(rid, federated, changes).await?;
        // Whoever else is in it joins; who is not reached by this joins with their first word.
        let (own, rid) = (self.clone(), rid.to_owned());
        self.engine.background(async move {
            if let Err(error) = own.bring_members(&rid, kind, id, owner).await {
                tracing::warn!(%rid, %error, "not everybody in the room has joined it yet; they join with their first word");
            }
        });
        Ok(status)
    }

    /// Goes on with rooms whose opening a crash interrupted.
    pub(super) async fn go_on_opening(self) {
        let _one = self.federating.lock().await;
        let openings = match self.records.openings() {
            Ok(openings) => openings,
            Err(error) => return tracing::warn!(%error, "it cannot be read which rooms were being opened"),
        };
        for (rid, opening) in openings {
            match self.settle_opening(&rid, opening).await {
                Ok(true) => tracing::info!(%rid, "a room whose opening was interrupted is open to other servers now"),
                Ok(false) => {
                    tracing::info!(%rid, "a room was not opened to other servers before the node ended; open it again")
                }
                Err(error) => tracing::warn!(%rid, %error, "a room whose opening was interrupted is not open yet"),
            }
        }
    }

    /// Goes on with one, or takes it back where nothing was made. Whether it is open.
    async fn settle_opening(&self, rid: &str, opening: Opening) -> Result<bool, FederateError> {
        let is_open = self.records.room(rid)?.is_some();
        if is_open || !self.is_made(&opening)? {
            self.forget_opening(rid).await?;
            return Ok(is_open);
        }
        self.finish_opening(rid, opening).await.map(|_| true)
    }

    /// Whether the room of the mesh is there.
    fn is_made(&self, opening: &Opening) -> Result<bool, StoreError> {
        opening.federated.room().map_or(Ok(false), |room| self.engine.store.contains(&EventId::from(room)))
    }

    async fn forget_opening(&self, rid: &str) -> Result<(), Stall> {
        let mut changes = Changes::default();
        changes.remove(opening_key(rid));
        self.save(&changes).await
    }
}
