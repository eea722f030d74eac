//! Deletions in Rocket.Chat that nobody heard as they happened, because the room's streams were not open yet: with many rooms they open
//! late after each new connection.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_servers.rs"]
mod two_servers;

use rocketmesh_standin::{HeldRoom, Wish};
use support::eventually;
use two_servers::{Lunch, Side};

/// More messages than are looked at one by one after a new connection.
const MANY: usize = 25;

/// Ends the node's connection, and waits until it has another one and has caught up on a room.
async fn reconnected(side: &Side, rid: &str) {
    let asked = |call: &str| side.standin.requests().iter().filter(|asked| asked.path.ends_with(call)).count();
    let before = (asked("subscriptions.get"), side.calls("chat.getDeletedMessages", rid));
    side.standin.wish(Wish::DropWebsockets).unwrap();
    eventually("the room is caught up on", || async {
        asked("subscriptions.get") > before.0 && side.calls("chat.getDeletedMessages", rid) > before.1
    })
    .await;
}

fn is_gone(text: &'static str) -> impl Fn(&HeldRoom) -> bool {
    move |room| room.messages.iter().all(|message| message.text != text)
}

/// Alice has said something long ago and takes it back, and the room's streams of her server are not open. Then something else was heard.
async fn regretted_unheard(lunch: &Lunch) {
    let Lunch { a, b, alice, at_a, at_b, .. } = lunch;
    let regretted = alice.say(at_a, "regretted").await.unwrap();
    for number in 0..MANY {
        alice.say(at_a, &format!("number {number}")).await.unwrap();
    }
    b.hears(at_b, &format!("number {}", MANY - 1)).await;
    b.hears(at_b, "regretted").await;
    a.standin.wish(Wish::HoldSubscriptions { held: true }).unwrap();
    reconnected(a, at_a).await;
    alice.say(at_a, "caught up").await.unwrap();
    b.hears(at_b, "caught up").await;
    alice.delete(at_a, &regretted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_before_the_streams_of_its_room_are_open_is_found_once_they_are() {
    let lunch = Lunch::open().await;
    regretted_unheard(&lunch).await;
    let Lunch { a, b, alice, at_a, at_b, .. } = &lunch;
    alice.say(at_a, "after it").await.unwrap();
    b.hears(at_b, "after it").await;
    a.standin.wish(Wish::HoldSubscriptions { held: false }).unwrap();
    b.holds(at_b, "the deletion", is_gone("regretted")).await;
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_not_heard_is_asked_for_however_long_messages_were_heard_after_it() {
    let mut lunch = Lunch::open().await;
    regretted_unheard(&lunch).await;
    lunch.a.standin.wish(Wish::Ahead { ms: 60_000 }).unwrap();
    lunch.alice.say(&lunch.at_a, "a minute later").await.unwrap();
    lunch.b.hears(&lunch.at_b, "a minute later").await;
    lunch.a.end().await;
    lunch.a.begin().await;
    lunch.a.node().connect(lunch.b.node()).await;
    lunch.b.holds(&lunch.at_b, "the deletion", is_gone("regretted")).await;
    lunch.nothing_lost().await;
    lunch.close().await;
}
