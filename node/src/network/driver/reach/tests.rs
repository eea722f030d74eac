#![allow(clippy::unwrap_used)]

use super::candidate::SAME_SERVER;
use super::*;

const WAN: &str = "/ip4/198.51.100.1/tcp/4848";
const LAN: &str = "/ip4/192.168.1.7/tcp/4848";

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn server(number: u8) -> Server {
    let peer = crate::network::peer_id(&rocketmesh_protocol::identity::Origin::from_bytes([number; 32]));
    Server { peer, address: address(&format!("/ip4/203.0.{number}.1/tcp/4848")), stands: Scope::Global }
}

fn servers(count: u8) -> Vec<Server> {
    (1..=count).map(server).collect()
}

fn block(number: u8) -> Block {
    Block::V4([203, 0, number])
}

/// A node that listens on the local network, with peers across the internet.
fn behind_a_router(now: Instant) -> Reach {
    let mut reach = Reach::default();
    reach.own(&BTreeSet::from([(Source::Listening, address(LAN))]), now);
    reach.stands(Some(Scope::Global), now);
    reach
}

/// What is due where every lot is the same, so that the first of equals is asked.
fn due(reach: &mut Reach, servers: &[Server], now: Instant) -> Vec<(PeerId, Multiaddr)> {
    reach.due(servers, &mut || 0, now)
}

/// Lets every server that is due say the same, until nobody is asked any more.
fn all_say(reach: &mut Reach, servers: &[Server], outcome: Outcome, now: Instant) -> usize {
    let mut asked = 0;
    loop {
        let due = due(reach, servers, now);
        if due.is_empty() {
            return asked;
        }
        for (server, address) in due {
            reach.tested(&address, server, outcome, now);
            asked += 1;
        }
    }
}

#[test]
fn nobody_knows_anything_until_there_is_company() {
    let now = Instant::now();
    let mut reach = Reach::default();
    reach.own(&BTreeSet::from([(Source::Listening, address(WAN))]), now);
    assert_eq!(reach.verdict(now + GRACE * 9), Verdict::Unknown);
    assert!(!reach.wants_relays(now + GRACE * 9), "there is nobody to be a relay");
}

#[test]
fn a_single_peer_cannot_make_up_an_address_where_others_say_something_else() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    let all = servers(4);
    for (number, server) in (1..).zip(&all) {
        let said = if number == 1 { "/ip4/198.51.100.66/tcp/4848" } else { WAN };
        reach.named(&address(said), server.peer, block(number), now);
    }
    let due: Vec<Multiaddr> = due(&mut reach, &all, now).into_iter().map(|(_, address)| address).collect();
    assert_eq!(due, [address(WAN)]);
}

#[test]
fn peers_of_one_block_are_one_voice_where_there_are_others() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    let all = servers(5);
    for server in &all[..3] {
        reach.named(&address(WAN), server.peer, block(1), now);
    }
    assert!(!due(&mut reach, &all, now).is_empty(), "as long as nobody else says anything, they are all there is");
    let mut reach = behind_a_router(now);
    for (number, server) in (1..).zip(&all) {
        let (said, block) = if number <= 3 { (WAN, block(1)) } else { ("/ip4/198.51.100.2/tcp/4848", block(number)) };
        reach.named(&address(said), server.peer, block, now);
    }
    assert!(due(&mut reach, &all, now).is_empty());
}

#[test]
fn two_servers_confirm_and_two_refute_and_one_against_one_settles_nothing() {
    let now = Instant::now();
    for (outcome, verdict) in [(Outcome::Reached, Verdict::Public), (Outcome::Unreached, Verdict::Private)] {
        let mut reach = behind_a_router(now);
        let all = servers(2);
        for (number, server) in (1..).zip(&all) {
            reach.named(&address(WAN), server.peer, block(number), now);
        }
        let first = due(&mut reach, &all, now);
        assert_eq!(first.len(), 1, "one address, one server at a time");
        reach.tested(&address(WAN), first[0].0, outcome, now);
        assert_eq!(reach.verdict(now), Verdict::Unknown, "one of two is not enough");
        let second = due(&mut reach, &all, now);
        assert_ne!(second[0].0, first[0].0, "the other one is asked");
        reach.tested(&address(WAN), second[0].0, outcome, now);
        assert_eq!(reach.verdict(now), verdict);
    }
    let mut reach = behind_a_router(now);
    let all = servers(2);
    for (number, server) in (1..).zip(&all) {
        reach.named(&address(WAN), server.peer, block(number), now);
    }
    for outcome in [Outcome::Reached, Outcome::Unreached] {
        let (asked, _) = due(&mut reach, &all, now).remove(0);
        reach.tested(&address(WAN), asked, outcome, now);
    }
    assert_eq!(reach.verdict(now), Verdict::Unknown);
}

#[test]
fn where_only_one_server_is_connected_its_word_counts_until_there_are_more() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    let all = servers(1);
    reach.named(&address(WAN), all[0].peer, block(1), now);
    assert_eq!(all_say(&mut reach, &all, Outcome::Unreached, now), 1);
    assert_eq!(reach.verdict(now), Verdict::Private);
    assert!(reach.wants_relays(now));
    assert!(reach.is_refuted(&address(WAN)) && reach.proven(now).is_empty());
}

#[test]
fn a_server_that_does_not_answer_is_not_asked_without_end() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    let all = servers(2);
    for (number, server) in (1..).zip(&all) {
        reach.named(&address(WAN), server.peer, block(number), now);
    }
    assert_eq!(all_say(&mut reach, &all, Outcome::Unanswered, now), 2, "each once");
    assert_eq!(due(&mut reach, &all, now + SAME_SERVER).len(), 1, "later again");
    assert_eq!(reach.verdict(now), Verdict::Unknown);
}

#[test]
fn what_was_confirmed_is_tested_again_and_lost_once_others_find_so_too_and_comes_back() {
    let mut now = Instant::now();
    let mut reach = behind_a_router(now);
    let all = servers(3);
    let name = |reach: &mut Reach, now| {
        for (number, server) in (1..).zip(&servers(3)) {
            reach.named(&address(WAN), server.peer, block(number), now);
        }
    };
    name(&mut reach, now);
    all_say(&mut reach, &all, Outcome::Reached, now);
    assert_eq!(reach.verdict(now), Verdict::Public);
    assert_eq!(reach.proven(now), [address(WAN)]);
    assert!(due(&mut reach, &all, now + AGAIN_CONFIRMED / 2).is_empty());

    now += AGAIN_CONFIRMED;
    name(&mut reach, now);
    let (liar, asked) = due(&mut reach, &all, now).remove(0);
    reach.tested(&asked, liar, Outcome::Unreached, now);
    assert_eq!(reach.verdict(now), Verdict::Public, "one server may be wrong");
    all_say(&mut reach, &all, Outcome::Reached, now);
    assert_eq!(reach.verdict(now), Verdict::Public, "the others say that it was");

    now += AGAIN_CONFIRMED;
    name(&mut reach, now);
    all_say(&mut reach, &all, Outcome::Unreached, now);
    assert_eq!(reach.verdict(now), Verdict::Private);
    assert!(reach.proven(now).is_empty());

    now += AGAIN_REFUTED[0];
    name(&mut reach, now);
    all_say(&mut reach, &all, Outcome::Reached, now);
    assert_eq!(reach.verdict(now), Verdict::Public);
}

#[test]
fn an_address_that_nobody_names_any_more_is_forgotten() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    let all = servers(1);
    reach.named(&address(WAN), all[0].peer, block(1), now);
    all_say(&mut reach, &all, Outcome::Reached, now);
    assert_eq!(reach.verdict(now), Verdict::Public);
    due(&mut reach, &all, now + WORD);
    assert!(reach.proven(now).is_empty());
    assert_eq!(reach.verdict(now + WORD), Verdict::Private, "it listens only where the others are not");
}

#[test]
fn where_everybody_is_on_the_local_network_its_addresses_are_enough() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    reach.stands(Some(Scope::Private), now);
    let neighbour = Server { stands: Scope::Private, address: address("/ip4/192.168.1.9/tcp/4848"), ..server(1) };
    assert_eq!(all_say(&mut reach, std::slice::from_ref(&neighbour), Outcome::Reached, now), 1);
    assert_eq!(reach.verdict(now), Verdict::Public);
    reach.stands(Some(Scope::Global), now);
    assert_eq!(reach.verdict(now), Verdict::Unknown, "to somebody farther away it proves nothing");
    assert!(reach.wants_relays(now), "and it listens on nothing that they could reach");
    assert!(due(&mut reach, &[neighbour], now).is_empty(), "a neighbour cannot test for those far away");
}

#[test]
fn whoever_came_by_themselves_from_far_enough_has_reached_this_node() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    reach.came(server(1).peer, Scope::Private, now);
    assert!(!reach.was_reached());
    reach.came(server(2).peer, Scope::Global, now);
    assert!(reach.was_reached());
    assert_ne!(reach.verdict(now), Verdict::Public, "one is not enough for a verdict");
    reach.came(server(3).peer, Scope::Global, now);
    assert_eq!(reach.verdict(now), Verdict::Public);
    reach.changed(now);
    assert!(!reach.was_reached(), "on another network it means nothing");
}

#[test]
fn what_the_administrator_or_the_router_says_counts_until_tests_refute_it() {
    let now = Instant::now();
    for source in [Source::Configured, Source::Mapped] {
        let mut reach = behind_a_router(now);
        reach.own(&BTreeSet::from([(Source::Listening, address(LAN)), (source, address(WAN))]), now);
        assert_eq!(reach.verdict(now), Verdict::Public);
        assert_eq!(reach.proven(now), [address(WAN)]);
        all_say(&mut reach, &servers(2), Outcome::Unreached, now);
        assert_eq!(reach.verdict(now), Verdict::Private);
    }
}

#[test]
fn a_node_that_listens_nowhere_is_private_after_a_while_and_wants_relays_at_once() {
    let now = Instant::now();
    let mut reach = Reach::default();
    reach.stands(Some(Scope::Global), now);
    assert!(reach.wants_relays(now));
    assert_eq!(reach.verdict(now), Verdict::Unknown);
    assert_eq!(reach.verdict(now + GRACE), Verdict::Private);
}

#[test]
fn what_hostile_peers_name_is_bounded() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    for port in 0..1_000_u16 {
        reach.named(&address(&format!("/ip4/198.51.100.1/tcp/{port}")), server(1).peer, block(1), now);
    }
    assert!(reach.seen().len() <= WORDS + 1, "one peer has a few words");
    for number in 0..=255 {
        let made_up = address(&format!("/ip4/198.51.{number}.1/tcp/4848"));
        reach.named(&made_up, server(number).peer, block(number), now);
    }
    assert_eq!(reach.seen().len(), ADDRESSES);
    for number in 1..=3 {
        reach.named(&address(WAN), server(number).peer, block(number), now);
    }
    let wan = reach.seen().into_iter().find(|seen| seen.address == address(WAN)).unwrap();
    assert_eq!(wan.named, 3, "what several say finds room");
}

#[test]
fn a_change_of_networks_has_everything_tested_anew_and_takes_nothing_back_before() {
    let now = Instant::now();
    let mut reach = behind_a_router(now);
    let all = servers(2);
    for (number, server) in (1..).zip(&all) {
        reach.named(&address(WAN), server.peer, block(number), now);
    }
    all_say(&mut reach, &all, Outcome::Reached, now);
    reach.changed(now);
    assert_eq!(reach.verdict(now), Verdict::Public);
    assert_eq!(all_say(&mut reach, &all, Outcome::Unreached, now), 2);
    assert_eq!(reach.verdict(now), Verdict::Private);
}

/// A node that others see at [`WAN`], of whom the first so many lie that they could not reach it.
fn with_liars(all: &[Server], liars: usize, random: &mut dyn FnMut() -> u64, now: Instant) -> Reach {
    let mut reach = behind_a_router(now);
    for (number, server) in (1..).zip(all) {
        reach.named(&address(WAN), server.peer, block(number), now);
    }
    loop {
        let due = reach.due(all, random, now);
        if due.is_empty() {
            return reach;
        }
        for (asked, address) in due {
            let lies = all[..liars].iter().any(|liar| liar.peer == asked);
            let outcome = if lies { Outcome::Unreached } else { Outcome::Reached };
            reach.tested(&address, asked, outcome, now);
        }
    }
}

#[test]
fn two_that_lie_alike_decide_nothing_where_there_are_enough_others_whoever_is_asked_first() {
    let now = Instant::now();
    let all = servers(6);
    for seed in 0..64_u64 {
        let mut lots = seed;
        let mut random = || {
            lots = lots.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            lots >> 16
        };
        let reach = with_liars(&all, 2, &mut random, now);
        assert_eq!(reach.verdict(now), Verdict::Public, "with the lots of {seed}");
    }
}

#[test]
fn who_is_asked_first_is_decided_by_lot_and_not_by_id() {
    let now = Instant::now();
    let all = servers(5);
    let mut first = BTreeSet::new();
    for chosen in 0..all.len() {
        let mut reach = behind_a_router(now);
        for (number, server) in (1..).zip(&all) {
            reach.named(&address(WAN), server.peer, block(number), now);
        }
        let mut drawn = 0;
        let mut random = || {
            drawn += 1;
            u64::from(drawn != chosen + 1)
        };
        first.insert(reach.due(&all, &mut random, now)[0].0);
    }
    assert_eq!(first.len(), all.len());
}

#[test]
fn servers_of_one_block_settle_nothing_where_there_are_others() {
    let now = Instant::now();
    let alike = |number: u8| Server { address: address(&format!("/ip4/203.0.99.{number}/tcp/4848")), ..server(number) };
    let all: Vec<Server> = (1..=4).map(alike).chain([server(5)]).collect();
    let mut reach = behind_a_router(now);
    for (number, server) in (1..).zip(&all) {
        reach.named(&address(WAN), server.peer, block(number), now);
    }
    loop {
        let due = due(&mut reach, &all, now);
        if due.is_empty() {
            break;
        }
        for (server, address) in due {
            let outcome = if server == all[4].peer { Outcome::Reached } else { Outcome::Unreached };
            reach.tested(&address, server, outcome, now);
        }
    }
    assert_eq!(reach.verdict(now), Verdict::Unknown, "four against one, and the four are neighbours");
}

#[test]
fn tests_that_settle_nothing_become_ever_rarer_and_are_bounded_in_an_hour() {
    let begin = Instant::now();
    let mut reach = behind_a_router(begin);
    let all = servers(2);
    let mut asked = Vec::new();
    for second in 0..3_600 {
        let now = begin + Duration::from_secs(second);
        if second % 300 == 0 {
            for (number, server) in (1..).zip(&all) {
                reach.named(&address(WAN), server.peer, block(number), now);
            }
        }
        for (server, address) in due(&mut reach, &all, now) {
            let outcome = if server == all[0].peer { Outcome::Reached } else { Outcome::Unreached };
            reach.tested(&address, server, outcome, now);
            asked.push(second);
        }
    }
    assert!(asked.len() <= 20, "{asked:?}");
    assert!(asked.iter().filter(|second| **second >= 1_800).count() <= 6, "{asked:?}");
}

#[test]
fn servers_that_come_and_go_and_answer_nothing_cannot_cost_more_than_the_ration() {
    let begin = Instant::now();
    let mut reach = behind_a_router(begin);
    let mut asked = 0;
    for second in 0..3_600_u64 {
        let now = begin + Duration::from_secs(second);
        let peer = PeerId::random();
        reach.named(&address(WAN), peer, block(1), now);
        for (server, address) in due(&mut reach, &[Server { peer, ..server(1) }], now) {
            reach.tested(&address, server, Outcome::Unanswered, now);
            asked += 1;
        }
    }
    assert!(asked <= 101, "{asked}");
}

#[test]
fn the_routers_word_lapses_where_nobody_can_test_it_and_the_administrators_does_not() {
    let now = Instant::now();
    let later = now + Duration::from_secs(11 * 60);
    for (source, verdict) in [(Source::Mapped, Verdict::Unknown), (Source::Configured, Verdict::Public)] {
        let mut reach = behind_a_router(now);
        reach.own(&BTreeSet::from([(Source::Listening, address(LAN)), (source, address(WAN))]), now);
        assert_eq!(reach.verdict(now), Verdict::Public);
        reach.own(&BTreeSet::from([(Source::Listening, address(LAN)), (source, address(WAN))]), later);
        assert!(due(&mut reach, &[], later).is_empty());
        assert_eq!(reach.verdict(later), verdict, "{source:?}");
        assert_eq!(reach.proven(later).is_empty(), source == Source::Mapped);
        assert_eq!(reach.wants_relays(later), source == Source::Mapped);
    }
}

#[test]
fn what_was_confirmed_lapses_if_nobody_is_there_to_test_it_again() {
    let now = Instant::now();
    let mapped = BTreeSet::from([(Source::Listening, address(LAN)), (Source::Mapped, address(WAN))]);
    let mut reach = behind_a_router(now);
    reach.own(&mapped, now);
    all_say(&mut reach, &servers(2), Outcome::Reached, now);
    assert_eq!(reach.verdict(now), Verdict::Public);
    let later = now + STANDS;
    reach.own(&mapped, later);
    due(&mut reach, &[], later);
    assert_ne!(reach.verdict(later), Verdict::Public);
}
