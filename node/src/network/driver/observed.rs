//! What a peer says about where it sees this node, turned into addresses that may be worth trying, and where peers stand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::identity::PeerId;
use libp2p::multiaddr::Protocol;
use tokio::time::Instant;

use crate::network::address::{Scope, is_relayed, scope};

/// The most candidates that one observation makes: nobody listens on more ports of a transport than this.
const CANDIDATES: usize = 4;

/// Where a peer is seen, coarsely: neighbours in one of these blocks are likely to have one owner, and count as one voice
/// where there are voices from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::network) enum Block {
    /// The first 24 bits.
    V4([u8; 3]),
    /// The first 48 bits.
    V6([u8; 6]),
    /// No number: a name, or no address of the internet.
    Other,
}

/// The block of an address.
pub(super) fn block(address: &Multiaddr) -> Block {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => block4(ip),
        Some(Protocol::Ip6(ip)) => block6(ip),
        _ => Block::Other,
    }
}

fn block4(ip: Ipv4Addr) -> Block {
    let [a, b, c, _] = ip.octets();
    Block::V4([a, b, c])
}

fn block6(ip: Ipv6Addr) -> Block {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return block4(ip);
    }
    let [a, b, c, d, e, f, ..] = ip.octets();
    Block::V6([a, b, c, d, e, f])
}

/// Whether both are of the same version of IP. A name may be either.
pub(super) fn same_family(one: &Multiaddr, other: &Multiaddr) -> bool {
    let version = |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(_) | Protocol::Dns4(_)) => Some(4),
        Some(Protocol::Ip6(_) | Protocol::Dns6(_)) => Some(6),
        _ => None,
    };
    match (version(one), version(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

/// Whether two addresses are of one kind: for the same transport and version of IP, and reaching equally far. Who says where it sees
/// this node by one kind has nothing to say about another.
pub(super) fn are_alike(one: &Multiaddr, other: &Multiaddr) -> bool {
    let is_quic = |address: &Multiaddr| address.iter().any(|part| matches!(part, Protocol::QuicV1));
    same_family(one, other) && is_quic(one) == is_quic(other) && scope(one) == scope(other)
}

/// Who says the same, with the block that each stands in and when it said so.
pub(super) type Voices = BTreeMap<PeerId, (Block, Instant)>;

/// How many have to say the same, of these who say anything: three, two where fewer than four do, one where only one does. Each
/// is a peer and a block of the internet, as far as there are different ones.
pub(super) fn voices_needed<'a>(all: impl Iterator<Item = &'a Voices>) -> (usize, usize) {
    let (mut peers, mut blocks) = (BTreeSet::new(), BTreeSet::new());
    for (peer, (block, _)) in all.flatten() {
        peers.insert(*peer);
        blocks.insert(*block);
    }
    let peers = match peers.len() {
        0 | 1 => 1,
        2 | 3 => 2,
        _ => 3,
    };
    (peers, blocks.len().min(peers))
}

/// Whether enough peers from enough blocks say the same.
pub(super) fn agree(voices: &Voices, (peers, blocks): (usize, usize)) -> bool {
    let different: BTreeSet<Block> = voices.values().map(|(block, _)| *block).collect();
    voices.len() >= peers && different.len() >= blocks
}

/// Number, port and whether it is QUIC's.
fn plain(address: &Multiaddr) -> Option<(Protocol<'_>, u16, bool)> {
    let mut parts = address.iter();
    let ip = parts.next().filter(|part| matches!(part, Protocol::Ip4(_) | Protocol::Ip6(_)))?;
    match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None | Some(Protocol::P2p(_))) => Some((ip, port, false)),
        (Protocol::Udp(port), Some(Protocol::QuicV1)) => Some((ip, port, true)),
        _ => None,
    }
}

fn join(ip: Protocol<'_>, port: u16, quic: bool) -> Multiaddr {
    let address = Multiaddr::empty().with(ip);
    if quic { address.with(Protocol::Udp(port)).with(Protocol::QuicV1) } else { address.with(Protocol::Tcp(port)) }
}

/// The addresses that an observation makes likely. The port that the peer saw counts only where this node listens on the same
/// one: any other is one that the system or a NAT chose for that connection alone. Where it is another, the seen number is
/// joined with the ports that are listened on, which is right for a router that forwards a port unchanged.
pub(super) fn candidates(observed: &Multiaddr, listening: &[Multiaddr]) -> Vec<Multiaddr> {
    let Some((ip, port, quic)) = plain(observed).filter(|_| !is_relayed(observed)) else { return Vec::new() };
    let v4 = matches!(ip, Protocol::Ip4(_));
    let mut ports: Vec<u16> = listening
        .iter()
        .filter(|address| !is_relayed(address))
        .filter_map(plain)
        .filter(|(own, _, own_quic)| *own_quic == quic && matches!(own, Protocol::Ip4(_)) == v4)
        .map(|(_, port, _)| port)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.contains(&port) {
        ports = vec![port];
    }
    ports.truncate(CANDIDATES);
    ports.into_iter().map(|port| join(ip.clone(), port, quic)).collect()
}

/// What was seen, as it is, if it may be what a NAT that does not keep ports has made of a port that is listened on: worth a
/// try in hole punching, never to be advertised.
pub(super) fn as_seen(observed: &Multiaddr) -> Option<Multiaddr> {
    let (ip, port, quic) = plain(observed).filter(|_| !is_relayed(observed))?;
    Some(join(ip, port, quic))
}

/// How far a connection reaches: as far as the nearer of its two ends is seen from the other. A name tells little of where it
/// leads, and how the other side sees this node tells more.
pub(super) fn reaches(remote: &Multiaddr, seen: Option<Scope>) -> Scope {
    seen.map_or(scope(remote), |seen| seen.min(scope(remote)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn made(observed: &str, listening: &[&str]) -> Vec<String> {
        let listening: Vec<Multiaddr> = listening.iter().map(|text| address(text)).collect();
        candidates(&address(observed), &listening).iter().map(ToString::to_string).collect()
    }

    const LISTENING: [&str; 3] =
        ["/ip4/192.168.1.7/tcp/4848", "/ip4/192.168.1.7/udp/4848/quic-v1", "/ip6/2001:db8::7/tcp/4849"];

    #[test]
    fn the_port_that_is_listened_on_is_taken_and_every_other_is_replaced_by_it() {
        assert_eq!(made("/ip4/198.51.100.1/tcp/4848", &LISTENING), ["/ip4/198.51.100.1/tcp/4848"]);
        assert_eq!(made("/ip4/198.51.100.1/tcp/39152", &LISTENING), ["/ip4/198.51.100.1/tcp/4848"]);
        assert_eq!(made("/ip4/198.51.100.1/udp/1/quic-v1", &LISTENING), ["/ip4/198.51.100.1/udp/4848/quic-v1"]);
        assert_eq!(made("/ip6/2001:db8::9/tcp/1", &LISTENING), ["/ip6/2001:db8::9/tcp/4849"]);
    }

    #[test]
    fn nothing_is_made_of_what_is_not_listened_on_or_comes_through_a_relay() {
        assert!(made("/ip4/198.51.100.1/tcp/4848", &[]).is_empty());
        assert!(made("/ip6/2001:db8::9/udp/1/quic-v1", &LISTENING).is_empty());
        assert!(made("/dns4/a.example/tcp/4848", &LISTENING).is_empty());
        let peer = libp2p::PeerId::random();
        assert!(made(&format!("/ip4/198.51.100.1/tcp/4848/p2p/{peer}/p2p-circuit"), &LISTENING).is_empty());
        assert!(made(&format!("/p2p/{peer}"), &LISTENING).is_empty());
    }

    #[test]
    fn blocks_are_a_24th_and_a_48th() {
        assert_eq!(block(&address("/ip4/198.51.100.1/tcp/1")), block(&address("/ip4/198.51.100.200/tcp/2")));
        assert_ne!(block(&address("/ip4/198.51.100.1/tcp/1")), block(&address("/ip4/198.51.101.1/tcp/1")));
        assert_eq!(block(&address("/ip6/2001:db8:1::1/tcp/1")), block(&address("/ip6/2001:db8:1:ffff::1/tcp/1")));
        assert_eq!(block(&address("/ip6/::ffff:198.51.100.1/tcp/1")), Block::V4([198, 51, 100]));
        assert_eq!(block(&address("/dns4/a.example/tcp/1")), Block::Other);
    }

    #[test]
    fn a_name_reaches_no_farther_than_how_the_other_side_sees_this_node() {
        let name = address("/dns4/server.lan/tcp/4848");
        assert_eq!(reaches(&name, None), Scope::Global);
        assert_eq!(reaches(&name, Some(Scope::Private)), Scope::Private);
        assert_eq!(reaches(&address("/ip4/10.0.0.1/tcp/1"), Some(Scope::Global)), Scope::Private);
    }
}
