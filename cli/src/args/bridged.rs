//! Options of the commands about rooms that stand in the mesh and in Rocket.Chat.

use clap::Args;

/// `rocketmesh rocketchat federate`
#[derive(Debug, Args)]
#[command(after_help = "\
A channel that is opened becomes a new room of the mesh, which other servers
join by its id. With --room the channel becomes one that is there already, and
without a channel a room of the mesh gets a new one. The service account has to
be in the channel: invite it there first. People can do the same themselves, by
writing `federate #lunch` to the service account in Rocket.Chat.

Examples:
  rocketmesh rocketchat federate lunch
  rocketmesh rocketchat federate lunch --user alice
  rocketmesh rocketchat federate --room bafyr4i… --user alice")]
pub(crate) struct FederateArgs {
    /// The channel or group in Rocket.Chat, by name or id
    #[arg(value_name = "CHANNEL", required_unless_present = "room")]
    pub(crate) channel: Option<String>,
    /// The room of the mesh that it is to be [default: a new one]
    #[arg(long, value_name = "ROOM", requires = "user")]
    pub(crate) room: Option<String>,
    /// The Rocket.Chat user for whom this is done [default: the channel's first owner]
    #[arg(long, value_name = "USERNAME")]
    pub(crate) user: Option<String>,
}

/// `rocketmesh rocketchat unfederate`
#[derive(Debug, Args)]
#[command(after_help = "\
People of this server leave the room in the mesh, and those of other servers
leave it here. What was said in it stays on both sides.

Example:
  rocketmesh rocketchat unfederate lunch")]
pub(crate) struct UnfederateArgs {
    /// The channel or group in Rocket.Chat, by name or id
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
}
