//! Options of the commands about Rocket.Chat.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::args::bridged::{FederateArgs, UnfederateArgs};
use crate::args::queue::{QueueArgs, WebhookArgs};

/// `rocketmesh rocketchat`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rocketmesh rocketchat connect https://chat.example.org
  rocketmesh rocketchat status
  rocketmesh rocketchat queue
  rocketmesh rocketchat check")]
pub(crate) struct RocketChatArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: RocketChatCommand,
}

/// What to do with Rocket.Chat.
#[derive(Debug, Subcommand)]
pub(crate) enum RocketChatCommand {
    /// Join a Rocket.Chat server to the mesh
    Connect(RocketChatConnectArgs),
    /// Check the connected server step by step
    Check,
    /// Show how the connected server does, and what waits for it
    Status,
    /// List the rooms that are open to other servers
    Rooms,
    /// Open a channel to other servers, or enter a room of theirs
    Federate(FederateArgs),
    /// Close a channel to other servers again
    Unfederate(UnfederateArgs),
    /// Show what waits and what was not taken; try it again or dismiss it
    Queue(QueueArgs),
    /// Give a room a way round a restricted workspace
    Webhook(WebhookArgs),
    /// Have nothing more to do with the connected server
    Disconnect,
}

/// `rocketmesh rocketchat connect`
#[derive(Debug, Args)]
#[command(after_help = "\
Asks for a personal access token of the service account, which is an account of
the Rocket.Chat server with the roles admin and bot. In scripts the token comes
from a file, or from ROCKETMESH_ROCKETCHAT_TOKEN; never from the command line,
where others could read it. Everything that must be right there is checked
first; if a step fails, nothing is connected and nothing is kept.

Examples:
  rocketmesh rocketchat connect https://chat.example.org
  rocketmesh rocketchat connect https://chat.example.org \\
      --service-token-file bridge.token --user-id 3nHkRk9bCd7PqXy2A")]
pub(crate) struct RocketChatConnectArgs {
    /// The server's address, as people open it in a browser
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) address: String,
    /// The file with the service account's token; `-` reads standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) service_token_file: Option<PathBuf>,
    /// The service account's id, which Rocket.Chat shows beside a new token [default: the token's own]
    #[arg(long, value_name = "ID")]
    pub(crate) user_id: Option<String>,
}
