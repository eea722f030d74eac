//! How long anti-entropy waits for what.

use std::time::Duration;

/// The pauses of anti-entropy. Whoever drives it varies the first; tests make all of them short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo {
    /// How often all rooms are compared with a peer: about, so that peers do not come all at once.
    pub compare_every: Duration,
    /// How long a peer may leave a question open before another one is asked the same.
    pub stall: Duration,
    /// How long a pull of a whole room may go on before another peer's begins, whatever it brings.
    pub whole: Duration,
    /// How long a peer that is reached over a relay waits for one that is connected directly to bring the same.
    pub detour: Duration,
    /// How long a peer is left alone that was asked too often.
    pub too_many: Duration,
    /// How long after a comparison without an answer, or after a peer failed to bring something, it is compared with again at first,
    /// if it is connected still. It doubles each time in a row.
    pub again: Duration,
    /// The longest such pause for a peer that fails to bring something. For comparisons it is that between two of them.
    pub retry: Duration,
    /// How long after an answer that named something missing here the asking side is compared with. Not at once: two servers
    /// that refuse each other's events would ask each other without pause.
    pub ask_back: Duration,
    /// How long after everything came that was asked for, and something is still missing, a peer is compared with again. What
    /// came may still be under way to the store.
    pub look_again: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Tempo {
            compare_every: Duration::from_secs(60),
            stall: Duration::from_secs(3),
            whole: Duration::from_secs(60),
            detour: Duration::from_secs(2),
            too_many: Duration::from_secs(2),
            again: Duration::from_secs(2),
            retry: Duration::from_secs(10),
            ask_back: Duration::from_millis(500),
            look_again: Duration::from_millis(500),
        }
    }
}
