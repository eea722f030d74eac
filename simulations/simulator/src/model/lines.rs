//! Links: how long a message takes, whose turn it is on a line, and what is cut off from what.

use std::sync::Arc;

use super::agenda::{MILLISECOND, Micros, SECOND, micros};
use super::dice::Dice;
use crate::plan::Plan;
use crate::ways::Ways;

/// How long a connection over a cut network stalls before it breaks: what TCP and the pings over it take to give up.
pub(super) const PATIENCE: Micros = 30 * SECOND;

/// How much later a message comes that is overtaken, and the copy of one that comes twice, at most.
const LATE: Micros = 2 * SECOND;

/// What a packet's loss costs beside a round trip: TCP's least retransmission timeout.
const RETRANSMISSION: Micros = 200 * MILLISECOND;

#[derive(Debug)]
struct Cut {
    number: usize,
    side: Arc<Vec<bool>>,
    since: Micros,
    until: Micros,
}

/// The lines of all servers and the network between them.
#[derive(Debug)]
pub(super) struct Lines {
    region: Vec<usize>,
    /// Bytes a second from each server, and to it.
    up: Vec<u64>,
    down: Vec<u64>,
    /// When each server's line is free again.
    up_free: Vec<Micros>,
    down_free: Vec<Micros>,
    ways: Ways,
    /// When each link between two regions is free again.
    link_free: Vec<Micros>,
    duplicates: f64,
    reordering: f64,
    cuts: Vec<Cut>,
    dice: Dice,
}

impl Lines {
    /// The lines of a plan.
    pub(super) fn new(plan: &Plan) -> Self {
        let ways = Ways::of(&plan.scenario.network);
        Lines {
            link_free: vec![0; ways.regions() * ways.regions()],
            ways,
            region: plan.servers.iter().map(|server| server.region).collect(),
            up: plan.servers.iter().map(|server| server.up.max(1)).collect(),
            down: plan.servers.iter().map(|server| server.down.max(1)).collect(),
            up_free: vec![0; plan.servers.len()],
            down_free: vec![0; plan.servers.len()],
            duplicates: plan.scenario.network.duplicates,
            reordering: plan.scenario.network.reordering,
            cuts: Vec::new(),
            dice: Dice::new(plan.seed, "model lines"),
        }
    }

    /// One way without load or loss.
    pub(super) fn way(&self, from: u32, to: u32) -> Micros {
        micros(self.ways.between(self.region[from as usize], self.region[to as usize]).latency)
    }

    /// Sends a message now and returns when it is there, if nobody else is on the receiver's line.
    pub(super) fn depart(&mut self, now: Micros, from: u32, to: u32, bytes: u32) -> Micros {
        let regions = (self.region[from as usize], self.region[to as usize]);
        let (way, link) = (self.ways.between(regions.0, regions.1), self.ways.place(regions.0, regions.1));
        let latency = micros(way.latency);
        let mut sent = self.occupy(now, from, bytes);
        if let Some(rate) = way.rate {
            sent = sent.max(self.link_free[link]) + transmission(bytes, rate);
            self.link_free[link] = sent;
        }
        let mut takes = latency + (latency as f64 * way.jitter * self.dice.fraction()) as Micros;
        while way.loss > 0.0 && self.dice.chance(way.loss) {
            takes += 2 * latency + RETRANSMISSION;
        }
        sent + takes + transmission(bytes, self.down[to as usize])
    }

    /// How much longer a message takes than its line does, so that later ones overtake it; mostly nothing.
    pub(super) fn straggles(&mut self) -> Micros {
        let late = self.reordering > 0.0 && self.dice.chance(self.reordering);
        if late { self.dice.within(LATE) } else { 0 }
    }

    /// How long after a message its copy comes, where it comes twice.
    pub(super) fn repeats(&mut self) -> Option<Micros> {
        let twice = self.duplicates > 0.0 && self.dice.chance(self.duplicates);
        twice.then(|| self.dice.within(LATE))
    }

    /// Takes a server's line for a message and returns when all of it is sent.
    pub(super) fn occupy(&mut self, now: Micros, from: u32, bytes: u32) -> Micros {
        let from = from as usize;
        let sent = now.max(self.up_free[from]) + transmission(bytes, self.up[from]);
        self.up_free[from] = sent;
        sent
    }

    /// A message is there, as far as its own way goes. Returns when its turn on the receiver's line is over; none if
    /// that is now.
    pub(super) fn admit(&mut self, now: Micros, to: u32, bytes: u32) -> Option<Micros> {
        let to = to as usize;
        let takes = transmission(bytes, self.down[to]);
        let free = &mut self.down_free[to];
        if *free + takes <= now {
            *free = now;
            return None;
        }
        *free += takes;
        Some(*free)
    }

    /// Cuts the network.
    pub(super) fn cut(&mut self, number: usize, side: Arc<Vec<bool>>, since: Micros, until: Micros) {
        self.cuts.push(Cut { number, side, since, until });
    }

    /// Mends a cut.
    pub(super) fn mend(&mut self, number: usize) {
        self.cuts.retain(|cut| cut.number != number);
    }

    /// Mends everything.
    pub(super) fn mend_all(&mut self) {
        self.cuts.clear();
    }

    /// Since when two servers are cut off from each other, and until when; none if they are not.
    pub(super) fn cut_between(&self, from: u32, to: u32) -> Option<(Micros, Micros)> {
        let (from, to) = (from as usize, to as usize);
        let between = self.cuts.iter().filter(|cut| cut.side[from] != cut.side[to]);
        between.map(|cut| (cut.since, cut.until)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}

/// How long a line is busy with so many bytes.
fn transmission(bytes: u32, per_second: u64) -> Micros {
    u64::from(bytes) * SECOND / per_second
}
