//! Addresses of the laboratory's nodes: where each listens, whom it is told to connect to, and through whom it is reached.

use clap::ValueEnum;
use serde::Serialize;

use crate::lab::paths::Transport;
use crate::lab::topology::{Gate, HTTPS_PORT, Host};

/// What the nodes of a pass may use. Whoever is let out on TCP 443 only uses that in every pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transports {
    /// QUIC.
    Quic,
    /// TCP.
    Tcp,
    /// Both, as a node does that is told nothing.
    Both,
    /// TCP, behind the key of a private mesh.
    Private,
}

impl Transports {
    /// Whether a transport is among them.
    pub fn has(self, transport: Transport) -> bool {
        match self {
            Transports::Both => true,
            Transports::Quic => transport == Transport::Quic,
            Transports::Tcp | Transports::Private => transport == Transport::Tcp,
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Transports::Quic => "QUIC",
            Transports::Tcp => "TCP",
            Transports::Both => "QUIC and TCP",
            Transports::Private => "TCP in a private mesh",
        }
    }
}

/// A relay: its host, and the id of the node on it.
pub type Relay = (Host, String);

/// Where a host's node listens.
pub fn listen(host: &Host, transports: Transports) -> Vec<String> {
    let ip = if host.is_relay() { host.address().to_string() } else { "0.0.0.0".to_owned() };
    let strict = host.gate() == Gate::Strict;
    let mut addresses = Vec::new();
    if transports.has(Transport::Quic) && !strict {
        addresses.push(format!("/ip4/{ip}/udp/{}/quic-v1", host.port));
    }
    if transports.has(Transport::Tcp) || strict {
        addresses.push(format!("/ip4/{ip}/tcp/{}", host.port));
    }
    if host.is_relay() {
        addresses.push(format!("/ip4/{ip}/tcp/{HTTPS_PORT}"));
    }
    addresses
}

/// A relay's addresses that an administrator would give to a host.
pub fn bootstrap(host: &Host, transports: Transports, (relay, id): &Relay) -> Vec<String> {
    let https = format!("/tcp/{HTTPS_PORT}");
    let addresses = listen(relay, transports).into_iter();
    let meant = addresses.filter(|address| address.ends_with(&https) == (host.gate() == Gate::Strict));
    meant.map(|address| format!("{address}/p2p/{id}")).collect()
}

/// Addresses at which `host` reaches a node through relays, one for each relay.
pub fn circuits(host: &Host, transports: Transports, relays: &[Relay], id: &str) -> Vec<String> {
    let first = |relay: &Relay| bootstrap(host, transports, relay).into_iter().next();
    relays.iter().filter_map(first).map(|relay| format!("{relay}/p2p-circuit/p2p/{id}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::topology::hosts;

    fn host(name: &str) -> Host {
        hosts().into_iter().find(|host| host.name == name).expect(name)
    }

    #[test]
    fn relays_listen_on_443_too_and_whoever_speaks_only_that_is_told_so() {
        let relay = (host("relay1"), "R".to_owned());
        assert_eq!(
            listen(&relay.0, Transports::Both),
            ["/ip4/203.0.113.2/udp/4848/quic-v1", "/ip4/203.0.113.2/tcp/4848", "/ip4/203.0.113.2/tcp/443"]
        );
        for transports in [Transports::Quic, Transports::Tcp, Transports::Both] {
            let told = bootstrap(&host("strict"), transports, &relay);
            assert_eq!(told, ["/ip4/203.0.113.2/tcp/443/p2p/R"]);
            assert_eq!(listen(&host("strict"), transports), ["/ip4/0.0.0.0/tcp/4848"]);
        }
    }

    #[test]
    fn a_pass_over_one_transport_leads_nobody_to_another() {
        let relay = (host("relay2"), "R".to_owned());
        assert_eq!(bootstrap(&host("office-a"), Transports::Quic, &relay), ["/ip4/203.0.113.6/udp/4848/quic-v1/p2p/R"]);
        assert_eq!(bootstrap(&host("office-a"), Transports::Tcp, &relay), ["/ip4/203.0.113.6/tcp/4848/p2p/R"]);
        assert_eq!(listen(&host("lan-2"), Transports::Tcp), ["/ip4/0.0.0.0/tcp/4858"]);
        assert_eq!(listen(&host("relay1"), Transports::Private), listen(&host("relay1"), Transports::Tcp));
    }

    #[test]
    fn a_circuit_names_the_relay_and_then_the_node() {
        let relays = [(host("relay1"), "R".to_owned()), (host("relay2"), "S".to_owned())];
        assert_eq!(
            circuits(&host("office-a"), Transports::Both, &relays, "P"),
            [
                "/ip4/203.0.113.2/udp/4848/quic-v1/p2p/R/p2p-circuit/p2p/P",
                "/ip4/203.0.113.6/udp/4848/quic-v1/p2p/S/p2p-circuit/p2p/P"
            ]
        );
    }
}
