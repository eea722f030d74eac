//! What people write to the bot, read. Pure.
//!
//! People write in their own way: with or without `#`, in capitals, with spaces to spare. What cannot be read is answered with what
//! would be right, and never done by guess.

use rocketmesh_protocol::id::RoomId;

/// The longest text that is read.
const LONGEST: usize = 2000;

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `federate #channel`
    Federate {
        /// The channel's name, without `#`.
        channel: String,
    },
    /// `invite @bob:other.example #channel`
    Invite {
        /// Whom, as it was written.
        user: String,
        /// Into which channel, without `#`.
        channel: String,
    },
    /// `join ROOM`, `join ROOM #channel`
    Join {
        /// The room.
        room: RoomId,
        /// The channel that it is to be; a new one if none is named.
        channel: Option<String>,
    },
    /// `dm @bob:other.example`
    Direct {
        /// With whom, as it was written.
        user: String,
    },
    /// `leave #channel`
    Leave {
        /// The channel's name, without `#`.
        channel: String,
    },
    /// `status`
    Status,
    /// `help`
    Help,
}

/// Why a text is no command, in words for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// The first word is none of the commands.
    #[error("I do not know `{0}`. Write `help` to see what I can do.")]
    Unknown(String),
    /// Something is missing.
    #[error("Please write `{0}`.")]
    Incomplete(&'static str),
    /// What should be a room is none.
    #[error(
        "`{0}` is no room. A room's id begins with `bafyr4i` and has 59 characters; `rocketmesh rooms list` shows it."
    )]
    Room(String),
}

/// What the bot answers to `help`.
pub(crate) const HELP: &str = "I connect this server with others. Write to me here:\n\
    • `federate #channel`: people on other servers can join the channel\n\
    • `invite @bob:other.example #channel`: invite somebody of another server\n\
    • `join ROOM`: take part in a room of another server, in a new channel\n\
    • `join ROOM #channel`: the same, in a channel that you have\n\
    • `dm @bob:other.example`: write to somebody of another server directly\n\
    • `leave #channel`: the channel is this server's own again\n\
    • `status`: what is connected, and what waits\n\
    • `help`: this list";

/// Reads what somebody wrote to the bot.
///
/// # Errors
/// [`CommandError`].
pub(crate) fn parse(text: &str) -> Result<Command, CommandError> {
    let text: String = text.chars().take(LONGEST).collect();
    let words: Vec<&str> =
        text.split_whitespace().map(|word| word.trim_matches('`')).filter(|w| !w.is_empty()).collect();
    let (first, rest) = words.split_first().map_or(("help", &[][..]), |(first, rest)| (*first, rest));
    let channel = |word: &str| word.trim_start_matches('#').to_owned();
    let is_user = |word: &&&str| word.starts_with('@') && word.contains(':');
    let a_channel =
        || rest.iter().find(|word| !is_user(word)).map(|word| channel(word)).filter(|name| !name.is_empty());
    let a_user = || rest.iter().find(is_user).map(|word| (*word).to_owned());
    match first.to_lowercase().trim_start_matches('/') {
        "federate" => {
            let channel = a_channel().ok_or(CommandError::Incomplete("federate #channel"))?;
            Ok(Command::Federate { channel })
        }
        "invite" => {
            let incomplete = CommandError::Incomplete("invite @bob:other.example #channel");
            let (Some(user), Some(channel)) = (a_user(), a_channel()) else { return Err(incomplete) };
            Ok(Command::Invite { user, channel })
        }
        "join" => {
            let incomplete = CommandError::Incomplete("join ROOM");
            let (room, rest) = rest.split_first().ok_or(incomplete)?;
            let shown = || room.chars().take(80).collect();
            let room = room.parse().map_err(|_| CommandError::Room(shown()))?;
            Ok(Command::Join { room, channel: rest.first().map(|word| channel(word)) })
        }
        "dm" | "direct" | "message" => {
            let user = a_user().ok_or(CommandError::Incomplete("dm @bob:other.example"))?;
            Ok(Command::Direct { user })
        }
        "leave" => {
            let channel = a_channel().ok_or(CommandError::Incomplete("leave #channel"))?;
            Ok(Command::Leave { channel })
        }
        "status" => Ok(Command::Status),
        "help" | "hi" | "hello" | "?" => Ok(Command::Help),
        _ => Err(CommandError::Unknown(first.chars().take(40).collect())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read_however_it_is_written() {
        let room = RoomId::from_hash([4; 32]);
        let federate = Command::Federate { channel: "lunch".to_owned() };
        for text in ["federate #lunch", "  Federate  lunch ", "/federate `#lunch`"] {
            assert_eq!(parse(text).unwrap(), federate, "{text}");
        }
        let invite = Command::Invite { user: "@bob:other.example".to_owned(), channel: "lunch".to_owned() };
        assert_eq!(parse("invite @bob:other.example #lunch").unwrap(), invite);
        assert_eq!(parse("invite #lunch @bob:other.example").unwrap(), invite);
        assert_eq!(parse(&format!("join {room}")).unwrap(), Command::Join { room, channel: None });
        let into = Command::Join { room, channel: Some("lunch".to_owned()) };
        assert_eq!(parse(&format!("join {room} #lunch")).unwrap(), into);
        assert_eq!(parse("dm @bob:b.example").unwrap(), Command::Direct { user: "@bob:b.example".to_owned() });
        assert_eq!(parse("leave #lunch").unwrap(), Command::Leave { channel: "lunch".to_owned() });
        assert_eq!(
            (parse("STATUS").unwrap(), parse("help").unwrap(), parse("").unwrap()),
            (Command::Status, Command::Help, Command::Help)
        );
    }

    #[test]
    fn what_cannot_be_read_is_answered_with_what_would_be_right() {
        assert_eq!(parse("federate"), Err(CommandError::Incomplete("federate #channel")));
        assert_eq!(parse("invite @bob:b"), Err(CommandError::Incomplete("invite @bob:other.example #channel")));
        assert_eq!(parse("dm bob"), Err(CommandError::Incomplete("dm @bob:other.example")));
        assert_eq!(parse("join lunch"), Err(CommandError::Room("lunch".to_owned())));
        assert_eq!(parse("dance with me"), Err(CommandError::Unknown("dance".to_owned())));
        assert!(parse(&"x".repeat(1_000_000)).is_err());
    }
}
