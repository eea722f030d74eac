//! What the bridge must not forget over a crash, in the store beside the events.
//!
//! | record | of | is |
//! |---|---|---|
//! | `rc/room/RID` | a federated room | [`Federated`]: the room, and how far each side was followed |
//! | `rc/opening/RID` | a room that is being opened to other servers | [`Opening`]: the room of the mesh that it is to be |
//! | `rc/of/ROOM` | the same, from the other side | the room's id in Rocket.Chat |
//! | `rc/message/ID` | a message in Rocket.Chat | [`Seen`] |
//! | `rc/event/EVENT` | an event that stands there | [`Shown`]: as which message, and its files |
//! | `rc/user/ID` | an account | [`Account`]: who that is |
//! | `rc/name/USERNAME` | the same, by name | the account's id |
//! | `rc/shadow/USER`, `rc/local/NAME` | somebody elsewhere, or of this server | the account's id |
//! | `rc/stood/USER` | what the account that stands for somebody shows of their profile | [`Stood`] |
//! | `rc/picture/ID` | the picture of a local person that was taken in | [`Taken`] |
//! | `rc/in/RID/ID` | that an account which stands for somebody is in a room | true; false if it was not let in |
//! | `rc/told/ROOM/NAME` | an invitation of which somebody was told | nothing |
//! | `rc/unwelcome/ROOM/SERVER` | that a server does not take a direct room, of which people were told | true |
//! | `rc/entering/ROOM/NAME` | a direct room that somebody of this server joins and that is not here yet | true |
//! | `rc/agreed/RID` | a federated room | [`Agreed`]: what both sides had when they were last found the same |
//! | `rc/closed/RID` | a direct room that was closed on purpose | up to when it was followed |
//! | `rc/letter/ID` | what could not be delivered | [`DeadLetter`] |
//! | `rc/anchor/RID` | a federated room | the last event of it that was handled: positions in the log change when a backup is restored |
//! | `rc/hook/ID` | what is said by an incoming webhook | [`Hooked`]: which event that is, and as which message it stands there |
//! | `rc/restored` | the whole store | when it was first opened after a restore, in milliseconds since 1970 |
//!
//! Records that belong together change together: what was handled, and that it was. A record is never the only witness of an event:
//! events of this server name the message that they came from, so that records can be made again from the room.

use std::collections::BTreeMap;

use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{Localpart, Origin, UserId};
use rocketmesh_storage::{EventStore, LogPosition, RecordChange, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::{RoomKind, User};
use super::mapping::Who;
use super::mapping::profile::{Stood, Taken};
use super::mapping::seen::Seen;
use super::status::ProblemKind;

/// The most dead letters of one room that are kept. Beyond, that room waits until somebody has dealt with some: what one room cannot take
/// stops no other.
pub(crate) const MOST_LETTERS_OF_A_ROOM: usize = 100;
/// The most dead letters of all rooms. Beyond, the oldest of the room that has the most gives way, as long as that makes their shares more
/// even; otherwise the room waits.
pub(crate) const MOST_LETTERS: usize = 1000;
/// How many bytes of a hash name a letter. People type it.
const LETTER_ID: usize = 6;
/// Where rooms stand that are being opened.
const OPENINGS: &str = "rc/opening/";
/// Where letters stand.
const LETTERS: &str = "rc/letter/";

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
    /// Up to when everything that was deleted in Rocket.Chat was handled, in milliseconds since 1970 by its clock: deletions are told by
    /// themselves, and may be missed where messages are not. 0 in records of earlier builds: then as far as the messages.
    #[serde(default)]
    pub(crate) gone_ms: u64,
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

/// A room that is being opened to other servers: noted before its room of the mesh is made, and gone once it is federated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opening {
    /// For whom, by their name in the mesh.
    pub(crate) owner: String,
    /// The topic that it is made with.
    #[serde(default)]
    pub(crate) topic: Option<String>,
    /// What is recorded of it then.
    pub(crate) federated: Federated,
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
    /// Its files, each of which is a message there; the one that takes the text along is the message.
    pub(crate) parts: Vec<ShownFile>,
    /// How far it was said by an incoming webhook.
    pub(crate) hook: Hooking,
}

/// How far something was said by an incoming webhook, which does not say as which message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hooking {
    /// Not at all.
    #[default]
    No,
    /// It may have been said, or not: look before it is said.
    Begun,
    /// It was said, and is not said again.
    Said,
}

/// What is known of something that a webhook said, by the mark that it carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Hooked {
    /// The event; none of what stands there and is not known: from before a backup was restored.
    pub(crate) event: Option<String>,
    /// The message, once it was seen.
    pub(crate) message: Option<String>,
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

/// Something that could not be delivered, while what came after it went on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeadLetter {
    /// The room in Rocket.Chat.
    pub(crate) rid: String,
    /// The event or message.
    pub(crate) of: String,
    /// Why not, and what to do.
    pub(crate) reason: String,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The event of the room that is looked at again when it is tried again; none where that is not possible.
    pub(crate) event: Option<String>,
    /// What it was to do, such as `message`.
    pub(crate) what: String,
    /// The word of what stands in the way: that of a problem, or `refused`.
    pub(crate) code: String,
    /// What stands in the way, if it has a name: an account.
    pub(crate) about: Option<String>,
    /// Where in the local log it stood.
    pub(crate) log: LogPosition,
    /// Whether it is to be tried again.
    pub(crate) again: bool,
    /// How often it was tried again.
    pub(crate) tries: u32,
}

impl DeadLetter {
    /// What names it: the same for the same thing, however often it fails.
    pub(crate) fn id(&self) -> String {
        let named = format!("{} {} {}", self.rid, self.of, self.what);
        hex::encode(&blake3::hash(named.as_bytes()).as_bytes()[..LETTER_ID])
    }

    /// Whether it waits for something that may pass, and was not refused for good.
    pub(crate) fn is_waiting(&self) -> bool {
        let waiting = [ProblemKind::ShadowTokenRefused, ProblemKind::RestrictedWorkspace, ProblemKind::FileAway];
        waiting.iter().any(|kind| self.code == kind.code())
    }

    /// Whether it is worth trying again whenever something may have been mended.
    pub(crate) fn may_pass(&self) -> bool {
        // Without an event there is nothing to look at again.
        self.event.is_some() && (self.is_waiting() || self.code == ProblemKind::PermissionMissing.code())
    }
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

pub(crate) fn opening_key(rid: &str) -> String {
    format!("{OPENINGS}{rid}")
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

pub(crate) fn letter_key(id: &str) -> String {
    format!("{LETTERS}{id}")
}

pub(crate) fn anchor_key(rid: &str) -> String {
    format!("rc/anchor/{rid}")
}

pub(crate) fn hook_key(mark: &str) -> String {
    format!("rc/hook/{mark}")
}

pub(crate) fn restored_key() -> String {
    "rc/restored".to_owned()
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

    /// What of a room that is being opened was noted.
    pub(crate) fn opening(&self, rid: &str) -> Result<Option<Opening>, StoreError> {
        self.get(&opening_key(rid))
    }

    /// Every room that is being opened.
    pub(crate) fn openings(&self) -> Result<Vec<(String, Opening)>, StoreError> {
        let read = |(name, json): (String, Vec<u8>)| {
            Some((name[OPENINGS.len()..].to_owned(), serde_json::from_slice(&json).ok()?))
        };
        Ok(self.store.records(OPENINGS)?.into_iter().filter_map(read).collect())
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
        Ok(self.inside_as(rid, id)?.unwrap_or(false))
    }

    /// The same; false where it was to be let in and was not, and none where it was never to be.
    pub(crate) fn inside_as(&self, rid: &str, id: &str) -> Result<Option<bool>, StoreError> {
        self.get(&inside_key(rid, id))
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

    /// How many accounts stand for people of a server elsewhere.
    pub(crate) fn shadows_of(&self, origin: &Origin) -> Result<usize, StoreError> {
        let of_it = format!(":{origin}");
        Ok(self.store.records(&shadow_key(""))?.iter().filter(|(name, _)| name.ends_with(&of_it)).count())
    }

    /// Every account that stands for somebody elsewhere, by their ids.
    pub(crate) fn shadows(&self) -> Result<Vec<String>, StoreError> {
        let read = |(_, json): (String, Vec<u8>)| serde_json::from_slice(&json).ok();
        Ok(self.store.records("rc/shadow/")?.into_iter().filter_map(read).collect())
    }

    /// What could not be delivered, by what names it, oldest first.
    pub(crate) fn letters(&self) -> Result<Vec<(String, DeadLetter)>, StoreError> {
        let read = |(name, json): (String, Vec<u8>)| {
            Some((name[LETTERS.len()..].to_owned(), serde_json::from_slice(&json).ok()?))
        };
        let mut letters: Vec<(String, DeadLetter)> =
            self.store.records(LETTERS)?.into_iter().filter_map(read).collect();
        letters.sort_by_key(|(_, letter)| letter.at_ms);
        Ok(letters)
    }

    /// One of them.
    pub(crate) fn letter(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        self.get(&letter_key(id))
    }

    /// Adds to what could not be delivered. False if the room has its share already: then nothing is added, and what it is about has to
    /// wait. One that failed before stays as old as it was.
    pub(crate) fn add_letter(&self, letter: &DeadLetter, changes: &mut Changes) -> Result<bool, StoreError> {
        let id = letter.id();
        let before = self.letter(&id)?;
        if before.is_none() && !make_room(&letter.rid, &self.letters()?, changes) {
            return Ok(false);
        }
        let mut letter = letter.clone();
        if let Some(before) = before {
            letter.at_ms = before.at_ms;
            letter.tries = before.tries;
            letter.log = before.log;
        }
        changes.set(letter_key(&id), &letter);
        Ok(true)
    }

    /// The last event of a room that was handled; none if none was since this is noted.
    pub(crate) fn anchor(&self, rid: &str) -> Result<Option<EventId>, StoreError> {
        Ok(self.get::<String>(&anchor_key(rid))?.and_then(|event| event.parse().ok()))
    }

    /// What is known of something that a webhook said.
    pub(crate) fn hooked(&self, mark: &str) -> Result<Option<Hooked>, StoreError> {
        self.get(&hook_key(mark))
    }

    /// When the store was first opened after a restore, in milliseconds since 1970.
    pub(crate) fn restored_ms(&self) -> Result<Option<u64>, StoreError> {
        self.get(&restored_key())
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

/// Sees to it that a room may have one letter more. False if it may not.
fn make_room(rid: &str, letters: &[(String, DeadLetter)], changes: &mut Changes) -> bool {
    let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, letter) in letters {
        *shares.entry(&letter.rid).or_default() += 1;
    }
    let own = shares.get(rid).copied().unwrap_or_default();
    if own >= MOST_LETTERS_OF_A_ROOM {
        return false;
    }
    if letters.len() < MOST_LETTERS {
        return true;
    }
    let Some((fullest, share)) = shares.into_iter().max_by_key(|(_, share)| *share) else { return true };
    // They are in the order of their age.
    let oldest = letters.iter().find(|(_, letter)| letter.rid == fullest);
    let Some((id, letter)) = oldest.filter(|_| share > own + 1) else { return false };
    tracing::warn!(%id, rid = %letter.rid, of = %letter.of, reason = %letter.reason, "what was not delivered is kept no longer");
    changes.remove(letter_key(id));
    true
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rocketmesh_protocol::identity::ServerKey;
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
    fn the_accounts_of_one_server_are_counted_apart_from_those_of_another() {
        let (store, records) = records();
        let mut changes = Changes::default();
        let user = |name: &str, seed: u8| {
            let origin = ServerKey::from_seed(&[seed; 32]).origin();
            UserId { origin, localpart: name.parse().unwrap() }
        };
        let all = [user("alice", 1), user("bob", 1), user("alice", 2)];
        for (number, user) in all.iter().enumerate() {
            let who = Standing::Shadow(user.to_string());
            changes.account(&format!("id{number}"), None, &Account { username: format!("u{number}"), who });
        }
        store.put_records(changes.list()).unwrap();
        let counted: Vec<usize> = all[1..].iter().map(|user| records.shadows_of(&user.origin).unwrap()).collect();
        assert_eq!(counted, [2, 1]);
    }

    fn letter(rid: &str, number: usize) -> DeadLetter {
        let at_ms = number as u64;
        DeadLetter { rid: rid.to_owned(), of: format!("m{number}"), at_ms, ..DeadLetter::default() }
    }

    fn add((store, records): &(EventStore, Records), letter: &DeadLetter) -> bool {
        let mut changes = Changes::default();
        let added = records.add_letter(letter, &mut changes).unwrap();
        store.put_records(changes.list()).unwrap();
        added
    }

    /// Fills the store with letters of so many rooms, the same number of each.
    fn fill(store: &EventStore, rooms: usize) {
        let mut changes = Changes::default();
        for number in 0..MOST_LETTERS {
            let letter = letter(&format!("room {}", number % rooms), number);
            changes.set(letter_key(&letter.id()), &letter);
        }
        store.put_records(changes.list()).unwrap();
    }

    #[test]
    fn a_room_with_its_share_of_what_could_not_be_delivered_waits_forgets_nothing_and_stops_no_other() {
        let held = records();
        for number in 0..MOST_LETTERS_OF_A_ROOM {
            assert!(add(&held, &letter("loud", number)));
        }
        assert!(!add(&held, &letter("loud", MOST_LETTERS_OF_A_ROOM)));
        assert!(add(&held, &letter("quiet", 1)));
        let again = DeadLetter { at_ms: 9_000_000, reason: "another".to_owned(), ..letter("loud", 0) };
        assert!(add(&held, &again), "what is there already may fail again");
        let letters = held.1.letters().unwrap();
        assert_eq!(letters.len(), MOST_LETTERS_OF_A_ROOM + 1);
        assert_eq!((letters[0].1.at_ms, letters[0].1.reason.as_str()), (0, "another"));
    }

    #[test]
    fn where_the_whole_is_full_the_oldest_of_the_fullest_room_gives_way() {
        let held = records();
        fill(&held.0, MOST_LETTERS / MOST_LETTERS_OF_A_ROOM);
        assert!(add(&held, &letter("quiet", MOST_LETTERS)));
        let letters = held.1.letters().unwrap();
        assert_eq!(letters.len(), MOST_LETTERS);
        assert!(letters.iter().any(|(_, letter)| letter.rid == "quiet"));
        let of = |rid: &str| letters.iter().filter(|(_, letter)| letter.rid == rid).count();
        let shares: Vec<usize> =
            (0..MOST_LETTERS / MOST_LETTERS_OF_A_ROOM).map(|room| of(&format!("room {room}"))).collect();
        let fewer: Vec<usize> = (0..shares.len()).filter(|room| shares[*room] < MOST_LETTERS_OF_A_ROOM).collect();
        assert_eq!(fewer.len(), 1, "{shares:?}");
        assert!(held.1.letter(&letter(&format!("room {}", fewer[0]), fewer[0]).id()).unwrap().is_none(), "the oldest");
    }

    #[test]
    fn where_every_room_has_as_few_nobody_gives_way() {
        let held = records();
        fill(&held.0, MOST_LETTERS);
        assert!(!add(&held, &letter("another", MOST_LETTERS)));
        assert_eq!(held.1.letters().unwrap().len(), MOST_LETTERS);
    }

    #[test]
    fn what_names_no_event_is_not_worth_another_try_by_itself() {
        let code = ProblemKind::PermissionMissing.code().to_owned();
        let letter = DeadLetter { of: "alice".to_owned(), code, ..DeadLetter::default() };
        assert!(!letter.may_pass());
        assert!(DeadLetter { event: Some("an event".to_owned()), ..letter }.may_pass());
    }

    #[test]
    fn letters_of_an_earlier_release_are_read_and_found_by_their_old_names() {
        let (store, records) = records();
        let old = br#"{"rid":"r","of":"m","reason":"no","at_ms":7}"#.to_vec();
        store.put_records(&[("rc/letter/0000000000007-m".to_owned(), Some(old))]).unwrap();
        let letter = records.letter("0000000000007-m").unwrap().unwrap();
        assert_eq!((letter.reason.as_str(), letter.event.is_none(), letter.may_pass()), ("no", true, false));
    }
}
