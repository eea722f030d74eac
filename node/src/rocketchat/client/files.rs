//! Files: uploaded in two steps, downloaded as a stream.
//!
//! A file that is uploaded and not confirmed is thrown away by the server after a day, and nobody sees it. Confirming makes the
//! message, and confirming twice makes two: look for the file's id in the room before trying again.

use std::time::Duration;

use futures::{Stream, StreamExt};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Client, FileInfo, LIMIT_WINDOW_MS, Message, RestError};
use crate::clock::{Clock, SystemClock};

/// How long a file may be under way, either direction.
const FILE: Duration = Duration::from_secs(30 * 60);
/// How often a download may be sent on: to where the server keeps its files, and not in circles.
const MAX_HOPS: usize = 4;

/// The bytes of a file to be uploaded.
pub(crate) enum UploadBody {
    /// All of them.
    Bytes(Vec<u8>),
    /// So many, as they come.
    Stream(Body, u64),
}

/// A file that is coming.
#[derive(Debug)]
pub(crate) struct Download {
    response: Response,
    left: u64,
    limit: u64,
}

#[derive(Deserialize)]
struct Uploaded {
    file: FileInfo,
}

#[derive(Deserialize)]
struct Confirmed {
    message: Message,
}

const DOWNLOAD: &str = "file-upload";

impl Client {
    /// Uploads a file for a room: its id, before anybody sees it.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn upload(
        &self,
        rid: &str,
        name: &str,
        mime: &str,
        body: UploadBody,
    ) -> Result<FileInfo, RestError> {
        const ACTION: &str = "rooms.media";
        let part = match body {
            UploadBody::Bytes(bytes) => Part::bytes(bytes),
            UploadBody::Stream(stream, length) => Part::stream_with_length(stream, length),
        };
        let odd = |_| RestError::Malformed { action: ACTION, reason: format!("{mime:?} is no media type") };
        let part = part.file_name(name.to_owned()).mime_str(mime).map_err(odd)?;
        let path = format!("api/v1/rooms.media/{}", segment(rid));
        let uploaded: Uploaded = self.post_form(ACTION, &path, Form::new().part("file", part), FILE).await?;
        Ok(uploaded.file)
    }

    /// Makes the message of an uploaded file, with a text, which may be empty and is edited as that of any message: a `description` would be
    /// edited in its place. **Not protected against being done twice.**
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn confirm_upload(
        &self,
        rid: &str,
        file_id: &str,
        text: &str,
        tmid: Option<&str>,
    ) -> Result<Message, RestError> {
        const ACTION: &str = "rooms.mediaConfirm";
        let mut body = json!({"msg": text});
        if let Some(tmid) = tmid {
            body["tmid"] = json!(tmid);
        }
        let path = format!("api/v1/rooms.mediaConfirm/{}/{}", segment(rid), segment(file_id));
        let request = self.request(Method::POST, ACTION, &path)?.json(&body);
        let confirmed: Confirmed = self.send(ACTION, request).await?;
        Ok(confirmed.message)
    }

    /// Begins to download a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn download(&self, file_id: &str, name: &str, limit: u64) -> Result<Download, RestError> {
        let path = format!("file-upload/{}/{}", segment(file_id), segment(name));
        self.fetch(&path, limit).await
    }

    /// Begins to download somebody's picture. A server draws one for those who have none.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn avatar(&self, username: &str, limit: u64) -> Result<Download, RestError> {
        self.fetch(&format!("avatar/{}", segment(username)), limit).await
    }

    async fn fetch(&self, path: &str, limit: u64) -> Result<Download, RestError> {
        let mut request = self.request(Method::GET, DOWNLOAD, path)?.timeout(FILE);
        let mut here = self.base.clone();
        for _ in 0..MAX_HOPS {
            let response = request.send().await.map_err(|error| RestError::of_transport(DOWNLOAD, error))?;
            let status = response.status();
            if status.is_redirection() {
                let target = response.headers().get(LOCATION).and_then(|target| target.to_str().ok());
                here = target.and_then(|target| here.join(target).ok()).filter(web).ok_or_else(astray)?;
                // Where the server keeps its files is another server, which the token is not for.
                request = self.http.get(here.clone()).timeout(FILE);
                continue;
            }
            if !status.is_success() {
                return Err(refusal(status));
            }
            if response.content_length().is_some_and(|length| length > limit) {
                return Err(RestError::TooLarge { action: DOWNLOAD, limit });
            }
            return Ok(Download { response, left: limit, limit });
        }
        Err(astray())
    }
}

impl Download {
    /// What the server says that it is.
    pub(crate) fn mime(&self) -> Option<&str> {
        self.response.headers().get(CONTENT_TYPE)?.to_str().ok()
    }

    /// Its size in bytes, if the server says.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`RestError`]; [`RestError::TooLarge`] when more come than were said.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, RestError> {
        let part = self.response.chunk().await.map_err(|error| RestError::of_transport(DOWNLOAD, error))?;
        let Some(part) = part else { return Ok(None) };
        let too_large = RestError::TooLarge { action: DOWNLOAD, limit: self.limit };
        self.left = self.left.checked_sub(part.len() as u64).ok_or(too_large)?;
        Ok(Some(part.to_vec()))
    }

    /// The bytes as a stream.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Vec<u8>, RestError>> + Send {
        futures::stream::try_unfold(self, |mut download| async move {
            let next = download.next().await;
            next.map(|part| part.map(|part| (part, download)))
        })
        .boxed()
    }
}

fn web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn astray() -> RestError {
    RestError::Malformed { action: DOWNLOAD, reason: "the server sends the download nowhere".to_owned() }
}

fn refusal(status: StatusCode) -> RestError {
    RestError::of_answer(DOWNLOAD, status, SystemClock.now_ms() + LIMIT_WINDOW_MS, &Value::Null)
}

/// A text as one part of a path: what is neither a letter nor a digit is written as its bytes, so that a hostile name leads
/// nowhere else. Dots alone would lead upwards, however they are written.
fn segment(text: &str) -> String {
    if text.bytes().all(|byte| byte == b'.') {
        return "_".to_owned();
    }
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'.' => segment.push(char::from(byte)),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_hostile_name_stays_one_part_of_the_path() {
        assert_eq!(segment("a b.png"), "a%20b.png");
        assert_eq!(segment("../x"), "..%2Fx");
        assert_eq!(segment(".."), "_");
        assert_eq!(segment(""), "_");
    }
}
