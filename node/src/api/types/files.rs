//! Files that messages name.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A file as a message names it. What an upload answers, and what a message is posted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageFile {
    /// Its id, the hash of its content: `bafkr4i…`.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it is called.
    pub name: String,
    /// Its media type, such as `image/png`.
    #[serde(rename = "type")]
    pub media_type: String,
    /// The width of a picture or film in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Its height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

/// A file that a message names, and what is here of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// What the message says.
    #[serde(flatten)]
    pub said: MessageFile,
    /// `here`; `coming`: some of it is; or `missing`.
    pub state: String,
    /// How many bytes of it are here and verified.
    pub here: u64,
}

/// A file of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomFile {
    /// The file.
    #[serde(flatten)]
    pub view: FileView,
    /// A message that names it.
    pub event: String,
    /// Who sent that, as people read it.
    pub sender: Option<String>,
    /// When, by the sender's server, in milliseconds since 1970.
    pub time_ms: u64,
}

/// A page of a room's files, ascending by id.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FilePage {
    /// The files that messages which are shown name.
    pub files: Vec<RoomFile>,
    /// What to give as `from` for the next page; none at the end.
    pub next: Option<String>,
    /// Bytes that count for this room.
    pub bytes: u64,
}

/// How to page through a room's files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct FileQuery {
    /// Start just after this file.
    pub from: Option<String>,
    /// At most this many: 100 by default, 1,000 at most.
    pub limit: Option<usize>,
}

/// What an uploaded file is called.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct UploadQuery {
    /// Its name: 1 to 255 bytes without slashes.
    pub name: String,
    /// Its media type; `application/octet-stream` by default.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
}

/// How to ask for a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
pub struct DownloadQuery {
    /// How long to wait for a file that other servers have, in seconds; 30 by default, 600 at most.
    pub wait: Option<u64>,
}
