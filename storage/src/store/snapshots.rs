//! Snapshots of rooms' states, in pieces that follow each other's snapshots share.

use rocketmesh_protocol::id::RoomId;

use super::{EventStore, Snapshot};
use crate::backend::Change;
use crate::error::StoreError;
use crate::layout;

impl EventStore {
    /// Keeps a snapshot of a room's state in place of the one before. Pieces that both have stay as they are. A snapshot
    /// can be made again, and so is durable whenever the next flush makes it so.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub fn put_snapshot(&self, room: &RoomId, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.check()?;
        self.check_space()?;
        let Some(number) = self.number(room) else { return Ok(()) };
        let number = number.to_be_bytes();
        let key = layout::key(layout::SNAPSHOT, &[&number]);
        let old = self.backend.get(&key)?.and_then(|record| layout::read_snapshot(&record));
        let old: Vec<[u8; 32]> = old.map(|(.., pieces)| pieces).unwrap_or_default();
        let hashes: Vec<[u8; 32]> = snapshot.pieces.iter().map(|piece| *blake3::hash(piece).as_bytes()).collect();
        let piece_key = |hash: &[u8; 32]| layout::key(layout::PIECE, &[&number, hash]);
        let mut changes = Vec::new();
        for (hash, piece) in hashes.iter().zip(&snapshot.pieces).filter(|(hash, _)| !old.contains(hash)) {
            changes.push(Change::Set(piece_key(hash), piece.clone()));
        }
        changes.extend(old.iter().filter(|hash| !hashes.contains(hash)).map(|hash| Change::Remove(piece_key(hash))));
        let record = (snapshot.cut, snapshot.have.clone(), hashes);
        changes.push(Change::Set(key, layout::write_snapshot(&record)));
        self.backend.apply(&changes)
    }

    /// The last snapshot of a room's state; none if there is none that can be read whole.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot(&self, room: &RoomId) -> Result<Option<Snapshot>, StoreError> {
        let Some(number) = self.number(room) else { return Ok(None) };
        let number = number.to_be_bytes();
        let record = self.backend.get(&layout::key(layout::SNAPSHOT, &[&number]))?;
        let Some((cut, have, hashes)) = record.and_then(|record| layout::read_snapshot(&record)) else {
            return Ok(None);
        };
        let mut pieces = Vec::with_capacity(hashes.len());
        for hash in hashes {
            match self.backend.get(&layout::key(layout::PIECE, &[&number, &hash]))? {
                Some(piece) if *blake3::hash(&piece).as_bytes() == hash => pieces.push(piece),
                _ => return Ok(None),
            }
        }
        Ok(Some(Snapshot { cut, have, pieces }))
    }
}
