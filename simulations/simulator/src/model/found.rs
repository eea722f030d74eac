//! Rooms as they are when the run begins: made, joined and with their roles given, one event after the other.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use rocketmesh_protocol::event::{Content, Draft, Event, Lane, Placement, Role, RoomType, RoomVersion, author};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::{Localpart, ServerKey, UserId};
use rocketmesh_protocol::receipt::{Receipt, receive};
use rocketmesh_protocol::resolution::Resolver;
use rocketmesh_protocol::room::Outline;

use super::ModelError;
use super::agenda::micros;
use super::archive::{Archive, Graph};
use super::dice::Dice;
use super::drafts::{self, BEGINNING_MS};
use super::marks::Marks;
use super::minds::Minds;
use super::seat::{Room, Seat, Server, Template};
use super::settings::Settings;
use super::sketches::Sketches;
use super::sync::Syncing;
use crate::plan::{Plan, RoomPlan};
use crate::random::Random;

/// How long before the run the rooms were made, in milliseconds.
const BEFORE_MS: u64 = 24 * 3600 * 1_000;

/// The servers of a plan, each with the key that follows from the seed.
pub(super) fn servers(plan: &Plan) -> Vec<Server> {
    let mut seeds = Random::new(plan.seed, "server keys");
    let compare_every = Settings::of(&plan.scenario.mesh).compare_every;
    let server = |server: &crate::plan::ServerPlan| {
        let mut seed = [0; 32];
        seeds.fill(&mut seed);
        let key = ServerKey::from_seed(&seed);
        Server {
            origin: key.origin(),
            key,
            harm: server.hostile,
            nat: server.nat,
            flush: micros(server.flush),
            skew_ms: server.skew_ms,
            up: true,
            life: 0,
            seats: Vec::new(),
            links: 0,
            sync: Syncing::new(compare_every),
            restarts: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    };
    plan.servers.iter().map(server).collect()
}

/// The rooms of a plan and everybody's seats in them.
pub(super) fn rooms(plan: &Plan, servers: &mut [Server]) -> Result<(Vec<Room>, Vec<Seat>), ModelError> {
    let mut dice = Dice::new(plan.seed, "model rooms");
    let (mut rooms, mut seats) = (Vec::new(), Vec::new());
    for (number, room) in plan.rooms.iter().enumerate() {
        rooms.push(found(number as u32, room, servers, &mut seats, &mut dice)?);
    }
    Ok((rooms, seats))
}

fn found(
    number: u32,
    plan: &RoomPlan,
    servers: &mut [Server],
    seats: &mut Vec<Seat>,
    dice: &mut Dice,
) -> Result<Room, ModelError> {
    let users = users(plan, servers)?;
    let mut founding = Founding::begin(plan, servers, &users, dice)?;
    let present = || plan.members.iter().zip(&users).take(plan.present.max(1));
    for (member, user) in present().skip(1) {
        let draft = drafts::draft(dice, founding.time_ms(), Some(user), &drafts::join(user), None);
        founding.write(member.server, &servers[member.server], draft)?;
    }
    let (maker, creator) = (plan.members[0].server, &users[0]);
    let given = present().skip(1).filter_map(|(member, user)| match (member.owner, member.moderator) {
        (true, _) => Some((user, Role::Owner)),
        (false, true) => Some((user, Role::Moderator)),
        (false, false) => None,
    });
    for (user, role) in given {
        let draft = drafts::draft(dice, founding.time_ms(), Some(creator), &drafts::role(user, role), None);
        founding.write(maker, &servers[maker], draft)?;
    }
    let mut room = founding.finish(users);
    let mut by_server: BTreeMap<usize, u32> = BTreeMap::new();
    for (place, member) in plan.members.iter().enumerate() {
        let home = *by_server.entry(member.server).or_insert_with(|| {
            let home = seats.len() as u32;
            // Members who were there come first, so that a server's first one tells whether it was.
            seats.push(room.seat(number, member.server as u32, place < plan.present.max(1)));
            servers[member.server].seats.push(home);
            room.seats.push(home);
            home
        });
        room.homes.push(home);
    }
    Ok(room)
}

fn users(plan: &RoomPlan, servers: &[Server]) -> Result<Vec<UserId>, ModelError> {
    let user = |member: &crate::plan::Member| {
        let localpart: Localpart =
            member.user.parse().map_err(|reason| ModelError::Name { room: plan.name.clone(), reason })?;
        Ok(UserId { origin: servers[member.server].origin, localpart })
    };
    plan.members.iter().map(user).collect()
}

impl Room {
    fn seat(&mut self, room: u32, server: u32, present: bool) -> Seat {
        if present {
            self.joined += 1;
            self.minds.enter(self.template.mind);
            Seat::founding(room, server, &self.template)
        } else {
            let mind = self.minds.enter_empty();
            Seat::empty(room, server, &self.archive, mind)
        }
    }
}

/// A room that is being made.
struct Founding {
    name: String,
    archive: Archive,
    has: Marks,
    outline: Outline,
    resolver: Resolver,
}

impl Founding {
    fn begin(plan: &RoomPlan, servers: &[Server], users: &[UserId], dice: &mut Dice) -> Result<Self, ModelError> {
        let (Some(member), Some(user)) = (plan.members.first(), users.first()) else {
            return Err(ModelError::Empty(plan.name.clone()));
        };
        let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
        let name = Some(("name", plan.name.as_str()));
        let draft = drafts::draft(dice, BEGINNING_MS - BEFORE_MS, Some(user), &content, name);
        let create = sign(&plan.name, &servers[member.server].key, Placement::first(), draft)?;
        let mut founding = Founding {
            name: plan.name.clone(),
            archive: Archive::new(create.room()),
            has: Marks::default(),
            outline: Outline::new(create.room(), RoomVersion::DRAFT),
            resolver: Resolver::new(),
        };
        founding.take_in(create, member.server)?;
        Ok(founding)
    }

    /// A second after the event before.
    fn time_ms(&self) -> u64 {
        BEGINNING_MS - BEFORE_MS + u64::from(self.archive.len()) * 1_000
    }

    fn write(&mut self, number: usize, server: &Server, draft: Draft) -> Result<(), ModelError> {
        let lane = if draft.state_key.is_some() { Lane::State } else { Lane::Timeline };
        let lamport = |id: &EventId| Ok::<u64, Infallible>(self.archive.lamport(id));
        let Ok(placement) = self.outline.placement(server.origin, lane, lamport);
        let event = sign(&self.name, &server.key, placement, draft)?;
        self.take_in(event, number)
    }

    fn take_in(&mut self, event: Event, maker: usize) -> Result<(), ModelError> {
        let graph = Graph { archive: &self.archive, has: &self.has };
        let Ok(receipt) = receive(&event, &graph, self.outline.have(), &mut self.resolver);
        if !matches!(receipt, Receipt::Accepted { .. }) {
            return Err(ModelError::Refused { room: self.name.clone(), reason: format!("{receipt:?}") });
        }
        self.outline.add(&event, true);
        self.resolver.insert(&event);
        let number = self.archive.add(Arc::new(event), maker as u32);
        self.has.insert(number);
        Ok(())
    }

    /// The room without anybody's seat.
    fn finish(self, users: Vec<UserId>) -> Room {
        let mut minds = Minds::default();
        // Any path will do that no sequence of numbers hashes to.
        let mind = minds.enter_new(self.resolver, [1; 32]);
        let template = Template {
            outline: Arc::new(self.outline),
            mind,
            print: self.archive.iter().fold(0, |print: u64, stored| print.wrapping_add(stored.print())),
            bytes: self.archive.iter().map(|stored| u64::from(stored.bytes)).sum(),
            has: self.has,
        };
        Room {
            archive: self.archive,
            minds,
            template,
            users,
            homes: Vec::new(),
            seats: Vec::new(),
            joined: 0,
            forks: 0,
            sketches: Sketches::default(),
        }
    }
}

fn sign(room: &str, key: &ServerKey, placement: Placement, draft: Draft) -> Result<Event, ModelError> {
    author(key, placement, draft).map_err(|reason| ModelError::Author { room: room.to_owned(), reason })
}
