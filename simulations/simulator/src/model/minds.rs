//! Resolvers, shared by servers that took in the same state events in the same order.
//!
//! A resolver is a function of the sequence of state events that it took in. Most servers of a room take in most state
//! events in the same order, and a resolver of a room with a thousand members takes a megabyte.

use std::collections::BTreeMap;

use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::resolution::{Changes, Resolver};

/// What is known of a sequence of state events: a hash over it.
type Path = [u8; 32];

/// The path of a server that has nothing.
const EMPTY: Path = [0; 32];

#[derive(Debug)]
struct Mind {
    resolver: Resolver,
    path: Path,
    /// What its last event changed.
    changes: Changes,
    /// How many seats share it.
    seats: u32,
}

/// The resolvers of one room.
#[derive(Debug, Default)]
pub(super) struct Minds {
    minds: Vec<Option<Mind>>,
    free: Vec<u32>,
    by_path: BTreeMap<Path, u32>,
}

const HELD: &str = "a seat holds its mind";

impl Minds {
    /// The resolver of a server that has nothing; one seat shares it from now on.
    pub(super) fn enter_empty(&mut self) -> u32 {
        match self.by_path.get(&EMPTY) {
            Some(known) => {
                let known = *known;
                self.enter(known);
                known
            }
            None => self.add(Mind { resolver: Resolver::new(), path: EMPTY, changes: Changes::default(), seats: 1 }),
        }
    }

    /// A resolver that was made before the run, from the events that hash to `path`; one seat shares it from now on.
    pub(super) fn enter_new(&mut self, resolver: Resolver, path: Path) -> u32 {
        self.add(Mind { resolver, path, changes: Changes::default(), seats: 1 })
    }

    /// One seat more shares it.
    pub(super) fn enter(&mut self, mind: u32) {
        self.mind(mind).seats += 1;
    }

    /// One seat less does.
    pub(super) fn leave(&mut self, mind: u32) {
        let left = self.mind(mind);
        left.seats -= 1;
        if left.seats == 0 {
            let path = left.path;
            self.by_path.remove(&path);
            self.minds[mind as usize] = None;
            self.free.push(mind);
        }
    }

    /// The resolver.
    pub(super) fn get(&self, mind: u32) -> &Resolver {
        &self.minds[mind as usize].as_ref().expect(HELD).resolver
    }

    /// The resolver, to be asked; asking changes only what it remembers.
    pub(super) fn resolver(&mut self, mind: u32) -> &mut Resolver {
        &mut self.mind(mind).resolver
    }

    /// A seat takes in a state event. Returns the mind that it has from now on, and what changed.
    pub(super) fn insert(&mut self, mind: u32, number: u32, event: &Event) -> (u32, Changes) {
        let old = self.mind(mind);
        let path = next(&old.path, number);
        if let Some(known) = self.by_path.get(&path).copied() {
            self.enter(known);
            self.leave(mind);
            return (known, self.mind(known).changes.clone());
        }
        let old = self.mind(mind);
        if old.seats == 1 {
            let changes = old.resolver.insert(event);
            old.changes = changes.clone();
            let before = std::mem::replace(&mut old.path, path);
            self.by_path.remove(&before);
            self.by_path.insert(path, mind);
            return (mind, changes);
        }
        let mut resolver = old.resolver.clone();
        let changes = resolver.insert(event);
        let new = self.add(Mind { resolver, path, changes: changes.clone(), seats: 1 });
        self.leave(mind);
        (new, changes)
    }

    fn mind(&mut self, mind: u32) -> &mut Mind {
        self.minds[mind as usize].as_mut().expect(HELD)
    }

    fn add(&mut self, mind: Mind) -> u32 {
        let path = mind.path;
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.minds.push(None);
                self.minds.len() as u32 - 1
            }
        };
        self.minds[at as usize] = Some(mind);
        self.by_path.insert(path, at);
        at
    }
}

fn next(path: &Path, number: u32) -> Path {
    let mut hasher = blake3::Hasher::new();
    hasher.update(path).update(&number.to_be_bytes());
    *hasher.finalize().as_bytes()
}
