//! The versions of Rocket.Chat whose behaviour is told apart.

use std::fmt;
use std::str::FromStr;

/// A version of Rocket.Chat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 7.0.0
    V7_0,
    /// 7.13.9, the first whose `chat.syncMessages` has pages.
    V7_13,
    /// 8.0.0
    V8_0,
    /// 8.8.1, which has bans.
    #[default]
    V8_8,
}

/// A version that the stand-in does not know.
#[derive(Debug, thiserror::Error)]
#[error("version `{0}` is not known here; use 7.0, 7.13, 8.0 or 8.8")]
pub struct UnknownVersion(String);

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 4] = [Version::V7_0, Version::V7_13, Version::V8_0, Version::V8_8];

    /// The whole number, such as `8.8.1`.
    pub fn number(self) -> &'static str {
        match self {
            Version::V7_0 => "7.0.0",
            Version::V7_13 => "7.13.9",
            Version::V8_0 => "8.0.0",
            Version::V8_8 => "8.8.1",
        }
    }

    /// The number without its last part, which is what a stranger is told.
    pub fn short(self) -> &'static str {
        match self {
            Version::V7_0 => "7.0",
            Version::V7_13 => "7.13",
            Version::V8_0 => "8.0",
            Version::V8_8 => "8.8",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.short())
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let known = Version::ALL.into_iter().find(|version| text == version.short() || text == version.number());
        known.ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}
