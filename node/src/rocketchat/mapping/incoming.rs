//! What an event of the room is to come to in Rocket.Chat.
//!
//! What is to stand there is worked out from everything that is known of a message now, not from the one event that came last: so it
//! is the same after a restart, in any order, and when two servers edit or delete one message at the same moment.
//!
//! | known of the message | stands there | to do |
//! |---|---|---|
//! | shown, with its text | nothing, or taken down before | insert |
//! | shown, edited | another text | edit |
//! | withheld, refused or redacted | the message | delete |
//! | its body has not come | – | wait for it |

use rocketmesh_protocol::event::{FileRef, Membership};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;

use super::Known;
use super::seen::Seen;
use super::text::{self, Text};

/// A message as the room has it now: its own words, or those of the last edit that reaches it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// It is shown.
    Shown {
        /// Its text now.
        text: Text,
        /// Its files.
        files: Vec<FileRef>,
        /// The message that began the thread.
        thread: Option<EventId>,
        /// Whether a reply stands in the room too.
        in_room: bool,
        /// When it was said, in milliseconds since 1970.
        said_ms: u64,
        /// Whether it is told so long after it was said that people have to be told when that was.
        old: bool,
    },
    /// It is not to be shown.
    Hidden,
    /// What it says has not come yet.
    Awaited,
}

/// What to do about one message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToDo {
    /// Nothing.
    Nothing,
    /// Insert it.
    Insert {
        /// The text, in this server's words.
        text: String,
        /// The message under which it stands.
        thread: Option<String>,
        /// Whether it stands in the room too; only where it stands under a message.
        in_room: bool,
        /// Its files, in order.
        files: Vec<FileRef>,
    },
    /// Change the text of the message that stands there.
    Edit {
        /// The new one.
        text: String,
    },
    /// Delete the message that stands there.
    Delete,
}

/// What is to be done so that a message is as the room has it.
pub(crate) fn message(wanted: &Wanted, seen: Option<&Seen>, known: &impl Known) -> ToDo {
    let there = seen.filter(|seen| !seen.gone);
    match (wanted, there) {
        (Wanted::Awaited, _) | (Wanted::Hidden, None) => ToDo::Nothing,
        (Wanted::Hidden, Some(_)) => ToDo::Delete,
        // Somebody on this server took it down and the room did not follow: their server's hand goes as far as their server.
        (Wanted::Shown { .. }, None) if seen.is_some_and(|seen| seen.refused) => ToDo::Nothing,
        (Wanted::Shown { text, files, thread, in_room, said_ms, old }, None) => {
            let mut words = text::incoming(text, known);
            if *old {
                words = format!("_{}_\n{words}", when(*said_ms));
            }
            let thread = thread.and_then(|thread| known.message(&thread));
            let in_room = *in_room && thread.is_some();
            ToDo::Insert { text: words, thread, in_room, files: files.clone() }
        }
        (Wanted::Shown { text, said_ms, old, .. }, Some(seen)) => {
            let mut words = text::incoming(text, known);
            if *old && seen.inserted {
                words = format!("_{}_\n{words}", when(*said_ms));
            }
            // What a local user wrote comes back as they wrote it, but for what only looks different.
            if seen.says(&words) || !seen.inserted && seen.says(&text.words) {
                ToDo::Nothing
            } else {
                ToDo::Edit { text: words }
            }
        }
    }
}

/// What somebody's membership comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// The account that stands for somebody is to be in the room.
    Enter(UserId),
    /// Somebody is to be out of the room, by their own will.
    Leave(UserId),
    /// Somebody is to be out of the room.
    Kick(UserId),
    /// Somebody is to be out of the room and to stay out.
    Ban(UserId),
    /// Somebody may come back.
    Unban(UserId),
}

/// What somebody's membership comes to here. Whoever is of this server and acted here is where they put themselves already.
pub(crate) fn membership(user: &UserId, now: Option<Membership>, known: &impl Known) -> Option<Deed> {
    let own = known.local(&user.localpart) == *user;
    match now? {
        Membership::Join if own => None,
        Membership::Join => Some(Deed::Enter(user.clone())),
        // An invitation of somebody elsewhere shows nothing here; one of a local user is told by the bot.
        Membership::Invite => None,
        Membership::Leave => Some(Deed::Leave(user.clone())),
        Membership::Kick => Some(Deed::Kick(user.clone())),
        Membership::Ban => Some(Deed::Ban(user.clone())),
        Membership::Unban => Some(Deed::Unban(user.clone())),
    }
}

/// A moment as people read it, in UTC.
pub(crate) fn when(ms: u64) -> String {
    let text = crate::rocketchat::client::Moment(i64::try_from(ms).unwrap_or(i64::MAX)).to_string();
    let day_and_minute: String = text.chars().take(16).collect();
    format!("{} UTC", day_and_minute.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::super::mock::Mock;
    use super::*;

    fn mock() -> Mock {
        let mut mock = Mock::new();
        Mock::local(&mut mock, "alice");
        mock.shadow("bob", "bob.there");
        mock.link(1, "FirstMessage12345");
        mock
    }

    fn shown(words: &str) -> Wanted {
        let text = Text { words: words.to_owned(), ..Text::default() };
        Wanted::Shown { text, files: Vec::new(), thread: None, in_room: true, said_ms: 0, old: false }
    }

    fn there(words: &str) -> Seen {
        Seen::inserted(&mock().event_of(2), words)
    }

    #[test]
    fn a_message_is_inserted_once_edited_when_it_says_something_else_and_deleted_when_it_is_hidden() {
        let mock = mock();
        let insert = ToDo::Insert { text: "hi".to_owned(), thread: None, in_room: false, files: Vec::new() };
        assert_eq!(message(&shown("hi"), None, &mock), insert);
        assert_eq!(message(&shown("hi"), Some(&there("hi")), &mock), ToDo::Nothing);
        assert_eq!(message(&shown("ho"), Some(&there("hi")), &mock), ToDo::Edit { text: "ho".to_owned() });
        assert_eq!(message(&Wanted::Hidden, Some(&there("hi")), &mock), ToDo::Delete);
        assert_eq!(message(&Wanted::Hidden, None, &mock), ToDo::Nothing);
        assert_eq!(message(&Wanted::Awaited, Some(&there("hi")), &mock), ToDo::Nothing);
    }

    #[test]
    fn what_was_taken_away_and_is_restored_is_inserted_again() {
        let gone = Seen { gone: true, ..there("hi") };
        assert!(matches!(message(&shown("hi"), Some(&gone), &mock()), ToDo::Insert { .. }));
        let own_hand = Seen { refused: true, ..gone };
        assert_eq!(
            message(&shown("hi"), Some(&own_hand), &mock()),
            ToDo::Nothing,
            "what was taken down here stays down"
        );
    }

    #[test]
    fn a_reply_stands_in_its_thread_if_the_thread_is_here() {
        let mock = mock();
        let in_thread = |event| {
            let Wanted::Shown { text, files, in_room, said_ms, old, .. } = shown("re") else { return ToDo::Nothing };
            let wanted = Wanted::Shown { text, files, thread: Some(mock.event_of(event)), in_room, said_ms, old };
            message(&wanted, None, &mock)
        };
        assert!(
            matches!(in_thread(1), ToDo::Insert { thread: Some(thread), in_room: true, .. } if thread == "FirstMessage12345")
        );
        assert!(matches!(in_thread(9), ToDo::Insert { thread: None, in_room: false, .. }));
    }

    #[test]
    fn what_is_told_late_says_when_it_was_said() {
        let text = Text { words: "old news".to_owned(), ..Text::default() };
        let late = Wanted::Shown {
            text,
            files: Vec::new(),
            thread: None,
            in_room: false,
            said_ms: 1_700_000_000_000,
            old: true,
        };
        let ToDo::Insert { text, .. } = message(&late, None, &mock()) else { panic!("not inserted") };
        assert_eq!(text, "_2023-11-14 22:13 UTC_\nold news");
        assert_eq!(message(&late, Some(&there(&text)), &mock()), ToDo::Nothing);
    }

    #[test]
    fn nothing_is_done_to_a_local_user_for_what_they_did_themselves() {
        let mock = mock();
        assert_eq!(membership(&mock.user("alice"), Some(Membership::Join), &mock), None);
        assert_eq!(membership(&mock.user("alice"), None, &mock), None);
        let kicked = membership(&mock.user("alice"), Some(Membership::Kick), &mock);
        assert_eq!(kicked, Some(Deed::Kick(mock.user("alice"))));
        let entered = membership(&mock.remote("bob"), Some(Membership::Join), &mock);
        assert_eq!(entered, Some(Deed::Enter(mock.remote("bob"))));
        assert_eq!(membership(&mock.remote("bob"), Some(Membership::Invite), &mock), None);
    }
}
