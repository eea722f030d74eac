//! Numbers that trade bytes for delay: what researchers vary, and what the simulator's sweeps have chosen.
//!
//! They are no configuration. Whoever runs a node has nothing to gain from them, and a mesh in which everybody tries their own
//! is one that nobody has measured. `docs/simulation.md` tells how to vary them in simulations, `docs/decisions/0012` why they
//! are what they are.

use std::time::Duration;

/// How a node spreads and repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Peers of a room that get every event at once: gossipsub's `mesh_n`.
    pub mesh_degree: usize,
    /// With fewer, a heartbeat looks for more. From half of `mesh_degree` up to it.
    pub mesh_low: usize,
    /// With more, a heartbeat lets some go. Above `mesh_degree`.
    pub mesh_high: usize,
    /// Peers outside the mesh that each heartbeat tells of recent ids.
    pub gossip_lazy: usize,
    /// Whether an event of one's own goes to every peer of the room, not only to the mesh.
    pub flood_own: bool,
    /// Whether a server that has an event tells its mesh that it wants no more copies.
    pub decline_copies: bool,
    /// The pause between two of gossip's heartbeats.
    pub heartbeat: Duration,
    /// How long two peers leave each other out of a room's mesh after one of them did so. With gossipsub's minute a server
    /// that starts, and is let go by those whose mesh is full, stands outside for as long.
    pub prune_backoff: Duration,
    /// How often rooms are compared with every connected server.
    pub compare_every: Duration,
    /// With how many servers of each room to stay connected, if there are as many; with fewer than half of it beside the
    /// configured ones, more are looked for.
    pub company: usize,
    /// The most connections that no room needs, nor a person asked for. What is above it is closed.
    pub spare_connections: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            mesh_degree: 3,
            mesh_low: 3,
            mesh_high: 5,
            gossip_lazy: 6,
            flood_own: true,
            decline_copies: true,
            heartbeat: Duration::from_secs(1),
            prune_backoff: Duration::from_secs(10),
            compare_every: Duration::from_secs(60),
            company: 12,
            spare_connections: 16,
        }
    }
}
