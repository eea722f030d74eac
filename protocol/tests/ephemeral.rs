//! What is over in a moment is read as it was said, refused where it is broken, and never taken for an event.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::SIGNING_DOMAIN;
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::limits::{MAX_CLOCK_SKEW_MS, MAX_EPHEMERAL_BYTES, MAX_NUMBER, MAX_TYPING_MS};
use rocketmesh_protocol::wire::{
    EPHEMERAL_DOMAIN, Ephemeral, EphemeralError, GossipFrame, Presence, Signal, UnverifiedEphemeral, gossip_message_id,
};
use support::values::{any_damage, damaged};
use support::{Server, config, localpart};

/// Alice types, in the room whose hash is all nines, at 1790000000000 for 15 s. Made by another program than this one.
const TYPING: &str = "a86261741b000001a0c4506c00626f6ef563666f72193a9864726f6f6d582009090909090909090909090909090909090909\
    09090909090909090909090909647573657265616c696365666f726967696e58208a88e3dd7409f195fd52db2d3cba5d72ca\
    6709bf1d94121bf3748801b40f6f5c69657068656d6572616c66747970696e67697369676e6174757265584004c217c25c7c\
    416168c940add29d059a39d9d2cee58d022a5b0e39e299aed598ef261d8af7be8b91c4311e02de9db83cba8ba15b8d9a5067\
    d9519ff8537fc603";

fn alice() -> Server {
    Server::new(1, "alice")
}

fn typing() -> Ephemeral {
    Ephemeral {
        room: RoomId::from_hash([9; 32]),
        user: alice().user,
        signal: Signal::Typing(true),
        at_ms: 1_790_000_000_000,
        lasts_ms: 15_000,
    }
}

fn any_signal() -> impl Strategy<Value = Signal> {
    prop_oneof![
        any::<bool>().prop_map(Signal::Typing),
        select(vec![Presence::Online, Presence::Away, Presence::Busy, Presence::Offline]).prop_map(Signal::Presence),
        any::<[u8; 32]>().prop_map(|hash| Signal::Read(EventId::from_hash(hash))),
    ]
}

fn any_ephemeral() -> impl Strategy<Value = Ephemeral> {
    (any::<[u8; 32]>(), any_signal(), 1..=MAX_NUMBER, 1..=MAX_TYPING_MS, "[a-zé.]{1,90}").prop_map(
        |(room, signal, at_ms, lasts_ms, name)| {
            let mut user = alice().user;
            user.localpart = localpart(&name);
            Ephemeral { room: RoomId::from_hash(room), user, signal, at_ms, lasts_ms }
        },
    )
}

/// The message with its map changed, signed again.
fn bent(change: impl FnOnce(Map) -> Map) -> Vec<u8> {
    let Value::Map(mut map) = codec::decode(&typing().encode_signed(&alice().key).unwrap()).unwrap() else {
        panic!("a message is a map")
    };
    map.remove("signature");
    let map = change(map);
    let unsigned = codec::encode(&Value::Map(map.clone())).unwrap();
    let signature = alice().key.sign(&[EPHEMERAL_DOMAIN, &unsigned].concat());
    codec::encode(&Value::Map(map.with("signature", signature.as_slice()))).unwrap()
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn what_is_said_is_read_back_and_is_no_event(said in any_ephemeral()) {
        let bytes = said.encode_signed(&alice().key).unwrap();
        prop_assert!(bytes.len() <= MAX_EPHEMERAL_BYTES);
        prop_assert!(UnverifiedEphemeral::is_meant(&bytes));
        prop_assert!(GossipFrame::decode(&bytes).is_err());
        prop_assert_eq!(UnverifiedEphemeral::decode(&bytes).unwrap().verify(), Ok(said));
    }

    #[test]
    fn a_damaged_message_never_says_anything_in_anybodys_name(
        said in any_ephemeral(),
        damages in vec(any_damage(), 1..3),
    ) {
        let bytes = said.encode_signed(&alice().key).unwrap();
        let copy = damaged(bytes.clone(), &damages);
        prop_assume!(copy != bytes);
        if let Ok(message) = UnverifiedEphemeral::decode(&copy) {
            prop_assert_eq!(message.verify(), Err(EphemeralError::Signature));
        }
        prop_assert_ne!(gossip_message_id(&copy), gossip_message_id(&bytes));
    }

    #[test]
    fn garbage_is_refused(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(UnverifiedEphemeral::decode(&bytes).is_err());
    }
}

#[test]
fn the_recorded_message_is_what_this_version_writes_and_reads() {
    let bytes = hex::decode(TYPING).unwrap();
    assert_eq!(typing().encode_signed(&alice().key).unwrap(), bytes);
    assert_eq!(UnverifiedEphemeral::decode(&bytes).unwrap().verify(), Ok(typing()));
}

#[test]
fn fields_that_are_missing_unsound_or_one_too_many_are_refused_also_when_they_are_signed() {
    let refused = |change: fn(Map) -> Map| UnverifiedEphemeral::decode(&bent(change)).unwrap_err();
    assert_eq!(UnverifiedEphemeral::decode(&bent(|map| map)).unwrap().verify(), Ok(typing()));
    let bends: [(&'static str, fn(Map) -> Map); 9] = [
        ("field", |map| map.with("extra", 1_u64)),
        ("on", |map| map.with("on", 1_u64)),
        ("at", |map| map.with("at", 0_u64)),
        ("at", |map| map.with("at", MAX_NUMBER + 1)),
        ("for", |map| map.with("for", 0_u64)),
        ("for", |map| map.with("for", MAX_TYPING_MS + 1)),
        ("room", |map| map.with("room", [9_u8; 31].as_slice())),
        ("user", |map| map.with("user", "a b")),
        ("kind", |map| map.with("ephemeral", 1_u64)),
    ];
    for (field, change) in bends {
        assert_eq!(refused(change), EphemeralError::Shape(field));
    }
    assert_eq!(refused(|map| map.with("ephemeral", "waving")), EphemeralError::Unknown);
    let long = bent(|map| map.with("extra", vec![0_u8; MAX_EPHEMERAL_BYTES]));
    assert_eq!(UnverifiedEphemeral::decode(&long), Err(EphemeralError::TooLarge(long.len())));
}

#[test]
fn nobody_signs_for_another_server_and_no_signature_serves_for_an_event() {
    let bob = Server::new(2, "bob");
    assert_eq!(typing().encode_signed(&bob.key), Err(EphemeralError::Shape("origin")));
    let forged = Ephemeral { user: bob.user.clone(), ..typing() }.encode_signed(&bob.key).unwrap();
    let Value::Map(map) = codec::decode(&forged).unwrap() else { panic!("a message is a map") };
    let stolen = map.with("origin", alice().key.origin().as_bytes().as_slice());
    let stolen = codec::encode(&Value::Map(stolen)).unwrap();
    assert_eq!(UnverifiedEphemeral::decode(&stolen).unwrap().verify(), Err(EphemeralError::Signature));
    assert!(!EPHEMERAL_DOMAIN.starts_with(SIGNING_DOMAIN) && !SIGNING_DOMAIN.starts_with(EPHEMERAL_DOMAIN));
}

#[test]
fn clocks_may_differ_a_little_and_what_is_older_is_old() {
    let said = typing();
    let (at, end) = (said.at_ms, said.at_ms + said.lasts_ms);
    for (now, current) in [
        (at, true),
        (at - MAX_CLOCK_SKEW_MS, true),
        (at - MAX_CLOCK_SKEW_MS - 1, false),
        (end + MAX_CLOCK_SKEW_MS, true),
        (end + MAX_CLOCK_SKEW_MS + 1, false),
        (u64::MAX, false),
        (0, false),
    ] {
        assert_eq!(said.is_current(now), current, "{now}");
    }
}
