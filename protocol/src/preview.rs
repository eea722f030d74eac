//! A room's state graph without its timeline: what an invited server may read, and all that it takes to accept.
//!
//! Nothing of it is part of the room that the server holds. An invited server is told the state graph, checks its signatures and
//! its rules, shows who invites to what, and writes its join on top. A member server takes the join in, and hands over the rest.

use std::collections::BTreeMap;

use crate::authority::RoomState;
use crate::event::{Event, Lane, Placement, RoomVersion};
use crate::have::HaveVector;
use crate::id::{EventId, RoomId};
use crate::identity::{Origin, UserId};
use crate::limits::{MAX_PREVIEW_BYTES, MAX_PREVIEW_EVENTS};
use crate::resolution::Resolver;
use crate::room::Outline;

/// A state graph as far as it is known.
#[derive(Debug)]
pub struct Preview {
    outline: Outline,
    resolver: Resolver,
    events: BTreeMap<EventId, Event>,
    bytes: usize,
}

/// A preview is larger than this server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the room's state graph is larger than {MAX_PREVIEW_EVENTS} events or {MAX_PREVIEW_BYTES} bytes")]
pub struct TooLarge;

impl Preview {
    /// Nothing yet.
    pub fn new(room: RoomId) -> Self {
        Preview {
            outline: Outline::new(room, RoomVersion::DRAFT),
            resolver: Resolver::new(),
            events: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes in verified events, in causal order. What is no state event of the room, or stands on something that is not here,
    /// is passed over. Returns how many were new.
    ///
    /// # Errors
    /// [`TooLarge`]; the preview is of no use then.
    pub fn add(&mut self, events: impl IntoIterator<Item = Event>) -> Result<usize, TooLarge> {
        let mut new = 0;
        for event in events {
            let Some(allowed) = self.judge(&event) else { continue };
            self.bytes += event.header_block().len() + event.body_block().map_or(0, <[u8]>::len);
            if self.bytes > MAX_PREVIEW_BYTES || self.events.len() == MAX_PREVIEW_EVENTS {
                return Err(TooLarge);
            }
            self.outline.add(&event, allowed);
            self.resolver.insert(&event);
            self.events.insert(event.id(), event);
            new += 1;
        }
        Ok(new)
    }

    /// Whether the rules allow an event; none where it does not belong here.
    fn judge(&mut self, event: &Event) -> Option<bool> {
        let header = event.header();
        if event.room() != self.outline.room() || header.lane != Lane::State || self.events.contains_key(&event.id()) {
            return None;
        }
        let continues = match header.self_parent {
            None => header.seq == 0,
            Some(parent) => self.events.get(&parent).is_some_and(|parent| {
                let parent = parent.header();
                parent.origin == header.origin && Some(header.seq) == parent.seq.checked_add(1)
            }),
        };
        let known = header.state_frontier.iter().all(|id| self.events.contains_key(id));
        let allowed = self.resolver.judge(event).filter(|_| continues && known)?.is_ok();
        // As in receipt: who has no member at the state that it names has nothing to say here.
        let outsider = !allowed && !self.resolver.state_for(event).is_some_and(|state| state.has_member(header.origin));
        (!outsider).then_some(allowed)
    }

    /// The state that all of it comes to; none before the create event.
    pub fn state(&self) -> Option<&RoomState> {
        self.resolver.current()
    }

    /// What is here.
    pub fn have(&self) -> &HaveVector {
        self.outline.have()
    }

    /// Every event of the graph, causes before effects.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        let mut events: Vec<&Event> = self.events.values().collect();
        events.sort_by_key(|event| event.order());
        events.into_iter()
    }

    /// An event of the graph.
    pub fn event(&self, id: &EventId) -> Option<&Event> {
        self.events.get(id)
    }

    /// Who invited a user: the sender of the invitation that counts, or who made a direct room that is with the user.
    pub fn inviter(&self, user: &UserId) -> Option<UserId> {
        let state = self.state()?;
        self.events.get(&state.membership_event(user)?)?.sender()
    }

    /// Where the server's next state event goes. `own` is the end of its state lane, with its lamport time, where it knows a
    /// later one than the preview has.
    pub fn placement(&self, server: Origin, own: Option<(u64, EventId, u64)>) -> Placement {
        let lamport = |id: &EventId| Ok::<u64, std::convert::Infallible>(self.events.get(id).map_or(0, lamport_of));
        let Ok(mut placement) = self.outline.placement(server, Lane::State, lamport);
        let known = placement.self_parent.map(|(_, seq)| seq);
        if let Some((seq, id, lamport)) = own.filter(|(seq, ..)| known.is_none_or(|known| known < *seq)) {
            placement.self_parent = Some((id, seq));
            placement.lamport = placement.lamport.max(lamport + 1);
        }
        placement
    }
}

fn lamport_of(event: &Event) -> u64 {
    event.header().lamport
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, Content, Draft, Membership, RoomType, author};
    use crate::identity::ServerKey;
    use crate::receipt::{Node, Receipt, RoomGraph, receive};

    struct Server(ServerKey, UserId);

    impl Server {
        fn new(seed: u8, name: &str) -> Self {
            let key = ServerKey::from_seed(&[seed; 32]);
            let user = UserId { origin: key.origin(), localpart: name.parse().expect("a localpart") };
            Server(key, user)
        }

        fn draft(&self, content: &Content, text: Option<&str>) -> Draft {
            let (kind, state_key) = content.kind_and_key();
            let body = text.map(|text| Body::new([1; 16], crate::codec::Map::new().with("text", text)));
            let sender = Some(self.1.localpart.clone());
            Draft { sender, kind: kind.to_owned(), state_key, content: content.to_map(&[7; 16]), body, time_ms: 0 }
        }
    }

    /// A room as a member holds it.
    struct Room(Outline, Resolver, BTreeMap<EventId, Event>);

    impl RoomGraph for BTreeMap<EventId, Event> {
        type Error = std::convert::Infallible;

        fn node(&self, id: &EventId) -> Result<Option<Node>, Self::Error> {
            Ok(self.get(id).map(Node::of))
        }
    }

    impl Room {
        fn receive(&mut self, event: &Event) -> Receipt {
            let Ok(receipt) = receive(event, &self.2, self.0.have(), &mut self.1);
            if matches!(receipt, Receipt::Accepted { .. }) {
                self.0.add(event, true);
                self.1.insert(event);
                self.2.insert(event.id(), event.clone());
            }
            receipt
        }

        fn write(&mut self, by: &Server, draft: Draft) -> Event {
            let lane = if draft.state_key.is_some() { Lane::State } else { Lane::Timeline };
            let lamport = |id: &EventId| Ok::<u64, std::convert::Infallible>(lamport_of(&self.2[id]));
            let Ok(placement) = self.0.placement(by.0.origin(), lane, lamport);
            let event = author(&by.0, placement, draft).expect("it can be written");
            assert!(matches!(self.receive(&event), Receipt::Accepted { .. }));
            event
        }

        /// Its state events, causes first.
        fn state(&self) -> Vec<Event> {
            let mut events: Vec<Event> =
                self.2.values().filter(|event| event.header().lane == Lane::State).cloned().collect();
            events.sort_by_key(Event::order);
            events
        }
    }

    fn member(user: &UserId, change: Membership) -> Content {
        Content::Member { user: user.clone(), change, seen: Vec::new() }
    }

    /// A private room in which alice has talked a while before she invited bob.
    fn invited() -> (Server, Server, Room) {
        let (alice, bob) = (Server::new(1, "alice"), Server::new(2, "bob"));
        let content = Content::Create { room_type: RoomType::Private, with: Vec::new() };
        let create = author(&alice.0, Placement::first(), alice.draft(&content, Some("secret"))).expect("a room");
        let mut room = Room(Outline::new(create.room(), RoomVersion::DRAFT), Resolver::new(), BTreeMap::new());
        room.receive(&create);
        for text in ["one", "two", "three"] {
            room.write(&alice, alice.draft(&Content::Message { thread: None }, Some(text)));
        }
        room.write(&alice, alice.draft(&member(&bob.1, Membership::Invite), None));
        (alice, bob, room)
    }

    #[test]
    fn an_invited_server_sees_who_invites_and_its_join_fits_into_the_room_it_has_not_read() {
        let (alice, bob, mut room) = invited();
        let mut preview = Preview::new(room.0.room());
        assert_eq!(preview.add(room.state()), Ok(2));
        let state = preview.state().expect("a state").clone();
        assert_eq!(state.membership(&bob.1), Some(Membership::Invite));
        assert_eq!(preview.inviter(&bob.1), Some(alice.1.clone()));
        let draft = bob.draft(&member(&bob.1, Membership::Join), None);
        let join = author(&bob.0, preview.placement(bob.0.origin(), None), draft).expect("a join");
        room.write(&alice, alice.draft(&Content::Message { thread: None }, Some("meanwhile")));
        assert_eq!(room.receive(&join), Receipt::Accepted { forks: false });
        assert!(room.1.current().is_some_and(|state| state.is_joined(&bob.1)));
    }

    #[test]
    fn who_was_in_the_room_before_goes_on_from_what_it_said_last() {
        let (alice, bob, mut room) = invited();
        let join = room.write(&bob, bob.draft(&member(&bob.1, Membership::Join), None));
        room.write(&alice, alice.draft(&member(&bob.1, Membership::Kick), None));
        room.write(&alice, alice.draft(&member(&bob.1, Membership::Invite), None));
        let mut preview = Preview::new(room.0.room());
        preview.add(room.state()).expect("a small room");
        let place = preview.placement(bob.0.origin(), None);
        assert_eq!(place.self_parent, Some((join.id(), 0)));
        let later = EventId::from_hash([9; 32]);
        let place = preview.placement(bob.0.origin(), Some((4, later, 90)));
        assert_eq!((place.self_parent, place.lamport), (Some((later, 4)), 91), "what the others have not got yet");
        assert_eq!(preview.placement(bob.0.origin(), Some((0, later, 0))).self_parent, Some((join.id(), 0)));
    }

    #[test]
    fn strangers_messages_and_what_stands_on_nothing_are_passed_over() {
        let (_, bob, room) = invited();
        let mallory = Server::new(3, "mallory");
        let mut state = room.state();
        let mut preview = Preview::new(room.0.room());
        let orphan = state.pop().expect("the invitation");
        assert_eq!(preview.add([orphan.clone()]), Ok(0));
        assert_eq!(preview.add(room.2.values().filter(|event| event.header().lane == Lane::Timeline).cloned()), Ok(0));
        assert_eq!(preview.add(state), Ok(1));
        let place = preview.placement(mallory.0.origin(), None);
        let forced =
            author(&mallory.0, place, mallory.draft(&member(&mallory.1, Membership::Join), None)).expect("bytes");
        assert_eq!(preview.add([forced, orphan]), Ok(1));
        let state = preview.state().expect("a state");
        assert!(!state.is_joined(&mallory.1) && state.membership(&bob.1) == Some(Membership::Invite));
    }
}
