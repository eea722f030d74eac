//! `rocketmesh net`

use std::path::Path;
use std::time::Duration;

use indicatif::FormattedDuration;
use rocketmesh_node::api::types::{NetAddress, NetPeer, NetPunches, NetServing, NetView};
use rocketmesh_node::clock::SystemEntropy;
use rocketmesh_node::network::private_key;
use serde_json::json;

use crate::args::mesh::{NetArgs, NetCommand};
use crate::cmd::Context;
use crate::failure::Failure;
use crate::output::{Fields, table};
use crate::text::{count, short_id};

pub(super) async fn run(context: &Context, args: NetArgs) -> Result<(), Failure> {
    match args.command.unwrap_or(NetCommand::Show) {
        NetCommand::Show => {
            let answer = context.client()?.get(&["net"]).await?;
            context.output.show(&answer, |net: NetView| people(&net))
        }
        NetCommand::NewKey { file } => new_key(context, &file),
    }
}

fn new_key(context: &Context, file: &Path) -> Result<(), Failure> {
    let key = private_key::create(file, &SystemEntropy)
        .map_err(|error| Failure::failed("key_not_made", error.to_string()))?;
    let fingerprint = key.fingerprint();
    if context.output.is_json() {
        let made = json!({ "file": file.display().to_string(), "fingerprint": fingerprint });
        return context.output.json(&made.to_string());
    }
    context.output.text(&format!(
        "made {} with the fingerprint {fingerprint}\ncopy it to every server of the mesh, and name it in each configuration:\n\n\
         [network]\nprivate_key_file = \"{}\"",
        file.display(),
        std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display(),
    ))
}

fn people(net: &NetView) -> String {
    let mut fields = Fields::default();
    fields
        .add("reachable", reachable(net))
        .add_all("to do", net.advice.iter().cloned())
        .add_all("because", net.reasons.iter().cloned());
    if let Some(private) = &net.private {
        fields.add("private mesh", format!("over TCP only; the key's fingerprint is {}", private.fingerprint));
        let unused =
            private.unused_listen.iter().map(|address| format!("{address} is not used: the key protects TCP only"));
        fields.add_all("", unused);
    }
    fields
        .add_all("relays", net.relays.iter().map(|relay| format!("{}  {}", short_id(&relay.peer), relay.address)))
        .add_all("addresses", net.addresses.iter().map(address))
        .add("router", router(&net.upnp))
        .add("helps others", relaying(&net.serving))
        .add("hole punching", punching(&net.punches));
    if net.peers.is_empty() {
        return fields.to_string();
    }
    let rows = net.peers.iter().map(peer);
    format!("{fields}\n{}\n\n{}", table(["ID", "NAME", "PATH", "BY", "THROUGH", "FOR"], rows), legend(&net.peers))
}

/// What the words under PATH mean, of those that are there.
fn legend(peers: &[NetPeer]) -> String {
    let meanings = [
        ("direct", "straight from one server to the other"),
        ("punched", "straight as well, through routers that both sides opened together"),
        ("relayed", "by way of the server under THROUGH, encrypted from end to end; slower"),
    ];
    let used = meanings.iter().filter(|(path, _)| peers.iter().any(|peer| peer.path == *path));
    used.map(|(path, meaning)| format!("{path}: {meaning}")).collect::<Vec<String>>().join("\n")
}

fn reachable(net: &NetView) -> &'static str {
    match (net.reachability.as_str(), net.relays.is_empty()) {
        ("public", _) => "yes: other servers can connect to this one",
        ("private", false) => "through a relay: others cannot connect to this server directly",
        ("private", true) => "no: other servers cannot connect to this one, and no relay helps",
        (_, false) => "through a relay, and maybe directly too: nobody has found that out yet",
        _ => "not known: nobody has found that out yet",
    }
}

fn address(address: &NetAddress) -> String {
    let state = match address.state.as_str() {
        // Whoever said so is connected no longer.
        "confirmed" if address.reached_by == 0 => "found to be reachable before".to_owned(),
        "refuted" if address.not_reached_by == 0 => "found to be out of reach before".to_owned(),
        "confirmed" => format!("{} got through", count(address.reached_by, "server")),
        "refuted" => format!("{} did not get through", count(address.not_reached_by, "server")),
        _ => "not tried from outside".to_owned(),
    };
    let sources: Vec<&str> = address.sources.iter().map(|source| origin(source)).collect();
    format!("{}  {}; {state}", address.address, sources.join(", "))
}

/// Where the node has an address from.
fn origin(source: &str) -> &str {
    match source {
        "listening" => "of this machine",
        "configured" => "from network.external",
        "mapped" => "forwarded by the router",
        "observed" => "seen by other servers",
        other => other,
    }
}

fn router(upnp: &str) -> &'static str {
    match upnp {
        "off" => "not asked to forward a port (network.upnp is off)",
        "mapped" => "forwards a port to this machine, as it was asked to (UPnP)",
        "no_mapping" => "does not forward a port to this machine any more (UPnP)",
        "no_gateway" => "none answers that can be asked to forward a port (UPnP)",
        "no_public_address" => "has no public address either: forwarding a port would not help",
        _ => "looking for one that can be asked to forward a port (UPnP)",
    }
}

fn relaying(serving: &NetServing) -> String {
    let idle = (serving.reservations, serving.circuits, serving.circuits_total) == (0, 0, 0);
    match (serving.active, serving.mode.as_str()) {
        (true, _) if idle => "would relay for servers that others cannot reach; none asked yet".to_owned(),
        (true, _) => format!(
            "relays for {}: {} now, {} since the start",
            count(serving.reservations, "server"),
            count(serving.circuits, "connection"),
            serving.circuits_total
        ),
        (false, "off") => "no: network.relay.serve is off".to_owned(),
        (false, _) => "no: it relays for others only once it is reachable itself".to_owned(),
    }
}

fn punching(punches: &NetPunches) -> String {
    match punches.tried {
        0 => "not needed so far".to_owned(),
        1 => format!("{} of 1 try opened a direct way through routers", punches.succeeded),
        tried => format!("{} of {tried} tries opened a direct way through routers", punches.succeeded),
    }
}

fn peer(peer: &NetPeer) -> [String; 6] {
    [
        short_id(&peer.id),
        peer.name.clone().unwrap_or_default(),
        peer.path.clone(),
        peer.transport.clone(),
        peer.via.as_deref().map(short_id).unwrap_or_default(),
        FormattedDuration(Duration::from_secs(peer.since_s)).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use rocketmesh_node::api::types::NetRelay;

    use super::*;

    const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn net() -> NetView {
        NetView {
            reachability: "private".to_owned(),
            reasons: vec!["2 of 2 servers dialled /ip4/198.51.100.1/tcp/4848 in vain".to_owned()],
            advice: Vec::new(),
            addresses: vec![NetAddress {
                address: "/ip4/198.51.100.1/tcp/4848".to_owned(),
                sources: vec!["observed".to_owned()],
                state: "refuted".to_owned(),
                named_by: 3,
                reached_by: 0,
                not_reached_by: 2,
            }],
            relays: vec![NetRelay {
                peer: RELAY.to_owned(),
                address: "/ip4/203.0.113.1/tcp/4848".to_owned(),
                since_s: 5,
            }],
            peers: vec![NetPeer {
                id: RELAY.to_owned(),
                name: Some("evil\u{1b}[2J".to_owned()),
                path: "relayed".to_owned(),
                transport: "quic".to_owned(),
                via: Some(RELAY.to_owned()),
                since_s: 3700,
            }],
            serving: NetServing {
                mode: "auto".to_owned(),
                active: false,
                reservations: 0,
                circuits: 0,
                circuits_total: 0,
            },
            punches: NetPunches { tried: 2, succeeded: 1 },
            upnp: "no_gateway".to_owned(),
            private: None,
        }
    }

    #[test]
    fn a_node_behind_nat_says_through_whom_it_is_reached_and_how_it_knows() {
        let text = people(&net());
        for part in
            ["through a relay", "in vain", "12D3Koo", "1 of 2 tries opened", "seen by other servers", "relayed: by way"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(!text.contains("to do"), "nothing has to be done: {text}");
        assert!(!text.contains("punched:"), "words that are not there need no explanation: {text}");
    }

    #[test]
    fn what_was_found_by_servers_that_are_gone_is_not_said_of_nobody() {
        let mut net = net();
        for (state, words) in [("confirmed", "reachable before"), ("refuted", "out of reach before")] {
            let address = NetAddress { state: state.to_owned(), not_reached_by: 0, ..net.addresses[0].clone() };
            net.addresses = vec![address];
            let text = people(&net);
            assert!(text.contains(words) && !text.contains("0 servers"), "{text}");
        }
    }

    #[test]
    fn a_relay_that_nobody_needs_yet_says_so_in_words() {
        let mut net = net();
        net.serving.active = true;
        assert!(people(&net).contains("none asked yet"), "{}", people(&net));
        net.serving.circuits_total = 2;
        assert!(people(&net).contains("2 since the start"), "{}", people(&net));
    }

    #[test]
    fn a_node_that_nobody_reaches_says_what_to_do() {
        let advice = vec!["forward port 4848".to_owned()];
        let text = people(&NetView { relays: Vec::new(), advice, ..net() });
        assert!(text.contains("no relay helps") && text.contains("to do") && text.contains("forward port"), "{text}");
    }
}
