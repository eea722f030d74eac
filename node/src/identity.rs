//! The server's key on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rocketmesh_protocol::identity::ServerKey;

use crate::clock::Entropy;

const KEY_FILE: &str = "identity.key";
const MAGIC: &str = "rocketmesh key 1";

/// Why the key cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file is there and holds no sound key.
    #[error(
        "{path} is damaged ({problem}); restore it from a backup. Without it this server has another identity: only if you accept that, move the file away and start again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
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

/// The key file in a data directory.
pub fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join(KEY_FILE)
}

/// Reads the server's key, or makes it on the first start.
///
/// # Errors
/// [`IdentityError`].
pub fn load_or_create(data_dir: &Path, entropy: &dyn Entropy) -> Result<ServerKey, IdentityError> {
    match load(data_dir)? {
        Some(key) => Ok(key),
        None => {
            let mut seed = [0; 32];
            entropy.fill(&mut seed);
            let key = ServerKey::from_seed(&seed);
            save(data_dir, &key)?;
            Ok(key)
        }
    }
}

/// Reads the server's key, if there is one.
///
/// # Errors
/// [`IdentityError`].
pub fn load(data_dir: &Path) -> Result<Option<ServerKey>, IdentityError> {
    let path = key_file(data_dir);
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    let damaged = |problem| IdentityError::Damaged { path: path.clone(), problem };
    let mut lines = text.lines();
    if lines.next() != Some(MAGIC) {
        return Err(damaged("its first line is not that of a key file"));
    }
    let seed = lines.next().and_then(|line| line.strip_prefix("seed "));
    let seed: Option<[u8; 32]> = seed.and_then(|hex| hex::decode(hex).ok()).and_then(|seed| seed.try_into().ok());
    let key = ServerKey::from_seed(&seed.ok_or_else(|| damaged("its seed is not 64 hexadecimal digits"))?);
    // The id beside the seed shows a changed digit, which would otherwise be a different server without a word.
    let id = lines.next().and_then(|line| line.strip_prefix("id "));
    if id != Some(key.origin().to_string().as_str()) {
        return Err(damaged("its seed and its id do not belong together"));
    }
    let open = fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o077 != 0).unwrap_or(false);
    if open {
        tracing::warn!(path = %path.display(), "the key file can be read by others; change its mode to 0600");
    }
    Ok(Some(key))
}

/// Writes a key file, which must not exist yet.
///
/// # Errors
/// [`IdentityError::Io`].
pub fn save(data_dir: &Path, key: &ServerKey) -> Result<(), IdentityError> {
    let path = key_file(data_dir);
    let text = format!("{MAGIC}\nseed {}\nid {}\n", hex::encode(key.seed()), key.origin());
    write_secret(&path, text.as_bytes()).map_err(|source| IdentityError::Io { path, source })
}

/// Writes a file that only its owner may read: whole or not at all, and never over an existing one.
pub(crate) fn write_secret(path: &Path, contents: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::hard_link(&fresh, path)?;
    fs::remove_file(&fresh)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
