//! Texts and switches of the room, set in Rocket.Chat as the room has them.

use std::sync::atomic::Ordering;

use rocketmesh_protocol::event::{Label, Switch};
use rocketmesh_protocol::id::EventId;

use super::Stall;
use super::federate::{is_called, slug};
use super::room::RoomTask;
use crate::rocketchat::client::{RestError, RoomKind, RoomSettings};

impl RoomTask {
    pub(super) async fn settle_switch(&mut self, switch: Switch) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let room = self.bridge.client.room_info(&self.rid).await?;
        let on = state.switch(switch);
        let done = match switch {
            Switch::ReadOnly if room.ro != on => {
                let settings = RoomSettings { read_only: Some(on), ..RoomSettings::default() };
                self.bridge.client.save_room_settings(&self.rid, &settings).await
            }
            Switch::Archived if room.archived != on => {
                self.bridge.client.archive(self.federated.kind, &self.rid, on).await
            }
            // Rocket.Chat has nothing of the kind, and the room's rules hold for what is said all the same.
            _ => return Ok(()),
        };
        self.done_for(state.switch_event(switch), switch.kind(), done).await?;
        if switch == Switch::Archived && !on {
            self.look_soon();
        }
        Ok(())
    }

    /// Sees to it that a text of the room is as the room has it. What the room never had stays as it is here.
    pub(super) async fn settle_label(&mut self, label: Label) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        match self.label(&state, label)? {
            Some(text) => self.set_label(label, text, state.label(label)).await,
            None => Ok(()),
        }
    }

    /// The same, where what the room never had is to be empty here.
    pub(super) async fn reset_label(&mut self, label: Label) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        match self.label(&state, label)? {
            Some(text) => self.set_label(label, text, state.label(label)).await,
            // The body with the first name was erased: it stays what it is.
            None if label == Label::Name => {
                self.unsettled.store(true, Ordering::SeqCst);
                Ok(())
            }
            None => self.set_label(label, String::new(), None).await,
        }
    }

    /// `set_by`: the event by which the room has it.
    async fn set_label(&mut self, label: Label, text: String, set_by: Option<EventId>) -> Result<(), Stall> {
        if self.federated.kind == RoomKind::Direct {
            return Ok(());
        }
        let room = self.bridge.client.room_info(&self.rid).await?;
        let (now, settings) = match label {
            Label::Name => {
                if room.name.as_deref().is_some_and(|name| is_called(name, &text)) {
                    return Ok(());
                }
                let text = slug(&text);
                let settings = RoomSettings { room_name: Some(text.clone()), ..RoomSettings::default() };
                (room.fname.or(room.name), settings)
            }
            Label::Topic => (room.topic, RoomSettings { room_topic: Some(text.clone()), ..RoomSettings::default() }),
            Label::Description => {
                (room.description, RoomSettings { room_description: Some(text.clone()), ..RoomSettings::default() })
            }
            Label::Announcement => {
                (room.announcement, RoomSettings { room_announcement: Some(text.clone()), ..RoomSettings::default() })
            }
        };
        if now.unwrap_or_default() == text {
            return Ok(());
        }
        let saved = self.bridge.client.save_room_settings(&self.rid, &settings).await;
        if self.done_for(set_by, label.kind(), saved).await?
            && let Some(name) = settings.room_name
        {
            self.rename(name).await?;
        }
        Ok(())
    }

    /// The same as [`done`](Self::done), of a setting. Where no event is being looked at, as when the whole room is compared, it is the one
    /// by which the room has the setting: so what is refused is one letter, whoever finds it, and can be tried again.
    async fn done_for(
        &mut self,
        set_by: Option<EventId>,
        of: &str,
        result: Result<(), RestError>,
    ) -> Result<bool, Stall> {
        let before = self.handling;
        self.handling = before.or(set_by);
        let done = self.done(of, result).await;
        self.handling = before;
        done
    }
}
