//! Which servers may do what with this one: the administrator's policy, kept in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use libp2p::identity::PeerId;
use rocketmesh_storage::{EventStore, StoreError};
use tokio::time::Instant;

use crate::api::types::{Audience, Policy};
use crate::network::Quota;

const POLICY: &str = "policy";
const KNOWN: &str = "known/";
const BAN: &str = "ban/";

/// The most servers with counters of their own. Beyond it all are forgotten, which forgives and forgets nothing else.
const MAX_COUNTED: usize = 4096;

/// The policy of a node that was told nothing.
pub fn default_policy() -> Policy {
    Policy {
        federate: Audience::Open,
        invite: Audience::Open,
        direct: Audience::Known,
        listed: Vec::new(),
        requests_per_minute: 0,
        events_per_minute: 0,
    }
}

/// The policy in force. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PolicyBook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: RwLock<(Policy, BTreeSet<PeerId>)>,
    known: RwLock<BTreeSet<PeerId>>,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    requests: BTreeMap<PeerId, Quota>,
    events: BTreeMap<PeerId, Quota>,
}

impl PolicyBook {
    /// Reads the policy from the store.
    pub(crate) fn load(store: &EventStore) -> Result<Self, StoreError> {
        let policy = match store.setting(POLICY)? {
            Some(json) => serde_json::from_slice(&json)
                .map_err(|error| StoreError::Damaged(format!("the policy cannot be read: {error}")))?,
            None => default_policy(),
        };
        let known = store.settings(KNOWN)?.iter().filter_map(|(name, _)| name[KNOWN.len()..].parse().ok()).collect();
        let listed = listed(&policy);
        Ok(PolicyBook(Arc::new(Inner {
            policy: RwLock::new((policy, listed)),
            known: RwLock::new(known),
            spent: Mutex::default(),
        })))
    }

    /// The policy.
    pub(crate) fn policy(&self) -> Policy {
        self.0.policy.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Puts a policy in force. The caller saves it under [`PolicyBook::setting`] first.
    pub(crate) fn set(&self, policy: Policy) {
        let listed = listed(&policy);
        *self.0.policy.write().unwrap_or_else(PoisonError::into_inner) = (policy, listed);
        *super::lock(&self.0.spent) = Spent::default();
    }

    /// Name and value of the setting for a policy.
    pub(crate) fn setting(policy: &Policy) -> (&'static str, Vec<u8>) {
        (POLICY, serde_json::to_vec(policy).unwrap_or_default())
    }

    /// The setting that remembers that the node was told to connect to a peer.
    pub(crate) fn known_setting(peer: &PeerId) -> String {
        format!("{KNOWN}{peer}")
    }

    /// The setting of a ban.
    pub(crate) fn ban_setting(peer: &PeerId) -> String {
        format!("{BAN}{peer}")
    }

    /// Every ban in the store, with its reason.
    pub(crate) fn bans(store: &EventStore) -> Result<Vec<(PeerId, String)>, StoreError> {
        let ban = |(name, reason): (String, Vec<u8>)| {
            Some((name[BAN.len()..].parse().ok()?, String::from_utf8_lossy(&reason).into_owned()))
        };
        Ok(store.settings(BAN)?.into_iter().filter_map(ban).collect())
    }

    /// The node was told to connect to this peer.
    pub(crate) fn note_known(&self, peer: PeerId) {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).insert(peer);
    }

    /// Whether this server may exchange events with the peer.
    pub(crate) fn may_federate(&self, peer: &PeerId) -> bool {
        self.allows(peer, |policy| policy.federate)
    }

    /// Whether the peer may invite users of this server.
    pub(crate) fn may_invite(&self, peer: &PeerId) -> bool {
        self.allows(peer, |policy| policy.invite)
    }

    /// Whether users of the peer may begin direct rooms with users of this server.
    pub(crate) fn may_open_direct(&self, peer: &PeerId) -> bool {
        self.allows(peer, |policy| policy.direct)
    }

    fn allows(&self, peer: &PeerId, about: impl Fn(&Policy) -> Audience) -> bool {
        let policy = self.0.policy.read().unwrap_or_else(PoisonError::into_inner);
        match about(&policy.0) {
            Audience::Open => true,
            Audience::Listed => policy.1.contains(peer),
            Audience::Known => {
                policy.1.contains(peer) || self.0.known.read().unwrap_or_else(PoisonError::into_inner).contains(peer)
            }
        }
    }

    /// Whether the peer may make one more request now.
    pub(crate) fn may_request(&self, peer: &PeerId, now: Instant) -> bool {
        let limit = self.0.policy.read().unwrap_or_else(PoisonError::into_inner).0.requests_per_minute;
        take(&mut super::lock(&self.0.spent).requests, peer, limit, now)
    }

    /// Whether the peer may bring one more event by gossip now.
    pub(crate) fn may_bring_event(&self, peer: &PeerId, now: Instant) -> bool {
        let limit = self.0.policy.read().unwrap_or_else(PoisonError::into_inner).0.events_per_minute;
        take(&mut super::lock(&self.0.spent).events, peer, limit, now)
    }
}

fn listed(policy: &Policy) -> BTreeSet<PeerId> {
    policy.listed.iter().filter_map(|id| id.parse().ok()).collect()
}

fn take(quotas: &mut BTreeMap<PeerId, Quota>, peer: &PeerId, per_minute: u64, now: Instant) -> bool {
    if per_minute == 0 {
        return true;
    }
    if quotas.len() >= MAX_COUNTED && !quotas.contains_key(peer) {
        quotas.clear();
    }
    let limit = per_minute as f64;
    quotas.entry(*peer).or_insert_with(|| Quota::new(limit / 60.0, limit, now)).take(now)
}
