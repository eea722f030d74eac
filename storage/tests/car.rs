//! A room as a CAR: whole, readable by others' tools, and never trusted when it comes back.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::io::{self, Read};

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use rocketmesh_protocol::event::{Event, Lane};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::car::{self, CarError, CarReader, CarSummary, CarWriter};
use rocketmesh_storage::{Batch, EventStore, MemoryDisk, Participation, StoredEvent, Verdict};
use support::Room;

fn store() -> EventStore {
    EventStore::in_memory(&MemoryDisk::new()).unwrap()
}

/// What a store holds: events in the order in which they came, with their verdicts.
type Held = Vec<StoredEvent>;

/// A room with a fork, an event whose body is gone, one that is withheld, and one that was rejected at the end; and what
/// else the store holds stays out of it.
fn eventful() -> (EventStore, Room, Held) {
    let store = store();
    let mut room = Room::new(1);
    let mut held: Held = vec![accepted(&room.create)];
    let said = room.message("said");
    held.push(accepted(&said));
    held.push(accepted(&room.message("taken back").without_body()));
    let before = room.outline.clone();
    let left = room.message("one branch");
    let mut forked = std::mem::replace(&mut room.outline, before);
    let right = room.message("the other branch");
    forked.add(&right, true);
    room.outline = forked;
    held.extend([accepted(&left), StoredEvent { event: right, verdict: Verdict::Withheld }]);
    held.push(accepted(&room.message("both branches")));
    let mut outline = room.outline.clone();
    let refused = room.message("not allowed");
    outline.add(&refused, false);
    room.outline = outline;
    held.push(StoredEvent { event: refused, verdict: Verdict::Rejected });
    let mut other = Room::new(2);
    let first = other.create.clone();
    other.put(&store, &[first]);
    put(&store, &room.outline, &held[..3]);
    let elsewhere = other.message("elsewhere");
    other.put(&store, &[elsewhere]);
    put(&store, &room.outline, &held[3..]);
    (store, room, held)
}

fn accepted(event: &Event) -> StoredEvent {
    StoredEvent { event: event.clone(), verdict: Verdict::Accepted }
}

fn put(store: &EventStore, outline: &Outline, events: &[StoredEvent]) {
    store.put(&Batch { events, ..Batch::of(outline, Participation::Joined) }).unwrap();
}

fn exported(store: &EventStore, room: RoomId) -> (Vec<u8>, CarSummary) {
    let mut file = Vec::new();
    let mut told = 0;
    let summary = car::export(store, room, &mut file, |events| told = events).unwrap();
    assert_eq!(told, summary.events);
    (file, summary)
}

fn read(file: &[u8]) -> Result<Vec<WireEvent>, CarError> {
    CarReader::new(file)?.events().collect()
}

/// The header of a CAR and its sections, by the specification and not by the code that is tested.
fn taken_apart(file: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut rest = file;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let mut len = 0;
        for place in 0.. {
            let (byte, behind) = rest.split_first().unwrap();
            rest = behind;
            len |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (part, behind) = rest.split_at(len);
        parts.push(part.to_vec());
        rest = behind;
    }
    let header = parts.remove(0);
    (header, parts)
}

fn put_together(header: &[u8], sections: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for part in std::iter::once(header).chain(sections.iter().map(Vec::as_slice)) {
        let mut len = part.len();
        while len >= 0x80 {
            file.push(len as u8 | 0x80);
            len >>= 7;
        }
        file.push(len as u8);
        file.extend_from_slice(part);
    }
    file
}

/// A file that names no roots.
fn of_blocks(blocks: &[&[u8]]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = CarWriter::begin(&mut file, &[]).unwrap();
    for block in blocks {
        writer.block(block).unwrap();
    }
    file
}

#[test]
fn a_room_with_forks_refusals_and_erased_bodies_comes_back_whole() {
    let (store, room, held) = eventful();
    let (file, summary) = exported(&store, room.create.room());
    assert_eq!(summary, CarSummary { events: 7, bodies: 6 });
    let events = read(&file).unwrap();
    let expected: Vec<WireEvent> = held.iter().map(|stored| WireEvent::of(&stored.event)).collect();
    assert_eq!(events, expected, "in the order in which they came, with their bodies");

    let mut outline = Outline::new(room.create.room(), room.create.header().version);
    let fresh = self::store();
    for (event, stored) in events.iter().zip(&held) {
        let event = Event::open(&event.header, event.body.as_deref()).unwrap();
        outline.add(&event, stored.verdict != Verdict::Rejected);
        put(&fresh, &outline, &[StoredEvent { event, verdict: stored.verdict }]);
    }
    let entry = fresh.room(&room.create.room()).unwrap().unwrap();
    assert_eq!(entry.outline.have().digest(), room.outline.have().digest());
    assert_eq!(entry.outline, room.outline);
    assert_eq!(exported(&fresh, room.create.room()), (file, summary));
}

#[test]
fn an_event_stands_behind_everything_that_it_refers_to() {
    let (store, room, _) = eventful();
    let mut seen = Vec::new();
    for event in read(&exported(&store, room.create.room()).0).unwrap() {
        let event = event.decode().unwrap().trust();
        assert!(event.header().references().all(|id| seen.contains(id)));
        seen.push(event.id());
    }
}

#[test]
fn the_header_is_dag_cbor_and_names_the_create_event_and_then_the_tips() {
    let (store, room, _) = eventful();
    let (header, _) = taken_apart(&exported(&store, room.create.room()).0);
    let tips = |lane| room.outline.tips(lane).keys().copied();
    let create = EventId::from(room.create.room());
    assert_eq!(tips(Lane::State).collect::<Vec<_>>(), [create], "which is named once all the same");
    let roots: Vec<EventId> = std::iter::once(create).chain(tips(Lane::Timeline)).collect();
    let expected = Ipld::Map(BTreeMap::from([
        ("roots".to_owned(), Ipld::List(roots.iter().map(|id| Ipld::Link(id.to_cid())).collect())),
        ("version".to_owned(), Ipld::Integer(1)),
    ]));
    assert_eq!(serde_ipld_dagcbor::from_slice::<Ipld>(&header).unwrap(), expected);
    assert_eq!(serde_ipld_dagcbor::to_vec(&expected).unwrap(), header);
    assert_eq!(CarReader::new(&exported(&store, room.create.room()).0[..]).unwrap().roots(), roots);
}

#[test]
fn every_block_is_what_its_cid_says_to_any_reader_of_cids() {
    let (store, room, held) = eventful();
    let (file, summary) = exported(&store, room.create.room());
    let (_, sections) = taken_apart(&file);
    assert_eq!(sections.len() as u64, summary.events + summary.bodies);
    let mut ids = Vec::new();
    for section in &sections {
        let mut rest = section.as_slice();
        let cid = Cid::read_bytes(&mut rest).unwrap();
        assert_eq!((cid.codec(), cid.hash().code()), (0x71, 0x1e));
        assert_eq!(cid.hash().digest(), blake3::hash(rest).as_bytes());
        serde_ipld_dagcbor::from_slice::<Ipld>(rest).unwrap();
        ids.push(cid);
    }
    for stored in &held {
        assert!(ids.contains(&stored.event.id().to_cid()));
    }
}

#[test]
fn a_room_that_is_not_held_is_not_exported() {
    let (store, ..) = eventful();
    let absent = RoomId::from_hash([9; 32]);
    let mut file = Vec::new();
    let refused = car::export(&store, absent, &mut file, |_| {});
    assert!(matches!(refused, Err(CarError::UnknownRoom(room)) if room == absent), "{refused:?}");
    assert!(file.is_empty());
}

#[test]
fn a_room_with_very_many_tips_is_read_again() {
    let store = store();
    let room = Room::new(1);
    let many = (0_u64..5000).map(|at| (EventId::of_block(&at.to_be_bytes()), at)).collect();
    let have = room.outline.have().clone();
    let state = room.outline.tips(Lane::State).clone();
    let outline = Outline::restore(room.create.room(), room.outline.version(), have, many, state, 1);
    put(&store, &outline, &[accepted(&room.create)]);
    let (file, _) = exported(&store, room.create.room());
    let reader = CarReader::new(file.as_slice()).unwrap();
    assert_eq!(reader.roots().len(), car::MAX_ROOTS);
    assert_eq!(reader.roots()[0], room.create.id());
    assert_eq!(reader.collect::<Result<Vec<_>, _>>().unwrap().len(), 2);
}

#[test]
fn a_file_that_was_cut_anywhere_is_an_error_or_lacks_no_event() {
    let (store, room, held) = eventful();
    let (file, _) = exported(&store, room.create.room());
    let (header, mut sections) = taken_apart(&file);
    // Whatever comes behind the last root is not missed where the file is cut between two blocks: its body, and the
    // rejected event, on which nothing stands.
    let rejected = sections.split_off(sections.len() - 2);
    let without_rejected = put_together(&header, &sections);
    assert_eq!(put_together(&header, &[sections.clone(), rejected].concat()), file);
    sections.pop();
    let without_last_body = put_together(&header, &sections);
    for cut in 0..file.len() {
        match read(&file[..cut]) {
            Err(CarError::Truncated(at)) => assert!(at <= cut as u64),
            Err(CarError::Incomplete(missing)) => assert!(missing > 0),
            Err(other) => panic!("cut at {cut}: {other}"),
            Ok(events) => {
                assert!(cut >= without_last_body.len(), "cut at {cut}");
                assert!(cut == without_last_body.len() || cut >= without_rejected.len(), "cut at {cut}");
                assert!(events.len() >= held.len() - 1);
            }
        }
    }
}

#[test]
fn a_file_in_which_one_bit_was_flipped_is_an_error() {
    let (store, room, _) = eventful();
    let (mut file, _) = exported(&store, room.create.room());
    for at in 0..file.len() {
        for bit in [0x01, 0x80] {
            file[at] ^= bit;
            assert!(read(&file).is_err(), "byte {at}, bit {bit:#x}");
            file[at] ^= bit;
        }
    }
    assert!(read(&file).is_ok());
}

/// Yields zeroes for ever and counts them.
struct Zeroes(u64);

impl Read for Zeroes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0);
        self.0 += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn a_length_beyond_all_bounds_is_refused_before_its_bytes_are_read() {
    let (store, room, _) = eventful();
    let (file, _) = exported(&store, room.create.room());
    let (header, _) = taken_apart(&file);
    let begun = put_together(&header, &[]);
    for len in [
        &[0x80, 0x80, 0x08][..],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x80, 0x00],
    ] {
        let mut zeroes = Zeroes(0);
        let opened = CarReader::new(len.chain(&mut zeroes)).map(drop);
        assert!(matches!(opened, Err(CarError::Malformed { at: 0, .. })), "{len:?}");
        let mut reader = CarReader::new(begun.as_slice().chain(len).chain(&mut zeroes)).unwrap();
        let refused = reader.next().unwrap();
        assert!(matches!(refused, Err(CarError::Malformed { at, .. }) if at == begun.len() as u64), "{len:?}");
        assert!(reader.next().is_none(), "nothing comes after an error");
        drop(reader);
        assert!(zeroes.0 <= 64 * 1024, "read {} bytes", zeroes.0);
    }
}

#[test]
fn what_is_no_car_of_a_room_is_told_so() {
    let (store, room, _) = eventful();
    let (file, _) = exported(&store, room.create.room());
    let (header, sections) = taken_apart(&file);
    let with = |section: &[u8]| put_together(&header, &[section.to_vec()]);
    let raw = [&[0x01, 0x55, 0x12, 0x20][..], &[0; 32], b"raw"].concat();
    assert!(matches!(read(&with(&raw)), Err(CarError::Foreign { codec: 0x55, hash: 0x12, .. })));
    let old = [&[0x12, 0x20][..], &[0; 32], b"dag-pb"].concat();
    assert!(matches!(read(&with(&old)), Err(CarError::Foreign { codec: 0x70, hash: 0x12, .. })));
    for no_section in [&[][..], &[0x01], &[0x02, 0x71, 0x1e, 0x20]] {
        assert!(matches!(read(&with(no_section)), Err(CarError::Malformed { .. })), "{no_section:?}");
    }
    assert!(matches!(read(&with(&sections[0][..20])), Err(CarError::Foreign { codec: 0x71, hash: 0x1e, .. })));
    for text in [b"text".as_slice(), b"\x01\xf6", b""] {
        let file = put_together(text, &sections);
        assert!(matches!(read(&file), Err(CarError::Malformed { at: 0, .. })), "{text:?}");
    }
    // What CARv2 begins with, by its specification.
    let second = [0x0a, 0xa1, 0x67, 0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 0x02];
    assert!(matches!(read(&second), Err(CarError::Version(2))));
    assert!(matches!(read(&of_blocks(&[&[0x93, 0x00]])), Err(CarError::NotAnEvent { .. })));
    assert!(matches!(read(&of_blocks(&[&[0x63, b'a', b'b', b'c']])), Err(CarError::Malformed { .. })));
    assert!(matches!(read(&of_blocks(&[&[]])), Err(CarError::Malformed { .. })));
    assert!(read(&of_blocks(&[])).unwrap().is_empty());
}

#[test]
fn events_of_two_rooms_are_refused_where_the_second_begins() {
    let (one, other) = (Room::new(1), Room::new(2));
    let file = of_blocks(&[one.create.header_block(), other.create.header_block()]);
    let mut events = CarReader::new(file.as_slice()).unwrap().events();
    let refused = events.find_map(Result::err);
    let rooms = (one.create.room(), other.create.room());
    assert!(matches!(refused, Some(CarError::SeveralRooms { first, other }) if (first, other) == rooms), "{refused:?}");
    assert!(events.next().is_none());
}

#[test]
fn a_body_is_found_on_either_side_of_its_header_within_the_window() {
    let mut room = Room::new(1);
    let said: Vec<Event> = (0..300).map(|at| room.message(&format!("message {at}"))).collect();
    let headers: Vec<&[u8]> = said.iter().map(Event::header_block).collect();
    let bodies: Vec<&[u8]> = said.iter().map(|event| event.body_block().unwrap()).collect();
    let whole: Vec<WireEvent> = said.iter().map(WireEvent::of).collect();
    for order in [[&headers[..], &bodies].concat(), [&bodies[..], &headers].concat()] {
        assert_eq!(read(&of_blocks(&order)).unwrap(), whole);
    }
}

#[test]
fn a_body_outside_the_window_and_one_that_nobody_names_are_left_out() {
    let mut room = Room::new(1);
    let said: Vec<Event> = (0..700).map(|at| room.message(&format!("message {at}"))).collect();
    let headers: Vec<&[u8]> = said.iter().map(Event::header_block).collect();
    let first_body = said[0].body_block().unwrap();
    for order in [[&headers[..], &[first_body]].concat(), {
        let other_bodies = said[1..].iter().map(|event| event.body_block().unwrap());
        let bodies: Vec<&[u8]> = std::iter::once(first_body).chain(other_bodies).collect();
        [&bodies[..], &headers[..1]].concat()
    }] {
        let events = read(&of_blocks(&order)).unwrap();
        assert_eq!(events[0], WireEvent { header: headers[0].to_vec(), body: None });
    }
}
