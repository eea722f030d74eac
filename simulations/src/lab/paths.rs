//! How servers are connected, as their nodes say: `rocketmesh net --json`, read with tolerance, and what both sides of a pair
//! say put together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lab::topology::pairs;

/// How a pair is connected; what is better is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Through a relay.
    Relayed,
    /// Directly, without help.
    Direct,
    /// Directly, after both sides opened their NATs. Larger than [`Way::Direct`] so that it counts where one side calls it
    /// so: the other one may only have seen somebody come in.
    Punched,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// QUIC.
    Quic,
}

/// How a pair is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Connection {
    /// The way.
    #[serde(rename = "path")]
    pub way: Way,
    /// What carries it, where the node says so.
    pub transport: Option<Transport>,
}

/// What a node says of its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// `public`, `private` or `unknown`.
    pub reachability: String,
    /// Relays that would let others through to it, by peer id.
    pub relays: Vec<String>,
    /// What it says of its router and UPnP, such as `mapped`; empty if it does not.
    pub upnp: String,
    /// Whether others have dialled an address that the router forwards.
    pub reached_through_router: bool,
    /// The best connection with each peer.
    pub peers: BTreeMap<String, Connection>,
}

impl Way {
    /// Whether no relay is in between.
    pub fn is_direct(self) -> bool {
        self != Way::Relayed
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "relayed" => Some(Way::Relayed),
            "direct" => Some(Way::Direct),
            "punched" => Some(Way::Punched),
            _ => None,
        }
    }
}

impl Transport {
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "tcp" => Some(Transport::Tcp),
            "quic" => Some(Transport::Quic),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Peer {
    id: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    transport: Option<String>,
}

/// A peer as `rocketmesh peers` shows it.
#[derive(Deserialize)]
struct KnownPeer {
    id: String,
    #[serde(default)]
    connections: Vec<KnownConnection>,
}

#[derive(Deserialize)]
struct KnownConnection {
    transport: String,
}

impl Sight {
    /// Reads what `rocketmesh net --json` prints. What has another form than expected is left out; fields that are not known are
    /// passed over.
    pub fn of_net(json: &str) -> Option<Self> {
        let net: Value = serde_json::from_str(json).ok()?;
        let mut sight = Sight {
            reachability: net["reachability"].as_str().unwrap_or("unknown").to_owned(),
            relays: list(&net["relays"]).filter_map(|relay| Some(relay["peer"].as_str()?.to_owned())).collect(),
            upnp: net["upnp"].as_str().unwrap_or_default().to_owned(),
            reached_through_router: list(&net["addresses"]).any(|address| {
                address["state"] == "confirmed" && list(&address["sources"]).any(|source| source == "mapped")
            }),
            peers: BTreeMap::new(),
        };
        for peer in list(&net["peers"]).filter_map(|peer| Peer::deserialize(peer).ok()) {
            let Some(way) = peer.path.as_deref().and_then(Way::from_word) else { continue };
            let transport = peer.transport.as_deref().and_then(Transport::from_word);
            sight.note(peer.id, Connection { way, transport });
        }
        Some(sight)
    }

    /// Reads what `rocketmesh peers --json` prints: for builds that do not know `net`. A punched connection looks like any
    /// direct one there.
    pub fn of_peers(json: &str) -> Option<Self> {
        let known: Value = serde_json::from_str(json).ok()?;
        let mut sight = Sight { reachability: "unknown".to_owned(), ..Sight::default() };
        for peer in list(&known["peers"]).filter_map(|peer| KnownPeer::deserialize(peer).ok()) {
            for open in peer.connections {
                let way = if open.transport == "relayed" { Way::Relayed } else { Way::Direct };
                sight.note(peer.id.clone(), Connection { way, transport: Transport::from_word(&open.transport) });
            }
        }
        Some(sight)
    }

    fn note(&mut self, peer: String, connection: Connection) {
        let best = self.peers.entry(peer).or_insert(connection);
        *best = (*best).max(connection);
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Pairs that are connected, by their hosts' places: what either side says, the better of the two where they disagree.
/// `ids` are the hosts' peer ids; a host that is not up has no sight.
pub fn connections(ids: &[String], sights: &[Option<Sight>]) -> BTreeMap<(usize, usize), Connection> {
    let says = |from: usize, of: usize| -> Option<Connection> {
        let id = ids.get(of).filter(|id| !id.is_empty())?;
        sights.get(from)?.as_ref()?.peers.get(id).copied()
    };
    // A peer that is gone is still seen for a while by the other side.
    let up = |host: usize| sights.get(host).is_some_and(Option::is_some);
    pairs(ids.len())
        .filter(|(a, b)| up(*a) && up(*b))
        .filter_map(|(a, b)| Some(((a, b), says(a, b).into_iter().chain(says(b, a)).max()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: &str = r#"{
        "reachability": "private", "new": 1,
        "relays": [{"peer": "R", "address": "/ip4/203.0.113.2/tcp/443"}, {"address": "no peer"}],
        "peers": [
            {"id": "A", "path": "relayed", "transport": "quic", "via": "R", "since_s": 3},
            {"id": "A", "path": "punched", "transport": "quic", "via": null, "since_s": 1},
            {"id": "B", "path": "direct", "transport": "tcp", "via": null, "since_s": 9},
            {"id": "C", "path": "by pigeon", "transport": "quic"},
            {"id": "D", "path": "relayed"},
            {"path": "direct"}, 7
        ]
    }"#;

    fn connection(way: Way, transport: Option<Transport>) -> Connection {
        Connection { way, transport }
    }

    #[test]
    fn the_best_connection_with_each_peer_counts_and_what_is_strange_is_left_out() {
        let sight = Sight::of_net(NET).expect("JSON");
        assert_eq!((sight.reachability.as_str(), sight.relays.as_slice()), ("private", ["R".to_owned()].as_slice()));
        let expected = [
            ("A", connection(Way::Punched, Some(Transport::Quic))),
            ("B", connection(Way::Direct, Some(Transport::Tcp))),
            ("D", connection(Way::Relayed, None)),
        ];
        assert_eq!(sight.peers, BTreeMap::from(expected.map(|(id, connection)| (id.to_owned(), connection))));
        assert_eq!(Sight::of_net("no JSON"), None);
        assert_eq!(Sight::of_net("{}").expect("JSON").peers.len(), 0);
    }

    #[test]
    fn a_router_that_forwards_counts_once_somebody_came_through_it() {
        let net = |state: &str| {
            let address = format!(r#"{{"address": "/ip4/1.2.3.4/tcp/1", "sources": ["mapped"], "state": "{state}"}}"#);
            Sight::of_net(&format!(r#"{{"upnp": "mapped", "addresses": [{address}]}}"#)).expect("JSON")
        };
        assert!(net("confirmed").reached_through_router && !net("untested").reached_through_router);
        assert_eq!(net("untested").upnp, "mapped");
    }

    #[test]
    fn a_build_without_net_tells_relayed_from_direct() {
        let peers = r#"{"peers": [
            {"id": "A", "connections": [{"transport": "relayed"}, {"transport": "quic"}]},
            {"id": "B", "connections": [{"transport": "relayed"}]}, {"id": "C", "connections": []}]}"#;
        let sight = Sight::of_peers(peers).expect("JSON");
        assert_eq!(sight.peers.len(), 2);
        assert_eq!(sight.peers["A"], connection(Way::Direct, Some(Transport::Quic)));
        assert_eq!(sight.peers["B"], connection(Way::Relayed, None));
    }

    #[test]
    fn what_either_side_says_of_a_pair_counts_unless_one_of_them_is_down() {
        let sees = |peer: &str, way| {
            let peers = BTreeMap::from([(peer.to_owned(), connection(way, Some(Transport::Tcp)))]);
            Some(Sight { peers, ..Sight::default() })
        };
        let ids = ["A", "B", "C"].map(str::to_owned);
        let seen = connections(&ids, &[sees("B", Way::Direct), sees("A", Way::Punched), None]);
        assert_eq!(seen, BTreeMap::from([((0, 1), connection(Way::Punched, Some(Transport::Tcp)))]));
        let seen = connections(&ids, &[sees("C", Way::Relayed), Some(Sight::default()), Some(Sight::default())]);
        assert_eq!(seen, BTreeMap::from([((0, 2), connection(Way::Relayed, Some(Transport::Tcp)))]));
        assert!(connections(&ids, &[sees("C", Way::Relayed), None, None]).is_empty());
    }
}
