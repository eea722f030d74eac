//! Where the bytes of files lie: beside the ordered bytes, since a store of small records is no place for large ones.
//!
//! Names are relative and have one folder: `ab/bafkr4i…` for a whole file, with `.obao` behind it for the hashes inside its tree
//! and `.part` for one that is still coming; and `new/7` for what has no name yet.

use std::fmt;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use rocketmesh_protocol::id::FileId;

/// The folder of what has no name yet. Whatever is in it when a store is opened is of no use.
pub(crate) const NEW: &str = "new";

pub(crate) const OUTBOARD: &str = ".obao";
const PART: &str = ".part";

/// Bytes that can be read and written at any place.
pub(crate) trait Blob: Read + Write + Seek + Send {
    /// Returns once what was written survives a loss of power.
    fn sync(&mut self) -> io::Result<()>;
}

impl fmt::Debug for dyn Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Blob")
    }
}

/// A medium for blobs. Implementations pass the same tests.
pub(crate) trait Blobs: Send + Sync {
    /// An empty blob, in place of what has this name. Returns once the name survives a loss of power, unless it is one in [`NEW`].
    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>>;

    /// The blob of this name.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Blob>>>;

    /// Gives a blob another name, in place of what has it. Returns once that survives a loss of power.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the blob, if there is one.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The folders.
    fn folders(&self) -> io::Result<Vec<String>>;

    /// The names in a folder, without the folder.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;
}

/// What a blob is of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// All its bytes.
    Whole,
    /// The hashes inside its tree, without its bytes: Bao's outboard encoding.
    Outboard,
    /// Those of its bytes that have come.
    Part,
}

impl Of {
    pub(crate) const ALL: [Of; 3] = [Of::Whole, Of::Outboard, Of::Part];

    const fn ending(self) -> &'static str {
        match self {
            Of::Whole => "",
            Of::Outboard => OUTBOARD,
            Of::Part => PART,
        }
    }

    /// The name of this part of a file.
    pub(crate) fn name(self, file: &FileId) -> String {
        let id = file.to_string();
        // All ids begin alike, and the last letter holds fewer bits than the others.
        let folder: String = id.chars().rev().skip(1).take(2).collect();
        format!("{folder}/{id}{}", self.ending())
    }

    /// What a name in a folder stands for; none for a name that no file has.
    pub(crate) fn of_name(name: &str) -> Option<(FileId, Of)> {
        let (id, of) = match name.split_once('.') {
            None => (name, Of::Whole),
            Some((id, "obao")) => (id, Of::Outboard),
            Some((id, "part")) => (id, Of::Part),
            Some(_) => return None,
        };
        Some((id.parse().ok()?, of))
    }
}

/// A name in [`NEW`], whose blob is removed unless it was given another name.
pub(crate) struct Temporary {
    blobs: Arc<dyn Blobs>,
    name: String,
}

impl Temporary {
    pub(crate) fn new(blobs: Arc<dyn Blobs>, number: u64, ending: &str) -> Self {
        Temporary { blobs, name: format!("{NEW}/{number}{ending}") }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Temporary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays is removed when the store is opened the next time.
        let _ = self.blobs.remove(&self.name);
    }
}
