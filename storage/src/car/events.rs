//! From blocks to events: each header block with its body block, wherever near it that stands.

use std::collections::{BTreeSet, VecDeque};
use std::io::Read;

use rocketmesh_protocol::event::{BodyRef, UnverifiedEvent};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::wire::WireEvent;

use super::container::malformed;
use super::{Block, CarError, CarReader};

/// How many events may wait for their bodies, and how many bodies for their events. In a file of [`super::export`] a
/// body comes right behind its header; tools that walk the graph by themselves put others between.
const WINDOW: usize = 512;
/// How many bytes may wait on either side.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// CBOR's major types of a header block, which is a list, and of a body block, which is a map.
const LIST: u8 = 4;
const MAP: u8 = 5;

impl<R: Read> CarReader<R> {
    /// The events of the file's room, in the order of their header blocks.
    ///
    /// A body is found if it stands before its header or behind it, with at most 512 events or bodies and 2 MiB between
    /// the two. An event whose body does not come in time is handed out without it, and a body that no event names is
    /// left out.
    pub fn events(self) -> WireEvents<R> {
        let unseen = self.roots().iter().copied().collect();
        WireEvents {
            blocks: self,
            room: None,
            unseen,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            loose: VecDeque::new(),
            loose_bytes: 0,
            ended: false,
        }
    }
}

/// The events of a CAR, as bytes that nobody has verified. All are of one room. After an error there is no other event.
#[derive(Debug)]
pub struct WireEvents<R> {
    blocks: CarReader<R>,
    room: Option<RoomId>,
    /// Roots that have not come yet.
    unseen: BTreeSet<EventId>,
    /// Events that were read and not yet handed out, in the file's order.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Bodies that no event before them named.
    loose: VecDeque<Block>,
    loose_bytes: usize,
    ended: bool,
}

#[derive(Debug)]
struct Waiting {
    event: WireEvent,
    /// The body that it waits for.
    wants: Option<BodyRef>,
}

impl<R: Read> Iterator for WireEvents<R> {
    type Item = Result<WireEvent, CarError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready() {
                return Some(Ok(event));
            }
            if self.ended {
                let missing = std::mem::take(&mut self.unseen).len();
                return (missing > 0).then_some(Err(CarError::Incomplete(missing)));
            }
            let placed = match self.blocks.next() {
                Some(block) => block.and_then(|block| self.place(block)),
                None => {
                    self.ended = true;
                    Ok(())
                }
            };
            if let Err(error) = placed {
                self.ended = true;
                self.waiting.clear();
                self.unseen.clear();
                return Some(Err(error));
            }
        }
    }
}

impl<R> WireEvents<R> {
    /// The event that is first in line, if it waits for nothing any more.
    fn ready(&mut self) -> Option<WireEvent> {
        let full = self.waiting.len() > WINDOW || self.waiting_bytes > WINDOW_BYTES;
        if self.waiting.front()?.wants.is_some() && !full && !self.ended {
            return None;
        }
        let first = self.waiting.pop_front()?;
        self.waiting_bytes -= first.event.len();
        Some(first.event)
    }

    fn place(&mut self, block: Block) -> Result<(), CarError> {
        match block.bytes.first().map(|first| first >> 5) {
            Some(LIST) => self.place_header(block),
            Some(MAP) => {
                self.place_body(block);
                Ok(())
            }
            _ => Err(malformed(block.at, "is neither an event nor a body")),
        }
    }

    fn place_header(&mut self, block: Block) -> Result<(), CarError> {
        let Block { at, bytes, .. } = block;
        let event = UnverifiedEvent::decode(&bytes, None).map_err(|source| CarError::NotAnEvent { at, source })?;
        let (first, other) = (*self.room.get_or_insert(event.room()), event.room());
        if first != other {
            return Err(CarError::SeveralRooms { first, other });
        }
        self.unseen.remove(&event.id());
        let mut waiting = Waiting { event: WireEvent { header: bytes, body: None }, wants: event.body_ref() };
        if let Some(at) = self.loose.iter().position(|body| is_named(waiting.wants, body))
            && let Some(body) = self.loose.remove(at)
        {
            self.loose_bytes -= body.bytes.len();
            waiting.fill(body);
        }
        self.waiting_bytes += waiting.event.len();
        self.waiting.push_back(waiting);
        Ok(())
    }

    fn place_body(&mut self, body: Block) {
        // To one event only: a body's salt makes it that event's own, and copies of one body for many would not be
        // bounded.
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| is_named(waiting.wants, &body)) {
            self.waiting_bytes += body.bytes.len();
            waiting.fill(body);
            return;
        }
        self.loose_bytes += body.bytes.len();
        self.loose.push_back(body);
        while self.loose.len() > WINDOW || self.loose_bytes > WINDOW_BYTES {
            let Some(oldest) = self.loose.pop_front() else { break };
            self.loose_bytes -= oldest.bytes.len();
        }
    }
}

impl Waiting {
    fn fill(&mut self, body: Block) {
        self.event.body = Some(body.bytes);
        self.wants = None;
    }
}

fn is_named(wanted: Option<BodyRef>, body: &Block) -> bool {
    wanted.is_some_and(|wanted| *wanted.id.hash() == body.hash && wanted.len == body.bytes.len() as u64)
}
