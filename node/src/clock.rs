//! Time and entropy, which the node takes from its builder: the system's in the daemon, the seed's in the simulator.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time of day. Delays are tokio's, which a simulator can pause; this is what events carry for people to read.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// Gives random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with random ones, fit for keys and salts.
    fn fill(&self, bytes: &mut [u8]);
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
    }
}

/// The system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without random numbers no key, salt or nonce is safe, and there is nothing sensible left to do.
        getrandom::fill(bytes).expect("the system gives random numbers");
    }
}

/// Sixteen random bytes: a salt or a nonce.
pub(crate) fn random_16(entropy: &dyn Entropy) -> [u8; 16] {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes
}
