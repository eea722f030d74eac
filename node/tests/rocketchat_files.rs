//! Files and what is said with them, on two Rocket.Chat servers with a node beside each: one message there is one message here.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_servers.rs"]
mod two_servers;

use rocketmesh_node::api::types::MessageFile;
use rocketmesh_node::config::Config;
use rocketmesh_standin::{HeldMessage, HeldRoom, Person, Wish};
use serde_json::{Value, json};
use support::{TestNode, converged, eventually};
use two_servers::{Lunch, Side};

/// The message with a text, once it stands there with a file.
async fn with_file(side: &Side, rid: &str, text: &str) -> HeldMessage {
    let is_it = |message: &HeldMessage| message.text == text && message.files.len() == 1;
    let room = side.holds(rid, text, |room| room.messages.iter().any(is_it)).await;
    room.messages.into_iter().find(is_it).unwrap()
}

/// Sends a file as the web client does: what is said with it is its caption, and a quote is the text.
async fn send(person: &Person, rid: &str, quote: &str, caption: &str) -> String {
    let file = person.offer(rid, "cat.png", "image/png", caption.as_bytes()).await.unwrap();
    let said = json!({"msg": quote, "description": caption});
    let answer: Value = person.post(&format!("rooms.mediaConfirm/{rid}/{file}"), said).await.unwrap();
    answer["message"]["_id"].as_str().unwrap().to_owned()
}

/// The texts of a room's messages, each with the names of its files.
fn said(room: &HeldRoom) -> Vec<(&str, Vec<&str>)> {
    let told = room.messages.iter().filter(|message| message.kind.is_none());
    told.map(|message| (message.text.as_str(), message.files.iter().map(|file| file.name.as_str()).collect())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_its_words_are_one_message_whichever_way_they_go() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    let of_alice = alice.upload(at_a, "menu.txt", "text/plain", b"soup", "today").await.unwrap();
    let at_bobs = with_file(b, at_b, "today").await;
    assert_eq!((at_bobs.who.as_str(), at_bobs.files[0].name.as_str()), ("alice.a.example", "menu.txt"));
    alice.edit(at_a, &of_alice, "tomorrow").await.unwrap();
    assert_eq!(with_file(b, at_b, "tomorrow").await.id, at_bobs.id);

    let of_bob = send(bob, at_b, "", "of a cat").await;
    let at_alices = with_file(a, at_a, "of a cat").await;
    assert_eq!(at_alices.who, "bob.b.example");
    bob.edit(at_b, &of_bob, "of a dog").await.unwrap();
    assert_eq!(with_file(a, at_a, "of a dog").await.id, at_alices.id);
    // A moderator's edit elsewhere changes the caption, which is what Bob's server lets change.
    alice.edit(at_a, &at_alices.id, "of two dogs").await.unwrap();
    let has = |id: &str, text: &str, caption: &str| {
        let (id, text, caption) = (id.to_owned(), text.to_owned(), caption.to_owned());
        move |room: &HeldRoom| {
            let message = room.messages.iter().find(|message| message.id == id);
            message.is_some_and(|message| message.text == text && message.captions == [caption.as_str()])
        }
    };
    b.holds(at_b, "the caption", has(&of_bob, "", "of two dogs")).await;

    // Whoever quotes something and sends a file has a text and a caption.
    let quote = |side: &Side, id: &str| format!("[ ]({}/channel/lunch?msg={id})", side.standin.url());
    let both = send(bob, at_b, &quote(b, &at_bobs.id), "this one").await;
    let copy = with_file(a, at_a, &format!("{}\nthis one", quote(a, &of_alice))).await;
    alice.edit(at_a, &copy.id, &format!("{}\nthat one", quote(a, &of_alice))).await.unwrap();
    b.holds(at_b, "the caption beside the quote", has(&both, &quote(b, &at_bobs.id), "that one")).await;

    bob.react(&at_bobs.id, ":soup:").await.unwrap();
    a.holds(at_a, "the reaction", |room| {
        room.messages.iter().any(|message| message.id == of_alice && message.reactions.contains_key(":soup:"))
    })
    .await;
    alice.delete(at_a, &of_alice).await.unwrap();
    b.holds(at_b, "the deletion", |room| room.messages.iter().all(|message| message.id != at_bobs.id)).await;
    assert_eq!((a.said(at_a).len(), b.said(at_b).len()), (2, 2), "nothing came twice");
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_files_the_first_has_the_words_and_none_stays_when_one_is_taken_down() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, at_a, at_b, room, .. } = &lunch;
    for taken in [0, 2] {
        let mut files = Vec::new();
        for (name, byte) in [("one.bin", 1_u8), ("two.bin", 2), ("three.bin", 3)] {
            let path = format!("/v1/rooms/{room}/files?name={name}&type=application/octet-stream");
            let request = b.node().client.post(b.node().url(&path)).bearer_auth(b.node().node.api_token());
            let answer = request.body(vec![byte + 10 * u8::try_from(taken).unwrap(); 2_000]).send().await.unwrap();
            files.push(answer.json::<MessageFile>().await.unwrap());
        }
        let event = json!({"user": "bob", "text": "three of them", "files": files});
        let _: Value = b.node().post(&format!("/v1/rooms/{room}/events"), event).await;
        let all = [("three of them", vec!["one.bin"]), ("", vec!["two.bin"]), ("", vec!["three.bin"])];
        let held = a.holds(at_a, "three files", |room| said(room) == all).await;
        b.holds(at_b, "three files", |room| room.messages.iter().flat_map(|message| &message.files).count() == 3).await;

        // Each is a message in Rocket.Chat, and all of them are one in the room.
        let one: Vec<&HeldMessage> = held.messages.iter().filter(|message| !message.files.is_empty()).collect();
        alice.delete(at_a, &one[taken].id).await.unwrap();
        a.holds(at_a, "the end of all three", |room| said(room).is_empty()).await;
        b.holds(at_b, "the end of all three", |room| said(room).is_empty()).await;
    }
    lunch.settled("nothing is left").await;
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_has_yet_follows_and_holds_up_nothing_that_is_said() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, at_a, at_b, room, .. } = &lunch;
    // It fetches nothing that nobody asks it for.
    let frugal = |config: &mut Config| config.files.fetch_up_to_mib = 0;
    let c = TestNode::start_with("c.example", &[], |builder| builder.configure(frugal)).await;
    c.connect(a.node()).await;
    c.connect(b.node()).await;
    c.join(room, "carol").await;
    converged(&[a.node(), b.node(), &c], room).await;

    // What is said reaches Bob's server by Carol's, which has not got the file.
    lunch.apart(true).await;
    alice.upload(at_a, "menu.txt", "text/plain", b"soup", "today").await.unwrap();
    let words = b.hears(at_b, "today").await;
    c.say(room, "carol", "and bread?").await;
    b.hears(at_b, "and bread?").await;
    let (_, told) = b.node().raw("GET", "/v1/rocketchat", None).await;
    let away = |problem: &Value| problem["code"] == "file_away";
    assert!(told["problems"].as_array().unwrap().iter().any(away), "{told}");
    assert_eq!(
        (told["queue"]["waiting"].as_u64(), told["queue"]["undeliverable"].as_u64()),
        (Some(1), Some(0)),
        "{told}"
    );
    assert!(b.held(at_b).messages.iter().all(|message| message.files.is_empty()));

    lunch.apart(false).await;
    b.standin.wish(Wish::DropWebsockets).unwrap();
    let file = with_file(b, at_b, "").await;
    assert_eq!((file.files[0].name.as_str(), file.who.as_str()), ("menu.txt", "alice.a.example"));
    assert_eq!(b.times(at_b, "today"), 1, "what was said is not said again");
    eventually("nothing waits any more", || async {
        let (_, told) = b.node().raw("GET", "/v1/rocketchat", None).await;
        told["queue"]["waiting"] == 0 && !told["problems"].as_array().unwrap().iter().any(away)
    })
    .await;
    alice.delete(at_a, &a.said(at_a)[0].id).await.unwrap();
    b.holds(at_b, "the deletion of both", |room| {
        room.messages.iter().all(|message| message.id != words && message.id != file.id)
    })
    .await;
    c.stop().await;
    lunch.close().await;
}
