//! Noise with short frames.
//!
//! A Noise session of libp2p gathers what is written until it is flushed, up to 64 KiB, and keeps two buffers of the longest
//! frame that it ever sent for as long as the connection lasts. A connection that once sent much then holds 128 KiB, and a
//! node has many. Flushed early, it holds some 17 KiB; the price is 18 bytes for each further frame.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt, TryFutureExt};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::identity::PeerId;
use libp2p::noise;

/// The longest frame, in bytes before encryption. Most messages of gossip fit into one; 0.2 % are added to long ones.
const LONGEST: usize = 8 * 1024;

/// Noise as libp2p speaks it. The other side cannot tell.
#[derive(Clone)]
pub(super) struct ShortFrames(pub(super) noise::Config);

impl UpgradeInfo for ShortFrames {
    type Info = <noise::Config as UpgradeInfo>::Info;
    type InfoIter = <noise::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<T> InboundConnectionUpgrade<T> for ShortFrames
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, Flushed<noise::Output<T>>);
    type Error = noise::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: T, info: Self::Info) -> Self::Future {
        self.0.upgrade_inbound(socket, info).map_ok(|(peer, session)| (peer, Flushed::new(session))).boxed()
    }
}

impl<T> OutboundConnectionUpgrade<T> for ShortFrames
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, Flushed<noise::Output<T>>);
    type Error = noise::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: T, info: Self::Info) -> Self::Future {
        self.0.upgrade_outbound(socket, info).map_ok(|(peer, session)| (peer, Flushed::new(session))).boxed()
    }
}

/// Flushes what is below it whenever [`LONGEST`] bytes were written.
pub(super) struct Flushed<S> {
    inner: S,
    unflushed: usize,
}

impl<S> Flushed<S> {
    fn new(inner: S) -> Self {
        Flushed { inner, unflushed: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Flushed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flushed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.unflushed >= LONGEST {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        let room = bytes.len().min(LONGEST - self.unflushed);
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &bytes[..room]))?;
        self.unflushed += written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.unflushed = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Keeps what is written until it is flushed, as a Noise session does.
    #[derive(Default)]
    struct Gathering {
        waiting: Vec<u8>,
        frames: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Gathering {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.waiting.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let frame = std::mem::take(&mut self.waiting);
            if !frame.is_empty() {
                self.frames.push(frame);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    #[test]
    fn no_frame_is_longer_than_the_bound_and_no_byte_is_lost() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut writer = Flushed::new(Gathering::default());
        for piece in bytes.chunks(3_000) {
            block_on(writer.write_all(piece)).expect("written");
        }
        block_on(writer.flush()).expect("flushed");
        assert!(writer.inner.frames.iter().all(|frame| frame.len() <= LONGEST));
        assert_eq!(writer.inner.frames.concat(), bytes);
    }

    #[test]
    fn what_is_flushed_early_begins_a_new_frame() {
        let mut writer = Flushed::new(Gathering::default());
        block_on(writer.write_all(&[1; 100])).expect("written");
        block_on(writer.flush()).expect("flushed");
        block_on(writer.write_all(&[2; LONGEST])).expect("written");
        block_on(writer.close()).expect("closed");
        let lengths: Vec<usize> = writer.inner.frames.iter().map(Vec::len).collect();
        assert_eq!(lengths, [100, LONGEST]);
    }

    #[test]
    fn what_is_read_comes_as_it_is() {
        let mut reader = Flushed::new(&b"three words here"[..]);
        let mut read = String::new();
        block_on(reader.read_to_string(&mut read)).expect("read");
        assert_eq!(read, "three words here");
    }
}
