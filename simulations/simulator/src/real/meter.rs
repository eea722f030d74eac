//! Looks into what servers say to each other, behind the encryption: which protocol the bytes belong to, and which events
//! gossip brings. Hostile servers do their harm here.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::StreamMuxer;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::wire::{DHT_PROTOCOL, GOSSIPSUB, SYNC_PROTOCOL, gossip_message_id};

use super::stage::Stage;
use crate::scenario::Harm;

/// The largest gossip frame that is looked into; larger ones are counted only.
const FRAME: usize = 8 * 1024 * 1024;

/// Places in [`crate::record::TRAFFIC`].
const PAYLOAD: usize = 0;
const CONTROL: usize = 1;
const SYNC: usize = 2;
const DISCOVERY: usize = 3;
const CONNECTIONS: usize = 4;
const FILES: usize = 5;

/// The field of a gossip frame that holds messages.
const PUBLISHED: u64 = 2;

/// Bytes in front of a request or an answer that say how long it is.
const LENGTH: usize = 4;
/// How an answer with a range of a file begins, and a request for one: maps in CBOR.
const SLICE: &[u8] = b"\xa1\x65slice";
const ASK_FILE: &[u8] = b"\xa5\x63ask\x64file";
/// What a liar leaves as it is of an answer with a range of a file: it can still be read as one, and says the right size.
const SOUND: usize = 32;

/// What a stream of requests and answers is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Not enough has come to tell.
    Unknown,
    /// A request for a range of a file.
    FileAsked,
    /// A range of a file.
    Slice,
    Else,
}

impl About {
    /// What these first bytes of a stream, behind its negotiation, say.
    fn of(head: &[u8]) -> Self {
        let Some(said) = head.get(LENGTH..) else { return About::Unknown };
        for (beginning, about) in [(SLICE, About::Slice), (ASK_FILE, About::FileAsked)] {
            if said.starts_with(beginning) {
                return about;
            }
            if beginning.starts_with(said) {
                return About::Unknown;
            }
        }
        About::Else
    }
}

/// A connection's muxer, looked into.
pub(super) struct Meter {
    inner: StreamMuxerBox,
    stage: Arc<Stage>,
    server: usize,
    harm: Option<Harm>,
}

impl Meter {
    pub(super) fn new(inner: StreamMuxerBox, stage: Arc<Stage>, server: usize) -> Self {
        let harm = stage.plan.servers[server].hostile;
        Meter { inner, stage, server, harm }
    }

    fn look_into(&self, inner: SubstreamBox) -> Metered {
        let (stage, harm) = (Arc::clone(&self.stage), self.harm);
        Metered {
            inner,
            stage,
            server: self.server,
            harm,
            read: Reading::default(),
            written: Protocol::Unknown(Vec::new()),
            said: Vec::new(),
            sieve: Sieve::default(),
        }
    }
}

impl StreamMuxer for Meter {
    type Substream = Metered;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<Metered>> {
        Pin::new(&mut self.inner).poll_inbound(context).map_ok(|inner| self.look_into(inner))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<Metered>> {
        Pin::new(&mut self.inner).poll_outbound(context).map_ok(|inner| self.look_into(inner))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(context)
    }
}

/// One stream of a connection.
pub(super) struct Metered {
    inner: SubstreamBox,
    stage: Arc<Stage>,
    server: usize,
    harm: Option<Harm>,
    read: Reading,
    written: Protocol,
    /// The first bytes that were written behind the negotiation; kept for liars alone.
    said: Vec<u8>,
    /// What becomes of the gossip of a server that keeps messages to itself.
    sieve: Sieve,
}

/// Lets through what gossip says beside messages: whoever keeps those to itself is in everybody's mesh all the same, and takes a place
/// there that somebody else would have filled.
#[derive(Default)]
struct Sieve {
    /// The beginning of a frame whose end has not been written yet.
    begun: Vec<u8>,
    /// What is to go out.
    left: VecDeque<u8>,
}

impl Sieve {
    /// Takes in what the node writes: frames of gossip with a length in front.
    fn take_in(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((length, head)) = varint(&self.begun[at..]) {
            let Some(frame) = self.begun.get(at + head..at + head + length as usize) else { break };
            let mut kept = Vec::new();
            fields(frame, |field, value| {
                if field != PUBLISHED {
                    put_varint(&mut kept, field << 3 | 2);
                    put_varint(&mut kept, value.len() as u64);
                    kept.extend_from_slice(value);
                }
            });
            if !kept.is_empty() {
                let mut said = Vec::new();
                put_varint(&mut said, kept.len() as u64);
                self.left.extend(said.into_iter().chain(kept));
            }
            at += head + length as usize;
        }
        self.begun.drain(..at);
    }

    /// Writes what is to go out.
    fn drain(&mut self, mut inner: Pin<&mut SubstreamBox>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let written = ready!(inner.as_mut().poll_write(context, self.left.make_contiguous()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// What a stream is for.
enum Protocol {
    /// Still being negotiated; the bytes so far.
    Unknown(Vec<u8>),
    Gossip,
    Other(usize),
}

impl Protocol {
    /// Takes in bytes of the negotiation. Returns those behind it once it is over.
    fn negotiate(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Protocol::Unknown(seen) = self else { return Some(bytes.to_vec()) };
        seen.extend_from_slice(bytes);
        let mut at = 0;
        // Lines with a length of one byte in front, the first one multistream's own.
        while let Some(length) = seen.get(at).map(|length| usize::from(*length)) {
            let line = seen.get(at + 1..at + 1 + length)?;
            at += 1 + length;
            if !line.starts_with(b"/") || line.starts_with(b"/multistream/") {
                continue;
            }
            let is = |name: &str| line.starts_with(name.as_bytes());
            let rest = seen[at..].to_vec();
            *self = if is(GOSSIPSUB) {
                Protocol::Gossip
            } else if is(SYNC_PROTOCOL) {
                Protocol::Other(SYNC)
            } else if is(DHT_PROTOCOL) {
                Protocol::Other(DISCOVERY)
            } else {
                Protocol::Other(CONNECTIONS)
            };
            return Some(rest);
        }
        None
    }
}

struct Reading {
    protocol: Protocol,
    frame: Vec<u8>,
    /// What a stream of requests and answers is about.
    about: About,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { protocol: Protocol::Unknown(Vec::new()), frame: Vec::new(), about: About::Unknown }
    }
}

impl Reading {
    fn take_in(&mut self, bytes: &[u8], stage: &Stage, server: usize) {
        if let Protocol::Unknown(_) = self.protocol {
            let Some(rest) = self.protocol.negotiate(bytes) else {
                return stage.count(CONNECTIONS, bytes.len(), server);
            };
            stage.count(CONNECTIONS, bytes.len() - rest.len().min(bytes.len()), server);
            if !rest.is_empty() {
                self.take_in(&rest, stage, server);
            }
            return;
        }
        match self.protocol {
            Protocol::Other(SYNC) => self.requests(bytes, stage, server),
            Protocol::Other(kind) => stage.count(kind, bytes.len(), server),
            _ => {
                self.frame.extend_from_slice(bytes);
                self.frames(stage, server);
            }
        }
    }

    /// Counts requests and answers: those about files apart.
    fn requests(&mut self, bytes: &[u8], stage: &Stage, server: usize) {
        let mut count = bytes.len();
        if self.about == About::Unknown {
            self.frame.extend_from_slice(bytes);
            self.about = About::of(&self.frame);
            if self.about == About::Unknown {
                return;
            }
            count = std::mem::take(&mut self.frame).len();
        }
        let kind = if self.about == About::Else { SYNC } else { FILES };
        stage.count(kind, count, server);
    }

    fn frames(&mut self, stage: &Stage, server: usize) {
        let mut at = 0;
        while let Some((length, head)) = varint(&self.frame[at..]) {
            let length = length as usize;
            if length > FRAME {
                // Not a frame that any server takes: the stream is done for.
                stage.count(CONTROL, self.frame.len() - at, server);
                self.frame.clear();
                return;
            }
            let Some(frame) = self.frame.get(at + head..at + head + length) else { break };
            look_into(frame, stage, server);
            at += head + length;
        }
        self.frame.drain(..at);
    }
}

/// A number in protobuf's base 128, and how many bytes it takes; none if it is not all there.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

/// Writes a number in protobuf's base 128.
fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The fields of a protobuf message whose values have a length in front; none where it is malformed.
fn fields(mut bytes: &[u8], mut each: impl FnMut(u64, &[u8])) {
    while let Some((tag, head)) = varint(bytes) {
        bytes = &bytes[head..];
        let Some((value, head)) = varint(bytes) else { return };
        bytes = &bytes[head..];
        if tag & 7 == 2 {
            let Some((field, rest)) = bytes.split_at_checked(value as usize) else { return };
            each(tag >> 3, field);
            bytes = rest;
        } else if tag & 7 != 0 {
            return;
        }
    }
}

/// Counts a gossip frame: published messages are its second field, and a message's data is that one's second.
fn look_into(frame: &[u8], stage: &Stage, server: usize) {
    let mut payload = 0;
    fields(frame, |field, message| {
        if field == PUBLISHED {
            payload += message.len() + 2;
            fields(message, |field, data| {
                if field == 2 {
                    stage.heard(server, &EventId::from_hash(gossip_message_id(data)));
                }
            });
        }
    });
    stage.count(PAYLOAD, payload.min(frame.len()), server);
    stage.count(CONTROL, frame.len().saturating_sub(payload) + 2, server);
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Ok(read)) = polled {
            let this = &mut *self;
            this.read.take_in(&buffer[..read], &this.stage, this.server);
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(harm) = this.harm.filter(|harm| matches!(harm, Harm::Withhold | Harm::Eclipse | Harm::Garbage)) else {
            return Pin::new(&mut this.inner).poll_write(context, bytes);
        };
        if let Protocol::Unknown(_) = this.written {
            // What the negotiation says goes through, and with it the little that may come in one piece with it.
            let polled = Pin::new(&mut this.inner).poll_write(context, bytes);
            if let Poll::Ready(Ok(written)) = polled {
                this.written.negotiate(&bytes[..written]);
            }
            return polled;
        }
        match (harm, &this.written) {
            (Harm::Garbage, Protocol::Gossip) => {
                let mut garbled = bytes.to_vec();
                this.stage.garble(&mut garbled);
                Pin::new(&mut this.inner).poll_write(context, &garbled)
            }
            // A holder of files that sends other bytes than the files have.
            (Harm::Garbage, Protocol::Other(SYNC)) => {
                let mut told = bytes.to_vec();
                let sound = SOUND.saturating_sub(this.said.len()).min(told.len());
                let head = [this.said.as_slice(), &told[..sound]].concat();
                if About::of(&head) == About::Slice && sound < told.len() {
                    this.stage.garble(&mut told[sound..]);
                }
                let polled = Pin::new(&mut this.inner).poll_write(context, &told);
                if let Poll::Ready(Ok(written)) = polled {
                    this.said.extend_from_slice(&bytes[..written.min(sound)]);
                }
                polled
            }
            (Harm::Withhold | Harm::Eclipse, Protocol::Gossip) => {
                ready!(this.sieve.drain(Pin::new(&mut this.inner), context))?;
                this.sieve.take_in(bytes);
                // Whatever does not go out at once goes with the next piece, or when it is flushed.
                let _ = this.sieve.drain(Pin::new(&mut this.inner), context)?;
                Poll::Ready(Ok(bytes.len()))
            }
            // Said to nobody.
            (Harm::Withhold | Harm::Eclipse, Protocol::Other(SYNC)) => Poll::Ready(Ok(bytes.len())),
            _ => Pin::new(&mut this.inner).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.sieve.drain(Pin::new(&mut this.inner), context))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.sieve.drain(Pin::new(&mut this.inner), context))?;
        Pin::new(&mut this.inner).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with a length in front.
    fn field(number: u64, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, number << 3 | 2);
        put_varint(&mut bytes, value.len() as u64);
        bytes.extend_from_slice(value);
        bytes
    }

    fn frame(fields: &[&[u8]]) -> Vec<u8> {
        let body = fields.concat();
        let mut bytes = Vec::new();
        put_varint(&mut bytes, body.len() as u64);
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn whoever_keeps_messages_to_itself_says_everything_else_however_it_is_cut() {
        let (topic, message, control) = (field(1, b"topic"), field(PUBLISHED, &[7; 300]), field(3, &[9; 200]));
        let said = [frame(&[&topic]), frame(&[&message]), frame(&[&message, &control])].concat();
        let expected = [frame(&[&topic]), frame(&[&control])].concat();
        for piece in [1, 3, 128, said.len()] {
            let mut sieve = Sieve::default();
            said.chunks(piece).for_each(|bytes| sieve.take_in(bytes));
            assert_eq!(Vec::from(sieve.left), expected, "in pieces of {piece}");
            assert!(sieve.begun.is_empty());
        }
    }
}
