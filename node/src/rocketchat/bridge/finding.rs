//! The one room of Rocket.Chat that somebody names, among however many the service account is in.
//!
//! The list of all its rooms grows with them, and is asked for once only where nothing else finds the room: by the name that is shown,
//! where that is another than the room's own.

use super::{Bridge, FederateError};
use crate::rocketchat::client::{RestError, Room, RoomKind};
use crate::rocketchat::mapping::id::{ALPHABET, LENGTH};
use crate::rocketchat::records::Federated;

/// How a room is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Id,
    Channel,
    Group,
}

/// In which order: people write names, and programs ids.
fn ways(name: &str) -> [By; 3] {
    let is_id = name.len() == LENGTH && name.bytes().all(|byte| ALPHABET.contains(&byte));
    if is_id { [By::Id, By::Channel, By::Group] } else { [By::Channel, By::Group, By::Id] }
}

/// What the server does not have, or does not show, is none.
fn if_there<T>(asked: Result<T, RestError>) -> Result<Option<T>, RestError> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(RestError::NotFound { .. } | RestError::Forbidden { .. } | RestError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Bridge {
    /// A room that may be federated, of those that the service account is in.
    pub(super) async fn open_to_federate(&self, room: &str) -> Result<(Room, RoomKind), FederateError> {
        let name = room.trim_start_matches('#');
        let found = match self.room_called(name).await? {
            Some(found) => Some(found),
            None => self.room_listed(name).await?,
        };
        let service = self.service.username.clone();
        let found = found.ok_or_else(|| FederateError::NoRoom { room: name.to_owned(), service })?;
        if found.encrypted {
            return Err(FederateError::Kind("an encrypted room"));
        }
        let kind = match found.kind() {
            Some(kind @ (RoomKind::Channel | RoomKind::Group)) => kind,
            Some(RoomKind::Direct) => return Err(FederateError::Kind("a direct room; use `dm @bob:other.example`")),
            None => return Err(FederateError::Kind("a room of another kind than channels and groups")),
        };
        if self.records.room(&found.id)?.is_some() {
            let called = found.name.or(found.fname).unwrap_or_default();
            return Err(FederateError::Already(called));
        }
        Ok((found, kind))
    }

    /// The room with this id or name, if the service account is in it.
    async fn room_called(&self, name: &str) -> Result<Option<Room>, RestError> {
        if name.is_empty() {
            return Ok(None);
        }
        for by in ways(name) {
            let asked = match by {
                By::Id => self.client.room_info(name).await,
                By::Channel => self.client.room_named(RoomKind::Channel, name).await,
                By::Group => self.client.room_named(RoomKind::Group, name).await,
            };
            let Some(room) = if_there(asked)? else { continue };
            // An administrator reads rooms that they are not in. A ban keeps the subscription, and says so in it.
            let subscription = if_there(self.client.subscription(&room.id).await)?.flatten();
            if subscription.is_some_and(|one| one.status.is_none()) {
                return Ok(Some(room));
            }
        }
        Ok(None)
    }

    /// The room of the service account that has this id, or this name, or shows it.
    async fn room_listed(&self, name: &str) -> Result<Option<Room>, RestError> {
        let rooms = self.client.rooms_get(None).await?.updated;
        let is_it = |room: &Room| {
            let named = [&room.name, &room.fname].into_iter().flatten().any(|known| known == name);
            room.id == name || named && room.t != "d"
        };
        Ok(rooms.into_iter().find(is_it))
    }

    /// A federated room by its id or name.
    pub(super) fn federated_named(&self, room: &str) -> Result<(String, Federated), FederateError> {
        let name = room.trim_start_matches('#');
        if let Some(federated) = self.records.room(name)? {
            return Ok((name.to_owned(), federated));
        }
        // Direct rooms have no name of their own: what they are recorded by may be a channel's.
        let named = |federated: &Federated| federated.kind != RoomKind::Direct && federated.name == name;
        let found = self.records.rooms()?.into_iter().find(|(_, federated)| named(federated));
        found.ok_or_else(|| FederateError::NotFederated(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_an_id_is_looked_for_as_one_first_and_everything_as_both() {
        assert_eq!(ways("lunch"), [By::Channel, By::Group, By::Id]);
        assert_eq!(ways("2345678ABCDEFGHJK")[0], By::Id);
        assert_eq!(ways("GENERAL")[2], By::Id);
        assert_eq!(ways("seventeen-letters")[0], By::Channel);
    }
}
