//! What becomes of a call that does not succeed, in the classes that the bridge acts by.

use reqwest::StatusCode;
use serde_json::Value;

/// Texts of a server that errors carry are cut to this many characters: they go into logs, the API and dead letters.
const MAX_TEXT_CHARS: usize = 300;

/// Codes by which Rocket.Chat says with 400 that somebody may not do something.
const FORBIDDEN_CODES: [&str; 8] = [
    "error-action-not-allowed",
    "error-forbidden",
    "error-no-permission",
    "error-not-allowed",
    "error-not-authorized",
    "error-unauthorized",
    "not-allowed",
    "not-authorized",
];
/// Codes by which it says that there is no such thing (any more).
const MISSING_CODES: [&str; 7] = [
    "error-invalid-room",
    "error-invalid-user",
    "error-message-not-found",
    "error-room-does-not-exist",
    "error-room-not-found",
    "error-user-not-found",
    "error-no-message",
];
/// What a community workspace answers that has not reached its vendor for ten days.
const RESTRICTED: &str = "restricted-workspace";
/// Codes by which it says that something is so already, or that nobody is there to whom it could be done.
const SO_ALREADY: [&str; 9] = [
    "error-user-not-in-room",
    "error-user-already-owner",
    "error-user-already-moderator",
    "error-user-already-leader",
    "error-user-not-owner",
    "error-user-not-moderator",
    "error-user-not-leader",
    "error-user-not-banned",
    "error-invalid-subscription",
];
/// What a limit answers with 400, as the methods behind some calls do.
const TOO_MANY: &str = "error-too-many-requests";

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RestError {
    /// Too many calls. Nothing was done; the same call may be made again after `until_ms`.
    #[error("Rocket.Chat limits how often it is called; it takes calls again at {until_ms} ms since 1970")]
    RateLimited {
        /// When calls are taken again, in milliseconds since 1970, by the server's clock.
        until_ms: u64,
    },
    /// The token is not, or no longer, valid. Nothing was done.
    #[error("Rocket.Chat does not accept the token")]
    Unauthorized,
    /// The account may not do this. Nothing was done, and trying again changes nothing.
    #[error("Rocket.Chat does not allow {action}: {text}")]
    Forbidden {
        /// The call, such as `chat.delete`.
        action: &'static str,
        /// The server's word.
        text: String,
    },
    /// The workspace takes no messages until it has reached its vendor. Nothing was done.
    #[error("the workspace is restricted: it has not reached Rocket.Chat's cloud for too long, and takes no messages")]
    Restricted,
    /// There is no such room, message, user, file or call.
    #[error("Rocket.Chat does not find what {action} is about: {text}")]
    NotFound {
        /// The call.
        action: &'static str,
        /// The server's word.
        text: String,
    },
    /// Refused for another reason. Of `chat.sendMessage` this is also the answer for an id that is stored already.
    #[error("Rocket.Chat refuses {action}: {text}")]
    Refused {
        /// The call.
        action: &'static str,
        /// The server's word.
        text: String,
        /// Its code, if it gives one.
        error_type: Option<String>,
    },
    /// No connection came about. Nothing was done.
    #[error("Rocket.Chat cannot be reached: {reason}")]
    Unreachable {
        /// Why.
        reason: String,
    },
    /// No answer came to what was sent, or one of a proxy or a failing server. **Whether it was done is not known.**
    #[error("Rocket.Chat did not answer {action}: {reason}")]
    Unanswered {
        /// The call.
        action: &'static str,
        /// What happened.
        reason: String,
    },
    /// A body is larger than one side takes.
    #[error("what {action} carries is too large (at most {limit} bytes)")]
    TooLarge {
        /// The call.
        action: &'static str,
        /// The most bytes, 0 if the server did not say.
        limit: u64,
    },
    /// It succeeded, and the answer is not of the expected form; or there is something else than Rocket.Chat at this address.
    #[error("what Rocket.Chat answers to {action} is not understood: {reason}")]
    Malformed {
        /// The call.
        action: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl RestError {
    /// Whether the call may have been done all the same: look (`chat.getMessage`) before it is made again.
    pub(crate) fn is_outcome_unknown(&self) -> bool {
        matches!(
            self,
            RestError::Unanswered { .. } | RestError::Malformed { .. } | RestError::TooLarge { limit: 1.., .. }
        )
    }

    /// Whether the same call can succeed later, without anybody changing the call.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            RestError::RateLimited { .. }
                | RestError::Restricted
                | RestError::Unauthorized
                | RestError::Unreachable { .. }
                | RestError::Unanswered { .. }
        )
    }

    /// Whether the server refused with this code.
    pub(crate) fn says(&self, code: &str) -> bool {
        match self {
            RestError::Refused { text, error_type, .. } => error_type.as_deref() == Some(code) || names(text, code),
            _ => false,
        }
    }

    /// Whether a name or an address is somebody else's already.
    pub(crate) fn is_taken(&self) -> bool {
        let already = |text: &str| text.contains("already");
        self.says("error-field-unavailable") || matches!(self, RestError::Refused { text, .. } if already(text))
    }

    /// Whether nothing was done because it is so already.
    pub(crate) fn is_so_already(&self) -> bool {
        SO_ALREADY.iter().any(|code| self.says(code))
    }

    /// Whether this account may not do it, or the server takes it from nobody: another account may still be let.
    pub(crate) fn is_of_the_account(&self) -> bool {
        matches!(self, RestError::Forbidden { .. } | RestError::Refused { .. })
    }

    /// The class of an answer that is no success.
    pub(super) fn of_answer(action: &'static str, status: StatusCode, until_ms: u64, body: &Value) -> Self {
        let field = |name: &str| body.get(name).and_then(Value::as_str);
        let error_type = field("errorType").map(cut);
        let text = field("error").or(field("message")).map_or_else(|| format!("status {}", status.as_u16()), cut);
        let says = |code: &str| error_type.as_deref() == Some(code) || names(&text, code);
        if says(RESTRICTED) {
            return RestError::Restricted;
        }
        match status.as_u16() {
            429 => RestError::RateLimited { until_ms },
            401 => RestError::Unauthorized,
            403 => RestError::Forbidden { action, text },
            404 => RestError::NotFound { action, text },
            413 => RestError::TooLarge { action, limit: 0 },
            500.. => RestError::Unanswered { action, reason: format!("status {}", status.as_u16()) },
            _ if says(TOO_MANY) => RestError::RateLimited { until_ms },
            _ if FORBIDDEN_CODES.iter().any(|code| says(code)) => RestError::Forbidden { action, text },
            _ if MISSING_CODES.iter().any(|code| says(code)) => RestError::NotFound { action, text },
            _ => RestError::Refused { action, text, error_type },
        }
    }

    /// The class of a request that brought no answer.
    pub(super) fn of_transport(action: &'static str, error: reqwest::Error) -> Self {
        let reason = innermost(&error);
        if error.is_connect() || error.is_builder() {
            RestError::Unreachable { reason }
        } else if error.is_timeout() {
            RestError::Unanswered { action, reason: "no answer in time".to_owned() }
        } else {
            RestError::Unanswered { action, reason }
        }
    }
}

/// Whether a text is a code or carries it in brackets, as the texts of Meteor's errors do.
fn names(text: &str, code: &str) -> bool {
    let bracketed = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')).map(|(_, code)| code);
    text == code || bracketed == Some(code)
}

fn cut(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_TEXT_CHARS).collect()
}

/// The last cause: the ones above it only say that a request failed, and name its address, which may carry ids.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cut(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use serde_json::{Value, json};

    use super::RestError;

    fn class(status: u16, body: &Value) -> RestError {
        let status = StatusCode::from_u16(status).expect("a status");
        RestError::of_answer("chat.update", status, 77, body)
    }

    #[test]
    fn answers_fall_into_the_classes_that_the_bridge_acts_by() {
        let forbidden =
            class(400, &json!({"error": "Not allowed [error-not-allowed]", "errorType": "error-not-allowed"}));
        assert!(matches!(forbidden, RestError::Forbidden { action: "chat.update", .. }));
        assert!(matches!(class(403, &json!({"error": "unauthorized"})), RestError::Forbidden { .. }));
        assert_eq!(class(401, &json!({})), RestError::Unauthorized);
        assert_eq!(class(429, &json!({})), RestError::RateLimited { until_ms: 77 });
        assert_eq!(
            class(400, &json!({"errorType": "error-too-many-requests"})),
            RestError::RateLimited { until_ms: 77 }
        );
        assert_eq!(class(400, &json!({"error": "restricted-workspace"})), RestError::Restricted);
        assert_eq!(class(400, &json!({"error": "[restricted-workspace]"})), RestError::Restricted);
        assert!(matches!(class(400, &json!({"errorType": "error-invalid-room"})), RestError::NotFound { .. }));
        assert!(matches!(class(400, &json!({"error": "no"})), RestError::Refused { error_type: None, .. }));
        assert!(matches!(class(413, &json!({})), RestError::TooLarge { .. }));
    }

    #[test]
    fn only_silence_and_failing_servers_leave_the_outcome_open() {
        assert!(class(502, &Value::Null).is_outcome_unknown());
        assert!(!class(400, &Value::Null).is_outcome_unknown());
        assert!(!class(429, &Value::Null).is_outcome_unknown());
        assert!(class(429, &Value::Null).is_passing());
        assert!(!class(403, &Value::Null).is_passing());
    }

    #[test]
    fn a_text_that_is_no_code_is_not_taken_for_one() {
        let said = json!({"error": "the room restricted-workspace is full"});
        assert!(matches!(class(400, &said), RestError::Refused { .. }));
    }

    #[test]
    fn what_is_so_already_is_told_by_its_code_wherever_the_server_puts_it() {
        assert!(class(400, &json!({"error": "no [x]", "errorType": "error-user-not-in-room"})).is_so_already());
        assert!(class(400, &json!({"error": "error-user-not-banned"})).is_so_already());
        assert!(!class(400, &json!({"error": "error-you-are-last-owner"})).is_so_already());
        assert!(class(400, &json!({"errorType": "error-you-are-last-owner"})).says("error-you-are-last-owner"));
    }

    #[test]
    fn long_texts_of_a_server_are_cut() {
        let long = "x".repeat(10_000);
        let RestError::Refused { text, .. } = class(400, &json!({"error": long})) else { panic!("another class") };
        assert_eq!(text.len(), 300);
    }
}
