//! Server-sent events: from chunks of bytes, cut anywhere, to messages, as section 9.2.6 of the HTML standard has it.

/// The longest line that is read. An event's header (8 KiB) and body (64 KiB) stay far below it even when every byte of
/// them is written as a JSON escape of six.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// The most data of one message, over all of its lines.
const MAX_MESSAGE_BYTES: usize = 2 * MAX_LINE_BYTES;

/// A message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The name of what happened; empty for none.
    pub(crate) event: String,
    /// The last id that the stream gave; empty for none.
    pub(crate) id: String,
    /// The data, lines joined by line feeds.
    pub(crate) data: String,
}

/// Why a stream cannot be read on. The fault of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    /// A line or a message is longer than any that a node sends.
    #[error("the stream has a message longer than {MAX_MESSAGE_BYTES} bytes or a line longer than {MAX_LINE_BYTES}")]
    TooLong,
    /// A line is not UTF-8.
    #[error("the stream is not UTF-8")]
    NotUtf8,
}

/// Reads a stream. After an error it must not be fed again.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_return: bool,
    message: Message,
    has_data: bool,
}

impl Parser {
    /// Takes the next bytes and returns the messages that they complete.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<Vec<Message>, SseError> {
        let mut messages = Vec::new();
        for &byte in chunk {
            // A line ends with a line feed, a carriage return, or both; both may arrive in different chunks.
            let ends_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if ends_return => {}
                b'\n' | b'\r' => messages.extend(self.end_line()?),
                _ if self.line.len() == MAX_LINE_BYTES => return Err(SseError::TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(messages)
    }

    fn end_line(&mut self) -> Result<Option<Message>, SseError> {
        let bytes = std::mem::take(&mut self.line);
        let line = str::from_utf8(&bytes).map_err(|_| SseError::NotUtf8)?;
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        // A line that begins with a colon is a comment and comes out as a field without a name.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                let message = &mut self.message;
                if std::mem::replace(&mut self.has_data, true) {
                    message.data.push('\n');
                }
                if message.data.len() + value.len() > MAX_MESSAGE_BYTES {
                    return Err(SseError::TooLong);
                }
                message.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.message.event),
            "id" if !value.contains('\0') => value.clone_into(&mut self.message.id),
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Message> {
        let id = self.message.id.clone();
        let message = std::mem::replace(&mut self.message, Message { id, ..Message::default() });
        std::mem::take(&mut self.has_data).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: &str, id: &str, data: &str) -> Message {
        Message { event: event.to_owned(), id: id.to_owned(), data: data.to_owned() }
    }

    const STREAM: &str = ": hello\n\nid: 7\nevent: change\ndata: {\"a\":\"ü\"}\n\n\
                          :\r\nid:8\r\nevent:change\r\ndata: x\r\ndata:  y\r\n\r\n\
                          retry: 10\rdata\r\rid: 9\n\nevent: change\n";

    fn expected() -> Vec<Message> {
        vec![message("change", "7", "{\"a\":\"ü\"}"), message("change", "8", "x\n y"), message("", "8", "")]
    }

    #[test]
    fn chunks_may_be_cut_anywhere() {
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let mut messages = Vec::new();
            for chunk in STREAM.as_bytes().chunks(size) {
                messages.extend(parser.feed(chunk).expect("the stream is sound"));
            }
            assert_eq!(messages, expected(), "chunks of {size}");
        }
    }

    #[test]
    fn a_message_that_is_not_ended_is_not_given_out() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"id: 1\ndata: x\n").expect("sound"), vec![]);
        assert_eq!(parser.feed(b"\n").expect("sound"), vec![message("", "1", "x")]);
    }

    #[test]
    fn a_line_without_end_does_not_grow_memory_without_end() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; MAX_LINE_BYTES / 2];
        assert_eq!(parser.feed(&chunk).expect("within the bound"), vec![]);
        assert_eq!(parser.feed(&chunk).expect("just within the bound"), vec![]);
        assert_eq!(parser.feed(b"x"), Err(SseError::TooLong));
    }

    #[test]
    fn data_lines_without_end_do_not_grow_memory_without_end() {
        let mut parser = Parser::default();
        let mut line = b"data: ".to_vec();
        line.resize(MAX_LINE_BYTES, b'x');
        line.push(b'\n');
        assert_eq!(parser.feed(&line), Ok(vec![]));
        assert_eq!(parser.feed(&line), Ok(vec![]));
        assert_eq!(parser.feed(&line), Err(SseError::TooLong));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(Parser::default().feed(b"data: \xff\n"), Err(SseError::NotUtf8));
    }
}
