//! Who speaks: origins, users and server names.
//!
//! A server **is** its first Ed25519 key, for ever: its [`Origin`]. Names are for people; nothing signed contains one, so that
//! no two servers can disagree about who signed because they disagree about a name.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use multibase::Base;

use crate::limits::{MAX_LOCALPART_BYTES, MAX_NAME_BYTES};

/// What stands before an Ed25519 key in a libp2p PeerId: an identity multihash of 36 bytes holding a protobuf public key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Why a text names no user, origin or server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not the PeerId of an Ed25519 key.
    #[error("`{0}` is not a server id: expected the PeerId of an Ed25519 key, such as 12D3KooW…")]
    Origin(String),
    /// Empty, too long, or with a character that a localpart must not have.
    #[error(
        "`{0}` is not a user's local name: 1 to {MAX_LOCALPART_BYTES} bytes without white space, control characters, `@`, `:` or `/`"
    )]
    Localpart(String),
    /// Not of the form `@local:server`.
    #[error("`{0}` is not a user: expected @name:server, such as @alice:chat.example.org")]
    User(String),
    /// Not a host name with an optional port.
    #[error(
        "`{0}` is not a server name: expected a host name of up to {MAX_NAME_BYTES} bytes, such as chat.example.org"
    )]
    ServerName(String),
}

fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A server's first Ed25519 public key, which is its identity for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin([u8; 32]);

impl Origin {
    /// The origin with these public key bytes. Whether they are a point of the curve shows when a signature is checked.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Origin(bytes)
    }

    /// The public key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` over `message` is this key's, by ed25519-dalek's strict rules: a canonical scalar, no key and no
    /// commitment of small order, no cofactor. Every server must draw the line at the same place, so nothing laxer is ever used.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .is_ok()
    }

    /// The PeerId's bytes, as libp2p knows them.
    pub fn to_peer_id_bytes(self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// The origin in a PeerId's bytes; none for a PeerId of another kind of key.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.strip_prefix(&PEER_ID_PREFIX)?.try_into().ok().map(Origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&Base::Base58Btc.encode(self.to_peer_id_bytes()))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Origin({self})")
    }
}

impl FromStr for Origin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // Decoding base58 takes quadratic time, so that its length is bounded first.
        (text.len() == 52)
            .then(|| Base::Base58Btc.decode(text).ok())
            .flatten()
            .and_then(|bytes| Origin::from_peer_id_bytes(&bytes))
            .ok_or_else(|| NameError::Origin(excerpt(text)))
    }
}

/// A server's secret key. Its `Debug` shows the public half only.
#[derive(Clone)]
pub struct ServerKey(SigningKey);

impl ServerKey {
    /// The key with this seed (RFC 8032's private key).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        ServerKey(SigningKey::from_bytes(seed))
    }

    /// The seed, for writing the key file and for libp2p's own form of the key.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn origin(&self) -> Origin {
        Origin(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` (Ed25519, deterministic).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ServerKey({})", self.origin())
    }
}

/// A user's name on its own server. Case matters; what looks alike is for user interfaces to warn about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Localpart(String);

impl Localpart {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Localpart {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | ':' | '/');
        if text.is_empty() || text.len() > MAX_LOCALPART_BYTES || text.contains(forbidden) {
            return Err(NameError::Localpart(excerpt(text)));
        }
        Ok(Localpart(text.to_owned()))
    }
}

impl fmt::Display for Localpart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A user as signed data knows it. Its text, `@alice:12D3KooW…`, is also its state key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId {
    /// The server that speaks for the user.
    pub origin: Origin,
    /// The user's name there.
    pub localpart: Localpart,
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "@{}:{}", self.localpart, self.origin)
    }
}

impl FromStr for UserId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (localpart, server) = split_user(text)?;
        Ok(UserId { origin: server.parse()?, localpart })
    }
}

fn split_user(text: &str) -> Result<(Localpart, &str), NameError> {
    let (local, server) =
        text.strip_prefix('@').and_then(|rest| rest.split_once(':')).ok_or_else(|| NameError::User(excerpt(text)))?;
    Ok((local.parse()?, server))
}

/// What people call a server, such as `chat.example.org`: a claim for people to read, never an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

impl ServerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ServerName {
    type Err = NameError;

    /// Reads a host name in lower case with an optional port: letters, digits, hyphens and dots, as in RFC 1123.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let host_ok = host.len() <= MAX_NAME_BYTES && host.split('.').all(label);
        let port_ok = port.is_none_or(|port| {
            port.len() <= 5
                && port.bytes().all(|b| b.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if host_ok && port_ok { Ok(ServerName(text.to_owned())) } else { Err(NameError::ServerName(excerpt(text))) }
    }
}

/// A user as people write it: with a server's name or with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAddress {
    /// The user's name on its server.
    pub localpart: Localpart,
    /// Which server that is.
    pub server: ServerAddress,
}

/// A server as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// Its id, which needs nobody to vouch for it.
    Origin(Origin),
    /// A name, which has to be looked up.
    Name(ServerName),
}

impl FromStr for UserAddress {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (localpart, server) = split_user(text)?;
        let server = match server.parse() {
            Ok(origin) => ServerAddress::Origin(origin),
            Err(_) => ServerAddress::Name(server.parse()?),
        };
        Ok(UserAddress { localpart, server })
    }
}

impl fmt::Display for UserAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            ServerAddress::Origin(origin) => write!(formatter, "@{}:{origin}", self.localpart),
            ServerAddress::Name(name) => write!(formatter, "@{}:{name}", self.localpart),
        }
    }
}
