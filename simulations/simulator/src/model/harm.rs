//! Servers that mean harm. In all that is not said here they behave like others.
//!
//! | harm | what is done |
//! |---|---|
//! | flood | 50 messages a second in each room for 30 seconds |
//! | fork | every 10 seconds two events for one place of the chain, one for each half of the neighbours |
//! | back-date | every 15 seconds a message at the state that the room had when the talk began |
//! | withhold | nothing is passed on or answered |
//! | garbage | fifteen pieces of garbage a second, each to some neighbour |
//! | lie | whoever asks is shown chains that nobody has; nothing is brought |
//! | spoil | in whatever is brought, an event in the middle does not verify |
//! | eclipse | as withhold, and every such server calls the first honest server of the room that is no bootstrap |

use rocketmesh_protocol::event::{Content, Event, Lane, Placement};

use super::agenda::{Action, MILLISECOND, Micros, SECOND, micros};
use super::drafts;
use super::letter::{FRAME, What, traffic};
use super::world::World;
use crate::scenario::Harm;

const FLOOD_EVERY: Micros = 20 * MILLISECOND;
const FLOODS: u32 = 1_500;
const FLOOD_LASTS: Micros = FLOODS as u64 * FLOOD_EVERY;
const FORK_EVERY: Micros = 10 * SECOND;
const BACK_DATE_EVERY: Micros = 15 * SECOND;
const GARBAGE_EVERY: Micros = 200 * MILLISECOND;
const GARBAGE_AT_ONCE: usize = 3;
const GARBAGE_BYTES: u32 = 600;

impl World {
    /// Puts down what hostile servers will do.
    pub(super) fn prepare_harm(&mut self) {
        let warm_up = micros(self.plan.scenario.warm_up.0);
        let lasts = micros(self.plan.duration());
        for at in 0..self.seats.len() as u32 {
            let seat = &self.seats[at as usize];
            let begins = match self.servers[seat.server as usize].harm {
                Some(Harm::Flood) => self.dice.within(lasts.saturating_sub(FLOOD_LASTS)),
                Some(Harm::Fork) => self.dice.within(FORK_EVERY),
                Some(Harm::Garbage) => self.dice.within(GARBAGE_EVERY),
                Some(Harm::BackDate) => 0,
                Some(Harm::Eclipse) => {
                    if let Some(victim) = self.victim(seat.room) {
                        self.begin(at, victim, SECOND);
                    }
                    continue;
                }
                Some(Harm::Withhold | Harm::Lie | Harm::Spoil) | None => continue,
            };
            self.agenda.push(warm_up + begins, Action::Harm { seat: at, round: 0 });
        }
    }

    /// Whom servers crowd around.
    fn victim(&self, room: u32) -> Option<u32> {
        let homes = &self.rooms[room as usize].homes;
        homes.iter().copied().find(|home| {
            let server = self.server_of[*home as usize] as usize;
            self.servers[server].is_honest() && !self.plan.servers[server].bootstrap
        })
    }

    /// A hostile server does its thing, and will again.
    pub(super) fn do_harm(&mut self, at: u32, round: u32) {
        let over = micros(self.plan.scenario.warm_up.0) + micros(self.plan.duration());
        let seat = &self.seats[at as usize];
        let server = &self.servers[seat.server as usize];
        let Some(harm) = server.harm.filter(|_| self.now < over) else { return };
        let able = server.up && seat.joined;
        let pause = match harm {
            Harm::Flood => {
                if able {
                    self.flood(at, round);
                }
                if round + 1 == FLOODS {
                    return;
                }
                FLOOD_EVERY
            }
            Harm::Fork => {
                if able {
                    self.fork(at, round);
                }
                FORK_EVERY
            }
            Harm::BackDate => {
                if able {
                    self.back_date(at, round);
                }
                BACK_DATE_EVERY
            }
            Harm::Garbage => {
                if able {
                    self.litter(at);
                }
                GARBAGE_EVERY
            }
            Harm::Withhold | Harm::Eclipse | Harm::Lie | Harm::Spoil => return,
        };
        self.agenda.push(self.now + pause, Action::Harm { seat: at, round: round + 1 });
    }

    fn flood(&mut self, at: u32, round: u32) {
        let placement = self.placement(at, Lane::Timeline);
        if let Some(event) = self.hostile_message(at, placement, &format!("flood {round}")) {
            self.adopt(at, event, true);
            self.settle(at);
        }
    }

    /// Two events for one place: this server has both, and every neighbour hears of one.
    fn fork(&mut self, at: u32, round: u32) {
        let place = self.placement(at, Lane::Timeline);
        for (side, text) in ["one side", "the other side"].into_iter().enumerate() {
            let text = format!("fork {round}, {text}");
            let Some(event) = self.hostile_message(at, place.clone(), &text) else { return };
            let Some(number) = self.adopt(at, event, false) else { return };
            if side == 1 {
                self.rooms[self.seats[at as usize].room as usize].forks += 1;
            }
            let bytes = self.rooms[self.seats[at as usize].room as usize].archive.get(number).bytes + FRAME;
            for neighbour in 0..self.seats[at as usize].company.len() {
                if neighbour % 2 == side && self.seats[at as usize].company[neighbour].up {
                    self.send(at, neighbour, bytes, traffic::PAYLOAD, What::Event(number));
                }
            }
        }
        self.settle(at);
    }

    /// A message that pretends not to have seen anything since the talk began but the server's own words.
    fn back_date(&mut self, at: u32, round: u32) {
        let now = self.placement(at, Lane::Timeline);
        let old = self.old_places.entry(at).or_insert_with(|| now.clone()).clone();
        let archive = &self.rooms[self.seats[at as usize].room as usize].archive;
        let named = old.parents.iter().chain(&old.state_frontier).chain(now.self_parent.iter().map(|(id, _)| id));
        let lamport = 1 + named.map(|id| archive.lamport(id)).max().unwrap_or(0);
        let placement = Placement { self_parent: now.self_parent, lamport, ..old };
        if let Some(event) = self.hostile_message(at, placement, &format!("long ago {round}")) {
            self.adopt(at, event, true);
            self.settle(at);
        }
    }

    fn litter(&mut self, at: u32) {
        for _ in 0..GARBAGE_AT_ONCE {
            let company = &self.seats[at as usize].company;
            let connected: Vec<usize> = (0..company.len()).filter(|place| company[*place].up).collect();
            if let Some(place) = self.dice.pick(&connected) {
                self.send(at, place, GARBAGE_BYTES, traffic::PAYLOAD, What::Junk);
            }
        }
    }

    /// A message by the server's first user in the room.
    fn hostile_message(&mut self, at: u32, placement: Placement, text: &str) -> Option<Event> {
        let room = &self.rooms[self.seats[at as usize].room as usize];
        let member = room.homes.iter().position(|home| *home == at)?;
        let user = room.users[member].clone();
        let time_ms = self.time_ms(at);
        let content = Content::Message { thread: None };
        let draft = drafts::draft(&mut self.dice, time_ms, Some(&user), &content, Some(("text", text)));
        self.sign(at, placement, draft)
    }
}
