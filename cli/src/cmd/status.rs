//! `rocketmesh status`

use std::time::Duration;

use indicatif::{FormattedDuration, HumanBytes};
use rocketmesh_node::api::types::{BootstrapView, Health, NodeStatus};

use crate::cmd::Context;
use crate::failure::Failure;
use crate::output::Fields;
use crate::text::count;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let answer = client.get(&["node"]).await?;
    if context.output.is_json() {
        return context.output.json(answer.text());
    }
    let health: Health = client.get(&["health"]).await?.parse()?;
    context.output.text(&people(answer.parse()?, &health))
}

fn people(node: NodeStatus, health: &Health) -> String {
    let mut fields = Fields::default();
    fields
        .add("id", node.id)
        .add_some("name", node.name)
        .add("version", node.version)
        .add("up for", FormattedDuration(Duration::from_secs(node.uptime_s)))
        .add_all("addresses", node.addresses)
        .add_all("bootstrap", node.bootstrap.iter().map(bootstrap))
        .add("dht", format!("{}, {} in the routing table", node.dht_mode, count(node.dht_peers, "server")))
        .add("connected", count(node.peers, "server"))
        .add("rooms", node.rooms)
        .add("log position", node.log_position)
        .add("on disk", format!("{}, and {} of files", HumanBytes(node.store_bytes), HumanBytes(node.files_bytes)))
        .add("health", &health.status)
        .add_all("problems", health.problems.iter().map(|problem| format!("{}: {}", problem.code, problem.message)));
    fields.to_string()
}

fn bootstrap(server: &BootstrapView) -> String {
    let state = match server.state.as_str() {
        "let go" => "has let this server go, as servers do that many know",
        state => state,
    };
    let mut line = format!("{}  {state}", server.address);
    if server.failures > 0 {
        line.push_str(&format!(", {}", count(server.failures, "failure")));
    }
    if let Some(error) = &server.last_error {
        line.push_str(&format!(": {error}"));
    }
    if let Some(seconds) = server.next_try_s {
        line.push_str(&format!("; next try in {seconds} s"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_bootstrap_address_says_why_and_when_it_is_tried_again() {
        let server = BootstrapView {
            address: "/dns4/mesh.example.net/tcp/4848".to_owned(),
            state: "unreachable".to_owned(),
            failures: 2,
            next_try_s: Some(8),
            last_error: Some("no such host".to_owned()),
        };
        assert_eq!(
            bootstrap(&server),
            "/dns4/mesh.example.net/tcp/4848  unreachable, 2 failures: no such host; next try in 8 s"
        );
        let server = BootstrapView { state: "let go".to_owned(), failures: 0, last_error: None, ..server };
        assert_eq!(
            bootstrap(&server),
            "/dns4/mesh.example.net/tcp/4848  has let this server go, as servers do that many know; next try in 8 s"
        );
    }
}
