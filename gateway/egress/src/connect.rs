//! TCP and TLS to a verified address: the one place in the gateway that dials.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, TcpKeepalive};
use telemetry::audit::{ConnectionPath, PathNote, TlsPath};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::address::Verified;
use crate::error::{Listed, Phase, SendError, TlsFault};
use crate::fault::{Code, Verdict};
use crate::issuer;
use crate::resolve::Resolution;
use crate::spec::{EndpointSpec, Http2, TransportSpec};
use crate::tls;
use crate::via::{Carrier, Via};

/// What is known of a connection, for the record of every request that it carries.
#[derive(Clone, Debug)]
pub struct ConnectionProof {
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// The address that was verified and dialled, or told to the proxy.
    pub address: SocketAddr,
    /// The address that the operating system says we are connected to: the same, or that of the proxy.
    pub peer: SocketAddr,
    /// The proxy that the connection passes, where one is declared; where packets go beyond it is not seen.
    pub via: Option<SocketAddr>,
    /// Our own address of the connection, which tells the interface and route that it takes.
    pub source: SocketAddr,
    /// Who gave the address: the name of a resolver, `literal` or `localhost`.
    pub resolved_by: Arc<str>,
    /// The chain of names that led to the address, with the servers that gave it.
    pub resolution: Arc<Resolution>,
    /// Whether the resolution had outlived its lifetime, because no server answered.
    pub stale: bool,
    /// How much is shown about the path.
    pub level: Level,
    /// What TLS agreed on; `None` without TLS.
    pub tls: Option<TlsProof>,
    /// The HTTP version.
    pub protocol: Protocol,
    /// All this in the form in which records carry it.
    pub note: PathNote,
}

impl ConnectionProof {
    /// Written again when what it tells has grown.
    fn noted(mut self) -> Self {
        let servers = self.resolution.servers();
        let tls = self.tls.as_ref().map(|tls| TlsPath {
            version: tls.version,
            group: tls.group.as_deref(),
            certificate_sha256: &tls.certificate_sha256,
            issuer: &tls.issuer,
        });
        let chain = self.resolution.chain();
        self.note = PathNote::new(&ConnectionPath {
            chain: &chain,
            resolver: &self.resolved_by,
            servers: &servers,
            lifetime: self.resolution.valid_for(),
            stale: self.stale,
            peer: self.peer,
            via: self.via,
            source: self.source,
            tls,
        });
        self
    }
}

/// What stands in a proof before anything is known.
pub(crate) fn nothing_noted(address: SocketAddr) -> PathNote {
    let (chain, resolver, servers) = ("", "", &[][..]);
    PathNote::new(&ConnectionPath {
        chain,
        resolver,
        servers,
        lifetime: None,
        stale: false,
        peer: address,
        via: None,
        source: address,
        tls: None,
    })
}

/// How much is shown about the path of a connection (promise 2 of the design).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A declared proxy was told the name, and resolved it: what was met is known by its certificate alone.
    Name,
    /// A declared proxy was told the address that was verified: that it connected there is known by the certificate alone.
    Proxied,
    /// The address was given by the declared resolver and lies in the declared ranges.
    Address,
    /// And the connection left by the declared interface, or from a declared source address.
    Route,
    /// And the public front of the same name turns away who asks it.
    Cloud,
}

impl Level {
    /// The name as records and policies have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Proxied => "proxied",
            Self::Address => "address",
            Self::Route => "route",
            Self::Cloud => "cloud",
        }
    }
}

/// What a TLS handshake agreed on and showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProof {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The key exchange group, for example `X25519MLKEM768`; `None` on a resumed TLS 1.2 session.
    pub group: Option<String>,
    /// SHA-256 of the end-entity certificate, lower-case hex.
    pub certificate_sha256: String,
    /// Who issued it, for example `CN=Corp CA, O=Example`.
    pub issuer: String,
}

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A connected stream: plain, or in TLS.
pub(crate) type Stream = Either<Carrier, Box<TlsStream<Carrier>>>;

/// How TLS is spoken, and the name that the certificate must carry.
pub(crate) type Tls = (TlsConnector, ServerName<'static>);

/// A connection of TCP, or a tunnel over one, before anything was said to the endpoint.
struct Met {
    carrier: Carrier,
    /// The address that was verified for it.
    address: SocketAddr,
    peer: SocketAddr,
    source: SocketAddr,
}

/// Dials one endpoint.
pub(crate) struct Connector {
    endpoint: Arc<str>,
    tls: Option<Tls>,
    http2: Http2,
    limit: Duration,
    transport: TransportSpec,
    via: Option<Via>,
}

/// The addresses that may be dialled, and what they rest on.
#[derive(Clone, Debug)]
pub(crate) struct Vouched {
    pub(crate) addresses: Vec<Verified>,
    pub(crate) resolution: Arc<Resolution>,
    /// It has outlived its lifetime, because no server answered.
    pub(crate) stale: bool,
}

impl Connector {
    pub(crate) fn new(spec: &EndpointSpec, tls: Option<Tls>, via: Option<Via>) -> Self {
        Self {
            endpoint: Arc::clone(&spec.name),
            tls,
            http2: spec.http2,
            limit: spec.timeouts.connect,
            transport: spec.transport.clone(),
            via,
        }
    }

    /// Whether a connection may turn out to speak HTTP/2, so that it is worth waiting for one to share.
    pub(crate) fn may_share(&self) -> bool {
        match self.http2 {
            Http2::Off | Http2::NoHttp => false,
            Http2::PriorKnowledge => true,
            Http2::Auto => self.tls.is_some(),
        }
    }

    /// Tries the addresses in order until one accepts, then does the TLS handshake with that one.
    pub(crate) async fn connect(
        &self,
        vouched: &Vouched,
        deadline: Instant,
    ) -> Result<(Stream, ConnectionProof), SendError> {
        let (carrier, proof) = self.connect_tcp(vouched, deadline).await?;
        self.handshake(carrier, proof, deadline).await
    }

    /// The first half: a TCP connection whose peer is the address that was verified, or the declared proxy.
    pub(crate) async fn connect_tcp(
        &self,
        vouched: &Vouched,
        deadline: Instant,
    ) -> Result<(Carrier, ConnectionProof), SendError> {
        let met = match &self.via {
            None => {
                let (tcp, address) = self.tcp(&vouched.addresses, deadline).await?;
                let (peer, source) = self.is_met(&tcp, address)?;
                Met { carrier: Either::Left(tcp), address, peer, source }
            }
            Some(via) => self.tunnelled(via, vouched, deadline).await?,
        };
        let Met { carrier, address, peer, source } = met;
        let proof = ConnectionProof {
            endpoint: Arc::clone(&self.endpoint),
            address,
            peer,
            via: self.via.as_ref().map(|_| peer),
            source,
            resolved_by: Arc::clone(&vouched.resolution.by),
            resolution: Arc::clone(&vouched.resolution),
            stale: vouched.stale,
            level: self.shows(),
            tls: None,
            protocol: if self.http2 == Http2::PriorKnowledge { Protocol::Http2 } else { Protocol::Http1 },
            note: nothing_noted(address),
        };
        Ok((carrier, proof.noted()))
    }

    /// How much a connection shows when it is opened.
    fn shows(&self) -> Level {
        let checked = self.transport.device.is_some() || !self.transport.leaves_from.is_empty();
        match &self.via {
            Some(via) if via.by_name() => Level::Name,
            // The route to the proxy is checked as well, and says nothing of the endpoint's.
            Some(_) => Level::Proxied,
            None if checked => Level::Route,
            None => Level::Address,
        }
    }

    /// The second half: TLS with the name of the URL, where it is spoken.
    pub(crate) async fn handshake(
        &self,
        carrier: Carrier,
        mut proof: ConnectionProof,
        deadline: Instant,
    ) -> Result<(Stream, ConnectionProof), SendError> {
        let address = proof.address;
        let Some((connector, name)) = &self.tls else {
            return Ok((Either::Left(carrier), proof));
        };
        let handshake = connector.connect(name.clone(), carrier);
        let stream = timeout_at(deadline, handshake)
            .await
            .map_err(|_| self.too_slow(Phase::Tls, Some(address)))?
            .map_err(|source| self.tls_failed(address, tls::fault(&source), tls::readable(source)))?;
        let session = stream.get_ref().1;
        proof.tls = Some(tls_proof(session));
        let chose_http2 = session.alpn_protocol() == Some(b"h2");
        if self.http2 == Http2::PriorKnowledge && !chose_http2 {
            let source = io::Error::other("the server did not choose h2");
            return Err(self.tls_failed(address, TlsFault::NoCommonProtocol, source));
        }
        proof.protocol = if chose_http2 { Protocol::Http2 } else { Protocol::Http1 };
        Ok((Either::Right(Box::new(stream)), proof.noted()))
    }

    /// Peer and source of a connection.
    ///
    /// INVARIANT: nothing is sent before the kernel has named the peer that was verified.
    fn is_met(&self, tcp: &TcpStream, address: SocketAddr) -> Result<(SocketAddr, SocketAddr), SendError> {
        let broken = |source: io::Error| self.not_connected(address, source);
        let peer = tcp.peer_addr().map_err(broken)?;
        if (peer.ip().to_canonical(), peer.port()) != (address.ip().to_canonical(), address.port()) {
            return Err(self.denied(Code::Peer01, format!("the connection to {address} is connected to {peer}")));
        }
        let source = tcp.local_addr().map_err(broken)?;
        // The route may have changed since it was asked for.
        self.leaves_as_declared(source.ip(), address)?;
        Ok((peer, source))
    }

    /// A tunnel through the proxy to the first verified address that it connects to.
    async fn tunnelled(&self, via: &Via, vouched: &Vouched, deadline: Instant) -> Result<Met, SendError> {
        let refused = |why: String| self.denied(Code::Net12, format!("the proxy {why}"));
        let own = if via.by_name() {
            // What was vouched for is the proxy itself.
            None
        } else {
            let own = timeout_at(deadline, via.addresses()).await;
            let own = own.map_err(|_| self.too_slow(Phase::Resolve, None))?;
            Some(own.map_err(|why| refused(format!("cannot be dialled: {why}")))?)
        };
        let mut failed = None;
        for verified in &vouched.addresses {
            let proxies = own.as_deref().unwrap_or(std::slice::from_ref(verified));
            let (tcp, proxy) = match self.tcp(proxies, deadline).await {
                Ok(connected) => connected,
                Err(SendError::NoPrivatePath(verdict)) => return Err(SendError::NoPrivatePath(verdict)),
                Err(error) => {
                    failed = Some(refused(format!("is not reached: {}", told(&error))));
                    continue;
                }
            };
            let (peer, source) = self.is_met(&tcp, proxy)?;
            let wanted = via.wanted(verified.socket());
            let asked = timeout_at(deadline, via.tunnel(tcp, &wanted)).await;
            match asked.unwrap_or_else(|_| Err("does not answer in time".to_owned())) {
                Ok(carrier) => return Ok(Met { carrier, address: verified.socket(), peer, source }),
                Err(why) => failed = Some(refused(format!("at {proxy} {why}, when asked for {wanted}"))),
            }
        }
        Err(failed.expect("the judgement proves at least one address or refuses the answer"))
    }

    async fn tcp(&self, addresses: &[Verified], deadline: Instant) -> Result<(TcpStream, SocketAddr), SendError> {
        let mut failed = None;
        for (index, verified) in addresses.iter().enumerate() {
            let address = verified.socket();
            if let Some(source) = self.source_towards(*verified) {
                self.leaves_as_declared(source, address)?;
            }
            let now = Instant::now();
            // Each address gets its share of what is left, so that a silent first one does not use it all up.
            let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(now) / left;
            match timeout_at(now + share, dial(*verified, &self.transport)).await {
                Ok(Ok(stream)) => return Ok((stream, address)),
                Ok(Err(source)) => failed = Some(self.not_connected(address, source)),
                Err(_) => failed = Some(self.too_slow(Phase::Tcp, Some(address))),
            }
        }
        Err(failed.expect("the judgement proves at least one address or refuses the answer"))
    }

    /// The source address that the system would choose, where it matters. Nothing is sent: a datagram socket that is
    /// connected only asks for the route.
    fn source_towards(&self, verified: Verified) -> Option<IpAddr> {
        if self.transport.leaves_from.is_empty() {
            return None;
        }
        let asked = route_towards(verified, &self.transport);
        asked.inspect_err(|error| tracing::debug!(%error, "the route could not be asked for")).ok()
    }

    fn leaves_as_declared(&self, source: IpAddr, address: SocketAddr) -> Result<(), SendError> {
        let declared = &self.transport.leaves_from;
        if declared.is_empty() || declared.iter().any(|net| net.contains(&source.to_canonical())) {
            return Ok(());
        }
        let seen =
            format!("the route to {} leaves from {source}, which is in none of {}", address.ip(), Listed(declared));
        Err(self.denied(Code::Net11, seen))
    }

    fn denied(&self, code: Code, seen: String) -> SendError {
        SendError::NoPrivatePath(Box::new(Verdict { endpoint: Arc::clone(&self.endpoint), code, seen }))
    }

    fn not_connected(&self, address: SocketAddr, source: io::Error) -> SendError {
        let refused = source.kind() == io::ErrorKind::ConnectionRefused;
        SendError::Connect { endpoint: Arc::clone(&self.endpoint), address, refused, source }
    }

    pub(crate) fn tls_failed(&self, address: SocketAddr, fault: TlsFault, source: io::Error) -> SendError {
        SendError::Tls { endpoint: Arc::clone(&self.endpoint), address, fault, source }
    }

    pub(crate) fn too_slow(&self, phase: Phase, address: Option<SocketAddr>) -> SendError {
        SendError::ConnectTimeout { endpoint: Arc::clone(&self.endpoint), phase, address, after: self.limit }
    }
}

/// An error of a connection without the endpoint's name, with what caused it.
fn told(error: &SendError) -> String {
    match error {
        SendError::Connect { address, source, .. } => format!("{address}: {source}"),
        SendError::ConnectTimeout { address: Some(address), .. } => format!("{address} does not answer in time"),
        other => other.to_string(),
    }
}

/// A socket that leaves as the endpoint's transport says.
fn socket_for(address: SocketAddr, kind: socket2::Type, transport: &TransportSpec) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_nonblocking(true)?;
    if let Some(device) = &transport.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(source) = transport.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

#[expect(clippy::disallowed_methods, reason = "the one place that dials; it takes a verified address and nothing else")]
async fn dial(address: Verified, transport: &TransportSpec) -> io::Result<TcpStream> {
    let socket = socket_for(address.socket(), socket2::Type::STREAM, transport)?;
    socket.set_tcp_nodelay(true)?;
    // Firewalls and load balancers forget silent flows, some after four minutes and without a word. Probes keep them,
    // and find out within a minute when one was forgotten.
    let keepalive = TcpKeepalive::new()
        .with_time(transport.keepalive_idle)
        .with_interval(transport.keepalive_interval)
        .with_retries(transport.keepalive_count);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(transport.user_timeout)?;
    if let Some(mss) = transport.mss {
        socket.set_tcp_mss(mss)?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(address.socket()).await
}

#[expect(clippy::disallowed_methods, reason = "asks the kernel for a route; a datagram socket sends nothing by it")]
fn route_towards(address: Verified, transport: &TransportSpec) -> io::Result<IpAddr> {
    let socket: std::net::UdpSocket = socket_for(address.socket(), socket2::Type::DGRAM, transport)?.into();
    socket.connect(address.socket())?;
    Ok(socket.local_addr()?.ip())
}

fn tls_proof(session: &rustls::ClientConnection) -> TlsProof {
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let issuer = certificate
        .and_then(|certificate| webpki::EndEntityCert::try_from(certificate).ok())
        .map_or_else(String::new, |certificate| issuer::readable(certificate.issuer()));
    TlsProof {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        group: session.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
        certificate_sha256: certificate.map_or_else(String::new, |certificate| tls::fingerprint(certificate)),
        issuer,
    }
}
