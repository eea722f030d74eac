//! The node itself: status, health, configuration, metrics, backup.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rocketmesh_storage::backup;

use crate::api::error::ApiError;
use crate::api::types::{ConfigView, Health, NetView, NodeStatus, Problem};
use crate::api::{Api, transfer};

/// Whether the node is well. Needs no token.
#[utoipa::path(get, path = "/v1/health", tag = "node", security(()), responses((status = 200, body = Health)))]
pub(super) async fn health(State(api): State<Api>) -> Result<Json<Health>, ApiError> {
    Ok(Json(examine(&api).await?))
}

async fn examine(api: &Api) -> Result<Health, ApiError> {
    let network = api.engine.network.status().await?;
    let mut problems = Vec::new();
    let mut report = |code: &str, message: String| {
        problems.push(Problem { code: code.to_owned(), message });
    };
    let store_errors = api.engine.counters.store_errors.get();
    if store_errors > 0 {
        report(
            "store_failed",
            format!(
                "the store failed {store_errors} times since the start; look at the log and at the disk's free space"
            ),
        );
    }
    if let Some(what) = api.engine.store.damage() {
        report(
            "store_damaged",
            format!(
                "the store is damaged ({what}): nothing new is accepted, and what can be read is shown; stop the node, see what \
                 `rocketmesh doctor` says, and restore a backup or start anew: rooms come back from their other servers"
            ),
        );
    }
    if let Err(error) = api.engine.store.check_space() {
        report("store_full", format!("{error}; until then nothing new is accepted, and what is here is still shown"));
    }
    if let Some(what) = api.engine.files_trouble() {
        report(
            "files_not_writable",
            format!(
                "files cannot be written ({what}): uploads are refused and files of other servers are not fetched, while messages go \
                 on; check that this is there, its owner and its mode, and whether its disk is mounted read-only"
            ),
        );
    }
    for entry in network.bootstrap.iter().filter(|entry| entry.state == "unreachable") {
        let error = entry.last_error.as_deref().unwrap_or("no answer");
        report(
            "bootstrap_unreachable",
            format!(
                "{} was tried {} times without success ({error}); check the address and the other side",
                entry.address, entry.failures
            ),
        );
    }
    if network.addresses.is_empty() {
        report("not_listening", "the node listens nowhere; check network.listen".to_owned());
    }
    for problem in api.connector.status().problems {
        let subject = problem.subject.map(|subject| format!(" ({subject})")).unwrap_or_default();
        report(
            &format!("rocketchat_{}", problem.code.code()),
            format!("Rocket.Chat{subject}: {}; {}", problem.message, problem.advice),
        );
    }
    let status = if problems.is_empty() { "ok" } else { "degraded" };
    Ok(Health { status: status.to_owned(), problems })
}

/// The node in short.
#[utoipa::path(get, path = "/v1/node", tag = "node", responses((status = 200, body = NodeStatus)))]
pub(super) async fn node(State(api): State<Api>) -> Result<Json<NodeStatus>, ApiError> {
    let network = api.engine.network.status().await?;
    let health = examine(&api).await?.status;
    Ok(Json(NodeStatus {
        id: api.engine.origin.to_string(),
        name: api.name.as_ref().map(ToString::to_string),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: api.started.elapsed().as_secs(),
        addresses: network.addresses.iter().map(ToString::to_string).collect(),
        bootstrap: network.bootstrap,
        dht_mode: if network.dht_server { "server" } else { "client" }.to_owned(),
        dht_peers: network.dht_peers as u64,
        peers: network.connected as u64,
        rooms: api.engine.followed().len() as u64,
        log_position: *api.engine.durable().borrow(),
        store_bytes: api.engine.store.size()?,
        files_bytes: api.engine.store.file_bytes(None),
        health,
    }))
}

/// Whether others reach the node, and how it is connected with whom.
#[utoipa::path(get, path = "/v1/net", tag = "node", responses((status = 200, body = NetView)))]
pub(super) async fn net(State(api): State<Api>) -> Result<Json<NetView>, ApiError> {
    Ok(Json(api.engine.network.net().await?))
}

/// The effective configuration and where each value came from.
#[utoipa::path(get, path = "/v1/config", tag = "node", responses((status = 200, body = ConfigView)))]
pub(super) async fn config(State(api): State<Api>) -> Json<ConfigView> {
    Json(ConfigView { entries: api.config.to_vec() })
}

/// Prometheus metrics. Needs no token.
#[utoipa::path(get, path = "/metrics", tag = "node", security(()),
    responses((status = 200, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let network = api.engine.network.status().await?;
    let mut registry = Registry::with_prefix("rocketmesh");
    let counters = &api.engine.counters;
    for (name, help, counter) in [
        ("events_accepted", "Events accepted from other servers", &counters.accepted),
        ("events_rejected", "Events that a room's rules did not allow", &counters.rejected),
        ("events_held", "Events that had to wait for others", &counters.held),
        ("events_dropped", "Events without a place in their room's graph", &counters.dropped),
        ("events_authored", "Events made by this server's users", &counters.authored),
        ("events_pulled", "Events that sync brought", &counters.pulled),
        ("requests_served", "Requests of other servers that were answered", &counters.served),
        (
            "requests_refused",
            "Requests of other servers that found no place to wait for their turn",
            &counters.requests_refused,
        ),
        ("file_slices_served", "Ranges of files that were sent to other servers", &counters.slices_served),
        ("file_slices_received", "Ranges of files that came and verified", &counters.slices_received),
        ("file_slices_refused", "Ranges of files that came and did not verify", &counters.slices_refused),
        ("flushes", "Bursts of events that were flushed to disk", &counters.flushes),
        ("store_errors", "Times that the store failed", &counters.store_errors),
    ] {
        registry.register(name, help, counter.clone());
    }
    let totals = [
        ("relay_circuits_served", "Connections that ran through this node", network.circuits_served_total),
        ("punches_tried", "Holes that were tried to punch, as far as this node is told", network.punches_tried),
        ("punches_succeeded", "Holes that made a direct connection", network.punches_succeeded),
    ];
    for (name, help, total) in totals {
        let counter = Counter::<u64>::default();
        counter.inc_by(total);
        registry.register(name, help, counter);
    }
    let reachable = match network.reachability {
        "public" => 2,
        "private" => 1,
        _ => 0,
    };
    let (answering, waiting) = api.engine.requests_under_way();
    let size = i64::try_from(api.engine.store.size()?).unwrap_or(i64::MAX);
    let files = i64::try_from(api.engine.store.file_bytes(None)).unwrap_or(i64::MAX);
    for (name, help, value) in [
        ("peers_connected", "Connected peers", network.connected as i64),
        ("peers_introduced", "Peers that have introduced themselves", network.introduced as i64),
        ("peers_direct", "Peers connected directly, without a punched hole", network.paths.direct as i64),
        ("peers_punched", "Peers connected directly through a punched hole", network.paths.punched as i64),
        ("peers_relayed", "Peers connected through a relay", network.paths.relayed as i64),
        ("reachability", "Whether others reach this node: 0 unknown, 1 private, 2 public", reachable),
        ("relays_held", "Relays that hold a place for this node", network.relays_held as i64),
        ("relay_clients", "Servers that are reachable through this node", network.reservations_served as i64),
        ("relay_circuits", "Connections that run through this node", network.circuits_served as i64),
        ("dht_peers", "Peers that serve the DHT", network.dht_peers as i64),
        ("requests_answering", "Requests of other servers that are being answered", answering as i64),
        ("requests_waiting", "Requests of other servers that wait for their turn", waiting as i64),
        ("rooms_followed", "Rooms that this node takes part in", network.topics as i64),
        ("log_position", "The durable end of the local log", *api.engine.durable().borrow() as i64),
        ("store_bytes", "Bytes that the store takes on disk, but for files", size),
        ("files_bytes", "Bytes of files that messages name", files),
        ("uptime_seconds", "Seconds since the start", api.started.elapsed().as_secs() as i64),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    let mut text = String::new();
    encode_registry(&mut text, &api.registry).and_then(|()| encode(&mut text, &registry)).map_err(|error| {
        ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "metrics_failed", error.to_string())
    })?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// The whole store and the server's secret key as one stream, while the node runs.
#[utoipa::path(post, path = "/v1/backup", tag = "node",
    responses((status = 200, content_type = "application/octet-stream")))]
pub(super) async fn backup(State(api): State<Api>) -> Response {
    let engine = api.engine.clone();
    transfer::answer("application/octet-stream", "a backup", move |out| {
        backup::write(&engine.store, &engine.key.seed(), out).map(drop)
    })
}
