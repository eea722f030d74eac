//! Group commit: whoever wrote something waits for a flush that began after it, and one flush serves everybody who waits.

use std::sync::Arc;
use std::time::Duration;

use rocketmesh_storage::{EventStore, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How many may wait for a flush. Each waiter is a room's task or an administrator's command, and waits its turn.
const WAITING: usize = 1024;

/// A flush that takes longer than this is worth a line in the log: everything that is said waits for it.
const SLOW: Duration = Duration::from_secs(1);

type Waiter = oneshot::Sender<Result<(), Arc<StoreError>>>;

/// The way to the flushing task.
#[derive(Clone, Debug)]
pub(super) struct Committer {
    store: EventStore,
    waiters: mpsc::Sender<Waiter>,
}

impl Committer {
    pub(super) fn spawn(store: EventStore) -> Self {
        let (waiters, queue) = mpsc::channel(WAITING);
        if store.sync_blocks() {
            tokio::spawn(flush(store.clone(), queue));
        }
        Committer { store, waiters }
    }

    /// Returns once everything that was written before the call is durable.
    pub(super) async fn sync(&self) -> Result<(), Arc<StoreError>> {
        if !self.store.sync_blocks() {
            let takes = self.store.sync_takes();
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            self.store.sync().map_err(Arc::new)?;
            // In memory nothing waits for it, and what cannot be removed is found by a sweep.
            let _ = self.store.remove_gone_files();
            return Ok(());
        }
        let (waiter, done) = oneshot::channel();
        let closed = || Arc::new(StoreError::Io(std::io::Error::other("the node is shutting down")));
        self.waiters.send(waiter).await.map_err(|_| closed())?;
        done.await.map_err(|_| closed())?
    }
}

async fn flush(store: EventStore, mut queue: mpsc::Receiver<Waiter>) {
    let mut waiters = Vec::new();
    let mut removing: Option<JoinHandle<()>> = None;
    while queue.recv_many(&mut waiters, WAITING).await > 0 {
        let flushed = store.clone();
        let begun = Instant::now();
        let result = match tokio::task::spawn_blocking(move || flushed.sync()).await {
            Ok(result) => result.map_err(Arc::new),
            Err(panic) => Err(Arc::new(StoreError::Damaged(format!("the flush panicked: {panic}")))),
        };
        let took = begun.elapsed();
        if took > SLOW {
            tracing::warn!(seconds = took.as_secs(), "the disk took long to write; events waited for it");
        }
        for waiter in waiters.drain(..) {
            // Whoever stopped waiting does not need to know.
            let _ = waiter.send(result.clone());
        }
        // Bytes of files that nothing names any more. Removing large ones takes a disk its time, and nobody waits for that. What
        // comes to it while this runs is taken along or found after the next flush.
        if store.has_gone_files() && removing.as_ref().is_none_or(JoinHandle::is_finished) {
            let store = store.clone();
            removing = Some(tokio::task::spawn_blocking(move || {
                if let Err(error) = store.remove_gone_files() {
                    tracing::warn!(%error, "files that nothing names cannot be removed; this is tried again within an hour");
                }
            }));
        }
    }
}
