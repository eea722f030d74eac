//! Fetching a file: ranges of it from several servers at once, each verified when it comes.
//!
//! The range at the end proves the size. A message may lie about that, and so may a holder; what either says is tried, and believed
//! once that range has come. Until then nothing is counted, and a claim ends nothing but itself.
//!
//! A fetch has a turn. Once that is over and others wait, it ends with what it has, and goes on after them: a slow holder holds up
//! nobody else's file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::file::{SliceError, open_slice};
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_protocol::limits::{FILE_RANGE_BYTES, MAX_FILE_BYTES};
use rocketmesh_storage::{FileError, Part, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::holders::Holders;
use super::race::Race;
use super::{SIZES, blocking};
use crate::engine::{Engine, add, lock};
use crate::network::Count;

/// Files that may wait to be fetched. With more, whoever asks for one is told to come back.
const MOST_WAITING: usize = 1024;
/// Sizes that are tried because a holder says so, beside those that messages say.
const CLAIMED_SIZES: usize = 4;
/// How long a fetch may go on while others wait.
const TURN: Duration = Duration::from_secs(30);

/// Why a file could not be fetched. What came of it is kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// No message names it.
    #[error("no message of this room that is shown names the file")]
    NotNamed,
    /// Nobody has it who is connected.
    #[error(
        "none of the {asked} connected servers of the room could send the file; connect to one that has it, or ask again later"
    )]
    NoHolder {
        /// How many were asked.
        asked: usize,
    },
    /// The store does not take it, or failed.
    #[error(transparent)]
    File(#[from] Arc<FileError>),
    /// Others waited for their turn.
    #[error("the file is on its way, and others are fetched in between; ask again in a moment")]
    GaveWay,
    /// Too much is under way.
    #[error("too many files are being fetched; ask again in a moment")]
    Busy,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

impl From<FileError> for FetchError {
    fn from(error: FileError) -> Self {
        FetchError::File(Arc::new(error))
    }
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> Self {
        FileError::from(error).into()
    }
}

/// How far a file has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Bytes that are here and verified.
    pub(crate) here: u64,
    /// Bytes of the whole file; 0 until something is known of it.
    pub(crate) size: u64,
    /// How it ended.
    pub(crate) outcome: Option<Result<(), FetchError>>,
}

/// Waits for the end of a fetch.
pub(crate) async fn ended(mut progress: watch::Receiver<Progress>) -> Result<(), FetchError> {
    match progress.wait_for(|progress| progress.outcome.is_some()).await {
        Ok(progress) => progress.outcome.clone().unwrap_or(Err(FetchError::Closed)),
        Err(_) => Err(FetchError::Closed),
    }
}

impl Engine {
    /// Fetches a file that a room names, if it has at most so many bytes, from the servers of all rooms that name it, unless that is
    /// under way already. Goes on if nobody watches any more.
    pub(crate) fn fetch_file(
        &self,
        room: RoomId,
        file: FileId,
        up_to: u64,
    ) -> Result<watch::Receiver<Progress>, FetchError> {
        let mut fetching = lock(&self.files.fetching);
        if let Some(progress) = fetching.get(&file) {
            return Ok(progress.clone());
        }
        if fetching.len() >= MOST_WAITING {
            return Err(FetchError::Busy);
        }
        let (sender, receiver) = watch::channel(Progress::default());
        fetching.insert(file, receiver.clone());
        // A runtime that is shutting down drops the task at once, and with it the turn, which needs the lock.
        drop(fetching);
        let turn = Turn { engine: self.clone(), file };
        self.background(async move {
            let outcome = turn.engine.fetch_in_turn(room, file, up_to, &sender).await;
            if let Err(FetchError::File(error)) = &outcome {
                turn.engine.files.note_unwritten(error);
            }
            match &outcome {
                Ok(()) => tracing::debug!(%room, %file, "a file came"),
                Err(error) => tracing::debug!(%room, %file, %error, "a file did not come"),
            }
            // Whoever hears of the end may begin anew.
            drop(turn);
            sender.send_modify(|progress| progress.outcome = Some(outcome));
        });
        Ok(receiver)
    }

    async fn fetch_in_turn(
        &self,
        room: RoomId,
        file: FileId,
        up_to: u64,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), FetchError> {
        let waiting = Waiting::of(self);
        let _slot = self.files.slots.acquire().await.map_err(|_| FetchError::Closed)?;
        drop(waiting);
        let mut rooms = vec![room];
        rooms.extend(self.rooms_with_file(&file)?.into_iter().filter(|other| *other != room));
        Fetch { up_to, ..Fetch::of(self, rooms, file, progress) }.run().await
    }
}

/// One more fetch that waits for a slot, until this is dropped.
struct Waiting<'a>(&'a Engine);

impl<'a> Waiting<'a> {
    fn of(engine: &'a Engine) -> Self {
        engine.files.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(engine)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.files.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The only fetch of a file, over when dropped.
struct Turn {
    engine: Engine,
    file: FileId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.engine.files.fetching).remove(&self.file);
    }
}

pub(super) struct Fetch<'a> {
    pub(super) engine: &'a Engine,
    /// Rooms that name it, the one that asks first.
    rooms: Vec<RoomId>,
    pub(super) file: FileId,
    up_to: u64,
    progress: &'a watch::Sender<Progress>,
    begun: Instant,
}

/// What became of one size that was tried.
enum Tried {
    /// The file is here.
    Whole,
    /// Nobody sent a range that proves the size. Some said that it is another one.
    Unproven(BTreeMap<u64, PeerId>),
}

impl<'a> Fetch<'a> {
    /// A fetch by these rooms whose turn begins now.
    pub(super) fn of(
        engine: &'a Engine,
        rooms: Vec<RoomId>,
        file: FileId,
        progress: &'a watch::Sender<Progress>,
    ) -> Self {
        Fetch { engine, rooms, file, up_to: u64::MAX, progress, begun: Instant::now() }
    }

    /// Whether its turn is over, and others wait.
    pub(super) fn has_to_give_way(&self) -> bool {
        let files = &self.engine.files;
        let others = || files.waiting.load(Ordering::Relaxed) > 0 || files.pressed.load(Ordering::Relaxed);
        self.begun.elapsed() > TURN && others()
    }

    async fn run(&self) -> Result<(), FetchError> {
        let mut said = BTreeMap::new();
        let mut sizes: VecDeque<(u64, Option<PeerId>)> = VecDeque::new();
        // What is here already has proven its size.
        sizes.extend(self.engine.store().file(&self.file)?.map(|entry| (entry.size, None)));
        for room in &self.rooms {
            for (_, named) in self.engine.file_refs(room, &self.file, SIZES)? {
                said.entry(named.size).or_insert(*room);
                sizes.push_back((named.size, None));
            }
        }
        let Some(first) = said.values().next().copied() else { return Err(FetchError::NotNamed) };
        let mut tried = BTreeSet::new();
        let mut claimed = 0;
        // What keeps the file from being taken if it has the size that a message says; it counts where no other size was tried.
        let mut refused: Option<FetchError> = None;
        let mut not_had = None;
        while let Some((size, by)) = sizes.pop_front() {
            if !tried.insert(size) {
                continue;
            }
            if size > self.up_to {
                refused = Some(FileError::TooLarge { limit: self.up_to }.into());
                continue;
            }
            let room = said.get(&size).copied().unwrap_or(first);
            let mut holders = Holders::of(self.engine, self.rooms.clone(), self.file);
            match self.try_size(room, size, &mut holders).await {
                Ok(Tried::Whole) => return Ok(()),
                Ok(Tried::Unproven(claims)) => {
                    not_had = Some(FetchError::NoHolder { asked: holders.found() });
                    if let Some(liar) = by {
                        self.blame(liar).await;
                    }
                    let sound =
                        |size: &u64| (1..=self.up_to.min(MAX_FILE_BYTES)).contains(size) && !tried.contains(size);
                    let space = CLAIMED_SIZES.saturating_sub(claimed);
                    let claims: Vec<_> = claims.into_iter().filter(|(size, _)| sound(size)).take(space).collect();
                    claimed += claims.len();
                    sizes.extend(claims.into_iter().map(|(size, by)| (size, Some(by))));
                }
                // Another message may say another size. What a holder claims and nobody has proven says nothing.
                Err(FetchError::File(error)) if is_about_size(&error) => {
                    if by.is_none() {
                        refused = Some(FetchError::File(error));
                    }
                }
                Err(error) => {
                    // A user of this server may have brought it meanwhile.
                    let whole = self.engine.store().file(&self.file)?.is_some_and(|entry| entry.whole);
                    return if whole { Ok(()) } else { Err(error) };
                }
            }
        }
        Err(not_had.or(refused).unwrap_or(FetchError::NoHolder { asked: 0 }))
    }

    /// Fetches the file as one of this size.
    async fn try_size(&self, room: RoomId, size: u64, holders: &mut Holders) -> Result<Tried, FetchError> {
        let (store, file) = (self.engine.store().clone(), self.file);
        let now = self.engine.clock.now_ms();
        let part = blocking(self.engine, move || store.fetch_file(&room, &file, size, now)).await;
        let Some(mut part) = part.ok_or(FetchError::Closed)?? else { return Ok(Tried::Whole) };
        self.report(part.here(), size);
        let mut claims = BTreeMap::new();
        let mut race = Race::new(self, size, part.missing(), holders);
        while let Some((peer, by, range, slice)) = race.next().await {
            let taken = blocking(self.engine, move || {
                let opened = open_slice(&file, size, range, &slice);
                let outcome = opened.map(|bytes| {
                    part.came_by(&by);
                    part.put(range.from() / FILE_RANGE_BYTES, &bytes)
                });
                (part, outcome)
            });
            let (given_back, outcome) = taken.await.ok_or(FetchError::Closed)?;
            part = given_back;
            race.judged(&peer, range, outcome.is_ok());
            match outcome {
                Ok(put) => {
                    put?;
                    add(&self.engine.counters.slices_received, 1);
                    self.report(part.here(), size);
                }
                Err(SliceError::OtherSize(other)) => {
                    claims.entry(other).or_insert(peer);
                }
                Err(_) => self.blame(peer).await,
            }
        }
        let (proven, whole, gave_way) = (race.is_proven(), race.is_over(), race.gave_way());
        drop(race);
        if proven {
            for liar in std::mem::take(&mut claims).into_values() {
                self.blame(liar).await;
            }
        }
        if whole {
            return self.finish(part).await;
        }
        blocking(self.engine, move || part.save()).await.ok_or(FetchError::Closed)??;
        match (gave_way, proven) {
            (true, _) => Err(FetchError::GaveWay),
            (false, true) => Err(FetchError::NoHolder { asked: holders.found() }),
            (false, false) => Ok(Tried::Unproven(claims)),
        }
    }

    /// Gives the file its name, and returns once that is on disk.
    async fn finish(&self, part: Part) -> Result<Tried, FetchError> {
        blocking(self.engine, move || part.finish()).await.ok_or(FetchError::Closed)??;
        match self.engine.committer.sync().await {
            Ok(()) => Ok(Tried::Whole),
            Err(error) => Err(StoreError::Io(std::io::Error::other(error)).into()),
        }
    }

    /// The peer sent what does not verify: it is counted, and not asked for this file again.
    pub(super) async fn blame(&self, peer: PeerId) {
        add(&self.engine.counters.slices_refused, 1);
        self.engine.files.shun(self.file, peer);
        tracing::debug!(file = %self.file, %peer, "a server sent what is not of the file");
        let _ = self.engine.network.count(peer, Count::EventsRefused(1)).await;
    }

    fn report(&self, here: u64, size: u64) {
        self.progress.send_modify(|progress| (progress.here, progress.size) = (here, size));
    }
}

/// Whether a file of another size might be taken.
const fn is_about_size(error: &FileError) -> bool {
    matches!(
        error,
        FileError::OtherSize | FileError::TooLarge { .. } | FileError::RoomQuota { .. } | FileError::ServerQuota { .. }
    )
}
