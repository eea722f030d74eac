//! The first exchange: what each side speaks and what it is called.

use crate::codec::{self, Map, Value};
use crate::event::{RoomVersion, encode_own};
use crate::identity::ServerName;
use crate::wire::{WIRE_VERSION, WireError, shape};

/// The most versions that a list may name.
const MAX_VERSIONS: usize = 64;
/// The longest agent text in bytes.
const MAX_AGENT_BYTES: usize = 128;
/// The largest hello in bytes; the rest is room for fields that do not exist yet.
const MAX_BYTES: usize = 16 * 1024;

/// What a server says of itself when a connection begins. Nothing in it is proven but by the connection itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Wire versions it speaks, ascending.
    pub wire_versions: Vec<u64>,
    /// Room versions it can take part in, ascending.
    pub room_versions: Vec<RoomVersion>,
    /// What it calls itself, if anything.
    pub name: Option<ServerName>,
    /// Its software and version, for people to read.
    pub agent: String,
    /// Fields that this version does not know, kept as they are.
    pub ext: Map,
}

impl Hello {
    /// The hello of this build.
    pub fn of_this_build(name: Option<ServerName>) -> Self {
        Hello {
            wire_versions: vec![WIRE_VERSION],
            room_versions: vec![RoomVersion::DRAFT],
            name,
            agent: concat!("rocketmesh/", env!("CARGO_PKG_VERSION")).to_owned(),
            ext: Map::new(),
        }
    }

    /// The hello's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let versions = |versions: Vec<u64>| Value::List(versions.into_iter().map(Value::from).collect());
        let map = self
            .ext
            .clone()
            .with("wire", versions(self.wire_versions.clone()))
            .with("rooms", versions(self.room_versions.iter().map(|version| version.0).collect()))
            .with("name", self.name.as_ref().map(ServerName::as_str))
            .with("agent", self.agent.as_str());
        encode_own(&Value::Map(map))
    }

    /// Reads a hello.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_BYTES {
            return Err(WireError::TooLarge(bytes.len(), MAX_BYTES));
        }
        let Value::Map(mut ext) = codec::decode(bytes)? else {
            return Err(shape("hello", "no map"));
        };
        let wire_versions = versions(ext.remove("wire"))?;
        let room_versions = versions(ext.remove("rooms"))?.into_iter().map(RoomVersion).collect();
        let name = match ext.remove("name") {
            Some(Value::Null) => None,
            // A name of a form that does not exist yet is no reason not to talk.
            Some(Value::Text(name)) => name.parse().ok(),
            _ => return Err(shape("hello", "no name")),
        };
        let agent = match ext.remove("agent") {
            Some(Value::Text(agent)) if agent.len() <= MAX_AGENT_BYTES && !agent.contains(char::is_control) => agent,
            _ => return Err(shape("hello", "no sound agent")),
        };
        Ok(Hello { wire_versions, room_versions, name, agent, ext })
    }
}

fn versions(value: Option<Value>) -> Result<Vec<u64>, WireError> {
    let versions: Option<Vec<u64>> =
        value.as_ref().and_then(Value::as_list).and_then(|list| list.iter().map(Value::as_u64).collect());
    versions
        .filter(|versions| versions.len() <= MAX_VERSIONS && versions.is_sorted_by(|a, b| a < b))
        .ok_or(shape("hello", "no ascending list of versions"))
}

/// The highest wire version that both sides speak.
pub fn common_version(ours: &Hello, theirs: &Hello) -> Option<u64> {
    ours.wire_versions.iter().rev().find(|version| theirs.wire_versions.contains(version)).copied()
}
