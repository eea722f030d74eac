//! Rooms that are made without a node, and stores that are full before a node starts.

use std::convert::Infallible;
use std::path::Path;
use std::time::SystemTime;

use rocketmesh_node::{identity, open_store};
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Body, Content, Draft, Event, Lane, Membership, Placement, RoomType, author};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::{ServerKey, UserId};
use rocketmesh_protocol::room::Outline;
use rocketmesh_storage::{Batch, EventStore, Participation, StoredEvent, Verdict};

use crate::Failure;

/// Events that go into a store at a time.
const BATCH: usize = 1_000;
/// What a store may keep in memory while it is filled, in MiB.
const CACHE_MIB: u64 = 64;
/// Who owns the room.
const OWNER: &str = "alice";

/// A room in the making, in which everybody has seen everything. One user owns it; others may join and talk.
pub struct PreparedRoom {
    key: ServerKey,
    outline: Outline,
    made: u64,
    begun_ms: u64,
}

impl PreparedRoom {
    /// A room whose owner is a user of the server with this key, and the event that creates it.
    ///
    /// # Errors
    /// If the event breaks a limit, or the clock stands before 1970.
    pub fn begin(key: ServerKey) -> Result<(Self, Event), Failure> {
        Self::named(key, "general")
    }

    /// As [`PreparedRoom::begin`], with a name, by which several rooms that are made within a millisecond differ.
    ///
    /// # Errors
    /// As [`PreparedRoom::begin`].
    pub fn named(key: ServerKey, name: &str) -> Result<(Self, Event), Failure> {
        // Events that look older than minutes would be treated as latecomers, which is not what is measured.
        let begun_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_millis())?;
        let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
        let (kind, state_key) = content.kind_and_key();
        let draft = Draft {
            sender: Some(OWNER.parse()?),
            kind: kind.to_owned(),
            state_key,
            content: content.to_map(&[7; 16]),
            body: Some(Body::new([7; 16], Map::new().with("name", name))),
            time_ms: begun_ms,
        };
        let create = author(&key, Placement::first(), draft)?;
        let mut outline = Outline::new(create.room(), create.header().version);
        outline.add(&create, true);
        Ok((PreparedRoom { key, outline, made: 0, begun_ms }, create))
    }

    /// The room.
    pub fn id(&self) -> RoomId {
        self.outline.room()
    }

    /// What a server holds that has everything that was made so far.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The owner says something.
    ///
    /// # Errors
    /// If the event breaks a limit.
    pub fn say(&mut self, text: &str) -> Result<Event, Failure> {
        let key = self.key.clone();
        self.say_as(&key, OWNER, text)
    }

    /// A user of the server with this key says something.
    ///
    /// # Errors
    /// If the name is none, or the event breaks a limit.
    pub fn say_as(&mut self, key: &ServerKey, user: &str, text: &str) -> Result<Event, Failure> {
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&self.made.to_be_bytes());
        let body = Body::new(salt, Map::new().with("text", text));
        self.make(key, user, &Content::Message { thread: None }, Some(body))
    }

    /// A user of the server with this key joins.
    ///
    /// # Errors
    /// If the name is none, or the event breaks a limit.
    pub fn join(&mut self, key: &ServerKey, user: &str) -> Result<Event, Failure> {
        let joining = UserId { origin: key.origin(), localpart: user.parse()? };
        let content = Content::Member { user: joining, change: Membership::Join, seen: Vec::new() };
        self.make(key, user, &content, None)
    }

    fn make(&mut self, key: &ServerKey, user: &str, content: &Content, body: Option<Body>) -> Result<Event, Failure> {
        self.made += 1;
        let (kind, state_key) = content.kind_and_key();
        let lane = if state_key.is_some() { Lane::State } else { Lane::Timeline };
        let draft = Draft {
            sender: Some(user.parse()?),
            kind: kind.to_owned(),
            state_key,
            content: content.to_map(&[7; 16]),
            body,
            time_ms: self.begun_ms,
        };
        // Asked of what is no tip, and therefore older than one.
        let lamport = |_: &EventId| Ok::<u64, Infallible>(0);
        let Ok(placement) = self.outline.placement(key.origin(), lane, lamport);
        let event = author(key, placement, draft)?;
        self.outline.add(&event, true);
        Ok(event)
    }
}

/// A data directory in the making: a node that starts on it is in the room and holds what was put.
pub struct Filling {
    store: EventStore,
    batch: Vec<StoredEvent>,
}

impl Filling {
    /// Opens the store of a data directory; with a key the node will be that server.
    ///
    /// # Errors
    /// If the directory cannot be written or has a key already.
    pub fn open(directory: &Path, key: Option<&ServerKey>) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory)?;
        if let Some(key) = key {
            identity::save(directory, key)?;
        }
        Ok(Filling { store: open_store(directory, CACHE_MIB)?, batch: Vec::new() })
    }

    /// Puts the event that was just added to the outline. None may be left out, and before another room's what was put is to be
    /// flushed.
    ///
    /// # Errors
    /// If the store fails.
    pub fn put(&mut self, outline: &Outline, event: Event) -> Result<(), Failure> {
        self.batch.push(StoredEvent { event, verdict: Verdict::Accepted });
        if self.batch.len() < BATCH { Ok(()) } else { self.flush(outline) }
    }

    /// Writes what is left of the last room, and closes the store.
    ///
    /// # Errors
    /// If the store fails.
    pub fn finish(mut self, outline: &Outline) -> Result<(), Failure> {
        self.flush(outline)?;
        self.close()
    }

    /// Closes the store, into which all was flushed that was put.
    ///
    /// # Errors
    /// If the store fails.
    pub fn close(self) -> Result<(), Failure> {
        Ok(self.store.sync()?)
    }

    /// Writes what was put of a room so far.
    ///
    /// # Errors
    /// If the store fails.
    pub fn flush(&mut self, outline: &Outline) -> Result<(), Failure> {
        self.store.put(&Batch { events: &self.batch, ..Batch::of(outline, Participation::Joined) })?;
        self.batch.clear();
        Ok(())
    }
}
