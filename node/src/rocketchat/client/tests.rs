//! The client against the stand-in for Rocket.Chat: what each call comes to, and each class of error.
#![allow(clippy::unwrap_used)]

use futures::StreamExt;
use rocketmesh_standin::{Fault, Options, Standin, Version, Wish, Wrong};

use super::*;

async fn start_like(version: Version) -> (Standin, Client) {
    let standin = Standin::start(Options { version, ..Options::default() }).await.unwrap();
    let bridge = standin.add_account("bridge", &["admin", "bot"]).unwrap();
    let client = Client::open(&standin.url()).unwrap();
    (standin, client.as_account(&Account { user_id: bridge.user_id, token: bridge.token }))
}

async fn start() -> (Standin, Client) {
    start_like(Version::default()).await
}

/// Makes a shadow as the bridge does, with a token for good.
async fn shadow(client: &Client, username: &str) -> (User, Client) {
    let new = NewUser {
        username: username.to_owned(),
        name: format!("{username} elsewhere"),
        email: format!("{username}@shadow.invalid"),
        password: "once and never again".to_owned(),
    };
    let user = client.users_create(&new).await.unwrap();
    let login = client.login(username, &new.password).await.unwrap();
    let token = client.as_account(&login).generate_personal_token("rocketmesh", &new.password).await.unwrap();
    (user, client.as_account(&token))
}

fn message(id: &str, rid: &str, text: &str) -> Outgoing {
    Outgoing { id: id.to_owned(), rid: rid.to_owned(), msg: text.to_owned(), ..Outgoing::default() }
}

#[tokio::test]
async fn every_release_is_told_apart() {
    for (version, release) in [(Version::V7_0, (7, 0)), (Version::V7_13, (7, 13)), (Version::V8_8, (8, 8))] {
        let (standin, client) = start_like(version).await;
        let stranger = Client::open(&standin.url()).unwrap();
        for client in [client, stranger] {
            let told = client.info().await.unwrap();
            assert_eq!((told.major, told.minor), release);
        }
    }
}

#[tokio::test]
async fn a_shadow_speaks_edits_reacts_and_takes_back_on_every_release() {
    for version in Version::ALL {
        let (standin, client) = start_like(version).await;
        let alice = standin.add_person("alice").unwrap();
        let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
        let (user, bob) = shadow(&client, "bob.elsewhere").await;
        client.invite(RoomKind::Channel, &room, &user.id).await.unwrap();

        let stored = bob.send_message(&message("event1", &room, "hungry")).await.unwrap();
        assert_eq!((stored.id.as_str(), stored.u.id.as_str()), ("event1", user.id.as_str()));
        let edited = bob.update_message(&room, "event1", "very hungry").await.unwrap();
        bob.react("event1", ":pizza:", true).await.unwrap();
        let read = client.get_message("event1").await.unwrap().unwrap();
        assert_eq!(read.msg, "very hungry");
        assert!(read.edited_at.is_some() && read.edited_at == edited);
        assert_eq!(client.update_message(&room, "event1", "very hungry").await, Ok(None), "it is not its own edit");
        assert_eq!(read.reactions[":pizza:"].usernames, ["bob.elsewhere"]);
        bob.delete_message(&room, "event1").await.unwrap();
        assert_eq!(client.get_message("event1").await.unwrap(), None);
        let gone = client.deleted_messages(&room, Moment(0)).await.unwrap();
        assert_eq!(gone, ["event1"]);
    }
}

#[tokio::test]
async fn an_id_that_is_known_stores_nothing_and_looking_tells() {
    let (standin, client) = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    client.send_message(&message("event1", &room, "once")).await.unwrap();
    let again = client.send_message(&message("event1", &room, "twice")).await.unwrap_err();
    assert!(matches!(again, RestError::Refused { .. }), "{again}");
    assert_eq!(client.get_message("event1").await.unwrap().unwrap().msg, "once");
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_open() {
    let (standin, client) = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    for (id, wrong, there) in [("a", Wrong::FailAfter, true), ("b", Wrong::FailBefore, false)] {
        standin.wish(Wish::Fault(Fault { call: Some("chat.sendMessage".to_owned()), times: 1, wrong })).unwrap();
        let error = client.send_message(&message(id, &room, "hm")).await.unwrap_err();
        assert!(error.is_outcome_unknown() && error.is_passing(), "{error}");
        assert_eq!(client.get_message(id).await.unwrap().is_some(), there);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_was_asked_nothing() {
    let (standin, client) = start().await;
    standin.stop().await;
    let error = client.me().await.unwrap_err();
    assert!(matches!(error, RestError::Unreachable { .. }), "{error}");
    assert!(!error.is_outcome_unknown() && error.is_passing());
}

#[tokio::test]
async fn an_expired_token_is_told_apart_on_every_release() {
    for version in Version::ALL {
        let (standin, client) = start_like(version).await;
        standin.wish(Wish::ExpireTokens { username: "bridge".to_owned() }).unwrap();
        assert_eq!(client.me().await.unwrap_err(), RestError::Unauthorized);
    }
}

#[tokio::test]
async fn a_restricted_workspace_is_told_apart() {
    let (standin, client) = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    client.send_message(&message("a", &room, "hm")).await.unwrap();
    standin.wish(Wish::Restrict { restricted: true }).unwrap();
    assert_eq!(client.send_message(&message("b", &room, "hm")).await.unwrap_err(), RestError::Restricted);
    assert_eq!(client.update_message(&room, "a", "oh").await.unwrap_err(), RestError::Restricted);
    assert!(RestError::Restricted.is_passing());
}

#[tokio::test]
async fn a_missing_permission_names_the_call() {
    for version in Version::ALL {
        let (standin, client) = start_like(version).await;
        let account = standin.add_account("plain", &["user"]).unwrap();
        let plain = client.as_account(&Account { user_id: account.user_id, token: account.token });
        let new = NewUser {
            username: "x".to_owned(),
            name: "x".to_owned(),
            email: "x@shadow.invalid".to_owned(),
            password: "password".to_owned(),
        };
        let error = plain.users_create(&new).await.unwrap_err();
        assert!(matches!(error, RestError::Forbidden { action: "users.create", .. }), "{error}");
        assert!(!error.is_passing());
    }
}

#[tokio::test]
async fn a_limit_says_when_it_ends() {
    let (standin, client) = start().await;
    standin.wish(Wish::Limit { on: true }).unwrap();
    let account = standin.add_account("plain", &["user"]).unwrap();
    let plain = client.as_account(&Account { user_id: account.user_id, token: account.token });
    let mut limited = None;
    for _ in 0..20 {
        if let Err(error) = plain.me().await {
            limited = Some(error);
            break;
        }
    }
    let Some(RestError::RateLimited { until_ms }) = limited else { panic!("no limit: {limited:?}") };
    let now = SystemClock.now_ms();
    assert!(until_ms > now && until_ms <= now + 61_000, "{until_ms} at {now}");
    // The service account is exempt.
    for _ in 0..20 {
        client.me().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_so() {
    let (_standin, client) = start().await;
    let error = client.update_message("nowhere", "nothing", "text").await.unwrap_err();
    assert!(!error.is_passing(), "{error}");
    let error = client.kick(RoomKind::Channel, "nowhere", "nobody").await.unwrap_err();
    assert!(matches!(error, RestError::NotFound { action: "channels.kick", .. }), "{error}");
    assert_eq!(client.user_by_name("nobody").await.unwrap(), None);
    assert_eq!(client.get_message("nothing").await.unwrap(), None);
}

#[tokio::test]
async fn bans_are_only_since_8_8() {
    for (version, known) in [(Version::V8_0, false), (Version::V8_8, true)] {
        let (standin, client) = start_like(version).await;
        let alice = standin.add_person("alice").unwrap();
        standin.add_person("carol").unwrap();
        let room = alice.create_channel("lunch", &["bridge", "carol"]).await.unwrap();
        let carol = client.user_by_name("carol").await.unwrap().unwrap();
        assert_eq!(client.info().await.unwrap().has_bans(), known);
        assert_eq!(client.ban(&room, &carol.id).await.is_ok(), known);
        if known {
            client.unban(&room, &carol.id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn rooms_are_made_changed_moderated_and_read() {
    let (standin, client) = start().await;
    standin.add_person("carol").unwrap();
    let carol = client.user_by_name("carol").await.unwrap().unwrap();
    for kind in [RoomKind::Channel, RoomKind::Group] {
        let name = format!("made-{kind:?}").to_lowercase();
        let new = NewRoom { name: name.clone(), members: vec!["carol".to_owned()] };
        let room = client.create_room(kind, &new).await.unwrap();
        assert_eq!((room.name.as_deref(), room.kind()), (Some(name.as_str()), Some(kind)));
        client.set_role(kind, &room.id, &carol.id, RoomRole::Moderator, true).await.unwrap();
        client.mute(&room.id, &carol.id).await.unwrap();
        assert_eq!(client.room_info(&room.id).await.unwrap().muted, ["carol"]);
        client.unmute(&room.id, &carol.id).await.unwrap();
        let settings = RoomSettings {
            room_topic: Some("soup".to_owned()),
            room_description: Some("of the day".to_owned()),
            read_only: Some(true),
            ..RoomSettings::default()
        };
        client.save_room_settings(&room.id, &settings).await.unwrap();
        let read = client.room_info(&room.id).await.unwrap();
        assert_eq!((read.topic.as_deref(), read.description.as_deref()), (Some("soup"), Some("of the day")));
        assert!(read.ro && read.muted.is_empty());
        let roles = client.roles(kind, &room.id).await.unwrap();
        let of_carol = roles.iter().find(|member| member.u.username == "carol").unwrap();
        assert_eq!(of_carol.roles, ["moderator"]);
        let members: Vec<String> =
            client.members(kind, &room.id).await.unwrap().into_iter().map(|user| user.username).collect();
        assert_eq!(members, ["bridge", "carol"]);
        client.set_role(kind, &room.id, &carol.id, RoomRole::Moderator, false).await.unwrap();
        client.kick(kind, &room.id, &carol.id).await.unwrap();
        assert_eq!(client.members(kind, &room.id).await.unwrap().len(), 1);
        client.archive(kind, &room.id, true).await.unwrap();
        assert!(client.room_info(&room.id).await.unwrap().archived);
        client.archive(kind, &room.id, false).await.unwrap();
    }
}

#[tokio::test]
async fn one_room_is_read_by_its_name_and_whether_the_account_is_in_it() {
    for version in Version::ALL {
        let (standin, client) = start_like(version).await;
        let alice = standin.add_person("alice").unwrap();
        let channel = alice.create_channel("lunch", &["bridge"]).await.unwrap();
        let other = alice.create_channel("dinner", &[]).await.unwrap();
        let new = NewRoom { name: "cooks".to_owned(), members: Vec::new() };
        let group = client.create_room(RoomKind::Group, &new).await.unwrap();
        assert_eq!(client.room_named(RoomKind::Channel, "lunch").await.unwrap().id, channel);
        assert_eq!(client.room_named(RoomKind::Group, "cooks").await.unwrap().id, group.id);
        for (kind, name) in [(RoomKind::Group, "lunch"), (RoomKind::Channel, "cooks"), (RoomKind::Channel, "nothing")] {
            let missing = client.room_named(kind, name).await;
            assert!(matches!(missing, Err(RestError::NotFound { .. })), "{missing:?}");
        }
        assert_eq!(client.subscription(&channel).await.unwrap().unwrap().rid, channel);
        assert_eq!(client.subscription(&other).await.unwrap(), None);
    }
}

#[tokio::test]
async fn members_are_read_to_the_last_page() {
    let (standin, client) = start().await;
    let names: Vec<String> = (0..PAGE * 2 + 1).map(|number| format!("user{number}")).collect();
    for name in &names {
        standin.add_account(name, &["user"]).unwrap();
    }
    let new = NewRoom { name: "all".to_owned(), members: names.clone() };
    let room = client.create_room(RoomKind::Channel, &new).await.unwrap();
    assert_eq!(client.members(RoomKind::Channel, &room.id).await.unwrap().len(), names.len() + 1);
}

#[tokio::test]
async fn a_direct_room_with_nobody_is_seen_to_be_one() {
    let (standin, client) = start().await;
    standin.add_person("alice").unwrap();
    let (_, bob) = shadow(&client, "bob.elsewhere").await;
    let room = bob.create_direct(&["alice".to_owned()]).await.unwrap();
    assert!(room.usernames.contains(&"alice".to_owned()), "{:?}", room.usernames);
    assert_eq!(room.kind(), Some(RoomKind::Direct));
    let alone = bob.create_direct(&["nobody".to_owned()]).await;
    assert!(alone.is_err() || alone.is_ok_and(|room| !room.usernames.contains(&"nobody".to_owned())));
}

#[tokio::test]
async fn catching_up_tells_what_is_new_and_what_is_gone() {
    for version in Version::ALL {
        let (standin, client) = start_like(version).await;
        let alice = standin.add_person("alice").unwrap();
        let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
        let gone = alice.say(&room, "a mistake").await.unwrap();
        let kept = alice.say(&room, "first").await.unwrap();
        let before = client.get_message(&kept).await.unwrap().unwrap().updated_at;
        let reply = alice.reply(&room, &kept, "second").await.unwrap();
        alice.delete(&room, &gone).await.unwrap();
        let changes = client.sync_messages(&room, before.before(1)).await.unwrap();
        let ids: Vec<&str> = changes.updated.iter().map(|message| message.id.as_str()).collect();
        assert!(ids.contains(&kept.as_str()) && ids.contains(&reply.as_str()), "{ids:?}");
        assert!(changes.removed.contains(&gone), "{:?}", changes.removed);
        let history = client.history(RoomKind::Channel, &room, (None, None), 100).await.unwrap().messages;
        assert!(history.iter().any(|message| message.tmid.as_deref() == Some(kept.as_str())));
        let rooms = client.rooms_get(None).await.unwrap();
        assert!(rooms.updated.iter().any(|known| known.id == room));
        let mine = client.subscriptions_get(Some(Moment(0))).await.unwrap();
        assert!(mine.updated.iter().any(|subscription| subscription.rid == room));
    }
}

#[tokio::test]
async fn changes_come_in_pages_oldest_first_and_releases_without_pages_refuse() {
    for version in Version::ALL {
        let (standin, client) = start_like(version).await;
        let alice = standin.add_person("alice").unwrap();
        let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
        let mut said = Vec::new();
        for number in 0..5 {
            said.push(alice.say(&room, &format!("number {number}")).await.unwrap());
            // A cursor is a millisecond.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let page = client.sync_page(&room, Moment(1), 100).await;
        if version < Version::V7_13 {
            assert!(matches!(page, Err(RestError::Refused { .. })), "{page:?}");
            continue;
        }
        let ids = |page: Page| -> Vec<String> {
            page.messages.into_iter().filter(|message| message.t.is_none()).map(|message| message.id).collect()
        };
        let all = page.unwrap();
        let second = all.messages.iter().find(|message| message.id == said[1]).unwrap().updated_at;
        assert_eq!(ids(all), said);
        assert_eq!(ids(client.sync_page(&room, second, 2).await.unwrap()), said[2..4]);
    }
}

#[tokio::test]
async fn a_webhook_speaks_in_a_restricted_workspace_and_what_it_said_carries_its_picture() {
    let (standin, client) = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    let hook = Wish::AddWebhook { username: "bridge".to_owned(), channel: "#lunch".to_owned() };
    let path = standin.wish(hook).unwrap()["path"].as_str().unwrap().to_owned();
    standin.wish(Wish::Restrict { restricted: true }).unwrap();
    let address = client.address().join(&path).unwrap();
    let avatar = format!("{}/avatar/bob?x=1", standin.url());
    let said = Hook { text: "hungry".to_owned(), alias: "bob (b)".to_owned(), avatar: avatar.clone() };
    client.post_webhook(&address, &said).await.unwrap();
    let told = loop {
        // What was said in this very millisecond is not history yet.
        let told = client.history(RoomKind::Channel, &room, (None, None), 10).await.unwrap().messages;
        if let Some(told) = told.into_iter().find(|message| message.msg == "hungry") {
            break told;
        }
    };
    assert_eq!((told.alias.as_deref(), told.avatar), (Some("bob (b)"), Some(avatar)));
    let wrong = client.address().join("/hooks/no/such").unwrap();
    assert!(!client.post_webhook(&wrong, &said).await.unwrap_err().is_passing());
}

#[tokio::test]
async fn files_go_up_and_come_down_whole() {
    let (standin, client) = start().await;
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let parts: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(7000).map(|part| Ok(part.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(parts));
    let body = UploadBody::Stream(stream, bytes.len() as u64);
    let file = client.upload(&room, "a menu.pdf", "application/pdf", body).await.unwrap();
    let said = client.confirm_upload(&room, &file.id, "the menu", None).await.unwrap();
    assert_eq!((said.msg.as_str(), said.attachments[0].description.as_deref()), ("the menu", None));
    let sent = said.sent_files();
    assert_eq!((sent.len(), sent[0].id.as_str(), sent[0].name.as_str()), (1, file.id.as_str(), "a menu.pdf"));

    let download = client.download(&file.id, &sent[0].name, bytes.len() as u64).await.unwrap();
    assert_eq!(download.mime(), Some("application/pdf"));
    let come: Vec<Vec<u8>> = download.into_stream().map(Result::unwrap).collect().await;
    assert_eq!(come.concat(), bytes);
    let error = client.download(&file.id, &sent[0].name, 1000).await.unwrap_err();
    assert_eq!(error, RestError::TooLarge { action: "file-upload", limit: 1000 });
    let error = client.download("nothing", "x", 1000).await.unwrap_err();
    assert!(matches!(error, RestError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_shadow_has_the_name_and_the_picture_that_it_has_elsewhere() {
    let (_standin, client) = start().await;
    let (user, bob) = shadow(&client, "bob.elsewhere").await;
    let change = ProfileChange { name: Some("Robert".to_owned()), ..ProfileChange::default() };
    client.users_update(&user.id, &change).await.unwrap();
    client.set_avatar(&user.id, "image/png", vec![1, 2, 3]).await.unwrap();
    let me = bob.me().await.unwrap();
    assert_eq!(me.name.as_deref(), Some("Robert"));
    assert!(me.avatar_etag.is_some());
    let mut picture = client.avatar("bob.elsewhere", 1000).await.unwrap();
    assert_eq!(picture.next().await.unwrap(), Some(vec![1, 2, 3]));
    client.set_active(&user.id, false).await.unwrap();
    assert_eq!(bob.me().await.unwrap_err(), RestError::Unauthorized);
}

#[tokio::test]
async fn what_the_service_account_says_for_somebody_has_their_name() {
    for version in Version::ALL {
        let (standin, client) = start_like(version).await;
        let alice = standin.add_person("alice").unwrap();
        let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
        let spoken = Spoken {
            room_id: room.clone(),
            text: "hello".to_owned(),
            alias: Some("Bob".to_owned()),
            ..Spoken::default()
        };
        assert_eq!(client.post_message(&spoken).await.unwrap().alias.as_deref(), Some("Bob"));
    }
}

/// A server that answers every request with this, for what no Rocket.Chat says.
async fn server_saying(answer: String) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_where_to() {
    let url = server_saying(
        "HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/api\r\ncontent-length: 0\r\n\r\n".to_owned(),
    )
    .await;
    let account = Account { user_id: "u".to_owned(), token: "t".to_owned() };
    let error = Client::open(&url).unwrap().as_account(&account).me().await.unwrap_err();
    assert!(matches!(error, RestError::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("https://elsewhere.example/api"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_json_or_has_no_end_is_an_error() {
    let url = server_saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned()).await;
    let error = Client::open(&url).unwrap().info().await.unwrap_err();
    assert!(matches!(error, RestError::Malformed { .. }), "{error}");
    let url = server_saying("HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n{".to_owned()).await;
    let error = Client::open(&url).unwrap().info().await.unwrap_err();
    assert!(matches!(error, RestError::TooLarge { .. }), "{error}");
}

#[test]
fn addresses_are_those_of_web_servers_without_secrets() {
    assert_eq!(server_address("https://chat.example.org").unwrap().as_str(), "https://chat.example.org/");
    assert_eq!(server_address(" http://x/chat?a#b ").unwrap().as_str(), "http://x/chat/");
    for wrong in ["", "chat.example.org", "ftp://x", "javascript:1"] {
        assert!(server_address(wrong).is_err(), "{wrong}");
    }
    let error = server_address("https://me:secret@x").unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn limits_end_within_reason_whatever_the_server_says() {
    let now = SystemClock.now_ms();
    let told = |reset: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-reset", reset.parse().unwrap());
        limit_end(&headers)
    };
    assert!(told("99999999999999") <= SystemClock.now_ms() + MAX_LIMIT_MS);
    assert!(told("0") >= now);
    assert!(told("nonsense") >= now + LIMIT_WINDOW_MS);
}

#[test]
fn a_redirect_of_a_webhook_does_not_tell_the_secret_in_its_address() {
    assert_eq!(shown("https://chat.example.org/hooks/ID/TOKEN"), "https://chat.example.org");
    assert_eq!(shown("https://chat.example.org/api/v1/me?token=T#T"), "https://chat.example.org/api/v1/me");
    assert_eq!(shown(&"x".repeat(1000)).len(), 200);
}
