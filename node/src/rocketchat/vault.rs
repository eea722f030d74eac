//! The connector's secrets on disk, in files that only their owner may read.
//!
//! `rocketchat.json` holds the server's address and the service account; `rocketchat-shadows.json` the tokens of the accounts
//! that stand for people elsewhere; `rocketchat-webhooks.json` the addresses of incoming webhooks. A file that others may read is not read: by then its tokens may be known, and going on as
//! if nothing were would hide that.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::Account;

const CONNECTION_FILE: &str = "rocketchat.json";
const SHADOWS_FILE: &str = "rocketchat-shadows.json";
const WEBHOOKS_FILE: &str = "rocketchat-webhooks.json";
/// The most shadows whose tokens are kept: a mesh with more people in shared rooms needs another store than one file.
pub(crate) const MAX_SHADOWS: usize = 50_000;
/// The most rooms with a webhook: more than anybody makes by hand.
const MAX_WEBHOOKS: usize = 10_000;
/// The largest file that is read: that many tokens, with room to spare.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Why secrets cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// Others may read the file.
    #[error(
        "{path} can be read by others (mode {mode:03o}), so its tokens may be known: revoke them in Rocket.Chat, or if you are sure, `chmod 600` it and start again"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not of the form in which it was written.
    #[error("{path} is damaged ({reason}); remove it and run `rocketmesh rocketchat connect` again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no place for more.
    #[error("{path} holds {most} secrets already, the most that are kept")]
    Full {
        /// The file.
        path: PathBuf,
        /// How many.
        most: usize,
    },
    /// The file cannot be read or written.
    #[error("{path} cannot be read or written: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// Which server, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// The server's address.
    pub(crate) url: String,
    /// The service account's username, for people to read.
    pub(crate) username: String,
    /// The service account.
    #[serde(flatten)]
    pub(crate) account: Account,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Shadows {
    /// The server whose accounts these are.
    url: String,
    /// Tokens by the account's id.
    tokens: BTreeMap<String, String>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Webhooks {
    /// The server whose webhooks these are.
    url: String,
    /// Addresses by the room's id in Rocket.Chat.
    addresses: BTreeMap<String, String>,
}

/// The secrets.
pub(crate) struct Vault {
    directory: PathBuf,
    shadows: Mutex<Shadows>,
    webhooks: Mutex<Webhooks>,
}

impl Vault {
    /// Opens the secrets of a data directory.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) fn open(directory: &Path) -> Result<Self, VaultError> {
        let shadows = read(&directory.join(SHADOWS_FILE))?.unwrap_or_default();
        let webhooks = read(&directory.join(WEBHOOKS_FILE))?.unwrap_or_default();
        Ok(Vault { directory: directory.to_owned(), shadows: Mutex::new(shadows), webhooks: Mutex::new(webhooks) })
    }

    fn held(&self) -> MutexGuard<'_, Shadows> {
        self.shadows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which server is connected; `None` if none is.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) fn connection(&self) -> Result<Option<Connection>, VaultError> {
        read(&self.directory.join(CONNECTION_FILE))
    }

    fn held_webhooks(&self) -> MutexGuard<'_, Webhooks> {
        self.webhooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps which server is connected. The shadows and the webhooks of another one are forgotten. When this returns it is on disk.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) fn set_connection(&self, connection: &Connection) -> Result<(), VaultError> {
        {
            let mut shadows = self.held();
            if shadows.url != connection.url {
                let fresh = Shadows { url: connection.url.clone(), tokens: BTreeMap::new() };
                write(&self.directory.join(SHADOWS_FILE), &fresh)?;
                *shadows = fresh;
            }
            let mut webhooks = self.held_webhooks();
            if webhooks.url != connection.url {
                let fresh = Webhooks { url: connection.url.clone(), addresses: BTreeMap::new() };
                write(&self.directory.join(WEBHOOKS_FILE), &fresh)?;
                *webhooks = fresh;
            }
        }
        write(&self.directory.join(CONNECTION_FILE), connection)
    }

    /// Forgets which server was connected. The shadows' tokens stay, for when it is connected again.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) fn forget_connection(&self) -> Result<(), VaultError> {
        let path = self.directory.join(CONNECTION_FILE);
        match fs::remove_file(&path) {
            Ok(()) => sync_directory(&self.directory).map_err(|source| VaultError::Io { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(VaultError::Io { path, source }),
        }
    }

    /// A shadow as whom calls can be made, if its token is kept.
    pub(crate) fn shadow(&self, user_id: &str) -> Option<Account> {
        let token = self.held().tokens.get(user_id).cloned()?;
        Some(Account { user_id: user_id.to_owned(), token })
    }

    /// How many shadows there are.
    pub(crate) fn shadows(&self) -> usize {
        self.held().tokens.len()
    }

    /// Keeps a shadow's token. When this returns it is on disk, which takes as long as the disk takes.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) fn put_shadow(&self, account: &Account) -> Result<(), VaultError> {
        let path = self.directory.join(SHADOWS_FILE);
        let mut shadows = self.held();
        if shadows.tokens.len() >= MAX_SHADOWS && !shadows.tokens.contains_key(&account.user_id) {
            return Err(VaultError::Full { path, most: MAX_SHADOWS });
        }
        let former = shadows.tokens.insert(account.user_id.clone(), account.token.clone());
        write(&path, &*shadows).inspect_err(|_| match former {
            // What is not on disk is not kept.
            Some(former) => drop(shadows.tokens.insert(account.user_id.clone(), former)),
            None => drop(shadows.tokens.remove(&account.user_id)),
        })
    }

    /// The address of a room's incoming webhook, if one is kept.
    pub(crate) fn webhook(&self, rid: &str) -> Option<String> {
        self.held_webhooks().addresses.get(rid).cloned()
    }

    /// Keeps the address of a room's incoming webhook; none to forget it. When this returns it is on disk.
    ///
    /// # Errors
    /// [`VaultError`]; then it is as it was.
    pub(crate) fn set_webhook(&self, rid: &str, address: Option<&str>) -> Result<(), VaultError> {
        let path = self.directory.join(WEBHOOKS_FILE);
        let mut webhooks = self.held_webhooks();
        let mut fresh = webhooks.clone();
        match address {
            Some(address) => drop(fresh.addresses.insert(rid.to_owned(), address.to_owned())),
            None => drop(fresh.addresses.remove(rid)),
        }
        if fresh.addresses.len() > MAX_WEBHOOKS {
            return Err(VaultError::Full { path, most: MAX_WEBHOOKS });
        }
        write(&path, &fresh)?;
        *webhooks = fresh;
        Ok(())
    }

    /// Forgets a shadow's token, which is not accepted any more.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) fn remove_shadow(&self, user_id: &str) -> Result<(), VaultError> {
        let mut shadows = self.held();
        match shadows.tokens.remove(user_id) {
            Some(_) => write(&self.directory.join(SHADOWS_FILE), &*shadows),
            None => Ok(()),
        }
    }
}

/// Reads a file that only its owner may read; `None` if there is none.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, VaultError> {
    let failed = |source| VaultError::Io { path: path.to_owned(), source };
    let damaged = |reason: String| VaultError::Damaged { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Open { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(damaged("it is too large".to_owned()));
    }
    // The place in the text, but none of the text: it is secret.
    let place = |error: serde_json::Error| damaged(format!("line {}, column {}", error.line(), error.column()));
    serde_json::from_slice(&text).map(Some).map_err(place)
}

/// Writes a file that only its owner may read: whole or not at all.
fn write<T: Serialize>(path: &Path, contents: &T) -> Result<(), VaultError> {
    let failed = |source| VaultError::Io { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(contents).map_err(|error| failed(io::Error::other(error)))?;
    text.push(b'\n');
    let fresh = path.with_extension("json.new");
    let replace = || {
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), sync_directory)
    };
    replace().map_err(failed)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{Account, CONNECTION_FILE, Connection, SHADOWS_FILE, Vault, VaultError, WEBHOOKS_FILE};

    fn account(user_id: &str) -> Account {
        Account { user_id: user_id.to_owned(), token: format!("token of {user_id}") }
    }

    fn connection(url: &str) -> Connection {
        Connection { url: url.to_owned(), username: "bridge".to_owned(), account: account("service") }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    #[test]
    fn secrets_come_back_and_only_their_owner_may_read_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let vault = Vault::open(directory.path()).expect("an empty vault");
        assert_eq!(vault.connection().expect("no file"), None);
        vault.set_connection(&connection("https://a/")).expect("written");
        vault.put_shadow(&account("s1")).expect("written");
        for file in [CONNECTION_FILE, SHADOWS_FILE] {
            assert_eq!(mode(&directory.path().join(file)), 0o600, "{file}");
        }
        let again = Vault::open(directory.path()).expect("a vault");
        assert_eq!(again.connection().expect("a file"), Some(connection("https://a/")));
        assert_eq!(again.shadow("s1"), Some(account("s1")));
        again.remove_shadow("s1").expect("written");
        again.forget_connection().expect("removed");
        let third = Vault::open(directory.path()).expect("a vault");
        assert_eq!((third.shadows(), third.connection().expect("no file")), (0, None));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let vault = Vault::open(directory.path()).expect("an empty vault");
        vault.set_connection(&connection("https://a/")).expect("written");
        for mode in [0o640, 0o604, 0o666] {
            let path = directory.path().join(CONNECTION_FILE);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("own file");
            let error = vault.connection().expect_err("it is open");
            assert!(matches!(error, VaultError::Open { .. }), "{error}");
            assert!(!error.to_string().contains("token of"), "{error}");
        }
    }

    #[test]
    fn a_file_that_was_open_is_closed_when_it_is_written_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let vault = Vault::open(directory.path()).expect("an empty vault");
        vault.set_connection(&connection("https://a/")).expect("written");
        let path = directory.path().join(CONNECTION_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("own file");
        vault.set_connection(&connection("https://a/")).expect("written");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_damaged_file_is_named_and_its_text_is_not_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(CONNECTION_FILE);
        fs::write(&path, "{\"url\": \"https://a/\", \"token\": secret").expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
        let vault = Vault::open(directory.path()).expect("an empty vault");
        let error = vault.connection().expect_err("it is damaged").to_string();
        assert!(error.contains(CONNECTION_FILE) && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_webhook_is_kept_as_secret_as_a_token_and_forgotten_with_its_server() {
        let directory = tempfile::tempdir().expect("a directory");
        let vault = Vault::open(directory.path()).expect("an empty vault");
        vault.set_connection(&connection("https://a/")).expect("written");
        vault.set_webhook("r1", Some("https://a/hooks/1/2")).expect("written");
        assert_eq!(mode(&directory.path().join(WEBHOOKS_FILE)), 0o600);
        let again = Vault::open(directory.path()).expect("a vault");
        assert_eq!(again.webhook("r1").as_deref(), Some("https://a/hooks/1/2"));
        again.set_webhook("r1", None).expect("written");
        assert_eq!(again.webhook("r1"), None);
        again.set_webhook("r2", Some("https://a/hooks/3/4")).expect("written");
        again.set_connection(&connection("https://b/")).expect("written");
        assert_eq!(again.webhook("r2"), None);
    }

    #[test]
    fn shadows_of_another_server_are_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let vault = Vault::open(directory.path()).expect("an empty vault");
        vault.set_connection(&connection("https://a/")).expect("written");
        vault.put_shadow(&account("s1")).expect("written");
        vault.set_connection(&connection("https://a/")).expect("written");
        assert_eq!(vault.shadows(), 1);
        vault.set_connection(&connection("https://b/")).expect("written");
        assert_eq!(vault.shadows(), 0);
    }
}
