//! A check finds every kind of damage and nothing else, and a repair brings back what follows from the events.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::slice;

use proptest::prelude::*;
use proptest::sample::Index;
use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::{Body, Content, Draft, Event, Lane, UnverifiedEvent, author};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_storage::check::{FindingKind, MAX_FINDINGS, Mode, Report, check};
use rocketmesh_storage::{
    Batch, EventStore, HeldEvent, Marks, MemoryDisk, Participation, Snapshot, StoreError, StoredEvent, Verdict, backup,
};
use support::Room;
use tempfile::TempDir;

/// An id that no event has.
const NOBODY: [u8; 32] = [9; 32];
/// Position in the log of an event that others stand on and about which nothing is special.
const VICTIM: u64 = 6;

/// Says something where the room is now.
fn say(store: &EventStore, room: &Room, key: &ServerKey, content: &Content, text: Option<&str>) -> Event {
    let (kind, state_key) = content.kind_and_key();
    let lane = if state_key.is_some() { Lane::State } else { Lane::Timeline };
    let lamport = |id: &EventId| Ok::<u64, StoreError>(store.event(id)?.unwrap().event.header().lamport);
    let placement = room.outline.placement(key.origin(), lane, lamport).unwrap();
    let draft = Draft {
        sender: Some("alice".parse().unwrap()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&[0; 16]),
        body: text.map(|text| Body::new([3; 16], Map::new().with("text", text))),
        time_ms: 7,
    };
    author(key, placement, draft).unwrap()
}

fn put(store: &EventStore, room: &mut Room, event: &Event, verdict: Verdict) {
    room.outline.add(event, verdict != Verdict::Rejected);
    let events = [StoredEvent { event: event.clone(), verdict }];
    store.put(&Batch { events: &events, ..Batch::of(&room.outline, Participation::Joined) }).unwrap();
}

/// Two rooms with some of everything that a store can hold.
fn fill(store: &EventStore) -> [Room; 2] {
    let message = Content::Message { thread: None };
    let [other, stranger] = [71, 72].map(|seed| ServerKey::from_seed(&[seed; 32]));
    let mut first = Room::new(1);
    first.put(store, slice::from_ref(&first.create));
    let messages: Vec<Event> = (0..12).map(|at| first.message(&format!("message {at}"))).collect();
    first.put(store, &messages);
    let own = first.key.clone();
    let fork = ["one", "another"].map(|text| say(store, &first, &other, &message, Some(text)));
    for event in &fork {
        put(store, &mut first, event, Verdict::Accepted);
    }
    let rejected = say(store, &first, &stranger, &message, Some("not allowed"));
    put(store, &mut first, &rejected, Verdict::Rejected);
    let state = say(store, &first, &own, &Content::Merge, None);
    put(store, &mut first, &state, Verdict::Accepted);
    let target = messages[3].id();
    for content in [Content::Edit { target, author: None }, Content::Redact { target, author: None }] {
        let event = say(store, &first, &own, &content, None);
        put(store, &mut first, &event, Verdict::Accepted);
    }
    let stripped = [StoredEvent { event: messages[3].without_body(), verdict: Verdict::Accepted }];
    let marked = [(target, Marks { erased: true, ..Marks::default() })];
    let erasing = Batch::of(&first.outline, Participation::Joined);
    store.put(&Batch { stripped: &stripped, marked: &marked, ..erasing }).unwrap();
    let bodyless = say(store, &first, &other, &message, Some("not here")).without_body();
    put(store, &mut first, &bodyless, Verdict::Accepted);
    let withheld = say(store, &first, &own, &message, Some("withheld"));
    put(store, &mut first, &withheld, Verdict::Withheld);
    let changed = [StoredEvent { event: messages[5].clone(), verdict: Verdict::Withheld }];
    store.put(&Batch { changed: &changed, ..Batch::of(&first.outline, Participation::Joined) }).unwrap();
    let pieces = vec![b"root".to_vec(), b"leaf".to_vec()];
    let room = first.create.room();
    store.put_snapshot(&room, &Snapshot { cut: room.into(), have: first.outline.have().clone(), pieces }).unwrap();

    let mut second = Room::new(2);
    second.put(store, slice::from_ref(&second.create));
    let messages: Vec<Event> = (0..3).map(|at| second.message(&format!("message {at}"))).collect();
    second.put(store, &messages);
    let outline = second.outline.clone();
    let missing = second.message("missing");
    let waiting = second.message("waiting");
    second.outline = outline;
    let hold = [HeldEvent { id: waiting.id(), missing: vec![missing.id()], event: WireEvent::of(&waiting) }];
    store.put(&Batch { hold: &hold, ..Batch::of(&second.outline, Participation::Joined) }).unwrap();
    store.put_setting("policy", Some(b"open")).unwrap();
    store.sync().unwrap();
    [first, second]
}

fn sound() -> MemoryDisk {
    let disk = MemoryDisk::new();
    fill(&EventStore::in_memory(&disk).unwrap());
    disk
}

fn examine(disk: &MemoryDisk, mode: Mode) -> Report {
    check(&EventStore::in_memory(disk).unwrap(), mode, |_, _| {}).unwrap()
}

fn kinds(report: &Report) -> Vec<FindingKind> {
    let mut kinds: Vec<FindingKind> = report.findings.iter().map(|finding| finding.kind).collect();
    kinds.sort_unstable();
    kinds
}

/// The keys with this first byte, ascending.
fn keys(disk: &MemoryDisk, prefix: u8) -> Vec<Vec<u8>> {
    disk.rows().into_keys().filter(|key| key.first() == Some(&prefix)).collect()
}

fn remove(disk: &MemoryDisk, prefix: u8, at: usize) {
    disk.damage(&keys(disk, prefix)[at], None);
}

/// The row of the event at [`VICTIM`].
fn victim(disk: &MemoryDisk) -> (Vec<u8>, Vec<u8>) {
    let rows = disk.rows();
    let entry = &rows[&log_key(VICTIM)];
    let key = [b"e".as_slice(), &entry[33..65]].concat();
    let record = rows[&key].clone();
    (key, record)
}

fn log_key(position: u64) -> Vec<u8> {
    [b"l".as_slice(), &position.to_be_bytes()].concat()
}

fn header_len(record: &[u8]) -> usize {
    u32::from_be_bytes(record[1..5].try_into().unwrap()) as usize
}

fn flip(disk: &MemoryDisk, at: impl Fn(&[u8]) -> usize) {
    let (key, mut record) = victim(disk);
    let at = at(&record);
    record[at] ^= 1;
    disk.damage(&key, Some(&record));
}

/// Changes a row that is a DAG-CBOR map.
fn rewrite(disk: &MemoryDisk, key: &[u8], change: impl FnOnce(&mut Map)) {
    let value = codec::decode_own(&disk.rows()[key]).unwrap();
    let mut map = value.as_map().unwrap().clone();
    change(&mut map);
    disk.damage(key, Some(&codec::encode(&Value::Map(map)).unwrap()));
}

/// That damage is found, and nothing beside it, and that a repair brings every row back.
fn heals(name: &str, expected: &[FindingKind], damage: impl FnOnce(&MemoryDisk)) {
    let disk = sound();
    let before = disk.rows();
    damage(&disk);
    let damaged = disk.rows();
    assert_ne!(before, damaged, "{name}");
    let report = examine(&disk, Mode::Check);
    assert_eq!(kinds(&report), expected, "{name}: {report:#?}");
    assert_eq!((report.derivable, report.repaired), (report.found, 0), "{name}");
    assert!(!report.is_sound() && disk.rows() == damaged, "{name}: a check changes nothing");
    let report = examine(&disk, Mode::Repair);
    assert_eq!(kinds(&report), expected, "{name}");
    assert!(report.is_sound() && report.findings.iter().all(|finding| finding.repaired), "{name}");
    assert!(disk.rows() == before, "{name}: a repair brings every row back");
    assert_eq!(examine(&disk, Mode::Check).found, 0, "{name}");
}

/// That damage is found, and nothing beside it, and that a repair leaves it alone.
fn stays(name: &str, expected: &[FindingKind], damage: impl FnOnce(&MemoryDisk)) {
    let disk = sound();
    damage(&disk);
    let damaged = disk.rows();
    for mode in [Mode::Check, Mode::Repair, Mode::Check] {
        let report = examine(&disk, mode);
        assert_eq!(kinds(&report), expected, "{name}: {report:#?}");
        assert_eq!((report.derivable, report.repaired), (0, 0), "{name}");
        assert!(report.findings.iter().all(|finding| !finding.kind.remedy().is_empty()), "{name}");
        assert!(!report.is_sound() && disk.rows() == damaged, "{name}");
    }
}

#[test]
fn nothing_is_wrong_with_a_sound_store_and_nothing_changes_in_it() {
    let disk = sound();
    let before = disk.rows();
    for mode in [Mode::Check, Mode::Repair] {
        let report = examine(&disk, mode);
        assert!(report.is_sound() && report.found == 0, "{report:#?}");
        assert_eq!((report.rooms, report.events, report.log_entries), (2, 25, 27));
        assert_eq!(report.bodies, 20);
    }
    assert!(disk.rows() == before);
    let empty = examine(&MemoryDisk::new(), Mode::Repair);
    assert_eq!(empty, Report::default());
}

#[test]
fn nothing_is_wrong_with_a_store_on_disk_or_one_that_was_restored() {
    let directory = TempDir::new().unwrap();
    let store = EventStore::open(directory.path(), 8 << 20).unwrap();
    fill(&store);
    let mut stream = Vec::new();
    backup::write(&store, &[9; 32], &mut stream).unwrap();
    let restored = EventStore::in_memory(&MemoryDisk::new()).unwrap();
    backup::restore(&restored, &mut stream.as_slice(), |_| {}).unwrap();
    for store in [store, restored] {
        for mode in [Mode::Check, Mode::Repair] {
            let report = check(&store, mode, |_, _| {}).unwrap();
            assert!(report.is_sound() && report.events == 25, "{report:#?}");
        }
    }
}

#[test]
fn what_an_index_lost_comes_back_and_what_is_foreign_to_it_goes() {
    let cases: [(&str, FindingKind, fn(&MemoryDisk)); 14] = [
        ("a chain without an event", FindingKind::ChainIndex, |disk| remove(disk, b'c', 4)),
        ("an event of no chain", FindingKind::ChainIndex, |disk| {
            let mut key = keys(disk, b'c')[0].clone();
            key.truncate(46);
            key.extend(NOBODY);
            disk.damage(&key, Some(&[]));
        }),
        ("an entry of a chain that is none", FindingKind::ChainIndex, |disk| disk.damage(b"c\0\0\0\0?", Some(&[]))),
        ("an order without an event", FindingKind::OrderIndex, |disk| remove(disk, b'o', 4)),
        ("an event of no order", FindingKind::OrderIndex, |disk| {
            let mut key = keys(disk, b'o')[4].clone();
            key.truncate(53);
            key.extend(NOBODY);
            disk.damage(&key, Some(&[]));
        }),
        ("an edit that is not known as one", FindingKind::BodyIndex, |disk| remove(disk, b't', 0)),
        ("an edit that is none", FindingKind::BodyIndex, |disk| {
            let mut key = keys(disk, b't')[0].clone();
            key.truncate(37);
            key.extend(victim(disk).0.split_at(1).1);
            disk.damage(&key, Some(&[]));
        }),
        ("a body that nobody asks for", FindingKind::BodyIndex, |disk| remove(disk, b'b', 0)),
        ("a body that is here and asked for", FindingKind::BodyIndex, |disk| {
            disk.damage(&[b"b\0\0\0\0".as_slice(), victim(disk).0.split_at(1).1].concat(), Some(&[]));
        }),
        ("an entry of no room", FindingKind::Orphan, |disk| {
            let mut key = keys(disk, b'c')[0].clone();
            key[4] = 7;
            disk.damage(&key, Some(&[]));
        }),
        ("an entry without a room's number", FindingKind::Orphan, |disk| disk.damage(b"c\0\0", Some(&[]))),
        ("a held event of no room", FindingKind::Orphan, |disk| {
            let record = disk.rows()[&keys(disk, b'w')[0]].clone();
            disk.damage(&[b"w\0\0\0\x07".as_slice(), &NOBODY].concat(), Some(&record));
        }),
        ("a piece of no snapshot", FindingKind::Orphan, |disk| {
            disk.damage(&[b"p\0\0\0\0".as_slice(), &NOBODY].concat(), Some(b"piece"));
        }),
        ("a note about nothing", FindingKind::Orphan, |disk| {
            disk.damage(&[b"x".as_slice(), &NOBODY].concat(), Some(&[1]));
        }),
    ];
    for (name, kind, damage) in cases {
        heals(name, &[kind], damage);
    }
}

#[test]
fn what_a_room_holds_is_counted_and_summed_up_again() {
    let room = |disk: &MemoryDisk| keys(disk, b'm').swap_remove(0);
    let cases: [(&str, FindingKind, fn(&MemoryDisk)); 5] = [
        ("a lane that is said not to be held", FindingKind::HaveVector, |disk| remove(disk, b'h', 1)),
        ("a lane that is said to be held", FindingKind::HaveVector, |disk| {
            let record = disk.rows()[&keys(disk, b'h')[0]].clone();
            disk.damage(&[b"h\0\0\0\0".as_slice(), &NOBODY, &[1]].concat(), Some(&record));
        }),
        ("a lane of which the beginning is said to be missing", FindingKind::HaveVector, |disk| {
            rewrite(disk, &keys(disk, b'h')[0], |map| map.insert("lowest", 1_u64));
        }),
        ("a lane with another end", FindingKind::HaveVector, |disk| {
            let head = Value::List(vec![NOBODY.as_slice().into(), 3_u64.into()]);
            rewrite(disk, &keys(disk, b'h')[0], |map| map.insert("heads", Value::List(vec![head])));
        }),
        ("a lane that cannot be read", FindingKind::HaveVector, |disk| disk.damage(&keys(disk, b'h')[2], Some(b"?"))),
    ];
    for (name, kind, damage) in cases {
        heals(name, &[kind], damage);
    }
    heals("a wrong count", &[FindingKind::Count], |disk| {
        rewrite(disk, &room(disk), |map| map.insert("events", 99_u64));
    });
    heals("tips of the state", &[FindingKind::Tips], |disk| {
        let tip = Value::List(vec![NOBODY.as_slice().into(), 3_u64.into()]);
        rewrite(disk, &room(disk), |map| map.insert("state", Value::List(vec![tip])));
    });
    heals("all at once", &[FindingKind::HaveVector, FindingKind::Tips, FindingKind::Count], |disk| {
        remove(disk, b'h', 0);
        rewrite(disk, &room(disk), |map| {
            map.insert("events", 1_u64);
            map.insert("timeline", Value::List(Vec::new()));
        });
    });
}

#[test]
fn a_damaged_body_goes_and_is_asked_for() {
    let disk = sound();
    flip(&disk, |record| record.len() - 1);
    let id = EventId::from_hash(victim(&disk).0[1..].try_into().unwrap());
    assert_eq!(kinds(&examine(&disk, Mode::Check)), [FindingKind::Body]);
    let store = EventStore::in_memory(&disk).unwrap();
    assert!(store.event(&id).is_err());
    let report = check(&store, Mode::Repair, |_, _| {}).unwrap();
    assert_eq!((kinds(&report), report.repaired), (vec![FindingKind::Body], 1));
    assert_eq!(report.findings[0].event, Some(id));
    let event = store.event(&id).unwrap().unwrap().event;
    assert!(event.header().body.is_some() && event.body_block().is_none());
    assert!(store.wanted_bodies(&event.room(), None, 9).unwrap().contains(&id));
    assert_eq!(examine(&disk, Mode::Check).found, 0);
}

#[test]
fn a_damaged_or_missing_event_is_reported_once_and_left_alone() {
    stays("a header", &[FindingKind::WrongHash], |disk| flip(disk, |_| 60));
    stays("a signature", &[FindingKind::WrongHash], |disk| flip(disk, |record| 4 + header_len(record)));
    stays("the lengths", &[FindingKind::UnreadableEvent], |disk| flip(disk, |_| 1));
    stays("what became of it", &[FindingKind::Verdict], |disk| flip(disk, |_| 0));
    stays("a whole record", &[FindingKind::MissingEvent], |disk| disk.damage(&victim(disk).0, None));
    stays("all but its place", &[FindingKind::MissingEvent], |disk| {
        // What arrived last leaves no gap in the log; its chain and the have-vector still name it.
        let last = log_key(keys(disk, b'l').len() as u64);
        let id = disk.rows()[&last][33..65].to_vec();
        disk.damage(&[b"e".as_slice(), &id].concat(), None);
        disk.damage(&last, None);
    });
}

#[test]
fn what_the_log_lost_stays_lost() {
    stays("an entry", &[FindingKind::Log; 2], |disk| disk.damage(&log_key(VICTIM), None));
    stays("an entry that cannot be read", &[FindingKind::Log; 2], |disk| disk.damage(&log_key(VICTIM), Some(b"?")));
    stays("an entry about what came earlier", &[FindingKind::Log], |disk| {
        let erased = disk.rows().into_iter().find(|(key, entry)| key[0] == b'l' && entry[0] == 7).unwrap().0;
        disk.damage(&erased, None);
    });
    stays("an arrival in place of another", &[FindingKind::Log; 2], |disk| {
        let before = disk.rows()[&log_key(VICTIM - 1)].clone();
        disk.damage(&log_key(VICTIM), Some(&before));
    });
}

#[test]
fn a_room_with_a_damaged_event_keeps_what_cannot_be_derived_and_gets_its_indexes_back() {
    let disk = sound();
    rewrite(&disk, &keys(&disk, b'h')[0], |map| map.insert("lowest", 1_u64));
    flip(&disk, |_| 60);
    let damaged = disk.rows();
    remove(&disk, b'o', 2);
    let report = examine(&disk, Mode::Repair);
    assert_eq!(kinds(&report), [FindingKind::WrongHash, FindingKind::OrderIndex]);
    assert_eq!((report.found, report.repaired), (2, 1));
    assert!(disk.rows() == damaged);
}

#[test]
fn an_event_that_nobody_signed_is_found() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let [mut room, _] = fill(&store);
    let event =
        say(&store, &room, &ServerKey::from_seed(&[73; 32]), &Content::Message { thread: None }, Some("forged"));
    let mut header = event.header_block().to_vec();
    *header.last_mut().unwrap() ^= 1;
    let forged = UnverifiedEvent::decode(&header, event.body_block()).unwrap().trust();
    put(&store, &mut room, &forged, Verdict::Accepted);
    let report = examine(&disk, Mode::Repair);
    assert_eq!((kinds(&report), report.repaired), (vec![FindingKind::BadSignature], 0));
    assert_eq!(report.findings[0].event, Some(forged.id()));
}

#[test]
fn an_event_that_others_refer_to_and_that_never_came_is_found() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let [_, mut room] = fill(&store);
    let outline = room.outline.clone();
    let ghost = room.message("never came");
    let next = room.message("came");
    room.outline = outline;
    put(&store, &mut room, &next, Verdict::Accepted);
    let report = examine(&disk, Mode::Repair);
    assert_eq!((kinds(&report), report.repaired), (vec![FindingKind::MissingParent], 0));
    let found = &report.findings[0];
    assert_eq!((found.event, found.room), (Some(ghost.id()), Some(room.create.room())));
    assert!(found.what.contains(&next.id().to_string()), "{}", found.what);
}

#[test]
fn a_held_event_or_a_snapshot_that_cannot_be_used_goes() {
    let cases: [(&str, FindingKind, fn(&MemoryDisk)); 4] = [
        ("a held event that is damaged", FindingKind::Held, |disk| {
            let key = keys(disk, b'w').swap_remove(0);
            rewrite(disk, &key, |map| {
                let mut header = map.get("header").and_then(Value::as_bytes).unwrap().to_vec();
                *header.last_mut().unwrap() ^= 1;
                map.insert("header", header);
            });
        }),
        ("a held event that is no record", FindingKind::Held, |disk| disk.damage(&keys(disk, b'w')[0], Some(b"?"))),
        ("a snapshot without a piece", FindingKind::Snapshot, |disk| remove(disk, b'p', 1)),
        ("a snapshot that cannot be read", FindingKind::Snapshot, |disk| disk.damage(&keys(disk, b'n')[0], Some(b"?"))),
    ];
    for (name, kind, damage) in cases {
        let disk = sound();
        damage(&disk);
        assert_eq!(kinds(&examine(&disk, Mode::Check)), [kind], "{name}");
        assert!(examine(&disk, Mode::Repair).is_sound(), "{name}");
        assert_eq!(examine(&disk, Mode::Check).found, 0, "{name}");
        let gone: &[u8] = if kind == FindingKind::Held { b"w" } else { b"np" };
        assert!(disk.rows().into_keys().all(|key| !gone.contains(&key[0])), "{name}");
    }
}

#[test]
fn a_room_without_its_record_is_there_again_as_one_that_was_left() {
    for at in 0..2 {
        let disk = MemoryDisk::new();
        let rooms = fill(&EventStore::in_memory(&disk).unwrap());
        let room = &rooms[at];
        let id = room.create.room();
        disk.damage(&[b"m".as_slice(), id.hash()].concat(), None);
        let damaged = disk.rows();
        let report = examine(&disk, Mode::Check);
        assert!(kinds(&report).contains(&FindingKind::Room) && disk.rows() == damaged, "{report:#?}");
        assert_eq!(report.found, report.derivable);
        let store = EventStore::in_memory(&disk).unwrap();
        let report = check(&store, Mode::Repair, |_, _| {}).unwrap();
        assert!(report.is_sound() && report.rooms == 2, "{report:#?}");
        for store in [store, EventStore::in_memory(&disk).unwrap()] {
            let entry = store.room(&id).unwrap().unwrap();
            assert_eq!((entry.outline, entry.participation), (room.outline.clone(), Participation::Left));
            assert!(!store.order_after(&id, None, 1).unwrap().is_empty());
        }
        assert_eq!(examine(&disk, Mode::Check).found, 0);
        // The next room gets a number of its own.
        let store = EventStore::in_memory(&disk).unwrap();
        let third = Room::new(3);
        third.put(&store, slice::from_ref(&third.create));
        assert_eq!(examine(&disk, Mode::Check).found, 0);
    }
}

#[test]
fn a_room_without_its_record_and_its_first_event_is_left_alone() {
    let disk = MemoryDisk::new();
    let [room, _] = fill(&EventStore::in_memory(&disk).unwrap());
    disk.damage(&[b"m".as_slice(), room.create.room().hash()].concat(), None);
    disk.damage(&[b"e".as_slice(), room.create.id().hash()].concat(), None);
    let damaged = disk.rows();
    let report = examine(&disk, Mode::Repair);
    assert!(report.found > 0 && report.repaired == 0 && disk.rows() == damaged, "{report:#?}");
}

#[test]
fn a_report_counts_more_findings_than_it_lists() {
    let disk = MemoryDisk::new();
    let store = EventStore::in_memory(&disk).unwrap();
    let mut room = Room::new(1);
    room.put(&store, slice::from_ref(&room.create));
    let messages: Vec<Event> = (0..MAX_FINDINGS).map(|_| room.message("much")).collect();
    room.put(&store, &messages);
    let before = disk.rows();
    for key in keys(&disk, b'o') {
        disk.damage(&key, None);
    }
    let mut heard = Vec::new();
    let report = check(&store, Mode::Repair, |read, of| heard.push((read, of))).unwrap();
    assert_eq!((report.findings.len(), report.found), (MAX_FINDINGS, MAX_FINDINGS as u64 + 1));
    assert!(report.is_sound() && disk.rows() == before);
    assert!(heard.is_sorted() && heard.len() > 9 && heard.iter().all(|(read, of)| read <= of), "{heard:?}");
    assert!(heard.last().is_some_and(|(read, of)| read == of), "{heard:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_index_entries_are_lost_a_repair_derives_them_again(
        lost in proptest::collection::vec(any::<Index>(), 1..40),
        count in any::<Option<u32>>(),
    ) {
        let disk = sound();
        let before: BTreeMap<Vec<u8>, Vec<u8>> = disk.rows();
        let derived: Vec<Vec<u8>> = before.keys().filter(|key| b"cohbt".contains(&key[0])).cloned().collect();
        for index in &lost {
            disk.damage(index.get::<Vec<u8>>(&derived), None);
        }
        if let Some(count) = count {
            rewrite(&disk, &keys(&disk, b'm')[0], |map| map.insert("events", 100 + u64::from(count)));
        }
        let damaged = disk.rows();
        let report = examine(&disk, Mode::Check);
        prop_assert!(report.found > 0 && report.found == report.derivable, "{report:#?}");
        prop_assert!(disk.rows() == damaged);
        prop_assert_eq!(examine(&disk, Mode::Repair).findings.len(), report.findings.len());
        prop_assert!(disk.rows() == before);
        prop_assert_eq!(examine(&disk, Mode::Check).found, 0);
    }
}
