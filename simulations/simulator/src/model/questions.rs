//! Questions of catching up and their answers. They are those of `rocketmesh_protocol::wire`, but that events go by their numbers,
//! rooms by theirs, and whole have-vectors by the events that they stand for: how long they are is in `lengths`.

use std::collections::BTreeMap;

use rocketmesh_protocol::have::{Brief, Sections, Sketch};
use rocketmesh_protocol::sync::Stretch;

use super::marks::Marks;

/// In place of an event's number: an event whose signature does not hold.
pub(super) const BROKEN: u32 = u32::MAX;

/// A question of one server to another.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// By which the asking server knows the answer.
    pub(super) number: u32,
    /// What is asked.
    pub(super) what: Asked,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// Which of these rooms do you hold differently? With the sum over what the asking side holds of each.
    Compare(Vec<(u32, u64)>),
    /// Send me the entries of these sections of your have-vector.
    Entries { room: u32, sections: Sections },
    /// Send me these stretches of chains.
    Bring { room: u32, stretches: Vec<Stretch>, offers: bool },
    /// Send me what I lack.
    Pull { room: u32, has: Marks },
    /// Send me these, and their ancestors down to what I hold.
    Fetch { room: u32, wanted: Vec<u32>, has: Marks },
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The question's number.
    pub(super) number: u32,
    /// What is answered.
    pub(super) what: Answered,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    /// The rooms that are held differently, by their places in the question.
    Compared(BTreeMap<u64, Sketch>),
    /// The entries of sections.
    Entries(Brief),
    /// Events of stretches in causal order, and whether there are more.
    Brought { events: Vec<u32>, more: bool },
    /// Events in causal order, what the answering side holds (nothing in answer to a fetch), and whether there are more.
    Events { events: Vec<u32>, has: Option<Marks>, more: bool },
    /// The room is not known here.
    Refused,
}
