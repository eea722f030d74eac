//! Who types, who is there, how far somebody has read: told to those who look now, and to nobody later.
//!
//! ```text
//!  connector, API ── signal ──► signed ──► the room's topic, or straight to its member servers
//!                                  └─────────────┐
//!  gossip, requests ──► judged ──► ledger ──► subscribers (API streams, connector)
//!                          └──► passed on, ignored, or blamed on the sender
//! ```
//!
//! Nothing of it is stored or stands in the graph, nothing waits for it, and nobody asks for what was missed. Wherever there is too much,
//! it is dropped: what comes next says more. It ends by itself where its end is not heard.
//!
//! In a room that is gossiped it travels as events do, and each server passes on only what it has checked. Elsewhere the user's server
//! hands it to the member servers that it is connected to, and nobody passes it on.

mod ledger;

use std::collections::BTreeMap;
use std::sync::Mutex;

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::{Access, access};
use rocketmesh_protocol::authority::{Refusal, RoomState};
use rocketmesh_protocol::event::ServerRule;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::{Localpart, UserId};
use rocketmesh_protocol::wire::{Ephemeral, EphemeralError, Request, Signal, SignalKind, UnverifiedEphemeral};
use tokio::sync::broadcast;
use tokio::time::Instant;

use self::ledger::{Admission, End, Key, Ledger, key};
use super::intake::Taken;
use super::{Engine, PostError, lock};
use crate::network::origin;

/// Signals that wait for a subscriber; one that is slower misses the oldest.
const LIVE: usize = 256;
/// How long signals hold, in milliseconds: typing is renewed while somebody types on, presence by the connector.
const TYPING_MS: u64 = 15_000;
const PRESENCE_MS: u64 = 10 * 60_000;
const READ_MS: u64 = 30_000;

/// What is under way of it.
#[derive(Debug)]
pub(super) struct Signals {
    ledger: Mutex<Ledger>,
    live: broadcast::Sender<Live>,
    /// What is being handed to a peer for a room, and the last message that waits behind that: a later one takes its place.
    handing: Mutex<BTreeMap<(PeerId, RoomId), Option<Vec<u8>>>>,
}

impl Default for Signals {
    fn default() -> Self {
        Signals { ledger: Mutex::default(), live: broadcast::channel(LIVE).0, handing: Mutex::default() }
    }
}

/// A signal for whoever looks now.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// The room.
    pub(crate) room: RoomId,
    /// Whose it is.
    pub(crate) user: UserId,
    /// What it says. That somebody types no longer is said of itself where their server did not say so in time.
    pub(crate) signal: Signal,
    /// Until when it holds.
    pub(crate) until: Instant,
}

/// Why a user's signal was not told to anybody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignalError {
    /// The user is not in the room, or muted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There were too many.
    #[error("too many signals of this user; they are worth nothing a moment later, so leave this one out")]
    TooMany,
    /// The room is not there.
    #[error(transparent)]
    Room(#[from] PostError),
    /// The message cannot be made.
    #[error(transparent)]
    Message(#[from] EphemeralError),
}

impl Engine {
    /// Signals from now on, of this server's users and others'. Whoever is too slow misses some.
    pub(crate) fn live(&self) -> broadcast::Receiver<Live> {
        self.signals.live.subscribe()
    }

    /// Tells a room's servers a signal of a user of this server. Returns before it has reached anybody, and whether it does nobody
    /// hears.
    pub(crate) async fn signal(&self, room: RoomId, user: Localpart, signal: Signal) -> Result<(), SignalError> {
        if !self.follows(&room) {
            return Err(PostError::UnknownRoom(room).into());
        }
        let state = self.followed_state(&room).await?;
        let user = self.local(user);
        may_signal(&state, &user, &signal)?;
        let lasts_ms = match signal.kind() {
            SignalKind::Typing => TYPING_MS,
            SignalKind::Presence => PRESENCE_MS,
            SignalKind::Read => READ_MS,
        };
        let mut said = Ephemeral { room, user, signal, at_ms: 0, lasts_ms };
        let (admission, message) = {
            let mut ledger = lock(&self.signals.ledger);
            said.at_ms = ledger.next_at(&key(&said), self.clock.now_ms());
            // Made under the lock, so that no two have one time.
            let message = said.encode_signed(&self.key)?;
            (ledger.admit(&said, Instant::now()), message)
        };
        self.admitted(&said, admission).ok_or(SignalError::TooMany)?;
        if self.followed.gossips(&room) {
            // Fails only while the node shuts down.
            let _ = self.network.publish_ephemeral(room, message).await;
        } else {
            hand_over(self, room, &state, &message).await;
        }
        Ok(())
    }

    /// Shows a signal that was admitted to whoever looks; none if it was not.
    fn admitted(&self, said: &Ephemeral, admission: Admission) -> Option<()> {
        if matches!(admission, Admission::Old | Admission::TooMany) {
            return None;
        }
        let until = Instant::now() + std::time::Duration::from_millis(said.lasts_ms);
        let live = Live { room: said.room, user: said.user.clone(), signal: said.signal, until };
        // Fails where nobody looks.
        let _ = self.signals.live.send(live);
        if admission == Admission::ShownAndWatched {
            let (own, key) = (self.clone(), key(said));
            self.background(async move { own.watch_end(key, until).await });
        }
        Some(())
    }

    /// Waits until somebody types no longer, and says so if their server did not.
    async fn watch_end(&self, key: Key, mut until: Instant) {
        loop {
            tokio::time::sleep_until(until).await;
            let end = lock(&self.signals.ledger).end(&key, Instant::now());
            match end {
                End::Later(later) => until = later,
                End::Now => {
                    let (room, user, _) = key;
                    let live = Live { room, user, signal: Signal::Typing(false), until: Instant::now() };
                    let _ = self.signals.live.send(live);
                    return;
                }
                End::Told => return,
            }
        }
    }
}

/// Whether a user may signal something in a room in this state.
fn may_signal(state: &RoomState, user: &UserId, signal: &Signal) -> Result<(), Refusal> {
    if state.server_rule(user.origin) == ServerRule::Deny {
        return Err(Refusal::ServerRefused(user.origin));
    }
    if !state.is_joined(user) {
        return Err(Refusal::NotAMember(user.clone()));
    }
    if signal.kind() == SignalKind::Typing && state.is_muted(user) {
        return Err(Refusal::Muted(user.clone()));
    }
    Ok(())
}

/// Takes a message of a room's topic. Reads no disk and waits for nobody.
pub(super) fn gossiped(engine: &Engine, peer: PeerId, room: RoomId, bytes: &[u8]) -> Taken {
    if !engine.policy.may_federate(&peer) || !lock(&engine.signals.ledger).may_bring(peer, Instant::now()) {
        return Taken::Not;
    }
    let message = match UnverifiedEphemeral::decode(bytes) {
        Ok(message) => message,
        // What a later version says is not passed on, for it cannot be judged.
        Err(EphemeralError::Unknown) => return Taken::Not,
        Err(error) => return Taken::Bad(error.to_string()),
    };
    if message.claim().room != room {
        return Taken::Bad("an ephemeral message of another room".to_owned());
    }
    let Some(state) = engine.followed.state_at_hand(&room) else {
        let own = engine.clone();
        // The next one finds it at hand.
        engine.background(async move {
            let _ = own.followed_state(&room).await;
        });
        return Taken::Not;
    };
    judge(engine, &state, message)
}

/// Takes a message that a peer hands over, which is one of its own users.
pub(super) async fn handed(engine: &Engine, peer: PeerId, room: RoomId, bytes: &[u8]) {
    if !engine.follows(&room) || !lock(&engine.signals.ledger).may_bring(peer, Instant::now()) {
        return;
    }
    let (Some(server), Ok(message)) = (origin(&peer), UnverifiedEphemeral::decode(bytes)) else { return };
    let Ok(state) = engine.followed_state(&room).await else { return };
    let own = message.claim().user.origin == server && message.claim().room == room;
    if own && access(&state, server) == Access::Everything {
        judge(engine, &state, message);
    }
}

/// What becomes of a message of the room: cheap looks before the signature.
fn judge(engine: &Engine, state: &RoomState, message: UnverifiedEphemeral) -> Taken {
    let claim = message.claim();
    // A membership that is not known here yet, and a clock that is off, are nobody's fault.
    let known = may_signal(state, &claim.user, &claim.signal).is_ok() && claim.is_current(engine.clock.now_ms());
    if !known || claim.user.origin == engine.origin || !lock(&engine.signals.ledger).is_new(claim) {
        return Taken::Not;
    }
    let said = match message.verify() {
        Ok(said) => said,
        Err(error) => return Taken::Bad(error.to_string()),
    };
    let admission = lock(&engine.signals.ledger).admit(&said, Instant::now());
    match engine.admitted(&said, admission) {
        Some(()) => Taken::Passed,
        None => Taken::Not,
    }
}

/// Hands a message to every member server of a room that is connected.
async fn hand_over(engine: &Engine, room: RoomId, state: &RoomState, message: &[u8]) {
    let Ok(ready) = engine.network.ready().await else { return };
    let reads = |peer: &PeerId| origin(peer).is_some_and(|origin| access(state, origin) == Access::Everything);
    for peer in ready.into_iter().filter(reads) {
        hand(engine, room, peer, message);
    }
}

/// Hands a message to one peer, after the one that is on its way.
fn hand(engine: &Engine, room: RoomId, peer: PeerId, message: &[u8]) {
    let mut handing = lock(&engine.signals.handing);
    if let Some(waiting) = handing.get_mut(&(peer, room)) {
        *waiting = Some(message.to_vec());
        return;
    }
    handing.insert((peer, room), None);
    drop(handing);
    let (own, mut message) = (engine.clone(), message.to_vec());
    engine.background(async move {
        loop {
            let asked = own.network.request(peer, &Request::Ephemeral { room, message }).await;
            let mut handing = lock(&own.signals.handing);
            let waiting = handing.get_mut(&(peer, room)).and_then(Option::take);
            match waiting {
                Some(next) if asked.is_ok() => message = next,
                _ => {
                    handing.remove(&(peer, room));
                    return;
                }
            }
        }
    });
}
