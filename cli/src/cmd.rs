//! The commands that speak to a running node, one file each.

mod backup;
mod bridged;
mod car;
pub(crate) mod completions;
mod config;
mod download;
mod events;
mod files;
mod id;
mod net;
mod peers;
mod policy;
mod proof;
mod queue;
mod rocketchat;
mod rooms;
mod send;
mod status;
mod tail;

use rocketmesh_node::api::types::{PeerList, RoomList};

use crate::args::{AdminCommand, Globals};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Output;
use crate::resolve::{self, Candidate};

/// What every command needs.
#[derive(Debug)]
pub(crate) struct Context {
    /// Which node.
    pub(crate) globals: Globals,
    /// Where to print.
    pub(crate) output: Output,
}

/// Does what was asked.
pub(crate) async fn run(context: &Context, command: AdminCommand) -> Result<(), Failure> {
    match command {
        AdminCommand::Status => status::run(context).await,
        AdminCommand::Id(args) => id::run(context, &args).await,
        AdminCommand::Config => config::run(context).await,
        AdminCommand::Net(args) => net::run(context, args).await,
        AdminCommand::Peers(args) => peers::run(context, args).await,
        AdminCommand::Connect(args) => peers::connect(context, args).await,
        AdminCommand::Ban(args) => peers::ban(context, args).await,
        AdminCommand::Unban(args) => peers::unban(context, &args).await,
        AdminCommand::Policy(args) => policy::run(context, args).await,
        AdminCommand::Rooms(args) => rooms::run(context, args).await,
        AdminCommand::VerifyRoom(args) => proof::verify_room(context, &args).await,
        AdminCommand::Send(args) => send::send(context, args).await,
        AdminCommand::React(args) => send::react(context, args).await,
        AdminCommand::Redact(args) => send::redact(context, args).await,
        AdminCommand::Files(args) => files::run(context, args).await,
        AdminCommand::RocketChat(args) => rocketchat::run(context, args).await,
        AdminCommand::Tail(args) => tail::run(context, args).await,
        AdminCommand::Events(args) => events::run(context, args).await,
        AdminCommand::Backup(args) => backup::run(context, &args).await,
    }
}

impl Context {
    /// The API of the node that the options name. The address and the token are read anew each time, because a node
    /// that was started again may have others.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.globals)
    }
}

/// The id of the room that `text` means.
async fn room_id(client: &Client, text: &str) -> Result<String, Failure> {
    if resolve::is_room_id(text) {
        return Ok(text.to_owned());
    }
    let list: RoomList = client.get(&["rooms"]).await?.parse()?;
    let candidates: Vec<Candidate> = list.rooms.into_iter().map(Candidate::from).collect();
    resolve::room(text, &candidates)
}

/// The id of the server that `text` means.
async fn peer_id(client: &Client, text: &str) -> Result<String, Failure> {
    if resolve::is_peer_id(text) { Ok(text.to_owned()) } else { resolve::peer(text, &known_peers(client).await?) }
}

async fn known_peers(client: &Client) -> Result<Vec<Candidate>, Failure> {
    let list: PeerList = client.get(&["peers"]).await?.parse()?;
    Ok(list.peers.into_iter().map(Candidate::from).collect())
}
