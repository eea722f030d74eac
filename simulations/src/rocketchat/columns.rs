//! What people see of a room on each side, side by side, and whether it is the same.
//!
//! Two things may differ and be the same: the accounts that stand for people of the other side have longer names, and a mention is
//! written with the name that somebody has here. Everything else may not.

use std::collections::BTreeMap;

use rocketmesh_standin::{Person, sha256};
use serde_json::Value;

use super::steps::wrapped;
use crate::Failure;

/// How wide a column is: two of them and what stands between are less than 80.
const COLUMN: usize = 38;

/// A message as somebody sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it.
    pub who: String,
    /// What it says.
    pub text: String,
    /// Whether it says that it was edited.
    pub edited: bool,
    /// The line that it replies to, counted from 0.
    pub reply_to: Option<usize>,
    /// Who reacted with what, sorted.
    pub reactions: BTreeMap<String, Vec<String>>,
    /// Its files: what they are called, and the SHA-256 of what was downloaded.
    pub files: Vec<(String, String)>,
}

/// A room as somebody sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// What it is about.
    pub topic: String,
    /// What was said, oldest first, without what the room tells of itself.
    pub lines: Vec<Line>,
}

impl Sight {
    /// What somebody sees of a room, asked over REST as their client does; files are downloaded.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn of(person: &Person, rid: &str) -> Result<Self, Failure> {
        let about: Value = person.get("rooms.info", &[("roomId", rid)]).await?;
        let topic = text(&about["room"]["topic"]);
        let mut seen = person.messages(rid).await?;
        seen.retain(|message| message.t.is_none());
        let mut lines = Vec::new();
        for message in &seen {
            let rest = &message.rest;
            let thread = rest["tmid"].as_str();
            let mut files = Vec::new();
            for file in rest["files"].as_array().into_iter().flatten() {
                let name = text(&file["name"]);
                let bytes = person.download(&format!("/file-upload/{}/{name}", text(&file["_id"]))).await?;
                files.push((name, sha256(&bytes)));
            }
            lines.push(Line {
                who: message.who().to_owned(),
                text: message.msg.clone(),
                edited: !rest["editedAt"].is_null(),
                reply_to: thread.and_then(|thread| seen.iter().position(|of| of.id == thread)),
                reactions: reactions(&rest["reactions"]),
                files,
            });
        }
        Ok(Sight { topic, lines })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn reactions(of: &Value) -> BTreeMap<String, Vec<String>> {
    let entry = |(emoji, who): (&String, &Value)| {
        let mut names: Vec<String> = who["usernames"].as_array().into_iter().flatten().map(text).collect();
        names.sort();
        (emoji.clone(), names)
    };
    of.as_object().into_iter().flatten().map(entry).collect()
}

/// How people are called on one side.
#[derive(Clone, Debug)]
pub struct Names {
    /// The server of this side.
    pub home: String,
    /// Everybody, by name and server.
    pub people: Vec<(String, String)>,
}

impl Names {
    /// What somebody is called on this side.
    pub fn here(&self, name: &str, server: &str) -> String {
        if server == self.home { name.to_owned() } else { format!("{name}.{server}") }
    }

    /// The same sight with names that are the same on every side.
    pub fn everywhere(&self, sight: &Sight) -> Sight {
        let lines = sight.lines.iter().map(|line| {
            let reactions = line.reactions.iter().map(|(emoji, names)| {
                let mut names: Vec<String> = names.iter().map(|name| self.person(name)).collect();
                names.sort();
                (emoji.clone(), names)
            });
            Line {
                who: self.person(&line.who),
                text: self.words(&line.text),
                reactions: reactions.collect(),
                ..line.clone()
            }
        });
        Sight { topic: self.words(&sight.topic), lines: lines.collect() }
    }

    fn person(&self, shown: &str) -> String {
        let is_it = |(name, server): &&(String, String)| self.here(name, server) == shown;
        let found = self.people.iter().find(is_it);
        found.map_or_else(|| shown.to_owned(), |(name, server)| format!("{name}:{server}"))
    }

    fn words(&self, text: &str) -> String {
        let mention = |name: &str, server: &str| format!("@{}", self.here(name, server));
        let mut longest: Vec<&(String, String)> = self.people.iter().collect();
        longest.sort_by_key(|(name, server)| std::cmp::Reverse(mention(name, server).len()));
        let mut words = text.to_owned();
        for (at, (name, server)) in longest.iter().enumerate() {
            // A sign in between, so that no name is found in what another one became.
            words = words.replace(&mention(name, server), &format!("\u{0}{at}\u{0}"));
        }
        for (at, (name, server)) in longest.iter().enumerate() {
            words = words.replace(&format!("\u{0}{at}\u{0}"), &format!("@{name}:{server}"));
        }
        words
    }
}

/// What differs between two sights whose names are the same everywhere, in words; nothing if they are the same.
pub fn differences((here, one): (&str, &Sight), (there, other): (&str, &Sight)) -> Vec<String> {
    let mut found = Vec::new();
    if one.topic != other.topic {
        found.push(format!("the topic is {:?} in {here} and {:?} in {there}", one.topic, other.topic));
    }
    for at in 0..one.lines.len().max(other.lines.len()) {
        let (left, right) = (one.lines.get(at), other.lines.get(at));
        if left != right {
            let shown = |line: Option<&Line>| line.map_or_else(|| "nothing".to_owned(), |line| format!("{line:?}"));
            found.push(format!("message {}: {here} has {}, {there} has {}", at + 1, shown(left), shown(right)));
        }
    }
    found
}

/// Two sights in two columns, in lines that are shorter than 80 characters.
pub fn side_by_side((left, one): (&str, &Sight), (right, other): (&str, &Sight), between: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut put = |left: Vec<String>, right: Vec<String>| {
        for at in 0..left.len().max(right.len()) {
            let cell = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            let row = format!("{:<COLUMN$} {between} {}", cell(&left), cell(&right));
            rows.push(row.trim_end().to_owned());
        }
    };
    put(wrapped(left, COLUMN), wrapped(right, COLUMN));
    put(vec!["-".repeat(COLUMN)], vec!["-".repeat(COLUMN)]);
    let topic = |sight: &Sight| wrapped(&plain(&format!("Topic: {}", sight.topic)), COLUMN);
    put(topic(one), topic(other));
    for at in 0..one.lines.len().max(other.lines.len()) {
        let cell = |sight: &Sight| sight.lines.get(at).map(shown).unwrap_or_default();
        put(cell(one), cell(other));
    }
    rows
}

fn shown(line: &Line) -> Vec<String> {
    let reply = if line.reply_to.is_some() { "  reply, " } else { "" };
    let edited = if line.edited { " (edited)" } else { "" };
    let files: String = line.files.iter().map(|(name, _)| format!(" [file {name}]")).collect();
    let mut rows = wrapped(&plain(&format!("{reply}{}: {}{edited}{files}", line.who, line.text)), COLUMN);
    for (emoji, names) in &line.reactions {
        rows.extend(wrapped(&format!("    {emoji} {}", names.join(", ")), COLUMN));
    }
    rows
}

/// What was written is for people to read, and never an order to their terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(home: &str) -> Names {
        let somebody = |name: &str, server: &str| (name.to_owned(), server.to_owned());
        Names {
            home: home.to_owned(),
            people: vec![somebody("alice", "oslo.example"), somebody("bob", "cusco.example")],
        }
    }

    fn sight(who: &str, text: &str, fan: &str) -> Sight {
        let reactions = BTreeMap::from([(":pizza:".to_owned(), vec![fan.to_owned()])]);
        let line = Line { who: who.to_owned(), text: text.to_owned(), reactions, ..Line::default() };
        Sight { topic: "soup".to_owned(), lines: vec![line] }
    }

    #[test]
    fn names_of_the_other_side_are_no_difference_and_everything_else_is() {
        let oslo = names("oslo.example").everywhere(&sight("bob.cusco.example", "Me, @alice!", "alice"));
        let cusco = names("cusco.example").everywhere(&sight("bob", "Me, @alice.oslo.example!", "alice.oslo.example"));
        assert_eq!(differences(("Oslo", &oslo), ("Cusco", &cusco)), Vec::<String>::new());
        let other = names("cusco.example").everywhere(&sight("bob", "Not me, @alice.oslo.example!", "bob"));
        let found = differences(("Oslo", &oslo), ("Cusco", &other));
        assert!(found.len() == 1 && found[0].contains("message 1") && found[0].contains("Not me"), "{found:?}");
        assert_eq!(differences(("Oslo", &oslo), ("Cusco", &Sight::default())).len(), 2);
    }

    #[test]
    fn two_columns_fit_a_terminal_whatever_was_said() {
        let long =
            sight("bob.cusco.example", &format!("{} and \u{1b}[2J more words than fit", "x".repeat(90)), "alice");
        let rows = side_by_side(("As alice sees it", &long), ("As bob sees it", &Sight::default()), "|");
        assert!(rows.iter().all(|row| row.chars().count() < 80 && !row.contains('\u{1b}')), "{rows:#?}");
        assert!(rows.iter().any(|row| row.contains(":pizza: alice")), "{rows:#?}");
    }
}
