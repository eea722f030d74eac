//! What events come to: when they are decided on, and again when what came later changes that.

use rocketmesh_protocol::event::{Event, Lane};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::receipt::Node;
use rocketmesh_protocol::resolution::{Changes, Reconsider};
use rocketmesh_storage::{ChainStart, StoreError, StoredEvent, Verdict};

use super::{REVIEWED, RoomTask};

impl RoomTask {
    pub(super) fn decide(&mut self, event: Event, verdict: Verdict) -> Result<(), StoreError> {
        let id = event.id();
        self.outline.add(&event, verdict != Verdict::Rejected);
        self.recent.borrow_mut().insert(id, Node::of(&event));
        let changes = self.resolver.insert(&event);
        let verdict = if verdict == Verdict::Rejected { verdict } else { self.verdict(&event) };
        self.fresh.push(id);
        self.fresh_bytes += event.header_block().len() + event.body_block().map_or(0, <[u8]>::len);
        self.undecided.insert(id, StoredEvent { event, verdict });
        self.mind_bodies(&id)?;
        self.reconsider(&changes)
    }

    /// What an allowed event comes to by everything that is here now.
    fn verdict(&self, event: &Event) -> Verdict {
        let counts = match event.header().lane {
            Lane::State => !self.resolver.is_void(&event.id()),
            Lane::Timeline => self.resolver.shows(event),
        };
        if counts { Verdict::Accepted } else { Verdict::Withheld }
    }

    /// Looks again at what a state event may have changed the verdict of.
    fn reconsider(&mut self, changes: &Changes) -> Result<(), StoreError> {
        for id in &changes.state {
            self.review(id)?;
        }
        let everything: Vec<Reconsider> = match changes.everything {
            true => self.outline.origins().into_iter().map(|origin| Reconsider { origin, from_seq: 0 }).collect(),
            false => Vec::new(),
        };
        let timelines = if changes.everything { &everything } else { &changes.timelines };
        for timeline in timelines {
            let unwritten: Vec<EventId> = self
                .undecided
                .values()
                .filter(|stored| {
                    let header = stored.event.header();
                    header.origin == timeline.origin && header.lane == Lane::Timeline && header.seq >= timeline.from_seq
                })
                .map(|stored| stored.event.id())
                .collect();
            for id in unwritten {
                self.review(&id)?;
            }
            let mut start = ChainStart::At(timeline.from_seq);
            loop {
                let (origin, lane) = (timeline.origin, Lane::Timeline);
                let page = self.engine.store.chain_from(&self.room, origin, lane, start, REVIEWED)?;
                for (_, id) in &page {
                    self.review(id)?;
                }
                match page.last() {
                    Some((seq, id)) if page.len() == REVIEWED => start = ChainStart::After(*seq, *id),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    fn review(&mut self, id: &EventId) -> Result<(), StoreError> {
        let stored = self.stored(id)?;
        let Some(mut stored) = stored.filter(|stored| stored.verdict != Verdict::Rejected) else { return Ok(()) };
        self.reach(&stored.event)?;
        let verdict = self.verdict(&stored.event);
        if verdict != stored.verdict {
            stored.verdict = verdict;
            if let Some(stripped) = self.bodies.stripped.get_mut(id) {
                stripped.verdict = verdict;
            }
            match self.undecided.get_mut(id) {
                Some(unwritten) => *unwritten = stored.clone(),
                None => {
                    self.changed.insert(*id, stored.clone());
                }
            }
            self.mind_changed_verdict(&stored)?;
        }
        Ok(())
    }

    pub(super) fn fill_body(&mut self, event: &Event) -> Result<(), StoreError> {
        if event.body_block().is_none() {
            return Ok(());
        }
        if let Some(unwritten) = self.undecided.get_mut(&event.id()) {
            let gone = self.bodies.marked.get(&event.id()).is_some_and(|marks| marks.gone());
            if !gone && unwritten.event.body_block().is_none() {
                unwritten.event = event.clone();
            }
            return Ok(());
        }
        match self.engine.store.event(&event.id())? {
            Some(stored) if stored.event.body_block().is_none() => {
                if self.bodies.marked.contains_key(&event.id()) || self.engine.store.marks(&event.id())?.gone() {
                    return Ok(());
                }
                let filled = StoredEvent { event: event.clone(), verdict: stored.verdict };
                self.filled = Some(self.engine.store.put_body(&filled)?);
                if let Some(changed) = self.changed.get_mut(&event.id()) {
                    changed.event = event.clone();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
