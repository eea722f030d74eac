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
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::limits::FILE_RANGE_BYTES;
use rocketmesh_protocol::wire::{Refused, Request, Response};
use tokio::time::Instant;

use super::fetch::Fetch;
use super::holders::Holders;
use crate::network::RequestError;

/// Ranges that are under way at once, each with a slice of a little more than a mebibyte. Those that have been for longer than
/// [`HEDGE`] do not count: whoever stalls takes nobody's place.
const AT_ONCE: usize = 8;
/// Requests that may be unanswered, with those that are stalled.
const MOST_UNDER_WAY: usize = 32;
/// How long nothing may come before others are asked for a range too, and how many at most each time.
const HEDGE: Duration = Duration::from_secs(3);
const HEDGES: usize = 4;
/// Ranges that are looked at for one that may be asked for.
const LOOKED_AT: usize = AT_ONCE + HEDGES;

/// What a holder answered.
enum Answer {
    Slice(Vec<u8>),
    /// It has no time now.
    Later,
    /// It does not have the file by this room.
    NotHere,
    /// It cannot be asked.
    Not,
    /// It did not answer in time. That is the least that is asked of a holder: a range within the time of a request, which is a mebibyte
    /// in half a minute.
    Silent,
    /// Something that no honest server answers.
    Lie,
}

type Asked = BoxFuture<'static, (PeerId, RoomId, u64, Answer)>;

/// The ranges of a file that are still to come, and who was asked for them.
pub(super) struct Race<'a> {
    fetch: &'a Fetch<'a>,
    size: u64,
    missing: BTreeSet<u64>,
    holders: &'a mut Holders,
    /// Who was asked for which range, and when, and has not answered.
    asked: BTreeMap<u64, BTreeMap<PeerId, Instant>>,
    under_way: FuturesUnordered<Asked>,
    gave_way: bool,
}

impl<'a> Race<'a> {
    pub(super) fn new(fetch: &'a Fetch<'a>, size: u64, missing: Vec<u64>, holders: &'a mut Holders) -> Self {
        let missing = missing.into_iter().collect();
        Race {
            fetch,
            size,
            missing,
            holders,
            asked: BTreeMap::new(),
            under_way: FuturesUnordered::new(),
            gave_way: false,
        }
    }

    /// The next slice that somebody sent, unverified, with the room by which they were asked and the range that it is to be of. None
    /// once all ranges have come, nobody is left to ask, or it is another file's turn.
    pub(super) async fn next(&mut self) -> Option<(PeerId, RoomId, FileRange, Vec<u8>)> {
        while !self.missing.is_empty() {
            self.gave_way = self.fetch.has_to_give_way();
            if self.gave_way {
                return None;
            }
            self.holders.look(self.fetch.engine).await;
            self.hand_out();
            if self.under_way.is_empty() {
                tokio::time::sleep_until(self.holders.rested()?).await;
                continue;
            }
            match tokio::time::timeout(HEDGE, self.under_way.next()).await {
                Ok(Some((peer, room, number, answer))) => {
                    if let Some(slice) = self.hear(peer, room, number, answer).await {
                        return Some((peer, room, FileRange::numbered(number, self.size)?, slice));
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

    /// Whether it ended because others wait for their turn.
    pub(super) fn gave_way(&self) -> bool {
        self.gave_way
    }

    fn end(&self) -> u64 {
        FileRange::count(self.size).saturating_sub(1)
    }

    /// The ranges that may be asked for now.
    fn wanted(&self) -> Vec<u64> {
        if self.is_proven() { self.missing.iter().copied().take(LOOKED_AT).collect() } else { vec![self.end()] }
    }

    /// Asks for ranges that nobody is asked for.
    fn hand_out(&mut self) {
        for number in self.wanted() {
            if self.fresh() >= AT_ONCE || self.under_way.len() >= MOST_UNDER_WAY {
                return;
            }
            if !self.asked.contains_key(&number) && !self.ask(number) {
                return;
            }
        }
    }

    /// How many requests are under way that may still be answered soon.
    fn fresh(&self) -> usize {
        let now = Instant::now();
        self.asked.values().flat_map(BTreeMap::values).filter(|since| **since + HEDGE > now).count()
    }

    /// Asks more holders for the ranges for which the fewest are asked: as many as have been asked in vain, up to a bound.
    fn hedge(&mut self) {
        for _ in 0..self.under_way.len().clamp(1, HEDGES) {
            let asked = |number: &u64| self.asked.get(number).map_or(0, BTreeMap::len);
            let Some(number) = self.wanted().into_iter().min_by_key(asked) else { return };
            if self.under_way.len() >= MOST_UNDER_WAY || !self.ask(number) {
                return;
            }
        }
    }

    /// Asks some holder for a range; false if there is none that has time.
    fn ask(&mut self, number: u64) -> bool {
        let Some(range) = FileRange::numbered(number, self.size) else { return false };
        let others: BTreeSet<PeerId> =
            self.asked.get(&number).map(|asked| asked.keys().copied().collect()).unwrap_or_default();
        let Some(peer) = self.holders.take(&others, Instant::now()) else { return false };
        let Some(room) = self.holders.room(&peer) else {
            // None is known without a room; were there one, it would be asked for nothing.
            self.holders.leave_out(&peer);
            return false;
        };
        self.asked.entry(number).or_default().insert(peer, Instant::now());
        let network = self.fetch.engine.network.clone();
        let request = Request::File { room, file: self.fetch.file, range };
        self.under_way
            .push(Box::pin(async move { (peer, room, number, heard(network.request(peer, &request).await)) }));
        true
    }

    /// Takes note of an answer. Returns the slice in it, if that is still of use.
    async fn hear(&mut self, peer: PeerId, room: RoomId, number: u64, answer: Answer) -> Option<Vec<u8>> {
        if let Some(others) = self.asked.get_mut(&number) {
            if let Some(since) = others.remove(&peer) {
                self.holders.took(&peer, since.elapsed());
            }
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
            Answer::NotHere => self.holders.not_by(&peer, &room),
            Answer::Lie => {
                self.holders.leave_out(&peer);
                self.fetch.blame(peer).await;
            }
            Answer::Silent => {
                self.holders.leave_out(&peer);
                self.fetch.engine.files.note_slow(peer);
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
        Ok(Response::Refused(Refused::NoFile | Refused::UnknownRoom)) => Answer::NotHere,
        Ok(Response::Refused(_)) | Err(RequestError::Closed(_)) => Answer::Not,
        Err(RequestError::Unanswered(_)) => Answer::Silent,
        Ok(_) | Err(RequestError::Malformed(_)) => Answer::Lie,
    }
}
