//! What the store keeps: events with their verdicts, rooms, entries of the local log, and what one step writes.

use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::have::HaveVector;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::wire::WireEvent;

use super::Marks;

/// A position in the local log. Positions start at 1 and have no gaps; 0 is before everything.
pub type LogPosition = u64;

/// Whether this node takes part in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Participation {
    /// It does: it follows the room and answers questions about it.
    Joined,
    /// It did: the events are kept, nothing new is asked for.
    Left,
}

/// What a node makes of an event in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not allowed where it stands: kept for its descendants' sake, never shown.
    Rejected,
    /// Allowed, and shown.
    Accepted,
    /// Allowed, but concurrent removals took the authority that it used: not shown, and it sets no state.
    Withheld,
}

/// An event in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event, with its body if that is here.
    pub event: Event,
    /// What became of it.
    pub verdict: Verdict,
}

/// An event that waits for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldEvent {
    /// The event's id.
    pub id: EventId,
    /// What it waited for when it came.
    pub missing: Vec<EventId>,
    /// The event.
    pub event: WireEvent,
}

/// What an entry of the local log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// The event was accepted.
    Accepted,
    /// The event was rejected.
    Rejected,
    /// The event came, and is not to be shown.
    ArrivedWithheld,
    /// The event is not to be shown any longer.
    Withheld,
    /// The event is to be shown again.
    Restored,
    /// The body of an event that is already in the log arrived.
    BodyArrived,
    /// The event was accepted, long after it was said.
    AcceptedLate,
    /// The body of an event is gone: a redaction took it, or it is older than this node keeps bodies.
    Erased,
    /// A message came ahead of what it stands on: it is shown, and waits. Once it is accepted the log says so too.
    Ahead,
}

/// One entry of the local log: the order in which this node came to know things, which is what consumers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position.
    pub position: LogPosition,
    /// What it says.
    pub kind: LogKind,
    /// The room.
    pub room: RoomId,
    /// The event.
    pub event: EventId,
}

/// Where reading a chain begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainStart {
    /// With the events of this sequence number.
    At(u64),
    /// Just behind this event.
    After(u64, EventId),
}

/// A snapshot of a room's state: a shortcut past its whole state graph, and nothing that could not be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The state event behind which it was taken.
    pub cut: EventId,
    /// What was held of the state lanes then.
    pub have: HaveVector,
    /// The state, in pieces.
    pub pieces: Vec<Vec<u8>>,
}

/// A room in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEntry {
    /// Its outline: have-vector, tips, count.
    pub outline: Outline,
    /// Whether this node takes part.
    pub participation: Participation,
}

/// What goes into one room in one atomic step.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The outline after the step.
    pub outline: &'a Outline,
    /// Whether this node takes part after the step.
    pub participation: Participation,
    /// Events that were decided on, in causal order.
    pub events: &'a [StoredEvent],
    /// Events that were decided on before and have another verdict now.
    pub changed: &'a [StoredEvent],
    /// Events that wait for others from now on.
    pub hold: &'a [HeldEvent],
    /// Events that wait no longer.
    pub release: &'a [EventId],
    /// What is noted of events from now on, in place of what was. An event of neither this batch nor `stripped` whose body
    /// is not marked as gone has its body asked for again.
    pub marked: &'a [(EventId, Marks)],
    /// Events that were decided on before, without the bodies that they lose now, with their verdicts after the step.
    pub stripped: &'a [StoredEvent],
    /// Events among those that wait which are shown all the same: see [`LogKind::Ahead`].
    pub ahead: &'a [EventId],
}

impl<'a> Batch<'a> {
    /// A batch that changes nothing but the outline and whether this node takes part.
    pub fn of(outline: &'a Outline, participation: Participation) -> Self {
        Batch {
            outline,
            participation,
            events: &[],
            changed: &[],
            hold: &[],
            release: &[],
            marked: &[],
            stripped: &[],
            ahead: &[],
        }
    }
}

impl LogKind {
    /// Whether this is the first that the log says of an event.
    pub const fn is_arrival(self) -> bool {
        matches!(self, LogKind::Accepted | LogKind::AcceptedLate | LogKind::Rejected | LogKind::ArrivedWithheld)
    }
}

impl Verdict {
    /// The number in the store.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Verdict::Rejected => 0,
            Verdict::Accepted => 1,
            Verdict::Withheld => 2,
        }
    }

    /// The verdict with this number.
    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Verdict::Rejected),
            1 => Some(Verdict::Accepted),
            2 => Some(Verdict::Withheld),
            _ => None,
        }
    }
}
