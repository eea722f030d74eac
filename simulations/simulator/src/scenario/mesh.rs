//! Parameters of the node that are under study.

use rocketmesh_node::Tuning;
use serde::{Deserialize, Serialize};

use super::Span;

/// Parameters under study; none is the node's default. The protocol layer leaves out what says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mesh {
    /// Peers of a room that get every event at once.
    pub degree: Option<usize>,
    /// Fewest and most of them before a heartbeat mends it.
    pub degree_low: Option<usize>,
    /// See `degree_low`.
    pub degree_high: Option<usize>,
    /// Peers that are told ids in a heartbeat, so that they can ask for what they missed.
    pub lazy: Option<usize>,
    /// Whether an event of one's own goes to every peer of the room. Real layer only.
    pub flood_own: Option<bool>,
    /// Whether servers tell their mesh which events they have, so that fewer copies travel. Real layer only.
    pub decline_copies: Option<bool>,
    /// The pause between heartbeats.
    pub heartbeat: Option<Span>,
    /// How long two peers leave each other out of a mesh after one of them did so.
    pub prune_backoff: Option<Span>,
    /// How often rooms are compared with every connected server.
    pub compare_every: Option<Span>,
    /// With how many servers of each room to be connected.
    pub company: Option<usize>,
    /// The most connections that are kept without need. Real layer only.
    pub spare_connections: Option<usize>,
}

impl Mesh {
    /// The node's numbers, with what the scenario changes of them. Bounds of the mesh follow its degree where only that is
    /// given.
    pub fn tuning(&self) -> Tuning {
        let own = Tuning::default();
        let degree = self.degree.unwrap_or(own.mesh_degree).max(1);
        let (low, high) = match self.degree {
            Some(degree) => ((degree * 3).div_ceil(4), degree * 2),
            None => (own.mesh_low, own.mesh_high),
        };
        Tuning {
            mesh_degree: degree,
            mesh_low: self.degree_low.unwrap_or(low).clamp(1, degree),
            mesh_high: self.degree_high.unwrap_or(high).max(degree),
            gossip_lazy: self.lazy.unwrap_or(own.gossip_lazy),
            flood_own: self.flood_own.unwrap_or(own.flood_own),
            decline_copies: self.decline_copies.unwrap_or(own.decline_copies),
            heartbeat: self.heartbeat.map_or(own.heartbeat, |span| span.0),
            prune_backoff: self.prune_backoff.map_or(own.prune_backoff, |span| span.0),
            compare_every: self.compare_every.map_or(own.compare_every, |span| span.0),
            company: self.company.unwrap_or(own.company),
            spare_connections: self.spare_connections.unwrap_or(own.spare_connections),
        }
    }

    /// The same parameters with every number named.
    pub fn effective(&self) -> Self {
        let tuning = self.tuning();
        Mesh {
            degree: Some(tuning.mesh_degree),
            degree_low: Some(tuning.mesh_low),
            degree_high: Some(tuning.mesh_high),
            lazy: Some(tuning.gossip_lazy),
            flood_own: Some(tuning.flood_own),
            decline_copies: Some(tuning.decline_copies),
            heartbeat: Some(Span(tuning.heartbeat)),
            prune_backoff: Some(Span(tuning.prune_backoff)),
            compare_every: Some(Span(tuning.compare_every)),
            company: Some(tuning.company),
            spare_connections: Some(tuning.spare_connections),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naming_every_number_changes_none() {
        let of_three = Mesh { degree: Some(3), ..Mesh::default() };
        for mesh in [Mesh::default(), of_three] {
            let effective = mesh.effective();
            assert_eq!(format!("{:?}", effective.tuning()), format!("{:?}", mesh.tuning()));
            assert_eq!(effective.effective(), effective);
        }
    }
}
