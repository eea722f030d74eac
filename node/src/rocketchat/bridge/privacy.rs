//! A channel that was made private, or a group that was made public.
//!
//! A room of the mesh is of one kind for ever: who may read it was settled when it was made. A group that becomes public on one server would
//! show to everybody there what its members said to each other; a channel that becomes private would be one on no other server. So the
//! change is taken back, at once, and whoever made it is told. Where that fails the node goes on with what is there, and says so.

use super::Stall;
use super::room::RoomTask;
use super::view::View;
use crate::rocketchat::client::{Author, RestError, RoomKind, RoomSettings};
use crate::rocketchat::mapping::{Known, Who};

impl RoomTask {
    /// Sees to it that the room is of the kind of which it was when it was opened.
    pub(super) async fn settle_kind(&mut self, by: Option<&Author>) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let wanted = super::federate::kind_of(state.room_type());
        let now = match self.bridge.client.room_info(&self.rid).await {
            Ok(room) => room.kind(),
            Err(RestError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(now) = now.filter(|now| *now != wanted && *now != RoomKind::Direct && wanted != RoomKind::Direct)
        else {
            return self.note_kind(now.unwrap_or(self.federated.kind)).await;
        };
        if by.is_none() && self.federated.kind == now {
            // It could not be taken back before.
            return Ok(());
        }
        let settings = RoomSettings { room_type: Some(wanted.letter().to_owned()), ..RoomSettings::default() };
        let saved = self.bridge.client.save_room_settings(&self.rid, &settings).await;
        let restored = self.done("room type", saved).await?;
        // What cannot be taken back is lived with: the calls of each kind have names of their own.
        self.note_kind(if restored { wanted } else { now }).await?;
        let is_public = wanted == RoomKind::Channel;
        let words = match (restored, is_public) {
            (true, true) => "is public again: a room that is open to other servers stays of the kind that it was",
            (true, false) => "is private again: a room that is shared with other servers stays of the kind that it was",
            (false, true) => "is private here, and still public on the other servers",
            (false, false) => "is PUBLIC here now, and private on the other servers; make it private again",
        };
        tracing::warn!(rid = %self.rid, %words, "the kind of a federated room was changed");
        if let Some(by) = by
            && let Who::Local(user) = self.view.who(Some(&by.id), &by.username)
        {
            self.bridge.explain(&user, &format!("#{} {words}.", self.federated.name)).await;
        }
        Ok(())
    }

    async fn note_kind(&mut self, kind: RoomKind) -> Result<(), Stall> {
        if self.federated.kind == kind {
            return Ok(());
        }
        self.federated.kind = kind;
        self.view = View::new(self.bridge.clone(), self.room, &self.rid, &self.federated);
        self.record(crate::rocketchat::records::Changes::default()).await
    }
}
