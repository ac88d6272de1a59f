//! The way over a proxy that an endpoint declares: HTTP CONNECT (RFC 9110, section 9.3.6).
//!
//! Proxies of the environment are never used; this one stands in the configuration, with the networks in which it lies, and is
//! resolved, judged and dialled like every other address. Over it the endpoint is asked for in one of two ways. By *address*: the
//! gateway resolves and verifies as always, and tells the proxy the address that it verified. By *name*: the proxy resolves. Either
//! way the kernel names the proxy as the peer, and where packets go beyond it is not seen: a proxy that says 200 and connects to
//! somewhere else is found out by the endpoint's certificate and by nothing else. So TLS is demanded, and the evidence is
//! [`Level::Proxied`] or [`Level::Name`], both below what a connection of our own shows.
//!
//! [`Level::Name`]: crate::Level::Name
//! [`Level::Proxied`]: crate::Level::Proxied

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::address::Verified;
use crate::connect::Tls;
use crate::dns::Freshness;
use crate::error::BuildProblem;
use crate::judge::{self, Wanted};
use crate::resolve::{Resolvers, Source};
use crate::spec::{EndpointSpec, Host, Http2, Reach, Scheme, TlsSpec};
use crate::tls::{self, SystemRoots};

/// Longest head of a proxy's answer.
const LONGEST_HEAD: usize = 8 * 1024;

/// A proxy on the way to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViaSpec {
    /// The proxy.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// How TLS is spoken to it, under its own name; `None` is plain.
    pub tls: Option<TlsSpec>,
    /// Networks in which every address of the proxy must lie.
    pub within: Vec<IpNet>,
    /// How the endpoint is asked for.
    pub connect: ViaConnect,
}

/// How an endpoint is asked for at a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViaConnect {
    /// By the address that the gateway verified.
    Address,
    /// By its name, which the proxy resolves. Only for [`Reach::Public`].
    Name,
}

impl ViaSpec {
    fn reach(&self) -> Reach {
        Reach::Local { within: self.within.clone() }
    }
}

/// What carries a connection: a socket, or TLS to the proxy on the way.
pub(crate) type Carrier = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A proxy at work.
pub(crate) struct Via {
    spec: ViaSpec,
    /// Whether its IPv6 addresses are dialled: as the endpoint's own.
    ipv6: bool,
    source: Source,
    tls: Option<Tls>,
    /// Host and port of the endpoint, for the way by name.
    authority: String,
}

/// Where the addresses come from that are dialled for an endpoint, and by what they are judged: its own, or those of a proxy
/// that is told its name.
pub(crate) struct Dialled {
    pub(crate) source: Source,
    pub(crate) reach: Reach,
    pub(crate) port: u16,
}

impl Dialled {
    pub(crate) fn of(spec: &EndpointSpec, resolvers: &Resolvers) -> Result<Self, BuildProblem> {
        match &spec.via {
            Some(via) if via.connect == ViaConnect::Name => {
                if spec.reach != Reach::Public {
                    return Err(wrong(spec, "only what is public may be asked for by its name"));
                }
                Ok(Self { source: resolvers.source(&of_proxy(spec, via))?, reach: via.reach(), port: via.port })
            }
            _ => Ok(Self { source: resolvers.source(spec)?, reach: spec.reach.clone(), port: spec.port }),
        }
    }
}

/// The proxy as if it were an endpoint: what its name is resolved and its addresses are judged by.
fn of_proxy(spec: &EndpointSpec, via: &ViaSpec) -> EndpointSpec {
    EndpointSpec { host: via.host.clone(), port: via.port, reach: via.reach(), via: None, ..spec.clone() }
}

fn wrong(spec: &EndpointSpec, reason: impl Into<String>) -> BuildProblem {
    BuildProblem::Via { endpoint: Arc::clone(&spec.name), reason: reason.into() }
}

impl Via {
    pub(crate) fn build(
        spec: &EndpointSpec,
        (resolvers, roots): (&Resolvers, &SystemRoots),
    ) -> Result<Option<Self>, BuildProblem> {
        let Some(via) = &spec.via else { return Ok(None) };
        if spec.scheme == Scheme::Http {
            return Err(wrong(spec, "without TLS nothing would show what is met beyond it"));
        }
        let proxy = of_proxy(spec, via);
        let tls = match &via.tls {
            None => None,
            Some(own) => {
                let config = tls::client_config(own, Http2::Off, roots).map_err(|reason| wrong(spec, reason))?;
                let name = tls::server_name(&proxy).map_err(|reason| wrong(spec, reason))?;
                Some((TlsConnector::from(config), name))
            }
        };
        let authority = match &spec.host {
            Host::Name(name) => format!("{}:{}", name.trim_end_matches('.'), spec.port),
            Host::Address(address) => SocketAddr::new(*address, spec.port).to_string(),
        };
        let (ipv6, source) = (spec.transport.ipv6, resolvers.source(&proxy)?);
        Ok(Some(Self { spec: via.clone(), ipv6, source, tls, authority }))
    }

    pub(crate) fn by_name(&self) -> bool {
        self.spec.connect == ViaConnect::Name
    }

    /// The proxy's own addresses, verified.
    pub(crate) async fn addresses(&self) -> Result<Vec<Verified>, String> {
        let resolution = self.source.resolve(Freshness::Kept).await;
        let wanted = Wanted { host: &self.spec.host, port: self.spec.port, ipv6: self.ipv6 };
        judge::dialled(&self.spec.reach(), &resolution, &wanted).map_err(|refused| refused.seen)
    }

    /// What the proxy is asked to connect to, for a verified address of the endpoint.
    pub(crate) fn wanted(&self, verified: SocketAddr) -> String {
        if self.by_name() {
            return self.authority.clone();
        }
        match verified.ip() {
            IpAddr::V4(address) => format!("{address}:{}", verified.port()),
            // Without a zone, which `SocketAddr` would print.
            IpAddr::V6(address) => format!("[{address}]:{}", verified.port()),
        }
    }

    /// Asks the proxy at the other end for a tunnel.
    ///
    /// # Errors
    ///
    /// What it did instead, in words.
    pub(crate) async fn tunnel(&self, tcp: TcpStream, wanted: &str) -> Result<Carrier, String> {
        let mut carrier = match &self.tls {
            None => Either::Left(tcp),
            Some((connector, name)) => {
                let shown = connector.connect(name.clone(), tcp).await;
                Either::Right(Box::new(
                    shown.map_err(|error| format!("could not be verified over TLS: {}", tls::readable(error)))?,
                ))
            }
        };
        ask(&mut carrier, wanted).await?;
        Ok(carrier)
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, wanted: &str) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("breaks the connection: {error}");
    let request = format!("CONNECT {wanted} HTTP/1.1\r\nHost: {wanted}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut head = Vec::with_capacity(256);
    // One byte at a time up to the end of the head, so that no byte of the tunnel is taken; it is short, and asked once.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_HEAD {
            return Err("answers with an endless head".to_owned());
        }
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    match (version, is_status, status.starts_with('2')) {
        ("HTTP/1.1" | "HTTP/1.0", true, true) => Ok(()),
        ("HTTP/1.1" | "HTTP/1.0", true, false) => Err(format!("answers {status} to CONNECT")),
        _ => Err("does not answer in HTTP".to_owned()),
    }
}
