//! An administrator's proof: does this node hold of a room what every other member server holds?

use std::collections::BTreeMap;

use libp2p::identity::PeerId;
use rocketmesh_protocol::have::{HaveVector, Sections};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::wire::{Refused, Request, Response};

use super::Engine;
use super::room::PostError;
use super::sync;
use crate::network::peer_id;

/// What one other member server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// It holds exactly what this node holds.
    Equal,
    /// What was missing here was fetched meanwhile, and both hold the same now.
    EqualNow {
        /// Events that came.
        fetched: u64,
    },
    /// The two differ still.
    Differs {
        /// Events that it has and this node has not, as far as sequence numbers tell.
        missing_here: u64,
        /// Events that this node has and it has not.
        missing_there: u64,
    },
    /// It could not be asked.
    NotConnected,
    /// It does not hold the room, though it has a member in it.
    NotHeld,
    /// It did not answer, or refused.
    Silent {
        /// What it said, or what failed.
        reason: String,
    },
}

/// Compares the room with every member server that is connected, and fetches what is missing here.
pub(crate) async fn verify(engine: &Engine, room: RoomId) -> Result<BTreeMap<Origin, Compared>, PostError> {
    let (state, _) = engine.state(room).await?;
    let ready = engine.network.ready().await.map_err(|_| PostError::Closed)?;
    let mut compared = BTreeMap::new();
    for origin in state.servers().iter().copied().filter(|origin| *origin != engine.origin) {
        let peer = peer_id(&origin);
        let outcome = match ready.contains(&peer) {
            true => compare(engine, room, peer).await?,
            false => Compared::NotConnected,
        };
        compared.insert(origin, outcome);
    }
    Ok(compared)
}

async fn compare(engine: &Engine, room: RoomId, peer: PeerId) -> Result<Compared, PostError> {
    let before = held(engine, &room)?.map_or(0, |(_, events)| events);
    let differing = match sections(engine, room, peer).await? {
        Ok(differing) if differing.is_empty() => return Ok(Compared::Equal),
        Ok(differing) => differing,
        Err(outcome) => return Ok(outcome),
    };
    let pulled = sync::pull(engine, room, peer, differing).await;
    match sections(engine, room, peer).await? {
        Ok(differing) if differing.is_empty() => {
            let after = held(engine, &room)?.map_or(0, |(_, events)| events);
            return Ok(Compared::EqualNow { fetched: after.saturating_sub(before) });
        }
        Ok(_) => {}
        Err(outcome) => return Ok(outcome),
    }
    if let Err(error) = pulled {
        tracing::debug!(%room, %peer, %error, "what a server has was not fetched whole");
    }
    let ours = held(engine, &room)?.map(|(have, _)| have.within(differing)).unwrap_or_default();
    let request = Request::Pull { room, sections: differing, state_only: false, have: ours.clone() };
    Ok(match engine.network.request(peer, &request).await {
        Ok(Response::Events { have: theirs, .. }) => {
            Compared::Differs { missing_here: ahead(&theirs, &ours), missing_there: ahead(&ours, &theirs) }
        }
        other => silent(other),
    })
}

/// The sections in which the two differ, or why that cannot be said.
async fn sections(engine: &Engine, room: RoomId, peer: PeerId) -> Result<Result<Sections, Compared>, PostError> {
    let answer = engine.network.request(peer, &Request::Sections { room }).await;
    let ours = held(engine, &room)?.map(|(have, _)| have.section_digests()).ok_or(PostError::UnknownRoom(room))?;
    Ok(match answer {
        Ok(Response::Sections { digests }) => Ok(Sections::differing(&ours, &digests)),
        Ok(Response::Refused(Refused::UnknownRoom)) => Err(Compared::NotHeld),
        other => Err(silent(other)),
    })
}

fn silent(answer: Result<Response, crate::network::RequestError>) -> Compared {
    let reason = match answer {
        Ok(Response::Refused(refused)) => format!("it refused: {}", refused.word()),
        Ok(_) => "it answered something else than was asked".to_owned(),
        Err(error) => error.to_string(),
    };
    Compared::Silent { reason }
}

fn held(engine: &Engine, room: &RoomId) -> Result<Option<(HaveVector, u64)>, PostError> {
    let entry = engine.store().room(room).map_err(|error| PostError::Store(std::sync::Arc::new(error)))?;
    Ok(entry.map(|entry| (entry.outline.have().clone(), entry.outline.events())))
}

/// How many events `a` has that `b` has not, as far as sequence numbers tell: of forks each unknown branch counts as one.
fn ahead(a: &HaveVector, b: &HaveVector) -> u64 {
    let missing = a.lanes().map(|(origin, lane, ours)| match b.lane(origin, lane) {
        None => ours.highest().0.saturating_sub(ours.lowest) + 1,
        Some(theirs) => {
            let below = theirs.lowest.saturating_sub(ours.lowest);
            let above = ours.highest().0.saturating_sub(theirs.highest().0);
            let branches = ours.heads.iter().filter(|head| head.0 <= theirs.highest().0);
            let branches = branches.filter(|head| ours.forked() && !theirs.heads.contains(head)).count();
            below.saturating_add(above).saturating_add(branches as u64)
        }
    });
    missing.fold(0, u64::saturating_add)
}
