//! Reachability in words and numbers: for `rocketmesh net`, and for programs.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use libp2p::multiaddr::Protocol;
use tokio::time::Instant;

use super::Driver;
use super::reach::{Seen, Source, Standing, Verdict};
use crate::api::types::{NetAddress, NetPeer, NetPrivate, NetPunches, NetRelay, NetServing, NetView};
use crate::config::DEFAULT_PORT;
use crate::network::address::{Scope, is_relayed, relay_of, scope};
use crate::network::peers::{Path, Peer};

impl Driver {
    /// The whole of it.
    pub(super) fn net(&self, now: Instant) -> NetView {
        let nat = &self.nat;
        let seen = nat.reach.seen();
        NetView {
            reachability: nat.verdict.word().to_owned(),
            reasons: self.reasons(&seen),
            advice: self.advice(&seen),
            addresses: seen.iter().map(address).collect(),
            relays: self.relays_held(now),
            peers: self.peers.iter().filter_map(|(id, known)| peer(id, known, now)).collect(),
            serving: NetServing {
                mode: self.config.relay.serve.word().to_owned(),
                active: nat.serves,
                reservations: nat.clients.len() as u64,
                circuits: nat.circuits as u64,
                circuits_total: nat.circuits_total,
            },
            punches: NetPunches { tried: nat.punches.tried, succeeded: nat.punches.succeeded },
            upnp: nat.upnp.to_owned(),
            private: self.config.private.as_ref().map(|key| NetPrivate {
                fingerprint: key.fingerprint(),
                unused_listen: self.config.unused_listen.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    fn relays_held(&self, now: Instant) -> Vec<NetRelay> {
        let held = self.nat.relays.holding().map(|(relay, held)| {
            // Of several addresses through one relay the one that reaches farthest is shown.
            let through = self.swarm.external_addresses().filter(|address| relay_of(address) == Some(*relay));
            let address = through.max_by_key(|address| (scope(address), std::cmp::Reverse((*address).clone())));
            NetRelay {
                peer: relay.to_string(),
                address: address.unwrap_or(&held.address).to_string(),
                since_s: held.accepted.map_or(0, |since| now.duration_since(since).as_secs()),
            }
        });
        held.collect()
    }

    /// How the node knows what it says.
    fn reasons(&self, seen: &[Seen]) -> Vec<String> {
        let nat = &self.nat;
        if !nat.on {
            return vec!["network.nat is off, so that nobody asks".to_owned()];
        }
        let Some(farthest) = nat.reach.farthest() else {
            let reason = match nat.verdict {
                _ if self.connected() => "no connected server has said yet at which address it sees this one",
                Verdict::Unknown => "no other server is connected that could tell",
                Verdict::Private | Verdict::Public => {
                    "no other server is connected; what was found before is believed for a while"
                }
            };
            return vec![reason.to_owned()];
        };
        let mut reasons = vec![stand(farthest).to_owned()];
        for Seen { address, sources, standing, reached, unreached, named } in seen {
            if scope(address) < farthest {
                continue;
            }
            let dialled = reached + unreached;
            match standing {
                Standing::Confirmed => {
                    reasons.push(format!("{reached} of {} dialled {address} and reached this node", servers(dialled)));
                }
                Standing::Refuted => {
                    reasons.push(format!("{unreached} of {} dialled {address} in vain", servers(dialled)));
                }
                Standing::Untested if sources.contains(&Source::Configured) => {
                    reasons.push(format!("{address} is configured in network.external; nobody has tried it yet"));
                }
                Standing::Untested if sources.contains(&Source::Mapped) => {
                    reasons.push(format!("the router forwards {address} (UPnP); nobody has tried it yet"));
                }
                Standing::Untested if *named > 0 => {
                    reasons.push(format!("{} see this node at {address}; nobody has tried it yet", servers(*named)));
                }
                Standing::Untested => {}
            }
        }
        match nat.reach.guests() {
            0 => {}
            guests => reasons.push(format!("{} connected to this node of their own accord", servers(guests))),
        }
        let listens = seen.iter().any(|seen| seen.sources.contains(&Source::Listening));
        let far = |seen: &Seen| seen.sources.contains(&Source::Listening) && scope(&seen.address) >= farthest;
        if !listens {
            reasons.push("this node listens on no address".to_owned());
        } else if !seen.iter().any(far) {
            reasons.push("this node listens only on addresses of its own network".to_owned());
        }
        if nat.reach.testers() == 0 {
            reasons.push("no connected server can test it".to_owned());
        }
        reasons
    }

    /// What to do. Empty where nothing has to be done.
    fn advice(&self, seen: &[Seen]) -> Vec<String> {
        let nat = &self.nat;
        let mut advice = Vec::new();
        if nat.verdict == Verdict::Public {
            return advice;
        }
        if !nat.on {
            advice.push(format!(
                "nothing if others dial this node; else set network.nat = true, or forward {} on the router to this machine",
                ports(self.swarm.listeners())
            ));
            return advice;
        }
        for seen in seen.iter().filter(|seen| seen.sources.contains(&Source::Configured)) {
            if seen.standing == Standing::Refuted {
                advice.push(format!(
                    "{} stands in network.external, and other servers cannot dial it: correct or remove it",
                    seen.address
                ));
            }
        }
        if nat.relays.holding().next().is_some() {
            return advice;
        }
        let direct = self.peers.iter().filter_map(|(_, peer)| peer.best()).any(|best| best.path != Path::Relayed);
        match (nat.verdict, self.connected()) {
            (_, false) => advice.push(
                "connect to a server: `rocketmesh connect ADDRESS`, or one in network.bootstrap of the configuration"
                    .to_owned(),
            ),
            (Verdict::Private, true) => {
                advice.push(format!(
                    "others do not reach this node, and no connected server relays for it: forward {} on the router to this \
                     machine, or connect to a server that others reach and that has network.relay.serve = \"auto\" or \"on\"",
                    ports(self.swarm.listeners())
                ));
            }
            (_, true) if direct => advice.push("wait a minute: other servers are asked to dial this node".to_owned()),
            _ => advice.push(
                "connect to a server that others reach, with `rocketmesh connect ADDRESS`: none is connected directly, and only \
                 such a one can tell"
                    .to_owned(),
            ),
        }
        advice
    }

    fn connected(&self) -> bool {
        self.peers.iter().any(|(_, peer)| !peer.connections.is_empty())
    }
}

/// What a router is to forward to a node that listens on these addresses, such as `port 4848 (TCP and UDP)`.
fn ports<'a>(listeners: impl Iterator<Item = &'a Multiaddr>) -> String {
    let mut ports: BTreeMap<u16, BTreeSet<&'static str>> = BTreeMap::new();
    for part in listeners.filter(|address| !is_relayed(address)).flat_map(Multiaddr::iter) {
        match part {
            Protocol::Tcp(port) => ports.entry(port).or_default().insert("TCP"),
            Protocol::Udp(port) => ports.entry(port).or_default().insert("UDP"),
            _ => false,
        };
    }
    if ports.is_empty() {
        return format!("port {DEFAULT_PORT}");
    }
    let words = ports
        .iter()
        .map(|(port, over)| format!("port {port} ({})", over.iter().copied().collect::<Vec<_>>().join(" and ")));
    words.collect::<Vec<_>>().join(" and ")
}

fn servers(count: usize) -> String {
    if count == 1 { "1 server".to_owned() } else { format!("{count} servers") }
}

fn stand(farthest: Scope) -> &'static str {
    match farthest {
        Scope::Loopback => "all connected servers run on this machine",
        Scope::Private => "all connected servers are on the local network",
        Scope::Global => "servers across the internet are connected",
    }
}

fn address(seen: &Seen) -> NetAddress {
    let mut sources: Vec<String> = seen
        .sources
        .iter()
        .map(|source| {
            match source {
                Source::Listening => "listening",
                Source::Configured => "configured",
                Source::Mapped => "mapped",
            }
            .to_owned()
        })
        .collect();
    if seen.named > 0 {
        sources.push("observed".to_owned());
    }
    NetAddress {
        address: seen.address.to_string(),
        sources,
        state: match seen.standing {
            Standing::Untested => "untested",
            Standing::Confirmed => "confirmed",
            Standing::Refuted => "refuted",
        }
        .to_owned(),
        named_by: seen.named as u64,
        reached_by: seen.reached as u64,
        not_reached_by: seen.unreached as u64,
    }
}

fn peer(id: &PeerId, known: &Peer, now: Instant) -> Option<NetPeer> {
    let best = known.best()?;
    Some(NetPeer {
        id: id.to_string(),
        name: known.name().map(|name| name.to_string()),
        path: best.path.word().to_owned(),
        transport: best.carrier.to_owned(),
        via: best.via.map(|relay| relay.to_string()),
        since_s: now.duration_since(best.since).as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_to_forward_what_the_node_listens_on_and_nothing_else() {
        let addresses = |texts: &[&str]| -> Vec<Multiaddr> {
            texts.iter().map(|text| text.parse().expect("this is an address")).collect()
        };
        let usual = addresses(&["/ip4/0.0.0.0/tcp/4848", "/ip4/0.0.0.0/udp/4848/quic-v1", "/ip6/::/tcp/4848"]);
        assert_eq!(ports(usual.iter()), "port 4848 (TCP and UDP)");
        let others = addresses(&[
            "/ip4/192.168.1.7/tcp/443",
            "/ip4/192.168.1.7/udp/4858/quic-v1",
            "/ip4/203.0.113.1/tcp/9/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
        ]);
        assert_eq!(ports(others.iter()), "port 443 (TCP) and port 4858 (UDP)");
        assert_eq!(ports(std::iter::empty()), "port 4848");
    }
}
