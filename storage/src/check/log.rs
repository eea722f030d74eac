//! The local log: its positions, and what it says of each event. Ids come in shares, so that only so many arrivals are
//! in memory at a time.

use std::collections::BTreeMap;
use std::ops::Bound;

use rocketmesh_protocol::id::{EventId, RoomId};

use super::mending::{ENTRIES, Pages, RECORDS};
use super::{Checker, FindingKind, Stop};
use crate::backend::after_prefix;
use crate::layout;
use crate::store::{LogEntry, LogKind, LogPosition, Verdict};

/// How many arrivals are in memory at a time: about 25 MB.
const ARRIVALS_AT_A_TIME: u64 = 1 << 18;
/// How many beginnings an id can have, by its first two bytes.
const BEGINNINGS: u32 = 1 << 16;

/// What the log says of an event: its room, and what became of the event last.
pub(super) struct Arrival {
    pub(super) room: RoomId,
    pub(super) verdict: Verdict,
}

pub(super) type Arrivals = BTreeMap<EventId, Arrival>;

impl Checker<'_> {
    /// The shares of all ids, as many as the log asks for.
    pub(super) fn shares(&self) -> Vec<Share> {
        Share::all(self.mending.log_end() / ARRIVALS_AT_A_TIME + 1).collect()
    }

    /// What the log says of the events of a share. The log itself is looked at along with the first.
    pub(super) fn arrivals(&mut self, share: &Share) -> Result<Arrivals, Stop> {
        let mut arrivals = Arrivals::new();
        let mut next = 1;
        let mut pages = Pages::below(&[layout::LOG], ENTRIES);
        while let Some(page) = pages.read(&self.mending)? {
            for (key, record) in page {
                let entry = layout::read_log(&key, &record).ok();
                if share.is_first() {
                    next = self.look_at_position(next, &key, entry.is_some());
                }
                if let Some(entry) = entry.filter(|entry| share.contains(&entry.event)) {
                    self.note_entry(&mut arrivals, &entry);
                }
            }
        }
        Ok(arrivals)
    }

    /// Holds an entry of the log against the position that it should have, and returns that of the next.
    fn look_at_position(&mut self, next: LogPosition, key: &[u8], readable: bool) -> LogPosition {
        self.report.log_entries += 1;
        let position = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map_or(next, u64::from_be_bytes);
        if position > next {
            let last = position - 1;
            let gap = if last == next {
                format!("position {next} is missing")
            } else {
                format!("positions {next} to {last} are missing")
            };
            self.note_irreplaceable(FindingKind::Log, None, None, gap);
        }
        if !readable {
            self.note_irreplaceable(FindingKind::Log, None, None, format!("position {position} cannot be read"));
        }
        position.max(next).saturating_add(1)
    }

    fn note_entry(&mut self, arrivals: &mut Arrivals, entry: &LogEntry) {
        let verdict = match entry.kind {
            LogKind::Accepted | LogKind::AcceptedLate | LogKind::Restored => Verdict::Accepted,
            LogKind::Rejected => Verdict::Rejected,
            LogKind::ArrivedWithheld | LogKind::Withheld => Verdict::Withheld,
            LogKind::BodyArrived | LogKind::Erased | LogKind::Ahead => return,
        };
        if !entry.kind.is_arrival() {
            if let Some(arrival) = arrivals.get_mut(&entry.event) {
                arrival.verdict = verdict;
            }
        } else if arrivals.insert(entry.event, Arrival { room: entry.room, verdict }).is_some() {
            let what = format!("the log says once more at position {} that it came", entry.position);
            self.note_irreplaceable(FindingKind::Log, Some(entry.room), Some(entry.event), what);
        }
    }
}

/// A share of all ids, by their first two bytes, which are evenly spread since ids are hashes.
pub(super) struct Share {
    from: u32,
    to: u32,
}

impl Share {
    fn all(shares: u64) -> impl Iterator<Item = Share> {
        let shares = shares.min(u64::from(BEGINNINGS)) as u32;
        let begin = move |share: u32| (u64::from(BEGINNINGS) * u64::from(share) / u64::from(shares)) as u32;
        (0..shares).map(move |share| Share { from: begin(share), to: begin(share + 1) })
    }

    fn is_first(&self) -> bool {
        self.from == 0
    }

    fn contains(&self, id: &EventId) -> bool {
        let [first, second, ..] = *id.hash();
        (self.from..self.to).contains(&u32::from(u16::from_be_bytes([first, second])))
    }

    /// The records of the share's events.
    pub(super) fn pages(&self) -> Pages {
        let key = |beginning: u32| layout::key(layout::EVENT, &[&(beginning as u16).to_be_bytes()]);
        let from = if self.is_first() { vec![layout::EVENT] } else { key(self.from) };
        let to = if self.to == BEGINNINGS { after_prefix(&[layout::EVENT]) } else { Bound::Excluded(key(self.to)) };
        Pages::between(Bound::Included(from), to, RECORDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_hold_every_id_once() {
        for shares in [1, 2, 3, 1000, u64::MAX] {
            let all: Vec<Share> = Share::all(shares).collect();
            assert!(all.first().is_some_and(Share::is_first) && all.last().is_some_and(|last| last.to == BEGINNINGS));
            assert!(all.windows(2).all(|pair| pair[0].to == pair[1].from), "{shares}");
            assert!(all.iter().skip(1).all(|share| !share.is_first()), "{shares}");
            let id = EventId::from_hash([0xab; 32]);
            assert_eq!(all.iter().filter(|share| share.contains(&id)).count(), 1, "{shares}");
        }
    }
}
