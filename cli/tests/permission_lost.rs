//! A node that may not write where it has to says so, and what to do, and goes on with what it can.
//!
//! Modes do not bind root, under whom tests often run. So what stands in the way here is a file where a directory should be, which
//! binds everybody; the part with modes is left out under root, and says so.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use reqwest::{Method, StatusCode};
use rocketmesh_node::api::types::{Health, MessageFile, Posted, RoomDetail};
use serde_json::json;
use support::{Api, Server};
use tempfile::TempDir;

async fn upload(api: &Api, room: &str, bytes: &[u8]) -> Result<MessageFile, (StatusCode, String)> {
    let url = format!("{}/v1/rooms/{room}/files?name=a.bin", api.base);
    let response = api.client.post(url).bearer_auth(&api.token).body(bytes.to_vec()).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    if status.is_success() { Ok(serde_json::from_str(&text).unwrap()) } else { Err((status, text)) }
}

async fn download(api: &Api, room: &str, file: &str) -> (StatusCode, Vec<u8>) {
    let url = format!("{}/v1/rooms/{room}/files/{file}?wait=0", api.base);
    let response = api.client.get(url).bearer_auth(&api.token).send().await.unwrap();
    (response.status(), response.bytes().await.unwrap().to_vec())
}

async fn post(api: &Api, room: &str, files: &[&MessageFile]) -> Posted {
    let said = json!({"user": "alice", "text": "look", "files": files});
    api.ask(Method::POST, &format!("/v1/rooms/{room}/events"), Some(said)).await.unwrap()
}

async fn problems(api: &Api) -> Vec<(String, String)> {
    let health = api.get::<Health>("/v1/health").await.unwrap();
    health.problems.into_iter().map(|problem| (problem.code, problem.message)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_not_write_files_says_so_and_goes_on_with_messages() {
    let home = TempDir::new().unwrap();
    let mut server = Server::new(home.path(), "oslo.example.org");
    server.start(None).await;
    let api = server.api().clone();
    let create = json!({"user": "alice", "name": "general"});
    let room = api.ask::<RoomDetail>(Method::POST, "/v1/rooms", Some(create)).await.unwrap().summary.id;
    let kept = upload(&api, &room, b"acknowledged").await.unwrap();
    post(&api, &room, &[&kept]).await;

    let files = server.directory.join("store").join("files");
    let away = server.directory.join("away");
    fs::rename(&files, &away).unwrap();
    fs::write(&files, b"in the way").unwrap();
    let (status, text) = upload(&api, &room, b"refused").await.unwrap_err();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    assert!(text.contains("files_not_writable") && text.contains(files.to_str().unwrap()), "{text}");
    let found = problems(&api).await;
    let said = found.iter().find(|(code, _)| code == "files_not_writable").unwrap_or_else(|| panic!("{found:?}"));
    assert!(said.1.contains(files.to_str().unwrap()) && said.1.contains("check"), "{said:?}");
    // Reading fails without anything being given up, and messages go on.
    assert_ne!(download(&api, &room, &kept.file).await.0, StatusCode::OK);
    post(&api, &room, &[]).await;

    fs::remove_file(&files).unwrap();
    fs::rename(&away, &files).unwrap();
    assert!(problems(&api).await.is_empty(), "it goes on by itself");
    assert_eq!(download(&api, &room, &kept.file).await, (StatusCode::OK, b"acknowledged".to_vec()));
    upload(&api, &room, b"taken again").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_not_write_its_store_does_not_start_and_says_what_to_do() {
    let home = TempDir::new().unwrap();
    let mut server = Server::new(home.path(), "oslo.example.org");
    server.start(None).await;
    server.kill();
    let store = server.directory.join("store");
    refused_with_its_place(&server, &store, || {
        let away = server.directory.join("away");
        fs::rename(&store, &away).unwrap();
        fs::write(&store, b"in the way").unwrap();
        move |store: &Path| {
            fs::remove_file(store).unwrap();
            fs::rename(&away, store).unwrap();
        }
    });
    let files = store.join("files");
    refused_with_its_place(&server, &files, || {
        let _ = fs::remove_dir_all(&files);
        fs::write(&files, b"in the way").unwrap();
        |files: &Path| fs::remove_file(files).unwrap()
    });
    if is_root() {
        println!("left out: root may write whatever the mode is; run this as another user to test modes");
    } else {
        refused_with_its_place(&server, &store, || {
            fs::set_permissions(&store, fs::Permissions::from_mode(0o000)).unwrap();
            |store: &Path| fs::set_permissions(store, fs::Permissions::from_mode(0o700)).unwrap()
        });
    }
    server.start(None).await;
    assert!(problems(server.api()).await.is_empty());
}

/// Puts something in the way, sees that the node does not start and names the place, and puts things right again.
fn refused_with_its_place<R: FnOnce(&Path)>(server: &Server, place: &Path, in_the_way: impl FnOnce() -> R) {
    let right_again = in_the_way();
    let (code, said) = server.command("run");
    assert!(code.is_some_and(|code| code != 0), "{said}");
    assert!(said.contains(place.to_str().unwrap()), "it does not say where: {said}");
    right_again(place);
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}
