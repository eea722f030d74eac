//! `rocketmesh files`

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar};
use reqwest::{Body, Method, Response};
use rocketmesh_node::api::types::{
    DownloadQuery, FilePage, FileQuery, MessageFile, PostEvent, Posted, RoomFile, UploadQuery,
};
use tokio::fs::File;

use crate::args::files::{FilesArgs, FilesCommand, GetArgs, UploadArgs};
use crate::client::{Answer, Client};
use crate::cmd::car::{patiently, pieces};
use crate::cmd::download::{Download, SILENCE};
use crate::cmd::{Context, room_id};
use crate::failure::Failure;
use crate::output::table;
use crate::resolve::{self, Candidate};
use crate::text::{clean, excerpt, short_id, short_user};

/// What a file is sent to the node as.
const BYTES: &str = "application/octet-stream";
/// Files that are asked for at a time.
const PAGE: usize = 1000;
/// How long the node is asked to wait at a time, so that this program can show how far a file has come.
const TURN_S: u64 = 2;

/// Media types of common endings; the node takes any other file as plain bytes.
const TYPES: [(&str, &str); 24] = [
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("log", "text/plain"),
    ("m4a", "audio/mp4"),
    ("md", "text/markdown"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("zip", "application/zip"),
];

pub(super) async fn run(context: &Context, args: FilesArgs) -> Result<(), Failure> {
    match args.command {
        FilesCommand::Upload(args) => upload(context, args).await,
        FilesCommand::Get(args) => get(context, &args).await,
        FilesCommand::List { room } => list(context, &room).await,
    }
}

async fn upload(context: &Context, args: UploadArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let room = room_id(&client, &args.room).await?;
    // Whatever is wrong with one of them is said before the first is sent.
    let mut opened = Vec::new();
    for path in &args.paths {
        opened.push(open(path).await?);
    }
    let progress = context.output.byte_bar(opened.iter().map(|(_, _, size)| size).sum());
    let mut files = Vec::new();
    for (path, (file, name, size)) in args.paths.iter().zip(opened) {
        progress.set_message(clean(&excerpt(&name, 30)).into_owned());
        let sent = send(&client, &room, path, file, name, size, &progress).await;
        files.push(sent.inspect_err(|_| progress.finish_and_clear())?);
    }
    progress.finish_and_clear();
    let event = PostEvent { user: args.user, text: args.text, files, ..PostEvent::default() };
    let answer = client.post(&["rooms", &room, "events"], &event).await?;
    context.output.show(&answer, |posted: Posted| posted.event)
}

/// Opens a file; with its name and its size.
async fn open(path: &Path) -> Result<(File, String, u64), Failure> {
    let failed = |error: &std::io::Error| Failure::file("read", path, error);
    let file = File::open(path).await.map_err(|error| failed(&error))?;
    let metadata = file.metadata().await.map_err(|error| failed(&error))?;
    if metadata.is_dir() {
        return Err(failed(&std::io::ErrorKind::IsADirectory.into()));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((file, name, metadata.len()))
}

async fn send(
    client: &Client,
    room: &str,
    path: &Path,
    file: File,
    name: String,
    size: u64,
    progress: &ProgressBar,
) -> Result<MessageFile, Failure> {
    let query = UploadQuery { name, media_type: media_type(path).map(str::to_owned) };
    let body = Body::wrap_stream(pieces(file, progress.clone()));
    let path = ["rooms", room, "files"];
    let sending = client.upload(&path, &query, BYTES, Some(size), body);
    patiently(sending, progress, "send it again").await?.parse()
}

fn media_type(path: &Path) -> Option<&'static str> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    TYPES.iter().find(|(known, _)| *known == ending).map(|(_, media_type)| *media_type)
}

async fn get(context: &Context, args: &GetArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let room = room_id(&client, &args.room).await?;
    let (file, output) = match &args.output {
        Some(output) if resolve::is_file_id(&args.file) => (args.file.clone(), output.clone()),
        output => {
            let found = find(&client, &room, &args.file).await?;
            // The node refuses names with a path in them, and so does this.
            let name = Path::new(&found.view.said.name).file_name().map(PathBuf::from);
            let here = || name.unwrap_or_else(|| PathBuf::from(&found.view.said.file));
            (found.view.said.file.clone(), output.clone().unwrap_or_else(here))
        }
    };
    let download = Download { file: &output, force: args.force, secret: false };
    download.refuse_to_overwrite()?;
    let response = wait_for(context, &client, &room, &file, Duration::from_secs(args.wait)).await?;
    download.save(context, response).await
}

/// Asks for a file until the node has it, and shows meanwhile how far it has come.
async fn wait_for(
    context: &Context,
    client: &Client,
    room: &str,
    file: &str,
    patience: Duration,
) -> Result<Response, Failure> {
    let begun = Instant::now();
    let waiting = context.output.spinner("fetching the file from other servers");
    let response = loop {
        let left = patience.saturating_sub(begun.elapsed()).as_secs();
        let query = DownloadQuery { wait: Some(left.min(TURN_S)) };
        match client.open(Method::GET, &["rooms", room, "files", file], &query, SILENCE).await {
            Err(Failure::Busy { code, message }) if code == "file_on_its_way" && left > 0 => {
                waiting.set_message(clean(&excerpt(&message, 70)).into_owned());
            }
            // Somebody who has it may come.
            Err(Failure::Busy { code, .. }) if code == "no_holder" && left > 0 => {
                tokio::time::sleep(Duration::from_secs(TURN_S)).await;
            }
            outcome => break outcome,
        }
    };
    waiting.finish_and_clear();
    response
}

/// The file of the room that `text` means.
async fn find(client: &Client, room: &str, text: &str) -> Result<RoomFile, Failure> {
    let mut files = Vec::new();
    let mut from = None;
    loop {
        let page: FilePage = page(client, room, from).await?.parse()?;
        files.extend(page.files);
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    let candidates: Vec<Candidate> = files.iter().map(Candidate::from).collect();
    let id = resolve::file(text, &candidates)?;
    let found = files.into_iter().find(|file| file.view.said.file == id);
    found.ok_or_else(|| Failure::failed("unknown_file", "the file is not in the list any more"))
}

async fn page(client: &Client, room: &str, from: Option<String>) -> Result<Answer, Failure> {
    client.get_with(&["rooms", room, "files"], &FileQuery { from, limit: Some(PAGE) }).await
}

async fn list(context: &Context, room: &str) -> Result<(), Failure> {
    let client = context.client()?;
    let room = room_id(&client, room).await?;
    context.output.show(&page(&client, &room, None).await?, people)
}

fn people(page: FilePage) -> String {
    if page.files.is_empty() {
        return "no files; `rocketmesh files upload ROOM PATH --user USER` sends some".to_owned();
    }
    let rows = page.files.iter().map(|file| {
        let said = &file.view.said;
        [
            short_id(&said.file),
            HumanBytes(said.size).to_string(),
            state(file),
            short_user(file.sender.as_deref().unwrap_or_default()),
            excerpt(&said.name, 60),
        ]
    });
    let mut text = table(["ID", "SIZE", "STATE", "SENDER", "NAME"], rows);
    text.push_str(&format!("\n\n{} on this server count for the room", HumanBytes(page.bytes)));
    if page.next.is_some() {
        text.push_str("; there are more files, which --json and the API's `from` list");
    }
    text
}

fn state(file: &RoomFile) -> String {
    match file.view.state.as_str() {
        // Sizes are claims until a file is here.
        "coming" => format!("{} %", file.view.here.saturating_mul(100) / file.view.said.size.max(1)),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rocketmesh_node::api::types::FileView;

    use super::*;

    fn file(name: &str, state: &str, here: u64) -> RoomFile {
        let said = MessageFile {
            file: "bafkr4iaaaaaaaaaaaaaaaaaaa".to_owned(),
            size: 4 << 20,
            name: name.to_owned(),
            media_type: BYTES.to_owned(),
            width: None,
            height: None,
        };
        let view = FileView { said, state: state.to_owned(), here };
        let sender = Some("@alice:a.example.org".to_owned());
        RoomFile { view, event: "bafyr4i".to_owned(), sender, time_ms: 0 }
    }

    #[test]
    fn the_list_says_what_is_here_and_how_far_the_rest_has_come() {
        let files = vec![file("a\u{1b}.png", "here", 4 << 20), file("b.zip", "coming", 1 << 20)];
        let text = people(FilePage { files, next: None, bytes: 8 << 20 });
        for part in ["a␛.png", "4.00 MiB", "25 %", "@alice:a.example.org", "bafkr4i…aaaaaaa", "8.00 MiB on this server"]
        {
            assert!(text.contains(part), "{part} is missing from: {text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(people(FilePage { files: Vec::new(), next: None, bytes: 0 }).contains("files upload"));
    }

    #[test]
    fn a_type_follows_from_the_ending() {
        assert_eq!(media_type(Path::new("/tmp/Holiday.PNG")), Some("image/png"));
        assert_eq!((media_type(Path::new("Makefile")), media_type(Path::new("a.unknown"))), (None, None));
        assert!(TYPES.is_sorted());
    }
}
