//! Rooms, memberships, accounts, tokens and limits.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_standin::{Options, Person, Standin, Version, Wish, sha256};
use serde_json::{Value, json};
use support::{start, start_like};

#[tokio::test]
async fn the_id_of_a_direct_room_says_who_is_in_it() {
    let standin = start().await;
    let (alice, bob) = (standin.add_person("alice").unwrap(), standin.add_person("bob").unwrap());
    let room = alice.direct("bob").await.unwrap();
    let mut ids = [alice.id.as_str(), bob.id.as_str()];
    ids.sort_unstable();
    assert_eq!(room, ids.concat());
    assert_eq!(bob.direct("alice").await.unwrap(), room);
}

#[tokio::test]
async fn an_unknown_name_gives_a_direct_room_with_oneself() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let answer: Value = alice.post("im.create", json!({"username": "nobody"})).await.unwrap();
    assert_eq!(answer["room"]["usernames"], json!(["alice"]));
}

#[tokio::test]
async fn a_direct_room_of_others_is_invisible_to_the_service_account() {
    let standin = start().await;
    let (alice, _) = (standin.add_person("alice").unwrap(), standin.add_person("bob").unwrap());
    let bridge = standin.person(&standin.add_account("bridge", &["admin", "bot"]).unwrap());
    let room = alice.direct("bob").await.unwrap();
    let message = alice.say(&room, "Between us").await.unwrap();
    assert!(bridge.get::<Value>("chat.getMessage", &[("msgId", message.as_str())]).await.is_err());
    assert_eq!(bridge.get::<Value>("im.history", &[("roomId", room.as_str())]).await.unwrap_err().status(), Some(403));
}

#[tokio::test]
async fn names_with_an_at_or_a_colon_are_refused() {
    let standin = start().await;
    let bridge = standin.person(&standin.add_account("bridge", &["admin", "bot"]).unwrap());
    for username in ["bob@cusco.example.org", "bob:cusco"] {
        let body = json!({"email": "b@example.org", "name": "Bob", "username": username, "password": "secret"});
        let refused = bridge.post::<Value>("users.create", body).await.unwrap_err();
        assert_eq!(refused.code(), Some("error-input-is-not-a-valid-field"), "{username}");
    }
}

#[tokio::test]
async fn a_shadow_is_made_and_gets_a_token_for_good_by_its_password() {
    let standin = start().await;
    let bridge = standin.person(&standin.add_account("bridge", &["admin", "bot"]).unwrap());
    let body = json!({
        "email": "b@example.org", "name": "Bob", "username": "bob.cusco", "password": "secret",
        "roles": ["user", "bot"], "verified": false, "joinDefaultChannels": false, "requirePasswordChange": false,
    });
    let made: Value = bridge.post("users.create", body.clone()).await.unwrap();
    assert_eq!(made["user"]["username"], "bob.cusco");
    assert_eq!(bridge.post::<Value>("users.create", body).await.unwrap_err().code(), Some("error-field-unavailable"));
    let bob = Person::log_in(&standin.url(), "bob.cusco", "secret").await.unwrap();
    assert_eq!(Person::log_in(&standin.url(), "bob.cusco", "wrong").await.unwrap_err().status(), Some(401));
    let ask = json!({"tokenName": "rocketmesh", "bypassTwoFactor": true});
    let refused = bob.post::<Value>("users.generatePersonalAccessToken", ask.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Some("totp-required"));
    let url = format!("{}/api/v1/users.generatePersonalAccessToken", standin.url());
    let request = reqwest::Client::new().post(url).json(&ask);
    let request = request.header("X-User-Id", bob.id.as_str()).header("X-Auth-Token", bob.token.as_str());
    let request = request.header("x-2fa-method", "password").header("x-2fa-code", sha256(b"secret"));
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let mut again = bob.clone();
    again.token = answer["token"].as_str().unwrap().to_owned();
    let me: Value = again.get("me", &[]).await.unwrap();
    assert_eq!((&me["username"], &me["roles"]), (&json!("bob.cusco"), &json!(["user", "bot"])));
}

#[tokio::test]
async fn an_expired_token_is_refused_with_401() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    standin.wish(Wish::ExpireTokens { username: "alice".to_owned() }).unwrap();
    assert_eq!(alice.get::<Value>("me", &[]).await.unwrap_err().status(), Some(401));
}

#[tokio::test]
async fn the_eleventh_call_in_a_minute_waits_for_a_moment_that_is_named_and_a_bot_does_not_wait() {
    let standin = Standin::start(Options { limited: true, ..Options::default() }).await.unwrap();
    let alice = standin.add_person("alice").unwrap();
    let bot = standin.person(&standin.add_account("robot", &["user", "bot"]).unwrap());
    for _ in 0..10 {
        let _: Value = alice.get("me", &[]).await.unwrap();
    }
    let url = format!("{}/api/v1/me", standin.url());
    let request = reqwest::Client::new()
        .get(url)
        .header("X-User-Id", alice.id.as_str())
        .header("X-Auth-Token", alice.token.as_str());
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 429);
    let header = |name: &str| refused.headers()[name].to_str().unwrap().parse::<i64>().unwrap();
    assert_eq!((header("x-ratelimit-limit"), header("x-ratelimit-remaining")), (10, 0));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let wait = header("x-ratelimit-reset") - i64::try_from(now.as_millis()).unwrap();
    assert!((1..=60_000).contains(&wait), "{wait}");
    for _ in 0..12 {
        let _: Value = bot.get("me", &[]).await.unwrap();
    }
}

#[tokio::test]
async fn logins_are_limited_for_everybody_by_address() {
    let standin = Standin::start(Options { limited: true, ..Options::default() }).await.unwrap();
    let account = standin.add_account("robot", &["user", "bot"]).unwrap();
    for _ in 0..10 {
        Person::log_in(&standin.url(), "robot", &account.password).await.unwrap();
    }
    let refused = Person::log_in(&standin.url(), "robot", &account.password).await.unwrap_err();
    assert_eq!(refused.status(), Some(429));
}

#[tokio::test]
async fn joining_leaving_adding_and_removing_leave_their_marks_in_the_room() {
    let standin = start().await;
    let (alice, bob) = (standin.add_person("alice").unwrap(), standin.add_person("bob").unwrap());
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    bob.join(&room).await.unwrap();
    bob.leave(&room).await.unwrap();
    alice.invite(&room, &bob.id).await.unwrap();
    alice.kick(&room, &bob.id).await.unwrap();
    alice.set_room(&room, json!({"roomTopic": "Soup"})).await.unwrap();
    alice.set_room(&room, json!({"roomTopic": "Soup"})).await.unwrap();
    let held = standin.dump()[1].clone();
    let marks: Vec<_> = held
        .messages
        .iter()
        .map(|message| (message.kind.as_deref().unwrap(), message.who.as_str(), message.text.as_str()))
        .collect();
    assert_eq!(
        marks,
        [
            ("uj", "bob", "bob"),
            ("ul", "bob", "bob"),
            ("au", "alice", "bob"),
            ("ru", "alice", "bob"),
            ("room_changed_topic", "alice", "Soup"),
        ]
    );
}

#[tokio::test]
async fn the_last_owner_does_not_leave() {
    let standin = start().await;
    let (alice, bob) = (standin.add_person("alice").unwrap(), standin.add_person("bob").unwrap());
    let room = alice.create_channel("lunch", &["bob"]).await.unwrap();
    assert_eq!(alice.leave(&room).await.unwrap_err().code(), Some("error-you-are-last-owner"));
    let _: Value = alice.post("channels.addOwner", json!({"roomId": room, "userId": bob.id})).await.unwrap();
    alice.leave(&room).await.unwrap();
    assert_eq!(
        standin.dump()[1].members.clone().into_iter().collect::<Vec<_>>(),
        [("bob".to_owned(), vec!["owner".to_owned()])]
    );
}

#[tokio::test]
async fn a_ban_keeps_somebody_out_and_version_8_0_knows_none() {
    let standin = start().await;
    let (alice, bob) = (standin.add_person("alice").unwrap(), standin.add_person("bob").unwrap());
    let room = alice.create_channel("lunch", &["bob"]).await.unwrap();
    alice.ban(&room, &bob.id).await.unwrap();
    assert_eq!(standin.dump()[1].banned, ["bob"]);
    assert!(bob.say(&room, "Hello").await.is_err());
    assert!(bob.join(&room).await.is_err());
    let old = start_like(Version::V8_0).await;
    let (alice, bob) = (old.add_person("alice").unwrap(), old.add_person("bob").unwrap());
    let room = alice.create_channel("lunch", &["bob"]).await.unwrap();
    assert_eq!(alice.ban(&room, &bob.id).await.unwrap_err().status(), Some(404));
}

#[tokio::test]
async fn a_private_group_is_found_only_by_who_is_in_it() {
    let standin = start().await;
    let (alice, bob) = (standin.add_person("alice").unwrap(), standin.add_person("bob").unwrap());
    let room = alice.create_group("secret", &[]).await.unwrap();
    alice.say(&room, "Nobody reads this").await.unwrap();
    let refused = bob.get::<Value>("groups.history", &[("roomId", room.as_str())]).await.unwrap_err();
    assert_eq!(refused.code(), Some("error-room-not-found"));
    assert!(bob.say(&room, "Hello").await.is_err());
}

#[tokio::test]
async fn a_picture_is_shown_as_it_was_set() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    alice.set_avatar("image/png", b"a face").await.unwrap();
    assert_eq!(alice.download("/avatar/alice").await.unwrap(), b"a face");
}

#[tokio::test]
async fn a_version_is_told_in_short_to_strangers_and_whole_to_administrators() {
    for version in Version::ALL {
        let standin = start_like(version).await;
        let url = format!("{}/api/info", standin.url());
        let stranger: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
        assert_eq!(stranger["version"], version.short());
        let bridge = standin.add_account("bridge", &["admin", "bot"]).unwrap();
        let request =
            reqwest::Client::new().get(url).header("X-User-Id", bridge.user_id).header("X-Auth-Token", bridge.token);
        let known: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(known["version"], version.number());
    }
}

#[tokio::test]
async fn a_call_that_no_rocket_chat_has_is_answered_with_404() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    assert_eq!(alice.post::<Value>("chat.nonsense", json!({})).await.unwrap_err().status(), Some(404));
}
