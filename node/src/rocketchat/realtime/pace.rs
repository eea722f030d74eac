//! A pace that a server allows: so many in so much time, counted over every window of that length.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When the last ones were.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    most: usize,
    window: Duration,
    recent: VecDeque<Instant>,
}

impl Pace {
    /// At most `most` in any `window`.
    pub(super) fn new(most: usize, window: Duration) -> Self {
        Pace { most: most.max(1), window, recent: VecDeque::new() }
    }

    /// From when on the next one is allowed.
    pub(super) fn next(&self, now: Instant) -> Instant {
        match self.recent.front() {
            Some(first) if self.recent.len() >= self.most => now.max(*first + self.window),
            _ => now,
        }
    }

    /// Counts one.
    pub(super) fn count(&mut self, now: Instant) {
        if self.recent.len() >= self.most {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
    }

    /// Counts as many as are allowed: the next one comes a whole window later.
    pub(super) fn exhaust(&mut self, now: Instant) {
        self.recent.clear();
        self.recent.resize(self.most, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Pace;

    #[test]
    fn in_no_window_there_are_more_than_allowed() {
        let (most, window) = (36, Duration::from_secs(41));
        let mut pace = Pace::new(most, window);
        let begin = Instant::now();
        let mut now = begin;
        let mut times = Vec::new();
        for _ in 0..200 {
            now = pace.next(now);
            pace.count(now);
            times.push(now);
        }
        assert!(times.windows(most + 1).all(|some| some[most] - some[0] >= window));
        pace.exhaust(now);
        assert_eq!(pace.next(now), now + window);
        // And it is no slower than that either.
        assert_eq!(now - begin, window * 5);
    }
}
