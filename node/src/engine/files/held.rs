//! Rooms by which a file is held.
//!
//! A file is sent in a room only by servers to which it came by that room. Otherwise whoever knows a file's hash could name it in a
//! room of their own, and have it from a server that holds it for another one. A server that has a file already, and finds it
//! named in a further room, asks a server of that room for a single range: whoever can send that has the file.

use rocketmesh_protocol::file::{FileRange, open_slice};
use rocketmesh_protocol::id::{FileId, RoomId};
use tokio::sync::watch;

use super::fetch::{Fetch, FetchError, Progress};
use super::holders::Holders;
use super::race::Race;
use crate::engine::{Engine, add};

impl Engine {
    /// Whether a file is here, and held by every room that names it.
    pub(super) fn is_held_everywhere(&self, file: &FileId) -> bool {
        let held = |room: &RoomId| self.store().holds_file(room, file).unwrap_or(false);
        self.rooms_with_file(file).is_ok_and(|rooms| rooms.iter().all(held))
    }

    /// Asks servers of the rooms by which a file that is here is not held for a part of it, and holds it by those of which one sends
    /// that.
    pub(super) async fn hold_by_rooms(&self, file: FileId) -> Result<(), FetchError> {
        let Some(entry) = self.store().file(&file)?.filter(|entry| entry.whole) else { return Ok(()) };
        let (progress, _) = watch::channel(Progress::default());
        let mut held = false;
        for room in self.rooms_with_file(&file)? {
            if self.store().holds_file(&room, &file)? {
                continue;
            }
            let fetch = Fetch::of(self, vec![room], file, &progress);
            let mut holders = Holders::of(self, vec![room], file);
            let end = FileRange::count(entry.size).saturating_sub(1);
            let mut race = Race::new(&fetch, entry.size, vec![end], &mut holders);
            while let Some((peer, _, range, slice)) = race.next().await {
                let sound = open_slice(&file, entry.size, range, &slice).is_ok();
                race.judged(&peer, range, sound);
                if sound {
                    add(&self.counters.slices_received, 1);
                } else {
                    fetch.blame(peer).await;
                }
            }
            if race.is_over() {
                held |= self.store().hold_file(&room, &file)?;
            }
        }
        if held {
            // A loss of power that takes the note makes the range come again.
            let _ = self.committer.sync().await;
        }
        Ok(())
    }
}
