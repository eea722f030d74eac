//! Where the service account may make no accounts: people elsewhere speak through it, each by name, and what takes an account of their
//! own is named and waits for one.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_in_trouble.rs"]
#[allow(dead_code, unreachable_pub, reason = "several tests share it")]
mod two_servers;

use rocketmesh_node::rocketchat::status::ProblemKind;
use rocketmesh_standin::{HeldRoom, Person, Wish};
use serde_json::Value;
use support::eventually;
use two_servers::{Lunch, Side};

/// How people elsewhere read Carol's name.
const CAROL: &str = "carol (b.example)";

/// Allows the service account to make accounts, or nobody.
fn permit(side: &Side, allowed: bool) {
    let roles = if allowed { None } else { Some(Vec::new()) };
    side.standin.wish(Wish::Permit { permission: "create-user".to_owned(), roles }).unwrap();
}

/// The room, with somebody in it on the second server of whom the first may make no account.
async fn open() -> (Lunch, Person) {
    let lunch = Lunch::open().await;
    permit(&lunch.a, false);
    let carol = lunch.b.standin.add_person("carol").unwrap();
    carol.join(&lunch.at_b).await.unwrap();
    (lunch, carol)
}

/// Whether a file stands there with this text.
fn has_file(room: &HeldRoom, text: &str) -> bool {
    room.messages.iter().any(|message| message.who == "bridge" && message.text == text && message.files.len() == 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_without_an_account_are_named_beside_what_they_say_and_on_their_files() {
    let (lunch, carol) = open().await;
    let Lunch { a, alice, at_a, at_b, .. } = &lunch;
    carol.say(at_b, "good morning").await.unwrap();
    let id = a.hears(at_a, "good morning").await;
    let said: Value = alice.get("chat.getMessage", &[("msgId", id.as_str())]).await.unwrap();
    let said = &said["message"];
    assert_eq!((said["u"]["username"].as_str(), said["alias"].as_str()), (Some("bridge"), Some(CAROL)), "{said}");
    assert!(said["avatar"].as_str().unwrap().ends_with("/avatar/carol.b.example"), "{said}");
    let problem = a.suffers(ProblemKind::PermissionMissing).await;
    assert_eq!(problem.subject.as_deref(), Some("create-user"));

    let file = carol.upload(at_b, "menu.txt", "text/plain", b"soup", "").await.unwrap();
    let name = format!("*{CAROL}*");
    a.holds(at_a, "the file", |room| has_file(room, &name)).await;
    carol.edit(at_b, &file, "of today").await.unwrap();
    let edited = format!("*{CAROL}*\nof today");
    a.holds(at_a, "the file with its words", |room| has_file(room, &edited)).await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_be_made_is_not_asked_for_with_each_message() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, at_a, at_b, .. } = &lunch;
    let asked = || a.standin.requests().iter().filter(|asked| asked.path.ends_with("users.create")).count();
    let before = asked();
    permit(a, false);
    for name in ["carol", "dave"] {
        let person = b.standin.add_person(name).unwrap();
        person.join(at_b).await.unwrap();
        for text in ["first", "second"] {
            let text = format!("{name} says the {text}");
            person.say(at_b, &text).await.unwrap();
            a.hears(at_a, &text).await;
        }
    }
    assert_eq!(asked() - before, 1);
    // Whoever has mended it is not kept waiting.
    permit(a, true);
    a.check().await;
    let erin = b.standin.add_person("erin").unwrap();
    erin.join(at_b).await.unwrap();
    a.has_member(at_a, "erin.b.example", true).await;
    a.recovers(ProblemKind::PermissionMissing).await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_of_somebody_without_an_account_is_in_the_queue_until_there_is_one() {
    let (lunch, carol) = open().await;
    let Lunch { a, b, at_a, at_b, .. } = &lunch;
    let (here, there) = (a.hears(at_a, "hello from a").await, b.hears(at_b, "hello from a").await);
    carol.react(&there, ":soup:").await.unwrap();
    eventually("the reaction is in the queue", || async { !a.queue().await.letters.is_empty() }).await;
    let letters = a.queue().await.letters;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert!(letter.can_retry && letter.reason.contains(CAROL), "{letter:?}");
    assert_eq!((letter.what.as_str(), letter.code.as_str()), ("react", ProblemKind::PermissionMissing.code()));

    permit(a, true);
    a.check().await;
    let reacted = |room: &HeldRoom| {
        let message = room.messages.iter().find(|message| message.id == here);
        message.and_then(|message| message.reactions.get(":soup:")).is_some_and(|by| *by == ["carol.b.example"])
    };
    a.holds(at_a, "the reaction", reacted).await;
    a.recovers(ProblemKind::PermissionMissing).await;
    assert_eq!(a.queue().await.letters, []);
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_allows_no_such_addresses_hears_people_by_alias_and_is_not_asked_again_and_again() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, at_a, at_b, .. } = &lunch;
    let allow = |domains: &str| {
        let setting = "Accounts_AllowedDomainsList".to_owned();
        a.standin.wish(Wish::Set { setting, value: domains.into() }).unwrap();
    };
    let asked = |call: &str| a.standin.requests().iter().filter(|asked| asked.path.ends_with(call)).count();
    let before = (asked("users.create"), asked("login"));
    allow("example.org");
    let carol = b.standin.add_person("carol").unwrap();
    carol.join(at_b).await.unwrap();
    for text in ["first", "second"] {
        carol.say(at_b, text).await.unwrap();
        a.hears(at_a, text).await;
    }
    assert!(a.held(at_a).messages.iter().all(|message| message.text != "first" || message.who == "bridge"));
    let problem = a.suffers(ProblemKind::PermissionMissing).await;
    assert!(problem.message.contains("domain"), "{problem:?}");
    assert_eq!((asked("users.create"), asked("login")), (before.0 + 1, before.1));

    allow("example.org, rocketmesh.invalid");
    a.check().await;
    carol.say(at_b, "third").await.unwrap();
    a.holds(at_a, "Carol herself", |room| {
        room.messages.iter().any(|message| message.text == "third" && message.who == "carol.b.example")
    })
    .await;
    a.recovers(ProblemKind::PermissionMissing).await;
    lunch.close().await;
}
