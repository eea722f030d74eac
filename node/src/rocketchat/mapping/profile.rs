//! How somebody is called and what they look like: from an account to a profile in a room, and from that to the account that stands for
//! them. What comes from elsewhere is cut to what may be shown.

use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Body, FileRef, FilesError};
use rocketmesh_protocol::id::FileId;
use rocketmesh_protocol::identity::{Localpart, UserId};
use serde::{Deserialize, Serialize};

use super::shadow;
use crate::rocketchat::client::User;

/// The largest picture that goes along, in bytes. Rocket.Chat makes pictures of accounts 200 pixels wide unless it is told otherwise.
pub(crate) const MAX_PICTURE_BYTES: u64 = 512 * 1024;
/// The longest name that is shown, in characters.
const LONGEST_NAME: usize = 80;

/// A profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The name that people read; none where it is no other than the user's.
    pub(crate) name: Option<String>,
    /// What the account is called now; none where that is the user's name in the mesh, which stays the same for ever.
    pub(crate) username: Option<String>,
    /// The picture.
    pub(crate) picture: Option<FileRef>,
}

impl Profile {
    /// The profile of a person of this server, with a picture that was taken in.
    pub(crate) fn of_account(user: &User, localpart: &Localpart, picture: Option<FileRef>) -> Self {
        let name = user.name.as_deref().map(plain).filter(|name| !name.is_empty() && name != localpart.as_str());
        let username = Some(user.username.clone()).filter(|name| name != localpart.as_str());
        Profile { name, username: username.filter(|name| name.parse::<Localpart>().is_ok()), picture }
    }

    /// The profile in a body, as far as it can be shown.
    pub(crate) fn of_body(body: &Body) -> Self {
        let name = body.text("name").map(plain).filter(|name| !name.is_empty());
        let username = body.text("username").filter(|name| name.parse::<Localpart>().is_ok()).map(str::to_owned);
        let picture = FileRef::of_body(body).unwrap_or_default().into_iter().next();
        Profile { name, username, picture: picture.filter(|picture| picture.size <= MAX_PICTURE_BYTES) }
    }

    /// The fields of a body that says this.
    ///
    /// # Errors
    /// [`FilesError`].
    pub(crate) fn into_fields(self) -> Result<Map, FilesError> {
        let mut fields = Map::new();
        if let Some(name) = self.name {
            fields.insert("name", name);
        }
        if let Some(username) = self.username {
            fields.insert("username", username);
        }
        let pictures: Vec<FileRef> = self.picture.into_iter().collect();
        FileRef::into_fields(&pictures, fields)
    }

    /// Whether it says nothing that the user's name does not say.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Profile::default()
    }

    /// The name that the account which stands for a user shows. Their server's name stands behind it, so that nobody passes for somebody
    /// of this server.
    pub(crate) fn shown_name(&self, user: &UserId, server: Option<&str>) -> String {
        let plain = shadow::display(user, server);
        match &self.name {
            Some(name) => plain.replacen(user.localpart.as_str(), name, 1),
            None => plain,
        }
    }

    /// A username for that account. `attempt` counts names that were taken.
    pub(crate) fn shown_username(&self, user: &UserId, server: Option<&str>, attempt: u32) -> String {
        let now = self.username.as_ref().and_then(|name| name.parse().ok());
        let called = UserId { origin: user.origin, localpart: now.unwrap_or_else(|| user.localpart.clone()) };
        shadow::username(&called, server, attempt)
    }
}

/// What the account that stands for somebody shows, as far as it was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Stood {
    /// The name.
    pub(crate) name: String,
    /// The username that was wanted; another one where it was taken.
    pub(crate) username: String,
    /// The picture's file.
    pub(crate) picture: Option<String>,
}

/// The picture of a person of this server, as it was taken in last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Taken {
    /// What Rocket.Chat says of it, which changes with the picture.
    pub(crate) etag: String,
    /// Its file; none where it cannot go along.
    pub(crate) file: Option<String>,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its media type.
    pub(crate) media_type: String,
}

impl Taken {
    /// What there is to record of a picture with these bytes, or of one that does not go along.
    pub(crate) fn of_bytes(etag: &str, bytes: &[u8]) -> Self {
        let etag = etag.to_owned();
        match media_type(bytes) {
            Some(media_type) => Taken {
                etag,
                file: Some(FileId::of_block(bytes).to_string()),
                size: bytes.len() as u64,
                media_type: media_type.to_owned(),
            },
            None => Taken { etag, ..Taken::default() },
        }
    }

    /// The picture as a profile names it.
    pub(crate) fn named(&self) -> Option<FileRef> {
        let file = self.file.as_ref()?.parse().ok()?;
        let media_type = self.media_type.clone();
        Some(FileRef { file, size: self.size, name: "avatar".to_owned(), media_type, dimensions: None })
    }
}

/// What a picture is by its first bytes, whatever anybody says that it is. What can hold scripts, such as SVG, is none.
pub(crate) fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// A name in one line, without what changes the direction of writing, and not too long.
fn plain(name: &str) -> String {
    let shown = |c: &char| {
        !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let plain: String = name.chars().filter(shown).take(LONGEST_NAME).collect();
    plain.trim().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rocketmesh_protocol::identity::Origin;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\npicture";

    fn bob() -> UserId {
        UserId { origin: Origin::from_bytes([3; 32]), localpart: "bob".parse().unwrap() }
    }

    fn account(username: &str, name: &str) -> User {
        User { username: username.to_owned(), name: Some(name.to_owned()), ..User::default() }
    }

    #[test]
    fn a_profile_is_read_as_it_was_written() {
        let picture = Taken::of_bytes("etag", PNG).named();
        assert!(picture.is_some());
        let profile = Profile::of_account(&account("bobby", "Bob Builder"), &bob().localpart, picture);
        let body = Body::new([1; 16], profile.clone().into_fields().unwrap());
        assert_eq!(Profile::of_body(&body), profile);
        assert!(Profile::of_account(&account("bob", "bob"), &bob().localpart, None).is_plain());
    }

    #[test]
    fn a_name_from_elsewhere_is_one_line_and_never_passes_for_somebody_of_this_server() {
        let hostile = Map::new().with("name", "\u{202e}Alice\n\u{7}").with("username", "al ice").with("files", 1_u64);
        let profile = Profile::of_body(&Body::new([1; 16], hostile));
        assert_eq!(profile, Profile { name: Some("Alice".to_owned()), ..Profile::default() });
        assert_eq!(profile.shown_name(&bob(), Some("b.example")), "Alice (b.example)");
        assert_eq!(Profile::default().shown_name(&bob(), Some("b.example")), "bob (b.example)");
    }

    #[test]
    fn whoever_renames_has_the_new_name_and_stays_the_same_user() {
        let renamed = Profile { username: Some("robert".to_owned()), ..Profile::default() };
        assert_eq!(renamed.shown_username(&bob(), Some("b.example"), 0), "robert.b.example");
        assert_eq!(renamed.shown_username(&bob(), Some("b.example"), 1), "robert.b.example-2");
        assert_eq!(Profile::default().shown_username(&bob(), Some("b.example"), 0), "bob.b.example");
    }

    #[test]
    fn only_pictures_go_along_whatever_they_are_called() {
        assert_eq!(media_type(PNG), Some("image/png"));
        assert_eq!(media_type(b"<svg onload=alert(1)>"), None);
        assert_eq!(media_type(b""), None);
        assert_eq!(Taken::of_bytes("etag", b"<svg>").named(), None);
    }
}
