//! What people do to rooms and to each other, on two Rocket.Chat servers with a node beside each: every row of the mapping, both ways.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_servers.rs"]
mod two_servers;

use rocketmesh_node::api::types::MessageFile;
use rocketmesh_standin::{HeldRoom, Wish};
use serde_json::{Value, json};
use two_servers::{Lunch, Side, set_role};

/// Whether somebody is banned from a room.
fn bans(username: &'static str, banned: bool) -> impl Fn(&HeldRoom) -> bool {
    move |room| room.banned.iter().any(|name| name == username) == banned
}

/// Whether somebody has no voice in a room.
fn mutes(username: &'static str, muted: bool) -> impl Fn(&HeldRoom) -> bool {
    move |room| room.muted.iter().any(|name| name == username) == muted
}

#[tokio::test(flavor = "multi_thread")]
async fn name_texts_and_switches_of_a_room_are_the_same_on_both_servers() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    set_role(alice, at_a, &lunch.bob_at_a().await, "channels.addOwner").await;
    b.has_roles(at_b, "bob", &["owner"]).await;

    alice.set_room(at_a, json!({"roomTopic": "soup", "roomDescription": "at noon"})).await.unwrap();
    alice.set_room(at_a, json!({"roomAnnouncement": "no dogs", "readOnly": true})).await.unwrap();
    alice.set_room(at_a, json!({"roomName": "midday"})).await.unwrap();
    b.holds(at_b, "what Alice set", |room| {
        (room.topic.as_str(), room.description.as_str(), room.announcement.as_str()) == ("soup", "at noon", "no dogs")
            && room.read_only
            && room.name == "midday"
    })
    .await;
    // Owners speak in a read-only room, on both servers.
    lunch.settled("read only").await;

    bob.set_room(at_b, json!({"roomTopic": "", "roomDescription": "at one", "roomAnnouncement": "dogs!"}))
        .await
        .unwrap();
    bob.set_room(at_b, json!({"readOnly": false, "roomName": "supper"})).await.unwrap();
    a.holds(at_a, "what Bob set", |room| {
        (room.topic.as_str(), room.description.as_str(), room.announcement.as_str()) == ("", "at one", "dogs!")
            && !room.read_only
            && room.name == "supper"
    })
    .await;

    let archive = |call: &'static str| async move { alice.post::<Value>(call, json!({"roomId": at_a})).await.unwrap() };
    archive("channels.archive").await;
    b.holds(at_b, "the archive", |room| room.archived).await;
    archive("channels.unarchive").await;
    b.holds(at_b, "the end of the archive", |room| !room.archived).await;
    bob.post::<Value>("channels.archive", json!({"roomId": at_b})).await.unwrap();
    a.holds(at_a, "Bob's archive", |room| room.archived).await;
    archive("channels.unarchive").await;
    b.holds(at_b, "the end of Bob's archive", |room| !room.archived).await;
    lunch.settled("open").await;
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_are_given_and_taken_count_on_both_servers() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    b.has_roles(at_b, "alice.a.example", &["owner"]).await;
    let bob_at_a = lunch.bob_at_a().await;
    for (give, take, role) in [
        ("channels.addModerator", "channels.removeModerator", "moderator"),
        ("channels.addLeader", "channels.removeLeader", "leader"),
        ("channels.addOwner", "", "owner"),
    ] {
        set_role(alice, at_a, &bob_at_a, give).await;
        b.has_roles(at_b, "bob", &[role]).await;
        if !take.is_empty() {
            set_role(alice, at_a, &bob_at_a, take).await;
            b.has_roles(at_b, "bob", &[]).await;
        }
    }
    // Beside a higher role a lower one changes nothing, and what is left of two counts.
    set_role(alice, at_a, &bob_at_a, "channels.addModerator").await;
    set_role(alice, at_a, &bob_at_a, "channels.removeModerator").await;
    lunch.settled("still an owner").await;
    b.has_roles(at_b, "bob", &["owner"]).await;
    set_role(alice, at_a, &bob_at_a, "channels.addLeader").await;
    set_role(alice, at_a, &bob_at_a, "channels.removeOwner").await;
    b.has_roles(at_b, "bob", &["leader"]).await;
    set_role(alice, at_a, &bob_at_a, "channels.addOwner").await;
    b.holds(at_b, "the owner", |room| room.members["bob"].iter().any(|role| role == "owner")).await;

    // The other way round.
    let (erin, carol) = (a.person("erin", &["user"]), b.person("carol", &["user"]));
    erin.join(at_a).await.unwrap();
    carol.join(at_b).await.unwrap();
    b.has_member(at_b, "erin.a.example", true).await;
    a.has_member(at_a, "carol.b.example", true).await;
    let erin_at_b = b.account("erin.a.example").await;
    set_role(bob, at_b, &erin_at_b, "channels.addLeader").await;
    a.has_roles(at_a, "erin", &["leader"]).await;
    set_role(bob, at_b, &erin_at_b, "channels.removeLeader").await;
    a.has_roles(at_a, "erin", &[]).await;
    set_role(bob, at_b, &erin_at_b, "channels.addModerator").await;
    a.has_roles(at_a, "erin", &["moderator"]).await;
    set_role(bob, at_b, &carol.id, "channels.addOwner").await;
    a.has_roles(at_a, "carol.b.example", &["owner"]).await;
    set_role(bob, at_b, &carol.id, "channels.removeOwner").await;
    a.has_roles(at_a, "carol.b.example", &[]).await;
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_leaves_or_is_put_out_is_so_on_both_servers() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    let carol = b.person("carol", &["user"]);
    carol.join(at_b).await.unwrap();
    a.has_member(at_a, "carol.b.example", true).await;
    carol.leave(at_b).await.unwrap();
    a.has_member(at_a, "carol.b.example", false).await;

    let bob_at_a = lunch.bob_at_a().await;
    alice.kick(at_a, &bob_at_a).await.unwrap();
    b.has_member(at_b, "bob", false).await;
    bob.join(at_b).await.unwrap();
    a.has_member(at_a, "bob.b.example", true).await;
    alice.ban(at_a, &bob_at_a).await.unwrap();
    b.holds(at_b, "the ban", bans("bob", true)).await;
    alice.post::<Value>("rooms.unbanUser", json!({"roomId": at_a, "userId": bob_at_a})).await.unwrap();
    b.holds(at_b, "the end of the ban", bans("bob", false)).await;
    bob.join(at_b).await.unwrap();
    a.has_member(at_a, "bob.b.example", true).await;

    // Somebody elsewhere may do the same, once they may do it here.
    set_role(alice, at_a, &bob_at_a, "channels.addOwner").await;
    b.has_roles(at_b, "bob", &["owner"]).await;
    let erin = a.person("erin", &["user"]);
    alice.invite(at_a, &erin.id).await.unwrap();
    b.has_member(at_b, "erin.a.example", true).await;
    let erin_at_b = b.account("erin.a.example").await;
    bob.kick(at_b, &erin_at_b).await.unwrap();
    a.has_member(at_a, "erin", false).await;
    // Bob brings her account back in, which asks her; she takes part when she likes.
    bob.invite(at_b, &erin_at_b).await.unwrap();
    a.told(&erin, "invites you to #lunch").await;
    erin.join(at_a).await.unwrap();
    lunch.settled("erin is back").await;
    b.has_member(at_b, "erin.a.example", true).await;
    bob.ban(at_b, &erin_at_b).await.unwrap();
    a.holds(at_a, "Bob's ban", bans("erin", true)).await;
    bob.post::<Value>("rooms.unbanUser", json!({"roomId": at_b, "userId": erin_at_b})).await.unwrap();
    a.holds(at_a, "the end of Bob's ban", bans("erin", false)).await;
    lunch.settled("after the bans").await;
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_muted_on_one_server_has_no_voice_on_the_other() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    let bob_at_a = lunch.bob_at_a().await;
    bob.say(at_b, "said in time").await.unwrap();
    a.hears(at_a, "said in time").await;
    alice.mute(at_a, &bob_at_a, true).await.unwrap();
    b.holds(at_b, "no voice", mutes("bob", true)).await;
    assert!(bob.say(at_b, "not heard").await.is_err());
    alice.mute(at_a, &bob_at_a, false).await.unwrap();
    b.holds(at_b, "the voice", mutes("bob", false)).await;

    set_role(alice, at_a, &bob_at_a, "channels.addModerator").await;
    b.has_roles(at_b, "bob", &["moderator"]).await;
    let erin = a.person("erin", &["user"]);
    erin.join(at_a).await.unwrap();
    b.has_member(at_b, "erin.a.example", true).await;
    let erin_at_b = b.account("erin.a.example").await;
    bob.mute(at_b, &erin_at_b, true).await.unwrap();
    a.holds(at_a, "Erin without a voice", mutes("erin", true)).await;
    bob.mute(at_b, &erin_at_b, false).await.unwrap();
    a.holds(at_a, "Erin with a voice", mutes("erin", false)).await;
    lunch.settled("all speak").await;
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_may_do_here_and_not_in_the_room_is_undone_and_explained() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    let root = b.person("root", &["user", "admin"]);
    root.join(at_b).await.unwrap();
    a.has_member(at_a, "root.b.example", true).await;
    let alice_at_b = lunch.alice_at_b().await;

    set_role(&root, at_b, &bob.id, "channels.addOwner").await;
    b.told(&root, "That was undone in #lunch: only an owner").await;
    b.has_roles(at_b, "bob", &[]).await;
    root.set_room(at_b, json!({"roomName": "canteen", "roomTopic": "mine", "readOnly": true})).await.unwrap();
    b.holds(at_b, "the room as it was", |room| room.name == "lunch" && room.topic.is_empty() && !room.read_only).await;
    root.post::<Value>("channels.archive", json!({"roomId": at_b})).await.unwrap();
    b.told(&root, "only an owner of the room may do this").await;
    b.holds(at_b, "no archive", |room| !room.archived).await;
    root.mute(at_b, &alice_at_b, true).await.unwrap();
    b.told(&root, "only owners and moderators of the room may do this").await;
    b.holds(at_b, "Alice's voice", mutes("alice.a.example", false)).await;
    root.kick(at_b, &alice_at_b).await.unwrap();
    b.has_roles(at_b, "alice.a.example", &["owner"]).await;
    root.ban(at_b, &alice_at_b).await.unwrap();
    b.holds(at_b, "no ban", bans("alice.a.example", false)).await;
    b.has_roles(at_b, "alice.a.example", &["owner"]).await;
    root.kick(at_b, &bob.id).await.unwrap();
    b.has_member(at_b, "bob", true).await;
    lunch.settled("nothing changed").await;
    let at_home = a.held(at_a);
    assert_eq!((at_home.name.as_str(), at_home.topic.as_str(), at_home.read_only), ("lunch", "", false));
    assert_eq!(at_home.members["bob.b.example"], Vec::<String>::new());

    // An administrator who is not even in the room is not drawn into it by what they do.
    let stranger = b.person("stranger", &["user", "admin"]);
    stranger.set_room(at_b, json!({"roomTopic": "theirs"})).await.unwrap();
    b.told(&stranger, "@stranger:b.example is not a member of the room").await;
    b.holds(at_b, "no topic", |room| room.topic.is_empty()).await;
    assert!(!a.held(at_a).members.contains_key("stranger.b.example"));
    alice.set_room(at_a, json!({"roomTopic": "hers"})).await.unwrap();
    b.holds(at_b, "Alice's topic", |room| room.topic == "hers").await;
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_anothers_words_is_undone_and_a_deletion_stays_on_the_server_where_it_was_made() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, .. } = &lunch;
    let root = b.person("root", &["user", "admin"]);
    root.join(at_b).await.unwrap();
    alice.say(at_a, "Alice's words").await.unwrap();
    let of_alice = b.hears(at_b, "Alice's words").await;
    let of_bob = bob.say(at_b, "Bob's words").await.unwrap();
    a.hears(at_a, "Bob's words").await;

    root.edit(at_b, &of_alice, "put into her mouth").await.unwrap();
    b.told(&root, "Your edit was taken back").await;
    b.hears(at_b, "Alice's words").await;
    root.edit(at_b, &of_bob, "put into his mouth").await.unwrap();
    b.hears(at_b, "Bob's words").await;
    root.delete(at_b, &of_alice).await.unwrap();
    lunch.settled("taken down at b").await;
    assert!(b.said(at_b).iter().all(|message| message.id != of_alice), "taking down works on one's own server");
    let at_home: Vec<String> = a.said(at_a).into_iter().map(|message| message.text).collect();
    assert_eq!(&at_home[..2], ["Alice's words", "Bob's words"], "and goes no further");

    // What Bob takes down himself is gone everywhere, and so is what a moderator does.
    bob.delete(at_b, &of_bob).await.unwrap();
    a.holds(at_a, "the deletion", |room| room.messages.iter().all(|message| message.text != "Bob's words")).await;
    let again = bob.say(at_b, "Bob's last words").await.unwrap();
    let at_a_again = a.hears(at_a, "Bob's last words").await;
    alice.edit(at_a, &at_a_again, "Bob's last words, mended").await.unwrap();
    b.hears(at_b, "Bob's last words, mended").await;
    alice.delete(at_a, &at_a_again).await.unwrap();
    b.holds(at_b, "the moderator's deletion", |room| room.messages.iter().all(|message| message.id != again)).await;
    lunch.nothing_lost().await;
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_stays_as_private_as_it_was_when_it_was_opened() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b: _, room } = &lunch;
    alice.set_room(at_a, json!({"roomType": "p"})).await.unwrap();
    a.told(alice, "#lunch is public again").await;
    assert_eq!(a.held(at_a).kind, "c");
    lunch.settled("public as before").await;

    // A private group, into which Bob is asked by its bot and comes by his.
    let club = alice.create_group("club", &["bridge"]).await.unwrap();
    let bot = alice.direct("bridge").await.unwrap();
    alice.say(&bot, "federate #club").await.unwrap();
    a.told(alice, "#club is open to other servers now").await;
    alice.say(&bot, "invite @bob:b.example #club").await.unwrap();
    b.told(bob, "invites you to").await;
    let opened = a.rooms().await.into_iter().find(|room| room.name == "club").unwrap();
    let bots = bob.direct("bridge").await.unwrap();
    // A channel is not the place for it.
    let pub_here = bob.create_channel("pub", &["bridge"]).await.unwrap();
    bob.say(&bots, &format!("join {} #pub", opened.room)).await.unwrap();
    b.told(bob, "the channel here is public and the room is not").await;
    bob.say(&bots, &format!("join {}", opened.room)).await.unwrap();
    let at_bobs = b.finds("the group", |room| room.name == "club" && room.kind == "p").await.id;
    assert_ne!(at_bobs, pub_here);
    a.has_member(&club, "bob.b.example", true).await;
    alice.say(&club, "among us").await.unwrap();
    b.hears(&at_bobs, "among us").await;

    alice.set_room(&club, json!({"roomType": "c"})).await.unwrap();
    a.told(alice, "#club is private again").await;
    assert_eq!(a.held(&club).kind, "p");
    bob.say(&at_bobs, "still among us").await.unwrap();
    a.hears(&club, "still among us").await;
    assert_ne!(opened.room, *room);
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_a_private_group_does_not_take_is_put_out_again() {
    let side = Side::start("a.example").await;
    let alice = side.person("alice", &["user"]);
    let club = alice.create_group("club", &["bridge", "root"]).await.unwrap();
    let root = side.person("root", &["user", "admin"]);
    side.federate(json!({"channel": "club"})).await;
    alice.post::<Value>("groups.invite", json!({"roomId": club, "userId": root.id})).await.unwrap();
    let dave = side.person("dave", &["user"]);
    // Root may add people in Rocket.Chat, and not in the room.
    root.post::<Value>("groups.invite", json!({"roomId": club, "userId": dave.id})).await.unwrap();
    side.told(&root, "That was undone in #club").await;
    side.has_member(&club, "dave", false).await;
    alice.post::<Value>("groups.invite", json!({"roomId": club, "userId": dave.id})).await.unwrap();
    side.has_member(&club, "dave", true).await;
    assert_eq!(side.dead_letters().await, 0);
    let mut side = side;
    side.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_words_goes_along() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b, room } = &lunch;
    // A thread, a mention and a quote, from the other side than in the first test.
    let of_bob = bob.say(at_b, "who has the menu?").await.unwrap();
    let at_alices = a.hears(at_a, "who has the menu?").await;
    alice.reply(at_a, &at_alices, "@bob.b.example you do :yum:").await.unwrap();
    b.hears(at_b, "@bob you do :yum:").await;
    let reply = b.said(at_b).into_iter().find(|message| message.text == "@bob you do :yum:").unwrap();
    assert_eq!(reply.thread.as_deref(), Some(of_bob.as_str()));
    // A reply that was sent to the room too stands there beside its thread, and others do not.
    let in_room = |side: &Side, rid: &str, text: &str| {
        let person = side.machine();
        let (rid, text) = (rid.to_owned(), text.to_owned());
        async move {
            let seen = person.messages(&rid).await.unwrap();
            seen.into_iter().find(|one| one.msg == text).map(|one| one.rest["tshow"] == true)
        }
    };
    assert_eq!(in_room(b, at_b, "@bob you do :yum:").await, Some(false));
    for (person, rid, parent, text, there) in
        [(alice, at_a, &at_alices, "for all at b", (b, at_b)), (bob, at_b, &of_bob, "for all at a", (a, at_a))]
    {
        person.send(json!({"rid": rid, "msg": text, "tmid": parent, "tshow": true})).await.unwrap();
        there.0.hears(there.1, text).await;
        assert_eq!(in_room(there.0, there.1, text).await, Some(true));
    }
    let quote = |side: &Side, id: &str| format!("[ ]({}/channel/lunch?msg={id}) indeed", side.standin.url());
    alice.say(at_a, &quote(a, &at_alices)).await.unwrap();
    b.hears(at_b, &quote(b, &of_bob)).await;

    // An emoji that only one server has: the reaction stays there, and nothing waits for it.
    a.standin.wish(Wish::RefuseEmoji { emoji: "pretzel".to_owned() }).unwrap();
    bob.react(&of_bob, ":pretzel:").await.unwrap();
    bob.react(&of_bob, ":tada:").await.unwrap();
    a.holds(at_a, "the other reaction", |room| {
        room.messages.iter().any(|message| message.id == at_alices && message.reactions.contains_key(":tada:"))
    })
    .await;
    let (_, queue) = a.node().raw("GET", "/v1/rocketchat/queue", None).await;
    let codes: Vec<&str> = queue["letters"].as_array().unwrap().iter().filter_map(|one| one["code"].as_str()).collect();
    assert_eq!(codes, ["refused"], "an emoji that is not there is no lack of a permission: {queue}");
    // Alice's reactions go the other way, on and off again.
    let reacted = |on: bool| {
        let of_bob = of_bob.clone();
        move |room: &HeldRoom| {
            let message = room.messages.iter().find(|message| message.id == of_bob);
            let by = message.and_then(|message| message.reactions.get(":party_parrot:"));
            by.is_some_and(|by| *by == ["alice.a.example"]) == on
        }
    };
    alice.react(&at_alices, ":party_parrot:").await.unwrap();
    b.holds(at_b, "Alice's reaction", reacted(true)).await;
    alice.unreact(&at_alices, ":party_parrot:").await.unwrap();
    b.holds(at_b, "the end of Alice's reaction", reacted(false)).await;

    // Several files of one message, each of which is a message of its own in Rocket.Chat.
    let mut files = Vec::new();
    for (name, byte) in [("one.bin", 1_u8), ("two.bin", 2), ("three.bin", 3)] {
        let path = format!("/v1/rooms/{room}/files?name={name}&type=application/octet-stream");
        let request = a.node().client.post(a.node().url(&path)).bearer_auth(a.node().node.api_token());
        let answer = request.body(vec![byte; 2_000]).send().await.unwrap();
        files.push(answer.json::<MessageFile>().await.unwrap());
    }
    let event = json!({"user": "alice", "text": "three of them", "files": files});
    let _: Value = a.node().post(&format!("/v1/rooms/{room}/events"), event).await;
    for (side, rid) in [(a, at_a), (b, at_b)] {
        side.holds(rid, "three files", |room| {
            let names: Vec<&str> =
                room.messages.iter().flat_map(|message| &message.files).map(|file| file.name.as_str()).collect();
            names == ["one.bin", "two.bin", "three.bin"]
        })
        .await;
    }
    lunch.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_clears_away_is_gone_on_both_servers() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, at_a, at_b, .. } = &lunch;
    for (limit, word) in [(0, "swept"), (2, "picked")] {
        for number in 0..2 {
            alice.say(at_a, &format!("{word} {number}")).await.unwrap();
            b.hears(at_b, &format!("{word} {number}")).await;
        }
        let clean = json!({
            "roomId": at_a, "oldest": "2000-01-01T00:00:00.000Z", "latest": "2100-01-01T00:00:00.000Z",
            "users": ["alice"], "limit": limit,
        });
        a.machine().post::<Value>("rooms.cleanHistory", clean).await.unwrap();
        b.holds(at_b, "the clearing", |room| room.messages.iter().all(|message| !message.text.starts_with(word))).await;
    }
    lunch.settled("clean").await;
    lunch.nothing_lost().await;
    lunch.close().await;
}
