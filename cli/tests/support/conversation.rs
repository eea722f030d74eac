//! What people of two servers do in one room, and what must be in it in the end.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};

use rocketmesh_standin::{HeldMessage, HeldRoom, Person};

use super::support::Chance;

/// A message as both servers must hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Who said it, as `name@server`.
    pub who: String,
    /// What it says now; of a file its name.
    pub text: String,
    /// What the message says under which it stands, if that is there.
    pub under: Option<String>,
    /// Who reacted with what.
    pub reactions: BTreeSet<(String, String)>,
}

/// A room: each line, and how often it is there.
pub type Held = BTreeMap<Line, usize>;

/// One server's part of a conversation. Every text is said by one person once, so that whatever comes twice is seen.
pub struct Conversation {
    server: &'static str,
    /// How many texts there were.
    said: u64,
    /// What is there, by the number at the text's end, which stays when it is edited.
    lines: BTreeMap<String, Known>,
    /// Reactions of this server's people, by that number: also to what others said.
    reactions: BTreeMap<String, BTreeSet<(String, String)>>,
}

struct Known {
    who: String,
    text: String,
    under: Option<String>,
    /// Its author's place among the people, and its id on this server.
    author: usize,
    id: String,
    file: bool,
}

const EMOJI: [&str; 3] = [":soup:", ":pizza:", ":tea:"];

/// What tells a text from all others: its last word, also when it was edited.
pub fn mark(text: &str) -> Option<&str> {
    text.rsplit([' ', '\n']).next().filter(|mark| mark.starts_with('#'))
}

impl Conversation {
    pub fn new(server: &'static str) -> Self {
        Conversation { server, said: 0, lines: BTreeMap::new(), reactions: BTreeMap::new() }
    }

    fn next(&mut self) -> String {
        self.said += 1;
        format!("#{}{}", &self.server[..1], self.said)
    }

    /// Some of the people do something, one after the other.
    pub async fn go_on(&mut self, people: &[Person], rid: &str, operations: usize, chance: &mut Chance) {
        for _ in 0..operations {
            let who = chance.below(people.len() as u64) as usize;
            match chance.below(100) {
                0..55 => self.say(people, who, rid).await,
                55..63 => self.reply(people, who, rid, chance).await,
                63..75 => self.edit(people, rid, chance).await,
                75..80 => self.delete(people, rid, chance).await,
                80..92 => self.react(people, who, rid, chance).await,
                92..97 => self.unreact(people, who, rid, chance).await,
                _ => self.send_file(people, who, rid).await,
            }
        }
    }

    async fn say(&mut self, people: &[Person], who: usize, rid: &str) {
        let mark = self.next();
        let text = format!("words {mark}");
        let id = people[who].say(rid, &text).await.unwrap();
        self.keep(people, who, mark, Known { who: String::new(), text, under: None, author: who, id, file: false });
    }

    fn keep(&mut self, people: &[Person], who: usize, mark: String, known: Known) {
        let who = format!("{}@{}", people[who].username, self.server);
        self.lines.insert(mark, Known { who, ..known });
    }

    async fn reply(&mut self, people: &[Person], who: usize, rid: &str, chance: &mut Chance) {
        let Some((parent, under)) = self.anything(people, who, rid, chance).await else { return };
        let mark = self.next();
        let text = format!("a reply {mark}");
        // It may have been taken away meanwhile.
        if let Ok(id) = people[who].reply(rid, &parent, &text).await {
            let known = Known { who: String::new(), text, under: Some(under), author: who, id, file: false };
            self.keep(people, who, mark, known);
        }
    }

    async fn edit(&mut self, people: &[Person], rid: &str, chance: &mut Chance) {
        let number = chance.below(1000);
        let Some(mark) = self.own(chance, false) else { return };
        let Some(known) = self.lines.get_mut(&mark) else { return };
        let text = format!("changed {number} {mark}");
        people[known.author].edit(rid, &known.id, &text).await.unwrap();
        known.text = text;
    }

    async fn delete(&mut self, people: &[Person], rid: &str, chance: &mut Chance) {
        let Some(mark) = self.own(chance, true) else { return };
        let Some(known) = self.lines.remove(&mark) else { return };
        people[known.author].delete(rid, &known.id).await.unwrap();
    }

    async fn react(&mut self, people: &[Person], who: usize, rid: &str, chance: &mut Chance) {
        let emoji = EMOJI[chance.below(EMOJI.len() as u64) as usize];
        let Some((id, mark)) = self.anything(people, who, rid, chance).await else { return };
        if people[who].react(&id, emoji).await.is_ok() {
            let name = format!("{}@{}", people[who].username, self.server);
            self.reactions.entry(mark).or_default().insert((emoji.to_owned(), name));
        }
    }

    async fn unreact(&mut self, people: &[Person], who: usize, rid: &str, chance: &mut Chance) {
        let Some((id, mark)) = self.anything(people, who, rid, chance).await else { return };
        let name = format!("{}@{}", people[who].username, self.server);
        let Some(own) = self.reactions.get_mut(&mark) else { return };
        let Some(reaction) = own.iter().find(|(_, of)| *of == name).cloned() else { return };
        if people[who].unreact(&id, &reaction.0).await.is_ok() {
            own.remove(&reaction);
        }
    }

    async fn send_file(&mut self, people: &[Person], who: usize, rid: &str) {
        let mark = self.next();
        // A file has no text of its own: its name tells it from others.
        let name = format!("file-{}.txt", mark.trim_start_matches('#'));
        let id = people[who].upload(rid, &name, "text/plain", mark.as_bytes(), "").await.unwrap();
        let known = Known { who: String::new(), text: name, under: None, author: who, id, file: true };
        self.keep(people, who, mark, known);
    }

    /// The mark of something that people of this server said.
    fn own(&self, chance: &mut Chance, files: bool) -> Option<String> {
        let own: Vec<&String> = self.lines.iter().filter(|(_, one)| files || !one.file).map(|(mark, _)| mark).collect();
        let at = chance.below(own.len().max(1) as u64) as usize;
        own.get(at).map(|mark| (*mark).clone())
    }

    /// Something that somebody sees in the room: its id on this server, and its mark. Replies stand under no reply.
    async fn anything(
        &self,
        people: &[Person],
        who: usize,
        rid: &str,
        chance: &mut Chance,
    ) -> Option<(String, String)> {
        let seen = people[who].messages(rid).await.unwrap();
        let mut marked = Vec::new();
        for message in seen.iter().filter(|message| message.t.is_none() && message.rest["tmid"].is_null()) {
            if let Some(mark) = mark(&message.msg) {
                marked.push((message.id.clone(), mark.to_owned()));
            }
        }
        let at = chance.below(marked.len().max(1) as u64) as usize;
        marked.into_iter().nth(at)
    }

    /// What must be in the room in the end, with what people of the other server did.
    pub fn wanted_with(&self, other: &Conversation) -> Held {
        let mut wanted = Held::new();
        for side in [self, other] {
            for (mark, known) in &side.lines {
                let mut reactions = self.reactions.get(mark).cloned().unwrap_or_default();
                reactions.extend(other.reactions.get(mark).cloned().unwrap_or_default());
                let parent = known.under.as_ref();
                let parent = parent.filter(|mark| self.lines.contains_key(*mark) || other.lines.contains_key(*mark));
                let line = Line { who: known.who.clone(), text: known.text.clone(), under: parent.cloned(), reactions };
                *wanted.entry(line).or_default() += 1;
            }
        }
        wanted
    }

    /// `name@server` of somebody with this username on the server whose people these are. Only accounts that stand for people of the
    /// other one have a full stop in their name.
    fn person(&self, other: &Conversation, username: &str) -> String {
        match username.split_once('.') {
            Some((name, _)) => format!("{name}@{}", other.server),
            None => format!("{username}@{}", self.server),
        }
    }
}

/// What a server's room holds, in a form that both share. What was told late says when it was said, which is left out.
pub fn held(rooms: &[HeldRoom], rid: &str, (own, other): (&Conversation, &Conversation)) -> Held {
    let mut held = Held::new();
    let Some(room) = rooms.iter().find(|room| room.id == rid) else { return held };
    let there: BTreeMap<&str, &HeldMessage> = room
        .messages
        .iter()
        .filter(|message| message.kind.is_none())
        .map(|message| (message.id.as_str(), message))
        .collect();
    for message in there.values() {
        let text = match message.files.first() {
            Some(file) => file.name.clone(),
            None => plain(&message.text).to_owned(),
        };
        let parent = message.thread.as_deref().and_then(|thread| there.get(thread));
        let reactions = message.reactions.iter().flat_map(|(emoji, people)| {
            people.iter().map(move |username| (emoji.clone(), own.person(other, username)))
        });
        let line = Line {
            who: own.person(other, &message.who),
            text,
            under: parent.and_then(|parent| mark(&parent.text)).map(str::to_owned),
            reactions: reactions.collect(),
        };
        *held.entry(line).or_default() += 1;
    }
    held
}

/// A text without the line that says when it was said.
fn plain(text: &str) -> &str {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with('_') && first.ends_with("UTC_") => rest,
        _ => text,
    }
}

/// Says in what a room differs from what it should hold.
pub fn differ(name: &str, held: &Held, wanted: &Held) {
    let lines: BTreeSet<&Line> = held.keys().chain(wanted.keys()).collect();
    for line in lines {
        let (is, should) = (held.get(line).unwrap_or(&0), wanted.get(line).unwrap_or(&0));
        if is != should {
            println!("{name} holds {is} times instead of {should}: {line:?}");
        }
    }
}
