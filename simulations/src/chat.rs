//! Conversations to replay.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Failure;

/// One thing that somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who.
    pub nick: String,
    /// What.
    pub text: String,
    /// When, in minutes of the day; a log that goes past midnight goes on counting.
    pub minute: u64,
}

/// A conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chat {
    /// What was said, in order.
    pub lines: Vec<Line>,
    /// Lines of the file that are nobody's words: joins, leaves, topic changes.
    pub skipped: usize,
}

const BUILT_IN: [(&str, &str); 14] = [
    ("alice", "Good morning! Is anybody else here already?"),
    ("bob", "Morning. Bergen is awake, and it rains."),
    ("carol", "Cusco says hello. It is the middle of the night here."),
    ("alice", "Then go to bed, Carol. We can do the release without you."),
    ("carol", "And miss it? No."),
    ("dave", "The build is green on all three servers."),
    ("erin", "Who has the notes?"),
    ("frank", "I do: https://example.org/notes"),
    ("bob", "Thank you. Reading: \u{201c}no server is the centre\u{201d}. I like that."),
    ("erin", "What happens when ours goes down in the middle?"),
    ("alice", "The others go on. When it comes back it fetches what it missed."),
    ("carol", "\u{1f44d}"),
    ("dave", "Tagging now."),
    ("frank", "Done. Good night, Cusco!"),
];

impl Chat {
    /// A short conversation between six people.
    pub fn built_in() -> Self {
        let line = |(at, (nick, text)): (usize, (&str, &str))| Line {
            nick: nick.to_owned(),
            text: text.to_owned(),
            minute: 8 * 60 + at as u64 / 5,
        };
        Chat { lines: BUILT_IN.into_iter().enumerate().map(line).collect(), skipped: 0 }
    }

    /// Reads an IRC log with lines like `[12:34] <nick> text` or `[12:34]  * nick does something`.
    ///
    /// # Errors
    /// If the file cannot be read or holds no such line.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let chat = Chat::parse(&String::from_utf8_lossy(&bytes));
        if chat.lines.is_empty() {
            let expected = "expected lines like: [12:34] <nick> text";
            return Err(format!("{} holds no conversation; {expected}", path.display()).into());
        }
        Ok(chat)
    }

    /// Reads a log; what is nobody's words is counted and left out.
    pub fn parse(log: &str) -> Self {
        let mut chat = Chat::default();
        for line in log.lines().filter(|line| !line.trim().is_empty()) {
            match parse_line(line) {
                Some(mut line) => {
                    let before = chat.lines.last().map_or(0, |before: &Line| before.minute);
                    while line.minute + 12 * 60 < before {
                        line.minute += 24 * 60;
                    }
                    // A clock that was set back a little does not make words unsaid.
                    line.minute = line.minute.max(before);
                    chat.lines.push(line);
                }
                None => chat.skipped += 1,
            }
        }
        chat
    }

    /// Who speaks, in order of their first words.
    pub fn nicks(&self) -> Vec<&str> {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, line) in self.lines.iter().enumerate() {
            first.entry(&line.nick).or_insert(at);
        }
        let mut nicks: Vec<(&str, usize)> = first.into_iter().collect();
        nicks.sort_by_key(|(_, at)| *at);
        nicks.into_iter().map(|(nick, _)| nick).collect()
    }
}

fn parse_line(line: &str) -> Option<Line> {
    let (clock, said) = line.strip_prefix('[')?.split_once(']')?;
    let (hours, minutes) = clock.split_once(':')?;
    let minute = hours.trim().parse::<u64>().ok()?.min(23) * 60 + minutes.trim().get(..2)?.parse::<u64>().ok()?.min(59);
    let (nick, text) = match said.strip_prefix(" <") {
        Some(said) => {
            let (nick, text) = said.split_once('>')?;
            (nick, text.trim_start().to_owned())
        }
        None => {
            let (nick, text) = said.trim_start().strip_prefix("* ")?.split_once(' ')?;
            (nick, format!("_{}_", text.trim()))
        }
    };
    let usable = !nick.is_empty() && !nick.contains(['@', ':', '/']) && !nick.contains(char::is_whitespace);
    (usable && !text.is_empty()).then(|| Line { nick: nick.to_owned(), text, minute })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gives_words_and_actions_and_counts_the_rest() {
        let chat = Chat::parse(
            "[08:44] <bob2> aleksi_: I hear\n=== x [~a@b] has left #y []\n[08:45]  * ann waves\n[08:46] <c> a > b: [no]\n\n",
        );
        let said: Vec<_> = chat.lines.iter().map(|line| (line.nick.as_str(), line.text.as_str())).collect();
        assert_eq!(said, [("bob2", "aleksi_: I hear"), ("ann", "_waves_"), ("c", "a > b: [no]")]);
        assert_eq!(chat.lines.iter().map(|line| line.minute).collect::<Vec<_>>(), [524, 525, 526]);
        assert_eq!(chat.skipped, 1);
        assert_eq!(chat.nicks(), ["bob2", "ann", "c"]);
    }
}
