//! Whether others reach this node, and at which addresses. Evidence goes in, a verdict comes out; time and peers are arguments.
//!
//! ```text
//!   named     peers say at which address they see this node          ─► worth testing once several say the same
//!   tested    a server was asked to dial an address, and did or did not ─► confirmed or refuted, by more than one where there are
//!   came      a peer opened a connection to this node by itself        ─► reachable from where that peer stands
//!   own       what is listened on, configured, or mapped by the router
//! ```
//!
//! Whom to ask is drawn by lot, so that nobody can choose a key that is asked before others, and tests are rationed: a server
//! may answer nothing and have this node send it what it demands first.
//!
//! Only what reaches as far as the farthest connected peer stands counts: an address of the local network proves nothing to
//! somebody across the internet, and is all that is needed where everybody is on it.

mod candidate;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use tokio::time::Instant;

use candidate::{Candidate, Test, Tried};

use super::observed::{Block, agree, are_alike, block, same_family, voices_needed};
use crate::network::address::{Scope, scope};
use crate::network::prober::Outcome;
use crate::network::quota::Quota;

/// The most addresses that are looked at, and how many of them may be this node's own: a machine with many virtual networks has
/// that many. The rest would be what somebody makes up.
const ADDRESSES: usize = 64;
const OWN: usize = 48;
/// The most peers whose word about one address is kept, and the most that came by themselves.
const VOICES: usize = 32;
/// The most tests of one address that are kept.
const TESTS: usize = 8;
/// The most addresses that one peer may name: one for each transport and version of IP.
const WORDS: usize = 4;
/// How long a peer's word counts. It says it again every five minutes.
const WORD: Duration = Duration::from_secs(15 * 60);
/// How long a test counts beside newer ones.
const FRESH: Duration = Duration::from_secs(30 * 60);
/// How old the other tests may be when a new one contradicts what was settled; older ones are made again.
const DOUBT: Duration = Duration::from_secs(60);
/// When a confirmed address is tested again, and when a refuted one is, the first times and from then on.
const AGAIN_CONFIRMED: Duration = Duration::from_secs(10 * 60);
const AGAIN_REFUTED: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];
/// Tests at once after a pause, and in an hour on average: sixty cost 6 MB at the most. A node that starts on two transports asks
/// six times.
const TESTS_AT_ONCE: f64 = 40.0;
const TESTS_AN_HOUR: f64 = 60.0;
/// How long nothing is heard of a question before it counts as lost. The prober tells before that.
const LOST: Duration = Duration::from_secs(40);
/// Tests under way at a time: each may cost 100 kB.
const UNDER_WAY: usize = 2;
/// How long connected peers may leave open whether this node can be reached, if it seems not to be.
const GRACE: Duration = Duration::from_secs(20);
/// How many have to come by themselves to count without any test.
const GUESTS: usize = 2;
/// How long what was settled stands while nobody can test it again.
const STANDS: Duration = Duration::from_secs(60 * 60);

/// Why an address is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// This node listens on it.
    Listening,
    /// The administrator says so.
    Configured,
    /// The router forwards it.
    Mapped,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Untested,
    Confirmed,
    Refuted,
}

/// Whether others reach this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::network) enum Verdict {
    /// It is not known yet.
    #[default]
    Unknown,
    /// They do not, unless through a relay.
    Private,
    /// They do.
    Public,
}

impl Verdict {
    pub(in crate::network) const fn word(self) -> &'static str {
        match self {
            Verdict::Unknown => "unknown",
            Verdict::Private => "private",
            Verdict::Public => "public",
        }
    }
}

/// A connected server that can be asked to dial.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) peer: PeerId,
    pub(super) address: Multiaddr,
    pub(super) stands: Scope,
}

/// What is shown of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) address: Multiaddr,
    pub(super) sources: BTreeSet<Source>,
    pub(super) standing: Standing,
    pub(super) named: usize,
    pub(super) reached: usize,
    pub(super) unreached: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reach {
    candidates: BTreeMap<Multiaddr, Candidate>,
    came: BTreeMap<PeerId, (Scope, Instant)>,
    /// How far away the farthest connected peer stands.
    farthest: Option<Scope>,
    /// Since when peers are connected without a break.
    company_since: Option<Instant>,
    /// Servers that could test, when it was last looked at.
    servers: usize,
    /// What tests may still cost.
    ration: Option<Quota>,
}

impl Reach {
    /// Says what this node has by itself: listened on, configured, mapped.
    pub(super) fn own(&mut self, own: &BTreeSet<(Source, Multiaddr)>, now: Instant) {
        for candidate in self.candidates.values_mut() {
            candidate.sources.clear();
        }
        let mut own: Vec<&(Source, Multiaddr)> = own.iter().collect();
        own.sort_by_key(|(source, address)| (Reverse(scope(address)), *source));
        own.truncate(OWN);
        // Those that are there already come first, so that none of them makes room for another.
        own.sort_by_key(|(_, address)| !self.candidates.contains_key(address));
        for (source, address) in own {
            self.make_room(address, usize::MAX);
            if let Some(candidate) = self.candidate(address, now) {
                candidate.sources.insert(*source);
            }
        }
        for candidate in self.candidates.values_mut() {
            let mapped = candidate.sources.contains(&Source::Mapped);
            candidate.mapped = candidate.mapped.or(Some(now)).filter(|_| mapped);
        }
        self.sweep(now);
    }

    /// Makes room for an address by forgetting one that is not this node's own and that at most so many peers name.
    fn make_room(&mut self, address: &Multiaddr, named_by: usize) {
        if self.candidates.len() < ADDRESSES || self.candidates.contains_key(address) {
            return;
        }
        let goes = |candidate: &Candidate| candidate.sources.is_empty() && candidate.named.len() <= named_by;
        let free = self.candidates.iter().filter(|(_, candidate)| goes(candidate));
        let goes = free.min_by_key(|(_, candidate)| candidate.named.len()).map(|(address, _)| address.clone());
        if let Some(goes) = goes {
            self.candidates.remove(&goes);
        }
    }

    fn candidate(&mut self, address: &Multiaddr, now: Instant) -> Option<&mut Candidate> {
        if self.candidates.len() >= ADDRESSES && !self.candidates.contains_key(address) {
            return None;
        }
        Some(self.candidates.entry(address.clone()).or_insert_with(|| Candidate::new(now)))
    }

    /// Forgets what is too old to count, and addresses that nothing speaks for.
    fn sweep(&mut self, now: Instant) {
        for candidate in self.candidates.values_mut() {
            candidate.named.retain(|_, (_, at)| now.duration_since(*at) < WORD);
            candidate.tests.retain(|_, test| now.duration_since(test.at) < FRESH);
            candidate.tried.retain(|_, tried| now.duration_since(tried.at) < FRESH);
            if now.duration_since(candidate.settled) >= STANDS {
                candidate.standing = Standing::Untested;
            }
            if candidate.asked.is_some_and(|(_, at)| now.duration_since(at) >= LOST) {
                candidate.asked = None;
            }
        }
        self.candidates.retain(|_, candidate| !candidate.sources.is_empty() || !candidate.named.is_empty());
        self.came.retain(|_, (_, at)| now.duration_since(*at) < FRESH);
    }

    /// A peer says that it sees this node at an address. Its oldest word makes room for a new one, and what only one peer
    /// says for what another does.
    pub(super) fn named(&mut self, address: &Multiaddr, peer: PeerId, block: Block, now: Instant) {
        if !self.candidates.contains_key(address) {
            let of_peer = |(named, candidate): (&Multiaddr, &Candidate)| {
                candidate.named.get(&peer).map(|(_, at)| (*at, named.clone()))
            };
            let mut words: Vec<(Instant, Multiaddr)> = self.candidates.iter().filter_map(of_peer).collect();
            words.sort_unstable();
            if let Some((_, oldest)) = words.into_iter().rev().nth(WORDS - 1)
                && let Some(candidate) = self.candidates.get_mut(&oldest)
            {
                candidate.named.remove(&peer);
            }
            self.candidates.retain(|_, candidate| !candidate.sources.is_empty() || !candidate.named.is_empty());
            self.make_room(address, 1);
        }
        if let Some(candidate) = self.candidate(address, now)
            && (candidate.named.len() < VOICES || candidate.named.contains_key(&peer))
        {
            candidate.named.insert(peer, (block, now));
        }
    }

    /// A peer opened a direct connection by itself.
    pub(super) fn came(&mut self, peer: PeerId, stands: Scope, now: Instant) {
        if self.came.len() < VOICES || self.came.contains_key(&peer) {
            self.came.insert(peer, (stands, now));
        }
    }

    /// Whether somebody came from as far away as the farthest peer stands.
    pub(super) fn was_reached(&self) -> bool {
        self.came.values().any(|(stands, _)| self.farthest.is_none_or(|farthest| *stands >= farthest))
    }

    /// Where the farthest connected peer stands; none while nobody is connected.
    pub(super) fn stands(&mut self, farthest: Option<Scope>, now: Instant) {
        match farthest {
            None => self.company_since = None,
            Some(_) if self.farthest != farthest => self.company_since = Some(now),
            Some(_) => _ = self.company_since.get_or_insert(now),
        }
        self.farthest = farthest;
    }

    /// Everything may be different: the network has changed. What is settled stands until it is tested anew, at once.
    pub(super) fn changed(&mut self, now: Instant) {
        self.came.clear();
        for candidate in self.candidates.values_mut() {
            candidate.tests.clear();
            candidate.tried.clear();
            candidate.asked = None;
            candidate.next = now;
            candidate.refutations = 0;
            candidate.repeats = 0;
        }
        self.company_since = self.farthest.map(|_| now);
        self.sweep(now);
    }

    /// Which tests to make now: whom to ask for which address. `random` decides between servers that are as good.
    pub(super) fn due(
        &mut self,
        servers: &[Server],
        random: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Vec<(PeerId, Multiaddr)> {
        self.sweep(now);
        let farthest = self.farthest;
        let far_enough = |server: &&Server| farthest.is_none_or(|farthest| server.stands >= farthest);
        let servers: Vec<&Server> = servers.iter().filter(far_enough).collect();
        self.servers = servers.len();
        let believed: BTreeSet<Multiaddr> = self.relevant().map(|(address, _)| address.clone()).collect();
        let mut under_way = self.candidates.values().filter(|candidate| candidate.asked.is_some()).count();
        let mut due = Vec::new();
        for (address, candidate) in &mut self.candidates {
            let able: Vec<&Server> =
                servers.iter().filter(|server| same_family(&server.address, address)).copied().collect();
            let answering = able.iter().filter(|server| !candidate.is_silent(&server.peer));
            let blocks: BTreeSet<Block> = answering.clone().map(|server| block(&server.address)).collect();
            candidate.able = (answering.count(), blocks.len());
            if under_way >= UNDER_WAY || candidate.asked.is_some() || !believed.contains(address) {
                continue;
            }
            let settled = candidate.verdict().is_some() && candidate.standing != Standing::Untested;
            if settled && now < candidate.next {
                continue;
            }
            let Some(server) = candidate.choose(&able, random, now) else { continue };
            let ration = self.ration.get_or_insert_with(|| Quota::new(TESTS_AN_HOUR / 3600.0, TESTS_AT_ONCE, now));
            if !ration.take(now) {
                break;
            }
            let tried = Tried { from: block(&server.address), at: now };
            if candidate.tried.insert(server.peer, tried).is_some() && !settled {
                candidate.repeats += 1;
            }
            candidate.asked = Some((server.peer, now));
            under_way += 1;
            due.push((server.peer, address.clone()));
        }
        due
    }

    /// A test could not be made after all.
    pub(super) fn not_asked(&mut self, address: &Multiaddr) {
        if let Some(candidate) = self.candidates.get_mut(address) {
            candidate.asked = None;
        }
    }

    /// What a test came to.
    pub(super) fn tested(&mut self, address: &Multiaddr, server: PeerId, outcome: Outcome, now: Instant) {
        let Some(candidate) = self.candidates.get_mut(address) else { return };
        if candidate.asked.is_some_and(|(asked, _)| asked == server) {
            candidate.asked = None;
        }
        // Asked before everything may have changed.
        let Some(from) = candidate.tried.get(&server).map(|tried| tried.from) else { return };
        let reached = match outcome {
            Outcome::Reached => true,
            Outcome::Unreached => false,
            Outcome::Unanswered => return,
        };
        let contradicts = match candidate.standing {
            Standing::Confirmed => !reached,
            Standing::Refuted => reached,
            Standing::Untested => false,
        };
        if contradicts {
            candidate.tests.retain(|_, test| now.duration_since(test.at) < DOUBT);
            candidate.tried.retain(|peer, tried| *peer == server || now.duration_since(tried.at) < DOUBT);
            candidate.next = now;
        }
        if candidate.tests.len() >= TESTS
            && !candidate.tests.contains_key(&server)
            && let Some(oldest) = candidate.tests.iter().min_by_key(|(_, test)| test.at).map(|(peer, _)| *peer)
        {
            candidate.tests.remove(&oldest);
        }
        candidate.tests.insert(server, Test { reached, from, at: now });
        let verdict = candidate.verdict();
        match verdict {
            Some(Standing::Confirmed) => {
                candidate.refutations = 0;
                candidate.next = now + AGAIN_CONFIRMED;
            }
            Some(Standing::Refuted) => {
                let again = AGAIN_REFUTED.get(candidate.refutations).or(AGAIN_REFUTED.last());
                candidate.refutations += 1;
                candidate.next = now + again.copied().unwrap_or(AGAIN_CONFIRMED);
            }
            _ => {}
        }
        if let Some(standing) = verdict {
            candidate.standing = standing;
            candidate.settled = now;
            candidate.repeats = 0;
        }
    }

    /// Addresses that reach far enough and that are believed to be this node's.
    fn relevant(&self) -> impl Iterator<Item = (&Multiaddr, &Candidate)> {
        let farthest = self.farthest.unwrap_or(Scope::Loopback);
        self.candidates.iter().filter(move |(address, candidate)| {
            let own = !candidate.sources.is_empty();
            // What was tested stands on its tests, whatever else somebody names.
            let settled = candidate.standing != Standing::Untested && !candidate.named.is_empty();
            scope(address) >= farthest && (own || settled || agree(&candidate.named, self.voices_needed(address)))
        })
    }

    /// How many have to name the same address, of those that name any of its kind.
    fn voices_needed(&self, about: &Multiaddr) -> (usize, usize) {
        let alike = self.candidates.iter().filter(|(address, _)| are_alike(address, about));
        voices_needed(alike.map(|(_, candidate)| &candidate.named))
    }

    /// Whether others reach this node.
    pub(super) fn verdict(&self, now: Instant) -> Verdict {
        let standings =
            |standing: Standing| self.relevant().filter(move |(_, candidate)| candidate.standing == standing);
        if standings(Standing::Confirmed).next().is_some() {
            return Verdict::Public;
        }
        let refuted = standings(Standing::Refuted).next().is_some();
        if self.relevant().any(|(_, candidate)| candidate.is_granted(now)) {
            return Verdict::Public;
        }
        if !refuted && self.guests() >= GUESTS {
            return Verdict::Public;
        }
        let Some(since) = self.company_since else { return Verdict::Unknown };
        let untested = standings(Standing::Untested).next().is_some();
        let patient = now.duration_since(since) < GRACE;
        match (refuted, untested) {
            (true, false) => Verdict::Private,
            // What is left may be of a kind that nobody here can test.
            (true, true) if now.duration_since(since) >= 3 * GRACE => Verdict::Private,
            // Nothing to be tested: it listens nowhere, or only where the others are not.
            (false, false) if !patient => Verdict::Private,
            _ => Verdict::Unknown,
        }
    }

    /// How many came by themselves from far enough away.
    pub(super) fn guests(&self) -> usize {
        let farthest = self.farthest.unwrap_or(Scope::Loopback);
        self.came.values().filter(|(stands, _)| *stands >= farthest).count()
    }

    /// Whether to look for relays: certainly while nobody reaches this node, and also while that is likely.
    pub(super) fn wants_relays(&self, now: Instant) -> bool {
        match self.verdict(now) {
            Verdict::Private => true,
            Verdict::Public => false,
            Verdict::Unknown => {
                let Some((farthest, since)) = self.farthest.zip(self.company_since) else { return false };
                let listens = |(address, candidate): (&Multiaddr, &Candidate)| {
                    candidate.sources.contains(&Source::Listening) && scope(address) >= farthest
                };
                !self.candidates.iter().any(listens) || now.duration_since(since) >= GRACE
            }
        }
    }

    /// Addresses to tell others of beside those that are listened on.
    pub(super) fn proven(&self, now: Instant) -> Vec<Multiaddr> {
        let tell = |(_, candidate): &(&Multiaddr, &Candidate)| {
            candidate.standing == Standing::Confirmed || candidate.is_granted(now)
        };
        self.relevant().filter(tell).map(|(address, _)| address.clone()).collect()
    }

    /// Whether tests have shown that an address cannot be reached from where the farthest peers are.
    pub(super) fn is_refuted(&self, address: &Multiaddr) -> bool {
        self.relevant().any(|(own, candidate)| own == address && candidate.standing == Standing::Refuted)
    }

    /// What is known of each address, for people to see.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = |(address, candidate): (&Multiaddr, &Candidate)| {
            let (reached, unreached) = candidate.counts();
            Seen {
                address: address.clone(),
                sources: candidate.sources.clone(),
                standing: candidate.standing,
                named: candidate.named.len(),
                reached,
                unreached,
            }
        };
        self.candidates.iter().map(seen).collect()
    }

    /// How many servers could test, when it was last looked at.
    pub(super) fn testers(&self) -> usize {
        self.servers
    }

    /// Where the farthest connected peer stands.
    pub(super) fn farthest(&self) -> Option<Scope> {
        self.farthest
    }
}

#[cfg(test)]
mod tests;
