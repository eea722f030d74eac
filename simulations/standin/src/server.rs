//! The server: its state, who listens, and what tests ask of it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ddp::connections::Connections;
use crate::faults::{Fault, Faults};
use crate::limits::{Count, Limits, Rate};
use crate::moment::Moment;
use crate::recorder::Recorder;
use crate::refusal::Refusal;
use crate::state::State;
use crate::version::Version;

/// The most requests that are remembered. The oldest ones go first.
const MAX_RECORDED: usize = 100_000;

/// A request that came, as `make contract` checks it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Recorded {
    /// `GET` or `POST`.
    pub method: String,
    /// The call, such as `chat.sendMessage`.
    pub path: String,
    /// The parameters behind the path.
    pub query: Value,
    /// The body, if it was JSON.
    pub body: Value,
}

/// How the server behaves.
#[derive(Debug)]
pub(crate) struct Manner {
    pub(crate) version: Version,
    /// After so much silence a connection is asked whether it is there, and after as much again it is closed.
    pub(crate) silence: Duration,
    /// Whether tests may ask at `/_standin`.
    pub(crate) control: bool,
}

/// Everything that calls and connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) manner: Manner,
    state: Mutex<State>,
    pub(crate) connections: Connections,
    limits: Mutex<Option<Limits>>,
    faults: Mutex<Faults>,
    recorded: Mutex<VecDeque<Recorded>>,
    recorder: Option<Recorder>,
    away: Mutex<Option<Instant>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(crate) fn open(
        manner: Manner,
        data: Option<&Path>,
        limited: bool,
        recorder: Option<Recorder>,
    ) -> io::Result<Self> {
        let state = State::open(manner.version, data)?;
        Ok(Server {
            manner,
            state: Mutex::new(state),
            connections: Connections::default(),
            limits: Mutex::new(limited.then(Limits::default)),
            faults: Mutex::new(Faults::default()),
            recorded: Mutex::new(VecDeque::new()),
            recorder,
            away: Mutex::new(None),
        })
    }

    /// Looks at the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&held(&self.state))
    }

    /// Does something with the state, writes what it changed, and only then tells those who listen. What was changed before a
    /// refusal is written too, as in a server without transactions.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut state = held(&self.state);
        let outcome = act(&mut state);
        if let Err(error) = state.commit() {
            tracing::error!(%error, "the journal cannot be written");
            return Err(Refusal::plain(format!("the stand-in's journal cannot be written: {error}")));
        }
        // Still under the lock, so that everybody hears of changes in the order in which they were made.
        let events = state.take_outbox();
        self.connections.tell(&state, &events);
        outcome
    }

    /// Counts a call, if calls are limited.
    pub(crate) fn count(&self, rule: &str, rate: Rate, key: &str) -> Option<Count> {
        held(&self.limits).as_mut().map(|limits| limits.count(rule, rate, key, Moment::now().0))
    }

    /// Limits calls from now on, or no longer.
    pub(crate) fn limit(&self, on: bool) {
        *held(&self.limits) = on.then(Limits::default);
    }

    /// What shall go wrong with a call, if anything.
    pub(crate) fn fault(&self, call: &str) -> Option<Fault> {
        held(&self.faults).take(call)
    }

    pub(crate) fn add_fault(&self, fault: Fault) {
        held(&self.faults).add(fault);
    }

    /// Remembers a request. Those of programs are written down too, where a file was named for them.
    pub(crate) fn record(&self, request: Recorded, of_program: bool) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| of_program) {
            recorder.write(&request);
        }
        let mut recorded = held(&self.recorded);
        if recorded.len() == MAX_RECORDED {
            recorded.pop_front();
        }
        recorded.push_back(request);
    }

    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        held(&self.recorded).iter().cloned().collect()
    }

    /// Answers nobody for a while, and closes every websocket.
    pub(crate) fn go_away(&self, time: Duration) {
        *held(&self.away) = Some(Instant::now() + time);
        self.connections.close_all();
    }

    pub(crate) fn is_away(&self) -> bool {
        held(&self.away).is_some_and(|until| Instant::now() < until)
    }
}
