//! Direct rooms between a person of one Rocket.Chat server and a person of another: two are in them, and nobody is asked first.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_servers.rs"]
mod two_servers;

use rocketmesh_standin::HeldRoom;
use serde_json::{Value, json};
use support::eventually;
use two_servers::{Lunch, Side};

/// Whether a room is the direct one of these two alone.
fn between(one: &'static str, other: &'static str) -> impl Fn(&HeldRoom) -> bool {
    move |room| {
        let members: Vec<&str> = room.members.keys().map(String::as_str).collect();
        room.kind == "d" && (members == [one, other] || members == [other, one])
    }
}

/// What was said in a room, by whom.
fn said(side: &Side, rid: &str) -> Vec<(String, String)> {
    side.said(rid).into_iter().map(|message| (message.who, message.text)).collect()
}

/// The room of the mesh that a side's direct room is.
async fn direct_of(side: &Side) -> Option<String> {
    side.rooms().await.into_iter().find(|room| room.kind == "d").map(|room| room.room)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_to_the_account_of_somebody_elsewhere_reaches_them() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, .. } = &lunch;
    let at_a = alice.direct("bob.b.example").await.unwrap();
    let first = alice.say(&at_a, "between *us*, @bob.b.example").await.unwrap();
    let at_b = b.finds("the direct room", between("bob", "alice.a.example")).await.id;
    let at_bobs = b.hears(&at_b, "between *us*, @bob").await;
    assert!(between("alice", "bob.b.example")(&a.held(&at_a)), "nobody else is in it");

    bob.reply(&at_b, &at_bobs, "and nobody else").await.unwrap();
    a.hears(&at_a, "and nobody else").await;
    let reply = a.said(&at_a).into_iter().find(|message| message.text == "and nobody else").unwrap();
    assert_eq!((reply.who.as_str(), reply.thread.as_deref()), ("bob.b.example", Some(first.as_str())));
    alice.edit(&at_a, &first, "between us two").await.unwrap();
    b.hears(&at_b, "between us two").await;
    bob.react(&at_bobs, ":ear:").await.unwrap();
    a.holds(&at_a, "a reaction", |room| {
        room.messages.iter().any(|message| message.reactions.get(":ear:") == Some(&vec!["bob.b.example".to_owned()]))
    })
    .await;
    let file = alice.upload(&at_a, "plan.bin", "application/octet-stream", &[7; 5_000], "").await.unwrap();
    b.holds(&at_b, "the file", |room| {
        room.messages.iter().flat_map(|message| &message.files).any(|file| file.name == "plan.bin")
    })
    .await;
    alice.delete(&at_a, &file).await.unwrap();
    b.holds(&at_b, "the deletion", |room| room.messages.iter().all(|message| message.files.is_empty())).await;

    // Each thing came once, and nothing came back.
    assert_eq!((said(a, &at_a).len(), said(b, &at_b).len()), (2, 2));
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_room_of_a_few_has_all_of_them_on_both_servers_and_is_none_of_the_rooms_of_two() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    let (erin, carol) = (a.person("erin", &["user"]), b.person("carol", &["user"]));
    carol.join(at_b).await.unwrap();
    a.has_member(at_a, "carol.b.example", true).await;
    let two = alice.direct("bob.b.example").await.unwrap();
    alice.say(&two, "just you").await.unwrap();
    let twos = b.finds("the room of two", between("bob", "alice.a.example")).await.id;
    b.hears(&twos, "just you").await;

    let few = alice.direct("erin,bob.b.example,carol.b.example").await.unwrap();
    alice.say(&few, "all of you").await.unwrap();
    let all = |room: &HeldRoom| {
        let members: Vec<&str> = room.members.keys().map(String::as_str).collect();
        room.kind == "d" && members == ["alice.a.example", "bob", "carol", "erin.a.example"]
    };
    let fews = b.finds("the room of four", all).await.id;
    b.hears(&fews, "all of you").await;
    // Whoever is in it speaks in it, and is heard by everybody else.
    for (person, here, there) in
        [(bob, (b, &fews), (a, &few)), (&carol, (b, &fews), (a, &few)), (&erin, (a, &few), (b, &fews))]
    {
        let text = format!("{} here", person.username);
        person.say(here.1, &text).await.unwrap();
        there.0.hears(there.1, &text).await;
    }
    let last = bob.say(&twos, "and just you").await.unwrap();
    a.hears(&two, "and just you").await;
    bob.edit(&twos, &last, "and just us").await.unwrap();
    a.hears(&two, "and just us").await;
    for (side, two, few) in [(a, &two, &few), (b, &twos, &fews)] {
        assert_eq!((said(side, two).len(), said(side, few).len()), (2, 4), "{}", side.name);
    }
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_to_a_server_that_takes_no_direct_rooms_from_theirs_is_told_and_heard_once_it_does() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, .. } = &lunch;
    let policy = |direct: &str| {
        json!({"federate": "open", "invite": "open", "direct": direct, "listed": [],
            "requests_per_minute": 0, "events_per_minute": 0})
    };
    assert_eq!(b.node().raw("PUT", "/v1/policy", Some(policy("listed"))).await.0, 200);
    let at_a = alice.direct("bob.b.example").await.unwrap();
    alice.say(&at_a, "are you there?").await.unwrap();
    a.told(alice, "b.example does not take direct messages from this server until its administrator allows it").await;
    assert!(b.standin.dump().iter().all(|room| !between("bob", "alice.a.example")(room)), "nobody hears of it");

    assert_eq!(b.node().raw("PUT", "/v1/policy", Some(policy("open"))).await.0, 200);
    lunch.apart(true).await;
    lunch.apart(false).await;
    let at_b = b.finds("the direct room", between("bob", "alice.a.example")).await.id;
    b.hears(&at_b, "are you there?").await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_opens_a_direct_room_of_two() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, .. } = &lunch;
    let bot = alice.direct("bridge").await.unwrap();
    alice.say(&bot, "dm @bob:b.example").await.unwrap();
    a.told(alice, "There is a direct room with @bob:b.example in your list now").await;
    let at_a = a.finds("the direct room", between("alice", "bob.b.example")).await.id;
    let at_b = b.finds("the same for Bob", between("bob", "alice.a.example")).await.id;
    // Asked again it is the same.
    alice.say(&bot, "dm @bob:b.example").await.unwrap();
    bob.say(&at_b, "hello yourself").await.unwrap();
    a.hears(&at_a, "hello yourself").await;
    alice.say(&bot, "status").await.unwrap();
    a.told(alice, "your direct room with bob").await;
    // Nobody else is told of it.
    let erin = a.person("erin", &["user"]);
    let erins = erin.direct("bridge").await.unwrap();
    erin.say(&erins, "status").await.unwrap();
    a.told(&erin, "One room is open to other servers:\n• #lunch").await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_write_to_each_other_at_the_same_moment_are_in_one_room() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, .. } = &lunch;
    lunch.apart(true).await;
    let at_a = alice.direct("bob.b.example").await.unwrap();
    alice.say(&at_a, "from a").await.unwrap();
    let at_b = bob.direct("alice.a.example").await.unwrap();
    bob.say(&at_b, "from b").await.unwrap();
    for side in [a, b] {
        eventually("the direct room begins in the mesh", || async { direct_of(side).await.is_some() }).await;
    }
    assert_ne!(direct_of(a).await, direct_of(b).await, "two were made");
    lunch.apart(false).await;
    a.hears(&at_a, "from b").await;
    b.hears(&at_b, "from a").await;
    eventually("both write to the same room", || async { direct_of(a).await == direct_of(b).await }).await;
    alice.say(&at_a, "one room").await.unwrap();
    b.hears(&at_b, "one room").await;
    bob.say(&at_b, "it is").await.unwrap();
    a.hears(&at_a, "it is").await;
    // What was said in the room that is written to no more is changed there.
    let from_b = b.said(&at_b).into_iter().find(|message| message.text == "from b").unwrap().id;
    bob.edit(&at_b, &from_b, "from Bob").await.unwrap();
    a.hears(&at_a, "from Bob").await;
    let from_a = a.said(&at_a).into_iter().find(|message| message.text == "from a").unwrap().id;
    alice.edit(&at_a, &from_a, "from Alice").await.unwrap();
    b.hears(&at_b, "from Alice").await;
    assert_eq!((said(a, &at_a).len(), said(b, &at_b).len()), (4, 4));
    let directs = |side: &Side| side.standin.dump().into_iter().filter(|room| room.kind == "d").count();
    assert_eq!((directs(a), directs(b)), (1, 1));
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_to_somebody_while_the_node_was_away_reaches_them() {
    let mut lunch = Lunch::open().await;
    lunch.a.end().await;
    let at_a = lunch.alice.direct("bob.b.example").await.unwrap();
    lunch.alice.say(&at_a, "are you there?").await.unwrap();
    lunch.a.begin().await;
    lunch.a.node().connect(lunch.b.node()).await;
    let at_b = lunch.b.finds("the direct room", between("bob", "alice.a.example")).await.id;
    lunch.b.hears(&at_b, "are you there?").await;
    // Closed on purpose it stays so, until something more is said.
    let path = format!("/v1/rocketchat/rooms/{at_a}");
    assert_eq!(lunch.a.node().raw("DELETE", &path, None).await.0, 204);
    let asked = lunch.a.asked_for_directs();
    eventually("it is looked for again", || async { lunch.a.asked_for_directs() > asked + 2 }).await;
    assert!(direct_of(&lunch.a).await.is_none());
    lunch.alice.say(&at_a, "once more").await.unwrap();
    lunch.b.hears(&at_b, "once more").await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_room_that_a_crash_kept_from_being_noted_is_taken_and_no_second_one_is_made() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, .. } = &lunch;
    // What a crash leaves behind: a room of the mesh, and nothing here that is known to be it.
    let request = json!({"user": "alice", "type": "d", "with": [format!("@bob:{}", b.node().id())]});
    let made: Value = a.node().post("/v1/rooms", request).await;
    let at_a = alice.direct("bob.b.example").await.unwrap();
    alice.say(&at_a, "here again").await.unwrap();
    let at_b = b.finds("the direct room", between("bob", "alice.a.example")).await.id;
    b.hears(&at_b, "here again").await;
    let room = made["id"].as_str();
    assert!(room.is_some(), "{made}");
    assert_eq!((direct_of(a).await.as_deref(), direct_of(b).await.as_deref()), (room, room));
    lunch.close().await;
}
