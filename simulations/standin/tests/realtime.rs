//! DDP: what is told, to whom, and when a connection ends.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use rocketmesh_standin::{Options, Standin, Wish};
use serde_json::{Value, json};
use support::{Listener, start};

#[tokio::test]
async fn a_message_is_told_whole_again_for_every_change_of_it() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bridge = standin.add_account("bridge", &["admin", "bot"]).unwrap();
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    let mut listener = Listener::log_in(&standin, &bridge.token).await;
    listener.listen_to_messages().await;
    let message = alice.say(&room, "See https://example.org/menu").await.unwrap();
    let told = listener.message("the message", |message| message["msg"] == "See https://example.org/menu").await;
    assert!(told[0]["ts"]["$date"].is_i64(), "{told}");
    assert_eq!(told[1], json!({"roomParticipant": true, "roomType": "c", "roomName": "lunch"}));
    standin.wish(Wish::Preview { message: message.clone() }).unwrap();
    let told = listener.message("its preview", |told| told["urls"][0]["meta"]["pageTitle"].is_string()).await;
    assert!(told[0]["editedAt"].is_null());
    alice.edit(&room, &message, "See the menu").await.unwrap();
    let told = listener.message("its edit", |told| told["msg"] == "See the menu").await;
    assert_eq!(told[0]["editedBy"]["username"], "alice");
    alice.react(&message, ":pizza:").await.unwrap();
    let told = listener.message("its reaction", |told| !told["reactions"].is_null()).await;
    assert_eq!(told[0]["reactions"], json!({":pizza:": {"usernames": ["alice"]}}));
    alice.reply(&room, &message, "Soup").await.unwrap();
    let told = listener.message("its reply counted", |told| told["tcount"] == 1).await;
    assert_eq!((&told[0]["_id"], &told[0]["msg"]), (&json!(message), &json!("See the menu")));
}

#[tokio::test]
async fn the_same_text_again_is_not_told() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = alice.say(&room, "Hello").await.unwrap();
    let mut listener = Listener::log_in(&standin, &alice.token).await;
    listener.listen_to_messages().await;
    alice.edit(&room, &message, "Hello").await.unwrap();
    alice.say(&room, "Next").await.unwrap();
    listener.message("what comes next", |told| told["msg"] == "Next").await;
    assert!(listener.heard_nothing(|frame| frame["fields"]["args"][0]["_id"] == message.as_str()));
}

#[tokio::test]
async fn a_clearing_is_told_as_one_with_the_messages_only_where_it_was_limited() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let root = standin.person(&standin.add_account("root", &["user", "admin"]).unwrap());
    let room = alice.create_channel("lunch", &["root"]).await.unwrap();
    let mut listener = Listener::log_in(&standin, &root.token).await;
    let event = format!("{room}/deleteMessageBulk");
    listener.listen("stream-notify-room", &event).await;
    let clean = |limit: u64| {
        json!({"roomId": room, "oldest": "2000-01-01T00:00:00.000Z", "latest": "2100-01-01T00:00:00.000Z",
            "limit": limit})
    };
    assert_eq!(alice.post::<Value>("rooms.cleanHistory", clean(0)).await.unwrap_err().status(), Some(400));
    alice.say(&room, "one").await.unwrap();
    let second = alice.say(&room, "two").await.unwrap();
    let cleared: Value = root.post("rooms.cleanHistory", clean(1)).await.unwrap();
    assert_eq!(cleared["count"], 1);
    let told = listener.event("stream-notify-room", &event).await;
    assert_eq!(told[0]["ids"].as_array().unwrap().len(), 1, "{told}");
    root.post::<Value>("rooms.cleanHistory", clean(0)).await.unwrap();
    let told = listener.event("stream-notify-room", &event).await;
    assert!(told[0]["ids"].is_null(), "{told}");
    assert!(alice.said(&room).await.unwrap().is_empty());
    let query = [("roomId", room.as_str()), ("since", "2000-01-01T00:00:00.000Z")];
    let gone: Value = root.get("chat.getDeletedMessages", &query).await.unwrap();
    assert!(gone["messages"].as_array().unwrap().iter().any(|gone| gone["_id"] == second.as_str()));
}

#[tokio::test]
async fn a_deletion_comes_on_the_stream_of_the_room_or_as_the_message_marked_rm() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let mut listener = Listener::log_in(&standin, &alice.token).await;
    listener.listen_to_messages().await;
    listener.listen("stream-notify-room", &format!("{room}/deleteMessage")).await;
    let first = alice.say(&room, "one").await.unwrap();
    alice.delete(&room, &first).await.unwrap();
    assert_eq!(listener.event("stream-notify-room", &format!("{room}/deleteMessage")).await, json!([{"_id": first}]));
    standin.wish(Wish::Set { setting: "Message_ShowDeletedStatus".to_owned(), value: json!(true) }).unwrap();
    let second = alice.say(&room, "two").await.unwrap();
    alice.delete(&room, &second).await.unwrap();
    let told = listener.message("rm", |told| told["t"] == "rm").await;
    assert_eq!((&told[0]["_id"], &told[0]["msg"]), (&json!(second), &json!("")));
}

#[tokio::test]
async fn who_may_read_a_public_room_hears_it_as_no_participant_and_private_rooms_are_not_heard() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let (open, closed) =
        (alice.create_channel("open", &[]).await.unwrap(), alice.create_group("closed", &[]).await.unwrap());
    let mut listener = Listener::log_in(&standin, &bob.token).await;
    listener.listen_to_messages().await;
    alice.say(&closed, "a secret").await.unwrap();
    alice.say(&open, "no secret").await.unwrap();
    let told = listener.message("what is public", |told| told["msg"] == "no secret").await;
    assert_eq!(told[1]["roomParticipant"], false);
    assert!(listener.heard_nothing(|frame| frame["fields"]["args"][0]["rid"] == closed.as_str()));
}

#[tokio::test]
async fn nobody_listens_to_what_is_not_theirs() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let mut listener = Listener::log_in(&standin, &bob.token).await;
    let events = [
        ("stream-notify-user", format!("{}/subscriptions-changed", alice.id)),
        ("stream-notify-room", format!("{room}/deleteMessage")),
    ];
    for (stream, event) in events {
        let answer = listener.listen(stream, &event).await;
        assert_eq!((&answer["msg"], &answer["error"]["error"]), (&json!("nosub"), &json!("not-allowed")), "{event}");
    }
    let mut stranger = Listener::connect(&standin).await;
    assert_eq!(stranger.listen("stream-notify-logged", "user-status").await["msg"], "nosub");
}

#[tokio::test]
async fn joining_and_leaving_are_told_to_whom_they_concern() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let mut listener = Listener::log_in(&standin, &bob.token).await;
    let subscriptions = format!("{}/subscriptions-changed", bob.id);
    let rooms = format!("{}/rooms-changed", bob.id);
    listener.listen("stream-notify-user", &subscriptions).await;
    listener.listen("stream-notify-user", &rooms).await;
    alice.invite(&room, &bob.id).await.unwrap();
    let told = listener.event("stream-notify-user", &subscriptions).await;
    assert_eq!((&told[0], &told[1]["rid"]), (&json!("inserted"), &json!(room)));
    let told = listener.event("stream-notify-user", &rooms).await;
    assert_eq!((&told[0], &told[1]["_id"]), (&json!("inserted"), &json!(room)));
    alice.kick(&room, &bob.id).await.unwrap();
    listener
        .until("the end of it", |frame| {
            frame["fields"]["eventName"] == subscriptions.as_str() && frame["fields"]["args"][0] == "removed"
        })
        .await;
}

#[tokio::test]
async fn names_and_states_of_people_are_told_to_everybody_who_is_logged_in() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let mut listener = Listener::log_in(&standin, &bob.token).await;
    for event in ["user-status", "Users:NameChanged", "updateAvatar"] {
        assert_eq!(listener.listen("stream-notify-logged", event).await["msg"], "ready");
    }
    let _: Value = alice.post("users.setStatus", json!({"status": "busy", "message": "eating"})).await.unwrap();
    let told = listener.event("stream-notify-logged", "user-status").await;
    assert_eq!(told[0], json!([alice.id, "alice", 3, "eating", "alice", ["user"]]));
    let _: Value = alice.post("users.updateOwnBasicInfo", json!({"data": {"name": "Alice A."}})).await.unwrap();
    assert_eq!(listener.event("stream-notify-logged", "Users:NameChanged").await[0]["name"], "Alice A.");
    alice.set_avatar("image/png", b"a face").await.unwrap();
    assert_eq!(listener.event("stream-notify-logged", "updateAvatar").await[0]["username"], "alice");
}

#[tokio::test]
async fn somebody_types_under_their_own_name_only() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let room = alice.create_channel("lunch", &["bob"]).await.unwrap();
    let activity = format!("{room}/user-activity");
    let mut listener = Listener::log_in(&standin, &bob.token).await;
    listener.listen("stream-notify-room", &activity).await;
    let mut typist = Listener::log_in(&standin, &alice.token).await;
    typist.call("stream-notify-room", json!([activity, "bob", ["user-typing"], {}])).await;
    typist.call("stream-notify-room", json!([activity, "alice", ["user-typing"], {}])).await;
    let told = listener.event("stream-notify-room", &activity).await;
    assert_eq!((&told[0], &told[1]), (&json!("alice"), &json!(["user-typing"])));
}

#[tokio::test]
async fn a_ping_is_answered_with_its_id_and_a_silent_connection_is_asked_and_then_closed() {
    let silence = Duration::from_millis(400);
    let standin = Standin::start(Options { silence, ..Options::default() }).await.unwrap();
    let mut listener = Listener::connect(&standin).await;
    listener.say(json!({"msg": "ping", "id": "seven"})).await;
    listener.until("a pong", |frame| frame["msg"] == "pong" && frame["id"] == "seven").await;
    // As long as it answers it stays.
    for _ in 0..3 {
        listener.until("a ping", |frame| frame["msg"] == "ping").await;
    }
    listener.answers = false;
    listener.closed().await;
}

#[tokio::test]
async fn a_token_for_good_has_no_end_and_a_wrong_one_is_refused() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let mut listener = Listener::connect(&standin).await;
    let refused = listener.call("login", json!([{"resume": "wrong"}])).await;
    assert_eq!(refused["error"]["error"], 403);
    let result = listener.call("login", json!([{"resume": alice.token}])).await;
    assert_eq!(result["result"]["id"], alice.id.as_str());
    assert!(result["result"]["tokenExpires"]["$date"].is_null(), "{result}");
}

#[tokio::test]
async fn the_forty_first_subscription_of_a_stream_is_too_many() {
    let standin = Standin::start(Options { limited: true, ..Options::default() }).await.unwrap();
    let alice = standin.add_person("alice").unwrap();
    let mut listener = Listener::log_in(&standin, &alice.token).await;
    for at in 0..40 {
        let answer = listener.listen("stream-notify-logged", &format!("event{at}")).await;
        assert_eq!(answer["msg"], "ready", "{at}: {answer}");
    }
    let refused = listener.listen("stream-notify-logged", "one-more").await;
    assert_eq!(refused["error"]["error"], "too-many-requests");
    assert!(refused["error"]["details"]["timeToReset"].as_i64().unwrap() > 0);
}

#[tokio::test]
async fn connections_end_when_they_are_dropped_or_their_tokens_do() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let mut listener = Listener::log_in(&standin, &alice.token).await;
    standin.wish(Wish::DropWebsockets).unwrap();
    listener.closed().await;
    let mut listener = Listener::log_in(&standin, &alice.token).await;
    standin.wish(Wish::ExpireTokens { username: "alice".to_owned() }).unwrap();
    listener.closed().await;
}

#[tokio::test]
async fn a_stream_that_is_held_back_tells_later_and_in_order() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let mut listener = Listener::log_in(&standin, &alice.token).await;
    listener.listen_to_messages().await;
    standin.wish(Wish::DelayStreams { ms: 200 }).unwrap();
    alice.say(&room, "one").await.unwrap();
    let begun = std::time::Instant::now();
    alice.say(&room, "two").await.unwrap();
    listener.message("the second", |told| told["msg"] == "two").await;
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
    // The first came before: it is there without waiting.
    listener.message("the first", |told| told["msg"] == "one").await;
}

#[tokio::test]
async fn a_method_that_no_rocket_chat_has_is_answered_with_404() {
    let standin = start().await;
    let mut listener = Listener::connect(&standin).await;
    assert_eq!(listener.call("nonsense", json!([])).await["error"]["error"], 404);
}
