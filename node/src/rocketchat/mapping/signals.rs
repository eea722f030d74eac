//! What is over in a moment: what of it is told, and how often. Pure: the moment is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How often it is said again that somebody types. It holds for longer, and clients of Rocket.Chat say it every few seconds.
const AGAIN: Duration = Duration::from_secs(4);
/// The most people in rooms of whom is remembered whether they type. With more, all are forgotten: some is said once too often.
const MOST: usize = 1024;

/// Whether what somebody does is to type.
pub(crate) fn types(activities: &[String]) -> bool {
    activities.iter().any(|activity| activity == "user-typing")
}

/// Who was said to type, and when.
#[derive(Debug, Default)]
pub(crate) struct Typists(BTreeMap<(String, String), (bool, Instant)>);

impl Typists {
    /// Whether it is worth a word that somebody types in a room, or no longer does.
    pub(crate) fn is_news(&mut self, rid: &str, who: &str, on: bool, now: Instant) -> bool {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let key = (rid.to_owned(), who.to_owned());
        let news = match self.0.get(&key) {
            Some((before, said)) => *before != on || on && now.saturating_duration_since(*said) >= AGAIN,
            None => on,
        };
        if news {
            self.0.insert(key, (on, now));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_typing_is_typing() {
        assert!(types(&["user-recording".to_owned(), "user-typing".to_owned()]));
        assert!(!types(&["user-uploading".to_owned()]) && !types(&[]));
    }

    #[test]
    fn typing_on_is_said_now_and_then_and_its_end_once() {
        let (mut typists, now) = (Typists::default(), Instant::now());
        assert!(!typists.is_news("r", "alice", false, now), "whoever never typed does not stop");
        assert!(typists.is_news("r", "alice", true, now));
        assert!(!typists.is_news("r", "alice", true, now + Duration::from_secs(1)));
        assert!(typists.is_news("other", "alice", true, now));
        assert!(typists.is_news("r", "alice", true, now + Duration::from_secs(5)));
        assert!(typists.is_news("r", "alice", false, now + Duration::from_secs(5)));
        assert!(!typists.is_news("r", "alice", false, now + Duration::from_secs(6)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut typists, now) = (Typists::default(), Instant::now());
        for who in 0..5000 {
            typists.is_news("r", &who.to_string(), true, now);
        }
        assert!(typists.0.len() <= MOST);
    }
}
