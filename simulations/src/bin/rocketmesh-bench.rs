//! What whole nodes can do on this machine, as one table.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use futures::stream::{self, StreamExt, TryStreamExt};
use rocketmesh_node::NodeBuilder;
use rocketmesh_protocol::event::Event;
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_protocol::wire::WireEvent;
use rocketmesh_simulations::catch_up::gap::Gap;
use rocketmesh_simulations::catch_up::holders::Holders;
use rocketmesh_simulations::catch_up::join::Join;
use rocketmesh_simulations::catch_up::little::{Alike, Few};
use rocketmesh_simulations::catch_up::{CatchUp, catch_up};
use rocketmesh_simulations::chat::Chat;
use rocketmesh_simulations::measure::{mib, ms, percentile, resident};
use rocketmesh_simulations::prepared::{Filling, PreparedRoom};
use rocketmesh_simulations::process::{Process, three, until};
use rocketmesh_simulations::progress::progress;
use rocketmesh_simulations::rocketchat::measure::{Measured, measure};
use rocketmesh_simulations::rocketchat::side::Binaries;
use rocketmesh_simulations::rocketchat::standin::beside_this_program;
use rocketmesh_simulations::{Failure, finish};
use tokio::sync::Semaphore;

/// Events that are taken in for the throughput figure.
const INGESTED: usize = 20_000;
/// Events of one answer of a peer.
const ANSWER: usize = 1_000;
/// The rate of the latency figure, and for how long.
const STEADY_RATE: u64 = 100;
const STEADY: Duration = Duration::from_secs(20);
/// For how long each rate is tried, and how long after that the last event may arrive at the last server.
const TRIAL: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(1);
/// Requests under way at once in the trial of rates.
const IN_FLIGHT: usize = 128;

/// Measure whole nodes on this machine.
#[derive(Parser)]
struct Args {
    /// The rocketmesh binary.
    #[arg(long)]
    rocketmesh: PathBuf,
    /// An IRC log whose lines are the texts; the built-in conversation otherwise.
    #[arg(long)]
    chat: Option<PathBuf>,
    /// One part only.
    #[arg(long)]
    only: Option<Part>,
    /// Events of the large store.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Of catching up and joining, leave out what has 100,000 events.
    #[arg(long)]
    short: bool,
    /// Numbers of federated rooms to measure with.
    #[arg(long, value_delimiter = ',', default_values_t = [1_usize, 100, 1_000])]
    rooms: Vec<usize>,
    /// The rocketmesh-standin binary [default: the one beside this program]
    #[arg(long)]
    standin: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From wire bytes to flushed store.
    Ingest,
    /// Three nodes: latency, and the highest rate.
    Three,
    /// Two nodes and four: catching up with gaps small and large, joining large rooms.
    CatchUp,
    /// Two Rocket.Chat servers with a node beside each: from one stream to the other.
    #[value(name = "rocketchat")]
    RocketChat,
    /// Memory and start-up with a large store.
    Million,
}

#[tokio::main]
async fn main() -> ExitCode {
    finish("benchmark", bench(Args::parse()).await)
}

/// What was measured, and the value.
type Rows = Vec<[String; 2]>;

async fn bench(args: Args) -> Result<(), Failure> {
    let chat = match &args.chat {
        Some(path) => Chat::read(path)?,
        None => Chat::built_in(),
    };
    let texts: Vec<String> = chat.lines.into_iter().map(|line| line.text).collect();
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let mut rows = Rows::new();
    if wanted(Part::Ingest) {
        ingest(&texts, &mut rows).await?;
    }
    if wanted(Part::Three) {
        three_nodes(&args.rocketmesh, &texts, &mut rows).await?;
    }
    let mut caught_up = None;
    if wanted(Part::CatchUp) {
        caught_up = Some(catch_up(&args.rocketmesh, &texts, args.short).await?);
    }
    if wanted(Part::Million) {
        million(&args.rocketmesh, &texts, args.events, &mut rows).await?;
    }
    let mut measured = Vec::new();
    if wanted(Part::RocketChat) {
        let standin = args.standin.clone().map_or_else(beside_this_program, Ok)?;
        let binaries = Binaries { rocketmesh: args.rocketmesh.clone(), standin, record: None };
        measured = measure(&binaries, &args.rooms, &texts).await?;
    }
    if args.json {
        println!("{:#}", serde_json::json!({"measured": rows, "catch_up": caught_up, "rocketchat": measured}));
        return Ok(());
    }
    if !rows.is_empty() {
        print(&["measured", "value"], rows);
    }
    if let Some(CatchUp { gaps, holders, joins, few, alike }) = caught_up {
        print(&Gap::HEADER, gaps.iter().map(Gap::row));
        print(&Holders::HEADER, [holders.row()]);
        print(&Join::HEADER, joins.iter().map(Join::row));
        print(&Few::HEADER, few.iter().map(Few::row));
        print(&Alike::HEADER, alike.iter().map(Alike::row));
    }
    if !measured.is_empty() {
        print(&Measured::HEADER, measured.iter().map(Measured::row));
    }
    Ok(())
}

fn print<const N: usize>(header: &[&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    println!("{table}\n");
}

/// The server whose user does the talking where one user does.
fn owner() -> ServerKey {
    ServerKey::from_seed(&[7; 32])
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Events per second through one node, from wire bytes to flushed store, beside bare signature checks on one core.
async fn ingest(texts: &[String], rows: &mut Rows) -> Result<(), Failure> {
    eprintln!("Taking {INGESTED} events from wire bytes to flushed store.");
    let (mut prepared, create) = PreparedRoom::begin(owner())?;
    let room = create.room();
    let mut wire = vec![WireEvent::of(&create)];
    let mut bodies = 0;
    for at in 1..INGESTED {
        let event = prepared.say(&texts[at % texts.len()])?;
        bodies += event.body_block().map_or(0, <[u8]>::len);
        wire.push(WireEvent::of(&event));
    }
    let bytes: usize = wire.iter().map(WireEvent::len).sum();

    let sample: Vec<Event> =
        wire.iter().take(4_000).map(|event| Ok(event.decode()?.trust())).collect::<Result<_, Failure>>()?;
    let begun = Instant::now();
    for event in &sample {
        let message = event.header_block();
        // The message is not the one that was signed, which takes just as long to find out.
        std::hint::black_box(create.header().origin.verifies(message, event.signature()));
    }
    let bare = per_second(sample.len(), begun.elapsed());

    let directory = tempfile::tempdir()?;
    let node = NodeBuilder::in_directory(directory.path())
        .configure(|config| {
            config.network.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
            config.network.mdns = false;
        })
        .without_api()
        .start()
        .await?;
    let begun = Instant::now();
    // Two answers at a time: while one is written and flushed, the next is verified.
    let answers = stream::iter(wire.chunks(ANSWER).map(|answer| node.ingest(room, answer.to_vec())));
    let new: usize = answers.buffered(2).try_fold(0, |new, more| async move { Ok(new + more) }).await?;
    let rate = per_second(INGESTED, begun.elapsed());
    if new != INGESTED {
        return Err(format!("{new} of {INGESTED} events were taken in").into());
    }
    node.shutdown().await;
    let disk = directory_size(directory.path())?;
    let each = |bytes: usize| format!("{:.0} bytes", bytes as f64 / INGESTED as f64);
    rows.push(["bare ed25519 strict verification, one core".into(), format!("{bare:.0} a second")]);
    rows.push(["one node, wire bytes to flushed store, both cores".into(), format!("{rate:.0} events a second")]);
    rows.push(["that as a fraction of bare verification".into(), format!("{:.2}", rate / bare)]);
    rows.push(["an event's body".into(), each(bodies)]);
    rows.push(["an event on the wire (header, signature, body)".into(), each(bytes)]);
    rows.push(["an event on disk (all indexes)".into(), each(disk as usize)]);
    Ok(())
}

fn directory_size(path: &Path) -> Result<u64, Failure> {
    let mut size = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() { directory_size(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}

/// Three processes on loopback.
async fn three_nodes(binary: &Path, texts: &[String], rows: &mut Rows) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let (servers, room) = three(binary, directory.path(), ["alice", "bob", "carol"]).await?;
    rows.push(["memory of an idle node (in one room)".into(), mib(resident(servers[1].pid())?)]);
    // Gossip's mesh forms within two heartbeats.
    tokio::time::sleep(Duration::from_secs(3)).await;
    eprintln!("Sending {STEADY_RATE} events a second for {} seconds.", STEADY.as_secs());
    let before = sent(&servers).await?;
    let mut steady = trial(&servers, &room, texts, STEADY_RATE, STEADY).await?;
    let count = steady.delays.len();
    let each = (sent(&servers).await? - before) as f64 / (count as f64);
    rows.push([
        "bytes sent over connections for each event and server that receives it, gossip's overhead included".into(),
        format!("{each:.0} bytes"),
    ]);
    rows.push([
        format!("delivery at {STEADY_RATE} events a second over three nodes, p50"),
        ms(percentile(&mut steady.delays, 50.0)),
    ]);
    rows.push([format!("the same, p99 ({count} deliveries)"), ms(percentile(&mut steady.delays, 99.0))]);
    let mut kept_up = (STEADY_RATE, steady);
    let mut rate = 250;
    loop {
        eprintln!("Trying {rate} events a second.");
        let outcome = trial(&servers, &room, texts, rate, TRIAL).await?;
        if !outcome.kept_up {
            rows.push([
                "highest rate at which all three kept up".into(),
                format!("{:.0} events a second (asked for {})", kept_up.1.rate, kept_up.0),
            ]);
            rows.push([
                "delivery at that rate, p50 and p99".into(),
                format!(
                    "{}, {}",
                    ms(percentile(&mut kept_up.1.delays, 50.0)),
                    ms(percentile(&mut kept_up.1.delays, 99.0))
                ),
            ]);
            rows.push([
                "the next rate that was tried".into(),
                format!(
                    "asked for {rate}, sent {:.0}, last one {} after the last was sent",
                    outcome.rate,
                    ms(outcome.late)
                ),
            ]);
            return Ok(());
        }
        kept_up = (rate, outcome);
        rate = rate * 5 / 4;
    }
}

/// Bytes that all servers together have sent to each other.
async fn sent(servers: &[Process]) -> Result<u64, Failure> {
    let mut bytes = 0;
    for server in servers {
        bytes += server.api().sent().await?;
    }
    Ok(bytes)
}

struct Outcome {
    delays: Vec<Duration>,
    rate: f64,
    late: Duration,
    kept_up: bool,
}

/// Sends at a rate, a third from each server, and waits until every server has everything.
async fn trial(
    servers: &[Process],
    room: &str,
    texts: &[String],
    rate: u64,
    length: Duration,
) -> Result<Outcome, Failure> {
    let mut streams = Vec::new();
    for server in servers {
        streams.push(server.api().follow(room).await?);
    }
    let users = ["alice", "bob", "carol"];
    let limit = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut tasks = Vec::new();
    let begun = Instant::now();
    let count = (rate as f64 * length.as_secs_f64()) as u64;
    for turn in 0..count {
        let due = begun + Duration::from_secs_f64(turn as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let permit = Arc::clone(&limit).acquire_owned().await?;
        let at = (turn % 3) as usize;
        let (api, user) = (servers[at].api().clone(), users[at]);
        let (room, text) = (room.to_owned(), texts[turn as usize % texts.len()].clone());
        tasks.push(tokio::spawn(async move {
            let sent = Instant::now();
            let posted = api.say(&room, user, &text).await?;
            drop(permit);
            Ok::<_, Failure>((posted.event, at, sent))
        }));
    }
    let mut said = std::collections::BTreeMap::new();
    for task in tasks {
        let (event, at, sent) = task.await??;
        said.insert(event, (at, sent));
    }
    let sent_in = begun.elapsed();
    let end = Instant::now();
    let mut delays = Vec::new();
    let mut late = Duration::ZERO;
    for (here, stream) in streams.iter_mut().enumerate() {
        let mut missing = said.len();
        while missing > 0 {
            let entry = tokio::time::timeout(Duration::from_secs(90), stream.recv()).await;
            let Ok(Some((arrived, entry))) = entry else { return Err("events did not arrive".into()) };
            let Some((at, sent)) = said.get(&entry.event.id) else { continue };
            missing -= 1;
            late = late.max(arrived.saturating_duration_since(end));
            if *at != here {
                delays.push(arrived.saturating_duration_since(*sent));
            }
        }
    }
    let rate_sent = per_second(said.len(), sent_in);
    let kept_up = sent_in + late <= length + LATEST;
    Ok(Outcome { delays, rate: rate_sent, late, kept_up })
}

/// Memory and start-up of a node that holds many events.
async fn million(binary: &Path, texts: &[String], events: u64, rows: &mut Rows) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    eprintln!("Filling a store with {events} events.");
    let bar = progress(events, "events");
    let (mut prepared, create) = PreparedRoom::begin(owner())?;
    let room = create.room().to_string();
    let mut filling = Filling::open(directory.path(), None)?;
    filling.put(prepared.outline(), create)?;
    for at in 1..events {
        let event = prepared.say(&texts[at as usize % texts.len()])?;
        filling.put(prepared.outline(), event)?;
        bar.set_position(at);
    }
    filling.finish(prepared.outline())?;
    bar.finish_and_clear();
    let disk = directory_size(directory.path())?;
    let node = Process::start(binary, directory.path(), "large.example.org", &[]).await?;
    let held = node.api().room(&room).await?.summary.events;
    if held != events {
        return Err(format!("the node holds {held} of {events} events").into());
    }
    let after_start = resident(node.pid())?;
    let mut from = String::new();
    for _ in 0..100 {
        let page: rocketmesh_node::api::types::EventPage =
            node.api().get(&format!("/v1/rooms/{room}/events?order=desc&limit=1000{from}")).await?;
        from = page.next.map(|next| format!("&from={next}")).ok_or("the room ended early")?;
    }
    until("the node answers", || async { Ok(node.api().room(&room).await.is_ok()) }).await?;
    let after_reading = resident(node.pid())?;
    rows.push([format!("start-up with {events} events, until the API answers"), ms(node.started_in())]);
    rows.push(["memory after that".into(), mib(after_start)]);
    rows.push(["memory after reading 100,000 events".into(), mib(after_reading)]);
    rows.push([
        format!("disk for {events} events"),
        format!("{} ({:.0} bytes each)", mib(disk), disk as f64 / events as f64),
    ]);
    Ok(())
}
