//! What a text refers to: people, everybody, channels, addresses.

use serde_json::{Value, json};

use crate::state::State;

/// What was found in a text.
#[derive(Debug, Default)]
pub(crate) struct References {
    pub(crate) mentions: Vec<Value>,
    pub(crate) channels: Vec<Value>,
    pub(crate) urls: Vec<Value>,
    pub(crate) all: bool,
    pub(crate) here: bool,
}

/// Finds what a text refers to. Of people and channels only those that exist count.
pub(crate) fn find(state: &State, text: &str) -> References {
    let mut found = References::default();
    for name in names(text, '@') {
        match name {
            "all" if !found.all => {
                found.all = true;
                found.mentions.push(json!({"_id": "all", "username": "all"}));
            }
            "here" if !found.here => {
                found.here = true;
                found.mentions.push(json!({"_id": "here", "username": "here"}));
            }
            "all" | "here" => {}
            name => {
                if let Some(user) = state.user_named(name) {
                    let mention = json!({"_id": user.id, "username": user.username, "name": user.name, "type": "user"});
                    once(&mut found.mentions, mention);
                }
            }
        }
    }
    for name in names(text, '#') {
        if let Some(room) = state.room_named(name) {
            once(&mut found.channels, json!({"_id": room.id, "name": room.name}));
        }
    }
    let words = text.split(|letter: char| letter.is_whitespace() || "<>()[]|\"".contains(letter));
    for word in words.filter(|word| word.starts_with("http://") || word.starts_with("https://")) {
        once(&mut found.urls, json!({"url": word, "meta": {}}));
    }
    found
}

fn once(list: &mut Vec<Value>, item: Value) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// The words behind a sign that stands at the beginning, behind space or behind a quotation's `>`.
fn names(text: &str, sign: char) -> impl Iterator<Item = &str> {
    text.match_indices(sign).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|letter| !letter.is_whitespace() && letter != '>') {
            return None;
        }
        let rest = &text[at + sign.len_utf8()..];
        let end = rest.find(|letter: char| !is_name(letter)).unwrap_or(rest.len());
        rest.get(..end).filter(|name| !name.is_empty())
    })
}

/// Whether a character may stand in a username or in the name of a room: `[0-9a-zA-Z-_.]`.
pub(crate) fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_only_where_a_word_begins() {
        let text = "@alice mail bob@example.org >@carol (@dave) @";
        assert_eq!(names(text, '@').collect::<Vec<_>>(), ["alice", "carol"]);
    }
}
