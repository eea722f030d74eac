//! A room that grows in a store as a node would make it grow.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

pub mod files;

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Body, Content, Draft, Event, Lane, Placement, RoomType, author};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::room::Outline;
use rocketmesh_storage::{Batch, EventStore, Participation, StoredEvent, Verdict};

pub struct Room {
    pub key: ServerKey,
    pub outline: Outline,
    pub create: Event,
    count: u64,
}

impl Room {
    pub fn new(seed: u8) -> Self {
        let key = ServerKey::from_seed(&[seed; 32]);
        let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
        let (kind, state_key) = content.kind_and_key();
        let draft = Draft {
            sender: Some("alice".parse().unwrap()),
            kind: kind.to_owned(),
            state_key,
            content: content.to_map(&[seed; 16]),
            body: Some(Body::new([1; 16], Map::new().with("name", "general"))),
            time_ms: 1,
        };
        let create = author(&key, Placement::first(), draft).unwrap();
        let mut outline = Outline::new(create.room(), create.header().version);
        outline.add(&create, true);
        Room { key, outline, create, count: 0 }
    }

    /// The next message, in the outline from now on.
    pub fn message(&mut self, text: &str) -> Event {
        self.message_with(Map::new().with("text", text))
    }

    /// The same, with these fields in its body.
    pub fn message_with(&mut self, fields: Map) -> Event {
        self.count += 1;
        let draft = Draft {
            sender: Some("alice".parse().unwrap()),
            kind: "message".to_owned(),
            state_key: None,
            content: None,
            body: Some(Body::new([2; 16], fields)),
            time_ms: self.count,
        };
        let lamport = |_: &EventId| Err::<u64, ()>(());
        let placement = self.outline.placement(self.key.origin(), Lane::Timeline, lamport).unwrap();
        let event = author(&self.key, placement, draft).unwrap();
        self.outline.add(&event, true);
        event
    }

    pub fn put(&self, store: &EventStore, events: &[Event]) -> u64 {
        let events: Vec<_> =
            events.iter().map(|event| StoredEvent { event: event.clone(), verdict: Verdict::Accepted }).collect();
        store
            .put(&Batch {
                outline: &self.outline,
                participation: Participation::Joined,
                events: &events,
                changed: &[],
                hold: &[],
                release: &[],
                marked: &[],
                stripped: &[],
                ahead: &[],
            })
            .unwrap()
    }
}
