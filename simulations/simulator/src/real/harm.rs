//! Servers that mean harm beyond what they do to bytes (see the meter): floods, forks, back-dating, crowding.

use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use rocketmesh_node::client::Client;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Content, Event, Lane, Placement, RoomVersion, author};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::WireEvent;
use tokio::task::JoinHandle;

use super::past::{draft, localpart};
use super::server::Server;
use super::stage::Stage;
use crate::plan::{Plan, RoomPlan};
use crate::random::Random;
use crate::scenario::Harm;

/// How long a flood goes on, and how many messages a second it has.
const FLOOD: Duration = Duration::from_secs(30);
const FLOOD_RATE: u32 = 50;
/// How often forks and back-dated events are made.
const FORK_EVERY: Duration = Duration::from_secs(10);

/// Lets a hostile server that runs begin, for the first time or again after it was away. None for one that is honest, does not run, or
/// does its harm to bytes alone.
pub(super) fn begin(plan: &Arc<Plan>, stage: &Arc<Stage>, servers: &[Server], number: usize) -> Option<JoinHandle<()>> {
    let (harm, client) = (plan.servers[number].hostile?, servers[number].client()?);
    let own = |(room, plan): (usize, &RoomPlan)| {
        let own = plan.members.iter().find(|member| member.server == number)?;
        Some((room, own.user.clone()))
    };
    let rooms: Vec<(usize, String)> = plan.rooms.iter().enumerate().filter_map(own).collect();
    match harm {
        Harm::Flood => Some(tokio::spawn(flood(Arc::clone(stage), client, rooms))),
        Harm::Fork | Harm::BackDate => {
            let key = servers[number].key.clone();
            Some(tokio::spawn(lie(Arc::clone(stage), number, key, client, rooms, harm)))
        }
        Harm::Eclipse => {
            // One that others can reach: nobody could crowd around another.
            let reached = |server: &usize| !plan.servers[*server].bootstrap && !plan.servers[*server].nat;
            let victim = plan.honest().find(reached)?;
            Some(tokio::spawn(crowd(client, servers[victim].multiaddr())))
        }
        // What these do is done to their bytes; the last two no scenario for this layer has.
        Harm::Withhold | Harm::Garbage | Harm::Lie | Harm::Spoil => None,
    }
}

async fn flood(stage: Arc<Stage>, client: Client, rooms: Vec<(usize, String)>) {
    let count = FLOOD_RATE * FLOOD.as_secs() as u32;
    for number in 0..count {
        for (room, user) in &rooms {
            let Ok(user) = localpart(user) else { continue };
            let fields = Map::new().with("text", format!("flood {number}").as_str());
            let _ = client.post(stage.rooms[*room], user, &Content::Message { thread: None }, Some(fields)).await;
        }
        tokio::time::sleep(FLOOD / count).await;
    }
}

/// Signs events that contradict each other, or that know of nothing since the room was made, and hands each to another
/// server.
async fn lie(
    stage: Arc<Stage>,
    number: usize,
    key: ServerKey,
    client: Client,
    rooms: Vec<(usize, String)>,
    harm: Harm,
) {
    let mut random = Random::new(stage.plan.seed, &format!("lies of server {number}"));
    let end = super::world::moment(&stage, stage.plan.duration());
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(FORK_EVERY.mul_f64(0.5 + random.fraction())).await;
        for (room, user) in &rooms {
            let id = stage.rooms[*room];
            let Some(placement) = place(&client, id, &key, harm) else { continue };
            let Ok(user) = localpart(user) else { continue };
            let is_member =
                |server: &usize| stage.plan.rooms[*room].members.iter().any(|member| member.server == *server);
            let told: Vec<Client> =
                stage.plan.honest().filter(is_member).filter_map(|server| stage.client(server)).collect();
            for (side, told) in random.choose(&told, 2).into_iter().enumerate() {
                let text = format!("what server {number} says to side {side}");
                let content = Content::Message { thread: None };
                let draft = draft(&mut random, Some(user.clone()), &content, Some(("text", &text)));
                let Ok(event) = author(&key, placement.clone(), draft) else { continue };
                let wire = WireEvent::of(&event);
                stage.observe(|observer, _| observer.register(Arc::new(event), *room, number));
                let _ = told.ingest(id, vec![wire]).await;
            }
        }
    }
}

/// Where a lie goes: after the last event of one's own chain, in view of everything or of nothing but one's own coming in.
fn place(client: &Client, room: RoomId, key: &ServerKey, harm: Harm) -> Option<Placement> {
    let outline = client.outline(&room).ok().flatten()?;
    let lamport = |id: &_| -> Result<u64, ()> {
        Ok(client.event(id).ok().flatten().map_or(0, |stored| stored.event.header().lamport))
    };
    let placement = outline.placement(key.origin(), Lane::Timeline, lamport).ok()?;
    if harm == Harm::Fork {
        return Some(placement);
    }
    let (_, own) = outline.head(key.origin(), Lane::State)?;
    let own: Event = client.event(&own).ok()??.event;
    let last = outline.head(key.origin(), Lane::Timeline);
    let before =
        last.and_then(|(_, id)| client.event(&id).ok().flatten()).map_or(0, |last| last.event.header().lamport);
    Some(Placement {
        room: Some(room),
        version: RoomVersion::DRAFT,
        self_parent: last.map(|(seq, id)| (id, seq)),
        parents: Vec::new(),
        state_frontier: vec![own.id()],
        lamport: 1 + own.header().lamport.max(before),
    })
}

/// Connects to one server and stays there.
async fn crowd(client: Client, victim: Multiaddr) {
    loop {
        let _ = client.connect(victim.clone()).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}
