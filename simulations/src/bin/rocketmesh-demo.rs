//! Two Rocket.Chat servers that become one, or, with `--chat`, a conversation of an IRC log over three servers of the mesh. Both end
//! with the proof that everybody sees the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use rocketmesh_node::api::types::{EventPage, StreamEntry};
use rocketmesh_simulations::chat::Chat;
use rocketmesh_simulations::measure::{ms, percentile};
use rocketmesh_simulations::process::{Process, three, until};
use rocketmesh_simulations::rocketchat::show::show;
use rocketmesh_simulations::rocketchat::side::Binaries;
use rocketmesh_simulations::rocketchat::standin::beside_this_program;
use rocketmesh_simulations::{Failure, finish};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Past this, an event that did not arrive is a defect: even what gossip drops is compared once a minute.
const LONGEST_DELIVERY: Duration = Duration::from_secs(90);
/// Lines of the conversation that are shown at the end.
const SHOWN: usize = 14;

/// Let people on two Rocket.Chat servers talk as if they were on one, on this machine.
///
/// Starts two stand-ins for Rocket.Chat and a node beside each, and ends all of it. With --chat three servers of the mesh, without
/// Rocket.Chat, replay a conversation.
#[derive(Parser)]
struct Args {
    /// The rocketmesh binary.
    #[arg(long)]
    rocketmesh: PathBuf,
    /// The rocketmesh-standin binary [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    standin: Option<PathBuf>,
    /// Which Rocket.Chat the two are like: 7.0, 7.13, 8.0 or 8.8.
    #[arg(long, num_args = 2, value_names = ["OSLO", "CUSCO"], default_values = ["8.8", "7.0"])]
    like: Vec<String>,
    /// Let everything run at the end, and say how to look around, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Append what the nodes ask of Rocket.Chat to this file, for `make contract REQUESTS=FILE`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// An IRC log to replay over three servers: lines like `[12:34] <nick> text`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keep", "record"])]
    chat: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // What is not finished is dropped, and every process and folder of it with it.
    let outcome = tokio::select! {
        // With --keep both are waited for, and the first one is how it ends.
        biased;
        outcome = demo(&args) => outcome,
        asked = asked_to_stop() => asked.and(Err("it was asked to stop; everything that was started is stopped".into())),
    };
    finish("demo", outcome)
}

async fn demo(args: &Args) -> Result<(), Failure> {
    match &args.chat {
        Some(log) => replay(&args.rocketmesh, log).await,
        None => two_become_one(args).await,
    }
}

/// Returns when somebody wants the demo to end.
async fn asked_to_stop() -> Result<(), Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn two_become_one(args: &Args) -> Result<(), Failure> {
    let [oslo, cusco] = args.like.as_slice() else { return Err("--like takes two releases".into()) };
    let binaries = Binaries {
        rocketmesh: args.rocketmesh.clone(),
        standin: args.standin.clone().map_or_else(beside_this_program, Ok)?,
        record: args.record.clone().map(std::path::absolute).transpose()?,
    };
    let directory = tempfile::tempdir()?;
    let begun = Instant::now();
    let (scene, outcome) = show(&binaries, directory.path(), [oslo.as_str(), cusco.as_str()]).await;
    if outcome.is_ok() {
        println!("It took {:.0} s.", begun.elapsed().as_secs_f64());
    }
    if let (Some(scene), true) = (&scene, args.keep) {
        if let Err(failure) = &outcome {
            eprintln!("The demo failed: {failure}");
        }
        println!();
        scene.explain(&binaries.rocketmesh);
        println!();
        println!("All of it runs until Ctrl-C, and is gone then.");
        asked_to_stop().await?;
    }
    drop(scene);
    if let (Err(failure), false) = (&outcome, args.keep) {
        return Err(format!("{failure}\nWith --keep everything stays as it is then, to look around in it.").into());
    }
    outcome?;
    println!("Everything that was started is stopped.");
    Ok(())
}

/// Three servers, a conversation between their users, and the proof that all three hold the same room.
async fn replay(rocketmesh: &Path, log: &Path) -> Result<(), Failure> {
    let chat = Chat::read(log)?;
    let nicks = chat.nicks();
    if nicks.len() < 3 {
        return Err("a conversation needs three people, one for each server".into());
    }
    println!("Starting three servers on this machine.");
    let mut directory = tempfile::tempdir()?;
    if std::env::var_os("DEMO_NODE_LOG").is_some() {
        directory.disable_cleanup(true);
        println!("The nodes' logs are kept in {}.", directory.path().display());
    }
    let begun = Instant::now();
    let (servers, room) = three(rocketmesh, directory.path(), [nicks[0], nicks[1], nicks[2]]).await?;
    println!("They found each other, and a user of each is in room {room}, after {}.", ms(begun.elapsed()));

    let home: BTreeMap<&str, usize> = nicks.iter().enumerate().map(|(at, nick)| (*nick, at % 3)).collect();
    for nick in &nicks[3..] {
        servers[home[nick]].api().join(&room, nick).await?;
    }
    for server in &servers {
        server.api().sees_members(&room, nicks.len() as u64).await?;
    }
    let mut streams = Vec::new();
    for server in &servers {
        streams.push(server.api().follow(&room).await?);
    }
    println!("{} people say {} things ({} other lines left out).", nicks.len(), chat.lines.len(), chat.skipped);
    let bar = ProgressBar::new(chat.lines.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} said, {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let begun = Instant::now();
    let mut delays: [Vec<Duration>; 3] = Default::default();
    let mut said = [0_usize; 3];
    for line in &chat.lines {
        let at = home[line.nick.as_str()];
        let sent = Instant::now();
        let posted = servers[at].api().say(&room, &line.nick, &line.text).await?;
        said[at] += 1;
        // People answer to what they have read, so the next line waits until everybody has seen this one.
        for (here, stream) in streams.iter_mut().enumerate() {
            let seen = arrival(stream, &posted.event).await?;
            if here != at {
                delays[here].push(seen.saturating_duration_since(sent));
            }
        }
        bar.inc(1);
    }
    let replayed = begun.elapsed();
    bar.finish_and_clear();
    let digest = agree(&servers, &room).await?;
    let agreed = begun.elapsed();
    println!("All was said after {}, and all three held the same room after {}.", ms(replayed), ms(agreed));
    println!();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["server", "users", "said", "messages of events", "p50", "p99", "digest"]);
    for (at, server) in servers.iter().enumerate() {
        let summary = server.api().room(&room).await?.summary;
        table.add_row([
            server.name.clone(),
            home.values().filter(|home| **home == at).count().to_string(),
            said[at].to_string(),
            format!("{} of {}", messages(server, &room).await?.len(), summary.events),
            ms(percentile(&mut delays[at], 50.0)),
            ms(percentile(&mut delays[at], 99.0)),
            format!("{}…", &summary.digest[..8]),
        ]);
    }
    println!("{table}");
    println!("(p50 and p99: from the moment somebody elsewhere began to send until a client of this server saw it)");
    println!();
    let seen = messages(&servers[2], &room).await?;
    println!("As {} sees it{}:", servers[2].name, if seen.len() > SHOWN { ", the end" } else { "" });
    for Message { sender, text, .. } in &seen[seen.len().saturating_sub(SHOWN)..] {
        println!("  {sender}  {text}");
    }
    println!();
    for server in &servers[..2] {
        let shown = messages(server, &room).await?;
        // Names of servers are local knowledge; who said what is the event's.
        let same = |(a, b): (&Message, &Message)| a.id == b.id && a.text == b.text;
        if shown.len() != seen.len() || !shown.iter().zip(&seen).all(same) {
            return Err(format!("{} shows something else", server.name).into());
        }
    }
    println!("The others show the same, line by line. Digest of the room on all three:");
    println!("  {digest}");
    drop(servers);
    println!("Everything that was started is stopped.");
    Ok(())
}

/// Waits until all hold the same room, and returns its digest.
async fn agree(servers: &[Process], room: &str) -> Result<String, Failure> {
    until("all servers hold the same room", || async {
        let mut digests = Vec::new();
        for server in servers {
            digests.push(server.api().room(room).await?.summary.digest);
        }
        Ok(digests.windows(2).all(|pair| pair[0] == pair[1]))
    })
    .await?;
    Ok(servers[0].api().room(room).await?.summary.digest)
}

/// When a client of the server saw the event.
async fn arrival(stream: &mut mpsc::Receiver<(Instant, StreamEntry)>, event: &str) -> Result<Instant, Failure> {
    let wait = async {
        while let Some((arrived, entry)) = stream.recv().await {
            if entry.event.id == event {
                return Some(arrived);
            }
        }
        None
    };
    match tokio::time::timeout(LONGEST_DELIVERY, wait).await {
        Ok(Some(arrived)) => Ok(arrived),
        _ => Err(format!("event {event} did not arrive everywhere").into()),
    }
}

/// A message as it is shown.
struct Message {
    id: String,
    sender: String,
    text: String,
}

/// Every message, in room order, with control characters taken out.
async fn messages(server: &Process, room: &str) -> Result<Vec<Message>, Failure> {
    let mut messages = Vec::new();
    let mut from = String::new();
    loop {
        let page: EventPage = server.api().get(&format!("/v1/rooms/{room}/events?limit=1000{from}")).await?;
        for event in page.events.into_iter().filter(|event| event.kind == "message") {
            let text = event.body["text"].as_str().unwrap_or_default().replace(char::is_control, " ");
            messages.push(Message { id: event.id, sender: event.sender.unwrap_or_default(), text });
        }
        match page.next {
            Some(next) => from = format!("&from={next}"),
            None => return Ok(messages),
        }
    }
}
