//! What a run varies of gossip and sync, with the defaults that stand where a scenario is silent.

use super::agenda::{MILLISECOND, Micros, SECOND, micros};
use crate::scenario::Mesh;

/// Peers of a room that get every event at once.
const DEGREE: usize = 4;
/// Neighbours outside the mesh that each heartbeat tells of recent ids.
const LAZY: usize = 6;
/// With how many servers of a room to be connected.
const COMPANY: usize = 12;

/// The parameters of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Peers in the mesh of a room.
    pub(super) degree: usize,
    /// With fewer, a heartbeat looks for more.
    pub(super) low: usize,
    /// With more, a heartbeat lets some go.
    pub(super) high: usize,
    /// Neighbours that a heartbeat tells of recent ids.
    pub(super) lazy: usize,
    /// The pause between heartbeats.
    pub(super) heartbeat: Micros,
    /// How often rooms are compared with every neighbour.
    pub(super) compare_every: Micros,
    /// With how many servers of each room to be connected; half of them by the server's own choice.
    pub(super) company: usize,
}

impl Settings {
    /// The parameters that a scenario asks for.
    pub(super) fn of(mesh: &Mesh) -> Self {
        let degree = mesh.degree.unwrap_or(DEGREE).max(1);
        let pause = |given: Option<crate::scenario::Span>, default| given.map_or(default, |span| micros(span.0));
        Settings {
            degree,
            low: mesh.degree_low.unwrap_or(degree - 1).clamp(1, degree),
            high: mesh.degree_high.unwrap_or(2 * degree).max(degree),
            lazy: mesh.lazy.unwrap_or(LAZY),
            heartbeat: pause(mesh.heartbeat, SECOND).max(10 * MILLISECOND),
            compare_every: pause(mesh.compare_every, 60 * SECOND).max(SECOND),
            company: mesh.company.unwrap_or(COMPANY).max(1),
        }
    }
}
