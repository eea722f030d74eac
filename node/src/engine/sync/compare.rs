//! Comparing digests with a peer, and finding out what is missing in rooms that differ.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::Access;
use rocketmesh_protocol::event::Lane;
use rocketmesh_protocol::have::{Brief, HaveVector, Sections, Sketch, Tag, short_digest};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::identity::Origin;
use rocketmesh_protocol::limits::MAX_ROOMS_PER_REQUEST;
use rocketmesh_protocol::sync::{Claim, Difference, Path, difference};
use rocketmesh_protocol::wire::{Refused, Request, Response};

use super::feed;
use super::pull::{TOO_MANY_PAUSE, have};
use crate::engine::history::{self, Gap};
use crate::engine::{Engine, direct};
use crate::network::peer_id;

/// Forks of one place that are looked at for a head. Whoever makes more is pulled from whole.
const FORKS: usize = 64;

/// Tells a peer the digests of rooms, and the machine what differs. Returns the rooms that were compared, and whether all were that
/// may be.
pub(super) async fn compare(engine: &Engine, peer: PeerId, rooms: Vec<RoomId>, back: bool) -> (Vec<RoomId>, bool) {
    let mut compared = Vec::new();
    if !engine.policy.may_federate(&peer) {
        return (compared, true);
    }
    let (rooms, invited) = engine.shared_with(&peer, rooms).await;
    for room in invited {
        direct::notify(engine, room, peer);
    }
    for rooms in rooms.chunks(MAX_ROOMS_PER_REQUEST) {
        // Two rooms with one tag take 2^32 attempts of whoever makes both; one of them is then not compared.
        let named: BTreeMap<Tag, RoomId> = rooms.iter().map(|room| (Tag::of(room.hash()), *room)).collect();
        let digest = |(tag, room): (&Tag, &RoomId)| Some((*tag, short_digest(&engine.digest(room)?)));
        let digests: BTreeMap<_, _> = named.iter().filter_map(digest).collect();
        let asked: Vec<RoomId> = digests.keys().filter_map(|tag| named.get(tag).copied()).collect();
        if asked.is_empty() {
            continue;
        }
        match engine.network.request(peer, &Request::Compare { digests }).await {
            Ok(Response::Compared { rooms: mut sketches }) => {
                let mut differing = Vec::new();
                let mut alike = Vec::new();
                for (place, room) in (0_u64..).zip(&asked) {
                    match sketches.remove(&place) {
                        Some(sketch) => differing.push((*room, sketch)),
                        None => alike.push(*room),
                    }
                }
                feed(engine, |machine, _| alike.iter().for_each(|room| machine.alike(&peer, room)));
                for (room, sketch) in differing {
                    weigh(engine, peer, room, sketch, back).await;
                }
                compared.extend(asked);
            }
            outcome => {
                tracing::debug!(%peer, ?outcome, "a comparison brought no answer");
                return (compared, false);
            }
        }
    }
    (compared, true)
}

/// Finds out how a room differs.
async fn weigh(engine: &Engine, peer: PeerId, room: RoomId, sketch: Sketch, back: bool) {
    if engine.gap(&room) == Some(Gap::PutOff) {
        // Of a room whose history was put off nothing is brought but the state graph and the newest end.
        if let Err(error) = history::outline(engine, room, peer).await {
            tracing::debug!(%room, %peer, %error, "the newest end of a room was not brought");
        }
        return feed(engine, |machine, _| machine.alike(&peer, &room));
    }
    let detour = engine.network.is_detour(peer, room).await.unwrap_or(false);
    let path = if detour { Path::Relayed } else { Path::Direct };
    let difference = match sketch {
        Sketch::Hidden => None,
        Sketch::Entries(theirs) => differ(engine, &room, &theirs, Sections::ALL),
        Sketch::Sections(digests) => {
            let Ok(ours) = have(engine, room) else { return };
            let sections = Sections::differing(&ours.section_digests(), &digests);
            match sections.is_empty() {
                // What was under way has arrived; or two sections have one digest.
                true => Some(Difference::default()),
                false => match entries(engine, peer, &room, sections).await {
                    Ok(difference) => difference,
                    // To compare whole vectors would give a peer that has too much to do more.
                    Err(Busy) => {
                        return feed(engine, |machine, now| {
                            machine.look(peer, room, now.saturating_add(TOO_MANY_PAUSE), back);
                        });
                    }
                },
            }
        }
    };
    if !engine.is_pulling_history(&room) {
        return feed(engine, |machine, now| machine.differs(peer, room, path, difference, back, now));
    }
    // The timeline is on its way, and would come twice: of what is missing the machine has new state brought.
    let mut difference = difference.unwrap_or_default();
    difference.lacking.retain(|stretch| stretch.lane == Lane::State);
    difference.claims.retain(|claim| claim.lane == Lane::State);
    difference.unclear = false;
    feed(engine, |machine, now| match difference.is_none() {
        true => machine.alike(&peer, &room),
        false => machine.differs(peer, room, path, Some(difference), back, now),
    });
}

/// The peer has too much to do now.
struct Busy;

/// Asks for the entries of sections that differ.
async fn entries(engine: &Engine, peer: PeerId, room: &RoomId, sections: Sections) -> Result<Option<Difference>, Busy> {
    let request = Request::Entries { room: Tag::of(room.hash()), sections };
    match engine.network.request(peer, &request).await {
        Ok(Response::Entries { entries }) => {
            // More than was asked for would look like something that is missing here.
            Ok(differ(engine, room, &entries.within(sections), sections))
        }
        Ok(Response::Refused(Refused::TooMany)) => Err(Busy),
        outcome => {
            tracing::debug!(%room, %peer, ?outcome, "a peer did not tell the entries of its have-vector");
            Ok(None)
        }
    }
}

fn differ(engine: &Engine, room: &RoomId, theirs: &Brief, sections: Sections) -> Option<Difference> {
    let ours = have(engine, *room).ok()?;
    let is_held = |origin: Origin, lane: Lane, seq: u64, head: &Tag| holds(engine, room, origin, lane, seq, head);
    Some(difference(theirs, &ours, sections, is_held))
}

fn holds(engine: &Engine, room: &RoomId, origin: Origin, lane: Lane, seq: u64, head: &Tag) -> bool {
    match engine.store().chain(room, origin, lane, seq, FORKS) {
        Ok(links) => links.iter().any(|(at, id)| *at == seq && Tag::of(id.hash()) == *head),
        // Nothing can be written now either.
        Err(_) => true,
    }
}

/// Of peers who showed heads those that showed some that are not held here.
pub(super) fn unmet(engine: &Engine, room: RoomId, claims: &BTreeMap<PeerId, Vec<Claim>>) -> Vec<PeerId> {
    let Ok(ours) = have(engine, room) else { return Vec::new() };
    let known = by_tag(&ours);
    let is_met = |claim: &Claim| {
        let origins = known.get(&claim.origin);
        origins.into_iter().flatten().any(|origin| holds(engine, &room, *origin, claim.lane, claim.seq, &claim.head))
    };
    claims.iter().filter(|(_, claims)| !claims.iter().all(is_met)).map(|(peer, _)| *peer).collect()
}

/// The servers of a vector by their tags.
pub(in crate::engine) fn by_tag(have: &HaveVector) -> BTreeMap<Tag, BTreeSet<Origin>> {
    let mut known: BTreeMap<Tag, BTreeSet<Origin>> = BTreeMap::new();
    for (origin, _, _) in have.lanes() {
        known.entry(Tag::of(origin.as_bytes())).or_default().insert(origin);
    }
    known
}

/// Makes this server known to a member server of a private room that does not know it as a member: whoever took its join in may
/// be gone.
pub(in crate::engine) async fn introduce(engine: &Engine, peer: PeerId) {
    let private: Vec<RoomId> = engine.followed().into_iter().filter(|room| !engine.followed.gossips(room)).collect();
    for room in private {
        if engine.access(&room, &peer).await != Access::Everything {
            continue;
        }
        let known = engine.network.request(peer, &Request::Sections { room }).await;
        if matches!(known, Ok(Response::Refused(Refused::UnknownRoom | Refused::Invited))) {
            let _ = engine.network.request(peer, &Request::Tell { room, events: Vec::new() }).await;
        }
    }
}

/// Has the machine compare one room with every connected server in it: for events that gossip reached nobody with.
pub(in crate::engine) fn spread(engine: Engine, room: RoomId) {
    engine.clone().background(async move { spread_now(&engine, room).await });
}

/// As [`spread`], and waits until they are told.
pub(in crate::engine) async fn spread_now(engine: &Engine, room: RoomId) {
    let Ok((state, _)) = engine.state(room).await else { return };
    let servers: Vec<PeerId> = state.servers().iter().map(peer_id).collect();
    let Ok(ready) = engine.network.ready().await else { return };
    feed(engine, |machine, now| {
        for peer in ready.into_iter().filter(|peer| servers.contains(peer)) {
            machine.look(peer, room, now, false);
        }
    });
}
