//! What servers call themselves: claims, for people to read. Nothing is decided by a name.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use libp2p::identity::PeerId;
use rocketmesh_protocol::identity::{NameError, Origin, ServerAddress, ServerName, UserAddress, UserId};

use crate::network::origin;

/// The most names that are remembered; the mesh's servers that this node ever met.
const MAX_NAMES: usize = 50_000;

/// Names by origin.
#[derive(Debug)]
pub(crate) struct NameBook {
    own: Origin,
    names: RwLock<BTreeMap<Origin, ServerName>>,
}

/// Why a user as people write it names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The text is no user.
    #[error(transparent)]
    Malformed(#[from] NameError),
    /// No server of that name has been met.
    #[error("no server called {0} is known here; use the server's id, as `rocketmesh peers` shows it")]
    UnknownServer(ServerName),
    /// Several servers say that this is their name.
    #[error("several servers call themselves {0}; use the id of the one that is meant")]
    AmbiguousServer(ServerName),
}

impl NameBook {
    pub(super) fn new(own: Origin, name: Option<ServerName>) -> Self {
        NameBook { own, names: RwLock::new(name.map(|name| (own, name)).into_iter().collect()) }
    }

    /// Notes what a peer calls itself.
    pub(super) fn note(&self, peer: PeerId, name: Option<ServerName>) {
        let (Some(origin), Some(name)) = (origin(&peer), name) else { return };
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MAX_NAMES || names.contains_key(&origin) {
            names.insert(origin, name);
        }
    }

    /// What the server calls itself.
    pub(crate) fn name(&self, origin: &Origin) -> Option<ServerName> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).get(origin).cloned()
    }

    /// The user as people read it: with the server's name where exactly one server claims it, else with its id.
    pub(crate) fn display(&self, user: &UserId) -> String {
        format!("@{}:{}", user.localpart, self.server(&user.origin))
    }

    /// The server as people read it: its name where exactly one server claims it, else its id.
    pub(crate) fn server(&self, origin: &Origin) -> String {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        match names.get(origin) {
            Some(name) if names.values().filter(|other| *other == name).count() == 1 => name.to_string(),
            _ => origin.to_string(),
        }
    }

    /// The user that a text means: `@bob:12D3KooW…`, `@bob:chat.example.org`, or `bob` for one of this server.
    pub(crate) fn resolve(&self, text: &str) -> Result<UserId, ResolveError> {
        if !text.starts_with('@') {
            return Ok(UserId { origin: self.own, localpart: text.parse()? });
        }
        let UserAddress { localpart, server } = text.parse()?;
        let origin = match server {
            ServerAddress::Origin(origin) => origin,
            ServerAddress::Name(name) => {
                let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
                let mut found = names.iter().filter(|(_, other)| **other == name).map(|(origin, _)| *origin);
                match (found.next(), found.next()) {
                    (Some(origin), None) => origin,
                    (Some(_), Some(_)) => return Err(ResolveError::AmbiguousServer(name)),
                    (None, _) => return Err(ResolveError::UnknownServer(name)),
                }
            }
        };
        Ok(UserId { origin, localpart })
    }
}
