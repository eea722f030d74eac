//! Options of the commands about what waits for Rocket.Chat.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// `rocketmesh rocketchat queue`
#[derive(Debug, Args)]
#[command(after_help = "\
Shows what waits for Rocket.Chat in each room and why, and below it what was not
taken while the rest went on: a text that is too long, a permission that is
missing, an account that cannot log in. At most 1000 of these are kept. Beyond,
rooms wait, and nothing is lost.

Examples:
  rocketmesh rocketchat queue
  rocketmesh rocketchat queue retry 1f0c9a7be2d4
  rocketmesh rocketchat queue retry --all
  rocketmesh rocketchat queue dismiss 1f0c9a7be2d4")]
pub(crate) struct QueueArgs {
    /// What to do; without it, the queue is shown.
    #[command(subcommand)]
    pub(crate) command: Option<QueueCommand>,
}

/// What to do with what was not taken.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Show what waits and what was not taken
    List,
    /// Try something again, once the reason is gone
    Retry {
        /// Its id, as the queue shows it
        #[arg(value_name = "ID", required_unless_present = "all")]
        id: Option<String>,
        /// Everything that can be tried again
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Forget something that was dealt with
    Dismiss {
        /// Its id, as the queue shows it
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// `rocketmesh rocketchat webhook`
#[derive(Debug, Args)]
#[command(after_help = "\
A community workspace that has not reached its vendor for ten days takes no
messages. Incoming webhooks go on. Make one in Administration, Integrations,
New, Incoming, with the room as its channel and the service account as `Post
as`, and give its address here. It says one line in the room, to see whether it
works.
The address is a secret, so that it is read and never an argument.

Examples:
  rocketmesh rocketchat webhook lunch < webhook.txt
  rocketmesh rocketchat webhook lunch --url-file webhook.txt
  rocketmesh rocketchat webhook lunch --remove")]
pub(crate) struct WebhookArgs {
    /// The channel or group in Rocket.Chat, by name or id
    #[arg(value_name = "ROOM")]
    pub(crate) room: String,
    /// The file with the webhook's address; `-` reads standard input
    #[arg(long, value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
    pub(crate) url_file: PathBuf,
    /// Forget the room's webhook
    #[arg(long, conflicts_with = "url_file")]
    pub(crate) remove: bool,
}
