//! Texts, both ways: who is mentioned, which message is quoted, and whom nobody is to wake.
//!
//! A text stays the Markdown that somebody wrote. What means something on one server only is written so that it means the same on
//! every other:
//!
//! - A mention stays as it was written, and the event's body says beside the text, under `mentions`, whom each means. The server that
//!   shows the text writes its own name for them instead.
//! - A link to a message of the room, which is how Rocket.Chat quotes, becomes `rocketmesh:event/ID`, and on each server a link to its
//!   own copy of the message. Where there is no copy, the words say so.
//! - `@all` and `@here` of another server are shown with an invisible character in them: whoever writes elsewhere has no right to wake
//!   everybody here, and a server that forbids it would refuse the whole message.

use std::collections::BTreeMap;

use rocketmesh_protocol::codec::{Map, Value};
use rocketmesh_protocol::event::Body;
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;

use super::{Known, Who};

/// How a link to an event begins in a text.
const EVENT_LINK: &str = "rocketmesh:event/";
/// How long the text of an event's id is.
const ID_LEN: usize = 59;
/// Breaks a word so that no server takes it for a mention, and nobody sees it.
const BREAK: char = '\u{200b}';
/// Names that mean everybody.
const EVERYBODY: [&str; 2] = ["all", "here"];
/// The most users that one text mentions: what is more stays text.
const MOST_MENTIONS: usize = 100;
/// What stands for a quoted message that is not here.
const ELSEWHERE: &str = "rocketmesh:not-here";

/// A text as a room is told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// The words.
    pub(crate) words: String,
    /// By name as it stands in the words, without the `@`: who is meant.
    pub(crate) mentions: BTreeMap<String, UserId>,
}

impl Text {
    /// The body's fields of this text.
    pub(crate) fn into_fields(self) -> Map {
        let fields = Map::new().with("text", self.words);
        if self.mentions.is_empty() {
            return fields;
        }
        let mentions = self.mentions.iter().fold(Map::new(), |map, (name, user)| map.with(name, user.to_string()));
        fields.with("mentions", Value::Map(mentions))
    }

    /// Reads the text in a body. What else stands there than users is left out.
    pub(crate) fn of_body(body: &Body) -> Text {
        let entry = |(name, user): (&str, &Value)| Some((name.to_owned(), user.as_text()?.parse().ok()?));
        let mentions = body.fields().get("mentions").and_then(Value::as_map);
        Text {
            words: body.text("text").unwrap_or_default().to_owned(),
            mentions: mentions.into_iter().flat_map(Map::iter).filter_map(entry).take(MOST_MENTIONS).collect(),
        }
    }
}

/// A text that somebody wrote on this Rocket.Chat server, as the room is told it.
pub(crate) fn outgoing(text: &str, known: &impl Known) -> Text {
    let (mut words, mut mentions) = (String::with_capacity(text.len()), BTreeMap::new());
    let mut rest = text;
    while let Some(at) = rest.find(['@', 'h']) {
        let (before, found) = rest.split_at(at);
        words.push_str(before);
        let bounded = words.chars().next_back().is_none_or(|c| !is_name(c));
        if let Some((event, len)) = own_link(found, known) {
            words.push_str(EVENT_LINK);
            words.push_str(&event.to_string());
            rest = &found[len..];
            continue;
        }
        let mut len = 1;
        if found.starts_with('@') && bounded {
            // What was broken when it came here goes back whole, if a moderator edits it.
            let unbroken = found.strip_prefix('@').and_then(|rest| rest.strip_prefix(BREAK));
            if let Some(name) = unbroken.map(name_at).filter(|name| EVERYBODY.contains(name)) {
                words.push('@');
                words.push_str(name);
                rest = &found[1 + BREAK.len_utf8() + name.len()..];
                continue;
            }
            let name = name_at(&found[1..]);
            len += name.len();
            if let Some((name, user)) = mentioned(name, known).filter(|_| mentions.len() < MOST_MENTIONS) {
                len = 1 + name.len();
                mentions.insert(name.to_owned(), user);
            }
        }
        words.push_str(&found[..len]);
        rest = &found[len..];
    }
    words.push_str(rest);
    Text { words, mentions }
}

/// A text of another server, as it is written here.
pub(crate) fn incoming(text: &Text, known: &impl Known) -> String {
    let words = &text.words;
    let mut shown = String::with_capacity(words.len());
    let mut rest = words.as_str();
    while let Some(at) = rest.find(['@', 'r']) {
        let (before, found) = rest.split_at(at);
        shown.push_str(before);
        let bounded = shown.chars().next_back().is_none_or(|c| !is_name(c));
        let linked = found.strip_prefix(EVENT_LINK).and_then(|id| id.get(..ID_LEN)?.parse::<EventId>().ok());
        if let Some(event) = linked {
            match known.message(&event) {
                Some(message) => shown.push_str(&link(&message, known)),
                None => shown.push_str(ELSEWHERE),
            }
            rest = &found[EVENT_LINK.len() + ID_LEN..];
            continue;
        }
        let mut len = 1;
        shown.push_str(&found[..1]);
        if found.starts_with('@') && bounded {
            let name = longest(name_at(&found[1..]), |name| {
                // A server may say that somebody is called so, to have everybody woken.
                !EVERYBODY.contains(&name) && text.mentions.contains_key(name)
            });
            let everybody = EVERYBODY.contains(&trimmed(name_at(&found[1..])));
            let user = name.and_then(|name| Some((name, text.mentions.get(name)?)));
            if let Some((name, user)) = user {
                shown.push_str(&known.username(user).unwrap_or_else(|| name.to_owned()));
                len += name.len();
            } else if everybody {
                shown.push(BREAK);
            }
        }
        rest = &found[len..];
    }
    shown.push_str(rest);
    shown
}

/// A link to a message on this server, as its own clients write it.
pub(crate) fn link(message: &str, known: &impl Known) -> String {
    format!("{}/{}?msg={message}", known.url(), known.room_path())
}

/// The event that a link of this server at the beginning of a text leads to, and how long the link is.
fn own_link(text: &str, known: &impl Known) -> Option<(EventId, usize)> {
    let path = text.strip_prefix(known.url()).filter(|_| !known.url().is_empty())?;
    let end = path.find(|c: char| c.is_whitespace() || matches!(c, ')' | '>' | '"' | '\'')).unwrap_or(path.len());
    let (room, message) = path[..end].split_once("?msg=")?;
    let in_a_room = ["/channel/", "/group/", "/direct/"].iter().any(|kind| room.starts_with(kind));
    let event = known.event(message).filter(|_| in_a_room)?;
    Some((event, known.url().len() + end))
}

/// Whom a name means. A full stop at the end of a sentence is none of the name, unless somebody is called so.
fn mentioned<'a>(name: &'a str, known: &impl Known) -> Option<(&'a str, UserId)> {
    let user = |name: &str| match known.who(None, name) {
        Who::Local(localpart) => Some(known.local(&localpart)),
        Who::Shadow(user) => Some(user),
        Who::Service => None,
    };
    let name = longest(name, |name| !EVERYBODY.contains(&name) && user(name).is_some())?;
    Some((name, user(name)?))
}

/// The longest beginning of a name that fits, once what may be punctuation at its end is taken away piece by piece.
fn longest(name: &str, fits: impl Fn(&str) -> bool) -> Option<&str> {
    let mut name = name;
    loop {
        if !name.is_empty() && fits(name) {
            return Some(name);
        }
        name = name.strip_suffix(['.', '-', '_'])?;
    }
}

fn trimmed(name: &str) -> &str {
    name.trim_end_matches(['.', '-', '_'])
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// The name at the beginning of a text.
fn name_at(text: &str) -> &str {
    &text[..text.find(|c: char| !is_name(c)).unwrap_or(text.len())]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::mock::Mock;
    use super::*;

    fn mock() -> Mock {
        let mut mock = Mock::new();
        Mock::local(&mut mock, "alice");
        mock.shadow("bob", "bob.there");
        mock.link(1, "QuotedMessage1234");
        mock
    }

    #[test]
    fn a_mention_says_whom_it_means_and_is_shown_by_the_name_that_they_have_there() {
        let mock = mock();
        let text = outgoing("Hi @alice, ask @bob.there. And @nobody, or a@alice.example", &mock);
        assert_eq!(text.words, "Hi @alice, ask @bob.there. And @nobody, or a@alice.example");
        assert_eq!(
            text.mentions,
            BTreeMap::from([("alice".to_owned(), mock.user("alice")), ("bob.there".to_owned(), mock.remote("bob"))])
        );
        let elsewhere =
            Text { words: "@bob and @bob.".to_owned(), mentions: [("bob".to_owned(), mock.remote("bob"))].into() };
        assert_eq!(incoming(&elsewhere, &mock), "@bob.there and @bob.there.");
    }

    #[test]
    fn a_quote_leads_to_the_copy_of_the_message_that_each_server_has() {
        let mock = mock();
        let quoting = "[ ](http://chat.test/channel/lunch?msg=QuotedMessage1234) I agree";
        let text = outgoing(quoting, &mock);
        assert_eq!(text.words, format!("[ ](rocketmesh:event/{}) I agree", mock.event_of(1)));
        assert_eq!(incoming(&text, &mock), quoting);
    }

    #[test]
    fn links_that_lead_elsewhere_stay_as_they_are() {
        for link in [
            "http://chat.test/channel/lunch?msg=UnknownMessage123",
            "http://chat.test/admin?msg=QuotedMessage1234",
            "http://other.test/channel/lunch?msg=QuotedMessage1234",
            "http://chat.test",
        ] {
            assert_eq!(outgoing(link, &mock()).words, link);
        }
        let lost = Text { words: format!("see rocketmesh:event/{}", mock().event_of(9)), ..Text::default() };
        assert_eq!(incoming(&lost, &mock()), format!("see {ELSEWHERE}"));
        let broken = Text { words: "rocketmesh:event/short and rocketmesh:event/".to_owned(), ..Text::default() };
        assert_eq!(incoming(&broken, &mock()), broken.words);
        let none = Text { words: format!("rocketmesh:event/{}", "x".repeat(80)), ..Text::default() };
        assert_eq!(incoming(&none, &mock()), none.words);
    }

    #[test]
    fn nobody_elsewhere_wakes_everybody_here() {
        let mock = mock();
        let text = Text { words: "@all hear, @here: call @allan".to_owned(), ..Text::default() };
        let shown = incoming(&text, &mock);
        assert_eq!(shown, "@\u{200b}all hear, @\u{200b}here: call @allan");
        assert_eq!(outgoing(&shown, &mock).words, text.words, "an edit of it gives the words back");
        assert!(outgoing("@all", &mock).mentions.is_empty());
        let named = |name: &str| (name.to_owned(), mock.remote("nobody"));
        let claimed = Text { mentions: [named("all"), named("here")].into(), ..text };
        assert_eq!(incoming(&claimed, &mock), shown, "nor by saying that somebody is called so");
    }

    #[test]
    fn a_text_comes_back_as_it_went() {
        let mock = mock();
        // Pieces of texts, put together in every order of three.
        let pieces = [
            "@alice",
            "@bob.there",
            " ",
            "*bold*",
            "@",
            "ä€😀",
            ":tada:",
            "http://chat.test/channel/lunch?msg=QuotedMessage1234 ",
            "r",
            "h",
            "`@x`",
            "\n> ",
        ];
        for first in pieces {
            for second in pieces {
                for third in pieces {
                    let text = format!("{first}{second}{third}");
                    let out = outgoing(&text, &mock);
                    assert_eq!(incoming(&out, &mock), text);
                    let body = Body::new([0; 16], out.clone().into_fields());
                    assert_eq!(Text::of_body(&body), out);
                }
            }
        }
    }
}
