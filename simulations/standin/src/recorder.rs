//! What programs asked, written to a file as it comes, so that `make contract` can hold it against what Rocket.Chat publishes.
//!
//! Several stand-ins, also of several processes, may append to one file: a line is written by one call to the system.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::Recorded;

/// The most requests that one stand-in writes down. More of them say nothing new.
const MAX_WRITTEN: usize = 20_000;
/// The longest line. A connector asks nothing that is longer, other than files, which are not written.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// A file that is appended to.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: File,
    written: AtomicUsize,
}

impl Recorder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Recorder { file, written: AtomicUsize::new(0) })
    }

    /// Writes a request down. Where that fails there is a word in the log, and the request is answered all the same.
    pub(crate) fn write(&self, request: &Recorded) {
        if self.written.fetch_add(1, Ordering::Relaxed) >= MAX_WRITTEN {
            return;
        }
        let mut line = match serde_json::to_vec(request) {
            Ok(line) if line.len() < MAX_LINE_BYTES => line,
            Ok(_) => return tracing::warn!(call = %request.path, "a request is too long to be written down"),
            Err(error) => return tracing::error!(%error, "a request cannot be written down"),
        };
        line.push(b'\n');
        if let Err(error) = (&self.file).write_all(&line) {
            tracing::error!(%error, "a request cannot be written down");
        }
    }
}
