//! Random ids and tokens, and the hashes that are kept of secrets.

use sha2::{Digest, Sha256};

/// The characters of Meteor's ids: none that look alike.
const UNMISTAKABLE: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
/// Characters of an id of a message, room or user.
const ID: usize = 17;
/// Characters of a login token.
const TOKEN: usize = 43;

/// An id as Meteor makes them: seventeen random characters.
pub(crate) fn id() -> String {
    random(ID)
}

/// A login token.
pub(crate) fn token() -> String {
    random(TOKEN)
}

/// The SHA-256 of a text or a file, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn random(length: usize) -> String {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    // Slightly uneven, which does no harm to ids for tests.
    bytes.iter().map(|byte| char::from(UNMISTAKABLE[usize::from(*byte) % UNMISTAKABLE.len()])).collect()
}
