//! Which Rocket.Chat server is connected: kept on disk, changed by the API while the node runs, followed by the bridge.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::check::{self, CheckReport};
use super::client::{AddressError, Client};
use super::status::{Board, ConnectorState, ProblemKind, RocketChatStatus};
use super::vault::{Connection, Vault, VaultError};

/// What the bridge works with.
pub(crate) struct Link {
    /// The server and the service account.
    pub(crate) connection: Connection,
    /// Where shadows' tokens are kept.
    pub(crate) vault: Arc<Vault>,
}

/// Why a server is not connected, or not looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The secrets.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The token cannot be sent.
    #[error("the token is empty or holds characters that no token has; copy it again from Rocket.Chat")]
    Token,
    /// There is nothing to look at.
    #[error("no Rocket.Chat server is connected; `rocketmesh rocketchat connect URL` connects one")]
    Unconfigured,
    /// Another request is at it.
    #[error("a connection is being made or checked already; try again in a moment")]
    Busy,
}

struct Held {
    directory: PathBuf,
    vault: Mutex<Option<Arc<Vault>>>,
    board: Board,
    current: watch::Sender<Option<Arc<Link>>>,
    /// One check at a time: each makes some calls at a server that counts them.
    turn: Semaphore,
}

/// The connection that is configured. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    held: Arc<Held>,
}

impl Connector {
    /// Reads what is configured in a data directory. What cannot be read is told as a problem: the mesh goes on without
    /// Rocket.Chat.
    pub(crate) fn open(directory: &Path, board: Board) -> Self {
        let (current, _) = watch::channel(None);
        let connector = Connector {
            held: Arc::new(Held {
                directory: directory.to_owned(),
                vault: Mutex::new(None),
                board,
                current,
                turn: Semaphore::new(1),
            }),
        };
        match connector.vault().and_then(|vault| Ok(vault.connection()?.map(|connection| Link { connection, vault }))) {
            Ok(Some(link)) => connector.follow(link, None),
            Ok(None) => {}
            Err(error) => {
                connector.held.board.raise(ProblemKind::SecretsUnreadable, None, error.to_string());
                connector.held.board.set_state(ConnectorState::Blocked);
            }
        }
        connector
    }

    /// What is connected, as it changes. The bridge works while there is something, and starts anew with every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Link>>> {
        self.held.current.subscribe()
    }

    /// Where the connector says how it does.
    pub(crate) fn board(&self) -> &Board {
        &self.held.board
    }

    /// How it does.
    pub(crate) fn status(&self) -> RocketChatStatus {
        self.held.board.status()
    }

    /// Looks whether everything is as it must be, and if so connects. The report says whether it did.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn connect(
        &self,
        url: &str,
        token: &str,
        user_id: Option<&str>,
    ) -> Result<CheckReport, ConnectError> {
        let _turn = self.held.turn.try_acquire().map_err(|_| ConnectError::Busy)?;
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConnectError::Token);
        }
        let client = Client::open(url)?;
        let (report, findings) = check::check(&client, token, user_id).await;
        let (Some(account), true) = (findings.account, report.passed) else { return Ok(report) };
        let username = findings.username.unwrap_or_default();
        let connection = Connection { url: client.address().to_string(), username, account };
        let vault = self.vault()?;
        vault.set_connection(&connection)?;
        self.follow(Link { connection, vault }, findings.release.map(|release| release.to_string()));
        Ok(report)
    }

    /// Looks whether everything is as it must be at the server that is connected.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn check(&self) -> Result<CheckReport, ConnectError> {
        let _turn = self.held.turn.try_acquire().map_err(|_| ConnectError::Busy)?;
        let link = self.held.current.borrow().clone().ok_or(ConnectError::Unconfigured)?;
        let account = &link.connection.account;
        let client = Client::open(&link.connection.url)?;
        let (report, _) = check::check(&client, &account.token, Some(&account.user_id)).await;
        Ok(report)
    }

    /// Has nothing more to do with the server, and forgets the service account's token.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn disconnect(&self) -> Result<(), ConnectError> {
        let _turn = self.held.turn.acquire().await.map_err(|_| ConnectError::Busy)?;
        self.vault()?.forget_connection()?;
        self.held.current.send_replace(None);
        self.held.board.reset();
        Ok(())
    }

    fn follow(&self, link: Link, release: Option<String>) {
        let board = &self.held.board;
        board.reset();
        board.set_server(Some(link.connection.url.clone()), release, Some(link.connection.username.clone()));
        board.set_shadows(link.vault.shadows() as u64);
        board.set_state(ConnectorState::Connecting);
        self.held.current.send_replace(Some(Arc::new(link)));
    }

    /// The secrets, read when they are first needed: an administrator may have mended the files meanwhile.
    fn vault(&self) -> Result<Arc<Vault>, VaultError> {
        let mut held = self.held.vault.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vault) = &*held {
            return Ok(Arc::clone(vault));
        }
        let vault = Arc::new(Vault::open(&self.held.directory)?);
        *held = Some(Arc::clone(&vault));
        Ok(vault)
    }
}
