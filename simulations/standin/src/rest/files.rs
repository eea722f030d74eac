//! Downloads: files of messages, and pictures of people.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::rest::{caller, gone};
use crate::server::Server;
use crate::state::State;

/// The file of a message. While files are protected, a valid token is needed: in the headers of the API, as the parameters
/// `rc_uid` and `rc_token`, or as cookies of these names.
pub(super) async fn download(
    Shared(server): Shared<Arc<Server>>,
    Path((id, _)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if server.is_away() {
        return gone();
    }
    server.read(|state| {
        if state.is_on("FileUpload_ProtectFiles") && !may_download(state, &headers, &query) {
            return StatusCode::FORBIDDEN.into_response();
        }
        let upload = state.uploads.get(&id).filter(|upload| !upload.hidden);
        let Some((upload, bytes)) = upload.and_then(|upload| Some((upload, state.file(&id)?))) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let name = crate::rules::uploads::path(upload);
        let name = name.rsplit('/').next().unwrap_or_default();
        let disposition = format!("attachment; filename*=UTF-8''{name}");
        ([(CONTENT_TYPE, upload.mime.clone()), (CONTENT_DISPOSITION, disposition)], bytes).into_response()
    })
}

fn may_download(state: &State, headers: &HeaderMap, query: &BTreeMap<String, String>) -> bool {
    if caller(state, headers).is_some() {
        return true;
    }
    let cookies = headers.get(COOKIE).and_then(|cookies| cookies.to_str().ok()).unwrap_or_default();
    let cookie = |name: &str| cookies.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    let find = |name: &str| query.get(name).map(String::as_str).or_else(|| cookie(name));
    match (find("rc_uid"), find("rc_token")) {
        (Some(uid), Some(token)) => state.holder(token, Some(uid)).is_some(),
        _ => false,
    }
}

/// Somebody's picture; a plain square for who has none.
pub(super) async fn avatar(Shared(server): Shared<Arc<Server>>, Path(username): Path<String>) -> Response {
    if server.is_away() {
        return gone();
    }
    server.read(|state| {
        let user = state.user_named(&username);
        let own = user.and_then(|user| Some((user.avatar.clone()?, state.file(&format!("avatar-{}", user.id))?)));
        match own {
            Some((avatar, bytes)) => ([(CONTENT_TYPE, avatar.mime)], bytes).into_response(),
            None => square(),
        }
    })
}

/// A room's picture, which is always the plain square here.
pub(super) async fn room_avatar(Shared(server): Shared<Arc<Server>>, Path(_): Path<String>) -> Response {
    if server.is_away() { gone() } else { square() }
}

fn square() -> Response {
    let picture = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 200 200\"><rect width=\"100%\" height=\"100%\"/></svg>";
    ([(CONTENT_TYPE, "image/svg+xml")], picture).into_response()
}
