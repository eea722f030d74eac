//! Where Rocket.Chat is awkward: each thing comes once, and both sides end alike, whatever comes late, twice, at once or not at all.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_in_trouble.rs"]
#[allow(dead_code, unreachable_pub, reason = "several tests share it")]
mod two_servers;

use std::fs::File;
use std::io::BufReader;

use reqwest::StatusCode;
use rocketmesh_node::identity;
use rocketmesh_node::rocketchat::status::ProblemKind;
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_standin::{Fault, HeldMessage, HeldRoom, Version, Wish, Wrong};
use rocketmesh_storage::backup;
use serde_json::{Value, json};
use support::{TestNode, eventually};
use tempfile::TempDir;
use two_servers::{Lunch, Side};

/// More than a page of catching up, so that the page ends in the middle of one millisecond.
const AT_ONCE: usize = 110;
/// More events than wait for the bridge.
const FLOOD: usize = 1100;

fn fault(side: &Side, call: &str, wrong: Wrong) {
    side.standin.wish(Wish::Fault(Fault { call: Some(call.to_owned()), times: 1, wrong })).unwrap();
}

fn find(side: &Side, rid: &str, text: &str) -> HeldMessage {
    side.said(rid).into_iter().find(|message| message.text.ends_with(text)).unwrap()
}

fn says(text: &str) -> impl Fn(&HeldRoom) -> bool {
    move |room| room.messages.iter().any(|message| message.text == text)
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_nothing_twice() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, bob, at_a, at_b, .. } = &lunch;
    fault(a, "chat.sendMessage", Wrong::FailBefore);
    bob.say(at_b, "not done").await.unwrap();
    a.holds_when_asked(at_a, "the message", says("not done")).await;
    fault(a, "chat.sendMessage", Wrong::FailAfter);
    bob.say(at_b, "done").await.unwrap();
    a.holds_when_asked(at_a, "the message", says("done")).await;
    let message = find(b, at_b, "not done").id;
    fault(a, "chat.update", Wrong::FailAfter);
    bob.edit(at_b, &message, "changed").await.unwrap();
    a.holds_when_asked(at_a, "the edit", says("changed")).await;
    fault(a, "chat.react", Wrong::FailAfter);
    bob.react(&message, ":soup:").await.unwrap();
    let soup = |room: &HeldRoom| room.messages.iter().any(|message| message.reactions.contains_key(":soup:"));
    a.holds_when_asked(at_a, "the reaction", soup).await;
    // Asked again to take back what is not there, the server would add it.
    fault(a, "chat.react", Wrong::FailAfter);
    bob.unreact(&message, ":soup:").await.unwrap();
    a.holds_when_asked(at_a, "the end of the reaction", |room| !soup(room)).await;
    // A file is uploaded and confirmed, and either answer is lost.
    for (name, call) in [("one.txt", "rooms.media"), ("two.txt", "rooms.mediaConfirm")] {
        fault(a, call, Wrong::FailAfter);
        bob.upload(at_b, name, "text/plain", name.as_bytes(), "").await.unwrap();
        let has =
            |room: &HeldRoom| room.messages.iter().flat_map(|message| &message.files).any(|file| file.name == name);
        a.holds_when_asked(at_a, name, has).await;
    }
    // What is said with a file comes with it, and once.
    fault(a, "rooms.mediaConfirm", Wrong::FailAfter);
    bob.upload(at_b, "three.txt", "text/plain", b"three.txt", "with words").await.unwrap();
    a.holds_when_asked(at_a, "the words", says("with words")).await;
    bob.say(at_b, "the end").await.unwrap();
    a.holds_when_asked(at_a, "the end", says("the end")).await;
    lunch.once_beside(&["changed", "done", "with words", "the end"], 2).await;
    assert!(!soup(&a.held(at_a)), "the reaction is back");
    lunch.close().await;
}

async fn all_is_caught_up_on(version: Version) {
    let mut lunch = Lunch::open_like(version).await;
    lunch.a.end().await;
    lunch.a.standin.wish(Wish::Freeze { frozen: true }).unwrap();
    let texts: Vec<String> = (0..AT_ONCE).map(|number| format!("number {number:03}")).collect();
    for text in &texts {
        lunch.alice.say(&lunch.at_a, text).await.unwrap();
    }
    lunch.a.standin.wish(Wish::Freeze { frozen: false }).unwrap();
    lunch.alice.say(&lunch.at_a, "and later").await.unwrap();
    lunch.begin_a().await;
    lunch.b.hears(&lunch.at_b, "and later").await;
    let all = |room: &HeldRoom| room.messages.iter().filter(|one| one.text.contains("number ")).count() >= AT_ONCE;
    lunch.b.holds(&lunch.at_b, "all of it", all).await;
    let texts: Vec<&str> = texts.iter().map(String::as_str).chain(["and later"]).collect();
    lunch.once(&texts).await;
    lunch.close().await;
}

#[tokio::test]
async fn however_much_was_said_in_one_millisecond_all_of_it_is_caught_up_on_by_pages() {
    all_is_caught_up_on(Version::V8_8).await;
}

#[tokio::test]
async fn however_much_was_said_in_one_millisecond_all_of_it_is_caught_up_on_without_pages() {
    all_is_caught_up_on(Version::V7_0).await;
}

#[tokio::test]
async fn a_reply_that_is_caught_up_on_stands_in_its_thread() {
    let mut lunch = Lunch::open().await;
    lunch.a.end().await;
    let question = lunch.alice.say(&lunch.at_a, "a question").await.unwrap();
    lunch.alice.reply(&lunch.at_a, &question, "an answer").await.unwrap();
    lunch.begin_a().await;
    let Lunch { b, at_b, .. } = &lunch;
    b.hears(at_b, "an answer").await;
    let question = find(b, at_b, "a question").id;
    assert_eq!(find(b, at_b, "an answer").thread, Some(question));
    lunch.once(&["a question", "an answer"]).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_reply_under_a_message_of_another_room_goes_where_its_thread_is_and_nowhere_else() {
    let lunch = Lunch::open().await;
    let Lunch { a, alice, at_a, .. } = &lunch;
    let other = alice.create_channel("other", &["bridge"]).await.unwrap();
    let parent = alice.say(&other, "in another room").await.unwrap();
    alice.reply(at_a, &parent, "moved there").await.unwrap();
    assert_eq!(a.times(&other, "moved there"), 1);
    lunch.once(&[]).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_call_to_everybody_wakes_nobody_elsewhere_and_is_not_refused() {
    let lunch = Lunch::open().await;
    let Lunch { a, bob, at_a, at_b, .. } = &lunch;
    for permission in ["mention-all", "mention-here"] {
        a.standin.wish(Wish::Permit { permission: permission.to_owned(), roles: Some(Vec::new()) }).unwrap();
    }
    bob.say(at_b, "@all and @here: soup!").await.unwrap();
    let came = |room: &HeldRoom| room.messages.iter().any(|message| message.text.ends_with("soup!"));
    a.holds(at_a, "the call", came).await;
    assert!(!find(a, at_a, "soup!").text.contains("@all"));
    lunch.once_beside(&[], 1).await;
    assert_eq!(a.said(at_a).iter().filter(|message| message.text.ends_with("soup!")).count(), 1);
    lunch.close().await;
}

#[tokio::test]
async fn what_is_taken_away_while_history_is_kept_is_found_by_looking() {
    let mut lunch = Lunch::open().await;
    lunch.a.standin.wish(Wish::Set { setting: "Message_KeepHistory".to_owned(), value: json!(true) }).unwrap();
    let regretted = lunch.alice.say(&lunch.at_a, "regretted").await.unwrap();
    lunch.b.hears(&lunch.at_b, "regretted").await;
    lunch.a.end().await;
    lunch.alice.delete(&lunch.at_a, &regretted).await.unwrap();
    lunch.begin_a().await;
    let gone = |room: &HeldRoom| room.messages.iter().all(|message| message.text != "regretted");
    lunch.b.holds(&lunch.at_b, "the deletion", gone).await;
    lunch.once(&[]).await;
    lunch.close().await;
}

#[tokio::test]
async fn both_sides_may_take_one_message_away_at_once() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, at_a, at_b, .. } = &lunch;
    let message = alice.say(at_a, "nobody wants this").await.unwrap();
    let copy = b.hears(at_b, "nobody wants this").await;
    let admin = b.standin.person(&b.standin.add_account("admin", &["admin", "user"]).unwrap());
    admin.join(at_b).await.unwrap();
    let (one, other) = tokio::join!(alice.delete(at_a, &message), admin.delete(at_b, &copy));
    assert!(one.is_ok() || other.is_ok(), "whoever comes second may find it gone: {one:?}, {other:?}");
    let gone = |room: &HeldRoom| room.messages.iter().all(|message| message.text != "nobody wants this");
    a.holds(at_a, "the deletion", gone).await;
    b.holds(at_b, "the deletion", gone).await;
    lunch.once(&[]).await;
    lunch.close().await;
}

#[tokio::test]
async fn both_sides_may_edit_one_message_at_once_and_end_with_the_same_words() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b } = &lunch;
    let message = bob.say(at_b, "what is for lunch?").await.unwrap();
    let copy = a.hears(at_a, "what is for lunch?").await;
    let words = |side: &Side, rid: &str, id: &str| {
        side.said(rid).into_iter().find(|message| message.id == id).map(|message| message.text)
    };
    // Each time one of them is the last, on both sides.
    for round in 0..5 {
        let (of_alice, of_bob) = (format!("soup {round}"), format!("salad {round}"));
        let (one, other) = tokio::join!(alice.edit(at_a, &copy, &of_alice), bob.edit(at_b, &message, &of_bob));
        assert!(one.is_ok() && other.is_ok(), "{one:?}, {other:?}");
        // What either says now comes after whatever they wrote.
        let (at_last, to_last) = (format!("from a {round}"), format!("from b {round}"));
        alice.say(at_a, &at_last).await.unwrap();
        bob.say(at_b, &to_last).await.unwrap();
        b.hears(at_b, &at_last).await;
        a.hears(at_a, &to_last).await;
        eventually("both have the same words", || async {
            let (here, there) = (words(a, at_a, &copy), words(b, at_b, &message));
            here == there && here.is_some_and(|here| here == of_alice || here == of_bob)
        })
        .await;
    }
    let last = words(a, at_a, &copy);
    let said: Vec<String> = (0..5).flat_map(|round| [format!("from a {round}"), format!("from b {round}")]).collect();
    let said: Vec<&str> = said.iter().map(String::as_str).chain(last.as_deref()).collect();
    lunch.once(&said).await;
    assert_eq!((words(a, at_a, &copy), words(b, at_b, &message)), (last.clone(), last), "and stay with them");
    lunch.close().await;
}

#[tokio::test]
async fn what_comes_faster_than_it_can_be_taken_is_named_and_caught_up_on() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b } = &lunch;
    let looks = || a.standin.requests().iter().filter(|asked| asked.path == "subscriptions.get").count();
    let before = looks();
    // After each new connection the bridge asks in which rooms it is, and takes nothing while no answer comes.
    fault(a, "subscriptions.get", Wrong::HangBefore);
    a.standin.wish(Wish::DropWebsockets).unwrap();
    eventually("the bridge waits for an answer", || async { looks() > before }).await;
    let first = alice.say(at_a, "before the flood").await.unwrap();
    for number in 0..FLOOD {
        let status = json!({"status": "busy", "message": number.to_string()});
        alice.post::<Value>("users.setStatus", status).await.unwrap();
    }
    alice.edit(at_a, &first, "before the flood, mended").await.unwrap();
    alice.say(at_a, "after the flood").await.unwrap();
    let gone = alice.say(at_a, "carried away").await.unwrap();
    alice.delete(at_a, &gone).await.unwrap();
    bob.say(at_b, "from the dry side").await.unwrap();
    a.suffers(ProblemKind::Overrun).await;
    b.hears(at_b, "before the flood, mended").await;
    b.hears(at_b, "after the flood").await;
    lunch.once(&["before the flood, mended", "after the flood", "from the dry side"]).await;
    a.recovers(ProblemKind::Overrun).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_reaction_that_was_taken_back_before_it_came_leaves_none() {
    let mut lunch = Lunch::open().await;
    lunch.a.end().await;
    let hello = lunch.b.hears(&lunch.at_b, "hello from a").await;
    lunch.bob.react(&hello, ":soup:").await.unwrap();
    lunch.bob.unreact(&hello, ":soup:").await.unwrap();
    lunch.begin_a().await;
    lunch.once(&[]).await;
    assert!(lunch.a.said(&lunch.at_a).iter().all(|message| message.reactions.is_empty()));
    assert!(lunch.b.said(&lunch.at_b).iter().all(|message| message.reactions.is_empty()));
    lunch.close().await;
}

#[tokio::test]
async fn streams_that_come_late_and_connections_that_end_tell_nothing_twice() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b } = &lunch;
    a.standin.wish(Wish::DelayStreams { ms: 300 }).unwrap();
    let message = alice.say(at_a, "first words").await.unwrap();
    alice.edit(at_a, &message, "second words").await.unwrap();
    a.standin.wish(Wish::DropWebsockets).unwrap();
    bob.say(at_b, "meanwhile").await.unwrap();
    alice.edit(at_a, &message, "third words").await.unwrap();
    // The same text again stores and tells nothing.
    alice.edit(at_a, &message, "third words").await.unwrap();
    b.hears(at_b, "third words").await;
    a.hears(at_a, "meanwhile").await;
    a.standin.wish(Wish::DelayStreams { ms: 0 }).unwrap();
    lunch.once(&["third words", "meanwhile"]).await;
    let metrics = a.metrics().await;
    let echoes = metrics.lines().find_map(|line| line.strip_prefix("rocketmesh_rocketchat_echoes_total "));
    assert!(echoes.is_some_and(|number| number != "0"), "what was seen again was left alone, and counted: {metrics}");
    lunch.close().await;
}

#[tokio::test]
async fn a_node_that_was_restored_from_an_older_backup_says_nothing_twice_on_either_side() {
    let mut lunch = Lunch::open().await;
    let backup = {
        let node = lunch.a.node();
        let request = node.client.post(node.url("/v1/backup")).bearer_auth(node.node.api_token());
        request.send().await.unwrap().bytes().await.unwrap()
    };
    {
        // All this the backup does not know.
        let Lunch { a, b, alice, bob, at_a, at_b } = &lunch;
        let mine = alice.say(at_a, "mine, after the backup").await.unwrap();
        let copy = b.hears(at_b, "mine, after the backup").await;
        bob.say(at_b, "yours, after the backup").await.unwrap();
        a.hears(at_a, "yours, after the backup").await;
        bob.upload(at_b, "menu.txt", "text/plain", b"soup", "").await.unwrap();
        let menu = |room: &HeldRoom| room.messages.iter().any(|message| !message.files.is_empty());
        a.holds(at_a, "the menu", menu).await;
        alice.edit(at_a, &mine, "mine, edited after the backup").await.unwrap();
        b.hears(at_b, "mine, edited after the backup").await;
        bob.react(&copy, ":soup:").await.unwrap();
        let soup = |room: &HeldRoom| room.messages.iter().any(|message| !message.reactions.is_empty());
        a.holds(at_a, "soup", soup).await;
    }
    lunch.a.end().await;
    lunch.a.directory = TempDir::new().unwrap();
    restore(&backup, &lunch.a.directory);
    lunch.alice.say(&lunch.at_a, "while it was away").await.unwrap();
    lunch.begin_a().await;
    let token = lunch.a.service.token.clone();
    lunch.a.connect(&token).await;
    lunch.b.hears(&lunch.at_b, "while it was away").await;
    eventually("nothing waits", || async { lunch.a.queue().await.rooms.is_empty() }).await;
    let texts = ["mine, edited after the backup", "yours, after the backup", "while it was away"];
    lunch.once_beside(&texts, 1).await;
    for (side, rid) in [(&lunch.a, &lunch.at_a), (&lunch.b, &lunch.at_b)] {
        let files = side.said(rid).iter().filter(|message| !message.files.is_empty()).count();
        let reactions = side.said(rid).iter().filter(|message| !message.reactions.is_empty()).count();
        assert_eq!((files, reactions), (1, 1), "{}: {:?}", side.name, side.said(rid));
    }
    lunch.close().await;
}

/// Puts a backup into an empty directory, as `rocketmesh restore` does.
fn restore(stream: &[u8], directory: &TempDir) {
    let file = directory.path().join("backup");
    std::fs::write(&file, stream).unwrap();
    let store = rocketmesh_node::open_store(directory.path(), 8).unwrap();
    let mut input = BufReader::new(File::open(&file).unwrap());
    let (seed, _) = backup::restore(&store, &mut input, |_| {}).unwrap();
    identity::save(directory.path(), &ServerKey::from_seed(&seed)).unwrap();
}

#[tokio::test]
async fn a_node_without_a_server_has_an_empty_queue() {
    let node = TestNode::start("a.example", &[]).await;
    let (code, queue) = node.raw("GET", "/v1/rocketchat/queue", None).await;
    assert_eq!((code, queue), (StatusCode::OK, json!({"rooms": [], "letters": []})));
    node.node.shutdown().await;
}
