//! Files in a run: users bring them, name them in messages, ask for them elsewhere, take messages back; and everybody looks at
//! what servers make of it.

mod book;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rocketmesh_node::client::Client;
use rocketmesh_node::config::Config;
use rocketmesh_node::engine::{PostError, ReceiveError, Written};
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{Content, FileRef, FilesError};
use rocketmesh_protocol::id::{EventId, FileId, RoomId};
use rocketmesh_protocol::identity::Localpart;
use rocketmesh_storage::StoreError;

use super::World;
use crate::invariants::{End, Fate, FileSight, Seen};
use crate::observe::Observation;
use crate::plan::{FileDo, Plan};
use crate::random::Random;
use crate::real::past::localpart;
use crate::real::stage::Stage;
use crate::sabotage::Sabotage;

pub(super) use book::FileBook;

/// How long somebody waits for a file at a time, and how long until they ask again.
const WAIT: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often a file is brought whose last other message is taken back at that moment, so that it goes again.
const UPLOADS: usize = 3;
const MEBIBYTE: u64 = 1024 * 1024;

/// Why a message with a file was not written.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Post(#[from] PostError),
    #[error("the file went while its message was written")]
    Gone,
}

/// A message with a file, on its way.
struct Letter {
    room: RoomId,
    user: Localpart,
    text: Arc<str>,
    name: String,
    bytes: Vec<u8>,
}

impl Letter {
    /// Brings the file and writes the message, as a client of the API does.
    async fn send(&self, client: &Client) -> Result<Written, SendError> {
        for _ in 0..UPLOADS {
            let (file, size) = client.bring_file(self.room, self.bytes.clone()).await?;
            let Some(kept) = client.keep_file(&self.room, &file)? else { continue };
            let media_type = "application/octet-stream".to_owned();
            let named = FileRef { file, size, name: self.name.clone(), media_type, dimensions: None };
            let fields = FileRef::into_fields(&[named], Map::new().with("text", &*self.text))?;
            let content = Content::Message { thread: None };
            let written = client.post(self.room, self.user.clone(), &content, Some(fields)).await;
            drop(kept);
            return Ok(written?);
        }
        Err(SendError::Gone)
    }
}

/// Whether nothing was written for sure.
fn is_final(error: &PostError) -> bool {
    match error {
        PostError::Closed => false,
        PostError::Store(error) => matches!(**error, StoreError::Full { .. }),
        _ => true,
    }
}

/// The bytes of a file, which follow from the seed.
fn content(plan: &Plan, file: usize) -> Vec<u8> {
    let mut bytes = vec![0; plan.files.sizes[file]];
    Random::new(plan.seed, &format!("bytes of file {file}")).fill(&mut bytes);
    bytes
}

/// A server shows a file to a user.
fn shown(stage: &Stage, server: usize, file: FileId, bytes: &[u8]) {
    let sound = FileId::of_block(bytes) == file;
    stage.observe(|observer, now| {
        observer.trace(now, format_args!("file {server} {file} {sound}"));
        observer.saw(now, &Observation::File(FileSight { server, file, seen: Seen::Shown { sound } }));
    });
}

impl World<'_> {
    /// Takes the steps about files and disks up to this time, which counts from the end of the warm-up.
    pub(super) async fn take_file_steps(&mut self, until: Duration) {
        let plan = Arc::clone(&self.plan);
        while let Some(step) = plan.files.steps.get(self.next_file_step).filter(|step| step.at <= until) {
            self.next_file_step += 1;
            self.pass(plan.scenario.warm_up.0 + step.at).await;
            match step.what {
                FileDo::Send(message) => self.send_file(message),
                FileDo::TakeBack(message) => self.take_back(message),
                FileDo::Ask { message, member } => {
                    let server = plan.rooms[plan.files.messages[message].room].members[member].server;
                    if self.book.asks(server, message) {
                        self.ask(server, message);
                    }
                }
                FileDo::Fill(server) => self.fill(server),
                FileDo::Clear(server) => self.clear(server),
            }
        }
    }

    /// Lets a user send a file, in the background. A server that is down sends none.
    fn send_file(&self, number: usize) {
        let message = &self.plan.files.messages[number];
        let (room, file) = (message.room, message.file);
        let member = &self.plan.rooms[room].members[message.member];
        let server = member.server;
        let (Some(client), Ok(user)) = (self.servers[server].client(), localpart(&member.user)) else { return };
        let (name, bytes) = (format!("{file}.bin"), content(&self.plan, file));
        let letter = Letter { room: self.stage.rooms[room], user, text: Arc::clone(&message.text), name, bytes };
        self.book.begins(server, number, FileId::of_block(&letter.bytes));
        let (stage, book, alive) = (Arc::clone(&self.stage), Arc::clone(&self.book), self.servers[server].alive());
        tokio::spawn(async move {
            let outcome = letter.send(&client).await;
            if !alive.load(Ordering::Relaxed) {
                return;
            }
            match outcome {
                Ok(written) => {
                    book.said(server, number, written.event.id());
                    stage.observe(|observer, now| {
                        observer.said(now, server, room, Arc::new(written.event));
                    });
                }
                Err(error) => {
                    if !matches!(&error, SendError::Post(error) if !is_final(error)) {
                        book.refused(number);
                    }
                    stage.observe(|observer, now| {
                        observer.trace(now, format_args!("refused {server} {room} {error}"));
                    });
                }
            }
        });
    }

    /// Lets whoever said a message take it back.
    fn take_back(&self, number: usize) {
        let message = &self.plan.files.messages[number];
        let room = message.room;
        let member = &self.plan.rooms[room].members[message.member];
        let server = member.server;
        let (Some(client), Ok(user)) = (self.servers[server].client(), localpart(&member.user)) else { return };
        let Some(target) = self.book.takes_back(number) else { return };
        if self.sabotage == Some(Sabotage::ForgetsRedactions) {
            return self.book.took_back(number, true);
        }
        let (id, content) = (self.stage.rooms[room], Content::Redact { target, author: None });
        let (stage, book, alive) = (Arc::clone(&self.stage), Arc::clone(&self.book), self.servers[server].alive());
        tokio::spawn(async move {
            let outcome = client.post(id, user, &content, Some(Map::new())).await;
            if !alive.load(Ordering::Relaxed) {
                return;
            }
            match outcome {
                Ok(written) => {
                    book.took_back(number, true);
                    stage.observe(|observer, now| {
                        observer.said(now, server, room, Arc::new(written.event));
                    });
                }
                Err(error) => {
                    if is_final(&error) {
                        book.took_back(number, false);
                    }
                    stage.observe(|observer, now| {
                        observer.trace(now, format_args!("refused {server} {room} {error}"));
                    });
                }
            }
        });
    }

    /// Lets a user ask for the file of a message until it is there, nothing names it any more, or the server goes.
    fn ask(&self, server: usize, number: usize) {
        let message = &self.plan.files.messages[number];
        let (room, number_of_file) = (self.stage.rooms[message.room], message.file);
        let (Some(client), Some(file)) = (self.servers[server].client(), self.book.id(number)) else { return };
        let (stage, book) = (Arc::clone(&self.stage), Arc::clone(&self.book));
        let task = tokio::spawn(async move {
            loop {
                match client.file(room, file, WAIT).await {
                    Ok(Some(bytes)) => {
                        book.answered(server, number);
                        return shown(&stage, server, file, &bytes);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        stage.observe(|observer, now| {
                            observer.trace(now, format_args!("no file {server} {file} {error}"));
                        });
                    }
                }
                if book.fate(number_of_file) == Fate::Gone {
                    return book.answered(server, number);
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        });
        self.book.asking(server, task.abort_handle());
    }

    /// A server goes: nobody asks it any more.
    pub(super) fn hush(&self, server: usize) {
        self.book.hush(server);
    }

    /// A server is back: who still wants a file asks again.
    pub(super) fn ask_again(&self, server: usize) {
        for message in self.book.open_asks(server) {
            self.ask(server, message);
        }
    }

    /// Looks at what servers have of files: at the quota always, at the bytes of each file when it is there for the first time
    /// since its server was started.
    pub(super) fn look_at_files(&self) {
        for server in self.plan.honest() {
            let Some(client) = self.servers[server].client() else { continue };
            if self.plan.scenario.files.server_quota_mib.is_some() {
                let (bytes, (quota, _)) = (client.file_bytes(None), self.limits());
                self.stage.observe(|observer, now| observer.measured(now, server, "bytes of files", bytes, quota));
            }
            for (number, file) in self.book.unseen(server) {
                if self.sabotage == Some(Sabotage::SpoilsFiles) && server == 0 {
                    self.spoil(server, &file);
                }
                if let Ok(Some(bytes)) = client.file_here(&file) {
                    self.book.see(server, number);
                    shown(&self.stage, server, file, &bytes);
                }
            }
        }
    }

    /// Changes a byte of a file on a server's disk.
    fn spoil(&self, server: usize, file: &FileId) {
        let (disk, ending) = (self.servers[server].disk(), format!("/{file}"));
        for (name, mut bytes) in disk.blob_contents().into_iter().filter(|(name, _)| name.ends_with(&ending)) {
            if let Some(first) = bytes.first_mut() {
                *first ^= 1;
            }
            disk.damage_blob(&name, Some(&bytes));
        }
    }

    /// What all files may take on a server, and the largest one that comes without being asked for, in bytes.
    fn limits(&self) -> (u64, u64) {
        let (own, files) = (Config::defaults(PathBuf::new()).files, &self.plan.scenario.files);
        let quota = files.server_quota_mib.unwrap_or(own.server_quota_mib);
        let fetch_up_to = files.fetch_up_to_mib.unwrap_or(own.fetch_up_to_mib);
        (quota.saturating_mul(MEBIBYTE), fetch_up_to.saturating_mul(MEBIBYTE))
    }

    /// What every honest server that runs has of every file.
    fn file_ends(&self) -> Vec<FileSight> {
        let (known, (quota, fetch_up_to)) = (self.book.known(), self.limits());
        let fates: Vec<Fate> = known.iter().map(|(number, _)| self.book.fate(*number)).collect();
        let mut sights = Vec::new();
        for server in self.plan.honest() {
            let Some(client) = self.servers[server].client() else { continue };
            let (blobs, taken) = (self.servers[server].disk().blob_sizes(), client.file_bytes(None));
            for ((number, file), fate) in known.iter().zip(&fates) {
                let Some(room) = self.room_of(*number) else { continue };
                let member = self.plan.rooms[room].members.iter().any(|member| member.server == server);
                let size = self.plan.files.sizes[*number] as u64;
                let entry = client.file_entry(file).ok().flatten();
                let others = taken.saturating_sub(entry.map_or(0, |entry| entry.size));
                let wanted = size <= fetch_up_to || self.book.was_asked(server, *number);
                let text = file.to_string();
                let end = End {
                    // Nobody else is to have anything of it.
                    fate: if member { *fate } else { Fate::Gone },
                    named: client.names_file(&self.stage.rooms[room], file).unwrap_or(false),
                    whole: entry.is_some_and(|entry| entry.whole),
                    due: wanted && others.saturating_add(size) <= quota,
                    bytes: blobs.iter().filter(|(name, _)| name.contains(&text)).map(|(_, bytes)| bytes).sum(),
                    left_over: self.book.is_left_over(server, *number),
                };
                sights.push(FileSight { server, file: *file, seen: Seen::End(end) });
            }
        }
        sights
    }

    /// The room in which messages name a file: each is of one talk in one room.
    fn room_of(&self, file: usize) -> Option<usize> {
        self.plan.files.messages.iter().find(|message| message.file == file).map(|message| message.room)
    }

    /// By server and message that was taken back: whether its words are gone there.
    fn words_taken_back(&self) -> Vec<(usize, EventId, bool)> {
        let mut words = Vec::new();
        for (message, event) in self.book.taken_back() {
            let room = &self.plan.rooms[self.plan.files.messages[message].room];
            for server in self.plan.honest().filter(|server| room.members.iter().any(|it| it.server == *server)) {
                let Some(client) = self.servers[server].client() else { continue };
                let stored = client.event(&event).ok().flatten();
                words.push((server, event, stored.is_none_or(|stored| stored.event.body_block().is_none())));
            }
        }
        words
    }

    /// Whether servers have what they should of files, and have let go of what they should.
    pub(super) fn files_are_settled(&self) -> bool {
        self.file_ends().iter().all(|sight| sight.wrong().is_none())
            && self.words_taken_back().iter().all(|(_, _, gone)| *gone)
    }

    /// Tells what became of files in the end.
    pub(super) fn end_files(&self) {
        self.look_at_files();
        let (sights, words) = (self.file_ends(), self.words_taken_back());
        self.stage.observe(|observer, now| {
            for sight in sights {
                observer.saw(now, &Observation::File(sight));
            }
            for (server, event, gone) in words {
                observer.saw(now, &Observation::TakenBack { server, event: &event, gone });
            }
        });
    }
}
