//! Repair: what gossip dropped, what was said while this node was away, what it does not know yet.
//!
//! ```text
//!   peers come and go, comparisons, answers ──► AntiEntropy (protocol::sync) ──► actions
//!                ▲                                                                 │
//!                └──────────── compare, bring, pull, review: one task each ◄───────┘
//! ```
//!
//! The machine decides; this module does what it says and tells it what came of it. Joins, invitations and an administrator's
//! proof pull by themselves.

mod company;
mod compare;
mod pull;

pub(super) use company::{contacts, keep_company, meet};
pub(super) use compare::{by_tag, introduce, spread, spread_now};
pub(super) use pull::{LONGEST_PULL, PullError, ask, deliver, fetch_all, have, pull, pull_from_witness, repair};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::have::{Sections, Tag};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::sync::{Action, AntiEntropy, AskId, Comparison, Outcome, Stretch, Tempo};
use rocketmesh_protocol::wire::{Refused, Request, Response};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::room::{Brought, PostError};
use super::{Engine, add, invitations, lock};

/// The pause before the room is compared from which gossip was dropped because it was busy: it may be busy still, and what
/// follows is dropped too.
const BUSY: Duration = Duration::from_millis(500);
/// The shortest pause of the machine's clock, so that what is due at one moment is done in one go.
const TICK: Duration = Duration::from_millis(5);

/// The machine, and what wakes its clock.
#[derive(Debug)]
pub(super) struct Syncing {
    machine: Mutex<AntiEntropy<PeerId>>,
    changed: Notify,
}

impl Syncing {
    pub(super) fn new(compare_every: Duration) -> Self {
        let tempo = Tempo { compare_every, ..Tempo::default() };
        Syncing { machine: Mutex::new(AntiEntropy::new(tempo)), changed: Notify::new() }
    }
}

/// Tells the machine something, and does what it says.
fn feed(engine: &Engine, input: impl FnOnce(&mut AntiEntropy<PeerId>, Duration)) {
    let mut chance = [0; 8];
    engine.entropy.fill(&mut chance);
    let actions = {
        let mut guard = lock(&engine.syncing.machine);
        let machine = &mut *guard;
        let now = engine.started.elapsed();
        input(machine, now);
        machine.poll(now, u64::from_le_bytes(chance))
    };
    engine.syncing.changed.notify_one();
    for action in actions {
        perform(engine.clone(), action);
    }
}

/// Keeps the machine's time, for as long as the node runs.
pub(super) async fn run(engine: Engine) {
    let mut shutdown = engine.shutdown();
    let mut round = Instant::now() + engine.tuning.compare_every;
    loop {
        let now = engine.started.elapsed();
        let due = lock(&engine.syncing.machine).next_due(now);
        let pause = due.map_or(engine.tuning.compare_every, |due| due.saturating_sub(now)).max(TICK);
        tokio::select! {
            () = tokio::time::sleep(pause) => feed(&engine, |_, _| {}),
            () = tokio::time::sleep_until(round) => {
                round = Instant::now() + engine.tuning.compare_every;
                engine.background(go_round(engine.clone()));
            }
            () = engine.syncing.changed.notified() => {}
            () = crate::network::shut_down(&mut shutdown) => return,
        }
    }
}

/// Sees who is still there, and which rooms nobody of this server is in any longer.
async fn go_round(engine: Engine) {
    let Ok(mut ready) = engine.network.ready().await else { return };
    ready.retain(|peer| engine.policy.may_federate(peer));
    feed(&engine, |machine, now| machine.present(&ready, now));
    for room in engine.followed() {
        if !engine.has_local_member(room).await {
            engine.part(room).await;
        }
    }
}

/// A peer has introduced itself.
pub(super) fn connected(engine: &Engine, peer: PeerId) {
    feed(engine, |machine, now| machine.connected(peer, now));
}

/// Compares a room with a peer.
pub(super) fn look(engine: &Engine, peer: PeerId, room: RoomId) {
    feed(engine, |machine, now| machine.look(peer, room, now, false));
}

/// Compares a room with a peer once the room may be less busy.
pub(super) fn look_soon(engine: &Engine, peer: PeerId, room: RoomId) {
    feed(engine, |machine, now| machine.look(peer, room, now.saturating_add(BUSY), false));
}

/// Whether the machine has something of a room brought.
pub(super) fn is_bringing(engine: &Engine, room: &RoomId) -> bool {
    lock(&engine.syncing.machine).is_bringing(room)
}

/// A peer that asked has something that is missing here.
pub(super) fn asked_by(engine: &Engine, peer: PeerId, room: RoomId) {
    feed(engine, |machine, now| machine.asked_by(peer, room, now));
}

/// Pulls from a peer that said that there is something, when the room's turn comes.
pub(super) fn pull_whole(engine: &Engine, peer: PeerId, room: RoomId) {
    feed(engine, |machine, now| machine.pull_whole(peer, room, now));
}

fn perform(engine: Engine, action: Action<PeerId>) {
    engine.clone().background(async move {
        match action {
            Action::Compare { peer, rooms: wanted } => {
                let (rooms, back) = match &wanted {
                    Comparison::All => {
                        invitations::greet(&engine, peer).await;
                        (engine.followed(), false)
                    }
                    Comparison::Rooms { rooms, back } => (rooms.iter().copied().collect(), *back),
                };
                let (compared, answered) = compare::compare(&engine, peer, rooms, back).await;
                feed(&engine, |machine, now| match answered {
                    true => machine.compared(&peer),
                    false => machine.uncompared(peer, wanted, now),
                });
                for room in compared {
                    pull::fetch_bodies(&engine, room, peer).await;
                }
            }
            Action::Bring { ask, peer, room, stretches, offers } => {
                bring(&engine, ask, peer, room, stretches, offers).await;
            }
            Action::PullWhole { ask, peer, room } => {
                let pull = pull::pull_for(&engine, room, peer, Sections::ALL, Some(ask));
                match timeout(LONGEST_PULL, pull).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::debug!(%room, %peer, %error, "a pull ended early"),
                    Err(_) => tracing::debug!(%room, %peer, "a pull took too long, and the next one goes on"),
                }
                let outcome = Outcome::Brought { reached: BTreeMap::new(), waiting: 0, more: false };
                feed(&engine, |machine, now| machine.answered(ask, outcome, now));
            }
            Action::Review { room, claims } => {
                let unmet = compare::unmet(&engine, room, &claims);
                feed(&engine, |machine, now| machine.reviewed(room, &unmet, now));
            }
        }
    });
}

/// Asks a peer for stretches of chains, and takes in what comes.
async fn bring(engine: &Engine, ask: AskId, peer: PeerId, room: RoomId, stretches: Vec<Stretch>, offers: bool) {
    let outcome = match brought(engine, peer, room, stretches, offers).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::debug!(%room, %peer, %error, "a peer did not bring what it has");
            Outcome::Failed
        }
    };
    feed(engine, |machine, now| machine.answered(ask, outcome, now));
}

async fn brought(
    engine: &Engine,
    peer: PeerId,
    room: RoomId,
    stretches: Vec<Stretch>,
    offers: bool,
) -> Result<Outcome, PullError> {
    let full = |error| PostError::Store(Arc::new(error));
    engine.store().check_space().map_err(full)?;
    let request = Request::Bring { room: Tag::of(room.hash()), stretches, offers };
    match engine.network.request(peer, &request).await {
        Ok(Response::Brought { events, more }) => {
            let delivered = pull::deliver(engine, room, peer, events, Brought::AsHistory).await?;
            add(&engine.counters.pulled, delivered.new);
            Ok(Outcome::Brought { reached: delivered.reached, waiting: delivered.waiting, more })
        }
        Ok(Response::Refused(Refused::TooMany)) => Ok(Outcome::TooMany),
        Ok(Response::Refused(refused)) => Err(PullError::Refused(refused)),
        other => Err(pull::off_topic(engine, peer, other).await),
    }
}
