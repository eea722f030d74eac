//! Files that come without anybody asking for them, so that they are here when their author's server is gone; and the hourly sweep
//! of those that nobody needs.
//!
//! What messages name is told by the store as it is written. At the start, and every hour, the lists of all rooms are looked
//! through for what is missing. Whatever was tried the least comes first, and every other time what has waited for longest: names
//! of files that nobody has, or that somebody sends slowly, keep no other file from coming.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_storage::{FileError, StoreError};
use tokio::time::Instant;

use super::{FetchError, SIZES, blocking, ended};
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
/// How often it is looked whether some wait for others.
const GLANCE: Duration = Duration::from_secs(5);
/// Files of a room that are looked at at a time.
const PAGE: usize = 256;

/// A file that is missing, or not held by every room that names it.
#[derive(Debug)]
struct Want {
    /// The room that named it first; it is fetched by whatever room names it.
    room: RoomId,
    due: Instant,
    pause: Duration,
    /// How often it was tried in vain.
    tries: u32,
    /// Whether nobody had it.
    lonely: bool,
    running: bool,
}

#[derive(Default)]
struct Wants {
    missing: BTreeMap<FileId, Want>,
    /// Whether there was no space for all.
    more: bool,
    /// Whether the next one is picked by its age.
    by_age: bool,
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
        engine.files.pressed.store(wants.press(), Ordering::Relaxed);
        let next = wants.due().map_or(sweep, |due| due.min(sweep));
        tokio::select! {
            changed = durable.changed() => if changed.is_err() { return },
            () = engine.files.look_again.notified() => wants.hurry(),
            Some((file, outcome)) = wants.running.next(), if !wants.running.is_empty() => {
                wants.end(&engine, &file, &outcome);
            }
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
            // Their bytes go after it; if it fails, the next one takes them.
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
            if named.size <= engine.files.fetch_up_to && engine.follows(&room) && !is_held(engine, &room, &named.file) {
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
                    let missing = !self.missing.contains_key(&named.file) && !is_held(engine, &room, &named.file);
                    let fits = |size: u64| size <= engine.files.fetch_up_to;
                    if missing && engine.file_refs(&room, &named.file, SIZES)?.iter().any(|(_, said)| fits(said.size)) {
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
        if self.missing.len() >= MOST_WANTED && !self.missing.contains_key(&file) {
            self.more = true;
            // What was tried the most makes place for what is new; it is found again when all are looked for.
            let idle = self.missing.iter().filter(|(_, want)| !want.running && want.tries > 0);
            let Some(most) = idle.max_by_key(|(_, want)| (want.tries, want.due)).map(|(file, _)| *file) else { return };
            self.missing.remove(&most);
        }
        let (due, pause) = (Instant::now(), FIRST_PAUSE);
        self.missing.entry(file).or_insert(Want { room, due, pause, tries: 0, lonely: false, running: false });
    }

    /// The one of those that are due whose turn it is: what was tried the least, and of equals what has been due for longer; or, every
    /// other time, what has been due for longest, so that no flood of new names holds back what was tried before.
    fn pick(&self, now: Instant, by_age: bool) -> Option<FileId> {
        let due = self.missing.iter().filter(|(_, want)| !want.running && want.due <= now);
        due.min_by_key(|(file, want)| (if by_age { 0 } else { want.tries }, want.due, **file)).map(|(file, _)| *file)
    }

    /// Whether one is due that has to wait for another.
    fn press(&self) -> bool {
        let now = Instant::now();
        self.running.len() >= AT_ONCE && self.missing.values().any(|want| !want.running && want.due <= now)
    }

    /// Begins with those that are due.
    fn begin(&mut self, engine: &Engine) {
        let now = Instant::now();
        for _ in self.running.len()..AT_ONCE {
            let Some(file) = self.pick(now, self.by_age) else { return };
            self.by_age = !self.by_age;
            let Some(want) = self.missing.get_mut(&file) else { return };
            match engine.fetch_file(want.room, file, engine.files.fetch_up_to) {
                Ok(progress) => {
                    want.running = true;
                    let engine = engine.clone();
                    self.running.push(Box::pin(async move {
                        let outcome = match ended(progress).await {
                            Ok(()) => engine.hold_by_rooms(file).await,
                            Err(error) => Err(error),
                        };
                        (file, outcome)
                    }));
                }
                Err(_) => want.due = now + want.pause,
            }
        }
    }

    /// When the next one is due; none while no more may begin. Those that are due and wait for others are looked at now and then, so
    /// that these give way.
    fn due(&self) -> Option<Instant> {
        let waiting = self.missing.values().filter(|want| !want.running).map(|want| want.due);
        if self.running.len() < AT_ONCE {
            waiting.min()
        } else {
            waiting.min().map(|due| due.max(Instant::now() + GLANCE))
        }
    }

    /// Tries those again soon that nobody had.
    fn hurry(&mut self) {
        let now = Instant::now();
        self.missing.values_mut().filter(|want| want.lonely && !want.running).for_each(|want| want.due = now);
    }

    fn end(&mut self, engine: &Engine, file: &FileId, outcome: &Result<(), FetchError>) {
        let over = match outcome {
            Ok(()) => engine.is_held_everywhere(file),
            Err(FetchError::NotNamed | FetchError::Closed) => true,
            Err(FetchError::File(error)) => matches!(**error, FileError::NotNamed | FileError::TooLarge { .. }),
            Err(_) => false,
        };
        if over {
            self.missing.remove(file);
            return;
        }
        if let Some(want) = self.missing.get_mut(file) {
            want.running = false;
            want.tries = want.tries.saturating_add(1);
            if matches!(outcome, Err(FetchError::GaveWay)) {
                // It goes on where it was, behind the others.
                want.due = Instant::now();
                return;
            }
            want.lonely = matches!(outcome, Ok(()) | Err(FetchError::NoHolder { .. }));
            want.due = Instant::now() + want.pause;
            want.pause = (want.pause * 2).min(LAST_PAUSE);
        }
    }
}

/// Whether the file is here by this room.
fn is_held(engine: &Engine, room: &RoomId, file: &FileId) -> bool {
    engine.store().holds_file(room, file).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(count: u32) -> Wants {
        let mut wants = Wants::default();
        for number in 0..count {
            wants.add(RoomId::from_hash([1; 32]), file(number));
        }
        wants
    }

    fn file(number: u32) -> FileId {
        FileId::of_block(&number.to_be_bytes())
    }

    #[tokio::test]
    async fn a_new_file_comes_before_those_that_nobody_had_and_these_come_too() {
        let mut wants = wants(50);
        let now = Instant::now();
        for want in wants.missing.values_mut() {
            (want.tries, want.due) = (3, now);
        }
        for number in [50, 51] {
            wants.add(RoomId::from_hash([2; 32]), file(number));
        }
        let (new, old) = (wants.pick(Instant::now(), false), wants.pick(Instant::now(), true));
        assert!(new.is_some_and(|new| new == file(50) || new == file(51)));
        assert!(old.is_some_and(|old| wants.missing[&old].tries == 3), "those are not forgotten");
    }

    #[tokio::test]
    async fn a_full_list_lets_go_of_what_was_tried_the_most() {
        let mut wants = wants(MOST_WANTED as u32);
        wants.add(RoomId::from_hash([2; 32]), file(u32::MAX));
        assert!(wants.more && !wants.missing.contains_key(&file(u32::MAX)), "none of them was tried yet");
        for (number, tries) in [(7, 2), (8, 5), (9, 1)] {
            wants.missing.get_mut(&file(number)).expect("it is wanted").tries = tries;
        }
        wants.missing.get_mut(&file(8)).expect("it is wanted").running = true;
        wants.add(RoomId::from_hash([2; 32]), file(u32::MAX));
        assert!(wants.missing.contains_key(&file(u32::MAX)) && wants.missing.len() == MOST_WANTED);
        assert!(!wants.missing.contains_key(&file(7)) && wants.missing.contains_key(&file(8)), "one is under way");
    }
}
