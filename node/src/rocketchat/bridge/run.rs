//! The bridge of the server that is connected, for as long as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::health::kind_of;
use super::{Bridge, BridgeParts, Host, Stall, queue, restored};
use crate::engine::Engine;
use crate::rocketchat::check::{OLDEST, unsupported};
use crate::rocketchat::client::{Account, Client, Release, RestError};
use crate::rocketchat::connector::{Connector, Link};
use crate::rocketchat::realtime::{Realtime, RealtimeTuning};
use crate::rocketchat::status::{Board, BridgedRoom, ConnectorState, Counted, Notices, ProblemKind, QueueView};
use crate::rocketchat::vault::Vault;

/// How long after a server did not answer it is asked again.
const AGAIN: Duration = Duration::from_secs(10);
/// What a room can suffer from, and gets over.
const PASSING: [ProblemKind; 8] = [
    ProblemKind::RateLimited,
    ProblemKind::TokenRefused,
    ProblemKind::PermissionMissing,
    ProblemKind::RestrictedWorkspace,
    ProblemKind::RoomGone,
    ProblemKind::Unreachable,
    ProblemKind::QueueFull,
    ProblemKind::Undeliverable,
];
/// What the connection for what happens can suffer from, and gets over.
const OF_HEARING: [ProblemKind; 3] = [ProblemKind::Unreachable, ProblemKind::TokenRefused, ProblemKind::RateLimited];

/// The bridge as it is now; none while no server is connected or reached.
pub(crate) type Current = watch::Receiver<Option<Bridge>>;

/// Runs a bridge for whatever server the connector is connected to.
pub(crate) fn spawn(engine: &Engine, connector: &Connector) -> Current {
    let (sender, current) = watch::channel(None);
    let (own, connector) = (engine.clone(), connector.clone());
    engine.background(async move { follow(own, connector, sender).await });
    current
}

async fn follow(engine: Engine, connector: Connector, current: watch::Sender<Option<Bridge>>) {
    let mut links = connector.subscribe();
    loop {
        let link = links.borrow_and_update().clone();
        if let Some(former) = current.send_replace(None) {
            former.stop();
        }
        let begun = match &link {
            None => true,
            Some(link) => {
                let (vault, board) = (Arc::clone(&link.vault), connector.board().clone());
                let desk = Arc::new(Desk::new(vault, board));
                let begun = tokio::select! {
                    begun = begin(&engine, link, Arc::clone(&desk)) => begun,
                    // Another server, or none: the beginning is for nothing.
                    changed = links.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                };
                match begun {
                    Ok(bridge) => {
                        if matches!(links.has_changed(), Ok(false)) {
                            desk.calm_all();
                        }
                        current.send_replace(Some(bridge));
                        true
                    }
                    Err(error) => {
                        if let Stall::Rest(error) = &error {
                            desk.trouble(None, error);
                        }
                        queue::tell_unbridged(&engine, &*desk);
                        tracing::warn!(%error, "Rocket.Chat is not bridged yet");
                        false
                    }
                }
            }
        };
        tokio::select! {
            changed = links.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN), if !begun => {}
        }
    }
}

async fn begin(engine: &Engine, link: &Link, host: Arc<Desk>) -> Result<Bridge, Stall> {
    let account = &link.connection.account;
    let client = Client::open(&link.connection.url).map_err(|error| Stall::Words(error.to_string()))?;
    let client = client.as_account(account);
    let release = client.info().await?;
    host.release(release);
    if let Some(reason) = unsupported(release).filter(|_| release < OLDEST) {
        return Err(Stall::Words(reason));
    }
    let service = client.me().await?;
    // People's links begin with it. Whoever may not read it has the address of the connection.
    let site_url = client.site_url().await.unwrap_or_default();
    let restored_ms = restored::find_places(engine).await?;
    let realtime = Realtime::connect(client.address(), account, RealtimeTuning::default());
    let parts = BridgeParts { engine: engine.clone(), client, service, release, site_url, realtime, host, restored_ms };
    Ok(Bridge::start(parts)?)
}

/// The connector's secrets and its board.
struct Desk {
    vault: Arc<Vault>,
    board: Board,
    /// Whether what happens is heard.
    hears: AtomicBool,
    /// Whether the server is older than what is known to work: then nothing is bridged.
    too_old: AtomicBool,
}

impl Desk {
    fn new(vault: Arc<Vault>, board: Board) -> Self {
        Desk { vault, board, hears: AtomicBool::new(false), too_old: AtomicBool::new(false) }
    }

    fn calm_all(&self) {
        for kind in PASSING {
            self.board.clear(kind, None);
        }
        self.tell_state();
    }

    fn tell_state(&self) {
        let blocked = [ProblemKind::TokenRefused, ProblemKind::RestrictedWorkspace];
        let too_old = self.too_old.load(Ordering::SeqCst);
        self.board.set_state(if too_old || blocked.into_iter().any(|kind| self.board.has(kind)) {
            ConnectorState::Blocked
        } else if self.hears.load(Ordering::SeqCst) && !self.board.has(ProblemKind::Unreachable) {
            ConnectorState::Live
        } else {
            ConnectorState::Connecting
        });
    }
}

impl Host for Desk {
    fn token(&self, user_id: &str) -> Option<String> {
        self.vault.shadow(user_id).map(|account| account.token)
    }

    fn keep_token(&self, user_id: &str, token: Option<&str>) -> Result<(), String> {
        let kept = match token {
            Some(token) => self.vault.put_shadow(&Account { user_id: user_id.to_owned(), token: token.to_owned() }),
            None => self.vault.remove_shadow(user_id),
        };
        self.board.set_shadows(self.vault.shadows() as u64);
        kept.map_err(|error| error.to_string())
    }

    fn release(&self, release: Release) {
        self.board.set_release(release.to_string());
        self.too_old.store(release < OLDEST, Ordering::SeqCst);
        match unsupported(release) {
            Some(reason) => self.raise(ProblemKind::UnsupportedVersion, None, &reason),
            None => self.clear(ProblemKind::UnsupportedVersion, None),
        }
    }

    fn trouble(&self, rid: Option<&str>, error: &RestError) {
        self.raise(kind_of(error), rid, &error.to_string());
    }

    fn raise(&self, kind: ProblemKind, subject: Option<&str>, words: &str) {
        self.board.raise(kind, subject, words);
        self.tell_state();
    }

    fn clear(&self, kind: ProblemKind, subject: Option<&str>) {
        self.board.clear(kind, subject);
        self.tell_state();
    }

    fn calm(&self, rid: &str, but: Option<ProblemKind>) {
        for kind in PASSING.into_iter().filter(|kind| Some(*kind) != but) {
            self.board.clear(kind, Some(rid));
        }
        self.tell_state();
    }

    fn hears(&self, hears: bool) {
        self.hears.store(hears, Ordering::SeqCst);
        for kind in OF_HEARING.into_iter().filter(|_| hears) {
            self.board.clear(kind, None);
        }
        self.tell_state();
    }

    fn count(&self, what: Counted) {
        self.board.counters().count(what);
    }

    fn webhook(&self, rid: &str) -> Option<String> {
        self.vault.webhook(rid)
    }

    fn keep_webhook(&self, rid: &str, address: Option<&str>) -> Result<(), String> {
        self.vault.set_webhook(rid, address).map_err(|error| error.to_string())
    }

    fn room(&self, room: BridgedRoom) {
        self.board.set_room(room);
    }

    fn forget_room(&self, rid: &str) {
        self.calm(rid, None);
        self.board.forget_room(rid);
    }

    fn queue(&self, queue: QueueView, notices: &Notices) {
        self.board.notice(notices);
        self.board.set_queue(queue);
        self.tell_state();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_is_not_supported_is_named_until_another_one_runs() {
        let directory = tempfile::tempdir().unwrap();
        let desk = Desk::new(Arc::new(Vault::open(directory.path()).unwrap()), Board::default());
        desk.hears(true);
        for (major, minor, named, state) in [
            (6, 13, true, ConnectorState::Blocked),
            (7, 0, false, ConnectorState::Live),
            (9, 0, true, ConnectorState::Live),
            (8, 8, false, ConnectorState::Live),
        ] {
            desk.release(Release { major, minor });
            let told = desk.board.status();
            assert_eq!((told.version, told.state), (Some(format!("{major}.{minor}")), state));
            assert_eq!(desk.board.has(ProblemKind::UnsupportedVersion), named, "{major}.{minor}");
        }
    }
}
