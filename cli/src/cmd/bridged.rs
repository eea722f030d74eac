//! `rocketmesh rocketchat rooms`, `federate`, `unfederate`

use std::time::Duration;

use rocketmesh_node::api::{FederateRoom, FederatedRoom, FederatedRooms};

use crate::args::bridged::{FederateArgs, UnfederateArgs};
use crate::cmd::Context;
use crate::cmd::rooms::kind_of_room;
use crate::failure::Failure;
use crate::output::table;
use crate::text::short_id;

/// How long it may take to find a server of a room, and to make everything for it in Rocket.Chat.
const FEDERATE: Duration = Duration::from_secs(120);

pub(super) async fn rooms(context: &Context) -> Result<(), Failure> {
    context.output.show(&context.client()?.get(&["rocketchat", "rooms"]).await?, listed)
}

pub(super) async fn federate(context: &Context, args: FederateArgs) -> Result<(), Failure> {
    let request = FederateRoom { channel: args.channel, room: args.room, user: args.user };
    let waiting = context.output.spinner("opening the room");
    let answer = context.client()?.post_within(&["rocketchat", "rooms"], &request, FEDERATE).await;
    waiting.finish_and_clear();
    context.output.show(&answer?, |room: FederatedRoom| {
        format!("#{} is the room {}; other servers join it by that id", room.name, room.room)
    })
}

pub(super) async fn unfederate(context: &Context, args: UnfederateArgs) -> Result<(), Failure> {
    context.client()?.delete(&["rocketchat", "rooms", &args.channel]).await?;
    context.output.done("the room is this server's own again")
}

fn listed(list: FederatedRooms) -> String {
    if list.rooms.is_empty() {
        return "no room of Rocket.Chat is open to other servers; `rocketmesh rocketchat federate CHANNEL` opens one"
            .to_owned();
    }
    let rows = list.rooms.into_iter().map(|room| {
        let does = room.problem.map_or_else(|| "ok".to_owned(), |problem| format!("waits: {problem}"));
        [room.name, kind_of_room(&room.kind).to_owned(), short_id(&room.room), does]
    });
    let rooms = table(["NAME", "KIND", "ROOM", "HOW IT DOES"], rows.collect::<Vec<_>>());
    format!("{rooms}\n\nother servers join by a room's id in full: `rocketmesh rooms show NAME`")
}
