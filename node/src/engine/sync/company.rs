//! Company: connections to the servers of a room, where there are too few.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::limits::MAX_CONTACTS;
use rocketmesh_protocol::wire::{Contact, Request, Response};
use tokio::time::{Instant, timeout};

use super::pull::off_topic;
use crate::clock::random_16;
use crate::engine::Engine;
use crate::network::{NetworkClosed, peer_id};

/// Rooms for which company is looked for at a time, and how many rooms are looked at for it.
const SEARCHES: usize = 8;
const LOOKED_AT: usize = 256;
/// The pause before company is looked for again; it doubles up to the last.
const FIRST_SEARCH: Duration = Duration::from_secs(5);
const LAST_SEARCH: Duration = Duration::from_secs(80);

/// How many servers of a room say in the DHT that they are in it, about: enough for some to be there at any time.
const ANNOUNCERS: u64 = 40;
/// How many servers are asked whom else they know, and how long it is waited for those that one has named.
const ASKED: usize = 3;
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks for company in rooms that have too little of it, for as long as the node runs. A room that stays lonely is looked
/// after more and more seldom; one that has just become so, soon.
pub(in crate::engine) async fn keep_company(engine: Engine) {
    let mut shutdown = engine.shutdown();
    let mut pauses: BTreeMap<RoomId, (Duration, Instant)> = BTreeMap::new();
    let mut announced: BTreeSet<RoomId> = BTreeSet::new();
    let mut next = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(FIRST_SEARCH) => {}
            () = crate::network::shut_down(&mut shutdown) => return,
        }
        let rooms = engine.followed();
        pauses.retain(|room, _| rooms.contains(room));
        announced.retain(|room| rooms.contains(room));
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
            let waits = pauses.get(&room).is_some_and(|(_, until)| now < *until);
            if waits && announced.contains(&room) {
                continue;
            }
            let Some(circle) = Circle::of(&engine, room).await else { continue };
            if !announced.contains(&room) && announces(&room, &engine.origin, circle.others.len() + 1) {
                announced.insert(room);
                let Ok(()) = engine.network.announce(room).await else { return };
            }
            if circle.lacks(&engine, &ready, circle.enough) == 0 {
                pauses.remove(&room);
                continue;
            }
            if waits {
                continue;
            }
            searches += 1;
            let pause = pauses.get(&room).map_or(FIRST_SEARCH, |(pause, _)| (*pause * 2).min(LAST_SEARCH));
            pauses.insert(room, (pause, now + pause));
            meet(engine.clone(), room);
        }
    }
}

/// The servers of a room that this node may keep company with.
struct Circle {
    /// All but this one.
    others: BTreeSet<PeerId>,
    /// As many of them as are wanted at least.
    enough: usize,
}

impl Circle {
    async fn of(engine: &Engine, room: RoomId) -> Option<Self> {
        let (state, _) = engine.state(room).await.ok()?;
        let others: BTreeSet<PeerId> =
            state.servers().iter().filter(|origin| **origin != engine.origin).map(peer_id).collect();
        // Without gossip nobody passes events on: as many as may be are to be handed them.
        let enough = if engine.followed.gossips(&room) { engine.tuning.company / 2 } else { engine.tuning.company };
        Some(Circle { others, enough })
    }

    /// How many more servers are to be connected with for there to be as many as `wanted`, if there are. Not counting those
    /// that everybody is told to connect to: their meshes are full, and somebody with no other company would stand outside of all.
    fn lacks(&self, engine: &Engine, ready: &[PeerId], wanted: usize) -> usize {
        let counts = |peer: &&PeerId| self.others.contains(peer) && !engine.bootstrap.contains(peer);
        let there = self.others.iter().filter(counts).count();
        there.min(wanted).saturating_sub(ready.iter().filter(counts).count())
    }
}

/// Whether the room has servers that this node could be connected to, and is connected to too few.
async fn lonely(engine: &Engine, room: RoomId) -> bool {
    let Ok(ready) = engine.network.ready().await else { return false };
    Circle::of(engine, room).await.is_some_and(|circle| circle.lacks(engine, &ready, circle.enough) > 0)
}

/// Whether this server says in the DHT that it is in a room, which has so many servers: of a large room some do, drawn by lot. The
/// DHT names no more than twenty of a room, and whoever finds one finds the others through it.
fn announces(room: &RoomId, own: &Origin, servers: usize) -> bool {
    let hash = blake3::hash(&[&room.hash()[..], own.as_bytes()].concat());
    let lot = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    (lot % servers.max(1) as u64) < ANNOUNCERS
}

/// Looks for a room's servers and connects to them: asks those who are here whom else they know, and if that is not enough, looks
/// in the DHT. The DHT names the same few to everybody; those few know others.
pub(in crate::engine) fn meet(engine: Engine, room: RoomId) {
    engine.clone().background(async move {
        let _ = ask_around(&engine, room).await;
        if !lonely(&engine, room).await {
            return;
        }
        let Ok(mut found) = engine.network.providers(room).await else { return };
        while found.recv().await.is_some() {
            let _ = ask_around(&engine, room).await;
            if !lonely(&engine, room).await {
                return;
            }
        }
    });
}

/// Asks servers of the room whom else they are connected with there, and connects to as many as are lacking, drawn by lot: so
/// company becomes a graph in which everybody is a few steps from everybody, and nobody the middle.
async fn ask_around(engine: &Engine, room: RoomId) -> Result<(), NetworkClosed> {
    let Some(circle) = Circle::of(engine, room).await else { return Ok(()) };
    let ready = engine.network.ready().await?;
    if circle.lacks(engine, &ready, circle.enough) == 0 {
        return Ok(());
    }
    let salt = random_16(&*engine.entropy);
    let mut asked: Vec<PeerId> = ready.into_iter().filter(|peer| circle.others.contains(peer)).collect();
    asked.sort_by_cached_key(|peer| lot(&salt, peer));
    for peer in asked.into_iter().take(ASKED) {
        let ready = engine.network.ready().await?;
        let lacking = circle.lacks(engine, &ready, engine.tuning.company);
        if lacking == 0 {
            return Ok(());
        }
        let named = match engine.network.request(peer, &Request::Contacts { room }).await {
            Ok(Response::Contacts { contacts }) => contacts,
            // An older server does not know the question.
            Ok(Response::Refused(_)) | Err(_) => continue,
            other => {
                let _ = off_topic(engine, peer, other).await;
                continue;
            }
        };
        let wanted = |contact: &Contact| {
            let named = peer_id(&contact.server);
            circle.others.contains(&named) && !ready.contains(&named)
        };
        let mut named: Vec<Contact> = named.into_iter().filter(wanted).collect();
        named.sort_by_cached_key(|contact| lot(&salt, &peer_id(&contact.server)));
        named.dedup_by_key(|contact| contact.server);
        named.truncate(lacking);
        let mut found = engine.network.acquaint(peer, named).await?;
        // What is dialled in vain may take long; others can be asked meanwhile.
        let _ = timeout(PATIENCE, async { while found.recv().await.is_some() {} }).await;
    }
    Ok(())
}

/// Answers a server of the room that asks for company.
pub(in crate::engine) async fn contacts(engine: &Engine, asker: PeerId, room: RoomId) -> Response {
    let none = Response::Contacts { contacts: Vec::new() };
    let (Some(circle), Ok(ready)) = (Circle::of(engine, room).await, engine.network.ready().await) else { return none };
    let salt = random_16(&*engine.entropy);
    let mut known: Vec<PeerId> =
        ready.into_iter().filter(|peer| *peer != asker && circle.others.contains(peer)).collect();
    known.sort_by_cached_key(|peer| lot(&salt, peer));
    known.truncate(MAX_CONTACTS);
    engine.network.contacts(asker, known).await.map_or(none, |contacts| Response::Contacts { contacts })
}

/// A place in an order that nobody can foresee.
fn lot(salt: &[u8; 16], peer: &PeerId) -> [u8; 32] {
    *blake3::hash(&[&salt[..], &peer.to_bytes()].concat()).as_bytes()
}
