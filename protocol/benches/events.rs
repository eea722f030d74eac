//! What an event costs to make, to write, to read and to verify, beside the bare check of its signature.
#![allow(clippy::unwrap_used, missing_docs)]

use std::convert::Infallible;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rocketmesh_protocol::codec::{Map, Value, decode, encode};
use rocketmesh_protocol::event::{
    Body, Content, Draft, Event, Lane, Membership, Placement, RoomType, RoomVersion, SIGNING_DOMAIN, UnverifiedEvent,
    author,
};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::{ServerKey, UserId};
use rocketmesh_protocol::room::Outline;
use rocketmesh_protocol::wire::{GossipFrame, WireEvent};

/// Text of a typical message, in bytes.
const TEXT_BYTES: usize = 200;

fn draft(user: &UserId, content: &Content, body: Option<Body>) -> Draft {
    let (kind, state_key) = content.kind_and_key();
    Draft {
        sender: Some(user.localpart.clone()),
        kind: kind.to_owned(),
        state_key,
        content: content.to_map(&[7; 16]),
        body,
        time_ms: 1_700_000_000_000,
    }
}

fn message(user: &UserId) -> Draft {
    let body = Body::new([3; 16], Map::new().with("text", "x".repeat(TEXT_BYTES)));
    draft(user, &Content::Message { thread: None }, Some(body))
}

/// A message of Alice's server where it has two parents, and everything that it takes to make it again.
fn typical() -> (ServerKey, Placement, Draft) {
    let servers = [1, 2].map(|seed| {
        let key = ServerKey::from_seed(&[seed; 32]);
        let user = UserId { origin: key.origin(), localpart: "alice".parse().unwrap() };
        (key, user)
    });
    let [(alice, alices_user), (bob, bobs_user)] = &servers;
    let content = Content::Create { room_type: RoomType::Channel, with: Vec::new() };
    let create = author(alice, Placement::first(), draft(alices_user, &content, None)).unwrap();
    let mut outline = Outline::new(create.room(), RoomVersion::DRAFT);
    outline.add(&create, true);
    let mut events = vec![create];

    let joins = Content::Member { user: bobs_user.clone(), change: Membership::Join, seen: Vec::new() };
    for (key, draft) in [(bob, draft(bobs_user, &joins, None)), (alice, message(alices_user))] {
        let event = author(key, placement(&outline, &events, key, lane_of(&draft)), draft).unwrap();
        outline.add(&event, true);
        events.push(event);
    }

    // Both write without having seen the other's message, so that there are two tips.
    let at_once = [(alice, alices_user), (bob, bobs_user)]
        .map(|(key, user)| author(key, placement(&outline, &events, key, Lane::Timeline), message(user)).unwrap());
    for event in at_once {
        outline.add(&event, true);
        events.push(event);
    }
    let place = placement(&outline, &events, alice, Lane::Timeline);
    assert_eq!(place.parents.len(), 2);
    (alice.clone(), place, message(alices_user))
}

fn lane_of(draft: &Draft) -> Lane {
    if draft.state_key.is_some() { Lane::State } else { Lane::Timeline }
}

fn placement(outline: &Outline, events: &[Event], key: &ServerKey, lane: Lane) -> Placement {
    let lamport = |id: &EventId| {
        let event = events.iter().find(|event| event.id() == *id).unwrap();
        Ok::<u64, Infallible>(event.header().lamport)
    };
    let Ok(placement) = outline.placement(key.origin(), lane, lamport);
    placement
}

fn events(criterion: &mut Criterion) {
    let (key, place, draft) = typical();
    let event = author(&key, place.clone(), draft.clone()).unwrap();
    let (header, body) = (event.header_block(), event.body_block());
    println!("a typical message: header {} bytes, body {} bytes", header.len(), body.map_or(0, <[u8]>::len));

    let Ok(Value::List(mut fields)) = decode(header) else { panic!("a header is a list") };
    fields.pop();
    let signed = [SIGNING_DOMAIN, &encode(&Value::List(fields)).unwrap()].concat();
    assert!(key.origin().verifies(&signed, event.signature()));
    let frame = GossipFrame::encode(&event);

    let mut group = criterion.benchmark_group("event");
    group.bench_function("create", |bencher| {
        bencher.iter_batched(
            || (place.clone(), draft.clone()),
            |(place, draft)| author(&key, place, draft).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("encode a frame", |bencher| bencher.iter(|| GossipFrame::encode(black_box(&event))));
    group.bench_function("blocks for a response", |bencher| bencher.iter(|| WireEvent::of(black_box(&event))));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| UnverifiedEvent::decode(black_box(header), black_box(body)).unwrap());
    });
    group.bench_function("decode a frame", |bencher| {
        bencher.iter(|| GossipFrame::decode(black_box(&frame)).unwrap());
    });
    group.bench_function("bare signature check", |bencher| {
        bencher.iter(|| key.origin().verifies(black_box(&signed), black_box(event.signature())));
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| Event::open(black_box(header), black_box(body)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
