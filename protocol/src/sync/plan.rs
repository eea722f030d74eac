//! What is due: who is compared with, who is asked for what, and who takes over from whom.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::RoomId;
use crate::sync::ask::{Ask, Wanted};
use crate::sync::room::MOST_WAITING;
use crate::sync::{Action, AntiEntropy, AskId, Comparison, Path, Stretch};

/// Questions that are under way at a time, over all rooms. Each may bring half a mebibyte of events and one more.
const MOST_ASKS: usize = 8;
/// The same with those that were given up and are not answered yet, so that a few peers that answer nothing stop nobody.
const MOST_OPEN: usize = 32;
/// Questions that one peer may leave open, over all rooms, before it is asked nothing else: it would else take every place with
/// the rooms that it shares.
const MOST_LEFT_OPEN: usize = 4;
/// Questions about one room that are under way at a time, so that one large gap leaves something to other rooms.
const MOST_ASKS_OF_ROOM: usize = 4;
/// Comparisons with one peer that are under way at a time.
pub(super) const MOST_COMPARISONS: usize = 4;
/// Rooms in one comparison that is not about all of them.
const MOST_COMPARED: usize = 256;

impl<P: Copy + Ord> AntiEntropy<P> {
    /// What is to be done now. Each action is said once. `chance` is any number that the peers of this server do not know; it
    /// spreads comparisons over time.
    pub fn poll(&mut self, now: Duration, chance: u64) -> Vec<Action<P>> {
        let mut actions = Vec::new();
        self.compare(now, chance, &mut actions);
        self.give_up(now);
        let rooms = self.in_turn();
        for room in &rooms {
            self.bring(*room, now, &mut actions);
        }
        for room in rooms {
            self.pull(room, now, &mut actions);
            self.review(room, &mut actions);
        }
        self.tidy();
        actions
    }

    /// When to ask [`AntiEntropy::poll`] again if nothing happens before; none if nothing will be due by itself.
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        let compare = self.peers.values().map(|peer| peer.compare_at);
        let looks = self.looks.values().map(|look| look.at);
        let paused = self.peers.values().map(|peer| peer.paused_until);
        let asks = self.asks.values().filter(|ask| !ask.given_up).map(|ask| self.patience_ends(ask));
        let sources = self.rooms.values().flat_map(|room| room.sources.values());
        let detours = sources.filter(|source| source.path == Path::Relayed);
        let detours = detours.map(|source| source.since.saturating_add(self.tempo.detour));
        let after = |at: &Duration| *at > now;
        // What is overdue waits for an answer, and would only be looked at again and again.
        compare.chain(looks).chain(paused).chain(asks).chain(detours).filter(after).min()
    }

    fn compare(&mut self, now: Duration, chance: u64, actions: &mut Vec<Action<P>>) {
        let every = self.tempo.compare_every;
        for (at, (peer, known)) in self.peers.iter_mut().enumerate() {
            if known.compare_at > now || known.comparing >= MOST_COMPARISONS {
                continue;
            }
            // From seven to nine eighths.
            let spread = (chance.rotate_left(at as u32 % 64) % 1024) as u32;
            known.compare_at = now.saturating_add(every / 8 * 7).saturating_add(every / 4096 * spread);
            known.comparing += 1;
            self.looks.retain(|(other, _), look| other != peer || look.at > now || look.back);
            actions.push(Action::Compare { peer: *peer, rooms: Comparison::All });
        }
        let mut due: BTreeMap<(P, bool), Vec<RoomId>> = BTreeMap::new();
        for ((peer, room), look) in self.looks.iter().filter(|(_, look)| look.at <= now) {
            let rooms = due.entry((*peer, look.back)).or_default();
            if rooms.len() < MOST_COMPARED {
                rooms.push(*room);
            }
        }
        for ((peer, back), rooms) in due {
            let Some(known) = self.peers.get_mut(&peer).filter(|known| known.comparing < MOST_COMPARISONS) else {
                continue;
            };
            known.comparing += 1;
            for room in &rooms {
                self.looks.remove(&(peer, *room));
            }
            let rooms = Comparison::Rooms { rooms: rooms.into_iter().collect(), back };
            actions.push(Action::Compare { peer, rooms });
        }
    }

    fn patience_ends(&self, ask: &Ask<P>) -> Duration {
        let stalled = ask.heard.saturating_add(self.tempo.stall);
        match ask.wanted {
            Wanted::Stretches(_) => stalled,
            Wanted::Whole => stalled.min(ask.begun.saturating_add(self.tempo.whole)),
        }
    }

    /// Lets others be asked for what a peer does not bring.
    fn give_up(&mut self, now: Duration) {
        let late: Vec<AskId> = self
            .asks
            .iter()
            .filter(|(_, ask)| !ask.given_up && self.patience_ends(ask) <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(ask) = self.asks.get_mut(&id) else { continue };
            ask.given_up = true;
            let (peer, room, begun) = (ask.peer, ask.room, ask.begun);
            let stretches = match &ask.wanted {
                Wanted::Stretches(stretches) => stretches.clone(),
                Wanted::Whole => Vec::new(),
            };
            // Asked over a connection that is most likely gone: no fault of the peer, which may be asked at once.
            let came_back = self.came_back(&peer, begun);
            if came_back {
                self.asks.remove(&id);
            }
            if let Some(here) = self.rooms.get_mut(&room) {
                here.give_back(&stretches);
                if let Some(source) = here.sources.get_mut(&peer).filter(|_| !came_back) {
                    source.stalled = true;
                }
            }
        }
    }

    /// The rooms, each time from another one on, so that those in front do not take every place.
    fn in_turn(&mut self) -> Vec<RoomId> {
        let first = self.turn.map_or(0, |last| self.rooms.keys().take_while(|room| **room <= last).count());
        let mut rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        if !rooms.is_empty() {
            let len = rooms.len();
            rooms.rotate_left(first % len);
            self.turn = rooms.first().copied();
        }
        rooms
    }

    pub(super) fn under_way(&self, room: RoomId) -> impl Iterator<Item = &Ask<P>> {
        self.asks.values().filter(move |ask| ask.room == room && !ask.given_up)
    }

    fn begin(&mut self, peer: P, room: RoomId, wanted: Wanted, now: Duration) -> AskId {
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(id, Ask { peer, room, wanted, begun: now, heard: now, given_up: false });
        id
    }

    /// Whether as much is under way as may be.
    fn is_full(&self) -> bool {
        let under_way = self.asks.values().filter(|ask| !ask.given_up).count();
        under_way >= MOST_ASKS || self.asks.len() >= MOST_OPEN
    }

    /// Whether a peer may be asked for something of a room now.
    fn is_free(&self, peer: &P, room: RoomId, now: Duration) -> bool {
        let known = self.peers.get(peer).is_some_and(|known| known.paused_until <= now);
        let left_open = self.asks.values().filter(|ask| ask.peer == *peer && ask.given_up).count();
        // Also what was given up keeps it busy: it is still to answer that.
        known && left_open < MOST_LEFT_OPEN && !self.asks.values().any(|ask| ask.room == room && ask.peer == *peer)
    }

    /// Asks everybody who has something of a room for a part of it.
    fn bring(&mut self, room: RoomId, now: Duration, actions: &mut Vec<Action<P>>) {
        let Some(here) = self.rooms.get(&room) else { return };
        let mut order: Vec<(Path, Duration, P)> = here
            .sources
            .iter()
            .filter(|(_, source)| !source.stalled)
            .map(|(peer, source)| (source.path, source.since, *peer))
            .collect();
        order.sort();
        for (path, since, peer) in order {
            let parts = self.under_way(room).filter(|ask| !ask.is_whole()).count();
            let Some(here) = self.rooms.get(&room) else { return };
            let crowded = here.waiting >= MOST_WAITING && parts > 0;
            if parts >= MOST_ASKS_OF_ROOM || crowded {
                break;
            }
            let detour = path == Path::Relayed && (now < since.saturating_add(self.tempo.detour) || here.has_direct());
            if detour || self.is_full() || !self.is_free(&peer, room, now) {
                continue;
            }
            let Some(here) = self.rooms.get_mut(&room) else { return };
            let stretches = here.take(peer);
            if stretches.is_empty() {
                continue;
            }
            let offers = here.offers.remove(&peer);
            actions.push(self.ask(peer, room, stretches, offers, now));
        }
        let Some(here) = self.rooms.get(&room) else { return };
        for peer in here.offers.clone() {
            if self.is_full() || !self.is_free(&peer, room, now) {
                continue;
            }
            if let Some(here) = self.rooms.get_mut(&room) {
                here.offers.remove(&peer);
            }
            actions.push(self.ask(peer, room, Vec::new(), true, now));
        }
    }

    fn ask(&mut self, peer: P, room: RoomId, stretches: Vec<Stretch>, offers: bool, now: Duration) -> Action<P> {
        let ask = self.begin(peer, room, Wanted::Stretches(stretches.clone()), now);
        Action::Bring { ask, peer, room, stretches, offers }
    }

    /// Compares whole vectors with one peer at a time, where nothing else is to be had.
    fn pull(&mut self, room: RoomId, now: Duration, actions: &mut Vec<Action<P>>) {
        let Some(here) = self.rooms.get(&room) else { return };
        if self.under_way(room).next().is_some() || self.is_full() || !here.is_exhausted() {
            return;
        }
        let Some(peer) = here.wholes.iter().copied().find(|peer| self.is_free(peer, room, now)) else { return };
        if let Some(here) = self.rooms.get_mut(&room) {
            here.wholes.remove(&peer);
        }
        let ask = self.begin(peer, room, Wanted::Whole, now);
        actions.push(Action::PullWhole { ask, peer, room });
    }

    /// Has somebody look what came of everything that was asked for.
    fn review(&mut self, room: RoomId, actions: &mut Vec<Action<P>>) {
        let busy = self.under_way(room).any(|ask| !ask.is_whole());
        let Some(here) = self.rooms.get_mut(&room) else { return };
        if busy || here.reviewing || here.sources.is_empty() || !here.is_exhausted() {
            return;
        }
        here.reviewing = true;
        let claims = here.sources.iter().map(|(peer, source)| (*peer, source.claims.clone())).collect();
        actions.push(Action::Review { room, claims });
    }
}
