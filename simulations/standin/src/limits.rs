//! How often somebody may call, counted as Meteor counts: a rule has one window for everybody, and a counter for each.

use std::collections::HashMap;

/// How many keys a rule remembers. Beyond, it forgets all and begins anew: an address more or less does not matter here.
const MAX_KEYS: usize = 10_000;

/// So many calls in so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) calls: u64,
    pub(crate) ms: i64,
}

/// REST: ten calls a minute for each route and address.
pub(crate) const REST: Rate = Rate { calls: 10, ms: 60_000 };
/// DDP: 1200 calls a minute for each user.
pub(crate) const DDP_USER: Rate = Rate { calls: 1200, ms: 60_000 };
/// DDP: 600 calls a minute for each connection.
pub(crate) const DDP_CONNECTION: Rate = Rate { calls: 600, ms: 60_000 };
/// DDP: ten calls of one method in ten seconds for each connection.
pub(crate) const DDP_METHOD: Rate = Rate { calls: 10, ms: 10_000 };
/// DDP: forty calls or subscriptions of one stream in forty seconds for each connection.
pub(crate) const DDP_STREAM: Rate = Rate { calls: 40, ms: 40_000 };

/// What a counted call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) allowed: bool,
    pub(crate) left: u64,
    /// Milliseconds until the window ends.
    pub(crate) reset_ms: i64,
}

#[derive(Debug, Default)]
struct Rule {
    since: i64,
    counters: HashMap<String, u64>,
}

/// The rules in use, by name.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    rules: HashMap<String, Rule>,
}

impl Limits {
    /// Counts a call of somebody under a rule.
    pub(crate) fn count(&mut self, rule: &str, rate: Rate, key: &str, now: i64) -> Count {
        if self.rules.len() > MAX_KEYS {
            self.rules.clear();
        }
        let rule = self.rules.entry(rule.to_owned()).or_insert_with(|| Rule { since: now, ..Rule::default() });
        if now - rule.since > rate.ms || rule.counters.len() > MAX_KEYS {
            rule.since = now;
            rule.counters.clear();
        }
        let counter = rule.counters.entry(key.to_owned()).or_default();
        *counter += 1;
        Count {
            allowed: *counter <= rate.calls,
            left: rate.calls.saturating_sub(*counter),
            reset_ms: (rule.since + rate.ms - now).max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_call_of_an_address_waits_for_the_window_and_another_address_does_not() {
        let mut limits = Limits::default();
        for left in (0..10).rev() {
            assert_eq!(limits.count("send", REST, "a", 5), Count { allowed: true, left, reset_ms: 60_000 });
        }
        assert_eq!(limits.count("send", REST, "a", 1_005), Count { allowed: false, left: 0, reset_ms: 59_000 });
        assert!(limits.count("send", REST, "b", 1_005).allowed);
        assert!(limits.count("send", REST, "a", 60_006).allowed);
    }
}
