//! What a run varies of gossip and sync, with the defaults that stand where a scenario is silent.

use super::agenda::{MILLISECOND, Micros, SECOND, micros};
use crate::scenario::Mesh;

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
    /// How long two neighbours leave each other out of a mesh after one of them did so.
    pub(super) backoff: Micros,
    /// How often rooms are compared with every neighbour.
    pub(super) compare_every: Micros,
    /// With how many servers of each room to be connected; half of them by the server's own choice.
    pub(super) company: usize,
}

impl Settings {
    /// The parameters that a scenario asks for; the node's own where it asks for none.
    pub(super) fn of(mesh: &Mesh) -> Self {
        let tuning = mesh.tuning();
        Settings {
            degree: tuning.mesh_degree,
            low: tuning.mesh_low,
            high: tuning.mesh_high,
            lazy: tuning.gossip_lazy,
            heartbeat: micros(tuning.heartbeat).max(10 * MILLISECOND),
            backoff: micros(tuning.prune_backoff),
            compare_every: micros(tuning.compare_every).max(SECOND),
            company: tuning.company.max(1),
        }
    }
}
