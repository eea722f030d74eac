//! What the bridge must not forget over a crash, in the store beside the events.
//!
//! | record | of | is |
//! |---|---|---|
//! | `rc/room/RID` | a federated room | [`Federated`]: the room, and how far each side was followed |
//! | `rc/of/ROOM` | the same, from the other side | the room's id in Rocket.Chat |
//! | `rc/message/ID` | a message in Rocket.Chat | [`Seen`] |
//! | `rc/event/EVENT` | an event that stands there | [`Shown`]: as which message, and its files |
//! | `rc/user/ID` | an account | [`Account`]: who that is |
//! | `rc/name/USERNAME` | the same, by name | the account's id |
//! | `rc/shadow/USER`, `rc/local/NAME` | somebody elsewhere, or of this server | the account's id |
//! | `rc/stood/USER` | what the account that stands for somebody shows of their profile | [`Stood`] |
//! | `rc/picture/ID` | the picture of a local person that was taken in | [`Taken`] |
//! | `rc/in/RID/ID` | that an account which stands for somebody is in a room | nothing |
//! | `rc/told/ROOM/NAME` | an invitation of which somebody was told | nothing |
//! | `rc/agreed/RID` | a federated room | [`Agreed`]: what both sides had when they were last found the same |
//! | `rc/closed/RID` | a direct room that was closed on purpose | up to when it was followed |
//! | `rc/letter/TIME-ID` | what could not be delivered | [`DeadLetter`] |
//!
//! Records that belong together change together: what was handled, and that it was. A record is never the only witness of an event:
//! events of this server name the message that they came from, so that records can be made again from the room.

use std::collections::BTreeMap;
use std::sync::Arc;

use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, UserId};
use rocketmesh_storage::{EventStore, LogPosition, RecordChange, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::{RoomKind, User};
use super::mapping::Who;
use super::mapping::profile::{Stood, Taken};
use super::mapping::seen::Seen;

/// The most dead letters that are kept; the oldest go first.
pub(crate) const MOST_LETTERS: usize = 1000;

/// A room that is federated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Federated {
    /// The room in the mesh.
    pub(crate) room: String,
    /// Its kind in Rocket.Chat.
    pub(crate) kind: RoomKind,
    /// Its name there, for links and for people.
    pub(crate) name: String,
    /// Up to where the local log was followed.
    pub(crate) log: LogPosition,
    /// The last change in Rocket.Chat that was handled, in milliseconds since 1970 by its clock.
    pub(crate) heard_ms: u64,
    /// What is older was there before the room was federated, and stays where it is.
    pub(crate) since_ms: u64,
    /// Whether the room was just entered, so that its people and its last messages are to be shown first.
    #[serde(default)]
    pub(crate) fresh: bool,
    /// Of a direct room of two: the account that stands for the other, as which it is read. The service account is not in it.
    #[serde(default)]
    pub(crate) reader: Option<String>,
    /// Of a direct room: further rooms of the mesh that it is too, because both sides opened one. They are read, and not written to.
    #[serde(default)]
    pub(crate) also: Vec<String>,
}

impl Federated {
    /// The room, read.
    pub(crate) fn room(&self) -> Option<RoomId> {
        self.room.parse().ok()
    }

    /// The further rooms, read.
    pub(crate) fn also(&self) -> Vec<RoomId> {
        self.also.iter().filter_map(|room| room.parse().ok()).collect()
    }
}

/// What both sides of a room had when they were last found the same: by what it is of, what stood in Rocket.Chat.
pub(crate) type Agreed = BTreeMap<String, String>;

/// As what an event stands in Rocket.Chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Shown {
    /// The message.
    pub(crate) message: String,
    /// How often it was taken away.
    pub(crate) showing: u32,
    /// Whether it says when it was said, because it was told late.
    pub(crate) old: bool,
    /// Its files, which are messages of their own there.
    pub(crate) parts: Vec<ShownFile>,
}

/// A file of an event, as it stands in Rocket.Chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ShownFile {
    /// The upload's id, which the server chose.
    pub(crate) upload: String,
    /// The message, once the upload was confirmed.
    pub(crate) message: Option<String>,
}

/// Who an account is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// What the account is called now.
    pub(crate) username: String,
    /// For a person of this server: their name in the mesh, which stays when they rename. For whom it stands otherwise.
    pub(crate) who: Standing,
}

/// Whom an account stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// A person of this server, by their name in the mesh.
    Local(String),
    /// Somebody elsewhere.
    Shadow(String),
    /// Nobody: a bot, an app, the node itself.
    Service,
}

/// Something that could not be delivered and will not be tried again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    /// The room in Rocket.Chat.
    pub(crate) rid: String,
    /// The event or message.
    pub(crate) of: String,
    /// Why not, and what to do.
    pub(crate) reason: String,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
}

/// Changes of records that are made together.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<RecordChange>);

impl Changes {
    /// Sets a record.
    pub(crate) fn set(&mut self, name: String, record: &impl Serialize) {
        // What is recorded is made of texts, numbers and lists of them, which JSON has.
        let json = serde_json::to_vec(record).unwrap_or_default();
        self.0.push((name, Some(json)));
    }

    /// Removes a record.
    pub(crate) fn remove(&mut self, name: String) {
        self.0.push((name, None));
    }

    /// The changes, for the store.
    pub(crate) fn list(&self) -> &[RecordChange] {
        &self.0
    }

    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes who an account is.
    pub(crate) fn account(&mut self, id: &str, before: Option<&Account>, account: &Account) {
        if let Some(before) = before.filter(|before| before.username != account.username) {
            self.remove(name_key(&before.username));
        }
        self.set(user_key(id), account);
        self.set(name_key(&account.username), &id);
        if let Standing::Shadow(user) = &account.who {
            self.set(shadow_key(user), &id);
        }
        if let Standing::Local(localpart) = &account.who {
            self.set(format!("rc/local/{localpart}"), &id);
        }
    }
}

pub(crate) fn room_key(rid: &str) -> String {
    format!("rc/room/{rid}")
}

pub(crate) fn of_key(room: &RoomId) -> String {
    format!("rc/of/{room}")
}

pub(crate) fn message_key(id: &str) -> String {
    format!("rc/message/{id}")
}

pub(crate) fn event_key(event: &EventId) -> String {
    format!("rc/event/{event}")
}

pub(crate) fn user_key(id: &str) -> String {
    format!("rc/user/{id}")
}

fn name_key(username: &str) -> String {
    format!("rc/name/{username}")
}

fn shadow_key(user: &str) -> String {
    format!("rc/shadow/{user}")
}

pub(crate) fn stood_key(user: &UserId) -> String {
    format!("rc/stood/{user}")
}

pub(crate) fn picture_key(id: &str) -> String {
    format!("rc/picture/{id}")
}

pub(crate) fn agreed_key(rid: &str) -> String {
    format!("rc/agreed/{rid}")
}

pub(crate) fn closed_key(rid: &str) -> String {
    format!("rc/closed/{rid}")
}

pub(crate) fn inside_key(rid: &str, id: &str) -> String {
    format!("rc/in/{rid}/{id}")
}

/// The records of the bridge. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    store: EventStore,
}

impl Records {
    pub(crate) fn new(store: EventStore) -> Self {
        Records { store }
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        // What cannot be read is as good as absent: it is made again from the room.
        Ok(self.store.record_of(name)?.and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// What of a room is known; none if it is not federated.
    pub(crate) fn room(&self, rid: &str) -> Result<Option<Federated>, StoreError> {
        self.get(&room_key(rid))
    }

    /// The room in Rocket.Chat that a room is.
    pub(crate) fn rid(&self, room: &RoomId) -> Result<Option<String>, StoreError> {
        self.get(&of_key(room))
    }

    /// Every federated room.
    pub(crate) fn rooms(&self) -> Result<Vec<(String, Federated)>, StoreError> {
        const PREFIX: &str = "rc/room/";
        let read = |(name, json): (String, Vec<u8>)| {
            Some((name[PREFIX.len()..].to_owned(), serde_json::from_slice(&json).ok()?))
        };
        Ok(self.store.records(PREFIX)?.into_iter().filter_map(read).collect())
    }

    /// What was seen of a message.
    pub(crate) fn seen(&self, message: &str) -> Result<Option<Seen>, StoreError> {
        self.get(&message_key(message))
    }

    /// As what an event stands there.
    pub(crate) fn shown(&self, event: &EventId) -> Result<Option<Shown>, StoreError> {
        self.get(&event_key(event))
    }

    /// Who an account is.
    pub(crate) fn account(&self, id: &str) -> Result<Option<Account>, StoreError> {
        self.get(&user_key(id))
    }

    /// The account of this name.
    pub(crate) fn account_named(&self, username: &str) -> Result<Option<(String, Account)>, StoreError> {
        let Some(id) = self.get::<String>(&name_key(username))? else { return Ok(None) };
        // A name that somebody else took meanwhile is theirs once they are met.
        Ok(self.account(&id)?.filter(|account| account.username == username).map(|account| (id, account)))
    }

    /// The id of the account that stands for somebody elsewhere.
    pub(crate) fn shadow(&self, user: &UserId) -> Result<Option<String>, StoreError> {
        self.get(&shadow_key(&user.to_string()))
    }

    /// The id of the account of a person of this server.
    pub(crate) fn local(&self, localpart: &Localpart) -> Result<Option<String>, StoreError> {
        self.get(&format!("rc/local/{localpart}"))
    }

    /// What the account that stands for somebody shows of their profile; none while nothing of it was changed.
    pub(crate) fn stood(&self, user: &UserId) -> Result<Option<Stood>, StoreError> {
        self.get(&stood_key(user))
    }

    /// The picture of a local person, as it was taken in last.
    pub(crate) fn picture(&self, id: &str) -> Result<Option<Taken>, StoreError> {
        self.get(&picture_key(id))
    }

    /// Whether an account that stands for somebody is in a room.
    pub(crate) fn is_inside(&self, rid: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.get::<bool>(&inside_key(rid, id))?.unwrap_or(false))
    }

    /// The accounts that stand for somebody and are in a room.
    pub(crate) fn inside(&self, rid: &str) -> Result<Vec<String>, StoreError> {
        let prefix = format!("rc/in/{rid}/");
        Ok(self.store.records(&prefix)?.into_iter().map(|(name, _)| name[prefix.len()..].to_owned()).collect())
    }

    /// What both sides of a room had when they were last found the same; none if they were never compared.
    pub(crate) fn agreed(&self, rid: &str) -> Result<Option<Agreed>, StoreError> {
        self.get(&agreed_key(rid))
    }

    /// Up to when a direct room was followed that was closed on purpose, in milliseconds since 1970.
    pub(crate) fn closed(&self, rid: &str) -> Result<Option<u64>, StoreError> {
        self.get(&closed_key(rid))
    }

    /// Every account that stands for somebody elsewhere, by their ids.
    pub(crate) fn shadows(&self) -> Result<Vec<String>, StoreError> {
        let read = |(_, json): (String, Vec<u8>)| serde_json::from_slice(&json).ok();
        Ok(self.store.records("rc/shadow/")?.into_iter().filter_map(read).collect())
    }

    /// What could not be delivered, oldest first.
    pub(crate) fn letters(&self) -> Result<Vec<(String, DeadLetter)>, StoreError> {
        let read = |(name, json): (String, Vec<u8>)| Some((name, serde_json::from_slice(&json).ok()?));
        Ok(self.store.records("rc/letter/")?.into_iter().filter_map(read).collect())
    }

    /// Adds to what could not be delivered, and lets the oldest go where there are too many.
    pub(crate) fn add_letter(&self, letter: &DeadLetter, changes: &mut Changes) -> Result<(), StoreError> {
        let letters = self.store.records("rc/letter/")?;
        let too_many = (letters.len() + 1).saturating_sub(MOST_LETTERS);
        for (name, _) in letters.iter().take(too_many) {
            changes.remove(name.clone());
        }
        changes.set(format!("rc/letter/{:013}-{}", letter.at_ms, letter.of), letter);
        Ok(())
    }

    /// A name in the mesh for a person of this server that nobody else of it has.
    pub(crate) fn free_localpart(&self, user: &User) -> Result<Option<Localpart>, StoreError> {
        for attempt in 1..100_u32 {
            let name = if attempt == 1 { user.username.clone() } else { format!("{}-{attempt}", user.username) };
            let Ok(localpart) = name.parse::<Localpart>() else { return Ok(None) };
            match self.local(&localpart)? {
                Some(other) if other != user.id => {}
                _ => return Ok(Some(localpart)),
            }
        }
        Ok(None)
    }
}

impl Account {
    /// Whom the account stands for.
    pub(crate) fn who(&self) -> Who {
        match &self.who {
            Standing::Local(localpart) => localpart.parse().map_or(Who::Service, Who::Local),
            Standing::Shadow(user) => user.parse().map_or(Who::Service, Who::Shadow),
            Standing::Service => Who::Service,
        }
    }
}

/// The store's error, shared.
pub(crate) fn shared(error: StoreError) -> Arc<StoreError> {
    Arc::new(error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rocketmesh_storage::MemoryDisk;

    use super::*;

    fn records() -> (EventStore, Records) {
        let store = EventStore::in_memory(&MemoryDisk::new()).unwrap();
        (store.clone(), Records::new(store))
    }

    #[test]
    fn who_an_account_is_survives_a_new_name_and_the_old_name_means_nobody() {
        let (store, records) = records();
        let before = Account { username: "alice".to_owned(), who: Standing::Local("alice".to_owned()) };
        let mut changes = Changes::default();
        changes.account("id1", None, &before);
        store.put_records(changes.list()).unwrap();
        let renamed = Account { username: "alicia".to_owned(), ..before.clone() };
        let mut changes = Changes::default();
        changes.account("id1", Some(&before), &renamed);
        store.put_records(changes.list()).unwrap();
        assert_eq!(records.account_named("alice").unwrap(), None);
        let (id, account) = records.account_named("alicia").unwrap().unwrap();
        assert_eq!((id.as_str(), account.who()), ("id1", Who::Local("alice".parse().unwrap())));
        let other = User { id: "id2".to_owned(), username: "alice".to_owned(), ..User::default() };
        let free = records.free_localpart(&other).unwrap().unwrap();
        assert_eq!(free.as_str(), "alice-2", "a name in the mesh is nobody else's for ever");
    }

    #[test]
    fn what_could_not_be_delivered_is_kept_up_to_a_bound() {
        let (store, records) = records();
        for number in 0..MOST_LETTERS as u64 + 5 {
            let mut changes = Changes::default();
            let letter = DeadLetter { rid: "r".to_owned(), of: "m".to_owned(), reason: "no".to_owned(), at_ms: number };
            records.add_letter(&letter, &mut changes).unwrap();
            store.put_records(changes.list()).unwrap();
        }
        let letters = records.letters().unwrap();
        assert_eq!((letters.len(), letters[0].1.at_ms), (MOST_LETTERS, 5));
    }
}
