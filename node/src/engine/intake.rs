//! What the network brings: verified here, then handed to the rooms.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use libp2p::gossipsub::MessageAcceptance;
use libp2p::identity::PeerId;
use rocketmesh_protocol::event::{Event, UnverifiedEvent};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::wire::{GossipFrame, UnverifiedEphemeral, WireEvent};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::room::{Brought, RoomCommand};
use super::{Engine, ephemeral, invitations, lock, serve, sync};
use crate::network::{Count, Event as NetworkEvent, GossipToken};

/// Two heartbeats of gossip, after which a peer that follows a room is part of its mesh.
const MESH_FORMS: Duration = Duration::from_secs(2);
/// Fewer events than this are not worth a second thread.
const WORTH_SPLITTING: usize = 32;

/// Takes events of the network for as long as it runs.
pub(super) async fn run(engine: Engine, mut events: mpsc::Receiver<NetworkEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            NetworkEvent::PeerReady { peer, name } => {
                engine.names.note(peer, name);
                let excluded = !engine.policy.may_federate(&peer);
                let _ = engine.network.exclude(vec![(peer, excluded)]).await;
                if !excluded {
                    engine.files.look_again();
                    let own = engine.clone();
                    engine.background(async move {
                        invitations::greet(&own, peer).await;
                        sync::connected(&own, peer);
                        sync::introduce(&own, peer).await;
                    });
                }
            }
            NetworkEvent::PeerFollows { peer, room } => {
                let own = engine.clone();
                engine.background(async move {
                    sync::look(&own, peer, room);
                    // Until gossip's mesh has taken the peer in, what is passed on may pass it by.
                    tokio::time::sleep(MESH_FORMS).await;
                    sync::look(&own, peer, room);
                });
            }
            NetworkEvent::Gossip { peer, room, bytes, token } => gossip(&engine, peer, room, &bytes, token).await,
            NetworkEvent::PeerGone { peer } => lock(&engine.turns).forget(&peer),
            NetworkEvent::Request(request) => serve::take_in(&engine, request).await,
        }
    }
}

async fn gossip(engine: &Engine, peer: PeerId, room: RoomId, bytes: &[u8], token: GossipToken) {
    let acceptance = match take_gossip(engine, peer, room, bytes, &token) {
        Taken::ByRoom => return,
        Taken::Passed => MessageAcceptance::Accept,
        Taken::Not => MessageAcceptance::Ignore,
        Taken::Bad(reason) => {
            tracing::debug!(%peer, %room, reason, "refused a gossip message");
            let _ = engine.network.count(peer, Count::GossipRefused).await;
            MessageAcceptance::Reject
        }
    };
    let _ = engine.network.validated(token, acceptance).await;
}

/// What becomes of a gossip message.
pub(super) enum Taken {
    /// Its room decides, and tells the network.
    ByRoom,
    /// It is passed on.
    Passed,
    /// It is not, and nobody is to blame.
    Not,
    /// The sender is.
    Bad(String),
}

fn take_gossip(engine: &Engine, peer: PeerId, room: RoomId, bytes: &[u8], token: &GossipToken) -> Taken {
    if UnverifiedEphemeral::is_meant(bytes) {
        return ephemeral::gossiped(engine, peer, room, bytes);
    }
    let event = match GossipFrame::decode(bytes) {
        Ok(event) => event,
        Err(error) => return Taken::Bad(error.to_string()),
    };
    if event.room() != room {
        return Taken::Bad("an event of another room".to_owned());
    }
    if !engine.policy.may_federate(&peer) || !engine.policy.may_bring_event(&peer, Instant::now()) {
        return Taken::Not;
    }
    // What finds no space now is fetched once there is some.
    if engine.store().check_space().is_err() {
        return Taken::Not;
    }
    if event.lacks_body() {
        return Taken::Bad("an event without its body".to_owned());
    }
    if engine.store().contains(&event.id()).unwrap_or(false) && !brings_body(engine, &event) {
        return Taken::Not;
    }
    match event.verify() {
        Ok(event) => {
            let command = RoomCommand::Ingest {
                events: vec![event],
                from: Some(peer),
                brought: Brought::AsNews,
                token: Some(token.clone()),
                done: None,
            };
            if engine.room(room).offer(command) {
                return Taken::ByRoom;
            }
            // The room is busy. What is dropped now is brought once it has caught up, not only at the next comparison.
            sync::look_soon(engine, peer, room);
            Taken::Not
        }
        Err(error) => Taken::Bad(error.to_string()),
    }
}

/// Which events are worth the work of verifying.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Those that are not here yet.
    New,
    All,
}

/// Decodes and verifies events of one room, on every core where that pays. Returns those that are sound and new, in order,
/// and how many were refused.
pub(crate) async fn open_all(engine: &Engine, room: RoomId, events: Vec<WireEvent>) -> (Vec<Event>, usize) {
    split(engine, room, events, Wanted::New).await
}

/// As [`open_all`], and returns what is here already too.
pub(super) async fn verify_all(engine: &Engine, room: RoomId, events: Vec<WireEvent>) -> (Vec<Event>, usize) {
    split(engine, room, events, Wanted::All).await
}

async fn split(engine: &Engine, room: RoomId, events: Vec<WireEvent>, wanted: Wanted) -> (Vec<Event>, usize) {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if events.len() < WORTH_SPLITTING || threads == 1 || !engine.store().sync_blocks() {
        return open(engine, room, &events, wanted);
    }
    let share = events.len().div_ceil(threads);
    let events: Arc<[WireEvent]> = events.into();
    let parts: Vec<_> = (0..threads)
        .map(|part| {
            let engine = engine.clone();
            let events = Arc::clone(&events);
            tokio::task::spawn_blocking(move || {
                let range = (part * share).min(events.len())..((part + 1) * share).min(events.len());
                open(&engine, room, &events[range], wanted)
            })
        })
        .collect();
    let mut sound = Vec::with_capacity(events.len());
    let mut refused = 0;
    for part in parts {
        if let Ok((opened, bad)) = part.await {
            sound.extend(opened);
            refused += bad;
        }
    }
    (sound, refused)
}

/// Whether the event is here without its body, and comes with it.
fn brings_body(engine: &Engine, event: &UnverifiedEvent) -> bool {
    if event.lacks_body() {
        return false;
    }
    let here = engine.store().event(&event.id()).ok().flatten();
    here.is_some_and(|here| here.event.header().body.is_some() && here.event.body_block().is_none())
}

fn open(engine: &Engine, room: RoomId, events: &[WireEvent], wanted: Wanted) -> (Vec<Event>, usize) {
    let mut refused = 0;
    let mut sound = Vec::with_capacity(events.len());
    for event in events {
        match event.decode() {
            Ok(event) if event.room() != room => refused += 1,
            Ok(event)
                if wanted == Wanted::New
                    && engine.store().contains(&event.id()).unwrap_or(false)
                    && !brings_body(engine, &event) => {}
            Ok(event) => match event.verify() {
                Ok(event) => sound.push(event),
                Err(_) => refused += 1,
            },
            Err(_) => refused += 1,
        }
    }
    (sound, refused)
}
