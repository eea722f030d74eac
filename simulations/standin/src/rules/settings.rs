//! `rooms.saveRoomSettings`: name, topic and the like. What is as it was is neither stored nor told.

use serde_json::{Map, Value};

use crate::documents::{Author, Room};
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::state::State;

/// What may be changed.
const KNOWN: [&str; 22] = [
    "roomAvatar",
    "featured",
    "roomName",
    "roomTopic",
    "roomAnnouncement",
    "roomCustomFields",
    "roomDescription",
    "roomType",
    "readOnly",
    "reactWhenReadOnly",
    "systemMessages",
    "default",
    "joinCode",
    "streamingOptions",
    "retentionEnabled",
    "retentionMaxAge",
    "retentionExcludePinned",
    "retentionFilesOnly",
    "retentionIgnoreThreads",
    "retentionOverrideGlobal",
    "encrypted",
    "favorite",
];

impl State {
    /// Changes what a room is called and how it works. What the stand-in has no use for is taken and forgotten.
    pub(crate) fn save_room_settings(
        &mut self,
        uid: &str,
        rid: &str,
        settings: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        if settings.keys().any(|key| !KNOWN.contains(&key.as_str())) {
            return Err(Refusal::coded("error-invalid-settings", "Invalid settings provided"));
        }
        if !self.rooms.contains_key(rid) {
            return Err(Refusal::coded("error-invalid-room", "Invalid room"));
        }
        if !self.may(uid, Permission::EditRoom, Some(rid)) {
            return Err(Refusal::coded("error-action-not-allowed", "Editing room is not allowed"));
        }
        let by = self.author(uid).ok_or_else(|| Refusal::coded("error-invalid-user", "Invalid user"))?;
        for (key, value) in settings {
            self.save_room_setting(rid, key, value, &by)?;
        }
        Ok(())
    }

    fn save_room_setting(&mut self, rid: &str, key: &str, value: &Value, by: &Author) -> Result<(), Refusal> {
        let Some(mut room) = self.rooms.get(rid).cloned() else { return Ok(()) };
        let text = value.as_str().unwrap_or_default();
        let told = match key {
            "roomName" => {
                if room.name.as_deref() == Some(text) {
                    return Ok(());
                }
                self.free_room_name(text)?;
                room.name = Some(text.to_owned());
                room.fname = Some(text.to_owned());
                "r"
            }
            "roomTopic" => match replace(&mut room.topic, text) {
                true => "room_changed_topic",
                false => return Ok(()),
            },
            "roomAnnouncement" => match replace(&mut room.announcement, text) {
                true => "room_changed_announcement",
                false => return Ok(()),
            },
            "roomDescription" => match replace(&mut room.description, text) {
                true => "room_changed_description",
                false => return Ok(()),
            },
            "roomType" if ["c", "p"].contains(&text) && room.t != text => {
                text.clone_into(&mut room.t);
                "room_changed_privacy"
            }
            "readOnly" if value.as_bool().is_some_and(|on| on != room.ro) => {
                room.ro = !room.ro;
                if room.ro { "room-set-read-only" } else { "room-removed-read-only" }
            }
            "reactWhenReadOnly" if value.as_bool().is_some_and(|on| on != room.react_when_read_only) => {
                room.react_when_read_only = !room.react_when_read_only;
                if room.react_when_read_only { "room-allowed-reacting" } else { "room-disallowed-reacting" }
            }
            "roomCustomFields" => {
                room.custom_fields = Some(value.clone());
                self.put_room(room, "updated");
                return Ok(());
            }
            _ => return Ok(()),
        };
        let renamed = matches!(told, "r" | "room_changed_privacy").then(|| room.clone());
        self.put_room(room, "updated");
        if let Some(room) = renamed {
            self.rename_subscriptions(&room);
        }
        let text = match (told, text) {
            ("room_changed_privacy", "c") => "Channel",
            ("room_changed_privacy", _) => "Private_Group",
            _ => text,
        };
        self.system_message(told, rid, text, by.clone(), None);
        Ok(())
    }

    fn rename_subscriptions(&mut self, room: &Room) {
        let members: Vec<_> = self.members(&room.id).into_iter().cloned().collect();
        for mut member in members {
            member.name.clone_from(&room.name);
            member.fname.clone_from(&room.fname);
            member.t.clone_from(&room.t);
            self.put_subscription(member, "updated");
        }
    }
}

/// Puts a text into its place; `false` if it stood there, or if nothing replaces nothing.
fn replace(place: &mut Option<String>, text: &str) -> bool {
    if place.as_deref().unwrap_or_default() == text {
        return false;
    }
    *place = Some(text.to_owned());
    true
}
