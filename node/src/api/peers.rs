//! Peers: list, inspect, connect, ban.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use libp2p::identity::PeerId;

use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::extract::Body;
use crate::api::types::{BanRequest, ConnectRequest, ErrorBody, PeerList, PeerView, Policy};
use crate::engine::Engine;
use crate::engine::policy::PolicyBook;
use crate::network::{origin, parse_peer_address};

/// The most servers that a policy may list.
const MAX_LISTED: usize = 10_000;
/// The longest reason of a ban in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Everybody who is known.
#[utoipa::path(get, path = "/v1/peers", tag = "peers", responses((status = 200, body = PeerList)))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<PeerList>, ApiError> {
    let mut peers = api.engine.network.peers().await?;
    fill_rooms(&api.engine, &mut peers).await;
    Ok(Json(PeerList { peers }))
}

/// One peer.
#[utoipa::path(get, path = "/v1/peers/{peer}", tag = "peers", params(("peer" = String, Path)),
    responses((status = 200, body = PeerView), (status = "4XX", body = ErrorBody)))]
pub(super) async fn show(State(api): State<Api>, Path(peer): Path<String>) -> Result<Json<PeerView>, ApiError> {
    view(&api.engine, parse(&peer)?).await.map(Json)
}

/// Connects to a peer and remembers that it was asked for.
#[utoipa::path(post, path = "/v1/peers/connect", tag = "peers", request_body = ConnectRequest,
    responses((status = 200, body = PeerView), (status = "4XX", body = ErrorBody)))]
pub(super) async fn connect(
    State(api): State<Api>,
    Body(request): Body<ConnectRequest>,
) -> Result<Json<PeerView>, ApiError> {
    let address = parse_peer_address(&request.address)?;
    let peer = api.engine.network.connect(address).await?.map_err(|reason| {
        let message = format!(
            "{} cannot be reached: {reason}; does a node run there, and is that one of its addresses, as its `rocketmesh \
             id --addresses` prints them?",
            request.address
        );
        ApiError::new(StatusCode::BAD_GATEWAY, "unreachable", message)
    })?;
    api.engine.policy.note_known(peer);
    api.engine.save_setting(&PolicyBook::known_setting(&peer), Some(b"")).await?;
    view(&api.engine, peer).await.map(Json)
}

/// Bans a peer: its connections are closed and no new ones are taken.
#[utoipa::path(put, path = "/v1/peers/{peer}/ban", tag = "peers", params(("peer" = String, Path)),
    request_body = BanRequest, responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(super) async fn ban(
    State(api): State<Api>,
    Path(peer): Path<String>,
    Body(request): Body<BanRequest>,
) -> Result<StatusCode, ApiError> {
    let peer = parse(&peer)?;
    if origin(&peer) == Some(api.engine.origin) {
        return Err(ApiError::bad("malformed_id", "this is the node itself, which cannot be banned"));
    }
    let reason = request.reason.unwrap_or_default();
    if reason.len() > MAX_REASON_BYTES {
        return Err(ApiError::bad("malformed_body", format!("a reason may have {MAX_REASON_BYTES} bytes")));
    }
    api.engine.save_setting(&PolicyBook::ban_setting(&peer), Some(reason.as_bytes())).await?;
    api.engine.network.ban(peer, true, Some(reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a ban back.
#[utoipa::path(delete, path = "/v1/peers/{peer}/ban", tag = "peers", params(("peer" = String, Path)),
    responses((status = 204), (status = "4XX", body = ErrorBody)))]
pub(super) async fn unban(State(api): State<Api>, Path(peer): Path<String>) -> Result<StatusCode, ApiError> {
    let peer = parse(&peer)?;
    api.engine.save_setting(&PolicyBook::ban_setting(&peer), None).await?;
    api.engine.network.ban(peer, false, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The policy in force.
#[utoipa::path(get, path = "/v1/policy", tag = "peers", responses((status = 200, body = Policy)))]
pub(super) async fn policy(State(api): State<Api>) -> Json<Policy> {
    Json(api.engine.policy.policy())
}

/// Puts a policy in force.
#[utoipa::path(put, path = "/v1/policy", tag = "peers", request_body = Policy,
    responses((status = 200, body = Policy), (status = "4XX", body = ErrorBody)))]
pub(super) async fn set_policy(State(api): State<Api>, Body(policy): Body<Policy>) -> Result<Json<Policy>, ApiError> {
    if policy.listed.len() > MAX_LISTED {
        return Err(ApiError::bad("malformed_body", format!("a policy may list {MAX_LISTED} servers")));
    }
    for id in &policy.listed {
        parse(id)?;
    }
    let (name, value) = PolicyBook::setting(&policy);
    api.engine.save_setting(name, Some(&value)).await?;
    api.engine.policy.set(policy.clone());
    let peers = api.engine.network.peers().await?;
    let verdicts = peers
        .iter()
        .filter_map(|peer| peer.id.parse().ok())
        .map(|peer| (peer, !api.engine.policy.may_federate(&peer)))
        .collect();
    api.engine.network.exclude(verdicts).await?;
    Ok(Json(policy))
}

fn parse(text: &str) -> Result<PeerId, ApiError> {
    // Only ids of Ed25519 keys are servers of the mesh.
    let origin: rocketmesh_protocol::identity::Origin = text.parse()?;
    Ok(crate::network::peer_id(&origin))
}

async fn view(engine: &Engine, peer: PeerId) -> Result<PeerView, ApiError> {
    let id = peer.to_string();
    let mut found: Vec<PeerView> = engine.network.peers().await?.into_iter().filter(|peer| peer.id == id).collect();
    fill_rooms(engine, &mut found).await;
    found.pop().ok_or_else(|| {
        ApiError::missing("unknown_peer", format!("{id} is not known here; `rocketmesh peers` lists who is"))
    })
}

async fn fill_rooms(engine: &Engine, peers: &mut [PeerView]) {
    for room in engine.followed() {
        let Ok((state, _)) = engine.state(room).await else { continue };
        let servers: Vec<String> = state.servers().iter().map(ToString::to_string).collect();
        for peer in peers.iter_mut().filter(|peer| servers.contains(&peer.id)) {
            peer.shared_rooms.push(room.to_string());
        }
    }
}
