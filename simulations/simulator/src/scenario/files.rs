//! What scenarios say of files, and of disks that fill up. Only the real layer knows either.

use serde::{Deserialize, Serialize};

use super::{Act, Layer, Scenario, ScenarioError, Span};

/// The largest file that is sent: every server of a room keeps it in the memory of this process.
pub const MAX_FILE: usize = 16 * 1024 * 1024;

/// How servers keep files. What is not given is the node's own default; see its configuration, section `files`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// What all files may take on a server, in MiB.
    pub server_quota_mib: Option<u64>,
    /// The largest file that is fetched without a user asking for it, in MiB; 0 for none.
    pub fetch_up_to_mib: Option<u64>,
}

/// Files that messages of a talk name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentFiles {
    /// The share of messages that name one. 0 to 1.
    pub share: f64,
    /// The fewest and the most bytes of a file. Sizes in between are spread evenly over the orders of magnitude.
    pub bytes: (usize, usize),
    /// The share of these messages that name a file once more that this talk has sent before in the room. 0 to 1.
    #[serde(default)]
    pub again: f64,
    /// The share of these messages that whoever wrote them takes back. 0 to 1.
    #[serde(default)]
    pub taken_back: f64,
    /// After how long, on average.
    #[serde(default = "Span::half_minute")]
    pub after: Span,
    /// The share of the other members who ask for the file, ten seconds later on average. 0 to 1.
    #[serde(default)]
    pub asked: f64,
}

/// Disks that have less free for a while than servers keep free. Servers take nothing new then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullDisk {
    /// From when on.
    pub at: Span,
    /// Until when.
    pub until: Span,
    /// The share of servers. 0 to 1.
    pub share: f64,
}

impl FullDisk {
    /// How many of so many servers it hits.
    pub fn servers(&self, of: usize) -> usize {
        (of as f64 * self.share).round() as usize
    }
}

impl Scenario {
    /// Whether what is said of files and disks makes sense.
    pub(super) fn check_files(&self) -> Result<(), ScenarioError> {
        let fail = |field: &str, reason: String| Err(ScenarioError::Invalid { field: field.to_owned(), reason });
        let sent = || self.talks.iter().filter_map(|talk| talk.files.as_ref());
        let used = sent().next().is_some() || !self.full_disk.is_empty() || self.files != Files::default();
        if used && self.layer == Layer::Protocol {
            return fail("layer", "files and full disks are simulated in the real layer only".to_owned());
        }
        if self.talks.iter().any(|talk| talk.files.is_some() && talk.chat.is_some()) {
            return fail("talk.files", "a conversation from a log has no files; give a rate".to_owned());
        }
        let removes =
            |room: &str| self.deeds.iter().any(|deed| deed.room == room && matches!(deed.act, Act::Ban | Act::Kick));
        if self.talks.iter().any(|talk| talk.files.is_some() && removes(&talk.room)) {
            return fail("talk.files", "nobody is told what a server is to have that is banned or kicked".to_owned());
        }
        for files in sent() {
            let (least, most) = files.bytes;
            if least == 0 || least > most || most > MAX_FILE {
                return fail(
                    "talk.files.bytes",
                    format!("[{least}, {most}] is not the fewest and the most of 1 to {MAX_FILE} bytes"),
                );
            }
            let shares = [
                ("talk.files.share", files.share),
                ("talk.files.again", files.again),
                ("talk.files.taken_back", files.taken_back),
                ("talk.files.asked", files.asked),
            ];
            if let Some((field, share)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
                return fail(field, format!("{share} is not between 0 and 1"));
            }
        }
        match self.full_disk.iter().find(|full| !(0.0..=1.0).contains(&full.share)) {
            Some(full) => fail("full_disk.share", format!("{} is not between 0 and 1", full.share)),
            None => Ok(()),
        }
    }
}
