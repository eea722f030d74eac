//! One address that may be this node's: who names it, who has tested it, and what that comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::identity::PeerId;
use tokio::time::Instant;

use super::super::observed::{Block, Voices, block};
use super::{Server, Source, Standing};

/// How long a server is left alone about an address after it was asked. It doubles, as often as said, while the tests settle
/// nothing: up to twenty minutes.
pub(super) const SAME_SERVER: Duration = Duration::from_secs(20);
const DOUBLINGS: u32 = 6;
/// How many servers have to say the same at the most. Where fewer can be asked it is more than half of them.
const QUORUM: usize = 3;
/// How long the word of the router counts that it forwards a port, while nobody can test it.
const ROUTERS_WORD: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    pub(super) reached: bool,
    /// Where the server stands.
    pub(super) from: Block,
    pub(super) at: Instant,
}

/// When a server was last asked, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried {
    pub(super) from: Block,
    pub(super) at: Instant,
}

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) sources: BTreeSet<Source>,
    pub(super) named: Voices,
    pub(super) tests: BTreeMap<PeerId, Test>,
    /// Servers that were asked, whether they answered or not.
    pub(super) tried: BTreeMap<PeerId, Tried>,
    pub(super) asked: Option<(PeerId, Instant)>,
    pub(super) standing: Standing,
    /// When tests last settled it.
    pub(super) settled: Instant,
    /// When to test again what is settled.
    pub(super) next: Instant,
    pub(super) refutations: usize,
    /// How often servers were asked again without anything being settled.
    pub(super) repeats: u32,
    /// How many servers can test it and do answer, and of how many blocks, when it was last looked at.
    pub(super) able: (usize, usize),
    /// Since when the router says that it forwards it.
    pub(super) mapped: Option<Instant>,
}

impl Candidate {
    pub(super) fn new(now: Instant) -> Self {
        Candidate {
            sources: BTreeSet::new(),
            named: BTreeMap::new(),
            tests: BTreeMap::new(),
            tried: BTreeMap::new(),
            asked: None,
            standing: Standing::Untested,
            settled: now,
            next: now,
            refutations: 0,
            repeats: 0,
            able: (0, 0),
            mapped: None,
        }
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        let reached = self.tests.values().filter(|test| test.reached).count();
        (reached, self.tests.len() - reached)
    }

    /// What the tests say, if they agree by more than half, and those that agree are enough: more than half of the servers that
    /// could be asked, three at the most, and from as many blocks as there are, up to that number.
    pub(super) fn verdict(&self) -> Option<Standing> {
        let (servers, blocks) = self.able;
        let enough = (servers / 2 + 1).min(QUORUM);
        let blocks = blocks.clamp(1, enough);
        let says = |reached: bool| {
            let alike = self.tests.values().filter(move |test| test.reached == reached);
            let from: BTreeSet<Block> = alike.clone().map(|test| test.from).collect();
            (alike.count(), from.len())
        };
        let ((reached, near), (unreached, far)) = (says(true), says(false));
        match reached.cmp(&unreached) {
            std::cmp::Ordering::Greater if reached >= enough && near >= blocks => Some(Standing::Confirmed),
            std::cmp::Ordering::Less if unreached >= enough && far >= blocks => Some(Standing::Refuted),
            _ => None,
        }
    }

    /// Whether a server was asked and said nothing.
    pub(super) fn is_silent(&self, server: &PeerId) -> bool {
        let waits = self.asked.is_some_and(|(asked, _)| asked == *server);
        self.tried.contains_key(server) && !self.tests.contains_key(server) && !waits
    }

    /// Whether an untested address is believed because of who gave it: the administrator, or for a while the router, as long as
    /// nobody is there who could test it.
    pub(super) fn is_granted(&self, now: Instant) -> bool {
        let by_router = self.able.0 == 0 && self.mapped.is_some_and(|since| now.duration_since(since) < ROUTERS_WORD);
        self.standing == Standing::Untested && (self.sources.contains(&Source::Configured) || by_router)
    }

    /// Whom to ask now, if anybody: those that have not been asked first, then those that said nothing, then the rest, each time
    /// one from a block that has not spoken if there is one, and of equals by lot.
    pub(super) fn choose<'a>(
        &self,
        able: &[&'a Server],
        random: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Option<&'a Server> {
        let pause = SAME_SERVER * 2_u32.pow(self.repeats.min(DOUBLINGS));
        let heard: BTreeSet<Block> = self.tests.values().map(|test| test.from).collect();
        let free = able.iter().filter(|server| {
            let tried = self.tried.get(&server.peer);
            tried.is_none_or(|tried| now.duration_since(tried.at) >= pause)
        });
        let ranked = free.map(|server| {
            let rank = (
                self.tests.contains_key(&server.peer),
                self.is_silent(&server.peer),
                heard.contains(&block(&server.address)),
                random(),
            );
            (rank, *server)
        });
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, server)| server)
    }
}
