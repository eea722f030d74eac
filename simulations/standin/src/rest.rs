//! The REST API under `/api`: who calls, whether they may, what is asked, and the answer.
//!
//! ```text
//!  request ──► ask ──► token ──► rate ──► fault? ──► calls ──► rules ──► answer
//! ```

mod ask;
mod call_chat;
mod call_reading;
mod call_rooms;
mod call_users;
mod files;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};

use crate::control;
use crate::ddp;
use crate::faults::{FOREVER, Wrong};
use crate::moment::rest as with_rest_dates;
use crate::permissions::Permission;
use crate::refusal::Refusal;
use crate::rest::ask::Ask;
use crate::server::{Recorded, Server};
use crate::state::State;

/// The largest body: a file as large as the server takes by default, and what stands around it.
pub(crate) const MAX_BODY_BYTES: usize = 104_857_600 + 65_536;

/// Where the calls stand.
const BASE: &str = "/api/v1/";

/// Somebody who calls, with a valid token.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) uid: String,
    /// Whether the token makes a second factor unnecessary.
    pub(crate) bypass_two_factor: bool,
}

/// All paths of the server.
pub(crate) fn router(server: Arc<Server>) -> Router {
    let mut router = Router::new()
        .route("/api/info", get(info))
        .route("/api/v1/{*call}", any(call))
        .route("/websocket", any(ddp::connect))
        .route("/file-upload/{id}/{name}", get(files::download))
        .route("/avatar/{username}", get(files::avatar))
        .route("/avatar/room/{rid}", get(files::room_avatar))
        .route("/hooks/{id}/{token}", post(hook));
    if server.manner.control {
        router = router.route("/_standin", post(control::answer));
    }
    router.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(server)
}

/// The answer of a server that is not there: what a proxy in front of it says.
pub(crate) fn gone() -> Response {
    (StatusCode::BAD_GATEWAY, "Bad Gateway").into_response()
}

async fn info(Shared(server): Shared<Arc<Server>>, headers: HeaderMap) -> Response {
    if server.is_away() {
        return gone();
    }
    let version = server.manner.version;
    let knows = server.read(|state| {
        caller(state, &headers).is_some_and(|caller| state.may(&caller.uid, Permission::ViewStatistics, None))
    });
    let mut answer = json!({"version": version.short(), "success": true});
    if knows {
        answer["version"] = json!(version.number());
        answer["info"] = json!({"version": version.number()});
    }
    Json(answer).into_response()
}

/// An incoming webhook: what still speaks in a restricted workspace.
async fn hook(
    Shared(server): Shared<Arc<Server>>,
    Path((id, token)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    if server.is_away() {
        return gone();
    }
    match server.act(|state| call_chat::webhook(state, &id, &token, &body)) {
        Ok(()) => Json(json!({"success": true})).into_response(),
        Err(refusal) => refusal.response(server.manner.version),
    }
}

async fn call(
    Shared(server): Shared<Arc<Server>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if server.is_away() {
        return gone();
    }
    let method = request.method().clone();
    let name = request.uri().path().strip_prefix(BASE).unwrap_or_default().to_owned();
    let headers = request.headers().clone();
    let ask = match Ask::read(request).await {
        Ok(ask) => ask,
        Err(refusal) => return refusal.response(server.manner.version),
    };
    let asked =
        Recorded { method: method.to_string(), path: name.clone(), query: ask.query_value(), body: ask.body.clone() };
    server.record(asked, server.read(|state| is_program(state, &headers, &ask)));
    let fault = server.fault(&name).map(|fault| fault.wrong);
    match fault {
        Some(Wrong::FailBefore) => return gone(),
        Some(Wrong::HangBefore) => {
            tokio::time::sleep(FOREVER).await;
            return gone();
        }
        _ => {}
    }
    let answer = answer(&server, &method, &name, &headers, address, ask);
    match fault {
        Some(Wrong::FailAfter) => gone(),
        Some(Wrong::HangAfter) => {
            tokio::time::sleep(FOREVER).await;
            gone()
        }
        _ => answer,
    }
}

fn answer(
    server: &Server,
    method: &Method,
    name: &str,
    headers: &HeaderMap,
    address: SocketAddr,
    ask: Ask,
) -> Response {
    let version = server.manner.version;
    let route = ask::route(name);
    let caller = server.read(|state| caller(state, headers));
    if caller.is_none() && route != "login" {
        return Refusal::LoggedOut.response(version);
    }
    let exempt = caller
        .as_ref()
        .is_some_and(|caller| server.read(|state| state.may(&caller.uid, Permission::BypassRateLimit, None)));
    let key = address.ip().to_string();
    let rate = server.read(State::rest_rate);
    let count = if exempt { None } else { server.count(&format!("{BASE}{route}{method}"), rate, &key) };
    let outcome = match count {
        Some(count) if !count.allowed => Err(Refusal::TooMany { ms: count.reset_ms }),
        _ => dispatch(server, method, name, caller.as_ref(), headers, ask),
    };
    let mut response = match outcome {
        Ok(answer) => Json(with_rest_dates(answer)).into_response(),
        Err(refusal) => refusal.response(version),
    };
    if let Some(count) = count {
        let reset = crate::moment::Moment::now().0 + count.reset_ms;
        let told = [
            ("x-ratelimit-limit", rate.calls.to_string()),
            ("x-ratelimit-remaining", count.left.to_string()),
            ("x-ratelimit-reset", reset.to_string()),
        ];
        for (name, value) in told {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
    }
    response
}

/// Finds who is asked. Each file answers the calls that it knows, and `None` for others.
fn dispatch(
    server: &Server,
    method: &Method,
    name: &str,
    caller: Option<&Caller>,
    headers: &HeaderMap,
    ask: Ask,
) -> Result<Value, Refusal> {
    let Some(caller) = caller.filter(|_| name != "login") else {
        return server.act(|state| call_users::login(state, &ask)).map(success);
    };
    let reads = *method == Method::GET;
    if !reads && *method != Method::POST {
        return Err(Refusal::Unknown);
    }
    let second = headers.get("x-2fa-code").and_then(|code| code.to_str().ok()).map(str::to_owned);
    let ask = Ask { second_factor: second, ..ask };
    server
        .act(|state| {
            let parts: Vec<&str> = name.split('/').collect();
            let answered = if reads {
                call_reading::get(state, caller, &parts, &ask)
            } else {
                call_chat::post(state, caller, &parts, &ask)
                    .or_else(|| call_rooms::post(state, caller, &parts, &ask))
                    .or_else(|| call_users::post(state, caller, &parts, &ask))
            };
            answered.unwrap_or(Err(Refusal::Unknown))
        })
        .map(success)
}

/// Whether a program asks, and not a person: the account that calls, or wants to log in, is a bot's.
fn is_program(state: &State, headers: &HeaderMap, ask: &Ask) -> bool {
    let user = match caller(state, headers) {
        Some(caller) => state.users.get(&caller.uid),
        None => ask.body["user"].as_str().and_then(|name| state.user_named(name)),
    };
    user.is_some_and(|user| user.roles.iter().any(|role| role == "bot"))
}

/// Every answer says that it is one.
fn success(mut answer: Value) -> Value {
    match answer.as_object_mut() {
        Some(fields) => {
            fields.insert("success".to_owned(), json!(true));
            answer
        }
        None => json!({"success": true}),
    }
}

/// Who calls, if the token of the headers is theirs and valid.
pub(crate) fn caller(state: &State, headers: &HeaderMap) -> Option<Caller> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (user, token) = state.holder(text("x-auth-token")?, Some(text("x-user-id")?))?;
    Some(Caller { uid: user.id.clone(), bypass_two_factor: token.bypass_two_factor })
}
