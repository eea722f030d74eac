//! Hole punching again: with whom, and when.
//!
//! libp2p punches once, when a relayed connection begins, up to three times in a row. What failed then may work later: the other
//! side has another router, or a router has forgotten what was in the way. So the side that opened the relayed connection opens
//! another one from time to time, which has libp2p try again, and the surplus is closed.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::identity::PeerId;
use tokio::time::Instant;

/// When to try again, counted from the last try; the last one is repeated.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(15 * 60), Duration::from_secs(60 * 60)];
/// Tries that begin at the same moment.
const AT_ONCE: usize = 2;
/// When everybody may be tried again after a change of the network: the connections have to come back first.
const SOON: Duration = Duration::from_secs(5);
/// The most peers that are kept in mind.
const PEERS: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Plan {
    next: Instant,
    tries: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Punches {
    plans: BTreeMap<PeerId, Plan>,
    /// Holes that were tried to punch, and came out, as far as this side is told.
    pub(super) tried: u64,
    pub(super) succeeded: u64,
}

impl Punches {
    /// Says which peers this node reaches through a relay only, over connections that it opened, and returns those to try
    /// again now.
    pub(super) fn due(&mut self, relayed: &[PeerId], now: Instant) -> Vec<PeerId> {
        self.plans.retain(|peer, _| relayed.contains(peer));
        for peer in relayed.iter().take(PEERS) {
            self.plans.entry(*peer).or_insert(Plan { next: now + PAUSES[0], tries: 0 });
        }
        let mut due = Vec::new();
        for (peer, plan) in self.plans.iter_mut().filter(|(_, plan)| plan.next <= now).take(AT_ONCE) {
            plan.tries += 1;
            plan.next = now + PAUSES.get(plan.tries).or(PAUSES.last()).copied().unwrap_or(PAUSES[0]);
            due.push(*peer);
        }
        due
    }

    /// The network has changed: what failed before may work now.
    pub(super) fn changed(&mut self, now: Instant) {
        for plan in self.plans.values_mut() {
            *plan = Plan { next: now + SOON, tries: 0 };
        }
    }

    /// A hole was punched, or not.
    pub(super) fn ended(&mut self, success: bool) {
        self.tried += 1;
        self.succeeded += u64::from(success);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relayed_peer_is_tried_again_ever_more_seldom_and_soon_after_a_change() {
        let begin = Instant::now();
        let peer = PeerId::random();
        let mut punches = Punches::default();
        let mut tries = Vec::new();
        for second in 0..10_000 {
            if !punches.due(&[peer], begin + Duration::from_secs(second)).is_empty() {
                tries.push(second);
            }
        }
        assert_eq!(tries, [60, 360, 1260, 4860, 8460]);
        let now = begin + Duration::from_secs(10_000);
        punches.changed(now);
        assert!(punches.due(&[peer], now).is_empty());
        assert_eq!(punches.due(&[peer], now + SOON), [peer]);
    }

    #[test]
    fn a_peer_that_is_direct_by_now_is_left_alone() {
        let begin = Instant::now();
        let peer = PeerId::random();
        let mut punches = Punches::default();
        punches.due(&[peer], begin);
        punches.due(&[], begin + Duration::from_secs(30));
        assert!(punches.due(&[peer], begin + PAUSES[0]).is_empty(), "a new relayed connection begins anew");
    }
}
