//! The API: JSON over HTTP, on loopback unless the administrator says otherwise, with a bearer token.
//!
//! What it says stands in [`types`]; the OpenAPI document is made from the same code and served at `/v1/openapi.json`.

mod bridged;
mod car;
mod ephemeral;
mod error;
mod events;
mod extract;
mod files;
mod history;
mod invitations;
mod peers;
mod proof;
mod queue;
mod rocketchat;
mod rooms;
mod status;
mod stream;
mod transfer;
pub mod types;
mod view;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use rocketmesh_protocol::identity::ServerName;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::api::error::ApiError;
use crate::api::types::ConfigEntry;
use crate::engine::Engine;
use crate::rocketchat::bridge::Current;
use crate::rocketchat::connector::Connector;

pub use crate::api::bridged::{FederateRoom, FederatedRoom, FederatedRooms};
pub use crate::api::queue::{RetriedLetters, RoomWebhook};

/// The largest body of a request: the text of the largest event, written as JSON with every character escaped.
pub(crate) const MAX_BODY_BYTES: usize = 512 * 1024;
/// The most live streams at once.
pub(crate) const MAX_STREAMS: usize = 256;
/// The most exports and imports of rooms at once: each has a thread.
const MAX_TRANSFERS: usize = 4;
/// The most files that are brought and taken at once: each has a thread.
const MAX_FILE_TRANSFERS: usize = 32;

/// What the API is made of.
pub(crate) struct ApiParts {
    pub(crate) engine: Engine,
    pub(crate) name: Option<ServerName>,
    pub(crate) config: Vec<ConfigEntry>,
    pub(crate) token: String,
    pub(crate) started: Instant,
    /// What the network and the connector count.
    pub(crate) registry: Registry,
    pub(crate) connector: Connector,
    /// The bridge to whatever the connector is connected to.
    pub(crate) bridge: Current,
}

#[derive(Clone)]
struct Api {
    engine: Engine,
    name: Option<ServerName>,
    config: Arc<[ConfigEntry]>,
    token: Arc<str>,
    started: Instant,
    registry: Arc<Registry>,
    streams: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    file_transfers: Arc<Semaphore>,
    connector: Connector,
    bridge: Current,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Rocketmesh", description = "The API of a Rocketmesh node."),
    paths(
        status::health, status::node, status::net, status::config, status::metrics, status::backup, peers::list,
        peers::show, peers::connect, peers::ban, peers::unban, peers::policy, peers::set_policy, rooms::list, rooms::create,
        rooms::join, rooms::show, rooms::leave, rooms::members, events::list, events::post, events::show,
        stream::room, stream::all, proof::verify_room, proof::retention, proof::set_retention, history::fetch,
        car::export, car::import, invitations::list, invitations::decline, files::list, files::upload, files::download,
        rocketchat::show, rocketchat::connect, rocketchat::check, rocketchat::disconnect, bridged::list,
        bridged::federate, bridged::unfederate, ephemeral::post, queue::list, queue::retry_all, queue::retry, queue::dismiss,
        queue::set_webhook, queue::forget_webhook,
    ),
    security(("token" = []))
)]
struct Document;

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().add_security_scheme("token", token);
    document
}

/// Serves the API until the node shuts down.
pub(crate) async fn serve(listener: TcpListener, parts: ApiParts, mut down: watch::Receiver<bool>) {
    let ApiParts { engine, name, config, token, started, registry, connector, bridge } = parts;
    let streams = Arc::new(Semaphore::new(MAX_STREAMS));
    let registry = Arc::new(registry);
    let transfers = Arc::new(Semaphore::new(MAX_TRANSFERS));
    let file_transfers = Arc::new(Semaphore::new(MAX_FILE_TRANSFERS));
    let (config, token) = (config.into(), token.into());
    let api =
        Api { engine, name, config, token, started, registry, streams, transfers, file_transfers, connector, bridge };
    // Small answers must not wait for the other side's delayed acknowledgement.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let served = axum::serve(listener, router(api))
        .with_graceful_shutdown(async move { crate::network::shut_down(&mut down).await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the API ended");
    }
}

fn router(api: Api) -> Router {
    let guarded = Router::new()
        .route("/v1/node", get(status::node))
        .route("/v1/net", get(status::net))
        .route("/v1/config", get(status::config))
        .route("/v1/backup", post(status::backup))
        .route("/v1/peers", get(peers::list))
        .route("/v1/peers/connect", post(peers::connect))
        .route("/v1/peers/{peer}", get(peers::show))
        .route("/v1/peers/{peer}/ban", put(peers::ban).delete(peers::unban))
        .route("/v1/policy", get(peers::policy).put(peers::set_policy))
        .route("/v1/rooms", get(rooms::list).post(rooms::create))
        .route("/v1/rooms/join", post(rooms::join))
        .route("/v1/invitations", get(invitations::list))
        .route("/v1/invitations/{room}/decline", post(invitations::decline))
        .route("/v1/rooms/import", post(car::import))
        .route("/v1/rooms/{room}", get(rooms::show))
        .route("/v1/rooms/{room}/export", get(car::export))
        .route("/v1/rooms/{room}/leave", post(rooms::leave))
        .route("/v1/rooms/{room}/members", get(rooms::members))
        .route("/v1/rooms/{room}/events", get(events::list).post(events::post))
        .route("/v1/rooms/{room}/files", get(files::list).post(files::upload))
        .route("/v1/rooms/{room}/files/{file}", get(files::download))
        .route("/v1/rooms/{room}/stream", get(stream::room))
        .route("/v1/rooms/{room}/ephemeral", post(ephemeral::post))
        .route("/v1/rooms/{room}/verify", post(proof::verify_room))
        .route("/v1/rooms/{room}/retention", get(proof::retention).put(proof::set_retention))
        .route("/v1/rooms/{room}/history", post(history::fetch))
        .route("/v1/events/{event}", get(events::show))
        .route("/v1/stream", get(stream::all))
        .route("/v1/rocketchat", get(rocketchat::show).put(rocketchat::connect).delete(rocketchat::disconnect))
        .route("/v1/rocketchat/check", post(rocketchat::check))
        .route("/v1/rocketchat/rooms", get(bridged::list).post(bridged::federate))
        .route("/v1/rocketchat/rooms/{rid}", axum::routing::delete(bridged::unfederate))
        .route("/v1/rocketchat/rooms/{rid}/webhook", put(queue::set_webhook).delete(queue::forget_webhook))
        .route("/v1/rocketchat/queue", get(queue::list))
        .route("/v1/rocketchat/queue/retry", post(queue::retry_all))
        .route("/v1/rocketchat/queue/{id}/retry", post(queue::retry))
        .route("/v1/rocketchat/queue/{id}", axum::routing::delete(queue::dismiss))
        .route_layer(middleware::from_fn_with_state(api.clone(), authorize));
    Router::new()
        .route("/v1/health", get(status::health))
        .route("/v1/openapi.json", get(|| async { Json(openapi()) }))
        .route("/metrics", get(status::metrics))
        .merge(guarded)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(api)
}

async fn unknown(request: Request) -> ApiError {
    ApiError::missing("unknown_path", format!("there is nothing at {}; see /v1/openapi.json", request.uri().path()))
}

async fn wrong_method(method: Method) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        format!("{method} does not work here; see /v1/openapi.json"),
    )
}

async fn authorize(State(api): State<Api>, request: Request, next: Next) -> Result<Response, ApiError> {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let refuse = |code, message: &str| Err(ApiError::new(StatusCode::UNAUTHORIZED, code, message));
    match token {
        None => {
            refuse("missing_token", "send the token of the data directory's api.token as `Authorization: Bearer TOKEN`")
        }
        // Comparing hashes takes the same time wherever the tokens differ.
        Some(token) if blake3::hash(token.as_bytes()) == blake3::hash(api.token.as_bytes()) => {
            Ok(next.run(request).await)
        }
        Some(_) => {
            refuse("wrong_token", "the token is not this node's, which stands in its data directory, in api.token")
        }
    }
}
