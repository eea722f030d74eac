//! `rocketmesh tail`: follows the local log, and finds the node again when it was away.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use rocketmesh_node::api::types::{EphemeralView, NodeStatus, RoomList, StreamEntry, StreamQuery};

use crate::args::events::TailArgs;
use crate::client::{Client, next_chunk};
use crate::cmd::{Context, room_id};
use crate::describe::line;
use crate::failure::Failure;
use crate::sse::{Message, Parser};
use crate::text::{clean, short_id};

/// How long the node may say nothing before it counts as gone; it sends a comment every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// How long to wait before the first try to connect again.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest time between two tries.
const LAST_DELAY: Duration = Duration::from_secs(30);

pub(super) async fn run(context: &Context, args: TailArgs) -> Result<(), Failure> {
    let mut client = context.client()?;
    let room = match &args.room {
        Some(room) => Some(room_id(&client, room).await?),
        None => None,
    };
    // Without a position the first connection would begin at the end, and a second one could not know where that was.
    let position = match args.after {
        Some(position) => position,
        None => client.get(&["node"]).await?.parse::<NodeStatus>()?.log_position,
    };
    let names = if room.is_none() { room_names(&client).await? } else { BTreeMap::new() };
    let (left, ids, typing) = (args.events, args.ids, args.typing);
    let mut follower = Follower { context, room, names, position, left, ids, typing, alive: false };
    let mut delay = FIRST_DELAY;
    let mut was_alive = false;
    loop {
        let failure = match follower.follow(&client).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        // A first connection that fails tells of a mistake; only what worked once is worth waiting for.
        if std::mem::take(&mut follower.alive) {
            was_alive = true;
            delay = FIRST_DELAY;
        }
        if !was_alive || !failure.may_pass() {
            return Err(failure);
        }
        context.output.note(&format!("{failure}; trying again in {:.1} s", delay.as_secs_f64()));
        client = loop {
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LAST_DELAY);
            match context.client() {
                Ok(client) => break client,
                Err(failure) if failure.may_pass() => {}
                Err(failure) => return Err(failure),
            }
        };
    }
}

async fn room_names(client: &Client) -> Result<BTreeMap<String, String>, Failure> {
    let list: RoomList = client.get(&["rooms"]).await?.parse()?;
    Ok(list.rooms.into_iter().filter_map(|room| Some((room.id, room.name?))).collect())
}

/// Where the reader of the log is, over all connections.
struct Follower<'a> {
    context: &'a Context,
    /// The room that is followed; none for all of them.
    room: Option<String>,
    /// Names of rooms, where several are followed.
    names: BTreeMap<String, String>,
    /// The last position that was printed.
    position: u64,
    /// How many entries are still to be printed; none for no end.
    left: Option<u64>,
    ids: bool,
    /// Whether what is over in a moment is printed too.
    typing: bool,
    /// Whether this connection was accepted.
    alive: bool,
}

impl Follower<'_> {
    /// Prints what the node sends until enough is printed, which is no failure, or the connection ends, which is one.
    async fn follow(&mut self, client: &Client) -> Result<(), Failure> {
        let mut response = {
            let path = match &self.room {
                Some(room) => vec!["rooms", room.as_str(), "stream"],
                None => vec!["stream"],
            };
            let query = StreamQuery { after: Some(self.position), ephemeral: self.typing.then_some(true) };
            client.open(Method::GET, &path, &query, SILENCE).await?
        };
        self.alive = true;
        let mut parser = Parser::default();
        while let Some(chunk) = next_chunk(&mut response, SILENCE).await? {
            let messages = parser.feed(&chunk).map_err(|error| Failure::failed("stream_form", error.to_string()))?;
            for message in messages {
                if message.event == "ephemeral" {
                    self.pass(&message)?;
                    continue;
                }
                let Some(entry) = self.advance(&message)? else { continue };
                if self.context.output.is_json() {
                    self.context.output.json_line(&message.data)?;
                } else {
                    self.context.output.text(&self.people(&entry))?;
                }
                if self.left == Some(0) {
                    return Ok(());
                }
            }
        }
        Err(Failure::Lost("the node ended the stream".to_owned()))
    }

    /// The entry in a message, which counts as printed from now on; none where it was printed before.
    fn advance(&mut self, message: &Message) -> Result<Option<StreamEntry>, Failure> {
        if message.event != "change" {
            return Ok(None);
        }
        let entry: StreamEntry = serde_json::from_str(&message.data).map_err(|error| {
            Failure::failed("answer_form", format!("the node sent an entry of an unknown form ({error})"))
        })?;
        if entry.position <= self.position {
            return Ok(None);
        }
        self.position = entry.position;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(Some(entry))
    }

    /// Prints what is over in a moment. It counts as no entry.
    fn pass(&self, message: &Message) -> Result<(), Failure> {
        if self.context.output.is_json() {
            return self.context.output.json_line(&message.data);
        }
        let signal: EphemeralView = serde_json::from_str(&message.data).map_err(|error| {
            Failure::failed("answer_form", format!("the node sent a signal of an unknown form ({error})"))
        })?;
        let what = match (signal.typing, &signal.presence) {
            (Some(true), _) => "types".to_owned(),
            (Some(false), _) => "types no longer".to_owned(),
            (None, Some(presence)) => format!("is {}", clean(presence)),
            (None, None) => "has read".to_owned(),
        };
        let line = format!("{}({} {what})", self.place(&signal.room), clean(&signal.user));
        self.context.output.text(&line)
    }

    /// The room's name before a line, where several rooms are followed.
    fn place(&self, room: &str) -> String {
        if self.room.is_some() {
            return String::new();
        }
        let name = self.names.get(room).map_or_else(|| short_id(room), |name| format!("#{name}"));
        format!("{} ", clean(&name))
    }

    fn people(&self, entry: &StreamEntry) -> String {
        let event = &entry.event;
        let mut text = String::new();
        if self.ids {
            text.push_str(&format!("{} ", clean(&event.id)));
        }
        text.push_str(&self.place(&event.room));
        if entry.change == "body_arrived" || event.late && entry.change == "accepted" {
            text.push_str("[late] ");
        }
        if entry.change == "ahead" {
            text.push_str("[ahead of a gap] ");
        }
        if entry.change == "erased" {
            text.push_str("[erased] ");
        }
        text.push_str(&line(event));
        text
    }
}

#[cfg(test)]
mod tests {
    use rocketmesh_node::api::types::EventView;
    use serde_json::json;

    use super::*;
    use crate::args::Globals;
    use crate::describe::example;
    use crate::output::Output;

    fn context() -> Context {
        let globals = Globals { data_dir: None, api: None, token_file: None, json: false };
        Context { globals, output: Output::new(false) }
    }

    fn follower(context: &Context) -> Follower<'_> {
        let names = BTreeMap::from([("room".to_owned(), "gen\u{1b}eral".to_owned())]);
        Follower { context, room: None, names, position: 5, left: Some(2), ids: false, typing: false, alive: false }
    }

    fn entry(position: u64) -> StreamEntry {
        let event = EventView { body: json!({"text": "Hello"}), ..example("bafyr4ie", "message") };
        StreamEntry { position, change: "accepted".to_owned(), event }
    }

    #[test]
    fn lines_name_the_room_where_all_are_followed_and_say_what_came_late() {
        let context = context();
        let mut follower = follower(&context);
        let mut entry = entry(6);
        assert_eq!(follower.people(&entry), "#gen␛eral 22:13:20 @alice:a.example.org Hello");
        entry.change = "body_arrived".to_owned();
        follower.room = Some("room".to_owned());
        follower.ids = true;
        assert_eq!(follower.people(&entry), "bafyr4ie [late] 22:13:20 @alice:a.example.org Hello");
    }

    #[test]
    fn an_entry_that_was_printed_before_is_not_printed_again() {
        let context = context();
        let mut follower = follower(&context);
        let message = |position| Message {
            event: "change".to_owned(),
            id: String::new(),
            data: serde_json::to_string(&entry(position)).expect("it has a JSON form"),
        };
        for (position, printed, left) in [(5, false, 2), (6, true, 1), (6, false, 1), (9, true, 0)] {
            let entry = follower.advance(&message(position)).expect("the message is sound");
            assert_eq!((entry.is_some(), follower.left), (printed, Some(left)), "position {position}");
        }
        assert_eq!(follower.position, 9);
    }
}
