//! What this crate's integration tests share: fixed keys, arbitrary values, bent headers, and rooms in memory.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod refused;
pub mod room;
pub mod values;
pub mod verdicts;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use rocketmesh_protocol::codec::{self, Value};
use rocketmesh_protocol::event::{Event, SIGNING_DOMAIN};
use rocketmesh_protocol::identity::{Localpart, ServerKey, UserId};

/// How many times as many cases the soak test runs.
const SOAK: u32 = 50;

/// `cases` cases, and many more when `ROCKETMESH_SOAK` is set; what fails is kept beside the test file, so that it is tried first the next time.
pub fn config(cases: u32) -> ProptestConfig {
    let times = if std::env::var_os("ROCKETMESH_SOAK").is_some() { SOAK } else { 1 };
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::with_cases(cases * times)
    }
}

/// A server with one user who speaks for it.
#[derive(Clone, Debug)]
pub struct Server {
    pub key: ServerKey,
    pub user: UserId,
}

impl Server {
    /// The server whose seed is 32 times `seed`.
    pub fn new(seed: u8, localpart: &str) -> Self {
        Server::with_seed(&[seed; 32], localpart)
    }

    pub fn with_seed(seed: &[u8; 32], localpart: &str) -> Self {
        let key = ServerKey::from_seed(seed);
        let user = UserId { origin: key.origin(), localpart: localpart.parse().unwrap() };
        Server { key, user }
    }

    /// The first five servers of every test.
    pub fn five() -> Vec<Server> {
        let names = ["alice", "bob", "carol", "dave", "erin"];
        names.iter().zip(1..).map(|(name, seed)| Server::new(seed, name)).collect()
    }
}

pub fn localpart(text: &str) -> Localpart {
    text.parse().unwrap()
}

/// Where each field stands in a header block.
pub mod field {
    pub const VERSION: usize = 0;
    pub const ROOM: usize = 1;
    pub const ORIGIN: usize = 2;
    pub const KEY: usize = 3;
    pub const LANE: usize = 4;
    pub const SEQ: usize = 5;
    pub const SELF_PARENT: usize = 6;
    pub const PARENTS: usize = 7;
    pub const STATE_FRONTIER: usize = 8;
    pub const LAMPORT: usize = 9;
    pub const TIME_MS: usize = 10;
    pub const SENDER: usize = 11;
    pub const KIND: usize = 12;
    pub const STATE_KEY: usize = 13;
    pub const CONTENT: usize = 14;
    pub const BODY_CID: usize = 15;
    pub const BODY_LEN: usize = 16;
    pub const EXT: usize = 17;
}

/// The eighteen fields of a header, so that a test can bend one of them and sign again.
pub fn fields_of(event: &Event) -> Vec<Value> {
    let Value::List(mut fields) = codec::decode(event.header_block()).unwrap() else { panic!("a header is a list") };
    fields.pop();
    fields
}

/// What is signed for a header with these fields.
pub fn signing_input(fields: &[Value]) -> Vec<u8> {
    let unsigned = codec::encode(&Value::List(fields.to_vec())).unwrap();
    [SIGNING_DOMAIN, &unsigned].concat()
}

/// The header block of these fields with this signature, whether or not it is one.
pub fn block_of(fields: &[Value], signature: &[u8]) -> Vec<u8> {
    let mut all = fields.to_vec();
    all.push(signature.into());
    codec::encode(&Value::List(all)).unwrap()
}

/// The header block of these fields, signed as an event's.
pub fn sign_fields(key: &ServerKey, fields: &[Value]) -> Vec<u8> {
    block_of(fields, &key.sign(&signing_input(fields)))
}

/// A header block from the raw bytes of an eighteen-field list, signed over exactly those bytes.
pub fn sign_raw(key: &ServerKey, unsigned: &[u8]) -> Vec<u8> {
    assert_eq!(unsigned[0], 0x92, "a list of eighteen fields");
    let signature = key.sign(&[SIGNING_DOMAIN, unsigned].concat());
    [&[0x93][..], &unsigned[1..], &[0x58, 0x40], &signature].concat()
}

/// The order of Ed25519's group: 2^252 + 27742317777372353535851937790883648493, lowest byte first.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// `signature` with the group's order added to its scalar: the same equation, other bytes.
pub fn with_order_added(signature: &[u8; 64]) -> [u8; 64] {
    let order = hex::decode(ORDER).unwrap();
    let mut other = *signature;
    let mut carry = 0_u16;
    for (byte, add) in other[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "the scalar of an honest signature is below the order, so that the sum fits");
    other
}
