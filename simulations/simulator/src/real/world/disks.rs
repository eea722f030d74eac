//! Disks that are nearly full for a while.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rocketmesh_node::engine::PostError;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::Content;
use rocketmesh_storage::StoreError;

use super::World;
use crate::invariants::Trial;
use crate::observe::Observation;
use crate::plan::RoomPlan;
use crate::real::past::localpart;
use crate::real::server::RESERVE;

/// What is free on a disk that is nearly full.
const LEFT: u64 = RESERVE / 2;

impl World<'_> {
    /// A server's disk is nearly full from now on. A user of it notices at once.
    pub(super) fn fill(&mut self, server: usize) {
        self.servers[server].disk().set_free(Some(LEFT));
        let bytes = self.bytes_on_disk(server);
        self.full.entry(server).or_insert(bytes);
        self.stage.observe(|observer, now| observer.trace(now, format_args!("full {server}")));
        self.try_to_write(server);
    }

    /// There is space again, and what was written meanwhile would have fitted into what there was.
    pub(super) fn clear(&mut self, server: usize) {
        let Some(before) = self.full.remove(&server) else { return };
        self.servers[server].disk().set_free(None);
        let written = self.bytes_on_disk(server).saturating_sub(before);
        self.stage.observe(|observer, now| {
            observer.trace(now, format_args!("space {server} {written}"));
            observer.measured(now, server, "bytes that were written to a disk with little space", written, LEFT);
        });
    }

    fn bytes_on_disk(&self, server: usize) -> u64 {
        let disk = self.servers[server].disk();
        let rows: usize = disk.rows().iter().map(|(key, value)| key.len() + value.len()).sum();
        rows as u64 + disk.blob_sizes().values().sum::<u64>()
    }

    fn try_to_write(&self, server: usize) {
        let at_home = |(room, plan): (usize, &RoomPlan)| {
            let member = plan.members[..plan.present].iter().find(|member| member.server == server)?;
            Some((room, member.user.clone()))
        };
        let home = self.plan.rooms.iter().enumerate().find_map(at_home);
        let Some((room, user)) = home.filter(|_| self.plan.servers[server].hostile.is_none()) else { return };
        let (Some(client), Ok(user)) = (self.servers[server].client(), localpart(&user)) else { return };
        let (stage, alive, id) = (Arc::clone(&self.stage), self.servers[server].alive(), self.stage.rooms[room]);
        tokio::spawn(async move {
            let fields = Map::new().with("text", "Is there space?");
            let outcome = client.post(id, user, &Content::Message { thread: None }, Some(fields)).await;
            if !alive.load(Ordering::Relaxed) {
                return;
            }
            let trial = match outcome {
                Ok(written) => {
                    stage.observe(|observer, now| {
                        observer.said(now, server, room, Arc::new(written.event));
                    });
                    Trial::Took
                }
                Err(PostError::Store(error)) => match *error {
                    StoreError::Full { .. } if client.check_space().is_ok() => Trial::Silent,
                    StoreError::Full { .. } if client.shown(&id).is_err() => Trial::Blind,
                    StoreError::Full { .. } => Trial::Refused,
                    _ => Trial::Nameless,
                },
                // It catches up, shuts down, or the rules let nobody write: that says nothing of its disk.
                Err(_) => return,
            };
            stage.observe(|observer, now| observer.saw(now, &Observation::FullDisk { server, trial }));
        });
    }
}
