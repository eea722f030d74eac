//! What catching up costs: every byte of every message of an exchange between two servers, their lengths included.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use rocketmesh_protocol::event::{Event, Lane, RoomType, RoomVersion, author};
use rocketmesh_protocol::have::{Brief, HaveVector, Sections, ShortDigest, Sketch, Tag, short_digest};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::limits::{BROUGHT_EVENT_BUDGET, MAX_EVENTS_PER_RESPONSE};
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::sync::{Action, AntiEntropy, Difference, Outcome, Path, Stretch, Tempo, difference};
use rocketmesh_protocol::wire::{Request, Response, WireEvent};
use support::Server;
use support::room::{NONCE, create, join, message};

/// A message's length, which goes before it.
const LENGTH_BYTES: usize = 4;
/// The sizes of rooms, and how many of their last events are missing.
const ROOMS: [usize; 10] = [1, 2, 3, 10, 11, 100, 300, 1_000, 1_200, 10_000];
const MISSING: [usize; 3] = [1, 10, 1_000];

/// A room in which these servers speak in turn, in causal order.
fn talk(servers: &[Server], count: usize) -> Vec<Event> {
    let first = create(&servers[0], RoomType::Channel, NONCE);
    let mut outline = Outline::new(first.room(), RoomVersion::DRAFT);
    let mut lamports = BTreeMap::from([(first.id(), 0)]);
    outline.add(&first, true);
    let mut events = vec![first];
    for at in 1..count {
        let server = &servers[at % servers.len()];
        let (lane, draft) = match at < servers.len() {
            true => (Lane::State, join(server)),
            false => (Lane::Timeline, message(server, "what people say in a room is about as long as this")),
        };
        let lamport = |id: &EventId| Ok::<u64, Infallible>(lamports[id]);
        let Ok(placement) = outline.placement(server.key.origin(), lane, lamport);
        let event = author(&server.key, placement, draft).unwrap();
        outline.add(&event, true);
        lamports.insert(event.id(), event.header().lamport);
        events.push(event);
    }
    events
}

fn size(events: &[Event]) -> usize {
    events.iter().map(|event| WireEvent::of(event).len()).sum()
}

/// One server's part of a room.
#[derive(Default)]
struct Side {
    events: Vec<Event>,
    ids: BTreeSet<EventId>,
    have: HaveVector,
}

impl Side {
    fn holding(events: &[Event]) -> Self {
        let mut side = Side::default();
        for event in events {
            side.add(event.clone());
        }
        side
    }

    fn add(&mut self, event: Event) {
        if self.ids.insert(event.id()) {
            self.have.add(&event);
            self.events.push(event);
        }
    }

    fn holds(&self, origin: Origin, lane: Lane, seq: u64, head: &Tag) -> bool {
        self.events.iter().any(|event| {
            let header = event.header();
            (header.origin, header.lane, header.seq) == (origin, lane, seq) && Tag::of(event.id().hash()) == *head
        })
    }

    fn answer(&self, room: RoomId, request: Request) -> Response {
        let tag = Tag::of(room.hash());
        match request {
            Request::Compare { digests } => {
                let differs = |(place, (room, digest)): (u64, (&Tag, &ShortDigest))| {
                    let differs = *room == tag && short_digest(&self.have.digest()) != *digest;
                    differs.then(|| (place, Sketch::of(&self.have, true)))
                };
                Response::Compared { rooms: (0_u64..).zip(&digests).filter_map(differs).collect() }
            }
            Request::Entries { sections, .. } => {
                Response::Entries { entries: Brief::of(&self.have.within(sections)).unwrap() }
            }
            Request::Bring { stretches, .. } => self.bring(&stretches),
            other => panic!("{other:?}"),
        }
    }

    fn bring(&self, stretches: &[Stretch]) -> Response {
        let is_asked = |event: &&Event| {
            let header = event.header();
            let origin = Tag::of(header.origin.as_bytes());
            stretches.iter().any(|stretch| {
                (stretch.origin, stretch.lane) == (origin, header.lane)
                    && (stretch.from..=stretch.to).contains(&header.seq)
            })
        };
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in self.events.iter().filter(is_asked) {
            let event = WireEvent::of(event);
            bytes += event.len();
            if bytes > BROUGHT_EVENT_BUDGET || events.len() == MAX_EVENTS_PER_RESPONSE {
                return Response::Brought { events, more: true };
            }
            events.push(event);
        }
        Response::Brought { events, more: false }
    }
}

/// Lets one side catch up with another, and counts the bytes that this takes.
struct Exchange {
    room: RoomId,
    asking: Side,
    answering: Side,
    bytes: usize,
}

impl Exchange {
    fn ask(&mut self, request: Request) -> Response {
        let asked = request.encode();
        let answer = self.answering.answer(self.room, Request::decode(&asked).unwrap()).encode();
        self.bytes += asked.len() + answer.len() + 2 * LENGTH_BYTES;
        Response::decode(&answer).unwrap()
    }

    fn differ(&self, theirs: &Brief, sections: Sections) -> Difference {
        let holds = |origin, lane, seq, head: &Tag| self.asking.holds(origin, lane, seq, head);
        difference(theirs, &self.asking.have, sections, holds)
    }

    fn compare(&mut self) -> Option<Difference> {
        let digest = short_digest(&self.asking.have.digest());
        let compared = self.ask(Request::Compare { digests: BTreeMap::from([(Tag::of(self.room.hash()), digest)]) });
        let Response::Compared { mut rooms } = compared else { panic!("{compared:?}") };
        Some(match rooms.remove(&0)? {
            Sketch::Hidden => panic!("a room that both are in"),
            Sketch::Entries(theirs) => self.differ(&theirs, Sections::ALL),
            Sketch::Sections(digests) => {
                let sections = Sections::differing(&self.asking.have.section_digests(), &digests);
                let answer = self.ask(Request::Entries { room: Tag::of(self.room.hash()), sections });
                let Response::Entries { entries } = answer else { panic!("{answer:?}") };
                self.differ(&entries, sections)
            }
        })
    }

    fn run(&mut self) {
        let now = Duration::ZERO;
        let mut machine = AntiEntropy::new(Tempo::default());
        machine.connected(1_u8, now);
        let mut actions: VecDeque<Action<u8>> = machine.poll(now, 0).into();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Compare { peer, .. } => {
                    if let Some(difference) = self.compare() {
                        machine.differs(peer, self.room, Path::Direct, Some(difference), false, now);
                    }
                    machine.compared(&peer);
                }
                Action::Bring { ask, stretches, offers, .. } => {
                    let answer = self.ask(Request::Bring { room: Tag::of(self.room.hash()), stretches, offers });
                    let Response::Brought { events, more } = answer else { panic!("{answer:?}") };
                    let mut reached = BTreeMap::new();
                    for event in events {
                        let event = event.decode().unwrap().trust();
                        let header = event.header();
                        reached.insert((Tag::of(header.origin.as_bytes()), header.lane), header.seq);
                        self.asking.add(event);
                    }
                    machine.answered(ask, Outcome::Brought { reached, waiting: 0, more }, now);
                }
                Action::Review { room, .. } => machine.reviewed(room, &[], now),
                Action::PullWhole { .. } => panic!("whole vectors are for those that brief ones do not help"),
            }
            actions.extend(machine.poll(now, 0));
        }
    }
}

fn servers(count: u8) -> Vec<Server> {
    (1..=count).map(|seed| Server::new(seed, "somebody")).collect()
}

fn stays_within_its_bound(servers: &[Server], longest: usize) {
    let events = talk(servers, longest);
    for count in ROOMS.into_iter().filter(|count| *count <= longest) {
        // Servers of which nothing is there yet are not in the room; the one that asks is.
        let inside = servers.len().min(count).max(2);
        for missing in MISSING.into_iter().filter(|missing| *missing <= count) {
            let (asking, answering) = (Side::holding(&events[..count - missing]), Side::holding(&events[..count]));
            let mut exchange = Exchange { room: events[0].room(), asking, answering, bytes: 0 };
            exchange.run();
            assert_eq!(exchange.asking.have, exchange.answering.have, "{missing} of {count}");
            let least = size(&events[count - missing..count]);
            let most = least + least / 10 + 64 * inside;
            let bytes = exchange.bytes;
            assert!(bytes <= most, "{missing} of {count}, {inside} servers: {bytes} bytes for {least}, {most} allowed");
        }
    }
}

#[test]
fn what_is_missing_costs_a_tenth_more_than_itself_and_64_bytes_for_each_of_two_servers() {
    stays_within_its_bound(&servers(2), 1_200);
}

#[test]
fn it_costs_no_more_in_a_room_of_ten_thousand_events() {
    stays_within_its_bound(&servers(3), 10_000);
}

#[test]
fn it_costs_no_more_with_as_many_servers_as_are_told_at_once_and_with_one_more() {
    stays_within_its_bound(&servers(16), 300);
    stays_within_its_bound(&servers(17), 300);
}

#[test]
fn it_costs_no_more_with_many_servers() {
    stays_within_its_bound(&servers(120), 1_200);
}

#[test]
fn where_nothing_is_missing_a_comparison_takes_less_than_two_hundred_bytes() {
    for servers in [servers(2), servers(40)] {
        let events = talk(&servers, 100);
        let (asking, answering) = (Side::holding(&events), Side::holding(&events));
        let mut exchange = Exchange { room: events[0].room(), asking, answering, bytes: 0 };
        exchange.run();
        assert!(exchange.bytes < 200, "{} bytes", exchange.bytes);
    }
}
