//! What is remembered of a message: enough to tell what is new about it when the whole of it comes again.
//!
//! A record says what stands in Rocket.Chat as far as the node knows, also where the node itself put it there. So nothing has to be
//! expected and forgotten again: what comes back and is what the record says is no news, whoever caused it.

use std::collections::{BTreeMap, BTreeSet};

use rocketmesh_protocol::id::EventId;
use serde::{Deserialize, Serialize};

/// How many bytes of a text's hash are kept.
const HASH: usize = 12;
/// How many texts that stood there before are remembered. What comes late is a few edits old at most.
const FORMER: usize = 8;

/// What is remembered of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Seen {
    /// The event that it became or came from.
    pub(crate) event: Option<String>,
    /// Whether it came from another server.
    pub(crate) inserted: bool,
    /// A hash of the text that stands there.
    pub(crate) text: String,
    /// Hashes of the last texts that stood there before: one of them that comes again is old, and no edit.
    pub(crate) former: Vec<String>,
    /// When it was last edited, by the server's clock, in milliseconds since 1970.
    pub(crate) edited_ms: u64,
    /// When the document last changed.
    pub(crate) updated_ms: u64,
    /// Who reacted, by emoji, by username.
    pub(crate) reactions: BTreeMap<String, BTreeSet<String>>,
    /// Whether it was taken down, or is to be.
    pub(crate) gone: bool,
    /// Whether the room's rules refused it.
    pub(crate) refused: bool,
    /// Whether an incoming webhook said it, so that it is nobody's who stands for its author.
    pub(crate) hooked: bool,
}

impl Seen {
    /// What there is of a message that another server's event became.
    pub(crate) fn inserted(event: &EventId, text: &str) -> Self {
        Seen { event: Some(event.to_string()), inserted: true, text: hash(text), ..Seen::default() }
    }

    /// The event, read.
    pub(crate) fn event(&self) -> Option<EventId> {
        self.event.as_deref()?.parse().ok()
    }

    /// Whether this text stands there.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.text == hash(text)
    }

    /// Whether this text stands there or stood there not long ago.
    pub(crate) fn said(&self, text: &str) -> bool {
        self.says(text) || self.former.contains(&hash(text))
    }

    /// Notes that another text stands there.
    pub(crate) fn note_text(&mut self, text: &str) {
        let text = hash(text);
        if text == self.text {
            return;
        }
        let former = std::mem::replace(&mut self.text, text);
        if self.former.len() >= FORMER {
            self.former.remove(0);
        }
        self.former.push(former);
    }

    /// Whether somebody has reacted so.
    pub(crate) fn has_reaction(&self, emoji: &str, username: &str) -> bool {
        self.reactions.get(emoji).is_some_and(|people| people.contains(username))
    }

    /// Notes a reaction, or that it was taken back.
    pub(crate) fn note_reaction(&mut self, emoji: &str, username: &str, on: bool) {
        if on {
            self.reactions.entry(emoji.to_owned()).or_default().insert(username.to_owned());
        } else if let Some(people) = self.reactions.get_mut(emoji) {
            people.remove(username);
            if people.is_empty() {
                self.reactions.remove(emoji);
            }
        }
    }
}

/// A short hash of a text: whether it changed is all that is asked, and the text itself need not lie in one more place.
pub(crate) fn hash(text: &str) -> String {
    hex::encode(&blake3::hash(text.as_bytes()).as_bytes()[..HASH])
}
