//! Tips: many servers write at once, and a room stays in one piece.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::convert::Infallible;

use rocketmesh_protocol::event::{Content, Draft, Event, Lane, RoomVersion, author};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::limits::{MAX_PARENTS, MERGE_ABOVE};
use rocketmesh_protocol::resolution::Resolver;
use rocketmesh_protocol::room::Outline;
use support::Server;
use support::room::{NONCE, TIME_MS, create, draft, join};

const WRITERS: usize = 1_000;

struct Crowd {
    servers: Vec<Server>,
    outline: Outline,
    resolver: Resolver,
    count: usize,
}

impl Crowd {
    fn gather() -> Self {
        let servers: Vec<Server> = (0..WRITERS)
            .map(|at| {
                let mut seed = [0; 32];
                seed[..8].copy_from_slice(&(at as u64 + 1).to_be_bytes());
                Server::with_seed(&seed, "somebody")
            })
            .collect();
        let create = create(&servers[0], rocketmesh_protocol::event::RoomType::Channel, NONCE);
        let mut crowd = Crowd {
            servers,
            outline: Outline::new(create.room(), RoomVersion::DRAFT),
            resolver: Resolver::new(),
            count: 0,
        };
        crowd.take(&create);
        for at in 1..WRITERS {
            let server = crowd.servers[at].clone();
            let event = crowd.author(&server, join(&server));
            crowd.take(&event);
        }
        crowd
    }

    fn author(&mut self, server: &Server, draft: Draft) -> Event {
        self.count += 1;
        let lane = if draft.state_key.is_some() { Lane::State } else { Lane::Timeline };
        // Nothing here reads lamport times but the tips, which know their own.
        let placement = self.outline.placement(server.key.origin(), lane, |_: &EventId| Ok::<u64, Infallible>(1));
        let Ok(placement) = placement;
        author(&server.key, placement, Draft { time_ms: TIME_MS + self.count as u64, ..draft }).unwrap()
    }

    fn take(&mut self, event: &Event) {
        self.outline.add(event, true);
        self.resolver.insert(event);
    }

    /// Every server writes before it hears of any other.
    fn all_at_once(&mut self, state: bool) {
        let drafts = |server: &Server| Draft {
            kind: "org.example.note".to_owned(),
            state_key: state.then(|| server.user.to_string()),
            ..draft(Some(&server.user), &Content::Message { thread: None }, None)
        };
        let events: Vec<Event> =
            self.servers.clone().iter().map(|server| self.author(server, drafts(server))).collect();
        events.iter().for_each(|event| self.take(event));
    }

    /// Some servers join tips, each before it hears of the others.
    fn merge(&mut self, lane: Lane, servers: std::ops::Range<usize>) {
        let merge = Draft { state_key: (lane == Lane::State).then(String::new), ..draft(None, &Content::Merge, None) };
        let events: Vec<Event> =
            self.servers[servers].to_vec().iter().map(|server| self.author(server, merge.clone())).collect();
        events.iter().for_each(|event| self.take(event));
    }

    fn tips(&self, lane: Lane) -> usize {
        self.outline.tips(lane).len()
    }
}

#[test]
fn a_thousand_writers_never_leave_more_tips_than_there_are_servers_and_few_once_they_are_quiet() {
    let mut crowd = Crowd::gather();
    assert_eq!(crowd.tips(Lane::State), 1, "who joins names who joined before");
    for lane in Lane::ALL {
        for _ in 0..3 {
            crowd.all_at_once(lane == Lane::State);
            assert!(crowd.tips(lane) <= WRITERS, "{} tips", crowd.tips(lane));
        }
        // In each round as many servers act before they hear of each other as it would take if none did the same as another.
        let mut rounds = 0;
        while crowd.tips(lane) > MERGE_ABOVE {
            let acting = crowd.tips(lane).div_ceil(MAX_PARENTS);
            crowd.merge(lane, rounds * 100..rounds * 100 + acting);
            rounds += 1;
            assert!(rounds <= 8, "{} tips after {rounds} rounds", crowd.tips(lane));
        }
        assert!(crowd.tips(lane) <= MAX_PARENTS);
    }
    let tips: Vec<EventId> = crowd.outline.tips(Lane::State).keys().copied().collect();
    let mut known: Vec<EventId> = crowd.resolver.tips().collect();
    known.sort_unstable();
    assert_eq!(known, tips);
    assert_eq!(crowd.resolver.current().unwrap().joined().count(), WRITERS);
}
