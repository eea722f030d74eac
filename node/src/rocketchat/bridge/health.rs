//! What stands in the way, by its name; and that it does no longer.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::{Bridge, Heard, Stall, lock};
use crate::rocketchat::client::{Client, RestError};
use crate::rocketchat::realtime::ClosedReason;
use crate::rocketchat::status::ProblemKind;

/// How long it may take to hear in which rooms the service account is. Without an answer it is what it was before.
const LOOK: Duration = Duration::from_secs(10);
/// A token that is refused so soon after another one was is no token that went out of use: the account cannot log in.
const FRESH_MS: u64 = 60_000;
/// The most accounts of which it is remembered when their token was refused.
const MOST_REFUSALS: usize = 10_000;

/// The problem that an error is.
pub(super) fn kind_of(error: &RestError) -> ProblemKind {
    match error {
        RestError::RateLimited { .. } => ProblemKind::RateLimited,
        RestError::Unauthorized => ProblemKind::TokenRefused,
        RestError::Restricted => ProblemKind::RestrictedWorkspace,
        RestError::Forbidden { .. } => ProblemKind::PermissionMissing,
        RestError::NotFound { .. } => ProblemKind::RoomGone,
        // What is not understood is no Rocket.Chat: something else stands at its address.
        RestError::Unreachable { .. } | RestError::Unanswered { .. } | RestError::Malformed { .. } => {
            ProblemKind::Unreachable
        }
        RestError::Refused { .. } | RestError::TooLarge { .. } => ProblemKind::Undeliverable,
    }
}

impl Stall {
    /// The problem that it is; none for what passes by itself, or is another part's to tell.
    pub(super) fn kind(&self) -> Option<ProblemKind> {
        match self {
            Stall::Rest(error) => Some(kind_of(error)),
            Stall::Gone => Some(ProblemKind::RoomGone),
            Stall::Full => Some(ProblemKind::QueueFull),
            Stall::Hook(_) => Some(ProblemKind::RestrictedWorkspace),
            Stall::Shadow { .. } => Some(ProblemKind::ShadowTokenRefused),
            Stall::Post(_) | Stall::Store(_) | Stall::Join(_) | Stall::Words(_) | Stall::Token(_) => None,
        }
    }
}

impl Bridge {
    /// Finds out which federated rooms the service account is in no longer: nothing tells what happened while nothing was heard.
    pub(super) async fn look_for_rooms(&self) {
        let Ok(Ok(subscriptions)) = timeout(LOOK, self.client.subscriptions_get(None)).await else { return };
        // A ban keeps the subscription, and says so in it.
        let inside: BTreeSet<String> =
            subscriptions.updated.into_iter().filter(|one| one.status.is_none()).map(|one| one.rid).collect();
        // A direct room of two has the service account never in it: that is no news of it.
        let rooms: Vec<String> = lock(&self.rooms)
            .iter()
            .filter(|(_, handle)| !handle.read_as_another)
            .map(|(rid, _)| rid.clone())
            .collect();
        for rid in rooms {
            self.set_gone(&rid, !inside.contains(&rid));
        }
    }

    /// Notes that a room is gone, or the service account not in it; or that it is again, with everything that was missed.
    pub(super) fn set_gone(&self, rid: &str, gone: bool) {
        let Some(handle) = lock(&self.rooms).get(rid).cloned().filter(|handle| !handle.read_as_another) else { return };
        if handle.gone.swap(gone, Ordering::SeqCst) == gone {
            return;
        }
        if !gone {
            handle.offer(Heard::CatchUp);
        }
        handle.again.notify_one();
    }

    /// The connection for what happens ended.
    pub(super) fn closed(&self, reason: &ClosedReason) {
        tracing::info!(%reason, "nothing is heard from Rocket.Chat for now");
        self.host.hears(false);
        let kind = match reason {
            // Another connection is tried for at once. Until it hears, nothing goes as it should, and that has a name from the first moment.
            ClosedReason::ByServer
            | ClosedReason::Silence
            | ClosedReason::Unreachable(_)
            | ClosedReason::Malformed(_) => ProblemKind::Unreachable,
            ClosedReason::Unauthorized => ProblemKind::TokenRefused,
            ClosedReason::RateLimited => ProblemKind::RateLimited,
            ClosedReason::Overrun => ProblemKind::Overrun,
        };
        self.host.raise(kind, None, &reason.to_string());
    }

    /// Everything that was heard is with its room, and has been for a while.
    pub(super) fn kept_up(&self) {
        self.host.clear(ProblemKind::Overrun, None);
    }

    /// Something may have been mended: what waits is tried again at once.
    pub(crate) fn nudge(&self) {
        lock(&self.barred).clear();
        *lock(&self.unmade) = None;
        for handle in lock(&self.rooms).values() {
            handle.again.notify_one();
        }
    }

    /// What became of a call as somebody. If the token of an account that stands for somebody was refused, it is forgotten, and the
    /// account logs in once again before the call is made again.
    pub(super) fn heed<T>(
        &self,
        client: &Client,
        outcome: Result<T, RestError>,
    ) -> Result<Result<T, RestError>, Stall> {
        let account = client.account().map(|account| account.user_id.clone());
        let shadow = account.filter(|user_id| *user_id != self.service.id);
        match (outcome, shadow) {
            (Err(RestError::Unauthorized), Some(user_id)) => {
                let username = match self.records.account(&user_id)? {
                    Some(account) => account.username,
                    None => user_id.clone(),
                };
                // Another task has heard of it before: the token was forgotten, or replaced by one that may be good.
                if self.host.token(&user_id).as_ref() != client.account().map(|account| &account.token) {
                    return Err(Stall::Token(username));
                }
                self.forget_token(client);
                let now_ms = self.engine.clock.now_ms();
                let mut refusals = lock(&self.refusals);
                if refusals.len() >= MOST_REFUSALS {
                    refusals.clear();
                }
                let before = refusals.insert(user_id, now_ms);
                let fresh = before.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < FRESH_MS);
                Err(if fresh { Stall::Shadow { username } } else { Stall::Token(username) })
            }
            (outcome, _) => Ok(outcome),
        }
    }
}
