//! What everything in a simulation shares: the plan, the observer, the clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocketmesh_node::client::Client;
use rocketmesh_node::clock::{Clock, Entropy};
use rocketmesh_protocol::id::{EventId, RoomId};
use tokio::time::Instant;

use crate::observe::Observer;
use crate::plan::Plan;
use crate::random::Random;

/// What the clocks of servers say at the start, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_780_000_000_000;

/// See the file's head.
pub(super) struct Stage {
    pub(super) plan: Arc<Plan>,
    /// Rooms by number.
    pub(super) rooms: Vec<RoomId>,
    observer: Mutex<Option<Observer>>,
    start: Instant,
    garbling: Mutex<Random>,
    /// By server: those that run.
    clients: Mutex<Vec<Option<Client>>>,
    /// By server: bytes of streams that it received.
    received: Mutex<Vec<u64>>,
}

impl Stage {
    pub(super) fn new(observer: Observer, rooms: Vec<RoomId>) -> Self {
        let plan = Arc::clone(observer.plan());
        Stage {
            rooms,
            observer: Mutex::new(Some(observer)),
            start: Instant::now(),
            garbling: Mutex::new(Random::new(plan.seed, "garbage")),
            clients: Mutex::new(vec![None; plan.servers.len()]),
            received: Mutex::new(vec![0; plan.servers.len()]),
            plan,
        }
    }

    /// Time since the start of the run.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment of a time since the start.
    pub(super) fn moment(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// A server, if it runs.
    pub(super) fn client(&self, server: usize) -> Option<Client> {
        lock(&self.clients).get(server).cloned().flatten()
    }

    /// A server runs, or does not any more.
    pub(super) fn runs(&self, server: usize, client: Option<Client>) {
        if let Some(place) = lock(&self.clients).get_mut(server) {
            *place = client;
        }
    }

    /// The observer, while the run goes on.
    pub(super) fn observe<T: Default>(&self, tell: impl FnOnce(&mut Observer, Duration) -> T) -> T {
        let now = self.now();
        lock(&self.observer).as_mut().map(|observer| tell(observer, now)).unwrap_or_default()
    }

    /// The observer, once the run is over.
    pub(super) fn close(&self) -> Option<Observer> {
        lock(&self.observer).take()
    }

    /// Counts bytes that a server received.
    pub(super) fn count(&self, kind: usize, bytes: usize, server: usize) {
        if bytes > 0 {
            lock(&self.received)[server] += bytes as u64;
            self.observe(|observer, _| observer.sent(kind, bytes as u64));
        }
    }

    /// By server: bytes of streams that it received.
    pub(super) fn received(&self) -> Vec<u64> {
        lock(&self.received).clone()
    }

    /// A copy of an event came to a server by gossip.
    pub(super) fn heard(&self, server: usize, id: &EventId) {
        self.observe(|observer, now| observer.heard(now, server, id));
    }

    /// Spoils some of the bytes.
    pub(super) fn garble(&self, bytes: &mut [u8]) {
        let mut random = lock(&self.garbling);
        for _ in 0..1 + bytes.len() / 256 {
            let at = random.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server's clock, as wrong as the plan says.
pub(super) struct SimClock {
    pub(super) start: Instant,
    pub(super) skew_ms: i64,
}

impl SimClock {
    pub(super) fn of(stage: &Stage, server: usize) -> Self {
        SimClock { start: stage.start, skew_ms: stage.plan.servers[server].skew_ms }
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        (EPOCH_MS + self.start.elapsed().as_millis() as u64).saturating_add_signed(self.skew_ms)
    }
}

/// A server's random numbers.
pub(super) struct SimEntropy(Mutex<Random>);

impl SimEntropy {
    pub(super) fn of(plan: &Plan, server: usize, life: u32) -> Self {
        SimEntropy(Mutex::new(Random::new(plan.seed, &format!("server {server}, life {life}"))))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        lock(&self.0).fill(bytes);
    }
}
