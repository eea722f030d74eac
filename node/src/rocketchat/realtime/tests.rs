//! The realtime half against the stand-in, and against servers that no Rocket.Chat is.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use futures::{SinkExt, StreamExt};
use rocketmesh_standin::{Options, Person, Standin, Wish};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message as Ws;

use super::*;
use crate::rocketchat::client::server_address;

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

fn quick() -> RealtimeTuning {
    RealtimeTuning {
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(100),
        ..RealtimeTuning::default()
    }
}

struct Scene {
    standin: Standin,
    alice: Person,
    room: String,
    handle: RealtimeHandle,
    heard: mpsc::Receiver<RealtimeEvent>,
}

async fn scene(options: Options, tuning: RealtimeTuning) -> Scene {
    let standin = Standin::start(options).await.unwrap();
    let bridge = standin.add_account("bridge", &["admin", "bot"]).unwrap();
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    let account = Account { user_id: bridge.user_id, token: bridge.token };
    let (handle, heard) = Realtime::connect(&server_address(&standin.url()).unwrap(), &account, tuning);
    Scene { standin, alice, room, handle, heard }
}

/// Waits for an event that is meant, and forgets those before it.
async fn until<T>(
    heard: &mut mpsc::Receiver<RealtimeEvent>,
    what: &str,
    mut meant: impl FnMut(&RealtimeEvent) -> Option<T>,
) -> T {
    let search = async {
        loop {
            let event = heard.recv().await.expect("the task goes on");
            if let Some(found) = meant(&event) {
                return found;
            }
        }
    };
    timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

async fn connected(heard: &mut mpsc::Receiver<RealtimeEvent>) {
    until(heard, "a connection", |event| matches!(event, RealtimeEvent::Connected).then_some(())).await;
}

async fn said(heard: &mut mpsc::Receiver<RealtimeEvent>, id: &str) -> Box<Message> {
    until(heard, "a message", |event| match event {
        RealtimeEvent::Message { message, room } if message.id == id => {
            assert_eq!(room.kind, "c");
            Some(message.clone())
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_message_its_edit_its_reaction_and_its_end_are_heard() {
    let Scene { standin: _standin, alice, room, handle, mut heard } = scene(Options::default(), quick()).await;
    connected(&mut heard).await;
    handle.watch_room(&room).unwrap();
    let id = alice.say(&room, "hungry").await.unwrap();
    assert_eq!(said(&mut heard, &id).await.msg, "hungry");
    alice.edit(&room, &id, "very hungry").await.unwrap();
    let edited = said(&mut heard, &id).await;
    assert!(edited.edited_at.is_some());
    alice.react(&id, ":pizza:").await.unwrap();
    assert_eq!(said(&mut heard, &id).await.reactions.len(), 1);
    // The stream of deletions may not be open yet: then another one is heard a moment later.
    let mut doomed = id;
    let gone = loop {
        alice.delete(&room, &doomed).await.unwrap();
        let end = timeout(Duration::from_millis(500), async {
            until(&mut heard, "the end", |event| match event {
                RealtimeEvent::MessageDeleted { rid, id } => Some((rid.clone(), id.clone())),
                _ => None,
            })
            .await
        });
        if let Ok(gone) = end.await {
            break gone;
        }
        doomed = alice.say(&room, "again").await.unwrap();
    };
    assert_eq!(gone, (room, doomed));
}

#[tokio::test]
async fn people_rooms_and_names_are_heard() {
    let Scene { standin, alice, room, handle: _handle, mut heard } = scene(Options::default(), quick()).await;
    connected(&mut heard).await;
    alice.post::<Value>("users.setStatus", json!({"status": "busy", "message": "cooking"})).await.unwrap();
    until(&mut heard, "a status", |event| match event {
        RealtimeEvent::UserStatus { username, status: "busy", text, .. } => {
            assert_eq!((username.as_str(), text.as_deref()), ("alice", Some("cooking")));
            Some(())
        }
        _ => None,
    })
    .await;
    alice.set_avatar("image/png", &[1]).await.unwrap();
    until(&mut heard, "a picture", |event| match event {
        RealtimeEvent::AvatarChanged { username, etag: Some(_) } if username == "alice" => Some(()),
        _ => None,
    })
    .await;
    alice.set_room(&room, json!({"roomTopic": "soup"})).await.unwrap();
    until(&mut heard, "a topic", |event| match event {
        RealtimeEvent::RoomsChanged { change: Change::Updated, room } if room.topic.as_deref() == Some("soup") => {
            Some(())
        }
        _ => None,
    })
    .await;
    let other = alice.create_channel("dinner", &["bridge"]).await.unwrap();
    until(&mut heard, "a subscription", |event| match event {
        RealtimeEvent::SubscriptionsChanged { change: Change::Inserted, subscription } if subscription.rid == other => {
            Some(())
        }
        _ => None,
    })
    .await;
    let bridge: Value = alice.get("users.info", &[("username", "bridge")]).await.unwrap();
    alice.kick(&other, bridge["user"]["_id"].as_str().unwrap()).await.unwrap();
    until(&mut heard, "its end", |event| match event {
        RealtimeEvent::SubscriptionsChanged { change: Change::Removed, .. } => Some(()),
        _ => None,
    })
    .await;
    drop(standin);
}

#[tokio::test]
async fn rooms_that_the_account_is_not_in_are_not_heard() {
    let Scene { standin: _standin, alice, room, handle, mut heard } = scene(Options::default(), quick()).await;
    connected(&mut heard).await;
    let other = alice.create_channel("without", &[]).await.unwrap();
    alice.say(&other, "secret").await.unwrap();
    let id = alice.say(&room, "open").await.unwrap();
    until(&mut heard, "the other message", |event| match event {
        RealtimeEvent::Message { message, .. } => {
            assert_ne!(message.rid, other);
            (message.id == id).then_some(())
        }
        _ => None,
    })
    .await;
    handle.watch_room(&other).unwrap();
    until(&mut heard, "a refusal", |event| match event {
        RealtimeEvent::WatchRefused { rid } => {
            assert_eq!(*rid, other);
            Some(())
        }
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn every_new_connection_is_announced_and_watches_again() {
    let Scene { standin, alice, room, handle, mut heard } = scene(Options::default(), quick()).await;
    connected(&mut heard).await;
    handle.watch_room(&room).unwrap();
    for _ in 0..3 {
        standin.wish(Wish::DropWebsockets).unwrap();
        let reason = until(&mut heard, "the end", |event| match event {
            RealtimeEvent::Closed { reason } => Some(reason.clone()),
            _ => None,
        })
        .await;
        assert_eq!(reason, ClosedReason::ByServer);
        connected(&mut heard).await;
        let id = alice.say(&room, "still here").await.unwrap();
        said(&mut heard, &id).await;
    }
    assert_eq!(handle.watched().len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_said_to_be_so() {
    let Scene { standin, alice: _alice, room: _room, handle: _handle, mut heard } =
        scene(Options::default(), quick()).await;
    connected(&mut heard).await;
    standin.wish(Wish::ExpireTokens { username: "bridge".to_owned() }).unwrap();
    until(&mut heard, "the refusal", |event| {
        matches!(event, RealtimeEvent::Closed { reason: ClosedReason::Unauthorized }).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_asks_whether_somebody_is_there_is_answered() {
    let silence = Duration::from_millis(100);
    let Scene { standin, alice, room, handle: _handle, mut heard } =
        scene(Options { silence, ..Options::default() }, quick()).await;
    connected(&mut heard).await;
    // Several times as long as it would bear.
    let begun = Instant::now();
    while begun.elapsed() < silence * 8 {
        tokio::task::yield_now().await;
        if let Ok(event) = heard.try_recv() {
            assert!(!matches!(event, RealtimeEvent::Closed { .. }), "{event:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(standin.wish(Wish::Websockets).unwrap(), json!(1));
    let id = alice.say(&room, "still the same connection").await.unwrap();
    until(&mut heard, "a message", |event| match event {
        RealtimeEvent::Message { message, .. } if message.id == id => Some(()),
        RealtimeEvent::Closed { reason } => panic!("it ended: {reason}"),
        _ => None,
    })
    .await;
}

/// A server that logs everybody in and then says nothing; it counts the subscriptions of rooms.
async fn mute_server() -> (Url, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = server_address(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (told, asked) = mpsc::channel(10_000);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(frame)) = socket.next().await {
                    let Ok(frame) = serde_json::from_str::<Value>(frame.to_text().unwrap_or_default()) else {
                        continue;
                    };
                    let answer = match frame["msg"].as_str() {
                        Some("connect") => json!({"msg": "connected", "session": "s"}),
                        Some("method") => json!({"msg": "result", "id": frame["id"], "result": {}}),
                        Some("sub") if frame["id"] == "messages" => json!({"msg": "ready", "subs": ["messages"]}),
                        Some("sub") if frame["name"] == "stream-notify-room" => {
                            let _ = told.send(text(&frame["params"][0])).await;
                            continue;
                        }
                        Some(_) => {
                            let _ = told.send(text(&frame["msg"])).await;
                            continue;
                        }
                        None => continue,
                    };
                    if socket.send(Ws::text(answer.to_string())).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, asked)
}

fn nobody() -> Account {
    Account { user_id: "u".to_owned(), token: "t".to_owned() }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_asked_and_then_left() {
    let (url, _asked) = mute_server().await;
    let tuning = RealtimeTuning { silence: Duration::from_millis(50), ..quick() };
    let (_handle, mut heard) = Realtime::connect(&url, &nobody(), tuning);
    connected(&mut heard).await;
    until(&mut heard, "the end of patience", |event| {
        matches!(event, RealtimeEvent::Closed { reason: ClosedReason::Silence }).then_some(())
    })
    .await;
    connected(&mut heard).await;
}

#[tokio::test]
async fn rooms_are_watched_at_the_pace_and_deletions_first() {
    let (url, mut asked) = mute_server().await;
    let window = Duration::from_millis(200);
    let tuning = RealtimeTuning { subscriptions: 4, window, ..quick() };
    let (handle, mut heard) = Realtime::connect(&url, &nobody(), tuning);
    for number in 0..4 {
        handle.watch_room(&format!("room{number}")).unwrap();
    }
    connected(&mut heard).await;
    let begun = Instant::now();
    let mut order = Vec::new();
    while order.len() < 12 {
        let frame = timeout(PATIENCE, asked.recv()).await.unwrap().unwrap();
        if let Some((_, event)) = frame.split_once('/') {
            order.push(event.to_owned());
        }
    }
    // Twelve at four a window: two whole windows lie between. What is read may be late, never early.
    assert!(begun.elapsed() + Duration::from_millis(50) >= window * 2, "{:?}", begun.elapsed());
    assert!(order[..4].iter().all(|event| event == "deleteMessage"), "{order:?}");
    assert!(order[8..].iter().all(|event| event == "user-activity"), "{order:?}");
}

#[tokio::test]
async fn a_bridge_that_does_not_keep_up_loses_the_connection_and_catches_up_after_it() {
    let Scene { standin: _standin, alice, room, handle: _handle, mut heard } = scene(Options::default(), quick()).await;
    connected(&mut heard).await;
    // Nobody takes what is heard. Each status is one event.
    for number in 0..MAX_WAITING + 50 {
        let status = json!({"status": "busy", "message": number.to_string()});
        alice.post::<Value>("users.setStatus", status).await.unwrap();
    }
    let mut events = 0;
    until(&mut heard, "the overrun", |event| {
        events += 1;
        matches!(event, RealtimeEvent::Closed { reason: ClosedReason::Overrun }).then_some(())
    })
    .await;
    assert!(events <= MAX_WAITING + 1, "{events}");
    connected(&mut heard).await;
    let id = alice.say(&room, "hello again").await.unwrap();
    said(&mut heard, &id).await;
}

#[tokio::test]
async fn that_a_shadow_types_is_seen_in_the_room() {
    let Scene { standin, alice: _alice, room, handle, mut heard } = scene(Options::default(), quick()).await;
    connected(&mut heard).await;
    handle.watch_room(&room).unwrap();
    let bob = standin.add_account("bob", &["user", "bot"]).unwrap();
    let account = Account { user_id: bob.user_id, token: bob.token };
    let typing = Typing::start(&server_address(&standin.url()).unwrap(), quick());
    // The stream may not be open yet, and signs are not kept: they are shown until one is seen.
    let seen = loop {
        typing.show(&account, "bob", &room, true);
        let sign = timeout(Duration::from_millis(200), async {
            until(&mut heard, "a sign", |event| match event {
                RealtimeEvent::UserActivity { rid, username, activities } => {
                    Some((rid.clone(), username.clone(), activities.clone()))
                }
                _ => None,
            })
            .await
        });
        if let Ok(seen) = sign.await {
            break seen;
        }
    };
    assert_eq!(seen, (room, "bob".to_owned(), vec!["user-typing".to_owned()]));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = server_address(&format!("http://{address}")).unwrap();
    let (_handle, mut heard) = Realtime::connect(&url, &nobody(), quick());
    for _ in 0..2 {
        until(&mut heard, "a failure", |event| {
            matches!(event, RealtimeEvent::Closed { reason: ClosedReason::Unreachable(_) }).then_some(())
        })
        .await;
    }
}

#[test]
fn frames_that_are_not_as_expected_mean_nothing_and_do_no_harm() {
    for frame in [
        json!({"eventName": "__my_messages__", "args": []}),
        json!({"eventName": "__my_messages__", "args": [7, {"roomParticipant": true}]}),
        json!({"eventName": "__my_messages__", "args": [{"_id": "", "rid": ""}, {"roomParticipant": true}]}),
        json!({"eventName": "__my_messages__", "args": [{"_id": "a", "rid": "b", "_hidden": true}, {"roomParticipant": true}]}),
        json!({"eventName": "no-slash", "args": [{"_id": 1}]}),
        json!({"eventName": "r/deleteMessage", "args": [{"_id": 1}]}),
        json!({"eventName": "r/user-activity", "args": [null, null]}),
        json!({"eventName": "user-status", "args": [["id", "name", 99]]}),
        json!({"eventName": "u/subscriptions-changed", "args": ["sideways", {}]}),
    ] {
        for stream in
            [frames::ROOM_MESSAGES, frames::NOTIFY_ROOM, frames::NOTIFY_USER, frames::NOTIFY_LOGGED, "stream-unknown"]
        {
            let fields = serde_json::from_value(frame.clone()).unwrap();
            assert_eq!(frames::event(stream, fields), None, "{stream}: {frame}");
        }
    }
}

#[test]
fn the_websocket_stands_beside_the_api() {
    let address = |url: &str| websocket_address(&server_address(url).unwrap()).unwrap();
    assert_eq!(address("https://chat.example.org"), "wss://chat.example.org/websocket");
    assert_eq!(address("http://x:3000/chat"), "ws://x:3000/chat/websocket");
}

#[test]
fn no_more_rooms_are_watched_than_there_is_time_for() {
    let handle = RealtimeHandle { watched: Arc::new(Watched::default()) };
    for number in 0..MAX_WATCHED {
        handle.watch_room(&number.to_string()).unwrap();
    }
    handle.watch_room("0").unwrap();
    assert_eq!(handle.watch_room("one more"), Err(TooManyRooms));
}

#[tokio::test]
async fn a_server_that_promises_tls_and_speaks_none_is_unreachable() {
    let (url, _asked) = mute_server().await;
    let secure = Url::parse(&url.as_str().replacen("http://", "https://", 1)).unwrap();
    let (_handle, mut heard) = Realtime::connect(&secure, &nobody(), quick());
    until(&mut heard, "a failure", |event| {
        matches!(event, RealtimeEvent::Closed { reason: ClosedReason::Unreachable(_) }).then_some(())
    })
    .await;
}
