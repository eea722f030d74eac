//! What users say and do, and what servers write of their own accord.

use std::convert::Infallible;
use std::sync::Arc;

use rocketmesh_protocol::event::{Content, Draft, Event, Lane, Placement, author};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::limits::MERGE_ABOVE;
use rocketmesh_protocol::receipt::{Receipt, receive};

use super::agenda::{Action, MILLISECOND, Micros, SECOND};
use super::archive::Graph;
use super::drafts::{self, BEGINNING_MS};
use super::seat::{NOBODY, Owed};
use super::world::World;
use crate::sabotage::Sabotage;
use crate::scenario::Act;

/// How long a room of two servers may have too many tips before one joins them, and how much longer for each server.
const MERGE_DELAY: Micros = 5 * SECOND;
const MERGE_DELAY_PER_SERVER: Micros = 100 * MILLISECOND;
/// How long the first word after a start waits for somebody who knows what this server has said before: with nobody
/// connected, for one who is and does not answer, and at most.
const LONELY: Micros = 3 * SECOND;
const NEXT_WITNESS: Micros = 3 * SECOND;
const OWN_CHAIN_STALLED: Micros = 120 * SECOND;
/// How often it looks for somebody to ask.
const GLANCE: Micros = 250 * MILLISECOND;

/// What is to be written.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// A message.
    Say(Arc<str>),
    /// Something done to somebody, or to the room; to oneself where nobody is named.
    Deed {
        /// What.
        act: Act,
        /// To which member.
        whom: Option<u32>,
    },
    /// The user comes in.
    Join,
    /// The server joins tips.
    Merge,
    /// The message that everybody has to get in the end.
    Probe,
}

impl World {
    /// A member says or does something.
    pub(super) fn speak(&mut self, room: usize, member: usize, word: Word) {
        let at = self.rooms[room].homes[member];
        let server = self.server_of[at as usize];
        let seat = &self.seats[at as usize];
        if !self.servers[server as usize].up || !seat.joined {
            let time = self.time();
            self.observer.trace(time, format_args!("unsaid {server} {room}"));
            return;
        }
        if seat.found_own {
            self.write(at, member as u32, &word);
        } else {
            self.seats[at as usize].unsaid.push((member as u32, word));
            self.find_own_chain(at);
        }
    }

    /// Writes an event and returns its number; none if the server's own copy of the room refuses it.
    pub(super) fn write(&mut self, at: u32, member: u32, word: &Word) -> Option<u32> {
        let room = self.seats[at as usize].room as usize;
        let user = self.rooms[room].users[member as usize].clone();
        let message = Content::Message { thread: None };
        let (content, text) = match word {
            Word::Say(text) => (message, Some(("text", &**text))),
            Word::Probe => (message, Some(("text", "Is everybody here again?"))),
            Word::Join => (drafts::join(&user), None),
            Word::Deed { act, whom } => {
                let whom = &self.rooms[room].users[whom.unwrap_or(member) as usize];
                let topic = matches!(act, Act::Topic).then_some(("topic", "What there is to talk about"));
                (drafts::deed(*act, &user, whom), topic)
            }
            Word::Merge => return self.merge(at),
        };
        let time_ms = self.time_ms(at);
        let draft = drafts::draft(&mut self.dice, time_ms, Some(&user), &content, text);
        let number = self.author(at, draft)?;
        if matches!(word, Word::Probe) {
            self.seats[at as usize].probe = Some(number);
        }
        self.settle(at);
        Some(number)
    }

    /// What a server's clock says.
    pub(super) fn time_ms(&self, at: u32) -> u64 {
        let skew = self.servers[self.server_of[at as usize] as usize].skew_ms;
        (BEGINNING_MS + self.now / MILLISECOND).saturating_add_signed(skew)
    }

    /// Makes an event at the end of the room and takes it in. The caller settles.
    fn author(&mut self, at: u32, mut draft: Draft) -> Option<u32> {
        self.seats[at as usize].outline.sight(&mut draft);
        let lane = if draft.state_key.is_some() { Lane::State } else { Lane::Timeline };
        let placement = self.placement(at, lane);
        let event = self.sign(at, placement, draft)?;
        self.adopt(at, event, true)
    }

    /// Where the server's next event goes.
    pub(super) fn placement(&self, at: u32, lane: Lane) -> Placement {
        let seat = &self.seats[at as usize];
        let archive = &self.rooms[seat.room as usize].archive;
        let lamport = |id: &EventId| Ok::<u64, Infallible>(archive.lamport(id));
        let Ok(placement) = seat.outline.placement(self.servers[seat.server as usize].origin, lane, lamport);
        placement
    }

    /// Signs an event of the server's.
    pub(super) fn sign(&mut self, at: u32, placement: Placement, draft: Draft) -> Option<Event> {
        let server = self.server_of[at as usize];
        match author(&self.servers[server as usize].key, placement, draft) {
            Ok(event) => Some(event),
            Err(error) => {
                let time = self.time();
                self.observer.trace(time, format_args!("unsigned {server} {error}"));
                None
            }
        }
    }

    /// Takes in an event of the server's own, to be published once it is on disk. The caller settles.
    pub(super) fn adopt(&mut self, at: u32, event: Event, published: bool) -> Option<u32> {
        let event = Arc::new(event);
        let time = self.time();
        let seat = &self.seats[at as usize];
        let (room_number, server) = (seat.room as usize, seat.server);
        let room = &mut self.rooms[room_number];
        let graph = Graph { archive: &room.archive, has: &seat.has };
        let Ok(receipt) = receive(&event, &graph, seat.outline.have(), room.minds.resolver(seat.mind));
        let lawful = match receipt {
            Receipt::Accepted { .. } => true,
            Receipt::Rejected(_) if self.sabotage == Some(Sabotage::AsksNoRules) => false,
            refused => {
                self.observer.trace(time, format_args!("refused {server} {refused:?}"));
                return None;
            }
        };
        let number = room.archive.add(Arc::clone(&event), server);
        if !lawful {
            self.lawless.insert((room_number as u32, number));
        }
        self.keep(at, number, true, true);
        if published {
            let seat = &mut self.seats[at as usize];
            let upto = seat.log.len() as u32;
            seat.owed.push_back(Owed { upto, number, except: NOBODY });
        }
        if !self.servers[server as usize].is_honest() {
            self.observer.register(event, room_number, server as usize);
        } else if self.sabotage == Some(Sabotage::AcknowledgesUnflushed) {
            self.observer.said(time, server as usize, room_number, event);
        }
        Some(number)
    }

    fn is_frayed(&self, at: u32, lane: Lane) -> bool {
        self.seats[at as usize].outline.tips(lane).len() > MERGE_ABOVE
    }

    /// Sees to it that too many tips are joined after a random while, unless somebody else does so before.
    pub(super) fn mind_tips(&mut self, at: u32) {
        let seat = &self.seats[at as usize];
        let server = &self.servers[seat.server as usize];
        let frayed = Lane::ALL.into_iter().any(|lane| self.is_frayed(at, lane));
        if !frayed || seat.merging || !seat.joined || !server.is_honest() {
            return;
        }
        let state = self.rooms[seat.room as usize].minds.get(seat.mind).current();
        let servers = state.map_or(0, |state| state.servers().len()) as Micros;
        let life = server.life;
        self.seats[at as usize].merging = true;
        // The more servers there are, the longer the while, so that a few of them act and the others hear of it.
        let delay = self.dice.within(MERGE_DELAY + MERGE_DELAY_PER_SERVER * servers);
        self.agenda.push(self.now + delay, Action::Merge { seat: at, life });
    }

    /// Joins tips if there are still too many.
    pub(super) fn merge_due(&mut self, at: u32) {
        let seat = &mut self.seats[at as usize];
        seat.merging = false;
        if seat.found_own {
            self.merge(at);
        } else {
            seat.unsaid.push((0, Word::Merge));
            self.find_own_chain(at);
        }
    }

    fn merge(&mut self, at: u32) -> Option<u32> {
        let mut last = None;
        for lane in Lane::ALL {
            if !self.is_frayed(at, lane) {
                continue;
            }
            let time_ms = self.time_ms(at);
            let mut draft = drafts::draft(&mut self.dice, time_ms, None, &Content::Merge, None);
            if lane == Lane::Timeline {
                draft.state_key = None;
            }
            last = self.author(at, draft);
        }
        self.settle(at);
        last
    }

    /// Before the first word in a room since the start: asks others what this server has said there.
    fn find_own_chain(&mut self, at: u32) {
        let now = self.now;
        let seat = &mut self.seats[at as usize];
        if seat.finding.is_none() {
            seat.finding = Some(now);
            let life = self.servers[seat.server as usize].life;
            self.agenda.push(now, Action::OwnChain { seat: at, life });
        }
    }

    /// Asks one neighbour, and the next one after a while.
    pub(super) fn ask_own_chain(&mut self, at: u32) {
        let seat = &self.seats[at as usize];
        let Some(since) = seat.finding else { return };
        let waited = self.now - since;
        let connected = seat.connections();
        let life = self.servers[seat.server as usize].life;
        let Some(peer) = self.dice.pick(&connected) else {
            if waited > LONELY {
                // With nobody to ask there is nothing to wait for: whoever comes later brings what is missing.
                self.own_chain_found(at);
            } else {
                self.agenda.push(self.now + GLANCE, Action::OwnChain { seat: at, life });
            }
            return;
        };
        if waited > OWN_CHAIN_STALLED {
            self.own_chain_found(at);
            return;
        }
        self.pull(at, peer);
        self.agenda.push(self.now + NEXT_WITNESS, Action::OwnChain { seat: at, life });
    }

    /// The server knows what it has said, and says what waited for that.
    pub(super) fn own_chain_found(&mut self, at: u32) {
        let seat = &mut self.seats[at as usize];
        seat.finding = None;
        seat.found_own = true;
        let room = seat.room as usize;
        for (member, word) in std::mem::take(&mut seat.unsaid) {
            let written = self.write(at, member, &word);
            if written.is_none() && matches!(word, Word::Probe) {
                self.probe(room, member as usize + 1);
            }
        }
    }

    /// The first honest member from `first` on who may speaks in the end.
    pub(super) fn probe(&mut self, room: usize, first: usize) {
        for member in first..self.rooms[room].homes.len() {
            let at = self.rooms[room].homes[member];
            let seat = &self.seats[at as usize];
            let server = &self.servers[seat.server as usize];
            if !server.is_honest() || !server.up || !seat.joined {
                continue;
            }
            if !seat.found_own {
                self.seats[at as usize].unsaid.push((member as u32, Word::Probe));
                self.find_own_chain(at);
                return;
            }
            if self.write(at, member as u32, &Word::Probe).is_some() {
                return;
            }
        }
        // Nobody may speak: there is nothing to wait for.
        self.probes_due -= 1;
    }
}
