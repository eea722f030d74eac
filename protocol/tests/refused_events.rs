//! What is no event is refused, though its server signed it, and the field that is wrong is blamed.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::codec::{self, Map, Value};
use rocketmesh_protocol::event::{AuthorError, Body, Draft, Event, EventError, Lane, UnverifiedEvent, author};
use rocketmesh_protocol::id::{BodyId, EventId};
use rocketmesh_protocol::limits::{
    MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_LOCALPART_BYTES, MAX_NAME_BYTES, MAX_NUMBER, MAX_PARENTS,
};
use support::room::{self, TestRoom, typical};
use support::{Server, block_of, field, fields_of, sign_fields, sign_raw};

#[test]
fn no_bit_of_a_message_can_be_flipped() {
    let (_, event) = typical();
    let body = event.body_block().unwrap();
    for at in 0..event.header_block().len() {
        for bit in 0..8 {
            let mut header = event.header_block().to_vec();
            header[at] ^= 1_u8 << bit;
            assert!(Event::open(&header, Some(body)).is_err(), "bit {bit} of byte {at} of the header");
            if let Ok(unverified) = UnverifiedEvent::decode(&header, None) {
                assert_ne!(unverified.id(), event.id(), "bit {bit} of byte {at} of the header");
            }
        }
    }
    for at in 0..body.len() {
        for bit in 0..8 {
            let mut body = body.to_vec();
            body[at] ^= 1_u8 << bit;
            let opened = Event::open(event.header_block(), Some(&body));
            assert_eq!(opened, Err(EventError::BodyMismatch), "bit {bit} of byte {at} of the body");
        }
    }
}

#[test]
fn a_block_cut_short_or_drawn_out_is_no_event() {
    let (_, event) = typical();
    let block = event.header_block();
    for len in 0..block.len() {
        assert!(Event::open(&block[..len], event.body_block()).is_err(), "{len} bytes");
    }
    for byte in 0..=u8::MAX {
        assert!(Event::open(&[block, &[byte]].concat(), event.body_block()).is_err(), "with {byte} behind it");
    }
}

/// The error of a typical message in which one field is another value, signed by its server all the same.
fn bent(changes: &[(usize, Value)]) -> EventError {
    let (server, event) = typical();
    let mut fields = fields_of(&event);
    for (at, value) in changes {
        fields[*at] = value.clone();
    }
    Event::open(&sign_fields(&server.key, &fields), None).unwrap_err()
}

/// Which field the error blames.
fn blamed(error: &EventError) -> &'static str {
    match error {
        EventError::Header { field, .. } => field,
        other => panic!("no field's fault: {other}"),
    }
}

fn ids(count: u8) -> Vec<Value> {
    (0..count).map(|number| EventId::from_hash([number; 32]).into()).collect()
}

#[test]
fn a_field_of_the_wrong_type_or_beyond_its_limit_is_blamed() {
    let too_big = || Value::Int(i128::from(MAX_NUMBER) + 1);
    let long = |bytes: usize| Value::from("x".repeat(bytes));
    // A link of a form that no id has: raw bytes, SHA-256.
    let foreign = || {
        let cid = cid::Cid::new_v1(0x55, multihash::Multihash::<64>::wrap(0x12, &[1; 32]).unwrap());
        Value::Link(cid)
    };
    let cases: Vec<(&str, usize, Vec<Value>)> = vec![
        ("version", field::VERSION, vec![Value::Null, Value::Int(-1), "0".into(), too_big()]),
        ("room", field::ROOM, vec![Value::Null, foreign(), vec![0_u8; 32].into(), "general".into()]),
        ("origin", field::ORIGIN, vec![Value::Null, vec![0_u8; 31].into(), vec![0_u8; 33].into(), "alice".into()]),
        // Even a sound key is refused until rotation has rules: it would let anybody append to anybody's chain.
        ("key", field::KEY, vec![vec![0_u8; 31].into(), "alice".into(), Value::Int(0), vec![1_u8; 32].into()]),
        ("lane", field::LANE, vec![Value::Null, Value::Int(0), Value::Int(2), Value::Int(-1), true.into()]),
        ("seq", field::SEQ, vec![Value::Null, Value::Int(0), Value::Int(-1), too_big(), "1".into()]),
        ("self_parent", field::SELF_PARENT, vec![foreign(), vec![0_u8; 32].into(), ids(1).into()]),
        ("parents", field::PARENTS, vec![Value::Null, foreign(), vec![foreign()].into(), vec![Value::Null].into()]),
        ("state_frontier", field::STATE_FRONTIER, vec![Value::Null, vec![foreign()].into(), Value::List(Vec::new())]),
        ("lamport", field::LAMPORT, vec![Value::Null, Value::Int(-1), too_big()]),
        ("time_ms", field::TIME_MS, vec![Value::Null, Value::Int(-1), too_big()]),
        ("sender", field::SENDER, vec!["".into(), "a b".into(), "@a".into(), "a:b".into(), "a/b".into(), "a\n".into()]),
        ("sender", field::SENDER, vec![long(MAX_LOCALPART_BYTES + 1), Value::Int(1), vec![b'a'].into()]),
        ("kind", field::KIND, vec![Value::Null, "".into(), long(MAX_NAME_BYTES + 1), vec![b'a'].into()]),
        ("state_key", field::STATE_KEY, vec![long(MAX_NAME_BYTES + 1), Value::Int(0), vec![b'a'].into()]),
        ("lane", field::STATE_KEY, vec!["".into(), "name".into()]),
        ("content", field::CONTENT, vec!["text".into(), ids(1).into(), Value::Int(0)]),
        ("body_cid", field::BODY_CID, vec![Value::Null, foreign(), "body".into()]),
        ("body_cid", field::BODY_LEN, vec![Value::Null]),
        ("body_len", field::BODY_LEN, vec![Value::Int(MAX_BODY_BYTES as i128 + 1), Value::Int(-1), "1".into()]),
        ("ext", field::EXT, vec![Value::Null, ids(1).into(), "ext".into()]),
    ];
    for (name, at, values) in cases {
        for value in values {
            assert_eq!(blamed(&bent(&[(at, value.clone())])), name, "{value:?}");
        }
    }
}

#[test]
fn fields_that_contradict_each_other_are_blamed() {
    let none = || Value::List(Vec::new());
    let first = [
        (field::ROOM, Value::Null),
        (field::LANE, Value::Int(0)),
        (field::SEQ, Value::Int(0)),
        (field::SELF_PARENT, Value::Null),
        (field::PARENTS, none()),
        (field::STATE_FRONTIER, none()),
        (field::LAMPORT, Value::Int(0)),
        (field::STATE_KEY, "".into()),
    ];
    let (server, event) = typical();
    let mut fields = fields_of(&event);
    for (at, value) in &first {
        fields[*at] = value.clone();
    }
    // A room may begin like this, whatever the kind says; whether it is allowed is not the header's business.
    assert!(Event::open(&sign_fields(&server.key, &fields), None).is_ok());
    for (name, at, value) in [
        ("seq", field::SEQ, Value::Int(1)),
        ("seq", field::SELF_PARENT, ids(1).remove(0)),
        ("room", field::PARENTS, ids(1).into()),
        ("room", field::STATE_FRONTIER, ids(1).into()),
        ("room", field::LAMPORT, Value::Int(1)),
        ("lane", field::LANE, Value::Int(1)),
        ("lane", field::STATE_KEY, Value::Null),
        ("state_frontier", field::ROOM, ids(1).remove(0)),
    ] {
        let mut fields = fields.clone();
        fields[at] = value.clone();
        let error = Event::open(&sign_fields(&server.key, &fields), None).unwrap_err();
        assert_eq!(blamed(&error), name, "{value:?}");
    }
    let in_the_timeline = [(field::LANE, Value::Int(1)), (field::STATE_KEY, Value::Null)];
    let error = bent(&[&first[..], &in_the_timeline].concat());
    assert_eq!(blamed(&error), "room", "a room cannot begin with a message");
    assert_eq!(blamed(&bent(&[(field::SELF_PARENT, Value::Null)])), "seq");
}

#[test]
fn tips_are_at_most_sixteen_and_strictly_ascending() {
    let (server, event) = typical();
    for (name, at) in [("parents", field::PARENTS), ("state_frontier", field::STATE_FRONTIER)] {
        let most = ids(MAX_PARENTS as u8);
        let mut fields = fields_of(&event);
        fields[at] = most.clone().into();
        assert!(Event::open(&sign_fields(&server.key, &fields), None).is_ok(), "sixteen {name}");

        let mut swapped = most.clone();
        swapped.swap(3, 4);
        let mut twice = most.clone();
        twice[4] = twice[3].clone();
        for (problem, list) in [("too many", ids(17)), ("out of order", swapped), ("twice the same", twice)] {
            assert_eq!(blamed(&bent(&[(at, list.into())])), name, "{problem}");
        }
    }
}

#[test]
fn what_is_just_within_its_limit_is_read() {
    let (server, event) = typical();
    let most = || Value::from(MAX_NUMBER);
    let long = |bytes: usize| Value::from("x".repeat(bytes));
    for (at, value) in [
        (field::VERSION, most()),
        (field::SEQ, most()),
        (field::LAMPORT, most()),
        (field::TIME_MS, most()),
        (field::SENDER, long(MAX_LOCALPART_BYTES)),
        (field::SENDER, Value::Null),
        (field::KIND, long(MAX_NAME_BYTES)),
        (field::CONTENT, Map::new().into()),
        (field::BODY_LEN, Value::from(MAX_BODY_BYTES as u64)),
    ] {
        let mut fields = fields_of(&event);
        fields[at] = value.clone();
        let opened = Event::open(&sign_fields(&server.key, &fields), None);
        assert!(opened.is_ok(), "{value:?}: {opened:?}");
    }
}

#[test]
fn a_block_that_is_no_list_of_nineteen_is_no_event() {
    let (server, event) = typical();
    let fields = fields_of(&event);
    let short = sign_fields(&server.key, &fields[..17]);
    let long = sign_fields(&server.key, &[&fields[..], &[Value::Null]].concat());
    let map = codec::encode(&Map::new().with("header", fields.clone()).into()).unwrap();
    let null = codec::encode(&Value::Null).unwrap();
    for (name, block) in [("eighteen", short), ("twenty", long), ("a map", map), ("null", null)] {
        assert_eq!(blamed(&Event::open(&block, None).unwrap_err()), "block", "{name}");
    }
    for signature in [&[0; 63][..], &[0; 65], &[]] {
        let error = Event::open(&block_of(&fields, signature), None).unwrap_err();
        assert_eq!(blamed(&error), "signature", "{} bytes", signature.len());
    }
}

#[test]
fn a_header_takes_8_kib_and_no_byte_more() {
    let (server, event) = typical();
    let block = |padding: usize| {
        let mut fields = fields_of(&event);
        fields[field::EXT] = Map::new().with("padding", vec![0_u8; padding]).into();
        sign_fields(&server.key, &fields)
    };
    // The head of the padding takes three bytes for every length that comes up here.
    let fits = MAX_HEADER_BYTES - (block(1000).len() - 1000);
    assert_eq!(block(fits).len(), MAX_HEADER_BYTES);
    assert!(Event::open(&block(fits), event.body_block()).is_ok());
    let error = Event::open(&block(fits + 1), event.body_block()).unwrap_err();
    assert_eq!(error, EventError::HeaderTooLarge(MAX_HEADER_BYTES + 1));

    let room = TestRoom::made_by(&server);
    let draft = Draft {
        content: Some(Map::new().with("padding", vec![0_u8; MAX_HEADER_BYTES])),
        ..room::message(&server, "too much")
    };
    let error = author(&server.key, room.placement(&server, Lane::Timeline), draft).unwrap_err();
    assert!(matches!(error, AuthorError::Header(EventError::HeaderTooLarge(_))), "{error}");
}

#[test]
fn a_body_takes_64_kib_and_no_byte_more() {
    let server = Server::new(1, "alice");
    let room = TestRoom::made_by(&server);
    let saying = |text_bytes: usize| {
        let draft = room::message(&server, &"x".repeat(text_bytes));
        author(&server.key, room.placement(&server, Lane::Timeline), draft)
    };
    // The head of the text takes three bytes for every length that comes up here.
    let fits = MAX_BODY_BYTES - (saying(1000).unwrap().body_block().unwrap().len() - 1000);
    let event = saying(fits).unwrap();
    assert_eq!(event.body_block().unwrap().len(), MAX_BODY_BYTES);
    assert_eq!(Event::open(event.header_block(), event.body_block()), Ok(event.clone()));
    assert_eq!(saying(fits + 1), Err(AuthorError::BodyTooLarge(MAX_BODY_BYTES + 1)));

    let more = vec![0; MAX_BODY_BYTES + 1];
    let error = Event::open(event.header_block(), Some(&more)).unwrap_err();
    assert_eq!(error, EventError::BodyTooLarge(MAX_BODY_BYTES + 1));
}

#[test]
fn a_body_that_is_no_map_with_a_salt_is_refused() {
    let (server, event) = typical();
    let salt = || Value::from(vec![0_u8; 16]);
    let blocks = [
        ("a list", Value::List(vec![salt()])),
        ("null", Value::Null),
        ("no salt", Map::new().with("text", "hello").into()),
        ("a short salt", Map::new().with("salt", vec![0_u8; 15]).into()),
        ("a long salt", Map::new().with("salt", vec![0_u8; 17]).into()),
        ("a text for a salt", Map::new().with("salt", "x".repeat(16)).into()),
    ];
    for (name, value) in blocks {
        let block = codec::encode(&value).unwrap();
        let mut fields = fields_of(&event);
        fields[field::BODY_CID] = BodyId::of_block(&block).into();
        fields[field::BODY_LEN] = (block.len() as u64).into();
        let error = Event::open(&sign_fields(&server.key, &fields), Some(&block)).unwrap_err();
        assert_eq!(error, EventError::BodyShape, "{name}");
        assert_eq!(Body::decode(&block), Err(EventError::BodyShape), "{name}");
    }
}

#[test]
fn a_body_under_a_wrong_name_or_length_is_refused() {
    let (server, event) = typical();
    let body = event.body_block().unwrap();
    let mut fields = fields_of(&event);
    fields[field::BODY_LEN] = (body.len() as u64 + 1).into();
    let block = sign_fields(&server.key, &fields);
    assert_eq!(Event::open(&block, Some(body)), Err(EventError::BodyMismatch));

    let other = Body::new([1; 16], Map::new().with("text", "another")).encode().unwrap();
    assert_eq!(Event::open(event.header_block(), Some(&other)), Err(EventError::BodyMismatch));

    fields[field::BODY_CID] = Value::Null;
    fields[field::BODY_LEN] = Value::Null;
    let block = sign_fields(&server.key, &fields);
    assert_eq!(Event::open(&block, Some(body)), Err(EventError::BodyMismatch));
}

#[test]
fn a_second_encoding_of_a_header_is_refused_though_it_is_signed() {
    let (server, event) = typical();
    let unsigned = codec::encode(&Value::List(fields_of(&event))).unwrap();
    assert_eq!(sign_raw(&server.key, &unsigned), event.header_block());

    // Version 0, the first field, in two bytes instead of one.
    assert_eq!(unsigned[1], 0);
    let longer = [&[0x92, 0x18, 0x00][..], &unsigned[2..]].concat();
    assert!(matches!(Event::open(&sign_raw(&server.key, &longer), None), Err(EventError::Codec(_))));
}
