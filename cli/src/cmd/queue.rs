//! `rocketmesh rocketchat queue`, `webhook`

use std::io::{self, IsTerminal};
use std::time::{Duration, SystemTime};

use rocketmesh_node::api::{RetriedLetters, RoomWebhook};
use rocketmesh_node::rocketchat::status::RocketChatQueue;

use crate::args::queue::{QueueArgs, QueueCommand, WebhookArgs};
use crate::cmd::{Context, rocketchat};
use crate::failure::Failure;
use crate::output::table;
use crate::text::count;

/// How long it may take until a webhook has spoken.
const SPEAK: Duration = Duration::from_secs(60);

pub(super) async fn run(context: &Context, args: QueueArgs) -> Result<(), Failure> {
    let client = context.client()?;
    match args.command.unwrap_or(QueueCommand::List) {
        QueueCommand::List => {
            let now_ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
            context.output.show(&client.get(&["rocketchat", "queue"]).await?, |queue| listed(queue, now_ms))
        }
        QueueCommand::Retry { id, .. } => {
            let answer = match &id {
                Some(id) => client.post(&["rocketchat", "queue", id, "retry"], &()).await?,
                None => client.post(&["rocketchat", "queue", "retry"], &()).await?,
            };
            context.output.show(&answer, |retried: RetriedLetters| match retried.retried {
                0 => "nothing in the queue can be tried again".to_owned(),
                number => {
                    format!("{} tried again; `rocketmesh rocketchat queue` shows what is left", are(number, "thing"))
                }
            })
        }
        QueueCommand::Dismiss { id } => {
            client.delete(&["rocketchat", "queue", &id]).await?;
            context.output.done("dismissed")
        }
    }
}

pub(super) async fn webhook(context: &Context, args: WebhookArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let path = ["rocketchat", "rooms", args.room.as_str(), "webhook"];
    if args.remove {
        client.delete(&path).await?;
        return context.output.done("the room has no webhook any more; remove it in Rocket.Chat too");
    }
    if args.url_file.as_os_str() == "-" && io::stdin().is_terminal() {
        context.output.note("the webhook's address, then Enter and Ctrl-D:");
    }
    let url = rocketchat::secret(&args.url_file)?.trim().to_owned();
    if url.is_empty() {
        let message = "the webhook's address is empty; give it on standard input or with --url-file".to_owned();
        return Err(Failure::Usage { code: "no_webhook", message });
    }
    client.put_within(&path, &RoomWebhook { url }, SPEAK).await?;
    context
        .output
        .done("the webhook works; it speaks for people of other servers while the workspace takes no messages")
}

fn listed(queue: RocketChatQueue, now_ms: u64) -> String {
    if queue.rooms.is_empty() && queue.letters.is_empty() {
        return "nothing waits, and nothing was refused".to_owned();
    }
    let mut parts = Vec::new();
    if !queue.rooms.is_empty() {
        let rows = queue.rooms.into_iter().map(|room| {
            let oldest = room.oldest_ms.map_or_else(|| "-".to_owned(), |at_ms| age(now_ms.saturating_sub(at_ms)));
            [format!("#{}", room.name), room.waiting.to_string(), oldest, room.why.unwrap_or_default()]
        });
        parts.push(table(["ROOM", "WAITING", "OLDEST", "WHY"], rows.collect::<Vec<_>>()));
    }
    if !queue.letters.is_empty() {
        let rows = queue.letters.into_iter().map(|letter| {
            let again = if letter.can_retry { "" } else { " (cannot be tried again)" };
            let since = age(now_ms.saturating_sub(letter.since_ms));
            [letter.id, letter.what, since, format!("{}: {}{again}", letter.code, letter.reason)]
        });
        parts.push(table(["ID", "WHAT", "AGE", "WHY IT WAS NOT TAKEN"], rows.collect::<Vec<_>>()));
    }
    parts.join("\n\n")
}

/// `1 thing is`, `2 things are`.
fn are(number: u64, singular: &str) -> String {
    format!("{} {}", count(number, singular), if number == 1 { "is" } else { "are" })
}

/// How long ago something was, in its largest unit.
fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        3600..=86_399 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use rocketmesh_node::rocketchat::status::{DeadLetter, WaitingRoom};

    use super::*;

    #[test]
    fn the_queue_says_what_waits_for_how_long_and_why() {
        let room = WaitingRoom {
            name: "lunch".to_owned(),
            waiting: 3,
            oldest_ms: Some(0),
            why: Some("the workspace is restricted\u{1b}[2J".to_owned()),
            ..WaitingRoom::default()
        };
        let letter = DeadLetter {
            id: "1f0c9a7be2d4".to_owned(),
            event: "e".to_owned(),
            room: "r".to_owned(),
            what: "message".to_owned(),
            code: "refused".to_owned(),
            reason: "it is too long".to_owned(),
            since_ms: 90_000,
            tries: 0,
            can_retry: true,
        };
        let text = listed(RocketChatQueue { rooms: vec![room], letters: vec![letter] }, 150_000);
        for part in ["#lunch", "3", "2 min", "1 min", "1f0c9a7be2d4", "refused: it is too long"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(listed(RocketChatQueue::default(), 0).contains("nothing waits"));
    }

    #[test]
    fn ages_have_one_unit() {
        let told = [5_000, 61_000, 7_300_000, 200_000_000].map(age);
        assert_eq!(told, ["5 s", "1 min", "2 h", "2 d"]);
    }
}
