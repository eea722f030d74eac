//! What an administrator may do in Rocket.Chat and not in the room: of each kind it is undone, and explained to whoever did it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_servers.rs"]
mod two_servers;

use rocketmesh_standin::{Fault, HeldRoom, Person, Wish, Wrong};
use serde_json::{Value, json};
use support::eventually;
use two_servers::{Lunch, Side};

/// How often the service account has told somebody something with these words.
fn times_told(side: &Side, person: &Person, words: &str) -> usize {
    let theirs = |room: &HeldRoom| {
        room.kind == "d" && room.members.contains_key("bridge") && room.members.contains_key(&person.username)
    };
    let rooms = side.standin.dump().into_iter().filter(theirs);
    let told = rooms.flat_map(|room| room.messages);
    told.filter(|message| message.who == "bridge" && message.text.contains(words)).count()
}

/// The next calls of this kind are not answered, and nothing is done.
fn fails(side: &Side, call: &str, times: u32) {
    side.standin.wish(Wish::Fault(Fault { call: Some(call.to_owned()), times, wrong: Wrong::FailBefore })).unwrap();
}

/// Does something, and waits until it is explained once more.
async fn explained(side: &Side, person: &Person, call: &str, body: Value, words: &str) {
    let before = times_told(side, person, words);
    person.post::<Value>(call, body.clone()).await.unwrap();
    eventually(&format!("{call} with {body} is explained"), || async { times_told(side, person, words) > before })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_thing_that_the_room_refuses_is_undone_and_explained() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    let root = b.person("root", &["user", "admin"]);
    root.join(at_b).await.unwrap();
    a.has_member(at_a, "root.b.example", true).await;
    let alice_at_b = lunch.alice_at_b().await;
    let undone = "That was undone in #lunch";

    for role in ["Owner", "Moderator", "Leader"] {
        let body = json!({"roomId": at_b, "userId": bob.id});
        explained(b, &root, &format!("channels.add{role}"), body, undone).await;
        b.has_roles(at_b, "bob", &[]).await;
    }
    explained(b, &root, "channels.removeOwner", json!({"roomId": at_b, "userId": alice_at_b}), undone).await;
    b.has_roles(at_b, "alice.a.example", &["owner"]).await;

    for setting in [
        json!({"rid": at_b, "roomName": "canteen"}),
        json!({"rid": at_b, "roomTopic": "mine"}),
        json!({"rid": at_b, "roomDescription": "mine"}),
        json!({"rid": at_b, "roomAnnouncement": "mine"}),
        json!({"rid": at_b, "readOnly": true}),
    ] {
        explained(b, &root, "rooms.saveRoomSettings", setting, undone).await;
        b.holds(at_b, "the room as it was", |room| {
            let texts = [&room.topic, &room.description, &room.announcement];
            room.name == "lunch" && texts.into_iter().all(String::is_empty) && !room.read_only
        })
        .await;
    }
    explained(b, &root, "channels.archive", json!({"roomId": at_b}), undone).await;
    b.holds(at_b, "no archive", |room| !room.archived).await;

    for user in [&alice_at_b, &bob.id] {
        for call in ["rooms.muteUser", "channels.kick", "rooms.banUser"] {
            explained(b, &root, call, json!({"roomId": at_b, "userId": user}), undone).await;
            b.holds(at_b, "everybody as they were", |room| {
                let inside = |name: &str| room.members.contains_key(name);
                inside("bob") && inside("alice.a.example") && room.muted.is_empty() && room.banned.is_empty()
            })
            .await;
        }
    }
    b.has_roles(at_b, "alice.a.example", &["owner"]).await;

    // Rocket.Chat bans nobody who is not in the room: a ban that was lifted is not put back, and nobody is told that it was.
    let carol = b.person("carol", &["user"]);
    carol.join(at_b).await.unwrap();
    a.has_member(at_a, "carol.b.example", true).await;
    let carol_at_a = a.account("carol.b.example").await;
    alice.ban(at_a, &carol_at_a).await.unwrap();
    b.holds(at_b, "the ban", |room| room.banned.iter().any(|name| name == "carol")).await;
    let lifted = json!({"roomId": at_b, "userId": carol.id});
    explained(b, &root, "rooms.unbanUser", lifted, "The ban is lifted on this server only in #lunch").await;

    // Where nobody may write, an administrator of Rocket.Chat may not either.
    alice.set_room(at_a, json!({"readOnly": true})).await.unwrap();
    b.holds(at_b, "read-only", |room| room.read_only).await;
    let message = json!({"message": {"rid": at_b, "msg": "an order"}});
    fails(b, "chat.delete", 1);
    explained(b, &root, "chat.sendMessage", message, "Your message was taken back in #lunch").await;
    b.holds(at_b, "no order", |room| room.messages.iter().all(|message| message.text != "an order")).await;
    alice.set_room(at_a, json!({"readOnly": false})).await.unwrap();
    b.holds(at_b, "open to all", |room| !room.read_only).await;

    lunch.settled("nothing changed").await;
    let at_home = a.held(at_a);
    assert_eq!((at_home.name.as_str(), at_home.topic.as_str(), at_home.archived), ("lunch", "", false));
    assert_eq!(at_home.members["bob.b.example"], Vec::<String>::new());
    assert!(at_home.messages.iter().all(|message| message.text != "an order"));
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_down_on_ones_own_server_is_gone_there_and_whoever_did_it_hears_how_far_it_goes() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, at_a, at_b, .. } = &lunch;
    let root = b.person("root", &["user", "admin"]);
    root.join(at_b).await.unwrap();
    a.has_member(at_a, "root.b.example", true).await;
    // Where deletions are shown the server says who made them.
    b.standin.wish(Wish::Set { setting: "Message_ShowDeletedStatus".to_owned(), value: json!(true) }).unwrap();
    alice.say(at_a, "Alice's words").await.unwrap();
    let copy = b.hears(at_b, "Alice's words").await;
    let edit = json!({"roomId": at_b, "msgId": copy, "text": "root's words"});
    root.post::<Value>("chat.update", edit).await.unwrap();
    fails(b, "chat.update", 1);
    eventually("the edit is explained", || async { times_told(b, &root, "Your edit was") == 1 }).await;
    b.hears(at_b, "Alice's words").await;
    let gone = json!({"roomId": at_b, "msgId": copy});
    explained(b, &root, "chat.delete", gone, "The message is gone on this server only").await;
    lunch.settled("taken down at b").await;
    assert!(b.said(at_b).iter().all(|message| message.id != copy));

    // A file goes like words, and an edit elsewhere does not bring back what was taken down here.
    let file = alice.upload(at_a, "menu.txt", "text/plain", b"soup", "the menu").await.unwrap();
    let copy = b.hears(at_b, "the menu").await;
    let gone = json!({"roomId": at_b, "msgId": copy});
    explained(b, &root, "chat.delete", gone, "The message is gone on this server only").await;
    alice.edit(at_a, &file, "the menu of today").await.unwrap();
    lunch.settled("edited at a").await;
    assert!(b.said(at_b).iter().all(|message| message.files.is_empty() && !message.text.contains("menu")));
    let at_home: Vec<String> = a.said(at_a).into_iter().map(|message| message.text).collect();
    assert!(at_home.contains(&"Alice's words".to_owned()) && at_home.contains(&"the menu of today".to_owned()));
    lunch.nothing_lost().await;
    lunch.close().await;
}
