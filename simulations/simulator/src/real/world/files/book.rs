//! What became of messages that name files, as far as anybody was told, and what follows from it for the files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rocketmesh_protocol::id::{EventId, FileId};
use tokio::task::AbortHandle;

use crate::invariants::Fate;
use crate::plan::Plan;

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    NotYet,
    /// It is on its way, or its server died before it had answered.
    Unclear,
    Refused,
    As(EventId),
}

/// Whether it was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Back {
    #[default]
    No,
    Unclear,
    Yes,
}

#[derive(Default)]
struct State {
    /// By message.
    messages: Vec<(Said, Back)>,
    /// By file, once somebody has brought it.
    ids: Vec<Option<FileId>>,
    /// Servers and files that somebody brought there, without a message that came of it so far.
    left_over: BTreeSet<(usize, usize)>,
    /// Servers and messages whose files somebody asked for there, and whether they have got them.
    asked: BTreeMap<(usize, usize), bool>,
    /// Servers and files that were looked at there since the server was started.
    seen: BTreeSet<(usize, usize)>,
    /// By server: those who ask there.
    asking: BTreeMap<usize, Vec<AbortHandle>>,
}

/// See the file's head. Servers, messages and files go by their numbers in the plan.
pub(in crate::real::world) struct FileBook {
    /// By message: its file.
    files: Vec<usize>,
    state: Mutex<State>,
}

impl FileBook {
    pub(in crate::real::world) fn of(plan: &Plan) -> Self {
        let plan = &plan.files;
        let state = State {
            messages: vec![Default::default(); plan.messages.len()],
            ids: vec![None; plan.sizes.len()],
            ..State::default()
        };
        FileBook { files: plan.messages.iter().map(|message| message.file).collect(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody brings a file to a server, for a message.
    pub(super) fn begins(&self, server: usize, message: usize, id: FileId) {
        let (mut state, file) = (self.lock(), self.files[message]);
        state.messages[message].0 = Said::Unclear;
        state.ids[file] = Some(id);
        state.left_over.insert((server, file));
    }

    /// The message was acknowledged.
    pub(super) fn said(&self, server: usize, message: usize, event: EventId) {
        let mut state = self.lock();
        state.messages[message].0 = Said::As(event);
        state.left_over.remove(&(server, self.files[message]));
    }

    /// The message was refused for sure.
    pub(super) fn refused(&self, message: usize) {
        self.lock().messages[message].0 = Said::Refused;
    }

    /// The event of a message that is to be taken back; none if it was not acknowledged.
    pub(super) fn takes_back(&self, message: usize) -> Option<EventId> {
        let mut state = self.lock();
        let Said::As(event) = state.messages[message].0 else { return None };
        state.messages[message].1 = Back::Unclear;
        Some(event)
    }

    /// Whether it was taken back in the end.
    pub(super) fn took_back(&self, message: usize, done: bool) {
        self.lock().messages[message].1 = if done { Back::Yes } else { Back::No };
    }

    /// Messages that were taken back, with their events.
    pub(super) fn taken_back(&self) -> Vec<(usize, EventId)> {
        let state = self.lock();
        let gone = |(message, said): (usize, &(Said, Back))| match said {
            (Said::As(event), Back::Yes) => Some((message, *event)),
            _ => None,
        };
        state.messages.iter().enumerate().filter_map(gone).collect()
    }

    /// What messages say of a file.
    pub(super) fn fate(&self, file: usize) -> Fate {
        let state = self.lock();
        let mut fate = Fate::Gone;
        for (_, said) in self.files.iter().zip(&state.messages).filter(|(of, _)| **of == file) {
            match said {
                (Said::As(_), Back::No) => return Fate::Named,
                (Said::Unclear, _) | (Said::As(_), Back::Unclear) => fate = Fate::Unclear,
                (Said::As(_), Back::Yes) | (Said::NotYet | Said::Refused, _) => {}
            }
        }
        fate
    }

    /// Every file that somebody has brought.
    pub(super) fn known(&self) -> Vec<(usize, FileId)> {
        self.lock().ids.iter().enumerate().filter_map(|(file, id)| Some((file, (*id)?))).collect()
    }

    /// The id of a message's file.
    pub(super) fn id(&self, message: usize) -> Option<FileId> {
        self.lock().ids[self.files[message]]
    }

    pub(super) fn is_left_over(&self, server: usize, file: usize) -> bool {
        self.lock().left_over.contains(&(server, file))
    }

    /// Files that were not looked at on a server since its start.
    pub(super) fn unseen(&self, server: usize) -> Vec<(usize, FileId)> {
        let known = self.known();
        let state = self.lock();
        known.into_iter().filter(|(file, _)| !state.seen.contains(&(server, *file))).collect()
    }

    pub(super) fn see(&self, server: usize, file: usize) {
        self.lock().seen.insert((server, file));
    }

    /// Somebody wants a message's file on a server. Returns whether there is such a message.
    pub(super) fn asks(&self, server: usize, message: usize) -> bool {
        let mut state = self.lock();
        let there = matches!(state.messages[message].0, Said::As(_) | Said::Unclear);
        if there {
            state.asked.entry((server, message)).or_insert(false);
        }
        there
    }

    /// They have it, or want it no longer.
    pub(super) fn answered(&self, server: usize, message: usize) {
        self.lock().asked.insert((server, message), true);
    }

    /// Messages whose files are still wanted on a server.
    pub(super) fn open_asks(&self, server: usize) -> Vec<usize> {
        let state = self.lock();
        let of_server = state.asked.range((server, 0)..(server + 1, 0));
        of_server.filter(|(_, answered)| !**answered).map(|((_, message), _)| *message).collect()
    }

    /// Whether somebody has ever wanted the file on a server.
    pub(super) fn was_asked(&self, server: usize, file: usize) -> bool {
        self.lock().asked.range((server, 0)..(server + 1, 0)).any(|((_, message), _)| self.files[*message] == file)
    }

    /// Somebody asks on a server from now on.
    pub(super) fn asking(&self, server: usize, task: AbortHandle) {
        self.lock().asking.entry(server).or_default().push(task);
    }

    /// A server goes: who asks there, and what was seen there, is forgotten.
    pub(super) fn hush(&self, server: usize) {
        let mut state = self.lock();
        state.seen.retain(|(of, _)| *of != server);
        for task in state.asking.remove(&server).into_iter().flatten() {
            task.abort();
        }
    }
}
