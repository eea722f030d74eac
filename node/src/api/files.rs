//! Files: brought by users, taken by them, listed.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, ETAG, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::FileRef;
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_storage::{KeptFile, StoreError, StoredFile};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::api::error::ApiError;
use crate::api::extract::QueryOf;
use crate::api::types::{DownloadQuery, ErrorBody, FilePage, FileQuery, MessageFile, RoomFile, UploadQuery};
use crate::api::{Api, rooms, transfer, view};
use crate::engine::Engine;
use crate::engine::files::{FetchError, ended};

/// Files of a page when the query does not say, and the most it may ask for.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
/// How long a download waits for other servers when the query does not say, and the longest it may ask for, in seconds.
const WAIT_S: u64 = 30;
const MAX_WAIT_S: u64 = 600;
/// How many bytes a file has whose body comes in chunks.
static UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// What a file is sent as, whatever its sender calls it: nobody is to open it in a browser by mistake.
const MEDIA_TYPE: &str = "application/octet-stream";

/// Files that a room's messages name.
#[utoipa::path(get, path = "/v1/rooms/{room}/files", tag = "files", params(("room" = String, Path), FileQuery),
    responses((status = 200, body = FilePage), (status = "4XX", body = ErrorBody)))]
pub(super) async fn list(
    State(api): State<Api>,
    Path(room): Path<String>,
    QueryOf(query): QueryOf<FileQuery>,
) -> Result<Json<FilePage>, ApiError> {
    let room: RoomId = room.parse()?;
    let engine = &api.engine;
    rooms::require(engine, &room)?;
    let from: Option<FileId> = query.from.as_deref().map(str::parse).transpose()?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::bad("malformed_query", format!("limit must be from 1 to {MAX_PAGE}")));
    }
    let page = engine.store.files_of_room(&room, from.as_ref(), limit)?;
    let mut files = Vec::new();
    for named in &page {
        // What only messages name that are withheld is not shown.
        let Some((event, said)) = engine.file_ref(&room, &named.file)? else { continue };
        let Some(stored) = engine.store.event(&event)? else { continue };
        files.push(RoomFile {
            view: view::file(&said, engine)?,
            event: event.to_string(),
            sender: stored.event.sender().map(|user| engine.names.display(&user)),
            time_ms: stored.event.header().time_ms,
        });
    }
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.file.to_string());
    Ok(Json(FilePage { files, next, bytes: engine.store.file_bytes(Some(&room)) }))
}

/// Takes in a file, which is the body as it is. `Content-Length` or, where the body comes in chunks, `Upload-Length` says how many
/// bytes it has; one that ends elsewhere is refused. When this is answered it is on disk; it goes again if no message names it
/// within a day.
#[utoipa::path(post, path = "/v1/rooms/{room}/files", tag = "files", params(("room" = String, Path), UploadQuery),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 200, body = MessageFile), (status = "4XX", body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn upload(
    State(api): State<Api>,
    Path(room): Path<String>,
    QueryOf(query): QueryOf<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MessageFile>, ApiError> {
    let (room, named, said, _permit) = match admit(&api, &room, query, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            transfer::discard(body).await;
            return Err(refusal);
        }
    };
    let (content, feeding) = transfer::incoming(body, api.engine.shutdown());
    let (received, ()) = tokio::join!(api.engine.receive_file(room, Some(said), content), feeding);
    let (file, size) = received?;
    Ok(Json(view::said(&FileRef { file, size, ..named })))
}

/// Whether an upload is taken in at all: the room, the file as it will be named but for hash and size, how many bytes it is to
/// have, and the permit to send it.
fn admit(
    api: &Api,
    room: &str,
    query: UploadQuery,
    headers: &HeaderMap,
    body: &Body,
) -> Result<(RoomId, FileRef, u64, OwnedSemaphorePermit), ApiError> {
    let room: RoomId = room.parse()?;
    rooms::require(&api.engine, &room)?;
    if !api.engine.follows(&room) {
        let message = format!("this node does not take part in the room {room}; join it first");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "not_joined", message));
    }
    // A name that no message may have is refused before the file comes.
    let media_type = query.media_type.unwrap_or_else(|| MEDIA_TYPE.to_owned());
    let named = FileRef { file: FileId::from_hash([0; 32]), size: 1, name: query.name, media_type, dimensions: None };
    FileRef::into_fields(std::slice::from_ref(&named), Map::new())
        .map_err(|error| ApiError::bad("malformed_file", error.to_string()))?;
    let permit = permit(api)?;
    let said = said_length(headers, body)?;
    Ok((room, named, said, permit))
}

/// How many bytes the body is to have. Without that nobody could tell a file from one that was cut off.
fn said_length(headers: &HeaderMap, body: &Body) -> Result<u64, ApiError> {
    let number = |name: HeaderName| -> Result<Option<u64>, ApiError> {
        let Some(value) = headers.get(&name) else { return Ok(None) };
        let number = value.to_str().ok().and_then(|value| value.parse().ok());
        let wrong = || ApiError::bad("malformed_length", format!("{name} is no number of bytes"));
        number.map(Some).ok_or_else(wrong)
    };
    match (number(CONTENT_LENGTH)?, number(UPLOAD_LENGTH.clone())?) {
        (Some(one), Some(other)) if one != other => {
            let message = format!("Content-Length says {one} bytes, and Upload-Length says {other}");
            Err(ApiError::bad("malformed_length", message))
        }
        (Some(said), _) | (None, Some(said)) => Ok(said),
        // Clients leave the length of an empty body out.
        (None, None) if body.is_end_stream() => Ok(0),
        (None, None) => {
            let message =
                "say how many bytes the file has, in Content-Length or, where it comes in chunks, Upload-Length";
            Err(ApiError::new(StatusCode::LENGTH_REQUIRED, "length_required", message))
        }
    }
}

/// A file that a message of the room names. One that is not here is fetched from other servers, and comes when all of it is here
/// and verified. `Range` asks for a part of it.
#[utoipa::path(get, path = "/v1/rooms/{room}/files/{file}", tag = "files",
    params(("room" = String, Path), ("file" = String, Path), DownloadQuery),
    responses((status = 200, content_type = "application/octet-stream"), (status = "4XX", body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn download(
    State(api): State<Api>,
    Path((room, file)): Path<(String, String)>,
    QueryOf(query): QueryOf<DownloadQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (room, file): (RoomId, FileId) = (room.parse()?, file.parse()?);
    let engine = &api.engine;
    rooms::require(engine, &room)?;
    let Some((_, said)) = engine.file_ref(&room, &file)? else {
        let message = format!("no message of this room that is here names the file {file}");
        return Err(ApiError::missing("unknown_file", message));
    };
    let stored = match engine.store.open_file(&file)? {
        Some(stored) => stored,
        None => {
            fetch(engine, room, file, query.wait.unwrap_or(WAIT_S).min(MAX_WAIT_S)).await?;
            engine.store.open_file(&file)?.ok_or_else(|| {
                ApiError::missing("unknown_file", format!("the file {file} was taken back while it came"))
            })?
        }
    };
    let permit = permit(&api)?;
    answer(stored, &said, &file, headers.get(RANGE), permit)
}

/// Has a file fetched, and waits for that.
async fn fetch(engine: &Engine, room: RoomId, file: FileId, wait_s: u64) -> Result<(), ApiError> {
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    loop {
        let progress = engine.fetch_file(room, file, u64::MAX)?;
        match tokio::time::timeout_at(deadline, ended(progress.clone())).await {
            // It goes on behind others.
            Ok(Err(FetchError::GaveWay)) => {}
            Ok(outcome) => return Ok(outcome?),
            Err(_) => {
                let (here, size) = {
                    let progress = progress.borrow();
                    (progress.here, progress.size)
                };
                let message = format!("the file is on its way, {here} of {size} bytes are here; ask again in a moment");
                return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "file_on_its_way", message));
            }
        }
    }
}

fn answer(
    mut stored: StoredFile,
    said: &FileRef,
    file: &FileId,
    range: Option<&HeaderValue>,
    permit: OwnedSemaphorePermit,
) -> Result<Response, ApiError> {
    let size = stored.size();
    let part = match range.and_then(|range| range.to_str().ok()) {
        Some(range) => part(range, size)?,
        None => None,
    };
    let (from, len) = part.unwrap_or((0, size));
    stored.seek(SeekFrom::Start(from)).map_err(StoreError::Io)?;
    let mut response = transfer::answer(MEDIA_TYPE, "a file", move |out| {
        let _permit = permit;
        match std::io::copy(&mut stored.take(len), out) {
            Ok(written) if written < len => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    });
    if part.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, len.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    let range = format!("bytes {from}-{}/{size}", (from + len).saturating_sub(1));
    let texts = [
        (CONTENT_DISPOSITION, Some(disposition(&said.name))),
        (ETAG, Some(format!("\"{file}\""))),
        (CONTENT_RANGE, part.map(|_| range)),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// The part that a `Range` asks for: where it begins, and how long it is. None for forms that may be passed over, which are answered
/// with all of it.
fn part(range: &str, size: u64) -> Result<Option<(u64, u64)>, ApiError> {
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let (from, end) = match (from, to) {
        ("", last) => match number(last) {
            Some(last) => (size.saturating_sub(last), size),
            None => return Ok(None),
        },
        (from, "") => match number(from) {
            Some(from) => (from, size),
            None => return Ok(None),
        },
        (from, to) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => (from, to.saturating_add(1).min(size)),
            _ => return Ok(None),
        },
    };
    if from >= end {
        let message = format!("the file has {size} bytes, and nothing in that range");
        return Err(ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "no_such_range", message));
    }
    Ok(Some((from, end - from)))
}

/// How a name is told to clients: once in ASCII for old ones, once in full (RFC 6266, RFC 8187).
fn disposition(name: &str) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let mut full = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            full.push(char::from(byte));
        } else {
            full.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{full}")
}

/// The right to bring or take a file, for as long as the permit is kept.
fn permit(api: &Api) -> Result<OwnedSemaphorePermit, ApiError> {
    api.file_transfers.clone().try_acquire_owned().map_err(|_| {
        let message = format!("{} files are being brought and taken; wait for one to end", super::MAX_FILE_TRANSFERS);
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_transfers", message)
    })
}

/// The fields of a message's body with its files, each of which has to be here or named in the room. Those that are here stay for as
/// long as the second of what is returned is kept: until the message is written.
pub(super) fn into_fields(
    engine: &Engine,
    room: &RoomId,
    files: &[MessageFile],
    fields: Map,
) -> Result<(Map, Vec<KeptFile>), ApiError> {
    let mut named = Vec::with_capacity(files.len());
    let mut kept = Vec::new();
    for file in files {
        let id: FileId = file.file.parse()?;
        let here = engine.store.keep_file(room, &id)?;
        if here.is_none() && !engine.store.names_file(room, &id)? {
            let message = format!("the file {id} is not here; upload it first, with POST /v1/rooms/{room}/files");
            return Err(ApiError::missing("unknown_file", message));
        }
        if let Some(here) = here.as_ref().filter(|here| here.size() != file.size) {
            let message = format!("the file {id} has {} bytes, not {}", here.size(), file.size);
            return Err(ApiError::bad("wrong_size", message));
        }
        kept.extend(here);
        let dimensions = match (file.width, file.height) {
            (Some(width), Some(height)) => Some((width, height)),
            (None, None) => None,
            _ => return Err(ApiError::bad("malformed_file", "width and height stand together or not at all")),
        };
        named.push(FileRef {
            file: id,
            size: file.size,
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            dimensions,
        });
    }
    let fields =
        FileRef::into_fields(&named, fields).map_err(|error| ApiError::bad("malformed_file", error.to_string()))?;
    Ok((fields, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_the_file_or_none_at_all() {
        let part = |range: &str| part(range, 100).map_err(|error| error.status());
        for (range, expected) in [
            ("bytes=0-0", Some((0, 1))),
            ("bytes=10-19", Some((10, 10))),
            ("bytes=90-", Some((90, 10))),
            ("bytes=90-999", Some((90, 10))),
            ("bytes=-10", Some((90, 10))),
            ("bytes=-999", Some((0, 100))),
            ("bytes=5-1", None),
            ("bytes=0-1,5-6", None),
            ("bytes=a-b", None),
            ("lines=1-2", None),
            ("", None),
        ] {
            assert_eq!(part(range), Ok(expected), "{range}");
        }
        for range in ["bytes=100-", "bytes=100-200", "bytes=-0", &format!("bytes={}-", u64::MAX)] {
            assert_eq!(part(range), Err(StatusCode::RANGE_NOT_SATISFIABLE), "{range}");
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        assert_eq!(disposition("a b.png"), "attachment; filename=\"a b.png\"; filename*=UTF-8''a%20b.png");
        let told = disposition("x\"; evil=\r\n\u{1b}é%");
        assert!(told.is_ascii() && !told.contains(|c: char| c.is_control()), "{told}");
        assert_eq!(
            told,
            "attachment; filename=\"x_; evil=_____\"; filename*=UTF-8''x%22%3B%20evil%3D%0D%0A%1B%C3%A9%25"
        );
    }
}
