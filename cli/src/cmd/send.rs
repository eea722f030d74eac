//! `rocketmesh send`, `react` and `redact`

use std::io::{self, Read};

use rocketmesh_node::api::types::{PostEvent, Posted};
use rocketmesh_protocol::event::kind;
use rocketmesh_protocol::limits::MAX_BODY_BYTES;

use crate::args::rooms::{ReactArgs, RedactArgs, SendArgs};
use crate::cmd::{Context, room_id};
use crate::failure::Failure;

pub(super) async fn send(context: &Context, args: SendArgs) -> Result<(), Failure> {
    let text = match args.text.as_slice() {
        [dash] if dash == "-" => read_text(io::stdin().lock())?,
        words => words.join(" "),
    };
    let kind = if args.edit.is_some() { kind::EDIT } else { kind::MESSAGE };
    let event = PostEvent {
        user: args.user,
        kind: Some(kind.to_owned()),
        text: Some(text),
        target: args.edit,
        thread: args.thread,
        ..PostEvent::default()
    };
    post(context, &args.room, event).await
}

pub(super) async fn react(context: &Context, args: ReactArgs) -> Result<(), Failure> {
    let event = PostEvent {
        user: args.user,
        kind: Some(kind::REACT.to_owned()),
        target: Some(args.event),
        emoji: Some(args.emoji),
        remove: args.remove.then_some(true),
        ..PostEvent::default()
    };
    post(context, &args.room, event).await
}

pub(super) async fn redact(context: &Context, args: RedactArgs) -> Result<(), Failure> {
    let event = PostEvent {
        user: args.user,
        kind: Some(kind::REDACT.to_owned()),
        target: Some(args.event),
        text: args.reason,
        ..PostEvent::default()
    };
    post(context, &args.room, event).await
}

/// Posts an event to the room that `room` means and prints the event's id.
pub(super) async fn post(context: &Context, room: &str, event: PostEvent) -> Result<(), Failure> {
    let client = context.client()?;
    let room = room_id(&client, room).await?;
    let answer = client.post(&["rooms", &room, "events"], &event).await?;
    context.output.show(&answer, |posted: Posted| posted.event)
}

/// Reads a message, without the line feed that ends its last line.
fn read_text(from: impl Read) -> Result<String, Failure> {
    let refused = |message: String| Failure::Usage { code: "standard_input", message };
    let mut bytes = Vec::new();
    from.take(MAX_BODY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed("io", format!("cannot read standard input: {error}")))?;
    if bytes.len() > MAX_BODY_BYTES {
        return Err(refused(format!("standard input has more than the {MAX_BODY_BYTES} bytes of a message")));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| refused("standard input is not UTF-8 text".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.is_empty() { Err(refused("standard input is empty".to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_keeps_its_lines_and_loses_the_last_line_feed() {
        assert_eq!(read_text("one\ntwo\n".as_bytes()).expect("text"), "one\ntwo");
        assert_eq!(read_text("one".as_bytes()).expect("text"), "one");
    }

    #[test]
    fn standard_input_that_is_empty_no_text_or_endless_is_refused() {
        for input in ["".as_bytes(), b"\n", b"\xff"] {
            assert_eq!(read_text(input).expect_err("no message").exit_code(), 2);
        }
        assert_eq!(read_text(io::repeat(b'x')).expect_err("endless").exit_code(), 2);
    }
}
