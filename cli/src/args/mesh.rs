//! Options of the commands about other servers.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use rocketmesh_node::api::types::Audience;

/// `rocketmesh peers`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rocketmesh peers
  rocketmesh peers inspect chat.example.org
  rocketmesh peers inspect x7k2m3q              the end of its id")]
pub(crate) struct PeersArgs {
    /// What to show; all of them without it.
    #[command(subcommand)]
    pub(crate) command: Option<PeersCommand>,
}

/// What to show of servers.
#[derive(Debug, Subcommand)]
pub(crate) enum PeersCommand {
    /// List the servers that the node knows (the default)
    List,
    /// Show all that is known about one
    Inspect {
        /// The server: its id, the beginning or the end of it, or its name
        #[arg(value_name = "PEER")]
        peer: String,
    },
}

/// `rocketmesh net`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rocketmesh net                            can others reach this node, and how?
  rocketmesh --json net | jq .reachability  in a script
  rocketmesh net new-key mesh.key           the key of a new private mesh

A server behind a router is often out of reach: others cannot connect to it.
Then it asks the router to forward a port (UPnP), or is reached through relays:
servers that pass on what they cannot read. `to do` stands there only if it
needs help.")]
pub(crate) struct NetArgs {
    /// What to do; show without it.
    #[command(subcommand)]
    pub(crate) command: Option<NetCommand>,
}

/// What to do about the network.
#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Show whether and how others reach the node (the default)
    Show,
    /// Make the key of a private mesh; needs no running node
    #[command(after_help = "\
Copy the file to every server of the mesh by a safe way, and name it in each
configuration as network.private_key_file. Without it nobody can even shake
hands with them.")]
    NewKey {
        /// The file to write; it must not exist yet
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// `rocketmesh connect`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rocketmesh connect /ip4/192.0.2.7/tcp/4848/p2p/12D3KooW...")]
pub(crate) struct ConnectArgs {
    /// The server's address, as its `rocketmesh id --addresses` prints it; /dns4/... and /dnsaddr/... work too
    pub(crate) address: String,
}

/// `rocketmesh ban`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rocketmesh ban 12D3KooW... --reason \"floods the mesh\"")]
pub(crate) struct BanArgs {
    /// The server: its id, the beginning or the end of it, or its name
    pub(crate) peer: String,
    /// Why, for other administrators to read
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `rocketmesh unban`
#[derive(Debug, Args)]
pub(crate) struct UnbanArgs {
    /// The server: its id, the beginning or the end of it, or its name
    pub(crate) peer: String,
}

/// `rocketmesh policy`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rocketmesh policy
  rocketmesh policy set --federate known --requests-per-minute 600
  rocketmesh policy set --federate listed --list-add 12D3KooW... 12D3KooW...")]
pub(crate) struct PolicyArgs {
    /// What to do; show it without this.
    #[command(subcommand)]
    pub(crate) command: Option<PolicyCommand>,
}

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the policy (the default)
    Show,
    /// Change parts of the policy; what is not named stays
    Set(PolicySet),
}

/// The parts of the policy to change.
#[derive(Debug, Default, Args)]
#[command(override_usage = "rocketmesh policy set OPTION...")]
#[group(required = true, multiple = true)]
pub(crate) struct PolicySet {
    /// Which servers may exchange events with this one
    #[arg(long, value_name = "WHO")]
    pub(crate) federate: Option<Who>,
    /// Which servers may invite users of this one
    #[arg(long, value_name = "WHO")]
    pub(crate) invite: Option<Who>,
    /// Which servers may open direct rooms with users of this one
    #[arg(long, value_name = "WHO")]
    pub(crate) direct: Option<Who>,
    /// The most requests that one server may make in a minute; 0 is no limit of its own
    #[arg(long, value_name = "N")]
    pub(crate) requests_per_minute: Option<u64>,
    /// The most new events that one server may bring in a minute; 0 is no limit of its own
    #[arg(long, value_name = "N")]
    pub(crate) events_per_minute: Option<u64>,
    /// Servers to put on the list
    #[arg(long, value_name = "PEER", num_args = 1..)]
    pub(crate) list_add: Vec<String>,
    /// Servers to take off the list
    #[arg(long, value_name = "PEER", num_args = 1..)]
    pub(crate) list_remove: Vec<String>,
}

/// A group of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Who {
    /// Every server that is not banned
    Open,
    /// Listed servers, and those that this node was told to connect to
    Known,
    /// Listed servers
    Listed,
}

impl From<Who> for Audience {
    fn from(who: Who) -> Self {
        match who {
            Who::Open => Audience::Open,
            Who::Known => Audience::Known,
            Who::Listed => Audience::Listed,
        }
    }
}
