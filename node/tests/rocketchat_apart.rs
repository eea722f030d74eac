//! What two servers did while they did not hear of each other, as people see it once they do.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_servers.rs"]
mod two_servers;

use rocketmesh_standin::{HeldRoom, Wish};
use serde_json::{Value, json};
use support::{TestNode, converged, eventually};
use two_servers::{Lunch, Side, cut, set_role};

async fn act(node: &TestNode, room: &str, event: Value) {
    let _: Value = node.post(&format!("/v1/rooms/{room}/events"), event).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_said_who_was_banned_at_that_moment_is_taken_away_where_it_was_shown() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    bob.say(at_b, "before").await.unwrap();
    a.hears(at_a, "before").await;
    let asked = bob.say(at_b, "asked").await.unwrap();
    a.hears(at_a, "asked").await;
    lunch.apart(true).await;
    bob.say(at_b, "meanwhile").await.unwrap();
    bob.edit(at_b, &asked, "asked again").await.unwrap();
    let of_bob = bob.upload(at_b, "plan.bin", "application/octet-stream", &[7; 2_000], "a plan").await.unwrap();
    bob.react(&b.hears(at_b, "meanwhile").await, ":wave:").await.unwrap();
    alice.ban(at_a, &lunch.bob_at_a().await).await.unwrap();
    alice.say(at_a, "Bob is out").await.unwrap();
    for (side, text) in [(a, "Bob is out"), (b, "meanwhile")] {
        eventually("what each said is in the room", || async {
            side.node().texts(&lunch.room).await.iter().any(|known| known == text)
        })
        .await;
    }
    lunch.apart(false).await;
    let gone = |text: &'static str| move |room: &HeldRoom| room.messages.iter().all(|message| message.text != text);
    b.holds(at_b, "the end of what is withheld", gone("meanwhile")).await;
    b.holds(at_b, "the end of the file", |room| room.messages.iter().all(|message| message.id != of_bob)).await;
    b.hears(at_b, "asked").await;
    b.holds(at_b, "the ban", |room| room.banned == ["bob"]).await;
    let at_alices: Vec<String> = a.said(at_a).into_iter().map(|message| message.text).collect();
    assert_eq!(at_alices, ["before", "asked", "Bob is out"], "and it was never shown where he was banned");
    assert!(b.said(at_b).iter().any(|message| message.text == "before"), "what was said before stays");
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_away_comes_back_when_the_ban_turns_out_to_be_void() {
    // Of three servers one has a Rocket.Chat; the others are moderated over their API.
    let a = Side::start("a.example").await;
    let b = TestNode::start("b.example", &[]).await;
    let c = TestNode::start("c.example", &[]).await;
    for other in [&b, &c] {
        a.node().connect(other).await;
    }
    b.connect(&c).await;
    let alice = a.person("alice", &["user"]);
    let at_a = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    let room = a.federate(json!({"channel": "lunch"})).await.room;
    let dave = a.person("dave", &["user"]);
    dave.join(&at_a).await.unwrap();
    b.join(&room, "mod").await;
    c.join(&room, "boss").await;
    converged(&[a.node(), &b, &c], &room).await;
    for (user, role) in [("mod.b.example", "channels.addModerator"), ("boss.c.example", "channels.addOwner")] {
        a.has_member(&at_a, user, true).await;
        set_role(&alice, &at_a, &a.account(user).await, role).await;
    }
    let of_dave = format!("@dave:{}", a.node().id());
    for (node, user, role) in [(&b, "mod", "moderator"), (&c, "boss", "owner")] {
        eventually("the roles arrive", || async {
            let (_, members) = node.raw("GET", &format!("/v1/rooms/{room}/members"), None).await;
            let has = |name: String, role: &str| {
                members["members"].as_array().unwrap().iter().any(|it| it["user"] == name && it["role"] == role)
            };
            has(format!("@{user}:{}", node.id()), role) && has(of_dave.clone(), "member")
        })
        .await;
    }
    converged(&[a.node(), &b, &c], &room).await;

    // Three that do not hear of each other: one takes the moderator's authority, who bans Dave, who says something.
    let all = [(a.node(), &b), (a.node(), &c), (&b, &c)];
    cut(&all, true).await;
    let of_mod = format!("@mod:{}", b.id());
    act(&c, &room, json!({"user": "boss", "kind": "room.role", "member": of_mod, "role": "member"})).await;
    act(&b, &room, json!({"user": "mod", "kind": "room.member", "membership": "ban", "member": of_dave})).await;
    let first = dave.say(&at_a, "soup?").await.unwrap();
    eventually("Dave's words are in the room", || async {
        a.node().texts(&room).await.iter().any(|text| text == "soup?")
    })
    .await;
    cut(&all[..1], false).await;
    a.node().connect(&b).await;
    a.holds(&at_a, "the end of what is withheld", |room| room.messages.iter().all(|message| message.text != "soup?"))
        .await;
    a.holds(&at_a, "the ban", |room| room.banned == ["dave"]).await;

    cut(&all[1..], false).await;
    a.node().connect(&c).await;
    let again = a.hears(&at_a, "soup?").await;
    assert_ne!(again, first, "an id that was deleted is not used again");
    a.has_member(&at_a, "dave", true).await;
    let mut a = a;
    a.end().await;
    b.stop().await;
    c.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_message_told_of_is_found_when_the_room_is_compared() {
    let mut lunch = Lunch::open().await;
    let (at_a, at_b) = (lunch.at_a.clone(), lunch.at_b.clone());
    lunch.alice.set_room(&at_a, json!({"roomTopic": "soup", "roomDescription": "at noon"})).await.unwrap();
    lunch.b.holds(&at_b, "the topic", |room| room.topic == "soup" && room.description == "at noon").await;
    lunch.settled("all the same").await;
    lunch.a.compared(&at_a).await;
    lunch.b.compared(&at_b).await;

    // A program of the administrator's acts for nobody, here while the node is away, there while it is not.
    lunch.a.end().await;
    let (of_a, of_b) = (lunch.a.machine(), lunch.b.machine());
    let bob_at_a = lunch.a.account("bob.b.example").await;
    of_a.set_room(&at_a, json!({"roomTopic": "by a program", "roomDescription": "of a"})).await.unwrap();
    set_role(&of_a, &at_a, &bob_at_a, "channels.addModerator").await;
    of_b.set_room(&at_b, json!({"roomAnnouncement": "nobody may", "readOnly": true})).await.unwrap();
    of_b.kick(&at_b, &lunch.alice_at_b().await).await.unwrap();
    // What Bob may not is undone, and he is told; and nobody is put out of a room by nobody.
    lunch.b.standin.wish(Wish::DropWebsockets).unwrap();
    lunch.b.told(&lunch.bob, "That was undone in #lunch").await;
    lunch.b.holds(&at_b, "the room as it was", |room| !room.read_only && room.announcement.is_empty()).await;
    lunch.b.has_roles(&at_b, "alice.a.example", &["owner"]).await;

    // What Alice, who made the room, may do counts as done by her.
    lunch.a.begin().await;
    lunch.a.node().connect(lunch.b.node()).await;
    lunch.b.holds(&at_b, "the topic", |room| room.topic == "by a program" && room.description == "of a").await;
    lunch.b.has_roles(&at_b, "bob", &["moderator"]).await;
    lunch.settled("the same again").await;
    let (here, there) = (lunch.a.held(&at_a), lunch.b.held(&at_b));
    assert_eq!((here.topic, here.description, here.read_only), (there.topic, there.description, there.read_only));
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_sides_changed_is_as_the_room_has_it() {
    let mut lunch = Lunch::open().await;
    let (at_a, at_b) = (lunch.at_a.clone(), lunch.at_b.clone());
    set_role(&lunch.alice, &at_a, &lunch.bob_at_a().await, "channels.addOwner").await;
    lunch.b.has_roles(&at_b, "bob", &["owner"]).await;
    lunch.alice.set_room(&at_a, json!({"roomTopic": "soup"})).await.unwrap();
    lunch.b.holds(&at_b, "the topic", |room| room.topic == "soup").await;
    lunch.settled("all the same").await;
    lunch.a.compared(&at_a).await;

    lunch.a.end().await;
    lunch.a.machine().set_room(&at_a, json!({"roomTopic": "by a program"})).await.unwrap();
    lunch.bob.set_room(&at_b, json!({"roomTopic": "by Bob"})).await.unwrap();
    lunch.a.begin().await;
    lunch.a.node().connect(lunch.b.node()).await;
    // Whether the program's topic is told before Bob's is here is chance; told at once, the room decides which of the two it is.
    let topics = || (lunch.a.held(&at_a).topic, lunch.b.held(&at_b).topic);
    let decided = || async {
        let (here, there) = topics();
        here == there && here != "soup"
    };
    eventually("one topic on both sides", decided).await;
    lunch.settled("decided").await;
    let (here, there) = topics();
    assert_eq!(here, there);
    assert!(["by Bob", "by a program"].contains(&here.as_str()), "{here}");
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_opened_brings_along_what_it_was() {
    let (a, b) = tokio::join!(Side::start("a.example"), Side::start("b.example"));
    a.node().connect(b.node()).await;
    let (alice, carol, bob) = (a.person("alice", &["user"]), a.person("carol", &["user"]), b.person("bob", &["user"]));
    let at_a = alice.create_channel("lunch", &["bridge", "carol"]).await.unwrap();
    alice.set_room(&at_a, json!({"roomTopic": "soup", "roomDescription": "at noon"})).await.unwrap();
    alice.set_room(&at_a, json!({"roomAnnouncement": "no dogs", "readOnly": true})).await.unwrap();
    set_role(&alice, &at_a, &carol.id, "channels.addModerator").await;
    let room = a.federate(json!({"channel": "lunch"})).await.room;
    let at_b = b.federate(json!({"room": room, "user": "bob"})).await.rid;
    b.holds(&at_b, "what the channel was", |room| {
        (room.topic.as_str(), room.description.as_str(), room.announcement.as_str()) == ("soup", "at noon", "no dogs")
            && room.read_only
    })
    .await;
    b.has_roles(&at_b, "carol.a.example", &["moderator"]).await;
    b.has_roles(&at_b, "alice.a.example", &["owner"]).await;
    assert!(bob.say(&at_b, "may I?").await.is_err(), "it is read-only for whoever is new");
    let (mut a, mut b) = (a, b);
    a.end().await;
    b.end().await;
}
