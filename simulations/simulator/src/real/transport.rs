//! libp2p's transport over the simulated network.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::future::{BoxFuture, Ready, ready};
use futures::{FutureExt, StreamExt};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport};

use super::internet::{DIAL_TIMEOUT, Incoming, Internet, PORT, address, server_at};
use super::wire::Wire;

/// One server's way into the network.
pub(super) struct SimTransport {
    internet: Internet,
    server: usize,
    listening: Option<(ListenerId, mpsc::Receiver<Incoming>)>,
    events: VecDeque<TransportEvent<Ready<io::Result<Wire>>, io::Error>>,
}

/// The address of a server, without its id.
pub(super) fn multiaddr(ip: Ipv4Addr, port: u16) -> Multiaddr {
    Multiaddr::empty().with(Protocol::Ip4(ip)).with(Protocol::Tcp(port))
}

impl SimTransport {
    pub(super) fn new(internet: Internet, server: usize) -> Self {
        SimTransport { internet, server, listening: None, events: VecDeque::new() }
    }
}

impl Transport for SimTransport {
    type Output = Wire;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Wire>>;
    type Dial = BoxFuture<'static, io::Result<Wire>>;

    fn listen_on(&mut self, id: ListenerId, wanted: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.listening = Some((id, self.internet.listen(self.server)));
        self.events.push_back(TransportEvent::NewAddress { listener_id: id, listen_addr: wanted });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let ours = self.listening.as_ref().is_some_and(|(listener, _)| *listener == id);
        if ours {
            self.listening = None;
            self.internet.close(self.server);
            self.events.push_back(TransportEvent::ListenerClosed { listener_id: id, reason: Ok(()) });
        }
        ours
    }

    fn dial(&mut self, wanted: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let mut parts = wanted.iter();
        let (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) = (parts.next(), parts.next()) else {
            return Err(TransportError::MultiaddrNotSupported(wanted));
        };
        let (internet, from) = (self.internet.clone(), self.server);
        let to = server_at(ip).filter(|_| port == PORT);
        Ok(async move {
            let Some(to) = to.filter(|to| *to != from && internet.answers(from, *to)) else {
                tokio::time::sleep(DIAL_TIMEOUT).await;
                return Err(io::ErrorKind::TimedOut.into());
            };
            tokio::time::sleep(internet.round_trip(from, to)).await;
            internet.connect(from, to).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        let local = multiaddr(address(self.server), PORT);
        if let Some((id, incoming)) = &mut self.listening
            && let Poll::Ready(Some(next)) = incoming.poll_next_unpin(context)
        {
            return Poll::Ready(TransportEvent::Incoming {
                listener_id: *id,
                upgrade: ready(Ok(next.wire)),
                local_addr: local,
                send_back_addr: multiaddr(next.from.0, next.from.1),
            });
        }
        Poll::Pending
    }
}
