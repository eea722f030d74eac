//! Two Rocket.Chat servers and the node beside each, all four killed time and again: what people said is in both rooms once, and
//! nothing else is.
//!
//! Four processes: two nodes of the very binary, and two stand-ins. People on both sides talk, reply, edit, delete, react and send
//! files while nodes are killed in the middle of whatever they do; between that the stand-ins are. Who does what, and which is killed
//! when, follows from a seed. In the end both rooms are compared with what people did, message by message.
//!
//! Every day twenty nodes are killed among some two hundred operations of three people on each side. `make soak` has ten thousand
//! operations of twenty people on each side and four hundred kills of each kind.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/conversation.rs"]
mod conversation;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use conversation::{Conversation, Held, held};
use reqwest::Method;
use rocketmesh_node::api::types::EventPage;
use rocketmesh_node::api::{FederatedRoom, FederatedRooms};
use rocketmesh_standin::{Account, Control, Options, Person, Standin, Wish};
use serde_json::{Value, json};
use support::{Chance, GLANCE, PATIENCE, Process, Server};
use tempfile::TempDir;

/// The seed of an earlier run.
const SEED: &str = "ROCKETMESH_KILL_SEED";
/// Where this program, run again as a stand-in, keeps what it knows, and where it listens.
const STANDIN_DATA: &str = "STANDIN_TEST_DATA";
const STANDIN_ADDRESS: &str = "STANDIN_TEST_ADDRESS";

/// How much is done.
struct Size {
    people: usize,
    kills: usize,
    /// Operations between two kills.
    operations: usize,
    /// After so many kills of nodes a stand-in is killed too.
    standin_every: usize,
}

const EVERY_DAY: Size = Size { people: 3, kills: 20, operations: 10, standin_every: 4 };
const SOAK: Size = Size { people: 20, kills: 400, operations: 25, standin_every: 1 };
/// A kill comes at some moment within this after the people began.
const LATEST_KILL: Duration = Duration::from_millis(500);

/// Not a test: this program as a stand-in in a process of its own, so that it can be killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the stand-in of the other test, which starts it"]
async fn a_stand_in_for_the_other_test() {
    let Some(data) = std::env::var_os(STANDIN_DATA).map(PathBuf::from) else { return };
    let listen: SocketAddr = std::env::var(STANDIN_ADDRESS).unwrap().parse().unwrap();
    let options = Options { data: Some(data.clone()), control: true, listen, ..Options::default() };
    let standin = Standin::start(options).await.unwrap();
    fs::write(data.join("address"), standin.address().to_string()).unwrap();
    std::future::pending::<()>().await;
}

/// A stand-in in a process of its own.
struct Chat {
    data: PathBuf,
    address: SocketAddr,
    process: Option<Process>,
}

impl Chat {
    async fn start(home: &Path, name: &str) -> Self {
        let data = home.join(name);
        fs::create_dir_all(&data).unwrap();
        let mut chat = Chat { data, address: SocketAddr::from(([127, 0, 0, 1], 0)), process: None };
        chat.run().await;
        chat
    }

    async fn run(&mut self) {
        let told = self.data.join("address");
        let _ = fs::remove_file(&told);
        let output = fs::File::options().create(true).append(true).open(self.data.join("output")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "a_stand_in_for_the_other_test", "--nocapture"]);
        command.env(STANDIN_DATA, &self.data).env(STANDIN_ADDRESS, self.address.to_string());
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        self.process = Some(Process(command.spawn().unwrap()));
        let begun = Instant::now();
        loop {
            let address = fs::read_to_string(&told).ok().and_then(|address| address.parse().ok());
            if let Some(address) = address {
                self.address = address;
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain: the stand-in answers");
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn control(&self) -> Control {
        Control::new(&self.url())
    }

    async fn account(&self, username: &str, roles: &[&str]) -> Account {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.control().wish(&Wish::AddUser { username: username.to_owned(), roles }).await.unwrap()
    }
}

/// A Rocket.Chat server, its people and the node beside it.
struct Side {
    chat: Chat,
    node: Server,
    service: Account,
    people: Vec<Account>,
    /// The room in Rocket.Chat.
    rid: String,
    /// What its people did, and what must be in both rooms.
    talk: Conversation,
}

impl Side {
    async fn start(home: &Path, (chat, name): (&str, &'static str), people: usize) -> Self {
        let chat = Chat::start(home, chat).await;
        let service = chat.account("bridge", &["admin", "bot"]).await;
        let mut accounts = Vec::new();
        for number in 0..people {
            accounts.push(chat.account(&format!("{}{number}", &name[..1]), &["user"]).await);
        }
        let mut node = Server::new(home, name);
        node.start(None).await;
        let side = Side { chat, node, service, people: accounts, rid: String::new(), talk: Conversation::new(name) };
        let body = json!({"url": side.chat.url(), "token": side.service.token, "user_id": side.service.user_id});
        let connected: Value = side.node.api().ask(Method::PUT, "/v1/rocketchat", Some(body)).await.unwrap();
        assert_eq!(connected["connected"], true, "{connected}");
        side.bridged().await;
        side
    }

    async fn bridged(&self) {
        let begun = Instant::now();
        while let Err(error) = self.node.api().get::<FederatedRooms>("/v1/rocketchat/rooms").await {
            assert!(begun.elapsed() < PATIENCE, "in vain: the bridge begins: {error}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn federate(&mut self, body: Value) -> FederatedRoom {
        let room: FederatedRoom = self.node.api().ask(Method::POST, "/v1/rocketchat/rooms", Some(body)).await.unwrap();
        self.rid.clone_from(&room.rid);
        room
    }

    /// Those who act now. A connection to a server that was killed is of no use any more.
    fn persons(&self) -> Vec<Person> {
        self.people.iter().map(|account| Person::new(&self.chat.url(), account)).collect()
    }

    /// What the room holds, in a form that both sides share.
    async fn held(&self, other: &Side) -> Held {
        held(&self.chat.control().dump().await.unwrap(), &self.rid, (&self.talk, &other.talk))
    }
}

/// Starts whichever node does not run, each with the other's address.
async fn start_nodes(a: &mut Side, b: &mut Side) {
    a.node.start(b.node.address().await).await;
    b.node.start(a.node.address().await).await;
}

fn seed() -> u64 {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a seed is a number"));
    given.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64)
}

/// The room's messages in the mesh: none may be there twice, whatever became of it in Rocket.Chat.
async fn told_once(side: &Side, room: &str) {
    let mut from = String::new();
    let mut marks = BTreeSet::new();
    loop {
        let path = format!("/v1/rooms/{room}/events?limit=1000&withheld=true{from}");
        let page: EventPage = side.node.api().get(&path).await.unwrap();
        for event in page.events.iter().filter(|event| event.kind == "message") {
            let Some(mark) = event.body["text"].as_str().and_then(conversation::mark) else { continue };
            assert!(marks.insert(mark.to_owned()), "{mark} was told to the mesh twice");
        }
        match page.next {
            Some(next) => from = format!("&from={next}"),
            None => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_both_rooms_end_with_what_people_said_once() {
    let seed = seed();
    println!("{SEED}={seed} makes the same choices again");
    let mut chance = Chance(seed);
    let size = if std::env::var_os("ROCKETMESH_SOAK").is_some() { SOAK } else { EVERY_DAY };
    let home = TempDir::new().unwrap();
    let mut a = Side::start(home.path(), ("chat-a", "a.example.org"), size.people).await;
    let mut b = Side::start(home.path(), ("chat-b", "b.example.org"), size.people).await;
    // They meet: a second start with an address to begin from.
    b.node.kill();
    start_nodes(&mut a, &mut b).await;
    b.bridged().await;
    let others = a.people[1..].iter().map(|account| account.username.as_str());
    let names: Vec<&str> = others.chain(["bridge"]).collect();
    a.persons()[0].create_channel("general-talk", &names).await.unwrap();
    let room = a.federate(json!({"channel": "general-talk"})).await.room;
    let first = b.people[0].username.clone();
    b.federate(json!({"room": room, "user": first})).await;
    for person in b.persons() {
        // The first is in it already.
        let _ = person.join(&b.rid).await;
    }

    for kill in 0..size.kills {
        start_nodes(&mut a, &mut b).await;
        let kill_b = chance.below(2) == 1;
        let moment = Duration::from_micros(chance.below(LATEST_KILL.as_micros() as u64));
        println!("kill {kill} hits the node of {} after {moment:?}", if kill_b { "b" } else { "a" });
        let (at_a, at_b) = (a.persons(), b.persons());
        let (mut of_a, mut of_b) = (Chance(chance.draw()), Chance(chance.draw()));
        let half = size.operations.div_ceil(2);
        let victim = if kill_b { &mut b.node } else { &mut a.node };
        let killing = async move {
            tokio::time::sleep(moment).await;
            victim.kill();
        };
        tokio::join!(
            a.talk.go_on(&at_a, &a.rid, half, &mut of_a),
            b.talk.go_on(&at_b, &b.rid, half, &mut of_b),
            killing
        );
        if (kill + 1) % size.standin_every == 0 {
            let (victim, name) = if chance.below(2) == 1 { (&mut b.chat, "b") } else { (&mut a.chat, "a") };
            println!("and Rocket.Chat of {name}");
            victim.process = None;
            victim.run().await;
        }
    }

    start_nodes(&mut a, &mut b).await;
    let begun = Instant::now();
    loop {
        let looking = Instant::now();
        let (wanted, one, other) = (a.talk.wanted_with(&b.talk), a.held(&b).await, b.held(&a).await);
        if one == wanted && other == wanted {
            break;
        }
        if begun.elapsed() > PATIENCE {
            conversation::differ("a", &one, &wanted);
            conversation::differ("b", &other, &wanted);
            panic!("in vain: both rooms hold what people said");
        }
        // With thousands of messages a look takes a while, and no more than half of the time is for looking.
        tokio::time::sleep(GLANCE.max(looking.elapsed())).await;
    }
    for side in [&a, &b] {
        told_once(side, &room).await;
        let queue: Value = side.node.api().get("/v1/rocketchat/queue").await.unwrap();
        assert_eq!(queue["letters"], json!([]), "nothing was refused");
    }
}
