//! The stand-in as a process: killed at any moment, it holds everything that it answered.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rocketmesh_standin::{Account, Control, Options, Person, Standin, Wish};
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_rocketmesh-standin");

/// A process that does not outlive this value, also where a test fails.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(directory: &Path) -> Self {
        let mut command = Command::new(BINARY);
        command.args(["--listen", "127.0.0.1:0", "--control", "--data"]).arg(directory);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        Process { child, url: url.unwrap() }
    }

    /// Ends it as SIGKILL does, without a word.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process is this value's own child, so its id cannot have become anybody else's.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_killed_stand_in_holds_everything_that_it_answered() {
    let directory = TempDir::new().unwrap();
    let mut process = Process::start(directory.path());
    let control = Control::new(&process.url);
    let account: Account =
        control.wish(&Wish::AddUser { username: "alice".to_owned(), roles: vec!["user".to_owned()] }).await.unwrap();
    let alice = Person::new(&process.url, &account);
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    for at in 0..20 {
        alice.say(&room, &format!("message {at}")).await.unwrap();
    }
    let message = alice.upload(&room, "menu.txt", "text/plain", b"soup", "For today").await.unwrap();
    alice.react(&message, ":pizza:").await.unwrap();
    let before = control.dump().await.unwrap();
    process.kill();

    let process = Process::start(directory.path());
    assert_eq!(Control::new(&process.url).dump().await.unwrap(), before);
    let alice = Person::new(&process.url, &account);
    alice.say(&room, "And on").await.unwrap();
}

#[tokio::test]
async fn a_line_that_was_cut_off_is_dropped_and_the_rest_is_kept() {
    let directory = TempDir::new().unwrap();
    let options = Options { data: Some(directory.path().to_owned()), ..Options::default() };
    let standin = Standin::start(options.clone()).await.unwrap();
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    alice.say(&room, "Hello").await.unwrap();
    let before = standin.dump();
    standin.stop().await;
    let journal = directory.path().join("journal.jsonl");
    let mut text = std::fs::read(&journal).unwrap();
    text.extend_from_slice(b"{\"kind\":\"Message\",\"is\":{\"_id\":\"ha");
    std::fs::write(&journal, text).unwrap();
    let standin = Standin::start(options).await.unwrap();
    assert_eq!(standin.dump(), before);
}

#[tokio::test]
async fn what_was_asked_is_recorded_in_the_form_that_make_contract_reads() {
    let standin = Standin::start(Options::default()).await.unwrap();
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let _: Value = alice.get("channels.history", &[("roomId", room.as_str())]).await.unwrap();
    let recorded = json!(standin.requests());
    assert_eq!(recorded[0]["path"], "channels.create");
    assert_eq!(
        recorded[1],
        json!({"method": "GET", "path": "channels.history", "query": {"roomId": room}, "body": null})
    );
}

#[tokio::test]
async fn a_stand_in_that_is_away_answers_nobody_and_comes_back() {
    let standin = Standin::start(Options::default()).await.unwrap();
    let alice = standin.add_person("alice").unwrap();
    standin.wish(Wish::GoAway { ms: 300 }).unwrap();
    assert_eq!(alice.get::<Value>("me", &[]).await.unwrap_err().status(), Some(502));
    let begun = std::time::Instant::now();
    while alice.get::<Value>("me", &[]).await.is_err() {
        assert!(begun.elapsed().as_secs() < 30, "it does not come back");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn wishes_are_not_granted_over_http_unless_it_was_asked_for() {
    let standin = Standin::start(Options::default()).await.unwrap();
    assert!(Control::new(&standin.url()).wish::<Value>(&Wish::Dump).await.is_err());
}

#[tokio::test]
async fn what_programs_ask_is_written_down_and_what_people_ask_is_not() {
    let directory = TempDir::new().unwrap();
    let record = directory.path().join("requests.jsonl");
    let standin = Standin::start(Options { record: Some(record.clone()), ..Options::default() }).await.unwrap();
    let bridge = standin.person(&standin.add_account("bridge", &["admin", "bot"]).unwrap());
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    alice.say(&room, "Who is hungry?").await.unwrap();
    bridge.say(&room, "I have no stomach").await.unwrap();
    let text = std::fs::read_to_string(&record).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert_eq!((lines[0]["method"].as_str(), lines[0]["path"].as_str()), (Some("POST"), Some("chat.sendMessage")));
    assert_eq!(lines[0]["body"]["message"]["msg"], "I have no stomach");
}
