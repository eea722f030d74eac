//! Arbitrary values, bytes and what can happen to them on the way.

use std::collections::BTreeMap;

use cid::Cid;
use ipld_core::ipld::Ipld;
use multihash::Multihash;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rocketmesh_protocol::codec::{Map, Value};
use rocketmesh_protocol::id::EventId;

/// Multicodecs and multihashes that links of a graph carry.
const RAW: u64 = 0x55;
const SHA2_256: u64 = 0x12;
const IDENTITY: u64 = 0x00;
const BLAKE3: u64 = 0x1e;
const DAG_CBOR: u64 = 0x71;

/// The smallest integer with an encoding.
pub const LOWEST: i128 = -(1 << 64);
/// The largest integer with an encoding.
pub const HIGHEST: i128 = (1 << 64) - 1;

/// Integers over the whole range, with many near the places where the encoding gets longer.
pub fn any_int() -> impl Strategy<Value = i128> {
    let edges: Vec<i128> = [0, 5, 8, 16, 32, 53, 63, 64]
        .into_iter()
        .flat_map(|bits| [-1, 0, 1].map(|by| (1_i128 << bits) + by))
        .flat_map(|edge| [edge, -edge])
        .chain([23, 24, -24, -25])
        .map(|edge| edge.clamp(LOWEST, HIGHEST))
        .collect();
    prop_oneof![
        select(edges),
        any::<u64>().prop_map(i128::from),
        any::<u64>().prop_map(|number| -1 - i128::from(number)),
        any::<u8>().prop_map(i128::from),
    ]
}

/// Text of any characters.
pub fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        vec(any::<char>(), 0..24).prop_map(|chars| chars.into_iter().collect::<String>()),
        "[a-z]{0,8}",
        "[ -~]{20,40}",
    ]
}

/// Map keys; short ones, so that equal lengths and equal keys are common.
pub fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c]{0,3}",
        1 => vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect::<String>()),
    ]
}

fn multihash(code: u64, digest: &[u8]) -> Multihash<64> {
    Multihash::wrap(code, digest).unwrap()
}

/// Links: mostly ids of this protocol, and every other form that a graph may hold.
pub fn any_cid() -> impl Strategy<Value = Cid> {
    prop_oneof![
        4 => any::<[u8; 32]>().prop_map(|hash| EventId::from_hash(hash).to_cid()),
        1 => any::<[u8; 32]>().prop_map(|hash| Cid::new_v1(RAW, multihash(SHA2_256, &hash))),
        1 => any::<[u8; 32]>().prop_map(|hash| Cid::new_v0(multihash(SHA2_256, &hash)).unwrap()),
        1 => vec(any::<u8>(), 0..=64).prop_map(|bytes| Cid::new_v1(RAW, multihash(IDENTITY, &bytes))),
        1 => vec(any::<u8>(), 0..=64).prop_map(|bytes| Cid::new_v1(DAG_CBOR, multihash(BLAKE3, &bytes))),
        1 => (any::<u64>(), any::<u64>(), vec(any::<u8>(), 0..=64))
            .prop_map(|(codec, code, digest)| Cid::new_v1(codec, multihash(code, &digest))),
    ]
}

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => any_int().prop_map(Value::Int),
        2 => vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        3 => any_text().prop_map(Value::Text),
        2 => any_cid().prop_map(Value::Link),
    ]
}

fn map_of(value: impl Strategy<Value = Value>, most: usize) -> impl Strategy<Value = Map> {
    vec((any_key(), value), 0..=most)
        .prop_map(|entries| entries.into_iter().fold(Map::new(), |map, (key, value)| map.with(&key, value)))
}

/// Values of every kind, nested a few levels.
pub fn any_value() -> impl Strategy<Value = Value> {
    any_leaf().prop_recursive(5, 48, 5, |inner| {
        prop_oneof![vec(inner.clone(), 0..=5).prop_map(Value::List), map_of(inner, 5).prop_map(Value::Map)]
    })
}

/// Maps small enough for a header.
pub fn small_map() -> impl Strategy<Value = Map> {
    let value = any_leaf().prop_recursive(2, 8, 2, |inner| {
        prop_oneof![vec(inner.clone(), 0..=2).prop_map(Value::List), map_of(inner, 2).prop_map(Value::Map)]
    });
    map_of(value, 4)
}

/// What can happen to bytes on the way.
#[derive(Clone, Debug)]
pub enum Damage {
    Flip(Index, u8),
    Replace(Index, u8),
    Insert(Index, u8),
    Delete(Index),
    Truncate(Index),
}

pub fn any_damage() -> impl Strategy<Value = Damage> {
    let any_index = any::<Index>;
    prop_oneof![
        3 => (any_index(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => (any_index(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        2 => (any_index(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        2 => any_index().prop_map(Damage::Delete),
        1 => any_index().prop_map(Damage::Truncate),
    ]
}

/// `bytes` after all of `damages`. May come out as they went in.
pub fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let len = bytes.len();
        match damage {
            Damage::Insert(at, byte) => bytes.insert(at.index(len + 1), *byte),
            _ if len == 0 => {}
            Damage::Flip(at, bit) => bytes[at.index(len)] ^= 1_u8 << *bit,
            Damage::Replace(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Delete(at) => {
                bytes.remove(at.index(len));
            }
            Damage::Truncate(at) => bytes.truncate(at.index(len)),
        }
    }
    bytes
}

/// The same value in the words of the other implementation.
pub fn to_ipld(value: &Value) -> Ipld {
    match value {
        Value::Null => Ipld::Null,
        Value::Bool(truth) => Ipld::Bool(*truth),
        Value::Int(number) => Ipld::Integer(*number),
        Value::Bytes(bytes) => Ipld::Bytes(bytes.clone()),
        Value::Text(text) => Ipld::String(text.clone()),
        Value::List(list) => Ipld::List(list.iter().map(to_ipld).collect()),
        Value::Map(map) => {
            Ipld::Map(map.iter().map(|(key, value)| (key.to_owned(), to_ipld(value))).collect::<BTreeMap<_, _>>())
        }
        Value::Link(cid) => Ipld::Link(*cid),
    }
}

/// Whether the value stands outside the profile for its kind: a float somewhere, or nesting beyond `depth`.
pub fn outside_profile(value: &Ipld, depth: usize) -> bool {
    match value {
        Ipld::Float(_) => true,
        Ipld::List(list) => depth == 0 || list.iter().any(|value| outside_profile(value, depth - 1)),
        Ipld::Map(map) => depth == 0 || map.values().any(|value| outside_profile(value, depth - 1)),
        _ => false,
    }
}
