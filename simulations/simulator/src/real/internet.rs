//! The network between simulated servers: who can dial whom, and how long bytes take.
//!
//! A connection behaves like TCP: bytes come whole and in order, a lost packet comes a round trip and a retransmission timeout
//! later and holds up what follows, a cut stalls what crosses it and after a while resets it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use futures::channel::mpsc;
use tokio::time::Instant;

use super::wire::{Pipe, Wire};
use crate::plan::Plan;
use crate::random::Random;
use crate::ways::Ways;

/// The smallest wait before TCP sends a packet again, RFC 6298's minimum as Linux has it.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// After this long without an answer a connection across a cut is reset. Linux' TCP takes minutes; libp2p's ping finds out in
/// half of one.
const RESET_AFTER: Duration = Duration::from_secs(20);
/// How long a dial into nowhere takes to be given up.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that may wait for a listener to take them.
const BACKLOG: usize = 128;
/// The port that servers listen on.
pub(super) const PORT: u16 = 4848;

/// A connection as its listener gets it.
pub(super) struct Incoming {
    pub(super) wire: Wire,
    pub(super) from: (Ipv4Addr, u16),
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub(super) struct Internet(Arc<Mutex<State>>);

struct State {
    plan: Arc<Plan>,
    ways: Ways,
    /// When each link between two regions is free again.
    link_free: Vec<Instant>,
    random: Random,
    listeners: BTreeMap<usize, mpsc::Sender<Incoming>>,
    /// When each server's line is free again: up and down.
    up_free: Vec<Instant>,
    down_free: Vec<Instant>,
    cuts: BTreeMap<usize, Arc<Vec<bool>>>,
    open: Vec<(usize, usize, Weak<Mutex<Pipe>>, Weak<Mutex<Pipe>>)>,
    next_port: u16,
    /// Bytes that each server put on its line.
    sent: Vec<u64>,
    /// A hash over every packet: what was sent when by whom.
    packets: blake3::Hasher,
}

/// The address of a server: of the range that RFC 2544 keeps for benchmarks.
pub(super) fn address(server: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + server as u32)
}

/// The server at an address.
pub(super) fn server_at(address: Ipv4Addr) -> Option<usize> {
    u32::from(address).checked_sub(u32::from(Ipv4Addr::new(198, 18, 0, 0))).map(|server| server as usize)
}

impl Internet {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let now = Instant::now();
        let servers = plan.servers.len();
        let ways = Ways::of(&plan.scenario.network);
        Internet(Arc::new(Mutex::new(State {
            random: Random::new(plan.seed, "links"),
            link_free: vec![now; ways.regions() * ways.regions()],
            ways,
            plan,
            listeners: BTreeMap::new(),
            up_free: vec![now; servers],
            down_free: vec![now; servers],
            cuts: BTreeMap::new(),
            open: Vec::new(),
            next_port: 49_152,
            sent: vec![0; servers],
            packets: blake3::Hasher::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens as a server.
    pub(super) fn listen(&self, server: usize) -> mpsc::Receiver<Incoming> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.lock().listeners.insert(server, sender);
        receiver
    }

    /// Listens no more.
    pub(super) fn close(&self, server: usize) {
        self.lock().listeners.remove(&server);
    }

    /// How long a round trip takes without load.
    pub(super) fn round_trip(&self, from: usize, to: usize) -> Duration {
        let state = self.lock();
        let [a, b] = [from, to].map(|server| state.plan.servers[server].region);
        state.ways.between(a, b).latency + state.ways.between(b, a).latency
    }

    /// Whether a dial gets any answer.
    pub(super) fn answers(&self, from: usize, to: usize) -> bool {
        let state = self.lock();
        to < state.plan.servers.len() && !state.plan.servers[to].nat && !state.is_cut(from, to)
    }

    /// Connects, if somebody listens there.
    pub(super) fn connect(&self, from: usize, to: usize) -> Option<Wire> {
        let mut state = self.lock();
        state.next_port = state.next_port.checked_add(1).unwrap_or(49_152);
        let port = state.next_port;
        let there = Arc::new(Mutex::new(Pipe::new(from, to)));
        let back = Arc::new(Mutex::new(Pipe::new(to, from)));
        let incoming = Incoming {
            wire: Wire::new(self.clone(), Arc::clone(&there), Arc::clone(&back)),
            from: (address(from), port),
        };
        state.open.push((from, to, Arc::downgrade(&there), Arc::downgrade(&back)));
        if state.open.len().is_multiple_of(1024) {
            state.open.retain(|(.., there, back)| there.strong_count() + back.strong_count() > 0);
        }
        state.listeners.get_mut(&to)?.try_send(incoming).ok()?;
        Some(Wire::new(self.clone(), back, there))
    }

    /// When bytes that are sent now arrive; none while a cut keeps them.
    pub(super) fn arrival(&self, from: usize, to: usize, bytes: usize, not_before: Instant) -> Option<Instant> {
        self.lock().arrival(from, to, bytes, not_before)
    }

    /// Cuts the network.
    pub(super) fn cut(&self, number: usize, side: Arc<Vec<bool>>) {
        let mut state = self.lock();
        state.cuts.insert(number, side);
        let this = self.clone();
        drop(state);
        tokio::spawn(async move {
            tokio::time::sleep(RESET_AFTER).await;
            this.reset_crossing(number);
        });
    }

    fn reset_crossing(&self, number: usize) {
        let state = self.lock();
        let Some(side) = state.cuts.get(&number) else { return };
        let crossing = state.open.iter().filter(|(a, b, ..)| side[*a] != side[*b]);
        let pipes: Vec<Arc<Mutex<Pipe>>> =
            crossing.flat_map(|(.., there, back)| [there.upgrade(), back.upgrade()]).flatten().collect();
        drop(state);
        wake(pipes.iter().flat_map(|pipe| lock(pipe).reset()).collect());
    }

    /// Ends a cut: what it kept goes on its way.
    pub(super) fn mend(&self, number: usize) {
        let mut state = self.lock();
        state.cuts.remove(&number);
        let mut pipes: Vec<Arc<Mutex<Pipe>>> = Vec::new();
        for (a, b, there, back) in &state.open {
            if !state.is_cut(*a, *b) {
                pipes.extend([there.upgrade(), back.upgrade()].into_iter().flatten());
            }
        }
        let mut wakers = Vec::new();
        for pipe in pipes {
            let mut pipe = lock(&pipe);
            if pipe.is_stalled() {
                // A sender tries again after pauses that double; it is somewhere in the last of them.
                let again = Instant::now() + Duration::from_secs(2).mul_f64(state.random.fraction());
                let (from, to) = (pipe.from, pipe.to);
                wakers.extend(pipe.resume(again, |bytes, not_before| {
                    state.arrival(from, to, bytes, not_before).unwrap_or(not_before)
                }));
            }
        }
        drop(state);
        wake(wakers);
    }

    /// Ends every connection of a server without a word, and its listening: its machine is gone.
    pub(super) fn unplug(&self, server: usize) {
        let mut state = self.lock();
        state.listeners.remove(&server);
        let of_server = state.open.iter().filter(|(a, b, ..)| *a == server || *b == server);
        let pipes: Vec<Arc<Mutex<Pipe>>> =
            of_server.flat_map(|(.., there, back)| [there.upgrade(), back.upgrade()]).flatten().collect();
        drop(state);
        wake(pipes.iter().flat_map(|pipe| lock(pipe).reset()).collect());
    }

    /// Bytes that all servers have put on their lines.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.lock().sent.clone()
    }

    /// Connections that are open: who dialled, and whom.
    pub(super) fn links(&self) -> Vec<(usize, usize)> {
        let state = self.lock();
        let open = state.open.iter().filter(|(.., there, back)| {
            [there, back].iter().all(|pipe| pipe.upgrade().is_some_and(|pipe| lock(&pipe).is_open()))
        });
        open.map(|(from, to, ..)| (*from, *to)).collect()
    }

    /// The hash over all packets so far.
    pub(super) fn packets(&self) -> blake3::Hash {
        self.lock().packets.finalize()
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl State {
    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.values().any(|side| side[a] != side[b])
    }

    fn arrival(&mut self, from: usize, to: usize, bytes: usize, not_before: Instant) -> Option<Instant> {
        if self.is_cut(from, to) {
            return None;
        }
        let now = Instant::now();
        let (sender, receiver) = (&self.plan.servers[from], &self.plan.servers[to]);
        let takes = |rate: u64| Duration::from_secs_f64(bytes as f64 / rate as f64);
        let (up, down) = (takes(sender.up), takes(receiver.down));
        let (way, link) =
            (self.ways.between(sender.region, receiver.region), self.ways.place(sender.region, receiver.region));
        self.sent[from] += bytes as u64;
        let departs = self.up_free[from].max(now) + up;
        self.up_free[from] = departs;
        let through = way.rate.map_or(departs, |rate| self.link_free[link].max(departs) + takes(rate));
        if way.rate.is_some() {
            self.link_free[link] = through;
        }
        let mut arrives = through + way.latency + way.latency.mul_f64(way.jitter * self.random.fraction());
        // Every packet of these bytes may be lost, and again when it is sent again.
        for _ in 0..bytes.div_ceil(1_400) {
            while way.loss > 0.0 && self.random.chance(way.loss) {
                arrives += way.latency * 2 + RETRANSMIT;
            }
        }
        // The receiver's line is as far behind as what was sent to it makes it, whatever way that comes: a near message does
        // not wait for a far one that was sent before it.
        let free = self.down_free[to].max(now) + down;
        self.down_free[to] = free;
        let arrives = (arrives + free.duration_since(now)).max(not_before);
        let stamp = [from as u64, to as u64, bytes as u64].map(u64::to_be_bytes).concat();
        self.packets.update(&stamp);
        Some(arrives)
    }
}
