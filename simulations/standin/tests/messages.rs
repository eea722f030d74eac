//! Messages: what is stored, what is refused, what changes them. Each test is a rule of `docs/standin.md`.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_standin::{Fault, Version, Wish, Wrong};
use serde_json::{Value, json};
use support::{start, start_like};

#[tokio::test]
async fn an_id_that_is_known_stores_nothing() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = json!({"_id": "mine", "rid": room, "msg": "first"});
    assert_eq!(alice.send(message.clone()).await.unwrap(), "mine");
    let again = json!({"_id": "mine", "rid": room, "msg": "second"});
    assert_eq!(alice.send(again).await.unwrap_err().status(), Some(400));
    assert_eq!(alice.said(&room).await.unwrap(), [("alice".to_owned(), "first".to_owned())]);
}

#[tokio::test]
async fn an_answer_that_is_lost_was_stored_and_asking_for_the_message_shows_it() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let call = Some("chat.sendMessage".to_owned());
    standin.wish(Wish::Fault(Fault { call: call.clone(), times: 1, wrong: Wrong::FailAfter })).unwrap();
    let lost = alice.send(json!({"_id": "lost", "rid": room, "msg": "Hello"})).await.unwrap_err();
    assert_eq!(lost.status(), Some(502));
    let found: Value = alice.get("chat.getMessage", &[("msgId", "lost")]).await.unwrap();
    assert_eq!(found["message"]["msg"], "Hello");
    standin.wish(Wish::Fault(Fault { call, times: 1, wrong: Wrong::FailBefore })).unwrap();
    let refused = alice.send(json!({"_id": "never", "rid": room, "msg": "Hello"})).await.unwrap_err();
    assert_eq!(refused.status(), Some(502));
    let absent = alice.get::<Value>("chat.getMessage", &[("msgId", "never")]).await.unwrap_err();
    assert_eq!(absent.status(), Some(400));
}

#[tokio::test]
async fn a_message_from_the_past_is_refused() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let old = json!({"rid": room, "msg": "Hello", "ts": "2020-01-01T00:00:00.000Z"});
    assert_eq!(alice.send(old).await.unwrap_err().code(), Some("error-message-ts-out-of-sync"));
}

#[tokio::test]
async fn a_reply_stands_in_the_room_of_its_parent_whatever_room_was_named() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let (here, there) =
        (alice.create_channel("here", &[]).await.unwrap(), alice.create_channel("there", &[]).await.unwrap());
    let parent = alice.say(&here, "A question").await.unwrap();
    alice.reply(&there, &parent, "An answer").await.unwrap();
    assert!(alice.said(&there).await.unwrap().is_empty());
    let seen = alice.messages(&here).await.unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].rest["tcount"], 1);
    assert_eq!(seen[1].rest["tmid"], parent.as_str());
}

#[tokio::test]
async fn the_history_of_a_channel_shows_replies_only_to_who_asks_for_them() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let parent = alice.say(&room, "A question").await.unwrap();
    alice.reply(&room, &parent, "An answer").await.unwrap();
    let plain: Value =
        alice.get("channels.history", &[("roomId", room.as_str()), ("inclusive", "true")]).await.unwrap();
    assert_eq!(plain["messages"].as_array().unwrap().len(), 1);
    assert_eq!(alice.messages(&room).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_bot_alone_may_not_delete_its_own_message_and_a_bot_that_is_a_user_may() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bot = standin.person(&standin.add_account("robot", &["bot"]).unwrap());
    let shadow = standin.person(&standin.add_account("shadow", &["user", "bot"]).unwrap());
    let room = alice.create_channel("lunch", &["robot", "shadow"]).await.unwrap();
    let (theirs, its) = (bot.say(&room, "mine").await.unwrap(), shadow.say(&room, "mine too").await.unwrap());
    assert_eq!(bot.delete(&room, &theirs).await.unwrap_err().code(), Some("error-action-not-allowed"));
    shadow.delete(&room, &its).await.unwrap();
    assert_eq!(alice.said(&room).await.unwrap(), [("robot".to_owned(), "mine".to_owned())]);
}

#[tokio::test]
async fn a_call_to_everybody_by_somebody_who_may_not_call_is_refused_whole() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bot = standin.person(&standin.add_account("robot", &["bot"]).unwrap());
    let room = alice.create_channel("lunch", &["robot"]).await.unwrap();
    assert_eq!(bot.say(&room, "Hello @all").await.unwrap_err().code(), Some("error-action-not-allowed"));
    assert_eq!(bot.say(&room, "Hello @here").await.unwrap_err().code(), Some("error-action-not-allowed"));
    bot.say(&room, "Hello @\u{200b}all").await.unwrap();
    alice.say(&room, "Hello @all").await.unwrap();
    assert_eq!(alice.said(&room).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_reaction_without_a_choice_toggles() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = alice.say(&room, "Hello").await.unwrap();
    for expected in [1, 0] {
        let _: Value = alice.post("chat.react", json!({"messageId": message, "emoji": "smile"})).await.unwrap();
        assert_eq!(standin.dump()[1].messages[0].reactions.len(), expected);
    }
}

#[tokio::test]
async fn taking_back_a_reaction_from_a_message_without_any_adds_it() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let room = alice.create_channel("lunch", &["bob"]).await.unwrap();
    let message = alice.say(&room, "Hello").await.unwrap();
    alice.unreact(&message, ":smile:").await.unwrap();
    assert_eq!(standin.dump()[1].messages[0].reactions[":smile:"], ["alice"]);
    // With any reaction there, the same call changes nothing.
    bob.unreact(&message, ":smile:").await.unwrap();
    bob.unreact(&message, ":wave:").await.unwrap();
    let reactions = standin.dump()[1].messages[0].reactions.clone();
    assert_eq!(reactions.into_iter().collect::<Vec<_>>(), [(":smile:".to_owned(), vec!["alice".to_owned()])]);
}

#[tokio::test]
async fn an_emoji_that_the_server_does_not_have_is_refused() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = alice.say(&room, "Hello").await.unwrap();
    standin.wish(Wish::RefuseEmoji { emoji: "parrot".to_owned() }).unwrap();
    assert_eq!(alice.react(&message, ":parrot:").await.unwrap_err().code(), Some("error-not-allowed"));
    alice.react(&message, ":smile:").await.unwrap();
}

#[tokio::test]
async fn an_edit_is_marked_and_the_same_text_again_changes_nothing() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = alice.say(&room, "Hello").await.unwrap();
    alice.edit(&room, &message, "Hello").await.unwrap();
    assert!(alice.messages(&room).await.unwrap()[0].rest["editedAt"].is_null());
    alice.edit(&room, &message, "Hello!").await.unwrap();
    let seen = alice.messages(&room).await.unwrap();
    assert_eq!((seen[0].msg.as_str(), &seen[0].rest["editedBy"]["username"]), ("Hello!", &json!("alice")));
}

#[tokio::test]
async fn a_moderator_edits_what_others_wrote_and_others_do_not() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let room = alice.create_channel("lunch", &["bob"]).await.unwrap();
    let (hers, his) = (alice.say(&room, "one").await.unwrap(), bob.say(&room, "two").await.unwrap());
    assert_eq!(bob.edit(&room, &hers, "ONE").await.unwrap_err().code(), Some("error-action-not-allowed"));
    alice.edit(&room, &his, "TWO").await.unwrap();
    let held = standin.dump()[1].messages[1].clone();
    assert_eq!((held.who, held.text, held.edited_by), ("bob".to_owned(), "TWO".to_owned(), Some("alice".to_owned())));
}

#[tokio::test]
async fn a_file_is_downloaded_as_it_was_uploaded_and_only_with_a_token() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = alice.upload(&room, "a menu.pdf", "application/pdf", b"soup", "For today").await.unwrap();
    let found: Value = alice.get("chat.getMessage", &[("msgId", message.as_str())]).await.unwrap();
    let link = found["message"]["attachments"][0]["title_link"].as_str().unwrap().to_owned();
    assert!(link.ends_with("/a%20menu.pdf"), "{link}");
    assert_eq!(alice.download(&link).await.unwrap(), b"soup");
    assert_eq!(reqwest::get(format!("{}{link}", standin.url())).await.unwrap().status().as_u16(), 403);
    let held = standin.dump()[1].messages[0].files[0].clone();
    assert_eq!((held.name.as_str(), held.sha256), ("a menu.pdf", Some(rocketmesh_standin::sha256(b"soup"))));
}

#[tokio::test]
async fn a_file_that_is_confirmed_twice_makes_two_messages() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let file = alice.offer(&room, "menu.txt", "text/plain", b"soup").await.unwrap();
    assert_eq!(alice.messages(&room).await.unwrap().len(), 0);
    for _ in 0..2 {
        let _: Value = alice.post(&format!("rooms.mediaConfirm/{room}/{file}"), json!({})).await.unwrap();
    }
    let seen = alice.messages(&room).await.unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|message| message.rest["file"]["_id"] == file.as_str()));
}

#[tokio::test]
async fn the_text_of_a_file_is_the_description_of_its_first_attachment() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let file = alice.offer(&room, "cat.png", "image/png", b"not a cat").await.unwrap();
    let body = json!({"description": "A cat"});
    let answer: Value = alice.post(&format!("rooms.mediaConfirm/{room}/{file}"), body).await.unwrap();
    alice.edit(&room, answer["message"]["_id"].as_str().unwrap(), "Two cats").await.unwrap();
    let held = standin.dump()[1].messages[0].clone();
    assert_eq!((held.text.as_str(), held.captions), ("", vec!["Two cats".to_owned()]));
}

#[tokio::test]
async fn a_deleted_message_stands_in_the_list_of_deletions() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = alice.say(&room, "Hello").await.unwrap();
    alice.delete(&room, &message).await.unwrap();
    let since = "2020-01-01T00:00:00.000Z";
    let gone: Value =
        alice.get("chat.getDeletedMessages", &[("roomId", room.as_str()), ("since", since)]).await.unwrap();
    assert_eq!(gone["messages"], json!([{"_id": message}]));
    let sync: Value =
        alice.get("chat.syncMessages", &[("roomId", room.as_str()), ("lastUpdate", since)]).await.unwrap();
    assert_eq!(sync["result"]["deleted"][0]["_id"], message.as_str());
    let absent = alice.get::<Value>("chat.getMessage", &[("msgId", message.as_str())]).await.unwrap_err();
    assert_eq!(absent.status(), Some(400));
}

#[tokio::test]
async fn with_history_kept_a_deleted_message_stands_in_no_list_and_is_answered_as_hidden() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    standin.wish(Wish::Set { setting: "Message_KeepHistory".to_owned(), value: json!(true) }).unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = alice.say(&room, "Hello").await.unwrap();
    alice.delete(&room, &message).await.unwrap();
    let since = "2020-01-01T00:00:00.000Z";
    let gone: Value =
        alice.get("chat.getDeletedMessages", &[("roomId", room.as_str()), ("since", since)]).await.unwrap();
    assert_eq!(gone["messages"], json!([]));
    let sync: Value =
        alice.get("chat.syncMessages", &[("roomId", room.as_str()), ("lastUpdate", since)]).await.unwrap();
    assert_eq!((&sync["result"]["updated"], &sync["result"]["deleted"]), (&json!([]), &json!([])));
    let hidden: Value = alice.get("chat.getMessage", &[("msgId", message.as_str())]).await.unwrap();
    assert_eq!(hidden["message"]["_hidden"], true);
}

#[tokio::test]
async fn a_deleted_message_with_replies_stays_emptied_as_rm() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let parent = alice.say(&room, "A question").await.unwrap();
    alice.reply(&room, &parent, "An answer").await.unwrap();
    alice.delete(&room, &parent).await.unwrap();
    let held = standin.dump()[1].messages[0].clone();
    assert_eq!((held.id, held.kind.as_deref(), held.text.as_str()), (parent, Some("rm"), ""));
}

#[tokio::test]
async fn who_is_muted_or_in_a_read_only_room_does_not_write() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let room = alice.create_channel("lunch", &["bob"]).await.unwrap();
    alice.mute(&room, &bob.id, true).await.unwrap();
    assert_eq!(bob.say(&room, "Hello").await.unwrap_err().code(), Some("You_have_been_muted"));
    alice.mute(&room, &bob.id, false).await.unwrap();
    bob.say(&room, "Hello").await.unwrap();
    alice.set_room(&room, json!({"readOnly": true})).await.unwrap();
    assert_eq!(bob.say(&room, "Hello?").await.unwrap_err().status(), Some(400));
    alice.say(&room, "Only I may").await.unwrap();
    assert_eq!(standin.dump()[1].said(), [("bob", "Hello"), ("alice", "Only I may")]);
}

#[tokio::test]
async fn a_restricted_workspace_refuses_sends_and_edits_and_a_webhook_goes_round_it() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    let message = alice.say(&room, "Hello").await.unwrap();
    let hook = Wish::AddWebhook { username: "alice".to_owned(), channel: "#lunch".to_owned() };
    let hook = standin.wish(hook).unwrap();
    standin.wish(Wish::Restrict { restricted: true }).unwrap();
    assert_eq!(alice.say(&room, "Again").await.unwrap_err().code(), Some("restricted-workspace"));
    assert_eq!(alice.edit(&room, &message, "Hello!").await.unwrap_err().code(), Some("restricted-workspace"));
    alice.react(&message, ":smile:").await.unwrap();
    let url = format!("{}{}", standin.url(), hook["path"].as_str().unwrap());
    let sent = reqwest::Client::new().post(url).json(&json!({"text": "By the back door"})).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    standin.wish(Wish::Restrict { restricted: false }).unwrap();
    alice.say(&room, "Again").await.unwrap();
    let said = standin.dump()[1].clone();
    assert_eq!(said.said(), [("alice", "Hello"), ("alice", "By the back door"), ("alice", "Again")]);
}

#[tokio::test]
async fn a_permission_that_an_administrator_takes_away_is_missing_until_it_is_given_back() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let permit = |roles: Option<Vec<String>>| standin.wish(Wish::Permit { permission: "create-c".to_owned(), roles });
    permit(Some(vec!["admin".to_owned()])).unwrap();
    assert_eq!(alice.create_channel("lunch", &[]).await.unwrap_err().status(), Some(403));
    let told: Value = alice.get("permissions.listAll", &[]).await.unwrap();
    let told = told["update"].as_array().unwrap().iter().find(|one| one["_id"] == "create-c").unwrap().clone();
    assert_eq!(told["roles"], json!(["admin"]));
    permit(None).unwrap();
    alice.create_channel("lunch", &[]).await.unwrap();
    assert!(standin.wish(Wish::Permit { permission: "dance".to_owned(), roles: None }).is_err());
}

#[tokio::test]
async fn version_7_0_refuses_a_thread_together_with_a_room_id_and_later_ones_do_not() {
    for (version, accepted) in [(Version::V7_0, false), (Version::V8_8, true)] {
        let standin = start_like(version).await;
        let alice = standin.add_person("alice").unwrap();
        let room = alice.create_channel("lunch", &[]).await.unwrap();
        let parent = alice.say(&room, "A question").await.unwrap();
        let body = json!({"roomId": room, "text": "An answer", "tmid": parent});
        let answer = alice.post::<Value>("chat.postMessage", body).await;
        assert_eq!(answer.is_ok(), accepted, "{version}: {answer:?}");
    }
}

#[tokio::test]
async fn only_a_bot_speaks_under_another_name() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bridge = standin.person(&standin.add_account("bridge", &["admin", "bot"]).unwrap());
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    let body = json!({"roomId": room, "text": "Hello", "alias": "bob"});
    assert_eq!(alice.post::<Value>("chat.postMessage", body.clone()).await.unwrap_err().status(), Some(400));
    let answer: Value = bridge.post("chat.postMessage", body).await.unwrap();
    assert_eq!((&answer["message"]["alias"], &answer["message"]["u"]["username"]), (&json!("bob"), &json!("bridge")));
}
