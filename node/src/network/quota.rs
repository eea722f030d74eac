//! A bound on how often something may happen: a bucket of tokens that refills with time.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket. Starts full.
#[derive(Debug, Clone)]
pub(crate) struct Quota {
    tokens: f64,
    burst: f64,
    per_second: f64,
    filled: Instant,
}

impl Quota {
    /// A quota of `per_second` on average and `burst` at once.
    pub(crate) fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Quota { tokens: burst, burst, per_second, filled: now }
    }

    /// Takes one token; false if there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.checked_duration_since(self.filled).unwrap_or(Duration::ZERO);
        self.filled = now;
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_average() {
        let start = Instant::now();
        let mut quota = Quota::new(2.0, 3.0, start);
        assert_eq!((0..5).filter(|_| quota.take(start)).count(), 3);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..5).filter(|_| quota.take(later)).count(), 2);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| quota.take(much_later)).count(), 3);
        assert!(!quota.take(start), "a clock that goes back refills nothing");
    }
}
