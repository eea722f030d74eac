//! Connections that are dead without a word: whoever speaks notices, and whoever comes back is compared with at once.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rocketmesh_node::NodeBuilder;
use rocketmesh_node::api::types::PeerView;
use rocketmesh_node::clock::{Clock, SystemClock};
use support::{PATIENCE, TestNode, converged, converged_within, eventually_within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Long before the next comparison by itself, which is after a minute, and before two pings over TCP are missing.
const SOON: Duration = Duration::from_secs(20);
const BUFFER: usize = 16 * 1024;
/// After this long without a question nothing is left over from the start.
const QUIET: Duration = Duration::from_secs(2);
/// How long the calendar goes on while a machine sleeps.
const SLEEP_MS: u64 = 60_000;

/// The system's calendar, some time ahead of what waits.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms() + self.0.load(Ordering::Relaxed)
    }
}

/// A line to a server, which can be cut as a router does that forgets its connections: both ends keep theirs, and nothing passes any
/// more. New connections pass.
struct Line {
    /// Where the server is reached over it.
    address: String,
    /// How often it was cut.
    cuts: watch::Sender<u64>,
    _passing: JoinSet<()>,
}

impl Line {
    async fn to(server: &TestNode) -> Self {
        let address = server.address().await;
        let port = address.split('/').nth(4).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port().to_string();
        let (cuts, cut) = watch::channel(0);
        let mut passing = JoinSet::new();
        let to = format!("127.0.0.1:{port}");
        passing.spawn(async move {
            // Ends with this task, and with it everything that passes.
            let mut pairs = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&to).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let before = *cut.borrow();
                pairs.spawn(pass(near_in, far_out, cut.clone(), before));
                pairs.spawn(pass(far_in, near_out, cut.clone(), before));
            }
        });
        Line { address: address.replace(&format!("/tcp/{port}"), &format!("/tcp/{own}")), cuts, _passing: passing }
    }

    /// Lets nothing pass any more over what is connected now.
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn until_cut(cut: &mut watch::Receiver<u64>, before: u64) {
    let _ = cut.wait_for(|cuts| *cuts > before).await;
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<u64>, before: u64) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = tokio::select! {
            biased;
            () = until_cut(&mut cut, before) => std::future::pending().await,
            read = from.read(&mut buffer) => read,
        };
        let Ok(length @ 1..) = read else { return };
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// A server that listens nowhere: its lines are those that it makes itself.
async fn hidden(directory: &Path, bootstrap: &str) -> TestNode {
    let hide = |builder: NodeBuilder| builder.configure(|config| config.network.listen.clear());
    TestNode::start_in_with(directory, "b.example.org", &[bootstrap.to_owned()], hide).await
}

/// Two servers in one room, the second of them over a line.
async fn two_over_a_line(directory: &Path) -> (TestNode, TestNode, Line, String) {
    let a = TestNode::start("a.example.org", &[]).await;
    let line = Line::to(&a).await;
    let b = hidden(directory, &line.address).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    a.say(&room, "alice", "hello").await;
    converged(&[&a, &b], &room).await;
    (a, b, line, room)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_something_over_a_dead_line_gets_another_one_before_pings_are_missed() {
    let directory = TempDir::new().unwrap();
    let (a, b, line, room) = two_over_a_line(directory.path()).await;
    line.cut();
    b.say(&room, "bob", "does anybody hear me?").await;
    a.say(&room, "alice", "it is so quiet").await;
    converged_within(SOON, &[&a, &b], &room).await;
    assert_eq!(a.texts(&room).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_comes_back_is_compared_with_at_once_also_after_comparisons_over_a_dead_line() {
    let directory = TempDir::new().unwrap();
    let (a, b, line, room) = two_over_a_line(directory.path()).await;
    line.cut();
    // Nobody tells the other one that Bob's server is gone: what it is asked from now on is never answered.
    b.stop().await;
    a.say(&room, "alice", "while Bob was away").await;
    let b = hidden(directory.path(), &a.address().await).await;
    b.introduced(&a).await;
    for number in 0..4 {
        b.say(&room, "bob", &format!("back {number}")).await;
        a.say(&room, "alice", &format!("welcome {number}")).await;
        converged_within(SOON, &[&a, &b], &room).await;
    }
    assert_eq!(a.texts(&room).await.len(), 10);
}

/// How often a server was asked by another one.
async fn asked(node: &TestNode, by: &TestNode) -> u64 {
    let peer: PeerView = node.get(&format!("/v1/peers/{}", by.id())).await;
    peer.received.requests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_slept_compares_rooms_once_it_is_awake_and_not_at_the_next_minute() {
    let calendar = Arc::new(Ahead::default());
    let a = TestNode::start("a.example.org", &[]).await;
    let clock: Arc<dyn Clock> = calendar.clone();
    let sleeper = |builder: NodeBuilder| builder.clock(clock);
    let b = TestNode::start_with("b.example.org", &[a.address().await], sleeper).await;
    b.introduced(&a).await;
    let room = a.create("alice", "general").await.summary.id;
    b.join(&room, "bob").await;
    converged(&[&a, &b], &room).await;
    let mut last = (asked(&a, &b).await, Instant::now());
    let quiet = async {
        while last.1.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = asked(&a, &b).await;
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        last.0
    };
    let before = tokio::time::timeout(PATIENCE, quiet).await.unwrap();
    calendar.0.store(SLEEP_MS, Ordering::Relaxed);
    eventually_within(SOON, "rooms are compared", || async { asked(&a, &b).await > before }).await;
}
