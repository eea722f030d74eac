//! Reachability in words and numbers: for `rocketmesh net`, and for programs.

use libp2p::identity::PeerId;
use tokio::time::Instant;

use super::Driver;
use super::reach::{Seen, Source, Standing, Verdict};
use crate::api::types::{NetAddress, NetPeer, NetPrivate, NetPunches, NetRelay, NetServing, NetView};
use crate::network::address::{Scope, relay_of, scope};
use crate::network::peers::{Path, Peer};

/// The port that others are told to forward.
const PORT: u16 = crate::config::DEFAULT_PORT;

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
        if !nat.on || nat.verdict == Verdict::Public {
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
        let connected = self.peers.iter().any(|(_, peer)| !peer.connections.is_empty());
        let direct = self.peers.iter().filter_map(|(_, peer)| peer.best()).any(|best| best.path != Path::Relayed);
        match (nat.verdict, connected) {
            (_, false) => advice.push(
                "connect to a server: `rocketmesh connect ADDRESS`, or one in network.bootstrap of the configuration"
                    .to_owned(),
            ),
            (Verdict::Private, true) => {
                let transports = if self.config.private.is_some() { "TCP" } else { "TCP and UDP" };
                advice.push(format!(
                    "others do not reach this node, and no connected server relays for it: forward port {PORT} ({transports}) \
                     on the router to this machine, or connect to a server that others reach and that has network.relay.serve \
                     = \"auto\" or \"on\""
                ));
            }
            (_, true) if direct => advice.push("wait a minute: other servers are asked to dial this node".to_owned()),
            _ => {}
        }
        advice
    }
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
