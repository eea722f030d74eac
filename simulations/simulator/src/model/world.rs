//! Everything that there is in a run, and the loop that goes from one moment to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocketmesh_protocol::event::Placement;
use rocketmesh_protocol::id::{EventId, RoomId};

use super::agenda::{Action, Agenda, Micros, SECOND, micros};
use super::dice::Dice;
use super::letter::{Letter, What};
use super::lines::{Lines, PATIENCE};
use super::seat::{Room, Seat, Server};
use super::settings::Settings;
use super::speak::Word;
use super::{ModelError, Options, Outcome, found};
use crate::observe::Observer;
use crate::plan::{Do, Plan};
use crate::record::About;
use crate::sabotage::Sabotage;

/// Within which time servers call each other when the run begins.
const FIRST_CALLS: Micros = 5 * SECOND;
/// How many moments are recorded.
const MOMENTS: Micros = 300;
/// The shortest time for settling: the last words have to be said.
const LEAST_SETTLING: Micros = 2 * SECOND;

/// Everything.
pub(super) struct World {
    pub(super) plan: Arc<Plan>,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) settings: Settings,
    pub(super) observer: Observer,
    pub(super) agenda: Agenda,
    pub(super) now: Micros,
    pub(super) dice: Dice,
    pub(super) lines: Lines,
    pub(super) servers: Vec<Server>,
    pub(super) rooms: Vec<Room>,
    /// The rooms' numbers by their names.
    room_numbers: BTreeMap<RoomId, u32>,
    pub(super) seats: Vec<Seat>,
    /// By seat: its server.
    pub(super) server_of: Vec<u32>,
    /// Servers that are connected, and in how many rooms.
    pub(super) pairs: BTreeMap<(u32, u32), u32>,
    /// Seats that want nothing more of other ones, the first of the second, and how much garbage came of whom.
    pub(super) excluded: BTreeSet<(u32, u32)>,
    pub(super) junk: BTreeMap<(u32, u32), u32>,
    /// By room: events that the rules refuse and a sabotage lets in.
    pub(super) lawless: BTreeSet<(u32, u32)>,
    /// By seat: the place in the room to which it dates its events back.
    pub(super) old_places: BTreeMap<u32, Placement>,
    /// Rooms in which the last word is still to be said.
    pub(super) probes_due: usize,
    pub(super) started: Instant,
    /// How often everybody was looked at.
    pub(super) looks: usize,
    about: About,
    actions: u64,
}

impl World {
    /// The world of a plan before anything happens.
    pub(super) fn new(plan: Arc<Plan>, options: Options) -> Result<Self, ModelError> {
        let Options { sabotage, trace_file, about } = options;
        let started = Instant::now();
        let mut observer = Observer::new(Arc::clone(&plan));
        if let Some(file) = trace_file {
            observer.trace_to(file);
        }
        let mut servers = found::servers(&plan);
        let (rooms, seats) = found::rooms(&plan, &mut servers)?;
        for (number, room) in rooms.iter().enumerate() {
            for stored in room.archive.iter() {
                observer.register(Arc::clone(&stored.event), number, stored.maker as usize);
            }
        }
        Ok(World {
            looks: 0,
            settings: Settings::of(&plan.scenario.mesh),
            dice: Dice::new(plan.seed, "model"),
            lines: Lines::new(&plan),
            server_of: seats.iter().map(|seat| seat.server).collect(),
            probes_due: rooms.len(),
            room_numbers: (0..).zip(&rooms).map(|(number, room)| (room.archive.room(), number)).collect(),
            sabotage,
            observer,
            agenda: Agenda::default(),
            now: 0,
            servers,
            rooms,
            seats,
            pairs: BTreeMap::new(),
            excluded: BTreeSet::new(),
            junk: BTreeMap::new(),
            lawless: BTreeSet::new(),
            old_places: BTreeMap::new(),
            started,
            about,
            actions: 0,
            plan,
        })
    }

    /// The virtual time.
    pub(super) fn time(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// Runs everything: the warm-up, the plan, the last words, and until all have settled or the time is over.
    pub(super) fn run(&mut self, progress: &mut dyn FnMut(Duration, Duration)) {
        let plan = Arc::clone(&self.plan);
        let warm_up = micros(plan.scenario.warm_up.0);
        let over = warm_up + micros(plan.duration());
        let last = over + micros(plan.scenario.settle.0).max(LEAST_SETTLING);
        let every = (last / MOMENTS).max(SECOND);
        let (mut tick, mut check) = (every, over + LEAST_SETTLING);
        let (mut closed, mut probed) = (false, false);
        let mut steps = plan.steps.iter().peekable();
        self.begin_run(warm_up.min(2 * FIRST_CALLS) / 2);
        loop {
            // What lies beyond the end of the faults is not done any more, but that everybody comes in.
            let step = steps.peek().map(|step| warm_up + micros(step.at)).filter(|at| *at <= over && !closed);
            let close = (!closed).then_some(over);
            let probe = (closed && !probed).then_some(over + SECOND);
            let look = probed.then_some(check);
            let action = self.agenda.next_at();
            let due = [step, close, probe, look, action, Some(tick), Some(last)];
            let at = due.into_iter().flatten().min().unwrap_or(last);
            self.now = at;
            if step == Some(at) {
                if let Some(step) = steps.next() {
                    self.perform(&step.what);
                }
            } else if close == Some(at) {
                closed = true;
                self.end_faults();
                for step in steps.by_ref() {
                    if let Do::Join { room, member } = step.what {
                        self.join(room, member);
                    }
                }
            } else if probe == Some(at) {
                probed = true;
                (0..self.rooms.len()).for_each(|room| self.probe(room, 0));
            } else if at >= last {
                break;
            } else if look == Some(at) {
                check += SECOND;
                if self.is_settled() {
                    break;
                }
            } else if tick == at {
                tick += every;
                self.tick();
                progress(self.time(), Duration::from_micros(last));
            } else if let Some(action) = self.agenda.pop() {
                self.actions += 1;
                self.handle(action);
            }
        }
        self.tick();
        progress(self.time(), Duration::from_micros(last));
    }

    /// Closes the books.
    pub(super) fn finish(mut self) -> Outcome {
        self.look_at_the_end();
        let (servers, links) = (self.server_rows(), self.link_rows());
        let about = About { wall_s: self.started.elapsed().as_secs_f64(), ..self.about.clone() };
        let time = self.time();
        Outcome { record: self.observer.finish(time, about, servers, links), actions: self.actions }
    }

    fn begin_run(&mut self, within: Micros) {
        self.announce_disturbances();
        for server in 0..self.servers.len() as u32 {
            self.wake(server);
        }
        for at in 0..self.seats.len() as u32 {
            if self.seats[at as usize].joined {
                self.choose_company(at, within);
            }
        }
        self.prepare_harm();
    }

    /// Every fault is over.
    fn end_faults(&mut self) {
        self.lines.mend_all();
        for server in 0..self.servers.len() as u32 {
            self.start(server);
        }
    }

    fn perform(&mut self, what: &Do) {
        match what {
            Do::Say { room, member, text } => self.speak(*room, *member, Word::Say(Arc::clone(text))),
            Do::Deed { room, by, act, whom } => {
                let whom = whom.map(|member| member as u32);
                self.speak(*room, *by, Word::Deed { act: *act, whom });
            }
            Do::Join { room, member } => self.join(*room, *member),
            Do::Stop(server) => self.stop(*server as u32),
            Do::Crash(server) => self.crash(*server as u32),
            Do::Start(server) => self.start(*server as u32),
            Do::Cut { number, side } => {
                let mended = |what: &Do| matches!(what, Do::Mend { number: of } if of == number);
                let mend = self.plan.steps.iter().find(|step| mended(&step.what)).map(|step| micros(step.at));
                let lasts = micros(self.plan.duration());
                let until = micros(self.plan.scenario.warm_up.0) + mend.unwrap_or(lasts).min(lasts);
                self.cut(*number, side, until);
            }
            Do::Mend { number } => self.mend(*number),
        }
    }

    /// Whether something was meant for the life that the seat's server is in.
    fn lives(&self, at: u32, life: u32) -> bool {
        self.is_in(self.server_of[at as usize], life)
    }

    /// Whether a server is in this life still.
    fn is_in(&self, server: u32, life: u32) -> bool {
        self.servers[server as usize].life == life
    }

    /// The number of a room.
    pub(super) fn number_of(&self, room: &RoomId) -> Option<u32> {
        self.room_numbers.get(room).copied()
    }

    /// A server's seat in a room.
    pub(super) fn seat_in(&self, server: u32, room: u32) -> Option<u32> {
        let seats = &self.servers[server as usize].seats;
        let place = seats.binary_search_by_key(&room, |at| self.seats[*at as usize].room).ok()?;
        Some(seats[place])
    }

    /// A server's seat in a room that it takes part in.
    pub(super) fn joined_seat(&self, server: u32, room: u32) -> Option<u32> {
        self.seat_in(server, room).filter(|at| self.seats[*at as usize].joined)
    }

    fn handle(&mut self, action: Action) {
        match action {
            Action::Arrive(letter) => self.arrive(letter),
            Action::Post { from, to, life, bytes, what } if self.is_in(from, life) => {
                self.dispatch(from, to, bytes, what);
            }
            Action::Beat { server, life } if self.is_in(server, life) => self.beat(server, life),
            Action::Flush { seat, life, upto } if self.lives(seat, life) => self.flushed(seat, upto),
            Action::Alarm { server, life } if self.is_in(server, life) => self.alarm(server),
            Action::Look { seat, peer, life } if self.lives(seat, life) => self.look(seat, peer),
            Action::Repair { seat, life } if self.lives(seat, life) => self.repair_due(seat),
            Action::Dial { seat, peer, life } if self.lives(seat, life) => self.dialled(seat, peer),
            Action::Break { seat, peer } => self.give_up(seat, peer),
            Action::Merge { seat, life } if self.lives(seat, life) => self.merge_due(seat),
            Action::OwnChain { seat, life } if self.lives(seat, life) => self.ask_own_chain(seat),
            Action::Obtain { seat, life } if self.lives(seat, life) => self.obtain(seat),
            Action::Harm { seat, round } => self.do_harm(seat, round),
            // Meant for a life that is over.
            _ => {}
        }
    }

    /// A message is there, or as far as a cut or the receiver's line lets it come.
    fn arrive(&mut self, mut letter: Letter) {
        let (sender, receiver) = (self.server_of[letter.from as usize], self.server_of[letter.to as usize]);
        if self.servers[receiver as usize].life != letter.life {
            let time = self.time();
            self.observer.trace(time, format_args!("lost {sender} {receiver}"));
            return;
        }
        if let Some((since, until)) = self.lines.cut_between(sender, receiver) {
            if until.saturating_sub(since) <= PATIENCE {
                // It is sent again until it comes through.
                let there = until + self.lines.way(sender, receiver);
                self.agenda.push(there.max(self.now + 1), Action::Arrive(letter));
            } else {
                let time = self.time();
                self.observer.trace(time, format_args!("lost {sender} {receiver}"));
            }
            return;
        }
        let turn = if letter.whole { None } else { self.lines.admit(self.now, receiver, letter.bytes) };
        if let Some(over) = turn {
            letter.whole = true;
            self.agenda.push(over, Action::Arrive(letter));
            return;
        }
        self.servers[receiver as usize].bytes_in += u64::from(letter.bytes);
        let Letter { from, to, what, .. } = letter;
        match what {
            What::Event(number) => self.heard(from, to, number),
            What::Junk => self.junk(from, to),
            What::Graft => self.grafted(from, to),
            What::Prune => self.pruned(from, to),
            What::Have(ids) => self.told_ids(from, to, &ids),
            What::Want(ids) => self.asked_for(from, to, &ids),
            What::Ask(ask) => self.asked(sender, receiver, &ask),
            What::Answer(answer) => self.answered(sender, receiver, *answer),
        }
    }
}

/// Whether a server has an event in its store.
pub(super) fn holds(servers: &[Server], seats: &[Seat], rooms: &[Room], server: u32, id: &EventId) -> bool {
    servers[server as usize].seats.iter().map(|at| &seats[*at as usize]).any(|seat| {
        let number = rooms[seat.room as usize].archive.number(id);
        number.is_some_and(|number| seat.has.contains(number))
    })
}
