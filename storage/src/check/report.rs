//! What is wrong with a store, for people and for programs.

use rocketmesh_protocol::id::{EventId, RoomId};

/// The most findings that a report lists. It counts all of them.
pub const MAX_FINDINGS: usize = 1000;

/// What is wrong somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FindingKind {
    /// An event's record cannot be read.
    UnreadableEvent,
    /// An event's header is not the one that its id names.
    WrongHash,
    /// An event's signature does not verify.
    BadSignature,
    /// An event's body is not the one that its header names.
    Body,
    /// Record and log say different things about what became of an event.
    Verdict,
    /// The log, a chain or a have-vector names an event that is not there.
    MissingEvent,
    /// An event refers to one that is not there and that nothing else names.
    MissingParent,
    /// An event follows one in its chain that is not the one before it.
    Sequence,
    /// A chain lacks an event, or names one that does not belong there.
    ChainIndex,
    /// The room's order lacks an event, or names one that does not belong there.
    OrderIndex,
    /// The same, of the indexes of wanted bodies and of edits and redactions.
    BodyIndex,
    /// A have-vector does not say what is held.
    HaveVector,
    /// The tips of a room are not the events that no other refers to.
    Tips,
    /// A room's record counts other events than there are.
    Count,
    /// A room's record is missing, or two rooms have one number.
    Room,
    /// The local log has a gap, cannot be read somewhere, or says too much or too little about an event's arrival.
    Log,
    /// The lists of which files are named, and by what, lack something, or have too much.
    FileIndex,
    /// A file is not on disk as its record says, or is not what its id says.
    File,
    /// A held event cannot be used.
    Held,
    /// A snapshot cannot be used.
    Snapshot,
    /// Something belongs to nothing.
    Orphan,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// The room, where that is known.
    pub room: Option<RoomId>,
    /// The event, where it is about one.
    pub event: Option<EventId>,
    /// The same in words.
    pub what: String,
    /// Whether it was mended.
    pub repaired: bool,
    /// Whether [`Mode::Repair`](super::Mode::Repair) can mend it. What to do otherwise: see [`FindingKind::remedy`].
    pub derivable: bool,
}

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rooms.
    pub rooms: u64,
    /// Records of events, damaged ones included.
    pub events: u64,
    /// Bodies that are here and sound.
    pub bodies: u64,
    /// Entries of the local log.
    pub log_entries: u64,
    /// Files that are whole.
    pub files: u64,
    /// Files whose content was hashed.
    pub hashed: u64,
    /// What is wrong, in the order in which it was found: the first [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many findings there are, listed or not.
    pub found: u64,
    /// How many of them [`Mode::Repair`](super::Mode::Repair) can mend.
    pub derivable: u64,
    /// How many of them were mended.
    pub repaired: u64,
    /// Whether so much is wrong that the rest was not looked at. A repair may get further than a check, since it need
    /// not keep its corrections in memory.
    pub unfinished: bool,
}

impl FindingKind {
    /// The stable word for programs.
    pub const fn word(self) -> &'static str {
        match self {
            FindingKind::UnreadableEvent => "unreadable-event",
            FindingKind::WrongHash => "wrong-hash",
            FindingKind::BadSignature => "bad-signature",
            FindingKind::Body => "body",
            FindingKind::Verdict => "verdict",
            FindingKind::MissingEvent => "missing-event",
            FindingKind::MissingParent => "missing-parent",
            FindingKind::Sequence => "sequence",
            FindingKind::ChainIndex => "chain-index",
            FindingKind::OrderIndex => "order-index",
            FindingKind::BodyIndex => "body-index",
            FindingKind::HaveVector => "have-vector",
            FindingKind::Tips => "tips",
            FindingKind::Count => "count",
            FindingKind::Room => "room",
            FindingKind::Log => "log",
            FindingKind::FileIndex => "file-index",
            FindingKind::File => "file",
            FindingKind::Held => "held",
            FindingKind::Snapshot => "snapshot",
            FindingKind::Orphan => "orphan",
        }
    }

    /// What to do about a finding of this kind that is not derivable.
    pub const fn remedy(self) -> &'static str {
        match self {
            FindingKind::Log => {
                "what the log lost cannot be known: whoever follows it misses that, and a backup made now may lack \
                 events; restore an earlier backup into an empty directory"
            }
            _ => {
                "restore a backup into an empty directory, and sync brings what came since; without one, move the \
                 store's directory away and join the rooms again, which loses what only this server had"
            }
        }
    }
}

impl Report {
    /// Whether nothing is wrong, or nothing any more.
    pub const fn is_sound(&self) -> bool {
        self.found == self.repaired && !self.unfinished
    }

    /// Adds what was found in the content of files.
    pub fn absorb(&mut self, content: Report) {
        self.hashed += content.hashed;
        let unlisted = content.found - content.findings.len() as u64;
        content.findings.into_iter().for_each(|finding| self.add(finding));
        // All of a kind, each as derivable and as repaired as the others.
        let repaired = content.repaired > 0;
        self.found += unlisted;
        self.derivable += unlisted;
        self.repaired += if repaired { unlisted } else { 0 };
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.found += 1;
        self.derivable += u64::from(finding.derivable);
        self.repaired += u64::from(finding.repaired);
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}
