//! What commands print: tables and fields for people, the API's JSON for scripts.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::Answer;
use crate::failure::Failure;
use crate::text::{clean, clean_json};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// A column that is no wider than this, as a shortened id is, is never broken: it holds ids, words and numbers.
const NARROW: usize = 15;

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    terminal: bool,
}

impl Output {
    /// Prints to standard output.
    pub(crate) fn new(json: bool) -> Self {
        Output { json, terminal: io::stdout().is_terminal() }
    }

    /// Whether a script reads.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints an answer: unchanged for a script, or what `people` makes of it.
    pub(crate) fn show<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        people: impl FnOnce(T) -> String,
    ) -> Result<(), Failure> {
        if self.json { self.json(answer.text()) } else { self.text(&people(answer.parse()?)) }
    }

    /// Tells people that something is done for which the API has no answer; scripts read the exit code.
    pub(crate) fn done(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.text(text) }
    }

    /// Prints text, which may have several lines and must be clean already.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.raw(text.trim_end_matches('\n').as_bytes())?;
        self.raw(b"\n")
    }

    /// Prints JSON: over several lines for a terminal, as it came for everything else.
    pub(crate) fn json(&self, json: &str) -> Result<(), Failure> {
        let pretty = self
            .terminal
            .then(|| serde_json::from_str::<Value>(json).and_then(|value| serde_json::to_string_pretty(&value)).ok())
            .flatten();
        match pretty {
            Some(pretty) => self.text(&clean_json(&pretty)),
            None => self.json_line(json),
        }
    }

    /// Prints JSON as one line.
    pub(crate) fn json_line(&self, json: &str) -> Result<(), Failure> {
        if self.terminal { self.text(&clean_json(json)) } else { self.text(json) }
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        io::stdout().lock().write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// Tells people something beside the output. Scripts are not told.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            complain(&clean(text));
        }
    }

    /// Shows people that something takes its time. Draws on standard error, and only on a terminal.
    pub(crate) fn spinner(&self, message: &'static str) -> ProgressBar {
        self.progress("{spinner} {msg} ({elapsed})").with_message(message)
    }

    /// Shows people how many bytes have come.
    pub(crate) fn byte_spinner(&self) -> ProgressBar {
        self.progress("{spinner} {bytes} ({binary_bytes_per_sec})")
    }

    /// Shows people how many of so many bytes have gone.
    pub(crate) fn byte_bar(&self, bytes: u64) -> ProgressBar {
        let bar = self.progress("{spinner} {bytes} of {total_bytes} ({binary_bytes_per_sec}) {msg}");
        bar.set_length(bytes);
        bar
    }

    fn progress(&self, template: &str) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(TICK);
        bar
    }

    /// Says why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if matches!(failure, Failure::ReaderGone) {
            return;
        }
        match serde_json::to_string(&failure.to_body()) {
            Ok(json) if self.json => complain(&clean_json(&json)),
            _ => complain(&format!("error: {}", clean(&failure.to_string()))),
        }
    }
}

/// Writes a line to standard error. Where even that fails there is nobody left to tell.
fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A table without lines that fits the terminal; its first column and narrow ones are never broken, so that ids can be
/// copied.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    build_table(header, rows).trim_fmt()
}

fn build_table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    let mut widths = header.map(|title| title.chars().count());
    for row in rows {
        let cells = row.map(|cell| clean(&cell).into_owned());
        for (width, cell) in widths.iter_mut().zip(&cells) {
            *width = cell.chars().count().max(*width);
        }
        table.add_row(cells);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        // What pads the last column would only take width from the others.
        column.set_padding((0, if index + 1 == N { 0 } else { 2 }));
        if index == 0 || widths.get(index).is_some_and(|width| *width <= NARROW) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// Names and values of one thing, a line each.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    /// Adds a value.
    pub(crate) fn add(&mut self, name: &'static str, value: impl fmt::Display) -> &mut Self {
        self.0.push((name, clean(&value.to_string()).into_owned()));
        self
    }

    /// Adds a value that may be missing; what is missing takes no line.
    pub(crate) fn add_some(&mut self, name: &'static str, value: Option<impl fmt::Display>) -> &mut Self {
        if let Some(value) = value {
            self.add(name, value);
        }
        self
    }

    /// Adds several values, a line each.
    pub(crate) fn add_all(&mut self, name: &'static str, values: impl IntoIterator<Item = String>) -> &mut Self {
        for (index, value) in values.into_iter().enumerate() {
            self.add(if index == 0 { name } else { "" }, value);
        }
        self
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &self.0 {
            writeln!(formatter, "{name:width$}  {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_eighty_columns_and_keeps_ids_whole() {
        let row = |name: &str| ["bafyr4i…x7k2m3q".to_owned(), name.to_owned(), "connected".to_owned()];
        let mut table = build_table(["ID", "NAME", "STATE"], [row("a"), row(&"long name ".repeat(20))]);
        let text = table.set_width(80).trim_fmt();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.matches("bafyr4i…x7k2m3q").count(), 2, "{text}");
        assert!(text.starts_with("ID"), "{text}");
    }

    #[test]
    fn words_and_numbers_stay_whole_beside_a_long_name() {
        let row = ["12D3Koo…x7k2m3q", "a-long-name.chat.example.org", "introduced", "punched", "123.4 ms", "12", "3"];
        let header = ["ID", "NAME", "STATE", "PATH", "LATENCY", "ROOMS", "REFUSED"];
        let text = build_table(header, [row.map(str::to_owned)]).set_width(80).trim_fmt();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for whole in ["12D3Koo…x7k2m3q", "introduced", "punched", "123.4 ms", "REFUSED"] {
            assert!(text.contains(whole), "{whole} is broken: {text}");
        }
    }

    #[test]
    fn a_name_cannot_forge_a_row() {
        let text = table(["ID", "NAME"], [["1".to_owned(), "x\n2  forged\u{1b}[1A".to_owned()]]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn fields_stand_in_line_and_missing_ones_take_none() {
        let mut fields = Fields::default();
        fields.add("id", "1").add_some("name", None::<String>).add_all("addresses", ["a".to_owned(), "b\n".to_owned()]);
        assert_eq!(fields.to_string(), "id         1\naddresses  a\n           b␊\n");
    }
}
