//! `rocketmesh events`

use rocketmesh_node::api::types::{EventPage, EventQuery, EventView};

use crate::args::events::{EventsArgs, EventsCommand};
use crate::client::{Answer, Client};
use crate::cmd::rooms::gap_line;
use crate::cmd::{Context, room_id};
use crate::describe::{describe, line, sender};
use crate::dot;
use crate::failure::Failure;
use crate::output::{Fields, table};
use crate::text::{clean, clean_json, clock, excerpt, short_id};

/// How much of a text the list shows.
const LISTED_CHARACTERS: usize = 120;

pub(super) async fn run(context: &Context, args: EventsArgs) -> Result<(), Failure> {
    let client = context.client()?;
    match args.command {
        EventsCommand::List { room, limit, newest, from, ids } => {
            let answer = page(&client, &room, from, limit, newest).await?;
            context.output.show(&answer, |page: EventPage| list(page, newest, ids))
        }
        EventsCommand::Show { event } => {
            context.output.show(&client.get(&["events", &event]).await?, |event: EventView| show(&event))
        }
        EventsCommand::Graph { room, limit } => {
            let answer = page(&client, &room, None, limit, true).await?;
            context.output.show(&answer, |page: EventPage| dot::graph(&page.events))
        }
    }
}

async fn page(client: &Client, room: &str, from: Option<String>, limit: u64, newest: bool) -> Result<Answer, Failure> {
    let room = room_id(client, room).await?;
    let order = if newest { "desc" } else { "asc" };
    let query = EventQuery { from, limit: usize::try_from(limit).ok(), order: Some(order.to_owned()), withheld: None };
    client.get_with(&["rooms", &room, "events"], &query).await
}

/// The page in room order, whichever end of the room it is from.
fn list(mut page: EventPage, newest: bool, ids: bool) -> String {
    if page.events.is_empty() && page.ahead.is_empty() {
        let gap = page.gap.as_ref().map(|gap| format!("\n{}", gap_line(gap))).unwrap_or_default();
        return format!("no events{gap}");
    }
    if newest {
        page.events.reverse();
    }
    let mut text = rows(&page.events, ids);
    if let Some(gap) = &page.gap {
        // What follows comes after what is missing.
        text.push_str(&format!("\n{}", gap_line(gap)));
    }
    if !page.ahead.is_empty() {
        text.push_str(&format!("\n{}", rows(&page.ahead, ids)));
    }
    if let Some(next) = page.next {
        let newest = if newest { " --newest" } else { "" };
        text.push_str(&format!("\nthere are more:{newest} --from {}", clean(&next)));
    }
    text
}

fn rows(events: &[EventView], ids: bool) -> String {
    if ids {
        return events
            .iter()
            .map(|event| format!("{} {}", clean(&event.id), line(event)))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let row = |event: &EventView| {
        [short_id(&event.id), clock(event.time_ms), sender(event), excerpt(&describe(event), LISTED_CHARACTERS)]
    };
    table(["ID", "TIME", "SENDER", "TEXT"], events.iter().map(row))
}

fn show(event: &EventView) -> String {
    let mut fields = Fields::default();
    fields
        .add("id", &event.id)
        .add("room", &event.room)
        .add("kind", &event.kind)
        .add("says", describe(event))
        .add_some("sender", event.sender.as_ref())
        .add_some("sender's id", event.sender_id.as_ref())
        .add("server", &event.origin)
        .add("time", format!("{} UTC ({} ms since 1970)", clock(event.time_ms), event.time_ms))
        .add("accepted", if event.accepted { "yes" } else { "no, kept for what refers to it" })
        .add("lane", format!("{}, number {}", event.lane, event.seq))
        .add_some("state key", event.state_key.as_ref())
        .add("lamport time", event.lamport)
        .add_some("self-parent", event.self_parent.as_ref())
        .add_all("parents", event.parents.clone())
        .add_all("state frontier", event.state_frontier.clone())
        .add("bytes", event.bytes)
        .add("content", clean_json(&event.content.to_string()))
        .add("body", format!("{}: {}", event.body_state, clean_json(&event.body.to_string())));
    fields.to_string()
}

#[cfg(test)]
mod tests {
    use rocketmesh_node::api::types::GapView;

    use super::*;
    use crate::describe::example;

    fn page() -> EventPage {
        let events = ["bafyr4iaaaaaaaaaaaaaaaaaaa", "bafyr4ibbbbbbbbbbbbbbbbbbb"].map(|id| example(id, "message"));
        let next = Some("bafyr4ibbbbbbbbbbbbbbbbbbb".to_owned());
        EventPage { events: events.to_vec(), next, gap: None, ahead: Vec::new() }
    }

    #[test]
    fn a_gap_stands_between_what_is_here_and_what_came_ahead_of_it() {
        let gap = GapView { state: "coming".to_owned(), ahead: 1, message: "older ones are missing".to_owned() };
        let ahead = vec![example("bafyr4iccccccccccccccccccc", "message")];
        let text = list(EventPage { gap: Some(gap), ahead, next: None, ..page() }, false, true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[2].starts_with("GAP: older ones are missing; 1 message"), "{text}");
        assert!(lines[3].starts_with("bafyr4iccccccccccccccccccc"), "{text}");
    }

    #[test]
    fn the_newest_events_stand_in_room_order_too() {
        let text = list(page(), true, false);
        let place = |id: &str| text.find(id).expect("both are listed");
        assert!(place("bafyr4i…bbbbbbb") < place("bafyr4i…aaaaaaa"), "{text}");
        assert!(text.ends_with("--newest --from bafyr4ibbbbbbbbbbbbbbbbbbb"), "{text}");
    }

    #[test]
    fn full_ids_come_a_line_for_each_event() {
        let text = list(page(), false, true);
        assert!(text.lines().next().is_some_and(|line| line.starts_with("bafyr4iaaaaaaaaaaaaaaaaaaa 22:13:20 @alice")));
    }

    #[test]
    fn one_event_in_detail_names_all_that_it_refers_to() {
        let event = EventView { parents: vec!["p1".to_owned(), "p2".to_owned()], ..example("e", "message") };
        let text = show(&event);
        assert!(text.contains("p1") && text.contains("p2") && text.contains("22:13:20 UTC"), "{text}");
    }
}
