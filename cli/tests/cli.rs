//! The command line against real nodes: processes of the very binary, asked as an administrator asks them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_rocketmesh");
/// Nothing here takes this long unless it is broken; it only keeps a failing test from hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node and its directory.
struct Server {
    child: Option<Child>,
    directory: PathBuf,
}

fn command(directory: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROCKETMESH_")) {
        command.env_remove(name);
    }
    command.arg("--data-dir").arg(directory).args(line).stdin(Stdio::null());
    command
}

/// Runs a command against what runs in `directory`.
fn ask(directory: &Path, line: &[&str]) -> Output {
    let child = command(directory, line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    let (ended, end) = mpsc::sync_channel::<()>(1);
    let watch = std::thread::spawn(move || {
        let hangs = end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        // The process is not waited for yet, so its id cannot have become anybody else's.
        hangs && Command::new("kill").arg(id).status().unwrap().success()
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    assert!(!watch.join().unwrap(), "{line:?} hangs");
    output
}

/// Runs a command whose output nobody reads, as when `head` has what it wants: its exit code and what it complains of.
fn unread(directory: &Path, line: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = command(directory, line).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Server {
    fn start(directory: &Path, name: &str, bootstrap: &[&str]) -> Self {
        let line =
            ["run", "--no-mdns", "--api-listen", "127.0.0.1:0", "--name", name, "--listen", "/ip4/127.0.0.1/tcp/0"];
        let mut run = command(directory, &line);
        if !bootstrap.is_empty() {
            run.arg("--bootstrap").args(bootstrap);
        }
        let _ = fs::create_dir_all(directory);
        let output = fs::File::create(directory.join("output")).unwrap();
        let child = run.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        let server = Server { child: Some(child), directory: directory.to_owned() };
        until("the node starts", || server.output().contains("Stop with Ctrl-C"));
        server
    }

    /// What the node has printed.
    fn output(&self) -> String {
        fs::read_to_string(self.directory.join("output")).unwrap()
    }

    /// A command that must succeed: what it prints.
    fn does(&self, line: &[&str]) -> String {
        let output = ask(&self.directory, line);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text.trim_end().to_owned()
    }

    fn json(&self, line: &[&str]) -> Value {
        serde_json::from_str(&self.does(&[&["--json"], line].concat())).unwrap()
    }

    /// A command that must fail: its exit code, the error's code, and its sentence.
    fn fails(&self, line: &[&str]) -> (i32, String, String) {
        let output = ask(&self.directory, &[&["--json"], line].concat());
        assert!(!output.status.success(), "{line:?} succeeded");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        let text = |key: &str| error["error"][key].as_str().unwrap().to_owned();
        (output.status.code().unwrap(), text("code"), text("message"))
    }

    /// Asks the process to end as an administrator does, and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        // The process is this value's own child, so its id cannot have become anybody else's.
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn an_administrator_finds_a_way_from_the_first_start_to_a_room_on_two_servers() {
    let home = TempDir::new().unwrap();
    let oslo = Server::start(&home.path().join("oslo"), "oslo.example.org", &[]);
    let greeting = oslo.output();
    let id = oslo.does(&["id"]);
    let address = oslo.does(&["id", "--addresses"]);
    for expected in [&id, &format!("--bootstrap {address}"), "rocketmesh rooms create"] {
        assert!(greeting.contains(expected), "{expected} is missing from: {greeting}");
    }
    let bergen = Server::start(&home.path().join("bergen"), "bergen.example.org", &[&address]);

    let room = oslo.does(&["rooms", "create", "general", "--user", "alice", "--topic", "Anything goes"]);
    bergen.does(&["rooms", "join", &room, "--user", "bob", "--wait", "60"]);
    until("the join arrives", || oslo.json(&["rooms", "show", "general"])["members"] == 2);
    let hello = bergen.does(&["send", "general", "--user", "bob", "Hello", "from", "Bergen"]);
    until("the message arrives", || oslo.does(&["events", "list", "general", "--ids"]).contains(&hello));
    assert!(oslo.does(&["events", "show", &hello]).contains("Hello from Bergen"));
    let tail = oslo.does(&["tail", "general", "--after", "0", "--events", "3"]);
    assert!(tail.contains("Hello from Bergen"), "{tail}");
    oslo.does(&["react", "general", &hello, "--user", "alice", "--emoji", ":rocket:"]);
    oslo.does(&["send", "general", "--user", "alice", "--thread", &hello, "Welcome"]);
    oslo.does(&["rooms", "rename", "general", "lobby", "--user", "alice"]);
    oslo.does(&["rooms", "role", "lobby", "@bob:bergen.example.org", "moderator", "--user", "alice"]);
    bergen.does(&["redact", &room, &hello, "--user", "bob", "--reason", "a slip"]);
    until("both hold the same room", || {
        let shown = [&oslo, &bergen].map(|server| server.json(&["rooms", "show", &room]));
        shown[0]["digest"] == shown[1]["digest"] && shown[1]["name"] == "lobby"
    });
    until("the text is gone", || oslo.does(&["events", "show", &hello]).contains("erased"));
    assert!(!oslo.does(&["events", "list", "lobby"]).contains("Hello from Bergen"));
    let proof = oslo.does(&["verify-room", "lobby"]);
    assert!(proof.contains("nothing missing") && proof.contains("bergen.example.org"), "{proof}");
    assert!(oslo.does(&["rooms", "retention", "lobby"]).contains("for ever"));
    assert!(oslo.does(&["rooms", "retention", "lobby", "90d"]).contains("kept for 90 days"));
    assert_eq!(oslo.json(&["rooms", "retention", "lobby"])["seconds"], 90 * 86_400);
    let members = oslo.does(&["rooms", "members", "lobby"]);
    assert!(members.contains("alice") && members.contains("moderator"), "{members}");
    let graph = oslo.does(&["events", "graph", "lobby"]);
    assert!(graph.starts_with("digraph") && graph.contains("->"), "{graph}");

    let table = oslo.does(&["rooms"]);
    assert!(table.contains("lobby") && table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert_eq!(oslo.json(&["rooms"])["rooms"][0]["id"], room.as_str());
    let peers = oslo.does(&["peers"]);
    assert!(peers.contains("bergen.example.org"), "{peers}");
    let peer = oslo.does(&["peers", "inspect", "bergen.example.org"]);
    for fact in ["/ip4/127.0.0.1/tcp/", "inbound", "rocketmesh"] {
        assert!(peer.contains(fact), "{fact} is missing from: {peer}");
    }
    assert!(oslo.does(&["status"]).contains(&id));
    let config = oslo.does(&["config"]);
    assert!(config.contains("network.mdns") && config.contains("oslo.example.org"), "{config}");
}

#[test]
fn a_room_is_kept_in_order_from_the_command_line() {
    let home = TempDir::new().unwrap();
    let oslo = Server::start(&home.path().join("oslo"), "oslo.example.org", &[]);
    let id = oslo.does(&["id"]);
    oslo.does(&["rooms", "create", "general", "--user", "alice"]);
    for user in ["bob", "carol"] {
        oslo.does(&["rooms", "join", "general", "--user", user]);
    }
    oslo.does(&["rooms", "mute", "general", "bob", "--user", "alice"]);
    assert_eq!(oslo.fails(&["send", "general", "--user", "bob", "psst"]).1, "muted");
    oslo.does(&["rooms", "unmute", "general", "bob", "--user", "alice"]);
    oslo.does(&["send", "general", "--user", "bob", "thank you"]);
    oslo.does(&["rooms", "set", "general", "--read-only", "on", "--user", "alice"]);
    assert_eq!(oslo.fails(&["send", "general", "--user", "bob", "psst"]).1, "read_only");
    oslo.does(&["rooms", "set", "general", "--read-only", "off", "--user", "alice"]);
    oslo.does(&["rooms", "ban", "general", "bob", "--user", "alice"]);
    assert_eq!(oslo.fails(&["rooms", "join", "general", "--user", "bob"]).1, "banned");
    assert!(oslo.does(&["rooms", "members", "general"]).contains("banned"));
    oslo.does(&["rooms", "unban", "general", "bob", "--user", "alice"]);
    oslo.does(&["rooms", "set", "general", "--join", "invite", "--user", "alice"]);
    let (exit, code, sentence) = oslo.fails(&["rooms", "join", "general", "--user", "bob"]);
    assert_eq!((exit, code.as_str()), (1, "not_invited"));
    assert!(sentence.contains("ask a member"), "{sentence}");
    oslo.does(&["rooms", "invite", "general", "bob", "--user", "carol"]);
    oslo.does(&["rooms", "join", "general", "--user", "bob"]);
    oslo.does(&["rooms", "kick", "general", "bob", "--user", "alice"]);
    oslo.does(&["rooms", "set", "general", "--announcement", "Closing soon", "--user", "alice"]);
    let shown = oslo.does(&["rooms", "show", "general"]);
    assert!(shown.contains("joined by invitation") && shown.contains("Closing soon"), "{shown}");
    assert_eq!(oslo.fails(&["rooms", "set", "general", "--server", &id, "deny", "--user", "alice"]).1, "oneself");
    let log = oslo.does(&["events", "list", "general"]);
    for said in ["mutes @bob", "bans @bob", "lifts the ban of @bob", "turns read-only on", "sets who may join: invite"]
    {
        assert!(log.contains(said), "{said} is missing from: {log}");
    }
}

#[test]
fn a_banned_server_is_gone_and_policy_is_shown_as_it_was_set() {
    let home = TempDir::new().unwrap();
    let oslo = Server::start(&home.path().join("oslo"), "oslo.example.org", &[]);
    let address = oslo.does(&["id", "--addresses"]);
    let bergen = Server::start(&home.path().join("bergen"), "bergen.example.org", &[]);
    bergen.does(&["connect", &address]);
    let id = bergen.does(&["id"]);
    until("they are introduced", || oslo.json(&["peers"])["peers"][0]["state"] == "introduced");
    oslo.does(&["ban", "bergen.example.org", "--reason", "floods"]);
    until("the ban ends the connection", || bergen.json(&["status"])["peers"] == 0);
    let banned = oslo.json(&["peers", "inspect", &id]);
    assert_eq!((&banned["state"], &banned["ban_reason"]), (&"banned".into(), &"floods".into()));
    oslo.does(&["unban", &id]);
    bergen.does(&["connect", &address]);
    until("they are introduced again", || oslo.json(&["peers", "inspect", &id])["state"] == "introduced");

    oslo.does(&["policy", "set", "--federate", "listed", "--list-add", &id, "--requests-per-minute", "600"]);
    let policy = oslo.json(&["policy"]);
    assert_eq!((&policy["federate"], &policy["requests_per_minute"]), (&"listed".into(), &600.into()));
    assert!(oslo.does(&["policy"]).contains("listed"));
}

#[test]
fn a_backup_of_a_running_node_becomes_the_same_server_with_the_same_rooms() {
    let home = TempDir::new().unwrap();
    let oslo = Server::start(&home.path().join("oslo"), "oslo.example.org", &[]);
    let id = oslo.does(&["id"]);
    let room = oslo.does(&["rooms", "create", "general", "--user", "alice"]);
    oslo.does(&["send", "general", "--user", "alice", "Kept"]);
    let file = home.path().join("monday.backup");
    let file = file.to_str().unwrap();
    oslo.does(&["backup", file]);
    let again = oslo.fails(&["backup", file]);
    assert!(again.0 == 1 && again.2.contains("--force"), "{again:?}");
    let digest = oslo.json(&["rooms", "show", &room])["digest"].clone();
    assert_eq!(oslo.stop(), Some(0), "a node that is asked to stop ends well");

    let restored = home.path().join("restored");
    let told = ask(&restored, &["--json", "restore", file]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["id"], &told["rooms"]), (&id.as_str().into(), &1.into()));
    let oslo = Server::start(&restored, "oslo.example.org", &[]);
    assert_eq!(oslo.does(&["id"]), id);
    assert_eq!(oslo.json(&["rooms", "show", &room])["digest"], digest);
    assert!(oslo.does(&["events", "list", "general"]).contains("Kept"));
}

#[test]
fn a_file_that_is_no_backup_is_named_and_leaves_no_directory_behind() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("holiday.png");
    fs::write(&file, "no backup").unwrap();
    let file = file.to_str().unwrap();
    let none = Server { child: None, directory: home.path().join("none") };
    let (exit, code, sentence) = none.fails(&["restore", file]);
    assert_eq!((exit, code.as_str()), (1, "restore_failed"));
    assert!(sentence.contains(file) && sentence.contains("rocketmesh backup"), "{sentence}");
    assert!(!none.directory.exists());
}

#[test]
fn a_script_with_wrong_arguments_gets_its_error_as_json_in_one_line() {
    let home = TempDir::new().unwrap();
    let nobody = Server { child: None, directory: home.path().join("nobody") };
    for (line, word) in [
        (&["rooms", "nowhere"][..], "'nowhere'"),
        (&["rooms", "create", "general"], "--user"),
        (&["peers", "--nonsense"], "'--nonsense'"),
        (&["policy", "set", "--federate", "everybody"], "everybody"),
        (&["rocketchat"], "--help"),
    ] {
        let (exit, code, sentence) = nobody.fails(line);
        assert_eq!((exit, code.as_str()), (2, "usage"), "{line:?}: {sentence}");
        assert!(sentence.contains(word) && !sentence.contains('\n') && !sentence.contains("Usage"), "{sentence}");
    }
    let help = ask(&nobody.directory, &["--json", "rooms", "--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"Show, make"), "help is help: {help:?}");
}

#[test]
fn a_command_whose_reader_has_gone_ends_quietly() {
    let home = TempDir::new().unwrap();
    let oslo = Server::start(&home.path().join("oslo"), "oslo.example.org", &[]);
    oslo.does(&["rooms", "create", "general", "--user", "alice"]);
    oslo.does(&["send", "general", "--user", "alice", "Hello"]);
    let backup = home.path().join("monday.backup");
    let backup = backup.to_str().unwrap();
    oslo.does(&["backup", backup]);
    for line in [
        &["--help"][..],
        &["completions", "bash"],
        &["status"],
        &["net"],
        &["peers"],
        &["--json", "peers"],
        &["rooms"],
        &["config"],
        &["events", "list", "general"],
        &["tail", "general", "--after", "0"],
        &["verify-room", "general"],
        &["rocketchat", "status"],
    ] {
        assert_eq!(unread(&oslo.directory, line), (Some(0), String::new()), "{line:?}");
    }
    assert_eq!(unread(&home.path().join("restored"), &["restore", backup]), (Some(0), String::new()));
    let directory = oslo.directory.clone();
    assert_eq!(oslo.stop(), Some(0));
    assert_eq!(unread(&directory, &["doctor"]), (Some(0), String::new()));
}

#[test]
fn a_node_whose_reader_has_gone_runs_on_and_stops_in_good_order() {
    let home = TempDir::new().unwrap();
    let directory = home.path().join("oslo");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let line = ["run", "--no-mdns", "--api-listen", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let mut run = command(&directory, &line);
    let child = run.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    let oslo = Server { child: Some(child), directory };
    until("the node answers", || ask(&oslo.directory, &["status"]).status.success());
    oslo.does(&["rooms", "create", "general", "--user", "alice"]);
    assert_eq!(oslo.stop(), Some(0));
}

#[test]
fn a_script_that_starts_a_node_reads_where_it_is() {
    let home = TempDir::new().unwrap();
    let directory = home.path().join("oslo");
    let line = ["--json", "run", "--no-mdns", "--api-listen", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let mut run = command(&directory, &line);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let oslo = Server { child: Some(child), directory };
    let mut greeting = String::new();
    output.read_line(&mut greeting).unwrap();
    let running: Value = serde_json::from_str(&greeting).unwrap();
    assert_eq!(running["id"], oslo.does(&["id"]));
    assert_eq!(running["addresses"][0], oslo.does(&["id", "--addresses"]));
    let api = format!("http://{}", running["api"].as_str().unwrap());
    assert_eq!(running["id"], oslo.does(&["--api", &api, "id"]));
}

#[test]
fn a_configuration_that_cannot_be_used_names_the_file_the_place_and_what_would_be_right() {
    let home = TempDir::new().unwrap();
    let nobody = Server { child: None, directory: home.path().join("nobody") };
    let file = home.path().join("mesh.toml");
    let path = file.to_str().unwrap();
    for (text, words) in [
        ("name = \n", &[path, "line 1"][..]),
        ("nmae = \"x\"\n", &[path, "did you mean `name`"]),
        ("[network]\ndht = \"maybe\"\n", &[path, "`maybe`", "auto, server, client"]),
        ("[log]\nlevel = \"loud\"\n", &["`loud` is no level", "info"]),
    ] {
        fs::write(&file, text).unwrap();
        let (exit, code, sentence) = nobody.fails(&["run", "--config", path]);
        assert_eq!((exit, code.as_str()), (1, "bad_configuration"), "{sentence}");
        assert!(words.iter().all(|word| sentence.contains(word)) && !sentence.contains('\n'), "{sentence}");
    }
    for (path, word) in [(home.path().to_owned(), "directory"), (home.path().join("none.toml"), "does not exist")] {
        let path = path.to_str().unwrap();
        let (_, code, sentence) = nobody.fails(&["run", "--config", path]);
        assert_eq!(code, "bad_configuration");
        assert!(sentence.contains(path) && sentence.contains(word), "{sentence}");
    }
    assert!(!nobody.directory.exists(), "nothing was begun");
}

#[test]
fn a_room_goes_in_a_file_to_a_server_that_never_met_its_own() {
    let home = TempDir::new().unwrap();
    let oslo = Server::start(&home.path().join("oslo"), "oslo.example.org", &[]);
    let room = oslo.does(&["rooms", "create", "general", "--user", "alice"]);
    oslo.does(&["send", "general", "--user", "alice", "Kept"]);
    let path = home.path().join("general.car");
    let file = path.to_str().unwrap();
    assert!(oslo.does(&["rooms", "export", "general", file]).contains("general.car"));
    assert_eq!(oslo.fails(&["rooms", "export", "general", file]).1, "file_exists");
    let again = oslo.json(&["rooms", "export", &room, file, "--force"]);
    assert_eq!(again["bytes"], fs::metadata(&path).unwrap().len());
    assert!(!home.path().join("general.car.part").exists());
    assert_eq!(oslo.fails(&["rooms", "export", "nowhere", &format!("{file}.2")]).0, 4);

    let bergen = Server::start(&home.path().join("bergen"), "bergen.example.org", &[]);
    let told = bergen.does(&["rooms", "import", file]);
    assert!(told.contains("2 new") && told.contains(&format!("rooms join {room} --user NAME")), "{told}");
    let imported = bergen.json(&["rooms", "import", file]);
    assert_eq!((&imported["events"], &imported["new"], &imported["joined"]), (&2.into(), &0.into(), &false.into()));
    assert!(bergen.does(&["events", "list", &room]).contains("Kept"));
    let digest = |server: &Server| server.json(&["rooms", "show", &room])["digest"].clone();
    assert_eq!(digest(&bergen), digest(&oslo));
    fs::write(&path, "no such file").unwrap();
    let (exit, code, sentence) = bergen.fails(&["rooms", "import", file]);
    assert_eq!((exit, code.as_str()), (1, "malformed_car"), "{sentence}");
    assert_eq!(bergen.fails(&["rooms", "import", home.path().to_str().unwrap()]).1, "io");
}

#[test]
fn files_go_to_another_server_and_come_back_as_they_were() {
    let home = TempDir::new().unwrap();
    let oslo = Server::start(&home.path().join("oslo"), "oslo.example.org", &[]);
    let address = oslo.does(&["id", "--addresses"]);
    let bergen = Server::start(&home.path().join("bergen"), "bergen.example.org", &[&address]);
    let room = oslo.does(&["rooms", "create", "general", "--user", "alice"]);
    bergen.does(&["rooms", "join", &room, "--user", "bob", "--wait", "60"]);
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(path("holiday.png"), &bytes).unwrap();
    fs::write(path("notes.txt"), "remember the milk").unwrap();
    fs::write(path("empty"), "").unwrap();
    let sent = [path("holiday.png"), path("notes.txt")];
    let line = ["files", "upload", "general", &sent[0], &sent[1], "--user", "alice", "--text", "From the lake"];
    let message = oslo.does(&line);
    let listed = oslo.does(&["events", "list", "general"]);
    assert!(listed.contains("From the lake [file holiday.png, 2.86 MiB] [file notes.txt, 17 B]"), "{listed}");
    let files = oslo.json(&["files", "list", "general"]);
    let types: Vec<&Value> = files["files"].as_array().unwrap().iter().map(|file| &file["type"]).collect();
    assert!(types.contains(&&"image/png".into()) && types.contains(&&"text/plain".into()), "{files}");

    until("the message arrives", || bergen.does(&["files", "list", &room]).contains("holiday.png"));
    let table = bergen.does(&["files", "list", &room]);
    assert!(
        table.contains("@alice:oslo.example.org") && table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
    let saved = path("saved.png");
    assert!(bergen.does(&["files", "get", &room, "holiday.png", "-o", &saved]).contains("2.86 MiB"));
    assert_eq!(fs::read(&saved).unwrap(), bytes);
    assert_eq!(bergen.fails(&["files", "get", &room, "holiday.png", "-o", &saved]).1, "file_exists");
    assert_eq!(bergen.fails(&["files", "get", &room, "nothing.png"]).0, 4);
    assert_eq!(oslo.fails(&["files", "upload", "general", &path("empty"), "--user", "alice"]).1, "file_empty");
    assert_eq!(oslo.fails(&["files", "upload", "general", &path("none"), "--user", "alice"]).1, "io");

    oslo.does(&["redact", "general", &message, "--user", "alice"]);
    until("the files are gone with the message", || bergen.does(&["files", "list", &room]).contains("no files"));
    assert_eq!(oslo.stop(), Some(0));
    let stopped = Server { child: None, directory: home.path().join("oslo") };
    assert!(stopped.does(&["doctor", "--files"]).ends_with("nothing wrong"));
}

#[test]
fn what_fails_says_what_to_do_and_ends_with_the_documented_exit_code() {
    let home = TempDir::new().unwrap();
    let nobody = Server { child: None, directory: home.path().join("nobody") };
    let (exit, code, sentence) = nobody.fails(&["status"]);
    assert_eq!((exit, code.as_str()), (3, "no_node"));
    assert!(sentence.contains("rocketmesh run"), "{sentence}");

    let oslo = Server::start(&home.path().join("oslo"), "oslo.example.org", &[]);
    oslo.does(&["rooms", "create", "twice", "--user", "alice"]);
    oslo.does(&["rooms", "create", "twice", "--user", "alice"]);
    // Port 1 of this machine, where nobody listens.
    let nowhere = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    for (line, expected, word) in [
        (&["rooms", "show", "nowhere"][..], (4, "unknown_room"), "nowhere"),
        (&["rooms", "join", "bafyr4ieulcklq", "--user", "alice"], (4, "unknown_room"), "59 characters"),
        (&["peers", "inspect", "nobody.example.org"], (4, "unknown_peer"), "nobody.example.org"),
        (&["rooms", "show", "twice"], (2, "ambiguous_room"), "bafyr4i"),
        (&["connect", "192.0.2.7:4848"], (1, "malformed_address"), "/ip4/"),
        (&["connect", nowhere], (1, "unreachable"), "refused"),
    ] {
        let (exit, code, sentence) = oslo.fails(line);
        assert_eq!((exit, code.as_str()), expected, "{line:?}: {sentence}");
        assert!(sentence.contains(word) && !sentence.contains('\n'), "{line:?}: {sentence}");
    }
    assert_eq!(oslo.does(&["rocketchat", "disconnect"]), "no Rocket.Chat server was connected");
    fs::write(oslo.directory.join("api.token"), "0".repeat(64)).unwrap();
    let (exit, code, sentence) = oslo.fails(&["status"]);
    assert_eq!((exit, code.as_str()), (5, "wrong_token"), "{sentence}");
    assert!(sentence.contains("--token-file"), "{sentence}");

    // A second node on the same directory must not get in the first one's way.
    let second = ask(&oslo.directory, &["run", "--api-listen", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && error.contains("another"), "{error}");
}

#[test]
fn the_key_of_a_private_mesh_is_made_once_and_never_overwritten() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("mesh.key");
    let line = ["net", "new-key", file.to_str().unwrap()];
    let made = ask(home.path(), &line);
    assert!(made.status.success(), "{made:?}");
    let key = fs::read_to_string(&file).unwrap();
    assert!(key.starts_with("/key/swarm/psk/1.0.0/\n/base16/\n"), "{key}");
    assert!(!String::from_utf8_lossy(&made.stdout).contains(key.lines().nth(2).unwrap()), "the key is not printed");
    let again = ask(home.path(), &line);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), key);
}

#[test]
fn completions_are_there_for_every_shell_and_help_for_every_command() {
    let nowhere = Path::new("/nonexistent");
    for shell in ["bash", "zsh", "fish"] {
        let output = ask(nowhere, &["completions", shell]);
        assert!(output.status.success() && output.stdout.len() > 1000, "{shell}");
    }
    let help = String::from_utf8(ask(nowhere, &["--help"]).stdout).unwrap();
    assert!(help.contains("Exit codes") && help.contains("rocketmesh rooms create"), "{help}");
    for command in [
        "run",
        "status",
        "id",
        "config",
        "net",
        "peers",
        "connect",
        "ban",
        "unban",
        "policy",
        "rooms",
        "send",
        "files",
        "rocketchat",
        "tail",
        "verify-room",
        "react",
        "redact",
        "events",
        "backup",
        "restore",
        "doctor",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not in: {help}");
        assert!(ask(nowhere, &[command, "--help"]).status.success(), "{command}");
    }
}

#[test]
fn the_store_of_a_stopped_node_is_checked_and_that_of_a_running_one_is_not() {
    let home = TempDir::new().unwrap();
    let directory = home.path().join("oslo");
    let oslo = Server::start(&directory, "oslo.example.org", &[]);
    oslo.does(&["rooms", "create", "general", "--user", "alice"]);
    oslo.does(&["send", "general", "--user", "alice", "Hello"]);
    let (exit, code, sentence) = oslo.fails(&["doctor"]);
    assert_eq!((exit, code.as_str()), (1, "node_running"), "{sentence}");
    assert_eq!(oslo.stop(), Some(0));

    let stopped = Server { child: None, directory };
    assert!(stopped.does(&["doctor"]).ends_with("in 1 room: nothing wrong"));
    let report = stopped.json(&["doctor", "--repair"]);
    assert_eq!((&report["rooms"], &report["found"]), (&1.into(), &0.into()));
    fs::write(stopped.directory.join("store").join("FORMAT"), "none").unwrap();
    let (exit, code, sentence) = stopped.fails(&["doctor"]);
    assert_eq!((exit, code.as_str()), (1, "store_damaged"), "{sentence}");
    assert!(sentence.contains("restore a backup"), "{sentence}");

    let empty = Server { child: None, directory: home.path().join("empty") };
    assert_eq!(empty.fails(&["doctor"]).1, "no_store");
    assert!(!empty.directory.exists(), "a check makes no store");
}
