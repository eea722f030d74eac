//! What a signature promises: it is of this server, of these bytes, for an event, and there is no second one.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::codec::{self, Value};
use rocketmesh_protocol::event::{Event, EventError};
use rocketmesh_protocol::identity::{Origin, ServerKey};
use support::room::typical;
use support::{Server, block_of, field, fields_of, sign_fields, signing_input, with_order_added};

#[test]
fn a_header_signed_for_anything_else_is_no_event() {
    let (server, event) = typical();
    let fields = fields_of(&event);
    let unsigned = codec::encode(&Value::List(fields.clone())).unwrap();
    let domains: [&[u8]; 5] =
        [b"", b"rocketmesh event 1\n", b"rocketmesh event 0", b"rocketmesh record 0\n", b"rocketmesh event 0\n\n"];
    for domain in domains {
        let block = block_of(&fields, &server.key.sign(&[domain, &unsigned].concat()));
        assert_eq!(Event::open(&block, None), Err(EventError::Signature), "{}", domain.escape_ascii());
    }
    let whole = server.key.sign(event.header_block());
    assert_eq!(Event::open(&block_of(&fields, &whole), None), Err(EventError::Signature));
}

#[test]
fn nobody_signs_for_another_server() {
    let (_, event) = typical();
    let mallory = Server::new(66, "mallory");
    let block = sign_fields(&mallory.key, &fields_of(&event));
    assert_eq!(Event::open(&block, event.body_block()), Err(EventError::Signature));
}

#[test]
fn a_signature_has_one_form() {
    let (server, event) = typical();
    let fields = fields_of(&event);
    let message = signing_input(&fields);
    let other = with_order_added(event.signature());
    assert_ne!(&other, event.signature());
    assert!(server.key.origin().verifies(&message, event.signature()));
    assert!(!server.key.origin().verifies(&message, &other));
    assert_eq!(Event::open(&block_of(&fields, &other), None), Err(EventError::Signature));

    for bit in 0..512 {
        let mut other = *event.signature();
        other[bit / 8] ^= 1_u8 << (bit % 8);
        assert!(!server.key.origin().verifies(&message, &other), "bit {bit}");
    }
}

/// Encodings of points of small order, canonical and not. By laxer rules such a key signs messages that nobody signed.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn point(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

#[test]
fn a_key_of_small_order_signs_nothing() {
    let (_, event) = typical();
    for key in SMALL_ORDER {
        let origin = Origin::from_bytes(point(key));
        for r in SMALL_ORDER {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&point(r));
            for message in 0..16_u8 {
                assert!(!origin.verifies(&[message], &signature), "key {key}, R {r}, message {message}");
            }
            let mut fields = fields_of(&event);
            fields[field::ORIGIN] = origin.as_bytes().as_slice().into();
            let opened = Event::open(&block_of(&fields, &signature), None);
            assert_eq!(opened, Err(EventError::Signature), "key {key}, R {r}");
        }
    }
}

#[test]
fn an_honest_key_has_no_signature_with_a_point_of_small_order() {
    let (server, event) = typical();
    let message = signing_input(&fields_of(&event));
    for r in SMALL_ORDER {
        let mut signature = *event.signature();
        signature[..32].copy_from_slice(&point(r));
        assert!(!server.key.origin().verifies(&message, &signature), "{r}");
        signature[32..].fill(0);
        assert!(!server.key.origin().verifies(&message, &signature), "{r} and nothing");
    }
}

#[test]
fn the_published_test_vectors_of_rfc_8032_hold() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            concat!(
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            concat!(
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ),
    ];
    for (seed, public, message, signature) in vectors {
        let key = ServerKey::from_seed(&point(seed));
        let message = hex::decode(message).unwrap();
        assert_eq!(hex::encode(key.origin().as_bytes()), public);
        assert_eq!(hex::encode(key.sign(&message)), signature);
        assert!(key.origin().verifies(&message, &hex::decode(signature).unwrap().try_into().unwrap()));
    }
}
