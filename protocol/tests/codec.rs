//! The codec writes one encoding per value, the one that other DAG-CBOR implementations write, and reads no second one.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;
use proptest::collection::vec;
use proptest::prelude::*;
use rocketmesh_protocol::codec::{CodecError, MAX_DEPTH, Map, Value, decode, encode};
use rocketmesh_protocol::id::EventId;
use support::config;
use support::refused::{OUTSIDE_PROFILE, SECOND_ENCODINGS};
use support::values::{HIGHEST, LOWEST, any_damage, any_int, any_key, any_value, damaged, outside_profile, to_ipld};

fn oracle_decode(bytes: &[u8]) -> Option<Ipld> {
    serde_ipld_dagcbor::from_slice(bytes).ok()
}

fn oracle_encode(value: &Ipld) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).unwrap()
}

/// Bytes that mean something more often than chance would have it.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => vec(any::<u8>(), 0..24),
        4 => (any_value(), vec(any_damage(), 0..3))
            .prop_map(|(value, damages)| damaged(encode(&value).unwrap(), &damages)),
    ]
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn a_value_comes_back_from_its_encoding(value in any_value()) {
        let bytes = encode(&value).unwrap();
        prop_assert_eq!(decode(&bytes), Ok(value));
    }

    #[test]
    fn what_is_read_is_the_one_encoding_of_what_it_means(value in any_value(), damages in vec(any_damage(), 1..4)) {
        let original = encode(&value).unwrap();
        let bytes = damaged(original.clone(), &damages);
        if let Ok(read) = decode(&bytes) {
            prop_assert_eq!(&encode(&read).unwrap(), &bytes);
            prop_assert_eq!(read == value, bytes == original);
        }
    }

    #[test]
    fn another_implementation_writes_the_same_bytes_and_reads_the_same_value(value in any_value()) {
        let bytes = encode(&value).unwrap();
        let ipld = to_ipld(&value);
        prop_assert_eq!(&oracle_encode(&ipld), &bytes);
        prop_assert_eq!(oracle_decode(&bytes), Some(ipld));
    }

    #[test]
    fn another_implementation_reads_whatever_is_read_here(bytes in any_bytes()) {
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(oracle_decode(&bytes), Some(to_ipld(&value)));
        }
    }

    #[test]
    fn whatever_another_implementation_reads_and_writes_back_is_read_here(bytes in any_bytes()) {
        if let Some(ipld) = oracle_decode(&bytes)
            && oracle_encode(&ipld) == bytes
            && !outside_profile(&ipld, MAX_DEPTH)
        {
            prop_assert_eq!(decode(&bytes).map(|value| to_ipld(&value)), Ok(ipld));
        }
    }

    #[test]
    fn an_integer_has_an_encoding_exactly_within_64_bits_and_a_sign(number in any_int(), far in any::<i128>()) {
        prop_assert!(encode(&Value::Int(number)).is_ok());
        prop_assert_eq!(encode(&Value::Int(far)).is_ok(), (LOWEST..=HIGHEST).contains(&far));
    }

    #[test]
    fn a_map_is_one_value_whatever_the_order_it_was_filled_in(entries in vec((any_key(), any::<u64>()), 0..12)) {
        let map = entries.iter().fold(Map::new(), |map, (key, value)| map.with(key, *value));
        let last: BTreeMap<(usize, &str), u64> =
            entries.iter().map(|(key, value)| ((key.len(), key.as_str()), *value)).collect();
        let seen: Vec<(&str, Option<u64>)> = map.iter().map(|(key, value)| (key, value.as_u64())).collect();
        let expected: Vec<(&str, Option<u64>)> = last.iter().map(|((_, key), value)| (*key, Some(*value))).collect();
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(map.len(), last.len());

        let again = last.iter().rev().fold(Map::new(), |map, ((_, key), value)| map.with(key, *value));
        prop_assert_eq!(encode(&Value::Map(again)), encode(&Value::Map(map)));
    }
}

#[test]
fn integers_just_beyond_the_range_have_no_encoding() {
    for number in [LOWEST - 1, HIGHEST + 1, i128::MIN, i128::MAX] {
        assert!(matches!(encode(&Value::Int(number)), Err(CodecError::Unencodable(_))), "{number}");
    }
    for (number, bytes) in [(LOWEST, "3bffffffffffffffff"), (HIGHEST, "1bffffffffffffffff")] {
        assert_eq!(hex::encode(encode(&Value::Int(number)).unwrap()), bytes);
    }
}

fn nested(depth: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(Value::Null, |inner, _| wrap(inner))
}

#[test]
fn nesting_ends_at_the_limit_on_both_sides() {
    let list = |inner: Value| Value::List(vec![inner]);
    let map = |inner: Value| Value::Map(Map::new().with("", inner));
    for (name, deepest, deeper, head) in [
        ("lists", nested(MAX_DEPTH, list), nested(MAX_DEPTH + 1, list), "81"),
        ("maps", nested(MAX_DEPTH, map), nested(MAX_DEPTH + 1, map), "a160"),
    ] {
        assert_eq!(decode(&encode(&deepest).unwrap()), Ok(deepest), "{name}");
        assert!(matches!(encode(&deeper), Err(CodecError::Unencodable(_))), "{name}");
        for depth in [MAX_DEPTH + 1, 126, 127, 128, 129, 255, 256, 257, 1_000, 200_000] {
            let bytes = hex::decode(head.repeat(depth) + "f6").unwrap();
            assert!(matches!(decode(&bytes), Err(CodecError::Malformed(_))), "{depth} {name}");
        }
    }
    let heads = [("links in links", "d82a"), ("tags in tags", "c0"), ("keys in keys", "a1"), ("endless lists", "9f")];
    for (name, head) in heads {
        for depth in [1, 64, 128, 200_000] {
            let bytes = hex::decode(head.repeat(depth)).unwrap();
            assert!(decode(&bytes).is_err(), "{depth} {name}");
        }
    }
}

/// A link of 36 bytes in its only encoding: tag 42, a byte string of 37, and a zero before the CID.
fn link_bytes() -> String {
    hex::encode(encode(&EventId::from_hash([0xab; 32]).into()).unwrap())
}

#[test]
fn a_link_is_written_as_the_specification_shows_it() {
    assert_eq!(link_bytes(), format!("d82a58250001711e20{}", "ab".repeat(32)));
}

#[test]
fn every_second_encoding_of_a_value_is_refused() {
    for (name, bytes) in SECOND_ENCODINGS {
        assert!(decode(&hex::decode(bytes).unwrap()).is_err(), "{name}: {bytes}");
    }
}

#[test]
fn what_stands_outside_the_profile_is_refused() {
    for (name, bytes) in OUTSIDE_PROFILE {
        assert!(decode(&hex::decode(bytes).unwrap()).is_err(), "{name}: {bytes}");
    }
}

#[test]
fn a_link_has_no_second_form_either() {
    let link = link_bytes();
    let cid = &link["d82a582500".len()..];
    assert_eq!(cid.len(), 2 * 36);
    let refused = [
        ("the tag in three bytes", format!("d9002a582500{cid}")),
        ("the tag in five bytes", format!("da0000002a582500{cid}")),
        ("the tag in nine bytes", format!("db000000000000002a582500{cid}")),
        ("the length in three bytes", format!("d82a59002500{cid}")),
        ("the bytes in pieces", format!("d82a5f582500{cid}ff")),
        ("another tag", format!("d82b582500{cid}")),
        ("tag 24", format!("d818582500{cid}")),
        ("no leading zero", format!("d82a5824{cid}")),
        ("a leading one", format!("d82a582501{cid}")),
        ("two leading zeros", format!("d82a58260000{cid}")),
        ("a byte after the CID", format!("d82a582600{cid}00")),
        ("a CID cut short", format!("d82a582400{}", &cid[..70])),
        ("no bytes", "d82a40".to_owned()),
        ("a zero alone", "d82a4100".to_owned()),
        ("a text", "d82a6161".to_owned()),
        ("an integer", "d82a00".to_owned()),
        ("a list", "d82a80".to_owned()),
        ("a link in a link", format!("d82a{link}")),
        ("version 0 said aloud", format!("d82a58250000711e20{}", "ab".repeat(32))),
        ("version 2", format!("d82a58250002711e20{}", "ab".repeat(32))),
        ("a version in two bytes", format!("d82a5826008100711e20{}", "ab".repeat(32))),
        ("a digest length in two bytes", format!("d82a58260001711ea000{}", "ab".repeat(32))),
        ("a digest of 65 bytes", format!("d82a58460001711e41{}", "ab".repeat(65))),
        ("a varint that does not fit 64 bits", format!("d82a582e0001ffffffffffffffffff7f1e20{}", "ab".repeat(32))),
    ];
    for (name, bytes) in refused {
        assert!(decode(&hex::decode(&bytes).unwrap()).is_err(), "{name}: {bytes}");
    }
}

#[test]
fn a_length_is_a_claim_and_reserves_nothing() {
    let kinds = [("bytes", 0x5a), ("text", 0x7a), ("a list", 0x9a), ("a map", 0xba)];
    for (name, head) in kinds {
        for claim in [0x4000_0000_u32, 0x7fff_ffff, 0xffff_ffff] {
            let bytes = [&[head][..], &claim.to_be_bytes()].concat();
            assert!(decode(&bytes).is_err(), "{claim} of {name}");
            assert!(decode(&[&bytes[..], &[0x60; 64]].concat()).is_err(), "{claim} of {name}, and a little to read");
        }
        for claim in [1_u64 << 32, 1 << 47, (1 << 63) - 1, 1 << 63, u64::MAX] {
            let bytes = [&[head + 1][..], &claim.to_be_bytes()].concat();
            assert!(decode(&bytes).is_err(), "{claim} of {name}");
            assert!(decode(&[&[0x81][..], &bytes, &[0x60; 64]].concat()).is_err(), "{claim} of {name} in a list");
        }
        let link = [&[0xd8, 0x2a, head + 1][..], &u64::MAX.to_be_bytes()].concat();
        assert!(decode(&link).is_err(), "a link to {name}");
    }
}

#[test]
fn every_input_of_up_to_two_bytes_is_refused_or_the_one_encoding() {
    for first in 0..=u8::MAX {
        for bytes in std::iter::once(vec![first]).chain((0..=u8::MAX).map(|second| vec![first, second])) {
            if let Ok(value) = decode(&bytes) {
                assert_eq!(encode(&value).unwrap(), bytes);
                assert_eq!(oracle_decode(&bytes), Some(to_ipld(&value)));
            }
        }
    }
}
