//! Have-vectors: what a server holds of a room, in a size that grows with the servers and not with the events.
//!
//! Per origin and lane a vector shows the lowest sequence number held and the heads of the chain. Two equal entries prove
//! that nothing of that origin is missing on either side, because a head names its whole chain by hash.

mod brief;

pub use brief::{
    Brief, BriefLane, SHORT_DIGEST_BYTES, SKETCHED_HEADS, ShortDigest, Sketch, TAG_BYTES, Tag, short_digest,
};

use std::collections::BTreeMap;

use crate::codec::{CodecError, Value, decode};
use crate::event::{Event, Lane, encode_own};
use crate::id::EventId;
use crate::identity::Origin;
use crate::limits::{MAX_NUMBER, MAX_ORIGINS};

/// Keeps a digest from meaning anything outside a comparison of have-vectors.
const DIGEST_DOMAIN: &str = "rocketmesh 0 have-vector digest";

/// Why bytes are no have-vector. The fault of whoever sent them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HaveError {
    /// Not deterministic DAG-CBOR.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Not of a have-vector's shape, out of order, or beyond a limit.
    #[error("not a have-vector: {0}")]
    Shape(&'static str),
}

/// Keeps a section's digest from meaning anything else.
const SECTION_DOMAIN: &str = "rocketmesh 0 have-vector section";

/// How many sections a have-vector has.
pub const SECTIONS: usize = 64;

/// Bytes of a section's digest. Whoever makes two alike hides a difference in its own entries only, and only until the
/// whole digests, which still differ, lead to a pull of everything.
pub const SECTION_DIGEST_BYTES: usize = 8;

/// The digests of all sections, in order.
pub type SectionDigests = [[u8; SECTION_DIGEST_BYTES]; SECTIONS];

/// A set of sections of a have-vector. A server's lanes are in the section that the lowest six bits of its origin's first
/// byte name. Two servers whose vectors differ find out in which sections, and need not tell each other the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections(u64);

impl Sections {
    /// All of them.
    pub const ALL: Sections = Sections(u64::MAX);

    /// Those in which two vectors differ.
    pub fn differing(ours: &SectionDigests, theirs: &SectionDigests) -> Self {
        let differs = |at: &usize| ours[*at] != theirs[*at];
        Sections((0..SECTIONS).filter(differs).fold(0, |set, at| set | 1 << at))
    }

    /// The one that a server's lanes are in.
    pub fn of(origin: &Origin) -> Self {
        Sections(1 << section(origin))
    }

    /// The set in 64 bits.
    pub fn from_bits(bits: u64) -> Self {
        Sections(bits)
    }

    /// The set in 64 bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a server's lanes are in one of them.
    pub fn contain(self, origin: &Origin) -> bool {
        self.0 & (1 << section(origin)) != 0
    }

    /// Whether the lanes of the server that a tag means are in one of them.
    pub fn contain_tag(self, tag: &Tag) -> bool {
        self.0 & (1 << (usize::from(tag.as_bytes()[0]) % SECTIONS)) != 0
    }
}

fn section(origin: &Origin) -> usize {
    usize::from(origin.as_bytes()[0]) % SECTIONS
}

/// What is held of one lane of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneHave {
    /// The lowest sequence number held; everything from there up to the heads is held.
    pub lowest: u64,
    /// The ends of the chain, ascending by (sequence number, id); several where the server forked.
    pub heads: Vec<(u64, EventId)>,
}

impl LaneHave {
    /// The head to continue from: the highest, and of equals the one with the greater id.
    pub fn highest(&self) -> (u64, EventId) {
        *self.heads.last().expect("a lane that is held has a head")
    }

    /// Whether the chain has more than one end, which only a server that signed two events for one place can cause.
    pub fn forked(&self) -> bool {
        self.heads.len() > 1
    }
}

/// The whole vector of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HaveVector(BTreeMap<(Origin, Lane), LaneHave>);

impl HaveVector {
    /// The vector of a server that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is held of one lane.
    pub fn lane(&self, origin: Origin, lane: Lane) -> Option<&LaneHave> {
        self.0.get(&(origin, lane))
    }

    /// Every lane of which something is held, ascending by origin, state before timeline.
    pub fn lanes(&self) -> impl Iterator<Item = (Origin, Lane, &LaneHave)> {
        self.0.iter().map(|((origin, lane), have)| (*origin, *lane, have))
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets one lane, as read back from a store.
    pub fn set_lane(&mut self, origin: Origin, lane: Lane, have: LaneHave) {
        self.0.insert((origin, lane), have);
    }

    /// Adds an event whose self parent is held, or which is the first of its lane.
    pub fn add(&mut self, event: &Event) {
        let header = event.header();
        let have = self
            .0
            .entry((header.origin, header.lane))
            .or_insert_with(|| LaneHave { lowest: header.seq, heads: Vec::new() });
        have.heads.retain(|(_, head)| Some(*head) != header.self_parent);
        have.lowest = have.lowest.min(header.seq);
        let head = (header.seq, event.id());
        if let Err(at) = have.heads.binary_search(&head) {
            have.heads.insert(at, head);
        }
    }

    /// One hash for the whole vector: two servers with the same digest hold the same events of the room.
    pub fn digest(&self) -> [u8; 32] {
        blake3::derive_key(DIGEST_DOMAIN, &self.encode())
    }

    /// One short hash for each section.
    pub fn section_digests(&self) -> SectionDigests {
        let mut parts: Vec<HaveVector> = vec![HaveVector::new(); SECTIONS];
        for (origin, lane, have) in self.lanes() {
            parts[section(&origin)].set_lane(origin, lane, have.clone());
        }
        let mut digests = [[0; SECTION_DIGEST_BYTES]; SECTIONS];
        for (digest, part) in digests.iter_mut().zip(parts) {
            let whole = blake3::derive_key(SECTION_DOMAIN, &part.encode());
            digest.copy_from_slice(&whole[..SECTION_DIGEST_BYTES]);
        }
        digests
    }

    /// The part of the vector that is in these sections.
    #[must_use]
    pub fn within(&self, sections: Sections) -> Self {
        if sections == Sections::ALL {
            return self.clone();
        }
        let within = self.0.iter().filter(|((origin, _), _)| sections.contain(origin));
        HaveVector(within.map(|(lane, have)| (*lane, have.clone())).collect())
    }

    /// The part of the vector that is about one lane of every server.
    #[must_use]
    pub fn lane_only(&self, lane: Lane) -> Self {
        let of_lane = self.0.iter().filter(|((_, its), _)| *its == lane);
        HaveVector(of_lane.map(|(key, have)| (*key, have.clone())).collect())
    }

    /// The vector's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        encode_own(&self.to_value())
    }

    /// Reads a vector; the caller bounds the length of `bytes`.
    ///
    /// # Errors
    /// [`HaveError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HaveError> {
        Self::from_value(&decode(bytes)?)
    }

    /// The vector as a list of `[origin, lane, lowest, [[seq, hash], …]]`.
    pub(crate) fn to_value(&self) -> Value {
        let head = |(seq, id): &(u64, EventId)| Value::List(vec![(*seq).into(), id.hash().as_slice().into()]);
        let entry = |(origin, lane, have): (Origin, Lane, &LaneHave)| {
            Value::List(vec![
                origin.as_bytes().as_slice().into(),
                lane.number().into(),
                have.lowest.into(),
                Value::List(have.heads.iter().map(head).collect()),
            ])
        };
        Value::List(self.lanes().map(entry).collect())
    }

    pub(crate) fn from_value(value: &Value) -> Result<Self, HaveError> {
        let entries = value.as_list().ok_or(HaveError::Shape("no list"))?;
        if entries.len() > 2 * MAX_ORIGINS {
            return Err(HaveError::Shape("too many servers"));
        }
        let mut vector = HaveVector::new();
        let mut last = None;
        for entry in entries {
            let (key, have) = read_entry(entry).ok_or(HaveError::Shape("a malformed entry"))?;
            if last.replace(key) >= Some(key) {
                return Err(HaveError::Shape("entries out of order"));
            }
            vector.0.insert(key, have);
        }
        Ok(vector)
    }
}

fn read_entry(entry: &Value) -> Option<((Origin, Lane), LaneHave)> {
    let [origin, lane, lowest, heads] = entry.as_list()? else { return None };
    let origin = Origin::from_bytes(origin.as_bytes()?.try_into().ok()?);
    let lane = Lane::from_number(lane.as_u64()?)?;
    let lowest = lowest.as_u64()?;
    let heads: Vec<(u64, EventId)> = heads.as_list()?.iter().map(read_head).collect::<Option<_>>()?;
    let sound = heads.is_sorted_by(|a, b| a < b)
        && heads.first().is_some_and(|(seq, _)| lowest <= *seq)
        && heads.last().is_some_and(|(seq, _)| *seq <= MAX_NUMBER);
    sound.then_some(((origin, lane), LaneHave { lowest, heads }))
}

fn read_head(head: &Value) -> Option<(u64, EventId)> {
    let [seq, hash] = head.as_list()? else { return None };
    Some((seq.as_u64()?, EventId::from_hash(hash.as_bytes()?.try_into().ok()?)))
}
