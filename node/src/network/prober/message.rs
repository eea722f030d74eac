//! AutoNAT v2 on a stream: protobuf messages, each behind its length as a varint.
//!
//! They follow the specification in libp2p/specs (`autonat/autonat-v2.md`). Five small messages, of which a field or two count
//! here, are not worth a code generator.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::Multiaddr;

use super::Outcome;

/// The longest message that is read; the specification's bound of data in one is 4,096 bytes.
const MAX_MESSAGE: usize = 4104;
/// What a server may demand to be sent before it dials, so that nobody makes it flood somebody else.
const MAX_DEMANDED: u64 = 100_000;
/// How much of it is sent in one message.
const PIECE: usize = 4000;

/// The specification's codes, of the answer as a whole and of the dial.
const OK: u64 = 200;
const DIAL_FAILED: u64 = 100;

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Asks the server at the other end of the stream to dial an address, and waits for what it says.
pub(super) async fn ask<S>(mut stream: S, address: &Multiaddr, number: u64) -> io::Result<Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Vec::new();
    put_bytes(&mut request, 1, address.as_ref());
    put_fixed(&mut request, 2, number);
    write(&mut stream, &wrapped(1, &request)).await?;
    let mut answer = read(&mut stream, MAX_MESSAGE).await?;
    if let Some(demanded) = demanded(&answer)? {
        let mut left = demanded;
        while left > 0 {
            let piece = left.min(PIECE as u64);
            let mut bytes = Vec::new();
            put_bytes(&mut bytes, 1, &vec![0; piece as usize]);
            write(&mut stream, &wrapped(4, &bytes)).await?;
            left -= piece;
        }
        answer = read(&mut stream, MAX_MESSAGE).await?;
    }
    // The server may have closed the stream by now.
    let _ = stream.close().await;
    outcome(&answer)
}

/// Takes a number from the stream and says that it came.
pub(super) async fn hear<S>(mut stream: S) -> io::Result<u64>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = read(&mut stream, 32).await?;
    let mut rest = message.as_slice();
    let mut number = None;
    while !rest.is_empty() {
        if let (1, Value::Number(value)) = field(&mut rest).ok_or_else(|| malformed("no number"))? {
            number = Some(value);
        }
    }
    // "Fine" is the default of the only field, so that the message is empty.
    write(&mut stream, &[]).await?;
    let _ = stream.close().await;
    number.ok_or_else(|| malformed("no number"))
}

/// How many bytes the server demands, if that is what its answer says.
fn demanded(answer: &[u8]) -> io::Result<Option<u64>> {
    let Some(demand) = part(answer, 3)? else { return Ok(None) };
    // Only one address was named, so that which one is meant needs no look.
    match value(demand, 2)? {
        Some(bytes) if bytes <= MAX_DEMANDED => Ok(Some(bytes)),
        _ => Err(malformed("a demand without measure")),
    }
}

fn outcome(answer: &[u8]) -> io::Result<Outcome> {
    let Some(response) = part(answer, 2)? else { return Err(malformed("another message than an answer")) };
    Ok(match (value(response, 1)?, value(response, 3)?) {
        (Some(OK), Some(OK)) => Outcome::Reached,
        (Some(OK), Some(DIAL_FAILED)) => Outcome::Unreached,
        _ => Outcome::Unanswered,
    })
}

/// The bytes of a message's field, if it is there.
fn part(message: &[u8], wanted: u64) -> io::Result<Option<&[u8]>> {
    let mut rest = message;
    let mut found = None;
    while !rest.is_empty() {
        match field(&mut rest).ok_or_else(|| malformed("a broken message"))? {
            (number, Value::Bytes(bytes)) if number == wanted => found = Some(bytes),
            _ => {}
        }
    }
    Ok(found)
}

/// The number in a message's field, if it is there.
fn value(message: &[u8], wanted: u64) -> io::Result<Option<u64>> {
    let mut rest = message;
    let mut found = None;
    while !rest.is_empty() {
        match field(&mut rest).ok_or_else(|| malformed("a broken message"))? {
            (number, Value::Number(value)) if number == wanted => found = Some(value),
            _ => {}
        }
    }
    Ok(found)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(rest)?;
    let value = match key & 7 {
        0 => Value::Number(varint(rest)?),
        1 => Value::Number(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, length)?)
        }
        5 => Value::Number(u64::from(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))),
        _ => return None,
    };
    Some((key >> 3, value))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, (field << 3) | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_fixed(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, (field << 3) | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

/// A message of the envelope that every message but the number's travels in.
fn wrapped(kind: u64, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, kind, message);
    out
}

async fn write(io: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, message.len() as u64);
    bytes.extend_from_slice(message);
    io.write_all(&bytes).await?;
    io.flush().await
}

async fn read(io: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let mut length = 0;
    for shift in [0, 7, 14] {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            if length > most {
                break;
            }
            let mut message = vec![0; length];
            io.read_exact(&mut message).await?;
            return Ok(message);
        }
    }
    Err(malformed("a message that is too long"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(status: u64, dial: u64) -> Vec<u8> {
        let mut response = Vec::new();
        for (field, number) in [(1, status), (3, dial)] {
            put_varint(&mut response, field << 3);
            put_varint(&mut response, number);
        }
        wrapped(2, &response)
    }

    #[test]
    fn an_answer_says_reached_or_not_and_everything_else_says_nothing() {
        assert_eq!(outcome(&answer(200, 200)).unwrap(), Outcome::Reached);
        assert_eq!(outcome(&answer(200, 100)).unwrap(), Outcome::Unreached);
        for (status, dial) in [(200, 101), (200, 0), (100, 0), (0, 0), (u64::MAX, 200)] {
            assert_eq!(outcome(&answer(status, dial)).unwrap(), Outcome::Unanswered);
        }
        assert!(outcome(&wrapped(1, &[])).is_err(), "a question is no answer");
    }

    #[test]
    fn broken_bytes_are_an_error_and_never_a_panic() {
        let whole = answer(200, 200);
        for cut in 0..whole.len() {
            let _ = outcome(&whole[..cut]);
            let _ = demanded(&whole[..cut]);
        }
        for byte in 0..=255 {
            let _ = outcome(&[byte; 40]);
            let _ = demanded(&[byte; 3]);
        }
        let mut greedy = Vec::new();
        put_varint(&mut greedy, 2 << 3);
        put_varint(&mut greedy, MAX_DEMANDED + 1);
        assert!(demanded(&wrapped(3, &greedy)).is_err(), "nobody is sent more than the specification allows");
    }

    #[test]
    fn a_number_is_taken_and_answered() {
        futures::executor::block_on(async {
            let mut said = Vec::new();
            put_fixed(&mut said, 1, 0x0123_4567_89ab_cdef);
            let mut stream = Vec::new();
            write(&mut stream, &said).await.unwrap();
            let length = stream.len();
            let heard = hear(Duplex { input: stream, read: 0, output: Vec::new() }).await.unwrap();
            assert_eq!((heard, length), (0x0123_4567_89ab_cdef, 10));
        });
    }

    struct Duplex {
        input: Vec<u8>,
        read: usize,
        output: Vec<u8>,
    }

    impl AsyncRead for Duplex {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            let count = buffer.len().min(self.input.len() - self.read);
            let from = self.read;
            buffer[..count].copy_from_slice(&self.input[from..from + count]);
            self.read += count;
            std::task::Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Duplex {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            bytes: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            self.output.extend_from_slice(bytes);
            std::task::Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_close(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }
}
