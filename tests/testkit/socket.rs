//! A connection, with TLS or without, and ports that nobody else takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Either end of a connection.
pub(crate) enum Socket {
    Plain(TcpStream),
    Accepted(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Dialled(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Socket {
    /// Closes with a reset, as a crashed server's kernel does.
    pub(crate) fn reset(self) {
        let tcp = match &self {
            Self::Plain(tcp) => tcp,
            Self::Accepted(tls) => tls.get_ref().0,
            Self::Dialled(tls) => tls.get_ref().0,
        };
        tcp.set_zero_linger().expect("a connected socket takes SO_LINGER");
    }
}

/// Passes a poll to whichever kind of connection it is.
macro_rules! each {
    ($socket:expr, $io:ident => $call:expr) => {
        match $socket.get_mut() {
            Socket::Plain($io) => $call,
            Socket::Accepted($io) => $call,
            Socket::Dialled($io) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        each!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

/// A loopback port that was free a moment ago.
///
/// It lies below the range from which the system gives ports to outgoing connections, so none of those takes it, and
/// each test process begins at a place of its own.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(COUNT / 40)) as u16 * 40;
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .find(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of twenty thousand ports is free")
}

/// An address at which connections are refused for as long as this is held: bound, so that nobody else takes it, and
/// not listening.
pub(crate) struct Refusing {
    _socket: TcpSocket,
    pub(crate) address: SocketAddr,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("port 0 is always free");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { _socket: socket, address }
    }
}

/// An address at which connections hang: it listens, its queue is full, and nobody accepts.
pub(crate) struct Hanging {
    _listener: tokio::net::TcpListener,
    _queued: Vec<TcpStream>,
    pub(crate) address: SocketAddr,
}

impl Hanging {
    #[expect(clippy::disallowed_methods, reason = "the test fills its own queue")]
    pub(crate) async fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("port 0 is always free");
        let listener = socket.listen(1).expect("a bound socket can listen");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut queued = Vec::new();
        // The kernel takes one more than the backlog says; the first that is left waiting shows that it is full.
        while let Ok(Ok(stream)) =
            tokio::time::timeout(std::time::Duration::from_millis(150), TcpStream::connect(address)).await
        {
            queued.push(stream);
            assert!(queued.len() < 64, "the queue of a listener with a backlog of one does not fill");
        }
        Self { _listener: listener, _queued: queued, address }
    }
}
