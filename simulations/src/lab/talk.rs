//! Who said what, and when it was there: everybody speaks, everybody listens, and what did not arrive is counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::Failure;
use crate::lab::stage::{GLANCE, Stage};

/// Something that was said.
#[derive(Clone, Debug)]
struct Said {
    event: String,
    by: usize,
    at: Instant,
}

/// A conversation among the nodes.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    said: Vec<Said>,
    /// When each node was first seen to hold what was said, by its place in `said` and the node's.
    arrived: BTreeMap<(usize, usize), Instant>,
}

impl Talk {
    /// Lets nodes say something, all at the same time.
    ///
    /// # Errors
    /// If one may not.
    pub async fn speak(&mut self, stage: &Stage, speakers: &[usize], about: &str) -> Result<(), Failure> {
        let say = |by: usize| async move {
            let node = &stage.nodes()[by];
            let event = node.say(stage.room(), &format!("{} about {about}", node.host.name)).await?;
            Ok::<_, Failure>(Said { event, by, at: Instant::now() })
        };
        for said in join_all(speakers.iter().map(|by| say(*by))).await {
            self.said.push(said?);
        }
        Ok(())
    }

    /// Listens until everything that counts has arrived, or until a moment. What counts says `counts` of who spoke and who
    /// listens. Returns whether everything arrived.
    pub async fn listen(&mut self, stage: &Stage, until: Instant, counts: impl Fn(usize, usize) -> bool) -> bool {
        loop {
            let lacking: Vec<usize> =
                (0..stage.nodes().len()).filter(|to| stage.nodes()[*to].is_up() && self.lacks(*to, &counts)).collect();
            if lacking.is_empty() {
                return true;
            }
            let late = Instant::now() >= until;
            let held = join_all(lacking.iter().map(|to| stage.nodes()[*to].messages(stage.room()))).await;
            let now = Instant::now();
            for (to, held) in lacking.iter().zip(held) {
                // A node that does not answer this time is asked again.
                let Ok(held) = held else { continue };
                for (at, _) in self.said.iter().enumerate().filter(|(_, said)| held.contains(&said.event)) {
                    self.arrived.entry((at, *to)).or_insert(now);
                }
            }
            if late {
                return !(0..stage.nodes().len()).any(|to| stage.nodes()[to].is_up() && self.lacks(to, &counts));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn lacks(&self, to: usize, counts: &impl Fn(usize, usize) -> bool) -> bool {
        let lacks =
            |(at, said): (usize, &Said)| said.by != to && counts(said.by, to) && !self.arrived.contains_key(&(at, to));
        self.said.iter().enumerate().any(lacks)
    }

    /// Whether anything that one node said has arrived at another.
    pub fn any_arrived(&self, from: usize, to: usize) -> bool {
        self.said.iter().enumerate().any(|(at, said)| said.by == from && self.arrived.contains_key(&(at, to)))
    }

    /// How long it took what one node said to arrive at another: the longest, from when it was said, or from when it became
    /// `possible` if that was later. None if something is missing, or nothing was said.
    pub fn took(&self, from: usize, to: usize, possible: Option<Instant>) -> Option<Duration> {
        let mine = self.said.iter().enumerate().filter(|(_, said)| said.by == from);
        let each = mine.map(|(at, said)| {
            let arrived = self.arrived.get(&(at, to))?;
            let since = possible.map_or(said.at, |possible| possible.max(said.at));
            Some(arrived.saturating_duration_since(since))
        });
        // None is less than every duration, so that the maximum would hide it.
        each.collect::<Option<Vec<Duration>>>()?.into_iter().max()
    }

    /// How many events are missing, over all of `nodes`.
    pub fn missing(&self, nodes: usize) -> usize {
        let lacking = |to: usize| {
            let missing = |(at, said): &(usize, &Said)| said.by != to && !self.arrived.contains_key(&(*at, to));
            self.said.iter().enumerate().filter(missing).count()
        };
        (0..nodes).map(lacking).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Node 0 spoke twice, node 1 once; node 2 lacks what node 1 said.
    fn talk(begun: Instant) -> Talk {
        let said = |event: &str, by, at: u64| Said { event: event.to_owned(), by, at: begun + seconds(at) };
        let arrived = [((0, 1), 3), ((1, 1), 12), ((2, 0), 5), ((0, 2), 2), ((1, 2), 11)];
        Talk {
            said: vec![said("a", 0, 1), said("b", 0, 10), said("c", 1, 1)],
            arrived: arrived.into_iter().map(|(what, at)| (what, begun + seconds(at))).collect(),
        }
    }

    #[test]
    fn the_slowest_message_says_how_long_a_pair_took() {
        let begun = Instant::now();
        let talk = talk(begun);
        assert_eq!(talk.took(0, 1, None), Some(seconds(2)));
        assert_eq!(talk.took(1, 0, None), Some(seconds(4)));
    }

    #[test]
    fn nobody_is_late_before_delivery_was_possible() {
        let begun = Instant::now();
        assert_eq!(talk(begun).took(1, 0, Some(begun + seconds(4))), Some(seconds(1)));
        assert_eq!(talk(begun).took(1, 0, Some(begun + seconds(9))), Some(Duration::ZERO));
    }

    #[test]
    fn what_did_not_arrive_is_counted_and_takes_no_time() {
        let begun = Instant::now();
        let talk = talk(begun);
        assert_eq!(talk.took(1, 2, None), None);
        assert_eq!(talk.missing(3), 1);
        assert!(talk.any_arrived(0, 2) && !talk.any_arrived(1, 2));
        assert!(talk.lacks(2, &|_, _| true) && !talk.lacks(2, &|from, _| from == 0));
    }

    #[test]
    fn whoever_said_nothing_has_no_time() {
        assert_eq!(Talk::default().took(0, 1, None), None);
    }
}
