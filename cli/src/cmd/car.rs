//! `rocketmesh rooms export`, `rocketmesh rooms import`

use std::io;
use std::pin::pin;

use futures::Stream;
use indicatif::ProgressBar;
use reqwest::{Body, Method};
use rocketmesh_node::api::types::ImportedRoom;
use rocketmesh_storage::car::MEDIA_TYPE;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::args::rooms::{ExportArgs, ImportArgs};
use crate::client::Answer;
use crate::cmd::download::{Download, SILENCE};
use crate::cmd::{Context, room_id};
use crate::failure::Failure;
use crate::text::count;

/// Bytes of a file that are sent at a time.
const PIECE: usize = 256 * 1024;

pub(super) async fn export(context: &Context, args: &ExportArgs) -> Result<(), Failure> {
    let download = Download { file: &args.file, force: args.force, secret: false };
    download.refuse_to_overwrite()?;
    let client = context.client()?;
    let id = room_id(&client, &args.room).await?;
    let response = client.open(Method::GET, &["rooms", &id, "export"], &(), SILENCE).await?;
    download.save(context, response).await
}

pub(super) async fn import(context: &Context, args: &ImportArgs) -> Result<(), Failure> {
    let failed = |error: &io::Error| Failure::file("read", &args.file, error);
    let file = File::open(&args.file).await.map_err(|error| failed(&error))?;
    if file.metadata().await.map_err(|error| failed(&error))?.is_dir() {
        return Err(failed(&io::ErrorKind::IsADirectory.into()));
    }
    let client = context.client()?;
    let progress = context.output.byte_spinner();
    let body = Body::wrap_stream(pieces(file, progress.clone()));
    let sending = client.upload(&["rooms", "import"], &(), MEDIA_TYPE, None, body);
    let answer = patiently(sending, &progress, "what it took is kept").await;
    progress.finish_and_clear();
    context.output.show(&answer?, |room: ImportedRoom| people(&room))
}

/// A file piece by piece, as the node takes it.
pub(super) fn pieces(file: File, progress: ProgressBar) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
    futures::stream::try_unfold((file, progress), |(mut file, progress)| async move {
        let mut piece = vec![0; PIECE];
        let len = file.read(&mut piece).await?;
        if len == 0 {
            return Ok(None);
        }
        piece.truncate(len);
        progress.inc(len as u64);
        Ok::<_, io::Error>(Some((piece, (file, progress))))
    })
}

/// Waits for the answer for as long as the node takes more of the file, and for [`SILENCE`] after that; `then` says what that means.
pub(super) async fn patiently(
    sending: impl Future<Output = Result<Answer, Failure>>,
    progress: &ProgressBar,
    then: &str,
) -> Result<Answer, Failure> {
    let mut sending = pin!(sending);
    loop {
        let before = progress.position();
        match tokio::time::timeout(SILENCE, sending.as_mut()).await {
            Ok(answer) => return answer,
            Err(_) if progress.position() > before => {}
            Err(_) => {
                let message = format!("the node took nothing for {} s; {then}", SILENCE.as_secs());
                return Err(Failure::Lost(message));
            }
        }
    }
}

fn people(room: &ImportedRoom) -> String {
    let mut text = format!("{} in the file, {} new\n{}", count(room.events, "event"), room.new, room.room);
    if room.refused > 0 {
        text.push_str(&format!("\nrefused: {}, forged or out of place", count(room.refused, "event")));
    }
    if room.waiting > 0 {
        let waiting = count(room.waiting, "event");
        text.push_str(&format!("\nwaiting: {waiting} of the room, for others that have not come yet"));
    }
    if !room.joined {
        text.push_str("\nthis node does not take part in the room; to join it: ");
        text.push_str(&format!("rocketmesh rooms join {} --user NAME", room.room));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_says_what_is_new_what_is_wrong_and_how_to_join() {
        let room =
            ImportedRoom { room: "bafyr4iroom".to_owned(), events: 12, new: 7, refused: 0, waiting: 0, joined: true };
        assert_eq!(people(&room), "12 events in the file, 7 new\nbafyr4iroom");
        let text = people(&ImportedRoom { refused: 1, waiting: 2, joined: false, ..room });
        for part in ["refused: 1 event,", "waiting: 2 events", "rocketmesh rooms join bafyr4iroom --user NAME"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
