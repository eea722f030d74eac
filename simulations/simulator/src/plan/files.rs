//! What a scenario comes to of files and of full disks. It stands apart from the other steps, since only the real layer takes it.

use std::sync::Arc;
use std::time::Duration;

use super::{RoomPlan, ServerPlan, end};
use crate::random::Random;
use crate::scenario::{Scenario, SentFiles, Talk};

/// How long after a message somebody asks for its file, on average.
const ASKED_AFTER: Duration = Duration::from_secs(10);
/// How long a message stands at least before it is taken back.
const STANDS_FOR: Duration = Duration::from_secs(1);

/// Files and disks of a run.
#[derive(Clone, Debug, Default)]
pub struct FilePlan {
    /// Messages that name a file, by number.
    pub messages: Vec<FileMessage>,
    /// How many bytes each file has, by number.
    pub sizes: Vec<usize>,
    /// What happens, by time.
    pub steps: Vec<FileStep>,
}

/// A message that names a file.
#[derive(Clone, Debug)]
pub struct FileMessage {
    /// In which room.
    pub room: usize,
    /// Which member says it.
    pub member: usize,
    /// What they say.
    pub text: Arc<str>,
    /// The number of the file.
    pub file: usize,
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub struct FileStep {
    /// When.
    pub at: Duration,
    /// What.
    pub what: FileDo,
}

/// What can happen to files and disks.
#[derive(Clone, Copy, Debug)]
pub enum FileDo {
    /// The message of this number is said.
    Send(usize),
    /// It is taken back by whoever said it.
    TakeBack(usize),
    /// A member asks for its file.
    Ask {
        /// The message.
        message: usize,
        /// The member.
        member: usize,
    },
    /// A server's disk is nearly full from now on.
    Fill(usize),
    /// There is space on it again.
    Clear(usize),
}

/// Draws the files of one talk in one room.
pub(super) struct Sender<'a> {
    random: Random,
    files: &'a SentFiles,
    room: usize,
    /// Who may ask: members from the beginning on honest servers.
    askers: &'a [usize],
    /// Files that were sent by this.
    sent: Vec<usize>,
}

impl<'a> Sender<'a> {
    /// None for a talk without files.
    pub(super) fn of(talk: &'a Talk, seed: u64, number: usize, room: usize, askers: &'a [usize]) -> Option<Self> {
        let random = Random::new(seed, &format!("files of talk {number} in room {room}"));
        Some(Sender { random, files: talk.files.as_ref()?, room, askers, sent: Vec::new() })
    }

    /// Whether a message names a file. If so, it is planned with all that follows from it, up to `until`.
    pub(super) fn takes(
        &mut self,
        plan: &mut FilePlan,
        at: Duration,
        until: Duration,
        member: usize,
        text: &Arc<str>,
    ) -> bool {
        if !self.random.chance(self.files.share) {
            return false;
        }
        let file = self.file(plan);
        let message = plan.messages.len();
        plan.messages.push(FileMessage { room: self.room, member, text: Arc::clone(text), file });
        let mut step = |at: Duration, what| {
            if at < until {
                plan.steps.push(FileStep { at, what });
            }
        };
        step(at, FileDo::Send(message));
        if self.random.chance(self.files.taken_back) {
            step(at + STANDS_FOR + self.random.wait(self.files.after.0), FileDo::TakeBack(message));
        }
        for asker in self.askers.iter().filter(|asker| **asker != member) {
            if self.random.chance(self.files.asked) {
                step(at + self.random.wait(ASKED_AFTER), FileDo::Ask { message, member: *asker });
            }
        }
        true
    }

    /// A new file, or one that was sent before.
    fn file(&mut self, plan: &mut FilePlan) -> usize {
        if !self.sent.is_empty() && self.random.chance(self.files.again) {
            return self.sent[self.random.below(self.sent.len())];
        }
        let (least, most) = (self.files.bytes.0 as f64, self.files.bytes.1 as f64);
        let size = least * (most / least).powf(self.random.fraction());
        plan.sizes.push((size as usize).clamp(self.files.bytes.0, self.files.bytes.1));
        self.sent.push(plan.sizes.len() - 1);
        plan.sizes.len() - 1
    }
}

/// Members of a room from its beginning on honest servers.
pub(super) fn askers(room: &RoomPlan, servers: &[ServerPlan]) -> Vec<usize> {
    (0..room.present).filter(|member| servers[room.members[*member].server].hostile.is_none()).collect()
}

/// Plans full disks, and puts everything in order.
pub(super) fn finish(plan: &mut FilePlan, scenario: &Scenario, seed: u64) {
    let mut random = Random::new(seed, "full disks");
    let all: Vec<usize> = (0..scenario.servers).collect();
    for full in scenario.full_disk.iter().filter(|full| full.at < full.until && full.at < scenario.duration) {
        for server in random.choose(&all, full.servers(scenario.servers)) {
            plan.steps.push(FileStep { at: full.at.0, what: FileDo::Fill(server) });
            plan.steps.push(FileStep { at: end(Some(full.until), scenario), what: FileDo::Clear(server) });
        }
    }
    // Stable, as the other steps are.
    plan.steps.sort_by_key(|step| step.at);
}
