//! Files are what their ids say, come to everybody who is to have them, and are nowhere else.

use rocketmesh_protocol::id::FileId;

use super::{Finding, Invariant};
use crate::observe::{Ledger, Observation};
use crate::plan::Plan;

/// What was seen of a file on an honest server.
#[derive(Clone, Copy, Debug)]
pub struct FileSight {
    /// The server.
    pub server: usize,
    /// The file.
    pub file: FileId,
    /// What was seen.
    pub seen: Seen,
}

/// What can be seen of a file.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// The server shows bytes for it to users; whether they hash to its id.
    Shown {
        /// Whether they do.
        sound: bool,
    },
    /// What the server has of it once everything is over.
    End(End),
}

/// What a server has of a file in the end.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// What messages say of the file, as far as their servers have answered.
    pub fate: Fate,
    /// Whether the server knows a message that names it.
    pub named: bool,
    /// Whether it is there as a whole.
    pub whole: bool,
    /// Whether it is to be there at all: nobody asked for it, or there is no space for it within the quota.
    pub due: bool,
    /// Bytes of it that lie on the server's disk.
    pub bytes: u64,
    /// Whether somebody brought it there and no message came of that, so that it may stay for a day.
    pub left_over: bool,
}

/// What messages say of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// One that was acknowledged and not taken back names it.
    Named,
    /// Nothing names it any more.
    Gone,
    /// A server died before it had said what became of a message.
    Unclear,
}

impl FileSight {
    /// What is wrong with it; none if nothing is.
    pub fn wrong(&self) -> Option<String> {
        let FileSight { server, file, seen } = self;
        let end = match seen {
            Seen::Shown { sound: true } => return None,
            Seen::Shown { sound: false } => {
                return Some(format!("server {server} shows bytes for the file {file} that are not its"));
            }
            Seen::End(end) => end,
        };
        match end.fate {
            Fate::Named if !end.named => {
                Some(format!("server {server} knows of no message that names the file {file}"))
            }
            Fate::Gone if end.named => {
                Some(format!("server {server} names the file {file}, of which every message was taken back"))
            }
            Fate::Gone if end.bytes > 0 && !end.left_over => Some(format!(
                "server {server} keeps {} bytes of the file {file}, of which every message was taken back",
                end.bytes
            )),
            _ if end.named && end.due && !end.whole => {
                Some(format!("server {server} lacks the file {file}, which messages name"))
            }
            _ => None,
        }
    }
}

/// See the file's head.
pub(super) struct Files;

impl Invariant for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn promise(&self) -> &'static str {
        "whatever is shown of a file is the file; servers end with every file that messages name, and with no byte of others"
    }

    fn observe(&mut self, observation: &Observation<'_>, _: &Ledger, _: &Plan) -> Finding {
        match observation {
            Observation::File(sight) => sight.wrong().map_or(Finding::Holds, Finding::Broken),
            _ => Finding::Nothing,
        }
    }
}
