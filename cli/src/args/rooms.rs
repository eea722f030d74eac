//! Options of the commands about rooms and what is said in them.

use clap::{Args, Subcommand};

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

/// `rocketmesh send`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the event's id once it is on disk. Text that begins with a hyphen goes behind `--`.

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
