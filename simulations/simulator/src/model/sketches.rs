//! What is worked out of a have-vector, once for all servers that hold the same: in a large room it takes a millisecond, and many
//! ask.

use std::collections::BTreeMap;

use rocketmesh_protocol::have::{HaveVector, SectionDigests, Sketch};

/// Vectors of which the digests are remembered, and those of which the length is. More servers are not apart at a time but after
/// a cut, and then not for long.
const MOST_DIGESTS: usize = 64;
const MOST_LENGTHS: usize = 1024;

/// By the sum over what a server holds.
#[derive(Debug, Default)]
pub(super) struct Sketches {
    digests: BTreeMap<u64, Box<SectionDigests>>,
    lengths: BTreeMap<u64, usize>,
}

impl Sketches {
    /// What a server tells at once of a room that it holds differently.
    pub(super) fn sketch(&mut self, print: u64, have: &HaveVector, entries: bool) -> Sketch {
        if let Some(known) = self.digests.get(&print) {
            return Sketch::Sections(known.clone());
        }
        let sketch = Sketch::of(have, entries);
        if let Sketch::Sections(digests) = &sketch {
            // A small vector is told whole as a rule, which would not be so if its digests were known.
            if entries {
                self.remember(print, digests.clone());
            }
        }
        sketch
    }

    /// The digests of all sections of what a server holds.
    pub(super) fn digests(&mut self, print: u64, have: &HaveVector) -> Box<SectionDigests> {
        match self.sketch(print, have, true) {
            Sketch::Sections(digests) => digests,
            _ => Box::new(have.section_digests()),
        }
    }

    /// How many bytes the whole vector takes.
    pub(super) fn length(&mut self, print: u64, have: &HaveVector) -> usize {
        if let Some(known) = self.lengths.get(&print) {
            return *known;
        }
        if self.lengths.len() >= MOST_LENGTHS {
            self.lengths.clear();
        }
        let length = have.encode().len();
        self.lengths.insert(print, length);
        length
    }

    fn remember(&mut self, print: u64, digests: Box<SectionDigests>) {
        if self.digests.len() >= MOST_DIGESTS {
            self.digests.clear();
        }
        self.digests.insert(print, digests);
    }
}
