//! Addresses as people write them.

use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use libp2p::multiaddr::Protocol;

/// Why a text is no address of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not a multiaddress.
    #[error(
        "`{address}` is not an address ({reason}); expected /ip4/192.0.2.7/tcp/4848/p2p/12D3KooW…, /dns4/…/tcp/…/p2p/… or /dnsaddr/…"
    )]
    Malformed {
        /// What was given.
        address: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// Not of a kind that this node can dial.
    #[error(
        "`{0}` cannot be dialled: it must begin with /ip4, /ip6, /dns, /dns4, /dns6 or /dnsaddr and go on with /tcp/PORT or /udp/PORT/quic-v1"
    )]
    Undiallable(String),
    /// No peer named at the end.
    #[error("`{0}` does not say which server is there: append /p2p/ and the server's id, as `rocketmesh id` prints it")]
    NoPeer(String),
}

/// Reads an address that names a peer. A `/dnsaddr` may leave the peer to the DNS record.
///
/// # Errors
/// [`AddressError`], which says what is expected.
pub fn parse_peer_address(text: &str) -> Result<Multiaddr, AddressError> {
    let address: Multiaddr = text.parse().map_err(|error: libp2p::multiaddr::Error| AddressError::Malformed {
        address: text.chars().take(200).collect(),
        reason: error.to_string(),
    })?;
    let mut parts = address.iter();
    let dnsaddr = match (parts.next(), parts.next()) {
        (Some(Protocol::Dnsaddr(_)), _) => true,
        (Some(Protocol::Memory(_)), _) => false,
        (
            Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)),
            Some(Protocol::Tcp(_) | Protocol::Udp(_)),
        ) => false,
        _ => return Err(AddressError::Undiallable(text.to_owned())),
    };
    if !dnsaddr && peer_of(&address).is_none() {
        return Err(AddressError::NoPeer(text.to_owned()));
    }
    Ok(address)
}

/// The peer that an address names at its end.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// How far an address reaches. A peer may be told only of addresses that make sense where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// This machine.
    Loopback,
    /// A private network.
    Private,
    /// Everywhere.
    Global,
}

/// The scope of an address. Names count as global: whoever configured one meant it for others.
pub(super) fn scope(address: &Multiaddr) -> Scope {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => scope4(ip),
        Some(Protocol::Ip6(ip)) => scope6(ip),
        Some(Protocol::Memory(_)) => Scope::Loopback,
        _ => Scope::Global,
    }
}

fn scope4(ip: Ipv4Addr) -> Scope {
    // What names several machines, or none, is nobody's place: it reaches as little as can be.
    if ip.is_loopback() || ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast() {
        Scope::Loopback
    } else if ip.is_private() || ip.is_link_local() || is_shared(ip) {
        Scope::Private
    } else {
        Scope::Global
    }
}

fn scope6(ip: Ipv6Addr) -> Scope {
    // An address of IPv4 in another dress leads where that does.
    if let Some(ip) = ip.to_ipv4_mapped() {
        scope4(ip)
    } else if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        Scope::Loopback
    } else if ip.is_unique_local() || ip.is_unicast_link_local() {
        Scope::Private
    } else {
        Scope::Global
    }
}

/// The shared address space of carrier-grade NAT, RFC 6598.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && (64..128).contains(&second)
}

/// Whether an address leads through a relay.
pub(super) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The relay that an address leads through, if it names one.
pub(super) fn relay_of(address: &Multiaddr) -> Option<PeerId> {
    let mut last = None;
    for part in address.iter() {
        match part {
            Protocol::P2pCircuit => return last,
            Protocol::P2p(peer) => last = Some(peer),
            _ => {}
        }
    }
    None
}

/// The transport of an address, for people; of one through a relay, that of the way to the relay.
pub(super) fn carrier_of(address: &Multiaddr) -> &'static str {
    let mut transport = "other";
    for part in address.iter() {
        match part {
            Protocol::P2pCircuit => break,
            Protocol::Tcp(_) => transport = "tcp",
            Protocol::QuicV1 | Protocol::Quic => transport = "quic",
            Protocol::Memory(_) => transport = "memory",
            _ => {}
        }
    }
    transport
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn an_address_must_name_its_peer_unless_dns_does() {
        for good in [
            format!("/ip4/192.0.2.7/tcp/4848/p2p/{PEER}"),
            format!("/ip6/2001:db8::1/udp/4848/quic-v1/p2p/{PEER}"),
            format!("/dns4/chat.example.org/tcp/4848/p2p/{PEER}"),
            "/dnsaddr/mesh.example.org".to_owned(),
        ] {
            assert_eq!(parse_peer_address(&good).unwrap().to_string(), good);
        }
        assert!(matches!(parse_peer_address("/ip4/192.0.2.7/tcp/4848"), Err(AddressError::NoPeer(_))));
        assert!(matches!(parse_peer_address("192.0.2.7:4848"), Err(AddressError::Malformed { .. })));
        assert!(matches!(parse_peer_address("/ip4/300.0.2.7/tcp/1"), Err(AddressError::Malformed { .. })));
        assert!(matches!(
            parse_peer_address(&format!("/unix/tmp/p2p/{PEER}")),
            Err(AddressError::Undiallable(_) | AddressError::Malformed { .. })
        ));
        assert!(matches!(parse_peer_address(""), Err(AddressError::Undiallable(_))));
    }

    #[test]
    fn an_address_through_a_relay_names_the_relay_and_the_transport_to_it() {
        let relayed: Multiaddr =
            format!("/ip4/192.0.2.7/udp/4848/quic-v1/p2p/{PEER}/p2p-circuit/p2p/{PEER}").parse().unwrap();
        assert!(is_relayed(&relayed));
        assert_eq!(relay_of(&relayed), Some(PEER.parse().unwrap()));
        assert_eq!(carrier_of(&relayed), "quic");
        let direct: Multiaddr = format!("/ip4/192.0.2.7/tcp/4848/p2p/{PEER}").parse().unwrap();
        assert_eq!((is_relayed(&direct), relay_of(&direct), carrier_of(&direct)), (false, None, "tcp"));
    }

    #[test]
    fn scopes_tell_loopback_from_private_from_global() {
        let scope_of = |text: &str| scope(&text.parse().unwrap());
        assert_eq!(scope_of("/ip4/127.0.0.1/tcp/1"), Scope::Loopback);
        assert_eq!(scope_of("/ip4/10.1.2.3/tcp/1"), Scope::Private);
        assert_eq!(scope_of("/ip4/100.64.0.1/tcp/1"), Scope::Private);
        assert_eq!(scope_of("/ip6/fe80::1/tcp/1"), Scope::Private);
        assert_eq!(scope_of("/ip4/198.51.100.1/tcp/1"), Scope::Global);
        assert_eq!(scope_of("/dns4/chat.example.org/tcp/1"), Scope::Global);
        assert_eq!(scope_of("/ip6/::ffff:127.0.0.1/tcp/1"), Scope::Loopback);
        assert_eq!(scope_of("/ip6/::ffff:192.168.1.1/tcp/1"), Scope::Private);
        assert_eq!(scope_of("/ip6/::ffff:198.51.100.1/tcp/1"), Scope::Global);
        assert_eq!(scope_of("/ip4/224.0.0.251/udp/5353/quic-v1"), Scope::Loopback);
        assert_eq!(scope_of("/ip6/ff02::1/udp/1/quic-v1"), Scope::Loopback);
    }
}
