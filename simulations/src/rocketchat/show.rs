//! The demo: two Rocket.Chat servers become one, from the first command to what people see at the end.
//!
//! Everything that is done is done as it would be by those who do it: administrators use the command line, people use Rocket.Chat.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use rocketmesh_node::rocketchat::status::RocketChatStatus;
use rocketmesh_standin::{Person, PersonError, Seen};
use serde_json::{Value, json};

use super::columns::{Names, Sight, differences, side_by_side};
use super::side::{Binaries, Side};
use super::standin::SERVICE;
use super::steps::Steps;
use crate::Failure;
use crate::measure::ms;
use crate::process::until;

/// How long anything may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(45);
/// How often somebody writes to the service account, and how long an answer may take.
const ATTEMPTS: usize = 3;
const ANSWER: Duration = Duration::from_secs(10);
/// How long Oslo's Rocket.Chat is away.
const AWAY: Duration = Duration::from_secs(4);
const OSLO: &str = "oslo.example";
const CUSCO: &str = "cusco.example";
/// The channel that becomes one.
const CHANNEL: &str = "lunch";
/// What a room's id begins with.
const ROOM: &str = "bafyr4i";
/// The file that is sent.
const MENU: &[u8] = b"Monday: quinoa soup\nTuesday: potato soup\nWednesday: whatever is left\n";

/// Both sides, and the people whom the demo is about.
pub struct Scene {
    oslo: Side,
    cusco: Side,
    alice: Person,
    bob: Person,
    carol: Person,
}

/// The channel, on both sides.
struct Channel {
    oslo: String,
    cusco: String,
}

/// Shows all of it. The processes end with the scene that is given back, which is there unless they did not even start.
pub async fn show(binaries: &Binaries, directory: &Path, like: [&str; 2]) -> (Option<Scene>, Result<(), Failure>) {
    let mut steps = Steps::new(11);
    match open(&mut steps, binaries, directory, like).await {
        Ok(mut scene) => {
            let outcome = scene.play(&mut steps).await;
            (Some(scene), outcome)
        }
        Err(failure) => (None, Err(failure)),
    }
}

async fn open(
    steps: &mut Steps,
    binaries: &Binaries,
    directory: &Path,
    [first, second]: [&str; 2],
) -> Result<Scene, Failure> {
    steps.begin("starting two Rocket.Chat servers, and a node beside each").await;
    let oslo = Side::start(binaries, &directory.join("oslo"), (OSLO, first), &["alice"], &[]).await?;
    let bootstrap = oslo.node().addresses().await?;
    let cusco = Side::start(binaries, &directory.join("cusco"), (CUSCO, second), &["bob", "carol"], &bootstrap).await?;
    cusco.meets().await?;
    steps.done("Two Rocket.Chat servers run, and a node beside each. The nodes have found each other.");
    steps.remark(&format!("Oslo   {}  as Rocket.Chat {first}, used by alice", oslo.chat.url()));
    steps.remark(&format!("Cusco  {}  as Rocket.Chat {second}, used by bob and carol", cusco.chat.url()));
    steps.remark("(They are stand-ins, see docs/standin.md. Nothing is installed in them.)");
    let (alice, bob, carol) = (oslo.person("alice")?, cusco.person("bob")?, cusco.person("carol")?);
    Ok(Scene { oslo, cusco, alice, bob, carol })
}

impl Scene {
    async fn play(&mut self, steps: &mut Steps) -> Result<(), Failure> {
        self.connect(steps).await?;
        let channel = self.join(steps).await?;
        let first = self.talk(steps, &channel).await?;
        self.change(steps, &channel, first).await?;
        self.send_a_file(steps, &channel).await?;
        self.go_away(steps, &channel).await?;
        self.compare(steps, &channel).await
    }

    /// The administrators connect each node with its Rocket.Chat.
    async fn connect(&self, steps: &mut Steps) -> Result<(), Failure> {
        steps.begin("each administrator connects the node with the Rocket.Chat server").await;
        self.oslo.connect().await?;
        let printed = self.cusco.connect().await?;
        steps.done("Each administrator connected the node with the Rocket.Chat server:");
        steps.remark("$ rocketmesh rocketchat connect URL --service-token-file FILE");
        let passed = printed.lines().filter(|line| line.starts_with("ok ")).count();
        steps.remark(&format!("{passed} checks passed; the service account is called {SERVICE}"));
        Ok(())
    }

    /// Alice opens a channel, and Bob enters it, both by a word to the service account.
    async fn join(&self, steps: &mut Steps) -> Result<Channel, Failure> {
        steps.begin("alice opens a channel to other servers").await;
        let oslo = self.alice.create_channel(CHANNEL, &[SERVICE]).await?;
        let answer = tell(&self.alice, &format!("federate #{CHANNEL}"), ROOM).await?;
        let room = answer.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| word.starts_with(ROOM));
        let room = room.ok_or("the service account named no room")?.to_owned();
        steps.done("alice made a channel and wrote to the service account, which answered:");
        steps.remark(&format!("alice: federate #{CHANNEL}"));
        steps.remark(&format!("{SERVICE}: {answer}"));

        steps.begin("bob and carol enter the room").await;
        let answer = tell(&self.bob, &format!("join {room}"), "You are in").await?;
        let about: Value = self.bob.get("channels.info", &[("roomName", CHANNEL)]).await?;
        let cusco = about["channel"]["_id"].as_str().ok_or("Cusco has no such channel")?.to_owned();
        self.carol.join(&cusco).await?;
        // Whoever is in the room has an account on the other side.
        let names = ["bob", "carol"].map(|name| format!("{name}.{CUSCO}"));
        until("bob and carol are in the channel in Oslo", || async {
            let members: Value = self.alice.get("channels.members", &[("roomId", oslo.as_str())]).await?;
            let members: Vec<&Value> = members["members"].as_array().into_iter().flatten().collect();
            Ok(names.iter().all(|name| members.iter().any(|member| member["username"] == name.as_str())))
        })
        .await?;
        steps.done("bob did the same in Cusco, and carol joined the new channel there.");
        steps.remark(&format!("bob: join {room}"));
        steps.remark(&format!("{SERVICE}: {answer}"));
        steps.remark(&format!("In Oslo, alice sees {} and {} enter.", names[0], names[1]));
        Ok(Channel { oslo, cusco })
    }

    /// They talk: a message each way, a mention, a reply in a thread. Gives the ids of the first message on both sides.
    async fn talk(&self, steps: &mut Steps, at: &Channel) -> Result<[String; 2], Failure> {
        steps.begin("they talk").await;
        let begun = Instant::now();
        let own = self.alice.say(&at.oslo, "Who is hungry?").await?;
        let copy = reads(&self.bob, &at.cusco, "Who is hungry?").await?;
        let arrived = begun.elapsed();
        self.bob.reply(&at.cusco, &copy, &format!("Me, @alice.{OSLO}!")).await?;
        reads(&self.alice, &at.oslo, "Me, @alice!").await?;
        self.carol.say(&at.cusco, "Always. What is there?").await?;
        reads(&self.alice, &at.oslo, "Always. What is there?").await?;
        steps.done("alice asked, bob replied in a thread and mentioned her, carol asked back.");
        steps.remark(&format!("Bob's client had alice's message {} after she sent it.", ms(arrived)));
        steps.remark(&format!("Bob wrote @alice.{OSLO}, and alice reads @alice."));
        Ok([own, copy])
    }

    /// An edit, a reaction, a topic.
    async fn change(&self, steps: &mut Steps, at: &Channel, [own, copy]: [String; 2]) -> Result<(), Failure> {
        steps.begin("alice edits, bob reacts, alice sets a topic").await;
        let edited = "Who is hungry? Soup at noon.";
        self.alice.edit(&at.oslo, &own, edited).await?;
        reads(&self.bob, &at.cusco, edited).await?;
        self.bob.react(&copy, ":pizza:").await?;
        let reacted =
            |seen: &[Seen]| seen.iter().any(|one| one.id == own && !one.rest["reactions"][":pizza:"].is_null());
        self.alice.until(&at.oslo, "bob's reaction", PATIENCE, reacted).await?;
        let topic = "Soup at noon";
        self.alice.set_room(&at.oslo, json!({"roomTopic": topic})).await?;
        until("the topic arrives", || async {
            let about: Value = self.bob.get("rooms.info", &[("roomId", at.cusco.as_str())]).await?;
            Ok(about["room"]["topic"] == topic)
        })
        .await?;
        steps.done("alice edited her message, bob reacted to it, alice set a topic. All of it arrived.");
        Ok(())
    }

    async fn send_a_file(&self, steps: &mut Steps, at: &Channel) -> Result<(), Failure> {
        steps.begin("bob sends a file").await;
        self.bob.upload(&at.cusco, "menu.txt", "text/plain", MENU, "").await?;
        let there = |seen: &[Seen]| seen.iter().any(|one| one.rest["files"][0]["name"] == "menu.txt");
        let seen = self.alice.until(&at.oslo, "the file", PATIENCE, there).await?;
        let file = seen.iter().map(|one| &one.rest["files"][0]).find(|file| file["name"] == "menu.txt");
        let id = file.and_then(|file| file["_id"].as_str()).ok_or("the file has no id")?;
        let bytes = self.alice.download(&format!("/file-upload/{id}/menu.txt")).await?;
        if bytes != MENU {
            return Err("alice downloads other bytes than bob sent".into());
        }
        self.alice.say(&at.oslo, "Quinoa soup it is.").await?;
        reads(&self.bob, &at.cusco, "Quinoa soup it is.").await?;
        steps.done(&format!("bob sent menu.txt; alice downloaded its {} bytes from her own server.", bytes.len()));
        Ok(())
    }

    /// Oslo's Rocket.Chat is killed; Cusco goes on; Oslo comes back and has everything.
    async fn go_away(&mut self, steps: &mut Steps, at: &Channel) -> Result<(), Failure> {
        steps.begin("Oslo's Rocket.Chat is killed").await;
        self.oslo.chat.stop()?;
        let begun = Instant::now();
        steps.done("Oslo's Rocket.Chat was killed. Nobody in Oslo can read or write.");

        steps.begin("bob and carol go on").await;
        self.bob.say(&at.cusco, "Oslo has become quiet.").await?;
        self.carol.say(&at.cusco, "They will be at the soup already.").await?;
        let last = "Save some for us!";
        let id = self.bob.say(&at.cusco, last).await?;
        self.carol.react(&id, ":wave:").await?;
        // Everything of it is to reach Oslo's node while Oslo's Rocket.Chat is still away.
        tokio::time::sleep(AWAY.saturating_sub(begun.elapsed())).await;
        let status = until_waiting(&self.oslo).await?;
        steps.done("bob and carol went on. Oslo's node has it all, and says what is wrong:");
        steps.remark("$ rocketmesh rocketchat status");
        for problem in &status.problems {
            steps.remark(&format!("{}: {}", problem.code.code(), problem.message));
        }
        steps.remark(&format!("waiting: {} changes", status.queue.waiting));

        steps.begin("Oslo's Rocket.Chat starts again").await;
        let back = Instant::now();
        self.oslo.chat.start_again().await?;
        // Her client connects anew.
        self.alice = self.oslo.person("alice")?;
        reads(&self.alice, &at.oslo, last).await?;
        let waved =
            |seen: &[Seen]| seen.iter().any(|one| one.msg == last && !one.rest["reactions"][":wave:"].is_null());
        self.alice.until(&at.oslo, "carol's reaction", PATIENCE, waved).await?;
        let caught_up = back.elapsed();
        let words = "We are back. Is there any left?";
        self.alice.say(&at.oslo, words).await?;
        reads(&self.bob, &at.cusco, words).await?;
        self.carol.say(&at.cusco, "One bowl.").await?;
        reads(&self.alice, &at.oslo, "One bowl.").await?;
        steps.done("Oslo's Rocket.Chat started again, and alice answers.");
        steps.remark(&format!("It had what it missed {} after it was started.", ms(caught_up)));
        Ok(())
    }

    /// What alice and bob see, and whether it is the same.
    async fn compare(&self, steps: &mut Steps, at: &Channel) -> Result<(), Failure> {
        steps.begin("comparing what alice and bob see").await;
        let home = |server: &str, who: &[&str]| -> Vec<(String, String)> {
            who.iter().map(|name| ((*name).to_owned(), server.to_owned())).collect()
        };
        let people = [home(OSLO, &["alice"]), home(CUSCO, &["bob", "carol"])].concat();
        let names = |home: &str| Names { home: home.to_owned(), people: people.clone() };
        let (in_oslo, in_cusco) = (names(OSLO), names(CUSCO));
        // What was said last has arrived; what it changed beside may be a moment behind.
        let begun = Instant::now();
        let (left, right, differing) = loop {
            let (left, right) = (Sight::of(&self.alice, &at.oslo).await?, Sight::of(&self.bob, &at.cusco).await?);
            let (one, other) = (in_oslo.everywhere(&left), in_cusco.everywhere(&right));
            let differing = differences(("Oslo", &one), ("Cusco", &other));
            if differing.is_empty() || begun.elapsed() > Duration::from_secs(10) {
                break (left, right, differing);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        steps.done("What alice and bob see in their Rocket.Chat, asked as them:");
        println!();
        let between = if std::io::stdout().is_terminal() { "\u{2502}" } else { "|" };
        let titles = ["#lunch in Oslo, as alice sees it", "#lunch in Cusco, as bob sees it"];
        for row in side_by_side((titles[0], &left), (titles[1], &right), between) {
            println!("{row}");
        }
        println!();
        if differing.is_empty() {
            println!("Both see the same {} messages, files and reactions, in the same order.", left.lines.len());
            println!("(Only people of the other side have longer names: they have accounts of their own.)");
            return Ok(());
        }
        Err(format!("they do not see the same:\n  {}", differing.join("\n  ")).into())
    }

    /// How to look around while everything still runs.
    pub fn explain(&self, rocketmesh: &Path) {
        for (place, side) in [("Oslo", &self.oslo), ("Cusco", &self.cusco)] {
            println!("{place}: Rocket.Chat at {}", side.chat.url());
            for account in side.chat.accounts() {
                println!("  {:<10}  password: {:<24}  id: {}", account.username, account.password, account.user_id);
                println!("              token: {}", account.token);
            }
            println!("  $ {} --data-dir {} rocketchat status", rocketmesh.display(), side.data().display());
        }
        let url = self.oslo.chat.url();
        println!();
        println!("What alice sees, as her client would ask:");
        println!("  curl -H 'X-Auth-Token: {}' -H 'X-User-Id: {}' \\", self.alice.token, self.alice.id);
        println!("    '{url}/api/v1/channels.history?roomName={CHANNEL}&count=100'");
    }
}

/// Writes to the service account, and gives its answer, which holds a certain text. What was written before the node listened is not
/// answered, so people write again.
async fn tell(person: &Person, words: &str, expected: &str) -> Result<String, Failure> {
    let room = person.direct(SERVICE).await?;
    let answered = |seen: &[Seen]| {
        let mut answers = seen.iter().filter(|one| one.who() == SERVICE);
        answers.find(|one| one.msg.contains(expected)).map(|one| one.msg.clone())
    };
    for _ in 0..ATTEMPTS {
        person.say(&room, words).await?;
        let heard = person.until(&room, "an answer", ANSWER, |seen| answered(seen).is_some()).await;
        match heard {
            Ok(seen) => return Ok(answered(&seen).unwrap_or_default()),
            Err(PersonError::InVain(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let last = person.messages(&room).await?.pop();
    let last = last.filter(|one| one.who() == SERVICE).map_or_else(|| "nothing".to_owned(), |one| one.msg);
    Err(format!("{} wrote `{words}`, and the service account answered: {last}", person.username).into())
}

/// Waits until somebody reads a message, and gives its id there.
async fn reads(person: &Person, room: &str, text: &str) -> Result<String, Failure> {
    let what = format!("{} reads: {text}", person.username);
    let seen = person.until(room, &what, PATIENCE, |seen| seen.iter().any(|one| one.msg == text)).await?;
    let found = seen.into_iter().find(|one| one.msg == text);
    Ok(found.map(|one| one.id).unwrap_or_default())
}

/// Waits until a node says that something waits for its Rocket.Chat.
async fn until_waiting(side: &Side) -> Result<RocketChatStatus, Failure> {
    until("the node says what waits", || async {
        let status: RocketChatStatus = side.api().get("/v1/rocketchat").await?;
        Ok(!status.problems.is_empty() && status.queue.waiting > 1)
    })
    .await?;
    side.api().get("/v1/rocketchat").await
}
