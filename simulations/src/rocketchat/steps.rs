//! Progress in plain words: a line for each step once it is done, and on a terminal a sign of life until then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::measure::ms;

/// How long a step stays on a terminal before the next one begins, so that it can be read.
const READING: Duration = Duration::from_millis(700);
const TICK: Duration = Duration::from_millis(120);
/// How wide a line of text may be behind its indent.
const WIDTH: usize = 72;

/// The steps of a show.
pub struct Steps {
    at: usize,
    of: usize,
    begun: Instant,
    bar: ProgressBar,
    slowly: bool,
}

impl Steps {
    /// So many steps.
    pub fn new(of: usize) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Steps { at: 0, of, begun: Instant::now(), bar: ProgressBar::hidden(), slowly: terminal }
    }

    /// Begins a step, and ends the one before.
    pub async fn begin(&mut self, what: &str) {
        if self.slowly && self.at > 0 {
            tokio::time::sleep(READING).await;
        }
        self.at += 1;
        self.begun = Instant::now();
        // Draws on standard error, and nothing at all where that is no terminal.
        self.bar = ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        self.bar.set_message(format!("{}/{}  {what} …", self.at, self.of));
        self.bar.enable_steady_tick(TICK);
    }

    /// Says what the step came to.
    pub fn done(&self, words: &str) {
        self.bar.finish_and_clear();
        let head = format!("{:>2}/{}  {words} ({})", self.at, self.of, ms(self.begun.elapsed()));
        let mut lines = wrapped(&head, WIDTH).into_iter();
        println!("{}", lines.next().unwrap_or_default());
        lines.for_each(|line| println!("       {line}"));
    }

    /// A remark on a step that is done.
    pub fn remark(&self, words: &str) {
        for line in words.lines().flat_map(|line| wrapped(line, WIDTH)) {
            println!("       {line}");
        }
    }
}

/// A text in lines of no more than so many characters, broken between words where that can be. Never empty.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let indent: String = text.chars().take_while(|c| *c == ' ').take(width / 2).collect();
    let mut lines = Vec::new();
    let mut line = indent.clone();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        let space = usize::from(!line.trim().is_empty());
        if space == 1 && used + space + word.len() > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
        } else if space == 1 {
            line.push(' ');
        }
        // What is longer than a line is cut.
        while line.chars().count() + word.len() > width {
            let rest = word.split_off(width.saturating_sub(line.chars().count()).max(1));
            line.extend(word);
            lines.push(std::mem::replace(&mut line, indent.clone()));
            word = rest;
        }
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn a_text_is_broken_between_words_and_only_what_is_too_long_inside_one() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("  one two", 6), ["  one", "  two"]);
        assert_eq!(wrapped("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
