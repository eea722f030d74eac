//! The events themselves: each is hashed and its signature verified, what it refers to must be there, and so must its
//! entries in the log and in the indexes.

use std::collections::BTreeMap;

use rocketmesh_protocol::event::{Event, EventError, Header, Lane};
use rocketmesh_protocol::have::LaneHave;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;

use super::log::Arrivals;
use super::rooms::Named;
use super::{Checker, FindingKind, NamedBy, Stop, id_at};
use crate::error::StoreError;
use crate::layout::{self, RoomRecord};
use crate::store::{Marks, Participation, StoredEvent, Verdict, alteration_key};

impl Checker<'_> {
    /// Looks at the log and at every event's record.
    pub(super) fn look_at_events(&mut self) -> Result<(), Stop> {
        for share in self.shares() {
            let mut arrivals = self.arrivals(&share)?;
            let mut pages = share.pages();
            while let Some(page) = pages.read(&self.mending)? {
                for (key, record) in page {
                    self.look_at_event(&key, &record, &mut arrivals)?;
                }
            }
            for (id, arrival) in arrivals {
                self.lose(id, Some(arrival.room), NamedBy::Log)?;
            }
        }
        Ok(())
    }

    fn look_at_event(&mut self, key: &[u8], record: &[u8], arrivals: &mut Arrivals) -> Result<(), Stop> {
        self.step();
        self.report.events += 1;
        let Some(id) = id_at(key, 1) else {
            self.note_irreplaceable(FindingKind::UnreadableEvent, None, None, "a record stands under what is no id");
            return Ok(());
        };
        let arrival = arrivals.remove(&id);
        let Opened { event, verdict, damaged_body } = match open(&id, record) {
            Ok(opened) => opened,
            Err((kind, what)) => {
                let room = arrival.map(|arrival| arrival.room);
                self.note_irreplaceable(kind, room, Some(id), what);
                return self.damage(id, room);
            }
        };
        let room = event.room();
        self.report.bodies += u64::from(event.body_block().is_some());
        match arrival {
            None => {
                let what = "the log does not say that it came";
                self.note_irreplaceable(FindingKind::Log, Some(room), Some(id), what);
            }
            Some(arrival) if arrival.room != room => {
                let what = "the log says that it came in another room";
                self.note_irreplaceable(FindingKind::Log, Some(room), Some(id), what);
            }
            Some(arrival) if arrival.verdict != verdict => {
                let what = format!("its record says {}, the log {}", word(verdict), word(arrival.verdict));
                self.note_irreplaceable(FindingKind::Verdict, Some(room), Some(id), what);
                return self.damage(id, Some(room));
            }
            Some(_) => {}
        }
        let number = match self.rooms.get(&room).copied() {
            Some(number) => number,
            None => match self.renew_room(room)? {
                Some(number) => number,
                None => return Ok(()),
            },
        };
        if let Some(error) = damaged_body {
            self.drop_body(number, &event, verdict, &error)?;
        }
        self.look_at_entries(number, &event, verdict)?;
        self.look_at_references(number, &event)
    }

    /// Makes a record for a room that has none, if its first event is here. Whether this node took part cannot be
    /// known; that it left harms nobody.
    fn renew_room(&mut self, room: RoomId) -> Result<Option<u32>, Stop> {
        if self.rootless.contains(&room) {
            return Ok(None);
        }
        let first = EventId::from(room);
        let record = self.mending.get(&layout::event_key(&first))?;
        let created = record
            .and_then(|record| open(&first, &record).ok())
            .filter(|opened| opened.event.header().room.is_none() && opened.verdict != Verdict::Rejected);
        let Some(Opened { event, .. }) = created else {
            let what = "there are events of it, and neither its record nor its first event";
            self.note_irreplaceable(FindingKind::Orphan, Some(room), None, what);
            self.rootless.insert(room);
            return Ok(None);
        };
        let what = "its record is missing; a repair makes it one that this node has left, so join it again then";
        self.note_derivable(FindingKind::Room, Some(room), None, what);
        let number = self.rooms.values().max().map_or(0, |number| number.saturating_add(1));
        let record = RoomRecord {
            number,
            version: event.header().version,
            participation: Participation::Left,
            events: 0,
            timeline_tips: BTreeMap::new(),
            state_tips: BTreeMap::new(),
        };
        self.report.rooms += 1;
        self.rooms.insert(room, number);
        self.renewed.insert(room);
        self.mending.add_room(room, number);
        self.mending.set(layout::room_key(&room), layout::write_room(&record))?;
        Ok(Some(number))
    }

    /// The event goes on without its body, and the body is wanted, unless it was to go anyway.
    fn drop_body(&mut self, number: u32, event: &Event, verdict: Verdict, error: &EventError) -> Result<(), Stop> {
        let id = event.id();
        let gone = self.marks(&id)?.gone();
        let then = if gone { "and was to be gone" } else { "and other servers are asked for it once it is dropped" };
        let what = format!("its body is damaged ({error}), {then}");
        self.note_derivable(FindingKind::Body, Some(event.room()), Some(id), what);
        self.mending.set(layout::event_key(&id), layout::write_event(event.header_block(), None, verdict))?;
        if !gone && verdict != Verdict::Rejected {
            self.mending.set(layout::wanted_key(number, &id), Vec::new())?;
        }
        Ok(())
    }

    fn look_at_entries(&mut self, number: u32, event: &Event, verdict: Verdict) -> Result<(), Stop> {
        let (id, header) = (event.id(), event.header());
        let chain = layout::chain_key(number, header.origin, header.lane, header.seq, Some(&id));
        self.ensure(chain, FindingKind::ChainIndex, event, "its server's chain lacks it")?;
        if verdict != Verdict::Rejected
            && let Some(place) = self.place(event)?
        {
            let order = layout::order_key(number, &place);
            self.ensure(order, FindingKind::OrderIndex, event, "the room's order lacks it")?;
        }
        if verdict != Verdict::Rejected && self.renewed.contains(&event.room()) {
            self.list_sightings(number, event)?;
        }
        let stored = StoredEvent { event: event.clone(), verdict };
        if let Some(alteration) = alteration_key(number, &stored) {
            self.ensure(alteration, FindingKind::BodyIndex, event, "the index of edits and redactions lacks it")?;
        }
        if verdict != Verdict::Rejected && self.wants_body(event)? {
            let wanted = layout::wanted_key(number, &id);
            self.ensure(wanted, FindingKind::BodyIndex, event, "its body is missing and not asked for")?;
        }
        self.look_at_own_files(number, &stored)
    }

    /// Lists again what an event came after and that is not here, in a room that lost its list together with its record.
    fn list_sightings(&mut self, number: u32, event: &Event) -> Result<(), Stop> {
        for id in event.header().sightings() {
            let missing = match self.named(&id)? {
                Named::Sound(seen) => seen.event.room() != event.room(),
                Named::Absent => true,
                Named::Unclear => false,
            };
            if missing {
                self.mending.set(layout::sighted_key(number, &id, &event.id()), Vec::new())?;
            }
        }
        Ok(())
    }

    pub(super) fn ensure(&mut self, key: Vec<u8>, kind: FindingKind, event: &Event, what: &str) -> Result<(), Stop> {
        if self.mending.contains(&key)? {
            return Ok(());
        }
        self.note_derivable(kind, Some(event.room()), Some(event.id()), what);
        self.mending.set(key, Vec::new())
    }

    fn look_at_references(&mut self, number: u32, event: &Event) -> Result<(), Stop> {
        let header = event.header();
        for id in header.references() {
            if !self.lost.contains_key(id) && self.mending.contains(&layout::event_key(id))? {
                continue;
            }
            if header.self_parent != Some(*id) || !self.is_lowest(number, header)? {
                self.lose(*id, Some(event.room()), NamedBy::Event(event.id()))?;
            }
        }
        Ok(())
    }

    /// Whether nothing is held of the chain before this event.
    fn is_lowest(&self, number: u32, header: &Header) -> Result<bool, StoreError> {
        let lane = self.stored_lane(number, header.origin, header.lane)?;
        Ok(lane.is_some_and(|lane| lane.lowest == header.seq))
    }

    /// What the have-vector says of a lane, if it can be read.
    pub(super) fn stored_lane(&self, number: u32, origin: Origin, lane: Lane) -> Result<Option<LaneHave>, StoreError> {
        let record = self.mending.get(&layout::lane_prefix(layout::HAVE, number, origin, lane))?;
        Ok(record.and_then(|record| layout::read_lane(&record).ok()))
    }

    /// Whether the event's body is to be asked for.
    pub(super) fn wants_body(&self, event: &Event) -> Result<bool, StoreError> {
        let missing = event.header().body.is_some() && event.body_block().is_none();
        Ok(missing && !self.marks(&event.id())?.gone())
    }

    fn marks(&self, id: &EventId) -> Result<Marks, StoreError> {
        let bits = self.mending.get(&layout::key(layout::MARKS, &[id.hash()]))?;
        Ok(bits.and_then(|bits| bits.first().copied()).map_or(Marks::default(), Marks::from_bits))
    }
}

/// An event as its record has it, verified, without a body that is not its own.
struct Opened {
    event: Event,
    verdict: Verdict,
    damaged_body: Option<EventError>,
}

fn open(id: &EventId, record: &[u8]) -> Result<Opened, (FindingKind, String)> {
    let Some((verdict, header, body)) = layout::split_event(record) else {
        return Err((FindingKind::UnreadableEvent, "its record cannot be read".to_owned()));
    };
    if EventId::of_block(header) != *id {
        return Err((FindingKind::WrongHash, "its header is not the one that its id names".to_owned()));
    }
    let mut event = Event::open(header, None).map_err(|error| match error {
        EventError::Signature => (FindingKind::BadSignature, error.to_string()),
        _ => (FindingKind::UnreadableEvent, error.to_string()),
    })?;
    let damaged_body = body.and_then(|block| event.attach_body(block).err());
    Ok(Opened { event, verdict, damaged_body })
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Rejected => "rejected",
        Verdict::Accepted => "accepted",
        Verdict::Withheld => "withheld",
    }
}
