//! How servers find each other without being told an address: on a local network, and by names.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use prometheus_client::registry::Registry;
use rocketmesh_node::network::transport;
use rocketmesh_protocol::identity::ServerKey;
use support::TestNode;
use tempfile::TempDir;

/// A name server on loopback that answers every question for a text with `text`, and every question for an address with
/// 127.0.0.1. Ends with the process.
fn name_server(text: String) -> ResolverConfig {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut connection = ConnectionConfig::udp();
    connection.port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            socket.send_to(&answer(&question[..length], &text), from).unwrap();
        }
    });
    let server = NameServerConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), true, vec![connection]);
    ResolverConfig::from_name_servers(vec![server])
}

/// The answer to a DNS message with one question (RFC 1035, section 4).
fn answer(message: &[u8], text: &str) -> Vec<u8> {
    const TXT: [u8; 2] = [0, 16];
    const A: [u8; 2] = [0, 1];
    let name = message[12..].iter().position(|byte| *byte == 0).unwrap() + 13;
    let kind: [u8; 2] = message[name..name + 2].try_into().unwrap();
    let data = match kind {
        TXT => [&[text.len() as u8], text.as_bytes()].concat(),
        A => vec![127, 0, 0, 1],
        _ => Vec::new(),
    };
    let answers = u8::from(!data.is_empty());
    let mut reply = message[..2].to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(&message[12..name + 4]);
    if answers > 0 {
        reply.extend([0xc0, 12]);
        reply.extend(kind);
        reply.extend([0, 1, 0, 0, 0, 60]);
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
    }
    reply
}

/// A node that asks this name server and knows `bootstrap`.
async fn asking(resolver: ResolverConfig, bootstrap: String) -> TestNode {
    let key = ServerKey::from_seed(&[9; 32]);
    let transport = transport::sockets_resolved_by(&key, &mut Registry::default(), resolver).unwrap();
    TestNode::start_with("b.example.org", &[bootstrap], |builder| builder.key(key).transport(transport)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_address_may_be_a_name() {
    let a = TestNode::start("a.example.org", &[]).await;
    let address = a.address().await.replace("/ip4/127.0.0.1/", "/dns4/chat.example.org/");
    let b = asking(name_server(String::new()), address.clone()).await;
    b.introduced(&a).await;
    let (_, status) = b.raw("GET", "/v1/node", None).await;
    assert_eq!(status["bootstrap"][0]["address"], address.as_str());
    assert_eq!(status["bootstrap"][0]["state"], "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_address_may_be_a_domain_whose_records_name_servers() {
    let a = TestNode::start("a.example.org", &[]).await;
    let record = format!("dnsaddr={}", a.address().await);
    let b = asking(name_server(record), "/dnsaddr/mesh.example.org".to_owned()).await;
    b.introduced(&a).await;
    let (_, status) = b.raw("GET", "/v1/node", None).await;
    assert_eq!(status["bootstrap"][0]["state"], "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_know_one_address_meet_the_others_of_a_room_through_it_without_the_dht() {
    let client = |builder: rocketmesh_node::NodeBuilder| {
        builder.configure(|config| config.network.dht = rocketmesh_node::network::DhtMode::Client)
    };
    let hub = TestNode::start_with("hub.example.org", &[], client).await;
    let address = [hub.address().await];
    let room = hub.create("ada", "General").await.summary.id;
    let mut others = Vec::new();
    for name in ["a.example.org", "b.example.org", "c.example.org", "d.example.org"] {
        let node = TestNode::start_with(name, &address, client).await;
        node.introduced(&hub).await;
        node.join(&room, "bob").await;
        others.push(node);
    }
    for (at, node) in others.iter().enumerate() {
        for other in others.iter().skip(at + 1) {
            node.introduced(other).await;
        }
    }
    let mut told = 0;
    for node in &others {
        let (_, peers) = node.raw("GET", "/v1/peers", None).await;
        let peers = peers["peers"].as_array().unwrap().clone();
        told += peers.iter().filter(|peer| peer["found_by"].to_string().contains("contact")).count();
        assert!(peers.iter().all(|peer| !peer["found_by"].to_string().contains("dht")), "{peers:?}");
    }
    assert!(told >= 6, "each of six pairs met because one of the two was told of the other: {told}");
}

/// Whether what is sent to the local network's multicast group comes back here, as it does unless a machine has no network.
fn hears_multicast() -> bool {
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 250);
    let sounding = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(b"rocketmesh", (GROUP, socket.local_addr()?.port()))?;
        let mut heard = [0; 16];
        let length = socket.recv(&mut heard)?;
        Ok(&heard[..length] == b"rocketmesh")
    };
    sounding().unwrap_or(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_network_find_each_other_with_nothing_configured() {
    if !hears_multicast() {
        eprintln!("SKIPPED: this machine has no network interface that takes multicast, which mDNS needs");
        return;
    }
    let directories = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut nodes = Vec::new();
    for (directory, name) in directories.iter().zip(["a.example.org", "b.example.org"]) {
        let start = |builder: rocketmesh_node::NodeBuilder| {
            builder.configure(|config| {
                config.data_dir = directory.path().to_owned();
                config.network.listen = vec!["/ip4/0.0.0.0/tcp/0".to_owned()];
                config.network.mdns = true;
            })
        };
        nodes.push(TestNode::start_with(name, &[], start).await);
    }
    nodes[0].introduced(&nodes[1]).await;
    nodes[1].introduced(&nodes[0]).await;
    let (_, peer) = nodes[0].raw("GET", &format!("/v1/peers/{}", nodes[1].id()), None).await;
    let (_, other) = nodes[1].raw("GET", &format!("/v1/peers/{}", nodes[0].id()), None).await;
    let found = format!("{}{}", peer["found_by"], other["found_by"]);
    assert!(found.contains("mdns"), "{found}");
}
