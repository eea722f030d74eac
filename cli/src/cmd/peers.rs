//! `rocketmesh peers`, `connect`, `ban` and `unban`

use rocketmesh_node::api::types::{BanRequest, ConnectRequest, ConnectionView, PeerCounters, PeerList, PeerView};

use crate::args::mesh::{BanArgs, ConnectArgs, PeersArgs, PeersCommand, UnbanArgs};
use crate::cmd::{Context, peer_id};
use crate::failure::Failure;
use crate::output::{Fields, table};
use crate::text::{clean, short_id};

pub(super) async fn run(context: &Context, args: PeersArgs) -> Result<(), Failure> {
    let client = context.client()?;
    match args.command.unwrap_or(PeersCommand::List) {
        PeersCommand::List => context.output.show(&client.get(&["peers"]).await?, list),
        PeersCommand::Inspect { peer } => {
            let id = peer_id(&client, &peer).await?;
            context.output.show(&client.get(&["peers", &id]).await?, |peer: PeerView| inspect(&peer))
        }
    }
}

pub(super) async fn connect(context: &Context, args: ConnectArgs) -> Result<(), Failure> {
    let answer = context.client()?.post(&["peers", "connect"], &ConnectRequest { address: args.address }).await?;
    context.output.show(&answer, |peer: PeerView| {
        let name = peer.name.map(|name| format!(" ({})", clean(&name))).unwrap_or_default();
        format!("{}{name}: {}", peer.id, peer.state)
    })
}

pub(super) async fn ban(context: &Context, args: BanArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let id = peer_id(&client, &args.peer).await?;
    client.put(&["peers", &id, "ban"], &BanRequest { reason: args.reason }).await?;
    context.output.done(&format!("banned {id}"))
}

pub(super) async fn unban(context: &Context, args: &UnbanArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let id = peer_id(&client, &args.peer).await?;
    client.delete(&["peers", &id, "ban"]).await?;
    context.output.done(&format!("{id} is no longer banned"))
}

/// How each was found is left to [`inspect`]: beside it names would have no width on a terminal of eighty columns.
fn list(list: PeerList) -> String {
    if list.peers.is_empty() {
        return "no server is known yet; `rocketmesh connect ADDRESS` connects to one".to_owned();
    }
    let rows = list.peers.iter().map(|peer| {
        [
            short_id(&peer.id),
            peer.name.clone().unwrap_or_default(),
            peer.state.clone(),
            peer.path.clone().unwrap_or_default(),
            latency(peer).unwrap_or_default(),
            peer.shared_rooms.len().to_string(),
            refused(&peer.received).to_string(),
        ]
    });
    table(["ID", "NAME", "STATE", "PATH", "LATENCY", "ROOMS", "REFUSED"], rows)
}

fn inspect(peer: &PeerView) -> String {
    let received = &peer.received;
    let connections = peer.connections.iter().map(connection);
    let versions = peer.wire_versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut fields = Fields::default();
    fields
        .add("id", &peer.id)
        .add_some("name", peer.name.as_ref())
        .add("state", &peer.state)
        .add_some("ban reason", peer.ban_reason.as_ref())
        .add("found by", peer.found_by.join(", "))
        .add_all("connections", connections)
        .add_all("addresses", peer.addresses.clone())
        .add_some("latency", latency(peer))
        .add_some("agent", peer.agent.as_ref())
        .add("wire versions", versions)
        .add("room versions", peer.room_versions.join(", "))
        .add_all("protocols", peer.protocols.clone())
        .add_all("shared rooms", peer.shared_rooms.clone())
        .add("gossip", sent(received.gossip, received.gossip_refused))
        .add("requests", sent(received.requests, received.requests_refused))
        .add("events", sent(received.events, received.events_refused));
    fields.to_string()
}

fn connection(open: &ConnectionView) -> String {
    let way = match (open.path.as_str(), &open.via) {
        ("relayed", Some(relay)) => format!(" through {}", short_id(relay)),
        ("punched", _) => " through a punched hole".to_owned(),
        _ => String::new(),
    };
    format!("{} {}{way}, {}", open.direction, open.transport, open.address)
}

fn sent(all: u64, refused: u64) -> String {
    format!("{all} received, {refused} refused")
}

fn latency(peer: &PeerView) -> Option<String> {
    peer.latency_ms.map(|latency| format!("{latency:.1} ms"))
}

fn refused(received: &PeerCounters) -> u64 {
    received.gossip_refused + received.requests_refused + received.events_refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> PeerView {
        PeerView {
            id: "12D3KooWAAAA1111111111111111111111111111111111111111abcd".to_owned(),
            name: Some("evil\u{1b}[2J.example.org".to_owned()),
            state: "introduced".to_owned(),
            found_by: vec!["mdns".to_owned(), "dht".to_owned()],
            connections: vec![ConnectionView {
                address: "/ip4/192.0.2.7/tcp/4848".to_owned(),
                transport: "tcp".to_owned(),
                direction: "outbound".to_owned(),
                path: "direct".to_owned(),
                via: None,
            }],
            path: Some("direct".to_owned()),
            addresses: vec!["/ip4/192.0.2.7/tcp/4848".to_owned()],
            protocols: Vec::new(),
            agent: Some("rocketmesh/0.1.0".to_owned()),
            wire_versions: vec![0, 1],
            room_versions: vec!["0-draft".to_owned()],
            latency_ms: Some(1.25),
            shared_rooms: Vec::new(),
            received: PeerCounters { gossip: 9, gossip_refused: 2, requests_refused: 1, ..PeerCounters::default() },
            ban_reason: None,
        }
    }

    #[test]
    fn the_list_sums_up_what_was_refused_and_shortens_the_id() {
        let text = list(PeerList { peers: vec![peer()] });
        assert!(text.contains("12D3Koo…111abcd"), "{text}");
        assert!(text.lines().any(|line| line.ends_with('3')), "{text}");
    }

    #[test]
    fn one_server_in_detail_has_its_full_id_and_no_escape_sequence() {
        let text = inspect(&peer());
        assert!(text.contains(&peer().id) && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("outbound tcp, /ip4/192.0.2.7/tcp/4848"), "{text}");
        assert!(text.contains("9 received, 2 refused"), "{text}");
    }
}
