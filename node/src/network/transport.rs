//! How bytes travel: TCP with Noise and Yamux, and QUIC, with names looked up by DNS; in a private mesh TCP alone, behind its
//! key; and through relays, which is Noise and Yamux once more, inside a stream of a connection with the relay.

use std::io;
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, MemoryTransport, OrTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::{Keypair, PeerId};
use libp2p::metrics::BandwidthTransport;
use libp2p::multiaddr::Protocol;
use libp2p::pnet::PnetConfig;
use libp2p::{Multiaddr, Transport, dns, noise, quic, relay, tcp, yamux};
use prometheus_client::registry::Registry;
use rocketmesh_protocol::identity::ServerKey;

use crate::network::private_key::PrivateKey;
use crate::network::short_frames::ShortFrames;

/// How long a connection may take until both sides have proven who they are. Three tries to punch a hole fit into half a
/// minute, and a server that dials an address for somebody can still say that it failed (see the prober).
const HANDSHAKE: Duration = Duration::from_secs(8);
/// The same through a relay, which itself may have to be dialled first.
const RELAYED_HANDSHAKE: Duration = Duration::from_secs(20);

/// A transport that the node can be built with: authenticated and multiplexed.
pub type NodeTransport = Boxed<(PeerId, StreamMuxerBox)>;

/// The server's key in libp2p's form: the same Ed25519 key signs events and proves who is at the other end.
pub fn keypair(key: &ServerKey) -> Keypair {
    Keypair::ed25519_from_bytes(key.seed()).expect("32 bytes are an Ed25519 seed")
}

/// Sockets: TCP and QUIC, with the system's name servers. Counts in `registry` what passes through connections, before
/// encryption.
///
/// # Errors
/// If the system cannot set up Noise, or neither its own nor the default name servers.
pub fn sockets(key: &ServerKey, registry: &mut Registry) -> io::Result<NodeTransport> {
    let resolved = dns::tokio::Transport::system(unresolved(key)?)?;
    Ok(counted(resolved, registry))
}

/// As [`sockets`], with name servers of one's own.
///
/// # Errors
/// If the system cannot set up Noise.
pub fn sockets_resolved_by(
    key: &ServerKey,
    registry: &mut Registry,
    resolver: dns::ResolverConfig,
) -> io::Result<NodeTransport> {
    let resolved = dns::tokio::Transport::custom(unresolved(key)?, resolver, dns::ResolverOpts::default());
    Ok(counted(resolved, registry))
}

fn counted<T>(transport: T, registry: &mut Registry) -> NodeTransport
where
    T: Transport<Output = (PeerId, StreamMuxerBox)> + Send + Unpin + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Error: Send + Sync + 'static,
{
    BandwidthTransport::new(transport, registry).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
}

/// Sockets of a private mesh: as [`sockets`], over TCP alone, and without the key not even the handshake can be read.
///
/// # Errors
/// As for [`sockets`].
pub fn private_sockets(key: &ServerKey, private: &PrivateKey, registry: &mut Registry) -> io::Result<NodeTransport> {
    let private = PnetConfig::new(private.shared());
    let sealed = tcp_sockets().and_then(move |socket, _| private.handshake(socket));
    let secured = TransportTimeout::new(secured(key, sealed)?, HANDSHAKE).boxed();
    Ok(counted(dns::tokio::Transport::system(secured)?, registry))
}

fn unresolved(key: &ServerKey) -> io::Result<NodeTransport> {
    let keypair = keypair(key);
    let tcp = secured(key, tcp_sockets())?;
    let quic = quic::tokio::Transport::new(quic::Config::new(&keypair))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let either = OrTransport::new(quic, tcp).map(|either, _| either.into_inner());
    Ok(TransportTimeout::new(either, HANDSHAKE).boxed())
}

fn tcp_sockets() -> tcp::tokio::Transport {
    tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
}

/// The first of these addresses over TCP at which another process listens already. libp2p lets processes share a port, and
/// the system then gives each connection to either of them by lot, so that others meet the wrong server half of the time.
/// Nothing of this process may listen there yet.
pub(crate) fn in_use(listen: &[Multiaddr]) -> Option<&Multiaddr> {
    listen.iter().find(|address| {
        let mut parts = address.iter();
        let ip = match parts.next() {
            Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
            // All of IPv6 would be all of IPv4 too here, where somebody else may well listen.
            Some(Protocol::Ip6(ip)) if !ip.is_unspecified() => IpAddr::from(ip),
            _ => return false,
        };
        let Some(Protocol::Tcp(port)) = parts.next() else { return false };
        let in_use = |error: io::Error| error.kind() == io::ErrorKind::AddrInUse;
        port != 0 && TcpListener::bind((ip, port)).is_err_and(in_use)
    })
}

/// Joins a transport with the way through relays.
///
/// # Errors
/// If Noise cannot be set up.
pub(super) fn with_relays(
    keypair: &Keypair,
    relays: relay::client::Transport,
    direct: NodeTransport,
) -> io::Result<NodeTransport> {
    let relayed = TransportTimeout::new(secured_by(keypair, relays)?, RELAYED_HANDSHAKE);
    Ok(OrTransport::new(relayed, direct).map(|either, _| either.into_inner()).boxed())
}

/// Memory, for many nodes in one process. The same handshake and multiplexing as over TCP.
///
/// # Errors
/// If Noise cannot be set up.
pub fn memory(key: &ServerKey) -> io::Result<NodeTransport> {
    secured(key, MemoryTransport::default())
}

/// Any transport of bare bytes, with the same handshake and multiplexing as over TCP.
///
/// # Errors
/// If Noise cannot be set up.
pub fn secured<T>(key: &ServerKey, transport: T) -> io::Result<NodeTransport>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    secured_by(&keypair(key), transport)
}

fn secured_by<T>(keypair: &Keypair, transport: T) -> io::Result<NodeTransport>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(ShortFrames(noise::Config::new(keypair).map_err(io::Error::other)?))
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}
