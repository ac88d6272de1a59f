//! Where packets for an endpoint's verified address pass: a TCP traceroute.
//!
//! Each try opens a connection whose packets live for one hop more. A router at which they die says so (ICMP "time
//! exceeded"), and the kernel keeps who it was in the socket's error queue; so no right beyond that of a connection is
//! needed. It tells "dropped at the third hop" from "dropped at the far end", which look the same to a handshake.

use std::fmt;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::address::Verified;
use crate::dns::Freshness;
use crate::endpoint::Endpoint;

/// Most hops. Private links lie within a few.
const MOST_HOPS: u8 = 16;
/// Hops without a word after which the rest is not tried.
const MOST_SILENT: usize = 3;
/// Time for one hop.
const PATIENCE: Duration = Duration::from_secs(1);

/// One hop of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceHop {
    /// How many hops the packet was allowed.
    pub ttl: u8,
    /// What came of it.
    pub seen: TraceSeen,
    /// How long it took.
    pub took: Duration,
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceSeen {
    /// A router passed it on no further, as it was asked to; who, where the kernel kept it.
    Router(Option<IpAddr>),
    /// The address answered: with a connection, or (`false`) with a refusal.
    Reached(bool),
    /// Nobody said anything.
    Silence,
}

impl fmt::Display for TraceHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.took.as_millis();
        match self.seen {
            TraceSeen::Router(Some(router)) => write!(f, "{router}, {took} ms"),
            TraceSeen::Router(None) => write!(f, "a router that gave no address, {took} ms"),
            TraceSeen::Reached(true) => write!(f, "the endpoint, connected, {took} ms"),
            TraceSeen::Reached(false) => write!(f, "the endpoint or a device before it, refused, {took} ms"),
            TraceSeen::Silence => f.write_str("no answer"),
        }
    }
}

impl Endpoint {
    /// Traces the way to the endpoint's first verified address; nothing where there is none. IPv4 only.
    pub async fn trace(self: &Arc<Self>, limit: Duration) -> Vec<TraceHop> {
        // What has to pass a proxy is not dialled around it.
        if self.spec().via.is_some() {
            return Vec::new();
        }
        let resolved = tokio::time::timeout(limit, self.source().resolve(Freshness::Asked)).await;
        let Ok(Ok(vouched)) = resolved.map(|resolution| self.judge(&Arc::new(resolution))) else { return Vec::new() };
        let first = vouched.addresses.into_iter().find(|address| address.socket().is_ipv4());
        let Some(address) = first else { return Vec::new() };
        tokio::task::spawn_blocking(move || walk(address)).await.unwrap_or_default()
    }
}

/// INVARIANT: takes a verified address, as everything that dials does.
fn walk(address: Verified) -> Vec<TraceHop> {
    let mut hops = Vec::new();
    let mut silent = 0;
    for ttl in 1..=MOST_HOPS {
        let began = Instant::now();
        let seen = hop(address.socket(), ttl).unwrap_or(TraceSeen::Silence);
        hops.push(TraceHop { ttl, seen, took: began.elapsed() });
        silent = if seen == TraceSeen::Silence { silent + 1 } else { 0 };
        if matches!(seen, TraceSeen::Reached(_)) || silent >= MOST_SILENT {
            break;
        }
    }
    hops
}

#[expect(
    clippy::disallowed_methods,
    reason = "it goes to a verified address, dies on the way there and carries nothing"
)]
fn hop(address: SocketAddr, ttl: u8) -> std::io::Result<TraceSeen> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_ttl_v4(u32::from(ttl))?;
    setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
    let outcome = socket.connect_timeout(&address.into(), PATIENCE);
    Ok(match outcome {
        Ok(()) => TraceSeen::Reached(true),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => TraceSeen::Reached(false),
        Err(error) if error.kind() == std::io::ErrorKind::HostUnreachable => TraceSeen::Router(who(&socket)),
        Err(_) => TraceSeen::Silence,
    })
}

/// Who sent the error that the socket's queue holds.
fn who(socket: &Socket) -> Option<IpAddr> {
    let mut bytes = [0; 64];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut control = nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(_, Some(from)) => {
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr))))
        }
        _ => None,
    })
}
