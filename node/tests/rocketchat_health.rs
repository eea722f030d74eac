//! Every way in which Rocket.Chat takes nothing: named, with what to do, until it is mended; and what waited is delivered then, once.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_in_trouble.rs"]
#[allow(dead_code, unreachable_pub, reason = "several tests share it")]
mod two_servers;

use reqwest::StatusCode;
use rocketmesh_node::api::RetriedLetters;
use rocketmesh_node::rocketchat::status::{BridgedRoomState, ConnectorState, ProblemKind};
use rocketmesh_standin::{Fault, Person, Wish, Wrong};
use serde_json::{Value, json};
use support::eventually;
use two_servers::{Lunch, QUEUE, ROOMS, Side};

/// What `Message_MaxAllowedSize` is on a new server.
const USUAL_SIZE: u64 = 5000;
/// The roles of a permission that nobody has.
const NOBODY: &[&str] = &[];

fn set(side: &Side, setting: &str, value: Value) {
    side.standin.wish(Wish::Set { setting: setting.to_owned(), value }).unwrap();
}

fn permit(side: &Side, permission: &str, roles: Option<&[&str]>) {
    let roles = roles.map(|roles| roles.iter().map(|role| (*role).to_owned()).collect());
    side.standin.wish(Wish::Permit { permission: permission.to_owned(), roles }).unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_unreachable_and_gets_everything_once_when_it_is_back() {
    let lunch = Lunch::open().await;
    let Lunch { a, bob, at_a, at_b, .. } = &lunch;
    a.standin.wish(Wish::GoAway { ms: 2500 }).unwrap();
    bob.say(at_b, "while you were away").await.unwrap();
    a.suffers(ProblemKind::Unreachable).await;
    assert_eq!(
        a.status().await.state,
        ConnectorState::Connecting,
        "not live, from the moment that the connection is lost"
    );
    a.is_told_everywhere(ProblemKind::Unreachable).await;
    a.hears(at_a, "while you were away").await;
    a.recovers(ProblemKind::Unreachable).await;
    eventually("the connector is live", || async { a.status().await.state == ConnectorState::Live }).await;
    let told = a.status().await;
    assert!(told.delivered > 0 && told.taken > 0 && told.connections > 1, "{told:?}");
    lunch.once(&["while you were away"]).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_server_that_answers_no_calls_is_not_live_though_its_websocket_stands() {
    let lunch = Lunch::open().await;
    let Lunch { a, bob, at_a, at_b, .. } = &lunch;
    let fault = Fault { call: Some("chat.sendMessage".to_owned()), times: 1, wrong: Wrong::FailBefore };
    a.standin.wish(Wish::Fault(fault)).unwrap();
    bob.say(at_b, "once more").await.unwrap();
    let problem = a.suffers(ProblemKind::Unreachable).await;
    assert_eq!(problem.subject.as_deref(), Some(at_a.as_str()));
    assert_eq!(a.status().await.state, ConnectorState::Connecting);
    a.hears(at_a, "once more").await;
    a.recovers(ProblemKind::Unreachable).await;
    eventually("the connector is live", || async { a.status().await.state == ConnectorState::Live }).await;
    lunch.once(&["once more"]).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_refused_token_blocks_until_another_one_is_given_and_nothing_is_lost_meanwhile() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b } = &lunch;
    a.standin.wish(Wish::ExpireTokens { username: "bridge".to_owned() }).unwrap();
    bob.say(at_b, "to a").await.unwrap();
    alice.say(at_a, "to b").await.unwrap();
    a.suffers(ProblemKind::TokenRefused).await;
    a.is_told_everywhere(ProblemKind::TokenRefused).await;
    assert_eq!(a.status().await.state, ConnectorState::Blocked);
    let service = Person::log_in(&a.standin.url(), "bridge", &a.service.password).await.unwrap();
    a.connect(&service.token).await;
    a.hears(at_a, "to a").await;
    b.hears(at_b, "to b").await;
    a.recovers(ProblemKind::TokenRefused).await;
    lunch.once(&["to a", "to b"]).await;
    lunch.close().await;
}

#[tokio::test]
async fn an_account_whose_token_went_logs_in_once_again_and_one_that_cannot_keeps_nobody_else_waiting() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, bob, at_a, at_b, .. } = &lunch;
    a.standin.wish(Wish::ExpireTokens { username: "bob.b.example".to_owned() }).unwrap();
    bob.say(at_b, "with another token").await.unwrap();
    a.hears(at_a, "with another token").await;
    assert_eq!(a.problem(ProblemKind::ShadowTokenRefused).await, None);

    let admin = a.standin.person(&a.service);
    let about: Value = admin.get("users.info", &[("username", "bob.b.example")]).await.unwrap();
    let active = |active: bool| json!({"userId": about["user"]["_id"], "activeStatus": active});
    let _: Value = admin.post("users.setActiveStatus", active(false)).await.unwrap();
    bob.say(at_b, "this waits").await.unwrap();
    let problem = a.suffers(ProblemKind::ShadowTokenRefused).await;
    assert_eq!(problem.subject.as_deref(), Some("bob.b.example"));
    a.is_told_everywhere(ProblemKind::ShadowTokenRefused).await;
    let carol = b.standin.add_person("carol").unwrap();
    carol.join(at_b).await.unwrap();
    carol.say(at_b, "others go on").await.unwrap();
    a.hears(at_a, "others go on").await;
    let queue = a.queue().await;
    assert_eq!(queue.letters.len(), 1, "{queue:?}");
    assert!(queue.letters[0].can_retry && queue.letters[0].code == "shadow_token_refused", "{queue:?}");
    assert_eq!(a.status().await.queue.waiting, 1);

    let _: Value = admin.post("users.setActiveStatus", active(true)).await.unwrap();
    a.check().await;
    a.hears(at_a, "this waits").await;
    a.recovers(ProblemKind::ShadowTokenRefused).await;
    lunch.once(&["with another token", "this waits", "others go on"]).await;
    assert_eq!(a.queue().await.letters, []);
    lunch.close().await;
}

#[tokio::test]
async fn a_missing_permission_is_named_and_what_it_kept_from_happening_happens_once_it_is_there() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, at_a, at_b, .. } = &lunch;
    for permission in ["add-user-to-any-c-room", "add-user-to-joined-room"] {
        permit(a, permission, Some(NOBODY));
    }
    let carol = b.standin.add_person("carol").unwrap();
    carol.join(at_b).await.unwrap();
    carol.say(at_b, "am I in?").await.unwrap();
    let problem = a.suffers(ProblemKind::PermissionMissing).await;
    assert!(problem.message.contains("channels.invite"), "{problem:?}");
    a.is_told_everywhere(ProblemKind::PermissionMissing).await;
    a.hears(at_a, "am I in?").await;
    assert!(!a.held(at_a).members.contains_key("carol.b.example"));
    for permission in ["add-user-to-any-c-room", "add-user-to-joined-room"] {
        permit(a, permission, None);
    }
    a.check().await;
    a.holds(at_a, "carol", |room| room.members.contains_key("carol.b.example")).await;
    a.recovers(ProblemKind::PermissionMissing).await;
    lunch.once(&["am I in?"]).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_server_that_limits_calls_is_waited_for_and_gets_each_message_once() {
    let lunch = Lunch::open().await;
    let Lunch { a, bob, at_a, at_b, .. } = &lunch;
    // Few calls in a short time, for accounts that are no longer exempt.
    set(a, "API_Enable_Rate_Limiter_Limit_Calls_Default", json!(5));
    set(a, "API_Enable_Rate_Limiter_Limit_Time_Default", json!(1500));
    permit(a, "api-bypass-rate-limit", Some(NOBODY));
    a.standin.wish(Wish::Limit { on: true }).unwrap();
    let texts: Vec<String> = (0..14).map(|number| format!("number {number:02}")).collect();
    for text in &texts {
        bob.say(at_b, text).await.unwrap();
    }
    a.suffers(ProblemKind::RateLimited).await;
    a.hears(at_a, "number 13").await;
    a.standin.wish(Wish::Limit { on: false }).unwrap();
    a.recovers(ProblemKind::RateLimited).await;
    let order: Vec<String> = a.said(at_a).into_iter().map(|message| message.text).collect();
    let heard: Vec<&String> = order.iter().filter(|text| text.starts_with("number")).collect();
    assert_eq!(heard, texts.iter().collect::<Vec<_>>(), "in order");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    lunch.once(&texts).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_restricted_workspace_gets_what_waited_once_it_takes_messages_again() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b } = &lunch;
    a.standin.wish(Wish::Restrict { restricted: true }).unwrap();
    bob.say(at_b, "meanwhile").await.unwrap();
    a.suffers(ProblemKind::RestrictedWorkspace).await;
    a.is_told_everywhere(ProblemKind::RestrictedWorkspace).await;
    eventually("what waits is counted, with its age", || async {
        let queue = a.queue().await;
        let status = a.status().await.queue;
        queue.rooms.iter().any(|room| room.waiting > 0 && room.oldest_ms.is_some() && room.why.is_some())
            && status.waiting > 0
            && status.oldest_ms.is_some()
    })
    .await;
    // The other direction goes on.
    let hello = a.hears(at_a, "hello from b").await;
    alice.react(&hello, ":soup:").await.unwrap();
    b.holds(at_b, "a reaction", |room| room.messages.iter().any(|message| !message.reactions.is_empty())).await;
    a.standin.wish(Wish::Restrict { restricted: false }).unwrap();
    a.check().await;
    a.hears(at_a, "meanwhile").await;
    a.recovers(ProblemKind::RestrictedWorkspace).await;
    lunch.once(&["meanwhile"]).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_webhook_goes_round_a_restricted_workspace_and_nothing_that_it_said_is_said_again() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, bob, at_a, at_b, .. } = &lunch;
    let hook = |username: &str, channel: &str| {
        let made = Wish::AddWebhook { username: username.to_owned(), channel: channel.to_owned() };
        let path = a.standin.wish(made).unwrap()["path"].as_str().unwrap().to_owned();
        json!({"url": format!("{}{path}", a.standin.url())})
    };
    let path = format!("{ROOMS}/{at_a}/webhook");
    let elsewhere = json!({"url": "http://elsewhere.example/hooks/1/2"});
    assert_eq!(a.node().refused("PUT", &path, Some(elsewhere)).await.1, "malformed_address");
    assert_eq!(a.node().refused("PUT", &path, Some(hook("bridge", "#general"))).await.1, "webhook_elsewhere");
    assert_eq!(a.node().refused("PUT", &path, Some(hook("alice", "#lunch"))).await.1, "webhook_refused");
    let (code, answer) = a.node().raw("PUT", &path, Some(hook("bridge", "#lunch"))).await;
    assert_eq!(code, StatusCode::NO_CONTENT, "{answer}");

    a.standin.wish(Wish::Restrict { restricted: true }).unwrap();
    let back_door = bob.say(at_b, "by the back door").await.unwrap();
    a.hears(at_a, "by the back door").await;
    let shown = a.said(at_a).into_iter().find(|message| message.text == "by the back door").unwrap();
    assert_eq!(shown.who, "bridge");
    a.suffers(ProblemKind::RestrictedWorkspace).await;
    bob.edit(at_b, &back_door, "by the back door, changed").await.unwrap();
    eventually("the edit waits", || async { a.queue().await.letters.len() == 1 }).await;
    // What is said with a file comes at once, and the file later.
    bob.upload(at_b, "menu.txt", "text/plain", b"soup", "with the menu").await.unwrap();
    a.hears(at_a, "with the menu").await;
    eventually("the file waits", || async { a.queue().await.letters.len() == 2 }).await;
    bob.say(at_b, "and on").await.unwrap();
    a.hears(at_a, "and on").await;

    a.standin.wish(Wish::Restrict { restricted: false }).unwrap();
    bob.say(at_b, "by the front door").await.unwrap();
    a.hears(at_a, "by the front door").await;
    a.hears(at_a, "by the back door, changed").await;
    a.holds(at_a, "the menu", |room| room.messages.iter().any(|message| !message.files.is_empty())).await;
    a.recovers(ProblemKind::RestrictedWorkspace).await;
    // The trial that the webhook said stays on its own server.
    let trials =
        |side: &Side, rid: &str| side.said(rid).iter().filter(|said| said.text.ends_with("through it.")).count();
    assert_eq!((trials(a, at_a), trials(b, at_b)), (1, 0));
    for text in ["by the back door, changed", "with the menu", "and on", "by the front door"] {
        assert_eq!((a.times(at_a, text), b.times(at_b, text)), (1, 1), "{text}");
    }
    let (code, _) = a.node().raw("DELETE", &path, None).await;
    assert_eq!(code, StatusCode::NO_CONTENT);
    lunch.close().await;
}

#[tokio::test]
async fn a_room_that_the_service_account_was_put_out_of_waits_and_goes_on_when_it_is_back() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, alice, bob, at_a, at_b } = &lunch;
    alice.kick(at_a, &a.service.user_id).await.unwrap();
    a.suffers(ProblemKind::RoomGone).await;
    a.is_told_everywhere(ProblemKind::RoomGone).await;
    bob.say(at_b, "this waits").await.unwrap();
    alice.say(at_a, "and this").await.unwrap();
    eventually("it is in the queue", || async {
        a.queue().await.rooms.iter().any(|room| room.waiting > 0)
            && a.status().await.rooms.iter().any(|room| room.state == BridgedRoomState::Gone)
    })
    .await;
    assert_eq!(a.times(at_a, "this waits"), 0);
    alice.invite(at_a, &a.service.user_id).await.unwrap();
    a.hears(at_a, "this waits").await;
    b.hears(at_b, "and this").await;
    a.recovers(ProblemKind::RoomGone).await;
    lunch.once(&["this waits", "and this"]).await;
    lunch.close().await;
}

#[tokio::test]
async fn a_deleted_room_is_told_until_it_is_let_go() {
    let lunch = Lunch::open().await;
    let Lunch { a, alice, bob, at_a, at_b, .. } = &lunch;
    let _: Value = alice.post("channels.delete", json!({"roomId": at_a})).await.unwrap();
    bob.say(at_b, "is anybody there?").await.unwrap();
    a.suffers(ProblemKind::RoomGone).await;
    assert_eq!(a.queue().await.letters, [], "what is for a room that is gone waits");
    let (code, _) = a.node().raw("DELETE", &format!("{ROOMS}/{at_a}"), None).await;
    assert_eq!(code, StatusCode::NO_CONTENT);
    a.recovers(ProblemKind::RoomGone).await;
    lunch.close().await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_kept_with_its_reason_tried_again_or_dismissed() {
    let lunch = Lunch::open().await;
    let Lunch { a, b, bob, at_a, at_b, .. } = &lunch;
    set(a, "Message_MaxAllowedSize", json!(30));
    let long = "far too long for the other server, but not for ours";
    bob.say(at_b, long).await.unwrap();
    bob.say(at_b, "short").await.unwrap();
    a.hears(at_a, "short").await;
    a.suffers(ProblemKind::Undeliverable).await;
    a.is_told_everywhere(ProblemKind::Undeliverable).await;
    let letters = a.queue().await.letters;
    assert_eq!((letters.len(), letters[0].what.as_str(), letters[0].code.as_str()), (1, "message", "refused"));
    let retry = format!("{QUEUE}/{}/retry", letters[0].id);
    let tried: RetriedLetters = a.node().post(&retry, json!({})).await;
    assert_eq!(tried.retried, 1);
    eventually("it failed again", || async { a.queue().await.letters.iter().any(|letter| letter.tries == 1) }).await;

    // A reaction to what does not stand there yet comes with it.
    bob.react(&b.hears(at_b, long).await, ":soup:").await.unwrap();
    bob.say(at_b, "after the reaction").await.unwrap();
    a.hears(at_a, "after the reaction").await;
    set(a, "Message_MaxAllowedSize", json!(USUAL_SIZE));
    let tried: RetriedLetters = a.node().post(&format!("{QUEUE}/retry"), json!({})).await;
    assert_eq!(tried.retried, 1);
    a.hears(at_a, long).await;
    a.holds(at_a, "the reaction", |room| room.messages.iter().any(|message| !message.reactions.is_empty())).await;
    a.recovers(ProblemKind::Undeliverable).await;

    set(a, "Message_MaxAllowedSize", json!(30));
    bob.say(at_b, "once more far too long for the other server").await.unwrap();
    a.suffers(ProblemKind::Undeliverable).await;
    let id = a.queue().await.letters[0].id.clone();
    let (code, _) = a.node().raw("DELETE", &format!("{QUEUE}/{id}"), None).await;
    assert_eq!(code, StatusCode::NO_CONTENT);
    a.recovers(ProblemKind::Undeliverable).await;
    assert_eq!(a.node().refused("DELETE", &format!("{QUEUE}/{id}"), None).await, (404, "unknown_letter".to_owned()));
    lunch.close().await;
}

#[tokio::test]
async fn a_room_with_its_share_of_the_queue_waits_forgets_nothing_and_stops_no_other() {
    let mut lunch = Lunch::open().await;
    lunch.a.end().await;
    {
        let store = rocketmesh_node::open_store(lunch.a.directory.path(), 8).unwrap();
        let own = lunch.at_a.clone();
        // The room has its share, and all of them together as many as there may be.
        let rid = |number: u64| if number < 100 { own.clone() } else { format!("elsewhere {}", number / 100) };
        let letter = |number: u64| {
            let letter = json!({"rid": rid(number), "of": "m", "reason": "no", "at_ms": number});
            (format!("rc/letter/{number:012x}"), Some(letter.to_string().into_bytes()))
        };
        store.put_records(&(0..1000).map(letter).collect::<Vec<_>>()).unwrap();
        store.sync().unwrap();
    }
    lunch.begin_a().await;
    let Lunch { a, bob, at_a, at_b, .. } = &lunch;
    a.bridged().await;
    set(a, "Message_MaxAllowedSize", json!(30));
    bob.say(at_b, "far too long for the other server, but not for ours").await.unwrap();
    bob.say(at_b, "short").await.unwrap();
    a.suffers(ProblemKind::QueueFull).await;
    a.is_told_everywhere(ProblemKind::QueueFull).await;
    assert_eq!((a.times(at_a, "short"), a.queue().await.letters.len()), (0, 1000));
    let (code, _) = a.node().raw("DELETE", &format!("{QUEUE}/{:012x}", 7), None).await;
    assert_eq!(code, StatusCode::NO_CONTENT);
    a.hears(at_a, "short").await;
    a.recovers(ProblemKind::QueueFull).await;
    assert_eq!(a.queue().await.letters.len(), 1000, "the long one took the free place of its room");
    lunch.close().await;
}

#[tokio::test]
async fn the_release_of_the_server_is_told_again_after_a_restart_of_the_node() {
    let mut lunch = Lunch::open().await;
    lunch.a.end().await;
    lunch.begin_a().await;
    let a = &lunch.a;
    eventually("the release is told", || async { a.status().await.version.as_deref() == Some("8.8") }).await;
    assert_eq!(a.problem(ProblemKind::UnsupportedVersion).await, None);
    lunch.close().await;
}
