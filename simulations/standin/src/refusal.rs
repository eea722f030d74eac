//! How a call is refused: the forms of Rocket.Chat's errors, over REST and over DDP.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::version::Version;

/// Why a call is refused. Nothing was changed, unless a fault was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// What the server throws as `Meteor.Error(code, reason)`: 400 with an `errorType`.
    #[error("{}", with_code(.reason, .code))]
    Coded { code: &'static str, reason: String, details: Option<Value> },
    /// What it throws as `Error(text)`, or answers by `failure(text)`: 400 without an `errorType`.
    #[error("{0}")]
    Plain(String),
    /// `failure()`: 400 without a text.
    #[error("refused")]
    Silent,
    /// `forbidden()`: 403.
    #[error("not allowed")]
    Forbidden,
    /// A permission that the whole call needs: 403.
    #[error("User does not have the permissions required for this action")]
    Permission,
    /// No valid token: 401.
    #[error("You must be logged in to do this.")]
    LoggedOut,
    /// A wrong password: 401 in a form of its own.
    #[error("Unauthorized")]
    WrongPassword,
    /// 429.
    #[error("{}", with_code(&slow_down(.ms), "error-too-many-requests"))]
    TooMany { ms: i64 },
    /// There is no such call: 404.
    #[error("API endpoint does not exist.")]
    Unknown,
    /// A larger body than the server takes: 413.
    #[error("[error-file-too-large]")]
    TooLarge,
}

/// The text of a `Meteor.Error`.
fn with_code(reason: &str, code: &str) -> String {
    if reason.is_empty() { format!("[{code}]") } else { format!("{reason} [{code}]") }
}

fn slow_down(ms: &i64) -> String {
    let seconds = seconds(*ms);
    format!(
        "Error, too many requests. Please slow down. You must wait {seconds} seconds before trying this endpoint again."
    )
}

fn seconds(ms: i64) -> i64 {
    (ms + 999) / 1000
}

impl Refusal {
    /// `Meteor.Error(code, reason)`.
    pub(crate) fn coded(code: &'static str, reason: impl Into<String>) -> Self {
        Refusal::Coded { code, reason: reason.into(), details: None }
    }

    /// `Error(text)`.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Refusal::Plain(text.into())
    }

    /// Parameters that do not have the right form.
    pub(crate) fn params(reason: impl Into<String>) -> Self {
        Refusal::coded("invalid-params", reason)
    }

    /// As an answer over REST.
    pub(crate) fn response(self, version: Version) -> Response {
        let text = self.to_string();
        // Since 8.0 the two words are told apart.
        let modern = version >= Version::V8_0;
        let (status, body) = match self {
            Refusal::Coded { code, details, .. } => {
                let mut body = json!({"success": false, "error": text, "errorType": code});
                if let Some(details) = details {
                    body["details"] = details;
                }
                (StatusCode::BAD_REQUEST, body)
            }
            Refusal::Plain(_) => (StatusCode::BAD_REQUEST, json!({"success": false, "error": text})),
            Refusal::Silent => (StatusCode::BAD_REQUEST, json!({"success": false})),
            Refusal::Forbidden => {
                let error = if modern { "forbidden" } else { "unauthorized" };
                (StatusCode::FORBIDDEN, json!({"success": false, "error": error}))
            }
            Refusal::Permission => {
                let code = if modern { "error-forbidden" } else { "error-unauthorized" };
                (StatusCode::FORBIDDEN, json!({"success": false, "error": with_code(&text, code)}))
            }
            Refusal::LoggedOut if modern => (StatusCode::UNAUTHORIZED, json!({"success": false, "error": text})),
            Refusal::LoggedOut => {
                let body = json!({"success": false, "error": text, "status": "error", "message": text});
                (StatusCode::UNAUTHORIZED, body)
            }
            Refusal::WrongPassword if modern => {
                (StatusCode::UNAUTHORIZED, json!({"success": false, "error": "unauthorized"}))
            }
            Refusal::WrongPassword => {
                let body = json!({"success": false, "status": "error", "error": text, "message": text});
                (StatusCode::UNAUTHORIZED, body)
            }
            Refusal::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, json!({"success": false, "error": text})),
            Refusal::Unknown => (StatusCode::NOT_FOUND, json!({"status": "error", "message": text})),
            Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, json!({"success": false, "error": text})),
        };
        (status, Json(body)).into_response()
    }

    /// As the error of a method or of a subscription over DDP.
    pub(crate) fn ddp(&self) -> Value {
        let message = self.to_string();
        match self {
            Refusal::Coded { code, reason, details } => {
                let mut error =
                    json!({"isClientSafe": true, "error": code, "message": message, "errorType": "Meteor.Error"});
                if !reason.is_empty() {
                    error["reason"] = json!(reason);
                }
                if let Some(details) = details {
                    error["details"] = details.clone();
                }
                error
            }
            Refusal::LoggedOut | Refusal::WrongPassword => {
                let reason = match self {
                    Refusal::LoggedOut => "You've been logged out by the server. Please log in again.",
                    _ => "User not found",
                };
                json!({"isClientSafe": true, "error": 403, "reason": reason, "message": format!("{reason} [403]"),
                    "errorType": "Meteor.Error"})
            }
            Refusal::TooMany { ms } => {
                let reason = format!(
                    "Error, too many requests. Please slow down. You must wait {} seconds before trying again.",
                    seconds(*ms)
                );
                let message = with_code(&reason, "too-many-requests");
                json!({"isClientSafe": true, "error": "too-many-requests", "reason": reason, "message": message,
                    "details": {"timeToReset": ms}, "errorType": "Meteor.Error"})
            }
            Refusal::Unknown => {
                json!({"isClientSafe": true, "error": 404, "reason": "Method not found", "message": "Method not found [404]",
                    "errorType": "Meteor.Error"})
            }
            // What is no `Meteor.Error` is not shown to clients.
            _ => json!({"isClientSafe": true, "error": 500, "reason": "Internal server error",
                "message": "Internal server error [500]", "errorType": "Meteor.Error"}),
        }
    }
}
