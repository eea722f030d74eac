//! Files as the API takes and gives them, without its streams: each is in memory as a whole, so that this is for small ones.

use std::io::Read;
use std::time::Duration;

use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_storage::{FileEntry, KeptFile, StoreError, StoredFile};
use tokio::time::Instant;

use super::Client;
use crate::engine::files::ended;
use crate::engine::{FetchError, ReceiveError};

impl Client {
    /// Brings a file to a room. When this returns it is on disk; it goes again if no message names it within a day. Returns its
    /// id and its size in bytes.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub async fn bring_file(&self, room: RoomId, bytes: Vec<u8>) -> Result<(FileId, u64), ReceiveError> {
        self.engine.receive_bytes(room, bytes).await
    }

    /// Keeps a whole file for as long as what is returned is kept: until the message that is to name it is written. None if it
    /// is not here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep_file(&self, room: &RoomId, file: &FileId) -> Result<Option<KeptFile>, StoreError> {
        self.engine.store.keep_file(room, file)
    }

    /// Gives a file that a message of the room names. One that is not here is fetched from other servers; none if that takes
    /// longer than `wait`, and then it goes on.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn file(&self, room: RoomId, file: FileId, wait: Duration) -> Result<Option<Vec<u8>>, FetchError> {
        if self.engine.file_ref(&room, &file)?.is_none() {
            return Err(FetchError::NotNamed);
        }
        if let Some(bytes) = self.file_here(&file)? {
            return Ok(Some(bytes));
        }
        let deadline = Instant::now() + wait;
        loop {
            let progress = self.engine.fetch_file(room, file, u64::MAX)?;
            match tokio::time::timeout_at(deadline, ended(progress)).await {
                // It goes on behind others.
                Ok(Err(FetchError::GaveWay)) => {}
                // None is here where it was taken back while it came.
                Ok(Ok(())) => return self.file_here(&file)?.map(Some).ok_or(FetchError::NotNamed),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(None),
            }
        }
    }

    /// The bytes of a file, if it is here and whole. Fetches nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn file_here(&self, file: &FileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.store.open_file(file)?.map(read).transpose()
    }

    /// What is here of a file; none if nothing is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn file_entry(&self, file: &FileId) -> Result<Option<FileEntry>, StoreError> {
        self.engine.store.file(file)
    }

    /// Whether a message of the room that is shown names the file.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn names_file(&self, room: &RoomId, file: &FileId) -> Result<bool, StoreError> {
        self.engine.store.names_file(room, file)
    }

    /// Bytes that files take, in all or counted for a room, as quotas count them.
    pub fn file_bytes(&self, room: Option<&RoomId>) -> u64 {
        self.engine.store.file_bytes(room)
    }

    /// Whether there is space for more events and files: what the node's health says of its disk.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub fn check_space(&self) -> Result<(), StoreError> {
        self.engine.store.check_space()
    }
}

fn read(mut stored: StoredFile) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    stored.read_to_end(&mut bytes)?;
    Ok(bytes)
}
