//! The bridge of the server that is connected, for as long as it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Bridge, BridgeParts, Host, Stall};
use crate::engine::Engine;
use crate::rocketchat::client::{Account, Client, RestError};
use crate::rocketchat::connector::{Connector, Link};
use crate::rocketchat::realtime::{Realtime, RealtimeTuning};
use crate::rocketchat::status::{Board, BridgedRoom, ConnectorState, ProblemKind, QueueView};
use crate::rocketchat::vault::Vault;

/// How long after a server did not answer it is asked again.
const AGAIN: Duration = Duration::from_secs(10);
/// What a room can suffer from, and gets over.
const PASSING: [ProblemKind; 6] = [
    ProblemKind::RateLimited,
    ProblemKind::TokenRefused,
    ProblemKind::PermissionMissing,
    ProblemKind::RestrictedWorkspace,
    ProblemKind::RoomGone,
    ProblemKind::Unreachable,
];

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
                let desk = Arc::new(Desk { vault: Arc::clone(&link.vault), board: connector.board().clone() });
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
    let service = client.me().await?;
    // People's links begin with it. Whoever may not read it has the address of the connection.
    let site_url = client.site_url().await.unwrap_or_default();
    let realtime = Realtime::connect(client.address(), account, RealtimeTuning::default());
    let parts = BridgeParts { engine: engine.clone(), client, service, release, site_url, realtime, host };
    Ok(Bridge::start(parts)?)
}

/// The connector's secrets and its board.
struct Desk {
    vault: Arc<Vault>,
    board: Board,
}

impl Desk {
    fn calm_all(&self) {
        for kind in PASSING {
            self.board.clear(kind, None);
        }
        self.board.set_state(ConnectorState::Live);
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

    fn trouble(&self, rid: Option<&str>, error: &RestError) {
        let kind = match error {
            RestError::RateLimited { .. } => ProblemKind::RateLimited,
            RestError::Unauthorized => ProblemKind::TokenRefused,
            RestError::Restricted => ProblemKind::RestrictedWorkspace,
            RestError::Forbidden { .. } => ProblemKind::PermissionMissing,
            RestError::NotFound { .. } => ProblemKind::RoomGone,
            RestError::Unreachable { .. } | RestError::Unanswered { .. } => ProblemKind::Unreachable,
            _ => ProblemKind::Undeliverable,
        };
        self.board.raise(kind, rid, error.to_string());
        if matches!(kind, ProblemKind::TokenRefused | ProblemKind::RestrictedWorkspace) {
            self.board.set_state(ConnectorState::Blocked);
        }
    }

    fn calm(&self, rid: &str) {
        for kind in PASSING {
            self.board.clear(kind, Some(rid));
        }
        if !self.board.has(ProblemKind::TokenRefused) && !self.board.has(ProblemKind::RestrictedWorkspace) {
            self.board.set_state(ConnectorState::Live);
        }
    }

    fn room(&self, room: BridgedRoom) {
        self.board.set_room(room);
    }

    fn forget_room(&self, rid: &str) {
        self.calm(rid);
        self.board.forget_room(rid);
    }

    fn queue(&self, queue: QueueView) {
        if queue.undeliverable > 0 {
            let latest = queue.latest_undeliverable.first().map(|letter| letter.reason.clone()).unwrap_or_default();
            self.board.raise(ProblemKind::Undeliverable, None, latest);
        }
        self.board.set_queue(queue);
    }
}
