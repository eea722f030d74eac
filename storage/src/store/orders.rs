//! Events by the orders in which they are asked for: a room's, a lane's, and that in which this node came to know them.

use std::ops::Bound;

use rocketmesh_protocol::event::{Lane, OrderKey};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;

use super::{ChainStart, EventStore, LogEntry, LogPosition};
use crate::backend::{Scan, after_prefix};
use crate::error::StoreError;
use crate::layout;

impl EventStore {
    /// Accepted and withheld events of a room in room order, from just after `after`, or from the beginning.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn order_after(
        &self,
        room: &RoomId,
        after: Option<&OrderKey>,
        limit: usize,
    ) -> Result<Vec<OrderKey>, StoreError> {
        self.order(room, limit, |number, scan| {
            if let Some(after) = after {
                scan.from = Bound::Excluded(layout::order_key(number, after));
            }
        })
    }

    /// Accepted and withheld events of a room in falling room order, from just before `before`, or from the end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn order_before(
        &self,
        room: &RoomId,
        before: Option<&OrderKey>,
        limit: usize,
    ) -> Result<Vec<OrderKey>, StoreError> {
        self.order(room, limit, |number, scan| {
            scan.descending = true;
            if let Some(before) = before {
                scan.to = Bound::Excluded(layout::order_key(number, before));
            }
        })
    }

    fn order(
        &self,
        room: &RoomId,
        limit: usize,
        narrow: impl FnOnce(u32, &mut Scan),
    ) -> Result<Vec<OrderKey>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(Vec::new()) };
        let mut scan = Scan::prefix(&layout::key(layout::ORDER, &[&number.to_be_bytes()]), limit);
        narrow(number, &mut scan);
        let entries = self.backend.scan(&scan)?;
        entries
            .iter()
            .map(|(key, _)| layout::read_order_key(key).ok_or_else(|| layout::damaged("the room order")))
            .collect()
    }

    /// One lane's events from `from_seq` on, ascending by (sequence number, id), rejected ones included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn chain(
        &self,
        room: &RoomId,
        origin: Origin,
        lane: Lane,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EventId)>, StoreError> {
        self.chain_from(room, origin, lane, ChainStart::At(from_seq), limit)
    }

    /// As [`EventStore::chain`], from a place in it: for reading it page by page, whatever forks it has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn chain_from(
        &self,
        room: &RoomId,
        origin: Origin,
        lane: Lane,
        start: ChainStart,
        limit: usize,
    ) -> Result<Vec<(u64, EventId)>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(Vec::new()) };
        let scan = Scan {
            from: match start {
                ChainStart::At(seq) => Bound::Included(layout::chain_key(number, origin, lane, seq, None)),
                ChainStart::After(seq, id) => Bound::Excluded(layout::chain_key(number, origin, lane, seq, Some(&id))),
            },
            to: after_prefix(&layout::lane_prefix(layout::CHAIN, number, origin, lane)),
            descending: false,
            limit,
        };
        let entries = self.backend.scan(&scan)?;
        entries.iter().map(|(key, _)| layout::read_chain_key(key).ok_or_else(|| layout::damaged("a chain"))).collect()
    }

    /// Entries of the local log after `position`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log_after(&self, position: LogPosition, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        let scan = Scan {
            from: Bound::Excluded(layout::log_key(position)),
            to: after_prefix(&[layout::LOG]),
            descending: false,
            limit,
        };
        self.backend.scan(&scan)?.iter().map(|(key, value)| layout::read_log(key, value)).collect()
    }
}
