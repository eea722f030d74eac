//! Files that come without anybody asking for them, so that they are here when their author's server is gone; and the hourly sweep
//! of those that nobody needs.
//!
//! What messages name is told by the store as it is written. At the start, and every hour, the lists of all rooms are looked
//! through for what is missing.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_storage::{FileError, StoreError};
use tokio::time::Instant;

use super::{FetchError, blocking, ended};
use crate::engine::{Engine, add};

/// How often it is swept, and looked for what is missing.
const EVERY: Duration = Duration::from_secs(3600);
/// Files that are fetched at once of their own accord; the rest of the places is for those that somebody waits for.
const AT_ONCE: usize = 2;
/// Files that are remembered as missing, about a hundred bytes each. Others are found once these are fewer.
const MOST_WANTED: usize = 4096;
/// The pause before a file is tried again; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LAST_PAUSE: Duration = Duration::from_secs(300);
/// Files of a room that are looked at at a time.
const PAGE: usize = 256;

/// A file that is missing.
struct Want {
    room: RoomId,
    due: Instant,
    pause: Duration,
    /// Whether nobody had it.
    lonely: bool,
    running: bool,
}

#[derive(Default)]
struct Wants {
    missing: BTreeMap<FileId, Want>,
    /// Whether there was no space for all.
    more: bool,
    running: FuturesUnordered<BoxFuture<'static, (FileId, Result<(), FetchError>)>>,
}

/// Fetches what is missing, and sweeps what is of no use, for as long as the node runs.
pub(in crate::engine) async fn run(engine: Engine) {
    let mut shutdown = engine.shutdown();
    let mut durable = engine.durable();
    let mut wants = Wants::default();
    let mut sweep = Instant::now();
    loop {
        if Instant::now() >= sweep {
            tidy(&engine).await;
            sweep = Instant::now() + EVERY;
            engine.files.some_missing.store(true, Ordering::Relaxed);
        }
        if engine.files.fetch_up_to > 0 {
            wants.learn(&engine).await;
            wants.begin(&engine);
        } else {
            drop(engine.store().newly_named());
        }
        let next = wants.due().map_or(sweep, |due| due.min(sweep));
        tokio::select! {
            changed = durable.changed() => if changed.is_err() { return },
            () = engine.files.look_again.notified() => wants.hurry(),
            Some((file, outcome)) = wants.running.next(), if !wants.running.is_empty() => wants.end(&file, &outcome),
            () = tokio::time::sleep_until(next) => {}
            () = crate::network::shut_down(&mut shutdown) => return,
        }
    }
}

/// Lets go of what nobody needs.
async fn tidy(engine: &Engine) {
    let (store, now) = (engine.store().clone(), engine.clock.now_ms());
    let swept = blocking(engine, move || store.sweep_files(now)).await;
    match swept {
        Some(Ok(0)) | None => {}
        Some(Ok(files)) => {
            tracing::info!(files, "let go of files that no message names");
            // Their bytes go with it; if it fails, the next one takes them.
            let _ = engine.committer.sync().await;
        }
        Some(Err(error)) => {
            add(&engine.counters.store_errors, 1);
            tracing::warn!(%error, "files were not swept");
        }
    }
}

impl Wants {
    /// Takes note of what is missing.
    async fn learn(&mut self, engine: &Engine) {
        let newly = engine.store().newly_named();
        for (room, named) in newly.files {
            if named.size <= engine.files.fetch_up_to && engine.follows(&room) && !is_here(engine, &named.file) {
                self.add(room, named.file);
            }
        }
        let space = self.missing.len() < MOST_WANTED / 2;
        let look = engine.files.some_missing.swap(false, Ordering::Relaxed) || newly.more;
        if look || self.more && space {
            self.more = false;
            if let Err(error) = self.look_through(engine).await {
                add(&engine.counters.store_errors, 1);
                tracing::warn!(%error, "missing files cannot be looked for");
            }
        }
    }

    /// Looks through the files of all rooms for what is missing.
    async fn look_through(&mut self, engine: &Engine) -> Result<(), StoreError> {
        for room in engine.followed() {
            let mut after = None;
            loop {
                let page = engine.store().files_of_room(&room, after.as_ref(), PAGE)?;
                for named in &page {
                    let missing = !self.missing.contains_key(&named.file) && !is_here(engine, &named.file);
                    let fits = |size: u64| size <= engine.files.fetch_up_to;
                    if missing && engine.file_refs(&room, &named.file)?.iter().any(|(_, said)| fits(said.size)) {
                        self.add(room, named.file);
                    }
                }
                match page.last().filter(|_| page.len() == PAGE && !self.more) {
                    Some(last) => after = Some(last.file),
                    None => break,
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn add(&mut self, room: RoomId, file: FileId) {
        if self.missing.len() >= MOST_WANTED {
            self.more = true;
            return;
        }
        let (due, pause) = (Instant::now(), FIRST_PAUSE);
        self.missing.entry(file).or_insert(Want { room, due, pause, lonely: false, running: false });
    }

    /// Begins with those that are due.
    fn begin(&mut self, engine: &Engine) {
        let now = Instant::now();
        let due: Vec<FileId> = self
            .missing
            .iter()
            .filter(|(_, want)| !want.running && want.due <= now)
            .map(|(file, _)| *file)
            .take(AT_ONCE.saturating_sub(self.running.len()))
            .collect();
        for file in due {
            let Some(want) = self.missing.get_mut(&file) else { continue };
            match engine.fetch_file(want.room, file, engine.files.fetch_up_to) {
                Ok(progress) => {
                    want.running = true;
                    self.running.push(Box::pin(async move { (file, ended(progress).await) }));
                }
                Err(_) => want.due = now + want.pause,
            }
        }
    }

    /// When the next one is due; none while no more may begin.
    fn due(&self) -> Option<Instant> {
        let waiting = self.missing.values().filter(|want| !want.running).map(|want| want.due);
        if self.running.len() < AT_ONCE { waiting.min() } else { None }
    }

    /// Tries those again soon that nobody had.
    fn hurry(&mut self) {
        let now = Instant::now();
        self.missing.values_mut().filter(|want| want.lonely && !want.running).for_each(|want| want.due = now);
    }

    fn end(&mut self, file: &FileId, outcome: &Result<(), FetchError>) {
        let over = match outcome {
            Ok(()) | Err(FetchError::NotNamed | FetchError::Closed) => true,
            Err(FetchError::File(error)) => matches!(**error, FileError::NotNamed | FileError::TooLarge { .. }),
            Err(_) => false,
        };
        if over {
            self.missing.remove(file);
            return;
        }
        if let Some(want) = self.missing.get_mut(file) {
            want.running = false;
            want.lonely = matches!(outcome, Err(FetchError::NoHolder { .. }));
            want.due = Instant::now() + want.pause;
            want.pause = (want.pause * 2).min(LAST_PAUSE);
        }
    }
}

fn is_here(engine: &Engine, file: &FileId) -> bool {
    engine.store().file(file).ok().flatten().is_some_and(|entry| entry.whole)
}
