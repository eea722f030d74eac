//! Names and ids as text: what is written is read back, and nothing has two texts.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use multibase::Base;
use proptest::prelude::*;
use rocketmesh_protocol::id::{BodyId, EventId, IdError, RoomId};
use rocketmesh_protocol::identity::{
    Localpart, NameError, Origin, ServerAddress, ServerKey, ServerName, UserAddress, UserId,
};
use rocketmesh_protocol::limits::{MAX_LOCALPART_BYTES, MAX_NAME_BYTES};
use support::values::{any_damage, damaged};
use support::{Server, config, localpart};

fn any_origin() -> impl Strategy<Value = Origin> {
    any::<[u8; 32]>().prop_map(Origin::from_bytes)
}

fn any_localpart() -> impl Strategy<Value = Localpart> {
    prop_oneof!["[a-z0-9._-]{1,20}", "[!-.;-?A-~é中🚀]{1,40}"].prop_map(|text| localpart(&text))
}

fn any_server_name() -> impl Strategy<Value = ServerName> {
    let label = "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?";
    let port = prop_oneof![Just(None), (1..=u16::MAX).prop_map(Some)];
    (prop::collection::vec(label, 1..5), port).prop_map(|(labels, port)| {
        let host = labels.join(".");
        port.map_or(host.clone(), |port| format!("{host}:{port}")).parse::<ServerName>().unwrap()
    })
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn an_id_is_read_back_from_its_text_and_its_cid(hash in any::<[u8; 32]>()) {
        let id = EventId::from_hash(hash);
        let text = id.to_string();
        prop_assert_eq!(text.parse::<EventId>(), Ok(id));
        prop_assert_eq!(EventId::try_from(&id.to_cid()), Ok(id));
        prop_assert_eq!(text.parse::<RoomId>(), Ok(RoomId::from(id)));
        prop_assert_eq!(text.parse::<BodyId>(), Ok(BodyId::from_hash(hash)));
        prop_assert_eq!(text.len(), 59);
        prop_assert!(text.starts_with("bafyr4i"), "{}", text);
        prop_assert_eq!(EventId::from(RoomId::from(id)), id);
    }

    #[test]
    fn an_id_has_one_text(hash in any::<[u8; 32]>()) {
        let id = EventId::from_hash(hash);
        let cid = id.to_cid();
        let upper = cid.to_string_of_base(Base::Base32Upper).unwrap();
        prop_assert_eq!(upper.parse::<EventId>(), Err(IdError::WrongForm(upper)));
        for base in [Base::Base58Btc, Base::Base16Lower, Base::Base64, Base::Base36Lower, Base::Base32PadLower] {
            let text = cid.to_string_of_base(base).unwrap();
            prop_assert!(text.parse::<EventId>().is_err(), "{}", text);
        }
        for text in [format!("/ipfs/{id}"), format!(" {id}"), format!("{id} "), format!("{id}\n")] {
            prop_assert!(text.parse::<EventId>().is_err(), "{}", text);
        }
    }

    #[test]
    fn damage_to_an_ids_text_is_noticed_or_makes_it_another_ids(
        hash in any::<[u8; 32]>(),
        damages in prop::collection::vec(any_damage(), 1..3),
    ) {
        let id = EventId::from_hash(hash);
        let text = String::from_utf8_lossy(&damaged(id.to_string().into_bytes(), &damages)).into_owned();
        if let Ok(read) = text.parse::<EventId>() {
            prop_assert_eq!(read == id, text == id.to_string());
            prop_assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn an_origin_is_read_back_from_its_text_and_its_peer_id(origin in any_origin()) {
        let text = origin.to_string();
        prop_assert_eq!(text.parse::<Origin>(), Ok(origin));
        prop_assert_eq!(Origin::from_peer_id_bytes(&origin.to_peer_id_bytes()), Some(origin));
        prop_assert_eq!(text.len(), 52);
        prop_assert!(text.starts_with("12D3KooW"), "{}", text);
    }

    #[test]
    fn damage_to_an_origins_text_is_noticed_or_makes_it_another_origins(
        origin in any_origin(),
        damages in prop::collection::vec(any_damage(), 1..3),
    ) {
        let text = String::from_utf8_lossy(&damaged(origin.to_string().into_bytes(), &damages)).into_owned();
        if let Ok(read) = text.parse::<Origin>() {
            prop_assert_eq!(read == origin, text == origin.to_string());
            prop_assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn a_user_is_read_back_from_its_text(origin in any_origin(), localpart in any_localpart()) {
        let user = UserId { origin, localpart: localpart.clone() };
        let text = user.to_string();
        prop_assert!(text.len() <= MAX_NAME_BYTES);
        prop_assert_eq!(text.parse::<UserId>(), Ok(user));
        let address = UserAddress { localpart, server: ServerAddress::Origin(origin) };
        prop_assert_eq!(address.to_string(), text.clone());
        prop_assert_eq!(text.parse::<UserAddress>(), Ok(address));
    }

    #[test]
    fn an_address_with_a_servers_name_is_read_back(localpart in any_localpart(), name in any_server_name()) {
        prop_assert_eq!(name.to_string().parse::<ServerName>(), Ok(name.clone()));
        let address = UserAddress { localpart, server: ServerAddress::Name(name) };
        prop_assert_eq!(address.to_string().parse::<UserAddress>(), Ok(address));
    }

    #[test]
    fn any_text_is_a_name_with_that_text_or_none(text in any::<String>()) {
        if let Ok(name) = text.parse::<Localpart>() {
            prop_assert_eq!(name.to_string(), text.clone());
        }
        if let Ok(name) = text.parse::<ServerName>() {
            prop_assert_eq!(name.to_string(), text.clone());
        }
        if let Ok(user) = format!("@{text}").parse::<UserAddress>() {
            prop_assert_eq!(user.to_string(), format!("@{text}"));
        }
        prop_assert!(text.parse::<EventId>().is_err());
        prop_assert!(text.parse::<Origin>().is_err());
        prop_assert!(text.parse::<UserId>().is_err());
    }
}

#[test]
fn an_id_is_the_cid_of_its_block() {
    let block = b"a block";
    let id = EventId::of_block(block);
    assert_eq!(id.hash(), blake3::hash(block).as_bytes());
    let cid = id.to_cid();
    assert_eq!((cid.codec(), cid.hash().code(), cid.hash().size()), (0x71, 0x1e, 32));
    assert_eq!(hex::encode(cid.to_bytes()), format!("01711e20{}", hex::encode(id.hash())));
}

#[test]
fn what_is_no_cid_is_told_from_a_cid_of_another_kind() {
    for text in ["", "b", "general", "bafyr4i", "12D3KooW", "@alice:example.org", "🚀", "b\u{0}", "zzz0"] {
        assert_eq!(text.parse::<EventId>(), Err(IdError::NotACid(text.to_owned())), "{text}");
    }
    // Version 1, raw, SHA-256; and the empty directory of IPFS, version 0.
    let text = "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy";
    assert_eq!(text.parse::<EventId>(), Err(IdError::WrongForm(text.to_owned())));
    assert!("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".parse::<EventId>().is_err());
    let hash = |code: u64, digest: &[u8]| multihash::Multihash::<64>::wrap(code, digest).unwrap();
    for (name, cid) in [
        ("raw", cid::Cid::new_v1(0x55, hash(0x1e, &[1; 32]))),
        ("sha-256", cid::Cid::new_v1(0x71, hash(0x12, &[1; 32]))),
        ("a short digest", cid::Cid::new_v1(0x71, hash(0x1e, &[1; 31]))),
        ("a long digest", cid::Cid::new_v1(0x71, hash(0x1e, &[1; 33]))),
        ("no digest", cid::Cid::new_v1(0x71, hash(0x1e, &[]))),
        ("version 0", cid::Cid::new_v0(hash(0x12, &[1; 32])).unwrap()),
    ] {
        assert_eq!(EventId::try_from(&cid), Err(IdError::WrongForm(cid.to_string())), "{name}");
        assert!(cid.to_string().parse::<RoomId>().is_err(), "{name}");
    }
}

#[test]
fn an_ids_text_with_more_behind_it_is_not_the_id() {
    let id = EventId::from_hash([3; 32]);
    let longer = [&id.to_cid().to_bytes()[..], &[0]].concat();
    let text = multibase::encode(Base::Base32Lower, longer);
    assert!(text.parse::<EventId>().is_err(), "{text}");
    // The last letter carries two bits that belong to no byte; only zeros are right there.
    let text = id.to_string();
    let (start, last) = text.split_at(58);
    for letter in "abcdefghijklmnopqrstuvwxyz234567".chars().filter(|letter| !last.starts_with(*letter)) {
        let other = format!("{start}{letter}");
        assert_ne!(other.parse::<EventId>(), Ok(id), "{other}");
    }
}

#[test]
fn an_id_of_great_length_is_refused_at_once() {
    // Reading base 58 or base 10 takes quadratic time: minutes for this much.
    for first in ["z", "9", "/ipfs/z"] {
        let text = format!("{first}{}", "2".repeat(1 << 20));
        assert!(text.parse::<EventId>().is_err());
    }
}

#[test]
fn origins_of_other_keys_are_refused() {
    let origin = Server::new(1, "alice").key.origin();
    let mut bytes = origin.to_peer_id_bytes();
    for at in 0..6 {
        bytes[at] ^= 1;
        assert_eq!(Origin::from_peer_id_bytes(&bytes), None, "byte {at}");
        bytes[at] ^= 1;
    }
    assert_eq!(Origin::from_peer_id_bytes(&bytes[..37]), None);
    assert_eq!(Origin::from_peer_id_bytes(&[&bytes[..], &[0]].concat()), None);
    assert_eq!(Origin::from_peer_id_bytes(&[]), None);

    let text = origin.to_string();
    for other in [
        String::new(),
        // The PeerId of an RSA key.
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".to_owned(),
        // An Ed25519 key as a CID, as libp2p writes it too.
        format!("z{text}"),
        text.to_lowercase(),
        text.replacen("12D3", "02D3", 1),
        text[..51].to_owned(),
        format!("{text}1"),
        format!("1{}", &text[..51]),
        format!(" {}", &text[..51]),
        "1".repeat(52),
        "z".repeat(52),
        "é".repeat(26),
    ] {
        let expected = Err(NameError::Origin(other.chars().take(80).collect()));
        assert_eq!(other.parse::<Origin>(), expected, "{other}");
    }
}

#[test]
fn a_server_key_comes_back_from_its_seed_and_hides_it() {
    let key = ServerKey::from_seed(&[9; 32]);
    assert_eq!(key.seed(), [9; 32]);
    assert_eq!(ServerKey::from_seed(&key.seed()).origin(), key.origin());
    let shown = format!("{key:?}");
    assert!(shown.contains(&key.origin().to_string()), "{shown}");
    assert!(!shown.contains(&hex::encode(key.seed())) && !shown.contains("9, 9"), "{shown}");
}

#[test]
fn localparts_leave_out_what_would_end_them() {
    let longest = "x".repeat(MAX_LOCALPART_BYTES);
    for good in ["a", "alice", "Alice.B-c_d+e", "josé", "中文", "🚀", "rocket.cat", "\"quoted\"", longest.as_str()]
    {
        assert_eq!(good.parse::<Localpart>().unwrap().as_str(), good);
    }
    let too_long = "x".repeat(MAX_LOCALPART_BYTES + 1);
    let too_many_bytes = "é".repeat(MAX_LOCALPART_BYTES / 2 + 1);
    for bad in [
        "",
        " ",
        "a b",
        "a\tb",
        "a\n",
        "\u{a0}",
        "\u{3000}",
        "\u{0}",
        "\u{7f}",
        "\u{85}",
        "@a",
        "a@b",
        "a:b",
        "a/b",
        &too_long,
        &too_many_bytes,
    ] {
        let expected = Err(NameError::Localpart(bad.chars().take(80).collect()));
        assert_eq!(bad.parse::<Localpart>(), expected, "{bad:?}");
    }
}

#[test]
fn the_longest_localpart_with_its_origin_fits_a_state_key() {
    let longest = Server::new(1, &"x".repeat(MAX_LOCALPART_BYTES)).user;
    let text = longest.to_string();
    assert_eq!(text.len(), 1 + 190 + 1 + 52);
    assert!(text.len() <= MAX_NAME_BYTES);
    assert_eq!(text.parse::<UserId>(), Ok(longest));
}

#[test]
fn server_names_are_host_names_in_lower_case() {
    let label = "a".repeat(63);
    let long_host = format!("{}.{}", [label.as_str(); 3].join("."), "b".repeat(63));
    assert_eq!(long_host.len(), MAX_NAME_BYTES);
    for good in [
        "localhost",
        "chat.example.org",
        "a",
        "1",
        "xn--bcher-kva.example",
        "127.0.0.1",
        "a-b.c--d",
        "a:1",
        "a:65535",
        "chat.example.org:8080",
        &label,
        &long_host,
    ] {
        assert_eq!(good.parse::<ServerName>().map(|name| name.to_string()), Ok(good.to_owned()));
    }
    let long_label = "a".repeat(64);
    let too_long = format!("{long_host}.c");
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "-a",
        "a-",
        "a.-b",
        "Chat.example.org",
        "bücher.example",
        "a_b",
        "a b",
        "a/b",
        "@a",
        "a:",
        ":1",
        "a:0",
        "a:65536",
        "a:-1",
        "a:1:2",
        "a:x",
        "a:000001",
        "[::1]",
        "a\n",
        &long_label,
        &too_long,
    ] {
        let expected = Err(NameError::ServerName(bad.chars().take(80).collect()));
        assert_eq!(bad.parse::<ServerName>(), expected, "{bad:?}");
    }
}

#[test]
fn a_port_is_digits_and_nothing_else() {
    for bad in ["chat.example.org:+80", "chat.example.org: 80", "chat.example.org:８０"] {
        assert_eq!(bad.parse::<ServerName>(), Err(NameError::ServerName(bad.to_owned())));
    }
}

#[test]
fn a_user_that_cannot_be_read_says_which_part_is_wrong() {
    let origin = Server::new(1, "alice").key.origin();
    for text in ["", "alice", "alice:example.org", "@alice", "@"] {
        let expected = NameError::User(text.to_owned());
        assert_eq!(text.parse::<UserId>(), Err(expected.clone()));
        assert_eq!(text.parse::<UserAddress>(), Err(expected));
    }
    for localpart in ["", "a b", "@a", "a/b"] {
        let text = format!("@{localpart}:{origin}");
        let expected = NameError::Localpart(localpart.to_owned());
        assert_eq!(text.parse::<UserId>(), Err(expected.clone()));
        assert_eq!(text.parse::<UserAddress>(), Err(expected));
    }
    // A name is no identity: what is signed knows origins only.
    assert_eq!("@alice:example.org".parse::<UserId>(), Err(NameError::Origin("example.org".to_owned())));
    assert_eq!("@alice:".parse::<UserId>(), Err(NameError::Origin(String::new())));
    for server in ["", "Example.org", "example.org/x", "a:b:c"] {
        let expected = Err(NameError::ServerName(server.to_owned()));
        assert_eq!(format!("@alice:{server}").parse::<UserAddress>(), expected);
    }
}

#[test]
fn errors_quote_no_more_than_an_excerpt() {
    let long = "x".repeat(10_000);
    let errors = [
        long.parse::<EventId>().unwrap_err().to_string(),
        long.parse::<Origin>().unwrap_err().to_string(),
        long.parse::<Localpart>().unwrap_err().to_string(),
        long.parse::<UserId>().unwrap_err().to_string(),
        "A".repeat(10_000).parse::<ServerName>().unwrap_err().to_string(),
    ];
    for error in errors {
        assert!(error.len() < 300, "{error}");
    }
}
