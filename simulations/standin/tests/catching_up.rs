//! Catching up: what the lists of changes say, and what they leave out.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_standin::{Moment, Person, Standin, Version, Wish};
use serde_json::Value;
use support::{start, start_like};

const LONG_AGO: &str = "2020-01-01T00:00:00.000Z";

async fn three_messages(standin: &Standin) -> (Person, String) {
    let alice = standin.add_person("alice").unwrap();
    let room = alice.create_channel("lunch", &[]).await.unwrap();
    for text in ["one", "two", "three"] {
        alice.say(&room, text).await.unwrap();
    }
    (alice, room)
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|message| message["msg"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn changes_since_a_moment_come_newest_first() {
    let standin = start().await;
    let (alice, room) = three_messages(&standin).await;
    let sync: Value =
        alice.get("chat.syncMessages", &[("roomId", room.as_str()), ("lastUpdate", LONG_AGO)]).await.unwrap();
    let updated = &sync["result"]["updated"];
    let moments: Vec<i64> = updated
        .as_array()
        .unwrap()
        .iter()
        .map(|message| Moment::parse(message["ts"].as_str().unwrap()).unwrap().0)
        .collect();
    assert_eq!(moments.len(), 3);
    assert!(moments.is_sorted_by(|one, other| one >= other), "{moments:?}");
}

#[tokio::test]
async fn a_cursor_is_exclusive_so_of_two_documents_in_one_millisecond_a_page_may_end_between() {
    let standin = start().await;
    standin.wish(Wish::Freeze { frozen: true }).unwrap();
    let (alice, room) = three_messages(&standin).await;
    let page = |next: String| {
        let (alice, room) = (alice.clone(), room.clone());
        async move {
            let query = [("roomId", room.as_str()), ("type", "UPDATED"), ("next", next.as_str()), ("count", "2")];
            alice.get::<Value>("chat.syncMessages", &query).await.unwrap()
        }
    };
    let first = page("1".to_owned()).await;
    assert_eq!(texts(&first["result"]["updated"]), ["one", "two"]);
    let next = first["result"]["cursor"]["next"].as_str().unwrap().to_owned();
    let second = page(next.clone()).await;
    assert_eq!(texts(&second["result"]["updated"]), [""; 0], "the third is of the same millisecond, and is missed");
    let before = (next.parse::<i64>().unwrap() - 1).to_string();
    let again = page(before.clone()).await;
    assert_eq!(texts(&again["result"]["updated"]), ["one", "two"]);
    let iso = Moment(before.parse().unwrap()).iso();
    let all: Value =
        alice.get("chat.syncMessages", &[("roomId", room.as_str()), ("lastUpdate", iso.as_str())]).await.unwrap();
    assert_eq!(all["result"]["updated"].as_array().unwrap().len(), 3, "the other form has them all");
}

#[tokio::test]
async fn the_paged_form_answers_nothing_without_a_cursor_and_everything_from_1() {
    let standin = start().await;
    let (alice, room) = three_messages(&standin).await;
    let nothing: Value =
        alice.get("chat.syncMessages", &[("roomId", room.as_str()), ("type", "UPDATED")]).await.unwrap();
    assert_eq!(texts(&nothing["result"]["updated"]), [""; 0]);
    let query = [("roomId", room.as_str()), ("type", "UPDATED"), ("next", "1")];
    let everything: Value = alice.get("chat.syncMessages", &query).await.unwrap();
    assert_eq!(texts(&everything["result"]["updated"]), ["one", "two", "three"]);
    assert!(everything["result"]["cursor"]["next"].is_null());
}

#[tokio::test]
async fn version_7_0_knows_no_pages_and_7_13_does() {
    for (version, knows) in [(Version::V7_0, false), (Version::V7_13, true)] {
        let standin = start_like(version).await;
        let (alice, room) = three_messages(&standin).await;
        let query = [("roomId", room.as_str()), ("type", "UPDATED"), ("next", "1")];
        let answer = alice.get::<Value>("chat.syncMessages", &query).await;
        assert_eq!(answer.is_ok(), knows, "{version}: {answer:?}");
    }
}

#[tokio::test]
async fn a_change_of_an_old_message_brings_it_into_the_list_again() {
    let standin = start().await;
    let (alice, room) = three_messages(&standin).await;
    let seen = alice.messages(&room).await.unwrap();
    let newest = seen.iter().map(|message| message.rest["_updatedAt"].as_str().unwrap()).max().unwrap().to_owned();
    // The clock has to have moved on, or the change is of the same millisecond and not after it.
    while Moment::parse(&newest).unwrap().0 >= now() {
        tokio::task::yield_now().await;
    }
    alice.react(&seen[0].id, ":smile:").await.unwrap();
    let sync: Value =
        alice.get("chat.syncMessages", &[("roomId", room.as_str()), ("lastUpdate", newest.as_str())]).await.unwrap();
    assert_eq!(texts(&sync["result"]["updated"]), ["one"]);
}

#[tokio::test]
async fn rooms_and_subscriptions_are_listed_since_a_moment_and_a_lost_one_is_removed() {
    let standin = start().await;
    let alice = standin.add_person("alice").unwrap();
    let bob = standin.add_person("bob").unwrap();
    let room = alice.create_channel("lunch", &["bob"]).await.unwrap();
    let rooms: Value = bob.get("rooms.get", &[("updatedSince", LONG_AGO)]).await.unwrap();
    assert_eq!(rooms["update"][0]["_id"], room.as_str());
    alice.kick(&room, &bob.id).await.unwrap();
    let subscriptions: Value = bob.get("subscriptions.get", &[("updatedSince", LONG_AGO)]).await.unwrap();
    assert_eq!(subscriptions["update"].as_array().unwrap().len(), 0);
    assert_eq!(subscriptions["remove"].as_array().unwrap().len(), 1);
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
