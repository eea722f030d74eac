//! Opening channels to other servers: each costs the same however many there are, and a crash on the way leaves no room that nobody knows.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;
#[path = "support/two_in_trouble.rs"]
#[allow(dead_code, unreachable_pub, reason = "several tests share it")]
mod two_servers;

use rocketmesh_node::api::FederatedRooms;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_storage::EventStore;
use serde_json::{Value, json};
use support::eventually;
use two_servers::{ROOMS, Side};

/// How many channels are opened.
const MANY: usize = 12;

fn record(store: &EventStore, name: &str) -> Value {
    serde_json::from_slice(&store.record_of(name).unwrap().unwrap()).unwrap()
}

fn text(value: &Value) -> Option<Vec<u8>> {
    Some(value.to_string().into_bytes())
}

/// How often a call was made.
fn asked(side: &Side, call: &str) -> usize {
    side.standin.requests().iter().filter(|asked| asked.path.ends_with(call)).count()
}

async fn is_open(side: &Side, rid: &str, room: &str) -> bool {
    let rooms: FederatedRooms = side.node().get(ROOMS).await;
    rooms.rooms.iter().any(|known| known.rid == rid && known.room == room)
}

#[tokio::test]
async fn a_channel_is_opened_with_the_same_calls_however_many_are_open_and_each_has_its_own_words() {
    let mut a = Side::start("a.example").await;
    let alice = a.standin.add_person("alice").unwrap();
    let mut rooms = Vec::new();
    for number in 0..MANY {
        let rid = alice.create_channel(&format!("lunch{number}"), &["bridge"]).await.unwrap();
        // By name and by id.
        let named = if number % 2 == 0 { format!("#lunch{number}") } else { rid.clone() };
        let opened = a.federate(json!({"channel": named})).await;
        assert_eq!(opened.rid, rid);
        rooms.push((rid, opened.room));
    }
    assert_eq!(asked(&a, "rooms.get"), 0, "no list of all rooms");
    assert_eq!(asked(&a, "subscriptions.getOne"), MANY);
    assert_eq!(asked(&a, "channels.info"), MANY / 2, "one for each that was named by its name");

    for round in ["before", "after"] {
        for (number, (rid, _)) in rooms.iter().enumerate() {
            alice.say(rid, &format!("{round} {number}")).await.unwrap();
        }
        for (number, (_, room)) in rooms.iter().enumerate() {
            let own = format!("{round} {number}");
            eventually("what was said is in its room", || async { a.node().texts(room).await.contains(&own) }).await;
        }
        // What is said in no room goes to none, and what is said before a restart is not said again after it.
        for (number, (_, room)) in rooms.iter().enumerate() {
            let texts = a.node().texts(room).await;
            let expected: Vec<String> = match round {
                "before" => vec![format!("before {number}")],
                _ => vec![format!("before {number}"), format!("after {number}")],
            };
            assert_eq!(texts, expected);
        }
        a.end().await;
        a.begin().await;
        a.bridged().await;
    }
    a.end().await;
}

#[tokio::test]
async fn a_room_whose_opening_a_crash_interrupted_is_open_after_it_and_is_the_room_that_was_made() {
    let (mut a, mut b) = tokio::join!(Side::start("a.example"), Side::start("b.example"));
    let (alice, bob) = (a.standin.add_person("alice").unwrap(), b.standin.add_person("bob").unwrap());
    let at_a = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    let opened = a.federate(json!({"channel": "lunch"})).await;
    a.end().await;
    {
        // As a crash leaves it between making the room of the mesh and recording it.
        let store = rocketmesh_node::open_store(a.directory.path(), 8).unwrap();
        let mut federated = record(&store, &format!("rc/room/{at_a}"));
        federated["log"] = json!(0);
        let opening = json!({"owner": "alice", "topic": null, "federated": federated});
        let gone = ["room", "agreed", "anchor"].map(|kind| (format!("rc/{kind}/{at_a}"), None));
        let mut changes = vec![(format!("rc/opening/{at_a}"), text(&opening))];
        changes.extend(gone);
        changes.push((format!("rc/of/{}", opened.room), None));
        store.put_records(&changes).unwrap();
        store.sync().unwrap();
    }
    alice.say(&at_a, "while the node was away").await.unwrap();
    a.begin().await;
    a.bridged().await;
    eventually("the room is open", || is_open(&a, &at_a, &opened.room)).await;
    let (_, code) = a.node().refused("POST", ROOMS, Some(json!({"channel": "lunch"}))).await;
    assert_eq!(code, "already_federated");

    a.node().connect(b.node()).await;
    let at_b = b.federate(json!({"room": opened.room, "user": "bob"})).await.rid;
    b.hears(&at_b, "while the node was away").await;
    bob.say(&at_b, "there you are").await.unwrap();
    a.hears(&at_a, "there you are").await;
    assert_eq!(b.times(&at_b, "while the node was away"), 1);
    a.end().await;
    {
        let store = rocketmesh_node::open_store(a.directory.path(), 8).unwrap();
        assert_eq!(store.record_of(&format!("rc/opening/{at_a}")).unwrap(), None);
    }
    b.end().await;
}

#[tokio::test]
async fn a_room_of_which_a_crash_left_nothing_but_the_note_is_taken_back_and_can_be_opened() {
    let mut a = Side::start("a.example").await;
    let alice = a.standin.add_person("alice").unwrap();
    let rid = alice.create_channel("lunch", &["bridge"]).await.unwrap();
    let never_made = RoomId::from_hash([7; 32]).to_string();
    a.end().await;
    {
        let store = rocketmesh_node::open_store(a.directory.path(), 8).unwrap();
        let federated =
            json!({"room": never_made, "kind": "c", "name": "lunch", "log": 0, "heard_ms": 1, "since_ms": 2});
        let opening = json!({"owner": "alice", "federated": federated});
        store.put_records(&[(format!("rc/opening/{rid}"), text(&opening))]).unwrap();
        store.sync().unwrap();
    }
    a.begin().await;
    a.bridged().await;
    let opened = a.federate(json!({"channel": "lunch"})).await;
    assert_ne!(opened.room, never_made);
    alice.say(&rid, "here").await.unwrap();
    eventually("it is open", || async { a.node().texts(&opened.room).await == ["here"] }).await;
    a.end().await;
    {
        let store = rocketmesh_node::open_store(a.directory.path(), 8).unwrap();
        assert_eq!(store.record_of(&format!("rc/opening/{rid}")).unwrap(), None);
    }
}
