//! Which relays a node that others cannot reach is to be reached through. Decides; the driver listens.
//!
//! It holds two at a time, in different blocks of the internet if it can, so that one may die. libp2p renews what is held; what
//! ends is replaced by whoever is next: configured servers first, then others that offer it.
//!
//! A relay can take a reservation and forward nothing. So other servers are asked to come through it, unless somebody did: one
//! through which two of them did not get, and nobody else, gives way to another one, if there is one, and comes last from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::core::transport::ListenerId;
use libp2p::identity::PeerId;
use tokio::time::Instant;

use super::observed::{Block, block};

/// Relays to hold.
const WANTED: usize = 2;
/// How long a relay may take to answer before another one is asked beside it.
const PATIENCE: Duration = Duration::from_secs(8);
/// The first pause before a relay that refused is asked again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Relays that refused, or did not forward, and are remembered.
const REMEMBERED: usize = 256;
/// How long after a relay took this node in, and after another test, it is tested.
const FIRST_TEST: Duration = Duration::from_secs(10);
const NEXT_TEST: Duration = Duration::from_secs(60);
/// How long a connection through a relay proves that it forwards.
const TRUSTED: Duration = Duration::from_secs(60 * 60);
/// How many servers have to come through it in vain.
const IN_VAIN: usize = 2;

/// A connected server that offers to relay.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) peer: PeerId,
    /// Where others dial it, with its id.
    pub(super) address: Multiaddr,
    /// Whether the administrator named it.
    pub(super) configured: bool,
    /// Since when it is connected.
    pub(super) since: Instant,
}

/// A relay that was asked, or that holds a place for this node.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) listener: ListenerId,
    pub(super) address: Multiaddr,
    asked: Instant,
    /// Since when it does.
    pub(super) accepted: Option<Instant>,
    /// When somebody last came through it.
    came: Option<Instant>,
    /// Servers that were asked to come through it and did not.
    in_vain: BTreeSet<PeerId>,
    /// Who was asked last, and when.
    tested: Option<(PeerId, Instant)>,
}

impl Held {
    /// Whether it may be tested now.
    fn is_untested(&self, now: Instant) -> bool {
        let trusted = self.came.is_some_and(|at| now.duration_since(at) < TRUSTED);
        let settled = self.accepted.is_some_and(|since| now.duration_since(since) >= FIRST_TEST);
        let paused = self.tested.is_none_or(|(_, at)| now.duration_since(at) >= NEXT_TEST);
        settled && paused && !trusted && self.in_vain.len() < IN_VAIN
    }
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    until: Instant,
    pause: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Relays {
    held: BTreeMap<PeerId, Held>,
    refused: BTreeMap<PeerId, Refused>,
    /// Those that forwarded nothing.
    useless: BTreeSet<PeerId>,
}

impl Relays {
    /// How many are held, or were asked so recently that they may still answer.
    fn counted(&self, now: Instant) -> usize {
        let counts = |held: &&Held| held.accepted.is_some() || now.duration_since(held.asked) < PATIENCE;
        self.held.values().filter(counts).count()
    }

    /// Whom to ask now.
    pub(super) fn choose(&self, offers: &[Offer], now: Instant) -> Vec<Offer> {
        let mut chosen: Vec<Offer> = Vec::new();
        let free = |offer: &&Offer| {
            let waits = self.refused.get(&offer.peer).is_some_and(|refused| now < refused.until);
            !waits && !self.held.contains_key(&offer.peer)
        };
        let mut free: Vec<&Offer> = offers.iter().filter(free).collect();
        while self.counted(now) + chosen.len() < WANTED {
            let used = |place: Block| {
                let held = self.held.values().map(|held| block(&held.address));
                held.chain(chosen.iter().map(|offer| block(&offer.address))).any(|other| other == place)
            };
            let rank = |offer: &&&Offer| {
                let useless = self.useless.contains(&offer.peer);
                (useless, !offer.configured, used(block(&offer.address)), offer.since, offer.peer)
            };
            let Some(next) = free.iter().min_by_key(rank).copied() else { break };
            free.retain(|offer| offer.peer != next.peer);
            chosen.push(next.clone());
        }
        chosen
    }

    /// Whether more are needed than those that can be asked.
    pub(super) fn lacks(&self, now: Instant) -> bool {
        self.counted(now) < WANTED
    }

    /// A relay was asked.
    pub(super) fn asked(&mut self, offer: &Offer, listener: ListenerId, now: Instant) {
        let held = Held {
            listener,
            address: offer.address.clone(),
            asked: now,
            accepted: None,
            came: None,
            in_vain: BTreeSet::new(),
            tested: None,
        };
        self.held.insert(offer.peer, held);
    }

    /// Somebody came through a relay: it forwards.
    pub(super) fn came(&mut self, relay: &PeerId, now: Instant) {
        self.useless.remove(relay);
        if let Some(held) = self.held.get_mut(relay) {
            held.came = Some(now);
            held.in_vain.clear();
        }
    }

    /// The relay to test now, and whom to ask to come through it, of these servers. Which of them is drawn by lot.
    pub(super) fn test(
        &mut self,
        servers: &[PeerId],
        random: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Option<(PeerId, PeerId)> {
        for (relay, held) in self.held.iter_mut().filter(|(_, held)| held.is_untested(now)) {
            let fit = servers.iter().filter(|server| *server != relay && !held.in_vain.contains(*server));
            let Some((_, server)) = fit.map(|server| (random(), *server)).min() else { continue };
            held.tested = Some((server, now));
            return Some((*relay, server));
        }
        None
    }

    /// A server that was asked to come through a relay has answered, or given up.
    pub(super) fn tested(&mut self, relay: &PeerId, server: PeerId) {
        let Some(held) = self.held.get_mut(relay) else { return };
        let Some((_, asked)) = held.tested.filter(|(tester, _)| *tester == server) else { return };
        if held.came.is_none_or(|at| at < asked) {
            held.in_vain.insert(server);
        }
    }

    /// A relay that forwards nothing, if one of these could take its place. It is the last to be chosen from now on.
    pub(super) fn give_up(&mut self, offers: &[Offer], now: Instant) -> Option<PeerId> {
        let useless = self.held.iter().find(|(_, held)| held.in_vain.len() >= IN_VAIN).map(|(relay, _)| *relay)?;
        let takes_its_place = |offer: &Offer| {
            let waits = self.refused.get(&offer.peer).is_some_and(|refused| now < refused.until);
            !waits && !self.held.contains_key(&offer.peer) && !self.useless.contains(&offer.peer)
        };
        if !offers.iter().any(takes_its_place) {
            return None;
        }
        if self.useless.len() >= REMEMBERED {
            self.useless.pop_first();
        }
        self.useless.insert(useless);
        Some(useless)
    }

    /// A relay could not even be asked.
    pub(super) fn refused(&mut self, peer: PeerId, now: Instant) {
        let pause = self.refused.get(&peer).map_or(FIRST_PAUSE, |refused| (refused.pause * 2).min(LONGEST_PAUSE));
        if self.refused.len() >= REMEMBERED && !self.refused.contains_key(&peer) {
            // Who may be asked again first is forgotten: most are long gone, and whoever refuses now must not be asked at every tick.
            let first = self.refused.iter().min_by_key(|(_, refused)| refused.until).map(|(first, _)| *first);
            if let Some(first) = first {
                self.refused.remove(&first);
            }
        }
        self.refused.insert(peer, Refused { until: now + pause, pause });
    }

    /// A relay holds a place, or has renewed it. True if it is a new one.
    pub(super) fn accepted(&mut self, peer: &PeerId, now: Instant) -> bool {
        self.refused.remove(peer);
        let Some(held) = self.held.get_mut(peer) else { return false };
        held.accepted.replace(held.accepted.unwrap_or(now)).is_none()
    }

    /// A listener closed. Returns the relay that it belonged to, and whether that had held a place.
    pub(super) fn closed(&mut self, listener: ListenerId, now: Instant) -> Option<(PeerId, bool)> {
        let peer = self.held.iter().find(|(_, held)| held.listener == listener).map(|(peer, _)| *peer)?;
        let was_held = self.held.remove(&peer).is_some_and(|held| held.accepted.is_some());
        if was_held {
            // Most likely its connection ended: it may be asked as soon as it is back.
            self.refused.remove(&peer);
        } else {
            self.refused(peer, now);
        }
        Some((peer, was_held))
    }

    /// Whoever refused may be asked again: the network has changed.
    pub(super) fn forgive(&mut self) {
        self.refused.clear();
        self.useless.clear();
    }

    /// Relays that hold a place.
    pub(super) fn holding(&self) -> impl Iterator<Item = (&PeerId, &Held)> {
        self.held.iter().filter(|(_, held)| held.accepted.is_some())
    }

    /// Whether a relay holds a place or was asked for one.
    pub(super) fn involves(&self, peer: &PeerId) -> bool {
        self.held.contains_key(peer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn offer(number: u8, configured: bool, since: Instant) -> Offer {
        let peer = crate::network::peer_id(&rocketmesh_protocol::identity::Origin::from_bytes([number; 32]));
        let address = format!("/ip4/203.0.{number}.1/tcp/4848/p2p/{peer}").parse().unwrap();
        Offer { peer, address, configured, since }
    }

    fn ask(relays: &mut Relays, offers: &[Offer], now: Instant) -> Vec<(PeerId, ListenerId)> {
        let chosen = relays.choose(offers, now);
        let mut asked = Vec::new();
        for offer in chosen {
            let listener = ListenerId::next();
            relays.asked(&offer, listener, now);
            asked.push((offer.peer, listener));
        }
        asked
    }

    #[test]
    fn two_are_asked_the_configured_ones_first_then_those_that_lasted() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let offers = [offer(1, false, later), offer(2, false, now), offer(3, true, later)];
        let mut relays = Relays::default();
        let asked: Vec<PeerId> = ask(&mut relays, &offers, later).into_iter().map(|(peer, _)| peer).collect();
        assert_eq!(asked, [offers[2].peer, offers[1].peer]);
        assert!(relays.choose(&offers, later).is_empty(), "two are enough");
    }

    #[test]
    fn a_second_relay_in_another_place_is_preferred() {
        let now = Instant::now();
        let near = Offer { address: "/ip4/203.0.1.9/tcp/4848".parse().unwrap(), ..offer(2, false, now) };
        let far = offer(3, false, now + Duration::from_secs(9));
        let chosen = Relays::default().choose(&[offer(1, true, now), near, far.clone()], now);
        assert_eq!(chosen[1].peer, far.peer);
    }

    #[test]
    fn a_relay_that_dies_is_replaced_at_once_and_may_come_back() {
        let now = Instant::now();
        let offers = [offer(1, true, now), offer(2, false, now), offer(3, false, now)];
        let mut relays = Relays::default();
        let asked = ask(&mut relays, &offers, now);
        for (peer, _) in &asked {
            assert!(relays.accepted(peer, now));
            assert!(!relays.accepted(peer, now), "renewing is nothing new");
        }
        assert_eq!(relays.closed(asked[0].1, now), Some((asked[0].0, true)));
        assert_eq!(relays.choose(&offers[1..], now)[0].peer, offers[2].peer);
        assert_eq!(relays.choose(&offers, now)[0].peer, offers[0].peer, "if it is there again it is as good as before");
    }

    #[test]
    fn a_relay_that_refuses_is_left_alone_ever_longer() {
        let mut now = Instant::now();
        let only = [offer(1, true, now)];
        let mut relays = Relays::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let asked = ask(&mut relays, &only, now);
            assert_eq!(relays.closed(asked[0].1, now), Some((only[0].peer, false)));
            let from = now;
            while relays.choose(&only, now).is_empty() {
                now += Duration::from_secs(1);
            }
            pauses.push((now - from).as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        relays.refused(only[0].peer, now);
        relays.forgive();
        assert_eq!(relays.choose(&only, now).len(), 1);
    }

    #[test]
    fn whoever_refuses_is_left_alone_also_after_many_others_did() {
        let mut now = Instant::now();
        let mut relays = Relays::default();
        for _ in 0..REMEMBERED {
            relays.refused(PeerId::random(), now);
        }
        now += LONGEST_PAUSE;
        let last = offer(1, true, now);
        relays.refused(last.peer, now);
        assert_eq!(relays.refused.len(), REMEMBERED);
        assert!(relays.choose(&[last], now).is_empty());
    }

    #[test]
    fn a_relay_that_forwards_nothing_gives_way_once_two_came_through_it_in_vain() {
        let mut now = Instant::now();
        let offers = [offer(1, true, now), offer(2, true, now), offer(3, false, now)];
        let testers = [4, 5, 6].map(|number| offer(number, false, now).peer);
        let mut relays = Relays::default();
        for (peer, _) in ask(&mut relays, &offers, now) {
            relays.accepted(&peer, now);
        }
        assert_eq!(relays.test(&testers, &mut || 0, now), None, "it has just begun");
        now += FIRST_TEST;
        let mut asked = Vec::new();
        for _ in 0..2 {
            while let Some((relay, tester)) = relays.test(&testers, &mut || 0, now) {
                if relay == offers[1].peer {
                    relays.came(&relay, now);
                } else {
                    asked.push(tester);
                }
                relays.tested(&relay, tester);
            }
            now += NEXT_TEST;
        }
        assert_eq!(asked.len(), 2);
        assert_ne!(asked[0], asked[1], "one that lies is not enough");
        assert_eq!(relays.test(&testers, &mut || 0, now), None, "and no more are asked");
        assert_eq!(relays.give_up(&offers[..2], now), None, "a bad one is better than none");
        assert_eq!(relays.give_up(&offers, now), Some(offers[0].peer));
        let listener = relays.held[&offers[0].peer].listener;
        relays.closed(listener, now);
        assert_eq!(relays.choose(&offers, now)[0].peer, offers[2].peer, "although the other one is configured");
        assert_eq!(relays.choose(&offers[..1], now)[0].peer, offers[0].peer, "where nobody else is left it is tried");
    }

    #[test]
    fn a_relay_through_which_people_come_is_not_tested_and_whoever_holds_none_is_left_alone() {
        let now = Instant::now();
        let offers = [offer(1, true, now), offer(2, true, now)];
        let testers = [offer(4, false, now).peer];
        let mut relays = Relays::default();
        assert_eq!(relays.test(&testers, &mut || 0, now), None);
        for (peer, _) in ask(&mut relays, &offers, now) {
            relays.accepted(&peer, now);
            relays.came(&peer, now);
        }
        assert_eq!(relays.test(&testers, &mut || 0, now + FIRST_TEST), None);
        assert!(relays.test(&testers, &mut || 0, now + TRUSTED).is_some(), "what was once proven is not for ever");
        let later = now + TRUSTED + NEXT_TEST;
        let by_the_first = relays.test(&[offers[0].peer], &mut || 0, later).map(|(relay, _)| relay);
        assert_eq!(by_the_first, Some(offers[1].peer), "a relay does not come through itself");
    }

    #[test]
    fn one_that_does_not_answer_keeps_no_other_from_being_asked() {
        let now = Instant::now();
        let offers = [offer(1, true, now), offer(2, true, now), offer(3, false, now), offer(4, false, now)];
        let mut relays = Relays::default();
        ask(&mut relays, &offers, now);
        assert!(relays.choose(&offers, now).is_empty());
        assert_eq!(relays.choose(&offers, now + PATIENCE).len(), 2);
    }
}
