//! What the swarm consists of.

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, AllowAllSubscriptionFilter, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity, MessageId,
    ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, identify, kad, mdns, ping, relay, upnp};
use rocketmesh_protocol::wire;

use crate::network::dial_back::DialBack;
use crate::network::framing::Framing;
use crate::network::prober::Prober;
use crate::network::pulse::Pulse;
use crate::network::punching::Punching;
use crate::network::serving::Serving;
use crate::network::{DhtMode, NetworkConfig, NetworkLimits, RelayMode};
use crate::tuning::Tuning;

/// The largest gossip RPC. One event fits many times; what needs the room is the list of all subscriptions of a server in
/// thousands of rooms, which travels in one RPC.
const MAX_GOSSIP_RPC: usize = 4 * 1024 * 1024;

/// How many servers keep each record of the DHT, and how many answers end a search in it.
const DHT_REPLICATION: usize = 10;

/// How many servers of each distance the DHT knows: Kademlia's k, 8 as in BitTorrent's. kad sets the room for all of them aside
/// at the start, 1.6 MB a node with its 20.
const DHT_BUCKET: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

/// How often a node that stays up looks for its neighbours in the DHT. Whoever starts is known to its own at once; this is for what
/// changed unnoticed.
const DHT_LOOKS_AROUND: Duration = Duration::from_secs(15 * 60);

/// The most rooms whose providers this node remembers for the DHT, its own included: about 10 MiB.
const MAX_PROVIDED_KEYS: usize = 65_536;

/// How often a connection is tested, and how long an answer may take, where connections may die without a word: behind NAT, or on
/// a machine that sleeps. Two missing answers close it, which takes some half a minute over TCP: the driver doubts it before.
pub(super) const PING_EVERY: Duration = Duration::from_secs(8);
const PING_TIMEOUT: Duration = Duration::from_secs(7);

pub(super) type Gossip =
    gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

/// Connection limits stand first: what they refuse costs the others nothing.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) hello: request_response::Behaviour<Framing>,
    pub(super) sync: request_response::Behaviour<Framing>,
    pub(super) gossip: Gossip,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) upnp: Toggle<upnp::tokio::Behaviour>,
    pub(super) relays: Toggle<relay::client::Behaviour>,
    pub(super) serving: Toggle<Serving>,
    pub(super) punching: Toggle<Punching>,
    pub(super) prober: Toggle<Prober>,
    pub(super) dial_back: Toggle<DialBack>,
    pub(super) pulse: Toggle<Pulse>,
}

impl Behaviour {
    /// `relays` is the other half of the transport through relays, where there is one.
    pub(super) fn new(
        keypair: &Keypair,
        config: &NetworkConfig,
        agent: &str,
        relays: Option<relay::client::Behaviour>,
    ) -> Result<Self, String> {
        let limits = &config.limits;
        let peer = keypair.public().to_peer_id();
        let identify = identify::Config::new(wire::IDENTIFY_PROTOCOL.to_owned(), keypair.public())
            .with_agent_version(agent.to_owned())
            .with_push_listen_addr_updates(true)
            // What is listened on is told as far as it may be of use (see the driver): of two nodes behind different routers that
            // listen on the same address, each would dial itself.
            .with_hide_listen_addrs(config.nat)
            .with_cache_size(0);
        let ping = match config.nat {
            true => ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_TIMEOUT),
            false => ping::Config::new(),
        };
        let serves = config.nat && config.relay.serve != RelayMode::Off;
        let mdns = if config.mdns {
            match mdns::tokio::Behaviour::new(mdns::Config::default(), peer) {
                Ok(mdns) => Some(mdns),
                Err(error) => {
                    tracing::warn!(%error, "mDNS is off: the local network cannot be searched");
                    None
                }
            }
        } else {
            None
        };
        Ok(Behaviour {
            limits: connection_limits::Behaviour::new(connection_limits(limits)),
            blocked: allow_block_list::Behaviour::default(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping),
            hello: requests(wire::HELLO_PROTOCOL, Framing::HELLO, limits.introduction_timeout, 4),
            sync: requests(wire::SYNC_PROTOCOL, Framing::SYNC, limits.request_timeout, 64),
            gossip: gossip(limits, &config.tuning)?,
            kad: kad(peer, config.dht),
            mdns: mdns.into(),
            upnp: (config.nat && config.upnp).then(upnp::tokio::Behaviour::default).into(),
            punching: relays.is_some().then(|| Punching::new(peer)).into(),
            relays: relays.into(),
            serving: serves.then(|| Serving::new(peer, &config.relay)).into(),
            prober: config.nat.then(Prober::default).into(),
            dial_back: config.nat.then(DialBack::default).into(),
            pulse: config.nat.then(Pulse::default).into(),
        })
    }
}

fn connection_limits(limits: &NetworkLimits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.max_pending_incoming))
        .with_max_established_incoming(Some(limits.max_incoming))
        .with_max_established(Some(limits.max_connections))
        .with_max_established_per_peer(Some(limits.max_per_peer))
}

fn requests(
    protocol: &'static str,
    framing: Framing,
    timeout: Duration,
    streams: usize,
) -> request_response::Behaviour<Framing> {
    let config = request_response::Config::default().with_request_timeout(timeout).with_max_concurrent_streams(streams);
    request_response::Behaviour::with_codec(framing, [(StreamProtocol::new(protocol), ProtocolSupport::Full)], config)
}

/// Messages carry no signature of gossipsub's own, since every event carries one, and each is validated once, by the engine.
fn gossip(limits: &NetworkLimits, tuning: &Tuning) -> Result<Gossip, String> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| MessageId::from(wire::gossip_message_id(&message.data).as_slice()))
        .mesh_n(tuning.mesh_degree)
        .mesh_n_low(tuning.mesh_low)
        .mesh_n_high(tuning.mesh_high)
        // Peers that this node dialled, which nobody else can have chosen for it; gossipsub wants at most half.
        .mesh_outbound_min((tuning.mesh_degree / 2).min(2))
        .gossip_lazy(tuning.gossip_lazy)
        .heartbeat_interval(tuning.heartbeat)
        .prune_backoff(tuning.prune_backoff)
        .graft_flood_threshold(tuning.prune_backoff / 2)
        .flood_publish(tuning.flood_own)
        // Whoever has an event says so to its mesh at once, so that fewer send it again: 40 bytes against 500.
        .idontwant_message_size_threshold(if tuning.decline_copies { 0 } else { usize::MAX })
        .max_transmit_size(MAX_GOSSIP_RPC)
        // Subscriptions count as control: at its default of 16 KiB a server in a few hundred rooms would not be heard.
        .max_control_message_size(MAX_GOSSIP_RPC)
        // The engine may be waiting for a flush; what it accepts later than this is left to sync.
        .history_length(10)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: limits.max_topics,
        max_subscriptions_per_request: limits.max_topics,
    };
    let mut gossip =
        Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter).map_err(str::to_owned)?;
    let scoring = gossipsub::PeerScoreParams {
        // Many servers behind one address are ordinary here: one office, one test machine.
        ip_colocation_factor_weight: 0.0,
        ..Default::default()
    };
    gossip.with_peer_score(scoring, gossipsub::PeerScoreThresholds::default())?;
    Ok(gossip)
}

fn kad(peer: libp2p::PeerId, mode: DhtMode) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(StreamProtocol::new(wire::DHT_PROTOCOL));
    config
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_query_timeout(Duration::from_secs(20))
        .set_periodic_bootstrap_interval(Some(DHT_LOOKS_AROUND))
        // With 20, a node that starts dials a tenth of a mesh of a thousand. What is stored is who is in a room, which its
        // servers say again themselves.
        .set_replication_factor(NonZeroUsize::new(DHT_REPLICATION).unwrap_or(NonZeroUsize::MIN))
        .set_kbucket_size(DHT_BUCKET)
        // Nothing but providers is stored.
        .set_record_filtering(kad::StoreInserts::FilterBoth);
    let store = MemoryStore::with_config(
        peer,
        MemoryStoreConfig { max_provided_keys: MAX_PROVIDED_KEYS, max_records: 0, ..Default::default() },
    );
    let mut kad = kad::Behaviour::with_config(peer, store, config);
    kad.set_mode(match mode {
        // Client until somebody has come in: see the driver. kad's own automatism would serve on an unproven address.
        DhtMode::Auto | DhtMode::Client => Some(kad::Mode::Client),
        DhtMode::Server => Some(kad::Mode::Server),
    });
    kad
}
