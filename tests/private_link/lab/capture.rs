//! What really passed: every packet of a space, taken from the kernel and not from anybody's log.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::Space;
use super::packet::{self, Packet};

/// Every packet of every interface.
const ETH_P_ALL: u16 = 3;

/// Holds the packets of a burst until they are read; the kernel doubles it.
const BUFFER: usize = 8 << 20;

/// The packets of one space since it was begun or last emptied.
pub(crate) struct Capture {
    seen: Arc<watch::Sender<Vec<Packet>>>,
    marker: AtomicU16,
}

impl Capture {
    pub(crate) fn of(space: &Space) -> Self {
        let seen = Arc::new(watch::Sender::new(Vec::new()));
        let into = Arc::clone(&seen);
        let socket = space.run(|| {
            let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).expect("root may capture");
            socket.set_recv_buffer_size(BUFFER).expect("a socket has a buffer");
            socket.set_nonblocking(true).expect("a socket can be read without waiting");
            socket
        });
        space.spawn(async move {
            #[expect(deprecated, reason = "its successor is no safe code; the socket is owned and stays open")]
            let socket = AsyncFd::new(socket).expect("a socket can be waited for");
            let mut buffer = vec![0; 65_536];
            while let Ok(mut guard) = socket.readable().await {
                while let Ok(length) = socket.get_ref().read(&mut buffer) {
                    if let Some(packet) = packet::read(&buffer[..length]) {
                        into.send_modify(|seen| seen.push(packet));
                    }
                }
                guard.clear_ready();
            }
        });
        Self { seen, marker: AtomicU16::new(40_000) }
    }

    /// Forgets what was seen.
    pub(crate) fn empty(&self) {
        self.seen.send_modify(Vec::clear);
    }

    /// Returns when everything that `from` sent before has been seen: sends a packet to `beacon`, an address of the
    /// captured space on the same cable, and waits until it is here.
    ///
    /// False where the kernel does not let the marker out of the space.
    pub(crate) fn settle(&self, from: &Space, beacon: IpAddr) -> bool {
        let to = SocketAddr::new(beacon, self.marker.fetch_add(1, Ordering::Relaxed));
        let mut seen = self.seen.subscribe();
        from.block_on(async move {
            #[expect(clippy::disallowed_methods, reason = "a marker for the capture, in a network of the test's own")]
            let sent = async {
                let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
                socket.send_to(b"marker", to).await
            };
            match sent.await {
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return false,
                sent => sent.expect("the cable is up"),
            };
            let found = seen.wait_for(|seen| seen.iter().any(|packet| packet.to == to));
            let found = tokio::time::timeout(super::PATIENCE, found).await;
            assert!(found.is_ok(), "the capture missed the packet to {to}");
            true
        })
    }

    /// Bytes that were sent to addresses that `foreign` picks, beyond the headers of TCP and UDP.
    pub(crate) fn payload_to(&self, foreign: impl Fn(SocketAddr) -> bool) -> usize {
        self.seen.borrow().iter().filter(|packet| foreign(packet.to)).map(|packet| packet.payload).sum()
    }

    /// Packets of TCP that were sent to addresses that `foreign` picks, the opening ones too.
    pub(crate) fn tcp_to(&self, foreign: impl Fn(SocketAddr) -> bool) -> usize {
        self.seen.borrow().iter().filter(|packet| packet.is_tcp && foreign(packet.to)).count()
    }
}
