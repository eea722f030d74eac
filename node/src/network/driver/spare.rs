//! Closing connections that nothing needs.
//!
//! The DHT dials whomever it asks, and gossipsub keeps every connection for as long as the peer speaks its protocol, so that
//! without this a node ends up connected to everybody it has ever heard of: in a room of a hundred servers, with all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::gossipsub::TopicHash;
use libp2p::identity::PeerId;
use tokio::time::Instant;

use super::Driver;
use crate::network::peers::FoundBy;

/// How long a connection is left alone, and one over which something was asked after that: a look-up in the DHT may be under way,
/// or a room be brought piece by piece. Servers that start dial dozens for the DHT and need few of them; at a thousand servers what
/// those connections cost adds up.
const YOUNG: Duration = Duration::from_secs(5);

impl Driver {
    /// Closes connections above what may be spare, the youngest first: what has lasted is likelier to last.
    ///
    /// Needed are, for each room, as many of its servers as it wants for company, those in its gossip mesh before others; for
    /// each room without gossip those that the engine names; whoever the administrator named or connected to; relays of this
    /// node, and those that it relays for.
    pub(super) fn prune_spare(&mut self, now: Instant) {
        let tuning = self.config.tuning;
        let ages = self.ages();
        if ages.len() <= tuning.spare_connections {
            return;
        }
        let needed = self.needed(&ages);
        let wanted = |peer: &PeerId| {
            let by = self.peers.get(peer).map(|known| &known.found_by);
            let named = by.is_some_and(|by| by.contains(&FoundBy::Bootstrap) || by.contains(&FoundBy::Command));
            // Relays of this node, and those whose relay it is, are nothing without their connection.
            named || self.nat.relays.involves(peer) || self.nat.clients.contains(peer)
        };
        let mut spare: Vec<(Instant, PeerId)> =
            ages.iter().filter(|(id, _)| !needed.contains(id) && !wanted(id)).map(|(id, age)| (*age, *id)).collect();
        spare.sort_unstable();
        for (since, peer) in spare.into_iter().skip(tuning.spare_connections) {
            if now.duration_since(since) >= YOUNG && !self.is_busy(&peer, now) {
                tracing::debug!(%peer, "closing a connection that no room needs");
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    /// Whether something is being asked or answered, or was just now.
    fn is_busy(&self, peer: &PeerId, now: Instant) -> bool {
        let rests = |asked: Instant| now.duration_since(asked) >= YOUNG;
        self.peers.get(peer).is_some_and(|known| known.asking > 0 || !known.asked.is_none_or(rests))
    }

    /// Since when each connected peer is.
    fn ages(&self) -> BTreeMap<PeerId, Instant> {
        let connected = self.peers.iter().filter(|(_, known)| !known.connections.is_empty());
        let since = |peer: &super::Peer| peer.connections.values().map(|open| open.since).min();
        connected.filter_map(|(id, known)| Some((*id, since(known)?))).collect()
    }

    /// The peers that rooms need, and that this node would miss.
    pub(super) fn company(&self) -> Vec<PeerId> {
        self.needed(&self.ages()).into_iter().collect()
    }

    fn needed(&self, ages: &BTreeMap<PeerId, Instant>) -> BTreeSet<PeerId> {
        let gossip = &self.swarm.behaviour().gossip;
        let mut of_room: BTreeMap<&TopicHash, Vec<PeerId>> = BTreeMap::new();
        for (peer, topics) in gossip.all_peers().filter(|(peer, _)| ages.contains_key(*peer)) {
            for topic in topics.into_iter().filter(|topic| self.topics.contains_key(*topic)) {
                of_room.entry(topic).or_default().push(*peer);
            }
        }
        let kept = self.kept.values().flatten().filter(|peer| ages.contains_key(*peer));
        let mut needed: BTreeSet<PeerId> = kept.copied().collect();
        for (topic, mut peers) in of_room {
            let mesh: BTreeSet<&PeerId> = gossip.mesh_peers(topic).collect();
            peers.sort_by_key(|peer| (!mesh.contains(peer), ages.get(peer).copied(), *peer));
            needed.extend(peers.into_iter().take(self.config.tuning.company.max(mesh.len())));
        }
        needed
    }
}
