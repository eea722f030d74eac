//! The key of a private mesh: without it no node gets as far as a handshake.
//!
//! The file has the form that other libp2p programs use: three lines, `/key/swarm/psk/1.0.0/`, `/base16/`, and 64 hexadecimal
//! digits. libp2p mixes the key into TCP connections only, so that a private mesh runs over TCP.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libp2p::pnet::PreSharedKey;

use crate::clock::Entropy;
use crate::identity::write_secret;

const KIND: &str = "/key/swarm/psk/1.0.0/";
const ENCODING: &str = "/base16/";
/// The most that is read of a key file. The form has 96 bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// The key of a private mesh. Shows its fingerprint, never itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateKey(PreSharedKey);

/// Why the key of a private mesh cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateKeyError {
    /// The file cannot be read or written.
    #[error("{path} cannot be read or written: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// There is a file already, and a key that is overwritten is lost to everybody who has it.
    #[error("{0} exists already; choose another name, or move it away if nobody needs that mesh any more")]
    Exists(PathBuf),
    /// The file is there and holds no key.
    #[error(
        "{path} holds no key of a private mesh ({problem}); expected the three lines {KIND}, {ENCODING} and 64 hexadecimal digits, as `rocketmesh net new-key` writes them"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl PrivateKey {
    /// What may be shown of the key: two meshes with the same fingerprint have the same key.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint().to_string()
    }

    pub(super) fn shared(&self) -> PreSharedKey {
        self.0
    }
}

/// Reads a key file. Warns in the log if others may read it too.
///
/// # Errors
/// [`PrivateKeyError`].
pub fn read(path: &Path) -> Result<PrivateKey, PrivateKeyError> {
    let failed = |source| PrivateKeyError::Io { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(PrivateKeyError::Malformed { path: path.to_owned(), problem: "it is too long" });
    }
    let text = fs::read(path).map_err(failed)?;
    let key = parse(&String::from_utf8_lossy(&text))
        .map_err(|problem| PrivateKeyError::Malformed { path: path.to_owned(), problem })?;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the private mesh's key can be read by others; change its mode to 0600");
    }
    Ok(key)
}

/// Makes a key and writes it to a file that only its owner may read and that did not exist before.
///
/// # Errors
/// [`PrivateKeyError`].
pub fn create(path: &Path, entropy: &dyn Entropy) -> Result<PrivateKey, PrivateKeyError> {
    // What is written is made durable in its directory, which a bare name does not have.
    let absolute = std::path::absolute(path).map_err(|source| PrivateKeyError::Io { path: path.to_owned(), source })?;
    let path = absolute.as_path();
    if path.exists() {
        return Err(PrivateKeyError::Exists(path.to_owned()));
    }
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    let text = format!("{KIND}\n{ENCODING}\n{}\n", hex::encode(bytes));
    write_secret(path, text.as_bytes()).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => PrivateKeyError::Exists(path.to_owned()),
        _ => PrivateKeyError::Io { path: path.to_owned(), source },
    })?;
    Ok(PrivateKey(PreSharedKey::new(bytes)))
}

fn parse(text: &str) -> Result<PrivateKey, &'static str> {
    let mut lines = text.lines();
    if lines.next() != Some(KIND) {
        return Err("its first line is another one");
    }
    if lines.next() != Some(ENCODING) {
        return Err("its second line is another one");
    }
    let digits = lines.next().unwrap_or_default().trim_end();
    let bytes = hex::decode(digits).map_err(|_| "its third line has something else than hexadecimal digits")?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| "its third line does not have 64 digits")?;
    Ok(PrivateKey(PreSharedKey::new(bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn a_key_that_was_made_reads_back_and_only_its_owner_may_read_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("mesh.key");
        let key = create(&path, &SystemEntropy).unwrap();
        assert_eq!(read(&path).unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path, &SystemEntropy), Err(PrivateKeyError::Exists(_))));
        let hexadecimal = fs::read_to_string(&path).unwrap().lines().nth(2).unwrap().to_owned();
        assert!(!format!("{key:?}").contains(&hexadecimal), "what is logged is not the key");
    }

    #[test]
    fn the_fingerprint_is_the_one_that_other_libp2p_programs_show() {
        let text = format!("{KIND}\n{ENCODING}\n6189c5cf0b87fb800c1a9feeda73c6ab5e998db48fb9e6a978575c770ceef683\n");
        assert_eq!(parse(&text).unwrap().fingerprint(), "45fc986bbc9388a11d939df26f730f0c");
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_is_wrong() {
        let short = format!("{KIND}\n{ENCODING}\n{}\n", "ab".repeat(31));
        let signs = format!("{KIND}\n{ENCODING}\n{}\n", "+a".repeat(32));
        let letters = format!("{KIND}\n{ENCODING}\n{}\n", "ü".repeat(32));
        let base64 = format!("{KIND}\n/base64/\n{}\n", "ab".repeat(32));
        for text in ["", "\n\n\n", &short, &signs, &letters, &base64] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
