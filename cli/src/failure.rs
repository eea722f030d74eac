//! Why a command failed, and which exit code tells a script so.

use std::io;
use std::path::Path;

use clap::error::ErrorKind;
use rocketmesh_node::api::types::{ErrorBody, ErrorDetail};

/// Why a command failed. Its message says what to do next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The node refused, or something on this machine did not work.
    #[error("{message}")]
    Failed {
        /// The API's code, or a word of this program's own.
        code: String,
        /// What to do.
        message: String,
    },
    /// The arguments parse but make no sense together with what the node knows, such as an ambiguous name.
    #[error("{message}")]
    Usage {
        /// A word for programs.
        code: &'static str,
        /// What to do.
        message: String,
    },
    /// Nothing answers where a node should be. Nothing was changed.
    #[error("{0}")]
    NoNode(String),
    /// The room, event, file or peer is not known. Nothing was changed.
    #[error("{message}")]
    NotFound {
        /// The API's code.
        code: String,
        /// What to do.
        message: String,
    },
    /// The API token is missing, unreadable or refused. Nothing was changed.
    #[error("{message}")]
    Token {
        /// The API's code.
        code: String,
        /// What to do.
        message: String,
    },
    /// The node is there but cannot take the request now. Nothing was changed; the same may work later.
    #[error("{message}")]
    Busy {
        /// The API's code.
        code: String,
        /// What to do.
        message: String,
    },
    /// The connection broke after the request was sent, so that the node may have done what was asked.
    #[error("{0}")]
    Lost(String),
    /// Whoever read standard output has gone, as `head` does: no fault of anybody.
    #[error("the reader of the output is gone")]
    ReaderGone,
}

impl Failure {
    /// A failure of this machine or of the node with a code of this program's own.
    pub(crate) fn failed(code: &str, message: impl Into<String>) -> Self {
        Failure::Failed { code: code.to_owned(), message: message.into() }
    }

    /// A failure while doing something with a file.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Failure::failed("io", format!("cannot {doing} {}: {error}", path.display()))
    }

    /// A token that cannot be sent because it cannot be read.
    pub(crate) fn no_token(message: impl Into<String>) -> Self {
        Failure::Token { code: "missing_token".to_owned(), message: message.into() }
    }

    /// Arguments that no command takes, in one line.
    pub(crate) fn arguments(error: &clap::Error) -> Self {
        let code = "usage";
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Failure::Usage { code, message: "a command or an argument is missing; see --help".to_owned() };
        }
        let text = error.render().to_string();
        let below = |line: &&str| line.starts_with("Usage:") || line.starts_with("For more information");
        let lines: Vec<&str> =
            text.lines().map(str::trim).take_while(|line| !below(line)).filter(|line| !line.is_empty()).collect();
        let sentence = lines.join(" ");
        Failure::Usage { code, message: format!("{}; see --help", sentence.trim_start_matches("error: ")) }
    }

    /// A failed write to standard output.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::failed("io", format!("cannot write the output: {error}")),
        }
    }

    /// What the API's answer with this HTTP status and error means.
    pub(crate) fn answered(status: u16, detail: ErrorDetail) -> Self {
        let ErrorDetail { code, message } = detail;
        if matches!(
            code.as_str(),
            "unknown_room" | "unknown_event" | "unknown_peer" | "unknown_server" | "unknown_file" | "unknown_letter"
        ) {
            return Failure::NotFound { code, message };
        }
        match status {
            401 => Failure::Token { code, message: format!("{message}; name that with --token-file or --data-dir") },
            429 | 503 => Failure::Busy { code, message },
            _ => Failure::Failed { code, message },
        }
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::ReaderGone => 0,
            Failure::Failed { .. } | Failure::Busy { .. } | Failure::Lost(_) => 1,
            Failure::Usage { .. } => 2,
            Failure::NoNode(_) => 3,
            Failure::NotFound { .. } => 4,
            Failure::Token { .. } => 5,
        }
    }

    /// Whether the same request may succeed by itself a little later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Failure::NoNode(_) | Failure::Busy { .. } | Failure::Lost(_))
    }

    /// The stable word for programs.
    pub(crate) fn code(&self) -> &str {
        match self {
            Failure::Failed { code, .. }
            | Failure::NotFound { code, .. }
            | Failure::Token { code, .. }
            | Failure::Busy { code, .. } => code,
            Failure::Usage { code, .. } => code,
            Failure::NoNode(_) => "no_node",
            Failure::Lost(_) => "connection_lost",
            Failure::ReaderGone => "reader_gone",
        }
    }

    /// The failure in the form that the API's own errors have.
    pub(crate) fn to_body(&self) -> ErrorBody {
        ErrorBody { error: ErrorDetail { code: self.code().to_owned(), message: self.to_string() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: &str) -> Failure {
        Failure::answered(status, ErrorDetail { code: code.to_owned(), message: "do this".to_owned() })
    }

    #[test]
    fn each_kind_of_failure_has_its_documented_exit_code() {
        assert_eq!(Failure::failed("io", "full").exit_code(), 1);
        assert_eq!(Failure::Lost("gone".to_owned()).exit_code(), 1);
        assert_eq!(Failure::Usage { code: "ambiguous_room", message: String::new() }.exit_code(), 2);
        assert_eq!(Failure::NoNode("none".to_owned()).exit_code(), 3);
        assert_eq!(Failure::no_token("none").exit_code(), 5);
        assert_eq!(Failure::ReaderGone.exit_code(), 0);
    }

    #[test]
    fn the_apis_errors_map_to_the_documented_exit_codes() {
        for code in ["unknown_room", "unknown_event", "unknown_peer", "unknown_server", "unknown_file"] {
            assert_eq!(answered(404, code).exit_code(), 4, "{code}");
        }
        assert_eq!(answered(404, "unknown_path").exit_code(), 1);
        assert_eq!(answered(401, "wrong_token").exit_code(), 5);
        assert_eq!(answered(403, "not_owner").exit_code(), 1);
        assert_eq!(answered(503, "too_many_streams").exit_code(), 1);
    }

    #[test]
    fn only_failures_that_pass_by_themselves_are_worth_another_try() {
        assert!(answered(503, "starting").may_pass());
        assert!(Failure::NoNode("none".to_owned()).may_pass());
        assert!(!answered(404, "unknown_room").may_pass());
        assert!(!answered(401, "wrong_token").may_pass());
    }

    #[test]
    fn a_failure_as_json_has_the_apis_form() {
        let json = serde_json::to_string(&answered(404, "unknown_room").to_body()).expect("strings have a JSON form");
        assert_eq!(json, r#"{"error":{"code":"unknown_room","message":"do this"}}"#);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(failure, Failure::ReaderGone));
    }
}
