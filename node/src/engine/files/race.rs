//! Asking several holders for ranges of one file, until all have come or nobody is left to ask.
//!
//! The range at the file's end comes first and alone. A holder that does not answer delays only what it was asked for: after a
//! while somebody else is asked for the same, and whoever is first counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::identity::PeerId;
use rocketmesh_protocol::file::FileRange;
use rocketmesh_protocol::limits::FILE_RANGE_BYTES;
use rocketmesh_protocol::wire::{Refused, Request, Response};
use tokio::time::Instant;

use super::fetch::Fetch;
use super::holders::Holders;
use crate::network::RequestError;

/// Ranges that are under way at once, each with a slice of a little more than a mebibyte.
const AT_ONCE: usize = 8;
/// How long nothing may come before somebody else is asked for a range too, and how many may be asked so.
const HEDGE: Duration = Duration::from_secs(3);
const HEDGES: usize = 4;

/// What a holder answered.
enum Answer {
    Slice(Vec<u8>),
    /// It has no time now.
    Later,
    /// It does not have the file, or does not answer.
    Not,
    /// Something that no honest server answers.
    Lie,
}

type Asked = BoxFuture<'static, (PeerId, u64, Answer)>;

/// The ranges of a file that are still to come, and who was asked for them.
pub(super) struct Race<'a> {
    fetch: &'a Fetch<'a>,
    size: u64,
    missing: BTreeSet<u64>,
    holders: &'a mut Holders,
    /// Who was asked for which range and has not answered.
    asked: BTreeMap<u64, BTreeSet<PeerId>>,
    under_way: FuturesUnordered<Asked>,
}

impl<'a> Race<'a> {
    pub(super) fn new(fetch: &'a Fetch<'a>, size: u64, missing: Vec<u64>, holders: &'a mut Holders) -> Self {
        let missing = missing.into_iter().collect();
        Race { fetch, size, missing, holders, asked: BTreeMap::new(), under_way: FuturesUnordered::new() }
    }

    /// The next slice that somebody sent, unverified, with the range that it is to be of. None once all ranges have come, or nobody
    /// is left to ask.
    pub(super) async fn next(&mut self) -> Option<(PeerId, FileRange, Vec<u8>)> {
        while !self.missing.is_empty() {
            self.holders.look(self.fetch.engine).await;
            self.hand_out();
            if self.under_way.is_empty() {
                tokio::time::sleep_until(self.holders.rested()?).await;
                continue;
            }
            match tokio::time::timeout(HEDGE, self.under_way.next()).await {
                Ok(Some((peer, number, answer))) => {
                    if let Some(slice) = self.hear(peer, number, answer).await {
                        return Some((peer, FileRange::numbered(number, self.size)?, slice));
                    }
                }
                Ok(None) => {}
                // Whoever is slow may be stalling.
                Err(_) => self.hedge(),
            }
        }
        None
    }

    /// What became of a slice: whether it verified.
    pub(super) fn judged(&mut self, peer: &PeerId, range: FileRange, sound: bool) {
        self.holders.answered(peer, sound);
        if sound {
            self.missing.remove(&(range.from() / FILE_RANGE_BYTES));
        } else {
            self.holders.leave_out(peer);
        }
    }

    /// Whether the range at the end has come.
    pub(super) fn is_proven(&self) -> bool {
        !self.missing.contains(&self.end())
    }

    /// Whether all have come.
    pub(super) fn is_over(&self) -> bool {
        self.missing.is_empty()
    }

    fn end(&self) -> u64 {
        FileRange::count(self.size).saturating_sub(1)
    }

    /// The ranges that may be asked for now.
    fn wanted(&self) -> Vec<u64> {
        if self.is_proven() { self.missing.iter().copied().take(AT_ONCE + HEDGES).collect() } else { vec![self.end()] }
    }

    /// Asks for ranges that nobody is asked for.
    fn hand_out(&mut self) {
        for number in self.wanted() {
            if self.under_way.len() >= AT_ONCE {
                return;
            }
            if !self.asked.contains_key(&number) && !self.ask(number) {
                return;
            }
        }
    }

    /// Asks one more holder for the range for which the fewest are asked.
    fn hedge(&mut self) {
        let asked = |number: &u64| self.asked.get(number).map_or(0, BTreeSet::len);
        if let Some(number) = self.wanted().into_iter().min_by_key(asked)
            && self.under_way.len() < AT_ONCE + HEDGES
        {
            self.ask(number);
        }
    }

    /// Asks some holder for a range; false if there is none that has time.
    fn ask(&mut self, number: u64) -> bool {
        let Some(range) = FileRange::numbered(number, self.size) else { return false };
        let others = self.asked.get(&number).cloned().unwrap_or_default();
        let Some(peer) = self.holders.take(&others, Instant::now()) else { return false };
        self.asked.entry(number).or_default().insert(peer);
        let network = self.fetch.engine.network.clone();
        let request = Request::File { room: self.fetch.room, file: self.fetch.file, range };
        self.under_way.push(Box::pin(async move { (peer, number, heard(network.request(peer, &request).await)) }));
        true
    }

    /// Takes note of an answer. Returns the slice in it, if that is still of use.
    async fn hear(&mut self, peer: PeerId, number: u64, answer: Answer) -> Option<Vec<u8>> {
        if let Some(others) = self.asked.get_mut(&number) {
            others.remove(&peer);
            if others.is_empty() {
                self.asked.remove(&number);
            }
        }
        if let Answer::Slice(slice) = answer {
            if self.missing.contains(&number) {
                return Some(slice);
            }
            // Another was faster.
            self.holders.answered(&peer, true);
            return None;
        }
        self.holders.answered(&peer, false);
        match answer {
            Answer::Later => self.holders.rest(&peer, Instant::now()),
            Answer::Lie => {
                self.holders.leave_out(&peer);
                self.fetch.blame(peer).await;
            }
            Answer::Not | Answer::Slice(_) => self.holders.leave_out(&peer),
        }
        None
    }
}

/// What an answer means.
fn heard(answer: Result<Response, RequestError>) -> Answer {
    match answer {
        Ok(Response::Slice { slice }) => Answer::Slice(slice),
        Ok(Response::Refused(Refused::TooMany)) => Answer::Later,
        Ok(Response::Refused(_)) | Err(RequestError::Unanswered(_) | RequestError::Closed(_)) => Answer::Not,
        Ok(_) | Err(RequestError::Malformed(_)) => Answer::Lie,
    }
}
