//! Have-vectors in brief: eight bytes stand for a server or a head, where both sides mostly know which one is meant.
//!
//! Whoever makes two of his own that begin alike hides a difference in his own chains, and only as long as nobody compares
//! whole vectors: two sides whose digests differ and whose brief vectors do not, do so.

use std::collections::BTreeMap;

use crate::codec::Value;
use crate::event::Lane;
use crate::have::{HaveError, HaveVector, SectionDigests, Sections};
use crate::limits::{MAX_NUMBER, MAX_ORIGINS};

/// Bytes of a tag. To meet somebody else's takes 2^64 attempts.
pub const TAG_BYTES: usize = 8;

/// Bytes of a room's digest in a comparison. To find two vectors with one takes 2^64 attempts, and the next event parts them.
pub const SHORT_DIGEST_BYTES: usize = 16;

/// The most heads of a vector that is told at once, rather than its sections: sixteen servers that say things in both lanes.
pub const SKETCHED_HEADS: usize = 32;

/// The first bytes of the key of a server, or of the hash of a room or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag([u8; TAG_BYTES]);

impl Tag {
    /// The tag of a key or a hash.
    pub fn of(whole: &[u8; 32]) -> Self {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&whole[..TAG_BYTES]);
        Tag(tag)
    }

    /// The tag in these bytes.
    pub const fn from_bytes(bytes: [u8; TAG_BYTES]) -> Self {
        Tag(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; TAG_BYTES] {
        &self.0
    }

    pub(crate) fn to_value(self) -> Value {
        self.0.as_slice().into()
    }

    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        Some(Tag(value.as_bytes()?.try_into().ok()?))
    }
}

/// A room's digest in a comparison.
pub type ShortDigest = [u8; SHORT_DIGEST_BYTES];

/// The beginning of a vector's digest.
pub fn short_digest(digest: &[u8; 32]) -> ShortDigest {
    let mut short = [0; SHORT_DIGEST_BYTES];
    short.copy_from_slice(&digest[..SHORT_DIGEST_BYTES]);
    short
}

/// What is held of one lane of one server, in brief.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BriefLane {
    /// The lowest sequence number held.
    pub lowest: u64,
    /// The ends of the chain, ascending by (sequence number, tag); several where the server forked.
    pub heads: Vec<(u64, Tag)>,
}

impl BriefLane {
    /// The sequence number of the highest head.
    pub fn highest(&self) -> u64 {
        self.heads.last().map_or(self.lowest, |(seq, _)| *seq)
    }
}

/// A have-vector, or a part of it, in brief.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brief(BTreeMap<(Tag, Lane), BriefLane>);

impl Brief {
    /// A vector in brief. None where two servers of it, or two heads of one place, begin alike.
    pub fn of(have: &HaveVector) -> Option<Self> {
        let mut brief = Brief::default();
        let mut last = None;
        for (origin, lane, held) in have.lanes() {
            let tag = Tag::of(origin.as_bytes());
            if last.replace((tag, origin)).is_some_and(|(known, other)| known == tag && other != origin) {
                return None;
            }
            let heads: Vec<(u64, Tag)> = held.heads.iter().map(|(seq, id)| (*seq, Tag::of(id.hash()))).collect();
            if !heads.is_sorted_by(|a, b| a < b) {
                return None;
            }
            brief.0.insert((tag, lane), BriefLane { lowest: held.lowest, heads });
        }
        Some(brief)
    }

    /// Every lane, ascending by tag, state before timeline.
    pub fn lanes(&self) -> impl Iterator<Item = (Tag, Lane, &BriefLane)> {
        self.0.iter().map(|((tag, lane), have)| (*tag, *lane, have))
    }

    /// One lane.
    pub fn lane(&self, tag: Tag, lane: Lane) -> Option<&BriefLane> {
        self.0.get(&(tag, lane))
    }

    /// Sets one lane.
    pub fn set_lane(&mut self, tag: Tag, lane: Lane, have: BriefLane) {
        self.0.insert((tag, lane), have);
    }

    /// The part of it that is in these sections.
    #[must_use]
    pub fn within(&self, sections: Sections) -> Self {
        let within = self.0.iter().filter(|((tag, _), _)| sections.contain_tag(tag));
        Brief(within.map(|(lane, have)| (*lane, have.clone())).collect())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The vector as a list of `[tag, state lane, timeline lane]`, a lane being null or `[lowest, seq, tag, seq, tag, …]`.
    pub(crate) fn to_value(&self) -> Value {
        let lane = |tag: Tag, lane: Lane| {
            self.lane(tag, lane).map(|have| {
                let mut list: Vec<Value> = vec![have.lowest.into()];
                for (seq, head) in &have.heads {
                    list.push(Value::from(*seq));
                    list.push(head.to_value());
                }
                Value::List(list)
            })
        };
        let mut tags: Vec<Tag> = self.0.keys().map(|(tag, _)| *tag).collect();
        tags.dedup();
        let entry = |tag: Tag| {
            Value::List(vec![tag.to_value(), lane(tag, Lane::State).into(), lane(tag, Lane::Timeline).into()])
        };
        Value::List(tags.into_iter().map(entry).collect())
    }

    pub(crate) fn from_value(value: &Value) -> Result<Self, HaveError> {
        let entries = value.as_list().ok_or(HaveError::Shape("no list"))?;
        if entries.len() > MAX_ORIGINS {
            return Err(HaveError::Shape("too many servers"));
        }
        let mut brief = Brief::default();
        let mut last = None;
        for entry in entries {
            let malformed = || HaveError::Shape("a malformed entry");
            let Some([tag, state, timeline]) = entry.as_list() else { return Err(malformed()) };
            let tag = Tag::from_value(tag).ok_or_else(malformed)?;
            if last.replace(tag) >= Some(tag) {
                return Err(HaveError::Shape("entries out of order"));
            }
            let before = brief.0.len();
            for (lane, value) in [(Lane::State, state), (Lane::Timeline, timeline)] {
                if *value != Value::Null {
                    brief.0.insert((tag, lane), read_lane(value).ok_or_else(malformed)?);
                }
            }
            if brief.0.len() == before {
                return Err(HaveError::Shape("an entry about nothing"));
            }
        }
        Ok(brief)
    }
}

fn read_lane(value: &Value) -> Option<BriefLane> {
    let (lowest, heads) = value.as_list()?.split_first()?;
    let lowest = lowest.as_u64()?;
    if heads.len() % 2 != 0 {
        return None;
    }
    let head = |pair: &[Value]| Some((pair[0].as_u64()?, Tag::from_value(&pair[1])?));
    let heads: Vec<(u64, Tag)> = heads.chunks_exact(2).map(head).collect::<Option<_>>()?;
    let sound = heads.is_sorted_by(|a, b| a < b)
        && heads.first().is_some_and(|(seq, _)| lowest <= *seq)
        && heads.last().is_some_and(|(seq, _)| *seq <= MAX_NUMBER);
    sound.then_some(BriefLane { lowest, heads })
}

/// What a server tells at once of a room that it holds differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sketch {
    /// Nothing: the asking side may not read all of it, or there is no brief vector of it. It can pull.
    Hidden,
    /// The digests of all sections. The entries of those that differ are asked for.
    Sections(Box<SectionDigests>),
    /// The whole vector in brief.
    Entries(Brief),
}

impl Sketch {
    /// The sketch of a vector: all of it where that is little and wanted, else the digests of its sections.
    pub fn of(have: &HaveVector, entries: bool) -> Self {
        let heads: usize = have.lanes().map(|(_, _, lane)| lane.heads.len()).sum();
        if !entries || heads > SKETCHED_HEADS {
            return Sketch::Sections(Box::new(have.section_digests()));
        }
        Brief::of(have).map_or(Sketch::Hidden, Sketch::Entries)
    }
}
