//! What a refused request answers: a stable code, and a sentence that says what to do.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rocketmesh_protocol::event::AuthorError;
use rocketmesh_protocol::id::IdError;
use rocketmesh_protocol::identity::NameError;
use rocketmesh_storage::{FileError, StoreError};

use crate::api::types::{ErrorBody, ErrorDetail};
use crate::engine::ephemeral::SignalError;
use crate::engine::files::{FetchError, ReceiveError};
use crate::engine::import::ImportError;
use crate::engine::names::ResolveError;
use crate::engine::{JoinError, PostError};
use crate::network::{AddressError, NetworkClosed};

/// A refused request.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, message: message.into() }
    }

    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn missing(code: &'static str, message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::NOT_FOUND, code, message)
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = ErrorDetail { code: self.code.to_owned(), message: self.message };
        (self.status, Json(ErrorBody { error })).into_response()
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        ApiError::bad("malformed_id", error.to_string())
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        ApiError::bad("malformed_name", error.to_string())
    }
}

impl From<ResolveError> for ApiError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Malformed(error) => error.into(),
            ResolveError::UnknownServer(_) => ApiError::missing("unknown_server", error.to_string()),
            ResolveError::AmbiguousServer(_) => {
                ApiError::new(StatusCode::CONFLICT, "ambiguous_server", error.to_string())
            }
        }
    }
}

impl From<AddressError> for ApiError {
    fn from(error: AddressError) -> Self {
        ApiError::bad("malformed_address", error.to_string())
    }
}

impl From<NetworkClosed> for ApiError {
    fn from(error: NetworkClosed) -> Self {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Arc::new(error).into()
    }
}

impl From<Arc<StoreError>> for ApiError {
    fn from(error: Arc<StoreError>) -> Self {
        if matches!(*error, StoreError::Full { .. }) {
            return ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "store_full", error.to_string());
        }
        if matches!(*error, StoreError::Damaged(_)) {
            let message = format!("{error}; stop the node and see what `rocketmesh doctor` says");
            return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store_damaged", message);
        }
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_failed",
            format!("{error}; look at the node's log and at the free space of its disk"),
        )
    }
}

impl From<PostError> for ApiError {
    fn from(error: PostError) -> Self {
        match error {
            PostError::Refused(refusal) => ApiError::new(StatusCode::FORBIDDEN, refusal.code(), refusal.to_string()),
            PostError::CatchingUp => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "catching_up", error.to_string()),
            PostError::Author(AuthorError::BodyTooLarge(_)) => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "text_too_large", error.to_string())
            }
            PostError::Author(_) => ApiError::bad("malformed_event", error.to_string()),
            PostError::UnknownRoom(_) => ApiError::missing("unknown_room", error.to_string()),
            PostError::Store(error) => error.into(),
            PostError::Closed => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", error.to_string()),
        }
    }
}

impl From<SignalError> for ApiError {
    fn from(error: SignalError) -> Self {
        let text = error.to_string();
        match error {
            SignalError::Refused(refusal) => ApiError::new(StatusCode::FORBIDDEN, refusal.code(), text),
            SignalError::TooMany => ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_signals", text),
            SignalError::Room(error) => error.into(),
            SignalError::Message(_) => ApiError::bad("malformed_event", text),
        }
    }
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        let text = error.to_string();
        match error {
            ImportError::Unsound(_) => ApiError::bad("malformed_car", text),
            ImportError::NoRoom(refusal) => ApiError::new(StatusCode::FORBIDDEN, refusal.code(), text),
            ImportError::NoBeginning(_) => ApiError::bad("no_create_event", text),
            ImportError::Store(error) => error.into(),
        }
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        Arc::new(error).into()
    }
}

impl From<Arc<FileError>> for ApiError {
    fn from(error: Arc<FileError>) -> Self {
        let text = error.to_string();
        let full = |code| ApiError::new(StatusCode::INSUFFICIENT_STORAGE, code, text.clone());
        match &*error {
            FileError::Store(StoreError::Full { .. }) => full("store_full"),
            FileError::Store(StoreError::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
                full("store_full")
            }
            FileError::RoomQuota { .. } => full("room_quota"),
            FileError::ServerQuota { .. } => full("server_quota"),
            FileError::TooLarge { .. } => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", text),
            FileError::Empty => ApiError::bad("file_empty", text),
            FileError::OtherLength { .. } => ApiError::bad("file_broken", text),
            FileError::UnknownRoom(_) => ApiError::missing("unknown_room", text),
            FileError::NotNamed => ApiError::missing("unknown_file", text),
            FileError::OtherSize => ApiError::missing("wrong_size", text),
            FileError::Damaged => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "file_damaged", text),
            FileError::Store(StoreError::Io(_) | StoreError::NotWritable { .. }) => {
                let message = format!("{text}; look at that place, its owner and its mode, and at the node's health");
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "files_not_writable", message)
            }
            _ => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", text),
        }
    }
}

impl From<ReceiveError> for ApiError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::File(error) => error.into(),
            ReceiveError::Store(error) => error.into(),
            ReceiveError::Broken(_) => ApiError::bad("file_broken", error.to_string()),
            ReceiveError::Closed => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", error.to_string()),
        }
    }
}

impl From<FetchError> for ApiError {
    fn from(error: FetchError) -> Self {
        let text = error.to_string();
        let unavailable = |code| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, text.clone());
        match error {
            FetchError::File(error) => error.into(),
            FetchError::NotNamed => ApiError::missing("unknown_file", text),
            FetchError::NoHolder { .. } => unavailable("no_holder"),
            FetchError::GaveWay => unavailable("file_on_its_way"),
            FetchError::Busy => unavailable("too_many_fetches"),
            FetchError::Closed => unavailable("shutting_down"),
        }
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Post(error) => error.into(),
            JoinError::GivenUp => ApiError::new(StatusCode::CONFLICT, "join_given_up", error.to_string()),
            JoinError::NotAdmitted(_) => ApiError::new(StatusCode::FORBIDDEN, "not_admitted", error.to_string()),
            JoinError::Waiting { .. } => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "join_waiting", error.to_string())
            }
            JoinError::NotFound { .. } => ApiError::missing("unknown_room", error.to_string()),
            JoinError::Unfinished { .. } => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "join_unfinished", error.to_string())
            }
        }
    }
}
