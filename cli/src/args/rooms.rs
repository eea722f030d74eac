//! Options of the commands about rooms and what is said in them.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

/// `rocketmesh rooms`
#[derive(Debug, Args)]
#[command(after_help = "\
A room goes by its id, by the beginning of it (8 letters or more after bafyr4i),
by its shortened form as the list prints it, or by its name if this node is in
exactly one room of that name.

Examples:
  rocketmesh rooms create general --user alice --topic \"Anything goes\"
  rocketmesh rooms join bafyr4i... --user bob --wait 60
  rocketmesh rooms role general @bob:chat.example.org moderator --user alice")]
pub(crate) struct RoomsArgs {
    /// What to do; list them without it.
    #[command(subcommand)]
    pub(crate) command: Option<RoomsCommand>,
}

/// What to do with rooms.
#[derive(Debug, Subcommand)]
pub(crate) enum RoomsCommand {
    /// List the rooms that this node knows (the default)
    List,
    /// Make a room
    Create {
        /// Its name
        name: String,
        /// The local user who makes and owns it
        #[arg(long)]
        user: String,
        /// Its topic
        #[arg(long, value_name = "TEXT")]
        topic: Option<String>,
        /// By invitation only, and kept from everybody else's eyes
        #[arg(long)]
        private: bool,
        /// From when on servers that come later may read it
        #[arg(long, value_name = "start|join", requires = "private")]
        #[arg(value_parser = ["start", "join"])]
        history: Option<String>,
    },
    /// Open a direct room with somebody, or with several
    Direct {
        /// Whom with: bob, @bob:chat.example.org or @bob:12D3KooW...
        #[arg(required = true, value_name = "USER")]
        with: Vec<String>,
        /// The local user who opens it
        #[arg(long)]
        user: String,
    },
    /// List the rooms that users of this server are invited to; `rooms join` accepts
    Invitations,
    /// Decline an invitation
    Decline {
        /// The room
        room: String,
        /// The local user who declines
        #[arg(long)]
        user: String,
    },
    /// Join a room, wherever in the mesh it is
    Join {
        /// The room; its id in full if this node does not know it yet
        room: String,
        /// The local user who joins
        #[arg(long)]
        user: String,
        /// How long to look for a server that is in the room
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        #[arg(value_parser = clap::value_parser!(u64).range(0..=600))]
        wait: u64,
    },
    /// Leave a room; the node stops following it when its last user has left
    Leave {
        /// The room
        room: String,
        /// The local user who leaves
        #[arg(long)]
        user: String,
    },
    /// Show all that is known about a room
    Show {
        /// The room
        room: String,
    },
    /// List a room's members
    Members {
        /// The room
        room: String,
    },
    /// Give a room another name
    Rename {
        /// The room
        room: String,
        /// The new name
        name: String,
        /// The local user who does it
        #[arg(long)]
        user: String,
    },
    /// Set a room's topic
    Topic {
        /// The room
        room: String,
        /// The new topic
        #[arg(value_name = "TEXT")]
        topic: String,
        /// The local user who does it
        #[arg(long)]
        user: String,
    },
    /// Fetch the older messages of a room that was joined without them
    History {
        /// The room
        room: String,
    },
    /// Show or set how long this node keeps what people wrote in a room
    Retention(RetentionArgs),
    /// Save a room to a file that other servers and IPLD tools read
    Export(ExportArgs),
    /// Take in a room from such a file
    Import(ImportArgs),
    /// Let somebody in
    Invite(Moderation),
    /// Remove a member, who may come back
    Kick(Moderation),
    /// Remove somebody and keep them out
    Ban(Moderation),
    /// Lift a ban
    Unban(Moderation),
    /// Keep a member from writing
    Mute(Moderation),
    /// Let a muted member write again
    Unmute(Moderation),
    /// Set what the room is like: who may join and write
    #[command(group = clap::ArgGroup::new("setting").required(true))]
    Set(Setting),
    /// Give a member a role
    Role {
        /// The room
        room: String,
        /// The member: bob, @bob:chat.example.org or @bob:12D3KooW...
        member: String,
        /// The role
        #[arg(value_parser = ["owner", "moderator", "leader", "member"])]
        role: String,
        /// The local user who does it
        #[arg(long)]
        user: String,
    },
}

/// What is done to somebody in a room.
#[derive(Debug, Args)]
pub(crate) struct Moderation {
    /// The room
    pub(crate) room: String,
    /// Whom: bob, @bob:chat.example.org or @bob:12D3KooW...
    pub(crate) member: String,
    /// The local user who does it
    #[arg(long)]
    pub(crate) user: String,
}

/// One setting of a room.
#[derive(Debug, Args)]
#[command(override_usage = "rocketmesh rooms set ROOM --user USER OPTION")]
#[command(after_help = "\
Examples:
  rocketmesh rooms set general --join invite --user alice
  rocketmesh rooms set general --read-only on --user alice
  rocketmesh rooms set general --server 12D3KooW... deny --user alice")]
pub(crate) struct Setting {
    /// The room
    pub(crate) room: String,
    /// Who may join: anybody, whoever has the join code, or the invited
    #[arg(long, group = "setting", value_parser = ["open", "code", "invite"])]
    pub(crate) join: Option<String>,
    /// Only owners and moderators may write
    #[arg(long, group = "setting", value_name = "ON|OFF", value_parser = on_or_off)]
    pub(crate) read_only: Option<bool>,
    /// Only owners, moderators and leaders may begin threads
    #[arg(long, group = "setting", value_name = "ON|OFF", value_parser = on_or_off)]
    pub(crate) announcement_only: Option<bool>,
    /// Nobody may write or join
    #[arg(long, group = "setting", value_name = "ON|OFF", value_parser = on_or_off)]
    pub(crate) archived: Option<bool>,
    /// Only servers that are allowed may join
    #[arg(long, group = "setting", value_name = "ON|OFF", value_parser = on_or_off)]
    pub(crate) listed_only: Option<bool>,
    /// The description
    #[arg(long, group = "setting", value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// What is pinned above the room
    #[arg(long, group = "setting", value_name = "TEXT")]
    pub(crate) announcement: Option<String>,
    /// Allow or deny a server, or take back what was said about it: allow, deny, none
    #[arg(long, group = "setting", num_args = 2, value_names = ["SERVER", "RULE"])]
    pub(crate) server: Vec<String>,
    /// The local user who does it
    #[arg(long)]
    pub(crate) user: String,
}

fn on_or_off(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

/// `rocketmesh send`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the event's id once it is on disk. Text that begins with a hyphen goes
behind `--`.

Examples:
  rocketmesh send general --user alice Hello everybody
  uptime | rocketmesh send general --user alice -
  rocketmesh send general --user alice --edit bafyr4i... Hello all")]
pub(crate) struct SendArgs {
    /// The room
    pub(crate) room: String,
    /// What to say, words joined by spaces; `-` alone reads standard input
    #[arg(required = true, num_args = 1..)]
    pub(crate) text: Vec<String>,
    /// The local user who says it
    #[arg(long)]
    pub(crate) user: String,
    /// Replace the text of this message
    #[arg(long, value_name = "EVENT", conflicts_with = "thread")]
    pub(crate) edit: Option<String>,
    /// Answer in the thread that this message began
    #[arg(long, value_name = "EVENT")]
    pub(crate) thread: Option<String>,
}

/// `rocketmesh react`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rocketmesh react general bafyr4i... --user alice --emoji :rocket:")]
pub(crate) struct ReactArgs {
    /// The room
    pub(crate) room: String,
    /// The message's id
    pub(crate) event: String,
    /// The local user who reacts
    #[arg(long)]
    pub(crate) user: String,
    /// The reaction, such as :smile:
    #[arg(long)]
    pub(crate) emoji: String,
    /// Take the reaction back
    #[arg(long)]
    pub(crate) remove: bool,
}

/// `rocketmesh redact`
#[derive(Debug, Args)]
pub(crate) struct RedactArgs {
    /// The room
    pub(crate) room: String,
    /// The message's id
    pub(crate) event: String,
    /// The local user who takes it back
    #[arg(long)]
    pub(crate) user: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `rocketmesh verify-room`
#[derive(Debug, Args)]
#[command(after_help = "\
Asks every server that has a member in the room and is connected. What is
missing here is fetched. Ends with 1 unless nothing is missing.

Example:
  rocketmesh verify-room general")]
pub(crate) struct VerifyRoomArgs {
    /// The room
    pub(crate) room: String,
}

/// `rocketmesh rooms retention`
#[derive(Debug, Args)]
#[command(after_help = "\
What is older loses its text on this node, at once and from then on; that it was
said, by whom and when stays, so that nothing seems missing. Other servers keep
what they like.

Examples:
  rocketmesh rooms retention general
  rocketmesh rooms retention general 90d
  rocketmesh rooms retention general forever")]
pub(crate) struct RetentionArgs {
    /// The room
    pub(crate) room: String,
    /// How long: 90d, 12h, 30m, or forever
    #[arg(value_name = "TIME")]
    pub(crate) keep: Option<Keep>,
}

/// `rocketmesh rooms export`
#[derive(Debug, Args)]
#[command(after_help = "\
Writes a CAR of version 1 with every event that this node holds of the room, and
the texts that are here. No key is in it. Whoever has the file can read it.

Example:
  rocketmesh rooms export general general.car")]
pub(crate) struct ExportArgs {
    /// The room
    pub(crate) room: String,
    /// The file to write; it appears when the room is whole
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) force: bool,
}

/// `rocketmesh rooms import`
#[derive(Debug, Args)]
#[command(after_help = "\
Every event is checked as if another server had sent it. The room's history can
be read then; to take part in it, join it:
  rocketmesh rooms join ID --user NAME

Example:
  rocketmesh rooms import general.car")]
pub(crate) struct ImportArgs {
    /// The file, a CAR of version 1 with one room
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

/// How long to keep something; none is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep(pub(crate) Option<Duration>);

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Keep(None));
        }
        let wrong = || format!("`{text}` is no length of time: write 90d, 12h, 30m or forever");
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
        let seconds = match unit {
            "d" => 86_400,
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number
            .checked_mul(seconds)
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Keep(Some(Duration::from_secs(seconds))))
            .ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit() {
        assert_eq!("90d".parse(), Ok(Keep(Some(Duration::from_secs(90 * 86_400)))));
        assert_eq!("forever".parse(), Ok(Keep(None)));
        for wrong in ["", "d", "90", "90w", "0d", "-1d", "99999999999999999999d", "99999999999999999d", "é"] {
            assert!(wrong.parse::<Keep>().is_err(), "{wrong}");
        }
    }
}
