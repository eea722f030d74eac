//! Company: connections to the servers of a room, where there are too few.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::id::RoomId;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::network::peer_id;

/// Rooms for which company is looked for at a time, and how many rooms are looked at for it.
const SEARCHES: usize = 8;
const LOOKED_AT: usize = 256;
/// The pause before company is looked for again; it doubles up to the last.
const FIRST_SEARCH: Duration = Duration::from_secs(5);
const LAST_SEARCH: Duration = Duration::from_secs(80);

/// Looks for company in rooms that have too little of it, for as long as the node runs. A room that stays lonely is looked
/// after more and more seldom; one that has just become so, soon.
pub(in crate::engine) async fn keep_company(engine: Engine) {
    let mut shutdown = engine.shutdown();
    let mut pauses: BTreeMap<RoomId, (Duration, Instant)> = BTreeMap::new();
    let mut next = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(FIRST_SEARCH) => {}
            () = crate::network::shut_down(&mut shutdown) => return,
        }
        let rooms = engine.followed();
        pauses.retain(|room, _| rooms.contains(room));
        let now = Instant::now();
        let Ok(ready) = engine.network.ready().await else { return };
        let mut searches = 0;
        // Goes on where the last round stopped, so that rooms that stay lonely do not keep the others waiting.
        for _ in 0..rooms.len().min(LOOKED_AT) {
            if searches == SEARCHES {
                break;
            }
            next = (next + 1) % rooms.len();
            let room = rooms[next];
            if pauses.get(&room).is_some_and(|(_, until)| now < *until) {
                continue;
            }
            if !lonely_among(&engine, room, &ready).await {
                pauses.remove(&room);
                continue;
            }
            searches += 1;
            let pause = pauses.get(&room).map_or(FIRST_SEARCH, |(pause, _)| (*pause * 2).min(LAST_SEARCH));
            pauses.insert(room, (pause, now + pause));
            meet(engine.clone(), room);
        }
    }
}

/// Whether the room has servers that this node could be connected to, and is connected to too few.
async fn lonely(engine: &Engine, room: RoomId) -> bool {
    let Ok(ready) = engine.network.ready().await else { return false };
    lonely_among(engine, room, &ready).await
}

async fn lonely_among(engine: &Engine, room: RoomId, ready: &[PeerId]) -> bool {
    let Ok((state, _)) = engine.state(room).await else { return false };
    // Not counting those that everybody is told to connect to: their meshes are full, and somebody with no other company
    // would stand outside of all.
    let others: BTreeSet<PeerId> = state
        .servers()
        .iter()
        .filter(|origin| **origin != engine.origin)
        .map(peer_id)
        .filter(|peer| !engine.bootstrap.contains(peer))
        .collect();
    let connected = ready.iter().filter(|peer| others.contains(peer)).count();
    // Without gossip nobody passes events on: as many as may be are to be handed them.
    let enough = if engine.followed.gossips(&room) { engine.tuning.company / 2 } else { engine.tuning.company };
    connected < others.len().min(enough)
}

/// Looks for a room's servers in the DHT and connects to them.
pub(in crate::engine) fn meet(engine: Engine, room: RoomId) {
    engine.clone().background(async move {
        if !lonely(&engine, room).await {
            return;
        }
        let Ok(mut found) = engine.network.providers(room).await else { return };
        while found.recv().await.is_some() {
            if !lonely(&engine, room).await {
                return;
            }
        }
    });
}
