//! How one request and one response stand on a stream: four bytes of length, then the message. Nothing is read beyond the
//! bound, whatever the length claims, and memory grows with what arrives, not with what is announced.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response;
use rocketmesh_protocol::limits::{MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES};

/// How much is reserved at once while reading.
const CHUNK: usize = 64 * 1024;

/// Reads and writes messages as bytes; what they mean is decided elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing {
    max_request: usize,
    max_response: usize,
}

impl Framing {
    /// For requests about rooms.
    pub(super) const SYNC: Framing = Framing { max_request: MAX_REQUEST_BYTES, max_response: MAX_RESPONSE_BYTES };
    /// For the first exchange.
    pub(super) const HELLO: Framing = Framing { max_request: 16 * 1024, max_response: 16 * 1024 };
}

async fn read(io: &mut (impl AsyncRead + Unpin + Send), most: usize) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    io.read_exact(&mut head).await?;
    let len = u32::from_be_bytes(head) as usize;
    if len > most {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {len} bytes, at most {most} allowed"),
        ));
    }
    let mut message = Vec::new();
    while message.len() < len {
        let start = message.len();
        message.resize(len.min(start + CHUNK), 0);
        io.read_exact(&mut message[start..]).await?;
    }
    Ok(message)
}

async fn write(io: &mut (impl AsyncWrite + Unpin + Send), message: &[u8]) -> io::Result<()> {
    let len = u32::try_from(message.len()).map_err(io::Error::other)?;
    io.write_all(&len.to_be_bytes()).await?;
    io.write_all(message).await?;
    io.close().await
}

impl request_response::Codec for Framing {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, self.max_request).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, self.max_response).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}
