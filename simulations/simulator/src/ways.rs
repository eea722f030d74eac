//! What a packet meets on its way from one region to another: the table's latency, and what a scenario says of single links.

use std::time::Duration;

use crate::cities;
use crate::scenario::Network;

/// What a packet meets between two regions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// How long it takes without load.
    pub latency: Duration,
    /// Up to this fraction of the latency is added at random.
    pub jitter: f64,
    /// The probability that it is lost.
    pub loss: f64,
    /// Bytes a second that all servers of the first region together send to those of the second at most; none for as many as
    /// their own lines let through.
    pub rate: Option<u64>,
}

/// The ways between all regions.
#[derive(Clone, Debug)]
pub struct Ways {
    ways: Vec<Way>,
    regions: usize,
}

impl Ways {
    /// The ways of a network whose regions are known.
    pub fn of(network: &Network) -> Self {
        let regions = cities::names().len() + 1;
        let usual = |from: usize, to: usize| Way {
            latency: cities::one_way(from, to),
            jitter: network.jitter,
            loss: network.loss,
            rate: None,
        };
        let mut ways: Vec<Way> = (0..regions).flat_map(|from| (0..regions).map(move |to| usual(from, to))).collect();
        for link in &network.links {
            let [Some(a), Some(b)] = link.between.each_ref().map(|name| cities::index(name)) else { continue };
            for place in [a * regions + b, b * regions + a] {
                let way = &mut ways[place];
                way.latency = link.latency.map_or(way.latency, |latency| latency.0);
                way.jitter = link.jitter.unwrap_or(way.jitter);
                way.loss = link.loss.unwrap_or(way.loss);
                way.rate = link.kbps.map_or(way.rate, |kbps| Some(kbps.saturating_mul(125)));
            }
        }
        Ways { ways, regions }
    }

    /// How many regions there are.
    pub fn regions(&self) -> usize {
        self.regions
    }

    /// The way from one region to another.
    pub fn between(&self, from: usize, to: usize) -> Way {
        self.ways[self.place(from, to)]
    }

    /// The place of a way in a list of all of them.
    pub fn place(&self, from: usize, to: usize) -> usize {
        from * self.regions + to
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Link, Span};

    #[test]
    fn a_link_differs_both_ways_in_what_it_says_and_no_other_does() {
        let [london, tokyo, osaka] = ["London", "Tokyo", "Osaka"].map(|name| cities::index(name).unwrap_or(0));
        let link = Link {
            between: ["Tokyo".to_owned(), "london".to_owned()],
            latency: Some(Span(Duration::from_millis(300))),
            jitter: None,
            loss: Some(0.25),
            kbps: Some(8),
        };
        let network = Network { jitter: 0.5, loss: 0.01, links: vec![link], ..Network::default() };
        let ways = Ways::of(&network);
        let changed = Way { latency: Duration::from_millis(300), jitter: 0.5, loss: 0.25, rate: Some(1_000) };
        assert_eq!([ways.between(london, tokyo), ways.between(tokyo, london)], [changed, changed]);
        let other = Way { latency: cities::one_way(london, osaka), jitter: 0.5, loss: 0.01, rate: None };
        assert_eq!(ways.between(london, osaka), other);
    }
}
