//! Two Rocket.Chat servers, a node beside each, and people who talk in one room as if they were on one server.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_servers.rs"]
mod two_servers;

use std::time::Instant;

use rocketmesh_standin::{HeldRoom, Person, Seen, Wish};
use serde_json::json;
use support::PATIENCE;
use two_servers::{GLANCE, Side};

/// Alice's channel on one server, which Bob has entered on the other.
struct Lunch {
    a: Side,
    b: Side,
    alice: Person,
    bob: Person,
    /// The channel on each.
    at_a: String,
    at_b: String,
}

impl Lunch {
    async fn open() -> Self {
        let (a, b) = tokio::join!(Side::start("a.example"), Side::start("b.example"));
        a.node().connect(b.node()).await;
        let (alice, bob) = (a.standin.add_person("alice").unwrap(), b.standin.add_person("bob").unwrap());
        let at_a = alice.create_channel("lunch", &["bridge"]).await.unwrap();
        let opened = a.federate(json!({"channel": "lunch"})).await;
        assert_eq!((opened.rid.as_str(), opened.kind.as_str()), (at_a.as_str(), "c"));
        let entered = b.federate(json!({"room": opened.room, "user": "bob"})).await;
        assert_eq!(entered.name, "lunch");
        Lunch { a, b, alice, bob, at_a, at_b: entered.rid }
    }

    /// Both sides hold so many messages, each once: nothing came back to where it was said. What either says last comes after whatever
    /// would have come back.
    async fn same(&self, count: usize) {
        self.alice.say(&self.at_a, "last of a").await.unwrap();
        self.b.hears(&self.at_b, "last of a").await;
        self.bob.say(&self.at_b, "last of b").await.unwrap();
        self.a.hears(&self.at_a, "last of b").await;
        for (side, rid) in [(&self.a, &self.at_a), (&self.b, &self.at_b)] {
            let words: Vec<String> = side.said(rid).into_iter().map(|message| message.text).collect();
            assert_eq!(words.len(), count + 2, "{}: {words:?}", side.name);
        }
    }

    async fn close(mut self) {
        self.a.end().await;
        self.b.end().await;
    }
}

#[tokio::test]
async fn people_on_two_servers_talk_in_one_room() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b } = &lunch;
    let first = alice.say(at_a, "Who is *hungry*?").await.unwrap();
    let at_bobs = b.hears(at_b, "Who is *hungry*?").await;
    let shown = b.said(at_b).into_iter().find(|message| message.id == at_bobs).unwrap();
    assert_eq!(shown.who, "alice.a.example");

    bob.reply(at_b, &at_bobs, "Me, @alice.a.example!").await.unwrap();
    a.hears(at_a, "Me, @alice!").await;
    let reply = a.said(at_a).into_iter().find(|message| message.text == "Me, @alice!").unwrap();
    assert_eq!((reply.who.as_str(), reply.thread.as_deref()), ("bob.b.example", Some(first.as_str())));

    alice.edit(at_a, &first, "Who is hungry now?").await.unwrap();
    b.hears(at_b, "Who is hungry now?").await;
    bob.react(&at_bobs, ":pizza:").await.unwrap();
    a.holds(at_a, "a reaction", |room| {
        room.messages.iter().any(|message| message.reactions.get(":pizza:") == Some(&vec!["bob.b.example".to_owned()]))
    })
    .await;
    bob.unreact(&at_bobs, ":pizza:").await.unwrap();
    a.holds(at_a, "no reaction", |room| room.messages.iter().all(|message| message.reactions.is_empty())).await;

    let quote = format!("[ ]({}/channel/lunch?msg={at_bobs}) soon", b.standin.url());
    bob.say(at_b, &quote).await.unwrap();
    a.hears(at_a, &format!("[ ]({}/channel/lunch?msg={first}) soon", a.standin.url())).await;

    alice.set_room(at_a, json!({"roomTopic": "soup"})).await.unwrap();
    b.holds(at_b, "the topic", |room| room.topic == "soup").await;
    // Names and links differ, and nothing came back to where it was said.
    assert_eq!((a.said(at_a).len(), b.said(at_b).len()), (3, 3));

    alice.delete(at_a, &first).await.unwrap();
    // It has a reply, so that the server leaves an empty place there.
    b.holds(at_b, "the deletion", |room| {
        let gone = |kind: &Option<String>| kind.as_deref() == Some("rm");
        room.messages.iter().all(|message| message.id != at_bobs || gone(&message.kind) && message.text.is_empty())
    })
    .await;
    lunch.close().await;
}

#[tokio::test]
async fn files_go_along() {
    let lunch = Lunch::open().await;
    let Lunch { b, alice, at_a, at_b, .. } = &lunch;
    let menu: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    alice.upload(at_a, "menu.bin", "application/octet-stream", &menu, "today").await.unwrap();
    let has_it = |room: &HeldRoom| {
        let sum = rocketmesh_standin::sha256(&menu);
        room.messages.iter().flat_map(|message| &message.files).any(|file| file.sha256.as_deref() == Some(sum.as_str()))
    };
    let room = b.holds(at_b, "the file", has_it).await;
    assert!(room.messages.iter().any(|message| message.text == "today"));
    lunch.close().await;
}

#[tokio::test]
async fn what_happened_while_one_was_away_is_there_once_and_in_order() {
    let mut lunch = Lunch::open().await;
    let (at_a, at_b) = (lunch.at_a.clone(), lunch.at_b.clone());
    lunch.alice.say(&at_a, "one").await.unwrap();
    lunch.b.hears(&at_b, "one").await;

    // The node beside Bob's server is away while both talk.
    lunch.b.end().await;
    lunch.alice.say(&at_a, "two").await.unwrap();
    lunch.bob.say(&at_b, "three").await.unwrap();
    lunch.b.begin().await;
    lunch.a.node().connect(lunch.b.node()).await;
    lunch.b.hears(&at_b, "two").await;
    lunch.a.hears(&at_a, "three").await;

    // Alice's server is away for a moment, and its connections end.
    lunch.a.standin.wish(Wish::GoAway { ms: 1500 }).unwrap();
    lunch.bob.say(&at_b, "four").await.unwrap();
    lunch.a.hears(&at_a, "four").await;
    lunch.a.standin.wish(Wish::DropWebsockets).unwrap();
    lunch.alice.say(&at_a, "five").await.unwrap();
    lunch.b.hears(&at_b, "five").await;
    lunch.same(5).await;
    let heard: Vec<String> = lunch.b.said(&at_b).into_iter().map(|message| message.text).collect();
    assert!(heard.iter().position(|text| text == "one") < heard.iter().position(|text| text == "two"));
    lunch.close().await;
}

#[tokio::test]
async fn a_restricted_workspace_is_told_and_what_is_for_it_waits() {
    let lunch = Lunch::open().await;
    let Lunch { a, bob, at_a, at_b, .. } = &lunch;
    bob.say(at_b, "before").await.unwrap();
    a.hears(at_a, "before").await;
    a.standin.wish(Wish::Restrict { restricted: true }).unwrap();
    bob.say(at_b, "meanwhile").await.unwrap();
    let begun = Instant::now();
    loop {
        let rooms = a.rooms().await;
        if rooms[0].problem.as_ref().is_some_and(|problem| problem.contains("restricted")) {
            assert!(rooms[0].waiting > 0, "what waits is shown");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{rooms:?}");
        tokio::time::sleep(GLANCE).await;
    }
    let (_, status) = a.node().raw("GET", "/v1/rocketchat", None).await;
    assert!(status["problems"].as_array().unwrap().iter().any(|one| one["code"] == "restricted_workspace"), "{status}");
    lunch.close().await;
}

#[tokio::test]
async fn the_bot_opens_rooms_and_answers() {
    let side = Side::start("a.example").await;
    let alice = side.standin.add_person("alice").unwrap();
    alice.create_channel("tea", &["bridge"]).await.unwrap();
    let bot = alice.direct("bridge").await.unwrap();
    let answered = |text: &'static str| {
        move |seen: &[Seen]| seen.iter().any(|one| one.who() == "bridge" && one.msg.contains(text))
    };
    alice.say(&bot, "help").await.unwrap();
    alice.until(&bot, "help", PATIENCE, answered("federate #channel")).await.unwrap();
    alice.say(&bot, "federate #tea").await.unwrap();
    alice.until(&bot, "the room", PATIENCE, answered("#tea is open to other servers now")).await.unwrap();
    assert_eq!(side.rooms().await[0].name, "tea");
    let question = alice.say(&bot, "make coffee").await.unwrap();
    alice.until(&bot, "no", PATIENCE, answered("I do not know `make`")).await.unwrap();
    // It comes whole again, and is no new question.
    alice.react(&question, ":coffee:").await.unwrap();
    alice.unreact(&question, ":coffee:").await.unwrap();
    alice.say(&bot, "leave #tea").await.unwrap();
    alice.until(&bot, "the end", PATIENCE, answered("own again")).await.unwrap();
    let seen = alice.messages(&bot).await.unwrap();
    assert_eq!(seen.iter().filter(|one| one.msg.contains("I do not know `make`")).count(), 1, "{seen:?}");
    let begun = Instant::now();
    while !side.rooms().await.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the room is let go");
        tokio::time::sleep(GLANCE).await;
    }
    let mut side = side;
    side.end().await;
}
